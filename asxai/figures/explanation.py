"""The figures of explanations, from arrays alone. As in `asxai.figures.train` each function gives `(figure, table)`.

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

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt, label

from .ring import CLASS_COLOURS, checked_scores, chosen_classes, class_colours, draw_ring, index_of_class, score_table
from .sheet import draw_text, draw_title, fitted_text, label_column, new_sheet, text_width, title_lines, wrapped_text
from .style import LEADING, OTHERS, QUIET, SIZES

WIDTH = 11  # inches, of a notebook
MOST_BARS = 12  # classes of a histogram
MOST_EXEMPLARS = 8
# of outlines: light, to be seen on fur and grass with a dark rim, and other than those of classes
OUTLINES = ("#ffd400", "#00d5ff", "#ff6ec7", "#8dff5a", "#ff9d2e", "#c3a6ff", "#ffffff", "#ff5f5f", "#00f0b5")
SIMILARITY = "global similarity (cosine and structure in HSV)"


# --- Histogram over classes ------------------------------------------------------------------------------------------


def similarity_bars(similarity, class_names, predicted=None, title=""):
    """The histogram over classes of Figure 6: global structural similarity, the highest first.

    similarity: `(class,)`, of `asxai.explain.similarity.global_similarity`. predicted: as in `bubble_ring`; its bar is dark

    The table has a row per class: `class`, `similarity`, `rank` (1 is the highest), `predicted`. Of many classes the
    highest are shown, and the predicted one, see `MOST_BARS`. Raises ValueError for shapes that do not fit, or values
    that are not finite.
    """
    similarity, predicted = checked_similarity(similarity, class_names), index_of_class(predicted, class_names)
    colours = [OTHERS if predicted is not None else CLASS_COLOURS[0]] * len(class_names)
    if predicted is not None:
        colours[predicted] = CLASS_COLOURS[0]
    order = best_classes(similarity, predicted, MOST_BARS)
    lines, top = title_lines(title, 5.5)
    height = 0.3 * len(order) + 0.65
    figure, axis = new_sheet(5.5, height + top)
    draw_title(axis, lines, 5.5, height + top)
    draw_bars(axis, (0.1, 0.05, 5.3, height - 0.1), similarity, class_names, order, colours, predicted,
               SIMILARITY)
    rank = (-similarity).argsort(kind="stable").argsort(kind="stable") + 1
    return figure, pd.DataFrame({"class": list(class_names), "similarity": similarity, "rank": rank,
                                 "predicted": [c == predicted for c in range(len(class_names))]})


def checked_similarity(similarity, class_names):
    similarity = np.asarray(similarity, dtype=float)
    if similarity.shape != (len(class_names),) or not np.isfinite(similarity).all():
        raise ValueError(f"similarity {similarity.shape} must be a finite number for each of the {len(class_names)} "
                         "class names")
    return similarity


def best_classes(values, predicted, most):
    """Indices of the highest values, from the highest, and among them the predicted class."""
    order = np.argsort(-values, kind="stable")[:most]
    if predicted is not None and predicted not in order:
        order[-1] = predicted
    return order


def draw_bars(axis, box, values, names, order, colours, bold, heading, percent=False):
    """Horizontal bars with names and values in a box, the first on top, under a small heading."""
    left, bottom, width, height = box
    more = f"; {len(order)} of {len(names)} classes" if len(order) < len(names) else ""
    lines = wrapped_text(heading + more, width, 9).split("\n")
    for i, line in enumerate(lines):
        draw_text(axis, left, bottom + height - 0.1 - 0.15 * i, line, 9, color=QUIET)
    height -= 0.15 * len(lines) + 0.1
    step = min(0.32, height / len(order))
    size = next((s for s in SIZES if LEADING * s / 72 <= step), SIZES[-1])
    column = min(0.45 * width, max(text_width(names[i], size, i == bold) for i in order) + 0.05)
    written = [f"{100 * values[i]:.1f} %" if percent else f"{values[i]:.2f}" for i in order]
    room = width - column - 0.1 - max(text_width(text, size, True) for text in written) - 0.1
    low, high = min(0.0, values[order].min()), max(0.0, values[order].max())
    scale = room / (high - low) if high > low else 0
    zero = left + column + 0.1 - low * scale
    for row, (i, text) in enumerate(zip(order, written)):
        y, weight = bottom + height - step * (row + 0.5), "bold" if i == bold else "normal"
        name, own = fitted_text(names[i], column, step, size, i == bold)
        draw_text(axis, left + column, y, name, own, ha="right", weight=weight)
        start, long = zero + min(0, values[i]) * scale, abs(values[i]) * scale
        axis.add_patch(Rectangle((start, y - 0.33 * step), long, 0.66 * step, fc=colours[i], lw=0))
        draw_text(axis, start + long + 0.06, y, text, size, weight=weight)
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
    scores, predicted = checked_scores(scores, class_names, concept_names), index_of_class(predicted, class_names)
    picture, masks = checked_picture(picture, masks, concept_names)
    if similarity is not None:
        similarity = checked_similarity(similarity, class_names)
    exemplars = [] if exemplars is None else [np.asarray(exemplar) for exemplar in exemplars]
    if exemplar_names is not None and len(exemplar_names) != len(exemplars):
        raise ValueError(f"exemplar_names holds {len(exemplar_names)} texts for {len(exemplars)} exemplars; give one "
                         "for each")
    rings, spokes = chosen_classes(scores, predicted)
    seen = [k for k in spokes if masks[k].any()]
    outlines = {k: OUTLINES[i % len(OUTLINES)] for i, k in enumerate(seen)}
    lines, top = title_lines(title, WIDTH)
    words = WIDTH - 0.3 if similarity is None else 6.3
    sentence = wrapped_text(sentence, words, 12)
    prediction = wrapped_text(f"The softmax alone says: {prediction}", words, 10)
    bars = [] if similarity is None else best_classes(similarity, predicted, 6)
    said = 0.2 * (sentence.count("\n") + 1) + 0.25 + 0.17 * (prediction.count("\n") + 1)
    below = max(said, 0.24 * len(bars) + 0.4 if len(bars) else 0) + 0.3
    strip = 1.45 if exemplars else 0
    figure, axis = new_sheet(WIDTH, top + 3.95 + below + strip)
    draw_title(axis, lines, WIDTH, top + 3.95 + below + strip)

    base = below + strip
    draw_text(axis, 0.15, base + 3.83, "concepts on the picture", 9, color=QUIET)
    draw_picture(axis, (0.15, base + 0.1, 4.75, 3.6), picture, masks, concept_names, outlines)
    draw_text(axis, 5.3, base + 3.83, "how much of each class is in them", 9, color=QUIET)
    draw_ring(axis, (5.3, base + 0.05, WIDTH - 5.4, 3.65), scores, class_names, concept_names, rings, spokes,
               predicted, outlines)
    axis.add_patch(Rectangle((0, strip + 0.08), WIDTH, below - 0.12, fc="0.955", lw=0, zorder=-1))
    y = strip + below - 0.3
    for line in sentence.split("\n"):
        draw_text(axis, 0.15, y, line, 12)
        y -= 0.2
    for line in prediction.split("\n"):
        y -= 0.17
        draw_text(axis, 0.15, y + 0.07, line, 10, color=QUIET)
    if len(bars):
        draw_bars(axis, (6.85, strip + 0.14, WIDTH - 7.0, below - 0.28), similarity, class_names, bars,
                   class_colours(len(class_names), rings), predicted, SIMILARITY)
    if exemplars:
        _draw_exemplars(axis, (0.15, 0.02, WIDTH - 0.3, strip), exemplars, exemplar_names)
    table = score_table(scores, class_names, concept_names, rings, spokes)
    table["area"] = np.tile(masks.mean(axis=(1, 2)), len(class_names))
    table["similarity"] = np.nan if similarity is None else np.repeat(similarity, len(concept_names))
    return figure, table


def checked_picture(picture, masks, names):
    picture, masks = np.asarray(picture), np.asarray(masks)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"picture {picture.dtype} {picture.shape} must be uint8 (height, width, 3)")
    if masks.dtype != bool or masks.shape != (len(names), *picture.shape[:2]):
        raise ValueError(f"masks {masks.dtype} {masks.shape} must be bool {(len(names), *picture.shape[:2])}: one of "
                         "the picture's size for each name")
    return picture, masks


def draw_picture(axis, box, picture, masks, names, outlines):
    """A picture with outlines of masks, in colours by number, and names at both sides, in a box."""
    left, bottom, width, height = box
    seen = list(outlines)
    anchors = {k: _anchor(masks[k]) for k in seen}
    ordered = sorted(seen, key=lambda k: anchors[k][1])
    sides = {-1: ordered[:(len(ordered) + 1) // 2], 1: ordered[(len(ordered) + 1) // 2:]}
    columns = {side: min(1.05, max([text_width(names[k], SIZES[0]) + 0.28 for k in own], default=0))
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
        label_column(axis, entries, edge, side, bottom, bottom + height, columns[side], on_picture=True)


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
    draw_text(axis, left, bottom + height - 0.1, "nearest training pictures", 9, color=QUIET)
    under = 0 if names is None else 0.2
    side = min(height - 0.25 - under, 1.2)
    x = left
    for i, exemplar in enumerate(exemplars[:MOST_EXEMPLARS]):
        wide = side * exemplar.shape[1] / exemplar.shape[0]
        if x + wide > left + width:
            break
        axis.imshow(exemplar, extent=(x, x + wide, bottom + under, bottom + under + side), interpolation="antialiased")
        if names is not None:
            name, size = fitted_text(names[i], wide + 0.05, 0.2, 9)
            draw_text(axis, x + wide / 2, bottom + 0.1, name, size, ha="center")
        x += wide + 0.12
