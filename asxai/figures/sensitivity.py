"""The figures of notebook 04: ranks of filters, importance of concepts, and whether it foretells effects.

The paper plots ranks twice, with different axes: in Figure 4 ranks go across and concepts upwards (section 3.3), in
Supplementary Figure 6 filters go across and ranks upwards (S.4). So do these.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from .dots import dot_plot
from .sheet import first_of, legend_below, legend_beside, note, panels, set_title, show_picture, signed, wrapped
from .style import LINE_COLOURS, MARKERS, MOST_CLASSES, OTHER, OURS, WIDTH, Drawn, looks

NONE = "no concept"  # of filters that extract none
MOST_NAMED = 60  # dots of a panel; more names find no room
HIGHEST = 3  # filters that `filter_ranks` names
QUIET_DOT = {"color": "0.62", "marker": "o", "ms": 3.2}  # of a filter that extracts none
REDUNDANT = {"color": "0.5", "marker": "x", "ms": 5, "mew": 1.1, "mec": "0.5", "ls": ""}
CROSS = {"redundant filter: rank 0 in every picture": REDUNDANT}
RIM = {"ms": 7, "mec": "k", "mew": 1.3}  # of a filter whose mask is shown
WITH_MASK = {"marker": "o", "color": "w"} | RIM
MEAN = {"color": "0.3", "lw": 1.4, "ls": "--"}
WHITE_RIM = [withStroke(linewidth=2.6, foreground="w")]


def sensitivity_panel(
    pictures, ranks, filter_concepts, names, scores, intervals, means, examples, title: str, order
) -> Drawn:
    """Figure 4's row of one class: examples of it, the ranks of filters by concept, masks of filters with the scores.

    pictures: examples of the class, at most two, uint8 `(height, width, 3)`
    ranks: of filters' maps, `(picture, filter)`
    filter_concepts: `(filter,)`, of `asxai.ranks.ranks.vote`: the concept that a filter extracts, -1 for none
    names, scores, intervals, means: `(concept,)`; shares of the total, in [0, 1], their intervals `(concept, 2)`, and
        R_s, NaN where there is none
    examples: per concept `(picture, mask, filter)` of its strongest filters: uint8 `(height, width, 3)`, bool
        `(height, width)`, and the filter's number
    order: names of the concepts of all classes, so that a name has the same colour in the panels of all

    As section 3.3 has it, the second column has ranks across and concepts upwards, a row each; within a row filters go
    upwards by their numbers, of which the paper says nothing. Its dashed lines are, in the text, the ratio of a
    concept's ranks to the total, and in the caption the mean of a concept's ranks: here they are R_s (eq. 6), and the
    ratio is the score, in the last column. Redundant filters (S.4) have rank 0 in every picture. The third column shows
    a filter as its irregular mask; its dot has a black rim.

    The table has a row per concept (and one for `NONE`) with the sums of its filters, its R_s and score, and a row per
    filter with its own numbers.
    """
    filters = _filters(ranks, filter_concepts, names)
    filters["masks"] = [sum(number == f for own in examples for *_, number in own) for f in filters["filter"]]
    rows = filters.assign(kind="filter", filters=1, redundant=filters["redundant"].astype(int))
    sums = rows.groupby("concept")[["filters", "redundant", "masks"]].sum().reindex([*names, NONE], fill_value=0)
    rest = filters.loc[filters["concept"] == NONE, "mean_rank"].mean()
    concepts = sums.reset_index(names="concept").assign(mean_rank=[*means, rest], score=[*scores, np.nan])
    concepts[["low", "high"]] = np.r_[intervals, [[np.nan, np.nan]]]
    count, columns = len(names), max(1, *map(len, examples))
    figure = plt.figure(figsize=(WIDTH, 0.95 * count + 2.6))
    figure.get_layout_engine().set(h_pad=0.02, w_pad=0.03, hspace=0, wspace=0)
    widths = [1.6, 5.9 - 0.95 * columns, *[0.95] * columns, 1.8]
    grid = figure.add_gridspec(count + 1, 3 + columns, width_ratios=widths)
    tall = 1 if count < 3 else 2  # rows of a picture
    for i, picture in enumerate(pictures):
        show_picture(figure.add_subplot(grid[tall * i : tall * (i + 1), 0]), picture)
    for r, e in np.ndindex(count, columns):
        if e < len(examples[r]):
            picture, mask, number = examples[r][e]
            axis = figure.add_subplot(grid[r, 2 + e])
            show_picture(axis, picture, "" if r or e != columns // 2 else "masks of the\nstrongest filters", mask)
            box = {"fc": "k", "alpha": 0.7, "lw": 0, "pad": 1.2}
            axis.text(0.04, 0.96, number, transform=axis.transAxes, va="top", fontsize=8, color="w", bbox=box)
    axis, styles = figure.add_subplot(grid[:, 1]), looks(names, order) | {NONE: QUIET_DOT}
    for r, (name, mean) in enumerate(zip(concepts["concept"], concepts["mean_rank"])):
        members, colour = filters[filters["concept"] == name], styles[name]["color"]
        heights = r + 0.4 - 0.8 * members["filter"] / len(filters)
        _draw_filters(axis, members["mean_rank"], heights, members, styles[name])
        axis.axhline(r + 0.5, color="0.75", lw=0.8)
        if name != NONE:
            axis.axvline(mean, color=colour, ls="--", lw=0.9, alpha=0.55, zorder=1)
            axis.vlines(mean, r - 0.5, r + 0.5, color=colour, ls="--", lw=2, zorder=2)
        if members.empty:
            note(axis, "no filters", r, axis.get_yaxis_transform())
    axis.set(xlim=(-0.3, 1.04 * max(1, filters["mean_rank"].max())), ylim=(count + 0.5, -0.5), title="ranks of filters")
    axis.set_xlabel("rank of the filter’s map, mean over pictures\n(within a row: upwards by the filter’s number)")
    axis.set_yticks(range(count + 1), [_row_words(row) for row in concepts.to_dict("records")])
    axis.grid(axis="x")
    axis, ends = figure.add_subplot(grid[:count, -1]), np.nan_to_num(np.fmax(scores, np.transpose(intervals)[1]))
    axis.barh(names, scores, height=0.4, color=[styles[name]["color"] for name in names])
    axis.hlines(names, *np.transpose(intervals), color="k", lw=1.3, path_effects=WHITE_RIM)
    for r, (score, end) in enumerate(zip(scores, ends)):
        axis.text(end, r, "no score" if np.isnan(score) else f"  {100 * score:.1f} %", va="center", fontsize=9)
    axis.set(ylim=(count - 0.5, -0.5), xlim=(0, 1.75 * max(0.01, *ends)), yticks=[], xticks=[])
    axis.set_title("global sensitivity\nscore")
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    legend_below(figure, {"R_s of a concept (eq. 6)": MEAN, "filter whose mask is shown": WITH_MASK} | CROSS)
    set_title(figure, title)
    table = pd.concat([concepts.assign(kind="concept"), rows], ignore_index=True).astype({"filter": "Int64"})
    fields = ["kind", "concept", "filter", "filters", "redundant", "mean_rank", "masks", "score", "low", "high"]
    return figure, table[fields]


def filter_ranks(ranks_by_class: dict, filter_concepts_by_class: dict, names_by_class: dict, title: str) -> Drawn:
    """Supplementary Figure 6 a and b: filters across, their ranks upwards, a panel per class, coloured by concept.

    ranks_by_class, filter_concepts_by_class, names_by_class: by class (or layer) values as in `sensitivity_panel`. A
        concept of the same name has the same colour and marker in all classes

    The three filters highest in rank of each class have their numbers above them; of equal ones, the first. Dashed
    lines are the mean over a concept's filters, which the legend beside tells, the highest first.

    The table has a row per class and filter: its concept (`NONE` where it extracts none) and mean rank, whether it is
    redundant, one of the three `highest`, and the dashed line.
    """
    tables = []
    for c, ranks in ranks_by_class.items():
        filters = _filters(ranks, filter_concepts_by_class[c], names_by_class[c])
        highest = filters["mean_rank"].where(filters["mean_rank"] > 0).dropna().nlargest(HIGHEST).index
        mean = filters.groupby("concept")["mean_rank"].transform("mean").where(filters["concept"] != NONE)
        filters.insert(0, "class", c)
        tables.append(filters.assign(highest=filters.index.isin(highest), concept_mean_rank=mean))
    shown, styles = tables[:MOST_CLASSES], looks(name for names in names_by_class.values() for name in names)
    limit = max(1, *(filters["mean_rank"].max() for filters in shown))
    height = max(2.5, 0.19 * max(map(len, names_by_class.values())) + 0.8)
    figure, axes = panels(len(shown), 1, WIDTH, height, (0, 0.8), sharey=True)
    for axis, filters in zip(axes, shown):
        means, beside = filters.dropna().groupby("concept")["concept_mean_rank"].first(), {}
        for name, mean in means.sort_values(ascending=False, kind="stable").items():
            axis.axhline(mean, color=styles[name]["color"], ls="--", lw=1.3, zorder=1)
            beside[f"{name}, {mean:.1f}"] = {"ls": "--"} | styles[name]
        for name, members in filters.groupby("concept", sort=False):
            _draw_filters(axis, members["filter"], members["mean_rank"], members, styles.get(name, QUIET_DOT))
        axis.set(ylim=(-0.05 * limit, 1.22 * limit), xlim=(-0.02 * len(filters) - 0.5, 1.02 * len(filters) - 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.grid(axis="y")
        axis.set(title=wrapped(filters["class"].iloc[0], 80), ylabel="rank of its map,\nmean over pictures")
        legend_beside(axis, beside)
    axes[-1].set_xlabel("filter’s number")
    legend_below(figure, {"mean over a concept’s filters": MEAN, "filter without a concept": QUIET_DOT} | CROSS)
    set_title(figure, title + first_of(len(shown), len(tables), "classes"))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis, filters in zip(axes, shown):
        points = filters[["filter", "mean_rank"]].to_numpy(float)
        named = filters[filters["highest"]]
        if len(named):
            _name_points(axis, points[filters["highest"]], named["filter"], ["k"] * len(named), points, weight="bold")
    return figure, pd.concat(tables, ignore_index=True)


def _filters(ranks, filter_concepts, names):
    """A row per filter: `filter`, `concept`, `mean_rank`, `redundant`."""
    means, names = np.mean(ranks, axis=0), np.array([*names, NONE], dtype=object)
    concepts = names[np.asarray(filter_concepts)]  # -1 is the last
    numbers = np.arange(len(means))
    return pd.DataFrame({"filter": numbers, "concept": concepts, "mean_rank": means, "redundant": means == 0})


def _draw_filters(axis, x, y, members, style):
    """Dots of filters: redundant ones are crosses, those whose mask is shown have a rim."""
    redundant = members["redundant"]
    rim = members["masks"] > 0 if "masks" in members else redundant & False
    usual = {"ms": 5.5, "mec": "w", "mew": 0.3, "ls": "", "zorder": 3} | style
    axis.plot(x[~redundant & ~rim], y[~redundant & ~rim], **usual)
    axis.plot(x[~redundant & rim], y[~redundant & rim], **usual | RIM | {"zorder": 4})
    axis.plot(x[redundant], y[redundant], **REDUNDANT)


def _row_words(row):
    """A concept's name, how many filters extract it and its R_s, for the left of its row."""
    lines = [wrapped(row["concept"], 16, 2), f"{row['filters']} filter{'' if row['filters'] == 1 else 's'}"]
    if row["concept"] != NONE and not np.isnan(row["mean_rank"]):
        lines.append(f"R_s {row['mean_rank']:.1f}")
    if row["redundant"]:
        lines.append(f"{row['redundant']} redundant")
    return "\n".join(lines)


def _name_points(axis, points, names, colours, dots, **look):
    """Names near points, over no other name and no dot, at thin lines. Returns how many found no room, and have none.

    The figure must have been laid out.
    """
    if len(points) > MOST_NAMED:
        return len(points)
    axis.autoscale(False)
    look |= {"fontsize": 8, "zorder": 5, "path_effects": WHITE_RIM}
    dark = [np.multiply(0.68, to_rgb(colour)) for colour in colours]  # light colours are none for words
    texts = [axis.text(*at, wrapped(name, 18), color=c, **look) for at, name, c in zip(points, names, dark)]
    pixels, tries = axis.transData.transform(dots), []
    boxes = [Bbox(axis.transData.inverted().transform([dot - 5, dot + 5])) for dot in pixels]
    force = {"force_text": (0.3, 0.5), "force_static": (0.3, 0.5), "force_pull": 0, "prevent_crossings": False}
    for step in (10, 20, 30, 50):  # pixels; with a limit of rounds, not of time: the same figure on every machine
        for text, point in zip(texts, points):
            text.set(position=point, ha="left", va="bottom")
        adjust_text(texts, objects=boxes, ax=axis, iter_lim=100, max_move=step, expand=(1.05, 1.2), **force)
        tries.append((_free(texts, pixels), [text.get_position() for text in texts]))
        if all(tries[-1][0]):
            break
    free, places = max(tries, key=lambda found: sum(found[0]))
    for text, point, place, fits in zip(texts, points, places, free):
        text.set(position=place, visible=fits)
        axis.plot(*zip(point, place if fits else point), color="0.55", lw=0.6, zorder=2)
    return len(free) - sum(free)


def _free(texts, pixels):
    """Of each text whether it lies on no dot and on no text before it that lies free."""
    free, boxes = [], [text.get_window_extent().padded(1) for text in texts]
    for i, box in enumerate(boxes):
        on_dots = ((pixels > box.min) & (pixels < box.max)).all(axis=1).any()
        free.append(not on_dots and not any(box.overlaps(other) for other, fits in zip(boxes[:i], free) if fits))
    return free


def layer_profile(table: pd.DataFrame, title: str, order) -> Drawn:
    """How a class's shares of R_s go from layer to layer: a line per concept, with intervals.

    table: a row per layer and concept, with `layer`, `concept`, `share` in [0, 1], `low` and `high`, NaN where there is
        none; given back with these columns. order: as in `sensitivity_panel`

    The legend has the largest share of the last layer first.
    """
    table = table[["layer", "concept", "share", "low", "high"]].reset_index(drop=True)
    names, layers = list(dict.fromkeys(table["concept"])), list(dict.fromkeys(table["layer"]))
    last = table[table["layer"] == layers[-1]].set_index("concept")["share"].reindex(names)
    figure, axis = plt.subplots(figsize=(min(WIDTH, 1.35 * len(layers) + 4), 4))
    styles, dodge = looks(names, order), dict(zip(names, np.linspace(-0.16, 0.16, len(names))))
    for name, share in last.sort_values(ascending=False, kind="stable").items():
        own = table[table["concept"] == name].set_index("layer").reindex(layers)
        x = np.arange(len(layers)) + dodge[name]
        axis.vlines(x, 100 * own["low"], 100 * own["high"], color=styles[name]["color"], lw=1.4, alpha=0.8, zorder=2)
        label = wrapped(f"{name}, {signed(100 * share, 0)} %", 24)
        axis.plot(x, 100 * own["share"], ms=6, lw=1.3, zorder=3, label=label, **styles[name])
    axis.set_xticks(range(len(layers)), [wrapped(layer, 12) for layer in layers])
    axis.set(xlim=(-0.5, len(layers) - 0.5), xlabel="layer, from early to late", ylabel="share of R_s, %")
    axis.set_ylim(0, 108 * np.nanmax([0.1, *table["share"], *table["high"]]))
    axis.grid(axis="y")
    legend_beside(axis, title="last layer")
    set_title(figure, title)
    return figure, table


def causal_scatter(table: pd.DataFrame, title: str) -> Drawn:
    """Whether what a method calls important moves the logit: a panel per method, a dot per class and concept.

    table: of `asxai.benchmarks.importance.importance_table` for one reference: `class`, `concept`, `method`, `value`
        (importance by the method, across, on an axis of its own), `causal` (drop of the class logit, upwards), and
        `spearman`, the same in all rows of a method; given back with these columns

    Where dots crowd, names that find no room are left out, and counted above.
    """
    table = table[["class", "concept", "method", "value", "causal", "spearman"]].reset_index(drop=True)
    methods, styles = list(dict.fromkeys(table["method"])), looks(dict.fromkeys(table["class"]))
    across = 2 if len(methods) == 4 else min(3, len(methods))
    figure, axes = panels(len(methods), across, WIDTH / across, 3.6, (0, 0.9), sharey=True)
    for axis, (method, own) in zip(axes, table.groupby("method", sort=False)):
        for class_name, dots in own.groupby("class", sort=False):
            axis.plot(dots["value"], dots["causal"], ls="", mec="w", mew=0.6, ms=7, zorder=3, **styles[class_name])
        if own[["value", "causal"]].dropna().empty:
            note(axis, "not measured")
        axis.axhline(0, color="0.6", lw=0.9, zorder=1)
        axis.set_title(f"{wrapped(method, 30)}\nSpearman {signed(own['spearman'].iloc[0], 2)}")
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.xaxis.set_major_formatter("{x:.6g}")  # no power of ten between two panels
        axis.grid()
        axis.margins(0.16, 0.16)
    figure.supylabel("drop of the logit")
    legend_below(figure, styles, "across: importance, on a scale of its own")
    set_title(figure, title)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis, method in zip(axes, methods):
        own = table[table["method"] == method].dropna(subset=["value", "causal"])
        points, colours = own[["value", "causal"]].to_numpy(float), [styles[name]["color"] for name in own["class"]]
        if len(own) and (left_out := _name_points(axis, points, own["concept"], colours, points)):
            axis.set_title(f"{axis.get_title()} (no room for {left_out} of {len(own)} names)")
    return figure, table


def correlation_dots(table: pd.DataFrame, title: str) -> Drawn:
    """How well each method foretells the fall of the logit: dots with intervals, a colour per reference.

    table: a row per method and reference, with `method`, `reference` (what the drop was measured by), `spearman` in
        [-1, 1], `low`, `high`, and `chance`, up to which correlations may be chance; given back with these columns
    """
    table = table[["method", "reference", "spearman", "low", "high", "chance"]].reset_index(drop=True)
    rows = table.rename(columns={"spearman": "value", "reference": "group"})
    rows["measure"] = "Spearman’s correlation of importance with the drop of the logit"
    rows["text"] = [signed(value, 2) for value in rows["value"]]
    colours = dict.fromkeys([OURS, OTHER, *LINE_COLOURS])
    styles = {n: {"color": c, "marker": m} for n, c, m in zip(dict.fromkeys(rows["group"]), colours, MARKERS)}
    figure, _ = dot_plot(rows, title, "grey: 95 % of random orders", styles=styles, width=6.4)
    figure.axes[0].axvline(0, color="0.3", lw=1, zorder=1)
    figure.axes[0].set(xlim=(-1.04, 1.04), xticks=(-1, -0.5, 0, 0.5, 1))
    return figure, table
