"""Which basis vectors of a class tell it apart best, and where they fire, for the first figures of notebook 02."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ..concepts.masks import peak_box, semantic_masks, upsample

if TYPE_CHECKING:
    from ..study import Study

VECTORS, PICTURES = 6, 3  # shown of a class


def strongest(study: "Study", class_name: str) -> pd.DataFrame:
    """Rows of the prototype table of a class that tell it apart best, with the column `strength`.

    Strength is the last-layer weight times the mean similarity on validation pictures of the class less that on all
    others: a vector that fires on the background of every picture has none. A patch that several basis vectors became
    is listed once, as its strongest vector.
    """
    c, validation = study.label_of(class_name), study.data.validation
    similarity = study.similarity(validation)[:, c]  # (picture, basis)
    member = torch.from_numpy(validation.labels == c)
    gap = similarity[member].mean(dim=0) - similarity[~member].mean(dim=0)
    table = study.prototypes[study.prototypes["class"] == class_name].copy()
    table["strength"] = table["weight"].to_numpy() * gap.numpy()
    table = table.sort_values("strength", ascending=False, kind="stable")
    return table.drop_duplicates(["picture", "row", "column"]).head(VECTORS)


def sources(study: "Study", class_name: str, percentile=95.0) -> dict:
    """What `asxai.figures.prototypes.prototype_sheet` draws: the strongest vectors in the pictures that they are from.

    The table is that of `strongest` with the square around the mask's strongest island, in pixels: `top`, `left`,
    `bottom`, `right`.
    """
    table, size = strongest(study, class_name), study.config.size
    pictures, maps = _seen(study, [study.data.train.paths[i] for i in table["picture"]], class_name, table["basis"])
    maps = maps[range(len(table)), range(len(table))]  # each vector in its own picture
    fine, masks = upsample(maps, size).numpy(), semantic_masks(maps, size, percentile).numpy()
    boxes = [_square(peak_box(mask, activation), size) for mask, activation in zip(masks, fine)]
    table[["top", "left", "bottom", "right"]] = boxes
    drawn = {"table": table, "pictures": pictures, "maps": fine, "masks": masks}
    return drawn | {"class_name": class_name, "percentile": percentile}


def new_pictures(study: "Study", class_name: str, percentile=95.0) -> dict:
    """What `asxai.figures.prototypes.new_picture_sheet` draws: the strongest vectors on test pictures of the class.

    The table has a row per picture and vector: `class`, `picture`, `basis` and `best_cosine`.
    """
    vectors, test = strongest(study, class_name)["basis"], study.data.test
    paths = [test.paths[i] for i in np.flatnonzero(test.labels == study.label_of(class_name))[:PICTURES]]
    pictures, maps = _seen(study, paths, class_name, vectors)
    pairs = {"picture": np.repeat([path.name for path in paths], len(vectors)), "basis": np.tile(vectors, len(paths))}
    table = pd.DataFrame({"class": class_name} | pairs | {"best_cosine": maps.amax(dim=(2, 3)).flatten().tolist()})
    fine, masks = upsample(maps, study.config.size), semantic_masks(maps, study.config.size, percentile)
    drawn = {"table": table, "pictures": pictures, "maps": fine.numpy(), "masks": masks.numpy()}
    return drawn | {"class_name": class_name}


def _seen(study, paths, class_name, vectors):
    """Pictures, and activation maps `(picture, vector, height, width)` of some vectors of a class."""
    maps = study.activate(paths).maps[:, study.label_of(class_name)]
    return study.pictures(paths), maps[:, torch.tensor(vectors.tolist())]


def _square(box, size):
    """The smallest square around a box of a picture of `size` pixels a side, moved inwards at the edges."""
    top, left, bottom, right = box
    side = max(bottom - top, right - left)
    top, left = (
        int(np.clip(middle - side // 2, 0, size - side)) for middle in ((top + bottom) // 2, (left + right) // 2)
    )
    return top, left, top + side, left + side
