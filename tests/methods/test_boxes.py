"""Boxes around parts against a flood fill, and on pictures whose parts are known."""

import numpy as np
import pytest
import torch

from asxai.methods import METHODS
from asxai.methods.boxes import part_boxes


def slow_boxes(masks, parts, least=4):
    """Flood fill, then the box of each piece, pixel by pixel."""
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
                top, bottom = min(r for r, _ in piece), max(r for r, _ in piece)
                first, last = min(c for _, c in piece), max(c for _, c in piece)
                for r, c in np.ndindex(bottom - top + 1, last - first + 1):
                    boxes[i, part, top + r, first + c] = True
    return boxes


def test_boxes_against_loops_on_random_masks():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 4, (6, 12, 12), dtype=np.uint8)
    masks = coarse.repeat(3, axis=1).repeat(3, axis=2)
    masks[rng.random(masks.shape) < 0.15] = 0
    boxes = part_boxes(masks, 4)
    assert boxes.dtype == torch.bool and boxes.shape == (6, 4, 36, 36)
    assert np.array_equal(boxes.numpy(), slow_boxes(masks, 4))
    assert not boxes[:, 3].any()  # no picture shows part 4


def test_two_islands_give_two_boxes_a_bent_part_all_of_its_box_and_a_hidden_one_none():
    mask = np.zeros((2, 20, 20), np.uint8)
    mask[0, 4:7, 3:6] = mask[0, 4:7, 12:16] = 1
    mask[0, 5, 4] = 0  # a hole belongs to the box
    mask[1, 2:12, 0] = mask[1, 11, 0:10] = 2
    boxes, expected = part_boxes(mask, 2), np.zeros((2, 2, 20, 20), bool)
    expected[0, 0, 4:7, 3:6] = expected[0, 0, 4:7, 12:16] = expected[1, 1, 2:12, 0:10] = True
    assert np.array_equal(boxes.numpy(), expected)


@pytest.mark.parametrize("pixels, seen", [(1, False), (3, False), (4, True)])
def test_specks_get_no_box(pixels, seen):
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[0, 5, 2 : 2 + pixels] = 1
    mask[0, 1, 1] = mask[0, 2, 2] = mask[0, 3, 3] = mask[0, 1, 3] = 1  # touch by corners only
    boxes = part_boxes(mask, 1)[0, 0]
    assert boxes[5].any() == seen and not boxes[:5].any()


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
