"""The contract, over every method that is registered: shapes, finite numbers, the same again, errors before fit."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from asxai import paths
from asxai.data.pictures import to_batch
from asxai.methods import METHODS, Method
from asxai.methods.attributions import Attribution

# attributions have a file of their own: each map costs passes through the backbone
CONCEPTS = [name for name, method in METHODS.items() if not issubclass(method, Attribution)]
every = pytest.mark.parametrize("name", CONCEPTS)


def of_class(split, label):
    return split.take(split.labels == label)


@pytest.fixture(autouse=True)
def the_same_few_pictures(study, monkeypatch):
    """For a method that trains a study of its own."""
    monkeypatch.setattr("asxai.study.load_data_set", lambda name: study.data)


@every
def test_what_a_method_says_fits_together(study, name):
    method = METHODS[name]().fit(study)
    assert method.name == name and isinstance(method, Method)
    for label in range(2):
        split, names = of_class(study.data.test, label), method.names(label)
        maps, count = method.maps(split, label), len(names)
        assert len(set(names)) == count and all(isinstance(concept, str) and concept for concept in names)
        assert maps.ndim == 4 and maps.shape[:2] == (5, count) and torch.isfinite(maps.float()).all()
        importance = method.importance(split, label)
        assert importance is None or (importance.shape == (5, count) and torch.isfinite(importance).all())
        if count:
            masks = method.masks(split, label, 96)
            assert masks.dtype == torch.bool and masks.shape == (5, count, 96, 96)
            region = method.regions(label, split)
            assert set(region.names) <= set(names) and region.masks.flatten(2).any(2).any(0).all()
            hidden, alone = (method.removed(split, label, keep) for keep in (False, True))
            pictures = to_batch(split.paths, 96).expand_as(hidden)
            assert torch.equal(hidden + alone, pictures)  # a pixel is in one of them
            exemplars = method.exemplars(label, 3)
            assert len(exemplars) == count and all(len(p) == len(at) <= 3 for p, at in exemplars)
            assert all((study.data.train.labels[p] == label).all() for p, _ in exemplars)
            assert all(((0 <= at) & (at <= 1)).all() for _, at in exemplars)
            winners = method.won(split, label)
            assert winners.shape == (5, 28, 28) and 0 <= winners.min() and winners.max() <= count
            np.testing.assert_array_equal(method.winners(study.data.test)[study.data.test.labels == label], winners)
        if count and maps.dtype != torch.bool:
            scores, pixels = method.peaks(split, label)
            assert scores.shape == pixels.shape[:2] and pixels.min() >= 0 and pixels.max() < 224
    probabilities = method.predict(study.data.test)
    if probabilities is not None:
        assert probabilities.shape == (10, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert all(vectors.shape[0] == 2 and vectors.ndim == 3 for vectors in method.vectors().values())


@every
def test_the_same_seed_gives_the_same_and_nothing_is_written_outside_the_cache(study, name):
    scratch = Path(paths.RUNS).parent
    caches = {paths.CACHE, paths.RUNS / "studies"}
    files = lambda: {p for p in (*scratch.rglob("*"), *study.folder.rglob("*")) if not caches & {p, *p.parents}}
    before = files()
    first, second = (METHODS[name]().fit(study).maps(of_class(study.data.test, 1), 1) for _ in range(2))
    assert torch.equal(first, second) and files() == before


@every
def test_before_fit_it_is_said_what_to_do(study, name):
    method = METHODS[name]()
    with pytest.raises(NotFittedError, match=f"{name!r} has no .* before it is fitted; call fit"):
        method.regions(0, study.data.test) if name != "black box" else method.predict(study.data.test)
    with pytest.raises(AttributeError, match="has no 'colour'"):
        method.fit(study).colour  # noqa: B018


def test_the_paper_s_objective_is_trained_alike_in_all_else(study):
    method = METHODS["paper's objective"]().fit(study)
    assert method.study.config == dataclasses.replace(study.config, objective="paper") != study.config
    assert not torch.equal(method.vectors()[""], study.model.basis)


@pytest.mark.parametrize("name", [name for name in CONCEPTS if not METHODS[name].knows_parts])
def test_pixels_give_what_their_files_give(study, name):
    method, split = METHODS[name]().fit(study), of_class(study.data.test, 0)
    pixels = to_batch(split.paths, 96)
    maps, own = (method.maps(pictures, 0).float() for pictures in (pixels, split))
    if maps.numel():  # features of files are kept with three digits
        assert (maps - own).abs().max() <= 0.02 * own.abs().max()
        torch.testing.assert_close(method.maps(pixels.float() / 255, 0).float(), maps, rtol=1e-3, atol=1e-3)
    if method.predict(split) is not None:
        np.testing.assert_allclose(method.predict(pixels), method.predict(split), atol=0.02)


def test_the_importance_of_concepts_adds_up_to_what_the_vectors_of_the_class_add(study):
    method, split = METHODS["this study"]().fit(study), of_class(study.data.test, 1)
    out = study.activate(list(split.paths))
    weights = study.model.last_layer.weight.detach().view(2, 2, 5)[1, 1]
    foreground = torch.from_numpy(method.concepts.members[1] > 0)
    expected = (out.similarity[:, 1] * weights)[:, foreground].sum(dim=1)
    torch.testing.assert_close(method.importance(split, 1).sum(dim=1), expected, rtol=1e-2, atol=1e-2)


def test_the_black_box_learns_what_the_features_hold(study):
    box = METHODS["black box"]().fit(study)
    hits = box.predict(study.data.test).argmax(axis=1) == study.data.test.labels
    assert box.accuracy(study.data.test) == hits.mean() > 0.6
    assert box.probe[0].n_features_in_ == study.model.feature_mean.numel()
