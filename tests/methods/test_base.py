"""What follows from maps, against loops, for a method that is told its maps; and the registry."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asxai.methods import METHODS, Method, base, fitted


class Planted(Method):
    """Maps `(picture, concept, height, width)` of the pictures with these hashes, whatever they show."""

    def __init__(self, maps, hashes):
        self.given, self.at = maps, {name: i for i, name in enumerate(hashes)}

    def names(self, label):
        return tuple(f"c{k}" for k in range(self.given.shape[1]))

    def maps(self, pictures, label):
        return self.given[[self.at[name] for name in pictures.hashes]]


@pytest.fixture(scope="module")
def strengths(study):
    train = study.data.train
    maps = torch.rand(len(train), 3, 7, 7, generator=torch.Generator().manual_seed(0))
    return Planted(maps, train.hashes).fit(study)


@pytest.fixture(scope="module")
def places(study):
    """Regions: a square that all pictures show, one that the first ones lack, and one that none shows."""
    train = study.data.train
    maps = torch.zeros(len(train), 3, 28, 28, dtype=torch.bool)
    maps[:, 0, 4:12, 8:20] = maps[2:, 1, 10:24, 3:9] = True
    return Planted(maps, train.hashes).fit(study)


def test_the_strongest_concept_wins(strengths, study):
    train = study.data.train.take([5, 0, 3])
    winners = strengths.winners(train)
    for i, own in enumerate(strengths.maps(train, 0)):
        fine = torch.nn.functional.interpolate(own[None], size=(28, 28), mode="bilinear")[0]
        np.testing.assert_array_equal(winners[i], fine.argmax(0).numpy() + 1)


def test_the_region_that_covers_most_wins(places, study):
    winners = places.winners(study.data.train.take([3, 0]))
    expected = np.zeros((2, 28, 28), int)
    expected[:, 4:12, 8:20] = 1
    expected[0, 10:24, 3:9] = 2  # of two that cover a cell alike the later
    np.testing.assert_array_equal(winners, expected)


def test_masks_are_the_top_of_a_map_or_the_region(strengths, places, study):
    train = study.data.train.take([0, 1, 4])
    strengths.percentile = 80.0
    for own, masks in zip(strengths.maps(train, 0), strengths.masks(train, 0, 7)):
        for strength, mask in zip(own, masks):
            least = strength.flatten().sort().values[round(49 * 0.8) - 1]
            assert torch.equal(mask, strength >= least)
    assert torch.equal(places.masks(train, 0, 28), places.maps(train, 0))
    region = places.regions(0, train, 28)
    assert region.names == ("c0", "c1") and torch.equal(region.masks, places.maps(train, 0)[:, :2])
    assert places.regions(0, train.take([0, 1]), 28).names == ("c0",)


def test_peaks_are_the_middles_of_the_strongest_cells(strengths, study):
    train = study.data.train.take([2, 6])
    scores, pixels = strengths.peaks(train, 0)
    for i, k in np.ndindex(2, 3):
        own = strengths.maps(train, 0)[i, k].numpy()
        row, column = np.unravel_index(own.argmax(), own.shape)
        assert scores[i, k] == own.max() and pixels[i, k].tolist() == [int((row + 0.5) * 32), int((column + 0.5) * 32)]


def test_exemplars_are_the_pictures_of_the_highest_peaks(strengths, study):
    members = np.flatnonzero(study.data.train.labels == 1)
    maps = strengths.given.numpy()
    for k, (pictures, points) in enumerate(strengths.exemplars(1, 4)):
        assert pictures.tolist() == sorted(members, key=lambda i: -maps[i, k].max())[:4]
        for picture, point in zip(pictures, points):
            cell = np.unravel_index(maps[picture, k].argmax(), (7, 7))
            np.testing.assert_allclose(point, (np.array(cell) + 0.5) / 7)


def test_exemplars_of_regions_are_spread_and_around_their_middle(places, study):
    members = np.flatnonzero(study.data.train.labels == 0)
    everywhere, later, nowhere = places.exemplars(0, 3)
    assert everywhere[0].tolist() == members[[0, round((len(members) - 1) / 2), -1]].tolist() and len(nowhere[0]) == 0
    assert later[0].tolist() == [i for i in everywhere[0] if i >= 2] and len(later[0]) == 2
    cells = np.argwhere(base.resized(places.given[:1, 0], 6)[0].numpy())  # of the backbone's grid
    np.testing.assert_allclose(everywhere[1], np.tile((cells + 0.5).mean(axis=0) / 6, (3, 1)))


def test_masks_become_larger_by_repetition_and_smaller_by_what_covers_half():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :4, :4] = masks[0, :2, 4:] = True  # a whole cell of 4 x 4, and half of another
    masks[1, 0, 0] = True  # less than half of any
    cells = [[[True, True], [False, False]], [[True, False], [False, False]], [[False, False], [False, False]]]
    assert base.resized(masks[None], 2)[0].tolist() == cells
    assert torch.equal(base.resized(masks, 24), masks.repeat_interleave(3, 1).repeat_interleave(3, 2))


def test_a_name_is_given_once_unless_the_same_cell_runs_again(registry):
    def define(name="twice"):
        class Toy(Planted, name=name):
            pass

        return Toy

    assert define().name == "twice" and define() is METHODS["twice"]
    with pytest.raises(ValueError, match="name='k-means' is that of asxai.methods.clusterings.KMeansClusters; choose"):
        define("k-means")


def test_what_cannot_be_fitted_is_named(study):
    with pytest.raises(ValueError, match="method='k-mean' is unknown; use one of this study, paper's objective"):
        fitted("k-mean", study)
    photographs = SimpleNamespace(data=dataclasses.replace(study.data, part_names=()))
    with pytest.raises(ValueError, match="'boxes around parts' needs part masks, which 'menagerie-pets' lacks"):
        fitted("boxes around parts", photographs)
    with pytest.raises(ValueError, match="a tensor lacks; give a Split"):
        fitted("boxes around parts", study).maps(torch.zeros(1, 3, 96, 96), 0)
    made = METHODS["k-means"]().fit(study)
    assert fitted(made, study) is made
