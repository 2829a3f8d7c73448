"""What explorers show, computed and drawn without a widget: also for readers without a kernel.

    trait_sheet(study, basis)                               # what the sliders of a trait do
    rule_sheet(scores, predicted, labels)                   # what each threshold of the rule table does
    explanation_sheet(explainer, "some.jpg")                # what masks of other sizes and fewer concepts do

Figures are those of `asxai.figures.explore`.
"""

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from ..benchmarks.trustworthy import tier_table
from ..data.datasets import spread_over
from ..data.pictures import FORMATS, DataError, read_picture, to_batch
from ..explain.explainer import Explainer, Seen
from ..explain.explanation import Explanation
from ..explain.rules import RULES, TIERS, tiers
from ..figures import explore
from ..figures.style import Drawn
from ..traits.basis import TraitBasis, moved_traits

if TYPE_CHECKING:
    from ..study import Study

# of `asxai.explain.rules.Rules` those thresholds that decide about tiers, and what they are of
THRESHOLDS = {
    "sure": "largest delta, to be sure",
    "probably": "largest delta, to say probably",
    "unsure": "largest delta, to give reasons",
    "vivid": "PCS of a vivid concept",
    "noticed": "PCS of a noticed concept",
    "majority": "share of concepts that agree",
}


# --- Traits ----------------------------------------------------------------------------------------------------------


def trait_figure(study: "Study", basis: TraitBasis, weights: list, count: int = 4) -> Drawn:
    """The picture of a trait at some weights `(component,)`, beside the training pictures at both ends."""
    (picture,), scores = to_uint8(moved_traits(study, basis, [weights])), basis.along(weights)
    ends = basis.ends(weights, min(count, len(scores) // 2))
    way = "the way the sliders point" if np.any(weights) else "component 1 (all sliders at 0)"
    title = f"{basis.class_name}, {basis.concept}; pictures along {way}"
    return explore.trait_view(picture, *(basis.windows[end] for end in ends), [scores[end] for end in ends], title)


def trait_sheet(study: "Study", basis: TraitBasis, values: tuple = (-3, -1.5, 0, 1.5, 3), count: int = 2) -> Drawn:
    """A row per component: the trait with that component at each of `values`, between the pictures at its ends.

    Raises ValueError for `values` without 0, with which the others are compared.
    """
    if 0 not in values:
        raise ValueError(f"values={list(values)} must have 0 among them, the trait that the others are compared with")
    single = np.eye(basis.components)
    pictures = to_uint8(moved_traits(study, basis, [value * weights for weights in single for value in values]))
    pictures = pictures.reshape(len(single), len(values), *pictures.shape[1:])
    ends = [basis.ends(weights, min(count, len(basis.scores) // 2)) for weights in single]
    highest, lowest = ([basis.windows[end] for end in side] for side in zip(*ends))
    title = f"Trait of “{basis.class_name}, {basis.concept}”, moved"
    return explore.trait_sheet(pictures, values, lowest, highest, basis.ratios, title)


def to_uint8(pictures):
    """`(picture, 3, height, width)` in 0..1 for drawing."""
    return (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()


# --- Rules -----------------------------------------------------------------------------------------------------------


def tier_shares(scores, predicted, labels, **thresholds: float) -> pd.DataFrame:
    """Share and accuracy of each tier, see `asxai.benchmarks.trustworthy.tier_table`.

    scores: PCS, `(picture, class, concept)`. predicted, labels: `(picture,)`, of the network and true; -1 where no
    class is right. `asxai.benchmarks.trustworthy.joined` gives all three. thresholds: of `asxai.explain.rules.Rules`,
    those that are to be others. Raises ValueError as that class does.
    """
    return tier_table(tiers(scores, predicted, dataclasses.replace(RULES, **thresholds)), predicted == labels)


def tiers_in_words(table: pd.DataFrame) -> str:
    """The table of `tier_shares` as a sentence."""
    right = lambda row: f", {100 * row.accuracy:.1f} % of them right" if row.pictures else ""
    rows = table[table["tier"].isin(TIERS)].itertuples()
    return "; ".join(f"{row.tier}: {100 * row.share:.1f} % of pictures{right(row)}" for row in rows) + "."


def rule_sheet(scores, predicted, labels, points: int = 21) -> Drawn:
    """What each threshold does by itself; arguments as for `tier_shares`. points: values of each threshold.

    The table has a row per threshold, value and tier: `threshold`, `value`, `tier`, `share`, `accuracy`. Values that
    the other thresholds do not allow are left out.
    """
    tables = []
    for name in THRESHOLDS:
        for value in np.linspace(0, 1, points).round(6).tolist():
            try:
                table = tier_shares(scores, predicted, labels, **{name: value})
            except ValueError:
                continue
            tables.append(table[table["tier"].isin(TIERS)].assign(threshold=name, value=value))
    sweeps = pd.concat(tables, ignore_index=True)[["threshold", "value", "tier", "share", "accuracy"]]
    return explore.rule_sweeps(sweeps, {name: getattr(RULES, name) for name in THRESHOLDS}, THRESHOLDS, "Tier")


# --- Explanations ----------------------------------------------------------------------------------------------------


def examples(study: "Study", per_class: int = 4) -> dict[str, Path]:
    """Some test pictures of each class, spread evenly, by name."""
    paths, test = {}, study.data.test
    for label, class_name in enumerate(study.class_names):
        members = spread_over(test.take(test.labels == label), per_class)
        paths |= {f"{class_name} {number}": path for number, path in enumerate(members.paths, 1)}
    return paths


def read_upload(file: dict) -> Image.Image:
    """The picture of an entry of `ipywidgets.FileUpload.value`. Raises `DataError` that names the file."""
    try:
        return read_picture(Image.open(io.BytesIO(file["content"]), formats=FORMATS))
    except OSError as error:
        raise DataError(f"{file['name']}: no picture of a kind that can be read ({', '.join(FORMATS)})") from error
    except DataError as error:
        raise DataError(f"{file['name']}: {error}") from error


def looked_at(explainer: Explainer, source) -> Seen:
    """One picture as the network has seen it: all that controls change can then be explained at once."""
    return next(explainer.look(to_batch([source], explainer.study.config.size)))


def scores_in_words(explanation: Explanation) -> str:
    """Tier and PCS of the predicted class as a sentence, the highest first."""
    scores = explanation.scores[explanation.class_names.index(explanation.predicted)]
    ordered = sorted(((value, name) for value, name in zip(scores, explanation.names) if value >= 0), reverse=True)
    listed = ", ".join(f"{name} {value:.2f}" for value, name in ordered) or "it has no concept"
    return f"**{explanation.tier}** · PCS of {explanation.predicted}: {listed}"


def explanation_sheet(explainer: Explainer, source, percentiles: tuple = (90.0, 95.0, 99.0)) -> Drawn:
    """Masks at several percentiles, and explanations with fewer and fewer concepts.

    Concepts are taken away, each time that which speaks most for the class among those that are left. The sheet has the
    explanations with all, without the first, and without as many as make it less sure; if none do, without all but one.
    """
    seen, without, steps = looked_at(explainer, source), [], []
    while True:
        (explanation,) = explainer.explain_seen(seen, without=tuple(without))
        steps.append((tuple(without), explanation.scores, explanation.tier, explanation.sentence))
        left = [concept.name for concept in explanation.judgement.concepts if concept.name not in without]
        if len(left) < 2 or (explanation.tier != steps[0][2] and len(steps) > 2):
            break
        without = [*without, left[0]]
    masks = np.stack([explainer.explain_seen(seen, percentile)[0].masks for percentile in percentiles])
    names = explanation.names, explanation.class_names, explanation.predicted
    steps = steps if len(steps) < 3 else [*steps[:2], steps[-1]]
    return explore.explanation_sheet(explanation.picture, masks, percentiles, *names, steps)
