"""Ranks of the filters of a study's layers, and how much each filter overlaps the concepts, in real pictures."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from ..data.datasets import Split, spread_over
from ..data.features import BATCH
from ..data.pictures import to_batch
from ..progress import bar
from .ranks import (
    Ranks,
    Sensitivity,
    Votes,
    by_overlap,
    overlaps,
    ranks_of,
    sensitivity,
    singular_values,
    usual_tolerance,
    vote,
)

if TYPE_CHECKING:
    from ..study import Study

LAST = {"last added": "add_on.3"}  # the layer whose R_s weighs explanations
GRID = 42  # side of the grid on which filters' and concepts' masks are compared: two cells to one of the last layer
TOLERANCE = 1e-2  # of ranks: orders of concepts in training pictures repeat better than by matrix_rank's (notebook 04)
NUMERICAL, EFFECTIVE = "numerical", "effective"  # kinds of rank


@dataclass(frozen=True, eq=False)
class LayerRanks:
    """Filters of a layer on pictures of one class."""

    class_name: str
    layer: str
    names: tuple  # (concept,)
    values: np.ndarray  # singular values of each filter's map, (picture, filter, min(height, width)), largest first
    tolerance: float  # share of the largest that others must exceed to count
    usual: float  # the same by `asxai.ranks.ranks.usual_tolerance`
    iou: np.ndarray  # (picture, filter, concept): overlap of where a filter fires with where a concept is
    activation: np.ndarray  # (picture, filter): mean over the map
    module: str = ""  # the layer's name in the network
    shown: Split | None = None  # the pictures

    @property
    def ranks(self) -> Ranks:
        """`Ranks` of each filter's map, `(picture, filter)`."""
        return ranks_of(self.values, self.tolerance)

    def votes(self) -> Votes:
        """Which concept each filter extracts, see `asxai.ranks.ranks.vote`."""
        return vote(self.iou)

    def sensitivity(self, kind: str = NUMERICAL) -> Sensitivity:
        """R_s (eq. 6) by a kind of `ranks`, see `asxai.ranks.ranks.sensitivity`; eq. 13 takes the numerical."""
        return sensitivity(getattr(self.ranks, kind), by_overlap(self.iou))


def layers(study: "Study", stages: int = 3) -> dict[str, str]:
    """Layers by what they are called here, from early to late: the last stages of the backbone, both added ones."""
    names = {f"stage {name}": f"backbone.stages.{name}" for name in study.model.backbone.stage_names[-stages:]}
    return {**names, "first added": "add_on.1", **LAST}


def layer_ranks(
    study: "Study", regions: Callable, split: Split, names=None, pictures=100, percentile=95.0, tolerance=TOLERANCE
) -> list[LayerRanks]:
    """`LayerRanks` of each class and layer, classes outermost.

    regions: where the concepts are, a function such as `asxai.concepts.masks.concept_regions` gives
    names: of layers, `{what it is called: its name in the network}`; None: `layers(study)`. Without stages of the fixed
        part, as with `LAST`, cached features are enough: seconds
    pictures: of a class, evenly spread over the split
    percentile: above which filters fire, as in `asxai.ranks.ranks.overlaps`
    tolerance: as in `asxai.ranks.ranks.ranks_of`; None: `usual_tolerance`

    A concept that is in none of the pictures is left out. Raises ValueError for a layer that the network lacks.
    """
    names, result = layers(study) if names is None else names, []
    for label, class_name in enumerate(study.class_names):
        shown = spread_over(split.take(split.labels == label), pictures)
        region = regions(label, shown)
        seen = region.masks.flatten(2).any(2).any(0)
        concepts = tuple(name for name, visible in zip(region.names, seen) if visible)
        masks = F.interpolate(region.masks[:, seen].float(), size=(GRID, GRID), mode="nearest") > 0.5
        parts, usual = {layer: [] for layer in names}, {}
        for start, outputs in recorded_maps(study, shown, names.values(), f"ranks, {class_name}"):
            for layer, name in names.items():
                maps = outputs[name]
                usual[layer] = usual_tolerance(maps)
                iou = overlaps(maps, masks[start : start + BATCH], percentile)
                parts[layer].append((singular_values(maps).numpy(), iou, maps.mean(dim=(2, 3)).numpy()))
        for layer, pieces in parts.items():
            values, iou, activation = (np.concatenate(piece) for piece in zip(*pieces))
            share, module = usual[layer] if tolerance is None else tolerance, names[layer]
            ranks = LayerRanks(class_name, layer, concepts, values, share, usual[layer], iou, activation, module, shown)
            result.append(ranks)
    return result


@torch.inference_mode()
def recorded_maps(study: "Study", split: Split, modules: Iterable[str], desc=None) -> Iterator[tuple[int, dict]]:
    """Per batch of a split its first picture's number, and the maps of the named modules on the CPU, by name."""
    model, device, size = study.model, study.model.feature_mean.device, study.config.size
    named, outputs = dict(model.named_modules()), {}
    if unknown := [name for name in modules if name not in named]:
        raise ValueError(f"layer {unknown[0]!r} is not in the network; it has {', '.join(filter(None, named))}")
    fixed = [f"backbone.stages.{name}." for name in model.backbone.stage_names[: model.fixed_stages]]
    whole = any(f"{module}.".startswith(name) for module in modules for name in fixed)
    cached = None if whole else study.features(split)[0]
    keep = lambda name: lambda module, arguments, output: outputs.update({name: output})
    hooks = [named[name].register_forward_hook(keep(name)) for name in modules]
    try:
        for start in bar(range(0, len(split), BATCH), desc=desc):
            batch = slice(start, start + BATCH)
            pictures = to_batch(split.paths[batch], size) if whole else None
            model(model.features(pictures.to(device)) if whole else cached[batch].to(device))
            yield start, {name: maps.cpu() for name, maps in outputs.items()}
    finally:
        for hook in hooks:
            hook.remove()
