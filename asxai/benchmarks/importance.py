"""Whether a measure of importance foretells what a concept is worth to the decision (notebook 04).

    measured = causal_check(study, regions, ranks, study.data.test, 20)     # a ClassImportance per class
    table = correlation_table(measured)                                     # does R_s foretell what really falls?

The paper holds that a concept whose filters have maps of high rank matters more. That can be tested: hide the concept,
or on drawn pictures do not draw the part, and see how far the logit of the picture's class falls. The same is asked of
simpler measures of importance, which read the same layer on the same pictures.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ..concepts.masks import conceal
from ..concepts.names import is_named_after
from ..data.datasets import Split, spread_over
from ..data.features import BATCH
from ..data.pictures import to_batch
from ..data.sources import drawn_without
from ..explain.importance import sobol_indices
from ..model.protocnn import ProtoCNN
from ..progress import bar
from ..ranks.layers import LayerRanks
from ..ranks.ranks import by_overlap, sensitivity
from ..statistics import spearman, spearman_rows
from ..study import Study

RANK, ACTIVATION, GRADIENT, SOBOL = "R_s", "mean activation", "gradient x activation", "Sobol index"
HIDDEN, UNDRAWN = "concept hidden", "part not drawn"
MEAN = "mean over classes"


class ClassImportance(NamedTuple):
    """What each method says of the concepts of a class, and what really happens; arrays are `(picture, concept)`."""

    class_name: str
    names: tuple  # (concept,)
    methods: dict  # method: importance
    causes: dict  # reference: drop of the logit; NaN for a concept that is named after no part


def causal_check(study: Study, regions: Callable, ranks: list[LayerRanks], split: Split, pictures: int):
    """`ClassImportance` of each class, a list.

    regions: of `asxai.concepts.masks.concept_regions`. ranks: of the last added layer, a class each. pictures: of a
    class, in which something is hidden or not drawn, evenly spread over the split. R_s and mean activation are read
    from the pictures of `ranks`, gradient x activation from all of the split.
    """
    result = []
    for label, layer in enumerate(ranks):
        members = split.take(split.labels == label)
        few = spread_over(members, pictures)
        region, whole = regions(label, few), to_batch(few.paths, study.config.size)
        before = class_logits(study, whole, label)
        masks = bar(region.masks.unbind(1), desc=f"hidden concepts, {layer.class_name}")
        hidden = [before - class_logits(study, conceal(whole, mask, False, "mean"), label) for mask in masks]
        undrawn = None
        if study.data.part_names:
            parts, drawn = drawn_without(study, few, f"drawing without parts, {layer.class_name}")
            after = class_logits(study, drawn.flatten(0, 1), label).reshape(drawn.shape[:2])
            undrawn = dict(zip(parts, before - after))
        gradients = gradient_activation(study.model, study.features(members)[0], label)
        sobol = sobol_indices(study.model, study.features(few)[0], region.masks, label)
        by_name = (dict(zip(region.names, values)) for values in (sobol.T, hidden))
        result.append(class_importance(layer, gradients, *by_name, undrawn))
    return result


def class_importance(layer: LayerRanks, gradients, sobol: dict, hidden: dict, undrawn: dict | None = None):
    """`ClassImportance` of one class.

    gradients: `(picture, filter)`, of `gradient_activation`. sobol, hidden: per concept `(picture,)`. undrawn: the same
    per true part; it stands beside all concepts of its name, "x 2" like "x". R_s, mean activation and gradient x
    activation of a concept are means over filters, weighed alike.
    """
    of_filters = lambda values: sensitivity(values, by_overlap(layer.iou)).per_picture
    of_names = lambda values: np.stack([values[name] for name in layer.names], axis=1)
    methods = {RANK: layer.sensitivity().per_picture, ACTIVATION: of_filters(np.abs(layer.activation))}
    methods |= {GRADIENT: of_filters(gradients), SOBOL: of_names(sobol)}
    causes = {HIDDEN: of_names(hidden)}
    if undrawn is not None:
        no_part = np.full(len(causes[HIDDEN]), np.nan)
        of_part = lambda name: next((drop for part, drop in undrawn.items() if is_named_after(name, part)), no_part)
        causes[UNDRAWN] = of_names({name: of_part(name) for name in layer.names})
    return ClassImportance(layer.class_name, layer.names, methods, causes)


@torch.inference_mode()
def class_logits(study: Study, pictures: torch.Tensor, label: int) -> np.ndarray:
    """Logit of one class for uint8 pictures `(picture, 3, height, width)`: `(picture,)`."""
    model, device = study.model, study.model.feature_mean.device
    logits = [model(model.features(batch.to(device))).logits[:, label].cpu() for batch in pictures.split(BATCH)]
    return torch.cat(logits).double().numpy()


def gradient_activation(model: ProtoCNN, features: torch.Tensor, label: int) -> np.ndarray:
    """Gradient x activation of the last added layer's filters, from cached features: `(picture, filter)`.

    |mean over the map of activation times gradient of the class logit|: what the logit loses, to first order, without
    the filter (Molchanov et al., ICLR 2017), a criterion for pruning like the rank. It is read by filter because over
    the channels of a cell the products sum to zero: a cosine does not depend on the embedding's length.
    """
    products = []
    for batch in features.split(BATCH):
        embedding = model.embed(batch.to(model.feature_mean.device)).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.compare(embedding).logits[:, label].sum(), embedding)
        products.append((embedding.detach() * gradient).mean(dim=(2, 3)).abs().cpu().double())
    return torch.cat(products).numpy()


def importance_table(measured: list[ClassImportance]) -> pd.DataFrame:
    """A row per class, concept, method and reference: `value` of the method, `causal` drop of the logit."""
    rows = [
        (one.class_name, name, method, reference, value, drop)
        for one in measured
        for reference, drops in one.causes.items()
        for method, values in one.methods.items()
        for name, value, drop in zip(one.names, values.mean(axis=0), drops.mean(axis=0))
        if np.isfinite(drop)
    ]
    return pd.DataFrame(rows, columns=["class", "concept", "method", "reference", "value", "causal"])


def correlation_table(measured: list[ClassImportance], draws=1000) -> pd.DataFrame:
    """Spearman's correlation of importance and drop over the concepts of a class: a row per method, reference, class.

    `spearman` with `low` and `high`, a 95 % bootstrap interval over pictures, `concepts`, and `chance`: what 2.5 % of
    random orders of the concepts exceed. Last come rows of the class `MEAN`, the mean of the classes' correlations.
    NaN for fewer than 3 concepts; means are over the other classes.
    """
    rows, means = [], []
    for reference in measured[0].causes:
        for method in measured[0].methods:
            pairs = [(one.methods[method], one.causes[reference]) for one in measured]
            each = [_correlations(*pair, draws, [0, label]) for label, pair in enumerate(pairs)]
            rows += [(method, reference, one.class_name, *_summary(*values)) for one, values in zip(measured, each)]
            if known := [values for values in each if np.isfinite(values[1])]:
                counts, *values = zip(*known)
                mean = (np.mean(of_classes, axis=0) for of_classes in values)
                means.append((method, reference, MEAN, *_summary(sum(counts), *mean)))
    columns = ["method", "reference", "class", "concepts", "spearman", "low", "high", "chance"]
    return pd.DataFrame(rows + means, columns=columns)


def _correlations(values, drops, draws, seed):
    """How many concepts, Spearman's correlation, and `(draw,)` of it: with pictures, and with orders drawn again."""
    known = np.isfinite(values).all(axis=0) & np.isfinite(drops).all(axis=0)
    values, drops, generator = values[:, known], drops[:, known], np.random.default_rng(seed)
    count, correlation = int(known.sum()), spearman(values.mean(axis=0), drops.mean(axis=0))
    if np.isnan(correlation):
        return count, correlation, *np.full((2, draws), np.nan)
    redrawn = [redrawn_means(side, draws, generator) for side in (values, drops)]  # which differ in their pictures
    orders = generator.permuted(np.tile(values.mean(axis=0), (draws, 1)), axis=1)
    # 0 for a draw without an order
    rows = lambda first, second: np.nan_to_num(spearman_rows(first.round(12), second.round(12)))
    return count, correlation, rows(*redrawn), rows(orders, drops.mean(axis=0)[None])


def _summary(concepts, correlation, redrawn, shuffled):
    return concepts, correlation, *np.quantile(redrawn, [0.025, 0.975]), np.quantile(shuffled, 0.975)


def redrawn_means(values: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Means of `(picture, concept)` over pictures drawn again, `(draw, concept)`."""
    count = len(values)
    return generator.multinomial(count, np.full(count, 1 / count), draws) @ values / count


def causal_reference(correlations: pd.DataFrame) -> str:
    """Which reference counts: parts that are not drawn where there are any, else hidden concepts."""
    means = correlations[correlations["class"] == MEAN]
    return UNDRAWN if (means["reference"] == UNDRAWN).any() else HIDDEN
