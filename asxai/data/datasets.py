"""Data sets: three disjoint splits of pictures, with names for classes and parts.

    pets = load_data_set("menagerie-pets")          # or a folder: load_data_set("my_pictures")
    batch = to_batch(pets.train.paths[:8], 224)     # asxai.data.pictures: uint8 (picture, 3, 224, 224)
    batch = augment(batch, torch.Generator().manual_seed(0))    # asxai.data.augmentation

Which split a picture falls into depends only on its content (a hash), never on file names or on the order in which
the file system lists them. Three kinds of data sets exist: drawn ones (package `menagerie`, drawn once and kept),
published ones (fetched by torchvision, or by hand where a site wants a login) and any folder of class folders. Names
of classes, finer labels and parts come from the data.

Every complaint about input is a `DataError` that says what is wrong and what to do about it.
"""

import difflib
import hashlib
import json
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import paths
from ..cache import digest_of
from ..progress import bar
from ..statistics import evenly
from .folders import LISTED, Found, Picture, entries, holds_classes, listing, scan_folder, tail
from .pictures import DataError, first_line, oddity, open_picture, read_mask
from .sources import DRAWN_SIZE, registry

SPLITS = ("train", "validation", "test")
SHARE = 0.2  # of each class's pictures that test and validation get where the source does not say


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures of one split, sorted by class and then by hash.

    paths:  one file per picture
    labels: int64 (picture,), positions in `DataSet.class_names`
    hashes: one hexadecimal SHA-256 prefix per picture: of the file's bytes, or, for drawn pictures, of the pixels
    fine:   one finer label per picture (a breed, say), or None
    parts:  one part-mask file per picture, or None
    origin: the split that these pictures were taken from, and where they are in it, int64 (picture,); None for a whole
            one. What was computed once for the whole is then not computed again for a part.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    hashes: tuple[str, ...]
    fine: tuple[str, ...] | None = None
    parts: tuple[Path, ...] | None = None
    origin: tuple["Split", np.ndarray] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def class_counts(self, classes: int = 0) -> np.ndarray:
        """Number of pictures per class, int64 (class,); `classes` is the least length, for classes without pictures."""
        return np.bincount(self.labels, minlength=classes)

    def take(self, indices) -> "Split":
        """The pictures at `indices` (integers, a slice or a Boolean mask), in that order."""
        chosen = np.atleast_1d(np.arange(len(self))[indices])
        pick = lambda values: None if values is None else tuple(values[index] for index in chosen)
        whole, places = self.origin or (self, np.arange(len(self)))
        fine, parts, origin = pick(self.fine), pick(self.parts), (whole, places[chosen])
        return Split(pick(self.paths), self.labels[chosen], pick(self.hashes), fine, parts, origin)

    def part_masks(self, size: int | None = None) -> np.ndarray:
        """Which part each pixel shows, uint8 (picture, height, width): k is `DataSet.part_names[k - 1]`, 0 background.

        With `size` in pixels the masks are cropped and resized (nearest neighbour) exactly as `to_batch` treats the
        pictures. Raises DataError where there are no masks.
        """
        if self.parts is None:
            raise DataError("part_masks: this data set has no part masks. Use a drawn data set (see data_set_names()).")
        masks = [read_mask(path, size) for path in self.parts]
        return np.stack(masks) if masks else np.zeros((0, size or 0, size or 0), np.uint8)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Three disjoint splits and the names that go with them.

    `notes` are sentences for the reader: which files were left out, and why.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    part_names: tuple[str, ...] = ()
    fine_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return dict(zip(SPLITS, (self.train, self.validation, self.test)))

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
    return {name: entry.description for name, entry in registry().items()}


def load_data_set(name_or_folder, *, root=paths.DATA, size: int = DRAWN_SIZE) -> DataSet:
    """Load a data set by name (`data_set_names()`) or from a folder, drawing or downloading it on first use.

    A folder holds `class/*.jpg`, or `train/class/*.jpg` and `test/class/*.jpg`, optionally with `val`, `valid` or
    `validation` as a third. It is only read, never written to. Where a split is not given, each class gives up a fifth
    of its pictures, at least one, in the order of salted hashes: for test first (only if there is no test folder), then
    for validation. Copies of one file are used once; between splits, test goes before validation and validation before
    train.

    root: folder for drawn and downloaded pictures
    size: height and width in pixels of drawn pictures; other data sets keep their sizes

    Headers of all pictures are checked here; damage further inside a file shows when the picture is read. Raises
    DataError with a remedy if the folder, a class or a picture cannot be used, or if a download is not to be had.
    """
    root = Path(root).expanduser()
    known = registry(size)
    if isinstance(name_or_folder, str) and name_or_folder in known:
        name, found = name_or_folder, known[name_or_folder].find(root)
    else:
        folder = _find_folder(name_or_folder, root, known)
        if folder.parent == root.resolve() and folder.name in known:
            return load_data_set(folder.name, root=root, size=size)
        found, name = scan_folder(folder), paths.slug(folder)
    return _assemble(name, found)


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
    here = [entry.name for entry in entries(root) if entry.is_dir() and holds_classes(entry)] if root.is_dir() else []
    close = difflib.get_close_matches(str(name_or_folder), [*known, *here], n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise DataError(
        f"name_or_folder: {str(name_or_folder)!r} is neither a known data set nor a folder. {hint}"
        f"Known are {', '.join(known)}; or give the path of a folder with one folder of pictures per class."
    )


# --- From files to splits -------------------------------------------------------------------------------------------


def _assemble(name: str, found: Found) -> DataSet:
    """Check, hash, de-duplicate and split the pictures that were found."""
    notes = list(found.notes)
    pictures = _without_copies(_hashed(found, notes), found.correctable, notes)
    _check_counts(found, pictures)
    pictures = _with_splits(pictures)
    label_of = {class_name: label for label, class_name in enumerate(found.class_names)}
    pictures.sort(key=lambda picture: (label_of[picture.class_name], picture.hash))
    splits = [_split([picture for picture in pictures if picture.split == split], label_of) for split in SPLITS]
    return DataSet(name, found.class_names, *splits, found.part_names, found.fine_names, tuple(notes))


def _split(pictures: list[Picture], label_of: dict[str, int]) -> Split:
    files, class_names, _, fine, parts, hashes = zip(*pictures)
    labels = np.array([label_of[name] for name in class_names], np.int64)
    return Split(files, labels, hashes, None if None in fine else fine, None if None in parts else parts)


def _hashed(found: Found, notes: list[str]) -> list[Picture]:
    """Hash the files and check that they can be decoded. Raises DataError that names the first few bad ones."""
    pictures = found.pictures
    if all(picture.hash for picture in pictures):
        return pictures
    with ThreadPoolExecutor() as pool:  # reading and hashing release Python's lock
        results = pool.map(_inspect, [picture.path for picture in pictures])
        results = list(bar(results, total=len(pictures), desc="checking pictures"))
    problems = [problem for _, problem, _ in results if problem]
    if problems:
        listed = "\n".join(problems[:LISTED])
        more = f"\n... and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        remedy = "" if found.correctable else f"\nWhere files are missing, delete {found.place} and load again."
        raise DataError(f"{len(problems)} of {len(pictures)} pictures cannot be used:\n{listed}{more}{remedy}")
    for doubt in sorted({doubt for _, _, doubt in results if doubt}):
        files = [tail(picture.path) for picture, result in zip(pictures, results) if result[2] == doubt]
        notes.append(f"{len(files)} doubtful, as {doubt}: {listing(files)}.")
    return [picture._replace(hash=result[0]) for picture, result in zip(pictures, results)]


def _inspect(path: Path) -> tuple[str, str, str]:
    """Hash of a file, what is wrong with it, and what is odd in it (empty where nothing is)."""
    try:
        with open_picture(path) as picture:
            # only an eighth of a JPEG is computed, which is quick; that a file was cut short is noticed all the same
            picture.draft("RGB", (1, 1))
            picture.load()
            return digest_of(path), "", oddity(picture)
    except DataError as error:
        return "", str(error), ""
    except Exception as error:  # as in `asxai.data.pictures`, readers raise nearly anything
        return "", f"{path}: damaged or cut short ({first_line(error)}). Fetch the file again, or delete it.", ""


_PRECEDENCE = {"test": 0, "validation": 1, "train": 2, None: 3}


def _without_copies(pictures: list[Picture], correctable: bool, notes: list[str]) -> list[Picture]:
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
            dropped["because copies of the same file are in different classes"] += [tail(p.path) for p in group]
            continue
        kept.append(first)
        for copy in group[1:]:
            where = "of the same split" if copy.split == first.split else f"that is in {first.split}"
            reason = f"as a copy of a picture {where}"
            dropped[reason].append(f"{tail(copy.path)} (same as {tail(first.path)})")
    notes += [f"{len(files)} left out {reason}: {listing(files)}." for reason, files in sorted(dropped.items())]
    return kept


def _check_counts(found: Found, pictures: list[Picture]):
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
                    f"{found.place}: {where}class {class_name} has too few different pictures "
                    f"({counts[class_name, split]}). Give it at least {needed[split]}, or remove the class."
                )


def _with_splits(pictures: list[Picture]) -> list[Picture]:
    """Give test and validation their pictures where the source does not; the rest is for training."""
    given = {picture.split for picture in pictures}
    wanted = [split for split in ("test", "validation") if split not in given]
    result = [picture for picture in pictures if picture.split in ("validation", "test")]
    by_class = defaultdict(list)
    for picture in sorted(pictures, key=lambda picture: hashlib.sha256(f"0:{picture.hash}".encode()).hexdigest()):
        if picture.split not in ("validation", "test"):
            by_class[picture.class_name].append(picture)
    for rest in by_class.values():
        each = max(1, round(SHARE * len(rest)))
        names = [split for split in wanted for _ in range(each)] + ["train"] * len(rest)
        result += [picture._replace(split=split) for picture, split in zip(rest, names)]
    return result


def spread_over(split: Split, count: int) -> Split:
    """At most `count` pictures, evenly over the split."""
    return split.take(evenly(len(split), count))
