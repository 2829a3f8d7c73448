"""Semantic concepts: basis vectors grouped by where they fire, and matched across classes, without labels of parts.

    own = own_maps(maps, labels)                                   # cosines with the vectors of the own class
    concepts = find_concepts(own, labels, features, class_names)   # of training pictures
    concepts = concepts.renamed(name_by_parts(concepts.winners(naming, naming_labels), parts, part_names,
                                              concepts.count))
    winners = concepts.winners(test, test_labels)                  # for `asxai.benchmarks.agreement`

The paper's published code sorts pictures of masks into concept folders by hand. Here `own` are always the activation
maps of each picture's own class, `(picture, basis, height, width)`. A concept is a number 1..count with members in one
or more classes; 0 is the background. Maps and masks are tensors, whole numbers are NumPy arrays.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from .cells import CELLS, checked_maps
from .masks import semantic_masks, upsample

LEAST_SEEN = 0.005  # share of a picture's cells, 4 of 28 x 28, that a concept must win to be there at all
BATCH = 64  # pictures whose maps are held at picture resolution at once


def own_maps(maps, labels):
    """Of maps `(picture, class, basis, height, width)` those of the own class, `(picture, basis, height, width)`."""
    maps, labels = torch.as_tensor(maps), torch.as_tensor(labels).long()
    return maps[torch.arange(len(labels)), labels]


class Exemplars(NamedTuple):
    """Where each concept fires most strongly in a class; -1 (points: NaN) where there are fewer pictures, or none."""

    pictures: np.ndarray  # (class, concept, exemplar): index of the picture, the strongest first
    cells: np.ndarray  # (class, concept, exemplar, 2): row and column of the peak on the map's grid
    points: np.ndarray  # (class, concept, exemplar, 2): the middle of that cell, down and across, from 0 to 1


@dataclass(frozen=True, eq=False)
class Concepts:
    """Which basis vectors make up which concept. Made by `find_concepts`; entry k - 1 of `names` is concept k's."""

    members: np.ndarray  # int64 (class, basis): 0 is background, k is concept k
    names: tuple
    class_names: tuple

    def __post_init__(self):
        members = np.asarray(self.members)
        if members.ndim != 2 or not np.issubdtype(members.dtype, np.integer) or len(members) != len(self.class_names):
            raise ValueError(f"members {members.dtype} {members.shape} must be whole numbers (class, basis), a row for "
                             f"each of the {len(self.class_names)} class names")
        if set(members.ravel().tolist()) | {0} != set(range(len(self.names) + 1)):
            raise ValueError(f"members hold {np.unique(members).tolist()}; with {len(self.names)} names they must hold "
                             f"each of 1 to {len(self.names)}, and 0 for background")
        if len(set(self.names)) < len(self.names) or not all(isinstance(n, str) and n.strip() for n in self.names):
            raise ValueError(f"names={self.names!r} must be different texts, none empty, one per concept")
        for field, value in (("members", members.astype(np.int64)), ("names", tuple(self.names)),
                             ("class_names", tuple(self.class_names))):
            object.__setattr__(self, field, value)

    @property
    def count(self):
        """Number of concepts, without the background."""
        return len(self.names)

    def maps(self, own, labels):
        """Highest cosine over a concept's members, `(picture, count + 1, height, width)`; index 0 is background.

        -1, which no real cosine goes below, where the picture's class has no member of the concept. Raises ValueError
        for maps or labels that do not fit.
        """
        own, labels = checked_maps(own, labels, *self.members.shape)
        member = torch.from_numpy(self.members)[labels][..., None, None].expand(own.shape)
        lowest = own.new_full((len(own), self.count + 1, *own.shape[2:]), -1)
        return lowest.scatter_reduce(1, member, own, "amax")

    def winners(self, own, labels, cells=CELLS):
        """The concept of the highest cosine on `cells` x `cells` cells, int64 `(picture, cells, cells)`."""
        own, labels = checked_maps(own, labels, *self.members.shape)
        batches = zip(own.split(BATCH), labels.split(BATCH))
        return torch.cat([upsample(self.maps(*batch), cells).argmax(dim=1) for batch in batches]).numpy()

    def masks(self, own, labels, size, percentile=95.0):
        """Irregular masks, bool `(picture, count, size, size)`; all False where the class lacks the concept.

        As in `semantic_masks`: a mask covers its share of every picture, also of one in which the concept is hidden.
        """
        batches = self.maps(own, labels)[:, 1:].split(BATCH)
        # interpolation can give a map of only -1 some contrast, by rounding
        return torch.cat([semantic_masks(batch, size, percentile) & (batch > -1).flatten(2).any(dim=2)[..., None, None]
                          for batch in batches])

    def prevalence(self, winners, labels):
        """Share of a class's pictures that show a concept, `(class, count)` in [0, 1]; NaN for a class without any.

        A picture shows a concept that wins at least 0.5 % of its cells (4 of 28 x 28): fewer are strays of
        interpolation between neighbours.
        """
        winners, labels = np.asarray(winners), np.asarray(labels)
        index = np.arange(len(winners))[:, None, None] * (self.count + 1) + winners
        won = np.bincount(index.ravel(), minlength=len(winners) * (self.count + 1)).reshape(-1, self.count + 1)
        seen = won[:, 1:] >= LEAST_SEEN * winners[0].size
        return np.stack([seen[labels == label].mean(axis=0) if (labels == label).any() else np.full(self.count, np.nan)
                         for label in range(len(self.class_names))])

    def exemplars(self, own, labels, count=6):
        """The pictures of each class in which a concept has its highest cosine; concept k is entry k - 1."""
        maps = self.maps(own, labels)[:, 1:]
        best, peak = (values.numpy() for values in maps.flatten(2).max(dim=2))  # (picture, concept)
        grid, labels = np.array(maps.shape[2:]), np.asarray(labels)
        shape = (len(self.class_names), self.count, count)
        pictures, cells = np.full(shape, -1), np.full((*shape, 2), -1)
        for label in range(len(self.class_names)):
            members = np.flatnonzero(labels == label)
            for k in self.of_class(label) - 1:
                found = members[np.argsort(-best[members, k], kind="stable")[:count]]
                pictures[label, k, :len(found)] = found
                cells[label, k, :len(found)] = np.stack(np.divmod(peak[found, k], grid[1]), axis=1)
        return Exemplars(pictures, cells, np.where(cells < 0, np.nan, (cells + 0.5) / grid))

    def of_class(self, label):
        """Numbers of the concepts that a class has, in order, without the background."""
        return np.setdiff1d(self.members[label], [0])

    def renamed(self, names):
        """The same concepts under other names. Raises ValueError if these are not as many, all different."""
        return replace(self, names=tuple(names))

    def table(self):
        """A row per class and concept that it has: `class`, `concept`, `name`, `vectors` (their numbers), `count`."""
        rows = []
        for class_name, members in zip(self.class_names, self.members):
            for k in np.unique(members):
                vectors = np.flatnonzero(members == k)
                rows.append({"class": class_name, "concept": int(k), "name": self.names[k - 1] if k else "background",
                             "vectors": ", ".join(map(str, vectors)), "count": len(vectors)})
        return pd.DataFrame(rows)

    def to_dict(self):
        """Plain lists and texts, for JSON."""
        return {"members": self.members.tolist(), "names": list(self.names), "class_names": list(self.class_names)}

    @classmethod
    def from_dict(cls, values):
        """Concepts of `to_dict`. Raises ValueError for anything else."""
        try:
            return cls(np.array(values["members"]), tuple(values["names"]), tuple(values["class_names"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"values={values!r} are no concepts ({error!r}); give what to_dict gave") from error


def default_names(count):
    return tuple(f"concept {k}" for k in range(1, count + 1))
