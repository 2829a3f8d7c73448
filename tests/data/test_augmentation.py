"""The augmentation, against a slow resampling in float64."""

import math

import numpy as np
import pytest
import torch
from helpers import noise

from asxai.data import augmentation
from asxai.data.augmentation import Augmentation, augment

NOTHING = {"rotation": 0, "shear": 0, "skew": 0, "zoom": 0, "distortion": 0, "flip": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    return torch.from_numpy(np.stack([noise(seed, 18, 30) for seed in range(5)])).permute(0, 3, 1, 2)


def test_same_seed_same_result_and_the_global_state_is_untouched(batch):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = augment(batch, seeded(1)), augment(batch, seeded(1)), augment(batch, seeded(2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == batch.shape and first.dtype == torch.uint8


def test_zero_strength_changes_nothing_and_pictures_are_flipped_as_often_as_told(batch):
    strength = Augmentation(**NOTHING)
    assert torch.equal(augment(batch, seeded(), strength), batch)
    torch.testing.assert_close(augment(batch / 255, seeded(), strength), batch / 255, atol=1e-5, rtol=0)
    assert torch.equal(augment(batch, seeded(), Augmentation(**NOTHING | {"flip": 1})), batch.flip(3))
    many = batch[:1].expand(400, -1, -1, -1)
    result = augment(many, seeded(), Augmentation(**NOTHING | {"flip": 0.5}))
    flipped, straight = ((result == one).all(dim=(1, 2, 3)) for one in (batch[:1].flip(3), batch[:1]))
    assert (flipped ^ straight).all() and 160 < flipped.sum() < 240


@pytest.mark.parametrize("kind", ["rotation", "shear", "skew", "zoom", "distortion"])
def test_every_kind_changes_every_picture_in_its_own_way(batch, kind):
    same = batch[:1].expand(6, -1, -1, -1)
    result = augment(same, seeded(), Augmentation(**NOTHING | {kind: getattr(Augmentation(), kind)}))
    assert len(torch.unique(torch.cat([result, batch[:1]]), dim=0)) == 7


def test_number_types_and_devices_agree(batch):
    whole = augment(batch, seeded())
    exact = augment(batch.double() / 255, seeded())
    assert exact.dtype == torch.float64
    for dtype, tolerance in ((torch.float64, 1e-4), (torch.float32, 1e-4), (torch.float16, 2e-3)):
        result = augment((batch.double() / 255).to(dtype), seeded())
        assert result.dtype == dtype and (result.double() - exact).abs().max() < tolerance
    assert (whole.double() / 255 - exact).abs().max() <= 0.5 / 255 + 1e-4
    # the meta device holds no numbers, but refuses to mix with tensors elsewhere, as a GPU does
    result = augment(batch.to("meta"), seeded())
    assert result.device.type == "meta" and result.shape == batch.shape and result.dtype == torch.uint8


def reflected(place, length):
    """Mirror a place at the outer edges, -0.5 and length - 0.5, until it lies between them."""
    while not -0.5 <= place <= length - 0.5:
        place = -1 - place if place < -0.5 else 2 * length - 1 - place
    return min(max(place, 0), length - 1)


def test_against_a_slow_textbook_resampling(batch):
    """Pixel by pixel in float64: skew, then turn about the centre in units of pixels, then look up bilinearly."""
    strength = Augmentation(rotation=40, shear=20, skew=0.3, zoom=0.3, distortion=0, flip=0.5)
    values = batch[:3].double()
    result = augment(values, seeded(5), strength)
    randomness = augmentation._Randomness.draw(3, seeded(5), strength)
    height, width = values.shape[2:]
    for index, row, column in np.ndindex(3, height, width):
        affine, skew = randomness.affine[index].double().numpy(), randomness.skew[index].double().numpy()
        u, v, w = skew @ [(2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1]
        x, y = affine[:2, :2] @ [u / w * width / 2, v / w * height / 2]  # pixels from the centre
        x, y = reflected(x + (width - 1) / 2, width), reflected(y + (height - 1) / 2, height)
        left, top = min(math.floor(x), width - 2), min(math.floor(y), height - 2)
        patch, dx, dy = values[index, :, top : top + 2, left : left + 2], x - left, y - top
        weights = np.outer([1 - dy, dy], [1 - dx, dx])
        expected = (patch * torch.from_numpy(weights)).sum(dim=(1, 2))
        torch.testing.assert_close(result[index, :, row, column], expected, atol=1e-6, rtol=0)


def test_strengths_are_limits_in_their_units():
    strength = Augmentation(**NOTHING | {"rotation": 10})
    turn = augmentation._Randomness.draw(2000, seeded(), strength).affine
    angles = torch.rad2deg(torch.atan2(turn[:, 1, 0], turn[:, 0, 0]))
    assert -10 <= angles.min() < -9.5 and 9.5 < angles.max() <= 10
    zoom = augmentation._Randomness.draw(2000, seeded(), Augmentation(**NOTHING | {"zoom": 0.2})).affine
    assert 0.8 <= zoom[:, 0, 0].min() < 0.81 and 1.19 < zoom[:, 1, 1].max() <= 1.2
    shift = augmentation._Randomness.draw(2000, seeded(), Augmentation(**NOTHING | {"distortion": 0.05})).shift
    assert abs(shift.std() / 2 - 0.05) < 0.001  # the grid runs from -1 to 1, two units a side


def test_a_flat_picture_stays_flat(batch):
    """Edges are filled with what is there, never with black."""
    flat = torch.full((4, 3, 20, 20), 200, dtype=torch.uint8)
    assert (augment(flat, seeded(), Augmentation(rotation=90, shear=40, skew=0.4, zoom=0.9)) == 200).all()
