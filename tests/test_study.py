"""The public face from end to end on a tiny folder of pictures: train, load, predict, resume after SIGKILL."""

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import cases, picture_folder
from PIL import Image

import asxai
from asxai.config import Config
from asxai.data.features import split_features
from asxai.data.pictures import DataError, to_batch
from asxai.model.backbones import WeightsError
from asxai.model.parts import Objectness
from asxai.model.recipe import LEAST_STEPS, build_model, patch_groups, training_features, with_enough_steps

NETWORK = dict(backbone="resnet18", weights="random", size=64, basis_per_class=2, scene_vectors=1, channels=8)
QUICK = NETWORK | dict(warm_up_epochs=1, joint_epochs=2, cycles=1, batch_size=8, views=2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return picture_folder(tmp_path_factory.mktemp("pictures") / "shapes")


@pytest.fixture(scope="module")
def study(pictures, tmp_path_factory):
    return asxai.Study.train(pictures, folder=tmp_path_factory.mktemp("study") / "a", **QUICK)


def test_two_classes_of_ten_pictures_are_enough(study):
    assert study.class_names == ("square", "stripes")
    assert [len(s) for s in study.data.splits.values()] == [12, 4, 4]
    assert set(study.metrics) >= {"test_accuracy", "validation_accuracy", "within_class_cosine", "subspace_distance"}
    files = sorted(p.name for p in study.folder.iterdir())
    assert files == [".lock", "log.csv", "model.safetensors", "prototypes.csv", "study.json"]


def test_a_study_says_shortly_what_it_is_and_which_classes_it_knows(study):
    first, second = study.class_names
    vectors = study.config.basis_per_class
    assert repr(study) == (
        f"Study of 2 classes with {vectors} basis vectors each ({first}, {second}), seed 0, in {study.folder}"
    )
    assert [study.label_of(name) for name in study.class_names] == [0, 1]
    with pytest.raises(ValueError, match=f"class_name='zebra' is no class of this study; .* {first}, {second}"):
        study.label_of("zebra")


def test_prototypes_say_which_patch_they_became(study):
    """Looking the patch up in the picture that the table names gives the basis vector back."""
    table = study.prototypes
    assert len(table) == 4 and (table["cosine"] <= 1 + 1e-6).all()
    for _, row in table.iterrows():
        c = study.class_names.index(row["class"])
        assert study.data.train.labels[row["picture"]] == c
        out = study.activate(study.data.train.paths[row["picture"]])
        patch = out.embedding[0, :, row["row"], row["column"]]
        vector = study.model.basis[c, row["basis"]]
        assert torch.cosine_similarity(patch, vector, dim=0).item() == pytest.approx(1, abs=1e-4)
        assert row["source"].endswith(study.data.train.paths[row["picture"]].name)


def test_loading_gives_the_same_study_whatever_code_trained_it(study, monkeypatch):
    monkeypatch.setattr("asxai.study.code_hash", lambda *_: "other code")
    loaded = asxai.Study.load(study.folder)
    for (name, a), b in zip(study.model.state_dict().items(), loaded.model.state_dict().values()):
        assert torch.equal(a, b), name
    assert loaded.config == study.config and loaded.metrics == study.metrics
    assert torch.equal(loaded.basis_before, study.basis_before)
    pd.testing.assert_frame_equal(loaded.prototypes, study.prototypes)
    pd.testing.assert_frame_equal(loaded.log, study.log, check_exact=False)


def test_class_names_that_look_like_numbers_or_nothing(tmp_path):
    pictures = picture_folder(tmp_path / "pictures", ("001", "NA"), count=6)
    study = asxai.Study.train(pictures, folder=tmp_path / "study", **QUICK)
    loaded = asxai.Study.load(study.folder)
    assert loaded.prototypes["class"].tolist() == ["001", "001", "NA", "NA"]
    pd.testing.assert_frame_equal(loaded.prototypes, study.prototypes)


def test_predictions_of_a_split_are_those_of_its_pictures_and_of_the_metric(study):
    one, other = study.predict_split(study.data.test), study.predict(list(study.data.test.paths))
    # features are kept with three digits; the pictures themselves go through in float32
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-3)
    assert (other.labels == study.data.test.labels).mean() == study.metrics["test_accuracy"]


def test_distinct_patches_counts_vectors_that_share_none(study):
    table = study.prototypes.copy()
    table.loc[1, ["picture", "row", "column"]] = table.loc[0, ["picture", "row", "column"]]
    assert dataclasses.replace(study, prototypes=table).distinct_patches() <= 0.5


def test_few_pictures_get_enough_steps(pictures, tmp_path):
    """Joint training is counted in steps of Adam, of which ten pictures give few an epoch."""
    parameters = {name: value for name, value in QUICK.items() if name != "joint_epochs"}
    study = asxai.Study.train(pictures, folder=tmp_path / "few", **parameters)
    batches, epochs = math.ceil(2 * len(study.data.train) / 8), (study.log["stage"] == "joint").sum()
    assert epochs * batches >= LEAST_STEPS > (epochs - 1) * batches and epochs == study.config.joint_epochs
    assert study.metrics["within_class_cosine_before"] < 0.1
    again = asxai.Study.train(pictures, folder=tmp_path / "few", **parameters)
    assert again.config == study.config
    enough = dataclasses.replace(study.config, joint_epochs=4)
    assert with_enough_steps(enough, 480) == enough, "many pictures change nothing"


def test_same_call_again_only_loads(study, pictures, monkeypatch):
    monkeypatch.setattr("asxai.model.training.Trainer.run", lambda self: pytest.fail("trained again"))
    again = asxai.Study.train(pictures, folder=study.folder, **QUICK)
    assert again.metrics == study.metrics
    with pytest.raises(ValueError, match="other parameters or pictures"):
        asxai.Study.train(pictures, folder=study.folder, **QUICK | {"seed": 7})


def test_other_code_trains_another_study(pictures, monkeypatch):
    """By default below runs/studies, under a name that says what was trained, by what."""
    folders = []
    monkeypatch.setattr("asxai.study.Study._trained", lambda config, data, folder, *_: folders.append(folder))
    for code in ("one", "one", "other"):
        monkeypatch.setattr("asxai.study.code_hash", lambda *places: f"{code} {places}")
        asxai.Study.train(pictures, **QUICK)
    assert folders[0] == folders[1] != folders[2] and folders[0].parent == asxai.paths.RUNS / "studies"


def test_two_that_want_the_same_study_train_it_once(pictures, tmp_path, monkeypatch):
    runs, real, both = [], asxai.model.training.Trainer.run, threading.Barrier(2)
    monkeypatch.setattr("asxai.model.training.Trainer.run", lambda self: runs.append(1) or real(self))
    load = asxai.data.datasets.load_data_set
    monkeypatch.setattr("asxai.study.load_data_set", lambda name: (load(name), both.wait())[0])  # both find no study
    with ThreadPoolExecutor(2) as pool:  # a lock is of an open file, so that threads wait as processes do
        first, second = pool.map(lambda _: asxai.Study.train(pictures, folder=tmp_path / "a", **QUICK), range(2))
    assert runs == [1] and first.metrics == second.metrics


def test_every_kind_of_picture_gives_the_same_prediction(study):
    path = study.data.test.paths[0]
    with Image.open(path) as picture:
        array = np.array(picture)
        kinds = [path, str(path), picture.copy(), array, array.astype(np.float32) / 255]
        kinds += [torch.from_numpy(array).permute(2, 0, 1)]
    one_by_one = [study.predict(kind) for kind in kinds]
    together = study.predict(kinds)
    assert len(together) == len(kinds) and all(len(p) == 1 for p in one_by_one)
    for p in one_by_one:
        np.testing.assert_allclose(p.probabilities, one_by_one[0].probabilities, atol=1e-6)
    np.testing.assert_allclose(together.probabilities.sum(axis=1), 1)
    assert list(together.frame().columns) == ["predicted", "probability", "square", "stripes"]
    assert study.predict(np.stack([array, array])).names == [together.names[0]] * 2


def test_features_are_computed_once_and_by_content(pictures, tmp_path, monkeypatch):
    data = asxai.load_data_set(pictures)
    model = build_model(Config.of(pictures, **QUICK), 2)
    kept = lambda model, split: torch.stack([rows[:] for rows in split_features(model, split, 64, 2, tmp_path)])
    first = kept(model, data.train)
    assert first.shape[:2] == (2, 12) and not torch.equal(first[0], first[1])
    exact = model.features(to_batch(data.train.paths, 64))
    assert first.dtype == torch.float16 and torch.equal(first[0], exact.half())
    torch.testing.assert_close(model.backbone_map(first[0]), exact, rtol=1e-3, atol=1e-6)  # back to float32
    stamp = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert torch.equal(kept(model, data.train), first)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamp
    part = data.train.take([7, 2, 9]).take([2, 0])  # read from the features of the whole, not computed for a new key
    assert torch.equal(kept(model, part), first[:, [9, 7]])
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamp
    victim = sorted(stamp)[0]
    victim.unlink()  # a run killed half way: only what is missing is made, and the same
    assert torch.equal(kept(model, data.train), first)
    other = build_model(Config.of(pictures, **QUICK | {"seed": 1}), 2)
    assert not torch.equal(kept(other, data.train), first)


def test_a_study_of_features_that_are_not_kept(study, pictures, tmp_path, monkeypatch):
    """They are computed in every epoch, in batches of other pictures: the same but for the last of three digits."""
    monkeypatch.setattr("asxai.paths.CACHE", tmp_path / "features")
    anew = asxai.Study.train(pictures, folder=tmp_path / "study", cache_gb=0.0, **QUICK)
    assert not (tmp_path / "features").exists()
    np.testing.assert_allclose(anew.log["total"].dropna(), study.log["total"].dropna(), rtol=2e-3)
    np.testing.assert_allclose(anew.basis_before, study.basis_before, atol=5e-3)
    assert anew.metrics["test_accuracy"] == study.metrics["test_accuracy"]
    again = asxai.Study.train(pictures, folder=study.folder, cache_gb=1.5, **QUICK)  # where they lie is no difference
    assert again.metrics == study.metrics and again.model.cache_gb == 1.5


@pytest.mark.parametrize("writes", [1, 5, 9])
def test_sigkill_then_the_same_call_equals_an_uninterrupted_run(study, pictures, tmp_path, writes):
    """The process kills itself after so many atomic writes: in feature shards, in training, in saving the study."""
    script = tmp_path / "run.py"
    script.write_text(f"""
import os, signal, sys
import asxai, asxai.paths
real, left = asxai.paths.write_atomically, [{writes}]
def write(path, call):
    real(path, call)
    left[0] -= 1
    if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)
asxai.paths.write_atomically = write
asxai.Study.train({str(pictures)!r}, folder={str(tmp_path / "study")!r}, **{QUICK!r})
""")
    environment = os.environ | {"ASXAI_RUNS": str(tmp_path / "runs"), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    if writes > 3:
        with pytest.raises(FileNotFoundError, match="not finished: call Study.train again"):
            asxai.Study.load(tmp_path / "study")
    resumed = asxai.Study.train(pictures, folder=tmp_path / "study", **QUICK)
    for (name, a), b in zip(study.model.state_dict().items(), resumed.model.state_dict().values()):
        assert torch.equal(a, b), name
    assert resumed.metrics == study.metrics


def _truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _other_shape(folder):
    notes = json.loads((folder / "study.json").read_text())
    notes["config"]["basis_per_class"] = 3
    del notes["checksum"]
    (folder / "study.json").write_text(json.dumps(notes))


def _other_format(folder):
    (folder / "study.json").write_text(json.dumps({"format": 99}))


def _other_digit(folder):
    text = (folder / "study.json").read_text()
    (folder / "study.json").write_text(text.replace('"seed": 0', '"seed": 1'))


def _flip(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)


@cases(
    "damage, error, words",
    (lambda f: (f / "study.json").unlink(), FileNotFoundError, ["holds no study.json"]),
    (lambda f: (f / "model.safetensors").unlink(), WeightsError, ["model.safetensors", "train the study again"]),
    (_truncate, WeightsError, ["model.safetensors", "cannot be read", "train the study again"]),
    (_flip, WeightsError, ["model.safetensors", "cannot be read (its checksum is wrong)", "train the study again"]),
    (lambda f: (f / "study.json").write_text('{"form'), WeightsError, ["study.json cannot be read", "train the"]),
    (lambda f: (f / "study.json").write_text("[]"), WeightsError, ["study.json cannot be read", "train the"]),
    (_other_shape, WeightsError, ["does not fit study.json", "basis_vectors", "(2, 2, 8)", "(2, 3, 8)"]),
    (lambda f: (f / "log.csv").write_text("cycle\n1"), WeightsError, ["log.csv cannot be read", "as it was written"]),
    (lambda f: (f / "prototypes.csv").unlink(), WeightsError, ["prototypes.csv cannot be read", "train the study"]),
    (_other_digit, WeightsError, ["study.json cannot be read (its checksum is wrong)"]),
    (_other_format, WeightsError, ["format 99", "train the study again"]),
)
def test_a_damaged_study_says_what_is_wrong(study, tmp_path, damage, error, words):
    folder = shutil.copytree(study.folder, tmp_path / "copy")
    damage(folder)
    with pytest.raises(error) as raised:
        asxai.Study.load(folder)
    assert all(word in str(raised.value) for word in words)


def test_pictures_that_changed_since_training_are_noticed(tmp_path):
    pictures = picture_folder(tmp_path / "pictures")
    study = asxai.Study.train(pictures, folder=tmp_path / "study", **QUICK)
    next(pictures.glob("*/*.png")).unlink()
    with pytest.raises(DataError, match="some were changed, added or taken away. .*data_set=.*else train again"):
        _ = asxai.Study.load(study.folder).data


def test_a_study_of_ours_that_is_damaged_is_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr("asxai.paths.RUNS", tmp_path / "runs")
    pictures = picture_folder(tmp_path / "pictures")
    study = asxai.Study.train(pictures, **QUICK)
    _flip(study.folder)
    again = asxai.Study.train(pictures, **QUICK)
    assert again.folder == study.folder and again.metrics == study.metrics
    with pytest.raises(WeightsError):  # and not one that a user has put somewhere
        _other_digit(shutil.copytree(study.folder, tmp_path / "mine"))
        asxai.Study.train(pictures, folder=tmp_path / "mine", **QUICK)


def test_pictures_that_were_moved_keep_their_study(tmp_path, monkeypatch):
    monkeypatch.setattr("asxai.paths.RUNS", tmp_path / "runs")
    place = picture_folder(tmp_path / "pictures")
    study = asxai.Study.train(place, **QUICK)
    moved = place.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=f"{place}: the pictures .* are gone. .*Study.load.*data_set="):
        _ = asxai.Study.load(study.folder).data
    assert asxai.Study.load(study.folder, data_set=moved).data.fingerprint == study.metrics["data_fingerprint"]
    monkeypatch.setattr(asxai.Study, "_trained", None)
    again = asxai.Study.train(moved, **QUICK)
    assert again.folder == study.folder and again.data.train.paths[0].is_relative_to(moved)


@cases(
    "parameters, words",
    (dict(epochs=3), ["'epochs'", "joint_epochs"]),
    (dict(device="gpu"), ["device='gpu'", "cuda"]),
    (dict(last_stage="top"), ["last_stage='top'", "block6"]),
    (dict(last_stage="block6+block5"), ["last_stage='block6+block5'", "in the order"]),
    (dict(last_stage="block4+block6", trainable="last"), ["lies behind block4", "trainable='head' or 'all'"]),
    (dict(device="cuda"), ["device='cuda'"]) if not torch.cuda.is_available() else (dict(seed=-2), ["seed=-2"]),
)
def test_impossible_parameters_are_named_before_any_work(parameters, words, pictures, monkeypatch):
    monkeypatch.setattr("asxai.study.training_features", lambda *_: pytest.fail("computed features"))
    with pytest.raises((TypeError, ValueError)) as error:
        asxai.Study.train(pictures, **parameters)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("vectors, scenes", [(4, 2), (3, 0), (1, 2)])
def test_groups_of_patches_are_numbers_of_basis_vectors(pictures, vectors, scenes, monkeypatch):
    """Objects first, then the scene; without scene vectors the scene joins the last one."""
    config = Config.of(pictures, **QUICK | dict(basis_per_class=vectors, scene_vectors=scenes, last_stage="layer2"))
    data, model = asxai.load_data_set(pictures), build_model(config, 2)
    features, labels = split_features(model, data.train, 64, 2), torch.from_numpy(data.train.labels)
    groups = patch_groups(config, model, features, labels, data.train.paths)
    assert groups.shape == (2, 12, 8, 8) and groups.max() == vectors - 1
    objects = Objectness(model.backbone_map(features[0][:]), data.train.paths)(features[0][:])
    if vectors > 1:
        last = (groups[0] >= vectors - max(scenes, 1)) | objects
        assert last.all() and not (objects & (groups[0] >= vectors - scenes)).any()
    assert patch_groups(dataclasses.replace(config, objective="paper"), model, features, labels, []) is None
    with monkeypatch.context() as patch:  # an arm with other losses reads what is kept, another seed does not
        patch.setattr("asxai.model.recipe.PartGroups", lambda *_: pytest.fail("made again"))
        arm = dataclasses.replace(config, orthogonality=0.0)
        assert torch.equal(patch_groups(arm, model, features, labels, data.train.paths), groups)
        with pytest.raises(pytest.fail.Exception, match="made again"):
            patch_groups(dataclasses.replace(config, seed=1), model, features, labels, data.train.paths)


def test_shuffled_labels_are_the_same_labels_in_another_order(pictures):
    data, config = asxai.load_data_set(pictures), Config.of(pictures, **QUICK | {"labels": "shuffled"})
    model = build_model(config, 2)
    shuffled, again = (training_features(model, data, config) for _ in range(2))
    true = training_features(model, data, dataclasses.replace(config, labels="true"))
    for (features, labels), (_, repeated), (same, real) in zip(shuffled, again, true):
        assert torch.equal(features[0][:], same[0][:]) and torch.equal(labels, repeated)
        assert torch.equal(labels.sort().values, real)
    assert torch.equal(true[0][1], torch.from_numpy(data.train.labels)) and not torch.equal(shuffled[0][1], true[0][1])
    other = training_features(model, data, dataclasses.replace(config, seed=1))
    assert not torch.equal(other[0][1], shuffled[0][1])


@pytest.mark.parametrize("nothing", [[], "missing.jpg", [np.zeros((3, 3))]])
def test_predicting_nothing_or_nonsense(study, nothing):
    with pytest.raises(ValueError):
        study.predict(nothing)
