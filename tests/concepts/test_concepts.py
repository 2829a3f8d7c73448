"""Maps, winners, masks and exemplars of concepts against loops over pictures and cells."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers import cases, planted_concepts

from asxai.concepts.concepts import Concepts

NAMES, SIDE = ("one", "two", "three"), 14
# vectors 6 and 7 of the first class are background; concepts 4 and 5 belong to one class each
MEMBERS = np.array([[1, 1, 2, 2, 2, 3, 0, 0], [2, 1, 1, 3, 3, 4, 0, 0], [1, 0, 2, 2, 5, 0, 1, 1]])


@pytest.fixture(scope="module")
def data():
    return planted_concepts()[:2]


@pytest.fixture(scope="module")
def concepts():
    return Concepts(MEMBERS, tuple(f"concept {k}" for k in range(1, 6)), NAMES)


def test_maps_and_winners_against_loops(data, concepts):
    own, labels = data
    maps = concepts.maps(own, labels).numpy()
    assert maps.shape == (36, 6, SIDE, SIDE)
    for i, k in np.ndindex(36, 6):
        members = np.flatnonzero(MEMBERS[labels[i]] == k)
        expected = own[i, members].max(axis=0) if len(members) else np.full((SIDE, SIDE), -1.0)
        assert np.array_equal(maps[i, k], expected)
    fine = torch.nn.functional.interpolate(torch.from_numpy(maps), size=(20, 20), mode="bilinear")
    winners = concepts.winners(own, labels, 20)
    assert winners.dtype == np.int64 and np.array_equal(winners, fine.argmax(dim=1).numpy())
    for label in range(3):
        assert set(np.unique(winners[labels == label])) == {0, *concepts.of_class(label)}


def test_masks_are_empty_where_the_class_lacks_the_concept(data, concepts):
    masks = concepts.masks(*data, 50, percentile=90)
    assert masks.shape == (36, 5, 50, 50) and masks.dtype == torch.bool
    for i, k in np.ndindex(36, 5):
        there = k + 1 in concepts.of_class(data[1][i])
        assert masks[i, k].float().mean() == pytest.approx(0.1 * there, abs=0.005)


def test_prevalence_counts_pictures_with_enough_cells():
    concepts = Concepts(np.array([[0, 1], [1, 2], [1, 2]]), ("a", "b"), NAMES)
    winners = np.zeros((4, 28, 28), int)
    winners[0].flat[:4], winners[1].flat[:3] = 1, 1  # three cells of 784 are too few
    winners[2].flat[:400], winners[2].flat[400:] = 2, 1
    assert concepts.prevalence(winners).tolist() == [0.5, 0.25]


def test_exemplars_are_the_pictures_of_the_highest_cosine(data, concepts):
    own, labels = data
    pictures, points = concepts.exemplars(own, labels, count=20)  # of 12 pictures per class
    assert pictures.shape == (3, 5, 20) and points.shape == (3, 5, 20, 2)
    for label, k in np.ndindex(3, 5):
        members = np.flatnonzero(MEMBERS[label] == k + 1)
        if not len(members):
            assert (pictures[label, k] == -1).all() and np.isnan(points[label, k]).all()
            continue
        best = {i: own[i, members].max() for i in np.flatnonzero(labels == label)}
        assert pictures[label, k].tolist() == sorted(best, key=best.get, reverse=True) + [-1] * 8
        for i, point in zip(pictures[label, k, :12], points[label, k]):
            row, column = np.round(point * SIDE - 0.5).astype(int)
            assert own[i, members, row, column].max() == best[i]
            assert np.allclose(point, (np.array([row, column]) + 0.5) / SIDE)


def test_table_and_json_round_trip(concepts):
    table = concepts.table()
    columns = ["class", "concept", "name", "called", "vectors", "count"]
    assert list(table) == columns and table["count"].sum() == MEMBERS.size
    assert (table["called"] == table["name"]).all()
    k = int(concepts.of_class(1)[0])
    other = dataclasses.replace(concepts, by_class={(1, k): "rim"}).table()
    assert other[other["called"] != other["name"]][["class", "concept", "called"]].values.tolist() == [
        ["two", k, "rim"]
    ]
    row = table[(table["class"] == "one") & (table["concept"] == 0)].iloc[0]
    assert (row["name"], row["vectors"], row["count"]) == ("background", "6, 7", 2)
    renamed = concepts.renamed(["p", "q", "r", "s", "t"])
    again = Concepts.from_dict(json.loads(json.dumps(renamed.to_dict())))
    assert np.array_equal(again.members, MEMBERS) and again.names == renamed.names
    assert again.class_names == NAMES and again.table()["name"].tolist() != table["name"].tolist()


@cases(
    "change, message",
    ({"members": [[0.5]]}, "members"),
    ({"names": ["a"]}, "with 1 names"),
    ({"names": ["a"] * 5}, "different texts"),
    ({"names": [*"abcd", " "]}, "none empty"),
    ({"class_names": ["a"]}, "1 class names"),
)
def test_broken_concepts_are_refused(concepts, change, message):
    with pytest.raises(ValueError, match=message):
        Concepts.from_dict(concepts.to_dict() | change)
