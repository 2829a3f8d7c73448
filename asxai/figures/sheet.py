"""Sheet."""

import textwrap
from functools import lru_cache

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextToPath
from scipy.optimize import isotonic_regression

from .style import LEADING, LINE, OUTLINE, SIZES

DIMMED = 0.6  # how bright the rest of a picture stays around a mask: dark photographs must still be seen
MOST_CLASSES = 16  # that a figure shows one by one; tables always hold all


def show_picture(axis, picture, title=""):
    axis.imshow(picture)
    axis.set(xticks=[], yticks=[], title=title)
    axis.spines[:].set_visible(False)


def label_row(axis, text):
    axis.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=8)


def masked_picture(axis, picture, mask):
    """The picture, dimmed outside the mask, with the mask's outline."""
    show_picture(axis, np.where(mask[..., None], picture, picture * DIMMED).astype(np.uint8))
    axis.contour(mask, levels=[0.5], colors=OUTLINE, linewidths=1.2)


def outlined_picture(axis, picture, mask):
    """`_masked`, also where the mask is empty or full and has no outline."""
    if mask.any() and not mask.all():
        masked_picture(axis, picture, mask)
    else:
        show_picture(axis, picture if mask.all() else (picture * DIMMED).astype(np.uint8))


def blank(axis):
    """Nothing but room for a row label, which `set_axis_off` would hide."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.patch.set_visible(False)


def set_title(figure, text):
    """A title that is wrapped to the width of the figure."""
    lines = [textwrap.fill(line, max(24, int(11 * figure.get_figwidth()))) for line in text.split("\n")]
    figure.suptitle("\n".join(lines), fontsize=11)


def check_classes(class_names, names, inner=True, **lists):
    """As many of everything, per class and, with `inner`, per concept; names that differ within a class."""
    lengths = {"names": len(names), **{key: len(own) for key, own in lists.items()}}
    if not len(class_names) or set(lengths.values()) != {len(class_names)}:
        raise ValueError(f"{', '.join(f'{key} of {count}' for key, count in lengths.items())} classes, and "
                         f"{len(class_names)} class names; give as many of each, and at least one")
    for c, (class_name, own) in enumerate(zip(class_names, names)):
        counts = {key: len(values[c]) for key, values in lists.items()} if inner else {}
        if not len(own) or {len(own), *counts.values()} != {len(own)} or len(set(own)) < len(own):
            raise ValueError(f"class {class_name!r} has names {list(own)}"
                             f"{''.join(f', {count} {key}' for key, count in counts.items())}; give as many of each, "
                             "at least one, and no name twice")


def first_rows(shown, count, things):
    return f" (the first {shown} of {count} {things})" if shown < count else ""


def check_columns(table, *names):
    missing = [name for name in names if name not in table]
    if missing or not len(table):
        raise ValueError(f"table with columns {', '.join(table)} and {len(table)} rows must have rows and the columns "
                         f"{', '.join(names)}")


def new_sheet(width, height):
    """A figure and one axis over all of it whose unit is an inch."""
    # no layout engine at all would be replaced by the usual one once the figure is saved
    figure = plt.figure(figsize=(width, height), layout=PlaceHolderLayoutEngine(True, True))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height), autoscale_on=False)
    axis.set_axis_off()
    return figure, axis


def draw_text(axis, x, y, text, size, ha="left", **options):
    axis.text(x, y, text, fontsize=size, ha=ha, va=options.pop("va", "center_baseline"), parse_math=False,
              linespacing=LEADING, **options)


def title_lines(title, width):
    lines = [line for part in title.split("\n") for line in wrapped_text(part, width - 0.3, 13, True).split("\n")]
    return (lines, 0.24 * len(lines) + 0.15) if title else ([], 0.05)


def draw_title(axis, lines, width, height):
    for i, line in enumerate(lines):
        draw_text(axis, 0.15, height - 0.2 - 0.24 * i, line, 13, weight="bold")


def text_width(text, size, bold=False):
    """Width of the longest line in inches, as it will be drawn."""
    return max(line_width(line, bold) for line in text.split("\n")) * size / 720


@lru_cache(maxsize=4096)
def line_width(line, bold):
    """In points, for letters of 10 points."""
    font = FontProperties(size=10, weight="bold" if bold else "normal")
    return TextToPath().get_text_width_height_descent(line, font, ismath=False)[0] if line else 0.0


def wrapped_text(text, width, size, bold=False):
    """Text in lines that are no wider than so many inches; words that are too long are broken."""
    text = " ".join(text.split())
    least, most = 1, max(1, min(len(text), int(72 * width / (0.3 * size))))  # letters a line
    while least < most:
        letters = (least + most + 1) // 2
        if text_width(textwrap.fill(text, letters), size, bold) <= width:
            least = letters
        else:
            most = letters - 1
    return textwrap.fill(text, least) if text else ""


def fitted_text(text, width, height, size, bold=False):
    """Text in lines, and a size no larger than the one given, that fit; it is cut short where none does."""
    for own in (s for s in (size, *SIZES) if s <= size):
        lines = wrapped_text(text, width, own, bold)
        if LEADING * own * (lines.count("\n") + 1) / 72 <= height + 1e-9:
            return lines, own
    own = min(size, SIZES[-1])
    kept = wrapped_text(text, width, own, bold).split("\n")[:max(1, int(72 * height / (LEADING * own)))]
    while text_width(kept[-1] + "…", own, bold) > width and len(kept[-1]) > 1:
        kept[-1] = kept[-1][:-1]
    return "\n".join([*kept[:-1], kept[-1].rstrip() + "…"]), own


def label_column(axis, entries, x, side, low, high, width, on_picture=False):
    """Names in a column at the right (side 1) or left (-1) of x, each as near as can be to the point that it names.

    entries: (name, value or "", colour of the value, colour of a tag or None, the point). The largest size is taken at
    which all fit between low and high. on_picture: points are on a picture, so that they and the lines need rims.
    """
    if not entries:
        return
    entries = sorted(entries, key=lambda entry: entry[4][1])
    tag = 0.16 if any(entry[3] for entry in entries) else 0
    for size in SIZES:
        names = [wrapped_text(entry[0], width - tag, size) for entry in entries]
        lines = np.array([name.count("\n") + 1 + bool(entry[1]) for name, entry in zip(names, entries)])
        heights = LEADING * size * lines / 72 + 0.05
        if heights.sum() <= high - low:
            break
    else:  # not even the smallest: each has the same room, and long names are cut short
        room = (high - low) / len(entries)
        names = [fitted_text(entry[0], width - tag, room - (LEADING * size / 72 + 0.02) * bool(entry[1]), size)[0]
                 for entry in entries]
        heights = np.full(len(entries), room)
    letter, align = LEADING * size / 72, "left" if side > 0 else "right"
    style = {"color": "0.25", "path_effects": [withStroke(linewidth=2, foreground="w")]} if on_picture else {
        "color": LINE}
    for name, (_, value, colour, tagged, point), y in zip(names, entries, spread_apart(entries, heights, low, high)):
        name = name.split("\n")
        top = y + letter * (len(name) + bool(value)) / 2
        axis.plot([point[0], x - 0.04 * side], [point[1], y], lw=0.8, zorder=2.5, **style)
        if on_picture:
            axis.plot(*point, "o", ms=3.5, mfc=tagged, mec="0.1", mew=0.8, zorder=2.6)
        if tagged:
            axis.add_patch(Rectangle((x + side * 0.06 - 0.06, y - 0.06), 0.12, 0.12, fc=tagged, ec="0.3", lw=0.6))
        for i, line in enumerate(name):
            draw_text(axis, x + side * tag, top - letter * (i + 0.5), line, size, ha=align)
        if value:
            draw_text(axis, x + side * tag, top - letter * (len(name) + 0.5), value, size, ha=align, color=colour,
                  weight="bold")


def spread_apart(entries, heights, low, high):
    """Middles of labels that do not overlap, in the order of their points, with the least shift (least squares)."""
    before = np.cumsum(heights) - heights / 2
    wanted = isotonic_regression(np.array([entry[4][1] for entry in entries]) - before).x
    return np.clip(wanted, low, high - heights.sum()) + before


def is_light(colour):
    red, green, blue = plt.matplotlib.colors.to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.6
