"""Throwaway notebooks and pictures for tests of the runner; nothing here imports torch."""

import json
import time

from PIL import Image

from asxai.run import make

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
from asxai.paths import slug
folder = Path(os.environ["ASXAI_FIGURES"]) / slug(data_set)
folder.mkdir(parents=True, exist_ok=True)
_ = (folder / "{name}.csv").write_text(f"{{protocol}} {{epochs}} {{rate}} {{deep}} {{layers}} {{seed}}")"""
BEGUN = """import os, time
from pathlib import Path
(Path(os.environ["ASXAI_RUNS"]) / "begun").touch()
time.sleep({seconds})"""


def write_notebook(folder, name, *sources, parameters=PARAMETERS):
    """A notebook with a title, a cell of parameters, and a cell for each of the sources; its path."""
    cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {name}"}]
    for number, source in enumerate([parameters, *sources]):
        tags = {} if number else {"tags": ["parameters"]}
        cell = {"cell_type": "code", "id": f"code-{number}", "metadata": tags, "source": source}
        cells.append(cell | {"execution_count": None, "outputs": []})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def draw(folder, *names):
    """A folder of small pictures, each of another colour."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (10 * number, len(name), 0)).save(folder / name)
    return folder


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def executed(places, capsys, **named):
    """Run `figures`; the titles of the notebooks that were executed."""
    assert make.make_figures("figures", places=places, **named) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("running").split(":")[0].strip() for line in lines if line.startswith("running")]


def figure(places, name, data_set=PETS):
    return (places.figures / data_set / f"{name}.csv").read_text()
