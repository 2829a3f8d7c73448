"""The three training stages of section 2.2, alternating until the validation loss stops falling.

1. warm-up of the added layers, then joint training of everything that is trainable;
2. replacement of every basis vector by the nearest patch of a training picture of its class;
3. convex optimisation of the last layer.

A run is a list of steps, and the state after each is written to one file, and within a step every few minutes. Random
numbers depend on the step, never on what ran before, so that a run that was killed and taken up again ends with the
same weights as one that was not. Several processes, see `asxai.parallel`, each take a part of every batch.

References
    Three stages: Sun et al., AS-XAI, section 2.2, after Chen et al., ProtoPNet, NeurIPS 2019 (projection of
    prototypes, sparse last layer) and Wang et al., TesNet, ICCV 2021.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from .. import parallel
from ..cache import load_tensors, save_tensors
from ..data.augmentation import augment, to_device
from ..data.features import batches_of, seeded, shared_batches
from ..progress import bar
from .geometry import effective_rank, within_class_cosine
from .losses import loss_terms
from .protocnn import ProtoCNN
from .replacement import fit_last_layer, replace_basis_vectors, standardise

if TYPE_CHECKING:
    from ..config import Config

SECONDS = 300  # from one checkpoint within an epoch to the next
LOOKED_AT = 50  # steps after which a loss that is not finite is noticed; to look, a GPU must wait
WEIGHTED = ("aggregation", "separation", "orthogonality", "subspace", "balance", "guide")  # by fields of `Config`


def steps_of_cycle(config: "Config") -> list[tuple[str, int]]:
    """The steps of one round: (stage, index within the stage)."""
    epochs = {"warm-up": config.warm_up_epochs, "joint": config.joint_epochs, "replacement": 1, "last layer": 1}
    return [(stage, i) for stage, count in epochs.items() for i in range(count)]


class Trainer:
    """Trains `model` on the features of its fixed part.

    train, validation: `Features`, or tensors `(view, picture, channel, height, width)`, with labels `(picture,)`.
    groups: for the objective "parts", the basis vector that each patch is meant for, `(view, picture, height, width)`.
    targets: probabilities `(picture, class)` to learn instead of the labels, see `recipe.network_targets`.
    checkpoint: the file to resume from and to save to. key: says what is trained on what; a checkpoint with another
    key is refused with a ValueError.
    After `run`, the model is the best of all cycles by validation loss; `log` has one row per step; `prototypes` says
    for each basis vector which training picture and which grid cell it became; `basis_before` `(class, basis, channel)`
    holds the vectors as they were before they were replaced.
    """

    def __init__(
        self, model: ProtoCNN, config: "Config", train, validation, checkpoint: Path, key="", groups=None, targets=None
    ):
        self.model, self.config, self.checkpoint, self.key, self.groups = model, config, checkpoint, key, groups
        self.targets = targets
        (self.features, self.labels), (self.val_features, self.val_labels) = train, validation
        self.weights = {"cross_entropy": 1.0} | {name: getattr(config, name) for name in WEIGHTED}
        self.log, self.prototypes, self.basis_before = [], {}, None
        self.position, self.optimiser = [0, 0], None  # cycle, and index in `steps_of_cycle`
        self.midway, self.saved = None, time.monotonic()  # within an epoch: generator and sums after so many batches
        self.forward = model
        if parallel.size() > 1:  # gradients are averaged while they are computed
            self.forward = DistributedDataParallel(model)
        self.best = {"loss": float("inf"), "cycle": -1, "prototypes": {}, "basis_before": None, "state": {}}

    def run(self) -> list[dict]:
        """All steps that are not done yet. Returns the log."""
        if not self._restored():
            standardise(self.model, self.features[0], self.config.batch_size)
        steps = steps_of_cycle(self.config)
        with bar(total=self.config.cycles * len(steps), desc="training") as progress:
            progress.update(len(self.log))
            while not self._finished():
                cycle, index = self.position
                losses = self._step(cycle, *steps[index])
                self._record(cycle, *steps[index], losses)
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

    def _step(self, cycle, stage, i):
        if stage == "replacement":
            self.basis_before = self.model.basis.detach().cpu().clone()
            self.prototypes = replace_basis_vectors(self.model, self.features[0], self.labels, self.config.batch_size)
            return {}
        if stage == "last layer":
            similarity = evaluate(self.model, self.features[0], self.labels, self.config.batch_size)["similarity"]
            fit_last_layer(self.model, similarity, self.labels, self.config.wrong_class_l1, self.targets)
            return {}
        if i == 0 and not self.midway:
            self.optimiser = self._new_optimiser(stage)
        return self._epoch(seeded("epoch", self.config.seed, cycle, stage, i))

    def _new_optimiser(self, stage):
        groups = [{"params": self.model.added_parameters(), "lr": self.config.learning_rate}]
        if stage == "joint" and self.model.backbone_parameters():
            groups.append({"params": self.model.backbone_parameters(), "lr": self.config.backbone_learning_rate})
        return torch.optim.Adam(groups)

    def _epoch(self, generator):
        """Every training picture in each of its views, in random order. Returns the mean of every loss term."""
        views, pictures = len(self.features), len(self.features[0])
        order = torch.randperm(views * pictures, generator=generator)
        # a last batch of a single picture would weigh as much as a full one: leave it out (another one next epoch)
        batches = [batch for batch in order.split(self.config.batch_size) if len(batch) > 1]
        first, totals = 0, {}
        if self.midway:
            first, state, totals = self.midway
            generator.set_state(state)
        self.midway, left = None, batches[first:]
        own = [batch[_share_of(len(batch))] for batch in left]
        read = batches_of(self.features, [(batch // pictures, batch % pictures) for batch in own])
        for done, (batch, features) in enumerate(zip(left, read), first + 1):
            view, picture = batch // pictures, batch % pictures
            features = to_device(features, self.model.device)
            if not self.model.fixed_stages:
                features = self._augmented(features, len(batch), generator)
            groups = None if self.groups is None else self.groups[view, picture]
            features, groups = self._some_patches(features, groups, generator)
            labels = to_device(self.labels[picture], self.model.device)
            targets = None if self.targets is None else to_device(self.targets[picture], self.model.device)
            for name, value in self._update(features, labels, groups, targets, generator).items():
                totals[name] = totals.get(name, 0) + value.detach() / len(batches)
            if done % LOOKED_AT == 0 or done == len(batches):
                self._check(totals)
            if time.monotonic() - self.saved > SECONDS and done < len(batches):
                self._check(totals)
                self._save((done, generator.get_state(), totals))
        return {name: float(value) for name, value in totals.items()}

    def _augmented(self, features, count, generator):
        if parallel.size() == 1:
            return augment(features, generator)
        return augment(features, generator, among=(count, _share_of(count)))

    def _check(self, totals):
        rate, total = self.config.learning_rate, float(totals.get("total", 0))
        if not abs(total) < float("inf"):
            raise FloatingPointError(
                f"the loss is {total}: lower learning_rate={rate} or the weights of the loss terms"
            )

    def _some_patches(self, features, groups, generator):
        """`config.patches` random cells, the same ones in each picture, as a grid of one row; or all of them.

        Only where the backbone is fixed, for then a cell is computed from its features alone.
        """
        cells, fixed = features.shape[2:].numel(), self.model.fixed_stages == len(self.model.backbone.stages)
        if fixed and 0 < self.config.patches < cells:
            chosen = torch.randperm(cells, generator=generator)[: self.config.patches]
            features = features.flatten(2)[:, :, None, to_device(chosen, features.device)]
            groups = None if groups is None else groups.flatten(1)[:, None, chosen]
        return features, None if groups is None else to_device(groups, self.model.device)

    def _update(self, features, labels, groups, targets, generator):
        """One optimiser step on one batch. Returns the loss terms and their weighted sum, `total`.

        Of several processes each has its share of the features; labels, groups and targets are those of the whole
        batch, and so are the loss terms, for some weigh the patches of a batch against one another.
        """
        noise = torch.randn(self.model.basis_vectors.shape, generator=generator) * self.config.sigma
        out = self.forward(features, to_device(noise, self.model.device))
        logits, maps = (parallel.joined_rows(rows, len(labels)) for rows in (out.logits, out.maps))
        terms = loss_terms(logits, maps, labels, self.model.basis, self.config.objective, groups, targets)
        terms["total"] = sum(self.weights[name] * value for name, value in terms.items())
        self.optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        self.optimiser.step()
        return terms

    def _record(self, cycle, stage, i, losses):
        scores = evaluate(self.model, self.val_features[0], self.val_labels, self.config.batch_size)
        row = {"cycle": cycle, "stage": stage, "epoch": i, **losses}
        row |= {"validation_loss": scores["loss"], "validation_accuracy": scores["accuracy"]}
        for measure in (within_class_cosine, effective_rank):
            row[measure.__name__] = float(measure(self.model.basis).mean())
        self.log.append(row)

    def _keep_best(self, cycle):
        loss = self.log[-1]["validation_loss"]
        if loss < self.best["loss"]:
            state = {name: tensor.detach().cpu().clone() for name, tensor in self._trained_state().items()}
            became = {"prototypes": self.prototypes, "basis_before": self.basis_before}
            self.best = {"loss": loss, "cycle": cycle, **became, "state": state}

    def _trained_state(self):
        """The model's tensors without the fixed part of the backbone, which never changes."""
        fixed = self.model.backbone.stage_names[: self.model.fixed_stages]
        left_out = tuple(f"backbone.stages.{name}." for name in fixed)
        return {key: value for key, value in self.model.state_dict().items() if not key.startswith(left_out)}

    def _save(self, midway=None):
        """Everything that the next step depends on, in one file, so that it is complete or absent."""
        self.saved = time.monotonic()
        if parallel.rank():
            return
        adam = self.optimiser.state_dict()["state"] if self.optimiser else {}
        tensors = {f"model/{name}": tensor for name, tensor in self._trained_state().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best["state"].items()}
        tensors |= {f"adam/{i}/{name}": tensor for i, state in adam.items() for name, tensor in state.items()}
        tensors |= {"basis_before/now": self.basis_before, "basis_before/best": self.best["basis_before"]}
        tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        if midway:
            tensors |= {"midway/generator": midway[1]} | {f"midway/total/{k}": v for k, v in midway[2].items()}
        notes = {
            "midway": midway and midway[0],
            "key": self.key,
            "position": self.position,
            "log": self.log,
            "prototypes": self.prototypes,
        }
        notes["best"] = {name: self.best[name] for name in ("loss", "cycle", "prototypes")}
        save_tensors(self.checkpoint, tensors, json.dumps(notes))

    def _restored(self):
        """Take up what a killed run saved; False where there is nothing, or nothing whole."""
        try:
            tensors, notes = load_tensors(self.checkpoint)
        except (FileNotFoundError, SafetensorError):
            return False
        notes = json.loads(notes)
        if notes["key"] != self.key:
            raise ValueError(
                f"{self.checkpoint} was left by a run with other parameters or pictures; give another "
                "folder, or remove this file"
            )
        part = lambda start: {name.removeprefix(start): x for name, x in tensors.items() if name.startswith(start)}
        self.position, self.log, self.prototypes = notes["position"], notes["log"], notes["prototypes"]
        self.model.load_state_dict(part("model/"), strict=False)
        self.basis_before = tensors.get("basis_before/now")
        self.best = notes["best"] | {"state": part("best/"), "basis_before": tensors.get("basis_before/best")}
        if notes["midway"]:
            totals = {name: value.to(self.model.device) for name, value in part("midway/total/").items()}
            self.midway = notes["midway"], tensors["midway/generator"], totals
        stage, i = steps_of_cycle(self.config)[self.position[1]]
        if stage in ("warm-up", "joint") and (i > 0 or self.midway):
            self.optimiser = self._new_optimiser(stage)
            adam = self.optimiser.state_dict()
            for key, value in part("adam/").items():
                index, name = key.split("/")
                adam["state"].setdefault(int(index), {})[name] = value
            self.optimiser.load_state_dict(adam)
        return True


def _share_of(count: int) -> Tensor:
    """Numbers of the pictures of a batch that this process takes; as many in each, so that the last may stand twice."""
    each = -(-count // parallel.size())
    return torch.arange(parallel.rank() * each, (parallel.rank() + 1) * each).clamp(max=count - 1)


@torch.inference_mode()
def evaluate(model: ProtoCNN, features: Tensor, labels: Tensor, batch_size: int) -> dict:
    """Loss, accuracy in [0, 1], logits `(picture, class)` and similarity `(picture, class, basis)`, one pass."""
    outs = (model(to_device(batch, model.device)) for _, batch in shared_batches(features, batch_size))
    outs = parallel.dealt([(out.logits.cpu(), out.similarity.cpu()) for out in outs])
    logits, similarity = (torch.cat(values) for values in zip(*outs))
    return {
        "loss": float(F.cross_entropy(logits.double(), labels)),
        "logits": logits,
        "accuracy": float((logits.argmax(dim=1) == labels).double().mean()),
        "similarity": similarity,
    }
