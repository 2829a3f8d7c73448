"""Statistics for every room: rank correlations, intervals, how sure answers are, and cosines inside a basis."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch
import torch.nn.functional as F

DRAWS_AT_ONCE = 100  # the tables of so many resamples stay in the processor's cache


def evenly(length: int, count: int) -> np.ndarray:
    """Indices of at most `count` of `length` things, evenly spread, ascending."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))


# --- Orders ----------------------------------------------------------------------------------------------------------


def spearman(first, second) -> float:
    """Spearman's rank correlation of two arrays `(entry,)`, over entries where both are finite, in [-1, 1].

    Entries that tie share their mean rank. NaN for fewer than 3 entries or a constant side.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.isfinite(first) & np.isfinite(second)
    return float(spearman_rows(first[both], second[both])) if both.sum() >= 3 else math.nan


def spearman_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The same of each row, `(..., entry)` to `(...)`, for finite numbers; NaN for a row with a constant side."""
    # ranks minus their mean are multiples of 1/2, so that sums of them are exact, and agreement gives 1, not almost 1
    first, second = (scipy.stats.rankdata(side, axis=-1) - (side.shape[-1] + 1) / 2 for side in (first, second))
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    return np.where(scale > 0, (first * second).sum(axis=-1) / np.where(scale > 0, scale, 1), np.nan)


def kendall(values: np.ndarray) -> np.ndarray:
    """Kendall's tau of `(..., item)` with a falling order: pairs in that order less others, over all pairs."""
    first, second = np.triu_indices(values.shape[-1], k=1)
    return np.sign(values[..., first] - values[..., second]).mean(axis=-1)


# --- Intervals -------------------------------------------------------------------------------------------------------


def wilson(hits: int, count: int) -> tuple[float, float, float]:
    """A share and its 95 % interval (Wilson, 1927), all NaN where count is 0."""
    if not count:
        return (math.nan,) * 3
    interval = scipy.stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return hits / count, interval.low, interval.high


def accuracy_interval(right: int, pictures: int) -> tuple[float, float]:
    """Lower and upper end of the exact 95 % interval (Clopper & Pearson, 1934) of an accuracy, in [0, 1]."""
    interval = scipy.stats.binomtest(right, pictures).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def picture_weights(weights, pictures: int) -> np.ndarray:
    """How often each picture counts, float64 `(picture,)` or `(draw, picture)`, so that sums stay exact; None: once."""
    return np.ones(pictures) if weights is None else np.asarray(weights, dtype=np.float64)


def bootstrap(statistic: Callable, labels, draws: int = 1000, seed=0, level: float = 0.95):
    """Interval `(low, high)` of a statistic over pictures drawn again, with replacement, within each class.

    statistic: called with whole weights `(draw, picture)`, how often each picture was drawn; gives `(draw,)`, or
    `(draw, ...)` for several numbers at once, each with its own interval

    Percentile interval (Efron & Tibshirani, 1993) that holds the share `level` of the draws: how much the pictures
    matter, not the seed of a training. The same seed and labels `(picture,)` give the same draws, so that a difference
    of two methods can be the statistic. Draws in which it is NaN are left out.
    """
    labels, generator = np.asarray(labels), np.random.default_rng(seed)
    weights = np.zeros((draws, len(labels)), np.int64)
    for label, count in zip(*np.unique(labels, return_counts=True)):
        weights[:, labels == label] = generator.multinomial(count, np.full(count, 1 / count), size=draws)
    blocks = (weights[start : start + DRAWS_AT_ONCE] for start in range(0, draws, DRAWS_AT_ONCE))
    values = np.concatenate([np.asarray(statistic(block), dtype=np.float64) for block in blocks])
    tails, missing = [(1 - level) / 2, (1 + level) / 2], np.isnan(values).all(axis=0)
    # nanquantile warns where every draw is NaN
    low, high = np.where(missing, np.nan, np.nanquantile(np.where(missing, 0, values), tails, axis=0))
    return low, high


# --- How sure answers are --------------------------------------------------------------------------------------------


def expected_calibration_error(confidence, right, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by pictures, in [0, 1].

    confidence: in [0, 1], `(picture,)`; right: bool `(picture,)`. A confidence on the border of two bins counts in the
    upper one.
    """
    confidence = np.asarray(confidence, np.float64)
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


class RiskCoverage(NamedTuple):
    """Errors among the most confident pictures, as more and more are answered."""

    coverage: np.ndarray  # (picture,): share of pictures that are answered, ascending
    risk: np.ndarray  # (picture,): share of errors among them
    aurc: float  # area under the curve: mean risk; lower is better
    augrc: float  # the same of errors among all pictures, not among those answered (Traub et al., NeurIPS 2024)


def risk_coverage(confidence, right) -> RiskCoverage:
    """`RiskCoverage` of confidences and hits (bool), both `(picture,)`. Pictures that tie share the mean of hits."""
    values, index = np.unique(-np.asarray(confidence, np.float64), return_inverse=True)  # the most confident first
    errors = np.bincount(index, ~right, minlength=len(values)) / np.bincount(index, minlength=len(values))
    expected = np.sort(index)  # which tie each place falls into
    answered = np.arange(1, len(right) + 1)
    missed = np.cumsum(errors[expected])
    risk = missed / answered
    return RiskCoverage(answered / len(right), risk, float(risk.mean()), float((missed / len(right)).mean()))


# --- Cosines inside a basis ------------------------------------------------------------------------------------------


def rms_cosine(basis: torch.Tensor) -> float:
    """Root of the mean square of the off-diagonal cosines inside a class, mean over classes; NaN for single vectors.

    basis: `(class, basis, channel)`
    """
    unit = F.normalize(basis.detach().cpu().double(), dim=2)
    squares = (unit @ unit.transpose(1, 2)).square()
    count = squares.shape[1]
    off = squares.sum(dim=(1, 2)) - squares.diagonal(dim1=1, dim2=2).sum(dim=1)
    return float((off / (count * (count - 1))).clamp(min=0).sqrt().mean()) if count > 1 else np.nan


def cosine_bound(vectors: int, channels: int) -> float:
    """The least root mean square cosine of so many vectors: 0 unless there are more of them than channels.

    M unit vectors in D dimensions have a sum of squared off-diagonal cosines of at least M^2 / D - M (Welch, IEEE
    Trans. Inf. Theory 1974); there are M (M - 1) of them.
    """
    return float(np.sqrt(max(vectors - channels, 0) / (channels * max(vectors - 1, 1))))
