"""Changes of pictures against slow ones, one pixel at a time."""

import colorsys

import numpy as np
import pytest
import torch
from helpers import cases

from asxai.benchmarks import changes
from asxai.benchmarks.changes import STRENGTHS


@pytest.fixture(scope="module")
def pictures():
    return torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_brightness_contrast_and_saturation_are_factors(pictures):
    values = pictures.double().numpy()
    grey = np.tensordot([0.2989, 0.587, 0.114], values, (0, 1))  # of torchvision, ITU-R 601
    expected = {
        "brightness": 0.8 * values,
        "contrast": 0.45 * values + 0.55 * grey.mean(axis=(1, 2))[:, None, None, None],
        "saturation": 0.7 * values + 0.3 * grey[:, None],
    }
    for name, own in expected.items():
        result = changes.change(pictures, name, STRENGTHS[name])
        assert result.dtype == torch.uint8
        assert np.abs(result.numpy() - own).max() <= 2, name  # it cuts off what it should round, twice
        assert torch.equal(changes.change(pictures, name, 1), pictures), name


def test_hue_turns_the_colour_circle(pictures):
    result = changes.change(pictures, "hue", 0.1)
    for p, y, x in ((0, 3, 4), (1, 10, 20), (2, 19, 0)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pictures[p, :, y, x].double() / 255).tolist())
        expected = 255 * np.array(colorsys.hsv_to_rgb((hue + 0.1) % 1, saturation, value))
        assert np.abs(result[p, :, y, x].double().numpy() - expected).max() <= 2


def test_shape_rolls_rows_and_then_columns_by_a_wave(pictures):
    result = changes.change(pictures, "shape", 0.1).numpy()
    _, _, height, width = pictures.shape
    for picture, changed in zip(pictures.numpy(), result):
        expected = picture.copy()
        for y in range(height):
            by = round(0.1 * width * np.sin(2 * np.pi * changes.WAVES * y / height))
            expected[:, y] = np.roll(expected[:, y], by, axis=1)
        for x in range(width):
            by = round(0.1 * height * np.sin(2 * np.pi * changes.WAVES * x / width))
            expected[:, :, x] = np.roll(expected[:, :, x], by, axis=1)
        assert (changed == expected).all()


def test_texture_is_non_local_means_of_four_grey_levels():
    """A pixel is the mean of those around, weighed by how alike their patches are beyond chance."""
    rng = np.random.default_rng(0)
    flat = np.where(np.arange(24) < 12, 60, 180)[None, :, None]
    noisy = (flat + rng.normal(0, 3, (24, 24, 3))).round().clip(0, 255).astype(np.uint8)
    batch = torch.from_numpy(noisy).permute(2, 0, 1)[None]
    result = changes.change(batch, "texture", 4.0)[0].permute(1, 2, 0).double().numpy()
    pad = changes.PATCH // 2
    padded = np.pad(noisy / 255, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    h2 = (4 / 255) ** 2
    for y, x in ((12, 6), (11, 11), (12, 18)):
        patch = padded[y : y + 7, x : x + 7]
        total, weights = 0, 0
        for j in range(max(0, y - 10), min(24, y + 11)):
            for i in range(max(0, x - 10), min(24, x + 11)):
                weight = np.exp(-((patch - padded[j : j + 7, i : i + 7]) ** 2).mean() / h2)
                total, weights = total + weight * noisy[j, i], weights + weight
        assert np.abs(result[y, x] - total / weights).max() < 1
    assert result[:, :9].std() < 0.7 * noisy[:, :9].std()  # noise goes
    assert abs(result[12, 6].mean() - 60) < 4 and abs(result[12, 18].mean() - 180) < 4  # and the edge stays


def test_distance_is_root_mean_square():
    black, grey = torch.zeros(2, 1, 3, 4, 4, dtype=torch.uint8)
    grey[0, 0] = 51  # a fifth, in a third of the numbers
    assert changes.distance(black, grey).item() == pytest.approx(0.2 / np.sqrt(3))


@cases(
    "name, strength, words",
    ("blur", 1.0, "strengths: 'blur' is no change of a picture; use brightness, contrast"),
    ("hue", 0.6, "strengths: 0.6 of 'hue' is out of range; use 0.1, as the paper, or another number from 0 to 0.5"),
    ("contrast", -1.0, "strengths: -1.0 of 'contrast'"),
    ("texture", 0, "strengths: 0 of 'texture'"),
)
def test_changes_that_cannot_be(pictures, name, strength, words):
    with pytest.raises(ValueError, match=words):
        changes.change(pictures, name, strength)
