"""Superpixels on pictures whose parts are known, and against loops."""

import numpy as np
import pytest
import torch

from asxai.data.pictures import to_batch
from asxai.methods import superpixels
from asxai.methods.superpixels import Kinds, Superpixels

# colours, and how far down and across
PLACES = {(220, 40, 40): (0.3, 0.3), (40, 60, 220): (0.65, 0.35), (240, 220, 60): (0.5, 0.7)}


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


def test_kinds_are_the_discs():
    pictures, true = discs(18)
    fitted = Kinds(3).fit(pictures[:12])
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
    fitted = Kinds(3, seed=3).fit(pictures)
    shuffled = torch.from_numpy(np.random.default_rng(1).permutation(16))
    noise = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    noise = noise.repeat_interleave(8, 2).repeat_interleave(8, 3)  # k-means is not sure about these
    vague = Kinds(7).fit(noise)
    for order in (slice(None), shuffled):
        for first, other in ((fitted, Kinds(3, seed=3).fit(pictures[order])), (vague, Kinds(7).fit(noise[order]))):
            assert np.array_equal(first.centres, other.centres) and np.array_equal(first.scale, other.scale)
    assert not np.allclose(vague.centres, Kinds(7, seed=1).fit(noise).centres)
    for every in (False, True):
        together = fitted.masks(pictures, every)
        assert torch.equal(together, torch.cat([fitted.masks(pictures[i : i + 1], every) for i in range(16)]))
        assert torch.equal(together[shuffled], fitted.masks(pictures[shuffled], every))


@pytest.mark.parametrize("size", [20, 112, 336])
def test_any_size_and_never_an_empty_mask(size):
    pictures, true = discs(4, size)
    noise = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = torch.full((1, 3, size, size), 90, dtype=torch.uint8)
    fitted, side = Kinds(3).fit(pictures), min(size, superpixels.SIDE)
    for every in (False, True):
        masks = fitted.masks(torch.cat([pictures, noise, flat]), every)
        assert masks.shape == (7, 3, side, side) and masks.flatten(2).any(2).all()
    if size > 20:  # where discs have more than a few pixels
        true = true[..., :: size // side, :: size // side]
        assert iou(fitted.masks(pictures)[:, :, None], true[:, None]).amax(2).min() > 0.6


def test_what_touches_the_border_or_looks_like_it_is_no_region():
    pictures, true = discs(10)
    pictures[:, :, 40:70, :9] = torch.tensor([200, 200, 200], dtype=torch.uint8)[:, None, None]  # an object cut off
    fitted = Kinds(3).fit(pictures)
    for every in (False, True):
        found = fitted.masks(pictures, every).any(1)
        assert not found[:, [0, -1]].any() and not found[:, :, [0, -1]].any()
        assert not found[:, 40:70, :6].any()
        # SLIC's outlines are a pixel or two off, and wobble more where it smooths
        assert (found & ~true.any(1)).sum() < 0.3 * true.sum()


def test_more_kinds_than_there_are_objects_take_the_scene_that_is_least_alike():
    pictures, true = discs(10)
    fitted = Kinds(6).fit(pictures)
    found = fitted.masks(pictures)
    assert found.flatten(2).any(2).all() and not (found.sum(1) > 1).any()
    assert iou(found[:, :, None], true[:, None]).amax(1).min() > 0.6  # every disc still has its kind


def test_where_all_touch_the_border_none_is_left_out(monkeypatch):
    monkeypatch.setattr(superpixels, "SEGMENTS", 4)
    ramp = torch.arange(0, 240, 5, dtype=torch.uint8).expand(3, 48, 48).contiguous()[None]
    fitted = Kinds(2).fit(ramp)
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
    fitted = Kinds(4).fit(pictures)
    squares = [((s.looks / fitted.scale)[:, None] - fitted.centres) ** 2 for s in fitted._cut(pictures)]
    members = np.bincount(np.concatenate([s.sum(2).argmin(1) for s in squares]), minlength=4)
    assert (np.diff(members) <= 0).all() and members.sum() >= 4 * 12
    assert fitted.centres.shape == (4, 7) and fitted.scale.shape == (7,)


def test_looks_against_loops():
    pictures, _ = discs(1, 60)
    found = next(Kinds(3)._cut(pictures))
    lab = superpixels.rgb2lab(pictures[0].permute(1, 2, 0).numpy() / 255)
    assert len(found.kept) >= 3
    for number, looks in zip(found.kept, found.looks):
        own = np.argwhere(found.map == number)
        colours = np.stack([lab[r, c] for r, c in own])
        down, across = np.mean([[r / 59 - 0.5, c / 59 - 0.5] for r, c in own], axis=0)
        expected = [*colours.mean(0), np.sqrt(colours.var(0).sum()), down, abs(across), np.sqrt(len(own) / 3600)]
        assert np.allclose(looks, expected, atol=1e-4)


def test_too_few_superpixels_are_named():
    with pytest.raises(ValueError, match="30 kinds, but the pictures have only .* use fewer kinds or more pictures"):
        Kinds(30).fit(discs(1)[0])


def test_each_class_has_its_kinds_and_other_pictures_beside_it_change_nothing(study):
    method = Superpixels(kinds=[3, 2]).fit(study)
    for label, kinds in enumerate((3, 2)):
        split = study.data.test.take(study.data.test.labels == label)
        train = study.data.train.take(study.data.train.labels == label)
        expected = Kinds(kinds, study.config.seed).fit(to_batch(train.paths, 96))
        assert np.array_equal(method.kinds[label].centres, expected.centres)
        masks = method.maps(split, label)
        assert len(method.names(label)) == kinds and torch.equal(masks, expected.masks(to_batch(split.paths, 96)))
        assert torch.equal(method.maps(split.take([3, 1]), label), masks[[3, 1]])
    counts = [len(study.concepts().of_class(label)) for label in range(2)]
    assert [len(kinds.centres) for kinds in Superpixels().fit(study).kinds] == counts
    assert Superpixels(size=48, kinds=[1, 1]).fit(study).maps(split, 1).shape[2:] == (48, 48)


def test_winners_are_the_kind_that_covers_most(study):
    method, split = Superpixels(kinds=[3, 2]).fit(study), study.data.test.take([0, 7])
    winners = method.winners(split)
    for i, label in enumerate(split.labels):
        masks = method.kinds[label].masks(to_batch([split.paths[i]], 224), every=True)[0].numpy()
        for row, column in ((3, 4), (14, 14), (20, 9)):
            pixels = masks[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(len(masks), 16).T
            won = [max(np.flatnonzero(pixel) + 1, default=0) for pixel in pixels]  # kinds may share a superpixel
            assert winners[i, row, column] == np.bincount(won).argmax()
