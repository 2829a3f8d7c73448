"""The figures of sensitivity, from arrays and tables alone. As in `asxai.figures.train` each function gives `(figure, table)`.

    figure, table = sensitivity_panel(pictures, ranks, filter_concepts, names, scores, examples, "cat")   # Figure 4
    figure, table = filter_ranks(ranks, filter_concepts, names, title)            # Supplementary Figure 6, by class
    figure, table = layer_profile(shares, title)                                  # one class, from layer to layer
    figure, table = causal_scatter(importance, title)                             # does importance foretell effects?
    figure, table = correlation_dots(correlations, title)

The paper plots ranks twice, with different axes: in Figure 4 ranks go across and concepts upwards (section 3.3), in
Supplementary Figure 6 filters go across and ranks upwards (S.4). So do these.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from ..statistics import spearman
from .sheet import MOST_CLASSES, blank, check_classes, first_rows, label_row, outlined_picture, set_title, show_picture
from .style import COLOURS, OTHER, OURS, YELLOW

WIDTH = 11  # inches, of a notebook
NONE = "no concept"  # of filters that extract none
MOST_EXAMPLES = 3
HIGHEST = 3  # filters that `filter_ranks` names
LINE_COLOURS = tuple(colour for colour in COLOURS if colour != YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">")
GREY = "0.62"
NO_STYLE = (GREY, "o")  # of `NONE`: small and without a rim
DASHES = (0, (4, 2))
# where words are tried beside a point: points away from it, and in which directions, the best first
RADII, CLOSE = (5, 8, 12, 17, 23, 30, 38, 47, 57, 68, 80, 95, 110), 8  # the close ones need no line
ROUNDS = 6  # of trying, each with another order
FEW, REACH = 40, 47  # of more words than few, none goes farther than this: nobody can follow so many long lines
DIRECTIONS = np.array([(np.cos(angle), np.sin(angle)) for angle in np.deg2rad(
    [90, 0, 180, 270, 45, 135, 315, 225, 22, 158, 338, 202, 68, 112, 292, 248])])


# --- Ranks of filters ------------------------------------------------------------------------------------------------


def sensitivity_panel(pictures, ranks, filter_concepts, names, scores, examples, title, filters=None, intervals=None,
                      order=None, means=None):
    """Figure 4's row of one class: examples of it, the ranks of filters by concept, masks of filters with the scores.

    pictures: one or two examples, uint8 `(height, width, 3)`
    ranks: of filters' maps, `(picture, filter)`, or their means `(filter,)`
    filter_concepts: whole numbers `(filter,)` of `asxai.ranks.ranks.vote`: the concept that a filter extracts, -1 for none
    names, scores: `(concept,)`; scores are shares of the total, in [0, 1], NaN where there is none
    examples: per concept up to three `(picture, mask, filter)` of its strongest filters: uint8 `(height, width, 3)`,
        bool `(height, width)`, and the filter's number. They are drawn in the order given
    filters: the filters' numbers, `(filter,)`; None: 0, 1, ...
    intervals: of the scores, `(concept, 2)`, NaN where there is none
    order: names of the concepts of all classes, where several panels shall give a name the same colour
    means: R_s `(concept,)`, NaN where there is none; None: the mean over the filters of each concept

    As section 3.3 has it, the second column has ranks across and concepts upwards, a row each; within a row filters go
    upwards by their numbers, of which the paper says nothing. Its dashed lines are, in the text, the ratio of a
    concept's ranks to the total, and in the caption the mean of a concept's ranks: here they are R_s (eq. 6), and the
    ratio is the score, in the last column. Redundant filters (S.4) have rank 0 in every picture. The third column shows
    a filter as its irregular mask; its dot has a black rim.

    The table has a row per concept and one for `NONE`, `kind` "concept", with `concept`, `filters` (how many),
    `redundant` (how many of them), `mean_rank` (R_s, NaN without any filter), `masks` (how many are shown),
    `score`, `low` and `high`; and a row per filter, `kind` "filter", with `concept`, `filter` and its own numbers.
    """
    own, names = _filters(ranks, filter_concepts, names, filters), list(names)
    scores, intervals = _scores(scores, intervals, names)
    _check_examples(pictures, examples, names, own)
    own["masks"] = [sum(number == f for shown in examples for *_, number in shown) for f in own["filter"]]
    concepts = _concepts(own, names).assign(score=[*scores, np.nan], low=[*intervals[:, 0], np.nan],
                                            high=[*intervals[:, 1], np.nan])
    if means is not None:
        if np.shape(means) != (len(names),):
            raise ValueError(f"means {np.shape(means)} must be ({len(names)},), for the {len(names)} names")
        concepts.loc[:len(names) - 1, "mean_rank"] = np.asarray(means, float)
    table = pd.concat([concepts.assign(kind="concept"),
                       own.assign(kind="filter", filters=1, redundant=own["redundant"].astype(int))], ignore_index=True)
    table["filter"] = table["filter"].astype("Int64")  # whole numbers, of which concepts have none

    columns, side = max(len(shown) for shown in examples), 1.05 if len(names) <= 5 else 0.9
    labels = [_row_words(row) for row in concepts.to_dict("records")]
    heights = [max(side, 0.17 * label.count("\n") + 0.25) for label in labels[:-1]] + [0.75]
    legend = _panel_legend(own, concepts, columns)
    figure = plt.figure(figsize=(WIDTH, max(sum(heights), 1.6 * len(pictures)) + 1.4), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, w_pad=0.03, hspace=0, wspace=0)
    grid = figure.add_gridspec(len(heights), 3 + columns, height_ratios=heights,
                               width_ratios=[1.6, 5.9 - 0.95 * columns, *[0.95] * columns, 1.8])
    _examples_of_class(figure, grid[:, 0], pictures, sum(heights))
    styles = _styles(names, order)
    styles[NONE] = NO_STYLE
    limit = 1.04 * max(own["mean_rank"].max(), 1)
    means = concepts.iloc[:-1].dropna(subset="mean_rank")
    for r, (row, label) in enumerate(zip(concepts.to_dict("records"), labels)):
        axis = figure.add_subplot(grid[r, 1])
        for mean in means.itertuples():
            mine = mean.concept == row["concept"]
            axis.axvline(mean.mean_rank, color=styles[mean.concept][0], ls=DASHES, lw=2 if mine else 0.9,
                         alpha=1 if mine else 0.55, zorder=2 if mine else 1)
        members = own[own["concept"] == row["concept"]]
        _marks(axis, members["mean_rank"], members["filter"], members, styles[row["concept"]])
        if members.empty:
            axis.text(0.5, 0.5, "no filters", ha="center", va="center", fontsize=9, color="0.4",
                      transform=axis.transAxes, bbox={"fc": "w", "lw": 0, "pad": 1})
        margin = 0.08 * (np.ptp(own["filter"]) + 1)
        axis.set(xlim=(-0.03 * limit, limit), yticks=[],
                 ylim=(own["filter"].min() - margin, own["filter"].max() + margin))
        axis.spines[:].set_color("0.75")
        last = r == len(names)
        axis.tick_params(labelbottom=last, bottom=last, labelsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(axis="x", alpha=0.3)
        label_row(axis, label)
        axis.yaxis.label.set_size(9)
        if r == 0:
            axis.set_title("ranks of filters", fontsize=10)
        if last:
            axis.set_xlabel("rank of the filter’s map, mean over pictures\n"
                            "(filters of a row: upwards by their numbers)", fontsize=9)
            break
        for e, (picture, mask, number) in enumerate(examples[r]):
            shown = figure.add_subplot(grid[r, 2 + e])
            outlined_picture(shown, np.asarray(picture), np.asarray(mask))
            shown.text(0.04, 0.96, f"{number}", transform=shown.transAxes, ha="left", va="top", fontsize=8, color="w",
                       bbox={"fc": "k", "alpha": 0.7, "lw": 0, "pad": 1.2})
        _bar(figure.add_subplot(grid[r, -1]), row, styles[row["concept"]][0], concepts, r == len(names) - 1)
    if columns:
        _heading(figure, grid[0, 2:2 + columns], "masks of the\nstrongest filters")
    _heading(figure, grid[0, -1], "global sensitivity\nscore")
    figure.legend(handles=legend, loc="outside lower center", ncols=3, frameon=False, fontsize=9,
                  columnspacing=1.5, handletextpad=0.5)
    set_title(figure, title)
    return figure, table[["kind", "concept", "filter", "filters", "redundant", "mean_rank", "masks", "score", "low",
                          "high"]]


def filter_ranks(ranks_by_class, filter_concepts_by_class, names_by_class, title):
    """Supplementary Figure 6 a and b: filters across, their ranks upwards, a panel per class, coloured by concept.

    ranks_by_class, filter_concepts_by_class, names_by_class: dicts of the same classes, with values as in
        `sensitivity_panel`. A concept of the same name has the same colour and marker in all classes

    The three filters highest in rank of each class have their numbers above them; of equal ones, the first. Dashed
    lines are the mean over a concept's filters, with the concept's name and that mean beside them.

    The table has a row per class and filter: `class`, `filter`, `concept` (`NONE` where it extracts none), `mean_rank`
    (over pictures), `redundant` (rank 0 in every picture), `highest` (whether it is one of the three), and
    `concept_mean_rank`, the dashed line, NaN for `NONE`. Of many classes the first are shown, see `MOST_CLASSES`.
    """
    classes = list(ranks_by_class)
    if not {*classes} == {*filter_concepts_by_class} == {*names_by_class}:
        raise ValueError(f"ranks_by_class is of {classes}, filter_concepts_by_class of "
                         f"{list(filter_concepts_by_class)} and names_by_class of {list(names_by_class)}; give all "
                         "three for the same classes")
    check_classes(classes, [names_by_class[c] for c in classes], inner=False)
    tables = {}
    for c in classes:
        own = _filters(ranks_by_class[c], filter_concepts_by_class[c], names_by_class[c], None, f" of {c!r}")
        highest = own["mean_rank"].where(own["mean_rank"] > 0).dropna().nlargest(HIGHEST).index
        mean = own.groupby("concept")["mean_rank"].transform("mean").where(own["concept"] != NONE)
        tables[c] = own.assign(**{"class": c, "highest": own.index.isin(highest), "concept_mean_rank": mean})
    shown = {c: tables[c] for c in classes[:MOST_CLASSES]}
    styles = _styles(list(dict.fromkeys(name for c in classes for name in names_by_class[c])))
    limit = max(1, *(own["mean_rank"].max() for own in shown.values()))
    words = {c: [textwrap.fill(f"{name}, {own.loc[own['concept'] == name, 'mean_rank'].mean():.1f}", 22)
                 for name in names_by_class[c] if (own["concept"] == name).any()] for c, own in shown.items()}
    heights = [max(2.1, 0.165 * sum(word.count("\n") + 1 for word in own)) for own in words.values()]
    figure, axes = plt.subplots(len(shown), 1, squeeze=False, sharey=True, layout="constrained", height_ratios=heights,
                                figsize=(WIDTH, sum(heights) + 0.45 * len(shown) + 0.9))
    margins = []
    for axis, (c, own) in zip(axes[:, 0], shown.items()):
        lines = own.drop_duplicates("concept").dropna(subset="concept_mean_rank").set_index("concept")
        names = [name for name in names_by_class[c] if name in lines.index]
        for name in names:
            axis.axhline(lines.loc[name, "concept_mean_rank"], color=styles[name][0], ls=DASHES, lw=1.3, zorder=1)
        for name in (NONE, *names):
            members = own[own["concept"] == name]
            _marks(axis, members["filter"], members["mean_rank"], members, styles.get(name, NO_STYLE))
        axis.set(ylim=(-0.05 * limit, 1.22 * limit), xlim=(-0.02 * len(own) - 0.5, 1.02 * len(own) - 0.5),
                 ylabel="rank of its map,\nmean over pictures")
        axis.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.tick_params(labelsize=9)
        axis.grid(axis="y", alpha=0.3)
        axis.set_title(textwrap.fill(c, 80), fontsize=11)
        margins.append((axis, [lines.loc[name, "concept_mean_rank"] for name in names], words[c],
                        [styles[name][0] for name in names]))
    axes[-1, 0].set_xlabel("filter’s number")
    every = pd.concat(shown.values())
    handles = []
    if (every["concept"] != NONE).any():
        handles.append(Line2D([], [], color="0.3", lw=1.3, ls=DASHES, label="mean over a concept’s filters"))
    if ((every["concept"] == NONE) & ~every["redundant"]).any():
        handles.append(_handle("o", "filter without a concept", 3.2))
    if every["redundant"].any():
        handles.append(_handle("x", "redundant filter: rank 0 in every picture"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    set_title(figure, title + first_rows(len(shown), len(classes), "classes"))
    _beside(figure, margins)
    for axis, own in zip(axes[:, 0], shown.values()):
        marks, named = own[["filter", "mean_rank"]].to_numpy(float), own[own["highest"]]
        _label_points(axis, named[["filter", "mean_rank"]].to_numpy(float), list(map(str, named["filter"])), marks,
                      ["k"] * len(named), weight="bold")
    columns = ["class", "filter", "concept", "mean_rank", "redundant", "highest", "concept_mean_rank"]
    return figure, pd.concat(tables.values(), ignore_index=True)[columns]


# --- Shares over layers ----------------------------------------------------------------------------------------------


def layer_profile(table, title, order=None):
    """How a class's shares of R_s go from layer to layer: a line per concept, with intervals.

    table: a row per layer and concept, with `layer`, `concept`, `share` in [0, 1], `low` and `high`, NaN where there is
        none. Layers are drawn in the order in which they first occur
    order: as in `sensitivity_panel`

    The legend has the largest share of the last layer first. The table is given back with these columns.
    """
    columns = ["layer", "concept", "share", "low", "high"]
    _check_table(table, columns, ["layer", "concept"], "choose one class")
    table = table[columns].reset_index(drop=True)
    names, layers = list(dict.fromkeys(table["concept"])), list(dict.fromkeys(table["layer"]))
    wide = {column: table.pivot(index="concept", columns="layer", values=column).loc[names, layers].to_numpy(float)
            for column in columns[2:]}
    wrong = (wide["share"] < 0) | (wide["share"] > 1)
    if wrong.any():
        raise ValueError(f"share holds {wide['share'][wrong][0]:g}; give shares of the total, from 0 to 1")
    last = np.nan_to_num(wide["share"][:, -1], nan=-1)
    figure, axis = plt.subplots(figsize=(min(WIDTH, 1.35 * len(layers) + 4), 4), layout="constrained")
    styles, dodge = _styles(names, order), np.linspace(-0.16, 0.16, len(names)) if len(names) > 1 else [0]
    for k in np.argsort(-last, kind="stable"):
        colour, marker = styles[names[k]]
        x, (share, low, high) = np.arange(len(layers)) + dodge[k], (100 * wide[column][k] for column in columns[2:])
        axis.vlines(x, low, high, color=colour, lw=1.4, alpha=0.8, zorder=2)
        value = "–" if np.isnan(share[-1]) else f"{share[-1]:.0f} %"
        axis.plot(x, share, color=colour, marker=marker, ms=6, lw=1.3, zorder=3,
                  label=textwrap.fill(f"{names[k]}, {value}", 24))
    axis.set_xticks(range(len(layers)), [textwrap.fill(str(layer), 12) for layer in layers])
    axis.set(xlim=(-0.5, len(layers) - 0.5), xlabel="layer, from early to late", ylabel="share of R_s, %")
    axis.set_ylim(0, 108 * np.nanmax([0.1, *wide["share"].flat, *wide["high"].flat]))
    axis.tick_params(labelsize=9)
    axis.grid(axis="y", alpha=0.4)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9, title="last layer",
                title_fontsize=9, labelspacing=0.5)
    set_title(figure, title)
    return figure, table


# --- Causes ----------------------------------------------------------------------------------------------------------


def causal_scatter(table, title):
    """Whether what a method calls important moves the logit: a panel per method, a dot per class and concept.

    table: a row per class, concept and method, with `class`, `concept`, `method`, `value` (importance by the method,
        across, on an axis of its own) and `causal` (drop of the class logit, upwards), NaN where there is none, as of
        `asxai.benchmarks.sensitivity.importance_table` for one reference; and, if wanted, `spearman`, the same in all rows of a
        method. Without it, Spearman's correlation is over all dots of the panel, whatever their class

    Where dots crowd, names that find no room are left out, and counted above. The table is given back with these
    columns and `spearman`. Methods are drawn in the order in which they first occur.
    """
    columns = ["class", "concept", "method", "value", "causal"]
    _check_table(table, columns, ["class", "concept", "method"], "choose one reference")
    given = "spearman" in table
    table = table[columns + ["spearman"] * given].reset_index(drop=True)
    methods, classes = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["class"]))
    correlation = {}
    for method, own in table.groupby("method", sort=False):
        if given and own["spearman"].nunique(dropna=False) > 1:
            raise ValueError(f"spearman of {method!r} is {', '.join(f'{r:g}' for r in own['spearman'].unique())}; give "
                             "one number per method, such as the mean over classes")
        correlation[method] = own["spearman"].iloc[0] if given else spearman(own["value"], own["causal"])
    table["spearman"] = table["method"].map(correlation).astype(float)
    drawn = table[np.isfinite(table["value"]) & np.isfinite(table["causal"])]
    across = len(methods) if len(methods) < 4 else 2 if len(methods) == 4 else 3
    down, most = -(-len(methods) // across), drawn.groupby("method").size().max() if len(drawn) else 0
    figure, axes = plt.subplots(down, across, squeeze=False, sharey=True, layout="constrained", figsize=(
        min(WIDTH, 5.5 * across), down * np.clip(2.3 + 0.055 * most * across, 2.8, 5.5) + 0.9))
    styles, names = _styles(classes), {}
    for axis in axes.flat[len(methods):]:
        axis.set_axis_off()
    for i, (axis, method) in enumerate(zip(axes.flat, methods)):
        own = names[axis] = drawn[drawn["method"] == method]
        for class_name in classes:
            mine = own[own["class"] == class_name]
            colour, marker = styles[class_name]
            axis.plot(mine["value"], mine["causal"], marker, ls="", color=colour, mec="w", mew=0.6, ms=7, zorder=3)
        if own.empty:
            axis.text(0.5, 0.5, "not measured", ha="center", va="center", color="0.4", fontsize=9,
                      transform=axis.transAxes)
        axis.axhline(0, color="0.6", lw=0.9, zorder=1)
        axis.set_title(f"{textwrap.fill(str(method), 30)}\nSpearman {_signed(correlation[method], 2)}", fontsize=10)
        axis.set_xlabel("importance, on a scale of its own" if i + across >= len(methods) else "", fontsize=9)
        axis.set_ylabel("drop of the logit" if i % across == 0 else "", fontsize=9)
        axis.tick_params(labelsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.xaxis.set_major_formatter(lambda value, place: f"{value:.6g}")  # no power of ten between two panels
        axis.grid(alpha=0.3)
        axis.margins(0.16, 0.16)
    handles = [Line2D([], [], ls="", marker=styles[name][1], color=styles[name][0], ms=7, label=textwrap.fill(name, 40))
               for name in classes]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), int(1.1 * figure.get_figwidth() /
                  (0.6 + 0.085 * min(40, max(map(len, classes)))))) or 1, frameon=False, fontsize=9)
    set_title(figure, title)
    figure.draw_without_rendering()  # of which all axes have their places
    for axis, own in names.items():
        points = own[["value", "causal"]].to_numpy(float)
        left_out = _label_points(axis, points, [textwrap.fill(name, 18) for name in own["concept"]], points,
                                 [_dark(styles[class_name][0]) for class_name in own["class"]])
        if left_out:  # in the same line: the figure has been laid out
            axis.set_title(f"{axis.get_title()} (no room for {left_out} of {len(own)} names)", fontsize=10)
    return figure, table


def correlation_dots(table, title):
    """How well each method foretells the fall of the logit: dots with intervals, a colour per reference.

    table: a row per method and reference, with `method`, `reference` (what the drop was measured by), `spearman` in
        [-1, 1], `low` and `high`, NaN where there is none; and, if wanted, `chance`, up to which correlations may be
        chance: a grey bar from minus that to plus that. Methods and references are drawn in the order in which they
        first occur

    The table is given back with these columns.
    """
    columns = ["method", "reference", "spearman", "low", "high"]
    _check_table(table, columns, ["method", "reference"], "take the mean over classes")
    table = table[columns + ["chance"] * ("chance" in table)].reset_index(drop=True)
    wrong = table["spearman"].abs() > 1
    if wrong.any():
        raise ValueError(f"spearman holds {table['spearman'][wrong].iloc[0]:g}; give correlations from -1 to 1")
    methods, references = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["reference"]))
    colours = [OURS, OTHER, *(colour for colour in LINE_COLOURS if colour not in (OURS, OTHER))]
    figure, axis = plt.subplots(layout="constrained", figsize=(
        8, len(methods) * (0.24 * len(references) + 0.22) + 1.3 + 0.2 * (len(references) > 4)))
    places = {row: (methods.index(row[0]) + (references.index(row[1]) + 0.5) / len(references) * 0.76 - 0.38)
              for row in zip(table["method"], table["reference"])}
    for y in range(1, len(methods), 2):
        axis.axhspan(y - 0.5, y + 0.5, color="0.95", lw=0, zorder=0)
    axis.axvline(0, color="0.3", lw=1.2, zorder=1)
    for row in table.itertuples():
        y, i = places[row.method, row.reference], references.index(row.reference)
        colour = colours[i % len(colours)]
        known = np.isfinite(row.spearman)
        if known and "chance" in table:
            axis.plot([-row.chance, row.chance], [y, y], color="0.82", lw=6, solid_capstyle="butt", zorder=1)
        if known:
            axis.hlines(y, row.low, row.high, color=colour, lw=1.6, alpha=0.8, zorder=2)
            axis.plot(row.spearman, y, MARKERS[i % len(MARKERS)], color=colour, ms=7, mec="w", mew=0.6, zorder=3)
        axis.text(1.02, y, _signed(row.spearman, 2) if known else "not measured", va="center", fontsize=9,
                  color=_dark(colour) if known else "0.4", transform=axis.get_yaxis_transform())
    axis.set_yticks(range(len(methods)), [textwrap.fill(str(method), 22) for method in methods])
    axis.set(ylim=(len(methods) - 0.5, -0.5), xlim=(-1.04, 1.04),
             xlabel="Spearman’s correlation of importance with the drop of the logit")
    axis.tick_params(axis="x", labelsize=9)
    axis.grid(axis="x", alpha=0.4)
    handles = [Line2D([], [], color=colours[i % len(colours)], marker=MARKERS[i % len(MARKERS)], ms=7, mec="w", lw=1.6,
                      label=textwrap.fill(str(name), 40)) for i, name in enumerate(references)]
    if "chance" in table:
        handles.append(Line2D([], [], color="0.82", lw=6, solid_capstyle="butt", label="random orders, 95 %"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), frameon=False, fontsize=9)
    set_title(figure, title)
    return figure, table


# --- What is given ---------------------------------------------------------------------------------------------------


def _filters(ranks, filter_concepts, names, filters, whose=""):
    """A row per filter: `filter`, `concept`, `mean_rank`, `redundant`."""
    ranks, given = np.asarray(ranks), np.asarray(filter_concepts)
    if ranks.ndim not in (1, 2) or not ranks.size or ranks.dtype.kind not in "uif":
        raise ValueError(f"ranks{whose} {ranks.dtype} {ranks.shape} must be numbers (picture, filter), or their means "
                         "(filter,), at least one each")
    if not (np.isfinite(ranks) & (ranks >= 0)).all():
        raise ValueError(f"ranks{whose} hold {ranks[~(np.isfinite(ranks) & (ranks >= 0))][0]:g}; give ranks from 0 up, "
                         "and leave out pictures without")
    means = np.atleast_2d(ranks).mean(axis=0)
    numbers = np.arange(len(means)) if filters is None else np.asarray(filters)
    for name, own in (("filter_concepts", given), ("filters", numbers)):
        if own.shape != means.shape or own.dtype.kind not in "iu":
            raise ValueError(f"{name}{whose} {own.dtype} {own.shape} must be whole numbers {means.shape}, one for each "
                             "filter of ranks")
    if len(np.unique(numbers)) < len(numbers):
        raise ValueError(f"filters{whose} name {pd.Series(numbers)[pd.Series(numbers).duplicated()].iloc[0]} twice; "
                         "give each filter once")
    if not len(names) or len(set(names)) < len(names) or NONE in names:
        raise ValueError(f"names{whose} are {list(names)}; give at least one, none twice, and none that is {NONE!r}")
    if given.min() < -1 or given.max() >= len(names):
        raise ValueError(f"filter_concepts{whose} run from {given.min()} to {given.max()}; use -1 for none and 0 to "
                         f"{len(names) - 1} for the {len(names)} names")
    concepts = np.array([*names, NONE], dtype=object)[given]  # -1 is the last
    return pd.DataFrame({"filter": numbers, "concept": concepts, "mean_rank": means, "redundant": means == 0})


def _concepts(own, names):
    """A row per concept, and one of `NONE`, of what `_filters` gives with the column `masks`."""
    grouped = own.groupby("concept").agg(filters=("filter", "size"), redundant=("redundant", "sum"),
                                         mean_rank=("mean_rank", "mean"), masks=("masks", "sum"))
    whole = grouped.reindex([*names, NONE]).reset_index()
    return whole.fillna({"filters": 0, "redundant": 0, "masks": 0}).astype({"filters": int, "redundant": int,
                                                                            "masks": int})


def _scores(scores, intervals, names):
    scores = np.asarray(scores, float)
    intervals = np.full((len(names), 2), np.nan) if intervals is None else np.asarray(intervals, float)
    for name, own, shape in (("scores", scores, (len(names),)), ("intervals", intervals, (len(names), 2))):
        if own.shape != shape:
            raise ValueError(f"{name} {own.shape} must be {shape}, for the {len(names)} names")
        if (wrong := (own < 0) | (own > 1)).any():
            raise ValueError(f"{name} hold {own[wrong][0]:g}; give shares of the total, from 0 to 1, NaN where there "
                             "is none")
    return scores, intervals


def _check_examples(pictures, examples, names, own):
    if not 1 <= len(pictures) <= 2 or any(np.ndim(picture) != 3 for picture in pictures):
        raise ValueError(f"pictures have the shapes {[np.shape(p) for p in pictures]}; give a list of one or two, each "
                         "(height, width, 3)")
    if len(examples) != len(names):
        raise ValueError(f"examples are of {len(examples)} concepts, and there are {len(names)} names; give a list for "
                         "each, [] where there is nothing to show")
    extracts = dict(zip(own["filter"], own["concept"]))
    for name, shown in zip(names, examples):
        if len(shown) > MOST_EXAMPLES:
            raise ValueError(f"examples of {name!r} are {len(shown)}; give at most {MOST_EXAMPLES}")
        for picture, mask, number in shown:
            if np.ndim(picture) != 3 or np.shape(mask) != np.shape(picture)[:2] or np.asarray(mask).dtype != bool:
                raise ValueError(f"examples of {name!r}: picture {np.shape(picture)} and mask {np.shape(mask)}, "
                                 f"{np.asarray(mask).dtype}; give (height, width, 3) and bool (height, width)")
            if extracts.get(number) != name:
                raise ValueError(f"examples of {name!r}: filter {number} extracts "
                                 f"{extracts.get(number, 'nothing: it is not in filters')!r}; give filters of the "
                                 "concept")


def _check_table(table, columns, keys, remedy):
    missing = [column for column in columns if column not in table]
    if missing or not len(table):
        raise ValueError(f"table of {len(table)} rows lacks {', '.join(missing) or 'rows'}; give at least one row with "
                         f"{', '.join(columns)}")
    twice = table[table.duplicated(keys)]
    if len(twice):
        raise ValueError(f"table has {' / '.join(str(twice[key].iloc[0]) for key in keys)} twice; {remedy}, so that "
                         f"there is one row for each {' and '.join(keys)}")


# --- Looks -----------------------------------------------------------------------------------------------------------


def _styles(names, order=None):
    """Of each name a colour and a marker; those of `order` come first, so that they do not depend on the others."""
    every = list(dict.fromkeys([*(order or ()), *names]))
    count = len(LINE_COLOURS)
    return {name: (LINE_COLOURS[i % count], MARKERS[(i + i // count) % len(MARKERS)]) for i, name in enumerate(every)}


def _dark(colour):
    """The colour as one for words, which light ones are not."""
    return to_hex(0.68 * np.array(to_rgb(colour)))


def _signed(value, digits):
    return "–" if np.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _handle(marker, label, size=5.5):
    return Line2D([], [], ls="", marker=marker, color=GREY, ms=size, label=label)


def _marks(axis, x, y, members, style):
    """Dots of filters: redundant ones are crosses, those whose mask is shown have a rim."""
    colour, marker = style
    x, y, redundant = np.asarray(x), np.asarray(y), members["redundant"].to_numpy()
    rim = members["masks"].to_numpy() > 0 if "masks" in members else np.zeros(len(members), bool)
    size = 3.2 if style == NO_STYLE else 5.5
    for chosen, looks in ((~redundant & ~rim, {"marker": marker, "ms": size, "mec": "w", "mew": 0.3, "zorder": 3}),
                          (~redundant & rim, {"marker": marker, "ms": 7, "mec": "k", "mew": 1.3, "zorder": 4}),
                          (redundant, {"marker": "x", "ms": 5, "mec": "0.5", "mew": 1.1, "zorder": 3})):
        if chosen.any():
            axis.plot(x[chosen], y[chosen], ls="", color=colour, **looks)


def _row_words(row):
    """A concept's name, how many filters extract it and its R_s, for the left of its row."""
    lines = [textwrap.fill(row["concept"], 16), f"{row['filters']} filter{'' if row['filters'] == 1 else 's'}"]
    if row["concept"] != NONE and not np.isnan(row["mean_rank"]):
        lines.append(f"R_s {row['mean_rank']:.1f}")
    if row["redundant"]:
        lines.append(f"{row['redundant']} redundant")
    return "\n".join(lines)


def _panel_legend(own, concepts, columns):
    handles = []
    if concepts["mean_rank"].iloc[:-1].notna().any():
        handles.append(Line2D([], [], color="0.3", lw=1.6, ls=DASHES, label="R_s of a concept (eq. 6)"))
    if columns:
        handles.append(Line2D([], [], ls="", marker="o", color="w", mec="k", mew=1.3, ms=7,
                              label="filter whose mask is shown with its number"))
    if own["redundant"].any():
        handles.append(_handle("x", "redundant filter: rank 0 in every picture"))
    return handles


def _examples_of_class(figure, cell, pictures, height):
    """Pictures one below another, at the top of the cell."""
    side = min(1.6, height / len(pictures))
    inner = cell.subgridspec(len(pictures) + 1, 1, height_ratios=[*[side] * len(pictures),
                                                                  max(0.01, height - side * len(pictures))])
    for i, picture in enumerate(pictures):
        axis = figure.add_subplot(inner[i])
        show_picture(axis, np.asarray(picture))
        axis.set_anchor("N")
        if i == 0:
            axis.set_title("example" + "s" * (len(pictures) > 1), fontsize=10)


def _heading(figure, cell, text):
    axis = figure.add_subplot(cell)
    blank(axis)
    axis.set_title(text, fontsize=10)


def _bar(axis, row, colour, concepts, last):
    """A score as a bar with interval and number."""
    blank(axis)
    far = np.nanmax([0.01, *concepts["score"], *concepts["high"]])
    axis.set(xlim=(0, 1.75 * far), ylim=(-1, 1))
    axis.axvline(0, color="0.3", lw=0.8)
    end = np.nanmax([0, row["score"], row["high"]])
    if not np.isnan(row["score"]):
        axis.barh(0, row["score"], height=0.7, color=colour)
        axis.hlines(0, row["low"], row["high"], color="k", lw=1.3,
                    path_effects=[withStroke(linewidth=2.6, foreground="w")])  # seen on dark bars
    axis.annotate("no score" if np.isnan(row["score"]) else f"{100 * row['score']:.1f} %", (end, 0), xytext=(4, 0),
                  textcoords="offset points", va="center", fontsize=9, color="0.4" if np.isnan(row["score"]) else "k")


# --- Words without overlaps ------------------------------------------------------------------------------------------


def _apart(centres, heights, low, high):
    """Centres of intervals of these heights, moved as little as can be so that none overlaps, within low and high.

    What does not fit between low and high goes beyond high.
    """
    centres, heights = np.asarray(centres, float), np.asarray(heights, float)
    order = np.argsort(centres, kind="stable")
    below = np.cumsum(heights[order]) - heights[order] / 2  # of each centre, if they were stacked from 0 up
    moved = isotonic_regression(centres[order] - below).x if len(order) else centres
    moved = np.maximum(np.minimum(moved, high - heights.sum()), low) + below
    result = np.empty_like(centres)
    result[order] = moved
    return result


def _beside(figure, margins):
    """Words right of axes, each at a height of its own, moved apart; margins: (axis, heights, words, colours) each."""
    written = []
    for axis, heights, words, colours in margins:
        written.append([axis.text(1.022, height, word, color=_dark(colour), fontsize=9, va="center", linespacing=0.95,
                                  transform=axis.get_yaxis_transform())
                        for height, word, colour in zip(heights, words, colours)])
    figure.draw_without_rendering()  # of which all axes have their places
    for (axis, heights, _, colours), texts in zip(margins, written):
        if not texts:
            continue
        frame = axis.get_window_extent()
        pixels = axis.transData.transform(np.column_stack([np.zeros(len(heights)), heights]))[:, 1]
        tall = [text.get_window_extent().height + 2 for text in texts]
        moved = _apart(pixels, tall, frame.y0, frame.y1)
        back = axis.transData.inverted().transform(np.column_stack([np.zeros(len(moved)), moved]))[:, 1]
        for text, height, y, colour in zip(texts, heights, back, colours):
            text.set_y(y)
            axis.plot([1.0, 1.018], [height, y], color=colour, lw=1, transform=axis.get_yaxis_transform(),
                      clip_on=False)


def _label_points(axis, points, words, marks, colours, weight="normal"):
    """A word near each point, over no other word and no mark, with a thin line where it has to be some way off.

    points, marks: `(point, 2)` and `(mark, 2)`, all that is drawn

    The figure must have been laid out. Words for which there is no room are left out; returns how many.
    """
    if not len(words):
        return 0
    scale, frame = axis.get_figure().dpi / 72, axis.get_window_extent()
    looks = {"textcoords": "offset points", "ha": "center", "va": "center", "fontsize": 8, "weight": weight,
             "linespacing": 0.95, "zorder": 5, "path_effects": [withStroke(linewidth=2, foreground="w")]}
    halves = []  # of the words' widths and heights
    for word in words:
        text = axis.annotate(word, (0, 0), xytext=(0, 0), **looks)
        halves.append(np.array(Text.get_window_extent(text).size) / 2 + 1)
        text.remove()
    places, marks = axis.transData.transform(points), axis.transData.transform(marks)
    crowd = (np.abs(places[:, None] - places) < [60 * scale, 25 * scale]).all(axis=2).sum(axis=1)
    order, best = np.argsort(-crowd, kind="stable"), {}  # whatever has most neighbours goes first
    for _ in range(ROUNDS):
        found = _rooms(places, halves, np.hstack([marks - 4 * scale, marks + 4 * scale]), frame, scale, order)
        best = max(found, best, key=len)
        if len(best) == len(words):
            break
        order = np.array(sorted(order, key=lambda i: i in found))  # those without room first, and again
    for i, (middle, far) in best.items():
        arrow = {"arrowstyle": "-", "lw": 0.6, "color": "0.55", "shrinkA": 0, "shrinkB": 3} if far else None
        axis.annotate(words[i], points[i], xytext=(middle - places[i]) / scale, color=colours[i], arrowprops=arrow,
                      **looks).set_in_layout(False)
    return len(words) - len(best)


def _rooms(places, halves, marks, frame, scale, order):
    """Room for words, one after another: of each that has one `{number: (its middle, whether it needs a line)}`.

    All in pixels. marks: boxes `(mark, 4)` as x0, y0, x1, y1
    """
    written, found = np.empty((0, 4)), {}  # boxes of words, and dots of the lines to them
    for i in order:
        for radius in (radius for radius in RADII if radius <= REACH or len(places) <= FEW):
            middles = places[i] + DIRECTIONS * (radius * scale + halves[i])
            boxes = np.hstack([middles - halves[i], middles + halves[i]])
            free = ((boxes[:, :2] >= frame.min) & (boxes[:, 2:] <= frame.max)).all(axis=1)
            free &= ~_meet(boxes, np.concatenate([marks, written]))
            ends = middles - np.clip(middles - places[i], -halves[i], halves[i])  # where a line would reach the box
            dots = places[i] + (ends - places[i])[:, None] * np.linspace(0.15, 1, 12)[:, None]
            lines = np.concatenate([dots, dots], axis=2)  # (direction, dot, 4)
            if radius > CLOSE:
                free &= ~_meet(lines.reshape(-1, 4), written).reshape(lines.shape[:2]).any(axis=1)
            if free.any():
                k = np.argmax(free)
                found[i] = middles[k], radius > CLOSE
                written = np.concatenate([written, boxes[[k]], lines[k] if radius > CLOSE else np.empty((0, 4))])
                break
    return found


def _meet(boxes, others):
    """Bool `(box,)`: whether it overlaps any of the others; both `(box, 4)` as x0, y0, x1, y1."""
    apart = [boxes[:, None, low] > others[:, high] for low, high in ((0, 2), (1, 3))]
    apart += [boxes[:, None, high] < others[:, low] for low, high in ((0, 2), (1, 3))]
    return ~np.logical_or.reduce(apart).all(axis=1)
