"""A game of parts: kinds of one head and body, told apart by which variants of ears, eyes, nose, legs and tail meet.

Each variant is shared by several kinds, so that no part alone tells the kind, and two kinds differ in two parts or
more. So it is known what decides: `shares` gives the exact Shapley value of each part for somebody who knows the rules.
After FunnyBirds (Hesse, Schaub-Meyer & Roth, ICCV 2023).
"""

from itertools import combinations, product
from math import comb, log

import numpy as np

from .animals import BLUSH, FLAME, HIDE, HOOF, IVORY, MEAL, MUSHROOM, NOSTRIL, PALE, SAND, SPOTTED, ZEBRA, Coat, Variant

VARIANTS: dict[str, tuple[Variant, ...]] = {
    "ear": (
        Variant("round", SAND, BLUSH, 1.1),
        Variant("leaf", SAND, BLUSH, 1.2),
        Variant("triangle", SAND, BLUSH, 1.1),
        Variant("floppy", Coat((0.45, 0.28, 0.15)), size=1.1),
    ),
    "eye": (
        Variant("round", SAND, (0.95, 0.66, 0.10), 1.25),
        Variant("cat", SAND, (0.30, 0.60, 0.95), 1.25),
        Variant("dark", SAND, (0.30, 0.16, 0.08), 1.25),
    ),
    "nose": (
        Variant("bigcat", PALE, (0.62, 0.34, 0.32)),
        Variant("muzzle", MUSHROOM, (0.10, 0.08, 0.08)),
        Variant("snout", Coat((0.95, 0.62, 0.60), fur=0.06), (0.50, 0.22, 0.24)),
        Variant("muzzle", MEAL, NOSTRIL),
    ),
    "leg": (Variant("paw", FLAME), Variant("hoof", ZEBRA, HOOF), Variant("column", HIDE, IVORY.base)),
    "tail": (
        Variant("long", FLAME, size=1.2),
        Variant("bushy", Coat((0.20, 0.13, 0.10), fuzz=0.006), size=1.1),
        Variant("whip", ZEBRA, (0.10, 0.09, 0.09), 1.2),
        Variant("tuft", SPOTTED, (0.95, 0.92, 0.86), 1.25),
        Variant("curl", Coat((0.93, 0.68, 0.66)), size=1.35),
    ),
}
DECIDING = tuple(VARIANTS)
BUILD = {"head": Variant("bigcat", SAND), "body": Variant("bigcat", SAND)}
COUNT, APART = 20, 2  # kinds, and the parts in which two differ at least


def _codes() -> tuple[tuple[int, ...], ...]:
    """Numbers of the variants of each kind: the first in a fixed random order that differ from all before."""
    every = list(product(*(range(len(variants)) for variants in VARIANTS.values())))
    chosen = []
    for index in np.random.Generator(np.random.PCG64(23)).permutation(len(every)):
        code = every[index]
        if all(sum(a != b for a, b in zip(code, other)) >= APART for other in chosen):
            chosen.append(code)
        if len(chosen) == COUNT:
            break
    return tuple(sorted(chosen))


def _species(code) -> dict[str, Variant]:
    return {part: variants[k] for (part, variants), k in zip(VARIANTS.items(), code)} | BUILD


CODES = {f"kind-{number:02d}": code for number, code in enumerate(_codes(), start=1)}
KINDS = {name: _species(code) for name, code in CODES.items()}


def _crosses() -> dict[str, dict[str, str]]:
    """Ears, eyes and nose of one kind, legs and tail of another that shares none of its variants: no kind itself.

    Head and body, which are the same in all, have no parent.
    """
    crosses, used = {}, set()
    for (first, a), (second, b) in combinations(CODES.items(), 2):
        if used & {first, second} or any(x == y for x, y in zip(a, b)) or (*a[:3], *b[3:]) in CODES.values():
            continue
        crosses[f"cross-{len(crosses) + 1}"] = dict(zip(DECIDING, (first, first, first, second, second)))
        used |= {first, second}
    return dict(list(crosses.items())[:3])


HYBRIDS = _crosses()
CROSSED = {
    name: {part: KINDS[parent][part] for part, parent in parents.items()} | BUILD for name, parents in HYBRIDS.items()
}


def shares(kind: str) -> dict[str, float]:
    """Shapley value of each deciding part for the certainty about a kind; they add up to the logarithm of all kinds.

    Who sees some parts and knows the rules holds all kinds that fit for equally likely: what a set of parts is worth is
    how far they lower the logarithm of how many fit.
    """
    code, count = CODES[kind], len(DECIDING)

    def worth(seen):
        return log(len(CODES)) - log(sum(all(other[i] == code[i] for i in seen) for other in CODES.values()))

    values = {}
    for i, part in enumerate(DECIDING):
        rest = [k for k in range(count) if k != i]
        subsets = (set(some) for n in range(count) for some in combinations(rest, n))
        gains = ((worth(some | {i}) - worth(some)) / (count * comb(count - 1, len(some))) for some in subsets)
        values[part] = sum(gains)
    return values
