"""How sensitive the filters of a study are to its concepts (section 2.3.1), and whether rank means importance.

    found = layer_ranks(study, concept_regions(study, concepts), study.data.test)   # a LayerRanks per class and layer
    found[0].sensitivity().share                                                    # Figure 4's scores
    drops = hidden_drops(study, regions, study.data.test)                           # what the class logit loses

The paper holds that a concept whose filters have maps of high rank matters more. That can be tested: hide the concept,
or on drawn pictures do not draw the part, and see how far the logit of the picture's class falls. The same is asked of
simpler measures of importance, computed on the same pictures.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import qmc

from .common_traits import drawn_without, spread_over
from .concepts import is_named_after
from .features import BATCH
from .masks import conceal
from .pictures import to_batch
from .progress import bar
from .ranks import Ranks, bootstrap_shares, halves_agreement, matrix_ranks, overlaps, sensitivity, spearman, vote

GRID = 84  # side of the grid on which filters' and concepts' masks are compared: fine for maps of up to 42 cells
RANK, ACTIVATION, GRADIENT, SOBOL = "R_s", "mean activation", "gradient x activation", "Sobol index"
HIDDEN, UNDRAWN = "concept hidden", "part not drawn"


@dataclass(frozen=True, eq=False)
class LayerRanks:
    """Filters of a layer on pictures of one class."""

    class_name: str
    layer: str
    names: tuple  # (concept,)
    ranks: Ranks  # of each filter's map, (picture, filter)
    iou: np.ndarray  # (picture, filter, concept): overlap of where a filter fires with where a concept is
    activation: np.ndarray  # (picture, filter): mean over the map
    credit: np.ndarray  # (picture, concept): gradient of the class logit times activation, summed over the mask

    def votes(self):
        """Which concept each filter extracts, see `asxai.ranks.vote`."""
        return vote(self.iou)

    def sensitivity(self):
        """R_s by numerical rank (eq. 6), see `asxai.ranks.sensitivity`."""
        return sensitivity(self.ranks.numerical, self.votes().concepts, len(self.names))

    def mean_activation(self):
        """Mean activation of the filters that extract a concept, `(concept,)`; NaN for a concept without filters."""
        return sensitivity(np.abs(self.activation), self.votes().concepts, len(self.names)).mean


def layers(study, stages=3):
    """Layers by what they are called here, from early to late: the last stages of the backbone, both added ones."""
    names = {f"stage {name}": f"backbone.stages.{name}" for name in study.model.backbone.stage_names[-stages:]}
    return {**names, "first added": "add_on.1", "last added": "add_on.3"}


@contextmanager
def _recorded(model, modules):
    """Output of each of the named modules in the forward passes within, by name; gradients reach all of them."""
    named, outputs = dict(model.named_modules()), {}
    unknown = [name for name in modules if name not in named]
    if unknown:
        raise ValueError(f"layer {unknown[0]!r} is not in the network; it has {', '.join(filter(None, named))}")

    def record(name):
        def hook(module, arguments, output):
            outputs[name] = output if output.requires_grad else output.detach().requires_grad_()
            return outputs[name]
        return hook

    handles = [named[name].register_forward_hook(record(name)) for name in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def layer_ranks(study, regions, split, names=None, pictures=100, percentile=95.0, tolerance=None):
    """`LayerRanks` of each class and layer, classes outermost.

    regions: where the concepts are, see `asxai.common_traits`
    names: of layers, `{what it is called: its name in the network}`; None: `layers(study)`
    pictures: of a class, evenly spread over the split
    percentile: above which filters fire, as in `asxai.ranks.overlaps`; tolerance: as in `asxai.ranks.matrix_ranks`

    A concept that is in none of the pictures is left out. Raises ValueError for a layer that the network lacks.
    """
    names, found = layers(study) if names is None else names, []
    device = study.model.feature_mean.device
    for label, class_name in enumerate(study.class_names):
        shown = spread_over(split.take(split.labels == label), pictures)
        region = regions(label, shown)
        seen = region.masks.flatten(2).any(2).any(0)
        masks = F.interpolate(region.masks[:, seen].float(), size=(GRID, GRID), mode="nearest") > 0.5
        parts = {layer: [] for layer in names}
        for start in bar(range(0, len(shown), BATCH), desc=f"ranks, {class_name}"):
            batch, own = to_batch(shown.paths[start:start + BATCH], study.config.size), masks[start:start + BATCH]
            with torch.inference_mode(False), torch.enable_grad(), _recorded(study.model, names.values()) as outputs:
                logits = study.model(study.model.features(batch.to(device))).logits
                gradients = torch.autograd.grad(logits[:, label].sum(), [outputs[name] for name in names.values()])
            for (layer, name), gradient in zip(names.items(), gradients):
                maps, credit = outputs[name].detach(), (outputs[name].detach() * gradient).sum(dim=1, keepdim=True)
                inside = F.adaptive_avg_pool2d(own.float(), maps.shape[-2:])
                ranks = matrix_ranks(maps, tolerance)
                parts[layer].append((*ranks, overlaps(maps.cpu(), own, percentile), maps.mean(dim=(2, 3)).cpu().numpy(),
                                     (credit.cpu() * inside).sum(dim=(2, 3)).numpy()))
        for layer, pieces in parts.items():
            *ranks, iou, activation, credit = (np.concatenate(piece) for piece in zip(*pieces))
            found.append(LayerRanks(class_name, layer, tuple(np.array(region.names)[seen.numpy()]), Ranks(*ranks), iou,
                                    activation, credit))
    return found


# --- Causal importance -----------------------------------------------------------------------------------------------


@torch.inference_mode()
def class_logits(study, pictures, label):
    """Logit of one class for uint8 pictures `(picture, 3, height, width)`: `(picture,)`."""
    device = study.model.feature_mean.device
    return torch.cat([study.model(study.model.features(batch.to(device))).logits[:, label].cpu()
                      for batch in pictures.split(BATCH)]).double().numpy()


def hidden_drops(study, regions, split, pictures=30, fill="mean"):
    """What hiding a concept takes from the logit of the picture's class: per class `(names, (picture, concept))`."""
    results = []
    for label, class_name in enumerate(study.class_names):
        shown = spread_over(split.take(split.labels == label), pictures)
        region, whole = regions(label, shown), to_batch(shown.paths, study.config.size)
        before = class_logits(study, whole, label)
        after = [class_logits(study, conceal(whole, region.masks[:, k], False, fill), label)
                 for k in bar(range(len(region.names)), desc=f"hidden concepts, {class_name}")]
        results.append((tuple(region.names), before[:, None] - np.stack(after, axis=1)))
    return results


def undrawn_drops(study, split, pictures=30):
    """What not drawing a true part takes from the logit of the picture's class: per class `(parts, (picture, part))`.

    Empty for data sets that are not drawn.
    """
    results = []
    for label, class_name in enumerate(study.class_names if study.data.part_names else []):
        shown = spread_over(split.take(split.labels == label), pictures)
        parts, drawn = drawn_without(study, shown, f"drawing without parts, {class_name}")
        after = class_logits(study, drawn.flatten(0, 1), label).reshape(drawn.shape[:2])
        before = class_logits(study, to_batch(shown.paths, study.config.size), label)
        results.append((parts, (before - after).T))
    return results


def sobol_indices(study, regions, split, pictures=6, points=16, fill="mean", seed=0):
    """Total Sobol index of each concept for the logit of the class: per class `(names, (picture, concept))`.

    Each concept fades into `fill` by a factor from 0 to 1; the index is the share of the logit's variance that goes
    with a concept's factor, alone and together with others (Jansen's estimator on a scrambled Sobol sequence; for masks
    of pictures: Fel et al., NeurIPS 2021). points: a power of two; a picture costs points * (concepts + 2) passes.
    """
    results = []
    for label, class_name in enumerate(study.class_names):
        shown = spread_over(split.take(split.labels == label), pictures)
        region, whole = regions(label, shown), to_batch(shown.paths, study.config.size)
        count = len(region.names)
        sample = torch.from_numpy(qmc.Sobol(2 * count, seed=seed).random(points)).float()
        first, second = sample[:, :count], sample[:, count:]
        swapped = first.repeat(count, 1, 1)
        swapped[torch.arange(count), :, torch.arange(count)] = second.T
        factors = torch.cat([first, swapped.flatten(0, 1)])  # (point, concept)
        hidden, indices = conceal(whole, torch.ones_like(region.masks[:, 0]), False, fill), []
        for picture, filled, masks in bar(list(zip(whole, hidden, region.masks)), desc=f"Sobol indices, {class_name}"):
            left = torch.ones(len(factors), *masks.shape[1:])
            for k, mask in enumerate(masks):
                left[:, mask] *= factors[:, k, None]
            faded = (left[:, None] * picture + (1 - left[:, None]) * filled).round().to(torch.uint8)
            base, other = np.split(class_logits(study, faded, label), [points])
            variance = np.concatenate([base, other]).var()
            indices.append(((base - other.reshape(count, points)) ** 2).mean(axis=1) / 2 / max(variance, 1e-12))
        results.append((tuple(region.names), np.stack(indices)))
    return results


# --- Tables ----------------------------------------------------------------------------------------------------------


def share_table(found):
    """A row per class, layer and concept: `share` of R_s with its interval over pictures, `filters`, `mean` R_s."""
    rows = []
    for own in found:
        result = own.sensitivity()
        intervals = bootstrap_shares(result.per_picture)
        for k, name in enumerate(own.names):
            rows.append({"class": own.class_name, "layer": own.layer, "concept": name, "share": result.share[k],
                         "low": intervals[k, 0], "high": intervals[k, 1], "scaled": result.scaled[k],
                         "mean": result.mean[k], "filters": int(result.filters[k])})
    return pd.DataFrame(rows)


def halves_table(found):
    """Agreement of the order of concepts between halves of the pictures: a row per class and layer."""
    rows = []
    for own in found:
        mean, (low, high) = halves_agreement(own.ranks.numerical, own.iou)
        rows.append({"class": own.class_name, "layer": own.layer, "spearman": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def importance_table(found, sobol, hidden, undrawn=()):
    """A row per class, concept, method and reference: `value` of the method, `causal` drop of the logit.

    found: `LayerRanks` of one layer, a class each. A part that is not drawn stands beside all concepts of its name,
    "ear 2" like "ear"; concepts without a part of their name have no row there.
    """
    rows = []
    for label, own in enumerate(found):
        columns = {RANK: dict(zip(own.names, own.sensitivity().mean)),
                   ACTIVATION: dict(zip(own.names, own.mean_activation())),
                   GRADIENT: dict(zip(own.names, own.credit.mean(axis=0))),
                   SOBOL: dict(zip(sobol[label][0], sobol[label][1].mean(axis=0)))}
        references = {HIDDEN: dict(zip(hidden[label][0], hidden[label][1].mean(axis=0)))}
        if undrawn:
            drops = dict(zip(undrawn[label][0], undrawn[label][1].mean(axis=0)))
            references[UNDRAWN] = {name: next((drops[part] for part in drops if is_named_after(name, part)), np.nan)
                                   for name in own.names}
        for reference, causal in references.items():
            rows += [{"class": own.class_name, "concept": name, "method": method, "reference": reference,
                      "value": values[name], "causal": causal[name]}
                     for method, values in columns.items() for name in own.names if np.isfinite(causal[name])]
    return pd.DataFrame(rows)


def correlation_table(table):
    """Spearman's correlation of value and causal drop: a row per method, reference and class."""
    rows = [{"method": method, "reference": reference, "class": class_name, "concepts": len(own),
             "spearman": spearman(own["value"], own["causal"])}
            for (method, reference, class_name), own in table.groupby(["method", "reference", "class"], sort=False)]
    return pd.DataFrame(rows)
