"""Clusterings of the same features: what they hold without any training. A cluster is a concept."""

import warnings
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, MiniBatchNMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ..concepts.cells import CELLS
from ..concepts.masks import upsample
from ..data.features import BATCH
from ..model.parts import Objectness
from .base import Method, backbone_maps, features

CLUSTERED = 4000  # patches per class that a clustering is fitted on
DIMENSIONS = 50  # principal components that a mixture sees


class Clustering(Method):
    """A clustering per class of patches of its training pictures: standardised features of length one.

    clusters: as many as the study has vectors a class, unless given
    """

    def __init__(self, clusters=None):
        self.given = clusters

    @abstractmethod
    def score_of(self, patches: np.ndarray, seed: int) -> Callable:
        """Cluster patches `(patch, channel)`: a function that gives batches of `patches` a score for each cluster."""

    def learn(self):
        self.clusters = self.given or self.study.model.basis_per_class
        rng = np.random.default_rng([self.study.config.seed, 30])
        self.readings = [
            self.score_of(self.sample(label, rng), int(rng.integers(2**31)))
            for label in range(len(self.study.class_names))
        ]

    def sample(self, label: int, rng: np.random.Generator) -> np.ndarray:
        """Patches of a class's training pictures `(patch, channel)`, about equally many of each."""
        train, chosen = self.study.data.train, []
        pictures = train.take(train.labels == label)
        for batch, used in self.patches(pictures):
            flat = batch.permute(0, 2, 3, 1)[used]
            chosen.append(flat[rng.permutation(len(flat))[: CLUSTERED * len(batch) // len(pictures) + 1]])
        return torch.cat(chosen).numpy()

    def names(self, label):
        return tuple(f"cluster {k}" for k in range(1, self.clusters + 1))

    def maps(self, pictures, label):
        return torch.cat([self.readings[label](batch) for batch, _ in self.patches(pictures)])

    @torch.inference_mode()
    def patches(self, pictures):
        """Batches of `prepared` features."""
        model, values = self.study.model, features(self.study.model, pictures, self.study.config.size)
        for index in torch.tensor_split(torch.arange(len(values)), max(1, len(values) // BATCH)):
            yield self.prepared(model.backbone_map(values[index].to(model.feature_mean.device)))

    def prepared(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features `(picture, channel, height, width)` and which patches count, bool `(picture, height, width)`."""
        x = F.normalize((maps - self.study.model.feature_mean) / self.study.model.feature_std, dim=1).cpu()
        return x, torch.ones_like(x[:, 0], dtype=torch.bool)


class KMeansClusters(Clustering, name="k-means"):
    """k-means; the nearer a centre, the more a patch belongs to it."""

    def score_of(self, patches, seed):
        means = KMeans(self.clusters, n_init=3, random_state=seed).fit(patches)
        centres = torch.from_numpy(means.cluster_centers_).float()
        return lambda batch: F.conv2d(batch, 2 * centres[:, :, None, None], -centres.square().sum(1))


class SharedKMeans(KMeansClusters, name="k-means over all classes"):
    """k-means of the patches of all classes: as many clusters as the study has concepts and scene vectors in all."""

    matched = True

    def learn(self):
        self.clusters = self.given or self.study.concepts().count + self.study.config.scene_vectors
        rng, classes = np.random.default_rng([self.study.config.seed, 31]), len(self.study.class_names)
        patches = np.concatenate([self.sample(label, rng) for label in range(classes)])
        self.readings = [self.score_of(patches, int(rng.integers(2**31)))] * classes


class Factors(Clustering, name="nmf"):
    """Non-negative matrix factorisation of the positive and negative parts of features."""

    def score_of(self, patches, seed):
        factors = MiniBatchNMF(self.clusters, init="nndsvda", random_state=seed, batch_size=1024, max_iter=60)
        quietly(factors.fit, _both_signs(patches))
        scale = np.linalg.norm(factors.components_, axis=1)
        return lambda batch: of_patches(lambda x: weights_of(factors, _both_signs(x)) * scale, batch)


class TiedMixture(Clustering, name="tied mixture"):
    """Gaussians with one covariance on the patches that show objects, less the mean over those of their picture.

    It sees what the guide of training sees (`asxai.model.parts`), where several such mixtures vote. What shows no
    object is background, so that there are as many clusters as the study has vectors for objects.
    """

    def learn(self):
        train, config = self.study.data.train, self.study.config
        self.objects = Objectness(backbone_maps(self.study, train), list(train.paths), config.seed)
        self.given = self.given or max(1, self.study.model.basis_per_class - config.scene_vectors)
        super().learn()

    def score_of(self, patches, seed):
        reduced = PCA(min(DIMENSIONS, *patches.shape), random_state=seed).fit(patches)
        mixture = GaussianMixture(self.clusters, covariance_type="tied", random_state=seed)
        quietly(mixture.fit, reduced.transform(patches))
        return lambda batch: of_patches(lambda x: mixture.predict_proba(reduced.transform(x)), batch)

    def maps(self, pictures, label):
        return torch.cat([self.readings[label](batch) * used[:, None] for batch, used in self.patches(pictures)])

    def prepared(self, maps):
        x = self.objects.unit(maps.cpu())
        used = self.objects.of(x)
        mask = used[:, None].float()
        return x - (x * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp(min=1), used

    def won(self, split, label):
        fine = upsample(self.maps(split, label), CELLS)  # its sum is 1 on objects, 0 elsewhere, and between at rims
        return torch.where(fine.sum(1) >= 0.5, fine.argmax(1) + 1, 0).numpy()


def of_patches(function, batch):
    """A function of patches `(patch, channel)` for a batch: `(picture, cluster, height, width)`."""
    values = torch.from_numpy(function(batch.permute(0, 2, 3, 1).flatten(0, 2).numpy())).float()
    return values.view(len(batch), *batch.shape[2:], -1).permute(0, 3, 1, 2)


def weights_of(factors, patches: np.ndarray) -> np.ndarray:
    """As `factors.transform(patches)`, but the products that no step changes are made once: ten times as fast.

    Multiplicative updates: Lee & Seung, NeurIPS 2000.
    """
    parts, steps = factors.components_, factors.max_iter
    numerator, gram = patches @ parts.T, parts @ parts.T
    weights = np.full(numerator.shape, np.sqrt(patches.mean() / len(parts)), patches.dtype)
    for _ in range(steps):
        denominator = weights @ gram
        denominator[denominator == 0] = np.finfo(np.float32).eps
        before, weights = weights, weights * (numerator / denominator)
        if np.linalg.norm(weights - before) <= factors.tol * np.linalg.norm(weights):
            break
    return weights


def _both_signs(patches):
    """Positive and negative parts, `(patch, 2 * channel)`."""
    return np.concatenate([patches.clip(0), (-patches).clip(0)], axis=1)


def quietly(function, patches):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline need not settle to the last digit
        return function(patches)
