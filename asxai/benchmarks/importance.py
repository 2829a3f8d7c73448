"""Importance."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import qmc

from ..concepts.masks import conceal
from ..concepts.names import is_named_after
from ..data.datasets import spread_over
from ..data.features import BATCH
from ..data.pictures import to_batch
from ..data.sources import drawn_without
from ..progress import bar
from ..ranks.ranks import by_overlap, sensitivity

RANK, ACTIVATION, GRADIENT, SOBOL = "R_s", "mean activation", "gradient x activation", "Sobol index"
HIDDEN, UNDRAWN = "concept hidden", "part not drawn"
MEAN = "mean over classes"


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


def gradient_activation(study, split, pictures=100):
    """Gradient x activation of the last added layer's filters: per class `(picture, filter)`.

    |mean over the map of activation times gradient of the class logit|: what the logit loses, to first order, without
    the filter (Molchanov et al., ICLR 2017), a criterion for pruning like the rank. It is read by filter because over
    the channels of a cell the products sum to zero: a cosine does not depend on the embedding's length.

    pictures: of a class, evenly spread over the split. From cached features.
    """
    results, device = [], study.model.feature_mean.device
    for label in range(len(study.class_names)):
        shown, found = spread_over(split.take(split.labels == label), pictures), []
        for batch in study.features(shown)[0].split(BATCH):
            with torch.no_grad():
                embedding = study.model.embed(batch.to(device))
            with torch.enable_grad():
                logits = study.model.compare(embedding.requires_grad_()).logits[:, label]
                gradient, = torch.autograd.grad(logits.sum(), embedding)
            found.append((embedding.detach() * gradient).mean(dim=(2, 3)).abs().cpu().double())
        results.append(torch.cat(found).numpy())
    return results


@torch.inference_mode()
def sobol_indices(study, regions, split, pictures=30, points=32, seed=0):
    """Total Sobol index of each concept for the logit of the class: per class `(names, (picture, concept))`.

    The cells of each concept fade by a factor from 0 to 1 into the picture's mean embedding; the index is the share of
    the logit's variance that goes with a concept's factor, alone and together with others (Jansen's estimator on a
    scrambled Sobol sequence; for masks of pictures: Fel et al., NeurIPS 2021). points: a power of two

    pictures: of a class, evenly spread over the split. From cached features.
    """
    results, device = [], study.model.feature_mean.device
    for label, class_name in enumerate(study.class_names):
        shown = spread_over(split.take(split.labels == label), pictures)
        region, features = regions(label, shown), study.features(shown)[0]
        factors, indices = _factors(len(region.names), points, seed).to(device), []
        for one, masks in bar(list(zip(features, region.masks)), desc=f"Sobol indices, {class_name}"):
            embedding = study.model.embed(one[None].to(device))[0]
            # share of each cell that a mask covers, (concept, height, width)
            inside = F.adaptive_avg_pool2d(masks.float()[None], embedding.shape[1:])[0].to(device)
            logits = _faded_logits(study.model, embedding, inside, factors)[:, label].cpu().double().numpy()
            logits = logits.reshape(len(masks) + 1, points)  # the sample, then with each factor drawn anew
            indices.append(((logits[0] - logits[1:]) ** 2).mean(axis=1) / 2 / max(logits.var(), 1e-12))
        results.append((tuple(region.names), np.stack(indices)))
    return results


def _factors(count, points, seed):
    """How much of each concept is left, `(point, concept)`: a sample, then for each concept that with it drawn anew."""
    sample = torch.from_numpy(qmc.Sobol(2 * count, seed=seed).random(points)).float()
    first, second = sample[:, :count], sample[:, count:]
    swapped = first.repeat(count, 1, 1)  # (concept, point, concept)
    swapped[torch.arange(count), :, torch.arange(count)] = second.T
    return torch.cat([first, swapped.flatten(0, 1)])


def _faded_logits(model, embedding, inside, factors):
    """Logits `(point, class)` of an embedding `(channel, h, w)` of which concepts `(concept, h, w)` are faded."""
    touched = inside.amax(dim=0) > 0  # other cells never change: their best cosines are computed once
    still = model.compare(embedding[None]).maps.masked_fill(touched, -1).amax(dim=(3, 4))  # (1, class, basis)
    mean = embedding.mean(dim=(1, 2))[:, None]
    change, cover = embedding[:, touched] - mean, inside[:, touched]  # (channel, cell), (concept, cell)
    logits = []
    for part in factors.split(2 * BATCH):
        left = (1 - cover * (1 - part[:, :, None])).prod(dim=1, keepdim=True)  # (point, 1, cell)
        best = torch.maximum(model.compare((mean + left * change)[..., None]).similarity, still)
        logits.append(model.last_layer(best.flatten(1)))
    return torch.cat(logits)


class ClassImportance(NamedTuple):
    """What each method says of the concepts of a class, and what really happens; arrays are `(picture, concept)`."""

    class_name: str
    names: tuple  # (concept,)
    methods: dict  # method: importance
    causes: dict  # reference: drop of the logit; NaN for a concept that is named after no part


def class_importance(found, gradients, sobol, hidden, undrawn=()):
    """`ClassImportance` of each class.

    found: `LayerRanks` of the last added layer, a class each; gradients, sobol, hidden, undrawn: of
        `gradient_activation`, `sobol_indices`, `hidden_drops` and `undrawn_drops`

    R_s, mean activation and gradient x activation of a concept are means over filters, weighed alike. A part that
    is not drawn stands beside all concepts of its name, "x 2" like "x".
    """
    results = []
    for label, own in enumerate(found):
        of_concepts = lambda values, own=own: sensitivity(values, by_overlap(own.iou)).per_picture
        of_names = lambda given, own=own: given[1][:, [given[0].index(name) for name in own.names]]
        methods = {RANK: own.sensitivity().per_picture, ACTIVATION: of_concepts(np.abs(own.activation)),
                   GRADIENT: of_concepts(gradients[label]), SOBOL: of_names(sobol[label])}
        causes = {HIDDEN: of_names(hidden[label])}
        if undrawn:
            parts, drops = undrawn[label]
            without = np.full(len(drops), np.nan)
            causes[UNDRAWN] = np.stack([next((drop for part, drop in zip(parts, drops.T) if is_named_after(name, part)),
                                             without) for name in own.names], axis=1)
        results.append(ClassImportance(own.class_name, own.names, methods, causes))
    return results


def causal_check(study, regions, found, split, pictures=20):
    """`class_importance` with all that goes into it; found: `LayerRanks` of the last added layer.

    pictures: of a class, in which something is hidden or not drawn. R_s, mean activation and gradient x activation are
    read from all pictures of the split.
    """
    return class_importance(found, gradient_activation(study, split, int(split.class_counts().max())),
                            sobol_indices(study, regions, split, pictures),
                            hidden_drops(study, regions, split, pictures), undrawn_drops(study, split, pictures))
