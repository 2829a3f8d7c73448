"""The one dot plot: whatever has a value with an interval is drawn by it."""

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from .sheet import legend_below, note, panels, set_title, wrapped
from .style import BEST_SIDE, LINE_COLOURS, Drawn

COLUMNS = "measure method value low high wide_low wide_high group text chance better target".split()
NAME = 22  # letters of a method in a line


def dot_plot(
    table: pd.DataFrame, title="", caption="", numbers="", styles=None, columns=3, width=2.6, share=True, log=False
) -> Drawn:
    """A panel per measure, a line per method, a dot per row with its interval. The table is given back.

    table: columns `measure`, `method`, `value` (NaN where it is not known), and of these what is wanted:
        `low`, `high`             ends of the interval, NaN where there is none
        `wide_low`, `wide_high`   ends of a second interval, drawn thin
        `group`                   colour and marker of a dot, explained below the panels; else methods have colours
        `text`                    what stands at the right of a dot
        `chance`                  a grey bar from minus that to plus that, what chance gives
        `better`, `target`        of a measure: the better side ("higher" or "lower"), and a dashed line
    numbers: how to write the value at the right, for instance "{:.2f}". Of several rows of a method, which differ in
        their seed, it is the mean, which has a diamond. The best one is bold where a side is better, and so is
        what is written as it is
    styles: colour and marker of each group, arguments of `plot`
    columns, width: panels side by side, and inches of each
    share: whether all panels have the same methods, or each its own. log: a logarithmic axis

    Measures, methods and groups are drawn in the order in which they first occur.
    """
    rows = table.reindex(columns=COLUMNS)
    measures, every = list(dict.fromkeys(rows["measure"])) or [""], list(dict.fromkeys(rows["method"]))
    methods = {m: every if share else list(dict.fromkeys(rows.loc[rows["measure"] == m, "method"])) for m in measures}
    cell = rows.groupby(["measure", "method"]).size().max() if styles and len(rows) else 1
    height = 0.16 * cell + 0.1 if rows["text"].notna().any() else min(0.6, 0.08 * cell + 0.2)
    least = 0.42 if max(map(len, map(str, every)), default=0) > NAME else 0.34
    height = max(least, height) * max(1, *map(len, methods.values())) + 0.85
    figure, axes = panels(len(measures), columns, width, height, (1.7, 0.9), sharey=share)
    if not styles:
        rows["group"] = rows["method"]
    colours = {method: {"color": LINE_COLOURS[y % len(LINE_COLOURS)], "marker": "o"} for y, method in enumerate(every)}
    for axis, measure in zip(axes, measures):
        own = rows[rows["measure"] == measure]
        draw_dots(axis, own, methods[measure], styles or colours, numbers)
        for target in own["target"].dropna().unique():
            axis.axvline(target, color="0.3", lw=1.2, ls="--", zorder=1)
        sides = [BEST_SIDE[side] for side in own["better"].dropna().unique()]
        axis.set_title("\n".join([wrapped(measure, int(10 * width)), *sides]))
        axis.margins(x=0.08)
        axis.xaxis.set_major_locator(MaxNLocator(3 if width < 2.5 else 4))
        if log and own[["value", "low"]].min(axis=None) > 0:
            axis.set_xscale("log")
            decades = np.log10(np.divide(*reversed(axis.get_xlim())))
            ticks = (1, 2, 5) if decades < 1.3 else (1, 3) if decades < 3 else (1,)
            axis.xaxis.set_major_locator(LogLocator(subs=ticks))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        elif own[["value", "high"]].max(axis=None) <= 1:  # what cannot be more than 1 has no axis beyond
            axis.set_xlim(right=min(axis.get_xlim()[1], 1.03))
    if table.empty:
        note(axes[0], "nothing was measured")
    if styles or caption:
        legend_below(figure, styles or {}, caption)
    set_title(figure, title)
    return figure, table


def draw_dots(axis, rows, methods, styles, numbers=""):
    """One panel of `dot_plot`; rows have all of `COLUMNS`, and a group of `styles` each."""
    right = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": 9}
    means, better = rows.groupby("method")["value"].mean(), rows["better"].dropna().unique()
    best = (means.max() if better[0] == "higher" else means.min()) if len(better) else np.nan
    first = numbers.format(best).rstrip(".").replace("-", "−") if np.isfinite(best) else None
    for y, method in enumerate(methods):
        if y % 2:
            axis.axhspan(y - 0.5, y + 0.5, color="0.95", lw=0, zorder=0)
        cell = rows[rows["method"] == method]
        if cell["value"].isna().all() and cell["text"].isna().all():
            note(axis, "not measured", y, axis.get_yaxis_transform())
            continue
        for row, at in zip(cell.to_dict("records"), y + np.linspace(-0.45, 0.45, len(cell) + 2)[1:-1]):
            style = {"ms": 6, "mec": "w", "mew": 0.5} | styles[row["group"]]
            axis.hlines(at, -row["chance"], row["chance"], color="0.82", lw=6, zorder=1)
            axis.hlines(at, row["wide_low"], row["wide_high"], color=style["color"], lw=0.8, zorder=2)
            axis.hlines(at, row["low"], row["high"], color=style["color"], lw=2, alpha=0.8, zorder=2)
            axis.plot(row["value"], at, zorder=3, **style)
            if isinstance(row["text"], str):
                axis.text(1.02, at, row["text"], color="0.45" if np.isnan(row["value"]) else "k", **right)
        if numbers:
            if len(cell) > 1:
                axis.plot(means[method], y, "D", mfc="w", mec="k", ms=6, mew=1.2, zorder=4)
            written = numbers.format(means[method]).rstrip(".").replace("-", "−")
            weight = "bold" if written == first else "normal"  # what looks the same has the same weight
            axis.text(1.02, y, written, weight=weight, **right)
    axis.set_yticks(range(len(methods)), [wrapped(method, NAME, 2) for method in methods])
    axis.set_ylim(max(1, len(methods)) - 0.5, -0.5)
    axis.grid(axis="x")
