"""Common traits of the concepts of any method: how specific and how normal A_s is, in pictures with concepts hidden.

    ours = traits_of("this study", study)                 # a ClassTraits per class, see asxai.traits.vectors
    other = traits_of(S_XAI, study)                       # S-XAI's way to regions, the same pipeline
    table = specificity_table([(OURS, 0, ours), (S_XAI, 0, other)])

Some training pictures of each class make the semantic vectors, and test pictures tell how specific these are. A_s of
all other pictures of the class is what the q-q plots show. Regions are those of a method, see `asxai.methods`.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ..concepts.names import is_named_after
from ..data.datasets import spread_over
from ..data.sources import drawn_without
from ..methods.base import Method, fitted
from ..results import claim
from ..traits.common import ClassTraits, common_traits
from ..traits.inversion import invert, jittered
from ..traits.pooled import pooled_features, split_pooled
from ..traits.vectors import normality, specificity, weighted_activation
from .prototypes import OURS, row

if TYPE_CHECKING:
    from ..study import Study

# S-XAI's superpixels are marked by a person: true masks do it perfectly; on photographs, which have none, only looks
S_XAI, SUPERPIXELS, BOXES = "annotated superpixels", "superpixels", "boxes around parts"
QQ_TARGET, DIAGONAL_TARGET, SPEED_TARGET = 0.98, 0.9, 10  # the paper's, and the two that this study set itself
OF_NORMALITY = ("r2", "w", "p", "count", "mean", "std", "skew")
RACE = ["target", "method", "steps", "seconds", "objective", "feature_error", "total_variation"]
RACE += ["steps_to_reach", "seconds_to_reach", "speedup"]


def traits_of(method: str | Method, study: "Study", **options) -> list[ClassTraits]:
    """`ClassTraits` of each class for the regions of a method; options of `asxai.traits.common.common_traits`."""
    method = fitted(method, study)
    return common_traits(study, method.regions, **options, desc=method.name) if method.has_concepts() else []


def compared(study: "Study") -> tuple[str, ...]:
    """Names in METHODS of what stands beside this study: where there are part masks, those that know them."""
    return (S_XAI, BOXES) if study.data.part_names else (SUPERPIXELS,)


def trait_rows(traits: list[ClassTraits]) -> list[dict]:
    """Specificity with its interval, NaN where no class has several concepts; and the median r2 of the q-q plots."""
    if not traits:
        return []
    r2 = [result.r2 for of_class in traits for result in of_class.normality()]
    several = [of_class for of_class in traits if len(of_class.names) > 1]
    _, share, *interval = _specificity(several) if several else [np.nan] * 4
    return [row("specificity", share, interval), row("q-q r2", np.median(r2))]


def _specificity(traits):
    """Rows of the matrix, share on its diagonal and the interval, see `asxai.traits.vectors.specificity`."""
    result = specificity([(of_class.unmasked, of_class.removed) for of_class in traits])
    return len(result.diagonal), result.share, result.low, result.high


def removal_examples(method: Method, class_name: str, count: int = 2, fill: str = "black") -> dict:
    """Training pictures in which a concept fires most: `pictures`, `kept`, `removed`, `names`, a list entry each."""
    study, label = method.study, method.study.label_of(class_name)
    best = [study.data.train.take(chosen) for chosen, _ in method.exemplars(label, count)]
    without = lambda k, few, keep: method.removed(few, label, keep, fill)[k].permute(0, 2, 3, 1).numpy()
    halves = {
        key: [without(*one, keep) for one in enumerate(best)] for key, keep in (("kept", True), ("removed", False))
    }
    return {"pictures": [study.pictures(few.paths) for few in best], **halves, "names": list(method.names(label))}


def rendered_drops(study: "Study", traits: list[ClassTraits], pictures: int) -> list[tuple]:
    """Mean drop of A_s when a true part is not drawn at all: per class `(names of parts, (part, concept))`.

    In standard deviations of a concept's A_s over whole pictures, as in `concept_drops`. What was behind the part is
    seen then, so that nothing black is left to react to. Empty for data sets that are not drawn.
    """
    results, test = [], study.data.test
    for label, own in enumerate(traits if study.data.part_names else []):
        split = spread_over(test.take(test.labels == label), pictures)
        parts, drawn = drawn_without(study, split, f"drawing without parts, {own.class_name}")
        without = pooled_features(study, drawn.flatten(0, 1)).unflatten(1, drawn.shape[:2])
        whole = weighted_activation(own.reader(split_pooled(study, split)), own.vectors)
        left = np.stack([weighted_activation(features, own.vectors) for features in own.reader(without)])
        results.append((parts, (whole - left).mean(axis=1) / own.unmasked.std(axis=0)))
    return results


# --- Tables ----------------------------------------------------------------------------------------------------------


def qq_pairs(traits: list[ClassTraits], beside: pd.DataFrame) -> list[dict]:
    """For `asxai.figures.common_traits.qq_plots`: each concept's A_s beside that of another method's namesake.

    beside: of `value_table`, may be empty. "x 2" is compared with "x" where the other method has no "x 2"; without that
    name nothing stands beside.
    """
    theirs = {} if beside.empty else dict(list(beside.groupby(["class", "concept"], sort=False)["value"]))

    def namesake(class_name, name):
        there = [concept for of_class, concept in theirs if of_class == class_name]
        other = next((part for part in (name, *there) if part in there and is_named_after(name, part)), None)
        return normality(theirs[class_name, other].to_numpy(copy=True)) if other else None

    pairs = []
    for own in traits:
        others = [namesake(own.class_name, name) for name in own.names]
        pairs.append({"class": own.class_name, "names": list(own.names), "ours": own.normality(), "other": others})
    return pairs


def value_table(traits: list[ClassTraits]) -> pd.DataFrame:
    """A_s of held-out pictures: a row per class, concept and picture, `class`, `concept`, `value`."""
    pairs = [(own.class_name, *pair) for own in traits for pair in zip(own.names, own.held_out.T)]
    rows = [(class_name, name, value) for class_name, name, values in pairs for value in values]
    return pd.DataFrame(rows, columns=["class", "concept", "value"])


def specificity_table(runs: list[tuple]) -> pd.DataFrame:
    """How specific: a row per method and seed, `method`, `seed`, `classes`, `concepts`, `share`, `low`, `high`.

    runs: (method, seed, what `traits_of` gave) each
    """
    rows = [(method, seed, len(traits), *_specificity(traits)) for method, seed, traits in runs]
    return pd.DataFrame(rows, columns=["method", "seed", "classes", "concepts", "share", "low", "high"])


def normality_table(runs: list[tuple]) -> pd.DataFrame:
    """A row per method, seed, class and concept: `r2`, `w`, `p`, `count`, `mean`, `std`, `skew` of its A_s."""
    rows = [
        (method, seed, own.class_name, name, *(getattr(result, key) for key in OF_NORMALITY))
        for method, seed, traits in runs
        for own in traits
        for name, result in zip(own.names, own.normality())
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "class", "concept", *OF_NORMALITY])


def vector_table(traits: list[ClassTraits]) -> pd.DataFrame:
    """A row per class, concept and channel of its vector: `class`, `concept`, `channel`, `weight`."""
    pairs = [(own.class_name, *pair) for own in traits for pair in zip(own.names, own.vectors)]
    rows = [(c, name, int(channel), w) for c, name, one in pairs for channel, w in zip(one.channels, one.weights)]
    return pd.DataFrame(rows, columns=["class", "concept", "channel", "weight"])


def claims(specific: pd.DataFrame, normal: pd.DataFrame, ratios: list, races: pd.DataFrame) -> list[dict]:
    """Claims of notebook 03 from `specificity_table`, `normality_table`, explained variance ratios and a race's table.

    Values are over seeds where there are several. races: the table of `race`, or empty where it was never run.
    """
    by_seed = normal[normal["method"] == OURS].groupby("seed")
    shares = dict(list(specific.groupby("method", sort=False)["share"]))
    lowest, ours = by_seed["r2"].min(), shares[OURS].dropna()
    rows = [
        claim("qq_r2_min", lowest, "above .98", lowest.mean() >= QQ_TARGET),
        claim("qq_r2_median", by_seed["r2"].median()),
        claim("shapiro_w_min", by_seed["w"].min()),
        claim("trait_explained_variance", [np.mean(ratios)]),
    ]
    if len(ours):  # else no class has several concepts
        theirs = [shares[name].mean() for name in (S_XAI, SUPERPIXELS) if name in shares]
        holds = ours.mean() >= DIAGONAL_TARGET and all(ours.mean() > share for share in theirs)
        rows.append(claim("specificity_diagonal", ours, "higher than S-XAI, as figures show", holds))
    for name, method in (("s_xai", S_XAI), ("superpixels", SUPERPIXELS), ("boxes", BOXES)):
        if method in shares:
            rows.append(claim(f"specificity_diagonal_{name}", shares[method]))
    if len(races):
        speed = races.loc[races["method"] == "fast", "speedup"].fillna(0)  # 0: never as low
        rows.append(claim("inversion_speedup", [speed.median()], "", speed.min() >= SPEED_TARGET))
    return rows


def race(network, targets: torch.Tensor, size: int, fast_steps: int, steps: int | None = None) -> tuple:
    """Both ways of inversion on the same targets, one after the other: a table, and each `Inversion` by its method.

    As `asxai.traits.inversion.invert`. A row per target and method, `RACE`: seconds are of a batch of targets, which
    run together; objective and its terms of the picture returned; to reach: when the objective was first as low as the
    paper's method left it (NaN: never; only pictures without jitter count); speedup: the paper's method's seconds over
    this.
    """
    run = lambda kind, count: invert(network, targets, size, kind, count, desc=f"inversion, {kind} method")
    runs = {"fast": run("fast", fast_steps), "paper": run("paper", steps)}  # the short one first: its errors come early
    rows = []
    for i, goal in enumerate(runs["paper"].trace[-1]):
        for method in ("paper", "fast"):
            result, last = runs[method], len(runs[method].trace) - 1
            first = jittered(last) if method == "fast" else last
            reached = torch.nonzero(result.trace[first:, i] <= goal)[:1].flatten() + first  # one step, or none
            step, seconds = (reached.item(), result.clock[reached, i].item()) if len(reached) else (np.nan, np.nan)
            ends = (result.clock[-1], result.trace[-1], result.feature_error, result.total_variation)
            speedup = runs["paper"].clock[-1, i].item() / seconds
            rows.append((i, method, last, *(values[i].item() for values in ends), step, seconds, speedup))
    return pd.DataFrame(rows, columns=RACE), runs
