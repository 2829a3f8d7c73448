"""Concepts that were planted in activation maps and features are found again, whatever the order of things."""

import json

import numpy as np
import pytest
import torch

from asxai.concepts import grouping
from asxai.concepts.cells import part_iou
from asxai.concepts.concepts import Concepts, own_maps
from asxai.concepts.grouping import find_concepts
from asxai.concepts.names import name_by_parts, names_from_file, names_template

# the part that each vector of each class fires on; -1 is the scene. Parts 3 and 4 belong to one class each
LAYOUT = np.array([[0, 0, 1, 1, 1, 2, -1, -1], [1, 0, 0, 2, 2, 3, -1, -1], [0, -1, 1, 1, 4, -1, 0, 0]])
ANCHORS = np.array([[4, 4], [4, 9], [9, 4], [9, 9]])
PLACES = [[0, 1, 2], [3, 2, 0, 1], [1, 3, None, None, 0]]  # the anchor of each part: another one in each class
NAMES = ("one", "two", "three")
GRID = 14


def planted(layout=LAYOUT, places=PLACES, per_class=12, seed=0):
    """Own maps `(picture, basis, 14, 14)`, labels, descriptors `(picture, 24, 14, 14)`, true parts of the cells."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(layout)), per_class)
    own = rng.normal(0, 0.02, (len(labels), len(layout[0]), GRID, GRID))
    looks, offsets = np.eye(24)[:5] * 4, rng.normal(0, 8, (len(layout), 24))
    scene, features = rng.normal(0, 3, 24), rng.normal(0, 1, (len(labels), GRID, GRID, 24))
    truth = np.zeros((len(labels), GRID, GRID), int)
    cells = np.stack(np.mgrid[:GRID, :GRID], axis=-1)
    for i, label in enumerate(labels):
        bumps = {}
        for part in sorted(set(layout[label]) - {-1}):
            distance = np.linalg.norm(cells - ANCHORS[places[label][part]] - rng.integers(-1, 2, 2) * 0.5, axis=-1)
            bumps[part] = np.exp(-(distance / 2.5) ** 2)
            truth[i][distance < 2.5] = part + 1
        scenes = [0.45 * (cells[..., 1] >= 7) + 0.1, 0.45 * (cells[..., 1] < 7) + 0.1]
        for b, part in enumerate(layout[label]):
            own[i, b] += scenes[b % 2] if part < 0 else 0.9 * bumps[part]
        features[i] += offsets[label] + np.where(truth[i, ..., None] > 0, looks[truth[i] - 1], scene)
    features *= np.r_[np.ones(23), 1000.0]  # one channel, of nothing but noise and the class's offset, is much larger
    return own, labels, features.transpose(0, 3, 1, 2), truth


def partition(members, layout):
    """Pairs (planted, found) that occur: one for each planted number if the two divide the vectors alike."""
    return {(int(a), int(b)) for a, b in zip(np.ravel(layout), np.ravel(members))}


def assert_found(members, layout):
    pairs = partition(members, layout)
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}), pairs
    assert {b for a, b in pairs if a == -1} <= {0} and {a for a, b in pairs if b == 0} <= {-1}


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def found(data):
    own, labels, features, _ = data
    return find_concepts(own, labels, features, NAMES)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_groups_matches_and_background_are_found(seed):
    own, labels, features, _ = planted(seed=seed)
    concepts = find_concepts(own, labels, features, NAMES)
    assert_found(concepts.members, LAYOUT)
    assert concepts.count == 5 and concepts.names[4] == "concept 5"
    assert [len(concepts.of_class(c)) for c in range(3)] == [3, 4, 3]


def test_vectors_that_never_win_are_judged_by_their_strongest_cells():
    own, labels, features, _ = planted()
    first = labels == 0
    own[first, 1] = own[first, 0] - 0.1  # always second to its double
    own[first, 7] = own[first, 6:8].max(axis=1)  # now the whole scene
    own[first, 6] = own[first, 7] - 0.1
    concepts = find_concepts(own, labels, features, NAMES)
    assert_found(concepts.members, LAYOUT)
    twins = own.copy()
    twins[first, 1], twins[first, 6] = own[first, 0], own[first, 7]  # exact doubles share their cells
    assert np.array_equal(find_concepts(twins, labels, features, NAMES).members, concepts.members)


def test_the_order_of_vectors_classes_and_pictures_changes_nothing(data, found):
    own, labels, features, _ = data
    rng = np.random.default_rng(5)
    for _ in range(3):
        classes, pictures = rng.permutation(3), rng.permutation(len(labels))
        vectors = np.stack([rng.permutation(8) for _ in range(3)])  # of each old class
        mixed = np.take_along_axis(own, vectors[labels][..., None, None], axis=1)[pictures]
        renumbered = np.argsort(classes)[labels][pictures]  # new class c is old class classes[c]
        again = find_concepts(mixed, renumbered, features[pictures], [NAMES[c] for c in classes])
        expected = np.take_along_axis(found.members, vectors, axis=1)[classes]
        assert np.array_equal(again.members, expected)


def test_exact_ties_do_not_depend_on_order():
    """Noiseless maps, in which doubles, distances and sizes tie exactly."""
    own, labels, features, truth = planted()
    for i, label in enumerate(labels):
        for b, part in enumerate(LAYOUT[label]):
            own[i, b] = (truth[i] == part + 1) if part >= 0 else 0.5 * (truth[i] == 0)
    concepts = find_concepts(own, labels, features, NAMES)
    assert_found(concepts.members, LAYOUT)
    order = np.random.default_rng(0).permutation(8)
    assert np.array_equal(find_concepts(own[:, order], labels, features, NAMES).members, concepts.members[:, order])


def test_concepts_of_the_same_share_are_numbered_alike_whatever_the_order_of_classes():
    own, labels, features, _ = planted(np.array([[0], [1]]), [[0, 1]] * 2)
    own[labels == 1] -= 0.1  # each vector wins all cells of its class; what tells them apart is their mean cosine
    members = find_concepts(own, labels, features, NAMES[:2]).members
    assert np.array_equal(find_concepts(own, 1 - labels, features, NAMES[:2]).members, members[::-1])


def test_a_chain_of_equal_overlaps_is_cut_alike_whatever_the_order_of_vectors():
    own = np.zeros((2, 4, GRID, GRID))
    for b in range(3):  # each shares 16 of 24 cells with the next, and the first 8 with the last
        own[:, b, 4:8, 2 + 2 * b : 8 + 2 * b] = 0.9 - 0.1 * b
    own[:, 3] = 0.1
    features = np.random.default_rng(0).normal(size=(2, 3, GRID, GRID))
    members = find_concepts(own, [0, 1], features, NAMES[:2]).members
    assert members[0, 3] == 0 and len(set(members[0])) == 3
    for order in ([2, 1, 0, 3], [1, 3, 2, 0], [3, 0, 2, 1]):
        assert np.array_equal(find_concepts(own[:, order], [0, 1], features, NAMES[:2]).members, members[:, order])


def test_vectors_of_the_same_cosine_share_a_cell():
    maps = torch.rand(4, 3, 5, 5)
    maps[:, 1] = maps[:, 0]
    cells, share = grouping._won(maps)
    assert torch.equal(cells[:, 0], cells[:, 1]) and set(cells.unique().tolist()) == {0, 0.5, 1}
    assert share[0] == share[1] and share.sum() == pytest.approx(1)


def test_concepts_are_numbered_by_the_cells_they_win(data, found):
    own, labels, _, _ = data
    shares = np.zeros(found.count + 1)
    for picture, label in zip(own, labels):
        for row, column in np.ndindex(GRID, GRID):
            shares[found.members[label, picture[:, row, column].argmax()]] += 1
    assert (np.diff(shares[1:]) < 0).all() and shares[1:].min() > 0


def test_classes_are_matched_by_looks_and_not_without_them(data):
    own, labels, features, _ = data
    noise = np.random.default_rng(3).normal(size=features.shape)
    assert find_concepts(own, labels, noise, NAMES, match=0.9).count == 10  # every group stays alone
    assert find_concepts(own, labels, features, NAMES, match=1.0).count == 10


def test_a_merge_across_classes_takes_the_mean_cosine_and_never_two_of_a_class():
    def groups(cosines, labels):  # unit vectors with these cosines
        return [grouping._Group(c, None, row, 0, 0) for c, row in zip(labels, np.linalg.cholesky(cosines))]

    # 0 and 1 join (.9); to 2, of a third class, their mean cosine is (.8 + .6) / 2
    three = np.array([[1, 0.9, 0.8], [0.9, 1, 0.6], [0.8, 0.6, 1]])
    assert len(set(grouping._match(groups(three, [0, 1, 2]), 0.699))) == 1
    assert list(grouping._match(groups(three, [0, 1, 2]), 0.701)) == [0, 0, 2]
    four = np.eye(4) + np.array([[0, 0.9, 0.8, 0.5], [0.9, 0, 0.8, 0.5], [0.8, 0.8, 0, 0.2], [0.5, 0.5, 0.2, 0]])
    assert len(set(grouping._match(groups(four, range(4)), 0.399))) == 1  # (.5 + .5 + .2) / 3
    assert list(grouping._match(groups(four, range(4)), 0.401)) == [0, 0, 0, 3]
    # with 2 of the class of 1, it stays out, near as it is to 0
    assert list(grouping._match(groups(three, [0, 1, 1]), 0.1)) == [0, 0, 2]
    assert list(grouping._match(groups(three, [0, 0, 1]), 0.1)) == [0, 1, 0]


@pytest.mark.parametrize("first, second", [(2, 2), (3, 3), (3, 4), (6, 4)])
def test_unrelated_groups_do_not_match_because_the_same_was_subtracted(first, second):
    """Classes share all directions but the last of each: in the smaller class exactly one is its own."""
    shared, axes = min(first, second) - 1, np.eye(first + second)
    looks = [[*range(shared), *range(shared, first)], [*range(shared), *range(first, first + second - shared)]]
    groups = []
    for label, own in enumerate(looks):
        directions = axes[own] - axes[own].mean(axis=0)
        groups += [grouping._Group(label, None, d / np.linalg.norm(d), 0, 0) for d in directions]
    found = grouping._match(groups, 1e-6)
    cosine = groups[first - 1].descriptor @ groups[-1].descriptor
    assert cosine > 0.1 and found[first - 1] != found[-1]
    if shared > 1:  # of two groups each, either could be the counterpart of either
        assert list(found[:shared]) == list(found[first : first + shared])


def test_overlap_and_border_ratio_against_plain_definitions():
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.random((5, 4, 6, 6)))
    maps[2, 1] = 0.5  # flat: the picture does not count for this vector
    distance = grouping._distance(maps, 75)
    for a, b in np.ndindex(4, 4):
        overlaps = []
        for picture in maps.numpy():
            masks = [m >= np.sort(m.ravel())[26] for m in picture[[a, b]] if np.ptp(m) > 0]
            if len(masks) == 2:
                overlaps.append((masks[0] & masks[1]).sum() / min(masks[0].sum(), masks[1].sum()))
        assert distance[a, b] == pytest.approx(0 if a == b else 1 - np.mean(overlaps))
    cells, share = grouping._won(maps)
    ring = [(r, c) for r, c in np.ndindex(6, 6) if {r, c} & {0, 5}]
    for b, ratio in enumerate(grouping._border_ratio(cells)):
        won = [(r, c) for picture in maps.numpy() for r, c in np.ndindex(6, 6) if picture[:, r, c].argmax() == b]
        assert share[b] == pytest.approx(len(won) / 180)
        assert ratio == pytest.approx(np.mean([cell in ring for cell in won]) / (len(ring) / 36))


@pytest.mark.parametrize("distance, expected", [
    ([[0, 0.1], [0.1, 0]], 1),  # one group: no neighbour to compare with
    ([[0, 0.5], [0.5, 0]], 2),  # an overlap of exactly .5 is not enough
    ([[0, 0.1, 0.12], [0.1, 0, 0.11], [0.12, 0.11, 0]], 1),
    ([[0, 0.1, 0.9, 0.9], [0.1, 0, 0.9, 0.9], [0.9, 0.9, 0, 0.2], [0.9, 0.9, 0.2, 0]], 2),
    ([[0, 0.6, 0.7], [0.6, 0, 0.8], [0.7, 0.8, 0]], 3),  # nothing overlaps enough
    ([[0, 0.05, 0.48, 0.48], [0.05, 0, 0.48, 0.48], [0.48, 0.48, 0, 0.05], [0.48, 0.48, 0.05, 0]], 2),
])
def test_the_number_of_groups_is_chosen_from_the_data(distance, expected):
    assert len(grouping._group(np.array(distance), 0.5)) == expected


@pytest.mark.parametrize("layout, groups", [
    ([[0], [1]], 2),  # one vector per class
    ([[-1, -1], [0, -1]], 2),  # a class of scenes keeps the one that reaches the border least
    ([[0, 0, 0, -1], [0, 1, 2, -1]], 4),  # a class of one group has nothing to be matched by
    ([[0, 1, -1], [0, 1, -1]], 2),
])
def test_small_layouts(layout, groups):
    own, labels, features, _ = planted(np.array(layout), [[0, 1, 2]] * 2)
    own[labels == 0, 0, 6:9, 6:9] += 0.7 * (layout[0][0] == -1)
    concepts = find_concepts(own, labels, features, NAMES[:2])
    assert concepts.count == groups
    assert all(len(concepts.of_class(c)) for c in range(2))
    assert concepts.members[0, 0] > 0
    if layout[0] == [-1, -1]:
        assert concepts.members[0, 1] == 0


def test_maps_and_winners_against_loops(data, found):
    own, labels, _, _ = data
    maps, own32 = found.maps(own, labels).numpy(), torch.from_numpy(own)
    assert maps.shape == (36, 6, GRID, GRID)
    for i, k in np.ndindex(36, 6):
        members = np.flatnonzero(found.members[labels[i]] == k)
        expected = own[i, members].max(axis=0) if len(members) else np.full((GRID, GRID), -1.0)
        assert np.array_equal(maps[i, k], expected)
    fine = torch.nn.functional.interpolate(found.maps(own32, labels), size=(20, 20), mode="bilinear")
    winners = found.winners(own, labels, 20)
    assert winners.dtype == np.int64 and np.array_equal(winners, fine.argmax(dim=1).numpy())
    for label in range(3):
        assert set(np.unique(winners[labels == label])) == {0, *found.of_class(label)}


def test_winners_are_the_true_parts(data, found):
    own, labels, _, truth = data
    names = name_by_parts(found.winners(own, labels, GRID), truth, ("p", "q", "r", "s", "t"), found.count)
    assert sorted(names) == ["p", "q", "r", "s", "t"]
    for k, name in enumerate(names, start=1):
        assert set(LAYOUT[found.members == k]) == {"pqrst".index(name)}


def test_masks_are_empty_where_the_class_lacks_the_concept(data, found):
    own, labels, _, _ = data
    masks = found.masks(own, labels, 50, percentile=90)
    assert masks.shape == (36, 5, 50, 50) and masks.dtype == torch.bool
    for i, k in np.ndindex(36, 5):
        assert masks[i, k].float().mean() == pytest.approx(0.1 * (k + 1 in found.of_class(labels[i])), abs=0.005)


def test_prevalence_counts_pictures_with_enough_cells():
    concepts = Concepts(np.array([[0, 1], [1, 2], [1, 2]]), ("a", "b"), NAMES)
    winners = np.zeros((4, 28, 28), int)
    winners[0].flat[:4], winners[1].flat[:3] = 1, 1  # three cells of 784 are too few
    winners[2].flat[:400], winners[2].flat[400:] = 2, 1
    prevalence = concepts.prevalence(winners, [0, 0, 1, 1])
    assert np.array_equal(prevalence, [[0.5, 0], [0.5, 0.5], [np.nan] * 2], equal_nan=True)


def test_exemplars_are_the_pictures_of_the_highest_cosine(data, found):
    own, labels, _, _ = data
    pictures, cells, points = found.exemplars(own, labels, count=20)  # of 12 pictures per class
    assert pictures.shape == (3, 5, 20) and cells.shape == points.shape == (3, 5, 20, 2)
    for label, k in np.ndindex(3, 5):
        members = np.flatnonzero(found.members[label] == k + 1)
        if not len(members):
            assert (pictures[label, k] == -1).all() and (cells[label, k] == -1).all()
            assert np.isnan(points[label, k]).all()
            continue
        best = {i: own[i, members].max() for i in np.flatnonzero(labels == label)}
        assert pictures[label, k].tolist() == sorted(best, key=best.get, reverse=True) + [-1] * 8
        for i, (row, column) in zip(pictures[label, k, :12], cells[label, k]):
            assert own[i, members, row, column].max() == best[i]
        assert np.allclose(points[label, k, :12], (cells[label, k, :12] + 0.5) / GRID)


def test_own_maps_picks_the_class_of_each_picture():
    maps = torch.rand(4, 3, 2, 5, 5)
    own = own_maps(maps, np.array([2, 0, 1, 2]))
    assert torch.equal(own, torch.stack([maps[0, 2], maps[1, 0], maps[2, 1], maps[3, 2]]))


def test_table_and_json_round_trip(found):
    table = found.table()
    assert list(table) == ["class", "concept", "name", "vectors", "count"] and table["count"].sum() == LAYOUT.size
    row = table[(table["class"] == "one") & (table["concept"] == 0)].iloc[0]
    assert (row["name"], row["vectors"], row["count"]) == ("background", "6, 7", 2)
    renamed = found.renamed(["p", "q", "r", "s", "t"])
    again = Concepts.from_dict(json.loads(json.dumps(renamed.to_dict())))
    assert np.array_equal(again.members, found.members) and again.names == renamed.names
    assert again.class_names == NAMES and again.table()["name"].tolist() != table["name"].tolist()


@pytest.mark.parametrize("change, message", [
    ({"members": None}, "members"), ({"members": [[0.5]]}, "members"), ({"names": ["a"]}, "with 1 names"),
    ({"names": ["a"] * 5}, "different texts"), ({"class_names": ["a"]}, "1 class names"), ({"names": 3}, "to_dict"),
])
def test_broken_notes_are_refused(found, change, message):
    with pytest.raises(ValueError, match=message):
        Concepts.from_dict(found.to_dict() | change)
    with pytest.raises(ValueError, match="to_dict"):
        Concepts.from_dict({})


@pytest.mark.parametrize("change, message", [
    (dict(own=np.zeros((36, 8, GRID))), "own_maps"),
    (dict(own=np.zeros((36, 8, GRID, 13)), descriptors=np.zeros((36, 2, GRID, 13))), "square grid"),
    (dict(own=np.zeros((36, 8, 2, 2)), descriptors=np.zeros((36, 2, 2, 2))), "at least 3 x 3"),
    (dict(own=np.full((36, 8, GRID, GRID), np.nan)), "not finite"), (dict(descriptors=np.zeros((36, 2, 7, 7))), "same"),
    (dict(labels=np.zeros(36, int)), "each of 3 classes"), (dict(labels=np.full(36, 3)), "use 0 to 2"),
    (dict(labels=np.zeros(35, int)), "labels"), (dict(border=0), "border=0"), (dict(overlap=1), "overlap=1"),
    (dict(match=0), "match=0"), (dict(percentile=100), "percentile=100"),
])
def test_arguments_are_checked(data, change, message):
    own, labels, features, _ = data
    with pytest.raises(ValueError, match=message):
        find_concepts(**dict(own=own, labels=labels, descriptors=features, class_names=NAMES) | change)


def test_maps_of_another_network_are_refused(data, found):
    own, labels, _, _ = data
    for call in (found.maps, found.winners, lambda *a: found.masks(*a, 28), found.exemplars):
        with pytest.raises(ValueError, match="own"):
            call(own[:, :7], labels)


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


def test_the_file_of_names_shows_which_concept_is_which_and_names_carry_over(data, found, tmp_path):
    own, labels, features, _ = data
    hashes = [f"hash{i}" for i in range(36)]
    path = names_template(tmp_path / "new" / "names.json", found.exemplars(own, labels, 2), hashes)
    notes = json.loads(path.read_text())
    assert notes["format"] == 1 and [c["name"] for c in notes["concepts"]] == [""] * 5
    assert [c["concept"] for c in notes["concepts"]] == [1, 2, 3, 4, 5]
    assert path.read_text().count('{"name": "",\n') == 5  # a line to itself
    classes = [len({int(h[4:]) // 12 for h, _, _ in c["points"]}) for c in notes["concepts"]]
    assert classes == [(found.members == k).any(axis=1).sum() for k in range(1, 6)]
    assert names_from_file(path, found.winners(own, labels), hashes, 5) == found.names  # nothing is filled in
    for concept, name in zip(notes["concepts"], "pqrst"):
        concept["name"] = f" {name}"
    path.write_text(json.dumps(notes))
    before = path.read_bytes()
    assert names_template(path, found.exemplars(own, labels, 3), hashes) == path and path.read_bytes() == before
    # another network: other vectors, numbers and noise; the same pictures, in another order
    order = np.random.default_rng(1).permutation(36)
    shuffled = np.random.default_rng(2).normal(own[order][:, ::-1], 0.01)
    other = find_concepts(shuffled, labels[order], features[order], NAMES)
    names = names_from_file(path, other.winners(shuffled, labels[order], 40), [hashes[i] for i in order], 5)
    for k, name in enumerate(names, start=1):
        assert set(LAYOUT[other.members[:, ::-1] == k]) == set(LAYOUT[found.members == "pqrst".index(name) + 1])


def test_the_file_of_names_has_what_a_person_calls_the_pictures(data, found, tmp_path):
    own, labels, _, _ = data
    best = found.exemplars(own, labels, 2)
    hashes, sources = [f"hash{i}" for i in range(36)], [f"class {i // 12}/é{i}.jpg" for i in range(36)]
    path = names_template(tmp_path / "names.json", best, hashes, sources)
    for entry in json.loads(path.read_text(encoding="utf-8"))["concepts"]:
        seen = list(dict.fromkeys(sources[int(h[4:])] for h, _, _ in entry["points"]))
        assert entry["strongest in"] == seen[:4] != []
    assert "é" in path.read_text(encoding="utf-8")  # as it is written, not as \\u00e9
    names_template(path, best, hashes, sources, [*"abcd", ""])
    names_template(path, best, hashes, sources, [*"vwxy", ""])  # asked for, they replace what the file held
    assert names_from_file(path, found.winners(own, labels), hashes, 5) == (*"vwxy", "concept 5")


def test_an_unfilled_file_is_written_anew(data, found, tmp_path):
    own, labels, _, _ = data
    path = written(tmp_path / "names.json", [("", [["old", 0, 0]]), (" ", [])])
    names_template(path, found.exemplars(own, labels, 1), [f"hash{i}" for i in range(36)])
    assert len(json.loads(path.read_text())["concepts"]) == 5


def test_names_go_to_the_concepts_that_win_the_points(tmp_path):
    winners = np.zeros((2, 4, 4), int)
    winners[0] = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 6, 4, 5]]
    at = {1: ["a", 0.1, 0.1], 2: ["a", 0, 0.6], 3: ["a", 0.9, 0.0], 4: ["a", 0.6, 0.9], 5: ["a", 1, 1],
          6: ["a", 0.8, 0.3]}
    path = written(tmp_path / "names.json", [
        ("p", [at[1], at[2], at[2], ["b", 0.5, 0.5], ["unknown", 0.5, 0.5]]),
        ("q", [at[3], at[4], at[4]]), ("r", [at[3]]),  # 3 wins a point of each: a tie
        ("", [at[5], at[5]]), ("q", [at[5]]), ("q", [at[4]]),  # 5 belongs to the entry that nobody named
        ("s", [at[6], at[6]]), ("", [at[6]]), ("", [at[6]])])  # 6 does not: it wins less of each of the two
    names = names_from_file(path, winners, ["a", "b"], 6)
    assert names == ("p 2", "p", "concept 3", "q", "concept 5", "s")


def test_of_two_entries_of_one_name_the_earlier_keeps_it(tmp_path):
    winners = np.zeros((1, 4, 4), int)
    winners[0, 0] = [1, 2, 2, 2]
    entries = [("p", [["a", 0, 0.1]]), ("p", [["a", 0, 0.4], ["a", 0, 0.6], ["a", 0, 0.9]])]
    path = written(tmp_path / "names.json", entries)
    assert names_from_file(path, winners, ["a"], 2) == ("p", "p 2"), "though the second wins more points"


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"format": 2, "concepts": [{"name": "", "points": []}]}', '{"format": 1, "concepts": []}',
    '{"format": 1, "concepts": [{"points": []}]}', '{"format": 1, "concepts": [{"name": 3, "points": []}]}',
    '{"format": 1, "concepts": [{"name": "a", "points": [["h", 1.5, 0]]}]}', "\xff",
    '{"format": 1, "concepts": [{"name": "a", "points": [["h", 0.5]]}]}',
    '{"format": 1, "concepts": [{"name": "a", "points": [["h", "x", 0]]}]}',
])
def test_a_broken_file_of_names_is_refused_and_kept(tmp_path, data, found, text):
    own, labels, _, _ = data
    path = tmp_path / "names.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="names.json.*mend it"):
        names_from_file(path, np.zeros((1, 4, 4), int), ["h"], 2)
    with pytest.raises(ValueError, match="names.json.*mend it"):
        names_template(path, found.exemplars(own, labels), [""] * 36)
    assert path.read_text(encoding="latin-1") == text
