"""The figures of explanations, from arrays alone. As in `asxai.plots` each function gives `(figure, table)`.

    figure, table = bubble_ring(scores, class_names, concept_names, predicted="b")         # Figure 6's ring
    figure, table = similarity_bars(similarity, class_names, predicted="b")                # and its histogram
    figure, table = explanation_panel(picture, masks, concept_names, scores, class_names, similarity, sentence,
                                      "black box: b, 99.8 %", predicted="b")               # one picture, all of it
    figure, table = region_panel(picture, masks, names, scores, class_names, probabilities)  # Figure 5
    figure, table = tier_bars(table)            # of whole sets of pictures: share and accuracy of each tier,
    figure, table = risk_coverage(curves)       # errors among the pictures that a score is surest of,
    figure, table = reliability(predictions)    # confidence against accuracy,
    figure, table = ood_dots(table)             # and detection of strangers

Panels are laid out in inches, and every text is measured before it is placed, so that no label hides another however
many classes and concepts there are and however long their names.
"""

import textwrap
from functools import lru_cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextToPath
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import distance_transform_edt, label
from scipy.optimize import isotonic_regression

from .calibration import expected_calibration_error
from .concept_plots import BEST_SIDE, COLOURS, YELLOW, _title

WIDTH = 11  # inches, of a notebook
MOST_RINGS = 5  # classes that a bubble ring shows one by one; tables always hold all
MOST_SPOKES = 14  # concepts of a bubble ring, and outlines on a picture
MOST_BARS = 12  # classes of a histogram
MOST_REGIONS = 9
CARDS = 3  # of regions, side by side
BEST = 3  # classes that a region is compared with
MOST_EXEMPLARS = 8
CLASS_COLOURS = tuple(colour for colour in COLOURS if colour != YELLOW)
# of outlines: light, to be seen on fur and grass with a dark rim, and other than those of classes
OUTLINES = ("#ffd400", "#00d5ff", "#ff6ec7", "#8dff5a", "#ff9d2e", "#c3a6ff", "#ffffff", "#ff5f5f", "#00f0b5")
OTHERS = "0.72"  # classes without a colour of their own
QUIET, LINE = "0.4", "0.8"  # words and lines that explain
SIZES = (10, 9.5, 9, 8.5, 8, 7.5, 7, 6.5, 6)  # points that labels may have, the first that fits
SIMILARITY = "global similarity (cosine and structure in HSV)"
LEADING = 1.25  # height of a line, in letters
LARGEST = 0.62  # inches across, of a bubble at the scale's end
SMALLEST, NEARLY_NONE = 0.06, 0.01  # inches across; and the PCS below which a bubble is hollow
TIER_COLOURS = ("#08519c", "#6baed6", "#fdae6b", "#bdbdbd", "#756bb1")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


# --- Semantic probability bubble ring diagram ------------------------------------------------------------------------


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
    scores, predicted = _scores(scores, class_names, concept_names), _index(predicted, class_names)
    rings, spokes = _chosen(scores, predicted)
    lines, top = _title_lines(title, 6.8)
    figure, axis = _sheet(6.8, 4.75 + top)
    _draw_title(axis, lines, 6.8, 4.75 + top)
    _draw_ring(axis, (0.1, 0.1, 6.6, 4.6), scores, class_names, concept_names, rings, spokes, predicted)
    return figure, _score_table(scores, class_names, concept_names, rings, spokes)


def _scores(scores, class_names, concept_names):
    scores = np.asarray(scores, dtype=float)
    if scores.shape != (len(class_names), len(concept_names)) or not scores.size:
        raise ValueError(f"scores {scores.shape} must be (class, concept) for {len(class_names)} class names and "
                         f"{len(concept_names)} concept names, at least one of each")
    if (scores < 0).any() or np.isinf(scores).any():
        raise ValueError(f"scores hold {np.nanmin(scores):.4g} to {np.nanmax(scores):.4g}; PCS is finite and at least "
                         "0, NaN where a class lacks a concept")
    return scores


def _index(predicted, class_names):
    if predicted is None or (isinstance(predicted, (int, np.integer)) and 0 <= predicted < len(class_names)):
        return predicted
    if predicted in list(class_names):
        return list(class_names).index(predicted)
    raise ValueError(f"predicted={predicted!r} is no class; give one of {', '.join(class_names)}, its index, or None")


def _chosen(scores, predicted):
    """Classes to show, from the outermost ring, and concepts, in their order."""
    highest = np.nan_to_num(scores, nan=-1).max(axis=1)
    first = np.arange(len(scores)) == (-1 if predicted is None else predicted)
    rings = np.lexsort((-np.nansum(scores, axis=1), -highest, ~first))[:MOST_RINGS]
    known = np.flatnonzero(~np.isnan(scores[rings]).all(axis=0))
    best = np.nan_to_num(scores[rings], nan=-1).max(axis=0)
    foreign = np.isnan(scores[rings[0]]) & (predicted is not None)
    return rings, np.sort(known[np.lexsort((-best[known], foreign[known]))[:MOST_SPOKES]])


def _score_table(scores, class_names, concept_names, rings, spokes):
    return pd.DataFrame([{"class": class_name, "concept": concept, "score": scores[c, k],
                          "shown": bool(c in rings and k in spokes)}
                         for c, class_name in enumerate(class_names) for k, concept in enumerate(concept_names)])


def _draw_ring(axis, box, scores, class_names, concept_names, rings, spokes, predicted, outlines=None):
    """The ring with its labels and its legend in a box `(left, bottom, width, height)`.

    outlines: colours by concept, drawn as tags at names; concepts without one have no tag
    """
    left, bottom, width, height = box
    colours = _class_colours(len(class_names), rings)
    bottom += _ring_legend(axis, box, scores, class_names, concept_names, rings, spokes, predicted, colours)
    height -= bottom - box[1]
    if not len(spokes):
        _text(axis, left + width / 2, bottom + height / 2, "no concept found", 11, color=QUIET, ha="center")
        return
    count, chord = len(spokes), 2 * np.sin(np.pi / max(2, len(spokes)))
    column = min(1.35, max(_text_width(name, SIZES[0]) for name in [concept_names[k] for k in spokes]) + 0.3)
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
        _label_column(axis, own, middle[0] + side * (radius + 0.2), side, bottom, bottom + height, column)


def _draw_bubble(axis, at, score, largest, full, colour):
    """A bubble with its value, if that fits inside; whether it does."""
    across = largest * np.sqrt(score / full)
    if score < NEARLY_NONE:  # a ring: what looks empty is still there
        axis.add_patch(Circle(at, SMALLEST / 2, fc="w", ec=colour, lw=1, zorder=3))
        return False
    axis.add_patch(Circle(at, max(across, SMALLEST) / 2, fc=colour, ec="w", lw=0.6, zorder=3))
    text = f"{score:.2f}"
    for size in (9, 8, 7, 6.5):
        if _text_width(text, size) < 0.86 * across:
            _text(axis, *at, text, size, color="k" if _is_light(colour) else "w", ha="center", zorder=4)
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
    lines = _wrap(note, 0.88 * width, 8).split("\n")  # small letters are up to a tenth wider at a low resolution
    for i, line in enumerate(reversed(lines)):
        _text(axis, left + width / 2, bottom + 0.08 + 0.14 * i, line, 8, color=QUIET, ha="center")
    used = 0.14 * len(lines) + 0.08
    return used + _flow(axis, entries, left, bottom + used, width) + 0.08


def _flow(axis, entries, left, bottom, width, size=9.5):
    """Dots with names, centred, in as many rows as they need; their height."""
    rows, row, used = [], [], 0.0
    for name, colour, bold in entries:
        name = _wrap(name, width - 0.4, size).replace("\n", " ")
        name = name if _text_width(name, size, bold) < width - 0.4 else textwrap.shorten(name, 60, placeholder=" …")
        wide = _text_width(name, size, bold) + 0.42
        if row and used + wide > width:
            rows, row, used = [*rows, (row, used)], [], 0.0
        row, used = [*row, (name, colour, bold, wide)], used + wide
    rows.append((row, used))
    for i, (row, used) in enumerate(reversed(rows)):
        x, y = left + (width - used) / 2, bottom + 0.1 + 0.2 * i
        for name, colour, bold, wide in row:
            axis.add_patch(Circle((x + 0.1, y), 0.065, fc=colour, lw=0))
            _text(axis, x + 0.22, y, name, size, weight="bold" if bold else "normal")
            x += wide
    return 0.2 * len(rows)


def _class_colours(count, rings):
    """A colour per class: the same in every figure where there are enough, else by rank, and grey for all others."""
    if count <= len(CLASS_COLOURS):
        return list(CLASS_COLOURS[:count])
    return [CLASS_COLOURS[list(rings).index(c)] if c in rings else OTHERS for c in range(count)]


# --- Histogram over classes ------------------------------------------------------------------------------------------


def similarity_bars(similarity, class_names, predicted=None, title=""):
    """The histogram over classes of Figure 6: global structural similarity, the highest first.

    similarity: `(class,)`, of `asxai.similarity.global_similarity`. predicted: as in `bubble_ring`; its bar is dark

    The table has a row per class: `class`, `similarity`, `rank` (1 is the highest), `predicted`. Of many classes the
    highest are shown, and the predicted one, see `MOST_BARS`. Raises ValueError for shapes that do not fit, or values
    that are not finite.
    """
    similarity, predicted = _similarity(similarity, class_names), _index(predicted, class_names)
    colours = [OTHERS if predicted is not None else CLASS_COLOURS[0]] * len(class_names)
    if predicted is not None:
        colours[predicted] = CLASS_COLOURS[0]
    order = _best(similarity, predicted, MOST_BARS)
    lines, top = _title_lines(title, 5.5)
    height = 0.3 * len(order) + 0.65
    figure, axis = _sheet(5.5, height + top)
    _draw_title(axis, lines, 5.5, height + top)
    _draw_bars(axis, (0.1, 0.05, 5.3, height - 0.1), similarity, class_names, order, colours, predicted,
               SIMILARITY)
    rank = (-similarity).argsort(kind="stable").argsort(kind="stable") + 1
    return figure, pd.DataFrame({"class": list(class_names), "similarity": similarity, "rank": rank,
                                 "predicted": [c == predicted for c in range(len(class_names))]})


def _similarity(similarity, class_names):
    similarity = np.asarray(similarity, dtype=float)
    if similarity.shape != (len(class_names),) or not np.isfinite(similarity).all():
        raise ValueError(f"similarity {similarity.shape} must be a finite number for each of the {len(class_names)} "
                         "class names")
    return similarity


def _best(values, predicted, most):
    """Indices of the highest values, from the highest, and among them the predicted class."""
    order = np.argsort(-values, kind="stable")[:most]
    if predicted is not None and predicted not in order:
        order[-1] = predicted
    return order


def _draw_bars(axis, box, values, names, order, colours, bold, heading, percent=False):
    """Horizontal bars with names and values in a box, the first on top, under a small heading."""
    left, bottom, width, height = box
    more = f"; {len(order)} of {len(names)} classes" if len(order) < len(names) else ""
    lines = _wrap(heading + more, width, 9).split("\n")
    for i, line in enumerate(lines):
        _text(axis, left, bottom + height - 0.1 - 0.15 * i, line, 9, color=QUIET)
    height -= 0.15 * len(lines) + 0.1
    step = min(0.32, height / len(order))
    size = next((s for s in SIZES if LEADING * s / 72 <= step), SIZES[-1])
    column = min(0.45 * width, max(_text_width(names[i], size, i == bold) for i in order) + 0.05)
    written = [f"{100 * values[i]:.1f} %" if percent else f"{values[i]:.2f}" for i in order]
    room = width - column - 0.1 - max(_text_width(text, size, True) for text in written) - 0.1
    low, high = min(0.0, values[order].min()), max(0.0, values[order].max())
    scale = room / (high - low) if high > low else 0
    zero = left + column + 0.1 - low * scale
    for row, (i, text) in enumerate(zip(order, written)):
        y, weight = bottom + height - step * (row + 0.5), "bold" if i == bold else "normal"
        name, own = _fit(names[i], column, step, size, i == bold)
        _text(axis, left + column, y, name, own, ha="right", weight=weight)
        start, long = zero + min(0, values[i]) * scale, abs(values[i]) * scale
        axis.add_patch(Rectangle((start, y - 0.33 * step), long, 0.66 * step, fc=colours[i], lw=0))
        _text(axis, start + long + 0.06, y, text, size, weight=weight)
    axis.plot([zero, zero], [bottom + height - step * len(order), bottom + height], color=QUIET, lw=0.8)


# --- One picture -----------------------------------------------------------------------------------------------------


def explanation_panel(picture, masks, concept_names, scores, class_names, similarity, sentence, prediction,
                      exemplars=None, title="", predicted=None, exemplar_names=None):
    """All of one explanation: where (outlines), what (bubble ring, histogram), why (the sentence), and the black box.

    picture: uint8 `(height, width, 3)`. masks: bool `(concept, height, width)`, all False where a concept is not seen
    scores: PCS `(class, concept)`, see `bubble_ring`; concept_names, class_names, predicted: as there
    similarity: `(class,)`, see `similarity_bars`, or None
    sentence, prediction: in words; the second is what the softmax says, for example "a, 99.8 %"
    exemplars: uint8 pictures `(height, width, 3)`, the nearest training pictures, or None
    exemplar_names: a text for each of them, or None

    The table is that of `bubble_ring` with two more columns: `area`, the share of the picture that the concept's
    outline holds, and `similarity` of the class, NaN without. Raises ValueError as `bubble_ring` and `similarity_bars`,
    and for pictures and masks that do not fit.
    """
    scores, predicted = _scores(scores, class_names, concept_names), _index(predicted, class_names)
    picture, masks = _picture(picture, masks, concept_names)
    if similarity is not None:
        similarity = _similarity(similarity, class_names)
    exemplars = [] if exemplars is None else [np.asarray(exemplar) for exemplar in exemplars]
    if exemplar_names is not None and len(exemplar_names) != len(exemplars):
        raise ValueError(f"exemplar_names holds {len(exemplar_names)} texts for {len(exemplars)} exemplars; give one "
                         "for each")
    rings, spokes = _chosen(scores, predicted)
    seen = [k for k in spokes if masks[k].any()]
    outlines = {k: OUTLINES[i % len(OUTLINES)] for i, k in enumerate(seen)}
    lines, top = _title_lines(title, WIDTH)
    words = WIDTH - 0.3 if similarity is None else 6.3
    sentence = _wrap(sentence, words, 12)
    prediction = _wrap(f"The softmax alone says: {prediction}", words, 10)
    bars = [] if similarity is None else _best(similarity, predicted, 6)
    said = 0.2 * (sentence.count("\n") + 1) + 0.25 + 0.17 * (prediction.count("\n") + 1)
    below = max(said, 0.24 * len(bars) + 0.4 if len(bars) else 0) + 0.3
    strip = 1.45 if exemplars else 0
    figure, axis = _sheet(WIDTH, top + 3.95 + below + strip)
    _draw_title(axis, lines, WIDTH, top + 3.95 + below + strip)

    base = below + strip
    _text(axis, 0.15, base + 3.83, "concepts on the picture", 9, color=QUIET)
    _draw_picture(axis, (0.15, base + 0.1, 4.75, 3.6), picture, masks, concept_names, outlines)
    _text(axis, 5.3, base + 3.83, "how much of each class is in them", 9, color=QUIET)
    _draw_ring(axis, (5.3, base + 0.05, WIDTH - 5.4, 3.65), scores, class_names, concept_names, rings, spokes,
               predicted, outlines)
    axis.add_patch(Rectangle((0, strip + 0.08), WIDTH, below - 0.12, fc="0.955", lw=0, zorder=-1))
    y = strip + below - 0.3
    for line in sentence.split("\n"):
        _text(axis, 0.15, y, line, 12)
        y -= 0.2
    for line in prediction.split("\n"):
        y -= 0.17
        _text(axis, 0.15, y + 0.07, line, 10, color=QUIET)
    if len(bars):
        _draw_bars(axis, (6.85, strip + 0.14, WIDTH - 7.0, below - 0.28), similarity, class_names, bars,
                   _class_colours(len(class_names), rings), predicted, SIMILARITY)
    if exemplars:
        _draw_exemplars(axis, (0.15, 0.02, WIDTH - 0.3, strip), exemplars, exemplar_names)
    table = _score_table(scores, class_names, concept_names, rings, spokes)
    table["area"] = np.tile(masks.mean(axis=(1, 2)), len(class_names))
    table["similarity"] = np.nan if similarity is None else np.repeat(similarity, len(concept_names))
    return figure, table


def _picture(picture, masks, names):
    picture, masks = np.asarray(picture), np.asarray(masks)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"picture {picture.dtype} {picture.shape} must be uint8 (height, width, 3)")
    if masks.dtype != bool or masks.shape != (len(names), *picture.shape[:2]):
        raise ValueError(f"masks {masks.dtype} {masks.shape} must be bool {(len(names), *picture.shape[:2])}: one of "
                         "the picture's size for each name")
    return picture, masks


def _draw_picture(axis, box, picture, masks, names, outlines):
    """A picture with outlines of masks, in colours by number, and names at both sides, in a box."""
    left, bottom, width, height = box
    seen = list(outlines)
    anchors = {k: _anchor(masks[k]) for k in seen}
    ordered = sorted(seen, key=lambda k: anchors[k][1])
    sides = {-1: ordered[:(len(ordered) + 1) // 2], 1: ordered[(len(ordered) + 1) // 2:]}
    columns = {side: min(1.05, max([_text_width(names[k], SIZES[0]) + 0.28 for k in own], default=0))
               for side, own in sides.items()}
    gap = {side: 0.16 if own else 0 for side, own in sides.items()}
    scale = min(height / picture.shape[0], (width - sum(columns.values()) - sum(gap.values())) / picture.shape[1])
    high, wide = scale * picture.shape[0], scale * picture.shape[1]
    x = left + columns[-1] + gap[-1] + (width - sum(columns.values()) - sum(gap.values()) - wide) / 2
    y = bottom + height - high
    axis.imshow(picture, extent=(x, x + wide, y, y + high), zorder=1, interpolation="antialiased")
    for k in seen:
        _outline(axis, masks[k], (x, x + wide, y, y + high), outlines[k])
    for side, own in sides.items():
        at = {k: np.array([x + wide * anchors[k][1], y + high * (1 - anchors[k][0])]) for k in own}
        entries = [(names[k], "", "k", outlines[k], at[k]) for k in own]
        edge = x - gap[-1] if side < 0 else x + wide + gap[1]
        _label_column(axis, entries, edge, side, bottom, bottom + height, columns[side], on_picture=True)


def _outline(axis, mask, extent, colour, width=1.6):
    if mask.all():
        axis.add_patch(Rectangle((extent[0], extent[2]), extent[1] - extent[0], extent[3] - extent[2], fill=False,
                                 ec=colour, lw=width, zorder=2))
    elif mask.any():
        drawn = axis.contour(mask, levels=[0.5], colors=[colour], linewidths=width, extent=extent, origin="upper",
                             zorder=2)
        drawn.set(path_effects=[withStroke(linewidth=width + 1.4, foreground="0.1")])


def _anchor(mask):
    """The point that is deepest inside the largest island of a mask: down and across, from 0 to 1."""
    islands, _ = label(mask)
    largest = np.bincount(islands.ravel())[1:].argmax() + 1
    depth = distance_transform_edt(np.pad(islands == largest, 1))[1:-1, 1:-1]
    return (np.array(np.unravel_index(depth.argmax(), mask.shape)) + 0.5) / mask.shape


def _draw_exemplars(axis, box, exemplars, names):
    left, bottom, width, height = box
    _text(axis, left, bottom + height - 0.1, "nearest training pictures", 9, color=QUIET)
    under = 0 if names is None else 0.2
    side = min(height - 0.25 - under, 1.2)
    x = left
    for i, exemplar in enumerate(exemplars[:MOST_EXEMPLARS]):
        wide = side * exemplar.shape[1] / exemplar.shape[0]
        if x + wide > left + width:
            break
        axis.imshow(exemplar, extent=(x, x + wide, bottom + under, bottom + under + side), interpolation="antialiased")
        if names is not None:
            name, size = _fit(names[i], wide + 0.05, 0.2, 9)
            _text(axis, x + wide / 2, bottom + 0.1, name, size, ha="center")
        x += wide + 0.12


# --- Regions of a stranger -------------------------------------------------------------------------------------------


def region_panel(picture, masks, names, scores, class_names, probabilities, title="", exemplars=None,
                 quantity="PCS", prediction="softmax", truths=None):
    """Figure 5: each important region of a picture, and which classes it resembles most, beside the black box.

    picture: uint8 `(height, width, 3)`. names: of the regions
    masks: bool `(region, height, width)`; a region whose mask is empty is not shown
    scores: `(region, class)`, how much each resembles the classes, NaN where a class lacks the concept
    probabilities: `(class,)`, of the black box
    exemplars: per region a patch of the most similar class's concept, uint8 `(height, width, 3)` or None; or None
    quantity, prediction: what scores are, and what to call the black box
    truths: per region the class that it truly comes from, for a ✓ or ✗ on its card, or "" where nobody knows; or None

    Each region shows its best classes, see `BEST`. Of many regions (`MOST_REGIONS`) the best one of each true class (of
    each class on top, where that is unknown) is shown, and then those of the highest score. The table has a row per
    region and class: `region`, `class`, `score`, `rank` (1 is the highest, 0 where the class lacks the concept),
    `probability` of the class, and with truths `truth` of the region. Raises ValueError for shapes that do not fit.
    """
    picture, masks = _picture(picture, masks, names)
    scores = _scores(scores, names, class_names)
    probabilities = _similarity(probabilities, class_names)
    exemplars = [None] * len(names) if exemplars is None else list(exemplars)
    if len(exemplars) != len(names):
        raise ValueError(f"exemplars holds {len(exemplars)} patches for {len(names)} regions; give one or None for "
                         "each")
    if truths is not None and len(truths) != len(names):
        raise ValueError(f'truths holds {len(truths)} classes for {len(names)} regions; give one or "" for each')
    ranks = (-np.nan_to_num(scores, nan=-1)).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") + 1
    ranks[np.isnan(scores)] = 0
    marks = list(truths or [""] * len(names))
    seen = np.flatnonzero(masks.any(axis=(1, 2)))
    tops = [class_names[c] for c in np.nan_to_num(scores, nan=-1).argmax(axis=1)]
    shown = _regions_to_show(seen, scores, [mark or name for mark, name in zip(marks, tops)])
    outlines = {k: OUTLINES[i] for i, k in enumerate(shown)}
    bars = _best(probabilities, None, 5)
    lines, top = _title_lines(title, WIDTH)
    heading = f"the classes that each region resembles most, by {quantity}"
    if any(exemplars[k] is not None for k in shown):
        heading += "; beside the region a patch of the class on top"
    if any(marks[k] for k in shown):
        heading += "; ✓ or ✗: whether it is the true one, in grey"
    if len(shown) < len(seen):
        heading += f"; {len(shown)} of {len(seen)} regions"
    heading = _wrap(heading if len(shown) else "no region found", WIDTH - 0.6, 9).split("\n")
    above, card, wide = 3.95, 1.18, (WIDTH - 0.15) / CARDS
    cards = 0.17 * len(heading) + card * -(-len(shown) // CARDS) + 0.15
    figure, axis = _sheet(WIDTH, above + cards + top)
    _draw_title(axis, lines, WIDTH, above + cards + top)
    _draw_picture(axis, (0.1, cards + 0.15, 6.9, above - 0.2), picture, masks, names, outlines)
    beside = 0.27 * len(bars) + 0.3
    _draw_bars(axis, (7.3, cards + above - 0.05 - beside, WIDTH - 7.4, beside), probabilities, class_names, bars,
               [OTHERS] * len(class_names), bars[0], f"{prediction}: probability", percent=True)
    for i, line in enumerate(heading):
        _text(axis, 0.15, cards - 0.1 - 0.17 * i, line, 9, color=QUIET)
    full = max(1.0, np.nanmax(scores, initial=0))
    for i, k in enumerate(shown):
        box = (0.15 + wide * (i % CARDS), cards - 0.17 * len(heading) - 0.05 - card * (i // CARDS + 1), wide - 0.15,
               card - 0.12)
        _draw_region(axis, box, picture, masks[k], names[k], scores[k], class_names, outlines[k], exemplars[k], full,
                     marks[k])
    table = pd.DataFrame([{"region": name, "class": class_name, "score": scores[k, c], "rank": int(ranks[k, c]),
                           "probability": probabilities[c], "truth": marks[k]}
                          for k, name in enumerate(names) for c, class_name in enumerate(class_names)])
    return figure, table if truths is not None else table.drop(columns="truth")


def _regions_to_show(seen, scores, groups):
    """At most `MOST_REGIONS` of the regions seen, in their order: the best of each group, and then the best."""
    best = np.nan_to_num(scores, nan=-1).max(axis=1)
    order = sorted(seen, key=lambda k: -best[k])
    firsts = set({groups[k]: k for k in reversed(order)}.values())
    return np.sort(sorted(order, key=lambda k: (k not in firsts, -best[k]))[:MOST_REGIONS]).astype(int)


def _draw_region(axis, box, picture, mask, name, scores, class_names, outline, exemplar, full, truth=""):
    """The card of a region: its own patch, one of the class that it resembles most, and bars for the best classes."""
    order = [c for c in np.argsort(-np.nan_to_num(scores, nan=-1), kind="stable")[:BEST] if not np.isnan(scores[c])]
    left, bottom, width, height = box
    axis.add_patch(Rectangle((left, bottom), width, height, fc="0.965", lw=0, zorder=-1))
    side, x = height - 0.36, left + 0.08
    axis.add_patch(Rectangle((x, bottom + height - 0.225), 0.15, 0.15, fc=outline, ec="0.3", lw=0.6))
    beside = 0
    if truth:
        mark = "✓" if order and class_names[order[0]] == truth else "✗"
        text, size = _fit(f"{mark} {truth}", 0.45 * width, 0.25, 9)
        beside = max(_text_width(line, size) for line in text.split("\n")) + 0.1
        _text(axis, left + width - 0.06, bottom + height - 0.15, text, size, color=QUIET, ha="right")
    title, size = _fit(name, width - 0.4 - beside, 0.25, 10, True)
    _text(axis, x + 0.23, bottom + height - 0.15, title, size, weight="bold")
    for patch in (_crop(picture, mask), exemplar):
        if patch is not None:
            wide = side * min(1.25, np.shape(patch)[1] / np.shape(patch)[0])
            axis.imshow(patch, extent=(x, x + wide, bottom + 0.07, bottom + 0.07 + side), interpolation="antialiased")
            x += wide + 0.08
    if not order:
        _text(axis, x + 0.1, bottom + 0.07 + side / 2, "no class has such a concept", 9, color=QUIET)
    value = _text_width("0.00", 9, True) + 0.05
    step, room = side / BEST, left + width - x - value - 0.1
    for row, c in enumerate(order):  # names on the bars: beside two patches there is no room for both
        y, weight = bottom + 0.07 + side - step * (row + 0.5), "normal" if row else "bold"
        axis.add_patch(Rectangle((x, y - 0.4 * step), room * scores[c] / full, 0.8 * step,
                                 fc="0.86" if row else "#9ecae1", lw=0))
        text, own = _fit(class_names[c], room - 0.06, step, 9, not row)
        _text(axis, x + 0.05, y, text, own, weight=weight)
        _text(axis, left + width - 0.06, y, f"{scores[c]:.2f}", 9, weight=weight, ha="right")


def _crop(picture, mask):
    """The square of the picture around a mask's largest island, with a little of what is around it."""
    islands, _ = label(mask)
    rows, columns = np.nonzero(islands == np.bincount(islands.ravel())[1:].argmax() + 1)
    shape = picture.shape[:2]
    side = min(*shape, int(1.2 * max(np.ptp(rows), np.ptp(columns))) + 8)
    top, left = (int(np.clip((low.min() + low.max()) / 2 - side / 2, 0, size - side))
                 for low, size in zip((rows, columns), shape))
    return picture[top:top + side, left:left + side]


# --- Sets of pictures ------------------------------------------------------------------------------------------------


def tier_bars(table, title=""):
    """How often each tier of confidence is used, and how often it is right, for several sets of pictures.

    table: a row per set and tier with `set`, `tier`, `share` of the set's pictures, `accuracy`, `low` and `high` (its
        interval) and `count` of pictures; accuracy is NaN where nothing can be right. Sets and tiers are drawn in the
        order in which they first occur. The table is given back as it is.
    """
    _check_columns(table, "set", "tier", "share", "accuracy", "low", "high", "count")
    sets, tiers = list(dict.fromkeys(table["set"])), list(dict.fromkeys(table["tier"]))
    colours = {tier: TIER_COLOURS[i % len(TIER_COLOURS)] for i, tier in enumerate(tiers)}
    row = max(0.5, 0.24 * len(tiers))
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH - 1, row * len(sets) + 1.5), sharey=True, width_ratios=[1.1, 1],
                                layout="constrained")
    for y, name in enumerate(sets):
        own = table[table["set"] == name].set_index("tier")
        start = 0.0
        for i, tier in enumerate(tiers):
            if tier not in own.index:
                continue
            found = own.loc[tier]
            share = 100 * found["share"]
            axes[0].barh(y, share, left=start, height=0.6, color=colours[tier], ec="w", lw=0.8)
            if share >= 6:
                axes[0].text(start + share / 2, y, f"{share:.0f}", ha="center", va="center", fontsize=9,
                             color="k" if _is_light(colours[tier]) else "w")
            start += share
            at = y + 0.62 * ((i + 0.5) / len(tiers) - 0.5)
            if np.isnan(found["accuracy"]):
                axes[1].text(103, at, f"– ({int(found['count'])})" if found["count"] else "not used", fontsize=8,
                             color="0.5", va="center")
                continue
            axes[1].plot([100 * found["low"], 100 * found["high"]], [at, at], color=colours[tier], lw=2)
            axes[1].plot(100 * found["accuracy"], at, "o", color=colours[tier], mec="0.2", mew=0.6, ms=6)
            axes[1].text(103, at, f"{100 * found['accuracy']:.1f} %  ({int(found['count'])})", fontsize=8, va="center")
        if y % 2:
            axes[1].axhspan(y - 0.5, y + 0.5, color="0.95", lw=0, zorder=0)
    handles = [Rectangle((0, 0), 1, 1, fc=colours[tier]) for tier in tiers]
    axes[0].legend(handles, tiers, ncols=len(tiers), loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9)
    axes[0].set_yticks(range(len(sets)), [textwrap.fill(str(name), 24) for name in sets])
    axes[0].set(ylim=(len(sets) - 0.5, -0.5), xlim=(0, 100), xlabel="share of pictures, %")
    axes[1].set(xlim=(0, 102), xlabel="right, %, with interval; beside it the number of pictures")
    axes[1].grid(axis="x", alpha=0.4)
    if title:
        _title(figure, title)
    return figure, table


def risk_coverage(curves, title=""):
    """Share of errors among the pictures that a score is surest of, over the share of pictures that these are.

    curves: name -> (coverage, risk, aurc): two arrays of the same length in [0, 1], and the area under the curve

    The table has a row per point: `score`, `coverage`, `risk`, `aurc`. Raises ValueError for arrays that do not fit.
    """
    for name, (coverage, risk, _) in curves.items():
        if np.shape(coverage) != np.shape(risk) or np.ndim(risk) != 1 or not len(risk):
            raise ValueError(f"curves[{name!r}]: coverage {np.shape(coverage)} and risk {np.shape(risk)} must be two "
                             "arrays of one length")
    figure, axis = plt.subplots(figsize=(6.6, 4), layout="constrained")
    for i, (name, (coverage, risk, aurc)) in enumerate(curves.items()):
        axis.plot(100 * np.asarray(coverage), 100 * np.asarray(risk), color=CLASS_COLOURS[i % len(CLASS_COLOURS)],
                  ls=LINES[i % len(LINES)], lw=1.8, label=f"{textwrap.fill(name, 30)}: {aurc:.4f}")
    axis.set(xlim=(0, 100), xlabel="coverage: the surest pictures, %", ylabel="risk: wrong among these, %")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.4)
    axis.legend(title="area under the curve (lower is better)", fontsize=9, title_fontsize=9, loc="center left",
                bbox_to_anchor=(1.01, 0.5), frameon=False)
    if title:
        _title(figure, title)
    return figure, pd.concat([pd.DataFrame({"score": name, "coverage": np.asarray(coverage, float),
                                            "risk": np.asarray(risk, float), "aurc": aurc})
                              for name, (coverage, risk, aurc) in curves.items()], ignore_index=True)


def reliability(predictions, bins=10, title=""):
    """Reliability diagrams: how often pictures of a confidence are right, and the expected calibration error.

    predictions: name -> (confidence, right): two arrays `(picture,)`, in [0, 1] and bool
    bins: of equal width. ECE is the mean |accuracy - mean confidence| of the bins, weighted by their pictures (Naeini
        et al., AAAI 2015; Guo et al., ICML 2017)

    The table has a row per name and bin that is not empty: `score`, `low`, `high` (edges), `confidence`, `accuracy`,
    `count`, and `ece` of the name. Raises ValueError for arrays that do not fit.
    """
    rows = [row for name, (confidence, right) in predictions.items() for row in _bins(name, confidence, right, bins)]
    table = pd.DataFrame(rows)
    columns = min(4, len(predictions))
    lines = -(-len(predictions) // columns)
    figure, axes = plt.subplots(lines, columns, squeeze=False, sharex=True, sharey=True, layout="constrained",
                                figsize=(2.7 * columns + 0.6, 3.3 * lines + (0.6 if title else 0.2)))
    for axis in axes.flat[len(predictions):]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, predictions):
        own = table[table["score"] == name]
        shade = 0.25 + 0.75 * own["count"] / own["count"].max()
        for (_, bin), alpha in zip(own.iterrows(), shade):
            axis.bar(bin["low"], bin["accuracy"], bin["high"] - bin["low"], align="edge", color=CLASS_COLOURS[0],
                     alpha=alpha, ec="w", lw=0.6)
            axis.plot([bin["confidence"]] * 2, [bin["accuracy"], bin["confidence"]], color=CLASS_COLOURS[4], lw=2)
            axis.plot(bin["confidence"], bin["accuracy"], "o", color="k", ms=3.5)
        axis.plot([0, 1], [0, 1], color="0.4", lw=1, ls=(0, (4, 2)))
        axis.set(xlim=(0, 1), ylim=(0, 1))
        axis.set_title(f"{textwrap.fill(name, 26)}\nECE {own['ece'].iloc[0]:.3f}", fontsize=10)
    for axis in axes[-1, :len(predictions) - columns * (lines - 1)]:
        axis.set_xlabel("confidence", fontsize=10)
    figure.supxlabel("line: gap to accuracy; dashed: no gap; darker: more pictures", fontsize=9)
    figure.supylabel("accuracy", fontsize=10)
    if title:
        _title(figure, title)
    return figure, table


def _bins(name, confidence, right, bins):
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    if confidence.shape != right.shape or confidence.ndim != 1 or not len(right) or not (
            (confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(f"predictions[{name!r}]: confidence {confidence.shape} and right {right.shape} must be of the "
                         "same pictures, at least one, and confidence from 0 to 1")
    bin = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(bin, minlength=bins)
    sums = [np.bincount(bin, values, minlength=bins) for values in (confidence, right)]
    gap = expected_calibration_error(confidence, right, bins)
    return [{"score": name, "low": b / bins, "high": (b + 1) / bins, "confidence": sums[0][b] / count[b],
             "accuracy": sums[1][b] / count[b], "count": int(count[b]), "ece": gap} for b in np.flatnonzero(count)]


def ood_dots(table, title=""):
    """How well scores tell strangers from pictures of the classes: a panel per measure, a dot with interval per score.

    table: a row per method and measure with `method`, `measure` (say AUROC and FPR at 95 %), `value`, `low`, `high`
        (NaN where there is no interval), and if wanted `better` ("higher" or "lower"), which adds an arrow and marks
        the best. Drawn in the order in which they first occur. The table is given back as it is.
    """
    _check_columns(table, "method", "measure", "value", "low", "high")
    methods, measures = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["measure"]))
    figure, axes = plt.subplots(1, len(measures), squeeze=False, sharey=True, layout="constrained",
                                figsize=(3.3 * len(measures) + 1.8, 0.36 * len(methods) + (1.5 if title else 1.2)))
    for axis, measure in zip(axes.flat, measures):
        own = table[table["measure"] == measure].set_index("method")
        sides = own["better"].dropna().unique() if "better" in own else ()
        best = None
        if len(sides) and own["value"].notna().any():
            best = own["value"].max() if sides[0] == "higher" else own["value"].min()
        for y, method in enumerate(methods):
            if y % 2:
                axis.axhspan(y - 0.5, y + 0.5, color="0.95", lw=0, zorder=0)
            if method not in own.index or np.isnan(own.loc[method, "value"]):
                axis.text(0.5, y, "not measured", transform=axis.get_yaxis_transform(), ha="center", va="center",
                          fontsize=8, color="0.5")
                continue
            value, low, high = own.loc[method, ["value", "low", "high"]].astype(float)
            colour = CLASS_COLOURS[y % len(CLASS_COLOURS)]
            axis.plot([low, high], [y, y], color=colour, lw=2, zorder=2)
            axis.plot(value, y, "o", color=colour, mec="0.2", mew=0.6, ms=7, zorder=3)
            axis.text(1.02, y, f"{value:.3f}", transform=axis.get_yaxis_transform(), va="center", fontsize=9,
                      weight="bold" if best is not None and np.isclose(value, best) else "normal")
        axis.set_title("\n".join([textwrap.fill(measure, 30), *(BEST_SIDE[side] for side in sides)]), fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(axis="x", alpha=0.4)
        axis.margins(x=0.08)
    axes[0, 0].set_yticks(range(len(methods)), [textwrap.fill(method, 24) for method in methods])
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)  # of all panels: they share it
    if title:
        _title(figure, title)
    return figure, table


def _check_columns(table, *names):
    missing = [name for name in names if name not in table]
    if missing or not len(table):
        raise ValueError(f"table with columns {', '.join(table)} and {len(table)} rows must have rows and the columns "
                         f"{', '.join(names)}")


# --- Words and places, in inches -------------------------------------------------------------------------------------


def _sheet(width, height):
    """A figure and one axis over all of it whose unit is an inch."""
    # no layout engine at all would be replaced by the usual one once the figure is saved
    figure = plt.figure(figsize=(width, height), layout=PlaceHolderLayoutEngine(True, True))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height), autoscale_on=False)
    axis.set_axis_off()
    return figure, axis


def _text(axis, x, y, text, size, ha="left", **options):
    axis.text(x, y, text, fontsize=size, ha=ha, va=options.pop("va", "center_baseline"), parse_math=False,
              linespacing=LEADING, **options)


def _title_lines(title, width):
    lines = [line for part in title.split("\n") for line in _wrap(part, width - 0.3, 13, True).split("\n")]
    return (lines, 0.24 * len(lines) + 0.15) if title else ([], 0.05)


def _draw_title(axis, lines, width, height):
    for i, line in enumerate(lines):
        _text(axis, 0.15, height - 0.2 - 0.24 * i, line, 13, weight="bold")


def _text_width(text, size, bold=False):
    """Width of the longest line in inches, as it will be drawn."""
    return max(_line_width(line, bold) for line in text.split("\n")) * size / 720


@lru_cache(maxsize=4096)
def _line_width(line, bold):
    """In points, for letters of 10 points."""
    font = FontProperties(size=10, weight="bold" if bold else "normal")
    return TextToPath().get_text_width_height_descent(line, font, ismath=False)[0] if line else 0.0


def _wrap(text, width, size, bold=False):
    """Text in lines that are no wider than so many inches; words that are too long are broken."""
    text = " ".join(text.split())
    least, most = 1, max(1, min(len(text), int(72 * width / (0.3 * size))))  # letters a line
    while least < most:
        letters = (least + most + 1) // 2
        if _text_width(textwrap.fill(text, letters), size, bold) <= width:
            least = letters
        else:
            most = letters - 1
    return textwrap.fill(text, least) if text else ""


def _fit(text, width, height, size, bold=False):
    """Text in lines, and a size no larger than the one given, that fit; it is cut short where none does."""
    for own in (s for s in (size, *SIZES) if s <= size):
        lines = _wrap(text, width, own, bold)
        if LEADING * own * (lines.count("\n") + 1) / 72 <= height + 1e-9:
            return lines, own
    own = min(size, SIZES[-1])
    kept = _wrap(text, width, own, bold).split("\n")[:max(1, int(72 * height / (LEADING * own)))]
    while _text_width(kept[-1] + "…", own, bold) > width and len(kept[-1]) > 1:
        kept[-1] = kept[-1][:-1]
    return "\n".join([*kept[:-1], kept[-1].rstrip() + "…"]), own


def _label_column(axis, entries, x, side, low, high, width, on_picture=False):
    """Names in a column at the right (side 1) or left (-1) of x, each as near as can be to the point that it names.

    entries: (name, value or "", colour of the value, colour of a tag or None, the point). The largest size is taken at
    which all fit between low and high. on_picture: points are on a picture, so that they and the lines need rims.
    """
    if not entries:
        return
    entries = sorted(entries, key=lambda entry: entry[4][1])
    tag = 0.16 if any(entry[3] for entry in entries) else 0
    for size in SIZES:
        names = [_wrap(entry[0], width - tag, size) for entry in entries]
        lines = np.array([name.count("\n") + 1 + bool(entry[1]) for name, entry in zip(names, entries)])
        heights = LEADING * size * lines / 72 + 0.05
        if heights.sum() <= high - low:
            break
    else:  # not even the smallest: each has the same room, and long names are cut short
        room = (high - low) / len(entries)
        names = [_fit(entry[0], width - tag, room - (LEADING * size / 72 + 0.02) * bool(entry[1]), size)[0]
                 for entry in entries]
        heights = np.full(len(entries), room)
    letter, align = LEADING * size / 72, "left" if side > 0 else "right"
    style = {"color": "0.25", "path_effects": [withStroke(linewidth=2, foreground="w")]} if on_picture else {
        "color": LINE}
    for name, (_, value, colour, tagged, point), y in zip(names, entries, _spread(entries, heights, low, high)):
        name = name.split("\n")
        top = y + letter * (len(name) + bool(value)) / 2
        axis.plot([point[0], x - 0.04 * side], [point[1], y], lw=0.8, zorder=2.5, **style)
        if on_picture:
            axis.plot(*point, "o", ms=3.5, mfc=tagged, mec="0.1", mew=0.8, zorder=2.6)
        if tagged:
            axis.add_patch(Rectangle((x + side * 0.06 - 0.06, y - 0.06), 0.12, 0.12, fc=tagged, ec="0.3", lw=0.6))
        for i, line in enumerate(name):
            _text(axis, x + side * tag, top - letter * (i + 0.5), line, size, ha=align)
        if value:
            _text(axis, x + side * tag, top - letter * (len(name) + 0.5), value, size, ha=align, color=colour,
                  weight="bold")


def _spread(entries, heights, low, high):
    """Middles of labels that do not overlap, in the order of their points, with the least shift (least squares)."""
    before = np.cumsum(heights) - heights / 2
    wanted = isotonic_regression(np.array([entry[4][1] for entry in entries]) - before).x
    return np.clip(wanted, low, high - heights.sum()) + before


def _is_light(colour):
    red, green, blue = plt.matplotlib.colors.to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.6
