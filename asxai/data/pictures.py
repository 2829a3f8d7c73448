"""Reading pictures: any file, array or tensor becomes an upright RGB picture of the wanted size, or a clear error."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:  # elsewhere where it is used: processes that draw pictures start in a tenth of the time without it
    import torch

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SMALLEST_SIDE = 16  # pixels; below this there is nothing to see
MOST_PIXELS = 90_000_000  # pixels; about Pillow's own limit for decompression bombs
DARK, DARK_16 = 16, 2**14  # a picture of 8 or 16 bits without a value above holds fewer bits, or is black
BLACK = "they come out nearly black: values that have 12 bits must be multiplied by 16 where 16 are stored"
Image.init()  # Pillow knows only some of the formats before


class DataError(ValueError):
    """Input that cannot be used; the message names the file or argument, its value, and the remedy."""


def read_picture(source) -> Image.Image:
    """Read any picture as an upright RGB `PIL.Image`.

    source: a path; a PIL picture; an array (height, width) or (height, width, colour) of 1, 3 or 4 colours; or a tensor
    (height, width) or (colour, height, width). They hold uint8 0..255, uint16 0..65535 or floating point 0..1.

    The EXIF orientation is applied, 16-bit values are scaled to 8 bits, grey, palette and CMYK are converted,
    transparency is laid over white, and of an animation the first frame is used. Raises DataError if the file is
    missing, empty, damaged, no picture, smaller than 16 pixels on its short side or larger than 90 million pixels,
    or if an array has another shape, type or range.
    """
    if isinstance(source, (str, os.PathLike)):
        with open_picture(Path(source)) as picture:
            return _decode(picture, str(source))
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or "PIL picture"
        _check_size(source.size, name)
        return _decode(source, name)
    import torch

    if isinstance(source, torch.Tensor):
        return _from_array(_tensor_pixels(source), "tensor")
    if isinstance(source, np.ndarray):
        return _from_array(source, "array")
    raise DataError(
        f"source: {type(source).__name__} is no picture. Give a path, a PIL picture, an array or a tensor; what "
        "PIL.Image.open makes of an open file, or of io.BytesIO(...)."
    )


def picture_list(pictures) -> tuple[list, bool]:
    """One picture or any collection of them as a list for `read_picture`, and whether it was one alone.

    An array or tensor of pixels is a picture if it has 2 or 3 axes and several if it has 4; any other array, a column
    of a table, a generator, a view of a dictionary and the like are collections. Raises DataError for none at all.
    """
    import torch

    if getattr(pictures, "ndim", 0) > 1 and not isinstance(pictures, np.ndarray | torch.Tensor):
        raise DataError("pictures: this is a whole table. Give the column that holds paths or pictures.")
    if isinstance(pictures, dict | set):
        raise DataError(f"pictures: a {type(pictures).__name__}. Give a list, such as list(pictures.values()).")
    alone = isinstance(pictures, str | bytes | os.PathLike | Image.Image) or hasattr(pictures, "read")
    numbers = (
        isinstance(pictures, torch.Tensor) or isinstance(pictures, np.ndarray) and pictures.dtype.kind not in "OUS"
    )
    if alone or (numbers and pictures.ndim < 4) or not hasattr(pictures, "__iter__"):
        return [pictures], True
    if isinstance(pictures, np.ndarray) and not numbers:
        pictures = pictures.ravel().tolist()
    if not (found := list(pictures)):
        raise DataError("pictures is empty; give at least one picture.")
    return found, False


def to_batch(sources, size: int) -> "torch.Tensor":
    """Read pictures as one uint8 tensor (picture, 3, size, size).

    Each is resized (bicubic, smoothed) so that its short side is `size` pixels, and cropped around its centre.
    `sources` are any that `read_picture` takes. Raises DataError as `read_picture` does.
    """
    import torch

    if isinstance(sources, (str, os.PathLike, Image.Image)):
        raise DataError(f"sources: {sources!r} is a single picture. Give a list, such as [picture].")
    check_whole("size", size, SMALLEST_SIDE)

    def pixels(source):
        return np.asarray(ImageOps.fit(read_picture(source), (size, size), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor() as pool:  # decoding and resizing release Python's lock
        batch = list(pool.map(pixels, sources))
    stacked = np.stack(batch) if batch else np.zeros((0, size, size, 3), np.uint8)  # (picture, size, size, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def read_mask(path: Path, size: int | None) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG",)) as mask:
            fitted = mask if size is None else ImageOps.fit(mask, (size, size), Image.Resampling.NEAREST)
            return np.array(fitted, np.uint8)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path}: part mask unreadable ({first_line(error)}). Delete it and load again.") from error


def open_picture(path: Path) -> Image.Image:
    """Open a picture file and check its header, without decoding it."""
    try:
        picture = Image.open(path, formats=FORMATS)
    except Exception as error:  # on odd input Pillow's readers raise nearly anything, not only OSError
        raise DataError(f"{path}: {_problem(path, error)}") from error
    try:
        _check_size(picture.size, path)
    except DataError:
        picture.close()
        raise
    return picture


def oddity(picture: Image.Image) -> str:
    """What makes it doubtful that a picture is read as it was meant, in words that stand after "as"."""
    if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:
        return "there are several in one file, of which the first is used"
    if picture.mode in ("RGBA", "LA", "PA") and picture.getchannel("A").getextrema()[1] == 0:
        return "all is transparent, and comes out white"
    limit = {"L": DARK, "RGB": DARK}.get(picture.mode, DARK_16 if picture.mode.startswith("I") else 0)
    return BLACK if limit and np.max(picture.getextrema()) < limit else ""


def _problem(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file. Check the path; a file on the web must be downloaded first."
    if isinstance(error, IsADirectoryError):
        return "this is a folder. Give a picture file in it."
    if isinstance(error, Image.DecompressionBombError):
        return f"larger than {MOST_PIXELS // 10**6} million pixels. Scale it down first."
    if isinstance(error, UnidentifiedImageError) and path.stat().st_size == 0:
        return "the file is empty (0 bytes). Delete it or fetch it again."
    if isinstance(error, UnidentifiedImageError):
        return f"no picture of a kind that can be read ({', '.join(FORMATS)}). Convert it, or delete it."
    return f"cannot be opened ({first_line(error)}). Check that it may be read and is whole, or delete it."


def _check_size(size: tuple[int, int], name):
    width, height = size
    if min(width, height) < SMALLEST_SIDE:
        raise DataError(
            f"{name}: {width} x {height} pixels are too few. Use a picture of at least {SMALLEST_SIDE} pixels a side."
        )
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{name}: {width} x {height} pixels are more than {MOST_PIXELS // 10**6} million. Scale it down first."
        )


def _decode(picture: Image.Image, name: str) -> Image.Image:
    try:
        return _to_rgb(ImageOps.exif_transpose(picture), name)
    except DataError:
        raise
    except Exception as error:  # as in open_picture
        raise DataError(
            f"{name}: damaged or cut short ({first_line(error)}). Fetch the file again, or delete it."
        ) from error


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel: Pillow would clip these at 255
        if doubt := oddity(picture):
            warnings.warn(f"pictures: doubtful, as {doubt}", stacklevel=3)
        pixels = np.asarray(picture)
        if pixels.dtype == np.int32 and 0 <= pixels.min() and pixels.max() <= np.iinfo(np.uint16).max:
            pixels = pixels.astype(np.uint16)  # some readers hand 16-bit values over in 32 bits
        return Image.fromarray(_to_uint8(pixels, name)).convert("RGB")
    if picture.mode in ("LAB", "HSV"):
        raise DataError(f"{name}: colours are stored as {picture.mode}. Save the picture as RGB.")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _tensor_pixels(tensor: "torch.Tensor") -> np.ndarray:
    tensor = tensor.detach().cpu()
    tensor = tensor[None] if tensor.ndim == 2 else tensor
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        raise DataError(
            f"tensor: shape {tuple(tensor.shape)} is not (colour, height, width) with 1, 3 or 4 colours. Move the "
            "colours to the front with permute(2, 0, 1), and pass the pictures of a batch one by one."
        )
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy knows no bfloat16
    return tensor.permute(1, 2, 0).numpy()


def _from_array(pixels: np.ndarray, name: str) -> Image.Image:
    if pixels.dtype.kind in "OUS":
        raise DataError(f"{name}: it holds {pixels.dtype} and no numbers. Give a list of files as list(array).")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise DataError(
            f"{name}: shape {pixels.shape} is not (height, width) or (height, width, colour) with 1, 3 or 4 colours. "
            "Move the colours to the end, for example with numpy.moveaxis(pixels, 0, -1)."
        )
    if pixels.dtype.kind == "u" and pixels.size and pixels.max() < (DARK if pixels.dtype == np.uint8 else DARK_16):
        warnings.warn(f"pictures: doubtful, as {BLACK}", stacklevel=3)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    _check_size((pixels.shape[1], pixels.shape[0]), name)
    return _to_rgb(Image.fromarray(np.ascontiguousarray(_to_uint8(pixels, name))), name)


def _to_uint8(pixels: np.ndarray, name: str) -> np.ndarray:
    """Scale uint16 0..65535 or floating point 0..1 to uint8 0..255, rounding to the nearest."""
    if pixels.dtype == np.uint8:
        return pixels
    if np.issubdtype(pixels.dtype, np.uint16):  # of either byte order
        return np.round(pixels / 257).astype(np.uint8)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"{name}: values of type {pixels.dtype}. Use uint8, uint16, or floating point from 0 to 1.")
    if not np.isfinite(pixels).all():
        raise DataError(f"{name}: some values are not finite (NaN or infinite). Replace them by values from 0 to 1.")
    if pixels.min() < -1e-4 or pixels.max() > 1 + 1e-4:  # a little more is the rounding of earlier steps
        raise DataError(
            f"{name}: floating-point values from {pixels.min():.4g} to {pixels.max():.4g} are outside 0 to 1. "
            "Divide values up to 255 by 255; undo any normalisation."
        )
    return np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def check_whole(argument, value, least):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise DataError(f"{argument}: {value!r} is not usable. Use a whole number of at least {least}.")


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
