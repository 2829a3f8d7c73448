"""Regions, hybrids and detection on a tiny study of three drawn animals and a tiny plain one, against plain loops."""

import dataclasses
import functools
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import picture_folder
from PIL import Image

import asxai
import menagerie
from asxai.benchmarks import detection as benchmarks_detection
from asxai.benchmarks import ood
from asxai.benchmarks.detection import (
    CONCEPTS,
    ENERGY,
    MAHALANOBIS,
    MSP,
    NEAREST,
    PCS,
    detection_scores,
    detection_table,
)
from asxai.benchmarks.ood import (
    LEAST_RESEMBLANCE,
    SAME_PLACE,
    SMALLEST_PART,
    Hybrids,
    Region,
    claims,
    class_votes,
    draw_hybrids,
    find_regions,
    hybrid_kinds,
    hybrid_parts,
    parents_table,
    parts_summary,
    place_resemblance,
)
from asxai.concepts.concepts import Concepts
from asxai.concepts.masks import semantic_masks
from asxai.data import sources
from asxai.data.datasets import spread_over
from asxai.data.pictures import DataError, to_batch
from asxai.explain import explainer as explain_explainer
from asxai.explain.explainer import Explainer
from asxai.explain.scores import concept_activation
from asxai.figures import ood as ood_plots

NAN, SIZE, WILD = np.nan, 96, "menagerie-wild"
CLASSES, NAMES = ("lion", "tiger", "pig"), ("head", "leg", "tail")
QUICK = dict(size=SIZE, basis_per_class=5, channels=16, cycles=1, joint_epochs=2, views=1, batch_size=8)
MEMBERS = np.array([[1, 2, 0, 3, 0], [1, 2, 0, 1, 0], [2, 1, 3, 0, 0]])  # the second class lacks the third concept


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three drawn classes, 7 pictures each to train and validate on and 3 to test, on a grid of 6 x 6."""
    folder = tmp_path_factory.mktemp("wild")
    few = dataclasses.replace(menagerie.DATA_SETS[WILD], classes=CLASSES, train_per_class=7, test_per_class=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_menagerie_specs", lambda: {few.name: few})
        patch.setattr("asxai.study.load_data_set", functools.partial(asxai.load_data_set, root=folder, size=SIZE))
        return asxai.Study.train(WILD, folder=folder / "study", **QUICK)


@pytest.fixture(scope="module")
def explainer(study):
    return Explainer(study, Concepts(MEMBERS, NAMES, study.class_names))


@pytest.fixture(scope="module")
def hybrids():
    return draw_hybrids(WILD, "liger", 6, SIZE)


@pytest.fixture(scope="module")
def activations(study, hybrids):
    return study.activate(list(hybrids.pictures))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """An explainer of a plain folder of pictures, which knows no hybrids."""
    folder = tmp_path_factory.mktemp("plain")
    study = asxai.Study.train(picture_folder(folder / "shapes"), folder=folder / "study", **QUICK | dict(
        backbone="resnet18", weights="random", last_stage="layer2", size=64))
    return Explainer(study, Concepts(np.array([[1, 2, 0, 0, 0], [0, 1, 0, 3, 0]]), ("a", "b", "c"), study.class_names))


# --- How well a class fits a place -----------------------------------------------------------------------------------


def test_place_resemblance_against_a_loop():
    rng = np.random.default_rng(0)
    concepts = Concepts(MEMBERS, NAMES, CLASSES)
    maps = rng.uniform(-1, 1, (4, 3, 5, 6, 6)).astype(np.float32)
    masks = rng.random((4, 2, 24, 24)) < 0.1  # a cell is 4 x 4 pixels
    masks[1, 0] = False
    masks[2, 1] = np.arange(24) < 4
    found = place_resemblance(concepts, torch.from_numpy(maps), torch.from_numpy(masks))
    for picture in range(4):
        for place in range(2):
            for label in range(3):
                total = weight = 0.0
                for row in range(6):
                    for column in range(6):
                        share = masks[picture, place, 4 * row:4 * row + 4, 4 * column:4 * column + 4].mean()
                        best = max(maps[picture, label, j, row, column] for j in range(5) if MEMBERS[label, j])
                        total, weight = total + share * best, weight + share
                expected = total / weight if weight else 0.0
                assert found[picture, place, label] == pytest.approx(expected, abs=1e-6)
    assert found.shape == (4, 2, 3) and found.dtype == np.float64 and (found[1, 0] == 0).all()


def test_background_vectors_do_not_count():
    maps = torch.full((1, 1, 2, 3, 3), 0.2)
    maps[:, :, 1] = 0.9
    concepts = Concepts(np.array([[1, 0]]), ("head",), ("lion",))
    assert place_resemblance(concepts, maps, torch.ones(1, 1, 6, 6, dtype=torch.bool)) == pytest.approx(0.2)


# --- Regions ---------------------------------------------------------------------------------------------------------


def slow_regions(explainer, maps, percentile):
    """Every concept's region in one picture, before any is left out; maps `(class, basis, height, width)`, float64."""
    members, count, regions = explainer.concepts.members, explainer.concepts.count, []
    has = np.array([[(members[c] == k + 1).any() for k in range(count)] for c in range(len(members))])
    fires = np.full((len(members), count, *maps.shape[2:]), -1.0)  # highest vector of each class's concept
    for c, k in zip(*np.nonzero(has)):
        fires[c, k] = maps[c, members[c] == k + 1].max(axis=0)
    step = SIZE // maps.shape[2]
    for k in range(count):
        mask = semantic_masks(torch.from_numpy(fires[:, k].max(axis=0)), SIZE, percentile).numpy()
        touched = mask.reshape(maps.shape[2], step, maps.shape[3], step).any(axis=(1, 3))
        highest = np.where(has, fires[:, :, touched].max(axis=2), NAN)  # (class, concept)
        best = np.nanargmax(highest, axis=1)
        pcs = explainer.scores.pcs(highest[None])[0]
        regions.append((mask, [NAMES[j] for j in best], pcs[np.arange(len(members)), best]))
    return regions


@pytest.mark.parametrize("percentile", [95.0, 80.0])
def test_regions_against_a_loop_over_concepts(explainer, hybrids, activations, percentile):
    found = find_regions(explainer, hybrids.pictures, percentile)
    assert len(found) == 6 and max(len(own) for own in found) > 1
    for regions, maps in zip(found, activations.maps):
        expected = slow_regions(explainer, maps.double().numpy(), percentile)
        masks = torch.from_numpy(np.stack([mask for mask, _, _ in expected]))[None]
        resemblance = place_resemblance(explainer.concepts, maps[None], masks)[0]
        for own in regions:
            k = NAMES.index(own.name)
            assert (own.mask != expected[k][0]).mean() < 0.002  # ranks of interpolated values may tie
            np.testing.assert_allclose(own.resemblance, resemblance[k], atol=1e-3)
            assert own.concepts == tuple(expected[k][1])
            np.testing.assert_allclose(own.pcs, expected[k][2], atol=1e-3)
        order = [own.resemblance.max() for own in regions]
        assert order == sorted(order, reverse=True) and order[0] == pytest.approx(resemblance.max(), abs=1e-3)


def overlap(first, second):
    return (first & second).sum() / max(1, min(first.sum(), second.sum()))


def test_regions_lie_apart_and_what_is_left_out_does_not(explainer, hybrids):
    everything = dict(zip(range(6), find_regions(explainer, hybrids.pictures, 80.0, least=0.0)))
    counts = set()
    for regions in everything.values():
        counts.add(len(regions))
        assert regions and len({own.name for own in regions}) == len(regions)
        for i, own in enumerate(regions):
            assert all(overlap(own.mask, other.mask) <= SAME_PLACE for other in regions[:i])
            assert i == 0 or own.resemblance.max() >= LEAST_RESEMBLANCE
    assert len(counts) > 1


def test_regions_that_fit_no_class_are_left_out(explainer, hybrids):
    all_, some, few = (find_regions(explainer, hybrids.pictures, 80.0, least) for least in (0.0, 0.5, 99.0))
    for regions, fewer, one in zip(all_, some, few):
        assert [own.name for own in one] == [regions[0].name]  # one is always kept, the best
        assert all(own.pcs[own.best(1)[0]] >= 0.5 for own in fewer[1:])
        assert fewer[0].name == regions[0].name and len(fewer) <= len(regions) + 1
    assert sum(map(len, some)) < sum(map(len, all_))


def planted_region(name, rows, resemblance, pcs=(1.0, 1.0, 1.0)):
    mask = np.zeros((10, 10), bool)
    mask[rows] = True
    return Region(name, mask, np.array(resemblance), ("head",) * 3, np.array(pcs))


def test_the_better_of_two_at_one_place_is_kept():
    low = planted_region("low", slice(0, 5), [0.5, 0.6, 0.1])
    high = planted_region("high", slice(2, 7), [0.9, 0.1, 0.1])
    assert [own.name for own in ood._apart([low, high], 0.1)] == ["high"]  # 3 of 5 rows are shared
    beside = planted_region("beside", slice(5, 10), [0.5, 0.5, 0.5])  # shares 2 of 5 rows: no more than .4
    assert [own.name for own in ood._apart([low, high, beside], 0.1)] == ["high", "beside"]
    assert [own.name for own in ood._apart([low, beside], 0.1)] == ["low", "beside"]
    inside = planted_region("inside", slice(3, 5), [0.6, 0.6, 0.6])  # all of it, if but 2 of the other's 5 rows
    assert [own.name for own in ood._apart([high, inside], 0.1)] == ["high"]
    far = planted_region("far", slice(8, 10), [0.39, 0.1, 0.1])
    assert [own.name for own in ood._apart([high, far], 0.1)] == ["high"]  # resembles no class
    weak = planted_region("weak", slice(8, 10), [0.1, 0.8, 0.1], [1.0, 0.05, 1.0])
    assert [own.name for own in ood._apart([high, weak], 0.1)] == ["high"]  # its best class has a low PCS
    empty = planted_region("empty", slice(0, 0), [0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    assert [own.name for own in ood._apart([empty, empty], 0.0)] == ["empty"]
    assert ood._apart([], 0.1) == []


def test_best_classes_and_votes():
    first = planted_region("head", slice(0, 2), [0.5, 0.9, 0.5], [0.1, 0.7, 0.3])
    second = planted_region("leg", slice(5, 7), [0.6, 0.8, 0.2], [0.4, 0.2, 0.9])
    third = planted_region("tail", slice(8, 9), [0.1, 0.2, 0.7], [0.0, 0.0, 0.25])
    assert first.best().tolist() == [1, 0, 2] and first.best(1).tolist() == [1]  # of equal ones the first
    assert class_votes([first, second, third], 3).tolist() == pytest.approx([0, 0.9, 0.25])
    assert class_votes([], 3).tolist() == [0, 0, 0]


# --- Hybrids ---------------------------------------------------------------------------------------------------------


def test_hybrids_are_drawn_the_same_for_a_seed(hybrids):
    again, later = draw_hybrids(WILD, "liger", 2, SIZE), draw_hybrids(WILD, "liger", 2, SIZE, ood.FIRST_SEED + 1)
    assert torch.equal(again.pictures, hybrids.pictures[:2]) and torch.equal(later.pictures, hybrids.pictures[1:3])
    assert hybrids.pictures.shape == (6, 3, SIZE, SIZE) and hybrids.pictures.dtype == torch.uint8
    assert not torch.equal(hybrids.pictures[0], hybrids.pictures[1])
    for i in range(2):
        drawing = menagerie.render(WILD, "liger", ood.FIRST_SEED + i)
        np.testing.assert_array_equal(hybrids.parts[i], drawing.parts)
        torch.testing.assert_close(hybrids.pictures[i], to_batch([drawing.picture], SIZE)[0])
    assert hybrids.name == "liger" and hybrids.part_names == tuple(menagerie.DATA_SETS[WILD].parts)
    assert hybrids.parents == menagerie.DATA_SETS[WILD].hybrids["liger"]


def test_seeds_of_hybrids_are_far_from_those_of_any_split():
    most = max(max(spec.train_per_class, spec.test_per_class) for spec in menagerie.DATA_SETS.values())
    assert ood.FIRST_SEED > 1_000_000 + most


def test_kinds_of_hybrids():
    kinds = hybrid_kinds(WILD)
    assert set(kinds) == set(menagerie.DATA_SETS[WILD].hybrids) and set(kinds["liger"].values()) == {"lion", "tiger"}
    assert hybrid_kinds("menagerie-pets") == hybrid_kinds("/some/folder") == {}


@pytest.mark.parametrize("data_set, message", [
    (WILD, "name='unicorn' is no hybrid of 'menagerie-wild'; it knows liger, tigon"),
    ("menagerie-pets", "name='unicorn' is no hybrid of 'menagerie-pets'; it knows none"),
    ("/some/folder", "is no hybrid of '/some/folder'; it knows none"),
])
def test_hybrids_that_are_not_known(data_set, message):
    with pytest.raises(ValueError, match=message):
        draw_hybrids(data_set, "unicorn", 2, SIZE)


def test_hybrid_parts_against_a_loop(explainer, study, hybrids, activations):
    table = hybrid_parts(explainer, hybrids)
    rows = []
    for part, parent in ((name, hybrids.parents.get(name)) for name in hybrids.part_names):
        for i in range(6 if parent else 0):
            mask = hybrids.parts[i] == 1 + hybrids.part_names.index(part)
            if mask.sum() >= SMALLEST_PART:
                fits = place_resemblance(explainer.concepts, activations.maps[i:i + 1],
                                         torch.from_numpy(mask)[None, None])[0, 0]
                found = CLASSES[fits.argmax()]
                among = max(("lion", "tiger"), key=lambda name: fits[CLASSES.index(name)])
                rows.append(("liger", i, part, parent, found, found == parent, among == parent))
    assert list(table.itertuples(index=False, name=None)) == rows and len(rows) > 20
    assert table.columns.tolist() == ["hybrid", "picture", "part", "parent", "found", "right", "right_among"]
    assert (table["right_among"] >= table["right"]).all() and table["right_among"].nunique() == 2


def test_hybrid_parts_of_more_pictures_than_a_batch(explainer, hybrids, monkeypatch):
    expected = hybrid_parts(explainer, hybrids)
    for module in (ood, asxai.explain.explainer):
        monkeypatch.setattr(module, "BATCH", 4)
    pd.testing.assert_frame_equal(hybrid_parts(explainer, hybrids), expected)


def test_parts_that_are_hidden_or_tiny_are_not_asked(explainer, hybrids):
    parts = hybrids.parts.copy()
    leg = 1 + hybrids.part_names.index("leg")
    parts[0][parts[0] == leg] = 0
    parts[1][parts[1] == leg] = 0
    parts[1].flat[:SMALLEST_PART - 1] = leg
    parts[2][parts[2] == leg] = 0
    parts[2].flat[:SMALLEST_PART] = leg
    table = hybrid_parts(explainer, hybrids._replace(parts=parts))
    asked = set(table[table["part"] == "leg"]["picture"])
    assert not {0, 1} & asked and 2 in asked


def test_parts_summary():
    rows = [("liger", 0, "leg", "tiger", "tiger", True, True), ("liger", 1, "leg", "tiger", "pig", False, True),
            ("liger", 2, "leg", "tiger", "pig", False, False), ("tigon", 0, "leg", "lion", "lion", True, True)]
    columns = ["hybrid", "picture", "part", "parent", "found", "right", "right_among"]
    found = parts_summary(pd.DataFrame(rows, columns=columns))
    assert found.to_dict("records") == [
        {"hybrid": "liger", "part": "leg", "parent": "tiger", "pictures": 3, "right": pytest.approx(1 / 3),
         "right_among": pytest.approx(2 / 3), "most often": "pig"},
        {"hybrid": "tigon", "part": "leg", "parent": "lion", "pictures": 1, "right": 1, "right_among": 1,
         "most often": "lion"}]


def test_parents_table_against_a_loop(explainer, study, hybrids):
    table = parents_table(explainer, hybrids)
    pcs, softmax = explainer.pcs(hybrids.pictures)
    assert table.columns.tolist() == ["hybrid", "picture", "predicted", "probability", "concepts", "softmax"]
    for i, row in enumerate(table.itertuples()):
        sums = [sum(value for value in pcs[i, c] if not math.isnan(value)) for c in range(3)]
        assert row.concepts == (CLASSES[int(np.argmin(sums))] == "pig")  # both parents above the third class
        assert row.softmax == (CLASSES[softmax[i].argmin()] == "pig")
        assert row.predicted == CLASSES[softmax[i].argmax()] and row.probability == softmax[i].max()
        assert (row.hybrid, row.picture) == ("liger", i)


@pytest.mark.parametrize("function", [hybrid_parts, parents_table])
def test_parents_that_the_study_does_not_know(explainer, plain, hybrids, function):
    with pytest.raises(ValueError, match="hybrids 'liger' have parents that the study does not know: lion, tiger; use "
                                         "a study of the data set that they were drawn for"):
        function(plain, hybrids)
    odd = hybrids._replace(parents=hybrids.parents | {"tail": "zebra"})
    with pytest.raises(ValueError, match="does not know: zebra"):
        function(explainer, odd)


# --- Detection -------------------------------------------------------------------------------------------------------


def test_detection_scores_against_the_textbook(explainer, study, hybrids, activations):
    found = detection_scores(explainer, hybrids.pictures)
    assert list(found) == [PCS, CONCEPTS, MSP, ENERGY, MAHALANOBIS, NEAREST]
    assert all(own.shape == (6,) and np.isfinite(own).all() for own in found.values())
    logits = activations.logits.double().numpy()
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found[MSP], -(exponents / exponents.sum(axis=1, keepdims=True)).max(axis=1), atol=1e-5)
    np.testing.assert_allclose(found[ENERGY], -np.log(exponents.sum(axis=1)) - logits.max(axis=1), atol=1e-4)

    train = study.data.train
    known, new = study.similarity(train).flatten(1).double().numpy(), activations.similarity.flatten(1).double().numpy()
    means = np.stack([known[train.labels == label].mean(axis=0) for label in range(3)])
    centred = known - means[train.labels]
    precision = np.linalg.inv(centred.T @ centred + 1e-6 * np.eye(15))
    distance = np.array([min((row - mean) @ precision @ (row - mean) / 2 for mean in means) for row in new])
    np.testing.assert_allclose(found[MAHALANOBIS], distance, rtol=0.01)

    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distance = [sorted(np.linalg.norm(unit(known) - row, axis=1))[9] for row in unit(new)]
    np.testing.assert_allclose(found[NEAREST], distance, atol=1e-5)

    pcs, softmax = explainer.pcs(hybrids.pictures)
    activation = concept_activation(explainer.concepts, activations.similarity)
    for name, values in ((PCS, pcs), (CONCEPTS, activation)):
        expected = [-slow_weakest_leads(one, label) for one, label in zip(values, softmax.argmax(axis=1))]
        np.testing.assert_allclose(found[name], expected, atol=1e-4)


def slow_weakest_leads(values, label, count=2):
    """Of one picture, `(class, concept)`."""
    leads = []
    for k in range(values.shape[1]):
        rivals = [values[c, k] for c in range(len(values)) if c != label and not math.isnan(values[c, k])]
        if not math.isnan(values[label, k]):
            leads.append(values[label, k] - max(rivals, default=0.0))
    weakest = sorted(leads)[:count]
    return sum(weakest) / len(weakest) if weakest else 0.0


@pytest.mark.parametrize("count", [1, 2, 9])
def test_weakest_leads_against_a_loop(count):
    rng = np.random.default_rng(0)
    values, predicted = rng.normal(size=(30, 4, 5)), rng.integers(0, 4, 30)
    values[:, rng.random((4, 5)) < 0.4] = np.nan
    values[:, 2] = np.nan  # a class without concepts
    before = values.copy()
    found = benchmarks_detection.weakest_leads(values, predicted, count)
    np.testing.assert_allclose(found, [slow_weakest_leads(v, p, count) for v, p in zip(values, predicted)], atol=1e-12)
    np.testing.assert_array_equal(values, before)
    assert (found[predicted == 2] == 0).all() and (found != 0).any()


def test_a_split_is_scored_from_its_cached_features(explainer, study):
    split = study.data.test
    kept, direct = detection_scores(explainer, split), detection_scores(explainer, to_batch(split.paths, SIZE))
    for name in (MSP, ENERGY, NEAREST):
        np.testing.assert_allclose(kept[name], direct[name], atol=0.01)
    for name in kept:
        assert len(kept[name]) == 9 and np.corrcoef(kept[name], direct[name])[0, 1] > 0.9


def test_fewer_training_pictures_than_neighbours(explainer, study, hybrids, monkeypatch):
    monkeypatch.setattr(benchmarks_detection, "NEIGHBOURS", 10_000)
    farthest = detection_scores(explainer, hybrids.pictures)[NEAREST]
    known = study.similarity(study.data.train).flatten(1)
    known = known / known.norm(dim=1, keepdim=True)
    new = study.activate(list(hybrids.pictures)).similarity.flatten(1)
    np.testing.assert_allclose(farthest, torch.cdist(new / new.norm(dim=1, keepdim=True), known).amax(dim=1), atol=1e-3)


def slow_auroc(known, strange):
    """Share of pairs in which the stranger looks stranger; ties count half."""
    return np.mean([1.0 if s > k else 0.5 if s == k else 0.0 for k in known for s in strange])


def slow_false_positive_rate(known, strange):
    """Share of strangers at most as strange as the threshold, the lowest that keeps 95 % of the known."""
    for threshold in sorted({*known, *strange}):
        if sum(value <= threshold for value in known) >= 0.95 * len(known):
            return np.mean([value <= threshold for value in strange])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("digits", [1, 8])  # many ties, and none
def test_detection_table_against_loops(seed, digits):
    rng = np.random.default_rng(seed)
    known, strange = ({"a": rng.normal(mean, 1, count).round(digits), "b": rng.normal(0, 0.2, count).round(digits)}
                      for mean, count in ((0, 40), (1, 25)))
    table = detection_table(known, strange, draws=3).set_index(["method", "measure"])
    for method in ("a", "b"):
        assert table.loc[(method, "AUROC"), "value"] == pytest.approx(slow_auroc(known[method], strange[method]))
        assert table.loc[(method, "FPR at 95 %"), "value"] == pytest.approx(
            slow_false_positive_rate(known[method], strange[method]))


def test_detection_by_hand():
    known, strange = {"a": np.arange(100) / 100}, {"a": np.array([0.935, 0.945, 2.0, 3.0])}
    table = detection_table(known, strange, draws=60).set_index("measure")
    assert table.loc["FPR at 95 %", "value"] == 0.25  # 95 known ones lie at or below .94
    assert table["better"].tolist() == ["higher", "lower"] and set(table["method"]) == {"a"}
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    assert table.loc["AUROC", "low"] < table.loc["AUROC", "high"] <= 1
    even = {"a": np.arange(20.0)}  # a drawn curve would be one straight line, without the points on it
    assert detection_table(even, even, draws=2)["value"].tolist() == pytest.approx([0.5, 0.95])
    apart = detection_table({"a": np.zeros(20)}, {"a": np.ones(20)}, draws=20)
    assert apart[["value", "low", "high"]].to_numpy().tolist() == [[1, 1, 1], [0, 0, 0]]
    alike = detection_table({"a": np.zeros(20)}, {"a": np.zeros(20)}, draws=20)
    assert alike[["value", "low", "high"]].to_numpy().tolist() == [[0.5, 0.5, 0.5], [1, 1, 1]]


@pytest.mark.parametrize("weights", range(4))
def test_weights_of_the_bootstrap_are_pictures_drawn_again(weights):
    rng = np.random.default_rng(weights)
    values, truth = rng.normal(size=30).round(1), np.repeat([0, 1], [18, 12])
    drawn = rng.integers(0, 3, 30)
    known, strange = (np.repeat(values[truth == side], drawn[truth == side]) for side in (0, 1))
    assert benchmarks_detection._auroc(truth, values, drawn) == pytest.approx(slow_auroc(known, strange))
    assert benchmarks_detection._false_positive_rate(truth, values, drawn) == pytest.approx(
        slow_false_positive_rate(known, strange))


# --- What a notebook shows -------------------------------------------------------------------------------------------


def test_region_sheet_is_what_the_panel_draws(explainer, study, hybrids):
    sheet = ood.region_sheet(explainer, hybrids.pictures[2], 80.0, "A liger")
    regions = find_regions(explainer, hybrids.pictures[2:3], 80.0)[0]
    np.testing.assert_array_equal(sheet["picture"], hybrids.pictures[2].permute(1, 2, 0))
    np.testing.assert_array_equal(sheet["masks"], [own.mask for own in regions])
    assert sheet["names"] == [own.name for own in regions] and sheet["class_names"] == list(CLASSES)
    np.testing.assert_allclose(sheet["scores"], np.clip([own.resemblance for own in regions], 0, None))
    np.testing.assert_allclose(sheet["probabilities"], study.predict(hybrids.pictures[2]).probabilities[0], atol=1e-6)
    for own, patch in zip(regions, sheet["exemplars"]):
        best = own.best(1)[0]
        np.testing.assert_array_equal(patch, ood.concept_patch(explainer, best, own.concepts[best]))
    assert len(sheet["exemplars"]) == len(regions) and sheet["title"] == "A liger"


def test_the_parent_of_a_place_is_that_of_most_pixels_there():
    parts = np.zeros((2, 8, 8), np.uint8)  # head, leg, tail, wing: 1 to 4; the last has no parent
    parts[1, :4, :4], parts[1, :4, 4:], parts[1, 4:, :2], parts[1, 4:, 6:] = 1, 2, 3, 4
    own = Hybrids("liger", {"head": "lion", "leg": "tiger", "tail": "lion"}, torch.zeros(2, 3, 8, 8), parts,
                  ("head", "leg", "tail", "wing"))
    masks = np.zeros((6, 16, 16), bool)  # twice as fine as the parts
    masks[0, :4, 6:14] = True  # two columns of four of the lion's head, six of the tiger's leg
    masks[1, :8, 6:10], masks[1, 12:, :4] = True, True  # as much of head as of leg, and the lion's tail
    masks[2, 8:, 4:14] = True  # all background, but for a part without a parent
    masks[3, 8:, 2:12] = True  # mostly background, but what is drawn is the lion's
    masks[4, 0, 8] = True
    assert ood.place_parents(own, 1, masks) == ["tiger", "lion", "", "lion", "tiger", ""]
    assert ood.place_parents(own, 0, masks) == [""] * 6
    assert ood.place_parents(own, 1, masks[:, ::2, ::2])[:4] == ["tiger", "lion", "", "lion"]


def test_the_sheet_of_a_hybrid_knows_its_parents(explainer, hybrids):
    sheet = ood.hybrid_sheet(explainer, hybrids, 80.0, "A liger", 2)
    plain_sheet = ood.region_sheet(explainer, hybrids.pictures[2], 80.0, "A liger")
    truths = sheet.pop("truths")
    assert truths == ood.place_parents(hybrids, 2, sheet["masks"]) and len(truths) == len(sheet["names"])
    assert set(truths) <= {"lion", "tiger", ""} and sheet.keys() == plain_sheet.keys()
    np.testing.assert_array_equal(sheet["masks"], plain_sheet["masks"])
    assert sheet["title"] == "A liger"
    figure, table = ood_plots.region_panel(**sheet, truths=truths)  # names of arguments fit
    assert dict(zip(table["region"], table["truth"])) == dict(zip(sheet["names"], truths))
    plt.close(figure)


def test_how_many_places_are_given_to_their_parent():
    sheet = {"names": ["head", "leg", "tail", "sky"], "class_names": ["lion", "tiger"],
             "scores": np.array([[0.9, 0.1], [0.2, 0.6], [0.7, 0.3], [0.5, 0.4]]),
             "truths": ["lion", "tiger", "tiger", ""]}
    assert ood.places_told(sheet) == ("2 of 3 places are given to their true parent: tail (of tiger) is given to "
                                            "lion.")
    two = {"names": ["head", "leg"], "scores": sheet["scores"][:2], "class_names": ["lion", "tiger"]}
    assert ood.places_told(two | {"truths": ["lion", "tiger"]}) == "2 of 2 places are given to their true parent."
    assert ood.places_told(two | {"truths": ["lion", "lion"]}).startswith("1 of 2 places is given")


def planted_parents(*kinds):
    """kinds: name, pictures, of these found by concepts, and by the softmax."""
    return pd.DataFrame([{"hybrid": kind, "picture": i, "concepts": i < concepts, "softmax": i < softmax}
                         for kind, count, concepts, softmax in kinds for i in range(count)])


def test_for_which_kinds_concepts_do_better():
    table = planted_parents(("liger", 4, 4, 4), ("zorse", 4, 3, 1), ("leopon", 4, 1, 4), ("tigon", 4, 2, 0))
    assert ood.kinds_told(table) == (
        "Concepts find all parents more often than the softmax for zorse (75.0 % against 25.0 %), tigon (50.0 % "
        "against 0.0 %); less often than the softmax for leopon (25.0 % against 100.0 %); as often as the softmax "
        "for liger (100.0 % against 100.0 %). The mean over kinds (4, of 4 pictures each) is 62.5 % by concepts and 56.2 % by "
        "the softmax.")
    uneven = ood.kinds_told(planted_parents(("liger", 8, 8, 8), ("zorse", 2, 0, 1)))
    assert "more often" not in uneven and "of 2 to 8 pictures each) is 50.0 % by concepts and 75.0 %" in uneven
    assert ood.kinds_told(pd.DataFrame()) == ""


def test_which_concept_is_highest_and_which_of_two_parts():
    *_, plants = planted_tables()
    told = ood.ranks_told(plants, ["petal", "centre"])
    assert told == ("Of rose the highest is petal (0.90); as means over concepts of one name, petal 0.70 and centre "
                    "0.30. Of daisy the highest is leaf (2.00); as means over concepts of one name, petal 0.60 and "
                    "centre 0.50. The paper's order, petal above centre, is found for 2 of 2 classes.")
    assert ood.ranks_told(plants, ["centre", "petal"]).endswith(
        "The paper's order, centre above petal, is found for 0 of 2 classes: here it is the reverse.")
    mixed = ood.ranks_told(plants, ["centre", "leaf"])  # a rose without leaves
    assert "centre 0.30. Of daisy" in mixed and mixed.endswith("is found for 0 of 1 class: here it is the reverse.")
    assert ood.ranks_told(plants.assign(concept="bark"), ["centre", "leaf"]) == (
        "Of rose the highest is bark (0.90). Of daisy the highest is bark (2.00).")
    assert ood.ranks_told(pd.DataFrame(), ["petal", "centre"]) == ""


def test_the_patch_of_a_concept_is_cut_from_the_picture_of_its_weightiest_vector(explainer, study):
    for label in range(3):
        for k in explainer.concepts.of_class(label):
            table = study.prototypes[study.prototypes["class"] == CLASSES[label]].set_index("basis")
            weightiest = max(np.flatnonzero(MEMBERS[label] == k), key=lambda basis: table.loc[basis, "weight"])
            row = table.loc[weightiest]
            picture = study.pictures(study.data.train.paths[row["picture"]])[0]
            corners = [min(max(int((row[axis] + 0.5) * 16 - 12), 0), 72) for axis in ("row", "column")]
            found = ood.concept_patch(explainer, label, NAMES[k - 1])
            np.testing.assert_array_equal(found, picture[corners[0]:corners[0] + 24, corners[1]:corners[1] + 24])
    assert ood.concept_patch(explainer, 0, "head", share=0.5).shape == (48, 48, 3)


def test_pictures_of_all_kinds_and_the_first_of_a_class(study, hybrids):
    other = hybrids._replace(pictures=hybrids.pictures[:2].flip(3))
    assert torch.equal(ood.every_picture({"a": hybrids, "b": other}),
                       torch.cat([hybrids.pictures, other.pictures]))
    path = ood.first_picture(study.data.test, study, "tiger")
    assert path.parent.name == "tiger" and path in study.data.test.paths
    assert path == next(own for own in study.data.test.paths if own.parent.name == "tiger")


@pytest.fixture
def stranger_folder(tmp_path, hybrids):
    for kind, count in (("liger", 3), ("quokka", 1)):
        (tmp_path / kind).mkdir()
        for i in range(count):
            Image.fromarray(hybrids.pictures[i].permute(1, 2, 0).numpy()).save(tmp_path / kind / f"{i}.png")
    (tmp_path / "liger" / ".DS_Store").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_strangers_of_a_folder(explainer, study, hybrids, stranger_folder):
    found = ood.folder_pictures(stranger_folder, SIZE)
    assert {kind: names for kind, (names, _) in found.items()} == {"liger": ["0.png", "1.png", "2.png"],
                                                                   "quokka": ["0.png"]}
    torch.testing.assert_close(found["liger"][1], hybrids.pictures[:3])
    table, panels = ood.folder_votes(explainer, str(stranger_folder), 80.0)
    assert table.columns.tolist() == ["kind", "picture", "predicted", "probability", "class", "share"]
    regions = find_regions(explainer, hybrids.pictures[:3], 80.0)
    softmax = study.predict(list(hybrids.pictures[:3])).probabilities
    for i in range(3):
        own = table[(table["kind"] == "liger") & (table["picture"] == f"{i}.png")]
        votes = class_votes(regions[i], 3)
        shares = [vote / votes.sum() if votes.any() else 0.0 for vote in votes]
        assert own["class"].tolist() == list(CLASSES) and own["share"].tolist() == pytest.approx(shares)
        assert set(own["predicted"]) == {CLASSES[softmax[i].argmax()]}
        assert own["probability"].tolist() == pytest.approx([softmax[i].max()] * 3)
    assert list(panels) == ["liger", "quokka"] and panels["liger"]["title"] == "liger: 0.png"
    np.testing.assert_array_equal(panels["quokka"]["picture"], hybrids.pictures[0].permute(1, 2, 0))


def test_a_folder_without_strangers(tmp_path, explainer):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match="holds no folders of pictures; give a folder with one folder per") as error:
            ood.folder_votes(explainer, folder)
        assert repr(str(folder)) in str(error.value)
    (tmp_path / "quokka").mkdir()
    (tmp_path / "quokka" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png: no picture of a kind that can be read"):
        ood.folder_votes(explainer, tmp_path)


def test_concept_means_against_a_loop(explainer, study):
    table = ood.concept_means(explainer, ["pig", "tiger"])
    scores, _ = explainer.split_pcs(study.data.test)
    expected = {(name, concept): scores[study.data.test.labels == label, label, k].mean()
                for label, name in ((2, "pig"), (1, "tiger")) for k, concept in enumerate(NAMES)
                if (MEMBERS[label] == k + 1).any()}
    assert {(row["class"], row["concept"]): row["pcs"] for _, row in table.iterrows()} == pytest.approx(expected)
    assert table["class"].tolist() == ["pig"] * 3 + ["tiger"] * 2
    for _, own in table.groupby("class"):
        assert own["pcs"].is_monotonic_decreasing
    with pytest.raises(ValueError, match=r"species: 'rose' is no class of menagerie-wild; there are lion, tiger, pig"):
        ood.concept_means(explainer, ["pig", "rose"])
    assert ood.concept_means(explainer, []).empty


# --- Without hybrids -------------------------------------------------------------------------------------------------


def test_a_plain_folder_has_regions_and_detection(plain, hybrids):
    study = plain.study
    pictures = to_batch(spread_over(study.data.test, 3).paths, 64)
    found = find_regions(plain, pictures)
    assert len(found) == 3 and all(own and own[0].mask.shape == (64, 64) for own in found)
    assert all(own.concepts[c] in plain.concepts.names for regions in found for own in regions for c in range(2))
    noise = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    table = detection_table(detection_scores(plain, study.data.test), detection_scores(plain, noise), draws=5)
    assert len(table) == 12 and table["value"].between(0, 1).all()
    assert hybrid_kinds(study.data.name) == {}


# --- Claims ----------------------------------------------------------------------------------------------------------


def planted_tables(right=(True, True, True, True, False), both=(True, True), pcs=0.9, lead=0.95, msp=0.8):
    parts = pd.DataFrame({"right": right})
    parents = pd.DataFrame({"hybrid": ["liger"] * len(both) + ["tapir"], "concepts": [*both, False],
                            "softmax": [False] * len(both) + [True]})
    values = {PCS: pcs, CONCEPTS: lead, MSP: msp, ENERGY: 0.7, MAHALANOBIS: 0.85, NEAREST: 0.6}
    rows = [(method, measure, value) for method, value in values.items() for measure in ("AUROC", "FPR at 95 %")]
    plants = pd.DataFrame([("rose", "petal", 0.9), ("rose", "petal 2", 0.5), ("rose", "centre", 0.3),
                           ("daisy", "petal", 0.6), ("daisy", "centre", 0.5), ("daisy", "leaf", 2.0)],
                          columns=["class", "concept", "pcs"])
    return parts, parents, pd.DataFrame(rows, columns=["method", "measure", "value"]), plants


def claimed(*tables, kind="liger", above=("petal", "centre")):
    return {row["claim"]: (row["here"], row["holds"]) for row in claims(*tables, kind, above)}


def test_claims():
    assert claimed(*planted_tables()) == {
        "hybrid_parents_top2": (1.0, "yes"), "hybrid_parents_all_kinds": (0.5, "no"),
        "hybrid_parents_all_kinds_softmax": (0.5, ""),
        "hybrid_part_accuracy": (0.8, "yes"), "ood_auroc_pcs": (0.9, "yes"),
        "ood_auroc_concept_lead": (0.95, "yes"), "ood_auroc_msp": (0.8, ""), "ood_auroc_best_baseline": (0.85, ""),
        "petals_above_centre_pcs": (pytest.approx(0.25), "yes")}
    assert all(row["seeds"] == 1 for row in claims(*planted_tables(), "liger", ("petal", "centre")))
    worse = claimed(*planted_tables([True, False], [True, False], 0.79, 0.5))
    papers = {row["claim"]: row["paper"] for row in claims(*planted_tables(), "liger", ("petal", "centre"))}
    assert papers["ood_auroc_best_baseline"] == "" and papers["hybrid_parents_top2"] == "both are found"
    assert worse["hybrid_parents_top2"] == (0.5, "no") and worse["hybrid_part_accuracy"] == (0.5, "no")
    assert worse["ood_auroc_pcs"] == (0.79, "no") and worse["ood_auroc_concept_lead"] == (0.5, "no")
    assert claimed(*planted_tables(), kind="tapir")["hybrid_parents_top2"] == (0.0, "no")
    assert claimed(*planted_tables(pcs=0.8))["ood_auroc_pcs"] == (0.8, "yes")  # not below is enough


def test_parents_of_all_kinds_are_a_mean_over_kinds():
    nothing = pd.DataFrame()
    table = planted_parents(("liger", 10, 10, 2), ("tapir", 100, 92, 90))
    assert claimed(nothing, table, nothing, nothing) == {
        "hybrid_parents_top2": (1.0, "yes"), "hybrid_parents_all_kinds": (0.96, "yes"),
        "hybrid_parents_all_kinds_softmax": (0.55, "")}
    others = pd.DataFrame({"seed": [1], "hybrid_parents_all_kinds": [0.9], "hybrid_parents_all_kinds_softmax": [0.65]})
    rows = {row["claim"]: row for row in claims(nothing, table, nothing, nothing, "liger", (), others)}
    assert (rows["hybrid_parents_all_kinds"]["here"], rows["hybrid_parents_all_kinds"]["holds"]) == (0.93, "no")
    assert rows["hybrid_parents_all_kinds_softmax"]["here"] == 0.6


def test_claims_over_seeds():
    others = pd.DataFrame([{"seed": 1, "hybrid_parents_top2": 0.8, "ood_auroc_pcs": 0.7, "ood_auroc_msp": 0.9},
                           {"seed": 2, "hybrid_parents_top2": 0.9, "ood_auroc_pcs": 0.8, "ood_auroc_msp": 0.7}])
    rows = {row["claim"]: row for row in claims(*planted_tables(), "liger", ("petal", "centre"), others)}
    here = {name: (row["here"], row["seeds"], row["holds"]) for name, row in rows.items()}
    assert here["hybrid_parents_top2"] == (0.9, 3, "no") and here["ood_auroc_pcs"] == (0.8, 3, "yes")
    assert here["ood_auroc_msp"] == (0.8, 3, "") and here["hybrid_part_accuracy"] == (0.8, 1, "yes")


def test_another_seed_is_one_row_of_the_same_claims(explainer, study, hybrids):
    drawn = {"liger": hybrids, "tigon": hybrids._replace(name="tigon", pictures=hybrids.pictures.flip(3))}
    row = ood.seed_row(study, drawn, "liger")
    own = explain_explainer.Explainer(study)
    parts, parents = (pd.concat([of(own, one) for one in drawn.values()]) for of in (hybrid_parts, parents_table))
    detection = detection_table(detection_scores(own, study.data.test),
                                detection_scores(own, ood.every_picture(drawn)), draws=2)
    rows = claims(parts, parents, detection, pd.DataFrame(), "liger", ())
    assert row.to_dict("records") == [{"seed": 0, **{one["claim"]: one["here"] for one in rows}}] and len(rows) == 8


def test_claims_of_what_there_is():
    parts, parents, detection, plants = planted_tables()
    nothing = pd.DataFrame()
    assert claimed(nothing, nothing, nothing, nothing) == {}
    assert list(claimed(nothing, nothing, detection, nothing)) == [
        "ood_auroc_pcs", "ood_auroc_concept_lead", "ood_auroc_msp", "ood_auroc_best_baseline"]
    assert list(claimed(parts, parents, nothing, nothing, kind="zorse")) == [
        "hybrid_parents_all_kinds", "hybrid_parents_all_kinds_softmax", "hybrid_part_accuracy"]
    assert "petals_above_centre_pcs" not in claimed(nothing, nothing, nothing, plants, above=("petal", "root"))
    reverse = claimed(nothing, nothing, nothing, plants, above=("centre", "petal"))
    assert reverse == {"centres_above_petal_pcs": (pytest.approx(-0.25), "no")}
    row, = claims(nothing, nothing, nothing, plants, "liger", ("petal", "centre"), ranks_paper="2 against 1")
    assert row["paper"] == "2 against 1"


def test_hybrids_are_a_plain_value(hybrids):
    assert isinstance(hybrids, Hybrids) and hybrids._replace(name="x").name == "x"
