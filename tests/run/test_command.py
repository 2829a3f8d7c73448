"""`python -m asxai`: a small study trained, explained, reported and handed on, as somebody does it in a shell."""

import csv
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers import noise, picture_folder
from PIL import Image

from asxai import paths
from asxai.explain import explainer as explain_explainer
from asxai.explain.explainer import Explainer
from asxai.explain.explanation import Explanation
from asxai.run import command
from asxai.run.command import main

SMALL = "size=64 backbone=resnet18 weights=random last_stage=layer2 basis_per_class=4 channels=16"
SMALL += " cycles=1 joint_epochs=2 views=1 batch_size=8"
SMALL = [text for value in SMALL.split() for text in ("-p", value)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with pictures of two classes, `square` and `<b>&`, a study of them, and `new` pictures to explain."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "DATA"):
            patch.setattr(paths, name, home / name.lower())
        patch.setattr(paths, "CACHE", home / "runs" / "features")
        patch.chdir(home)
        picture_folder(home / "shapes", ("square", "<b>&"))
        assert main(["train", "shapes", *SMALL]) == 0
        for number, (width, height) in enumerate([(80, 64), (64, 90), (64, 64), (200, 70), (20, 16)]):
            (home / "new" / "deep").mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise(number, height, width)).save(
                home / "new" / ("deep" if number > 2 else ".") / f"{number}.png"
            )
        (home / "new" / ".hidden.png").write_text("hidden")
        (home / "new" / "notes.txt").write_text("no picture")
        yield home


def told(capsys, *arguments):
    """Exit code, and what `--json` prints."""
    code = main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_train_says_what_it_did_and_does_it_once(home, capsys, monkeypatch):
    monkeypatch.setattr("asxai.study.Trainer", lambda *_: pytest.fail("trains again"))
    code, result = told(capsys, "train", "shapes", *SMALL)
    assert code == 0 and sorted(result["classes"]) == ["<b>&", "square"]
    assert result["pictures"] == {"train": 12, "validation": 4, "test": 4} and 0 <= result["test_accuracy"] <= 1
    assert main(["studies"]) == 0
    assert "2 classes" in capsys.readouterr().out
    code, listed = told(capsys, "studies")
    assert [row["folder"] for row in listed["studies"]] == [result["study"]]


def test_explain_writes_a_folder_a_picture_and_a_table(home, capsys):
    code, result = told(capsys, "explain", "shapes", "new", "--out", home / "new" / "out")
    assert code == 0 and result["failed"] == {}
    assert [row["folder"] for row in result["pictures"]] == ["0.png", "1.png", "2.png", "deep/3.png", "deep/4.png"]
    with open(home / "new" / "out" / "explanations.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, other in zip(rows, result["pictures"], strict=True):
        values = json.loads((home / "new" / "out" / row["folder"] / "explanation.json").read_text())
        assert row["sentence"] == other["sentence"] == values["sentence"] and row["file"] == f"new/{row['folder']}"
        assert float(row["score"]) == pytest.approx(values["score"]) and not values["whole"]["box"][0] % 0.5
    assert not list((home / "new" / "out").rglob("panel.png"))
    code, again = told(capsys, "explain", "shapes", "new", "--out", home / "new" / "out")
    assert code == 0 and again == result  # what it wrote is not taken for pictures


def test_sentences_that_promise_and_name_what_decides_are_asked_for(home, capsys, tmp_path):
    out = ("shapes", "new/0.png", "--out", tmp_path / "out")
    _, plain = told(capsys, "explain", *out)
    code, result = told(capsys, "explain", *out, "--calibrated", "--importance", "none")
    (before,), (row,) = plain["pictures"], result["pictures"]
    assert code == 0 and "assurance" not in before  # another question, asked anew
    study = command.open_study(SimpleNamespace(study="shapes", device="cpu", data=None))
    expected = Explainer(study, calibrated=True, importance="none").explain("new/0.png")
    assert row["assurance"] == expected.assurance and row["sentence"] == expected.sentence
    assert main(["report", "shapes", "new/0.png", "--calibrated", "--out", str(tmp_path / "page.html")]) == 0
    assert expected.assurance in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert main(["export", "shapes", str(tmp_path / "shapes.zip")]) == 0
    assert (
        main(["explain", str(tmp_path / "shapes.zip"), "new/0.png", "--out", str(tmp_path / "b"), "--calibrated"]) == 2
    )
    assert "calibrated=True needs validation pictures" in capsys.readouterr().err


def test_a_stopped_run_goes_on_where_it_was(home, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(explain_explainer, "BATCH", 2)
    saved, save = [], Explanation.save

    def stopped(one, folder, **options):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(folder)
        return save(one, folder, **options)

    monkeypatch.setattr(Explanation, "save", stopped)
    call = ("explain", "shapes", "new/*.png", "new/deep", "--out", tmp_path)
    assert main([*map(str, call)]) == 130 and "goes on where it was" in capsys.readouterr().err
    monkeypatch.setattr(Explanation, "save", save)
    asked, stream = [], Explainer.stream
    spy = lambda self, files, *more: asked.extend(files) or stream(self, files, *more)
    monkeypatch.setattr(Explainer, "stream", spy)
    code, result = told(capsys, *call)
    assert code == 0 and len(result["pictures"]) == 5
    assert [str(path) for path in asked] == ["new/deep/3.png", "new/deep/4.png"]
    asked.clear()
    assert told(capsys, *call) == (0, result) and asked == []
    assert told(capsys, *call, "--percentile", 90)[0] == 0 and len(asked) == 5  # other masks


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_done(home, capsys, tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    given = ["shapes", "new/0.png", str(tmp_path / "broken.jpg"), "new/1.png", "--out"]
    assert main(["explain", *given, str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "2 pictures explained" in said.out and "broken.jpg: no picture of a kind" in said.err
    code, result = told(capsys, "report", *given, tmp_path / "page.html")
    assert code == 1 and result["pictures"] == 2 and list(result["failed"]) == [str(tmp_path / "broken.jpg")]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "broken.jpg: no picture" in page and str(tmp_path) not in page  # places are the owner's


def test_export_and_explain_elsewhere(home, capsys, tmp_path, monkeypatch):
    assert told(capsys, "export", "shapes", tmp_path / "shapes.zip") == (0, {"out": str(tmp_path / "shapes.zip")})
    _, expected = told(capsys, "explain", "shapes", "new/0.png", "--out", tmp_path / "a")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "nothing here")
    code, result = told(capsys, "explain", tmp_path / "shapes.zip", "new/0.png", "--out", tmp_path / "b")
    assert code == 0 and result["pictures"][0]["sentence"] == expected["pictures"][0]["sentence"]


def folders_of(out):
    """The folders that the rows of a table are of."""
    with open(out / "explanations.csv", newline="", encoding="utf-8") as file:
        return [row["folder"] for row in csv.DictReader(file)]


def test_explained_again_what_is_there_is_kept_renewed_or_gone(home, capsys, tmp_path):
    call, drawn = ("explain", "shapes", "new/0.png", "--out", tmp_path), {"panel.png", "whole.jpg"}
    files = lambda: {path.name for path in (tmp_path / "0.png").iterdir()}
    assert told(capsys, *call, "--panels")[0] == 0 and drawn <= files()
    assert told(capsys, *call)[0] == 0 and drawn <= files(), "what was drawn still fits"
    code, result = told(capsys, "explain", "shapes", "new/1.png", "new/deep", "--out", tmp_path)
    assert code == 0 and [row["folder"] for row in result["pictures"]] == ["1.png", "3.png", "4.png"]
    assert folders_of(tmp_path) == ["1.png", "3.png", "4.png", "0.png"]
    assert told(capsys, *call, "--percentile", 90)[0] == 0 and not drawn & files(), "these were of other masks"
    assert told(capsys, *call, "--percentile", 90, "--panels")[0] == 0 and drawn <= files()
    shutil.rmtree(tmp_path / "1.png")
    assert main([*map(str, call)]) == 0 and "and for 2 explained there earlier" in capsys.readouterr().out
    assert folders_of(tmp_path) == ["0.png", "3.png", "4.png"]
    old = json.loads((tmp_path / "3.png" / "explanation.json").read_text())
    del old["study"], old["panels"]  # as before they were written there
    (tmp_path / "3.png" / "explanation.json").write_text(json.dumps(old))
    assert told(capsys, *call)[0] == 0 and folders_of(tmp_path) == ["0.png", "4.png"]
    assert told(capsys, "explain", "shapes", "new/deep", "--out", tmp_path)[0] == 0
    assert folders_of(tmp_path) == ["3.png", "4.png", "0.png"]


def test_a_folder_has_explanations_of_one_study(home, capsys, tmp_path):
    assert main(["train", "shapes", *SMALL, "-p", "seed=1", "--out", str(tmp_path / "other")]) == 0
    capsys.readouterr()
    call = ("new/0.png", "--out", tmp_path / "out")
    assert told(capsys, "explain", "shapes", *call)[0] == 0
    before = (tmp_path / "out" / "0.png" / "explanation.json").read_bytes()
    code, result = told(capsys, "explain", tmp_path / "other", *call)
    assert code == 2 and "holds explanations by another study, such as" in result["error"]
    assert (tmp_path / "out" / "0.png" / "explanation.json").read_bytes() == before
    assert main(["export", "shapes", str(tmp_path / "shapes.zip")]) == 0  # the same study elsewhere
    capsys.readouterr()
    code, result = told(capsys, "explain", tmp_path / "shapes.zip", "new/1.png", "--out", tmp_path / "out")
    assert code == 0 and folders_of(tmp_path / "out") == ["1.png", "0.png"]


def test_a_study_is_found_by_its_pictures_wherever_they_are(home, capsys, tmp_path, monkeypatch):
    shutil.copytree(home / "shapes", tmp_path / "figures of mine")
    _, result = told(capsys, "train", tmp_path / "figures of mine", *SMALL)
    study, (pictures, name) = result["study"], (tmp_path / "figures of mine", "figures of mine")
    out = ("new/0.png", "--out", tmp_path / "out")
    assert told(capsys, "explain", pictures, *out)[0] == 0
    code, result = told(capsys, "explain", pictures, "new/0.png", "--out", pictures / "out")
    assert code == 2 and "is among the pictures of" in result["error"] and not (pictures / "out").exists()
    place, moved = command.find_study(str(pictures))
    assert (str(place), moved) == (study, pictures) and command.find_study("shapes") == (place, None)
    (home / "data").mkdir(exist_ok=True)
    (home / "data" / name).symlink_to(pictures)  # as training finds a folder
    assert command.find_study(name)[0] == place
    (home / "data" / name).unlink()
    Image.fromarray(noise(99)).save(next(pictures.glob("square/*.png")))
    with pytest.raises(command.RunError, match="`asxai train .*figures of mine` makes one"):
        command.find_study(str(pictures))


def test_two_studies_of_one_folder_are_told_apart_by_their_parameters(home, capsys, tmp_path, monkeypatch):
    studies = tmp_path / "runs" / "studies"
    (first,) = [row["folder"] for row in command.known_studies() if "data_set" in row]
    for name, change in (("shapes-1", {}), ("shapes-2", {"seed": 3, "weights": "/of/mine.safetensors#12"})):
        shutil.copytree(first, studies / name)
        notes = json.loads((studies / name / "study.json").read_text())
        notes["config"] |= change
        (studies / name / "study.json").write_text(json.dumps(notes))
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    with pytest.raises(command.RunError) as error:
        command.find_study("shapes")
    for words in (r"shapes-1 \(\d{4}-\d\d-\d\d \d\d:\d\d, size=64 ", r"shapes-2 \([^,]*, seed=3 size=64 "):
        assert re.search(words, str(error.value))
    assert main(["studies"]) == 0
    lines = sorted(capsys.readouterr().out.splitlines())
    assert [("seed=3" in line, "weights=mine.safetensors#12" in line) for line in lines] == [(False,) * 2, (True,) * 2]
    # where other pictures were in the folder before, those that are there now decide
    notes["metrics"]["data_fingerprint"] = "other"
    (studies / "shapes-2" / "study.json").write_text(json.dumps(notes))
    assert command.find_study("shapes") == (studies / "shapes-1", None)


def test_few_test_pictures_are_counted(home, capsys, monkeypatch):
    assert main(["train", "shapes", *SMALL]) == 0
    assert re.search(r"^[0-4] of 4 test pictures are right$", capsys.readouterr().out, re.MULTILINE)
    monkeypatch.setattr(command, "MANY", 4)
    assert main(["train", "shapes", *SMALL]) == 0
    assert re.search(r"^[\d.]+ % of test pictures are right$", capsys.readouterr().out, re.MULTILINE)


def test_without_a_command_it_says_what_there_is(capsys):
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.err == "" and all(name in said.out for name in ("train", "explain", "report", "export", "studies"))


@pytest.mark.parametrize("call", [["", "new", "--out", "x"], ["shapes", "", "--out", "x"], ["shapes", "new", "--out="]])
def test_an_empty_argument_is_not_the_current_folder(home, capsys, call):
    assert main(["explain", *call]) == 2 and " empty" in capsys.readouterr().err and not (home / "x").exists()


@pytest.mark.parametrize(
    "call, words",
    [
        ("explain shapes nothing.png --out x", "nothing.png: no such file"),
        ("explain shapes shapes/* --out x", "shapes/*: no such file"),
        ("explain shapes new --out shapes", "shapes is among the pictures of"),
        ("explain shapes new --out shapes/x", "on which the study was trained; give a place outside"),
        ("report shapes new --out shapes/x.html", "shapes/x.html is among the pictures of"),
        ("export shapes shapes/x.zip", "shapes/x.zip is among the pictures of"),
        ("explain shapes new --out new", "--out new holds the pictures of new"),
        ("explain shapes new/0.png --out new", "--out new holds the pictures of new/0.png"),
        ("explain shapes new/deep --out .", "--out . holds the pictures of new/deep"),
        ("report shapes new --out x.pdf", "give a name that ends in .html"),
        ("explain shapes data --out x", "data: no picture in it"),
        ("explain shape new/none*.png --out x", "new/none*.png: no such file"),
        ("explain nothing new --out x", "no study 'nothing'"),
        ("explain new new --out x", "`asxai train new` makes one"),
        ("explain new/0.png new --out x", "new/0.png is damaged, or no file of Study.export"),
        ("explain shapes new --out new/0.png", "new/0.png is a file; give a folder"),
        ("explain shapes new --out new/0.png/deep", "cannot be made"),
        ("train shapes --out new/0.png", "new/0.png is a file; give a folder"),
        ("explain shapes new --out x --percentile 100", "percentile=100.0 must lie between 0 and 100"),
        ("explain shapes new --out x --importance rang", "importance='rang' is unknown; use one of rank, none, sobol"),
        ("explain shapes new --out x --device tpu", "device='tpu' is unknown"),
        ("report shapes new/0.png --out shapes", "shapes is a folder; give a file"),
        ("export shapes shapes", "shapes is a folder; give a file"),
        ("export shapes new/0.png/a.zip", "Make room or allow it"),
        ("report shapes new/0.png --out new/0.png", "new/0.png is there already and was not written by asxai"),
        ("export shapes new/0.png", "new/0.png is there already and was not written by asxai"),
        ("train shapes -p size=64 --out shapes/study", "is among the pictures of"),
        ("train shapes -p size=64 --out new", "holds no study but '0.png'"),
        ("train nowhere", "neither a known data set nor a folder"),
        ("train new", " class"),
        ("train shapes -p sise=64", "Is 'size' meant?"),
        ("train shapes -p size=big", "should be of type int"),
        ("train shapes -p size", "is written name=value"),
        ("train shapes -p backbone=vgg", "choose one of"),
    ],
)
def test_a_mistake_is_one_sentence(home, capsys, call, words):
    code = main([*call.split(), "--json"])
    said = capsys.readouterr()
    assert code == 2 and words in json.loads(said.out)["error"] and "Traceback" not in said.err
    assert not (home / "x").exists()


def test_an_error_of_the_program_keeps_its_traceback(home, monkeypatch):
    monkeypatch.setattr(command, "find_study", lambda text: {}["bug"])
    with pytest.raises(KeyError, match="bug"):
        main(["explain", "shapes", "new", "--out", "x"])


def test_names_that_meet_stay_apart_and_studies_that_do_are_asked_for(home, tmp_path, monkeypatch):
    for folder in ("a", "b"):
        picture_folder(tmp_path / folder, ("c",), count=1)
    found = command.find_pictures([str(tmp_path / "a" / "c"), str(tmp_path / "b" / "c" / "*")], tmp_path / "out")
    assert len(set(found.values())) == len(found) == 2 and all(name.endswith("-00.png") for name in found.values())
    for name in ("new-1", "new-2"):
        (tmp_path / "studies" / name).mkdir(parents=True)
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    (tmp_path / "studies" / "new-2" / "study.json").write_text("{")
    assert sorted(row["state"] for row in command.known_studies()) == ["damaged", "not finished"]
    with pytest.raises(command.RunError, match=r"may be new-. \((damaged|not finished)\) or new-."):
        command.find_study("new-")


def test_it_starts_as_a_module(tmp_path):
    done = subprocess.run([sys.executable, "-m", "asxai", "explain"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "usage: asxai explain" in done.stderr and "Traceback" not in done.stderr
