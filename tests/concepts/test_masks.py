"""Masks and boxes against plain definitions."""

import numpy as np
import pytest
import torch

from asxai.concepts import masks


def test_masks_keep_the_share_of_the_percentile_and_the_highest_pixels():
    maps = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    found, fine = masks.semantic_masks(maps, 56, percentile=90), masks.upsample(maps, 56)
    assert found.shape == (2, 3, 56, 56)
    for i, j in np.ndindex(2, 3):
        threshold = np.sort(fine[i, j].ravel())[round(56 * 56 * 0.9) - 1]
        assert torch.equal(found[i, j], fine[i, j] >= threshold)
        assert abs(found[i, j].float().mean() - 0.1) < 0.005
    assert not masks.semantic_masks(torch.ones(1, 7, 7), 28).any()  # a flat map


@pytest.mark.parametrize("percentile", [0, 100, -5, 950])
def test_percentile_is_checked(percentile):
    with pytest.raises(ValueError, match=f"percentile={percentile}"):
        masks.semantic_masks(torch.rand(1, 4, 4), 8, percentile)


def test_peak_box_encloses_the_island_of_the_peak_only():
    activation = np.zeros((10, 10))
    activation[1:3, 1:3], activation[6:9, 4:8] = 0.5, 0.7
    activation[7, 5] = 0.9
    assert masks.peak_box(activation > 0, activation) == (6, 4, 9, 8)


@pytest.mark.parametrize("keep", [True, False])
def test_conceal_against_loops(keep):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 3, 20, 12), dtype=np.uint8)
    found = rng.random((2, 20, 12)) < 0.3
    sigma, reach = 1.2, 2
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    for fill in masks.FILLS:
        concealed = masks.conceal(torch.from_numpy(pictures), torch.from_numpy(found), keep, fill)
        assert concealed.dtype == torch.uint8 and concealed.shape == pictures.shape
        for i, channel in np.ndindex(2, 3):
            picture = pictures[i, channel].astype(float)
            if fill == "blurred":
                padded = np.pad(picture, reach, mode="reflect")
                rest = np.array([[(padded[r : r + 5, c : c + 5] * kernel).sum() for c in range(12)] for r in range(20)])
            else:
                rest = np.full_like(picture, {"black": 0, "mean": picture.mean()}[fill])
            result, shown = concealed[i, channel].numpy(), found[i] == keep
            assert np.array_equal(result[shown], pictures[i, channel][shown])
            assert np.abs(result[~shown] - rest[~shown]).max() < 0.501


def test_an_unknown_fill_is_named():
    with pytest.raises(ValueError, match="fill='white' is unknown; use one of black, mean, blurred"):
        masks.conceal(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.ones(2, 8, 8, dtype=torch.bool), True, "white")
