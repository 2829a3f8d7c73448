"""Data sets, pictures and augmentation.

    pets = load_data_set("menagerie-pets")          # or a folder: load_data_set("my_pictures")
    batch = to_batch(pets.train.paths[:8], 224)     # uint8 (picture, 3, 224, 224)
    batch = augment(batch, torch.Generator().manual_seed(0))

A data set is three disjoint splits of picture files. Which split a picture falls into depends only on its content
(a hash) and on the seed, never on file names or on the order in which the file system lists them. Three kinds exist:
drawn ones (package `menagerie`, drawn once and kept), published ones (fetched by torchvision, or by hand where a site
wants a login) and any folder of class folders. Names of classes, finer labels and parts come from the data.

Every complaint about input is a `DataError` that says what is wrong and what to do about it.
"""

import csv
import difflib
import hashlib
import json
import math
import os
import shutil
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property, partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.nn import functional
from torchvision import datasets as published

from . import paths
from .progress import bar

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SMALLEST_SIDE = 16  # pixels; below this there is nothing to see
MOST_PIXELS = 90_000_000  # pixels; about Pillow's own limit for decompression bombs
DRAWN_SIZE = 224  # pixels; height and width of drawn pictures
LISTED = 5  # how many offending files a message names before it only counts them


Image.init()  # Pillow knows only some of the formats before


class DataError(ValueError):
    """Input that cannot be used; the message names the file or argument, its value, and the remedy."""


# --- Data sets ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures of one split, sorted by class and then by hash.

    paths:  one file per picture
    labels: int64 (picture,), positions in `DataSet.class_names`
    hashes: one hexadecimal SHA-256 prefix per picture: of the file's bytes, or, for drawn pictures, of the pixels
    fine:   one finer label per picture (a breed, say), or None
    parts:  one part-mask file per picture, or None
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    hashes: tuple[str, ...]
    fine: tuple[str, ...] | None = None
    parts: tuple[Path, ...] | None = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and len(value) != len(self.paths):
                raise DataError(
                    f"Split: {field.name} has {len(value)} entries for {len(self.paths)} paths. Give one per picture."
                )

    def __len__(self) -> int:
        return len(self.paths)

    def class_counts(self, classes: int = 0) -> np.ndarray:
        """Number of pictures per class, int64 (class,); `classes` is the least length, for classes without pictures."""
        return np.bincount(self.labels, minlength=classes)

    def take(self, indices) -> "Split":
        """The pictures at `indices` (integers, a slice or a Boolean mask), in that order.

        Raises DataError for an index outside the split.
        """
        try:
            chosen = np.atleast_1d(np.arange(len(self))[indices])
        except IndexError as error:
            raise DataError(f"indices: {error}. Use whole numbers from 0 to {len(self) - 1}.") from error

        def pick(values):
            return None if values is None else tuple(values[index] for index in chosen)

        return Split(pick(self.paths), self.labels[chosen], pick(self.hashes), pick(self.fine), pick(self.parts))

    def part_masks(self, size: int | None = None) -> np.ndarray:
        """Which part each pixel shows, uint8 (picture, height, width): k is `DataSet.part_names[k - 1]`, 0 background.

        With `size` in pixels the masks are cropped and resized (nearest neighbour) exactly as `to_batch` treats the
        pictures. Raises DataError where there are no masks, or where their sizes differ and no `size` is given.
        """
        if self.parts is None:
            raise DataError("part_masks: this data set has no part masks. Use a drawn data set (see data_set_names()).")
        masks = [_read_mask(path, size) for path in self.parts]
        if len({mask.shape for mask in masks}) > 1:
            raise DataError("part_masks: size=None, but the masks differ in size. Give a size in pixels.")
        return np.stack(masks) if masks else np.zeros((0, size or 0, size or 0), np.uint8)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Three disjoint splits and the names that go with them.

    `notes` are sentences for the reader: which files were left out, and why. Raises DataError if one picture (by its
    hash) is in two splits, or if a label has no class name.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    part_names: tuple[str, ...] = ()
    fine_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        first_seen: dict[str, tuple[str, Path]] = {}
        for split_name, split in self.splits.items():
            if len(split) and not 0 <= split.labels.min() <= split.labels.max() < len(self.class_names):
                raise DataError(
                    f"DataSet {self.name}: labels of {split_name} run from {split.labels.min()} to "
                    f"{split.labels.max()}. Use 0 to {len(self.class_names) - 1}, one number per class name."
                )
            for picture_hash, path in zip(split.hashes, split.paths):
                other_name, other_path = first_seen.setdefault(picture_hash, (split_name, path))
                if other_name != split_name:
                    raise DataError(
                        f"DataSet {self.name}: {path} in {split_name} is the same picture as {other_path} in "
                        f"{other_name}. Remove one of the two."
                    )

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @cached_property
    def fingerprint(self) -> str:
        """Hash over class, finer and part names, the splits, and the hash and labels of every picture.

        Where the files lie and what they are called does not enter.
        """
        content = [self.class_names, self.fine_names, self.part_names]
        content += [[split.labels.tolist(), split.hashes, split.fine] for split in self.splits.values()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def data_set_names() -> dict[str, str]:
    """Name and one-line description of every data set that `load_data_set` knows by name."""
    return {name: entry.description for name, entry in _registry().items()}


def load_data_set(
    name_or_folder,
    *,
    validation_share: float = 0.2,
    test_share: float = 0.2,
    seed: int = 0,
    root=paths.DATA,
    size: int = DRAWN_SIZE,
) -> DataSet:
    """Load a data set by name (`data_set_names()`) or from a folder, drawing or downloading it on first use.

    A folder holds `class/*.jpg`, or `train/class/*.jpg` and `test/class/*.jpg`, optionally with `val`, `valid` or
    `validation` as a third. It is only read, never written to. Where a split is not given, each class gives up its
    first round(share * pictures), at least one, in the order of hashes salted with the seed: test first (only if
    there is no test folder), then validation. Copies of one file are used once; between splits, test goes before
    validation and validation before train.

    validation_share, test_share: share of each class's pictures, between 0 and 1
    seed: whole number that salts the choice
    root: folder for drawn and downloaded pictures
    size: height and width in pixels of drawn pictures; other data sets keep their sizes

    Headers of all pictures are checked here; damage further inside a file shows when the picture is read. Raises
    DataError with a remedy if the folder, a class or a picture cannot be used, or if a download is not to be had.
    """
    _check_shares(validation_share, test_share)
    _check_whole("seed", seed, 0)
    _check_whole("size", size, SMALLEST_SIDE)
    root = Path(root).expanduser()
    known = _registry(size)
    if isinstance(name_or_folder, str) and name_or_folder in known:
        name, found = name_or_folder, known[name_or_folder].find(root)
    else:
        folder = _find_folder(name_or_folder, root, known)
        name, found = folder.name, _scan_folder(folder)
    return _assemble(name, found, validation_share, test_share, seed)


def _check_shares(validation_share, test_share):
    shares = {"validation_share": validation_share, "test_share": test_share}
    for argument, share in shares.items():
        if not isinstance(share, Real) or not 0 < share < 1:
            raise DataError(f"{argument}: {share!r} is not a share. Use a number between 0 and 1, such as 0.2.")
    if sum(shares.values()) >= 1:
        raise DataError(
            f"validation_share + test_share: {sum(shares.values())} leaves nothing to train on. Use less than 1."
        )


def _check_whole(argument, value, least):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise DataError(f"{argument}: {value!r} is not usable. Use a whole number of at least {least}.")


def _find_folder(name_or_folder, root, known) -> Path:
    """The folder that is meant: as given, or under `root`."""
    if not isinstance(name_or_folder, (str, os.PathLike)) or not str(name_or_folder):
        raise DataError(f"name_or_folder: {name_or_folder!r} is neither a name nor a folder. Give one of the two.")
    given = Path(name_or_folder).expanduser()
    for folder in (given, root / given):
        if folder.is_dir():
            return folder.resolve()
    if given.is_file():
        raise DataError(f"{given}: this is a file. Give the folder that holds one folder of pictures per class.")
    here = [entry.name for entry in _entries(root) if entry.is_dir()] if root.is_dir() else []
    close = difflib.get_close_matches(str(name_or_folder), [*known, *here], n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise DataError(
        f"name_or_folder: {str(name_or_folder)!r} is neither a known data set nor a folder. {hint}"
        f"Known are {', '.join(known)}; or give the path of a folder with one folder of pictures per class."
    )


# --- From files to splits -------------------------------------------------------------------------------------------


class _Picture(NamedTuple):
    """One picture file, before splits are chosen."""

    path: Path
    class_name: str
    split: str | None = None  # train, validation or test where the source says so
    fine: str | None = None
    parts: Path | None = None
    hash: str = ""  # filled in when the file is checked; drawn pictures come with it


class _Found(NamedTuple):
    """What a source holds: the input of `_assemble`."""

    class_names: tuple[str, ...]
    pictures: list[_Picture]
    notes: Iterable[str] = ()
    fine_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    place: Path | None = None
    correctable: bool = False  # the reader's own folder: a contradiction there is an error, elsewhere it is dropped


_SPLIT_FOLDERS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation",
                  "test": "test"}  # fmt: skip


def _scan_folder(folder: Path) -> _Found:
    """Find the pictures of a folder in one of the two layouts. Hidden files are passed over in silence."""
    split_folders = {entry: _SPLIT_FOLDERS[entry.name.lower()] for entry in _entries(folder)
                     if entry.is_dir() and entry.name.lower() in _SPLIT_FOLDERS}  # fmt: skip
    if not split_folders:
        return _scan_plain(folder)
    names = Counter(split_folders.values())
    missing = [name for name in ("train", "test") if name not in names]
    if missing or names.most_common(1)[0][1] > 1:
        problem = f"there is no {missing[0]} folder" if missing else "one split has two folders"
        raise DataError(
            f"{folder}: has {', '.join(sorted(entry.name for entry in split_folders))}, but {problem}. Give it one "
            "train and one test folder (a validation folder may be added), or one folder per class and no split."
        )
    classes, pictures, notes = {}, [], []
    for entry in sorted(split_folders):
        classes[entry], some = _class_folders(entry, split_folders[entry], notes)
        pictures += some
    _note_others([entry for entry in _entries(folder) if entry not in split_folders], notes)
    _check_same_classes(classes)
    return _Found(tuple(sorted(set().union(*classes.values()))), pictures, notes, place=folder, correctable=True)


def _scan_plain(folder: Path) -> _Found:
    notes: list[str] = []
    class_names, pictures = _class_folders(folder, None, notes)
    return _Found(tuple(sorted(class_names)), pictures, notes, place=folder, correctable=True)


def _class_folders(folder: Path, split: str | None, notes: list[str]) -> tuple[set[str], list[_Picture]]:
    """Class names and pictures of `folder/class/*`; what is neither goes into the notes."""
    class_folders = [entry for entry in _entries(folder) if entry.is_dir()]
    if not class_folders:
        loose = sum(_is_picture(entry) for entry in _entries(folder))
        problem = f"{loose} pictures lie directly in it" if loose else "it is empty"
        raise DataError(f"{folder}: {problem}; no class folder found. Make one folder of pictures per class.")
    pictures = []
    for class_folder in class_folders:
        files = [entry for entry in _entries(class_folder) if _is_picture(entry)]
        if not files:
            raise DataError(
                f"{class_folder}: this class folder holds no picture ({', '.join(SUFFIXES)}). "
                "Put pictures in, or delete the folder."
            )
        pictures += [_Picture(path, class_folder.name, split) for path in files]
        _note_others([entry for entry in _entries(class_folder) if entry not in set(files)], notes)
    if split is None:
        _note_others([entry for entry in _entries(folder) if not entry.is_dir()], notes)
    return {entry.name for entry in class_folders}, pictures


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _note_others(others: list[Path], notes: list[str]):
    if others:
        notes.append(f"Not used, as neither a picture nor a class folder: {_listing(map(_tail, others))}.")


def _check_same_classes(classes: dict[Path, set[str]]):
    for here, names in classes.items():
        for there, other_names in classes.items():
            only_here = sorted(names - other_names)
            if only_here:
                raise DataError(
                    f"{there / only_here[0]}: there is no such folder, but {here / only_here[0]} exists "
                    f"({len(only_here)} such). Give every split the same class folders."
                )


def _tail(path: Path) -> str:
    return "/".join(path.parts[-3:])  # enough to find the file, without the reader's own folders in a notebook


def _listing(items: Iterable) -> str:
    items = [str(item) for item in items]
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more


def _assemble(name: str, found: _Found, validation_share: float, test_share: float, seed: int) -> DataSet:
    """Check, hash, de-duplicate and split the pictures that were found."""
    notes = list(found.notes)
    pictures = _without_copies(_hashed(found), found.correctable, notes)
    _check_counts(found, pictures)
    pictures = _with_splits(pictures, validation_share, test_share, seed)
    label_of = {class_name: label for label, class_name in enumerate(found.class_names)}
    pictures.sort(key=lambda picture: (label_of[picture.class_name], picture.hash))
    splits = {
        split: _split([picture for picture in pictures if picture.split == split], label_of)
        for split in ("train", "validation", "test")
    }
    return DataSet(name, found.class_names, **splits, part_names=found.part_names, fine_names=found.fine_names,
                   notes=tuple(notes))  # fmt: skip


def _split(pictures: list[_Picture], label_of: dict[str, int]) -> Split:
    fine = tuple(picture.fine for picture in pictures)
    parts = tuple(picture.parts for picture in pictures)
    return Split(
        paths=tuple(picture.path for picture in pictures),
        labels=np.array([label_of[picture.class_name] for picture in pictures], np.int64),
        hashes=tuple(picture.hash for picture in pictures),
        fine=None if None in fine else fine,
        parts=None if None in parts else parts,
    )


def _hashed(found: _Found) -> list[_Picture]:
    """Hash the files and check that their headers open. Raises DataError that names the first few bad ones."""
    pictures = found.pictures
    if all(picture.hash for picture in pictures):
        return pictures
    with ThreadPoolExecutor() as pool:  # reading and hashing release Python's lock
        results = pool.map(_inspect, [picture.path for picture in pictures])
        results = list(bar(results, total=len(pictures), desc="checking pictures"))
    problems = [problem for _, problem in results if problem]
    if problems:
        listed = "\n".join(problems[:LISTED])
        more = f"\n... and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        remedy = "" if found.correctable else f"\nWhere files are missing, delete {found.place} and load again."
        raise DataError(f"{len(problems)} of {len(pictures)} pictures cannot be used:\n{listed}{more}{remedy}")
    return [picture._replace(hash=file_hash) for picture, (file_hash, _) in zip(pictures, results)]


def _inspect(path: Path) -> tuple[str, str]:
    """Hash of a file, and what is wrong with its header (an empty string if nothing)."""
    try:
        _open(path).close()
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32], ""
    except DataError as error:
        return "", str(error)


_PRECEDENCE = {"test": 0, "validation": 1, "train": 2, None: 3}


def _without_copies(pictures: list[_Picture], correctable: bool, notes: list[str]) -> list[_Picture]:
    """Keep one picture per hash, in the split that goes first, and none where copies disagree about the class."""
    groups = defaultdict(list)
    for picture in sorted(pictures, key=lambda picture: (_PRECEDENCE[picture.split], picture.path)):
        groups[picture.hash].append(picture)
    kept, dropped = [], defaultdict(list)
    for group in groups.values():
        first = group[0]
        other = next((picture for picture in group if picture.class_name != first.class_name), None)
        if other and correctable:
            raise DataError(
                f"{first.path} and {other.path}: the same file is in the classes {first.class_name} and "
                f"{other.class_name}. Delete the one that is wrong."
            )
        if other:
            dropped["because copies of the same file are in different classes"] += [_tail(p.path) for p in group]
            continue
        kept.append(first)
        for copy in group[1:]:
            where = "of the same split" if copy.split == first.split else f"that is in {first.split}"
            reason = f"as a copy of a picture {where}"
            dropped[reason].append(f"{_tail(copy.path)} (same as {_tail(first.path)})")
    notes += [f"{len(files)} left out {reason}: {_listing(files)}." for reason, files in sorted(dropped.items())]
    return kept


def _check_counts(found: _Found, pictures: list[_Picture]):
    """Every class needs pictures in every split that is given, and enough to cut off those that are not."""
    if len(found.class_names) < 2:
        raise DataError(
            f"{found.place}: only one class, {', '.join(found.class_names)}. Add a folder with pictures of another."
        )
    counts = Counter((picture.class_name, picture.split) for picture in pictures)
    given = {picture.split for picture in found.pictures}
    needed = {None: 3, "train": 1 if "validation" in given else 2, "validation": 1, "test": 1}
    for class_name in found.class_names:
        for split in sorted(given, key=str):
            if counts[class_name, split] < needed[split]:
                where = f"{split}: " if split else ""
                raise DataError(
                    f"{found.place}: {where}class {class_name} has {counts[class_name, split]} different pictures. "
                    f"Give it at least {needed[split]}, or remove the class."
                )


def _with_splits(pictures, validation_share, test_share, seed) -> list[_Picture]:
    """Give test and validation their pictures where the source does not; the rest is for training."""
    given = {picture.split for picture in pictures}
    result = [picture for picture in pictures if picture.split in ("validation", "test")]
    by_class = defaultdict(list)
    for picture in sorted(pictures, key=lambda picture: _salted(picture.hash, seed)):
        if picture.split not in ("validation", "test"):
            by_class[picture.class_name].append(picture)
    for rest in by_class.values():
        total = len(rest)
        if "test" not in given:
            rest = _cut(rest, test_share * total, "test", result, keep=2)
        if "validation" not in given:
            rest = _cut(rest, validation_share * total, "validation", result, keep=1)
        _cut(rest, len(rest), "train", result, keep=0)
    return result


def _cut(pictures, count, split, result, keep) -> list[_Picture]:
    """Move the first round(count) pictures, at least one, into `split`; return the others, at least `keep`."""
    count = min(max(1, round(count)), len(pictures) - keep)
    result += [picture._replace(split=split) for picture in pictures[:count]]
    return pictures[count:]


def _salted(picture_hash: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{picture_hash}".encode()).hexdigest()


# --- Data sets known by name ----------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    description: str
    find: Callable[[Path], _Found]  # takes the folder for drawn and downloaded pictures


def _registry(size: int = DRAWN_SIZE) -> dict[str, _Entry]:
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


# Drawn: each picture is drawn once and kept. `drawn.json` first says what is being drawn, so that a broken-off run can
# be taken up again, and at the end also holds a hash and the finer label of every picture, so that the next load is
# quick. The hash is over the pixels, for the bytes of a PNG file differ between versions of its writer.


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


def _find_drawn(name: str, spec, size: int, root: Path) -> _Found:
    folder = root / (name if size == DRAWN_SIZE else f"{name}-{size}")
    jobs = _jobs(name, spec, size)
    try:
        record = _drawn(folder, _plan(name, spec, size), jobs)
    except OSError as error:
        raise DataError(
            f"{folder}: pictures cannot be written there ({_first_line(error)}). Make room, allow writing, or name "
            "another folder in root or in the environment variable ASXAI_DATA."
        ) from error
    pictures = [
        _Picture(folder / job.file, job.class_name, job.split, job.fine, folder / "parts" / job.file,
                 record["pictures"][job.file]["hash"])
        for job in jobs
    ]  # fmt: skip
    fine_names = tuple(dict.fromkeys(job.fine for job in jobs if job.fine is not None))
    return _Found(tuple(spec.classes), pictures, fine_names=fine_names, part_names=tuple(spec.parts), place=folder)


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
        _draw_all(folder, missing)
        record["pictures"] = {job.file: {"hash": _pixel_hash(folder / job.file), "fine": job.fine} for job in jobs}
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


def _draw_all(folder: Path, jobs: list[_Job]):
    """Draw on all cores. One process draws the very same pictures; only the time differs."""
    workers = min(cpu_count(), 1 + len(jobs) // _FEWEST_PER_PROCESS)
    # joblib rather than concurrent.futures: its processes also start from scripts that do not guard their main part
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", idle_worker_timeout=5)
    drawn = parallel(delayed(_draw)(folder, job) for job in jobs)
    for _ in bar(drawn, total=len(jobs), desc=f"drawing {folder.name}"):
        pass


def _draw(folder: Path, job: _Job):
    """Draw one picture and its mask. A training picture lacks the parts that its seed says, a test picture none."""
    import menagerie

    train = job.split == "train"
    remove = menagerie.missing_parts(job.data_set, job.class_name, job.seed) if train else ()
    drawing = menagerie.render(job.data_set, job.class_name, job.seed, size=job.size, remove=remove, fine=job.fine)
    _save_png(drawing.parts, folder / "parts" / job.file)
    _save_png(drawing.picture, folder / job.file)


def _save_png(pixels: np.ndarray, path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(pixels).save(unfinished, format="PNG")
    os.replace(unfinished, path)  # the name never stands for half a file, even if the run is killed


def _pixel_hash(path: Path) -> str:
    pixels = np.asarray(read_picture(path))
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:32]


def _read_record(folder: Path) -> dict:
    try:
        record = json.loads((folder / "drawn.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(folder: Path, record: dict):
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".drawn.json.{os.getpid()}"
    unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(unfinished, folder / "drawn.json")


# Published: downloaded by torchvision, which checks the archives. It offers no public way to the file names without
# decoding the pictures, hence the private attributes.


def _find_oxford_pets(root: Path, breeds: bool) -> _Found:
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
        _Picture(Path(path), class_names[breed if breeds else kind], split, None if breeds else breed_names[breed])
        for split, source in (("train", train), ("test", test))
        for path, breed, kind in zip(source._images, source._labels, source._bin_labels)
    ]
    place = root / "oxford-iiit-pet"
    return _Found(class_names, pictures, fine_names=() if breeds else breed_names, place=place)


def _find_flowers(root: Path) -> _Found:
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
        _Picture(Path(path), class_names[label], split)
        for split, source in sources.items()
        for path, label in zip(source._image_files, source._labels)
    ]
    return _Found(tuple(class_names), pictures, place=root / "flowers-102")


def _through_torchvision(source, root: Path, split: str, folder: str, page: str, files: str):
    try:
        return source(root, split=split, download=True)
    except (OSError, RuntimeError, EOFError, ValueError, tarfile.TarError) as error:
        raise DataError(
            f"{root / folder}: the data set could not be downloaded ({_first_line(error)}). Check the network and try "
            f"again, or fetch from {page} {files}, all in {root / folder}; delete there what is incomplete."
        ) from error


# By hand: published where a program cannot fetch it politely, as it wants a login or is very large.


def _find_awa2(root: Path) -> _Found:
    place = root / "awa2"
    remedy = f"Fetch AwA2-data.zip from https://cvml.ista.ac.at/AwA2/ and unpack it so that {place}/JPEGImages exists."
    inside = [folder for folder in (place, *sorted(place.glob("*/"))) if (folder / "JPEGImages").is_dir()]
    if not inside:
        raise DataError(f"{place}: no JPEGImages folder found in it. {remedy}")
    return _found_by_hand(inside[0] / "JPEGImages", 50, remedy)


def _find_animals_151(root: Path) -> _Found:
    place = root / "animals-151"
    remedy = f'Fetch the data set "Animals 151" from Kaggle and unpack it so that {place} holds one folder per class.'
    folder = place
    while folder.is_dir() and [entry.is_dir() for entry in _entries(folder)] == [True]:
        folder = _entries(folder)[0]  # archives often wrap their content in a folder of their own
    return _found_by_hand(folder, 151, remedy)


def _found_by_hand(folder: Path, classes: int, remedy: str) -> _Found:
    found = _scan_plain(folder) if folder.is_dir() else _Found((), [])
    if len(found.class_names) != classes:
        raise DataError(f"{folder}: {classes} class folders expected, {len(found.class_names)} found. {remedy}")

    def readable(class_name):
        return class_name.replace("+", " ")

    pictures = [picture._replace(class_name=readable(picture.class_name)) for picture in found.pictures]
    class_names = tuple(map(readable, found.class_names))
    return found._replace(class_names=class_names, pictures=pictures, correctable=False)


def _find_classify_leaves(root: Path) -> _Found:
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
    pictures = [_Picture(place / row["image"], row["label"]) for row in rows]
    return _Found(class_names, pictures, place=place)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# --- Pictures -------------------------------------------------------------------------------------------------------


def read_picture(source) -> Image.Image:
    """Read any picture as an upright RGB `PIL.Image`.

    source: a path; a PIL picture; an array (height, width), (height, width, 3) or (height, width, 4); or a tensor
    (3, height, width). Arrays and tensors hold uint8 0..255, uint16 0..65535 or floating point 0..1.

    The EXIF orientation is applied, 16-bit values are scaled to 8 bits, grey, palette and CMYK are converted,
    transparency is laid over white, and of an animation the first frame is used. Raises DataError if the file is
    missing, empty, damaged, no picture, smaller than 16 pixels on its short side or larger than 90 million pixels,
    or if an array has another shape, type or range.
    """
    if isinstance(source, (str, os.PathLike)):
        with _open(Path(source)) as picture:
            return _decode(picture, str(source))
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or "PIL picture"
        _check_size(source.size, name)
        return _decode(source, name)
    if isinstance(source, torch.Tensor):
        return _from_array(_tensor_pixels(source), "tensor")
    if isinstance(source, np.ndarray):
        return _from_array(source, "array")
    raise DataError(f"source: {type(source).__name__} is no picture. Give a path, a PIL picture, an array or a tensor.")


def to_batch(sources, size: int) -> torch.Tensor:
    """Read pictures as one uint8 tensor (picture, 3, size, size).

    Each is resized (bicubic, smoothed) so that its short side is `size` pixels, and cropped around its centre.
    `sources` are any that `read_picture` takes. Raises DataError as `read_picture` does.
    """
    if isinstance(sources, (str, os.PathLike, Image.Image)):
        raise DataError(f"sources: {sources!r} is a single picture. Give a list, such as [picture].")
    _check_whole("size", size, SMALLEST_SIDE)

    def pixels(source):
        return np.asarray(ImageOps.fit(read_picture(source), (size, size), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor() as pool:  # decoding and resizing release Python's lock
        batch = list(pool.map(pixels, sources))
    stacked = np.stack(batch) if batch else np.zeros((0, size, size, 3), np.uint8)  # (picture, size, size, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def _read_mask(path: Path, size: int | None) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG",)) as mask:
            fitted = mask if size is None else ImageOps.fit(mask, (size, size), Image.Resampling.NEAREST)
            return np.array(fitted, np.uint8)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path}: part mask unreadable ({_first_line(error)}). Delete it and load again.") from error


def _open(path: Path) -> Image.Image:
    """Open a picture file and check its header, without decoding it."""
    try:
        picture = Image.open(path, formats=FORMATS)
    except Exception as error:  # on odd input Pillow's readers raise nearly anything, not only OSError
        raise DataError(f"{path}: {_problem(path, error)}") from error
    try:
        _check_size(picture.size, path)
    except DataError:
        picture.close()
        raise
    return picture


def _problem(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file. Check the path; a file on the web must be downloaded first."
    if isinstance(error, IsADirectoryError):
        return "this is a folder. Give a picture file in it."
    if isinstance(error, Image.DecompressionBombError):
        return f"larger than {MOST_PIXELS // 10**6} million pixels. Scale it down first."
    if isinstance(error, UnidentifiedImageError) and path.stat().st_size == 0:
        return "the file is empty (0 bytes). Delete it or fetch it again."
    if isinstance(error, UnidentifiedImageError):
        return f"no picture of a kind that can be read ({', '.join(FORMATS)}). Convert it, or delete it."
    return f"cannot be opened ({_first_line(error)}). Check that it may be read and is whole, or delete it."


def _check_size(size: tuple[int, int], name):
    width, height = size
    if min(width, height) < SMALLEST_SIDE:
        raise DataError(
            f"{name}: {width} x {height} pixels are too few. Use a picture of at least {SMALLEST_SIDE} pixels a side."
        )
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{name}: {width} x {height} pixels are more than {MOST_PIXELS // 10**6} million. Scale it down first."
        )


def _decode(picture: Image.Image, name: str) -> Image.Image:
    try:
        return _to_rgb(ImageOps.exif_transpose(picture), name)
    except DataError:
        raise
    except Exception as error:  # as in _open
        raise DataError(
            f"{name}: damaged or cut short ({_first_line(error)}). Fetch the file again, or delete it."
        ) from error


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel: Pillow would clip these at 255
        pixels = np.asarray(picture)
        if pixels.dtype == np.int32 and 0 <= pixels.min() and pixels.max() <= np.iinfo(np.uint16).max:
            pixels = pixels.astype(np.uint16)  # some readers hand 16-bit values over in 32 bits
        return Image.fromarray(_to_uint8(pixels, name)).convert("RGB")
    if picture.mode in ("LAB", "HSV"):
        raise DataError(f"{name}: colours are stored as {picture.mode}. Save the picture as RGB.")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _tensor_pixels(tensor: torch.Tensor) -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise DataError(
            f"tensor: shape {tuple(tensor.shape)} is not (3, height, width). Move the colours to the front with "
            "permute(2, 0, 1), and pass the pictures of a batch one by one."
        )
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy knows no bfloat16
    return tensor.permute(1, 2, 0).numpy()


def _from_array(pixels: np.ndarray, name: str) -> Image.Image:
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise DataError(
            f"{name}: shape {pixels.shape} is not (height, width), (height, width, 3) or (height, width, 4). "
            "Move the colours to the end, for example with numpy.moveaxis(pixels, 0, -1)."
        )
    _check_size((pixels.shape[1], pixels.shape[0]), name)
    return _to_rgb(Image.fromarray(np.ascontiguousarray(_to_uint8(pixels, name))), name)


def _to_uint8(pixels: np.ndarray, name: str) -> np.ndarray:
    """Scale uint16 0..65535 or floating point 0..1 to uint8 0..255, rounding to the nearest."""
    if pixels.dtype == np.uint8:
        return pixels
    if np.issubdtype(pixels.dtype, np.uint16):  # of either byte order
        return np.round(pixels / 257).astype(np.uint8)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"{name}: values of type {pixels.dtype}. Use uint8, uint16, or floating point from 0 to 1.")
    if not np.isfinite(pixels).all():
        raise DataError(f"{name}: some values are not finite (NaN or infinite). Replace them by values from 0 to 1.")
    if pixels.min() < -1e-4 or pixels.max() > 1 + 1e-4:  # a little more is the rounding of earlier steps
        raise DataError(
            f"{name}: floating-point values from {pixels.min():.4g} to {pixels.max():.4g} are outside 0 to 1. "
            "Divide values up to 255 by 255; undo any normalisation."
        )
    return np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


# --- Augmentation ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Augmentation:
    """Strengths for `augment`, the kinds named in the paper's section 3.1; 0 switches one off.

    Each is the limit of a uniform distribution around "no change", unless it says otherwise. Raises DataError for a
    value out of range.
    """

    rotation: float = 15.0  # degrees, either way
    shear: float = 8.0  # degrees, along each axis
    skew: float = 0.08  # perspective: relative change of scale from the centre to an edge, along each axis
    zoom: float = 0.1  # relative change of scale of the whole picture
    distortion: float = 0.015  # standard deviation of the random shift of a point, in sides of the picture
    distortion_cells: int = 5  # points per side at which that shift is drawn; smooth in between
    flip: float = 0.5  # probability of a mirror image, left to right

    def __post_init__(self):
        limits = {"rotation": 180, "shear": 45, "skew": 0.4, "zoom": 0.9, "distortion": 0.5, "flip": 1}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise DataError(f"Augmentation: {name}={getattr(self, name)!r}. Use a number from 0 to {limit}.")
        if self.distortion_cells < 2:
            raise DataError(f"Augmentation: distortion_cells={self.distortion_cells!r}. Use at least 2.")


def augment(
    pictures: torch.Tensor, generator: torch.Generator, strength: Augmentation = Augmentation()
) -> torch.Tensor:
    """Rotate, shear, skew, zoom, distort and mirror each picture at random, in a single resampling.

    pictures: (picture, 3, height, width), uint8 or floating point, on any device
    generator: on the CPU, so that one seed means the same change on every device
    Returns a tensor of the same shape, type and device. What comes in over an edge is the picture mirrored there.
    Raises DataError for another shape or type, or for a generator on another device.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise DataError(f"pictures: shape {tuple(pictures.shape)}. Give (picture, 3, height, width).")
    if pictures.dtype != torch.uint8 and not pictures.is_floating_point():
        raise DataError(f"pictures: type {pictures.dtype}. Give uint8 or floating point.")
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        raise DataError(f"generator: {generator!r}. Give a torch.Generator on the CPU.")
    values = pictures if pictures.dtype == torch.float64 else pictures.float()
    grid = _sampling_grid(pictures.shape[2:], _Randomness.draw(len(pictures), generator, strength), values)
    result = functional.grid_sample(values, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return (result.round() if pictures.dtype == torch.uint8 else result).to(pictures.dtype)


class _Randomness(NamedTuple):
    """What happens to each picture."""

    skew: torch.Tensor  # (picture, 3, 3) from places in the result, -1..1, to skewed ones
    affine: torch.Tensor  # (picture, 3, 3) mirror image, zoom, shear and rotation, about the centre
    shift: torch.Tensor  # (picture, 2, cells, cells) in units of half a side

    @classmethod
    def draw(cls, count: int, generator: torch.Generator, strength: Augmentation) -> "_Randomness":
        def uniform(limit):
            return (2 * torch.rand(count, generator=generator) - 1) * limit

        angle = uniform(math.radians(strength.rotation))
        shear_x, shear_y = (torch.tan(uniform(math.radians(strength.shear))) for _ in range(2))
        skew_x, skew_y = uniform(strength.skew), uniform(strength.skew)
        zoom = 1 + uniform(strength.zoom)
        mirror = 1 - 2 * (torch.rand(count, generator=generator) < strength.flip).float()
        cells = strength.distortion_cells
        shift = 2 * strength.distortion * torch.randn(count, 2, cells, cells, generator=generator)
        one, none = torch.ones(count), torch.zeros(count)
        rotated = _matrices([[angle.cos(), -angle.sin(), none], [angle.sin(), angle.cos(), none], [none, none, one]])
        sheared = _matrices([[one, shear_x, none], [shear_y, one, none], [none, none, one]])
        scaled = _matrices([[zoom * mirror, none, none], [none, zoom, none], [none, none, one]])
        skewed = _matrices([[one, none, none], [none, one, none], [skew_x, skew_y, one]])
        return cls(skewed, rotated @ sheared @ scaled, shift)


def _matrices(rows: list[list[torch.Tensor]]) -> torch.Tensor:
    """(picture, 3, 3) from three rows of three numbers per picture."""
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _sampling_grid(sides, randomness: _Randomness, values: torch.Tensor) -> torch.Tensor:
    """Where each pixel of the result looks in the picture, (picture, height, width, 2), in -1..1."""
    height, width = sides
    skew, affine, shift = (part.to(values) for part in randomness)
    like = {"dtype": values.dtype, "device": values.device}
    # Angles hold only where both axes have the same unit, so stretch to the true proportions and back.
    stretch = torch.diag(torch.tensor([width / min(sides), height / min(sides), 1.0], **like))
    homography = torch.linalg.inv(stretch) @ affine @ stretch @ skew  # (picture, 3, 3)
    x = (torch.arange(width, **like) * 2 + 1) / width - 1  # centres of pixels
    y = (torch.arange(height, **like) * 2 + 1) / height - 1
    places = torch.stack(torch.broadcast_tensors(x, y[:, None], torch.ones((), **like)), dim=-1)  # (height, width, 3)
    projected = torch.einsum("hwj,pij->phwi", places, homography)  # (picture, height, width, 3)
    shifts = functional.interpolate(shift, size=(height, width), mode="bicubic", align_corners=True)
    return projected[..., :2] / projected[..., 2:] + shifts.permute(0, 2, 3, 1)
