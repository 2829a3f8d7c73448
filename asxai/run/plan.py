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

import ast
import difflib
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from asxai import paths

# The data sets that a notebook runs on when none is named; one that is not listed runs on the first of the menagerie.
# All figures together are to take less than twenty minutes, so that more is for `make study`, or a DATASET=... away.
MENAGERIE = ("menagerie-pets", "menagerie-wild", "menagerie-flowers")
DATA_SETS = {"05_ood": MENAGERIE[1:2]}
STUDY_DATA_SETS = DATA_SETS | {"01_train": MENAGERIE, "02_prototypes": MENAGERIE,
                               "04_sensitivity": (MENAGERIE[0], MENAGERIE[2]), "07_ablation": MENAGERIE[:2]}
PROTOCOL = {"figures": "short", "study": "long"}
PACKAGE = Path(__file__).resolve().parent.parent
KERNEL = "python3"
EXAMPLES = {("names", dict): """{1:"a_name",4:"another"}, texts in double quotes, the whole in single ones, """
                             "without spaces: PARAMS='names={...}'"}  # where the default says too little


class RunError(Exception):
    """Something that the caller can put right: it is reported as one message, without a traceback."""


@dataclass(frozen=True)
class Places:
    """The folders of one checkout, and the files that every result depends on."""

    notebooks: Path = paths.NOTEBOOKS
    runs: Path = paths.RUNS
    figures: Path = paths.FIGURES
    sources: tuple[Path, ...] = (
        PACKAGE, paths.ROOT / "data" / "menagerie", paths.ROOT / "requirements.lock")

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
            problem = (f"{name!r} may be {' or '.join(meant)}." if meant else
                       f"no notebook {name}. {_meant(name, known)}")
            raise RunError(f"{problem.strip()} There are {', '.join(known)}")
        wanted |= set(meant)
    return [path for stem, path in known.items() if stem in wanted or not names]


def find_data_set(name: str, registered=None) -> str:
    """A registered name as it is, a folder as an absolute path; `registered()` lists the names known elsewhere."""
    if name in _listed():
        return name
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder.resolve())
    if registered is None:  # only now: asxai.data.datasets imports torch
        from asxai.data.datasets import data_set_names as registered
    names = sorted({*_listed(), *registered()})
    if name not in names:
        beside = [path.name for path in Path.cwd().glob("*/")] if len(folder.parts) == 1 else []
        raise RunError(f"data set {name!r} is neither a folder nor one of {', '.join(names)}. "
                       f"{_meant(name, [*names, *beside])}Give one of these, or the path of a folder with a folder of "
                       "pictures per class")
    return name


def _meant(name: str, known) -> str:
    """The likeliest of the known names as a question, or nothing."""
    near = difflib.get_close_matches(name, known, 1)
    return f"Is {near[0]!r} meant? " if near else ""


def _listed() -> set[str]:
    return {*MENAGERIE, *(name for names in DATA_SETS.values() for name in names)}


def read_parameters(notebook: Path) -> dict:
    """Name and default of each parameter: the literals in the one cell tagged `parameters`."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if "parameters" in tags_of(cell)]
    if len(cells) != 1:
        raise RunError(f"{notebook.name} has {len(cells)} cells tagged `parameters`; it needs exactly one")
    defaults = {}
    for line in ast.parse(_source(cells[0])).body:
        try:
            target = line.targets[0] if isinstance(line, ast.Assign) and len(line.targets) == 1 else line.target
            defaults[target.id] = ast.literal_eval(line.value)
        except (AttributeError, ValueError, TypeError):
            raise RunError(f"{notebook.name}: the cell tagged `parameters` may only hold lines like `name = literal`, "
                           f"not {ast.unparse(line)!r}") from None
    return defaults


def plan_parameters(notebooks: list[Path], texts: dict[str, str], command: str) -> dict[str, dict]:
    """The parameters of each notebook apart from `data_set`: the protocol, and those of `texts` that it has.

    A name that none of the notebooks knows is an error, since papermill would only warn; so is a wrong type.
    """
    defaults = {notebook.stem: read_parameters(notebook) for notebook in notebooks}
    for name, known in defaults.items():
        if missing := {"data_set", "protocol"} - set(known):
            raise RunError(f"{name}.ipynb has no parameter {', '.join(sorted(missing))}")
    if "data_set" in texts:
        raise RunError("the data set is given with --dataset (make: DATASET=...), not as a parameter")
    everywhere = sorted({parameter for known in defaults.values() for parameter in known} - {"data_set"})
    if unknown := [parameter for parameter in texts if parameter not in everywhere]:
        raise RunError(f"no parameter {', '.join(unknown)} in {', '.join(defaults)}. {_meant(unknown[0], everywhere)}"
                       f"Known: {', '.join(everywhere)}")
    if texts.get("protocol") not in (None, *PROTOCOL.values()):
        raise RunError(f"protocol={texts['protocol']} is unknown; choose one of {', '.join(PROTOCOL.values())}")
    return {
        name: {"protocol": PROTOCOL[command]}
        | {parameter: convert(parameter, text, known[parameter]) for parameter, text in texts.items()
           if parameter in known}
        for name, known in defaults.items()
    }


def check_input(data_set: str, parameters: dict):
    """Raise RunError for input that cannot be used: a kernel would take half a minute to say so.

    Looked at are the pictures, the parameters of training, the device, and the file of names if there is one.
    """
    from asxai.concepts.names import names_file, read_names
    from asxai.config import Config
    from asxai.data.datasets import load_data_set
    from asxai.data.pictures import DataError
    from asxai.model.recipe import usable_device

    known, name = Config.__dataclass_fields__, data_set
    try:
        Config.of(data_set, **{name: value for name, value in parameters.items() if name in known})
        usable_device(parameters.get("device", "cpu"))
        if data_set not in MENAGERIE:  # what is drawn is drawn where it is used
            name = load_data_set(data_set).name
        if names_file(name).exists():
            read_names(names_file(name))
    except (DataError, ValueError, TypeError) as error:
        raise RunError(str(error)) from error


def convert(parameter: str, text: str, default):
    """The text from the command line as a value of the default's type."""
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text.capitalize() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        value = text
    if default is None:
        return value
    wanted = type(default)
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted in (list, tuple) and type(value) in (list, tuple):
        return list(value)  # papermill has no literal for a tuple
    if wanted in (int, float) and type(value) is wanted and value < 0 <= default:
        raise RunError(f"parameter {parameter}={text} should not be below 0")
    if type(value) is not wanted:
        like = EXAMPLES.get((parameter, wanted), repr(default))
        raise RunError(f"parameter {parameter}={text} should be of type {wanted.__name__}, like {like}")
    return value


def _source(cell) -> str:
    return "".join(cell["source"])


def tags_of(cell) -> list[str]:
    return cell["metadata"].get("tags", [])


def _digest(content) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def digest_sources(places: Places) -> str:
    """One hash for the text of every Python file in the source folders, and of the single files among them."""
    files = [file for source in places.sources
             for file in (sorted(source.rglob("*.py")) if source.is_dir() else [source]) if file.exists()]
    return _digest([[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files])


def fingerprint(notebook: Path, data_set: str, parameters: dict, places: Places) -> dict[str, str]:
    """A hash for each thing that the executed notebook depends on, under the name that the reader is told."""
    cells = [[cell["cell_type"], tags_of(cell), _source(cell)] for cell in json.loads(notebook.read_text())["cells"]]
    files = []
    if os.path.isabs(data_set):  # a folder; the registered data sets are drawn or fetched by the package itself
        for folder, folders, names in os.walk(data_set):
            folders.sort()
            shown = [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
            states = [(path, os.lstat(path)) for path in shown]  # of a link itself: it may lead nowhere
            files += [[path, state.st_size, state.st_mtime_ns] for path, state in states]
    earlier = [path.stem for path in sorted(places.notebooks.glob("[0-9]*.ipynb")) if path.stem < notebook.stem]
    stamps = [[name, (read_stamp(name, data_set, places) or {}).get("made from")] for name in earlier]
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
        concepts = json.loads((paths.DATA / "names" / f"{paths.slug(data_set)}.json").read_text())["concepts"]
        names = [str(concept["name"]) for concept in concepts]
    except (OSError, ValueError, KeyError, TypeError):  # whoever reads it to use it says what is wrong
        return []
    return names if any(names) else []


def read_stamp(name: str, data_set: str, places: Places) -> dict | None:
    try:
        return json.loads(places.stamp(name, data_set).read_text())
    except (OSError, ValueError):
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
    files = [path for path in sorted((places.figures / paths.slug(data_set)).rglob("*")) if path.is_file()]
    return {path.relative_to(places.figures).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in files}


def elapsed(start: float) -> str:
    seconds = round(time.monotonic() - start)
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"


def short(path: Path) -> str:
    """The path as seen from the current folder, where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
