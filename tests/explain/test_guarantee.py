"""Promises of tiers: exact numbers, and how often they are broken where the truth is known."""

import numpy as np
import pytest

from asxai.explain.guarantee import PROBABLY_LEVELS, SURE_LEVELS, certify


def certified(pictures, wrong, levels=SURE_LEVELS):
    """Of so many pictures, all above every threshold."""
    return certify(np.ones(pictures), np.arange(pictures) >= wrong, levels, 0.9, 0.5)


@pytest.mark.parametrize(
    "pictures, wrong, level",
    [(299, 0, 0.01), (298, 0, 0.025), (119, 0, 0.025), (118, 0, 0.05), (59, 0, 0.05), (29, 0, 0.1), (46, 1, 0.1),
     (473, 1, 0.01), (472, 1, 0.025)],
)  # fmt: skip
def test_levels_that_pictures_can_bear(pictures, wrong, level):
    promise = certified(pictures, wrong)
    assert promise.level == level and (promise.pictures, promise.wrong) == (pictures, wrong)
    assert promise.threshold == pytest.approx(0.5 if level == 0.01 else 0.9)  # only the target's own go further down


@pytest.mark.parametrize("pictures, wrong", [(28, 0), (45, 1), (0, 0), (300, 60)])
def test_nothing_is_promised_that_they_cannot_bear(pictures, wrong):
    promise = certified(pictures, wrong)
    assert promise.threshold == np.inf and "too few" in str(promise)


def test_thresholds_stop_where_errors_begin():
    confidence, right = np.linspace(0, 1, 1001), np.linspace(0, 1, 1001) > 0.4
    promise = certify(confidence, right, PROBABLY_LEVELS, 0.8, 0.0)
    assert 0.3 < promise.threshold < 0.4 and promise.wrong / promise.pictures < 0.1
    assert str(promise) == "at most 10 in 100 such answers are wrong"


def test_a_promise_is_broken_in_at_most_five_of_a_hundred_draws():
    """Above t exactly .05 (1 - t)^2 are wrong; the share of wrong ones among the calibration pictures would mislead."""
    generator, broken, misled, used = np.random.default_rng(0), 0, 0, 0
    risk = lambda threshold: 0.05 * (1 - threshold) ** 2
    for _ in range(1000):
        confidence = generator.random(400)
        right = generator.random(400) > 0.15 * (1 - confidence) ** 2
        promise = certify(confidence, right, (0.05, 0.025), 0.55, 0.0)
        used += np.isfinite(promise.threshold)
        broken += np.isfinite(promise.threshold) and risk(promise.threshold) > promise.level
        shares = {t: np.mean(~right[confidence > t]) for t in np.linspace(0.55, 0, 20)}
        misled += risk(min(t for t, share in shares.items() if share <= 0.025 or t == 0.55)) > 0.025
    assert used > 800 and broken <= 50 and misled > 150
