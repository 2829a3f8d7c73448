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
from math import prod
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch

from .agreement import bootstrap

ROUNDING = 1e-9  # what is smaller than this share of the scale is taken to be equal, where signs are chosen


# --- Row-centred PCA -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components over channels, the strongest first. Made by `row_centred_pca`; no grid for pooled features.

    The sign of each makes its weights over pictures, U_k, sum to at least 0, so that the first looks like an average;
    where they sum to 0 the largest entry of the centred component is positive. The order of pictures does not matter.
    """

    components: np.ndarray  # (component, channel[, height, width]), on the scale of sqrt(pictures) pictures
    eigenvalues: np.ndarray  # (component[, height, width]), of the covariance P
    explained_variance_ratio: np.ndarray  # (component[, height, width]), eq. 9 of each alone; its cumsum is pi_k
    pictures: int

    @property
    def trait(self):
        """The first component on the scale of one picture's features, `(channel[, height, width])`.

        U_1 has length one, so that over n equal pictures each has weight 1 / sqrt(n) and W' U_1 is sqrt(n) times the
        picture. Divided by sqrt(n) it can be compared between sets, and be inverted into a picture.
        """
        return self.components[0] / np.sqrt(self.pictures)


def row_centred_pca(features, k=1, centred=False):
    """The first k row-centred components of features `(picture, channel[, height, width])`, eqs. 7-9; `Components`.

    centred: which rows U weights. False: W' U_k as the paper prints it, of the features themselves, so that components
        stay on the scale of activations. True: the centred rows, as in the published code (scikit-learn's PCA of the
        transposed matrix). The two differ by one number for all channels: the weighted mean activation.

    With height and width each position is decomposed by itself, all in one batch, on the cheaper side: pictures by
    pictures, or channels by channels where there are more pictures. Components beyond a position's rank are 0.

    Raises ValueError for fewer than 2 pictures or channels, k below 1 or above min(pictures, channels - 1), values that
    are not finite, a picture that is constant over channels everywhere, or a position where all pictures are. Channels
    that never change do no harm.
    """
    grid = tuple(np.shape(features)[2:])
    rows, means = _centred_rows(features, grid)
    _, pictures, channels = rows.shape
    if pictures > channels:
        return StreamingRowCentredPCA(channels, grid or None)._add(rows, means).finish(k, centred)
    _check_components(k, pictures, channels)
    gram = torch.bmm(rows, rows.mT)
    values, weights = _largest(gram, k)  # weights: U, (position, picture, component)
    found = _Found(values, torch.bmm(weights.mT, rows), weights.sum(dim=1), (weights * means).sum(dim=1))
    return _components(found, _trace(gram), pictures, channels, grid, centred)


class StreamingRowCentredPCA:
    """The same for any number of pictures: `update` with batches of them, in any order, then `finish`.

    channels, positions: of the features to come; (height, width) for `(picture, channel, height, width)`

    Each row is centred by itself, so that nothing of other pictures has to be known: the scatter W^' W^ of channels is
    summed batch by batch. Its eigenvectors V and values s^2 give the centred components W^' U = V s. Two more vectors
    are summed, for U = W^ V / s is never formed: W^' 1, for the sign, since 1' U = (W^' 1)' V / s; and W^' r with r the
    means that centring took away, since the components of uncentred rows are V s + r' U = V s + (W^' r)' V / s.

    Memory is 8 * channels^2 bytes a position, whatever the number of pictures, and time is pictures * channels^2.
    Squares lose digits: a component of the share p of the variance is found to about 1e-16 / p.
    """

    def __init__(self, channels, positions=None):
        if channels < 2 or (positions is not None and (len(positions) != 2 or min(positions) < 1)):
            raise ValueError(f"channels={channels}, positions={positions}: give at least 2 channels, and None or "
                             "(height, width), at least (1, 1)")
        self.channels, self.grid, self.pictures = channels, tuple(positions or ()), 0
        cells = prod(self.grid)
        self._scatter = torch.zeros(cells, channels, channels, dtype=torch.float64)
        self._sums = torch.zeros(cells, channels, dtype=torch.float64)  # W^' 1
        self._cross = torch.zeros(cells, channels, dtype=torch.float64)  # W^' r

    def update(self, features):
        """Add pictures `(picture, channel[, height, width])`, one or more; itself. ValueError as `row_centred_pca`."""
        rows, means = _centred_rows(features, self.grid, self.pictures)
        if rows.shape[2] != self.channels:
            raise ValueError(f"features {tuple(np.shape(features))} have {rows.shape[2]} channels, not the "
                             f"{self.channels} that this was made for")
        return self._add(rows, means)

    def _add(self, rows, means):
        self._scatter.baddbmm_(rows.mT, rows)
        self._sums += rows.sum(dim=1)
        self._cross += (rows * means).sum(dim=1)
        self.pictures += rows.shape[1]
        return self

    def finish(self, k=1, centred=False):
        """`Components` of all pictures so far, as `row_centred_pca` gives them; more may be added afterwards."""
        _check_components(k, self.pictures, self.channels)
        values, directions = _largest(self._scatter, k)
        lengths = values.clamp(min=1e-300).sqrt()[:, None]  # beyond the rank the result is set to 0 anyway
        sums, offsets = (torch.bmm(vector[:, None], directions / lengths)[:, 0] for vector in (self._sums, self._cross))
        found = _Found(values, (directions * lengths).mT, sums, offsets)
        return _components(found, _trace(self._scatter), self.pictures, self.channels, self.grid, centred)


class _Found(NamedTuple):
    """Of the k largest eigenvalues, at every position."""

    values: torch.Tensor  # (position, component): of W^ W^' and of W^' W^, which have the same
    components: torch.Tensor  # (position, component, channel): W^' U
    sums: torch.Tensor  # (position, component): 1' U
    offsets: torch.Tensor  # (position, component): r' U


def _centred_rows(features, grid, before=0):
    """W^ `(position, picture, channel)` and the means taken away `(position, picture, 1)`, float64; checked."""
    features = torch.as_tensor(features).detach().cpu()
    if features.ndim not in (2, 4) or features.shape[2:] != grid:
        raise ValueError(f"features {tuple(features.shape)} must be (picture, channel), or (picture, channel, height, "
                         f"width){f' with positions {grid}' if grid else ''}")
    if 0 in features.shape or features.shape[1] < 2:
        raise ValueError(f"features {tuple(features.shape)} must be of some pictures, and of at least 2 channels, over "
                         "which rows are centred; leave out concepts that no picture shows")
    _check_finite(features, "features")
    rows = features.double().flatten(2) if grid else features.double()[..., None]
    rows = rows.permute(2, 0, 1).contiguous()
    constant = rows.amax(dim=2) == rows.amin(dim=2)  # (position, picture)
    dead = constant.all(dim=0).nonzero().flatten()
    if len(dead):
        raise ValueError(f"features of picture {before + int(dead[0])} ({len(dead)} in all) are the same in every "
                         "channel, so that nothing is left of them; leave out empty pictures, or use another layer")
    means = rows.mean(dim=2, keepdim=True)
    rows = rows - means  # not in place: rows may be the caller's own memory
    rows[constant] = 0  # not what rounding leaves
    return rows, means


def _check_finite(values, name):
    if not bool(torch.as_tensor(values).isfinite().all()):
        raise ValueError(f"{name} hold NaN or infinite values; see where the network or its input went astray")


def _check_components(k, pictures, channels):
    if pictures < 2:
        raise ValueError(f"features are of {pictures} pictures; give at least 2, for one has nothing in common with "
                         "others")
    if not 1 <= k <= min(pictures, channels - 1):
        raise ValueError(f"k={k} must be from 1 to {min(pictures, channels - 1)}, the highest rank that {pictures} "
                         f"rows centred over {channels} channels can have")


def _largest(matrices, k):
    """The k largest eigenvalues `(position, k)` and their vectors `(position, row, k)` of symmetric matrices."""
    # matrices of some hundred rows gain little from threads, and beside other programs threads that wait for each other
    # were measured to take a hundred times as long
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        values, vectors = torch.linalg.eigh(matrices)  # ascending
    finally:
        torch.set_num_threads(threads)
    return values[:, -k:].flip(1), vectors[..., -k:].flip(2)


def _trace(matrices):
    return matrices.diagonal(dim1=1, dim2=2).sum(dim=1)


def _components(found, trace, pictures, channels, grid, centred):
    """Signs, scale and shape of the result."""
    if (trace == 0).any():
        empty = (trace == 0).nonzero().flatten().tolist()
        raise ValueError(f"features of all pictures are the same in every channel at {len(empty)} of {len(trace)} "
                         f"positions, the first is number {empty[0]}; leave those positions out, or use another layer")
    # what an eigenvalue of 0 becomes by rounding
    present = found.values > max(pictures, channels) * torch.finfo(torch.float64).eps * found.values[:, :1]
    size = found.components.abs()
    largest = size >= (1 - ROUNDING) * size.amax(dim=2, keepdim=True)
    first = largest.to(torch.uint8).argmax(dim=2, keepdim=True)  # of equals the lowest number, whatever rounding does
    by_entry = found.components.gather(2, first)[..., 0]
    sign = torch.where(found.sums.abs() > ROUNDING * pictures**0.5, found.sums, by_entry).sign() * present
    components = found.components if centred else found.components + found.offsets[..., None]
    components = (components * sign[..., None]).permute(1, 2, 0)  # (component, channel, position)
    values = torch.where(present, found.values, 0).T  # (component, position)
    return Components(components.reshape(*components.shape[:2], *grid).numpy().copy(),
                      (values / (channels - 1)).reshape(-1, *grid).numpy().copy(),
                      (values / trace).reshape(-1, *grid).numpy().copy(), pictures)


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
    _check_finite(pooled, "features")
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


POOLS = {"mean": lambda features: features.mean(dim=(2, 3)), "max": lambda features: features.amax(dim=(2, 3))}


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
    _check_finite(values, "values")
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
    weights: how often each picture counts, `(picture,)` or `(draw, picture)`, as in `asxai.agreement`

    Positive: A_s falls. Raises ValueError for shapes that do not fit, no concept, fewer than 2 pictures, another unit,
    values that are not finite, or a concept whose A_s is the same in all pictures.
    """
    unmasked, removed = np.asarray(unmasked, dtype=np.float64), np.asarray(removed, dtype=np.float64)
    if (unmasked.ndim != 2 or len(unmasked) < 2 or not unmasked.shape[1]
            or removed.shape != (unmasked.shape[1], *unmasked.shape)):
        raise ValueError(f"unmasked {unmasked.shape} and removed {removed.shape} must be (picture, concept) and "
                         "(concept, picture, concept), of at least 2 pictures and a concept")
    _check_finite(unmasked, "unmasked")
    _check_finite(removed, "removed")
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
