"""The assessment of one picture: tier, words and sentence, from the rules of Extended Data Table 2.

judgement = judge(scores, predicted, class_names, names, similarity=similarity)
judgement.sentence                              # "I am sure it is a dog mainly because it has a vivid nose, ..."
"""

from dataclasses import dataclass

import numpy as np

from .rules import BARE, CLOSE, RULES, SEMANTEMES, TIERS, Rules, deltas, table_columns
from .sentences import JudgedConcept, reasons_text, similarity_text

UNSURE = TIERS.index("not sure")


@dataclass(frozen=True)
class Judgement:
    """What `judge` says of one picture; all names as they were given."""

    tier: str  # one of TIERS
    predicted: str
    other: str | None  # the class that competes with it; None if there is one class only
    settled: str | None  # the class that global similarity settles on where concepts tell nothing; else None
    concepts: tuple  # of JudgedConcept, those of the predicted class, the largest delta first
    sentence: str


def judge(
    scores: np.ndarray,
    predicted: int,
    class_names,
    names,
    rules: Rules = RULES,
    similarity: np.ndarray | None = None,
    tier: int | None = None,
) -> Judgement:
    """The assessment of one picture in words: a `Judgement`.

    scores: PCS, `(class, concept)`, at least 0; NaN where a class lacks a concept
    predicted: number of the class that the network predicts. class_names, names: of classes and concepts
    similarity: global structural similarity to each class, `(class,)`; NaN where there is none
    tier: index into `TIERS` where another model of confidence decides it; the table then only chooses words

    The competing class has the highest mean PCS over its concepts: R of equation 6 has mean 1 over a class's concepts,
    so that this is the mean semantic probability, weighted by importance. A sum would favour classes of many concepts.

    Where the table gives no reasons, every class competes that no concept of the predicted class is more than `unsure`
    ahead of; if there is none, the one of the highest mean PCS. With similarity, the more similar are named first
    (Figure 6d). If one of them or the predicted class has the highest similarity of all, by more than the share
    `clear`, it is `settled`. The tier remains: it is about concepts. Otherwise similarity adds a sentence, no more.
    """
    scores = np.asarray(scores, dtype=np.float64)
    similarity = np.full(len(scores), np.nan) if similarity is None else np.asarray(similarity, dtype=np.float64)
    order = [label for label in np.argsort(-similarity, kind="stable").tolist() if not np.isnan(similarity[label])]
    leads = deltas(scores[None], np.array([predicted]))
    column = int(table_columns(leads.pcs, leads.delta, rules)[0])
    by_table = tier is None
    if not by_table:  # of the unsure, the table still says which have reasons
        column = tier if tier < UNSURE else max(column, UNSURE)

    highest = np.fmax.reduce(scores, axis=0)
    judged = []
    for k in np.flatnonzero(~np.isnan(leads.pcs[0])):
        pcs, delta, label = (values[0, k].item() for values in leads)
        words = _words(delta, highest[k], column, rules)
        judged.append(JudgedConcept(names[k], pcs, delta, class_names[label] if label >= 0 else None, *words))
    judged.sort(key=lambda concept: (-concept.delta, -concept.pcs))
    compared = similarity if len(order) > 1 else np.full(len(scores), np.nan)  # one alone is nothing to compare
    rivals = _rivals(scores, predicted, column, rules, compared)
    sentence = reasons_text(judged, [class_names[label] for label in (predicted, *rivals)], column, rules)

    settled = None
    if len(order) > 1:
        best, second = similarity[order[:2]]
        clear = best - second > rules.clear * abs(best)
        settled = order[0] if clear and column == BARE and order[0] in (predicted, *rivals) else None
        link = "Moreover, " if "However, " in sentence else "However, "
        link = "" if order[0] == predicted or column == BARE else link  # it speaks against the class of the table
        ordered, equal = [class_names[label] for label in order], int((similarity == best).sum())
        sentence += " " + similarity_text(ordered, equal, clear, link, settled is not None)
    other, named = class_names[rivals[0]] if rivals else None, TIERS[min(column, UNSURE)]
    shifts = (-CLOSE, CLOSE) if by_table else ()
    for near in {_tier(leads, rules, shift) for shift in shifts} - {named}:  # one at most, for tiers only rise
        sentence += f" It is close to “{near}”."
    settled = None if settled is None else class_names[settled]
    return Judgement(named, class_names[predicted], other, settled, tuple(judged), sentence)


def _tier(leads, rules, shift):
    """The tier if all scores of the predicted class were higher by `shift`."""
    return TIERS[min(int(table_columns(leads.pcs + shift, leads.delta + shift, rules)[0]), UNSURE)]


def _words(delta, highest, column, rules):
    """Position and semanteme of one concept, both None where nothing is said; highest: its largest PCS over classes.

    Gap 7: PCS_max is "the maximum across all semantic spaces", yet one sentence of the paper has concepts with and
    without "vivid". So it is the maximum over classes, for each concept: vivid is what is clearly seen, whoever's it
    is. This matters only where the found class scores higher, which "vivid, confusing" is for.

    Gap 8: a largest PCS below .1 has no row. It gets no words, as the cell "None" above it.
    """
    position = "vivid" if highest > rules.vivid else "be" if highest > rules.named else None
    semanteme = next((word for threshold, word in SEMANTEMES[column] if delta > getattr(rules, threshold)), None)
    if semanteme is None and delta <= rules.unsure and position == "vivid":
        semanteme = "confusing"
    return (position, semanteme) if position and semanteme else (None, None)


def _rivals(scores, predicted, column, rules, similarity):
    """Competing classes, the first to be named first; of scores `(class, concept)`.

    Gap 9: the table says "a cat or a dog" because there are no others. See `judge` for which are named of many.
    """
    filled = np.nan_to_num(scores)
    likeness = filled.sum(axis=1) / np.maximum((~np.isnan(scores)).sum(axis=1), 1)
    others = [label for label in np.argsort(-likeness, kind="stable").tolist() if label != predicted]
    if column != BARE:
        return others[:1]
    has = ~np.isnan(scores[predicted])
    lead = (filled[predicted, has] - filled[:, has]).max(axis=1, initial=-np.inf)  # (class,)
    alike = [label for label in others if lead[label] <= rules.unsure] or others[:1]
    return sorted(alike, key=lambda label: np.nan_to_num(-similarity[label], nan=np.inf))
