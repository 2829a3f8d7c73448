"""Boxes."""

from numbers import Real

import numpy as np
import scipy.ndimage
import torch

from ..concepts.cells import SMALLEST_ISLAND
from ..concepts.masks import Region
from ..data.pictures import check_whole


def part_boxes(masks, part_count, margin=0.0):
    """Where a person would draw boxes around parts: filled boxes, bool `(picture, part, size, size)`.

    masks: whole numbers `(picture, size, size)` of `Split.part_masks`, k is part k, 0 background
    part_count: number of parts; part k is entry k - 1 of the result
    margin: share of a box's height and width that is added on each of its sides, up to the picture's border

    Each piece of a part gets its own box, so that two eyes give two; pieces are connected by pixels' sides. Pieces
    under 4 pixels are specks of resizing and ignored, as in `asxai.benchmarks.agreement`. Where a part is not visible everything
    is False. Boxes hold what lies between, too: that of a bent tail is mostly background, and boxes of parts overlap.
    Raises ValueError for masks of another type or shape, labels above part_count, or a negative margin.
    """
    masks = masks.numpy(force=True) if isinstance(masks, torch.Tensor) else np.asarray(masks)
    if masks.ndim != 3 or masks.shape[1] != masks.shape[2] or not np.issubdtype(masks.dtype, np.integer):
        raise ValueError(f"masks {masks.dtype} {masks.shape} must be whole numbers (picture, size, size), as "
                         "Split.part_masks(size) gives them")
    if not masks.size:
        raise ValueError(f"masks {masks.shape} hold no pixel; give at least one picture")
    check_whole("part_count", part_count, 1)
    if masks.min() < 0 or masks.max() > part_count:
        raise ValueError(f"part_count={part_count}, but masks run from {masks.min()} to {masks.max()}; use the number "
                         "of part names, and 0 for background")
    check_number("margin", margin, 0, "such as 0, or 0.1 for a tenth of the box on each side")
    size, boxes = masks.shape[1], np.zeros((len(masks), part_count, *masks.shape[1:]), bool)
    for picture, mask in enumerate(masks):
        for part, around in enumerate(scipy.ndimage.find_objects(mask.astype(np.int64))):
            if around is None:
                continue
            pieces, _ = scipy.ndimage.label(mask[around] == part + 1)  # only the box around all of them: much faster
            pixels = np.bincount(pieces.ravel())
            for piece, box in enumerate(scipy.ndimage.find_objects(pieces), start=1):
                if pixels[piece] >= SMALLEST_ISLAND:
                    rows, columns = (_widened(side, start.start, margin, size) for side, start in zip(box, around))
                    boxes[picture, part, rows, columns] = True
    return torch.from_numpy(boxes)


def _widened(side, offset, margin, size):
    """A slice moved by `offset` and widened by the share `margin` of its length at both ends, within 0..size."""
    more = round(margin * (side.stop - side.start))
    return slice(max(0, offset + side.start - more), min(size, offset + side.stop + more))


def check_number(argument, value, least, remedy):
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value < np.inf:
        raise ValueError(f"{argument}={value!r} is not usable; use a number of at least {least}, {remedy}")


def box_regions(study):
    """Boxes around the true parts, as a person would draw them. The data set must have part masks."""
    names = study.data.part_names

    def regions(label, split):
        boxes = torch.as_tensor(part_boxes(split.part_masks(study.config.size), len(names)))
        shown = boxes.flatten(2).any(2).any(0)  # a class may lack a part
        return Region(tuple(name for name, own in zip(names, shown) if own), boxes[:, shown])

    return regions
