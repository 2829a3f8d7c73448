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

import argparse
import ast
import difflib
import fcntl
import hashlib
import json
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from asxai import paths
from asxai.progress import last_line

# The data sets that a notebook runs on when none is named; one that is not listed runs on the first of the menagerie.
# All figures together are to take less than twenty minutes, so that more is for `make study`, or a DATASET=... away.
MENAGERIE = ("menagerie-pets", "menagerie-wild", "menagerie-flowers")
DATA_SETS = {"05_ood": MENAGERIE[1:2]}
STUDY_DATA_SETS = DATA_SETS | {"01_train": MENAGERIE, "02_prototypes": MENAGERIE,
                               "04_sensitivity": (MENAGERIE[0], MENAGERIE[2]), "07_ablation": MENAGERIE[:2]}
PROTOCOL = {"figures": "short", "study": "long"}
HOURS_PER_CELL = {"figures": 3, "study": 48, "notebooks": 3}
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
        Path(__file__).parent, paths.ROOT / "data" / "menagerie", paths.ROOT / "requirements.lock")

    def executed(self, name: str, data_set: str) -> Path:
        return self.runs / "notebooks" / paths.slug(data_set) / f"{name}.ipynb"

    def stamp(self, name: str, data_set: str) -> Path:
        return self.executed(name, data_set).with_suffix(".json")


# ---------------------------------------------------------------------------------------------------------------------
# What was asked for: notebooks, data sets, parameters. All of it is checked before anything is executed.


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
    if registered is None:  # only now: asxai.data imports torch
        from asxai.data import data_set_names as registered
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
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if "parameters" in _tags(cell)]
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
    from asxai.concepts import read_names
    from asxai.config import Config
    from asxai.data import load_data_set
    from asxai.evaluation import names_file
    from asxai.pictures import DataError
    from asxai.study import usable_device

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


# ---------------------------------------------------------------------------------------------------------------------
# What is up to date.


def _source(cell) -> str:
    return "".join(cell["source"])


def _tags(cell) -> list[str]:
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
    cells = [[cell["cell_type"], _tags(cell), _source(cell)] for cell in json.loads(notebook.read_text())["cells"]]
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
    """What a person wrote into the data set's file of names (`asxai.evaluation.names_file`); empty when nothing."""
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


# ---------------------------------------------------------------------------------------------------------------------
# Executing.


def execute(notebook: Path, output: Path, parameters: dict, places: Places, hours: float, title: str):
    """Execute a notebook in a kernel of its own and return it; the copy appears as `output` when all went well.

    While it runs the copy is called `.running.ipynb`; a failed one is kept as `.failed.ipynb`.
    """
    import papermill
    from traitlets.config import Config

    running, failed = output.with_suffix(".running.ipynb"), output.with_suffix(".failed.ipynb")
    status = output.with_suffix(".progress")
    output.parent.mkdir(parents=True, exist_ok=True)
    status.write_text("")
    failed.unlink(missing_ok=True)
    settings = {"ASXAI_RUNS": places.runs, "ASXAI_FIGURES": places.figures, "ASXAI_PROGRESS": status,
                "PYTHONHASHSEED": 0}
    in_terminal = sys.stderr.isatty()
    try:
        with environment(settings), progress_shown(status, in_terminal), replies_not_missed():
            executed = papermill.execute_notebook(
                notebook, running, parameters, kernel_name=KERNEL, language="python", cwd=notebook.parent,
                execution_timeout=round(hours * 3600),
                config=Config(KernelManager={"transport_encryption": "auto"}),  # else each kernel warns on the terminal
                progress_bar={"desc": title, "leave": False} if in_terminal else False)
    except Exception as error:
        if running.exists():
            os.replace(running, failed)
        raise RunError(describe_failure(error, failed)) from error
    finally:
        status.unlink(missing_ok=True)
    os.replace(running, output)
    return executed


def describe_failure(error: Exception, failed: Path) -> str:
    """Which cell failed, the end of its traceback, and where the copy with the outputs up to there is."""
    where, lines = "before the first cell", []
    if failed.exists():
        ours = [cell for cell in json.loads(failed.read_text())["cells"]
                if not {"injected-parameters", "papermill-error-cell-tag"} & set(_tags(cell))]
        started = [number for number, cell in enumerate(ours, 1)
                   if cell["metadata"].get("papermill", {}).get("start_time")]
        where = f"in cell {started[-1]} of {len(ours)}" if started else where
    # papermill's own error carries the kernel's traceback, with its colours
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", "\n".join(getattr(error, "traceback", ())))
    raised_in = re.findall(r"(\S+\.py):\d+", plain)[-1:]  # the innermost frame
    ours = bool(raised_in) and Path(raised_in[0]).expanduser().parent == Path(__file__).parent
    if getattr(error, "ename", "") == "DataError":  # says itself what is wrong, and what to do
        lines = error.evalue.splitlines()
    elif getattr(error, "ename", "") == "ValueError" and ours:  # so do these, but another's may be among them
        lines = [*error.evalue.splitlines(), f"raised in {Path(__file__).parent.name}/{Path(raised_in[0]).name}"]
    elif plain:
        lines = [line for line in plain.splitlines() if line.strip()][-8:]
    else:
        lines = [f"{type(error).__name__}: {error}".strip()]
    lines += [f"the copy with its outputs up to there: {_short(failed)}"] if failed.exists() else []
    return "\n    ".join([where, *lines])


@contextmanager
def environment(settings: dict):
    """Set variables for the kernel, which inherits ours, and put the old ones back."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: str(value) for name, value in settings.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def replies_not_missed(interval: float = 1.0):
    """Look for messages of a kernel every so many seconds, instead of waiting for one to announce itself.

    While a cell shows a widget, its client sends messages on the very socket on which it waits for the cell's reply,
    and can miss that this has come: it then waits for hours beside an idle kernel (jupyter/nbclient#312).
    """
    from queue import Empty

    from jupyter_client.channels import AsyncZMQSocketChannel as Channel

    wait = Channel.get_msg

    async def look_again(channel, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return await wait(channel, interval if end is None else max(0, min(interval, end - time.monotonic())))
            except Empty:
                if end is not None and time.monotonic() >= end:
                    raise

    Channel.get_msg = look_again
    try:
        yield
    finally:
        Channel.get_msg = wait


@contextmanager
def progress_shown(status: Path, in_terminal: bool):
    """Show what the package's own bars write to `status`: in a terminal below papermill's bar, else once a minute."""
    from tqdm import tqdm

    done = threading.Event()

    def follow():
        line = tqdm(total=0, position=1, leave=False, bar_format="    {desc}", disable=not in_terminal)
        while not done.wait(1 if in_terminal else 60):
            text = last_line(status)
            if in_terminal:
                line.set_description_str(text)
            elif text:
                print(f"    {text}", file=sys.stderr, flush=True)
        line.close()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def alone(places: Places):
    """One run at a time in a folder. The system takes the lock back when the process ends, however it ends."""
    path = places.runs / "notebooks" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            print(f"another run is at work in this folder ({file.read() or 'just begun'}); waiting for it to end",
                  file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%H:%M')}: {' '.join(sys.argv[1:])}")
        file.flush()
        yield


def report(places: Places, text: str):
    """A line for the reader, kept with its time in runs/notebooks/log.txt."""
    print(text, flush=True)
    with open(places.runs / "notebooks" / "log.txt", "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")


def _elapsed(start: float) -> str:
    seconds = round(time.monotonic() - start)
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"


def _short(path: Path) -> str:
    """The path as seen from the current folder, where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


# ---------------------------------------------------------------------------------------------------------------------
# The three commands.


def make_figures(command: str, data_sets=(), names=(), texts=None, places: Places = Places(), registered=None) -> int:
    """Execute what is not up to date; returns the number of notebooks that failed.

    The order is notebook by notebook, each on all its data sets, so that one that compares data sets can come last.
    After a failure the later notebooks of that data set are left out; the other data sets go on.
    """
    notebooks = find_notebooks(names, places)
    data_sets = [find_data_set(name, registered) for name in data_sets]
    parameters = plan_parameters(notebooks, texts or {}, command)
    own = STUDY_DATA_SETS if command == "study" else DATA_SETS
    pairs = [(notebook, data_set) for notebook in notebooks
             for data_set in data_sets or own.get(notebook.stem, MENAGERIE[:1])]

    def stale(notebook, data_set):
        """What the notebook is made from, and why it has to be executed."""
        given = parameters[notebook.stem] | {"data_set": data_set}
        prints = fingerprint(notebook, data_set, given, places)
        return prints, why_run(notebook.stem, data_set, prints, places)

    for data_set in data_sets or ([pairs[0][1]] if texts else []):
        notebook = next((notebook for notebook, own in pairs if own == data_set and stale(notebook, own)[1]), None)
        if notebook:
            check_input(data_set, parameters[notebook.stem])
    failed, executed = {}, 0
    with alone(places):
        for notebook, data_set in pairs:
            name, title = notebook.stem, f"{notebook.stem} on {paths.slug(data_set)}"
            if data_set in failed:
                report(places, f"left out  {title}: {failed[data_set]} failed")
                continue
            prints, reason = stale(notebook, data_set)
            if not reason:
                continue
            places.stamp(name, data_set).unlink(missing_ok=True)
            report(places, f"running   {title}: {reason}")
            start, before = time.monotonic(), list_figures(data_set, places)
            try:
                execute(notebook, places.executed(name, data_set), {"data_set": data_set} | parameters[name], places,
                        HOURS_PER_CELL[command], title)
            except RunError as error:
                failed[data_set] = name
                report(places, f"FAILED    {title} after {_elapsed(start)}, {error}")
                continue
            written = [figure for figure, state in list_figures(data_set, places).items()
                       if before.get(figure) != state]
            stamp = {"made from": prints, "parameters": parameters[name], "data set": data_set, "figures": written}
            text = json.dumps(stamp, indent=1)
            paths.write_atomically(places.stamp(name, data_set), lambda path: path.write_text(text))
            report(places, f"done      {title} in {_elapsed(start)}, {len(written)} files in figures")
            executed += 1
    if not failed:
        print(f"{executed} executed, {len(pairs) - executed} up to date; figures are in {_short(places.figures)}, "
              f"executed notebooks in {_short(places.runs / 'notebooks')}")
    return len(failed)


def refresh_notebooks(names=(), places: Places = Places()) -> int:
    """Execute the committed notebooks in place, with the parameters in them; returns the number that failed."""
    notebooks, failures = find_notebooks(names, places), 0
    with alone(places):
        for notebook in notebooks:
            start = time.monotonic()
            report(places, f"running   {notebook.name}")
            before = json.loads(notebook.read_text())
            try:
                output = places.runs / "notebooks" / "committed" / notebook.name
                executed = execute(notebook, output, {}, places, HOURS_PER_CELL["notebooks"], notebook.name)
            except RunError as error:
                failures += 1
                report(places, f"FAILED    {notebook.name} after {_elapsed(start)}, {error}")
                continue
            text = tidy(executed, before, places)
            paths.write_atomically(notebook, lambda path: path.write_text(text, encoding="utf-8"))
            report(places, f"done      {notebook.name} in {_elapsed(start)}")
    return failures


def tidy(executed, before: dict, places: Places) -> str:
    """The text of an executed notebook without what differs from run to run.

    Gone are times, papermill's notes, the kernel's version and the checkout's path; streams that arrived in pieces
    are joined; cells keep the ids that they had, and widgets are numbered in the order of their creation.
    """
    import nbformat

    text = json.dumps(executed)
    widgets = executed["metadata"].get("widgets", {})
    for number, old in enumerate(key for state in widgets.values() for key in state.get("state", {})):
        text = text.replace(old, f"{number:032x}")
    root = json.dumps(str(places.notebooks.parent))[1:-1]
    text = re.sub(r"/[^\s\"]*/ipykernel_\d+/\d+\.py", "cell", text.replace(f"{root}/", ""))
    notebook = json.loads(text)
    for number, (cell, old) in enumerate(zip(notebook["cells"], before["cells"]), 1):
        cell["id"] = old.get("id", f"cell-{number:02}")
        for note in ("papermill", "execution") + (() if _tags(cell) else ("tags",)):
            cell["metadata"].pop(note, None)
        if cell["cell_type"] == "code":
            cell["outputs"] = _joined(cell["outputs"])
    kept = {"widgets": notebook["metadata"]["widgets"]} if "widgets" in notebook["metadata"] else {}
    notebook["metadata"] = kept | {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    return nbformat.writes(nbformat.from_dict(notebook)) + "\n"


def _joined(outputs: list[dict]) -> list[dict]:
    """Neighbouring pieces of the same stream as one output."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m asxai.run", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["figures", "study", "notebooks"])
    parser.add_argument("--dataset", nargs="+", default=[], metavar="NAME",
                        help="registered names or folders of pictures, instead of each notebook's own data sets")
    parser.add_argument("--notebooks", nargs="+", default=[], metavar="NAME", help="such as 01_train; default: all")
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE",
                        help="a parameter for the notebooks that have it; may be repeated")
    given = parser.parse_args(arguments)
    try:
        if bad := [text for text in given.parameters if not re.fullmatch(r"\w+=.*", text, re.DOTALL)]:
            raise RunError(f"a parameter is written name=value, not {bad[0]!r}; no value in PARAMS may have a space "
                           "(in names of concepts, write _ instead)")
        texts = dict(text.split("=", 1) for text in given.parameters)
        if given.command == "notebooks":
            if given.dataset or texts:
                raise RunError("`notebooks` uses the data set and the parameters that are written in the notebooks")
            return min(1, refresh_notebooks(given.notebooks))
        return min(1, make_figures(given.command, given.dataset, given.notebooks, texts))
    except RunError as error:
        print(f"asxai.run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the next call begins with the notebook that was running", file=sys.stderr)
        return 130


if __name__ == "__main__":
    result = main()
    sys.stdout.flush()
    os._exit(result)  # at once: after Ctrl-C, nbclient's unfinished task would print a long traceback at a usual end
