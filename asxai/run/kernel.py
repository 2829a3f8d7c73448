"""Kernel."""

import fcntl
import json
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from asxai.progress import last_line

from .plan import KERNEL, PACKAGE, Places, RunError, short, tags_of


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
                if not {"injected-parameters", "papermill-error-cell-tag"} & set(tags_of(cell))]
        started = [number for number, cell in enumerate(ours, 1)
                   if cell["metadata"].get("papermill", {}).get("start_time")]
        where = f"in cell {started[-1]} of {len(ours)}" if started else where
    # papermill's own error carries the kernel's traceback, with its colours
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", "\n".join(getattr(error, "traceback", ())))
    raised_in = re.findall(r"(\S+\.py):\d+", plain)[-1:]  # the innermost frame
    inside = Path(raised_in[0]).expanduser() if raised_in else Path()
    ours = PACKAGE in inside.parents
    if getattr(error, "ename", "") == "DataError":  # says itself what is wrong, and what to do
        lines = error.evalue.splitlines()
    elif getattr(error, "ename", "") == "ValueError" and ours:  # so do these, but another's may be among them
        lines = [*error.evalue.splitlines(), f"raised in {inside.relative_to(PACKAGE.parent)}"]
    elif plain:
        lines = [line for line in plain.splitlines() if line.strip()][-8:]
    else:
        lines = [f"{type(error).__name__}: {error}".strip()]
    lines += [f"the copy with its outputs up to there: {short(failed)}"] if failed.exists() else []
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
