"""How pictures of a concept differ: the picture of its trait, moved along principal components and blended from a few.

basis = trait_basis(study, concepts, class_name, concept)   # some inversions, once; then kept in the study's folder
moved = moved_traits(study, basis, [[0, 2, -1]])            # a blend and a few quick steps: (1, 3, side, side)
highest, lowest = basis.ends([0, 2, -1])                    # numbers of pictures, see basis.windows
quick_errors(study, basis, [[0, 2, -1]])                    # what that costs against a whole inversion
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from .. import paths
from ..cache import code_hash, kept_tensors, key_of
from ..concepts.concepts import Concepts
from ..data.features import FEATURE_CODE
from .inversion import Waves, invert, objective
from .pca import row_centred_pca
from .pictures import exemplar_windows
from .pooled import Network

if TYPE_CHECKING:
    from ..study import Study

LIMIT = 3.0  # standard deviations of a weight over pictures, either way
QUICK_STEPS = 8  # of inversion after a blend: a tenth of a whole one, for half of what it gains


@dataclass(frozen=True, eq=False)
class TraitBasis:
    """What a concept's pictures have in common and how they differ, ready to be blended. Made by `trait_basis`.

    Methods take `weights`, standard deviations of each component from -3 to 3.
    """

    class_name: str
    concept: str
    features: torch.Tensor  # (1 + component, channel, height, width): the trait, then a standard deviation of each
    logits: torch.Tensor  # (1 + 2 * component, 3, side, side): inverted trait; with each component at -3, and at 3
    scores: np.ndarray  # (picture, component): weight of each component in each picture, standardised
    ratios: np.ndarray  # (component,): share of the variance that it explains, eq. 9
    errors: np.ndarray  # (1 + 2 * component,): feature error that the inversion left, see `asxai.traits.inversion`
    windows: np.ndarray  # uint8 (picture, side, side, 3): what the components are of

    @property
    def components(self) -> int:
        return len(self.ratios)

    def target(self, weights) -> torch.Tensor:
        """Features of the trait with components at `weights`, `(channel, height, width)`."""
        weights = torch.as_tensor(weights, dtype=torch.float32)
        return self.features[0] + torch.einsum("k,kchw->chw", weights, self.features[1:])

    def blend(self, weights) -> torch.Tensor:
        """Where to start looking for the picture of `target`: logits of pixels `(3, side, side)`.

        Each component contributes its share of the way to the picture with that component alone at -3 or 3. Their
        features do not add up like their pixels: where several components move, the result is no more than a start.
        """
        weights = torch.as_tensor(weights, dtype=torch.float32)
        sides = self.logits[1:].float().unflatten(0, (-1, 2))  # (component, below or above, 3, side, side)
        chosen = sides[torch.arange(self.components), (weights > 0).long()]
        way = (weights.abs() / LIMIT)[:, None, None, None]
        return self.logits[0] + (way * (chosen - self.logits[0])).sum(dim=0)

    def along(self, weights) -> np.ndarray:
        """How far each picture goes along `weights`, `(picture,)`: the projection of its own standardised weights.

        With all weights at 0, its weight of the first component.
        """
        weights = np.asarray(weights, dtype=np.float32)
        direction = weights if weights.any() else np.eye(self.components)[0]
        return self.scores @ (direction / np.linalg.norm(direction))

    def ends(self, weights, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
        """The pictures that go furthest along `weights`, and the other way: numbers, the furthest first."""
        order = np.argsort(self.along(weights), kind="stable")
        return order[::-1][:count], order[:count]


def trait_components(features: torch.Tensor, components: int = 3) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Row-centred PCA of whole feature maps: `(trait and deviations, scores, ratios)`.

    features: `(picture, channel, height, width)`, at least 2 pictures

    All positions go into one decomposition W = sum_k U_k (W' U_k)' (eqs. 7-9), so that a picture has one weight per
    component, and not one at each position. The trait is sum_k mean(U_k) W' U_k, a deviation std(U_k) W' U_k, both of
    the shape of one picture's features, together `(1 + component, channel, height, width)`; scores, `(picture,
    component)`, are the weights U_k less their mean, over their standard deviation. At most as many components as there
    are pictures. Raises ValueError as `row_centred_pca`.
    """
    flat = features.double().flatten(1)
    count = min(components, len(flat))
    plain, centred = row_centred_pca(flat, count), row_centred_pca(flat, count, centred=True)
    directions, of_rows = torch.from_numpy(plain.components), torch.from_numpy(centred.components)
    rows = flat - flat.mean(dim=1, keepdim=True)
    weights = rows @ of_rows.T / of_rows.square().sum(dim=1).clamp(min=1e-300)  # U, (picture, component)
    mean, deviation = weights.mean(dim=0), weights.std(dim=0, correction=0)
    parts = torch.cat([(mean @ directions)[None], deviation[:, None] * directions])
    scores = (weights - mean) / deviation.clamp(min=1e-12)
    return parts.float().unflatten(1, features.shape[1:]), scores.numpy(), plain.explained_variance_ratio


def trait_basis(
    study: "Study", concepts: Concepts, class_name, concept, components=3, pictures=40, side=128, steps=100, seed=0
) -> TraitBasis:
    """The `TraitBasis` of a concept of a class, computed once and kept in the study's folder.

    class_name, concept: names. pictures: windows of `side` pixels around the places of training pictures where the
    concept fires most strongly, as in `asxai.traits.pictures.trait_pictures`. components: as far as there are pictures.
    steps, seed: of the inversions, of which there are 1 + 2 * components.

    Raises ValueError for a class or a concept that is not there, and where it fires in fewer than 2 pictures.
    """
    label = study.label_of(class_name)
    numbers = {concepts.names[k - 1]: int(k) for k in concepts.of_class(label)}
    if concept not in numbers:
        raise ValueError(f"concept={concept!r} is none of the concepts of {class_name!r}: {', '.join(numbers)}")
    number, side = numbers[concept], min(side, study.config.size)

    def compute():
        [windows] = exemplar_windows(study, concepts, label, [number], pictures, side)
        network = Network(study.model)
        features, scores, ratios = trait_components(network.maps(windows), components)
        trait, deviations = features[:1], LIMIT * features[1:, None]
        targets = torch.cat([trait, *(trait + sign * own for own in deviations for sign in (-1, 1))])
        result = invert(network, targets, side, steps=steps, seed=seed, desc=f"trait, {class_name}, {concept}")
        return {
            "features": features,
            "logits": result.pictures.clamp(1e-3, 1 - 1e-3).logit().half(),
            "scores": torch.from_numpy(scores),
            "ratios": torch.from_numpy(ratios),
            "errors": result.feature_error,
            "windows": windows.permute(0, 2, 3, 1),
        }

    code = code_hash(*FEATURE_CODE, "concepts", "traits")
    options = (components, pictures, side, steps, seed, torch.__version__)
    key = key_of(code, class_name, number, concepts.members.tolist(), *options)
    name = f"{paths.slug(class_name)}-{number}-{key[:12]}.safetensors"
    values = kept_tensors(study.folder / "traits" / name, compute)
    arrays = {name: values[name].numpy() for name in ("scores", "ratios", "errors", "windows")}
    return TraitBasis(class_name, concept, values["features"], values["logits"], **arrays)


def moved_traits(study: "Study", basis: TraitBasis, weights, steps: int = QUICK_STEPS) -> torch.Tensor:
    """Pictures in 0..1 of the trait with components at `weights` `(weights, component)`: `(weights, 3, side, side)`.

    A blend, then a few steps of the fast inversion towards `TraitBasis.target`, without jitter. 0 steps: the blend.
    """
    network, device = Network(study.model), study.model.feature_mean.device
    targets = torch.stack([basis.target(own) for own in weights]).to(device)
    start = torch.stack([basis.blend(own) for own in weights]).to(device)
    with torch.enable_grad():
        painter = Waves(targets, start.shape[-1], max(steps, 1), start=start)
        for step in range(steps):
            total = objective(network, painter.pictures(), targets).total.sum()
            painter.move(torch.autograd.grad(total, painter.leaf)[0], step)
    return painter.pictures().detach().cpu()


def quick_errors(study: "Study", basis: TraitBasis, weights, steps: int = 100, seed: int = 0) -> pd.DataFrame:
    """What quick pictures cost: a row per weights with the feature errors of three pictures against `target`.

    weights: `(weights, component)`. Columns: `unmoved` (the trait's own picture, as if no slider had been moved),
    `quick` (of `moved_traits`) and `whole` (an inversion of its own, with as many steps as those of the basis).
    """
    network, device = Network(study.model), study.model.feature_mean.device
    targets = torch.stack([basis.target(own) for own in weights]).to(device)
    whole = invert(network, targets, basis.logits.shape[-1], steps=steps, seed=seed, desc="whole inversions")
    pictures = {
        "unmoved": basis.logits[:1].float().sigmoid().expand(len(targets), -1, -1, -1),
        "quick": moved_traits(study, basis, weights),
        "whole": whole.pictures,
    }
    with torch.inference_mode():
        errors = {name: objective(network, own.to(device), targets).feature_error for name, own in pictures.items()}
    return pd.DataFrame({name: values.cpu().numpy() for name, values in errors.items()})
