"""The figures of notebook 08: to which changes of a picture concepts react."""

import numpy as np
import pandas as pd
import seaborn as sns

from .dots import dot_plot
from .sheet import first_of, legend_below, panels, picture_grid, set_title, wrapped
from .style import LINE_COLOURS, Drawn, looks

MOST_CLASSES, MOST_GROUPS = 5, 12  # boxes side by side, as in the paper, and panels; tables hold all
LINEAR = 0.01  # of a cosine: up to here axes of both signs are linear


def change_strip(pictures, names, distances, class_names, title: str) -> Drawn:
    """Supplementary Figure 1: an example per row, as it is and with every change.

    pictures: uint8 `(example, 1 + change, height, width, 3)`; names: of the changes; distances: `(example, change)`
    class_names: of the examples
    """
    below = [["", *(f"distance {distance:.3f}" for distance in row)] for row in distances]
    labels = [wrapped(name, 14) for name in class_names]
    figure, _ = picture_grid(pictures, labels, title, [["as it is", *names]], below, size=(1.4, 1.6))
    table = pd.DataFrame(distances, list(class_names), list(names)).stack().rename_axis(["class", "change"])
    return figure, table.reset_index(name="distance")


def fall_boxes(falls, names, changes, class_names, title: str) -> Drawn:
    """Supplementary Figure 2: how far the best cosine falls, a panel per concept, boxes per change and class.

    falls: per class numbers `(change, picture, concept)`, NaN where a concept is not seen, as of
        `asxai.benchmarks.perception`
    names: per class the names of its concepts; the same name has the same panel in all classes

    One change can matter a hundred times as much as another, so that the axis is logarithmic beyond `LINEAR`.
    Boxes hold the middle half of the pictures, whiskers reach 1.5 times as far, the line is the median; what lies
    beyond is left out. The table has a row per class, concept and change, with quartiles and mean.
    """
    boxes = [
        pd.DataFrame({"class": class_name, "concept": labels[k], "change": changes[i], "fall": own[i][:, k]})
        for class_name, own, labels in zip(class_names, falls, names)
        for k, i in np.ndindex(len(labels), len(changes))
    ]
    rows = pd.concat(boxes, ignore_index=True)
    classes, concepts = list(class_names)[:MOST_CLASSES], list(dict.fromkeys(rows["concept"]))
    drawn, colours = rows[rows["class"].isin(classes)], dict(zip(classes, LINE_COLOURS))
    width = max(2.6, 0.45 + len(changes) * (0.14 * len(classes) + 0.14))
    figure, axes = panels(min(len(concepts), MOST_GROUPS), 3, width, 1.75, (0.8, 1.1), sharex=True, sharey=True)
    for axis, name in zip(axes, concepts):
        own = {"x": "change", "y": "fall", "hue": "class", "order": changes, "hue_order": classes, "palette": colours}
        look = {"linewidth": 0.7, "saturation": 1, "linecolor": "k", "legend": False, "showfliers": False}
        sns.boxplot(drawn[drawn["concept"] == name], ax=axis, **own, **look)
        axis.axhline(0, color="k", lw=0.8, zorder=1)
        axis.set_title(wrapped(name, 24), pad=3)
        axis.set(xlabel="", ylabel="")
        axis.tick_params(axis="x", rotation=60, labelsize=9)
        axis.grid(axis="y")
    low, high = axes[0].get_ylim()
    axes[0].set_yscale("symlog", linthresh=LINEAR)
    ticks = [sign * size for sign in (-1, 1) for size in (0.01, 0.1, 1)]
    axes[0].set_yticks([0, *(tick for tick in ticks if low <= tick <= high)])
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].set_ylim(min(low, -LINEAR / 2), max(high, LINEAR))
    figure.supylabel("fall of the best cosine")
    legend_below(figure, {name: {"color": colour, "marker": "s"} for name, colour in colours.items()})
    title += first_of(len(classes), len(class_names), "classes") + first_of(len(axes), len(concepts), "concepts")
    set_title(figure, f"{title}\nupwards linear to {LINEAR}, logarithmic beyond")
    grouped = rows.groupby(["class", "concept", "change"], sort=False)["fall"]
    table = grouped.quantile([0.25, 0.5, 0.75]).unstack().set_axis(["lower", "median", "upper"], axis=1)
    table.insert(0, "pictures", grouped.count())
    return figure, table.assign(mean=grouped.mean().astype(falls[0].dtype)).reset_index()


def order_dots(table: pd.DataFrame, title: str) -> Drawn:
    """The order of changes, and per unit of picture distance, each with its intervals.

    table: of `asxai.benchmarks.perception.order_table`, given back. Numbers behind names are the paper's order.
    """
    places = ["" if np.isnan(place) else f" ({place:.0f})" for place in table["paper"]]
    whole = table[["sensitivity", "low", "high"]], "mean change of the best cosine"
    unit = table[["normalised", "normalised_low", "normalised_high"]], "the same per unit of picture distance"
    rows = [
        own.set_axis(["value", "low", "high"], axis=1).assign(measure=measure, method=table["change"] + places)
        for own, measure in (whole, unit)
    ]
    rows = pd.concat(own.sort_values("value", ascending=False, kind="stable") for own in rows)
    title += "\nin brackets: place in the paper’s order"
    figure, _ = dot_plot(rows, title, numbers="{:.2g}", width=3.8, share=False, log=True)
    return figure, table


def part_dots(table: pd.DataFrame, title: str) -> Drawn:
    """How much each change moves the best cosine on each true part, with intervals; a panel per class.

    table: of `asxai.benchmarks.perception.delta_table` of parts, given back.
    """
    classes = list(dict.fromkeys(table["class"]))
    rows = table[table["class"].isin(classes[:6])]
    rows = rows.rename(columns={"class": "measure", "part": "method", "change": "group", "absolute": "value"})
    title += first_of(6, len(classes), "classes")
    caption = "across: mean change of the best cosine"
    figure, _ = dot_plot(rows, title, caption, styles=looks(rows["group"]), width=3.6, share=False, log=True)
    return figure, table
