"""Recipe."""

import math
from dataclasses import replace

import torch

from ..data.features import BATCH, seeded, split_features
from .backbones import load_backbone
from .parts import PartGroups
from .protocnn import ProtoCNN

# Steps of joint training in a cycle. Of ten pictures a class four epochs are four steps, after which vectors of a class
# are anything but orthogonal and their concepts poor (notebook 10 compares). On larger data sets the epochs are enough.
LEAST_STEPS = 50


def build_model(config, classes, load_weights=True):
    """A fresh Proto-CNN for a configuration; the same seed gives the same initial weights."""
    weights = config.weights if load_weights else "random"
    backbone = load_backbone(config.backbone, weights, config.last_stage or None, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return ProtoCNN(backbone, classes, config.basis_per_class, config.channels, config.trainable,
                        config.orthonormal)


def training_features(model, data, config):
    train = split_features(model, data.train, config.size, config.views, desc="training features")
    if not model.fixed_stages:  # pictures: the trainer augments them anew for every view, so no copies are needed
        train = train.expand(config.views, *train.shape[1:])
    validation = split_features(model, data.validation, config.size, desc="validation features")
    labels = [torch.from_numpy(split.labels) for split in (data.train, data.validation)]
    if config.labels == "shuffled":
        generator = seeded("shuffled labels", config.seed)
        labels = [own[torch.randperm(len(own), generator=generator)] for own in labels]
    return (train, labels[0]), (validation, labels[1])


@torch.inference_mode()
def patch_groups(config, model, features, labels, pictures):
    """The basis vector that every training patch is meant for, `(view, picture, height, width)`, or None.

    The groups come from the untouched backbone, found anew when a killed run is taken up: seconds, and the same again.
    """
    if config.objective != "parts":
        return None
    device = model.feature_mean.device
    maps = [torch.cat([model.backbone_map(batch.to(device)).cpu() for batch in view.split(BATCH)]) for view in features]
    scenes = min(config.scene_vectors, config.basis_per_class - 1)
    count = config.basis_per_class - scenes
    found = PartGroups(maps[0], labels, count, max(scenes, 1), seed=config.seed, pictures=pictures)
    groups = torch.stack([found.assign(view, labels) for view in maps])
    return groups.clamp(max=config.basis_per_class - 1)  # without scene vectors the scene joins the last group


def with_enough_steps(config, pictures):
    """The configuration with as many joint epochs as give `LEAST_STEPS` on so many training pictures."""
    steps = math.ceil(config.views * pictures / config.batch_size)
    return replace(config, joint_epochs=max(config.joint_epochs, math.ceil(LEAST_STEPS / steps)))


def usable_device(device):
    """The `torch.device`, set to give the same numbers each time. Raises ValueError for one that is not here."""
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
