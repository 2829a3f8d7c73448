"""Measures of confidence against loops and all orders, and by hand."""

import itertools

import numpy as np
import pytest
from helpers import slow_calibration_error

from asxai.statistics import expected_calibration_error, risk_coverage

NAN = np.nan


# --- Expected calibration error --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_calibration_error_against_a_loop(bins, count):
    rng = np.random.default_rng(count)
    confidence = np.round(rng.random(count), 1)  # many on the borders of bins, 0 and 1 among them
    right = rng.random(count) < confidence
    assert expected_calibration_error(confidence, right, bins) == pytest.approx(
        slow_calibration_error(confidence, right, bins), abs=1e-12)


def test_calibration_error_by_hand():
    yes, no = np.array([True]), np.array([False])
    assert expected_calibration_error([1.0], yes) == 0 and expected_calibration_error([1.0], no) == 1
    assert expected_calibration_error([0.75] * 4, np.array([True, True, True, False])) == 0
    # opposite errors in different bins do not cancel; in one bin they do
    assert expected_calibration_error([0.85, 0.15], np.array([False, True])) == pytest.approx(0.85)
    assert expected_calibration_error([0.85, 0.15], np.array([False, True]), bins=1) == pytest.approx(0)


@pytest.mark.parametrize("confidence, right, message", [
    ([0.5, 1.5], [True, False], r"confidence runs from 0\.5 to 1\.5; give probabilities, from 0 to 1"),
    ([-0.5], [True], r"confidence runs from -0\.5 to -0\.5"),
])
def test_confidences_that_are_no_probabilities(confidence, right, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(confidence, np.array(right))
    assert np.isfinite(risk_coverage(confidence, np.array(right)).aurc)  # which asks for an order alone


@pytest.mark.parametrize("measure", [expected_calibration_error, risk_coverage])
@pytest.mark.parametrize("confidence, right, message", [
    ([], [], r"confidence \(0,\) and right float64 \(0,\) must be numbers and bool \(picture,\), of the same pictures "
     "and at least one"),
    ([0.5], [True, False], r"confidence \(1,\) and right bool \(2,\)"), ([0.5], [1], r"right int64 \(1,\)"),
    ([[0.5]], [[True]], r"confidence \(1, 1\)"),
    ([0.5, NAN], [True, True], "confidence holds values that are not finite; leave out such pictures"),
])
def test_confidences_that_cannot_be_measured(measure, confidence, right, message):
    with pytest.raises(ValueError, match=message):
        measure(confidence, np.array(right))


def test_there_must_be_a_bin():
    with pytest.raises(ValueError, match="bins=0 must be at least 1, for example 10"):
        expected_calibration_error([0.5], np.array([True]), bins=0)


# --- Risk and coverage -----------------------------------------------------------------------------------------------


def slow_risk(confidence, right):
    """Mean over every order of pictures in which none comes before a more confident one."""
    risks = []
    for order in itertools.permutations(range(len(right))):
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order)):
            risks.append([sum(not right[i] for i in order[: n + 1]) / (n + 1) for n in range(len(order))])
    return np.mean(risks, axis=0)


@pytest.mark.parametrize("seed", range(12))
def test_risk_against_all_orders(seed):
    rng = np.random.default_rng(seed)
    confidence, right = rng.integers(0, 4, 6) / 4 - 0.5, rng.random(6) < 0.6  # ties, also of confidences below 0
    curve = risk_coverage(confidence, right)
    expected = slow_risk(confidence, right)
    np.testing.assert_allclose(curve.risk, expected, atol=1e-12)
    np.testing.assert_allclose(curve.coverage, [n / 6 for n in range(1, 7)])
    assert curve.aurc == pytest.approx(expected.mean()) and curve.risk[-1] == pytest.approx((~right).mean())


def test_risk_by_hand():
    right = np.array([True, True, False, False])
    assert risk_coverage([0.9, 0.8, 0.2, 0.1], right).risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert risk_coverage([0.1, 0.2, 0.8, 0.9], right).risk.tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2])
    assert risk_coverage([0.3] * 4, right).risk.tolist() == pytest.approx([0.5] * 4)  # who knows nothing, at any order
    assert risk_coverage([0.0, -0.0], np.array([True, False])).risk.tolist() == [0.5, 0.5]
    assert risk_coverage(np.random.default_rng(0).random(50), np.ones(50, bool)).aurc == 0


def test_risk_does_not_depend_on_the_order_of_pictures():
    rng = np.random.default_rng(0)
    confidence, right = np.round(rng.random(60), 1), rng.random(60) < 0.5
    order = rng.permutation(60)
    np.testing.assert_allclose(risk_coverage(confidence[order], right[order]).risk,
                               risk_coverage(confidence, right).risk)
