"""Measures of importance other than R_s: by hand on a planted model, and as options of an explainer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import fixed_regions

from asxai.concepts.cells import own_class_maps
from asxai.data.datasets import spread_over
from asxai.explain import importance
from asxai.explain.explainer import Explainer
from asxai.model.protocnn import Activations


def test_options_are_one_on_average_and_known_where_a_class_has_the_concept(study, concepts, explainer):
    for kind in importance.IMPORTANCES:
        values = Explainer(study, concepts, importance=kind).scores.importance
        np.testing.assert_array_equal(np.isfinite(values), np.isfinite(explainer.scores.mean))
        assert np.nanmin(values) > 0 and np.nanmean(values) == pytest.approx(1, abs=1e-6 if kind != "rank" else 0.5)
    np.testing.assert_array_equal(
        Explainer(study, concepts, importance="rank").scores.importance, explainer.scores.importance
    )


def test_sobol_of_a_class_is_the_mean_over_its_training_pictures(study, concepts):
    """Class by class, by the masks of its own concepts alone; the second explainer reads what the first kept."""
    found = [Explainer(study, concepts, importance="sobol").scores.importance for _ in range(2)]
    np.testing.assert_array_equal(*found)
    train = study.data.train
    for label, own in enumerate(found[0]):
        few = spread_over(train.take(train.labels == label), importance.PICTURES)
        masks = concepts.masks(own_class_maps(study, few), few.labels, study.config.size)
        has = np.isfinite(own)
        indices = importance.sobol_indices(study.model, study.features(few)[0], masks[:, has], label).mean(axis=0)
        np.testing.assert_allclose(own[has], indices.clip(1e-3) / indices.clip(1e-3).mean(), rtol=1e-6)
    assert np.nanmax(np.abs(found[0] - 1)) > 0.1


def test_unknown_importance_and_sobol_without_pictures(study, concepts, explainer):
    with pytest.raises(ValueError, match="importance='ranks' is unknown; use one of rank, none, sobol"):
        Explainer(study, concepts, importance="ranks")
    opened = SimpleNamespace(kept=True, folder="some.zip")
    with pytest.raises(ValueError, match="'sobol' needs training pictures, and some.zip has none; use its study"):
        importance.study_importance(opened, concepts, explainer.scores.importance, "sobol")


class Planted:
    """A model whose logit is twice the best cell of the corner plus that of the low place, of a map of two channels."""

    feature_mean = torch.zeros(1)

    def embed(self, features):
        return features.float()

    def compare(self, embedding):
        maps = embedding.flatten(2).unflatten(2, embedding.shape[2:])[:, None]  # one class, a vector per channel
        return Activations(None, maps.amax(dim=(3, 4)), maps, embedding)

    def last_layer(self, similarity):
        return (2 * similarity[:, 0] + similarity[:, 1])[:, None].expand(-1, 2)


def test_sobol_indices_find_the_concept_that_the_logit_hangs_on(monkeypatch):
    """Each of two places is all of a channel: four fifths and a fifth of the variance, by hand."""
    features = torch.zeros(2, 2, 12, 12)
    features[:, 0, :5, :5] = 1
    features[:, 1, 8:, :] = 1
    masks = fixed_regions(0, "ab").masks
    few = [importance.sobol_indices(Planted(), features, masks, 0) for _ in range(2)]
    np.testing.assert_array_equal(*few)
    monkeypatch.setattr(importance, "POINTS", 256)
    indices = importance.sobol_indices(Planted(), features, masks, 0)
    # a channel's mean, which is left when its place has gone, differs: 25 and 48 of 144 cells
    first, second = (2 * (1 - 25 / 144)) ** 2, (1 - 48 / 144) ** 2
    np.testing.assert_allclose(indices, np.tile([first, second, 0], (2, 1)) / (first + second), atol=0.03)


def test_faded_logits_are_those_of_the_whole_embedding(study):
    """Cells that no concept touches are left out of the sum: the same as with them, one point at a time."""
    with torch.inference_mode():
        embedding = study.model.embed(study.features(study.data.test)[0][:1])[0]
        generator = torch.Generator().manual_seed(0)
        inside = torch.zeros(2, *embedding.shape[1:])
        inside[0, :2, :2], inside[1, 1, :] = 1, torch.rand(embedding.shape[2], generator=generator)
        factors = torch.rand(7, 2, generator=generator)
        logits = importance._faded_logits(study.model, embedding, inside, factors)
        mean = embedding.mean(dim=(1, 2), keepdim=True)
        for row, (a, b) in zip(logits, factors):
            left = (1 - inside[0] * (1 - a)) * (1 - inside[1] * (1 - b))
            expected = study.model.compare((mean + left * (embedding - mean))[None]).logits[0]
            torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)
