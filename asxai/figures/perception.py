"""The figures of perception, from arrays and tables alone. As in `asxai.figures.train` each gives `(figure, table)`."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from .sheet import first_rows, label_row, set_title, show_picture
from .style import COLOURS, OTHER, OURS, YELLOW

MOST_CLASSES, MOST_GROUPS = 5, 12  # boxes side by side, as in the paper, and panels; tables hold all
LINEAR = 0.01  # of a cosine: up to here axes of both signs are linear
BOX_COLOURS = tuple(colour for colour in COLOURS if colour != YELLOW)


def change_strip(pictures, names, distances, class_names, title):
    """Supplementary Figure 1: an example per row, as it is and with every change.

    pictures: uint8 `(example, 1 + change, height, width, 3)`; names: of the changes; distances: `(example, change)`
    class_names: of the examples. The table has a row per example and change: `class`, `change`, `distance`.
    """
    pictures, distances = np.asarray(pictures), np.asarray(distances, float)
    if pictures.shape[:2] != (len(class_names), len(names) + 1) or distances.shape != (len(class_names), len(names)):
        raise ValueError(f"pictures {pictures.shape} and distances {distances.shape} must be of {len(class_names)} "
                         f"examples, as they are and with {len(names)} changes")
    figure, axes = plt.subplots(*pictures.shape[:2], squeeze=False, figsize=(
        1.4 * pictures.shape[1] + 0.9, 1.62 * len(pictures) + 0.4))
    for e, row in enumerate(axes):
        for c, axis in enumerate(row):
            show_picture(axis, pictures[e, c], "" if e else (["as it is", *names])[c])
            if c:
                axis.set_xlabel(f"distance {distances[e, c - 1]:.3f}", fontsize=9, labelpad=2)
        label_row(row[0], textwrap.fill(class_names[e], 14))
    set_title(figure, title)
    return figure, pd.DataFrame([{"class": class_name, "change": name, "distance": distances[e, c]}
                                 for e, class_name in enumerate(class_names) for c, name in enumerate(names)])


def fall_boxes(falls, names, changes, class_names, title, kind="concept"):
    """Supplementary Figure 2: how far the best cosine falls, a panel per concept, boxes per change and class.

    falls: per class numbers `(change, picture, concept)`, NaN where a concept is not seen, as of `asxai.benchmarks.perception`
    names: per class the names of its concepts; the same name has the same panel in all classes
    kind: what the panels are, for the table

    One change can matter a hundred times as much as another, so that the axis is logarithmic beyond `LINEAR`.
    Boxes hold the middle half of the pictures, whiskers reach 1.5 times as far, the line is the median; what lies
    beyond is left out. The table has a row per class, concept and change: `class`, `kind`'s name, `change`, `pictures`,
    `lower`, `median`, `upper`, `mean`. Of many classes or concepts the first are shown.
    """
    if not len(class_names) or {len(falls), len(names)} != {len(class_names)}:
        raise ValueError(f"falls of {len(falls)} classes and names of {len(names)} for {len(class_names)} class names; "
                         "give as many of each, and at least one")
    for class_name, own, labels in zip(class_names, falls, names):
        if np.ndim(own) != 3 or (len(own), np.shape(own)[2]) != (len(changes), len(labels)):
            raise ValueError(f"falls of {class_name!r} are {np.shape(own)}; give (change, picture, {kind}) of "
                             f"{len(changes)} changes and {len(labels)} names")
    shown = min(MOST_CLASSES, len(class_names))
    panels = list(dict.fromkeys(name for labels in names[:shown] for name in labels))
    drawn = panels[:MOST_GROUPS]
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    width = max(2.6, 0.45 + len(changes) * (0.14 * shown + 0.14))
    figure, axes = plt.subplots(rows, columns, squeeze=False, sharex=True, sharey=True, figsize=(
        width * columns + 0.8, 1.75 * rows + 1.1))
    for axis in axes.flat[len(drawn):]:
        axis.set_axis_off()
    for i, (axis, name) in enumerate(zip(axes.flat, drawn)):
        for c in range(shown):
            if name in names[c]:
                values = np.asarray(falls[c], float)[:, :, list(names[c]).index(name)]
                _boxes(axis, values, np.arange(len(changes)) + (c - (shown - 1) / 2) * 0.8 / shown, 0.66 / shown,
                       BOX_COLOURS[c % len(BOX_COLOURS)])
        axis.axhline(0, color="k", lw=0.8, zorder=1)
        axis.set_title(textwrap.fill(name, 24), fontsize=10, pad=3)
        axis.set_xticks(range(len(changes)), changes, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
        axis.tick_params(axis="x", labelbottom=i + columns >= len(drawn))
        axis.tick_params(axis="y", labelsize=8)
        axis.grid(axis="y", alpha=0.4)
    _symmetric_log(axes[0, 0])
    figure.supylabel("fall of the best cosine", fontsize=10)
    handles = [Patch(fc=BOX_COLOURS[c % len(BOX_COLOURS)], ec="k", lw=0.6, label=textwrap.fill(class_names[c], 18))
               for c in range(shown)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, shown), frameon=False, fontsize=9)
    set_title(figure, title + first_rows(shown, len(class_names), "classes") + first_rows(len(drawn), len(panels), f"{kind}s")
           + f"\nupwards linear to {LINEAR}, logarithmic beyond")
    return figure, pd.DataFrame([{"class": class_name, kind: name, "change": change, **_summary(own[i][:, k])}
                                 for class_name, own, labels in zip(class_names, map(np.asarray, falls), names)
                                 for k, name in enumerate(labels) for i, change in enumerate(changes)])


def order_dots(table, title):
    """The order of changes, and per unit of picture distance, each with its intervals.

    table: of `asxai.benchmarks.perception.order_table`, given back. Numbers behind names are the paper's order.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 0.36 * len(table) + 1.3))
    for axis, column, prefix, label, colour in (
            (axes[0], "sensitivity", "", "mean change of the best cosine", OURS),
            (axes[1], "normalised", "normalised_", "the same per unit of picture distance", OTHER)):
        own = table.sort_values(column, ascending=False, kind="stable")
        y = np.arange(len(own))
        axis.hlines(y, own[f"{prefix}low"], own[f"{prefix}high"], color=colour, lw=2.2)
        axis.plot(own[column], y, "o", color=colour, ms=7)
        axis.set_yticks(y, [name if np.isnan(place) else f"{name} ({place:.0f})"
                            for name, place in zip(own["change"], own["paper"])])
        axis.set(ylim=(len(own) - 0.5, -0.5), xlabel=label)
        _log(axis, own[f"{prefix}low"])
    set_title(figure, f"{title}\nin brackets: place in the paper’s order")
    return figure, table


def part_dots(table, title):
    """How much each change moves the best cosine on each true part, with intervals; a panel per class.

    table: of `asxai.benchmarks.perception.part_table`, given back. Of many classes the first are shown.
    """
    if table.empty:
        raise ValueError("the table has no rows; draw it for data sets with part masks only")
    class_names, changes = list(dict.fromkeys(table["class"])), list(dict.fromkeys(table["change"]))
    shown = class_names[:6]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    tall = max(table[table["class"] == name]["part"].nunique() for name in shown)
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=(
        3.5 * columns + 1.4, rows * (0.36 * tall + 0.9) + 0.5))
    for axis in axes.flat[len(shown):]:
        axis.set_axis_off()
    for axis, class_name in zip(axes.flat, shown):
        own = table[table["class"] == class_name]
        parts = list(dict.fromkeys(own["part"]))
        for c, change in enumerate(changes):
            rows_of = own[own["change"] == change].set_index("part").loc[parts]
            y = np.arange(len(parts)) + (c - (len(changes) - 1) / 2) * 0.8 / len(changes)
            colour, marker = BOX_COLOURS[c % len(BOX_COLOURS)], "osD^v<>P"[c % 8]
            axis.hlines(y, rows_of["low"], rows_of["high"], color=colour, lw=1.2)
            axis.plot(rows_of["absolute"], y, marker, color=colour, ms=5, mec="w", mew=0.4, label=change)
        for edge in range(0, len(parts), 2):
            axis.axhspan(edge - 0.5, edge + 0.5, color="0.95", lw=0, zorder=0)
        axis.set_yticks(range(len(parts)), [textwrap.fill(part, 16) for part in parts])
        axis.set(ylim=(len(parts) - 0.5, -0.5), xlabel="mean change of the best cosine")
        axis.set_title(textwrap.fill(class_name, 24), fontsize=11)
        _log(axis, own["low"])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=10)
    set_title(figure, title + first_rows(len(shown), len(class_names), "classes"))
    return figure, table


def _log(axis, lowest):
    """A logarithmic axis across with plain numbers, unless some value is 0."""
    if (np.asarray(lowest) > 0).all():
        axis.set_xscale("log")
        low, high = axis.get_xlim()
        steps = (1, 2, 5) if high < 10 * low else (1, 3) if high < 150 * low else (1,)
        ticks = [step * 10.0**power for power in range(-9, 6) for step in steps]
        axis.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(axis="x", labelsize=9)
    axis.grid(axis="x", alpha=0.4)


def _symmetric_log(axis):
    low, high = axis.get_ylim()
    axis.set_yscale("symlog", linthresh=LINEAR)
    ticks = [sign * size for sign in (-1, 1) for size in (0.01, 0.03, 0.1, 0.3, 1)]
    axis.set_yticks([0, *(tick for tick in ticks if low <= tick <= high)])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(min(low, -LINEAR / 2), max(high, LINEAR))


def _boxes(axis, values, places, width, colour):
    own = [row[~np.isnan(row)] for row in values]
    axis.boxplot(own, positions=places, widths=width, showfliers=False, patch_artist=True, manage_ticks=False,
                 boxprops={"facecolor": colour, "lw": 0.6}, medianprops={"color": "k", "lw": 1.3},
                 whiskerprops={"lw": 0.7}, capprops={"lw": 0.7})


def _summary(values):
    values = values[~np.isnan(values)]
    if not len(values):
        return {"pictures": 0, **dict.fromkeys(("lower", "median", "upper", "mean"), np.nan)}
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
    return {"pictures": len(values), "lower": lower, "median": median, "upper": upper, "mean": values.mean()}
