"""pyproject.toml, requirements.lock, environment.yml, and what is installed say the same."""

import ast
import json
import re
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from asxai.paths import NOTEBOOKS, ROOT

LOCK = (ROOT / "requirements.lock").read_text()
HASHES = (ROOT / "requirements.hashes").read_text()
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
    other = {
        f"environment.yml: {name}=={version}": name for name, version in conda.items() if lock.get(name) != version
    }
    older = [(name, bound) for name, bound in project.items() if Version(lock.get(name, "0")) < Version(bound)]
    other |= {f"pyproject.toml: {name}>={bound}": name for name, bound in older}
    return wrong + [f"{text}, but requirements.lock: {lock.get(name)}" for text, name in other.items()]


def test_files_are_in_step():
    assert differences(LOCK, CONDA, PROJECT) == []


@pytest.mark.parametrize("name", sorted(lower_bounds(PROJECT)))
def test_one_edited_pin_is_noticed(name):
    written = name.replace("-", "[-_]")  # one name with either
    pattern = re.compile(rf"^([ -]*{written}==)\S+", re.MULTILINE | re.IGNORECASE)
    edited = re.sub(rf'"{written}>=[^"]*"', f'"{name}>=999"', PROJECT, flags=re.IGNORECASE)
    assert differences(pattern.sub(r"\g<1>0.0.1", LOCK), CONDA, PROJECT)
    assert differences(LOCK, pattern.sub(r"\g<1>0.0.1", CONDA), PROJECT)
    assert differences(LOCK, CONDA, edited)


def test_every_version_of_the_lock_has_hashes_and_nothing_is_built():
    requirements = re.findall(r"^(\S+)==(\S+)(.*(?:\n    .*)*)", HASHES, re.MULTILINE)
    assert {same_name(name): version for name, version, _ in requirements} | pins(LOCK) == pins(HASHES)
    assert len(requirements) == len(pins(HASHES)) and all("--hash=sha256:" in rest for _, _, rest in requirements)
    lines = [line for line in HASHES.splitlines() if not line.startswith(("#", "    --hash=sha256:"))]
    assert all(re.match(r"[\w.-]+==[\w.+!]+( ;|\s)", line) for line in lines)  # neither addresses nor options
    assert "--no-deps --require-hashes --only-binary :all: " in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_old_packages_that_are_kept_are_in_the_lock():
    text = (ROOT / "requirements.md").read_text(encoding="utf-8").partition("## Older")[2]
    named = [name for row in re.findall(r"^\| ([\w, -]+) \| \w", text, re.MULTILINE) for name in row.split(", ")]
    assert len(named) > 15 and {same_name(name) for name in named} - {"package"} <= set(pins(LOCK))


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
    demands = {item.metadata["Name"]: item.metadata.get("Requires-Python") or "" for item in metadata.distributions()}
    locked = {name: demand for name, demand in demands.items() if same_name(name) in pins(LOCK)}
    assert [name for name, demand in locked.items() if oldest not in SpecifierSet(demand)] == []


def test_every_text_file_is_opened_with_its_encoding():
    """Else it is the locale's, in which no other letters than a to z may exist."""
    without = []
    for folder in ("asxai", "data/menagerie"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and opens_text(node) and "encoding" not in {k.arg for k in node.keywords}:
                    without.append(f"{path.name}:{node.lineno}")
    assert without == []


def opens_text(call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in ("read_text", "write_text", "fdopen", "NamedTemporaryFile")
    modes = [argument.value for argument in call.args[1:] if isinstance(argument, ast.Constant)]
    return getattr(call.func, "id", "") == "open" and not any("b" in str(mode) for mode in modes)


def test_every_line_of_the_conda_file_has_a_reason():
    listed = [line for line in CONDA.splitlines() if re.match(r"\s+- [^:]*$", line.partition("#")[0].rstrip())]
    assert len(listed) > 10
    assert [line for line in listed if not re.search(r"  # \w.*", line)] == []


def test_every_import_is_a_direct_dependency():
    """What the package, the drawings, the tests and the notebooks import is listed, not found by luck."""
    folders = (ROOT / folder for folder in ("asxai", "data/menagerie", "tests"))
    sources = {path: path.read_text() for folder in folders for path in folder.rglob("*.py")}
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        plain = [line for cell in cells for line in "".join(cell["source"]).splitlines() if line[:1] not in "%!?"]
        sources[path] = "\n".join(plain)
    providers = metadata.packages_distributions()
    extras = tomllib.loads(PROJECT)["project"]["optional-dependencies"].values()
    listed = {*lower_bounds(PROJECT), "asxai"} | {
        same_name(one.partition(">=")[0]) for extra in extras for one in extra
    }
    assert listed - {"asxai"} <= set(pins(LOCK))
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
