"""The figures of the ablation, from arrays and tables alone. As in `asxai.figures.train` each gives `(figure, table)`."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..benchmarks.ablation import COSINES, MEASURES, NO_DIFFERENCE, verdict
from .sheet import blank, check_classes, first_rows, label_row, set_title, show_picture
from .style import BEST_SIDE, COLOURS, DROP_COLOURS, MOST_NUMBERS, OTHER, OURS

MOST_ROWS = 6  # classes of which matrices and trait pictures are shown; tables hold all
LEAST_RANGE = 0.01  # of differences, either way: what is smaller shall look small
BETTER, WORSE, SAME = COLOURS[2], OURS, "0.45"  # green, orange, grey: also told apart by their markers


def concept_matrices(cosines, names, arms, class_names, title):
    """Figure 7a, b: how alike the concepts of a class are, a row per class and a column per arm; white is orthogonal.

    cosines: per arm and class numbers `(concept, concept)` in [-1, 1], as of `asxai.benchmarks.concept_cosines.concept_cosines`
    names: per arm and class the names of the concepts

    Above each matrix stands the mean |cosine| off its diagonal. The table has a row per arm, class and pair of
    concepts: `arm`, `class`, `concept`, `other`, `cosine`. Of many classes the first are shown, see `MOST_ROWS`.
    """
    if not len(arms) or {len(cosines), len(names)} != {len(arms)}:
        raise ValueError(f"cosines of {len(cosines)} arms and names of {len(names)} for {len(arms)} arms; give as many "
                         "of each, and at least one")
    for arm, own, labels in zip(arms, cosines, names):
        check_classes(class_names, labels, cosines=own)
        wrong = [c for c, (matrix, row) in enumerate(zip(own, labels)) if np.shape(matrix) != (len(row), len(row))]
        if wrong:
            raise ValueError(f"cosines of arm {arm!r}, class {class_names[wrong[0]]!r}, are {np.shape(own[wrong[0]])}; "
                             f"give a square matrix with a row for each of {len(labels[wrong[0]])} names")
    shown = min(MOST_ROWS, len(class_names))
    most = max(len(row) for labels in names for row in labels[:shown])
    side, numbers = (0.34, True) if most <= MOST_NUMBERS["concepts"] else (0.2, False)
    longest = max(min(14, len(name)) for labels in names for row in labels[:shown] for name in row)
    width, height = (max(least, side * most + 0.08 * longest + more) for least, more in ((2.4, 0.5), (2.2, 0.75)))
    figure, axes = plt.subplots(shown, len(arms), squeeze=False, figsize=(
        max(5.0, len(arms) * width + 1.0), shown * height + 0.4))
    for c, row in enumerate(axes):
        for axis, arm, own, labels in zip(row, arms, cosines, names):
            image = _cosines(axis, np.asarray(own[c], float), labels[c], numbers)
            words = textwrap.fill(arm, 24) + "\n" if c == 0 else ""
            axis.set_title(f"{words}{_off_diagonal(np.asarray(own[c], float))}", fontsize=10)
        label_row(row[0], textwrap.fill(class_names[c], 14))
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("cosine of mean features", fontsize=9)
    bar.outline.set_edgecolor("0.6")
    set_title(figure, title + first_rows(shown, len(class_names), "classes"))
    return figure, pd.DataFrame([{"arm": arm, "class": class_name, "concept": first, "other": second,
                                  "cosine": float(matrix[i][j])}
                                 for arm, own, labels in zip(arms, cosines, names)
                                 for class_name, matrix, row in zip(class_names, own, labels)
                                 for i, first in enumerate(row) for j, second in enumerate(row) if i < j],
                                columns=["arm", "class", "concept", "other", "cosine"])


def trait_grid(pictures, names, overlaps, arms, class_names, title):
    """Figure 7c: what one concept of each arm has in common, a row per arm and a column per class.

    pictures: uint8 `(class, arm, height, width, 3)`; names: of those concepts, `(class, arm)`; overlaps: of their cells
    with the reference's, the first row, `(class, arm)` in [0, 1]

    The table has a row per class and arm: `class`, `arm`, `concept`, `overlap`. Of many classes the first are shown.
    """
    pictures, overlaps = np.asarray(pictures), np.asarray(overlaps, float)
    shape = len(class_names), len(arms)
    if pictures.shape[:2] != shape or overlaps.shape != shape or np.shape(names) != shape or not min(shape):
        raise ValueError(f"pictures {pictures.shape}, names {np.shape(names)} and overlaps {overlaps.shape} must begin "
                         f"with (class, arm) = {shape}, one for each")
    shown = min(MOST_ROWS, len(class_names))
    figure, axes = plt.subplots(len(arms), shown, squeeze=False, figsize=(1.6 * shown + 1.6, 1.75 * len(arms) + 0.5))
    for a, row in enumerate(axes):
        for c, axis in enumerate(row):
            blank(axis)
            show_picture(axis, pictures[c, a])
            if a == 0:
                axis.set_title(textwrap.fill(class_names[c], 18), fontsize=11, pad=3)
            share = "" if a == 0 else f", {100 * overlaps[c, a]:.0f} % shared"
            axis.set_xlabel(textwrap.fill(f"{names[c][a]}{share}", 24), fontsize=9, labelpad=2)
        label_row(row[0], textwrap.fill(arms[a], 14))
    set_title(figure, title + first_rows(shown, len(class_names), "classes"))
    return figure, pd.DataFrame([{"class": class_name, "arm": arm, "concept": names[c][a], "overlap": overlaps[c, a]}
                                 for c, class_name in enumerate(class_names) for a, arm in enumerate(arms)])


def difference_dots(table, title):
    """Differences to the reference with their intervals, a panel per measure and a row per arm.

    table: of `asxai.benchmarks.ablation.paired`. Green and upwards is better than the reference, orange and downwards worse, grey
    has 0 in an interval (thick: bootstrap, thin: Student's; a diamond if only one has) or has none. Given back with a
    column `verdict`.
    """
    if table.empty:
        raise ValueError("the table has no rows; give that of asxai.benchmarks.ablation.paired of two arms or more")
    arms, measures = list(dict.fromkeys(table["arm"])), [name for name in MEASURES if name in set(table["measure"])]
    columns = min(4, len(measures))
    rows = -(-len(measures) // columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False, sharey=True, figsize=(
        2.3 * columns + 1.7, rows * (0.32 * len(arms) + 1.0) + 0.6))
    for axis in axes.flat[len(measures):]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, measures):
        own = table[table["measure"] == name].set_index("arm")
        for y, arm in enumerate(arms):
            if arm in own.index:
                _difference(axis, own.loc[arm], y, MEASURES[name])
            else:
                axis.text(0.5, y, "not measured", transform=axis.get_yaxis_transform(), ha="center", va="center",
                          fontsize=8, color="0.5", bbox={"fc": "w", "lw": 0, "pad": 1}, zorder=3)
        axis.axvline(0, color="k", lw=0.9, zorder=1)
        axis.set_title(f"{textwrap.fill(name, 22)}\n{BEST_SIDE[MEASURES[name]]}", fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(3))
        axis.tick_params(axis="x", labelsize=9)
        axis.grid(axis="x", alpha=0.4)
        axis.margins(x=0.12)
        low, high = axis.get_xlim()
        axis.set_xlim(min(low, -LEAST_RANGE), max(high, LEAST_RANGE))
    axes[0, 0].set_yticks(range(len(arms)), [textwrap.fill(arm, 22) for arm in arms])
    axes[0, 0].set_ylim(len(arms) - 0.5, -0.5)
    handles = [Line2D([], [], marker=marker, color=colour, ls="", ms=6, label=label) for marker, colour, label in
               (("^", BETTER, "better"), ("v", WORSE, "worse"), ("o", SAME, f"{NO_DIFFERENCE}, or one seed"),
                ("D", SAME, "undecided"))]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    set_title(figure, title)
    return figure, table.assign(verdict=[verdict(row) for row in table.to_dict("records")])


def cosine_dots(table, title):
    """Root mean square cosine within a class, before and after replacement, and the bound below which none can be.

    table: of `asxai.benchmarks.ablation.measure_arms`; arms without vectors are left out. The table of the figure has a row per
    arm, seed and measure: `arm`, `seed`, `measure`, `value`.
    """
    own = table[table["measure"].isin(COSINES)]
    if own.empty:
        raise ValueError(f"the table has none of the measures {', '.join(COSINES)}; give that of measure_arms")
    arms = list(dict.fromkeys(own["arm"]))
    figure, axis = plt.subplots(figsize=(6.4, 0.32 * len(arms) + 1.5))
    for y, arm in enumerate(arms):
        values = {name: own[(own["arm"] == arm) & (own["measure"] == name)]["value"].dropna() for name in COSINES}
        spread = lambda found: y + np.linspace(-0.2, 0.2, len(found) + 2)[1:-1]
        axis.plot(values[COSINES[0]], spread(values[COSINES[0]]), "o", mfc="w", mec=OTHER, ms=6, zorder=3)
        axis.plot(values[COSINES[1]], spread(values[COSINES[1]]), "o", color=OURS, ms=6, zorder=3)
        bound = values[COSINES[2]].max()
        if bound > 0:
            axis.plot([bound, bound], [y - 0.4, y + 0.4], color="k", lw=2, zorder=2)
        if y % 2:
            axis.axhspan(y - 0.5, y + 0.5, color="0.95", lw=0, zorder=0)
    axis.set_yticks(range(len(arms)), [textwrap.fill(arm, 24) for arm in arms])
    axis.set(ylim=(len(arms) - 0.5, -0.5), xlabel="root mean square cosine of two vectors of a class; a dot is a seed")
    axis.set_xlim(left=min(0, axis.get_xlim()[0]))
    axis.grid(axis="x", alpha=0.4)
    handles = [Line2D([], [], marker="o", mfc="w", mec=OTHER, ls="", ms=6, label="before replacement"),
               Line2D([], [], marker="o", color=OURS, ls="", ms=6, label="after"),
               Line2D([], [], color="k", lw=2, label="lower bound (M > D)")]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    set_title(figure, title)
    return figure, own[["arm", "seed", "measure", "value"]].reset_index(drop=True)


def _cosines(axis, matrix, names, numbers):
    image = axis.imshow(matrix, cmap=DROP_COLOURS, vmin=-1, vmax=1)
    for i in range(len(names)):
        axis.add_patch(plt.Rectangle((i - 0.5, i - 0.5), 1, 1, fc="0.85", lw=0))  # of a concept with itself
    if numbers:
        for (i, j), value in np.ndenumerate(matrix):
            if i != j:
                text = f"{round(value, 1) + 0.0:.1f}".replace("-", "−")
                axis.text(j, i, text, ha="center", va="center", fontsize=8, color="w" if value < -0.6 else "k")
    labels = [textwrap.shorten(name, 16, placeholder="…") if " " in name else name[:16] for name in names]
    axis.set_xticks(range(len(names)), labels, rotation=90, fontsize=9)
    axis.set_yticks(range(len(names)), labels, fontsize=9)
    axis.tick_params(length=0, pad=2)
    axis.spines[:].set_color("0.6")
    return image


def _off_diagonal(matrix):
    if len(matrix) < 2:
        return "one concept"
    return f"mean |cosine| {np.abs(matrix[~np.eye(len(matrix), dtype=bool)]).mean():.2f}"


def _difference(axis, row, y, better):
    said = verdict(row)
    colour, marker = {better: (BETTER, "^"), "undecided": (SAME, "D")}.get(
        said, (WORSE, "v") if said in ("higher", "lower") else (SAME, "o"))
    axis.hlines(y, row["t_low"], row["t_high"], color=colour, lw=0.8, zorder=2)
    axis.hlines(y, row["low"], row["high"], color=colour, lw=2.6, zorder=2)
    axis.plot(row["difference"], y, marker, color=colour, ms=6, mec="w", mew=0.6, zorder=3)
