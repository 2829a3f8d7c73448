"""How well concepts agree with part points of photographs, as the literature on CUB-200-2011 asks.

    table = measures_of([study, other_seed], "this study", "k-means")      # rows as those of `prototypes.measures_of`

Only where the folder of pictures has a `points.csv`, see `asxai.concepts.points`; else tables are empty. No point
enters before concepts are named, and points of training pictures, which suggest names, give no scores.

NMI and ARI are those of the concept that wins at a point and of its part: per class, averaged, and pooled over all
classes (Choudhury et al., NeurIPS 2021), which asks that a concept is the same part in every class. Purity and
consistency are those of prototypes, with boxes around peaks (Nauta et al., CVPR 2023; Huang et al., ICCV 2023).
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..concepts.points import Points, part_points
from ..methods.base import Method, fitted
from ..results import claim
from ..statistics import bootstrap
from . import agreement
from .prototypes import COLUMNS, CONSISTENCY_PATCH, OURS, PURITY_PATCH, row

if TYPE_CHECKING:
    from ..study import Study

POOLED, COMPARED = "k-means over all classes", ("k-means", "k-means over all classes", "tied mixture")
# in the long protocol
FURTHER = ("nmf", "CRAFT", "top-k SAE", "ProtoPNet", "TesNet", "Deformable ProtoPNet", "PIP-Net", "paper's objective")
MEASURES = ("nmi", "ari", "nmi pooled", "ari pooled", "purity", "consistency")
# name: (method, measure)
CLAIMS = {
    "points_nmi": (OURS, "nmi"),
    "points_ari": (OURS, "ari"),
    "points_nmi_pooled": (OURS, "nmi pooled"),
    "points_ari_pooled": (OURS, "ari pooled"),
    "points_kmeans_nmi": ("k-means", "nmi"),
    "points_kmeans_nmi_pooled": (POOLED, "nmi pooled"),
}


def measure(method: str | Method, study: "Study") -> pd.DataFrame:
    """Measures of a method at the points of test pictures: `measure`, `value`, and `low` and `high` of a bootstrap.

    Pooled ones only of a method whose names mean the same in every class; purity and consistency only of this study.
    """
    split, points = study.data.test, part_points(study.data.test)
    if points is None or not len(points.parts):
        return pd.DataFrame(columns=["measure", "value", "low", "high"])
    method = fitted(method, study)
    winners = method.matched_winners(split) if method.matched else method.winners(split)
    counts, everything = points.counts(winners, int(winners.max())), np.zeros(len(split), int)
    rows = []
    for suffix, labels in (("", split.labels), *([(" pooled", everything)] if method.matched else [])):
        for name, of in (("nmi", agreement.foreground_nmi), ("ari", agreement.foreground_ari)):
            mean = lambda w=None, of=of, labels=labels: np.nanmean(of(counts, labels, w), axis=-1)
            rows.append(row(name + suffix, mean(), bootstrap(mean, split.labels)))
    if method.name == OURS:
        rows += _prototype_rows(method, study, points)
    return pd.DataFrame(rows)


def _prototype_rows(method: Method, study: "Study", points: Points) -> list[dict]:
    """Mean purity and consistency over the prototypes of all classes, each on the pictures of its class with points."""
    split, blocks = study.data.test, []
    for label in range(len(study.class_names)):
        members = np.intersect1d(points.pictures, np.flatnonzero(split.labels == label))
        if len(members):
            (scores, peaks), own = method.peaks(split.take(members), label), points.of(members)
            pure, consistent = (own.held(peaks, patch) for patch in (PURITY_PATCH, CONSISTENCY_PATCH))
            blocks.append((members, pure, scores, consistent, own.visible()))

    def pooled(of):  # mean over the prototypes of all classes
        def statistic(weights=None):
            values = [of(*block[1:], None if weights is None else weights[:, block[0]]) for block in blocks]
            return np.concatenate(values, axis=-1).mean(axis=-1)

        return statistic

    statistics = {
        "purity": pooled(lambda pure, scores, consistent, visible, w: agreement.purity(pure, scores, weights=w)),
        "consistency": pooled(
            lambda pure, scores, consistent, visible, w: agreement.consistency(consistent, visible, weights=w)[1] * 1.0
        ),
    }
    return [row(name, of(), bootstrap(of, split.labels)) for name, of in statistics.items()]


def measures_of(studies: list, *methods: str) -> pd.DataFrame:
    """Tidy rows of methods on studies that differ in their seed, as those of `asxai.benchmarks.prototypes`."""
    tables = [
        measure(method, study).assign(method=method, seed=study.config.seed) for method in methods for study in studies
    ]
    table = pd.concat(tables, ignore_index=True).assign(better="higher", target=np.nan)[COLUMNS]
    return table.sort_values("measure", key=lambda names: names.map(MEASURES.index), kind="stable", ignore_index=True)


def claims(measures: pd.DataFrame) -> list[dict]:
    """Claims of a data set with points, from a table of `measures_of`."""
    rows = []
    for name, (method, measured) in CLAIMS.items():
        values = measures[(measures["method"] == method) & (measures["measure"] == measured)]["value"]
        if len(values):
            rows.append(claim(name, values))
    return rows
