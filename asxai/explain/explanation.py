"""What a study makes of one picture: shown as a panel, saved as files, said as a dict (Figures 5 and 6)."""

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from .. import paths
from ..figures.explanation import explanation_panel
from ..figures.style import OUTLINES
from .judgement import Judgement
from .whole import Whole

DRAWN = ("panel.png", "whole.jpg")  # what `Explanation.save` draws where it is asked to


class Decision(NamedTuple):
    """What a given network itself says of a picture, and how far its Proto-CNN accounts for it elsewhere."""

    predicted: str
    probability: float
    agreement: float  # share of validation pictures in which both take the same class
    correlation: float  # of both logits there, see `asxai.model.recipe.fidelity`
    pictures: int  # how many these are


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What a study makes of one picture. Made by `Explainer.explain`; shows itself as a panel in a notebook."""

    picture: np.ndarray  # uint8 (height, width, 3), as the network sees it: the central square, scaled
    class_names: tuple
    names: tuple  # (concept,): what the predicted class's concepts are called, see `Concepts.names_in`
    class_probabilities: np.ndarray  # (class,): the softmax that the sentence is to be compared with
    judgement: Judgement
    scores: np.ndarray  # PCS, (class, concept); NaN where a class lacks a concept
    concept_probabilities: np.ndarray  # P_s, (class, concept)
    masks: np.ndarray  # bool (concept, height, width), of the predicted class; empty where a concept is not seen
    similarity: np.ndarray  # global structural similarity, (class,)
    read_exemplars: Callable[[], np.ndarray]  # gives `exemplars`
    exemplar_sources: tuple  # their files, as "class/file"
    whole: Whole | None = None  # the picture that was given, where it is known
    assurance: str = ""  # what its tier promises, or why it is not sure; nothing where the rules decide alone
    network: Decision | None = None  # of the given network, where it decides

    def __repr__(self):
        return f"Explanation({self.sentence!r})"

    @property
    def predicted(self) -> str:
        return self.judgement.predicted

    @property
    def probability(self) -> float:
        """Of the predicted class, by the softmax."""
        return float(self.class_probabilities.max())

    @property
    def tier(self) -> str:
        """ "sure", "probably" or "not sure"."""
        return self.judgement.tier

    @property
    def sentence(self) -> str:
        return self.judgement.sentence

    @property
    def score(self) -> float:
        """Mean PCS of the predicted class's concepts, from 0 to about 1: how strongly all in all they are seen."""
        scores = self.scores[self.class_names.index(self.predicted)]
        return float(np.nanmean(scores)) if np.isfinite(scores).any() else 0.0

    @cached_property
    def exemplars(self) -> np.ndarray:
        """The most similar training pictures of the predicted class, uint8 `(exemplar, height, width, 3)`.

        They are read when they are first looked at.
        """
        return self.read_exemplars()

    def given_network(self) -> str:
        """What the given network itself says, and whether that is what the sentence explains."""
        says = "says" if self.network.predicted == self.predicted else "disagrees and says"
        return f"The given network {says}: {self.network.predicted}, {round(100 * self.network.probability, 1)} %"

    def figure(self) -> Figure:
        """The panel: picture with concept outlines, bubble ring, histogram, exemplars and sentence, by matplotlib."""
        return self._panel[0]

    def table(self) -> pd.DataFrame:
        """The numbers of the panel, a tidy table."""
        return self._panel[1]

    @cached_property
    def _panel(self):
        softmax = f"The softmax alone says: {self.predicted}, {100 * self.probability:.1f} %"
        softmax = f"{self.assurance}\n{softmax}" if self.assurance else softmax
        if self.network:
            fidelity = f"{round(100 * self.network.agreement, 1)} % of {self.network.pictures} validation pictures"
            softmax += f". {self.given_network()} (agreement: {fidelity})"
        arrays = (self.picture, self.masks, self.names, self.scores, self.class_names, self.similarity)
        figure, table = explanation_panel(*arrays, self.sentence, softmax, self.exemplars, predicted=self.predicted)
        plt.close(figure)  # pyplot must not show it a second time
        return figure, table

    def _repr_mimebundle_(self, include=None, exclude=None):
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="jpeg", dpi=80, bbox_inches="tight", pil_kwargs={"quality": 88})
        return {"image/jpeg": base64.b64encode(buffer.getvalue()).decode(), "text/plain": self.sentence}

    def to_dict(self) -> dict:
        """Plain numbers and texts, for JSON; None stands for a concept that a class lacks. Without the pictures.

        `other` is the class that competes with the predicted one, `settled` that which global similarity settles on,
        None where it does not. `words` has an entry per concept of the predicted class, the largest `delta` first: its
        `name` and score `pcs` (a probability times an importance that is 1 on average); `found`, the other class that
        scores highest in it, and `delta`, by how much it is behind; and the words of the sentence, `position`
        ("vivid", "be") and `semanteme` ("obviously", "confusing", ...), None where the sentence says nothing of it.
        See `asxai.explain.rules`. `assurance` is what the tier promises, empty where nothing is. `network` is the
        `Decision` of a given network, None without one. `pcs` and `concept_probabilities` have a row per class and a
        number per concept, `mask_files` is what `save` calls the masks, None for that of a concept that is not
        seen, and `mask_pixels` how many pixels of `picture.png` each holds.

        `whole` is about the picture as it was given, upright: `width` and `height`, the `box` that the network saw
        (left, top, right, bottom), `polygons` of each concept as in `Whole.polygons`, and `mask_files` of that size.
        """
        judgement, names = self.judgement, ("predicted", "probability", "tier", "score", "sentence", "assurance")
        plain = lambda values: [None if np.isnan(v) else round(float(v), 6) for v in values]
        return {name: getattr(self, name) for name in names} | {
            "other": judgement.other,
            "settled": judgement.settled,
            "words": [concept._asdict() for concept in judgement.concepts],
            "classes": list(self.class_names),
            "concepts": list(self.names),
            "class_probabilities": self.class_probabilities.tolist(),
            "pcs": [plain(row) for row in self.scores],
            "concept_probabilities": [plain(row) for row in self.concept_probabilities],
            "similarity": plain(self.similarity),
            "mask_pixels": self.masks.sum(axis=(1, 2)).tolist(),
            "mask_files": self._mask_files(),
            "exemplars": list(self.exemplar_sources),
            "whole": self.whole
            and {
                "width": self.whole.width,
                "height": self.whole.height,
                "box": list(self.whole.box),
                "polygons": [self.whole.polygons(mask) for mask in self.masks],
                "mask_files": self._mask_files("whole"),
            },
            "network": self.network._asdict() if self.network else None,
        }

    def _mask_files(self, kind="mask"):
        """What `save` calls the masks, by the number of their concept; None for one that is not seen."""
        tidy = [re.sub(r"[^\w-]+", "-", name) for name in self.names]  # a name is no path
        return [f"{kind}_{k}_{tidy[k - 1]}.png" if mask.any() else None for k, mask in enumerate(self.masks, 1)]

    def save(self, folder: str | Path, drawn: bool = True, **notes) -> Path:
        """Write `explanation.json`, pictures, and masks of each concept that is seen; the folder.

        `mask_...` fit `picture.png`, what the network saw: the central square of a picture, scaled. `whole_...` fit the
        picture that was given, as viewers show it. drawn: also `panel.png`, and `whole.jpg`, the whole picture with the
        square and outlines of concepts; that takes most of the time. notes: entries that the JSON has besides.

        What an explanation that was saved in the same folder before left there, and this one does not write again, is
        removed: masks, and what was drawn. Raises ValueError where no folder can be made.
        """
        folder, files = Path(folder), self._mask_files()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"folder={str(folder)!r} cannot be made ({error.strerror}); give another") from error
        try:
            before = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
            before = [*before["mask_files"], *(before["whole"] or {"mask_files": ()})["mask_files"], *DRAWN]
        except (OSError, ValueError, KeyError, TypeError):  # nothing of ours is there
            before = []
        text = json.dumps(notes | self.to_dict(), indent=1)
        text = re.sub(r"(?<=[\dl,[])\n\s+(?=[-\dn\]])", " ", text)  # rows of numbers in a line each
        pictures = {"picture.png": self.picture}
        pictures |= {file: mask.astype(np.uint8) * 255 for file, mask in zip(files, self.masks) if file}
        if self.whole:
            wholes = zip(self._mask_files("whole"), self.masks)
            pictures |= {file: self.whole.mask(mask) for file, mask in wholes if file}
        if drawn:
            panel, options = self.figure(), {"format": "png", "dpi": 90, "bbox_inches": "tight"}
            figure = lambda path: panel.savefig(path, metadata={"Software": None}, **options)
            paths.write_atomically(folder / DRAWN[0], figure)
        if drawn and self.whole:
            seen = [mask for mask in self.masks if mask.any()]
            whole = self.whole.drawn(seen, OUTLINES * len(seen))
            paths.write_atomically(folder / DRAWN[1], lambda path: whole.save(path, format="JPEG", quality=88))
        for file, array in pictures.items():
            paths.write_atomically(
                folder / file, lambda path: Image.fromarray(array).save(path, "PNG", compress_level=1)
            )
        paths.write_atomically(folder / "explanation.json", lambda path: path.write_text(text, encoding="utf-8"))
        written = {*pictures, *DRAWN[: 2 if self.whole else 1]} if drawn else set(pictures)
        for file in {Path(file).name for file in before if file} - written:
            (folder / file).unlink(missing_ok=True)
        return folder
