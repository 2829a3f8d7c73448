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
from ..progress import bar
from .folders import Found, Picture, entries, scan_plain
from .pictures import DataError, first_line, read_picture, to_batch

DRAWN_SIZE = 224  # pixels; height and width of drawn pictures


class _Entry(NamedTuple):
    description: str
    find: Callable[[Path], Found]  # takes the folder for drawn and downloaded pictures


def registry(size: int = DRAWN_SIZE) -> dict[str, _Entry]:
    drawn = {
        name: _Entry(spec.description, partial(_find_drawn, name, spec, size))
        for name, spec in _menagerie_specs().items()
    }
    return drawn | {
        "oxford-pets": _Entry(
            "Oxford-IIIT Pet: photos in 2 classes, with 37 breeds as finer labels (downloaded, 0.8 GB)",
            partial(_find_oxford_pets, breeds=False),
        ),
        "oxford-breeds": _Entry(
            "Oxford-IIIT Pet: photos in 37 classes, the breeds (downloaded, 0.8 GB)",
            partial(_find_oxford_pets, breeds=True),
        ),
        "flowers-102": _Entry("Oxford 102 Flower: photos in 102 classes (downloaded, 0.3 GB)", _find_flowers),
        "awa2": _Entry("Animals with Attributes 2: photos in 50 classes (fetched by hand, 13 GB)", _find_awa2),
        "animals-151": _Entry("Animals 151: photos in 151 classes (fetched by hand)", _find_animals_151),
        "classify-leaves": _Entry("classify-leaves: photos in 176 classes (fetched by hand)", _find_classify_leaves),
    }


def _menagerie_specs() -> dict[str, Any]:
    try:
        from menagerie import DATA_SETS
    except ImportError as error:  # folders and published data sets work without it
        if error.name != "menagerie":
            raise
        return {}
    return DATA_SETS


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
        record = _drawn(folder, _plan(name, spec, size), jobs)
    except OSError as error:
        raise DataError(
            f"{folder}: pictures cannot be written there ({first_line(error)}). Make room, allow writing, or name "
            "another folder in root or in the environment variable ASXAI_DATA."
        ) from error
    pictures = [
        Picture(folder / job.file, job.class_name, job.split, job.fine, folder / "parts" / job.file,
                 record["pictures"][job.file]["hash"])
        for job in jobs
    ]  # fmt: skip
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
    missing = [job for job in jobs if not _is_drawn(folder, job)]
    if missing or not record["pictures"]:
        hashes = _draw_all(folder, missing)
        record["pictures"] = {job.file: {"hash": hashes.get(job.file) or _pixel_hash(read_picture(folder / job.file)),
                                         "fine": job.fine} for job in jobs}
        _write_record(folder, record)
    return record


def _jobs(name: str, spec, size: int) -> list[_Job]:
    jobs = []
    for class_name in spec.classes:
        fine_labels = spec.fine.get(class_name) or (None,)
        for split, count in (("train", spec.train_per_class), ("test", spec.test_per_class)):
            jobs += [_Job(name, class_name, split, number, fine_labels[number % len(fine_labels)], size)
                     for number in range(count)]  # fmt: skip
    return jobs


def _is_drawn(folder: Path, job: _Job) -> bool:
    return (folder / job.file).is_file() and (folder / "parts" / job.file).is_file()


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
    try:
        record = json.loads((folder / "drawn.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(folder: Path, record: dict):
    text = json.dumps(record, indent=1)
    paths.write_atomically(folder / "drawn.json", lambda path: path.write_text(text, encoding="utf-8"))


def _find_oxford_pets(root: Path, breeds: bool) -> Found:
    from torchvision import datasets as published  # takes seconds, and folders do without

    train, test = (
        _through_torchvision(
            published.OxfordIIITPet, root, split, "oxford-iiit-pet", "https://www.robots.ox.ac.uk/~vgg/data/pets/",
            "images.tar.gz and annotations.tar.gz, unpacked into images/ and annotations/",
        )
        for split in ("trainval", "test")
    )  # fmt: skip
    breed_names = tuple(train.classes)
    class_names = breed_names if breeds else tuple(name.lower() for name in train.bin_classes)
    pictures = [
        Picture(Path(path), class_names[breed if breeds else kind], split, None if breeds else breed_names[breed])
        for split, source in (("train", train), ("test", test))
        for path, breed, kind in zip(source._images, source._labels, source._bin_labels)
    ]
    place = root / "oxford-iiit-pet"
    return Found(class_names, pictures, fine_names=() if breeds else breed_names, place=place)


def _find_flowers(root: Path) -> Found:
    from torchvision import datasets as published

    sources = {
        ours: _through_torchvision(
            published.Flowers102, root, theirs, "flowers-102", "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
            "102flowers.tgz, unpacked into jpg/, and beside it imagelabels.mat and setid.mat",
        )
        for ours, theirs in (("train", "train"), ("validation", "val"), ("test", "test"))
    }  # fmt: skip
    count = 1 + max(max(source._labels) for source in sources.values())
    class_names = getattr(published.Flowers102, "classes", [f"class {number + 1:03d}" for number in range(count)])
    pictures = [
        Picture(Path(path), class_names[label], split)
        for split, source in sources.items()
        for path, label in zip(source._image_files, source._labels)
    ]
    return Found(tuple(class_names), pictures, place=root / "flowers-102")


def _through_torchvision(source, root: Path, split: str, folder: str, page: str, files: str):
    try:
        return source(root, split=split, download=True)
    except (OSError, RuntimeError, EOFError, ValueError, tarfile.TarError) as error:
        raise DataError(
            f"{root / folder}: the data set could not be downloaded ({first_line(error)}). Check the network and try "
            f"again, or fetch from {page} {files}, all in {root / folder}; delete there what is incomplete."
        ) from error


def _find_awa2(root: Path) -> Found:
    place = root / "awa2"
    remedy = f"Fetch AwA2-data.zip from https://cvml.ista.ac.at/AwA2/ and unpack it so that {place}/JPEGImages exists."
    inside = [folder for folder in (place, *sorted(place.glob("*/"))) if (folder / "JPEGImages").is_dir()]
    if not inside:
        raise DataError(f"{place}: no JPEGImages folder found in it. {remedy}")
    return _found_by_hand(inside[0] / "JPEGImages", 50, remedy)


def _find_animals_151(root: Path) -> Found:
    place = root / "animals-151"
    remedy = f'Fetch the data set "Animals 151" from Kaggle and unpack it so that {place} holds one folder per class.'
    folder = place
    while folder.is_dir() and [entry.is_dir() for entry in entries(folder)] == [True]:
        folder = entries(folder)[0]  # archives often wrap their content in a folder of their own
    return _found_by_hand(folder, 151, remedy)


def _found_by_hand(folder: Path, classes: int, remedy: str) -> Found:
    found = scan_plain(folder) if folder.is_dir() else Found((), [])
    if len(found.class_names) != classes:
        raise DataError(f"{folder}: {classes} class folders expected, {len(found.class_names)} found. {remedy}")

    def readable(class_name):
        return class_name.replace("+", " ")

    pictures = [picture._replace(class_name=readable(picture.class_name)) for picture in found.pictures]
    class_names = tuple(map(readable, found.class_names))
    return found._replace(class_names=class_names, pictures=pictures, correctable=False)


def _find_classify_leaves(root: Path) -> Found:
    place = root / "classify-leaves"
    table = place / "train.csv"
    remedy = (
        f'Fetch the data of the competition "classify-leaves" from Kaggle and unpack it so that {table} and '
        f"{place}/images exist."
    )
    if not table.is_file() or not (place / "images").is_dir():
        raise DataError(f"{place}: train.csv or the images folder is missing. {remedy}")
    with open(table, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"image", "label"} <= set(rows[0]):
        raise DataError(f"{table}: the columns image and label are missing. {remedy}")
    class_names = tuple(sorted({row["label"] for row in rows}))
    if len(class_names) != 176:
        raise DataError(f"{table}: 176 labels expected, {len(class_names)} found. {remedy}")
    pictures = [Picture(place / row["image"], row["label"]) for row in rows]
    return Found(class_names, pictures, place=place)


def drawn_without(study, split, desc):
    """Drawn pictures of a split again, each without one part: `(names of parts, uint8 (part, picture, 3, size, size))`.

    Parts are those that are seen in any of the pictures. What was behind a part is seen where it was.
    """
    visible, fine = split.part_masks(study.config.size), split.fine or [None] * len(split)
    parts = tuple(name for k, name in enumerate(study.data.part_names, 1) if (visible == k).any())
    jobs = [(path, name, finer) for name in parts for path, finer in zip(split.paths, fine)]
    drawn = Parallel(n_jobs=cpu_count())(delayed(redraw)(study.data.name, path, (name,), finer)
                                         for path, name, finer in bar(jobs, desc=desc))
    return parts, to_batch(drawn, study.config.size).unflatten(0, (len(parts), len(split)))
