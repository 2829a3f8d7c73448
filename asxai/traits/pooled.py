"""Features without positions: of whole pictures, and of pictures with a concept hidden."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import paths
from ..cache import code_hash, kept_tensors, key_of
from ..concepts.masks import conceal
from ..data.datasets import Split
from ..data.features import BATCH, FEATURE_CODE
from ..data.pictures import to_batch
from ..progress import bar

if TYPE_CHECKING:
    from ..study import Study

POOLS = {"mean": lambda features: features.mean(dim=(2, 3)), "max": lambda features: features.amax(dim=(2, 3))}


class Network(torch.nn.Module):
    """Pictures `(picture, 3, height, width)` to the backbone's map, through fixed and trained stages."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pictures):
        return self.model.backbone_map(self.model.features(pictures))

    @torch.inference_mode()
    def maps(self, pictures: torch.Tensor) -> torch.Tensor:
        """The same for any number of pictures, in batches and on the CPU."""
        device = self.model.feature_mean.device
        return torch.cat([self(batch.to(device)).cpu() for batch in pictures.split(BATCH)])


@torch.inference_mode()
def pooled_features(study: "Study", pictures: torch.Tensor) -> torch.Tensor:
    """Mean and maximum over the grid of the backbone's map of uint8 pictures, `(2, picture, channel)`."""
    device, network = study.model.feature_mean.device, Network(study.model)
    return torch.cat([_both(network(batch.to(device))) for batch in pictures.split(BATCH)], dim=1)


@torch.inference_mode()
def split_pooled(study: "Study", split: Split) -> torch.Tensor:
    """The same for whole pictures of a split, from cached features."""
    device, batches = study.model.feature_mean.device, study.features(split)[0].split(BATCH)
    return torch.cat([_both(study.model.backbone_map(batch.to(device))) for batch in batches], dim=1)


def _both(maps):
    return torch.stack([pool(maps) for pool in POOLS.values()]).cpu()


def hidden_features(study: "Study", split: Split, masks, keep=False, fill="black", desc="hidden concepts"):
    """Pooled features of pictures with each concept removed, or only that left: `(2, concept, picture, channel)`.

    masks: bool `(picture, concept, size, size)`. keep, fill: as in `conceal`. Kept on disk by the content of pictures
    and masks.
    """

    def compute():
        features = []
        for start in bar(range(0, len(split), BATCH), desc=desc):
            batch = slice(start, start + BATCH)
            pictures = to_batch(split.paths[batch], study.config.size)
            hidden = torch.cat([conceal(pictures, mask, keep, fill) for mask in masks[batch].unbind(dim=1)])
            features.append(pooled_features(study, hidden).unflatten(1, (masks.shape[1], -1)))
        return {"features": torch.cat(features, dim=2)}

    code = code_hash(*FEATURE_CODE, "concepts.masks", "traits.pooled")
    shape = hashlib.sha256(np.packbits(masks.numpy()).tobytes()).hexdigest()
    weights, size = study.model.backbone.fingerprint(), study.config.size
    key = key_of(code, weights, size, split.hashes, keep, fill, shape, torch.__version__)
    return kept_tensors(paths.CACHE / f"hidden-{key}.safetensors", compute)["features"]
