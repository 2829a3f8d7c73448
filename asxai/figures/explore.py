"""The figures of explorers and of one's own pictures. As in `asxai.figures.train` each gives `(figure, table)`."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from .explanation import OUTLINES
from .sheet import label_row, set_title, show_picture
from .style import COLOURS, MOST_CONCEPTS

TIER_COLOURS = (COLOURS[0], COLOURS[6], "0.75")  # sure, probably, not sure: from the strongest to the faintest


# --- Traits ----------------------------------------------------------------------------------------------------------


def trait_view(picture, highest, lowest, scores, title):
    """The picture of a trait, large, beside the pictures that score highest and lowest along its weights.

    picture: uint8 `(side, side, 3)`. highest, lowest: uint8 `(exemplar, side, side, 3)`, the furthest first. scores: a
    pair, of both, `(exemplar,)` each. The table has a row per exemplar: `end`, `rank`, `score`.
    """
    # places in inches, and no layout engine: this is drawn at every move of a slider
    width, height, side = 3 + 1.35 * max(len(highest), len(lowest)), 3.4, 1.25
    figure = plt.figure(figsize=(width, height), layout="none")
    at = lambda left, bottom, side: figure.add_axes((left / width, bottom / height, side / width, side / height))
    show_picture(at(0.05, 0.05, 2.8), np.asarray(picture))
    ends, rows = {"highest": (highest, scores[0]), "lowest": (lowest, scores[1])}, []
    for r, (end, (pictures, values)) in enumerate(ends.items()):
        for e, (shown, value) in enumerate(zip(pictures, values)):
            axis = at(3 + 1.35 * e, 1.55 - 1.5 * r + 0.05, side)
            show_picture(axis, np.asarray(shown))
            axis.set_title(f"{end}, {value:+.1f}" if e == 0 else f"{value:+.1f}", fontsize=9, pad=2)
            rows.append({"end": end, "rank": e + 1, "score": float(value)})
    set_title(figure, title)
    return figure, pd.DataFrame(rows)


def trait_sheet(pictures, values, lowest, highest, ratios, title):
    """A row per component: its lowest pictures, the trait with the component at each of `values`, its highest pictures.

    pictures: uint8 `(component, value, side, side, 3)`. values: standard deviations `(value,)`, with 0 among them.
    lowest, highest: uint8 `(component, exemplar, side, side, 3)`, the furthest first. ratios: explained variance
    `(component,)`. The table has a row per component and value: `component`, `value`, `explained_variance_ratio`, and
    `changed`, the mean absolute difference from the picture at 0, in [0, 1].
    """
    values = list(values)
    if 0 not in values:
        raise ValueError(f"values={values} must have 0 among them, what the others are compared with")
    pictures, count = np.asarray(pictures), len(lowest[0])
    columns = 2 * count + len(values)
    figure, axes = plt.subplots(len(pictures), columns, squeeze=False,
                                figsize=(1.15 * columns + 1.2, 1.25 * len(pictures) + 0.7))
    changed = np.abs(pictures - pictures[:, [values.index(0)]].astype(float)).mean(axis=(2, 3, 4)) / 255
    rows = []
    for k, row in enumerate(axes):
        shown = [*lowest[k][::-1], *pictures[k], *highest[k]]  # the furthest beside the trait
        for axis, picture in zip(row, shown):
            show_picture(axis, np.asarray(picture))
        for axis in row[len(shown):]:
            axis.set_axis_off()
        label_row(row[0], f"component {k + 1}\n{100 * ratios[k]:.0f} % of the\nvariance")
        rows += [{"component": k + 1, "value": value, "explained_variance_ratio": float(ratios[k]), "changed": change}
                 for value, change in zip(values, changed[k])]
    names = [*["next"] * (count - 1), "lowest", *("trait" if value == 0 else f"{value:+g} std" for value in values),
             "highest", *["next"] * (count - 1)]
    for axis, name in zip(axes[0], names):
        axis.set_title(name, fontsize=10, pad=3)
    set_title(figure, title)
    return figure, pd.DataFrame(rows)


# --- Rules -----------------------------------------------------------------------------------------------------------


def rule_view(table, usual, title=""):
    """Share and accuracy of each tier, with their intervals; hollow marks are those of the usual thresholds.

    table, usual: of `asxai.benchmarks.trustworthy.tier_table`. The table is given back as it is.
    """
    tiers = [name for name in table["tier"] if name != "all"]
    height = 0.5 * len(tiers) + 1.3
    figure, axes = plt.subplots(1, 2, figsize=(8.2, height), sharey=True, layout="none")  # quick, as above
    figure.subplots_adjust(left=0.11, right=0.91, wspace=0.22, bottom=0.65 / height, top=1 - 0.45 / height)
    for axis, what in zip(axes, ("share", "accuracy")):
        for y, name in enumerate(tiers):
            for shown, filled in ((usual, False), (table, True)):
                row = shown[shown["tier"] == name].iloc[0]
                if np.isnan(row[what]):
                    if filled:
                        axis.text(0.5, y, "no picture", transform=axis.get_yaxis_transform(), ha="center", va="center",
                                  fontsize=9, color="0.4")
                    continue
                colour = TIER_COLOURS[y % len(TIER_COLOURS)]
                if filled and what == "share":
                    axis.barh(y, 100 * row[what], height=0.55, color=colour, zorder=1)
                if filled:
                    axis.hlines(y, 100 * row[f"{what}_low"], 100 * row[f"{what}_high"], color="0.15", lw=1.4, zorder=3)
                    axis.text(1.02, y, f"{100 * row[what]:.1f} %", transform=axis.get_yaxis_transform(), va="center",
                              fontsize=9)
                axis.plot(100 * row[what], y, "D" if filled else "o", mfc="0.15" if filled else "none", mec="0.15",
                          ms=5 if filled else 9, zorder=4)
        axis.set(xlabel="share of pictures, %" if what == "share" else "accuracy of the tier, %", xlim=(-2, 102))
        axis.grid(axis="x", alpha=0.4)
    axes[0].set_yticks(range(len(tiers)), tiers)
    axes[0].set_ylim(len(tiers) - 0.5, -0.5)
    set_title(figure, title)
    return figure, table


def rule_sweeps(sweeps, usual, labels, title=""):
    """What each threshold does by itself: shares of tiers above, their accuracy below.

    sweeps: a row per `threshold`, `value` and `tier`, with `share` and `accuracy`; given back as it is. usual: default
    by threshold (dashed). labels: what to write under each.
    """
    names, tiers = list(dict.fromkeys(sweeps["threshold"])), list(dict.fromkeys(sweeps["tier"]))
    figure, axes = plt.subplots(2, len(names), figsize=(1.75 * len(names) + 0.8, 4.2), sharey="row", sharex="col",
                                squeeze=False)
    for column, name in zip(axes.T, names):
        own = sweeps[sweeps["threshold"] == name]
        by_tier = [own[own["tier"] == tier] for tier in tiers]
        values = by_tier[0]["value"].to_numpy()
        column[0].stackplot(values, [100 * tier["share"] for tier in by_tier], labels=tiers, colors=TIER_COLOURS)
        for tier, colour in zip(by_tier, (COLOURS[0], COLOURS[6], "0.5")):
            column[1].plot(values, 100 * tier["accuracy"], color=colour, marker=".", ms=4, lw=1.4)
        for axis in column:
            axis.axvline(usual[name], color="k", lw=1, ls=(0, (4, 2)))
            axis.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
        column[1].set_xlabel(textwrap.fill(labels[name], 16))
        column[1].grid(alpha=0.4)
    axes[0, 0].set_ylabel("share of\npictures, %")
    axes[1, 0].set_ylabel("accuracy\nof the tier, %")
    lowest = 100 * np.nanmin(sweeps["accuracy"])
    axes[1, 0].set_ylim(min(94.5, lowest - 2), 100.8)  # single pictures must not look big
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=len(tiers), loc="outside upper center", fontsize=9,
                  title=title or None)
    return figure, sweeps


# --- Explanations ----------------------------------------------------------------------------------------------------


def explanation_sheet(picture, masks, percentiles, names, class_names, predicted, steps):
    """Outlines of concepts at several percentiles above explanations that lack more and more concepts.

    picture: uint8 `(height, width, 3)`. masks: bool `(percentile, concept, height, width)`. names: `(concept,)`.
    predicted: name of the predicted class. steps: tuples (names of what is left out, PCS `(class, concept)`, tier,
    sentence). The table has a row per step, class and concept: `without`, `tier`, `class`, `concept`, `score`.
    """
    columns = max(len(masks), len(steps))
    label = list(class_names).index(predicted)
    own = np.flatnonzero(~np.isnan(steps[0][1][label]))[:MOST_CONCEPTS]
    figure = plt.figure(figsize=(3.6 * columns, 4.9 + 0.24 * len(own)))
    grid = figure.add_gridspec(3, columns, height_ratios=[2.8, 0.24 * len(own) + 0.4, 0.9])
    for p, (shown, percentile) in enumerate(zip(masks, percentiles)):
        axis = figure.add_subplot(grid[0, p])
        show_picture(axis, picture, f"masks above the {percentile:g}th percentile")
        for k in own:
            if shown[k].any() and not shown[k].all():
                drawn = axis.contour(shown[k], levels=[0.5], colors=[OUTLINES[k % len(OUTLINES)]], linewidths=1.6)
                drawn.set(path_effects=[withStroke(linewidth=2.8, foreground="0.1")])
    rows, first = [], None
    colours = [OUTLINES[k % len(OUTLINES)] for k in own]
    for s, (without, scores, tier, sentence) in enumerate(steps):
        first = axis = figure.add_subplot(grid[1, s], sharey=first)
        others = np.delete(np.nan_to_num(scores, nan=0.0), label, axis=0)
        best = others[:, own].max(axis=0) if len(others) else np.zeros(len(own))
        y = np.arange(len(own))
        axis.hlines(y, best, scores[label, own], color="0.75", lw=2, zorder=1)
        axis.plot(best, y, "s", color=COLOURS[1], ms=5, label="best other class", zorder=2)
        axis.plot(scores[label, own], y, "o", color=COLOURS[0], ms=7, label=predicted, zorder=3)
        for k in np.flatnonzero([names[k] in without for k in own]):
            axis.axhspan(k - 0.5, k + 0.5, color="0.92", lw=0, zorder=0)
        axis.set_yticks(y, [textwrap.shorten(names[k], 16, placeholder="…") for k in own])
        axis.set(ylim=(len(own) - 0.5, -0.5), xlim=(-0.05, 1.05 * max(1, np.nanmax(scores))), xlabel="PCS")
        axis.grid(axis="x", alpha=0.4)
        axis.tick_params(labelleft=s == 0)
        if s == 0:  # the colours of the outlines above
            axis.tick_params(axis="y", pad=16)
            axis.scatter(np.full(len(own), -0.045), y, s=40, marker="s", c=colours, edgecolors="0.1", linewidths=0.8,
                         transform=axis.get_yaxis_transform(), clip_on=False, zorder=4)
        left_out = f"without {', '.join(without)}" if without else "all concepts"
        axis.set_title(f"{textwrap.fill(left_out, 44)}\n{tier}", fontsize=10)
        words = figure.add_subplot(grid[2, s])
        words.text(0, 1, textwrap.fill(sentence, 50), va="top", fontsize=9, transform=words.transAxes)
        words.set_axis_off()
        rows += [{"without": ", ".join(without), "tier": tier, "class": class_name, "concept": name,
                  "score": scores[c, k]} for c, class_name in enumerate(class_names) for k, name in enumerate(names)]
    figure.legend(*first.get_legend_handles_labels(), ncols=2, loc="outside lower center", fontsize=9)
    return figure, pd.DataFrame(rows)


# --- One's own pictures ----------------------------------------------------------------------------------------------


def few_pictures(table, title=""):
    """Accuracy, and agreement of concepts with true parts where it is known, over the number of pictures of a class.

    table: of `asxai.benchmarks.own_pictures.learning_curve`; given back as it is.
    """
    shown = [("accuracy", "accuracy on all\ntest pictures")]
    shown += [("nmi", "agreement of concepts\nwith true parts (NMI)")] if table["nmi"].notna().any() else []
    figure, axes = plt.subplots(1, len(shown), squeeze=False, figsize=(3.6 * len(shown) + 0.6, 2.9))
    for axis, (name, label), colour in zip(axes[0], shown, (COLOURS[0], COLOURS[5])):
        axis.plot(table["pictures"], table[name], "o-", color=colour)
        for x, y in zip(table["pictures"], table[name]):
            axis.annotate(f"{y:.2f}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9)
        axis.set_xscale("log")
        axis.set_xticks(table["pictures"], [str(count) for count in table["pictures"]])
        axis.minorticks_off()
        axis.set(xlabel="pictures of a class", ylabel=label, ylim=(0, 1.12), yticks=(0, 0.5, 1))
        axis.margins(x=0.12)
        axis.grid(alpha=0.4)
    set_title(figure, title)
    return figure, table
