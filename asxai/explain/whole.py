"""The picture that was given, and where in it the network looked: masks in its size, outlines in its pixels.

A network sees the central square of a picture, scaled. Here crop and scale are undone. A picture is taken as viewers
show it, turned as its EXIF orientation says; x goes across and y down, from the upper left corner, in its pixels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from skimage.measure import approximate_polygon, find_contours

from ..data.pictures import DataError, read_picture, to_batch

TOLERANCE = 0.5  # pixels of what the network saw, by which a polygon may leave the outline of its mask
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
        left, top, right, _ = self.box
        scale = len(mask) / (right - left)
        moved = (scale, 0, -left * scale, 0, scale, -top * scale)  # from here to there, as Pillow wants it
        grey = Image.fromarray(mask.astype(np.uint8) * 255)
        fine = grey.transform((self.width, self.height), Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR)
        return np.asarray(fine) > 127

    def polygons(self, mask: np.ndarray) -> list[list[float]]:
        """Outlines of the islands and holes of a mask `(size, size)`: closed rings `[x, y, x, y, ...]` in pixels.

        What lies in an odd number of rings is in the mask (the even-odd rule of SVG and `Path2D`).
        """
        left, top, right, _ = self.box
        scale, rings = (right - left) / len(mask), []
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        if not len(rows):
            return []
        part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
        for ring in find_contours(part.astype(np.float32), 0.5):
            ring = approximate_polygon(ring, TOLERANCE)[:-1] + (rows[0] - 0.5, columns[0] - 0.5)  # edges of pixels
            rings.append((ring[:, ::-1] * scale + (left, top)).round(1).ravel().tolist())
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

    with ThreadPoolExecutor() as pool:  # so that of the pictures' full size only a few are held at once
        return list(pool.map(read, sources))
