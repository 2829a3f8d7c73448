"""A study: one trained Proto-CNN with its data set, its log and its numbers, in one folder.

    study = Study.train("menagerie-pets", seed=1)      # or a folder of pictures per class
    study = Study.load(study.folder)
    study.predict(["a.jpg", pil_image, array, tensor]).frame()

What its folder holds is said in `asxai.explain.store`.
"""

import os
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from . import parallel, paths
from .cache import code_hash
from .concepts.concepts import Concepts
from .concepts.names import study_concepts
from .config import Config
from .data.datasets import DataSet, Split, load_data_set
from .data.features import BATCH, Features, split_features
from .data.pictures import DataError, picture_list, to_batch
from .explain import bundle, store
from .explain.explainer import Explainer, Explanation
from .model.backbones import WeightsError
from .model.geometry import mean_subspace_distance, within_class_cosine
from .model.protocnn import Activations, ProtoCNN
from .model.recipe import (
    build_model,
    fidelity,
    network_targets,
    patch_groups,
    training_features,
    usable_device,
    with_enough_steps,
)
from .model.training import Trainer, evaluate


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of some pictures: `probabilities` `(picture, class)` sum to one over the classes."""

    class_names: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Index of the most probable class, `(picture,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def names(self) -> list[str]:
        return [self.class_names[label] for label in self.labels]

    def frame(self) -> pd.DataFrame:
        """One row per picture: the predicted class, its probability, and the probability of each class."""
        frame = pd.DataFrame(self.probabilities, columns=list(self.class_names))
        frame.insert(0, "predicted", self.names, allow_duplicates=True)  # classes may be called so, too
        frame.insert(1, "probability", self.probabilities.max(axis=1), allow_duplicates=True)
        return frame

    def __len__(self) -> int:
        return len(self.probabilities)


@dataclass(repr=False)
class Study:
    """See the module's docstring. Made by `train` or `load`, not directly."""

    config: Config
    model: ProtoCNN
    class_names: tuple[str, ...]
    metrics: dict
    log: pd.DataFrame  # a row per step: cycle, stage, epoch, loss terms, validation loss and accuracy, orthogonality
    prototypes: pd.DataFrame  # a row per basis vector: class, basis, picture, row, column, cosine, last-layer weight
    basis_before: torch.Tensor  # (class, basis, channel): the vectors before they were replaced by patches
    folder: Path
    _data: DataSet | None = None
    kept: bundle.Kept | None = None  # of a file that was opened: what explanations need of training pictures
    _explainer: Explainer | None = field(default=None, init=False)

    def __repr__(self) -> str:
        names = [textwrap.shorten(name, 20, placeholder="…") for name in self.class_names[:4]]
        names += ["…"] if len(self.class_names) > 4 else []
        return (
            f"Study of {len(self.class_names)} classes with {self.model.basis_per_class} basis vectors each "
            f"({', '.join(names)}), seed {self.config.seed}, in {self.folder}"
        )

    @classmethod
    @parallel.together()
    def train(cls, data_set: str | Path, *, folder: str | Path | None = None, device="cpu", **parameters) -> "Study":
        """Train on a registered data set or a folder of pictures per class, or take up where a killed run stopped.

        Started by torchrun, its processes train one study together, see `asxai.parallel`.

        device: "cpu", "cuda", "mps". parameters: see `asxai.Config`; few pictures get more joint epochs than its
        default, unless they are given, see `asxai.model.recipe`. folder: where the study is kept; by default below
        `runs/studies`, named by data set and parameters, so that the same call later only loads it.
        Raises ValueError or TypeError that name the parameter, and `DataError` for pictures that cannot be used.
        """
        config, device = Config.of(data_set, **parameters), parallel.join(usable_device(device))
        data = parallel.in_turn(lambda: load_data_set(config.data_set))  # the first may draw or fetch it
        if "joint_epochs" not in parameters:
            config = with_enough_steps(config, len(data.train))
        key = config.key(data.fingerprint, code_hash("data", "model"))  # what other code trained is another study
        kept = sorted((paths.RUNS / "studies").glob(f"*-{key}"))  # perhaps trained before the pictures were moved
        given, folder = folder, Path(folder or [*kept, paths.RUNS / "studies" / f"{data.name}-{key}"][0])
        if given:
            store.check_place(folder, config.data_set)
        missing = lambda: parallel.from_first(not (folder / "study.json").exists())
        if missing():
            model = build_model(config, len(data.class_names)).to(device)  # if it cannot be had, nothing is begun
            targets = network_targets(model, data, config)
            # of two runs that want the same study, one trains it, the other waits
            with paths.locked(folder) if parallel.rank() == 0 else nullcontext():
                if missing():
                    return cls._trained(config, data, folder, model, targets, key)
        try:
            study = cls.load(folder, device=device)
        except WeightsError:
            if given:
                raise
            (folder / "study.json").unlink(missing_ok=True)  # one of ours is damaged: it is trained again
            return cls.train(data_set, device=device, **parameters)
        if study.config.key(study.metrics["data_fingerprint"]) != config.key(data.fingerprint):
            raise ValueError(
                f"folder={str(folder)!r} holds a study with other parameters or pictures; give another "
                "folder, or remove this one"
            )
        study.config, study._data, study.model.cache_gb = config, data, config.cache_gb
        return study

    @classmethod
    def _trained(cls, config, data, folder, model, targets, key):
        train, validation = training_features(model, data, config)
        groups = patch_groups(config, model, *train, data.train.paths)
        trainer = Trainer(model, config, train, validation, folder / "checkpoint.safetensors", key, groups, targets)
        log, before = pd.DataFrame(trainer.run()), trainer.basis_before
        test = split_features(model, data.test, config.size, desc="test features")
        scores = evaluate(model, test[0], torch.from_numpy(data.test.labels), BATCH)  # the one look at test pictures
        cycle = trainer.best["cycle"]
        metrics = {
            "test_accuracy": scores["accuracy"],
            "test_loss": scores["loss"],
            "validation_accuracy": float(log[log["cycle"] == cycle]["validation_accuracy"].iloc[-1]),
            "within_class_cosine": float(within_class_cosine(model.basis).mean()),
            "within_class_cosine_before": float(within_class_cosine(before).mean()),
            "subspace_distance": mean_subspace_distance(model.basis),
            "subspace_distance_before": mean_subspace_distance(before),
            "cycle": cycle,
            "data_fingerprint": data.fingerprint,
        }
        if model.decides:  # how far it accounts for the given network
            tried = evaluate(model, validation[0][0], validation[1], BATCH)["logits"]
            metrics["network"] = fidelity(model, data.validation, tried, config)
            metrics["test_network"] = fidelity(model, data.test, scores["logits"], config)
            if metrics["network"]["accuracy"] * len(data.class_names) <= 1:
                warnings.warn(
                    f"the given network is right in {metrics['network']['accuracy']:.0%} of validation pictures: are "
                    "its outputs in the order of the sorted class names, and is normalisation= that of its training?",
                    stacklevel=4,
                )
        prototypes = _prototype_table(trainer.prototypes, model, data)
        study = cls(config, model.eval(), data.class_names, metrics, log, prototypes, before, folder, data)
        if parallel.rank() == 0:
            store.write(study)
            trainer.checkpoint.unlink()
        parallel.wait()
        return study

    @classmethod
    def load(cls, folder: str | Path, device="cpu", data_set=None, backbone: torch.nn.Module | None = None) -> "Study":
        """Read a study from its folder. Raises FileNotFoundError or `WeightsError` that say what is wrong.

        data_set: where its pictures are now, if they were moved since. backbone: the network again, for a study that
        was trained on a module of yours; its weights come from the study where they are in it.
        """
        folder, moved = Path(folder), {"data_set": str(Path(data_set).resolve())} if data_set else {}
        if not (folder / "study.json").is_file():
            problem = "holds no study.json: give the folder of a study"
            if (folder / "checkpoint.safetensors").exists():
                problem = "holds a run that was not finished: call Study.train again with the same parameters"
            raise FileNotFoundError(f"{folder} {problem}")
        return cls(*store.read(folder, device, moved, backbone), folder)

    def export(self, path: str | Path, exemplars: bool = False) -> Path:
        """Write the study to one file with which others predict and explain, without the training pictures; its path.

        exemplars: put all training pictures in, 128 pixels small, to be shown beside explanations. Without them what is
        left of a picture is a window of 16 x 16 pixels around each prototype. See `asxai.explain.bundle`.
        """
        return bundle.write(self, path, exemplars)

    @classmethod
    def open(cls, path: str | Path, device="cpu", backbone: torch.nn.Module | None = None) -> "Study":
        """Read a file that `export` wrote. Raises FileNotFoundError or `WeightsError` that say what is wrong.

        backbone: the network again, for a study that was trained on a module of yours, see `load`.
        Nothing in the file is executed or unpickled. The study predicts and explains; it has no training pictures.
        """
        with bundle.unpacked(path) as (folder, kept):
            study = cls.load(folder, device, backbone=backbone)
            kept.check(study.model)
        study.folder, study.kept = Path(path), kept
        return study

    @property
    def data(self) -> DataSet:
        """The data set that the study was trained on. Raises `DataError` when its pictures are gone or have changed."""
        if self.kept:
            raise DataError(f"{self.folder}: this file holds no training pictures; use the study that it was made from")
        if self._data is None:
            place = self.config.data_set
            remedy = f"If they are elsewhere, Study.load({str(self.folder)!r}, data_set=...) takes the place"
            if os.path.isabs(place) and not os.path.isdir(place):
                raise DataError(f"{place}: the pictures that {self.folder} was trained on are gone. {remedy}")
            data = load_data_set(place)
            if data.fingerprint != self.metrics["data_fingerprint"]:
                changed = f"{place}: the pictures are not those that {self.folder} was trained on"
                raise DataError(f"{changed}: some were changed, added or taken away. {remedy}; else train again")
            self._data = data
        return self._data

    def label_of(self, class_name: str) -> int:
        """The number of a class, from 0. Raises ValueError for a class that the study does not know."""
        if class_name not in self.class_names:
            raise ValueError(
                f"class_name={class_name!r} is no class of this study; its classes are {', '.join(self.class_names)}"
            )
        return self.class_names.index(class_name)

    @torch.inference_mode()
    def activate(self, pictures) -> Activations:
        """Logits, similarities, activation maps and embedding of pictures, on the CPU; shapes as in `Activations`.

        pictures: one picture or a list of paths, PIL images, arrays or tensors.
        """
        outs = list(self._batches(pictures))
        return Activations(*(torch.cat([getattr(out, name).cpu() for out in outs]) for name in Activations._fields))

    def _batches(self, pictures) -> Iterator[Activations]:
        pictures, _ = picture_list(pictures)
        for start in range(0, len(pictures), BATCH):
            batch = to_batch(pictures[start : start + BATCH], self.config.size)
            yield self.model(self.model.features(batch.to(self.model.device)))

    @torch.inference_mode()
    def predict(self, pictures) -> Prediction:
        """Class probabilities (softmax of the logits) of one picture or a list of them, see `activate`."""
        return self._predicted(torch.cat([out.logits.cpu() for out in self._batches(pictures)]))

    def predict_split(self, split: Split) -> Prediction:
        """The same for a split of the data set, from cached features."""
        return self._predicted(self._evaluated(split)["logits"])

    def _predicted(self, logits):
        return Prediction(self.class_names, logits.double().softmax(dim=1).numpy())

    def _evaluated(self, split):
        return evaluate(self.model, self.features(split)[0], torch.from_numpy(split.labels), BATCH)

    def similarity(self, split: Split) -> torch.Tensor:
        """Best cosine of every basis vector in every picture of a split, `(picture, class, basis)`, from the cache."""
        return self._evaluated(split)["similarity"]

    def features(self, split: Split) -> Features:
        """Cached features of the fixed part of the network for a split of the data set, see `split_features`."""
        return split_features(self.model, split, self.config.size)

    def pictures(self, sources) -> np.ndarray:
        """uint8 `(picture, height, width, 3)`: pictures as the network sees them, for drawing."""
        return to_batch(picture_list(sources)[0], self.config.size).permute(0, 2, 3, 1).numpy()

    def fidelity(self, split: Split) -> dict[str, float]:
        """How far the Proto-CNN accounts for the network that it was given, see `asxai.model.recipe.fidelity`.

        Raises ValueError where the backbone decides nothing, or no longer what was given.
        """
        return fidelity(self.model, split, self._evaluated(split)["logits"], self.config)

    def distinct_patches(self) -> float:
        """Share of basis vectors whose patch no other vector of their class became, in [0, 1]."""
        patch = self.prototypes[["class", "picture", "row", "column"]]
        return float((~patch.duplicated(keep=False)).mean())

    def concepts(self) -> Concepts:
        """The semantic concepts that the basis vectors make up, see `asxai.concepts.names.study_concepts`."""
        return self.kept.concepts if self.kept else study_concepts(self)

    @property
    def explainer(self) -> Explainer:
        """What `explain` explains with; another one may be put here. Making it takes a while the first time."""
        if self._explainer is None:
            self._explainer = Explainer(self)
        return self._explainer

    @explainer.setter
    def explainer(self, explainer: Explainer):
        self._explainer = explainer

    def explain(self, pictures, **options) -> Explanation | list[Explanation]:
        """Where, what and why, of one picture or a list: an `Explanation` each, see `asxai.explain.explainer`."""
        return self.explainer.explain(pictures, **options)


def _prototype_table(became, model, data):
    """A row per basis vector: the patch that it became, of `replace_basis_vectors`, and its weight for its class."""
    classes, vectors = model.basis_vectors.shape[:2]
    weights = model.last_layer.weight.detach().cpu().double().unflatten(1, (classes, vectors)).diagonal().T
    table = pd.DataFrame({name: np.ravel(became[name]) for name in ("picture", "row", "column", "cosine")})
    class_of = [data.class_names[data.train.labels[i]] for i in table["picture"]]
    sources = [f"{name}/{data.train.paths[i].name}" for name, i in zip(class_of, table["picture"])]
    table.insert(0, "class", np.repeat(data.class_names, vectors))
    table.insert(1, "basis", np.tile(np.arange(vectors), classes))
    table.insert(3, "source", sources)
    return table.assign(weight=weights.flatten().numpy())
