"""The figures of notebook 07: how alike the concepts of an arm are, and how arms differ from the reference."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .dots import dot_plot
from .sheet import first_of, heatmap, label_row, picture_grid, set_title, signed, wrapped
from .style import BEST_SIDE, COLOURS, DROP_COLOURS, MOST_NUMBERS, OTHER, OURS, Drawn

MOST_ROWS = 6  # classes of which matrices and trait pictures are shown; tables hold all
LEAST_RANGE = 0.01  # of differences, either way: what is smaller shall look small
NO_DIFFERENCE = "no difference seen, or one seed"
VERDICTS = {
    "better": {"color": COLOURS[2], "marker": "^"},
    "worse": {"color": OURS, "marker": "v"},
    NO_DIFFERENCE: {"color": "0.45", "marker": "o"},
    "undecided": {"color": "0.45", "marker": "D"},
}
VECTOR_COSINES = {  # by the name of the measure: what it is, and how it looks
    "rms cosine before": ("before replacement", {"color": OTHER, "marker": "o", "fillstyle": "none", "mec": OTHER}),
    "rms cosine": ("after", {"color": OURS, "marker": "o"}),
    "lower bound": ("lower bound (M > D)", {"color": "k", "marker": "|", "ms": 16, "mec": "k", "mew": 2}),
}


def concept_matrices(cosines, names, arms, class_names, title: str) -> Drawn:
    """Figure 7a, b: how alike the concepts of a class are, a row per class and a column per arm; white is orthogonal.

    cosines: per arm and class numbers `(concept, concept)` in [-1, 1], as of `asxai.benchmarks.concept_cosines`
    names: per arm and class the names of the concepts

    Above each matrix stands the mean |cosine| off its diagonal. The table has a row per arm, class and pair.
    """
    shown, most = min(MOST_ROWS, len(class_names)), max(len(row) for labels in names for row in labels)
    numbers = most <= MOST_NUMBERS
    letters = min(16, max(len(name) for labels in names for row in labels for name in row))
    side = (0.28 if numbers else 0.2) * most + 0.065 * letters + 0.35  # no wider, or a page shows it with small letters
    inches = max(5.0, len(arms) * side + 1.0), max(2.7, shown * (side + 0.3) + 0.4)
    figure, axes = plt.subplots(shown, len(arms), squeeze=False, figsize=inches)
    for c, a in np.ndindex(axes.shape):
        itself = np.eye(len(cosines[a][c]), dtype=bool)
        drawn, labels = np.where(itself, np.nan, cosines[a][c]), [wrapped(name, 16, 1) for name in names[a][c]]
        texts = np.vectorize(signed)(drawn, 1) if numbers else None
        image = heatmap(axes[c, a], drawn, labels, labels, texts, 8, cmap=DROP_COLOURS, vmin=-1, vmax=1)
        mean = f"mean |cosine| {np.nanmean(np.abs(drawn)):.2f}" if len(drawn) > 1 else "one concept"
        axes[c, a].set_title(mean if c else f"{wrapped(arms[a], 24)}\n{mean}")
        label_row(axes[c, a], "" if a else wrapped(class_names[c], 14))
    bar = {"shrink": 0.6, "aspect": 30, "ticks": [-1, -0.5, 0, 0.5, 1]}
    figure.colorbar(image, ax=axes, label="cosine of mean features", **bar)
    set_title(figure, title + first_of(shown, len(class_names), "classes"))
    rows = [
        (arm, class_name, row[i], row[j], float(matrix[i][j]))
        for arm, *of_arm in zip(arms, cosines, names)
        for class_name, matrix, row in zip(class_names, *of_arm)
        for i, j in itertools.combinations(range(len(row)), 2)
    ]
    return figure, pd.DataFrame(rows, columns=["arm", "class", "concept", "other", "cosine"])


def trait_grid(pictures, names, overlaps, arms, class_names, title: str) -> Drawn:
    """Figure 7c: what one concept of each arm has in common, a row per arm and a column per class.

    pictures: uint8 `(class, arm, height, width, 3)`; names: of those concepts, `(class, arm)`; overlaps: of their cells
    with the reference's, the first row, `(class, arm)` in [0, 1]

    The table has a row per class and arm.
    """
    shown = range(min(MOST_ROWS, len(class_names)))
    rows = [[pictures[c][a] for c in shown] for a in range(len(arms))]
    share = lambda c, a: f", {100 * overlaps[c][a]:.0f} % shared" if a else ""
    below = [[wrapped(names[c][a] + share(c, a), 24) for c in shown] for a in range(len(arms))]
    above = [[wrapped(name, 18) for name in class_names]]
    title += first_of(len(shown), len(class_names), "classes")
    figure, _ = picture_grid(rows, [wrapped(arm, 14) for arm in arms], title, above, below, size=(1.6, 1.75))
    each = np.ndindex(len(class_names), len(arms))
    rows = [(class_names[c], arms[a], names[c][a], overlaps[c][a]) for c, a in each]
    return figure, pd.DataFrame(rows, columns=["class", "arm", "concept", "overlap"])


def difference_dots(table: pd.DataFrame, better: dict, title: str) -> Drawn:
    """Differences to the reference with their intervals, a panel per measure and a row per arm.

    table: of `asxai.benchmarks.ablation.paired` with a column `verdict`; given back as it is
    better: of each measure that is drawn, in their order, which side is better

    Green and upwards is better than the reference, orange and downwards worse, grey has 0 in an interval (thick:
    bootstrap, thin: Student's; a diamond if only one has) or has none.
    """
    renamed = {"arm": "method", "difference": "value", "t_low": "wide_low", "t_high": "wide_high"}
    rows = table.rename(columns=renamed).set_index("measure").loc[[m for m in better if m in set(table["measure"])]]
    rows = rows.reset_index().assign(better=lambda own: own["measure"].map(better))
    rows["group"] = [_judged(verdict, better[m]) for verdict, m in zip(rows["verdict"], rows["measure"])]
    figure, _ = dot_plot(rows, title, styles=VERDICTS, columns=4, width=2.3)
    for axis in figure.axes:
        axis.axvline(0, color="0.3", lw=1, zorder=1)
        low, high = axis.get_xlim()
        axis.set_xlim(min(low, -LEAST_RANGE), max(high, LEAST_RANGE))
    return figure, table


def _judged(verdict, better):
    if verdict in BEST_SIDE:
        return "better" if verdict == better else "worse"
    return verdict if verdict in VERDICTS else NO_DIFFERENCE


def cosine_dots(table: pd.DataFrame, title: str) -> Drawn:
    """Root mean square cosine within a class, before and after replacement, and the bound below which none can be.

    table: of `asxai.benchmarks.ablation.measure_arms`; given back without other measures, and arms without vectors
    """
    table = table.loc[table["measure"].isin(VECTOR_COSINES), ["arm", "seed", "measure", "value"]].reset_index(drop=True)
    bound = table["measure"] == "lower bound"
    rows = table[~bound | (table["value"] > 0) & ~table.duplicated(["arm", "measure"])]
    rows = rows.rename(columns={"arm": "method"}).sort_values(
        "measure", key=lambda names: names.map(list(VECTOR_COSINES).index), kind="stable"
    )
    rows["group"] = rows["measure"].map({name: words for name, (words, _) in VECTOR_COSINES.items()})
    rows["measure"] = "root mean square cosine of two vectors of a class; a dot is a seed"
    figure, _ = dot_plot(rows, title, styles=dict(VECTOR_COSINES.values()), width=7)
    figure.axes[0].set_xlim(left=min(0, figure.axes[0].get_xlim()[0]))
    return figure, table
