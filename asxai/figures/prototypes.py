"""The figures of concepts, from arrays alone. As in `asxai.figures.train` each function gives `(figure, table)`."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import maximum_filter

from .sheet import blank, label_row, outlined_picture, set_title, show_picture
from .style import BEST_SIDE, COLOURS, MOST_CONCEPTS, YELLOW

COUNTED = 20  # pictures, below which they are counted: one of them is more than 5 %
BACKGROUND = "background"
HATCHES = ("", "////", "----")  # plain, then the same colours again with white stripes


def concept_sheet(pictures, masks, names, prevalence, title, activations=None, out_of=None):
    """A row per concept: its exemplars, dimmed outside the mask, with the mask's outline.

    pictures, masks: uint8 `(concept, exemplar, height, width, 3)` and bool `(concept, exemplar, height, width)`, or
    lists with one such array per concept, where some have fewer exemplars than others
    names, prevalence: per concept; the share of test pictures in which it wins cells, NaN where it is not known
    out_of: how many pictures that is a share of; of few they are counted, for a percentage would promise too much
    activations: numbers `(concept, exemplar)`, or a list, that are written above the exemplars

    The table has a row per concept: `concept`, `prevalence`, `exemplars` (how many) and, where given, `activations`. Of
    many concepts the first are shown, see `MOST_CONCEPTS`.
    """
    counts = [len(own) for own in pictures]
    if not counts or {len(masks), len(names), len(prevalence)} != {len(counts)}:
        raise ValueError(f"pictures of {len(counts)} concepts, masks of {len(masks)}, {len(names)} names and "
                         f"{len(prevalence)} prevalences; give as many of each, and at least one")
    shown, columns = min(len(counts), MOST_CONCEPTS), max(1, *counts[:MOST_CONCEPTS])
    height = 1.2 if activations is None else 1.35
    figure, axes = plt.subplots(shown, columns, squeeze=False, figsize=(1.15 * columns + 1.5, height * shown + 0.5))
    for k, row in enumerate(axes):
        for e, axis in enumerate(row):
            if e < counts[k]:
                outlined_picture(axis, np.asarray(pictures[k][e]), np.asarray(masks[k][e]))
                if activations is not None:
                    axis.set_title(f"{activations[k][e]:.2f}", fontsize=9, pad=2)
            else:
                blank(axis)
        share = "" if np.isnan(prevalence[k]) else f"\n{_share(prevalence[k], out_of)}"
        label_row(row[0], textwrap.fill(names[k], 16) + share)
    set_title(figure, title + (f" (the first {shown} of {len(counts)} concepts)" if shown < len(counts) else ""))
    table = pd.DataFrame({"concept": list(names), "prevalence": np.asarray(prevalence, float), "exemplars": counts})
    if activations is not None:
        table["activations"] = [", ".join(f"{value:.2f}" for value in own) for own in activations]
    return figure, table


def _share(share, out_of):
    if out_of is not None and out_of < COUNTED:
        return f"wins cells in {round(share * out_of)}\nof {out_of} test pictures"
    return f"wins cells in {'under 1' if 0 < share < 0.005 else f'{100 * share:.0f}'} %\nof test pictures"


def concept_map_strip(pictures, winners, names, title, parts=None, part_names=None):
    """Pictures above their division into concepts, and above the true parts where there are such.

    pictures: uint8 `(picture, height, width, 3)`
    winners: whole numbers `(picture, cells, cells)`, as of `Concepts.winners`; 0, background, is left grey
    names: of concepts 1, 2, ...; a concept has the same colour in every strip with the same names
    parts, part_names: the same of true parts; a part with the name of a concept has its colour, and no other has

    The table has a row per picture and concept, background included: `picture`, `kind` ("concept" or "part"), `name`
    and `share` of the picture's cells.
    """
    kinds = [("concept", "concepts", np.asarray(winners), list(names), range(len(names)))]
    if parts is not None:
        free = iter(range(len(names), len(names) + len(part_names)))
        styles = [list(names).index(name) if name in names else next(free) for name in part_names]
        kinds.append(("part", "true\nparts", np.asarray(parts), list(part_names), styles))
    for kind, _, labels, own, _ in kinds:
        if len(labels) != len(pictures) or labels.min() < 0 or labels.max() > len(own):
            raise ValueError(f"{kind}s {labels.shape} must be a map per picture, of which there are {len(pictures)}, "
                             f"with numbers from 0 to {len(own)}, one for each name")
    legend_columns = [-(-np.count_nonzero(np.unique(labels)) // 7) for _, _, labels, _, _ in kinds]
    figure, axes = plt.subplots(len(kinds) + 1, len(pictures), squeeze=False, figsize=(
        1.25 * len(pictures) + 0.9 + 1.3 * max(legend_columns), 1.3 * (len(kinds) + 1) + 0.4))
    rows = []
    for i, picture in enumerate(pictures):
        show_picture(axes[0, i], picture)
        for row, (kind, _, labels, own, styles) in zip(axes[1:], kinds):
            show_picture(row[i], _coloured(np.asarray(picture), labels[i], styles))
            shares = np.bincount(labels[i].ravel(), minlength=len(own) + 1) / labels[i].size
            rows += [{"picture": i, "kind": kind, "name": name, "share": share}
                     for name, share in zip([BACKGROUND, *own], shares)]
    label_row(axes[0, 0], "picture")
    for row, columns, (_, label, labels, own, styles) in zip(axes[1:], legend_columns, kinds):
        label_row(row[0], label)
        handles = [Patch(fc=_colour(styles[k - 1]), hatch=_hatch(styles[k - 1]), ec="w", lw=0,
                         label=textwrap.fill(own[k - 1], 18)) for k in np.unique(labels) if k]
        if handles:
            row[-1].legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=9,
                           ncols=columns, labelspacing=0.25, handlelength=1.4, columnspacing=1, borderpad=0)
    set_title(figure, title)
    return figure, pd.DataFrame(rows)


def confusion(counts, concept_names, part_names, title):
    """Of the cells of each true part, the share that each concept wins; every column sums to 100 %.

    counts: whole numbers `(concept + 1, part)`, cells by concept, background first, and true part, such as the sum of
    `asxai.benchmarks.agreement.contingency` over pictures. On the right stands each concept's share of the cells of all parts.

    The table has a row per part and concept: `part`, `concept`, `share` (NaN for a part without cells), `cells`, and
    `share_of_all`, the one on the right.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(concept_names) + 1, len(part_names)):
        raise ValueError(f"counts {counts.shape} must be {(len(concept_names) + 1, len(part_names))}: background and "
                         f"{len(concept_names)} concepts, by {len(part_names)} parts")
    counts, names = np.roll(counts, -1, axis=0), [*concept_names, BACKGROUND]  # background last: it is the exception
    with np.errstate(invalid="ignore"):  # 0 / 0: no cells, no shares
        shares, of_all = counts / counts.sum(axis=0), counts.sum(axis=1) / counts.sum()
    figure, axis = plt.subplots(figsize=(0.52 * len(part_names) + 2.8, 0.36 * len(names) + 1.7))
    # white at zero, which a palette of seaborn is not quite
    axis.imshow(np.ma.masked_invalid(shares), cmap=sns.blend_palette(["#ffffff", "#6baed6", "#08306b"], as_cmap=True),
                vmin=0, vmax=1, aspect="auto")
    for (k, p), share in np.ndenumerate(shares):
        text = "–" if np.isnan(share) else f"{100 * share:.0f}"
        axis.text(p, k, text, ha="center", va="center", fontsize=10,
                  color="w" if share > 0.5 else "0.7" if text in "–0" else "k")
    for k, share in enumerate(of_all):
        if not np.isnan(share):
            axis.text(1.03, k, f"{100 * share:.0f} %", va="center", fontsize=10, transform=axis.get_yaxis_transform())
    axis.text(1.03, 1.02, "of all\nparts", va="bottom", fontsize=9, color="0.3", transform=axis.transAxes)
    axis.set_xticks(range(len(part_names)), [textwrap.fill(name, 16) for name in part_names], rotation=90)
    axis.set_yticks(range(len(names)), [textwrap.fill(name, 22) for name in names])
    for edges, line in ((np.arange(1, len(part_names)), axis.axvline), (np.arange(1, len(names)), axis.axhline)):
        for edge in edges - 0.5:
            line(edge, color="0.9", lw=0.8)
    axis.axhline(len(names) - 1.5, color="0.3", lw=1.2)
    axis.set(xlabel="true part", ylabel="concept that wins")
    set_title(figure, f"{title}\n% of a part’s cells")
    table = pd.DataFrame([{"part": part, "concept": name, "share": shares[k, p], "cells": int(counts[k, p]),
                           "share_of_all": of_all[k]}
                          for p, part in enumerate(part_names) for k, name in enumerate(names)])
    return figure, table


def measure_dots(table):
    """A panel per measure: a dot per seed with its bootstrap interval, a diamond and a number for the mean over seeds.

    table: a row per measure, method and seed, with `measure`, `method`, `seed`, `value`, `low`, `high` (NaN where there
    is no interval), and if wanted `target` (a dashed line) and `better` ("higher" or "lower"), NaN where there is none.
    Measures and methods are drawn in the order in which they first occur. The table is given back as it is.
    """
    colours = [colour for colour in COLOURS if colour != YELLOW]
    methods, measures = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["measure"]))
    columns = min(3, len(measures))
    rows = -(-len(measures) // columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False, sharey=True,
                                figsize=(2.6 * columns + 1.6, rows * (0.34 * len(methods) + 1.1)))
    for axis in axes.flat[len(measures):]:
        axis.set_axis_off()
    for axis, measure in zip(axes.flat, measures):
        own = table[table["measure"] == measure]
        for y, method in enumerate(methods):
            _seeds(axis, own[own["method"] == method].sort_values("seed"), y, colours[y % len(colours)])
        for target in own["target"].dropna().unique() if "target" in own else ():
            axis.axvline(target, color="0.3", lw=1.2, ls=(0, (4, 2)), zorder=1)
        sides = own["better"].dropna().unique() if "better" in own else ()
        axis.set_title("\n".join([textwrap.fill(measure.replace("_", " "), 26), *(BEST_SIDE[side] for side in sides)]),
                       fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.tick_params(axis="x", labelsize=9)
        axis.grid(axis="x", alpha=0.4)
        axis.margins(x=0.08)
        if own[["value", "high"]].max(axis=None) <= 1:  # what cannot be more than 1 has no axis beyond
            axis.set_xlim(right=min(axis.get_xlim()[1], 1.03))
    axes[0, 0].set_yticks(range(len(methods)), [textwrap.fill(method.replace("_", " "), 22) for method in methods])
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)  # of all panels: they share it
    legend = "dot: a seed, with bootstrap interval; diamond and number: mean"
    if "target" in table and table["target"].notna().any():
        legend += "; dashed line: target"
    figure.supxlabel(textwrap.fill(legend, int(12 * figure.get_figwidth())), fontsize=9)
    return figure, table


def _seeds(axis, seeds, y, colour):
    """Dots, intervals and mean of one method, spread a little so that no interval hides another."""
    if y % 2:
        axis.axhspan(y - 0.5, y + 0.5, color="0.95", lw=0, zorder=0)
    seeds = seeds[seeds["value"].notna()]
    if seeds.empty:
        axis.text(0.5, y, "not measured", transform=axis.get_yaxis_transform(), ha="center", va="center", fontsize=8,
                  color="0.5", bbox={"fc": "w", "lw": 0, "pad": 1})
        return
    heights = y + np.linspace(-0.25, 0.25, len(seeds) + 2)[1:-1]
    axis.hlines(heights, seeds["low"], seeds["high"], color=colour, lw=1.2, alpha=0.8, zorder=2)
    axis.plot(seeds["value"], heights, "o", color=colour, ms=4, zorder=3)
    mean = seeds["value"].mean()
    axis.plot(mean, y, "D", mfc="w", mec="k", ms=6, mew=1.2, zorder=4)
    axis.text(1.02, y, f"{mean:#.3g}".rstrip("."), transform=axis.get_yaxis_transform(), va="center", fontsize=9)


def _coloured(picture, labels, styles):
    """The picture in light grey; where labels are k > 0, in colour styles[k - 1], with white lines between labels."""
    height, width = picture.shape[:2]
    down, across = (np.arange(side) * cells // side for side, cells in zip((height, width), labels.shape))
    labels = labels[np.ix_(down, across)]
    grey = 0.5 * (picture @ [0.299, 0.587, 0.114])[..., None] + 110
    result = np.broadcast_to(grey, picture.shape).copy()
    y, x = np.mgrid[:height, :width]
    stripe = max(2, height // 16)
    for k in np.unique(labels[labels > 0]):
        own, hatch = labels == k, _hatch(styles[k - 1])
        result[own] = (0.3 * grey + 0.7 * 255 * np.array(to_rgb(_colour(styles[k - 1]))))[own]
        if hatch:
            result[own & ((x + y if hatch == HATCHES[1] else y) % stripe < stripe / 3)] = 255
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    result[maximum_filter(edge, size=max(1, height // 110))] = 255
    return result.clip(0, 255).astype(np.uint8)


def _colour(style):
    return COLOURS[style % len(COLOURS)]


def _hatch(style):
    return HATCHES[style // len(COLOURS) % len(HATCHES)]
