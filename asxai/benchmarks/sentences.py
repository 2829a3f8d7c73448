"""Does the sentence tell what decided? Exact on drawn pictures, which can be drawn again without a part (notebook 06).

    rows = sentence_rows(explainer, study.data.test, ways(explainer))   # a row per way and sentence
    truth_table(rows)                                                   # shares of true sentences, with intervals

*Fidelity*: every part that the sentence names is in the picture, and under the mask of its concept. *Contrast*: the
named concepts speak more for the class, against the runner-up, than those left out. *Causality*: without the named
parts the class's logit falls further than without as many others.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from joblib import Parallel, cpu_count, delayed

from .. import results
from ..concepts.cells import maps_of_features
from ..concepts.masks import conceal, concept_regions
from ..concepts.names import SMALLEST_PART, lies_on, part_number
from ..data.datasets import Split, spread_over
from ..data.pictures import to_batch
from ..data.sources import redraw
from ..explain.explainer import Explainer
from ..explain.judgement import judge
from ..explain.scores import concept_activation
from ..explain.sentences import named_reasons
from ..statistics import wilson
from .importance import class_logits, sobol_indices

RANK, NONE, SOBOL, CAUSAL = "R_s", "no importance", "Sobol index", "drop when hidden"
UNCHECKED = ", one name for all classes"
PICTURES = 8  # of each class, for Sobol indices and drops
MEASURES = ("fidelity", "contrast", "causality")


def importances(explainer: Explainer) -> dict[str, np.ndarray]:
    """Importance of concepts by name of the measure, `(class, concept)`, mean 1 over a class's concepts.

    R_s as in the paper; none; total Sobol index, and drop of the class's logit when the concept is hidden, both means
    over training pictures.
    """
    study, concepts, rank = explainer.study, explainer.concepts, explainer.scores.importance
    sobol, drops, train = np.full(rank.shape, np.nan), np.full(rank.shape, np.nan), study.data.train
    for label in range(len(study.class_names)):
        few = spread_over(train.take(train.labels == label), PICTURES)
        region, whole = concept_regions(study, concepts)(label, few), to_batch(few.paths, study.config.size)
        numbers, before = [concepts.names.index(name) for name in region.names], class_logits(study, whole, label)
        sobol[label, numbers] = sobol_indices(study.model, study.features(few)[0], region.masks, label).mean(axis=0)
        hidden = [class_logits(study, conceal(whole, mask, False, "mean"), label) for mask in region.masks.unbind(1)]
        drops[label, numbers] = [(before - after).mean() for after in hidden]
    return {RANK: rank, NONE: np.where(np.isnan(rank), np.nan, 1.0), SOBOL: _scaled(sobol), CAUSAL: _scaled(drops)}


def ways(explainer: Explainer) -> dict[str, tuple]:
    """Ways to a sentence: importance `(class, concept)` and, per class, names of concepts. `RANK` is as it is."""
    found, concepts, classes = importances(explainer), explainer.concepts, range(len(explainer.study.class_names))
    checked, plain = [concepts.names_in(label) for label in classes], [concepts.names for _ in classes]
    result = {name + UNCHECKED: (values, plain) for name, values in found.items()}
    return result | {name: (found[name], checked) for name in (RANK, NONE)}


def _scaled(values):
    values = values.clip(1e-3)  # a concept whose absence helps is unimportant, not the opposite of important
    return values / np.nanmean(values, axis=1, keepdims=True)


def sentence_rows(explainer: Explainer, split: Split, ways: dict[str, tuple], seed: int = 0) -> pd.DataFrame:
    """A row per way and picture that is answered rightly and whose sentence gives reasons: what holds of it.

    Columns `way`, `picture`, `class`, `named` and `unnamed` (numbers of visible parts), and `MEASURES`: 1, 0, or NaN
    where a sentence names no part, or all of them. The unnamed parts to compare with are picked at random, as many as
    named ones or as there are; then as many of the named ones count, in the order of the sentence.
    """
    study, concepts, generator = explainer.study, explainer.concepts, np.random.default_rng(seed)
    similarity, parts = study.similarity(split), split.part_masks(study.config.size)
    weight = study.model.last_layer.weight.detach().cpu()
    logits, activation = F.linear(similarity.flatten(1), weight), concept_activation(concepts, similarity)
    order = logits.argsort(dim=1, descending=True).numpy()
    predicted = order[:, 0]
    maps = maps_of_features(study, study.features(split)[0], torch.from_numpy(predicted.copy()))
    masks = concepts.masks(maps, predicted, study.config.size).numpy()
    speaks = _contributions(explainer, similarity, order)
    rows, wanted = [], {}
    for name, (values, names) in ways.items():
        pcs = replace(explainer.scores, importance=values).pcs(activation)
        for i in np.flatnonzero(predicted == split.labels):
            own = names[predicted[i]]
            reasons = named_reasons(judge(pcs[i], predicted[i], study.class_names, own).concepts)
            if not reasons:
                continue
            numbers = [own.index(reason) for reason in reasons]
            seen = [part for k, part in enumerate(study.data.part_names, 1) if (parts[i] == k).sum() >= SMALLEST_PART]
            claimed = {k: part for k in numbers if (part := part_number(own[k], study.data.part_names))}
            true = [lies_on(masks[i, k], parts[i] == part) for k, part in claimed.items()]
            left = [k for k in range(concepts.count) if np.isfinite(pcs[i, predicted[i], k]) and k not in numbers]
            named = [study.data.part_names[part - 1] for part in dict.fromkeys(claimed.values())]
            named = [part for part in named if part in seen]
            unnamed = [part for part in seen if part not in named]
            count = min(len(named), len(unnamed))
            others = sorted(generator.permutation(unnamed)[:count].tolist())
            pair = [wanted.setdefault((i, tuple(sorted(which))), len(wanted)) for which in (named[:count], others)]
            rows.append(
                {
                    "way": name,
                    "picture": i,
                    "class": study.class_names[predicted[i]],
                    "named": len(named),
                    "unnamed": len(unnamed),
                    "fidelity": float(all(true)) if true else np.nan,
                    "contrast": float(speaks[i, numbers].mean() > speaks[i, left].mean()) if left else np.nan,
                    "causality": pair if count else np.nan,
                }
            )
    after = _logits_without(explainer, split, predicted, list(wanted))
    for row in rows:
        if isinstance(row["causality"], list):
            named, unnamed = after[row["causality"]]
            row["causality"] = float(named < unnamed)
    return pd.DataFrame(rows)


def _contributions(explainer, similarity, order):
    """What each concept adds to the lead of the class over the runner-up, `(picture, concept)`, in logits.

    The last layer is linear, so that Shapley values are exact: weight times similarity less its mean over validation
    pictures (Lundberg & Lee, NeurIPS 2017), summed over the concept's vectors in all classes.
    """
    study, members = explainer.study, explainer.concepts.members
    weight = study.model.last_layer.weight.detach().cpu().double().unflatten(1, members.shape).numpy()
    usual = study.similarity(study.data.validation).double().mean(dim=0).numpy()
    parts = (weight[order[:, 0]] - weight[order[:, 1]]) * (similarity.double().numpy() - usual)
    return np.stack([parts[:, members == k].sum(axis=1) for k in range(1, explainer.concepts.count + 1)], axis=1)


def _logits_without(explainer, split, predicted, wanted):
    """Logits of the predicted classes of pictures drawn without some parts, `(number,)`; wanted: (picture, parts)."""
    study, fine = explainer.study, split.fine or [None] * len(split)
    jobs = [delayed(redraw)(study.data.name, split.paths[i], parts, fine[i]) for i, parts in wanted]
    pictures = to_batch(Parallel(n_jobs=cpu_count())(jobs), study.config.size)
    logits = torch.cat([out.logits for out in explainer.activate(pictures)]).double().numpy()
    return logits[np.arange(len(wanted)), predicted[[i for i, _ in wanted]]]


def truth_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of true sentences with their 95 % Wilson intervals: a row per way and measure.

    Columns `way`, `measure`, `value`, `low`, `high`, `sentences`: those that the measure can judge.
    """
    table = []
    for (name, measure), values in (
        ((name, measure), own[measure].dropna())
        for name, own in rows.groupby("way", sort=False)
        for measure in MEASURES
    ):
        table.append((name, measure, *wilson(int(values.sum()), len(values)), len(values)))
    return pd.DataFrame(table, columns=["way", "measure", "value", "low", "high", "sentences"])


def claims(truth: pd.DataFrame) -> list[dict]:
    """Claims of notebook 06 about the sentence as it is, from `truth_table` or an empty table."""
    if truth.empty:
        return []
    own = truth[truth["way"] == RANK].set_index("measure")["value"]
    targets = {"fidelity": 0.95, "contrast": 0.5, "causality": 0.80}  # set by this study before it began
    return [
        results.claim(f"sentence_{name}", own[name], "", own[name] >= target)
        for name, target in targets.items()
        if np.isfinite(own[name])
    ]
