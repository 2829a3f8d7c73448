"""Execute the numbered notebooks, so that each figure is made by one command.

    python -m asxai.run figures      every notebook on its data sets, with protocol="short"; what is up to date is left
    python -m asxai.run study        the same with protocol="long"
    python -m asxai.run notebooks    the committed notebooks again, in place, with the parameters written in them

An executed copy goes to runs/notebooks/<data set>/<notebook>.ipynb, and beside it a stamp: what the copy was made
from (notebook, package, parameters, data set, earlier notebooks) and the figures that it wrote. A notebook is
executed again when any of these changed or is gone. The stamp is removed before a notebook starts and written when it
has finished, so that an interrupted one is started again by the next call.

Nothing heavy is imported before something has to be executed: a call that finds all up to date ends at once.
"""

import difflib
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from asxai import paths

# The data sets that a notebook runs on when none is named; one that is not listed runs on the first of the menagerie.
# All figures together are to take less than fifteen minutes, so that more is for `make study`, or a DATASET=... away.
MENAGERIE = ("menagerie-pets", "menagerie-wild", "menagerie-flowers")
DATA_SETS = {"05_ood": MENAGERIE[1:2]}
STUDY_DATA_SETS = DATA_SETS | {
    "01_train": MENAGERIE,
    "02_prototypes": MENAGERIE,
    "04_sensitivity": (MENAGERIE[0], MENAGERIE[2]),
    "07_ablation": MENAGERIE[:2],
    "11_methods": (*MENAGERIE[:2], "menagerie-game"),
}
AT_ONCE = 2  # notebooks of `figures`: most of what they do takes one core, and 2 to 4 GB of memory
PACKAGE = Path(__file__).resolve().parent.parent
KERNEL = "python3"


class RunError(Exception):
    """Something that the caller can put right: it is reported as one message, without a traceback."""


@dataclass(frozen=True)
class Places:
    """The folders of one checkout, and the files that every result depends on."""

    notebooks: Path = paths.NOTEBOOKS
    runs: Path = paths.RUNS
    figures: Path = paths.FIGURES
    sources: tuple[Path, ...] = (PACKAGE, paths.ROOT / "data" / "menagerie", paths.ROOT / "requirements.lock")

    def executed(self, name: str, data_set: str) -> Path:
        return self.runs / "notebooks" / paths.slug(data_set) / f"{name}.ipynb"

    def stamp(self, name: str, data_set: str) -> Path:
        return self.executed(name, data_set).with_suffix(".json")


def find_notebooks(names, places: Places) -> list[Path]:
    """The numbered notebooks in order, or the named ones of them; of a name a piece is enough ("01", "explore")."""
    known = {path.stem: path for path in sorted(places.notebooks.glob("[0-9]*.ipynb"))}
    if not known:
        raise RunError(f"no numbered notebook (01_train.ipynb, ...) in {places.notebooks}")
    wanted = set()
    for name in [Path(name).name.removesuffix(".ipynb") for name in names]:
        meant = [stem for stem in known if stem == name] or [stem for stem in known if name and stem.startswith(name)]
        meant = meant or [stem for stem in known if name and name in stem]
        if len(meant) != 1:
            one_of, none = f"{name!r} may be {' or '.join(meant)}.", f"no notebook {name}. {likely(name, known)}"
            raise RunError(f"{(one_of if meant else none).strip()} There are {', '.join(known)}")
        wanted |= set(meant)
    return [path for stem, path in known.items() if stem in wanted or not names]


def split_data_sets(text: str) -> list[str]:
    """The data sets of `DATASET=...`: one as a whole if there is such a folder, else a line each, else a word each."""
    for pieces in ([text], text.splitlines(), text.split()):
        if pieces and all(piece in _listed() or _folder(piece).is_dir() for piece in pieces if piece):
            return [piece for piece in pieces if piece]
    return text.split() if set(text.split()) <= _registered() else [text]


def find_data_set(name: str) -> str:
    """A registered name as it is, a folder as an absolute path."""
    folder = _folder(name)
    if name in _listed() or not folder.is_dir() and name in _registered():
        return name
    if problem := paths.unreadable(folder):
        raise RunError(problem)
    if folder.is_dir():
        return str(folder.resolve())
    names, beside = sorted(_registered()), [path.name for path in Path.cwd().glob("*/")]
    meant = likely(name, [*names, *(beside if len(folder.parts) == 1 else [])])
    remedy = f"{meant}Give one of these, or the path of a folder with a folder of pictures per class"
    raise RunError(f"data set {name!r} is neither a folder nor one of {', '.join(names)}. {remedy}")


def _folder(name: str) -> Path:
    return Path(os.path.expanduser(name))  # without an error where there is no home


def _registered() -> set[str]:
    from asxai.data.datasets import data_set_names  # only where it is needed: it imports torch

    return {*_listed(), *data_set_names()}


def likely(name: str, known) -> str:
    """The likeliest of the known names as a question, or nothing."""
    near = difflib.get_close_matches(name, known, 1)
    return f"Is {near[0]!r} meant? " if near else ""


def _listed() -> set[str]:
    return {*MENAGERIE, *(name for names in DATA_SETS.values() for name in names)}


def put_aside(data_set: str, pictures: str, places: Places) -> str:
    """Keep figures of earlier pictures apart: a table must not have rows of both. What was done, in words."""
    folder = places.figures / paths.slug(data_set)
    note, old = folder / "pictures.txt", folder.with_name(f"{folder.name}-until-{time.strftime('%Y-%m-%d-%H%M%S')}")
    if changed := note.exists() and note.read_text(encoding="utf-8") != pictures:
        folder.rename(old)
    paths.write_atomically(note, lambda path: path.write_text(pictures, encoding="utf-8"))
    return f"other pictures than before: figures of the earlier ones are now in {short(old)}" if changed else ""


def read_cells(notebook: Path) -> list[dict]:
    """The cells of a notebook. Raises RunError for a file that is none, with what to do."""
    text, problem = notebook.read_bytes().decode("utf-8", "replace"), "it is no notebook"
    try:
        cells = json.loads(text)["cells"]
        if all(isinstance(source_of(cell), str) and isinstance(tags_of(cell), list) for cell in cells):
            return cells
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        merging = re.search("^[ +-]*<{7} ", text, re.MULTILINE)
        problem = "a merge in it is not finished" if merging else f"it is no notebook ({error!r})"
    problem = problem if text.strip() else "it is empty"
    raise RunError(f"{short(notebook)}: {problem}. `git checkout -- {short(notebook)}` brings the committed one back")


def source_of(cell: dict) -> str:
    return "".join(cell["source"])


def tags_of(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def _digest(content) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def digest_sources(places: Places) -> str:
    """One hash for the text of every Python file in the source folders, and of the single files among them."""
    files = [file for source in places.sources for file in (sorted(source.rglob("*.py")) or [source]) if file.exists()]
    return _digest([[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files])


def fingerprint(notebook: Path, data_set: str, parameters: dict, places: Places, begun=None) -> dict[str, str]:
    """A hash for each thing that the executed notebook depends on, under the name that the reader is told.

    begun: the fingerprints of notebooks that this run has started, by (name, data set): they may have no stamp yet
    """
    cells = [[cell.get("cell_type"), tags_of(cell), source_of(cell)] for cell in read_cells(notebook)]
    files = []
    if os.path.isabs(data_set):  # a folder; the registered data sets are drawn or fetched by the package itself
        for folder, folders, names in os.walk(data_set):
            folders.sort()
            shown = [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
            states = [(path, os.lstat(path)) for path in shown]  # of a link itself: it may lead nowhere
            files += [[path, state.st_size, state.st_ctime_ns] for path, state in states]  # no copy keeps this time
    earlier = [path.stem for path in sorted(places.notebooks.glob("[0-9]*.ipynb")) if path.stem < notebook.stem]
    now = lambda name: (
        (begun or {}).get((name, data_set)) or (read_stamp(name, data_set, places) or {}).get("made from")
    )
    stamps = [[name, now(name)] for name in earlier]
    return {
        "the notebook": _digest(cells),
        "the package": digest_sources(places),
        "the parameters": _digest(parameters),
        "the data set": _digest([data_set, files]),
        "names of its concepts": _digest(written_names(data_set)),
        "an earlier notebook": _digest(stamps),
    }


def written_names(data_set: str) -> list[str]:
    """What a person wrote into the data set's file of names (`asxai.concepts.names.names_file`); empty when nothing."""
    try:
        file = paths.DATA / "names" / f"{paths.slug(data_set)}.json"
        concepts = json.loads(file.read_text(encoding="utf-8"))["concepts"]
        names = [str(concept["name"]) for concept in concepts]
    except (OSError, ValueError, KeyError, TypeError):  # whoever reads it to use it says what is wrong
        return []
    return names if any(names) else []


def read_stamp(name: str, data_set: str, places: Places) -> dict | None:
    """What the notebook was made from when it was last executed, and its figures; None where nothing tells."""
    try:
        stamp = json.loads(places.stamp(name, data_set).read_text(encoding="utf-8"))
        return {"made from": dict(stamp["made from"]), "figures": list(map(str, stamp["figures"]))}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def why_run(name: str, data_set: str, prints: dict, places: Places) -> str:
    """Why the notebook has to be executed, in words; empty when it is up to date."""
    stamp = read_stamp(name, data_set, places)
    if stamp is None or not places.executed(name, data_set).exists():
        return "not done yet"
    if changed := [what for what, value in prints.items() if stamp["made from"].get(what) != value]:
        return f"{', '.join(changed)} changed"
    gone = [figure for figure in stamp["figures"] if not (places.figures / figure).exists()]
    return f"{gone[0]} is gone" if gone else ""


def list_figures(data_set: str, places: Places) -> dict[str, tuple]:
    """Every file in the data set's folder of figures, with what changes when it is written again."""
    found = sorted((places.figures / paths.slug(data_set)).rglob("*"))
    states = {path.relative_to(places.figures).as_posix(): path.stat() for path in found if path.is_file()}
    return {name: (state.st_mtime_ns, state.st_size) for name, state in states.items()}


def elapsed(start: float) -> str:
    seconds = round(time.monotonic() - start)
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"


def short(path: Path) -> str:
    """The path as seen from the current folder, where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
