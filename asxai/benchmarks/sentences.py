"""Does the sentence tell what decided? Exact on drawn pictures, which can be drawn again without a part (notebook 06).

    rows = sentence_rows(ways(explainer), study.data.test)      # a row per way and sentence
    truth_table(rows)                                           # shares of true sentences, with intervals

*Fidelity*: every part that the sentence names is in the picture, and under the mask of its concept. *Contrast*: the
named concepts speak more for the class, against the runner-up, than those left out. *Causality*: without the named
parts the class's logit falls further than without as many others.
"""

from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from joblib import Parallel, cpu_count, delayed

from ..concepts.cells import maps_of_features
from ..concepts.concepts import Concepts
from ..concepts.masks import conceal
from ..concepts.names import SMALLEST_PART, lies_on, part_number
from ..data.datasets import Split
from ..data.pictures import to_batch
from ..data.sources import redraw
from ..explain.explainer import Explainer
from ..explain.importance import IMPORTANCES, class_importance
from ..explain.judgement import judge
from ..explain.scores import concept_activation
from ..explain.sentences import named_reasons
from ..statistics import wilson
from ..study import Study
from .claims import claim_over_seeds
from .importance import class_logits

RANK, NONE, SOBOL, CAUSAL = "R_s", "no importance", "Sobol index", "drop when hidden"
UNCHECKED = f"{RANK}, one name for all classes"
MEASURES = ("fidelity", "contrast", "causality")


def options(explainer: Explainer) -> dict[str, Explainer]:
    """An explainer of the same study for each importance that `Explainer` offers."""
    of = lambda kind: Explainer(explainer.study, explainer.concepts, importance=kind)
    return {name: of(kind) for name, kind in zip((RANK, NONE, SOBOL), IMPORTANCES)}


def ways(explainer: Explainer) -> dict[str, Explainer]:
    """`options`, and two besides, whose sentences differ by what decides their concepts, their order and their names.

    `CAUSAL` weighs concepts by the drop of the class's logit when they are hidden, and `UNCHECKED` uses a name also in
    classes that do not bear it out.
    """
    causal, unchecked = copy(explainer), copy(explainer)
    importance = drops_when_hidden(explainer.study, explainer.concepts)
    causal.scores = replace(explainer.scores, importance=importance)
    unchecked.concepts = replace(explainer.concepts, by_class={})
    return options(explainer) | {CAUSAL: causal, UNCHECKED: unchecked}


def drops_when_hidden(study: Study, concepts: Concepts) -> np.ndarray:
    """Importance `(class, concept)` by how far the logit of the class falls when a concept is hidden."""

    def drops(pictures, masks, label):
        whole = to_batch(pictures.paths, study.config.size)
        hidden = [class_logits(study, conceal(whole, mask, False, "mean"), label) for mask in masks.unbind(1)]
        return class_logits(study, whole, label)[:, None] - np.stack(hidden, axis=1)

    return class_importance(study, concepts, drops)


def sentence_rows(ways: dict[str, Explainer], split: Split, seed: int = 0) -> pd.DataFrame:
    """A row per way and picture that is answered rightly and whose sentence gives reasons: what holds of it.

    Columns `way`, `picture`, `class`, `named` and `unnamed` (numbers of visible parts), and `MEASURES`: 1, 0, or NaN
    where a sentence names no part, or all of them. The unnamed parts to compare with are picked at random, as many as
    named ones or as there are; then as many of the named ones count, in the order of the sentence.
    """
    explainer = next(iter(ways.values()))
    study, concepts = explainer.study, explainer.concepts
    similarity, parts = study.similarity(split), split.part_masks(study.config.size)
    weight = study.model.last_layer.weight.detach().cpu()
    logits, activation = F.linear(similarity.flatten(1), weight), concept_activation(concepts, similarity)
    order = logits.argsort(dim=1, descending=True).numpy()
    predicted = order[:, 0]
    maps = maps_of_features(study, study.features(split)[0], torch.from_numpy(predicted.copy()))
    masks = concepts.masks(maps, predicted, study.config.size).numpy()
    speaks = _contributions(explainer, similarity, order)
    rows, wanted = [], {}
    for name, way in ways.items():
        pcs = way.scores.pcs(activation)
        for i in np.flatnonzero(predicted == split.labels):
            own = way.concepts.names_in(predicted[i])
            reasons = named_reasons(judge(pcs[i], predicted[i], study.class_names, own, way.rules).concepts)
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
            others = sorted(np.random.default_rng([seed, i]).permutation(unnamed)[:count].tolist())
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


def shares(truth: pd.DataFrame) -> pd.DataFrame:
    """The shares of a `truth_table`, a row per way and a column per measure."""
    return truth.pivot(index="way", columns="measure", values="value").loc[truth["way"].unique(), list(MEASURES)]


def claims(truth: pd.DataFrame, others: pd.DataFrame) -> list[dict]:
    """Claims of notebook 06 about the sentence as it is and the one by Sobol indices, from `truth_table` or nothing.

    others: rows of other seeds, whose values enter means and spreads, see `asxai.benchmarks.trustworthy.seed_claims`
    """
    if truth.empty:
        return []
    of, targets = shares(truth), dict(zip(MEASURES, (0.95, 0.5, 0.80)))  # set by this study before it began
    return [
        claim_over_seeds(others, f"sentence_{name}{option}", of.loc[way, name], "", target.__le__)
        for way, option in ((RANK, ""), (SOBOL, ": Sobol index"))
        for name, target in targets.items()
        if np.isfinite(of.loc[way, name])
    ]
