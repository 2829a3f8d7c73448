"""Parts without part labels: which patches of a class's pictures show the same thing.

Training starts from this guess (objective "parts"): every basis vector stands for one group of patches of its class.
The guess uses pictures and class labels only, in three steps.

1. Objects against scenes. A network trained on objects attends to some patches and not to others, and the first
   principal component of all patches is this difference (seen for transformers by Oquab et al., DINOv2, 2023). The
   border of the pictures says which of its ends is the scene. The component smears, for the field of view of a patch
   beside an object contains the object. Colours do not smear: each picture's patches are sorted by the colours of its
   clearest object and scene patches (the idea of GrabCut: Rother et al., ACM TOG 2004). This errs from picture to
   picture. A linear discriminant of the features, fitted on all these guesses, keeps what they have in common.
2. Groups. The mean over a picture's object patches is subtracted: an animal's fur or a petal's colour varies between
   pictures more than parts differ within one. Then come Gaussian mixtures with one covariance for all components.
   k-means would cut along the directions in which every part varies; the shared covariance divides them out (Ding & Li,
   ICML 2007, show the same for k-means with discriminant analysis).
3. Consensus. Several mixtures that differ in start, size and dimensions vote. Patches that are mostly put together are
   one group (evidence accumulation: Fred & Jain, IEEE TPAMI 2005). A mixture depends on its start, the vote much less.

Such a mixture gives class probabilities that are a softmax of linear functions of the features, so that the groups of a
new picture cost one matrix product.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from ..data.features import BATCH
from ..data.pictures import to_batch

MIXTURES = ((8, 30), (9, 50), (10, 50), (11, 30), (12, 70), (14, 50), (16, 70))  # components, principal components
PATCHES, LINKED = 2000, 1500  # sampled per class for a mixture, and for the consensus
SAMPLE, PATCHES_SEEN = 400, 20000  # pictures and patches that tell objects from scenes
CLEAREST = 0.1, 0.4  # share of a picture's patches that are surely object, and surely scene, for its colours
AT_ONCE = 64  # pictures


class Objectness:
    """Which patches show objects, from the features `(picture, channel, height, width)` of training pictures.

    pictures: the same pictures for `asxai.data.pictures.read_picture`, for their colours; without them the first
    principal component has to do. At most `SAMPLE` pictures are looked at, drawn by `seed`.
    Along the first component, and along the discriminant, patches fall into scene, rim and object by three-means; those
    nearest to the last are object. The sign is such that the outermost ring of the grids is more scene than the rest.
    """

    def __init__(self, features: Tensor, pictures: list[Path] | None = None, seed: int = 0):
        rng = np.random.default_rng([seed, 10])
        chosen = np.sort(rng.permutation(len(features))[:SAMPLE])
        sample = features[chosen].float()
        self.mean = sample.mean(dim=(0, 2, 3), keepdim=True)
        self.std = sample.std(dim=(0, 2, 3), keepdim=True) + 1e-6
        x = self.unit(sample)
        patches = _some(_patches(x), PATCHES_SEEN, rng).double()
        self.centre = patches.mean(0).float()
        _, directions = torch.linalg.eigh(torch.cov(patches.T))
        self.direction = directions[:, -1].float()
        score = self.score(x)
        ring = torch.ones(x.shape[2:], dtype=torch.bool)
        ring[1:-1, 1:-1] = False
        if score[:, ring].mean() > score.mean():
            self.direction, score = -self.direction, -score
        self.threshold = _upper_threshold(score)
        if pictures is not None:
            colours = _cell_colours([pictures[i] for i in chosen], x.shape[2:])
            self._sharpen(x, score, _guess_by_colour(colours, score), rng)

    def _sharpen(self, x, score, guess, rng):
        """Fit the discriminant on what the colours are sure of; an object must also be one by the first component."""
        surely = [(guess > 1) & (score > self.threshold), guess < -1]  # object, scene
        sets = [_some(_patches(x)[mask.flatten()], PATCHES_SEEN, rng).double()[None] for mask in surely]
        if min(one.shape[1] for one in sets) > x.shape[1]:  # else colours tell nothing here
            weight, _ = _discriminant(*sets, *(one.new_ones(one.shape[:2]) for one in sets), ridge=1e-3)
            self.direction = weight[0].float()
            self.threshold = _upper_threshold(self.score(x))

    def unit(self, features: Tensor) -> Tensor:
        """Standardised features at length one, `(picture, channel, height, width)`: bright patches weigh no more."""
        return F.normalize((features.float() - self.mean) / self.std, dim=1)

    def score(self, x: Tensor) -> Tensor:
        """How much of an object, by `unit(features)`: the higher the surer, `(picture, height, width)`."""
        return ((x - self.centre[:, None, None]) * self.direction[:, None, None]).sum(1)

    def of(self, x: Tensor) -> Tensor:
        """Whether a patch of `unit(features)` is object, bool `(picture, height, width)`."""
        return self.score(x) > self.threshold

    @torch.inference_mode()
    def __call__(self, features: Tensor) -> Tensor:
        """Whether a patch is object, bool `(picture, height, width)`, for features of any pictures."""
        return torch.cat([self.of(self.unit(part)) for part in features.split(AT_ONCE)])


class PartGroups:
    """Groups of patches per class, made on training features; see the module's docstring.

    features: `(picture, channel, height, width)`, of the training pictures as they are, without augmentation.
    labels: `(picture,)`. groups: object groups per class. scenes: groups that the scene patches of a class are split
    into. seed: of the samples and starts. pictures: as `Objectness` takes them.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        groups: int,
        scenes: int = 1,
        seed: int = 0,
        pictures: list | None = None,
    ):
        self.groups, self.scenes = groups, scenes
        rng = np.random.default_rng([seed, 20])
        self.objects = Objectness(features, pictures, seed)
        classes = range(int(labels.max()) + 1)
        self.classes = [self._fit_class(features[_members(labels, label, seed)], rng) for label in classes]

    @torch.inference_mode()
    def assign(self, features: Tensor, labels: Tensor) -> Tensor:
        """Group of every patch, uint8 `(picture, height, width)`: 0..groups-1 object, then the scene's groups."""
        result = torch.empty(len(features), *features.shape[2:], dtype=torch.uint8)
        for label, (mixtures, centres, scenes) in enumerate(self.classes):
            for members in (labels == label).nonzero().flatten().split(AT_ONCE):
                x = self.objects.unit(features[members])
                is_object = self.objects.of(x)
                object_group = _nearest(_votes(_centred(x, is_object), mixtures), centres)
                scene_group = _nearest(x, scenes) + self.groups
                result[members] = torch.where(is_object, object_group, scene_group).to(torch.uint8)
        return result

    def _fit_class(self, features, rng):
        """Mixtures, centres of the object groups `(group, component of all)`, and of the scene's `(scene, channel)`."""
        x = self.objects.unit(features)
        is_object = self.objects.of(x)
        patches, scene = _patches(_centred(x, is_object))[is_object.flatten()], _patches(x)[~is_object.flatten()]
        if len(patches) < 2 * self.groups:  # nothing stands out: every patch may be a part
            patches = _patches(_centred(x, torch.ones_like(is_object)))
        patches = _some(patches, PATCHES, rng)
        mean = patches.mean(0)
        right = _principal((patches - mean).double())
        mixtures = [_mixture(patches, mean, right, *sizes, rng) for sizes in MIXTURES]
        centres = _consensus(_votes(patches[:, :, None, None], mixtures)[:, :, 0, 0], self.groups)
        scene = _some(scene if len(scene) > self.scenes else patches, PATCHES, rng)
        return mixtures, centres, _k_means(scene, min(self.scenes, len(scene)), rng)


def _members(labels, label, seed):
    """Numbers of a class's pictures, of many `SAMPLE`, in order."""
    members = (labels == label).nonzero().flatten()
    chosen = np.random.default_rng([seed, 30, label]).permutation(len(members))[:SAMPLE]
    return members[np.sort(chosen)]


def _patches(x):
    """`(picture, channel, height, width)` to `(picture * height * width, channel)`."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _some(patches, count, rng):
    return patches[rng.permutation(len(patches))[:count]]


# --- objects against scenes ---


def _upper_threshold(score):
    """Halfway between the upper two of three means."""
    values = score.flatten()[:: max(1, score.numel() // PATCHES_SEEN)].double()
    means = values.quantile(torch.tensor([1, 3, 5], dtype=values.dtype) / 6)
    for _ in range(100):
        nearest = (values[:, None] - means).abs().argmin(1)
        means = torch.stack([values[nearest == i].mean() if (nearest == i).any() else means[i] for i in range(3)])
    return float((means[1] + means[2]) / 2)


def _cell_colours(pictures, grid, pixels=8):
    """Mean and standard deviation of red, green and blue in every cell, `(picture, 6, height, width)` in [0, 1]."""
    colours = []
    for start in range(0, len(pictures), BATCH):
        batch = to_batch(pictures[start : start + BATCH], max(grid) * pixels).float() / 255
        mean, square = (F.adaptive_avg_pool2d(values, tuple(grid)) for values in (batch, batch.square()))
        colours.append(torch.cat([mean, (square - mean.square()).clamp(min=0).sqrt()], 1))
    return torch.cat(colours)


def _guess_by_colour(colours, score):
    """Log odds of object by colour alone, `(picture, height, width)`; each picture has its discriminant."""
    red, green, blue = colours[:, :3].double().unbind(1)
    quadratic = torch.stack([red * red, green * green, blue * blue, red * green, red * blue, green * blue], 1)
    x = torch.cat([colours.double(), quadratic], 1).flatten(2).mT  # (picture, patch, colour)
    score = score.flatten(1).double()
    is_object = score > score.quantile(1 - CLEAREST[0], dim=1, keepdim=True)
    is_scene = score < score.quantile(CLEAREST[1], dim=1, keepdim=True)
    weight, bias = _discriminant(x, x, is_object.double(), is_scene.double(), ridge=1e-2)
    return ((x @ weight[:, :, None])[..., 0] + bias[:, None]).view(len(x), *colours.shape[2:])


def _discriminant(first, second, first_weights, second_weights, ridge):
    """Linear discriminants between weighted sets, `(set, patch, channel)` with `(set, patch)`: equal priors, shrunk.

    Returns `(weight, bias)`, `(set, channel)` and `(set,)`; the log odds of the first are weight @ x + bias. `ridge`
    is the share of the mean variance that stands in for so much of the covariance (Ledoit & Wolf's form).
    """
    means, scatter, total = [], 0, 0
    for x, weights in ((first, first_weights), (second, second_weights)):
        size = weights.sum(1).clamp(min=1e-12)
        mean = (x * weights[..., None]).sum(1) / size[:, None]
        off = (x - mean[:, None]) * weights[..., None].sqrt()
        means, scatter, total = [*means, mean], scatter + off.mT @ off, total + size
    covariance = scatter / total[:, None, None]
    eye = torch.eye(covariance.shape[1], dtype=covariance.dtype)
    variance = covariance.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)[:, None, None]
    weight = torch.linalg.solve((1 - ridge) * covariance + ridge * variance * eye, means[0] - means[1])
    return weight, -(weight * (means[0] + means[1])).sum(1) / 2


# --- groups ---


def _centred(x, is_object):
    """Minus the mean over the picture's object patches, `(picture, channel, height, width)`."""
    mask = is_object[:, None].float()
    return x - (x * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp(min=1)


def _nearest(x, centres):
    """Index of the nearest centre, `(picture, height, width)`."""
    return F.conv2d(x, 2 * centres[:, :, None, None], -centres.square().sum(1)).argmax(1)


def _k_means(patches, count, rng, steps=20):
    """Centres `(count, channel)`: Lloyd's iterations from a k-means++ start."""
    centres, _ = kmeans_plusplus(patches.numpy(), count, random_state=int(rng.integers(2**31)))
    centres = torch.from_numpy(centres)
    for _ in range(steps):
        nearest = (2 * patches @ centres.T - centres.square().sum(1)).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, patches)
        sizes = torch.bincount(nearest, minlength=count)[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
    return centres


def _principal(centred):
    """Principal components `(component, channel)` of centred patches, of the largest variance first.

    By the covariance: a singular value decomposition of the patches gives the same groups of all patches of the drawn
    pictures, and takes 16 times as long, beside another process that computes 40 times.
    """
    _, directions = torch.linalg.eigh(centred.T @ centred)
    return directions.flip(1).T[: len(centred)].contiguous()


def _mixture(patches, mean, right, components, dimensions, rng, steps=30):
    """Gaussians with one covariance, by expectation maximisation in the first principal components `right`.

    Returns `(weight, bias)`, `(component, channel)` and `(component,)`, of the linear functions of a patch whose
    softmax are the posteriors: with one covariance the quadratic terms of all components are the same.
    scikit-learn's GaussianMixture(covariance_type="tied") is the same model and the tests' oracle; for many small
    mixtures this is ten times faster.
    """
    right = right[:dimensions]  # (dimension, channel)
    z = (patches - mean).double() @ right.T
    scale = z[:, 0].std().clamp(min=1e-12)
    z = z / scale
    start = _k_means(z, min(components, len(z)), rng, steps=5)
    posterior = F.one_hot((2 * z @ start.T - start.square().sum(1)).argmax(1), len(start)).double()
    scatter, ridge = z.T @ z / len(z), 1e-4 * torch.eye(z.shape[1], dtype=z.dtype)
    for _ in range(steps):
        sizes = posterior.sum(0).clamp(min=1e-9)
        means = posterior.T @ z / sizes[:, None]  # (component, dimension)
        covariance = scatter - (means.T * sizes) @ means / len(z) + ridge
        weight = torch.linalg.solve(covariance, means.T).T
        bias = (sizes / len(z)).log() - (weight * means).sum(1) / 2
        posterior = (z @ weight.T + bias).softmax(1)
    weight = weight @ right / scale
    return weight.float(), (bias - weight @ mean.double()).float()


def _votes(x, mixtures):
    """Square roots of all mixtures' posteriors, `(picture, component of all, height, width)`.

    The squared distance of square roots is the Hellinger distance: 0 where two patches get the same votes.
    """
    votes = [F.conv2d(x, weight[:, :, None, None], bias).softmax(1).sqrt() for weight, bias in mixtures]
    return torch.cat(votes, 1) / len(mixtures) ** 0.5


def _consensus(votes, groups):
    """Centres of the consensus groups, `(group, component of all)`: average linkage on how the mixtures voted."""
    sample = votes[:LINKED]
    labels = fcluster(linkage(sample.double().numpy(), "average"), groups, "maxclust") - 1
    centres = [sample[torch.from_numpy(labels == group)].mean(0) for group in range(labels.max() + 1)]
    while len(centres) < groups:  # fewer different patches than groups
        centres.append(centres[-1])
    return torch.stack(centres)
