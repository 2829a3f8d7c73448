"""The upper half of Extended Data Table 2: each column, each boundary, the majority, and an oracle of plain loops."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from helpers import cases
from slow_rules import CHANGED, PRINTED, SHAPES, random_scores, slow_deltas, slow_tier

from asxai.explain.rules import RULES, TIERS, Rules, deltas, tiers

NAN = np.nan


def tier_of(own, others, **changes):
    """The tier of one picture of class 0; own `(concept,)`, others `(class, concept)`."""
    scores = np.array([[own, *np.atleast_2d(others)]], dtype=float)
    return TIERS[tiers(scores, np.array([0]), replace(PRINTED, **changes))[0]]


# --- Against plain loops ---------------------------------------------------------------------------------------------


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


# --- The printed table -----------------------------------------------------------------------------------------------


@cases(
    "own, other, tier",
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
)
def test_tier_of_each_column(own, other, tier):
    assert tier_of(own, other) == tier


@pytest.mark.parametrize("own, tier", [(0.5, "not sure"), (np.nextafter(0.5, 1), "sure"), (0.35, "not sure")])
def test_a_boundary_belongs_to_the_weaker_side(own, tier):
    assert tier_of([own, 0, 0], [0, 0, 0]) == tier
    more = {0.5: "probably", 0.35: "not sure"}.get(own, tier)
    assert tier_of([own, 0.25, 0], [0, 0.25, 0]) == more
    assert tier_of([0.4, 0.2], [0, 0]) == "not sure" and tier_of([0.4, np.nextafter(0.2, 1)], [0, 0]) == "probably"


def test_a_class_with_fewer_concepts_must_have_all_in_range():
    assert tier_of([0.4], [0.0]) == "probably" == tier_of([0.4, NAN], [0.0, 0.9])
    assert tier_of([0.4, 0.1], [0.0, 0.1]) == "not sure"
    assert tier_of([0.4, 0.3], [0.0, 0.3], probably_count=9) == "probably"
    assert tier_of([NAN, NAN], [0.9, 0.9]) == "not sure"


def test_the_best_of_many_classes_is_the_found_one():
    others = np.zeros((29, 2))
    assert tier_of([0.9, 0.3], others) == "sure"
    others[17, 0] = 0.5
    assert tier_of([0.9, 0.3], others) == "probably"
    others[3, 0] = 0.85
    assert tier_of([0.9, 0.3], others) == "not sure"  # delta .3 of the other concept is left
    others[4, 1] = 0.25
    assert deltas(np.array([[[0.9, 0.3], *others]]), np.array([0])).found.tolist() == [[4, 5]]


# --- The majority, which is not in the table -------------------------------------------------------------------------


LEADS = {  # of the concepts of one picture; by the tier that they make up
    "sure": "0.9 0.9, 0.9 0.9 0 0, 0.9 0.9 0.9 0 0",
    "probably": "0.9 0.4 0 0, 0.9 0.4 0.4 0 0, 0.9 0.9 0.4 0 0, 0.9, 0.4",
    # one concept never makes it sure; those that are only somewhat ahead do not agree, nor where the class has no other
    "not sure": "0.9 0, 0.9 0 0, 0.9 0.3 0.3 0.3, 0.3",
}


@pytest.mark.parametrize("tier, leads", [(tier, one) for tier, every in LEADS.items() for one in every.split(", ")])
def test_half_of_the_concepts_must_agree(tier, leads):
    leads = [float(lead) for lead in leads.split()]
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


# --- Rules and their errors ------------------------------------------------------------------------------------------


def test_rules_are_a_frozen_value():
    assert Rules() == RULES == Rules(0.1, 0.35, 0.5, 0.1, 0.2, 0.5, 1, 2, 1, 0.5, 0.05, 2)
    with pytest.raises(FrozenInstanceError):
        RULES.sure = 0.6
    assert replace(RULES, sure=0.6) == Rules(sure=0.6)
    assert Rules(0, 0, 0, 0, 0, 0, clear=0) and Rules(sure=1.2, vivid=1.2, clear=1)  # at their limits
    assert Rules(sure=np.float32(0.75), sure_count=np.int64(2)).sure == 0.75  # as a slider may give them


def test_the_table_to_read_has_the_thresholds():
    table = replace(PRINTED, sure=0.61, probably_count=3).table().set_index(["tier", "reasons"])
    doubt, weak = "confusing (PCS > 0.5)", "something like (delta > 0.35), perhaps (delta > 0.1)"
    assert table.T.to_dict("list") == {
        ("sure", "yes"): ["> 0.61", "1 with PCS > 0.5", "any", f"obviously (delta > 0.61), {weak}; {doubt}"],
        ("probably", "yes"): ["> 0.35", "3 (or all, if fewer) with PCS > 0.2", "any", f"{weak}; {doubt}"],
        ("not sure", "yes"): ["> 0.1", "1 with PCS > 0.2", "any", f"something like (delta > 0.1); {doubt}"],
        ("not sure", "no"): ["any", "any", "any", doubt],
    }
    agree = lambda rules: rules.table()["share that agrees"].tolist()
    assert agree(RULES) == [">= 0.5, at least 2", ">= 0.5", "any", "any"]
    assert agree(replace(RULES, majority=1.0, agree_count=1)) == [">= 1", ">= 1", "any", "any"]


@cases(
    "changes, message",
    ({"sure": 0.2}, r"probably=0\.35 must not be above sure=0\.2; lower probably or raise sure"),
    ({"unsure": 0.4}, r"unsure=0\.4 must not be above probably=0\.35"),
    ({"named": 0.3}, r"named=0\.3 must not be above noticed=0\.2"),
    ({"vivid": 0.1}, r"noticed=0\.2 must not be above vivid=0\.1"),
    ({"unsure": -0.1}, r"unsure=-0\.1 must be a finite number, at least 0; the default is 0\.1"),
    ({"sure": NAN}, r"sure=nan must be a finite number"),
    ({"vivid": np.inf}, r"vivid=inf must be a finite number"),
    ({"noticed": "0.2"}, r"noticed='0\.2' must be a finite number"),
    ({"clear": True}, r"clear=True must be a finite"),
    ({"clear": 5}, r"clear=5 must be a share, at most 1; the default is 0\.05"),
    ({"majority": 1.5}, r"majority=1\.5 must be a share, at most 1; the default is 0\.5"),
    ({"majority": -0.5}, r"majority=-0\.5 must be a finite number, at least 0; the default is 0\.5"),
    ({"sure_count": 0}, r"sure_count=0 must be a whole number of concepts, at least 1"),
    ({"probably_count": 1.5}, r"probably_count=1\.5 must be a whole number"),
    ({"reasons_count": True}, r"reasons_count=True must be a whole number"),
)
def test_rules_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(PRINTED, **changes)
