"""Pooled."""

import hashlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from .. import paths
from ..cache import code_hash
from ..concepts.masks import conceal
from ..data.features import BATCH, FEATURE_CODE
from ..data.pictures import to_batch
from ..progress import bar

POOLS = {"mean": lambda features: features.mean(dim=(2, 3)), "max": lambda features: features.amax(dim=(2, 3))}


@torch.inference_mode()
def pooled_features(study, pictures):
    """Mean and maximum over the grid of the backbone's map of uint8 pictures, `(2, picture, channel)`."""
    device, found = study.model.feature_mean.device, []
    for batch in pictures.split(BATCH):
        maps = study.model.backbone_map(study.model.features(batch.to(device)))
        found.append(torch.stack([pool(maps) for pool in POOLS.values()]).cpu())
    return torch.cat(found, dim=1)


@torch.inference_mode()
def split_pooled(study, split):
    """The same for whole pictures of a split, from cached features."""
    device, found = study.model.feature_mean.device, []
    for batch in study.features(split)[0].split(BATCH):
        maps = study.model.backbone_map(batch.to(device))
        found.append(torch.stack([pool(maps) for pool in POOLS.values()]).cpu())
    return torch.cat(found, dim=1)


def hidden_features(study, split, masks, keep=False, fill="black", desc="hidden concepts"):
    """Pooled features of pictures with each concept removed, or only that left: `(2, concept, picture, channel)`.

    masks: bool `(picture, concept, size, size)`. Kept on disk by the content of pictures and masks.
    """
    key = [study.model.backbone.fingerprint(), code_hash(*FEATURE_CODE, "concepts.masks", "traits.pooled"), study.config.size, split.hashes, keep,
           fill, hashlib.sha256(np.packbits(masks.numpy()).tobytes()).hexdigest(), torch.__version__]
    path = paths.CACHE / f"hidden-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.safetensors"
    if not path.exists():
        found = []
        for start in bar(range(0, len(split), BATCH), desc=desc):
            pictures, own = to_batch(split.paths[start:start + BATCH], study.config.size), masks[start:start + BATCH]
            hidden = [conceal(pictures, own[:, k], keep, fill) for k in range(masks.shape[1])]
            found.append(pooled_features(study, torch.cat(hidden)).unflatten(1, (masks.shape[1], -1)))
        features = torch.cat(found, dim=2).contiguous()
        paths.write_atomically(path, lambda temporary: save_file({"features": features}, temporary))
    return load_file(path)["features"]


class Network(torch.nn.Module):
    """Pictures to the backbone's map, through fixed and trained stages."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pictures):
        return self.model.backbone_map(self.model.features(pictures))
