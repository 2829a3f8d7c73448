"""Boxes and superpixels against plain definitions and pictures whose parts are known."""

import numpy as np
import pytest
import torch

from asxai.methods import superpixels
from asxai.methods.boxes import part_boxes
from asxai.methods.superpixels import Superpixels

# colours, and how far down and across
PLACES = {(220, 40, 40): (0.3, 0.3), (40, 60, 220): (0.65, 0.35), (240, 220, 60): (0.5, 0.7)}


def slow_boxes(masks, parts, margin=0.0, least=4):
    """Flood fill, then the box of each piece, pixel by pixel."""
    boxes = np.zeros((len(masks), parts, *masks.shape[1:]), bool)
    size = masks.shape[1]
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
                down, across = round(margin * (bottom - top + 1)), round(margin * (last - first + 1))
                for r in range(max(0, top - down), min(size, bottom + down + 1)):
                    for c in range(max(0, first - across), min(size, last + across + 1)):
                        boxes[i, part, r, c] = True
    return boxes


def discs(count=12, size=96, seed=0, dtype=np.uint8):
    """Three discs in slightly different places on a dark, slightly noisy ground, and their masks."""
    rng = np.random.default_rng(seed)
    down, across = np.indices((size, size)) / size
    pictures = rng.integers(30, 40, (count, 3, size, size)).astype(dtype)
    true = np.zeros((count, len(PLACES), size, size), bool)
    for i in range(count):
        for k, (colour, (y, x)) in enumerate(PLACES.items()):
            y, x = (y, x) + rng.uniform(-0.04, 0.04, 2)
            true[i, k] = (down - y) ** 2 + (across - x) ** 2 < 0.1**2
            pictures[i][:, true[i, k]] = np.array(colour)[:, None] + rng.integers(-5, 6, (3, true[i, k].sum()))
    return torch.from_numpy(pictures), torch.from_numpy(true)


def iou(first, second):
    return (first & second).sum((-2, -1)) / (first | second).sum((-2, -1))


# --- Boxes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5, 3])
def test_boxes_against_loops_on_random_masks(margin):
    rng = np.random.default_rng(int(10 * margin))
    coarse = rng.integers(0, 4, (6, 12, 12), dtype=np.uint8)
    masks = coarse.repeat(3, axis=1).repeat(3, axis=2)
    masks[rng.random(masks.shape) < 0.15] = 0
    found = part_boxes(masks, 4, margin)
    assert found.dtype == torch.bool and found.shape == (6, 4, 36, 36)
    assert np.array_equal(found.numpy(), slow_boxes(masks, 4, margin))
    assert not found[:, 3].any()  # no picture shows part 4


def test_two_islands_give_two_boxes_and_a_part_that_is_hidden_none():
    mask = np.zeros((2, 20, 20), np.uint8)
    mask[0, 4:7, 3:6] = mask[0, 4:7, 12:16] = 1
    mask[0, 5, 4] = 0  # a hole belongs to the box
    found = part_boxes(mask, 2)
    expected = np.zeros((20, 20), bool)
    expected[4:7, 3:6] = expected[4:7, 12:16] = True
    assert np.array_equal(found[0, 0].numpy(), expected)
    assert not found[0, 1].any() and not found[1].any()


def test_a_bent_part_gets_all_of_its_box_and_the_margin_ends_at_the_border():
    mask = np.zeros((1, 20, 20), np.int64)
    mask[0, 2:12, 0], mask[0, 11, 0:10] = 1, 1
    expected = np.zeros((20, 20), bool)
    expected[2:12, 0:10] = True
    assert np.array_equal(part_boxes(mask, 1)[0, 0].numpy(), expected)
    expected[0:14, 0:12] = True
    assert np.array_equal(part_boxes(torch.from_numpy(mask), 1, margin=0.2)[0, 0].numpy(), expected)


@pytest.mark.parametrize("pixels, seen", [(1, False), (3, False), (4, True)])
def test_specks_get_no_box(pixels, seen):
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[0, 5, 2:2 + pixels] = 1
    mask[0, 1, 1] = mask[0, 2, 2] = mask[0, 3, 3] = mask[0, 1, 3] = 1  # touch by corners only
    found = part_boxes(mask, 1)[0, 0]
    assert found[5].any() == seen and not found[:5].any()


def test_boxes_check_their_arguments():
    masks = np.ones((2, 8, 8), np.uint8)
    for change, message in (({"masks": masks.astype(float)}, "masks float64"), ({"masks": masks[0]}, r"\(8, 8\) must"),
                            ({"masks": masks[:, :5]}, "picture, size, size"), ({"masks": masks[:0]}, "hold no pixel"),
                            ({"masks": masks > 0}, "masks bool"), ({"masks": masks * 3}, "part_count=2, but masks run"),
                            ({"masks": -masks.astype(int)}, "masks run from -1"), ({"part_count": 0}, "part_count: 0"),
                            ({"part_count": 1.5}, "part_count: 1.5"), ({"margin": -0.1}, "margin=-0.1"),
                            ({"margin": np.nan}, "margin=nan"), ({"margin": "wide"}, "margin='wide'")):
        with pytest.raises(ValueError, match=message):
            part_boxes(**{"masks": masks, "part_count": 2} | change)


# --- Superpixels -----------------------------------------------------------------------------------------------------


def test_kinds_are_the_discs():
    pictures, true = discs(18)
    fitted = Superpixels(3).fit(pictures[:12])
    found = fitted.masks(pictures[12:])
    assert found.dtype == torch.bool and found.shape == (6, 3, 96, 96)
    agreement = iou(found[:, :, None], true[12:, None])  # (picture, kind, disc)
    disc = agreement.mean(0).argmax(1)
    assert sorted(disc.tolist()) == [0, 1, 2]  # a kind for each disc, the same in every picture
    assert agreement[:, torch.arange(3), disc].min() > 0.7
    assert not (found.sum(1) > 1).any()
    every = fitted.masks(pictures[12:], every=True)
    assert not (every.sum(1) > 1).any()
    assert iou(every, true[12:, disc]).min() > 0.7


def test_the_same_again_and_another_order_or_batch_changes_nothing():
    pictures, _ = discs(16)
    fitted = Superpixels(3, seed=3).fit(pictures)
    shuffled = torch.from_numpy(np.random.default_rng(1).permutation(16))
    noise = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    noise = noise.repeat_interleave(8, 2).repeat_interleave(8, 3)  # k-means is not sure about these
    vague = Superpixels(7).fit(noise)
    for order in (slice(None), shuffled):
        for first, other in ((fitted, Superpixels(3, seed=3).fit(pictures[order])),
                             (vague, Superpixels(7).fit(noise[order]))):
            assert np.array_equal(first.centres, other.centres) and np.array_equal(first.scale, other.scale)
    assert not np.allclose(vague.centres, Superpixels(7, seed=1).fit(noise).centres)
    for every in (False, True):
        together = fitted.masks(pictures, every)
        assert torch.equal(together, torch.cat([fitted.masks(pictures[i:i + 1], every) for i in range(16)]))
        assert torch.equal(together[shuffled], fitted.masks(pictures[shuffled], every))


def test_batches_end_where_they_should(monkeypatch):
    pictures, _ = discs(7)
    whole = Superpixels(3).fit(pictures).masks(pictures)
    monkeypatch.setattr(superpixels, "BATCH", 3)
    assert torch.equal(whole, Superpixels(3).fit(pictures).masks(pictures))


@pytest.mark.parametrize("size", [20, 112, 150, 336])
def test_any_size_and_never_an_empty_mask(size):
    pictures, true = discs(4, size)
    noise = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = torch.full((1, 3, size, size), 90, dtype=torch.uint8)
    fitted = Superpixels(3).fit(pictures)
    for every in (False, True):
        found = fitted.masks(torch.cat([pictures, noise, flat]), every)
        assert found.shape == (7, 3, size, size) and found.flatten(2).any(2).all()
    if size > 20:  # where discs have more than a few pixels
        assert iou(fitted.masks(pictures)[:, :, None], true[:, None]).amax(2).min() > 0.6


def test_a_reduced_picture_goes_back_to_whole_squares():
    pictures, _ = discs(3, 3 * superpixels.SIDE)
    found = Superpixels(3).fit(pictures).masks(pictures)
    assert torch.equal(found, found[..., ::3, ::3].repeat_interleave(3, 2).repeat_interleave(3, 3))


def test_what_touches_the_border_or_looks_like_it_is_no_region():
    pictures, true = discs(10)
    pictures[:, :, 40:70, :9] = torch.tensor([200, 200, 200], dtype=torch.uint8)[:, None, None]  # an object cut off
    fitted = Superpixels(3).fit(pictures)
    for every in (False, True):
        found = fitted.masks(pictures, every).any(1)
        assert not found[:, [0, -1]].any() and not found[:, :, [0, -1]].any()
        assert not found[:, 40:70, :6].any()
        # SLIC's outlines are a pixel or two off, and wobble more where it smooths
        assert (found & ~true.any(1)).sum() < 0.3 * true.sum()


def test_more_kinds_than_there_are_objects_take_the_scene_that_is_least_alike():
    pictures, true = discs(10)
    fitted = Superpixels(6).fit(pictures)
    found = fitted.masks(pictures)
    assert found.flatten(2).any(2).all() and not (found.sum(1) > 1).any()
    assert iou(found[:, :, None], true[:, None]).amax(1).min() > 0.6  # every disc still has its kind


def test_where_all_touch_the_border_none_is_left_out():
    ramp = torch.arange(0, 240, 5, dtype=torch.uint8).expand(3, 48, 48).contiguous()[None]
    fitted = Superpixels(2, segments=4).fit(ramp)
    whole = next(fitted._cut(ramp))
    assert len(whole.kept) == whole.map.max() + 1 >= 2
    found = fitted.masks(ramp, every=True)
    assert found.flatten(2).any(2).all() and found.any(1).all()


def test_kinds_share_a_segment_only_if_there_are_too_few():
    squares = np.array([[1.0, 4, 9], [2, 4, 9], [9, 9, 1]])
    assert superpixels._handed_out(squares).tolist() == [0, 1, 2]
    assert superpixels._handed_out(squares[:, :2]).tolist() == [0, 1, 0]
    assert superpixels._handed_out(squares[:2]).tolist() == [0, 1]


def test_kinds_are_numbered_by_how_many_they_have():
    pictures, _ = discs(12)
    fitted = Superpixels(4).fit(pictures)
    squares = [((s.looks / fitted.scale)[:, None] - fitted.centres) ** 2 for s in fitted._cut(pictures)]
    members = np.bincount(np.concatenate([s.sum(2).argmin(1) for s in squares]), minlength=4)
    assert (np.diff(members) <= 0).all() and members.sum() >= 4 * 12
    assert fitted.centres.shape == (4, 7) and fitted.scale.shape == (7,)


def test_looks_against_loops():
    pictures, _ = discs(1, 60)
    found = next(Superpixels(3)._cut(pictures))
    lab = superpixels.rgb2lab(pictures[0].permute(1, 2, 0).numpy() / 255)
    assert len(found.kept) >= 3
    for number, looks in zip(found.kept, found.looks):
        own = np.argwhere(found.map == number)
        colours = np.stack([lab[r, c] for r, c in own])
        down, across = np.mean([[r / 59 - 0.5, c / 59 - 0.5] for r, c in own], axis=0)
        expected = [*colours.mean(0), np.sqrt(colours.var(0).sum()), down, abs(across), np.sqrt(len(own) / 3600)]
        assert np.allclose(looks, expected, atol=1e-4)


def test_superpixels_check_their_arguments():
    for change, message in (({"count": 0}, "count: 0"), ({"count": 2.5}, "count: 2.5"),
                            ({"count": True}, "count: True"), ({"segments": 0}, "segments: 0"),
                            ({"segments": 4}, "segments=4 are fewer than count=5"),
                            ({"compactness": 0}, "compactness=0"), ({"compactness": np.inf}, "compactness=inf"),
                            ({"seed": -1}, "seed: -1")):
        with pytest.raises(ValueError, match=message):
            Superpixels(**{"count": 5} | change)
    pictures, _ = discs(2)
    with pytest.raises(ValueError, match="call fit"):
        Superpixels(2).masks(pictures)
    fitted = Superpixels(2).fit(pictures)
    for wrong, message in ((pictures.float(), "pictures torch.float32"), (pictures[0], r"\(3, 96, 96\) must be uint8"),
                           (pictures[:, :2], "to_batch"), (pictures[..., :50], r"size, size\)"),
                           (pictures.permute(0, 2, 3, 1), "to_batch"), (pictures[:0], "hold no pixel"),
                           (np.zeros((2, 3, 96, 96)), "pictures torch.float64")):
        for call in (Superpixels(2).fit, fitted.masks):
            with pytest.raises(ValueError, match=message):
                call(wrong)
    with pytest.raises(ValueError, match="count=30, but the pictures have only"):
        Superpixels(30).fit(pictures[:1])
    assert torch.equal(fitted.masks(pictures.numpy()), fitted.masks(pictures))
