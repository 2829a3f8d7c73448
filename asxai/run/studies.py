"""The studies in `runs/studies`, and which of them is meant."""

import json
import time
from pathlib import Path

from asxai import paths

from .parameters import parameter_defaults
from .plan import RunError, likely


def known_studies() -> list[dict]:
    """What lies in `runs/studies`, the newest last: `name`, `folder`, `state`, and what its study.json says.

    `parameters` are those that are not the defaults of `asxai.Config`.
    """
    found = []
    for folder in sorted((paths.RUNS / "studies").glob("[!.]*/"), key=lambda folder: folder.stat().st_mtime):
        row = {"name": folder.name, "folder": str(folder), "state": "not finished"}
        try:
            notes = json.loads((folder / "study.json").read_text(encoding="utf-8"))
            config, metrics = notes["config"], notes["metrics"]
            row |= {"data_set": config["data_set"], "classes": notes["class_names"], "backbone": config["backbone"]}
            row |= {"parameters": changed(config), "data_fingerprint": metrics.get("data_fingerprint")}
            row |= {"test_accuracy": metrics["test_accuracy"]}
            row |= {"state": time.strftime("%Y-%m-%d %H:%M", time.localtime((folder / "study.json").stat().st_mtime))}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            row["state"] = "damaged"
        found.append(row)
    return found


def changed(config: dict) -> dict:
    """The parameters of a study that are not the defaults, apart from where its pictures and features lie."""
    defaults = parameter_defaults()
    return {name: value for name, value in config.items() if name != "cache_gb" and defaults.get(name, value) != value}


def parameters_in_words(row: dict) -> str:
    """The parameters of a study that are not the defaults."""
    given = row["parameters"].items()
    return " ".join(f"{name}={Path(v).name if name == 'weights' else v}" for name, v in given) or "all defaults"


def find_study(text: str) -> tuple[Path, Path | None]:
    """The folder or file of a study: as a path, by the pictures it was trained on, or by the beginning of its name.

    With it, the folder that its pictures are in now, where it was found by their content: they were moved, or copied.
    Raises RunError where none is meant, or several may be.
    """
    if not text:
        raise RunError("STUDY is empty. Give a study: `asxai studies` lists them")
    given = Path(text).expanduser()
    if given.is_file() or (given / "study.json").exists() or (given / "checkpoint.safetensors").exists():
        return given, None
    known = {row["name"]: row for row in known_studies()}
    pictures = next((place.resolve() for place in (given, paths.DATA / given) if place.is_dir()), None)
    meant = [name for name, row in known.items() if pictures and _place(row) == pictures]
    # as training does it: a study is that of its pictures, wherever they are; by content, a place that was used twice
    # has one study again
    alike = _by_content(pictures, known) if pictures and len(meant) != 1 else []
    meant = alike or meant or [name for name in known if name == text]
    meant = meant or [name for name in known if name.startswith(text)]
    if len(meant) == 1:
        row = known[meant[0]]
        return Path(row["folder"]), pictures if alike and _place(row) != pictures else None
    if meant:
        # by the day, too: what an older version trained has the same parameters
        said = lambda row: f", {parameters_in_words(row)}" if "parameters" in row else ""
        one_of = " or ".join(f"{name} ({known[name]['state']}{said(known[name])})" for name in meant)
        raise RunError(f"{text!r} may be {one_of}. Give the name of one; `asxai studies` says more")
    train = f"`asxai train {text}` makes one" if pictures else "`asxai train FOLDER` makes one"
    raise RunError(
        f"no study {text!r}: no folder or file of one, and none of `asxai studies`. {likely(text, known)}{train}"
    )


def _place(row: dict) -> Path | None:
    """Where the training pictures of a study were."""
    return (paths.DATA / row["data_set"]).resolve() if "data_set" in row else None


def _by_content(pictures: Path, known: dict[str, dict]) -> list[str]:
    """The studies that were trained on the pictures that are in a folder now."""
    from asxai.data.datasets import data_set_names, load_data_set
    from asxai.data.pictures import DataError

    # nothing is drawn or fetched to find out
    if pictures.parent == paths.DATA.resolve() and pictures.name in data_set_names() or not known:
        return []
    try:
        fingerprint = load_data_set(pictures).fingerprint
    except DataError:  # photographs to explain, say
        return []
    return [name for name, row in known.items() if row.get("data_fingerprint") == fingerprint]
