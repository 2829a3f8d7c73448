"""What figures are put together from: panels, grids of pictures, matrices, legends and wrapped text."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from .style import OUTLINE

DIMMED = 0.6  # how bright the rest of a picture stays around a mask: dark photographs must still be seen


def wrapped(text, letters, lines=3):
    """Text in lines of so many letters; what needs more lines is cut short with an ellipsis. A $ begins no formula."""
    return textwrap.fill(str(text), letters, max_lines=lines, placeholder="…").replace("$", r"\$")


def first_of(shown, count, things):
    """Says that only the first of many are shown, for the end of a title."""
    return f" (the first {shown} of {count} {things})" if shown < count else ""


def signed(value, digits):
    """A number with a proper minus, and no minus before a zero; a dash for NaN."""
    return "–" if np.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def ink(colour):
    """Black or white, whichever is read more easily on a colour."""
    return "k" if sns.utils.relative_luminance(colour) > 0.2 else "w"


def tag(colour):
    """A coloured box for words, such as the name of an outline."""
    return {"fc": colour, "ec": "0.3", "lw": 0.6, "pad": 2}


def set_title(figure, text):
    """A title that is wrapped to the width of the figure."""
    letters = max(24, int(11 * figure.get_figwidth()))
    figure.suptitle("\n".join(textwrap.fill(line, letters) for line in text.split("\n")))


def label_row(axis, text):
    axis.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=8)


def note(axis, text, y=0.5, transform=None):
    """Quiet words in the middle of an axis, instead of what is not there."""
    looks = {"fontsize": 9, "color": "0.45", "bbox": {"fc": "w", "lw": 0, "pad": 1}, "zorder": 3}
    axis.text(0.5, y, text, ha="center", va="center", transform=transform or axis.transAxes, **looks)


def _marks(styles):
    """Entries of a legend from `{words: looks of a marker or line}`."""
    return [Line2D([], [], label=wrapped(words, 60), **{"ls": "", "ms": 6} | look) for words, look in styles.items()]


def legend_below(figure, styles, caption="", columns=4):
    """A legend under all axes with a caption above it, which alone would be written over the axes' labels."""
    caption = textwrap.fill(caption, int(12 * figure.get_figwidth())) or None
    columns = min(columns, len(styles) or 1)
    figure.legend(handles=_marks(styles), loc="outside lower center", ncols=columns, title=caption)


def legend_beside(axis, styles=None, **options):
    """A legend at the right of an axis, of what is labelled or of `styles`."""
    options |= {} if styles is None else {"handles": _marks(styles)}
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.35, **options)


def panels(count, columns, width, height, more=(0.6, 0.6), **options):
    """A figure with so many axes, each of a size in inches, a few side by side; `more`: inches around them."""
    columns = min(columns, count)
    lines = -(-count // columns)
    size = width * columns + more[0], height * lines + more[1]
    figure, axes = plt.subplots(lines, columns, squeeze=False, figsize=size, **options)
    for axis in axes.flat[count:]:
        axis.set_axis_off()
    for axis in axes.flat[max(0, count - columns) : count]:  # the lowest of each column has numbers, also above a gap
        axis.tick_params(labelbottom=True)
    return figure, list(axes.flat[:count])


def inch_figure(width, height):
    """A figure without a layout engine; if it had none at all, the usual one would be back once it is saved."""
    return plt.figure(figsize=(width, height), layout=PlaceHolderLayoutEngine(True, True))


def inch_axis(figure, left, bottom, width, height):
    """An axis at a place in inches."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / down, width / across, height / down))


def blank(axis):
    """Nothing but room for labels, which `set_axis_off` would hide."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.patch.set_visible(False)


def show_picture(axis, picture, title="", mask=None):
    """A picture, with a mask darker outside it and with its outline."""
    blank(axis)
    axis.imshow(picture if mask is None else np.where(mask[..., None], picture, picture * DIMMED).astype(np.uint8))
    axis.set_title(title)
    if mask is not None:
        outline(axis, mask)


def outline(axis, mask, colour=OUTLINE, width=1.2):
    """The outline of a mask, thick ones with a dark rim. Empty and full masks have none."""
    if mask.any() and not mask.all():
        rim = [withStroke(linewidth=width + 1.4, foreground="0.1")] if width > 1.2 else []
        axis.contour(mask, levels=[0.5], colors=[colour], linewidths=width).set(path_effects=rim or None)


def picture_grid(rows, labels, title="", above=(), below=(), masks=(), size=(1.25, 1.35)):
    """Rows of pictures with a label at the left of each; returns `(figure, axes)`.

    rows: lists of pictures `(height, width, 3)`, None where there is a gap; rows may differ in length
    above, below, masks: by row lists of texts over and under the pictures, and of masks; they may be shorter
    size: of a picture with its texts, in inches
    """
    columns = max(1, *map(len, rows))
    inches = size[0] * columns + 1.4, size[1] * len(rows) + 0.5
    figure, axes = plt.subplots(len(rows), columns, squeeze=False, figsize=inches)
    pick = lambda lists, r, c, other: lists[r][c] if r < len(lists) and c < len(lists[r]) else other
    for (r, c), axis in np.ndenumerate(axes):
        blank(axis)
        if (picture := pick(rows, r, c, None)) is not None:
            show_picture(axis, picture, mask=pick(masks, r, c, None))
        axis.set_title(pick(above, r, c, ""), fontsize=9, pad=3)
        axis.set_xlabel(pick(below, r, c, ""), fontsize=9, labelpad=2)
        label_row(axis, "" if c else labels[r])
    set_title(figure, title)
    return figure, axes


def heatmap(axis, values, rows, columns, texts=None, size=9, **options):
    """A matrix with names of its rows and columns and texts in its cells; what is NaN is grey. Returns its colours."""
    axis.set_facecolor("0.9")
    image = axis.pcolormesh(np.ma.masked_invalid(values), **{"edgecolors": "0.93", "linewidth": 0.5} | options)
    axis.invert_yaxis()
    for (r, c), text in np.ndenumerate(() if texts is None else texts):
        colour = "k" if np.isnan(values[r][c]) else ink(image.cmap(image.norm(values[r][c])))
        axis.text(c + 0.5, r + 0.5, text, ha="center", va="center", fontsize=size, color=colour)
    axis.set_xticks(np.arange(len(columns)) + 0.5, [wrapped(name, 16) for name in columns], rotation=90, fontsize=size)
    axis.set_yticks(np.arange(len(rows)) + 0.5, [wrapped(name, 18) for name in rows], fontsize=size)
    axis.tick_params(length=0, pad=2)
    return image
