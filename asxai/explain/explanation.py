"""What a study makes of one picture: shown as a panel, saved as files, said as a dict (Figures 5 and 6)."""

import base64
import io
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from .. import paths
from ..figures.explanation import explanation_panel
from .judgement import Judgement


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What a study makes of one picture. Made by `Explainer.explain`; shows itself as a panel in a notebook."""

    picture: np.ndarray  # uint8 (height, width, 3), as the network sees it: the central square, scaled
    class_names: tuple
    names: tuple  # (concept,)
    class_probabilities: np.ndarray  # (class,): the softmax that the sentence is to be compared with
    judgement: Judgement
    scores: np.ndarray  # PCS, (class, concept); NaN where a class lacks a concept
    concept_probabilities: np.ndarray  # P_s, (class, concept)
    masks: np.ndarray  # bool (concept, height, width), of the predicted class; empty where a concept is not seen
    similarity: np.ndarray  # global structural similarity, (class,)
    exemplars: np.ndarray  # uint8 (exemplar, height, width, 3): the most similar training pictures of that class
    exemplar_sources: tuple  # their files, as "class/file"
    assurance: str = ""  # what its tier promises, or why it is not sure; nothing where the rules decide alone

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
        See `asxai.explain.rules`. `pcs` and `concept_probabilities` have a row per class and a number per concept,
        `mask_files` is what `save` calls the masks, None for that of a concept that is not seen, and `mask_pixels` how
        many pixels of `picture.png` each holds.
        """
        judgement, names = self.judgement, ("predicted", "probability", "tier", "sentence", "assurance")
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
        }

    def _mask_files(self):
        """What `save` calls the masks, by the number of their concept; None for one that is not seen."""
        tidy = [re.sub(r"[^\w-]+", "-", name) for name in self.names]  # a name is no path
        return [f"mask_{k}_{tidy[k - 1]}.png" if mask.any() else None for k, mask in enumerate(self.masks, 1)]

    def save(self, folder: str | Path) -> Path:
        """Write `explanation.json`, `panel.png`, `picture.png` and a mask per concept that is seen; the folder.

        Masks fit `picture.png`, what the network saw: the central square of a picture, scaled. Masks of an explanation
        that was saved in the same folder before are removed. Raises ValueError where no folder can be made.
        """
        folder, files = Path(folder), self._mask_files()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"folder={str(folder)!r} cannot be made ({error.strerror}); give another") from error
        try:
            before = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))["mask_files"]
        except (OSError, ValueError, KeyError, TypeError):  # nothing of ours is there
            before = []
        text, panel = json.dumps(self.to_dict(), indent=1), self.figure()
        options = {"format": "png", "dpi": 90, "bbox_inches": "tight", "metadata": {"Software": None}}
        png = lambda array: lambda path: Image.fromarray(array).save(path, format="PNG")
        paths.write_atomically(folder / "picture.png", png(self.picture))
        paths.write_atomically(folder / "panel.png", lambda path: panel.savefig(path, **options))
        for file, mask in zip(files, self.masks):
            if file:
                paths.write_atomically(folder / file, png(mask.astype(np.uint8) * 255))
        paths.write_atomically(folder / "explanation.json", lambda path: path.write_text(text, encoding="utf-8"))
        for file in {Path(file).name for file in before if file} - set(files):
            (folder / file).unlink(missing_ok=True)
        return folder
