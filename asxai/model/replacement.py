"""Stages 2 and 3 of section 2.2: basis vectors become patches of real pictures, and the last layer is fitted to them.

Before them, once: features are standardised, for those of a fixed backbone differ in scale by channel.
"""

import numpy as np
import scipy.optimize
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import parallel
from ..data.augmentation import to_device
from ..data.features import shared_batches
from .protocnn import LARGEST_WEIGHT, WRONG_CLASS, ProtoCNN


@torch.inference_mode()
def standardise(model: ProtoCNN, features: Tensor, batch_size: int):
    """Set the model's `feature_mean` and `feature_std`, per channel over training pictures and cells."""
    # In one tensor that is there before the first batch: small new ones between large ones that are freed would keep
    # the allocator from using these places again, and memory would grow with every batch
    sums = torch.empty(-(-len(features) // batch_size), 2, model.feature_mean.numel(), dtype=torch.float64)
    counts = []
    for number, (_, batch) in enumerate(shared_batches(features, batch_size)):
        x = model.backbone_map(to_device(batch, model.device)).cpu().double()  # not every GPU has double precision
        sums[number, 0], sums[number, 1] = x.sum(dim=(0, 2, 3)), x.square().sum(dim=(0, 2, 3))
        counts.append(x.shape[0] * x.shape[2:].numel())
    parts = parallel.dealt([(*both.clone(), count) for both, count in zip(sums, counts)])
    total, square, count = (sum(values) for values in zip(*parts))
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt()
    std[std < 1e-6] = 1  # a dead channel stays zero instead of becoming noise
    model.feature_mean.copy_(mean.view(1, -1, 1, 1))
    model.feature_std.copy_(std.view(1, -1, 1, 1))


@torch.inference_mode()
def replace_basis_vectors(model: ProtoCNN, features: Tensor, labels: Tensor, batch_size: int) -> dict[str, list]:
    """Stage 2: a_j becomes the patch of its class with the highest cosine; one pass over the pictures.

    The paper writes argmax over patches p of p^T a_j. Patches are compared at length one, as everywhere else in the
    model, or bright patches would win over fitting ones. Ties go to the first picture and cell.
    Returns `picture`, `row`, `column` (indices, nested lists `(class, basis)`) and `cosine` before replacement.
    Raises ValueError for a class without pictures.
    """
    shape, device = model.basis_vectors.shape, model.device
    best = torch.full(shape[:2], -torch.inf, device=device)  # (class, basis)
    where = torch.zeros(*shape[:2], 3, dtype=torch.long, device=device)  # picture, row, column
    patches = torch.zeros(shape, device=device)
    for start, batch in shared_batches(features, batch_size):
        batch_labels = labels[start : start + batch_size].to(device)
        out = model(to_device(batch, device))
        for label in batch_labels.unique():
            members = (batch_labels == label).nonzero().flatten()
            maps = out.maps[members, label]  # (picture, basis, height, width)
            height, width = maps.shape[2:]
            cosine, at = maps.transpose(0, 1).flatten(1).max(dim=1)  # (basis,): over picture, row, column in this order
            index = torch.stack([members[at // (height * width)], at // width % height, at % width], dim=1)
            patch = out.embedding[index[:, 0], :, index[:, 1], index[:, 2]]  # (basis, channel)
            index[:, 0] += start
            better = cosine > best[label]
            best[label] = torch.where(better, cosine, best[label])
            where[label] = torch.where(better[:, None], index, where[label])
            patches[label] = torch.where(better[:, None], patch, patches[label])
    best, where, patches = _best_of_all(best, where, patches)
    if not torch.isfinite(best).all():
        empty = [int(i) for i in (~torch.isfinite(best)).any(dim=1).nonzero()]
        raise ValueError(f"classes {empty} have no training pictures to take patches from")
    model.basis_vectors.copy_(F.normalize(patches, dim=2))
    picture, row, column = where.cpu().unbind(dim=2)
    return {"picture": picture.tolist(), "row": row.tolist(), "column": column.tolist(), "cosine": best.cpu().tolist()}


def _best_of_all(*found):
    """Of what each process found, the best cosine with its place and patch; of equals that of the first picture."""
    if parallel.size() == 1:
        return found
    cosine, where, patches = (torch.stack(each) for each in zip(*parallel.dealt([[part.cpu() for part in found]])))
    first = torch.where(cosine == cosine.amax(dim=0), where[..., 0], len(where) + where[..., 0].max()).argmin(dim=0)
    pick = lambda each: each.gather(0, first.view(1, *first.shape, *[1] * (each.ndim - 3)).expand(1, *each.shape[1:]))
    return tuple(pick(each)[0].to(part.device) for each, part in zip((cosine, where, patches), found))


def fit_last_layer(model: ProtoCNN, similarity: Tensor, labels: Tensor, l1: float, targets: Tensor | None = None):
    """Stage 3: cross-entropy plus `l1` times the sum of |weights to other classes' vectors|, weights in [-0.5, 1].

    Convex in the weights, so that there is one best value; L-BFGS-B finds it. A weight to another class is written as
    the difference of two positive parts, which makes its absolute value smooth.
    similarity: `(picture, class, basis)`. targets: probabilities `(picture, class)`, by default of the labels.
    """
    x = similarity.flatten(1).double().numpy()  # (picture, class * basis)
    target = (F.one_hot(labels, model.classes) if targets is None else targets).double().numpy()
    penalty = l1 * (1 - model.own_class().flatten(1).double().numpy())  # (class, class * basis)

    def weights_of(parts):
        positive, negative = parts.reshape(2, *penalty.shape)
        return positive - negative

    def objective(parts):
        logits = x @ weights_of(parts).T
        logits -= logits.max(axis=1, keepdims=True)
        log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        gradient = (np.exp(log_probability) - target).T @ x / len(x)
        value = -(target * log_probability).sum() / len(x) + (parts.reshape(2, *penalty.shape) * penalty).sum()
        return value, np.stack([gradient + penalty, -gradient + penalty]).ravel()

    start = model.last_layer.weight.detach().cpu().double().numpy()
    start = np.stack([start.clip(0), (-start).clip(0)]).ravel()
    bounds = [(0, LARGEST_WEIGHT)] * penalty.size + [(0, -WRONG_CLASS)] * penalty.size
    options = {"maxiter": 500}
    result = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    with torch.no_grad():
        model.last_layer.weight.copy_(torch.from_numpy(weights_of(result.x)))
        model.clamp_last_layer()  # float32 can round a bound outwards
