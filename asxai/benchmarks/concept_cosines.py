"""Concept_cosines."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..concepts.cells import maps_of_features
from ..data.features import BATCH
from ..statistics import bootstrap, evenly
from ..traits.vectors import ClassTraits, semantic_vector, weighted_activation


class Places(NamedTuple):
    """Where the concepts of a class are on the feature maps of some of its pictures."""

    names: tuple  # (concept,)
    maps: torch.Tensor  # (picture, channel, height, width): of the backbone, in standard deviations of each channel
    cells: torch.Tensor  # bool (picture, concept, height, width)
    chosen: np.ndarray  # (picture,): indices in the split


@torch.inference_mode()
def places(arm, split, label, count):
    """`Places` in at most `count` pictures of a class, evenly spread over those of a split of the data set.

    A concept of the network is where its cosine reaches the `percentile` of its map, another region is in the cells of
    which it covers half, and in the one that it covers most.
    """
    study, members = arm.study, np.flatnonzero(split.labels == label)
    chosen = members[evenly(len(members), count)]
    features, device = study.features(split)[0][torch.from_numpy(chosen)], study.model.feature_mean.device
    maps = torch.cat([study.model.backbone_map(b.to(device)) / study.model.feature_std for b in features.split(BATCH)])
    if arm.concepts is None:
        names, masks = arm.regions(label, split.take(chosen))
        cells = covered(masks, maps.shape[2:])
    else:
        own, of_class = maps_of_features(study, features, torch.from_numpy(split.labels[chosen])), arm.concepts.of_class(label)
        names = tuple(arm.concepts.names[k - 1] for k in of_class)
        cells = arm.concepts.masks(own, split.labels[chosen], own.shape[-1], arm.percentile)[:, of_class - 1]
    return Places(names, maps.cpu(), cells, chosen)


def covered(masks, grid):
    """Cells of which a mask covers half, and the one that it covers most: bool `(..., size, size)` to `(..., *grid)`.

    An empty mask has no cell.
    """
    share = F.adaptive_avg_pool2d(masks.flatten(0, -3).float(), tuple(grid)).view(*masks.shape[:-2], *grid)
    most = share.amax(dim=(-2, -1), keepdim=True)
    return (share > 0) & ((share >= 0.5) | (share == most))


@torch.inference_mode()
def hidden(found):
    """Features pooled by their maximum with each concept hidden, `(concept, picture, channel)`.

    In the cells of a hidden concept every channel has its lowest value in that picture.
    """
    lowest = found.maps.amin(dim=(2, 3), keepdim=True)
    return torch.stack([torch.where(cells[:, None], lowest, found.maps).amax(dim=(2, 3))
                        for cells in found.cells.unbind(dim=1)])


@torch.inference_mode()
def concept_features(arm, found):
    """Mean feature of each concept's cells in every picture, `(concept, picture, channel)`; NaN where it is not seen.

    In standard deviations from the mean patch of the training pictures, as the network itself reads them.
    """
    offset = (arm.study.model.feature_mean / arm.study.model.feature_std).flatten().cpu()
    cells = found.cells.flatten(2).float()  # (picture, concept, cell)
    sums = torch.einsum("pkn,pcn->kpc", cells, found.maps.flatten(2))
    return sums / cells.sum(dim=2).T[..., None] - offset


class ConceptCosines(NamedTuple):
    """How alike the concepts of a class are: Figure 7a, b."""

    class_name: str
    names: tuple  # (concept,)
    cosines: np.ndarray  # (concept, concept), in [-1, 1]; 0 is orthogonal
    features: np.ndarray  # (concept, picture, channel), of which they are


def concept_cosines(arm, pictures=80):
    """`ConceptCosines` of each class over at most `pictures` test pictures, the paper's N_s.

    Section 3.5 extracts concepts from N_s pictures "for orthogonality calculation" and does not say of what. Here it is
    the cosine of two concepts' mean features (`concept_features`): features of the backbone, which all arms share, and
    which regions that are not the network's have as well, relative to the mean patch, without which positive features
    are all alike. 0: what sets one concept off from the mean patch says nothing about the other.
    """
    result = []
    for label, class_name in enumerate(arm.study.class_names):
        found = places(arm, arm.study.data.test, label, pictures)
        features = concept_features(arm, found).double().numpy()
        seen = ~np.isnan(features[..., 0]).all(axis=1)
        names = tuple(name for name, own in zip(found.names, seen) if own)
        result.append(ConceptCosines(class_name, names, _cosines(np.nanmean(features[seen], axis=1)), features[seen]))
    return result


def _cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit @ unit.swapaxes(-2, -1)


def off_diagonal(found, draws=200, seed=0):
    """Mean |cosine| of two different concepts of a class, over classes, and its bootstrap interval over pictures.

    found: of `concept_cosines`. Classes of a single concept do not count; NaN where there is no other.
    """
    found = [own for own in found if len(own.names) > 1]
    if not found:
        return np.nan, np.nan, np.nan
    labels = np.repeat(np.arange(len(found)), [own.features.shape[1] for own in found])

    def statistic(weights):
        values = []
        for label, own in enumerate(found):
            seen, features = ~np.isnan(own.features[..., 0]), np.nan_to_num(own.features)
            counted = weights[:, None, labels == label] * seen  # (draw, concept, picture)
            with np.errstate(invalid="ignore"):  # a draw without any picture of a concept: NaN, which is left out
                means = np.einsum("dkp,kpc->dkc", counted, features) / counted.sum(axis=2)[..., None]
            values.append(_mean_off(_cosines(means)))
        return np.mean(values, axis=0)

    low, high = bootstrap(statistic, labels, draws, seed)
    return float(np.mean([_mean_off(own.cosines) for own in found])), float(low), float(high)


def _mean_off(cosines):
    count = cosines.shape[-1]
    return np.abs(cosines)[..., ~np.eye(count, dtype=bool)].mean(axis=-1)


def cell_traits(arm, pictures=80, measured=80, top=5):
    """`asxai.traits.vectors.ClassTraits` of each class, with concepts hidden on feature maps instead of pictures.

    The rest is as in `asxai.traits.vectors.common_traits` with its defaults: semantic vectors from training pictures,
    A_s of test pictures with and without each concept, and of all pictures that did not make the vectors.
    """
    study, result = arm.study, []
    for label, class_name in enumerate(study.class_names):
        made, seen = (places(arm, split, label, count) for split, count in
                      ((study.data.train, pictures), (study.data.test, measured)))
        names = [name for name, own in zip(made.names, made.cells.flatten(2).any(2).any(0))
                 if own and name in seen.names]
        made, seen = (own._replace(cells=own.cells[:, [own.names.index(name) for name in names]])
                      for own in (made, seen))
        whole, shown = (own.maps.amax(dim=(2, 3)) for own in (made, seen))
        vectors = [semantic_vector(whole, without, top) for without in hidden(made)]
        rest = _rest(study, label, made.chosen)
        result.append(ClassTraits(class_name, tuple(names), vectors, weighted_activation(shown, vectors),
                                  np.stack([weighted_activation(own, vectors) for own in hidden(seen)]),
                                  weighted_activation(rest, vectors), None))
    return result


@torch.inference_mode()
def _rest(study, label, used):
    """Pooled features of all pictures of a class but those training pictures that are used, `(picture, channel)`."""
    pooled = []
    for split in (study.data.train, study.data.test, study.data.validation):
        members = np.flatnonzero(split.labels == label)
        members = np.setdiff1d(members, used) if split is study.data.train else members
        features = study.features(split)[0][torch.from_numpy(members)]
        pooled += [(study.model.backbone_map(batch.to(study.model.feature_std.device)) / study.model.feature_std
                    ).amax(dim=(2, 3)).cpu() for batch in features.split(BATCH)]
    return torch.cat(pooled)
