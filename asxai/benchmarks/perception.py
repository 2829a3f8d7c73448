"""To which changes of a picture concepts react (Supplementary S.1): of its light, colours, texture or shape.

    classes = perceive(study, concepts, pictures=40)    # a ClassChanges per class
    delta_table(classes)                                # S.1's delta per class, concept and change
    order_table(classes)                                # which change matters most, and per unit of picture distance
    agreement_table(classes)                            # Kendall's tau with the paper's order

How the paper's changes are read stands in `asxai.benchmarks.changes`. The vectors stay as they were learned, the
pictures change: equation 2's b_j is read as that. With the printed signs delta is negative where a change lowers the
similarity; figures draw the fall, its negative. For prototypes: Nauta et al., This looks like that, because ..., ECML
PKDD workshops 2021.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from .. import paths
from ..cache import code_hash, kept_tensors, key_of
from ..concepts.concepts import Concepts
from ..data.datasets import spread_over
from ..data.features import BATCH, FEATURE_CODE
from ..data.pictures import to_batch
from ..progress import bar
from ..results import DIGITS, claim
from ..statistics import bootstrap, kendall
from ..study import Study
from .changes import STRENGTHS, change, distance, rolled

PAPER_ORDER = ("shape", "contrast", "hue", "texture")  # from the strongest on; of the other two it says nothing


@dataclass(frozen=True, eq=False)
class ClassChanges:
    """Best cosines in pictures of one class, whole and changed. Made by `perceive`."""

    class_name: str
    names: tuple  # (concept,)
    changes: tuple  # (change,)
    whole: np.ndarray  # (picture, concept): best cosine over a concept's vectors and all patches
    changed: np.ndarray  # (change, picture, concept): the same in changed pictures
    distances: np.ndarray  # (change, picture): how far the picture itself is from what it was, see `distance`
    parts: tuple = ()  # (part,): true parts, where the data set has any
    part_whole: np.ndarray | float = np.nan  # (picture, part): best cosine of any concept on it; NaN if out of sight
    part_changed: np.ndarray | float = np.nan  # (change, picture, part)

    @property
    def falls(self):
        """How far the best cosine of each concept falls, the negative of S.1's delta, `(change, picture, concept)`."""
        return self.whole - self.changed


def perceive(study: Study, concepts: Concepts, pictures=500, strengths=STRENGTHS) -> list[ClassChanges]:
    """`ClassChanges` of each class in at most `pictures` of its pictures for training, evenly spread.

    strengths: of each change by its name, see `change`. Kept on disk by the content of pictures and study.
    """
    train, result, digest = study.data.train, [], hashlib.sha256()
    for name, value in sorted(study.model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    code = code_hash(*FEATURE_CODE, "model.protocnn", "benchmarks.perception", "benchmarks.changes")
    for label in range(len(study.class_names)):
        split, members = spread_over(train.take(train.labels == label), pictures), concepts.members[label]
        of_study = (digest.hexdigest(), code, study.config.size, np.flatnonzero(members).tolist(), torch.__version__)
        key = key_of(*of_study, split.hashes, label, strengths, split.parts is None)
        path = paths.CACHE / f"changed-{key}.safetensors"
        kept = kept_tensors(path, lambda: _best_cosines(study, split, label, members > 0, strengths))
        kept = {name: values.numpy() for name, values in kept.items()}
        result.append(_class_changes(study, concepts, label, tuple(strengths), **kept))
    return result


def _class_changes(study, concepts, label, changes, cosines, distances, parts=None):
    of_class = concepts.of_class(label)
    best = np.stack([cosines[..., concepts.members[label] == k].max(axis=2) for k in of_class], axis=2)
    on_parts = ()
    if parts is not None:
        seen = ~np.isnan(parts[0]).all(axis=0)  # a class may lack a part
        on_parts = (tuple(np.array(study.data.part_names)[seen].tolist()), parts[0][:, seen], parts[1:][:, :, seen])
    names = tuple(concepts.names[k - 1] for k in of_class)
    return ClassChanges(study.class_names[label], names, changes, best[0], best[1:], distances, *on_parts)


@torch.inference_mode()
def _best_cosines(study, split, label, foreground, strengths):
    """Of whole pictures, then of each change: `cosines` `(1 + change, picture, basis)`, `parts` `(..., part)`."""
    cosines, on_parts, distances = [], [], []
    model, device = study.model, study.model.feature_mean.device
    count = len(study.data.part_names) if split.parts is not None else 0
    for start in bar(range(0, len(split), BATCH), desc=f"changed pictures, {study.class_names[label]}"):
        batch = split.take(slice(start, start + BATCH))
        whole = to_batch(batch.paths, study.config.size)
        changed = [change(whole, name, strength) for name, strength in strengths.items()]
        maps = [model(model.features(one.to(device))).maps[:, label].cpu() for one in (whole, *changed)]
        cosines.append(torch.stack([of_pictures.amax(dim=(2, 3)) for of_pictures in maps]))
        distances.append(torch.stack([distance(whole, one) for one in changed]))
        if count:
            masks = torch.from_numpy(batch.part_masks(study.config.size))
            moved = [rolled(masks, strengths[name]) if name == "shape" else masks for name in strengths]
            best = [of_pictures[:, foreground].amax(dim=1) for of_pictures in maps]
            on_parts.append(torch.stack([_on_parts(*both, count) for both in zip(best, (masks, *moved))]))
    result = {"cosines": torch.cat(cosines, dim=1), "distances": torch.cat(distances, dim=1)}
    return result | ({"parts": torch.cat(on_parts, dim=1)} if count else {})


def _on_parts(best, masks, count):
    """Best cosine `(picture, height, width)` on cells that show any of a part, `(picture, part)`; NaN if unseen."""
    values = []
    for part in range(1, count + 1):
        cells = F.adaptive_max_pool2d((masks == part).float()[:, None], tuple(best.shape[1:]))[:, 0] > 0
        value = best.masked_fill(~cells, -torch.inf).amax(dim=(1, 2))
        values.append(value.masked_fill(~cells.flatten(1).any(dim=1), torch.nan))
    return torch.stack(values, dim=1)


def examples(study: Study, strengths=STRENGTHS) -> dict:
    """A test picture of the first two classes with every change: what `asxai.figures.perception.change_strip` draws."""
    test, class_names = study.data.test, study.class_names[:2]
    first = [test.paths[np.flatnonzero(test.labels == label)[0]] for label in range(len(class_names))]
    whole = to_batch(first, study.config.size)
    changed = [change(whole, name, strength) for name, strength in strengths.items()]
    pictures = torch.stack([whole, *changed], dim=1).permute(0, 1, 3, 4, 2).numpy()
    distances = torch.stack([distance(whole, one) for one in changed], dim=1).numpy()
    return {"pictures": pictures, "names": list(strengths), "distances": distances, "class_names": class_names}


def delta_table(classes: list[ClassChanges], of="concept") -> pd.DataFrame:
    """A row per class, concept and change, over pictures; of="part": the same for true parts, where they are seen.

    `delta`: equation 3 with its printed sign, the mean change of the best cosine; `absolute`: the mean of its
    magnitude, with `low` and `high`, a 95 % bootstrap interval; `lower`, `median`, `upper`: quartiles of the fall;
    `pictures`: how many. Empty without part masks.
    """
    rows = []
    for one in classes:
        parts = of == "part"
        names, falls = (one.parts, one.part_whole - one.part_changed) if parts else (one.names, one.falls)
        for k, name in enumerate(names):
            each = falls[:, ~np.isnan(falls[:, :, k]).any(axis=0), k]  # (change, picture)
            sizes, labels = np.abs(each), np.zeros(each.shape[1], int)
            mean = lambda weights: weights @ sizes.T / weights.sum(axis=1, keepdims=True)
            columns = (-each.mean(axis=1), sizes.mean(axis=1), *bootstrap(mean, labels))
            columns += (*np.quantile(each, [0.25, 0.5, 0.75], axis=1), [len(labels)] * len(each))
            rows += [(one.class_name, name, *row) for row in zip(one.changes, *columns)]
    numbers = ["delta", "absolute", "low", "high", "lower", "median", "upper", "pictures"]
    return pd.DataFrame(rows, columns=["class", of, "change", *numbers])


def sensitivities(classes: list[ClassChanges], normalised=False, weights=None) -> np.ndarray:
    """How much each change moves the best cosines: mean magnitude over pictures, concepts and classes, `(change,)`.

    normalised: over the mean distance of the pictures themselves, so that a strong change is no advantage. weights: how
    often each picture counts, `(draw, picture)` over the pictures of all classes in turn; then `(draw, change)`.
    """
    start, values, distances = 0, [], []
    for one in classes:
        count = len(one.whole)
        w = np.ones((1, count)) if weights is None else weights[:, start : start + count]
        start, w = start + count, w / w.sum(axis=1, keepdims=True)
        values.append(w @ np.abs(one.falls).mean(axis=2).T)  # (draw, change)
        distances.append(w @ one.distances.T)
    result = np.mean(values, axis=0) / (np.mean(distances, axis=0) if normalised else 1)
    return result[0] if weights is None else result


def order_table(classes: list[ClassChanges]) -> pd.DataFrame:
    """A row per change, the strongest first: `sensitivity`, `distance` of the pictures, `normalised`, their quotient.

    With `low`, `high`, `normalised_low` and `normalised_high`, 95 % bootstrap intervals over pictures; `paper`: the
    change's place in the paper's order, from 1 on, NaN where it has none.
    """
    labels = _labels(classes)
    rows = {"change": list(classes[0].changes), "sensitivity": sensitivities(classes)}
    rows["low"], rows["high"] = bootstrap(lambda w: sensitivities(classes, False, w), labels)
    rows["distance"] = np.mean([one.distances.mean(axis=1) for one in classes], axis=0)
    rows["normalised"] = sensitivities(classes, True)
    rows["normalised_low"], rows["normalised_high"] = bootstrap(lambda w: sensitivities(classes, True, w), labels)
    rows["paper"] = [PAPER_ORDER.index(name) + 1.0 if name in PAPER_ORDER else np.nan for name in rows["change"]]
    return pd.DataFrame(rows).sort_values("sensitivity", ascending=False, kind="stable", ignore_index=True)


def agreement_table(classes: list[ClassChanges]) -> pd.DataFrame:
    """Kendall's tau of the orders of `sensitivities` with the paper's, over the changes that both rank.

    A row for `order` "as measured" and one "per distance": `tau` in [-1, 1], 1 is the same order, and `low` and `high`,
    its 95 % bootstrap interval over pictures. Raises ValueError for fewer than 2 of the paper's changes.
    """
    places = _paper_places(classes[0])
    if len(places) < 2:
        raise ValueError(f"strengths has {classes[0].changes}; give at least 2 of the paper's {PAPER_ORDER}")
    rows = []
    for order, normalised in (("as measured", False), ("per distance", True)):
        tau = lambda weights=None: kendall(sensitivities(classes, normalised, weights)[..., places])
        rows.append((order, *map(float, (tau(), *bootstrap(tau, _labels(classes))))))
    return pd.DataFrame(rows, columns=["order", "tau", "low", "high"])


def tau_table(classes: list[ClassChanges]) -> pd.DataFrame:
    """Is the order the same for every class and concept, as the paper finds? `class`, `concept`, `order`, `tau`."""
    rows = []
    for one in classes:
        for name, sizes in zip(one.names, np.abs(one.falls).mean(axis=1).T):  # (change,)
            order = " > ".join(np.array(one.changes)[np.argsort(-sizes, kind="stable")])
            rows.append((one.class_name, name, order, kendall(sizes[_paper_places(one)])))
    return pd.DataFrame(rows, columns=["class", "concept", "order", "tau"])


def _paper_places(one):
    return [one.changes.index(name) for name in PAPER_ORDER if name in one.changes]


def _labels(classes):
    return np.repeat(np.arange(len(classes)), [len(one.whole) for one in classes])


def claims(table: pd.DataFrame, agreements: pd.DataFrame) -> list[dict]:
    """Claims of notebook 08, from `order_table` and `agreement_table`.

    In the order ">" stands where the intervals of two neighbours are apart, "≥" where they overlap.
    """
    here = table["change"].iloc[0]
    for (_, first), (_, second) in zip(table.iterrows(), table.iloc[1:].iterrows()):
        here += f" {'>' if first['low'] > second['high'] else '≥'} {second['change']}"
    ours = tuple(name for name in table["change"] if name in PAPER_ORDER)
    order = claim("perception_order", 0, " > ".join(PAPER_ORDER), ours == PAPER_ORDER) | {"here": here}
    row = agreements.iloc[0]
    tau = claim("perception_order_agreement", row["tau"], "1 (the same order)")
    return [order, tau | {"spread": f"[{row['low']:.{DIGITS}f}, {row['high']:.{DIGITS}f}]"}]
