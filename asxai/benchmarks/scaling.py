"""What a study of many pictures takes: memory and seconds, each measured in a process of its own.

    python -m asxai.benchmarks.scaling 30000 336 cuda                       prints a row as JSON
    python -m asxai.benchmarks.scaling 37322 336 cpu '{"backbone": "cheap"}'     as many as AwA2 has, see `cheap`

Pictures are drawn, as many as asked for, and lie as those of AwA2 do where its archive was unpacked: files
`JPEGImages/class/class_10001.jpg` of 50 classes, found under the name "awa2". Every part that grows with the data set
is in the time: checking, features, groups of patches, training, replacement, concepts, predictions.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from PIL import Image
from torch import nn

CLASSES = 50
COLOURS = np.random.default_rng(0).integers(60, 255, (CLASSES, 3))
ONCE = dict(warm_up_epochs=1, joint_epochs=1, cycles=1, weights="random")


def peak_gib() -> float:
    """Largest memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would say what the process held that started this one, if that was more
        kilobytes = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"))[1]
        return int(kilobytes) / 1024**2
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024**3


def cheap() -> nn.Module:
    """A network for `backbone=` that takes next to no time, with maps `(picture, 304, size / 16, size / 16)`.

    That is the shape of the default backbone's. All that grows with the number of pictures is then as with that one,
    but for its convolutions, which take as long for each picture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.AvgPool2d(16), nn.Conv2d(3, 304, 1), nn.ReLU())


def draw(folder: Path, count: int, side: int = 128):
    """`count` pictures in the classes of `folder`, each a blot of its class's colour at its own place, on noise."""
    for label in range(CLASSES):
        (folder / _name(label)).mkdir(parents=True, exist_ok=True)
    Parallel(n_jobs=os.cpu_count(), batch_size=100)(delayed(_draw)(folder, number, side) for number in range(count))


def _name(label):
    return f"drawn+class{label:02}"  # AwA2 writes a space as a plus


def _draw(folder, number, side):
    rng, label = np.random.default_rng(number), number % CLASSES
    pixels = rng.integers(0, 60, (side, side, 3))
    row, column, radius = *rng.uniform(0.3, 0.7, 2), rng.uniform(0.1, 0.25)
    y, x = np.mgrid[:side, :side] / side
    pixels[np.hypot((y - row) * (1 + label % 3), x - column) < radius] = COLOURS[label]
    file = f"{_name(label)}_{10001 + number // CLASSES}.jpg"
    Image.fromarray(pixels.astype(np.uint8)).save(folder / _name(label) / file, quality=85)


def measured(count: int, size: int = 64, device: str = "cpu", **parameters) -> dict:
    """`pictures`, `size`, `device`, `seconds` and `peak` in GiB of a study of so many pictures, in its own process.

    `processor` are the seconds that it computed, summed over cores: on a shared machine they say more.
    parameters: of `asxai.Config`; backbone may also be "cheap", for `cheap`.
    """
    with tempfile.TemporaryDirectory(prefix="asxai-") as folder:
        draw(Path(folder) / "awa2" / "Animals_with_Attributes2" / "JPEGImages", count)
        given = [str(count), str(size), device, json.dumps(parameters), folder]
        command = [sys.executable, "-m", "asxai.benchmarks.scaling", *given]
        environment = os.environ | {"ASXAI_DATA": folder, "ASXAI_RUNS": os.path.join(folder, "runs")}
        environment["ASXAI_PROGRESS"] = os.devnull
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return json.loads(done.stdout.splitlines()[-1])


def _in_its_own_process(count, size, device, parameters, folder):
    from ..study import Study  # before the clock starts

    start, before, processor = time.perf_counter(), peak_gib(), _processor_seconds()
    settings = ONCE | {"size": size} | parameters
    if settings.get("backbone") == "cheap":
        settings = settings | {"backbone": cheap(), "weights": "pretrained"}  # those that it has
    study = Study.train("awa2", device=device, folder=Path(folder) / "study", **settings)
    trained = time.perf_counter() - start
    study.concepts()
    accuracy = float((study.predict_split(study.data.test).labels == study.data.test.labels).mean())
    row = dict(pictures=sum(map(len, study.data.splits.values())), classes=len(study.class_names), size=size)
    row |= dict(device=device, seconds=time.perf_counter() - start, processor=_processor_seconds() - processor)
    row |= dict(training=trained)
    print(json.dumps(row | dict(peak=peak_gib(), imports=before, accuracy=accuracy, kept=study.config.cache_gb)))


def _processor_seconds():
    """What this process has computed so far, with those that it waited for: other processes do not make it longer."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    count, size, device = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    parameters = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    if len(sys.argv) > 5:
        _in_its_own_process(count, size, device, parameters, sys.argv[5])
    else:
        print(json.dumps(measured(count, size, device, **parameters)))
