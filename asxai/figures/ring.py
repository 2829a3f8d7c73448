"""Ring."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.patches import Circle

from .sheet import draw_text, draw_title, is_light, label_column, new_sheet, text_width, title_lines, wrapped_text
from .style import COLOURS, LINE, OTHERS, QUIET, SIZES, YELLOW

MOST_RINGS = 5  # classes that a bubble ring shows one by one; tables always hold all
MOST_SPOKES = 14  # concepts of a bubble ring, and outlines on a picture
CLASS_COLOURS = tuple(colour for colour in COLOURS if colour != YELLOW)
LARGEST = 0.62  # inches across, of a bubble at the scale's end
SMALLEST, NEARLY_NONE = 0.06, 0.01  # inches across; and the PCS below which a bubble is hollow


def bubble_ring(scores, class_names, concept_names, title="", predicted=None):
    """Figure 6's semantic probability bubble ring diagram: concepts around, a ring per class, bubbles as large as PCS.

    scores: PCS `(class, concept)`, at least 0, NaN where a class lacks the concept: no bubble
    predicted: index or name of the predicted class, which is the outermost ring, or None

    The area of a bubble is its PCS; the largest have their value in them, and where none fits, the highest stands
    beside the concept's name, in the colour of its class. Of many classes those with the highest PCS are shown (see
    `MOST_RINGS`), of many concepts first the predicted class's own, then those with the highest PCS (`MOST_SPOKES`).

    The table has a row per class and concept: `class`, `concept`, `score`, `shown`. Raises ValueError for shapes that
    do not fit, negative scores or a class that is not there.
    """
    scores, predicted = checked_scores(scores, class_names, concept_names), index_of_class(predicted, class_names)
    rings, spokes = chosen_classes(scores, predicted)
    lines, top = title_lines(title, 6.8)
    figure, axis = new_sheet(6.8, 4.75 + top)
    draw_title(axis, lines, 6.8, 4.75 + top)
    draw_ring(axis, (0.1, 0.1, 6.6, 4.6), scores, class_names, concept_names, rings, spokes, predicted)
    return figure, score_table(scores, class_names, concept_names, rings, spokes)


def checked_scores(scores, class_names, concept_names):
    scores = np.asarray(scores, dtype=float)
    if scores.shape != (len(class_names), len(concept_names)) or not scores.size:
        raise ValueError(f"scores {scores.shape} must be (class, concept) for {len(class_names)} class names and "
                         f"{len(concept_names)} concept names, at least one of each")
    if (scores < 0).any() or np.isinf(scores).any():
        raise ValueError(f"scores hold {np.nanmin(scores):.4g} to {np.nanmax(scores):.4g}; PCS is finite and at least "
                         "0, NaN where a class lacks a concept")
    return scores


def index_of_class(predicted, class_names):
    if predicted is None or (isinstance(predicted, (int, np.integer)) and 0 <= predicted < len(class_names)):
        return predicted
    if predicted in list(class_names):
        return list(class_names).index(predicted)
    raise ValueError(f"predicted={predicted!r} is no class; give one of {', '.join(class_names)}, its index, or None")


def chosen_classes(scores, predicted):
    """Classes to show, from the outermost ring, and concepts, in their order."""
    highest = np.nan_to_num(scores, nan=-1).max(axis=1)
    first = np.arange(len(scores)) == (-1 if predicted is None else predicted)
    rings = np.lexsort((-np.nansum(scores, axis=1), -highest, ~first))[:MOST_RINGS]
    known = np.flatnonzero(~np.isnan(scores[rings]).all(axis=0))
    best = np.nan_to_num(scores[rings], nan=-1).max(axis=0)
    foreign = np.isnan(scores[rings[0]]) & (predicted is not None)
    return rings, np.sort(known[np.lexsort((-best[known], foreign[known]))[:MOST_SPOKES]])


def score_table(scores, class_names, concept_names, rings, spokes):
    return pd.DataFrame([{"class": class_name, "concept": concept, "score": scores[c, k],
                          "shown": bool(c in rings and k in spokes)}
                         for c, class_name in enumerate(class_names) for k, concept in enumerate(concept_names)])


def draw_ring(axis, box, scores, class_names, concept_names, rings, spokes, predicted, outlines=None):
    """The ring with its labels and its legend in a box `(left, bottom, width, height)`.

    outlines: colours by concept, drawn as tags at names; concepts without one have no tag
    """
    left, bottom, width, height = box
    colours = class_colours(len(class_names), rings)
    bottom += _ring_legend(axis, box, scores, class_names, concept_names, rings, spokes, predicted, colours)
    height -= bottom - box[1]
    if not len(spokes):
        draw_text(axis, left + width / 2, bottom + height / 2, "no concept found", 11, color=QUIET, ha="center")
        return
    count, chord = len(spokes), 2 * np.sin(np.pi / max(2, len(spokes)))
    column = min(1.35, max(text_width(name, SIZES[0]) for name in [concept_names[k] for k in spokes]) + 0.3)
    column = max(column, 0.75)
    radius = min(height, width - 2 * column - 0.5) / 2
    step = min(LARGEST, chord * radius / (1 + chord * (len(rings) - 0.5)), radius / len(rings))
    radii = radius - step * (np.arange(len(rings)) + 0.5)
    middle = np.array([left + width / 2, bottom + height / 2])
    turn = np.pi / 2 - 2 * np.pi * (np.arange(count) + 0.5) / count if count > 1 else np.zeros(1)
    directions = np.stack([np.cos(turn), np.sin(turn)], axis=1).round(9)
    for r, ring in zip(radii, rings):
        own = ring == predicted
        axis.add_patch(Circle(middle, r, fill=False, ec=colours[ring] if own else LINE, lw=1.2 if own else 0.8,
                              alpha=0.6 if own else 1, zorder=1))
    full = max(1.0, np.nanmax(scores[np.ix_(rings, spokes)]))
    labels = []
    for k, direction in zip(spokes, directions):
        axis.plot(*np.stack([middle + max(0, radii[-1] - step / 2) * direction, middle + radius * direction], axis=1),
                  color="0.9", lw=0.8, zorder=0)
        best, written = np.nanargmax(scores[rings, k]), False
        for i, (r, ring) in enumerate(zip(radii, rings)):
            if not np.isnan(scores[ring, k]):
                fits = _draw_bubble(axis, middle + r * direction, scores[ring, k], 0.94 * step, full, colours[ring])
                written = written or (fits and i == best)
        value = "" if written else f"{scores[rings[best], k]:.2f}"
        labels.append((concept_names[k], value, colours[rings[best]], (outlines or {}).get(k),
                       middle + radius * direction))
    for side in (-1, 1):
        own = [entry for entry, direction in zip(labels, directions) if (direction[0] >= 0) == (side > 0)]
        label_column(axis, own, middle[0] + side * (radius + 0.2), side, bottom, bottom + height, column)


def _draw_bubble(axis, at, score, largest, full, colour):
    """A bubble with its value, if that fits inside; whether it does."""
    across = largest * np.sqrt(score / full)
    if score < NEARLY_NONE:  # a ring: what looks empty is still there
        axis.add_patch(Circle(at, SMALLEST / 2, fc="w", ec=colour, lw=1, zorder=3))
        return False
    axis.add_patch(Circle(at, max(across, SMALLEST) / 2, fc=colour, ec="w", lw=0.6, zorder=3))
    text = f"{score:.2f}"
    for size in (9, 8, 7, 6.5):
        if text_width(text, size) < 0.86 * across:
            draw_text(axis, *at, text, size, color="k" if is_light(colour) else "w", ha="center", zorder=4)
            return True
    return False


def _ring_legend(axis, box, scores, class_names, concept_names, rings, spokes, predicted, colours):
    """Names of rings and what bubbles mean, at the bottom of the box; the height that they need."""
    left, bottom, width, _ = box
    entries = [(class_names[c] + (" (predicted)" if c == predicted else ""), colours[c], c == predicted) for c in rings]
    note = "area of a bubble: PCS"
    if len(rings) > 1:
        note = f"rings from outside: as listed; {note}"
    more = [f"{len(shown)} of {total} {what}" for shown, total, what in
            ((rings, len(class_names), "classes"), (spokes, len(concept_names), "concepts")) if len(shown) < total]
    note += f" ({', '.join(more)})" if more else ""
    shown = scores[np.ix_(rings, spokes)]
    if (shown < NEARLY_NONE).any():
        note += "; hollow: nearly 0"
    if np.isnan(shown).any():
        note += "; no bubble: the class lacks the concept"
    lines = wrapped_text(note, 0.88 * width, 8).split("\n")  # small letters are up to a tenth wider at a low resolution
    for i, line in enumerate(reversed(lines)):
        draw_text(axis, left + width / 2, bottom + 0.08 + 0.14 * i, line, 8, color=QUIET, ha="center")
    used = 0.14 * len(lines) + 0.08
    return used + _flow(axis, entries, left, bottom + used, width) + 0.08


def _flow(axis, entries, left, bottom, width, size=9.5):
    """Dots with names, centred, in as many rows as they need; their height."""
    rows, row, used = [], [], 0.0
    for name, colour, bold in entries:
        name = wrapped_text(name, width - 0.4, size).replace("\n", " ")
        name = name if text_width(name, size, bold) < width - 0.4 else textwrap.shorten(name, 60, placeholder=" …")
        wide = text_width(name, size, bold) + 0.42
        if row and used + wide > width:
            rows, row, used = [*rows, (row, used)], [], 0.0
        row, used = [*row, (name, colour, bold, wide)], used + wide
    rows.append((row, used))
    for i, (row, used) in enumerate(reversed(rows)):
        x, y = left + (width - used) / 2, bottom + 0.1 + 0.2 * i
        for name, colour, bold, wide in row:
            axis.add_patch(Circle((x + 0.1, y), 0.065, fc=colour, lw=0))
            draw_text(axis, x + 0.22, y, name, size, weight="bold" if bold else "normal")
            x += wide
    return 0.2 * len(rows)


def class_colours(count, rings):
    """A colour per class: the same in every figure where there are enough, else by rank, and grey for all others."""
    if count <= len(CLASS_COLOURS):
        return list(CLASS_COLOURS[:count])
    return [CLASS_COLOURS[list(rings).index(c)] if c in rings else OTHERS for c in range(count)]
