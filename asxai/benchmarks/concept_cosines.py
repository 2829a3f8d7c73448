"""How alike the concepts of a class are (Figure 7a, b), and their traits, both on the cells of feature maps.

found = concept_cosines(method, study)     # a ConceptCosines per class
off_diagonal(found)                        # mean |cosine| and its interval
traits = cell_traits(method, study)        # as asxai.traits.common.common_traits, without a pass through the backbone
"""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..methods.base import Method, backbone_grid, backbone_maps, fitted
from ..statistics import bootstrap, evenly
from ..traits.common import ClassTraits, common_traits
from ..traits.pooled import POOLS

if TYPE_CHECKING:
    from ..study import Study


class Places(NamedTuple):
    """Where the concepts of a class are on the feature maps of some of its pictures."""

    names: tuple  # (concept,)
    maps: torch.Tensor  # (picture, channel, height, width): of the backbone, in standard deviations of each channel
    cells: torch.Tensor  # bool (picture, concept, height, width)


def places(method: Method, study: "Study", split, label: int, count: int) -> Places:
    """`Places` in at most `count` pictures of a class, evenly spread over those of a split of the data set."""
    members = np.flatnonzero(split.labels == label)
    chosen = split.take(members[evenly(len(members), count)])
    maps = backbone_maps(study, chosen) / study.model.feature_std.cpu()
    names, cells = fitted(method, study).regions(label, chosen, maps.shape[-1])
    return Places(names, maps, cells)


def concept_features(study: "Study", found: Places) -> torch.Tensor:
    """Mean feature of each concept's cells in every picture, `(concept, picture, channel)`; NaN where it is not seen.

    In standard deviations from the mean patch of the training pictures, as the network itself reads them.
    """
    offset = (study.model.feature_mean / study.model.feature_std).flatten().cpu()
    cells = found.cells.flatten(2).float()  # (picture, concept, cell)
    sums = torch.einsum("pkn,pcn->kpc", cells, found.maps.flatten(2))
    return sums / cells.sum(dim=2).T[..., None] - offset


class ConceptCosines(NamedTuple):
    """How alike the concepts of a class are: Figure 7a, b."""

    class_name: str
    names: tuple  # (concept,)
    cosines: np.ndarray  # (concept, concept), in [-1, 1]; 0 is orthogonal
    features: np.ndarray  # (concept, picture, channel), of which they are


def concept_cosines(method: str | Method, study: "Study", pictures: int = 80) -> list[ConceptCosines]:
    """`ConceptCosines` of each class over at most `pictures` test pictures, the paper's N_s.

    Section 3.5 extracts concepts from N_s pictures "for orthogonality calculation" and does not say of what. Here it is
    the cosine of two concepts' mean features (`concept_features`): features of the backbone, which all methods share,
    relative to the mean patch, without which positive features are all alike. 0: what sets one concept off from the
    mean patch says nothing about the other.
    """
    result = []
    for label, class_name in enumerate(study.class_names):
        found = places(method, study, study.data.test, label, pictures)
        features = concept_features(study, found).double().numpy()
        result.append(ConceptCosines(class_name, found.names, _cosines(np.nanmean(features, axis=1)), features))
    return result


def _cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit @ unit.swapaxes(-2, -1)


def off_diagonal(found: list[ConceptCosines]) -> tuple[float, float, float]:
    """Mean |cosine| of two different concepts of a class, over classes, and its bootstrap interval over pictures.

    Classes of a single concept do not count; NaN where there is no other.
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

    low, high = bootstrap(statistic, labels, 200)
    return float(np.mean([_mean_off(own.cosines) for own in found])), float(low), float(high)


def _mean_off(cosines):
    count = cosines.shape[-1]
    return np.abs(cosines)[..., ~np.eye(count, dtype=bool)].mean(axis=-1)


def cell_traits(method: str | Method, study: "Study", pictures: int = 80, measured: int = 80) -> list[ClassTraits]:
    """`asxai.traits.common.common_traits`, with concepts hidden on feature maps instead of in pictures."""
    regions = partial(fitted(method, study).regions, size=backbone_grid(study))
    return common_traits(study, regions, pictures, measured, hidden=hidden_cells)


def hidden_cells(study: "Study", split, cells: torch.Tensor, *_) -> torch.Tensor:
    """Pooled features with each concept hidden, `(2, concept, picture, channel)`, as of `hidden_features`.

    In the cells of a hidden concept, bool `(picture, concept, height, width)`, every channel has its lowest value in
    that picture.
    """
    maps = backbone_maps(study, split)
    lowest = maps.amin(dim=(2, 3), keepdim=True)
    hidden = [torch.where(own[:, None], lowest, maps) for own in cells.unbind(dim=1)]
    return torch.stack([torch.stack([pool(own) for own in hidden]) for pool in POOLS.values()])
