"""Sensitivity of filters to concepts by the rank of their maps (section 2.3.1, equations 5 and 6; 3.3; S.4).

    ranks = matrix_ranks(filter_maps)                       # of maps (picture, filter, h, w), each (picture, filter)
    iou = overlaps(filter_maps, concept_masks)              # (picture, filter, concept)
    filter_concepts, share = vote(iou)                      # which concept each filter extracts, (filter,)
    found = sensitivity(ranks.numerical, by_overlap(iou))   # or by_vote(filter_concepts, 4)
    found.scaled                                            # the R_s of eq. 13, (concept,)
    low, high = bootstrap_shares(found.per_picture).T       # how much the pictures matter
    halves_agreement(ranks.numerical, iou)                  # and whether other pictures give the same order

The paper ranks filters as HRank does (Lin et al., CVPR 2020): the rank of a filter's map hardly depends on the picture.
It neither says how a filter comes to "extract" a concept, nor does the published code compute any rank: its R_s are
constants. Here a filter extracts the concept whose mask its own irregular mask overlaps most, by vote of the pictures.
For R_s that is too coarse: half of the filters lie between concepts, other pictures vote otherwise for them, and the
order of concepts changes with every such filter. So R_s weighs filters by how well they overlap, see `by_overlap`.
Maps and masks may be tensors on any device or arrays; results are NumPy arrays.
"""

from typing import NamedTuple

import numpy as np
import torch

from ..concepts.masks import semantic_masks
from ..statistics import bootstrap, spearman

LEAST = 0.1  # overlap from which on a filter is said to extract a concept, see `vote`
NUMBERS_AT_ONCE = 2**22  # that many entries of maps are worked on at a time: 32 MB in float64


def _numbers(values, name, axes, highest=np.inf):
    """float64 with the axes that are named, none of them empty, from 0 to `highest`."""
    values = np.asarray(values)
    if values.ndim != len(axes) or not values.size or values.dtype.kind not in "uif":
        raise ValueError(f"{name} {values.dtype} {values.shape} must be numbers ({', '.join(axes)}), at least one each")
    values = values.astype(np.float64)
    wrong = ~((values >= 0) & (values <= highest) & np.isfinite(values))
    if wrong.any():
        upper = "up" if np.isinf(highest) else f"to {highest:g}"
        raise ValueError(f"{name} holds {values[wrong][0]:g}; use finite numbers from 0 {upper}")
    return values


def _tensor(maps, name, axes):
    """Maps as a real tensor without gradient."""
    maps = torch.as_tensor(maps).detach()
    if maps.ndim < 2 or 0 in maps.shape[-2:] or maps.is_complex():
        raise ValueError(f"{name} {maps.dtype} {tuple(maps.shape)} must be real numbers {axes}, of at least one cell")
    return maps


def _check_finite(maps, name):
    finite = maps.isfinite()
    if not finite.all():
        raise ValueError(f"{name} hold {maps[~finite][0]}; leave out such pictures, or see which layer overflows")


# --- Ranks -----------------------------------------------------------------------------------------------------------


class Ranks(NamedTuple):
    """Ranks of maps, each of the maps' leading shape. All are 0 for a map of zeros."""

    numerical: np.ndarray  # int64, singular values above the tolerance, 0..min(height, width)
    relative: np.ndarray  # the same over min(height, width), in [0, 1], to compare layers of different grids
    effective: np.ndarray  # exp of the entropy of the normalised singular values, from 1 up (Roy & Vetterli, 2007)


def matrix_ranks(maps, tolerance=None):
    """Ranks of maps `(..., height, width)` by their singular values (equation 5); `Ranks`.

    tolerance: share of a map's largest singular value that others must exceed to count. None: `usual_tolerance`

    Maps of every type and device are decomposed in float64 on the CPU (128,000 of 14 x 14 in 2 s on one core), so that
    ranks do not depend on the device, nor on how float32 rounds on the way: only the tolerance is that of the type.
    Raises ValueError for maps that are not finite, or a tolerance outside [0, 1).
    """
    maps = _tensor(maps, "maps", "(..., height, width)")
    return ranks_of(singular_values(maps), usual_tolerance(maps) if tolerance is None else tolerance)


def usual_tolerance(maps):
    """max(height, width) times the machine epsilon of the maps' type (of float64 for whole numbers).

    As in torch.linalg.matrix_rank, which HRank calls, and in NumPy.
    """
    maps = torch.as_tensor(maps)
    kind = maps.dtype if maps.is_floating_point() else torch.float64
    return max(maps.shape[-2:]) * torch.finfo(kind).eps


def singular_values(maps):
    """Of maps `(..., height, width)`, the largest first: float64 `(..., min(height, width))` on the CPU."""
    maps = _tensor(maps, "maps", "(..., height, width)")
    height, width = maps.shape[-2:]
    values = []
    for batch in maps.reshape(-1, height, width).split(max(1, NUMBERS_AT_ONCE // (height * width))):
        batch = batch.cpu().double()
        _check_finite(batch, "maps")
        values.append(torch.linalg.svdvals(batch))
    return torch.cat(values).reshape(*maps.shape[:-2], min(height, width))


def ranks_of(values, tolerance):
    """`Ranks` of what `singular_values` gives, so that several tolerances need one decomposition."""
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance={tolerance} must be at least 0 and below 1, or None for that of the maps' type")
    values = torch.as_tensor(values)
    numerical = (values > tolerance * values[..., :1]).sum(dim=-1).numpy()
    total = values.sum(dim=-1, keepdim=True)
    share = values / torch.where(total > 0, total, 1)
    effective = torch.where(total[..., 0] > 0, torch.special.entr(share).sum(dim=-1).exp(), 0).numpy()
    return Ranks(numerical, numerical / values.shape[-1], effective)


def redundant(numerical):
    """Filters whose rank is 0 in every picture (S.4): whole numbers `(picture, filter)` to bool `(filter,)`."""
    return (_numbers(numerical, "numerical", ("picture", "filter")) == 0).all(axis=0)


# --- Which concept a filter extracts ---------------------------------------------------------------------------------


def overlaps(filter_maps, concept_masks, percentile=95.0):
    """Intersection over union of where filters fire and where concepts are, `(picture, filter, concept)`, in [0, 1].

    filter_maps: `(picture, filter, h, w)`, of any grid
    concept_masks: bool `(picture, concept, size, size)`

    A filter fires where its map, upsampled to the grid of the concept masks, reaches its own percentile in that picture
    and is above its minimum: the irregular masks of `asxai.concepts.masks.semantic_masks`, by which concepts have theirs too. A
    constant map fires nowhere; what is empty overlaps nothing. Raises ValueError for shapes or types that do not fit,
    maps that are not finite, or a percentile outside (0, 100).
    """
    maps, masks = _tensor(filter_maps, "filter_maps", "(picture, filter, h, w)"), torch.as_tensor(concept_masks)
    if masks.ndim != 4 or masks.dtype != torch.bool or masks.shape[2] != masks.shape[3]:
        raise ValueError(f"concept_masks {masks.dtype} {tuple(masks.shape)} must be bool (picture, concept, size, "
                         "size), as semantic_masks gives them")
    if maps.ndim != 4 or not masks.numel() or not maps.numel() or len(maps) != len(masks):
        raise ValueError(f"filter_maps {tuple(maps.shape)} and concept_masks {tuple(masks.shape)} must be (picture, "
                         "filter, h, w) and (picture, concept, size, size) of the same pictures, at least one each")
    size, result = masks.shape[-1], []
    pictures = max(1, NUMBERS_AT_ONCE // (maps.shape[1] * size**2))
    for own, shown in zip(maps.split(pictures), masks.split(pictures)):
        _check_finite(own, "filter_maps")
        own = own if own.dtype == torch.float64 else own.float()
        # the minimum becomes 0, which interpolation keeps: a constant 4.2 would come out with hairs of contrast
        own = own - own.amin(dim=(2, 3), keepdim=True)
        fires = semantic_masks(own, size, percentile).flatten(2).float()
        shown = shown.to(fires.device).flatten(2).float()
        both = fires @ shown.mT  # float32 counts cells without error up to 2**24
        either = fires.sum(dim=2)[:, :, None] + shown.sum(dim=2)[:, None] - both
        result.append(both.cpu().double() / either.cpu().clamp(min=1))
    return torch.cat(result).numpy()


class Votes(NamedTuple):
    """Which concept each filter extracts."""

    concepts: np.ndarray  # int64 (filter,), 0..concepts-1, or -1 for none
    share: np.ndarray  # (filter,), of the pictures that voted so, in (0, 1]


def vote(iou, least=LEAST):
    """Which concept each filter extracts, by vote of the pictures; iou `(picture, filter, concept)`; `Votes`.

    A picture votes for the concept with the largest overlap, or for none if that is below `least`; most votes win. Ties
    are frequent, for masks of few cells overlap in few ways: in a picture and between concepts they go to the larger
    mean overlap over the pictures, then to the lower number; concepts go before none.

    least: two masks of 5 % each that know nothing of each other overlap by about .03. The .04 of Network Dissection
        (Bau et al., CVPR 2017), over a whole data set, is too little for one picture: random maps of 14 x 14 then
        mostly extract one of four concepts. At .1, 2 cells of 11 must agree, and over some hundred pictures none wins

    Raises ValueError for overlaps outside [0, 1] or least outside (0, 1].
    """
    iou = _numbers(iou, "iou", ("picture", "filter", "concept"), 1)
    if not 0 < least <= 1:
        raise ValueError(f"least={least} must be above 0 and at most 1, for example {LEAST}")
    # with the concepts of each filter in the order in which they win ties, and none last, argmax settles ties
    order = np.argsort(-iou.mean(axis=0), axis=1, kind="stable")  # (filter, concept)
    ordered = np.take_along_axis(iou, order[None], axis=2)
    places = np.where(ordered.max(axis=2) >= least, ordered.argmax(axis=2), order.shape[1])  # (picture, filter)
    votes = (places[..., None] == np.arange(order.shape[1] + 1)).sum(axis=0)  # (filter, concept and none)
    order = np.concatenate([order, np.full((len(order), 1), -1)], axis=1)
    winner = np.take_along_axis(order, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return Votes(winner, votes.max(axis=1) / len(iou))


# --- Sensitivity -----------------------------------------------------------------------------------------------------


class Sensitivity(NamedTuple):
    """How sensitive a layer is to each concept: R_s of equation 6, and what is made of it."""

    per_picture: np.ndarray  # R_s(z), (picture, concept): mean rank of the filters that extract s; NaN without filters
    mean: np.ndarray  # of R_s over the pictures, (concept,); NaN without filters
    share: np.ndarray  # of the sum of all means, (concept,), 0 without filters; all NaN where every rank is 0
    scaled: np.ndarray  # share times number of concepts, (concept,): 1 is a concept like any other


def by_vote(filter_concepts, concepts):
    """Weights of filters for `sensitivity`, `(filter, concept)`: 1 for the concept that a filter extracts (eq. 6).

    filter_concepts: whole numbers `(filter,)` of `vote`, -1 for filters that extract none: they count nowhere
    concepts: how many there are

    Raises ValueError for other numbers or concepts that do not exist.
    """
    filter_concepts = np.asarray(filter_concepts)
    if not isinstance(concepts, (int, np.integer)) or concepts < 1:
        raise ValueError(f"concepts={concepts!r} must be a whole number from 1 up")
    if filter_concepts.ndim != 1 or not filter_concepts.size or filter_concepts.dtype.kind not in "iu":
        raise ValueError(f"filter_concepts {filter_concepts.dtype} {filter_concepts.shape} must be whole numbers "
                         "(filter,), at least one")
    if filter_concepts.min() < -1 or filter_concepts.max() >= concepts:
        raise ValueError(f"filter_concepts run from {filter_concepts.min()} to {filter_concepts.max()}; use -1 for "
                         f"none and 0 to {concepts - 1} for concepts={concepts}")
    return (filter_concepts[:, None] == np.arange(concepts)).astype(np.float64)


def by_overlap(iou):
    """Weights of filters for `sensitivity`, `(filter, concept)`: the square of the mean overlap; iou of `overlaps`.

    A filter counts for every concept, the more the better it overlaps it. Squares let those count that overlap a
    concept well, of which there are few, and not the many that touch everything. Squares rather than overlaps were
    chosen on training pictures of photographed cats and dogs, by how well the order of concepts repeats in other
    pictures; notebook 04 has it beside that by vote.
    """
    return _numbers(iou, "iou", ("picture", "filter", "concept"), 1).mean(axis=0) ** 2


def sensitivity(ranks, weights):
    """R_s of equation 6: the mean rank over the filters that extract concept s; `Sensitivity`.

    ranks: of filters, `(picture, filter)`, any kind of `Ranks`
    weights: how much a filter counts for a concept, `(filter, concept)`, from 0 up: of `by_vote` or `by_overlap`

    The sum of equation 6 runs from 0 to K_s, one term too many; this is the mean of K_s. Figure 4 shows shares. A share
    times a probability (eq. 13) stays below 1, but the paper's PCS reach 1.2552: the published code doubles shares.
    `scaled` takes the number of concepts instead, which is 2 for the paper's flowers.

    Raises ValueError for shapes that do not fit, and for ranks or weights below 0 or not finite.
    """
    ranks, weights = (_numbers(values, name, axes) for values, name, axes in (
        (ranks, "ranks", ("picture", "filter")), (weights, "weights", ("filter", "concept"))))
    if len(weights) != ranks.shape[1]:
        raise ValueError(f"weights {weights.shape} must have a row for each of the {ranks.shape[1]} filters of ranks")
    total = weights.sum(axis=0)
    per_picture = np.where(total > 0, ranks @ weights / np.where(total > 0, total, 1), np.nan)
    mean = per_picture.mean(axis=0)
    share = _shares(mean)
    return Sensitivity(per_picture, mean, share, share * weights.shape[1])


def _shares(means):
    """Of the sum over concepts, `(..., concept)`; NaN counts 0."""
    means = np.nan_to_num(means)
    total = means.sum(axis=-1, keepdims=True)
    return np.where(total > 0, means / np.where(total > 0, total, 1), np.nan)


def _per_picture(per_picture):
    """R_s `(picture, concept)`, where columns of NaN are concepts without filters."""
    per_picture = np.asarray(per_picture, dtype=np.float64)
    without = np.isnan(per_picture).all(axis=0) if per_picture.ndim == 2 and len(per_picture) else False
    return np.where(without, np.nan, _numbers(np.where(without, 0, per_picture), "per_picture", ("picture", "concept")))


def bootstrap_shares(per_picture, draws=1000, seed=0, level=0.95):
    """Percentile interval of each share over pictures drawn again, `(concept, 2)`; per_picture `(picture, concept)`.

    By `asxai.statistics.bootstrap`. Which filter extracts what stays as it is. (0, 0) for a concept without filters,
    whose R_s is NaN in all pictures. Raises ValueError for other R_s that are not finite, R_s below 0, draws below 1,
    or a level outside (0, 1).
    """
    means = np.nan_to_num(_per_picture(per_picture))
    labels = np.zeros(len(means), np.int64)
    return np.stack(bootstrap(lambda weights: _shares(weights @ means), labels, draws, seed, level), axis=1)


def halves_agreement(per_picture, filter_iou=None, draws=100, seed=0, weigh=by_overlap):
    """Spearman's correlation of the concepts' mean R_s between random halves of the pictures: mean, (low, high).

    per_picture: R_s `(picture, concept)`; or, with filter_iou, the ranks `(picture, filter)`
    filter_iou: `(picture, filter, concept)` of `overlaps`: each half then also finds for itself how much which filter
        counts, by `weigh` of its own overlaps. Without, both halves share that, and agree more easily
    weigh: `by_overlap`, or another function of overlaps that gives weights for `sensitivity`

    Halves are disjoint; of an odd number of pictures each draw leaves one out. Low and high hold 95 % of the draws: not
    a confidence interval, for draws share pictures. Of 3 concepts, random orders agree in a sixth of the draws. NaN
    draws (see `spearman`) are left out; NaN if all are. Raises ValueError for shapes that do not fit, fewer than 2
    pictures, or draws below 1.
    """
    if filter_iou is None:
        per_picture = _per_picture(per_picture)
    else:
        per_picture = _numbers(per_picture, "per_picture", ("picture", "filter"))
        filter_iou = _numbers(filter_iou, "filter_iou", ("picture", "filter", "concept"), 1)
        if filter_iou.shape[:2] != per_picture.shape:
            raise ValueError(f"filter_iou {filter_iou.shape} and per_picture {per_picture.shape} differ: with "
                             "filter_iou, per_picture takes the ranks (picture, filter) of the same filters")
    if len(per_picture) < 2 or draws < 1:
        raise ValueError(f"per_picture of {len(per_picture)} pictures, draws={draws}: give at least two pictures and "
                         "one draw")

    def means(chosen):
        if filter_iou is None:
            return per_picture[chosen].mean(axis=0)
        return sensitivity(per_picture[chosen], weigh(filter_iou[chosen])).mean

    generator, half = np.random.default_rng(seed), len(per_picture) // 2
    orders = (generator.permutation(len(per_picture)) for _ in range(draws))
    found = np.array([spearman(means(order[:half]), means(order[half : 2 * half])) for order in orders])
    found = found[~np.isnan(found)] if not np.isnan(found).all() else found
    low, high = np.quantile(found, [0.025, 0.975])
    return float(found.mean()), (float(low), float(high))


def vote_weights(iou):
    """`by_vote` of the filters' own `vote`: weights `(filter, concept)` of overlaps `(picture, filter, concept)`."""
    return by_vote(vote(iou).concepts, np.shape(iou)[2])
