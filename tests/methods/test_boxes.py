"""Boxes around parts against a flood fill, and on pictures whose parts are known."""

import numpy as np
import torch

from asxai.methods import METHODS
from asxai.methods.boxes import part_boxes


def slow_boxes(masks, parts, least=4):
    """Flood fill over pixels that share a side, then the box of each piece of `least` pixels."""
    boxes = np.zeros((len(masks), parts, *masks.shape[1:]), bool)
    for i, part in np.ndindex(len(masks), parts):
        left = {(int(r), int(c)) for r, c in np.argwhere(masks[i] == part + 1)}
        while left:
            piece, edge = set(), [min(left)]
            while edge:
                r, c = edge.pop()
                if (r, c) in left:
                    left.remove((r, c))
                    piece.add((r, c))
                    edge += [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
            if len(piece) >= least:
                rows, columns = zip(*piece)
                boxes[i, part, min(rows) : max(rows) + 1, min(columns) : max(columns) + 1] = True
    return boxes


def test_boxes_against_loops_on_random_masks():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 4, (6, 12, 12), dtype=np.uint8)
    masks = coarse.repeat(3, axis=1).repeat(3, axis=2)
    masks[rng.random(masks.shape) < 0.15] = 0  # holes, and specks that touch by corners only
    boxes = part_boxes(masks, 4)
    assert boxes.dtype == torch.bool and boxes.shape == (6, 4, 36, 36)
    assert np.array_equal(boxes.numpy(), slow_boxes(masks, 4)) and (slow_boxes(masks, 4, 5) < boxes.numpy()).any()
    assert (boxes.numpy() < slow_boxes(masks, 4, 3)).any()  # pieces of four pixels have a box, and specks none
    assert not boxes[:, 3].any()  # no picture shows part 4


def test_boxes_of_drawn_pictures_cover_their_parts_and_leave_out_those_that_a_class_lacks(study):
    split, method = study.data.test.take(study.data.test.labels == 1), METHODS["boxes around parts"]().fit(study)
    region, parts = method.regions(1, split), split.part_masks(96)
    assert set(region.names) >= {"head", "leg"} and region.masks.shape == (5, len(region.names), 96, 96)
    for k, name in enumerate(study.data.part_names, start=1):
        if name in region.names:
            boxes, part = region.masks[:, region.names.index(name)].numpy(), parts == k
            assert (boxes & part).sum() >= 0.97 * part.sum()  # but for specks
        else:
            assert np.bincount((parts == k).sum(axis=(1, 2))).argmax() < 4
