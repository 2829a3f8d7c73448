"""Results that are computed once and kept, each under a key that says what it depends on, the code included.

    key = key_of(weights, code_hash("data", "model.backbones"), size, pictures)
    features = kept_tensors(paths.CACHE / f"{key}.safetensors", compute)["features"]

A room of the package is a key: what is trained depends on `data` and `model`, concepts on `concepts` besides, R_s on
`ranks`, sentences on `explain`. Only the code that can change a number counts: comments, docstrings, imports, type
hints and the texts of errors do not, so that rewording one of them trains nothing again.
"""

import ast
import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from . import paths

PACKAGE = Path(__file__).parent


def key_of(*values) -> str:
    """32 hexadecimal digits that name the values, which must print alike whenever they are alike."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:32]


@cache
def code_hash(*places: str) -> str:
    """Hash of the code of rooms or modules of this package, such as "model" or "data.pictures"; 16 digits.

    Raises FileNotFoundError for a place that is not there.
    """
    digest = hashlib.sha256()
    for place in places:
        at = PACKAGE / place.replace(".", "/")
        files = sorted(at.rglob("*.py")) if at.is_dir() else [at.with_suffix(".py")]
        for file in files:
            digest.update(deciding_code(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def deciding_code(source: str) -> str:
    """Python code without what decides no number: comments, docstrings, imports, type hints, texts of errors."""
    return ast.unparse(_Deciding().visit(ast.parse(source)))


class _Deciding(ast.NodeTransformer):
    def visit_Import(self, node):
        return None

    visit_ImportFrom = visit_Import

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Constant):  # a docstring, or dots
            return ast.Pass()
        return self.generic_visit(node)

    def visit_Raise(self, node):
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=kind, cause=None)

    def visit_FunctionDef(self, node):
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        hint = ast.Constant(...)
        return ast.AnnAssign(node.target, hint, node.value and self.visit(node.value), node.simple)


def kept_json(path: Path, key, compute: Callable):
    """A value of plain lists, dicts, texts and numbers in a file of its own, computed anew when its key is another."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return kept["value"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # not there, or cut off, or of an older version
        pass
    text = json.dumps({"key": key, "value": compute()}, indent=1)
    paths.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return json.loads(text)["value"]


def kept_tensors(path: Path, compute: Callable) -> dict:
    """Tensors by name, from a safetensors file that is made if it is not there; the path holds the key."""
    from safetensors.torch import load_file, save_file

    if not path.exists():
        tensors = {name: tensor.contiguous() for name, tensor in compute().items()}
        paths.write_atomically(path, lambda temporary: save_file(tensors, temporary))
    return load_file(path)


def kept_table(path: Path, compute: Callable):
    """The same for a table, as CSV."""
    import pandas as pd

    if not path.exists():
        table = compute()
        paths.write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))
    return pd.read_csv(path)
