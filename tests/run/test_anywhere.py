"""The runner where nothing is as usual: no terminal, home, locale or streams; the background; full disks."""

import os
import signal
import subprocess
import sys

import pytest
from notebook_helpers import BEGUN, PETS, WRITE, draw, wait_until, write_notebook

RUN = [sys.executable, "-m", "asxai.run", "figures"]
JOB_CONTROL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def home(tmp_path):
    """The variables of a checkout with one notebook."""
    write_notebook(tmp_path / "notebooks", "01_first", WRITE.format(name="01_first"))
    return {"ASXAI_HOME": str(tmp_path), "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "TMPDIR": str(tmp_path)}


def started(home, action):
    """The runner as a child in which the signals of job control are left to the system, or ignored."""
    handlers = lambda: [signal.signal(number, action) for number in JOB_CONTROL]
    variables = os.environ | home | {"ASXAI_RUNS": "", "ASXAI_FIGURES": ""}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(RUN, env=variables, preexec_fn=handlers, **pipes)


def test_as_cron_starts_it_without_home_locale_terminal_or_streams(home, tmp_path):
    """And with a folder whose name needs UTF-8, and settings of somebody else's that would break a kernel."""
    kinds = [f"{kind}/{number}.png" for kind in ("Bär", "猫") for number in range(3)]
    folder = draw(tmp_path / "mütter 写", *kinds)
    ascii_only = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    theirs = {"MPLBACKEND": "no_such_backend", "IPYTHONDIR": "/proc/nowhere", "JUPYTER_CONFIG_DIR": "/proc/nowhere"}
    variables = home | ascii_only | theirs | {"ASXAI_DATASET": str(folder)}
    done = subprocess.run(["sh", "-c", 'exec setsid "$@" <&- >&- 2>&-', "sh", *RUN], env=variables)
    log = (tmp_path / "runs" / "notebooks" / "log.txt").read_text(encoding="utf-8")
    assert done.returncode == 0 and "mütter" in log, log
    assert len(list((tmp_path / "figures").glob("mütter-写-*/01_first.csv"))) == 1


@pytest.mark.parametrize("number", JOB_CONTROL)
def test_what_ends_a_job_ends_it_with_one_line(home, tmp_path, number):
    """Also when these tests run in the background, where a shell has SIGINT ignored for all that follow."""
    write_notebook(tmp_path / "notebooks", "01_first", BEGUN.format(seconds=60))
    runner = started(home, signal.SIG_DFL)
    wait_until((tmp_path / "runs" / "begun").exists)
    runner.send_signal(number)
    said = runner.communicate(timeout=60)[1]
    assert runner.returncode == 130 and "nbclient" not in said
    assert "stopped; the next call begins with the notebook that was running" in said


def test_a_signal_that_is_ignored_stays_so(home, tmp_path):
    """As under nohup, or in the background of a script: the run goes on to its end."""
    write_notebook(tmp_path / "notebooks", "01_first", BEGUN.format(seconds=2), WRITE.format(name="01_first"))
    runner = started(home, signal.SIG_IGN)
    wait_until((tmp_path / "runs" / "begun").exists)
    for number in JOB_CONTROL:
        runner.send_signal(number)
    runner.communicate(timeout=60)
    assert runner.returncode == 0 and (tmp_path / "figures" / PETS / "01_first.csv").exists()


WITHOUT_TMP = "import sys, tempfile; tempfile._candidate_tempdir_list = lambda: ['/proc/nowhere']; sys.argv = ['run', "
WITHOUT_TMP += "'figures']; from asxai.run import make; sys.exit(make.main())"


@pytest.mark.parametrize("place, message", [("runs", "Not a directory"), ("runs/notebooks", "notebooks"),
                         ("runs/notebooks/log.txt", "No space left"), ("tmp", "temporary")])  # fmt: skip
def test_a_place_that_cannot_be_written_is_named_without_a_traceback(home, tmp_path, place, message):
    """A file lies where a folder has to be, which stops even an administrator; a device is always full."""
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).symlink_to("/dev/full")
    command = [sys.executable, "-c", WITHOUT_TMP] if place == "tmp" else RUN
    variables = os.environ | home | {"ASXAI_RUNS": "", "ASXAI_FIGURES": ""}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert message in done.stderr and "Make room or allow writing" in done.stderr
