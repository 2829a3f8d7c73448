"""Are explanations worthy of trust? Confusing pictures, and what confidence is worth on them (section 3.4.3, Figure 6).

    sets = confusing_pictures(study, split, concepts, hidden_parts)     # name of the set -> uint8 pictures
    found = answers(explainer, split, sets, labels)                     # name -> Answers, also of the split itself
    tiers_table(found, explainer.rules)                                 # how often each tier is used, and is right
    confidence_table(found)                                             # and how good a guide the numbers behind are

The paper shows one picture of each kind and one answer. Here every answer is counted: on clean test pictures, and on
pictures that should convince nobody.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from joblib import Parallel, cpu_count, delayed

from .. import results
from ..concepts.cells import own_class_maps
from ..concepts.masks import FILLS, conceal, concept_regions
from ..data.datasets import load_data_set, spread_over
from ..data.features import BATCH, split_features
from ..data.pictures import to_batch
from ..data.sources import redraw
from ..explain.explainer import Explainer
from ..explain.rules import TIERS, tiers
from ..explain.scores import ACTIVATIONS, channel_activation, concept_activation, fit_scores
from ..methods.black_box import fit_probe, pooled_features
from ..model.recipe import build_model
from ..progress import bar
from ..statistics import bootstrap, expected_calibration_error, risk_coverage, wilson
from ..traits.pooled import split_pooled
from ..traits.vectors import common_traits


def tier_table(tiers, right, level=0.95):
    """How often each tier is used and how often it is right, a row per tier and one for all.

    tiers: index into `TIERS`, `(picture,)`. right: bool `(picture,)`. Columns: pictures; share of all pictures and
    accuracy, each with its `wilson` interval that holds `level`. Accuracy is NaN for a tier that is never
    used. Raises ValueError for shapes or values that do not fit.
    """
    tiers, right = np.asarray(tiers), np.asarray(right)
    if tiers.ndim != 1 or not np.issubdtype(tiers.dtype, np.integer) or not np.isin(tiers, range(len(TIERS))).all():
        raise ValueError(f"tiers {tiers.dtype} {tiers.shape} must be whole numbers (picture,) from 0 to "
                         f"{len(TIERS) - 1}, as `asxai.explain.rules.tiers` gives")
    if right.shape != tiers.shape or right.dtype != bool:
        raise ValueError(f"right {right.dtype} {right.shape} must be bool (picture,) {tiers.shape}, whether each "
                         "prediction is right")
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1, for example 0.95")
    rows = []
    for name, of_tier in [*((name, tiers == index) for index, name in enumerate(TIERS)), ("all", tiers >= 0)]:
        count, row = int(of_tier.sum()), {"tier": name, "pictures": int(of_tier.sum())}
        row["share"], row["share_low"], row["share_high"] = wilson(count, len(tiers), level)
        row["accuracy"], row["accuracy_low"], row["accuracy_high"] = wilson(int(right[of_tier].sum()), count, level)
        rows.append(row)
    return pd.DataFrame(rows)


CLEAN = "clean"
CROP, REMOVED, BLURRED, OCCLUDED, BACKGROUND = "crop", "parts removed", "strong blur", "heavy occlusion", "background"
STRANGERS, CONFUSING = "other classes", "all confusing"
EXPLANATION, SOFTMAX, BLACK_BOX = "explanation", "softmax", "black box"
WINDOW = 0.45  # side of a crop, as a share of the picture's
BLOCKS, HIDDEN = 8, 0.75  # occlusion: this share of 8 x 8 blocks is grey
GREY = 128
OVERCONFIDENT = 0.9  # softmax above which the network alone counts as sure
SURE_TARGET, COVERAGE_TARGET, NOT_SURE_TARGET = 0.99, 0.60, 0.80  # set by this study before it began


# --- Confusing pictures ----------------------------------------------------------------------------------------------


def confusing_pictures(study, split, concepts, hidden_parts=(), strangers="", count=60, seed=0):
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
    size = study.config.size
    shown = spread_over(split, count)
    whole = to_batch(shown.paths, size)
    hidden = [k for k, name in enumerate(study.data.part_names, 1) if name in hidden_parts]
    if shown.parts is not None:
        masks = torch.from_numpy(shown.part_masks(size))
        wanted, background = masks > 0, _redrawn(study, shown, study.data.part_names)
    else:
        won = torch.from_numpy(concepts.winners(own_class_maps(study, shown), shown.labels) > 0)
        wanted = F.interpolate(won[:, None].float(), size=(size, size), mode="nearest")[:, 0] > 0.5
        background = _windows(whole, -wanted.float())
    if hidden:
        avoided = torch.isin(masks, torch.tensor(hidden))
        removed = _redrawn(study, shown, [study.data.part_names[k - 1] for k in hidden])
    else:
        avoided = concepts.masks(own_class_maps(study, shown), shown.labels, size).any(dim=1)
        removed = conceal(whole, avoided, keep=False, fill="mean")
    # a single pixel to avoid outweighs a whole window of what is wanted
    sets = {CROP: _windows(whole, wanted.float() - size**2 * avoided.float()), REMOVED: removed,
            BLURRED: FILLS["blurred"](whole), OCCLUDED: _occluded(whole, seed), BACKGROUND: background}
    if strangers:
        other = spread_over(load_data_set(strangers).test, count)
        sets[STRANGERS] = to_batch(other.paths, size)
    return sets


def _redrawn(study, split, parts):
    jobs = zip(split.paths, split.fine or [None] * len(split))
    processes = min(cpu_count(), 1 + len(split) // 32)  # one takes some seconds to start
    drawn = Parallel(n_jobs=processes)(delayed(redraw)(study.data.name, path, tuple(parts), fine)
                                       for path, fine in jobs)
    return to_batch(drawn, study.config.size)


def _windows(pictures, worth):
    """The window of each picture that is worth most, enlarged; worth `(picture, size, size)` per pixel."""
    size = pictures.shape[-1]
    side = round(WINDOW * size)
    stride = max(1, size // 40)
    scores = F.avg_pool2d(worth[:, None], side, stride)[:, 0]  # (picture, row, column) of windows
    best = scores.flatten(1).argmax(dim=1)
    tops, lefts = (best // scores.shape[2] * stride).tolist(), (best % scores.shape[2] * stride).tolist()
    cut = torch.stack([own[:, top:top + side, left:left + side] for own, top, left in zip(pictures, tops, lefts)])
    large = F.interpolate(cut.float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8)


def _occluded(pictures, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(len(pictures), BLOCKS**2, generator=generator).argsort(dim=1).argsort(dim=1)
    hidden = (order < HIDDEN * BLOCKS**2).view(-1, 1, BLOCKS, BLOCKS).float()
    hidden = F.interpolate(hidden, size=pictures.shape[2:], mode="nearest") > 0.5
    return torch.where(hidden, torch.full_like(pictures, GREY), pictures)


# --- What confidence is worth ----------------------------------------------------------------------------------------


def concept_confidence(scores, predicted):
    """How sure the concepts are, `(picture,)`, up to about 1; scores are PCS `(picture, class, concept)`.

    The mean PCS of the predicted class's concepts, minus the highest PCS of any concept of another class: low where
    concepts of the class are missing, where one of another class is plainly seen, or both. No probability: with more
    classes some concept of another class is more often seen, and it falls.
    """
    index, other = np.arange(len(scores)), np.array(scores, dtype=np.float64)
    own = other[index, predicted].copy()
    other[index, predicted] = np.nan
    mean = np.nan_to_num(own).sum(axis=1) / np.maximum(np.isfinite(own).sum(axis=1), 1)
    return mean - np.nan_to_num(other).max(axis=(1, 2), initial=0)


# --- Tables ----------------------------------------------------------------------------------------------------------


class Answers(NamedTuple):
    """What an explainer answers on one set of pictures."""

    scores: np.ndarray  # PCS, (picture, class, concept)
    probabilities: np.ndarray  # softmax, (picture, class)
    right: np.ndarray  # bool (picture,); False everywhere where no class is right
    black_box: np.ndarray  # probabilities of the probe on the untouched backbone, (picture, class)
    black_box_right: np.ndarray  # bool (picture,)

    @property
    def predicted(self):
        return self.probabilities.argmax(axis=1)


def answers(explainer, split, sets=None, labels=None):
    """`Answers` on the pictures of a split and on confusing ones, `{name: Answers}`; the split is called "clean".

    sets: of `confusing_pictures`; labels: the classes of the pictures that they were made from. Neither a background
    alone nor a stranger has a class, so that no answer to it is right. The black box is `asxai.methods.black_box.fit_probe`.
    Raises ValueError where labels do not fit.
    """
    study, device = explainer.study, explainer.study.model.feature_mean.device
    probe, untouched = fit_probe(study.config, study.data, device), study.model
    if study.config.trainable != "head":  # then the study's own backbone is no longer the black box's
        untouched = build_model(study.config, len(study.class_names)).to(device)
    scores, probabilities = explainer.split_pcs(split)
    black_box = probe.predict_proba(pooled_features(untouched, split_features(untouched, split, study.config.size)[0]))
    found = {CLEAN: Answers(scores, probabilities, probabilities.argmax(axis=1) == split.labels, black_box,
                            black_box.argmax(axis=1) == split.labels)}
    for name, pictures in bar(list((sets or {}).items()), desc="confusing pictures"):
        scores, probabilities, black_box = _answered(explainer, probe, untouched, pictures)
        known = name not in (BACKGROUND, STRANGERS)
        if known and np.shape(labels) != (len(pictures),):
            raise ValueError(f"labels {np.shape(labels)} must be ({len(pictures)},), the classes of the pictures of "
                             f"{name!r}: those of the split's `spread_over` with the same count")
        right = [own.argmax(axis=1) == labels if known else np.zeros(len(pictures), bool)
                 for own in (probabilities, black_box)]
        found[name] = Answers(scores, probabilities, right[0], black_box, right[1])
    return found


@torch.inference_mode()
def _answered(explainer, probe, untouched, pictures):
    """PCS, softmax and the probe's probabilities of uint8 pictures, with one pass through the fixed part if it can be.

    untouched: the model whose backbone the probe reads, the study's own where its backbone was not trained
    """
    model, found = explainer.study.model, []
    for batch in pictures.split(BATCH):
        features = model.features(batch.to(model.feature_mean.device))
        out = model(features)
        features = features if untouched is model else untouched.features(batch.to(model.feature_mean.device))
        found.append((out.similarity.cpu(), out.logits.cpu(), torch.from_numpy(pooled_features(untouched, features))))
    similarity, logits, pooled = (torch.cat(values) for values in zip(*found))
    return *explainer.pcs_of(similarity, logits), probe.predict_proba(pooled.numpy())


def _together(sets):
    """`Answers` on several sets as on one."""
    return Answers(*(np.concatenate(values) for values in zip(*sets)))


def joined(found):
    """PCS, predicted class and true class of the pictures of all sets, as `asxai.widgets.explorers.rule_explorer` takes them.

    The true class is the predicted one where that is right, and -1 where it is wrong or no class could be right.
    """
    together = _together(found.values())
    return together.scores, together.predicted, np.where(together.right, together.predicted, -1)


def tiers_table(found, rules):
    """A row per set and tier: `set`, and the columns of `asxai.benchmarks.trustworthy.tier_table`; "all confusing": all but clean."""
    tables = []
    for name, own in found.items():
        tables.append(tier_table(tiers(own.scores, own.predicted, rules), own.right).assign(set=name))
    rest = [own for name, own in found.items() if name != CLEAN]
    if rest:
        of = np.concatenate([tiers(own.scores, own.predicted, rules) for own in rest])
        tables.append(tier_table(of, np.concatenate([own.right for own in rest])).assign(set=CONFUSING))
    table = pd.concat(tables, ignore_index=True)
    return table[["set", *(column for column in table if column != "set")]]


def softmax_table(found, rules):
    """A row per set and network: how often its softmax is above .9, how often it is right then, and how often at all.

    Columns `set`, `network` ("softmax", of the study's own network, or "black box"), `pictures`, `above .9`,
    `right then` and `right`; and what explanations make of the pictures above .9: `not sure then`, the share that the
    tiers call not sure, with its Wilson interval `low`, `high`, and `not sure if wrong`, of those that are wrong.
    """
    sets = dict(found)
    rest = [own for name, own in found.items() if name != CLEAN]
    if rest:
        sets[CONFUSING] = _together(rest)
    rows = []
    for name, own in sets.items():
        unsure = tiers(own.scores, own.predicted, rules) == len(TIERS) - 1
        for network, values, right in ((SOFTMAX, own.probabilities, own.right),
                                       (BLACK_BOX, own.black_box, own.black_box_right)):
            sure = values.max(axis=1) > OVERCONFIDENT
            then, low, high = wilson(int(unsure[sure].sum()), int(sure.sum()))
            rows.append({"set": name, "network": network, "pictures": len(sure), "above .9": sure.mean(),
                         "right then": right[sure].mean() if sure.any() else np.nan, "right": right.mean(),
                         "not sure then": then, "low": low, "high": high,
                         "not sure if wrong": unsure[sure & ~right].mean() if (sure & ~right).any() else np.nan})
    return pd.DataFrame(rows)


def confidence_table(found, draws=300):
    """How good a guide each of `confidences` is, over all sets: `confidence`, `measure`, `value`, `low`, `high`.

    Measures: "ECE" and "AURC", both lower is better; intervals over pictures.
    """
    groups, rows = np.repeat(np.arange(len(found)), [len(own.right) for own in found.values()]), []
    measures = (("ECE", expected_calibration_error, confidences(found)),
                ("AURC", lambda values, right: risk_coverage(values, right).aurc, confidences(found, clipped=False)))
    for name in confidences(found):
        for measure, of, given in measures:
            values, right = given[name]
            resampled = lambda weights: np.array([of(np.repeat(values, w), np.repeat(right, w)) for w in weights])
            low, high = bootstrap(resampled, groups, draws)
            rows.append({"confidence": name, "measure": measure, "value": of(values, right), "low": float(low),
                         "high": float(high)})
    return pd.DataFrame(rows)


def activation_table(explainer, split):
    """Two readings of A_s (equation 12) on a split: does P_s tell the right class from others? A row per reading.

    Columns `activation`, `right class` and `best other class` (mean over pictures of the mean P_s over a class's
    concepts) and `right first` (how often the former is higher). The channels are the semantic vectors of notebook 03.
    """
    study, concepts = explainer.study, explainer.concepts
    traits = common_traits(study, concept_regions(study, concepts), measured=2)
    train, rows = study.data.train, []
    importance = np.where(np.isfinite(explainer.scores.importance), 1.0, np.nan)
    read = {ACTIVATIONS[0]: lambda own: concept_activation(concepts, study.similarity(own)),
            ACTIVATIONS[1]: lambda own: channel_activation(concepts, traits, split_pooled(study, own))}
    for name, of in read.items():
        fitted = fit_scores(of(train), train.labels, importance, study.class_names, concepts.names)
        mean = np.nanmean(fitted.probability(of(split)), axis=2)  # (picture, class)
        own = mean[np.arange(len(mean)), split.labels]
        mean[np.arange(len(mean)), split.labels] = -1
        other = mean.max(axis=1)
        first = np.mean((own > other) + 0.5 * (own == other))
        rows.append({"activation": name, "right class": own.mean(), "best other class": other.mean(),
                     "right first": first})
    return pd.DataFrame(rows)


def bars_of(tiers_of):
    """`tiers_table` as `asxai.figures.trustworthy.tier_bars` takes it."""
    names = {"accuracy_low": "low", "accuracy_high": "high", "pictures": "count"}
    return tiers_of[tiers_of["tier"] != "all"].rename(columns=names).reset_index(drop=True)


def curves(found):
    """Risk-coverage curves of `confidences` over all sets, `{name: (coverage, risk, aurc)}`."""
    return {name: tuple(risk_coverage(*own)) for name, own in confidences(found, clipped=False).items()}


def summary_row(seed, tiers_of, softmax, confidence):
    """The claims of one seed side by side, a table of one row."""
    own = claims(tiers_of, softmax, confidence)
    return pd.DataFrame([{"seed": seed, **{row["claim"]: row["here"] for row in own}}])


def seed_table(study, hidden_parts, strangers, count):
    """`summary_row` of another study, from its own explainer, on the same pictures."""
    explainer, split = Explainer(study), study.data.test
    sets = confusing_pictures(study, split, explainer.concepts, hidden_parts, strangers, count)
    found = answers(explainer, split, sets, spread_over(split, count).labels)
    return summary_row(study.config.seed, tiers_table(found, explainer.rules), softmax_table(found, explainer.rules),
                       confidence_table(found, draws=2))


# --- Which pictures a notebook shows ---------------------------------------------------------------------------------


def most_convinced(pictures, own):
    """Of uint8 pictures `(picture, 3, size, size)` the one with the highest softmax, `(3, size, size)`."""
    return pictures[int(own.probabilities.max(axis=1).argmax())]


def typical(own):
    """Index of the picture of median confidence, by its concepts, among those that are right."""
    confidence = np.where(own.right, concept_confidence(own.scores, own.predicted), np.nan)
    return int(np.nanargmin(np.abs(confidence - np.nanmedian(confidence))))


def closest_call(own):
    """Index of the picture whose two best classes are closest by their mean PCS."""
    best = np.sort(np.nanmean(own.scores, axis=2), axis=1)
    return int((best[:, -1] - best[:, -2]).argmin())


def confidences(found, clipped=True):
    """Confidence and hits of every picture of all sets, by source: `{name: (confidence, right)}`, both `(picture,)`.

    The explanation's (`concept_confidence`), the softmax of the study's network, and the black box's.
    clipped: whether the explanation's is kept within [0, 1], as a probability is. With many classes it is often below
    0, where pictures still have an order, which a risk-coverage curve needs
    """
    own = _together(found.values())
    lead = concept_confidence(own.scores, own.predicted)
    return {EXPLANATION: (lead.clip(0, 1) if clipped else lead, own.right),
            SOFTMAX: (own.probabilities.max(axis=1), own.right),
            BLACK_BOX: (own.black_box.max(axis=1), own.black_box_right)}


def claims(tiers_of, softmax, confidence, others=None):
    """Claims of notebook 06, from `tiers_table`, `softmax_table` and `confidence_table`.

    others: rows of `summary_row` of other seeds, whose values enter means and spreads
    """
    def claim(name, values, paper="", holds=None):
        more = list(others[name].dropna()) if others is not None and name in others else []
        values = [*np.atleast_1d(values), *more]
        return results.claim(name, values, paper, None if holds is None else holds(np.mean(values)))

    clean = tiers_of[tiers_of["set"] == CLEAN].set_index("tier")
    rows = [claim("sure_coverage", clean.loc[TIERS[0], "share"], "", lambda value: value >= COVERAGE_TARGET)]
    if clean.loc[TIERS[0], "pictures"]:  # else nothing was said for sure, neither rightly nor wrongly
        rows.insert(0, claim("sure_accuracy", clean.loc[TIERS[0], "accuracy"], "", lambda value: value >= SURE_TARGET))
    if clean.loc[TIERS[1], "pictures"]:
        rows.append(claim("probably_accuracy", clean.loc[TIERS[1], "accuracy"]))
    confusing = tiers_of[(tiers_of["set"] == CONFUSING) & (tiers_of["tier"] == TIERS[-1])]
    if len(confusing):
        rows += [claim("not_sure_on_confusing", confusing["share"], "corrects overconfidence",
                       lambda value: value >= NOT_SURE_TARGET),
                 *(claim(name, softmax.loc[(softmax["set"] == CONFUSING) & (softmax["network"] == network), "above .9"],
                         "overconfident", lambda value: value > 0.5)
                   for name, network in (("softmax_sure_on_confusing", SOFTMAX),
                                         ("black_box_sure_on_confusing", BLACK_BOX)))]
        corrected = softmax.loc[(softmax["set"] == CONFUSING) & (softmax["network"] == SOFTMAX), "not sure then"]
        if corrected.notna().all():  # else the softmax is sure of none
            rows.append(claim("not_sure_where_softmax_is", corrected, "corrects overconfidence",
                              lambda value: value >= NOT_SURE_TARGET))
        wrong = softmax.loc[(softmax["set"] == CONFUSING) & (softmax["network"] == SOFTMAX), "not sure if wrong"]
        if wrong.notna().all():  # else the softmax is right wherever it is sure
            rows.append(claim("not_sure_where_softmax_is_wrong", wrong, "corrects overconfidence",
                              lambda value: value >= NOT_SURE_TARGET))
    areas = confidence[confidence["measure"] == "AURC"].set_index("confidence")["value"]
    rows += [claim("aurc_explanation", areas[EXPLANATION], "", lambda value: value <= areas[SOFTMAX]),
             claim("aurc_softmax", areas[SOFTMAX])]
    return rows
