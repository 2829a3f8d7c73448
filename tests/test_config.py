"""What a study can be told: by keyword, and by `make figures PARAMS=...`; what is impossible is named."""

import json

import pytest
from helpers import cases

from asxai.config import PAPER, Config
from asxai.model.recipe import build_model
from asxai.run import parameters
from asxai.run.plan import RunError


def test_defaults_are_those_that_the_readme_describes_and_whole_numbers_are_taken_for_floats():
    default = Config.of("x")
    assert (default.size, default.objective, default.views, default.joint_epochs) == (336, "parts", 2, 4)
    assert (default.cycles, default.patches, default.scene_vectors) == (2, 128, 2)
    backbone = build_model(default, 2, load_weights=False).backbone
    assert backbone.joined == ("block5",) and backbone.stage_names[-1] == "block6"
    config = Config.of("x", basis_per_class=300, channels=64, orthogonality=0)  # which need no orthogonality
    assert (config.orthogonality, type(config.orthogonality)) == (0.0, float)
    assert Config.of("oxford-pets", **PAPER).basis_per_class == 100 and Config.of("x", **PAPER).objective == "paper"


@cases(
    "parameters, words",
    (dict(epochs=3), ["'epochs'", "joint_epochs", "is 'joint_epochs' meant?"]),
    (dict(size="224"), ["size='224'", "int"]),
    (dict(cycles=True), ["cycles=True", "int"]),
    (dict(size=32), ["size=32", "64"]),
    (dict(backbone="alexnet"), ["backbone='alexnet'", "vgg19"]),
    (dict(objective="best"), ["objective='best'", "balanced", "parts"]),
    (dict(objective="parts", trainable="all"), ["objective='parts'", "trainable='all'", "'balanced'"]),
    (dict(basis_per_class=4, scene_vectors=4), ["scene_vectors=4", "basis_per_class=4"]),
    (dict(labels="random"), ["labels='random'", "true, shuffled"]),
    (dict(trainable="none"), ["trainable='none'", "head"]),
    (dict(weights="file.pth"), ["weights='file.pth'", "random"]),
    (dict(basis_per_class=200), ["basis_per_class=200", "channels=128", "orthogonality=0"]),
    (dict(basis_per_class=9, channels=8, orthogonality=0, orthonormal=True), ["basis_per_class=9", "channels=8"]),
    (dict(learning_rate=-1.0), ["learning_rate=-1.0"]),
    (dict(sigma=float("nan")), ["sigma=nan"]),
    (dict(batch_size=1), ["batch_size=1", "2"]),
    *(({name: -1}, [f"{name}=-1"]) for name in ("seed", "patches", "scene_vectors")),
    *(({name: 0}, [f"{name}=0"]) for name in ("joint_epochs", "basis_per_class")),
)
def test_impossible_values_are_named_with_what_is_possible(parameters, words):
    with pytest.raises((TypeError, ValueError)) as error:
        Config.of("x", **parameters)
    assert all(word in str(error.value) for word in words)


def test_the_key_is_of_the_parameters_and_not_of_the_place():
    config = Config.of("x", seed=3)
    assert config.key() == Config.of("elsewhere", seed=3, size=336).key() != config.key("pictures")
    assert len({config.key(), Config.of("x", seed=4).key(), Config.of("x", seed=3, sigma=0.02).key()}) == 3


# From the shell


def notebook(folder, name, *lines):
    """A notebook whose parameters are these lines and the two that every one has."""
    source = "\n".join(['data_set = "menagerie-pets"', 'protocol = "short"', *lines])
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": [cell]}))
    return path


@pytest.fixture
def notebooks(tmp_path):
    """One that trains, one that trains and has a parameter named like a field of `Config`, and one that does not."""
    lines = {"01_plain": ["training = {}"], "02_sized": ['training = {"channels": 64}', "size = 96"], "03_other": []}
    return [notebook(tmp_path, name, "seed = 0", *own) for name, own in lines.items()]


def planned(notebooks, *texts):
    plans = parameters.plan_parameters(notebooks, dict(text.split("=", 1) for text in texts), "figures")
    return [{name: value for name, value in plan.items() if name != "protocol"} for plan in plans.values()]


def test_every_field_of_config_comes_from_the_shell(notebooks):
    """And a notebook's parameter comes first where it is called like a field."""
    texts = ["size=224", "joint_epochs=8", "last_stage=block4+block6", "orthonormal=true", "sigma=0", "seed=3"]
    fields = {"joint_epochs": 8, "last_stage": "block4+block6", "orthonormal": True, "sigma": 0.0}
    plain, sized, other = planned(notebooks, *texts)
    assert plain == {"seed": 3, "training": fields | {"size": 224}}
    assert sized == {"seed": 3, "training": fields | {"channels": 64}, "size": 224}
    assert other == {"seed": 3}
    for name, field in Config.__dataclass_fields__.items():
        if name not in ("data_set", "seed"):
            (only,) = planned(notebooks[:1], f"{name}={field.default}")
            assert only == {"training": {name: field.default}} and type(only["training"][name]) is field.type


def test_training_itself_from_the_shell_takes_the_place_of_the_notebooks(notebooks):
    assert planned(notebooks) == [{}, {}, {}]
    assert planned(notebooks[:2], "training={'views': 3}", "cycles=1") == [{"training": {"views": 3, "cycles": 1}}] * 2


def test_a_file_of_weights_is_found_from_where_a_notebook_runs(notebooks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.pt").touch()
    (plain,) = planned(notebooks[:1], "backbone=timm:resnet18", "weights=mine.pt")
    assert plain == {"training": {"backbone": "timm:resnet18", "weights": str(tmp_path / "mine.pt")}}


@cases(
    "texts, message",
    (["siz=224"], "no parameter siz in 01_plain. Is 'size' meant. Known: .*training; for training: .*last_stage"),
    (["joint_epochs=3.5"], "parameter joint_epochs=3.5 should be of type int, like 4"),
    (["orthonormal=1"], "parameter orthonormal=1 should be of type bool, like False"),
    (["sigma=-1"], "parameter sigma=-1 should not be below 0"),
    (["training=5"], 'parameter training=5 should be of type dict, like {"size":224}; PARAMS="size=224"'),
    (['training={"seed":3}'], 'training=.* holds seed, a parameter of 01_plain: PARAMS="seed=..."'),
)
def test_a_mistake_in_a_name_or_type_is_named(notebooks, texts, message):
    with pytest.raises(RunError, match=message):
        planned(notebooks[:1], *texts)


@cases(
    "training, message",
    ({"size": 32}, "size=32 must be at least 64"),
    ({"size": "224"}, "size='224' is a str; it must be int, for example 336"),
    ({"sizes": 2}, "unknown parameter 'sizes'; is 'size' meant"),
    ({"backbone": "resnet"}, "backbone='resnet' is unknown; choose one of"),
    ({"last_stage": "block4+top"}, "last_stage='block4.top' is unknown; efficientnet-lite0 has stem, block1"),
    ({"last_stage": "block4+block6", "trainable": "last"}, "lies behind block4.* use trainable='head' or 'all'"),
)
def test_a_value_that_no_study_takes_is_named_before_a_kernel_starts(training, message):
    with pytest.raises(RunError, match=message):
        parameters.check_input("menagerie-pets", {"seed": 0, "device": "cpu", "training": training})
