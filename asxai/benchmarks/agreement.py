"""How well concepts that were found without labels agree with true parts.

Cells: which concept wins where which part is, on 28 x 28 cells a picture whatever the network's own grid (NMI, adjusted
Rand, IoU). Patches: which part lies where a prototype fires most (purity, consistency, stability).

    counts = contingency(winners, cell_parts(test.part_masks(224)), concepts, part_count)
    low, high = bootstrap(lambda weights: foreground_nmi(counts, test.labels, weights).mean(-1), test.labels)

Every measure takes `weights`: how often each picture counts, whole numbers `(picture,)`, or `(draw, picture)` for many
resamples at once, which puts an axis `draw` in front of the result. Higher is better in all of them. Neither the order
of pictures matters nor which numbers classes, concepts and parts go by; results are in the order of those numbers.
"""

import numpy as np
import scipy.ndimage
import scipy.special

from ..concepts.cells import SMALLEST_ISLAND, meetings, per_class
from ..statistics import picture_weights


def contingency(predicted: np.ndarray, parts: np.ndarray, concepts: int, part_count: int) -> np.ndarray:
    """Cells of every picture by concept and true part, int64 `(picture, concepts + 1, part_count)`.

    predicted: `(picture, cells, cells)`, the winning concept 1..concepts; 0, background, is a cluster like any other
    parts: the same of `cell_parts`, 1..part_count, in column k the part k + 1; cells of the background, 0, are left out
    """
    return meetings(predicted, parts, concepts, part_count)[:, :, 1:]


def _margins(tables):
    """Of tables `(..., row, column)`: sums of rows, sums of columns, and the single entries in one axis."""
    return tables.sum(axis=-1), tables.sum(axis=-2), tables.reshape(*tables.shape[:-2], -1)


def _nmi(tables):
    total = tables.sum(axis=(-2, -1))[..., None]
    with np.errstate(invalid="ignore"):  # 0 / 0 in empty tables: NaN is what they should give
        rows, columns, both = (scipy.special.entr(n / total).sum(axis=-1) for n in _margins(tables))
        mean = (rows + columns) / 2
        # where neither is divided they agree, as in scikit-learn; rounding can leave the range by a hair
        return np.where(mean == 0, 1.0, np.clip((rows + columns - both) / mean, 0, 1))


def foreground_nmi(counts: np.ndarray, labels, weights=None) -> np.ndarray:
    """Normalised mutual information of concepts and parts on foreground cells, `([draw,] class)`, in [0, 1].

    Of counts `(picture, concepts + 1, part_count)` of `contingency`, pooled over the pictures of a class: mutual
    information over the arithmetic mean of the two entropies, as in scikit-learn (Strehl & Ghosh, JMLR 2002, take the
    geometric mean); for parts by Choudhury et al., NeurIPS 2021. 1 is the same division, 0 tells nothing. NaN for a
    class without foreground.
    """
    return _nmi(per_class(counts, labels, weights))


def foreground_ari(counts: np.ndarray, labels, weights=None) -> np.ndarray:
    """Adjusted Rand index of concepts and parts on foreground cells, `([draw,] class)`, in [-0.5, 1].

    Share of pairs of cells that both divisions treat alike (together or apart), rescaled so that chance gives 0 and the
    same division 1 (Hubert & Arabie, J. Classification 1985). The rest as in `foreground_nmi`.
    """
    tables = per_class(counts, labels, weights)
    cells = tables.sum(axis=(-2, -1))
    rows, columns, together = ((n * (n - 1) / 2).sum(axis=-1) for n in _margins(tables))  # pairs of cells
    expected = rows * (columns / np.maximum(cells * (cells - 1) / 2, 1))
    room = (rows + columns) / 2 - expected  # 0 only if both put all cells together, or all apart: they agree
    index = np.where(room == 0, 1.0, (together - expected) / np.where(room == 0, 1, room))
    return np.where(cells == 0, np.nan, index)


def match_purity(counts: np.ndarray, labels, weights=None) -> np.ndarray | float:
    """Share of pairs of a class and a concept whose most common part is that of the concept in all classes.

    Of counts `(picture, concepts + 1, part_count)` of `contingency` with numbers that hold for all classes: a number,
    or `(draw,)`, in [0, 1]. Pairs that win no cell of the foreground do not count; a concept of a single class always
    agrees with itself. Parts that tie for the most common one are all of them.
    """
    tables = per_class(counts, labels, weights)[..., 1:, :]  # ([draw,] class, concept, part)
    whole = tables.sum(axis=-3, keepdims=True)
    both = (tables == tables.max(axis=-1, keepdims=True)) & (whole == whole.max(axis=-1, keepdims=True))
    there = tables.sum(axis=-1) > 0
    return (both.any(axis=-1) & there).sum(axis=(-2, -1)) / there.sum(axis=(-2, -1)).clip(1)


def map_agreement(first: np.ndarray, second: np.ndarray, labels, weights=None) -> np.ndarray | float:
    """Agreement of two assignments of the same cells, of two seeds say: a number, or `(draw,)`, in [0, 1].

    Whole numbers `(picture, cells, cells)`: NMI as in `foreground_nmi`, but over all cells, averaged over classes;
    1 is the same division up to names.
    """
    return np.nanmean(_nmi(per_class(meetings(first, second), labels, weights)), axis=-1)


def visible_parts(part_masks: np.ndarray, part_count: int) -> np.ndarray:
    """Which parts a picture shows, with at least 4 pixels: masks `(picture, size, size)` to bool `(picture, part)`."""
    pixels = [(part_masks == part).sum(axis=(1, 2)) for part in range(1, part_count + 1)]
    return np.stack(pixels, axis=1) >= SMALLEST_ISLAND


def held_parts(part_masks: np.ndarray, peaks: np.ndarray, patch: int, part_count: int) -> np.ndarray:
    """Which parts lie in the patch where a prototype fires most strongly, bool `(picture, prototype, part)`.

    The patch is a square box of so many pixels a side around the peak, the pixel of highest activation (row and column,
    `(picture, prototype, 2)`), moved where needed to lie inside the picture. It holds a part of part_masks `(picture,
    size, size)` that fills at least half of it (large ones), or of which it covers at least half of a connected island
    (small ones); islands under 4 pixels are ignored. Huang et al. (ICCV 2023) and Nauta et al. (CVPR 2023) ask whether
    the part's key point lies in a box of 72 and 32 pixels of 224; this carries the question over to masks.
    """
    corners = np.clip(peaks - patch // 2, 0, np.array(part_masks.shape[1:]) - patch)
    held = np.zeros((*peaks.shape[:2], part_count), bool)
    for picture, corner in enumerate(corners):
        islands, part_of = _islands(part_masks[picture])
        boxes = np.lib.stride_tricks.sliding_window_view(islands, (patch, patch))[corner[:, 0], corner[:, 1]]
        # one count for all patches: island i of patch k is number k * islands + i
        numbers = boxes.reshape(len(boxes), -1) + np.arange(len(boxes))[:, None] * len(part_of)
        inside = np.bincount(numbers.ravel(), minlength=len(boxes) * len(part_of)).reshape(len(boxes), -1)
        pixels = np.bincount(islands.ravel())
        covered = (2 * inside >= pixels) & (pixels >= SMALLEST_ISLAND)
        belongs = part_of[:, None] == np.arange(1, part_count + 1)  # (island, part)
        held[picture] = covered @ belongs | (2 * (inside @ belongs) >= patch**2)
    return held


def _islands(mask):
    """Connected islands of all parts of one mask, numbered from 1 (0 is background), and the part of each number."""
    islands, part_of = np.zeros(mask.shape, np.int64), [0]
    for part, box in enumerate(scipy.ndimage.find_objects(mask.astype(np.int64)), start=1):
        if box is not None:  # to label only the box around a part is several times as fast
            own, count = scipy.ndimage.label(mask[box] == part)
            islands[box] += np.where(own > 0, own + len(part_of) - 1, 0)
            part_of += [part] * count
    return islands, np.array(part_of)


def purity(held: np.ndarray, scores: np.ndarray, strongest: int = 10, weights=None) -> np.ndarray:
    """Share of a prototype's strongest patches that hold its most common part, `([draw,] prototype)`, in [0, 1].

    Of held, bool `(picture, prototype, part)`, in the `strongest` pictures by their scores, the highest activations
    `(picture, prototype)`, or in all if there are fewer; pictures that tie for the last places share them. PIP-Net
    (Nauta et al., CVPR 2023): ten pictures, patches of 32 pixels of 224. Its code leaves pictures that do not show the
    part out of the share; here they count against it.
    """
    weights, result = picture_weights(weights, len(held)), []
    for holds, score in zip(held.transpose(1, 0, 2).astype(np.float64), scores.T):
        order = np.argsort(-score)
        starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))  # where a run of equal scores begins
        total = np.add.reduceat(weights[..., order], starts, axis=-1)
        taken = np.clip(strongest - (total.cumsum(axis=-1) - total), 0, total)  # places that each run gets
        share = np.repeat(taken / np.maximum(total, 1), np.diff(starts, append=len(order)), axis=-1)
        holding = (share * weights[..., order]) @ holds[order]  # ([draw,] part)
        result.append(holding.max(axis=-1) / taken.sum(axis=-1))
    return np.stack(result, axis=-1)


def consistency(held: np.ndarray, visible: np.ndarray, threshold: float = 0.8, weights=None) -> tuple:
    """Whether a prototype finds the same part in all pictures: shares and verdicts, both `([draw,] prototype)`.

    Of held, bool `(picture, prototype, part)`, for pictures of the prototypes' class, and visible `(picture, part)`.
    The share, in [0, 1], is that of the best part: of the pictures that show it, those whose patch holds it. The
    verdict is True if it reaches the threshold; the mean verdict is the consistency score of Huang et al., ICCV 2023:
    0.8, and boxes of 72 pixels of 224, in their code. A part that is seen once and found once counts as much as one
    that is seen often.
    """
    weights = picture_weights(weights, len(held))
    holding = np.tensordot(weights, (held & visible[:, None]).astype(np.float64), 1)  # ([draw,] prototype, part)
    showing = (weights @ visible)[..., None, :]
    shares = (holding / np.maximum(showing, 1)).max(axis=-1)  # a part that no picture shows counts 0, as in their code
    return shares, shares >= threshold


def stability(held: np.ndarray, perturbed: np.ndarray, weights=None) -> np.ndarray:
    """Share of pictures in which a prototype holds the same parts under noise, `([draw,] prototype)`, in [0, 1].

    Of `held_parts` without and with noise, bool `(picture, prototype, part)`: none gained or lost. Huang et al., ICCV
    2023; their code adds Gaussian noise of standard deviation 0.2, cut off at 0.25, to the normalised picture; boxes as
    in `consistency`. Never to hold a part is stable too.
    """
    weights = picture_weights(weights, len(held))
    return weights @ (held == perturbed).all(axis=2) / weights.sum(axis=-1, keepdims=True)
