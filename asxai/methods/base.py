"""One contract for all that is compared: a short file that says where a method sees what enters every benchmark.

    class Halves(Method, name="halves"):  # the name under which METHODS and every table have it
        def names(self, label):
            return "upper", "lower"

        def maps(self, pictures, label):
            upper = torch.arange(10) < 5
            return torch.stack([upper, ~upper])[:, :, None].expand(len(pictures), 2, 10, 10)

    method = METHODS["halves"]().fit(study)
    method.winners(study.data.test)

As in pytorch-grad-cam a method says one thing, its maps. Masks, winners, peaks, regions and removals follow from them.

`pictures` are a `Split` of the study's data set, or a tensor `(picture, 3, size, size)`, uint8 or from 0 to 1, where a
method can do with pixels. A split is the rule, for it has what pixels lack: features on disk, hashes that name what is
kept, files to be read at any size, true parts for what stands for a person. A tensor is for pictures that are on no
disk: with noise, or with something hidden.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.exceptions import NotFittedError

from ..concepts import cells
from ..concepts.cells import CELLS, MASK_SIZE, cell_parts
from ..concepts.masks import Region, conceal, semantic_masks, upsample
from ..data.datasets import Split
from ..data.features import BATCH, Rows, split_features
from ..data.pictures import to_batch
from ..statistics import evenly

if TYPE_CHECKING:
    from ..study import Study

METHODS: dict[str, type["Method"]] = {}


class Method(ABC):
    """A way to concepts. Subclasses are registered by their name; a name twice is a ValueError.

    Maps are floating point, the stronger the larger, at any resolution; or bool, where a method knows regions and no
    strengths: then there are no peaks, and masks are the maps.
    """

    name = ""
    percentile = 95.0  # of a map: above it lies the mask
    matched = False  # names mean the same in every class, where several have them
    knows_parts = False  # of the very pictures that it explains: then agreement with parts says nothing
    explains = ""  # the network that `scores` are of, where several methods explain one; else it is the method's own
    told = "nothing"  # what a person has to say of training pictures beyond their classes, such as "parts"

    def __init_subclass__(cls, name: str = ""):
        there = METHODS.get(name, cls)  # the same class again is a cell of a notebook that ran twice
        if (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"name={name!r} is that of {there.__module__}.{there.__qualname__}; choose another")
        if name:
            cls.name, METHODS[name] = name, cls

    def fit(self, study: "Study") -> "Method":
        """Get ready for a study, from its training pictures and its seed; itself. `learn` does what there is to do."""
        if self.needs_parts and not study.data.part_names:
            raise ValueError(f"{self.name!r} needs part masks, which {study.data.name!r} lacks; use a drawn data set")
        self.study = study
        self.learn()
        return self

    @property
    def needs_parts(self) -> bool:
        """Whether there must be part masks."""
        return self.knows_parts or self.told != "nothing"

    def __getattr__(self, name):  # only of what is not there
        if name.startswith("_") or "study" in vars(self):
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        raise NotFittedError(f"{self.name!r} has no {name!r} before it is fitted; call fit(study) first")

    # --- What a method says ---

    def learn(self):  # noqa: B027
        """What `fit` does with `self.study`: by default nothing."""

    @abstractmethod
    def names(self, label: int) -> tuple[str, ...]:
        """The concepts of a class; none where a method only predicts."""

    @abstractmethod
    def maps(self, pictures: Split | torch.Tensor, label: int) -> torch.Tensor:
        """Where each concept of a class is, `(picture, concept, height, width)`; pictures are explained as of it."""

    def prototypes(self, pictures: Split | torch.Tensor, label: int) -> torch.Tensor:
        """Maps of what concepts are made up of, whose peaks are judged: by default the concepts themselves."""
        return self.maps(pictures, label)

    def importance(self, pictures: Split | torch.Tensor, label: int) -> torch.Tensor | None:
        """How much each concept speaks for the class, `(picture, concept)`; None where a method does not say."""
        return None

    def predict(self, pictures: Split | torch.Tensor) -> np.ndarray | None:
        """Probabilities `(picture, class)`; None where a method explains and does not decide."""
        return None

    def scores(self, pictures: Split | torch.Tensor) -> torch.Tensor | None:
        """Logits `(picture, class)` of the network that is explained; None where a method explains none."""
        return None

    def evidence(self, pictures: Split | torch.Tensor, label: int) -> torch.Tensor | None:
        """How much each place speaks for a class, `(picture, height, width)`; None where a method does not say.

        By default each concept's `importance`, `placed` where its map is high.
        """
        importance = self.importance(pictures, label)
        return None if importance is None else placed(importance, self.maps(pictures, label), self.percentile)

    def vectors(self) -> dict[str, torch.Tensor]:
        """Trained vectors `(class, vector, channel)`, by what tables add to a measure's name, such as " before"."""
        return {}

    # --- What follows ---

    def has_concepts(self) -> bool:
        """Whether there is more than predictions."""
        return any(self.names(label) for label in range(len(self.study.class_names)))

    def masks(self, pictures: Split | torch.Tensor, label: int, size: int) -> torch.Tensor:
        """Where each concept lies, bool `(picture, concept, size, size)`."""
        maps = self.maps(pictures, label)
        if maps.dtype == torch.bool:
            return resized(maps, size)
        return torch.cat([semantic_masks(batch, size, self.percentile) for batch in maps.split(BATCH)])

    def regions(self, label: int, split: Split, size: int | None = None) -> Region:
        """Names and masks as `asxai.traits` takes them; concepts that no picture shows are left out."""
        masks = self.masks(split, label, size or self.study.config.size)
        seen = masks.flatten(2).any(2).any(0)
        return Region(tuple(name for name, there in zip(self.names(label), seen) if there), masks[:, seen])

    def removed(self, split: Split, label: int, keep: bool = False, fill: str = "black") -> torch.Tensor:
        """Pictures without each concept, or with only that left (keep): uint8 `(concept, picture, 3, size, size)`."""
        size = self.study.config.size
        pictures, masks = to_batch(split.paths, size), self.masks(split, label, size)
        return torch.stack([conceal(pictures, mask, keep, fill) for mask in masks.unbind(1)])

    def winners(self, split: Split) -> np.ndarray:
        """The concept that wins each cell, int64 `(picture, 28, 28)`: k is the k-th of the class, 0 is none."""
        result = np.zeros((len(split), CELLS, CELLS), np.int64)
        for label in np.unique(split.labels):
            members = np.flatnonzero(split.labels == label)
            result[members] = self.won(split.take(members), int(label))
        return result

    def matched_winners(self, split: Split) -> np.ndarray:
        """`winners` with the same number for the same name in every class, int64 `(picture, 28, 28)`."""
        winners, numbers = self.winners(split), {}
        for label in np.unique(split.labels):
            own = [numbers.setdefault(name, len(numbers) + 1) for name in self.names(int(label))]
            winners[split.labels == label] = np.array([0, *own])[winners[split.labels == label]]
        return winners

    def won(self, split: Split, label: int) -> np.ndarray:
        """`winners` of one class: the strongest, or the region that covers most. With a background, override this."""
        maps = self.maps(split, label)
        if maps.dtype == torch.bool:
            return covers_most(maps)
        return torch.cat([upsample(batch, CELLS).argmax(1) for batch in maps.split(BATCH)]).numpy() + 1

    def peaks(self, pictures: Split | torch.Tensor, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Highest values of `prototypes`, `(picture, prototype)`, and their pixels of 224 `(picture, prototype, 2)`."""
        best, at, grid = _highest(self.prototypes(pictures, label))
        return best.numpy(), ((at + 0.5) * MASK_SIZE / grid).long().numpy()

    def exemplars(self, label: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per concept of a class the training pictures (numbers in that split) that show it best, and where.

        Points are `(picture, 2)`, down and across from 0 to 1: the peak, in the pictures where that is highest. Of
        regions it is the middle of their cells, in pictures that are evenly spread.
        """
        train = self.study.data.train
        members = np.flatnonzero(train.labels == label)
        some = members[evenly(len(members), count)]
        maps = self.maps(train.take(some), label)
        if maps.dtype == torch.bool:
            masks = resized(maps, backbone_grid(self.study)).double().numpy()
            return [(some[own.any((1, 2))], _middles(own[own.any((1, 2))])) for own in masks.swapaxes(0, 1)]
        best, at, grid = (values.numpy() for values in _highest(self.maps(train.take(members), label)))
        order = np.argsort(-best, axis=0, kind="stable")[:count]
        return [(members[own], (at[own, k] + 0.5) / grid) for k, own in enumerate(order.T)]


def fitted(method: str | Method, study: "Study") -> Method:
    """A method by its name in METHODS, or one that is made already, fitted to a study."""
    if isinstance(method, str) and method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; use one of {', '.join(METHODS)}, or import its module first")
    method = METHODS[method]() if isinstance(method, str) else method
    return method if vars(method).get("study") is study else method.fit(study)


@torch.inference_mode()
def features(model, pictures: Split | torch.Tensor, size: int) -> Rows | torch.Tensor:
    """Output of a network's fixed part `(picture, channel, height, width)`; that of a split comes from the cache.

    What has not three channels is that output already, so that methods on one backbone can share it.
    """
    if isinstance(pictures, Split):
        return split_features(model, pictures, size)[0]
    if pictures.shape[1] != 3:
        return pictures
    device = next(model.parameters()).device
    return torch.cat([model.features(batch.to(device)).cpu() for batch in pictures.split(BATCH)])


def placed(values: torch.Tensor, maps: torch.Tensor, percentile: float) -> torch.Tensor:
    """Values `(picture, concept)` laid where each of maps `(picture, concept, height, width)` exceeds its percentile.

    Their sum over concepts, `(picture, height, width)`: a map of which the whole is the sum of the values.
    """
    flat = maps.float().flatten(2)
    above = (flat - flat.quantile(percentile / 100, dim=2, keepdim=True)).clamp(min=0)
    shares = above / above.sum(dim=2, keepdim=True).clamp(min=1e-12)
    return torch.einsum("pk,pkn->pn", values.float(), shares).unflatten(1, maps.shape[2:])


def backbone_maps(study: "Study", pictures: Split | torch.Tensor) -> torch.Tensor:
    """The backbone's last maps, `(picture, channel, height, width)`."""
    return cells.backbone_maps(study, features(study.model, pictures, study.config.size))


def backbone_grid(study: "Study") -> int:
    """Side of these maps."""
    return backbone_maps(study, study.data.test.take([0])).shape[-1]


def resized(masks: torch.Tensor, size: int) -> torch.Tensor:
    """Masks `(..., side, side)` with another side: nearest neighbours if larger, cells that are covered if smaller.

    A cell is covered if half of it is, and so is that which is covered most; an empty mask has none.
    """
    side = masks.shape[-1]
    if size >= side:
        fine = torch.arange(size) * side // size
        return masks[..., fine[:, None], fine]
    share = F.adaptive_avg_pool2d(masks.flatten(0, -3).float(), size).view(*masks.shape[:-2], size, size)
    return (share > 0) & ((share >= 0.5) | (share == share.amax(dim=(-2, -1), keepdim=True)))


def covers_most(masks: torch.Tensor) -> np.ndarray:
    """Which of masks `(picture, concept, side, side)` covers most of each cell, `(picture, 28, 28)`; 0 if none does.

    Where masks share pixels these are the last one's.
    """
    numbers = torch.arange(1, masks.shape[1] + 1)[:, None, None]
    return cell_parts((resized(masks, MASK_SIZE) * numbers).amax(dim=1).numpy())


def _highest(maps):
    """Highest values `(picture, concept)`, row and column of their cells, and the shape of the grid."""
    best, at = maps.flatten(2).max(dim=2)
    return best, torch.stack([at // maps.shape[3], at % maps.shape[3]], dim=2), torch.tensor(maps.shape[2:])


def _middles(masks):
    """The middle of masks `(picture, side, side)`, down and across from 0 to 1, `(picture, 2)`."""
    places = (np.arange(masks.shape[1]) + 0.5) / masks.shape[1]
    return np.stack([masks.sum(axis=2) @ places, masks.sum(axis=1) @ places], axis=1) / masks.sum((1, 2))[:, None]
