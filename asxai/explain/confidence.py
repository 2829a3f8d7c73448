"""How likely an answer is right, why it may be wrong, and what its tier promises.

    confidence = fit_confidence(study_evidence(explainer))      # answers with known ones, kept with the study
    found = evidence(explainer, similarity, logits)             # (picture, feature)
    confidence.probability(found), confidence.tiers(found)      # of being right; 0 sure, 1 probably, 2 not sure
    confidence.assurances(found)                                # what the tier promises, or why it is not sure

A logistic regression on a few numbers that an explanation has anyway. It is fitted on validation pictures and on
disturbed copies of them (`asxai.explain.disturbed`), whose answers are often wrong. No coefficient may be below 0: more
evidence never makes an answer less sure, and so the sum says what is missing.

Thresholds: both tiers need a probability above .9 by this regression, half of whose weight are disturbed copies. And
they need more evidence than the weakest 15 % ("sure") or 10 % ("probably") of validation pictures have: an answer about
an unusual picture may be right, but nothing shows that it is. What is *promised* is measured on calibration pictures,
see `certify`: drawn data sets have new ones. Folders use their validation pictures, each with the confidence of a
regression that was fitted without it and its copies (cross-fitted); thresholds are then those of all folds together.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from scipy.special import expit, logit, logsumexp

from ..cache import code_hash, kept_table, key_of
from ..statistics import evenly
from .disturbed import calibration_pictures, disturbed
from .guarantee import PROBABLY_LEVELS, SURE_LEVELS, certify
from .rules import deltas
from .scores import concept_activation

if TYPE_CHECKING:
    from .explainer import Explainer

# each number, and what it says when it is low
DOUBTS = {
    "margin": "two classes are alike",
    "p-norm": "two classes are alike",
    "weakest leads": "parts are missing, or more like those of another class",
    "nearness": "nothing quite like it was in training",
}
FEATURES = tuple(DOUBTS)
WEAKEST = 2  # concepts, see `weakest_leads`
NEIGHBOURS = 5  # training pictures of the named class
P_NORM = 5  # of all logits, that the highest is divided by
RIDGE = 1.0  # on coefficients of standardised numbers
LEAST = 0.9  # probability that "sure" and "probably" need
STRICT, SURE, PROBABLY = 0.75, 0.85, 0.9  # shares of validation pictures above the strictest threshold, and the last
FOLDS = 5  # of cross-fitting
CODE = ("scores", "disturbed", "confidence")  # modules of this room that its numbers depend on
WHOLE, CALIBRATION = "validation", "calibration"  # kinds of rows that are no disturbed copies


def weakest_leads(values: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How far the predicted class is ahead in those concepts in which it is so least: mean of `WEAKEST`, `(picture,)`.

    values: P_s, PCS or A_s, `(picture, class, concept)`, NaN where a class lacks the concept. predicted: `(picture,)`.
    Ahead of the best other class that has the concept; where none has it, by all of its value (as the rules' delta). 0
    without concepts.

    A hybrid has some parts of the class that the network names, and these are as strong as ever; what gives it away are
    the others, which fit another class better. Means over all concepts hide that behind the strong ones. Two, and not
    one or three, was chosen on hybrids with seeds of their own against validation pictures.
    """
    lowest = np.sort(deltas(values, predicted).delta, axis=1)[:, :WEAKEST]  # NaN, lacking concepts, come last
    known = np.isfinite(lowest)
    return np.where(known, lowest, 0).sum(axis=1) / known.sum(axis=1).clip(1)


@dataclass(frozen=True)
class Confidence:
    """A fitted regression and what its tiers promise. Made by `fit_confidence`."""

    centre: np.ndarray  # (feature,): mean of the pictures that it was fitted on,
    scale: np.ndarray  # their standard deviation,
    weight: np.ndarray  # the coefficients of standardised numbers, none below 0,
    intercept: float  # and the log odds of a picture that is average in all of them
    usual: np.ndarray  # (feature,): mean of the fitted pictures that are not disturbed
    promises: tuple  # of "sure" and "at least probably", `Promise`; thresholds are log odds

    def log_odds(self, found: np.ndarray) -> np.ndarray:
        """Log odds of being right, `(picture,)`, of evidence `(picture, feature)`."""
        return ((found - self.centre) / self.scale) @ self.weight + self.intercept

    def probability(self, found: np.ndarray) -> np.ndarray:
        """Probability of being right, `(picture,)`, among pictures half of which are disturbed as the fitted ones."""
        return expit(self.log_odds(found))

    def tiers(self, found: np.ndarray) -> np.ndarray:
        """Index into `asxai.explain.rules.TIERS`, `(picture,)`."""
        odds = self.log_odds(found)
        return np.select([odds > promise.threshold for promise in self.promises], [0, 1], 2)

    def assurances(self, found: np.ndarray) -> list[str]:
        """What the tier of each picture promises, or what speaks most against a surer one, in a sentence.

        That is the group of numbers which lie furthest below the usual, in log odds. "Such answers" are those of the
        same tier, for "probably" those of the surer tier as well.
        """
        short = self.weight * (self.usual - found) / self.scale  # log odds that each number costs
        words, (sure, probably) = list(dict.fromkeys(DOUBTS.values())), self.promises
        groups = np.stack([short[:, [DOUBTS[name] == word for name in FEATURES]].sum(axis=1) for word in words], axis=1)
        doubts = [words[k] if np.isfinite(sure.threshold) else str(sure) for k in groups.argmax(axis=1)]
        says = (f"Sure: {sure}.", f"Probably: {probably}. Not sure: {{}}.", "Not sure: {}.")
        return [says[tier].format(doubt) for tier, doubt in zip(self.tiers(found), doubts)]

    def table(self) -> pd.DataFrame:
        """A row per number: its coefficient, centre and scale, and what it means that it is low."""
        columns = {"number": FEATURES, "coefficient": self.weight, "centre": self.centre, "scale": self.scale}
        return pd.DataFrame(columns | {"low": DOUBTS.values()})


def evidence(explainer: "Explainer", similarity: torch.Tensor, logits: torch.Tensor, without: tuple = ()) -> np.ndarray:
    """The numbers of `FEATURES`, float64 `(picture, feature)`: what an explanation has that may tell right from wrong.

    similarity: `(picture, class, basis)`. logits: `(picture, class)`. without: names of concepts that do not count

    margin: log odds of the softmax. p-norm: the highest logit, by the norm of all (Cattelan & Silva, UAI 2024). weakest
    leads: of P_s over the best other class. nearness: minus the log of the mean distance to the nearest training
    pictures of the named class.
    """
    values = logits.double().numpy()
    index, predicted = np.arange(len(values)), values.argmax(axis=1)
    activation = concept_activation(explainer.concepts, similarity, without)
    top, others = values[index, predicted], values.copy()
    others[index, predicted] = -np.inf
    known, labels = explainer.training
    distance = torch.cdist(similarity.flatten(1), known, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    distance[predicted[:, None] != labels.numpy()] = np.inf
    nearest = np.sort(distance, axis=1)[:, :NEIGHBOURS]
    found = {
        "margin": top - logsumexp(others, axis=1),
        "weakest leads": weakest_leads(explainer.scores.probability(activation), predicted),
        "nearness": -np.log(np.ma.masked_invalid(nearest).mean(axis=1).filled(1) + 1e-6),
        "p-norm": top / np.linalg.norm(values, P_NORM, axis=1),
    }
    return np.stack([found[name] for name in FEATURES], axis=1)


# --- Fitted and calibrated ------------------------------------------------------------------------------------------


def fit_weights(found: np.ndarray, right: np.ndarray, whole: np.ndarray) -> tuple:
    """Centre, scale, weights and intercept of a logistic regression without coefficients below 0.

    found: `(picture, feature)`. right, whole: bool `(picture,)`; whole pictures and disturbed copies weigh alike
    """
    centre, scale = found.mean(axis=0), found.std(axis=0) + 1e-9
    standard, sign = (found - centre) / scale, np.where(right, 1, -1)
    weight = np.where(whole, whole.size / 2 / max(1, whole.sum()), whole.size / 2 / max(1, (~whole).sum()))

    def loss(parameters):
        margin = sign * (standard @ parameters[:-1] + parameters[-1])
        slope = -weight * sign * expit(-margin)
        value = (weight * np.logaddexp(0, -margin)).sum() + RIDGE / 2 * (parameters[:-1] ** 2).sum()
        return value, np.r_[standard.T @ slope + RIDGE * parameters[:-1], slope.sum()]

    bounds = [(0, None)] * len(centre) + [(None, None)]
    best = minimize(loss, np.zeros(len(bounds)), jac=True, bounds=bounds, method="L-BFGS-B").x
    return centre, scale, best[:-1], float(best[-1])


def fit_confidence(rows: pd.DataFrame) -> Confidence:
    """`Confidence` of a table of `study_evidence`."""
    new, whole = ((rows["kind"] == kind).to_numpy() for kind in (CALIBRATION, WHOLE))
    found, right, picture = rows[list(FEATURES)].to_numpy(), rows["right"].to_numpy(), rows["picture"].to_numpy()

    def fitted(chosen):
        return Confidence(*fit_weights(found[chosen], right[chosen], whole[chosen]), found[whole].mean(axis=0), ())

    confidence = fitted(~new)
    if new.any():
        odds, answers = confidence.log_odds(found), new
    else:  # each picture by a regression that saw neither it nor a copy of it
        odds, answers = np.zeros(len(rows)), whole
        for fold in np.unique(picture % FOLDS):
            out = picture % FOLDS == fold
            odds[out] = fitted(~out).log_odds(found[out])
    usual = (confidence.log_odds(found) if new.any() else odds)[whole]
    strict, *lenient = np.quantile(usual, [1 - STRICT, 1 - SURE, 1 - PROBABLY]).clip(logit(LEAST))
    tries = zip((SURE_LEVELS, PROBABLY_LEVELS), lenient)
    promises = [certify(odds[answers], right[answers], levels, strict, threshold) for levels, threshold in tries]
    return replace(confidence, promises=tuple(promises))


def evidence_rows(explainer: "Explainer", kind: str, pictures, numbers, labels=None) -> pd.DataFrame:
    """A row per picture: its `kind`, the `picture` (number) that it is a copy of, whether the answer is `right`, and
    `FEATURES`.

    pictures: a split of the data set, whose features are cached and labels known, or uint8
    `(picture, 3, size, size)` with labels `(picture,)`, -1 where no answer is right
    """
    if labels is None:
        similarity, labels = explainer.study.similarity(pictures), pictures.labels
        logits = F.linear(similarity.flatten(1), explainer.study.model.last_layer.weight.detach().cpu())
    else:
        outs = [(out.similarity, out.logits) for out in explainer.activate(pictures)]
        similarity, logits = (torch.cat(values) for values in zip(*outs))
    table = pd.DataFrame(evidence(explainer, similarity, logits), columns=FEATURES)
    known = {"kind": kind, "picture": numbers, "right": logits.argmax(dim=1).numpy() == labels}
    return table.assign(**known)[[*known, *FEATURES]]


def study_evidence(explainer: "Explainer") -> pd.DataFrame:
    """What `fit_confidence` fits, computed once and kept in the study's folder: `evidence_rows` of `WHOLE` validation
    pictures, of disturbed copies, and of `CALIBRATION` pictures where they can be drawn."""
    study, split = explainer.study, explainer.study.data.validation

    def computed():
        tables = [evidence_rows(explainer, WHOLE, split, np.arange(len(split)))]
        for kind, (pictures, labels) in disturbed(study, explainer.concepts, split).items():
            tables.append(evidence_rows(explainer, kind, pictures, evenly(len(split), len(pictures)), labels))
        if new := calibration_pictures(study):
            tables.append(evidence_rows(explainer, CALIBRATION, new[0], -1, new[1]))
        return pd.concat(tables)

    key = key_of(
        code_hash("concepts", "ranks", *(f"explain.{name}" for name in CODE)), explainer.concepts.to_dict(), FEATURES
    )
    return kept_table(study.folder / f"evidence-{key[:12]}.csv", computed)
