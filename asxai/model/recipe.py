"""What a configuration asks for: the device, the model with its initial weights, and what it is trained on."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from .. import parallel
from ..cache import code_hash, kept_tensors, key_of
from ..data.features import Features, seeded, split_features
from .backbones import load_backbone
from .foreign import START, Foreign, split_logits
from .networks import is_foreign, network_of, restored
from .parts import PartGroups
from .protocnn import ProtoCNN

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import Config
    from ..data.datasets import DataSet, Split

# Steps of joint training in a cycle. With ten pictures a class four epochs are four steps, after which vectors of a
# class are anything but orthogonal and their concepts poor (notebook 10 compares). Larger data sets have enough steps.
LEAST_STEPS = 50


def usable_device(device: str | torch.device) -> torch.device:
    """The device, set to give the same numbers each time. Raises ValueError for one that is not here."""
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is unknown; use 'cpu', 'cuda' or 'mps'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda': torch finds no GPU here; use device='cpu'")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps': torch finds no such GPU here; use device='cpu'")
    if device.type == "cuda":  # the same numbers each time, and cosines to more than three digits
        torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = True, False
    return device


def with_enough_steps(config: "Config", pictures: int) -> "Config":
    """The configuration with as many joint epochs as give `LEAST_STEPS` on so many training pictures."""
    steps = math.ceil(config.views * pictures / config.batch_size)
    return replace(config, joint_epochs=max(config.joint_epochs, math.ceil(LEAST_STEPS / steps)))


def build_model(
    config: "Config", classes: int, load_weights: bool = True, network: torch.nn.Module | None = None
) -> ProtoCNN:
    """A fresh Proto-CNN for a configuration; the same seed gives the same initial weights.

    network: the one of somebody else that the configuration names, where it was read already.
    Raises ValueError for stages that the backbone does not have, `WeightsError` for weights that cannot be had.
    """
    if is_foreign(config.backbone, config.weights):
        network = network or network_of(config.backbone, config.weights, config.size, config.seed)
        name = config.backbone.partition(":")[2] or config.backbone
        backbone = Foreign(name, network, config.last_stage, config.size, config.normalisation)
    else:
        weights = config.weights if load_weights else "random"
        backbone = load_backbone(config.backbone, weights, config.last_stage, config.seed)
    shape = classes, config.basis_per_class, config.channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = ProtoCNN(backbone, *shape, config.trainable, config.orthonormal)
    model.precision, model.cache_gb = config.precision, config.cache_gb
    return model


def saved_model(config: "Config", classes: int, state: dict, module: torch.nn.Module | None) -> ProtoCNN:
    """The model of a saved study, before `state` is loaded; a given network's tensors that it lacks are added to it.

    module: of a network that was given. Raises `WeightsError` where it is missing or another one.
    """
    if not is_foreign(config.backbone, config.weights):
        return build_model(config, classes, load_weights=False)
    own = {name.removeprefix(START): tensor for name, tensor in state.items() if name.startswith(START)}
    model = build_model(config, classes, network=restored(config.backbone, config.weights, config.size, own, module))
    state |= {} if own else {name: tensor for name, tensor in model.state_dict().items() if name.startswith(START)}
    return model


def training_features(model: ProtoCNN, data: "DataSet", config: "Config") -> tuple[tuple, tuple]:
    """Features `(view, picture, channel, height, width)` and labels `(picture,)`, to train on and to validate with."""
    train = split_features(model, data.train, config.size, config.views, desc="training features")
    validation = split_features(model, data.validation, config.size, desc="validation features")
    labels = [torch.from_numpy(split.labels) for split in (data.train, data.validation)]
    if config.labels == "shuffled":
        generator = seeded("shuffled labels", config.seed)
        labels = [true[torch.randperm(len(true), generator=generator)] for true in labels]
    if config.labels == "network":
        labels = [split_logits(model, split, config.size).argmax(dim=1) for split in (data.train, data.validation)]
    return (train, labels[0]), (validation, labels[1])


def network_targets(model: ProtoCNN, data: "DataSet", config: "Config") -> torch.Tensor | None:
    """Probabilities `(picture, class)` that the given network has for training pictures, where labels are its own.

    Distillation: Hinton et al., 2015, at temperature 1. Raises ValueError for a network without an output per class,
    and where it takes fewer than two training pictures for some class.
    """
    if config.labels != "network":
        return None
    targets = split_logits(model, data.train, config.size).softmax(dim=1)
    counts = torch.bincount(targets.argmax(dim=1), minlength=model.classes)
    if (counts < 2).any():
        name = data.class_names[int(counts.argmin())]
        raise ValueError(
            f"labels='network': the network takes {int(counts.min())} of {len(data.train)} training pictures for "
            f"{name!r}. Are its outputs in the order of the sorted class names, are size and normalisation its own? If "
            "so, use labels='true'"
        )
    return targets


def fidelity(model: ProtoCNN, split: "Split", logits: torch.Tensor, config: "Config") -> dict[str, float]:
    """How far a Proto-CNN accounts for the given network on a split, of which it gives `logits` `(picture, class)`.

    `agreement`: the share of pictures that both take for the same class. `correlation`: Pearson's, of both logits over
    pictures and classes, each picture's mean taken off, for a constant in all changes no decision. `accuracy`: of the
    given network, by the labels of the split. `pictures`: how many they are.
    """
    theirs = split_logits(model, split, config.size)
    centred = [(one.double() - one.double().mean(dim=1, keepdim=True)).flatten() for one in (logits, theirs)]
    decided = theirs.argmax(dim=1)
    return {
        "agreement": float((logits.argmax(dim=1) == decided).double().mean()),
        "correlation": float(torch.corrcoef(torch.stack(centred))[0, 1]),
        "accuracy": float((decided == torch.from_numpy(split.labels)).double().mean()),
        "pictures": len(split),
    }


@torch.inference_mode()
def patch_groups(
    config: "Config", model: ProtoCNN, features: Features, labels: torch.Tensor, pictures: "list[Path]"
) -> torch.Tensor | None:
    """The basis vector that every training patch is meant for, `(view, picture, height, width)`, or None.

    The groups come from the untouched backbone, and are kept beside the features of a fixed one.
    """
    if config.objective != "parts":
        return None
    if parallel.rank():
        return parallel.from_first(None)
    scenes = min(config.scene_vectors, config.basis_per_class - 1)
    sizes = config.basis_per_class - scenes, max(scenes, 1), config.seed

    def compute():
        maps = [view.map(lambda batch: model.backbone_map(batch.to(model.device)).cpu()) for view in features]
        parts = PartGroups(maps[0], labels, *sizes, pictures)
        groups = torch.stack([parts.assign(view, labels) for view in maps])
        return {"groups": groups.clamp(max=config.basis_per_class - 1)}  # without scene vectors: the last group

    if features.files is None or model.fixed_stages < len(model.backbone.stages):
        return parallel.from_first(compute()["groups"])
    # arms that differ in their losses have the same groups; names of shards say what features depend on
    shards = [file.name for file in features.files]
    code = code_hash("model.parts", "model.recipe")
    key = key_of(shards, features.places.tolist(), labels.tolist(), sizes, config.basis_per_class, code)
    kept = kept_tensors(features.files[0].with_name(f"groups-{key}.safetensors"), compute)
    return parallel.from_first(kept["groups"])
