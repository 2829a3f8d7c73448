"""What moves a key and what leaves it, over all code that decides what is trained; and what is kept is whole."""

import ast
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from asxai import cache
from asxai.cache import code_hash, deciding_code, kept_json, kept_table, kept_tensors, key_of

FILES = [file for room in ("data", "model") for file in sorted((cache.PACKAGE / room).glob("*.py"))]
MODULES = pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}.{file.stem}")


def decides(node):
    """A node and all below it that can change a number: no import, docstring, hint, nor what is said in an error."""
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if is_docstring or isinstance(node, (ast.Import, ast.ImportFrom, ast.Raise)):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from decides(child)


def another(operator):
    kinds = type(operator).__base__.__subclasses__()
    return kinds[kinds.index(type(operator)) - 1]()


def changes(statement):
    """Changes the statement in one place after another: an operator, a constant, a name, a called function."""
    for node in list(decides(statement)):
        if isinstance(node, (ast.BinOp, ast.AugAssign, ast.UnaryOp, ast.BoolOp)):
            field, value = "op", another(node.op)
        elif isinstance(node, ast.Compare):
            field, value = "ops", [another(node.ops[0]), *node.ops[1:]]
        elif isinstance(node, ast.Constant):
            field, value = "value", f"not {node.value}"
        elif isinstance(node, ast.Call):
            field, value = "func", ast.Name("another")
        elif isinstance(node, ast.Name):
            field, value = "id", "another"
        else:
            continue
        before = getattr(node, field)
        setattr(node, field, value)
        yield ast.unparse(statement)
        setattr(node, field, before)


@MODULES
def test_every_operator_constant_default_and_call_moves_the_key(file):
    """Functions one by one, those of classes too, for then a change is looked for in few lines."""
    count = 0
    for statement in ast.parse(file.read_text()).body:
        for part in statement.body if isinstance(statement, ast.ClassDef) else [statement]:
            before = deciding_code(ast.unparse(part))
            for changed in changes(part):
                assert deciding_code(changed) != before, changed
                count += 1
    assert count > 50 or file.stem == "__init__"


class Reworded(ast.NodeTransformer):
    """Other docstrings, imports, hints and texts of errors, and some where there were none."""

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = ast.Name("Hint")
        keep = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
        node.body = [ast.Expr(ast.Constant("Another docstring.")), ast.Import([ast.alias("this")]), *keep]
        return node

    def visit_Lambda(self, node):
        return node  # which can have no hints

    def visit_arg(self, node):
        return ast.arg(node.arg, ast.Constant("Hint"))

    def visit_AnnAssign(self, node):
        return ast.AnnAssign(node.target, ast.Name("Hint"), node.value, node.simple)

    def visit_Assign(self, node):
        plain = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        return ast.AnnAssign(node.targets[0], ast.Name("Hint"), node.value, 1) if plain else node

    def visit_Raise(self, node):
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.cause = [ast.Constant("what to do instead")], ast.Name("error")
        return node

    def visit_ImportFrom(self, node):
        return ast.Import([ast.alias("that")])


@MODULES
def test_words_hints_and_imports_leave_the_key(file):
    source = file.read_text()
    reworded = ast.unparse(ast.fix_missing_locations(Reworded().visit(ast.parse(source))))
    hints = "if TYPE_CHECKING:\n    from .elsewhere import Hint\n"
    commented = "\n".join(f"{line}  # a comment" if line.strip() == "return" else line for line in source.splitlines())
    assert deciding_code(source) == deciding_code(f"# a comment\n{hints}\n{reworded}") == deciding_code(commented)


def test_a_key_is_of_the_rooms_that_it_names(tmp_path, monkeypatch):
    shutil.copytree(cache.PACKAGE, tmp_path / "asxai", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache, "PACKAGE", tmp_path / "asxai")
    places = [("data", "model"), ("model.losses",), ("concepts",)]

    def hashes():
        code_hash.cache_clear()
        return [code_hash(*place) for place in places]

    before, losses = hashes(), tmp_path / "asxai" / "model" / "losses.py"
    text = losses.read_text()
    losses.write_text(text.replace('"""The losses', '"""# Losses').replace("import torch\n", "import torch  # first\n"))
    (losses.parent / ".ipynb_checkpoints").mkdir()
    shutil.copy(losses, losses.parent / ".ipynb_checkpoints" / "losses-checkpoint.py")
    assert hashes() == before and losses.read_text() != text
    losses.write_text(text.replace("return -squared.sqrt()", "return squared.sqrt()"))
    assert [old == new for old, new in zip(before, hashes())] == [False, False, True]
    losses.write_text(text)
    (losses.parent / "more.py").write_text("LIMIT = 3\n")
    assert [old == new for old, new in zip(before, hashes())] == [False, True, True]
    with pytest.raises(FileNotFoundError):
        code_hash("model.loses")
    code_hash.cache_clear()


def test_keys_differ_by_value_and_order():
    keys = [key_of(*values) for values in ([1, "a"], ["a", 1], [1], ["1"], [1, "a", None])]
    assert len(set(keys)) == len(keys) and key_of(1, "a") == keys[0] and len(keys[0]) == 32


# What is kept


def same_tensors(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def json_of_one_key(path, compute):
    return kept_json(path, ("key", 1), compute)


TENSORS = {"a": torch.arange(6).view(2, 3).T, "b": torch.tensor(0.5, dtype=torch.float16), "c": torch.zeros(0, 2) > 0}
TABLE = pd.DataFrame({"word": ["a # b", "ü"], "value": [0.1, np.nan]})
KINDS = {
    "json": (json_of_one_key, {"a": [1, 0.1, None], "ü": "x"}, lambda one, other: one == other),
    "safetensors": (kept_tensors, TENSORS, same_tensors),
    "csv": (kept_table, TABLE, pd.DataFrame.equals),
}


@pytest.fixture(params=KINDS)
def kept(request, tmp_path):
    """A function that gives the value and how often it was computed, the file, the value, and whether two are alike."""
    keep, value, alike = KINDS[request.param]
    path, calls = tmp_path / "folder" / f"kept.{request.param}", []

    def get():
        result = keep(path, lambda: calls.append(1) or value)
        return result, len(calls)

    return get, path, value, alike


def test_what_is_kept_is_computed_once(kept):
    get, path, value, alike = kept
    for _ in range(3):
        result, calls = get()
        assert alike(result, value) and calls == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_damaged_file_is_made_anew_and_never_used(kept):
    """Cut off at many places, and with one bit flipped in every byte in turn."""
    get, path, value, alike = kept
    _, calls = get()
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    for place in range(len(whole)):
        other = bytearray(whole)
        other[place] ^= 1 << place % 8
        damaged.append(bytes(other))
    anew = 0
    for content in damaged:
        path.write_bytes(content)
        result, now = get()
        assert alike(result, value), content
        anew, calls = anew + now - calls, now
    assert anew > 0.9 * len(damaged)  # but for white space, which says nothing
    path.unlink()
    assert alike(get()[0], value)


def test_json_of_another_key_is_computed_anew(tmp_path):
    path = tmp_path / "kept.json"
    assert [kept_json(path, key, lambda: key) for key in ("a", ["a"], ["a"], {"b": 1})] == ["a", ["a"], ["a"], {"b": 1}]
    assert kept_json(path, {"b": 1}, lambda: pytest.fail("computed again")) == {"b": 1}
    path.write_text(json.dumps({"key": {"b": 1}, "value": 5}))  # of a version without checksums
    assert kept_json(path, {"b": 1}, lambda: 6) == 6


def test_an_error_while_computing_leaves_nothing_behind(kept, monkeypatch):
    get, path, _, _ = kept
    monkeypatch.setattr(cache.paths, "write_atomically", lambda *_: pytest.fail("written"))
    with pytest.raises(ZeroDivisionError):
        KINDS[path.suffix[1:]][0](path, lambda: 1 / 0)
    assert not path.exists()
