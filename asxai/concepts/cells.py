"""A picture as a grid of cells: the network's maps on it, the true part that each cell shows, and how the two meet."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..data.datasets import Split
from ..data.features import BATCH
from ..statistics import picture_weights

if TYPE_CHECKING:
    from ..study import Study

CELLS = 28  # a side, whatever the network's own grid, wherever concepts and parts are compared
MASK_SIZE = 224  # pixels of part masks; a multiple of CELLS
SMALLEST_ISLAND = 4  # pixels; resizing masks leaves specks that nobody would call a part


def own_class_maps(study: "Study", split: Split) -> torch.Tensor:
    """Cosines with the vectors of each picture's own class, `(picture, basis, height, width)`, from cached features."""
    return maps_of_features(study, study.features(split)[0], torch.from_numpy(split.labels))


@torch.inference_mode()
def maps_of_features(study: "Study", features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The same for features of the fixed part, `(picture, channel, height, width)`, and labels `(picture,)`."""
    device, result = study.model.basis_vectors.device, []
    for batch, classes in zip(features.split(BATCH), labels.split(BATCH)):
        maps = study.model(batch.to(device)).maps
        result.append(maps[torch.arange(len(maps)), classes.to(device)].cpu())
    return torch.cat(result)


@torch.inference_mode()
def backbone_maps(study: "Study", features: torch.Tensor) -> torch.Tensor:
    """The backbone's maps of features of the fixed part, `(picture, channel, height, width)`, on the CPU."""
    device = study.model.basis_vectors.device
    return torch.cat([study.model.backbone_map(batch.to(device)).cpu() for batch in features.split(BATCH)])


def cell_parts(part_masks: np.ndarray, cells: int = CELLS) -> np.ndarray:
    """The label that covers most of each cell: masks `(picture, size, size)` to int64 `(picture, cells, cells)`.

    Labels are those of `Split.part_masks`, 0 is background; of labels with the same area the lowest wins. The size is a
    multiple of `cells`.
    """
    pictures, _, width = part_masks.shape
    winner = np.zeros((pictures, cells, cells), np.int64)
    most = np.full(winner.shape, -1)
    for label in range(int(part_masks.max(initial=0)) + 1):
        # rows first: to add whole rows is much faster than to add up little squares
        rows = (part_masks == label).reshape(pictures, cells, -1, width).sum(axis=2, dtype=np.int32)
        area = rows.reshape(pictures, cells, cells, -1).sum(axis=3)
        winner[area > most] = label
        most = np.maximum(most, area)
    return winner


def true_parts(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Part masks `(picture, 224, 224)` and the majority part of each cell `(picture, cells, cells)`."""
    masks = split.part_masks(MASK_SIZE)
    return masks, cell_parts(masks)


def meetings(first, second, firsts: int | None = None, seconds: int | None = None) -> np.ndarray:
    """How often 0..firsts of one map meets 0..seconds of another, `(picture, firsts + 1, seconds + 1)`.

    first, second: whole numbers `(picture, cells, cells)`. firsts, seconds: by default the highest number of each
    """
    rows = 1 + (int(np.max(first)) if firsts is None else firsts)
    columns = 1 + (int(np.max(second)) if seconds is None else seconds)
    index = (np.arange(len(first))[:, None, None] * rows + first) * columns + second
    return np.bincount(index.ravel(), minlength=len(first) * rows * columns).reshape(-1, rows, columns)


def per_class(counts: np.ndarray, labels, weights=None) -> np.ndarray:
    """Sums over the pictures of each class: `(picture, row, column)` to `([draw,] class, row, column)`.

    weights: how often each picture counts, `(picture,)` or `(draw, picture)`; None: once
    """
    labels, weights = np.asarray(labels), picture_weights(weights, len(counts))
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    members = (labels == label for label in range(int(labels.max()) + 1))
    sums = np.stack([weights[..., chosen] @ flat[chosen] for chosen in members], axis=-2)
    return sums.reshape(*sums.shape[:-1], *counts.shape[1:])


def part_iou(winners, parts, labels, concepts: int, part_count: int, weights=None) -> np.ndarray:
    """Intersection over union of concepts and parts, `([draw,] class, concepts, part_count)`, in [0, 1].

    winners, parts: the concept and the part of each cell, `(picture, cells, cells)`, 0 is background. Entry (k, p) is
    concept k + 1 and part p + 1: cells that the concept wins and that show the part, over cells of either, pooled over
    the pictures of a class (Jaccard, 1912). All cells count, so that a concept pays for spilling onto the background.
    Higher is better; NaN for parts that a class does not have, 0 for concepts that never win.
    """
    tables = per_class(meetings(winners, parts, concepts, part_count), labels, weights)
    both = tables[..., 1:, 1:]
    won, visible = tables[..., 1:, :].sum(axis=-1, keepdims=True), tables[..., :, 1:].sum(axis=-2, keepdims=True)
    return np.where(visible == 0, np.nan, both / np.maximum(won + visible - both, 1))
