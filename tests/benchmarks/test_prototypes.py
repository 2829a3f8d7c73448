"""Concepts, measures and clusterings of a tiny study, against other ways to the same numbers and planted truth."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import drawn_study, picture_folder
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import asxai
from asxai import statistics
from asxai.benchmarks import agreement, prototypes
from asxai.benchmarks.prototypes import clustering_measures, measure, seed_agreement
from asxai.concepts import cells, grouping, names
from asxai.concepts.concepts import own_maps
from asxai.concepts.names import name_by_parts, study_concepts
from asxai.data.pictures import DataError
from asxai.methods import clusterings

QUICK = dict(size=96, basis_per_class=5, channels=16, cycles=1, joint_epochs=2, views=1, batch_size=8)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two classes of drawn animals, 10 pictures each to train and validate on and 5 to test, on a grid of 6 x 6."""
    return drawn_study(tmp_path_factory.mktemp("animals"), 10, 5, **QUICK)


@pytest.fixture(scope="module")
def concepts(study):
    return study_concepts(study)


@pytest.fixture(scope="module")
def table(study, concepts):
    return measure(study, concepts).set_index("measure")


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A study of a folder of pictures, which has no part masks, and a place of its own for the file of names."""
    monkeypatch.setattr("asxai.paths.DATA", tmp_path / "data")
    parameters = QUICK | dict(backbone="resnet18", weights="random", last_stage="layer2", size=64)
    return asxai.Study.train(picture_folder(tmp_path / "shapes"), folder=tmp_path / "study", **parameters)


class PlantedSplit(SimpleNamespace):
    def __len__(self):
        return len(self.labels)


def forbid(*_, **__):
    pytest.fail("found again")


# --- concepts of a study ---


def test_own_class_maps_are_those_of_the_pictures_own_class(study):
    split = study.data.test
    own = cells.own_class_maps(study, split)
    assert own.shape == (10, 5, 6, 6)
    direct = own_maps(study.activate(list(split.paths)).maps, split.labels)
    torch.testing.assert_close(own, direct, atol=2e-3, rtol=0)  # features are cached with three digits
    assert (own - direct.roll(1, dims=1)).abs().max() > 0.1


def test_concepts_are_kept_and_found_anew_for_other_parameters(study, concepts, monkeypatch):
    again = asxai.Study.load(study.folder)
    again._data = study.data
    with monkeypatch.context() as patch:
        patch.setattr(names, "find_concepts", forbid)
        kept = study_concepts(again)
    assert kept.to_dict() == concepts.to_dict()
    path = study.folder / "concepts.json"
    before, calls, real = path.read_text(), [], grouping.find_concepts

    def spy(*arguments, **parameters):
        calls.append(parameters["overlap"])
        return real(*arguments, **parameters)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(names, "find_concepts", spy)
            other = study_concepts(study, overlap=0.05)
            study_concepts(study, overlap=0.05)
        assert calls == [0.05] and path.read_text() != before
        assert study_concepts(again, overlap=0.05).to_dict() == other.to_dict()
    finally:
        assert study_concepts(study).to_dict() == concepts.to_dict()  # and back again
    assert path.read_text() == before


def test_names_come_from_part_masks_of_validation_pictures(study, concepts):
    validation = study.data.validation
    own = own_maps(study.activate(list(validation.paths)).maps, validation.labels)
    winners = concepts.winners(own, validation.labels)
    parts = cells.cell_parts(validation.part_masks(224))
    assert concepts.names == name_by_parts(winners, parts, study.data.part_names, concepts.count)
    assert any(name in study.data.part_names for name in concepts.names)
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


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"concepts": [{"name": "eye"}]}'])
def test_a_damaged_file_of_names_is_named(shapes, text):
    study_concepts(shapes)
    path = names.names_file(shapes.data.name)
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        study_concepts(shapes)
    assert str(path) in str(error.value) and "mend it" in str(error.value)


# --- measures ---


def test_every_measure_has_a_value_in_range_and_an_interval(table):
    assert set(table.index) == set(prototypes.MEASURES) and table.index.is_unique
    assert table["value"].between(0, 1).drop("ari").all() and -0.5 <= table.loc["ari", "value"] <= 1
    without = ["cosine", "cosine before"]  # a property of the vectors, not of the pictures
    assert table.loc[without, ["low", "high"]].isna().all().all()
    with_interval = table.drop(without)
    assert (with_interval["low"] <= with_interval["high"]).all()
    inside = with_interval.drop(["nmi", "best part IoU", "purity", "consistency"])  # these maxima are biased upwards
    assert (inside["low"] <= inside["value"]).all() and (inside["value"] <= inside["high"]).all()
    assert (with_interval["low"] < with_interval["high"]).any()


def test_cell_measures_against_scikit_learn_and_loops(study, concepts, table):
    split = study.data.test
    winners = concepts.winners(cells.own_class_maps(study, split), split.labels)
    parts = cells.cell_parts(split.part_masks(224))
    nmi, ari, best = [], [], []
    for label in range(2):
        own = split.labels == label
        shown = parts[own] > 0
        nmi.append(normalized_mutual_info_score(parts[own][shown], winners[own][shown]))
        ari.append(adjusted_rand_score(parts[own][shown], winners[own][shown]))
        for part in np.unique(parts[own][shown]):
            best.append((label, max(((winners[own] == k) & (parts[own] == part)).sum()
                                    / ((winners[own] == k) | (parts[own] == part)).sum()
                                    for k in range(1, concepts.count + 1))))
    assert table.loc["nmi", "value"] == pytest.approx(np.mean(nmi), abs=1e-9)
    assert table.loc["ari", "value"] == pytest.approx(np.mean(ari), abs=1e-9)
    assert table.loc["best part IoU", "value"] == pytest.approx(np.mean([b for _, b in best]), abs=1e-9)
    counts = agreement.contingency(winners, parts, concepts.count, len(study.data.part_names))
    by_hand = statistics.bootstrap(lambda w: agreement.foreground_nmi(counts, split.labels, w).mean(-1), split.labels)
    assert table.loc["nmi", ["low", "high"]].tolist() == pytest.approx(list(by_hand), abs=1e-12)


def test_purity_and_consistency_against_a_loop_over_classes(study, concepts, table):
    split, pure, same = study.data.test, [], []
    masks, own = split.part_masks(224), cells.own_class_maps(study, split).numpy()
    part_count = len(study.data.part_names)
    for label, vector in zip(*np.nonzero(concepts.members)):
        members = np.flatnonzero(split.labels == label)
        peaks, scores = [], []
        for i in members:
            row, column = np.unravel_index(own[i, vector].argmax(), (6, 6))
            peaks.append([[int((row + 0.5) * 224 / 6), int((column + 0.5) * 224 / 6)]])
            scores.append([own[i, vector].max()])
        held = {size: agreement.held_parts(masks[members], np.array(peaks), size, part_count) for size in (32, 72)}
        pure.append(agreement.purity(held[32], np.array(scores))[0])
        same.append(agreement.consistency(held[72], agreement.visible_parts(masks[members], part_count))[1][0])
    assert table.loc["purity", "value"] == pytest.approx(np.mean(pure), abs=1e-9)
    assert table.loc["consistency", "value"] == pytest.approx(np.mean(same), abs=1e-9)


def test_accuracy_and_cosines_are_those_of_the_study(study, table):
    assert table.loc["accuracy", "value"] == pytest.approx(study.metrics["test_accuracy"])
    assert table.loc["cosine", "value"] == pytest.approx(study.metrics["within_class_cosine"], abs=1e-6)
    assert table.loc["cosine before", "value"] == pytest.approx(study.metrics["within_class_cosine_before"], abs=1e-6)


def test_stability_is_one_without_noise_and_less_with_much(study, concepts, monkeypatch):
    value = lambda: measure(study, concepts).set_index("measure").loc["stability"]
    monkeypatch.setattr(prototypes, "NOISE", 0.0)
    exact = study.features(study.data.test)[0].float()
    monkeypatch.setattr(type(study), "features", lambda self, split: exact[None])
    still = value()
    assert still["value"] == still["low"] == still["high"] == 1
    monkeypatch.setattr(prototypes, "NOISE", 5.0)
    monkeypatch.setattr(prototypes, "NOISE_LIMIT", 5.0)
    assert value()["value"] < 0.9


def test_pictures_for_stability_are_spread_over_the_classes():
    split = PlantedSplit(labels=np.repeat(np.arange(60), 10))
    chosen = prototypes._noisy_subset(split)
    assert len(chosen) == 240 and (np.bincount(split.labels[chosen]) >= 3).all()


def test_without_part_masks_what_needs_none_is_left(shapes):
    table = measure(shapes, study_concepts(shapes)).set_index("measure")
    assert table.index.tolist() == ["accuracy", "cosine", "cosine before"]
    assert table.loc["accuracy", "value"] == shapes.metrics["test_accuracy"]
    with pytest.raises(DataError, match="no part masks"):
        clustering_measures(shapes, "k-means")


# --- clusterings and seeds ---


@pytest.mark.parametrize("method", ["k-means", "nmf"])
def test_clusterings_are_measured_as_concepts_are(study, method):
    rows = clustering_measures(study, method)
    assert rows["measure"].tolist() == ["nmi", "ari", "best part IoU"]
    assert rows["value"].between(-0.5, 1).all() and (rows["low"] <= rows["high"]).all()
    winners = clusterings.clustering_winners(study, method, 5, study.data.test)
    assert winners.shape == (10, 28, 28) and winners.min() >= 1 and winners.max() <= 5
    parts = cells.cell_parts(study.data.test.part_masks(224))
    nmi = [normalized_mutual_info_score(parts[own][parts[own] > 0], winners[own][parts[own] > 0])
           for own in (study.data.test.labels == 0, study.data.test.labels == 1)]
    assert rows["value"][0] == pytest.approx(np.mean(nmi), abs=1e-9)
    fewer = clusterings.clustering_winners(study, method, 2, study.data.test)
    assert fewer.max() == 2


def test_an_unknown_clustering_is_refused(study):
    with pytest.raises(ValueError, match="method='dbscan' must be 'k-means' or 'nmf'"):
        clustering_measures(study, "dbscan")


@pytest.mark.parametrize("method", ["k-means", "nmf"])
def test_planted_parts_are_recovered_exactly(method):
    """28 x 28 cells, each with the feature of its part, other ones in each class; one cluster is the background."""
    rng, side = np.random.default_rng(0), 28
    labels = np.repeat([0, 1], 4)
    parts = np.zeros((8, side, side), np.uint8)
    for i in range(8):
        for part in (1, 2, 3):
            top, left = rng.integers(0, 5, 2) + np.array([[2, 2], [2, 15], [15, 8]])[part - 1]
            parts[i, top:top + 7, left:left + 7] = part
    looks = np.eye(12)[np.array([[0, 1, 2, 3], [4, 7, 6, 5]])]  # of the background and the parts, by class
    features = looks[labels[:, None, None], parts] + rng.normal(0, 0.01, (8, side, side, 12))
    features = torch.from_numpy(features).float().permute(0, 3, 1, 2)[None]
    split = PlantedSplit(labels=labels, part_masks=lambda size: parts.repeat(8, axis=1).repeat(8, axis=2))
    mean = features.mean(dim=(1, 3, 4)).view(1, -1, 1, 1)
    model = SimpleNamespace(backbone_map=lambda x: x, feature_mean=0 * mean, feature_std=1 + 0 * mean,
                            basis_per_class=4)
    planted = SimpleNamespace(model=model, class_names=("a", "b"), features=lambda split: features,
                              data=SimpleNamespace(train=split, test=split, part_names=("x", "y", "z")))
    rows = clustering_measures(planted, method).set_index("measure")
    assert (rows["value"] == 1).all() and (rows["low"] == 1).all()
    assert clustering_measures(planted, method, clusters=2).set_index("measure").loc["nmi", "value"] < 0.9


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
    other = prototypes.clusterings_of([study], ["k-means"])
    assert other["method"].unique().tolist() == ["k-means"] and len(other) == 3


def test_a_folder_without_part_masks_has_no_clusterings(shapes):
    assert prototypes.clusterings_of([shapes]).empty


def test_a_sheet_shows_pictures_of_the_class_where_the_concept_fires_most(study, concepts):
    for label, name in enumerate(study.class_names):
        sheet = prototypes.sheet(study, concepts, name, count=3)
        of_class = concepts.of_class(label)
        assert sheet["names"] == [concepts.names[k - 1] for k in of_class] and len(sheet["prevalence"]) == len(of_class)
        assert np.all((sheet["prevalence"] >= 0) & (sheet["prevalence"] <= 1))
        members = study.data.train.take(study.data.train.labels == label)
        own = cells.own_class_maps(study, members)
        for k, pictures, masks in zip(of_class, sheet["pictures"], sheet["masks"]):
            assert pictures.shape == (3, 96, 96, 3) and masks.shape == (3, 96, 96) and masks.dtype == bool
            strongest = own[:, concepts.members[label] == k].amax(dim=(1, 2, 3)).argmax()
            assert np.array_equal(pictures[0], study.pictures(members.paths[strongest])[0])
            assert abs(masks.mean() - 0.05) < 0.01


def test_a_strip_and_the_counts_are_of_the_pictures_of_the_split(study, concepts):
    strip = prototypes.strip(study, concepts, study.data.test, per_class=2)
    assert np.array_equal(strip["pictures"], study.pictures([study.data.test.paths[i] for i in (0, 1, 5, 6)]))
    assert strip["winners"].shape == strip["parts"].shape == (4, 28, 28)
    parts = cells.cell_parts(study.data.test.part_masks(224))
    winners = concepts.winners(cells.own_class_maps(study, study.data.test), study.data.test.labels)
    assert np.array_equal(strip["parts"], parts[[0, 1, 5, 6]])
    assert np.array_equal(strip["winners"], winners[[0, 1, 5, 6]])
    counts = prototypes.part_counts(study, concepts)
    for k, part in np.ndindex(counts.shape):
        assert counts[k, part] == ((winners == k) & (parts == part + 1)).sum()


def test_parts_that_another_concept_wins_are_named():
    counts = np.array([[5, 0, 1, 0], [10, 0, 0, 0], [0, 12, 6, 0], [5, 8, 3, 0]])  # background, then three concepts
    words = prototypes.other_parts_in_words(counts, ("ear", "leg", "concept 3"), ("ear", "tail", "leg", "nose"))
    assert words == ("Concepts that win more of a part than those that are called after it: “leg” wins 60 % of “tail” "
                     "(no concept of that name).")
    words = prototypes.other_parts_in_words(counts[:, :3], ("leg", "ear", "tail"), ("ear", "tail", "leg"))
    assert "“leg” wins 50 % of “ear” (0 %)" in words and "“ear” wins 60 % of “tail” (40 %)" in words
    assert "“ear” wins 60 % of “leg” (0 %)" in words
    words = prototypes.other_parts_in_words(counts[:, :1], ("ear", "leg", "tail"), ("ear",))
    assert words.startswith("Each part is won")
