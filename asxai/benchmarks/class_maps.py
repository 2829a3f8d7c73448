"""What maps of classes say of hybrids, and whether hiding a concept moves it: for methods of every kind."""

import numpy as np
import torch
import torch.nn.functional as F

from ..data.datasets import spread_over
from ..methods.attributions import Attribution
from ..methods.base import Method
from ..statistics import bootstrap
from .map_measures import standardised
from .ood import SMALLEST_PART, draw_hybrids, hybrid_kinds
from .prototypes import row

PICTURES = 4  # of a class, in which concepts are hidden


def mean_row(name: str, values) -> dict:
    """A row of the mean over pictures `(picture,)` with its bootstrap interval; what is not known is left out."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return row(name, np.nan)
    interval = bootstrap(lambda weights: (weights @ values) / weights.sum(axis=-1), np.zeros(len(values), int))
    return row(name, round(values.mean(), 9) + 0.0, interval)  # no minus zero


def parents(method: Method, study, count: int) -> list[dict]:
    """How often the parent of a hybrid's part has more evidence there than the other parent: one row, or none.

    Maps of a method with concepts are those of all its concepts, at their highest; of others it is the evidence. Each
    map in standard deviations, so that classes can be compared.
    """
    right, kinds = [], []
    for name in hybrid_kinds(study.data.name) if count else ():
        hybrids = draw_hybrids(study.data.name, name, count, study.config.size)
        known = sorted({study.class_names.index(parent) for parent in hybrids.parents.values()})
        masks = hybrids.parts[:, None] == np.arange(1, len(hybrids.part_names) + 1)[:, None, None]
        masks = torch.from_numpy(masks).float()
        strengths = []
        for label in known:
            maps = standardised(class_map(method, hybrids.pictures, label))
            cells = F.interpolate(masks, size=maps.shape[1:], mode="area")
            strengths.append(torch.einsum("pkhw,phw->pk", cells, maps) / cells.sum(dim=(2, 3)).clamp(min=1e-9))
        best = torch.stack(strengths, dim=2).numpy()
        seen = masks.sum(dim=(2, 3)).numpy() >= SMALLEST_PART
        for k, part in enumerate(hybrids.part_names):
            if part in hybrids.parents:
                at = known.index(study.class_names.index(hybrids.parents[part]))
                rivals = np.delete(best[:, k], at, axis=1).max(axis=1)
                hits = (best[:, k, at] > rivals) + 0.5 * (best[:, k, at] == rivals)
                right.append(np.where(seen[:, k], hits, np.nan))
                kinds.append(name)
    if not right:
        return []
    hits = np.array(right)  # (part of a kind, picture)
    by_picture = [np.nanmean(hits[np.array(kinds) == name], axis=0) for name in dict.fromkeys(kinds)]
    return [mean_row("parents", np.concatenate(by_picture))]


def class_map(method: Method, pictures, label: int) -> torch.Tensor:
    """One map of a class: the highest of its concepts, or its evidence, `(picture, height, width)`."""
    if isinstance(method, Attribution) and len(method.names(label)) == 1:
        return method.evidence(pictures, label)
    return method.maps(pictures, label).float().amax(dim=1)


def removal(method: Method, study) -> dict:
    """Share of concepts whose own map falls most, in its standard deviations, where their region is hidden."""
    hits, test = [], study.data.test
    for label in range(len(study.class_names)):
        split = spread_over(test.take(test.labels == label), PICTURES)
        if len(method.names(label)) < 2 or not len(split):
            continue
        height = lambda pictures, label=label: method.maps(pictures, label).float().amax(dim=(2, 3))
        maps = method.maps(split, label).float()
        spread = maps.flatten(2).std(dim=2).clamp(min=1e-6)
        before = height(split)
        for k, hidden in enumerate(method.removed(split, label, fill="mean")):
            falls = ((before - height(hidden)) / spread).numpy()
            hits += (falls.argmax(axis=1) == k).tolist()
    return mean_row("removal", hits)
