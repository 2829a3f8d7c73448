"""Clusterings on planted features: 28 x 28 cells, each with the feature of its part, other ones in each class."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import MiniBatchNMF

from asxai.benchmarks.prototypes import measure
from asxai.methods import METHODS, clusterings


@pytest.fixture
def planted(study, monkeypatch):
    """A study whose features are planted; the backgrounds of the two classes are channels 0 and 4."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 4)
    parts = np.zeros((8, 28, 28), np.uint8)
    for i, part in np.ndindex(8, 3):
        top, left = rng.integers(0, 5, 2) + np.array([[2, 2], [2, 15], [15, 8]])[part]
        parts[i, top : top + 7, left : left + 7] = part + 1
    looks = np.eye(12)[np.array([[0, 1, 2, 3], [4, 7, 6, 5]])]  # of the background and the parts, by class
    values = looks[labels[:, None, None], parts] + rng.normal(0, 0.01, (8, 28, 28, 12))
    values = torch.from_numpy(values).float().permute(0, 3, 1, 2)
    whole = dataclasses.replace(study.data.test.take(range(8)), labels=labels, hashes=tuple("abcdefgh"), origin=None)
    at = lambda split: [whole.hashes.index(name) for name in split.hashes]
    masks = parts.repeat(8, axis=1).repeat(8, axis=2)
    monkeypatch.setattr(type(whole), "part_masks", lambda split, size: masks[at(split)])
    monkeypatch.setattr(clusterings, "features", lambda model, split, size: values[at(split)])
    zero = torch.zeros(1, 12, 1, 1)
    return SimpleNamespace(
        model=SimpleNamespace(backbone_map=lambda x: x, feature_mean=zero, feature_std=1 + zero, basis_per_class=4),
        config=study.config,
        class_names=("a", "b"),
        data=SimpleNamespace(train=whole, test=whole, part_names=("x", "y", "z")),
    )


@pytest.mark.parametrize("name", ["k-means", "nmf"])
def test_planted_parts_are_recovered_exactly(planted, name):
    """One of four clusters is the background. With two clusters that cannot be."""
    rows = measure(name, planted, peaks=False)
    assert rows["measure"].tolist() == ["nmi", "ari", "best part IoU"] and (rows[["value", "low"]] == 1).all(axis=None)
    assert measure(METHODS[name](clusters=2), planted, peaks=False)["value"][0] < 0.9


def test_weights_of_factors_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    patches = np.abs(rng.normal(size=(300, 5)) @ rng.normal(size=(5, 24))).astype(np.float32)
    factors = MiniBatchNMF(5, init="nndsvda", random_state=0, max_iter=60)
    clusterings.quietly(factors.fit, patches)
    for some in (patches, patches[:1], patches[:9] * 50):
        np.testing.assert_allclose(clusterings.weights_of(factors, some), factors.transform(some), rtol=1e-5, atol=1e-7)


def test_clusters_over_all_classes_are_numbered_alike_in_all(planted):
    """Parts look different in every class: eight looks are eight clusters, none of which two classes share."""
    shared = METHODS["k-means over all classes"](clusters=8)
    assert (measure(shared, planted, peaks=False)["value"] == 1).all()
    winners, labels = shared.matched_winners(planted.data.test), planted.data.test.labels
    assert not set(np.unique(winners[labels == 0])) & set(np.unique(winners[labels == 1]))


def test_a_mixture_takes_what_shows_no_object_for_background(planted, monkeypatch):
    is_object = lambda x: x[:, [0, 4]].amax(dim=1) < 0.5
    monkeypatch.setattr(clusterings, "backbone_maps", lambda study, split: None)
    monkeypatch.setattr(clusterings, "Objectness", lambda *_: SimpleNamespace(unit=lambda x: x, of=is_object))
    rows = measure(METHODS["tied mixture"](clusters=3), planted, peaks=False)
    assert (rows[["value", "low"]] == 1).all(axis=None)
    assert measure(METHODS["tied mixture"](clusters=2), planted, peaks=False)["value"][0] < 0.9


def test_the_ceiling_is_told_the_parts_and_finds_them(planted):
    rows = measure("true parts", planted, peaks=False)
    assert (rows[["value", "low"]] == 1).all(axis=None) and rows["measure"].tolist()[-1] == "match purity"
    planted.data.part_names = ()
    assert not METHODS["true parts"]().fit(planted).has_concepts()
