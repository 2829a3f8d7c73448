"""Irregular semantic masks: where on a picture a basis vector fires.

Activation maps are `(..., height, width)` on the network's grid; masks are boolean at picture resolution.
"""

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F


def upsample(maps, size):
    """Activation maps at picture resolution, `(..., height, width)` to `(..., size, size)`, bilinear."""
    maps = torch.as_tensor(maps)
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    fine = F.interpolate(flat, size=(size, size), mode="bilinear", align_corners=False)
    return fine.view(*maps.shape[:-2], size, size)


def semantic_masks(maps, size, percentile=95.0):
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


def peak_box(mask, activation):
    """Box `(top, left, bottom, right)` around the part of a mask that holds the highest activation.

    mask, activation: `(size, size)`. A mask may have several islands; the box shows the one that the patch came from.
    Bottom and right are exclusive. Raises ValueError for an empty mask.
    """
    mask, activation = np.asarray(mask, dtype=bool), np.asarray(activation)
    if not mask.any():
        raise ValueError("the mask is empty: its activation map has no contrast")
    islands, _ = scipy.ndimage.label(mask)
    peak = np.unravel_index(np.where(mask, activation, -np.inf).argmax(), mask.shape)
    rows, columns = scipy.ndimage.find_objects(islands)[islands[peak] - 1]
    return rows.start, columns.start, rows.stop, columns.stop
