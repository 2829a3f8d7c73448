"""Measures of maps against plain loops, and what each says of maps whose answer is known."""

import numpy as np
import pytest
import torch

from asxai.benchmarks import map_measures
from asxai.data.pictures import to_batch
from asxai.methods import METHODS


def test_where_evidence_lies_is_what_plain_loops_say():
    rng = np.random.default_rng(0)
    maps, masks = torch.from_numpy(rng.normal(size=(4, 8, 8))), rng.random((4, 8, 8)) < 0.3
    maps[3] = 1.0  # all tie: by area
    for i in range(4):
        values, mask = maps[i].numpy(), masks[i]
        share = values.clip(0)[mask].sum() / values.clip(0).sum()
        assert map_measures.inside(maps, masks)[i] == pytest.approx(share, rel=1e-5)
        order = sorted(range(64), key=lambda k: -values.ravel()[k])[: mask.sum()]
        top = np.mean([mask.ravel()[k] for k in order]) if i < 3 else mask.mean()
        assert map_measures.top_share(maps, masks)[i] == pytest.approx(top)
        hit = mask.ravel()[values.argmax()] if i < 3 else mask.mean()
        assert map_measures.pointing(maps, masks)[i] == pytest.approx(float(hit))


class Bright:
    """A network that sees how bright the left half is."""

    def scores(self, pictures):
        left = pictures[..., : pictures.shape[-1] // 2].float().mean(dim=(1, 2, 3)) / 25
        return torch.stack([left, torch.full_like(left, 4.0)], dim=1)


def test_insertion_and_deletion_know_where_it_matters():
    pictures = torch.full((1, 3, 32, 32), 20, dtype=torch.uint8)
    pictures[..., :16] = 240
    good = (torch.arange(32) < 16).float().expand(1, 32, 32)
    right = map_measures.insertion_deletion(Bright(), pictures, np.array([0]), good)
    wrong = map_measures.insertion_deletion(Bright(), pictures, np.array([0]), 1 - good)
    assert right[0] > wrong[0] and right[1] < wrong[1]


def test_shuffled_weights_change_what_depends_on_them_and_nothing_else(study):
    split = study.data.test.take([0, 6])
    pixels, before = to_batch(split.paths, 96), {k: v.clone() for k, v in study.model.state_dict().items()}
    for name, kept in (("edges", True), ("Grad-CAM", False), ("this study", False)):
        method = METHODS[name]().fit(study)
        first = map_measures.evidence_of(method, pixels, split.labels)
        second = map_measures.evidence_of(map_measures.shuffled_weights(method), pixels, split.labels)
        correlations = [map_measures.rank_correlation(a, b) for a, b in zip(first, second)]
        assert (min(correlations) > 0.999) == kept, name
        assert torch.equal(map_measures.evidence_of(method, pixels, split.labels), first)
    assert all(torch.equal(before[key], value) for key, value in study.model.state_dict().items())


def test_passes_are_counted_forwards_and_backwards(study):
    pixels = to_batch(study.data.test.take([0]).paths, 96)
    expected = {"uniform": 0, "saliency": 2, "Grad-CAM": 1, "this study": 1, "black box": None}
    for name, count in expected.items():
        method = METHODS[name]().fit(study)
        if count is not None:
            assert map_measures.passes(method, pixels, 0) == count, name


def test_maps_without_an_order_are_the_same_whatever_the_weights():
    assert map_measures.rank_correlation(torch.ones(4, 4), torch.rand(4, 4)) == 1
    assert map_measures.cosine(torch.ones(3, 3), -torch.ones(3, 3)) == pytest.approx(-1)
    maps = map_measures.standardised(torch.rand(2, 5, 5))
    torch.testing.assert_close(maps.std(dim=(1, 2)), torch.ones(2))
