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
from importlib.metadata import version

import numpy as np
import pandas as pd

from .. import paths
from ..cache import code_hash, kept_table, key_of
from ..data.datasets import spread_over
from ..data.pictures import to_batch
from ..methods import METHODS, Method, fitted
from ..methods.attributions import Attribution
from ..methods.relevance import COMPOSITES, LRP
from ..results import DIGITS, claim
from ..statistics import spearman
from . import interventions, prototypes
from .class_maps import mean_row, parents, removal
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
    top_share,
)
from .prototypes import OURS, row

PAPER = "paper's objective"
CONTROLS, CEILING = ("uniform", "random", "edges"), "true parts"
MAPS = (
    *("saliency", "input x gradient", "integrated gradients", "SmoothGrad", "DeepLIFT", "Grad-CAM", "occlusion"),
    *("Shapley sampling", "KernelSHAP", "LIME", "LRP", "CRP", "CRAFT", "concept whitening"),
    *("ProtoPNet", "TesNet", "Deformable ProtoPNet", "PIP-Net", OURS, PAPER, *CONTROLS),
)
CONCEPTS = (
    *("CRP", "concept whitening", "ProtoPNet", "TesNet", "Deformable ProtoPNet", "PIP-Net", "S-XAI", "CRAFT"),
    *("top-k SAE", "k-means", "nmf", OURS, PAPER, CEILING),
)
TRAINED = (OURS, PAPER, "ProtoPNet", "TesNet", "Deformable ProtoPNet", "PIP-Net")  # networks that differ with the seed
QUICK = ("saliency", "input x gradient", "DeepLIFT", "Grad-CAM", "LRP", "CRAFT", OURS, PAPER, *CONTROLS)
LOWER = ("deletion", "other class", "random weights", "seconds", "passes", "fit seconds", "lines")
# what is ranked; a measure's better side is in `LOWER` or higher
OF_MAPS = ("Shapley", "Shapley per area", "contrast", "single deletion", "completeness", "parents", "in parts")
OF_CONCEPTS = ("nmi", "consistency", "parents")
OWN_CODE = tuple(f"benchmarks.{name}" for name in ("methods", "interventions", "map_measures", "class_maps"))
CODE = ("data", "model", "concepts", "traits", "methods", *OWN_CODE)
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
    rows = [mean_row(name, value) for name, value in found.items()]
    rows += parents(method, study, hybrids)
    rows += [row("seconds", seconds), row("passes", passes(method, pixels[:1], int(labels[0])))]
    return pd.DataFrame([*rows, row("lines", lines_of(type(method)))])


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
    costly = isinstance(method, Attribution)  # each map is several ways back through the backbone
    rows = prototypes.measure(method, study, peaks=not costly).to_dict("records")
    rows += [*parents(method, study, hybrids), *([] if costly else [removal(method, study)])]
    return pd.DataFrame([*rows, row("fit seconds", seconds), row("lines", lines_of(type(method)))])


def lines_of(method: type[Method]) -> int:
    """Lines of our code that a method has to itself, without those of what it is derived from in other files."""
    own = [kind for kind in method.__mro__ if kind.__module__ == method.__module__]
    parts = {kind.__name__: kind for kind in own}
    for kind in own:
        used = [value for value in vars(kind).values() if inspect.isclass(value)]
        parts |= {one.__name__: one for value in used for one in value.__mro__ if one.__module__ == kind.__module__}
    return sum(len(inspect.getsource(kind).splitlines()) for kind in parts.values())


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
    """Measures of `OF_MAPS` in which no control beats any method, and the best method beats all controls.

    Both beyond chance: a control may be ahead where the lower end of its interval reaches the upper end of the last
    method's, and the lower end of the best method's lies above the best control.
    """
    rows, kept = means(table), []
    for name in OF_MAPS:
        own = rows[rows["measure"] == name]
        control = own["method"].isin(CONTROLS)
        nothing, known = own[control], own[~control]
        if len(nothing) and len(known) and nothing["low"].max() <= known["high"].min():
            kept += [name] if known.loc[known["value"].idxmax(), "low"] > nothing["value"].max() + 1e-9 else []
    return kept


def kinds(table: pd.DataFrame) -> pd.DataFrame:
    """With a column `kind`, as `asxai.figures.methods.KINDS` has it."""
    names = dict.fromkeys((OURS, PAPER), "AS-XAI") | dict.fromkeys(CONTROLS, "controls")
    return table.assign(kind=table["method"].map(names).fillna("other methods"))


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


# of Extended Data Table 1: (kind, what is said against it, the measure that says so, the method asked)
LIMITATIONS = (
    ("perturbation", "costly: passes a picture", "passes", "KernelSHAP"),
    ("LRP", "agreement with exact Shapley values", "Shapley", "LRP"),
    ("saliency", "alike for all classes: cosine of two", "other class", "saliency"),
    ("integrated gradients", "alike for all classes: cosine of two", "other class", "integrated gradients"),
    ("CAM", "coarse: share of evidence in parts", "in parts", "Grad-CAM"),
    ("concept whitening", "causes unclear: agreement with Shapley", "Shapley", "concept whitening"),
    ("ProtoPNet", "causes unclear: agreement with Shapley", "Shapley", "ProtoPNet"),
    ("CRP", "costly: passes a picture", "passes", "CRP"),
    ("AS-XAI", "passes a picture", "passes", OURS),
    ("AS-XAI", "alike for all classes: cosine of two", "other class", OURS),
    ("AS-XAI", "coarse: share of evidence in parts", "in parts", OURS),
    ("AS-XAI", "agreement with exact Shapley values", "Shapley", OURS),
)


def limitations(table: pd.DataFrame, rules: pd.DataFrame) -> pd.DataFrame:
    """Extended Data Table 1 again: what it says against each kind of method, and the number that says so here."""
    value = means(table).set_index(["measure", "method"])["value"]
    number = lambda measure, asked: value.get((measure, asked), np.nan)
    rows = [(kind, words, number(measure, asked)) for kind, words, measure, asked in LIMITATIONS]
    rows.insert(1, ("LRP", "rules differ: rank correlation of two", rules["correlation"].mean()))
    return pd.DataFrame(rows, columns=["method", "question", "here"])


def beside_published(table: pd.DataFrame) -> pd.DataFrame:
    """FunnyBirds' published numbers beside ours: `network`, `method`, `published`, `here`, `correlation`.

    Both are means of completeness and correctness (single deletion, from 0 to 1). correlation: of the two orders of a
    network's methods (Spearman), NaN below three of them.
    """
    wide = means(table).pivot(index="method", columns="measure", values="value")
    ours = (wide["completeness"] + (1 + wide["single deletion"]) / 2) / 2
    tables = []
    for network, values in interventions.PUBLISHED.items():
        published = pd.Series({name: np.mean(both) for name, both in values.items()}, name="published")
        both = pd.DataFrame({"published": published, "here": ours.reindex(published.index)}).dropna()
        rows = both.rename_axis("method").reset_index()
        rows.insert(0, "network", network)
        tables.append(rows.assign(correlation=spearman(both["published"], both["here"])))
    return pd.concat(tables, ignore_index=True)


def better_than_ours(table: pd.DataFrame, measures) -> pd.DataFrame:
    """Where another method has the higher value: `measure`, `method`, `value`, `ours`, the best of each measure."""
    rows = means(table)
    rows = rows[rows["measure"].isin(measures) & ~rows["method"].isin((*CONTROLS, CEILING))]
    ours = rows[rows["method"] == OURS].set_index("measure")["value"]
    best = rows.loc[rows.groupby("measure", sort=False)["value"].idxmax()]
    best = best.assign(ours=best["measure"].map(ours))
    return best.loc[best["value"] > best["ours"], ["measure", "method", "value", "ours"]].reset_index(drop=True)


def of_seed(table: pd.DataFrame, seed) -> pd.DataFrame:
    """Rows of one seed, and those of methods that were measured once, for they do not depend on it."""
    single = table.groupby("method")["seed"].transform("nunique") == 1
    return table[(table["seed"] == seed) | single]


def claims(maps: pd.DataFrame, concepts: pd.DataFrame) -> list[dict]:
    """Claims of notebook 11. Ranks are among methods that are told nothing of parts."""
    free = lambda table: table[[METHODS[name].told == "nothing" for name in table["method"]]]
    compared = {*maps["method"], *concepts["method"]} - {*CONTROLS, CEILING}
    seeds = lambda table: table.loc[table["method"] == OURS, "seed"].unique()
    rows = [claim("methods_compared", [len(compared)])]
    for kind, table, measures in (("map", maps, counts(maps)), ("concept", concepts, OF_CONCEPTS)):
        own = free(table[~table["method"].isin(CONTROLS)])
        ranks = [ranking(of_seed(own, seed), measures).set_index("method")["rank"] for seed in seeds(table)]
        places = [1 + int((rank < rank[OURS]).sum()) for rank in ranks]
        rows.append(claim(f"as_xai_{kind}_rank", places, "", np.mean(places) == 1))
        rows.append(claim(f"best_{kind}_method", [np.nan]) | {"here": ranking(own, measures)["method"][0]})
    rows.append(claim("uniform_comes_last", [len(counts(maps)) / len(OF_MAPS)]))
    agreement = maps[(maps["measure"] == "Shapley") & ~maps["method"].isin(CONTROLS)]
    ours = agreement[agreement["method"] == OURS]["value"]
    best = [of_seed(agreement, seed)["value"].max() for seed in seeds(maps)]
    rows.append(claim("shapley_agreement_as_xai", ours, "", ours.mean() >= np.mean(best)))
    rows.append(claim("shapley_agreement_best", best))
    rows.append(claim("passes_as_xai", maps[(maps["method"] == OURS) & (maps["measure"] == "passes")]["value"]))
    if {"completeness", "single deletion"} <= set(maps["measure"]):
        order = beside_published(maps).groupby("network")["correlation"].first()
        rows.append(claim("funny_birds_order", [order.mean()]))
    return rows


def keep_for_others(table: pd.DataFrame, data_set: str) -> pd.DataFrame:
    """Put rows of a data set into `figures/methods.csv`, with versions, in place of those that it had."""
    versions = {name: version(name) for name in ("torch", "captum", "zennit")}
    new = table.assign(data_set=data_set, **versions).round(DIGITS)
    path = paths.FIGURES / "methods.csv"
    old = pd.read_csv(path) if path.exists() else new[:0]
    every = pd.concat([old[old["data_set"] != data_set], new], ignore_index=True)
    paths.write_atomically(path, lambda temporary: every.to_csv(temporary, index=False))
    return every
