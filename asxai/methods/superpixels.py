"""Regions of concepts without a network: what S-XAI's manual annotation is replaced by.

    boxes = part_boxes(split.part_masks(336), len(part_names))                  # bool (picture, part, 336, 336)
    superpixels = Superpixels(count=6).fit(to_batch(train.paths, 336))          # training pictures of one class
    masks = superpixels.masks(to_batch(test.paths, 336))                        # bool (picture, 6, 336, 336)

S-XAI (Li et al., Advanced Science 2022, the paper's reference 34) lets people mark the superpixels of a picture that
show an eye, an ear and so on. Two stand-ins lie on either side of that: `part_boxes` knows the true parts and draws
them as coarsely as a person with a mouse; `Superpixels` has the same superpixels and nobody to say what they show, so
it sorts them by their looks.

References
    SLIC: Achanta et al., IEEE TPAMI 2012.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from skimage.color import rgb2lab
from skimage.segmentation import slic
from sklearn.cluster import KMeans

from ..concepts.cells import MASK_SIZE, cell_parts
from ..concepts.masks import Region
from ..data.datasets import spread_over
from ..data.features import BATCH
from ..data.pictures import check_whole, to_batch
from .boxes import check_number

SIDE = 112  # pixels to which pictures are reduced before they are cut up: SLIC's time goes with the area
SMOOTHING = 1.0  # pixels, standard deviation: hair and noise cut no segment in two
LEAST_AREA = 0.25  # of the mean segment, below which one is joined to its neighbour; SLIC's 0.5 joins eyes to faces
LIKE_BORDER = 5.0  # CIELAB units, about twice a just noticeable difference: what is closer to the border's is scene
STARTS = 10  # of k-means
PICTURES_AT_ONCE = 64  # pictures that are held as floating point at once


class _Segments(NamedTuple):
    """The superpixels of a picture: a number for each pixel at its reduced size, and those that may show the object."""

    map: np.ndarray  # whole numbers (side, side)
    kept: np.ndarray  # (segment,): numbers of those that are not scene
    looks: np.ndarray  # (segment, 7), of these: see `Superpixels`


class Superpixels:
    """Kinds of superpixels of one class, by what can be seen without a network.

    count: kinds to find. segments: superpixels to aim for in a picture. compactness: how much SLIC weighs nearness
    against colour. seed: of k-means.

    1. SLIC cuts every picture, reduced to 112 pixels, into superpixels.
    2. Those that touch the picture's border are scene and left out, and so are those whose mean colour is within 5
       CIELAB units of one of them; but at least `count` that do not touch it are kept, the least alike. This loses
       objects that are cut off or camouflaged, and keeps scene of a colour of its own. A picture in which all touch the
       border keeps all.
    3. Each is described by the mean of its CIELAB colour (three numbers), the standard deviation of that (the root of
       the summed variances), how far down it lies and how far to either side of the middle, from -1/2 to 1/2 and 0 to
       1/2 (animals look left or right), and the root of its share of the picture. All seven are divided by their
       standard deviation over the training pictures: colours count in tens and positions in tenths, so that otherwise
       kinds would differ in lightness alone.
    4. k-means over the superpixels of all training pictures gives the kinds, numbered by how many they have, the most
       first. Neither the order of pictures nor which others are in a batch matters.

    Nobody names the kinds, and nothing else tells scene from object: a cloud or a stone can get a kind, too.
    """

    def __init__(self, count, segments=40, compactness=10.0, seed=0):
        check_whole("count", count, 1)
        check_whole("segments", segments, 1)
        check_whole("seed", seed, 0)
        if segments < count:
            raise ValueError(f"segments={segments} are fewer than count={count}, the kinds that each picture should "
                             f"show; use several times as many, such as {10 * count}")
        check_number("compactness", compactness, np.nextafter(0, 1), "above 0, such as 10")
        self.count, self.segments, self.compactness, self.seed = count, segments, float(compactness), seed
        self.scale = self.centres = None  # (7,) and (kind, 7), the latter in units of the former

    def fit(self, pictures):
        """Find the kinds in training pictures of one class, uint8 `(picture, 3, size, size)` of `to_batch`; itself.

        Raises ValueError for another type or shape, no pictures, or fewer different superpixels than kinds.
        """
        # in an order of their own, so that that of the pictures does not decide where k-means starts
        looks = np.concatenate([found.looks for found in self._cut(pictures)]).round(9)
        looks = looks[np.lexsort(looks.T)]
        different = len(np.unique(looks, axis=0))
        if different < self.count:
            raise ValueError(f"count={self.count}, but the pictures have only {different} different superpixels that "
                             "are not scene; use fewer kinds, more pictures or more segments")
        scale = looks.std(axis=0)
        self.scale = np.where(scale > 1e-9, scale, 1.0)
        means = KMeans(self.count, n_init=STARTS, random_state=self.seed).fit(looks / self.scale)
        members = np.bincount(means.labels_, minlength=self.count)
        # rounded: sums over several threads are added in any order
        self.centres = means.cluster_centers_[np.argsort(-members, kind="stable")].round(9)
        return self

    def masks(self, pictures, every=False):
        """Where each kind is in pictures of the class, bool `(picture, kind, size, size)`.

        every: False gives each kind one superpixel, that nearest to its centre, a different one for each kind (of all
            ways to hand them out, the least sum of squared distances), since who marks a superpixel as an eye does not
            mark it as an ear. True gives it all that are nearer to its centre than to others', and the one where there
            are none.

        No mask is empty; where a picture has fewer superpixels than there are kinds, some kinds share theirs. Raises
        ValueError as `fit` does, or if that has not been called.
        """
        if self.centres is None:
            raise ValueError("these superpixels have no kinds yet; call fit with training pictures of the class first")
        masks = []
        for found in self._cut(pictures):
            squares = cdist(self.centres, found.looks / self.scale, "sqeuclidean")  # (kind, segment)
            chosen = _handed_out(squares)
            belongs = np.zeros((self.count, found.map.max() + 1), bool)
            if every:
                nearest = squares.argmin(axis=0)
                belongs[nearest, found.kept] = True
                chosen[np.isin(np.arange(self.count), nearest)] = -1
            kinds = np.flatnonzero(chosen >= 0)
            belongs[kinds, found.kept[chosen[kinds]]] = True
            masks.append(belongs[:, found.map])
        masks, size = np.stack(masks), np.shape(pictures)[-1]
        fine = np.arange(size) * masks.shape[-1] // size  # nearest neighbour
        return torch.from_numpy(masks[..., fine[:, None], fine])

    def _cut(self, pictures):
        """`_Segments` of each picture."""
        pictures = torch.as_tensor(pictures)
        if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.dtype != torch.uint8 \
                or pictures.shape[2] != pictures.shape[3]:
            raise ValueError(f"pictures {pictures.dtype} {tuple(pictures.shape)} must be uint8 (picture, 3, size, "
                             "size), as to_batch gives them")
        if not pictures.numel():
            raise ValueError(f"pictures {tuple(pictures.shape)} hold no pixel; give at least one picture")
        side = min(SIDE, pictures.shape[-1])
        for batch in pictures.cpu().split(PICTURES_AT_ONCE):
            small = F.interpolate(batch.float() / 255, size=(side, side), mode="area").permute(0, 2, 3, 1)
            for pixels in small.double().numpy():
                yield self._segments(pixels)

    def _segments(self, pixels):
        segments = slic(pixels, self.segments, self.compactness, sigma=SMOOTHING, min_size_factor=LEAST_AREA,
                        start_label=0)
        side, flat = len(segments), segments.ravel()
        area = np.bincount(flat)
        down, across = np.indices(segments.shape) / max(side - 1, 1) - 0.5
        values = [*rgb2lab(pixels).transpose(2, 0, 1), down, across]
        means = np.stack([np.bincount(flat, value.ravel()) for value in values], axis=1) / area[:, None]
        spread = np.square(np.stack(values[:3], axis=-1).reshape(-1, 3) - means[flat, :3]).sum(axis=1)
        looks = np.column_stack([means[:, :3], np.sqrt(np.bincount(flat, spread) / area), means[:, 3],
                                 np.abs(means[:, 4]), np.sqrt(area / side**2)])
        border = np.unique([segments[[0, -1]], segments[:, [0, -1]].T])
        inner = np.setdiff1d(flat, border)
        if not len(inner):
            return _Segments(segments, border, looks[border])
        difference = cdist(looks[inner, :3], looks[border, :3]).min(axis=1)
        order = np.argsort(-difference, kind="stable")
        kept = np.sort(inner[order[:max(self.count, (difference > LIKE_BORDER).sum())]])
        return _Segments(segments, kept, looks[kept])


def _handed_out(squares):
    """The segment of each kind, `(kind,)`, of `(kind, segment)`: each its own if there are enough, else the nearest."""
    chosen = squares.argmin(axis=1)
    kinds, segments = linear_sum_assignment(squares)
    chosen[kinds] = segments
    return chosen


def superpixel_regions(study, kinds):
    """S-XAI's regions without a person: kinds of SLIC superpixels, as many in each class as `kinds` `(class,)` says."""
    fitted = {}

    def regions(label, split):
        if label not in fitted:
            train = study.data.train
            chosen = spread_over(train.take(train.labels == label), 100)
            fitted[label] = Superpixels(int(kinds[label])).fit(to_batch(chosen.paths, study.config.size))
        masks = torch.as_tensor(fitted[label].masks(to_batch(split.paths, study.config.size)))
        return Region(tuple(f"superpixel {k + 1}" for k in range(masks.shape[1])), masks)

    return regions


class SortedSuperpixels:
    """S-XAI's regions without a person, as in `asxai.methods.superpixels.superpixel_regions`; the study's seed sorts them.

    kinds: how many in each class, `(class,)`
    """

    def __init__(self, study, kinds):
        self.study, self.kinds = study, [int(count) for count in kinds]
        self._fitted, self._regions = {}, {}

    def of_class(self, label):
        if label not in self._fitted:
            train = self.study.data.train
            chosen = spread_over(train.take(train.labels == label), 100)
            self._fitted[label] = Superpixels(self.kinds[label], seed=self.study.config.seed).fit(
                to_batch(chosen.paths, SIDE))
        return self._fitted[label]

    def __call__(self, label, split):
        """A `Region` with masks of the side that pictures have when they are cut up."""
        key = label, split.hashes
        if key not in self._regions:
            masks = torch.as_tensor(self.of_class(label).masks(to_batch(split.paths, SIDE)))
            self._regions[key] = Region(tuple(f"superpixel {k + 1}" for k in range(masks.shape[1])), masks)
        return self._regions[key]

    def winners(self, split):
        """The kind that covers most of each cell, `(picture, cells, cells)` as of `Concepts.winners`; 0: scene."""
        winners = [None] * len(split)
        for label in np.unique(split.labels):
            members = np.flatnonzero(split.labels == label)
            for part in np.array_split(members, -(-len(members) // BATCH)):
                masks = self.of_class(label).masks(to_batch(split.take(part).paths, MASK_SIZE), every=True).numpy()
                numbers = np.arange(1, masks.shape[1] + 1)[:, None, None]
                for i, own in zip(part, cell_parts((masks * numbers).max(axis=1))):
                    winners[i] = own
        return np.stack(winners)
