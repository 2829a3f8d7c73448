"""What pictures have in common: row-centred PCA, semantic vectors, and how well these tell concepts apart.

    common = row_centred_pca(features, k=3)                            # (picture, channel[, height, width])
    common = StreamingRowCentredPCA(304).update(batch).finish(k=3)     # the same for pictures that fill no memory
    vector = semantic_vector(kept, removed)                            # features with the concept, and without it
    scores = weighted_activation(features, [vector, ...])              # A_s of eq. 12, (picture, concept)
    normality(scores[:, 0]).r2                                         # how straight the q-q plot is
    specificity([(scores, scores_removed)]).share                      # does a concept's removal lower its own A_s most

Row-centred PCA (eqs. 7-9) swaps the roles of ordinary PCA: pictures are the variables and channels the samples. W
`(picture, channel)` holds a feature vector in each row; each is centred over its channels, and P = W^ W^' / (channel -
1) compares pictures. The paper calls m "the total sample", but eq. 8 divides by m - 1 what was summed over columns, so
that m is the number of channels. With U the eigenvectors of P, component k is W' U_k: a vector over channels, a sum of
pictures with the weights U_k. The first is close to an average picture, since features of one network are alike.

Everything is computed in float64. Features may be tensors or arrays; results are NumPy arrays.

References
    Row-centred PCA for CNNs: Li et al., S-XAI, 2022 (the paper's reference 34).
    Straightness of q-q plots: Filliben, Technometrics 1975. Shapiro & Wilk, Biometrika 1965.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch

from ..data.datasets import spread_over
from ..statistics import bootstrap
from .pca import ROUNDING, Components, check_finite, row_centred_pca
from .pooled import POOLS, hidden_features, split_pooled

# --- Semantic vectors ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SemanticVector:
    """The channels that a concept changes most, and by how much. Made by `semantic_vector`."""

    channels: np.ndarray  # int64 (top,): of the largest |difference|, the largest first
    weights: np.ndarray  # (top,): the difference there, with its sign
    kept: np.ndarray  # (channel,): trait of the pictures with the concept
    removed: np.ndarray  # (channel,): trait of those without
    difference: np.ndarray  # (channel,): what the channels were chosen by: kept - removed
    explained_variance_ratio: np.ndarray  # (2,): of the first component, with the concept and without

    @property
    def row(self):
        """`(channel,)`: features @ row is the mean over the chosen channels of weight times activation."""
        row = np.zeros(len(self.difference))
        row[self.channels] = self.weights / len(self.channels)
        return row


def semantic_vector(kept, removed, top=5, centred=False, pool="mean"):
    """The `top` channels that tell pictures with a concept from pictures without it; `SemanticVector`.

    kept, removed: features `(picture, channel)`, or `(picture, channel, height, width)`, which are pooled first, or
        `Components` of pooled ones. The two sets may differ in size: traits are on the scale of one picture.
    centred: as in `row_centred_pca`; of no effect on `Components`
    pool: "mean" over positions (the paper's) or "max", to which a small concept counts as much as a large one

    First component with the concept minus first component without, the largest channels by magnitude (section 2.3.4;
    the paper does not say more, the difference and the five channels are the published code's). Pictures with a concept
    are either whole ones, as in that code, or such of which only the concept is left; but what the latter have in
    common first of all is that most of them is hidden, whatever the concept. Raises ValueError as `row_centred_pca`,
    for an absent concept too, for sets of other channels, top above these, equal sets, or another pool.
    """
    kept, removed = (own if isinstance(own, Components) else row_centred_pca(_pooled(own, name, pool), 1, centred)
                     for own, name in ((kept, "kept"), (removed, "removed")))
    if kept.trait.ndim != 1 or kept.trait.shape != removed.trait.shape:
        raise ValueError(f"traits of kept {kept.trait.shape} and removed {removed.trait.shape} must be of the same "
                         "channels and pooled; use the same layer for both")
    difference = kept.trait - removed.trait
    if not 1 <= top <= len(difference):
        raise ValueError(f"top={top} must be from 1 to {len(difference)}, the number of channels; the paper takes 5")
    if np.abs(difference).max() <= ROUNDING * max(np.abs(kept.trait).max(), np.abs(removed.trait).max()):
        raise ValueError("kept and removed have the same trait; give pictures that the masks have changed")
    channels = np.argsort(-np.abs(difference), kind="stable")[:top]
    return SemanticVector(channels, difference[channels], kept.trait, removed.trait, difference,
                          np.array([own.explained_variance_ratio[0] for own in (kept, removed)]))


def weighted_activation(features, vectors, pool="mean"):
    """A_s of pictures (eq. 12): mean over a vector's channels of weight times activation, `(picture[, concept])`.

    features: `(picture, channel)`, or `(picture, channel, height, width)`, which are pooled first, as for the vectors
    vectors: a `SemanticVector`, a list of them, which puts an axis `concept` behind, or their rows `([concept,]
        channel)` as an array

    Raises ValueError for another number of channels, values that are not finite, or another pool.
    """
    pooled = _pooled(features, "features", pool).numpy()
    if isinstance(vectors, SemanticVector):
        rows = vectors.row
    else:
        rows = np.stack([own.row if isinstance(own, SemanticVector) else np.asarray(own) for own in vectors])
    if rows.ndim > 2 or rows.shape[-1] != pooled.shape[1]:
        raise ValueError(f"vectors {rows.shape} must be of the {pooled.shape[1]} channels of features; use those of "
                         "the same layer")
    check_finite(pooled, "features")
    return pooled @ rows.T


def _pooled(features, name, pool):
    """Features without positions, float64 `(picture, channel)` on the CPU."""
    if pool not in POOLS:
        raise ValueError(f"pool={pool!r} is unknown; use one of {', '.join(POOLS)}")
    features = torch.as_tensor(features).detach().cpu().double()
    if features.ndim not in (2, 4):
        raise ValueError(f"{name} {tuple(features.shape)} must be (picture, channel) or (picture, channel, height, "
                         "width)")
    if not len(features):
        raise ValueError(f"{name} are of no pictures: no picture shows the concept; leave out concepts that a class "
                         "lacks")
    return POOLS[pool](features) if features.ndim == 4 else features


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


def normality(values):
    """Measures of a q-q plot against the normal distribution, of values `(count,)`, in any order; `Normality`.

    The published code reports w as "R^2". The two are nearly the same number, for W is the same correlation with other
    quantiles (Shapiro & Francia, JASA 1972): of 2000 values of a gamma distribution of shape 4 both are .95, of an
    exponential one both .82. Neither is a test without p, which is below 1e-20 for both. Raises ValueError for fewer
    than 3 values, equal or infinite ones, NaN.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 3:
        raise ValueError(f"values {values.shape} must be numbers (count,), at least 3, to say anything of their "
                         "distribution")
    check_finite(values, "values")
    if np.ptp(values) <= ROUNDING * np.abs(values).max():
        raise ValueError(f"values are all {values[0]:.6g}; a constant has no distribution, see why nothing changes it")
    (theoretical, ordered), (slope, intercept, r) = scipy.stats.probplot(values)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Nn] > 5000.*")  # said above
        w, p = scipy.stats.shapiro(values)
    return Normality(float(r**2), float(w), float(p), len(values), float(values.mean()), float(values.std(ddof=1)),
                     float(scipy.stats.skew(values)), theoretical, ordered, float(slope), float(intercept))


# --- Specificity -----------------------------------------------------------------------------------------------------


class Specificity(NamedTuple):
    """Whether to remove a concept lowers its own A_s more than those of the other concepts of its class."""

    drops: tuple  # per class (removed, measured): mean drop of A_s in the unit of the measured concept
    diagonal: np.ndarray  # bool (row,): of classes with several concepts, is the largest drop the own concept's?
    share: float  # of those rows, in [0, 1]; NaN if there are none
    low: float  # bootstrap interval of the share over pictures
    high: float


def concept_drops(unmasked, removed, unit="deviation", weights=None):
    """Mean drop of A_s when a concept is removed, `([draw,] removed, measured)`, in units of the measured concept.

    unmasked: A_s of whole pictures, `(picture, concept)`
    removed: A_s of the same pictures without a concept, `(removed concept, picture, measured concept)`
    unit: "deviation", standard deviations of that concept's A_s over whole pictures (also those of `weights`); "mean",
        its mean magnitude there; "response", the root mean square of its mean drops over all removed concepts, so that
        an A_s that reacts to whatever is removed counts no more than another; or "none"
    weights: how often each picture counts, `(picture,)` or `(draw, picture)`, as in `asxai.benchmarks.agreement`

    Positive: A_s falls. Raises ValueError for shapes that do not fit, no concept, fewer than 2 pictures, another unit,
    values that are not finite, or a concept whose A_s is the same in all pictures.
    """
    unmasked, removed = np.asarray(unmasked, dtype=np.float64), np.asarray(removed, dtype=np.float64)
    if (unmasked.ndim != 2 or len(unmasked) < 2 or not unmasked.shape[1]
            or removed.shape != (unmasked.shape[1], *unmasked.shape)):
        raise ValueError(f"unmasked {unmasked.shape} and removed {removed.shape} must be (picture, concept) and "
                         "(concept, picture, concept), of at least 2 pictures and a concept")
    check_finite(unmasked, "unmasked")
    check_finite(removed, "removed")
    if unit not in UNITS:
        raise ValueError(f"unit={unit!r} is unknown; use one of {', '.join(UNITS)}")
    same = np.ptp(unmasked, axis=0) <= ROUNDING * np.abs(unmasked).max(axis=0)
    if same.any():
        raise ValueError(f"unmasked: A_s of concepts {np.flatnonzero(same).tolist()} is the same in all pictures; give "
                         "pictures that differ, or leave these concepts out")
    weights = np.ones(len(unmasked)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape[-1] != len(unmasked):
        raise ValueError(f"weights {weights.shape} must say how often each of {len(unmasked)} pictures counts")
    weights = weights / weights.sum(axis=-1, keepdims=True)
    drops = np.tensordot(weights, (unmasked - removed).swapaxes(0, 1), 1)  # ([draw,] removed, measured)
    scale = UNITS[unit](unmasked, drops, weights)  # ([draw,] measured)
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw may hold one picture only; NaN is no diagonal
        return drops / scale[..., None, :]


def _deviation(unmasked, drops, weights):
    centred = unmasked - unmasked.mean(axis=0)  # so that squares keep their digits
    return np.sqrt(np.maximum(weights @ centred**2 - (weights @ centred) ** 2, 0))


UNITS = {"deviation": _deviation, "mean": lambda unmasked, drops, weights: weights @ np.abs(unmasked),
         "response": lambda unmasked, drops, weights: np.sqrt((drops**2).mean(axis=-2)),
         "none": lambda unmasked, drops, weights: np.ones((*weights.shape[:-1], unmasked.shape[1]))}


def on_diagonal(drops):
    """Rows whose own drop is above 0 and above all others: `(..., removed, measured)` to bool `(..., removed)`."""
    drops = np.asarray(drops)
    own = np.diagonal(drops, axis1=-2, axis2=-1)
    others = np.where(np.eye(drops.shape[-1], dtype=bool), -np.inf, drops).max(axis=-1)
    return (own > 0) & (own > others)  # False for NaN


def specificity(classes, unit="deviation", draws=1000, seed=0, level=0.95):
    """Drops, the share of rows with the largest on the diagonal, and its bootstrap interval; `Specificity`.

    classes: a pair (unmasked, removed) as for `concept_drops` per class; rows of all classes count alike, but not that
        of a class with a single concept, whose drop there is nothing to compare with

    Pictures are drawn again within each class. Raises ValueError as `concept_drops` and `bootstrap`.
    """
    classes = [(np.asarray(unmasked), np.asarray(removed)) for unmasked, removed in classes]
    if not classes:
        raise ValueError("classes are none; give a pair (unmasked, removed) for each class")
    drops = tuple(concept_drops(*own, unit) for own in classes)
    classes = [own for own in classes if own[0].shape[1] > 1]
    if not classes:
        return Specificity(drops, np.zeros(0, bool), np.nan, np.nan, np.nan)
    diagonal = np.concatenate([on_diagonal(own) for own in drops if len(own) > 1])
    labels = np.repeat(np.arange(len(classes)), [len(unmasked) for unmasked, _ in classes])

    def share(weights):
        return np.concatenate([on_diagonal(concept_drops(*own, unit, weights[:, labels == label]))
                               for label, own in enumerate(classes)], axis=1).mean(axis=1)

    low, high = bootstrap(share, labels, draws, seed, level)
    return Specificity(drops, diagonal, float(diagonal.mean()), float(low), float(high))


@dataclass(frozen=True, eq=False)
class ClassTraits:
    """The semantic vectors of a class, and A_s of pictures that did not make them."""

    class_name: str
    names: tuple  # (concept,)
    vectors: list  # (concept,) of SemanticVector
    unmasked: np.ndarray  # (picture, concept): A_s of whole test pictures
    removed: np.ndarray  # (removed concept, picture, measured concept): of the same without a concept
    held_out: np.ndarray  # (picture, concept): of all pictures of the class but those of the vectors
    reader: "_Reader"  # how A_s reads pooled features

    def normality(self):
        """`asxai.traits.vectors.Normality` of A_s of each concept, over the held-out pictures."""
        return [normality(values) for values in self.held_out.T]

    def drops(self):
        """Mean drop of A_s, `(removed, measured)`, in its standard deviations, see `asxai.traits.vectors.concept_drops`."""
        return concept_drops(self.unmasked, self.removed)


def common_traits(study, regions, pictures=60, measured=100, top=5, pool="max", against="whole", scale=True,
                  fill="black", desc="traits"):
    """`ClassTraits` of each class of a study.

    regions: where the concepts are, see the module's docstring
    pictures: training pictures of a class that make its vectors, evenly spread; measured: test pictures whose concepts
        are removed to see which A_s falls
    top: channels of a vector. pool: "max", as the network pools its own activation maps, or "mean", as in the published
        code, over which a concept of a twentieth of the picture is thinned out to a twentieth
    against: what pictures with the concept removed are compared with: "whole" pictures, as in the published code, or
        those of which only the concept is "kept"
    scale: whether a channel counts in its standard deviations over the training pictures; raw activations otherwise, of
        which channels of large numbers make up all vectors

    A concept that is in none of the pictures that make vectors, or in none that are measured, is left out. Raises
    ValueError for another `against` or `pool`, and as `semantic_vector`.
    """
    if against not in ("whole", "kept") or pool not in POOLS:
        raise ValueError(f"against={against!r}, pool={pool!r}: use 'whole' or 'kept', and {' or '.join(POOLS)}")
    of = _Reader(study, pool, scale)
    data, found = study.data, []
    for label, class_name in enumerate(study.class_names):
        train, test = (split.take(split.labels == label) for split in (data.train, data.test))
        chosen, shown = spread_over(train, pictures), spread_over(test, measured)
        region, seen = regions(label, chosen), regions(label, shown)
        names = tuple(name for name, own in zip(region.names, region.masks.flatten(2).any(2).any(0))
                      if own and name in seen.names)
        masks, shown_masks = (own.masks[:, [own.names.index(name) for name in names]] for own in (region, seen))
        progress = f"{desc}, {class_name}"
        removed = of(hidden_features(study, chosen, masks, False, fill, progress))
        kept = (of(hidden_features(study, chosen, masks, True, fill, progress)) if against == "kept"
                else of(split_pooled(study, chosen)).expand_as(removed))
        vectors = [semantic_vector(*pair, top) for pair in zip(kept, removed)]
        without = of(hidden_features(study, shown, shown_masks, False, fill, progress))
        rest = [train.take(~np.isin(train.hashes, chosen.hashes)), test,
                data.validation.take(data.validation.labels == label)]
        held_out = torch.cat([of(split_pooled(study, split)) for split in rest if len(split)])
        unmasked = weighted_activation(of(split_pooled(study, shown)), vectors)
        found.append(ClassTraits(class_name, names, vectors, unmasked,
                                 np.stack([weighted_activation(own, vectors) for own in without]),
                                 weighted_activation(held_out, vectors), of))
    return found


class _Reader:
    """Of pooled features `(2, ..., channel)` the pool and the unit that A_s is computed in."""

    def __init__(self, study, pool, scale):
        self.pool = list(POOLS).index(pool)
        std = study.model.feature_std.flatten().cpu()
        self.unit = std if scale else torch.ones_like(std)

    def __call__(self, features):
        return features[self.pool] / self.unit


def kept_variance(study, regions, pictures=40, k=10, pool="max", fill="black"):
    """Share that each of k components explains of pictures with only the concept left: per class `(names, ratios)`.

    ratios: `(concept, k)`, eq. 9; fewer than k components where there are fewer pictures.
    """
    of, found = _Reader(study, pool, scale=True), []
    for label, class_name in enumerate(study.class_names):
        train = study.data.train
        chosen = spread_over(train.take(train.labels == label), pictures)
        region = regions(label, chosen)
        kept = of(hidden_features(study, chosen, region.masks, True, fill, f"concepts alone, {class_name}"))
        ratios = [row_centred_pca(own, min(k, len(chosen))).explained_variance_ratio for own in kept]
        found.append((region.names, np.stack(ratios)))
    return found
