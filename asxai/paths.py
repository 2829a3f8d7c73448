"""Where things live: one absolute path per kind of file.

`ROOT` is the checkout (the folder above this package), or the folder named by the environment variable
`ASXAI_HOME` for an installation without one. `ASXAI_DATA`, `ASXAI_RUNS` and `ASXAI_FIGURES` move a single folder;
the tests use the last so that they never touch committed results.
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none: there, nobody waits
    fcntl = None


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().resolve()


ROOT = _folder("ASXAI_HOME", Path(__file__).resolve().parent.parent)
DATA = _folder("ASXAI_DATA", ROOT / "data")  # pictures: drawn, downloaded, or put there by the reader
RUNS = _folder("ASXAI_RUNS", ROOT / "runs")  # trained studies, cached features, executed notebooks; git-ignored
FIGURES = _folder("ASXAI_FIGURES", ROOT / "figures")  # figures/<data_set>/: PNG, PDF, CSV, claims.csv
NOTEBOOKS = ROOT / "notebooks"
CACHE = RUNS / "features"
SAMPLES = RUNS / "own_pictures"  # small folders made from larger data sets, named by their content


def slug(name: str | Path) -> str:
    """What a data set, a folder of pictures or a class is called in file names: the last part of a path, tidied.

    Where tidying changed anything a short hash is added, so that "C++" and "C#" stay apart. A path gets a hash of the
    place, so that two folders of one name do; in `DATA` and among the samples in `RUNS` no two have one name.
    """
    given, place = str(name), ""
    if os.sep in given:
        place = os.path.realpath(os.path.expanduser(given))
        known = [os.path.realpath(folder) for folder in (DATA, SAMPLES)]
        place = "" if os.path.dirname(place) in known else place.removeprefix(f"{ROOT}{os.sep}")
    last = os.path.basename(given.rstrip(os.sep))
    tidy = re.sub(r"[^\w.-]+", "-", last)
    tidy = tidy if len(tidy) <= 60 else tidy[:50]  # names of files have 255 bytes at most
    mark = hashlib.sha256((place or last).encode()).hexdigest()
    return f"{tidy}-{mark[:8]}" if place else f"{tidy}-{mark[:4]}" if tidy != last else tidy


def unreadable(path) -> str:
    """What is wrong with a path that cannot be written as text, and what to do; empty where nothing is."""
    if str(path).isascii() or str(path).encode("utf-8", "replace").decode() == str(path):
        return ""
    shown = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if "\\x" not in shown:
        return (
            f"{shown}: Python reads names as {sys.getfilesystemencoding()} here. Set PYTHONUTF8=1 and start it again."
        )
    return f"{shown}: the bytes after each \\x are no UTF-8. Rename it (`convmv -f latin1 -t utf8 --notest` does so)."


def write_atomically(path: str | Path, write: Callable[[Path], object]):
    """Call `write(temporary_path)` and move the result to `path`: a reader sees all of the file or none of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(folder: str | Path):
    """Only one process at a time gets into this with the same folder; others wait. The system unlocks when one dies."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
