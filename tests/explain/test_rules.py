"""Extended Data Table 2: each cell, each boundary, an oracle of plain loops and ifs, and the sentences as English."""

import re
from dataclasses import FrozenInstanceError, asdict, replace
from fractions import Fraction

import numpy as np
import pytest

from asxai.benchmarks.trustworthy import tier_table
from asxai.explain.judgement import Judgement, judge
from asxai.explain.rules import RULES, TIERS, Rules, deltas, tiers

NAN = np.nan
PRINTED = replace(RULES, majority=0.0)  # the table as the paper prints it; majority has tests of its own
TWO, PARTS = ("cat", "dog"), ("ear", "eyes", "nose", "legs")


def tier_of(own, others, **changes):
    """The tier of one picture of class 0; own `(concept,)`, others `(class, concept)`."""
    scores = np.array([[own, *np.atleast_2d(others)]], dtype=float)
    return TIERS[tiers(scores, np.array([0]), replace(PRINTED, **changes))[0]]


def sentence(own, others, class_names=TWO, concept_names=PARTS, **options):
    scores = np.array([own, *np.atleast_2d(others)], dtype=float)
    return judge(scores, 0, class_names, concept_names[: scores.shape[1]], **{"rules": PRINTED} | options).sentence


def words(own, other, rules=PRINTED):
    """Position and semanteme of each concept by name."""
    found = judge(np.array([own, other], dtype=float), 0, TWO, PARTS[: len(own)], rules)
    return {concept.name: (concept.position, concept.semanteme) for concept in found.concepts}


# --- An oracle -------------------------------------------------------------------------------------------------------


def slow_deltas(scores, predicted):
    """`(pcs, delta, found)` of one picture, per concept."""
    result = []
    for concept in range(scores.shape[1]):
        found, best = -1, 0.0
        for label in range(scores.shape[0]):
            value = scores[label, concept]
            if label != predicted and not np.isnan(value) and (found < 0 or value > best):
                found, best = label, value
        result.append((scores[predicted, concept], scores[predicted, concept] - best, found))
    return result


def slow_tier(scores, predicted, r=PRINTED):
    """The table as resolved: from the surest column to the least sure."""
    has = largest = noticed = vivid = 0
    ahead = {"sure": 0, "probably": 0}  # concepts ahead of the other classes by the tier's threshold
    for pcs, delta, _ in slow_deltas(scores, predicted):
        if np.isnan(pcs):
            continue
        has += 1
        for tier in ahead:
            ahead[tier] += delta > getattr(r, tier)
        largest = max(largest, delta)
        if pcs > r.noticed:
            noticed += 1
        if pcs > r.vivid:
            vivid += 1
    if has == 0:
        return "not sure"
    agrees = {tier: Fraction(int(count), has) >= Fraction(str(r.majority)) for tier, count in ahead.items()}
    several = ahead["sure"] >= r.agree_count or r.majority == 0
    if largest > r.sure and (vivid >= r.sure_count or vivid == has) and agrees["sure"] and several:
        return "sure"
    if largest > r.probably and (noticed >= r.probably_count or noticed == has) and agrees["probably"]:
        return "probably"
    return "not sure"


def slow_words(scores, predicted, r=PRINTED):
    """Position and semanteme of each concept, by hand from the lower half of the table."""
    tier, result = slow_tier(scores, predicted, r), []
    found = [row for row in slow_deltas(scores, predicted) if not np.isnan(row[0])]
    noticed = sum(pcs > r.noticed for pcs, _, _ in found)
    reasons = (tier != "not sure" or (any(delta > r.unsure for _, delta, _ in found)
               and (noticed >= r.reasons_count or noticed == len(found))))
    for concept in range(scores.shape[1]):
        pcs, delta, _ = slow_deltas(scores, predicted)[concept]
        if np.isnan(pcs):
            continue
        highest, semanteme = np.nanmax(scores[:, concept]), None
        if delta <= r.unsure:
            semanteme = "confusing" if highest > r.vivid else None
        elif not reasons:
            semanteme = None
        elif tier == "not sure":
            semanteme = "something like"
        elif delta > r.sure and tier == "sure":
            semanteme = "obviously"
        elif delta > r.probably:
            semanteme = "something like"
        else:
            semanteme = "perhaps"
        if highest <= r.named:
            semanteme = None
        position = None if semanteme is None else "vivid" if highest > r.vivid else "be"
        result.append((concept, position, semanteme))
    return result


def random_scores(rng, pictures, classes, concepts, missing):
    """Many in each tier, and many on boundaries: rounded to twentieths."""
    scale = rng.choice([0.1, 0.3, 0.6, 1.2], size=(pictures, classes, 1))
    scores = (rng.random((pictures, classes, concepts)) * scale * 20).round() / 20
    scores[:, rng.random((classes, concepts)) < missing] = NAN
    return scores, rng.integers(0, classes, pictures)


SHAPES = [(2, 4, 0.0), (2, 1, 0.0), (1, 4, 0.0), (1, 1, 0.0), (5, 6, 0.4), (3, 2, 0.6), (30, 12, 0.5), (4, 3, 1.0)]
CHANGED = [PRINTED, replace(PRINTED, sure=0.6, vivid=0.3), replace(PRINTED, unsure=0, probably=0, sure=0),
           replace(PRINTED, probably_count=3, sure_count=2, reasons_count=2), replace(PRINTED, named=0.4, noticed=0.4),
           RULES, replace(RULES, majority=1.0), replace(RULES, majority=1 / 3),
           replace(RULES, majority=2 / 3, sure=0.7), replace(RULES, agree_count=1), replace(RULES, agree_count=3)]


@pytest.mark.parametrize("changed", CHANGED, ids=range(len(CHANGED)))
@pytest.mark.parametrize("classes, concepts, missing", SHAPES)
def test_tiers_are_those_of_plain_loops(classes, concepts, missing, changed):
    scores, predicted = random_scores(np.random.default_rng(classes * concepts), 120, classes, concepts, missing)
    before = scores.copy()
    found = tiers(scores, predicted, changed)
    assert found.dtype == np.int64 and found.shape == (120,)
    assert [TIERS[index] for index in found] == [slow_tier(*one, changed) for one in zip(scores, predicted)]
    np.testing.assert_array_equal(scores, before)


def test_random_scores_reach_every_tier():
    scores, predicted = random_scores(np.random.default_rng(0), 500, 3, 4, 0.1)
    assert np.bincount(tiers(scores, predicted, PRINTED), minlength=3).min() > 20
    assert np.bincount(tiers(scores, predicted), minlength=3).min() > 5


def test_a_larger_majority_never_makes_surer():
    scores, predicted = random_scores(np.random.default_rng(1), 500, 3, 5, 0.2)
    found = [tiers(scores, predicted, replace(RULES, majority=share)) for share in (0, 0.4, 0.6, 0.8, 1)]
    assert all((weaker >= stronger).all() for stronger, weaker in zip(found, found[1:]))
    assert len({tuple(own) for own in found}) == 5  # and each step tells in some picture


@pytest.mark.parametrize("classes, concepts, missing", SHAPES)
def test_deltas_are_those_of_plain_loops(classes, concepts, missing):
    scores, predicted = random_scores(np.random.default_rng(concepts), 40, classes, concepts, missing)
    before = scores.copy()
    found = deltas(scores, predicted)
    expected = np.array([slow_deltas(*one) for one in zip(scores, predicted)], dtype=float)  # (picture, concept, 3)
    assert found.found.dtype == np.int64
    for values, right in zip(found, np.moveaxis(expected, 2, 0)):
        np.testing.assert_array_equal(values, right)
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize("changed", CHANGED, ids=range(len(CHANGED)))
@pytest.mark.parametrize("classes, concepts, missing", [s for s in SHAPES if s[0] < 30])
def test_judge_has_the_tier_and_words_of_plain_loops(classes, concepts, missing, changed):
    scores, predicted = random_scores(np.random.default_rng(concepts), 60, classes, concepts, missing)
    class_names, concept_names = [f"class {k}" for k in range(classes)], [f"part {k}" for k in range(concepts)]
    all_tiers = tiers(scores, predicted, changed)
    for one, label, tier in zip(scores, predicted, all_tiers):
        found = judge(one, label, class_names, concept_names, changed)
        assert found.tier == TIERS[tier] and found.predicted == class_names[label]
        expected = {(concept_names[k], *word) for k, *word in slow_words(one, label, changed)}
        assert {(c.name, c.position, c.semanteme) for c in found.concepts} == expected
        for concept in found.concepts:
            pcs, delta, other = slow_deltas(one, label)[concept_names.index(concept.name)]
            assert (concept.pcs, concept.delta) == (pcs, delta)
            assert concept.found == (class_names[other] if other >= 0 else None)
        assert [c.delta for c in found.concepts] == sorted((c.delta for c in found.concepts), reverse=True)


# --- The upper half of the table -------------------------------------------------------------------------------------


@pytest.mark.parametrize("own, other, tier", [
    ([0.09, 0.05, 0.08, 0.02], [0.07, 0.06, 0.02, 0.01], "not sure"),  # Figure 6a: three below .2
    ([0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.7, 0.6], "not sure"),  # all vivid, none of them its own
    ([0.3, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1], "not sure"),  # with reasons
    ([0.4, 0.3, 0.1, 0.1], [0.0, 0.3, 0.1, 0.1], "probably"),
    ([0.6, 0.1, 0.1, 0.1], [0.05, 0.1, 0.1, 0.1], "sure"),
    # in no column of the printed table
    ([0.4, 0.1, 0.1, 0.1], [0.0, 0.1, 0.1, 0.1], "not sure"),  # .35 < delta < .5, but one concept in range
    ([0.15, 0.1, 0.1, 0.1], [0.0, 0.1, 0.1, 0.1], "not sure"),  # .1 < delta < .35, but none above .2
    ([0.55, 0.3, 0.1, 0.1], [0.1, 0.3, 0.1, 0.1], "probably"),  # a vivid concept counts among the two
    ([0.9, 0.9, 0.1, 0.1], [0.5, 0.5, 0.1, 0.1], "probably"),
    ([0.9, 0.0, 0.0, 0.0], [0.0, 0.9, 0.9, 0.9], "sure"),  # the largest difference decides, whatever the others are
    ([0.2, 0.2, 0.2, 0.2], [0.9, 0.9, 0.9, 0.9], "not sure"),  # all differences below 0
])
def test_tier_of_each_column(own, other, tier):
    assert tier_of(own, other) == tier


@pytest.mark.parametrize("own, tier", [(0.5, "not sure"), (np.nextafter(0.5, 1), "sure"), (0.35, "not sure")])
def test_a_boundary_belongs_to_the_weaker_side(own, tier):
    assert tier_of([own, 0, 0], [0, 0, 0]) == tier
    more = {0.5: "probably", 0.35: "not sure"}.get(own, tier)
    assert tier_of([own, 0.25, 0], [0, 0.25, 0]) == more
    assert tier_of([0.4, 0.2], [0, 0]) == "not sure" and tier_of([0.4, np.nextafter(0.2, 1)], [0, 0]) == "probably"


def test_vivid_counts_only_above_its_threshold():
    assert tier_of([0.55, 0.25], [0, 0.25], vivid=0.55) == "probably"  # delta is above .5, no concept is vivid
    assert tier_of([0.56, 0.25], [0, 0.25], vivid=0.55) == "sure"
    assert tier_of([0.56, 0.25], [0, 0.25], sure_count=2) == "probably"


def test_a_class_with_fewer_concepts_must_have_all_in_range():
    assert tier_of([0.4], [0.0]) == "probably" == tier_of([0.4, NAN], [0.0, 0.9])
    assert tier_of([0.4, 0.1], [0.0, 0.1]) == "not sure"
    assert tier_of([0.4, 0.3], [0.0, 0.3], probably_count=9) == "probably"
    assert tier_of([NAN, NAN], [0.9, 0.9]) == "not sure"


# --- The majority, which is not in the table -------------------------------------------------------------------------


@pytest.mark.parametrize("leads, tier", [
    ([0.9, 0.9], "sure"), ([0.9, 0.0, 0.0], "not sure"), ([0.9, 0.0], "not sure"),  # one concept never makes it sure
    ([0.9, 0.9, 0.0, 0.0], "sure"), ([0.9, 0.4, 0.0, 0.0], "probably"), ([0.9, 0.4, 0.4, 0.0, 0.0], "probably"),
    ([0.9, 0.9, 0.4, 0.0, 0.0], "probably"), ([0.9, 0.9, 0.9, 0.0, 0.0], "sure"),
    ([0.9, 0.3, 0.3, 0.3], "not sure"),  # those that are only somewhat ahead do not agree
    ([0.9], "probably"), ([0.4], "probably"), ([0.3], "not sure"),  # nor where the class has no other
])
def test_half_of_the_concepts_must_agree(leads, tier):
    assert tier_of(leads, [0.0] * len(leads), majority=0.5) == tier
    assert TIERS[tiers(np.array([[leads, [0.0] * len(leads)]]), np.array([0]))[0]] == tier  # which is the default
    lacking = tier_of([*leads, NAN, NAN], [0.0] * len(leads) + [0.9, 0.9], majority=0.5)
    assert lacking == tier  # what the class lacks is not asked


def test_concepts_agree_only_above_the_tiers_own_threshold():
    half = dict(majority=1.0, sure=0.5, probably=0.25)
    assert tier_of([0.9, 0.5], [0.0, 0.0], **half) == "probably"
    assert tier_of([0.9, np.nextafter(0.5, 1)], [0.0, 0.0], **half) == "sure"
    assert tier_of([0.9, 0.25], [0.0, 0.0], **half) == "not sure"
    assert tier_of([0.9, np.nextafter(0.25, 1)], [0.0, 0.0], **half) == "probably"


@pytest.mark.parametrize("majority, needed", [(0.0, 1), (0.1, 1), (1 / 3, 1), (0.34, 2), (2 / 3, 2), (0.67, 3), (1, 3)])
def test_how_many_of_three_concepts_a_majority_is(majority, needed):
    for ahead in range(1, 4):
        tier = tier_of([0.9] * ahead + [0.0] * (3 - ahead), [0.0] * 3, majority=majority, agree_count=1)
        assert tier == ("sure" if ahead >= needed else "not sure")


def test_a_single_limb_no_longer_convinces_but_is_still_a_reason():
    scores = np.array([[0.9, 0.05, 0.0, 0.1], [0.0, 0.0, 0.0, 0.1]])
    printed = judge(scores, 0, TWO, PARTS, PRINTED)
    assert printed.sentence == (
        "I am sure it is a cat mainly because it has a vivid ear, which is obviously a cat's ear.")
    found = judge(scores, 0, TWO, PARTS)
    assert found.tier == "not sure" and found.sentence == (
        "From this perspective, I am not sure whether this is a cat or a dog. It may be a cat mainly because it has a "
        "vivid ear, which is something like a cat's ear.")
    assert found.concepts[0].semanteme == "something like"  # no word of a surer tier


def test_the_best_of_many_classes_is_the_found_one():
    others = np.zeros((29, 2))
    assert tier_of([0.9, 0.3], others) == "sure"
    others[17, 0] = 0.5
    assert tier_of([0.9, 0.3], others) == "probably"
    others[3, 0] = 0.85
    assert tier_of([0.9, 0.3], others) == "not sure"  # delta .3 of the other concept is left
    others[4, 1] = 0.25
    found = deltas(np.array([[[0.9, 0.3], *others]]), np.array([0]))
    assert found.found.tolist() == [[4, 5]]


def test_deltas_where_classes_lack_concepts():
    scores = np.array([[[0.5, NAN, 0.2, NAN], [0.5, 0.3, NAN, NAN], [0.5, 0.4, NAN, NAN]]])
    found = deltas(scores, np.array([0]))
    np.testing.assert_array_equal(found.pcs, [[0.5, NAN, 0.2, NAN]])
    np.testing.assert_array_equal(found.delta, [[0, NAN, 0.2, NAN]])  # of its own concept the score itself
    assert found.found.tolist() == [[1, 2, -1, -1]]  # of equal ones the first
    assert deltas(scores.astype(np.float32), np.array([0])).pcs.dtype == np.float64


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 2, 0), (3, 1, 0)])
def test_nothing_to_judge(shape):
    scores, predicted = np.zeros(shape), np.zeros(shape[0], int)
    assert tiers(scores, predicted).tolist() == [2] * shape[0]
    assert deltas(scores, predicted).delta.shape == (shape[0], shape[2])


# --- The lower half --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own, other, word", [
    (0.6, 0.55, ("vivid", "confusing")),
    (0.2, 0.6, ("vivid", "confusing")),  # vivid, but the other's
    (0.4, 0.35, (None, None)),
    (0.05, 0.02, (None, None)),
    (0.6, 0.4, ("vivid", "perhaps")), (0.3, 0.1, ("be", "perhaps")),
    (0.6, 0.2, ("vivid", "something like")), (0.4, 0.0, ("be", "something like")),
    (0.9, 0.2, ("vivid", "obviously")),
    (0.5, 0.0, ("be", "something like")),  # on both boundaries
    (0.35, 0.0, ("be", "perhaps")),
    (0.1, 0.0, (None, None)),
])
def test_words_of_the_sure(own, other, word):
    assert words([own, 1.0], [other, 0.0])["ear"] == word
    assert words([own, 1.0], [other, 0.0])["eyes"] == ("vivid", "obviously")


@pytest.mark.parametrize("own, other, word", [
    (0.6, 0.55, ("vivid", "confusing")), (0.4, 0.35, (None, None)),
    (0.6, 0.4, ("vivid", "perhaps")), (0.3, 0.1, ("be", "perhaps")),
    (0.6, 0.2, ("vivid", "something like")), (0.4, 0.0, ("be", "something like")),
])
def test_words_of_the_probable(own, other, word):
    found = words([own, 0.45, 0.3], [other, 0.0, 0.3])
    assert found["ear"] == word and found["eyes"] == ("be", "something like")


@pytest.mark.parametrize("own, other, word", [
    (0.6, 0.55, ("vivid", "confusing")), (0.4, 0.35, (None, None)),
    (0.6, 0.3, ("vivid", "something like")), (0.4, 0.1, ("be", "something like")),
    (0.15, 0.0, ("be", "something like")),
])
def test_words_of_the_unsure_with_reasons(own, other, word):
    found = words([own, 0.3], [other, 0.1])
    assert found["ear"] == word and found["eyes"] == ("be", "something like")


def test_words_of_the_unsure_without_reasons():
    assert words([0.9, 0.4, 0.15], [0.9, 0.4, 0.1]) == {"ear": ("vivid", "confusing"), "eyes": (None, None),
                                                       "nose": (None, None)}
    assert words([0.15], [0.0]) == {"ear": (None, None)}  # told apart, but too weak to be a reason


def test_no_tier_uses_a_word_of_a_surer_one():
    changed = replace(PRINTED, vivid=0.95)  # so that a large difference is no longer enough to be sure
    found = words([0.9, 0.3], [0.0, 0.3], changed)
    assert found["ear"] == ("be", "something like")
    assert judge(np.array([[0.9, 0.3], [0, 0.3]]), 0, TWO, PARTS[:2], changed).tier == "probably"


def test_boundaries_of_position():
    assert words([0.5, 0.9], [0.4, 0.0])["ear"] == (None, None)
    assert words([0.5, 0.9], [0.25, 0.0])["ear"] == ("be", "perhaps")
    assert words([np.nextafter(0.5, 1), 0.9], [0.25, 0.0])["ear"] == ("vivid", "perhaps")
    changed = replace(PRINTED, unsure=0.0)
    assert words([0.1, 0.9], [0.0, 0.0], changed)["ear"] == (None, None)
    assert words([np.nextafter(0.1, 1), 0.9], [0.0, 0.0], changed)["ear"] == ("be", "perhaps")


# --- Sentences -------------------------------------------------------------------------------------------------------


def test_the_sentence_of_figure_6c():
    """The paper: "I am sure it is a dog mainly because it has a vivid nose, which is a dog's nose obviously. Meanwhile,
    it has eyes, which are something like a dog's eyes. In addition, it seems to have confused ears. The dog shows a
    higher semantic similarity score."
    """
    found = judge(np.array([[0.1, 0.05, 0.55], [0.8, 0.45, 0.6]]), 1, TWO, ("nose", "eyes", "ears"), PRINTED,
                  similarity=[0.4, 0.7])
    assert found.sentence == (
        "I am sure it is a dog mainly because it has a vivid nose, which is obviously a dog's nose. Meanwhile, it has "
        "eyes, which are something like a dog's eyes. In addition, it seems to have confusing ears. The dog shows a "
        "higher semantic similarity score.")
    assert (found.tier, found.predicted, found.other, found.settled) == ("sure", "dog", "cat", None)
    assert [(c.name, c.found) for c in found.concepts] == [("nose", "cat"), ("eyes", "cat"), ("ears", "cat")]


def test_the_sentence_of_figure_6a():
    assert sentence([0.09, 0.03], [0.07, 0.05]) == ("From this perspective, I am not sure whether this is a cat or a "
                                                    "dog: no concept stands out.")


@pytest.mark.parametrize("own, other, expected", [
    ([0.45, 0.3], [0.0, 0.0], "It is probably a cat mainly because it has an ear, which is something like a cat's ear. "
     "Meanwhile, it has eyes, which are perhaps a cat's eyes."),
    ([0.3, 0.1], [0.1, 0.1], "From this perspective, I am not sure whether this is a cat or a dog. It may be a cat "
     "mainly because it has an ear, which is something like a cat's ear."),
    ([0.6, 0.8], [0.6, 0.8], "From this perspective, I am not sure whether this is a cat or a dog. Its eyes and ear "
     "seem confusing."),
    ([0.6, 0.1], [0.6, 0.1], "From this perspective, I am not sure whether this is a cat or a dog. It seems to have a "
     "confusing ear."),
    ([0.1, 0.1], [0.6, 0.1], "From this perspective, I am not sure whether this is a cat or a dog. Its ear is more "
     "like that of a dog."),
    ([0.4, 0.1], [0.4, 0.1], "From this perspective, I am not sure whether this is a cat or a dog: no concept is "
     "decisive."),
    ([0.9, 0.1], [0.1, 0.8], "I am sure it is a cat mainly because it has a vivid ear, which is obviously a cat's ear. "
     "However, its eyes are more like those of a dog."),
    ([0.9, 0.9], [0.1, 0.1], "I am sure it is a cat mainly because it has an ear and eyes, both vivid and obviously "
     "those of a cat."),
    ([0.9, 0.9, 0.8, 0.2], [0.1, 0.1, 0.1, 0.1], "I am sure it is a cat mainly because it has an ear, eyes and a nose, "
     "all vivid and obviously those of a cat."),
    ([0.9, 0.3, 0.3], [0.1, 0.1, 0.1], "I am sure it is a cat mainly because it has a vivid ear, which is obviously a "
     "cat's ear. Meanwhile, it has eyes and a nose, which are perhaps those of a cat."),
    # the legs, of a fourth wording, are left out
    ([0.9, 0.55, 0.48, 0.3], [0.1, 0.1, 0.0, 0.1], "I am sure it is a cat mainly because it has a vivid ear, which is "
     "obviously a cat's ear. Meanwhile, it has a nose, which is something like a cat's nose. In addition, it has vivid "
     "eyes, which are something like a cat's eyes."),
    # all that can be said at once
    ([0.9, 0.3, 0.6, 0.1], [0.1, 0.1, 0.6, 0.7], "I am sure it is a cat mainly because it has a vivid ear, which is "
     "obviously a cat's ear. Meanwhile, it has eyes, which are perhaps a cat's eyes. In addition, it seems to have a "
     "confusing nose. However, its legs are more like those of a dog."),
])
def test_sentences(own, other, expected):
    assert sentence(own, other) == expected


def test_thresholds_that_leave_nothing_to_say():
    dim = replace(PRINTED, reasons_count=2, noticed=0.3, vivid=0.9)
    assert sentence([0.3, 0.3], [0, 0], rules=dim).endswith("no concept stands out.")
    assert sentence([0.32, 0.25], [0, 0], rules=replace(dim, vivid=0.5)).endswith("too few concepts stand out.")
    odd = replace(PRINTED, unsure=0, probably=0, sure=0, named=0.3, noticed=0.3, vivid=0.3)
    assert sentence([0.2, 0.4], [0.1, 0.5], rules=odd) == (
        "I am sure it is a cat. However, its eyes are more like those of a dog.")
    assert sentence([0.2, 0.4], [0.1, 0.4], rules=odd) == "I am sure it is a cat. It seems to have confusing eyes."


@pytest.mark.parametrize("concept, phrase", [
    ("ear", "has a vivid ear, which is obviously a cat's ear"),
    ("eyes", "has vivid eyes, which are obviously a cat's eyes"),
    ("left_ear", "has a vivid left ear, which is obviously a cat's left ear"),
    ("upper tail feathers", "has vivid upper tail feathers, which are obviously a cat's upper tail feathers"),
    ("eye 1", "has a vivid eye, which is obviously a cat's eye"),
    ("eye 2", "has a vivid second eye region, which is obviously that of a cat"),
    ("ear 3", "has a vivid third ear region, which is obviously that of a cat"),
    ("legs 2", "has a vivid second region of legs, which is obviously that of a cat"),
    ("ear 12", "has a vivid 12th ear region, which is obviously that of a cat"),
    ("concept 3", "shows concept 3, which is vivid and obviously that of a cat"),
    ("concept", "has a vivid concept, which is obviously a cat's concept"),
    ("some fur", "has some vivid fur, which is obviously a cat's fur"),
    ("the left ear", "has a vivid left ear, which is obviously a cat's left ear"),
    ("some fur 2", "has a vivid second fur region, which is obviously that of a cat"),
    ("the_whiskers", "has vivid whiskers, which are obviously a cat's whiskers"),
])
def test_a_concept_in_a_sentence(concept, phrase):
    assert sentence([0.9], [0.1], TWO, [concept]) == f"I am sure it is a cat mainly because it {phrase}."


@pytest.mark.parametrize("concept, phrase", [
    ("ear", "it seems to have a confusing ear"), ("eyes", "it seems to have confusing eyes"),
    ("eye 2", "it seems to have a confusing second eye region"), ("concept 3", "concept 3 seems confusing"),
])
def test_a_confusing_concept(concept, phrase):
    assert sentence([0.9, 0.6], [0.1, 0.6], TWO, ["nose", concept]).endswith(f" Meanwhile, {phrase}.")


@pytest.mark.parametrize("concepts, phrase", [
    (["ear", "nose"], "has an ear and a nose, both"), (["ear", "eye", "legs"], "has an ear, an eye and legs, all"),
    (["eye", "eye 2"], "has an eye and a second eye region, both"),
    (["concept 4", "concept 1"], "shows concepts 4 and 1, both"),
    (["ear", "concept 1"], "shows an ear and concept 1, both"),
    (["some fur", "a nose", "someone"], "has some fur, a nose and a someone, all"),
    (["a", "b", "c", "d"], "has an a, a b, a c and a d, all"),
    (["a", "b", "c", "d", "e"], "has an a, a b, a c and 2 others, all"),
    ([f"concept {k}" for k in range(1, 13)], "shows concepts 1, 2, 3 and 9 others, all"),
])
def test_lists_of_concepts(concepts, phrase):
    own, other = [0.9] * len(concepts), [0.1] * len(concepts)
    assert sentence(own, other, TWO, concepts) == (
        f"I am sure it is a cat mainly because it {phrase} vivid and obviously those of a cat.")


@pytest.mark.parametrize("concepts, phrase", [
    (["ear", "nose"], "Its ear and nose"), (["some fur", "the nose"], "Its fur and nose"),
    (["eye", "eye 2", "legs 2"], "Its eye, second eye region and second region of legs"),
    (["concept 4", "concept 1"], "Concepts 4 and 1"), (["concept 1", "ear"], "Its ear and concept 1"),
    (["a", "b", "c", "d", "e"], "Its a, b, c and 2 other concepts"),
    ([f"concept {k}" for k in range(1, 13)], "Concepts 1, 2, 3 and 9 others"),
])
def test_lists_without_articles(concepts, phrase):
    alike, less = [0.9] * len(concepts), [0.1] * len(concepts)
    assert sentence(alike, alike, TWO, concepts).endswith(f" {phrase} seem confusing.")
    assert sentence(less, alike, TWO, concepts).endswith(f" {phrase} are more like those of a dog.")


def test_a_single_concept_that_is_more_like_others():
    others = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.7, 0.1], [0.1, 0.1, 0.1, 0.9]])
    found = sentence([0.1, 0.1, 0.1, 0.1], others, ("cat", "dog", "fox", "owl"), ("ear", "eyes", "nose", "concept 4"))
    assert found.endswith(" Its eyes and nose are more like those of a fox, and concept 4 is more like that of an owl.")


@pytest.mark.parametrize("name, article", [
    ("cat", "a cat"), ("otter", "an otter"), ("Russian_Blue", "a Russian Blue"), ("unicorn", "a unicorn"),
    ("urchin", "an urchin"), ("umbrella_bird", "an umbrella bird"), ("European robin", "a European robin"),
    ("uakari", "a uakari"), ("hourglass dolphin", "an hourglass dolphin"), ("one-toed sloth", "a one-toed sloth"),
    ("001.Black_footed_Albatross", "a Black footed Albatross"), ("german+shepherd", "a german shepherd"), ("8", "an 8"),
    ("11", "an 11"), ("18", "an 18"), ("118", "a 118"), ("7", "a 7"), ("dogs", "one of the dogs"),
    ("Great Pyrenees", "one of the Great Pyrenees"), ("walrus", "a walrus"), ("rhinoceros", "a rhinoceros"),
    ("lens", "a lens"), ("iris", "an iris"), ("bear grass", "a bear grass"), ("Feet", "one of the Feet"),
    ("ox", "an ox"), ("bus", "a bus"), ("gas", "a gas"), ("antennae", "one of the antennae"),
])
def test_article_and_number_of_a_class(name, article):
    found = sentence([0.9], [0.1], (name, "zebra"), ["ear"])
    assert found.startswith(f"I am sure it is {article} mainly because it has a vivid ear, which is obviously ")
    whose = f"that of {article}" if article.startswith("one of") else f"{article}'s ear"
    assert found.endswith(f" obviously {whose}.")


def test_many_classes_that_it_could_be():
    names = [f"bird {k}" for k in range(30)]
    start = "From this perspective, I am not sure whether this is "
    for count, expected in ((1, "a bird 0"), (2, "a bird 0 or a bird 1"), (3, "a bird 0, a bird 1 or a bird 2"),
                            (4, "a bird 0, a bird 1, a bird 2 or a bird 3"),
                            (5, "a bird 0, a bird 1, a bird 2 or one of 2 other classes"),
                            (30, "a bird 0, a bird 1, a bird 2 or one of 27 other classes")):
        found = judge(np.zeros((count, 3)), 0, names[:count], PARTS[:3])
        assert found.sentence == f"{start}{expected}: no concept stands out."
        assert found.other == (None if count == 1 else "bird 1")


def test_one_class():
    assert sentence([0.9, 0.05], np.zeros((0, 2)), ["walrus"], similarity=[0.7]) == (
        "I am sure it is a walrus mainly because it has a vivid ear, which is obviously a walrus's ear.")
    assert sentence([0.3], np.zeros((0, 1)), ["walrus"]) == (
        "From this perspective, I am not sure whether this is a walrus. It may be a walrus mainly because it has an "
        "ear, which is something like a walrus's ear.")


def test_a_class_without_concepts():
    scores = np.array([[NAN, NAN], [0.9, NAN], [0.1, 0.2]])
    found = judge(scores, 0, ("cat", "dog", "fox"), PARTS[:2])
    assert found == Judgement("not sure", "cat", "dog", None, (), "From this perspective, I am not sure whether "
                                    "this is a cat, a dog or a fox: the predicted class has no concepts.")
    assert judge(np.full((2, 2), NAN), 1, TWO, PARTS[:2]).other == "cat"
    assert judge(np.zeros((2, 0)), 0, TWO, ()).tier == "not sure"


def test_every_sentence_is_well_formed():
    """On random pictures of every kind: no double blanks or links, a verb that agrees, a capital and a full stop."""
    rng, seen = np.random.default_rng(0), set()
    names = ["ear", "ear 2", "eyes", "eyes 2", "nose", "concept 6", "concept 7", "upper_lip", "antlers"]
    class_names = ["ibex", "Manx_cat", "otters", "walrus", "unicorn", "8"]
    for round_ in range(400):
        scores, predicted = random_scores(rng, 1, rng.integers(1, 7), rng.integers(1, 10), 0.2)
        similarity = rng.choice([NAN, 0.1, 0.5, 0.51, 0.9], scores.shape[1]) if round_ % 2 else None
        text = judge(scores[0], predicted[0], class_names[: scores.shape[1]], names[: scores.shape[2]],
                     similarity=similarity).sentence
        seen.add(text)
        assert re.fullmatch(r"[A-Z][^.]*\.( [A-Z][^.]*\.)*", text), text
        assert not re.search(r"  |_| ,|,,|None|nan|\ban? (eyes|antlers|otters|concept \d)\b", text), text
        assert not re.search(r"\ba (ear|ibex|upper|8)\b|\ban (nose|unicorn|Manx|vivid)", text), text
        assert not re.search(r"(?<!of )(eyes|antlers), which is|has an? (\w+ )?\w+, which are|vivid vivid", text), text
        assert text.count("However, ") < 2 and text.count("Meanwhile, ") < 2 and len(text.split(". ")) <= 7, text
    assert len(seen) > 300


# --- Which classes compete, and similarity ---------------------------------------------------------------------------


def test_the_other_class_has_the_highest_mean_score():
    names = ("cat", "dog", "fox")
    scores = np.array([[0.9, 0.1, 0.1], [0.3, 0.3, 0.3], [0.5, NAN, NAN]])
    assert judge(scores, 0, names, PARTS[:3]).other == "fox"  # the sum is higher for the dog, with more concepts
    scores[2, 1] = 0.05
    assert judge(scores, 0, names, PARTS[:3]).other == "dog"
    assert judge(np.array([[0.9], [0.2], [0.2]]), 0, names, PARTS[:1]).other == "dog"  # equal ones: the first


BREEDS = ("Manx", "Persian", "Bengal", "pug", "corgi")
ALIKE = np.array([[0.7, 0.6], [0.65, 0.55], [0.68, 0.6], [0.1, 0.1], [0.2, 0.6]])


def similar(values, scores=ALIKE, predicted=0, **options):
    return judge(scores, predicted, BREEDS[: len(scores)], PARTS[: scores.shape[1]], similarity=values, **options)


def test_only_classes_that_no_concept_tells_apart_compete():
    found = judge(ALIKE, 0, BREEDS, PARTS[:2])
    assert found.other == "Bengal" and found.settled is None
    assert "whether this is a Manx, a Bengal or a Persian. Its" in found.sentence  # the corgi's ear is .5 below
    # each concept is matched by another class, none is matched in both: the highest mean is left
    found = judge(np.array([[0.7, 0.6], [0.7, 0.0], [0.1, 0.6]]), 0, BREEDS[:3], PARTS[:2])
    assert found.tier == "not sure" and "whether this is a Manx or a Persian." in found.sentence


def test_classes_and_concepts_exactly_at_the_threshold_are_alike():
    quarter = replace(PRINTED, unsure=0.25)
    assert sentence([0.5], [[0.25], [0.375]], ("cat", "dog", "fox"), ["ear"], rules=quarter) == (
        "From this perspective, I am not sure whether this is a cat, a fox or a dog: no concept is decisive.")
    assert sentence([0.5], [0.25], rules=quarter).endswith(": no concept is decisive.")
    for own, end in ((0.5, "It seems to have a confusing ear."), (0.4375, "Its ear is more like that of a dog.")):
        assert sentence([own], [0.75], rules=quarter).endswith(f" a dog. {end}")


@pytest.mark.parametrize("values, other, settled, last", [
    ([0.9, 0.6, 0.5, 0.2, 0.3], "Persian", "Manx", "The Manx shows the highest semantic similarity score of 5 classes, "
     "which speaks for it."),  # Figure 6d
    ([0.6, 0.9, 0.5, 0.2, 0.3], "Persian", "Persian", "The Persian shows the highest semantic similarity score of 5 "
     "classes, which speaks for it."),
    ([0.6, 0.5, 0.59, 0.2, 0.3], "Bengal", None, "The Manx shows the highest semantic similarity score of 5 classes, "
     "closely followed by the Bengal."),
    ([0.6, 0.5, 0.5, 0.9, 0.3], "Bengal", None, "The pug shows the highest semantic similarity score of 5 classes."),
    ([0.6, 0.6, 0.5, 0.2, 0.3], "Persian", None, "The Manx and the Persian share the highest semantic similarity score "
     "of 5 classes."),
    ([0.6] * 5, "Bengal", None, "All 5 classes show equal semantic similarity scores."),
    ([NAN, NAN, 0.6, 0.2, NAN], "Bengal", "Bengal", "The Bengal shows a higher semantic similarity score, which speaks "
     "for it."),
    ([-0.5, -0.51, -0.6, -0.9, -0.9], "Persian", None, "The Manx shows the highest semantic similarity score of 5 "
     "classes, closely followed by the Persian."),
    ([-0.5, -0.3, -0.4, -0.9, -0.9], "Persian", "Persian", "The Persian shows the highest semantic similarity score of "
     "5 classes, which speaks for it."),
])
def test_similarity_settles_what_concepts_leave_open(values, other, settled, last):
    found = similar(values)
    assert (found.tier, found.predicted, found.other, found.settled) == ("not sure", "Manx", other, settled)
    assert found.sentence.endswith(f" seem confusing. {last}")


def test_a_lead_equal_to_the_threshold_does_not_settle():
    assert similar([1.0, 0.75, 0.5, 0.2, 0.3], rules=replace(PRINTED, clear=0.25)).settled is None
    assert similar([1.0, 0.75, 0.5, 0.2, 0.3], rules=replace(PRINTED, clear=0.24)).settled == "Manx"


@pytest.mark.parametrize("values", [None, [0.6, NAN, NAN, NAN, NAN], [NAN] * 5])
def test_without_similarities_to_compare_nothing_is_said(values):
    assert similar(values) == judge(ALIKE, 0, BREEDS, PARTS[:2])


@pytest.mark.parametrize("values, last", [
    ([0.7, 0.5], "The Manx shows a higher semantic similarity score."),
    ([0.7, 0.69], "The Manx shows a slightly higher semantic similarity score."),
    ([0.5, 0.7], "However, the Persian shows a higher semantic similarity score."),
    ([0.69, 0.7], "However, the Persian shows a slightly higher semantic similarity score."),
    ([0.7, 0.7], "The Manx and the Persian show equal semantic similarity scores."),
])
@pytest.mark.parametrize("own", [0.9, 0.4, 0.3])
def test_where_concepts_decide_similarity_only_adds_a_sentence(values, last, own):
    scores = np.array([[own], [0.0]])
    found, bare = similar(values, scores), similar(None, scores)
    assert found.sentence == f"{bare.sentence} {last}"
    assert replace(found, sentence="") == replace(bare, sentence="") and found.settled is None


def test_similarity_does_not_repeat_a_link():
    found = similar([0.2, 0.8], np.array([[0.9, 0.1], [0.1, 0.8]]))
    assert found.sentence.endswith(" However, its eyes are more like those of a Persian. Moreover, the Persian shows a "
                                   "higher semantic similarity score.")


def test_similarity_of_classes_in_the_plural():
    found = judge(np.zeros((2, 1)), 0, ("cats", "dogs"), ["ear"], similarity=[0.2, 0.8])
    assert found.settled == "dogs"
    assert found.sentence == (
        "From this perspective, I am not sure whether this is one of the cats or one of the dogs: no concept stands "
        "out. The dogs show a higher semantic similarity score, which speaks for them.")


def test_similarity_of_thirty_classes():
    values = np.linspace(0.1, 0.9, 30)
    found = judge(np.zeros((30, 1)), 3, [f"bird {k}" for k in range(30)], ["ear"], similarity=values,
                  rules=replace(PRINTED, clear=0.01))
    assert found.settled == found.other == "bird 29"
    assert "whether this is a bird 3, a bird 29, a bird 28 or one of 27 other classes" in found.sentence


def test_a_judgement_is_frozen_and_plain():
    found = judge(ALIKE, np.int64(0), BREEDS, PARTS[:2])
    with pytest.raises(FrozenInstanceError):
        found.tier = "sure"
    values = asdict(found)
    assert isinstance(values["concepts"][0].pcs, float) and isinstance(values["concepts"][0].found, str)


# --- Rules and their errors ------------------------------------------------------------------------------------------


def test_rules_are_a_frozen_value():
    assert Rules() == RULES == Rules(0.1, 0.35, 0.5, 0.1, 0.2, 0.5, 1, 2, 1, 0.5, 0.05, 2)
    with pytest.raises(FrozenInstanceError):
        RULES.sure = 0.6
    assert replace(RULES, sure=0.6) == Rules(sure=0.6)


def test_the_table_to_read_has_the_thresholds():
    table = replace(PRINTED, sure=0.61, probably_count=3).table()
    assert table["tier"].tolist() == ["sure", "probably", "not sure", "not sure"]
    assert table["largest delta"].tolist() == ["> 0.61", "> 0.35", "> 0.1", "any"]
    assert table["concepts"].tolist() == ["1 with PCS > 0.5", "3 (or all, if fewer) with PCS > 0.2",
                                          "1 with PCS > 0.2", "any"]
    assert table["words"].tolist() == [
        "obviously (delta > 0.61), something like (delta > 0.35), perhaps (delta > 0.1); confusing (PCS > 0.5)",
        "something like (delta > 0.35), perhaps (delta > 0.1); confusing (PCS > 0.5)",
        "something like (delta > 0.1); confusing (PCS > 0.5)", "confusing (PCS > 0.5)"]
    assert table["share that agrees"].tolist() == ["any"] * 4
    assert RULES.table()["share that agrees"].tolist() == [">= 0.5, at least 2", ">= 0.5", "any", "any"]
    assert replace(RULES, majority=1.0, agree_count=1).table()["share that agrees"].tolist() == [
        ">= 1", ">= 1", "any", "any"]
    assert not RULES.table().isna().any(axis=None)


@pytest.mark.parametrize("changes, message", [
    ({"sure": 0.2}, r"probably=0\.35 must not be above sure=0\.2; lower probably or raise sure"),
    ({"unsure": 0.4}, r"unsure=0\.4 must not be above probably=0\.35"),
    ({"named": 0.3}, r"named=0\.3 must not be above noticed=0\.2"),
    ({"vivid": 0.1}, r"noticed=0\.2 must not be above vivid=0\.1"),
    ({"unsure": -0.1}, r"unsure=-0\.1 must be a finite number, at least 0; the default is 0\.1"),
    ({"sure": NAN}, r"sure=nan must be a finite number"), ({"vivid": np.inf}, r"vivid=inf must be a finite number"),
    ({"noticed": "0.2"}, r"noticed='0\.2' must be a finite number"), ({"clear": True}, r"clear=True must be a finite"),
    ({"clear": 5}, r"clear=5 must be a share, at most 1; the default is 0\.05"),
    ({"majority": 1.5}, r"majority=1\.5 must be a share, at most 1; the default is 0\.5"),
    ({"majority": -0.5}, r"majority=-0\.5 must be a finite number, at least 0; the default is 0\.5"),
    ({"majority": True}, r"majority=True must be a finite"), ({"majority": NAN}, r"majority=nan must be a finite"),
    ({"sure_count": 0}, r"sure_count=0 must be a whole number of concepts, at least 1"),
    ({"probably_count": 1.5}, r"probably_count=1\.5 must be a whole number"),
    ({"reasons_count": True}, r"reasons_count=True must be a whole number"),
])
def test_rules_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(PRINTED, **changes)


def test_rules_at_their_limits():
    assert Rules(0, 0, 0, 0, 0, 0, clear=0) and Rules(sure=1.2, vivid=1.2, clear=1)
    assert Rules(sure=np.float32(0.75), sure_count=np.int64(2)).sure == 0.75  # as a slider may give them


@pytest.mark.parametrize("scores, predicted, message", [
    (np.zeros((2, 3)), [0, 0], r"scores float64 \(2, 3\) must be float \(picture, class, concept\)"),
    (np.zeros((2, 0, 3)), [0, 0], r"with a class"), (np.zeros((2, 3, 4), int), [0, 0], r"scores int64"),
    (np.zeros((2, 3, 4)), [0], r"predicted int64 \(1,\) must be whole numbers \(picture,\) \(2,\)"),
    (np.zeros((2, 3, 4)), [0.0, 1.0], r"predicted float64"),
    (np.zeros((2, 3, 4)), [0, 3], r"predicted runs from 0 to 3; use classes from 0 to 2"),
    (np.zeros((2, 3, 4)), [-1, 0], r"predicted runs from -1 to 0"),
    (np.full((2, 3, 4), -0.5), [0, 1], r"scores run from -0\.5 to -0\.5; PCS is finite and at least 0"),
    (np.full((2, 3, 4), np.inf), [0, 1], r"scores run from inf to inf"),
])
def test_scores_that_cannot_be(scores, predicted, message):
    for function in (tiers, deltas):
        with pytest.raises(ValueError, match=message):
            function(scores, np.array(predicted))


@pytest.mark.parametrize("change, message", [
    ({"scores": np.zeros((1, 2, 3))}, r"scores \(1, 2, 3\) must be \(class, concept\)"),
    ({"scores": np.full((2, 2), -1.0)}, r"scores run from -1\.0 to -1\.0"),
    ({"predicted": 2}, r"predicted runs from 2 to 2; use classes from 0 to 1"),
    ({"predicted": 0.0}, r"predicted float64"),
    ({"class_names": ["cat"]}, r"class_names=\('cat',\) must be 2 texts, none empty, as many as scores \(2, 2\) have"),
    ({"class_names": ["cat", "_"]}, r"class_names=\('cat', '_'\) must be 2 texts, none empty"),
    ({"concept_names": ["ear", 2]}, r"concept_names=\('ear', 2\) must be 2 texts"),
    ({"similarity": [0.5]}, r"similarity=\[0\.5\] must be a finite number or NaN for each of the 2 classes"),
    ({"similarity": [0.5, np.inf]}, r"similarity=.* must be a finite number or NaN"),
])
def test_a_picture_that_cannot_be_judged(change, message):
    arguments = {"scores": np.zeros((2, 2)), "predicted": 0, "class_names": TWO, "concept_names": PARTS[:2]} | change
    with pytest.raises(ValueError, match=message):
        judge(**arguments)


# --- How often each tier is right ------------------------------------------------------------------------------------


def slow_wilson(hits, count, z):
    centre, spread = (hits + z**2 / 2) / (count + z**2), np.sqrt(hits * (count - hits) / count + z**2 / 4)
    return centre - z * spread / (count + z**2), centre + z * spread / (count + z**2)


@pytest.mark.parametrize("level, z", [(0.95, 1.959963984540054), (0.9, 1.6448536269514722)])
def test_tier_table(level, z):
    found = tier_table(np.array([0] * 6 + [1] * 3), np.array([True] * 6 + [True, True, False]), level).set_index("tier")
    assert found.index.tolist() == [*TIERS, "all"] and found["pictures"].tolist() == [6, 3, 0, 9]
    for tier, hits, count in (("sure", 6, 6), ("probably", 2, 3), ("all", 8, 9)):
        row = found.loc[tier]
        assert row["accuracy"] == hits / count and row["share"] == count / 9
        np.testing.assert_allclose(row[["accuracy_low", "accuracy_high"]].astype(float), slow_wilson(hits, count, z))
        np.testing.assert_allclose(row[["share_low", "share_high"]].astype(float), slow_wilson(count, 9, z), atol=1e-12)
    assert found.loc["not sure", ["accuracy", "accuracy_low", "accuracy_high"]].isna().all()
    assert found.loc["not sure", "share"] == 0 and found.loc["not sure", "share_high"] > 0.2


def test_tier_table_of_no_pictures():
    assert tier_table(np.zeros(0, int), np.zeros(0, bool))[["share", "accuracy"]].isna().all(axis=None)


@pytest.mark.parametrize("tier, right, level, message", [
    ([0, 3], [True, True], 0.95, r"tiers int64 \(2,\) must be whole numbers \(picture,\) from 0 to 2"),
    ([0.0], [True], 0.95, r"tiers float64 \(1,\) must be whole"), ([[0]], [[True]], 0.95, r"tiers int64 \(1, 1\)"),
    ([0, 1], [True], 0.95, r"right bool \(1,\) must be bool \(picture,\) \(2,\)"),
    ([0, 1], [1, 1], 0.95, r"right int64 \(2,\) must be bool"),
    ([0, 1], [True, True], 95, r"level=95 must be between 0 and 1, for example 0\.95"),
])
def test_tables_that_cannot_be(tier, right, level, message):
    with pytest.raises(ValueError, match=message):
        tier_table(np.array(tier), np.array(right), level)
