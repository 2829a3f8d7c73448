"""How much concepts matter to the decision: other measures than R_s for equation 13.

    Explainer(study, importance="sobol")        # instead of "rank", which is the paper's
    sobol_importance(study, concepts)           # (class, concept); 1 is a concept like any other

The paper weighs concepts by the ranks of the filters that extract them. Notebook 04 finds that this does not foretell
how far the logit falls without a concept. With Sobol indices, sentences name what decides more often, on menagerie-wild
in all three seeds, on menagerie-pets in two of them (notebook 06, `06_seeds.csv`). They take half a second of CPU for
each class, once.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import qmc

from ..cache import code_hash, kept_json
from ..concepts.masks import concept_regions
from ..data.datasets import spread_over
from ..data.features import BATCH
from ..progress import bar

if TYPE_CHECKING:
    from ..concepts.concepts import Concepts
    from ..model.protocnn import ProtoCNN
    from ..study import Study

IMPORTANCES = ("rank", "none", "sobol")  # "rank" is R_s of the paper
PICTURES = 8  # training pictures of a class
POINTS = 32  # of the Sobol sequence; a power of two
LEAST = 1e-3  # before they are scaled: a concept whose absence helps is unimportant, not the opposite of important


def study_importance(study: "Study", concepts: "Concepts", rank: np.ndarray, kind: str) -> np.ndarray:
    """Importance of each concept for its class, `(class, concept)`, 1 on average over the concepts of a class.

    rank: R_s, NaN where a class lacks a concept. kind: one of `IMPORTANCES`. Raises ValueError for another, and for
    "sobol" of an opened file, which has no training pictures.
    """
    if kind not in IMPORTANCES:
        raise ValueError(f"importance={kind!r} is unknown; use one of {', '.join(IMPORTANCES)}")
    if kind == "sobol" and study.kept:
        raise ValueError(f"importance='sobol' needs training pictures, and {study.folder} has none; use its study")
    if kind == "sobol":
        return sobol_importance(study, concepts)
    return rank if kind == "rank" else np.where(np.isnan(rank), np.nan, 1.0)


def sobol_importance(study: "Study", concepts: "Concepts") -> np.ndarray:
    """`class_importance` by `sobol_indices`, computed once and kept in the study's folder as `sobol.json`."""

    def indices(pictures, masks, label):
        return sobol_indices(study.model, study.features(pictures)[0], masks, label)

    key = [code_hash("concepts", "explain.importance"), concepts.members.tolist()]
    computed = lambda: class_importance(study, concepts, indices).tolist()
    return np.array(kept_json(study.folder / "sobol.json", key, computed))


def class_importance(study: "Study", concepts: "Concepts", measure: Callable) -> np.ndarray:
    """Importance of each concept for its class, `(class, concept)`, by `PICTURES` training pictures of each class.

    measure: of a split, masks of the class's concepts `(picture, concept, size, size)` and the class's number, an array
    `(picture, concept)`, of which the mean counts

    At least just above 0 and 1 on average over the concepts of a class, as R_s is; NaN where a class lacks a concept.
    """
    importance = np.full((len(study.class_names), concepts.count), np.nan)
    regions, train = concept_regions(study, concepts), study.data.train
    for label in range(len(study.class_names)):
        few = spread_over(train.take(train.labels == label), PICTURES)
        values = measure(few, regions(label, few).masks, label).mean(axis=0).clip(LEAST)
        importance[label, concepts.of_class(label) - 1] = values / values.mean()
    return importance


@torch.inference_mode()
def sobol_indices(model: "ProtoCNN", features: torch.Tensor, masks: torch.Tensor, label: int) -> np.ndarray:
    """Total Sobol index of each concept for the logit of the class, from cached features: `(picture, concept)`.

    The cells of each concept fade by a factor from 0 to 1 into the picture's mean embedding; the index is the share of
    the logit's variance that goes with a concept's factor, alone and together with others (Jansen's estimator on a
    scrambled Sobol sequence; for masks of pictures: Fel et al., NeurIPS 2021). masks: bool `(picture, concept, size,
    size)`
    """
    device, indices = model.feature_mean.device, []
    factors = _factors(masks.shape[1]).to(device)
    for one, covers in bar(list(zip(features, masks)), desc="Sobol indices"):
        embedding = model.embed(one[None].to(device))[0]
        # share of each cell that a mask covers, (concept, height, width)
        inside = F.adaptive_avg_pool2d(covers.float()[None], embedding.shape[1:])[0].to(device)
        logits = _faded_logits(model, embedding, inside, factors)[:, label].cpu().double().numpy()
        logits = logits.reshape(len(covers) + 1, POINTS)  # the sample, then with each factor drawn anew
        indices.append(((logits[0] - logits[1:]) ** 2).mean(axis=1) / 2 / max(logits.var(), 1e-12))
    return np.stack(indices)


def _factors(count):
    """How much of each concept is left, `(point, concept)`: a sample, then for each concept that with it drawn anew."""
    sample = torch.from_numpy(qmc.Sobol(2 * count, seed=0).random(POINTS)).float()
    first, second = sample[:, :count], sample[:, count:]
    swapped = first.repeat(count, 1, 1)  # (concept, point, concept)
    swapped[torch.arange(count), :, torch.arange(count)] = second.T
    return torch.cat([first, swapped.flatten(0, 1)])


def _faded_logits(model, embedding, inside, factors):
    """Logits `(point, class)` of an embedding `(channel, h, w)` of which concepts `(concept, h, w)` are faded."""
    touched = inside.amax(dim=0) > 0  # other cells never change: their best cosines are computed once
    still = model.compare(embedding[None]).maps.masked_fill(touched, -1).amax(dim=(3, 4))  # (1, class, basis)
    mean = embedding.mean(dim=(1, 2))[:, None]
    change, cover = embedding[:, touched] - mean, inside[:, touched]  # (channel, cell), (concept, cell)
    logits = []
    for part in factors.split(2 * BATCH):
        left = (1 - cover * (1 - part[:, :, None])).prod(dim=1, keepdim=True)  # (point, 1, cell)
        best = torch.maximum(model.compare((mean + left * change)[..., None]).similarity, still)
        logits.append(model.last_layer(best.flatten(1)))
    return torch.cat(logits)
