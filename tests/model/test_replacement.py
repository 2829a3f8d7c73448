"""Vectors become patches of real pictures, against brute force; then the last layer, against its definition."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_features, tiny_model

from asxai.model import replacement, training


def test_replacement_against_brute_force():
    model, (features, labels) = tiny_model(), tiny_features()
    before = model.basis.detach().numpy()
    with torch.inference_mode():
        embedding = model.embed(features[0]).numpy()
    became = replacement.replace_basis_vectors(model, features[0], labels, batch_size=7)  # classes straddle batches
    for c, j in np.ndindex(3, 2):
        best = (-2.0,)
        for i in np.flatnonzero(labels == c):
            for y, x in np.ndindex(4, 4):
                patch = embedding[i, :, y, x] / np.linalg.norm(embedding[i, :, y, x])
                best = max(best, (patch @ before[c, j], i, y, x, patch), key=lambda b: b[0])
        assert became["cosine"][c][j] == pytest.approx(best[0], abs=1e-6)
        assert (became["picture"][c][j], became["row"][c][j], became["column"][c][j]) == best[1:4]
        np.testing.assert_allclose(model.basis[c, j].detach().numpy(), best[4], atol=1e-6)
    again = training.evaluate(model, features[0], labels, 7)["similarity"]
    for c, j in np.ndindex(3, 2):  # the vector now is that patch
        assert again[became["picture"][c][j], c, j] == pytest.approx(1, abs=1e-5)


def test_replacement_names_classes_without_pictures():
    features, labels = tiny_features()
    with pytest.raises(ValueError, match=r"classes \[2\] have no training pictures"):
        replacement.replace_basis_vectors(tiny_model(), features[0][labels < 2], labels[labels < 2], 8)


def test_last_layer_reaches_the_optimum_of_a_convex_problem():
    """No feasible random step from the solution lowers the objective, written out from its definition in float64."""
    model, rng = tiny_model(), np.random.default_rng(0)
    similarity, labels = torch.as_tensor(rng.uniform(0, 1, (40, 3, 2))).float(), torch.arange(40) % 3
    l1 = 1e-2
    replacement.fit_last_layer(model, similarity, labels, l1)
    own = model.own_class().flatten(1).bool()

    def objective(weight):
        loss = torch.nn.functional.cross_entropy(similarity.flatten(1).double() @ weight.T, labels)
        return loss + l1 * weight[~own].abs().sum()

    weight = model.last_layer.weight.detach().double()
    assert weight.min() >= -0.5 and weight.max() <= 1
    best = objective(weight).item()
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1e-2, 1e-1):
        for _ in range(200):
            other = (weight + scale * torch.randn(weight.shape, generator=generator)).clamp(-0.5, 1)
            assert objective(other).item() >= best - 1e-7


def test_standardised_features_have_mean_zero_and_deviation_one():
    model, (features, _) = tiny_model(), tiny_features()
    features = 3 * features + 2
    features[:, :, 4] = 7  # a dead channel
    replacement.standardise(model, features[0], batch_size=7)
    scaled = (features[0] - model.feature_mean) / model.feature_std
    torch.testing.assert_close(scaled.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    expected = torch.tensor([1, 1, 1, 1, 0.0])
    torch.testing.assert_close(scaled.std(dim=(0, 2, 3), correction=0), expected, atol=1e-5, rtol=0)


GROWTH = """
import re, torch
from asxai.benchmarks import scaling
from asxai.config import Config
from asxai.data import features
from asxai.model import recipe, replacement


def grown(rows, first):  # by how much memory grows in the batches of a pass over pictures after the first ones, in MiB
    held = []

    def change(batch):
        status = open("/proc/self/status").read()
        held.append(int(re.search(r"VmRSS:\\s*(\\d+)", status)[1]) / 1024)
        return batch

    replacement.standardise(model, rows.map(change), 32)
    return held[-1] - held[first]


def read(order):  # features of the default backbone, made up
    return (torch.ones(len(index), 304, 11, 11, dtype=torch.float16) for index in order)


class Split(tuple):  # as many pictures as it is long, of which nothing is kept, and that other processes decode
    origin, paths, hashes = None, ("",) * 32 * 140, ("",) * 32 * 140


model = recipe.build_model(Config.of("bench", size=64, weights="random"), 20)
print(grown(features.Rows(read, 32 * 40), 9))
features.WORKERS, features.to_batch = 2, lambda paths, size: torch.zeros(32, 3, size, size, dtype=torch.uint8)
model = recipe.build_model(Config.of("bench", size=128, backbone=scaling.cheap(), weights="pretrained"), 20)
print(grown(features.Features(model, Split(range(32 * 140)), 128, 1, None)[0], 30))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says there what a process holds")
def test_memory_stays_flat_from_batch_to_batch_where_freed_memory_is_kept():
    """With the Makefile's settings a few bytes that stay from each batch once made 9 to 15 MiB a batch unusable."""
    kept = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", GROWTH]
    done = subprocess.run(command, env=os.environ | kept, capture_output=True, text=True, check=True)
    read, decoded = map(float, done.stdout.split())  # MiB
    assert read < 50 and decoded < 30
