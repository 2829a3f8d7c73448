"""The arena: every method of the paper's review beside AS-XAI, under one protocol with exact answers (notebook 11).

    table = measure_maps(["saliency", "this study"], study, pictures=24)    # maps of single decisions
    table = measure_concepts(["k-means", "this study"], study)              # concepts of classes
    order = ranking(table)                                                  # mean rank over measures that count

Rows are tidy: `method`, `seed`, `measure`, `value`, `low`, `high`, `better`; intervals are bootstraps over pictures. A
measure that uniform, random or edge maps win measures something else: `counts` says which are left.
"""

import inspect
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from ..cache import code_hash, kept_table, key_of
from ..data.datasets import spread_over
from ..data.pictures import to_batch
from ..methods import METHODS, Method, fitted
from ..methods.attributions import Attribution
from ..methods.relevance import COMPOSITES, LRP
from ..results import claim
from ..statistics import bootstrap
from . import interventions, prototypes
from .interventions import part_relevance, rank_agreement
from .map_measures import (
    cosine,
    evidence_of,
    insertion_deletion,
    inside,
    passes,
    pointing,
    rank_correlation,
    shuffled_weights,
    standardised,
    top_share,
)
from .ood import SMALLEST_PART, draw_hybrids, hybrid_kinds
from .prototypes import OURS, row

CONTROLS = ("uniform", "random", "edges")
CEILING = ("ceiling", "concept whitening", "S-XAI")  # they are told where parts are
MAPS = (
    *("saliency", "input x gradient", "integrated gradients", "SmoothGrad", "DeepLIFT", "Grad-CAM", "occlusion"),
    *("Shapley sampling", "KernelSHAP", "LIME", "LRP", "CRP", "CRAFT", "concept whitening"),
    *("ProtoPNet", "TesNet", "Deformable ProtoPNet", "PIP-Net", OURS, *CONTROLS),
)
CONCEPTS = (
    *("CRP", "concept whitening", "ProtoPNet", "TesNet", "Deformable ProtoPNet", "PIP-Net", "S-XAI", "CRAFT"),
    *("top-k SAE", "k-means", "nmf", OURS, "ceiling"),
)
LOWER = ("deletion", "other class", "random weights", "seconds", "passes", "fit seconds", "lines")
COST = ("seconds", "passes", "fit seconds", "lines")
# what is ranked; a measure's better side is in `LOWER` or higher
OF_MAPS = ("Shapley", "Shapley per area", "contrast", "single deletion", "completeness", "parents", "in parts")
OF_CONCEPTS = ("nmi", "consistency", "parents")
CODE = ("data", "model", "concepts", "traits", "methods", "benchmarks.methods", "benchmarks.interventions")
COLUMNS = ["method", "seed", "measure", "value", "low", "high", "better"]


# --- Maps ------------------------------------------------------------------------------------------------------------


def measure_maps(names, study, pictures: int = 24, costly: bool = True, hybrids: int = 20) -> pd.DataFrame:
    """Measures of maps of single decisions on `pictures` test pictures, evenly spread over classes.

    costly: also insertion, deletion and random weights, which need more passes. hybrids: pictures of each kind.
    """
    split = spread_over(study.data.test, pictures)
    made = [fitted(METHODS[name](), study) for name in names]
    truth = interventions.part_truth(study, made, split)
    tables = []
    for method in made:
        key = key_of(method.name, list(split.hashes), costly, hybrids, code_hash(*CODE))
        compute = partial(_of_maps, method, study, split, truth, costly, hybrids)
        path = study.folder / f"maps-{key[:12]}.csv"
        tables.append(kept_table(path, compute).assign(method=method.name, seed=study.config.seed))
    return _tidy(tables)


def _of_maps(method, study, split, truth, costly, hybrids):
    labels, size = split.labels, study.config.size
    pixels, logits = to_batch(split.paths, size), truth.logits[interventions.explained(method)]
    whole = logits[:, -1]
    other = np.where(np.arange(whole.shape[1]) == labels[:, None], -np.inf, whole)
    rival = other.argmax(axis=1)  # the strongest other class
    start = time.perf_counter()
    evidence = evidence_of(method, pixels, labels)
    seconds = (time.perf_counter() - start) / len(split)
    against = evidence_of(method, pixels, rival)
    of_class = lambda label: np.take_along_axis(logits, label[:, None, None], axis=2)[..., 0]
    values, rivals = of_class(labels), of_class(rival)
    true, true_rival = interventions.shapley(values), interventions.shapley(rivals)
    relevance, relevance_rival = (part_relevance(maps, truth.masks) for maps in (evidence, against))
    areas = np.maximum(truth.areas, 1e-9)
    answers = interventions.funny_birds(relevance, logits, labels)
    object_masks = split.part_masks(size) > 0
    found = {
        "Shapley": rank_agreement(relevance, true),
        "Shapley per area": rank_agreement(relevance / areas, true / areas),
        "single deletion": rank_agreement(relevance, interventions.single_drops(values)),
        "contrast": rank_agreement((relevance - relevance_rival) / areas, (true - true_rival) / areas),
        **answers,
        "completeness": interventions.completeness(answers),
        "in object": inside(evidence, object_masks),
        "in parts": inside(evidence, truth.masks.any(axis=1)),
        "pointing": pointing(evidence, truth.masks.any(axis=1)),
        "top pixels": top_share(evidence, truth.masks.any(axis=1)),
        "other class": np.array([cosine(a, b) for a, b in zip(evidence, against)]),
        "accuracy": (whole.argmax(axis=1) == labels).astype(float),
    }
    if costly:
        found |= dict(zip(("insertion", "deletion"), insertion_deletion(method, pixels, labels, evidence)))
        shuffled = evidence_of(shuffled_weights(method), pixels, labels)
        found["random weights"] = np.array([abs(rank_correlation(a, b)) for a, b in zip(evidence, shuffled)])
    rows = [_mean(name, value, labels) for name, value in found.items()]
    rows += parents(method, study, hybrids)
    return pd.DataFrame([*rows, row("seconds", seconds), row("passes", passes(method, pixels[:1], int(labels[0])))])


def parents(method: Method, study, count: int) -> list[dict]:
    """How often the parent of a hybrid's part has more evidence there than the other parent: one row, or none.

    Maps of a method with concepts are those of all its concepts, at their highest; of others it is the evidence. Each
    map in standard deviations, so that classes can be compared.
    """
    right, kinds = [], []
    for name in hybrid_kinds(study.data.name) if count else ():
        hybrids = draw_hybrids(study.data.name, name, count, study.config.size)
        known = sorted({study.class_names.index(parent) for parent in hybrids.parents.values()})
        masks = hybrids.parts[:, None] == np.arange(1, len(hybrids.part_names) + 1)[:, None, None]
        masks = torch.from_numpy(masks).float()
        strengths = []
        for label in known:
            maps = standardised(class_map(method, hybrids.pictures, label))
            cells = torch.nn.functional.interpolate(masks, size=maps.shape[1:], mode="area")
            strengths.append(torch.einsum("pkhw,phw->pk", cells, maps) / cells.sum(dim=(2, 3)).clamp(min=1e-9))
        best = torch.stack(strengths, dim=2).numpy()
        seen = masks.sum(dim=(2, 3)).numpy() >= SMALLEST_PART
        for k, part in enumerate(hybrids.part_names):
            if part in hybrids.parents:
                at = known.index(study.class_names.index(hybrids.parents[part]))
                rivals = np.delete(best[:, k], at, axis=1).max(axis=1)
                hits = (best[:, k, at] > rivals) + 0.5 * (best[:, k, at] == rivals)
                right.append(np.where(seen[:, k], hits, np.nan))
                kinds.append(name)
    if not right:
        return []
    hits = np.array(right)  # (part of a kind, picture)
    by_picture = [np.nanmean(hits[np.array(kinds) == name], axis=0) for name in dict.fromkeys(kinds)]
    return [_mean("parents", np.concatenate(by_picture), np.repeat(range(len(by_picture)), count))]


def class_map(method: Method, pictures, label: int) -> torch.Tensor:
    """One map of a class: the highest of its concepts, or its evidence, `(picture, height, width)`."""
    if isinstance(method, Attribution) and len(method.names(label)) == 1:
        return method.evidence(pictures, label)
    return method.maps(pictures, label).float().amax(dim=1)


def rules_agreement(study, pictures: int = 6) -> pd.DataFrame:
    """Do rules change what LRP says? A row per pair of `COMPOSITES`: mean rank correlation of their maps."""
    split = spread_over(study.data.test, pictures)
    pixels = to_batch(split.paths, study.config.size)
    maps = {name: evidence_of(LRP(name).fit(study), pixels, split.labels) for name in COMPOSITES}
    rows = []
    for i, first in enumerate(COMPOSITES):
        for second in COMPOSITES[i + 1 :]:
            values = [rank_correlation(a, b) for a, b in zip(maps[first], maps[second])]
            rows.append({"first": first, "second": second, "correlation": np.mean(values), "pictures": len(split)})
    return pd.DataFrame(rows)


# --- Concepts --------------------------------------------------------------------------------------------------------


def measure_concepts(names, study, pictures: int = 0, hybrids: int = 20) -> pd.DataFrame:
    """Measures of concepts: those of `prototypes.measure`, parents of hybrids, removal, seconds of fitting.

    pictures: so many test pictures, evenly spread, or all (0).
    """
    if pictures:
        few = replace(study.data, test=spread_over(study.data.test, pictures))
        study = replace(study, _data=few)
    tables = []
    for name in names:
        key = key_of(name, list(study.data.test.hashes), hybrids, code_hash(*CODE, "benchmarks.prototypes"))
        compute = partial(_of_concepts, name, study, hybrids)
        path = study.folder / f"concepts-{key[:12]}.csv"
        tables.append(kept_table(path, compute).assign(method=name, seed=study.config.seed))
    return _tidy(tables)


def _of_concepts(name, study, hybrids):
    start = time.perf_counter()
    method = METHODS[name]().fit(study)
    seconds = time.perf_counter() - start
    rows = prototypes.measure(method, study).to_dict("records")
    rows += [*parents(method, study, hybrids), removal(method, study)]
    return pd.DataFrame([*rows, row("fit seconds", seconds), row("lines", lines_of(type(method)))])


def removal(method: Method, study, pictures: int = 4) -> dict:
    """Share of concepts whose own map falls most, in its standard deviations, where their region is hidden."""
    hits, labels, test = [], [], study.data.test
    for label in range(len(study.class_names)):
        split = spread_over(test.take(test.labels == label), pictures)
        if len(method.names(label)) < 2 or not len(split):
            continue
        height = lambda pictures, label=label: method.maps(pictures, label).float().amax(dim=(2, 3))
        maps = method.maps(split, label).float()
        spread = maps.flatten(2).std(dim=2).clamp(min=1e-6)
        before = height(split)
        for k, hidden in enumerate(method.removed(split, label, fill="mean")):
            falls = ((before - height(hidden)) / spread).numpy()
            hits += (falls.argmax(axis=1) == k).tolist()
            labels += [label] * len(falls)
    return _mean("removal", np.array(hits, float), np.array(labels)) if hits else row("removal", np.nan)


def lines_of(method: type[Method]) -> int:
    """Lines of our code that a method has to itself, without those of what it is derived from in other files."""
    own = [kind for kind in method.__mro__ if kind.__module__ == method.__module__]
    parts = {kind.__name__: kind for kind in own}
    for kind in own:
        used = [value for value in vars(kind).values() if inspect.isclass(value)]
        parts |= {one.__name__: one for value in used for one in value.__mro__ if one.__module__ == kind.__module__}
    return sum(len(inspect.getsource(kind).splitlines()) for kind in parts.values())


def _mean(name, values, labels):
    """A row of the mean over pictures `(picture,)` with its bootstrap interval."""
    known = np.isfinite(values)
    values, labels = np.asarray(values, float)[known], np.unique(np.asarray(labels)[known], return_inverse=True)[1]
    if not len(values):
        return row(name, np.nan)
    return row(name, values.mean(), bootstrap(lambda w: (w @ values) / w.sum(axis=-1), labels * 0))


def _tidy(tables):
    table = pd.concat(tables, ignore_index=True)
    better = np.where(table["measure"].isin(LOWER), "lower", "higher")
    return table.assign(better=better)[COLUMNS]


# --- Which measures count, and who is first --------------------------------------------------------------------------


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of `value`, `low` and `high`, a row per method and measure."""
    keys = ["method", "measure", "better"]
    return table.groupby(keys, sort=False)[["value", "low", "high"]].mean().reset_index()


def counts(table: pd.DataFrame) -> list[str]:
    """Measures of `OF_MAPS` in which no control beats any method: each control's interval reaches the last method's."""
    rows, kept = means(table), []
    for name in OF_MAPS:
        own = rows[rows["measure"] == name]
        control = own["method"].isin(CONTROLS)
        if control.any() and (~control).any() and own[control]["low"].max() <= own[~control]["high"].min():
            kept.append(name)
    return kept


def ranking(table: pd.DataFrame, measures) -> pd.DataFrame:
    """Methods by their mean rank over measures, 1 is best: `method`, `rank`, `told`, and the measures' values."""
    rows = means(table)
    wide = rows[rows["measure"].isin(measures)].pivot(index="method", columns="measure", values="value")
    wide = wide[[name for name in measures if name in wide]]
    signs = [-1 if name in LOWER else 1 for name in wide]
    ranks = (wide * signs).rank(ascending=False).mean(axis=1)
    told = [METHODS[name].told for name in wide.index]
    result = wide.assign(rank=ranks, told=told).reset_index().sort_values("rank", kind="stable", ignore_index=True)
    return result[["method", "rank", "told", *wide.columns]]


def limitations(table: pd.DataFrame, rules: pd.DataFrame) -> pd.DataFrame:
    """Extended Data Table 1 again: what it says against each kind of method, and the number that says so here."""
    value = means(table).set_index(["measure", "method"])["value"]
    number = lambda measure, method: value.get((measure, method), np.nan)
    ask = [
        ("perturbation", "costly: passes a picture", "passes", "KernelSHAP"),
        ("LRP", "rules differ: rank correlation of two rules", None, rules["correlation"].mean()),
        ("LRP", "agreement with exact Shapley values", "Shapley", "LRP"),
        ("saliency", "one map for all classes: cosine of two classes", "other class", "saliency"),
        (
            "integrated gradients",
            "one map for all classes: cosine of two classes",
            "other class",
            "integrated gradients",
        ),
        ("CAM", "coarse: share of evidence in parts", "in parts", "Grad-CAM"),
        ("concept whitening", "causal relation unclear: agreement with Shapley", "Shapley", "concept whitening"),
        ("ProtoPNet", "causal relation unclear: agreement with Shapley", "Shapley", "ProtoPNet"),
        ("CRP", "costly: passes a picture", "passes", "CRP"),
        ("AS-XAI", "passes a picture", "passes", OURS),
        ("AS-XAI", "cosine of two classes", "other class", OURS),
        ("AS-XAI", "agreement with exact Shapley values", "Shapley", OURS),
        ("AS-XAI", "share of evidence in parts", "in parts", OURS),
    ]
    rows = [(kind, words, own if measure is None else number(measure, own)) for kind, words, measure, own in ask]
    return pd.DataFrame(rows, columns=["method", "question", "here"])


def claims(maps: pd.DataFrame, concepts: pd.DataFrame) -> list[dict]:
    """Claims of notebook 11. Ranks are among methods that are told nothing of parts."""
    free = lambda table: table[[METHODS[name].told == "nothing" for name in table["method"]]]
    rows = [claim("methods_compared", [len({*maps["method"], *concepts["method"]} - {*CONTROLS, "ceiling"})])]
    for kind, table, measures in (("map", maps, counts(maps)), ("concept", concepts, OF_CONCEPTS)):
        own = free(table[~table["method"].isin(CONTROLS)])
        places = [ranking(rows_, measures)["method"].tolist().index(OURS) + 1 for _, rows_ in own.groupby("seed")]
        best = ranking(own, measures)["method"][0]
        rows.append(claim(f"as_xai_{kind}_rank", places, "", np.mean(places) == 1))
        rows.append(claim(f"best_{kind}_method", [np.nan]) | {"here": best})
    by_seed = maps[maps["measure"] == "Shapley"].pivot(index="seed", columns="method", values="value")
    every = by_seed.drop(columns=[*CONTROLS], errors="ignore")
    ours, best = by_seed[OURS], every.max(axis=1)
    rows.append(claim("uniform_comes_last", [len(counts(maps)) / len(OF_MAPS)]))
    rows.append(claim("shapley_agreement_as_xai", ours, "", ours.mean() >= best.mean()))
    rows.append(claim("shapley_agreement_best", best))
    rows.append(claim("passes_as_xai", maps[(maps["method"] == OURS) & (maps["measure"] == "passes")]["value"]))
    return rows
