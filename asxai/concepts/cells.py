"""Cells."""

import numpy as np
import torch

from ..data.features import BATCH
from ..statistics import picture_weights, whole_numbers


def checked_maps(own, labels, classes, basis=None):
    """Own maps and labels as tensors on the CPU, float and int64."""
    own, labels = torch.as_tensor(own).detach().cpu(), torch.as_tensor(labels).detach().cpu().long()
    if own.ndim != 4 or (basis is not None and own.shape[1] != basis) or labels.shape != own.shape[:1] or not len(own):
        raise ValueError(f"own {tuple(own.shape)} and labels {tuple(labels.shape)} must be (picture, "
                         f"{basis or 'basis'}, height, width) and (picture,), of the same pictures and at least one; "
                         "own_maps makes own from the maps of all classes")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}; use 0 to {classes - 1}, as in class_names")
    return own if own.dtype == torch.float64 else own.float(), labels


CELLS = 28
SMALLEST_ISLAND = 4  # pixels; resizing masks leaves specks that nobody would call a part


def meetings(first, second, names, firsts=None, seconds=None):
    """How often 0..firsts of one map meets 0..seconds of another, `(picture, firsts + 1, seconds + 1)`."""
    first, second = (whole_numbers(values, name, ("picture", "cells", "cells"), highest)
                     for values, name, highest in zip((first, second), names, (firsts, seconds)))
    if first.shape != second.shape:
        raise ValueError(f"{names[0]} {first.shape} and {names[1]} {second.shape} differ: give both on the same cells")
    rows = 1 + (int(first.max(initial=0)) if firsts is None else firsts)
    columns = 1 + (int(second.max(initial=0)) if seconds is None else seconds)
    index = (np.arange(len(first))[:, None, None] * rows + first) * columns + second
    return np.bincount(index.ravel(), minlength=len(first) * rows * columns).reshape(-1, rows, columns)


def per_class(counts, labels, weights):
    """Sums over the pictures of each class: `(picture, row, column)` to `([draw,] class, row, column)`."""
    counts = whole_numbers(counts, "counts", ("picture", "row", "column"))
    labels = whole_numbers(labels, "labels", ("picture",))
    if len(labels) != len(counts) or not len(labels):
        raise ValueError(f"labels are {len(labels)} for {len(counts)} pictures; give one per picture, and at least one")
    weights, flat = picture_weights(weights, len(counts)), counts.reshape(len(counts), -1).astype(np.float64)
    members = (labels == label for label in range(int(labels.max()) + 1))
    sums = np.stack([weights[..., own] @ flat[own] for own in members], axis=-2)
    return sums.reshape(*sums.shape[:-1], *counts.shape[1:])


def cell_parts(part_masks, cells=CELLS):
    """The label that covers most of each cell: masks `(picture, size, size)` to int64 `(picture, cells, cells)`.

    Labels as in `Split.part_masks`, 0 is background; of labels with the same area the lowest wins. Raises ValueError
    for masks that are not square, or whose side is not a multiple of `cells`.
    """
    masks = whole_numbers(part_masks, "part_masks", ("picture", "size", "size"))
    pictures, height, width = masks.shape
    if height != width or cells < 1 or height % cells:
        raise ValueError(f"cells={cells} does not divide part_masks {masks.shape}; use square ones of a multiple of it")
    winner = np.zeros((pictures, cells, cells), np.int64)
    most = np.full(winner.shape, -1)
    for label in range(int(masks.max(initial=0)) + 1):
        # rows first: to add whole rows is much faster than to add up little squares
        rows = (masks == label).reshape(pictures, cells, -1, width).sum(axis=2, dtype=np.int32)
        area = rows.reshape(pictures, cells, cells, -1).sum(axis=3)
        winner[area > most] = label
        most = np.maximum(most, area)
    return winner


def part_iou(winners, parts, labels, concepts, part_count, weights=None):
    """Intersection over union of concepts and parts, `([draw,] class, concepts, part_count)`, in [0, 1].

    Of winners and parts `(picture, cells, cells)` as for `contingency`: cells that a concept wins and that show the
    part, over cells of either, pooled over the pictures of a class (Jaccard, 1912). All cells count, so that a concept
    pays for spilling onto the background. Higher is better. Entry (k, p) is concept k + 1 and part p + 1; NaN for parts
    that a class does not have, 0 for concepts that never win. Raises ValueError as `contingency`.
    """
    counts = meetings(winners, parts, ("winners", "parts"), concepts, part_count)
    tables = per_class(counts, labels, weights)
    both = tables[..., 1:, 1:]
    won, shown = tables[..., 1:, :].sum(axis=-1, keepdims=True), tables[..., :, 1:].sum(axis=-2, keepdims=True)
    return np.where(shown == 0, np.nan, both / np.maximum(won + shown - both, 1))


MASK_SIZE = 224  # pixels of part masks; a multiple of agreement.CELLS


@torch.inference_mode()
def own_class_maps(study, split):
    """Cosines with the vectors of each picture's own class, `(picture, basis, height, width)`, from cached features."""
    return maps_of_features(study, study.features(split)[0], torch.from_numpy(split.labels))


@torch.inference_mode()
def maps_of_features(study, features, labels):
    device = study.model.basis_vectors.device
    result = []
    for batch, members in zip(features.split(BATCH), labels.split(BATCH)):
        maps = study.model(batch.to(device)).maps
        result.append(maps[torch.arange(len(maps)), members.to(device)].cpu())
    return torch.cat(result)


def true_parts(split):
    """Part masks `(picture, 224, 224)` and the majority part of each cell `(picture, cells, cells)`."""
    masks = split.part_masks(MASK_SIZE)
    return masks, cell_parts(masks)
