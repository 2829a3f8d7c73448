"""What orthogonality and self-supervision do (section 3.5): arms of one experiment, measured and compared.

    arms = train_arms("menagerie-pets", ARMS, seed=0)           # name -> Arm; every arm under the same protocol
    table = measure_arms(arms)                                  # a row per arm and measure
    paired(table, ORTHOGONAL)                                   # differences over seeds, with intervals
    concept_cosines(arms[ORTHOGONAL])                           # Figure 7a, b
    beside(arms, class_name, concept)                           # Figure 7c

An arm is a change of `asxai.Config`, or one of two that `train_arms` knows: {"regions": "superpixels"} or "boxes",
whose concepts are not the network's (see `asxai.benchmarks.common_traits`), and {"replaced": False}, with the vectors as they were
before they became patches.

Everything but the measures of `asxai.benchmarks.prototypes` is computed on cached feature maps: where a concept is, is a set of
cells of the backbone's grid. Black patches, to which a network may react, and passes through the backbone are spared,
so that all arms and seeds can be measured alike.
"""

import copy
import hashlib
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
import torch

from .. import paths
from ..cache import code_hash
from ..concepts.cells import maps_of_features, true_parts
from ..concepts.concepts import Concepts
from ..concepts.names import is_named_after
from ..config import Config
from ..data.features import BATCH
from ..data.pictures import to_batch
from ..methods.black_box import black_box_probe
from ..methods.boxes import box_regions
from ..methods.superpixels import SortedSuperpixels
from ..model.replacement import fit_last_layer
from ..model.training import evaluate
from ..results import DIGITS, claim
from ..statistics import cosine_bound, rms_cosine
from ..study import Study
from ..traits.inversion import invert
from ..traits.pca import row_centred_pca
from ..traits.pictures import windows_around
from ..traits.pooled import Network
from ..traits.vectors import specificity
from .concept_cosines import cell_traits, concept_cosines, off_diagonal, places
from .prototypes import cluster_rows, measure, measure_row

ORTHOGONAL, NO_ORTHOGONAL, NEITHER = "both losses", "no orthogonal loss", "neither loss"
MANUAL, BOXES = "not self-supervised", "boxes around parts"
ARMS = {ORTHOGONAL: {}, NO_ORTHOGONAL: {"orthogonality": 0.0}, NEITHER: {"orthogonality": 0.0, "subspace": 0.0},
        MANUAL: {"regions": "superpixels"}}
FURTHER = {"orthonormal vectors": {"orthonormal": True}, "not replaced": {"replaced": False},
           "paper's objective": {"objective": "paper"}, "balanced objective": {"objective": "balanced"},
           "M = 5": {"basis_per_class": 5}, "M = 20": {"basis_per_class": 20}, "M = 50": {"basis_per_class": 50},
           "M = 100": {"basis_per_class": 100}, "D = 64": {"channels": 64},
           "M = 100, D = 64": {"basis_per_class": 100, "channels": 64, "orthogonality": 0.0},  # as published: M > D
           "sigma = 0": {"sigma": 0.0}, BOXES: {"regions": "boxes"}}
REGIONS = ("superpixels", "boxes")
NO_DIFFERENCE = "no difference seen"  # 0 is in the intervals, which may be wide
# name: which side is better; these are compared, a table may hold more
MEASURES = {"nmi": "higher", "purity": "higher", "specificity": "higher", "q-q r2": "higher", "accuracy": "higher",
            "cosine": "lower", "cosine before": "lower", "off-diagonal": "lower"}
COSINES = ("rms cosine before", "rms cosine", "lower bound")
# modules that measures depend on
CODE = ("model", "concepts", "traits", "methods", "benchmarks")
COLUMNS = ["settings", "arm", "seed", "measure", "value", "low", "high"]


# --- Arms ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to concepts, made by `train_arms`."""

    name: str
    study: Study
    concepts: Concepts | None  # None: they are not the network's
    regions: object = None  # then a function of (label, split of that class) to an `asxai.concepts.masks.Region`
    percentile: float = 95.0  # of an activation map: above it lies the concept


def named(names, extra=None):
    """Changes by the names of `ARMS` and `FURTHER`; `extra`, unless empty, is one more, called "extra arm".

    Raises ValueError for another name.
    """
    known = ARMS | FURTHER
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"names={unknown} are no arms; use some of {', '.join(known)}")
    return {name: known[name] for name in names} | ({"extra arm": dict(extra)} if extra else {})


def train_arms(data_set, arms=ARMS, seed=0, device="cpu", **parameters):
    """An `Arm` by name for each change in `arms`, all with the same seed and `parameters`; see the module's docstring.

    What was trained before is only loaded. Boxes need part masks, and that arm is left out where there are none. Raises
    ValueError or TypeError as `Config` does, before anything is trained, for an arm that cannot be.
    """
    split = {}
    for name, changes in arms.items():
        special = {key: changes[key] for key in ("regions", "replaced") if key in changes}
        own = parameters | {key: value for key, value in changes.items() if key not in special}
        if special.get("regions", REGIONS[0]) not in REGIONS:
            raise ValueError(f"arm {name!r} has regions={special['regions']!r}; use one of {', '.join(REGIONS)}")
        Config.of(data_set, seed=seed, **own)
        split[name] = own, special
    found = {}
    for name, (own, special) in split.items():
        study = Study.train(data_set, seed=seed, device=device, **own)
        if not special.get("replaced", True):
            study = without_replacement(study)
        concepts = study.concepts()
        if special.get("regions") == "boxes":
            if study.data.part_names:
                found[name] = Arm(name, study, None, box_regions(study))
        elif "regions" in special:
            kinds = [len(concepts.of_class(label)) for label in range(len(study.class_names))]
            found[name] = Arm(name, study, None, SortedSuperpixels(study, kinds))
        else:
            found[name] = Arm(name, study, concepts)
    return found


def without_replacement(study):
    """The same study with the basis vectors as they were before replacement, and the last layer fitted again."""
    model, train = copy.deepcopy(study.model), study.data.train
    with torch.no_grad():
        model.basis_vectors.copy_(study.basis_before)
    labels = torch.from_numpy(train.labels)
    similarity = evaluate(model, study.features(train)[0], labels, BATCH)["similarity"]
    fit_last_layer(model, similarity, labels, study.config.wrong_class_l1)
    folder = study.folder / "not-replaced"  # with concepts of its own
    return Study(study.config, model, study.class_names, study.metrics, study.log, study.prototypes, study.basis_before,
                 folder, study.data)


def measure_arm(arm, pictures=80, measured=80, top=5):
    """All measures of an arm: `measure`, `value`, `low` and `high`, a 95 % bootstrap interval over pictures, or NaN.

    Those of `asxai.benchmarks.prototypes.measure`; `specificity` and the median of the q-q plots' r2, `q-q r2`, of `cell_traits`;
    `off-diagonal`; root mean square cosines and their lower bound. For regions that are not the network's: accuracy is
    that of the black box; superpixels have NMI, ARI and IoU with parts, boxes, which are made of the parts, do not; and
    there are no vectors to have a purity or a cosine.
    """
    study, split = arm.study, arm.study.data.test
    if arm.concepts is not None:
        rows = measure(study, arm.concepts).to_dict("records")
        rows += [measure_row("rms cosine", rms_cosine(study.model.basis)),
                 measure_row("rms cosine before", rms_cosine(study.basis_before)),
                 measure_row("lower bound", cosine_bound(study.model.basis_per_class, study.config.channels))]
    else:
        device = study.model.feature_mean.device
        rows = [measure_row("accuracy", black_box_probe(study.config, study.data, device)["test_accuracy"])]
        if split.parts is not None and isinstance(arm.regions, SortedSuperpixels):
            rows += cluster_rows(arm.regions.winners(split), true_parts(split)[1], split.labels,
                                  max(arm.regions.kinds), len(study.data.part_names))
    found = cell_traits(arm, pictures, measured, top)
    several = [(own.unmasked, own.removed) for own in found if len(own.names) > 1]
    share = specificity(several) if several else None
    rows.append(measure_row("specificity", *((share.share, (share.low, share.high)) if share else (np.nan,))))
    rows.append(measure_row("q-q r2", np.median([result.r2 for own in found for result in own.normality()])))
    value, low, high = off_diagonal(concept_cosines(arm, pictures))
    return pd.DataFrame([*rows, measure_row("off-diagonal", value, (low, high))])


def measure_arms(arms, settings="", **options):
    """Measures of arms (of `train_arms`), with further columns `settings`, `arm` and `seed`; options as `measure_arm`.

    settings: words that tell tables apart which must not be mixed, see `settings_of`. What was measured before is read
    from the study's folder.
    """
    tables = []
    for name, arm in arms.items():
        key = [name, type(arm.regions).__name__, arm.percentile, sorted(options.items()), code_hash(*CODE)]
        path = arm.study.folder / f"ablation-{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}.csv"
        if not path.exists():
            table = measure_arm(arm, **options)
            paths.write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))
        tables.append(pd.read_csv(path).assign(settings=settings, arm=name, seed=arm.study.config.seed))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def settings_of(parameters):
    """Parameters of a study in words, for `measure_arms`; where it is computed does not enter."""
    return " ".join(f"{key}={value}" for key, value in sorted(parameters.items()) if key != "device")


def completed(kept, arms, settings, **options):
    """Rows of a kept table with these settings, of all seeds; arms that it lacks are measured, see `measure_arms`.

    kept: a table of `measure_arms`, may be empty. arms: of `train_arms`
    """
    rows = kept[kept["settings"] == settings] if len(kept) else kept
    there = set(zip(rows["arm"], rows["seed"])) if len(rows) else set()
    missing = {name: arm for name, arm in arms.items() if (name, arm.study.config.seed) not in there}
    new = [measure_arms(missing, settings, **options)] if missing else []
    return pd.concat([*([rows] if len(rows) else []), *new], ignore_index=True)


def for_dots(table):
    """A table of `measure_arms` as `asxai.figures.prototypes.measure_dots` wants it: only `MEASURES`, in their order."""
    order = list(MEASURES)
    own = table[table["measure"].isin(order)].rename(columns={"arm": "method"})
    own = own.assign(better=own["measure"].map(MEASURES))
    return own.sort_values("measure", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


# --- Differences over seeds ------------------------------------------------------------------------------------------


def paired(table, reference=ORTHOGONAL, draws=10_000, seed=0, level=0.95):
    """Each arm less the reference at the same seeds, a row per arm and measure of `MEASURES`.

    Columns: `arm`, `measure`, `seeds` (how many both have), `difference`, its mean over seeds, `low` and `high`, its
    bootstrap interval over seeds, and `t_low` and `t_high`, Student's: of three to five seeds the bootstrap has only
    those values to draw from and is too narrow. NaN where there is one seed. Measures that either lacks are left out.
    """
    rows, generator = [], np.random.default_rng(seed)
    wide = table.pivot_table(index=["arm", "seed"], columns="measure", values="value")
    if reference not in wide.index.get_level_values("arm"):
        raise ValueError(f"reference={reference!r} is none of the arms {', '.join(dict.fromkeys(table['arm']))}")
    ours = wide.loc[reference]
    for arm in dict.fromkeys(table["arm"]):
        if arm == reference or arm not in wide.index.get_level_values("arm"):
            continue
        differences = wide.loc[arm] - ours
        for name in MEASURES:
            values = differences[name].dropna().to_numpy() if name in differences else np.empty(0)
            if len(values):
                rows.append({"arm": arm, "measure": name, "seeds": len(values), "difference": values.mean(),
                             **_intervals(values, generator, draws, level)})
    return pd.DataFrame(rows, columns=["arm", "measure", "seeds", "difference", "low", "high", "t_low", "t_high"])


def _intervals(values, generator, draws, level):
    if len(values) < 2:
        return dict.fromkeys(("low", "high", "t_low", "t_high"), np.nan)
    means = values[generator.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    half = scipy.stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return {"low": low, "high": high, "t_low": values.mean() - half, "t_high": values.mean() + half}


def verdict(row):
    """What the intervals of a difference say, in words.

    "higher" or "lower" where both exclude 0, `NO_DIFFERENCE` where both hold it, which is not to say that there is
    none, "undecided" where only one does, or that there is no interval.
    """
    if np.isnan(row["low"]):
        return "one seed, no interval"
    side, wide = _side(row["low"], row["high"]), _side(row["t_low"], row["t_high"])
    return {0: NO_DIFFERENCE, 1: "higher", -1: "lower"}[side] if side == wide else "undecided"


def deciding(row):
    """The interval that the verdict rests on, `(low, high)`: Student's, unless the bootstrap's alone holds 0."""
    alone = not _side(row["low"], row["high"]) and _side(row["t_low"], row["t_high"])
    return (row["low"], row["high"]) if alone else (row["t_low"], row["t_high"])


def _side(low, high):
    """The sign of an interval as it is printed; 0 if it holds 0."""
    return int(round(low, DIGITS) > 0) - int(round(high, DIGITS) < 0)


def conclusions(differences, arm, reference=ORTHOGONAL):
    """One sentence on an arm: which measures are higher or lower than the reference's, and where none is seen.

    Intervals are Student's; where the bootstrap's says otherwise ("undecided"), it stands beside it.
    """
    own = differences[differences["arm"] == arm].assign(verdict=lambda table: [
        verdict(row) for row in table.to_dict("records")])
    if own.empty:
        return f"**{arm}**: nothing to compare."
    words = [f"{said}: " + ", ".join(_in_words(row) for row in rows.to_dict("records"))
             for said, rows in own.groupby("verdict", sort=False)]
    counts = sorted(set(own["seeds"]))
    seeds = f"{counts[0]} seed{'s' * (counts[0] > 1)}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    return f"**{arm}**, beside {reference}, {seeds}. " + "; ".join(words) + "."


def _in_words(row):
    value = f"{row['measure']} {_signed(row['difference'])}"
    if np.isnan(row["low"]):
        return value
    student, bootstrapped = (f"[{_signed(row[low])}, {_signed(row[high])}]"
                             for low, high in (("t_low", "t_high"), ("low", "high")))
    return f"{value} {student}" + (f" (bootstrap {bootstrapped})" if verdict(row) == "undecided" else "")


def _signed(value):
    """With as many digits as verdicts are made of, and without a sign before nothing."""
    rounded = round(value, DIGITS) + 0.0
    return f"{rounded:+.{DIGITS}f}" if rounded else f"{0:.{DIGITS}f}"


def alikeness(off, differences, arm, reference=ORTHOGONAL):
    """Sentences on whose concepts are less alike: by the intervals over pictures of one seed, and by several seeds.

    off: per arm mean |cosine| and its interval, of `off_diagonal`; differences: of `paired`, with that reference
    """
    (ours, low, high), (theirs, other_low, other_high) = off[reference], off[arm]
    if np.isnan(ours) or np.isnan(theirs):
        return f"**{arm}**: nothing to compare, an arm has single concepts only."
    side = "lower than" if ours < theirs else "higher than" if ours > theirs else "as high as"
    overlap = "do not overlap" if low > other_high or other_low > high else "overlap"
    text = f"**{arm}**: in this seed the mean of “{reference}” is {side} that of “{arm}”, and the intervals {overlap}"
    rows = [row for row in _chosen(differences, arm, "off-diagonal") if row["seeds"] > 1]
    if not rows:
        return text + "; other seeds have not been measured."
    return text + f". The mean difference of {rows[0]['seeds']} seeds, “{arm}” less “{reference}”: {_said(rows[0])}."


def _said(row):
    return f"{_in_words(row).removeprefix(row['measure']).strip()}, {verdict(row)}"


def subspace_words(table, config):
    """Sentences on the two arms that differ in the subspace loss alone; "" where the table lacks one.

    table: of `measure_arms`; config: of the reference, which has both losses
    """
    own = table[table["measure"] == "off-diagonal"]
    own = own.pivot_table(index="seed", columns="arm", values="value")
    own = own.reindex(columns=[NO_ORTHOGONAL, NEITHER]).dropna()
    if own.empty:
        return ""
    apart = (own[NEITHER] - own[NO_ORTHOGONAL]).abs()
    most, several = f"{apart.max():.3f} apart in", len(own) > 1
    known = several and config.subspace < 1e-3 * config.orthogonality
    return (f"“{NEITHER}” differs from “{NO_ORTHOGONAL}” by the subspace loss alone. Its weight is "
            f"{config.subspace:g}, that of the orthogonal loss {config.orthogonality:g}. The means of these two are "
            + (f"up to {most} {len(own)} seeds" if several else f"{most} one seed")
            + (": with so small a weight, that is how far trainings which are all but the same can come out apart, and "
               "the intervals over pictures do not show it." if known else "."))


def stand_ins(table, reference=ORTHOGONAL):
    """Sentences on boxes around true parts beside superpixels: whether the gap is one to all that is not a network's.

    table: of `measure_arms`; seeds that all three arms have. Says so where there are no boxes.
    """
    gaps, words, own = [], [], table[table["arm"].isin([reference, BOXES, MANUAL])]
    for name in ("specificity", "off-diagonal"):
        wide = own[own["measure"] == name].pivot_table(index="seed", columns="arm", values="value")
        wide = wide.reindex(columns=[reference, BOXES, MANUAL]).dropna()
        if len(wide):
            ours, theirs, superpixels = wide.mean()
            gaps.append(abs(theirs - ours) < abs(theirs - superpixels))
            words.append(f"{name} {theirs:.3f}, beside {ours:.3f} of “{reference}” and {superpixels:.3f} of “{MANUAL}”"
                         f" ({len(wide)} seed{'s' * (len(wide) > 1)})")
    if not words:
        return ("Boxes around true parts have not been measured beside both others here: whether the gap is one to "
                "superpixels only, or to whatever people mark, cannot be told.")
    end = ("They are nearer to the network's concepts than to superpixels: the gap of this notebook is mostly one "
           "between parts and superpixels, not between self-supervision and work by hand." if all(gaps) else
           "They are no nearer to the network's concepts than to superpixels." if not any(gaps) else
           "By one measure they are nearer to the network's concepts, by the other they are not: what the gap to "
           "superpixels is due to cannot be told.")
    return f"Boxes around true parts, which are not self-supervised either: {'; '.join(words)}. {end}"


def claims(table, differences):
    """Claims of notebook 07. An effect is the reference less the arm without it, `spread` its `deciding` interval."""
    rows = []
    for name, arm, measure_name, words in (
            ("orthogonality_effect_nmi", NO_ORTHOGONAL, "nmi", "clearer and purer with orthogonality"),
            ("orthogonality_effect_purity", NO_ORTHOGONAL, "purity", "clearer and purer with orthogonality"),
            ("selfsupervised_effect_specificity", MANUAL, "specificity", "less semantic confusion")):
        rows += [_effect(name, row, words) for row in _chosen(differences, arm, measure_name)]
    lower = _chosen(differences, MANUAL, "off-diagonal")
    for name, arm in (("offdiag_concepts_selfsupervised", ORTHOGONAL), ("offdiag_concepts_manual", MANUAL)):
        values = table[(table["arm"] == arm) & (table["measure"] == "off-diagonal")]["value"]
        if len(values):
            holds = verdict(lower[0]) == "higher" if arm == ORTHOGONAL and lower and lower[0]["seeds"] > 1 else None
            rows.append(claim(name, values, "much nearer to 0 than manual" if arm == ORTHOGONAL else "", holds))
    return rows


def _chosen(differences, arm, name):
    return differences[(differences["arm"] == arm) & (differences["measure"] == name)].to_dict("records")


def _effect(name, row, words):
    """A claim of the difference with its sign turned: what the reference has and the arm has not."""
    several = row["seeds"] > 1
    result = claim(name, -row["difference"], words, verdict(row) == "lower" if several else None)
    low, high = deciding(row)
    interval = f"[{0 - round(high, DIGITS):.{DIGITS}f}, {0 - round(low, DIGITS):.{DIGITS}f}]" if several else ""
    return result | {"spread": interval, "seeds": row["seeds"]}


# --- Trait pictures of the same concept ------------------------------------------------------------------------------


class Beside(NamedTuple):
    """What each arm's concept of the same name, or in the same place, has in common, as pictures: Figure 7c."""

    class_name: str
    concept: str  # the reference's
    arms: tuple  # (arm,)
    names: tuple  # (arm,): the concept of the arm
    overlaps: np.ndarray  # (arm,): intersection over union with the reference's, in [0, 1]
    pictures: np.ndarray  # uint8 (arm, size, size, 3)


def beside(arms, class_name, concept="", pictures=40, crop=128, steps=100, seed=0):
    """`Beside` of one concept of a class. arms: of `train_arms`; the first is the reference, a network's own concepts.

    concept: a name of the reference's; where the class has none of that name, its first. The same concept of another
    arm has the same name, whatever its number; where none has, or concepts have no names, it is any. Of several it is
    the one in the same place, by the intersection over union of cells in 80 test pictures. Windows,
    row-centred PCA and inversion are those of `asxai.traits.pictures.trait_pictures`, with fewer steps.
    """
    first = next(iter(arms.values()))
    if first.concepts is None:
        raise ValueError(f"the first arm, {first.name!r}, has no concepts of its own; put one first that has")
    label, split = first.study.label_of(class_name), first.study.data.test
    found = [places(arm, split, label, 80) for arm in arms.values()]
    wanted = found[0].names.index(concept) if concept in found[0].names else 0
    names, overlaps, results = [], [], []
    for arm, own in zip(arms.values(), found):
        iou = _overlap(found[0].cells[:, wanted], own.cells)
        best = max(_of_that_name(found[0].names[wanted], own.names), key=lambda k: iou[k])
        names.append(own.names[best])
        overlaps.append(float(iou[best]))
        windows = _windows_of(arm, label, own.names[best], pictures, min(crop, arm.study.config.size))
        results.append(_trait_picture(arm, windows, steps, seed, f"trait pictures, {class_name}, {arm.name}"))
    return Beside(class_name, found[0].names[wanted], tuple(arms), tuple(names), np.array(overlaps), np.stack(results))


def _of_that_name(wanted, names):
    """Indices of names that differ from the one that is wanted by a number at most; of all if there are none."""
    named = [] if is_named_after(wanted, "concept") else [
        k for k, name in enumerate(names) if is_named_after(name, re.sub(r" \d+$", "", wanted))]
    return named or range(len(names))


def _overlap(cells, others):
    """Intersection over union of `(picture, height, width)` with each of `(picture, concept, height, width)`."""
    both = (cells[:, None] & others).sum(dim=(0, 2, 3)).double()
    return both / (cells[:, None] | others).sum(dim=(0, 2, 3)).clamp(min=1)


def _windows_of(arm, label, name, count, crop):
    """uint8 `(picture, 3, crop, crop)`: training pictures around a concept; around its middle if it has no peak."""
    train = arm.study.data.train
    members = np.flatnonzero(train.labels == label)
    if arm.concepts is None:
        found = places(arm, train, label, count)
        cells = found.cells[:, found.names.index(name)].double()  # (picture, height, width)
        seen = cells.sum(dim=(1, 2)) > 0
        chosen, cells = found.chosen[seen.numpy()], cells[seen]
        points = torch.stack([(cells.sum(dim=3 - axis) * (torch.arange(cells.shape[axis]) + 0.5)).sum(dim=1)
                              / cells.sum(dim=(1, 2)) / cells.shape[axis] for axis in (1, 2)], dim=1).numpy()
    else:
        with torch.inference_mode():
            own = maps_of_features(arm.study, arm.study.features(train)[0][torch.from_numpy(members)],
                            torch.from_numpy(train.labels[members]))
        best, k = arm.concepts.exemplars(own, train.labels[members], count), arm.concepts.names.index(name)
        shown = best.pictures[label, k] >= 0
        chosen, points = members[best.pictures[label, k][shown]], best.points[label, k][shown]
    return windows_around(to_batch([train.paths[i] for i in chosen], arm.study.config.size), points, crop)


def _trait_picture(arm, windows, steps, seed, desc):
    network, device = Network(arm.study.model), arm.study.model.feature_mean.device
    with torch.inference_mode():
        maps = torch.cat([network(batch.to(device)).cpu() for batch in windows.split(BATCH)])
    target = torch.from_numpy(row_centred_pca(maps, 1).trait).float()[None]
    result = invert(network, target.to(device), windows.shape[-1], steps=steps, seed=seed, desc=desc)
    return result.to_uint8(stretch=True)[0]
