"""Explain a picture: where, what and why (section 2.3.4, Figures 5 and 6).

    explainer = Explainer(study)                    # or simply study.explain(picture)
    explanation = explainer.explain("some.jpg")     # a path, PIL image, array or tensor; a list gives a list
    explanation.sentence                            # "I am sure it is ... mainly because ..."
    explanation                                     # in a notebook: one panel with everything
    explanation.save("folder")                      # the panel, the masks and explanation.json

Everything comes from one forward pass: the class and its probability, a score for every concept of every class, where
the concepts are, how much the picture's patches look like the prototypes, and which training pictures are most alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..data.features import BATCH
from ..data.folders import tail
from ..data.pictures import DataError, picture_list
from .confidence import Confidence, evidence, fit_confidence, study_evidence
from .explanation import Decision, Explanation
from .importance import study_importance
from .judgement import judge
from .rules import RULES, Rules
from .scores import concept_activation, study_scores
from .similarity import Prototypes, global_similarity
from .whole import read_wholes

if TYPE_CHECKING:
    from ..concepts.concepts import Concepts
    from ..data.datasets import Split
    from ..model.protocnn import Activations
    from ..study import Study

SEEN = 0.1  # P_s from which on a concept is taken to be in the picture: below it its mask says nothing
EXEMPLARS = 4
# Pictures that are explained at once. Each explanation keeps pixels of its own, and what was computed for a batch
# leaves holes between them: of 32 they grew by 99 MiB over 150 pictures, of 8 by 7. Memory peaks at 1.3 GiB instead of
# 2.3, and it takes no longer.
AT_ONCE = 8


class Seen(NamedTuple):
    """Pictures as a network has seen them: all of an explanation that hangs on nothing else. Of `Explainer.look`."""

    pictures: torch.Tensor  # uint8 (picture, 3, size, size)
    out: "Activations"  # on the CPU
    network: np.ndarray | None  # probabilities (picture, class) of the given network itself, where it decides
    similarity: np.ndarray  # global structural similarity, (picture, class)
    exemplars: list  # for each picture a function that reads uint8 (exemplar, height, width, 3)
    sources: list  # and their files, as "class/file"


class Explainer:
    """Explains pictures with a study. Making one takes a while the first time; its numbers are kept with the study.

    concepts: by default `study.concepts()`. rules: thresholds and words, see `asxai.explain.rules`. calibrated: whether
    tiers are those of `asxai.explain.confidence`, which say what they promise; else those of the rules, as in the
    paper. importance: what weighs concepts in equation 13: "rank", R_s as in the paper; "none"; or "sobol", how much of
    the logit hangs on them, which tells what decides better in many classes, see `asxai.explain.importance`
    Raises ValueError for what an opened file cannot do, calibrated tiers and "sobol": both need the study's pictures.
    """

    def __init__(
        self,
        study: "Study",
        concepts: "Concepts | None" = None,
        rules: Rules = RULES,
        calibrated: bool = False,
        importance: str = "rank",
    ):
        if calibrated and study.kept:
            raise ValueError(f"calibrated=True needs validation pictures, and {study.folder} has none; use its study")
        self.study, self.rules, self.calibrated = study, rules, calibrated
        self.concepts = study.concepts() if concepts is None else concepts
        kept = study.kept  # of an opened file, which has numbers in place of training pictures
        self.scores = kept.scores_of(self.concepts) if kept else study_scores(study, self.concepts)
        weights = study_importance(study, self.concepts, self.scores.importance, importance)
        self.scores = replace(self.scores, importance=weights)

    @cached_property
    def grid(self) -> int:
        """Cells a side of the activation maps."""
        blank = np.full((self.study.config.size, self.study.config.size, 3), 128, np.uint8)
        return self.study.activate(blank).maps.shape[-1]

    @cached_property
    def _prototypes(self):
        if self.study.kept:
            return Prototypes(*(tensor.to(self.study.model.device) for tensor in self.study.kept.prototypes))
        return Prototypes.of(self.study, self.concepts)

    @cached_property
    def confidence(self) -> Confidence:
        """How likely answers are right, and what their tiers promise, see `asxai.explain.confidence`."""
        return fit_confidence(study_evidence(self))

    @cached_property
    def training(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Similarities of all training pictures, `(picture, class * basis)`, and their labels."""
        if self.study.kept:
            return self.study.kept.training
        train = self.study.data.train
        return self.study.similarity(train).flatten(1), torch.from_numpy(train.labels)

    @torch.inference_mode()
    def activate(self, pictures: torch.Tensor) -> "Iterator[Activations]":
        """Activations of uint8 pictures `(picture, 3, size, size)`, on the CPU, a batch at a time."""
        for out, _ in self._decided(pictures):
            yield out

    def _decided(self, pictures):
        """The same with what the given network itself makes of them, probabilities `(picture, class)` or None."""
        model = self.study.model
        for batch in pictures.split(BATCH):
            batch, network = batch.to(model.feature_mean.device), None
            if model.decides:
                features, logits = model.backbone.decide(batch)
                network = logits.double().softmax(dim=1).cpu().numpy()
            else:
                features = model.features(batch)
            out = model(features)
            yield type(out)(*(tensor.cpu() for tensor in out)), network

    def pcs(self, pictures: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """PCS `(picture, class, concept)` and softmax `(picture, class)` of uint8 pictures, for `rules.tiers`."""
        outs = [(out.similarity, out.logits) for out in self.activate(pictures)]
        return self.pcs_of(*(torch.cat(values) for values in zip(*outs)))

    def split_pcs(self, split: "Split") -> tuple[np.ndarray, np.ndarray]:
        """The same for a split of the data set, from cached features."""
        similarity = self.study.similarity(split)
        weight = self.study.model.last_layer.weight.detach().cpu()
        return self.pcs_of(similarity, F.linear(similarity.flatten(1), weight))

    def pcs_of(self, similarity: torch.Tensor, logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The same from similarities `(picture, class, basis)` and logits `(picture, class)`."""
        return self.scores.pcs(concept_activation(self.concepts, similarity)), logits.double().softmax(dim=1).numpy()

    def explain(self, pictures, percentile: float = 95.0, without: tuple = ()) -> Explanation | list[Explanation]:
        """`Explanation` of one picture, or a list of them for a list, in one pass.

        pictures: paths, PIL images, arrays or tensors; an array or tensor `(picture, ...)` of several is a list, too.
        percentile: of an activation map, above which its mask lies. without: names of concepts that shall not count.
        Raises `asxai.data.pictures.DataError` for pictures that cannot be read, and ValueError for unknown concepts or
        no pictures at all.
        """
        sources, single = picture_list(pictures)
        explanations = []
        for one in self.stream(sources, percentile, without):
            if isinstance(one, DataError):
                raise one
            explanations.append(one)
        return explanations[0] if single else explanations

    def stream(
        self, sources: Sequence, percentile: float = 95.0, without: tuple = ()
    ) -> Iterator[Explanation | DataError]:
        """`explain` of any number of pictures, a batch at a time, so that memory stays what it is.

        In place of a picture that cannot be read comes its `DataError`.
        """
        for start in range(0, len(sources), AT_ONCE):  # nothing of a batch is left when the next one is read
            yield from self._explained(sources[start : start + AT_ONCE], percentile, without)

    def _explained(self, sources, percentile, without):
        read = read_wholes(sources, self.study.config.size)
        good = [one for one in read if not isinstance(one, DataError)]
        looks = self.look(torch.stack([pixels for pixels, _ in good])) if good else ()
        explained = (one for seen in looks for one in self.explain_seen(seen, percentile, without))
        for one in read:
            yield one if isinstance(one, DataError) else replace(next(explained), whole=one[1])

    @torch.inference_mode()
    def look(self, pictures: torch.Tensor) -> Iterator[Seen]:
        """`Seen` of uint8 pictures `(picture, 3, size, size)`, a batch at a time: what takes longest of `explain`."""
        for batch, (out, network) in zip(pictures.split(BATCH), self._decided(pictures)):
            similarity = global_similarity(self._prototypes, batch, out.maps).double().numpy()
            nearest = self._nearest(out.similarity.flatten(1), out.logits.argmax(dim=1))
            yield Seen(batch, out, network, similarity, *zip(*map(self._exemplars, nearest)))

    def _exemplars(self, numbers: list):
        """What reads these training pictures, once and not before somebody looks at them, and their names."""
        if self.study.kept:
            return self.study.kept.exemplars(numbers)
        files = [self.study.data.train.paths[n] for n in numbers]
        return cache(lambda: self.study.pictures(files)), tuple(tail(path, 2) for path in files)

    @torch.inference_mode()
    def explain_seen(self, seen: Seen, percentile: float = 95.0, without: tuple = ()) -> list[Explanation]:
        """`explain` of pictures that were looked at: all that percentile and without change."""
        class_names, out = tuple(self.study.class_names), seen.out
        activation = concept_activation(self.concepts, out.similarity, without)
        scores, probable = self.scores.pcs(activation), self.scores.probability(activation)
        softmax, labels = out.logits.double().softmax(dim=1).numpy(), out.logits.argmax(dim=1).numpy()
        index = np.arange(len(labels))
        masks = self.concepts.masks(out.maps[index, labels], labels, self.study.config.size, percentile).numpy()
        masks &= (np.nan_to_num(probable[index, labels]) >= SEEN)[:, :, None, None]
        channels_last, explanations = seen.pictures.permute(0, 2, 3, 1).numpy(), []
        tiers, assurances = [None] * len(labels), [""] * len(labels)
        if self.calibrated:
            found = evidence(self, out.similarity, out.logits, without)
            tiers, assurances = self.confidence.tiers(found).tolist(), self.confidence.assurances(found)
        for i, label in enumerate(labels.tolist()):
            names = self.concepts.names_in(label)
            judgement = judge(scores[i], label, class_names, names, self.rules, seen.similarity[i], tiers[i])
            # pixels of its own, or whoever keeps one explanation would keep those of the whole batch
            numbers = (softmax[i], judgement, scores[i], probable[i], masks[i].copy(), seen.similarity[i])
            network = None
            if seen.network is not None:
                best, fit = int(seen.network[i].argmax()), self.study.metrics["network"]
                fidelity = (fit["agreement"], fit["correlation"], fit["pictures"])
                network = Decision(class_names[best], float(seen.network[i, best]), *fidelity)
            said = {"assurance": assurances[i], "network": network}
            known = (*numbers, seen.exemplars[i], seen.sources[i])
            explanations.append(Explanation(channels_last[i].copy(), class_names, names, *known, **said))
        return explanations

    def _nearest(self, similarity, labels):
        """Training pictures of the predicted class whose basis vectors respond most alike, indices `(picture, ...)`."""
        known, known_labels = self.training
        # by differences, so that a picture has the same neighbours alone and among many
        distance = torch.cdist(similarity, known, compute_mode="donot_use_mm_for_euclid_dist")
        distance[labels[:, None] != known_labels] = torch.inf
        near, order = (values[:, :EXEMPLARS] for values in distance.sort(dim=1, stable=True))
        return [numbers[finite].tolist() for numbers, finite in zip(order, near.isfinite())]
