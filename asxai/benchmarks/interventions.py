"""What drawn pictures know exactly: the logits of every subset of parts, and how far maps tell them.

    truth = part_truth(study, [method], split)          # renders each picture without each subset of its loose parts
    values = shapley(truth.logits["black box"][..., 0])  # (picture, part): exact, from all subsets

No photograph has this. A part that is not drawn leaves what was behind it, so that only the object is unusual; of
`menagerie-game` two fifths of the training pictures lack parts, too.
"""

from itertools import product
from math import comb
from typing import NamedTuple

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed

from ..cache import code_hash, kept_tensors, key_of
from ..concepts.masks import upsample
from ..data.datasets import Split
from ..data.pictures import to_batch
from ..data.sources import redraw
from ..methods.base import Method, features
from ..progress import bar
from ..statistics import spearman

THRESHOLDS = np.linspace(0.02, 0.5, 13)  # shares of relevance from which on a part is said to be important
UNCHANGED = 0.05  # of the whole drop: a part that changes the logit by less does not matter
# completeness and correctness on FunnyBirds, of convolutional networks and methods that are here: the table of the
# project page of Hesse et al., ICCV 2023 (visinf.github.io/funnybirds). LRP is there for a vision transformer only
PUBLISHED = {
    "ResNet-50": {
        **{"integrated gradients": (0.86, 0.59), "input x gradient": (0.58, 0.54), "Grad-CAM": (0.74, 0.55)},
        **{"DeepLIFT": (0.89, 0.65), "ProtoPNet": (0.75, 0.76)},
    },
    "VGG16": {
        **{"integrated gradients": (0.95, 0.67), "input x gradient": (0.84, 0.55), "Grad-CAM": (0.91, 0.75)},
        **{"DeepLIFT": (0.97, 0.78)},
    },
}


class Truth(NamedTuple):
    """Logits of pictures with some of their parts not drawn."""

    parts: tuple  # (part,): names, in the order of bits
    masks: np.ndarray  # bool (picture, part, size, size): where each is
    areas: np.ndarray  # (picture, part): share of the picture
    logits: dict  # explained network: (picture, subset, class); bit k of a subset's number: part k is drawn


def loose(study) -> tuple[str, ...]:
    """Names of parts that may be left out in all classes of a drawn data set."""
    import menagerie

    of_classes = [menagerie.loose_parts(study.data.name, name) for name in study.class_names]
    return tuple(part for part in study.data.part_names if all(part in parts for parts in of_classes))


def explained(method: Method) -> str:
    """Which network a method explains, by name."""
    return method.explains or method.name


def part_truth(study, methods: list[Method], split: Split) -> Truth:
    """`Truth` of the networks of some methods. Features of a picture's subsets are computed once for all of them."""
    parts = loose(study)
    drawn = np.array(list(product((False, True), repeat=len(parts))))[:, ::-1]  # (subset, part): bit k is part k
    networks = {explained(method): method for method in methods}
    code = code_hash("data", "model", "methods")

    def compute():
        logits = {name: [] for name in networks}
        with Parallel(n_jobs=cpu_count()) as parallel:
            for path, fine in bar(list(zip(split.paths, split.fine or [None] * len(split))), desc="subsets of parts"):
                without = [tuple(np.array(parts)[~subset]) for subset in drawn]
                pictures = parallel(delayed(redraw)(study.data.name, path, remove, fine) for remove in without)
                values = features(study.model, to_batch(pictures, study.config.size), study.config.size)
                for name, method in networks.items():
                    logits[name].append(method.scores(values))
        return {name: torch.stack(of_pictures) for name, of_pictures in logits.items()}

    key = key_of(sorted(networks), list(split.hashes), parts, code)
    kept = kept_tensors(study.folder / f"truth-{key[:12]}.safetensors", compute)
    numbers = [1 + study.data.part_names.index(part) for part in parts]
    masks = split.part_masks(study.config.size)[:, None] == np.array(numbers)[:, None, None]
    return Truth(parts, masks, masks.mean(axis=(2, 3)), {name: own.double().numpy() for name, own in kept.items()})


def shapley(values: np.ndarray) -> np.ndarray:
    """Exact Shapley values `(picture, part)` of `(picture, subset)`, all subsets by number (Shapley, 1953)."""
    count = values.shape[1].bit_length() - 1
    subsets, result = np.arange(values.shape[1]), np.zeros((len(values), count))
    sizes = np.array([number.bit_count() for number in subsets.tolist()])
    for k in range(count):
        without = subsets[subsets >> k & 1 == 0]
        weight = np.array([1 / (count * comb(count - 1, size)) for size in sizes[without]])
        result[:, k] = (values[:, without | 1 << k] - values[:, without]) @ weight
    return result


def single_drops(values: np.ndarray) -> np.ndarray:
    """What `(picture, subset)` lose if one part alone is not drawn, `(picture, part)`."""
    whole = values.shape[1] - 1
    return np.stack([values[:, -1] - values[:, whole ^ 1 << k] for k in range(whole.bit_count())], axis=1)


def part_relevance(evidence: torch.Tensor, masks: np.ndarray) -> np.ndarray:
    """Sums of maps `(picture, height, width)` over parts `(picture, part, size, size)`: `(picture, part)`."""
    fine = upsample(evidence.float(), masks.shape[-1]).double().numpy()
    return np.einsum("pyx,pkyx->pk", fine, masks.astype(float))


def rank_agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each picture's parts, `(picture,)`; 0 where a side has no order."""
    return np.nan_to_num([spearman(a, b) for a, b in zip(first.round(9), second.round(9))])


# --- FunnyBirds ------------------------------------------------------------------------------------------------------


def funny_birds(relevance: np.ndarray, logits: np.ndarray, label) -> dict[str, np.ndarray]:
    """The questions of Hesse et al. (ICCV 2023), each `(picture,)` in [0, 1], higher is better.

    relevance: `(picture, part)`. logits: `(picture, subset, class)`. label: of each picture. Parts count as important
    from a share of the positive relevance on; the share is that of `THRESHOLDS` with the best mean of all questions, as
    there. CSDC: how much of some smallest set of parts that suffices for the prediction is important. PC: with the
    important parts alone the prediction stays. DC: without them it changes. D: share of parts that change the logit by
    less than a twentieth which are not important (1 where there are none).
    """
    count, predicted = relevance.shape[1], logits.argmax(axis=2)
    same = predicted == predicted[:, -1:]  # (picture, subset)
    bits = np.arange(logits.shape[1])[:, None] >> np.arange(count) & 1
    positive = relevance.clip(0)
    share = positive / np.maximum(positive.sum(axis=1, keepdims=True), 1e-12)
    value = np.take_along_axis(logits, np.asarray(label)[:, None, None], axis=2)[..., 0]
    scale = np.maximum(np.abs(value[:, -1] - value[:, 0]), 1e-9)[:, None]
    idle = np.abs(single_drops(value)) < UNCHANGED * scale
    best = {}
    for threshold in THRESHOLDS:
        chosen = share >= threshold
        number = chosen @ (1 << np.arange(count))
        pictures = np.arange(len(relevance))
        answers = {
            "CSDC": np.array([_sufficient(own, bits, row) for own, row in zip(chosen, same)]),
            "PC": same[pictures, number].astype(float),
            "DC": 1.0 - same[pictures, (1 << count) - 1 - number],
            "D": 1 - (chosen & idle).sum(axis=1) / np.maximum(idle.sum(axis=1), 1),
        }
        if not best or completeness(answers).mean() > completeness(best).mean():
            best = answers
    return best


def completeness(answers: dict[str, np.ndarray]) -> np.ndarray:
    """Mean of the first three questions, and of that with distractibility, `(picture,)`."""
    return (np.mean([answers[name] for name in ("CSDC", "PC", "DC")], axis=0) + answers["D"]) / 2


def _sufficient(chosen, bits, same):
    """Largest share of a minimal sufficient set that is chosen; all subsets above a sufficient one need not suffice."""
    enough = np.flatnonzero(same)
    minimal = [s for s in enough if not any(t != s and t & s == t for t in enough)]
    shares = [1.0 if s == 0 else (bits[s] * chosen).sum() / bits[s].sum() for s in minimal]
    return max(shares)
