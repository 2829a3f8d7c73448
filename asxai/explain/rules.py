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
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import pandas as pd

TIERS = ("sure", "probably", "not sure")
BARE = 3  # column of the table: not sure and without reasons; columns 0 to 2 are the tiers, "not sure" with reasons
CLOSE = 0.001  # of PCS: what another order of sums may change; a tier that hangs on it is said to be close
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
ORDERED = (("unsure", "probably"), ("probably", "sure"), ("named", "noticed"), ("noticed", "vivid"))  # thresholds


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
    majority: float = (
        0.5  # not in the paper: share of the class's concepts that must agree, see `table_columns`; 0: as printed
    )
    clear: float = 0.05  # not in the paper: lead in global similarity, as a share of the highest, that settles a class
    agree_count: int = 2  # not in the paper: concepts that must agree to be sure, unless majority is 0

    def __post_init__(self):
        for name, kind, default in ((field.name, field.type, field.default) for field in fields(self)):
            value = getattr(self, name)
            number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
            if kind is int and (not number or value < 1):
                raise ValueError(f"{name}={value!r} must be a whole number of concepts, at least 1")
            if not number or not math.isfinite(value) or value < 0:
                raise ValueError(f"{name}={value!r} must be a finite number, at least 0; the default is {default}")
            if name in ("majority", "clear") and value > 1:
                raise ValueError(f"{name}={value} must be a share, at most 1; the default is {default}")
        for lower, upper in ORDERED:
            low, high = getattr(self, lower), getattr(self, upper)
            if low > high:
                raise ValueError(f"{lower}={low} must not be above {upper}={high}; lower {lower} or raise {upper}")

    def table(self) -> pd.DataFrame:
        """The rules as a table to read, a row per column of the printed one: what it takes, and its words."""
        needs = (
            (self.sure, self.sure_count, self.vivid),
            (self.probably, self.probably_count, self.noticed),
            (self.unsure, self.reasons_count, self.noticed),
        )
        confusing, rows = f"confusing (PCS > {self.vivid:g})", []
        for column, (delta, count, score) in enumerate(needs):
            concepts = f"{count}{' (or all, if fewer)' if count > 1 else ''} with PCS > {score:g}"
            agree = "any" if column == 2 or not self.majority else f">= {self.majority:g}"  # the unsure need no other
            agree += f", at least {self.agree_count}" if column == 0 and self.majority and self.agree_count > 1 else ""
            words = ", ".join(f"{word} (delta > {getattr(self, name):g})" for name, word in SEMANTEMES[column])
            rows.append((TIERS[column], "yes", f"> {delta:g}", concepts, agree, f"{words}; {confusing}"))
        rows.append((TIERS[-1], "no", "any", "any", "any", confusing))
        columns = ["tier", "reasons", "largest delta", "concepts", "share that agrees", "words"]
        return pd.DataFrame(rows, columns=columns)


RULES = Rules()


class Deltas(NamedTuple):
    """What the rules are about, each `(picture, concept)`."""

    pcs: np.ndarray  # float64: of the predicted class; NaN where it lacks the concept
    delta: np.ndarray  # float64: pcs minus the score of the found class (0 if there is none); NaN where pcs is
    found: np.ndarray  # int64: the best other class that has the concept, the first of equal ones; -1 if none has it


def deltas(scores: np.ndarray, predicted: np.ndarray) -> Deltas:
    """PCS of the predicted class, and how far it is above the best other class, per concept (section 2.3.4).

    scores: PCS, `(picture, class, concept)`, at least 0; NaN where a class lacks a concept
    predicted: whole numbers `(picture,)`

    A delta is below 0 where another class scores higher.
    """
    scores, pictures = scores.astype(np.float64), np.arange(len(scores))  # a copy
    pcs = scores[pictures, predicted]
    scores[pictures, predicted] = np.nan
    best = np.fmax.reduce(scores, axis=1)
    found = np.where(np.isnan(best), -1, (scores == best[:, None]).argmax(axis=1))
    return Deltas(pcs, pcs - np.nan_to_num(best), found)


def tiers(scores: np.ndarray, predicted: np.ndarray, rules: Rules = RULES) -> np.ndarray:
    """Index into `TIERS` of many pictures at once, int64 `(picture,)`. Arguments as for `deltas`."""
    pcs, delta, _ = deltas(scores, predicted)
    return np.minimum(table_columns(pcs, delta, rules), len(TIERS) - 1)


def table_columns(pcs: np.ndarray, delta: np.ndarray, rules: Rules) -> np.ndarray:
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
    conditions = [
        (largest > rules.sure) & (vivid >= np.minimum(rules.sure_count, has)) & agree(rules.sure) & several,
        (largest > rules.probably) & (noticed >= np.minimum(rules.probably_count, has)) & agree(rules.probably),
        (largest > rules.unsure) & (noticed >= np.minimum(rules.reasons_count, has)),
    ]
    return np.select(conditions, range(BARE), BARE)
