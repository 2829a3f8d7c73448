"""Regions without a network: superpixels (SLIC: Achanta et al., IEEE TPAMI 2012) sorted by their looks.

S-XAI (Xu, Chen & Zhang, Advanced Science 2022, the paper's reference 34) lets people mark the superpixels of a picture
that show an eye, an ear and so on. Two stand-ins lie on either side of that: `asxai.methods.boxes` knows the true parts
and draws them as coarsely as a person with a mouse; here are the same superpixels, and nobody to say what they show.
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

from ..concepts.cells import MASK_SIZE
from ..data.datasets import spread_over
from ..data.pictures import to_batch
from .base import Method, covers_most

SIDE = 112  # pixels to which pictures are reduced before they are cut up: SLIC's time goes with the area
SEGMENTS = 40  # superpixels to aim for in a picture
COMPACTNESS = 10.0  # how much SLIC weighs nearness against colour
SMOOTHING = 1.0  # pixels, standard deviation: hair and noise cut no segment in two
LEAST_AREA = 0.25  # of the mean segment, below which one is joined to its neighbour; SLIC's 0.5 joins eyes to faces
LIKE_BORDER = 5.0  # CIELAB units, about twice a just noticeable difference: what is closer to the border's is scene
STARTS = 10  # of k-means
PICTURES = 100  # training pictures of a class that are sorted


class Superpixels(Method, name="superpixels"):
    """S-XAI's regions without a person: kinds of superpixels of each class, see `Kinds`, sorted with the study's seed.

    size: pixels at which pictures are read, by default those of the network. kinds: how many in each class `(class,)`,
    by default as many as the study has concepts there.
    """

    def __init__(self, size=None, kinds=None):
        self.size, self.given = size, kinds

    def learn(self):
        train, classes = self.study.data.train, range(len(self.study.class_names))
        counts, self.kinds = self.given or [len(self.study.concepts().of_class(label)) for label in classes], []
        for label, count in enumerate(counts):
            chosen = spread_over(train.take(train.labels == label), PICTURES)
            self.kinds.append(Kinds(count, self.study.config.seed).fit(self._read(chosen)))

    def names(self, label):
        return tuple(f"superpixel {k}" for k in range(1, self.kinds[label].count + 1))

    def maps(self, pictures, label):
        return self.kinds[label].masks(self._read(pictures))

    def won(self, split, label):
        """All superpixels of a kind, not only the one that is most like it."""
        return covers_most(self.kinds[label].masks(to_batch(split.paths, MASK_SIZE), every=True))

    def _read(self, pictures):
        if isinstance(pictures, torch.Tensor):
            return pictures if pictures.dtype == torch.uint8 else (pictures * 255).round().clamp(0, 255).byte()
        return to_batch(pictures.paths, self.size or self.study.config.size)


class _Segments(NamedTuple):
    """The superpixels of a picture: a number for each pixel at its reduced size, and those that may show the object."""

    map: np.ndarray  # whole numbers (side, side)
    kept: np.ndarray  # (segment,): numbers of those that are not scene
    looks: np.ndarray  # (segment, 7), of these: see `Kinds`


class Kinds:
    """Kinds of superpixels of one class, by what can be seen without a network. seed: of k-means.

    1. SLIC cuts every picture, reduced to 112 pixels, into superpixels.
    2. Those that touch the picture's border are scene and left out, and so are those whose mean colour is within 5
       CIELAB units of one of them; but at least `count` that do not touch it are kept, the least alike. A picture in
       which all touch the border keeps all. This loses objects that are cut off or camouflaged.
    3. Each is described by the mean of its CIELAB colour, the standard deviation of that (the root of the summed
       variances), how far down it lies (-1/2 to 1/2), how far to either side of the middle (0 to 1/2, for animals look
       left or right), and the root of its share of the picture: seven numbers, in standard deviations over the
       training pictures, for colours count in tens and positions in tenths.
    4. k-means over the superpixels of all training pictures gives the kinds, numbered by how many they have, the most
       first. Neither the order of pictures nor which others are in a batch matters.

    Nobody names the kinds, and nothing else tells scene from object: a cloud or a stone can get a kind, too.
    """

    def __init__(self, count, seed=0):
        self.count, self.seed = count, seed
        self.scale = self.centres = None  # (7,) and (kind, 7), the latter in units of the former

    def fit(self, pictures):
        """Find the kinds in pictures of a class, uint8 `(picture, 3, size, size)`. ValueError if there are too few."""
        # sorted, so that the order of the pictures does not decide where k-means starts
        looks = np.concatenate([segments.looks for segments in self._cut(pictures)]).round(9)
        looks = looks[np.lexsort(looks.T)]
        different = len(np.unique(looks, axis=0))
        if different < self.count:
            words = (
                f"{self.count} kinds, but the pictures have only {different} different superpixels that are no scene"
            )
            raise ValueError(f"{words}; use fewer kinds or more pictures")
        scale = looks.std(axis=0)
        self.scale = np.where(scale > 1e-9, scale, 1.0)
        means = KMeans(self.count, n_init=STARTS, random_state=self.seed).fit(looks / self.scale)
        members = np.bincount(means.labels_, minlength=self.count)
        # rounded: sums over several threads are added in any order
        self.centres = means.cluster_centers_[np.argsort(-members, kind="stable")].round(9)
        return self

    def masks(self, pictures, every=False):
        """Where each kind is, bool `(picture, kind, side, side)`, at the reduced size; no mask is empty.

        Each kind gets one superpixel, that nearest to its centre, and each another one (of all ways to hand them out,
        the least sum of squared distances), since who marks a superpixel as an eye does not mark it as an ear; only
        where there are fewer superpixels than kinds do some share theirs. every: it gets all that are nearer to its
        centre than to others', and the one where there are none.
        """
        masks = []
        for segments in self._cut(pictures):
            squares = cdist(self.centres, segments.looks / self.scale, "sqeuclidean")  # (kind, segment)
            chosen = _handed_out(squares)
            belongs = np.zeros((self.count, segments.map.max() + 1), bool)
            if every:
                nearest = squares.argmin(axis=0)
                belongs[nearest, segments.kept] = True
                chosen[np.isin(np.arange(self.count), nearest)] = -1
            kinds = np.flatnonzero(chosen >= 0)
            belongs[kinds, segments.kept[chosen[kinds]]] = True
            masks.append(belongs[:, segments.map])
        return torch.from_numpy(np.stack(masks))

    def _cut(self, pictures):
        """`_Segments` of each picture."""
        side = min(SIDE, pictures.shape[-1])
        for picture in pictures.cpu():
            small = F.interpolate(picture[None].float() / 255, size=(side, side), mode="area")[0]
            yield self._segments(small.permute(1, 2, 0).double().numpy())

    def _segments(self, pixels):
        segments = slic(pixels, SEGMENTS, COMPACTNESS, sigma=SMOOTHING, min_size_factor=LEAST_AREA, start_label=0)
        side, flat = len(segments), segments.ravel()
        area = np.bincount(flat)
        down, across = np.indices(segments.shape) / max(side - 1, 1) - 0.5
        values = [*rgb2lab(pixels).transpose(2, 0, 1), down, across]
        means = np.stack([np.bincount(flat, value.ravel()) for value in values], axis=1) / area[:, None]
        spread = np.square(np.stack(values[:3], axis=-1).reshape(-1, 3) - means[flat, :3]).sum(axis=1)
        texture, share = np.sqrt(np.bincount(flat, spread) / area), np.sqrt(area / side**2)
        looks = np.column_stack([means[:, :3], texture, means[:, 3], np.abs(means[:, 4]), share])
        border = np.unique([segments[[0, -1]], segments[:, [0, -1]].T])
        inner = np.setdiff1d(flat, border)
        if not len(inner):
            return _Segments(segments, border, looks[border])
        difference = cdist(looks[inner, :3], looks[border, :3]).min(axis=1)
        order = np.argsort(-difference, kind="stable")
        kept = np.sort(inner[order[: max(self.count, (difference > LIKE_BORDER).sum())]])
        return _Segments(segments, kept, looks[kept])


def _handed_out(squares):
    """The segment of each kind, `(kind,)`, of `(kind, segment)`: each its own if there are enough, else the nearest."""
    chosen = squares.argmin(axis=1)
    kinds, segments = linear_sum_assignment(squares)
    chosen[kinds] = segments
    return chosen
