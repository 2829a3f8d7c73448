"""Results that are computed once and kept, each under a key that says what it depends on, the code included.

    key = key_of(weights, code_hash("data", "model.backbones"), size, pictures)
    features = kept_tensors(paths.CACHE / f"{key}.safetensors", compute)["features"]

A room of the package is a key: what is trained depends on `data` and `model`, concepts on `concepts` besides, R_s on
`ranks`, sentences on `explain`. Only the code that can change a number counts: comments, docstrings, imports, type
hints and the texts of errors do not, so that rewording one of them trains nothing again.

What is kept carries a checksum. A file that is damaged or was made by an older version is made anew, never used.
"""

import ast
import hashlib
import io
import json
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from . import paths

if TYPE_CHECKING:
    import pandas
    import torch

PACKAGE = Path(__file__).parent


def key_of(*values) -> str:
    """32 hexadecimal digits that name the values, which must print alike whenever they are alike."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:32]


def digest_of(path: Path) -> str:
    """Hash of a file's bytes, 32 digits: whether it is still as it was written."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


@cache
def code_hash(*places: str) -> str:
    """Hash of the code of rooms or modules of this package, such as "model" or "data.pictures"; 16 digits.

    Raises FileNotFoundError for a place that is not there.
    """
    digest = hashlib.sha256()
    for place in places:
        at = PACKAGE / place.replace(".", "/")
        # not what an editor leaves beside a module, .ipynb_checkpoints for one
        files = sorted(at.glob("[!.]*.py")) if at.is_dir() else [at.with_suffix(".py")]
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

    def visit_If(self, node):
        for_hints = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if for_hints else self.generic_visit(node)

    def visit_Expr(self, node):
        is_docstring = isinstance(node.value, ast.Constant)  # or the dots of an empty body
        return None if is_docstring else self.generic_visit(node)

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
        if node.value:
            return ast.Assign([node.target], self.visit(node.value), lineno=node.lineno)
        return ast.AnnAssign(node.target, ast.Constant(...), None, node.simple)  # a field, whose place counts


def kept_json(path: Path, key, compute: Callable):
    """A value of plain lists, dicts, texts and numbers in one file, computed anew when its key is another."""
    key = json.loads(json.dumps(key))  # a tuple comes back as a list
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key and kept["checksum"] == _checksum(json.dumps(kept["value"]).encode()):
            return kept["value"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # not there, damaged, or of an older version
        pass
    value = json.loads(json.dumps(compute()))
    content = {"key": key, "checksum": _checksum(json.dumps(value).encode()), "value": value}
    text = json.dumps(content, indent=1)
    paths.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return value


def kept_tensors(path: Path, compute: Callable) -> "dict[str, torch.Tensor]":
    """Tensors by name, from a safetensors file that is made if there is no whole one; the path holds the key."""
    from safetensors import SafetensorError

    try:
        return load_tensors(path)[0]
    except (FileNotFoundError, SafetensorError):
        save_tensors(path, compute())
        return load_tensors(path)[0]  # and not tensors that may still know how they were computed


def save_tensors(path: Path, tensors: "dict[str, torch.Tensor]", notes: str = ""):
    """Write tensors and a text to one safetensors file, atomically and with a checksum."""
    import torch
    from safetensors.torch import save_file

    # copies, for safetensors takes none that share memory
    copy = lambda tensor: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    tensors = {name: copy(tensor) for name, tensor in tensors.items()}
    metadata = {"notes": notes, "checksum": _checksum_of_tensors(tensors)}
    paths.write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def load_tensors(path: Path) -> "tuple[dict[str, torch.Tensor], str]":
    """What `save_tensors` wrote. Raises FileNotFoundError, or SafetensorError where the file is damaged."""
    from safetensors import SafetensorError, safe_open

    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    checksum = _checksum_of_tensors(tensors)
    if metadata.get("checksum", checksum) != checksum:  # older files have none
        raise SafetensorError("its checksum is wrong")
    return tensors, metadata.get("notes", "")


def kept_table(path: Path, compute: Callable) -> "pandas.DataFrame":
    """The same for a table, as CSV, with the checksum in the last line."""
    import pandas as pd

    text, _, checksum = (path.read_bytes() if path.exists() else b"").rpartition(b"# ")
    if checksum.decode(errors="replace") != _checksum(text):
        text = compute().to_csv(index=False).encode()
        whole = text + b"# " + _checksum(text).encode()
        paths.write_atomically(path, lambda temporary: temporary.write_bytes(whole))
    return pd.read_csv(io.BytesIO(text))


def _checksum(*contents) -> str:
    value = 0
    for content in contents:
        value = zlib.crc32(content, value)
    return f"{value:08x}"


def _checksum_of_tensors(tensors: "dict[str, torch.Tensor]") -> str:
    import torch

    parts = []
    for name, tensor in sorted(tensors.items()):
        parts += [repr((name, tensor.shape, tensor.dtype)).encode(), tensor.cpu().reshape(-1).view(torch.uint8).numpy()]
    return _checksum(*parts)
