"""A study's folder: what is written there when it is trained, and read when it is loaded.

It holds `model.safetensors` (all weights), `study.json` (configuration, hashes, classes, metrics), `log.csv` (a row per
step of training) and `prototypes.csv` (a row per basis vector: the patch that it became).
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from safetensors import SafetensorError

from .. import paths
from ..cache import digest_of, key_of, load_tensors, save_tensors
from ..config import Config
from ..model.backbones import WeightsError
from ..model.foreign import Foreign, kept_state
from ..model.recipe import saved_model, usable_device

if TYPE_CHECKING:
    from ..study import Study

FORMAT = 1  # of study.json; raised when older folders can no longer be read


def check_place(folder: Path, data_set: str):
    """Raises ValueError where a study must not be kept: among the pictures, or in a folder of other things."""
    if Path(data_set).is_dir() and folder.resolve().is_relative_to(Path(data_set).resolve()):
        raise ValueError(f"folder={str(folder)!r} is among the pictures of {data_set}; give a place outside")
    there = sorted(path.name for path in folder.glob("[!.]*"))
    if there and not {"study.json", "checkpoint.safetensors", "model.safetensors"} & set(there):
        raise ValueError(f"folder={str(folder)!r} holds no study but {there[0]!r}; give a new or an empty one")


def write(study: "Study"):
    """Write a study to its folder; study.json comes last, for its presence says that the study is complete."""
    state = kept_state(study.model, study.config.weights) | {"basis_before": study.basis_before}
    notes = {
        "format": FORMAT,
        "config": dataclasses.asdict(study.config),
        "class_names": list(study.class_names),
        "backbone_fingerprint": study.model.backbone.fingerprint(),
        "torch": torch.__version__,
        "metrics": study.metrics,
    }
    if isinstance(study.model.backbone, Foreign):
        notes["network"] = study.model.backbone.needs()
    save_tensors(study.folder / "model.safetensors", state)
    for name, table in (("log.csv", study.log), ("prototypes.csv", study.prototypes)):
        paths.write_atomically(study.folder / name, lambda path: table.to_csv(path, index=False))
        notes[name] = digest_of(study.folder / name)
    text = json.dumps(notes | {"checksum": key_of(json.dumps(notes, sort_keys=True))}, indent=1)
    paths.write_atomically(study.folder / "study.json", lambda path: path.write_text(text, encoding="utf-8"))


def read(folder: Path, device, moved: dict, backbone: torch.nn.Module | None) -> tuple:
    """The fields of a `Study` up to its folder. Raises `WeightsError` that says what is wrong.

    moved: parameters of its configuration that are others now. backbone: see `Study.load`.
    """
    try:
        path = folder / "study.json"
        notes = json.loads(path.read_text(encoding="utf-8"))
        checksum = notes.pop("checksum", None)
        if checksum not in (None, key_of(json.dumps(notes, sort_keys=True))):
            raise ValueError("its checksum is wrong")
        if notes["format"] != FORMAT:
            raise ValueError(f"format {notes['format']}; this version reads {FORMAT}")
        config, metrics = Config(**notes["config"] | moved), notes["metrics"]
        class_names = tuple(notes["class_names"])
        for path in (folder / "log.csv", folder / "prototypes.csv"):
            if digest_of(path) != notes.get(path.name, digest_of(path)):
                raise ValueError("it is not as it was written")
        # class names stay text: a class may be called 001 or NA
        texts = {"class": str, "source": str}
        prototypes = pd.read_csv(path, dtype=texts, keep_default_na=False)
        log = pd.read_csv(folder / "log.csv")
        path = folder / "model.safetensors"
        state, _ = load_tensors(path)
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); remove {folder} and train the study again") from error
    model = saved_model(config, len(class_names), state, backbone)
    before = state.pop("basis_before")
    ours, theirs = ({k: tuple(v.shape) for k, v in s.items()} for s in (model.state_dict(), state))
    if ours != theirs:
        odd = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
        raise WeightsError(
            f"{path} does not fit study.json beside it: {len(odd)} tensors differ, the first is "
            f"{odd[0]} ({theirs.get(odd[0])} in the file, {ours.get(odd[0])} expected)"
        )
    model.load_state_dict(state)
    model = model.to(usable_device(device)).eval()
    return config, model, class_names, metrics, log, prototypes, before
