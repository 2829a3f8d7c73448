"""The plants: flowers (petal, centre, leaf, stem) and single leaves (blade, vein, stem), as tables and drawings.

Flowers are drawn in units of the picture's side, blooms in units of the bloom's radius; a leaf blade runs from its
base at (0, 0.5) up to its tip at (0, -0.5).
"""

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from .shapes import Canvas, Colour, Frame, Shape, capsule, curve, ellipse, inside, polygon, ramp, tube

# ---------------------------------------------------------------------------------------------------- flowers


@dataclass(frozen=True)
class Flower:
    """petals: how many, in how many rings; outline: half-widths of a petal from base to tip (in petal lengths)."""

    petals: int
    rings: int
    outline: tuple[float, ...]
    tips: Colour
    base: Colour  # petal colour towards the centre
    centre: str  # dome, disc, eye, capsule, tuft or star
    centre_size: float
    centre_colour: Colour
    centre_dark: Colour
    leaf: str  # oval, narrow, spoon, lobed
    size: float = 0.30
    notch: float = 0.0  # depth of a notch at the petal's tip


FLOWERS = {
    "black-eyed-susan": Flower(
        petals=13,
        rings=1,
        outline=(0.07, 0.13, 0.16, 0.17, 0.15, 0.08),
        tips=(0.98, 0.78, 0.10),
        base=(0.88, 0.48, 0.06),
        centre="dome",
        centre_size=0.34,
        centre_colour=(0.32, 0.17, 0.10),
        centre_dark=(0.13, 0.07, 0.06),
        leaf="oval",
    ),
    "daisy": Flower(
        petals=17,
        rings=2,
        outline=(0.06, 0.10, 0.12, 0.125, 0.12, 0.08),
        tips=(0.98, 0.97, 0.98),
        base=(0.90, 0.90, 0.92),
        centre="disc",
        centre_size=0.36,
        centre_colour=(0.98, 0.80, 0.15),
        centre_dark=(0.82, 0.52, 0.08),
        leaf="spoon",
    ),
    "primrose": Flower(
        petals=5,
        rings=1,
        outline=(0.10, 0.24, 0.44, 0.56, 0.52, 0.36),
        tips=(0.98, 0.93, 0.62),
        base=(0.97, 0.86, 0.30),
        centre="star",
        centre_size=0.30,
        centre_colour=(0.98, 0.72, 0.12),
        centre_dark=(0.62, 0.66, 0.22),
        leaf="spoon",
        size=0.28,
        notch=0.16,
    ),
    "poppy": Flower(
        petals=4,
        rings=1,
        outline=(0.30, 0.62, 0.80, 0.82, 0.70, 0.42),
        tips=(0.92, 0.22, 0.14),
        base=(0.68, 0.10, 0.09),
        centre="capsule",
        centre_size=0.31,
        centre_colour=(0.60, 0.68, 0.38),
        centre_dark=(0.10, 0.07, 0.10),
        leaf="lobed",
        size=0.28,
    ),
    "cornflower": Flower(
        petals=10,
        rings=2,
        outline=(0.05, 0.08, 0.14, 0.22, 0.27, 0.20),
        tips=(0.30, 0.40, 0.92),
        base=(0.26, 0.26, 0.75),
        centre="tuft",
        centre_size=0.34,
        centre_colour=(0.50, 0.22, 0.62),
        centre_dark=(0.28, 0.12, 0.42),
        leaf="narrow",
        size=0.29,
        notch=0.22,
    ),
    "bellflower": Flower(
        petals=5,
        rings=1,
        outline=(0.26, 0.40, 0.46, 0.42, 0.28, 0.06),
        tips=(0.60, 0.50, 0.90),
        base=(0.80, 0.76, 0.97),
        centre="eye",
        centre_size=0.27,
        centre_colour=(0.96, 0.95, 0.85),
        centre_dark=(0.80, 0.72, 0.35),
        leaf="oval",
        size=0.29,
    ),
}


def _petal_outline(flower: Flower, wide: float) -> list[tuple[float, float]]:
    """Corners of a petal that points up from (0, 0) to (0, -1)."""
    at = np.linspace(0.0, 1.0, len(flower.outline))
    fine = np.concatenate([np.linspace(0.0, 0.7, 6), 1.0 - 0.3 * (1.0 - np.linspace(0.0, 1.0, 8)[1:]) ** 1.7])
    half = np.polyval(np.polyfit(at, flower.outline, 4), fine) * wide
    if not flower.notch:
        half *= np.sqrt(1.0 - np.clip((fine - 0.8) / 0.2, 0.0, 1.0) ** 2 * 0.97)  # a round end
    right = [(w, -t) for t, w in zip(fine, half)]
    tip = [(0.0, -1.0 + flower.notch - (0.0 if flower.notch else 0.035))]
    return right + tip + [(-x, y) for x, y in reversed(right)]


def draw_flower(canvas: Canvas, flower: Flower, rng: np.random.Generator, frame: Frame) -> None:
    """One or two blooms of `flower` on leafy stems; every random number is drawn here, before any shape."""
    u = rng.random(40)
    second = u[0] < 0.45
    green = np.asarray((0.30 + 0.12 * u[1], 0.50 + 0.12 * u[2], 0.20 + 0.10 * u[3]))
    main = (0.10 * (u[4] - 0.5), -0.13 + 0.06 * (u[5] - 0.5))
    foot = (0.10 * (u[6] - 0.5), 0.80)
    blooms = [(main, flower.size * (0.97 + 0.22 * u[7]), foot, u[8:16])]
    if second:
        side = 1 if u[16] < 0.5 else -1
        at = (main[0] + side * (0.27 + 0.05 * u[17]), 0.14 + 0.08 * u[18])
        blooms.insert(0, (at, flower.size * 0.55, (foot[0] + side * 0.02, 0.80), u[19:27]))
    for at, radius, foot_at, v in blooms:
        bend = (at[0] + 0.12 * (v[0] - 0.5), 0.3)
        path = curve(at, bend, foot_at, steps=8)
        stem = tube(path, np.linspace(0.021, 0.026, 8) * (0.75 + radius))
        canvas.paint(frame, stem, "stem", tuple(green * 0.9), roundness=0.024)
    for i, side in enumerate((-1, 1)):
        x, y = foot[0] * 0.8 + main[0] * 0.2, 0.30 + 0.10 * u[28 + i]
        at = frame.child(x, y, 0.30 * (0.85 + 0.3 * u[30 + i]), side * (48 + 26 * u[32 + i]))
        _foliage(canvas, at, flower.leaf, green * (0.92 + 0.16 * u[34 + i]))
    for at, radius, _, v in blooms:
        # Blooms look at us or a little aside: the far petals are shortened.
        _bloom(canvas, frame.child(*at, radius, 72 * v[1]), flower, v)


def _foliage(canvas: Canvas, at: Frame, kind: str, green: np.ndarray) -> None:
    """A leaf growing up from the frame's origin to (0, -1)."""
    t = np.linspace(0.0, 1.0, 15)
    half = {
        "oval": 0.25 * np.sin(pi * t**0.8) ** 0.9,
        "narrow": 0.13 * np.sin(pi * t**0.7) ** 0.8,
        "spoon": 0.06 + 0.25 * np.sin(pi * np.clip(t * 1.25 - 0.25, 0, 1)) ** 0.8 * (t > 0.2),
        "lobed": 0.27 * np.sin(pi * t**0.8) ** 0.8 * (0.62 + 0.38 * np.cos(t * 8 * pi)),
    }[kind]
    corners = [(w, -s) for s, w in zip(t, half)] + [(-w, -s) for s, w in zip(t[::-1], half[::-1])]

    def colour(patch):
        vein = ramp(np.abs(patch.x), 0.03, 0.012)
        ribs = ramp(np.abs(((patch.y + 0.8 * np.abs(patch.x)) * 7.0) % 1.0 - 0.5), 0.40, 0.47) * 0.5
        tone = 0.86 + 0.25 * patch.noise("soft", 1.5) + 0.28 * np.maximum(vein, ribs)
        return green.astype(np.float32) * tone[..., None]

    canvas.paint(at, polygon(corners, 0.02, 0.2), "leaf", colour, roundness=0.2, occlusion=0.4)


def _bloom(canvas: Canvas, at: Frame, flower: Flower, v: np.ndarray) -> None:
    tips, base = np.asarray(flower.tips, np.float32), np.asarray(flower.base, np.float32)
    shift = (v[2:5] - 0.5).astype(np.float32) * 0.07
    wide = 0.94 + 0.14 * v[5]
    petal = polygon(_petal_outline(flower, wide), 0.03, 0.2)

    def colour(patch):
        far = ramp(-patch.y, 0.2, 0.75)
        rgb = base + (tips + shift - base) * far[..., None]
        lines = np.sin(patch.x / (0.25 - 0.6 * np.minimum(patch.y, 0)) * 34.0)
        return rgb * (0.93 + 0.06 * lines + 0.14 * (patch.noise("soft", 1.6) - 0.5))[..., None]

    for ring in range(flower.rings):
        length = 1.0 - 0.2 * ring
        for i in range(flower.petals):
            wobble = sin(i * 12.9898 + 78.0 * v[6] + 5 * ring)
            angle = 360.0 * (i + 0.5 * ring) / flower.petals + 5.0 * wobble
            # Petals start a little outside the middle; their base hides under the centre.
            place = at.child(
                0.08 * sin(angle * pi / 180),
                -0.08 * cos(angle * pi / 180),
                0.92 * length * (0.96 + 0.05 * wobble),
                angle,
            )
            canvas.paint(place, petal, "petal", colour, roundness=0.16, shade=1.04 - 0.04 * wobble, occlusion=0.30)
    _centre(canvas, at, flower)


def _seeds(flower: Flower, cells: float):
    light, dark = np.asarray(flower.centre_colour, np.float32), np.asarray(flower.centre_dark, np.float32)

    def colour(patch):
        far = np.sqrt(patch.x**2 + patch.y**2)
        angle = np.arctan2(patch.y, patch.x)
        # Two families of spirals cross, as in a sunflower's head.
        seeds = np.sin(8 * angle + far * cells) * np.sin(-13 * angle + far * cells)
        mix = np.clip(0.5 + 0.4 * seeds + 0.35 * (far / flower.centre_size - 0.6), 0, 1)
        return light + (dark - light) * mix[..., None]

    return colour


def _centre(canvas: Canvas, at: Frame, flower: Flower) -> None:
    r, light, dark = flower.centre_size, flower.centre_colour, flower.centre_dark
    if flower.centre in ("dome", "disc"):
        canvas.paint(
            at,
            ellipse(0, 0, r),
            "centre",
            _seeds(flower, 46),
            roundness=r if flower.centre == "dome" else 0.5 * r,
            fuzz=0.004,
            occlusion=0.5,
        )
    elif flower.centre == "star":
        corners = [
            (r * (1.15 if i % 2 else 0.62) * sin(i * pi / 5), -r * (1.15 if i % 2 else 0.62) * cos(i * pi / 5))
            for i in range(10)
        ]
        canvas.paint(at, polygon(corners, 0.05, 0.2), "centre", light, roundness=0.2, occlusion=0.1)
        canvas.paint(at, ellipse(0, 0, 0.42 * r), "centre", dark, roundness=0.3 * r, occlusion=0.3)
    elif flower.centre == "capsule":
        for i in range(22):
            a, far = i * 2.39996, r * (0.75 + 0.42 * ((i * 7) % 5) / 5)
            canvas.paint(at, capsule(0, 0, far * cos(a), far * sin(a), 0.022), "centre", dark, flat=True, occlusion=0.1)
            canvas.paint(at, ellipse(far * cos(a), far * sin(a), 0.05), "centre", dark, roundness=0.05, occlusion=0)
        canvas.paint(at, ellipse(0, 0, 0.56 * r), "centre", light, roundness=0.5 * r, occlusion=0.4)
        for i in range(8):
            a = i * pi / 4
            canvas.paint(
                at,
                capsule(0, 0, 0.46 * r * cos(a), 0.46 * r * sin(a), 0.022),
                "centre",
                tuple(0.6 * c for c in light),
                flat=True,
                occlusion=0,
            )
    elif flower.centre == "tuft":
        canvas.paint(at, ellipse(0, 0, 0.85 * r), "centre", dark, roundness=r, fuzz=0.01, occlusion=0.4)
        for i in range(26):
            a, far = i * 2.39996, r * np.sqrt((i + 0.5) / 26)
            canvas.paint(
                at,
                ellipse(far * cos(a), far * sin(a), 0.058),
                "centre",
                light if i % 3 else (0.80, 0.62, 0.88),
                roundness=0.06,
                occlusion=0.25,
            )
    else:  # eye
        canvas.paint(at, ellipse(0, 0, r), "centre", light, roundness=0.8 * r, occlusion=0.3, shade=0.95)
        for i in range(5):
            a = i * 2 * pi / 5 + 0.6
            canvas.paint(
                at,
                tube([(0, 0), (0.78 * r * cos(a), 0.78 * r * sin(a))], [0.045, 0.065]),
                "centre",
                dark,
                roundness=0.06,
                occlusion=0.25,
            )


# ---------------------------------------------------------------------------------------------------- leaves


@dataclass(frozen=True)
class Leaf:
    """outline: which blade; wide: its half-width in blade lengths; veins: how many pairs; teeth: depth of teeth."""

    outline: str
    wide: float
    veins: int
    teeth: float = 0.0
    stem: float = 0.16
    tip: float = 1.0  # where the blade is widest: below 1 nearer the base


LEAVES = {
    "oak": Leaf("lobed", 0.33, 4, 0.0, 0.15, 1.25),
    "maple": Leaf("palm", 0.50, 4, 0.0, 0.20),
    "willow": Leaf("simple", 0.135, 7, 0.008, 0.14, 0.85),
    "ginkgo": Leaf("fan", 0.56, 7, 0.0, 0.30),
    "birch": Leaf("simple", 0.31, 5, 0.030, 0.17, 0.62),
    "beech": Leaf("simple", 0.28, 7, 0.007, 0.13, 0.95),
    "hazel": Leaf("simple", 0.39, 6, 0.024, 0.14, 1.15),
}


def _half_width(leaf: Leaf, t: np.ndarray) -> np.ndarray:
    """Half-width of a blade at heights t (0 base, 1 tip), without teeth."""
    body = np.sin(
        pi * np.clip(t, 0, 1) ** (1 / (0.6 + 0.7 / leaf.tip)) if leaf.tip > 1 else pi * np.clip(t, 0, 1) ** leaf.tip
    )
    body = np.maximum(body, 0) ** 0.78 * leaf.wide
    if leaf.outline == "lobed":
        lobes = np.abs(np.sin(pi * (t * 3.9 + 0.05)))  # round lobes, narrow bays
        body = body * (0.45 + 0.62 * lobes**0.6)
    return body


def _blade(leaf: Leaf) -> tuple[Shape, list]:
    """The blade's outline and its veins as (points, radii)."""
    veins = []
    if leaf.outline in ("simple", "lobed"):
        t = np.linspace(0.0, 1.0, 42 if leaf.outline == "simple" else 56)
        half = _half_width(leaf, t)
        if leaf.teeth:
            half = half + leaf.teeth * ((np.arange(42) % 2) - 0.3) * (half > 0.02)
        corners = [(w, 0.5 - s) for s, w in zip(t, half)] + [(-w, 0.5 - s) for s, w in zip(t[::-1], half[::-1])]
        veins.append(([(0, 0.5), (0, 0.0), (0, -0.44)], [0.021, 0.015, 0.007]))
        for k in range(leaf.veins):
            start = 0.10 + 0.68 * k / leaf.veins
            end = start + (0.22 if leaf.wide < 0.15 else 0.17)
            if leaf.outline == "lobed":
                end = (k + 0.52) / 3.9  # into the lobes
                start = max(end - 0.10, 0.03)
                if end > 0.85:
                    continue
            reach = 0.84 * float(_half_width(leaf, np.asarray([min(end, 0.97)]))[0])
            for side in (-1, 1):
                veins.append(
                    (
                        curve(
                            (0, 0.5 - start),
                            (side * 0.6 * reach, 0.5 - start - 0.4 * (end - start)),
                            (side * reach, 0.5 - end),
                            steps=5,
                        ),
                        np.linspace(0.0105, 0.005, 5),
                    )
                )
        return polygon(corners, 0.006, leaf.wide), veins
    if leaf.outline == "palm":
        right = [
            (0.0, 0.40),
            (0.12, 0.43),
            (0.24, 0.40),
            (0.33, 0.42),
            (0.27, 0.28),
            (0.36, 0.22),
            (0.52, 0.14),
            (0.40, 0.06),
            (0.48, -0.06),
            (0.54, -0.20),
            (0.38, -0.14),
            (0.30, -0.20),
            (0.19, -0.12),
            (0.15, -0.16),
            (0.19, -0.30),
            (0.10, -0.32),
            (0.0, -0.52),
        ]
        corners = right + [(-x, y) for x, y in reversed(right[1:-1])]
        root = (0.0, 0.40)
        for tip, r in (
            ((0, -0.47), 0.020),
            ((0.48, -0.17), 0.017),
            ((-0.48, -0.17), 0.017),
            ((0.29, 0.39), 0.012),
            ((-0.29, 0.39), 0.012),
        ):
            veins.append(
                (curve(root, (0.5 * tip[0], 0.40 + 0.42 * (tip[1] - 0.40)), tip, steps=4), np.linspace(r, 0.006, 4))
            )
        for a, b in (
            ((0, 0.0), (0.15, -0.12)),
            ((0, -0.14), (0.13, -0.28)),
            ((0.26, 0.10), (0.43, 0.10)),
            ((0.35, -0.02), (0.44, -0.03)),
        ):
            for side in (-1, 1):
                veins.append(([(side * a[0], a[1]), (side * b[0], b[1])], [0.009, 0.005]))
        return polygon(corners, 0.012, 0.25), veins
    # fan: two lobes with a cleft, veins radiating from the base
    angles = np.linspace(-1.12, 1.12, 41)
    far = (
        0.88
        * (1 - 0.13 * np.abs(angles) ** 2)
        * (1 - 0.34 * np.exp(-((angles / 0.07) ** 2)))
        * (1 + 0.02 * np.cos(angles * 22))
    )
    corners = [(0.012, 0.5), (-0.012, 0.5)] + [(f * sin(a), 0.42 - f * cos(a)) for a, f in zip(angles, far)]
    for a in np.linspace(-1.02, 1.02, 2 * leaf.veins):
        reach = 0.80 * (1 - 0.13 * a * a)
        veins.append(
            (
                curve(
                    (0, 0.47),
                    (0.42 * reach * sin(0.75 * a), 0.44 - 0.42 * reach * cos(0.75 * a)),
                    (reach * sin(a), 0.42 - reach * cos(a)),
                    steps=4,
                ),
                [0.012, 0.0095, 0.008, 0.0055],
            )
        )
    return polygon(corners, 0.01, 0.3), veins


HUES = (
    (0.34, 0.55, 0.20),
    (0.24, 0.46, 0.22),
    (0.52, 0.62, 0.22),
    (0.86, 0.70, 0.20),
    (0.85, 0.48, 0.16),
    (0.72, 0.26, 0.16),
    (0.55, 0.36, 0.20),
)


def draw_leaf(canvas: Canvas, leaf: Leaf, rng: np.random.Generator, frame: Frame) -> None:
    """One fallen leaf of any season; colours say nothing about the species."""
    u = rng.random(16)
    one, two = (np.asarray(HUES[int(h * len(HUES))], np.float32) * (0.92 + 0.16 * w) for h, w in zip(u[0:2], u[2:4]))
    two = one + (two - one) * 0.65 * np.float32(u[4])
    pale = one + (np.asarray((0.98, 0.95, 0.75), np.float32) - one) * np.float32(0.45 + 0.2 * u[5])
    at = frame.child(0, -0.03, 0.94 if leaf.wide < 0.15 else 0.74 if leaf.outline == "fan" else 0.84, 70 * (u[6] - 0.5))
    blade, veins = _blade(leaf)
    curl = 0.10 * (u[7] - 0.5)
    sway = 0.16 * (u[8] - 0.5)

    def colour(patch):
        edge = ramp(np.sqrt(patch.x**2 + (patch.y * 0.8) ** 2) + 0.3 * (patch.noise("soft", 3.0) - 0.5), 0.15, 0.5)
        rgb = one + (two - one) * edge[..., None]
        ribs = np.sin((patch.y + 0.7 * np.abs(patch.x)) * 2 * pi * leaf.veins * 1.45)
        tone = 0.92 + 0.05 * ribs + 0.22 * (patch.noise("soft", 1.2, 3) - 0.5) + curl * np.sign(patch.x)
        spots = ramp(patch.noise("soft", 0.9, 8), 0.93 - 0.08 * u[9], 0.99)
        return rgb * (tone - 0.35 * spots)[..., None]

    if "blade" not in canvas.removed:
        canvas.shadow(at.child(0.02, 0.02), blade, 0.45, 0.04)
    base = 0.40 if leaf.outline == "palm" else 0.48
    stalk = tube(
        curve((0, base), (0.3 * sway, base + 0.5 * leaf.stem), (sway, base + leaf.stem), steps=6),
        np.linspace(0.022, 0.028, 6),
    )
    canvas.paint(at, stalk, "stem", tuple(0.80 * pale * np.asarray((1.0, 0.88, 0.75))), roundness=0.024)
    canvas.paint(at, blade, "blade", colour, roundness=0.10, occlusion=0.3)
    for points, radii in veins:
        vein = tube(points, np.asarray(radii) * (1.25 if leaf.wide > 0.15 else 0.9))
        canvas.paint(
            at,
            inside(vein, blade) if leaf.outline != "simple" else vein,
            "vein",
            tuple(pale),
            roundness=0.02,
            occlusion=0.0,
        )
