"""Habits of the package itself."""

import ast
import re
import subprocess

import pytest

import menagerie
from asxai import paths, results
from asxai.benchmarks import claims
from asxai.run.plan import MENAGERIE

MODULES = sorted((paths.ROOT / "asxai").rglob("*.py"))
# words that also mean something else in code: a network's head and stem, the centre of a picture
TECHNICAL = {"head", "stem", "body", "centre", "blade"}


def strings(tree):
    """String constants that a program uses: neither docstrings nor pieces of them."""
    documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and node.body
            and isinstance(node.body[0], ast.Expr)}
    return [node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(paths.ROOT)))
def test_names_of_classes_and_parts_come_from_the_data(module):
    specs = menagerie.DATA_SETS.values()
    names = {name for spec in specs for name in (*spec.classes, *spec.parts, *spec.hybrids)} - TECHNICAL
    words = {word for text in strings(ast.parse(module.read_text())) for word in re.findall(r"[a-z-]+", text.lower())}
    assert words & names == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(paths.ROOT)))
def test_a_module_is_read_in_one_sitting(module):
    assert len(module.read_text().splitlines()) <= 350


def test_readme_shows_the_claims_as_committed(tmp_path):
    """As committed: on another machine `make figures` may give other last digits, which is no fault of the page."""
    def committed(name):
        done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=paths.ROOT, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else pytest.skip(f"{name} is not committed (or no git is here)")

    text = committed("README.md")
    data_sets = [name for found in claims.CLAIMS.finditer(text) for name in found[2].split()]
    assert set(MENAGERIE) <= set(data_sets)
    for data_set in data_sets:
        (tmp_path / data_set).mkdir()
        (tmp_path / data_set / "claims.csv").write_text(committed(f"figures/{data_set}/claims.csv"))
    assert claims.with_claims(text, figures=tmp_path) == text, "run `python -m asxai.benchmarks.claims` and commit README.md"


def test_readme_has_no_gap_left():
    text = (paths.ROOT / "README.md").read_text()
    assert re.findall(r"\b(?:[A-Z]+_TIME|REAL_TABLE|BENCH|CLAIMS|TODO|TBD)\b", text) == []


def test_the_claims_table_has_a_row_per_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    results.record_claims("one", "01_a", [results.claim("x", [1, 2], "big", True), results.claim("y", 3)])
    results.record_claims("two", "01_a", [results.claim("x", 0.5, "big", False)])
    assert claims.claims_markdown(["one", "two"]).splitlines() == [
        "| notebook | claim | paper | one | two |", "|---|---|---|---|---|",
        "| 01_a | `x` | big | 1.5 ± 0.7071 ✓ | 0.5 ✗ |", "| 01_a | `y` |  | 3.0 |  |"]
    with pytest.raises(ValueError, match="lost its marks"):
        claims.with_claims("no marks")
