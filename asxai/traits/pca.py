"""Row-centred PCA (equations 7 to 9): what pictures have in common, as a vector over channels.

    common = row_centred_pca(features, k=3)  # (picture, channel[, height, width])
    common.trait                             # (channel[, height, width])

Row-centred PCA swaps the roles of ordinary PCA: pictures are the variables and channels the samples. W `(picture,
channel)` holds a feature vector in each row; each is centred over its channels, and P = W^ W^' / (channel - 1) compares
pictures. The paper calls m "the total sample", but eq. 8 divides by m - 1 what was summed over columns, so that m is
the number of channels. With U the eigenvectors of P, component k is W' U_k: a vector over channels, a sum of pictures
with the weights U_k. The first is close to an average picture, since features of one network are alike.

Row-centred PCA for CNNs: Xu, Chen & Zhang, S-XAI, 2022 (the paper's reference 34).
"""

from dataclasses import dataclass

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
    explained_variance_ratio: np.ndarray  # (component[, height, width]), eq. 9 of each alone; its cumsum is pi_k
    pictures: int

    @property
    def trait(self) -> np.ndarray:
        """The first component on the scale of one picture's features, `(channel[, height, width])`.

        U_1 has length one, so that over n equal pictures each has weight 1 / sqrt(n) and W' U_1 is sqrt(n) times the
        picture. Divided by sqrt(n) it can be compared between sets, and be inverted into a picture.
        """
        return self.components[0] / np.sqrt(self.pictures)


def row_centred_pca(features, k: int = 1, centred: bool = False) -> Components:
    """The first k row-centred components of features `(picture, channel[, height, width])`, eqs. 7-9; `Components`.

    centred: components W^' U of the centred rows; otherwise W' U of the paper, the same but for a number that is added
        to all channels

    Each position is decomposed by itself, all in one batch, in float64. Components beyond a position's rank are 0.
    Raises ValueError for fewer than 2 pictures, k below 1 or above min(pictures, channels - 1), or a position where
    every picture is constant over channels. Channels that never change do no harm.
    """
    features = torch.as_tensor(features).detach().cpu().double()
    pictures, channels, *grid = features.shape
    if pictures < 2:
        raise ValueError(f"features are of {pictures} pictures; give at least 2, for one has nothing in common")
    if not 1 <= k <= min(pictures, channels - 1):
        raise ValueError(
            f"k={k} must be from 1 to {min(pictures, channels - 1)}, the highest rank that {pictures} "
            f"rows centred over {channels} channels can have"
        )
    rows = features.reshape(pictures, channels, -1).permute(2, 0, 1).contiguous()  # W, (position, picture, channel)
    constant = rows.amax(dim=2) == rows.amin(dim=2)
    means = rows.mean(dim=2, keepdim=True)
    rows = rows - means  # W^, eq. 7; not in place: rows may be the caller's own memory
    rows[constant] = 0  # not what rounding leaves
    gram = torch.bmm(rows, rows.mT)  # P times channels - 1, eq. 8
    trace = gram.diagonal(dim1=1, dim2=2).sum(dim=1)
    if (trace == 0).any():
        raise ValueError("features of all pictures are the same in every channel somewhere; use another layer")
    values, weights = _largest(gram, k)
    # what an eigenvalue of 0 becomes by rounding
    present = values > max(pictures, channels) * torch.finfo(torch.float64).eps * values[:, :1]
    components = torch.bmm(weights.mT, rows)  # W^' U, (position, component, channel)
    size = components.abs()
    largest = size >= (1 - ROUNDING) * size.amax(dim=2, keepdim=True)
    first = largest.to(torch.uint8).argmax(dim=2, keepdim=True)  # of equals the lowest number, whatever rounding does
    by_entry, sums = components.gather(2, first)[..., 0], weights.sum(dim=1)
    sign = torch.where(sums.abs() > ROUNDING * pictures**0.5, sums, by_entry).sign() * present
    components = components if centred else components + (weights * means).sum(dim=1)[..., None]
    components = (components * sign[..., None]).permute(1, 2, 0)  # (component, channel, position)
    ratios = (torch.where(present, values, 0).T / trace).reshape(k, *grid)  # eq. 9
    return Components(components.reshape(k, channels, *grid).numpy().copy(), ratios.numpy().copy(), pictures)


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
