"""How orthogonal, how rich and how far apart the bases of the classes are.

Basis vectors are `(class, basis, channel)`; every measure works in float64 and gives NumPy numbers.
"""

import numpy as np
import torch
import torch.nn.functional as F

NO_DIRECTION = 1e-6  # of the largest singular value: below, a span does not reach into that direction


def _unit(basis):
    return F.normalize(basis.detach().cpu().double(), dim=2)


def within_class_cosine(basis: torch.Tensor) -> np.ndarray:
    """Mean absolute off-diagonal cosine inside each class, `(class,)`, in [0, 1]; 0 is orthogonal. NaN for one vector.

    N unit vectors in d dimensions have a sum of squared off-diagonal cosines of at least N^2/d - N (Welch, 1974).
    """
    unit = _unit(basis)
    vectors = unit.shape[1]
    if vectors < 2:
        return np.full(len(unit), np.nan)
    cosine = (unit @ unit.transpose(1, 2)).abs()
    off_diagonal = cosine.sum(dim=(1, 2)) - cosine.diagonal(dim1=1, dim2=2).sum(dim=1)
    return (off_diagonal / (vectors * (vectors - 1))).numpy()


def effective_rank(basis: torch.Tensor) -> np.ndarray:
    """Exponential of the entropy of the normalised singular values, `(class,)`, in [1, basis].

    Roy & Vetterli, EUSIPCO 2007. Equal to the number of vectors when they are orthonormal, 1 when they all agree.
    """
    share = torch.linalg.svdvals(_unit(basis))
    share = share / share.sum(dim=1, keepdim=True)
    return torch.special.entr(share).sum(dim=1).exp().numpy()


def subspace_distances(basis: torch.Tensor) -> np.ndarray:
    """Projection distance between the spans of two classes, divided by its largest possible value: `(class, class)`.

    The projection metric of the Grassmann manifold is ||P1 - P2||_F / sqrt(2) with P the orthogonal projector on a
    span (Edelman, Arias & Smith, SIAM J. Matrix Anal. 1998). Equation 3 uses A^T A, which is a projector only while the
    vectors are orthonormal; to measure, each span gets an orthonormal basis first. Replaced vectors can repeat and then
    span less. 0 is the same span, 1 is as far as spans of these dimensions can be.
    """
    unit = _unit(basis)
    channels = unit.shape[2]
    _, values, right = torch.linalg.svd(unit, full_matrices=False)
    right = right * (values > NO_DIRECTION * values[:, :1]).unsqueeze(2)  # directions outside the span become zero
    rank = right.square().sum(dim=(1, 2))  # (class,)
    projectors = (right.transpose(1, 2) @ right).flatten(1)  # (class, channel * channel)
    shared = projectors @ projectors.T  # <P1, P2> = ||Q1 Q2^T||^2
    total = rank[:, None] + rank[None, :]
    # spans whose dimensions add up to more than the channels must meet: so much can at most lie apart
    largest = total / 2 - (total - channels).clamp(min=0)
    share = torch.where(largest > 0.5, (total / 2 - shared).clamp(min=0) / largest, 0)  # whole spaces are all the same
    return share.sqrt().fill_diagonal_(0).clamp(max=1).numpy()


def mean_subspace_distance(basis: torch.Tensor) -> float:
    """Mean over pairs of classes of `subspace_distances`."""
    return float(subspace_distances(basis)[np.triu_indices(len(basis), k=1)].mean())
