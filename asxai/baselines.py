"""What Proto-CNN is compared with: the black box on the same features."""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .features import BATCH, split_features
from .study import build_model

INVERSE_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@torch.inference_mode()
def pooled_features(model, features):
    """Global average pooling of the backbone's last map: `(picture, feature)` from the fixed part's output."""
    device = next(model.parameters()).device
    return torch.cat([model.backbone_map(b.to(device)).mean(dim=(2, 3)).cpu() for b in features.split(BATCH)]).numpy()


def black_box_probe(config, data, device="cpu"):
    """Logistic regression on the pooled features of the untouched backbone: test accuracy, and penalty, as a dict.

    The strength of its L2 penalty is chosen on the validation split. It has no prototypes, so it shows what the
    explanation costs.
    """
    model = build_model(config, len(data.class_names)).to(device)
    splits = {name: (pooled_features(model, split_features(model, split, config.size, desc=f"{name} features")[0]),
                     split.labels)
              for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))}
    best = None
    for c in INVERSE_PENALTIES:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # weak penalties need not converge to be compared
            probe.fit(*splits["train"])
        accuracy = probe.score(*splits["validation"])
        if best is None or accuracy > best[0]:
            best = (accuracy, c, probe)
    accuracy, c, probe = best
    return {"test_accuracy": float(probe.score(*splits["test"])), "validation_accuracy": float(accuracy),
            "inverse_penalty": c, "features": int(np.shape(splits["train"][0])[1])}
