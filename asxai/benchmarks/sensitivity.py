"""How sensitive the filters of a study are to its concepts (section 2.3.1, Figure 4), as tables.

    ranks = layer_ranks(study, concept_regions(study, concepts), study.data.test)   # a LayerRanks per class and layer
    ranks[0].sensitivity().share                                                    # Figure 4's scores
    share_table(ranks)                                                              # the same of all, with intervals

Whether a high rank means importance is asked in `asxai.benchmarks.importance`. `ranks` is everywhere a list of
`asxai.ranks.layers.LayerRanks`, where nothing else is said of several layers.
"""

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd

from ..concepts.masks import semantic_masks
from ..concepts.names import is_named_after
from ..data.datasets import spread_over
from ..data.features import BATCH
from ..ranks.layers import NUMERICAL, LayerRanks, recorded_maps
from ..ranks.ranks import bootstrap_shares, by_overlap, halves_agreement, ranks_of, redundant, sensitivity, vote_weights
from ..results import claim
from ..statistics import spearman
from ..study import Study
from .importance import MEAN, RANK, ClassImportance, causal_reference, correlation_table, redrawn_means

TOLERANCES = (None, 1e-4, 1e-3, 1e-2, 1e-1)  # that are compared; None is matrix_rank's
AGREEMENT_TARGET = 0.9  # of orders of concepts between halves of the pictures; set by this study
STRONGEST = 3  # filters of a concept that are drawn


def panel(study: Study, layer: LayerRanks) -> dict:
    """What `asxai.figures.sensitivity.sensitivity_panel` needs of a `LayerRanks`, but title and order.

    A concept's strongest filters overlap it most, over all pictures; each is drawn where it does so most.
    """
    votes, result, chosen = layer.votes().concepts, layer.sensitivity(), []
    for k in range(len(layer.names)):
        members = np.flatnonzero(votes == k)
        strongest = members[np.argsort(-layer.iou[:, members, k].mean(axis=0), kind="stable")[:STRONGEST]]
        chosen.append([(int(layer.iou[:, f, k].argmax()), int(f)) for f in strongest])
    needed = sorted({picture for pairs in chosen for picture, _ in pairs})
    split, maps = layer.shown.take(needed), {}
    for start, outputs in recorded_maps(study, split, [layer.module]):
        maps |= dict(zip(needed[start : start + BATCH], outputs[layer.module]))
    pixels, size = dict(zip(needed, study.pictures(list(split.paths)))), study.config.size
    example = lambda picture, f: (pixels[picture], semantic_masks(maps[picture][f], size).numpy(), f)
    examples = [[example(*pair) for pair in pairs] for pairs in chosen]
    scores = {"scores": result.share, "means": result.mean, "intervals": bootstrap_shares(result.per_picture)}
    pictures = list(study.pictures(list(spread_over(layer.shown, 2).paths)))
    filters = {"ranks": layer.ranks.numerical, "filter_concepts": votes, "names": list(layer.names)}
    return {"pictures": pictures, "examples": examples, **filters, **scores}


def by_filter(ranks: list[LayerRanks], key="class_name", kind=NUMERICAL) -> list[dict]:
    """What `asxai.figures.sensitivity.filter_ranks` needs but a title, by class, or with key="layer" by layer."""
    values = {getattr(one, key): (getattr(one.ranks, kind), one.votes().concepts, list(one.names)) for one in ranks}
    return [dict(zip(values, column)) for column in zip(*values.values())]


def share_table(ranks: list[LayerRanks], kind=NUMERICAL) -> pd.DataFrame:
    """A row per class, layer and concept: `share` of R_s with its interval over pictures, `scaled` and `mean` R_s.

    `filters`: how many extract the concept, by vote
    """
    rows = []
    for one in ranks:
        result, votes = one.sensitivity(kind), one.votes().concepts
        filters = [int((votes == k).sum()) for k in range(len(one.names))]
        low, high = bootstrap_shares(result.per_picture).T
        numbers = zip(one.names, result.share, low, high, result.scaled, result.mean, filters)
        rows += [(one.class_name, one.layer, *row) for row in numbers]
    columns = ["class", "layer", "concept", "share", "low", "high", "scaled", "mean", "filters"]
    return pd.DataFrame(rows, columns=columns)


def halves_table(ranks: list[LayerRanks]) -> pd.DataFrame:
    """Agreement of the order of concepts between halves of the pictures: a row per class and layer.

    `spearman`, with `low` and `high`; `by_vote`: the same where a filter counts for the concept that it extracts by
    vote of the half, and for no other.
    """
    rows = []
    for one in ranks:
        mean, interval = halves_agreement(one.ranks.numerical, one.iou)
        voted, _ = halves_agreement(one.ranks.numerical, one.iou, weigh=vote_weights)
        rows.append((one.class_name, one.layer, mean, *interval, voted))
    return pd.DataFrame(rows, columns=["class", "layer", "spearman", "low", "high", "by_vote"])


def rank_kinds(ranks: list[LayerRanks], tolerances=TOLERANCES, draws=20) -> pd.DataFrame:
    """Which kind of rank to take: a row per class and kind, of one layer.

    `halves` and `halves_by_vote`: agreement as in `halves_table`, of fewer draws; `least` and `most`: smallest and
    largest scaled R_s, both 1 where all concepts weigh the same; `between`: share of the variance of ranks that lies
    between filters, 1 if a filter has the same rank in every picture.
    """
    rows = []
    for one in ranks:
        for kind, values in _kinds(one, tolerances).items():
            scaled = sensitivity(values, by_overlap(one.iou)).scaled
            halves, _ = halves_agreement(values, one.iou, draws)
            by_vote, _ = halves_agreement(values, one.iou, draws, weigh=vote_weights)
            between, within = values.mean(axis=0).var(), values.var(axis=0).mean()
            between /= max(between + within, 1e-12)
            rows.append((one.class_name, kind, values.mean(), halves, by_vote, scaled.min(), scaled.max(), between))
    return pd.DataFrame(rows, columns=["class", "rank", "mean", "halves", "halves_by_vote", "least", "most", "between"])


def kind_correlations(ranks: list[LayerRanks], measured: list[ClassImportance], tolerances=TOLERANCES) -> pd.DataFrame:
    """Spearman's correlation of R_s by each kind of rank with the drops, mean over classes: a row per kind."""
    rows = []
    for one, of_class in zip(ranks, measured):
        for kind, values in _kinds(one, tolerances).items():
            mean, causes = sensitivity(values, by_overlap(one.iou)).mean, of_class.causes.items()
            rows.append({"rank": kind, **{name: spearman(mean, drops.mean(axis=0)) for name, drops in causes}})
    return pd.DataFrame(rows).groupby("rank", sort=False).mean().reset_index()


def _kinds(one, tolerances):
    """Ranks `(picture, filter)` by what they are called."""
    name = lambda tolerance: f"tolerance {tolerance:g}" if tolerance else "matrix_rank’s tolerance"
    numerical = {name(tolerance): ranks_of(one.values, tolerance or one.usual).numerical for tolerance in tolerances}
    return numerical | {"effective rank": one.ranks.effective}


def filter_table(ranks: list[LayerRanks]) -> pd.DataFrame:
    """A row per class and layer: how many `filters`, how many extract no concept (`none`) and are `redundant`.

    `mean_rank` is relative: 1 if every map has full rank. `numbers` lists redundant filters.
    """
    rows = []
    for one in ranks:
        zero, none = np.flatnonzero(redundant(one.ranks.numerical)), int((one.votes().concepts < 0).sum())
        numbers = ", ".join(map(str, zero)) or "–"
        rows.append((one.class_name, one.layer, one.iou.shape[1], none, one.ranks.relative.mean(), len(zero), numbers))
    return pd.DataFrame(rows, columns=["class", "layer", "filters", "none", "mean_rank", "redundant", "numbers"])


def order_table(ranks: list[LayerRanks], first=(), last=(), above=(), draws=1000) -> pd.DataFrame:
    """Where concepts of given names stand in the order by R_s: a row per finding and class that has such concepts.

    ranks: of one layer. first, last: names whose concept is to be first or last, each a finding; above: two names, the
    first of which is to have a higher R_s than the second. "x 2" is one with "x", by the mean of both. Concepts that no
    filter overlaps do not count.

    `scaled`: R_s of the named concept; `other`: the highest (last: the lowest) of the others; `difference` with `low`
    and `high`, a 95 % bootstrap interval over pictures; `place` of the named `among` so many, 1 is the highest; `holds`
    by the means; `draws`: the share of bootstrap draws in which it holds.
    """
    findings = [(f"{name} first", name, None, 1) for name in first]
    findings += [(f"{name} last", name, None, -1) for name in last]
    findings += [(" above ".join(above), *above, 1)] if len(above) else []
    rows = []
    for (finding, name, against, sign), one in itertools.product(findings, ranks):
        best, result = np.max if sign > 0 else np.min, one.sensitivity()
        known = np.isfinite(result.mean)
        named = known & [is_named_after(concept, name) for concept in one.names]
        others = known & ~named & [against is None or is_named_after(concept, against) for concept in one.names]
        if not named.any() or not others.any():
            continue
        value, rest = result.scaled[named].mean(), result.scaled[others]
        lead, place, among = value - best(rest), 1 + int((rest > value).sum()), 1 + len(rest)
        drawn = redrawn_means(np.nan_to_num(result.per_picture), draws, np.random.default_rng(0))
        drawn *= len(one.names) / drawn.sum(axis=1, keepdims=True)  # scaled, as R_s is
        leads = drawn[:, named].mean(axis=1) - best(drawn[:, others], axis=1)
        verdict = (place, among, bool(sign * lead > 0), (sign * leads > 0).mean())
        rows.append((finding, one.class_name, value, best(rest), lead, *np.quantile(leads, [0.025, 0.975]), *verdict))
    columns = ["finding", "class", "scaled", "other", "difference", "low", "high", "place", "among", "holds", "draws"]
    return pd.DataFrame(rows, columns=columns)


def vote_table(ranks: list[LayerRanks]) -> pd.DataFrame:
    """Whether a filter extracts the same concept: a row per pair of classes, and per class between its pictures.

    `agreement`: share of the filters that extract a concept in either, whose concept has the same name. A class beside
    itself is one half of its pictures beside the other.
    """
    votes = lambda one, start, step: replace(one, iou=one.iou[start::step]).votes().concepts
    words = lambda one, start=0, step=1: np.array([*one.names, ""], object)[votes(one, start, step)]
    rows = []
    for one, other in itertools.combinations_with_replacement(ranks, 2):
        first, second = (words(one, 0, 2), words(one, 1, 2)) if one is other else (words(one), words(other))
        either = (first != "") | (second != "")
        agreement = (first == second)[either].mean() if either.any() else np.nan
        rows.append((one.class_name, other.class_name, int(either.sum()), agreement))
    return pd.DataFrame(rows, columns=["first", "second", "filters", "agreement"])


def focus_table(ranks: list[LayerRanks]) -> pd.DataFrame:
    """Whether filters that keep to one concept have other ranks than the rest: a row per class.

    Mean rank of filters `with_concept` and `without` (NaN where there are none), and `spearman`, over filters, of the
    rank and the mean overlap with the concept that a filter overlaps most.
    """
    rows = []
    for one in ranks:
        mean, extracts = one.ranks.numerical.mean(axis=0), one.votes().concepts >= 0
        groups = (pd.Series(mean[extracts]).mean(), pd.Series(mean[~extracts]).mean())
        rows.append((one.class_name, *groups, spearman(mean, one.iou.mean(axis=0).max(axis=1))))
    return pd.DataFrame(rows, columns=["class", "with_concept", "without", "spearman"])


def seed_tables(seed: int, ranks: list[LayerRanks], measured: list[ClassImportance], **names) -> dict:
    """What is compared between seeds, each table with a column `seed`.

    ranks: of the last added layer. measured: of `causal_check`. names: as in `order_table`
    """
    tables = {"shares": share_table(ranks), "halves": halves_table(ranks), "filters": filter_table(ranks)}
    tables |= {"order": order_table(ranks, **names), "correlations": correlation_table(measured)}
    return {name: table.assign(seed=seed) for name, table in tables.items()}


def claims(halves, correlations, filters, order) -> list[dict]:
    """Claims of notebook 04, from tables of `seed_tables`; values are over seeds.

    `rank_vs_causal` holds if it is above chance, see `correlation_table`, by the best test of importance that there is;
    any other test has a row of its own. A finding about names holds if it does so in every class and seed; those of
    which `order` says nothing are left out. That no filter is redundant has no verdict: few layers can have any.
    """
    rows, means = [], correlations[correlations["class"] == MEAN]
    for name, column in (("rank_order_halves", "spearman"), ("rank_order_halves_by_vote", "by_vote")):
        values = halves.groupby("seed")[column].mean()
        rows.append(claim(name, values, "the same in all pictures", values.mean() >= AGREEMENT_TARGET))
    reference = causal_reference(correlations)
    others = [name for name in means["reference"].unique() if name != reference]
    for name, test in {"rank_vs_causal": reference, **{f"rank_vs_causal: {name}": name for name in others}}.items():
        of_rank = means[(means["method"] == RANK) & (means["reference"] == test)]
        holds = of_rank["spearman"].mean() > of_rank["chance"].mean()
        rows.append(claim(name, of_rank["spearman"], "a reliable measure of importance", holds))
    rivals = means[(means["method"] != RANK) & (means["reference"] == reference)]
    best = rivals.groupby("method")["spearman"].mean().idxmax()
    of_best = rivals[rivals["method"] == best]
    zero = filters.groupby("seed")["redundant"].mean()
    rows.append(claim(f"best_alternative_vs_causal: {best}", of_best["spearman"]))
    rows.append(claim("redundant_filters", zero, "up to 6 of 64", True if zero.mean() > 0 else None))
    for finding, table in order.groupby("finding", sort=False):
        name = re.sub(r"^(.+) (first|last)$", r"\1s_rank_\2", re.sub("^(.+) above (.+)$", r"\1s_above_\2", finding))
        holds = table["holds"].all()
        rows.append(claim(name, table.groupby("seed")["holds"].mean(), "in all classes shown", holds))
    return rows
