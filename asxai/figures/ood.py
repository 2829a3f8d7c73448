"""The figures of notebook 05: regions of a picture and the classes that they resemble, hybrids, and detection."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.ndimage import label

from .dots import dot_plot
from .explanation import draw_bars, draw_picture
from .sheet import blank, heatmap, inch_axis, inch_figure, set_title, show_picture, tag, wrapped
from .style import OTHERS, OUTLINES, QUIET, WIDTH, Drawn

MOST_REGIONS = 9
CARDS = 3  # of regions, side by side
BEST = 3  # classes that a region is compared with
SIDE = 0.75  # inches, of a patch
MOST_DIGITS = 5  # of a detection's score, after the point


def region_panel(
    picture, masks, names, scores, class_names, probabilities, title: str, exemplars, quantity: str, truths=None
) -> Drawn:
    """Figure 5: each important region of a picture, and which classes it resembles most, beside the black box.

    picture: uint8 `(height, width, 3)`. names: of the regions
    masks: bool `(region, height, width)`; a region whose mask is empty is not shown
    scores: `(region, class)`, how much each resembles the classes, NaN where a class lacks the concept
    probabilities: `(class,)`, of the softmax
    exemplars: per region a patch of the most similar class's concept, uint8 `(height, width, 3)` or None
    quantity: what scores are
    truths: per region the class that it truly comes from, for a ✓ or ✗ on its card, or "" where nobody knows; or None

    Each region shows its best classes, see `BEST`. Of many regions (`MOST_REGIONS`) the best one of each true class (of
    each class on top, where that is unknown) is shown, and then those of the highest score. The table has a row per
    region and class; `rank` 1 is the highest, 0 where the class lacks the concept.
    """
    known = np.nan_to_num(scores, nan=-1)
    order = np.argsort(-known, axis=1, kind="stable")
    marks, seen = truths or [""] * len(names), np.flatnonzero(masks.any(axis=(1, 2)))
    groups = [mark or class_names[top] for mark, top in zip(marks, order[:, 0])]
    shown = _regions_to_show(seen, known.max(axis=1), groups)
    tags = dict(zip(shown, OUTLINES))
    heading = f"the classes that each region resembles most, by {quantity}"
    heading += "; beside the region a patch of the class on top"
    heading += "; ✓ or ✗: whether it is the true one, in grey" if truths else ""
    heading += f"; {len(shown)} of {len(seen)} regions" if len(shown) < len(seen) else ""
    below = 1.2 * -(-len(shown) // CARDS) + 0.5
    figure = inch_figure(WIDTH, below + 4.6)
    set_title(figure, title)
    draw_picture(inch_axis(figure, 1.2, below + 0.1, 3.8, 3.8), picture, masks, names, tags)
    best = np.argsort(-probabilities, kind="stable")[:5]
    classes, texts = [class_names[c] for c in best], [f"{100 * probabilities[c]:.1f} %" for c in best]
    axis = inch_axis(figure, 8, below + 2.2, 2.3, 1.5)
    axis.set_title("softmax: probability", fontsize=9, color=QUIET)
    draw_bars(axis, probabilities[best], classes, texts, [OTHERS] * 5, classes[0])
    heading = wrapped(heading if shown else "no region found", 130)
    figure.text(0.01, (below - 0.1) / (below + 4.6), heading, fontsize=9, color=QUIET, va="center")
    for i, k in enumerate(shown):
        left, bottom = 0.1 + WIDTH / CARDS * (i % CARDS), below - 0.35 - 1.2 * (i // CARDS + 1)
        bars = {class_names[c]: scores[k, c] for c in order[k, :BEST] if not np.isnan(scores[k, c])}
        truth = f"{'✓' if marks[k] == next(iter(bars), None) else '✗'} {wrapped(marks[k], 14, 1)}" if marks[k] else ""
        head = inch_axis(figure, left, bottom + SIDE, WIDTH / CARDS - 0.3, 0.3)
        head.text(0.01, 0.5, wrapped(names[k], 18, 1), va="center", fontsize=9, weight="bold", bbox=tag(tags[k]))
        head.text(1, 0.5, truth, va="center", ha="right", fontsize=9, color=QUIET)
        blank(head)
        for patch in (_crop(picture, masks[k]), exemplars[k]):
            if patch is not None:
                show_picture(inch_axis(figure, left, bottom, SIDE, SIDE), patch)
                left += SIDE + 0.05
        room = 0.1 + WIDTH / CARDS * (i % CARDS + 1) - 0.3 - left
        _draw_scores(inch_axis(figure, left + 0.05, bottom, room, SIDE), bars, max(1, np.nanmax(scores, initial=0)))
    ranks = np.where(np.isnan(scores), 0, order.argsort(axis=1) + 1)
    rows = [
        (name, class_name, scores[k, c], ranks[k, c], probabilities[c], marks[k])
        for k, name in enumerate(names)
        for c, class_name in enumerate(class_names)
    ]
    table = pd.DataFrame(rows, columns=["region", "class", "score", "rank", "probability", "truth"])
    return figure, table if truths else table.drop(columns="truth")


def _regions_to_show(seen, best, groups):
    """At most `MOST_REGIONS` of the regions seen, in their order: the best of each group, and then the best."""
    order = sorted(seen, key=lambda k: -best[k])
    firsts = {groups[k]: k for k in reversed(order)}.values()
    return sorted(sorted(order, key=lambda k: (k not in firsts, -best[k]))[:MOST_REGIONS])


def _draw_scores(axis, bars, full):
    """Bars with the names of classes on them: beside two patches there is no room for both."""
    for y, (class_name, score) in enumerate(bars.items()):
        look = {"va": "center", "fontsize": 9, "weight": "normal" if y else "bold"}
        axis.barh(y, score, height=0.8, color="0.86" if y else "#9ecae1")
        axis.text(0.02 * full, y, wrapped(class_name, 18, 1), **look)
        axis.text(1.25 * full, y, f"{score:.2f}", ha="right", **look)
    if not bars:
        axis.text(0, 1, "no class has such a concept", fontsize=9, color=QUIET, va="center")
    axis.set(xlim=(0, 1.25 * full), ylim=(BEST - 0.5, -0.5))
    blank(axis)


def _crop(picture, mask):
    """The square of the picture around a mask's largest island, with a little of what is around it."""
    islands, _ = label(mask)
    places = np.argwhere(islands == np.bincount(islands.ravel())[1:].argmax() + 1)
    low, high = places.min(axis=0), places.max(axis=0)
    side = min(*mask.shape, int(1.2 * (high - low).max()) + 8)
    top, left = np.clip((low + high) / 2 - side / 2, 0, np.subtract(mask.shape, side)).astype(int)
    return picture[top : top + side, left : left + side]


def ood_dots(table: pd.DataFrame) -> Drawn:
    """How well scores tell strangers from pictures of the classes, see `dot_plot`; the best of a measure is bold.

    Scores near 1 that differ have as many digits as tell them apart, up to `MOST_DIGITS`.
    """
    values = table["value"].dropna().astype(float)
    looks_alike = lambda digits: values.round(digits).nunique() < values.round(MOST_DIGITS).nunique()
    digits = next(digits for digits in range(3, MOST_DIGITS + 1) if not looks_alike(digits))
    caption = "line: interval; bold: the best, and what equals it in these digits"
    return dot_plot(table, "", caption, f"{{:.{digits}f}}", width=3.3)


def part_matrix(table: pd.DataFrame) -> Drawn:
    """Shares of right answers, hybrids down and parts across, with the class that is found most often in each cell.

    table: a row per hybrid and part with `hybrid`, `part`, `parent`, `pictures`, `right` in [0, 1] and `most often`, as
        of `asxai.benchmarks.ood.parts_summary`. It is given back as it is.
    """
    hybrids, parts = (list(dict.fromkeys(table[column])) for column in ("hybrid", "part"))
    texts, shares = np.full((len(hybrids), len(parts)), "", object), np.full((len(hybrids), len(parts)), np.nan)
    for row in table.to_dict("records"):
        at = hybrids.index(row["hybrid"]), parts.index(row["part"])
        instead = "" if row["most often"] == row["parent"] else f"\n→ {row['most often']}"
        texts[at], shares[at] = f"{100 * row['right']:.0f} %\n{row['parent']}{instead}", row["right"]
    figure, axis = plt.subplots(figsize=(1.15 * len(parts) + 1.6, 0.72 * len(hybrids) + 1.2))
    heatmap(axis, shares, hybrids, parts, texts, 8, cmap="Blues", vmin=0, vmax=1)
    set_title(figure, "How often a part's own parent is found among all classes, % of pictures")
    return figure, table
