"""Naming."""

import io
import re

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from ..concepts.cells import own_class_maps
from ..concepts.names import write_names_file
from ..data.pictures import to_batch
from ..figures.style import OUTLINE
from ..traits.pictures import windows_around
from .explorers import Explorer


def naming_widget(study, concepts, count=5):
    """A widget with the strongest pictures of each concept and a field for its name; a button writes the names.

    Where the data set has part masks these give the names. Then there is nothing to write: raises ValueError.
    """
    if study.data.validation.parts is not None:
        raise ValueError(f"study: concepts of {study.data.name!r} are named by its part masks; names are given by hand "
                         "to data sets without any")
    sheets = concept_strips(study, concepts, count)
    fields = [widgets.Text(name, description=f"concept {k}", placeholder="no name yet")
              for k, name in enumerate(_given(concepts.names), 1)]
    button, state = widgets.Button(description="Write names", button_style="primary"), widgets.Label()

    def write(_):
        try:
            written = write_names(study, concepts, [field.value for field in fields])
        except ValueError as error:
            state.value = str(error)
        else:
            state.value = f"written: {', '.join(written.names)}; run the cells from “Concepts” on again"

    button.on_click(write)
    layout = widgets.Layout(height="96px")
    images = [widgets.Image(value=_jpeg(sheet), format="jpeg", layout=layout) for sheet in sheets]
    rows = [widgets.HBox(pair) for pair in zip(images, fields)]
    return Explorer("Names", [*rows, widgets.HBox([button, state])])


def concept_strips(study, concepts, count=5, side=128):
    """Of each concept its strongest training pictures, cut around the place: uint8 `(side, count * side, 3)` each.

    Its mask is outlined, and a line parts two pictures. White where there are fewer. The classes take turns, so that a
    concept of several classes is seen in each.
    """
    train, side = study.data.train, min(side, study.config.size)
    own = own_class_maps(study, train)
    best = concepts.exemplars(own, train.labels, count)
    strips = []
    for k in range(concepts.count):
        turns = [(best.pictures[c, k, e], best.points[c, k, e]) for e in range(count) for c in range(len(best.pictures))
                 if best.pictures[c, k, e] >= 0][:count]
        chosen, points = np.array([i for i, _ in turns]), np.stack([point for _, point in turns])
        masks = concepts.masks(own[chosen], train.labels[chosen], study.config.size)[:, [k]]
        windows = windows_around(to_batch([train.paths[i] for i in chosen], study.config.size), points, side)
        windows = _outlined(windows, windows_around(masks, points, side))
        windows[:, :, :, -2:] = 255
        strip = np.full((side, count * side, 3), 255, np.uint8)
        strip[:, :len(turns) * side] = windows.permute(2, 0, 3, 1).flatten(1, 2).numpy()
        strips.append(strip)
    return strips


def _outlined(pictures, masks):
    """uint8 `(picture, 3, side, side)` with a rim of 2 pixels around masks `(picture, 1, side, side)`."""
    widened = torch.nn.functional.max_pool2d(masks.float(), 5, stride=1, padding=2) > 0
    colour = torch.tensor([round(255 * c) for c in to_rgb(OUTLINE)], dtype=torch.uint8)[:, None, None]
    return torch.where(widened & ~masks, colour, pictures)


def write_names(study, concepts, names):
    """Write names of concepts to the data set's file of names; the study's concepts under these names.

    names: one for each of concepts 1, 2, ..., or those of some by number, {1: ..., 4: ...}; the others keep theirs. An
    empty name leaves a concept as "concept k", and _ stands for a space. What the file held before is replaced. Raises
    ValueError for another number of names than there are concepts, and for a number that none has.
    """
    if isinstance(names, dict):
        names = _by_number(names, concepts)
    names = [str(name).replace("_", " ").strip() for name in names]
    if len(names) != concepts.count:
        raise ValueError(f"names={names} must be {concepts.count}, one for each concept; \"\" for one without a name")
    write_names_file(study, concepts, ["" if name == f"concept {number}" else name
                                       for number, name in enumerate(names, 1)])
    return study.concepts()


def _given(names):
    """Names as a person gave them: "" for "concept k", and without the number that tells two of one name apart."""
    alone = [re.sub(r" \d+$", "", name) for name in names]
    return ["" if name == f"concept {k}" else base if base in names else name
            for k, (name, base) in enumerate(zip(names, alone), 1)]


def _by_number(names, concepts):
    """The names of all concepts; some of them, by number, are new. As a key, 1, "1" and "concept 1" are the same."""
    result = _given(concepts.names)
    for key, name in names.items():
        number = str(key).removeprefix("concept ")
        if not (number.isdecimal() and 1 <= int(number) <= concepts.count):
            raise ValueError(f"names: {key!r} is no number of a concept; use 1 to {concepts.count}")
        result[int(number) - 1] = name
    return result


def _jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=85)
    return file.getvalue()
