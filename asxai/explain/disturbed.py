"""Pictures to learn doubt from: disturbed copies of pictures with known answers, and drawn pictures to calibrate on.

    copies = disturbed(study, concepts, study.data.validation)      # kind -> (pictures, labels), -1 where none is right
    pictures, labels = calibration_pictures(study)                  # of a drawn data set: as many as anyone wants

The strengths of the copies are random, and they are made of validation pictures. Notebook 06 tests with other ones,
made of test pictures: a crop that avoids the face, parts that are not drawn, and animals of other species.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from joblib import Parallel, cpu_count, delayed

from ..concepts.cells import own_class_maps
from ..concepts.masks import conceal
from ..data import sources
from ..data.datasets import Split, spread_over
from ..data.pictures import read_picture, to_batch

if TYPE_CHECKING:
    from ..concepts.concepts import Concepts
    from ..study import Study

COPIES = 40  # of each kind
FIRST_SEED = 2_000_000  # of drawn calibration pictures; test pictures have a million and more, hybrids six
CALIBRATION = 420  # drawn pictures: 299 that are sure and right can promise 1 %
GREY = 128
WINDOW = 0.45  # side of a crop or of a background, as a share of the picture's


def disturbed(study: "Study", concepts: "Concepts", split: Split, seed: int = 0) -> dict[str, tuple]:
    """Copies of at most `COPIES` pictures a kind: `{kind: (uint8 (picture, 3, size, size), labels (picture,))}`.

    "crop": a window of a quarter to seven tenths of the side, anywhere. "occluded": grey blocks of any size on three to
    nine tenths. "blurred": 8 to 28 pixels become one. "painted over": some or all concepts. "background": without the
    object. "two halves": of pictures of two classes. No answer to the last two is right.
    """
    size, generator = study.config.size, np.random.default_rng(seed)
    chosen = spread_over(split, COPIES)
    whole, labels, nothing = to_batch(chosen.paths, size), chosen.labels, np.full(len(chosen), -1)
    maps = own_class_maps(study, chosen)
    masks = concepts.masks(maps, labels, size)
    some = torch.from_numpy(generator.random(masks.shape[:2]) < generator.uniform(0.4, 1, (len(labels), 1)))
    painted = conceal(whole, (masks & some[:, :, None, None]).any(dim=1), keep=False, fill="mean")
    other = [generator.choice(np.flatnonzero(labels != label)) for label in labels]
    each = lambda change: torch.stack([change(picture, generator) for picture in whole])
    return {
        "crop": (each(_crop), labels),
        "occluded": (each(_occluded), labels),
        "blurred": (each(_blurred), labels),
        "painted over": (painted, labels),
        "background": (backgrounds(study, concepts, chosen), nothing),
        "two halves": (torch.stack([_halves(*pair, generator) for pair in zip(whole, whole[other])]), nothing),
    }


def _crop(picture, generator):
    size = picture.shape[-1]
    side = round(size * generator.uniform(0.25, 0.7))
    top, left = generator.integers(0, size - side + 1, 2)
    return enlarged(picture[None, :, top : top + side, left : left + side], size)[0]


def _occluded(picture, generator):
    blocks = generator.random((generator.integers(3, 13),) * 2) < generator.uniform(0.3, 0.9)
    hidden = F.interpolate(torch.from_numpy(blocks[None, None]).float(), size=picture.shape[1:], mode="nearest")[0]
    return torch.where(hidden > 0.5, torch.full_like(picture, GREY), picture)


def _blurred(picture, generator):
    size = picture.shape[-1]
    small = F.adaptive_avg_pool2d(picture[None].float(), max(2, size // int(generator.integers(8, 29))))
    return enlarged(small, size)[0]


def _halves(picture, other, generator):
    cut, mixed = round(picture.shape[-1] * generator.uniform(0.35, 0.65)), picture.clone()
    half = (slice(None), slice(cut), slice(None)) if generator.random() < 0.5 else (..., slice(cut))
    mixed[half] = other[half]
    return mixed


# --- Shared with notebook 06 ------------------------------------------------------------------------------------------


def enlarged(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """Small pictures `(picture, 3, height, width)` at `size` pixels a side, uint8."""
    large = F.interpolate(pictures.float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8)


def best_windows(pictures: torch.Tensor, worth: torch.Tensor, side: int) -> torch.Tensor:
    """The window of each picture that is worth most, enlarged; worth `(picture, size, size)` per pixel."""
    size = pictures.shape[-1]
    stride = max(1, size // 40)
    scores = F.avg_pool2d(worth[:, None], side, stride)[:, 0]  # (picture, row, column) of windows
    best = scores.flatten(1).argmax(dim=1)
    tops, lefts = (best // scores.shape[2] * stride).tolist(), (best % scores.shape[2] * stride).tolist()
    corners = zip(pictures, tops, lefts)
    return enlarged(torch.stack([p[:, top : top + side, left : left + side] for p, top, left in corners]), size)


def object_cells(study: "Study", concepts: "Concepts", split: Split) -> torch.Tensor:
    """Pixels that some concept wins, bool `(picture, size, size)`: where the object is, without part masks."""
    won = torch.from_numpy(concepts.winners(own_class_maps(study, split), split.labels) > 0)
    return F.interpolate(won[:, None].float(), size=(study.config.size,) * 2, mode="nearest")[:, 0] > 0.5


def backgrounds(study: "Study", concepts: "Concepts", split: Split) -> torch.Tensor:
    """Pictures without their object, uint8: drawn anew, or of photographs the window with fewest pixels of concepts."""
    if split.parts is not None:
        return redrawn(study, split, study.data.part_names)
    whole = to_batch(split.paths, study.config.size)
    return best_windows(whole, -object_cells(study, concepts, split).float(), round(WINDOW * whole.shape[-1]))


def redrawn(study: "Study", split: Split, parts) -> torch.Tensor:
    """Drawn pictures of a split again, all without the same parts, uint8 `(picture, 3, size, size)`."""
    jobs = zip(split.paths, split.fine or [None] * len(split))
    again = [delayed(sources.redraw)(study.data.name, path, tuple(parts), fine) for path, fine in jobs]
    return to_batch(_parallel(again), study.config.size)


def calibration_pictures(study: "Study") -> tuple[torch.Tensor, np.ndarray] | None:
    """Drawn pictures that nothing else has seen, uint8 `(picture, 3, size, size)`, and labels; None for photographs.

    As many of each class and finer label, drawn like the test pictures, with seeds of their own.
    """
    if study.data.validation.parts is None:
        return None
    import menagerie

    spec, classes = sources._menagerie_specs()[study.data.name], study.class_names
    side, labels = read_picture(study.data.test.paths[0]).size[0], np.arange(CALIBRATION) % len(classes)
    jobs = []
    for number, name in enumerate(classes[label] for label in labels):
        k, fine = number // len(classes), spec.fine.get(name) or (None,)
        where = (study.data.name, name, FIRST_SEED + k, side)
        jobs.append(delayed(menagerie.render)(*where, fine=fine[k % len(fine)]))
    pictures = [one.picture for one in _parallel(jobs)]
    known = {picture for split in study.data.splits.values() for picture in split.hashes}
    assert known.isdisjoint(map(sources._pixel_hash, pictures)), "calibration pictures must be new ones"
    return to_batch(pictures, study.config.size), labels


def _parallel(jobs):
    return Parallel(n_jobs=min(cpu_count(), 1 + len(jobs) // 32))(jobs)  # a process takes some seconds to start
