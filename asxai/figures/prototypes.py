"""The figures of notebook 02: prototypes and concepts on pictures, and how well concepts agree with true parts."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from skimage.color import label2rgb
from skimage.segmentation import mark_boundaries

from .dots import dot_plot
from .sheet import first_of, heatmap, legend_beside, picture_grid, set_title, wrapped
from .style import COLOURS, MOST_CLASSES, MOST_CONCEPTS, OUTLINE, Drawn

COUNTED = 20  # pictures, below which they are counted: one of them is more than 5 %
BACKGROUND = "background"
HATCHES = ("", "////", "----")  # plain, then the same colours again with white stripes


def prototype_sheet(table: pd.DataFrame, pictures, maps, masks, class_name: str, percentile: float) -> Drawn:
    """Figure 2a for one class: its strongest prototypes, from source picture to irregular mask.

    table: a row per basis vector with `basis`, `strength` and its patch in pixels, `top`, `left`, `bottom`, `right`
    pictures, maps, masks: uint8 `(vector, size, size, 3)`, the activation map there `(vector, size, size)` in cosines,
        and bool `(vector, size, size)`, what lies above the percentile of the map
    """
    boxes = table[["top", "left", "bottom", "right"]].to_numpy()
    patches = [own[top:bottom, left:right] for own, (top, left, bottom, right) in zip(pictures, boxes)]
    labels = ["source\npicture", "patch", "activation\nmap", f"mask, {percentile:g}th\npercentile"]
    rows = [pictures, patches, pictures, pictures]
    names = [f"vector {row.basis}\nstrength {row.strength:.2f}" for row in table.itertuples()]
    title = f"Strongest prototypes of class “{class_name}”"
    figure, axes = picture_grid(rows, labels, title, [names], masks=[(), (), (), masks], size=(1.5, 1.55))
    for k, (top, left, bottom, right) in enumerate(boxes):
        frame = plt.Rectangle((left, top), right - left, bottom - top, fill=False, ec=OUTLINE, lw=2)
        axes[0, k].add_patch(frame)
        image = axes[2, k].imshow(maps[k], alpha=0.6, vmin=0, vmax=1)
    figure.colorbar(image, ax=axes[2], label="cosine", shrink=0.9)
    return figure, table


def new_picture_sheet(table: pd.DataFrame, pictures, maps, masks, class_name: str) -> Drawn:
    """The strongest prototypes of a class on test pictures of that class: activation map above mask, best cosine.

    table: a row per picture and basis vector with `basis` and `best_cosine`, the vectors of the first picture first
    pictures, maps, masks: as in `prototype_sheet`, `(picture, ...)` and `(picture, vector, ...)`
    """
    best = table["best_cosine"].to_numpy().reshape(maps.shape[:2])
    rows, above, shown = [], [], []
    for i, picture in enumerate(pictures):
        rows += [[picture] * (1 + len(best[i])), [None] + [picture] * len(best[i])]
        words = [f"vector {vector}\n" if i == 0 else "" for vector in table["basis"]]
        above += [["" if i else "test picture", *(f"{w}{value:.2f}" for w, value in zip(words, best[i]))], []]
        shown += [[], [None, *masks[i]]]
    title = f"Where the prototypes of “{class_name}” fire on pictures never seen (number: best cosine)"
    figure, axes = picture_grid(rows, [""] * len(rows), title, above, masks=shown, size=(1.4, 1.5))
    for i, k in np.ndindex(best.shape):
        axes[2 * i, k + 1].imshow(maps[i, k], alpha=0.6, vmin=0, vmax=1)
    return figure, table


def distance_matrix(distance: np.ndarray, class_names) -> Drawn:
    """Projection distances between class subspaces `(class, class)`, in [0, 1], see `subspace_distances`.

    A single distance, of two classes, needs no scale of colours: its number is written. The table has a row per pair.
    """
    count, label = len(class_names), "distance / largest possible"
    many, names = count > MOST_CLASSES, list(class_names)
    side = 9 if many else max(3.6, 0.55 * count + 1.8)
    figure, axis = plt.subplots(figsize=(side + 1, side))
    shown = np.where(np.eye(count, dtype=bool), np.nan, distance)  # zeros of a class with itself would use up colours
    texts = None if many else np.vectorize("{:.2f}".format)(distance)
    least = np.floor(10 * np.nanmin(shown)) / 10
    image = heatmap(axis, shown, names, names, texts, cmap="viridis", vmin=least, vmax=1)
    axis.set_aspect("equal")
    if count > 2:
        figure.colorbar(image, label=label, shrink=0.8)
    else:
        axis.set_title(label)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    return figure, pd.DataFrame([{"class": names[i], "other": names[j], "distance": distance[i, j]} for i, j in pairs])


def concept_sheet(pictures, masks, names, prevalence, title: str, out_of: int) -> Drawn:
    """A row per concept: its exemplars, dimmed outside the mask, with the mask's outline.

    pictures, masks: per concept uint8 `(exemplar, height, width, 3)` and bool `(exemplar, height, width)`
    prevalence: per concept the share of test pictures in which it wins cells, NaN where it is not known
    out_of: how many pictures that is a share of; of few they are counted, for a percentage would promise too much
    """
    labels = [wrapped(name, 16) + _share(share, out_of) for name, share in zip(names, prevalence)]
    title += first_of(MOST_CONCEPTS, len(names), "concepts")
    figure, _ = picture_grid(pictures[:MOST_CONCEPTS], labels, title, masks=masks, size=(1.15, 1.2))
    counts = [len(own) for own in pictures]
    return figure, pd.DataFrame({"concept": names, "prevalence": prevalence, "exemplars": counts})


def _share(share, out_of):
    if np.isnan(share):
        return ""
    if out_of < COUNTED:
        return f"\nwins cells in {round(share * out_of)}\nof {out_of} test pictures"
    return f"\nwins cells in {'under 1' if 0 < share < 0.005 else f'{100 * share:.0f}'} %\nof test pictures"


def concept_map_strip(pictures, winners, names, title: str, parts=None, part_names=(), labels=()) -> Drawn:
    """Pictures above their division into concepts, and above the true parts where there are such.

    pictures: uint8 `(picture, height, width, 3)`
    winners: whole numbers `(picture, cells, cells)`, as of `Concepts.winners`; 0, background, is left grey
    names: of concepts 1, 2, ...; a concept has the same colour in every strip with the same names
    parts, part_names: the same of true parts; a part with the name of a concept has its colour, and no other has
    labels: what the legend says instead of `names`

    The table has a row per picture and concept or part, background included, with its share of the picture's cells.
    """
    kinds, new = [("concept", winners, list(names), range(len(names)))], iter(range(len(names), 999))
    if parts is not None:
        styles = [list(names).index(name) if name in names else next(new) for name in part_names]
        kinds.append(("part", parts, list(part_names), styles))
    coloured = [[_coloured(*own, styles) for own in zip(pictures, labels)] for _, labels, _, styles in kinds]
    beside = ["picture", "concepts", "true\nparts"][: len(kinds) + 1]
    figure, axes = picture_grid([pictures, *coloured], beside, title, size=(1.25 + 2.6 / len(pictures), 1.3))
    rows, legends = [], [labels or names, part_names]
    for row, (kind, cells, own, styles), legend in zip(axes[1:], kinds, legends):
        for i, of_picture in enumerate(cells):
            shares = np.bincount(of_picture.ravel(), minlength=len(own) + 1) / of_picture.size
            rows += [{"picture": i, "kind": kind, "name": n, "share": s} for n, s in zip([BACKGROUND, *own], shares)]
        seen = [(wrapped(legend[k - 1], 18), styles[k - 1]) for k in np.unique(cells) if k]
        if seen:
            patches = [Patch(fc=_colour(k), hatch=_hatch(k), ec="w", lw=0, label=name) for name, k in seen]
            legend_beside(row[-1], handles=patches, ncols=-(-len(seen) // 7))
    return figure, pd.DataFrame(rows).sort_values("picture", kind="stable", ignore_index=True)


def _coloured(picture, labels, styles):
    """The picture in light grey; where labels are k > 0, in colour styles[k - 1], with white lines between labels."""
    down, across = (np.arange(side) * cells // side for side, cells in zip(picture.shape, labels.shape))
    labels = labels[np.ix_(down, across)]
    seen = [k for k in np.unique(labels) if k]
    colours = [to_rgb(_colour(styles[k - 1])) for k in seen]
    result = label2rgb(labels, picture // 2 + 110, colours, alpha=0.7, bg_label=0, saturation=0)
    stripe, (y, x) = max(2, len(picture) // 16), np.indices(labels.shape)
    for k in seen:
        if hatch := _hatch(styles[k - 1]):
            result[(labels == k) & ((x + y if hatch == HATCHES[1] else y) % stripe < stripe / 3)] = 1
    return mark_boundaries(result, labels, (1, 1, 1), mode="thick")


def _colour(style):
    return COLOURS[style % len(COLOURS)]


def _hatch(style):
    return HATCHES[style // len(COLOURS) % len(HATCHES)]


def confusion(counts: np.ndarray, concept_names, part_names, title: str) -> Drawn:
    """Of the cells of each true part, the share that each concept wins; every column sums to 100 %.

    counts: whole numbers `(concept + 1, part)`, cells by concept, background first, and true part, such as the sum of
    `asxai.benchmarks.agreement.contingency` over pictures. The last column is each concept's share of all parts' cells.

    The table has a row per part and concept; the share is NaN for a part without cells.
    """
    counts, names = np.roll(counts, -1, axis=0), [*concept_names, BACKGROUND]  # background last: it is the exception
    with np.errstate(invalid="ignore"):  # 0 / 0: no cells, no shares
        shares, of_all = counts / counts.sum(axis=0), counts.sum(axis=1) / counts.sum()
    figure, axis = plt.subplots(figsize=(0.52 * len(part_names) + 3.3, 0.36 * len(names) + 1.7))
    drawn = np.column_stack([shares, of_all])
    texts = [[f"{100 * share:.0f}" if share >= 0.005 else "" for share in row] for row in drawn]
    white = sns.blend_palette(["#ffffff", "#6baed6", "#08306b"], as_cmap=True)  # at zero, unlike seaborn's palettes
    heatmap(axis, drawn, names, [*part_names, "all parts"], texts, 10, cmap=white, vmin=0, vmax=1)
    axis.axhline(len(names) - 1, color="0.3", lw=1.2)
    axis.axvline(len(part_names), color="0.3", lw=1.2)
    axis.set(xlabel="true part", ylabel="concept that wins")
    set_title(figure, f"{title}\n% of a part’s cells, from half a per cent on")
    each = np.ndindex(len(part_names), len(names))
    rows = [(part_names[p], names[k], shares[k, p], counts[k, p], of_all[k]) for p, k in each]
    return figure, pd.DataFrame(rows, columns=["part", "concept", "share", "cells", "share_of_all"])


def measure_dots(table: pd.DataFrame) -> Drawn:
    """A panel per measure, see `dot_plot`: a dot per seed with its bootstrap interval, and the mean over seeds."""
    caption = "dot: a seed, with bootstrap interval; diamond and number: mean, the best one bold"
    caption += "; dashed line: target" if "target" in table and table["target"].notna().any() else ""
    return dot_plot(table, "", caption, "{:#.3g}")
