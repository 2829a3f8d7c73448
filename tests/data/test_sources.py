"""Data sets that are known by name: drawn, published, fetched by hand."""

import dataclasses
import json
import shutil
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from helpers import fill, plain
from joblib.externals.loky import get_reusable_executor
from torchvision import datasets as torchvision_datasets

from asxai.data import datasets
from asxai.data import sources as data_sources
from asxai.data.datasets import load_data_set
from asxai.data.pictures import DataError, read_picture, to_batch

FAKE_MENAGERIE = """
from types import SimpleNamespace
import hashlib
import numpy as np

DATA_SETS = {"menagerie-tiny": SimpleNamespace(
    name="menagerie-tiny", description="Two made-up classes", classes=("round", "square"),
    fine={"round": ("small", "large")}, parts=("top", "bottom"), train_per_class=4, test_per_class=3, hybrids=(),
    version=1)}
CALLS = []
FAIL_AFTER = [None]

def missing_parts(data_set, species, seed):
    return frozenset(["top"]) if seed % 2 else frozenset()

def render(data_set, species, seed, size=224, remove=(), fine=None):
    CALLS.append((species, seed, tuple(remove), fine))
    if FAIL_AFTER[0] is not None and len(CALLS) > FAIL_AFTER[0]:
        raise KeyboardInterrupt
    key = f"{species} {seed} {sorted(remove)} {fine} {DATA_SETS[data_set].version}".encode()
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))
    parts = np.zeros((size, size), np.uint8)
    parts[: size // 2] = 0 if "top" in remove else 1
    parts[size // 2 :, : size // 4] = 2
    return SimpleNamespace(picture=random.integers(0, 256, (size, size, 3), dtype=np.uint8), parts=parts,
                           species=species, fine=fine, removed=frozenset(remove))
"""


@pytest.fixture
def menagerie(tmp_path, monkeypatch):
    """A stand-in for the drawing package, which records what it is asked to draw."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "menagerie.py").write_text(FAKE_MENAGERIE)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "menagerie"}
    import menagerie

    yield menagerie
    del sys.modules["menagerie"]
    sys.modules.update(real)


def draw(root, **options):
    return load_data_set("menagerie-tiny", root=root, size=16, **options)


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_drawn_data_set(tmp_path, menagerie):
    found = draw(tmp_path)
    assert (found.name, found.class_names) == ("menagerie-tiny", ("round", "square"))
    assert (found.part_names, found.fine_names, found.notes) == (("top", "bottom"), ("small", "large"), ())
    assert [len(split) for split in found.splits.values()] == [6, 2, 6]
    train = {(species, seed): remove for species, seed, remove, _ in menagerie.CALLS if seed < 1_000_000}
    test = {(species, seed): remove for species, seed, remove, _ in menagerie.CALLS if seed >= 1_000_000}
    assert len(train) == 8 and len(test) == 6
    assert all(remove == (("top",) if seed % 2 else ()) for (_, seed), remove in train.items())
    assert not any(test.values())
    fine = [label for species, seed, _, label in menagerie.CALLS if species == "round" and seed < 1_000_000]
    assert fine == ["small", "large", "small", "large"]
    folder = tmp_path / "menagerie-tiny-16"
    assert (folder / "train" / "round" / "0003.png").is_file()
    assert (folder / "parts" / "test" / "square" / "0002.png").is_file()
    record = json.loads((folder / "drawn.json").read_text())
    assert record["pictures"]["train/round/0001.png"]["fine"] == "large"
    assert record["plan"]["version"] == "1" and record["plan"]["size"] == 16
    assert not [name for name in files_in(folder) if Path(name).name.startswith(".")]


def test_default_size_and_fine_labels(tmp_path, menagerie):
    menagerie.DATA_SETS["menagerie-tiny"].fine = {"round": ("small", "large"), "square": ("plain",)}
    found = load_data_set("menagerie-tiny", root=tmp_path)
    assert read_picture(found.train.paths[0]).size == (224, 224)
    assert found.train.paths[0].is_relative_to(tmp_path / "menagerie-tiny")
    assert set(found.train.fine) <= {"small", "large", "plain"} and found.fine_names == ("small", "large", "plain")


def test_part_masks_match_the_batch(tmp_path, menagerie):
    test = draw(tmp_path).test
    masks = test.part_masks()
    assert masks.shape == (6, 16, 16) and masks.dtype == np.uint8
    assert (masks[:, :8] == 1).all() and (masks[:, 8:, :4] == 2).all() and not masks[:, 8:, 4:].any()
    larger = test.part_masks(64)
    np.testing.assert_array_equal(larger, masks.repeat(4, axis=1).repeat(4, axis=2))
    assert test.take([]).part_masks(64).shape == (0, 64, 64)
    with pytest.raises(DataError, match="no part masks. Use a drawn"):
        load_data_set(plain(tmp_path / "plain")).test.part_masks()
    test.parts[0].write_bytes(b"broken")
    with pytest.raises(DataError, match="part mask unreadable.*Delete it"):
        test.part_masks()


def test_drawing_resumes_after_a_kill(tmp_path, menagerie):
    whole = draw(tmp_path / "whole").fingerprint
    menagerie.CALLS.clear()
    menagerie.FAIL_AFTER[0] = 5
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path / "broken")
    menagerie.FAIL_AFTER[0] = None
    menagerie.CALLS.clear()
    assert draw(tmp_path / "broken").fingerprint == whole
    assert len(menagerie.CALLS) == 14 - 5
    assert files_in(tmp_path / "whole") == files_in(tmp_path / "broken")


def test_only_missing_files_are_redrawn(tmp_path, menagerie):
    first, folder = draw(tmp_path), tmp_path / "menagerie-tiny-16"
    before = files_in(folder)
    menagerie.CALLS.clear()
    assert draw(tmp_path).fingerprint == first.fingerprint and menagerie.CALLS == []
    (folder / "train" / "round" / "0001.png").unlink()
    (folder / "parts" / "test" / "square" / "0000.png").unlink()
    draw(tmp_path)
    assert [call[:2] for call in menagerie.CALLS] == [("round", 1), ("square", 1_000_000)]
    assert files_in(folder) == before


def test_another_version_redraws_everything(tmp_path, menagerie):
    before = draw(tmp_path).fingerprint
    menagerie.CALLS.clear()
    menagerie.DATA_SETS["menagerie-tiny"].version = 2
    assert draw(tmp_path).fingerprint != before and len(menagerie.CALLS) == 14
    (tmp_path / "menagerie-tiny-16" / "drawn.json").write_text("{ broken")
    menagerie.CALLS.clear()
    draw(tmp_path)
    assert len(menagerie.CALLS) == 14


def test_several_processes_draw_the_same_files(tmp_path, menagerie, monkeypatch):
    draw(tmp_path / "one")
    menagerie.CALLS.clear()
    monkeypatch.setattr(data_sources, "_FEWEST_PER_PROCESS", 1)
    monkeypatch.setattr(data_sources, "cpu_count", lambda: 2)
    try:
        draw(tmp_path / "several")
    finally:  # else the next test is given processes that have this one's drawings
        get_reusable_executor().shutdown(wait=True)
    assert menagerie.CALLS == []  # not in this process
    assert files_in(tmp_path / "one") == files_in(tmp_path / "several")


def test_drawn_pictures_that_cannot_be_written(tmp_path, menagerie):
    (tmp_path / "menagerie-tiny-16").write_text("in the way")
    with pytest.raises(DataError, match="menagerie-tiny-16: pictures cannot be written.*ASXAI_DATA"):
        draw(tmp_path)


def test_every_drawn_data_set(tmp_path, monkeypatch):
    """The contract with the true drawing package, on a few small pictures of each class."""
    few, every = dict(train_per_class=3, test_per_class=1), pytest.importorskip("menagerie").DATA_SETS
    specs = {name: dataclasses.replace(spec, **few) for name, spec in every.items()}
    monkeypatch.setattr(data_sources, "_menagerie_specs", lambda: specs)
    monkeypatch.setattr(data_sources, "_FEWEST_PER_PROCESS", 10_000)
    for name, spec in specs.items():
        found = load_data_set(name, root=tmp_path, size=32)
        assert found.class_names == spec.classes and found.part_names == spec.parts and found.notes == ()
        assert found.train.class_counts().tolist() == [2] * len(spec.classes)
        assert found.test.class_counts().tolist() == [1] * len(spec.classes)
        masks = found.test.part_masks()
        assert masks.shape == (len(spec.classes), 32, 32) and 0 < masks.max() <= len(spec.parts)
        assert to_batch(found.train.paths, 32).float().std() > 1
        for fine, label in zip(found.train.fine or (), found.train.labels):
            assert fine in spec.fine[spec.classes[label]]


def test_names_have_one_line_descriptions():
    described = datasets.data_set_names()
    assert {"oxford-pets", "oxford-breeds", "flowers-102", "awa2", "animals-151", "classify-leaves"} <= set(described)
    assert all(text and "\n" not in text for text in described.values())


def make_oxford_pets(root):
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    number = 0
    for split, count in (("trainval", 4), ("test", 2)):
        lines = []
        for label, (breed, kind) in enumerate((("Abyssinian", 1), ("beagle", 2), ("Birman", 1), ("saint_bernard", 2))):
            for index in range(count):
                number += 1
                fill(folder / "images", 1, number, ".jpg")
                (folder / "images" / f"{number:04d}.jpg").rename(folder / "images" / f"{breed}_{split}{index}.jpg")
                lines.append(f"{breed}_{split}{index} {label + 1} {kind} 1")
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines))
    return folder


def test_oxford_pets(tmp_path):
    make_oxford_pets(tmp_path)
    pets = load_data_set("oxford-pets", root=tmp_path)
    assert pets.class_names == ("cat", "dog")
    assert pets.fine_names == ("Abyssinian", "Beagle", "Birman", "Saint Bernard")
    assert pets.test.class_counts().tolist() == [4, 4]
    assert (len(pets.train) + len(pets.validation), len(pets.validation)) == (16, 4)
    for path, fine in zip(pets.test.paths, pets.test.fine):
        assert path.name.lower().startswith(fine.lower().replace(" ", "_")) and "test" in path.name
    breeds = load_data_set("oxford-breeds", root=tmp_path)
    assert breeds.class_names == pets.fine_names and breeds.test.class_counts().tolist() == [2, 2, 2, 2]


def test_published_data_with_faults(tmp_path):
    """A contradiction in a published data set is left out and noted; a missing file is an error with a remedy."""
    images = make_oxford_pets(tmp_path) / "images"
    shutil.copy(images / "Abyssinian_trainval0.jpg", images / "beagle_trainval1.jpg")
    pets = load_data_set("oxford-pets", root=tmp_path)
    assert sum(map(len, pets.splits.values())) == 22
    assert "2 left out because copies of the same file are in different classes" in pets.notes[0]
    (images / "Birman_test0.jpg").unlink()
    with pytest.raises(DataError) as caught:
        load_data_set("oxford-pets", root=tmp_path)
    assert "Birman_test0.jpg" in str(caught.value) and f"delete {tmp_path}" in str(caught.value)


def test_flowers(tmp_path, monkeypatch):
    from scipy.io import savemat

    folder = tmp_path / "flowers-102"
    fill(folder / "jpg", 18, 1, ".jpg")
    for number in range(1, 19):
        (folder / "jpg" / f"{number:04d}.jpg").rename(folder / "jpg" / f"image_{number:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": np.arange(18) % 2 + 1})
    ids = {"trnid": np.arange(1, 7), "valid": np.arange(7, 13), "tstid": np.arange(13, 19)}
    savemat(folder / "setid.mat", ids)
    monkeypatch.setattr(torchvision_datasets.Flowers102, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision_datasets.Flowers102, "classes", ["first kind", "second kind"], raising=False)
    flowers = load_data_set("flowers-102", root=tmp_path)
    assert flowers.class_names == ("first kind", "second kind")
    assert {name: len(split) for name, split in flowers.splits.items()} == {"train": 6, "validation": 6, "test": 6}
    assert {path.name for path in flowers.validation.paths} == {f"image_{n:05d}.jpg" for n in range(7, 13)}
    for path, label in zip(flowers.test.paths, flowers.test.labels):
        assert label == (int(path.stem[-5:]) - 1) % 2
    monkeypatch.delattr(torchvision_datasets.Flowers102, "classes")
    assert load_data_set("flowers-102", root=tmp_path).class_names == ("class 001", "class 002")


FETCHED = [("oxford-pets", "OxfordIIITPet", "oxford-iiit-pet", "annotations.tar.gz")]
FETCHED += [("flowers-102", "Flowers102", "flowers-102", "setid.mat")]


@pytest.mark.parametrize("name, source, folder, file", FETCHED)
def test_without_network_the_error_says_what_to_fetch(tmp_path, monkeypatch, name, source, folder, file):
    def unreachable(self):
        raise urllib.error.URLError("no network")

    method = "_download" if hasattr(getattr(torchvision_datasets, source), "_download") else "download"
    monkeypatch.setattr(getattr(torchvision_datasets, source), method, unreachable)
    with pytest.raises(DataError) as caught:
        load_data_set(name, root=tmp_path)
    for part in (str(tmp_path / folder), "no network", "https://www.robots.ox.ac.uk", file, "fetch"):
        assert part in str(caught.value)


def many_classes(folder, count):
    for label in range(count):
        fill(folder / f"kind+{label:03d}", 3, 10 * label)


def test_awa2_and_animals_151(tmp_path):
    with pytest.raises(DataError, match="awa2: 50 class folders expected, 0.*AwA2-data.zip.*cvml.ista.ac.at"):
        load_data_set("awa2", root=tmp_path)
    many_classes(tmp_path / "awa2" / "Animals_with_Attributes2" / "JPEGImages", 50)
    found = load_data_set("awa2", root=tmp_path)
    assert len(found.class_names) == 50 and found.class_names[3] == "kind 003"
    assert found.test.class_counts().tolist() == [1] * 50
    shutil.rmtree(tmp_path / "awa2" / "Animals_with_Attributes2" / "JPEGImages" / "kind+049")
    with pytest.raises(DataError, match="50 class folders expected, 49 found. Fetch AwA2-data.zip"):
        load_data_set("awa2", root=tmp_path)
    with pytest.raises(DataError, match='151 class folders expected, 0 found. Fetch.*"Animals 151" from Kaggle'):
        load_data_set("animals-151", root=tmp_path)
    many_classes(tmp_path / "animals-151" / "dataset" / "dataset", 151)
    assert len(load_data_set("animals-151", root=tmp_path).class_names) == 151


def test_classify_leaves(tmp_path):
    folder = tmp_path / "classify-leaves"
    with pytest.raises(DataError, match="train.csv or the images folder is missing.*Kaggle"):
        load_data_set("classify-leaves", root=tmp_path)
    fill(folder / "images", 3 * 176, 0)
    rows = [f"images/{number:04d}.png,kind {number % 176:03d}" for number in range(3 * 176)]
    (folder / "train.csv").write_text("\n".join(["image,label", *rows]))
    found = load_data_set("classify-leaves", root=tmp_path)
    assert len(found.class_names) == 176 and len(found.train) == 176
    assert all(int(path.stem) % 176 == label for path, label in zip(found.train.paths, found.train.labels))
    (folder / "train.csv").write_text("\n".join(["image,label", *rows[:100]]))
    with pytest.raises(DataError, match="176 labels expected, 100 found"):
        load_data_set("classify-leaves", root=tmp_path)
    (folder / "train.csv").write_text("image,label\na,b", encoding="utf-16")
    with pytest.raises(DataError, match="train.csv: no table in UTF-8.*Kaggle"):
        load_data_set("classify-leaves", root=tmp_path)
    (folder / "train.csv").write_text("file,kind\na,b")
    with pytest.raises(DataError, match="columns image and label"):
        load_data_set("classify-leaves", root=tmp_path)
