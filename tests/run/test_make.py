"""The notebook runner, on throwaway notebooks that need no torch."""

import ast
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from queue import Empty

import papermill
import pytest
from jupyter_client.channels import AsyncZMQSocketChannel
from PIL import Image

from asxai import paths, progress
from asxai.run import kernel, make, plan

PETS, WILD = "menagerie-pets", "menagerie-wild"
PARAMETERS = """data_set = "menagerie-pets"
protocol = "short"
epochs = 2
rate = 0.5
deep = True
layers = [1, 2]
seed = None"""
WRITE = """import os
from pathlib import Path
folder = Path(os.environ["ASXAI_FIGURES"]) / Path(data_set).name
folder.mkdir(parents=True, exist_ok=True)
_ = (folder / "{name}.csv").write_text(f"{{protocol}} {{epochs}} {{rate}} {{deep}} {{layers}} {{seed}}")"""


def write_notebook(folder, name, *sources, parameters=PARAMETERS):
    tagged = {"tags": ["parameters"]}
    cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {name}"}]
    cells += [{"cell_type": "code", "id": f"code-{number}", "metadata": {} if number else tagged, "source": source,
               "execution_count": None, "outputs": []} for number, source in enumerate([parameters, *sources])]
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def places(tmp_path):
    """A checkout with two notebooks; each writes one figure."""
    for name in ("01_first", "02_second"):
        write_notebook(tmp_path / "notebooks", name, WRITE.format(name=name))
    source = tmp_path / "package.py"
    source.write_text("version = 1")
    return plan.Places(tmp_path / "notebooks", tmp_path / "runs", tmp_path / "figures", (source,))


def executed(places, capsys, **named):
    """Run `figures`; the titles of the notebooks that were executed."""
    assert make.make_figures("figures", places=places, registered=list, **named) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("running").split(":")[0].strip() for line in lines if line.startswith("running")]


def figure(places, name, data_set=PETS):
    return (places.figures / data_set / f"{name}.csv").read_text()


# What was asked for


@pytest.mark.parametrize("given, message", [
    (dict(texts={"epoch": "3"}), "no parameter epoch in 01_first, 02_second. Is 'epochs' meant. Known: deep, epochs, "),
    (dict(texts={"verbosity": "3"}), "in 01_first, 02_second. Known: deep, epochs, "),
    (dict(texts={"epochs": "3.5"}), "epochs=3.5 should be of type int, like 2"),
    (dict(texts={"epochs": "-3"}), "epochs=-3 should not be below 0"),
    (dict(texts={"epochs": "True"}), "epochs=True should be of type int"),
    (dict(texts={"deep": "1"}), "deep=1 should be of type bool"),
    (dict(texts={"layers": "3"}), "layers=3 should be of type list"),
    (dict(texts={"data_set": WILD}), "given with --dataset"),
    (dict(data_sets=["menagerie-pest"]), "'menagerie-pest' is neither a folder nor one of extra, menagerie-flowers"),
    (dict(data_sets=["menagerie-pest"]), "Is 'menagerie-pets' meant"),
    (dict(names=["01_frist"]), "no notebook 01_frist. Is '01_first' meant. There are 01_first, 02_second"),
    (dict(texts={"protocol": "lng"}), "protocol=lng is unknown; choose one of short, long"),
    (dict(names=["0"]), "'0' may be 01_first or 02_second. There are"),
    (dict(names=[""]), "no notebook . There are"),
])
def test_a_mistake_is_named_before_anything_runs(places, given, message):
    with pytest.raises(plan.RunError, match=message.replace("[", r"\[")):
        make.make_figures("figures", places=places, registered=lambda: ["extra"], **given)
    assert not places.runs.exists()


def test_values_take_the_type_of_the_default():
    cases = [("7", 2, 7), ("1", 0.5, 1.0), ("1e-3", 0.5, 0.001), ("false", True, False), ("(3, 4)", [1], [3, 4]),
             ("12", "text", "12"), ("long", "short", "long"), ("4", None, 4), ("none", None, None), ("a", None, "a")]
    for text, default, value in cases:
        converted = plan.convert("name", text, default)
        assert (converted, type(converted)) == (value, type(value))


@pytest.mark.parametrize("line", ["width = 2 * 3", "import os", "a = b = 1", "a, b = 1, 2", "name = str(1)"])
def test_parameters_are_literals(tmp_path, line):
    path = write_notebook(tmp_path, "01_odd", parameters=f"{PARAMETERS}\n{line}")
    with pytest.raises(plan.RunError, match="may only hold lines like `name = literal`"):
        plan.read_parameters(path)


def test_our_reading_of_parameters_is_papermills(places):
    path = places.notebooks / "01_first.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"]["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    path.write_text(json.dumps(notebook))
    theirs = {name: ast.literal_eval(known["default"]) for name, known in papermill.inspect_notebook(path).items()}
    assert theirs == plan.read_parameters(path)


def test_slugs(tmp_path):
    """Of a folder only its tidied name, so that nothing is ever written among somebody's pictures."""
    assert paths.slug(PETS) == PETS
    assert paths.slug(str(tmp_path / "my pictures")).startswith("my-pictures-")
    assert paths.slug("C++") != paths.slug("C#")


# What is up to date


def test_names_that_somebody_wrote_run_again_and_an_empty_template_does_not(places, capsys, monkeypatch):
    monkeypatch.setattr(paths, "DATA", places.runs.parent / "data")
    file = paths.DATA / "names" / f"{PETS}.json"
    file.parent.mkdir(parents=True)
    assert len(executed(places, capsys)) == 2
    for names, again in ((["", ""], 0), (["ear", ""], 2), (["ear", ""], 0), (["ear", "eye"], 2), (["", ""], 2)):
        file.write_text(json.dumps({"format": 1, "concepts": [{"name": name, "points": []} for name in names]}))
        assert len(executed(places, capsys)) == again
    file.write_text("{")  # whoever reads it to use it says what is wrong
    assert executed(places, capsys) == []


def test_only_what_changed_runs_again(places, capsys):
    first, second = f"01_first on {PETS}", f"02_second on {PETS}"
    assert executed(places, capsys) == [first, second]
    assert executed(places, capsys) == []
    assert figure(places, "01_first") == "short 2 0.5 True [1, 2] None"

    assert executed(places, capsys, texts={"epochs": "3"}) == [first, second]
    assert figure(places, "02_second") == "short 3 0.5 True [1, 2] None"
    assert executed(places, capsys, texts={"epochs": "3"}) == []
    assert executed(places, capsys, names=["02_second"], texts={"epochs": "3"}) == []

    (places.figures / PETS / "02_second.csv").unlink()
    assert executed(places, capsys, texts={"epochs": "3"}) == [second]

    places.sources[0].write_text("version = 2")
    assert executed(places, capsys, names=["01_first"], texts={"epochs": "3"}) == [first]
    write_notebook(places.notebooks, "02_second", WRITE.format(name="02_second"), "'one cell more'")
    assert executed(places, capsys, texts={"epochs": "3"}) == [second]


def test_a_study_takes_data_sets_that_figures_have_no_time_for(places, capsys, monkeypatch):
    monkeypatch.setattr(make, "DATA_SETS", {})
    monkeypatch.setattr(make, "STUDY_DATA_SETS", {"01_first": [PETS, WILD]})
    assert executed(places, capsys) == [f"01_first on {PETS}", f"02_second on {PETS}"]
    assert make.make_figures("study", places=places, names=["01_first"], registered=list) == 0
    assert [figure(places, "01_first", name)[:5] for name in (PETS, WILD)] == ["long ", "long "]


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


def draw(folder, *names):
    """A folder of pictures, each of another colour."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (10 * number, len(name), 0)).save(folder / name)
    return folder


def test_a_folder_of_pictures_is_a_data_set(places, capsys, tmp_path):
    folder = draw(tmp_path / "pictures", *(f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(3)))
    given = dict(data_sets=[str(folder)], names=["01_first"])
    assert executed(places, capsys, **given) == ["01_first on pictures"]
    assert executed(places, capsys, **given) == []
    draw(folder, "cat/another.png")
    assert executed(places, capsys, **given) == ["01_first on pictures"]
    assert figure(places, "01_first", "pictures").startswith("short")


def test_pictures_that_cannot_be_used_are_named_before_a_kernel_starts(places, tmp_path):
    folder = draw(tmp_path / "pictures", "cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png")
    with pytest.raises(plan.RunError, match="class dog has too few different pictures .1.. Give it at least 3"):
        make.make_figures("figures", data_sets=[PETS, str(folder)], places=places)
    assert not places.runs.exists()


@pytest.mark.parametrize("name, usual, given, message", [
    ("backbone", "resnet18", "resnet", "backbone='resnet' is unknown; choose one of"),
    ("device", "cpu", "warp", "device='warp' is unknown; use 'cpu', 'cuda' or 'mps'")])
def test_a_value_that_no_study_takes_is_named_before_a_kernel_starts(places, name, usual, given, message):
    write_notebook(places.notebooks, "01_first", parameters=f'{PARAMETERS}\n{name} = "{usual}"')
    with pytest.raises(plan.RunError, match=message):
        make.make_figures("figures", texts={name: given}, places=places)
    assert not places.runs.exists()


def test_the_beginning_of_a_name_is_enough(places, capsys):
    assert executed(places, capsys, names=["02"]) == [f"02_second on {PETS}"]
    assert executed(places, capsys, names=["notebooks/01_first.ipynb"]) == [f"01_first on {PETS}"]
    assert [path.stem for path in plan.find_notebooks(["secon"], places)] == ["02_second"]


def test_an_error_that_speaks_for_itself_comes_without_a_traceback(places, capsys):
    write_notebook(places.notebooks, "01_first", "from asxai.data.pictures import DataError",
                   "raise DataError('a.jpg: damaged. Delete it.')")
    assert make.make_figures("figures", names=["01"], places=places) == 1
    failed = capsys.readouterr().out.split("FAILED")[1]
    assert "a.jpg: damaged. Delete it." in failed and "Traceback" not in failed and "raise" not in failed


def test_an_error_of_the_package_comes_without_a_traceback(places, capsys):
    write_notebook(places.notebooks, "01_first", "from asxai.concepts.concepts import Concepts",
                   "Concepts([[1]], ('a',), ('b', 'c'))")
    assert make.make_figures("figures", names=["01"], places=places) == 1
    failed = capsys.readouterr().out.split("FAILED")[1]
    assert "must be whole numbers (class, basis)" in failed and "raised in asxai/concepts/concepts.py" in failed
    assert "----> " not in failed
    write_notebook(places.notebooks, "01_first", "raise ValueError('of the notebook itself')")
    assert make.make_figures("figures", names=["01"], places=places) == 1
    assert "----> 1 raise ValueError" in capsys.readouterr().out.split("FAILED")[1]


def test_names_that_cannot_be_read_are_named_before_a_kernel_starts(places, tmp_path, monkeypatch):
    folder = draw(tmp_path / "pictures", *(f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(3)))
    monkeypatch.setattr(plan.paths, "DATA", tmp_path / "data")
    (tmp_path / "data" / "names").mkdir(parents=True)
    (tmp_path / "data" / "names" / "pictures.json").write_text('{"format": 1, "concepts": [')
    with pytest.raises(plan.RunError, match="pictures.json is no file of names .*or remove it"):
        make.make_figures("figures", data_sets=[str(folder)], places=places)
    assert not places.runs.exists()


@pytest.mark.parametrize("text", ['{4:a}', '{4: "a"'])
def test_names_that_are_no_dictionary_are_shown_one(text):
    with pytest.raises(plan.RunError, match="should be of type dict, like .*in double quotes.*without spaces"):
        plan.convert("names", text, {})


def test_a_space_in_a_value_is_explained(capsys):
    assert make.main(["figures", "-p", 'names={4:"left', "-p", 'ear"}']) == 2
    assert "no value in PARAMS may have a space" in capsys.readouterr().err


def test_who_waits_is_told_for_what(places):
    code = ("import sys, time; from pathlib import Path; from asxai.run import make as run; sys.argv[1:] = sys.argv[1:2]\n"
            f"with run.alone(run.Places(runs=Path({str(places.runs)!r}))):\n"
            "    print('in', flush=True); time.sleep(float(sys.argv[1]))")
    first = subprocess.Popen([sys.executable, "-c", code, "3"], stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "in\n"
    second = subprocess.run([sys.executable, "-c", code, "0"], capture_output=True, text=True, timeout=60)
    assert first.wait() == 0 and second.stdout == "in\n"
    assert f"another run is at work in this folder (process {first.pid}, since " in second.stderr


def test_the_quick_path_imports_nothing_heavy():
    """So that `make figures` with nothing to do ends at once."""
    code = "import sys, asxai.run.plan; print(sorted({'torch', 'papermill', 'nbformat', 'tqdm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# What goes wrong


def test_a_failure_stops_its_data_set_only(places, capsys):
    write_notebook(places.notebooks, "01_first", f"assert data_set != '{PETS}', 'no pets today'",
                   WRITE.format(name="01_first"))
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
    variables = {**os.environ, "ASXAI_HOME": str(tmp_path), "ASXAI_RUNS": str(tmp_path / "runs"),
                 "ASXAI_FIGURES": str(tmp_path / "figures"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "asxai.run", "figures"]
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


def test_ctrl_c_ends_with_one_line(tmp_path):
    write_notebook(tmp_path / "notebooks", "01_first", "import os, time\nfrom pathlib import Path",
                   "(Path(os.environ['ASXAI_RUNS']) / 'begun').touch()\ntime.sleep(60)")
    variables = {**os.environ, "ASXAI_HOME": str(tmp_path), "ASXAI_RUNS": str(tmp_path / "runs")}
    runner = subprocess.Popen([sys.executable, "-m", "asxai.run", "figures"], env=variables, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    wait_until((tmp_path / "runs" / "begun").exists)
    runner.send_signal(signal.SIGINT)
    told = runner.communicate(timeout=60)[1]
    assert runner.returncode == 130
    assert "stopped; the next call begins with the notebook that was running" in told and "nbclient" not in told


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# Notebooks in place, progress


def test_notebooks_are_refreshed_in_place_without_noise(places):
    root = places.notebooks.parent
    path = write_notebook(places.notebooks, "01_first", "print(epochs)", f"print('see {root}/figures/a.png')",
                          "import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')",
                          "import ipywidgets\nipywidgets.IntSlider()",
                          "from asxai.progress import bar\nfor _ in bar(range(3), desc='training'):\n    pass")
    assert make.refresh_notebooks(places=places) == 0
    once = path.read_text()
    assert make.refresh_notebooks(places=places) == 0
    assert path.read_text() == once
    assert str(root) not in once.replace(f"see {root}", "") and "papermill" not in once and "training:" not in once
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
