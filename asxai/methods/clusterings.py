"""Clusterings."""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.decomposition import MiniBatchNMF
from sklearn.exceptions import ConvergenceWarning

from ..concepts.cells import CELLS
from ..concepts.masks import upsample
from ..data.features import BATCH

CLUSTERED = 4000  # patches per class that a clustering is fitted on
CLUSTERINGS = ("k-means", "nmf")


@torch.inference_mode()
def clustering_winners(study, method, clusters, split, seed=0):
    """The cluster that wins each cell, `(picture, cells, cells)` in 1..clusters, by a clustering per class.

    method: "k-means" of standardised features at length one, or "nmf" (non-negative matrix factorisation) of their
    positive and negative parts; both fitted on patches of the training pictures of the class, as the trained vectors.
    Raises ValueError for another method.
    """
    train, rng = study.data.train, np.random.default_rng([seed, 30])
    device = study.model.feature_mean.device
    prepared = lambda features: F.normalize((study.model.backbone_map(features.to(device)) - study.model.feature_mean)
                                            / study.model.feature_std, dim=1).cpu()
    fit, apply = study.features(train)[0], study.features(split)[0]
    winners = np.zeros((len(split), CELLS, CELLS), dtype=np.int64)
    for label in range(len(study.class_names)):
        members = np.flatnonzero(train.labels == label)
        patches = torch.cat([prepared(fit[i]).permute(0, 2, 3, 1).flatten(0, 2)[
            torch.from_numpy(rng.permutation(len(i) * fit.shape[-1] * fit.shape[-2])[:CLUSTERED * len(i) // len(members)
                                                                                     + 1])]
            for i in np.array_split(members, max(1, len(members) // BATCH))])
        score = _fitted(method, patches.numpy(), clusters, int(rng.integers(2**31)))
        targets = np.flatnonzero(split.labels == label)
        for batch in np.array_split(targets, max(1, len(targets) // BATCH)):
            if len(batch):
                winners[batch] = upsample(score(prepared(apply[batch])), CELLS).argmax(1).numpy() + 1
    return winners


def _fitted(method, patches, clusters, seed):
    """A function from features `(picture, channel, height, width)` to scores `(picture, cluster, height, width)`."""
    if method == "k-means":
        found = KMeans(clusters, n_init=3, random_state=seed).fit(patches).cluster_centers_
        centres = torch.from_numpy(found).float()
        return lambda x: F.conv2d(x, 2 * centres[:, :, None, None], -centres.square().sum(1))
    if method == "nmf":
        parted = lambda values: np.concatenate([values.clip(0), (-values).clip(0)], axis=1)
        factors = MiniBatchNMF(clusters, init="nndsvda", random_state=seed, batch_size=1024, max_iter=60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline need not settle to the last digit
            factors.fit(parted(patches))

        def score(x):
            flat = x.permute(0, 2, 3, 1).flatten(0, 2).numpy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                weights = factors.transform(parted(flat))
            weights = weights * np.linalg.norm(factors.components_, axis=1)
            return torch.from_numpy(weights).float().view(len(x), *x.shape[2:], clusters).permute(0, 3, 1, 2)
        return score
    raise ValueError(f"method={method!r} must be 'k-means' or 'nmf'")
