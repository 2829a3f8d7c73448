"""What a tier promises: a threshold of confidence with a finite-sample guarantee, from pictures with known answers.

    promise = certify(confidence, right, SURE_LEVELS, strict, lenient)      # `Promise`
    promise.threshold, promise.level                # wrong in at most this share above it, with 95 % confidence

Guaranteed is the *selective risk*: of the answers whose confidence is above the threshold at most the share `level` is
wrong, with a probability of 95 % over the choice of the calibration pictures, for pictures that are drawn as these are.
Nothing is promised for a single picture, for a class by itself, or for pictures of another kind. Validation pictures,
which folders calibrate on, also ended the training, so that their promise is a little less exact; notebook 06 counts.

Above a threshold that was fixed beforehand, wrong answers are binomial, so that a binomial test needs no assumption.
Several thresholds and levels are tried in an order that is fixed beforehand, each only if all before it hold: the last
that holds is promised, and the chance that any promise is false stays 5 % (fixed-sequence testing, as in Learn then
Test: Angelopoulos et al., Annals of Applied Statistics 2025). All answers must be right in 299 pictures to promise
1 %, in 119 to promise 2.5 %, in 29 to promise 10 %.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import binom

DELTA = 0.05  # probability of calibration pictures that make a promise false
SURE_LEVELS = (0.1, 0.05, 0.025, 0.01)  # the weakest promise that is still called sure comes first
PROBABLY_LEVELS = (0.1,)
STEPS = 20  # thresholds from strict to lenient


class Promise(NamedTuple):
    """What is promised of answers whose confidence is above a threshold."""

    threshold: float  # inf where nothing can be promised
    level: float  # share of wrong answers at most; NaN where nothing can be promised
    pictures: int  # calibration pictures above the threshold,
    wrong: int  # and how many of them are answered wrongly

    def __str__(self) -> str:
        if not np.isfinite(self.threshold):
            return "too few calibration pictures are answered rightly to promise anything"
        return f"at most {100 * self.level:g} in 100 such answers {'is' if self.level <= 0.01 else 'are'} wrong"


def certify(confidence: np.ndarray, right: np.ndarray, levels: tuple, strict: float, lenient: float) -> Promise:
    """The strongest `Promise` that calibration pictures bear.

    confidence: `(picture,)`. right: bool `(picture,)`, of the same pictures, none of which chose anything before.
    levels: first all are tried at the threshold `strict`, from the weakest; if the last holds, thresholds go down to
    `lenient`. Both thresholds must come from elsewhere than from `right`.
    """
    steps = [(strict, level) for level in levels]
    steps += [(threshold, levels[-1]) for threshold in np.linspace(strict, lenient, STEPS)[1:]]
    best = Promise(np.inf, np.nan, 0, 0)
    for threshold, level in steps:
        above = confidence > threshold
        pictures, wrong = int(above.sum()), int((above & ~right).sum())
        if not pictures or binom.cdf(wrong, pictures, level) > DELTA:
            break
        best = Promise(float(threshold), level, pictures, wrong)
    return best
