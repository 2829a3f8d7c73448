"""A throwaway checkout for tests of the runner."""

import json

import pytest
from notebook_helpers import WRITE, write_notebook

from asxai.run import make, plan


@pytest.fixture
def places(tmp_path):
    """A checkout with two notebooks; each writes one figure."""
    root = tmp_path / "{b}, Emma's $HOME"
    root.mkdir()
    for name in ("01_first", "02_second"):
        write_notebook(root / "notebooks", name, WRITE.format(name=name))
    source = root / "package.py"
    source.write_text("version = 1")
    return plan.Places(root / "notebooks", root / "runs", root / "figures", (source,))


@pytest.fixture
def at_once(monkeypatch, places):
    """Notebooks are executed here, without a kernel, which takes seconds to start."""

    def execute(notebook, output, parameters, hours, title):
        monkeypatch.setenv("ASXAI_FIGURES", str(places.figures))
        first, *others = [cell["source"] for cell in json.loads(notebook.read_text())["cells"][1:]]
        exec(first, scope := {})
        scope |= parameters
        for source in others:
            exec(source, scope)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("{}")

    monkeypatch.setattr(make, "execute", execute)
