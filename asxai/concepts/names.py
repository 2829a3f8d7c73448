"""Names of concepts: by true parts where a data set has part masks, else from a file that a person fills in.

`study_concepts` finds a study's concepts and gives them their names; `names_file` is where a person writes them.
"""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import paths
from ..cache import code_hash, digest_of, kept_json
from ..data.datasets import Split
from ..data.folders import tail
from ..model.parts import Objectness
from ..statistics import evenly
from .cells import backbone_maps, own_class_maps, part_iou, true_parts
from .concepts import Concepts, Exemplars, default_names
from .grouping import find_concepts
from .points import part_points, points_file
from .turning import turned_maps

if TYPE_CHECKING:
    from ..study import Study

LEAST_IOU = 0.05  # of a concept and a part that may name it
LOOKED_AT = 1000  # pictures that concepts are found on
MOST = 0.5  # share of the points that a concept wins, from which on their part may name it
BORNE_OUT = 0.8  # share of a class's pictures in which a name must be true, or it is not used there
SMALLEST_PART = 40  # pixels: fewer are not seen
UNDER = 0.5  # share of the smaller of mask and part that both cover
FORMAT = 1  # of the file of names
HOW = (
    "Write what each concept shows between the quotes after its name. The figures of concepts (02_concepts_... and "
    "10_concepts_...) have them by number. A name may stand twice; one that stays empty is none."
)
LISTED = 4  # sources of a concept's exemplars in that file


def study_concepts(study: "Study") -> Concepts:
    """Concepts of a study, found once and kept in its folder as `concepts.json`.

    Names come from the part masks of validation pictures where the data set has any, else from `names_file`. That is
    written the first time, with names that part points of training pictures suggest, or empty ones without points; and
    again when the points have changed, unless a person has changed the names.
    """
    concepts, path, train = found_concepts(study), names_file(study.data.name), looked_at(study)
    if named_by_parts(study):
        return concepts
    points = points_file(study.data.train)
    points = digest_of(points) if points else ""
    if not path.exists() or points and _of_other_points(path, points):
        write_names_file(study, concepts, suggested_names(study, concepts), points)
    winners = concepts.winners(own_class_maps(study, train), train.labels)
    return concepts.renamed(names_from_file(path, winners, train.hashes, concepts.count))


def looked_at(study: "Study") -> Split:
    """Training pictures that concepts are found on: all, or of more `LOOKED_AT`, spread evenly over classes."""
    train, classes = study.data.train, len(study.class_names)
    if len(train) <= LOOKED_AT:
        return train
    members = (np.flatnonzero(train.labels == label) for label in range(classes))
    return train.take(np.concatenate([its[evenly(len(its), max(1, LOOKED_AT // classes))] for its in members]))


def named_by_parts(study: "Study") -> bool:
    """Whether part masks of its data set give a study's concepts their names, and no person."""
    return study.data.validation.parts is not None


def found_concepts(study: "Study") -> Concepts:
    """`study_concepts` without names that a person gave, and without a file for them."""

    def found():
        train, validation = looked_at(study), study.data.validation
        activations, features = own_class_maps(study, train), backbone_maps(study, study.features(train)[0])
        objects = Objectness(features, train.paths)(features)
        turned = turned_maps(study, train)
        concepts = find_concepts(activations, train.labels, features, objects, study.class_names, turned)
        if named_by_parts(study):
            winners = concepts.winners(own_class_maps(study, validation), validation.labels)
            parts, names = true_parts(validation)[1], study.data.part_names
            concepts = concepts.renamed(name_by_parts(winners, parts, names, concepts.count))
            concepts = true_somewhere(replace(concepts, by_class=names_by_class(study, concepts)))
        return concepts.to_dict()

    return Concepts.from_dict(kept_json(study.folder / "concepts.json", code_hash("concepts"), found))


# --- By parts --------------------------------------------------------------------------------------------------------


def name_by_parts(winners: np.ndarray, parts: np.ndarray, part_names, count: int) -> tuple:
    """Names of concepts 1..count, from pictures with part masks that are used for nothing else.

    winners, parts: the concept that wins and the true part of each cell, `(picture, cells, cells)`, 0 is background.
    part_names[k - 1] is the name of part k.

    A concept takes the part of the highest intersection over union (`part_iou`, pooled over all pictures). Where two
    take the same, the better is called by it and the other "<part> 2"; below 0.05 it stays "concept k".
    """
    one_class = np.zeros(len(winners), np.int64)
    iou = np.nan_to_num(part_iou(winners, parts, one_class, count, len(part_names))[0])  # (concept, part)
    best = iou.max(axis=1)
    return _numbered([part_names[p] if b >= LEAST_IOU else "" for p, b in zip(iou.argmax(axis=1), best)], best)


def names_by_class(study: "Study", concepts: Concepts) -> dict:
    """What concepts are called in classes whose validation pictures do not bear their names out: `Concepts.by_class`.

    A concept is named once for all classes, after the part that it meets most. In one of them it may lie elsewhere. If
    pictures bear out the part that it meets most there, it has that name, with the next free number; else "concept k".
    """
    split, part_names, found, given = study.data.validation, study.data.part_names, {}, {}
    maps, parts = own_class_maps(study, split), split.part_masks(study.config.size)
    masks, winners = concepts.masks(maps, split.labels, study.config.size).numpy(), concepts.winners(maps, split.labels)
    iou = part_iou(winners, true_parts(split)[1], split.labels, concepts.count, len(part_names))
    taken, plain, best = set(concepts.names), default_names(concepts.count), np.nan_to_num(iou).argmax(axis=2)

    def true(k, part, own):
        return np.mean([lies_on(masks[i, k - 1], parts[i] == part) for i in own]) >= BORNE_OUT

    for label in np.unique(split.labels).tolist():
        own = np.flatnonzero(split.labels == label)
        for k in concepts.of_class(label).tolist():
            number, part = part_number(concepts.names[k - 1], part_names), int(best[label, k - 1]) + 1
            if not number or true(k, number, own):
                continue
            found[label, k] = plain[k - 1]
            if true(k, part, own):
                if (k, part) not in given:
                    given[k, part] = _free(part_names[part - 1], taken)
                    taken.add(given[k, part])
                found[label, k] = given[k, part]
    return found


def true_somewhere(concepts: Concepts) -> Concepts:
    """The same concepts; one whose name is true in no class is called what most of its classes call it."""
    names, by_class = list(concepts.names), dict(concepts.by_class)
    for k, name in enumerate(concepts.names, 1):
        labels = [label for label in range(len(concepts.members)) if k in concepts.of_class(label)]
        called = [concepts.names_in(label)[k - 1] for label in labels]
        if name not in called:
            names[k - 1] = max(dict.fromkeys(called), key=called.count)
            by_class = {place: own for place, own in by_class.items() if own != names[k - 1]}
    return replace(concepts, names=tuple(names), by_class=by_class)


def part_number(name: str, part_names) -> int:
    """Number from 1 of the part that a concept is named after, 0 for none."""
    return next((k for k, part in enumerate(part_names, 1) if is_named_after(name, part)), 0)


def lies_on(mask: np.ndarray, part: np.ndarray) -> bool:
    """Whether a part is there and at least half under a mask, or the mask half on the part; bool `(size, size)`."""
    return part.sum() >= SMALLEST_PART and (mask & part).sum() >= max(1, UNDER * min(mask.sum(), part.sum()))


def suggested_names(study: "Study", concepts: Concepts) -> tuple | None:
    """Names for `names_file` by the part points of training pictures, of `name_by_points`; None without points."""
    train = study.data.train
    points = part_points(train)
    if points is None:
        return None
    counts = points.counts(concepts.winners(own_class_maps(study, train), train.labels), concepts.count)
    return name_by_points(counts.sum(axis=0), points.names)


def name_by_points(counts: np.ndarray, part_names) -> tuple:
    """Names of concepts 1..count as those of `name_by_parts`, from points `(count + 1, part)`; "" for what gets none.

    A concept gets no name if fewer than `MOST` of its points are of one part: a blob of many parts has no word.
    """
    own, won, there = counts[1:], counts[1:].sum(axis=1), counts.sum(axis=0)
    iou = own / (won[:, None] + there - own).clip(1)
    best = iou.argmax(axis=1)
    clear = (won > 0) & (own[np.arange(len(own)), best] >= MOST * won)
    names = _numbered([part_names[p] if c else "" for p, c in zip(best, clear)], iou.max(axis=1))
    return tuple(name if c else "" for name, c in zip(names, clear))


def is_named_after(concept: str, part: str) -> bool:
    """Whether a concept has a part's name, with or without the number that tells it from others of that name."""
    return re.fullmatch(re.escape(part) + r"( \d+)?", concept) is not None


def _numbered(wanted, scores):
    """A name for each concept: the one wanted, "<name> 2" for the second by score, "concept k" where none is wanted."""
    names, taken = list(default_names(len(wanted))), set()
    for k in np.argsort(-np.asarray(scores), kind="stable"):
        if wanted[k]:
            names[k] = wanted[k] if wanted[k] not in taken else _free(wanted[k], taken | set(wanted))
            taken.add(names[k])
    return tuple(names)


def _free(name, taken):
    """A name that is not taken: it, or with the first number from 2 that makes it one."""
    return next(free for n in itertools.count(1) if (free := name if n == 1 else f"{name} {n}") not in taken)


# --- By a person -----------------------------------------------------------------------------------------------------


def names_file(data_set: str) -> Path:
    """Where a person writes the names of concepts, once per data set; made by `study_concepts`."""
    return paths.DATA / "names" / f"{paths.slug(data_set)}.json"


def write_names_file(study: "Study", concepts: Concepts, names=None, points: str = "") -> Path:
    """`names_template` of a study's concepts, in the place of its data set; the file."""
    train = looked_at(study)
    exemplars = concepts.exemplars(own_class_maps(study, train), train.labels)
    sources = [tail(path, 2) for path in train.paths]
    return names_template(names_file(study.data.name), exemplars, train.hashes, sources, names, points)


def _of_other_points(path, points):
    """Whether all names of the file are as other points have suggested them."""
    names = [name for name, _ in read_names(path)]  # first, for it says which file cannot be read
    notes = json.loads(path.read_text(encoding="utf-8"))
    return notes.get("points", points) != points and notes.get("suggested") == names


def names_template(path: Path, exemplars: Exemplars, hashes, sources, names=None, points: str = "") -> Path:
    """Write the file of names, to be filled in by a person, unless it is there and holds a name already; its path.

    hashes, sources: of the pictures, as in `Split`, and what a person calls them
    names: one per concept, to be written whatever the file holds; by default they are empty
    points: a hash of the file of points that suggests these names

    Below a name stands what tells a person which concept it is, its number and the sources of its exemplars, and then
    the exemplars themselves, [hash of the picture, y, x], from 0 to 1: they carry names over to other seeds and grids.
    Raises ValueError if there is a file that cannot be read.
    """
    if names is None and path.exists() and any(name for name, _ in read_names(path)):
        return path
    entries = []
    for k in range(exemplars.pictures.shape[1]):
        there = exemplars.pictures[:, k] >= 0
        pictures, points = exemplars.pictures[:, k][there], exemplars.points[:, k][there].round(4).tolist()
        entry = {
            "name": names[k] if names else "",
            "concept": k + 1,
            "strongest in": [sources[picture] for picture in dict.fromkeys(pictures.tolist())][:LISTED],
            "points": [[hashes[picture], *point] for picture, point in zip(pictures, points)],
        }
        lines = (f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())
        entries.append("{" + ",\n  ".join(lines) + "}")
    notes = {"format": FORMAT, "how": HOW} | ({"points": points, "suggested": list(names)} if points and names else {})
    lines = "".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n" for key, value in notes.items())
    text = "{" + lines + '"concepts": [\n\n' + ",\n\n".join(entries) + "\n\n]}\n"
    paths.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def names_from_file(path: Path, winners: np.ndarray, hashes, count: int) -> tuple:
    """Names of concepts 1..count, from the file of `names_template`.

    winners: `(picture, cells, cells)` for the pictures with these hashes, among them those of the file

    A concept takes the name whose points it wins most often. It stays "concept k" if that is an entry without a name,
    if two are equal, or if it wins none. Two concepts may take the same name: the one of the earlier entry has it, or
    in one entry the one that wins more of its points, and the other is "<name> 2". Raises ValueError as `read_names`.
    """
    entries = read_names(path)
    keys = [name or number for number, (name, _) in enumerate(entries)]  # an entry without a name competes, as itself
    names, position = list(dict.fromkeys(keys)), {picture: i for i, picture in enumerate(hashes)}
    votes, by_entry = np.zeros((count + 1, len(names)), np.int64), np.zeros((count + 1, len(entries)), np.int64)
    for number, (key, (_, points)) in enumerate(zip(keys, entries)):
        for picture, *point in points:
            if picture in position:
                row, column = (min(int(p * cells), cells - 1) for p, cells in zip(point, winners.shape[1:]))
                winner = winners[position[picture], row, column]
                votes[winner, names.index(key)] += 1
                by_entry[winner, number] += 1
    best = votes.max(axis=1)
    clear = (best > 0) & ((votes == best[:, None]).sum(axis=1) == 1)
    wanted = [names[v] if c and isinstance(names[v], str) else "" for v, c in zip(votes.argmax(axis=1), clear)]
    earlier = -by_entry.argmax(axis=1) * (best.max() + 1)
    return _numbered(wanted[1:], (earlier + best)[1:])


def read_names(path: Path) -> list[tuple]:
    """Pairs (name, points) of a file of names. Raises ValueError for one that is not as `names_template` writes it."""
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        if notes["format"] != FORMAT or not notes["concepts"]:
            raise ValueError(f"format {notes['format']} with {len(notes['concepts'])} concepts")
        entries = [(entry["name"].strip(), entry["points"]) for entry in notes["concepts"]]
        for picture, y, x in (point for _, points in entries for point in points):
            if not (isinstance(picture, str) and 0 <= y <= 1 and 0 <= x <= 1):
                raise ValueError(f"point {[picture, y, x]}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # ValueError: also text that is no JSON
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{path} is no file of names ({reason}); mend it (format {FORMAT}, per concept a name and "
            "points [hash, y, x] from 0 to 1), or remove it: the next run writes an empty one"
        ) from error
    return entries
