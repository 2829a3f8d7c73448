"""From scores to words: Extended Data Table 2 for any classes and concepts.

    tiers(scores, predicted)                        # of many pictures: 0 sure, 1 probably, 2 not sure
    judgement = judge(scores[0], predicted[0], class_names, concept_names, similarity=similarity[0])
    judgement.sentence                              # "I am sure it is a dog mainly because it has a vivid nose, ..."
    tiers(scores, predicted, dataclasses.replace(RULES, sure=0.6))

Scores are PCS (equation 13), `(picture, class, concept)`, NaN where a class lacks a concept. Delta is the PCS of the
predicted class minus that of the found class, the best other class that has the concept; where none has it, it is the
PCS itself. The printed table:

    largest delta       below .1     .1 to .35            .35 to .5                         above .5
    concepts with PCS   3 below .2   1 from .2 to .5      2 from .2 to .5                   1 above .5
    assessment          not sure     not sure, reasons    probably                          sure
    delta               below .1     .1 to .5             .1 to .35   .35 to .5             above .5
    PCS above .5        confusing    something like       perhaps     something like        obviously    ("vivid")
    PCS from .1 to .5                something like       perhaps     something like        obviously    ("be")

It is printed for two classes and four concepts, with strict inequalities on both sides, and leaves gaps. How each is
closed is said once, beside the line that does it: "Gap 1" to "Gap 9".
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import pandas as pd

TIERS = ("sure", "probably", "not sure")
BARE = 3  # column of the table: not sure and without reasons; columns 0 to 2 are the tiers, "not sure" with reasons
MOST_NAMED = 4  # concepts of one clause, or classes one is not sure about, that are named one by one
# Gap 1: with five columns of words under four assessments, "something like" stands on both sides of "perhaps". The
# words fit if each assessment has those below it, and "probably" has two: these are the words of each column, with the
# delta, by the name of its threshold, above which each is used. A tier takes over the weaker words of the one below,
# because the sentence of Figure 6c is sure and says "something like", but never a stronger one: "obviously" is only
# for the sure.
SEMANTEMES = (
    (("sure", "obviously"), ("probably", "something like"), ("unsure", "perhaps")),
    (("probably", "something like"), ("unsure", "perhaps")),
    (("unsure", "something like"),),
    (),
)


@dataclass(frozen=True)
class Rules:
    """The numbers of Extended Data Table 2; `dataclasses.replace` changes any. Raises ValueError for what cannot be.

    Gap 2: what lies on a boundary is in no interval of the printed table. Here every threshold must be exceeded, so
    that a boundary belongs to the weaker side.
    """

    unsure: float = 0.1  # delta: up to here a concept does not tell the classes apart
    probably: float = 0.35
    sure: float = 0.5
    named: float = 0.1  # PCS above which a concept gets words
    noticed: float = 0.2  # PCS above which it counts as a reason
    vivid: float = 0.5
    reasons_count: int = 1  # concepts that must be noticed to give reasons at all,
    probably_count: int = 2  # to say "probably",
    sure_count: int = 1  # and those that must be vivid to be sure
    majority: float = 0.5  # not in the paper: share of the class's concepts that must agree, see `_columns`; 0: printed
    clear: float = 0.05  # not in the paper: lead in global similarity, as a share of the highest, that settles a class
    agree_count: int = 2  # not in the paper: concepts that must agree to be sure, unless majority is 0

    def __post_init__(self):
        for name in ("unsure", "probably", "sure", "named", "noticed", "vivid", "majority", "clear"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{name}={value!r} must be a finite number, at least 0; the default is "
                                 f"{getattr(Rules, name)}")
        for lower, upper in (("unsure", "probably"), ("probably", "sure"), ("named", "noticed"), ("noticed", "vivid")):
            if getattr(self, lower) > getattr(self, upper):
                raise ValueError(f"{lower}={getattr(self, lower)} must not be above {upper}={getattr(self, upper)}; "
                                 f"lower {lower} or raise {upper}")
        for name in ("reasons_count", "probably_count", "sure_count", "agree_count"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of concepts, at least 1")
        for name in ("majority", "clear"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name}={getattr(self, name)} must be a share, at most 1; the default is "
                                 f"{getattr(Rules, name)}")

    def table(self):
        """The rules as a table to read, a row per column of the printed one: what it takes, and its words."""
        needs = ((self.sure, self.sure_count, self.vivid), (self.probably, self.probably_count, self.noticed),
                 (self.unsure, self.reasons_count, self.noticed))
        rows = [{"tier": TIERS[column], "reasons": "yes", "largest delta": f"> {delta:g}",
                 "concepts": f"{count}{' (or all, if fewer)' if count > 1 else ''} with PCS > {score:g}",
                 # both tiers that commit themselves ask for it
                 "share that agrees": "any" if column >= BARE - 1 or not self.majority else f">= {self.majority:g}"
                 + (f", at least {self.agree_count}" if not column and self.agree_count > 1 else ""),
                 "words": ", ".join(f"{word} (delta > {getattr(self, name):g})" for name, word in SEMANTEMES[column])}
                for column, (delta, count, score) in enumerate(needs)]
        rows.append({"tier": TIERS[-1], "reasons": "no", "largest delta": "any", "concepts": "any",
                     "share that agrees": "any", "words": ""})
        for row in rows:
            row["words"] = "; ".join(filter(None, (row["words"], f"confusing (PCS > {self.vivid:g})")))
        return pd.DataFrame(rows)


RULES = Rules()


class Deltas(NamedTuple):
    """What the rules are about, each `(picture, concept)`."""

    pcs: np.ndarray  # float64: of the predicted class; NaN where it lacks the concept
    delta: np.ndarray  # float64: pcs minus the score of the found class (0 if there is none); NaN where pcs is
    found: np.ndarray  # int64: the best other class that has the concept, the first of equal ones; -1 if none has it


class JudgedConcept(NamedTuple):
    """A concept of the predicted class in a picture."""

    name: str
    pcs: float
    delta: float
    found: str | None  # name of the best other class that has the concept
    position: str | None  # "vivid", "be" or None
    semanteme: str | None  # "obviously", "something like", "perhaps", "confusing" or None


def deltas(scores, predicted):
    """PCS of the predicted class, and how far it is above the best other class, per concept: `Deltas`.

    scores: PCS, `(picture, class, concept)`, at least 0; NaN where a class lacks a concept
    predicted: whole numbers `(picture,)`

    Section 2.3.4. Below 0 where another class scores higher. Raises ValueError for shapes or values that do not fit.
    """
    scores, predicted = checked_scores(scores, predicted)
    pcs, best = _own_and_best(scores, predicted)
    found = np.where(np.isnan(best), -1, (scores == best[:, None]).argmax(axis=1))
    return Deltas(pcs, pcs - np.nan_to_num(best), found)


def tiers(scores, predicted, rules=RULES):
    """Index into `TIERS` of many pictures at once, int64 `(picture,)`. Arguments and errors as for `deltas`."""
    pcs, best = _own_and_best(*checked_scores(scores, predicted))
    return np.minimum(table_columns(pcs, pcs - np.nan_to_num(best), rules), len(TIERS) - 1)


# --- The table -------------------------------------------------------------------------------------------------------


def checked_scores(scores, predicted):
    scores, predicted = np.asarray(scores), np.asarray(predicted)
    if scores.ndim != 3 or not scores.shape[1] or not np.issubdtype(scores.dtype, np.floating):
        raise ValueError(f"scores {scores.dtype} {scores.shape} must be float (picture, class, concept) with a class")
    if predicted.shape != scores.shape[:1] or not np.issubdtype(predicted.dtype, np.integer):
        raise ValueError(f"predicted {predicted.dtype} {predicted.shape} must be whole numbers (picture,) "
                         f"{scores.shape[:1]}, a class for each picture of scores")
    if predicted.size and not 0 <= predicted.min() <= predicted.max() < scores.shape[1]:
        raise ValueError(f"predicted runs from {predicted.min()} to {predicted.max()}; use classes from 0 to "
                         f"{scores.shape[1] - 1}")
    if (scores < 0).any() or (scores == np.inf).any():
        raise ValueError(f"scores run from {np.nanmin(scores)} to {np.nanmax(scores)}; PCS is finite and at least 0, "
                         "NaN where a class lacks a concept")
    return scores.astype(np.float64), predicted  # a copy


def _own_and_best(scores, predicted):
    """PCS of the predicted class and the highest of the others, both `(picture, concept)`; NaN where there is none.

    Puts NaN in place of the predicted class's scores.
    """
    rows = np.arange(len(scores))
    own = scores[rows, predicted]
    scores[rows, predicted] = np.nan
    return own, np.fmax.reduce(scores, axis=1)


def table_columns(pcs, delta, rules):
    """Column of the table, `(picture,)`: 0 to 2 as TIERS, 3 (BARE) for not sure and without reasons.

    Gap 3: many combinations are in no column, for example .35 < largest delta < .5 with one concept in range. The
    columns are tried from the surest to the least sure, and the first of which both rows hold is taken. What is left is
    not sure, without reasons; that there are three concepts below .2 is therefore never asked.

    Gap 4: of a concept "from .2 to .5" only "above .2" is asked. Otherwise a concept that grows vivid would stop
    counting, and more evidence would make the assessment less sure.

    Gap 5: a class with fewer concepts than a column counts must have all of them in range. Otherwise a class of one
    concept could be "sure" and "not sure" but never "probably".

    Gap 6: both left columns say "not sure". They are one tier; whether reasons follow is the only difference.

    Beyond the table: as printed, a single concept makes an answer sure, whatever all others say, and a crop of one limb
    is explained with certainty. So "sure" and "probably" also ask that at least the share `majority` of the class's
    concepts is ahead of the other classes by more than the tier's own threshold; 0 gives the printed table. Notebook 06
    shows both. And "sure" asks for `agree_count` concepts: of a class with a single one, half is always all, and with
    ten photographs of each class such classes are common; they can be no more than "probably".
    """
    has = (~np.isnan(pcs)).sum(axis=1)
    largest = np.fmax.reduce(delta, axis=1, initial=-np.inf)  # stays there if the class has no concept: not sure
    noticed, vivid = (pcs > rules.noticed).sum(axis=1), (pcs > rules.vivid).sum(axis=1)
    ahead = lambda threshold: (delta > threshold).sum(axis=1)  # NaN is not
    agree = lambda threshold: ahead(threshold) >= rules.majority * has - 1e-9
    several = ahead(rules.sure) >= (rules.agree_count if rules.majority else 0)
    conditions = [(largest > rules.sure) & (vivid >= np.minimum(rules.sure_count, has)) & agree(rules.sure) & several,
                  (largest > rules.probably) & (noticed >= np.minimum(rules.probably_count, has))
                  & agree(rules.probably),
                  (largest > rules.unsure) & (noticed >= np.minimum(rules.reasons_count, has))]
    return np.select(conditions, range(BARE), BARE)
