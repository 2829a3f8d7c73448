"""The figures of common traits, from arrays alone. As in `asxai.figures.train` each function gives `(figure, table)`."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..concepts.names import is_named_after
from .sheet import MOST_CLASSES, blank, check_classes, first_rows, label_row, set_title, show_picture
from .style import COLOURS, DROP_COLOURS, MOST_CONCEPTS, MOST_NUMBERS, OTHER, OURS, YELLOW

MOST_COLUMNS = {"pictures": 9, "q-q plots": 8}  # side by side; more go on below
METHODS = ("this study", "comparison")
QQ_LIMIT = 4.5  # standard deviations; one far value must not make all others small
LINES = ("-", "--", ":", "-.")
THINNED = 200  # rows of a method in the table of a long inversion
HEADINGS = ("whole", "concept\nalone", "concept\nremoved")  # of the three pictures of an exemplar


# --- Pictures --------------------------------------------------------------------------------------------------------


def removal_sheet(pictures, kept, removed, names, title):
    """A row per concept: its exemplars, each as a whole, with only the concept left, and with the concept removed.

    pictures, kept, removed: uint8 `(concept, exemplar, height, width, 3)`, or lists with one such array per concept,
        where some have fewer exemplars than others

    The table has a row per concept: `concept`, `exemplars` (how many) and `changed`, the mean share of pixels that
    differ between a whole picture and that with the concept removed, NaN without exemplars. Of many concepts the first
    are shown, see `MOST_CONCEPTS`.
    """
    counts = [len(own) for own in pictures]
    if not counts or {len(kept), len(removed), len(names)} != {len(counts)}:
        raise ValueError(f"pictures of {len(counts)} concepts, kept of {len(kept)}, removed of {len(removed)} and "
                         f"{len(names)} names; give as many of each, and at least one")
    for name, *own in zip(names, pictures, kept, removed):
        if len({np.shape(array) if len(array) else 0 for array in own}) > 1:
            raise ValueError(f"pictures, kept and removed of {name!r} are {', '.join(map(str, map(np.shape, own)))}; "
                             "give three pictures of the same size for each exemplar")
    changed = [float(np.mean([(a != b).any(axis=2).mean() for a, b in zip(whole, without)])) if len(whole) else np.nan
               for whole, without in zip(map(np.asarray, pictures), map(np.asarray, removed))]
    shown, columns = min(len(counts), MOST_CONCEPTS), max(1, *counts[:MOST_CONCEPTS])
    figure, axes = plt.subplots(shown, columns, squeeze=False, figsize=(3.1 * columns + 1.4, 1.1 * shown + 0.8))
    for k, row in enumerate(axes):
        for e, axis in enumerate(row):
            if e < counts[k]:
                _triple(axis, *(np.asarray(own[k][e]) for own in (pictures, kept, removed)),
                        headings=max(counts[:k], default=0) <= e)  # the first of its column
            else:
                blank(axis)
        percent = "under 1" if 0 < changed[k] < 0.005 else f"{100 * changed[k]:.0f}"
        share = textwrap.fill(f"{percent} % of pixels", 16)
        label_row(row[0], textwrap.fill(names[k], 16) + (f"\n{share}" if counts[k] else ""))
    set_title(figure, title + first_rows(shown, len(counts), "concepts"))
    return figure, pd.DataFrame({"concept": list(names), "exemplars": counts, "changed": changed})


def trait_pictures(pictures, names, class_names, ratios=None, title=""):
    """Figure 3a and c: what each concept's pictures have in common, a row per class and a column per concept.

    pictures: per class uint8 `(concept, height, width, 3)`
    names: per class the names of its concepts. A concept of the same name has the same column in all classes, in order
        of first appearance; more columns than `MOST_COLUMNS` go on below
    ratios: per class the explained variance ratios of the first component, in [0, 1], NaN where there is none

    The table has a row per class and concept: `class`, `concept`, `explained_variance_ratio` (NaN without `ratios`). Of
    many classes the first are shown, see `MOST_CLASSES`.
    """
    check_classes(class_names, names, pictures=pictures, **({} if ratios is None else {"ratios": ratios}))
    ratios = [np.full(len(own), np.nan) for own in names] if ratios is None else [np.asarray(r, float) for r in ratios]
    figure, axes, rows = _aligned(names, class_names, MOST_COLUMNS["pictures"], (1.25, 1.45))
    for row, (c, concepts, _) in zip(axes, rows):
        for axis, k in zip(row, concepts):
            if k is not None:
                name = axis.get_title()
                show_picture(axis, np.asarray(pictures[c][k]))
                axis.set_title(name, fontsize=10, pad=3)
                if not np.isnan(ratios[c][k]):
                    axis.set_xlabel(f"PC1: {100 * ratios[c][k]:.0f} %", fontsize=9, labelpad=2)
    set_title(figure, title + first_rows(min(len(names), MOST_CLASSES), len(names), "classes"))
    return figure, pd.DataFrame([{"class": class_name, "concept": name, "explained_variance_ratio": ratio}
                                 for class_name, own, values in zip(class_names, names, ratios)
                                 for name, ratio in zip(own, values)])


# --- Distributions ---------------------------------------------------------------------------------------------------


def qq_plots(classes, title="", methods=METHODS):
    """Figure 3b and d, and supplementary 3c and 4c: q-q plots against the normal distribution.

    classes: a dict per class (row) with `class`, its name, `names` of concepts (columns, as in `trait_pictures`),
        `ours`, an `asxai.traits.vectors.Normality` for each, and if wanted `other`, the same of a comparison, None where it has
        nothing for that concept
    methods: what to call the two

    Values are drawn in standard deviations from their mean, so that both methods have the same black line, y = x; what
    lies beyond `QQ_LIMIT` is a triangle at the edge. The table has a row per class, concept and method: `class`,
    `concept`, `method`, `r2`, `w`, `p`, `count`, `mean`, `std`, `skew`. Of many classes the first are shown, see
    `MOST_CLASSES`.
    """
    class_names, names = [own["class"] for own in classes], [own["names"] for own in classes]
    both = {methods[0]: [own["ours"] for own in classes],
            methods[1]: [own.get("other") or [None] * len(own["names"]) for own in classes]}
    check_classes(class_names, names, **dict(zip(("ours", "other"), both.values())))
    figure, axes, rows = _aligned(names, class_names, MOST_COLUMNS["q-q plots"], (1.45, 1.5))
    drawn = [found for per_class in both.values() for own in per_class for found in own if found is not None]
    limit = min(QQ_LIMIT, 1.05 * max([3.0, *(np.abs(values).max() for found in drawn for values in _points(found))]))
    beyond = False
    for r, (row, (c, concepts, _)) in enumerate(zip(axes, rows)):
        below = rows[r + 1][1] if r + 1 < len(rows) and not rows[r + 1][2] else [None] * len(concepts)
        for k, axis, under in zip(concepts, row, below):  # numbers at the left and under the lowest of a column
            if k is None:
                continue
            # the comparison first: this study's dots are on top
            for found, colour, place in ((both[methods[1]][c][k], OTHER, (0.95, 0.05, "right", "bottom")),
                                         (both[methods[0]][c][k], OURS, (0.05, 0.95, "left", "top"))):
                if found is not None:
                    beyond |= _dots(axis, found, colour, limit)
                    axis.text(*place[:2], f"r² {found.r2:.3f}", color=colour, ha=place[2], va=place[3], fontsize=9,
                              transform=axis.transAxes)
            axis.plot([-limit, limit], [-limit, limit], color="k", lw=0.9, zorder=4)
            axis.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=(-3, 0, 3), yticks=(-3, 0, 3))
            axis.tick_params(labelsize=9, labelleft=axis is row[0], labelbottom=under is None, length=2, pad=2)
            axis.spines[:].set(visible=True, color="0.6")
            axis.patch.set_visible(True)
            axis.grid(alpha=0.3)
    figure.align_ylabels(axes[:, 0])
    shown = [method for method, per_class in both.items() if any(f is not None for own in per_class for f in own)]
    handles = [Line2D([], [], marker="o", ls="", ms=6, color=dict(zip(methods, (OURS, OTHER)))[method], label=method)
               for method in shown] + [Line2D([], [], color="k", lw=1.2, label="normal distribution")]
    if beyond:
        handles.append(Line2D([], [], marker="^", ls="", ms=6, color="0.4", label="beyond the axis"))
    # as the legend's title, since labels of the whole figure would be written over it
    label = textwrap.fill("across: quantiles of the normal distribution; upwards: values, in standard deviations from "
                          "their mean", int(12 * figure.get_figwidth()))
    columns = len(handles) if figure.get_figwidth() > 6 else 1
    figure.set_figheight(figure.get_figheight() + 0.22 * (label.count("\n") + 2 + len(handles) // columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=10, title=label,
                  title_fontsize=9)
    set_title(figure, title + first_rows(min(len(names), MOST_CLASSES), len(names), "classes"))
    fields = ("r2", "w", "p", "count", "mean", "std", "skew")
    return figure, pd.DataFrame([{"class": class_name, "concept": name, "method": method,
                                  **{field: getattr(found, field) for field in fields}}
                                 for c, (class_name, own) in enumerate(zip(class_names, names))
                                 for k, name in enumerate(own) for method in methods
                                 if (found := both[method][c][k]) is not None],
                                columns=["class", "concept", "method", *fields])


def variance_curves(ratios, names, class_names):
    """How much of the variance the first k components explain, an axis per class, a line per concept.

    ratios: per class numbers `(concept, component)`, or a list with one such row per concept: eq. 9 of each component
    names: per class the names of its concepts; the same name has the same colour in all classes

    Legends are in the order of the first component, which they tell. The table has a row per class, concept and
    component, from 1 on: `class`, `concept`, `component`, `explained_variance_ratio`, `cumulative`. Of many classes the
    first are shown, see `MOST_CLASSES`.
    """
    check_classes(class_names, names, ratios=ratios)
    curves = [[np.cumsum(np.asarray(row, float)) for row in own] for own in ratios]
    for class_name, own in zip(class_names, curves):
        if not all(len(curve) and np.isfinite(curve).all() for curve in own):
            raise ValueError(f"ratios of {class_name!r} must be numbers, one or more for each concept; leave out "
                             "concepts without components")
    colours = [colour for colour in COLOURS if colour != YELLOW]
    styles = {name: (colours[i % len(colours)], LINES[i // len(colours) % len(LINES)])
              for i, name in enumerate(dict.fromkeys(name for own in names for name in own))}
    shown = min(len(names), MOST_CLASSES)
    columns = min(3, shown)
    tall = max(len(own) for own in names[:shown])
    figure, axes = plt.subplots(-(-shown // columns), columns, squeeze=False, sharex=True, sharey=True, figsize=(
        4.3 * columns, -(-shown // columns) * max(2.7, 0.19 * tall + 1.1)))
    for i, axis in enumerate(axes.flat):
        if i >= shown:
            axis.set_axis_off()
            continue
        for k in sorted(range(len(names[i])), key=lambda k: -curves[i][k][0]):
            colour, line = styles[names[i][k]]
            axis.plot(np.arange(1, len(curves[i][k]) + 1), 100 * curves[i][k], color=colour, ls=line, marker="o", ms=4,
                      label=textwrap.fill(f"{names[i][k]}, {100 * curves[i][k][0]:.0f} %", 20))
        axis.set_title(textwrap.fill(class_names[i], 30), fontsize=11)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9, labelspacing=0.3,
                    title="first component", title_fontsize=9)
        axis.grid(alpha=0.4)
        # of axes that share x only the lowest of a column is labelled, which may be one that is not there
        axis.tick_params(labelsize=9, labelbottom=i + columns >= shown)
    longest = max(len(curve) for own in curves[:shown] for curve in own)
    least = min(curve[0] for own in curves[:shown] for curve in own)
    axes[0, 0].set(xlim=(0.7, longest + 0.3), ylim=(max(0, 10 * np.floor(10 * least - 0.3)), 102))
    axes[0, 0].xaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("components, the strongest first", fontsize=10)
    figure.supylabel("explained variance, %", fontsize=10)
    set_title(figure, "Variance that the first components explain together" + first_rows(shown, len(names), "classes"))
    return figure, pd.DataFrame([{"class": class_name, "concept": name, "component": k, "explained_variance_ratio": own,
                                  "cumulative": total}
                                 for class_name, of_class, rows, sums in zip(class_names, names, ratios, curves)
                                 for name, row, curve in zip(of_class, rows, sums)
                                 for k, (own, total) in enumerate(zip(np.asarray(row, float), curve), 1)])


# --- Specificity -----------------------------------------------------------------------------------------------------


def drop_matrices(drops, names, class_names, title, unit="standard deviations", row_names=None):
    """How far A_s of each concept (columns) falls when something is removed (rows), a matrix per class.

    drops: per class numbers `(removed, measured)`, positive where A_s falls, as of `asxai.traits.vectors.concept_drops`
    names: per class the names of the measured concepts, and of the removed ones, unless `row_names` are given
    unit: of the drops, in words
    row_names: per class what was removed, where these are not the measured concepts but, say, true parts

    A row counts as right if its largest drop is above 0 and on the diagonal, as in `asxai.traits.vectors.on_diagonal`; with
    `row_names`, if it is of a concept of the row's name, with or without a number behind ("name", "name 2"). Rows that
    no column is named after are grey, have a dagger, and do not count. NaN makes a row wrong.

    The table has a row per cell: `class`, `removed`, `measured`, `drop`, and `largest`, whether it is its row's largest
    drop. Of many classes the first are shown, see `MOST_CLASSES`.
    """
    drops = [np.asarray(own, float) for own in drops]
    labels = names if row_names is None else row_names
    check_classes(class_names, names, inner=False, drops=drops, **({} if row_names is None else {"row_names": labels}))
    for own, rows, columns, class_name in zip(drops, labels, names, class_names):
        if own.shape != (len(rows), len(columns)) or not own.size:
            raise ValueError(f"drops of {class_name!r} are {own.shape} and must be {(len(rows), len(columns))}, "
                             "removed by measured, one for each name; leave out classes without any")
    named = [np.eye(len(own), dtype=bool) if row_names is None else
             np.array([[is_named_after(column, row) for column in own] for row in rows])
             for own, rows in zip(names, labels)]
    largest = [_largest(own) for own in drops]
    shown = min(len(drops), MOST_CLASSES)
    finite = np.concatenate([np.abs(own[np.isfinite(own)]) for own in drops[:shown]])
    finite = finite if finite.any() else np.ones(1)  # all NaN or 0: any limit will do
    limit = np.percentile(finite, 95) or finite.max()
    cells = max(own.shape[1] for own in drops[:shown]), max(own.shape[0] for own in drops[:shown])
    many = shown > MOST_NUMBERS["classes"]
    side = 0.27 if many or max(cells) > MOST_NUMBERS["concepts"] else 0.46
    longest = max(min(16, len(name)) for own in names[:shown] for name in own)  # of labels that stand upright
    width, height = max(3.0, side * cells[0] + 1.5), side * cells[1] + 1.5 + 0.08 * longest
    columns = min(shown, max(1, int(13 / width)))
    columns = -(-shown // -(-shown // columns))  # as many in each line
    figure, axes = plt.subplots(-(-shown // columns), columns, squeeze=False, figsize=(
        max(4.5, width * columns + 1.0), height * -(-shown // columns) + 0.5))
    for axis in axes.flat[shown:]:
        axis.set_axis_off()
    for c, axis in zip(range(shown), axes.flat):
        image = _matrix(axis, drops[c], labels[c], names[c], named[c], largest[c], limit,
                        numbers=not many and max(drops[c].shape) <= MOST_NUMBERS["concepts"])
        axis.set_title(f"{textwrap.fill(class_names[c], 30)}\n{_right(drops[c], named[c])}", fontsize=10)
        axis.set_anchor("N")
        axis.set_ylabel("removed" if c % columns == 0 else "")
        axis.set_xlabel("measured" if c + columns >= shown else "")
    tall = figure.get_figheight()
    figure.colorbar(image, ax=axes, label=textwrap.fill(f"fall of A_s, {unit}", max(16, int(8 * min(tall, 4)))),
                    shrink=min(0.8, 4 / tall), aspect=22, panchor=False,
                    extend="both" if finite.max() > limit else "neither")
    note = "thick frame: largest drop of its row; dotted frame: measured what was removed"
    if not all(own.any(axis=1).all() for own in named[:shown]):
        note += "; †: no concept has that name, not counted"
    note = textwrap.fill(note, int(11 * figure.get_figwidth()))
    # a legend's title, since a label of the whole figure is written over those of the lowest panel
    figure.legend(handles=[], loc="outside lower center", frameon=False, title=note, title_fontsize=9)
    set_title(figure, title + first_rows(shown, len(drops), "classes"))
    return figure, pd.DataFrame([{"class": class_names[c], "removed": row, "measured": column, "drop": own[r, k],
                                  "largest": bool(largest[c][r, k])}
                                 for c, own in enumerate(drops) for r, row in enumerate(labels[c])
                                 for k, column in enumerate(names[c])])


# --- Methods ---------------------------------------------------------------------------------------------------------


def inversion_traces(runs, title, shifted=None):
    """How fast methods of `asxai.traits.inversion` lower the objective of one target, and when they reach the slowest's end.

    runs: of each method's name clock `(step,)` in seconds from the start, and trace `(step,)`, the objective
    shifted: of a method's name how many of its first steps saw shifted pictures; these are pale, and do not count as
        reaching anything, as in `asxai.traits.inversion.race`

    The slowest is the method that ends last; the dashed line is its last objective. The table has a row per method and
    step: `method`, `step`, `seconds`, `objective`; of more than `THINNED` steps some, the first and last among them.
    """
    runs = {method: tuple(np.asarray(values, float) for values in own) for method, own in runs.items()}
    for method, (clock, trace) in runs.items():
        if clock.ndim != 1 or clock.shape != trace.shape or not len(clock):
            raise ValueError(f"runs[{method!r}]: clock {clock.shape} and trace {trace.shape} must be (step,) both; "
                             "give those of one target")
        if not (np.isfinite(trace) & (trace > 0)).all() or clock[0] < 0 or not (np.diff(clock) >= 0).all():
            raise ValueError(f"runs[{method!r}]: objectives must be above 0, for a logarithmic axis, and seconds must "
                             "rise; they are from {:.3g} to {:.3g} and from {:.3g} to {:.3g}".format(
                                 trace.min(), trace.max(), clock[0], clock[-1]))
    if not runs:
        raise ValueError("runs are none; give a clock and a trace for each method")
    slow = max(runs, key=lambda method: runs[method][0][-1])
    end, goal = (values[-1] for values in runs[slow])
    figure, axis = plt.subplots(figsize=(7.5, 4.2))
    colours = [colour for colour in COLOURS if colour != YELLOW]
    axis.axhline(goal, color="0.3", lw=1.2, ls=(0, (4, 2)), zorder=1)
    for i, (method, (clock, trace)) in enumerate(runs.items()):
        colour, start = colours[i % len(colours)], min((shifted or {}).get(method, 0), len(trace) - 1)
        reached = np.flatnonzero(trace[start:] <= goal)[:1] + start
        at, words = (end, f"ends after {_duration(end)}") if method == slow else (np.nan, "does not get as low")
        if method != slow and len(reached):
            at = clock[reached[0]]
            times = end / at if at else np.inf
            words = f"is as low after {_duration(at)}, {times:.{0 if times >= 9.95 else 1}f} times as fast"
        step, seen = np.arange(len(clock)), clock > 0  # a logarithmic axis has no 0
        early, late = seen & (step <= start), seen & (step >= start)
        axis.plot(clock[early], trace[early], color=colour, lw=1.2, alpha=0.4, zorder=2)
        axis.plot(clock[late], trace[late], color=colour, lw=2, zorder=3, label=textwrap.fill(f"{method}: {words}", 80))
        if at > 0:
            axis.plot(at, goal if method == slow else trace[reached[0]], "D", mfc=colour, mec="k", ms=7, mew=1.2,
                      zorder=5)
            axis.axvline(at, color=colour, lw=1, ls=":", zorder=1)
    axis.set(xscale="log", yscale="log", xlabel="seconds", ylabel="objective")
    axis.margins(0.05)
    axis.grid(alpha=0.4)
    axis.plot([], [], color="0.3", lw=1.2, ls=(0, (4, 2)), label=f"last objective of {slow}")
    if any((shifted or {}).values()):
        axis.plot([], [], color="0.3", lw=1.2, alpha=0.4, label="pale: of shifted pictures, which do not count")
    figure.legend(loc="outside lower center", fontsize=9, frameon=False)
    set_title(figure, title)
    return figure, pd.concat([pd.DataFrame({"method": method, "step": steps, "seconds": clock[steps],
                                            "objective": trace[steps]})
                              for method, (clock, trace) in runs.items() for steps in [_thinned(len(clock))]],
                             ignore_index=True)


def _aligned(names, class_names, most, cell):
    """Axes `(row, column)` with a column per name, in blocks of at most `most` columns one below another.

    Also the rows, as (class, the number of its concept in each column or None, whether a block begins). All axes are
    blank but for the class at the left, and the name above the first that has it. Classes without any name of a block
    have no row there.
    """
    columns = list(dict.fromkeys(name for own in names[:MOST_CLASSES] for name in own))
    width = -(-len(columns) // -(-len(columns) // most))  # blocks of the same width
    rows, headings = [], []
    for start in range(0, len(columns), width):
        block = columns[start:start + width]
        members = [c for c, own in enumerate(names[:MOST_CLASSES]) if set(own) & set(block)]
        padded = block + [None] * (width - len(block))
        rows += [(c, [list(names[c]).index(name) if name in names[c] else None for name in padded], c == members[0])
                 for c in members]
        headings += [[textwrap.fill(name, 13) if c == next(m for m in members if name in names[m]) else ""
                      for name in block] for c in members]
    lines = sum(max(name.count("\n") + bool(name) for name in own) for own in headings)
    figure, axes = plt.subplots(len(rows), width, squeeze=False, figsize=(
        max(3.0, cell[0] * width + 1.3), cell[1] * len(rows) + 0.2 * lines + 0.4))
    for row, (c, _, _), own in zip(axes, rows, headings):
        for axis in row:
            blank(axis)
            axis.set_box_aspect(1)
        label_row(row[0], textwrap.fill(class_names[c], 16))
        for axis, name in zip(row, own):
            axis.set_title(name, fontsize=10, pad=3)
    return figure, axes, rows


def _triple(axis, whole, alone, without, headings):
    """Three pictures side by side as one, with words above each."""
    gap = np.full((len(whole), max(1, whole.shape[1] // 30), 3), 255, np.uint8)
    show_picture(axis, np.hstack([whole, gap, alone, gap, without]))
    for i, text in enumerate(HEADINGS if headings else ()):
        axis.text((2 * i + 1) / 6, 1.03, text, transform=axis.transAxes, ha="center", va="bottom", fontsize=9)


def _points(found):
    """Theoretical quantiles, and the ordered values in standard deviations from their mean."""
    return np.asarray(found.theoretical), (np.asarray(found.ordered) - found.mean) / found.std


def _dots(axis, found, colour, limit):
    """The points of a q-q plot; whether some lie beyond the limit, and are triangles at the edge."""
    x, y = _points(found)
    beyond = np.abs(y) > limit
    axis.plot(x[~beyond], y[~beyond], "o", color=colour, ms=2.8, mew=0, zorder=3)
    for marker, side in (("^", 1), ("v", -1)):
        own = beyond & (side * y > 0)
        if own.any():
            axis.plot(x[own], np.full(own.sum(), 0.95 * side * limit), marker, color=colour, ms=5, mew=0, zorder=3)
    return bool(beyond.any())


def _largest(drops):
    """Bool `(removed, measured)`: the largest cell of each row, the first of equals, none in a row of NaN."""
    largest = np.zeros(drops.shape, bool)
    for row, own in zip(largest, drops):
        if not np.isnan(own).all():
            row[np.nanargmax(own)] = True
    return largest


def _right(drops, named):
    """The share of rows, of those with a column named after them, whose largest drop is there, in words."""
    counted = named.any(axis=1)
    right = 0
    for own, match in zip(drops[counted], named[counted]):
        best = own[match].max()
        right += bool(best > 0 and (match.all() or best > own[~match].max()))  # False for NaN
    if not counted.any():
        return "no row counts"
    return f"own is largest: {right} of {counted.sum()} rows ({100 * right / counted.sum():.0f} %)"


def _matrix(axis, drops, rows, columns, named, largest, limit, numbers):
    """One matrix of `drop_matrices`, without title."""
    image = axis.imshow(np.ma.masked_invalid(drops), cmap=DROP_COLOURS, vmin=-limit, vmax=limit)
    axis.patch.set_facecolor("0.9")  # of NaN
    digits = 1 if limit >= 1 else 2
    for (r, k), drop in np.ndenumerate(drops):
        if numbers:
            drop = round(drop, digits) + 0.0  # no minus before a zero
            text = "–" if np.isnan(drop) else f"{drop:.{digits}f}".replace("-", "−")
            axis.text(k, r, text, ha="center", va="center", fontsize=9, color="w" if drop < -0.6 * limit else "k")
        # both frames are seen where they are of the same cell
        for frame, half, style in ((named, 0.38, {"lw": 1.3, "ls": (0, (1, 1.2))}), (largest, 0.47, {"lw": 2.2})):
            if frame[r, k]:
                axis.add_patch(plt.Rectangle((k - half, r - half), 2 * half, 2 * half, fill=False, ec="k", **style))
    size = 10 if numbers else 9
    axis.set_xticks(range(len(columns)), [textwrap.fill(name, 16) for name in columns], rotation=90, fontsize=size)
    counted = named.any(axis=1)
    axis.set_yticks(range(len(rows)), [textwrap.fill(name if own else f"{name} †", 18)
                                       for name, own in zip(rows, counted)], fontsize=size)
    for label, own in zip(axis.get_yticklabels(), counted):
        label.set_color("k" if own else "0.5")
    axis.tick_params(length=0)
    return image


def _duration(seconds):
    """Seconds in words: "3.2 seconds", "2 minutes 5 seconds", "1 hour 20 minutes"."""
    def count(number, unit):
        return f"{number} {unit}{'' if str(number) == '1' else 's'}"

    if seconds < 59.5:
        return count(f"{seconds:.2g}" if seconds < 9.95 else f"{seconds:.0f}", "second")
    large, small, unit = ("minute", "second", 1) if round(seconds) < 3600 else ("hour", "minute", 60)
    whole, rest = divmod(round(seconds / unit), 60)
    return count(whole, large) + (f" {count(rest, small)}" if rest else "")


def _thinned(count):
    """At most `THINNED` steps of `count`, close at first and then evenly, the first and the last among them."""
    if count <= THINNED:
        return np.arange(count)
    half = THINNED // 2
    steps = np.r_[np.geomspace(1, count, half) - 1, np.linspace(0, count - 1, half)]
    return np.unique(steps.round().astype(int))
