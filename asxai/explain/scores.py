"""How probable and how important each concept of each class is in a picture (section 2.3.4, equations 12 and 13).

    scores = study_scores(study, concepts)                          # fitted on training pictures, kept with the study
    activation = concept_activation(concepts, out.similarity)       # A_s, (picture, class, concept)
    scores.probability(activation)                                  # P_s, equation 12
    scores.pcs(activation)                                          # P_s times R_s, equation 13

P_s asks: of the training pictures of a class, how many show concept s less strongly than this picture does? A normal
distribution fitted to their A_s answers. So a picture has a P_s for *every* class that has the concept, and an eye that
is as strong as the eyes of one class can be far too weak for another.

What A_s is. The paper calls it a weighted average of activations; its published code reads five channels of the
backbone, chosen as in `asxai.traits.vectors`. Those tell concepts apart, not classes: on validation pictures of the drawn pets
P_s of the right class is hardly above that of the wrong one (notebook 06 has the numbers). The network's own activation
of a concept is the cosine of its basis vectors with the picture's best patch, which was trained to be high for one
class and low for all others. It is what is used here; `channel_activation` is the published reading.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import scipy.stats
import torch

from .. import paths
from ..cache import code_hash
from ..concepts.masks import concept_regions
from ..ranks.layers import layer_ranks
from ..traits.vectors import normality, weighted_activation

ACTIVATIONS = ("cosine", "channels")
RANK_PICTURES = 30  # of a class, for R_s: ranks hardly depend on the picture
SMALLEST_DEVIATION = 1e-6  # of A_s: a class of copies must not divide by zero


@dataclasses.dataclass(frozen=True, eq=False)
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

    def deviation(self, activation):
        """How many standard deviations A_s `(picture, class, concept)` lies above the mean of the class."""
        return (self._checked(activation) - self.mean) / self.std

    def probability(self, activation):
        """P_s (equation 12) of A_s `(picture, class, concept)`, the same shape, clipped to [0, 1].

        The normal cdf between the smallest and the largest A_s of the class's training pictures. Unclipped, as in the
        published code, a picture outside that range would have a probability below 0 or above 1. Raises ValueError for
        other shapes.
        """
        cdf = lambda values: scipy.stats.norm.cdf(values, self.mean, self.std)
        lowest, highest = cdf(self.low), cdf(self.high)
        return ((cdf(self._checked(activation)) - lowest) / np.maximum(highest - lowest, 1e-12)).clip(0, 1)

    def pcs(self, activation):
        """PCS = P_s times R_s (equation 13), `(picture, class, concept)`: above 1 if important and seen."""
        return self.probability(activation) * self.importance

    def _checked(self, activation):
        activation = np.asarray(activation, dtype=np.float64)
        if activation.ndim != 3 or activation.shape[1:] != self.mean.shape:
            classes, count = self.mean.shape
            raise ValueError(f"activation {activation.shape} must be (picture, class, concept), of the {classes} "
                             f"classes and {count} concepts that scores were fitted on")
        return activation

    def table(self):
        """A row per class and concept that it has: `class`, `concept`, and the five numbers above."""
        rows = [{"class": class_name, "concept": name,
                 **{key: getattr(self, key)[c, k] for key in ("mean", "std", "low", "high", "importance")}}
                for c, class_name in enumerate(self.class_names) for k, name in enumerate(self.names)
                if np.isfinite(self.mean[c, k])]
        return pd.DataFrame(rows)

    def to_dict(self):
        """Plain lists and texts, for JSON; None stands for NaN."""
        plain = lambda value: [[None if np.isnan(v) else float(v) for v in row] for row in value]
        return {field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else plain(value)
                for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values):
        """Scores of `to_dict`."""
        return cls(*(tuple(values[field.name]) if field.name in ("class_names", "names")
                     else np.array(values[field.name], dtype=np.float64) for field in dataclasses.fields(cls)))


def concept_activation(concepts, similarity, without=()):
    """A_s by cosine: the highest similarity among a concept's basis vectors, float64 `(picture, class, concept)`.

    similarity: best cosine of each basis vector, `(picture, class, basis)`, as of `asxai.model.protocnn.Activations`
    without: names of concepts to leave out, NaN everywhere

    NaN where the class lacks the concept. Raises ValueError for other shapes or unknown names.
    """
    similarity = torch.as_tensor(similarity).detach().cpu().double()
    if similarity.ndim != 3 or similarity.shape[1:] != concepts.members.shape:
        raise ValueError(f"similarity {tuple(similarity.shape)} must be (picture, class, basis), of the "
                         f"{concepts.members.shape} classes and vectors that concepts are made of")
    if unknown := set(without) - set(concepts.names):
        raise ValueError(f"without={sorted(unknown)} are no concepts; there are {', '.join(concepts.names)}")
    member = torch.from_numpy(concepts.members).expand(similarity.shape)
    lowest = similarity.new_full((*similarity.shape[:2], concepts.count + 1), -torch.inf)
    found = lowest.scatter_reduce(2, member, similarity, "amax")[:, :, 1:].numpy()
    found[:, :, [name in without for name in concepts.names]] = -np.inf
    return np.where(np.isfinite(found), found, np.nan)


def channel_activation(concepts, traits, pooled):
    """A_s by channels, as in the published code, `(picture, class, concept)`; NaN where a class has no semantic vector.

    traits: of `asxai.traits.vectors.common_traits`, an entry per class. pooled: of `asxai.traits.pooled.pooled_features`
    """
    found = np.full((pooled.shape[1], len(traits), concepts.count), np.nan)
    for label, own in enumerate(traits):
        of = [concepts.names.index(name) for name in own.names]
        found[:, label, of] = weighted_activation(own.reader(pooled), own.vectors)
    return found


def fit_scores(activation, labels, importance, class_names, names):
    """`Scores` of A_s `(picture, class, concept)` of training pictures with labels `(picture,)`.

    importance: R_s `(class, concept)`. Each class is fitted on its own pictures. A concept without importance counts
    like the least important one of its class, and never more than 1. Raises ValueError for shapes or labels that do not
    fit, or a class without two pictures, for one picture has no spread.
    """
    activation, labels = np.asarray(activation, np.float64), np.asarray(labels)
    if activation.shape != (len(labels), len(class_names), len(names)) or np.shape(importance) != activation.shape[1:]:
        raise ValueError(f"activation {activation.shape}, labels {labels.shape} and importance {np.shape(importance)} "
                         f"must be (picture, {len(class_names)}, {len(names)}), (picture,) and ({len(class_names)}, "
                         f"{len(names)})")
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(class_names):
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}; use 0 to {len(class_names) - 1}, as in "
                         "class_names")
    if (few := np.bincount(labels, minlength=len(class_names)) < 2).any():
        raise ValueError(f"class {class_names[int(few.argmax())]!r} has fewer than two pictures to fit scores on; add "
                         "pictures")
    own = [activation[labels == label, label] for label in range(len(class_names))]  # (picture, concept) each
    of = lambda function: np.stack([function(values) for values in own])
    std = np.maximum(of(lambda values: values.std(axis=0, ddof=1)), SMALLEST_DEVIATION)
    has = np.isfinite(of(lambda values: values.mean(axis=0)))
    # a concept whose filters have no rank, or that no filter extracts, counts like the least important one
    filled = np.where(has & (np.asarray(importance) > 0), importance, np.nan)
    least = np.nanmin(filled, axis=1, keepdims=True, initial=1.0)
    importance = np.where(has, np.where(np.isfinite(filled), filled, least), np.nan)
    return Scores(tuple(class_names), tuple(names), of(lambda v: v.mean(axis=0)), std, of(lambda v: v.min(axis=0)),
                  of(lambda v: v.max(axis=0)), importance)


def study_scores(study, concepts):
    """`Scores` of a study by cosines, fitted once on its training pictures and kept in its folder as `scores.json`."""
    code = code_hash("concepts", "ranks", "explain.scores")
    key, path = [code, concepts.to_dict()], study.folder / "scores.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("key") == key:
        return Scores.from_dict(kept["scores"])
    train = study.data.train
    activation = concept_activation(concepts, study.similarity(train))
    scores = fit_scores(activation, train.labels, study_importance(study, concepts), study.class_names, concepts.names)
    text = json.dumps({"key": key, "scores": scores.to_dict()}, indent=1)
    paths.write_atomically(path, lambda temporary: temporary.write_text(text))
    return scores


def study_importance(study, concepts):
    """R_s (equation 6) of the last added layer, its share times the number of the class's concepts, `(class, concept)`.

    NaN where a class lacks a concept, 0 where no filter extracts it.
    """
    found = layer_ranks(study, concept_regions(study, concepts), study.data.train, {"last added": "add_on.3"},
                        pictures=RANK_PICTURES)
    importance = np.full((len(study.class_names), concepts.count), np.nan)
    for label, own in enumerate(found):
        importance[label, [concepts.names.index(name) for name in own.names]] = own.sensitivity().scaled
    return importance


def cosine_normality(study, concepts):
    """A row per class and concept: `r2`, `p`, `skew`, `largest` of its best cosine in the class's training pictures.

    The best cosine is what `study_scores` fits a normal distribution to, and not A_s of notebook 03.
    """
    train, rows = study.data.train, []
    activation = concept_activation(concepts, study.similarity(train))
    for label, class_name in enumerate(study.class_names):
        for k in concepts.of_class(label):
            values = np.asarray(activation[train.labels == label, label, k - 1], dtype=np.float64)
            if len(values) >= 3 and np.ptp(values) > 0:
                found = normality(values)
                rows.append({"class": class_name, "concept": concepts.names[k - 1], "r2": found.r2, "p": found.p,
                             "skew": found.skew, "largest": values.max()})
    return pd.DataFrame(rows, columns=["class", "concept", "r2", "p", "skew", "largest"])
