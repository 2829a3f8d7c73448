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
import json
import os
import sys
from pathlib import Path
from traceback import walk_tb

from asxai import paths

from . import explained
from .kernel import MEMORY
from .parameters import training_parameters
from .pictures import check_outside, find_pictures, place
from .plan import PACKAGE, RunError, short
from .studies import find_study, known_studies, parameters_in_words

PAGES = (".html", ".htm")
MANY = 100  # pictures from which on a share of them is said as a percentage

# --- What several commands do ----------------------------------------------------------------------------------------


def open_study(given):
    from asxai.study import Study

    path, moved = find_study(given.study)
    if path.is_file():
        return Study.open(path, given.device)
    return Study.load(path, given.device, given.data or moved)


def open_outside(given, out: Path):
    """The study, for a result that goes to a place outside of its training pictures."""
    study = open_study(given)
    check_outside(out, study)
    return study


def ask(study, given):
    """Give the study what is asked of its explanations."""
    from asxai.explain.explainer import Explainer

    study.explainer = Explainer(study, calibrated=given.calibrated, importance=given.importance)


def explanations(study, files, percentile: float, failed: dict, desc: str):
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
    count, many = counts["test"], counts["test"] >= MANY
    share = lambda value: f"{100 * value:.1f} %" if many else f"{round(value * count)} of {count}"
    lines.append(f"{share(study.metrics['test_accuracy'])}{' of' if many else ''} test pictures are right")
    lines += study.data.notes
    if given_network := study.metrics.get("test_network"):
        result |= {"network": given_network}
        right, agreed = (share(given_network[name]) for name in ("accuracy", "agreement"))
        lines.insert(2, f"the given network: {right} are right, and {agreed} are decided as it decides them")
    return result, [*lines, f"study: {short(study.folder)}"]


def explain(given) -> tuple[dict, list[str]]:
    from asxai.cache import code_hash, digest_of, key_of

    out, failed, waiting = place(given.out, "folder"), {}, {}
    names = find_pictures(given.pictures, out)
    study = open_outside(given, out)
    by = explained.study_key(study)
    rows = explained.read_rows(out, by)
    ask(study, given)
    scores = study.explainer.scores.table().to_csv() + study.explainer.concepts.table().to_csv()
    made_by = key_of(by, scores, given.percentile, given.calibrated, code_hash("explain"))
    for file, name in names.items():
        key = key_of(made_by, digest_of(file) if os.access(file, os.R_OK) else "")
        there = explained.read(out / name)
        # what was drawn is as good as ever when it is not asked for again
        if name not in rows or there.get("made_from") != key or given.panels and not there.get("panels"):
            waiting[file] = key
    notes = {"study": by, "panels": given.panels}
    for file, one in explanations(study, list(waiting), given.percentile, failed, "explaining"):
        one.save(out / names[file], drawn=given.panels, file=str(file), made_from=waiting[file], **notes)
        rows[names[file]] = explained.row_of(explained.read(out / names[file]))
    asked = {name: rows.pop(name) for file, name in names.items() if str(file) not in failed}
    table = explained.write_table(out, asked | rows)
    again = f", {len(names) - len(waiting)} of them before" if len(waiting) < len(names) else ""
    others = f", and for {len(rows)} explained there earlier" if rows else ""
    return {"out": str(out), "pictures": [{"folder": name} | row for name, row in asked.items()], "failed": failed}, [
        f"{_pictures(len(asked))} explained{again}: {short(out)}, a row each in {short(table)}{others}"
    ]


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def report(given) -> tuple[dict, list[str]]:
    from .report import write_report

    out, failed = place(given.out, "file", b"<!doctype html>"), {}
    if out.suffix.lower() not in PAGES:
        raise RunError(f"--out {given.out}: the report is an HTML page; give a name that ends in {PAGES[0]}")
    names = find_pictures(given.pictures, out)
    study = open_outside(given, out)
    ask(study, given)
    pictures = explanations(study, list(names), given.percentile, failed, "explaining")
    count = write_report(out, study, ((names[file], one) for file, one in pictures), len(names), failed)
    size = f"{out.stat().st_size / 10**6:.1f} MB"
    return {"out": str(out), "pictures": count, "failed": failed}, [f"{_pictures(count)} in {short(out)}, {size}"]


def export(given) -> tuple[dict, list[str]]:
    out = place(given.out, "file", b"PK")
    open_outside(given, out).export(out, given.exemplars)
    holds = "with its training pictures, small" if given.exemplars else "without training pictures"
    return {"out": str(out)}, [f"{short(out)}: {out.stat().st_size / 10**6:.1f} MB, {holds}"]


def studies(given) -> tuple[dict, list[str]]:
    found, lines = known_studies(), []
    for row in found:
        line = f"{row['name']}  {row['state']}"
        if "classes" in row:
            line += f"  {len(row['classes'])} classes, {100 * row['test_accuracy']:.1f} % right, {row['backbone']}"
            line += f", {row['data_set']}, {parameters_in_words(row)}"
        lines.append(line)
    return {"studies": found}, lines or [f"none in {short(paths.RUNS / 'studies')}; `asxai train FOLDER` makes one"]


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="asxai", description=__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(metavar="COMMAND")

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
    out = ("--out", dict(required=True, metavar="FOLDER", help="each picture gets a folder in it; made if need be"))
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
    parser = _parser()
    given = parser.parse_args(arguments)
    if "function" not in given:
        parser.print_help()
        return 2  # as argparse for a call that lacks something
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
