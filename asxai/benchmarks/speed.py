"""`make bench`: what Proto-CNN costs beside its bare backbone, as ratios measured in one run.

Times of shared machines drift, so the two sides of a ratio run in turn and the median over pairs is given.
"""

import resource
import sys
import time

import numpy as np
import pandas as pd
import torch

from .. import paths
from ..config import Config
from ..data.features import BATCH, fixed_part
from ..model.recipe import build_model
from ..model.replacement import replace_basis_vectors
from ..model.training import Trainer

PAIRS, CLASSES = 7, 2


def paired_ratio(ours, bare):
    """Median over pairs of seconds(ours) / seconds(bare), and both medians, after one warm-up of each."""
    ours(), bare()
    seconds = np.array([[_seconds(ours), _seconds(bare)] for _ in range(PAIRS)])
    return float(np.median(seconds[:, 0] / seconds[:, 1])), *np.median(seconds, axis=0)


def _seconds(call):
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _setting(device, trainable, pictures):
    config = Config.of("bench", trainable=trainable, objective="paper", cycles=1)  # needs no groups of patches
    model = build_model(config, CLASSES).to(device)
    labels = torch.arange(len(pictures)) % CLASSES
    features = pictures if trainable == "all" else fixed_part(model, pictures, device)
    trainer = Trainer(model, config, (features[None], labels), (features[None][:, :8], labels[:8]), paths.RUNS / "none")
    trainer.optimiser = trainer._new_optimiser("joint")
    return model, trainer, features, labels


def training_step(device, pictures):
    """An epoch of one batch with the whole backbone trained, augmentation included, beside the bare backbone's work."""
    model, trainer, _, _ = _setting(device, "all", pictures)
    batch = pictures.to(device)

    def bare():
        model.zero_grad(set_to_none=True)
        model.backbone_map(batch).mean().backward()

    return paired_ratio(lambda: trainer._epoch(torch.Generator()), bare)


def replacement(device, pictures):
    """Stage 2 over n pictures, beside one forward pass of the backbone over them."""
    model, _, features, labels = _setting(device, "all", pictures)

    @torch.inference_mode()
    def bare():
        for batch in features.split(BATCH):
            model.backbone_map(batch.to(device))

    return paired_ratio(lambda: replace_basis_vectors(model, features, labels, BATCH), bare)


def cached_epoch(device, pictures):
    """Seconds for an epoch over cached features of as many pictures."""
    _, trainer, _, _ = _setting(device, "head", pictures)
    trainer._epoch(torch.Generator())
    return float(np.median([_seconds(lambda: trainer._epoch(torch.Generator())) for _ in range(PAIRS)]))


def main(device=None):
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pictures = torch.randint(0, 256, (128, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    step, stage2 = training_step(device, pictures[:BATCH]), replacement(device, pictures)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    rows = [
        ("training step / bare forward and backward, batch of 32", f"{step[0]:.3f}", "ratio", "1.15", step[1:]),
        ("replacement / one forward pass, 128 pictures", f"{stage2[0]:.3f}", "ratio", "1.2", stage2[1:]),
        ("epoch on cached features, 128 pictures in 1 view", f"{cached_epoch(device, pictures):.4f}", "s", "", ()),
        ("peak memory of this run", f"{peak / 1024**3:.2f}", "GiB", "", ()),
    ]
    if device.type == "cuda":
        rows.append(("peak GPU memory", f"{torch.cuda.max_memory_allocated() / 1024**3:.2f}", "GiB", "", ()))
    table = pd.DataFrame(rows, columns=["what", "value", "unit", "limit", "seconds"])
    table["seconds"] = [" / ".join(f"{value:.3f}" for value in sides) for sides in table["seconds"]]
    print(f"EfficientNet-Lite0, 224 px, {device}, {torch.get_num_threads()} threads, medians of {PAIRS} pairs")
    print(table.to_string(index=False))
    paths.write_atomically(paths.RUNS / "bench.csv", lambda path: table.to_csv(path, index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
