"""Notebooks in kernels: what is told when one fails, is killed or waits, and what is left of one that went well."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from queue import Empty
from types import SimpleNamespace

import pytest
from jupyter_client.channels import AsyncZMQSocketChannel
from notebook_helpers import PETS, WILD, WRITE, executed, wait_until, write_notebook

from asxai import progress
from asxai.run import kernel, make, plan


def test_a_reply_that_did_not_announce_itself_is_found(monkeypatch):
    waits = []

    async def get_msg(channel, timeout=None):
        """As after a missed announcement: a message is found only by whoever asks for it anew."""
        waits.append(timeout)
        if timeout is None:
            pytest.fail("waits forever")
        await asyncio.sleep(timeout)
        if len(waits) < 3:
            raise Empty
        return "reply"

    monkeypatch.setattr(AsyncZMQSocketChannel, "get_msg", get_msg)
    channel = AsyncZMQSocketChannel.__new__(AsyncZMQSocketChannel)
    with kernel.replies_not_missed(0.01):
        assert asyncio.run(channel.get_msg(60)) == asyncio.run(channel.get_msg()) == "reply"
        waits.clear()
        with pytest.raises(Empty):
            asyncio.run(channel.get_msg(0.015))  # and whoever asked for less gets no more
    assert AsyncZMQSocketChannel.get_msg is get_msg and sum(waits) < 0.02


def test_a_copy_that_a_full_disk_cut_off_is_no_traceback(tmp_path):
    failed = tmp_path / "01_train.failed.ipynb"
    failed.write_text('{"cells": [{"cell_type', encoding="utf-8")
    said = kernel.describe_failure(OSError(errno.ENOSPC, "No space left on device"), failed)
    assert said.startswith("before the first cell") and "No space left" in said and "make room" in said
    assert not failed.exists() and "copy" not in said


INSIDE = [f"File {plan.PACKAGE}/concepts/concepts.py:50, in Concepts(self)", "---> 50 raise ValueError"]

ELSEWHERE = [*INSIDE, "File /usr/lib/Emma's pandas/frame.py:7, in get(x)", "----> 7 raise"]


@pytest.mark.parametrize(
    "name, value, traceback, said",
    [
        ("DataError", "a.jpg: damaged. Delete it.", ELSEWHERE, ["a.jpg: damaged. Delete it."]),
        ("WeightsError", "backbone='vgg19': no network", ELSEWHERE, ["backbone='vgg19': no network"]),
        ("ValueError", "count=0", INSIDE, ["count=0", "raised in asxai/concepts/concepts.py"]),
        ("TypeError", "count='a'", INSIDE, ["count='a'", "raised in asxai/concepts/concepts.py"]),
        ("ValueError", "count=0", ELSEWHERE, ELSEWHERE),
        ("KeyError", "'a'", INSIDE, INSIDE),
        ("FileNotFoundError", "x holds no study.json: give another", INSIDE, ["x holds no study.json: give another"]),
        ("OSError", "[Errno 28] No space left on device: 'a'", ELSEWHERE, ["No space left", "make room"]),
        ("PermissionError", "[Errno 13] Permission denied: 'a'", ELSEWHERE, ["Permission denied", "allow it"]),
        ("OutOfMemoryError", "CUDA out of memory", ELSEWHERE, ["CUDA out of memory", "memory ran out"]),
        ("ModuleNotFoundError", "No module named 'timm'", ELSEWHERE, ["No module named 'timm'", "`make setup`"]),
    ],
)
def test_what_a_user_can_mend_comes_as_a_sentence(name, value, traceback, said):
    lines = kernel._what_to_say(SimpleNamespace(ename=name, evalue=value, traceback=traceback))
    assert len(lines) == len(said) and all(part in line for part, line in zip(said, lines))
    ended = type("DeadKernelError", (RuntimeError,), {})("Kernel died")  # as nbclient's is called
    assert "most often memory ran out" in kernel._what_to_say(ended)[1]


def test_an_error_that_speaks_for_itself_comes_without_a_traceback(places, capsys):
    cells = "from asxai.data.pictures import DataError", "raise DataError('a.jpg: damaged. Delete it.')"
    write_notebook(places.notebooks, "01_first", *cells)
    assert make.make_figures("figures", names=["01"], places=places) == 1
    failed = capsys.readouterr().out.split("FAILED")[1]
    assert "a.jpg: damaged. Delete it." in failed and "Traceback" not in failed and "raise" not in failed


def test_a_failure_stops_its_data_set_only(places, capsys):
    fails = f"assert data_set != '{PETS}', 'no pets today'"
    write_notebook(places.notebooks, "01_first", fails, WRITE.format(name="01_first"))
    assert make.make_figures("figures", data_sets=[PETS, WILD], places=places) == 1
    told = capsys.readouterr().out
    assert f"FAILED    01_first on {PETS}" in told and "in cell 3 of 4" in told
    assert "AssertionError: no pets today" in told and "01_first.failed.ipynb" in told
    assert f"left out  02_second on {PETS}: 01_first failed" in told
    assert f"done      02_second on {WILD}" in told
    assert (places.runs / "notebooks" / PETS / "01_first.failed.ipynb").exists()
    assert not places.executed("01_first", PETS).exists() and not places.stamp("01_first", PETS).exists()

    write_notebook(places.notebooks, "01_first", WRITE.format(name="01_first"))
    assert make.make_figures("figures", data_sets=[PETS], places=places) == 0
    assert not (places.runs / "notebooks" / PETS / "01_first.failed.ipynb").exists()


def test_two_notebooks_run_at_once_after_the_first_of_their_data_set(places, capsys):
    """Each of 02 and 03 waits for the other, which 01 must not do; no stamp names the other's figures."""
    meets = """import os, time
from pathlib import Path
(Path(os.environ["ASXAI_RUNS"]) / {own!r}).touch()
end = time.monotonic() + 60
while not (Path(os.environ["ASXAI_RUNS"]) / {other!r}).exists():
    assert time.monotonic() < end
    time.sleep(0.05)"""
    alone = "import os; from pathlib import Path; assert not list(Path(os.environ['ASXAI_RUNS']).glob('0?'))"
    write_notebook(places.notebooks, "01_first", alone, WRITE.format(name="01_first"))
    for own, other in (("02", "03"), ("03", "02")):
        write_notebook(
            places.notebooks, f"{own}_second", meets.format(own=own, other=other), WRITE.format(name=f"{own}_a")
        )
    assert executed(places, capsys) == [f"{name} on {PETS}" for name in ("01_first", "02_second", "03_second")]
    stamps = [json.loads(places.stamp(name, PETS).read_text()) for name in ("02_second", "03_second")]
    assert [stamp["figures"] for stamp in stamps] == [[f"{PETS}/02_a.csv"], [f"{PETS}/03_a.csv"]]
    assert executed(places, capsys) == [] and not (places.runs / "notebooks" / "progress").exists()


def test_a_cell_that_takes_too_long(places, monkeypatch, capsys):
    write_notebook(places.notebooks, "01_first", "import time", "time.sleep(60)")
    monkeypatch.setitem(make.HOURS_PER_CELL, "figures", 1 / 3600)
    assert make.make_figures("figures", names=["01_first"], places=places) == 1
    told = capsys.readouterr().out
    assert "in cell 4 of 4" in told and "CellTimeoutError" in told


def test_kill_at_any_time_then_run_again(tmp_path):
    """kill -9 hits the runner in the middle of a cell: its kernel ends too, and the next call gives the same result."""
    wait = """import os, time
from pathlib import Path
home = Path(os.environ["ASXAI_RUNS"]).parent
while (home / "slow").exists():
    _ = (home / "alive").write_text(str(time.time()))
    time.sleep(0.05)"""
    write_notebook(tmp_path / "notebooks", "01_first", wait, WRITE.format(name="01_first"))
    folders = {"ASXAI_HOME": str(tmp_path), "ASXAI_RUNS": "", "ASXAI_FIGURES": "", "TMPDIR": str(tmp_path)}
    variables, command = os.environ | folders, [sys.executable, "-m", "asxai.run", "figures"]
    alive, done = tmp_path / "alive", tmp_path / "runs" / "notebooks" / PETS / "01_first.ipynb"

    (tmp_path / "slow").touch()
    runner = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE)
    wait_until(alive.exists)
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    wait_until(lambda: time.time() - alive.stat().st_mtime > 2)  # the orphaned kernel sees that its parent is gone
    assert not done.exists() and not (tmp_path / "figures").exists()

    (tmp_path / "slow").unlink()
    again = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert again.returncode == 0 and "1 executed, 0 up to date" in again.stdout, again.stdout + again.stderr
    assert (tmp_path / "figures" / PETS / "01_first.csv").read_text() == "short 2 0.5 True [1, 2] None"
    assert sorted(path.name for path in done.parent.iterdir()) == ["01_first.ipynb", "01_first.json"]


def test_who_waits_is_told_for_what(places):
    code = "import sys, time; from pathlib import Path; from asxai.run import make as run\n"
    code += f"with run.alone(run.Places(runs=Path({str(places.runs)!r}))):\n"
    code += "    print('in', flush=True); time.sleep(float(sys.argv[1]))"
    first = subprocess.Popen([sys.executable, "-c", code, "3"], stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "in\n"
    second = subprocess.run([sys.executable, "-c", code, "0"], capture_output=True, text=True, timeout=60)
    assert first.wait() == 0 and second.stdout == "in\n"
    assert f"another run is at work in this folder (process {first.pid}, since " in second.stderr


def test_a_space_in_a_value_is_explained(capsys):
    assert make.main(["figures", "-p", 'names={4:"left', "-p", 'ear"}']) == 2
    assert "is written name=value, without a space around =" in capsys.readouterr().err


def test_notebooks_are_refreshed_in_place_without_noise(places):
    root = places.notebooks.parent
    prints = "import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')"
    slider, see = "import ipywidgets\nipywidgets.IntSlider()", f"print({f'see {root}/figures/a.png'!r})"
    waits = "from asxai.progress import bar\nfor _ in bar(range(3), desc='training'):\n    pass"
    path = write_notebook(places.notebooks, "01_first", "print(epochs)", see, prints, slider, waits)
    assert make.refresh_notebooks(places=places) == 0
    once = path.read_text()
    assert make.refresh_notebooks(places=places) == 0
    assert path.read_text() == once
    assert str(root) not in once.replace(f"see {root}", "", 1) and "papermill" not in once and "training:" not in once
    cells = json.loads(once)["cells"]
    assert [cell["id"] for cell in cells][:2] == ["title", "code-0"]
    assert [cell["execution_count"] for cell in cells[1:]] == [1, 2, 3, 4, 5, 6]
    assert cells[2]["outputs"][0]["text"] == ["2\n"]
    assert [output["text"] for output in cells[4]["outputs"]] == [["a\n", "c\n"], ["b\n"]]
    assert cells[6]["outputs"] == []


def test_progress_goes_to_the_named_file(tmp_path, monkeypatch, capsys):
    status = tmp_path / "status"
    monkeypatch.setenv("ASXAI_PROGRESS", str(status))
    bar = iter(progress.bar(range(4), desc="training"))
    next(bar)
    assert progress.last_line(status).startswith("training: 0/4")
    list(bar)
    assert progress.last_line(status) == ""  # done
    monkeypatch.setenv("ASXAI_PROGRESS", str(tmp_path / "no" / "such" / "folder"))
    assert list(progress.bar(range(4))) == [0, 1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_progress_is_silent_where_nobody_looks():
    code = "from asxai.progress import bar; print(sum(bar(range(4))))"
    variables = {name: value for name, value in os.environ.items() if name != "ASXAI_PROGRESS"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("6\n", "")
