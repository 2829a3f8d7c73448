"""How well concepts that were found without labels agree with true parts.

Cells: which concept wins where which part is, on 28 x 28 cells a picture whatever the network's own grid (NMI, adjusted
Rand, IoU). Patches: which part lies where a prototype fires most (purity, consistency, stability).

    counts = contingency(winners, cell_parts(test.part_masks(224)), concepts, part_count)
    low, high = bootstrap(lambda weights: foreground_nmi(counts, test.labels, weights).mean(-1), test.labels)

Every measure takes `weights`: how often each picture counts, whole numbers `(picture,)`, or `(draw, picture)` for many
resamples at once, which puts an axis `draw` in front of the result. Neither the order of pictures matters nor which
numbers classes, concepts and parts go by; results are listed in the order of those numbers.
"""

import numpy as np
import scipy.ndimage

from ..concepts.cells import SMALLEST_ISLAND, meetings, per_class
from ..statistics import picture_weights, whole_numbers


def contingency(predicted, parts, concepts, part_count):
    """Cells of every picture by concept and true part, int64 `(picture, concepts + 1, part_count)`.

    predicted: `(picture, cells, cells)`, the winning concept 1..concepts; 0, background, is a cluster like any other
    parts: the same of `cell_parts`, 1..part_count, in column k the part k + 1; cells of the background, 0, are left out

    Raises ValueError for shapes that differ and for numbers out of range.
    """
    return meetings(predicted, parts, ("predicted", "parts"), concepts, part_count)[:, :, 1:]


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


def foreground_nmi(counts, labels, weights=None):
    """Normalised mutual information of concepts and parts on foreground cells, `([draw,] class)`, in [0, 1].

    Of counts `(picture, concepts + 1, part_count)` of `contingency`, pooled over the pictures of a class: mutual
    information over the arithmetic mean of the two entropies, as in scikit-learn (Strehl & Ghosh, JMLR 2002, take the
    geometric mean); for parts by Choudhury et al., NeurIPS 2021. Higher is better: 1 is the same division, 0 tells
    nothing. NaN for a class without foreground. Raises ValueError if labels `(picture,)` or weights do not fit.
    """
    return _nmi(per_class(counts, labels, weights))


def foreground_ari(counts, labels, weights=None):
    """Adjusted Rand index of concepts and parts on foreground cells, `([draw,] class)`, in [-0.5, 1].

    Share of pairs of cells that both divisions treat alike (together or apart), rescaled so that chance gives 0 and the
    same division 1 (Hubert & Arabie, J. Classification 1985). Higher is better; the rest as in `foreground_nmi`.
    """
    tables = per_class(counts, labels, weights)
    cells = tables.sum(axis=(-2, -1))
    rows, columns, together = ((n * (n - 1) / 2).sum(axis=-1) for n in _margins(tables))  # pairs of cells
    expected = rows * (columns / np.maximum(cells * (cells - 1) / 2, 1))
    room = (rows + columns) / 2 - expected  # 0 only if both put all cells together, or all apart: they agree
    index = np.where(room == 0, 1.0, (together - expected) / np.where(room == 0, 1, room))
    return np.where(cells == 0, np.nan, index)


def best_part_iou(iou):
    """Highest of `part_iou` over concepts for each part, `([draw,] class, part_count)`, in [0, 1]; higher is better."""
    return np.asarray(iou).max(axis=-2)


def map_agreement(first, second, labels, weights=None):
    """Agreement of two assignments of the same cells, of two seeds say: a number, or `(draw,)`, in [0, 1].

    Of whole numbers `(picture, cells, cells)`: NMI as in `foreground_nmi`, but over all cells, averaged over classes.
    Higher is better, 1 is the same division up to names. Raises ValueError for shapes that differ, numbers below 0.
    """
    return np.nanmean(_nmi(per_class(meetings(first, second, ("first", "second")), labels, weights)), axis=-1)


def visible_parts(part_masks, part_count):
    """Which parts a picture shows, with at least 4 pixels: masks `(picture, size, size)` to bool `(picture, part)`."""
    masks = whole_numbers(part_masks, "part_masks", ("picture", "size", "size"), part_count)
    pixels = [(masks == part).sum(axis=(1, 2)) for part in range(1, part_count + 1)]
    return np.stack(pixels, axis=1) >= SMALLEST_ISLAND


def held_parts(part_masks, peaks, patch, part_count):
    """Which parts lie in the patch where a prototype fires most strongly, bool `(picture, prototype, part)`.

    The patch is a square box of so many pixels a side around the peak, the pixel of highest activation (row and column,
    `(picture, prototype, 2)`), moved where needed to lie inside the picture. It holds a part of part_masks `(picture,
    size, size)` that fills at least half of it (large ones), or of which it covers at least half of a connected island
    (small ones); islands under 4 pixels are ignored. Huang et al. (ICCV 2023) and Nauta et al. (CVPR 2023) ask whether
    the part's key point lies in a box of 72 and 32 pixels of 224; this carries the question over to masks. Raises
    ValueError for a patch larger than the picture, peaks outside it, or labels above part_count.
    """
    masks = whole_numbers(part_masks, "part_masks", ("picture", "size", "size"), part_count)
    peaks = whole_numbers(peaks, "peaks", ("picture", "prototype", "row and column")).astype(np.int64)
    size = np.array(masks.shape[1:])
    if peaks.shape[::2] != (len(masks), 2) or (peaks >= size).any():
        raise ValueError(f"peaks {peaks.shape} must be ({len(masks)}, prototype, 2), rows and columns inside {size}")
    if not 1 <= patch <= size.min():
        raise ValueError(f"patch={patch} must be from 1 to {size.min()} pixels, the side of the masks")
    corners = np.clip(peaks - patch // 2, 0, size - patch)
    held = np.zeros((*peaks.shape[:2], part_count), bool)
    for picture, corner in enumerate(corners):
        islands, part_of = _islands(masks[picture])
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


def _held(held, name="held"):
    held = np.asarray(held)
    if held.ndim != 3 or held.dtype != bool or 0 in held.shape:
        raise ValueError(f"{name} must be bool (picture, prototype, part) of held_parts, not {held.dtype} {held.shape}")
    return held


def purity(held, scores, strongest=10, weights=None):
    """Share of a prototype's strongest patches that hold its most common part, `([draw,] prototype)`, in [0, 1].

    Of held, bool `(picture, prototype, part)`, in the `strongest` pictures by their scores, the highest activations
    `(picture, prototype)`, or in all if there are fewer; pictures that tie for the last places share them. PIP-Net
    (Nauta et al., CVPR 2023): ten pictures, patches of 32 pixels of 224. Its code leaves pictures that do not show the
    part out of the share; here they count against it. Higher is better. Raises ValueError for shapes that do not fit,
    scores that are not finite, or strongest below 1.
    """
    held, scores = _held(held), np.asarray(scores, dtype=np.float64)
    if scores.shape != held.shape[:2] or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape} must be finite numbers (picture, prototype) {held.shape[:2]}")
    if strongest < 1:
        raise ValueError(f"strongest={strongest} must be at least 1; PIP-Net takes 10")
    weights, result = picture_weights(weights, len(held)), []
    for own, score in zip(held.transpose(1, 0, 2), scores.T):
        order = np.argsort(-score)
        starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))  # where a run of equal scores begins
        total = np.add.reduceat(weights[..., order], starts, axis=-1)
        taken = np.clip(strongest - (total.cumsum(axis=-1) - total), 0, total)  # places that each run gets
        share = np.repeat(taken / np.maximum(total, 1), np.diff(starts, append=len(order)), axis=-1)
        holding = (share * weights[..., order]) @ own[order].astype(np.float64)  # ([draw,] part)
        result.append(holding.max(axis=-1) / taken.sum(axis=-1))
    return np.stack(result, axis=-1)


def consistency(held, visible, threshold=0.8, weights=None):
    """Whether a prototype finds the same part in all pictures: shares and verdicts, both `([draw,] prototype)`.

    Of held `(picture, prototype, part)`, for pictures of the prototypes' own class, and visible `(picture, part)`.
    The share, in [0, 1], is that of the best part: of the pictures that show it, those whose patch holds it. The
    verdict is True if it reaches the threshold; the mean verdict is the consistency score of Huang et al., ICCV 2023:
    0.8, and boxes of 72 pixels of 224, in their code. Higher is better. A part that is seen once and found once counts
    as much as one seen often. Raises ValueError for shapes that do not fit or a threshold outside (0, 1].
    """
    held, visible = _held(held), np.asarray(visible)
    if visible.shape != held.shape[::2] or visible.dtype != bool:
        raise ValueError(f"visible {visible.dtype} {visible.shape} must be bool (picture, part) {held.shape[::2]}")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold} must be above 0 and at most 1; Huang et al. take 0.8")
    weights = picture_weights(weights, len(held))
    holding = np.tensordot(weights, (held & visible[:, None]).astype(np.float64), 1)  # ([draw,] prototype, part)
    showing = (weights @ visible)[..., None, :]
    shares = (holding / np.maximum(showing, 1)).max(axis=-1)  # a part that no picture shows counts 0, as in their code
    return shares, shares >= threshold


def stability(held, held_perturbed, weights=None):
    """Share of pictures in which a prototype holds the same parts under noise, `([draw,] prototype)`, in [0, 1].

    Of `held_parts` without and with noise, bool `(picture, prototype, part)`: none gained or lost. Huang et al., ICCV
    2023; their code adds Gaussian noise of standard deviation 0.2, cut off at 0.25, to the normalised picture; boxes as
    in `consistency`. Higher is better; never to hold a part is stable too. Raises ValueError for shapes that differ.
    """
    held, held_perturbed = _held(held), _held(held_perturbed, "held_perturbed")
    if held.shape != held_perturbed.shape:
        raise ValueError(f"held {held.shape} and held_perturbed {held_perturbed.shape} differ: use the same pictures")
    weights = picture_weights(weights, len(held))
    return weights @ (held == held_perturbed).all(axis=2) / weights.sum(axis=-1, keepdims=True)
