"""The habits of every committed notebook, and the proof that nbval notices a wrong number.

Whether the notebooks run, and whether their checked numbers come out again, is tested by nbval itself: `make test`.
"""

import ast
import json
import re
import subprocess
import sys
from statistics import median

import nbformat
import pytest

from asxai.paths import NOTEBOOKS
from asxai.run.plan import DATA_SETS, MENAGERIE

FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:work|home|root|tmp|var|mnt|opt|usr|Users|private)/")


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def notebook(request):
    return json.loads(request.param.read_text()) | {"path": request.param}


def cells(notebook, kind):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def tagged(notebook, tag):
    return [cell for cell in cells(notebook, "code") if tag in cell["metadata"].get("tags", [])]


def test_code_cells_are_short_as_many_as_text_cells_and_small_enough_to_be_shown(notebook):
    lengths = [sum(bool(line.strip()) for line in source(cell).splitlines()) for cell in cells(notebook, "code")]
    assert median(lengths) <= 6 and max(lengths) <= 40
    assert sum(length <= 15 for length in lengths) >= 0.9 * len(lengths)
    assert len(cells(notebook, "markdown")) >= len(lengths)
    assert notebook["path"].stat().st_size < 2_000_000


def test_defines_no_function_and_no_class(notebook):
    lines = [line for cell in cells(notebook, "code") for line in source(cell).splitlines()]
    found = [line for line in lines if re.match(r"\s*(async\s+def|def|class)\s+\w", line)]
    assert found == [], "functions and classes belong into the package"


def test_one_cell_of_literal_parameters(notebook):
    """Lines `name = literal`; papermill reads them line by line, so that each has to stand on one line."""
    (cell,) = tagged(notebook, "parameters")
    found = {}
    for line in ast.parse(source(cell)).body:
        assert isinstance(line, ast.Assign) and line.lineno == line.end_lineno, ast.unparse(line)
        (target,) = line.targets
        found[target.id] = ast.literal_eval(line.value)
    own = DATA_SETS.get(notebook["path"].stem, MENAGERIE)[0]  # what the reader sees is what make figures runs first
    assert (found["data_set"], found["protocol"], found["training"]) == (own, "short", {})
    assert not any(isinstance(value, tuple) for value in found.values()), "a list instead: papermill knows no tuple"


def test_committed_as_executed_from_top_to_bottom_and_some_numbers_are_checked(notebook):
    checked = tagged(notebook, "nbval-check-output")
    assert checked and all(cell["outputs"] for cell in checked)
    executed = [cell for cell in cells(notebook, "code") if source(cell).strip()]
    assert [cell["execution_count"] for cell in executed] == list(range(1, len(executed) + 1))
    outputs = [output for cell in executed for output in cell["outputs"]]
    assert outputs
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == [], "warnings, progress bars"


def test_written_by_make_notebooks(notebook):
    """Nothing that differs from run to run: times, versions, addresses, names of files on this machine."""
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info", "widgets"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert [cell["id"] for cell in notebook["cells"] if {"papermill", "execution"} & set(cell["metadata"])] == []
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    text = [source(cell) for cell in notebook["cells"]]
    for output in (output for cell in cells(notebook, "code") for output in cell["outputs"]):
        text += ["".join(output.get("text", ""))]
        text += ["".join(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    found = [line for line in "\n".join(text).splitlines() if MACHINE_PATH.search(line) or " at 0x" in line]
    assert found == []


@pytest.mark.parametrize("shown, status", [("0.333", 0), ("0.334", 1)])
def test_nbval_notices_a_wrong_number(tmp_path, shown, status):
    """The very flags of `make test`, on a notebook whose committed output is right, and on one where it is not."""
    cell = nbformat.v4.new_code_cell("print(round(1 / 3, 3))", metadata={"tags": ["nbval-check-output"]})
    cell.update(execution_count=1, outputs=[nbformat.v4.new_output("stream", text=f"{shown}\n")])
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "numbers.ipynb")
    flags = "-m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=60 numbers.ipynb"
    command = [sys.executable, *flags.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert status == 0 or ("0.334" in done.stdout and "0.333" in done.stdout)
