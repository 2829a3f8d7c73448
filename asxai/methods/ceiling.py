"""What the features hold at most: a linear classifier that is told the true parts of training pictures."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..concepts.cells import CELLS, cell_parts
from ..concepts.masks import upsample
from .clusterings import Clustering, of_patches, quietly

TOLD = 20000  # patches, over all classes
PIXELS = 16  # a side of a patch, in part masks


class Ceiling(Clustering, name="true parts"):
    """Logistic regression of true parts, the background among them, on the features that a `Clustering` sees.

    No method without part labels can be expected to reach it; what it misses, the features and their grid do not hold.
    Without part masks there is nothing to tell it, and it has no concepts.
    """

    matched = True
    told, needs_parts = "parts", False  # it does without, see above

    def learn(self):
        if not self.study.data.part_names:
            return
        rng, classes = np.random.default_rng([self.study.config.seed, 32]), len(self.study.class_names)
        x, self.true = map(np.concatenate, zip(*(self._told(label, TOLD // classes, rng) for label in range(classes))))
        self.readings = [self.score_of(x, 0)] * classes

    def score_of(self, patches, seed):
        """Probability of each part."""
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=100))
        quietly(lambda x: fitted.fit(x, self.true), patches)

        def probabilities(patches):
            result = np.zeros((len(patches), 1 + len(self.names(0))))
            result[:, fitted.classes_] = fitted.predict_proba(patches)
            return result[:, 1:]

        return lambda batch: of_patches(probabilities, batch)

    def _told(self, label, count, rng):
        """Patches of a class `(patch, channel)` and the part that covers most of each `(patch,)`, 0 the background.

        One in four is background, which would else be most of them, and parts would be left to it.
        """
        pictures = self.study.data.train.take(self.study.data.train.labels == label)
        maps = torch.cat([batch for batch, _ in self.patches(pictures)]).permute(0, 2, 3, 1)
        side = maps.shape[1]
        parts = cell_parts(pictures.part_masks(side * PIXELS), side).ravel()
        mixed = rng.permutation(len(parts))
        objects, scene = mixed[parts[mixed] > 0], mixed[parts[mixed] == 0]
        chosen = rng.permutation(np.concatenate([objects, scene[: len(objects) // 3 + 1]]))[:count]
        return maps.flatten(0, 2)[chosen].numpy(), parts[chosen]

    def names(self, label):
        return self.study.data.part_names

    def won(self, split, label):
        fine = upsample(self.maps(split, label), CELLS)
        return torch.where(fine.amax(1) > 1 - fine.sum(1), fine.argmax(1) + 1, 0).numpy()
