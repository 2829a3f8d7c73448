"""Where things live: one absolute path per kind of file.

`ROOT` is the checkout (the folder above this package), or the folder named by the environment variable
`ASXAI_HOME` for an installation without one. `ASXAI_DATA`, `ASXAI_RUNS` and `ASXAI_FIGURES` move a single folder;
the tests use the last so that they never touch committed results.
"""

import hashlib
import os
import re
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


def slug(name) -> str:
    """What a data set, a folder of pictures or a class is called in file names: the last part of a path, tidied.

    Where tidying changed anything a short hash is added, so that "C++" and "C#" stay apart.
    """
    name = Path(name).name
    tidy = re.sub(r"[^\w.-]+", "-", name)
    return tidy if tidy == name else f"{tidy}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def write_atomically(path, write):
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
def locked(folder):
    """Only one process at a time gets into this with the same folder; others wait. The system unlocks when one dies."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
