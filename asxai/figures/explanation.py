"""The panel of one explanation: where (outlines), what (bubble ring, histogram), why (the sentence), and the black box.

It is laid out in inches and without a layout engine: it is drawn at every move of a slider.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt, label
from scipy.optimize import isotonic_regression, linear_sum_assignment

from .sheet import blank, inch_axis, inch_figure, ink, outline, show_picture, tag, wrapped
from .style import LINE_COLOURS, OTHERS, OUTLINES, QUIET, WIDTH, Drawn

MOST_RINGS = 5  # classes that a bubble ring shows one by one; tables always hold all
MOST_SPOKES = 14  # concepts of a bubble ring, and outlines on a picture
MOST_BARS = 6  # classes of the histogram
MOST_EXEMPLARS = 8
LARGEST = 0.62  # inches across, of a bubble at the scale's end
SMALLEST, WRITTEN = 0.06, 0.3  # inches across: of all bubbles, and of those with their value in them
NEARLY_NONE = 0.01  # PCS below which a bubble is hollow
LETTERS = 66  # of the sentence in a line
APART = 0.05  # of a picture's height: at least so far from one another lines to outlines end, where masks allow it
KEY_ROOM = 0.75  # inches under the ring for the key of its classes; a key that needs more makes the panel taller
SMALL = {"fontsize": 9, "color": QUIET}
MEANING = """principal component score (PCS) of concepts, by class: how strongly each
shows, compared with training pictures of the class, times its importance"""


def explanation_panel(
    picture, masks, concept_names, scores, class_names, similarity, sentence: str, notes: str, exemplars, predicted
) -> Drawn:
    """All of one explanation, as in Figure 6.

    picture: uint8 `(height, width, 3)`. masks: bool `(concept, height, width)`, all False where a concept is not seen
    scores: PCS `(class, concept)`, at least 0, NaN where a class lacks the concept
    similarity: global structural similarity, `(class,)`
    sentence, notes: in words; notes are what the tier promises and what the softmax says, a line each
    exemplars: uint8 pictures `(height, width, 3)`, the nearest training pictures
    predicted: name of the predicted class, which is the outermost ring

    Of many classes those with the highest PCS are shown (see `MOST_RINGS`), of many concepts first the predicted
    class's own, then those with the highest PCS (`MOST_SPOKES`), and of the histogram the best (`MOST_BARS`).

    The table has a row per class and concept: the score and whether it is shown, the share of the picture that the
    concept's outline holds (`area`), and the similarity of the class.
    """
    count, first = len(class_names), list(class_names).index(predicted)
    rings, spokes = _chosen(scores, first)
    colours = dict(enumerate(LINE_COLOURS)) if count <= len(LINE_COLOURS) else dict(zip(rings, LINE_COLOURS))
    tags = dict(zip([k for k in spokes if masks[k].any()], OUTLINES * 2))
    bars = np.argsort(-similarity, kind="stable")[:MOST_BARS]
    bars = bars if first in bars else [*bars[:-1], first]
    sentence = wrapped(sentence, LETTERS, 12)
    notes = "\n".join(wrapped(line, LETTERS + 12, 3) for line in notes.split("\n"))
    below = max(0.21 * sentence.count("\n") + 0.18 * notes.count("\n") + 0.9, 0.24 * len(bars) + 0.7)
    key = _key(scores, class_names, concept_names, rings, spokes, first)
    middle = below + max(0, key.inches - KEY_ROOM)
    figure = inch_figure(WIDTH, 5.95 + middle)
    draw_picture(inch_axis(figure, 1.35, middle + 1.6, 3.3, 3.9), picture, masks, concept_names, tags)
    axis = inch_axis(figure, 5.6, middle + 2.15, WIDTH - 5.7, 3.4)
    axis.set_title(MEANING, loc="left", **SMALL)
    _draw_ring(axis, scores, concept_names, rings, spokes, first, colours, tags)
    if len(spokes):
        _draw_key(axis, key, [colours[c] for c in rings])
    back = inch_axis(figure, 0, 1.4, WIDTH, below)
    back.set(xticks=[], yticks=[], facecolor="0.955")
    back.spines[:].set_visible(False)
    back.text(0.014, 1 - 0.2 / below, sentence, va="top", fontsize=12)
    back.text(0.014, 0.2 / below, notes, fontsize=10, color=QUIET)
    more = f"; {len(bars)} of {count} classes" if len(bars) < count else ""
    back.text(0.62, 1 - 0.2 / below, f"semantic similarity score (cosine × structure){more}", va="top", **SMALL)
    names, texts = [class_names[c] for c in bars], [f"{similarity[c]:.2f}" for c in bars]
    axis = inch_axis(figure, 8.4, 1.5, 2.2, below - 0.5)
    draw_bars(axis, similarity[bars], names, texts, [colours.get(c, OTHERS) for c in bars], predicted)
    for i, exemplar in enumerate(exemplars[:MOST_EXEMPLARS]):
        axis = inch_axis(figure, 0.15 + 1.3 * i, 0, 1.2, 1.2)
        show_picture(axis, exemplar)
        axis.set_title("" if i else "nearest training pictures", loc="left", pad=3, **SMALL)
    shown = np.isin(np.arange(count), rings)[:, None] & np.isin(range(len(masks)), spokes)
    areas = masks.mean(axis=(1, 2))
    rows = [
        (name, concept, scores[c, k], shown[c, k], areas[k], similarity[c])
        for c, name in enumerate(class_names)
        for k, concept in enumerate(concept_names)
    ]
    return figure, pd.DataFrame(rows, columns=["class", "concept", "score", "shown", "area", "similarity"])


def _chosen(scores, first):
    """Classes to show, from the outermost ring, and concepts, in their order."""
    known = np.nan_to_num(scores, nan=-1)
    rings = np.lexsort((-np.nansum(scores, axis=1), -known.max(axis=1), np.arange(len(scores)) != first))[:MOST_RINGS]
    best = known[rings].max(axis=0)
    seen = np.flatnonzero(best >= 0)
    return rings, np.sort(seen[np.lexsort((-best[seen], np.isnan(scores[first, seen])))[:MOST_SPOKES]])


def draw_picture(axis, picture, masks, names, tags):
    """A picture with outlines of masks and their names at both sides. tags: by number of a mask its colour.

    The line of a name has the colour of its outline, and no line crosses another.
    """
    show_picture(axis, picture)
    axis.set_anchor("N")
    points = {}
    for k in tags:
        points[k] = anchor(masks[k], points.values())
    order = sorted(tags, key=lambda k: tuple(points[k]))
    for k in tags:
        outline(axis, masks[k], tags[k], 1.6)
        axis.plot(*points[k], "o", ms=4.5, mfc=tags[k], mec="0.1", mew=0.9, zorder=6)
    half = (len(order) + 1) // 2
    for x, ha, side in ((-0.06, "right", order[:half]), (1.06, "left", order[half:])):
        for k, y in _heights(side, points, x, picture.shape):
            end = {"xycoords": "data", "xytext": (x, y), "textcoords": "axes fraction", "ha": ha, "va": "center"}
            rim = [withStroke(linewidth=2.8, foreground="0.1")]
            line = {"arrowstyle": "-", "color": tags[k], "lw": 1.2, "path_effects": rim, "shrinkB": 0}
            line["relpos"] = (float(x < 0), 0.5)  # from the middle of the name's inner edge
            name = wrapped(names[k], 12, 2)
            axis.annotate(name, points[k], arrowprops=line, bbox=tag(tags[k]), fontsize=9, zorder=5, **end)


def _heights(side, points, x, shape):
    """Of names at one side, which must not overlap, pairs of number and height, both as shares of the axis.

    Of all ways to give places to names, the one of the shortest lines has none that cross.
    """
    if not side:
        return []
    steps = min(0.12, 0.95 / len(side)) * np.arange(len(side))
    ends = np.array([points[k] for k in side]) / (shape[1], shape[0])
    wanted = np.sort(1 - ends[:, 1])
    heights = np.clip(isotonic_regression(wanted - steps).x, 0.03, 0.97 - steps[-1]) + steps
    places = np.stack([np.full(len(side), x), 1 - heights], axis=1)
    lengths = np.linalg.norm((ends[:, None] - places) * (shape[1], shape[0]), axis=2)  # in pixels
    return [(side[i], heights[place]) for i, place in zip(*linear_sum_assignment(lengths))]


def anchor(mask, taken=()):
    """The pixel, across and down, deepest inside the largest island of a mask; apart from taken ones where it can."""
    islands, _ = label(mask)
    largest = np.bincount(islands.ravel())[1:].argmax() + 1
    depth = distance_transform_edt(np.pad(islands == largest, 1))[1:-1, 1:-1]
    down, across = np.indices(mask.shape)
    for x, y in taken:
        depth[np.hypot(across - x, down - y) < APART * len(mask)] *= 1e-3
    return np.unravel_index(depth.argmax(), mask.shape)[::-1]


def draw_bars(axis, values, names, texts, colours, bold):
    """Horizontal bars with names at the left and texts at the right, the first on top."""
    blank(axis)
    axis.bar_label(axis.barh(range(len(values)), values, height=0.66, color=colours), texts, padding=4, fontsize=9)
    axis.set(ylim=(len(values) - 0.5, -0.5), xlim=(min(0, *values), 1.2 * max(1e-9, *values)))
    axis.set_yticks(range(len(names)), [wrapped(name, 20, 1) for name in names], fontsize=9)
    axis.get_yticklabels()[list(names).index(bold)].set_weight("bold")
    axis.axvline(0, color=QUIET, lw=0.8)


def _draw_ring(axis, scores, concept_names, rings, spokes, first, colours, tags):
    """Figure 6's semantic probability bubble ring diagram: concepts around, a ring per class, bubbles as large as PCS.

    The area of a bubble is its PCS. The largest have their value in them, and where none fits, the highest stands
    beside the concept's name, in the colour of its class. One unit of the axis is an inch.
    """
    blank(axis)
    width, height = axis.get_position().size * axis.figure.get_size_inches()
    axis.set(xlim=(-width / 2, width / 2), ylim=(-height / 2, height / 2))
    if not len(spokes):
        axis.text(0, 0, "no concept found", ha="center", fontsize=11, color=QUIET)
        return
    shown, radius, turn = scores[np.ix_(rings, spokes)], height / 2 - 0.42, 2 * np.pi / len(spokes)
    chord = 2 * np.sin(np.pi / max(2, len(spokes)))  # between two spokes, for a radius of 1
    step = min(LARGEST, chord * radius / (1 + chord * (len(rings) - 0.5)), radius / len(rings))
    radii = radius - step * (np.arange(len(rings)) + 0.5)
    across = np.maximum(SMALLEST, 0.94 * step * np.sqrt(shown / max(1, np.nanmax(shown))))
    for r, c in zip(radii, rings):
        look = {"ec": colours[c], "lw": 1.2, "alpha": 0.6} if c == first else {"ec": "0.8", "lw": 0.8}
        axis.add_patch(Circle((0, 0), r, fill=False, zorder=1, **look))
    for s, k in enumerate(spokes):
        direction, best = np.array([np.sin(turn * (s + 0.5)), np.cos(turn * (s + 0.5))]), np.nanargmax(shown[:, s])
        axis.plot(*np.outer(direction, (max(0, radii[-1] - step / 2), radius)), color="0.9", lw=0.8, zorder=0)
        for i in np.flatnonzero(~np.isnan(shown[:, s])):
            hollow, colour, at = shown[i, s] < NEARLY_NONE, colours[rings[i]], radii[i] * direction
            look = {"fc": "w", "ec": colour, "lw": 1} if hollow else {"fc": colour, "ec": "w", "lw": 0.6}
            axis.add_patch(Circle(at, across[i, s] / 2, zorder=3, **look))
            if across[i, s] > WRITTEN:
                middle = {"ha": "center", "va": "center_baseline", "color": ink(colour), "zorder": 4}
                axis.text(*at, f"{shown[i, s]:.2f}", fontsize=8, **middle)
        x, y = direction * (radius + 0.15, radius + 0.25)
        side = {"ha": "left" if direction[0] > -1e-9 else "right", "fontsize": 9 if len(spokes) < 9 else 8}
        box = {"bbox": tag(tags[k])} if k in tags else {}
        name = wrapped(concept_names[k], 15, 2 if len(spokes) < 9 else 1)
        axis.text(x, y, name, va="center" if across[best, s] > WRITTEN else "bottom", **side, **box)
        if across[best, s] <= WRITTEN:
            look = {"color": colours[rings[best]], "weight": "bold", "va": "top"}
            axis.text(x, y - 0.07, f"{shown[best, s]:.2f}", **side, **look)


class _Key(NamedTuple):
    """What stands under the ring, and the height that it needs."""

    words: str
    names: list
    columns: int
    inches: float


def _key(scores, class_names, concept_names, rings, spokes, first):
    shown = scores[np.ix_(rings, spokes)]
    words = "rings from outside: as listed; area of a bubble: PCS"
    words += f"; {len(rings)} of {len(class_names)} classes" if len(rings) < len(class_names) else ""
    words += f"; {len(spokes)} of {len(concept_names)} concepts" if len(spokes) < len(concept_names) else ""
    words += "; hollow: nearly 0" if (shown < NEARLY_NONE).any() else ""
    words += "; no bubble: the class lacks the concept" if np.isnan(shown).any() else ""
    words = wrapped(words, 88)
    names = [wrapped(class_names[c], 24, 1) + (" (predicted)" if c == first else "") for c in rings]
    columns = 2 if max(map(len, names)) > 20 else 3
    return _Key(words, names, columns, 0.1 + 0.135 * (words.count("\n") + 1) + 0.2 * -(-len(names) // columns))


def _draw_key(axis, key, colours):
    dots = [Circle((0, 0), fc=colour, label=name) for colour, name in zip(colours, key.names)]
    look = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "frameon": False, "fontsize": 9, "title_fontsize": 8}
    legend = axis.legend(handles=dots, ncols=key.columns, title=key.words, borderpad=0, **look)
    legend.get_texts()[0].set_weight("bold")
