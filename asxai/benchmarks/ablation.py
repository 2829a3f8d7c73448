"""What orthogonality and self-supervision do (section 3.5): arms of one experiment, measured and compared.

    arms = train_arms("menagerie-pets", ARMS, seed=0)           # name -> a fitted Method; all under the same protocol
    table = measure_arms(arms)                                  # a row per arm and measure
    paired(table, ORTHOGONAL)                                   # differences over seeds, with intervals
    beside(arms, class_name, concept)                           # Figure 7c; 7a, b are in `concept_cosines`

An arm is a change of `asxai.Config`, which trains another study; or another method on the same study, such as
{"method": "superpixels"}; or {"replaced": False}, with the vectors as they were before they became patches.

Everything but the measures of `asxai.benchmarks.prototypes` is computed on cached feature maps: a concept lies in a set
of cells of the backbone's grid. So there are no black patches, to which a network may react, and no passes through the
backbone: all arms and seeds can be measured alike.
"""

import copy
import re
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
import torch

from ..cache import code_hash, kept_table, key_of
from ..concepts.names import is_named_after
from ..config import Config
from ..data.features import BATCH
from ..data.pictures import to_batch
from ..methods import METHODS, Method
from ..methods.superpixels import SIDE
from ..model.replacement import fit_last_layer
from ..model.training import evaluate
from ..results import DIGITS, claim
from ..statistics import cosine_bound, rms_cosine
from ..study import Study
from ..traits.inversion import invert
from ..traits.pca import row_centred_pca
from ..traits.pictures import windows_around
from ..traits.pooled import Network
from . import prototypes
from .common_traits import trait_rows
from .concept_cosines import cell_traits, concept_cosines, off_diagonal, places
from .prototypes import row

ORTHOGONAL, NO_ORTHOGONAL, NEITHER = "both losses", "no orthogonal loss", "neither loss"
MANUAL, BOXES = "not self-supervised", "boxes around parts"
PAPER, PAPER_WITHOUT = "paper's objective", "paper's objective, no orthogonal loss"
ARMS = {
    ORTHOGONAL: {},
    NO_ORTHOGONAL: {"orthogonality": 0.0},
    NEITHER: {"orthogonality": 0.0, "subspace": 0.0},
    MANUAL: {"method": "superpixels", "options": {"size": SIDE}},
}
FURTHER = {
    "orthonormal vectors": {"orthonormal": True},
    "not replaced": {"replaced": False},
    PAPER: {"objective": "paper"},
    PAPER_WITHOUT: {"objective": "paper", "orthogonality": 0.0},  # nothing else keeps its vectors apart
    "balanced objective": {"objective": "balanced"},
    **{f"M = {vectors}": {"basis_per_class": vectors} for vectors in (5, 20, 50, 100)},
    "D = 64": {"channels": 64},
    "M = 100, D = 64": {"basis_per_class": 100, "channels": 64, "orthogonality": 0.0},  # as published: M > D
    "sigma = 0": {"sigma": 0.0},
    BOXES: {"method": BOXES},
}
SPECIAL = ("method", "options", "replaced")  # what is no parameter of `Config`; options are those of the method
NO_DIFFERENCE = "no difference seen"  # 0 is in the intervals, which may be wide
# name: which side is better; these are compared, a table may hold more
MEASURES = dict.fromkeys(("nmi", "purity", "specificity", "q-q r2", "accuracy"), "higher")
MEASURES |= dict.fromkeys(("cosine", "cosine before", "off-diagonal"), "lower")
CODE = ("model", "concepts", "traits", "methods", "benchmarks")  # that measures depend on
COLUMNS = ["settings", "arm", "seed", "measure", "value", "low", "high"]
PICTURES = 80  # of a class, in which the places of concepts are compared
DRAWS = 10_000  # of seeds, for the bootstrap


# --- Arms ------------------------------------------------------------------------------------------------------------


def named(names: list, extra: dict | None = None) -> dict:
    """Changes by names of arms and of methods; `extra`, unless empty, is one more, called "extra arm".

    Raises ValueError for another name.
    """
    known = {name: {"method": name} for name in METHODS} | ARMS | FURTHER
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"names={unknown} are no arms; use some of {', '.join(known)}")
    return {name: known[name] for name in names} | ({"extra arm": dict(extra)} if extra else {})


def train_arms(data_set, arms: dict = ARMS, seed: int = 0, device: str = "cpu", **parameters) -> dict[str, Method]:
    """A fitted method by the name of its arm, all with the same seed and `parameters`; see the module's docstring.

    A method that knows parts is left out where there are no part masks. Raises ValueError or TypeError as `Config`
    does, before anything is trained, for an arm that cannot be, and ValueError for a method without concepts.
    """
    fields = {arm: parameters | {k: v for k, v in arms[arm].items() if k not in SPECIAL} for arm in arms}
    for arm, changes in arms.items():
        if changes.get("method", "this study") not in METHODS:
            raise ValueError(f"arm {arm!r} has method={changes['method']!r}; use one of {', '.join(METHODS)}")
        Config.of(data_set, seed=seed, **fields[arm])
    trained = {}
    for arm, changes in arms.items():
        study = Study.train(data_set, seed=seed, device=device, **fields[arm])
        method = METHODS[changes.get("method", "this study")](**changes.get("options", {}))
        if study.data.part_names or not method.needs_parts:
            trained[arm] = method.fit(study if changes.get("replaced", True) else without_replacement(study))
            if not method.has_concepts():
                raise ValueError(f"arm {arm!r}: {method.name!r} only predicts; use a method that has concepts")
    return trained


def without_replacement(study: Study) -> Study:
    """The same study with the basis vectors as they were before replacement, and the last layer fitted again."""
    model, train = copy.deepcopy(study.model), study.data.train
    with torch.no_grad():
        model.basis_vectors.copy_(study.basis_before)
    labels = torch.from_numpy(train.labels)
    similarity = evaluate(model, study.features(train)[0], labels, BATCH)["similarity"]
    fit_last_layer(model, similarity, labels, study.config.wrong_class_l1)
    # its concepts are kept in a folder beside those of the study
    return replace(study, model=model, folder=study.folder / "not-replaced", _data=study.data)


def measure(method: Method, pictures: int, measured: int) -> pd.DataFrame:
    """All measures of a method: `measure`, `value`, `low` and `high`, a 95 % bootstrap interval over pictures, or NaN.

    Measures of `asxai.benchmarks.prototypes.measure`, with the black box's accuracy for a method that does not predict;
    root mean square cosines of vectors and their lower bound; `trait_rows` of `cell_traits`; `off-diagonal`.
    """
    study, rows = method.study, []
    if method.predict(study.data.test.take([0])) is None:
        rows.append(row("accuracy", METHODS["black box"]().fit(study).accuracy(study.data.test)))
    rows += prototypes.measure(method, study).to_dict("records")
    rows += [row(f"rms cosine{kind}", rms_cosine(vectors)) for kind, vectors in method.vectors().items()]
    rows += [row("lower bound", cosine_bound(*vectors.shape[1:])) for vectors in [*method.vectors().values()][:1]]
    rows += trait_rows(cell_traits(method, study, pictures, measured))
    value, *interval = off_diagonal(concept_cosines(method, study, pictures))
    return pd.DataFrame([*rows, row("off-diagonal", value, interval)])


def measure_arms(arms: dict[str, Method], settings: str, **options) -> pd.DataFrame:
    """Measures of arms, with further columns `settings`, see `settings_of`, `arm` and `seed`; options as `measure`.

    What was measured before is read from the study's folder, but for methods that are not of this package, whose code
    may have changed.
    """
    tables = []
    for name, method in arms.items():
        plain = [value for value in vars(method).values() if isinstance(value, (int, float, str))]
        key = key_of(name, type(method).__name__, plain, sorted(options.items()), code_hash(*CODE))
        path = method.study.folder / f"ablation-{key[:12]}.csv"
        compute = partial(measure, method, **options)
        table = kept_table(path, compute) if type(method).__module__.startswith("asxai.") else compute()
        tables.append(table.assign(settings=settings, arm=name, seed=method.study.config.seed))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def settings_of(training: dict) -> str:
    """How a study is trained: the main fields of `Config`, and those of `training`; with others no table is mixed."""
    main = ("backbone", "basis_per_class", "learning_rate", "objective", "trainable")
    values = {name: getattr(Config, name) for name in main} | training
    return " ".join(f"{name}={value}" for name, value in sorted(values.items()))


def completed(kept: pd.DataFrame, arms: dict[str, Method], settings: str, **options) -> pd.DataFrame:
    """Rows of a kept table of `measure_arms` with these settings, of all seeds; arms that it lacks are measured."""
    rows = kept[kept["settings"] == settings] if len(kept) else pd.DataFrame(columns=COLUMNS)
    there = set(zip(rows["arm"], rows["seed"]))
    missing = {name: arm for name, arm in arms.items() if (name, arm.study.config.seed) not in there}
    new = measure_arms(missing, settings, **options) if missing else rows[:0]
    return pd.concat([table for table in (rows, new) if len(table)], ignore_index=True)


def for_dots(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table of `measure_arms` for `asxai.figures.prototypes.measure_dots`: only `MEASURES`, in order."""
    order = {name: place for place, name in enumerate(MEASURES)}
    rows = table[table["measure"].isin(order)].rename(columns={"arm": "method"})
    rows = rows.assign(better=rows["measure"].map(MEASURES))
    return rows.sort_values("measure", key=lambda names: names.map(order), kind="stable", ignore_index=True)


# --- Differences over seeds ------------------------------------------------------------------------------------------


def paired(table: pd.DataFrame, reference: str = ORTHOGONAL) -> pd.DataFrame:
    """Each arm less the reference at the same seeds, a row per arm and measure of `MEASURES`.

    Columns: `arm`, `measure`, `seeds` (how many both have), `difference`, its mean over seeds, `low` and `high`, its
    bootstrap interval over seeds, and `t_low` and `t_high`, Student's: of three to five seeds the bootstrap has only
    those values to draw from and is too narrow. NaN where there is one seed. Measures that either lacks are left out.
    """
    rows, generator = [], np.random.default_rng(0)
    wide = table.pivot_table(index=["arm", "seed"], columns="measure", values="value")
    there = wide.index.get_level_values("arm")
    if reference not in there:
        raise ValueError(f"reference={reference!r} is none of the arms {', '.join(dict.fromkeys(table['arm']))}")
    for arm in dict.fromkeys(table["arm"]):
        differences = wide.loc[arm] - wide.loc[reference] if arm in there and arm != reference else {}
        for name in MEASURES:
            values = differences[name].dropna().to_numpy() if name in differences else np.empty(0)
            if len(values):
                rows.append((arm, name, len(values), values.mean(), *_intervals(values, generator)))
    return pd.DataFrame(rows, columns=["arm", "measure", "seeds", "difference", "low", "high", "t_low", "t_high"])


def _intervals(values, generator):
    if len(values) < 2:
        return (np.nan,) * 4
    means = values[generator.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return low, high, values.mean() - half, values.mean() + half


def verdict(row) -> str:
    """What the intervals say: "higher" or "lower" where both exclude 0, "undecided" where only one does.

    `NO_DIFFERENCE` where both hold 0, which is not to say that there is no difference.
    """
    if np.isnan(row["low"]):
        return "one seed, no interval"
    side, wide = _side(row["low"], row["high"]), _side(row["t_low"], row["t_high"])
    return {0: NO_DIFFERENCE, 1: "higher", -1: "lower"}[side] if side == wide else "undecided"


def deciding(row) -> tuple[float, float]:
    """The interval that the verdict rests on, `(low, high)`: Student's, unless the bootstrap's alone holds 0."""
    alone = not _side(row["low"], row["high"]) and _side(row["t_low"], row["t_high"])
    return (row["low"], row["high"]) if alone else (row["t_low"], row["t_high"])


def _side(low, high):
    """The sign of an interval as it is printed; 0 if it holds 0."""
    return int(round(low, DIGITS) > 0) - int(round(high, DIGITS) < 0)


def claims(table: pd.DataFrame, differences: pd.DataFrame, of_paper: pd.DataFrame | None = None) -> list[dict]:
    """Claims of notebook 07. An effect is the reference less the arm without it, `spread` its `deciding` interval.

    differences: of `paired`; of_paper: those to the paper's own objective
    """
    chosen = lambda rows, arm, name: rows[(rows["arm"] == arm) & (rows["measure"] == name)]
    rows, purer = [], "clearer and purer with orthogonality"
    for name, arm, measured, words in (
        ("orthogonality_effect_nmi", NO_ORTHOGONAL, "nmi", purer),
        ("orthogonality_effect_purity", NO_ORTHOGONAL, "purity", purer),
        ("selfsupervised_effect_specificity", MANUAL, "specificity", "less semantic confusion"),
    ):
        rows += [_effect(name, row, words) for row in chosen(differences, arm, measured).to_dict("records")]
    for measured in ("nmi", "purity") if of_paper is not None else ():
        of_both = chosen(of_paper, PAPER_WITHOUT, measured).to_dict("records")
        rows += [_effect(f"orthogonality_effect_{measured}: paper's objective", row, purer) for row in of_both]
    apart = chosen(differences, MANUAL, "off-diagonal").query("seeds > 1").to_dict("records")
    higher = all(verdict(row) == "higher" for row in apart)
    for name, arm, words, holds in (
        ("offdiag_concepts_selfsupervised", ORTHOGONAL, "much nearer to 0 than manual", higher),
        ("offdiag_concepts_manual", MANUAL, "", None),
    ):
        values = chosen(table, arm, "off-diagonal")["value"]
        if len(values):
            rows.append(claim(name, values, words, holds if apart else None))
    return rows


def _effect(name, row, words):
    """A claim of the difference with its sign turned: what the reference has and the arm has not."""
    several = row["seeds"] > 1
    result = claim(name, -row["difference"], words, verdict(row) == "lower" if several else None)
    low, high = (0 - round(end, DIGITS) for end in deciding(row)[::-1])
    return result | {"spread": f"[{low:.{DIGITS}f}, {high:.{DIGITS}f}]" if several else "", "seeds": row["seeds"]}


# --- Trait pictures of the same concept ------------------------------------------------------------------------------


class Beside(NamedTuple):
    """What each arm's concept of the same name, or in the same place, has in common, as pictures: Figure 7c."""

    concept: str  # the reference's
    names: tuple  # (arm,): the concept of the arm
    overlaps: np.ndarray  # (arm,): intersection over union with the reference's, in [0, 1]
    pictures: np.ndarray  # uint8 (arm, size, size, 3)


def beside(arms: dict, class_name: str, concept: str, steps: int, seed=0, pictures=40, crop=128) -> Beside:
    """`Beside` of one concept of a class. arms: of `train_arms`; the first is the reference.

    concept: a name of the reference's; where the class has none of that name, its first. The same concept of another
    arm has the same name, whatever its number; where none has, or concepts have no names, it is any. Of several it is
    the one in the same place, by the intersection over union of cells in 80 test pictures. Windows, row-centred PCA and
    inversion are those of `asxai.traits.pictures.trait_pictures`, with fewer steps.
    """
    study = next(iter(arms.values())).study
    label, test = study.label_of(class_name), study.data.test
    there = [places(method, method.study, test, label, PICTURES) for method in arms.values()]
    wanted = there[0].names.index(concept) if concept in there[0].names else 0
    name, names, overlaps, results = there[0].names[wanted], [], [], []
    for (arm, method), theirs in zip(arms.items(), there):
        iou = _overlap(there[0].cells[:, wanted], theirs.cells)
        best = max(_of_that_name(name, theirs.names), key=lambda k: iou[k])
        names.append(theirs.names[best])
        overlaps.append(float(iou[best]))
        desc = f"trait pictures, {class_name}, {arm}"
        results.append(_trait_picture(method, label, names[-1], pictures, crop, steps=steps, seed=seed, desc=desc))
    return Beside(name, tuple(names), np.array(overlaps), np.stack(results))


def _of_that_name(wanted, names):
    """Indices of names that differ from the one that is wanted by a number at most; of all if there are none."""
    stem = re.sub(r" \d+$", "", wanted)
    named = [k for k, name in enumerate(names) if is_named_after(name, stem) and stem != "concept"]
    return named or range(len(names))


def _overlap(cells, others):
    """Intersection over union of `(picture, height, width)` with each of `(picture, concept, height, width)`."""
    both = (cells[:, None] & others).sum(dim=(0, 2, 3)).double()
    return both / (cells[:, None] | others).sum(dim=(0, 2, 3)).clamp(min=1)


def _trait_picture(method, label, name, count, crop, **inversion):
    """What windows of training pictures around a concept have in common, uint8 `(crop, crop, 3)`."""
    study, side = method.study, min(crop, method.study.config.size)
    chosen, points = method.exemplars(label, count)[method.names(label).index(name)]
    windows = windows_around(to_batch(study.data.train.take(chosen).paths, study.config.size), points, side)
    network = Network(study.model)
    target = torch.from_numpy(row_centred_pca(network.maps(windows)).trait).float()[None]
    return invert(network, target, side, **inversion).to_uint8(stretch=True)[0]
