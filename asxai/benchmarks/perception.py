"""To which changes of a picture concepts react (Supplementary S.1): of its light, colours, texture or shape.

    found = perceive(study, concepts, pictures=40)     # a ClassChanges per class
    delta_table(found)                                 # S.1's delta per class, concept and change
    order_table(found)                                 # which change matters most, and per unit of picture distance
    agreement_table(found)                             # Kendall's tau with the paper's order

The paper's values, and how they are read: for brightness .8, contrast .45, saturation .7 and hue .1 it calls PyTorch's
ColorJitter, which draws a factor at random, for contrast=.45 from .55 to 1.45. Here, to give every picture the same
change, the value is the factor itself (a contrast of .45 keeps 45 %), and hue is turned by .1 of the circle, 36
degrees. Texture is non-local means of strength h = 4 grey levels of 255 (the paper: OpenCV's, in CIELAB; here:
scikit-image's, on RGB, with OpenCV's patches of 7 and search windows of 21 pixels and its weights exp(-d^2 / h^2)).
Shape rolls every row, then every column along a sine wave; the paper's sentence on its strength is garbled ("set to 0.1
for the shapes"), here it is an amplitude of .1 of the side over `WAVES` waves.

The vectors stay as they were learned, the pictures change: equation 2's b_j is read as that. With the printed signs
delta is negative where a change lowers the similarity; what is shown is the fall, its negative.

References
    The same changes, for prototypes: Nauta et al., This looks like that, because ..., ECML PKDD workshops 2021.
    Non-local means: Buades, Coll & Morel, CVPR 2005. Kendall, Biometrika 1938.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from .. import paths
from ..cache import code_hash
from ..data.datasets import spread_over
from ..data.features import BATCH, FEATURE_CODE
from ..data.pictures import to_batch
from ..progress import bar
from ..results import DIGITS, claim
from ..statistics import bootstrap, kendall
from .changes import STRENGTHS, change, distance, rolled

PAPER_ORDER = ("shape", "contrast", "hue", "texture")  # from the strongest on; of the other two it says nothing


# --- What concepts make of them --------------------------------------------------------------------------------------


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
    part_whole: np.ndarray | None = None  # (picture, part): best cosine of any concept on it; NaN if out of sight
    part_changed: np.ndarray | None = None  # (change, picture, part)

    @property
    def falls(self):
        """How far the best cosine of each concept falls, the negative of S.1's delta, `(change, picture, concept)`."""
        return self.whole - self.changed

    @property
    def part_falls(self):
        """The same on true parts, `(change, picture, part)`."""
        return self.part_whole - self.part_changed


def perceive(study, concepts, pictures=500, strengths=STRENGTHS, split=None):
    """`ClassChanges` of each class in at most `pictures` of its pictures, evenly spread, by default for training.

    strengths: of each change by its name, see `change`. Kept on disk by the content of pictures and study.
    """
    split, result = split or study.data.train, []
    weights = _weights_hash(study.model)
    for label, class_name in enumerate(study.class_names):
        own = spread_over(split.take(split.labels == label), pictures)
        foreground = np.flatnonzero(concepts.members[label])
        key = [weights, code_hash(*FEATURE_CODE, "model.protocnn", "benchmarks.perception", "benchmarks.changes"), study.config.size, own.hashes, label,
               list(strengths.items()), foreground.tolist(), split.parts is None, torch.__version__]
        path = paths.CACHE / f"changed-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.safetensors"
        if not path.exists():
            found = _best_cosines(study, own, label, foreground, strengths)
            paths.write_atomically(path, lambda temporary: save_file(found, temporary))
        result.append(_class_changes(study, concepts, label, class_name, strengths, load_file(path)))
    return result


def _class_changes(study, concepts, label, class_name, strengths, found):
    of_class = concepts.of_class(label)
    best = np.stack([found["cosines"][..., concepts.members[label] == k].amax(dim=2).numpy() for k in of_class], axis=2)
    names = tuple(concepts.names[k - 1] for k in of_class)
    parts, own = (), found.get("parts")
    if own is not None:
        seen = ~own[0].isnan().all(dim=0).numpy()  # a class may lack a part
        parts, own = tuple(np.array(study.data.part_names)[seen].tolist()), own[:, :, seen].numpy()
    return ClassChanges(class_name, names, tuple(strengths), best[0], best[1:], found["distances"].numpy(), parts,
                        None if own is None else own[0], None if own is None else own[1:])


@torch.inference_mode()
def _best_cosines(study, split, label, foreground, strengths):
    """Of whole pictures, then of each change: `cosines` `(1 + change, picture, basis)`, `parts` `(..., part)`."""
    cosines, on_parts, distances = [], [], []
    part_count = len(study.data.part_names) if split.parts is not None else 0
    desc = f"changed pictures, {study.class_names[label]}"
    for start in bar(range(0, len(split), BATCH), desc=desc):
        batch = split.take(slice(start, start + BATCH))
        whole = to_batch(batch.paths, study.config.size)
        masks = torch.from_numpy(batch.part_masks(study.config.size)) if part_count else None
        shown = [("", whole)] + [(name, change(whole, name, strength)) for name, strength in strengths.items()]
        maps = [_own_class(study, pictures, label) for _, pictures in shown]
        cosines.append(torch.stack([own.amax(dim=(2, 3)) for own in maps]))
        distances.append(torch.stack([distance(whole, pictures) for _, pictures in shown[1:]]))
        if part_count:
            moved = [rolled(masks, strengths[name]) if name == "shape" else masks for name, _ in shown]
            on_parts.append(torch.stack([_on_parts(own[:, foreground], mask, part_count)
                                         for own, mask in zip(maps, moved)]))
    result = {"cosines": torch.cat(cosines, dim=1), "distances": torch.cat(distances, dim=1)}
    return result | ({"parts": torch.cat(on_parts, dim=1)} if part_count else {})


def _own_class(study, pictures, label):
    device = study.model.feature_mean.device
    return study.model(study.model.features(pictures.to(device))).maps[:, label].cpu()


def _on_parts(maps, masks, count):
    """Best cosine on the cells that show any of a part, `(picture, part)`; NaN for parts that are not seen."""
    best = maps.amax(dim=1)  # (picture, height, width)
    found = []
    for part in range(1, count + 1):
        cells = F.adaptive_max_pool2d((masks == part).float()[:, None], tuple(best.shape[1:]))[:, 0] > 0
        value = best.masked_fill(~cells, -torch.inf).amax(dim=(1, 2))
        found.append(value.masked_fill(~cells.flatten(1).any(dim=1), torch.nan))
    return torch.stack(found, dim=1)


def _weights_hash(model):
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def examples(study, split=None, strengths=STRENGTHS, classes=2):
    """A picture of each of the first classes with every change: `pictures`, `names`, `distances`, `class_names`."""
    split, shown = split or study.data.test, study.class_names[:classes]
    first = [np.flatnonzero(split.labels == label)[0] for label in range(len(shown))]
    whole = to_batch([split.paths[i] for i in first], study.config.size)
    changed = [change(whole, name, strength) for name, strength in strengths.items()]
    return {"pictures": torch.stack([whole, *changed], dim=1).permute(0, 1, 3, 4, 2).numpy(), "names": list(strengths),
            "distances": torch.stack([distance(whole, own) for own in changed], dim=1).numpy(), "class_names": shown}


# --- Tables ----------------------------------------------------------------------------------------------------------


def delta_table(found, draws=1000, seed=0):
    """A row per class, concept and change, over pictures.

    `delta`: equation 3 with its printed sign, the mean change of the best cosine; `absolute`: the mean of its
    magnitude, with `low` and `high`, a 95 % bootstrap interval; `lower`, `median`, `upper`: quartiles of the fall;
    `pictures`: how many.
    """
    rows = []
    for own in found:
        for name, values in zip(own.names, np.moveaxis(own.falls, 2, 0)):  # (change, picture)
            rows += _delta_rows(own, "concept", name, values, draws, seed)
    return pd.DataFrame(rows)


def part_table(found, draws=1000, seed=0):
    """The same for true parts, of pictures in which they are seen; empty without part masks."""
    rows = []
    for own in found:
        for k, name in enumerate(own.parts):
            values = own.part_falls[:, :, k]
            rows += _delta_rows(own, "part", name, values[:, ~np.isnan(values).any(axis=0)], draws, seed)
    return pd.DataFrame(rows, columns=None if rows else ["class", "part", "change"])


def _delta_rows(own, kind, name, values, draws, seed):
    sizes = np.abs(values)
    low, high = bootstrap(lambda w: w @ sizes.T / w.sum(axis=1, keepdims=True), np.zeros(sizes.shape[1], int), draws,
                          seed)
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75], axis=1)
    return [{"class": own.class_name, kind: name, "change": change_name, "delta": -values[c].mean(),
             "absolute": sizes[c].mean(), "low": low[c], "high": high[c], "lower": lower[c], "median": median[c],
             "upper": upper[c], "pictures": len(values[c])} for c, change_name in enumerate(own.changes)]


def sensitivities(found, normalised=False, weights=None):
    """How much each change moves the best cosines: mean magnitude over pictures, concepts and classes, `(change,)`.

    normalised: over the mean distance of the pictures themselves, so that a strong change is no advantage. weights: how
    often each picture counts, `(draw, picture)` over the pictures of all classes in turn; then `(draw, change)`.
    """
    starts, values, distances = 0, [], []
    for own in found:
        count = own.whole.shape[0]
        w = np.ones((1, count)) if weights is None else weights[:, starts:starts + count]
        starts, w = starts + count, w / w.sum(axis=1, keepdims=True)
        values.append(w @ np.abs(own.falls).mean(axis=2).T)  # (draw, change)
        distances.append(w @ own.distances.T)
    result = np.mean(values, axis=0) / (np.mean(distances, axis=0) if normalised else 1)
    return result[0] if weights is None else result


def order_table(found, draws=1000, seed=0):
    """A row per change, the strongest first: `sensitivity`, `distance` of the pictures, `normalised`, their quotient.

    With `low`, `high`, `normalised_low` and `normalised_high`, 95 % bootstrap intervals over pictures; `paper`: the
    change's place in the paper's order, from 1 on, NaN where it has none.
    """
    labels = _labels(found)
    rows = {"change": list(found[0].changes), "sensitivity": sensitivities(found)}
    rows["low"], rows["high"] = bootstrap(lambda w: sensitivities(found, False, w), labels, draws, seed)
    rows["distance"] = np.mean([own.distances.mean(axis=1) for own in found], axis=0)
    rows["normalised"] = sensitivities(found, True)
    rows["normalised_low"], rows["normalised_high"] = bootstrap(lambda w: sensitivities(found, True, w), labels, draws,
                                                                seed)
    rows["paper"] = [PAPER_ORDER.index(name) + 1.0 if name in PAPER_ORDER else np.nan for name in rows["change"]]
    return pd.DataFrame(rows).sort_values("sensitivity", ascending=False, kind="stable", ignore_index=True)


def agreement_table(found, draws=1000, seed=0):
    """Kendall's tau of the orders of `sensitivities` with the paper's, over the changes that both rank.

    A row for `order` "as measured" and one "per distance": `tau` in [-1, 1], 1 is the same order, and `low` and `high`,
    its 95 % bootstrap interval over pictures. Raises ValueError for fewer than 2 of the paper's changes.
    """
    places = [found[0].changes.index(name) for name in PAPER_ORDER if name in found[0].changes]
    if len(places) < 2:
        raise ValueError(f"changes {found[0].changes} hold fewer than 2 of the paper's {PAPER_ORDER}; measure more")
    rows = []
    for order, normalised in (("as measured", False), ("per distance", True)):
        of = lambda weights=None, normalised=normalised: kendall(sensitivities(found, normalised, weights)[..., places])
        low, high = bootstrap(of, _labels(found), draws, seed)
        rows.append({"order": order, "tau": float(of()), "low": float(low), "high": float(high)})
    return pd.DataFrame(rows)


def tau_table(found):
    """Is the order the same for every class and concept, as the paper finds? `class`, `concept`, `order`, `tau`."""
    rows = []
    for own in found:
        places = [own.changes.index(name) for name in PAPER_ORDER if name in own.changes]
        for k, name in enumerate(own.names):
            sizes = np.abs(own.falls[:, :, k]).mean(axis=1)
            order = " > ".join(np.array(own.changes)[np.argsort(-sizes, kind="stable")])
            rows.append({"class": own.class_name, "concept": name, "order": order, "tau": kendall(sizes[places])})
    return pd.DataFrame(rows)


def _labels(found):
    return np.repeat(np.arange(len(found)), [own.whole.shape[0] for own in found])


def in_words(table, column="sensitivity"):
    """The order of changes: ">" where the intervals of two neighbours are apart, "≥" where they overlap."""
    prefix = "" if column == "sensitivity" else f"{column}_"
    rows = table.sort_values(column, ascending=False, kind="stable").to_dict("records")
    text = rows[0]["change"]
    for first, second in zip(rows, rows[1:]):
        text += f" {'>' if first[f'{prefix}low'] > second[f'{prefix}high'] else '≥'} {second['change']}"
    return text


def claims(table, agreements):
    """Claims of notebook 08, from `order_table` and `agreement_table`."""
    ours = tuple(name for name in table["change"] if name in PAPER_ORDER)
    text = {"claim": "perception_order", "paper": " > ".join(PAPER_ORDER), "here": in_words(table), "spread": "",
            "seeds": 1, "holds": "yes" if ours == PAPER_ORDER else "no"}
    row = agreements.iloc[0]
    tau = claim("perception_order_agreement", row["tau"], "1 (the same order)")
    return [text, tau | {"spread": f"[{row['low']:.{DIGITS}f}, {row['high']:.{DIGITS}f}]"}]
