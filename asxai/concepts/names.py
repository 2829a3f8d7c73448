"""Names."""

import json
import re
from pathlib import Path

import numpy as np
import torch

from .. import paths
from ..cache import code_hash
from ..data.features import BATCH
from ..data.folders import tail
from ..model.parts import Objectness
from ..paths import write_atomically
from .cells import MASK_SIZE, cell_parts, own_class_maps, part_iou
from .concepts import Concepts, default_names
from .grouping import find_concepts

LEAST_IOU = 0.05  # of a concept and a part that may name it
FORMAT = 1  # of the file of names
HOW = ("Write what each concept shows between the quotes after its name. The figures of concepts (02_concepts_... and "
       "10_concepts_...) have them by number. A name may stand twice; one that stays empty is none.")
SHOWN = 4  # sources of a concept's exemplars in that file


def _numbered(wanted, scores):
    """A name for each concept: the one wanted, "<name> 2" for the second by score, "concept k" where none is wanted."""
    names, taken = list(default_names(len(wanted))), set()
    for k in np.argsort(-np.asarray(scores), kind="stable"):
        if wanted[k]:
            names[k], number = wanted[k], 1
            while names[k] in taken or (number > 1 and names[k] in wanted):
                number += 1
                names[k] = f"{wanted[k]} {number}"
            taken.add(names[k])
    return tuple(names)


def is_named_after(concept, part):
    """Whether a concept has a part's name, with or without the number that tells it from others of that name."""
    return re.fullmatch(re.escape(part) + r"( \d+)?", concept) is not None


def name_by_parts(winners, parts, part_names, count):
    """Names of concepts 1..count, from pictures with part masks that are used for nothing else.

    winners, parts: the concept that wins and the true part of each cell, `(picture, cells, cells)`, 0 is background;
    of `Concepts.winners` and `asxai.concepts.cells.cell_parts`. part_names[k - 1] is the name of part k.

    A concept takes the part of the highest intersection over union (`part_iou`, pooled over all pictures). Where two
    take the same, the better is called by it and the other "<part> 2"; below 0.05 it stays "concept k".
    """
    everything = np.zeros(len(winners), np.int64)  # all pictures as one class
    iou = np.nan_to_num(part_iou(winners, parts, everything, count, len(part_names))[0])  # (concept, part)
    best = iou.max(axis=1)
    return _numbered([part_names[p] if b >= LEAST_IOU else "" for p, b in zip(iou.argmax(axis=1), best)], best)


def names_template(path, exemplars, hashes, sources=None, names=None):
    """Write the file of names, to be filled in by a person, unless it is there and holds a name already; its path.

    exemplars: of `Concepts.exemplars`. hashes: those of the pictures, as in `Split`. sources: what a person calls them.
    names: one per concept, to be written whatever the file holds; by default they are empty. Below a name the file has
    what shows to a person which concept it is, its number and the sources of its exemplars, and then these themselves,
    [hash of the picture, y, x], from 0 to 1: what lets names carry over to other seeds and grids. Raises ValueError if
    there is a file that cannot be read.
    """
    path = Path(path)
    if names is None and path.exists() and any(name for name, _ in read_names(path)):
        return path
    entries = []
    for k in range(exemplars.pictures.shape[1]):
        found = exemplars.pictures[:, k] >= 0
        own = exemplars.pictures[:, k][found]
        entry = {"name": names[k] if names else "", "concept": k + 1}
        if sources is not None:
            entry["strongest in"] = [sources[picture] for picture in dict.fromkeys(own.tolist())][:SHOWN]
        entry["points"] = [[hashes[picture], *point]
                           for picture, point in zip(own, exemplars.points[:, k][found].round(4).tolist())]
        lines = (f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())
        entries.append("{" + ",\n  ".join(lines) + "}")
    text = (f'{{"format": {FORMAT},\n"how": {json.dumps(HOW)},\n"concepts": [\n\n' + ",\n\n".join(entries)
            + "\n\n]}\n")
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def names_from_file(path, winners, hashes, count):
    """Names of concepts 1..count, from the file of `names_template`.

    winners: `(picture, cells, cells)` for the pictures with these hashes, among them those of the file

    A concept takes the name whose points it wins most often; it stays "concept k" if that is an entry without a name,
    if two are equal, or if it wins none. Where two take the same name, the one of the earlier entry is called by it
    (of one entry that which wins more of its points) and the other "<name> 2". Raises ValueError for a file that is not
    as described.
    """
    entries, winners = read_names(path), np.asarray(winners)
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


def read_names(path):
    """Pairs (name, points) of a file of names. Raises ValueError for one that is not as `names_template` writes it."""
    try:
        notes = json.loads(Path(path).read_text(encoding="utf-8"))
        if notes["format"] != FORMAT or not notes["concepts"]:
            raise ValueError(f"format {notes['format']} with {len(notes['concepts'])} concepts")
        entries = [(entry["name"].strip(), entry["points"]) for entry in notes["concepts"]]
        for picture, y, x in (point for _, points in entries for point in points):
            if not (isinstance(picture, str) and 0 <= y <= 1 and 0 <= x <= 1):
                raise ValueError(f"point {[picture, y, x]}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # ValueError: also text that is no JSON
        reason = (f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
                  if isinstance(error, ValueError) else "something in it is of another kind")
        raise ValueError(f"{path} is no file of names ({reason}); mend it (format {FORMAT}, per concept a name and "
                         "points [hash, y, x] from 0 to 1), or remove it: the next run writes an empty one") from error
    return entries


def names_file(data_set):
    """Where a person writes the names of concepts, once per data set; made by `study_concepts`."""
    return paths.DATA / "names" / f"{paths.slug(data_set)}.json"


def study_concepts(study, **parameters) -> Concepts:
    """Concepts of a study, found once and kept in its folder as `concepts.json`.

    parameters: of `asxai.concepts.grouping.find_concepts`. Names come from the part masks of validation pictures where the data
    set has any, else from `names_file`, which is written with empty names the first time.
    """
    concepts = found_concepts(study, **parameters)
    return concepts if named_by_parts(study) else _named_by_hand(study, concepts)


def named_by_parts(study):
    """Whether part masks of its data set give a study's concepts their names, and no person."""
    return study.data.validation.parts is not None


def found_concepts(study, **parameters) -> Concepts:
    """`study_concepts` without names that a person gave, and without a file for them."""
    data = study.data
    path, code = study.folder / "concepts.json", code_hash("concepts")
    key = [code, {name: value for name, value in sorted(parameters.items())}]
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("key") == key:
        concepts = Concepts.from_dict(kept["concepts"])
    else:
        own, features = own_class_maps(study, data.train), study.features(data.train)[0]
        device = study.model.basis_vectors.device
        with torch.inference_mode():
            features = torch.cat([study.model.backbone_map(b.to(device)).cpu() for b in features.split(BATCH)])
        concepts = find_concepts(own, data.train.labels, features, study.class_names,
                                 objects=Objectness(features, data.train.paths)(features), **parameters)
        if named_by_parts(study):
            parts = cell_parts(data.validation.part_masks(MASK_SIZE))
            winners = concepts.winners(own_class_maps(study, data.validation), data.validation.labels)
            concepts = concepts.renamed(name_by_parts(winners, parts, data.part_names, concepts.count))
        text = json.dumps({"key": key, "concepts": concepts.to_dict()}, indent=1)
        paths.write_atomically(path, lambda temporary: temporary.write_text(text))
    return concepts


def write_names_file(study, concepts, names=None):
    """`asxai.concepts.names.names_template` of a study's concepts, in the place of its data set; the file."""
    train = study.data.train
    exemplars = concepts.exemplars(own_class_maps(study, train), train.labels)
    sources = [tail(path, 2) for path in train.paths]
    return names_template(names_file(study.data.name), exemplars, train.hashes, sources, names)


def _named_by_hand(study, concepts):
    path, train = names_file(study.data.name), study.data.train
    if not path.exists():
        write_names_file(study, concepts)
        return concepts
    winners = concepts.winners(own_class_maps(study, train), train.labels)
    return concepts.renamed(names_from_file(path, winners, train.hashes, concepts.count))
