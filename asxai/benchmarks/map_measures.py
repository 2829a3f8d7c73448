"""Measures of maps of single decisions, each per picture: where evidence lies, and what it depends on.

Maps are `(picture, height, width)` of any size; masks bool `(picture, size, size)`.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F

from ..concepts.masks import conceal, upsample
from ..methods.base import Method
from ..statistics import spearman

STEPS = 8  # of insertion and deletion


def evidence_of(method: Method, pixels, labels) -> torch.Tensor:
    """Maps of pixels `(picture, 3, size, size)`, each for its own class."""
    return torch.cat([method.evidence(one[None], int(label)) for one, label in zip(pixels, labels)])


def inside(evidence: torch.Tensor, masks: np.ndarray) -> np.ndarray:
    """Share of the positive evidence that lies in masks `(picture, size, size)`, `(picture,)`."""
    fine = upsample(evidence.float(), masks.shape[-1]).clamp(min=0).double().numpy()
    return (fine * masks).sum(axis=(1, 2)) / np.maximum(fine.sum(axis=(1, 2)), 1e-12)


def pointing(evidence: torch.Tensor, masks: np.ndarray) -> np.ndarray:
    """Whether the highest place is in the mask (Zhang et al., IJCV 2018); if several tie, the share of these."""
    fine = upsample(evidence.float(), masks.shape[-1]).numpy()
    top = fine == fine.max(axis=(1, 2), keepdims=True)
    return (top & masks).sum(axis=(1, 2)) / top.sum(axis=(1, 2))


def top_share(evidence: torch.Tensor, masks: np.ndarray) -> np.ndarray:
    """Relevance rank accuracy (Arras et al., 2022): of as many highest places as a mask has, the share that is in it.

    Places that tie share what is left.
    """
    fine, result = upsample(evidence.float(), masks.shape[-1]).flatten(1).numpy(), []
    for values, mask in zip(fine, masks.reshape(len(masks), -1)):
        count = int(mask.sum())
        limit = np.partition(values, -count)[-count] if count else np.inf
        above, level = values > limit, values == limit
        part = (count - above.sum()) / max(level.sum(), 1)
        result.append(((above & mask).sum() + part * (level & mask).sum()) / max(count, 1))
    return np.array(result)


@torch.inference_mode()
def insertion_deletion(method: Method, pixels, labels, evidence) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability of the class while the highest places come in, or go out, two of `(picture,)`.

    Petsiuk, Das & Saenko, BMVC 2018: insertion is better if higher, deletion if lower. In `STEPS` steps; the rest of
    a picture is its blurred self where places come in, and its mean colour where they go out.
    """
    size, inserted, deleted = pixels.shape[-1], [], []
    for picture, label, values in zip(pixels, labels, upsample(evidence.float(), pixels.shape[-1])):
        order = values.flatten().argsort(descending=True, stable=True)
        masks = torch.zeros(STEPS, size * size, dtype=torch.bool)
        for step in range(STEPS):
            masks[step, order[: (step + 1) * len(order) // (STEPS + 1)]] = True
        masks = masks.view(STEPS, size, size)
        copies = picture[None].expand(STEPS, -1, -1, -1)
        for keep, fill, result in ((True, "blurred", inserted), (False, "mean", deleted)):
            scores = method.scores(conceal(copies, masks, keep, fill)).double().softmax(dim=1)
            result.append(float(scores[:, int(label)].mean()))
    return np.array(inserted), np.array(deleted)


def shuffled_weights(method: Method) -> Method:
    """The method on networks of which each tensor's weights change places (Adebayo et al., NeurIPS 2018)."""
    method = copy.deepcopy(method)
    generator = torch.Generator().manual_seed(method.study.config.seed)
    networks = [value for value in vars(method).values() if isinstance(value, torch.nn.Module)]
    with torch.no_grad():
        for network in [*networks, method.study.model]:
            for weight in network.parameters():
                order = torch.randperm(weight.numel(), generator=generator)
                weight.copy_(weight.flatten()[order].view_as(weight))
    return method


def standardised(maps: torch.Tensor) -> torch.Tensor:
    """Each map with mean 0 and standard deviation 1."""
    return (maps - maps.mean(dim=(1, 2), keepdim=True)) / maps.std(dim=(1, 2), keepdim=True).clamp(min=1e-9)


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    """Of two maps."""
    return float(F.cosine_similarity(first.flatten(), second.flatten(), dim=0))


def rank_correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Spearman's, of two maps; 1 where one has no order, for it is then the same whatever it depends on."""
    value = spearman(first.flatten().numpy().round(9), second.flatten().numpy().round(9))
    return 1.0 if np.isnan(value) else value


def passes(method: Method, pixels, label: int) -> int:
    """Passes of a picture through the backbone, forwards and backwards, that one map costs."""
    count = [0]
    networks = [method.study.model.backbone, *(n.backbone for n in [vars(method).get("network")] if n is not None)]

    def forwards(module, inputs, output):
        count[0] += len(output)
        if output.requires_grad:
            output.register_hook(lambda gradient: count.__setitem__(0, count[0] + len(gradient)))

    hooks = [network.stages[0].register_forward_hook(forwards) for network in networks]
    method.evidence(pixels, label)
    for hook in hooks:
        hook.remove()
    return count[0]
