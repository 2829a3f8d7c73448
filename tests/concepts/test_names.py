"""Names of concepts, by true parts and from the file that a person fills in."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import LAYOUT, planted_concepts, planted_turns

from asxai.concepts import names as names_module
from asxai.concepts.cells import part_iou
from asxai.concepts.concepts import Concepts
from asxai.concepts.grouping import find_concepts
from asxai.concepts.names import (
    lies_on,
    looked_at,
    name_by_parts,
    names_by_class,
    names_from_file,
    names_template,
    true_somewhere,
)
from asxai.data.datasets import Split

CLASSES = ("one", "two", "three")
HASHES, SOURCES = [f"hash{i}" for i in range(36)], [f"class {i // 12}/é{i}.jpg" for i in range(36)]


@pytest.fixture(scope="module")
def data():
    return planted_concepts()


@pytest.fixture(scope="module")
def concepts(data):
    return find_concepts(*data[:4], CLASSES, planted_turns(*data[:2]))


def test_names_by_parts_number_doubles_by_iou_and_leave_strays_alone():
    parts, winners = np.zeros((1, 20, 20), int), np.zeros((1, 20, 20), int)
    parts[0, :10], parts[0, 10:15] = 1, 2
    winners[0, :3], winners[0, 3:10] = 1, 2  # both on the first part; the second concept covers more of it
    winners[0, 10] = 3
    winners[0, 15:] = 4  # on the background but for one cell
    winners[0, 10, 0] = 4
    winners[0, 15, 0] = 5  # nowhere but on the background
    assert name_by_parts(winners, parts, ("p", "q"), 6) == ("p 2", "p", "q", "concept 4", "concept 5", "concept 6")
    iou = part_iou(winners, parts, [0], 6, 2)[0]
    assert iou[3, 1] < 0.05 and iou[0, 0] == 0.3
    assert iou[2, 1] < iou[0, 0]
    assert name_by_parts(winners, parts, ("p", "p 2"), 6)[:3] == ("p 3", "p", "p 2")  # a part is called so already


def written(path, entries):
    path.write_text(json.dumps({"format": 1, "concepts": [{"name": n, "points": p} for n, p in entries]}))
    return path


def test_the_file_of_names_shows_which_concept_is_which_and_names_carry_over(data, concepts, tmp_path):
    maps, labels, features, objects, _ = data
    path = names_template(tmp_path / "new" / "names.json", concepts.exemplars(maps, labels, 2), HASHES, SOURCES)
    text = path.read_text(encoding="utf-8")
    assert "é" in text and text.count('{"name": "",\n') == 5  # as it is written, not as \\u00e9; a line to itself
    notes = json.loads(text)
    assert notes["format"] == 1 and [entry["name"] for entry in notes["concepts"]] == [""] * 5
    assert [entry["concept"] for entry in notes["concepts"]] == [1, 2, 3, 4, 5]
    for k, entry in enumerate(notes["concepts"], 1):
        pictures = [int(point[0][4:]) for point in entry["points"]]
        assert entry["strongest in"] == list(dict.fromkeys(SOURCES[i] for i in pictures))[:4] != []
        assert len({i // 12 for i in pictures}) == (concepts.members == k).any(axis=1).sum()
    assert names_from_file(path, concepts.winners(maps, labels), HASHES, 5) == concepts.names  # nothing is filled in
    for entry, name in zip(notes["concepts"], "pqrst"):
        entry["name"] = f" {name}"
    path.write_text(json.dumps(notes))
    before = path.read_bytes()
    assert names_template(path, concepts.exemplars(maps, labels, 3), HASHES, SOURCES) == path
    assert path.read_bytes() == before
    # another network: other vectors, numbers and noise; the same pictures, in another order
    order = np.random.default_rng(1).permutation(36)
    shuffled = np.random.default_rng(2).normal(maps[order][:, ::-1], 0.01)
    turned = planted_turns(shuffled, labels[order], LAYOUT[:, ::-1])
    other = find_concepts(shuffled, labels[order], features[order], objects[order], CLASSES, turned)
    names = names_from_file(path, other.winners(shuffled, labels[order], 40), [HASHES[i] for i in order], 5)
    for k, name in enumerate(names, start=1):
        same = concepts.members == "pqrst".index(name) + 1
        assert set(LAYOUT[other.members[:, ::-1] == k]) == set(LAYOUT[same])


def test_names_that_are_asked_for_replace_what_the_file_held(data, concepts, tmp_path):
    maps, labels = data[:2]
    path, best = tmp_path / "names.json", concepts.exemplars(maps, labels, 2)
    for names in ([*"abcd", ""], [*"vwxy", ""]):
        names_template(path, best, HASHES, SOURCES, names)
    assert names_from_file(path, concepts.winners(maps, labels), HASHES, 5) == (*"vwxy", "concept 5")


def test_an_unfilled_file_is_written_anew(data, concepts, tmp_path):
    path = written(tmp_path / "names.json", [("", [["old", 0, 0]]), (" ", [])])
    names_template(path, concepts.exemplars(*data[:2], 1), HASHES, SOURCES)
    assert len(json.loads(path.read_text())["concepts"]) == 5


def test_names_go_to_the_concepts_that_win_the_points(tmp_path):
    winners = np.zeros((2, 4, 4), int)
    winners[0] = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 6, 4, 5]]
    one, two, three = ["a", 0.1, 0.1], ["a", 0, 0.6], ["a", 0.9, 0.0]  # points that these concepts win
    four, five, six = ["a", 0.6, 0.9], ["a", 1, 1], ["a", 0.8, 0.3]
    entries = [
        ("p", [one, two, two, ["b", 0.5, 0.5], ["unknown", 0.5, 0.5]]),
        ("q", [three, four, four]),
        ("r", [three]),  # 3 wins a point of each: a tie
        ("", [five, five]),
        ("q", [five]),
        ("q", [four]),  # 5 belongs to the entry that nobody named
        ("s", [six, six]),
        ("", [six]),
        ("", [six]),  # 6 does not: it wins less of each of the two
    ]
    names = names_from_file(written(tmp_path / "names.json", entries), winners, ["a", "b"], 6)
    assert names == ("p 2", "p", "concept 3", "q", "concept 5", "s")


def test_the_earlier_of_two_entries_of_one_name_keeps_it(tmp_path):
    winners = np.zeros((1, 4, 4), int)
    winners[0, 0] = [1, 2, 2, 2]
    entries = [("p", [["a", 0, 0.1]]), ("p", [["a", 0, 0.4], ["a", 0, 0.6], ["a", 0, 0.9]])]
    path = written(tmp_path / "names.json", entries)
    assert names_from_file(path, winners, ["a"], 2) == ("p", "p 2"), "though the second wins more points"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ("\xff", "can't decode"),
        ('{"format": 2, "concepts": [{"name": "", "points": []}]}', "format 2 with 1 concepts"),
        ('{"format": 1, "concepts": []}', "format 1 with 0 concepts"),
        ('{"format": 1, "concepts": [{"points": []}]}', "'name' is missing"),
        ('{"format": 1, "concepts": [{"name": 3, "points": []}]}', "no attribute 'strip'"),
        ('{"format": 1, "concepts": [{"name": "a", "points": [["h", 1.5, 0]]}]}', r"point \['h', 1.5, 0\]"),
        ('{"format": 1, "concepts": [{"name": "a", "points": [["h", 0.5]]}]}', "not enough values"),
        ('{"format": 1, "concepts": [{"name": "a", "points": [["h", "x", 0]]}]}', "not supported"),
    ],
)
def test_a_broken_file_of_names_is_refused_and_kept(tmp_path, data, concepts, text, reason):
    path = tmp_path / "names.json"
    path.write_text(text, encoding="latin-1")
    for call in (
        lambda: names_from_file(path, np.zeros((1, 4, 4), int), ["h"], 2),
        lambda: names_template(path, concepts.exemplars(*data[:2]), HASHES, SOURCES),
    ):
        with pytest.raises(ValueError, match=f"names.json is no file of names .*{reason}.*mend it"):
            call()
    assert path.read_text(encoding="latin-1") == text


def test_many_pictures_are_spread_over_classes_and_few_are_all_used(monkeypatch):
    labels = np.repeat([0, 1, 2], [40, 7, 30])
    train = Split(tuple(map(str, range(77))), labels, tuple(map(str, range(77))))
    study = SimpleNamespace(data=SimpleNamespace(train=train), class_names=("a", "b", "c"))
    assert looked_at(study) is train
    monkeypatch.setattr("asxai.concepts.names.LOOKED_AT", 30)
    some = looked_at(study)
    assert some.class_counts().tolist() == [10, 7, 10] and some.origin[0] is train
    assert {"0", "39", "40", "46", "47", "76"} <= set(some.paths), "from the first to the last of a class"


@pytest.mark.parametrize(
    "covered, part, true",
    [
        ((0, 20), (0, 10), True),
        ((0, 5), (0, 20), True),
        ((15, 35), (0, 20), False),
        ((0, 40), (38, 39), False),
        ((0, 0), (0, 20), False),
    ],
)
def test_under_its_mask(covered, part, true):
    first, second = np.zeros((2, 40, 10), bool)
    first[slice(*covered)], second[slice(*part)] = True, True
    assert bool(lies_on(first, second)) == true


def test_a_concept_has_another_name_in_a_class_where_it_lies_elsewhere(monkeypatch):
    """ "ear 2" lies on the ear in all cats, in seven of ten dogs, and in no fox: there it lies on the leg."""
    labels, parts = np.repeat([0, 1, 2], 10), np.zeros((30, 28, 28), int)
    maps = np.full((30, 2, 28, 28), 0.1, np.float32)
    parts[:, :7, :7], parts[:, 21:, 21:] = 1, 2  # ear, leg
    maps[:, 0, :7, :7] = maps[:, 1, 21:, 21:] = 0.9
    maps[17:, 0] = maps[17:, 0, ::-1, ::-1]
    maps[20:, 1] = maps[20:, 1, ::-1, ::-1]
    split = SimpleNamespace(labels=labels, part_masks=lambda size: parts.repeat(size // 28, 1).repeat(size // 28, 2))
    data = SimpleNamespace(validation=split, part_names=("ear", "leg"))
    study = SimpleNamespace(data=data, config=SimpleNamespace(size=28))
    monkeypatch.setattr(names_module, "own_class_maps", lambda study, split: maps)
    concepts = Concepts(np.array([[1, 2]] * 3), ("ear 2", "leg"), ("cat", "dog", "fox"))
    found = names_by_class(study, concepts)
    assert found == {(1, 1): "concept 1", (2, 1): "leg 2", (2, 2): "ear"}
    assert not names_by_class(study, concepts.renamed(("wing", "paw")))  # of a name that is no part nothing is known
    kept = Concepts.from_dict(json.loads(json.dumps(replace(concepts, by_class=found).to_dict())))
    assert [kept.names_in(label) for label in (0, 1, 2)] == [("ear 2", "leg"), ("concept 1", "leg"), ("leg 2", "ear")]
    assert kept.known_names() == {"concept 1": 1, "concept 2": 2, "ear 2": 1, "leg": 2, "leg 2": 1, "ear": 2}
    assert kept.renamed(("ear", "leg")).names_in(1) == ("ear", "leg")  # a person knows
    parts[10:20, :7, :7] = 0  # dogs without ears, and without that concept: it is not called anything there
    assert {
        label for label, _ in names_by_class(study, replace(concepts, members=np.array([[1, 2], [2, 2], [1, 2]])))
    } == {2}


def test_a_name_that_is_true_in_no_class_is_none():
    members, classes = np.array([[1, 2, 3], [1, 2, 0], [1, 0, 3]]), ("cat", "dog", "fox")
    by_class = {(0, 1): "tail 2", (1, 1): "concept 1", (2, 1): "tail 2", (0, 2): "concept 2", (1, 2): "concept 2"}
    concepts = true_somewhere(Concepts(members, ("ear", "leg", "nose"), classes, by_class | {(2, 3): "concept 3"}))
    assert concepts.names == ("tail 2", "concept 2", "nose")  # a nose it is in cats
    assert concepts.by_class == {(1, 1): "concept 1", (2, 3): "concept 3"}
    assert [concepts.names_in(label)[0] for label in (0, 1, 2)] == ["tail 2", "concept 1", "tail 2"]
