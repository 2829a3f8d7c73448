"""Data sets known by name: drawn ones, ones that torchvision downloads, and ones that are fetched by hand.

To add one, write a function from the folder for data to a `Found` and give it an entry in `registry`.
"""

import csv
import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, cpu_count, delayed
from PIL import Image

from .. import paths
from ..cache import key_of
from ..progress import bar
from .folders import Found, Picture, entries, scan_plain
from .pictures import DataError, first_line, read_picture, to_batch

DRAWN_SIZE = 224  # pixels; height and width of drawn pictures
AWA2 = "Fetch AwA2-data.zip from https://cvml.ista.ac.at/AwA2/ and unpack it so that {}/JPEGImages exists."
ANIMALS = 'Fetch the data set "Animals 151" from Kaggle and unpack it so that {} holds one folder per class.'
LEAVES = 'Fetch the data of "classify-leaves" from Kaggle and unpack it so that {0}/train.csv and {0}/images exist.'


class _Entry(NamedTuple):
    find: Callable[[Path], Found]  # takes the folder for drawn and downloaded pictures
    description: str


def registry(size: int = DRAWN_SIZE) -> dict[str, _Entry]:
    specs = _menagerie_specs().items()
    pets, breeds = (partial(_find_oxford_pets, breeds=breeds) for breeds in (False, True))
    awa2, animals = partial(_find_by_hand, "awa2", 50, AWA2), partial(_find_by_hand, "animals-151", 151, ANIMALS)
    drawn = {name: _Entry(partial(_find_drawn, name, spec, size), spec.description) for name, spec in specs}
    return drawn | {
        "oxford-pets": _Entry(pets, "Oxford-IIIT Pet: photos in 2 classes, 37 finer labels (downloaded, 0.8 GB)"),
        "oxford-breeds": _Entry(breeds, "Oxford-IIIT Pet: photos in 37 classes, the breeds (downloaded, 0.8 GB)"),
        "flowers-102": _Entry(_find_flowers, "Oxford 102 Flower: photos in 102 classes (downloaded, 0.3 GB)"),
        "awa2": _Entry(awa2, "Animals with Attributes 2: photos in 50 classes (fetched by hand, 13 GB)"),
        "animals-151": _Entry(animals, "Animals 151: photos in 151 classes (fetched by hand)"),
        "classify-leaves": _Entry(_find_leaves, "classify-leaves: photos in 176 classes (fetched by hand)"),
    }


def _menagerie_specs() -> dict[str, Any]:
    import menagerie  # which takes a moment, and folders do without

    return menagerie.DATA_SETS


class _Job(NamedTuple):
    """One picture to draw."""

    data_set: str
    class_name: str
    split: str
    number: int
    fine: str | None
    size: int

    @property
    def file(self) -> str:
        return f"{self.split}/{self.class_name}/{self.number:04d}.png"

    @property
    def seed(self) -> int:
        return self.number + (1_000_000 if self.split == "test" else 0)


_FEWEST_PER_PROCESS = 32  # pictures; a process takes some seconds to start


def _find_drawn(name: str, spec, size: int, root: Path) -> Found:
    folder = root / (name if size == DRAWN_SIZE else f"{name}-{size}")
    jobs = _jobs(name, spec, size)
    try:
        record = _drawn(folder, _plan(name, spec, size), jobs)["pictures"]
    except OSError as error:
        raise DataError(
            f"{folder}: pictures cannot be written there ({first_line(error)}). Make room, allow writing, or name "
            "another folder in root or in the environment variable ASXAI_DATA."
        ) from error
    pictures = []
    for job in jobs:
        file, parts = folder / job.file, folder / "parts" / job.file
        pictures.append(Picture(file, job.class_name, job.split, job.fine, parts, record[job.file]["hash"]))
    fine_names = tuple(dict.fromkeys(job.fine for job in jobs if job.fine is not None))
    return Found(tuple(spec.classes), pictures, fine_names=fine_names, part_names=tuple(spec.parts), place=folder)


def _plan(name: str, spec, size: int) -> dict:
    """What decides how the pictures look, in types that JSON gives back unchanged."""
    return {
        "data_set": name,
        "version": str(spec.version),
        "size": int(size),
        "train_per_class": spec.train_per_class,
        "test_per_class": spec.test_per_class,
        "parts": list(spec.parts),
        "fine": {class_name: list(spec.fine.get(class_name) or ()) for class_name in spec.classes},
    }


def _drawn(folder: Path, plan: dict, jobs: list[_Job]) -> dict:
    """Draw what is missing, and return the record of what is there."""
    record = _read_record(folder)
    if record.get("plan") != plan:  # another version, or nothing yet
        for outdated in ("train", "test", "parts"):
            shutil.rmtree(folder / outdated, ignore_errors=True)
        record = {"plan": plan, "pictures": {}}
        _write_record(folder, record)
    missing = [job for job in jobs if not ((folder / job.file).is_file() and (folder / "parts" / job.file).is_file())]
    if missing or not record["pictures"]:
        hashes = _draw_all(folder, missing)
        for job in jobs:
            pixels = hashes.get(job.file) or _pixel_hash(read_picture(folder / job.file))
            record["pictures"][job.file] = {"hash": pixels, "fine": job.fine}
        _write_record(folder, record)
    return record


def _jobs(name: str, spec, size: int) -> list[_Job]:
    jobs = []
    for class_name in spec.classes:
        fine = spec.fine.get(class_name) or (None,)
        for split, count in (("train", spec.train_per_class), ("test", spec.test_per_class)):
            jobs += [_Job(name, class_name, split, k, fine[k % len(fine)], size) for k in range(count)]
    return jobs


def _draw_all(folder: Path, jobs: list[_Job]) -> dict[str, str]:
    """Draw on all cores; the hash of each picture. One process draws the very same ones; only the time differs."""
    workers = min(cpu_count(), 1 + len(jobs) // _FEWEST_PER_PROCESS)
    # joblib rather than concurrent.futures: its processes also start from scripts that do not guard their main part
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", idle_worker_timeout=5)
    drawn = parallel(delayed(_draw)(folder, job) for job in jobs)
    return dict(bar(drawn, total=len(jobs), desc=f"drawing {folder.name}"))


def _draw(folder: Path, job: _Job) -> tuple[str, str]:
    """Draw one picture and its mask. A training picture lacks the parts that its seed says, a test picture none."""
    import menagerie

    train = job.split == "train"
    remove = menagerie.missing_parts(job.data_set, job.class_name, job.seed) if train else ()
    drawing = menagerie.render(job.data_set, job.class_name, job.seed, size=job.size, remove=remove, fine=job.fine)
    _save_png(drawing.parts, folder / "parts" / job.file)
    _save_png(drawing.picture, folder / job.file)
    return job.file, _pixel_hash(drawing.picture)


def redraw(data_set: str, path: Path, remove, fine: str | None = None) -> np.ndarray:
    """The drawn picture of a file again, without the parts `remove`, uint8 (size, size, 3).

    fine: its finer label, where the data set has such. Raises DataError for a data set that is not drawn, and
    ValueError for unknown parts.
    """
    if data_set not in _menagerie_specs():
        raise DataError(f"data_set={data_set!r} is not drawn; only drawn pictures can be had without a part")
    import menagerie

    size = read_picture(path).size[0]
    job = _Job(data_set, path.parent.name, path.parent.parent.name, int(path.stem), fine, size)
    if job.split == "train":
        remove = {*remove, *menagerie.missing_parts(data_set, job.class_name, job.seed)}
    return menagerie.render(data_set, job.class_name, job.seed, size=size, remove=remove, fine=fine).picture


def _save_png(pixels: np.ndarray, path: Path):
    picture = Image.fromarray(pixels)  # packed loosely: PNG's usual level would take as long as half the drawing
    paths.write_atomically(path, lambda temporary: picture.save(temporary, format="PNG", compress_level=1))


def _pixel_hash(picture) -> str:
    pixels = np.asarray(picture)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:32]


def _read_record(folder: Path) -> dict:
    """What is in `drawn.json`; nothing where it is missing, cut off, or not as it was written."""
    try:
        record = json.loads((folder / "drawn.json").read_text(encoding="utf-8"))
        kept = record["plan"], record["pictures"]
        return record if record.get("sum") in (None, key_of(*kept)) and isinstance(kept[1], dict) else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _write_record(folder: Path, record: dict):
    text = json.dumps(record | {"sum": key_of(record["plan"], record["pictures"])}, indent=1)
    paths.write_atomically(folder / "drawn.json", lambda path: path.write_text(text, encoding="utf-8"))


def _find_oxford_pets(root: Path, breeds: bool) -> Found:
    from torchvision import datasets as published  # takes seconds, and folders do without

    place = root / "oxford-iiit-pet"
    fetch = "pets/ images.tar.gz and annotations.tar.gz, unpacked into images/ and annotations/"
    train, test = (_published(published.OxfordIIITPet, place, split, fetch) for split in ("trainval", "test"))
    breed_names = tuple(train.classes)
    class_names = breed_names if breeds else tuple(name.lower() for name in train.bin_classes)
    pictures = [
        Picture(Path(path), class_names[breed if breeds else kind], split, None if breeds else breed_names[breed])
        for split, source in (("train", train), ("test", test))
        for path, breed, kind in zip(source._images, source._labels, source._bin_labels)
    ]
    return Found(class_names, pictures, fine_names=() if breeds else breed_names, place=place)


def _find_flowers(root: Path) -> Found:
    from torchvision import datasets as published

    place, splits = root / "flowers-102", {"train": "train", "validation": "val", "test": "test"}
    fetch = "flowers/102/ 102flowers.tgz, unpacked into jpg/, and beside it imagelabels.mat and setid.mat"
    sources = {ours: _published(published.Flowers102, place, theirs, fetch) for ours, theirs in splits.items()}
    count = 1 + max(max(source._labels) for source in sources.values())
    class_names = getattr(published.Flowers102, "classes", [f"class {number + 1:03d}" for number in range(count)])
    pictures = [
        Picture(Path(path), class_names[label], split)
        for split, source in sources.items()
        for path, label in zip(source._image_files, source._labels)
    ]
    return Found(tuple(class_names), pictures, place=place)


def _published(source, place: Path, split: str, fetch: str):
    """A split of one of torchvision's data sets, downloaded into `place` if it is not there."""
    try:
        return source(place.parent, split=split, download=True)
    except (OSError, RuntimeError, EOFError, ValueError, tarfile.TarError) as error:
        raise DataError(
            f"{place}: the data set could not be downloaded ({first_line(error)}). Check the network and try again, or "
            f"fetch from https://www.robots.ox.ac.uk/~vgg/data/{fetch}, all in {place}; delete what is incomplete."
        ) from error


def _find_by_hand(name: str, classes: int, remedy: str, root: Path) -> Found:
    """Pictures below `root / name`, in the first folder with so many class folders: archives wrap their content."""
    place = root / name
    folders = [place, *sorted(place.glob("*/")), *sorted(place.glob("*/*/"))] if place.is_dir() else []
    counts = [sum(entry.is_dir() for entry in entries(folder)) for folder in folders]
    if classes not in counts:
        most = max(counts, default=0)
        raise DataError(f"{place}: {classes} class folders expected, {most} found. {remedy.format(place)}")
    found = scan_plain(folders[counts.index(classes)])
    readable = lambda class_name: class_name.replace("+", " ")
    pictures = [picture._replace(class_name=readable(picture.class_name)) for picture in found.pictures]
    class_names = tuple(map(readable, found.class_names))
    return found._replace(class_names=class_names, pictures=pictures, correctable=False)


def _find_leaves(root: Path) -> Found:
    place = root / "classify-leaves"
    table, remedy = place / "train.csv", LEAVES.format(place)
    if not table.is_file() or not (place / "images").is_dir():
        raise DataError(f"{place}: train.csv or the images folder is missing. {remedy}")
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (ValueError, csv.Error) as error:
        raise DataError(f"{table}: no table in UTF-8 ({first_line(error)}). {remedy}") from error
    if not rows or not {"image", "label"} <= set(rows[0]):
        raise DataError(f"{table}: the columns image and label are missing. {remedy}")
    class_names = tuple(sorted({row["label"] for row in rows}))
    if len(class_names) != 176:
        raise DataError(f"{table}: 176 labels expected, {len(class_names)} found. {remedy}")
    pictures = [Picture(place / row["image"], row["label"]) for row in rows]
    return Found(class_names, pictures, place=place)


def drawn_without(study, split, desc: str) -> tuple[tuple[str, ...], Any]:
    """Drawn pictures of a split again, each without one part: `(names of parts, uint8 (part, picture, 3, size, size))`.

    Parts are those that are seen in any of the pictures. What was behind a part is seen where it was.
    """
    visible, fine = split.part_masks(study.config.size), split.fine or [None] * len(split)
    parts = tuple(name for k, name in enumerate(study.data.part_names, 1) if (visible == k).any())
    jobs = [(path, name, finer) for name in parts for path, finer in zip(split.paths, fine)]
    drawn = Parallel(n_jobs=cpu_count())(
        delayed(redraw)(study.data.name, path, (name,), finer) for path, name, finer in bar(jobs, desc=desc)
    )
    return parts, to_batch(drawn, study.config.size).unflatten(0, (len(parts), len(split)))
