"""Names of concepts, given by a person: what each concept looks like, and the file that keeps its name."""

import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.colors import to_rgb

from ..concepts.cells import own_class_maps
from ..concepts.names import looked_at, write_names_file
from ..data.pictures import to_batch
from ..figures.style import OUTLINE
from ..traits.pictures import windows_around

if TYPE_CHECKING:
    from ..concepts.concepts import Concepts
    from ..study import Study


def concept_strips(study: "Study", concepts: "Concepts", count: int = 5, side: int = 128) -> list[np.ndarray]:
    """The strongest training pictures of each concept, cut around the place: uint8 `(side, count * side, 3)` each.

    Its mask is outlined, and a line parts two pictures. White where there are fewer. The classes take turns, so that a
    concept of several classes is seen in each.
    """
    train, side = looked_at(study), min(side, study.config.size)
    maps = own_class_maps(study, train)
    best = concepts.exemplars(maps, train.labels, count)
    strips = []
    for k in range(concepts.count):
        numbers, points = best.pictures[:, k].T.ravel(), best.points[:, k].swapaxes(0, 1).reshape(-1, 2)
        turns = np.flatnonzero(numbers >= 0)[:count]
        chosen, points = numbers[turns], points[turns]
        masks = concepts.masks(maps[chosen], train.labels[chosen], study.config.size)[:, [k]]
        windows = windows_around(to_batch([train.paths[i] for i in chosen], study.config.size), points, side)
        windows = _outlined(windows, windows_around(masks, points, side))
        windows[:, :, :, -2:] = 255
        strip = np.full((side, count * side, 3), 255, np.uint8)
        strip[:, : len(turns) * side] = windows.permute(2, 0, 3, 1).flatten(1, 2).numpy()
        strips.append(strip)
    return strips


def _outlined(pictures, masks):
    """uint8 `(picture, 3, side, side)` with a rim of 2 pixels around masks `(picture, 1, side, side)`."""
    widened = torch.nn.functional.max_pool2d(masks.float(), 5, stride=1, padding=2) > 0
    colour = torch.tensor([round(255 * c) for c in to_rgb(OUTLINE)], dtype=torch.uint8)[:, None, None]
    return torch.where(widened & ~masks, colour, pictures)


def write_names(study: "Study", concepts: "Concepts", names: list | dict) -> "Concepts":
    """Write names of concepts to the data set's file of names; the study's concepts under these names.

    names: one for each of concepts 1, 2, ..., or those of some by number, {1: ..., 4: ...}; the others keep theirs. An
    empty name leaves a concept as "concept k", and _ stands for a space. What the file held before is replaced. Raises
    ValueError for another number of names than there are concepts, and for a number that none has.
    """
    if isinstance(names, dict):
        names = _by_number(names, concepts)
    names = [str(name).replace("_", " ").strip() for name in names]
    if len(names) != concepts.count:
        raise ValueError(f'names={names} must be {concepts.count}, one for each concept; "" for one without a name')
    names = ["" if name == f"concept {number}" else name for number, name in enumerate(names, 1)]
    write_names_file(study, concepts, names)
    return study.concepts()


def given_names(concepts: "Concepts") -> list[str]:
    """Names as a person gave them: "" for "concept k", and without the number that tells two of one name apart."""
    names, given = concepts.names, []
    for k, name in enumerate(names, 1):
        base = re.sub(r" \d+$", "", name)
        given.append("" if name == f"concept {k}" else base if base in names else name)
    return given


def _by_number(names, concepts):
    """The names of all concepts; some of them, by number, are new. As a key, 1, "1" and "concept 1" are the same."""
    result = given_names(concepts)
    for key, name in names.items():
        number = str(key).removeprefix("concept ")
        if not (number.isdecimal() and 1 <= int(number) <= concepts.count):
            raise ValueError(f"names: {key!r} is no number of a concept; use 1 to {concepts.count}")
        result[int(number) - 1] = name
    return result
