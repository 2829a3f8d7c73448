"""How well the concepts of this study and of other methods agree with true parts.

    table = measure("this study", study)       # scored on test pictures: a row per measure, with its interval
    table = measure("k-means", study)          # any name of asxai.methods.METHODS, or a method, under the same rule
    tidy = measures_of([study, other_seed])    # further columns: method, seed, better, target

No part mask enters before concepts are named; the pictures that give names give no scores.
"""

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ..concepts.cells import own_class_maps, part_iou, true_parts
from ..concepts.concepts import Concepts
from ..concepts.names import is_named_after, named_by_parts
from ..data.features import BATCH, seeded
from ..data.pictures import to_batch
from ..methods.as_xai import AsXai
from ..methods.base import Method, fitted
from ..model.geometry import within_class_cosine
from ..results import claim
from ..statistics import bootstrap, evenly
from . import agreement

if TYPE_CHECKING:
    from ..study import Study

PURITY_PATCH, CONSISTENCY_PATCH = 32, 72  # pixels of 224, as in the sources of the two measures
NOISE, NOISE_LIMIT = 0.2, 0.25  # standard deviation on the normalised picture, and where it is cut (Huang et al.)
STABILITY_PICTURES = 100  # of the test pictures: each needs another pass through the backbone
OURS, COMPARED = "this study", ("k-means", "nmf", "tied mixture", "true parts")
# parameters of this study trained in another way
CONTROLS = {
    "paper's objective": {"objective": "paper"},
    "random backbone": {"weights": "random"},
    "shuffled labels": {"labels": "shuffled"},
}
# name: (what is better, the target that this study set itself or None)
MEASURES = {
    "nmi": ("higher", 0.65),
    "ari": ("higher", None),
    "purity": ("higher", 0.85),
    "consistency": ("higher", 0.80),
    "stability": ("higher", None),
    "best part IoU": ("higher", None),
    "match purity": ("higher", 0.95),
    "accuracy": ("higher", None),
    "cosine": ("lower", 0.01),
    "cosine before": ("lower", 0.01),
}
COLUMNS = ["measure", "method", "seed", "value", "low", "high", "better", "target"]
# name: (method, measure, the paper's words)
CLAIMS = {
    "concept_nmi": (OURS, "nmi", "semantic, as figures show"),
    "concept_ari": (OURS, "ari", ""),
    "prototype_purity": (OURS, "purity", ""),
    "consistency": (OURS, "consistency", ""),
    "stability": (OURS, "stability", ""),
    "concept_agreement_seeds": (OURS, "agreement", ""),
    "paper_objective_nmi": ("paper's objective", "nmi", ""),
    "kmeans_nmi": ("k-means", "nmi", ""),
    "nmf_nmi": ("nmf", "nmi", ""),
    "mixture_nmi": ("tied mixture", "nmi", ""),
    "ceiling_nmi": ("true parts", "nmi", ""),
    "match_purity": (OURS, "match purity", ""),
    "random_backbone_nmi": ("random backbone", "nmi", ""),
    "shuffled_labels_nmi": ("shuffled labels", "nmi", ""),
}


def measure(method: str | Method, study: "Study", peaks: bool = True) -> pd.DataFrame:
    """All measures of a method on test pictures: `measure`, `value`, and `low` and `high`, a 95 % bootstrap interval.

    By `asxai.benchmarks.agreement`: NMI and ARI of concepts and parts, the mean over parts of the best IoU; match
    purity, where a name means the same in every class; purity, consistency and stability, for maps that have peaks.
    Accuracy, if the method predicts. The mean |cosine| inside a class of vectors, without an interval. There is no
    agreement without part masks, or where the method is made of them. peaks: False leaves out what needs them, and
    another pass through the backbone.
    """
    method, split, rows = fitted(method, study), study.data.test, []
    if split.parts is not None and method.has_concepts() and not method.knows_parts:
        masks, parts = true_parts(split)
        rows += _cell_rows(method.winners(split), parts, split.labels, len(study.data.part_names))
        if method.matched:
            rows.append(_match_row(method.matched_winners(split), parts, split.labels, len(study.data.part_names)))
        if peaks and method.maps(split.take([0]), split.labels[0]).dtype != torch.bool:
            rows += _peak_rows(method, study, masks)
    probabilities = method.predict(split)
    if probabilities is not None:
        hits = (probabilities.argmax(axis=1) == split.labels).astype(float)
        rows.append(row("accuracy", hits.mean(), bootstrap(lambda w: (w * hits).sum(1) / w.sum(1), split.labels)))
    rows += [row(f"cosine{k}", float(np.nanmean(within_class_cosine(v)))) for k, v in method.vectors().items()]
    return pd.DataFrame(rows, columns=["measure", "value", "low", "high"])


def row(name: str, value: float, interval=(np.nan, np.nan)) -> dict:
    """One measure with its interval, if it has one."""
    return {"measure": name, "value": float(value), "low": float(interval[0]), "high": float(interval[1])}


def _cell_rows(winners, parts, labels, part_count):
    count = max(1, int(winners.max()))
    counts = agreement.contingency(winners, parts, count, part_count)
    best = lambda w: part_iou(winners, parts, labels, count, part_count, w).max(axis=-2)  # ([draw,] class, part)
    functions = {
        "nmi": lambda w=None: np.nanmean(agreement.foreground_nmi(counts, labels, w), axis=-1),
        "ari": lambda w=None: np.nanmean(agreement.foreground_ari(counts, labels, w), axis=-1),
        "best part IoU": lambda w=None: np.nanmean(best(w), axis=(-2, -1)),
    }
    return [row(name, of(), bootstrap(of, labels)) for name, of in functions.items()]


def _match_row(winners, parts, labels, part_count):
    """Whether the same concept is the same part in every class, of `agreement.match_purity`."""
    counts = agreement.contingency(winners, parts, max(1, int(winners.max())), part_count)
    of = lambda w=None: agreement.match_purity(counts, labels, w)
    return row("match purity", of(), bootstrap(of, labels))


def _peak_rows(method, study, masks):
    """Purity, consistency and stability over all prototypes, each class on its pictures."""
    split, part_count, blocks = study.data.test, len(study.data.part_names), []
    noisy, pictures = _noisy(study, split)
    for label in range(len(study.class_names)):
        members, again = np.flatnonzero(split.labels == label), np.flatnonzero(split.labels[noisy] == label)
        scores, peaks = method.peaks(split.take(members), label)
        noisy_peaks = method.peaks(pictures[again], label)[1] if len(again) else peaks[:0]
        held = lambda which, at, patch: agreement.held_parts(masks[which], at, patch, part_count)
        pure, same = (held(members, peaks, patch) for patch in (PURITY_PATCH, CONSISTENCY_PATCH))
        visible = agreement.visible_parts(masks[members], part_count)
        perturbed = held(noisy[again], noisy_peaks, CONSISTENCY_PATCH)
        before = same[np.searchsorted(members, noisy[again])]
        block = {  # which pictures the weights are of, and the measure
            "purity": (members, partial(agreement.purity, pure, scores)),
            "consistency": (members, partial(_consistent, same, visible)),
            "stability": (again, partial(agreement.stability, before, perturbed)),
        }
        blocks.append(block)

    def pooled(name, weights=None):  # mean over the prototypes of all classes
        values = [
            of(weights=None if weights is None else weights[:, at]) for at, of in (block[name] for block in blocks)
        ]
        return np.concatenate(values, axis=-1).mean(axis=-1)

    labels = {"purity": split.labels, "consistency": split.labels, "stability": split.labels[noisy]}
    return [row(name, pooled(name), bootstrap(partial(pooled, name), own)) for name, own in labels.items()]


def _consistent(held, visible, weights):
    return agreement.consistency(held, visible, weights=weights)[1]


def _noisy(study, split):
    """Pictures for stability, spread evenly over the split, which is sorted by class: their numbers, and with noise."""
    chosen = evenly(len(split), max(STABILITY_PICTURES, 4 * (int(split.labels.max()) + 1)))
    std, paths, noisy = study.model.backbone.std.cpu(), split.take(chosen).paths, []
    for start in range(0, len(paths), BATCH):
        pictures = to_batch(paths[start : start + BATCH], study.config.size).float() / 255
        noise = torch.randn(pictures.shape, generator=seeded("stability", start)) * NOISE
        noisy.append(pictures + noise.clamp(-NOISE_LIMIT, NOISE_LIMIT) * std)
    return chosen, torch.cat(noisy)


def measures_of(studies: list, *methods: str, called: str = "", peaks: bool = True) -> pd.DataFrame:
    """Tidy rows of methods, by default this study, on studies that differ in their seed: `COLUMNS`.

    called: what tables have in place of the method's name, for studies that were trained in another way
    """
    pairs = [(method, study) for method in methods or (OURS,) for study in studies]
    tables = [measure(*pair, peaks).assign(method=called or pair[0], seed=pair[1].config.seed) for pair in pairs]
    table = pd.concat(tables, ignore_index=True)
    better, target = (table["measure"].map(lambda name, i=i: MEASURES[name][i]) for i in (0, 1))
    table, order = table.assign(better=better, target=target.astype(float))[COLUMNS], list(MEASURES)
    return table.sort_values("measure", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def seed_agreement(studies: list, split, method: str = OURS) -> pd.DataFrame:
    """Agreement of the concepts of studies with different seeds: NMI of their assignments of the same cells.

    A row per pair of studies, see `asxai.benchmarks.agreement.map_agreement`; 1 if all cells are grouped alike.
    """
    pairs = combinations([(study.config.seed, fitted(method, study).winners(split)) for study in studies], 2)
    rows = [(first, second, agreement.map_agreement(a, b, split.labels)) for (first, a), (second, b) in pairs]
    return pd.DataFrame(rows, columns=["first", "second", "agreement"])


# --- What a notebook shows -------------------------------------------------------------------------------------------


def sheet(study: "Study", concepts: Concepts, class_name: str, count: int = 6, percentile: float = 95.0) -> dict:
    """What a concept sheet of a class needs: `pictures`, `masks`, `names`, `prevalence`, per concept; and `out_of`.

    The exemplars are the training pictures of the highest cosine, strongest first; prevalence is over test pictures, of
    which there are `out_of`. A name that a person gave has the concept's number before it, by which it was given.
    """
    label, train, test = study.label_of(class_name), study.data.train, study.data.test
    method, of_class = AsXai(percentile, concepts).fit(study), concepts.of_class(label)
    best = [train.take(chosen) for chosen, _ in method.exemplars(label, count)]
    seen, prevalence = test.take(test.labels == label), np.full(concepts.count, np.nan)
    if len(seen):
        prevalence = concepts.prevalence(concepts.winners(own_class_maps(study, seen), seen.labels))
    names = [concepts.names_in(label)[k - 1] for k in of_class]  # not where the part under it is another one
    if not named_by_parts(study):
        names = [name if name == f"concept {k}" else f"{k}: {name}" for k, name in zip(of_class, names)]
    masks = [method.masks(few, label, study.config.size)[:, k].numpy() for k, few in enumerate(best)]
    shown = {"pictures": [study.pictures(few.paths) for few in best], "masks": masks, "names": names}
    return shown | {"prevalence": prevalence[of_class - 1], "out_of": len(seen)}


def strip(study: "Study", concepts: Concepts, split) -> dict:
    """Three `pictures` of each of the first four classes of a split, and what is in their cells.

    `winners`, the concept that wins each cell, by its number in `names`, and true `parts` in `part_names`, if any.
    `labels` are names with what a concept is called instead in those of the classes in which its name is not true.
    """
    classes = range(min(4, len(study.class_names)))

    def label(k, name):
        called = ((study.class_names[c], concepts.names_in(c)[k - 1]) for c in classes if k in concepts.of_class(c))
        others = [f"{class_name}: {other}" for class_name, other in called if other != name]
        return f"{name} ({', '.join(others)})" if others else name

    part = split.take(np.concatenate([np.flatnonzero(split.labels == label)[:3] for label in classes]))
    winners = concepts.winners(own_class_maps(study, part), part.labels)
    labels = [label(k, name) for k, name in enumerate(concepts.names, 1)]
    result = {"pictures": study.pictures(part.paths), "names": concepts.names, "winners": winners, "labels": labels}
    if part.parts is not None:
        result |= {"parts": true_parts(part)[1], "part_names": study.data.part_names}
    return result


def part_counts(study: "Study", concepts: Concepts) -> np.ndarray:
    """Cells by concept (background first) and true part, `(concept + 1, part)`, summed over test pictures."""
    test = study.data.test
    winners = concepts.winners(own_class_maps(study, test), test.labels)
    return agreement.contingency(winners, true_parts(test)[1], concepts.count, len(study.data.part_names)).sum(axis=0)


def named_parts(study: "Study", concepts: Concepts) -> pd.DataFrame:
    """A row per class and part that covers at least 1 % of the class's object: is it the name of one of its concepts?

    Columns `class`, `part`, `share` of the object's cells in test pictures, and `named`. Empty without part masks.
    """
    test, part_names, rows = study.data.test, study.data.part_names, []
    parts = true_parts(test)[1] if test.parts is not None else np.zeros((len(test), 0), int)
    for label, class_name in enumerate(study.class_names):
        cells = np.bincount(parts[test.labels == label].ravel(), minlength=len(part_names) + 1)[1:]
        names = [concepts.names_in(label)[k - 1] for k in concepts.of_class(label)]
        for part, share in zip(part_names, cells / max(cells.sum(), 1)):
            if share >= 0.01:
                rows.append((class_name, part, share, any(is_named_after(name, part) for name in names)))
    return pd.DataFrame(rows, columns=["class", "part", "share", "named"])


def claims(measures: pd.DataFrame, pairs: pd.DataFrame) -> list[dict]:
    """Claims of a data set, from tables of `measures_of` and of `seed_agreement`."""
    if len(pairs):
        agreements = pairs.rename(columns={"agreement": "value"}).assign(method=OURS, measure="agreement")
        measures = pd.concat([measures, agreements])
    rows = []
    for name, (method, measured, words) in CLAIMS.items():
        values = measures[(measures["method"] == method) & (measures["measure"] == measured)]["value"]
        _, target = MEASURES.get(measured, ("", None)) if method == OURS else ("", None)
        if len(values):
            rows.append(claim(name, values, words, None if target is None else values.mean() >= target))
    return rows
