"""Irregular semantic masks: where on a picture a basis vector fires, and pictures with a mask hidden.

Activation maps are `(..., height, width)` on the network's grid; masks are boolean at picture resolution.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F

from .cells import own_class_maps

if TYPE_CHECKING:
    from ..study import Study
    from .concepts import Concepts


def upsample(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Activation maps at picture resolution, `(..., height, width)` to `(..., size, size)`, bilinear."""
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    fine = F.interpolate(flat, size=(size, size), mode="bilinear", align_corners=False)
    return fine.view(*maps.shape[:-2], size, size)


def semantic_masks(maps: torch.Tensor, size: int, percentile: float = 95.0) -> torch.Tensor:
    """True where an upsampled map reaches its own percentile: `(..., height, width)` to bool `(..., size, size)`.

    The threshold belongs to each map of each picture, so that every mask covers about `100 - percentile` per cent of
    its picture (section 2.2; the percentile is the published code's). A map without contrast has an empty mask.
    Raises ValueError for a percentile outside (0, 100).
    """
    if not 0 < percentile < 100:
        raise ValueError(f"percentile={percentile} must lie between 0 and 100, for example 95")
    fine = upsample(maps, size)
    flat = fine.flatten(-2)
    # kthvalue needs no interpolation between ranks and no sort of the whole map
    threshold = flat.kthvalue(max(1, round(flat.shape[-1] * percentile / 100)), dim=-1).values[..., None, None]
    return (fine >= threshold) & (fine > fine.amin(dim=(-2, -1), keepdim=True))


def peak_box(mask: np.ndarray, activation: np.ndarray) -> tuple[int, int, int, int]:
    """Box `(top, left, bottom, right)` around the part of a mask that holds the highest activation.

    mask, activation: `(size, size)`. A mask may have several islands; the box shows the one that the patch came from.
    Bottom and right are exclusive.
    """
    islands, _ = scipy.ndimage.label(mask)
    peak = np.unravel_index(np.where(mask, activation, -np.inf).argmax(), mask.shape)
    rows, columns = scipy.ndimage.find_objects(islands)[islands[peak] - 1]
    return rows.start, columns.start, rows.stop, columns.stop


def conceal(pictures: torch.Tensor, masks: torch.Tensor, keep: bool, fill: str = "black") -> torch.Tensor:
    """Pictures of which only the mask is left (keep=True), or all but the mask (False); uint8, of the same shape.

    pictures: uint8 `(picture, 3, height, width)`, as `asxai.data.pictures.to_batch` gives them
    masks: bool `(picture, height, width)`, for example of `semantic_masks`
    fill: what the rest becomes: "black" (the paper's, which a network may take for an object of its own), "mean" (the
        picture's mean colour) or "blurred" (the picture itself under a Gaussian blur, standard deviation a tenth of its
        short side: colours without shapes)

    Raises ValueError for another fill.
    """
    if fill not in FILLS:
        raise ValueError(f"fill={fill!r} is unknown; use one of {', '.join(FILLS)}")
    visible = (masks if keep else ~masks)[:, None]
    return torch.where(visible, pictures, FILLS[fill](pictures))


def _blurred(pictures):
    from torchvision.transforms.functional import gaussian_blur  # slow to import, and seldom needed

    sigma = min(pictures.shape[2:]) / 10
    side = 2 * round(2 * sigma) + 1
    result = []
    for batch in pictures.split(64):  # as floating point, pictures take four times the memory
        # rows, then columns: the same blur as in both directions at once, and many times faster
        rows = gaussian_blur(batch.float(), [side, 1], [sigma, sigma])
        result.append(gaussian_blur(rows, [1, side], [sigma, sigma]).round().to(torch.uint8))
    return torch.cat(result)


FILLS = {
    "black": torch.zeros_like,
    "mean": lambda pictures: pictures.mean(dim=(2, 3), keepdim=True, dtype=torch.float64).round().to(torch.uint8),
    "blurred": _blurred,
}


class Region(NamedTuple):
    """Where concepts are in pictures of one class."""

    names: tuple  # (concept,)
    masks: torch.Tensor  # bool (picture, concept, size, size); all False where a concept is not seen


def concept_regions(study: "Study", concepts: "Concepts", percentile: float = 95.0) -> Callable[..., Region]:
    """The irregular masks of a study's concepts: a function of (label, split of that class) to a `Region`."""

    def regions(label, split):
        of_class = concepts.of_class(label)
        masks = concepts.masks(own_class_maps(study, split), split.labels, study.config.size, percentile)
        return Region(tuple(concepts.names[k - 1] for k in of_class), masks[:, of_class - 1])

    return regions
