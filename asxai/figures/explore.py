"""The figures of notebook 09's sliders and of one's own pictures, notebook 10."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from . import sheet
from .dots import COLUMNS, dot_plot, draw_dots
from .sheet import legend_below, outline, panels, picture_grid, set_title, show_picture, tag, wrapped
from .style import COLOURS, MOST_CONCEPTS, OUTLINES, TIER_COLOURS, Drawn

PANELS = {"share": "share of pictures, %", "accuracy": "accuracy of the tier, %"}


def trait_view(picture, highest, lowest, scores, title: str) -> Drawn:
    """The picture of a trait, large, beside the pictures that score highest and lowest along its weights.

    picture: uint8 `(side, side, 3)`. highest, lowest: uint8 `(exemplar, side, side, 3)`, the furthest first. scores: a
    pair, of both, `(exemplar,)` each. The table has a row per exemplar.
    """
    # no layout engine: this is drawn at every move of a slider
    figure, rows = sheet.inch_figure(3 + 1.35 * max(len(highest), len(lowest)), 3.4), []
    show_picture(sheet.inch_axis(figure, 0.05, 0.05, 2.8, 2.8), picture)
    for bottom, end, pictures, values in ((1.6, "highest", highest, scores[0]), (0.1, "lowest", lowest, scores[1])):
        for e, (exemplar, value) in enumerate(zip(pictures, values)):
            axis = sheet.inch_axis(figure, 3 + 1.35 * e, bottom, 1.25, 1.25)
            show_picture(axis, exemplar)
            axis.set_title(f"{value:+.1f}" if e else f"{end}, {value:+.1f}", fontsize=9, pad=2)
            rows.append({"end": end, "rank": e + 1, "score": float(value)})
    set_title(figure, title)
    return figure, pd.DataFrame(rows)


def trait_sheet(pictures, values, lowest, highest, ratios, title: str) -> Drawn:
    """A row per component: its lowest pictures, the trait with the component at each of `values`, its highest pictures.

    pictures: uint8 `(component, value, side, side, 3)`. values: standard deviations `(value,)`, with 0 among them.
    lowest, highest: uint8 `(component, exemplar, side, side, 3)`, the furthest first. ratios: explained variance
    `(component,)`. The table has a row per component and value; `changed` is the mean absolute difference from the
    picture at 0, in [0, 1].
    """
    whole = pictures[:, [list(values).index(0)]].astype(float)
    changed = np.abs(pictures - whole).mean(axis=(2, 3, 4)) / 255
    rows = [[*low[::-1], *moved, *high] for low, moved, high in zip(lowest, pictures, highest)]  # the furthest inside
    labels = [f"component {k}\n{100 * ratio:.0f} % of the\nvariance" for k, ratio in enumerate(ratios, 1)]
    moved = [f"{value:+g} std".replace("-", "−") if value else "trait" for value in values]
    more = ["next"] * (len(lowest[0]) - 1)
    figure, _ = picture_grid(rows, labels, title, [[*more, "lowest", *moved, "highest", *more]], size=(1.15, 1.25))
    rows = [(k + 1, values[v], float(ratios[k]), changed[k, v]) for k, v in np.ndindex(changed.shape)]
    return figure, pd.DataFrame(rows, columns=["component", "value", "explained_variance_ratio", "changed"])


def rule_view(table: pd.DataFrame, usual: pd.DataFrame, title: str) -> Drawn:
    """Share and accuracy of each tier, with their intervals; hollow marks are those of the usual thresholds.

    table, usual: of `asxai.benchmarks.trustworthy.tier_table`. The table is given back as it is.
    """
    styles = {"now": {"color": COLOURS[0], "marker": "D"}}
    styles["usual"] = {"color": "0.15", "marker": "o", "fillstyle": "none", "mec": "0.15"}
    rows = []
    for what, measure in PANELS.items():
        for group, tiers in zip(styles, (table, usual)):
            values = 100 * tiers.set_index("tier")[[what, f"{what}_low", f"{what}_high"]].drop("all")
            values = values.set_axis(["value", "low", "high"], axis=1).rename_axis("method").reset_index()
            texts = [f"{value:.1f} %" if value == value else "no picture" for value in values["value"]]
            rows.append(values.assign(measure=measure, group=group, text=texts if group == "now" else ""))
    figure, _ = dot_plot(pd.concat(rows), title, styles=styles, width=3.2)
    for axis in figure.axes:
        axis.set_xlim(-2, 102)
    return figure, table


def rule_sweeps(sweeps: pd.DataFrame, usual: dict, labels: dict, title: str) -> Drawn:
    """What each threshold does by itself: shares of tiers above, their accuracy below.

    sweeps: a row per `threshold`, `value` and `tier`, with `share` and `accuracy`; given back as it is. usual: default
    by threshold (dashed). labels: what to write under each.
    """
    names, tiers = list(dict.fromkeys(sweeps["threshold"])), dict(zip(dict.fromkeys(sweeps["tier"]), TIER_COLOURS))
    inches = 1.75 * len(names) + 0.8, 4.4
    figure, axes = plt.subplots(2, len(names), figsize=inches, sharey="row", sharex="col", squeeze=False)
    for column, name in zip(axes.T, names):
        wide = sweeps[sweeps["threshold"] == name].pivot(index="value", columns="tier")[list(PANELS)] * 100
        column[0].stackplot(wide.index, wide["share"][list(tiers)].T, colors=tiers.values())
        for (tier, colour), width in zip(tiers.items(), (4, 2.4, 1.2)):  # where tiers are equal all are seen
            column[1].plot(wide.index, wide["accuracy"][tier], color=colour, marker=".", ms=4, lw=width)
        for axis in column:
            axis.axvline(usual[name], color="k", lw=1, ls="--")
            axis.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
        column[1].set_xlabel(wrapped(labels[name], 16))
        column[1].grid()
    axes[0, 0].set_ylabel("share of\npictures, %")
    axes[1, 0].set_ylabel("accuracy\nof the tier, %")
    low = min(94.5, 100 * sweeps["accuracy"].min() - 2)  # single pictures must not look big
    axes[1, 0].set_ylim(low, 100 + max(0.8, 0.06 * (100 - low)))  # a line at 100 must not hide under the frame
    legend_below(figure, {tier: {"color": colour, "marker": "s"} for tier, colour in tiers.items()}, title)
    return figure, sweeps


def explanation_sheet(picture, masks, percentiles, names, class_names, predicted: str, steps) -> Drawn:
    """Outlines of concepts at several percentiles above explanations that lack more and more concepts.

    picture: uint8 `(height, width, 3)`. masks: bool `(percentile, concept, height, width)`. names: `(concept,)`.
    predicted: name of the predicted class. steps: tuples (names of what is left out, PCS `(class, concept)`, tier,
    sentence). The table has a row per step, class and concept.
    """
    c, columns = list(class_names).index(predicted), max(len(masks), len(steps))
    shown = np.flatnonzero(~np.isnan(steps[0][1][c]))[:MOST_CONCEPTS]
    heights = [2.8, 0.3 * len(shown) + 0.6]
    inches = 3.6 * columns, sum(heights) + 1.9
    figure, axes = plt.subplots(2, columns, squeeze=False, figsize=inches, height_ratios=heights)
    for axis in axes[0, len(masks) :]:
        axis.set_axis_off()
    for axis, percentile, of_percentile in zip(axes[0], percentiles, masks):
        show_picture(axis, picture, f"masks above the {percentile:g}th percentile")
        for k, colour in zip(shown, OUTLINES * 2):
            outline(axis, of_percentile[k], colour, 1.6)
    styles = {"best other class": {"color": COLOURS[1], "marker": "s"}, predicted: {"color": COLOURS[0], "marker": "o"}}
    rows, labels = [], [wrapped(names[k], 16, 1) for k in shown]
    for axis, (without, scores, tier, sentence) in zip(axes[1], steps):
        others = np.nan_to_num(np.delete(scores, c, axis=0)).max(axis=0, initial=0)
        dots = {"method": labels * 2, "group": np.repeat(list(styles), len(shown))}
        dots["value"] = [*others[shown], *scores[c, shown]]
        draw_dots(axis, pd.DataFrame(dots).reindex(columns=COLUMNS), labels, styles)
        for label, k, colour in zip(axis.get_yticklabels(), shown, OUTLINES * 2):
            label.set_bbox(tag(colour))  # as the outline above
            label.set_alpha(0.4 if names[k] in without else 1)
        left_out = f"without {', '.join(without)}" if without else "all concepts"
        axis.set_title(f"{wrapped(left_out, 44)}\n{tier}")
        axis.set(xlim=(-0.05, 1.05 * max(1, np.nanmax(scores))), xlabel="PCS\n\n" + wrapped(sentence, 48, 8))
        each = np.ndindex(scores.shape)
        rows += [(", ".join(without), tier, class_names[i], names[k], scores[i, k]) for i, k in each]
    legend_below(figure, styles)
    return figure, pd.DataFrame(rows, columns=["without", "tier", "class", "concept", "score"])


def few_pictures(table: pd.DataFrame, title: str) -> Drawn:
    """Accuracy, and agreement of concepts with true parts where it is known, over the number of pictures of a class.

    table: of `asxai.benchmarks.own_pictures.learning_curve`; given back as it is.
    """
    measures = {"accuracy": "accuracy on all\ntest pictures", "nmi": "agreement of concepts\nwith true parts (NMI)"}
    known = [name for name in measures if table[name].notna().any()]
    figure, axes = panels(len(known), 2, 3.6, 2.5, sharey=True)
    for axis, name, colour in zip(axes, known, (COLOURS[0], COLOURS[5])):
        axis.semilogx(table["pictures"], table[name], "o-", color=colour)
        for x, y in zip(table["pictures"], table[name]):
            axis.annotate(f"{y:.2f}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9)
        axis.set_xticks(table["pictures"], table["pictures"].astype(str))
        axis.minorticks_off()
        axis.set(xlabel="pictures of a class", ylabel=measures[name], ylim=(0, 1.12), yticks=(0, 0.5, 1), xmargin=0.12)
        axis.grid()
    set_title(figure, title)
    return figure, table
