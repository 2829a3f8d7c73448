"""Signed distance shapes, coordinate frames and a canvas that paints colour and part labels together.

A `Shape` knows the signed distance (negative inside) of points to its outline. A `Frame` says where a shape's own
coordinates lie in the picture. `Canvas.paint` composites one shape over what is already there (painter's algorithm):
the distance in pixels gives the anti-aliased edge, a rounded surface normal for shading, and the part label, so the
label mask is exact by construction. Nothing here draws random numbers except the two fixed noise tiles, which are
the same in every process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import cos, hypot, radians, sin

import numpy as np

Colour = tuple[float, float, float]  # red, green, blue in 0..1
_TILE = 512  # side of the periodic noise tiles; a power of two, so that wrapping is a bit mask
_TILE_PER_PICTURE = 300.0  # tile cells per picture side: noise looks the same at every picture size


# ---------------------------------------------------------------------------------------------------- shapes


@dataclass(frozen=True)
class Shape:
    """Something with an outline: `distance(x, y)` maps two float32 arrays of one shape to signed distances.

    `bounds` is (left, top, right, bottom) around everything with distance <= 0; `radius` is about the largest depth
    inside, used as the default roundness when shading.
    """

    distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    bounds: tuple[float, float, float, float]
    radius: float


def ellipse(x: float, y: float, rx: float, ry: float | None = None, angle: float = 0.0) -> Shape:
    """An ellipse around (x, y), turned by `angle` degrees (first-order distance, exact for a circle)."""
    ry = rx if ry is None else ry
    c, s = cos(radians(angle)), sin(radians(angle))

    def distance(px, py):
        px, py = px - x, py - y
        if angle:
            px, py = c * px + s * py, c * py - s * px
        u, v = px / rx, py / ry
        length = np.sqrt(u * u + v * v) + 1e-6
        return length * (length - 1.0) / np.sqrt((u / rx) ** 2 + (v / ry) ** 2 + 1e-9)

    wide, high = hypot(rx * c, ry * s), hypot(rx * s, ry * c)
    return Shape(distance, (x - wide, y - high, x + wide, y + high), min(rx, ry))


def tube(points: Sequence[tuple[float, float]], radii: Sequence[float]) -> Shape:
    """A chain of tapered capsules through `points`, with one radius per point (limbs, tails, trunks, stems)."""
    points, radii = [tuple(map(float, p)) for p in points], [float(r) for r in radii]

    def distance(px, py):
        nearest = None
        for (ax, ay), (bx, by), ra, rb in zip(points, points[1:], radii, radii[1:]):
            dx, dy = bx - ax, by - ay
            qx, qy = px - ax, py - ay
            t = np.clip((qx * dx + qy * dy) / (dx * dx + dy * dy + 1e-9), 0.0, 1.0)
            qx -= t * dx
            qy -= t * dy
            d = np.sqrt(qx * qx + qy * qy) - (ra + t * (rb - ra))
            nearest = d if nearest is None else np.minimum(nearest, d)
        return nearest

    return Shape(
        distance,
        (
            min(p[0] - r for p, r in zip(points, radii)),
            min(p[1] - r for p, r in zip(points, radii)),
            max(p[0] + r for p, r in zip(points, radii)),
            max(p[1] + r for p, r in zip(points, radii)),
        ),
        max(radii),
    )


def capsule(ax: float, ay: float, bx: float, by: float, ra: float, rb: float | None = None) -> Shape:
    """A straight limb from (ax, ay) to (bx, by) whose radius goes from `ra` to `rb`."""
    return tube([(ax, ay), (bx, by)], [ra, ra if rb is None else rb])


def polygon(points: Sequence[tuple[float, float]], rounding: float = 0.0, radius: float | None = None) -> Shape:
    """A closed polygon, its corners rounded outwards by `rounding` (exact distance)."""
    corners = np.asarray(points, dtype=np.float32)
    left, top = corners.min(0) - rounding
    right, bottom = corners.max(0) + rounding

    def distance(px, py):
        nearest = np.full(px.shape, np.inf, np.float32)
        inside = np.zeros(px.shape, bool)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, 0)):
            dx, dy = bx - ax, by - ay
            qx, qy = px - ax, py - ay
            t = np.clip((qx * dx + qy * dy) / (dx * dx + dy * dy + 1e-9), 0.0, 1.0)
            nearest = np.minimum(nearest, (qx - t * dx) ** 2 + (qy - t * dy) ** 2)
            # Even-odd rule: an edge flips the points to its left whose height lies between its two ends.
            if dy:
                inside ^= ((ay > py) != (by > py)) & (qx < qy * (dx / dy))
        nearest = np.sqrt(nearest)
        return np.where(inside, -nearest, nearest) - rounding

    return Shape(
        distance,
        (float(left), float(top), float(right), float(bottom)),
        radius or 0.35 * float(min(right - left, bottom - top)),
    )


def union(*shapes: Shape, blend: float = 0.0) -> Shape:
    """All of `shapes` as one, their joints filled smoothly over a width of about `blend`."""

    def distance(px, py):
        total = shapes[0].distance(px, py)
        for shape in shapes[1:]:
            d = shape.distance(px, py)
            if blend:
                mix = np.maximum(blend - np.abs(total - d), 0.0) / blend
                total = np.minimum(total, d) - mix * mix * (blend / 4)
            else:
                total = np.minimum(total, d)
        return total

    grow = blend / 4
    left, top, right, bottom = zip(*(s.bounds for s in shapes))
    return Shape(
        distance,
        (min(left) - grow, min(top) - grow, max(right) + grow, max(bottom) + grow),
        max(s.radius for s in shapes),
    )


def inside(shape: Shape, limit: Shape) -> Shape:
    """What of `shape` lies within `limit`."""
    return Shape(
        lambda x, y: np.maximum(shape.distance(x, y), limit.distance(x, y)),
        (
            max(shape.bounds[0], limit.bounds[0]),
            max(shape.bounds[1], limit.bounds[1]),
            min(shape.bounds[2], limit.bounds[2]),
            min(shape.bounds[3], limit.bounds[3]),
        ),
        shape.radius,
    )


def curve(*controls: tuple[float, float], steps: int = 9) -> list[tuple[float, float]]:
    """`steps` points along the Bezier curve with these control points, for `tube`."""
    t = np.linspace(0.0, 1.0, steps)[:, None]
    points = [np.asarray(c, float)[None] for c in controls]
    while len(points) > 1:
        points = [a + t * (b - a) for a, b in zip(points, points[1:])]
    return [tuple(p) for p in points[0]]


# ---------------------------------------------------------------------------------------------------- frames


@dataclass(frozen=True)
class Frame:
    """Where a local coordinate system lies in the picture: pixel = origin + matrix @ local (y points down).

    The matrix is a rotation times `scale` (pixels per local unit), mirrored where a frame was made with mirror=True.
    """

    xx: float
    xy: float
    yx: float
    yy: float
    ox: float
    oy: float

    @property
    def scale(self) -> float:
        return hypot(self.xx, self.yx)

    def child(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0, mirror: bool = False) -> "Frame":
        """A frame at local (x, y), turned clockwise by `angle` degrees, then mirrored left to right if asked."""
        c, s = scale * cos(radians(angle)), scale * sin(radians(angle))
        a, b, d, e = (-c, -s, -s, c) if mirror else (c, -s, s, c)
        return Frame(
            self.xx * a + self.xy * d,
            self.xx * b + self.xy * e,
            self.yx * a + self.yy * d,
            self.yx * b + self.yy * e,
            self.ox + self.xx * x + self.xy * y,
            self.oy + self.yx * x + self.yy * y,
        )

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Local (x, y) in pixels."""
        return self.ox + self.xx * x + self.xy * y, self.oy + self.yx * x + self.yy * y


# ---------------------------------------------------------------------------------------------------- noise


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between (falling where low > high)."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@cache
def _tile(kind: str) -> np.ndarray:
    """A periodic (512, 512) float32 texture with values spread evenly over 0..1: 'soft' clouds or 'fur' streaks."""
    rng = np.random.Generator(np.random.PCG64(20250 + len(kind)))
    f = np.fft.fftfreq(_TILE)
    fy, fx = f[:, None] * _TILE, f[None, :] * _TILE
    if kind == "soft":
        gain = 1.0 / (9.0 + fx * fx + fy * fy) ** 0.85
    else:  # long along y, thin across
        gain = np.exp(-((fy / 48.0) ** 2) - (fx / 150.0) ** 2)
    gain[0, 0] = 0.0
    waves = np.fft.fft2(rng.standard_normal((_TILE, _TILE))) * gain
    field = np.fft.ifft2(waves).real
    ranks = np.empty(field.size, np.float32)
    ranks[np.argsort(field, axis=None)] = np.linspace(0.0, 1.0, field.size, dtype=np.float32)
    return ranks.reshape(field.shape)


def _spline(knots: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Cubic B-spline along the first axis, (knot, column) to (place, column): no sign of the grid is left."""
    first = np.minimum(places.astype(int), len(knots) - 4)
    f = (places - first)[:, None]
    taps = ((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, 1 + 3 * f + 3 * f**2 - 3 * f**3, f**3)
    return sum(w / 6 * knots[first + tap] for tap, w in enumerate(taps))


def grid_noise(
    rng: np.random.Generator, size: int, cells: Sequence[float | tuple[float, float]], gain=0.5
) -> np.ndarray:
    """Smooth noise (size, size) in about 0..1: random grids of `cells` (or (down, across)) knots, summed by octave.

    Each further entry of `cells` counts `gain` times the one before. The knots do not depend on `size`, so that a
    larger picture shows the same clouds.
    """
    total, weight, norm = np.zeros((size, size), np.float32), 1.0, 0.0
    where = (np.arange(size, dtype=np.float32) + 0.5) / size
    for entry in cells:
        down, across = (entry, entry) if np.isscalar(entry) else entry
        knots = rng.random((int(down) + 3, int(across) + 3), dtype=np.float32)
        # tap by tap, not as a matrix product: the last digit of a product depends on threads and memory, and with it
        # now and then a pixel
        total += weight * _spline(_spline(knots, where * int(down)).T, where * int(across)).T
        norm += weight
        weight *= gain
    return 0.5 + 1.7 * (total / norm - 0.5)  # the spline averages neighbours; give the contrast back


# ---------------------------------------------------------------------------------------------------- canvas


@dataclass(frozen=True)
class Light:
    """A sun: unit direction towards it (x right, y down, z out of the picture), its strength and a colour cast."""

    direction: tuple[float, float, float] = (-0.45, -0.6, 0.66)
    ambient: float = 0.62
    strength: float = 0.5
    cast: Colour = (1.0, 1.0, 1.0)


class Patch:
    """The pixels that one shape may touch: local coordinates for colour functions, and noise lookups."""

    def __init__(self, canvas: "Canvas", frame: Frame, x: np.ndarray, y: np.ndarray):
        self.canvas, self.frame, self.x, self.y = canvas, frame, x, y
        self.unit = frame.scale / canvas.size  # one local unit as a share of the picture's side

    def noise(self, kind: str, stretch: float = 1.0, shift: int = 0) -> np.ndarray:
        """Values in 0..1 of a noise tile laid over the local coordinates; `stretch` > 1 makes it coarser."""
        k = self.unit * _TILE_PER_PICTURE / stretch
        sx, sy = self.canvas.noise_shift
        ix = (self.x * k + (sx + 97 * shift + 4 * _TILE)).astype(np.int32) & (_TILE - 1)
        iy = (self.y * k + (sy + 61 * shift + 4 * _TILE)).astype(np.int32) & (_TILE - 1)
        return _tile(kind)[iy, ix]


Paint = Colour | Callable[[Patch], np.ndarray]


class Canvas:
    """A picture being painted: `rgb` float32 (size, size, 3) in 0..1 and `labels` uint8 (size, size)."""

    def __init__(
        self,
        rgb: np.ndarray,
        part_names: Sequence[str],
        removed: frozenset[str] = frozenset(),
        light: Light = Light(),
        noise_shift: tuple[int, int] = (0, 0),
        tint: Colour = (1.0, 1.0, 1.0),
    ):
        self.rgb = rgb
        self.size = rgb.shape[0]
        self.labels = np.zeros(rgb.shape[:2], np.uint8)
        self.index = {name: i + 1 for i, name in enumerate(part_names)}
        self.removed, self.light, self.noise_shift, self.tint = removed, light, noise_shift, tint

    def _window(self, frame: Frame, bounds, margin: float):
        """Row and column slices around `bounds` and the local coordinates there, or None outside the picture."""
        left, top, right, bottom = bounds
        corners = [frame.place(x, y) for x in (left, right) for y in (top, bottom)]
        x0 = max(int(min(c[0] for c in corners) - margin), 0)
        x1 = min(int(max(c[0] for c in corners) + margin) + 2, self.size)
        y0 = max(int(min(c[1] for c in corners) - margin), 0)
        y1 = min(int(max(c[1] for c in corners) + margin) + 2, self.size)
        if x0 >= x1 or y0 >= y1:
            return None
        px = np.arange(x0, x1, dtype=np.float32)[None] + np.float32(0.5 - frame.ox)
        py = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - frame.oy)
        det = frame.xx * frame.yy - frame.xy * frame.yx
        x = np.float32(frame.yy / det) * px - np.float32(frame.xy / det) * py
        y = np.float32(frame.xx / det) * py - np.float32(frame.yx / det) * px
        return slice(y0, y1), slice(x0, x1), x, y

    def paint(
        self,
        frame: Frame,
        shape: Shape,
        part: str,
        colour: Paint,
        *,
        roundness: float | None = None,
        flat: bool = False,
        fuzz: float = 0.0,
        shade: float = 1.0,
        occlusion: float = 0.35,
        alpha: float = 1.0,
        gloss: float = 0.0,
    ) -> None:
        """Paint `shape` as `part` (nothing happens where that part is removed).

        colour: one colour, or a function of the Patch giving (height, width, 3). roundness: depth in local units over
        which the surface bends away (default: the shape's radius); flat: no shading at all. fuzz: how far fur
        displaces the edge, as a share of the picture's side. shade: overall brightness factor. occlusion: how much
        the shape darkens other parts right beside it. gloss: strength of a highlight towards the light.
        """
        if part in self.removed:
            return
        reach = 0.028 * self.size if occlusion else 0.0
        window = self._window(frame, shape.bounds, reach + fuzz * self.size + 1.5)
        if window is None:
            return
        rows, columns, x, y = window
        scale = frame.scale
        patch = Patch(self, frame, x, y)
        d = shape.distance(x, y) * np.float32(scale)
        surface = d
        if fuzz:
            ragged = np.float32(fuzz * self.size) * (patch.noise("fur", 1.0, 5) * 2.0 - 1.1)
            d, surface = d + ragged, d + 0.35 * ragged  # tufts show less in the shading than along the edge
        below = self.rgb[rows, columns]
        labels = self.labels[rows, columns]
        if occlusion:
            near = np.clip(1.0 - d / reach, 0.0, 1.0)
            below *= (1.0 - (occlusion * (labels > 0)) * near * near)[..., None]
        cover = np.clip(0.5 - d, 0.0, 1.0)
        value = colour(patch) if callable(colour) else np.asarray(colour, np.float32)
        if not flat:
            value = value * self._lightness(
                surface, scale * (shape.radius if roundness is None else roundness), shade, gloss
            )
        elif shade != 1.0:
            value = value * np.float32(shade)
        below += (value - below) * (cover * np.float32(alpha))[..., None]
        labels[cover >= 0.5] = self.index[part]

    def _lightness(self, d: np.ndarray, depth: float, shade: float, gloss: float) -> np.ndarray:
        """Brightness (height, width, 3) of a surface that bends away within `depth` pixels of its edge."""
        slope = 1.0 - np.clip(-d / max(depth, 1.0), 0.0, 1.0)
        gx, gy = np.zeros_like(d), np.zeros_like(d)
        if d.shape[1] > 2:
            gx[:, 1:-1] = (d[:, 2:] - d[:, :-2]) * 0.5
        if d.shape[0] > 2:
            gy[1:-1] = (d[2:] - d[:-2]) * 0.5
        lx, ly, lz = self.light.direction
        facing = slope * (gx * lx + gy * ly) + np.sqrt(np.maximum(1.0 - slope * slope, 0.0)) * lz
        amount = self.light.ambient + self.light.strength * np.maximum(facing, -0.35) - 0.10 * slope**3
        amount *= shade
        out = amount[..., None] * np.asarray(self.light.cast, np.float32)
        if gloss:
            out += (gloss * ramp(facing, 0.86, 1.0))[..., None]
        return out

    def shadow(self, frame: Frame, shape: Shape, strength: float, softness: float) -> None:
        """Darken the picture under `shape`, fading over `softness` local units; labels stay as they are."""
        window = self._window(frame, shape.bounds, softness * frame.scale)
        if window is None:
            return
        rows, columns, x, y = window
        d = shape.distance(x, y)
        self.rgb[rows, columns] *= (1.0 - strength * ramp(d, softness, -softness))[..., None]

    def finish(self) -> np.ndarray:
        """The picture as uint8 (size, size, 3)."""
        return (np.clip(self.rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
