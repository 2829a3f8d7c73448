"""A notebook in a kernel of its own: executed, shown while it runs, and named when it fails."""

import builtins
import fcntl
import json
import os
import re
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from asxai.progress import last_line

from .plan import AT_ONCE, KERNEL, PACKAGE, Places, RunError, short, tags_of

MEMORY = "memory ran out: close other programs, or take less, such as PARAMS='size=224 batch_size=16'"
SENTENCES = {  # errors that say themselves what is wrong and what to do, and those whose remedy is known here
    "DataError": "",
    "WeightsError": "",
    "MemoryError": MEMORY,
    "OutOfMemoryError": MEMORY,
    "DeadKernelError": f"somebody or the system ended it; most often {MEMORY}",
    "ModuleNotFoundError": "the environment is not complete: `make setup`, after deleting .venv if that does not help",
}


@contextmanager
def kernels(places: Places):
    """What has to be around any number of `execute`: settings that kernels inherit, and their progress shown."""
    status = places.runs / "notebooks" / "progress"
    status.parent.mkdir(parents=True, exist_ok=True)
    status.write_text("", encoding="utf-8")
    settings = {"ASXAI_RUNS": places.runs, "ASXAI_FIGURES": places.figures, "ASXAI_PROGRESS": status}
    settings |= {"PYTHONHASHSEED": 0, "PYTHONUTF8": 1, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    settings["MPLCONFIGDIR"] = places.runs / "notebooks" / "matplotlib"  # nobody's settings but the notebook's
    try:
        with private_folder(settings), progress_shown(status, sys.stderr.isatty()), replies_not_missed():
            yield
    finally:
        status.unlink(missing_ok=True)


def execute(notebook: Path, output: Path, parameters: dict, hours: float, title: str):
    """Execute a notebook in a kernel of its own and return it; the copy appears as `output` when all went well.

    While it runs the copy is called `.running.ipynb`; a failed one is kept as `.failed.ipynb`. Several threads may do
    so at once, within `kernels`.
    """
    import papermill
    from traitlets.config import Config

    running, failed = output.with_suffix(".running.ipynb"), output.with_suffix(".failed.ipynb")
    output.parent.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    options = dict(kernel_name=KERNEL, language="python", cwd=notebook.parent, execution_timeout=round(hours * 3600))
    options["config"] = Config(KernelManager={"transport_encryption": "auto"})  # else each kernel warns on the terminal
    options["progress_bar"] = {"desc": title, "leave": False} if sys.stderr.isatty() else False
    try:
        files = [str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, running)]  # it formats them
        executed = papermill.execute_notebook(*files, parameters, **options)
    except Exception as error:
        if running.exists():
            os.replace(running, failed)
        raise RunError(describe_failure(error, failed)) from error
    os.replace(running, output)
    return executed


def describe_failure(error: Exception, failed: Path) -> str:
    """Which cell failed, the end of its traceback, and where the copy with the outputs up to there is."""
    where, theirs = "before the first cell", {"injected-parameters", "papermill-error-cell-tag"}
    lines = _what_to_say(error)
    try:
        cells = json.loads(failed.read_text(encoding="utf-8"))["cells"]
    except (FileNotFoundError, ValueError):  # on a full disk papermill leaves the beginning of a file
        failed.unlink(missing_ok=True)
    else:
        times = [cell["metadata"].get("papermill", {}) for cell in cells if not theirs & set(tags_of(cell))]
        started = [number for number, papermill in enumerate(times, 1) if papermill.get("start_time")]
        where = f"in cell {started[-1]} of {len(times)}" if started else where
        lines.append(f"the copy with its outputs up to there: {short(failed)}")
    return "\n    ".join([where, *lines])


def _what_to_say(error: Exception) -> list[str]:
    """What the user can mend in one sentence, whichever cell raised it; else the end of the traceback."""
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    kind = getattr(builtins, name, None)
    # papermill's own error carries the kernel's traceback, with its colours
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", "\n".join(getattr(error, "traceback", ())))
    raised_in = re.findall(r"(?:File )?(/.+?\.py|~/.+?\.py):\d+", plain)[-1:]  # the innermost frame
    inside = Path(raised_in[0]).expanduser() if raised_in else Path()
    if name in SENTENCES:
        return [*value.splitlines(), *filter(None, [SENTENCES[name]])]
    if isinstance(kind, type) and issubclass(kind, OSError):
        refused = "the system refused it: make room, allow it, or name another place in ASXAI_RUNS"
        return [f"{name}: {value}", refused] if value.startswith("[Errno") else value.splitlines()
    if name in ("ValueError", "TypeError") and PACKAGE in inside.parents:  # another's may be among them
        return [*value.splitlines(), f"raised in {inside.relative_to(PACKAGE.parent)}"]
    return [line for line in plain.splitlines() if line.strip()][-8:] or [f"{name}: {value}".strip()]


@contextmanager
def private_folder(settings: dict):
    """Set variables for the kernel, which inherits ours, and put the old ones back; no home is needed."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="asxai-") as folder:
        private = dict.fromkeys(("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"), folder)
        if not os.access(os.path.expanduser("~"), os.W_OK):
            private |= {"HOME": folder, "TORCH_HOME": settings["ASXAI_RUNS"] / "torch"}
        # a kernel that a signal ends in the middle of a reply would show the reader its own traceback
        profile = Path(folder) / "profile_default"
        profile.mkdir()
        quiet = "get_config().IPKernelApp.log_level = 'CRITICAL'\n"
        (profile / "ipython_kernel_config.py").write_text(quiet, encoding="utf-8")
        os.environ.update({name: str(value) for name, value in (settings | private).items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


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
    """Show what the package's own bars write to `status`: in a terminal below papermill's bars, else once a minute."""
    from tqdm import tqdm

    done = threading.Event()

    def follow():
        line = tqdm(total=0, position=AT_ONCE, leave=False, bar_format="    {desc}", disable=not in_terminal)
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
    with open(path, "a+", encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read() or "just begun"
            print(f"another run is at work in this folder ({who}); waiting for it to end", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%H:%M')}: {' '.join(sys.argv[1:])}")
        file.flush()
        yield
