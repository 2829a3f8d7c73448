"""Explain a picture: where, what and why (section 2.3.4, Figures 5 and 6).

    explainer = Explainer(study)                    # or simply study.explain(picture)
    explanation = explainer.explain("some.jpg")     # a path, PIL image, array or tensor; a list gives a list
    explanation.sentence                            # "I am sure it is ... mainly because ..."
    explanation                                     # in a notebook: one panel with everything
    explanation.save("folder")                      # the panel, the masks and explanation.json

Everything comes from one forward pass: the class and its probability, a score for every concept of every class, where
the concepts are, how much the picture's patches look like the prototypes, and which training pictures are most alike.
"""

import base64
import io
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .. import paths
from ..data.features import BATCH
from ..data.folders import tail
from ..data.pictures import to_batch
from ..figures.explanation import explanation_panel
from .judgement import Judgement, judge
from .rules import RULES
from .scores import concept_activation, study_scores
from .similarity import Prototypes, global_similarity

SEEN = 0.1  # P_s from which on a concept is taken to be in the picture: below it its mask says nothing
EXEMPLARS = 4


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What a study makes of one picture. Made by `Explainer.explain`; shows itself as a panel in a notebook."""

    picture: np.ndarray  # uint8 (height, width, 3), as the network sees it: the central square, scaled
    class_names: tuple
    names: tuple  # (concept,)
    predicted: str
    probability: float  # of the predicted class: the softmax that the sentence is to be compared with
    class_probabilities: np.ndarray  # (class,)
    judgement: Judgement
    scores: np.ndarray  # PCS, (class, concept); NaN where a class lacks a concept
    concept_probabilities: np.ndarray  # P_s, (class, concept)
    masks: np.ndarray  # bool (concept, height, width), of the predicted class; empty where a concept is not seen
    similarity: np.ndarray  # global structural similarity, (class,)
    exemplars: np.ndarray  # uint8 (exemplar, height, width, 3): the most similar training pictures of that class
    exemplar_sources: tuple  # their files, as "class/file"

    def __repr__(self):
        return f"Explanation({self.sentence!r})"

    @property
    def tier(self):
        """"sure", "probably" or "not sure"."""
        return self.judgement.tier

    @property
    def sentence(self):
        return self.judgement.sentence

    def figure(self):
        """The panel: picture with concept outlines, bubble ring, histogram, exemplars and sentence, by matplotlib."""
        return self._panel[0]

    def table(self):
        """The numbers of the panel, a tidy table."""
        return self._panel[1]

    @cached_property
    def _panel(self):
        import matplotlib.pyplot as plt

        figure, table = explanation_panel(
            self.picture, self.masks, list(self.names), self.scores, list(self.class_names), self.similarity,
            self.sentence, f"{self.predicted}, {100 * self.probability:.1f} %", list(self.exemplars),
            predicted=self.predicted)
        plt.close(figure)  # pyplot must not show it a second time
        return figure, table

    def _repr_mimebundle_(self, include=None, exclude=None):
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="jpeg", dpi=80, bbox_inches="tight", pil_kwargs={"quality": 88})
        return {"image/jpeg": base64.b64encode(buffer.getvalue()).decode(), "text/plain": self.sentence}

    def to_dict(self):
        """Plain numbers and texts, for JSON; None stands for a concept that a class lacks. Without the pictures.

        `other` is the class that competes with the predicted one, `settled` that which global similarity settles on,
        None where it does not. `words` has an entry per concept of the predicted class, the largest `delta` first: its
        `name` and score `pcs` (a probability times an importance that is 1 on average); `found`, the other class that
        scores highest in it, and `delta`, by how much it is behind; and the words of the sentence, `position`
        ("vivid", "be") and `semanteme` ("obviously", "confusing", ...), None where the sentence says nothing of it.
        See `asxai.explain.rules`. `pcs` and `concept_probabilities` have a row per class and a number per concept,
        `mask_files` is what `save` calls the masks, None for that of a concept that is not seen, and `mask_pixels` how
        many pixels of `picture.png` each holds.
        """
        plain = lambda values: [None if np.isnan(v) else round(float(v), 6) for v in values]
        return {"predicted": self.predicted, "probability": float(self.probability), "tier": self.tier,
                "sentence": self.sentence, "other": self.judgement.other, "settled": self.judgement.settled,
                "words": [concept._asdict() for concept in self.judgement.concepts],
                "classes": list(self.class_names), "concepts": list(self.names),
                "class_probabilities": [float(p) for p in self.class_probabilities],
                "pcs": [plain(row) for row in self.scores],
                "concept_probabilities": [plain(row) for row in self.concept_probabilities],
                "similarity": plain(self.similarity),
                "mask_pixels": [int(mask.sum()) for mask in self.masks], "mask_files": self._mask_files(),
                "exemplars": list(self.exemplar_sources)}

    def _mask_files(self):
        """What `save` calls the masks, by the number of their concept; None for one that is not seen."""
        tidy = [re.sub(r"[^\w-]+", "-", name) for name in self.names]  # a name is no path
        return [f"mask_{k}_{name}.png" if mask.any() else None
                for k, (name, mask) in enumerate(zip(tidy, self.masks), 1)]

    def save(self, folder):
        """Write `explanation.json`, `panel.png`, `picture.png` and a mask per concept that is seen; the folder.

        Masks fit `picture.png`, what the network saw: the central square of a picture, scaled. Masks of an explanation
        that was saved in the same folder before are removed. Raises ValueError where no folder can be made.
        """
        folder, ours = Path(folder), self._mask_files()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"folder={str(folder)!r} cannot be made ({error.strerror}); give another") from error
        try:
            before = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))["mask_files"]
        except (OSError, ValueError, KeyError, TypeError):  # nothing of ours is there
            before = []
        text = json.dumps(self.to_dict(), indent=1)
        png = lambda array: lambda path: Image.fromarray(array).save(path, format="PNG")
        paths.write_atomically(folder / "picture.png", png(self.picture))
        paths.write_atomically(folder / "panel.png", lambda path: self.figure().savefig(
            path, format="png", dpi=90, bbox_inches="tight", metadata={"Software": None}))
        for file, mask in zip(ours, self.masks):
            if file:
                paths.write_atomically(folder / file, png(mask.astype(np.uint8) * 255))
        paths.write_atomically(folder / "explanation.json", lambda path: path.write_text(text, encoding="utf-8"))
        for file in {Path(file).name for file in before if file} - set(ours):
            (folder / file).unlink(missing_ok=True)
        return folder


class Seen(NamedTuple):
    """Pictures as a network has seen them: all of an explanation that hangs on nothing else. Of `Explainer.look`."""

    pictures: torch.Tensor  # uint8 (picture, 3, size, size)
    out: tuple  # `asxai.model.protocnn.Activations`, on the CPU
    similarity: np.ndarray  # global structural similarity, (picture, class)
    exemplars: tuple  # of each picture, uint8 (exemplar, height, width, 3)
    sources: tuple  # and their paths


class Explainer:
    """Explains pictures with a study. Making one takes a while the first time; its numbers are kept with the study.

    concepts: by default `study.concepts()`. rules: thresholds and words, see `asxai.explain.rules`
    """

    def __init__(self, study, concepts=None, rules=RULES):
        self.study, self.rules = study, rules
        self.concepts = study.concepts() if concepts is None else concepts
        self.scores = study_scores(study, self.concepts)

    @cached_property
    def grid(self):
        """Cells a side of the activation maps."""
        blank = np.zeros((self.study.config.size, self.study.config.size, 3), np.uint8)
        return self.study.activate(blank).maps.shape[-1]

    @cached_property
    def _prototypes(self):
        return Prototypes.of(self.study, self.concepts)

    @cached_property
    def _training(self):
        """Similarities of all training pictures, `(picture, class * basis)`, and their labels."""
        train = self.study.data.train
        return self.study.similarity(train).flatten(1), torch.from_numpy(train.labels)

    @torch.inference_mode()
    def activate(self, pictures):
        """Activations of uint8 pictures `(picture, 3, size, size)`, on the CPU, a batch at a time."""
        device = self.study.model.feature_mean.device
        for batch in pictures.split(BATCH):
            out = self.study.model(self.study.model.features(batch.to(device)))
            yield type(out)(*(tensor.cpu() for tensor in out))

    def pcs(self, pictures):
        """Of uint8 pictures, without masks and sentences: PCS `(picture, class, concept)`, softmax `(picture, class)`.

        What `asxai.explain.rules.tiers` needs for many pictures at once.
        """
        outs = [(out.similarity, out.logits) for out in self.activate(pictures)]
        return self.pcs_of(*(torch.cat(values) for values in zip(*outs)))

    def split_pcs(self, split):
        """The same for a split of the data set, from cached features."""
        similarity = self.study.similarity(split)
        weight = self.study.model.last_layer.weight.detach().cpu()
        return self.pcs_of(similarity, F.linear(similarity.flatten(1), weight))

    def pcs_of(self, similarity, logits):
        """The same from similarities `(picture, class, basis)` and logits `(picture, class)`."""
        return (self.scores.pcs(concept_activation(self.concepts, similarity)),
                logits.double().softmax(dim=1).numpy())

    def explain(self, pictures, percentile=95.0, without=()):
        """`Explanation` of one picture, or a list of them for a list, in one pass.

        pictures: paths, PIL images, arrays or tensors; an array or tensor `(picture, ...)` of several is a list, too.
        percentile: of an activation map, above which its mask lies. without: names of concepts that shall not count.
        Raises `asxai.data.pictures.DataError` for pictures that cannot be read, and ValueError for unknown concepts or no
        pictures at all.
        """
        single = not isinstance(pictures, (list, tuple)) and getattr(pictures, "ndim", 3) != 4
        sources = [pictures] if single else list(pictures)
        if not sources:
            raise ValueError("pictures is empty; give at least one picture")
        found = []
        for seen in self.look(to_batch(sources, self.study.config.size)):
            found += self.explain_seen(seen, percentile, without)
        return found[0] if single else found

    @torch.inference_mode()
    def look(self, pictures):
        """`Seen` of uint8 pictures `(picture, 3, size, size)`, a batch at a time: what takes longest of `explain`."""
        train = self.study.data.train
        for batch, out in zip(pictures.split(BATCH), self.activate(pictures)):
            similarity = global_similarity(self._prototypes, batch, out.maps)
            nearest = self._nearest(out.similarity.flatten(1), out.logits.argmax(dim=1))
            sources = tuple([train.paths[n] for n in own] for own in nearest)
            exemplars = iter(self.study.pictures([path for own in sources for path in own]))
            shown = tuple(np.stack([next(exemplars) for _ in own]) for own in sources)
            yield Seen(batch, out, torch.as_tensor(similarity).double().cpu().numpy(), shown, sources)

    @torch.inference_mode()
    def explain_seen(self, seen, percentile=95.0, without=()):
        """`explain` of pictures that were looked at, a list: all that percentile and without change."""
        study, names, out = self.study, self.concepts.names, seen.out
        activation = concept_activation(self.concepts, out.similarity, without)
        scores, probable = self.scores.pcs(activation), self.scores.probability(activation)
        softmax = out.logits.double().softmax(dim=1).numpy()
        labels = out.logits.argmax(dim=1).numpy()
        index = np.arange(len(labels))
        own = out.maps[torch.from_numpy(index), torch.from_numpy(labels)]
        masks = self.concepts.masks(own, labels, study.config.size, percentile).numpy()
        masks &= (np.nan_to_num(probable[index, labels]) >= SEEN)[:, :, None, None]
        channels_last = seen.pictures.permute(0, 2, 3, 1).numpy()
        result = []
        for i, label in enumerate(labels):
            judgement = judge(scores[i], int(label), study.class_names, names, self.rules, seen.similarity[i])
            result.append(Explanation(channels_last[i], tuple(study.class_names), names, study.class_names[label],
                                      float(softmax[i, label]), softmax[i], judgement, scores[i], probable[i], masks[i],
                                      seen.similarity[i], seen.exemplars[i],
                                      tuple(tail(path, 2) for path in seen.sources[i])))
        return result

    def _nearest(self, similarity, labels):
        """Training pictures of the predicted class whose basis vectors respond most alike, indices `(picture, ...)`."""
        known, known_labels = self._training
        # by differences, so that a picture has the same neighbours alone and among many
        distance = torch.cdist(similarity, known, compute_mode="donot_use_mm_for_euclid_dist")
        distance[labels[:, None] != known_labels] = torch.inf
        near, order = distance.sort(dim=1, stable=True)
        return [own[:int(finite.sum())].tolist()
                for own, finite in zip(order[:, :EXEMPLARS], near[:, :EXEMPLARS].isfinite())]
