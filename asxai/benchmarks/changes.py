"""Changes."""

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from skimage.restoration import denoise_nl_means

STRENGTHS = {"brightness": 0.8, "contrast": 0.45, "saturation": 0.7, "hue": 0.1, "texture": 4.0, "shape": 0.1}
WAVES = 2  # in a side of the picture
PATCH, SEARCH = 7, 10  # pixels: side of the patches of non-local means, and how far away they are looked for


def change(pictures, name, strength):
    """Changed pictures, uint8 `(picture, 3, height, width)` as they came; see the module's docstring for strengths.

    Raises ValueError for another name, type or shape, and for a strength that cannot be.
    """
    pictures = torch.as_tensor(pictures)
    if name not in STRENGTHS:
        raise ValueError(f"name={name!r} is no change of a picture; use one of {', '.join(STRENGTHS)}")
    if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.dtype != torch.uint8:
        raise ValueError(f"pictures {pictures.dtype} {tuple(pictures.shape)} must be uint8 (picture, 3, height, "
                         "width), as to_batch gives them")
    highest = {"hue": 0.5, "shape": 0.5}.get(name, np.inf)
    if not 0 <= strength <= highest or (name == "texture" and not strength):
        raise ValueError(f"strength={strength} of {name!r} is out of range; use {STRENGTHS[name]}, as the paper, or "
                         f"another number from 0 to {highest}")
    if name in ("texture", "shape"):
        return {"texture": _smoothed, "shape": rolled}[name](pictures, strength)
    from torchvision.transforms import functional  # slow to import

    return getattr(functional, f"adjust_{name}")(pictures, strength)


def _smoothed(pictures, strength):
    def denoised(pixels):
        values = denoise_nl_means(pixels / 255, PATCH, SEARCH, strength / 255, fast_mode=True, channel_axis=-1)
        return np.round(255 * values.clip(0, 1)).astype(np.uint8)

    pixels = pictures.permute(0, 2, 3, 1).numpy()
    found = Parallel(n_jobs=cpu_count(), prefer="threads")(delayed(denoised)(own) for own in pixels)
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()


def rolled(pictures, strength):
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


def distance(pictures, changed):
    """Root mean square difference of pictures in RGB from 0 to 1, `(picture,)`."""
    difference = (pictures.float() - changed.float()) / 255
    return difference.square().mean(dim=(1, 2, 3)).sqrt()
