"""The animals: coats, part variants, species tables, and one drawing function per part variant.

A species is a dict from part to `Variant` (a kind of drawing, a coat, an accent colour, a size). A hybrid is the same
dict with each entry taken from a parent, so that its parts are literally the parent's. Heads are drawn in units of
the head's radius around the head's centre, bodies in units of the picture around the animal's centre (y down).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .shapes import Canvas, Colour, Frame, Patch, Shape, capsule, curve, ellipse, inside, polygon, ramp, tube, union

DARK = (0.13, 0.10, 0.10)
WHITE = (0.96, 0.94, 0.90)


# ---------------------------------------------------------------------------------------------------- coats


@dataclass(frozen=True)
class Coat:
    """Fur or skin: a base colour, a pattern of markings in a second colour, a lighter underside, fur strength."""

    base: Colour
    mark: Colour = DARK
    pattern: str = "plain"  # 'plain' or a key of _MARKINGS
    scale: float = 1.0  # of the pattern
    pale: Colour | None = None  # underside, chin, inner legs
    fur: float = 0.20  # contrast of the fur's streaks; skin has little
    fuzz: float = 0.0035  # raggedness of the outline, as a share of the picture's side

    def colours(self, where: str) -> Callable[[Patch], np.ndarray]:
        """The colour function of this coat on the 'head', 'body' (side view), 'chest' (front), 'limb' or 'ear'."""

        def colour(patch: Patch) -> np.ndarray:
            x, y = patch.x * patch.unit, patch.y * patch.unit  # in shares of the picture, so markings keep their size
            base = np.asarray(self.base, np.float32) * np.asarray(patch.canvas.tint, np.float32)
            rgb = np.broadcast_to(base, x.shape + (3,))
            if self.pale is not None and where in ("body", "chest", "head"):
                low = ramp(patch.y, 0.02, 0.2) if where != "head" else ramp(patch.y, 0.25, 0.75)
                if where == "chest":
                    low = low * ramp(np.abs(patch.x), 0.2, 0.08)
                rgb = rgb + (np.asarray(self.pale, np.float32) - rgb) * (low * 0.85)[..., None]
            markings = _MARKINGS.get(self.pattern)
            if markings is not None:
                for amount, tone in markings(self, patch, x / self.scale, y / self.scale, where):
                    rgb = rgb + (np.asarray(tone, np.float32) - rgb) * amount[..., None]
            if self.fur:
                streak = patch.noise("fur", 1.6) + 0.5 * patch.noise("soft", 2.0) - 0.75
                rgb = rgb * (1.0 + self.fur * streak)[..., None]
            return rgb

        return colour


def _stripes(coat, patch, x, y, where, frequency=13.0, width=0.05, warp=0.055):
    bend = (patch.noise("soft", 1.6 * coat.scale) - 0.5) * warp
    if where in ("head", "chest", "ear"):
        along = y - 0.75 * np.abs(x)
    elif where == "body":
        along = x + 0.12 * y
    else:
        along = y
    wave = np.sin((along + bend) * (2 * np.pi * frequency))
    if where == "body" and coat.pale is not None:
        wave = wave - ramp(patch.y, 0.05, 0.2) * 0.5
    return [(ramp(wave, width, width + 0.35), coat.mark)]


def _bands(coat, patch, x, y, where):
    """Narrow, broken stripes (tiger, tabby)."""
    bend = (patch.noise("soft", 1.6 * coat.scale) - 0.5) * 0.07
    along = y - 0.9 * np.abs(x) if where in ("head", "chest", "ear") else x + 0.2 * y if where == "body" else y
    wave = np.sin((along + bend) * (2 * np.pi * 12.0)) + 0.5 * (patch.noise("soft", 1.2, 3) - 0.75)
    if where == "body":
        wave = wave - ramp(patch.y, 0.06, 0.2) * 0.6
    return [(ramp(wave, 0.3, 0.6), coat.mark)]


_CELL_JITTER = np.random.Generator(np.random.PCG64(7)).random((2, 32, 32), dtype=np.float32)


def _cells(x, y, size):
    """A staggered grid with one jittered centre per cell: distance to it in cells, and a number of the cell."""
    row = np.floor(y / size)
    gx = x / size + 0.5 * (row % 2)
    column = np.floor(gx)
    i, j = row.astype(np.int32) & 31, column.astype(np.int32) & 31
    a, b = _CELL_JITTER[0, i, j], _CELL_JITTER[1, i, j]
    dx = gx - column - 0.5 - 0.24 * (a - 0.5)
    dy = y / size - row - 0.5 - 0.24 * (b - 0.5)
    return np.sqrt(dx * dx + dy * dy), a


def _spots(coat, patch, x, y, where):
    size = 0.036 if where in ("body", "chest") else 0.03
    far, pick = _cells(x, y, size)
    far = far + 0.12 * (patch.noise("soft", 0.8) - 0.5)
    return [(ramp(far, 0.34 + 0.08 * pick, 0.22 + 0.08 * pick) * (pick > 0.12), coat.mark)]


def _blots(coat, patch, x, y, where):
    """A dalmatian's sparse irregular blots."""
    far, pick = _cells(x, y, 0.055)
    far = far + 0.3 * (patch.noise("soft", 0.9) - 0.5)
    return [(ramp(far, 0.30 + 0.14 * pick, 0.22 + 0.14 * pick) * (pick > 0.25), coat.mark)]


def _rosettes(coat, patch, x, y, where):
    if where not in ("body", "chest"):
        return _spots(coat, patch, x, y, where)
    far, pick = _cells(x, y, 0.052)
    far = far + 0.2 * (patch.noise("soft", 0.8) - 0.5)
    ring = ramp(np.abs(far - 0.29), 0.13, 0.07)
    heart = ramp(far, 0.26, 0.18)
    return [(heart * 0.5, tuple(0.75 * c for c in coat.base)), (ring * (patch.noise("soft", 0.6, 7) > 0.18), coat.mark)]


def _saddle(coat, patch, x, y, where):
    """A dark back over a lighter underside; on the head, dark sides with a light blaze."""
    wobble = 0.06 * (patch.noise("soft", 2.0) - 0.5)
    if where == "body":
        return [(ramp(patch.y + wobble, 0.13, 0.09), coat.mark)]
    if where == "chest":
        return [(ramp(np.abs(patch.x) + wobble, 0.08, 0.12), coat.mark)]
    if where == "head":
        return [(ramp(np.abs(patch.x) + wobble - 0.22 * patch.y, 0.18, 0.28), coat.mark)]
    return []


def _tuxedo(coat, patch, x, y, where):
    """White bib, blaze and socks on a dark coat (`mark` is the white)."""
    wobble = 0.05 * (patch.noise("soft", 2.0) - 0.5)
    if where == "body":
        return [(ramp(patch.y + wobble, 0.15, 0.18), coat.mark)]
    if where == "chest":
        return [(ramp(np.abs(patch.x) + wobble - 0.1 * patch.y, 0.11, 0.08), coat.mark)]
    if where == "head":
        return [(ramp(np.abs(patch.x) + wobble - 0.5 * (patch.y + 0.25), 0.12, 0.02), coat.mark)]
    if where == "limb":
        return [(ramp(patch.y + wobble, 0.30, 0.33), coat.mark)]
    return []


def _points(coat, patch, x, y, where):
    """A siamese cat's dark face, ears, feet and tail on a pale coat."""
    if where == "head":
        far = np.sqrt(patch.x**2 + (0.9 * (patch.y - 0.2)) ** 2)
        return [(0.85 * ramp(far, 0.82, 0.3), coat.mark)]
    if where == "limb":
        return [(ramp(patch.y, 0.2, 0.42), coat.mark)]
    if where in ("ear", "tail"):
        return [(np.full(x.shape, 0.9, np.float32), coat.mark)]
    return []


def _wrinkles(coat, patch, x, y, where):
    fold = np.sin((y + 0.25 * np.abs(x) + 0.05 * patch.noise("soft", 2.0)) * 2 * np.pi * 26)
    return [(0.22 * ramp(fold, 0.5, 0.95), coat.mark), (0.25 * ramp(patch.noise("soft", 1.0, 4), 0.6, 0.9), coat.mark)]


def _blocks(coat, patch, x, y, where):
    """A giraffe's large blocks with light lines between."""
    far, pick = _cells(x, y, 0.062)
    far = far + 0.25 * (patch.noise("soft", 1.0) - 0.5)
    return [(ramp(far, 0.50, 0.42), coat.mark)]


_MARKINGS = {
    "stripes": _stripes,
    "bands": _bands,
    "spots": _spots,
    "blots": _blots,
    "rosettes": _rosettes,
    "saddle": _saddle,
    "tuxedo": _tuxedo,
    "points": _points,
    "wrinkles": _wrinkles,
    "blocks": _blocks,
}


# ---------------------------------------------------------------------------------------------------- variants


@dataclass(frozen=True)
class Variant:
    """How one part looks: which drawing (`kind`), its coat, an accent (inner ear, iris, nose leather, tuft), size."""

    kind: str
    coat: Coat
    accent: Colour = DARK
    size: float = 1.0


Species = dict[str, Variant]


@dataclass(frozen=True)
class HeadKind:
    """A head's outline (ellipses x, y, rx, ry, depth) and where its features sit, in head radii.

    `depth` says how far a feature shifts when the head turns; `top` and `side` are the extent with ears.
    """

    outline: tuple[tuple[float, float, float, float, float], ...]
    ear: tuple[float, float, float]  # x, y, outward tilt in degrees
    eye: tuple[float, float]
    nose: tuple[float, float]
    horn: tuple[float, float]
    radius: float = 0.235  # of the head in animal units
    bottom: float = 0.85
    eye_size: float = 1.0


HEADS = {
    "cat": HeadKind(
        ((0, -0.05, 0.92, 0.80, 0.0), (-0.34, 0.30, 0.58, 0.46, 0.1), (0.34, 0.30, 0.58, 0.46, 0.1)),
        (0.56, -0.62, 24),
        (0.41, -0.04),
        (0, 0.36),
        (0.3, -0.7),
        0.25,
        0.76,
    ),
    "dog": HeadKind(
        ((0, -0.12, 0.80, 0.80, 0.0), (0, 0.30, 0.62, 0.55, 0.15)),
        (0.62, -0.50, 30),
        (0.33, -0.12),
        (0, 0.36),
        (0.3, -0.7),
        0.25,
        0.9,
    ),
    "bigcat": HeadKind(
        ((0, -0.06, 0.88, 0.82, 0.0), (0, 0.38, 0.62, 0.48, 0.15)),
        (0.66, -0.62, 42),
        (0.37, -0.12),
        (0, 0.38),
        (0.35, -0.7),
        0.235,
        0.86,
    ),
    "horse": HeadKind(
        ((0, -0.32, 0.62, 0.60, 0.0), (0, 0.25, 0.46, 0.62, 0.2), (0, 0.62, 0.44, 0.42, 0.35)),
        (0.40, -0.82, 18),
        (0.42, -0.26),
        (0, 0.70),
        (0.22, -0.85),
        0.235,
        1.1,
    ),
    "pig": HeadKind(
        ((0, -0.05, 0.86, 0.80, 0.0), (-0.36, 0.28, 0.52, 0.46, 0.1), (0.36, 0.28, 0.52, 0.46, 0.1)),
        (0.58, -0.60, 34),
        (0.40, -0.16),
        (0, 0.30),
        (0.42, 0.52),
        0.24,
        0.8,
    ),
    "rhino": HeadKind(
        ((0, -0.30, 0.72, 0.58, 0.0), (0, 0.20, 0.62, 0.60, 0.2), (0, 0.52, 0.60, 0.42, 0.35)),
        (0.56, -0.76, 30),
        (0.50, -0.16),
        (0, 0.58),
        (0, 0.16),
        0.22,
        0.98,
    ),
    "elephant": HeadKind(
        ((-0.24, -0.32, 0.52, 0.52, 0.0), (0.24, -0.32, 0.52, 0.52, 0.0), (0, 0.12, 0.66, 0.66, 0.1)),
        (0.60, -0.20, 90),
        (0.40, -0.08),
        (0, 0.24),
        (0.40, 0.50),
        0.215,
        1.0,
    ),
}


@dataclass(frozen=True)
class BodyKind:
    """Build of a body: half height of the trunk, distance between the legs, leg length and radius, neck, and
    whether it sits when seen from the front."""

    girth: float
    length: float
    legs: float
    limb: float
    neck: float
    sits: bool


BODIES = {
    "pet": BodyKind(0.135, 0.25, 0.20, 0.050, 0.02, True),
    "bigcat": BodyKind(0.140, 0.28, 0.21, 0.055, 0.03, True),
    "horse": BodyKind(0.140, 0.27, 0.22, 0.047, 0.06, False),
    "tall": BodyKind(0.130, 0.22, 0.24, 0.045, 0.12, False),
    "barrel": BodyKind(0.165, 0.24, 0.17, 0.055, 0.00, False),
    "giant": BodyKind(0.185, 0.26, 0.21, 0.072, 0.00, False),
}


# ---------------------------------------------------------------------------------------------------- pose


@dataclass(frozen=True)
class Pose:
    """Everything random about one animal, drawn before any shape (so that removing a part changes nothing else)."""

    front: bool
    turn: float  # of the head, -1 to 1: features shift sideways
    nod: float  # degrees the head tilts
    ear: float  # degrees the ears tilt
    gaze: tuple[float, float]
    tail: float  # 0..1: how high it is held
    stride: float  # -1..1: legs apart
    plump: float  # factor on the body's girth
    head: float  # factor on the head's size

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Pose":
        u = rng.random(10)
        return cls(
            bool(u[0] < 0.5),
            2 * u[1] - 1,
            18 * u[2] - 9,
            16 * u[3] - 8,
            (u[4] - 0.5, u[5] - 0.5),
            u[6],
            2 * u[7] - 1,
            0.92 + 0.16 * u[8],
            0.93 + 0.14 * u[9],
        )


def draw(canvas: Canvas, species: Species, pose: Pose, frame: Frame) -> None:
    """Draw an animal about the origin of `frame`, whose unit is the room it has (about the picture's side)."""
    body, head = BODIES[species["body"].kind], HEADS[species["head"].kind]
    girth, ground, radius = body.girth * pose.plump, 0.46, head.radius * pose.head
    top = ground - body.legs - 1.35 * girth  # of the back
    if pose.front:
        half = girth * 1.2
        spine_y = ground - body.legs - 0.55 * girth if not body.sits else ground - 0.28
        head_at = (0.03 * pose.turn, (spine_y if body.sits else spine_y - 0.02) - girth - body.neck - 0.45 * radius)
        left, right = -max(1.1 * radius, half + 0.05), max(1.1 * radius, half + 0.14)
    else:
        chest, rump = -body.length / 2 + 0.05, body.length / 2 + 0.07
        head_at = (chest - 0.09 - 0.25 * body.neck, top - 0.25 * radius - body.neck)
        left, right = head_at[0] - 1.05 * radius, rump + 0.75 * girth + 0.18
    if "mane" in species and species["mane"].kind == "lion":
        left, right = min(left, head_at[0] - 1.3 * radius), max(right, head_at[0] + 1.3 * radius)
    if species["ear"].kind == "fan":
        left, right = min(left, head_at[0] - 1.75 * radius), max(right, head_at[0] + 1.75 * radius)
    high = head_at[1] - (1.75 if species["ear"].kind in ("leaf", "triangle") else 1.35) * radius
    fit = min(0.97 / (ground - high), 0.97 / (right - left))
    root = frame.child(-fit * (left + right) / 2, -fit * (ground + high) / 2, fit)

    width = 0.24 if pose.front else (right - left) * 0.36
    canvas.shadow(root, ellipse(0.03, ground - 0.005, width + 0.04, 0.045), 0.42, 0.05)
    head_frame = root.child(*head_at, radius, pose.nod)
    turn = pose.turn * (0.6 if pose.front else 0.7) - (0.0 if pose.front else 0.35)
    if pose.front:
        _body_front(canvas, root, species, body, girth, ground, spine_y, head_at, pose)
    else:
        _body_side(canvas, root, species, body, girth, ground, chest, rump, head_at, pose)
    _head(canvas, head_frame, species, head, pose, turn)


# ---------------------------------------------------------------------------------------------------- body


def _body_side(canvas, root, species, body, girth, ground, chest, rump, head_at, pose):
    coat, legs = species["body"].coat, species["leg"]
    middle = ground - body.legs - 0.35 * girth
    s = 0.035 * pose.stride
    for x, step in ((chest + 0.085, s), (rump - 0.075, -s)):
        _leg(canvas, root, legs, x, middle, x + step, ground - 0.025, body.limb, 0.74)
    lift = pose.tail
    _tail(canvas, root.child(rump + 0.75 * girth, middle - 0.35 * girth), species["tail"], lift, False)
    neck = capsule(chest - 0.01, middle - 0.2 * girth, head_at[0] + 0.03, head_at[1] + 0.04, girth * 0.85, girth * 0.62)
    trunk = union(
        ellipse(chest, middle, girth * 1.02, girth * 1.08),
        ellipse(rump, middle - 0.01, girth * 1.02, girth * 1.05),
        ellipse((chest + rump) / 2, middle + 0.015, (rump - chest) * 0.6, girth * 0.95),
        blend=0.08,
    )
    mane = species.get("mane")
    if mane is not None and mane.kind in ("crest", "flow"):
        _neck_mane(canvas, root, mane, chest, rump, middle, girth, head_at)
    canvas.paint(root, union(trunk, neck, blend=0.08), "body", coat.colours("body"), roundness=girth, fuzz=coat.fuzz)
    for x, step in ((chest - 0.015, -s), (rump + 0.035, s)):
        _leg(canvas, root, legs, x, middle + 0.02, x + step, ground, body.limb, 1.0)


def _body_front(canvas, root, species, body, girth, ground, y, head_at, pose):
    coat, legs = species["body"].coat, species["leg"]
    tail = species["tail"]
    if body.sits:
        _tail(canvas, root.child(0.13, ground - 0.075), tail, pose.tail, True)
        trunk = union(
            ellipse(0, y + 0.02, girth * 1.08, girth * 1.15), ellipse(0, ground - 0.125, girth * 1.32, 0.125), blend=0.1
        )
        canvas.paint(root, trunk, "body", coat.colours("chest"), roundness=girth, fuzz=coat.fuzz)
        for side in (-1, 1):
            haunch = root.child(side * girth * 1.08, ground - 0.02, 1.0, 0.0, side < 0)
            shape = union(
                ellipse(0.0, -0.075, 0.062, 0.088, 14), capsule(0.0, -0.005, 0.035, -0.002, 0.042), blend=0.04
            )
            canvas.paint(
                haunch.child(0, -ground),
                _moved(shape, 0, ground),
                "leg",
                legs.coat.colours("limb"),
                roundness=0.06,
                fuzz=legs.coat.fuzz,
                shade=0.95,
            )
        gap = 0.052 + 0.012 * pose.stride
        for side in (-1, 1):
            _leg(canvas, root, legs, side * gap * 1.1, y + 0.12, side * gap, ground + 0.012, body.limb * 0.92, 1.0)
        return
    for side in (-1, 1):
        _leg(canvas, root, legs, side * girth * 0.95, y + 0.05, side * girth * 0.98, ground - 0.035, body.limb, 0.72)
    _tail(canvas, root.child(girth * 1.0, y - 0.03), tail, pose.tail, True)
    neck = capsule(0, y - 0.3 * girth, head_at[0], head_at[1] + 0.06, girth * 0.85, girth * 0.6)
    trunk = union(ellipse(0, y + 0.02, girth * 1.18, girth * 1.15), neck, blend=0.08)
    mane = species.get("mane")
    if mane is not None and mane.kind in ("crest", "flow"):
        _neck_mane(canvas, root, mane, 0.06, 0.06, y, girth, head_at)
    canvas.paint(root, trunk, "body", coat.colours("chest"), roundness=girth, fuzz=coat.fuzz)
    gap = girth * (0.56 + 0.08 * pose.stride)
    for side in (-1, 1):
        _leg(canvas, root, legs, side * gap, y + 0.07, side * gap, ground, body.limb, 1.0)


def _moved(shape: Shape, dx: float, dy: float) -> Shape:
    left, top, right, bottom = shape.bounds
    return Shape(
        lambda x, y: shape.distance(x - dx, y - dy), (left + dx, top + dy, right + dx, bottom + dy), shape.radius
    )


def _leg(canvas, root, leg: Variant, x0, y0, x1, y1, radius, shade):
    """One leg from the hip (x0, y0) to the ground (x1, y1); `shade` < 1 for the far side."""
    coat = leg.coat
    style = dict(shade=shade, fuzz=coat.fuzz * 0.6)
    colours = coat.colours("limb")
    if leg.kind == "paw":
        shape = union(
            tube(
                [(x0, y0), ((x0 + x1) / 2, (y0 + y1) / 2), (x1, y1 - radius * 0.7)],
                [radius * 1.25, radius, radius * 0.85],
            ),
            ellipse(x1 - radius * 0.22, y1 - radius * 0.55, radius * 1.18, radius * 0.72),
            blend=0.03,
        )
        canvas.paint(root, shape, "leg", colours, roundness=radius, **style)
        for dx in (-0.62, -0.12):
            toe = capsule(x1 + dx * radius, y1 - radius * 0.5, x1 + dx * radius, y1 - radius * 0.05, radius * 0.07)
            canvas.paint(root, toe, "leg", (0.2, 0.15, 0.13), flat=True, occlusion=0, alpha=0.65, shade=shade)
    elif leg.kind == "hoof":
        r = radius * leg.size
        shape = tube([(x0, y0), (x1, (y0 + y1) / 2 + 0.01), (x1, y1 - r * 0.9)], [r * 1.35, r * 0.86, r * 0.78])
        canvas.paint(root, shape, "leg", colours, roundness=r, **style)
        hoof = polygon(
            [(x1 - r * 0.72, y1 - r * 1.05), (x1 + r * 0.72, y1 - r * 1.05), (x1 + r * 0.95, y1), (x1 - r * 0.95, y1)],
            r * 0.14,
        )
        canvas.paint(root, hoof, "leg", leg.accent, roundness=r * 0.8, shade=shade, occlusion=0.2)
    else:  # column
        r = radius * leg.size
        shape = tube([(x0, y0), (x1, (y0 + y1) / 2), (x1, y1 - r * 0.8)], [r * 1.25, r * 0.95, r * 1.02])
        foot = polygon(
            [
                (x1 - r * 0.95, y1 - r * 0.7),
                (x1 + r * 0.95, y1 - r * 0.7),
                (x1 + r, y1 - r * 0.12),
                (x1 - r, y1 - r * 0.12),
            ],
            r * 0.12,
        )
        canvas.paint(root, union(shape, foot), "leg", colours, roundness=r, **style)
        for dx in (-0.62, 0.0, 0.62):
            nail = inside(
                ellipse(x1 + dx * r, y1 - r * 0.02, r * 0.27, r * 0.34),
                polygon([(x1 - 2 * r, y1 - r), (x1 + 2 * r, y1 - r), (x1 + 2 * r, y1), (x1 - 2 * r, y1)]),
            )
            canvas.paint(root, nail, "leg", leg.accent, roundness=r * 0.3, shade=shade, occlusion=0.15)


def _tail(canvas, frame: Frame, tail: Variant, lift: float, front: bool):
    """A tail rooted at the frame's origin, held low (lift 0) or high (1); in front views it leaves sideways."""
    size, coat = tail.size, tail.coat
    if tail.kind in ("long", "bushy", "ringed", "tuft"):
        if lift > 0.5 or front:
            path = curve(
                (-0.03, 0.03), (0.10, 0.05), (0.17, -0.03), (0.13, -0.14 - 0.07 * lift), (0.19, -0.20 - 0.05 * lift)
            )
        else:
            path = curve((-0.03, 0.0), (0.08, 0.0), (0.11, 0.1), (0.08, 0.2), (0.16, 0.24 - 0.04 * lift))
        if front:
            path = [(0.8 * x, y) for x, y in path]
        r = np.linspace(0.034, 0.028, len(path)) * size
        if tail.kind == "bushy":
            r = (0.034 + 0.03 * np.sin(np.linspace(0.1, 3.0, len(path)))) * size
        if tail.kind == "tuft":
            r = r * 0.75
        shape = tube(path, r)
        canvas.paint(
            frame,
            shape,
            "tail",
            coat.colours("tail"),
            roundness=0.045 * size,
            fuzz=coat.fuzz * (2 if tail.kind == "bushy" else 1),
        )
        if tail.kind == "ringed":
            for i in (4, 6, 8):
                ring = inside(ellipse(*path[i], 0.022), shape)
                canvas.paint(frame, ring, "tail", tail.accent, flat=True, occlusion=0, alpha=0.85)
        if tail.kind == "tuft":
            (ax, ay), (bx, by) = path[-3], path[-1]
            dx, dy = bx - ax, by - ay
            tip = union(
                ellipse(bx, by, 0.046 * size),
                capsule(bx, by, bx + 0.55 * dx, by + 0.55 * dy, 0.034 * size, 0.008),
                blend=0.03,
            )
            canvas.paint(frame, tip, "tail", Coat(tail.accent).colours("tail"), roundness=0.05, fuzz=0.007)
    elif tail.kind == "brush":  # a horse's: long hair from a short root
        sway = 0.05 + 0.08 * lift
        path = curve((-0.03, -0.02), (0.05 + sway, -0.06), (0.07 + sway, 0.10), (0.05 + sway, 0.27))
        r = (0.026 + 0.026 * np.sin(np.linspace(0.0, 2.9, len(path)))) * size
        canvas.paint(frame, tube(path, r), "tail", replace(coat, fur=0.4).colours("tail"), roundness=0.05, fuzz=0.006)
    elif tail.kind == "whip":  # a thin tail with a tuft at its end (donkey, zebra, elephant, rhinoceros)
        sway = 0.04 + 0.10 * lift
        path = curve((-0.03, -0.02), (0.04 + sway, -0.04), (0.05 + sway, 0.08), (0.06 + sway, 0.16))
        canvas.paint(
            frame,
            tube(path, np.linspace(0.026, 0.019, len(path)) * size),
            "tail",
            coat.colours("tail"),
            roundness=0.025,
        )
        x, y = path[-1]
        tip = union(
            ellipse(x, y + 0.02, 0.03 * size, 0.045 * size),
            capsule(x, y, x + 0.005, y + 0.085, 0.025 * size, 0.008),
            blend=0.02,
        )
        canvas.paint(frame, tip, "tail", Coat(tail.accent).colours("tail"), roundness=0.035, fuzz=0.008)
    else:  # curl: a pig's
        t = np.linspace(0, 1, 14)
        swing = 2 * np.pi * 1.35 * t
        path = list(
            zip(-0.01 + 0.12 * t + 0.045 * np.sin(swing), -0.01 - 0.02 * t + 0.045 * (np.cos(swing) - 1) + 0.03 * lift)
        )
        canvas.paint(
            frame,
            tube(path, np.linspace(0.026, 0.016, 14) * size),
            "tail",
            coat.colours("tail"),
            roundness=0.026,
            gloss=0.05,
        )


def _neck_mane(canvas, root, mane: Variant, chest, rump, middle, girth, head_at):
    """Hair along the back of the neck, from between the ears to the withers, seen behind the neck."""
    hx, hy = head_at[0] + 0.05, head_at[1] - 0.10
    wx, wy = chest + 0.11, middle - 0.95 * girth
    path = curve((hx, hy), (hx + 0.10, hy + 0.02), (wx + 0.05, wy - 0.06), (wx, wy), steps=7)
    r = 0.058 if mane.kind == "crest" else 0.075
    canvas.paint(
        root, tube(path, [r * 0.9] * 6 + [r * 0.55]), "mane", mane.coat.colours("limb"), roundness=0.06, fuzz=0.008
    )


# ---------------------------------------------------------------------------------------------------- head


def _head(canvas, frame, species, head: HeadKind, pose: Pose, turn: float):
    """The head in `frame`, in radii: mane, ears behind, skull, ears in front, horns, nose, eyes."""
    ear, mane, horn = species["ear"], species.get("mane"), species.get("horn")
    coat = species["head"].coat
    swing = 0.32 * turn  # sideways shift of what lies in front of the skull's centre
    if mane is not None and mane.kind == "lion":
        _lion_mane(canvas, frame, mane)
    in_front = ear.kind in ("floppy", "flap")
    if not in_front:
        _ears(canvas, frame, ear, head, pose, turn)
    skull = union(*(ellipse(x + depth * turn, y, rx, ry) for x, y, rx, ry, depth in head.outline), blend=0.35)
    canvas.paint(frame, skull, "head", coat.colours("head"), roundness=0.75, fuzz=coat.fuzz)
    if mane is not None and mane.kind in ("crest", "flow"):
        _forelock(canvas, frame, mane, head, swing)
    if in_front:
        _ears(canvas, frame, ear, head, pose, turn)
    eye = species["eye"]
    for side in (-1, 1):
        narrow = 1.0 - 0.22 * max(0.0, side * turn)  # the far eye is foreshortened
        at = frame.child(head.eye[0] * side * narrow + 0.75 * swing, head.eye[1], 1.0)
        _EYES[eye.kind](
            canvas, at, eye, side, 0.225 * head.eye_size * eye.size * (0.96 + 0.04 * narrow), pose.gaze, coat
        )
    nose = frame.child(head.nose[0] + 1.15 * swing, head.nose[1], species["nose"].size, -4 * turn)
    if horn is not None and horn.kind == "tusk":
        _horns(canvas, frame, horn, head, swing)
    _NOSES[species["nose"].kind](canvas, nose, species["nose"], turn)
    if horn is not None and horn.kind != "tusk":
        _horns(canvas, frame, horn, head, swing)


def _lion_mane(canvas, frame, mane: Variant):
    """A ragged disc of locks around the face, darker outside."""
    angles = np.linspace(0, 2 * np.pi, 21)[:-1]
    rim = [
        (1.27 * np.sin(a) * (1 + 0.06 * (-1) ** i), 0.06 - 1.16 * np.cos(a) * (1 + 0.06 * (-1) ** i))
        for i, a in enumerate(angles)
    ]
    base, dark = np.asarray(mane.coat.base), np.asarray(mane.accent)

    def colour(patch):
        far = np.sqrt(patch.x**2 + (patch.y - 0.1) ** 2)
        angle = np.arctan2(patch.y - 0.1, patch.x)
        locks = np.sin(angle * 26 + 5 * patch.noise("soft", 2.0)) * 0.5 + 0.5
        rgb = base * np.asarray(patch.canvas.tint) + (dark - base) * ramp(far, 0.8, 1.35)[..., None]
        return rgb * (0.82 + 0.30 * locks * patch.noise("soft", 1.0, 2))[..., None]

    canvas.paint(frame, polygon(rim, 0.08), "mane", colour, roundness=0.5, fuzz=0.007)


def _forelock(canvas, frame, mane: Variant, head, swing):
    x, y = 0.5 * swing, head.ear[1] - 0.05
    if mane.kind == "crest":
        for dx, high in ((-0.13, 0.20), (0.13, 0.20), (0.0, 0.32)):
            tuft = polygon([(x + dx - 0.13, y + 0.14), (x + dx, y - high), (x + dx + 0.13, y + 0.14)], 0.05)
            canvas.paint(frame, tuft, "mane", mane.coat.colours("limb"), roundness=0.2, fuzz=0.005, occlusion=0.2)
    else:
        lock = tube(curve((x, y - 0.08), (x + 0.22, y + 0.1), (x + 0.04, y + 0.55)), np.linspace(0.20, 0.03, 9))
        canvas.paint(frame, lock, "mane", replace(mane.coat, fur=0.5).colours("limb"), roundness=0.2, fuzz=0.006)


def _ears(canvas, frame, ear: Variant, head: HeadKind, pose: Pose, turn: float):
    x, y, tilt = head.ear
    for side in (-1, 1):
        far = max(0.0, side * turn)
        at = frame.child(side * x * (1 - 0.1 * far) - 0.08 * turn, y, ear.size, side * (0.6 * pose.ear), side < 0)
        _EARS[ear.kind](canvas, at, ear, tilt)


def _inner(colour):
    return lambda patch: np.asarray(colour, np.float32) * (0.86 + 0.28 * patch.noise("fur", 1.4))[..., None]


def _ear_triangle(canvas, at, ear, tilt):
    at = at.child(0, 0, 1, 0.75 * tilt)
    outer = polygon([(-0.34, 0.26), (0.02, -0.58), (0.34, 0.26)], 0.09, 0.3)
    canvas.paint(at, outer, "ear", ear.coat.colours("ear"), roundness=0.25, fuzz=ear.coat.fuzz * 0.8)
    canvas.paint(
        at,
        polygon([(-0.19, 0.2), (0.02, -0.36), (0.22, 0.2)], 0.05, 0.3),
        "ear",
        _inner(ear.accent),
        roundness=0.2,
        occlusion=0.0,
    )


def _ear_floppy(canvas, at, ear, tilt):
    path = curve((-0.12, -0.16), (0.34, -0.22), (0.42, 0.35), (0.26, 0.80))
    shape = tube(path, 0.12 + 0.14 * np.sin(np.linspace(0.35, 2.5, 9)))
    canvas.paint(at, shape, "ear", ear.coat.colours("ear"), roundness=0.26, fuzz=ear.coat.fuzz, occlusion=0.5)


def _ear_round(canvas, at, ear, tilt):
    at = at.child(0, 0, 1, 0.9 * tilt)
    canvas.paint(
        at, ellipse(0, -0.08, 0.37, 0.36), "ear", ear.coat.colours("ear"), roundness=0.22, fuzz=ear.coat.fuzz * 0.8
    )
    canvas.paint(at, ellipse(0, -0.04, 0.22, 0.22), "ear", _inner(ear.accent), roundness=0.2, occlusion=0)


def _ear_leaf(canvas, at, ear, tilt):
    at = at.child(0, 0, 1, tilt)
    shape = tube([(0, 0.15), (0.02, -0.22), (0.03, -0.66)], [0.16, 0.22, 0.05])
    canvas.paint(at, shape, "ear", ear.coat.colours("ear"), roundness=0.2, fuzz=ear.coat.fuzz * 0.6)
    inner = tube([(0.02, 0.05), (0.03, -0.2), (0.035, -0.52)], [0.07, 0.12, 0.03])
    canvas.paint(at, inner, "ear", _inner(ear.accent), roundness=0.14, occlusion=0)


def _ear_fan(canvas, at, ear, tilt):
    shape = union(ellipse(0.42, -0.12, 0.55, 0.62, -8), ellipse(0.34, 0.42, 0.34, 0.42, 14), blend=0.3)
    canvas.paint(at, shape, "ear", ear.coat.colours("ear"), roundness=0.3, fuzz=ear.coat.fuzz * 0.5)
    canvas.paint(
        at,
        union(ellipse(0.42, -0.10, 0.36, 0.42, -8), ellipse(0.34, 0.32, 0.2, 0.28, 14), blend=0.2),
        "ear",
        _inner(ear.accent),
        roundness=0.5,
        occlusion=0,
    )


def _ear_flap(canvas, at, ear, tilt):
    at = at.child(0, 0, 1, 0.8 * tilt)
    shape = polygon([(-0.24, 0.08), (-0.10, -0.40), (0.34, -0.36), (0.40, 0.20), (0.12, 0.34)], 0.08, 0.3)
    canvas.paint(at, shape, "ear", ear.coat.colours("ear"), roundness=0.25, fuzz=ear.coat.fuzz * 0.6)
    fold = polygon([(-0.06, 0.0), (0.02, -0.26), (0.26, -0.24), (0.28, 0.10), (0.10, 0.2)], 0.05, 0.2)
    canvas.paint(at, fold, "ear", _inner(ear.accent), roundness=0.2, occlusion=0)


def _ear_tube(canvas, at, ear, tilt):
    at = at.child(0, 0, 1, tilt)
    canvas.paint(
        at, tube([(0, 0.2), (0, -0.14), (0.0, -0.4)], [0.15, 0.24, 0.12]), "ear", ear.coat.colours("ear"), roundness=0.2
    )
    canvas.paint(at, ellipse(0.02, -0.18, 0.14, 0.24), "ear", _inner(ear.accent), roundness=0.2, occlusion=0)


_EARS = {
    "triangle": _ear_triangle,
    "floppy": _ear_floppy,
    "round": _ear_round,
    "leaf": _ear_leaf,
    "fan": _ear_fan,
    "flap": _ear_flap,
    "tube": _ear_tube,
}


def _shine(canvas, at, r):
    # The window's reflection lies on the same side in both eyes, as it does in a photograph.
    canvas.paint(
        at, ellipse(-0.32 * r, -0.36 * r, 0.25 * r, 0.27 * r), "eye", (1, 1, 1), flat=True, occlusion=0, alpha=0.95
    )
    canvas.paint(at, ellipse(0.30 * r, 0.38 * r, 0.13 * r), "eye", (1, 1, 1), flat=True, occlusion=0, alpha=0.45)


def _iris(accent, r, gx, gy):
    accent = np.asarray(accent, np.float32)

    def colour(patch):
        far = np.sqrt((patch.x - gx) ** 2 + (patch.y - gy) ** 2) / r
        light = 0.62 + 0.55 * ramp(patch.y / r, -0.8, 0.9)
        return accent * (light * (1.0 - 0.5 * ramp(far, 0.72, 1.0)))[..., None]

    return colour


def _eye_cat(canvas, at, eye, side, r, gaze, coat):
    tilted = at.child(0, 0, 1, -9 * side)
    canvas.paint(tilted, ellipse(0, 0, 1.14 * r, 0.98 * r), "eye", (0.10, 0.08, 0.08), flat=True, occlusion=0.25)
    ball = ellipse(0, 0, 0.99 * r, 0.84 * r)
    canvas.paint(tilted, ball, "eye", _iris(eye.accent, r, 0, 0), flat=True, occlusion=0)
    pupil = inside(ellipse(0.25 * r * gaze[0], 0, 0.27 * r, 0.80 * r), ball)
    canvas.paint(at, pupil, "eye", (0.04, 0.04, 0.05), flat=True, occlusion=0)
    _shine(canvas, at, r)


def _eye_ball(canvas, at, eye, side, r, gaze, coat, pupil, white):
    canvas.paint(at, ellipse(0, 0, 1.08 * r, 1.08 * r), "eye", (0.10, 0.08, 0.08), flat=True, occlusion=0.25)
    ball = ellipse(0, 0, 0.93 * r)
    gx, gy = 0.16 * r * gaze[0], 0.16 * r * gaze[1]
    canvas.paint(at, ball, "eye", white if white else _iris(eye.accent, r, 0, 0), flat=True, occlusion=0)
    if white:
        canvas.paint(
            at,
            inside(ellipse(gx, gy, 0.84 * r), ball),
            "eye",
            _iris(eye.accent, 0.95 * r, gx, gy),
            flat=True,
            occlusion=0,
        )
    canvas.paint(at, ellipse(gx, gy, pupil * r), "eye", (0.04, 0.03, 0.04), flat=True, occlusion=0)
    _shine(canvas, at, r)


def _eye_dog(canvas, at, eye, side, r, gaze, coat):
    _eye_ball(canvas, at, eye, side, 0.95 * r, gaze, coat, 0.50, (0.95, 0.93, 0.90))
    brow = tube(
        curve((-0.75 * r, -1.25 * r), (0.1 * r * side, -1.75 * r), (0.75 * r, -1.25 * r), steps=5), [0.16 * r] * 5
    )
    canvas.paint(at, brow, "eye", tuple(0.72 * c for c in coat.base), flat=True, occlusion=0, alpha=0.6)


def _eye_round(canvas, at, eye, side, r, gaze, coat):
    _eye_ball(canvas, at, eye, side, r, gaze, coat, 0.48, None)


def _eye_dark(canvas, at, eye, side, r, gaze, coat):
    """A large dark eye with a heavy upper lid and lashes."""
    canvas.paint(at, ellipse(0, -0.08 * r, 1.08 * r, 1.10 * r), "eye", (0.08, 0.06, 0.06), flat=True, occlusion=0.25)
    canvas.paint(at, ellipse(0, 0.02 * r, 0.88 * r), "eye", _iris(eye.accent, r, 0, 0), flat=True, occlusion=0)
    canvas.paint(
        at, ellipse(0.1 * r * gaze[0], 0, 0.66 * r, 0.5 * r), "eye", (0.04, 0.03, 0.04), flat=True, occlusion=0
    )
    for dx, dy in ((0.75, -1.0), (1.1, -0.75), (1.3, -0.4)):
        lash = capsule(0.8 * dx * side * r, 0.8 * dy * r, 1.15 * dx * side * r, 1.2 * dy * r, 0.10 * r, 0.05 * r)
        canvas.paint(at, lash, "eye", (0.08, 0.06, 0.06), flat=True, occlusion=0)
    _shine(canvas, at, r)


def _eye_small(canvas, at, eye, side, r, gaze, coat):
    """A small eye in a wrinkled socket; the socket counts as the eye."""
    skin = tuple(0.78 * c for c in eye.coat.base)
    canvas.paint(at, ellipse(0, -0.05 * r, 1.15 * r, 1.0 * r), "eye", skin, roundness=0.6 * r, occlusion=0.25)
    for dy in (0.55, 0.78):
        fold = tube(curve((-0.75 * r, dy * r), (0, (dy + 0.3) * r), (0.75 * r, dy * r), steps=5), [0.06 * r] * 5)
        canvas.paint(at, fold, "eye", tuple(0.5 * c for c in eye.coat.base), flat=True, occlusion=0, alpha=0.7)
    canvas.paint(at, ellipse(0, -0.05 * r, 0.72 * r), "eye", (0.09, 0.07, 0.07), flat=True, occlusion=0)
    canvas.paint(at, ellipse(0, -0.03 * r, 0.62 * r), "eye", _iris(eye.accent, 0.66 * r, 0, 0), flat=True, occlusion=0)
    canvas.paint(
        at, ellipse(0.12 * r * gaze[0], -0.03 * r, 0.36 * r), "eye", (0.03, 0.03, 0.03), flat=True, occlusion=0
    )
    _shine(canvas, at, 0.72 * r)


_EYES = {
    "cat": _eye_cat,
    "slit": _eye_cat,
    "dog": _eye_dog,
    "round": _eye_round,
    "dark": _eye_dark,
    "small": _eye_small,
}


def _mouth(canvas, at, y, wide, drop):
    for side in (-1, 1):
        line = tube(curve((0, y), (side * 0.3 * wide, y + drop), (side * wide, y + 0.35 * drop), steps=6), [0.026] * 6)
        canvas.paint(at, line, "nose", (0.20, 0.10, 0.10), flat=True, occlusion=0, alpha=0.8)


def _leather(canvas, at, shape, colour, shine):
    canvas.paint(at, shape, "nose", colour, roundness=0.12, occlusion=0.15)
    canvas.paint(at, shine, "nose", (1, 1, 1), flat=True, occlusion=0, alpha=0.45)


def _nose_cat(canvas, at, nose, turn):
    pad = nose.coat.colours("plain")
    canvas.paint(at, ellipse(0, 0.24, 0.16, 0.13), "nose", pad, roundness=0.12, fuzz=0.002, occlusion=0.2)
    pads = union(
        ellipse(-0.16, 0.07, 0.215, 0.185), ellipse(0.16, 0.07, 0.215, 0.185), ellipse(0, -0.04, 0.13, 0.13), blend=0.06
    )
    canvas.paint(at, pads, "nose", pad, roundness=0.17, fuzz=0.002, occlusion=0.25)
    _mouth(canvas, at, 0.08, 0.24, 0.16)
    canvas.paint(at, capsule(0, -0.02, 0, 0.08, 0.02), "nose", (0.25, 0.12, 0.12), flat=True, occlusion=0)
    tip = polygon([(-0.12, -0.15), (0.12, -0.15), (0.0, -0.02)], 0.05, 0.1)
    _leather(canvas, at, tip, nose.accent, ellipse(-0.04, -0.15, 0.055, 0.022))
    for side in (-1, 1):
        for y, dy in ((0.02, -0.08), (0.09, 0.02), (0.16, 0.12)):
            whisker = tube(
                curve((side * 0.24, y), (side * 0.45, y + 0.3 * dy - 0.02), (side * 0.72, y + dy), steps=4),
                [0.016, 0.015, 0.013, 0.011],
            )
            canvas.paint(at, whisker, "nose", (0.97, 0.96, 0.94), flat=True, occlusion=0, alpha=0.85)


def _nose_bigcat(canvas, at, nose, turn):
    pad = nose.coat.colours("plain")
    canvas.paint(at, ellipse(0, 0.28, 0.24, 0.18), "nose", WHITE, roundness=0.15, fuzz=0.003, occlusion=0.2)
    pads = union(
        ellipse(-0.2, 0.06, 0.28, 0.23), ellipse(0.2, 0.06, 0.28, 0.23), ellipse(0, -0.12, 0.2, 0.22), blend=0.08
    )
    canvas.paint(at, pads, "nose", pad, roundness=0.2, fuzz=0.003, occlusion=0.2)
    for side in (-1, 1):
        for x, y in ((0.17, 0.02), (0.28, 0.08), (0.19, 0.14)):
            canvas.paint(at, ellipse(side * x, y, 0.026), "nose", (0.25, 0.18, 0.15), flat=True, occlusion=0, alpha=0.8)
    _mouth(canvas, at, 0.12, 0.32, 0.16)
    canvas.paint(at, capsule(0, -0.02, 0, 0.12, 0.024), "nose", (0.25, 0.12, 0.12), flat=True, occlusion=0)
    tip = polygon([(-0.2, -0.2), (0.2, -0.2), (0.07, -0.03), (-0.07, -0.03)], 0.06, 0.12)
    _leather(canvas, at, tip, nose.accent, ellipse(-0.06, -0.2, 0.08, 0.026))


def _nose_dog(canvas, at, nose, turn):
    pad = nose.coat.colours("plain")
    canvas.paint(
        at, tube([(0, 0.3), (0.015, 0.52)], [0.14, 0.135]), "nose", (0.90, 0.45, 0.48), roundness=0.13, occlusion=0.1
    )
    canvas.paint(at, capsule(0, 0.34, 0.01, 0.5, 0.014), "nose", (0.70, 0.28, 0.34), flat=True, occlusion=0)
    muzzle = union(
        ellipse(-0.18, 0.13, 0.29, 0.25), ellipse(0.18, 0.13, 0.29, 0.25), ellipse(0, -0.12, 0.25, 0.25), blend=0.1
    )
    canvas.paint(at, muzzle, "nose", pad, roundness=0.26, fuzz=0.003, occlusion=0.35)
    _mouth(canvas, at, 0.17, 0.34, 0.17)
    canvas.paint(at, capsule(0, 0.0, 0, 0.18, 0.02), "nose", (0.2, 0.1, 0.1), flat=True, occlusion=0)
    tip = union(ellipse(0, -0.12, 0.22, 0.135), ellipse(0, -0.02, 0.10, 0.10), blend=0.08)
    _leather(canvas, at, tip, nose.accent, ellipse(-0.06, -0.18, 0.085, 0.035))
    for side in (-1, 1):
        canvas.paint(at, ellipse(side * 0.11, -0.08, 0.045, 0.03), "nose", (0.02, 0.02, 0.02), flat=True, occlusion=0)


def _nose_muzzle(canvas, at, nose, turn):
    """A horse's soft muzzle with two nostrils."""
    muzzle = union(ellipse(0, -0.02, 0.42, 0.33), ellipse(0, 0.18, 0.34, 0.24), blend=0.12)
    canvas.paint(at, muzzle, "nose", nose.coat.colours("plain"), roundness=0.4, fuzz=0.002, occlusion=0.15)
    for side in (-1, 1):
        nostril = ellipse(side * 0.2, -0.06, 0.075, 0.115, side * 22)
        canvas.paint(at, nostril, "nose", nose.accent, flat=True, occlusion=0)
    _mouth(canvas, at, 0.2, 0.3, 0.08)


def _nose_snout(canvas, at, nose, turn):
    canvas.paint(at, ellipse(0, 0.30, 0.24, 0.13), "nose", nose.coat.colours("plain"), roundness=0.15, occlusion=0.2)
    _mouth(canvas, at, 0.30, 0.22, 0.08)
    canvas.paint(at, ellipse(0, 0.04, 0.41, 0.30), "nose", nose.coat.colours("plain"), roundness=0.12, occlusion=0.45)
    canvas.paint(
        at,
        ellipse(0, 0.02, 0.33, 0.23),
        "nose",
        tuple(min(1.0, 1.06 * c) for c in nose.coat.base),
        roundness=0.4,
        occlusion=0,
        alpha=0.7,
    )
    for side in (-1, 1):
        canvas.paint(at, ellipse(side * 0.14, 0.02, 0.062, 0.10, side * 8), "nose", nose.accent, flat=True, occlusion=0)


def _nose_trunk(canvas, at, nose, turn):
    side = 1.0 if turn >= 0 else -1.0
    path = curve(
        (0, -0.18), (-0.08 * side, 0.45), (0.02 * side, 0.95), (0.42 * side, 1.25), (0.62 * side, 0.86), steps=12
    )
    radii = np.linspace(0.30, 0.15, 12)
    canvas.paint(at, tube(path, radii), "nose", nose.coat.colours("plain"), roundness=0.24, occlusion=0.5)
    for i in range(2, 11):
        (x, y), (ax, ay), (bx, by) = path[i], path[i - 1], path[i + 1 if i < 11 else 11]
        dx, dy = bx - ax, by - ay
        n = 0.82 * radii[i] / (np.hypot(dx, dy) + 1e-6)
        fold = tube(
            curve((x + dy * n, y - dx * n), (x + 0.4 * dx, y + 0.4 * dy), (x - dy * n, y + dx * n), steps=4),
            [0.018] * 4,
        )
        canvas.paint(at, fold, "nose", tuple(0.6 * c for c in nose.coat.base), flat=True, occlusion=0, alpha=0.7)
    x, y = path[-1]
    canvas.paint(at, ellipse(x, y, 0.10, 0.07), "nose", nose.accent, flat=True, occlusion=0)


def _nose_lip(canvas, at, nose, turn):
    """A rhinoceros's broad square lip."""
    lip = union(
        ellipse(-0.24, 0.0, 0.36, 0.30), ellipse(0.24, 0.0, 0.36, 0.30), ellipse(0, 0.16, 0.42, 0.24), blend=0.14
    )
    canvas.paint(at, lip, "nose", nose.coat.colours("plain"), roundness=0.32, occlusion=0.3)
    for side in (-1, 1):
        canvas.paint(
            at, ellipse(side * 0.3, -0.06, 0.085, 0.11, side * 24), "nose", nose.accent, flat=True, occlusion=0
        )
    _mouth(canvas, at, 0.2, 0.42, 0.07)


_NOSES = {
    "cat": _nose_cat,
    "bigcat": _nose_bigcat,
    "dog": _nose_dog,
    "muzzle": _nose_muzzle,
    "snout": _nose_snout,
    "trunk": _nose_trunk,
    "lip": _nose_lip,
}


def _horns(canvas, frame, horn: Variant, head: HeadKind, swing):
    def colour(patch):
        rings = np.sin(patch.y * 34) * 0.5 + 0.5
        return np.asarray(horn.coat.base, np.float32) * (0.86 + 0.2 * rings)[..., None]

    if horn.kind == "tusk":
        for side in (-1, 1):
            at = frame.child(head.horn[0] * side + 0.8 * swing, head.horn[1], horn.size, 0, side < 0)
            shape = tube(curve((-0.04, -0.1), (0.02, 0.35), (0.30, 0.48), (0.42, 0.22)), np.linspace(0.115, 0.03, 9))
            canvas.paint(at, shape, "horn", horn.coat.base, roundness=0.1, gloss=0.1)
    elif horn.kind == "nose":
        x, y = 1.15 * swing, head.horn[1]
        canvas.paint(
            frame, tube([(0.7 * x, y - 0.42), (0.6 * x, y - 0.86)], [0.16, 0.03]), "horn", colour, roundness=0.16
        )
        canvas.paint(
            frame,
            tube(curve((x, y + 0.14), (x, y - 0.2), (x + 0.04, y - 0.62)), np.linspace(0.22, 0.03, 9)),
            "horn",
            colour,
            roundness=0.2,
            gloss=0.08,
        )
    else:  # knobs (giraffe, okapi)
        for side in (-1, 1):
            at = frame.child(head.horn[0] * side, head.horn[1], horn.size, 8 * side)
            canvas.paint(at, capsule(0, 0.16, 0, -0.34, 0.085, 0.075), "horn", horn.coat.colours("limb"), roundness=0.1)
            canvas.paint(at, ellipse(0, -0.38, 0.125), "horn", horn.accent, roundness=0.1, occlusion=0.1)


# ---------------------------------------------------------------------------------------------------- species

# Pets: a breed changes coats, eye colour and ear or tail size, never the kind of a part.
PINK = (0.93, 0.60, 0.60)
ROSE = (0.85, 0.55, 0.52)


def _cat(
    coat: Coat, pad: Colour, iris: Colour, nose: Colour = PINK, tail: str = "long", inner: Colour = ROSE, **size
) -> Species:
    return {
        "head": Variant("cat", coat),
        "ear": Variant("triangle", coat, inner, size.get("ear", 1.0)),
        "eye": Variant("cat", coat, iris),
        "nose": Variant("cat", Coat(pad, fur=0.1), nose, 1.08),
        "leg": Variant("paw", coat),
        "tail": Variant(tail, coat, coat.mark, size.get("tail", 1.15)),
        "body": Variant("pet", coat),
    }


def _dog(
    coat: Coat,
    pad: Colour,
    flop: Coat,
    iris: Colour = (0.50, 0.30, 0.14),
    leg: Coat | None = None,
    tail: str = "long",
    **size,
) -> Species:
    return {
        "head": Variant("dog", coat),
        "ear": Variant("floppy", flop, size=size.get("ear", 1.0)),
        "eye": Variant("dog", coat, iris, 0.92),
        "nose": Variant("dog", Coat(pad, fur=0.12), (0.10, 0.09, 0.10)),
        "leg": Variant("paw", leg or coat),
        "tail": Variant(tail, coat, size=size.get("tail", 1.1)),
        "body": Variant("pet", coat),
    }


BREEDS: dict[str, dict[str, Species]] = {
    "cat": {
        "tabby": _cat(
            Coat((0.62, 0.55, 0.46), (0.25, 0.20, 0.17), "bands", 0.8, (0.86, 0.80, 0.70)),
            (0.93, 0.89, 0.83),
            (0.55, 0.75, 0.25),
            tail="ringed",
        ),
        "siamese": _cat(
            Coat((0.91, 0.84, 0.73), (0.28, 0.20, 0.17), "points", fuzz=0.002),
            (0.30, 0.22, 0.19),
            (0.30, 0.60, 0.95),
            (0.24, 0.16, 0.16),
            inner=(0.55, 0.38, 0.36),
            ear=1.12,
            tail=1.0,
        ),
        "tuxedo": _cat(Coat((0.17, 0.17, 0.19), (0.95, 0.94, 0.92), "tuxedo"), (0.95, 0.94, 0.92), (0.90, 0.78, 0.20)),
        "ginger": _cat(
            Coat((0.90, 0.56, 0.24), (0.72, 0.36, 0.12), "bands", 1.1, (0.98, 0.86, 0.70), fuzz=0.007, fur=0.27),
            (0.98, 0.93, 0.86),
            (0.85, 0.58, 0.15),
            tail="bushy",
        ),
    },
    "dog": {
        "beagle": _dog(
            Coat((0.95, 0.92, 0.87), (0.66, 0.38, 0.18), "saddle"),
            (0.96, 0.93, 0.89),
            Coat((0.55, 0.30, 0.15)),
            ear=1.05,
        ),
        "dalmatian": _dog(
            Coat((0.94, 0.93, 0.91), (0.12, 0.11, 0.12), "blots", fuzz=0.002),
            (0.95, 0.94, 0.92),
            Coat((0.15, 0.14, 0.15)),
            ear=0.95,
            tail=1.0,
        ),
        "retriever": _dog(
            Coat((0.88, 0.68, 0.40), pale=(0.95, 0.84, 0.64), fuzz=0.007, fur=0.27),
            (0.95, 0.83, 0.62),
            Coat((0.74, 0.50, 0.25), fuzz=0.006),
            tail="bushy",
        ),
        "bernese": _dog(
            Coat((0.16, 0.14, 0.14), (0.95, 0.93, 0.90), "tuxedo", fuzz=0.006),
            (0.95, 0.93, 0.90),
            Coat((0.20, 0.14, 0.12), fuzz=0.006),
            (0.55, 0.32, 0.14),
            Coat((0.66, 0.38, 0.18), (0.95, 0.93, 0.90), "tuxedo"),
            tail="bushy",
        ),
    },
}

# Wild: coats and variants that species share.
SAND = Coat((0.82, 0.62, 0.38), pale=(0.93, 0.82, 0.64))
FLAME = Coat((0.90, 0.52, 0.20), (0.12, 0.09, 0.08), "bands", 1.0, (0.97, 0.92, 0.85))
ROSETTE = Coat((0.86, 0.66, 0.36), (0.16, 0.11, 0.08), "rosettes", 1.0, (0.95, 0.88, 0.74))
SPOTTED = Coat((0.88, 0.70, 0.40), (0.16, 0.11, 0.08), "spots", 1.0, (0.96, 0.90, 0.78))
GREY = Coat((0.58, 0.55, 0.53), pale=(0.84, 0.81, 0.78))
HIDE = Coat((0.55, 0.54, 0.55), (0.34, 0.33, 0.34), "wrinkles", fur=0.10, fuzz=0.001)
ROSY = Coat((0.93, 0.68, 0.66), pale=(0.97, 0.78, 0.76), fur=0.05, fuzz=0.002)
BRISTLE = Coat((0.42, 0.33, 0.27), fur=0.36, fuzz=0.007)
CHESTNUT = Coat((0.56, 0.33, 0.19))
UMBER = Coat((0.36, 0.22, 0.16))
ZEBRA = Coat((0.95, 0.94, 0.92), (0.13, 0.12, 0.13), "stripes")
BLOCKS = Coat((0.95, 0.86, 0.66), (0.66, 0.40, 0.18), "blocks")
IVORY = Coat((0.96, 0.92, 0.82))
SOOT = Coat((0.19, 0.16, 0.15), fur=0.36)
MUSHROOM = Coat((0.36, 0.31, 0.30), fur=0.1)
MEAL = Coat((0.90, 0.86, 0.80), fur=0.1)
PALE = Coat((0.96, 0.92, 0.85), fur=0.1)
BLUSH = (0.80, 0.58, 0.50)
NOSTRIL = (0.16, 0.11, 0.11)

SHAGGY_MANE = Variant("lion", Coat((0.66, 0.38, 0.15)), (0.34, 0.18, 0.09))
CREST_DARK = Variant("crest", SOOT)
CREST_STRIPED = Variant("crest", ZEBRA)
FLOWING = Variant("flow", Coat((0.20, 0.13, 0.10)))
EYE_AMBER = Variant("round", SAND, (0.90, 0.62, 0.15))
EYE_SLIT = Variant("slit", SAND, (0.62, 0.78, 0.25))
EYE_DOE = Variant("dark", CHESTNUT, (0.42, 0.24, 0.12))
EYE_HIDE = Variant("small", HIDE, (0.55, 0.34, 0.16), 1.15)
MUZZLE_CAT = Variant("bigcat", PALE, (0.62, 0.34, 0.32))
MUZZLE_DARK = Variant("muzzle", MUSHROOM, (0.10, 0.08, 0.08))
MUZZLE_MEAL = Variant("muzzle", MEAL, NOSTRIL)
SNOUT = Variant("snout", Coat((0.95, 0.62, 0.60), fur=0.06), (0.50, 0.22, 0.24), 1.1)
TRUNK = Variant("trunk", HIDE, (0.72, 0.52, 0.50))
LIP = Variant("lip", replace(HIDE, base=(0.50, 0.48, 0.49)), NOSTRIL)
HOOF = (0.20, 0.16, 0.15)
TUSKS = Variant("tusk", IVORY, size=0.85)
KNOBS = Variant("knob", CHESTNUT, (0.20, 0.13, 0.10))

WILD: dict[str, Species] = {
    "lion": dict(
        head=Variant("bigcat", SAND),
        ear=Variant("round", SAND, BLUSH),
        eye=EYE_AMBER,
        nose=MUZZLE_CAT,
        mane=SHAGGY_MANE,
        leg=Variant("paw", SAND),
        tail=Variant("tuft", SAND, (0.34, 0.18, 0.09), 1.2),
        body=Variant("bigcat", SAND),
    ),
    "puma": dict(
        head=Variant("bigcat", SAND),
        ear=Variant("round", SAND, BLUSH),
        eye=EYE_SLIT,
        nose=MUZZLE_CAT,
        leg=Variant("paw", SAND),
        tail=Variant("long", SAND, size=1.2),
        body=Variant("bigcat", SAND),
    ),
    "tiger": dict(
        head=Variant("bigcat", FLAME),
        ear=Variant("round", FLAME, PALE.base),
        eye=EYE_SLIT,
        nose=MUZZLE_CAT,
        leg=Variant("paw", FLAME),
        tail=Variant("long", FLAME, size=1.2),
        body=Variant("bigcat", FLAME),
    ),
    "leopard": dict(
        head=Variant("bigcat", SPOTTED),
        ear=Variant("round", SAND, BLUSH),
        eye=EYE_SLIT,
        nose=MUZZLE_CAT,
        leg=Variant("paw", SPOTTED),
        tail=Variant("long", SPOTTED, size=1.2),
        body=Variant("bigcat", ROSETTE),
    ),
    "cheetah": dict(
        head=Variant("bigcat", SPOTTED),
        ear=Variant("round", SAND, BLUSH),
        eye=EYE_AMBER,
        nose=MUZZLE_CAT,
        leg=Variant("paw", SPOTTED),
        tail=Variant("tuft", SPOTTED, (0.95, 0.92, 0.86), 1.2),
        body=Variant("bigcat", SPOTTED),
    ),
    "horse": dict(
        head=Variant("horse", CHESTNUT),
        ear=Variant("leaf", CHESTNUT, BLUSH),
        eye=EYE_DOE,
        nose=MUZZLE_DARK,
        mane=FLOWING,
        leg=Variant("hoof", CHESTNUT, HOOF),
        tail=Variant("brush", Coat((0.20, 0.13, 0.10))),
        body=Variant("horse", CHESTNUT),
    ),
    "donkey": dict(
        head=Variant("horse", GREY),
        ear=Variant("leaf", GREY, BLUSH, 1.45),
        eye=EYE_DOE,
        nose=MUZZLE_MEAL,
        mane=CREST_DARK,
        leg=Variant("hoof", GREY, HOOF),
        tail=Variant("whip", GREY, DARK),
        body=Variant("horse", GREY),
    ),
    "zebra": dict(
        head=Variant("horse", ZEBRA),
        ear=Variant("leaf", ZEBRA, BLUSH),
        eye=EYE_DOE,
        nose=MUZZLE_DARK,
        mane=CREST_STRIPED,
        leg=Variant("hoof", ZEBRA, HOOF),
        tail=Variant("whip", ZEBRA, DARK),
        body=Variant("horse", ZEBRA),
    ),
    "okapi": dict(
        head=Variant("horse", UMBER),
        ear=Variant("leaf", UMBER, BLUSH, 1.3),
        eye=EYE_DOE,
        nose=MUZZLE_MEAL,
        horn=KNOBS,
        leg=Variant("hoof", ZEBRA, HOOF),
        tail=Variant("whip", UMBER, DARK),
        body=Variant("tall", UMBER),
    ),
    "giraffe": dict(
        head=Variant("horse", BLOCKS),
        ear=Variant("leaf", BLOCKS, BLUSH),
        eye=EYE_DOE,
        nose=MUZZLE_MEAL,
        horn=KNOBS,
        mane=CREST_DARK,
        leg=Variant("hoof", BLOCKS, HOOF),
        tail=Variant("whip", BLOCKS, DARK),
        body=Variant("tall", BLOCKS),
    ),
    "pig": dict(
        head=Variant("pig", ROSY),
        ear=Variant("flap", ROSY, (0.88, 0.54, 0.54)),
        eye=EYE_DOE,
        nose=SNOUT,
        leg=Variant("hoof", ROSY, (0.55, 0.38, 0.36)),
        tail=Variant("curl", ROSY, size=1.35),
        body=Variant("barrel", ROSY),
    ),
    "boar": dict(
        head=Variant("pig", BRISTLE),
        ear=Variant("flap", BRISTLE, (0.62, 0.45, 0.40)),
        eye=EYE_DOE,
        nose=SNOUT,
        horn=TUSKS,
        mane=CREST_DARK,
        leg=Variant("hoof", BRISTLE, HOOF),
        tail=Variant("whip", BRISTLE, DARK),
        body=Variant("barrel", BRISTLE),
    ),
    "elephant": dict(
        head=Variant("elephant", HIDE),
        ear=Variant("fan", HIDE, (0.72, 0.58, 0.57)),
        eye=EYE_HIDE,
        nose=TRUNK,
        horn=TUSKS,
        leg=Variant("column", HIDE, IVORY.base),
        tail=Variant("whip", HIDE, DARK, 1.15),
        body=Variant("giant", HIDE),
    ),
    "rhinoceros": dict(
        head=Variant("rhino", HIDE),
        ear=Variant("tube", HIDE, BLUSH),
        eye=EYE_HIDE,
        nose=LIP,
        horn=Variant("nose", Coat((0.80, 0.75, 0.66))),
        leg=Variant("column", HIDE, IVORY.base),
        tail=Variant("whip", HIDE, DARK, 1.15),
        body=Variant("giant", HIDE),
    ),
}

_HEAD_PARTS = ("head", "ear", "eye", "nose", "mane", "horn")


def _cross(front: str, back: str, **other: str) -> dict[str, str]:
    """Head parts (those that `front` has) from one parent, body, legs and tail from another."""
    given = {part: front for part in _HEAD_PARTS if part in WILD[front]}
    return {**given, "body": back, "leg": back, "tail": back, **other}


HYBRIDS: dict[str, dict[str, str]] = {
    "liger": _cross("lion", "tiger"),
    "tigon": _cross("tiger", "lion"),
    "leopon": _cross("lion", "leopard"),
    "zorse": _cross("horse", "zebra", tail="horse"),
    "tapir": dict(
        ear="donkey", head="pig", nose="elephant", eye="rhinoceros", leg="rhinoceros", body="rhinoceros", tail="pig"
    ),
}
WILD_HYBRIDS: dict[str, Species] = {
    name: {part: WILD[parent][part] for part, parent in parents.items()} for name, parents in HYBRIDS.items()
}
