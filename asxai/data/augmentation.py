"""The paper's augmentation (section 3.1), batched, in a single resampling."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Strengths for `augment`, the kinds named in the paper's section 3.1; 0 switches one off.

    Each is the limit of a uniform distribution around "no change", unless it says otherwise.
    """

    rotation: float = 15.0  # degrees, either way
    shear: float = 8.0  # degrees, along each axis
    skew: float = 0.08  # perspective: relative change of scale from the centre to an edge, along each axis
    zoom: float = 0.1  # relative change of scale of the whole picture
    distortion: float = 0.015  # standard deviation of the random shift of a point, in sides of the picture
    distortion_cells: int = 5  # points per side at which that shift is drawn; smooth in between
    flip: float = 0.5  # probability of a mirror image, left to right


def augment(
    pictures: torch.Tensor, generator: torch.Generator, strength=Augmentation(), among: tuple | None = None
) -> torch.Tensor:
    """Rotate, shear, skew, zoom, distort and mirror each picture at random, in a single resampling.

    pictures: (picture, 3, height, width), uint8 or floating point, on any device
    generator: on the CPU, so that one seed means the same change on every device
    among: `(count, index)`: each picture changes as the one of its index would, were `count` of them augmented at once
    Returns a tensor of the same shape, type and device. What comes in over an edge is the picture mirrored there.
    """
    values = pictures if pictures.dtype == torch.float64 else pictures.float()
    randomness = _Randomness.draw(among[0] if among else len(pictures), generator, strength)
    if among:
        randomness = _Randomness(*(part[among[1]] for part in randomness))
    grid = _sampling_grid(pictures.shape[2:], randomness, values)
    result = functional.grid_sample(values, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return (result.round() if pictures.dtype == torch.uint8 else result).to(pictures.dtype)


class _Randomness(NamedTuple):
    """What happens to each picture."""

    skew: torch.Tensor  # (picture, 3, 3) from places in the result, -1..1, to skewed ones
    affine: torch.Tensor  # (picture, 3, 3) mirror image, zoom, shear and rotation, about the centre
    shift: torch.Tensor  # (picture, 2, cells, cells) in units of half a side

    @classmethod
    def draw(cls, count: int, generator: torch.Generator, strength: Augmentation) -> "_Randomness":
        def uniform(limit):
            return (2 * torch.rand(count, generator=generator) - 1) * limit

        angle = uniform(math.radians(strength.rotation))
        shear_x, shear_y = (torch.tan(uniform(math.radians(strength.shear))) for _ in range(2))
        skew_x, skew_y = uniform(strength.skew), uniform(strength.skew)
        zoom = 1 + uniform(strength.zoom)
        mirror = 1 - 2 * (torch.rand(count, generator=generator) < strength.flip).float()
        cells = strength.distortion_cells
        shift = 2 * strength.distortion * torch.randn(count, 2, cells, cells, generator=generator)
        one, none = torch.ones(count), torch.zeros(count)
        rotated = _matrices([[angle.cos(), -angle.sin(), none], [angle.sin(), angle.cos(), none], [none, none, one]])
        sheared = _matrices([[one, shear_x, none], [shear_y, one, none], [none, none, one]])
        scaled = _matrices([[zoom * mirror, none, none], [none, zoom, none], [none, none, one]])
        skewed = _matrices([[one, none, none], [none, one, none], [skew_x, skew_y, one]])
        return cls(skewed, rotated @ sheared @ scaled, shift)


def _matrices(rows: list[list[torch.Tensor]]) -> torch.Tensor:
    """(picture, 3, 3) from three rows of three numbers per picture."""
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _sampling_grid(sides, randomness: _Randomness, values: torch.Tensor) -> torch.Tensor:
    """Where each pixel of the result looks in the picture, (picture, height, width, 2), in -1..1."""
    height, width = sides
    skew, affine, shift = (part.to(values.dtype) for part in randomness)
    like = {"dtype": values.dtype, "device": values.device}
    # Angles hold only where both axes have the same unit, so stretch to the true proportions and back.
    stretch = torch.diag(torch.tensor([width / min(sides), height / min(sides), 1.0], dtype=values.dtype))
    homography = torch.linalg.inv(stretch) @ affine @ stretch @ skew  # (picture, 3, 3)
    homography, shift = to_device(homography, values.device), to_device(shift, values.device)
    x = (torch.arange(width, **like) * 2 + 1) / width - 1  # centres of pixels
    y = (torch.arange(height, **like) * 2 + 1) / height - 1
    places = torch.stack(torch.broadcast_tensors(x, y[:, None], torch.ones((), **like)), dim=-1)  # (height, width, 3)
    projected = torch.einsum("hwj,pij->phwi", places, homography)  # (picture, height, width, 3)
    shifts = functional.interpolate(shift, size=(height, width), mode="bicubic", align_corners=True)
    return projected[..., :2] / projected[..., 2:] + shifts.permute(0, 2, 3, 1)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; the copy to a GPU does not wait for what the GPU is doing."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)
