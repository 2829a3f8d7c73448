"""Figures of sets of pictures and of parts, from arrays and tables alone. Each function gives `(figure, table)`."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from ..statistics import expected_calibration_error
from .explanation import WIDTH
from .ring import CLASS_COLOURS
from .sheet import check_columns, is_light, label_row, set_title, show_picture

TIER_COLOURS = ("#08519c", "#6baed6", "#fdae6b", "#bdbdbd", "#756bb1")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def tier_bars(table, title=""):
    """How often each tier of confidence is used, and how often it is right, for several sets of pictures.

    table: a row per set and tier with `set`, `tier`, `share` of the set's pictures, `accuracy`, `low` and `high` (its
        interval) and `count` of pictures; accuracy is NaN where nothing can be right. Sets and tiers are drawn in the
        order in which they first occur. The table is given back as it is.
    """
    check_columns(table, "set", "tier", "share", "accuracy", "low", "high", "count")
    sets, tiers = list(dict.fromkeys(table["set"])), list(dict.fromkeys(table["tier"]))
    colours = {tier: TIER_COLOURS[i % len(TIER_COLOURS)] for i, tier in enumerate(tiers)}
    row = max(0.5, 0.24 * len(tiers))
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH - 1, row * len(sets) + 1.5), sharey=True, width_ratios=[1.1, 1],
                                layout="constrained")
    for y, name in enumerate(sets):
        own = table[table["set"] == name].set_index("tier")
        start = 0.0
        for i, tier in enumerate(tiers):
            if tier not in own.index:
                continue
            found = own.loc[tier]
            share = 100 * found["share"]
            axes[0].barh(y, share, left=start, height=0.6, color=colours[tier], ec="w", lw=0.8)
            if share >= 6:
                axes[0].text(start + share / 2, y, f"{share:.0f}", ha="center", va="center", fontsize=9,
                             color="k" if is_light(colours[tier]) else "w")
            start += share
            at = y + 0.62 * ((i + 0.5) / len(tiers) - 0.5)
            if np.isnan(found["accuracy"]):
                axes[1].text(103, at, f"– ({int(found['count'])})" if found["count"] else "not used", fontsize=8,
                             color="0.5", va="center")
                continue
            axes[1].plot([100 * found["low"], 100 * found["high"]], [at, at], color=colours[tier], lw=2)
            axes[1].plot(100 * found["accuracy"], at, "o", color=colours[tier], mec="0.2", mew=0.6, ms=6)
            axes[1].text(103, at, f"{100 * found['accuracy']:.1f} %  ({int(found['count'])})", fontsize=8, va="center")
        if y % 2:
            axes[1].axhspan(y - 0.5, y + 0.5, color="0.95", lw=0, zorder=0)
    handles = [Rectangle((0, 0), 1, 1, fc=colours[tier]) for tier in tiers]
    axes[0].legend(handles, tiers, ncols=len(tiers), loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9)
    axes[0].set_yticks(range(len(sets)), [textwrap.fill(str(name), 24) for name in sets])
    axes[0].set(ylim=(len(sets) - 0.5, -0.5), xlim=(0, 100), xlabel="share of pictures, %")
    axes[1].set(xlim=(0, 102), xlabel="right, %, with interval; beside it the number of pictures")
    axes[1].grid(axis="x", alpha=0.4)
    if title:
        set_title(figure, title)
    return figure, table


def risk_coverage(curves, title=""):
    """Share of errors among the pictures that a score is surest of, over the share of pictures that these are.

    curves: name -> (coverage, risk, aurc): two arrays of the same length in [0, 1], and the area under the curve

    The table has a row per point: `score`, `coverage`, `risk`, `aurc`. Raises ValueError for arrays that do not fit.
    """
    for name, (coverage, risk, _) in curves.items():
        if np.shape(coverage) != np.shape(risk) or np.ndim(risk) != 1 or not len(risk):
            raise ValueError(f"curves[{name!r}]: coverage {np.shape(coverage)} and risk {np.shape(risk)} must be two "
                             "arrays of one length")
    figure, axis = plt.subplots(figsize=(6.6, 4), layout="constrained")
    for i, (name, (coverage, risk, aurc)) in enumerate(curves.items()):
        axis.plot(100 * np.asarray(coverage), 100 * np.asarray(risk), color=CLASS_COLOURS[i % len(CLASS_COLOURS)],
                  ls=LINES[i % len(LINES)], lw=1.8, label=f"{textwrap.fill(name, 30)}: {aurc:.4f}")
    axis.set(xlim=(0, 100), xlabel="coverage: the surest pictures, %", ylabel="risk: wrong among these, %")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.4)
    axis.legend(title="area under the curve (lower is better)", fontsize=9, title_fontsize=9, loc="center left",
                bbox_to_anchor=(1.01, 0.5), frameon=False)
    if title:
        set_title(figure, title)
    return figure, pd.concat([pd.DataFrame({"score": name, "coverage": np.asarray(coverage, float),
                                            "risk": np.asarray(risk, float), "aurc": aurc})
                              for name, (coverage, risk, aurc) in curves.items()], ignore_index=True)


def reliability(predictions, bins=10, title=""):
    """Reliability diagrams: how often pictures of a confidence are right, and the expected calibration error.

    predictions: name -> (confidence, right): two arrays `(picture,)`, in [0, 1] and bool
    bins: of equal width. ECE is the mean |accuracy - mean confidence| of the bins, weighted by their pictures (Naeini
        et al., AAAI 2015; Guo et al., ICML 2017)

    The table has a row per name and bin that is not empty: `score`, `low`, `high` (edges), `confidence`, `accuracy`,
    `count`, and `ece` of the name. Raises ValueError for arrays that do not fit.
    """
    rows = [row for name, (confidence, right) in predictions.items() for row in _bins(name, confidence, right, bins)]
    table = pd.DataFrame(rows)
    columns = min(4, len(predictions))
    lines = -(-len(predictions) // columns)
    figure, axes = plt.subplots(lines, columns, squeeze=False, sharex=True, sharey=True, layout="constrained",
                                figsize=(2.7 * columns + 0.6, 3.3 * lines + (0.6 if title else 0.2)))
    for axis in axes.flat[len(predictions):]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, predictions):
        own = table[table["score"] == name]
        shade = 0.25 + 0.75 * own["count"] / own["count"].max()
        for (_, bin), alpha in zip(own.iterrows(), shade):
            axis.bar(bin["low"], bin["accuracy"], bin["high"] - bin["low"], align="edge", color=CLASS_COLOURS[0],
                     alpha=alpha, ec="w", lw=0.6)
            axis.plot([bin["confidence"]] * 2, [bin["accuracy"], bin["confidence"]], color=CLASS_COLOURS[4], lw=2)
            axis.plot(bin["confidence"], bin["accuracy"], "o", color="k", ms=3.5)
        axis.plot([0, 1], [0, 1], color="0.4", lw=1, ls=(0, (4, 2)))
        axis.set(xlim=(0, 1), ylim=(0, 1))
        axis.set_title(f"{textwrap.fill(name, 26)}\nECE {own['ece'].iloc[0]:.3f}", fontsize=10)
    for axis in axes[-1, :len(predictions) - columns * (lines - 1)]:
        axis.set_xlabel("confidence", fontsize=10)
    figure.supxlabel("line: gap to accuracy; dashed: no gap; darker: more pictures", fontsize=9)
    figure.supylabel("accuracy", fontsize=10)
    if title:
        set_title(figure, title)
    return figure, table


def _bins(name, confidence, right, bins):
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    if confidence.shape != right.shape or confidence.ndim != 1 or not len(right) or not (
            (confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(f"predictions[{name!r}]: confidence {confidence.shape} and right {right.shape} must be of the "
                         "same pictures, at least one, and confidence from 0 to 1")
    bin = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(bin, minlength=bins)
    sums = [np.bincount(bin, values, minlength=bins) for values in (confidence, right)]
    gap = expected_calibration_error(confidence, right, bins)
    return [{"score": name, "low": b / bins, "high": (b + 1) / bins, "confidence": sums[0][b] / count[b],
             "accuracy": sums[1][b] / count[b], "count": int(count[b]), "ece": gap} for b in np.flatnonzero(count)]


def picture_strip(sets, columns=8, title=""):
    """Some pictures of several sets, a row each; sets: name -> uint8 `(picture, 3, size, size)`.

    The table has a row per set: `set`, `pictures` (how many there are), `shown`.
    """
    if not sets:
        raise ValueError("sets are empty; give at least one set of pictures")
    columns = min(columns, max(len(own) for own in sets.values()))
    figure, axes = plt.subplots(len(sets), columns, squeeze=False, figsize=(1.25 * columns + 1.4, 1.3 * len(sets)))
    rows = []
    for row, (name, pictures) in zip(axes, sets.items()):
        for axis, picture in zip(row, pictures):
            show_picture(axis, np.asarray(picture).transpose(1, 2, 0))
        for axis in row[len(pictures):]:
            axis.set_axis_off()
        label_row(row[0], textwrap.fill(name, 14))
        rows.append({"set": name, "pictures": len(pictures), "shown": min(columns, len(pictures))})
    set_title(figure, title)
    return figure, pd.DataFrame(rows)


def part_matrix(table, title="How often a part's own parent is found, among all classes"):
    """Shares of right answers, hybrids down and parts across, with the class that is found most often in each cell.

    table: a row per hybrid and part with `hybrid`, `part`, `parent`, `pictures`, `right` in [0, 1] and `most often`, as
        of `asxai.benchmarks.ood.parts_summary`. It is given back as it is.
    """
    missing = {"hybrid", "part", "parent", "right", "most often"} - set(table)
    if missing or not len(table):
        raise ValueError(f"table lacks {', '.join(sorted(missing)) or 'rows'}; give what parts_summary gave")
    hybrids, parts = list(dict.fromkeys(table["hybrid"])), list(dict.fromkeys(table["part"]))
    share = np.full((len(hybrids), len(parts)), np.nan)
    figure, axis = plt.subplots(figsize=(1.15 * len(parts) + 1.6, 0.72 * len(hybrids) + 1.2))
    for row in table.to_dict("records"):
        y, x = hybrids.index(row["hybrid"]), parts.index(row["part"])
        share[y, x] = row["right"]
        found = row["parent"] if row["most often"] == row["parent"] else f"{row['parent']}\n→ {row['most often']}"
        axis.text(x, y, f"{100 * row['right']:.0f} %\n{found}", ha="center", va="center", fontsize=8,
                  color="w" if row["right"] > 0.6 else "k")
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(parts)), parts)
    axis.set_yticks(range(len(hybrids)), hybrids)
    axis.tick_params(length=0)
    axis.set_facecolor("0.93")
    figure.colorbar(image, ax=axis, label="share of pictures", fraction=0.025)
    set_title(figure, title)
    return figure, table
