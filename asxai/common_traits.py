"""Common traits of a study's concepts: the pictures, masks and features that go into `asxai.traits`.

    found = common_traits(study, concept_regions(study, concepts))      # a ClassTraits per class
    other = common_traits(study, superpixel_regions(study, [6, 6]))     # S-XAI's way to regions, the same pipeline
    table = specificity_table([(OURS, 0, found), (SUPERPIXELS, 0, other)])

Of each class some training pictures make the semantic vectors, and test pictures tell how specific these are. A_s of
all other pictures of the class is what the q-q plots show. Regions come from `concept_regions` (the study's own masks)
or, without the network, from `superpixel_regions` and `box_regions`; each is a function of a class and pictures of it.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, cpu_count, delayed
from safetensors.torch import load_file, save_file

from . import paths
from .concepts import is_named_after
from .evaluation import own_class_maps
from .features import BATCH, FEATURE_CODE, code_hash
from .inversion import invert, race
from .masks import conceal
from .pictures import to_batch
from .progress import bar
from .regions import Superpixels, part_boxes
from .results import claim
from .sources import redraw
from .traits import POOLS, concept_drops, normality, row_centred_pca, semantic_vector, specificity, weighted_activation

# the last two stand for S-XAI's manual annotation: from below, nobody says what they show, and from above, true parts
OURS, SUPERPIXELS, BOXES = "this study", "superpixels", "boxes around parts"
QQ_TARGET, DIAGONAL_TARGET, SPEED_TARGET = 0.98, 0.9, 10  # the paper's, and the two that this study set itself


class Region(NamedTuple):
    """Where concepts are in pictures of one class."""

    names: tuple  # (concept,)
    masks: torch.Tensor  # bool (picture, concept, size, size); all False where a concept is not seen


@dataclass(frozen=True, eq=False)
class ClassTraits:
    """The semantic vectors of a class, and A_s of pictures that did not make them."""

    class_name: str
    names: tuple  # (concept,)
    vectors: list  # (concept,) of SemanticVector
    unmasked: np.ndarray  # (picture, concept): A_s of whole test pictures
    removed: np.ndarray  # (removed concept, picture, measured concept): of the same without a concept
    held_out: np.ndarray  # (picture, concept): of all pictures of the class but those of the vectors
    reader: "_Reader"  # how A_s reads pooled features

    def normality(self):
        """`asxai.traits.Normality` of A_s of each concept, over the held-out pictures."""
        return [normality(values) for values in self.held_out.T]

    def drops(self):
        """Mean drop of A_s, `(removed, measured)`, in its standard deviations, see `asxai.traits.concept_drops`."""
        return concept_drops(self.unmasked, self.removed)


# --- Regions ---------------------------------------------------------------------------------------------------------


def concept_regions(study, concepts, percentile=95.0):
    """The irregular masks of a study's concepts: a function of (label, split of that class) to a `Region`."""

    def regions(label, split):
        of_class = concepts.of_class(label)
        masks = concepts.masks(own_class_maps(study, split), split.labels, study.config.size, percentile)
        return Region(tuple(concepts.names[k - 1] for k in of_class), masks[:, of_class - 1])

    return regions


def superpixel_regions(study, kinds):
    """S-XAI's regions without a person: kinds of SLIC superpixels, as many in each class as `kinds` `(class,)` says."""
    fitted = {}

    def regions(label, split):
        if label not in fitted:
            train = study.data.train
            chosen = spread_over(train.take(train.labels == label), 100)
            fitted[label] = Superpixels(int(kinds[label])).fit(to_batch(chosen.paths, study.config.size))
        masks = torch.as_tensor(fitted[label].masks(to_batch(split.paths, study.config.size)))
        return Region(tuple(f"superpixel {k + 1}" for k in range(masks.shape[1])), masks)

    return regions


def box_regions(study):
    """Boxes around the true parts, as a person would draw them. The data set must have part masks."""
    names = study.data.part_names

    def regions(label, split):
        boxes = torch.as_tensor(part_boxes(split.part_masks(study.config.size), len(names)))
        shown = boxes.flatten(2).any(2).any(0)  # a class may lack a part
        return Region(tuple(name for name, own in zip(names, shown) if own), boxes[:, shown])

    return regions


# --- Features of pictures of which something is hidden ---------------------------------------------------------------


@torch.inference_mode()
def pooled_features(study, pictures):
    """Mean and maximum over the grid of the backbone's map of uint8 pictures, `(2, picture, channel)`."""
    device, found = study.model.feature_mean.device, []
    for batch in pictures.split(BATCH):
        maps = study.model.backbone_map(study.model.features(batch.to(device)))
        found.append(torch.stack([pool(maps) for pool in POOLS.values()]).cpu())
    return torch.cat(found, dim=1)


@torch.inference_mode()
def split_pooled(study, split):
    """The same for whole pictures of a split, from cached features."""
    device, found = study.model.feature_mean.device, []
    for batch in study.features(split)[0].split(BATCH):
        maps = study.model.backbone_map(batch.to(device))
        found.append(torch.stack([pool(maps) for pool in POOLS.values()]).cpu())
    return torch.cat(found, dim=1)


def hidden_features(study, split, masks, keep=False, fill="black", desc="hidden concepts"):
    """Pooled features of pictures with each concept removed, or only that left: `(2, concept, picture, channel)`.

    masks: bool `(picture, concept, size, size)`. Kept on disk by the content of pictures and masks.
    """
    key = [study.model.backbone.fingerprint(), code_hash(*FEATURE_CODE, "masks"), study.config.size, split.hashes, keep,
           fill, hashlib.sha256(np.packbits(masks.numpy()).tobytes()).hexdigest(), torch.__version__]
    path = paths.CACHE / f"hidden-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.safetensors"
    if not path.exists():
        found = []
        for start in bar(range(0, len(split), BATCH), desc=desc):
            pictures, own = to_batch(split.paths[start:start + BATCH], study.config.size), masks[start:start + BATCH]
            hidden = [conceal(pictures, own[:, k], keep, fill) for k in range(masks.shape[1])]
            found.append(pooled_features(study, torch.cat(hidden)).unflatten(1, (masks.shape[1], -1)))
        features = torch.cat(found, dim=2).contiguous()
        paths.write_atomically(path, lambda temporary: save_file({"features": features}, temporary))
    return load_file(path)["features"]


# --- Traits of a class -----------------------------------------------------------------------------------------------


def common_traits(study, regions, pictures=60, measured=100, top=5, pool="max", against="whole", scale=True,
                  fill="black", desc="traits"):
    """`ClassTraits` of each class of a study.

    regions: where the concepts are, see the module's docstring
    pictures: training pictures of a class that make its vectors, evenly spread; measured: test pictures whose concepts
        are removed to see which A_s falls
    top: channels of a vector. pool: "max", as the network pools its own activation maps, or "mean", as in the published
        code, over which a concept of a twentieth of the picture is thinned out to a twentieth
    against: what pictures with the concept removed are compared with: "whole" pictures, as in the published code, or
        those of which only the concept is "kept"
    scale: whether a channel counts in its standard deviations over the training pictures; raw activations otherwise, of
        which channels of large numbers make up all vectors

    A concept that is in none of the pictures that make vectors, or in none that are measured, is left out. Raises
    ValueError for another `against` or `pool`, and as `semantic_vector`.
    """
    if against not in ("whole", "kept") or pool not in POOLS:
        raise ValueError(f"against={against!r}, pool={pool!r}: use 'whole' or 'kept', and {' or '.join(POOLS)}")
    of = _Reader(study, pool, scale)
    data, found = study.data, []
    for label, class_name in enumerate(study.class_names):
        train, test = (split.take(split.labels == label) for split in (data.train, data.test))
        chosen, shown = spread_over(train, pictures), spread_over(test, measured)
        region, seen = regions(label, chosen), regions(label, shown)
        names = tuple(name for name, own in zip(region.names, region.masks.flatten(2).any(2).any(0))
                      if own and name in seen.names)
        masks, shown_masks = (own.masks[:, [own.names.index(name) for name in names]] for own in (region, seen))
        progress = f"{desc}, {class_name}"
        removed = of(hidden_features(study, chosen, masks, False, fill, progress))
        kept = (of(hidden_features(study, chosen, masks, True, fill, progress)) if against == "kept"
                else of(split_pooled(study, chosen)).expand_as(removed))
        vectors = [semantic_vector(*pair, top) for pair in zip(kept, removed)]
        without = of(hidden_features(study, shown, shown_masks, False, fill, progress))
        rest = [train.take(~np.isin(train.hashes, chosen.hashes)), test,
                data.validation.take(data.validation.labels == label)]
        held_out = torch.cat([of(split_pooled(study, split)) for split in rest if len(split)])
        unmasked = weighted_activation(of(split_pooled(study, shown)), vectors)
        found.append(ClassTraits(class_name, names, vectors, unmasked,
                                 np.stack([weighted_activation(own, vectors) for own in without]),
                                 weighted_activation(held_out, vectors), of))
    return found


class _Reader:
    """Of pooled features `(2, ..., channel)` the pool and the unit that A_s is computed in."""

    def __init__(self, study, pool, scale):
        self.pool = list(POOLS).index(pool)
        std = study.model.feature_std.flatten().cpu()
        self.unit = std if scale else torch.ones_like(std)

    def __call__(self, features):
        return features[self.pool] / self.unit


def kept_variance(study, regions, pictures=40, k=10, pool="max", fill="black"):
    """Share that each of k components explains of pictures with only the concept left: per class `(names, ratios)`.

    ratios: `(concept, k)`, eq. 9; fewer than k components where there are fewer pictures.
    """
    of, found = _Reader(study, pool, scale=True), []
    for label, class_name in enumerate(study.class_names):
        train = study.data.train
        chosen = spread_over(train.take(train.labels == label), pictures)
        region = regions(label, chosen)
        kept = of(hidden_features(study, chosen, region.masks, True, fill, f"concepts alone, {class_name}"))
        ratios = [row_centred_pca(own, min(k, len(chosen))).explained_variance_ratio for own in kept]
        found.append((region.names, np.stack(ratios)))
    return found


def removal_examples(study, concepts, class_name, count=2, percentile=95.0, fill="black"):
    """Training pictures in which a concept fires most: `pictures`, `kept`, `removed`, `names`, a list entry each."""
    label, train = study.label_of(class_name), study.data.train
    members = train.take(train.labels == label)
    own, shown = own_class_maps(study, members), {"pictures": [], "kept": [], "removed": [], "names": []}
    best = concepts.exemplars(own, members.labels, count).pictures[label]
    for k in concepts.of_class(label):
        chosen = best[k - 1][best[k - 1] >= 0]
        pictures = to_batch([members.paths[i] for i in chosen], study.config.size)
        masks = concepts.masks(own[chosen], members.labels[chosen], study.config.size, percentile)[:, k - 1]
        hidden = [conceal(pictures, masks, keep, fill) for keep in (True, False)]
        for key, value in zip(("pictures", "kept", "removed"), (pictures, *hidden)):
            shown[key].append(value.permute(0, 2, 3, 1).numpy())
        shown["names"].append(concepts.names[k - 1])
    return shown


def spread_over(split, count):
    """At most `count` pictures, evenly over the split."""
    return split.take(evenly(len(split), count))


def evenly(length, count):
    """Indices of at most `count` of `length` things, evenly spread, ascending."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))


def drawn_without(study, split, desc):
    """Drawn pictures of a split again, each without one part: `(names of parts, uint8 (part, picture, 3, size, size))`.

    Parts are those that are seen in any of the pictures. What was behind a part is seen where it was.
    """
    visible, fine = split.part_masks(study.config.size), split.fine or [None] * len(split)
    parts = tuple(name for k, name in enumerate(study.data.part_names, 1) if (visible == k).any())
    jobs = [(path, name, finer) for name in parts for path, finer in zip(split.paths, fine)]
    drawn = Parallel(n_jobs=cpu_count())(delayed(redraw)(study.data.name, path, (name,), finer)
                                         for path, name, finer in bar(jobs, desc=desc))
    return parts, to_batch(drawn, study.config.size).unflatten(0, (len(parts), len(split)))


def rendered_drops(study, found, pictures=20):
    """Mean drop of A_s when a true part is not drawn at all: per class `(names of parts, (part, concept))`.

    In standard deviations of a concept's A_s over whole pictures, as in `concept_drops`. What was behind the part is
    seen then, so that nothing black is left to react to. Empty for data sets that are not drawn.
    """
    results, test = [], study.data.test
    for label, traits in enumerate(found if study.data.part_names else []):
        shown = spread_over(test.take(test.labels == label), pictures)
        parts, drawn = drawn_without(study, shown, f"drawing without parts, {traits.class_name}")
        without = pooled_features(study, drawn.flatten(0, 1)).unflatten(1, drawn.shape[:2])
        whole = weighted_activation(traits.reader(split_pooled(study, shown)), traits.vectors)
        scores = np.stack([weighted_activation(own, traits.vectors) for own in traits.reader(without)])
        results.append((parts, (whole - scores).mean(axis=1) / traits.unmasked.std(axis=0)))
    return results


# --- Tables ----------------------------------------------------------------------------------------------------------


def qq_pairs(found, beside):
    """For `asxai.trait_plots.qq_plots`: A_s of each concept beside that of another method's concept of its name.

    beside: of `value_table`, may be empty. "x 2" is compared with "x" where the other method has no "x 2"; without that
    name nothing stands beside.
    """
    values = {class_name: {concept: own["value"].to_numpy(copy=True)
                           for concept, own in rows.groupby("concept", sort=False)}
              for class_name, rows in (beside.groupby("class", sort=False) if len(beside) else ())}
    classes = []
    for own in found:
        theirs = values.get(own.class_name, {})
        names = [next((part for part in (name, *theirs) if part in theirs and is_named_after(name, part)), None)
                 for name in own.names]
        classes.append({"class": own.class_name, "names": list(own.names), "ours": own.normality(),
                        "other": [normality(theirs[name]) if name else None for name in names]})
    return classes


def value_table(found):
    """A_s of held-out pictures: a row per class, concept and picture, `class`, `concept`, `value`."""
    return pd.DataFrame([{"class": own.class_name, "concept": name, "value": value}
                         for own in found for name, values in zip(own.names, own.held_out.T) for value in values])


def specificity_table(runs, draws=1000):
    """How specific: a row per method and seed, `method`, `seed`, `classes`, `concepts`, `share`, `low`, `high`.

    runs: (method, seed, what `common_traits` gave) each
    """
    rows = []
    for method, seed, found in runs:
        result = specificity([(own.unmasked, own.removed) for own in found], draws=draws)
        rows.append({"method": method, "seed": seed, "classes": len(found), "concepts": len(result.diagonal),
                     "share": result.share, "low": result.low, "high": result.high})
    return pd.DataFrame(rows)


def normality_table(runs):
    """A row per method, seed, class and concept: `r2`, `w`, `p`, `count`, `mean`, `std`, `skew` of its A_s."""
    rows = []
    for method, seed, found in runs:
        for own in found:
            for name, result in zip(own.names, own.normality()):
                rows.append({"method": method, "seed": seed, "class": own.class_name, "concept": name,
                             **{key: getattr(result, key) for key in ("r2", "w", "p", "count", "mean", "std", "skew")}})
    return pd.DataFrame(rows)


def vector_table(found):
    """A row per class, concept and channel of its vector: `class`, `concept`, `channel`, `weight`."""
    return pd.DataFrame([{"class": own.class_name, "concept": name, "channel": int(channel), "weight": weight}
                         for own in found for name, vector in zip(own.names, own.vectors)
                         for channel, weight in zip(vector.channels, vector.weights)])


def claims(specific, normal, ratios, races):
    """Claims of notebook 03 from `specificity_table`, `normality_table`, explained variance ratios and a race's table.

    Values are over seeds where there are several. races: of `asxai.inversion.race`, or empty where it was never run.
    """
    ours = normal[normal["method"] == OURS]
    by_seed = ours.groupby("seed")
    shares = {method: own["share"] for method, own in specific.groupby("method", sort=False)}
    rows = [claim("qq_r2_min", by_seed["r2"].min(), "above .98", by_seed["r2"].min().mean() >= QQ_TARGET),
            claim("qq_r2_median", by_seed["r2"].median()), claim("shapiro_w_min", by_seed["w"].min()),
            claim("trait_explained_variance", [np.mean(ratios)])]
    above = SUPERPIXELS not in shares or shares[OURS].mean() > shares[SUPERPIXELS].mean()
    if shares[OURS].notna().any():  # else no class has several concepts
        rows.append(claim("specificity_diagonal", shares[OURS].dropna(), "higher than S-XAI, as figures show",
                          shares[OURS].mean() >= DIAGONAL_TARGET and above))
    for name, method in (("specificity_diagonal_superpixels", SUPERPIXELS), ("specificity_diagonal_boxes", BOXES)):
        if method in shares:
            rows.append(claim(name, shares[method]))
    if len(races):
        speed = races.loc[races["method"] == "fast", "speedup"].fillna(0)  # 0: never as low
        rows.append(claim("inversion_speedup", [speed.median()], "", speed.min() >= SPEED_TARGET))
    return rows


# --- Trait pictures --------------------------------------------------------------------------------------------------


class TraitPictures(NamedTuple):
    """What concepts of a class have in common, as pictures."""

    names: tuple  # (concept,)
    pictures: np.ndarray  # uint8 (concept, size, size, 3)
    ratios: np.ndarray  # (concept,): share that the first component explains, mean over positions
    errors: np.ndarray  # (concept,): feature error of the inversion, see `asxai.inversion`
    targets: torch.Tensor  # (concept, channel, height, width): what was inverted


def trait_pictures(study, concepts, class_name, pictures=40, crop=128, steps=None, seed=0):
    """`TraitPictures` of a class: row-centred PCA at every position (eqs. 7-9), and its inversion (eqs. 10, 11).

    From those training pictures in which a concept fires most strongly, windows of `crop` pixels around that place are
    cut; the first component at every position of their feature maps is turned into a picture. With whole pictures the
    concept would lie elsewhere in each, and a component per position show none.
    """
    label, train = study.label_of(class_name), study.data.train
    members, of_class = train.take(train.labels == label), concepts.of_class(label)
    best = concepts.exemplars(own_class_maps(study, members), members.labels, pictures)
    network, targets, ratios = Network(study.model), [], []
    for k in of_class - 1:
        found = best.pictures[label, k]
        chosen = to_batch([members.paths[i] for i in found[found >= 0]], study.config.size)
        windows = windows_around(chosen, best.points[label, k][found >= 0], crop)
        with torch.inference_mode():
            maps = [network(batch.to(study.model.feature_mean.device)).cpu() for batch in windows.split(BATCH)]
        common = row_centred_pca(torch.cat(maps), 1)
        targets.append(torch.from_numpy(common.trait).float())
        ratios.append(common.explained_variance_ratio[0].mean())
    targets = torch.stack(targets)
    result = invert(network, targets.to(study.model.feature_mean.device), crop, steps=steps, seed=seed,
                    desc=f"trait pictures, {class_name}")
    return TraitPictures(tuple(concepts.names[k - 1] for k in of_class), result.to_uint8(stretch=True),
                         np.array(ratios), result.feature_error.numpy(), targets)


def trait_race(study, traits, concepts=3, crop=128, steps=None, fast_steps=400):
    """Both methods of inversion on the targets of the first `concepts` of a class, see `asxai.inversion.race`."""
    targets = traits.targets[:concepts].to(study.model.feature_mean.device)
    return race(Network(study.model), targets, crop, steps, fast_steps)


class Network(torch.nn.Module):
    """Pictures to the backbone's map, through fixed and trained stages."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pictures):
        return self.model.backbone_map(self.model.features(pictures))


def windows_around(pictures, points, side):
    """Windows of `side` pixels around `points` `(picture, 2)` from 0 to 1, moved inwards at the border of a picture."""
    size = pictures.shape[-1]
    corners = np.clip(np.round(points * size - side / 2), 0, size - side).astype(int)
    return torch.stack([picture[:, top:top + side, left:left + side]
                        for picture, (top, left) in zip(pictures, corners.tolist())])
