"""Statistics."""

import math
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch
import torch.nn.functional as F
from scipy.stats import binomtest


def spearman(first, second):
    """Spearman's rank correlation of two arrays of the same shape, over entries where both are finite, in [-1, 1].

    Entries that tie share their mean rank. NaN for fewer than 3 entries or a constant side. Raises ValueError for
    shapes that differ.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"first {first.shape} and second {second.shape} differ: give one number for each entry")
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3:
        return float("nan")
    # ranks minus their mean are multiples of 1/2, so that sums of them are exact, and agreement gives 1, not almost 1
    first, second = (scipy.stats.rankdata(side[both]) - (both.sum() + 1) / 2 for side in (first, second))
    scale = (first @ first) * (second @ second)
    return float(first @ second / np.sqrt(scale)) if scale > 0 else float("nan")


def wilson(hits, count, level=0.95):
    """A share and its Wilson interval (Wilson, 1927), all NaN where count is 0."""
    if not count:
        return (math.nan,) * 3
    interval = binomtest(hits, count).proportion_ci(level, method="wilson")
    return hits / count, interval.low, interval.high


DRAWS_AT_ONCE = 100  # the tables of so many resamples stay in the processor's cache


def whole_numbers(values, name, axes, highest=None):
    """Whole numbers from 0 to `highest` with the axes that are named."""
    values = np.asarray(values)
    if values.ndim != len(axes) or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers ({', '.join(axes)}), not {values.dtype} {values.shape}")
    if values.size and (values.min() < 0 or (highest is not None and values.max() > highest)):
        upper = "any" if highest is None else highest
        raise ValueError(f"{name} run from {values.min()} to {values.max()}; use numbers from 0 to {upper}")
    return values


def picture_weights(weights, pictures):
    """float64 `(picture,)` or `(draw, picture)`: sums of whole numbers stay exact."""
    weights = np.ones(pictures, np.int64) if weights is None else np.asarray(weights)
    whole_numbers(weights, "weights", ("draw", "picture")[-max(weights.ndim, 1):])
    if weights.shape[-1] != pictures or (weights.sum(axis=-1) == 0).any():
        raise ValueError(f"weights {weights.shape} must say how often each of {pictures} pictures counts, not all 0")
    return weights.astype(np.float64)


def bootstrap(statistic, labels, draws=1000, seed=0, level=0.95):
    """Interval `(low, high)` of a statistic over pictures drawn again, with replacement, within each class.

    statistic: called with whole weights `(draw, picture)`, how often each picture was drawn; gives `(draw,)`, or
    `(draw, ...)` for several numbers at once, each with its own interval

    Percentile interval (Efron & Tibshirani, 1993) that holds the share `level` of the draws: how much the pictures
    matter, not the seed of a training. The same seed and labels `(picture,)` give the same draws, so that a difference
    of two methods can be the statistic. Draws in which it is NaN are left out. Raises ValueError for draws below 1, a
    level outside (0, 1), or a statistic that does not give one result per draw.
    """
    labels = whole_numbers(labels, "labels", ("picture",))
    if not len(labels) or draws < 1 or not 0 < level < 1:
        raise ValueError(f"labels of {len(labels)} pictures, draws={draws}, level={level}: give at least one picture "
                         "and one draw, and a level between 0 and 1, for example 0.95")
    generator = np.random.default_rng(seed)
    weights = np.zeros((draws, len(labels)), np.int64)
    for label, count in zip(*np.unique(labels, return_counts=True)):
        weights[:, labels == label] = generator.multinomial(count, np.full(count, 1 / count), size=draws)
    values = []
    for start in range(0, draws, DRAWS_AT_ONCE):
        block = weights[start : start + DRAWS_AT_ONCE]
        values.append(np.asarray(statistic(block), dtype=np.float64))
        if values[-1].shape[:1] != block.shape[:1]:
            raise ValueError(f"statistic gives {values[-1].shape} for weights {block.shape}; give one result per draw")
    values, tails = np.concatenate(values), [(1 - level) / 2, (1 + level) / 2]
    missing = np.isnan(values).all(axis=0)  # nanquantile warns where every draw is NaN
    low, high = np.where(missing, np.nan, np.nanquantile(np.where(missing, 0, values), tails, axis=0))
    return low, high


def evenly(length, count):
    """Indices of at most `count` of `length` things, evenly spread, ascending."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))


def rms_cosine(basis):
    """Root of the mean square of the off-diagonal cosines inside a class, mean over classes; NaN for single vectors."""
    unit = F.normalize(torch.as_tensor(basis).detach().cpu().double(), dim=2)
    squares = (unit @ unit.transpose(1, 2)).square()
    count = squares.shape[1]
    off = squares.sum(dim=(1, 2)) - squares.diagonal(dim1=1, dim2=2).sum(dim=1)
    return float((off / (count * (count - 1))).clamp(min=0).sqrt().mean()) if count > 1 else np.nan


def cosine_bound(vectors, channels):
    """The least root mean square cosine of so many vectors: 0 unless there are more of them than channels.

    M unit vectors in D dimensions have a sum of squared off-diagonal cosines of at least M^2 / D - M (Welch, IEEE
    Trans. Inf. Theory 1974); there are M (M - 1) of them.
    """
    return float(np.sqrt(max(vectors - channels, 0) / (channels * max(vectors - 1, 1))))


def kendall(values):
    """Kendall's tau of `(..., item)` with a falling order: pairs in that order less others, over all pairs."""
    first, second = np.triu_indices(values.shape[-1], k=1)
    return np.sign(values[..., first] - values[..., second]).mean(axis=-1)


def accuracy_interval(right, pictures, level=0.95):
    """Lower and upper end of the exact interval (Clopper & Pearson, 1934) of an accuracy, in [0, 1]."""
    found = binomtest(int(right), int(pictures)).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def expected_calibration_error(confidence, right, bins=10):
    """Mean gap between confidence and accuracy over bins of equal width, weighted by pictures, in [0, 1].

    confidence: in [0, 1], `(picture,)`; right: bool `(picture,)`. A confidence on the border of two bins counts in the
    upper one. Raises ValueError for other values or shapes, or fewer than one bin.
    """
    confidence, right = _confidence(confidence, right)
    if confidence.min() < 0 or confidence.max() > 1:
        raise ValueError(f"confidence runs from {confidence.min():g} to {confidence.max():g}; give probabilities, from "
                         "0 to 1")
    if bins < 1:
        raise ValueError(f"bins={bins} must be at least 1, for example 10")
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


class RiskCoverage(NamedTuple):
    """Errors among the most confident pictures, as more and more are answered."""

    coverage: np.ndarray  # (picture,): share of pictures that are answered, ascending
    risk: np.ndarray  # (picture,): share of errors among them
    aurc: float  # area under the curve: mean risk; lower is better


def risk_coverage(confidence, right):
    """`RiskCoverage` of confidences and hits `(picture,)`. Pictures that tie share the mean of their hits.

    Raises ValueError for other shapes or values.
    """
    confidence, right = _confidence(confidence, right)
    values, index = np.unique(-confidence, return_inverse=True)  # the most confident first
    errors = np.bincount(index, ~right, minlength=len(values)) / np.bincount(index, minlength=len(values))
    expected = np.sort(index)  # which tie each place falls into
    risk = np.cumsum(errors[expected]) / np.arange(1, len(right) + 1)
    return RiskCoverage(np.arange(1, len(right) + 1) / len(right), risk, float(risk.mean()))


def _confidence(confidence, right):
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right)
    if confidence.ndim != 1 or right.shape != confidence.shape or right.dtype != bool or not len(right):
        raise ValueError(f"confidence {confidence.shape} and right {right.dtype} {right.shape} must be numbers and "
                         "bool (picture,), of the same pictures and at least one")
    if not np.isfinite(confidence).all():
        raise ValueError("confidence holds values that are not finite; leave out such pictures")
    return confidence, right
