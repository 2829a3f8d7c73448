"""Concepts, measures and clusterings of a tiny study, against other ways to the same numbers and planted truth."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import QUICK, picture_folder
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import asxai
from asxai import statistics
from asxai.benchmarks import agreement, prototypes
from asxai.benchmarks.prototypes import OURS, measure, seed_agreement
from asxai.concepts import cells, names
from asxai.concepts.names import name_by_parts, study_concepts
from asxai.methods import METHODS


@pytest.fixture(scope="module")
def concepts(study):
    return study_concepts(study)


@pytest.fixture(scope="module")
def table(study, concepts):
    return measure(OURS, study).set_index("measure")


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A study of a folder of pictures, which has no part masks, and a place of its own for the file of names."""
    monkeypatch.setattr("asxai.paths.DATA", tmp_path / "data")
    parameters = QUICK | dict(backbone="resnet18", weights="random", last_stage="layer2", size=64)
    return asxai.Study.train(picture_folder(tmp_path / "shapes"), folder=tmp_path / "study", **parameters)


def forbid(*_, **__):
    pytest.fail("found again")


# --- concepts of a study ---


def test_own_class_maps_are_those_of_the_pictures_own_class(study):
    split = study.data.test
    own = cells.own_class_maps(study, split)
    assert own.shape == (12, 5, 6, 6)
    direct = study.activate(list(split.paths)).maps[range(len(split)), split.labels]
    torch.testing.assert_close(own, direct, atol=2e-3, rtol=0)  # features are cached with three digits
    assert (own - direct.roll(1, dims=1)).abs().max() > 0.1


def test_concepts_are_kept_and_found_anew_by_other_code(study, concepts, monkeypatch):
    again = asxai.Study.load(study.folder)
    again._data = study.data
    before = (study.folder / "concepts.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(names, "find_concepts", forbid)
        assert study_concepts(again).to_dict() == concepts.to_dict()
        patch.setattr(names, "code_hash", lambda *rooms: "other code")
        with pytest.raises(pytest.fail.Exception, match="found again"):
            study_concepts(again)
    assert study_concepts(again).to_dict() == concepts.to_dict()
    assert (study.folder / "concepts.json").read_text() == before


def test_names_come_from_part_masks_of_validation_pictures(study, concepts):
    validation = study.data.validation
    winners = concepts.winners(cells.own_class_maps(study, validation), validation.labels)
    parts = cells.cell_parts(validation.part_masks(224))
    named = concepts.renamed(name_by_parts(winners, parts, study.data.part_names, concepts.count))
    assert any(name in study.data.part_names for name in named.names)
    expected = names.true_somewhere(dataclasses.replace(named, by_class=names.names_by_class(study, named)))
    assert concepts.to_dict() == expected.to_dict()
    assert study.concepts().to_dict() == concepts.to_dict()
    assert concepts.class_names == study.class_names and concepts.members.shape == (2, 5)


def test_names_of_a_folder_are_written_by_hand_and_used(shapes, monkeypatch):
    first = study_concepts(shapes)
    path = names.names_file(shapes.data.name)
    assert path.parent.name == "names" and "shapes" in path.name and path.is_file()
    assert first.names == tuple(f"concept {k}" for k in range(1, first.count + 1))
    notes = json.loads(path.read_text())
    assert [entry["name"] for entry in notes["concepts"]] == [""] * first.count
    assert {point[0] for entry in notes["concepts"] for point in entry["points"]} <= set(shapes.data.train.hashes)
    monkeypatch.setattr(names, "find_concepts", forbid)  # names never need another search
    template = path.read_text()
    assert study_concepts(shapes).names == first.names and path.read_text() == template
    notes["concepts"][0]["name"] = "corner"
    path.write_text(json.dumps(notes))
    named = study_concepts(shapes)
    assert named.names == ("corner", *first.names[1:]) and np.array_equal(named.members, first.members)
    assert json.loads(path.read_text()) == notes  # what a person wrote stays


# --- measures ---


def test_every_measure_has_a_value_in_range_and_an_interval(table):
    assert set(table.index) == set(prototypes.MEASURES) and table.index.is_unique
    assert table["value"].between(0, 1).drop("ari").all() and -0.5 <= table.loc["ari", "value"] <= 1
    without = ["cosine", "cosine before"]  # a property of the vectors, not of the pictures
    assert table.loc[without, ["low", "high"]].isna().all().all()
    with_interval = table.drop(without)
    width = with_interval["high"] - with_interval["low"]
    assert (width >= 0).all() and (width > 0).any()
    inside = with_interval.drop(["nmi", "best part IoU", "purity", "consistency"])  # these maxima are biased upwards
    assert (inside["low"] <= inside["value"]).all() and (inside["value"] <= inside["high"]).all()


@pytest.mark.parametrize("name", [OURS, "k-means", "nmf"])
def test_cell_measures_against_scikit_learn_and_loops(study, name):
    split, rows = study.data.test, measure(name, study, peaks=False).set_index("measure")
    winners, parts = METHODS[name]().fit(study).winners(split), cells.cell_parts(split.part_masks(224))
    nmi, ari, best = [], [], []
    for label in range(2):
        own = split.labels == label
        shown = parts[own] > 0
        nmi.append(normalized_mutual_info_score(parts[own][shown], winners[own][shown]))
        ari.append(adjusted_rand_score(parts[own][shown], winners[own][shown]))
        for part in np.unique(parts[own][shown]):
            won = [((winners[own] == k), (parts[own] == part)) for k in range(1, winners.max() + 1)]
            best.append(max((first & second).sum() / (first | second).sum() for first, second in won))
    assert rows["value"][:3].tolist() == pytest.approx([np.mean(nmi), np.mean(ari), np.mean(best)], abs=1e-9)
    assert rows.index[:3].tolist() == ["nmi", "ari", "best part IoU"]
    counts = agreement.contingency(winners, parts, winners.max(), len(study.data.part_names))
    by_hand = statistics.bootstrap(lambda w: agreement.foreground_nmi(counts, split.labels, w).mean(-1), split.labels)
    assert rows.loc["nmi", ["low", "high"]].tolist() == pytest.approx(list(by_hand), abs=1e-12)


def test_winners_of_this_study_are_its_concepts_numbered_within_their_class(study, concepts):
    split = study.data.test
    expected = concepts.winners(cells.own_class_maps(study, split), split.labels)
    for label in range(2):
        numbers = [0, *concepts.of_class(label)]
        expected[split.labels == label] = np.searchsorted(numbers, expected[split.labels == label])
    np.testing.assert_array_equal(METHODS[OURS]().fit(study).winners(split), expected)


def test_purity_and_consistency_against_a_loop_over_classes(study, concepts, table):
    split, pure, same = study.data.test, [], []
    masks, own = split.part_masks(224), cells.own_class_maps(study, split).numpy()
    part_count = len(study.data.part_names)
    for label, vector in zip(*np.nonzero(concepts.members)):
        members = np.flatnonzero(split.labels == label)
        scores = own[members, vector].max(axis=(1, 2))[:, None]
        at = np.stack(np.unravel_index(own[members, vector].reshape(len(members), -1).argmax(axis=1), (6, 6)), axis=1)
        peaks = ((at[:, None] + 0.5) * 224 / 6).astype(int)
        held = {size: agreement.held_parts(masks[members], peaks, size, part_count) for size in (32, 72)}
        pure.append(agreement.purity(held[32], scores)[0])
        same.append(agreement.consistency(held[72], agreement.visible_parts(masks[members], part_count))[1][0])
    assert table.loc["purity", "value"] == pytest.approx(np.mean(pure), abs=1e-9)
    assert table.loc["consistency", "value"] == pytest.approx(np.mean(same), abs=1e-9)


def test_accuracy_and_cosines_are_those_of_the_study(study, table):
    assert table.loc["accuracy", "value"] == pytest.approx(study.metrics["test_accuracy"])
    assert table.loc["cosine", "value"] == pytest.approx(study.metrics["within_class_cosine"], abs=1e-6)
    assert table.loc["cosine before", "value"] == pytest.approx(study.metrics["within_class_cosine_before"], abs=1e-6)


def test_stability_is_one_without_noise_and_less_with_much(study, concepts, monkeypatch):
    value = lambda: measure(OURS, study).set_index("measure").loc["stability"]
    monkeypatch.setattr(prototypes, "NOISE", 0.0)
    exact = study.model.features(prototypes.to_batch(study.data.test.paths, 96)).detach()
    whole = lambda model, split, size: exact[split.origin[1] if split.origin else slice(None)][None]
    monkeypatch.setattr("asxai.methods.base.split_features", whole)
    still = value()
    assert still["value"] == still["low"] == still["high"] == 1
    monkeypatch.setattr(prototypes, "NOISE", 5.0)
    monkeypatch.setattr(prototypes, "NOISE_LIMIT", 5.0)
    assert value()["value"] < 0.9


def test_pictures_for_stability_are_spread_over_the_classes(study, monkeypatch):
    test = study.data.test
    monkeypatch.setattr(prototypes, "to_batch", lambda paths, size: torch.zeros(len(paths), 3, 2, 2))
    many = test.take(np.repeat(np.arange(10), 60))
    chosen, noisy = prototypes._noisy(study, dataclasses.replace(many, labels=np.repeat(np.arange(60), 10)))
    assert len(chosen) == len(noisy) == 240 and (np.bincount(chosen // 10) >= 3).all()


def test_without_part_masks_what_needs_none_is_left(shapes):
    table = measure(OURS, shapes).set_index("measure")
    assert table.index.tolist() == ["accuracy", "cosine", "cosine before"]
    assert table.loc["accuracy", "value"] == shapes.metrics["test_accuracy"]
    assert prototypes.measures_of([shapes], "k-means", "nmf").empty
    assert prototypes.named_parts(shapes, study_concepts(shapes)).empty


@pytest.mark.parametrize("name, measures", [
    ("superpixels", ["nmi", "ari", "best part IoU"]), ("boxes around parts", []), ("black box", ["accuracy"]),
])  # fmt: skip
def test_a_method_is_asked_only_for_what_it_has(study, name, measures):
    assert measure(name, study)["measure"].tolist() == list(measures)


def test_a_study_agrees_with_itself_and_less_with_another(study, tmp_path):
    generator = torch.Generator().manual_seed(0)
    other = dataclasses.replace(study, folder=tmp_path, config=dataclasses.replace(study.config, seed=7))
    other._data, other.model = study.data, asxai.Study.load(study.folder).model
    with torch.no_grad():
        other.model.basis_vectors.copy_(torch.randn(other.model.basis_vectors.shape, generator=generator))
    frame = seed_agreement([study, study, other], study.data.test)
    assert frame[["first", "second"]].values.tolist() == [[0, 0], [0, 7], [0, 7]]
    assert frame["agreement"][0] == 1 and frame["agreement"][1] == frame["agreement"][2] < 0.9


# --- what a notebook shows ---


def test_tables_of_several_studies_name_method_seed_and_target(study, table):
    both = prototypes.measures_of([study, study])
    assert both.columns.tolist() == ["measure", "method", "seed", "value", "low", "high", "better", "target"]
    assert both["measure"].drop_duplicates().tolist() == list(prototypes.MEASURES)
    for row in both.itertuples():
        assert row.value == table.loc[row.measure, "value"] and row.better == prototypes.MEASURES[row.measure][0]
        assert row.target == prototypes.MEASURES[row.measure][1] or np.isnan(row.target)
    other = prototypes.measures_of([study], "k-means", "nmf", called="clusterings", peaks=False)
    assert other["method"].tolist() == ["clusterings"] * 6
    assert other["measure"].tolist() == ["nmi", "nmi", "ari", "ari", "best part IoU", "best part IoU"]


def test_a_sheet_shows_pictures_of_the_class_where_the_concept_fires_most(study, concepts):
    for label, name in enumerate(study.class_names):
        sheet = prototypes.sheet(study, concepts, name, count=3)
        of_class = concepts.of_class(label)
        assert sheet["names"] == [concepts.names_in(label)[k - 1] for k in of_class]  # true in this class
        assert len(sheet["prevalence"]) == len(of_class)
        assert np.all((sheet["prevalence"] >= 0) & (sheet["prevalence"] <= 1))
        members = study.data.train.take(study.data.train.labels == label)
        own = cells.own_class_maps(study, members)
        for k, pictures, masks in zip(of_class, sheet["pictures"], sheet["masks"]):
            assert pictures.shape == (3, 96, 96, 3) and masks.shape == (3, 96, 96) and masks.dtype == bool
            strongest = own[:, concepts.members[label] == k].amax(dim=(1, 2, 3)).argmax()
            assert np.array_equal(pictures[0], study.pictures(members.paths[strongest])[0])
            assert abs(masks.mean() - 0.05) < 0.01


SHOWN = [0, 1, 2, 6, 7, 8]  # the first three test pictures of each class


def test_a_strip_and_the_counts_are_of_the_pictures_of_the_split(study, concepts):
    strip = prototypes.strip(study, concepts, study.data.test)
    assert np.array_equal(strip["pictures"], study.pictures([study.data.test.paths[i] for i in SHOWN]))
    assert strip["winners"].shape == strip["parts"].shape == (6, 28, 28)
    parts = cells.cell_parts(study.data.test.part_masks(224))
    winners = concepts.winners(cells.own_class_maps(study, study.data.test), study.data.test.labels)
    assert np.array_equal(strip["parts"], parts[SHOWN])
    assert np.array_equal(strip["winners"], winners[SHOWN])
    elsewhere = dataclasses.replace(concepts, by_class={(1, int(concepts.of_class(1)[0])): "rim"})
    labels, k = prototypes.strip(study, elsewhere, study.data.test)["labels"], concepts.of_class(1)[0] - 1
    assert labels[k] == f"{concepts.names[k]} ({study.class_names[1]}: rim)"
    assert [label for i, label in enumerate(labels) if i != k] == [n for i, n in enumerate(concepts.names) if i != k]
    counts = prototypes.part_counts(study, concepts)
    for k, part in np.ndindex(counts.shape):
        assert counts[k, part] == ((winners == k) & (parts == part + 1)).sum()


def test_claims_are_means_over_seeds_against_their_target():
    values = [(OURS, 0.75), (OURS, 0.6), ("k-means", 0.5), ("other", 0.9)]
    measures = pd.DataFrame(values, columns=["method", "value"]).assign(measure="nmi")
    rows = {row["claim"]: row for row in prototypes.claims(measures, pd.DataFrame({"agreement": [0.4, 0.6]}))}
    assert list(rows) == ["concept_nmi", "concept_agreement_seeds", "kmeans_nmi"]
    assert [row["here"] for row in rows.values()] == [0.675, 0.5, 0.5]
    assert [row["holds"] for row in rows.values()] == ["yes", "", ""] and rows["concept_nmi"]["seeds"] == 2
    assert prototypes.claims(measures[measures["method"] == "other"], pd.DataFrame()) == []
