"""Figures of notebook 11: one picture by all methods, truth against cost."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, NullLocator
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from .sensitivity import WHITE_RIM
from .sheet import blank, legend_below, panels, set_title, wrapped
from .style import OTHER, OURS, WIDTH, Drawn

COLUMNS = 6
SMOOTHING = 0.012  # of the side: single pixels could not be seen
NO_PASS = 0.2  # where methods that need none are drawn: with room for the names of those that need one
GAP = 9  # points, of a name from the dots
PASSES = (NO_PASS, 1, 2, 4, 10, 30, 100, 300, 1000)
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
    pass have a cost of a half in the table given back, for the axis is logarithmic.
    """
    wide = table.pivot_table(index=["method", "kind"], columns="measure", values=["value", "low", "high"], sort=False)
    rows = pd.DataFrame(
        {"cost": wide["value"][cost].clip(lower=0.5), **{name: wide[name][truth] for name in ("value", "low", "high")}}
    ).reset_index()
    figure, (axis,) = panels(1, 1, WIDTH - 0.6, 5.4)
    seen = rows.dropna(subset=["cost", "value"]).reset_index(drop=True)
    places, groups = _side_by_side(seen["cost"].replace(0.5, NO_PASS), seen["value"])
    for kind, own in seen.groupby("kind", sort=False):
        axis.vlines(places[own.index], own["low"], own["high"], color=KINDS[kind]["color"], lw=1.5, alpha=0.4)
        axis.plot(places[own.index], own["value"], ls="", ms=7, mec="w", zorder=3, **KINDS[kind])
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(PASSES))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda x, _: "none" if x == NO_PASS else f"{x:g}")
    across = f"{cost} through the backbone for one map; methods of as many stand side by side"
    axis.set(xlabel=across, ylabel=f"agreement with {truth} values of parts")
    axis.axhline(0, color="0.8", lw=1, zorder=0)
    axis.margins(y=0.08)
    axis.set_xlim(NO_PASS / 2.2, 3.4 * max(PASSES[1], places.max()))  # with room for names
    axis.grid(axis="y")
    legend_below(figure, KINDS)
    set_title(figure, title)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    colours = [KINDS[kind]["color"] for kind in seen["kind"]]
    _name_dots(axis, np.stack([places, seen["value"]], axis=1), seen["method"], colours, groups)
    return figure, rows


def _side_by_side(costs, values):
    """Places of dots by cost, where equal ones are a little apart, or they and their intervals would hide one another.

    Also the dots that stand together, from the cheapest, each group from its lowest dot at the left to its highest.
    """
    near = (8 * np.log2(costs)).round()  # what the eye cannot tell apart
    ranks, counts = values.groupby(near).rank(method="first"), costs.groupby(near).transform("size")
    middle = costs.groupby(near).transform("mean")
    places = middle * 2 ** ((ranks - (counts + 1) / 2) * np.minimum(0.12, 1 / counts))
    return places, [own.sort_values(kind="stable").index.to_numpy() for _, own in values.groupby(near)]


def _name_dots(axis, points, names, colours, groups):
    """Names at the sides of groups of dots, with lines to their dots. The figure must have been laid out.

    A group rises to the right. So names at its left, of its highest dots, may move up, and those at its right, of the
    others, down, and no line meets another or a dot. How many are at the left is what lets the fewest names collide,
    and then the fewest lie across other dots’ intervals.
    """
    to_points = 72 / axis.figure.dpi
    dots, frame, taken = axis.transData.transform(points) * to_points, axis.bbox.extents * to_points, []
    line = {"arrowstyle": "-", "color": "0.45", "lw": 0.7, "shrinkA": 0, "shrinkB": 3}
    looks = {"textcoords": "offset points", "va": "center", "fontsize": 8.5, "zorder": 5, "path_effects": WHITE_RIM}
    texts = [axis.annotate(wrapped(name, 20), at, (0, 0), arrowprops=line, **looks) for name, at in zip(names, points)]
    sizes = np.array([Text.get_window_extent(text).size for text in texts]) * to_points
    for group in groups:
        tries = [_boxes(dots, sizes, group, left) for left in range(len(group) + 1)]
        columns = np.delete(dots[:, 0], group)
        across = [((boxes[:, :1] < columns) & (boxes[:, 2:3] > columns)).sum() for boxes, _ in tries]
        worse = [(_collisions(boxes, taken, dots, frame), over, moved) for (boxes, moved), over in zip(tries, across)]
        boxes, _ = tries[worse.index(min(worse))]
        taken += [*boxes]
        for i, (low, bottom, high, top) in zip(group, boxes):
            at_left = low < dots[i, 0]
            texts[i].set(ha="right" if at_left else "left", color=np.multiply(0.68, to_rgb(colours[i])))
            texts[i].xyann = np.subtract((high if at_left else low, (bottom + top) / 2), dots[i])
            texts[i].arrowprops["relpos"] = (float(at_left), 0.5)


def _boxes(dots, sizes, group, left):
    """Boxes `(dot, 4)` of a group's names, the highest so many at its left, and how far they are from their dots."""
    heights, right = dots[group, 1].copy(), len(group) - left
    need = lambda one, other: (sizes[group[one], 1] + sizes[group[other], 1]) / 2 + 1
    for k in range(right - 2, -1, -1):
        heights[k] = min(heights[k], heights[k + 1] - need(k, k + 1))
    for k in range(right + 1, len(group)):
        heights[k] = max(heights[k], heights[k - 1] + need(k, k - 1))
    width, low, high = sizes[group, 0], dots[group, 0].min() - GAP, dots[group, 0].max() + GAP
    starts = np.where(np.arange(len(group)) < right, high, low - width)
    half = sizes[group, 1] / 2
    moved = np.abs(heights - dots[group, 1]).sum()
    return np.stack([starts, heights - half, starts + width, heights + half], axis=1), moved


def _collisions(boxes, taken, dots, frame):
    """How many names are on other names or dots, or beyond the axis."""
    others = [*taken, *np.hstack([dots - 4, dots + 4])]
    meets = lambda one, other: (one[:2] < other[2:]).all() and (other[:2] < one[2:]).all()
    beyond = ((boxes[:, :2] < frame[:2]) | (boxes[:, 2:] > frame[2:])).any(axis=1).sum()
    return beyond + sum(meets(box, other) for box in boxes for other in others)
