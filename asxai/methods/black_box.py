"""What Proto-CNN is compared with: the black box on the same features."""

import warnings

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data.features import BATCH, split_features
from ..model.recipe import build_model

INVERSE_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@torch.inference_mode()
def pooled_features(model, features):
    """Global average pooling of the backbone's last map: `(picture, feature)` from the fixed part's output."""
    device = next(model.parameters()).device
    return torch.cat([model.backbone_map(b.to(device)).mean(dim=(2, 3)).cpu() for b in features.split(BATCH)]).numpy()


def fit_probe(config, data, device="cpu"):
    """The black box: logistic regression on the pooled features of the untouched backbone, a scikit-learn pipeline.

    The strength of its L2 penalty is chosen on the validation split; it is the pipeline's `[-1].C`.
    """
    model = build_model(config, len(data.class_names)).to(device)
    train, validation = (_probe_features(model, config, split, name)
                         for name, split in (("train", data.train), ("validation", data.validation)))
    best = None
    for c in INVERSE_PENALTIES:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # weak penalties need not converge to be compared
            probe.fit(train, data.train.labels)
        accuracy = probe.score(validation, data.validation.labels)
        if best is None or accuracy > best[0]:
            best = (accuracy, probe)
    return best[1]


def _probe_features(model, config, split, name):
    return pooled_features(model, split_features(model, split, config.size, desc=f"{name} features")[0])


def black_box_probe(config, data, device="cpu"):
    """What `fit_probe` reaches: test and validation accuracy, and its penalty, as a dict.

    It has no prototypes, so it shows what the explanation costs.
    """
    probe, model = fit_probe(config, data, device), build_model(config, len(data.class_names)).to(device)
    accuracy = {name: float(probe.score(_probe_features(model, config, split, name), split.labels))
                for name, split in (("validation", data.validation), ("test", data.test))}
    return {"test_accuracy": accuracy["test"], "validation_accuracy": accuracy["validation"],
            "inverse_penalty": probe[-1].C, "features": int(probe[0].n_features_in_)}
