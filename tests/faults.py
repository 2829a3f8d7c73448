"""The fault campaign: what goes wrong on other people's machines, many times, and what comes of it.

    make faults                     about twenty minutes; its table goes to figures/faults.csv
    python tests/faults.py --only signals  one of them: what was mended is tried again
    python tests/faults.py --short  about a minute, without the table; part of `make test`

A small study is trained and explained by the notebook runner in a temporary checkout; nothing of this one is touched.
After each fault the same command, given again, must give the very same tables, and what a user is told must be no
traceback. Mutated files must give the same as whole ones, or a sentence.
"""

import argparse
import hashlib
import io
import os
import queue
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from helpers import picture_folder
from notebook_helpers import write_notebook
from PIL import Image

from asxai import Study
from asxai.concepts.names import read_names
from asxai.data.datasets import _inspect
from asxai.data.pictures import DataError, read_picture
from asxai.paths import ROOT, write_atomically
from asxai.run.plan import RunError, read_cells

RUN = [sys.executable, "-m", "asxai.run", "figures"]
PARAMETERS = 'data_set = "none"\nprotocol = "short"\ntraining = {}'
TRAIN = """import asxai
from asxai import results
quick = dict(size=96, basis_per_class=2, scene_vectors=1, channels=8, joint_epochs=2, cycles=1, batch_size=8)
study = asxai.Study.train(data_set, backbone="resnet18", weights="random", **quick | training)"""
EXPLAIN = """results.save_table(study.prototypes, study.data.name, "prototypes")
results.save_table(study.predict_split(study.data.test).frame(), study.data.name, "test")
results.save_table(study.concepts().table(), study.data.name, "concepts")"""
# A Python that imports this shifts its clock, and ends itself at the n-th file that is put in its place
HOOK = """import os, signal, time
shift, left = float(os.environ.get("FAULT_CLOCK", 0)), int(os.environ.get("FAULT_WRITE", 0))
if shift:
    clock = time.time
    time.time = lambda: clock() + shift
if left:
    replace = os.replace
    def counted(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.killpg(os.getpgid(0), signal.SIGKILL)
        return replace(*args, **kwargs)
    os.replace = counted
"""


class Checkout:
    """A temporary checkout with a notebook and a folder of pictures, and what a run without faults gives."""

    def __init__(self, place: Path):
        self.place = place
        self.pictures = picture_folder(place / "pictures", size=48)
        write_notebook(place / "notebooks", "01_train", TRAIN, EXPLAIN, parameters=PARAMETERS)
        (place / "hook").mkdir()
        (place / "hook" / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
        paths = os.pathsep.join([str(place / "hook"), str(ROOT), str(ROOT / "data")])
        home = {"ASXAI_HOME": place, "ASXAI_RUNS": "", "ASXAI_FIGURES": "", "ASXAI_DATA": "", "PYTHONPATH": paths}
        given = {"ASXAI_DATASET": self.pictures, "OMP_NUM_THREADS": 1, "TMPDIR": place, "ASXAI_PROGRESS": ""}
        self.variables = os.environ | {name: str(value) for name, value in (home | given).items()}
        start = time.monotonic()
        assert self.run()[0] == 0, self.run()
        self.seconds, self.tables = time.monotonic() - start, self.hashes()
        assert len(self.tables) == 3, self.tables

    def start(self, before=None, **variables) -> subprocess.Popen:
        """The runner in a process group of its own; `before` is called in it at its beginning."""
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        return subprocess.Popen(RUN, env=self.variables | variables, preexec_fn=before, **pipes)

    def run(self, before=None, **variables) -> tuple[int, str]:
        runner = self.start(before, **variables)
        said = runner.communicate(timeout=1200)[0]
        return runner.returncode, said

    def hashes(self) -> dict[str, str]:
        files = sorted((self.place / "figures").rglob("*.csv"))
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def same_again(self) -> bool:
        """Whether the same command now ends well with the very same tables; what is not so is shown."""
        code, said = self.run()
        same = self.hashes() == self.tables
        print("" if code == 0 else f"it failed: {said}", "" if same else "other tables", end="", flush=True)
        return code == 0 and same

    def empty(self):
        for folder in ("runs", "figures"):
            shutil.rmtree(self.place / folder, ignore_errors=True)


def in_order(said: str) -> bool:
    """Whether what a user was told is no traceback; one is shown."""
    fine = "Traceback" not in said and "---->" not in said
    print("" if fine else said, end="", flush=True)
    return fine


def kills(checkout: Checkout, rng, count: int) -> Iterator[bool]:
    """kill -9 of all processes at a random moment"""
    for _ in range(count):
        checkout.empty()
        runner = checkout.start()
        time.sleep(rng.uniform(0, checkout.seconds))
        os.killpg(runner.pid, signal.SIGKILL)
        runner.communicate()
        yield checkout.same_again()


def kills_at_writes(checkout: Checkout, rng, count: int) -> Iterator[bool]:
    """kill -9 at a random file that is just put in its place"""
    for _ in range(count):
        checkout.empty()
        checkout.run(FAULT_WRITE=str(rng.randint(1, 12)))
        yield checkout.same_again()


def signals(checkout: Checkout, rng, count: int) -> Iterator[bool]:
    """Ctrl-C, SIGTERM and SIGHUP at a random moment"""
    usual = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in count * (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        checkout.empty()
        runner = checkout.start(usual)
        time.sleep(rng.uniform(1, checkout.seconds))
        runner.send_signal(number)
        yield in_order(runner.communicate()[0]) and checkout.same_again()


def full_disks(checkout: Checkout, rng, count: int) -> Iterator[bool]:
    """no file can grow beyond a random size: what is written ends in the middle, as on a full disk"""
    for _ in range(count):
        checkout.empty()
        size = int(10 ** rng.uniform(2, 6))
        code, said = checkout.run(lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
        fine = checkout.hashes() == checkout.tables if code == 0 else in_order(said)
        yield fine and checkout.same_again()


def together(checkout: Checkout, rng, counts) -> Iterator[bool]:
    """several runs in one checkout at once"""
    for count in counts:
        checkout.empty()
        runners = [checkout.start() for _ in range(count)]
        said = [runner.communicate(timeout=1200)[0] for runner in runners]
        ended = all(runner.returncode == 0 for runner in runners) and all(map(in_order, said))
        yield ended and checkout.hashes() == checkout.tables


def clock(checkout: Checkout, rng, count: int) -> Iterator[bool]:
    """the clock is set back by twenty years between two runs"""
    checkout.empty()
    years = [checkout.run(FAULT_CLOCK=str(sign * 3e8))[0] == 0 for sign in (1, -1)]
    yield all(years) and checkout.hashes() == checkout.tables and checkout.same_again()


def flipped(checkout: Checkout, rng, count: int, cut_off=False) -> Iterator[bool]:
    """a bit is flipped in every kept file: noticed and made anew, never used"""
    for _ in range(count):
        files = [file for file in sorted((checkout.place / "runs").rglob("*")) if file.is_file()]
        for file in [file for file in files if file.stat().st_size and file.suffix not in (".txt", ".lock")]:
            content = bytearray(file.read_bytes())
            at = rng.randrange(len(content))
            content[at] ^= 1 << rng.randrange(8)
            file.write_bytes(content[:at] if cut_off else content)
        for stamp in (checkout.place / "runs" / "notebooks").glob("*/0*.json"):
            stamp.unlink()  # else the notebooks that use the files would be taken for done
        yield checkout.same_again()


def cut(checkout: Checkout, rng, count: int) -> Iterator[bool]:
    """every kept file is cut off: noticed and made anew, never used"""
    return flipped(checkout, rng, count, cut_off=True)


def mutated(content: bytes, rng) -> bytes:
    """Bytes changed, taken out, put in, doubled or cut off."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 50))):
        at, size = rng.randrange(len(content) + 1), rng.choice((1, 1, 4, 64))
        kind = rng.randrange(5)
        if kind == 0:
            content[at : at + size] = rng.randbytes(len(content[at : at + size]))
        elif kind == 1:
            del content[at : at + size]
        elif kind == 2:
            content[at:at] = rng.choice((rng.randbytes(size), b"\0" * size, b"\xff" * size))
        elif kind == 3:
            content[at:at] = content[at : at + size]
        elif len(content) > 8:
            del content[rng.randrange(len(content) // 2, len(content)) :]
    return bytes(content)


def seeds_of_pictures() -> dict[str, bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    picture, wide, files = Image.fromarray(pixels), Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), {}
    exif = Image.Exif()
    exif[274] = 6
    for suffix, one, options in (
        ("png", picture, {}), ("jpg", picture, {"exif": exif}), ("webp", picture, {}), ("bmp", picture, {}),
        ("gif", picture.convert("P"), {"save_all": True, "append_images": [picture]}), ("tif", picture, {}),
        ("16.png", wide, {}), ("16.tif", wide, {"compression": "tiff_lzw"}), ("p.png", picture.convert("P"), {}),
        ("rgba.png", picture.convert("RGBA"), {}), ("cmyk.jpg", picture.convert("CMYK"), {}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        one.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix.split(".")[-1], suffix.split(".")[-1]), **options)
        files[suffix] = buffer.getvalue()
    return files


def bad_pictures(checkout: Checkout, rng, count: int) -> Iterator[bool]:
    """mutated picture files are pictures, or an error that names the file"""
    seeds = seeds_of_pictures()
    for number in range(count):
        suffix = rng.choice(list(seeds))
        path = checkout.place / f"{number}.{suffix}"
        path.write_bytes(mutated(seeds[suffix], rng))
        try:
            problem, picture = _inspect(path)[1], read_picture(path)
            fine = picture.mode == "RGB" and min(picture.size) >= 16 and (not problem or str(path) in problem)
        except DataError as error:
            fine = str(path) in str(error)
        except Exception as error:
            print(f"{suffix}: {error!r}")
            fine = False
        path.unlink()
        yield fine


def bad_files(checkout: Checkout, rng, count: int) -> Iterator[bool]:
    """mutated files of studies, names and notebooks give what whole ones give, or an error that names the file"""
    checkout.run()
    (folder,) = (checkout.place / "runs" / "studies").iterdir()
    (names,), notebook = (checkout.place / "data" / "names").iterdir(), checkout.place / "notebooks" / "01_train.ipynb"

    def loaded():
        study = Study.load(folder)
        weights = [value.sum().item() for value in study.model.state_dict().values()]
        return repr((study.config, study.metrics, study.class_names, weights)), study.prototypes.to_csv()

    readers = {folder / name: loaded for name in ("study.json", "model.safetensors", "prototypes.csv", "log.csv")}
    # these are a user's own, who may write into them what is possible
    readers |= {names: lambda: bool(read_names(names)), notebook: lambda: bool(read_cells(notebook))}
    expected = {read: read() for read in set(readers.values())}  # of whole files, as they are again after each try
    for number in range(count):
        path = list(readers)[number % len(readers)]
        whole = path.read_bytes()
        path.write_bytes(mutated(whole, rng))
        try:
            fine = readers[path]() == expected[readers[path]]
        except (ValueError, FileNotFoundError, RunError) as error:
            fine = path.parent.name in str(error) or path.name in str(error)
        except Exception as error:
            print(f"{path.name}: {error!r}")
            fine = False
        if not fine:
            print(f"{path.name}: read as something else, or with an error that does not name it")
        path.write_bytes(whole)
        yield fine


# How often: the whole campaign, and what `make test` has time for, where other tests try signals and clocks
FULL = {kills: 35, kills_at_writes: 15, signals: 3, full_disks: 10, together: (2, 4), clock: 1, flipped: 5, cut: 5}
FULL |= {bad_pictures: 2000, bad_files: 500}
SHORT = {kills_at_writes: 1, full_disks: 1, together: (2,), flipped: 1, bad_pictures: 200, bad_files: 60}


def campaign(amounts: dict, seed: int, at_once: int = 2) -> pd.DataFrame:
    """One row per fault: how often it was tried, and how often all came out as it must. `at_once` at a time.

    Each of them has a checkout of its own, in which the first run takes as long as any other.
    """
    rows, checkouts = [], queue.SimpleQueue()

    def attempt(fault):
        name, checkout, start = fault.__doc__.split("\n")[0], checkouts.get(), time.monotonic()
        outcomes = list(fault(checkout, random.Random(f"{seed} {name}"), amounts[fault]))
        checkouts.put(checkout)
        print(f"{sum(outcomes)} of {len(outcomes)} in {time.monotonic() - start:.0f} s: {name}", flush=True)
        return {"fault": name, "tried": len(outcomes), "as it must be": sum(outcomes)}

    with tempfile.TemporaryDirectory(prefix="asxai-faults-") as folder, ThreadPoolExecutor(at_once) as pool:
        for checkout in pool.map(Checkout, [Path(folder).resolve() / name for name in "ab"[:at_once]]):
            checkouts.put(checkout)
        rows = list(pool.map(attempt, amounts))
    return pd.DataFrame(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="a minute's worth, without the table")
    parser.add_argument("--only", help="one fault, by its function's name: its row alone is made anew")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    amounts = SHORT if given.short else FULL
    if given.only:
        amounts = {fault: number for fault, number in amounts.items() if fault.__name__ == given.only}
    table = campaign(amounts, given.seed, at_once=1 if given.short else 2)  # `make test` keeps the other core busy
    if not given.short:
        path = ROOT / "figures" / "faults.csv"
        if given.only:
            whole = pd.read_csv(path).set_index("fault")
            whole.update(table.set_index("fault"))
            table = whole.reset_index().astype(dict(zip(table.columns, (str, int, int))))
        write_atomically(path, lambda path: table.to_csv(path, index=False))
    return int((table["tried"] != table["as it must be"]).any())


if __name__ == "__main__":
    sys.exit(main())
