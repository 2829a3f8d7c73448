"""Clusterings of the same features: what they hold without any training. A cluster is a concept."""

import warnings
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.decomposition import MiniBatchNMF
from sklearn.exceptions import ConvergenceWarning

from ..data.features import BATCH
from .base import Method, features

CLUSTERED = 4000  # patches per class that a clustering is fitted on


class Clustering(Method):
    """A clustering per class of patches of its training pictures: standardised features of length one.

    clusters: as many as the study has vectors a class, unless given
    """

    def __init__(self, clusters=None):
        self.given = clusters

    @abstractmethod
    def score_of(self, patches: np.ndarray, seed: int) -> Callable:
        """Cluster patches `(patch, channel)`: a function that gives batches of `_patches` a score for each cluster."""

    def learn(self):
        self.clusters = self.given or self.study.model.basis_per_class
        train, rng, self.readings = self.study.data.train, np.random.default_rng([self.study.config.seed, 30]), []
        for label, pictures in enumerate(train.class_counts()):
            chosen = []
            for batch in self._patches(train.take(train.labels == label)):
                flat = batch.permute(0, 2, 3, 1).flatten(0, 2)
                chosen.append(flat[rng.permutation(len(flat))[: CLUSTERED * len(batch) // pictures + 1]])
            self.readings.append(self.score_of(torch.cat(chosen).numpy(), int(rng.integers(2**31))))

    def names(self, label):
        return tuple(f"cluster {k}" for k in range(1, self.clusters + 1))

    def maps(self, pictures, label):
        return torch.cat([self.readings[label](batch) for batch in self._patches(pictures)])

    @torch.inference_mode()
    def _patches(self, pictures):
        """Batches of prepared features, `(picture, channel, height, width)`."""
        model, values = self.study.model, features(self.study.model, pictures, self.study.config.size)
        for batch in torch.tensor_split(values, max(1, len(values) // BATCH)):
            maps = model.backbone_map(batch.to(model.feature_mean.device))
            yield F.normalize((maps - model.feature_mean) / model.feature_std, dim=1).cpu()


class KMeansClusters(Clustering, name="k-means"):
    """k-means; the nearer a centre, the more a patch belongs to it."""

    def score_of(self, patches, seed):
        means = KMeans(self.clusters, n_init=3, random_state=seed).fit(patches)
        centres = torch.from_numpy(means.cluster_centers_).float()
        return lambda batch: F.conv2d(batch, 2 * centres[:, :, None, None], -centres.square().sum(1))


class Factors(Clustering, name="nmf"):
    """Non-negative matrix factorisation of the positive and negative parts of features."""

    def score_of(self, patches, seed):
        factors = MiniBatchNMF(self.clusters, init="nndsvda", random_state=seed, batch_size=1024, max_iter=60)
        _quietly(factors.fit, patches)
        scale = np.linalg.norm(factors.components_, axis=1)

        def score(batch):
            weights = _quietly(factors.transform, batch.permute(0, 2, 3, 1).flatten(0, 2).numpy()) * scale
            return torch.from_numpy(weights).float().view(len(batch), *batch.shape[2:], -1).permute(0, 3, 1, 2)

        return score


def _quietly(function, patches):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline need not settle to the last digit
        return function(np.concatenate([patches.clip(0), (-patches).clip(0)], axis=1))
