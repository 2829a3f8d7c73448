"""Boxes around true parts: a perfect annotator with a mouse, who stands for the people of S-XAI."""

import numpy as np
import scipy.ndimage
import torch

from ..concepts.cells import SMALLEST_ISLAND
from .base import Method


class Boxes(Method, name="boxes around parts"):
    """Regions are boxes around each piece of a true part, so that the data set must have part masks."""

    knows_parts = True

    def names(self, label):
        return tuple(self.study.data.part_names)

    def maps(self, pictures, label):
        if isinstance(pictures, torch.Tensor):
            raise ValueError("boxes are drawn around part masks, which a tensor lacks; give a Split of the data set")
        return part_boxes(pictures.part_masks(self.study.config.size), len(self.study.data.part_names))


def part_boxes(masks: np.ndarray, part_count: int) -> torch.Tensor:
    """Where a person would draw boxes around parts: filled boxes, bool `(picture, part, size, size)`.

    masks: whole numbers `(picture, size, size)` of `Split.part_masks`; part k is entry k - 1 of the result

    Each piece of a part gets its own box, so that two eyes give two; pieces are connected by pixels' sides. Pieces
    under 4 pixels are specks of resizing and ignored, as in `asxai.benchmarks.agreement`. Where a part is not visible
    everything is False. Boxes hold what lies between, too: that of a bent tail is mostly background, and boxes overlap.
    """
    boxes = np.zeros((len(masks), part_count, *masks.shape[1:]), bool)
    for picture, mask in enumerate(masks):
        for part, around in enumerate(scipy.ndimage.find_objects(mask.astype(np.int64))):
            if around is None:
                continue
            pieces, _ = scipy.ndimage.label(mask[around] == part + 1)  # only the box around all of them: much faster
            pixels = np.bincount(pieces.ravel())
            for piece, box in enumerate(scipy.ndimage.find_objects(pieces), start=1):
                if pixels[piece] >= SMALLEST_ISLAND:
                    boxes[picture, part][around][box] = True
    return torch.from_numpy(boxes)
