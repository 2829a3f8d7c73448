"""Menagerie: drawn pictures of animals and plants with exact part masks, the same every time for a seed.

    import menagerie
    drawing = menagerie.render("menagerie-pets", "cat", seed=7)
    drawing.picture        # uint8 (224, 224, 3)
    drawing.parts          # uint8 (224, 224): 0 background, k = DATA_SETS["menagerie-pets"].parts[k - 1]

The shapes are signed distance functions painted over one another (`shapes`), the species are tables of part variants
(`animals`, `plants`, `games`), the backgrounds know nothing of the species (`scenes`). Needs NumPy only. Another
machine's floating-point rounding may change single pixel values by one.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from . import animals, games, plants, scenes
from .shapes import Canvas, Frame, Light

__all__ = ["DATA_SETS", "Drawing", "Spec", "loose_parts", "missing_parts", "parts_of", "render"]


@dataclass(frozen=True)
class Spec:
    """What a data set holds.

    fine: finer labels per class (empty where there are none). parts: names; index + 1 is the value in a mask.
    hybrids: for each species outside the classes, the parent that each of its parts comes from. version rises when
    the drawings change.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    train_per_class: int
    test_per_class: int
    fine: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hybrids: dict[str, dict[str, str]] = field(default_factory=dict)
    version: int = 3


@dataclass(frozen=True)
class Drawing:
    """One picture, uint8 (size, size, 3), and its part mask, uint8 (size, size)."""

    picture: np.ndarray
    parts: np.ndarray
    species: str
    fine: str | None
    removed: frozenset[str]


_ANIMAL_PARTS = ("ear", "eye", "nose", "leg", "tail", "head", "body")
DATA_SETS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            "menagerie-pets",
            "Drawn cats and dogs of four breeds each, sitting or standing",
            tuple(animals.BREEDS),
            _ANIMAL_PARTS,
            300,
            200,
            fine={name: tuple(breeds) for name, breeds in animals.BREEDS.items()},
        ),
        Spec(
            "menagerie-wild",
            "Drawn wild and farm animals built from shared part variants, and hybrids with known parents",
            tuple(animals.WILD),
            ("ear", "eye", "nose", "mane", "horn", "leg", "tail", "head", "body"),
            60,
            30,
            hybrids=animals.HYBRIDS,
        ),
        Spec(
            "menagerie-flowers",
            "Drawn flowers with petals, centres, leaves and stems",
            tuple(plants.FLOWERS),
            ("petal", "centre", "leaf", "stem"),
            80,
            40,
        ),
        Spec(
            "menagerie-leaves",
            "Drawn fallen leaves of any season, told apart by outline and veins alone",
            tuple(plants.LEAVES),
            ("blade", "vein", "stem"),
            80,
            40,
        ),
        Spec(
            "menagerie-game",
            "Drawn animals of one build, told apart by which variants of five parts come together",
            tuple(games.KINDS),
            _ANIMAL_PARTS,
            40,
            10,
            hybrids=games.HYBRIDS,
        ),
    )
}

# What hangs from a part: a picture without a head has no floating eyes.
_CARRIED = {"head": ("ear", "eye", "nose", "mane", "horn"), "body": ("leg", "tail"), "stem": ("leaf",)}
_NEVER_MISSING = ("petal", "blade")


def _generator(seed: int, *names: str) -> np.random.Generator:
    """A generator that depends on the seed and the names alone (hashlib, as Python's hash() is salted)."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int.from_bytes(digest[:8], "little")])))


def _check(name: str, value, allowed) -> None:
    if value not in allowed:
        raise ValueError(f"{name} {value!r} is unknown; it should be one of {', '.join(map(str, allowed)) or 'none'}")


def _spec(data_set: str, species: str) -> Spec:
    _check("data_set", data_set, DATA_SETS)
    spec = DATA_SETS[data_set]
    _check("species", species, spec.classes + tuple(spec.hybrids))
    return spec


def _check_number(name: str, value, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} {value!r} is not valid; it should be a whole number of at least {least}")


def parts_of(data_set: str, species: str) -> tuple[str, ...]:
    """The parts that this class or hybrid has, in the order of the data set's parts (a pig has no mane).

    Raises ValueError for an unknown data set or species.
    """
    spec = _spec(data_set, species)
    if data_set != "menagerie-wild":  # whose species differ in what they have
        return spec.parts
    table = animals.WILD.get(species) or animals.WILD_HYBRIDS[species]
    return tuple(part for part in spec.parts if part in table)


def loose_parts(data_set: str, species: str) -> tuple[str, ...]:
    """The parts of this class or hybrid that carry no other, so that a picture may lack any of them."""
    return tuple(part for part in parts_of(data_set, species) if part not in (*_CARRIED, *_NEVER_MISSING))


def missing_parts(data_set: str, species: str, seed: int) -> frozenset[str]:
    """The parts to leave out of the picture with this seed: none in about 85 % of all seeds, in the game in 58 %.

    One or two parts are picked among those the species has, with what they carry (a missing head takes its ears, eyes
    and nose along). Head and body are never missing together, petals and blades never. Raises ValueError as `render`.
    """
    parts = [part for part in parts_of(data_set, species) if part not in _NEVER_MISSING]
    _check_number("seed", seed, 0)
    rng = _generator(seed, data_set, species, "missing")
    if data_set == "menagerie-game":  # up to all that decide, so that to remove some is nothing new
        count = int(rng.integers(0, len(games.DECIDING) + 1)) if rng.random() < 0.5 else 0
        return frozenset(games.DECIDING[i] for i in rng.permutation(len(games.DECIDING))[:count])
    if rng.random() >= 0.15:
        return frozenset()
    picked = {parts[i] for i in rng.permutation(len(parts))[: int(rng.integers(1, 3))]}
    if {"head", "body"} <= picked:
        picked.remove("body")
    carried = {child for part in picked for child in _CARRIED.get(part, ())}
    return frozenset((picked | carried) & set(parts))


def render(
    data_set: str,
    species: str,
    seed: int,
    size: int = 224,
    remove: Collection[str] = (),
    fine: str | None = None,
) -> Drawing:
    """Draw one picture; a pure function of its arguments.

    species: a class or a hybrid of the data set. seed: any whole number from 0; background, light, pose and colours
    follow from it, the background and light from it alone. size: height and width in pixels, at least 32; the scene
    does not depend on it. remove: parts to leave out; what was behind them is seen, and everything else is as
    before. fine: a finer label of the class; without it the seed picks one.

    Raises ValueError naming the argument for an unknown data set, species, part or finer label, a size below 32 or a
    negative seed.
    """
    spec = _spec(data_set, species)
    _check_number("seed", seed, 0)
    _check_number("size", size, 32)
    if isinstance(remove, str):
        raise ValueError(f"remove {remove!r} should be a collection of parts, such as {{{remove!r}}}")
    for part in remove:
        _check("remove", part, spec.parts)
    finer = spec.fine.get(species, ())
    if fine is not None:
        _check("fine", fine, finer)
    elif finer:
        fine = finer[int(_generator(seed, data_set, species, "fine").integers(len(finer)))]

    picture = scenes.background(_generator(seed, "background"), size)
    u = _generator(seed, "light").random(8)
    angle = np.deg2rad(-90 + 110 * (u[0] - 0.5))
    height = 0.45 + 0.35 * u[1]
    flat = np.sqrt(1 - height * height)
    warm = 0.12 * (u[2] - 0.5)
    light = Light(
        (float(flat * np.cos(angle)), float(flat * np.sin(angle)), float(height)),
        0.50 + 0.14 * float(u[3]),
        0.44 + 0.14 * float(u[4]),
        (1.0 + warm, 1.0, 1.0 - warm),
    )
    rng = _generator(seed, data_set, species, "figure")
    v = rng.random(12)
    removed = frozenset(remove)
    tint = (
        1 + 0.16 * (v[0] - 0.5) + 0.06 * (v[1] - 0.5),
        1 + 0.16 * (v[0] - 0.5),
        1 + 0.16 * (v[0] - 0.5) + 0.06 * (v[2] - 0.5),
    )
    canvas = Canvas(picture, spec.parts, removed, light, (int(512 * v[3]), int(512 * v[4])), tint)
    room = 0.80 + 0.16 * v[5]
    slack = 0.9 * (1.0 - room)
    frame = Frame(size, 0.0, 0.0, size, 0.0, 0.0).child(
        0.5 + slack * (v[6] - 0.5), 0.5 + slack * (v[7] - 0.5), room, 10 * (v[8] - 0.5), bool(v[9] < 0.5)
    )
    if data_set == "menagerie-flowers":
        plants.draw_flower(canvas, plants.FLOWERS[species], rng, frame)
    elif data_set == "menagerie-leaves":
        plants.draw_leaf(canvas, plants.LEAVES[species], rng, frame)
    else:
        if data_set == "menagerie-pets":
            table = animals.BREEDS[species][fine]
        elif data_set == "menagerie-game":
            table = games.KINDS.get(species) or games.CROSSED[species]
        else:
            table = animals.WILD.get(species) or animals.WILD_HYBRIDS[species]
        animals.draw(canvas, table, animals.Pose.draw(rng), frame)
    return Drawing(canvas.finish(), canvas.labels, species, fine, removed)
