"""The lower half of Extended Data Table 2 against plain loops, which classes compete, and what similarity settles."""

from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest
from helpers import cases
from slow_rules import CHANGED, PRINTED, SHAPES, random_scores, slow_deltas, slow_words

from asxai.explain.judgement import Judgement, judge
from asxai.explain.rules import RULES, TIERS, tiers

NAN = np.nan
TWO, PARTS = ("cat", "dog"), ("ear", "eyes", "nose", "legs")
BREEDS = ("Manx", "Persian", "Bengal", "pug", "corgi")
ALIKE = np.array([[0.7, 0.6], [0.65, 0.55], [0.68, 0.6], [0.1, 0.1], [0.2, 0.6]])


def words(own, other, rules=PRINTED):
    """Position and semanteme of each concept by name."""
    found = judge(np.array([own, other], dtype=float), 0, TWO, PARTS[: len(own)], rules)
    return {concept.name: (concept.position, concept.semanteme) for concept in found.concepts}


def similar(values, scores=ALIKE, **options):
    return judge(scores, 0, BREEDS[: len(scores)], PARTS[: scores.shape[1]], similarity=values, **options)


# --- Words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", CHANGED, ids=range(len(CHANGED)))
@pytest.mark.parametrize("classes, concepts, missing", [s for s in SHAPES if s[0] < 30])
def test_judge_has_the_tier_and_words_of_plain_loops(classes, concepts, missing, changed):
    scores, predicted = random_scores(np.random.default_rng(concepts), 60, classes, concepts, missing)
    class_names, concept_names = [f"class {k}" for k in range(classes)], [f"part {k}" for k in range(concepts)]
    for one, label, tier in zip(scores, predicted, tiers(scores, predicted, changed)):
        found = judge(one, label, class_names, concept_names, changed)
        assert found.tier == TIERS[tier] and found.predicted == class_names[label]
        expected = {(concept_names[k], *word) for k, *word in slow_words(one, label, changed)}
        assert {(c.name, c.position, c.semanteme) for c in found.concepts} == expected
        for concept in found.concepts:
            pcs, delta, other = slow_deltas(one, label)[concept_names.index(concept.name)]
            assert (concept.pcs, concept.delta) == (pcs, delta)
            assert concept.found == (class_names[other] if other >= 0 else None)
        assert [c.delta for c in found.concepts] == sorted((c.delta for c in found.concepts), reverse=True)


# what else is seen, so that the answer has that tier: PCS of the predicted class and of the other, and the words for it
BESIDE = {
    "sure": ([1.0], [0.0], ("vivid", "obviously")),
    "probably": ([0.45, 0.3], [0.0, 0.3], ("be", "something like")),
    "not sure": ([0.3], [0.1], ("be", "something like")),
}


WORDS = {  # by tier, position and semanteme: PCS of the class, and of the other
    "sure, vivid, confusing": "0.6 0.55, 0.2 0.6",  # also where it is vivid, but the other's
    "sure, vivid, perhaps": "0.6 0.4",
    "sure, vivid, something like": "0.6 0.2",
    "sure, vivid, obviously": "0.9 0.2",
    "sure, be, something like": "0.4 0.0, 0.5 0.0",  # .5 is on both boundaries
    "sure, be, perhaps": "0.3 0.1, 0.35 0.0, 0.5 0.25",
    "sure": "0.4 0.35, 0.05 0.02, 0.1 0.0, 0.5 0.4",
    "probably, vivid, confusing": "0.6 0.55",
    "probably, vivid, perhaps": "0.6 0.4",
    "probably, vivid, something like": "0.6 0.2",
    "probably, be, something like": "0.4 0.0",
    "probably, be, perhaps": "0.3 0.1",
    "probably": "0.4 0.35",
    "not sure, vivid, confusing": "0.6 0.55",
    "not sure, vivid, something like": "0.6 0.3",
    "not sure, be, something like": "0.4 0.1, 0.15 0.0",
    "not sure": "0.4 0.35",
}


@pytest.mark.parametrize("words_of, pairs", WORDS.items(), ids=WORDS)
def test_words_of_each_tier(words_of, pairs):
    tier, *word = words_of.split(", ")
    owns, others, beside = BESIDE[tier]
    for own, other in (map(float, pair.split()) for pair in pairs.split(", ")):
        found = words([own, *owns], [other, *others])
        assert found["ear"] == (tuple(word) or (None, None)) and found["eyes"] == beside
    assert words([np.nextafter(0.5, 1), 1.0], [0.25, 0.0])["ear"] == ("vivid", "perhaps")  # just above the boundary


def test_words_of_the_unsure_without_reasons():
    nothing = (None, None)
    found = words([0.9, 0.4, 0.15], [0.9, 0.4, 0.1])
    assert found == {"ear": ("vivid", "confusing"), "eyes": nothing, "nose": nothing}
    assert words([0.15], [0.0]) == {"ear": nothing}  # told apart, but too weak to be a reason


def test_a_concept_at_the_threshold_of_naming_has_no_words():
    changed = replace(PRINTED, unsure=0.0)
    assert words([0.1, 0.9], [0.0, 0.0], changed)["ear"] == (None, None)
    assert words([np.nextafter(0.1, 1), 0.9], [0.0, 0.0], changed)["ear"] == ("be", "perhaps")


# --- Which classes compete -------------------------------------------------------------------------------------------


def test_the_other_class_has_the_highest_mean_score():
    names = ("cat", "dog", "fox")
    scores = np.array([[0.9, 0.1, 0.1], [0.3, 0.3, 0.3], [0.5, NAN, NAN]])
    assert judge(scores, 0, names, PARTS[:3]).other == "fox"  # the sum is higher for the dog, with more concepts
    scores[2, 1] = 0.05
    assert judge(scores, 0, names, PARTS[:3]).other == "dog"
    assert judge(np.array([[0.9], [0.2], [0.2]]), 0, names, PARTS[:1]).other == "dog"  # equal ones: the first


def test_only_classes_that_no_concept_tells_apart_compete():
    found = judge(ALIKE, 0, BREEDS, PARTS[:2])
    assert found.other == "Bengal" and found.settled is None
    assert "whether this is a Manx, a Bengal or a Persian. Its" in found.sentence  # the corgi's ear is .5 below
    # each concept is matched by another class, none is matched in both: the highest mean is left
    found = judge(np.array([[0.7, 0.6], [0.7, 0.0], [0.1, 0.6]]), 0, BREEDS[:3], PARTS[:2])
    assert found.tier == "not sure" and "whether this is a Manx or a Persian." in found.sentence


def test_classes_and_concepts_exactly_at_the_threshold_are_alike():
    quarter = replace(PRINTED, unsure=0.25)
    sentence = lambda *scores: judge(np.array(scores)[:, None], 0, ("cat", "dog", "fox"), ["ear"], quarter).sentence
    assert sentence(0.5, 0.25, 0.375).endswith(" whether this is a cat, a fox or a dog: no concept is decisive.")
    assert sentence(0.5, 0.25).endswith(": no concept is decisive.")
    assert sentence(0.5, 0.75).endswith(" a dog. It seems to have a confusing ear.")
    assert sentence(0.4375, 0.75).endswith(" a dog. Its ear is more like that of a dog.")


def test_a_class_without_concepts():
    scores, names = np.array([[NAN, NAN], [0.9, NAN], [0.1, 0.2]]), ("cat", "dog", "fox")
    found = judge(scores, 0, names, PARTS[:2])
    assert replace(found, sentence="") == Judgement("not sure", "cat", "dog", None, (), "")
    assert found.sentence.endswith(" a cat, a dog or a fox: the predicted class has no concepts.")
    assert judge(np.full((2, 2), NAN), 1, TWO, PARTS[:2]).other == "cat"
    assert judge(np.zeros((2, 0)), 0, TWO, ()).tier == "not sure"


def test_a_judgement_is_frozen_and_plain():
    found = judge(ALIKE, np.int64(0), BREEDS, PARTS[:2])
    with pytest.raises(FrozenInstanceError):
        found.tier = "sure"
    values = asdict(found)
    assert isinstance(values["concepts"][0].pcs, float) and isinstance(values["concepts"][0].found, str)


# --- Similarity ------------------------------------------------------------------------------------------------------


OF_FIVE = "the highest semantic similarity score of 5 classes"


@cases(
    "values, other, settled, last",
    ([0.9, 0.6, 0.5, 0.2, 0.3], "Persian", "Manx", f"The Manx shows {OF_FIVE}, which speaks for it."),  # Figure 6d
    ([0.6, 0.9, 0.5, 0.2, 0.3], "Persian", "Persian", f"The Persian shows {OF_FIVE}, which speaks for it."),
    ([0.6, 0.5, 0.59, 0.2, 0.3], "Bengal", None, f"The Manx shows {OF_FIVE}, closely followed by the Bengal."),
    ([0.6, 0.5, 0.5, 0.9, 0.3], "Bengal", None, f"The pug shows {OF_FIVE}."),
    ([0.6, 0.6, 0.5, 0.2, 0.3], "Persian", None, f"The Manx and the Persian share {OF_FIVE}."),
    ([0.6] * 5, "Bengal", None, "All 5 classes show equal semantic similarity scores."),
    ([0.6] * 4 + [0.2], "Bengal", None, f"The Manx, the Persian, the Bengal and the pug share {OF_FIVE}."),
    (
        [NAN, NAN, 0.6, 0.2, NAN],
        "Bengal",
        "Bengal",
        "The Bengal shows a higher semantic similarity score, which speaks for it.",
    ),
    ([-0.5, -0.51, -0.6, -1, -1], "Persian", None, f"The Manx shows {OF_FIVE}, closely followed by the Persian."),
    ([-0.5, -0.3, -0.4, -1, -1], "Persian", "Persian", f"The Persian shows {OF_FIVE}, which speaks for it."),
)
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


@cases(
    "values, last",
    ([0.7, 0.5], "The Manx shows a higher semantic similarity score."),
    ([0.7, 0.69], "The Manx shows a slightly higher semantic similarity score."),
    ([0.5, 0.7], "However, the Persian shows a higher semantic similarity score."),
    ([0.69, 0.7], "However, the Persian shows a slightly higher semantic similarity score."),
    ([0.7, 0.7], "The Manx and the Persian show equal semantic similarity scores."),
)
@pytest.mark.parametrize("own", [0.9, 0.4, 0.3])
def test_where_concepts_decide_similarity_only_adds_a_sentence(values, last, own):
    scores = np.array([[own], [0.0]])
    found, bare = similar(values, scores), similar(None, scores)
    assert found.sentence == f"{bare.sentence} {last}"
    assert replace(found, sentence="") == replace(bare, sentence="") and found.settled is None


def test_similarity_does_not_repeat_a_link():
    found = similar([0.2, 0.8], np.array([[0.9, 0.1], [0.1, 0.8]]))
    assert "However, its eyes are more like those of a Persian." in found.sentence
    assert found.sentence.endswith(" Moreover, the Persian shows a higher semantic similarity score.")


def test_similarity_of_thirty_classes():
    names, rules = [f"bird {k}" for k in range(30)], replace(RULES, clear=0.01)
    found = judge(np.zeros((30, 1)), 3, names, ["ear"], rules, np.linspace(0.1, 0.9, 30))
    assert found.settled == found.other == "bird 29"
    assert "whether this is a bird 3, a bird 29, a bird 28 or one of 27 other classes" in found.sentence


@pytest.mark.parametrize(
    "score, tier, near",
    [(0.9, "sure", None), (0.5006, "sure", "probably"), (0.4995, "probably", "sure"), (0.45, "probably", None),
     (0.3505, "probably", "not sure"), (0.3497, "not sure", "probably"), (0.3, "not sure", None)],
)  # fmt: skip
def test_a_tier_that_hangs_on_the_last_digits_is_said_to_be_close(score, tier, near):
    scores = np.array([[score, score, score], [0, 0, 0]])
    judgement = judge(scores, 0, ("cat", "dog"), ("ear", "eye", "nose"))
    assert judgement.tier == tier
    assert judgement.sentence.endswith(f" It is close to “{near}”.") if near else "close" not in judgement.sentence
