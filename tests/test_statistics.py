"""Statistics against loops, all orders, and by hand."""

import itertools

import numpy as np
import pytest
from helpers import slow_calibration_error

from asxai.statistics import expected_calibration_error, risk_coverage, spearman, spearman_rows

NAN = np.nan


def slow_spearman(first, second):
    pairs = [(a, b) for a, b in zip(first, second) if np.isfinite(a) and np.isfinite(b)]
    if len(pairs) < 3:
        return NAN
    places = [[sum(y < x for y in side) + (sum(y == x for y in side) + 1) / 2 for x in side] for side in zip(*pairs)]
    a, b = (np.array(side) - np.mean(side) for side in places)
    return sum(a * b) / np.sqrt(sum(a * a) * sum(b * b)) if a.any() and b.any() else NAN


def test_spearman_against_loops():
    rng, finite = np.random.default_rng(0), 0
    for length in np.repeat([3, 4, 5, 8, 30], 20):
        first, second = rng.integers(0, 6, (2, length)) / 4
        first[rng.random(length) < 0.1], second[rng.random(length) < 0.1] = NAN, np.inf
        np.testing.assert_allclose(spearman(first, second), slow_spearman(first, second), rtol=1e-12, atol=1e-15)
        finite += np.isfinite(spearman(first, second))
    assert 60 < finite < 100  # both kinds are among them
    rows, other = rng.integers(0, 4, (40, 3)), np.array([2, 0, 1])
    expected = [slow_spearman(row, other) for row in rows]
    np.testing.assert_allclose(spearman_rows(rows, other[None]), expected, rtol=1e-12, atol=1e-15)
    assert np.isnan(expected).any()


def test_spearman_by_hand():
    assert spearman([1, 2, 5], [0.1, 20, 21]) == 1 and spearman([1, 2, 5], [3, 2, 1]) == -1
    assert spearman([1, 2, 3, NAN], [1, 3, 2, 0]) == 0.5
    for first, second in (([1, 2, NAN], [1, 2, 3]), ([4, 4, 4, NAN], [1, 2, 3, 4]), ([1, 2, 3], [7, 7, 7]), ([], [])):
        assert np.isnan(spearman(first, second))


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_calibration_error_against_a_loop(bins, count):
    rng = np.random.default_rng(count)
    confidence = np.round(rng.random(count), 1)  # many on the borders of bins, 0 and 1 among them
    right = rng.random(count) < confidence
    expected = slow_calibration_error(confidence, right, bins)
    assert expected_calibration_error(confidence, right, bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand():
    yes, no = np.array([True]), np.array([False])
    assert expected_calibration_error([1.0], yes) == 0 and expected_calibration_error([1.0], no) == 1
    assert expected_calibration_error([0.75] * 4, np.array([True, True, True, False])) == 0
    # opposite errors in different bins do not cancel; in one bin they do
    assert expected_calibration_error([0.85, 0.15], np.array([False, True])) == pytest.approx(0.85)
    assert expected_calibration_error([0.85, 0.15], np.array([False, True]), bins=1) == pytest.approx(0)


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
    assert curve.augrc == pytest.approx((expected * curve.coverage).mean())  # wrong and answered, of all
    order = rng.permutation(6)
    np.testing.assert_allclose(risk_coverage(confidence[order], right[order]).risk, curve.risk)


def test_risk_by_hand():
    right = np.array([True, True, False, False])
    assert risk_coverage([0.9, 0.8, 0.2, 0.1], right).risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert risk_coverage([0.1, 0.2, 0.8, 0.9], right).risk.tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2])
    assert risk_coverage([0.3] * 4, right).risk.tolist() == pytest.approx([0.5] * 4)  # who knows nothing, at any order
    assert risk_coverage([0.0, -0.0], np.array([True, False])).risk.tolist() == [0.5, 0.5]
    assert risk_coverage(np.random.default_rng(0).random(50), np.ones(50, bool)).aurc == 0
