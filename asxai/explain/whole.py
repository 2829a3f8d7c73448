"""The picture that was given, and where in it the network looked: masks in its size, outlines in its pixels.

A network sees the central square of a picture, scaled. Here crop and scale are undone. A picture is taken as viewers
show it, turned as its EXIF orientation says; x goes across and y down, from the upper left corner, in its pixels.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.path import Path
from PIL import Image, ImageDraw
from skimage.measure import find_contours

from ..data.pictures import DataError, read_picture, to_batch

DRAWN_SIDE = 1200  # pixels at most, of a whole picture that is drawn with its masks
DIMMED = 0.45  # how bright the rest of a picture stays that the network did not see


class Whole(NamedTuple):
    """A picture as it was given, upright."""

    source: object  # any that `read_picture` takes: it is read again where it is drawn, for many do not fit in memory
    width: int  # pixels
    height: int

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the square that the network saw; half pixels where a margin is odd."""
        side = min(self.width, self.height)
        left, top = (self.width - side) / 2, (self.height - side) / 2
        return left, top, left + side, top + side

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask `(size, size)` of what the network saw in the size of the picture: bool `(height, width)`."""
        fine = np.zeros((self.height, self.width), bool)
        if not mask.any():
            return fine
        left, top, right, bottom = self.box
        scale = len(mask) / (right - left)

        def span(seen, start, end):
            """Where there is anything to do: pixels of the picture, and the same in the mask."""
            cells = seen.nonzero()[0]
            first, last = int(cells[0] / scale + start), min(int((cells[-1] + 1) / scale + start) + 1, int(end))
            return slice(first, last), (max(0, first - start) * scale, min((last - start) * scale, len(mask)))

        (rows, down), (columns, across) = span(mask.any(axis=1), top, bottom), span(mask.any(axis=0), left, right)
        size, box = (columns.stop - columns.start, rows.stop - rows.start), (across[0], down[0], across[1], down[1])
        grey = Image.fromarray(mask.astype(np.uint8) * 255)
        fine[rows, columns] = np.asarray(grey.resize(size, Image.Resampling.BILINEAR, box)) > 127
        return fine

    def polygons(self, mask: np.ndarray) -> list[list[float]]:
        """Outlines of the islands and holes of a mask `(size, size)`: closed rings `[x, y, x, y, ...]` in pixels.

        What lies in an odd number of rings is in the mask (the even-odd rule of SVG and `Path2D`).
        """
        left, top, right, _ = self.box
        scale, rings = (right - left) / len(mask), []
        for ring in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
            path = Path(ring).cleaned(simplify=True)  # without points on the straight line between others
            points = path.vertices[path.codes != Path.STOP] - 0.5  # edges of pixels, without the rim
            points = points[:-1][np.diff(points, axis=0).any(axis=1)]
            rings.append((points[:, ::-1] * scale + (left, top)).round(1).ravel().tolist())
        return rings

    def drawn(self, masks: Sequence[np.ndarray], colours: Sequence) -> Image.Image:
        """The whole picture, darker where the network did not look, with outlines of masks in their colours."""
        picture = read_picture(self.source)
        picture.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
        scale = picture.width / self.width
        seen = Image.new("L", picture.size, round(255 * DIMMED))
        box = [round(value * scale) for value in self.box]
        seen.paste(255, box)
        picture = Image.composite(picture, Image.new("RGB", picture.size), seen)
        pen, width = ImageDraw.Draw(picture), max(2, round(max(picture.size) / 300))
        pen.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline="white", width=max(1, width // 2))
        for mask, colour in zip(masks, colours):
            for ring in self.polygons(mask):
                points = [tuple(point) for point in (np.reshape(ring, (-1, 2)) * scale).tolist()]
                for look in (("black", width + 2), (colour, width)):
                    pen.line([*points, points[0]], *look, joint="curve")
        return picture


def read_wholes(sources: Sequence, size: int) -> list[tuple[torch.Tensor, Whole] | DataError]:
    """For each picture the tensor `(3, size, size)` that `to_batch` makes of it and its `Whole`, or its `DataError`."""

    def read(source):
        try:
            picture = read_picture(source)
            return to_batch([picture], size)[0], Whole(source, *picture.size)
        except DataError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # no more: in full size a photograph may take 200 MB
        return list(pool.map(read, sources))
