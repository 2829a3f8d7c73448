"""Part points of photographs: a folder of pictures may have a `points.csv` that says where parts are.

    points = part_points(study.data.test)        # None where the folder has no such file
    points.counts(winners, concepts)             # which concept wins where the points are
    points.held(peaks, patch)                    # which parts lie in patches

The file has the columns `picture,part,x,y`: a file below the folder, any name, and fractions of the picture's width and
height from its upper left corner. A part may have several points in a picture, and parts that are not seen have none.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..data.datasets import Split
from ..data.pictures import DataError, first_line, open_picture
from .cells import MASK_SIZE

FILE, COLUMNS = "points.csv", ["picture", "part", "x", "y"]
ROTATED = 5  # EXIF orientations from here on lay a picture on its side
ORIENTATION = 0x0112


class Points(NamedTuple):
    """Points of some pictures that the network sees: those that its central square cuts off are left out."""

    names: tuple[str, ...]  # of all parts of the folder, sorted
    pictures: np.ndarray  # (point,): number of the picture in its split
    parts: np.ndarray  # (point,): position in `names`
    places: np.ndarray  # (point, 2): down and across in the central square, from 0 to 1
    count: int  # pictures of the split

    def counts(self, winners: np.ndarray, concepts: int) -> np.ndarray:
        """Points by picture, concept that wins there and part, int64 `(picture, concepts + 1, part)`.

        winners: `(picture, cells, cells)`, 0 is the background, a cluster like any other.
        """
        row, column = (self.places * winners.shape[1:]).astype(int).T
        result = np.zeros((self.count, concepts + 1, len(self.names)), np.int64)
        np.add.at(result, (self.pictures, winners[self.pictures, row, column], self.parts), 1)
        return result

    def held(self, peaks: np.ndarray, patch: int) -> np.ndarray:
        """Which parts have a point in the patch where a prototype fires most, bool `(picture, prototype, part)`.

        The patch is a square box of so many pixels of 224 a side around the peak (row and column, `(picture, prototype,
        2)`), moved where needed to lie inside the picture (Huang et al., ICCV 2023; Nauta et al., CVPR 2023).
        """
        corners = np.clip(peaks - patch // 2, 0, MASK_SIZE - patch)[self.pictures]  # (point, prototype, 2)
        pixels = (self.places * MASK_SIZE)[:, None]
        inside = ((pixels >= corners) & (pixels < corners + patch)).all(axis=2)
        result = np.zeros((*peaks.shape[:2], len(self.names)), bool)
        point, prototype = inside.nonzero()
        result[self.pictures[point], prototype, self.parts[point]] = True
        return result

    def of(self, pictures: np.ndarray) -> "Points":
        """The points of some pictures of the split, ascending numbers, which are counted anew."""
        chosen = np.isin(self.pictures, pictures)
        again = np.searchsorted(pictures, self.pictures[chosen])
        return Points(self.names, again, self.parts[chosen], self.places[chosen], len(pictures))

    def visible(self) -> np.ndarray:
        """Which parts have a point in which picture, bool `(picture, part)`."""
        result = np.zeros((self.count, len(self.names)), bool)
        result[self.pictures, self.parts] = True
        return result


def points_file(split: Split) -> Path | None:
    """The `points.csv` beside the class folders of a split or its folders of splits; None where there is none."""
    return next((folder / FILE for folder in split.paths[0].parents[1:3] if (folder / FILE).is_file()), None)


def part_points(split: Split) -> Points | None:
    """Points of the pictures of a split, from `points_file`; None where there is no such file.

    Raises DataError for one that cannot be used.
    """
    file = points_file(split)
    if file is None:
        return None
    table, folder = _read(file), file.parent
    numbers = {path.relative_to(folder).as_posix(): number for number, path in enumerate(split.paths)}
    chosen = table[table["picture"].isin(numbers)]
    pictures = chosen["picture"].map(numbers).to_numpy(int)
    sizes = {number: _size(split.paths[number]) for number in np.unique(pictures)}
    sides = np.array([sizes[number] for number in pictures]).reshape(-1, 2)  # width and height
    # the middle of the central square is the picture's; Pillow's ImageOps.fit cuts as evenly as this
    places = ((chosen[["x", "y"]].to_numpy() - 0.5) * sides / sides.min(axis=1, keepdims=True) + 0.5)[:, ::-1]
    seen = ((places >= 0) & (places < 1)).all(axis=1)
    names = tuple(sorted(table["part"].unique()))
    parts = chosen["part"].map(names.index).to_numpy(int)
    return Points(names, pictures[seen], parts[seen], places[seen], len(split))


def _read(path: Path) -> pd.DataFrame:
    """The table of points. Raises DataError that names the file, the first wrong line and the remedy."""
    try:
        table = pd.read_csv(path, dtype={"picture": str, "part": str}, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:  # of pandas: empty, cut off, no text
        raise DataError(f"{path}: no table in UTF-8 ({first_line(error)}). Mend it, or take it away.") from error
    if missing := [name for name in COLUMNS if name not in table]:
        raise DataError(f"{path}: no column {', '.join(missing)}. Its first line is {','.join(COLUMNS)}.")
    places = table[["x", "y"]].apply(pd.to_numeric, errors="coerce")
    known = table["picture"].map({name: (path.parent / name).is_file() for name in table["picture"].unique()})
    for wrong, remedy in (
        (~known.astype(bool), "there is no such picture. Give its path from this folder, such as train/class/name.jpg"),
        (table["part"].str.strip() == "", "the part has no name. Give it one, or delete the line"),
        (~places.ge(0).all(axis=1) | ~places.le(1).all(axis=1), "x and y must be fractions of the picture, 0 to 1"),
    ):
        if wrong.any():
            line = table.loc[wrong.idxmax(), COLUMNS].astype(str)
            raise DataError(f"{path}, line {wrong.idxmax() + 2} ({','.join(line)}): {remedy}.")
    return table.assign(x=places["x"], y=places["y"])


def _size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, upright."""
    with open_picture(path) as picture:
        return picture.size[::-1] if picture.getexif().get(ORIENTATION, 1) >= ROTATED else picture.size
