"""A study: one trained Proto-CNN with its data set, its log and its numbers, in one folder.

    study = Study.train("menagerie-pets", seed=1)      # or a folder of pictures per class
    study = Study.load(study.folder)
    study.predict(["a.jpg", pil_image, array, tensor]).frame()

The folder holds `model.safetensors` (all weights), `study.json` (configuration, hashes, classes, metrics),
`log.csv` (a row per step of training) and `prototypes.csv` (a row per basis vector: the patch that it became).
"""

import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from . import paths
from .cache import code_hash
from .config import Config
from .data.datasets import DataSet, load_data_set
from .data.features import BATCH, split_features
from .data.pictures import DataError, to_batch
from .model.backbones import WeightsError
from .model.geometry import mean_subspace_distance, within_class_cosine
from .model.protocnn import Activations, ProtoCNN
from .model.recipe import build_model, patch_groups, training_features, usable_device, with_enough_steps
from .model.training import Trainer, evaluate

FORMAT = 1  # of study.json; raised when older folders can no longer be read


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of some pictures: `probabilities` `(picture, class)` sum to one over the classes."""

    class_names: tuple
    probabilities: np.ndarray

    @property
    def labels(self):
        """Index of the most probable class, `(picture,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def names(self):
        return [self.class_names[label] for label in self.labels]

    def frame(self):
        """One row per picture: the predicted class, its probability, and the probability of each class."""
        frame = pd.DataFrame(self.probabilities, columns=list(self.class_names))
        frame.insert(0, "predicted", self.names)
        frame.insert(1, "probability", self.probabilities.max(axis=1))
        return frame

    def __len__(self):
        return len(self.probabilities)


@dataclass(repr=False)
class Study:
    """See the module's docstring. Made by `train` or `load`, not directly."""

    config: Config
    model: ProtoCNN
    class_names: tuple
    metrics: dict
    log: pd.DataFrame  # a row per step: cycle, stage, epoch, loss terms, validation loss and accuracy, orthogonality
    prototypes: pd.DataFrame  # a row per basis vector: class, basis, picture, row, column, cosine, last-layer weight
    basis_before: torch.Tensor  # (class, basis, channel): the vectors before they were replaced by patches
    folder: Path
    _data: DataSet | None = field(default=None, repr=False)
    _explainer: object = field(default=None, repr=False)

    def __repr__(self):
        return (f"Study of {len(self.class_names)} classes with {self.model.basis_per_class} basis vectors each "
                f"({', '.join(textwrap.shorten(name, 20, placeholder='…') for name in self.class_names[:4])}"
                f"{', …' if len(self.class_names) > 4 else ''}), seed {self.config.seed}, in {self.folder}")

    @classmethod
    def train(cls, data_set, *, folder=None, device="cpu", **parameters):
        """Train on a registered data set or a folder of pictures per class, or take up where a killed run stopped.

        device: "cpu", "cuda", "mps". parameters: see `asxai.Config`; few pictures get more joint epochs than its
        default, unless they are given, see `LEAST_STEPS`. folder: where the study is kept; by default below
        `runs/studies`, named by data set and parameters, so that the same call later only loads it.
        Raises ValueError or TypeError that name the parameter, and `DataError` for pictures that cannot be used.
        """
        config = Config.of(data_set, **parameters)
        device = usable_device(device)
        data = load_data_set(config.data_set)
        if "joint_epochs" not in parameters:
            config = with_enough_steps(config, len(data.train))
        # what was trained by other code is another study
        code = code_hash("data", "model")
        key = config.key(data.fingerprint, code)
        folder = Path(folder) if folder else paths.RUNS / "studies" / f"{data.name}-{key}"
        if not (folder / "study.json").exists():
            with paths.locked(folder):  # of two processes that want the same study, one trains it, the other waits
                if not (folder / "study.json").exists():
                    return cls._trained(config, data, folder, device, key)
        study = cls.load(folder, device=device)
        if study.config.key(study.metrics["data_fingerprint"]) != config.key(data.fingerprint):
            raise ValueError(f"folder={str(folder)!r} holds a study with other parameters or pictures; give another "
                             "folder, or remove this one")
        study.config, study._data = config, data
        return study

    @classmethod
    def _trained(cls, config, data, folder, device, key):
        model = build_model(config, len(data.class_names)).to(device)
        checkpoint = folder / "checkpoint.safetensors"
        train, validation = training_features(model, data, config)
        groups = patch_groups(config, model, *train, data.train.paths)
        trainer = Trainer(model, config, train, validation, checkpoint, key, groups)
        trainer.run()
        test = split_features(model, data.test, config.size, desc="test features")
        scores = evaluate(model, test[0], torch.from_numpy(data.test.labels), BATCH)  # the one look at test pictures
        log, cycle = pd.DataFrame(trainer.log), trainer.best["cycle"]
        metrics = {"test_accuracy": scores["accuracy"], "test_loss": scores["loss"],
                   "validation_accuracy": float(log[log["cycle"] == cycle]["validation_accuracy"].iloc[-1]),
                   "within_class_cosine": float(np.mean(within_class_cosine(model.basis))),
                   "within_class_cosine_before": float(np.mean(within_class_cosine(trainer.basis_before))),
                   "subspace_distance": mean_subspace_distance(model.basis),
                   "subspace_distance_before": mean_subspace_distance(trainer.basis_before),
                   "cycle": cycle, "data_fingerprint": data.fingerprint}
        study = cls(config, model.eval(), data.class_names, metrics, log,
                    _prototype_table(trainer.prototypes, model, data), trainer.basis_before, folder, data)
        study._save()
        checkpoint.unlink()
        return study

    @classmethod
    def load(cls, folder, device="cpu"):
        """Read a study from its folder. Raises FileNotFoundError or `WeightsError` that say what is wrong."""
        folder = Path(folder)
        if not (folder / "study.json").is_file():
            state = "holds a run that was not finished: call Study.train again with the same parameters" if (
                folder / "checkpoint.safetensors").exists() else "holds no study.json: give the folder of a study"
            raise FileNotFoundError(f"{folder} {state}")
        notes = json.loads((folder / "study.json").read_text())
        if notes.get("format") != FORMAT:
            raise WeightsError(f"{folder / 'study.json'} has format {notes.get('format')}; this version reads "
                               f"{FORMAT}. Train the study again")
        config = Config(**notes["config"])
        path = folder / "model.safetensors"
        try:
            state = load_file(path)
        except (SafetensorError, FileNotFoundError) as error:
            raise WeightsError(f"{path} cannot be read ({error}); remove {folder} and train the study again") from error
        model = build_model(config, len(notes["class_names"]), load_weights=False)
        basis_before = state.pop("basis_before")
        ours, theirs = ({k: tuple(v.shape) for k, v in s.items()} for s in (model.state_dict(), state))
        if ours != theirs:
            odd = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
            raise WeightsError(f"{path} does not fit study.json beside it: {len(odd)} tensors differ, the first is "
                               f"{odd[0]} ({theirs.get(odd[0])} in the file, {ours.get(odd[0])} expected)")
        model.load_state_dict(state)
        return cls(config, model.to(usable_device(device)).eval(), tuple(notes["class_names"]), notes["metrics"],
                   pd.read_csv(folder / "log.csv"), _read_table(folder / "prototypes.csv"), basis_before, folder)

    @property
    def data(self):
        """The data set that the study was trained on. Raises `DataError` when its pictures are gone or have changed."""
        if self._data is None:
            data = load_data_set(self.config.data_set)
            if data.fingerprint != self.metrics["data_fingerprint"]:
                raise DataError(f"the pictures of {self.config.data_set!r} are not those that {self.folder} was "
                                "trained on; train the study again")
            self._data = data
        return self._data

    def label_of(self, class_name):
        """The number of a class, from 0. Raises ValueError for a class that the study does not know."""
        if class_name not in self.class_names:
            raise ValueError(f"class_name={class_name!r} is no class of this study; its classes are "
                             f"{', '.join(self.class_names)}")
        return self.class_names.index(class_name)

    @torch.inference_mode()
    def activate(self, pictures, batch_size=BATCH) -> Activations:
        """Logits, similarities, activation maps and embedding of pictures, on the CPU; shapes as in `Activations`.

        pictures: one picture or a list of paths, PIL images, arrays or tensors.
        """
        outs = list(self._batches(pictures, batch_size))
        return Activations(*(torch.cat([getattr(out, name).cpu() for out in outs]) for name in Activations._fields))

    def _batches(self, pictures, batch_size):
        pictures, device = _as_list(pictures), next(self.model.parameters()).device
        for start in range(0, len(pictures), batch_size):
            batch = to_batch(pictures[start:start + batch_size], self.config.size)
            yield self.model(self.model.features(batch.to(device)))

    @torch.inference_mode()
    def predict(self, pictures, batch_size=BATCH) -> Prediction:
        """Class probabilities (softmax of the logits) of one picture or a list of them, see `activate`."""
        logits = torch.cat([out.logits.cpu() for out in self._batches(pictures, batch_size)])
        return Prediction(self.class_names, logits.double().softmax(dim=1).numpy())

    def predict_split(self, split) -> Prediction:
        """The same for a split of the data set, from cached features."""
        logits = evaluate(self.model, self.features(split)[0], torch.from_numpy(split.labels), BATCH)["logits"]
        return Prediction(self.class_names, logits.double().softmax(dim=1).numpy())

    def pictures(self, sources):
        """uint8 `(picture, height, width, 3)`: pictures as the network sees them, for drawing."""
        return to_batch(_as_list(sources), self.config.size).permute(0, 2, 3, 1).numpy()

    def features(self, split, views=1):
        """Cached features of the fixed part of the network for a split of the data set, see `split_features`."""
        return split_features(self.model, split, self.config.size, views)

    def distinct_patches(self):
        """Share of basis vectors whose patch no other vector of their class became, in [0, 1]."""
        patch = self.prototypes[["class", "picture", "row", "column"]]
        return float((~patch.duplicated(keep=False)).mean())

    def similarity(self, split):
        """Best cosine of every basis vector in every picture of a split, `(picture, class, basis)`, from the cache."""
        features, labels = self.features(split)[0], torch.from_numpy(split.labels)
        return evaluate(self.model, features, labels, BATCH)["similarity"]

    def concepts(self, **parameters):
        """The semantic concepts that the basis vectors make up, see `asxai.concepts.names.study_concepts`."""
        from .concepts.names import study_concepts  # which builds on this module

        return study_concepts(self, **parameters)

    def explain(self, pictures, **options):
        """Where, what and why, of one picture or a list: an `Explanation` each; see `asxai.explain.explainer.Explainer`."""
        if self._explainer is None:
            from .explain.explainer import Explainer  # which builds on this module

            self._explainer = Explainer(self)
        return self._explainer.explain(pictures, **options)

    def _save(self):
        state = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
        state["basis_before"] = self.basis_before
        notes = {"format": FORMAT, "config": self.config.to_dict(), "class_names": list(self.class_names),
                 "backbone_fingerprint": self.model.backbone.fingerprint(), "torch": torch.__version__,
                 "metrics": self.metrics}
        paths.write_atomically(self.folder / "model.safetensors", lambda path: save_file(state, path))
        paths.write_atomically(self.folder / "log.csv", lambda path: self.log.to_csv(path, index=False))
        paths.write_atomically(self.folder / "prototypes.csv", lambda path: self.prototypes.to_csv(path, index=False))
        # last, for its presence says that the study is complete
        paths.write_atomically(self.folder / "study.json", lambda path: path.write_text(json.dumps(notes, indent=1)))


def _prototype_table(found, model, data):
    weights = model.last_layer.weight.detach().cpu().unflatten(1, model.basis_vectors.shape[:2])
    rows = [{"class": name, "basis": j, "picture": found["picture"][c][j],
             "source": f"{data.class_names[data.train.labels[found['picture'][c][j]]]}/"
                       f"{data.train.paths[found['picture'][c][j]].name}",
             "row": found["row"][c][j], "column": found["column"][c][j], "cosine": found["cosine"][c][j],
             "weight": float(weights[c, c, j])}
            for c, name in enumerate(data.class_names) for j in range(model.basis_per_class)]
    return pd.DataFrame(rows)


def _as_list(pictures):
    if isinstance(pictures, (str, Path)) or not hasattr(pictures, "__len__"):
        return [pictures]
    if hasattr(pictures, "ndim"):  # an array or tensor: one picture, or a stack of them
        return list(pictures) if pictures.ndim == 4 else [pictures]
    if not len(pictures):
        raise ValueError("pictures is empty; give at least one picture")
    return list(pictures)


def _read_table(path):
    """A CSV file whose class names stay text: a class may be called 001 or NA."""
    return pd.read_csv(path, dtype={"class": str, "source": str}, keep_default_na=False)
