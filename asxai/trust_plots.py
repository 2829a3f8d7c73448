"""Figures of sets of pictures and of parts, from arrays and tables alone. Each function gives `(figure, table)`."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .concept_plots import _title
from .plots import _row_label, _show


def picture_strip(sets, columns=8, title=""):
    """Some pictures of several sets, a row each; sets: name -> uint8 `(picture, 3, size, size)`.

    The table has a row per set: `set`, `pictures` (how many there are), `shown`.
    """
    if not sets:
        raise ValueError("sets are empty; give at least one set of pictures")
    columns = min(columns, max(len(own) for own in sets.values()))
    figure, axes = plt.subplots(len(sets), columns, squeeze=False, figsize=(1.25 * columns + 1.4, 1.3 * len(sets)))
    rows = []
    for row, (name, pictures) in zip(axes, sets.items()):
        for axis, picture in zip(row, pictures):
            _show(axis, np.asarray(picture).transpose(1, 2, 0))
        for axis in row[len(pictures):]:
            axis.set_axis_off()
        _row_label(row[0], textwrap.fill(name, 14))
        rows.append({"set": name, "pictures": len(pictures), "shown": min(columns, len(pictures))})
    _title(figure, title)
    return figure, pd.DataFrame(rows)


def part_matrix(table, title="How often a part's own parent is found, among all classes"):
    """Shares of right answers, hybrids down and parts across, with the class that is found most often in each cell.

    table: a row per hybrid and part with `hybrid`, `part`, `parent`, `pictures`, `right` in [0, 1] and `most often`, as
        of `asxai.strangers.parts_summary`. It is given back as it is.
    """
    missing = {"hybrid", "part", "parent", "right", "most often"} - set(table)
    if missing or not len(table):
        raise ValueError(f"table lacks {', '.join(sorted(missing)) or 'rows'}; give what parts_summary gave")
    hybrids, parts = list(dict.fromkeys(table["hybrid"])), list(dict.fromkeys(table["part"]))
    share = np.full((len(hybrids), len(parts)), np.nan)
    figure, axis = plt.subplots(figsize=(1.15 * len(parts) + 1.6, 0.72 * len(hybrids) + 1.2))
    for row in table.to_dict("records"):
        y, x = hybrids.index(row["hybrid"]), parts.index(row["part"])
        share[y, x] = row["right"]
        found = row["parent"] if row["most often"] == row["parent"] else f"{row['parent']}\n→ {row['most often']}"
        axis.text(x, y, f"{100 * row['right']:.0f} %\n{found}", ha="center", va="center", fontsize=8,
                  color="w" if row["right"] > 0.6 else "k")
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(parts)), parts)
    axis.set_yticks(range(len(hybrids)), hybrids)
    axis.tick_params(length=0)
    axis.set_facecolor("0.93")
    figure.colorbar(image, ax=axis, label="share of pictures", fraction=0.025)
    _title(figure, title)
    return figure, table
