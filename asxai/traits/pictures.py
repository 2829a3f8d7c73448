"""Pictures."""

from typing import NamedTuple

import numpy as np
import torch

from ..concepts.cells import own_class_maps
from ..data.features import BATCH
from ..data.pictures import to_batch
from .inversion import invert
from .pca import row_centred_pca
from .pooled import Network


class TraitPictures(NamedTuple):
    """What concepts of a class have in common, as pictures."""

    names: tuple  # (concept,)
    pictures: np.ndarray  # uint8 (concept, size, size, 3)
    ratios: np.ndarray  # (concept,): share that the first component explains, mean over positions
    errors: np.ndarray  # (concept,): feature error of the inversion, see `asxai.traits.inversion`
    targets: torch.Tensor  # (concept, channel, height, width): what was inverted


def trait_pictures(study, concepts, class_name, pictures=40, crop=128, steps=None, seed=0):
    """`TraitPictures` of a class: row-centred PCA at every position (eqs. 7-9), and its inversion (eqs. 10, 11).

    From those training pictures in which a concept fires most strongly, windows of `crop` pixels around that place are
    cut; the first component at every position of their feature maps is turned into a picture. With whole pictures the
    concept would lie elsewhere in each, and a component per position show none.
    """
    label, train = study.label_of(class_name), study.data.train
    members, of_class = train.take(train.labels == label), concepts.of_class(label)
    best = concepts.exemplars(own_class_maps(study, members), members.labels, pictures)
    network, targets, ratios = Network(study.model), [], []
    for k in of_class - 1:
        found = best.pictures[label, k]
        chosen = to_batch([members.paths[i] for i in found[found >= 0]], study.config.size)
        windows = windows_around(chosen, best.points[label, k][found >= 0], crop)
        with torch.inference_mode():
            maps = [network(batch.to(study.model.feature_mean.device)).cpu() for batch in windows.split(BATCH)]
        common = row_centred_pca(torch.cat(maps), 1)
        targets.append(torch.from_numpy(common.trait).float())
        ratios.append(common.explained_variance_ratio[0].mean())
    targets = torch.stack(targets)
    result = invert(network, targets.to(study.model.feature_mean.device), crop, steps=steps, seed=seed,
                    desc=f"trait pictures, {class_name}")
    return TraitPictures(tuple(concepts.names[k - 1] for k in of_class), result.to_uint8(stretch=True),
                         np.array(ratios), result.feature_error.numpy(), targets)


def windows_around(pictures, points, side):
    """Windows of `side` pixels around `points` `(picture, 2)` from 0 to 1, moved inwards at the border of a picture."""
    size = pictures.shape[-1]
    corners = np.clip(np.round(points * size - side / 2), 0, size - side).astype(int)
    return torch.stack([picture[:, top:top + side, left:left + side]
                        for picture, (top, left) in zip(pictures, corners.tolist())])
