"""A study as a file: it says the same, holds no training pictures, and nothing odd gets out of one."""

import io
import shutil
import zipfile

import numpy as np
import pytest
from helpers import cases
from PIL import Image

import asxai
from asxai.cache import load_tensors, save_tensors
from asxai.data.pictures import DataError
from asxai.explain import bundle
from asxai.model.backbones import WeightsError


@pytest.fixture(scope="module")
def files(study, tmp_path_factory):
    """The study without and with exemplars."""
    folder = tmp_path_factory.mktemp("files")
    return [study.export(folder / f"{exemplars}.zip", exemplars=exemplars) for exemplars in (False, True)]


def test_an_opened_study_explains_as_the_study_itself(study, files, tmp_path, monkeypatch):
    pictures = list(study.data.test.paths)
    expected = study.explain(pictures)
    monkeypatch.setattr("asxai.study.load_data_set", lambda *_: pytest.fail("looks for training pictures"))
    for exemplars, file in enumerate(files):
        moved = shutil.copy(file, tmp_path / "elsewhere.zip")
        opened = asxai.Study.open(moved)
        assert opened.predict(pictures).names == study.predict(pictures).names
        for one, other in zip(opened.explain(pictures), expected):
            assert one.sentence == other.sentence and one.names == other.names
            np.testing.assert_array_equal(one.masks, other.masks)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
            np.testing.assert_allclose(one.similarity, other.similarity, atol=1e-5)
            assert one.exemplar_sources == (other.exemplar_sources if exemplars else ())
            assert one.exemplars.shape == (4 * exemplars, 128, 128, 3)
            if exemplars:
                small = np.asarray(Image.fromarray(other.exemplars[0]).resize((128, 128)), float)
                assert np.abs(small - one.exemplars[0]).mean() < 12
        one.save(tmp_path / "out")
        with pytest.raises(DataError, match="elsewhere.zip: this file holds no training pictures"):
            opened.data  # noqa: B018
        with pytest.raises(ValueError, match="is such a file already; copy it"):
            opened.export(tmp_path / "again.zip")


def test_what_is_in_a_file_is_what_the_owner_gives_away(study, files):
    place = str(study.data.train.paths[0].parent.parent)
    for exemplars, file in enumerate(files):
        with zipfile.ZipFile(file) as whole:
            pictures = [name for name in whole.namelist() if name.endswith(".jpg")]
            content = b"".join(map(whole.read, whole.namelist()))
        assert len(pictures) == exemplars * len(study.data.train)
        assert place.encode() not in content and b"\x80\x04\x95" not in content  # no place, no pickle
        assert (study.data.train.paths[0].name.encode() in content) == bool(exemplars)


def test_a_write_that_breaks_off_leaves_the_file_that_was_there(study, files, tmp_path, monkeypatch):
    kept, before = shutil.copy(files[0], tmp_path / "kept.zip"), files[0].read_bytes()
    monkeypatch.setattr(bundle.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    for path in (kept, tmp_path / "new.zip"):
        with pytest.raises(OSError, match="no room"):
            study.export(path, exemplars=True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.zip"] and kept.read_bytes() == before


def rewritten(file, path, changes):
    """A copy of a file with other contents of some names, None for none at all."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name not in changes:
                new.writestr(name, old.read(name))
        for name, content in changes.items():
            if content is not None:
                new.writestr(name, content)
    return path


def jpeg(size):
    Image.new("RGB", size).save(buffer := io.BytesIO(), format="JPEG")
    return buffer.getvalue()


@cases(
    "changes, words",
    ({"../../escaped.txt": b"out"}, "'../../escaped.txt' is not a file of it"),
    ({"/tmp/escaped.txt": b"out"}, "is not a file of it"),
    ({"model.pkl": b"\x80\x04\x95"}, "'model.pkl' is not a file of it"),
    ({"model.safetensors": None}, "'model.safetensors' is missing"),
    ({"model.safetensors": b"\x80\x04\x95" * 9}, "model.safetensors cannot be read"),
    ({"study.json": b"{}"}, "study.json cannot be read"),
    ({"explainer.safetensors": b"\x00" * 100}, "fetch it again"),
    ({"exemplars/00000.jpg": jpeg((4000, 3000))}, "an exemplar of"),
    ({"exemplars/00000.jpg": b"no picture"}, "fetch it again"),
    ({"exemplars/00000.jpg": None}, "its numbers are not those of its network"),
    ({"log.csv": b"0" * (bundle.LARGEST_TEXT + 1)}, "too large"),
)
def test_a_file_that_is_not_as_it_was_written_is_refused(files, tmp_path, changes, words):
    path = rewritten(files[1], tmp_path / "odd.zip", changes)
    with pytest.raises(WeightsError, match="odd.zip is damaged, or no file of Study.export") as error:
        asxai.Study.open(path)
    assert words in str(error.value) and "train the study again" not in str(error.value)
    assert [found.name for found in tmp_path.iterdir()] == ["odd.zip"] and not (
        tmp_path.parent / "escaped.txt"
    ).exists()


def test_a_file_that_is_cut_short_flipped_or_not_there(study, files, tmp_path):
    content = bytearray(files[0].read_bytes())
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.zip").write_bytes(content)
    for name in ("cut", "flipped"):
        with pytest.raises(WeightsError, match=f"{name}.zip is damaged"):
            asxai.Study.open(tmp_path / f"{name}.zip")
    with pytest.raises(FileNotFoundError, match="none.zip is no such file"):
        asxai.Study.open(tmp_path / "none.zip")
    with pytest.raises(FileNotFoundError, match=r"is a folder: Study\.load reads"):
        asxai.Study.open(study.folder)


def test_a_zip_of_something_else_is_called_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        file.writestr("photos/0000.jpg", jpeg((8, 8)))
    with pytest.raises(WeightsError, match=r"photos\.zip is a zip, but no export of a study.*unpacked$") as error:
        asxai.Study.open(tmp_path / "photos.zip")
    assert "damaged" not in str(error.value)


@pytest.mark.parametrize("change", ["mean", "windows", "foreground", "similarity", "labels"])
def test_numbers_of_another_network_are_noticed(files, tmp_path, change):
    with zipfile.ZipFile(files[1]) as whole:
        (tmp_path / "explainer").write_bytes(whole.read("explainer.safetensors"))
    tensors, notes = load_tensors(tmp_path / "explainer")
    save_tensors(tmp_path / "other", tensors | {change: tensors[change][:-1]}, notes)
    path = rewritten(files[1], tmp_path / "other.zip", {"explainer.safetensors": (tmp_path / "other").read_bytes()})
    with pytest.raises(WeightsError, match="its numbers are not those of its network"):
        asxai.Study.open(path)
