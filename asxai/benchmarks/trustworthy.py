"""Are explanations worthy of trust? Confusing pictures, and what confidence is worth on them (section 3.4.3, Figure 6).

    sets = confusing_pictures(study, split, concepts, hidden_parts)     # name of the set -> uint8 pictures
    answered = answers(explainer, split, sets, labels)                  # name -> Answers, also of the split itself
    tiers_table(answered), tiers_table(answered, explainer.rules)       # how often each tier is used, and is right
    confidence_table(answered)                                          # and how good a guide the numbers behind are

The paper shows one picture of each kind and one answer. Here every answer is counted: on clean test pictures, and on
pictures that should convince nobody.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.special import expit

from ..concepts.cells import own_class_maps
from ..concepts.concepts import Concepts
from ..concepts.masks import FILLS, conceal, concept_regions
from ..data.datasets import Split, load_data_set, spread_over
from ..data.features import BATCH, split_features
from ..data.pictures import to_batch
from ..explain.confidence import evidence
from ..explain.disturbed import GREY, WINDOW, backgrounds, best_windows, object_cells, redrawn
from ..explain.explainer import Explainer
from ..explain.guarantee import DELTA
from ..explain.rules import TIERS, Rules, tiers
from ..explain.scores import ACTIVATIONS, channel_activation, concept_activation, fit_scores
from ..methods.black_box import fit_probe, pooled_features
from ..model.recipe import build_model
from ..progress import bar
from ..statistics import bootstrap, expected_calibration_error, risk_coverage, wilson
from ..study import Study
from ..traits.common import common_traits
from ..traits.pooled import split_pooled
from . import sentences
from .claims import claim_over_seeds, over_seeds, seed_row
from .guarantee import guarantee_table, known_answers

CLEAN = "clean"
CROP, REMOVED, BLURRED, OCCLUDED, BACKGROUND = "crop", "parts removed", "strong blur", "heavy occlusion", "background"
STRANGERS, CONFUSING = "other classes", "all confusing"
EXPLANATION, SOFTMAX, BLACK_BOX = "explanation", "softmax", "black box"
BLOCKS, HIDDEN = 8, 0.75  # occlusion: this share of 8 x 8 blocks is grey
OVERCONFIDENT = 0.9  # softmax above which the network alone counts as sure
SURE_TARGET, COVERAGE_TARGET, NOT_SURE_TARGET = 0.99, 0.60, 0.90  # set by this study before it began


def confusing_pictures(
    study: Study, split: Split, concepts: Concepts, hidden_parts=(), strangers="", count=60, seed=0
) -> dict[str, torch.Tensor]:
    """Pictures that should not convince, made from at most `count` pictures of a split, by the name of their kind.

    Each kind is uint8 `(picture, 3, size, size)`; all but strangers are in the order of
    `asxai.data.datasets.spread_over`. "crop": a window of .45 of the side that shows the object, but none of
    `hidden_parts` where that is possible. "parts removed": without these parts. "strong blur". "heavy occlusion": three
    quarters under grey blocks. "background": without any object. "other classes": pictures of the data set `strangers`,
    if given.

    Drawn pictures are drawn again without the parts. Photographs have no part masks: their crop is the window with the
    fewest pixels of strong concepts, and what is removed are the masks of all concepts, under the picture's mean
    colour; their background is the window with the fewest pixels that any concept wins. Where a drawn data set has none
    of the hidden parts, its crops and removed parts are those of photographs.
    """
    size, part_names = study.config.size, study.data.part_names
    chosen = spread_over(split, count)
    whole, maps = to_batch(chosen.paths, size), own_class_maps(study, chosen)
    if chosen.parts is not None:
        masks = torch.from_numpy(chosen.part_masks(size))
        wanted = masks > 0
    else:
        wanted = object_cells(study, concepts, chosen)
    if hidden := [name for name in part_names if name in hidden_parts]:
        avoided = torch.isin(masks, torch.tensor([1 + part_names.index(name) for name in hidden]))
        removed = redrawn(study, chosen, hidden)
    else:
        avoided = concepts.masks(maps, chosen.labels, size).any(dim=1)
        removed = conceal(whole, avoided, keep=False, fill="mean")
    # a single pixel to avoid outweighs a whole window of what is wanted
    crop = best_windows(whole, wanted.float() - size**2 * avoided.float(), round(WINDOW * size))
    sets = {CROP: crop, REMOVED: removed, BLURRED: FILLS["blurred"](whole), OCCLUDED: _occluded(whole, seed)}
    sets[BACKGROUND] = backgrounds(study, concepts, chosen)
    if strangers:
        sets[STRANGERS] = to_batch(spread_over(load_data_set(strangers).test, count).paths, size)
    return sets


def _occluded(pictures, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(len(pictures), BLOCKS**2, generator=generator).argsort(dim=1).argsort(dim=1)
    hidden = (order < HIDDEN * BLOCKS**2).view(-1, 1, BLOCKS, BLOCKS).float()
    hidden = F.interpolate(hidden, size=pictures.shape[2:], mode="nearest") > 0.5
    return torch.where(hidden, torch.full_like(pictures, GREY), pictures)


class Answers(NamedTuple):
    """What an explainer answers on one set of pictures."""

    scores: np.ndarray  # PCS, (picture, class, concept)
    probabilities: np.ndarray  # softmax, (picture, class)
    black_box: np.ndarray  # probabilities of the probe on the untouched backbone, (picture, class)
    odds: np.ndarray  # log odds of being right, by `asxai.explain.confidence`, (picture,)
    calibrated: np.ndarray  # its tier, index into `TIERS`, (picture,)
    labels: np.ndarray  # true class, (picture,); -1 where no class is right

    @property
    def predicted(self):
        return self.probabilities.argmax(axis=1)

    @property
    def right(self):
        return self.predicted == self.labels

    @property
    def black_box_right(self):
        return self.black_box.argmax(axis=1) == self.labels

    def tiers(self, rules):
        """Index into `TIERS`, `(picture,)`, by a rule table; None: the calibrated ones."""
        return self.calibrated if rules is None else tiers(self.scores, self.predicted, rules)


def answers(explainer: Explainer, split: Split, sets=None, labels=None) -> dict[str, Answers]:
    """`Answers` on the pictures of a split, called "clean", and on confusing ones, by the name of the set.

    sets: of `confusing_pictures`; labels: the classes of the pictures that they were made from. Neither a background
    alone nor a stranger has a class, so that no answer to it is right. The black box is
    `asxai.methods.black_box.fit_probe`.
    """
    study, device = explainer.study, explainer.study.model.feature_mean.device
    probe, untouched = fit_probe(study.config, study.data, device), study.model
    if study.config.trainable != "head":  # then the study's backbone is no longer the black box's
        untouched = build_model(study.config, len(study.class_names)).to(device)
    pooled = pooled_features(untouched, split_features(untouched, split, study.config.size)[0])
    similarity = study.similarity(split)
    logits = F.linear(similarity.flatten(1), study.model.last_layer.weight.detach().cpu())
    result = {CLEAN: _answers(explainer, similarity, logits, probe, pooled, split.labels)}
    for name, pictures in bar(list((sets or {}).items()), desc="confusing pictures"):
        truth = np.full(len(pictures), -1) if name in (BACKGROUND, STRANGERS) else labels
        similarity, logits, pooled = _seen(study, untouched, pictures)
        result[name] = _answers(explainer, similarity, logits, probe, pooled, truth)
    return result


def _answers(explainer, similarity, logits, probe, pooled, labels):
    found = evidence(explainer, similarity, logits)
    confidence = explainer.confidence
    of_explanation = (confidence.log_odds(found), confidence.tiers(found))
    return Answers(*explainer.pcs_of(similarity, logits), probe.predict_proba(pooled), *of_explanation, labels)


@torch.inference_mode()
def _seen(study, untouched, pictures):
    """Similarities, logits, and the features of the black box, with one pass through the fixed part if it can be.

    untouched: the model whose backbone the probe reads, the study's where its backbone was not trained
    """
    model, outs = study.model, []
    for batch in pictures.split(BATCH):
        features = model.features(batch.to(model.feature_mean.device))
        out = model(features)
        features = features if untouched is model else untouched.features(batch.to(model.feature_mean.device))
        outs.append((out.similarity.cpu(), out.logits.cpu(), torch.from_numpy(pooled_features(untouched, features))))
    similarity, logits, pooled = (torch.cat(values) for values in zip(*outs))
    return similarity, logits, pooled.numpy()


def joined(answered: dict[str, Answers]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PCS, predicted and true class of all sets, as `asxai.widgets.explorers.rule_explorer` takes them."""
    every = _together(answered.values())
    return every.scores, every.predicted, every.labels


def _together(sets):
    return Answers(*(np.concatenate(values) for values in zip(*sets)))


def _with_all_confusing(answered):
    confusing = [one for name, one in answered.items() if name != CLEAN]
    return answered | ({CONFUSING: _together(confusing)} if confusing else {})


def tier_table(tiers: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """How often each tier is used and how often it is right, a row per tier and one for all.

    tiers: index into `TIERS`, `(picture,)`. right: bool `(picture,)`. Columns: pictures; share of all pictures and
    accuracy, each with its 95 % `wilson` interval. Accuracy is NaN for a tier that is never used.
    """
    rows = []
    for name, of_tier in [*((name, tiers == index) for index, name in enumerate(TIERS)), ("all", tiers >= 0)]:
        count, hits = int(of_tier.sum()), int(right[of_tier].sum())
        rows.append((name, count, *wilson(count, len(tiers)), *wilson(hits, count)))
    shares = [f"{what}{end}" for what in ("share", "accuracy") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["tier", "pictures", *shares])


def tiers_table(answered: dict[str, Answers], rules: Rules | None = None) -> pd.DataFrame:
    """A row per set and tier: `set`, and the columns of `tier_table`; "all confusing": all but clean.

    rules: those that decide, instead of the calibrated tiers
    """
    sets = _with_all_confusing(answered)
    tables = {name: tier_table(one.tiers(rules), one.right) for name, one in sets.items()}
    return pd.concat(tables, names=["set", None]).reset_index(level="set").reset_index(drop=True)


def softmax_table(answered: dict[str, Answers], rules: Rules | None = None) -> pd.DataFrame:
    """A row per set and network: how often its softmax is above .9, how often it is right then, and how often at all.

    Columns `set`, `network` ("softmax", of the study's network, or "black box"), `pictures`, `above .9`, `right then`
    and `right`; and what explanations make of the pictures above .9: `not sure then`, the share that the tiers call not
    sure, with its Wilson interval `low`, `high`, and `not sure if wrong`, of those that are wrong.
    """
    rows, share = [], lambda values: values.mean() if len(values) else np.nan
    for name, one in _with_all_confusing(answered).items():
        unsure = one.tiers(rules) == len(TIERS) - 1
        networks = {SOFTMAX: (one.probabilities, one.right), BLACK_BOX: (one.black_box, one.black_box_right)}
        for network, (values, right) in networks.items():
            sure = values.max(axis=1) > OVERCONFIDENT
            modest = (*wilson(int(unsure[sure].sum()), int(sure.sum())), share(unsure[sure & ~right]))
            rows.append((name, network, len(sure), sure.mean(), share(right[sure]), right.mean(), *modest))
    columns = ["above .9", "right then", "right", "not sure then", "low", "high", "not sure if wrong"]
    return pd.DataFrame(rows, columns=["set", "network", "pictures", *columns])


def confidences(answered: dict[str, Answers]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Confidence and hits of every picture of all sets, by source: `{name: (confidence, right)}`, both `(picture,)`.

    The explanation's probability of being right, the softmax of the study's network, and the black box's.
    """
    every = _together(answered.values())
    return {
        EXPLANATION: (expit(every.odds), every.right),
        SOFTMAX: (every.probabilities.max(axis=1), every.right),
        BLACK_BOX: (every.black_box.max(axis=1), every.black_box_right),
    }


MEASURES = {
    "ECE": expected_calibration_error,
    "AURC": lambda confidence, right: risk_coverage(confidence, right).aurc,
    "AUGRC": lambda confidence, right: risk_coverage(confidence, right).augrc,
}


def confidence_table(answered: dict[str, Answers], draws=300) -> pd.DataFrame:
    """How good a guide each of `confidences` is, over all sets, by `MEASURES`: lower is better.

    Columns `confidence`, `measure`, `value`, `low`, `high`, and `difference` to the softmax with `difference_low` and
    `difference_high`: 95 % intervals over pictures, drawn again within each set.
    """
    groups, rows = np.repeat(np.arange(len(answered)), [len(one.labels) for one in answered.values()]), []
    sources, once = confidences(answered), np.ones((1, len(groups)), int)
    third = list(sources).index(SOFTMAX)

    def measured(weights, of):  # (draw, value or difference, source)
        draw = lambda w: np.array([of(*(np.repeat(values, w) for values in given)) for given in sources.values()])
        return np.array([(found, found - found[third]) for found in map(draw, weights)])

    for measure, of in MEASURES.items():
        numbers = measured(once, of)[0], *bootstrap(partial(measured, of=of), groups, draws)
        each = np.stack(numbers).transpose(2, 1, 0).reshape(len(sources), 6)
        rows += [(name, measure, *values) for name, values in zip(sources, each)]
    columns = ["value", "low", "high", "difference", "difference_low", "difference_high"]
    return pd.DataFrame(rows, columns=["confidence", "measure", *columns])


def activation_table(explainer: Explainer, split: Split) -> pd.DataFrame:
    """Two readings of A_s (equation 12) on a split: does P_s tell the right class from others? A row per reading.

    Columns `activation`, `right class` and `best other class` (mean over pictures of the mean P_s over a class's
    concepts) and `right first` (how often the former is higher). The channels are the semantic vectors of notebook 03.
    """
    study, concepts, train = explainer.study, explainer.concepts, explainer.study.data.train
    traits = common_traits(study, concept_regions(study, concepts), measured=2)
    importance = np.where(np.isfinite(explainer.scores.importance), 1.0, np.nan)
    cosine = lambda split: concept_activation(concepts, study.similarity(split))
    channels = lambda split: channel_activation(concepts, traits, split_pooled(study, split))
    rows, index = [], np.arange(len(split))
    for name, of in zip(ACTIVATIONS, (cosine, channels)):
        fitted = fit_scores(of(train), train.labels, importance, study.class_names, concepts.names)
        mean = np.nanmean(fitted.probability(of(split)), axis=2)  # (picture, class)
        right = mean[index, split.labels]
        mean[index, split.labels] = -1
        other = mean.max(axis=1)
        rows.append((name, right.mean(), other.mean(), np.mean((right > other) + 0.5 * (right == other))))
    return pd.DataFrame(rows, columns=["activation", "right class", "best other class", "right first"])


def seed_claims(study: Study, hidden_parts, strangers: str, count: int) -> pd.DataFrame:
    """Claims of another study, with an explainer of its own, on the same pictures: a table of one row."""
    explainer, split = Explainer(study), study.data.test
    sets = confusing_pictures(study, split, explainer.concepts, hidden_parts, strangers, count)
    answered = answers(explainer, split, sets, spread_over(split, count).labels)
    tables = (tiers_table(answered), softmax_table(answered), confidence_table(answered, draws=2))
    kept, nothing = guarantee_table(known_answers(explainer)), pd.DataFrame()
    truth = (
        sentences.truth_table(sentences.sentence_rows(sentences.options(explainer), split)) if split.parts else nothing
    )
    rows = claims(*tables, kept, answered, explainer.rules, nothing) + sentences.claims(truth, nothing)
    return seed_row(study.config.seed, rows)


def claims(tiers, softmax, confidence, kept, answered, rules: Rules, others: pd.DataFrame) -> list[dict]:
    """Claims of notebook 06, from `tiers_table`, `softmax_table`, `confidence_table` and `guarantee_table`.

    Those of the calibrated tiers; and of `rules` (Extended Data Table 2), to compare, three again. others: rows of
    `seed_claims` of other seeds, whose values enter means and spreads. A claim about pictures that are not there, such
    as those of a tier that is never used, is left out.
    """
    claim, kept = partial(claim_over_seeds, others), kept.set_index("tier")["broken"]
    by_rules = tiers_table(answered, rules).set_index(["set", "tier"])
    tiers = tiers.set_index(["set", "tier"])
    sure, probably = (tiers.loc[(CLEAN, tier)] for tier in TIERS[:2])
    rows = [
        claim("guarantee_broken", kept[TIERS[0]], "", lambda mean: mean <= DELTA),
        claim("sure_accuracy", sure["accuracy"], "", lambda mean: mean >= SURE_TARGET),
        claim("sure_coverage", sure["share"], "", lambda mean: mean >= COVERAGE_TARGET),
        claim("sure_coverage: table", by_rules.loc[(CLEAN, TIERS[0]), "share"]),
        claim("probably_accuracy", probably["accuracy"]),
    ]
    if (CONFUSING, TIERS[-1]) in tiers.index:
        networks = softmax[softmax["set"] == CONFUSING].set_index("network")
        modest = {"not_sure_on_confusing": tiers.loc[(CONFUSING, TIERS[-1]), "share"]}
        modest["not_sure_where_softmax_is"] = networks.loc[SOFTMAX, "not sure then"]
        modest["not_sure_where_softmax_is_wrong"] = networks.loc[SOFTMAX, "not sure if wrong"]
        enough, bold = lambda mean: mean >= NOT_SURE_TARGET, lambda mean: mean > 0.5
        corrects = [claim(name, value, "corrects overconfidence", enough) for name, value in modest.items()]
        names = {"softmax_sure_on_confusing": SOFTMAX, "black_box_sure_on_confusing": BLACK_BOX}
        overconfident = [claim(n, networks.loc[of, "above .9"], "overconfident", bold) for n, of in names.items()]
        printed = softmax_table(answered, rules).set_index(["set", "network"]).loc[(CONFUSING, SOFTMAX)]
        rows += [corrects[0], *overconfident, *corrects[1:]]
        rows.append(claim("not_sure_where_softmax_is_wrong: table", printed["not sure if wrong"]))
    areas = confidence.set_index(["measure", "confidence"])["value"]
    for measure in ("AURC", "AUGRC"):
        name, of = measure.lower(), areas[measure]
        softmax_area = np.mean(over_seeds(others, f"{name}_softmax", of[SOFTMAX]))
        rows.append(claim(f"{name}_explanation", of[EXPLANATION], "", lambda mean: mean <= softmax_area))
        rows.append(claim(f"{name}_softmax", of[SOFTMAX]))
    return [row for row in rows if not np.isnan(row["here"])]
