"""What a configuration asks for: the device, the model with its initial weights, and what it is trained on."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from .. import parallel
from ..cache import code_hash, kept_tensors, key_of
from ..data.features import Features, seeded, split_features
from .backbones import load_backbone
from .parts import PartGroups
from .protocnn import ProtoCNN

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import Config
    from ..data.datasets import DataSet

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


def build_model(config: "Config", classes: int, load_weights: bool = True) -> ProtoCNN:
    """A fresh Proto-CNN for a configuration; the same seed gives the same initial weights.

    Raises ValueError for stages that the backbone does not have, `WeightsError` for weights that cannot be had.
    """
    weights = config.weights if load_weights else "random"
    backbone = load_backbone(config.backbone, weights, config.last_stage, config.seed)
    shape = classes, config.basis_per_class, config.channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = ProtoCNN(backbone, *shape, config.trainable, config.orthonormal)
    model.precision, model.cache_gb = config.precision, config.cache_gb
    return model


def training_features(model: ProtoCNN, data: "DataSet", config: "Config") -> tuple[tuple, tuple]:
    """Features `(view, picture, channel, height, width)` and labels `(picture,)`, to train on and to validate with."""
    train = split_features(model, data.train, config.size, config.views, desc="training features")
    validation = split_features(model, data.validation, config.size, desc="validation features")
    labels = [torch.from_numpy(split.labels) for split in (data.train, data.validation)]
    if config.labels == "shuffled":
        generator = seeded("shuffled labels", config.seed)
        labels = [true[torch.randperm(len(true), generator=generator)] for true in labels]
    return (train, labels[0]), (validation, labels[1])


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
