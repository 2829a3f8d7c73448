"""Judgement."""

import math
from dataclasses import dataclass

import numpy as np

from .rules import BARE, MOST_NAMED, RULES, SEMANTEMES, TIERS, JudgedConcept, checked_scores, deltas, table_columns
from .sentences import capitalised, joined, looks_plural, readable, reasons_text, with_the


@dataclass(frozen=True)
class Judgement:
    """What `judge` says of one picture; all names as they were given."""

    tier: str  # one of TIERS
    predicted: str
    other: str | None  # the class that competes with it; None if there is one class only
    settled: str | None  # the class that global similarity settles on where concepts tell nothing; else None
    concepts: tuple  # of JudgedConcept, those of the predicted class, the largest delta first
    sentence: str


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
        if len(names) != count or not all(isinstance(n, str) and readable(n) for n in names):
            raise ValueError(f"{name}={names} must be {count} texts, none empty, as many as scores {scores.shape} have")
    similarity = _similarity(similarity, len(class_names))
    scores, picked = checked_scores(scores[None], np.asarray(predicted)[None])
    found = deltas(scores, picked)
    column, predicted = int(table_columns(found.pcs, found.delta, rules)[0]), int(picked[0])

    columns = (*(values[0].tolist() for values in found), np.fmax.reduce(scores[0], axis=0).tolist())
    judged = [_concept(name, *values, class_names, column, rules) for name, *values in zip(concept_names, *columns)
              if not math.isnan(values[0])]
    judged = tuple(sorted(judged, key=lambda concept: (-concept.delta, -concept.pcs)))
    rivals = _rivals(scores[0], predicted, column, rules, similarity)
    names = [class_names[label] for label in (predicted, *rivals)]
    sentence = reasons_text(judged, names, column, rules)
    link = "Moreover, " if "However, " in sentence else "However, "
    settled, compared = _by_similarity(similarity, class_names, predicted, rivals, column, rules, link)
    return Judgement(TIERS[min(column, len(TIERS) - 1)], names[0], names[1] if rivals else None,
                     None if settled is None else class_names[settled], judged, sentence + compared)


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
        who = joined([with_the(name) for name in equal]) if len(equal) <= MOST_NAMED else f"{len(equal)} classes"
        who = f"all {who}" if len(equal) == len(order) > MOST_NAMED else who
        what = "show equal semantic similarity scores" if len(equal) == len(order) else f"share {highest}"
        return None, f" {capitalised(who)} {what}."
    clear = similarity[best] - similarity[second] > rules.clear * abs(similarity[best])
    settled = best if clear and column == BARE and best in (predicted, *rivals) else None
    plural = looks_plural(readable(class_names[best]))
    words = f"{with_the(class_names[best])} {'show' if plural else 'shows'} "
    if len(order) == 2:
        words += f"a {'' if clear else 'slightly '}higher semantic similarity score"
    else:
        words += highest if clear else f"{highest}, closely followed by {with_the(class_names[second])}"
    words += "" if settled is None else f", which speaks for {'them' if plural else 'it'}"
    return settled, f" {capitalised(words if best == predicted or column == BARE else link + words)}."
