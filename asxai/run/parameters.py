"""The parameters of the notebooks: their defaults, and what a user gives instead."""

import ast
import os
import re
from pathlib import Path

from .plan import MENAGERIE, RunError, likely, read_cells, source_of, tags_of

PROTOCOL = {"figures": "short", "study": "long"}
EXAMPLES = {  # where the default says too little
    "names": """{1:"a name",4:"another"}, texts in double quotes, the whole in single ones: PARAMS='names={...}'""",
    "training": """{"size":224}; PARAMS="size=224" does the same""",
}


def read_parameters(notebook: Path) -> dict:
    """Name and default of each parameter: the literals in the one cell tagged `parameters`."""
    cells = [cell for cell in read_cells(notebook) if "parameters" in tags_of(cell)]
    if len(cells) != 1:
        raise RunError(f"{notebook.name} has {len(cells)} cells tagged `parameters`; it needs exactly one")
    defaults = {}
    try:
        lines = ast.parse(source_of(cells[0])).body
    except SyntaxError as error:
        raise RunError(f"{notebook.name}: the cell tagged `parameters` is not Python ({error})") from error
    for line in lines:
        try:
            target = line.targets[0] if isinstance(line, ast.Assign) and len(line.targets) == 1 else line.target
            defaults[target.id] = ast.literal_eval(line.value)
        except (AttributeError, ValueError, TypeError):
            said = f"may only hold lines like `name = literal`, not {ast.unparse(line)!r}"
            raise RunError(f"{notebook.name}: the cell tagged `parameters` {said}") from None
    return defaults


def plan_parameters(notebooks: list[Path], texts: dict[str, str], command: str) -> dict[str, dict]:
    """The parameters of each notebook apart from `data_set`: the protocol, and those of `texts` that it has.

    Any other field of `asxai.Config` goes into the parameter `training`, which the notebook hands to `Study.train`.
    A name that neither knows is an error, since papermill would only warn; so is a wrong type.
    """
    defaults = {notebook.stem: read_parameters(notebook) for notebook in notebooks}
    for name, known in defaults.items():
        if missing := {"data_set", "protocol"} - set(known):
            raise RunError(f"{name}.ipynb has no parameter {', '.join(sorted(missing))}")
    if "data_set" in texts:
        raise RunError("the data set is given with --dataset (make: DATASET=...), not as a parameter")
    everywhere = sorted({parameter for known in defaults.values() for parameter in known} - {"data_set"})
    in_all = set.intersection(*map(set, defaults.values()))
    fields = parameter_defaults() if "training" in everywhere and set(texts) - in_all else {}
    if unknown := [parameter for parameter in texts if parameter not in (*everywhere, *fields)]:
        known = f"Known: {', '.join(everywhere)}" + (f"; for training: {', '.join(fields)}" if fields else "")
        meant = likely(unknown[0], [*everywhere, *fields])
        raise RunError(f"no parameter {', '.join(unknown)} in {', '.join(defaults)}. {meant}{known}")
    if texts.get("protocol") not in (None, *PROTOCOL.values()):
        raise RunError(f"protocol={texts['protocol']} is unknown; choose one of {', '.join(PROTOCOL.values())}")
    given = {name: _given(name, known, fields, texts) for name, known in defaults.items()}
    return {name: {"protocol": PROTOCOL[command]} | values for name, values in given.items()}


def _given(name: str, known: dict, fields: dict, texts: dict[str, str]) -> dict:
    """What `texts` say of a notebook's parameters; what it does not know goes into `training`, if `Config` knows it."""
    given = {one: convert(one, text, known[one]) for one, text in texts.items() if one in known}
    others = {one: convert(one, text, fields[one]) for one, text in texts.items() if one in set(fields) - set(known)}
    if os.path.isfile(others.get("weights", "")):  # a notebook runs elsewhere
        others["weights"] = os.path.abspath(others["weights"])
    if "training" in known and others:
        given["training"] = given.get("training", known["training"]) | others
    if twice := sorted(set(given.get("training", ())) & set(known)):
        raise RunError(f'training={given["training"]} holds {twice[0]}, a parameter of {name}: PARAMS="{twice[0]}=..."')
    return given


def named_texts(given: list[str]) -> dict[str, str]:
    """Names and texts of `name=value`, as they stand on the command line."""
    if bad := [text for text in given if not re.fullmatch(r"\w+=.*", text, re.DOTALL)]:
        raise RunError(f"a parameter is written name=value, without a space around =, not {bad[0]!r}")
    return dict(text.split("=", 1) for text in given)


def training_parameters(given: list[str]) -> dict:
    """Values for fields of `asxai.Config`, from `name=value`."""
    texts, fields = named_texts(given), parameter_defaults()
    if unknown := [name for name in texts if name not in fields]:
        raise RunError(f"no parameter {unknown[0]}. {likely(unknown[0], fields)}Known: {', '.join(fields)}")
    return {name: convert(name, text, fields[name]) for name, text in texts.items()}


def parameter_defaults() -> dict:
    """Name and default of each field of `asxai.Config` that a notebook does not give itself."""
    from asxai.config import Config  # imports torch

    return {name: field.default for name, field in Config.__dataclass_fields__.items() if name != "data_set"}


def check_input(data_set: str, parameters: dict) -> str:
    """The fingerprint of a folder's pictures, and nothing for other data sets.

    Raises RunError for pictures, points, parameters of training, a device or a file of names that cannot be used: a
    kernel would take half a minute to say so.
    """
    from asxai.concepts.names import names_file, read_names
    from asxai.concepts.points import part_points
    from asxai.config import Config
    from asxai.data.datasets import load_data_set
    from asxai.data.pictures import DataError
    from asxai.model.recipe import build_model, usable_device

    name, training, pictures = data_set, parameters.get("training", {}), ""
    fields = {field: parameters[field] for field in Config.__dataclass_fields__ if field in parameters}
    try:
        config = Config.of(data_set, **fields | training)
        if training:  # stages of a backbone are known to the backbone alone
            build_model(config, classes=2, load_weights=False)
        usable_device(parameters.get("device", "cpu"))
        if data_set not in MENAGERIE:  # what is drawn is drawn where it is used
            data = load_data_set(data_set)
            name, pictures = data.name, data.fingerprint if os.path.isabs(data_set) else ""
            part_points(data.train)
        if names_file(name).exists():
            read_names(names_file(name))
    except (DataError, ValueError, TypeError) as error:
        raise RunError(str(error)) from error
    return pictures


def convert(parameter: str, text: str, default):
    """The text from the command line as a value of the default's type."""
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text.capitalize() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        value = text
    if default is None:
        return value
    wanted = type(default)
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted in (list, tuple) and type(value) in (list, tuple):
        return list(value)  # papermill has no literal for a tuple
    if wanted in (int, float) and type(value) is wanted and value < 0 <= default:
        raise RunError(f"parameter {parameter}={text} should not be below 0")
    if type(value) is not wanted:
        like = EXAMPLES.get(parameter, repr(default))
        raise RunError(f"parameter {parameter}={text} should be of type {wanted.__name__}, like {like}")
    return value
