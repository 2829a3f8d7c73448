"""Progress bars that a reader sees and a notebook's outputs do not keep.

In a terminal and in JupyterLab, `bar` is an ordinary tqdm bar that vanishes when it is done. Where nobody looks (a
pipe, a log) it is silent. When the environment variable `ASXAI_PROGRESS` names a file, the state of the bar goes to
that file instead: the notebook runner shows its last line on the terminal, and the executed notebook holds none of it.
`ASXAI_PROGRESS=/dev/null` is silence.
"""

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_LINE = "{desc}: {n_fmt}/{total_fmt}, {elapsed} gone, {remaining} left{postfix}"


def bar(iterable: Iterable | None = None, total: int | None = None, desc: str = ""):
    """A tqdm bar over `iterable`, or a bare one to call `update` on; `set_postfix_str` adds a remark to it.

    for epoch in bar(range(10), desc="training"):
        ...
    """
    options = dict(total=total, desc=desc, leave=False)
    if status := os.environ.get("ASXAI_PROGRESS"):
        from tqdm import tqdm

        return tqdm(iterable, file=_status_file(status), mininterval=1, position=0, bar_format=_LINE, **options)
    from tqdm.auto import tqdm

    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(iterable, disable=not watched, **options)


@cache
def _status_file(path):
    """The file for the lines; a folder that is gone or cannot be written must not stop a training."""
    try:
        return open(path, "a", encoding="utf-8")
    except OSError:
        return open(os.devnull, "a", encoding="utf-8")


def last_line(path: str | Path) -> str:
    """The newest line in a file of status lines: each begins with a carriage return, an empty one says "done"."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 2000))
            return file.read().decode(errors="replace").rpartition("\r")[2].strip()
    except OSError:
        return ""
