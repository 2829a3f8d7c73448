"""Make."""

import argparse
import json
import re
import sys
import time

from asxai import paths

from .kernel import alone, execute
from .plan import (
    DATA_SETS,
    MENAGERIE,
    STUDY_DATA_SETS,
    Places,
    RunError,
    check_input,
    elapsed,
    find_data_set,
    find_notebooks,
    fingerprint,
    list_figures,
    plan_parameters,
    short,
    why_run,
)
from .tidy import tidy

HOURS_PER_CELL = {"figures": 3, "study": 48, "notebooks": 3}


def report(places: Places, text: str):
    """A line for the reader, kept with its time in runs/notebooks/log.txt."""
    print(text, flush=True)
    with open(places.runs / "notebooks" / "log.txt", "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")


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
                report(places, f"FAILED    {title} after {elapsed(start)}, {error}")
                continue
            written = [figure for figure, state in list_figures(data_set, places).items()
                       if before.get(figure) != state]
            stamp = {"made from": prints, "parameters": parameters[name], "data set": data_set, "figures": written}
            text = json.dumps(stamp, indent=1)
            paths.write_atomically(places.stamp(name, data_set), lambda path: path.write_text(text))
            report(places, f"done      {title} in {elapsed(start)}, {len(written)} files in figures")
            executed += 1
    if not failed:
        print(f"{executed} executed, {len(pairs) - executed} up to date; figures are in {short(places.figures)}, "
              f"executed notebooks in {short(places.runs / 'notebooks')}")
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
                report(places, f"FAILED    {notebook.name} after {elapsed(start)}, {error}")
                continue
            text = tidy(executed, before, places)
            paths.write_atomically(notebook, lambda path: path.write_text(text, encoding="utf-8"))
            report(places, f"done      {notebook.name} in {elapsed(start)}")
    return failures


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
        print(f"asxai.run.plan: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the next call begins with the notebook that was running", file=sys.stderr)
        return 130
