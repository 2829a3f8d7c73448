"""The losses of section 2.2 and the balanced assignment term.

Shapes: activation maps `(picture, class, basis, height, width)` hold cosines; basis vectors `(class, basis, channel)`
have length one; labels `(picture,)`. Every loss is a scalar to be minimised with a positive weight. Where the printed
sign of the paper would push the wrong way (equations 2 and 3 with their negative weights), the net effect of the
published code is followed, and the docstring says so.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

OBJECTIVES = ("paper", "balanced", "parts")
TEMPERATURE = 0.1  # of the softmax over the cosines of a patch


def best_cosine(maps: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Best cosine over patches and vectors of the picture's class, and of all other classes: two of `(picture,)`."""
    best = maps.amax(dim=(2, 3, 4))  # (picture, class)
    is_class = F.one_hot(labels, best.shape[1]).bool()
    own = best.gather(1, labels[:, None])[:, 0]  # by number, for a GPU must wait to find where a mask is true
    return own, best.masked_fill(is_class, -torch.inf).amax(dim=1)


def class_maps(maps: Tensor, labels: Tensor) -> Tensor:
    """Maps of the vectors of each picture's class, `(picture, basis, height, width)`."""
    return maps[torch.arange(len(maps), device=maps.device), labels]


def aggregation(maps: Tensor, labels: Tensor) -> Tensor:
    """Equation 1: some patch of each picture should match some basis vector of its class. In [-1, 1]."""
    return -best_cosine(maps, labels)[0].mean()


def separation(maps: Tensor, labels: Tensor) -> Tensor:
    """Equation 2 by its purpose: no patch should match a basis vector of another class. In [-1, 1].

    The printed form takes the minimum of the cosine, with weight -0.08: it would raise the least similar pair. The
    published code lowers the best wrong-class cosine, and so does this.
    """
    return best_cosine(maps, labels)[1].mean()


def orthogonality(basis: Tensor) -> Tensor:
    """L_orth of section 2.2: sum over classes of ||A A^T - I||_F^2, at least 0."""
    gram = basis @ basis.transpose(1, 2)  # (class, basis, basis)
    return (gram - torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)).square().sum()


def subspace_separation(basis: Tensor) -> Tensor:
    """Equation 3: -1/sqrt(2) times the sum over pairs of classes of ||A1^T A1 - A2^T A2||_F, at most 0.

    Used with a positive weight, so that distances between class subspaces grow; the printed weight is negative, which
    with the printed sign would shrink them. ||P1 - P2||^2 = ||P1||^2 + ||P2||^2 - 2 <P1, P2>, so that no difference of
    matrices is built for each of the many pairs.
    """
    classes = len(basis)
    projectors = (basis.transpose(1, 2) @ basis).flatten(1)  # (class, channel * channel)
    gram = projectors @ projectors.T  # (class, class)
    squares = gram.diagonal()
    first, second = torch.triu_indices(classes, classes, offset=1, device=basis.device)
    # the square root has no slope at zero, where two classes share one subspace: keep it a little above
    squared = (squares[first] + squares[second] - 2 * gram[first, second]).clamp(min=1e-12)
    return -squared.sqrt().sum() / 2**0.5


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Balanced soft assignment of rows to columns, `(row, column)` to the same shape; rows sum to one.

    Sinkhorn-Knopp (Cuturi, NeurIPS 2013) as used by Caron et al. (SwAV, NeurIPS 2020): every column gets about the
    same share of the rows. In logarithms, so that a small epsilon does not overflow.
    """
    logits = scores / epsilon
    for _ in range(iterations):
        logits = logits - logits.logsumexp(dim=0, keepdim=True)  # columns share equally
        logits = logits - logits.logsumexp(dim=1, keepdim=True)  # every row is assigned once
    return logits.exp()


def balanced_assignment(maps: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of softmax(cosine / `TEMPERATURE`) against the balanced assignment; not in the paper.

    Aggregation pulls only the nearest vector to the best patch, so that one vector per class does most work. Here
    every patch of a picture is shared out among the vectors of its class such that each vector gets as many.
    """
    cosines = class_maps(maps, labels).flatten(2).transpose(1, 2)  # (picture, patch, basis)
    loss = maps.new_zeros(())
    for label in labels.unique():  # the assignment is balanced within each class of the batch
        scores = cosines[labels == label].flatten(0, 1)  # (picture * patch, basis)
        target = sinkhorn(scores)
        loss = loss - (target * F.log_softmax(scores / TEMPERATURE, dim=1)).sum()
    return loss / cosines.shape[:2].numel()


def guided_assignment(maps: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Cross-entropy of softmax(cosine / `TEMPERATURE`) against a group for every patch; not in the paper.

    groups: integers `(picture, height, width)`, the basis vector of its class that each patch is meant for, see
    `asxai.model.parts`. Groups weigh by the inverse square root of their size in the batch, so that an eye is not lost
    beside a body, and sums are divided by the weights, so that the loss does not depend on the number of patches.
    """
    maps, groups = class_maps(maps, labels), groups.long()
    flat = groups.flatten()  # counted as bincount does, for which a GPU would have to wait
    size = flat.new_zeros(maps.shape[1]).scatter_add_(0, flat, torch.ones_like(flat))
    weight = torch.where(size > 0, size.clamp(min=1).to(maps.dtype).rsqrt(), 0)
    return F.cross_entropy(maps / TEMPERATURE, groups, weight=weight)


def loss_terms(
    logits: Tensor,
    maps: Tensor,
    labels: Tensor,
    basis: Tensor,
    objective: str,
    groups: Tensor | None = None,
    targets: Tensor | None = None,
) -> dict[str, Tensor]:
    """All terms by name. targets: probabilities `(picture, class)` for the cross-entropy, by default of the labels.

    objective: "paper"; "balanced" for the paper's terms and the balanced assignment; "parts" for the paper's terms and
    the guided assignment, which needs `groups` `(picture, height, width)`.
    """
    terms = {
        "cross_entropy": F.cross_entropy(logits, labels if targets is None else targets),  # equation 4
        "aggregation": aggregation(maps, labels),
        "separation": separation(maps, labels),
        "orthogonality": orthogonality(basis),
        "subspace": subspace_separation(basis),
    }
    if objective == "balanced":
        terms["balance"] = balanced_assignment(maps, labels)
    if objective == "parts":
        terms["guide"] = guided_assignment(maps, labels, groups)
    return terms
