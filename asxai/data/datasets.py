"""Data sets: three disjoint splits of pictures, with names for classes and parts.

    pets = load_data_set("menagerie-pets")          # or a folder: load_data_set("my_pictures")
    batch = to_batch(pets.train.paths[:8], 224)     # asxai.data.pictures: uint8 (picture, 3, 224, 224)
    batch = augment(batch, torch.Generator().manual_seed(0))    # asxai.data.augmentation

A data set is three disjoint splits of picture files. Which split a picture falls into depends only on its content
(a hash) and on the seed, never on file names or on the order in which the file system lists them. Three kinds exist:
drawn ones (package `menagerie`, drawn once and kept), published ones (fetched by torchvision, or by hand where a site
wants a login) and any folder of class folders. Names of classes, finer labels and parts come from the data.

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
from numbers import Real
from pathlib import Path

import numpy as np

from .. import paths
from ..progress import bar
from ..statistics import evenly
from .folders import LISTED, Found, Picture, entries, listing, scan_folder, tail
from .pictures import SMALLEST_SIDE, DataError, check_whole, first_line, open_picture, read_mask
from .sources import DRAWN_SIZE, registry


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

    def __post_init__(self):
        for name in ("labels", "hashes", "fine", "parts"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.paths):
                raise DataError(
                    f"Split: {name} has {len(value)} entries for {len(self.paths)} paths. Give one per picture."
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

        whole, places = self.origin or (self, np.arange(len(self)))
        return Split(pick(self.paths), self.labels[chosen], pick(self.hashes), pick(self.fine), pick(self.parts),
                     (whole, places[chosen]))

    def part_masks(self, size: int | None = None) -> np.ndarray:
        """Which part each pixel shows, uint8 (picture, height, width): k is `DataSet.part_names[k - 1]`, 0 background.

        With `size` in pixels the masks are cropped and resized (nearest neighbour) exactly as `to_batch` treats the
        pictures. Raises DataError where there are no masks, or where their sizes differ and no `size` is given.
        """
        if self.parts is None:
            raise DataError("part_masks: this data set has no part masks. Use a drawn data set (see data_set_names()).")
        masks = [read_mask(path, size) for path in self.parts]
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
    return {name: entry.description for name, entry in registry().items()}


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
    check_whole("seed", seed, 0)
    check_whole("size", size, SMALLEST_SIDE)
    root = Path(root).expanduser()
    known = registry(size)
    if isinstance(name_or_folder, str) and name_or_folder in known:
        name, found = name_or_folder, known[name_or_folder].find(root)
    else:
        folder = _find_folder(name_or_folder, root, known)
        name, found = paths.slug(folder), scan_folder(folder)
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
    here = [entry.name for entry in entries(root) if entry.is_dir()] if root.is_dir() else []
    close = difflib.get_close_matches(str(name_or_folder), [*known, *here], n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise DataError(
        f"name_or_folder: {str(name_or_folder)!r} is neither a known data set nor a folder. {hint}"
        f"Known are {', '.join(known)}; or give the path of a folder with one folder of pictures per class."
    )


# --- From files to splits -------------------------------------------------------------------------------------------


def _assemble(name: str, found: Found, validation_share: float, test_share: float, seed: int) -> DataSet:
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


def _split(pictures: list[Picture], label_of: dict[str, int]) -> Split:
    fine = tuple(picture.fine for picture in pictures)
    parts = tuple(picture.parts for picture in pictures)
    return Split(
        paths=tuple(picture.path for picture in pictures),
        labels=np.array([label_of[picture.class_name] for picture in pictures], np.int64),
        hashes=tuple(picture.hash for picture in pictures),
        fine=None if None in fine else fine,
        parts=None if None in parts else parts,
    )


def _hashed(found: Found) -> list[Picture]:
    """Hash the files and check that they can be decoded. Raises DataError that names the first few bad ones."""
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
    """Hash of a file, and what is wrong with it (an empty string if nothing)."""
    try:
        with open_picture(path) as picture:
            # only an eighth of a JPEG is computed, which is quick; that a file was cut short is noticed all the same
            picture.draft("RGB", (1, 1))
            picture.load()
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32], ""
    except DataError as error:
        return "", str(error)
    except Exception as error:  # as in `asxai.data.pictures`, readers raise nearly anything
        return "", f"{path}: damaged or cut short ({first_line(error)}). Fetch the file again, or delete it."


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


def _with_splits(pictures, validation_share, test_share, seed) -> list[Picture]:
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


def _cut(pictures, count, split, result, keep) -> list[Picture]:
    """Move the first round(count) pictures, at least one, into `split`; return the others, at least `keep`."""
    count = min(max(1, round(count)), len(pictures) - keep)
    result += [picture._replace(split=split) for picture in pictures[:count]]
    return pictures[count:]


def _salted(picture_hash: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{picture_hash}".encode()).hexdigest()


def spread_over(split, count):
    """At most `count` pictures, evenly over the split."""
    return split.take(evenly(len(split), count))
