"""Sensitivity of filters to concepts by the rank of their maps (section 2.3.1, equations 5 and 6; 3.3; S.4).

    ranks = ranks_of(singular_values(filter_maps), 0.01)    # of maps (picture, filter, h, w), each (picture, filter)
    iou = overlaps(filter_maps, concept_masks)              # (picture, filter, concept)
    filter_concepts, share = vote(iou)                      # which concept each filter extracts, (filter,)
    result = sensitivity(ranks.numerical, by_overlap(iou))  # or by_vote(filter_concepts, 4)
    result.scaled                                           # the R_s of eq. 13, (concept,)
    low, high = bootstrap_shares(result.per_picture).T      # how much the pictures matter
    halves_agreement(ranks.numerical, iou)                  # and whether other pictures give the same order

The paper ranks filters as HRank does (Lin et al., CVPR 2020): the rank of a filter's map hardly depends on the picture.
The paper does not say how a filter comes to "extract" a concept. Its published code computes no rank: its R_s are
constants. Here a filter extracts the concept whose mask its own irregular mask overlaps most, by vote of the pictures.
For R_s that is too coarse: half of the filters lie between concepts, other pictures vote otherwise for them, and the
order of concepts changes with every such filter. So R_s weighs filters by how well they overlap, see `by_overlap`.
Maps and masks are tensors on any device; results are NumPy arrays.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ..concepts.masks import semantic_masks
from ..statistics import bootstrap, spearman

# Overlap from which on a filter is said to extract a concept. Two masks of 5 % that know nothing of each other overlap
# by about .03. The .04 of Network Dissection (Bau et al., CVPR 2017), over a whole data set, is too little for one
# picture: random maps of 14 x 14 then mostly extract one of four concepts. At .1, 2 cells of 11 must agree.
LEAST = 0.1
NUMBERS_AT_ONCE = 2**22  # that many entries of maps are worked on at a time: 32 MB in float64


# --- Ranks -----------------------------------------------------------------------------------------------------------


class Ranks(NamedTuple):
    """Ranks of maps, each of the maps' leading shape. All are 0 for a map of zeros."""

    numerical: np.ndarray  # int64, singular values above the tolerance, 0..min(height, width)
    relative: np.ndarray  # the same over min(height, width), in [0, 1], to compare layers of different grids
    effective: np.ndarray  # exp of the entropy of the normalised singular values, from 1 up (Roy & Vetterli, 2007)


def singular_values(maps: torch.Tensor) -> torch.Tensor:
    """Singular values of maps `(..., height, width)` (equation 5): float64 `(..., min(height, width))` on the CPU.

    The largest comes first. Maps of every type and device are decomposed in float64 on the CPU (128,000 of 14 x 14 in
    2 s on one core), so that ranks do not depend on the device, nor on how float32 rounds on the way.
    """
    height, width = maps.shape[-2:]
    batches = maps.detach().reshape(-1, height, width).split(max(1, NUMBERS_AT_ONCE // (height * width)))
    values = torch.cat([torch.linalg.svdvals(batch.cpu().double()) for batch in batches])
    return values.reshape(*maps.shape[:-2], min(height, width))


def usual_tolerance(maps: torch.Tensor) -> float:
    """max(height, width) times the machine epsilon of the maps' type, as in torch.linalg.matrix_rank, HRank's."""
    return max(maps.shape[-2:]) * torch.finfo(maps.dtype).eps


def ranks_of(values, tolerance: float) -> Ranks:
    """`Ranks` by the values of `singular_values`, so that several tolerances need one decomposition.

    tolerance: share of a map's largest singular value that others must exceed to count. Raises ValueError for a
    tolerance outside [0, 1).
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance={tolerance} must be at least 0 and below 1, or None for that of the maps' type")
    values = torch.as_tensor(values)
    numerical = (values > tolerance * values[..., :1]).sum(dim=-1).numpy()
    total = values.sum(dim=-1, keepdim=True)
    share = values / torch.where(total > 0, total, 1)
    effective = torch.where(total[..., 0] > 0, torch.special.entr(share).sum(dim=-1).exp(), 0).numpy()
    return Ranks(numerical, numerical / values.shape[-1], effective)


def redundant(numerical: np.ndarray) -> np.ndarray:
    """Filters whose rank is 0 in every picture (S.4): whole numbers `(picture, filter)` to bool `(filter,)`."""
    return (numerical == 0).all(axis=0)


# --- Which concept a filter extracts ---------------------------------------------------------------------------------


def overlaps(filter_maps: torch.Tensor, concept_masks: torch.Tensor, percentile: float = 95.0) -> np.ndarray:
    """Intersection over union of where filters fire and where concepts are, `(picture, filter, concept)`, in [0, 1].

    filter_maps: `(picture, filter, h, w)`, of any grid
    concept_masks: bool `(picture, concept, size, size)`

    A filter fires where its map, upsampled to the grid of the concept masks, reaches its own percentile in that picture
    and is above its minimum: the rule of `semantic_masks`, by which concepts have their masks. A constant map fires
    nowhere; what is empty overlaps nothing. Raises ValueError for a percentile outside (0, 100).
    """
    size, result = concept_masks.shape[-1], []
    pictures = max(1, NUMBERS_AT_ONCE // (filter_maps.shape[1] * size**2))
    for maps, masks in zip(filter_maps.detach().split(pictures), concept_masks.split(pictures)):
        maps = maps if maps.dtype == torch.float64 else maps.float()
        # the minimum becomes 0, which interpolation keeps: a constant 4.2 would come out with hairs of contrast
        maps = maps - maps.amin(dim=(2, 3), keepdim=True)
        fires = semantic_masks(maps, size, percentile).flatten(2).float()
        masks = masks.to(fires.device).flatten(2).float()
        both = fires @ masks.mT  # float32 counts cells without error up to 2**24
        either = fires.sum(dim=2)[:, :, None] + masks.sum(dim=2)[:, None] - both
        result.append(both.cpu().double() / either.cpu().clamp(min=1))
    return torch.cat(result).numpy()


class Votes(NamedTuple):
    """Which concept each filter extracts."""

    concepts: np.ndarray  # int64 (filter,), 0..concepts-1, or -1 for none
    share: np.ndarray  # (filter,), of the pictures that voted so, in (0, 1]


def vote(iou: np.ndarray, least: float = LEAST) -> Votes:
    """Which concept each filter extracts, by vote of the pictures; iou `(picture, filter, concept)`; `Votes`.

    A picture votes for the concept with the largest overlap, or for none if that is below `least`; most votes win. Ties
    are frequent, for masks of few cells overlap in few ways: in a picture and between concepts they go to the larger
    mean overlap over the pictures, then to the lower number; concepts go before none.
    """
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


def by_vote(filter_concepts: np.ndarray, concepts: int) -> np.ndarray:
    """Weights of filters for `sensitivity`, `(filter, concept)`: 1 for the concept that a filter extracts (eq. 6).

    filter_concepts: whole numbers `(filter,)` of `vote`, -1 for filters that extract none: they count nowhere
    """
    return (filter_concepts[:, None] == np.arange(concepts)).astype(np.float64)


def vote_weights(iou: np.ndarray) -> np.ndarray:
    """`by_vote` of the filters' own `vote`: weights `(filter, concept)` of overlaps `(picture, filter, concept)`."""
    return by_vote(vote(iou).concepts, iou.shape[2])


def by_overlap(iou: np.ndarray) -> np.ndarray:
    """Weights of filters for `sensitivity`, `(filter, concept)`: the square of the mean overlap; iou of `overlaps`.

    A filter counts for every concept, the more the better it overlaps it. Squares let those count that overlap a
    concept well, of which there are few, and not the many that touch everything. Squares rather than overlaps were
    chosen on training pictures of photographed cats and dogs, by how well the order of concepts repeats in other
    pictures; notebook 04 has it beside that by vote.
    """
    return iou.mean(axis=0) ** 2


def sensitivity(ranks: np.ndarray, weights: np.ndarray) -> Sensitivity:
    """R_s of equation 6: the mean rank over the filters that extract concept s; `Sensitivity`.

    ranks: of filters, `(picture, filter)`, any kind of `Ranks`
    weights: how much a filter counts for a concept, `(filter, concept)`, from 0 up: of `by_vote` or `by_overlap`

    The sum of equation 6 runs from 0 to K_s, one term too many; this is the mean of K_s. Figure 4 shows shares. A share
    times a probability (eq. 13) stays below 1, but the paper's PCS reach 1.2552: the published code doubles shares.
    `scaled` takes the number of concepts instead, which is 2 for the paper's flowers.
    """
    total = weights.sum(axis=0)
    per_picture = np.where(total > 0, ranks.astype(np.float64) @ weights / np.where(total > 0, total, 1), np.nan)
    mean = per_picture.mean(axis=0)
    share = _shares(mean)
    return Sensitivity(per_picture, mean, share, share * weights.shape[1])


def _shares(means):
    """Of the sum over concepts, `(..., concept)`; NaN counts 0."""
    means = np.nan_to_num(means)
    total = means.sum(axis=-1, keepdims=True)
    return np.where(total > 0, means / np.where(total > 0, total, 1), np.nan)


def bootstrap_shares(per_picture: np.ndarray, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """95 % interval of each share over pictures drawn again, `(concept, 2)`; per_picture `(picture, concept)`.

    By `asxai.statistics.bootstrap`. Which filter extracts what stays as it is. (0, 0) for a concept without filters,
    whose R_s is NaN in all pictures.
    """
    means = np.nan_to_num(per_picture)
    one_class = np.zeros(len(means), np.int64)
    return np.stack(bootstrap(lambda weights: _shares(weights @ means), one_class, draws, seed), axis=1)


def halves_agreement(ranks: np.ndarray, iou: np.ndarray, draws: int = 100, seed: int = 0, weigh: Callable = by_overlap):
    """Spearman's correlation of the concepts' mean R_s between random halves of the pictures: mean, (low, high).

    ranks: of filters, `(picture, filter)`. iou: `(picture, filter, concept)` of `overlaps`
    weigh: `by_overlap` or `vote_weights`; each half finds by its own overlaps how much which filter counts

    Halves are disjoint; of an odd number of pictures each draw leaves one out. Low and high hold 95 % of the draws: not
    a confidence interval, for draws share pictures. Of 3 concepts, random orders agree in a sixth of the draws. NaN
    draws (see `spearman`) are left out; NaN if all are.
    """

    def means(chosen):
        return sensitivity(ranks[chosen], weigh(iou[chosen])).mean

    generator, half = np.random.default_rng(seed), len(ranks) // 2
    orders = (generator.permutation(len(ranks)) for _ in range(draws))
    values = np.array([spearman(means(order[:half]), means(order[half : 2 * half])) for order in orders])
    values = values[~np.isnan(values)] if not np.isnan(values).all() else values
    low, high = np.quantile(values, [0.025, 0.975])
    return float(values.mean()), (float(low), float(high))
