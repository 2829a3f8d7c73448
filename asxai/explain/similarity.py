"""Global structural similarity: how much the patches of a picture look like the prototypes of each class, as pixels.

    prototypes = Prototypes.of(study, study.concepts())            # once a study
    pictures = to_batch(sources, study.config.size)
    maps = study.activate(sources).maps
    global_similarity(prototypes, pictures, maps)                  # (picture, class): Figure 6's histogram

A prototype is a patch of a training picture. For a new picture every basis vector looks at the cell of its highest
cosine, and the window around that cell is compared with the window around the prototype by structural similarity
(SSIM) in HSV (Supplementary S.1): colour and structure together. Section 2.3.4 makes the histogram from cosines of
patches in the embedding, Supplementary S.1 from structural similarity of pixels. Here a window's similarity is the
product: the cosine times (1 + SSIM) / 2; and a class's similarity the mean over its foreground vectors. The "global
cosine similarity" of section 2.2 is another quantity, the logit, see `asxai.figures.train.logit_shares`.

The paper's published code types its histogram in. Windows, colours and the product were chosen here on 120 validation
pictures of menagerie-pets, with its 2 classes and with its 8 breeds as classes. The class of the highest similarity is
right for 99 and 100 % of them, as it is by the cosine alone, and for 78 and 78 % by SSIM alone: pixels show a reader
what is alike, and tell classes apart much worse than the embedding. On 30 validation photographs of five breeds, which
chose nothing, it is right for 90 %, by the cosine alone for 93 %, and by SSIM alone for 27 %, hardly above chance.

References
    SSIM: Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, IEEE Transactions on Image Processing 13, 2004.
    HSV: Smith, Color gamut transform pairs, SIGGRAPH 1978.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F

from ..data.pictures import to_batch

if TYPE_CHECKING:
    from ..concepts.concepts import Concepts
    from ..study import Study

SIGMA, RADIUS = 1.5, 5  # pixels: the Gaussian window of Wang et al. is 11 x 11
LUMINANCE, CONTRAST = 0.01**2, 0.03**2  # K1 and K2 of Wang et al., squared; of values from 0 to 1
SIDE = 16  # pixels of a window; finer ones are right less often: no two parts are in exactly the same place
RESOLUTION = 43  # pixels of a picture that windows are cut from: one covers 3/8 of its side, a part with its surround
BATCH = 8  # pictures whose windows are held at once: few enough to stay in the processor's cache


class Prototypes(NamedTuple):
    """Windows around the prototypes, ready to be compared. Made by `of`, once a study."""

    windows: torch.Tensor  # (class, basis, 3, side, side): of `colour_space`, on the study's device
    foreground: torch.Tensor  # bool (class, basis): the vectors that count, those of a concept

    @classmethod
    def of(cls, study: "Study", concepts: "Concepts") -> "Prototypes":
        """The prototypes of a study."""
        table = study.prototypes.assign(label=study.prototypes["class"].map(study.class_names.index))
        places = torch.tensor(table.sort_values(["label", "basis"])[["picture", "row", "column"]].to_numpy())
        pictures = to_batch([study.data.train.paths[i] for i in places[:, 0]], study.config.size)
        grid = torch.tensor(study.activate(pictures[:1]).maps.shape[3:])
        device, shape = study.model.basis_vectors.device, study.model.basis_vectors.shape[:2]
        points = ((places[:, 1:] + 0.5) / grid)[:, None].to(device)
        windows = _windows(pictures.to(device), points).unflatten(0, shape).squeeze(2)
        return cls(windows, torch.from_numpy(concepts.members > 0).to(device))


def global_similarity(prototypes: Prototypes, pictures: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Similarity of pictures with every class, `(picture, class)` in [0, 1], on the CPU: the histogram of Figure 6.

    pictures: uint8 `(picture, 3, size, size)`, as of `to_batch`
    maps: `(picture, class, basis, height, width)`, cosines of the same pictures

    A negative cosine counts as 0.
    """
    structure, cosine = window_similarity(prototypes, pictures, maps)
    counted = prototypes.foreground.cpu().to(structure.dtype)
    return (counted * cosine.clamp(min=0) * (1 + structure) / 2).sum(dim=2) / counted.sum(dim=1)


@torch.inference_mode()
def window_similarity(prototypes: Prototypes, pictures: torch.Tensor, maps: torch.Tensor) -> tuple:
    """SSIM with each prototype, in [-1, 1], and the cosine there, both `(picture, class, basis)` and on the CPU.

    Arguments are those of `global_similarity`.
    """
    windows, grid = prototypes.windows, torch.tensor(maps.shape[3:])
    cosine, peak = maps.flatten(3).max(dim=3)
    cells = torch.stack([peak // grid[1], peak % grid[1]], dim=3)  # (picture, class, basis, 2)
    points = ((cells.cpu() + 0.5) / grid).flatten(1, 2)
    structure = []
    for batch, where in zip(pictures.split(BATCH), points.split(BATCH)):
        seen = _windows(batch.to(windows.device), where.to(windows.device))
        structure.append(ssim(seen.unflatten(1, windows.shape[:2]), windows).cpu())
    return torch.cat(structure), cosine.cpu()


def _windows(pictures, points):
    """Windows around points, `(picture, window, 3, side, side)`; beyond the edge pictures are mirrored.

    pictures: uint8 `(picture, 3, size, size)`. points: `(picture, window, 2)`, down and across, from 0 to 1.
    """
    pictures = F.interpolate(colour_space(pictures), (RESOLUTION,) * 2, mode="bilinear", antialias=True)
    half = SIDE // 2
    padded = F.pad(pictures, (half,) * 4, mode="reflect")
    corner = (points * RESOLUTION).round().long()  # half a side before the window's middle, once padded
    rows, columns = (corner[..., axis, None] + torch.arange(SIDE, device=points.device) for axis in (0, 1))
    index = torch.arange(len(pictures), device=points.device)[:, None, None, None]
    return padded[index, :, rows[..., :, None], columns[..., None, :]].movedim(-1, -3)


# --- Structural similarity and colours: on small windows torchmetrics needs 75 times as long, scikit-image has no batch


def ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean structural similarity of windows, `(...)` in [-1, 1], from `(..., channel, height, width)` in [0, 1].

    Equation 13 of Wang et al. for each channel with their Gaussian window, averaged over the positions at which that
    lies inside, and over channels. Leading dimensions broadcast; at least 11 x 11 pixels.
    """
    mean_first, mean_second = _smooth(first), _smooth(second)
    variance_first = _smooth(first * first) - mean_first**2
    variance_second = _smooth(second * second) - mean_second**2
    covariance = _smooth(first * second) - mean_first * mean_second
    above = (2 * mean_first * mean_second + LUMINANCE) * (2 * covariance + CONTRAST)
    below = (mean_first**2 + mean_second**2 + LUMINANCE) * (variance_first + variance_second + CONTRAST)
    return (above / below).mean(dim=(-3, -2, -1))


def _smooth(x):
    """Gaussian means at the positions where the window lies inside, `(..., h, w)` to `(..., h - 10, w - 10)`."""
    return _band(x.shape[-2], x) @ x @ _band(x.shape[-1], x).T


def _band(size, like):
    """The window's weights at each position, `(size - 10, size)`; for small windows faster than a convolution."""
    offset = torch.arange(size, device=like.device) - torch.arange(size - 2 * RADIUS, device=like.device)[:, None]
    weights = torch.exp(-((offset.to(like.dtype) - RADIUS) ** 2) / (2 * SIGMA**2))
    weights = weights * ((offset >= 0) & (offset <= 2 * RADIUS))
    return weights / weights.sum(dim=1, keepdim=True)


def hsv(pictures: torch.Tensor) -> torch.Tensor:
    """Hue (of grey 0), saturation and value in [0, 1] of uint8 RGB pictures, both `(..., 3, height, width)`."""
    red, green, blue = (pictures.to(torch.float32) / 255).unbind(dim=-3)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    some = chroma.clamp(min=1e-6)  # less than a step of 1 / 255, so only grey is changed
    from_red, from_green, from_blue = (green - blue) / some % 6, (blue - red) / some + 2, (red - green) / some + 4
    hue = torch.where(value == red, from_red, torch.where(value == green, from_green, from_blue)) / 6
    return torch.stack([hue, chroma / value.clamp(min=1e-6), value], dim=-3)


def colour_space(pictures: torch.Tensor) -> torch.Tensor:
    """HSV without a seam, in [0, 1]: ((1 + S cos 2 pi H) / 2, (1 + S sin 2 pi H) / 2, V), `(..., 3, height, width)`.

    Hue is an angle: as a number, two reds on both sides of 0 would be furthest apart, and the hue of grey, which is
    noise, would count in full. On the disc of hue and saturation, neighbours in colour are neighbours. It is moved to
    [0, 1] because structural similarity compares means by their ratio, which has no sense around 0.
    """
    hue, saturation, value = hsv(pictures).unbind(dim=-3)
    angle = 2 * math.pi * hue
    return torch.stack([(1 + saturation * angle.cos()) / 2, (1 + saturation * angle.sin()) / 2, value], dim=-3)
