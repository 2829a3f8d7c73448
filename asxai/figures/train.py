"""The figures of notebook 01: the data set, training and accuracy. Also what a logit is made of, for notebook 02."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import SymmetricalLogLocator

from ..data.augmentation import augment
from ..data.datasets import DataSet
from ..data.features import seeded
from ..data.pictures import to_batch
from .dots import dot_plot
from .sheet import heatmap, picture_grid, show_picture
from .style import MOST_CLASSES, Drawn

STAGE_COLOURS = {"warm-up": "#e8eef7", "joint": "#ffffff", "replacement": "#fbe3d0", "last layer": "#e3f1e3"}
TERMS = ("cross_entropy", "aggregation", "separation", "orthogonality", "subspace", "balance", "guide")
SIDE_BY_SIDE = 8  # classes of a strip
VIEWS = 6
OVER = {"fontsize": 8, "loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False}  # a legend over no line or bar


def data_set_sheet(data: DataSet, size: int) -> Drawn:
    """A row of training pictures per class, spread over its finer labels; the table counts pictures per split."""
    classes, rows, names = data.class_names[:MOST_CLASSES], [], []
    for c in range(len(classes)):
        members = np.flatnonzero(data.train.labels == c)
        if data.train.fine is not None:  # stable: one picture of each finer label before the second of any
            fine = pd.Series([data.train.fine[i] for i in members])
            members = members[np.argsort(fine.groupby(fine).cumcount().to_numpy(), kind="stable")]
        members = members[: 6 if len(classes) <= 6 else 4]
        rows.append(_pictures([data.train.paths[i] for i in members], size))
        names.append([data.train.fine[i] for i in members] if data.train.fine is not None else [])
    figure, _ = picture_grid(rows, classes, above=names)
    counts = {name: split.class_counts(len(data.class_names)) for name, split in data.splits.items()}
    return figure, pd.DataFrame({"class": data.class_names} | counts)


def class_strip(data: DataSet, size: int) -> Drawn:
    """One test picture per class, side by side; the table names the files."""
    classes = data.class_names[: 4 * SIDE_BY_SIDE]
    paths = [data.test.paths[np.flatnonzero(data.test.labels == c)[0]] for c in range(len(classes))]
    pictures, starts = _pictures(paths, size), range(0, len(classes), SIDE_BY_SIDE)
    rows, names = ([own[i : i + SIDE_BY_SIDE] for i in starts] for own in (pictures, classes))
    figure, _ = picture_grid(rows, [""] * len(rows), above=names, size=(1.5, 1.7))
    return figure, pd.DataFrame({"class": classes, "picture": [path.name for path in paths]})


def augmentation_strip(data: DataSet, size: int, seed: int) -> Drawn:
    """A training picture and augmented views of it; the table gives each view's mean pixel difference, in [0, 1]."""
    picture = to_batch([data.train.paths[0]], size)
    views = torch.cat([picture, augment(picture.expand(VIEWS, -1, -1, -1), seeded("strip", seed))])
    names = ["as it is", *(f"view {i}" for i in range(1, VIEWS + 1))]
    figure, _ = picture_grid([views.permute(0, 2, 3, 1).numpy()], [""], above=[names], size=(1.4, 1.6))
    difference = (views.float() - picture.float()).abs().mean(dim=(1, 2, 3)) / 255
    return figure, pd.DataFrame({"view": range(VIEWS + 1), "mean_absolute_difference": difference.numpy()})


def _pictures(paths, size):
    """uint8 `(picture, size, size, 3)`."""
    return to_batch(paths, size).permute(0, 2, 3, 1).numpy()


def training_curves(log: pd.DataFrame, pictures: int) -> Drawn:
    """Loss terms, validation accuracy and orthogonality over the steps of training, stages shaded.

    pictures: how many there are for validation, so that the axis of accuracy has room for a few errors
    """
    figure, axes = plt.subplots(3, 1, figsize=(8, 7.5), sharex=True, height_ratios=[2, 1, 1])
    log = log.assign(step=range(len(log)))
    terms, accuracy = [term for term in TERMS if term in log], 100 * log["validation_accuracy"]
    for axis in axes:
        for i, stage in enumerate(log["stage"]):
            axis.axvspan(i - 0.5, i + 0.5, color=STAGE_COLOURS[stage], lw=0)
        for i in np.flatnonzero(log["cycle"].diff() > 0):
            axis.axvline(i - 0.5, color="0.6", lw=1)
    for term in terms:
        axes[0].plot(log["step"], log[term], marker="o", ms=3, label=term.replace("_", " "))
    axes[0].set_yscale("symlog", linthresh=1)
    axes[0].yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1, subs=(1, 2, 5)))
    axes[0].yaxis.set_major_formatter(lambda y, _: f"{y:g}".replace("-", "−"))  # and not 10 to the power of 0
    axes[0].set_ylabel("loss term, unweighted\n(linear below 1)")
    axes[0].legend(ncols=len(terms), columnspacing=1, handlelength=1.4, **OVER)
    axes[1].plot(log["step"], accuracy, marker="o", ms=3, color="0.2")
    axes[1].set(ylim=(min(_lowest_percent(pictures), accuracy.min() - 1), 100.5), ylabel="validation\naccuracy, %")
    axes[2].plot(log["step"], log["within_class_cosine"], marker="o", ms=3, color="0.2")
    axes[2].set(ylabel="mean |cosine|\ninside a class", xlim=(-0.5, len(log) - 0.5))
    axes[2].set_xlabel("step of training; a vertical line starts the next cycle")
    handles = [plt.Rectangle((0, 0), 1, 1, fc=colour, ec="0.7") for colour in STAGE_COLOURS.values()]
    figure.legend(handles, STAGE_COLOURS, ncols=4, loc="outside upper center", title="stage")
    measures = ["validation_loss", "validation_accuracy", "within_class_cosine", "effective_rank"]
    return figure, log[["step", "cycle", "stage", "epoch", *terms, *measures]]


def _lowest_percent(pictures):
    """Where an axis of accuracy of so many pictures begins at the latest: no single one must look big."""
    return min(94.5, 100 - 300 / pictures)


def accuracy_dots(table: pd.DataFrame, pictures: int) -> Drawn:
    """One dot per seed and model. table: columns `model`, `seed`, `accuracy` in [0, 1]; pictures: how many it is of."""
    rows = table.rename(columns={"model": "method"}).assign(value=100 * table["accuracy"])
    rows["measure"] = "accuracy on test pictures, %"
    figure, _ = dot_plot(rows, "", "dot: a seed; diamond and number: mean", "{:.1f}", width=5)
    figure.axes[0].set_xlim(min(_lowest_percent(pictures), rows["value"].min() - 2), 100.5)
    return figure, table


def orthogonality_matrices(before: torch.Tensor, after: torch.Tensor, class_names) -> Drawn:
    """|cosine| between all basis vectors of all classes, before and after replacement.

    before, after: `(class, basis, channel)`. Squares on the diagonal are classes; inside them off-diagonal cells
    should be white. The table has one row per pair of classes: the mean |cosine| between their vectors, without those
    of a vector with itself. Of many classes the first are used, also in the table.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 5))
    class_names, rows = class_names[:MOST_CLASSES], []
    count, vectors = len(class_names), before.shape[1]
    for axis, (title, basis) in zip(axes, (("before replacement", before), ("after replacement by patches", after))):
        unit = torch.nn.functional.normalize(basis[:count].detach().cpu().double(), dim=2).flatten(0, 1)
        cosine = (unit @ unit.T).abs().numpy()
        image = heatmap(axis, cosine, [], [], cmap="Blues", vmin=0, vmax=1, linewidth=0)
        axis.set_xticks((np.arange(count) + 0.5) * vectors, class_names, rotation=90 if count > 3 else 0)
        axis.set_yticks((np.arange(count) + 0.5) * vectors, class_names, rotation=0)
        axis.set(title=title, aspect="equal")
        axis.hlines(np.arange(count + 1) * vectors, 0, count * vectors, color="0.4", lw=0.8)
        axis.vlines(np.arange(count + 1) * vectors, 0, count * vectors, color="0.4", lw=0.8)
        off = np.ma.array(cosine, mask=np.eye(len(cosine), dtype=bool))
        for (a, first), (b, second) in itertools.product(enumerate(class_names), repeat=2):
            block = off[a * vectors : (a + 1) * vectors, b * vectors : (b + 1) * vectors]
            rows.append({"when": title, "class": first, "other": second, "mean_absolute_cosine": float(block.mean())})
    figure.colorbar(image, ax=axes, label="|cosine| between two basis vectors", shrink=0.7)
    return figure, pd.DataFrame(rows)


def logit_shares(study, source, truth=""):
    """What the logits of one picture are made of: bars over classes beside the picture.

    Section 2.2 calls them the global cosine similarity: the best cosine of every basis vector times its last-layer
    weight, summed. Bars are split into what the class's own vectors add and what other classes' vectors take away or
    add. The histogram of Figure 6 is another quantity, see `asxai.explain.similarity`.
    """
    out = study.activate([source])
    weights = study.model.last_layer.weight.detach().cpu().unflatten(1, study.model.basis_vectors.shape[:2])
    part = (weights * out.similarity[0]).sum(dim=2)  # (class scored, class of the vectors)
    own, others = part.diagonal(), part.sum(dim=1) - part.diagonal()
    values = {"own_vectors": own, "other_vectors": others, "score": out.logits[0]}
    table = pd.DataFrame({"class": study.class_names} | values)
    table["probability"] = out.logits[0].double().softmax(dim=0)
    shown = table.nlargest(MOST_CLASSES, "score") if len(table) > MOST_CLASSES else table
    figure, axes = plt.subplots(1, 2, figsize=(8.5, max(2.6, 0.34 * len(shown) + 1)), width_ratios=[1, 2])
    show_picture(axes[0], study.pictures([source])[0], truth)
    y = np.arange(len(shown))
    axes[1].barh(y, shown["own_vectors"], color="C0", label="own vectors")
    beside = shown["own_vectors"].where(shown["own_vectors"] * shown["other_vectors"] > 0, 0)  # same sign: stack them
    axes[1].barh(y, shown["other_vectors"], left=beside, color="C1", label="other classes' vectors")
    axes[1].plot(shown["score"], y, "D", color="k", ms=5, label="score")
    axes[1].set_yticks(y, shown["class"])
    axes[1].invert_yaxis()
    axes[1].axvline(0, color="0.3", lw=0.8)
    axes[1].set(xlabel="similarity times weight, summed")
    axes[1].legend(ncols=3, **OVER)
    return figure, table
