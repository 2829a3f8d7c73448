"""`make bench` runs; what it measures does the work that it says. How fast that is, no test asks."""

import pytest
import torch

from asxai import bench


@pytest.fixture
def sides(monkeypatch):
    """What is compared, instead of the comparison: calls of our side and of the bare one."""
    monkeypatch.setattr(bench, "paired_ratio", lambda ours, bare: (ours, bare))
    return torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_training_step_moves_backbone_and_added_layers(sides, monkeypatch):
    made, real = [], bench._setting
    monkeypatch.setattr(bench, "_setting", lambda *given: made.append(real(*given)) or made[-1])
    ours, bare = bench.training_step(torch.device("cpu"), sides)
    model = made[0][0]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    bare()
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters())), "only gradients"
    ours()
    moved = {name.split(".")[0] for (name, new), old in zip(model.named_parameters(), before)
             if not torch.equal(old, new)}
    assert {"backbone", "basis_vectors"} <= moved


def test_replacement_makes_every_vector_a_patch(sides):
    ours, bare = bench.replacement(torch.device("cpu"), sides)
    bare()
    found = ours()
    assert all(len(values) for values in found.values())


def test_an_epoch_on_cached_features_takes_time(sides):
    assert bench.cached_epoch(torch.device("cpu"), sides) > 0
