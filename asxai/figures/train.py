"""The figures of the notebooks. Each function gives `(figure, table)`: the table holds the numbers that were drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch

from ..concepts.masks import peak_box, semantic_masks, upsample
from ..data.augmentation import augment
from ..data.features import seeded
from ..data.pictures import to_batch
from ..model.geometry import subspace_distances
from .sheet import MOST_CLASSES, label_row, masked_picture, show_picture
from .style import OUTLINE

STAGE_COLOURS = {"warm-up": "#e8eef7", "joint": "#ffffff", "replacement": "#fbe3d0", "last layer": "#e3f1e3"}


def data_set_sheet(data, size, per_class=None):
    """A row of training pictures per class, spread over its finer labels; the table counts pictures per split.

    Of many classes the first are shown, see `MOST_CLASSES`.
    """
    shown = data.class_names[:MOST_CLASSES]
    per_class = per_class or (6 if len(shown) <= 6 else 4)
    figure, axes = plt.subplots(len(shown), per_class, squeeze=False, figsize=(1.25 * per_class + 1, 1.3 * len(shown)))
    for c, name in enumerate(shown):
        members = np.flatnonzero(data.train.labels == c)
        if data.train.fine is not None:  # stable: one picture of each finer label before the second of any
            fine = pd.Series([data.train.fine[i] for i in members])
            members = members[np.argsort(fine.groupby(fine).cumcount().to_numpy(), kind="stable")]
        for axis, i in zip(axes[c], members):
            picture = to_batch([data.train.paths[i]], size)[0].permute(1, 2, 0).numpy()
            show_picture(axis, picture, data.train.fine[i] if data.train.fine is not None else "")
        for axis in axes[c][len(members):]:
            axis.set_axis_off()
        label_row(axes[c, 0], name)
    counts = {name: split.class_counts(len(data.class_names)) for name, split in data.splits.items()}
    table = pd.DataFrame([{"class": name, **{split: int(n[c]) for split, n in counts.items()}}
                          for c, name in enumerate(data.class_names)])
    return figure, table


def class_strip(data, size, columns=8):
    """One test picture per class, side by side; the table names the files."""
    shown = data.class_names[:4 * columns]
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, min(columns, len(shown)), squeeze=False,
                                figsize=(1.5 * min(columns, len(shown)), 1.7 * rows))
    firsts = [int(np.flatnonzero(data.test.labels == c)[0]) for c in range(len(shown))]
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, name, i in zip(axes.flat, shown, firsts):
        show_picture(axis, to_batch([data.test.paths[i]], size)[0].permute(1, 2, 0).numpy(), name)
    return figure, pd.DataFrame({"class": shown, "picture": [data.test.paths[i].name for i in firsts]})


def augmentation_strip(data, size, seed, count=6):
    """A training picture and `count` augmented views of it; the table gives each view's mean pixel difference."""
    picture = to_batch([data.train.paths[0]], size)
    views = torch.cat([picture, augment(picture.expand(count, -1, -1, -1), seeded("strip", seed))])
    figure, axes = plt.subplots(1, count + 1, figsize=(1.4 * (count + 1), 1.7))
    for i, axis in enumerate(axes):
        show_picture(axis, views[i].permute(1, 2, 0).numpy(), f"view {i}" if i else "as it is")
    difference = (views.float() - picture.float()).abs().mean(dim=(1, 2, 3)) / 255
    return figure, pd.DataFrame({"view": range(count + 1), "mean_absolute_difference": difference.numpy()})


def training_curves(log, pictures=None):
    """Loss terms, validation accuracy and orthogonality over the steps of training, stages shaded.

    pictures: how many there are for validation, so that the axis of accuracy has room for a few errors
    """
    figure, axes = plt.subplots(3, 1, figsize=(8, 7.5), sharex=True, height_ratios=[2, 1, 1])
    step = np.arange(len(log))
    for axis in axes:
        for i, stage in enumerate(log["stage"]):
            axis.axvspan(i - 0.5, i + 0.5, color=STAGE_COLOURS[stage], lw=0)
        for i in np.flatnonzero(log["cycle"].diff() > 0):
            axis.axvline(i - 0.5, color="0.6", lw=1)
    terms = [term for term in ("cross_entropy", "aggregation", "separation", "orthogonality", "subspace", "balance",
                               "guide") if term in log]
    for term in terms:
        axes[0].plot(step, log[term], marker="o", ms=3, label=term.replace("_", " "))
    axes[0].set_yscale("symlog", linthresh=1)
    axes[0].set_ylabel("loss term, unweighted\n(linear below 1)")
    axes[0].legend(ncols=len(terms), fontsize=8, columnspacing=1, handlelength=1.4, frameon=False, loc="lower left",
                   bbox_to_anchor=(0, 1))  # over no curve
    axes[1].plot(step, 100 * log["validation_accuracy"], marker="o", ms=3, color="0.2")
    axes[1].set_ylim(min(_lowest_percent(pictures), 100 * log["validation_accuracy"].min() - 1), 100.5)
    axes[1].set_ylabel("validation\naccuracy, %")
    axes[2].plot(step, log["within_class_cosine"], marker="o", ms=3, color="0.2")
    axes[2].set_ylabel("mean |cosine|\ninside a class")
    axes[2].set(xlabel="step of training; a vertical line starts the next cycle", xlim=(-0.5, len(log) - 0.5))
    handles = [plt.Rectangle((0, 0), 1, 1, fc=colour, ec="0.7") for colour in STAGE_COLOURS.values()]
    figure.legend(handles, STAGE_COLOURS, ncols=4, loc="outside upper center", fontsize=9, title="stage")
    return figure, log.assign(step=step)[["step", "cycle", "stage", "epoch", *terms, "validation_loss",
                                          "validation_accuracy", "within_class_cosine", "effective_rank"]]


def _lowest_percent(pictures):
    """Where an axis of accuracy of so many pictures begins at the latest: no single one must look big."""
    return min(94.5, 100 - 300 / pictures) if pictures else 94.5


def accuracy_dots(table, pictures=None):
    """One dot per seed and model. table: columns `model`, `seed`, `accuracy` in [0, 1], and `note`.

    pictures: how many accuracy is of, see `training_curves`
    """
    figure, axis = plt.subplots(figsize=(7, 0.55 * table["model"].nunique() + 1))
    shown = table.assign(percent=100 * table["accuracy"])
    sns.stripplot(shown, x="percent", y="model", hue="model", jitter=False, alpha=0.6, size=9, ax=axis, legend=False)
    for i, (model, group) in enumerate(shown.groupby("model", sort=False)):
        axis.annotate(f"{group['percent'].mean():.1f}", (group["percent"].mean(), i), xytext=(0, 9),
                      textcoords="offset points", ha="center", fontsize=9)
    axis.set(xlabel="accuracy on test pictures, % (number: mean over seeds)", ylabel="")
    axis.grid(axis="x", alpha=0.4)
    axis.margins(y=0.3)
    axis.set_xlim(min(_lowest_percent(pictures), shown["percent"].min() - 2), 100.5)
    return figure, table


def orthogonality_matrices(before, after, class_names):
    """|cosine| between all basis vectors of all classes, before and after replacement.

    before, after: `(class, basis, channel)`. Squares on the diagonal are classes; inside them off-diagonal cells
    should be white. The table has one row per pair of classes: the mean |cosine| between their vectors, without those
    of a vector with itself. Of many classes the first are used, see `MOST_CLASSES`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 5))
    class_names = class_names[:MOST_CLASSES]
    rows = []
    for axis, (title, basis) in zip(axes, (("before replacement", before), ("after replacement by patches", after))):
        basis = torch.as_tensor(basis).detach().cpu().double()[:len(class_names)]
        unit = torch.nn.functional.normalize(basis, dim=2).flatten(0, 1)
        cosine = (unit @ unit.T).abs().numpy()
        vectors = basis.shape[1]
        image = axis.imshow(cosine, cmap="Blues", vmin=0, vmax=1)
        middle = np.arange(len(class_names)) * vectors + (vectors - 1) / 2
        axis.set_xticks(middle, class_names, rotation=90 if len(class_names) > 3 else 0)
        axis.set_yticks(middle, class_names)
        axis.set_title(title)
        for edge in np.arange(1, len(class_names)) * vectors - 0.5:
            axis.axhline(edge, color="0.4", lw=0.6)
            axis.axvline(edge, color="0.4", lw=0.6)
        off = np.ma.array(cosine, mask=np.eye(len(cosine), dtype=bool))
        for a, first in enumerate(class_names):
            for b, second in enumerate(class_names):
                block = off[a * vectors:(a + 1) * vectors, b * vectors:(b + 1) * vectors]
                rows.append({"when": title, "class": first, "other": second,
                             "mean_absolute_cosine": float(block.mean())})
    figure.colorbar(image, ax=axes, label="|cosine| between two basis vectors", shrink=0.7)
    return figure, pd.DataFrame(rows)


def distance_matrix(basis, class_names):
    """Projection distance between class subspaces as a share of the largest possible, see `subspace_distances`.

    A single distance, of two classes, needs no scale of colours: its number is written.
    """
    distance = subspace_distances(basis)
    many = len(class_names) > MOST_CLASSES
    side = 9 if many else max(3.6, 0.55 * len(class_names) + 1.8)
    figure, axis = plt.subplots(figsize=(side + 1, side))
    ticks = "auto" if many else class_names
    label, scale = "distance / largest possible", len(class_names) > 2
    itself = np.eye(len(distance), dtype=bool)  # left blank: zeros there would use up the colours
    least = np.floor(10 * distance[~itself].min()) / 10
    sns.heatmap(distance, mask=itself, ax=axis, vmin=least, vmax=1, cmap="viridis", annot=not many, fmt=".2f",
                square=True, xticklabels=ticks, yticklabels=ticks, annot_kws={"fontsize": 8},
                cbar=scale, cbar_kws={"label": label, "shrink": 0.8})
    if not scale:
        axis.set_title(label, fontsize=10)
    axis.tick_params(axis="y", rotation=0)
    axis.tick_params(axis="x", rotation=90 if len(class_names) > 3 else 0)
    table = pd.DataFrame([{"class": a, "other": b, "distance": distance[i, j]} for i, a in enumerate(class_names)
                          for j, b in enumerate(class_names) if i < j])
    return figure, table


def strongest(study, class_name, count):
    """Rows of the prototype table of a class that tell it apart best, with the column `strength`.

    Strength is the last-layer weight times the mean similarity on validation pictures of the class less that on all
    others: a vector that fires on the background of every picture has none. A patch that several basis vectors became
    is listed once, as its strongest vector.
    """
    c, validation = study.label_of(class_name), study.data.validation
    similarity = study.similarity(validation)[:, c]  # (picture, basis)
    member = torch.from_numpy(validation.labels == c)
    gap = similarity[member].mean(dim=0) - similarity[~member].mean(dim=0)
    table = study.prototypes[study.prototypes["class"] == class_name].copy()
    table["strength"] = table["weight"].to_numpy() * gap.numpy()
    table = table.sort_values("strength", ascending=False, kind="stable")
    return table.drop_duplicates(["picture", "row", "column"]).head(count)


def prototype_sheet(study, class_name, count=6, percentile=95.0):
    """Figure 2a for one class: its strongest prototypes, from source picture to irregular mask.

    Rows: the patch that the vector became, in its picture; the patch alone; the activation map on that picture; the
    irregular mask. The table lists the vectors with class, picture, cell, square in pixels and strength.
    """
    c, size = study.label_of(class_name), study.config.size
    table = strongest(study, class_name, count)
    sources = [study.data.train.paths[i] for i in table["picture"]]
    pictures, maps = study.pictures(sources), study.activate(sources).maps[:, c]  # (picture, basis, height, width)
    maps = maps[torch.arange(len(table)), torch.tensor(table["basis"].tolist())]
    fine, masks = upsample(maps, size).numpy(), semantic_masks(maps, size, percentile).numpy()
    figure, axes = plt.subplots(4, len(table), squeeze=False, figsize=(1.55 * len(table) + 1.3, 6.6))
    boxes = [_square(peak_box(mask, activation), size) for mask, activation in zip(masks, fine)]
    for k, (top, left, bottom, right) in enumerate(boxes):
        show_picture(axes[0, k], pictures[k], f"vector {table['basis'].iloc[k]}\nstrength {table['strength'].iloc[k]:.2f}")
        axes[0, k].add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, ec=OUTLINE, lw=2))
        show_picture(axes[1, k], pictures[k][top:bottom, left:right])
        show_picture(axes[2, k], pictures[k])
        shown = axes[2, k].imshow(fine[k], alpha=0.6, vmin=0, vmax=1)
        masked_picture(axes[3, k], pictures[k], masks[k])
    labels = ("source\npicture", "patch", "activation\nmap", f"mask, {percentile:g}th\npercentile")
    for axis, text in zip(axes[:, 0], labels):
        label_row(axis, text)
    figure.colorbar(shown, ax=axes[2], label="cosine", shrink=0.9)
    figure.suptitle(f"Strongest prototypes of class “{class_name}”", fontsize=11)
    table[["top", "left", "bottom", "right"]] = boxes
    return figure, table


def _square(box, size):
    """The smallest square around a box of a picture of `size` pixels a side, moved inwards at the edges."""
    top, left, bottom, right = box
    side = max(bottom - top, right - left)
    top, left = (int(np.clip(middle - side // 2, 0, size - side)) for middle in
                 ((top + bottom) // 2, (left + right) // 2))
    return top, left, top + side, left + side


def new_picture_sheet(study, class_name, count=3, vectors=6, percentile=95.0):
    """The strongest prototypes of a class on test pictures of that class: activation map above mask, best cosine."""
    c, size = study.label_of(class_name), study.config.size
    chosen, test = strongest(study, class_name, vectors), study.data.test
    sources = [test.paths[i] for i in np.flatnonzero(test.labels == c)[:count]]
    pictures, maps = study.pictures(sources), study.activate(sources).maps[:, c]
    maps = maps[:, torch.tensor(chosen["basis"].tolist())]  # (picture, basis, height, width)
    fine, masks = upsample(maps, size).numpy(), semantic_masks(maps, size, percentile).numpy()
    figure, axes = plt.subplots(2 * len(sources), len(chosen) + 1, squeeze=False,
                                figsize=(1.4 * (len(chosen) + 1), 3 * len(sources) + 0.7))
    rows = []
    for i, picture in enumerate(pictures):
        show_picture(axes[2 * i, 0], picture, "test picture" if i == 0 else "")
        axes[2 * i + 1, 0].set_axis_off()
        for k, vector in enumerate(chosen["basis"]):
            best = float(maps[i, k].max())
            show_picture(axes[2 * i, k + 1], picture)
            axes[2 * i, k + 1].imshow(fine[i, k], alpha=0.6, vmin=0, vmax=1)
            axes[2 * i, k + 1].set_title(f"vector {vector}\n{best:.2f}" if i == 0 else f"{best:.2f}", fontsize=9)
            masked_picture(axes[2 * i + 1, k + 1], picture, masks[i, k])
            rows.append({"class": class_name, "picture": sources[i].name, "basis": vector, "best_cosine": best})
    figure.suptitle(f"Where the prototypes of “{class_name}” fire on pictures never seen (number: best cosine)",
                    fontsize=11)
    return figure, pd.DataFrame(rows)


def global_similarity(study, source, truth=""):
    """Global similarity of one picture with every class (section 2.2): bars over classes beside the picture.

    A class's score is its logit: the best cosine of every basis vector times its last-layer weight, summed. Bars are
    split into what the class's own vectors add and what other classes' vectors take away or add.
    """
    out = study.activate([source])
    weights = study.model.last_layer.weight.detach().cpu().unflatten(1, study.model.basis_vectors.shape[:2])
    part = (weights * out.similarity[0]).sum(dim=2)  # (class scored, class of the vectors)
    own, others = part.diagonal(), part.sum(dim=1) - part.diagonal()
    table = pd.DataFrame({"class": study.class_names, "own_vectors": own, "other_vectors": others,
                          "score": out.logits[0], "probability": out.logits[0].double().softmax(dim=0)})
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
    axes[1].legend(ncols=3, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)  # over no bar
    return figure, table
