"""How probable and how important each concept of each class is in a picture (section 2.3.4, equations 12 and 13).

    scores = study_scores(study, concepts)                          # fitted on training pictures, kept with the study
    activation = concept_activation(concepts, out.similarity)       # A_s, (picture, class, concept)
    scores.probability(activation)                                  # P_s, equation 12
    scores.pcs(activation)                                          # P_s times R_s, equation 13

P_s asks: of the training pictures of a class, how many show concept s less strongly than this picture does? A normal
distribution fitted to their A_s answers. So a picture has a P_s for *every* class that has the concept, and an eye that
is as strong as the eyes of one class can be far too weak for another.

What A_s is. The paper calls it a weighted average of activations; its published code reads five channels of the
backbone, chosen as in `asxai.traits.vectors`. Those tell concepts apart, not classes: on validation pictures of the
drawn pets P_s of the right class is hardly above that of the wrong one (notebook 06 has the numbers). The network's
activation of a concept is the cosine of its basis vectors with the picture's best patch, which was trained to be high
for one class and low for all others. It is what is used here; `channel_activation` is the published reading.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm

from ..cache import code_hash, kept_json
from ..concepts.masks import concept_regions
from ..ranks.layers import LAST, layer_ranks
from ..traits.vectors import normality, weighted_activation

if TYPE_CHECKING:
    from ..concepts.concepts import Concepts
    from ..study import Study

ACTIVATIONS = ("cosine", "channels")
RANK_PICTURES = 30  # of a class, for R_s: ranks hardly depend on the picture
SMALLEST_DEVIATION = 1e-6  # of A_s: a class of copies must not divide by zero
NUMBERS = ("mean", "std", "low", "high", "importance")


@dataclass(frozen=True, eq=False)
class Scores:
    """What turns activations of concepts into P_s and PCS. All arrays are `(class, concept)`, NaN where a class lacks a
    concept. Made by `fit_scores` and `study_scores`."""

    class_names: tuple
    names: tuple  # (concept,)
    mean: np.ndarray  # of A_s over training pictures of the class
    std: np.ndarray
    low: np.ndarray  # smallest and largest A_s among them
    high: np.ndarray
    importance: np.ndarray  # R_s: its share of the ranks times the number of concepts; 1 is a concept like any other

    def probability(self, activation: np.ndarray) -> np.ndarray:
        """P_s (equation 12) of A_s `(picture, class, concept)`, the same shape, clipped to [0, 1].

        The normal cdf between the smallest and the largest A_s of the class's training pictures. Unclipped, as in the
        published code, a picture outside that range would have a probability below 0 or above 1.
        """
        value, lowest, highest = (norm.cdf(x, self.mean, self.std) for x in (activation, self.low, self.high))
        return ((value - lowest) / np.maximum(highest - lowest, 1e-12)).clip(0, 1)

    def pcs(self, activation: np.ndarray) -> np.ndarray:
        """PCS = P_s times R_s (equation 13), `(picture, class, concept)`: above 1 if important and seen."""
        return self.probability(activation) * self.importance

    def table(self) -> pd.DataFrame:
        """A row per class and concept that it has: `class`, `concept`, and the five numbers above."""
        has = np.argwhere(np.isfinite(self.mean)).tolist()
        rows = [(self.class_names[c], self.names[k], *(getattr(self, n)[c, k] for n in NUMBERS)) for c, k in has]
        return pd.DataFrame(rows, columns=["class", "concept", *NUMBERS])


# --- A_s -------------------------------------------------------------------------------------------------------------


def concept_activation(concepts: "Concepts", similarity: torch.Tensor, without: tuple = ()) -> np.ndarray:
    """A_s by cosine: the highest similarity among a concept's basis vectors, float64 `(picture, class, concept)`.

    similarity: best cosine of each basis vector, `(picture, class, basis)`, as of `asxai.model.protocnn.Activations`
    without: concepts to leave out, NaN everywhere, by their names in any class or as "concept k"

    NaN where the class lacks the concept. Raises ValueError for unknown names.
    """
    known = concepts.known_names()
    if unknown := set(without) - set(known):
        raise ValueError(f"without={sorted(unknown)} are no concepts; there are {', '.join(concepts.names)}")
    similarity = similarity.double()
    member = torch.from_numpy(concepts.members).expand(similarity.shape)
    lowest = similarity.new_full((*similarity.shape[:2], concepts.count + 1), -torch.inf)
    highest = lowest.scatter_reduce(2, member, similarity, "amax")[:, :, 1:].numpy()
    highest[:, :, [known[name] - 1 for name in without]] = -np.inf
    return np.where(np.isfinite(highest), highest, np.nan)


def channel_activation(concepts: "Concepts", traits: list, pooled: torch.Tensor) -> np.ndarray:
    """A_s by channels, as in the published code, `(picture, class, concept)`; NaN where a class has no semantic vector.

    traits: of `asxai.traits.common.common_traits`, one for each class. pooled: of `asxai.traits.pooled.split_pooled`
    """
    activation = np.full((pooled.shape[1], len(traits), concepts.count), np.nan)
    for label, trait in enumerate(traits):
        numbers = [concepts.names.index(name) for name in trait.names]
        activation[:, label, numbers] = weighted_activation(trait.reader(pooled), trait.vectors)
    return activation


# --- Fitted to training pictures -------------------------------------------------------------------------------------


def fit_scores(
    activation: np.ndarray, labels: np.ndarray, importance: np.ndarray, class_names: tuple, names: tuple
) -> Scores:
    """`Scores` of A_s `(picture, class, concept)` of training pictures with labels `(picture,)`.

    importance: R_s `(class, concept)`. Each class is fitted on its own pictures. A concept without importance counts
    like the least important one of its class, and never more than 1. Raises ValueError for a class without two
    pictures, for one picture has no spread.
    """
    if (few := np.bincount(labels, minlength=len(class_names)) < 2).any():
        raise ValueError(
            f"class {class_names[int(few.argmax())]!r} has fewer than two pictures to fit scores on; add pictures"
        )
    of_class = [activation[labels == label, label] for label in range(len(class_names))]  # (picture, concept) each
    over = lambda function: np.stack([function(values) for values in of_class])
    mean, low, high = (over(lambda values: function(values, axis=0)) for function in (np.mean, np.min, np.max))
    std = np.maximum(over(lambda values: values.std(axis=0, ddof=1)), SMALLEST_DEVIATION)
    # a concept whose filters have no rank, or that no filter extracts, counts like the least important one
    known = np.where(np.isfinite(mean) & (importance > 0), importance, np.nan)
    least = np.nanmin(known, axis=1, keepdims=True, initial=1.0)
    importance = np.where(np.isfinite(mean), np.where(np.isfinite(known), known, least), np.nan)
    return Scores(class_names, names, mean, std, low, high, importance)


def study_scores(study: "Study", concepts: "Concepts") -> Scores:
    """`Scores` of a study by cosines, fitted once on its training pictures and kept in its folder as `scores.json`."""

    def fitted():
        activation, labels = concept_activation(concepts, study.similarity(study.data.train)), study.data.train.labels
        scores = fit_scores(activation, labels, study_importance(study, concepts), study.class_names, concepts.names)
        return {name: getattr(scores, name).tolist() for name in NUMBERS}

    key = [code_hash("concepts", "ranks", "explain.scores"), concepts.to_dict()]
    numbers = kept_json(study.folder / "scores.json", key, fitted)
    return Scores(study.class_names, concepts.names, *(np.array(numbers[name]) for name in NUMBERS))


def study_importance(study: "Study", concepts: "Concepts") -> np.ndarray:
    """R_s (equation 6) of the last added layer, its share times the number of the class's concepts, `(class, concept)`.

    NaN where a class lacks a concept, 0 where no filter extracts it.
    """
    last = layer_ranks(study, concept_regions(study, concepts), study.data.train, LAST, RANK_PICTURES)
    importance = np.full((len(study.class_names), concepts.count), np.nan)
    for label, ranks in enumerate(last):
        importance[label, [concepts.names.index(name) for name in ranks.names]] = ranks.sensitivity().scaled
    return importance


def cosine_normality(study: "Study", concepts: "Concepts") -> pd.DataFrame:
    """A row per class and concept: `r2`, `p`, `skew`, `largest` of its best cosine in the class's training pictures.

    The best cosine is what `study_scores` fits a normal distribution to, and not A_s of notebook 03.
    """
    labels, rows = study.data.train.labels, []
    activation = concept_activation(concepts, study.similarity(study.data.train))
    for label, class_name in enumerate(study.class_names):
        for k in concepts.of_class(label):
            values = activation[labels == label, label, k - 1]
            if len(values) >= 3 and np.ptp(values) > 0:
                fit = normality(values)
                rows.append((class_name, concepts.names[k - 1], fit.r2, fit.p, fit.skew, values.max()))
    return pd.DataFrame(rows, columns=["class", "concept", "r2", "p", "skew", "largest"])
