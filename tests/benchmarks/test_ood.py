"""Regions, hybrids and strangers on a tiny study of three drawn animals and a tiny plain one, against plain loops."""

import dataclasses
import functools
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import QUICK, picture_folder
from PIL import Image

import asxai
import menagerie
from asxai.benchmarks import ood
from asxai.benchmarks.claims import seed_row
from asxai.benchmarks.detection import CONCEPTS, EXPLANATION, MSP, detection_scores, detection_table
from asxai.benchmarks.ood import (
    LEAST_RESEMBLANCE,
    SAME_PLACE,
    SMALLEST_PART,
    Hybrids,
    Region,
    class_votes,
    draw_hybrids,
    find_regions,
    hybrid_parts,
    parents_table,
    place_resemblance,
)
from asxai.concepts.concepts import Concepts
from asxai.concepts.masks import semantic_masks
from asxai.data import sources
from asxai.data.datasets import spread_over
from asxai.data.pictures import DataError, to_batch
from asxai.explain.explainer import Explainer
from asxai.figures import ood as ood_plots

NAN, SIZE, WILD = np.nan, 96, "menagerie-wild"
CLASSES, NAMES = ("lion", "tiger", "pig"), ("head", "leg", "tail")
MEMBERS = np.array([[1, 2, 0, 3, 0], [1, 2, 0, 1, 0], [2, 1, 3, 0, 0]])  # the second class lacks the third concept
NOTHING = pd.DataFrame()


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


# --- Regions ---------------------------------------------------------------------------------------------------------


def test_place_resemblance_against_a_loop():
    rng, concepts = np.random.default_rng(0), Concepts(MEMBERS, NAMES, CLASSES)
    maps = rng.uniform(-1, 1, (4, 3, 5, 6, 6)).astype(np.float32)
    masks = rng.random((4, 2, 24, 24)) < 0.1  # a cell is 4 x 4 pixels
    masks[1, 0] = False
    masks[2, 1] = np.arange(24) < 4
    fits = place_resemblance(concepts, torch.from_numpy(maps), torch.from_numpy(masks))
    for picture, place, label in np.ndindex(4, 2, 3):
        total = weight = 0.0
        for row, column in np.ndindex(6, 6):
            share = masks[picture, place, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].mean()
            # background vectors do not count
            best = max(maps[picture, label, j, row, column] for j in range(5) if MEMBERS[label, j])
            total, weight = total + share * best, weight + share
        expected = total / weight if weight else 0.0
        assert fits[picture, place, label] == pytest.approx(expected, abs=1e-6)
    assert fits.shape == (4, 2, 3) and fits.dtype == np.float64 and (fits[1, 0] == 0).all()


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
        regions.append((mask, tuple(NAMES[j] for j in best), pcs[np.arange(len(members)), best]))
    return regions


@pytest.mark.parametrize("percentile", [95.0, 80.0])
def test_regions_against_a_loop_over_concepts(explainer, hybrids, activations, percentile):
    pictures = find_regions(explainer, hybrids.pictures, percentile)
    assert len(pictures) == 6 and max(len(regions) for regions in pictures) > 1
    for regions, maps in zip(pictures, activations.maps):
        expected = slow_regions(explainer, maps.double().numpy(), percentile)
        masks = torch.from_numpy(np.stack([mask for mask, _, _ in expected]))[None]
        resemblance = place_resemblance(explainer.concepts, maps[None], masks)[0]
        for region in regions:
            k = NAMES.index(region.name)
            mask, names, pcs = expected[k]
            assert (region.mask != mask).mean() < 0.002  # ranks of interpolated values may tie
            np.testing.assert_allclose(region.resemblance, resemblance[k], atol=1e-3)
            assert region.concepts == names
            np.testing.assert_allclose(region.pcs, pcs, atol=1e-3)
        order = [region.resemblance.max() for region in regions]
        assert order == sorted(order, reverse=True) and order[0] == pytest.approx(resemblance.max(), abs=1e-3)


def overlap(first, second):
    return (first & second).sum() / max(1, min(first.sum(), second.sum()))


def test_regions_lie_apart_and_fit_a_class(explainer, hybrids, monkeypatch):
    each = {}
    for least in (0.0, 0.5, 99.0):
        monkeypatch.setattr(ood, "SEEN", least)
        each[least] = find_regions(explainer, hybrids.pictures, 80.0)
    for regions, fewer, one in zip(*each.values()):
        assert regions and len({region.name for region in regions}) == len(regions)
        for i, region in enumerate(regions):
            assert all(overlap(region.mask, other.mask) <= SAME_PLACE for other in regions[:i])
            assert i == 0 or region.resemblance.max() >= LEAST_RESEMBLANCE
        assert [region.name for region in one] == [regions[0].name]  # one is always kept, the best
        assert all(region.pcs[region.best] >= 0.5 for region in fewer[1:])
        assert fewer[0].name == regions[0].name and len(fewer) <= len(regions) + 1
    assert len({len(regions) for regions in each[0.0]}) > 1
    assert sum(map(len, each[0.5])) < sum(map(len, each[0.0]))


def planted_region(name, rows, resemblance, pcs=(1.0, 1.0, 1.0)):
    mask = np.zeros((10, 10), bool)
    mask[rows] = True
    return Region(name, mask, np.array(resemblance), ("head",) * 3, np.array(pcs))


def test_the_better_of_two_at_one_place_is_kept():
    apart = lambda *regions: [region.name for region in ood._apart(regions)]
    low = planted_region("low", slice(0, 5), [0.5, 0.6, 0.1])
    high = planted_region("high", slice(2, 7), [0.9, 0.1, 0.1])
    assert apart(low, high) == ["high"]  # 3 of 5 rows are shared
    beside = planted_region("beside", slice(5, 10), [0.5, 0.5, 0.5])  # shares 2 of 5 rows: no more than .4
    assert apart(low, high, beside) == ["high", "beside"] and apart(low, beside) == ["low", "beside"]
    inside = planted_region("inside", slice(3, 5), [0.6, 0.6, 0.6])  # all of it, if but 2 of the other's 5 rows
    far = planted_region("far", slice(8, 10), [0.39, 0.1, 0.1])  # resembles no class
    weak = planted_region("weak", slice(8, 10), [0.1, 0.8, 0.1], [1.0, 0.05, 1.0])  # its best class has a low PCS
    assert apart(high, inside) == apart(high, far) == apart(high, weak) == ["high"]
    empty = planted_region("empty", slice(0, 0), [0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    assert apart(empty, empty) == ["empty"] and apart() == []


def test_best_classes_and_votes():
    first = planted_region("head", slice(0, 2), [0.9, 0.9, 0.5], [0.7, 0.1, 0.3])
    second = planted_region("leg", slice(5, 7), [0.8, 0.6, 0.2], [0.2, 0.4, 0.9])
    third = planted_region("tail", slice(8, 9), [0.1, 0.2, 0.7], [0.0, 0.0, 0.25])
    assert (first.best, third.best) == (0, 2)  # of equal ones the first
    assert class_votes([first, second, third], 3).tolist() == pytest.approx([0.9, 0, 0.25])
    assert class_votes([], 3).tolist() == [0, 0, 0]


# --- Hybrids ---------------------------------------------------------------------------------------------------------


def test_hybrids_are_always_the_same(hybrids):
    again = draw_hybrids(WILD, "liger", 2, SIZE)
    assert torch.equal(again.pictures, hybrids.pictures[:2])
    assert hybrids.pictures.shape == (6, 3, SIZE, SIZE) and hybrids.pictures.dtype == torch.uint8
    assert not torch.equal(hybrids.pictures[0], hybrids.pictures[1])
    for i in range(2):
        drawing = menagerie.render(WILD, "liger", ood.FIRST_SEED + i)
        np.testing.assert_array_equal(hybrids.parts[i], drawing.parts)
        torch.testing.assert_close(hybrids.pictures[i], to_batch([drawing.picture], SIZE)[0])
    assert hybrids.name == "liger" and hybrids.part_names == tuple(menagerie.DATA_SETS[WILD].parts)
    kinds = ood.hybrid_kinds(WILD)
    assert set(kinds) == set(menagerie.DATA_SETS[WILD].hybrids) and kinds["liger"] == hybrids.parents
    assert set(hybrids.parents.values()) == {"lion", "tiger"}
    assert ood.hybrid_kinds("menagerie-pets") == ood.hybrid_kinds("/some/folder") == {}


def test_seeds_of_hybrids_are_far_from_those_of_any_split():
    most = max(max(spec.train_per_class, spec.test_per_class) for spec in menagerie.DATA_SETS.values())
    assert ood.FIRST_SEED > 1_000_000 + most


def test_hybrid_parts_against_a_loop(explainer, hybrids, activations, monkeypatch):
    rows = []
    for part, parent in ((name, hybrids.parents.get(name)) for name in hybrids.part_names):
        for i in range(6 if parent else 0):
            mask = hybrids.parts[i] == 1 + hybrids.part_names.index(part)
            if mask.sum() >= SMALLEST_PART:
                mask, maps = torch.from_numpy(mask)[None, None], activations.maps[i : i + 1]
                fits = place_resemblance(explainer.concepts, maps, mask)[0, 0]
                best = CLASSES[fits.argmax()]
                among = max(("lion", "tiger"), key=lambda name: fits[CLASSES.index(name)])
                rows.append(("liger", i, part, parent, best, best == parent, among == parent))
    table = hybrid_parts(explainer, hybrids)
    assert list(table.itertuples(index=False, name=None)) == rows and len(rows) > 20
    assert table.columns.tolist() == ["hybrid", "picture", "part", "parent", "found", "right", "right_among"]
    assert (table["right_among"] >= table["right"]).all() and table["right_among"].nunique() == 2
    for module in (ood, asxai.explain.explainer):
        monkeypatch.setattr(module, "BATCH", 4)
    pd.testing.assert_frame_equal(hybrid_parts(explainer, hybrids), table)  # of more pictures than a batch


def test_parts_that_are_hidden_or_tiny_are_not_asked(explainer, hybrids):
    parts, leg = hybrids.parts.copy(), 1 + hybrids.part_names.index("leg")
    for picture, pixels in enumerate((0, SMALLEST_PART - 1, SMALLEST_PART)):
        parts[picture][parts[picture] == leg] = 0
        parts[picture].flat[:pixels] = leg
    table = hybrid_parts(explainer, hybrids._replace(parts=parts))
    asked = set(table[table["part"] == "leg"]["picture"])
    assert not {0, 1} & asked and 2 in asked


def test_parts_summary():
    rows = [
        ("liger", 0, "leg", "tiger", "tiger", True, True),
        ("liger", 1, "leg", "tiger", "pig", False, True),
        ("liger", 2, "leg", "tiger", "pig", False, False),
        ("tigon", 0, "leg", "lion", "lion", True, True),
    ]
    table = pd.DataFrame(rows, columns=["hybrid", "picture", "part", "parent", "found", "right", "right_among"])
    summary = ood.parts_summary(table)
    assert list(summary) == ["hybrid", "part", "parent", "pictures", "right", "right_among", "most often"]
    assert summary.iloc[0].tolist() == ["liger", "leg", "tiger", 3, pytest.approx(1 / 3), pytest.approx(2 / 3), "pig"]
    assert summary.iloc[1].tolist() == ["tigon", "leg", "lion", 1, 1, 1, "lion"]


def test_parents_table_against_a_loop(explainer, hybrids):
    table = parents_table(explainer, hybrids)
    pcs, softmax = explainer.pcs(hybrids.pictures)
    assert table.columns.tolist() == ["hybrid", "picture", "predicted", "probability", "concepts", "softmax"]
    for i, row in enumerate(table.itertuples()):
        sums = [sum(value for value in pcs[i, c] if not math.isnan(value)) for c in range(3)]
        assert row.concepts == (CLASSES[int(np.argmin(sums))] == "pig")  # both parents above the third class
        assert row.softmax == (CLASSES[softmax[i].argmin()] == "pig")
        assert row.predicted == CLASSES[softmax[i].argmax()] and row.probability == softmax[i].max()
        assert (row.hybrid, row.picture) == ("liger", i)


# --- What a notebook shows -------------------------------------------------------------------------------------------


def test_region_sheet_is_what_the_panel_draws(explainer, study, hybrids):
    sheet = ood.region_sheet(explainer, hybrids.pictures[2], 80.0, "A liger")
    regions = find_regions(explainer, hybrids.pictures[2:3], 80.0)[0]
    np.testing.assert_array_equal(sheet["picture"], hybrids.pictures[2].permute(1, 2, 0))
    np.testing.assert_array_equal(sheet["masks"], [region.mask for region in regions])
    assert sheet["names"] == [ood.place_name(explainer.concepts, region) for region in regions]
    assert sheet["class_names"] == list(CLASSES)
    np.testing.assert_allclose(sheet["scores"], np.clip([region.resemblance for region in regions], 0, None))
    np.testing.assert_allclose(sheet["probabilities"], study.predict(hybrids.pictures[2]).probabilities[0], atol=1e-6)
    for region, patch in zip(regions, sheet["exemplars"], strict=True):
        expected = ood.concept_patch(explainer, region.best, region.concepts[region.best])
        np.testing.assert_array_equal(patch, expected)
    truths = ood.place_parents(hybrids, 2, sheet["masks"])
    assert len(truths) == len(sheet["names"]) and set(truths) <= {"lion", "tiger", ""}
    figure, table = ood_plots.region_panel(**sheet, truths=truths)  # names of arguments fit
    assert dict(zip(table["region"], table["truth"])) == dict(zip(sheet["names"], truths))
    plt.close(figure)


def test_a_place_is_called_what_the_class_on_top_calls_it():
    members, by_class = np.array([[1, 2], [1, 0]]), {(1, 1): "concept 1"}
    concepts = Concepts(members, ("mane", "horn"), ("lion", "horse"), by_class)
    place = lambda name, best: ood.Region(name, None, np.eye(2)[best], (), np.zeros(2))
    called = [ood.place_name(concepts, place(name, best)) for name in concepts.names for best in (0, 1)]
    assert called == ["mane", "concept 1", "horn", "concept 2"]  # the horse has no second concept


def test_the_parent_of_a_place_is_that_of_most_pixels_there():
    parts = np.zeros((2, 8, 8), np.uint8)  # head, leg, tail, wing: 1 to 4; the last has no parent
    parts[1, :4, :4], parts[1, :4, 4:], parts[1, 4:, :2], parts[1, 4:, 6:] = 1, 2, 3, 4
    parents = {"head": "lion", "leg": "tiger", "tail": "lion"}
    drawn = Hybrids("liger", parents, torch.zeros(2, 3, 8, 8), parts, ("head", "leg", "tail", "wing"))
    masks = np.zeros((7, 16, 16), bool)  # twice as fine as the parts
    masks[0, :4, 6:14] = True  # two columns of four of the lion's head, six of the tiger's leg
    masks[1, :8, 6:10], masks[1, 12:, :4] = True, True  # as much of head as of leg, and the lion's tail
    masks[2, 8:, 4:14] = True  # all background, but for a part without a parent
    masks[3, 8:, 2:12] = True  # what is drawn is the lion's, but four fifths are background
    masks[4, 0, 8] = True
    masks[5, 8:, 2:6] = True  # half background
    assert ood.place_parents(drawn, 1, masks) == ["tiger", "lion", "", "", "tiger", "lion", ""]
    assert ood.place_parents(drawn, 0, masks) == [""] * 7
    assert ood.place_parents(drawn, 1, masks[:, ::2, ::2])[:4] == ["tiger", "lion", "", ""]


def test_the_patch_of_a_concept_is_cut_from_the_picture_of_its_weightiest_vector(explainer, study):
    for label, k in [(c, k) for c in range(3) for k in explainer.concepts.of_class(c)]:
        table = study.prototypes[study.prototypes["class"] == CLASSES[label]].set_index("basis")
        weightiest = max(np.flatnonzero(MEMBERS[label] == k), key=lambda basis: table.loc[basis, "weight"])
        row = table.loc[weightiest]
        picture = study.pictures(study.data.train.paths[row["picture"]])[0]
        top, left = (min(max(int((row[axis] + 0.5) * 16 - 12), 0), 72) for axis in ("row", "column"))
        patch = ood.concept_patch(explainer, label, NAMES[k - 1])
        np.testing.assert_array_equal(patch, picture[top : top + 24, left : left + 24])


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
    kinds = ood.folder_pictures(stranger_folder, SIZE)
    assert {kind: names for kind, (names, _) in kinds.items()} == {
        "liger": ["0.png", "1.png", "2.png"],
        "quokka": ["0.png"],
    }
    torch.testing.assert_close(kinds["liger"][1], hybrids.pictures[:3])
    table, panels = ood.folder_votes(explainer, str(stranger_folder), 80.0)
    assert table.columns.tolist() == ["kind", "picture", "predicted", "probability", "class", "share"]
    softmax = study.predict(list(hybrids.pictures[:3])).probabilities
    for i, regions in enumerate(find_regions(explainer, hybrids.pictures[:3], 80.0)):
        rows = table[(table["kind"] == "liger") & (table["picture"] == f"{i}.png")]
        votes = class_votes(regions, 3)
        shares = [vote / votes.sum() if votes.any() else 0.0 for vote in votes]
        assert rows["class"].tolist() == list(CLASSES) and rows["share"].tolist() == pytest.approx(shares)
        assert set(rows["predicted"]) == {CLASSES[softmax[i].argmax()]}
        assert rows["probability"].tolist() == pytest.approx([softmax[i].max()] * 3)
    assert list(panels) == ["liger", "quokka"] and panels["liger"]["title"] == "liger: 0.png"
    np.testing.assert_array_equal(panels["quokka"]["picture"], hybrids.pictures[0].permute(1, 2, 0))


def test_a_folder_without_strangers(tmp_path, explainer):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match="holds no folders of pictures; give one with a folder per kind") as error:
            ood.folder_votes(explainer, folder)
        assert repr(str(folder)) in str(error.value)
    (tmp_path / "quokka").mkdir()
    (tmp_path / "quokka" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png: no picture of a kind that can be read"):
        ood.folder_votes(explainer, tmp_path)


def test_concept_means_against_a_loop(explainer, study):
    table = ood.concept_means(explainer, ["pig", "tiger"])
    scores, _ = explainer.split_pcs(study.data.test)
    expected = {
        (name, concept): scores[study.data.test.labels == label, label, k].mean()
        for label, name in ((2, "pig"), (1, "tiger"))
        for k, concept in enumerate(NAMES)
        if (MEMBERS[label] == k + 1).any()
    }
    assert table.set_index(["class", "concept"])["pcs"].to_dict() == pytest.approx(expected)
    assert table["class"].tolist() == ["pig"] * 3 + ["tiger"] * 2
    assert all(of_class["pcs"].is_monotonic_decreasing for _, of_class in table.groupby("class"))
    with pytest.raises(
        ValueError, match=r"species: \['rose'\] are no classes of menagerie-wild; there are lion, tiger"
    ):
        ood.concept_means(explainer, ["pig", "rose"])
    assert ood.concept_means(explainer, []).empty


def test_a_plain_folder_has_regions_and_detection(tmp_path):
    small = QUICK | dict(backbone="resnet18", weights="random", last_stage="layer2", size=64)
    study = asxai.Study.train(picture_folder(tmp_path / "shapes"), folder=tmp_path / "study", **small)
    concepts = Concepts(np.array([[1, 2, 0, 0, 0], [0, 1, 0, 3, 0]]), ("a", "b", "c"), study.class_names)
    plain, pictures = Explainer(study, concepts), to_batch(spread_over(study.data.test, 3).paths, 64)
    regions = find_regions(plain, pictures)
    assert len(regions) == 3 and all(of_picture and of_picture[0].mask.shape == (64, 64) for of_picture in regions)
    assert all(name in concepts.names for of_picture in regions for region in of_picture for name in region.concepts)
    noise = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    table = detection_table(detection_scores(plain, study.data.test), detection_scores(plain, noise), draws=5)
    assert len(table) == 14 and table["value"].between(0, 1).all()
    assert ood.hybrid_kinds(study.data.name) == {}


# --- Claims ----------------------------------------------------------------------------------------------------------


PLANTS = pd.DataFrame(
    [("rose", "petal", 0.9), ("rose", "petal 2", 0.5), ("rose", "centre", 0.3)]
    + [("daisy", "petal", 0.6), ("daisy", "centre", 0.5), ("daisy", "leaf", 2.0)],
    columns=["class", "concept", "pcs"],
)


def planted_parents(*kinds):
    """kinds: name, pictures, and in how many of them concepts, and the softmax, name all parents."""
    rows = [(kind, i, i < concepts, i < softmax) for kind, count, concepts, softmax in kinds for i in range(count)]
    return pd.DataFrame(rows, columns=["hybrid", "picture", "concepts", "softmax"])


def planted_tables(right=(True, True, True, True, False), both=2, own=0.83, lead=0.95, msp=0.8):
    parents = planted_parents(("liger", 2, both, 0), ("tapir", 1, 0, 1))
    values = {EXPLANATION: own, CONCEPTS: lead, MSP: msp, "energy": 0.7, "Mahalanobis": 0.85, "nearest": 0.6}
    rows = [(method, measure, value) for method, value in values.items() for measure in ("AUROC", "FPR at 95 %")]
    detection = pd.DataFrame(rows, columns=["method", "measure", "value"])
    detection = detection.assign(high=detection["value"] + 0.03)
    return pd.DataFrame({"right": right}), parents, detection, PLANTS


def claimed(*tables, kind="liger", above=("petal", "centre"), others=NOTHING):
    rows = ood.claims(*tables, kind, above, others, "2 against 1")
    return {row["claim"]: (row["here"], row["holds"]) for row in rows}


def test_claims():
    assert claimed(*planted_tables()) == {
        "hybrid_parents_top2: liger": (1.0, "yes"),
        "hybrid_parents_all_kinds": (0.5, "no"),
        "hybrid_parents_all_kinds_softmax": (0.5, ""),
        "hybrid_part_accuracy": (0.8, "yes"),
        "ood_auroc_explanation": (0.83, "yes"),  # .03 is chance
        "ood_auroc_concept_lead": (0.95, ""),
        "ood_auroc_msp": (0.8, ""),
        "ood_auroc_best_baseline": (0.85, ""),
        "petals_above_centre_pcs": (pytest.approx(0.25), "yes"),
    }
    worse = claimed(*planted_tables([True, False], 1, 0.79, 0.5))
    assert worse["hybrid_parents_top2: liger"] == (0.5, "no") and worse["hybrid_part_accuracy"] == (0.5, "no")
    assert worse["ood_auroc_explanation"] == (0.79, "no")
    assert claimed(*planted_tables(), kind="tapir")["hybrid_parents_top2: tapir"] == (0.0, "no")
    papers = {
        row["claim"]: row["paper"] for row in ood.claims(*planted_tables(), "liger", ("petal", "centre"), NOTHING)
    }
    assert papers["ood_auroc_best_baseline"] == "" and papers["hybrid_parents_top2: liger"] == "both are found"


def test_parents_of_all_kinds_are_a_mean_over_kinds():
    table = planted_parents(("liger", 10, 10, 2), ("tapir", 100, 92, 90))
    assert claimed(NOTHING, table, NOTHING, NOTHING) == {
        "hybrid_parents_top2: liger": (1.0, "yes"),
        "hybrid_parents_all_kinds": (0.96, "yes"),
        "hybrid_parents_all_kinds_softmax": (0.55, ""),
    }
    others = pd.DataFrame({"seed": [1], "hybrid_parents_all_kinds": [0.9], "hybrid_parents_all_kinds_softmax": [0.65]})
    over = claimed(NOTHING, table, NOTHING, NOTHING, others=others)
    assert over["hybrid_parents_all_kinds"] == (0.93, "no") and over["hybrid_parents_all_kinds_softmax"][0] == 0.6


def test_claims_over_seeds():
    others = pd.DataFrame(
        {
            "seed": [1, 2],
            "hybrid_parents_top2: liger": [0.8, 0.9],
            "ood_auroc_explanation": [0.7, 0.75],
            "ood_auroc_msp": [0.9, 0.7],
        }
    )
    here = claimed(*planted_tables(), others=others)
    assert here["hybrid_parents_top2: liger"] == (0.9, "no") and here["ood_auroc_explanation"] == (0.76, "no")
    assert here["ood_auroc_msp"] == (0.8, "") and here["hybrid_part_accuracy"] == (0.8, "yes")


def test_another_seed_is_one_row_of_the_same_claims(study, hybrids):
    drawn = {"liger": hybrids, "tigon": hybrids._replace(name="tigon", pictures=hybrids.pictures.flip(3))}
    explainer, every = Explainer(study), torch.cat([one.pictures for one in drawn.values()])
    parts, parents = (pd.concat([of(explainer, one) for one in drawn.values()]) for of in (hybrid_parts, parents_table))
    scores = (detection_scores(explainer, pictures) for pictures in (study.data.test, every))
    rows = ood.claims(parts, parents, detection_table(*scores, draws=2), NOTHING, "liger", (), NOTHING)
    pd.testing.assert_frame_equal(ood.seed_claims(study, drawn, every, "liger"), seed_row(0, rows))
    strangers = ood.seed_claims(study, {}, every, "liger")  # no hybrids, and the same pictures
    pd.testing.assert_frame_equal(strangers, seed_row(0, rows[-4:]))
    assert len(rows) == 8


def test_claims_of_what_there_is():
    parts, parents, detection, plants = planted_tables()
    assert claimed(NOTHING, NOTHING, NOTHING, NOTHING) == {}
    names = ["ood_auroc_explanation", "ood_auroc_concept_lead", "ood_auroc_msp", "ood_auroc_best_baseline"]
    assert list(claimed(NOTHING, NOTHING, detection, NOTHING)) == names
    names = ["hybrid_parents_all_kinds", "hybrid_parents_all_kinds_softmax", "hybrid_part_accuracy"]
    assert list(claimed(parts, parents, NOTHING, NOTHING, kind="zorse")) == names
    assert claimed(NOTHING, NOTHING, NOTHING, plants, above=("petal", "root")) == {}
    reverse = claimed(NOTHING, NOTHING, NOTHING, plants, above=("centre", "petal"))
    assert reverse == {"centres_above_petal_pcs": (pytest.approx(-0.25), "no")}
    (row,) = ood.claims(NOTHING, NOTHING, NOTHING, plants, "liger", ("petal", "centre"), NOTHING, "2 against 1")
    assert row["paper"] == "2 against 1"


def test_means_of_two_named_parts():
    means = ood.ranked_means(PLANTS, ["petal", "leaf"])
    assert means["class"].tolist() == ["rose", "daisy"] and means["petal"].tolist() == pytest.approx([0.7, 0.6])
    assert np.isnan(means["leaf"][0]) and means["leaf"][1] == 2
