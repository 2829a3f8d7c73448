"""Folders of pictures become three disjoint splits, or a clear error."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import fill, noise, plain, with_splits
from PIL import Image

from asxai.data import datasets, folders, sources
from asxai.data.datasets import load_data_set
from asxai.data.folders import scan_folder
from asxai.data.pictures import DataError, to_batch


def sizes(data):
    return [len(split) for split in data.splits.values()]


# Splits


def test_plain_layout_gives_disjoint_stratified_splits_in_a_fixed_order(tmp_path):
    pets = load_data_set(plain(tmp_path / "pets", (10, 20, 3)))
    assert (pets.name[:5], pets.class_names, pets.notes) == ("pets-", ("class0", "class1", "class2"), ())
    assert pets.test.class_counts().tolist() == [2, 4, 1]
    assert pets.validation.class_counts().tolist() == [2, 4, 1]
    assert pets.train.class_counts(5).tolist() == [6, 12, 1, 0, 0]
    hashes = [value for split in pets.splits.values() for value in split.hashes]
    assert len(set(hashes)) == len(hashes) == 33
    for split in pets.splits.values():
        assert split.labels.dtype == np.int64 and len(split) == len(split.paths)
        assert list(zip(split.labels, split.hashes)) == sorted(zip(split.labels, split.hashes))
        assert split.fine is None and split.parts is None
        for path, label in zip(split.paths, split.labels):
            assert path.parent.name == pets.class_names[label]


def test_splits_follow_the_written_rule(tmp_path):
    """Slowly and from the definition: hash, salt, sort, cut."""
    folder = plain(tmp_path, (7, 13))
    data = load_data_set(folder)
    for class_name, each in (("class0", 1), ("class1", 3)):
        keys = {}
        for path in (folder / class_name).iterdir():
            file_hash = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
            keys[path.name] = hashlib.sha256(f"0:{file_hash}".encode()).hexdigest()
        order = sorted(keys, key=keys.get)
        expected = {"test": order[:each], "validation": order[each : 2 * each], "train": order[2 * each :]}
        for name, split in data.splits.items():
            assert {path.name for path in split.paths if path.parent.name == class_name} == set(expected[name])


def test_a_fingerprint_is_of_contents_and_class_names_not_of_names_of_files(tmp_path):
    folder, other = plain(tmp_path / "one"), tmp_path / "two"
    for class_folder in folder.iterdir():
        (other / class_folder.name).mkdir(parents=True)
        for number, path in enumerate(sorted(class_folder.iterdir(), reverse=True)):
            shutil.copy(path, other / class_folder.name / f"renamed-{number}.PNG")
    first, second = load_data_set(folder), load_data_set(other)
    assert [split.hashes for split in first.splits.values()] == [split.hashes for split in second.splits.values()]
    assert first.fingerprint == second.fingerprint
    seen = {first.fingerprint}
    Image.fromarray(noise(999)).save(folder / "class0" / "0000.png")
    seen.add(load_data_set(folder).fingerprint)
    (folder / "class0").rename(folder / "renamed")
    seen.add(load_data_set(folder).fingerprint)
    assert len(seen) == 3


@pytest.mark.parametrize("validation", [None, "val", "valid", "validation", "Val"])
def test_given_splits_are_kept(tmp_path, validation):
    data = load_data_set(with_splits(tmp_path, ("train", *filter(None, [validation]), "test"), count=10))
    assert sizes(data) == ([20, 20, 20] if validation else [16, 4, 20])
    for split, folder in (("train", "train"), ("validation", validation or "train"), ("test", "test")):
        assert {path.parent.parent.name for path in data.splits[split].paths} == {folder}


def test_smallest_data_sets_work_and_a_folder_is_found_under_root_and_never_written_to(tmp_path):
    assert sizes(load_data_set(plain(tmp_path / "a", (3, 3)))) == [2, 2, 2]
    assert sizes(load_data_set(with_splits(tmp_path / "b", count=2))) == [2, 2, 4]
    folder = plain(tmp_path / "pets")
    listed = lambda: sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    before = listed()
    assert load_data_set("pets", root=tmp_path).fingerprint == load_data_set(str(folder)).fingerprint
    assert listed() == before


def test_take_keeps_columns_together(tmp_path):
    train = load_data_set(plain(tmp_path)).train
    for indices in ([3, 1], slice(2, 4), train.labels == 1, np.array([0]), []):
        some, expected = train.take(indices), np.arange(len(train))[indices]
        assert some.paths == tuple(train.paths[index] for index in expected)
        assert some.hashes == tuple(train.hashes[index] for index in expected)
        assert some.labels.tolist() == train.labels[expected].tolist()


# Classes that are called like a split


@pytest.mark.parametrize(
    "names",
    ["bus car train", "control test", "valid invalid", "Train Plane", "val dist", "a Validation", "train test a"],
)
def test_classes_may_be_called_like_splits(tmp_path, names):
    classes = names.split()
    for number, name in enumerate(classes):
        fill(tmp_path / name, 5, 100 * number)
    data = load_data_set(tmp_path)
    assert data.class_names == tuple(sorted(classes)) and sizes(data) == [3 * len(classes)] + [len(classes)] * 2
    called_so = sorted(name for name in classes if name.lower() in folders._SPLIT_FOLDERS)
    note = "Read as classes and no splits, for they hold pictures and no class folders: "
    assert data.notes == (f"{note}{', '.join(called_so)}.",)


@pytest.mark.parametrize("names", [("train", "test"), ("train", "valid", "test"), ("valid", "test")])
def test_splits_without_classes_are_not_taken_for_classes(tmp_path, names):
    for number, name in enumerate(names):
        fill(tmp_path / name, 5, 100 * number)
    said = f"{', '.join(sorted(names))} hold pictures and no class folders. Make a folder"
    with pytest.raises(DataError, match=said):
        load_data_set(tmp_path)


def test_a_split_beside_pictures_without_classes_is_an_error_and_loose_files_are_noted(tmp_path):
    fill(with_splits(tmp_path) / "train" / "train", 3, 5000)  # a class may be called so within a split
    fill(tmp_path / "test" / "train", 3, 6000)
    (tmp_path / "train" / "list.txt").write_text("a")
    data = load_data_set(tmp_path)
    assert data.class_names == ("class0", "class1", "train") and "train/list.txt" in data.notes[0]
    fill(tmp_path / "val", 3, 7000)
    with pytest.raises(DataError, match="val holds pictures and no class folders. Make a folder per class in each"):
        load_data_set(tmp_path)


def test_what_was_made_of_a_picture_is_no_class_and_points_are_used(tmp_path):
    for folder in (plain(tmp_path / "a", (4, 4)), with_splits(tmp_path / "b")):
        before = load_data_set(folder)
        (folder / "points.csv").write_text("picture,part,x,y")
        classes = folder / "train" if (folder / "train").exists() else folder
        fill(classes / "0.png", 2, 9000)
        (classes / "0.png" / "explanation.json").write_text("{}")
        after = load_data_set(folder)
        assert after.fingerprint == before.fingerprint and before.notes == ()
        (note,) = after.notes
        assert note.startswith("Not used") and "0.png" in note and "points.csv" not in note
    (folder / "train" / "points.csv").write_text("not read here")
    assert "train/points.csv" in load_data_set(folder).notes[0]


# Two things with one name


def test_two_folders_of_one_name_are_two_data_sets_and_a_registered_one_is_known_by_its_folder(tmp_path, monkeypatch):
    names = [load_data_set(plain(tmp_path / place / name)).name for place in "ab" for name in ("photos", "oxford-pets")]
    assert len({*names, "photos", "oxford-pets"}) == 6
    assert load_data_set(plain(tmp_path / "mine"), root=tmp_path).name.startswith("mine")
    entry = sources._Entry(lambda root: scan_folder(root / "drawn"), "pictures")
    monkeypatch.setattr(datasets, "registry", lambda size: {"drawn": entry})
    assert load_data_set(plain(tmp_path / "drawn"), root=tmp_path).name == "drawn"


def test_two_classes_that_look_alike_are_an_error_and_one_spelling_is_one_class(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for split, name, first in (("train", composed, 0), ("test", decomposed, 100)):
        fill(tmp_path / "a" / split / name, 4, first)
        fill(tmp_path / "a" / split / "tea", 4, first + 50)
    assert load_data_set(tmp_path / "a").class_names == (composed, "tea")
    fill(tmp_path / "a" / "train" / decomposed, 4, 200)
    with pytest.raises(DataError, match="another class has this name in other bytes"):
        load_data_set(tmp_path / "a")


# Copies and other files


def test_copies_within_a_class_are_used_once_and_in_two_classes_are_an_error(tmp_path):
    folder = plain(tmp_path)
    clean, first, second = load_data_set(folder).fingerprint, folder / "class0/0003.png", folder / "class1/copy.png"
    shutil.copy(first, folder / "class0" / "copy.png")
    data = load_data_set(folder)
    assert data.fingerprint == clean
    assert len(data.notes) == 1 and "class0/copy.png (same as" in data.notes[0] and "1 left out" in data.notes[0]
    shutil.copy(first, second)
    with pytest.raises(DataError, match=f"{first} and {second}.*Delete"):
        load_data_set(folder)


def test_copies_between_splits_leave_the_training_split(tmp_path):
    folder = with_splits(tmp_path, ("train", "val", "test"))
    copies = {"test/class0/0200": "train/class0", "test/class0/0201": "val/class0", "val/class1/1100": "train/class1"}
    for picture, place in copies.items():
        shutil.copy(folder / f"{picture}.png", folder / place / "again.png")
    data = load_data_set(folder)
    assert sizes(data) == [10, 10, 10]
    assert not any(path.name == "again.png" for split in data.splits.values() for path in split.paths)
    assert all("again.png" in note for note in data.notes) and len(data.notes) == 2


def test_other_files_are_noted_and_hidden_ones_are_not(tmp_path):
    folder = plain(tmp_path)
    for name in ("readme.txt", "class0/labels.csv", "class0/.DS_Store"):
        (folder / name).write_text("hello")
    for name in ("class0/nested", ".hidden"):
        (folder / name).mkdir()
    notes = " ".join(load_data_set(folder).notes)
    assert all(name in notes for name in ("readme.txt", "labels.csv", "nested"))
    assert ".DS_Store" not in notes and ".hidden" not in notes


def test_what_may_be_read_wrongly_is_said(tmp_path):
    """12 bits where 16 are stored, unit values in 8 bits, a stack of pictures in one file, nothing but transparency."""
    folder, twelve = plain(tmp_path), np.random.default_rng(0).integers(0, 4096, (20, 20), dtype=np.uint16)
    frames = [Image.fromarray(noise(k)) for k in range(3)]
    Image.fromarray(twelve).save(folder / "class0" / "twelve.png")
    Image.fromarray((twelve // 4).astype(np.int32)).save(folder / "class0" / "ten.tif")
    Image.fromarray(noise(1) // 128).save(folder / "class0" / "unit.png")
    frames[0].save(folder / "class0" / "stack.tif", save_all=True, append_images=frames[1:])
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(folder / "class1" / "nothing.png")
    black, stack, clear = sorted(load_data_set(folder).notes, key=lambda note: note[0], reverse=True)
    assert black.startswith("3 doubtful, as they come out nearly black") and "unit.png" in black and "ten.tif" in black
    assert "several in one file, of which the first is used: " in stack + clear and "stack.tif" in stack + clear
    assert "transparent" in stack + clear and "nothing.png" in stack + clear


def test_every_suffix_in_any_case(tmp_path):
    for number, suffix in enumerate(folders.SUFFIXES):
        for label, changed in enumerate((suffix, suffix.upper())):
            fill(tmp_path / f"class{label}", 1, 1000 * label + number, changed)
    data = load_data_set(tmp_path)
    assert sum(sizes(data)) == 2 * len(folders.SUFFIXES) and data.notes == ()
    assert to_batch(data.train.paths, 32).shape == (len(data.train), 3, 32, 32)


# Bad folders and arguments


def with_an_empty_class(root):
    plain(root)
    (root / "empty").mkdir()


def with_a_class_missing_in(split):
    return lambda root: shutil.rmtree(with_splits(root) / split / "class1")


def with_two_validations(root):
    with_splits(root, ("train", "val", "validation", "test"))


def two_and_a_copy(root):
    plain(root, (10, 3))
    shutil.copy(root / "class1" / "1000.png", root / "class1" / "1001.png")


BAD_FOLDERS = {  # how it is made, what the message names, the problem, the remedy
    "empty": (lambda root: root.mkdir(), "", "it is empty", "Make one folder of pictures per class"),
    "no class folder": (lambda root: fill(root, 3), "", "pictures lie directly in it (3)", "Make one folder"),
    "one class": (lambda root: plain(root, (10,)), "", "only one class, class0", "Add a folder"),
    "empty class": (with_an_empty_class, "empty", "holds no picture", "delete the folder"),
    "two": (lambda root: plain(root, (10, 2)), "", "class class1 has too few different pictures (2)", "at least 3"),
    "copy": (two_and_a_copy, "", "class class1 has too few different pictures (2)", "at least 3"),
    "one": (lambda root: with_splits(root, count=1), "", "train: class class0 has too few different", "at least 2"),
    "not in test": (with_a_class_missing_in("test"), "test/class1", "no such folder", "the same class folders"),
    "not in train": (with_a_class_missing_in("train"), "train/class1", "no such folder", "the same class folders"),
    "no test": (lambda root: with_splits(root, ("train", "val")), "", "no test folder", "Give it one train"),
    "no train": (lambda root: with_splits(root, ("test",)), "", "no train folder", "Give it one train"),
    "two validations": (with_two_validations, "", "one split has two folders", "Give it one train"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folders(tmp_path, case):
    build, named, problem, remedy = BAD_FOLDERS[case]
    folder = tmp_path / "pictures"
    build(folder)
    with pytest.raises(DataError) as caught:
        load_data_set(folder)
    for part in (str(folder / named), problem, remedy):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["oxford-pet", "no/such/folder", None, 3, ""])
def test_unknown_names_and_a_file(tmp_path, name):
    with pytest.raises(DataError) as caught:
        load_data_set(name, root=tmp_path)
    message = str(caught.value)
    assert "name_or_folder" in message and repr(name) in message and "give" in message.lower()
    assert ("Did you mean oxford-pets" in message) == (name == "oxford-pet")
    with pytest.raises(DataError, match="this is a file. Give the folder"):
        load_data_set(fill(tmp_path, 1) / "0000.png")


def test_only_what_holds_classes_is_offered_for_a_name(tmp_path):
    (tmp_path / "petty" / "kinds").mkdir(parents=True)  # code, say
    (tmp_path / "petty" / "art.py").write_text("art = 1")
    with pytest.raises(DataError) as caught:
        load_data_set("pettt", root=tmp_path)
    assert "Did you mean" not in str(caught.value)
    plain(tmp_path / "petts", (3, 3))
    with_splits(tmp_path / "pettz", count=1)
    with pytest.raises(DataError) as caught:
        load_data_set("pettt", root=tmp_path)
    assert "Did you mean pettz or petts?" in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "class", "picture"])
@pytest.mark.parametrize("name", [b"caf\xe9", b"\xc3\x28", b"\xff\xfe"])
def test_names_that_are_no_text_are_shown_at_once(tmp_path, kind, name):
    place = {"folder": b"%s", "class": b"a/%s", "picture": b"a/class0/%s.png"}[kind] % name
    folder = plain(tmp_path / "a")
    source = {"folder": folder, "class": folder / "class0", "picture": folder / "class0" / "0000.png"}[kind]
    source.rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + place))
    with pytest.raises(DataError, match=r"\\x(e9|c3|ff).*are no UTF-8. Rename it"):
        load_data_set(os.fsdecode(os.fsencode(tmp_path) + b"/" + (name if kind == "folder" else b"a")))


def test_a_class_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    folder, listed = plain(tmp_path), Path.iterdir

    def refused(path):
        if path.name == "class1":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(DataError, match="class1: cannot be listed .*Permission denied.*Allow reading"):
        load_data_set(folder)


def test_many_bad_pictures_are_counted(tmp_path):
    folder = plain(tmp_path)
    for number in range(12):
        (folder / "class0" / f"bad{number:02d}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="12 of 32 pictures(?s:.*)and 7 more") as caught:
        load_data_set(folder)
    assert str(caught.value).count("bad0") == 5
