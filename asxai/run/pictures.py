"""The pictures that a command is given, and the place for what it makes of them: outside of all pictures."""

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from asxai import paths

from .plan import RunError

if TYPE_CHECKING:
    from ..study import Study


def find_pictures(given: list[str], out: Path) -> dict[Path, str]:
    """The picture files that files, folders and patterns mean, each with a name of its own for what is made of it.

    A folder is looked through with all in it, apart from hidden files and what lies in `out`. Raises RunError for
    what is not there, for a folder or pattern without pictures, and where `out` holds all that is meant.
    """
    from asxai.cache import key_of
    from asxai.data.folders import SUFFIXES

    found, ours = {}, out.resolve()
    for text in given:
        if not text:
            raise RunError("a picture's name is empty. Give files, folders of pictures, or patterns in quotes")
        place = Path(text).expanduser()
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            names = {path: path.relative_to(place) for path in inside}
            names = {path: name.as_posix() for path, name in names.items() if not any(p[0] == "." for p in name.parts)}
        else:
            files = [place] if place.exists() else map(Path, sorted(glob.glob(str(place), recursive=True)))
            names = {path: path.name for path in files if path.is_file()}
        outside = {path: name for path, name in names.items() if ours not in path.resolve().parents}
        if names and not outside:
            among = f"--out {out} holds the pictures of {text}, and what is made must not lie among them"
            raise RunError(f"{among}; give another place")
        if not outside:
            what = f"no picture in it ({', '.join(SUFFIXES)})" if place.is_dir() else "no such file"
            raise RunError(f"{text}: {what}. Give files, folders of pictures, or patterns such as 'photos/*.jpg'")
        found |= {path: name for path, name in outside.items() if path not in found}
    if problem := next(filter(None, map(paths.unreadable, found)), ""):
        raise RunError(problem)
    counts = {}
    for name in found.values():
        counts[name] = counts.get(name, 0) + 1
    return {p: name if counts[name] == 1 else f"{key_of(str(p.resolve()))[:8]}-{name}" for p, name in found.items()}


def place(text: str, kind: str, begins: bytes = b"") -> Path:
    """Where the result goes, a "file" or a "folder". Raises RunError, before anything is done, where the other is.

    begins: how our files begin; one that does not is somebody else's, and not written over
    """
    if not text:
        raise RunError(f"the {kind} to write to has an empty name; give one")
    path = Path(text).expanduser()
    if path.exists() and path.is_dir() != (kind == "folder"):
        raise RunError(f"{text} is a {'file' if kind == 'folder' else 'folder'}; give a {kind} to write to")
    if path.is_file() and path.stat().st_size:
        with open(path, "rb") as file:
            if file.read(len(begins)) != begins:
                raise RunError(f"{text} is there already and was not written by asxai; give another name, or remove it")
    return path


def check_outside(out: Path, study: "Study"):
    """Raises RunError where a result would lie among a study's training pictures: it would be trained on, too."""
    folder = paths.DATA / study.config.data_set  # or that of a registered data set
    if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"{out} is among the pictures of {folder}, on which the study was trained; give a place outside")
