"""Figures of notebook 11: one picture by all methods, truth against cost."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.ticker import FixedLocator, NullLocator
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from .sheet import blank, legend_below, panels, set_title, wrapped
from .style import OTHER, OURS, Drawn

COLUMNS = 6
SMOOTHING = 0.012  # of the side: single pixels could not be seen
PASSES = (0.5, 1, 2, 4, 10, 30, 100, 300, 1000)
KINDS = {
    "AS-XAI": {"color": OURS, "marker": "D"},
    "other methods": {"color": OTHER, "marker": "o"},
    "controls": {"color": "0.45", "marker": "X"},
}


def side_by_side(picture: np.ndarray, maps: dict[str, np.ndarray], title: str) -> Drawn:
    """A picture `(size, size, 3)` and the maps `(height, width)` of methods by name; red speaks for, blue against.

    Each map is a little smoothed and has a scale of its own. The table has a row per method: its largest, smallest
    and mean value.
    """
    figure, axes = panels(1 + len(maps), COLUMNS, 1.55, 1.75, (0.3, 0.6))
    grey = picture.mean(axis=2)
    axes[0].imshow(picture)
    axes[0].set_title("the picture", fontsize=9, pad=3)
    blank(axes[0])
    rows = []
    for axis, (name, values) in zip(axes[1:], maps.items()):
        fine = gaussian_filter(resize(values.astype(float), grey.shape, order=1), len(grey) * SMOOTHING)
        limit = max(np.quantile(np.abs(fine), 0.995), 1e-12)
        axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
        shown = plt.get_cmap("RdBu_r")(0.5 + 0.5 * (fine / limit).clip(-1, 1))
        shown[..., 3] = 0.75 * np.abs(fine / limit).clip(0, 1)
        axis.imshow(shown)
        axis.set_title(wrapped(name, 22), fontsize=9, pad=3)
        blank(axis)
        rows.append((name, values.max(), values.min(), values.mean()))
    set_title(figure, title)
    return figure, pd.DataFrame(rows, columns=["method", "highest", "lowest", "mean"])


def truth_against_cost(table: pd.DataFrame, title: str, truth="Shapley", cost="passes") -> Drawn:
    """A dot per method: agreement with the truth over what a map costs; both are means over seeds.

    table: tidy rows with `method`, `measure`, `value`, `low`, `high` and `kind`, one of `KINDS`. Methods that need no
    pass stand at a half, for the axis is logarithmic.
    """
    wide = table.pivot_table(index=["method", "kind"], columns="measure", values=["value", "low", "high"], sort=False)
    rows = pd.DataFrame(
        {"cost": wide["value"][cost].clip(lower=0.5), **{name: wide[name][truth] for name in ("value", "low", "high")}}
    ).reset_index()
    figure, (axis,) = panels(1, 1, 8.2, 4.6)
    for kind, own in rows.groupby("kind", sort=False):
        axis.vlines(own["cost"], own["low"], own["high"], color=KINDS[kind]["color"], lw=1.5, alpha=0.5)
        axis.plot(own["cost"], own["value"], ls="", ms=7, mec="w", **KINDS[kind])
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(PASSES))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda x, _: "none" if x == 0.5 else f"{x:g}")
    axis.set(xlabel=f"{cost} through the backbone for one map", ylabel=f"agreement with {truth} values of parts")
    axis.axhline(0, color="0.8", lw=1, zorder=0)
    axis.margins(x=0.12, y=0.08)
    axis.grid(axis="y")
    texts = [axis.text(row.cost, row.value, row.method, fontsize=9) for row in rows.itertuples()]
    legend_below(figure, KINDS)
    set_title(figure, title)
    figure.canvas.draw()
    adjust_text(texts, rows["cost"].to_numpy(), rows["value"].to_numpy(), ax=axis, expand=(1.15, 1.5))
    return figure, rows
