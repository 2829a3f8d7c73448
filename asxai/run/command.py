"""Train, explain, report and hand on from the shell.

    python -m asxai train FOLDER                                a study of a folder of pictures per class
    python -m asxai explain STUDY PICTURES... --out FOLDER      masks, polygons and numbers of each picture
    python -m asxai report STUDY PICTURES... --out report.html  one page with everything, to be sent
    python -m asxai export STUDY pets.zip                       the study as a file, without its training pictures
    python -m asxai studies                                     what there is

Exit codes: 0 all went well, 1 some pictures could not be read (the others are done), 2 nothing can be done as asked,
130 stopped. A call that was stopped goes on where it was when it is made again.
"""

import argparse
import glob
import json
import os
import sys
import time
from pathlib import Path
from traceback import walk_tb

from asxai import paths

from .kernel import MEMORY
from .parameters import training_parameters
from .plan import PACKAGE, RunError, likely, short

# --- Studies and pictures that are meant -----------------------------------------------------------------------------


def known_studies() -> list[dict]:
    """What lies in `runs/studies`, the newest last: `name`, `folder`, `state`, and what its study.json says."""
    found = []
    for folder in sorted((paths.RUNS / "studies").glob("[!.]*/"), key=lambda folder: folder.stat().st_mtime):
        row = {"name": folder.name, "folder": str(folder), "state": "not finished"}
        try:
            notes = json.loads((folder / "study.json").read_text(encoding="utf-8"))
            row |= {"data_set": notes["config"]["data_set"], "classes": notes["class_names"]}
            row |= {"test_accuracy": notes["metrics"]["test_accuracy"], "backbone": notes["config"]["backbone"]}
            row |= {"state": time.strftime("%Y-%m-%d %H:%M", time.localtime((folder / "study.json").stat().st_mtime))}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, LookupError, TypeError):
            row["state"] = "damaged"
        found.append(row)
    return found


def find_study(text: str) -> Path:
    """The folder or file of a study: as a path, by the beginning of its name, or by the pictures it was trained on."""
    given = Path(text).expanduser()
    if given.is_file() or (given / "study.json").exists() or (given / "checkpoint.safetensors").exists():
        return given
    known = {row["name"]: row for row in known_studies()}
    meant = [name for name, row in known.items() if given.is_dir() and row.get("data_set") == str(given.resolve())]
    meant = meant or [name for name in known if name == text] or [name for name in known if name.startswith(text)]
    if len(meant) == 1:
        return Path(known[meant[0]]["folder"])
    if meant:
        raise RunError(f"{text!r} may be {' or '.join(meant)}. Give one of these; `asxai studies` says more")
    train = f"`asxai train {text}` makes one" if given.is_dir() else "`asxai train FOLDER` makes one"
    raise RunError(
        f"no study {text!r}: no folder or file of one, and none of `asxai studies`. {likely(text, known)}{train}"
    )


def open_study(given):
    from asxai.study import Study

    path = find_study(given.study)
    return Study.open(path, given.device) if path.is_file() else Study.load(path, given.device, given.data)


def explaining_study(given):
    """The study with what is asked of its explanations."""
    from asxai.explain.explainer import Explainer

    study = open_study(given)
    study.explainer = Explainer(study, calibrated=given.calibrated, importance=given.importance)
    return study


def find_pictures(given: list[str], out: Path) -> dict[Path, str]:
    """The picture files that files, folders and patterns mean, each with a name of its own for what is made of it.

    A folder is looked through with all in it, apart from hidden files and what lies in `out`. Raises RunError for
    what is not there, and for a folder or pattern without pictures.
    """
    from asxai.cache import key_of
    from asxai.data.folders import SUFFIXES

    found = {}
    for text in given:
        place = Path(text).expanduser()
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            names = {path: path.relative_to(place) for path in inside}
            names = {path: name.as_posix() for path, name in names.items() if not any(p[0] == "." for p in name.parts)}
        else:
            files = [place] if place.exists() else map(Path, sorted(glob.glob(str(place), recursive=True)))
            names = {path: path.name for path in files if path.is_file()}
        names = {path: name for path, name in names.items() if out.resolve() not in path.resolve().parents}
        if not names:
            what = f"no picture in it ({', '.join(SUFFIXES)})" if place.is_dir() else "no such file"
            raise RunError(f"{text}: {what}. Give files, folders of pictures, or patterns such as 'photos/*.jpg'")
        found |= {path: name for path, name in names.items() if path not in found}
    if problem := next(filter(None, map(paths.unreadable, found)), ""):
        raise RunError(problem)
    counts = {}
    for name in found.values():
        counts[name] = counts.get(name, 0) + 1
    return {p: name if counts[name] == 1 else f"{key_of(str(p.resolve()))[:8]}-{name}" for p, name in found.items()}


def place(text: str, kind: str, begins: bytes = b"") -> Path:
    """Where the result goes, a "file" or a "folder". Raises RunError, before anything is done, where the other is.

    begins: how our files begin; one that does not is somebody else's, and not written over
    """
    path = Path(text).expanduser()
    if path.exists() and path.is_dir() != (kind == "folder"):
        raise RunError(f"{text} is a {'file' if kind == 'folder' else 'folder'}; give a {kind} to write to")
    if path.is_file() and path.stat().st_size:
        with open(path, "rb") as file:
            if file.read(len(begins)) != begins:
                raise RunError(f"{text} is there already and was not written by asxai; give another name, or remove it")
    return path


def explained(study, files, percentile: float, failed: dict, desc: str):
    """Each picture with its explanation; one that cannot be read goes into `failed` instead, with the reason."""
    from asxai.data.pictures import DataError
    from asxai.progress import bar

    for file, one in zip(bar(files, desc=desc), study.explainer.stream(files, percentile)):
        if isinstance(one, DataError):
            failed[str(file)] = str(one)
        else:
            yield file, one


# --- Commands: each gives what `--json` prints, and lines for a reader -----------------------------------------------


def train(given) -> tuple[dict, list[str]]:
    from asxai.study import Study

    out = given.out and place(given.out, "folder")
    study = Study.train(given.folder, folder=out, device=given.device, **training_parameters(given.parameters))
    counts = {name: len(split) for name, split in study.data.splits.items()}
    result = {"study": str(study.folder), "classes": list(study.class_names), "pictures": counts}
    result |= {"test_accuracy": study.metrics["test_accuracy"], "notes": list(study.data.notes)}
    lines = [f"{len(study.class_names)} classes; pictures: {', '.join(f'{n} {name}' for name, n in counts.items())}"]
    lines += [f"{100 * study.metrics['test_accuracy']:.1f} % of test pictures are right", *study.data.notes]
    if given_network := study.metrics.get("test_network"):
        result |= {"network": given_network}
        right, agreed = (f"{100 * given_network[name]:.1f} %" for name in ("accuracy", "agreement"))
        lines.insert(2, f"the given network: {right} are right, and {agreed} are decided as it decides them")
    return result, [*lines, f"study: {short(study.folder)}"]


def explain(given) -> tuple[dict, list[str]]:
    import pandas as pd

    from asxai.cache import code_hash, digest_of, key_of

    out, failed, rows, keys = place(given.out, "folder"), {}, {}, {}
    names = find_pictures(given.pictures, out)
    study = explaining_study(given)
    scores = study.explainer.scores.table().to_csv() + study.explainer.concepts.table().to_csv()
    basis = study.model.basis_vectors.detach().cpu().numpy().tobytes()
    asked = (given.percentile, given.panels, given.calibrated)
    made_by = key_of(scores, basis, study.config.key(), *asked, code_hash("explain"))
    for file, name in names.items():
        keys[file] = key_of(made_by, digest_of(file) if os.access(file, os.R_OK) else "")
        if kept := _kept(out / name, keys[file]):
            rows[file] = kept
    before, waiting = len(rows), [file for file in names if file not in rows]
    for file, one in explained(study, waiting, given.percentile, failed, "explaining"):
        one.save(out / names[file], drawn=given.panels, file=str(file), made_from=keys[file])
        rows[file] = _kept(out / names[file], keys[file])
    table = [{"folder": names[file]} | rows[file] for file in names if file in rows]
    text = pd.DataFrame(table).to_csv(index=False)
    paths.write_atomically(out / "explanations.csv", lambda path: path.write_text(text, encoding="utf-8"))
    again = f", {before} of them before" if before else ""
    return {"out": str(out), "pictures": table, "failed": failed}, [
        f"{_pictures(len(table))} explained{again}: {short(out)}, a row each in {short(out / 'explanations.csv')}"
    ]


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _kept(folder: Path, key: str) -> dict | None:
    """The row of a picture that was explained already with this key."""
    try:
        values = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
        columns = ("file", "predicted", "probability", "tier", "score", "sentence")
        if values["made_from"] != key:
            return None
        row = {name: values[name] for name in columns}
        if promise := values["assurance"]:
            row["promise"] = promise
        if network := values["network"]:
            row |= {"network_predicted": network["predicted"], "network_probability": network["probability"]}
        return row
    except (OSError, ValueError, LookupError, TypeError):
        return None


def report(given) -> tuple[dict, list[str]]:
    from .report import write_report

    out, failed = place(given.out, "file", b"<!doctype html>"), {}
    names = find_pictures(given.pictures, out)
    study = explaining_study(given)
    pictures = explained(study, list(names), given.percentile, failed, "explaining")
    count = write_report(out, study, ((names[file], one) for file, one in pictures), len(names), failed)
    size = f"{out.stat().st_size / 10**6:.1f} MB"
    return {"out": str(out), "pictures": count, "failed": failed}, [f"{_pictures(count)} in {short(out)}, {size}"]


def export(given) -> tuple[dict, list[str]]:
    out = place(given.out, "file", b"PK")
    open_study(given).export(out, given.exemplars)
    holds = "with its training pictures, small" if given.exemplars else "without training pictures"
    return {"out": str(out)}, [f"{short(out)}: {out.stat().st_size / 10**6:.1f} MB, {holds}"]


def studies(given) -> tuple[dict, list[str]]:
    found, lines = known_studies(), []
    for row in found:
        line = f"{row['name']}  {row['state']}"
        if "classes" in row:
            line += f"  {len(row['classes'])} classes, {100 * row['test_accuracy']:.1f} % right, {row['backbone']}"
            line += f", {row['data_set']}"
        lines.append(line)
    return {"studies": found}, lines or [f"none in {short(paths.RUNS / 'studies')}; `asxai train FOLDER` makes one"]


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="asxai", description=__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, words, *arguments):
        one = commands.add_parser(function.__name__, help=words, description=words)
        for argument, options in arguments:
            one.add_argument(argument, **options)
        one.add_argument("--json", action="store_true", help="print the result as JSON, errors too")
        one.set_defaults(function=function)
        return one

    device = ("--device", dict(default="cpu", help="cpu, cuda or mps"))
    study = "a study: its folder, a file of `export`, (the beginning of) its name, or the pictures it was trained on"
    of_study = ("study", dict(metavar="STUDY", help=study))
    data = ("--data", dict(metavar="FOLDER", help="where the training pictures are now, if they were moved"))
    pictures = ("pictures", dict(nargs="+", metavar="PICTURES", help="files, folders, or patterns in quotes"))
    percent = dict(type=float, default=95.0, metavar="N", help="of an activation map, above which its mask lies: 95")
    promise = dict(action="store_true", help="tiers that say what they promise, by validation pictures")
    weigh = dict(default="rank", metavar="KIND", help="what weighs concepts: rank (as in the paper), none or sobol")
    asked = (("--percentile", percent), ("--calibrated", promise), ("--importance", weigh))
    looking = (of_study, pictures, data, device, *asked)
    parameter = dict(action="append", default=[], metavar="NAME=VALUE", help="a field of Config, such as size=224")
    place = dict(metavar="FOLDER", help="where the study is kept; default: below runs/studies")
    folder = ("folder", dict(metavar="FOLDER", help="a folder of pictures per class, or a registered name"))
    one = command(train, "train a study, or load it if it is there", folder, ("--out", place), device)
    one.add_argument("-p", "--parameter", dest="parameters", **parameter)
    out = ("--out", dict(required=True, metavar="FOLDER", help="each picture gets a folder in it"))
    panels = ("--panels", dict(action="store_true", help="also draw a panel and the whole picture: half a second each"))
    command(explain, "write masks, polygons and numbers of each picture", *looking, out, panels)
    page = ("--out", dict(default="report.html", metavar="FILE", help="default: report.html"))
    command(report, "write one HTML page about all pictures, which can be sent", *looking, page)
    file = ("out", dict(metavar="FILE", help="such as pets.zip"))
    small = ("--exemplars", dict(action="store_true", help="put training pictures in, 128 pixels small"))
    command(export, "write a study to one file, for others to explain with", of_study, file, small, data, device)
    command(studies, "list the studies in runs/studies")
    return parser


# --- Errors ----------------------------------------------------------------------------------------------------------


def users_mistake(error: BaseException) -> str:
    """What a user can mend, in words; empty for an error of the program, which needs its traceback."""
    import torch

    from asxai.model.backbones import WeightsError

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return MEMORY
    if isinstance(error, OSError) and error.errno:
        return f"{error}. Make room or allow it; the same call then goes on where it was"
    *_, (frame, _) = walk_tb(error.__traceback__)
    ours = PACKAGE in Path(frame.f_code.co_filename).parents
    checked = isinstance(error, RunError | WeightsError) or ours and isinstance(error, ValueError | TypeError | OSError)
    return str(error) if checked else ""


def main(arguments=None) -> int:
    given = _parser().parse_args(arguments)
    try:
        result, lines = given.function(given)
        print(json.dumps(result, indent=1) if given.json else "\n".join(lines))
        failed = result.get("failed", {})
        for reason in failed.values():
            print(f"asxai: {reason}", file=sys.stderr)
        sys.stdout.flush()
        return 1 if failed else 0
    except KeyboardInterrupt:
        print("stopped; the same call goes on where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:  # nobody reads on, as behind `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not (words := users_mistake(error)):
            raise
        if given.json:
            print(json.dumps({"error": words}))
        print(f"asxai: {words}", file=sys.stderr)
        return 2
