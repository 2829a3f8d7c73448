"""AS-XAI itself: the concepts of a trained study (sections 2.2 and 3.1), under the contract of all methods."""

from dataclasses import asdict

import numpy as np
import torch

from ..concepts.cells import maps_of_features
from ..data.features import BATCH
from ..study import Study
from .base import Method, features, placed


class AsXai(Method, name="this study"):
    """A concept is where the best of its basis vectors has its cosine; its vectors are patches of training pictures.

    percentile: of an activation map, above it lies the mask. concepts: `study.concepts()` unless given.
    """

    matched = True

    def __init__(self, percentile=95.0, concepts=None):
        self.percentile, self._given = percentile, concepts

    def learn(self):
        self.concepts = self._given or self.study.concepts()

    def names(self, label):
        return tuple(self.concepts.names[k - 1] for k in self.concepts.of_class(label))

    def maps(self, pictures, label):
        own, labels = self._cosines(pictures, label)
        return self.concepts.maps(own, labels)[:, self.concepts.of_class(label)]

    def masks(self, pictures, label, size):
        """To the pixel those of `concept_regions`, so that features of pictures with a concept hidden are shared."""
        masks = self.concepts.masks(*self._cosines(pictures, label), size, self.percentile)
        return masks[:, self.concepts.of_class(label) - 1]

    def prototypes(self, pictures, label):
        """The single vectors, without those of the background."""
        return self._cosines(pictures, label)[0][:, self.concepts.members[label] > 0]

    def won(self, split, label):
        winners = self.concepts.winners(*self._cosines(split, label))
        return np.where(winners, np.searchsorted(self.concepts.of_class(label), winners) + 1, 0)

    @torch.inference_mode()
    def importance(self, pictures, label):
        """What the vectors of each concept add to the logit of the class: best cosine times last-layer weight."""
        model, members = self.study.model, torch.from_numpy(self.concepts.members[label])
        weights = model.last_layer.weight.detach().cpu().unflatten(1, model.basis_vectors.shape[:2])[label, label]
        added = self._cosines(pictures, label)[0].amax(dim=(2, 3)) * weights
        return torch.stack([added[:, members == k].sum(dim=1) for k in self.concepts.of_class(label)], dim=1)

    def predict(self, pictures):
        return self.scores(pictures).double().softmax(dim=1).numpy()

    def scores(self, pictures):
        return self._activations(pictures)[0]

    def evidence(self, pictures, label):
        """What each vector, of any class, adds to the logit: its best cosine times its weight, in its mask."""
        logits, maps = self._activations(pictures)
        weights = self.study.model.last_layer.weight[label].detach().cpu()
        return placed(maps.amax(dim=(2, 3)) * weights, maps, self.percentile)

    @torch.inference_mode()
    def _activations(self, pictures):
        """Logits `(picture, class)` and the cosines of all vectors `(picture, class * basis, height, width)`."""
        model, values = self.study.model, features(self.study.model, pictures, self.study.config.size)
        outs = [model(batch.to(model.feature_mean.device)) for batch in values.split(BATCH)]
        maps = torch.cat([out.maps.flatten(1, 2).cpu() for out in outs])
        return torch.cat([out.logits.cpu() for out in outs]), maps

    def vectors(self):
        return {"": self.study.model.basis, " before": self.study.basis_before}

    def _cosines(self, pictures, label):
        values = features(self.study.model, pictures, self.study.config.size)
        labels = torch.full((len(values),), label)
        return maps_of_features(self.study, values, labels), labels


class PaperAsXai(AsXai, name="paper's objective"):
    """AS-XAI with the five terms of the paper alone (section 2.2): the same study, trained anew without ours."""

    def learn(self):
        parameters, device = asdict(self.study.config) | {"objective": "paper"}, self.study.model.device
        self.study = Study.train(parameters.pop("data_set"), device=device, **parameters)
        super().learn()
