"""Semantic vectors, what they measure in pictures, and how well they tell concepts apart.

    vector = semantic_vector(kept, removed)                # features with the concept, and without it
    scores = weighted_activation(features, [vector, ...])  # A_s of eq. 12, (picture, concept)
    normality(scores[:, 0]).r2                             # how straight the q-q plot is
    specificity([(scores, scores_removed)]).share          # does a concept's removal lower its own A_s most

Features are pooled, `(picture, channel)`. Everything is computed in float64; results are NumPy arrays.

References
    Straightness of q-q plots: Filliben, Technometrics 1975. Shapiro & Wilk, Biometrika 1965.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch

from ..statistics import bootstrap
from .pca import ROUNDING, row_centred_pca

# --- Semantic vectors ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SemanticVector:
    """The channels that a concept changes most, and by how much. Made by `semantic_vector`."""

    channels: np.ndarray  # int64 (top,): of the largest |difference|, the largest first
    weights: np.ndarray  # (top,): the difference there, with its sign
    kept: np.ndarray  # (channel,): trait of the pictures with the concept
    removed: np.ndarray  # (channel,): trait of those without

    @property
    def row(self) -> np.ndarray:
        """`(channel,)`: features @ row is the mean over the chosen channels of weight times activation."""
        row = np.zeros(len(self.kept))
        row[self.channels] = self.weights / len(self.channels)
        return row


def semantic_vector(kept, removed, top: int = 5) -> SemanticVector:
    """The `top` channels that tell pictures with a concept from pictures without it; `SemanticVector`.

    kept, removed: features `(picture, channel)`. The two sets may differ in size: traits are on the scale of one
        picture

    First component with the concept minus first component without, the largest channels by magnitude (section 2.3.4;
    the paper does not say more, the difference and the five channels are the published code's). Pictures with a concept
    are either whole ones, as in that code, or such of which only the concept is left; but what the latter have in
    common first of all is that most of them is hidden, whatever the concept. Raises ValueError as `row_centred_pca`,
    for top above the number of channels, or for equal sets.
    """
    kept, removed = (row_centred_pca(features).trait for features in (kept, removed))
    difference = kept - removed
    if not 1 <= top <= len(difference):
        raise ValueError(f"top={top} must be from 1 to {len(difference)}, the number of channels; the paper takes 5")
    if np.abs(difference).max() <= ROUNDING * max(np.abs(kept).max(), np.abs(removed).max()):
        raise ValueError("kept and removed have the same trait; give pictures that the masks have changed")
    channels = np.argsort(-np.abs(difference), kind="stable")[:top]
    return SemanticVector(channels, difference[channels], kept, removed)


def weighted_activation(features: torch.Tensor, vectors: list[SemanticVector]) -> np.ndarray:
    """A_s of pictures (eq. 12): mean over a vector's channels of weight times activation, `(picture, concept)`.

    features: `(picture, channel)`
    """
    return features.double().cpu().numpy() @ np.stack([vector.row for vector in vectors]).T


# --- Normal distribution ---------------------------------------------------------------------------------------------


class Normality(NamedTuple):
    """How close values are to a normal distribution, and the points of their q-q plot."""

    r2: float  # squared correlation of theoretical and ordered: of the q-q plot, 1 is a straight line
    w: float  # Shapiro & Wilk
    p: float  # of w, for the hypothesis that the values are normal; approximate above 5000 values
    count: int
    mean: float
    std: float  # over count - 1
    skew: float
    theoretical: np.ndarray  # (count,): quantiles of the standard normal distribution
    ordered: np.ndarray  # (count,): the values, ascending
    slope: float  # of the line through the points, and where it crosses 0
    intercept: float


def normality(values: np.ndarray) -> Normality:
    """Measures of a q-q plot against the normal distribution, of values `(count,)`, in any order; `Normality`.

    The published code reports w as "R^2". The two are nearly the same number, for W is the same correlation with other
    quantiles (Shapiro & Francia, JASA 1972): of 2000 values of a gamma distribution of shape 4 both are .95, of an
    exponential one both .82. Neither is a test without p, which is below 1e-20 for both. Raises ValueError for fewer
    than 3 values, or equal ones.
    """
    if len(values) < 3 or np.ptp(values) <= ROUNDING * np.abs(values).max():
        raise ValueError(f"values {np.unique(values)} say nothing of a distribution; give at least 3 that differ")
    (theoretical, ordered), (slope, intercept, r) = scipy.stats.probplot(values)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Nn] > 5000.*")  # said above
        w, p = scipy.stats.shapiro(values)
    mean, std, skew = values.mean(), values.std(ddof=1), scipy.stats.skew(values)
    return Normality(r**2, w, p, len(values), mean, std, skew, theoretical, ordered, slope, intercept)


# --- Specificity -----------------------------------------------------------------------------------------------------


class Specificity(NamedTuple):
    """Whether to remove a concept lowers its own A_s more than those of the other concepts of its class."""

    diagonal: np.ndarray  # bool (row,): of classes with several concepts, is the largest drop the own concept's?
    share: float  # of those rows, in [0, 1]; NaN if there are none
    low: float  # bootstrap interval of the share over pictures
    high: float


def concept_drops(unmasked: np.ndarray, removed: np.ndarray, weights=None) -> np.ndarray:
    """Mean drop of A_s when a concept is removed, `([draw,] removed, measured)`; positive: A_s falls.

    unmasked: A_s of whole pictures, `(picture, concept)`
    removed: A_s of the same pictures without a concept, `(removed concept, picture, measured concept)`
    weights: how often each picture counts, `(picture,)` or `(draw, picture)`; None: once

    The unit is the standard deviation of the measured concept's A_s over whole pictures (also by `weights`). Raises
    ValueError for a concept whose A_s is the same in all pictures.
    """
    same = np.ptp(unmasked, axis=0) <= ROUNDING * np.abs(unmasked).max(axis=0)
    if same.any():
        raise ValueError(
            f"unmasked: A_s of concepts {np.flatnonzero(same).tolist()} is the same in all pictures; give "
            "pictures that differ, or leave these concepts out"
        )
    weights = np.ones(len(unmasked)) if weights is None else np.asarray(weights, dtype=np.float64)
    weights = weights / weights.sum(axis=-1, keepdims=True)
    drops = np.tensordot(weights, (unmasked - removed).swapaxes(0, 1), 1)  # ([draw,] removed, measured)
    centred = unmasked - unmasked.mean(axis=0)  # so that squares keep their digits
    deviation = np.sqrt(np.maximum(weights @ centred**2 - (weights @ centred) ** 2, 0))  # ([draw,] measured)
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw may hold one picture only; NaN is no diagonal
        return drops / deviation[..., None, :]


def on_diagonal(drops: np.ndarray) -> np.ndarray:
    """Rows whose own drop is above 0 and above all others: `(..., removed, measured)` to bool `(..., removed)`."""
    diagonal = np.diagonal(drops, axis1=-2, axis2=-1)
    others = np.where(np.eye(drops.shape[-1], dtype=bool), -np.inf, drops).max(axis=-1)
    return (diagonal > 0) & (diagonal > others)  # False for NaN


def specificity(classes, draws: int = 1000, seed: int = 0) -> Specificity:
    """The share of rows of `concept_drops` with the largest drop on the diagonal, and its 95 % bootstrap interval.

    classes: a pair (unmasked, removed) as for `concept_drops` per class; rows of all classes count alike. A class of a
        single concept has no row: its drop there is nothing to compare with

    Pictures are drawn again within each class. Raises ValueError as `concept_drops`.
    """
    classes = [pair for pair in classes if pair[0].shape[1] > 1]
    if not classes:
        return Specificity(np.zeros(0, bool), np.nan, np.nan, np.nan)
    diagonal = np.concatenate([on_diagonal(concept_drops(*pair)) for pair in classes])
    labels = np.repeat(np.arange(len(classes)), [len(unmasked) for unmasked, _ in classes])

    def share(weights):
        drops = (concept_drops(*pair, weights[:, labels == label]) for label, pair in enumerate(classes))
        return np.concatenate([on_diagonal(own) for own in drops], axis=1).mean(axis=1)

    low, high = bootstrap(share, labels, draws, seed)
    return Specificity(diagonal, float(diagonal.mean()), float(low), float(high))
