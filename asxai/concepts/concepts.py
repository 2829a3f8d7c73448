"""Semantic concepts: basis vectors that turning exchanges, matched across classes, without labels of parts.

    concepts = study.concepts()                           # grouped on training pictures, and named
    activations = own_class_maps(study, study.data.test)  # cosines with the vectors of each picture's own class
    winners = concepts.winners(activations, labels)       # the concept of each cell, for `asxai.benchmarks.agreement`

The paper's published code sorts pictures of masks into concept folders by hand. A concept is a number 1..count with
members in one or more classes; 0 is the background. `activations` are always `(picture, basis, height, width)`, of
each picture's own class. Maps and masks are tensors, whole numbers are NumPy arrays.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from .cells import CELLS
from .masks import semantic_masks, upsample

LEAST_SEEN = 0.005  # share of a picture's cells, 4 of 28 x 28: fewer are strays of interpolation between neighbours
BATCH = 64  # pictures whose maps are held at picture resolution at once


class Exemplars(NamedTuple):
    """Where each concept fires most strongly in a class; -1 (points: NaN) where there are fewer pictures, or none."""

    pictures: np.ndarray  # (class, concept, exemplar): index of the picture, the strongest first
    points: np.ndarray  # (class, concept, exemplar, 2): the middle of the best cell, down and across, from 0 to 1


@dataclass(frozen=True, eq=False)
class Concepts:
    """Which basis vectors make up which concept. Made by `find_concepts`; entry k - 1 of `names` is concept k's."""

    members: np.ndarray  # int64 (class, basis): 0 is background, k is concept k
    names: tuple
    class_names: tuple
    by_class: dict = field(default_factory=dict)  # (class, k): what concept k is called there, instead of its name

    def __post_init__(self):
        names, numbers = self.names, set(np.unique(self.members).tolist())
        if numbers | {0} != set(range(len(names) + 1)) or len(self.members) != len(self.class_names):
            raise ValueError(
                f"members {self.members.shape} hold {sorted(numbers)}; with {len(names)} names and "
                f"{len(self.class_names)} class names they must be (class, basis) and hold each of 1 to {len(names)}"
            )
        if len(set(names)) < len(names) or not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError(f"names={names!r} must be different texts, none empty, one per concept")

    @property
    def count(self) -> int:
        """Number of concepts, without the background."""
        return len(self.names)

    def maps(self, activations, labels) -> torch.Tensor:
        """Highest cosine over a concept's members, `(picture, count + 1, height, width)`; index 0 is background.

        -1, below all real cosines, where the picture's class has no member of the concept.
        """
        activations = torch.as_tensor(activations)
        member = torch.from_numpy(self.members[np.asarray(labels)])[..., None, None].expand(activations.shape)
        lowest = activations.new_full((len(activations), self.count + 1, *activations.shape[2:]), -1)
        return lowest.scatter_reduce(1, member, activations, "amax")

    def winners(self, activations, labels, cells: int = CELLS) -> np.ndarray:
        """The concept of the highest cosine on `cells` x `cells` cells, int64 `(picture, cells, cells)`."""
        batches = zip(torch.as_tensor(activations).split(BATCH), torch.as_tensor(labels).split(BATCH))
        return torch.cat([upsample(self.maps(*batch), cells).argmax(dim=1) for batch in batches]).numpy()

    def masks(self, activations, labels, size: int, percentile: float = 95.0) -> torch.Tensor:
        """Irregular masks, bool `(picture, count, size, size)`; all False where the class lacks the concept.

        As in `semantic_masks`: a mask covers its share of every picture, also of one in which the concept is hidden.
        """
        masks = []
        for batch in self.maps(activations, labels)[:, 1:].split(BATCH):
            # interpolation can give a map of only -1 some contrast, by rounding
            present = (batch > -1).flatten(2).any(dim=2)[..., None, None]
            masks.append(semantic_masks(batch, size, percentile) & present)
        return torch.cat(masks)

    def prevalence(self, winners: np.ndarray) -> np.ndarray:
        """Share of pictures in which each concept wins at least 0.5 % of the cells, `(count,)`, in [0, 1].

        winners: `(picture, cells, cells)`
        """
        cells = np.stack([(winners == k).sum(axis=(1, 2)) for k in range(1, self.count + 1)], axis=1)
        return (cells >= LEAST_SEEN * winners[0].size).mean(axis=0)

    def exemplars(self, activations, labels, count: int = 6) -> Exemplars:
        """The pictures of each class in which a concept has its highest cosine; concept k is entry k - 1."""
        maps = self.maps(activations, labels)[:, 1:]
        best, peak = (values.numpy() for values in maps.flatten(2).max(dim=2))  # (picture, concept)
        height, width = maps.shape[2:]
        shape = (len(self.class_names), self.count, count)
        pictures, points = np.full(shape, -1), np.full((*shape, 2), np.nan)
        for label in range(len(self.class_names)):
            members = np.flatnonzero(np.asarray(labels) == label)
            for k in self.of_class(label) - 1:
                strongest = members[np.argsort(-best[members, k], kind="stable")[:count]]
                cells = np.stack(np.divmod(peak[strongest, k], width), axis=1)
                pictures[label, k, : len(strongest)] = strongest
                points[label, k, : len(strongest)] = (cells + 0.5) / (height, width)
        return Exemplars(pictures, points)

    def of_class(self, label: int) -> np.ndarray:
        """Numbers of the concepts that a class has, in order, without the background."""
        return np.setdiff1d(self.members[label], [0])

    def renamed(self, names) -> "Concepts":
        """The same concepts under other names. Raises ValueError if these are not as many, all different."""
        return replace(self, names=tuple(names), by_class={})

    def names_in(self, label: int) -> tuple:
        """What concepts are called in a class: by another name, or "concept k", where that of concept k is not true."""
        return tuple(self.by_class.get((label, k), name) for k, name in enumerate(self.names, 1))

    def known_names(self) -> dict:
        """Every name of a concept, also "concept k", and the concept's number."""
        numbered = {name: k for names in (default_names(self.count), self.names) for k, name in enumerate(names, 1)}
        return {name: k for (_, k), name in self.by_class.items()} | numbered

    def table(self) -> pd.DataFrame:
        """A row per class and concept that it has: `class`, `concept`, `name`, `vectors` (their numbers), `count`.

        `called` is its name in this class: another one, or a number, where the name of all classes is not true.
        """
        rows = []
        for label, (class_name, members) in enumerate(zip(self.class_names, self.members)):
            for k in np.unique(members):
                vectors, name = np.flatnonzero(members == k), self.names[k - 1] if k else "background"
                called = self.names_in(label)[k - 1] if k else name
                rows.append((class_name, int(k), name, called, ", ".join(map(str, vectors)), len(vectors)))
        return pd.DataFrame(rows, columns=["class", "concept", "name", "called", "vectors", "count"])

    def to_dict(self) -> dict:
        """Plain lists and texts, for JSON."""
        values = {"members": self.members.tolist(), "names": list(self.names), "class_names": list(self.class_names)}
        return values | {"by_class": sorted([*key, name] for key, name in self.by_class.items())}

    @classmethod
    def from_dict(cls, values: dict) -> "Concepts":
        """Concepts of `to_dict`."""
        by_class = {(label, k): name for label, k, name in values.get("by_class", ())}
        return cls(np.array(values["members"]), tuple(values["names"]), tuple(values["class_names"]), by_class)


def default_names(count: int) -> tuple:
    """Names of concepts 1..count that nobody has named."""
    return tuple(f"concept {k}" for k in range(1, count + 1))
