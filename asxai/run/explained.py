"""What `asxai explain` keeps in its folder: a folder for each picture, and a table with a row for each of these."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from asxai import paths

from .plan import RunError

if TYPE_CHECKING:
    from ..study import Study

COLUMNS = ("file", "predicted", "probability", "tier", "score", "sentence")


def study_key(study: "Study") -> str:
    """Which study an explanation is of: the same for a study's folder, wherever it lies, and for a file of it."""
    from asxai.cache import key_of

    return key_of(study.model.basis_vectors.detach().cpu().numpy().tobytes(), study.config.key())[:12]


def read_rows(out: Path, study: str) -> dict[str, dict]:
    """A row for each picture that was explained into a folder before, by the name of its folder in there.

    study: `study_key` of the study that explains now. Explanations of an older version, which do not say what study
    they are of, have no row. Raises RunError where one is of another study.
    """
    rows = {}
    for file in sorted(out.rglob("explanation.json")):
        values = read(file.parent)
        if values.get("study", study) != study:
            raise RunError(
                f"{out} holds explanations by another study, such as {file.parent}; give another place, or remove it"
            )
        if "study" in values and (row := row_of(values)):
            rows[file.parent.relative_to(out).as_posix()] = row
    return rows


def read(folder: Path) -> dict:
    """The values of an explanation; nothing where there is none."""
    try:
        values = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    except (OSError, ValueError):
        return {}


def row_of(values: dict) -> dict:
    """The row of an explanation in the table; nothing where values are missing."""
    try:
        row = {name: values[name] for name in COLUMNS}
        if values["assurance"]:
            row["assurance"] = values["assurance"]
        if network := values["network"]:
            row |= {"network_predicted": network["predicted"], "network_probability": network["probability"]}
        return row
    except (LookupError, TypeError):
        return {}


def write_table(out: Path, rows: dict[str, dict]) -> Path:
    """Write a row each into `explanations.csv`; its path."""
    import pandas as pd

    table, path = [{"folder": folder} | row for folder, row in rows.items()], out / "explanations.csv"
    text = pd.DataFrame(table).to_csv(index=False)
    paths.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
