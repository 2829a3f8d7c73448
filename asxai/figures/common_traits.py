"""The figures of notebook 03: what the pictures of a class have in common, and how specific concepts are."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..concepts.names import is_named_after
from .sheet import first_of, heatmap, legend_below, legend_beside, panels, picture_grid, set_title, signed, wrapped
from .style import DROP_COLOURS, LINE_COLOURS, MOST_CLASSES, MOST_CONCEPTS, MOST_NUMBERS, OTHER, OURS, Drawn, looks

MOST_COLUMNS = 8  # concepts side by side; more go on below
METHODS = {"this study": {"color": OURS, "marker": "o"}, "comparison": {"color": OTHER, "marker": "o"}}
QQ_LIMIT = 4.5  # standard deviations; one far value must not make all others small
THINNED = 200  # rows of a method in the table of a long inversion


def removal_sheet(pictures, kept, removed, names, title: str) -> Drawn:
    """A row per concept: its exemplars, each as a whole, with only the concept left, and with the concept removed.

    pictures, kept, removed: per concept uint8 `(exemplar, height, width, 3)`

    The table has a row per concept: how many exemplars, and the mean share of pixels that differ between a whole
    picture and that with the concept removed.
    """
    counts, changed, labels = [len(own) for own in pictures], [], []
    for whole, without, name in zip(pictures, removed, names):
        shares = [(a != b).any(axis=2).mean() for a, b in zip(whole, without)]
        changed.append(float(np.mean(shares)) if shares else np.nan)
        percent = "under 1" if 0 < changed[-1] < 0.005 else f"{100 * changed[-1]:.0f}"
        labels.append(wrapped(name, 16) + (f"\n{percent} % of pixels" if shares else ""))
    rows = [[picture for triple in zip(*own) for picture in triple] for own in zip(pictures, kept, removed)]
    headings = ["whole", "concept\nalone", "concept\nremoved"] * max(counts)
    title += first_of(MOST_CONCEPTS, len(rows), "concepts")
    figure, _ = picture_grid(rows[:MOST_CONCEPTS], labels, title, [headings], size=(1.05, 1.1))
    return figure, pd.DataFrame({"concept": list(names), "exemplars": counts, "changed": changed})


def trait_pictures(pictures, names, class_names, ratios, title: str) -> Drawn:
    """Figure 3a and c: what each concept's pictures have in common, a row per class and a column per concept.

    pictures: per class uint8 `(concept, height, width, 3)`
    names: per class the names of its concepts. A concept of the same name has the same column in all classes, in order
        of first appearance; more columns than `MOST_COLUMNS` go on below
    ratios: per class the explained variance ratios of the first component, in [0, 1], NaN where there is none

    The table has a row per class and concept.
    """
    cells, labels, above = _aligned(names, class_names)
    drawn = [[at and pictures[at[0]][at[1]] for at in row] for row in cells]
    shares = [["" if at is None else f"PC1: {100 * ratios[at[0]][at[1]]:.0f} %" for at in row] for row in cells]
    below = [[text.replace("PC1: nan %", "") for text in row] for row in shares]
    title += first_of(MOST_CLASSES, len(names), "classes")
    figure, _ = picture_grid(drawn, labels, title, above, below, size=(1.25, 1.45))
    rows = [(c, *own) for c, *of_class in zip(class_names, names, ratios) for own in zip(*of_class)]
    return figure, pd.DataFrame(rows, columns=["class", "concept", "explained_variance_ratio"])


def _aligned(names, class_names):
    """`(class, concept)` by row and column, a column per name, in blocks one below another; labels; headings.

    None where a class has no concept of that name. A heading stands above the first row of its name. Classes without
    any name of a block have no row there.
    """
    shown, cells, labels, headings = [list(own) for own in names[:MOST_CLASSES]], [], [], []
    columns = list(dict.fromkeys(name for own in shown for name in own))
    width = -(-len(columns) // -(-len(columns) // MOST_COLUMNS))  # blocks of the same width
    for start in range(0, len(columns), width):
        block = columns[start : start + width]
        first = {name: next(c for c, own in enumerate(shown) if name in own) for name in block}
        for c, own in enumerate(shown):
            if set(block) & set(own):
                cells.append([(c, own.index(name)) if name in own else None for name in block])
                headings.append([wrapped(name, 13) if first[name] == c else "" for name in block])
                labels.append(wrapped(class_names[c], 16))
    return cells, labels, headings


def qq_plots(classes: list[dict], title: str) -> Drawn:
    """Figure 3b and d, and supplementary 3c and 4c: q-q plots against the normal distribution.

    classes: a dict per class (row) with `class`, its name, `names` of concepts (columns, as in `trait_pictures`),
        `ours`, an `asxai.traits.vectors.Normality` for each, and `other`, the same of a comparison, None where it has
        nothing for that concept

    Values are drawn in standard deviations from their mean, so that both methods have the same black line, y = x; what
    lies beyond `QQ_LIMIT` is a triangle at the edge. The table has a row per class, concept and method with the fields
    of `Normality`.
    """
    cells, labels, above = _aligned([own["names"] for own in classes], [own["class"] for own in classes])
    blanks, title = [[None] * len(row) for row in cells], title + first_of(MOST_CLASSES, len(classes), "classes")
    figure, axes = picture_grid(blanks, labels, title, above, size=(1.3, 1.5))
    for (r, column), axis in np.ndenumerate(axes):
        if column >= len(cells[r]) or cells[r][column] is None:
            continue
        c, k = cells[r][column]
        for key, colour, place in (("other", OTHER, 0.63), ("ours", OURS, 0.81)):  # this study's dots are on top
            if (normality := classes[c][key][k]) is not None:
                _dots(axis, normality, colour)
                text = f"r² {normality.r2:.3f}"
                axis.text(0.05, place, text, color=colour, fontsize=9, transform=axis.transAxes)
        axis.plot([-QQ_LIMIT, QQ_LIMIT], [-QQ_LIMIT, QQ_LIMIT], color="k", lw=0.9, zorder=4)
        axis.set(xlim=(-QQ_LIMIT, QQ_LIMIT), ylim=(-QQ_LIMIT, QQ_LIMIT), xticks=(-3, 0, 3), yticks=(-3, 0, 3))
        axis.set_box_aspect(1)
        under = r + 1 < len(cells) and column < len(cells[r + 1]) and cells[r + 1][column] is not None
        axis.tick_params(labelsize=9, labelleft=column == 0, labelbottom=not under, length=2, pad=2)
        axis.spines[:].set(visible=True, color="0.6")
        axis.grid()
    styles = METHODS | {"normal distribution": {"color": "k", "ls": "-"}}
    caption = "across: quantiles of the normal distribution; upwards: values, in standard deviations from their mean"
    caption += "; triangle: beyond the axis"
    legend_below(figure, styles, caption, 3 if figure.get_figwidth() > 5 else 1)
    fields = ["r2", "w", "p", "count", "mean", "std", "skew"]
    rows = [
        (own["class"], name, method, *(getattr(normality, field) for field in fields))
        for own in classes
        for name, *both in zip(own["names"], own["ours"], own["other"])
        for method, normality in zip(METHODS, both)
        if normality is not None
    ]
    return figure, pd.DataFrame(rows, columns=["class", "concept", "method", *fields])


def _dots(axis, normality, colour):
    """The points of a q-q plot; those beyond the limit are triangles at the edge."""
    x, y = np.asarray(normality.theoretical), (np.asarray(normality.ordered) - normality.mean) / normality.std
    edge = y.clip(-0.95 * QQ_LIMIT, 0.95 * QQ_LIMIT)
    for marker, chosen, size in (("o", np.abs(y) <= QQ_LIMIT, 2.8), ("^", y > QQ_LIMIT, 5), ("v", y < -QQ_LIMIT, 5)):
        axis.plot(x[chosen], edge[chosen], marker, color=colour, ms=size, mew=0, zorder=3)


def variance_curves(ratios, names, class_names) -> Drawn:
    """How much of the variance the first k components explain, an axis per class, a line per concept.

    ratios: per class and concept numbers `(component,)`: eq. 9 of each component
    names: per class the names of its concepts; the same name has the same colour in all classes

    Legends are in the order of the first component, which they tell. The table has a row per component.
    """
    styles = looks(name for own in names for name in own)
    shown, height = min(len(names), MOST_CLASSES), max(2.7, 0.19 * max(map(len, names)) + 1.1)
    figure, axes = panels(shown, 3, 4.3, height, (0, 0.3), sharex=True, sharey=True)
    for axis, class_name, *of_class in zip(axes, class_names, names, ratios):
        for name, row in sorted(zip(*of_class), key=lambda own: -own[1][0]):
            label = wrapped(f"{name}, {100 * row[0]:.0f} %", 20)
            axis.plot(range(1, len(row) + 1), 100 * np.cumsum(row), ms=4, label=label, **styles[name])
        axis.set_title(wrapped(class_name, 30))
        legend_beside(axis, title="first component")
        axis.grid()
    axes[0].set_ylim(top=102)
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("components, the strongest first")
    figure.supylabel("explained variance, %")
    set_title(figure, "Variance that the first components explain together" + first_of(shown, len(names), "classes"))
    fields = ["class", "concept", "component", "explained_variance_ratio", "cumulative"]
    rows = [
        (class_name, name, k, ratio, total)
        for class_name, *of_class in zip(class_names, names, ratios)
        for name, row in zip(*of_class)
        for k, (ratio, total) in enumerate(zip(row, np.cumsum(row)), 1)
    ]
    return figure, pd.DataFrame(rows, columns=fields)


def drop_matrices(drops, names, class_names, title: str, row_names=None) -> Drawn:
    """Figure 3e: how far A_s of each concept falls when one is removed; orange falls, blue rises, white stays.

    drops: per class numbers `(removed, measured)` in standard deviations, as of `asxai.traits.vectors.concept_drops`
    names: per class the names of the measured concepts, and of the removed ones, unless `row_names` are given
    row_names: per class what was removed, where these are not the measured concepts but, say, true parts

    A row counts as right if its largest drop is above 0 and on the diagonal, as in `asxai.traits.vectors.on_diagonal`;
    with `row_names`, if it is of a concept of the row's name, with or without a number behind ("name", "name 2"). Rows
    that no column is named after have a dagger, and do not count. NaN makes a row wrong.

    The table has a row per cell, and says whether it is its row's largest drop.
    """
    shown, sizes = min(len(drops), MOST_CLASSES), np.abs(np.concatenate([np.ravel(own) for own in drops]))
    sizes = np.append(sizes[np.isfinite(sizes)], 1e-9)
    limit = np.percentile(sizes, 95) or sizes.max()  # one cell must not pale all others
    tall, wide = np.max([np.shape(own) for own in drops], axis=0)
    numbers = max(tall, wide) <= MOST_NUMBERS
    width, height = np.multiply(0.46 if numbers else 0.27, (wide, tall)) + (1.6, 2.2)
    width = max(3.0, width)  # room for the title
    figure, axes = panels(shown, max(1, int(13 / width)), width, height, (1.0, 0.5))
    tables, caption = [], "thick frame: largest drop of its row; dotted frame: measured what was removed"
    for c, (class_name, own, columns) in enumerate(zip(class_names, drops, names)):
        rows = columns if row_names is None else row_names[c]
        named = np.array([[is_named_after(column, row) for column in columns] for row in rows])
        named, largest = np.eye(len(rows), dtype=bool) if row_names is None else named, _largest(own)
        pairs = {"class": class_name, "removed": np.repeat(rows, len(columns)), "measured": np.tile(columns, len(rows))}
        tables.append(pd.DataFrame(pairs | {"drop": np.ravel(own), "largest": largest.ravel()}))
        if c >= shown:
            continue
        texts = np.vectorize(signed)(own, 1 if limit >= 1 else 2) if numbers else None
        marked = [row if any(match) else f"{row} †" for row, match in zip(rows, named)]
        image = heatmap(axes[c], own, marked, columns, texts, cmap=DROP_COLOURS, vmin=-limit, vmax=limit)
        for frames, inset, style in ((named, 0.12, {"lw": 1.3, "ls": ":"}), (largest, 0.03, {"lw": 2.2})):
            for r, k in np.argwhere(frames):  # both are seen where they are of the same cell
                side = 1 - 2 * inset
                axes[c].add_patch(plt.Rectangle((k + inset, r + inset), side, side, fill=False, ec="k", **style))
        axes[c].set_title(f"{wrapped(class_name, 30)}\n{_right(own, named)}")
        axes[c].set(xlabel="measured", ylabel="removed")
        caption += "" if named.any(axis=1).all() or "†" in caption else "; †: no concept has that name, not counted"
    look = {"shrink": min(0.8, 4 / figure.get_figheight()), "aspect": 22, "extend": "both"}
    figure.colorbar(image, ax=axes, label="fall of A_s, standard deviations", **look)
    legend_below(figure, {}, caption)
    set_title(figure, title + first_of(shown, len(drops), "classes"))
    return figure, pd.concat(tables, ignore_index=True)


def _largest(drops):
    """Bool `(removed, measured)`: the largest cell of each row, the first of equals, none in a row of NaN."""
    best = np.nan_to_num(drops, nan=-np.inf).argmax(axis=1)
    return (np.arange(np.shape(drops)[1]) == best[:, None]) & ~np.isnan(drops).all(axis=1)[:, None]


def _right(drops, named):
    """The share of rows, of those with a column named after them, whose largest drop is there, in words."""
    rows = [(own[match].max(), own[~match].max(initial=-np.inf)) for own, match in zip(drops, named) if match.any()]
    right = sum(bool(best > 0 and best > other) for best, other in rows)  # NaN is never right
    return f"own is largest: {right} of {len(rows)} rows ({100 * right / len(rows):.0f} %)" if rows else "no row counts"


def inversion_traces(runs: dict, title: str, shifted: dict) -> Drawn:
    """How fast methods of `asxai.traits.inversion` lower the objective of a target, and reach the slowest's end.

    runs: of each method's name clock `(step,)` in seconds from the start, and trace `(step,)`, the objective
    shifted: of a method's name how many of its first steps saw shifted pictures; these are pale, and do not count as
        reaching anything, as in `asxai.benchmarks.common_traits.race`

    The dashed line is the last objective of the method that ends last. The table has a row per method and step, of
    more than `THINNED` steps some, the first and last among them.
    """
    slow = max(runs, key=lambda method: runs[method][0][-1])
    end, goal = (values[-1] for values in runs[slow])
    (figure, axis), tables = plt.subplots(figsize=(7.5, 4.2)), []
    axis.axhline(goal, color="0.3", lw=1.2, ls="--", zorder=1, label=f"last objective of {slow}")
    for colour, (method, (clock, trace)) in zip(LINE_COLOURS, runs.items()):
        start, reached = shifted.get(method, 0), np.flatnonzero(trace <= goal)
        reached = [len(trace) - 1] if method == slow else reached[reached >= start][:1]
        label = f"{method}: does not get as low"
        for step in reached:
            label = f"{method}: is as low after {clock[step]:.3g} s, {end / clock[step]:.3g} times as fast"
            axis.plot(clock[step], trace[step], "D", mfc=colour, mec="k", ms=7, mew=1.2, zorder=5)
            axis.axvline(clock[step], color=colour, lw=1, ls=":", zorder=1)
        label = f"{method}: ends after {end:.3g} s" if method == slow else label
        axis.plot(clock[: start + 1], trace[: start + 1], color=colour, lw=1.2, alpha=0.4, zorder=2)
        axis.plot(clock[start:], trace[start:], color=colour, lw=2, zorder=3, label=label)
        steps = _thinned(len(clock))
        rows = {"method": method, "step": steps, "seconds": clock[steps], "objective": trace[steps]}
        tables.append(pd.DataFrame(rows))
    if any(shifted.values()):
        axis.plot([], [], color="0.3", lw=1.2, alpha=0.4, label="pale: of shifted pictures, which do not count")
    axis.set(xscale="log", yscale="log", xlabel="seconds", ylabel="objective")
    axis.grid()
    figure.legend(loc="outside lower center")
    set_title(figure, title)
    return figure, pd.concat(tables, ignore_index=True)


def _thinned(count):
    """At most `THINNED` steps of `count`, close at first and then evenly, the first and the last among them."""
    if count <= THINNED:
        return np.arange(count)
    steps = np.r_[np.geomspace(1, count, THINNED // 2) - 1, np.linspace(0, count - 1, THINNED // 2)]
    return np.unique(steps.round().astype(int))
