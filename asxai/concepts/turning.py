"""Activation maps of pictures that were turned by quarters, to see which basis vectors turning exchanges.

A network's features know directions: the petal that points up and the petal that points down become two vectors. Turn
the picture, and each fires where the other did. An eye stays an eye. Quarter turns move pixels and change none.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .. import paths
from ..cache import code_hash, kept_tensors, key_of
from ..data.datasets import Split
from ..data.features import FEATURE_CODE, fixed_part
from ..data.pictures import to_batch
from ..statistics import evenly
from .cells import maps_of_features

if TYPE_CHECKING:
    from ..study import Study

QUARTERS = (1, 3)  # to the left and to the right; upside down costs a pass more and brings nothing
PER_CLASS = 8  # pictures that are turned: each costs two passes through the backbone, once for all studies of a set


class Turned(NamedTuple):
    """Cosines with the vectors of the own class in turned pictures, each map turned back to lie on the picture's."""

    pictures: np.ndarray  # (picture,): their numbers in the split
    maps: torch.Tensor  # (turn, picture, basis, height, width)


def turned_maps(study: "Study", split: Split) -> Turned:
    """Maps of the turned pictures of each class: `PER_CLASS` of them, spread evenly over the class's in the split.

    Features are kept by content among all features, so that studies with the same backbone and pictures share them.
    """
    members = (np.flatnonzero(split.labels == label) for label in range(len(study.class_names)))
    chosen = np.concatenate([its[evenly(len(its), PER_CLASS)] for its in members])
    shown = split.take(chosen)
    labels, maps = torch.from_numpy(shown.labels), []
    for quarters in QUARTERS:
        turned = maps_of_features(study, _features(study, shown, quarters), labels)
        maps.append(turned.rot90(-quarters, (2, 3)))
    return Turned(chosen, torch.stack(maps))


def _features(study, shown, quarters):
    """Features of the fixed part for turned pictures; the pictures themselves where nothing is fixed."""
    model, size = study.model, study.config.size

    def computed():
        pictures = to_batch(shown.paths, size).rot90(quarters, (2, 3)).contiguous()
        return {"features": fixed_part(model, pictures, model.device) if model.fixed_stages else pictures}

    if not model.fixed_stages:
        return computed()["features"]
    weights, code = model.backbone.fingerprint(model.fixed_stages), code_hash(*FEATURE_CODE)
    key = key_of("turned", weights, code, size, quarters, shown.hashes, model.device.type, torch.__version__)
    return kept_tensors(paths.CACHE / f"{key}.safetensors", computed)["features"]
