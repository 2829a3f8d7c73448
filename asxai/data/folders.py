"""Which pictures a folder of class folders holds, in either layout of `asxai.data.datasets.load_data_set`."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .. import paths
from .pictures import DataError, first_line

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
BESIDE = ("points.csv",)  # what is read beside the class folders or splits, see `asxai.concepts.points`
MADE = "explanation.json"  # in a folder that `asxai.explain` wrote: what was made of a picture is no class
LISTED = 5  # how many offending files a message names before it only counts them


class Picture(NamedTuple):
    """One picture file, before splits are chosen."""

    path: Path
    class_name: str
    split: str | None = None  # train, validation or test where the source says so
    fine: str | None = None
    parts: Path | None = None
    hash: str = ""  # filled in when the file is checked; drawn pictures come with it


class Found(NamedTuple):
    """What a source holds: the input of `_assemble`."""

    class_names: tuple[str, ...]
    pictures: list[Picture]
    notes: Iterable[str] = ()
    fine_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    place: Path | None = None
    correctable: bool = False  # the reader's own folder: a contradiction there is an error, elsewhere it is dropped


_SPLIT_FOLDERS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation",
                  "test": "test"}  # fmt: skip


def scan_folder(folder: Path) -> Found:
    """Find the pictures of a folder in one of the two layouts. Hidden files are passed over in silence."""
    inside = [entry for entry in entries(folder) if entry.is_dir()]
    named = {entry: _SPLIT_FOLDERS[entry.name.lower()] for entry in inside if entry.name.lower() in _SPLIT_FOLDERS}
    split_folders = {entry: split for entry, split in named.items() if not _holds_pictures(entry)}
    classes = listing(entry.name for entry in named if entry not in split_folders)
    if classes and (split_folders or len(named) == len(inside)):  # a split without classes, or classes called so?
        raise DataError(
            f"{folder}: {classes} hold{'' if ',' in classes else 's'} pictures and no class folders. Make a folder per "
            "class in each split; or, if these are classes and no splits, give them other names."
        )
    if not split_folders:
        found = scan_plain(folder)
        note = f"Read as classes and no splits, for they hold pictures and no class folders: {classes}."
        return found._replace(notes=[*found.notes, note] if classes else found.notes)
    names = Counter(split_folders.values())
    missing = [name for name in ("train", "test") if name not in names]
    if missing or names.most_common(1)[0][1] > 1:
        problem = f"there is no {missing[0]} folder" if missing else "one split has two folders"
        raise DataError(
            f"{folder}: has {', '.join(sorted(entry.name for entry in split_folders))}, but {problem}. Give it one "
            "train and one test folder (a validation folder may be added), or one folder per class and no split."
        )
    by_split, pictures, notes = {}, [], []
    for entry in sorted(split_folders):
        by_split[entry], some = _class_folders(entry, split_folders[entry], notes)
        pictures += some
    _note_others([entry for entry in entries(folder) if entry not in split_folders], notes, BESIDE)
    _check_same_classes(by_split)
    return Found(tuple(sorted(set().union(*by_split.values()))), pictures, notes, place=folder, correctable=True)


def scan_plain(folder: Path) -> Found:
    notes: list[str] = []
    class_names, pictures = _class_folders(folder, None, notes)
    return Found(tuple(sorted(class_names)), pictures, notes, place=folder, correctable=True)


def _class_folders(folder: Path, split: str | None, notes: list[str]) -> tuple[set[str], list[Picture]]:
    """Class names and pictures of `folder/class/*`; what is neither goes into the notes."""
    class_folders = [entry for entry in entries(folder) if entry.is_dir() and not (entry / MADE).exists()]
    if not class_folders:
        loose = sum(_is_picture(entry) for entry in entries(folder))
        problem = f"pictures lie directly in it ({loose})" if loose else "it is empty"
        raise DataError(f"{folder}: {problem}; no class folder found. Make one folder of pictures per class.")
    pictures, class_names = [], set()
    for class_folder in class_folders:
        class_name = unicodedata.normalize("NFC", class_folder.name)  # as a Mac and a Linux write one name
        if class_name in class_names:
            raise DataError(f"{class_folder}: another class has this name in other bytes. Rename one, or join them.")
        class_names.add(class_name)
        files = [entry for entry in entries(class_folder) if _is_picture(entry)]
        if not files:
            raise DataError(
                f"{class_folder}: this class folder holds no picture ({', '.join(SUFFIXES)}). "
                "Put pictures in, or delete the folder."
            )
        pictures += [Picture(path, class_name, split) for path in files]
        _note_others([entry for entry in entries(class_folder) if entry not in set(files)], notes)
    others = [entry for entry in entries(folder) if entry not in set(class_folders)]
    _note_others(others, notes, () if split else BESIDE)
    return class_names, pictures


def holds_classes(folder: Path) -> bool:
    """Whether a folder, or a split in it, has two class folders of pictures or more."""
    try:
        inside = [entry for entry in entries(folder) if entry.is_dir()]
        splits = [entry for entry in inside if entry.name.lower() in _SPLIT_FOLDERS]
        return sum(map(_holds_pictures, inside)) > 1 or any(map(holds_classes, splits))
    except DataError:  # it may not be read
        return False


def _holds_pictures(folder: Path) -> bool:
    return any(map(_is_picture, entries(folder)))


def entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden. Raises DataError for a folder that may not be read, and for a bad name."""
    try:
        found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except (OSError, UnicodeError) as error:
        raise DataError(f"{folder}: cannot be listed ({first_line(error)}). Allow reading, or take it away.") from error
    for problem in filter(None, map(paths.unreadable, found)):
        raise DataError(problem)
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _note_others(others: list[Path], notes: list[str], read: Iterable[str] = ()):
    if others := [path for path in others if path.name not in read]:
        notes.append(f"Not used, as neither a picture nor a class folder: {listing(map(tail, others))}.")


def _check_same_classes(classes: dict[Path, set[str]]):
    for here, names in classes.items():
        for there, other_names in classes.items():
            only_here = sorted(names - other_names)
            if only_here:
                raise DataError(
                    f"{there / only_here[0]}: there is no such folder, but {here / only_here[0]} exists "
                    f"({len(only_here)} such). Give every split the same class folders."
                )


def tail(path: Path, parts: int = 3) -> str:
    return "/".join(path.parts[-parts:])  # enough to find the file, without the reader's own folders in a notebook


def listing(items: Iterable) -> str:
    items = [str(item) for item in items]
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more
