"""Traits as pictures: what the windows around a concept have in common, turned into a picture (equations 7 to 11)."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..concepts.cells import own_class_maps
from ..concepts.concepts import Concepts
from ..data.pictures import to_batch
from .inversion import invert
from .pca import row_centred_pca
from .pooled import Network

if TYPE_CHECKING:
    from ..study import Study


class TraitPictures(NamedTuple):
    """What concepts of a class have in common, as pictures."""

    names: tuple  # (concept,)
    pictures: np.ndarray  # uint8 (concept, size, size, 3)
    ratios: np.ndarray  # (concept,): share that the first component explains, mean over positions
    errors: np.ndarray  # (concept,): feature error of the inversion, see `asxai.traits.inversion`
    targets: torch.Tensor  # (concept, channel, height, width): what was inverted


def trait_pictures(
    study: "Study", concepts: Concepts, class_name: str, pictures=40, crop=128, steps=None, seed=0
) -> TraitPictures:
    """`TraitPictures` of a class: row-centred PCA at every position (eqs. 7-9), and its inversion (eqs. 10, 11).

    The first component at every position of the feature maps of `exemplar_windows` of `crop` pixels is turned into a
    picture. With whole pictures the concept would lie elsewhere in each, and a component per position show none.
    """
    label = study.label_of(class_name)
    of_class, network = concepts.of_class(label), Network(study.model)
    windows = exemplar_windows(study, concepts, label, of_class, pictures, crop)
    components = [row_centred_pca(network.maps(own)) for own in windows]
    targets = torch.stack([torch.from_numpy(own.trait).float() for own in components])
    result = invert(network, targets, crop, steps=steps, seed=seed, desc=f"trait pictures, {class_name}")
    ratios = np.array([own.explained_variance_ratio[0].mean() for own in components])
    names = tuple(concepts.names[k - 1] for k in of_class)
    return TraitPictures(names, result.to_uint8(stretch=True), ratios, result.feature_error.numpy(), targets)


def exemplar_windows(study: "Study", concepts: Concepts, label: int, numbers, count: int, side: int) -> list:
    """Windows around the places where concepts fire most in training pictures of a class, the strongest first.

    numbers: of the concepts; for each at most `count` windows, uint8 `(picture, 3, side, side)`
    """
    members = study.data.train.take(study.data.train.labels == label)
    best, windows = concepts.exemplars(own_class_maps(study, members), members.labels, count), []
    for k in np.asarray(numbers) - 1:
        there = best.pictures[label, k] >= 0
        chosen = [members.paths[i] for i in best.pictures[label, k][there]]
        windows.append(windows_around(to_batch(chosen, study.config.size), best.points[label, k][there], side))
    return windows


def windows_around(pictures: torch.Tensor, points: np.ndarray, side: int) -> torch.Tensor:
    """Windows of `side` pixels around `points` `(picture, 2)` from 0 to 1, moved inwards at the border of a picture."""
    size = pictures.shape[-1]
    corners = np.clip(np.round(points * size - side / 2), 0, size - side).astype(int)
    return torch.stack(
        [picture[:, top : top + side, left : left + side] for picture, (top, left) in zip(pictures, corners.tolist())]
    )
