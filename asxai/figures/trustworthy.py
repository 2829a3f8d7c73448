"""The figures of notebook 06: how often tiers of confidence are used and right, and what confidence is worth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..statistics import expected_calibration_error
from .dots import COLUMNS, draw_dots
from .sheet import ink, legend_below, legend_beside, panels, picture_grid, wrapped
from .style import LINE_COLOURS, OURS, TIER_COLOURS, WIDTH, Drawn

LINES = ("-", "--", "-.", ":")
BINS = 10  # of equal width, of confidence


def tier_bars(table: pd.DataFrame) -> Drawn:
    """How often each tier of confidence is used, and how often it is right, for several sets of pictures.

    table: a row per set and tier with `set`, `tier`, `share` of the set's pictures, `accuracy` (NaN where none can be
        right), `low` and `high` (its interval) and `count` of pictures; given back as it is
    """
    sets, colours = list(dict.fromkeys(table["set"])), dict(zip(dict.fromkeys(table["tier"]), TIER_COLOURS))
    height = max(0.5, 0.24 * len(colours)) * len(sets) + 1.5
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH - 1, height), sharey=True, width_ratios=[1.1, 1])
    places = table["set"].map(sets.index)
    starts = 100 * table.groupby("set")["share"].transform(lambda shares: shares.cumsum() - shares)
    for tier, own in table.groupby("tier", sort=False):
        y, shares = places[own.index], 100 * own["share"]
        bars = axes[0].barh(y, shares, 0.6, starts[own.index], color=colours[tier], ec="w", lw=0.8)
        texts = [f"{share:.0f}" if share >= 6 else "" for share in shares]
        axes[0].bar_label(bars, texts, label_type="center", fontsize=9, color=ink(colours[tier]))
    rows = table.rename(columns={"set": "method", "tier": "group", "accuracy": "value"}).reindex(columns=COLUMNS)
    rows[["value", "low", "high"]] *= 100
    used = [f"{value:.1f} %" if value == value else "–" for value in rows["value"]]
    rows["text"] = [f"{text}  ({count})" if count else "not used" for text, count in zip(used, table["count"])]
    draw_dots(axes[1], rows, sets, {tier: {"color": colour, "marker": "o"} for tier, colour in colours.items()})
    axes[0].set(xlim=(0, 100), xlabel="share of pictures, %")
    axes[1].set(xlim=(-2, 102), xlabel="right, %, with interval\n(beside it the number of pictures)")
    figure.get_layout_engine().set(wspace=0.06)  # the last number of one axis must not join the first of the other
    legend_below(figure, {tier: {"color": colour, "marker": "s", "ms": 10} for tier, colour in colours.items()})
    return figure, table


def risk_coverage(curves: dict) -> Drawn:
    """Share of errors among the pictures that a score is surest of, over the share of pictures that these are.

    curves: name -> `asxai.statistics.RiskCoverage`
    """
    figure, axis = plt.subplots(figsize=(6.6, 4))
    for colour, line, (name, (coverage, risk, aurc, *_)) in zip(LINE_COLOURS, LINES, curves.items()):
        label = f"{wrapped(name, 30)}: {aurc:.4f}"
        axis.plot(100 * coverage, 100 * risk, color=colour, ls=line, lw=1.8, label=label)
    axis.set(xlim=(0, 100), xlabel="coverage: the surest pictures, %", ylabel="risk: wrong among these, %")
    axis.set_ylim(bottom=0)
    axis.grid()
    legend_beside(axis, title="area under the curve (lower is better)")
    tables = [
        pd.DataFrame({"score": name, "coverage": coverage, "risk": risk, "aurc": aurc})
        for name, (coverage, risk, aurc, *_) in curves.items()
    ]
    return figure, pd.concat(tables, ignore_index=True)


def reliability(predictions: dict) -> Drawn:
    """Reliability diagrams: how often pictures of a confidence are right, and the expected calibration error.

    predictions: name -> (confidence, right): two arrays `(picture,)`, in [0, 1] and bool

    ECE is the mean |accuracy - mean confidence| of the bins, weighted by their pictures (Naeini et al., AAAI 2015; Guo
    et al., ICML 2017). The table has a row per name and bin that is not empty.
    """
    figure, axes = panels(len(predictions), 4, 2.7, 3.3, sharex=True, sharey=True)
    tables = []
    for axis, (name, (confidence, right)) in zip(axes, predictions.items()):
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        own = pd.DataFrame({"confidence": confidence, "accuracy": right.astype(float), "count": 1}).groupby(bins)
        own = own.agg({"confidence": "mean", "accuracy": "mean", "count": "sum"})
        error = expected_calibration_error(confidence, right, BINS)
        for bin, row in own.iterrows():
            look = {"color": LINE_COLOURS[0], "alpha": 0.25 + 0.75 * row["count"] / own["count"].max()}
            axis.bar(bin / BINS, row["accuracy"], 1 / BINS, align="edge", ec="w", lw=0.6, **look)
        axis.vlines(own["confidence"], own["accuracy"], own["confidence"], color=OURS, lw=2)
        axis.plot(own["confidence"], own["accuracy"], "o", color="k", ms=3.5)
        axis.plot([0, 1], [0, 1], color="0.4", lw=1, ls="--")
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence")
        axis.set_title(f"{wrapped(name, 26)}\nECE {error:.3f}")
        tables.append(own.assign(score=name, low=own.index / BINS, high=(own.index + 1) / BINS, ece=error))
    figure.supylabel("accuracy")
    legend_below(figure, {}, "line: gap to accuracy; dashed: no gap; darker: more pictures")
    fields = ["score", "low", "high", "confidence", "accuracy", "count", "ece"]
    return figure, pd.concat(tables, ignore_index=True)[fields]


def picture_strip(sets: dict) -> Drawn:
    """Some pictures of several sets, a row each; sets: name -> uint8 `(picture, 3, size, size)`.

    The table says how many pictures each set has, and how many are shown.
    """
    rows = [np.moveaxis(np.asarray(pictures)[:8], 1, -1) for pictures in sets.values()]
    figure, _ = picture_grid(rows, [wrapped(name, 14) for name in sets], size=(1.25, 1.3))
    counts = {"pictures": [len(own) for own in sets.values()], "shown": [len(own) for own in rows]}
    return figure, pd.DataFrame({"set": list(sets)} | counts)
