"""Ood."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import label

from .explanation import OUTLINES, WIDTH, best_classes, checked_picture, checked_similarity, draw_bars, draw_picture
from .ring import CLASS_COLOURS, checked_scores
from .sheet import (
    check_columns,
    draw_text,
    draw_title,
    fitted_text,
    new_sheet,
    set_title,
    text_width,
    title_lines,
    wrapped_text,
)
from .style import BEST_SIDE, OTHERS, QUIET

MOST_REGIONS = 9
CARDS = 3  # of regions, side by side
BEST = 3  # classes that a region is compared with


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
    picture, masks = checked_picture(picture, masks, names)
    scores = checked_scores(scores, names, class_names)
    probabilities = checked_similarity(probabilities, class_names)
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
    bars = best_classes(probabilities, None, 5)
    lines, top = title_lines(title, WIDTH)
    heading = f"the classes that each region resembles most, by {quantity}"
    if any(exemplars[k] is not None for k in shown):
        heading += "; beside the region a patch of the class on top"
    if any(marks[k] for k in shown):
        heading += "; ✓ or ✗: whether it is the true one, in grey"
    if len(shown) < len(seen):
        heading += f"; {len(shown)} of {len(seen)} regions"
    heading = wrapped_text(heading if len(shown) else "no region found", WIDTH - 0.6, 9).split("\n")
    above, card, wide = 3.95, 1.18, (WIDTH - 0.15) / CARDS
    cards = 0.17 * len(heading) + card * -(-len(shown) // CARDS) + 0.15
    figure, axis = new_sheet(WIDTH, above + cards + top)
    draw_title(axis, lines, WIDTH, above + cards + top)
    draw_picture(axis, (0.1, cards + 0.15, 6.9, above - 0.2), picture, masks, names, outlines)
    beside = 0.27 * len(bars) + 0.3
    draw_bars(axis, (7.3, cards + above - 0.05 - beside, WIDTH - 7.4, beside), probabilities, class_names, bars,
               [OTHERS] * len(class_names), bars[0], f"{prediction}: probability", percent=True)
    for i, line in enumerate(heading):
        draw_text(axis, 0.15, cards - 0.1 - 0.17 * i, line, 9, color=QUIET)
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
        text, size = fitted_text(f"{mark} {truth}", 0.45 * width, 0.25, 9)
        beside = max(text_width(line, size) for line in text.split("\n")) + 0.1
        draw_text(axis, left + width - 0.06, bottom + height - 0.15, text, size, color=QUIET, ha="right")
    title, size = fitted_text(name, width - 0.4 - beside, 0.25, 10, True)
    draw_text(axis, x + 0.23, bottom + height - 0.15, title, size, weight="bold")
    for patch in (_crop(picture, mask), exemplar):
        if patch is not None:
            wide = side * min(1.25, np.shape(patch)[1] / np.shape(patch)[0])
            axis.imshow(patch, extent=(x, x + wide, bottom + 0.07, bottom + 0.07 + side), interpolation="antialiased")
            x += wide + 0.08
    if not order:
        draw_text(axis, x + 0.1, bottom + 0.07 + side / 2, "no class has such a concept", 9, color=QUIET)
    value = text_width("0.00", 9, True) + 0.05
    step, room = side / BEST, left + width - x - value - 0.1
    for row, c in enumerate(order):  # names on the bars: beside two patches there is no room for both
        y, weight = bottom + 0.07 + side - step * (row + 0.5), "normal" if row else "bold"
        axis.add_patch(Rectangle((x, y - 0.4 * step), room * scores[c] / full, 0.8 * step,
                                 fc="0.86" if row else "#9ecae1", lw=0))
        text, own = fitted_text(class_names[c], room - 0.06, step, 9, not row)
        draw_text(axis, x + 0.05, y, text, own, weight=weight)
        draw_text(axis, left + width - 0.06, y, f"{scores[c]:.2f}", 9, weight=weight, ha="right")


def _crop(picture, mask):
    """The square of the picture around a mask's largest island, with a little of what is around it."""
    islands, _ = label(mask)
    rows, columns = np.nonzero(islands == np.bincount(islands.ravel())[1:].argmax() + 1)
    shape = picture.shape[:2]
    side = min(*shape, int(1.2 * max(np.ptp(rows), np.ptp(columns))) + 8)
    top, left = (int(np.clip((low.min() + low.max()) / 2 - side / 2, 0, size - side))
                 for low, size in zip((rows, columns), shape))
    return picture[top:top + side, left:left + side]


def ood_dots(table, title=""):
    """How well scores tell strangers from pictures of the classes: a panel per measure, a dot with interval per score.

    table: a row per method and measure with `method`, `measure` (say AUROC and FPR at 95 %), `value`, `low`, `high`
        (NaN where there is no interval), and if wanted `better` ("higher" or "lower"), which adds an arrow and marks
        the best. Drawn in the order in which they first occur. The table is given back as it is.
    """
    check_columns(table, "method", "measure", "value", "low", "high")
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
        set_title(figure, title)
    return figure, table
