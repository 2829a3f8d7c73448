"""Habits of the package itself."""

import ast
import re

import pytest

import menagerie
from asxai import paths

MODULES = sorted((paths.ROOT / "asxai").rglob("*.py"))
# words that also mean something else in code: a network's head and stem, the centre of a picture
TECHNICAL = {"head", "stem", "body", "centre", "blade"}


def strings(tree):
    """String constants that a program uses: neither docstrings nor pieces of them."""
    documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(paths.ROOT)))
def test_names_of_classes_and_parts_come_from_the_data(module):
    specs = menagerie.DATA_SETS.values()
    names = {name for spec in specs for name in (*spec.classes, *spec.parts, *spec.hybrids)} - TECHNICAL
    words = {word for text in strings(ast.parse(module.read_text())) for word in re.findall(r"[a-z-]+", text.lower())}
    assert words & names == set()


# A room knows itself and the rooms before it; what all may use comes first.
ORDER = "paths progress cache statistics parallel | data | model | config | concepts | figures | results"
ORDER += " | traits ranks | explain | study | methods | benchmarks | widgets run | __main__"
RANK = {room: rank for rank, rooms in enumerate(ORDER.split("|")) for room in rooms.split()}


def imported(module):
    """Modules of the package that a module imports, wherever in it, as "room.module" or "module"."""
    here = module.relative_to(paths.ROOT / "asxai").parent.parts
    tree = ast.parse(module.read_text())
    hints = [node for node in tree.body if isinstance(node, ast.If)]  # under TYPE_CHECKING: no arrow of the program
    tree.body = [node for node in tree.body if node not in hints]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level + 1], *(node.module or "").split(".")]
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "asxai":
            base = node.module.split(".")[1:]
        else:
            continue
        for alias in node.names:
            parts = [part for part in (*base, alias.name) if part]
            whole = (paths.ROOT / "asxai").joinpath(*parts).with_suffix(".py")
            yield ".".join(parts if whole.is_file() else parts[:-1])


def named(module):
    return ".".join(module.relative_to(paths.ROOT / "asxai").with_suffix("").parts)


def test_arrows_run_down():
    """Each room imports only from itself and from rooms before it; rooms of one rank do not know each other."""
    upward = []
    for module in MODULES:
        room = named(module).split(".")[0]
        if room == "__init__":
            continue
        for name in imported(module):
            other = name.split(".")[0]
            if other and other != room and (RANK[other] > RANK[room] or RANK[other] == RANK[room] > 0):
                upward.append(f"{named(module)} imports {name}")
    assert upward == []


def test_no_module_imports_itself_in_a_circle():
    arrows = {named(module): {name for name in imported(module) if name} for module in MODULES}
    while leaves := {name for name, others in arrows.items() if not others & arrows.keys()}:
        arrows = {name: others for name, others in arrows.items() if name not in leaves}
    assert arrows == {}, "these import each other"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(paths.ROOT)))
def test_a_module_is_read_in_one_sitting(module):
    assert len(module.read_text().splitlines()) <= 350


def test_readme_has_no_gap_left():
    text = (paths.ROOT / "README.md").read_text()
    assert re.findall(r"\b(?:[A-Z]+_TIME|REAL_TABLE|BENCH|CLAIMS|TODO|TBD)\b", text) == []
