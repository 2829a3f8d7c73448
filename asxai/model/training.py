"""The three training stages of section 2.2, alternating until the validation loss stops falling.

1. warm-up of the added layers, then joint training of everything that is trainable;
2. replacement of every basis vector by the nearest patch of a training picture of its class;
3. convex optimisation of the last layer.

A run is a list of steps, and the state after each is written to one file. Random numbers depend on the step, never on
what ran before, so that a run that was killed and taken up again ends with the same weights as one that was not.

References
    Three stages: Sun et al., AS-XAI, section 2.2, after Chen et al., ProtoPNet, NeurIPS 2019 (projection of
    prototypes, sparse last layer) and Wang et al., TesNet, ICCV 2021.
"""

import json

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from .. import paths
from ..data.augmentation import augment
from ..data.features import seeded
from ..progress import bar
from .geometry import effective_rank, within_class_cosine
from .losses import loss_terms
from .replacement import fit_last_layer, replace_basis_vectors, standardise


def steps_of_cycle(config):
    """The steps of one round: (stage, index within the stage)."""
    return ([("warm-up", i) for i in range(config.warm_up_epochs)] + [("joint", i) for i in range(config.joint_epochs)]
            + [("replacement", 0), ("last layer", 0)])


class Trainer:
    """Trains `model` on the features of its fixed part.

    train, validation: features `(view, picture, channel, height, width)` with labels `(picture,)`.
    groups: for the objective "parts", the basis vector that each patch is meant for, `(view, picture, height, width)`.
    checkpoint: the file to resume from and to save to. key: says what is trained on what; a checkpoint with another
    key is refused with a ValueError.
    After `run`, the model is the best of all cycles by validation loss; `log` has one row per step; `prototypes` says
    for each basis vector which training picture and which grid cell it became; `basis_before` `(class, basis, channel)`
    holds the vectors as they were before they were replaced.
    """

    def __init__(self, model, config, train, validation, checkpoint, key="", groups=None):
        self.model, self.config, self.checkpoint, self.key, self.groups = model, config, checkpoint, key, groups
        (self.features, self.labels), (self.val_features, self.val_labels) = train, validation
        self.device = model.basis_vectors.device
        self.weights = {"cross_entropy": 1.0, "aggregation": config.aggregation, "separation": config.separation,
                        "orthogonality": config.orthogonality, "subspace": config.subspace, "balance": config.balance,
                        "guide": config.guide}
        self.log, self.prototypes, self.basis_before = [], {}, None
        self.position, self.optimiser, self.best = [0, 0], None, {"loss": float("inf"), "cycle": -1, "state": {}}

    def run(self):
        """All steps that are not done yet. Returns the log, a list of dicts."""
        if self.checkpoint.exists():
            self._restore()
        else:
            standardise(self.model, self.features[0], self.config.batch_size)
        steps = steps_of_cycle(self.config)
        progress = bar(total=self.config.cycles * len(steps), desc="training")
        progress.update(len(self.log))
        with progress:
            while not self._finished():
                cycle, index = self.position
                stage, i = steps[index]
                losses = self._step(stage, cycle, i)
                self._record(stage, cycle, i, losses)
                if index + 1 == len(steps):
                    self._keep_best(cycle)
                self.position = [cycle, index + 1] if index + 1 < len(steps) else [cycle + 1, 0]
                self._save()
                progress.update()
        self.model.load_state_dict(self.best["state"], strict=False)
        self.prototypes, self.basis_before = self.best["prototypes"], self.best["basis_before"]
        return self.log

    def _finished(self):
        cycle, index = self.position
        return index == 0 and (cycle == self.config.cycles or cycle > self.best["cycle"] + 1)

    def _step(self, stage, cycle, i):
        if stage == "replacement":
            self.basis_before = self.model.basis.detach().cpu().clone()
            self.prototypes = replace_basis_vectors(self.model, self.features[0], self.labels, self.config.batch_size)
            return {}
        if stage == "last layer":
            similarity = evaluate(self.model, self.features[0], self.labels, self.config.batch_size)["similarity"]
            fit_last_layer(self.model, similarity, self.labels, self.config.wrong_class_l1)
            return {}
        if i == 0:
            self.optimiser = self._new_optimiser(stage)
        return self._epoch(seeded("epoch", self.config.seed, cycle, stage, i))

    def _new_optimiser(self, stage):
        groups = [{"params": self.model.added_parameters(), "lr": self.config.learning_rate}]
        if stage == "joint" and self.model.backbone_parameters():
            groups.append({"params": self.model.backbone_parameters(), "lr": self.config.backbone_learning_rate})
        return torch.optim.Adam(groups)

    def _epoch(self, generator):
        """Every training picture in each of its views, in random order. Returns the mean of every loss term."""
        views, pictures = self.features.shape[:2]
        order = torch.randperm(views * pictures, generator=generator)
        totals = {}
        # a last batch of a single picture would weigh as much as a full one: leave it out (another one next epoch)
        batches = [batch for batch in order.split(self.config.batch_size) if len(batch) > 1]
        for batch in batches:
            view, batch = batch // pictures, batch % pictures
            features = self.features[view, batch]
            if not self.model.fixed_stages:
                features = augment(features, generator)
            groups = None if self.groups is None else self.groups[view, batch]
            features, groups = self._some_patches(features, groups, generator)
            terms = self._update(features, self.labels[batch].to(self.device), groups, generator)
            for name, value in terms.items():
                totals[name] = totals.get(name, 0) + value.detach() / len(batches)
        return {name: float(value) for name, value in totals.items()}

    def _some_patches(self, features, groups, generator):
        """`config.patches` random cells, the same ones in each picture, as a grid of one row; or all of them.

        Only where the backbone is fixed, for then a cell is computed from its own features alone.
        """
        whole = self.model.fixed_stages < len(self.model.backbone.stages) or not self.config.patches
        if not whole and self.config.patches < features.shape[2:].numel():
            cells = torch.randperm(features.shape[2:].numel(), generator=generator)[:self.config.patches]
            features = features.flatten(2)[:, :, None, cells]
            groups = None if groups is None else groups.flatten(1)[:, None, cells]
        return features.to(self.device), None if groups is None else groups.to(self.device)

    def _update(self, features, labels, groups, generator):
        """One optimiser step on one batch. Returns the loss terms and their weighted sum, `total`."""
        noise = torch.randn(self.model.basis_vectors.shape, generator=generator).to(self.device) * self.config.sigma
        out = self.model(features, noise)
        terms = loss_terms(out.logits, out.maps, labels, self.model.basis, self.config.objective, groups)
        terms["total"] = sum(self.weights[name] * value for name, value in terms.items())
        if not torch.isfinite(terms["total"]):
            raise FloatingPointError(f"the loss is {terms['total'].item()}: lower learning_rate="
                                     f"{self.config.learning_rate} or the weights of the loss terms")
        self.optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        self.optimiser.step()
        return terms

    def _record(self, stage, cycle, i, losses):
        scores = evaluate(self.model, self.val_features[0], self.val_labels, self.config.batch_size)
        basis = self.model.basis
        self.log.append({"cycle": cycle, "stage": stage, "epoch": i, **losses,
                         "validation_loss": scores["loss"], "validation_accuracy": scores["accuracy"],
                         "within_class_cosine": float(np.mean(within_class_cosine(basis))),
                         "effective_rank": float(np.mean(effective_rank(basis)))})

    def _keep_best(self, cycle):
        if self.log[-1]["validation_loss"] < self.best["loss"]:
            self.best = {"loss": self.log[-1]["validation_loss"], "cycle": cycle, "prototypes": self.prototypes,
                         "basis_before": self.basis_before,
                         "state": {k: v.detach().cpu().clone() for k, v in self._trained_state().items()}}

    def _trained_state(self):
        """The model's tensors without the fixed part of the backbone, which never changes."""
        fixed = tuple(f"backbone.stages.{name}." for name in self.model.backbone.stage_names[:self.model.fixed_stages])
        return {key: value for key, value in self.model.state_dict().items() if not key.startswith(fixed or ("\0",))}

    def _save(self):
        """Everything that the next step depends on, in one file, so that it is complete or absent."""
        tensors = {f"model/{k}": v.detach().cpu() for k, v in self._trained_state().items()}
        tensors |= {f"best/{k}": v for k, v in self.best["state"].items()}
        for name, basis in (("now", self.basis_before), ("best", self.best.get("basis_before"))):
            if basis is not None:
                tensors[f"basis_before/{name}"] = basis
        optimiser = self.optimiser.state_dict() if self.optimiser else {"state": {}}
        tensors |= {f"adam/{i}/{k}": v.detach().cpu() for i, s in optimiser["state"].items() for k, v in s.items()}
        notes = {"key": self.key, "position": self.position, "log": self.log, "prototypes": self.prototypes,
                 "best": {k: self.best.get(k) for k in ("loss", "cycle", "prototypes")}}
        tensors = {k: v.clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
        paths.write_atomically(self.checkpoint, lambda path: save_file(tensors, path, {"notes": json.dumps(notes)}))

    def _restore(self):
        with safe_open(self.checkpoint, "pt") as file:
            notes = json.loads(file.metadata()["notes"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if notes["key"] != self.key:
            raise ValueError(f"{self.checkpoint} was left by a run with other parameters or pictures; give another "
                             "folder, or remove this file")
        part = lambda name: {k[len(name):]: v for k, v in tensors.items() if k.startswith(name)}
        self.position, self.log, self.prototypes = notes["position"], notes["log"], notes["prototypes"]
        self.model.load_state_dict(part("model/"), strict=False)
        self.basis_before = tensors.get("basis_before/now")
        self.best = notes["best"] | {"state": part("best/"), "basis_before": tensors.get("basis_before/best")}
        stage, i = steps_of_cycle(self.config)[self.position[1]]
        if stage in ("warm-up", "joint") and i > 0:
            self.optimiser = self._new_optimiser(stage)
            adam = self.optimiser.state_dict()
            for key, value in part("adam/").items():
                index, name = key.split("/")
                adam["state"].setdefault(int(index), {})[name] = value
            self.optimiser.load_state_dict(adam)


@torch.inference_mode()
def evaluate(model, features, labels, batch_size):
    """Loss, accuracy in [0, 1], logits `(picture, class)` and similarity `(picture, class, basis)`, one pass."""
    device = model.basis_vectors.device
    outs = [model(batch.to(device)) for batch in features.split(batch_size)]
    logits = torch.cat([out.logits.cpu() for out in outs])
    return {"loss": float(F.cross_entropy(logits.double(), labels)), "logits": logits,
            "accuracy": float((logits.argmax(dim=1) == labels).double().mean()),
            "similarity": torch.cat([out.similarity.cpu() for out in outs])}
