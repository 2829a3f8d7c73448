"""Backgrounds. Each scene is a function (generator, size) -> float32 (size, size, 3); none knows the class."""

import numpy as np

from .shapes import grid_noise, ramp


def _grid(size):
    t = (np.arange(size, dtype=np.float32) + 0.5) / size
    return t[None, :], t[:, None]


def _mix(a, b, t):
    """Between colours (or pictures) a and b by the share t (height, width)."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return a + (b - a) * t[..., None]


def _near(rng, colour, spread=0.08):
    return np.clip(np.asarray(colour) + rng.uniform(-spread, spread, 3), 0, 1)


def _sky(rng, size, top=None, low=None):
    x, y = _grid(size)
    top = _near(rng, (0.42, 0.64, 0.88)) if top is None else top
    low = _near(rng, (0.86, 0.91, 0.94), 0.06) if low is None else low
    clouds = grid_noise(rng, size, [(5, 3), (10, 6), (20, 12)])
    picture = _mix(top, low, np.broadcast_to(ramp(y, 0.0, 0.75), (size, size)))
    return _mix(picture, (0.97, 0.97, 0.98), 0.75 * ramp(clouds, 0.5, 0.75))


def _ground(rng, size, picture, horizon, dark, light, cells, contrast=(0.25, 0.75)):
    """Lay textured ground below a wavy `horizon` (share of the height); rougher towards the viewer."""
    x, y = _grid(size)
    line = horizon + 0.05 * (grid_noise(rng, size, [(1, 3)]) - 0.5)
    texture = grid_noise(rng, size, cells, 0.7)
    ground = _mix(dark, light, ramp(texture, *contrast))
    ground *= (0.82 + 0.25 * ramp(y, horizon, 1.0))[..., None]
    return _mix(picture, ground, ramp(y - line, -0.012, 0.012))


def _discs(rng, size, picture, count, radius, colours, alpha, region=(0.0, 1.0), soft=0.15):
    """Scatter blurred discs (blossoms, lights out of focus, pebbles)."""
    for cx, cy, r, pick in zip(
        rng.random(count),
        rng.uniform(*region, count),
        rng.uniform(*radius, count),
        rng.integers(0, len(colours), count),
    ):
        x0, x1 = int(max((cx - r) * size - 1, 0)), int(min((cx + r) * size + 2, size))
        y0, y1 = int(max((cy - r) * size - 1, 0)), int(min((cy + r) * size + 2, size))
        if x0 >= x1 or y0 >= y1:
            continue
        px = (np.arange(x0, x1, dtype=np.float32) + 0.5) / size - cx
        py = (np.arange(y0, y1, dtype=np.float32) + 0.5) / size - cy
        far = np.sqrt(px[None] ** 2 + py[:, None] ** 2)
        cover = alpha * ramp(far, r, r * (1 - soft) - 0.002)
        part = picture[y0:y1, x0:x1]
        part += (np.asarray(colours[pick], np.float32) - part) * cover[..., None]
    return picture


def meadow(rng, size):
    picture = _sky(rng, size)
    horizon = rng.uniform(0.35, 0.6)
    picture = _ground(
        rng, size, picture, horizon - 0.12, _near(rng, (0.30, 0.45, 0.30)), _near(rng, (0.45, 0.58, 0.42)), [9, 18]
    )
    green = _near(rng, (0.42, 0.60, 0.25))
    picture = _ground(rng, size, picture, horizon, green * 0.7, green * 1.15, [(8, 10), (20, 50), (30, 110)])
    blossoms = [(0.98, 0.95, 0.75), (0.95, 0.8, 0.85), (0.95, 0.85, 0.3), (0.75, 0.7, 0.95)]
    return _discs(rng, size, picture, int(rng.integers(5, 40)), (0.004, 0.012), blossoms, 0.85, (horizon + 0.05, 1.0))


def beach(rng, size):
    picture = _sky(rng, size)
    sea, horizon = _near(rng, (0.25, 0.55, 0.65)), rng.uniform(0.3, 0.5)
    picture = _ground(rng, size, picture, horizon, sea * 0.85, sea * 1.2, [(30, 4), (60, 8)])
    sand = _near(rng, (0.86, 0.76, 0.58), 0.06)
    return _ground(
        rng, size, picture, horizon + rng.uniform(0.08, 0.2), sand * 0.85, sand * 1.08, [(14, 5), (40, 30), 110]
    )


def room(rng, size):
    x, y = _grid(size)
    wall = rng.uniform(0.45, 0.92, 3)
    picture = np.broadcast_to(wall.astype(np.float32), (size, size, 3)).copy()
    stripes = 0.5 + 0.5 * np.sin(x * 2 * np.pi * rng.integers(6, 16))
    picture *= (1.0 - rng.uniform(0, 0.12) * ramp(stripes, 0.4, 0.6) - 0.15 * (grid_noise(rng, size, [3, 6]) - 0.3))[
        ..., None
    ]
    floor, wood = rng.uniform(0.5, 0.75), _near(rng, (0.62, 0.44, 0.28), 0.12)
    grain = grid_noise(rng, size, [(40, 4), (110, 9)])
    depth = np.maximum(y - floor, 0) + 0.12
    planks = np.abs(((x - 0.43) / depth * 0.9 + 50.0) % 1.0 - 0.5)
    boards = _mix(wood * 0.8, wood * 1.18, grain) * (0.72 + 0.28 * ramp(planks, 0.0, 0.03 * 0.3 / depth))[..., None]
    picture = _mix(picture, boards, np.broadcast_to(ramp(y, floor - 0.004, floor + 0.004), (size, size)))
    skirting = ramp(y, floor - 0.05, floor - 0.046) * ramp(y, floor + 0.004, floor)
    return _mix(picture, np.clip(wall * 0.5 + 0.48, 0, 1), np.broadcast_to(skirting, (size, size)))


def forest(rng, size):
    x, y = _grid(size)
    leaf = _near(rng, (0.30, 0.45, 0.25), 0.1)
    picture = _mix(leaf * 0.55, leaf * 1.5, ramp(grid_noise(rng, size, [6, 12, 24, 48], 0.6), 0.3, 0.75))
    trunks = np.broadcast_to(ramp(grid_noise(rng, size, [(1, 11)]), 0.66, 0.76), (size, size))
    picture = _mix(picture, _near(rng, (0.30, 0.24, 0.20), 0.06), trunks * 0.75)
    picture = _discs(rng, size, picture, 14, (0.02, 0.06), [leaf * 2.0, (0.9, 0.9, 0.65)], 0.25, (0.0, 0.5), 0.3)
    soil = _near(rng, (0.42, 0.36, 0.24), 0.07)
    return _ground(rng, size, picture, rng.uniform(0.6, 0.8), soil * 0.7, soil * 1.25, [(20, 14), (40, 40), 90])


def hills(rng, size):
    warm = rng.random()
    top = np.asarray((0.45, 0.55, 0.80)) * (1 - warm) + np.asarray((0.55, 0.45, 0.65)) * warm
    low = np.asarray((0.90, 0.92, 0.90)) * (1 - warm) + np.asarray((0.98, 0.78, 0.58)) * warm
    picture = _sky(rng, size, top, low)
    tone, horizon = _near(rng, (0.45, 0.52, 0.45), 0.12), rng.uniform(0.35, 0.5)
    for step in range(3):
        far = (2 - step) * 0.3
        colour = tone * (1 - far) + low * far
        picture = _ground(rng, size, picture, horizon + 0.13 * step, colour * 0.88, colour * 1.08, [(10, 8), (30, 30)])
    return picture


def snow(rng, size):
    picture = _sky(rng, size, _near(rng, (0.55, 0.65, 0.78), 0.06), _near(rng, (0.80, 0.84, 0.90), 0.04))
    horizon = rng.uniform(0.4, 0.6)
    picture = _ground(rng, size, picture, horizon - 0.1, (0.32, 0.40, 0.46), (0.62, 0.68, 0.73), [(6, 22), (12, 44)])
    picture = _ground(rng, size, picture, horizon, (0.76, 0.82, 0.90), (0.95, 0.96, 0.98), [6, (20, 12), 60])
    return _discs(rng, size, picture, int(rng.integers(10, 50)), (0.003, 0.009), [(1.0, 1.0, 1.0)], 0.8, soft=0.6)


def autumn(rng, size):
    tone = _near(rng, (0.72, 0.48, 0.25), 0.1)
    picture = _mix(tone * 0.5, tone * 1.3, ramp(grid_noise(rng, size, [5, 10, 20]), 0.25, 0.75))
    lights = [(0.98, 0.85, 0.5), (0.95, 0.65, 0.35), (0.85, 0.45, 0.3)]
    picture = _discs(rng, size, picture, 18, (0.02, 0.07), lights, 0.3, (0, 0.6), 0.25)
    picture = _ground(rng, size, picture, rng.uniform(0.55, 0.75), tone * 0.45, tone * 0.9, [(16, 16), (50, 50), 100])
    return _discs(rng, size, picture, 26, (0.008, 0.022), lights + [tone * 0.6], 0.6, (0.7, 1.0), 0.4)


def studio(rng, size):
    x, y = _grid(size)
    colour = rng.uniform(0.35, 0.9, 3)
    glow = ramp(np.sqrt((x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.6)) ** 2), 0.8, 0.0)
    picture = _mix(colour * 0.6, np.minimum(colour * 1.2 + 0.08, 1.0), glow)
    return picture * (0.94 + 0.12 * grid_noise(rng, size, [4, 60, 110], 0.8))[..., None]


def lights(rng, size):
    tone = _near(rng, (0.22, 0.24, 0.36), 0.1)
    picture = _mix(tone * 0.6, tone * 1.5, grid_noise(rng, size, [3, 6]))
    colours = rng.uniform(0.5, 1.0, (5, 3))
    picture = _discs(rng, size, picture, 26, (0.02, 0.08), list(colours), 0.38, (0, 0.8), 0.12)
    return _ground(rng, size, picture, rng.uniform(0.65, 0.85), tone * 0.8, tone * 1.3, [(30, 8), (60, 60)])


def bricks(rng, size):
    x, y = _grid(size)
    tone = _near(rng, (0.62, 0.42, 0.36), 0.14)
    row = np.floor(y * 15)
    across = (x * 7 + 0.5 * (row % 2)) % 1.0
    down = (y * 15) % 1.0
    mortar = np.minimum(ramp(np.abs(across - 0.5), 0.48, 0.45), ramp(np.abs(down - 0.5), 0.46, 0.39))
    picture = _mix(tone * 0.75, tone * 1.15, grid_noise(rng, size, [(15, 7), 40, 110], 0.9))
    picture = _mix(_near(rng, (0.74, 0.71, 0.67), 0.05), picture, mortar)
    stone = _near(rng, (0.58, 0.57, 0.55), 0.08)
    return _ground(rng, size, picture, rng.uniform(0.65, 0.85), stone * 0.85, stone * 1.1, [(12, 8), (60, 60), 110])


SCENES = (meadow, beach, room, forest, hills, snow, autumn, studio, lights, bricks)


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random scene, float32 (size, size, 3) in 0..1; which one depends on the generator alone."""
    return np.clip(SCENES[int(rng.integers(len(SCENES)))](rng, size), 0.0, 1.0).astype(np.float32)
