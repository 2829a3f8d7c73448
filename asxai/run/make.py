"""The commands of the notebook runner, see `asxai.run.plan`."""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

from asxai import paths

from . import plan
from .kernel import alone, execute, kernels
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

    The order is notebook by notebook, each on all its data sets, so that one that compares data sets can come last. Of
    `figures`, `plan.AT_ONCE` run at a time; the first on a data set beside none of the same, for it trains what the
    others load. After a failure the later notebooks of that data set are left out; the other data sets go on.
    """
    notebooks = plan.find_notebooks(names, places)
    data_sets = [plan.find_data_set(name) for name in data_sets]
    parameters = plan_parameters(notebooks, texts or {}, command)
    usual = plan.STUDY_DATA_SETS if command == "study" else plan.DATA_SETS
    of = lambda notebook: data_sets or usual.get(notebook.stem, plan.MENAGERIE[:1])
    pairs = [(notebook, data_set) for notebook in notebooks for data_set in of(notebook)]

    begun = {}  # (name, data set) -> what it is made from

    def stale(notebook, data_set):
        """What the notebook is made from, and why it has to be executed."""
        given = parameters[notebook.stem] | {"data_set": data_set}
        prints = plan.fingerprint(notebook, data_set, given, places, begun)
        return prints, plan.why_run(notebook.stem, data_set, prints, places)

    pictures = {}
    for data_set in data_sets or ([pairs[0][1]] if texts else []):
        waiting = (notebook for notebook, its in pairs if its == data_set and stale(notebook, its)[1])
        if notebook := next(waiting, None):
            pictures[data_set] = check_input(data_set, parameters[notebook.stem])
    with alone(places), ExitStack() as around:
        for data_set in filter(pictures.get, pictures):
            if told := plan.put_aside(data_set, pictures[data_set], places):
                report(places, told)
        if command == "study" and (address := os.environ.get("ASXAI_DASK")):
            from .cluster import jobs, work_through  # imports torch

            waiting = [(notebook.stem, data_set) for notebook, data_set in pairs if stale(notebook, data_set)[1]]
            every = {one.stem: read_parameters(one) | parameters[one.stem] for one in notebooks}
            work_through(jobs(waiting, every), address, lambda line: report(places, line))
        failed, executed, waiting, running, ready = {}, 0, list(pairs), {}, set()
        first, at_once = time.monotonic(), plan.AT_ONCE if command == "figures" else 1
        pool = ThreadPoolExecutor(at_once)
        around.callback(pool.shutdown, wait=False, cancel_futures=True)  # whoever is stopped does not wait
        while waiting or running:
            while waiting and len(running) < at_once:
                busy = {data_set for _, data_set, *_ in running.values()}
                free = [pair for pair in waiting if pair[1] not in busy or pair[1] in ready]
                if not free:
                    break
                notebook, data_set = free[0]
                waiting.remove(free[0])
                name, title = notebook.stem, f"{notebook.stem} on {paths.slug(data_set)}"
                if data_set in failed:
                    report(places, f"left out  {title}: {failed[data_set]} failed")
                    continue
                prints, reason = stale(notebook, data_set)
                if not reason:
                    ready.add(data_set)
                    continue
                if not begun:
                    around.enter_context(kernels(places))
                begun[name, data_set] = prints
                places.stamp(name, data_set).unlink(missing_ok=True)
                report(places, f"running   {title}: {reason}")
                given = {"data_set": data_set} | parameters[name]
                start, before = time.monotonic(), plan.list_figures(data_set, places)
                task = (notebook, places.executed(name, data_set), given, HOURS_PER_CELL[command], title)
                running[pool.submit(execute, *task)] = name, data_set, title, start, before, given
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, data_set, title, start, before, given = running.pop(future)
                try:
                    future.result()
                except RunError as error:
                    failed[data_set] = name
                    report(places, f"FAILED    {title} after {elapsed(start)}, {error}")
                    continue
                now, others = plan.list_figures(data_set, places), {one.stem[:3] for one in notebooks} - {name[:3]}
                written = [figure for figure, state in now.items() if before.get(figure) != state]
                written = [figure for figure in written if Path(figure).name[:3] not in others]
                stamp = {"made from": begun[name, data_set], "parameters": given, "figures": written}
                file, text = places.stamp(name, data_set), json.dumps(stamp, indent=1)
                paths.write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
                ready.add(data_set)
                executed += 1
                number = len(pairs) - len(waiting) - len(running)
                left = (time.monotonic() - first) / executed * (len(pairs) - number) / 60
                told = f"{len(written)} files in figures; {number} of {len(pairs)}, about {left:.0f} min left"
                report(places, f"done      {title} in {elapsed(start)}, {told}")
    if not failed:
        where = f"figures are in {short(places.figures)}, executed notebooks in {short(places.runs / 'notebooks')}"
        print(f"{executed} executed, {len(pairs) - executed} up to date; {where}")
    return len(failed)


def refresh_notebooks(names=(), places: Places = Places()) -> int:
    """Execute the committed notebooks in place, with the parameters in them; returns the number that failed."""
    notebooks, failures = plan.find_notebooks(names, places), 0
    with alone(places), kernels(places):
        for notebook in notebooks:
            start = time.monotonic()
            report(places, f"running   {notebook.name}")
            try:
                before = plan.read_cells(notebook)
                output = places.runs / "notebooks" / "committed" / notebook.name
                executed = execute(notebook, output, {}, HOURS_PER_CELL["notebooks"], notebook.name)
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
