"""What is asked for is checked before anything runs, and only what is not up to date runs."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from notebook_helpers import PARAMETERS, PETS, WILD, WRITE, draw, executed, figure, write_notebook

from asxai import paths
from asxai.run import make, plan

ENOUGH = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(3)]  # pictures of a data set


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(texts={"epoch": "3"}), "no parameter epoch in 01_first, 02_second. Is 'epochs' meant. Known: deep, epo"),
        (dict(texts={"verbosity": "3"}), "in 01_first, 02_second. Known: deep, epochs, "),
        (dict(texts={"epochs": "3.5"}), "epochs=3.5 should be of type int, like 2"),
        (dict(texts={"epochs": "-3"}), "epochs=-3 should not be below 0"),
        (dict(texts={"epochs": "True"}), "epochs=True should be of type int"),
        (dict(texts={"deep": "1"}), "deep=1 should be of type bool"),
        (dict(texts={"layers": "3"}), "layers=3 should be of type list"),
        (dict(texts={"data_set": WILD}), "given with --dataset"),
        (dict(data_sets=["menagerie-pest"]), "'menagerie-pest' is neither a folder nor .*Is 'menagerie-pets' meant"),
        (dict(names=["01_frist"]), "no notebook 01_frist. Is '01_first' meant. There are 01_first, 02_second"),
        (dict(texts={"protocol": "lng"}), "protocol=lng is unknown; choose one of short, long"),
        (dict(names=["0"]), "'0' may be 01_first or 02_second. There are"),
        (dict(names=[""]), "no notebook . There are"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(places, given, message):
    with pytest.raises(plan.RunError, match=message.replace("[", r"\[")):
        make.make_figures("figures", places=places, **given)
    assert not places.runs.exists()


def test_what_cannot_be_used_is_named_before_a_kernel_starts(places, tmp_path, monkeypatch):
    def refused(message, **given):
        with pytest.raises(plan.RunError, match=message):
            make.make_figures("figures", places=places, **given)
        assert not places.runs.exists()

    write_notebook(places.notebooks, "01_first", parameters=f'{PARAMETERS}\nbackbone = "resnet18"\ndevice = "cpu"')
    refused("backbone='resnet' is unknown; choose one of", texts={"backbone": "resnet"})
    refused("device='warp' is unknown; use 'cpu', 'cuda' or 'mps'", texts={"device": "warp"})
    few = draw(tmp_path / "few", "cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png")
    refused("class dog has too few different pictures .1.. Give it at least 3", data_sets=[PETS, str(few)])
    folder = draw(tmp_path / "pictures", *ENOUGH)
    monkeypatch.setattr(plan.paths, "DATA", tmp_path / "data")
    (tmp_path / "data" / "names").mkdir(parents=True)
    (tmp_path / "data" / "names" / f"{paths.slug(folder)}.json").write_text('{"format": 1, "concepts": [')
    refused("pictures-.*.json is no file of names .*or remove it", data_sets=[str(folder)])


BAD_NOTEBOOKS = {
    "merge": ('{"cells": [\n<<<<<<< HEAD\n  {},\n=======\n', "a merge in it is not finished"),
    "empty": ("", "it is empty"),
    "spaces": (" \n", "it is empty"),
    "no cells": ('{"metadata": {}}', "it is no notebook .*'cells'"),
    "a list": ("[1, 2]", "it is no notebook"),
    "cells are a text": ('{"cells": "abc"}', "it is no notebook"),
    "a cell is a number": ('{"cells": [3]}', "it is no notebook"),
    "without a source": ('{"cells": [{"metadata": {}}]}', "it is no notebook"),
    "cut": ('{"cells": [{"metada', "it is no notebook"),
    "another encoding": ('{"cells": []}'.encode("utf-16"), "it is no notebook"),
    "no parameters": ('{"cells": []}', "has 0 cells tagged `parameters`"),
}


@pytest.mark.parametrize("command", [make.make_figures, make.refresh_notebooks])
@pytest.mark.parametrize("case", BAD_NOTEBOOKS)
def test_a_file_that_is_no_notebook_is_named(places, command, case, capsys):
    content, message = BAD_NOTEBOOKS[case]
    path, content = places.notebooks / "01_first.ipynb", content if isinstance(content, bytes) else content.encode()
    path.write_bytes(content)
    if command is make.make_figures:
        with pytest.raises(plan.RunError, match=f"01_first.*{message}"):
            make.make_figures("figures", places=places)
    elif case != "no parameters":
        assert make.refresh_notebooks(["01"], places) == 1
        assert re.search(f"FAILED .*01_first.ipynb.*{message}.*git checkout", capsys.readouterr().out)
    assert path.read_bytes() == content


@pytest.mark.parametrize("text", ["", "[]", "{", '{"made from": 3, "figures": []}', '{"made from": {}}', "\x00\xff"])
def test_a_stamp_that_is_none_is_as_if_it_were_not_there(places, capsys, text):
    assert len(executed(places, capsys)) == 2
    places.stamp("01_first", PETS).write_text(text)
    assert executed(places, capsys, names=["01"]) == [f"01_first on {PETS}"]
    assert executed(places, capsys) == []


def test_names_that_somebody_wrote_run_again_and_an_empty_template_does_not(places, capsys, monkeypatch, at_once):
    monkeypatch.setattr(paths, "DATA", places.runs.parent / "data")
    file = paths.DATA / "names" / f"{PETS}.json"
    file.parent.mkdir(parents=True)
    assert len(executed(places, capsys)) == 2
    for names, again in ((["", ""], 0), (["ear", ""], 2), (["ear", ""], 0), (["ear", "eye"], 2), (["", ""], 2)):
        file.write_text(json.dumps({"format": 1, "concepts": [{"name": name, "points": []} for name in names]}))
        assert len(executed(places, capsys)) == again
    file.write_text("{")  # whoever reads it to use it says what is wrong
    assert executed(places, capsys) == []


def test_only_what_changed_runs_again(places, capsys, at_once):
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


def test_a_study_takes_data_sets_that_figures_have_no_time_for(places, capsys, monkeypatch, at_once):
    monkeypatch.setattr(plan, "DATA_SETS", {})
    monkeypatch.setattr(plan, "STUDY_DATA_SETS", {"01_first": [PETS, WILD]})
    assert executed(places, capsys) == [f"01_first on {PETS}", f"02_second on {PETS}"]
    assert make.make_figures("study", places=places, names=["01_first"]) == 0
    assert [figure(places, "01_first", name)[:5] for name in (PETS, WILD)] == ["long ", "long "]


def test_a_folder_of_pictures_is_a_data_set(places, capsys, tmp_path, at_once):
    folder = draw(tmp_path / "pictures", *ENOUGH)
    given = dict(data_sets=[str(folder)], names=["01_first"])
    assert executed(places, capsys, **given) == [f"01_first on {paths.slug(folder)}"]
    assert executed(places, capsys, **given) == []
    (places.figures / paths.slug(folder) / "long.csv").write_text("of the earlier pictures")
    draw(folder, "cat/another.png")
    assert executed(places, capsys, **given) == [f"01_first on {paths.slug(folder)}"]
    assert figure(places, "01_first", paths.slug(folder)).startswith("short")
    (old,) = places.figures.glob(f"{paths.slug(folder)}-until-*/long.csv")  # never mixed with what is of these
    assert not (places.figures / paths.slug(folder) / "long.csv").exists()
    assert "figures of the earlier ones are now in" in (places.runs / "notebooks" / "log.txt").read_text()


def test_a_picture_replaced_by_one_of_its_size_and_time_is_noticed(places, tmp_path):
    file = tmp_path / "pictures" / "cat" / "1.png"
    file.parent.mkdir(parents=True)
    prints = []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        os.utime(file, ns=(10**18, 10**18))
        prints.append(plan.fingerprint(places.notebooks / "01_first.ipynb", str(tmp_path / "pictures"), {}, places))
        time.sleep(0.02)
    assert prints[0]["the data set"] != prints[1]["the data set"]


def test_the_beginning_of_a_name_is_enough(places, capsys, at_once):
    assert executed(places, capsys, names=["02"]) == [f"02_second on {PETS}"]
    assert executed(places, capsys, names=["notebooks/01_first.ipynb"]) == [f"01_first on {PETS}"]
    assert [path.stem for path in plan.find_notebooks(["secon"], places)] == ["02_second"]


def test_the_quick_path_imports_nothing_heavy():
    """So that `make figures` with nothing to do ends at once, and processes that draw pictures begin at once."""
    code = "import sys, asxai.run.plan; heavy = {'torch', 'papermill', 'nbformat', 'tqdm'} & set(sys.modules)\n"
    code += "import asxai.data.sources; print(sorted(heavy | {'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
