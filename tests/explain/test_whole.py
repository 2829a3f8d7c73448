"""Masks of what the network saw, in the picture that was given: wide, tall, turned and tiny files."""

import json
import weakref

import numpy as np
import pytest
from helpers import noise
from PIL import Image, ImageOps
from skimage.draw import polygon2mask

from asxai.data.pictures import DataError, to_batch
from asxai.explain import explainer as explain_explainer
from asxai.explain.whole import Whole, read_wholes

SIZE = 96
KINDS = [(300, 100), (100, 301), (640, 480), (97, 96), (20, 33), (16, 16)]  # width, height


def marked(width, height):
    """A picture with a white rectangle on black inside what the network sees, and where that is."""
    side, where = min(width, height), np.zeros((height, width), bool)
    top, left = (height - side) // 2 + side // 5, (width - side) // 2 + side // 4
    where[top : top + side // 3, left : left + side // 2] = True
    return Image.fromarray(where.astype(np.uint8) * 255).convert("RGB"), where


def bounds(where):
    rows, columns = where.any(axis=1).nonzero()[0], where.any(axis=0).nonzero()[0]
    return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])


def filled(rings, shape):
    """Pixels whose middle lies in an odd number of rings."""
    inside = np.zeros(shape, bool)
    for ring in rings:
        inside ^= polygon2mask(shape, np.reshape(ring, (-1, 2))[:, ::-1] - 0.5)
    return inside


@pytest.mark.parametrize("turn", [None, 3, 6, 8])
@pytest.mark.parametrize("size", KINDS, ids=str)
def test_a_rectangle_comes_back_where_it_was(tmp_path, size, turn):
    """Within two pixels of the file, upright, whatever its shape and its EXIF orientation."""
    picture, where = marked(*size)
    back = {None: 0, 3: 2, 6: 1, 8: 3}[turn]  # quarters by which it is stored turned
    exif = Image.Exif()
    if turn:
        exif[274] = turn
    Image.fromarray(np.rot90(np.asarray(picture), back).copy()).save(tmp_path / "a.png", exif=exif)
    [(pixels, whole)] = read_wholes([tmp_path / "a.png"], SIZE)
    np.testing.assert_array_equal(pixels, to_batch([tmp_path / "a.png"], SIZE)[0])
    assert (whole.width, whole.height) == size
    mask = pixels[0].numpy() > 127
    found = whole.mask(mask)
    assert found.shape == where.shape and np.abs(bounds(found) - bounds(where)).max() <= 2
    assert (found != where).sum() <= 2 * np.abs(np.diff(bounds(where).reshape(2, 2), axis=0)).sum()
    ring = np.reshape(sum(whole.polygons(mask), []), (-1, 2))[:, ::-1]
    assert np.abs([*ring.min(axis=0), *ring.max(axis=0)] - bounds(where)).max() <= 2


def test_a_mask_is_moved_as_every_pixel_says():
    """The slow way: the nearest pixel of what the network saw; they differ on the outline only."""
    rng = np.random.default_rng(0)
    whole, coarse = Whole(None, 211, 150), rng.random((6, 6)) > 0.5
    mask = np.kron(coarse, np.ones((16, 16), bool))
    left, top, right, bottom = whole.box
    assert (left, top, right, bottom) == (30.5, 0, 180.5, 150)
    slow = np.zeros((150, 211), bool)
    for y, x in np.ndindex(slow.shape):
        row, column = (y + 0.5 - top) * SIZE / 150, (x + 0.5 - left) * SIZE / 150
        slow[y, x] = 0 <= column < SIZE and mask[int(row), int(column)]
    assert (whole.mask(mask) != slow).mean() < 0.01
    assert (filled(whole.polygons(mask), slow.shape) != slow).mean() < 0.01
    assert not whole.mask(np.zeros_like(mask)).any() and whole.polygons(np.zeros_like(mask)) == []


def test_polygons_have_holes_and_no_point_too_many():
    mask = np.zeros((SIZE, SIZE), bool)
    mask[10:60, 0:50], mask[20:40, 10:30], mask[80:, 90:] = True, False, True
    rings = Whole(None, SIZE, SIZE).polygons(mask)
    np.testing.assert_array_equal(filled(rings, mask.shape), mask)
    assert sorted(map(len, rings)) == [16, 16, 16]  # four corners, each cut by half a pixel


def test_saved_masks_and_polygons_fit_the_file(study, explainer, tmp_path):
    wide = Image.open(study.data.test.paths[3]).convert("RGB")
    wide = ImageOps.expand(wide, (70, 0), "grey")
    wide.save(tmp_path / "wide.png")
    one = explainer.explain(tmp_path / "wide.png")
    folder = one.save(tmp_path / "out")
    whole = json.loads((folder / "explanation.json").read_text())["whole"]
    assert (whole["width"], whole["height"]) == wide.size and whole["box"][0] == (wide.width - wide.height) / 2
    assert [file is not None for file in whole["mask_files"]] == one.masks.any(axis=(1, 2)).tolist()
    assert any(whole["mask_files"])
    for mask, file, rings in zip(one.masks, whole["mask_files"], whole["polygons"]):
        assert bool(file) == bool(rings) == mask.any()
        if file:
            found = np.asarray(Image.open(folder / file)) > 0
            assert found.shape == (wide.height, wide.width)
            assert (found != filled(rings, found.shape)).mean() < 0.005
            assert not found[:, : int(whole["box"][0])].any()
    drawn, before = np.asarray(Image.open(folder / "whole.jpg"), float), np.asarray(wide, float)
    assert drawn.shape == before.shape and drawn[:, :60].mean() < 0.6 * before[:, :60].mean()  # not seen: darker


def test_a_stream_is_explained_a_batch_at_a_time_and_names_what_is_no_picture(study, explainer, tmp_path, monkeypatch):
    monkeypatch.setattr(explain_explainer, "AT_ONCE", 2)
    (tmp_path / "broken.png").write_text("no picture")
    Image.fromarray(noise(0)).save(tmp_path / "a.png")
    good = list(study.data.test.paths[:3])
    read, real = [], explain_explainer.read_wholes
    monkeypatch.setattr(explain_explainer, "read_wholes", lambda files, size: read.extend(files) or real(files, size))
    stream = explainer.stream(
        [good[0], tmp_path / "broken.png", tmp_path / "broken.png", tmp_path / "broken.png", good[1]]
    )
    assert next(stream).sentence == explainer.explain(good[0]).sentence and len(read) == 3  # two, and that again
    rest = list(stream)
    assert [isinstance(one, DataError) for one in rest] == [True, True, True, False]
    assert "broken.png: no picture" in str(rest[0]) and rest[3].whole.source == good[1]
    assert list(explainer.stream([])) == []


def test_of_a_batch_nothing_is_left_when_the_next_is_read(study, explainer, monkeypatch):
    """Two batches at once would take as much again."""
    monkeypatch.setattr(explain_explainer, "AT_ONCE", 2)
    looked, left, real, look = [], [], explain_explainer.read_wholes, explainer.look

    def read(files, size):
        left.append([one() is not None for one in looked])
        return real(files, size)

    def seen(pictures):
        for one in look(pictures):
            looked.append(weakref.ref(one.out.maps))
            yield one

    monkeypatch.setattr(explain_explainer, "read_wholes", read)
    monkeypatch.setattr(explainer, "look", seen)
    assert sum(1 for _ in explainer.stream(study.data.test.paths[:5])) == 5
    assert left == [[], [False], [False, False]]


def test_who_keeps_one_explanation_keeps_its_pixels_alone(study, explainer):
    """A folder is explained with the last of a batch in hand: the others' pictures and masks must not hang on it."""
    kept = explainer.explain(study.data.test.paths[:3])[1]
    for pixels in (kept.picture, kept.masks):
        assert pixels.base is None and pixels.flags.owndata, "no view of an array of several pictures"
    (picture,) = study.pictures(study.data.test.paths[1:2])
    assert (kept.picture == picture).all() and kept.picture.nbytes == picture.nbytes
