"""pyproject.toml, requirements.lock, environment.yml, and what is installed say the same."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from asxai.paths import NOTEBOOKS, ROOT

LOCK = (ROOT / "requirements.lock").read_text()
CONDA = (ROOT / "environment.yml").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()


def same_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Name and version of every `name==version` at the start of a line, or after a list's dash."""
    return {same_name(name): version for name, version in re.findall(r"^[ -]*([\w.-]+)==([^\s#]+)", text, re.MULTILINE)}


def lower_bounds(text: str) -> dict[str, str]:
    bounds = dict(dependency.split(">=") for dependency in tomllib.loads(text)["project"]["dependencies"])
    return {same_name(name): version for name, version in bounds.items()}


def differences(lock: str, conda: str, project: str) -> list[str]:
    """Everything that is out of step, each with what would be right."""
    lock, conda, project = pins(lock), pins(conda), lower_bounds(project)
    wrong = [f"environment.yml lacks {name}=={lock.get(name)}" for name in project.keys() - conda.keys()]
    wrong += [f"environment.yml has {name}, pyproject.toml has not" for name in conda.keys() - project.keys()]
    wrong += [f"environment.yml: {name}=={version}, but requirements.lock: {lock.get(name)}"
              for name, version in conda.items() if lock.get(name) != version]
    return wrong + [f"pyproject.toml: {name}>={bound}, but requirements.lock: {lock.get(name)}"
                    for name, bound in project.items() if Version(lock.get(name, "0")) < Version(bound)]


def test_files_are_in_step():
    assert differences(LOCK, CONDA, PROJECT) == []


@pytest.mark.parametrize("name", sorted(lower_bounds(PROJECT)))
def test_one_edited_pin_is_noticed(name):
    written = name.replace("-", "[-_]")  # one name with either
    pattern = re.compile(rf"^([ -]*{written}==)\S+", re.MULTILINE | re.IGNORECASE)
    edited = re.sub(rf'"{written}>=[^"]*"', f'"{name}>=999"', PROJECT)
    assert differences(pattern.sub(r"\g<1>0.0.1", LOCK), CONDA, PROJECT)
    assert differences(LOCK, pattern.sub(r"\g<1>0.0.1", CONDA), PROJECT)
    assert differences(LOCK, CONDA, edited)


def test_lock_serves_every_system():
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in lines)
    assert [line for line in lines if re.match(r"nvidia|cuda|triton|asxai", line)] == []
    assert [line.upper() for line in lines] == sorted(line.upper() for line in lines)


def test_installed_versions_are_the_locked_ones():
    installed = {same_name(item.metadata["Name"]): item.version for item in metadata.distributions()}
    wrong = {name: installed.get(name) for name, version in pins(LOCK).items() if installed.get(name) != version}
    assert wrong == {}, "installed versions differ: `make setup` installs requirements.lock, `make lock` writes it anew"


def test_every_locked_version_installs_on_the_oldest_python():
    """`make setup` is promised from this Python on; an upgrade with `make lock` must not take that back."""
    oldest = tomllib.loads(PROJECT)["project"]["requires-python"].removeprefix(">=") + ".0"
    demands = {item.metadata["Name"]: item.metadata["Requires-Python"] for item in metadata.distributions()}
    assert [name for name, demand in demands.items()
            if demand and same_name(name) in pins(LOCK) and oldest not in SpecifierSet(demand)] == []


def test_make_takes_the_variables_that_it_knows_and_no_others():
    """A slip such as NOTEBOOK=10 would else go by without a word, and run everything."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    dry = lambda *given: subprocess.run(["make", "--dry-run", "figures", *given], cwd=ROOT, env=own,
                                        capture_output=True, text=True)
    known = dry("NOTEBOOKS=10 02", "DATASET=a b", "PYTHON=python3")
    assert known.returncode == 0 and "figures --dataset 'a b' --notebooks 10 02" in known.stdout
    slip = dry("NOTEBOOK=10", "DATASET=a")
    assert slip.returncode == 2 and "unknown: NOTEBOOK; known are DATASET NOTEBOOKS PARAMS PYTHON" in slip.stderr


def test_every_line_of_the_conda_file_has_a_reason():
    listed = [line for line in CONDA.splitlines() if re.match(r"\s+- [^:]*$", line.partition("#")[0].rstrip())]
    assert len(listed) > 10
    assert [line for line in listed if not re.search(r"  # \w.*", line)] == []


def test_every_import_is_a_direct_dependency():
    """What the package, the drawings, the tests and the notebooks import is listed, not found by luck."""
    sources = {path: path.read_text() for folder in ("asxai", "data/menagerie", "tests")
               for path in (ROOT / folder).rglob("*.py")}
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        plain = [line for cell in cells for line in "".join(cell["source"]).splitlines() if line[:1] not in "%!?"]
        sources[path] = "\n".join(plain)
    providers = metadata.packages_distributions()
    listed = {*lower_bounds(PROJECT), "asxai"}
    missing = set()
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names):
                ours = name in ("asxai", "menagerie") or (ROOT / "tests" / f"{name}.py").exists()
                if not ours and not listed & {same_name(provider) for provider in providers.get(name, [])}:
                    missing.add(f"{path.name} imports {name}")
    assert missing == set()
