"""The commands of the notebook runner, see `asxai.run.plan`."""

import argparse
import json
import os
import re
import sys
import tempfile
import time

from asxai import paths

from . import plan
from .kernel import alone, execute
from .parameters import check_input, named_texts, plan_parameters, read_parameters
from .plan import Places, RunError, elapsed, short
from .tidy import tidy

HOURS_PER_CELL = {"figures": 3, "study": 48, "notebooks": 3}


def report(places: Places, text: str):
    """A line for the reader, kept with its time in runs/notebooks/log.txt."""
    print(text, flush=True)
    with open(places.runs / "notebooks" / "log.txt", "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")


def make_figures(command: str, data_sets=(), names=(), texts=None, places: Places = Places()) -> int:
    """Execute what is not up to date; returns the number of notebooks that failed.

    The order is notebook by notebook, each on all its data sets, so that one that compares data sets can come last.
    After a failure the later notebooks of that data set are left out; the other data sets go on.
    """
    notebooks = plan.find_notebooks(names, places)
    data_sets = [plan.find_data_set(name) for name in data_sets]
    parameters = plan_parameters(notebooks, texts or {}, command)
    usual = plan.STUDY_DATA_SETS if command == "study" else plan.DATA_SETS
    of = lambda notebook: data_sets or usual.get(notebook.stem, plan.MENAGERIE[:1])
    pairs = [(notebook, data_set) for notebook in notebooks for data_set in of(notebook)]

    def stale(notebook, data_set):
        """What the notebook is made from, and why it has to be executed."""
        given = parameters[notebook.stem] | {"data_set": data_set}
        prints = plan.fingerprint(notebook, data_set, given, places)
        return prints, plan.why_run(notebook.stem, data_set, prints, places)

    pictures = {}
    for data_set in data_sets or ([pairs[0][1]] if texts else []):
        waiting = (notebook for notebook, its in pairs if its == data_set and stale(notebook, its)[1])
        if notebook := next(waiting, None):
            pictures[data_set] = check_input(data_set, parameters[notebook.stem])
    failed, executed = {}, 0
    with alone(places):
        for data_set in filter(pictures.get, pictures):
            if told := plan.put_aside(data_set, pictures[data_set], places):
                report(places, told)
        if command == "study" and (address := os.environ.get("ASXAI_DASK")):
            from .cluster import jobs, work_through  # imports torch

            waiting = [(notebook.stem, data_set) for notebook, data_set in pairs if stale(notebook, data_set)[1]]
            every = {one.stem: read_parameters(one) | parameters[one.stem] for one in notebooks}
            work_through(jobs(waiting, every), address, lambda line: report(places, line))
        begun = time.monotonic()
        for number, (notebook, data_set) in enumerate(pairs, 1):
            name, title = notebook.stem, f"{notebook.stem} on {paths.slug(data_set)}"
            if data_set in failed:
                report(places, f"left out  {title}: {failed[data_set]} failed")
                continue
            prints, reason = stale(notebook, data_set)
            if not reason:
                continue
            stamp = places.stamp(name, data_set)
            stamp.unlink(missing_ok=True)
            report(places, f"running   {title}: {reason}")
            start, before = time.monotonic(), plan.list_figures(data_set, places)
            given = {"data_set": data_set} | parameters[name]
            try:
                execute(notebook, places.executed(name, data_set), given, places, HOURS_PER_CELL[command], title)
            except RunError as error:
                failed[data_set] = name
                report(places, f"FAILED    {title} after {elapsed(start)}, {error}")
                continue
            now = plan.list_figures(data_set, places)
            written = [figure for figure, state in now.items() if before.get(figure) != state]
            text = json.dumps({"made from": prints, "parameters": given, "figures": written}, indent=1)
            paths.write_atomically(stamp, lambda path: path.write_text(text, encoding="utf-8"))
            executed += 1
            left = (time.monotonic() - begun) / executed * (len(pairs) - number) / 60
            told = f"{len(written)} files in figures; {number} of {len(pairs)}, about {left:.0f} min left"
            report(places, f"done      {title} in {elapsed(start)}, {told}")
    if not failed:
        where = f"figures are in {short(places.figures)}, executed notebooks in {short(places.runs / 'notebooks')}"
        print(f"{executed} executed, {len(pairs) - executed} up to date; {where}")
    return len(failed)


def refresh_notebooks(names=(), places: Places = Places()) -> int:
    """Execute the committed notebooks in place, with the parameters in them; returns the number that failed."""
    notebooks, failures = plan.find_notebooks(names, places), 0
    with alone(places):
        for notebook in notebooks:
            start = time.monotonic()
            report(places, f"running   {notebook.name}")
            try:
                before = plan.read_cells(notebook)
                output = places.runs / "notebooks" / "committed" / notebook.name
                executed = execute(notebook, output, {}, places, HOURS_PER_CELL["notebooks"], notebook.name)
            except RunError as error:
                failures += 1
                report(places, f"FAILED    {notebook.name} after {elapsed(start)}, {error}")
                continue
            text = tidy(executed, before, places)
            paths.write_atomically(notebook, lambda path: path.write_text(text, encoding="utf-8"))
            report(places, f"done      {notebook.name} in {elapsed(start)}")
    return failures


def arguments_of_make() -> list[str]:
    """What the Makefile hands over in the environment, where no shell reads it, as arguments of `main`."""
    data_sets, names, texts = (os.environ.get(f"ASXAI_{name}", "") for name in ("DATASET", "NOTEBOOKS", "PARAMS"))
    parameters = re.split(r"\s+(?=\w+=)", texts.strip()) if texts.strip() else []  # a value may have spaces
    given = [f"--dataset={name}" for name in plan.split_data_sets(data_sets)]
    return given + [f"--notebooks={name}" for name in names.split()] + [f"-p{text}" for text in parameters]


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m asxai.run", description=plan.__doc__.split("\n")[0])
    add = parser.add_argument
    add("command", choices=["figures", "study", "notebooks"])
    several = dict(nargs="+", action="extend", default=[], metavar="NAME")
    add("--dataset", **several, help="registered names or folders of pictures, instead of each notebook's usual ones")
    add("--notebooks", **several, help="such as 01_train; default: all")
    parameter = "a parameter for the notebooks that have it; may be repeated"
    add("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help=parameter)
    arguments = sys.argv[1:] if arguments is None else arguments
    given = parser.parse_args([*arguments, *arguments_of_make()])
    try:
        tempfile.gettempdir()  # an error where there is none
        texts = named_texts(given.parameters)
        if given.command == "notebooks":
            if given.dataset or texts:
                raise RunError("`notebooks` uses the data set and the parameters that are written in the notebooks")
            return min(1, refresh_notebooks(given.notebooks))
        return min(1, make_figures(given.command, given.dataset, given.notebooks, texts))
    except RunError as error:
        print(f"asxai.run: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a disk that is full or may not be written, no folder for temporary files
        remedy = "Make room or allow writing, or name other folders in ASXAI_RUNS, ASXAI_FIGURES and TMPDIR"
        print(f"asxai.run: {error}. {remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the next call begins with the notebook that was running", file=sys.stderr)
        return 130
