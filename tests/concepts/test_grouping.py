"""Concepts that were planted in activation maps and features are found again, whatever the order of things."""

import itertools

import numpy as np
import pytest
import torch
from helpers import LAYOUT, cases, planted_concepts, planted_turns

from asxai.concepts import grouping
from asxai.concepts.grouping import find_concepts
from asxai.concepts.names import name_by_parts
from asxai.concepts.turning import Turned

NAMES, SIDE = ("one", "two", "three"), 14


def found(maps, labels, features, objects, names=NAMES, layout=LAYOUT):
    return find_concepts(maps, labels, features, objects, names, planted_turns(maps, labels, layout))


def assert_as_planted(members):
    """Each planted number goes with one number of `members`, and the scene, -1, with the background, 0."""
    pairs = {(int(a), int(b)) for a, b in zip(LAYOUT.ravel(), members.ravel())}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}), pairs
    assert {b for a, b in pairs if a == -1} <= {0} and {a for a, b in pairs if b == 0} <= {-1}


@pytest.fixture(scope="module")
def data():
    return planted_concepts()


@pytest.fixture(scope="module")
def concepts(data):
    return find_concepts(*data[:4], NAMES, planted_turns(*data[:2]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_groups_matches_and_background_are_found(seed):
    maps, labels, features, objects, parts = planted_concepts(seed=seed)
    concepts = found(maps, labels, features, objects)
    assert_as_planted(concepts.members)
    assert concepts.names[4] == "concept 5" and [len(concepts.of_class(c)) for c in range(3)] == [3, 4, 3]
    names = name_by_parts(concepts.winners(maps, labels, SIDE), parts, "pqrst", 5)
    assert sorted(names) == ["p", "q", "r", "s", "t"]
    for k, name in enumerate(names, start=1):
        assert set(LAYOUT[concepts.members == k]) == {"pqrst".index(name)}
    shares = np.zeros(6)
    for picture, label in zip(maps, labels):
        for row, column in np.ndindex(SIDE, SIDE):
            shares[concepts.members[label, picture[:, row, column].argmax()]] += 1
    assert (np.diff(shares[1:]) < 0).all() and shares[1:].min() > 0, "numbered by the cells that they win"


@cases(
    "layout, groups",
    ([[0], [1]], 2),  # one vector per class
    ([[-1, -1], [0, -1]], 2),  # a class of scenes keeps the one that is on an object most
    ([[0, 0, 0, -1], [0, 1, 2, -1]], 4),  # a class of one group has nothing to be matched by
    ([[0, 1, -1], [0, 1, -1]], 2),
)
def test_small_layouts(layout, groups):
    maps, labels, features, objects, _ = planted_concepts(np.array(layout), [[0, 1, 2]] * 2)
    if layout[0] == [-1, -1]:
        maps[labels == 0, 0, 6:9, 6:9] += 0.7
        objects[labels == 0, 6:9, 6:9] = True
    concepts = found(maps, labels, features, objects, NAMES[:2], layout)
    assert concepts.count == groups and all(len(concepts.of_class(c)) for c in range(2))
    assert concepts.members[0, 0] > 0
    if layout[0] == [-1, -1]:
        assert concepts.members[0, 1] == 0


def test_the_order_of_vectors_classes_and_pictures_changes_nothing(data, concepts):
    maps, labels, features, objects, _ = data
    rng = np.random.default_rng(5)
    for _ in range(3):
        classes, pictures = rng.permutation(3), rng.permutation(len(labels))
        vectors = np.stack([rng.permutation(8) for _ in range(3)])  # of each old class
        mixed = np.take_along_axis(maps, vectors[labels][..., None, None], axis=1)[pictures]
        moved = np.take_along_axis(LAYOUT, vectors, axis=1)[classes]
        renumbered = np.argsort(classes)[labels][pictures]  # new class c is old class classes[c]
        again = found(mixed, renumbered, features[pictures], objects[pictures], [NAMES[c] for c in classes], moved)
        assert np.array_equal(again.members, np.take_along_axis(concepts.members, vectors, axis=1)[classes])


def test_exact_ties_do_not_depend_on_order():
    """Noiseless maps, in which doubles, distances and sizes tie exactly."""
    maps, labels, features, objects, parts = planted_concepts()
    for i, label in enumerate(labels):
        for b, part in enumerate(LAYOUT[label]):
            maps[i, b] = (parts[i] == part + 1) if part >= 0 else 0.5 * (parts[i] == 0)
    members = found(maps, labels, features, objects).members
    assert_as_planted(members)
    order = np.random.default_rng(0).permutation(8)
    again = found(maps[:, order], labels, features, objects, layout=LAYOUT[:, order])
    assert np.array_equal(again.members, members[:, order])


def test_concepts_of_the_same_share_are_numbered_alike_whatever_the_order_of_classes():
    maps, labels, features, objects, _ = planted_concepts(np.array([[0], [1]]), [[0, 1]] * 2)
    maps[labels == 1] -= 0.1  # each vector wins all cells of its class; what tells them apart is their mean cosine
    members = found(maps, labels, features, objects, NAMES[:2], [[0], [1]]).members
    again = found(maps, 1 - labels, features, objects, NAMES[:2], [[1], [0]])
    assert np.array_equal(again.members, members[::-1])


def test_vectors_that_never_win_are_judged_by_their_strongest_cells():
    maps, labels, features, objects, _ = planted_concepts()
    first = labels == 0
    maps[first, 1] = maps[first, 0] - 0.1  # always second to its double
    maps[first, 7] = maps[first, 6:8].max(axis=1)  # now the whole scene
    maps[first, 6] = maps[first, 7] - 0.1
    concepts = found(maps, labels, features, objects)
    assert_as_planted(concepts.members)
    twins = maps.copy()
    twins[first, 1], twins[first, 6] = maps[first, 0], maps[first, 7]  # exact doubles share their cells
    assert np.array_equal(found(twins, labels, features, objects).members, concepts.members)


def test_vectors_of_the_same_cosine_share_a_cell():
    maps = torch.rand(4, 3, 5, 5)
    maps[:, 1] = maps[:, 0]
    cells, share = grouping._won(maps)
    assert torch.equal(cells[:, 0], cells[:, 1]) and set(cells.unique().tolist()) == {0, 0.5, 1}
    assert share[0] == share[1] and share.sum() == pytest.approx(1)


def test_exchanges_and_share_of_scene_against_plain_definitions():
    rng = np.random.default_rng(0)
    maps, objects = torch.from_numpy(rng.random((5, 4, 6, 6))), torch.from_numpy(rng.random((5, 6, 6)) < 0.5)
    turned = torch.from_numpy(rng.random((3, 5, 4, 6, 6)))
    counts = np.zeros((4, 4))
    for turn, at in itertools.product(turned, np.ndindex(5, 6, 6)):
        if objects[at]:
            a, b = (values[at[0], :, at[1], at[2]].argmax() for values in (maps, turn))
            counts[a, b] += 0.5
            counts[b, a] += 0.5
    assert np.allclose(grouping._exchanges(maps, turned, objects), counts)
    cells, share = grouping._won(maps)
    for b, scene in enumerate(grouping._scene_share(cells, objects)):
        won = [at for at in np.ndindex(5, 6, 6) if maps[at[0], :, at[1], at[2]].argmax() == b]
        assert share[b] == pytest.approx(len(won) / 180)
        assert scene == pytest.approx(np.mean([not objects[at] for at in won]))


@cases(
    "counts, expected",
    ([[8, 6.4], [6.4, 8]], 1),
    ([[8, 6.3], [6.3, 8]], 2),  # too seldom exchanged
    ([[1, 9], [9, 1]], 1),  # exchanged by each turn, never kept
    ([[0, 0], [0, 8]], 2),  # one wins nothing
    ([[8, 8, 1], [8, 8, 7], [1, 7, 8]], 2),  # 7 / 8 for the second, but together (1 + 7) / sqrt(32 x 8)
    ([[9, 9, 9, 0], [9, 9, 9, 0], [9, 9, 9, 0], [0, 0, 0, 5]], 2),  # three petals in a ring, and their centre
    ([[8, 9, 0, 0], [9, 8, 0, 0], [0, 0, 8, 7], [0, 0, 7, 8]], 2),
    ([[8]], 1),
)
def test_what_turning_exchanges_is_one_group(counts, expected):
    counts = np.array(counts, float)
    groups = grouping._group(counts)
    assert len(groups) == expected and sorted(np.concatenate(groups)) == list(range(len(counts)))
    order = np.random.default_rng(0).permutation(len(counts))
    again = grouping._group(counts[np.ix_(order, order)])
    assert {frozenset(order[group]) for group in again} == {frozenset(group) for group in groups}


def test_turned_pictures_of_any_number_and_order_will_do(data, concepts):
    maps, labels, features, objects, _ = data
    few = np.random.default_rng(1).permutation(len(labels))[:20]
    turned = planted_turns(maps, labels)
    some = Turned(few, turned.maps[:, few])
    assert np.array_equal(find_concepts(*data[:4], NAMES, some).members, concepts.members)


def test_classes_are_matched_by_looks_and_not_without_them(data, monkeypatch):
    maps, labels, features, objects, _ = data
    noise = np.random.default_rng(3).normal(size=features.shape)
    for descriptors, match in ((noise, 0.9), (features, 1.0)):
        monkeypatch.setattr(grouping, "MATCH", match)
        assert found(maps, labels, descriptors, objects).count == 10  # every group stays alone


def test_a_merge_across_classes_takes_the_mean_likeness_and_never_two_of_a_class(monkeypatch):
    def matched(likeness, labels, least):
        monkeypatch.setattr(grouping, "MATCH", least)
        return grouping._match(np.array(likeness, float), np.array(labels)).tolist()

    # 0 and 1 join (.9); to 2, of a third class, their mean likeness is (.8 + .6) / 2
    three = [[1, 0.9, 0.8], [0.9, 1, 0.6], [0.8, 0.6, 1]]
    assert len(set(matched(three, [0, 1, 2], 0.699))) == 1 and matched(three, [0, 1, 2], 0.701) == [0, 0, 2]
    four = [[1, 0.9, 0.8, 0.5], [0.9, 1, 0.8, 0.5], [0.8, 0.8, 1, 0.2], [0.5, 0.5, 0.2, 1]]
    assert len(set(matched(four, range(4), 0.399))) == 1  # (.5 + .5 + .2) / 3
    assert matched(four, range(4), 0.401) == [0, 0, 0, 3]
    # with 2 of the class of 1, it stays out, near as it is to 0
    assert matched(three, [0, 1, 1], 0.1) == [0, 0, 2] and matched(three, [0, 0, 1], 0.1) == [0, 1, 0]


@pytest.mark.parametrize("count", [3, 4, 8])
def test_unrelated_groups_do_not_match_though_one_of_them_is_always_the_nearest(count):
    """Of two classes one look is the same. All others go to strangers, for a cell goes to the nearest group."""
    rng, groups, features = np.random.default_rng(count), [], []
    shared = rng.normal(size=2000)
    for label in (0, 1):
        looks = np.vstack([shared, rng.normal(size=(count - 1, 2000))])
        which = rng.permutation(np.arange(240) % count).reshape(6, 40)
        features.append((looks[which] + 0.5 * rng.normal(size=(6, 40, 2000))).transpose(0, 2, 1))
        for k, look in enumerate(looks - looks.mean(axis=0)):
            won = torch.from_numpy((which == k).astype(float))
            groups.append(grouping._Group(label, None, won, looks.mean(axis=0), look / np.linalg.norm(look), 0, 0))
    features = torch.from_numpy(np.concatenate(features)).float()[..., None]
    likeness = grouping._likeness(groups, torch.arange(12) // 6, features, np.ones(2000))
    concept = grouping._match(likeness, np.array([group.label for group in groups]))
    assert concept[0] == concept[count] and len(set(concept)) == 2 * count - 1


def test_likeness_is_the_smaller_share_of_cells_that_would_be_the_others(monkeypatch):
    monkeypatch.setattr(grouping, "ALIKE", -0.3)  # five channels are few
    rng = np.random.default_rng(0)
    labels, of_group = np.array([0, 1, 2, 0, 1, 1]), [0, 0, 0, 1, 1, 2]  # three groups, two and one
    features, scale = rng.normal(size=(6, 5, 3, 3)), rng.uniform(0.5, 2, 5)
    means, groups = rng.normal(size=(3, 5)), []
    for label in of_group:
        direction, cells = rng.normal(size=5) * (label < 2), rng.choice([0, 0.5, 1], (int((labels == label).sum()), 9))
        unit = direction / max(np.linalg.norm(direction), 1e-12)
        groups.append(grouping._Group(label, None, torch.from_numpy(cells), means[label], unit, 0, 0))
    found = grouping._likeness(groups, torch.from_numpy(labels), torch.from_numpy(features).float(), scale)

    def share(one, other):  # of the cells of one that would be cells of the other
        rivals, own, votes = [g for g in groups if g.label == other.label], features[labels == one.label], 0.0
        for (picture, cell), weight in np.ndenumerate(one.cells.numpy()):
            seen = (own[picture].reshape(5, 9)[:, cell] - one.mean) * scale
            nearest = max(rivals, key=lambda g: seen @ g.descriptor / np.linalg.norm(seen))
            votes += weight * (nearest is other)
        return votes / one.cells.numpy().sum()

    for (a, first), (b, second) in itertools.combinations(enumerate(groups), 2):
        if of_group[a] != of_group[b]:
            alike = of_group[b] < 2 and first.descriptor @ second.descriptor >= -0.3  # not to a class of one group
            expected = min(share(first, second), share(second, first)) if alike else 0
            assert found[a, b] == found[b, a] == pytest.approx(expected)
    assert len(np.unique(found)) > 3
