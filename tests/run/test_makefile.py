"""What a user gives to `make` reaches the program as it was typed; no shell and no make reads it."""

import json
import os
import re
import shutil
import subprocess

import pytest

from asxai.paths import ROOT
from asxai.run import make, plan

NASTY = ["Emma's photos", "cash$money $$ ${HOME} $(HOME)", "a; touch pwned", "-p --help", "two\nlines\tand a tab"]
NASTY += ["$(touch pwned) `touch pwned` $(shell touch pwned)", 'say "cheese" \\ and \\\\ \\n', "mütter 写真 🐈"]
NASTY += ["#1, (2) {3} [4] *?~!%&|<>=:@^"]


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and, as its Python, a program that prints what it is given; a name as bad as any."""
    folder = tmp_path / 'Emma\'s $HOME; #1, "a" {b}'
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "requirements.hashes", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
        os.utime(folder / name, (0, 0))
    python = folder / ".venv" / "bin" / "python"
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]), file=open('given', 'w'))"
    python.write_text(f'#!/bin/sh\nexec python3 -c {json.dumps(code)} "$@"\n')
    python.chmod(0o755)
    (folder / ".venv" / ".ready").write_text(f"{folder.resolve()}\n")
    return folder


def called(checkout, *arguments, **environment):
    inherited = {name: value for name, value in os.environ.items() if name[:4] not in ("MAKE", "MFLA", "ASXA")}
    done = subprocess.run(["make", *arguments], cwd=checkout, env=inherited | environment, capture_output=True)
    assert not list(checkout.rglob("pwned")), arguments
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("text", NASTY)
def test_any_text_arrives_as_it_was_typed(checkout, tmp_path, monkeypatch, text):
    folder = tmp_path / text.replace("/", "_")
    folder.mkdir()
    written = [f"DATASET={text}", f'PARAMS=names={{1:"{text}"}} seed=1']
    for arguments, environment in ((written, {}), ([], {"DATASET": text})):
        assert called(checkout, "figures", *arguments, **environment) == (0, "")
        given, variables = json.loads((checkout / "given").read_text())
        assert given == ["-m", "asxai.run", "figures"] and variables["ASXAI_DATASET"] == text
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASXAI_DATASET", text)
    monkeypatch.setenv("ASXAI_PARAMS", f'names={{1:"{text}"}} seed=1')
    seen = {}
    monkeypatch.setattr(make, "make_figures", lambda *args: seen.update(zip("cdnt", args)) or 0)
    assert make.main(["figures"]) == 0
    assert (seen["d"], seen["n"]) == ([text], []) and seen["t"]["seed"] == "1" and text in seen["t"]["names"]
    assert plan.find_data_set(text) == str(folder.resolve())


def test_compiled_modules_are_kept_whatever_a_container_says(checkout):
    """Else each of dozens of processes compiles torch and SciPy anew, for more seconds than most tests take."""
    assert called(checkout, "figures", PYTHONDONTWRITEBYTECODE="1") == (0, "")
    assert "PYTHONDONTWRITEBYTECODE" not in json.loads((checkout / "given").read_text())[1]


def test_one_folder_or_several(tmp_path, monkeypatch):
    """The whole text is a folder where there is one of that name; else lines, else words are names."""
    for name in ("a b", "a", "c"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    cases = {"a b": ["a b"], "a c": ["a", "c"], "a x": ["a x"], "": []}
    cases |= {"a b\nmenagerie-wild\n": ["a b", "menagerie-wild"]}
    for text, names in (cases | {"menagerie-pets oxford-pets": ["menagerie-pets", "oxford-pets"]}).items():
        assert plan.split_data_sets(text) == names


def test_what_make_does_not_know_is_an_error(checkout):
    """A slip such as NOTEBOOK=10 would else go by without a word, and run everything."""
    for arguments, message in (
        (["NOTEBOOK=10", "DATASET=a"], "unknown: NOTEBOOK; known are DATASET NOTEBOOKS PARAMS DASK PYTHON"),
        (['"; touch pwned; "'], "there is no '\"; touch pwned; \"'; `make` alone lists"),
        (["it's"], "there is no 'it's'"),
    ):
        code, told = called(checkout, *(arguments if "=" in arguments[0] else []), "figures", *arguments[:1])
        assert code == 2 and message in told


def test_no_recipe_holds_what_a_user_gives():
    recipes = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\t")]
    given = re.compile(r"\$[({](value )?(DATASET|NOTEBOOKS|PARAMS|PYTHON|CURDIR|MAKEFILE_LIST|MAKECMDGOALS)\b")
    assert len(recipes) > 30 and not [line for line in recipes if given.search(line)]
