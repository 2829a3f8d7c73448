"""`make bench` runs; what it measures does the work that it says. How fast that is, no test asks."""

import pytest
import torch

from asxai.benchmarks import speed


@pytest.fixture
def pictures(monkeypatch):
    """Four; and of what is compared, both sides as calls instead of their times."""
    monkeypatch.setattr(speed, "paired_ratio", lambda ours, bare: (ours, bare))
    return torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def moved(monkeypatch):
    """`moved()`: which parts of the model that is measured are others than at the start."""
    made, real = {}, speed._setting

    def setting(*given):
        result = real(*given)
        made.update(model=result[0], before={name: own.detach().clone() for name, own in result[0].named_parameters()})
        return result

    monkeypatch.setattr(speed, "_setting", setting)
    return lambda: {name.split(".")[0] for name, own in made["model"].named_parameters()
                    if not torch.equal(own, made["before"][name])}


def test_a_training_step_moves_backbone_and_added_layers(pictures, moved):
    ours, bare = speed.training_step(torch.device("cpu"), pictures)
    bare()
    assert moved() == set(), "only gradients"
    ours()
    assert {"backbone", "basis_vectors"} <= moved()


def test_replacement_moves_basis_vectors_alone(pictures, moved):
    ours, bare = speed.replacement(torch.device("cpu"), pictures)
    bare()
    assert moved() == set()
    ours()
    assert moved() == {"basis_vectors"}


def test_an_epoch_on_cached_features_leaves_the_backbone_alone(pictures, moved):
    assert speed.cached_epoch(torch.device("cpu"), pictures) > 0
    assert "basis_vectors" in moved() and "backbone" not in moved()
