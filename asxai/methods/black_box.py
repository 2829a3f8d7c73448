"""What Proto-CNN is compared with: the black box on the same features. It predicts, and has no concepts."""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data.features import BATCH
from ..model.recipe import build_model
from .base import Method, features

INVERSE_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


class BlackBox(Method, name="black box"):
    """Logistic regression on the pooled features of the untouched backbone, see `fit_probe`."""

    def learn(self):
        config, device = self.study.config, self.study.model.feature_mean.device
        self.probe = fit_probe(config, self.study.data, device)
        self.untouched = build_model(config, len(self.study.class_names)).to(device)

    def names(self, label):
        return ()

    def maps(self, pictures, label):
        return torch.zeros(len(pictures), 0, 1, 1)

    def predict(self, pictures):
        values = features(self.untouched, pictures, self.study.config.size)
        return self.probe.predict_proba(pooled_features(self.untouched, values))

    def scores(self, pictures):
        values = pooled_features(self.untouched, features(self.untouched, pictures, self.study.config.size))
        weight, bias = linear_of(self.probe)
        return torch.from_numpy(values).double() @ weight.T + bias

    def accuracy(self, split):
        """Share of pictures that it is right about: what the explanations of other methods cost."""
        return float((self.predict(split).argmax(axis=1) == split.labels).mean())


@torch.inference_mode()
def pooled_features(model, features):
    """Global average pooling of the backbone's last map: `(picture, feature)` from the fixed part's output."""
    device = next(model.parameters()).device
    return torch.cat([model.backbone_map(b.to(device)).mean(dim=(2, 3)).cpu() for b in features.split(BATCH)]).numpy()


def linear_of(probe) -> tuple[torch.Tensor, torch.Tensor]:
    """The pipeline of `fit_probe` as one linear layer, weights `(class, feature)` and biases: two classes share one."""
    scale, regression = probe[0], probe[-1]
    weight, bias = regression.coef_ / scale.scale_, regression.intercept_
    bias = bias - weight @ scale.mean_
    if len(bias) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return torch.from_numpy(weight), torch.from_numpy(bias)


def fit_probe(config, data, device="cpu"):
    """The black box: logistic regression on the pooled features of the untouched backbone, a scikit-learn pipeline.

    The strength of its L2 penalty is chosen on the validation split; it is the pipeline's `[-1].C`.
    """
    model = build_model(config, len(data.class_names)).to(device)
    train, validation = (
        pooled_features(model, features(model, split, config.size)) for split in (data.train, data.validation)
    )
    probes = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000)) for c in INVERSE_PENALTIES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # weak penalties need not converge to be compared
        for probe in probes:
            probe.fit(train, data.train.labels)
    return max(probes, key=lambda probe: probe.score(validation, data.validation.labels))  # of equals the first
