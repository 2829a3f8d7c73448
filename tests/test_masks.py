"""Masks and boxes against plain definitions."""

import numpy as np
import pytest
import torch

from asxai import masks


def test_masks_keep_the_share_of_the_percentile_and_the_highest_pixels():
    maps = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    found, fine = masks.semantic_masks(maps, 56, percentile=90), masks.upsample(maps, 56)
    assert found.shape == (2, 3, 56, 56)
    for i, j in np.ndindex(2, 3):
        threshold = np.sort(fine[i, j].ravel())[round(56 * 56 * 0.9) - 1]
        assert torch.equal(found[i, j], fine[i, j] >= threshold)
        assert abs(found[i, j].float().mean() - 0.1) < 0.005


def test_a_flat_map_has_an_empty_mask():
    assert not masks.semantic_masks(torch.ones(1, 7, 7), 28).any()


@pytest.mark.parametrize("percentile", [0, 100, -5, 950])
def test_percentile_is_checked(percentile):
    with pytest.raises(ValueError, match=f"percentile={percentile}"):
        masks.semantic_masks(torch.rand(1, 4, 4), 8, percentile)


def test_peak_box_encloses_the_island_of_the_peak_only():
    activation = np.zeros((10, 10))
    activation[1:3, 1:3], activation[6:9, 4:8] = 0.5, 0.7
    activation[7, 5] = 0.9
    assert masks.peak_box(activation > 0, activation) == (6, 4, 9, 8)
    with pytest.raises(ValueError, match="no contrast"):
        masks.peak_box(activation > 2, activation)
