"""Six changes of a picture, of its light, colours, texture or shape (Supplementary S.1).

How the paper's values are read. For brightness .8, contrast .45, saturation .7 and hue .1 it calls PyTorch's
ColorJitter, which draws a factor at random, for contrast=.45 from .55 to 1.45. Here every picture gets the same change:
the value is the factor itself (a contrast of .45 keeps 45 %), and hue is turned by .1 of the circle, 36 degrees.
Texture is non-local means (Buades, Coll & Morel, CVPR 2005) of strength h = 4 grey levels of 255. The paper takes
OpenCV's, in CIELAB; here it is scikit-image's, on RGB, with OpenCV's patches of 7 and search windows of 21 pixels and
its weights exp(-d^2 / h^2). Shape rolls every row, then every column along a sine wave. The paper's sentence on its
strength is garbled ("set to 0.1 for the shapes"); here it is an amplitude of .1 of the side over `WAVES` waves.
"""

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from skimage.restoration import denoise_nl_means

STRENGTHS = {"brightness": 0.8, "contrast": 0.45, "saturation": 0.7, "hue": 0.1, "texture": 4.0, "shape": 0.1}
HIGHEST = {"hue": 0.5, "shape": 0.5}  # strengths; the others have no limit
WAVES = 2  # in a side of the picture
PATCH, SEARCH = 7, 10  # pixels: side of the patches of non-local means, and how far away they are looked for


def change(pictures: torch.Tensor, name: str, strength: float) -> torch.Tensor:
    """Changed pictures, uint8 `(picture, 3, height, width)` as they came.

    Raises ValueError for another name, and for a strength that cannot be.
    """
    if name not in STRENGTHS:
        raise ValueError(f"strengths: {name!r} is no change of a picture; use {', '.join(STRENGTHS)}")
    highest = HIGHEST.get(name, np.inf)
    if not 0 <= strength <= highest or (name == "texture" and not strength):
        raise ValueError(
            f"strengths: {strength} of {name!r} is out of range; use {STRENGTHS[name]}, as the paper, or another "
            f"number from 0 to {highest}"
        )
    if name in ("texture", "shape"):
        return {"texture": _smoothed, "shape": rolled}[name](pictures, strength)
    from torchvision.transforms import functional  # slow to import

    return getattr(functional, f"adjust_{name}")(pictures, strength)


def _smoothed(pictures, strength):
    def denoised(pixels):
        values = denoise_nl_means(pixels / 255, PATCH, SEARCH, strength / 255, fast_mode=True, channel_axis=-1)
        return np.round(255 * values.clip(0, 1)).astype(np.uint8)

    pixels = pictures.permute(0, 2, 3, 1).numpy()
    smooth = Parallel(n_jobs=cpu_count(), prefer="threads")(delayed(denoised)(picture) for picture in pixels)
    return torch.from_numpy(np.stack(smooth)).permute(0, 3, 1, 2).contiguous()


def rolled(pictures: torch.Tensor, strength: float) -> torch.Tensor:
    """Rows, then columns, rolled by a wave; of any `(..., height, width)`."""
    height, width = pictures.shape[-2:]
    down, across = torch.arange(height), torch.arange(width)
    rows = _wave(height, strength * width)
    pictures = pictures[..., down[:, None], (across - rows[:, None]) % width]
    columns = _wave(width, strength * height)
    return pictures[..., (down[:, None] - columns) % height, across]


def _wave(count, amplitude):
    """How far each of so many rows is rolled, in whole pixels."""
    return (amplitude * torch.sin(2 * torch.pi * WAVES * torch.arange(count) / count)).round().long()


def distance(pictures: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """Root mean square difference of pictures in RGB from 0 to 1, `(picture,)`."""
    difference = (pictures.float() - changed.float()) / 255
    return difference.square().mean(dim=(1, 2, 3)).sqrt()
