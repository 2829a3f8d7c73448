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
import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

TIERS = ("sure", "probably", "not sure")
BARE = 3  # column of the table: not sure and without reasons; columns 0 to 2 are the tiers, "not sure" with reasons
MOST_NAMED = 4  # concepts of one clause, or classes one is not sure about, that are named one by one
ARTICLE = r"^(some|an?|the)\s+(?=\S)"  # of a name; "some" is kept, for only a person knows what cannot be counted
SOME = r"some\b"
MOST_CLAUSES = 3  # that speak for the class, the strongest first, as in the sentence of Figure 6c

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


@dataclass(frozen=True)
class Judgement:
    """What `judge` says of one picture; all names as they were given."""

    tier: str  # one of TIERS
    predicted: str
    other: str | None  # the class that competes with it; None if there is one class only
    settled: str | None  # the class that global similarity settles on where concepts tell nothing; else None
    concepts: tuple  # of JudgedConcept, those of the predicted class, the largest delta first
    sentence: str


def deltas(scores, predicted):
    """PCS of the predicted class, and how far it is above the best other class, per concept: `Deltas`.

    scores: PCS, `(picture, class, concept)`, at least 0; NaN where a class lacks a concept
    predicted: whole numbers `(picture,)`

    Section 2.3.4. Below 0 where another class scores higher. Raises ValueError for shapes or values that do not fit.
    """
    scores, predicted = _checked(scores, predicted)
    pcs, best = _own_and_best(scores, predicted)
    found = np.where(np.isnan(best), -1, (scores == best[:, None]).argmax(axis=1))
    return Deltas(pcs, pcs - np.nan_to_num(best), found)


def tiers(scores, predicted, rules=RULES):
    """Index into `TIERS` of many pictures at once, int64 `(picture,)`. Arguments and errors as for `deltas`."""
    pcs, best = _own_and_best(*_checked(scores, predicted))
    return np.minimum(_columns(pcs, pcs - np.nan_to_num(best), rules), len(TIERS) - 1)


def judge(scores, predicted, class_names, concept_names, rules=RULES, similarity=None):
    """The assessment of one picture in words: a `Judgement`.

    scores: PCS, `(class, concept)`, at least 0; NaN where a class lacks a concept
    predicted: number of the class that the network predicts
    class_names, concept_names: nouns; of names of several words the last one is inflected
    similarity: global structural similarity to each class, `(class,)`; NaN where there is none

    The competing class has the highest mean PCS over its concepts: R of equation 6 has mean 1 over a class's concepts,
    so that this is the mean semantic probability, weighted by importance. A sum would favour classes of many concepts.

    Where the table gives no reasons, those other classes compete of which no concept of the predicted class is more
    than `unsure` ahead; if there are none, the one of the highest mean PCS. With similarity, the more similar are named
    first (Figure 6d). If one of them or the predicted class has the highest similarity of all, by more than the share
    `clear`, it is `settled`. The tier remains: it is about concepts. Otherwise similarity adds a sentence, no more.

    Raises ValueError for shapes, names or values that do not fit.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} must be (class, concept), those of one picture; call it per picture")
    class_names, concept_names = tuple(class_names), tuple(concept_names)
    for name, names, count in (("class_names", class_names, scores.shape[0]),
                               ("concept_names", concept_names, scores.shape[1])):
        if len(names) != count or not all(isinstance(n, str) and _readable(n) for n in names):
            raise ValueError(f"{name}={names} must be {count} texts, none empty, as many as scores {scores.shape} have")
    similarity = _similarity(similarity, len(class_names))
    scores, picked = _checked(scores[None], np.asarray(predicted)[None])
    found = deltas(scores, picked)
    column, predicted = int(_columns(found.pcs, found.delta, rules)[0]), int(picked[0])

    columns = (*(values[0].tolist() for values in found), np.fmax.reduce(scores[0], axis=0).tolist())
    judged = [_concept(name, *values, class_names, column, rules) for name, *values in zip(concept_names, *columns)
              if not math.isnan(values[0])]
    judged = tuple(sorted(judged, key=lambda concept: (-concept.delta, -concept.pcs)))
    rivals = _rivals(scores[0], predicted, column, rules, similarity)
    names = [class_names[label] for label in (predicted, *rivals)]
    sentence = _text(judged, names, column, rules)
    link = "Moreover, " if "However, " in sentence else "However, "
    settled, compared = _by_similarity(similarity, class_names, predicted, rivals, column, rules, link)
    return Judgement(TIERS[min(column, len(TIERS) - 1)], names[0], names[1] if rivals else None,
                     None if settled is None else class_names[settled], judged, sentence + compared)


def tier_table(tiers, right, level=0.95):
    """How often each tier is used and how often it is right, a row per tier and one for all.

    tiers: index into `TIERS`, `(picture,)`. right: bool `(picture,)`. Columns: pictures; share of all pictures and
    accuracy, each with its `wilson` interval that holds `level`. Accuracy is NaN for a tier that is never
    used. Raises ValueError for shapes or values that do not fit.
    """
    tiers, right = np.asarray(tiers), np.asarray(right)
    if tiers.ndim != 1 or not np.issubdtype(tiers.dtype, np.integer) or not np.isin(tiers, range(len(TIERS))).all():
        raise ValueError(f"tiers {tiers.dtype} {tiers.shape} must be whole numbers (picture,) from 0 to "
                         f"{len(TIERS) - 1}, as `asxai.rules.tiers` gives")
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


def wilson(hits, count, level=0.95):
    """A share and its Wilson interval (Wilson, 1927), all NaN where count is 0."""
    if not count:
        return (math.nan,) * 3
    interval = binomtest(hits, count).proportion_ci(level, method="wilson")
    return hits / count, interval.low, interval.high


# --- The table -------------------------------------------------------------------------------------------------------


def _checked(scores, predicted):
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


def _columns(pcs, delta, rules):
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


def _concept(name, pcs, delta, found, highest, class_names, column, rules):
    """The words of one concept; highest: its largest PCS over classes.

    Gap 7: PCS_max is "the maximum across all semantic spaces", yet one sentence of the paper has concepts with and
    without "vivid". So it is the maximum over classes, for each concept: vivid is what is clearly seen, whoever's it
    is. This matters only where the found class scores higher, which "vivid, confusing" is for.

    Gap 8: a largest PCS below .1 has no row. It gets no words, as the cell "None" above it.
    """
    position = "vivid" if highest > rules.vivid else "be" if highest > rules.named else None
    semanteme = next((word for threshold, word in SEMANTEMES[column] if delta > getattr(rules, threshold)), None)
    if semanteme is None and delta <= rules.unsure and position == "vivid":
        semanteme = "confusing"
    if position is None or semanteme is None:
        position = semanteme = None
    return JudgedConcept(name, pcs, delta, class_names[found] if found >= 0 else None, position, semanteme)


def _rivals(scores, predicted, column, rules, similarity):
    """Competing classes, the first to be named first; of scores `(class, concept)`.

    Gap 9: the table says "a cat or a dog" because there are no others. See `judge` for which are named of many.
    """
    filled = np.nan_to_num(scores)
    likeness = filled.sum(axis=1) / np.maximum((~np.isnan(scores)).sum(axis=1), 1)
    order = [label for label in np.argsort(-likeness, kind="stable").tolist() if label != predicted]
    if column != BARE:
        return order[:1]
    own = ~np.isnan(scores[predicted])
    lead = (filled[predicted, own] - filled[:, own]).max(axis=1, initial=-np.inf)  # (class,)
    alike = [label for label in order if lead[label] <= rules.unsure] or order[:1]
    if similarity is not None:
        alike.sort(key=lambda label: -np.nan_to_num(similarity[label], nan=-np.inf))
    return alike


def _similarity(similarity, classes):
    """float64 `(class,)`, or None where there is nothing to compare."""
    if similarity is None:
        return None
    similarity = np.asarray(similarity, dtype=np.float64)
    if similarity.shape != (classes,) or np.isinf(similarity).any():
        raise ValueError(f"similarity={similarity} must be a finite number or NaN for each of the {classes} classes")
    return similarity if (~np.isnan(similarity)).sum() > 1 else None


def _by_similarity(similarity, class_names, predicted, rivals, column, rules, link):
    """The class that similarity settles on, or None, and the sentence about similarity, after a blank, or "".

    link: begins that sentence where it speaks against a class that the table speaks for
    """
    if similarity is None:
        return None, ""
    order = [label for label in np.argsort(-similarity, kind="stable").tolist() if not np.isnan(similarity[label])]
    best, second = order[:2]
    highest = f"the highest semantic similarity score of {len(order)} classes"
    equal = [class_names[label] for label in order if similarity[label] == similarity[best]]
    if len(equal) > 1:
        who = _joined([_the(name) for name in equal]) if len(equal) <= MOST_NAMED else f"{len(equal)} classes"
        who = f"all {who}" if len(equal) == len(order) > MOST_NAMED else who
        what = "show equal semantic similarity scores" if len(equal) == len(order) else f"share {highest}"
        return None, f" {_capital(who)} {what}."
    clear = similarity[best] - similarity[second] > rules.clear * abs(similarity[best])
    settled = best if clear and column == BARE and best in (predicted, *rivals) else None
    plural = _plural(_readable(class_names[best]))
    words = f"{_the(class_names[best])} {'show' if plural else 'shows'} "
    if len(order) == 2:
        words += f"a {'' if clear else 'slightly '}higher semantic similarity score"
    else:
        words += highest if clear else f"{highest}, closely followed by {_the(class_names[second])}"
    words += "" if settled is None else f", which speaks for {'them' if plural else 'it'}"
    return settled, f" {_capital(words if best == predicted or column == BARE else link + words)}."


# --- Sentences -------------------------------------------------------------------------------------------------------


def _text(judged, names, column, rules):
    """The sentences about concepts; names: the predicted class, then those that compete with it."""
    reasons = _reasons(judged, names[0])
    doubts = [concept for concept in judged if concept.semanteme == "confusing"]
    contrary = [concept for concept in doubts if concept.delta < -rules.unsure]  # another class has more of it
    confusing = [concept.name for concept in doubts if concept.delta >= -rules.unsure]

    if column < TIERS.index("not sure"):
        sentences = [f"{('I am sure it is', 'It is probably')[column]} {_a(names[0])}"]
        sentences[0] += f" mainly because {reasons[0]}" if reasons else ""
    else:
        sentences = [f"From this perspective, I am not sure whether this is {_alternatives(names)}"]
        sentences[0] += "" if reasons or doubts else f": {_why_nothing(judged, rules)}"
        sentences += [f"It may be {_a(names[0])} mainly because {reasons[0]}"] if reasons else []
    clauses = reasons[1:] + ([_confusing(confusing)] if confusing else [])
    links = ("Meanwhile, ", "In addition, ", "Finally, ") if reasons else ("",)
    sentences += [_capital(link + clause) for link, clause in zip(links, clauses)]
    if contrary:
        sentences.append(_capital(("" if column == BARE else "However, ") + _contrary(contrary)))
    return ". ".join(sentences) + "."


def _why_nothing(judged, rules):
    if not judged:
        return "the predicted class has no concepts"
    if all(concept.pcs <= rules.noticed for concept in judged):
        return "no concept stands out"
    return "no concept is decisive" if judged[0].delta <= rules.unsure else "too few concepts stand out"


def _reasons(judged, class_name):
    """A clause for all concepts of the same words, the strongest first; of more than three the weakest are left out."""
    groups = {}
    for concept in judged:
        if concept.semanteme not in (None, "confusing"):
            groups.setdefault((concept.position, concept.semanteme), []).append(concept.name)
    return [_reason(names, position == "vivid", semanteme, class_name)
            for (position, semanteme), names in list(groups.items())[:MOST_CLAUSES]]


def _reason(names, vivid, semanteme, class_name):
    """That it has a vivid N, which is obviously a C's N; has Ns, which are perhaps those of a C; and so on."""
    verb = "shows" if any(_parsed(name)[0] is None for name in names) else "has"
    if len(names) > 1:
        which = f"{'both' if len(names) == 2 else 'all'} vivid and" if vivid else "which are"
        return f"it {verb} {_phrases(names)}, {which} {semanteme} those of {_a(class_name)}"
    noun, number = _parsed(names[0])
    if noun is None or number > 1 or _plural(class_name):
        whose = f"{'those' if _is_plural(names[0]) else 'that'} of {_a(class_name)}"
    else:
        whose = f"{_a(class_name)}'s {_bare(names[0])}"
    be = "are" if _is_plural(names[0]) else "is"
    if noun is None:
        return f"it {verb} {_phrase(names[0])}, which {be} {'vivid and ' if vivid else ''}{semanteme} {whose}"
    return f"it {verb} {_phrase(names[0], 'vivid' if vivid else '')}, which {be} {semanteme} {whose}"


def _confusing(names):
    if len(names) == 1 and _parsed(names[0])[0] is not None:
        return f"it seems to have {_phrase(names[0], 'confusing')}"
    return f"{_its(names)} {'seems' if len(names) == 1 else 'seem'} confusing"


def _contrary(concepts):
    """Which other classes have more of these concepts: the two that have more of most."""
    groups = {}
    for concept in sorted(concepts, key=lambda concept: concept.delta):
        groups.setdefault(concept.found, []).append(concept.name)
    clauses = []
    for class_name, names in sorted(groups.items(), key=lambda group: -len(group[1]))[:2]:
        many = len(names) > 1 or _is_plural(names[0])
        clauses.append(f"{_its(names)} {'are' if many else 'is'} more like {'those' if many else 'that'} of "
                       f"{_a(class_name)}")
    return ", and ".join(clauses)


def _alternatives(class_names):
    shown, left = _shortened(class_names)
    return _joined([_a(name) for name in shown] + ([f"one of {left} other classes"] if left else []), "or")


def _phrases(names):
    """Several concepts; those without a noun go by their numbers if they are alone."""
    shown, left = _shortened(names)
    others = [f"{left} others"] if left else []
    if all(_parsed(name)[0] is None for name in names):
        return "concepts " + _joined([str(_parsed(name)[1]) for name in shown] + others)
    return _joined([_phrase(name) for name in shown] + others)


def _its(names):
    if all(_parsed(name)[0] is None for name in names):
        return _phrase(names[0]) if len(names) == 1 else _phrases(names)
    shown, left = _shortened(names)
    named = [name for name in shown if _parsed(name)[0]]  # first, so that none of the others follows "its"
    rest = [_phrase(name) for name in shown if not _parsed(name)[0]]
    return "its " + _joined([_bare(name) for name in named] + rest + ([f"{left} other concepts"] if left else []))


def _shortened(items):
    """The first items, and how many are left out: none, or at least two."""
    return (items, 0) if len(items) <= MOST_NAMED else (items[: MOST_NAMED - 1], len(items) - MOST_NAMED + 1)


def _phrase(name, adjective=""):
    """A concept with its article."""
    noun, number = _parsed(name)
    if noun is None:
        return f"concept {number}"
    text = f"{adjective} {_bare(name)}".strip()
    if number == 1 and re.match(SOME, noun):
        return f"some {text}"
    return text if _is_plural(name) else f"{_article(text)} {text}"


def _bare(name):
    """A concept without an article, also where its name has one: whoever gives names may write "the", or "some"."""
    noun, number = _parsed(name)
    noun = re.sub(ARTICLE, "", noun)
    if number == 1:
        return noun
    return f"{_ordinal(number)} region of {noun}" if _plural(noun) else f"{_ordinal(number)} {noun} region"


def _is_plural(name):
    noun, number = _parsed(name)
    return noun is not None and number == 1 and _plural(noun)


def _parsed(name):
    """Noun and number of a concept, as `asxai.concepts` names them; no noun where it has none but "concept"."""
    found = re.fullmatch(r"(.+) ([1-9]\d*)", _readable(name))
    if not found:
        return _readable(name), 1
    return (None if found[1].lower() == "concept" else found[1]), int(found[2])


def _a(class_name):
    """A class with its article; folders are often named in the plural."""
    name = _readable(class_name)
    return f"one of the {name}" if _plural(name) else f"{_article(name)} {name}"


def _the(class_name):
    return f"the {_readable(class_name)}"


def _readable(name):
    """Underscores to blanks, without a leading number as in 001.Some_name."""
    return re.sub(r"^\d+\.\s*(?=\D)", "", re.sub(r"[_+\s]+", " ", name).strip())


def _plural(noun):
    """Whether the last word looks like a plural; words like lens, iris, grass, walrus and rhinoceros do not."""
    last = noun.split()[-1].lower()
    if re.search(r"(ss|us|is|eros|smos|lens|species|series)$", last):
        return False
    return len(last) > 3 and re.search(r"(s|[ft]ee(t|th)|nae)$", last) is not None


def _article(text):
    """By sound, as far as letters tell."""
    text = text.lower()
    if re.match(r"e[uw]|uni(?![dmn])|u[bcfhjkqrst][aeiou]|ua|uga|ukr|one\b|once\b", text):
        return "a"
    return "an" if re.match(r"[aeiou]|8|1[18](?!\d)|hour|honest|hono|heir", text) else "a"


def _ordinal(number):
    words = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
    if number <= len(words) + 1:
        return words[number - 2]
    last = 0 if number // 10 % 10 == 1 else number % 10
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(last, "th")


def _joined(items, word="and"):
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"


def _capital(text):
    return text[0].upper() + text[1:]
