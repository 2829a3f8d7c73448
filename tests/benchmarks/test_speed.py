"""`make bench` runs; what it measures does the work that it says. How fast that is, no test asks."""

import pandas as pd
import pytest
import torch

from asxai import paths
from asxai.benchmarks import scaling, speed
from asxai.config import Config
from asxai.model.recipe import build_model

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
    monkeypatch.setattr(speed, "inversion", lambda device: (20.0, 4.0, 0.2))
    monkeypatch.setattr(speed, "explaining", lambda device, folder: ([26.0, 10.0], 3.0))
    sizes = lambda count, device: dict(
        pictures=count, peak=1 + count / 10_000, seconds=count / 100, processor=count / 50 + 6
    )
    monkeypatch.setattr(speed, "measured", sizes)
    speed.main("cpu")
    table = pd.read_csv(paths.FIGURES / "bench.csv").set_index("what")
    assert table["value"]["epoch on cached features, 128 pictures in 1 view"] == 0.5
    assert table["value"]["peak memory, 3000 / 300 pictures"] == pytest.approx(1.3 / 1.03, abs=1e-3)
    assert table["value"]["seconds a picture, 3000 / 300 pictures"] == 1
    assert table["value"]["processor seconds a picture, 3000 / 300 pictures"] == 0.55, "66 s for 12 s, not 120"
    assert table["seconds"]["processor seconds a picture, 3000 / 300 pictures"] == "66.000 / 12.000"
    assert table.index[0] in capsys.readouterr().out and (table["value"] >= 0).all() and (table["cores"] > 0).all()
    monkeypatch.setattr(speed, "measured", lambda count, device: sizes(count, device) | {"peak": 2.0})
    monkeypatch.setattr(speed, "ratios", None)  # other numbers of pictures are measured alone
    speed.main("cpu", "3000", "6000")
    longer = pd.read_csv(paths.FIGURES / "bench.csv").set_index("what")
    assert longer["value"]["peak memory, 6000 / 3000 pictures"] == 1
    assert longer["value"]["peak memory, 3000 pictures"] == 2 and longer.index.is_unique
    others = table.index.difference(["peak memory, 3000 pictures"])
    pd.testing.assert_frame_equal(longer.loc[others], table.loc[others])


def test_parameters_of_a_study_are_measured_beside_the_rows_without(monkeypatch):
    asked = []

    def row(count, **given):
        asked.append((count, given))
        return dict(pictures=count, peak=2.0, seconds=9.0, processor=9.0)

    monkeypatch.setattr(speed, "measured", row)
    speed.main("cpu", "30", "60")
    speed.main("cpu", "30", "60", "size=336", "backbone=cheap", "cache_gb=0.5")
    given = {"size": 336, "backbone": "cheap", "cache_gb": 0.5}
    plain, told = {"device": "cpu"}, {"device": "cpu", **given}
    assert asked == [(30, plain), (60, plain), (30, told), (60, told)]
    table = pd.read_csv(paths.FIGURES / "bench.csv").set_index("what")
    words = "pictures, size=336, all but the backbone's convolutions, cache_gb=0.5"
    for name in ("pictures", words):
        assert table["value"][f"peak memory, 60 / 30 {name}"] == 1 and table["value"][f"peak memory, 60 {name}"] == 2


def test_the_race_is_between_both_methods_of_inversion(monkeypatch):
    targets = []
    monkeypatch.setattr(
        speed, "race", lambda network, goal, size, steps: (targets.append((goal, size, steps)), RACE)[1]
    )
    assert speed.inversion(CPU) == (8.0, 4.0, 0.5)
    ((goal, size, steps),) = targets
    assert goal.shape[2:] == (8, 8) and (size, steps) == (128, 200)


RACE = (pd.DataFrame({"method": ["paper", "fast"], "speedup": [1.0, 8.0], "seconds_to_reach": [4.0, 0.5]}), {})


def test_a_study_of_drawn_pictures_says_what_it_took():
    row = scaling.measured(250, 64, backbone="resnet18", channels=16, basis_per_class=2, objective="paper")
    assert row["pictures"] == 250 and row["classes"] == 50, "found where AwA2's archive has them"
    assert row["seconds"] > row["training"] > 0 and row["processor"] > 1 and 0 < row["imports"] < row["peak"] < 8


@torch.inference_mode()
def test_the_cheap_network_gives_maps_of_the_default_shape():
    picture = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    default = build_model(Config.of("bench", size=96), 2)
    ours = scaling.cheap()(picture)
    assert ours.shape == default.backbone_map(default.features(picture)).shape == (1, 304, 6, 6)
    assert torch.equal(ours, scaling.cheap()(picture)) and ours.std(dim=(0, 2, 3)).gt(0).any()
