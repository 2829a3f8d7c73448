"""Extended Data Table 2 by plain loops and ifs, and scores to try it on: the oracle of `asxai.explain`'s rules."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from asxai.explain.rules import RULES

PRINTED = replace(RULES, majority=0.0)  # the table as the paper prints it
SHAPES = [(2, 4, 0.0), (2, 1, 0.0), (1, 4, 0.0), (1, 1, 0.0), (5, 6, 0.4), (3, 2, 0.6), (30, 12, 0.5), (4, 3, 1.0)]
CHANGED = [
    PRINTED,
    replace(PRINTED, sure=0.6, vivid=0.3),
    replace(PRINTED, unsure=0, probably=0, sure=0),
    replace(PRINTED, probably_count=3, sure_count=2, reasons_count=2),
    replace(PRINTED, named=0.4, noticed=0.4),
    RULES,
    replace(RULES, majority=1.0),
    replace(RULES, majority=1 / 3),
    replace(RULES, majority=2 / 3, sure=0.7),
    replace(RULES, agree_count=1),
    replace(RULES, agree_count=3),
]


def slow_deltas(scores, predicted):
    """`(pcs, delta, found)` of one picture, per concept."""
    result = []
    for concept in range(scores.shape[1]):
        found, best = -1, 0.0
        for label in range(scores.shape[0]):
            value = scores[label, concept]
            if label != predicted and not np.isnan(value) and (found < 0 or value > best):
                found, best = label, value
        result.append((scores[predicted, concept], scores[predicted, concept] - best, found))
    return result


def slow_tier(scores, predicted, r=PRINTED):
    """The table as resolved: from the surest column to the least sure."""
    has = largest = noticed = vivid = 0
    ahead = {"sure": 0, "probably": 0}  # concepts ahead of the other classes by the tier's threshold
    for pcs, delta, _ in slow_deltas(scores, predicted):
        if np.isnan(pcs):
            continue
        has += 1
        for tier in ahead:
            ahead[tier] += delta > getattr(r, tier)
        largest = max(largest, delta)
        if pcs > r.noticed:
            noticed += 1
        if pcs > r.vivid:
            vivid += 1
    if has == 0:
        return "not sure"
    agrees = {tier: Fraction(int(count), has) >= Fraction(str(r.majority)) for tier, count in ahead.items()}
    several = ahead["sure"] >= r.agree_count or r.majority == 0
    if largest > r.sure and (vivid >= r.sure_count or vivid == has) and agrees["sure"] and several:
        return "sure"
    if largest > r.probably and (noticed >= r.probably_count or noticed == has) and agrees["probably"]:
        return "probably"
    return "not sure"


def slow_words(scores, predicted, r=PRINTED):
    """Position and semanteme of each concept, by hand from the lower half of the table."""
    tier, result = slow_tier(scores, predicted, r), []
    found = [row for row in slow_deltas(scores, predicted) if not np.isnan(row[0])]
    noticed = sum(pcs > r.noticed for pcs, _, _ in found)
    reasons = tier != "not sure" or (
        any(delta > r.unsure for _, delta, _ in found) and (noticed >= r.reasons_count or noticed == len(found))
    )
    for concept in range(scores.shape[1]):
        pcs, delta, _ = slow_deltas(scores, predicted)[concept]
        if np.isnan(pcs):
            continue
        highest, semanteme = np.nanmax(scores[:, concept]), None
        if delta <= r.unsure:
            semanteme = "confusing" if highest > r.vivid else None
        elif not reasons:
            semanteme = None
        elif tier == "not sure":
            semanteme = "something like"
        elif delta > r.sure and tier == "sure":
            semanteme = "obviously"
        elif delta > r.probably:
            semanteme = "something like"
        else:
            semanteme = "perhaps"
        if highest <= r.named:
            semanteme = None
        position = None if semanteme is None else "vivid" if highest > r.vivid else "be"
        result.append((concept, position, semanteme))
    return result


def random_scores(rng, pictures, classes, concepts, missing):
    """Many in each tier, and many on boundaries: rounded to twentieths."""
    scale = rng.choice([0.1, 0.3, 0.6, 1.2], size=(pictures, classes, 1))
    scores = (rng.random((pictures, classes, concepts)) * scale * 20).round() / 20
    scores[:, rng.random((classes, concepts)) < missing] = np.nan
    return scores, rng.integers(0, classes, pictures)
