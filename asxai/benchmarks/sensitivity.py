"""How sensitive the filters of a study are to its concepts (section 2.3.1), and whether rank means importance.

    found = layer_ranks(study, concept_regions(study, concepts), study.data.test)   # a LayerRanks per class and layer
    found[0].sensitivity().share                                                    # Figure 4's scores
    measured = class_importance(found, gradient_activation(...), sobol_indices(...), hidden_drops(...))
    table = correlation_table(measured)                                             # does rank foretell effects?

The paper holds that a concept whose filters have maps of high rank matters more. That can be tested: hide the concept,
or on drawn pictures do not draw the part, and see how far the logit of the picture's class falls. The same is asked of
simpler measures of importance, which read the same layer on the same pictures.
"""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ..concepts.masks import semantic_masks
from ..concepts.names import is_named_after
from ..data.datasets import spread_over
from ..data.features import BATCH
from ..ranks.layers import NUMERICAL, recorded_maps
from ..ranks.ranks import (
    bootstrap_shares,
    by_overlap,
    halves_agreement,
    ranks_of,
    redundant,
    sensitivity,
    vote,
    vote_weights,
)
from ..results import claim
from ..statistics import spearman
from .importance import HIDDEN, MEAN, RANK, UNDRAWN

TOLERANCES = (None, 1e-4, 1e-3, 1e-2, 1e-1)  # that are compared; None is matrix_rank's
AGREEMENT_TARGET = 0.9  # of orders of concepts between halves of the pictures; this study's own


def panel(study, own, most=3):
    """What `asxai.figures.sensitivity.sensitivity_panel` needs of a `LayerRanks`, but title and order.

    The strongest filters of a concept are those that overlap it most, over all pictures; each is shown in the picture
    in which it does so most.
    """
    concepts, result, chosen = own.votes().concepts, own.sensitivity(), []
    for k in range(len(own.names)):
        members = np.flatnonzero(concepts == k)
        strongest = members[np.argsort(-own.iou[:, members, k].mean(axis=0), kind="stable")[:most]]
        chosen.append([(int(own.iou[:, f, k].argmax()), int(f)) for f in strongest])
    needed = sorted({picture for pairs in chosen for picture, _ in pairs})
    shown, maps = own.shown.take(needed), {}
    for start, outputs in recorded_maps(study, shown, [own.module]):
        maps |= dict(zip(needed[start:start + BATCH], outputs[own.module]))
    pixels = dict(zip(needed, study.pictures(list(shown.paths))))
    examples = [[(pixels[p], semantic_masks(maps[p][f], study.config.size).numpy(), f) for p, f in pairs]
                for pairs in chosen]
    return {"pictures": list(study.pictures(list(spread_over(own.shown, 2).paths))), "ranks": own.ranks.numerical,
            "filter_concepts": concepts, "names": list(own.names), "scores": result.share, "means": result.mean,
            "examples": examples, "intervals": bootstrap_shares(result.per_picture)}


def by_filter(found, key="class_name", kind=NUMERICAL):
    """What `asxai.figures.sensitivity.filter_ranks` needs but a title, by class, or with key="layer" by layer."""
    return [{getattr(own, key): value(own) for own in found} for value in (
        lambda own: getattr(own.ranks, kind), lambda own: own.votes().concepts, lambda own: list(own.names))]


def importance_table(measured):
    """A row per class, concept, method and reference: `value` of the method, `causal` drop of the logit."""
    return pd.DataFrame([
        {"class": own.class_name, "concept": name, "method": method, "reference": reference, "value": value,
         "causal": drop}
        for own in measured for reference, drops in own.causes.items() for method, values in own.methods.items()
        for name, value, drop in zip(own.names, values.mean(axis=0), drops.mean(axis=0)) if np.isfinite(drop)])


def correlation_table(measured, draws=1000, seed=0):
    """Spearman's correlation of importance and drop over the concepts of a class: a row per method, reference, class.

    `spearman` with `low` and `high`, a 95 % bootstrap interval over pictures, `concepts`, and `chance`: what 2.5 % of
    random orders of the concepts exceed. Last come rows of the class `MEAN`, the mean of the classes' correlations.
    NaN for fewer than 3 concepts; means are over the other classes.
    """
    rows = []
    for reference in measured[0].causes:
        for method in measured[0].methods:
            found = [_correlations(own.methods[method], own.causes[reference], draws, [seed, label])
                     for label, own in enumerate(measured)]
            names = [own.class_name for own in measured]
            known = [one for one in found if np.isfinite(one.spearman)]
            if len(known):
                names.append(MEAN)
                found.append(_Correlations(sum(one.concepts for one in known),
                                           *(np.mean(own, axis=0) for own in zip(*(one[1:] for one in known)))))
            for name, one in zip(names, found):
                low, high, chance = (np.quantile(values, share) for values, share in
                                     ((one.redrawn, 0.025), (one.redrawn, 0.975), (one.shuffled, 0.975)))
                rows.append({"method": method, "reference": reference, "class": name, "concepts": one.concepts,
                             "spearman": one.spearman, "low": low, "high": high, "chance": chance})
    table = pd.DataFrame(rows)
    return table.sort_values("class", key=lambda names: names == MEAN, kind="stable", ignore_index=True)


class _Correlations(NamedTuple):
    """Spearman's correlation of a method and a reference; NaN where there is none."""

    concepts: int
    spearman: float
    redrawn: np.ndarray  # (draw,): with pictures drawn again
    shuffled: np.ndarray  # (draw,): with concepts in random order


def _correlations(values, drops, draws, seed):
    known = np.isfinite(values).all(axis=0) & np.isfinite(drops).all(axis=0)
    values, drops, generator = values[:, known], drops[:, known], np.random.default_rng(seed)
    correlation = spearman(values.mean(axis=0), drops.mean(axis=0))
    if np.isnan(correlation):
        return _Correlations(int(known.sum()), correlation, *np.full((2, draws), np.nan))
    means = [_redrawn(own, draws, generator) for own in (values, drops)]  # which differ in the number of pictures
    orders = generator.permuted(np.tile(values.mean(axis=0), (draws, 1)), axis=1)
    return _Correlations(int(known.sum()), correlation, _spearman_rows(*means),
                         _spearman_rows(orders, drops.mean(axis=0)[None]))


def _redrawn(values, draws, generator):
    """Means of `(picture, concept)` over pictures drawn again, `(draw, concept)`."""
    count = len(values)
    return generator.multinomial(count, np.full(count, 1 / count), draws) @ values / count


def _spearman_rows(first, second):
    """Spearman's correlation of each row, `(row, concept)` to `(row,)`; 0 for a row without an order."""
    first, second = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in
                     (rankdata(first.round(12), axis=1), rankdata(second.round(12), axis=1)))
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return (first * second).sum(axis=1) / np.where(scale > 0, scale, 1)


def best_alternative(correlations, reference):
    """The method other than R_s that agrees best with a reference, by the mean over classes and seeds."""
    means = correlations[(correlations["class"] == MEAN) & (correlations["reference"] == reference)]
    return means[means["method"] != RANK].groupby("method")["spearman"].mean().idxmax()


def causal_reference(correlations):
    """Which reference counts: parts that are not drawn where there are any, else hidden concepts."""
    means = correlations[correlations["class"] == MEAN]
    return UNDRAWN if (means["reference"] == UNDRAWN).any() else HIDDEN


# --- Tables ----------------------------------------------------------------------------------------------------------


def share_table(found, kind=NUMERICAL):
    """A row per class, layer and concept: `share` of R_s with its interval over pictures, `scaled` and `mean` R_s.

    `filters`: how many extract the concept, by vote
    """
    rows = []
    for own in found:
        result = own.sensitivity(kind)
        intervals, concepts = bootstrap_shares(result.per_picture), own.votes().concepts
        for k, name in enumerate(own.names):
            rows.append({"class": own.class_name, "layer": own.layer, "concept": name, "share": result.share[k],
                         "low": intervals[k, 0], "high": intervals[k, 1], "scaled": result.scaled[k],
                         "mean": result.mean[k], "filters": int((concepts == k).sum())})
    return pd.DataFrame(rows)


def halves_table(found, draws=100):
    """Agreement of the order of concepts between halves of the pictures: a row per class and layer.

    `spearman`, with `low` and `high`; `by_vote`: the same where a filter counts for the concept that it extracts by
    vote of the half, and for no other.
    """
    rows = []
    for own in found:
        mean, (low, high) = halves_agreement(own.ranks.numerical, own.iou, draws)
        voted, _ = halves_agreement(own.ranks.numerical, own.iou, draws, weigh=vote_weights)
        rows.append({"class": own.class_name, "layer": own.layer, "spearman": mean, "low": low, "high": high,
                     "by_vote": voted})
    return pd.DataFrame(rows)


def rank_kinds(found, tolerances=TOLERANCES, draws=20):
    """Which kind of rank to take: a row per class and kind, of `LayerRanks` of one layer.

    `halves` and `halves_by_vote`: agreement as in `halves_table`, of fewer draws; `least` and `most`: smallest and
    largest scaled R_s, both 1 where all concepts weigh the same; `between`: share of the variance of ranks that lies
    between filters, 1 if a filter has the same rank in every picture.
    """
    rows = []
    for own in found:
        weights = by_overlap(own.iou)
        for kind, ranks in _kinds(own, tolerances).items():
            scaled = sensitivity(ranks, weights).scaled
            between, within = ranks.mean(axis=0).var(), ranks.var(axis=0).mean()
            rows.append({"class": own.class_name, "rank": kind, "mean": ranks.mean(),
                         "halves": halves_agreement(ranks, own.iou, draws)[0],
                         "halves_by_vote": halves_agreement(ranks, own.iou, draws, weigh=vote_weights)[0],
                         "least": scaled.min(), "most": scaled.max(),
                         "between": between / max(between + within, 1e-12)})
    return pd.DataFrame(rows)


def kind_correlations(found, measured, tolerances=TOLERANCES):
    """Spearman's correlation of R_s by each kind of rank with the drops, mean over classes: a row per kind."""
    rows = []
    for own, causes in zip(found, (one.causes for one in measured)):
        for kind, ranks in _kinds(own, tolerances).items():
            mean = sensitivity(ranks, by_overlap(own.iou)).mean
            rows.append({"rank": kind, **{name: spearman(mean, drops.mean(axis=0)) for name, drops in causes.items()}})
    return pd.DataFrame(rows).groupby("rank", sort=False).mean().reset_index()


def _kinds(own, tolerances):
    """Ranks `(picture, filter)` by what they are called."""
    names = {f"tolerance {tolerance:g}" if tolerance else "matrix_rank’s tolerance": tolerance or own.usual
             for tolerance in tolerances}
    return {**{name: ranks_of(own.values, tolerance).numerical for name, tolerance in names.items()},
            "effective rank": own.ranks.effective}


def filter_table(found):
    """A row per class and layer: how many `filters`, of how many no concept comes (`none`), which are `redundant`.

    `mean_rank` is relative: 1 if every map has full rank. `numbers` lists redundant filters.
    """
    rows = []
    for own in found:
        zero = np.flatnonzero(redundant(own.ranks.numerical))
        rows.append({"class": own.class_name, "layer": own.layer, "filters": own.iou.shape[1],
                     "none": int((own.votes().concepts < 0).sum()), "mean_rank": own.ranks.relative.mean(),
                     "redundant": len(zero), "numbers": ", ".join(map(str, zero)) or "–"})
    return pd.DataFrame(rows)


def order_table(found, first=(), last=(), above=(), draws=1000, seed=0):
    """Where concepts of given names stand in the order by R_s: a row per finding and class that has such concepts.

    found: `LayerRanks` of one layer
    first, last: names whose concept is to be first or last, each a finding; above: two names, the first of which is to
        have a higher R_s than the second. "x 2" is one with "x", by the mean of both

    `scaled`: R_s of the named concept; `other`: the highest (last: the lowest) of the others; `difference` with `low`
    and `high`, a 95 % bootstrap interval over pictures; `place` of the named `among` so many, 1 is the highest; `holds`
    by the means; `draws`: the share of bootstrap draws in which it holds. Concepts that no filter overlaps do not
    count.
    """
    findings = [(f"{name} first", name, None, 1) for name in first]
    findings += [(f"{name} last", name, None, -1) for name in last]
    findings += [(" above ".join(above), *above, 1)] if len(above) else []
    rows = []
    for finding, name, against, sign in findings:
        for own in found:
            result = own.sensitivity()
            known = np.isfinite(result.mean)
            named = known & [is_named_after(concept, name) for concept in own.names]
            others = known & ~named & [against is None or is_named_after(concept, against)
                                                      for concept in own.names]
            if not named.any() or not others.any():
                continue
            drawn = _redrawn(np.nan_to_num(result.per_picture), draws, np.random.default_rng(seed))
            rest, best = result.scaled[others], np.max if sign > 0 else np.min
            value, rival = result.scaled[named].mean(), best(rest)
            drawn *= len(own.names) / drawn.sum(axis=1, keepdims=True)  # scaled, as R_s is
            gaps = drawn[:, named].mean(axis=1) - best(drawn[:, others], axis=1)
            low, high = np.quantile(gaps, [0.025, 0.975])
            rows.append({"finding": finding, "class": own.class_name, "scaled": value, "other": rival,
                         "difference": value - rival, "low": low, "high": high,
                         "place": 1 + int((rest > value).sum()), "among": 1 + len(rest),
                         "holds": bool(sign * (value - rival) > 0), "draws": (sign * gaps > 0).mean()})
    return pd.DataFrame(rows, columns=["finding", "class", "scaled", "other", "difference", "low", "high", "place",
                                       "among", "holds", "draws"])


def vote_table(found):
    """Whether a filter extracts the same concept: a row per pair of classes, and per class between its pictures.

    `agreement`: share of the filters, of those that extract a concept in either, whose concept has the same name. A
    class beside itself is one half of its pictures beside the other.
    """
    def words(own, pictures=slice(None)):
        return np.array([*own.names, ""], object)[vote(own.iou[pictures]).concepts]

    rows = []
    for i, own in enumerate(found):
        for other in found[i:]:
            pair = [words(own, slice(0, None, 2)), words(own, slice(1, None, 2))] if own is other else \
                [words(own), words(other)]
            either = (pair[0] != "") | (pair[1] != "")
            rows.append({"first": own.class_name, "second": other.class_name, "filters": int(either.sum()),
                         "agreement": (pair[0] == pair[1])[either].mean() if either.any() else np.nan})
    return pd.DataFrame(rows)


def focus_table(found):
    """Whether filters that keep to one concept have other ranks than the rest: a row per class.

    Mean rank of filters `with_concept` and `without` (NaN where there are none), and `spearman`, over filters, of the
    rank and the mean overlap with the concept that a filter overlaps most.
    """
    rows = []
    for own in found:
        ranks, extracts = own.ranks.numerical.mean(axis=0), own.votes().concepts >= 0
        rows.append({"class": own.class_name, "with_concept": pd.Series(ranks[extracts]).mean(),
                     "without": pd.Series(ranks[~extracts]).mean(),
                     "spearman": spearman(ranks, own.iou.mean(axis=0).max(axis=1))})
    return pd.DataFrame(rows)


def seed_tables(seed, found, measured, first=(), last=(), above=()):
    """What is compared between seeds, of `LayerRanks` of the last added layer and `causal_check`: tables by name.

    Each has a column `seed`. first, last, above: as in `order_table`
    """
    tables = {"shares": share_table(found), "halves": halves_table(found), "filters": filter_table(found),
              "order": order_table(found, first, last, above), "correlations": correlation_table(measured)}
    return {name: table.assign(seed=seed) for name, table in tables.items()}


def claims(halves, correlations, filters, order):
    """Claims of notebook 04, from tables of `seed_tables`; values are over seeds.

    `rank_vs_causal` holds if it is above chance, see `correlation_table`, by the best test of importance that there is;
    any other test has a row of its own. A finding about names holds if it does so in every class and seed; those of
    which `order` says nothing are left out. That no filter is redundant has no verdict: few layers can have any.
    """
    means = correlations[correlations["class"] == MEAN]
    reference = causal_reference(correlations)
    others = [other for other in means["reference"].unique() if other != reference]
    of_rank = means[means["method"] == RANK].set_index("reference")[["spearman", "chance"]]
    means = means[means["reference"] == reference].set_index(["method", "seed"])
    best = best_alternative(correlations, reference)
    own, other = means.loc[RANK], means.loc[best]
    agreement = halves.groupby("seed")[["spearman", "by_vote"]].mean()
    zero = filters.groupby("seed")["redundant"].mean()
    rows = [claim(name, values, "the same in all pictures", values.mean() >= AGREEMENT_TARGET) for name, values in
            (("rank_order_halves", agreement["spearman"]), ("rank_order_halves_by_vote", agreement["by_vote"]))]
    rows += [
        claim("rank_vs_causal", own["spearman"], "a reliable measure of importance",
              own["spearman"].mean() > own["chance"].mean()),
        *(claim(f"rank_vs_causal: {name}", of_rank.loc[[name], "spearman"], "a reliable measure of importance",
                of_rank.loc[[name], "spearman"].mean() > of_rank.loc[[name], "chance"].mean()) for name in others),
        claim(f"best_alternative_vs_causal: {best}", other["spearman"]),
        claim("redundant_filters", zero, "up to 6 of 64", True if zero.mean() > 0 else None)]
    for finding, own in order.groupby("finding", sort=False):
        name = re.sub(r"^(.+) (first|last)$", r"\1s_rank_\2", re.sub("^(.+) above (.+)$", r"\1s_above_\2", finding))
        rows.append(claim(name, own.groupby("seed")["holds"].mean(), "in all classes shown", own["holds"].all()))
    return rows
