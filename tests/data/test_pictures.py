"""Reading pictures: good ones in every form, and bad ones with a remedy."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import cases, fill, noise, plain
from PIL import Image

from asxai.data.datasets import load_data_set
from asxai.data.pictures import DataError, picture_list, read_picture, to_batch


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


@cases(
    "source, parts",
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
    (np.array([["a.png", "b.png"]]), ["array", "no numbers", "list(array)"]),
    (torch.zeros(2, 3, 20, 20), ["tensor", "(2, 3, 20, 20)", "one by one"]),
    (torch.full((3, 20, 20), 2.0), ["tensor", "2", "Divide"]),
    (Image.new("RGB", (20, 4)), ["PIL picture", "20 x 4", "at least 16"]),
    (Image.new("LAB", (20, 20)), ["PIL picture", "LAB", "Save the picture as RGB"]),
)
def test_bad_sources(source, parts):
    with pytest.raises(DataError) as caught:
        read_picture(source)
    assert all(part in str(caught.value) for part in parts)


def test_dark_values_are_said_and_full_ones_are_not(tmp_path):
    pixels = noise(2)
    wide = pixels.astype(np.uint16) * 257
    Image.fromarray(wide[..., 0] // 16).save(tmp_path / "a.png")
    unit = pixels // 255
    tensor = torch.from_numpy(unit).permute(2, 0, 1)
    for source in (tmp_path / "a.png", wide // 16, wide[..., 0] // 64, unit, tensor):
        with pytest.warns(UserWarning, match="nearly black: values that have 12 bits"):
            read_picture(source)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (pixels, wide, pixels / 255):
            read_picture(source)


def test_every_way_to_hand_over_pictures(tmp_path):
    files = sorted(fill(tmp_path, 3).iterdir())
    expected = to_batch(files, 32)
    arrays = np.stack([noise(k) for k in range(3)])
    by_name = {file.name: file for file in files}
    texts, table = list(map(str, files)), pd.DataFrame({"file": map(str, files)})
    collections = [files, tuple(files), iter(files), map(str, files), (file for file in files), by_name.values()]
    collections += [np.array(files), np.array(texts), np.array(texts)[:, None], pd.Series(files, index=[5, 6, 7])]
    collections += [table["file"], pd.Index(files), arrays, list(arrays), filter(None, files)]
    for several in [*collections, torch.from_numpy(arrays).permute(0, 3, 1, 2)]:
        found, alone = picture_list(several)
        assert not alone and torch.equal(to_batch(found, 32), expected), type(several)
    assert picture_list(tmp_path.glob("*.png"))[1] is False
    grey = torch.from_numpy(noise(0)[..., 0].copy())
    singles = [files[0], str(files[0]), Image.open(files[0]), arrays[0], torch.from_numpy(arrays[0]).permute(2, 0, 1)]
    greys = [grey, grey[None], grey.numpy(), grey.numpy()[..., None], grey[None] / 255]
    for one, upright in [(one, arrays[0]) for one in singles] + [(one, grey.numpy()) for one in greys]:
        found, alone = picture_list(one)
        pixels = np.asarray(read_picture(*found))
        assert alone and (pixels == (upright if upright.ndim == 3 else upright[..., None])).all()


def test_what_is_no_collection_of_pictures_is_told_what_to_do():
    table, bad = pd.DataFrame({"file": ["a.png"]}), {"list is": [["a.png"]], "NoneType is": None, "int is": 7}
    cases = [([], "is empty; give at least one"), (iter(()), "is empty; give at least one")]
    cases += [({"a": "a.png"}, "a dict. Give a list, such as list"), ({"a.png"}, "a set. Give a list")]
    cases += [(table, "a whole table. Give the column"), (b"abc", "bytes is no picture.*io.BytesIO")]
    cases += [(io.BytesIO(b"abc"), "BytesIO is no picture.*PIL.Image.open makes of")]
    for pictures, message in cases + [(wrong, f"{kind} no picture") for kind, wrong in bad.items()]:
        with pytest.raises(DataError, match=message):
            to_batch(picture_list(pictures)[0], 32)
    for single in ("picture.png", Path("picture.png"), Image.new("RGB", (20, 20))):
        with pytest.raises(DataError, match="sources.*Give a list"):
            to_batch(single, 32)
    with pytest.raises(DataError, match="size: 2.5"):
        to_batch([], 2.5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    """What a camera stores for each orientation (EXIF 2.3, tag 274) comes back upright."""
    upright = noise(7, 24, 40)
    flipped = [upright, upright[:, ::-1], upright[::-1, ::-1], upright[::-1]]
    turned = [upright.swapaxes(0, 1), np.rot90(upright, 1), flipped[2].swapaxes(0, 1), np.rot90(upright, -1)]
    stored = [*flipped, *turned][orientation - 1]
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


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff", "mpo"])
def test_animations_and_a_camera_s_several_pictures_give_the_first(tmp_path, kind):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "lime")]
    path, lossless = tmp_path / f"a.{'jpg' if kind == 'mpo' else kind}", {"lossless": True} if kind == "webp" else {}
    frames[0].save(path, format=kind, save_all=True, append_images=frames[1:], **lossless)
    assert Image.open(path).format == kind.upper()
    np.testing.assert_allclose(np.asarray(read_picture(path)), np.asarray(frames[0]), atol=2 if kind == "mpo" else 0)


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
