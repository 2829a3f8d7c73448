"""`make bench`: what things cost, as ratios of two sides that were measured in one run; the table is figures/bench.csv.

Times of shared machines drift, so the two sides of a ratio run in turn and the median over pairs is given. How memory
and time grow is measured on drawn pictures of 64 px. Other numbers of pictures, and parameters of `asxai.Config`, are
measured alone, a study for each number; rows of the table that a call does not measure stay in it:

    python -m asxai.benchmarks.speed cpu 3000 30000
    python -m asxai.benchmarks.speed cpu 300 3000 size=336                                the real backbone
    python -m asxai.benchmarks.speed cpu 3000 30000 size=336 backbone=cheap cache_gb=100  features kept, 13 GB on disk
    python -m asxai.benchmarks.speed cpu 37322 size=336 backbone=cheap                    AwA2's size; computed anew
"""

import itertools
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import skimage.data
import torch
from PIL import Image, ImageOps

from .. import paths
from ..config import Config
from ..data.features import BATCH, fixed_part
from ..data.pictures import to_batch
from ..model.recipe import build_model
from ..model.replacement import replace_basis_vectors
from ..model.training import Trainer
from ..study import Study
from ..traits.inversion import STEPS
from ..traits.pooled import Network
from .common_traits import race
from .scaling import measured, peak_gib

PAIRS, CLASSES = 7, 2
PHOTOGRAPHS, SETTLED = 200, 50  # pictures to explain, and those after which memory should not grow
PHOTOGRAPH = (640, 480)  # pixels
COUNTS = (300, 3000)  # pictures of drawn data sets
COLUMNS = ["what", "value", "unit", "limit", "seconds"]
SAID = {"backbone=cheap": "all but the backbone's convolutions"}  # in the table, of parameters that a call gives


def paired_ratio(ours, bare, pairs=PAIRS):
    """Median over pairs of seconds(ours) / seconds(bare), and both medians, after one warm-up of each."""
    ours(), bare()
    seconds = np.array([[_seconds(ours), _seconds(bare)] for _ in range(pairs)])
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


def inversion(device, size=128):
    """Seconds of the paper's steps over those in which the fast method gets as low, for a photograph; and both."""
    network = Network(build_model(Config.of("bench"), CLASSES).to(device))
    targets = network.maps(to_batch([_photographs()[1]], size))
    fast = race(network, targets, size, STEPS["fast"])[0].set_index("method").loc["fast"]
    return fast["speedup"], fast["seconds_to_reach"] * fast["speedup"], fast["seconds_to_reach"]


def _photographs():
    """Those that come with scikit-image."""
    return [Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]


def explaining(device, folder):
    """Explaining photographs from files to files, as `asxai explain` does, beside the bare forward passes.

    Seconds of both, and by how much memory rose after the first pictures, in MiB.
    """
    study, rng = Study.train("menagerie-pets", device=device), np.random.default_rng(0)
    photographs = _photographs()
    files = [Path(folder) / f"{n}.jpg" for n in range(PHOTOGRAPHS)]
    for n, file in enumerate(files):
        centre = tuple(rng.uniform(size=2))
        ImageOps.fit(photographs[n % len(photographs)], PHOTOGRAPH, bleed=0.1, centering=centre).save(file)
    explainer, pictures, peaks = study.explainer, to_batch(files, study.config.size), []

    def ours():
        for one in explainer.stream(files):
            one.save(Path(folder) / one.whole.source.stem, drawn=False)
            peaks.append(peak_gib())

    @torch.inference_mode()
    def bare():
        for batch in pictures.split(BATCH):
            study.model.backbone_map(study.model.features(batch.to(device)))

    _, *seconds = paired_ratio(ours, bare, 1)
    return seconds, (peaks[PHOTOGRAPHS - 1] - peaks[SETTLED - 1]) * 1024


def growth(counts, device, **parameters):
    """Rows about memory and time of data sets of so many pictures, see `asxai.benchmarks.scaling.measured`."""
    rows, found = [], [measured(count, device=device.type, **parameters) for count in counts]
    given = [f"{name}={value}" for name, value in parameters.items()]
    pictures = ", ".join(["pictures", *(SAID.get(one, one) for one in given)])
    for one in found:
        rows.append((f"peak memory, {one['pictures']} {pictures}", one["peak"], "GiB", "4", ()))
        rows.append((f"train, group and predict, {one['pictures']} {pictures}", one["seconds"], "s", "", ()))
    for first, second in itertools.pairwise(found):
        names = f"{second['pictures']} / {first['pictures']} {pictures}"
        rows.append((f"peak memory, {names}", second["peak"] / first["peak"], "ratio", "1.3", ()))
        # What takes as long with any number of pictures makes these less than 1. Where others use the machine, too, the
        # processor's seconds, summed over cores, say more.
        for side, name in (("seconds", "seconds"), ("processor", "processor seconds")):
            sides = second[side], first[side]
            each = sides[0] / sides[1] / (second["pictures"] / first["pictures"])
            rows.append((f"{name} a picture, {names}", each, "ratio", "1.1", sides))
    return rows


def ratios(device):
    """Rows about what one process does on a few pictures."""
    with tempfile.TemporaryDirectory() as folder:  # first, for a peak of memory hides all that is lower
        explained, rose = explaining(device, folder)
    pictures = torch.randint(0, 256, (128, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    step, stage2 = training_step(device, pictures[:BATCH]), replacement(device, pictures)
    speedup, allowed = inversion(device), 1.3 * explained[1] + 0.1 * PHOTOGRAPHS
    words = f"explaining {PHOTOGRAPHS} pictures / (1.3 forward passes + 0.1 s a picture)"
    inverted = f"the paper's {STEPS['paper']} steps of inversion of a photograph / as low by the fast method"
    rows = [
        (words, explained[0] / allowed, "ratio", "1", explained),
        (f"memory beyond the first {SETTLED} of them", rose, "MiB", "50", ()),
        ("training step / bare forward and backward, batch of 32", step[0], "ratio", "1.05", step[1:]),
        ("replacement / one forward pass, 128 pictures", stage2[0], "ratio", "1.02", stage2[1:]),
        (inverted, speedup[0], "ratio", "20 or more", speedup[1:]),
        ("epoch on cached features, 128 pictures in 1 view", cached_epoch(device, pictures), "s", "", ()),
        ("peak memory of this run", peak_gib(), "GiB", "", ()),
    ]
    if device.type == "cuda":
        rows.append(("peak GPU memory", torch.cuda.max_memory_allocated() / 1024**3, "GiB", "", ()))
    return rows


def main(device=None, *given):
    """device: "cpu", "cuda", or "" for what there is. given: numbers of pictures, and nothing but how much they take.

    Or parameters `name=value`, with those numbers.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    counts = [int(text) for text in given if "=" not in text]
    parameters = {name: _value(text) for name, _, text in (one.partition("=") for one in given if "=" in one)}
    rows = [] if given else ratios(device)
    table = pd.DataFrame(rows + growth(counts or COUNTS, device, **parameters), columns=COLUMNS)
    table["seconds"] = [" / ".join(f"{value:.3f}" for value in sides) for sides in table["seconds"]]
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    table = table.assign(device=f"{device.type} ({name})", cores=os.cpu_count(), threads=torch.get_num_threads())
    print(table.to_string(index=False))
    file = paths.FIGURES / "bench.csv"
    if file.exists():
        earlier = pd.read_csv(file, keep_default_na=False)
        table = pd.concat([table, earlier[~earlier["what"].isin(table["what"])]])
    paths.write_atomically(file, lambda path: table.round(4).to_csv(path, index=False))


def _value(text):
    try:
        return json.loads(text)
    except ValueError:  # a text
        return text


if __name__ == "__main__":
    main(*sys.argv[1:])
