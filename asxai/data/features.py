"""Features below the trained part, computed once per picture and view, and kept on disk by content.

A shard holds the features of up to 256 pictures in one view. Its name is a hash of everything that the numbers depend
on (weights, size, view, pictures), so that nothing stale is ever read, studies with different heads share it, and a
killed run goes on at the shard where it stopped.
"""

import hashlib
from pathlib import Path

import torch

from .. import paths
from ..cache import code_hash, kept_tensors, key_of
from ..progress import bar
from .augmentation import augment
from .pictures import to_batch

FEATURE_CODE = ("data", "model.backbones")  # modules that features depend on
SHARD, BATCH = 256, 32  # pictures; both fixed, for sums in another order give other last digits


def seeded(*key) -> torch.Generator:
    """A CPU generator whose state depends on the key only, not on what ran before, so that resuming is exact."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def split_features(model, split, size: int, views: int = 1, folder=None, desc: str = "features") -> torch.Tensor:
    """Features of the fixed part of `model` for each picture of `split`: `(view, picture, channel, height, width)`.

    View 0 is the picture as it is, every other one augmented. When the model has no fixed part these are the pictures
    themselves, uint8, in view 0 only, and nothing is written: the trainer then augments them anew in every epoch. Part
    of a split is read from the features of the whole.
    """
    if not model.fixed_stages:
        return torch.stack([to_batch(split.paths, size)])
    if split.origin:
        whole, places = split.origin
        return split_features(model, whole, size, views, folder, desc)[:, torch.from_numpy(places)]
    folder = Path(folder or paths.CACHE)
    device = next(model.parameters()).device
    weights = model.backbone.fingerprint(model.fixed_stages)
    code = code_hash(*FEATURE_CODE)

    def compute():
        pictures = to_batch(split.paths[part], size)
        if number:
            pictures = augment(pictures, seeded("view", number, content))
        return {"features": fixed_part(model, pictures, device)}

    jobs = [(number, start) for number in range(views) for start in range(0, len(split), SHARD)]
    shards = []
    for number, start in bar(jobs, desc=desc):
        part = slice(start, start + SHARD)
        # the augmentation depends on the pictures, never on the weights, so that backbones see the same views
        content = hashlib.sha256("".join(split.hashes[part]).encode()).hexdigest()
        key = key_of(weights, code, size, number, content, device.type, torch.__version__)
        shards.append(kept_tensors(folder / f"{key}.safetensors", compute)["features"])
    return torch.cat(shards).unflatten(0, (views, len(split)))


@torch.inference_mode()
def fixed_part(model, pictures: torch.Tensor, device) -> torch.Tensor:
    """Features of uint8 pictures `(picture, 3, size, size)`, on the CPU, float16: half the memory, three digits."""
    batches = [model.features(batch.to(device)).half().cpu().contiguous() for batch in pictures.split(BATCH)]
    return torch.cat(batches)
