"""Parameters of notebooks: literals in one cell, and texts from the command line with the type of their defaults."""

import ast
import json

import papermill
import pytest
from notebook_helpers import PARAMETERS, write_notebook

from asxai.run import parameters, plan


def test_values_take_the_type_of_the_default():
    cases = [("7", 2, 7), ("1", 0.5, 1.0), ("1e-3", 0.5, 0.001), ("false", True, False), ("(3, 4)", [1], [3, 4])]
    cases += [("12", "text", "12"), ("long", "short", "long"), ("4", None, 4), ("none", None, None), ("a", None, "a")]
    for text, default, value in cases:
        converted = parameters.convert("name", text, default)
        assert (converted, type(converted)) == (value, type(value))


@pytest.mark.parametrize(
    "line", ["width = 2 * 3", "width = (", "import os", "a = b = 1", "a, b = 1, 2", "name = str(1)"]
)
def test_parameters_are_literals(tmp_path, line):
    path = write_notebook(tmp_path, "01_odd", parameters=f"{PARAMETERS}\n{line}")
    with pytest.raises(plan.RunError, match="may only hold lines like `name = literal`|is not Python"):
        parameters.read_parameters(path)


def test_our_reading_of_parameters_is_papermills(tmp_path):
    path = write_notebook(tmp_path, "01_first")
    notebook = json.loads(path.read_text())
    notebook["metadata"]["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    path.write_text(json.dumps(notebook))
    theirs = {name: ast.literal_eval(known["default"]) for name, known in papermill.inspect_notebook(path).items()}
    assert theirs == parameters.read_parameters(path)


@pytest.mark.parametrize("text", ["{4:a}", '{4: "a"'])
def test_names_that_are_no_dictionary_are_shown_one(text):
    with pytest.raises(plan.RunError, match="should be of type dict, like .*in double quotes.*PARAMS='names="):
        parameters.convert("names", text, {})
