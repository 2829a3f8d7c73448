"""Data sets, pictures and augmentation, on tiny pictures made here."""

import dataclasses
import hashlib
import io
import json
import math
import shutil
import struct
import sys
import urllib.error
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as torchvision_datasets

from asxai.data import augmentation, datasets, folders
from asxai.data import sources as data_sources
from asxai.data.augmentation import Augmentation, augment
from asxai.data.datasets import load_data_set
from asxai.data.pictures import DataError, read_picture, to_batch

# --- Making folders -------------------------------------------------------------------------------------------------


def noise(seed, height=20, width=24):
    """A picture like no other, uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def fill(folder, count, first=0, suffix=".png"):
    """`count` different pictures; `first` keeps folders apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.fromarray(noise(number)).save(folder / f"{number:04d}{suffix}")
    return folder


def plain(root, counts=(10, 10)):
    for number, count in enumerate(counts):
        fill(root / f"class{number}", count, 1000 * number)
    return root


def with_splits(root, splits=("train", "test"), count=5):
    for number, split in enumerate(splits):
        for label in range(2):
            fill(root / split / f"class{label}", count, 1000 * label + 100 * number)
    return root


def names(split):
    return {path.name for path in split.paths}


def pixels_of(splits):
    return {name: set(split.hashes) for name, split in splits.items()}


# --- Splits ---------------------------------------------------------------------------------------------------------


def test_plain_layout_gives_disjoint_stratified_splits_in_a_fixed_order(tmp_path):
    pets = load_data_set(plain(tmp_path / "pets", (10, 20, 3)))
    assert (pets.name, pets.class_names, pets.notes) == ("pets", ("class0", "class1", "class2"), ())
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
    folder = plain(tmp_path, (7, 7))
    for seed in (0, 3):
        found = load_data_set(folder, seed=seed, validation_share=0.3, test_share=0.4)
        for class_name in found.class_names:
            keys = {}
            for path in (folder / class_name).iterdir():
                file_hash = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
                keys[path.name] = hashlib.sha256(f"{seed}:{file_hash}".encode()).hexdigest()
            order = sorted(keys, key=keys.get)
            expected = {"test": order[:3], "validation": order[3:5], "train": order[5:]}
            for name, split in found.splits.items():
                here = {path.name for path in split.paths if path.parent.name == class_name}
                assert here == set(expected[name])


def test_renaming_files_changes_nothing_but_names(tmp_path):
    folder = plain(tmp_path / "one")
    other = tmp_path / "two"
    for class_folder in folder.iterdir():
        (other / class_folder.name).mkdir(parents=True)
        for number, path in enumerate(sorted(class_folder.iterdir(), reverse=True)):
            shutil.copy(path, other / class_folder.name / f"renamed-{number}.PNG")
    first, second = load_data_set(folder), load_data_set(other)
    assert [split.hashes for split in first.splits.values()] == [split.hashes for split in second.splits.values()]
    assert first.fingerprint == second.fingerprint


def test_fingerprint_changes_with_seed_content_and_class_names(tmp_path):
    folder = plain(tmp_path / "pets")
    seen = {load_data_set(folder).fingerprint, load_data_set(folder, seed=1).fingerprint}
    Image.fromarray(noise(999)).save(folder / "class0" / "0000.png")
    seen.add(load_data_set(folder).fingerprint)
    (folder / "class0").rename(folder / "renamed")
    seen.add(load_data_set(folder).fingerprint)
    assert len(seen) == 4


def test_train_and_test_folders_are_kept(tmp_path):
    found = load_data_set(with_splits(tmp_path, count=10))
    assert [len(split) for split in found.splits.values()] == [16, 4, 20]
    for name, split in found.splits.items():
        folder = "test" if name == "test" else "train"
        assert {path.parent.parent.name for path in split.paths} == {folder}


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_validation_folder_is_kept(tmp_path, validation):
    found = load_data_set(with_splits(tmp_path, ("train", validation, "test")))
    assert [len(split) for split in found.splits.values()] == [10, 10, 10]
    assert {path.parent.parent.name for path in found.validation.paths} == {validation}


def test_smallest_data_sets_work(tmp_path):
    assert [len(split) for split in load_data_set(plain(tmp_path / "a", (3, 3))).splits.values()] == [2, 2, 2]
    found = load_data_set(with_splits(tmp_path / "b", count=2))
    assert [len(split) for split in found.splits.values()] == [2, 2, 4]
    large_shares = load_data_set(plain(tmp_path / "c", (3, 3)), validation_share=0.45, test_share=0.5)
    assert [len(split) for split in large_shares.splits.values()] == [2, 2, 2]


def test_folder_is_found_under_root_and_never_written_to(tmp_path):
    folder = plain(tmp_path / "pets")
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    assert load_data_set("pets", root=tmp_path).fingerprint == load_data_set(str(folder)).fingerprint
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_take_keeps_columns_together(tmp_path):
    train = load_data_set(plain(tmp_path)).train
    for indices in ([3, 1], slice(2, 4), train.labels == 1, np.array([0]), []):
        some = train.take(indices)
        expected = np.arange(len(train))[indices]
        assert some.paths == tuple(train.paths[index] for index in expected)
        assert some.hashes == tuple(train.hashes[index] for index in expected)
        assert some.labels.tolist() == train.labels[expected].tolist()
    for indices in ([99], np.ones(3, bool), [0.5]):
        with pytest.raises(DataError, match="indices.*Use whole numbers"):
            train.take(indices)


def test_overlapping_splits_are_refused(tmp_path):
    found = load_data_set(plain(tmp_path))
    with pytest.raises(DataError, match="same picture.*Remove one"):
        datasets.DataSet("made up", found.class_names, found.train, found.validation, found.train)
    with pytest.raises(DataError, match="labels of train.*one number per class name"):
        datasets.DataSet("made up", ("only",), found.train, found.validation, found.test)
    with pytest.raises(DataError, match="hashes has 1 entries.*one per picture"):
        datasets.Split(found.train.paths, found.train.labels, ("one",))


# --- Copies and other files -----------------------------------------------------------------------------------------


def test_copies_within_a_class_are_used_once(tmp_path):
    folder = plain(tmp_path)
    clean = load_data_set(folder).fingerprint
    shutil.copy(folder / "class0" / "0003.png", folder / "class0" / "copy.png")
    found = load_data_set(folder)
    assert found.fingerprint == clean
    assert len(found.notes) == 1 and "class0/copy.png (same as" in found.notes[0] and "1 left out" in found.notes[0]


def test_copies_between_splits_leave_the_training_split(tmp_path):
    folder = with_splits(tmp_path, ("train", "val", "test"))
    shutil.copy(folder / "test" / "class0" / "0200.png", folder / "train" / "class0" / "again.png")
    shutil.copy(folder / "test" / "class0" / "0201.png", folder / "val" / "class0" / "again.png")
    shutil.copy(folder / "val" / "class1" / "1100.png", folder / "train" / "class1" / "again.png")
    found = load_data_set(folder)
    assert [len(split) for split in found.splits.values()] == [10, 10, 10]
    assert not any("again.png" in names(split) for split in found.splits.values())
    assert all("again.png" in note for note in found.notes) and len(found.notes) == 2


def test_one_file_in_two_classes_is_an_error(tmp_path):
    folder = plain(tmp_path)
    shutil.copy(folder / "class0" / "0003.png", folder / "class1" / "copy.png")
    with pytest.raises(DataError) as caught:
        load_data_set(folder)
    for part in (str(folder / "class0" / "0003.png"), str(folder / "class1" / "copy.png"), "Delete"):
        assert part in str(caught.value)


def test_other_files_are_noted_and_hidden_ones_are_not(tmp_path):
    folder = plain(tmp_path)
    (folder / "readme.txt").write_text("hello")
    (folder / "class0" / "labels.csv").write_text("a,b")
    (folder / "class0" / "nested").mkdir()
    (folder / "class0" / ".DS_Store").write_text("")
    (folder / ".hidden").mkdir()
    notes = " ".join(load_data_set(folder).notes)
    assert all(name in notes for name in ("readme.txt", "labels.csv", "nested"))
    assert ".DS_Store" not in notes and ".hidden" not in notes


def test_every_suffix_in_any_case(tmp_path):
    for number, suffix in enumerate(folders.SUFFIXES):
        for label, changed in enumerate((suffix, suffix.upper())):
            fill(tmp_path / f"class{label}", 1, 1000 * label + number, changed)
    found = load_data_set(tmp_path)
    assert sum(map(len, found.splits.values())) == 2 * len(folders.SUFFIXES)
    assert found.notes == ()
    assert to_batch(found.train.paths, 32).shape == (len(found.train), 3, 32, 32)


# --- Bad folders and arguments --------------------------------------------------------------------------------------


def no_pictures_in_a_class(root):
    plain(root)
    (root / "empty").mkdir()


def class_missing_in(split):
    def build(root):
        with_splits(root)
        shutil.rmtree(root / split / "class1")

    return build


def too_few_after_removing_copies(root):
    plain(root, (10, 3))
    shutil.copy(root / "class1" / "1000.png", root / "class1" / "1001.png")


def split_twice(root):
    with_splits(root, ("train", "val", "validation", "test"))


BAD_FOLDERS = {
    "empty": (lambda root: root.mkdir(), "", "it is empty", "Make one folder of pictures per class"),
    "pictures without class": (lambda root: fill(root, 3), "", "pictures lie directly in it (3)", "Make one folder"),
    "one class": (lambda root: plain(root, (10,)), "", "only one class, class0", "Add a folder"),
    "empty class": (no_pictures_in_a_class, "empty", "holds no picture", "delete the folder"),
    "two pictures": (lambda root: plain(root, (10, 2)), "",
                     "class class1 has too few different pictures (2)", "at least 3"),
    "two and a copy": (too_few_after_removing_copies, "",
                       "class class1 has too few different pictures (2)", "at least 3"),
    "one to train on": (lambda root: with_splits(root, count=1), "",
                        "train: class class0 has too few different pictures (1)", "at least 2"),
    "not in test": (class_missing_in("test"), "test/class1", "no such folder", "the same class folders"),
    "not in train": (class_missing_in("train"), "train/class1", "no such folder", "the same class folders"),
    "no test": (lambda root: with_splits(root, ("train", "val")), "", "no test folder", "Give it one train"),
    "no train": (lambda root: with_splits(root, ("test",)), "", "no train folder", "Give it one train"),
    "two validations": (split_twice, "", "one split has two folders", "Give it one train"),
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


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ({"validation_share": 0}, ["validation_share", "0", "between 0 and 1"]),
        ({"test_share": 1.5}, ["test_share", "1.5", "between 0 and 1"]),
        ({"test_share": float("nan")}, ["test_share", "nan", "between 0 and 1"]),
        ({"test_share": "0.2"}, ["test_share", "'0.2'", "between 0 and 1"]),
        ({"test_share": 0.6, "validation_share": 0.5}, ["test_share", "1.1", "less than 1"]),
        ({"seed": 0.5}, ["seed", "0.5", "whole number"]),
        ({"seed": -1}, ["seed", "-1", "at least 0"]),
        ({"size": 8}, ["size", "8", "at least 16"]),
    ],
)
def test_bad_options(tmp_path, arguments, parts):
    with pytest.raises(DataError) as caught:
        load_data_set(plain(tmp_path, (3, 3)), **arguments)
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize("name", ["oxford-pet", "no/such/folder", None, 3, ""])
def test_unknown_names(tmp_path, name):
    with pytest.raises(DataError) as caught:
        load_data_set(name, root=tmp_path)
    message = str(caught.value)
    assert "name_or_folder" in message and repr(name) in message and ("give" in message.lower())
    assert ("Did you mean oxford-pets" in message) == (name == "oxford-pet")


def test_a_file_is_not_a_folder(tmp_path):
    file = fill(tmp_path, 1) / "0000.png"
    with pytest.raises(DataError, match="this is a file. Give the folder"):
        load_data_set(file)


# --- Bad pictures ---------------------------------------------------------------------------------------------------


def png_bytes(height=20, width=24):
    buffer = io.BytesIO()
    Image.fromarray(noise(1, height, width)).save(buffer, "PNG")
    return buffer.getvalue()


def claims_to_be_huge():
    """A PNG whose header announces 60000 x 60000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return png_bytes()[:8] + chunk + png_bytes()[33:]


BAD_HEADERS = {
    "zero bytes": (b"", "empty (0 bytes)", "Delete it"),
    "text": (b"this is no picture at all", "no picture of a kind", "Convert it"),
    "header only": (png_bytes()[:20], "cannot be opened|no picture", "delete it"),
    "tiny": (png_bytes(8, 400), "400 x 8 pixels are too few", "at least 16"),
    "bomb": (claims_to_be_huge(), "million pixels|more than 90 million", "Scale it down"),
    "another format": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "no picture of a kind", "Convert it"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_bad_headers_are_found_on_loading_and_on_reading(tmp_path, case):
    content, problem, remedy = BAD_HEADERS[case]
    folder = plain(tmp_path)
    bad = folder / "class1" / "bad.png"
    bad.write_bytes(content)
    for attempt in (lambda: load_data_set(folder), lambda: read_picture(bad), lambda: to_batch([str(bad)], 32)):
        with pytest.raises(DataError) as caught:
            attempt()
        message = str(caught.value)
        assert str(bad) in message and any(part in message for part in problem.split("|")) and remedy in message


def test_many_bad_pictures_are_counted(tmp_path):
    folder = plain(tmp_path)
    for number in range(12):
        (folder / "class0" / f"bad{number:02d}.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load_data_set(folder)
    message = str(caught.value)
    assert "12 of 32 pictures" in message and "and 7 more" in message
    assert message.count("bad0") == 5


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tif"])
def test_cut_short_pictures_are_found_at_once_and_when_decoded(tmp_path, suffix):
    folder = plain(tmp_path)
    bad = folder / "class0" / f"cut{suffix}"
    Image.fromarray(noise(5, 200, 200)).save(bad)
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    with pytest.raises(DataError) as caught:
        load_data_set(folder)  # before anything is computed
    assert str(bad) in str(caught.value) and "1 of 21 pictures" in str(caught.value)
    with pytest.raises(DataError) as caught:
        to_batch([folder / "class0" / "0000.png", bad], 32)
    assert str(bad) in str(caught.value) and "delete it" in str(caught.value).lower()


@pytest.mark.parametrize(
    "source, parts",
    [
        ("no/such.png", ["no/such.png", "no such file", "Check the path"]),
        (Path(__file__).parent, [str(Path(__file__).parent), "folder", "Give a picture file"]),
        (None, ["NoneType", "Give a path"]),
        (np.zeros((3, 20, 20), np.uint8), ["array", "(3, 20, 20)", "moveaxis"]),
        (np.zeros(20, np.uint8), ["array", "(20,)", "moveaxis"]),
        (np.zeros((20, 20, 3), np.int64), ["array", "int64", "Use uint8"]),
        (np.zeros((20, 20, 3), bool), ["array", "bool", "Use uint8"]),
        (np.full((20, 20, 3), 200.0), ["array", "200", "Divide"]),
        (np.full((20, 20), -0.5), ["array", "-0.5", "normalisation"]),
        (np.full((20, 20), np.nan), ["array", "NaN", "Replace"]),
        (np.full((20, 20), np.inf), ["array", "infinite", "Replace"]),
        (np.zeros((4, 20, 3), np.uint8), ["array", "20 x 4", "at least 16"]),
        (torch.zeros(20, 20, 3), ["tensor", "(20, 20, 3)", "permute"]),
        (torch.zeros(2, 3, 20, 20), ["tensor", "(2, 3, 20, 20)", "one by one"]),
        (torch.full((3, 20, 20), 2.0), ["tensor", "2", "Divide"]),
        (Image.new("RGB", (20, 4)), ["PIL picture", "20 x 4", "at least 16"]),
        (Image.new("LAB", (20, 20)), ["PIL picture", "LAB", "Save the picture as RGB"]),
    ],
)
def test_bad_sources(source, parts):
    with pytest.raises(DataError) as caught:
        read_picture(source)
    assert all(part in str(caught.value) for part in parts)


def test_bad_batches():
    for single in ("picture.png", Path("picture.png"), Image.new("RGB", (20, 20))):
        with pytest.raises(DataError, match="sources.*Give a list"):
            to_batch(single, 32)
    with pytest.raises(DataError, match="size: 2.5"):
        to_batch([], 2.5)


# --- Good pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    """What a camera stores for each orientation (EXIF 2.3, tag 274) comes back upright."""
    upright = noise(7, 24, 40)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    result = read_picture(tmp_path / "a.png")
    assert result.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(result), upright)


RAMP = np.arange(0, 65536, 100, dtype=np.uint16)[:640].reshape(20, 32)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    Image.fromarray(RAMP).save(tmp_path / f"a{suffix}")
    expected = np.round(RAMP / 65535 * 255).astype(np.uint8)
    for source in (tmp_path / f"a{suffix}", RAMP, RAMP.astype(">u2"), Image.fromarray(RAMP.astype(np.int32))):
        np.testing.assert_array_equal(np.asarray(read_picture(source)), np.repeat(expected[..., None], 3, axis=2))


def test_floating_point_file(tmp_path):
    values = np.linspace(0, 1, 640, dtype=np.float32).reshape(20, 32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "a.tif"))[..., 0], np.round(values * 255))
    Image.fromarray(values * 300).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match="b.tif.*300.*Divide"):
        read_picture(tmp_path / "b.tif")


def test_colour_modes_come_out_as_rgb(tmp_path):
    rgb = Image.new("RGB", (20, 20), (200, 100, 50))
    for mode, suffix in (("CMYK", ".jpg"), ("CMYK", ".tif"), ("P", ".png"), ("P", ".gif"), ("YCbCr", ".jpg")):
        rgb.convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / f"a{suffix}")
        result = np.asarray(read_picture(tmp_path / f"a{suffix}")).astype(int)
        assert result.shape == (20, 20, 3) and abs(result - [200, 100, 50]).max() <= 4, mode
    for mode in ("L", "1"):
        Image.new("L", (20, 20), 255).convert(mode).save(tmp_path / "a.png")
        np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "a.png")), np.full((20, 20, 3), 255))


def test_transparency_is_laid_over_white(tmp_path):
    for colour, alpha, expected in (((0, 0, 0), 0, 255), ((0, 0, 0), 255, 0), ((0, 0, 0), 51, 204)):
        picture = Image.new("RGBA", (20, 20), (*colour, alpha))
        picture.save(tmp_path / "a.png")
        picture.convert("LA").save(tmp_path / "b.png")
        for source in (tmp_path / "a.png", tmp_path / "b.png", np.asarray(picture)):
            assert abs(np.asarray(read_picture(source)).astype(int) - expected).max() <= 1
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([9, 9, 9, 0, 0, 0])
    palette.save(tmp_path / "c.png", transparency=0)
    assert np.asarray(read_picture(tmp_path / "c.png")).min() == 255


def test_a_camera_s_several_pictures_in_one_jpg(tmp_path):
    picture = Image.new("RGB", (20, 20), "red")
    picture.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (20, 20), "blue")])
    assert Image.open(tmp_path / "a.jpg").format == "MPO"
    assert read_picture(tmp_path / "a.jpg").getpixel((5, 5))[0] > 250


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_animations_give_their_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "lime")]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **lossless)
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / f"a{suffix}")), np.asarray(frames[0]))


def test_arrays_tensors_and_pil_agree(tmp_path):
    pixels = noise(3)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    unit = pixels / 255
    sources = [picture, pixels, pixels[::-1][::-1], unit, unit.astype(np.float32), tensor, tensor / 255,
               (tensor / 255).double().requires_grad_(), pixels.astype(np.uint16) * 257, tmp_path / "a.png",
               str(tmp_path / "a.png")]  # fmt: skip
    for source in sources:
        result = read_picture(source)
        assert result.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(result), pixels)
    assert to_batch(sources, 32).unique(dim=0).shape[0] == 1
    assert abs(np.asarray(read_picture((tensor / 255).bfloat16())).astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("height, width", [(40, 100), (100, 40), (40, 40), (20, 20)])
def test_to_batch_fits_the_short_side_and_crops_the_centre(height, width):
    """Ramps along both axes: where a pixel of the batch comes from can be read off its colour."""
    side, size = min(height, width), 20
    y, x = np.mgrid[:height, :width]
    picture = np.stack([y * 2, x * 2, 0 * x], axis=2).astype(np.uint8)
    batch = to_batch([picture], size)
    assert batch.dtype == torch.uint8 and batch.shape == (1, 3, size, size) and batch.is_contiguous()
    centres = (np.arange(size) + 0.5) * side / size - 0.5
    for channel, length in ((0, height), (1, width)):
        expected = 2 * (centres + (length - side) / 2)
        got = batch[0, channel].float().mean(dim=1 - channel).numpy()
        np.testing.assert_allclose(got[2:-2], expected[2:-2], atol=1)


# --- Drawn data sets ------------------------------------------------------------------------------------------------

FAKE_MENAGERIE = '''
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
'''


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


def test_second_load_draws_nothing(tmp_path, menagerie):
    first = draw(tmp_path)
    menagerie.CALLS.clear()
    second = draw(tmp_path)
    assert menagerie.CALLS == [] and first.fingerprint == second.fingerprint


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
    draw(tmp_path)
    folder = tmp_path / "menagerie-tiny-16"
    before = files_in(folder)
    (folder / "train" / "round" / "0001.png").unlink()
    (folder / "parts" / "test" / "square" / "0000.png").unlink()
    menagerie.CALLS.clear()
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
    draw(tmp_path / "several")
    assert menagerie.CALLS == []  # not in this process
    assert files_in(tmp_path / "one") == files_in(tmp_path / "several")


def test_drawn_pictures_that_cannot_be_written(tmp_path, menagerie):
    (tmp_path / "menagerie-tiny-16").write_text("in the way")
    with pytest.raises(DataError, match="menagerie-tiny-16: pictures cannot be written.*ASXAI_DATA"):
        draw(tmp_path)


def test_every_drawn_data_set(tmp_path, monkeypatch):
    """The contract with the true drawing package, on a few small pictures of each class."""
    specs = {
        name: dataclasses.replace(spec, train_per_class=3, test_per_class=1)
        for name, spec in pytest.importorskip("menagerie").DATA_SETS.items()
    }
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


def test_without_the_drawing_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "menagerie", None)
    assert "oxford-pets" in datasets.data_set_names()
    assert not any(name.startswith("menagerie") for name in datasets.data_set_names())


# --- Published data sets, in the layouts in which they come ---------------------------------------------------------


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
    assert names(flowers.validation) == {f"image_{number:05d}.jpg" for number in range(7, 13)}
    for path, label in zip(flowers.test.paths, flowers.test.labels):
        assert label == (int(path.stem[-5:]) - 1) % 2
    monkeypatch.delattr(torchvision_datasets.Flowers102, "classes")
    assert load_data_set("flowers-102", root=tmp_path).class_names == ("class 001", "class 002")


@pytest.mark.parametrize(
    "name, source, folder, file",
    [
        ("oxford-pets", "OxfordIIITPet", "oxford-iiit-pet", "annotations.tar.gz"),
        ("flowers-102", "Flowers102", "flowers-102", "setid.mat"),
    ],
)
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


def test_awa2(tmp_path):
    with pytest.raises(DataError, match="awa2: no JPEGImages.*AwA2-data.zip.*cvml.ista.ac.at"):
        load_data_set("awa2", root=tmp_path)
    many_classes(tmp_path / "awa2" / "Animals_with_Attributes2" / "JPEGImages", 50)
    found = load_data_set("awa2", root=tmp_path)
    assert len(found.class_names) == 50 and found.class_names[3] == "kind 003"
    assert found.test.class_counts().tolist() == [1] * 50
    shutil.rmtree(tmp_path / "awa2" / "Animals_with_Attributes2" / "JPEGImages" / "kind+049")
    with pytest.raises(DataError, match="50 class folders expected, 49 found. Fetch AwA2-data.zip"):
        load_data_set("awa2", root=tmp_path)


def test_animals_151(tmp_path):
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
    (folder / "train.csv").write_text("file,kind\na,b")
    with pytest.raises(DataError, match="columns image and label"):
        load_data_set("classify-leaves", root=tmp_path)


# --- Augmentation ---------------------------------------------------------------------------------------------------

NOTHING = {"rotation": 0, "shear": 0, "skew": 0, "zoom": 0, "distortion": 0, "flip": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    return torch.from_numpy(np.stack([noise(seed, 18, 30) for seed in range(5)])).permute(0, 3, 1, 2)


def test_same_seed_same_result_and_the_global_state_is_untouched(batch):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = augment(batch, seeded(1)), augment(batch, seeded(1)), augment(batch, seeded(2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == batch.shape and first.dtype == torch.uint8


def test_zero_strength_changes_nothing(batch):
    strength = Augmentation(**NOTHING)
    assert torch.equal(augment(batch, seeded(), strength), batch)
    torch.testing.assert_close(augment(batch / 255, seeded(), strength), batch / 255, atol=1e-5, rtol=0)


def test_certain_flip_is_a_mirror_image(batch):
    assert torch.equal(augment(batch, seeded(), Augmentation(**NOTHING | {"flip": 1})), batch.flip(3))


def test_half_of_the_pictures_are_flipped(batch):
    many = batch[:1].expand(400, -1, -1, -1)
    result = augment(many, seeded(), Augmentation(**NOTHING | {"flip": 0.5}))
    flipped = (result == batch[:1].flip(3)).all(dim=(1, 2, 3))
    straight = (result == batch[:1]).all(dim=(1, 2, 3))
    assert (flipped ^ straight).all() and 160 < flipped.sum() < 240


@pytest.mark.parametrize("kind", ["rotation", "shear", "skew", "zoom", "distortion"])
def test_every_kind_changes_every_picture_in_its_own_way(batch, kind):
    same = batch[:1].expand(6, -1, -1, -1)
    result = augment(same, seeded(), Augmentation(**NOTHING | {kind: getattr(Augmentation(), kind)}))
    assert len(torch.unique(torch.cat([result, batch[:1]]), dim=0)) == 7


def test_number_types_agree(batch):
    whole = augment(batch, seeded())
    exact = augment(batch.double() / 255, seeded())
    assert exact.dtype == torch.float64
    for dtype, tolerance in ((torch.float64, 1e-4), (torch.float32, 1e-4), (torch.float16, 2e-3)):
        result = augment((batch.double() / 255).to(dtype), seeded())
        assert result.dtype == dtype and (result.double() - exact).abs().max() < tolerance
    assert (whole.double() / 255 - exact).abs().max() <= 0.5 / 255 + 1e-4


def test_everything_moves_to_the_device_of_the_pictures(batch):
    """The meta device holds no numbers, but refuses to mix with tensors elsewhere, as a GPU does."""
    result = augment(batch.to("meta"), seeded())
    assert result.device.type == "meta" and result.shape == batch.shape and result.dtype == torch.uint8


def reflected(place, length):
    """Mirror a place at the outer edges, -0.5 and length - 0.5, until it lies between them."""
    while not -0.5 <= place <= length - 0.5:
        place = -1 - place if place < -0.5 else 2 * length - 1 - place
    return min(max(place, 0), length - 1)


def test_against_a_slow_textbook_resampling(batch):
    """Pixel by pixel in float64: skew, then turn about the centre in units of pixels, then look up bilinearly."""
    strength = Augmentation(rotation=40, shear=20, skew=0.3, zoom=0.3, distortion=0, flip=0.5)
    values = batch[:3].double()
    result = augment(values, seeded(5), strength)
    randomness = augmentation._Randomness.draw(3, seeded(5), strength)
    height, width = values.shape[2:]
    for index in range(3):
        affine, skew = randomness.affine[index].double().numpy(), randomness.skew[index].double().numpy()
        for row in range(height):
            for column in range(width):
                u, v, w = skew @ [(2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1]
                x, y = affine[:2, :2] @ [u / w * width / 2, v / w * height / 2]  # pixels from the centre
                x, y = reflected(x + (width - 1) / 2, width), reflected(y + (height - 1) / 2, height)
                left, top = min(math.floor(x), width - 2), min(math.floor(y), height - 2)
                dx, dy = x - left, y - top
                patch = values[index, :, top : top + 2, left : left + 2]
                weights = np.outer([1 - dy, dy], [1 - dx, dx])
                expected = (patch * torch.from_numpy(weights)).sum(dim=(1, 2))
                torch.testing.assert_close(result[index, :, row, column], expected, atol=1e-6, rtol=0)


def test_strengths_are_limits_in_their_units():
    strength = Augmentation(**NOTHING | {"rotation": 10})
    turn = augmentation._Randomness.draw(2000, seeded(), strength).affine
    angles = torch.rad2deg(torch.atan2(turn[:, 1, 0], turn[:, 0, 0]))
    assert -10 <= angles.min() < -9.5 and 9.5 < angles.max() <= 10
    zoom = augmentation._Randomness.draw(2000, seeded(), Augmentation(**NOTHING | {"zoom": 0.2})).affine
    assert 0.8 <= zoom[:, 0, 0].min() < 0.81 and 1.19 < zoom[:, 1, 1].max() <= 1.2
    shift = augmentation._Randomness.draw(2000, seeded(), Augmentation(**NOTHING | {"distortion": 0.05})).shift
    assert abs(shift.std() / 2 - 0.05) < 0.001  # the grid runs from -1 to 1, two units a side


def test_a_flat_picture_stays_flat(batch):
    """Edges are filled with what is there, never with black."""
    flat = torch.full((4, 3, 20, 20), 200, dtype=torch.uint8)
    assert (augment(flat, seeded(), Augmentation(rotation=90, shear=40, skew=0.4, zoom=0.9)) == 200).all()


@pytest.mark.parametrize("values", [{"rotation": -1}, {"shear": 90}, {"skew": 1}, {"zoom": 1}, {"flip": 2},
                                    {"distortion": float("nan")}, {"distortion_cells": 1}])  # fmt: skip
def test_bad_strengths(values):
    with pytest.raises(DataError) as caught:
        Augmentation(**values)
    (name, value), = values.items()
    assert f"{name}={value!r}" in str(caught.value) and "Use" in str(caught.value)


def test_bad_augmentation_input(batch):
    for pictures, message in ((batch[0], "pictures: shape"), (batch[:, :2], "pictures: shape"),
                              (batch.long(), "pictures: type torch.int64")):  # fmt: skip
        with pytest.raises(DataError, match=f"{message}.*Give"):
            augment(pictures, seeded())
    with pytest.raises(DataError, match="generator: 3. Give a torch.Generator"):
        augment(batch, 3)
    assert augment(batch[:0], seeded()).shape == (0, 3, 18, 30)
