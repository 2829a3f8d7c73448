"""`make bench` runs; what it measures does the work that it says. How fast that is, no test asks."""

import pandas as pd
import pytest
import torch

from asxai import paths
from asxai.benchmarks import speed

CPU = torch.device("cpu")


@pytest.fixture
def pictures():
    return torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def moved(monkeypatch):
    """`moved()`: which parts of the model that is measured are others than at the start."""
    made, real = {}, speed._setting

    def setting(*given):
        result = real(*given)
        made.update(model=result[0], before={name: p.detach().clone() for name, p in result[0].named_parameters()})
        return result

    monkeypatch.setattr(speed, "_setting", setting)
    changed = lambda name, p: not torch.equal(p, made["before"][name])
    return lambda: {name.split(".")[0] for name, p in made["model"].named_parameters() if changed(name, p)}


@pytest.mark.parametrize("measure, trained", [(speed.training_step, True), (speed.replacement, False)])
def test_the_bare_side_moves_nothing_and_ours_what_it_should(pictures, moved, monkeypatch, measure, trained):
    monkeypatch.setattr(speed, "paired_ratio", lambda ours, bare: (ours, bare))
    ours, bare = measure(CPU, pictures)
    bare()
    assert moved() == set(), "only gradients"
    ours()
    assert {"backbone", "basis_vectors"} <= moved() if trained else moved() == {"basis_vectors"}


def test_an_epoch_on_cached_features_leaves_the_backbone_alone(pictures, moved):
    assert speed.cached_epoch(CPU, pictures) > 0
    assert "basis_vectors" in moved() and "backbone" not in moved()


def test_the_table_of_measurements(monkeypatch, capsys):
    for name in ("training_step", "replacement"):
        monkeypatch.setattr(speed, name, lambda device, pictures: speed.paired_ratio(lambda: None, lambda: None))
    monkeypatch.setattr(speed, "cached_epoch", lambda device, pictures: 0.5)
    speed.main("cpu")
    table = pd.read_csv(paths.RUNS / "bench.csv")
    assert table["unit"].tolist() == ["ratio", "ratio", "s", "GiB"] and table["value"][2] == 0.5
    assert table["what"][0] in capsys.readouterr().out and (table["value"] >= 0).all()
