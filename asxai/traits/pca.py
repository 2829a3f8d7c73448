"""Pca."""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
import torch

ROUNDING = 1e-9  # what is smaller than this share of the scale is taken to be equal, where signs are chosen


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components over channels, the strongest first. Made by `row_centred_pca`; no grid for pooled features.

    The sign of each makes its weights over pictures, U_k, sum to at least 0, so that the first looks like an average;
    where they sum to 0 the largest entry of the centred component is positive. The order of pictures does not matter.
    """

    components: np.ndarray  # (component, channel[, height, width]), on the scale of sqrt(pictures) pictures
    eigenvalues: np.ndarray  # (component[, height, width]), of the covariance P
    explained_variance_ratio: np.ndarray  # (component[, height, width]), eq. 9 of each alone; its cumsum is pi_k
    pictures: int

    @property
    def trait(self):
        """The first component on the scale of one picture's features, `(channel[, height, width])`.

        U_1 has length one, so that over n equal pictures each has weight 1 / sqrt(n) and W' U_1 is sqrt(n) times the
        picture. Divided by sqrt(n) it can be compared between sets, and be inverted into a picture.
        """
        return self.components[0] / np.sqrt(self.pictures)


def row_centred_pca(features, k=1, centred=False):
    """The first k row-centred components of features `(picture, channel[, height, width])`, eqs. 7-9; `Components`.

    centred: which rows U weights. False: W' U_k as the paper prints it, of the features themselves, so that components
        stay on the scale of activations. True: the centred rows, as in the published code (scikit-learn's PCA of the
        transposed matrix). The two differ by one number for all channels: the weighted mean activation.

    With height and width each position is decomposed by itself, all in one batch, on the cheaper side: pictures by
    pictures, or channels by channels where there are more pictures. Components beyond a position's rank are 0.

    Raises ValueError for fewer than 2 pictures or channels, k below 1 or above min(pictures, channels - 1), values that
    are not finite, a picture that is constant over channels everywhere, or a position where all pictures are. Channels
    that never change do no harm.
    """
    grid = tuple(np.shape(features)[2:])
    rows, means = _centred_rows(features, grid)
    _, pictures, channels = rows.shape
    if pictures > channels:
        return StreamingRowCentredPCA(channels, grid or None)._add(rows, means).finish(k, centred)
    _check_components(k, pictures, channels)
    gram = torch.bmm(rows, rows.mT)
    values, weights = _largest(gram, k)  # weights: U, (position, picture, component)
    found = _Found(values, torch.bmm(weights.mT, rows), weights.sum(dim=1), (weights * means).sum(dim=1))
    return _components(found, _trace(gram), pictures, channels, grid, centred)


class StreamingRowCentredPCA:
    """The same for any number of pictures: `update` with batches of them, in any order, then `finish`.

    channels, positions: of the features to come; (height, width) for `(picture, channel, height, width)`

    Each row is centred by itself, so that nothing of other pictures has to be known: the scatter W^' W^ of channels is
    summed batch by batch. Its eigenvectors V and values s^2 give the centred components W^' U = V s. Two more vectors
    are summed, for U = W^ V / s is never formed: W^' 1, for the sign, since 1' U = (W^' 1)' V / s; and W^' r with r the
    means that centring took away, since the components of uncentred rows are V s + r' U = V s + (W^' r)' V / s.

    Memory is 8 * channels^2 bytes a position, whatever the number of pictures, and time is pictures * channels^2.
    Squares lose digits: a component of the share p of the variance is found to about 1e-16 / p.
    """

    def __init__(self, channels, positions=None):
        if channels < 2 or (positions is not None and (len(positions) != 2 or min(positions) < 1)):
            raise ValueError(f"channels={channels}, positions={positions}: give at least 2 channels, and None or "
                             "(height, width), at least (1, 1)")
        self.channels, self.grid, self.pictures = channels, tuple(positions or ()), 0
        cells = prod(self.grid)
        self._scatter = torch.zeros(cells, channels, channels, dtype=torch.float64)
        self._sums = torch.zeros(cells, channels, dtype=torch.float64)  # W^' 1
        self._cross = torch.zeros(cells, channels, dtype=torch.float64)  # W^' r

    def update(self, features):
        """Add pictures `(picture, channel[, height, width])`, one or more; itself. ValueError as `row_centred_pca`."""
        rows, means = _centred_rows(features, self.grid, self.pictures)
        if rows.shape[2] != self.channels:
            raise ValueError(f"features {tuple(np.shape(features))} have {rows.shape[2]} channels, not the "
                             f"{self.channels} that this was made for")
        return self._add(rows, means)

    def _add(self, rows, means):
        self._scatter.baddbmm_(rows.mT, rows)
        self._sums += rows.sum(dim=1)
        self._cross += (rows * means).sum(dim=1)
        self.pictures += rows.shape[1]
        return self

    def finish(self, k=1, centred=False):
        """`Components` of all pictures so far, as `row_centred_pca` gives them; more may be added afterwards."""
        _check_components(k, self.pictures, self.channels)
        values, directions = _largest(self._scatter, k)
        lengths = values.clamp(min=1e-300).sqrt()[:, None]  # beyond the rank the result is set to 0 anyway
        sums, offsets = (torch.bmm(vector[:, None], directions / lengths)[:, 0] for vector in (self._sums, self._cross))
        found = _Found(values, (directions * lengths).mT, sums, offsets)
        return _components(found, _trace(self._scatter), self.pictures, self.channels, self.grid, centred)


class _Found(NamedTuple):
    """Of the k largest eigenvalues, at every position."""

    values: torch.Tensor  # (position, component): of W^ W^' and of W^' W^, which have the same
    components: torch.Tensor  # (position, component, channel): W^' U
    sums: torch.Tensor  # (position, component): 1' U
    offsets: torch.Tensor  # (position, component): r' U


def _centred_rows(features, grid, before=0):
    """W^ `(position, picture, channel)` and the means taken away `(position, picture, 1)`, float64; checked."""
    features = torch.as_tensor(features).detach().cpu()
    if features.ndim not in (2, 4) or features.shape[2:] != grid:
        raise ValueError(f"features {tuple(features.shape)} must be (picture, channel), or (picture, channel, height, "
                         f"width){f' with positions {grid}' if grid else ''}")
    if 0 in features.shape or features.shape[1] < 2:
        raise ValueError(f"features {tuple(features.shape)} must be of some pictures, and of at least 2 channels, over "
                         "which rows are centred; leave out concepts that no picture shows")
    check_finite(features, "features")
    rows = features.double().flatten(2) if grid else features.double()[..., None]
    rows = rows.permute(2, 0, 1).contiguous()
    constant = rows.amax(dim=2) == rows.amin(dim=2)  # (position, picture)
    dead = constant.all(dim=0).nonzero().flatten()
    if len(dead):
        raise ValueError(f"features of picture {before + int(dead[0])} ({len(dead)} in all) are the same in every "
                         "channel, so that nothing is left of them; leave out empty pictures, or use another layer")
    means = rows.mean(dim=2, keepdim=True)
    rows = rows - means  # not in place: rows may be the caller's own memory
    rows[constant] = 0  # not what rounding leaves
    return rows, means


def check_finite(values, name):
    if not bool(torch.as_tensor(values).isfinite().all()):
        raise ValueError(f"{name} hold NaN or infinite values; see where the network or its input went astray")


def _check_components(k, pictures, channels):
    if pictures < 2:
        raise ValueError(f"features are of {pictures} pictures; give at least 2, for one has nothing in common with "
                         "others")
    if not 1 <= k <= min(pictures, channels - 1):
        raise ValueError(f"k={k} must be from 1 to {min(pictures, channels - 1)}, the highest rank that {pictures} "
                         f"rows centred over {channels} channels can have")


def _largest(matrices, k):
    """The k largest eigenvalues `(position, k)` and their vectors `(position, row, k)` of symmetric matrices."""
    # matrices of some hundred rows gain little from threads, and beside other programs threads that wait for each other
    # were measured to take a hundred times as long
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        values, vectors = torch.linalg.eigh(matrices)  # ascending
    finally:
        torch.set_num_threads(threads)
    return values[:, -k:].flip(1), vectors[..., -k:].flip(2)


def _trace(matrices):
    return matrices.diagonal(dim1=1, dim2=2).sum(dim=1)


def _components(found, trace, pictures, channels, grid, centred):
    """Signs, scale and shape of the result."""
    if (trace == 0).any():
        empty = (trace == 0).nonzero().flatten().tolist()
        raise ValueError(f"features of all pictures are the same in every channel at {len(empty)} of {len(trace)} "
                         f"positions, the first is number {empty[0]}; leave those positions out, or use another layer")
    # what an eigenvalue of 0 becomes by rounding
    present = found.values > max(pictures, channels) * torch.finfo(torch.float64).eps * found.values[:, :1]
    size = found.components.abs()
    largest = size >= (1 - ROUNDING) * size.amax(dim=2, keepdim=True)
    first = largest.to(torch.uint8).argmax(dim=2, keepdim=True)  # of equals the lowest number, whatever rounding does
    by_entry = found.components.gather(2, first)[..., 0]
    sign = torch.where(found.sums.abs() > ROUNDING * pictures**0.5, found.sums, by_entry).sign() * present
    components = found.components if centred else found.components + found.offsets[..., None]
    components = (components * sign[..., None]).permute(1, 2, 0)  # (component, channel, position)
    values = torch.where(present, found.values, 0).T  # (component, position)
    return Components(components.reshape(*components.shape[:2], *grid).numpy().copy(),
                      (values / (channels - 1)).reshape(-1, *grid).numpy().copy(),
                      (values / trace).reshape(-1, *grid).numpy().copy(), pictures)
