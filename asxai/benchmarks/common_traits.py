"""Common traits of the concepts of any method: how specific and how normal A_s is, in pictures with concepts hidden.

    ours = traits_of("this study", study)                 # a ClassTraits per class, see asxai.traits.vectors
    other = traits_of("superpixels", study)               # S-XAI's way to regions, the same pipeline
    table = specificity_table([(OURS, 0, ours), (SUPERPIXELS, 0, other)])
    rows = measure("superpixels", study)                  # or both measures in short

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
from ..traits.pooled import Network, pooled_features, split_pooled
from ..traits.vectors import normality, specificity, weighted_activation
from .prototypes import OURS, row

if TYPE_CHECKING:
    from ..study import Study

# two stand for S-XAI's manual annotation: from below, nobody says what they show, and from above, true parts
SUPERPIXELS, BOXES = "superpixels", "boxes around parts"
COMPARED = (SUPERPIXELS, BOXES)
QQ_TARGET, DIAGONAL_TARGET, SPEED_TARGET = 0.98, 0.9, 10  # the paper's, and the two that this study set itself
OF_NORMALITY = ("r2", "w", "p", "count", "mean", "std", "skew")
RACE = ["target", "method", "steps", "seconds", "objective", "feature_error", "total_variation"]
RACE += ["steps_to_reach", "seconds_to_reach", "speedup"]


def traits_of(method: str | Method, study: "Study", **options) -> list[ClassTraits]:
    """`ClassTraits` of each class for the regions of a method; options of `asxai.traits.common.common_traits`."""
    method = fitted(method, study)
    return common_traits(study, method.regions, **options, desc=method.name) if method.has_concepts() else []


def measure(method: str | Method, study: "Study", **options) -> pd.DataFrame:
    """`trait_rows` of a method as tidy rows: `method`, `seed`, `measure`, `value`, `low`, `high`, `better`."""
    method, seed = fitted(method, study), study.config.seed
    rows = trait_rows(traits_of(method, study, **options))
    return pd.DataFrame([{"method": method.name, "seed": seed, **own, "better": "higher"} for own in rows])


def trait_rows(found: list[ClassTraits]) -> list[dict]:
    """Specificity with its interval, NaN where no class has several concepts; and the median r2 of the q-q plots."""
    if not found:
        return []
    several = [(own.unmasked, own.removed) for own in found if len(own.names) > 1]
    result = specificity(several) if several else None
    share = (result.share, (result.low, result.high)) if several else (np.nan,)
    return [row("specificity", *share), row("q-q r2", np.median([one.r2 for own in found for one in own.normality()]))]


def removal_examples(method: Method, class_name: str, count: int = 2, fill: str = "black") -> dict:
    """Training pictures in which a concept fires most: `pictures`, `kept`, `removed`, `names`, a list entry each."""
    study = method.study
    label, shown = study.label_of(class_name), {"pictures": [], "kept": [], "removed": []}
    for k, (chosen, _) in enumerate(method.exemplars(label, count)):
        few = study.data.train.take(chosen)
        shown["pictures"].append(study.pictures(few.paths))
        for key, keep in (("kept", True), ("removed", False)):
            shown[key].append(method.removed(few, label, keep, fill)[k].permute(0, 2, 3, 1).numpy())
    return shown | {"names": list(method.names(label))}


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


def qq_pairs(found: list[ClassTraits], beside: pd.DataFrame) -> list[dict]:
    """For `asxai.figures.common_traits.qq_plots`: each concept's A_s beside that of another method's namesake.

    beside: of `value_table`, may be empty. "x 2" is compared with "x" where the other method has no "x 2"; without that
    name nothing stands beside.
    """
    theirs = {} if beside.empty else dict(list(beside.groupby(["class", "concept"], sort=False)["value"]))

    def namesake(class_name, name):
        there = [concept for of_class, concept in theirs if of_class == class_name]
        other = next((part for part in (name, *there) if part in there and is_named_after(name, part)), None)
        return normality(theirs[class_name, other].to_numpy(copy=True)) if other else None

    return [
        {
            "class": own.class_name,
            "names": list(own.names),
            "ours": own.normality(),
            "other": [namesake(own.class_name, name) for name in own.names],
        }
        for own in found
    ]


def value_table(found: list[ClassTraits]) -> pd.DataFrame:
    """A_s of held-out pictures: a row per class, concept and picture, `class`, `concept`, `value`."""
    rows = [
        (own.class_name, name, value)
        for own in found
        for name, values in zip(own.names, own.held_out.T)
        for value in values
    ]
    return pd.DataFrame(rows, columns=["class", "concept", "value"])


def specificity_table(runs: list[tuple]) -> pd.DataFrame:
    """How specific: a row per method and seed, `method`, `seed`, `classes`, `concepts`, `share`, `low`, `high`.

    runs: (method, seed, what `traits_of` gave) each
    """
    rows = []
    for method, seed, found in runs:
        result = specificity([(own.unmasked, own.removed) for own in found])
        rows.append((method, seed, len(found), len(result.diagonal), result.share, result.low, result.high))
    return pd.DataFrame(rows, columns=["method", "seed", "classes", "concepts", "share", "low", "high"])


def normality_table(runs: list[tuple]) -> pd.DataFrame:
    """A row per method, seed, class and concept: `r2`, `w`, `p`, `count`, `mean`, `std`, `skew` of its A_s."""
    rows = [
        (method, seed, own.class_name, name, *(getattr(result, key) for key in OF_NORMALITY))
        for method, seed, found in runs
        for own in found
        for name, result in zip(own.names, own.normality())
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "class", "concept", *OF_NORMALITY])


def vector_table(found: list[ClassTraits]) -> pd.DataFrame:
    """A row per class, concept and channel of its vector: `class`, `concept`, `channel`, `weight`."""
    rows = [
        (own.class_name, name, int(channel), weight)
        for own in found
        for name, vector in zip(own.names, own.vectors)
        for channel, weight in zip(vector.channels, vector.weights)
    ]
    return pd.DataFrame(rows, columns=["class", "concept", "channel", "weight"])


def claims(specific: pd.DataFrame, normal: pd.DataFrame, ratios: list, races: pd.DataFrame) -> list[dict]:
    """Claims of notebook 03 from `specificity_table`, `normality_table`, explained variance ratios and a race's table.

    Values are over seeds where there are several. races: the table of `race`, or empty where it was never run.
    """
    by_seed = normal[normal["method"] == OURS].groupby("seed")
    shares = {method: own["share"] for method, own in specific.groupby("method", sort=False)}
    lowest, ours = by_seed["r2"].min(), shares[OURS].dropna()
    rows = [
        claim("qq_r2_min", lowest, "above .98", lowest.mean() >= QQ_TARGET),
        claim("qq_r2_median", by_seed["r2"].median()),
        claim("shapiro_w_min", by_seed["w"].min()),
        claim("trait_explained_variance", [np.mean(ratios)]),
    ]
    if len(ours):  # else no class has several concepts
        above = SUPERPIXELS not in shares or ours.mean() > shares[SUPERPIXELS].mean()
        holds = ours.mean() >= DIAGONAL_TARGET and above
        rows.append(claim("specificity_diagonal", ours, "higher than S-XAI, as figures show", holds))
    for name, method in (("specificity_diagonal_superpixels", SUPERPIXELS), ("specificity_diagonal_boxes", BOXES)):
        if method in shares:
            rows.append(claim(name, shares[method]))
    if len(races):
        speed = races.loc[races["method"] == "fast", "speedup"].fillna(0)  # 0: never as low
        rows.append(claim("inversion_speedup", [speed.median()], "", speed.min() >= SPEED_TARGET))
    return rows


def trait_race(study, traits, concepts=3, crop=128, steps=None, fast_steps=400):
    """`race` on the targets of the first `concepts` of a class, of `asxai.traits.pictures.trait_pictures`."""
    return race(Network(study.model), traits.targets[:concepts], crop, steps, fast_steps)


def race(network, targets, size, steps=None, fast_steps=None) -> tuple[pd.DataFrame, dict]:
    """Both ways of inversion on the same targets, one after the other: a table, and each `Inversion` by its method.

    network, targets, size: as for `asxai.traits.inversion.invert`; steps and fast_steps: of the two methods

    A row per target and method, `RACE`: seconds are of a batch of targets, which run together; objective and its terms
    of the picture returned; to reach: when the objective was first as low as the paper's method left it (NaN: never;
    only pictures without jitter count); speedup: the paper's method's seconds over this.
    """
    counts = {"fast": fast_steps, "paper": steps}  # the short one first: its errors come early
    runs = {
        kind: invert(network, targets, size, kind, n, desc=f"inversion, {kind} method") for kind, n in counts.items()
    }
    rows = []
    for i, goal in enumerate(runs["paper"].trace[-1]):
        for method in ("paper", "fast"):
            run, last = runs[method], len(runs[method].trace) - 1
            first = jittered(last) if method == "fast" else last
            reached = torch.nonzero(run.trace[first:, i] <= goal)[:1].flatten() + first  # one step, or none
            step, seconds = (reached.item(), run.clock[reached, i].item()) if len(reached) else (np.nan, np.nan)
            terms = (
                values[i].item() for values in (run.clock[-1], run.trace[-1], run.feature_error, run.total_variation)
            )
            rows.append((i, method, last, *terms, step, seconds, runs["paper"].clock[-1, i].item() / seconds))
    return pd.DataFrame(rows, columns=RACE), runs
