"""Common traits of a study's concepts: from masks and features to semantic vectors, and to A_s of other pictures.

    traits = common_traits(study, concept_regions(study, concepts))  # a ClassTraits per class
    other = common_traits(study, METHODS["superpixels"]().fit(study).regions)    # S-XAI's way, the same pipeline

Some training pictures of a class make its semantic vectors, and test pictures tell how specific these are. A_s of all
other pictures of the class is what the q-q plots show. Regions are a function of a class and pictures of it,
such as `asxai.concepts.masks.concept_regions` or the regions of any other method.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..data.datasets import spread_over
from .pca import row_centred_pca
from .pooled import POOLS, hidden_features, split_pooled
from .vectors import Normality, SemanticVector, concept_drops, normality, semantic_vector, weighted_activation

if TYPE_CHECKING:
    from ..study import Study


class Reader:
    """What A_s reads of pooled features `(2, ..., channel)`: one pool, in standard deviations, `(..., channel)`.

    pool: "max", as the network pools its own activation maps, or "mean", as in the published code, over which a concept
        of a twentieth of the picture is thinned out to a twentieth

    A channel counts in its standard deviations over the training pictures: by raw activations, channels of large
    numbers would make up all vectors.
    """

    def __init__(self, study: "Study", pool: str = "max"):
        self.pool, self.unit = list(POOLS).index(pool), study.model.feature_std.flatten().cpu()

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        return features[self.pool] / self.unit


@dataclass(frozen=True, eq=False)
class ClassTraits:
    """The semantic vectors of a class, and A_s of pictures that did not make them."""

    class_name: str
    names: tuple  # (concept,)
    vectors: list[SemanticVector]  # (concept,)
    unmasked: np.ndarray  # (picture, concept): A_s of whole test pictures
    removed: np.ndarray  # (removed concept, picture, measured concept): of the same without a concept
    held_out: np.ndarray  # (picture, concept): of all pictures of the class but those of the vectors
    reader: Reader  # how A_s reads pooled features

    def normality(self) -> list[Normality]:
        """`asxai.traits.vectors.normality` of A_s of each concept, over the held-out pictures."""
        return [normality(values) for values in self.held_out.T]

    def drops(self) -> np.ndarray:
        """Mean drop of A_s, `(removed, measured)`, in its standard deviations: `asxai.traits.vectors.concept_drops`."""
        return concept_drops(self.unmasked, self.removed)


def common_traits(
    study: "Study",
    regions: Callable,
    pictures: int = 60,
    measured: int = 100,
    top: int = 5,
    pool: str = "max",
    alone: bool = False,
    fill: str = "black",
    desc: str = "traits",
    hidden: Callable = hidden_features,
) -> list[ClassTraits]:
    """`ClassTraits` of each class of a study.

    regions: where the concepts are, see the module's docstring
    pictures: training pictures of a class that make its vectors, evenly spread
    measured: test pictures whose concepts are removed to see which A_s falls
    top: channels of a vector. pool: see `Reader`. fill: what hidden regions become, see `conceal`
    alone: whether pictures without a concept are compared with those of which only the concept is left, and not with
        whole pictures, as in the published code
    hidden: how concepts are hidden: in pictures, or in another way that takes and gives what `hidden_features` does

    A concept that is in none of the pictures that make vectors, or in none that are measured, is left out. Raises
    ValueError as `semantic_vector`.
    """
    reader, result = Reader(study, pool), []
    for label, class_name in enumerate(study.class_names):
        chosen, shown = (
            spread_over(split.take(split.labels == label), count)
            for split, count in ((study.data.train, pictures), (study.data.test, measured))
        )
        region, seen = regions(label, chosen), regions(label, shown)
        there = region.masks.flatten(2).any(2).any(0)
        names = tuple(name for name, some in zip(region.names, there) if some and name in seen.names)
        progress = f"{desc}, {class_name}"
        masks, shown_masks = (own.masks[:, [own.names.index(name) for name in names]] for own in (region, seen))
        removed = reader(hidden(study, chosen, masks, False, fill, progress))
        if alone:
            kept = reader(hidden(study, chosen, masks, True, fill, progress))
        else:
            kept = reader(split_pooled(study, chosen)).expand_as(removed)
        without = reader(hidden(study, shown, shown_masks, False, fill, progress))
        vectors = [semantic_vector(*pair, top) for pair in zip(kept, removed)]
        unmasked = weighted_activation(reader(split_pooled(study, shown)), vectors)
        activations = np.stack([weighted_activation(own, vectors) for own in without])
        held_out = weighted_activation(_held_out(study, label, chosen, reader), vectors)
        result.append(ClassTraits(class_name, names, vectors, unmasked, activations, held_out, reader))
    return result


def _held_out(study, label, used, reader):
    """Features of all pictures of a class but those training pictures that are used, `(picture, channel)`."""
    train, test, validation = study.data.train, study.data.test, study.data.validation
    left = train.take((train.labels == label) & ~np.isin(train.hashes, used.hashes))
    splits = (left, *(split.take(split.labels == label) for split in (test, validation)))
    return torch.cat([reader(split_pooled(study, split)) for split in splits if len(split)])


def kept_variance(study: "Study", regions: Callable, pictures=40, k=10, fill="black") -> list[tuple]:
    """Share that each of k components explains of pictures with only the concept left: per class `(names, ratios)`.

    ratios: `(concept, k)`, eq. 9; fewer than k components where there are fewer pictures.
    """
    reader, train, result = Reader(study), study.data.train, []
    for label, class_name in enumerate(study.class_names):
        chosen = spread_over(train.take(train.labels == label), pictures)
        region = regions(label, chosen)
        kept = reader(hidden_features(study, chosen, region.masks, True, fill, f"concepts alone, {class_name}"))
        ratios = [row_centred_pca(own, min(k, len(chosen))).explained_variance_ratio for own in kept]
        result.append((region.names, np.stack(ratios)))
    return result
