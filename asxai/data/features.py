"""Features below the trained part, computed once per picture and view, and kept on disk by content.

A shard holds the features of up to 256 pictures in one view. Its name is a hash of everything that the numbers depend
on (weights, size, view, pictures), so that nothing stale is ever read, studies with different heads share it, and a
killed run goes on at the shard where it stopped. Shards are mapped into memory only while some of their pictures are
read, so that memory does not grow with the data set. Where all shards together would be larger than the model's
`cache_gb` none is made: features are then computed anew whenever they are asked for.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch.utils.data import DataLoader

from .. import parallel, paths
from ..cache import code_hash, kept_tensors, key_of
from ..progress import bar
from .augmentation import augment
from .pictures import to_batch

FEATURE_CODE = ("data", "model.backbones")  # modules that features depend on
SHARD, BATCH = 256, 32  # pictures; both fixed, for sums in another order give other last digits
WORKERS = min(8, os.cpu_count() or 1)  # processes that decode pictures of which nothing is kept


def seeded(*key) -> torch.Generator:
    """A CPU generator whose state depends on the key only, not on what ran before, so that resuming is exact."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


class Rows:
    """A tensor `(picture, ...)` of which only what is asked for is in memory, by an index or in batches.

    batches: from an iterable of indices, int64 `(n,)`, to the rows `(n, ...)` of each.
    """

    def __init__(self, batches: Callable[[Iterable[torch.Tensor]], Iterator[torch.Tensor]], count: int):
        self.batches, self.count = batches, count

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> torch.Size:
        return torch.Size([self.count, *self[0].shape])

    def __getitem__(self, index) -> torch.Tensor:
        index = torch.arange(self.count)[index]
        (rows,) = self.batches([index.reshape(-1)])
        return rows if index.ndim else rows[0]

    def split(self, size: int) -> Iterator[torch.Tensor]:
        return self.batches(torch.arange(self.count).split(size))

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Rows":
        """Rows that are `change`d when they are read, at most `BATCH` at once."""
        changed = lambda rows: torch.cat([change(part) for part in rows.split(BATCH)])
        return Rows(lambda order: map(changed, self.batches(order)), self.count)


class Features:
    """Features of a split, `(view, picture, channel, height, width)`; `[view]` is `Rows`, `[views, pictures]` a tensor.

    files: the shards, view after view; none where nothing is kept. places: the pictures' numbers in the shards.
    """

    def __init__(self, model, split, size, views, files):
        self.model, self.size, self.views, self.files, self.count = model, size, views, files, len(split)
        self.whole, places = split.origin or (split, torch.arange(len(split)))
        self.places = torch.as_tensor(places)
        self.shards = -(-len(self.whole) // SHARD)  # of a view

    def __len__(self) -> int:
        return self.views

    @property
    def shape(self) -> torch.Size:
        return torch.Size([self.views, *self[0].shape])

    def __getitem__(self, index):
        if isinstance(index, tuple):
            (rows,) = self.batches([index])
            return rows
        return Rows(lambda order: self.batches((torch.full_like(p, index), p) for p in order), self.count)

    def __iter__(self) -> Iterator[Rows]:
        return (self[view] for view in range(self.views))

    def batches(self, order) -> Iterator[torch.Tensor]:
        """Features for pairs of indices, `(n,)` each: views and pictures."""
        order = [(views, self.places[pictures]) for views, pictures in order]
        if self.files is None:
            decoded = _decoded(self.whole.paths, self.size, [pictures for _, pictures in order])
            return (self._computed(*pair, pictures) for pair, pictures in zip(order, decoded))
        if self.model.device.type == "cpu":
            return (self._stored(*pair) for pair in order)
        return _ahead(self._stored, order)

    def _stored(self, views, pictures):
        views = views if self.model.fixed_stages else torch.zeros_like(views)  # pictures are the same in all
        shards, rows = views * self.shards + pictures // SHARD, (pictures % SHARD).tolist()
        result = None
        for shard in shards.unique().tolist() or [0]:
            with safe_open(self.files[shard], "pt") as file:  # mapped into memory until it is closed again
                stored = file.get_slice("features")
                result = stored[0:0].new_empty(len(rows), *stored.get_shape()[1:]) if result is None else result
                for i in (shards == shard).nonzero().flatten().tolist():
                    result[i] = stored[rows[i] : rows[i] + 1][0]
        return result

    def _computed(self, views, pictures, decoded):
        """What `_stored` would read, from pictures that were decoded just now; without a fixed part the pictures."""
        if not self.model.fixed_stages:
            return decoded
        # one by one, for in a random order nearly every picture is of another shard; and tensors of the same size take
        # each other's place in memory, where those of as many as there are of a shard would leave holes
        for i, (view, picture) in enumerate(zip(views.tolist(), pictures.tolist())):
            if view:
                first = picture - picture % SHARD
                hashes = self.whole.hashes[first : first + SHARD]
                among = len(hashes), [picture - first]
                decoded[i : i + 1] = augment(decoded[i : i + 1], _view_generator(view, hashes), among=among)
        return fixed_part(self.model, decoded, self.model.device)


def split_features(
    model, split, size: int, views: int = 1, folder=None, desc: str = "features", part: tuple[int, int] = (0, 1)
) -> Features:
    """`Features` of the fixed part of `model` for each picture of `split`.

    View 0 is the picture as it is, every other one augmented. When the model has no fixed part these are the pictures
    themselves, uint8, the same in all views: the trainer then augments them anew in every epoch. Part of a split is
    read from the features of the whole. Several processes share the work. part: a number from 0, and of how many: only
    this share of the shards is made now, and others make the rest.
    """
    whole, folder = split.origin[0] if split.origin else split, Path(folder or paths.CACHE)
    kept_views = views if model.fixed_stages else 1
    if _too_large(model, len(whole) * kept_views, size):
        return Features(model, split, size, views, None)
    weights, code, device = model.backbone.fingerprint(model.fixed_stages), code_hash(*FEATURE_CODE), model.device
    jobs = [(number, start) for number in range(kept_views) for start in range(0, len(whole), SHARD)]

    def file(number, start):
        # the augmentation depends on the pictures, never on the weights, so that backbones see the same views
        content = _content(whole.hashes[start : start + SHARD])
        key = key_of(weights, code, size, number, content, device.type, torch.__version__)
        return folder / f"{key}.safetensors"

    def compute(number, start):
        pictures = to_batch(whole.paths[start : start + SHARD], size)
        if number:
            pictures = augment(pictures, _view_generator(number, whole.hashes[start : start + SHARD]))
        return {"features": fixed_part(model, pictures, device) if model.fixed_stages else pictures}

    for job in bar(parallel.share(jobs)[part[0] :: part[1]], desc=desc):
        path = file(*job)
        if not path.exists() or _state(path) not in _CHECKED:
            kept_tensors(path, lambda: compute(*job))  # which reads it, and makes a damaged one anew
            _CHECKED.add(_state(path))
    parallel.wait()
    return Features(model, split, size, views, [file(*job) for job in jobs])


_CHECKED = set()  # shards whose checksum was right when this process last saw them


def _state(path):
    return path, path.stat().st_mtime_ns, path.stat().st_size


@cache
def _content(hashes):
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _view_generator(number, hashes):
    return seeded("view", number, _content(hashes))


@torch.inference_mode()
def _too_large(model, count, size):
    """Whether features of so many pictures would take more than the model's `cache_gb`."""
    if count <= 2 * SHARD and model.cache_gb >= 1:  # not even those of a first stage would; spares a forward pass
        return False
    blank = torch.zeros(1, 3, size, size, device=model.device)
    each = 2 * model.features(blank).numel() if model.fixed_stages else blank.numel()
    return count * each > model.cache_gb * 1e9


@torch.inference_mode()
def fixed_part(model, pictures: torch.Tensor, device) -> torch.Tensor:
    """Features of uint8 pictures `(picture, 3, size, size)`, on the CPU, float16: half the memory, three digits."""
    batches = [model.features(batch.to(device)).half().cpu().contiguous() for batch in pictures.split(BATCH)]
    return torch.cat(batches)


def batches_of(features, order: list) -> Iterator[torch.Tensor]:
    """`features[index]` for each index of `order`, read ahead where that helps; plain tensors will do, too."""
    return features.batches(order) if isinstance(features, Rows | Features) else (features[index] for index in order)


def shared_batches(rows, size: int) -> Iterator[tuple[int, torch.Tensor]]:
    """This process's share of the batches of `Rows` or of a tensor, each with the number of its first picture."""
    order = parallel.share(list(torch.arange(len(rows)).split(size)))
    return zip((int(index[0]) for index in order), batches_of(rows, order))


def _decoded(files, size, order):
    """uint8 pictures for each index of `order`; where there are many batches and cores, decoded in other processes."""
    if WORKERS < 2 or len(order) < 2 * WORKERS:
        return (to_batch([files[i] for i in index.tolist()], size) for index in order)
    options = dict(batch_size=None, num_workers=WORKERS, generator=seeded("loader"), prefetch_factor=2)
    # They come as arrays: of tensors PyTorch remembers which memory was shared, each in a few bytes that stay between
    # large freed ones, so that these cannot be used again where freed memory is kept. Measured: 9 MiB a batch at 336 px
    return map(torch.from_numpy, DataLoader(_Decoder(files, size), sampler=order, collate_fn=_as_it_is, **options))


def _as_it_is(batch):
    return batch


class _Decoder(torch.utils.data.Dataset):
    def __init__(self, files, size):
        self.files, self.size = files, size

    def __getitem__(self, index):
        return to_batch([self.files[i] for i in index.tolist()], self.size).numpy()


def _ahead(read, order):
    """`read(*item)` for each item, in pinned memory, one item ahead of whoever asks."""
    pinned = lambda item: read(*item).pin_memory() if torch.cuda.is_available() else read(*item)
    with ThreadPoolExecutor(1) as pool:
        waiting = []
        for item in order:
            waiting.append(pool.submit(pinned, item))
            if len(waiting) > 2:
                yield waiting.pop(0).result()
        yield from (one.result() for one in waiting)
