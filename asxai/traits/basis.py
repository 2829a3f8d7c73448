"""How pictures of a concept differ: the picture of its trait, moved along principal components and blended from a few.

    basis = trait_basis(study, concepts, class_name, concept)   # some inversions, once; then kept in the study's folder
    moved = moved_traits(study, basis, [[0, 2, -1]])            # a blend and a few quick steps: (1, 3, side, side)
    highest, lowest = basis.ends([0, 2, -1])                    # numbers of pictures, see basis.windows
    quick_errors(study, basis, [[0, 2, -1]])                    # what that costs against a whole inversion
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from .. import paths
from ..cache import code_hash
from ..concepts.cells import own_class_maps
from ..data.features import BATCH, FEATURE_CODE
from ..data.pictures import to_batch
from .inversion import BETAS, LEARNING_RATE, METHODS, invert, objective
from .pca import row_centred_pca
from .pictures import windows_around
from .pooled import Network

LIMIT = 3.0  # standard deviations of a weight over pictures, either way
QUICK_STEPS = 8  # of inversion after a blend: a tenth of a whole one, for half of what it gains


@dataclass(frozen=True, eq=False)
class TraitBasis:
    """What a concept's pictures have in common and how they differ, ready to be blended. Made by `trait_basis`."""

    class_name: str
    concept: str
    features: torch.Tensor  # (1 + component, channel, height, width): the trait, then a standard deviation of each
    logits: torch.Tensor  # (1 + 2 * component, 3, side, side): inverted trait; with each component at -3, and at 3
    scores: np.ndarray  # (picture, component): weight of each component in each picture, standardised
    ratios: np.ndarray  # (component,): share of the variance that it explains, eq. 9
    errors: np.ndarray  # (1 + 2 * component,): feature error that the inversion left, see `asxai.traits.inversion`
    windows: np.ndarray  # uint8 (picture, side, side, 3): what the components are of

    @property
    def components(self):
        return len(self.ratios)

    def target(self, weights):
        """Features of the trait with components at `weights` `(component,)` standard deviations."""
        return self.features[0] + torch.einsum("k,kchw->chw", self._checked(weights), self.features[1:])

    def blend(self, weights):
        """Where to start looking for the picture of `target`: logits of pixels `(3, side, side)`.

        Each component contributes its share of the way to the picture with that component alone at -3 or 3. Their
        features do not add up like their pixels: where several components move, the result is no more than a start.
        """
        weights = self._checked(weights)
        sides = self.logits[1:].float().unflatten(0, (-1, 2))  # (component, below or above, 3, side, side)
        chosen = sides[torch.arange(self.components), (weights > 0).long()]
        way = (weights.abs() / LIMIT)[:, None, None, None]
        return (self.logits[0] + (way * (chosen - self.logits[0])).sum(dim=0))

    def along(self, weights):
        """How far each picture goes along `weights`, `(picture,)`: the projection of its own standardised weights.

        With all weights at 0, its weight of the first component.
        """
        weights = self._checked(weights).numpy()
        direction = weights if weights.any() else np.eye(self.components)[0]
        return self.scores @ (direction / np.linalg.norm(direction))

    def ends(self, weights, count=4):
        """The pictures that go furthest along `weights`, and the other way: numbers, the furthest first."""
        order = np.argsort(self.along(weights), kind="stable")
        return order[::-1][:count], order[:count]

    def _checked(self, weights):
        weights = torch.as_tensor(weights, dtype=torch.float32)
        if weights.shape != (self.components,) or not (weights.abs() <= LIMIT).all():
            raise ValueError(f"weights={weights.tolist()} must be {self.components} numbers from {-LIMIT:g} to "
                             f"{LIMIT:g}, one per component")
        return weights


def trait_components(features, components=3):
    """Row-centred PCA of whole feature maps: `(trait and deviations, scores, ratios)`.

    features: `(picture, channel, height, width)`, at least 2 pictures

    All positions go into one decomposition W = sum_k U_k (W' U_k)' (eqs. 7-9), so that a picture has one weight per
    component, and not one at each position. The trait is sum_k mean(U_k) W' U_k, a deviation std(U_k) W' U_k, both of
    the shape of one picture's features, together `(1 + component, channel, height, width)`; scores, `(picture,
    component)`, are the weights U_k less their mean, over their standard deviation. At most as many components as there
    are pictures. Raises ValueError as `row_centred_pca`.
    """
    features = torch.as_tensor(features).double()
    flat = features.flatten(1)
    count = min(components, len(flat))
    found = row_centred_pca(flat, count)
    centred = torch.from_numpy(row_centred_pca(flat, count, centred=True).components)
    rows = flat - flat.mean(dim=1, keepdim=True)
    weights = rows @ centred.T / centred.square().sum(dim=1).clamp(min=1e-300)  # U, (picture, component)
    mean, deviation = weights.mean(dim=0), weights.std(dim=0, correction=0)
    directions = torch.from_numpy(found.components)
    parts = torch.cat([(mean @ directions)[None], deviation[:, None] * directions])
    scores = (weights - mean) / deviation.clamp(min=1e-12)
    return parts.float().unflatten(1, features.shape[1:]), scores.numpy(), found.explained_variance_ratio


def trait_basis(study, concepts, class_name, concept, components=3, pictures=40, side=128, steps=100, seed=0):
    """The `TraitBasis` of a concept of a class, computed once and kept in the study's folder.

    class_name, concept: names. pictures: windows of `side` pixels around the places of training pictures where the
    concept fires most strongly, as in `asxai.traits.pictures.trait_pictures`. components: as far as there are pictures.
    steps, seed: of the inversions, of which there are 1 + 2 * components.

    Raises ValueError for a class or a concept that is not there, and where it fires in fewer than 2 pictures.
    """
    label, number = _numbers(concepts, class_name, concept)
    side = min(side, study.config.size)
    code = code_hash(*FEATURE_CODE, "concepts", "traits")
    key = [code, class_name, number, concepts.members.tolist(), components, pictures, side, steps, seed,
           torch.__version__]
    name = f"{paths.slug(class_name)}-{number}-{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}.safetensors"
    path = study.folder / "traits" / name
    if not path.exists():
        network, device = Network(study.model), study.model.feature_mean.device
        windows = _exemplar_windows(study, concepts, label, number, pictures, side)
        with torch.inference_mode():
            maps = torch.cat([network(batch.to(device)).cpu() for batch in windows.split(BATCH)])
        features, scores, ratios = trait_components(maps, components)
        targets = torch.cat([features[:1], *(features[:1] + sign * LIMIT * own for own in features[1:, None]
                                             for sign in (-1, 1))])
        found = invert(network, targets.to(device), side, steps=steps, seed=seed,
                       desc=f"trait, {class_name}, {concept}")
        values = {"features": features, "logits": found.pictures.clamp(1e-3, 1 - 1e-3).logit().half(),
                  "scores": torch.from_numpy(scores), "ratios": torch.from_numpy(ratios.copy()),
                  "errors": found.feature_error, "windows": windows.permute(0, 2, 3, 1).contiguous()}
        paths.write_atomically(path, lambda temporary: save_file(values, temporary))
    values = load_file(path)
    return TraitBasis(class_name, concept, values["features"], values["logits"],
                      *(values[name].numpy() for name in ("scores", "ratios", "errors", "windows")))


def _numbers(concepts, class_name, concept):
    """Label of a class and number of a concept that it has."""
    if class_name not in concepts.class_names:
        raise ValueError(f"class_name={class_name!r} is none of {', '.join(concepts.class_names)}")
    label = concepts.class_names.index(class_name)
    own = {concepts.names[k - 1]: int(k) for k in concepts.of_class(label)}
    if concept not in own:
        raise ValueError(f"concept={concept!r} is none of the concepts of {class_name!r}: {', '.join(own)}")
    return label, own[concept]


def _exemplar_windows(study, concepts, label, number, pictures, side):
    """uint8 `(picture, 3, side, side)` around the places where a concept fires most, the strongest first."""
    members = study.data.train.take(study.data.train.labels == label)
    best = concepts.exemplars(own_class_maps(study, members), members.labels, pictures)
    found = best.pictures[label, number - 1]
    chosen = to_batch([members.paths[i] for i in found[found >= 0]], study.config.size)
    return windows_around(chosen, best.points[label, number - 1][found >= 0], side)


def moved_traits(study, basis, weights, steps=QUICK_STEPS):
    """Pictures in 0..1 of the trait with components at `weights` `(weights, component)`: `(weights, 3, side, side)`.

    A blend, then a few steps of the fast inversion towards `TraitBasis.target`, without jitter. 0 steps: the blend.
    """
    device = study.model.feature_mean.device
    targets = torch.stack([basis.target(own) for own in weights]).to(device)
    logits = torch.stack([basis.blend(own) for own in weights]).to(device)
    with torch.enable_grad():
        painter = METHODS["fast"](targets, logits.shape[-1], max(steps, 1), seed=0)
        painter.leaf = _waves(painter, logits)
        painter.adam = torch.optim.Adam([painter.leaf], lr=LEARNING_RATE, betas=BETAS)
        for step in range(steps):
            total = objective(Network(study.model), painter.pictures(), targets).total.sum()
            painter.move(torch.autograd.grad(total, painter.leaf)[0], step)
    return painter.pictures().detach().cpu()


def quick_errors(study, basis, weights, steps=100, seed=0):
    """What quick pictures cost: a row per weights with the feature errors of three pictures against `target`.

    weights: `(weights, component)`. Columns: `unmoved` (the trait's own picture, as if no slider had been moved),
    `quick` (of `moved_traits`) and `whole` (an inversion of its own, with as many steps as those of the basis).
    """
    network, device = Network(study.model), study.model.feature_mean.device
    targets = torch.stack([basis.target(own) for own in weights]).to(device)
    shown = {"unmoved": basis.logits[:1].float().sigmoid().expand(len(targets), -1, -1, -1),
             "quick": moved_traits(study, basis, weights),
             "whole": invert(network, targets, basis.logits.shape[-1], steps=steps, seed=seed,
                             desc="whole inversions").pictures}
    with torch.inference_mode():
        return pd.DataFrame({name: objective(network, pictures.to(device), targets).feature_error.cpu().numpy()
                             for name, pictures in shown.items()})


def _waves(painter, logits):
    """The leaf at which a painter of the fast method shows the sigmoid of `logits` `(target, 3, side, side)`."""
    colours = torch.einsum("kc,tchw->tkhw", torch.linalg.inv(painter.colours), logits)
    waves = torch.fft.rfft2(colours, norm="forward") / painter.amplitude
    return torch.view_as_real(waves).contiguous().requires_grad_()
