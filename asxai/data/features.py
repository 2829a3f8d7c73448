"""Features below the trained part, computed once per picture and view, and kept on disk by content.

A shard holds the features of up to 256 pictures in one view. Its name is a hash of everything that the numbers depend
on (weights, size, view, pictures), so that nothing stale is ever read, studies with different heads share it, and a
killed run goes on at the shard where it stopped.
"""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .. import paths
from ..cache import code_hash
from ..progress import bar
from .augmentation import augment
from .pictures import to_batch

FEATURE_CODE = ("data", "model.backbones")  # modules that features depend on
SHARD, BATCH = 256, 32  # pictures; both fixed, for sums in another order give other last digits


def seeded(*key):
    """A CPU generator whose state depends on the key only, not on what ran before, so that resuming is exact."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def view(sources, size, number, key):
    """uint8 pictures `(picture, 3, size, size)`: as they are for view 0, augmented for every other number."""
    pictures = to_batch(sources, size)
    return pictures if number == 0 else augment(pictures, seeded("view", number, key))


def split_features(model, split, size, views=1, folder=None, desc="features"):
    """Features of the fixed part of `model` for each picture of `split`: `(view, picture, channel, height, width)`.

    View 0 is the picture as it is. When the model has no fixed part these are the pictures themselves, uint8, in view
    0 only, and nothing is written: the trainer then augments them anew in every epoch. Part of a split is read from the
    features of the whole.
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
    jobs = [(number, start) for number in range(views) for start in range(0, len(split), SHARD)]
    shards = []
    for number, start in bar(jobs, desc=desc):
        part = slice(start, start + SHARD)
        # the augmentation depends on the pictures, never on the weights, so that backbones see the same views
        content = hashlib.sha256("".join(split.hashes[part]).encode()).hexdigest()
        name = hashlib.sha256(repr((weights, code, size, number, content, device.type, torch.__version__)).encode())
        path = folder / f"{name.hexdigest()[:32]}.safetensors"
        if not path.exists():
            pictures = view(split.paths[part], size, number, content)
            features = fixed_part(model, pictures, device)
            paths.write_atomically(path, lambda temporary: save_file({"features": features}, temporary))
        shards.append(load_file(path)["features"])
    return torch.cat(shards).unflatten(0, (views, len(split)))


@torch.inference_mode()
def fixed_part(model, pictures, device):
    """Features of uint8 pictures `(picture, 3, size, size)`, on the CPU, float16: half the memory, three digits."""
    batches = [model.features(batch.to(device)).half().cpu().contiguous() for batch in pictures.split(BATCH)]
    return torch.cat(batches)
