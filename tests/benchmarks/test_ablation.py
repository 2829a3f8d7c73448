"""Arms of the ablation on a tiny study of drawn animals; oracles are slow, one cell or picture at a time."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import drawn_study

from asxai import config, statistics
from asxai.benchmarks import ablation, concept_cosines
from asxai.benchmarks.ablation import MANUAL, NO_ORTHOGONAL, ORTHOGONAL, Arm
from asxai.benchmarks.concept_cosines import ConceptCosines
from asxai.concepts.cells import own_class_maps
from asxai.concepts.concepts import Concepts
from asxai.concepts.masks import Region
from asxai.methods import superpixels as methods_superpixels
from asxai.methods.superpixels import SIDE
from asxai.model.geometry import within_class_cosine
from asxai.model.training import evaluate
from asxai.study import Study
from asxai.traits import inversion

SIZE = 96
QUICK = dict(size=SIZE, basis_per_class=5, channels=16, cycles=1, joint_epochs=1, views=1, batch_size=8)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two classes of drawn animals: 11 pictures each to train on, 3 to validate, 6 to test."""
    return drawn_study(tmp_path_factory.mktemp("animals"), 14, 6, **QUICK)


@pytest.fixture(scope="module")
def concepts(study):
    return Concepts(np.array([[1, 1, 2, 3, 0], [0, 2, 3, 3, 1]]), ("one", "two", "three"), study.class_names)


@pytest.fixture(scope="module")
def arm(study, concepts):
    return Arm(ORTHOGONAL, study, concepts)


@pytest.fixture(scope="module")
def superpixels(study):
    return Arm(MANUAL, study, None, methods_superpixels.SortedSuperpixels(study, [3, 2]))


@pytest.fixture(scope="module")
def boxes(study):
    return Arm(ablation.BOXES, study, None, corners)


def corners(label, split):
    """The same corners in every picture, and one that is seen in the first picture only."""
    masks = torch.zeros(len(split), 3, SIZE, SIZE, dtype=torch.bool)
    masks[:, 0, :48, :48] = True
    masks[:, 1, 48:, 40:] = True
    masks[0, 2, 60:70, :10] = True
    return Region(("upper", "lower", "once"), masks)


@pytest.fixture
def trained(study, monkeypatch):
    """`Study.train` gives the tiny study, under the parameters that it was asked for; the calls."""
    calls = []

    def train(data_set, **parameters):
        calls.append(parameters)
        return study

    monkeypatch.setattr(Study, "train", train)
    return calls


# --- arms ---


def test_arms_differ_in_what_they_say(trained, study):
    arms = ablation.train_arms("menagerie-pets", seed=0, sigma=0.5)
    assert list(arms) == list(ablation.ARMS) and all(own.study is study for own in arms.values())
    assert [{key: own[key] for key in own if key in ("orthogonality", "subspace", "regions")} for own in trained] == [
        {}, {"orthogonality": 0.0}, {"orthogonality": 0.0, "subspace": 0.0}, {}]
    assert all((own["seed"], own["device"], own["sigma"]) == (0, "cpu", 0.5) for own in trained)
    assert [own.concepts is None for own in arms.values()] == [False, False, False, True]
    assert arms[MANUAL].regions.kinds == [len(study.concepts().of_class(label)) for label in range(2)]


def test_an_arm_of_ones_own_and_boxes(trained, study):
    arms = ablation.train_arms("menagerie-pets", {"mine": {"basis_per_class": 7, "sigma": 0.1}, **{
        ablation.BOXES: ablation.FURTHER[ablation.BOXES]}})
    assert (trained[0]["basis_per_class"], trained[0]["sigma"]) == (7, 0.1)
    found = arms[ablation.BOXES].regions(0, study.data.test.take(study.data.test.labels == 0))
    assert set(found.names) <= set(study.data.part_names)


@pytest.mark.parametrize("changes, error, words", [
    ({"regions": "circles"}, ValueError, "arm 'bad' has regions='circles'; use one of superpixels, boxes"),
    ({"basis_per_class": 100, "channels": 64}, ValueError, "cannot be orthogonal"),
    ({"orthogonal": 1.0}, TypeError, "unknown parameter 'orthogonal'")])
def test_arms_that_cannot_be_are_refused_before_any_training(trained, changes, error, words):
    with pytest.raises(error, match=words):
        ablation.train_arms("menagerie-pets", {"good": {}, "bad": changes})
    assert trained == []


def test_arms_by_name_and_one_more():
    assert ablation.named([NO_ORTHOGONAL, "M = 5"], {"sigma": 0.1}) == {
        NO_ORTHOGONAL: {"orthogonality": 0.0}, "M = 5": {"basis_per_class": 5}, "extra arm": {"sigma": 0.1}}
    assert ablation.named([ORTHOGONAL]) == {ORTHOGONAL: {}}
    with pytest.raises(ValueError, match=r"names=\['M = 3'\] are no arms; use some of both losses, no orthogonal loss"):
        ablation.named([ORTHOGONAL, "M = 3"])


def test_the_further_arms_are_possible():
    for changes in ablation.FURTHER.values():
        own = {key: value for key, value in changes.items() if key not in ("regions", "replaced")}
        config.Config.of("menagerie-pets", **own)


def test_without_replacement_has_the_old_vectors_and_a_last_layer_for_them(study):
    before = {name: value.clone() for name, value in study.model.state_dict().items()}
    other = ablation.without_replacement(study)
    assert torch.equal(other.model.basis_vectors, study.basis_before)
    assert all(torch.equal(value, before[name]) for name, value in study.model.state_dict().items())
    assert other.folder.parent == study.folder and other.data is study.data
    train = study.data.train
    features, labels = study.features(train)[0], torch.from_numpy(train.labels)
    old = study.model.last_layer.weight

    def loss(weight):  # what stage 3 minimises
        found = evaluate(other.model, features, labels, 32)["similarity"].flatten(1).double() @ weight.double().T
        wrong = weight[~other.model.own_class().flatten(1).bool()].abs().sum()
        return float(torch.nn.functional.cross_entropy(found, labels) + study.config.wrong_class_l1 * wrong)

    assert loss(other.model.last_layer.weight.detach()) <= loss(old.detach())
    assert not torch.equal(other.model.last_layer.weight, old)


def test_superpixels_of_a_class_are_those_of_the_seed(superpixels, study):
    split = study.data.test.take(study.data.test.labels == 1)
    names, masks = superpixels.regions(1, split)
    assert names == ("superpixel 1", "superpixel 2") and masks.shape == (6, 2, SIDE, SIDE)
    assert masks.flatten(2).any(2).all()
    assert superpixels.regions(1, split) is superpixels.regions(1, split)  # cut up once


def test_winners_of_superpixels_are_the_kind_that_covers_most(superpixels, study):
    split = study.data.test.take([0, 7])
    winners = superpixels.regions.winners(split)
    assert winners.shape == (2, 28, 28)
    from asxai.data.pictures import to_batch
    for i, label in enumerate(split.labels):
        masks = superpixels.regions.of_class(label).masks(to_batch([split.paths[i]], 224), every=True)[0].numpy()
        for row, column in ((3, 4), (14, 14), (20, 9)):
            cell = masks[:, 8 * row:8 * row + 8, 8 * column:8 * column + 8].sum(axis=(1, 2))
            shares = np.r_[64 - cell.sum(), cell]
            assert winners[i, row, column] == shares.argmax()


# --- where concepts are ---


def test_places_of_a_network_are_the_cells_of_its_masks(arm, study):
    found = concept_cosines.places(arm, study.data.test, 1, 4)
    assert found.names == ("one", "two", "three")
    assert (np.diff(found.chosen) > 0).all() and (study.data.test.labels[found.chosen] == 1).all()
    assert len(found.chosen) == 4
    own = own_class_maps(study, study.data.test)
    side = own.shape[-1]
    for i, picture in enumerate(found.chosen):
        for k, members in enumerate(([4], [1], [2, 3])):
            best = own[picture, members].amax(dim=0).flatten()
            threshold = sorted(best.tolist())[round(side * side * 0.95) - 1]
            assert torch.equal(found.cells[i, k].flatten(), best >= threshold)
    maps = study.model.backbone_map(study.features(study.data.test)[0][found.chosen]) / study.model.feature_std
    torch.testing.assert_close(found.maps, maps.detach(), rtol=1e-4, atol=1e-4)


def test_covered_cells():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :4, :4] = True  # a whole cell of 4 x 4
    masks[0, :2, 4:] = True  # and half of another
    masks[1, 0, 0] = True  # less than half of any
    result = concept_cosines.covered(masks[None], (2, 2))[0]
    assert result.tolist() == [[[True, True], [False, False]], [[True, False], [False, False]],
                               [[False, False], [False, False]]]


def test_hidden_cells_count_as_the_lowest(boxes, study):
    found = concept_cosines.places(boxes, study.data.train, 0, 3)
    result = concept_cosines.hidden(found)
    assert result.shape == (3, 3, found.maps.shape[1])
    for k in range(3):
        for i in range(3):
            for channel in (0, 5, 11):
                values = found.maps[i, channel]
                expected = max(value if not hidden else values.min()
                               for value, hidden in zip(values.flatten(), found.cells[i, k].flatten()))
                assert result[k, i, channel] == expected


def test_features_of_concepts_are_means_over_their_cells(boxes, study):
    found = concept_cosines.places(boxes, study.data.test, 0, 4)
    result = concept_cosines.concept_features(boxes, found)
    assert result[2, 1:].isnan().all() and result[:2].isfinite().all()  # once seen
    raw = study.model.backbone_map(study.features(study.data.test)[0][found.chosen]).detach()
    mean, std = study.model.feature_mean.flatten(), study.model.feature_std.flatten()
    for k, i in ((0, 0), (1, 3), (2, 0)):
        cells = found.cells[i, k]
        expected = (raw[i][:, cells].double().mean(dim=1) - mean) / std
        torch.testing.assert_close(result[k, i].double(), expected, rtol=1e-4, atol=1e-4)


# --- measures ---


def test_concept_cosines_are_those_of_mean_features(boxes, study):
    found = concept_cosines.concept_cosines(boxes, 4)
    assert [own.class_name for own in found] == list(study.class_names)
    own = found[1]
    assert own.names == ("upper", "lower", "once")
    means = [np.mean([f for f in rows if not np.isnan(f).any()], axis=0) for rows in own.features]
    for i in range(3):
        for j in range(3):
            cosine = means[i] @ means[j] / np.sqrt((means[i] @ means[i]) * (means[j] @ means[j]))
            assert own.cosines[i, j] == pytest.approx(cosine, abs=1e-9)


def test_off_diagonal_and_its_interval():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 1, 6)) + 0.2 * rng.normal(size=(2, 30, 6))
    first, second = features.mean(axis=1)
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    matrix = np.array([[1, cosine], [cosine, 1]])
    single = ConceptCosines("single", ("a",), np.ones((1, 1)), features[:1])
    value, low, high = concept_cosines.off_diagonal([ConceptCosines("class", ("a", "b"), matrix, features), single])
    assert value == pytest.approx(abs(cosine)) and low < value < high < low + 0.3
    assert np.isnan(concept_cosines.off_diagonal([single])).all()


def test_off_diagonal_leaves_out_pictures_without_the_concept():
    features = np.array([[[1.0, 0, 0]] * 3, [[0.6, 0.8, 0], [np.nan] * 3, [0.6, 0.8, 0]]])
    own = ConceptCosines("c", ("a", "b"), np.array([[1, 0.6], [0.6, 1]]), features)
    value, low, high = concept_cosines.off_diagonal([own])
    assert value == pytest.approx(0.6) and (low, high) == (pytest.approx(0.6), pytest.approx(0.6))


def test_traits_on_cells(boxes, study):
    found = concept_cosines.cell_traits(boxes, pictures=5, measured=4, top=3)
    own = found[0]
    assert own.names == ("upper", "lower", "once") and own.removed.shape == (3, 4, 3)
    train, test = study.data.train, study.data.test
    made, seen = (concept_cosines.places(boxes, split, 0, count) for split, count in ((train, 5), (test, 4)))
    from asxai.traits.vectors import semantic_vector
    expected = semantic_vector(made.maps.amax(dim=(2, 3)), concept_cosines.hidden(made)[1], 3)
    assert own.vectors[1].channels.tolist() == expected.channels.tolist()
    scores = seen.maps.amax(dim=(2, 3)).double().numpy()[:, expected.channels] @ expected.weights / 3
    np.testing.assert_allclose(own.unmasked[:, 1], scores, rtol=1e-6)
    assert len(own.held_out) == sum((split.labels == 0).sum() for split in (train, test, study.data.validation)) - 5


def test_rms_cosine_and_its_bound():
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(2, 5, 3))
    values = []
    for own in basis:
        unit = [v / np.linalg.norm(v) for v in own]
        values.append(np.sqrt(np.mean([(a @ b)**2 for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j])))
    assert statistics.rms_cosine(torch.from_numpy(basis)) == pytest.approx(np.mean(values))
    assert statistics.rms_cosine(torch.from_numpy(basis)) >= statistics.cosine_bound(5, 3)
    assert np.isnan(statistics.rms_cosine(torch.ones(2, 1, 3)))
    assert statistics.cosine_bound(3, 3) == statistics.cosine_bound(1, 4) == 0
    # three unit vectors in a plane, 120 degrees apart, reach it: all cosines are -1/2
    angles = 2 * np.pi * np.arange(3) / 3
    flat = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1))[None]
    assert statistics.rms_cosine(flat) == pytest.approx(0.5) == statistics.cosine_bound(3, 2)


def test_measures_of_an_arm_of_a_network(arm, study):
    table = ablation.measure_arm(arm, pictures=6, measured=6).set_index("measure")["value"]
    assert set(ablation.MEASURES) <= set(table.index)
    assert table["cosine before"] == pytest.approx(within_class_cosine(study.basis_before).mean())
    assert table["rms cosine"] == pytest.approx(statistics.rms_cosine(study.model.basis))
    assert table["lower bound"] == 0 and 0 <= table["specificity"] <= 1 and 0 < table["q-q r2"] <= 1
    assert table["accuracy"] == study.metrics["test_accuracy"]
    assert table["off-diagonal"] == pytest.approx(concept_cosines.off_diagonal(concept_cosines.concept_cosines(arm, 6))[0])


def test_measures_of_regions_that_are_not_the_networks(superpixels, boxes, monkeypatch):
    table = ablation.measure_arms({MANUAL: superpixels, "corners": boxes}, "words", pictures=6, measured=6)
    assert list(table) == ablation.COLUMNS and set(table["settings"]) == {"words"} and set(table["seed"]) == {0}
    of = lambda name: set(table[table["arm"] == name]["measure"])
    assert of(MANUAL) == {"accuracy", "nmi", "ari", "best part IoU", "specificity", "q-q r2", "off-diagonal"}
    assert of("corners") == {"accuracy", "specificity", "q-q r2", "off-diagonal"}
    assert 0 <= table.set_index(["arm", "measure"])["value"][MANUAL, "nmi"] <= 1
    monkeypatch.setattr(ablation, "measure_arm", lambda *_, **__: pytest.fail("measured again"))
    again = ablation.measure_arms({MANUAL: superpixels}, "other words", pictures=6, measured=6)
    pd.testing.assert_frame_equal(again.drop(columns="settings"),
                                  table[table["arm"] == MANUAL].drop(columns="settings"))


def test_dots_have_only_what_is_compared():
    table = pd.DataFrame({"arm": "a", "seed": 0, "value": 1.0, "low": 0.0, "high": 1.0,
                          "measure": ["off-diagonal", "ari", "nmi"]})
    result = ablation.for_dots(table)
    assert result["measure"].tolist() == ["nmi", "off-diagonal"] and result["better"].tolist() == ["higher", "lower"]
    assert set(result["method"]) == {"a"}


# --- tables ---


def made_up(values, measure="nmi"):
    """values: per arm a value per seed."""
    return pd.DataFrame([{"settings": "s", "arm": arm, "seed": seed, "measure": measure, "value": value, "low": 0.0,
                          "high": 1.0} for arm, own in values.items() for seed, value in enumerate(own)])


def test_only_arms_that_a_kept_table_lacks_are_measured(superpixels, boxes, monkeypatch):
    asked = []
    monkeypatch.setattr(ablation, "measure_arms", lambda arms, settings, **options: (
        asked.append((list(arms), settings, options)), made_up(dict.fromkeys(arms, [9.0])))[1])
    kept = made_up({"a": [7.0, 2.0], "b": [3.0]})
    both = pd.concat([kept.assign(settings="other"), kept])
    result = ablation.completed(both, {"a": superpixels, "c": boxes}, "s", pictures=5)
    assert asked == [(["c"], "s", {"pictures": 5})]
    expected = [["a", 0, 7.0], ["a", 1, 2.0], ["b", 0, 3.0], ["c", 0, 9.0]]
    assert result[["arm", "seed", "value"]].values.tolist() == expected
    assert len(ablation.completed(both, {"a": superpixels}, "s")) == 3 and len(asked) == 1
    later = made_up({"a": [0.0, 2.0]}).query("seed == 1")  # another seed of the same arm does not count
    assert ablation.completed(later, {"a": superpixels}, "s")["seed"].tolist() == [1, 0]
    assert ablation.completed(pd.DataFrame(), {"a": superpixels, "c": boxes}, "s")["arm"].tolist() == ["a", "c"]


def test_settings_in_words():
    assert ablation.settings_of({"size": 96, "device": "cuda", "backbone": "b"}) == "backbone=b size=96"


def test_paired_differences_over_the_seeds_that_both_have():
    table = made_up({ORTHOGONAL: [0.5, 0.6, 0.4, 0.5], "b": [0.6, 0.7, 0.6], "one": [0.1]})
    result = ablation.paired(table).set_index("arm")
    assert result.loc["b", "seeds"] == 3 and result.loc["b", "difference"] == pytest.approx(0.4 / 3)
    values = [0.1, 0.1, 0.2]
    draws = [np.mean([a, b, c]) for a in values for b in values for c in values]  # all that there are
    assert result.loc["b", "low"] == pytest.approx(min(draws)) and result.loc["b", "high"] == pytest.approx(max(draws))
    half = 4.302653 * np.std(values, ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom
    assert result.loc["b", "t_low"] == pytest.approx(0.4 / 3 - half, abs=1e-6)
    assert np.isnan(result.loc["one", ["low", "high", "t_low", "t_high"]].astype(float)).all()
    with pytest.raises(ValueError, match="reference='c' is none of the arms both losses, b, one"):
        ablation.paired(table, "c")


def test_verdicts_follow_from_both_intervals():
    def row(low, high, wider=0.0):
        return {"low": low, "high": high, "t_low": low - wider, "t_high": high + wider}

    assert ablation.verdict(row(0.1, 0.2)) == "higher"
    assert ablation.verdict(row(-0.2, -0.1, 0.05)) == "lower"
    assert ablation.verdict(row(0.1, 0.2, 0.15)) == ablation.verdict(row(-0.2, -0.1, 0.15)) == "undecided"
    assert ablation.verdict(row(-0.1, 0.2)) == ablation.verdict(row(0.0, 0.2)) == "no difference seen"
    assert ablation.verdict(row(0.00001, 0.2)) == "no difference seen"  # as it is printed
    assert ablation.verdict(row(-0.1, 0.2, -0.15)) == "undecided"  # the bootstrap's alone holds 0
    assert ablation.verdict(row(np.nan, np.nan)) == "one seed, no interval"


@pytest.mark.parametrize("bootstrap, student, expected", [
    ((0.1, 0.2), (0.05, 0.25), (0.05, 0.25)), ((0.1, 0.2), (-0.1, 0.4), (-0.1, 0.4)),
    ((-0.1, 0.2), (-0.2, 0.3), (-0.2, 0.3)), ((-0.1, 0.2), (0.01, 0.1), (-0.1, 0.2))])
def test_the_deciding_interval_says_what_the_verdict_says(bootstrap, student, expected):
    row = dict(zip(("low", "high", "t_low", "t_high"), (*bootstrap, *student)))
    assert ablation.deciding(row) == expected
    assert (expected[0] > 0) == (ablation.verdict(row) == "higher")


def test_conclusions_in_words():
    table = pd.concat([made_up({ORTHOGONAL: [0.5, 0.5, 0.5], "b": [0.7, 0.8, 0.9]}),
                       made_up({ORTHOGONAL: [0.5, 0.5, 0.5], "b": [0.4, 0.6, 0.5]}, "purity")])
    text = ablation.conclusions(ablation.paired(table), "b")
    assert text.startswith("**b**, beside both losses, 3 seeds. higher: nmi +0.3000 [+0.0516, +0.5484]; ")  # Student's
    assert text.endswith("no difference seen: purity 0.0000 [-0.2484, +0.2484].")
    unsure = ablation.conclusions(ablation.paired(made_up({ORTHOGONAL: [0.0] * 3, "b": [0.1, 0.1, 0.4]})), "b")
    assert unsure.endswith("undecided: nmi +0.2000 [-0.2303, +0.6303] (bootstrap [+0.1000, +0.4000]).")
    assert ablation.conclusions(ablation.paired(table), "c") == "**c**: nothing to compare."
    one = ablation.conclusions(ablation.paired(made_up({ORTHOGONAL: [0.5], "b": [0.7]})), "b")
    assert one.endswith("1 seed. one seed, no interval: nmi +0.2000.")


def test_whose_concepts_are_less_alike():
    off = {ORTHOGONAL: (0.3, 0.28, 0.32), "lower": (0.2, 0.18, 0.27), "near": (0.31, 0.31, 0.33),
           "higher": (0.4, 0.33, 0.5), "same": (0.3, 0.3, 0.3), "single": (np.nan,) * 3}
    none = ablation.paired(made_up({ORTHOGONAL: [0.3], "lower": [0.2]}, "off-diagonal"))
    said = {arm: ablation.alikeness(off, none, arm) for arm in off if arm != ORTHOGONAL}
    assert said["lower"] == ("**lower**: in this seed the mean of “both losses” is higher than that of “lower”, and "
                             "the intervals do not overlap; other seeds have not been measured.")
    assert "is lower than that of “near”, and the intervals overlap;" in said["near"]
    assert "is lower than that of “higher”, and the intervals do not overlap;" in said["higher"]
    assert "is as high as that of “same”, and the intervals overlap;" in said["same"]
    assert said["single"] == "**single**: nothing to compare, an arm has single concepts only."
    seeds = pd.concat([made_up({ORTHOGONAL: [0.3] * 3, "lower": [0.2, 0.3, 0.4]}, "off-diagonal"),
                       made_up({ORTHOGONAL: [0.0] * 3, "lower": [1.0] * 3})])  # another measure does not count
    text = ablation.alikeness(off, ablation.paired(seeds), "lower")
    assert text.endswith(". The mean difference of 3 seeds, “lower” less “both losses”: 0.0000 [-0.2484, +0.2484], "
                         "no difference seen.")


def test_what_the_subspace_loss_weighs_and_how_far_its_arm_is(study):
    own = made_up({NO_ORTHOGONAL: [0.30, 0.25, 0.9], ablation.NEITHER: [0.28, 0.29]}, "off-diagonal")
    other = made_up({NO_ORTHOGONAL: [5.0], ablation.NEITHER: [1.0]})  # another measure does not count
    text = ablation.subspace_words(pd.concat([own, other]), study.config)
    assert f"Its weight is {study.config.subspace:g}, that of the orthogonal loss 1." in text
    assert "up to 0.040 apart in 2 seeds: with so small a weight" in text
    strong = ablation.subspace_words(own, dataclasses.replace(study.config, subspace=0.5))
    assert strong.endswith("Its weight is 0.5, that of the orthogonal loss 1. The means of these two are up to 0.040 "
                           "apart in 2 seeds.")
    assert ablation.subspace_words(own[own["seed"] == 0], study.config).endswith(" are 0.020 apart in one seed.")
    assert ablation.subspace_words(own[own["arm"] == NO_ORTHOGONAL], study.config) == ""


@pytest.mark.parametrize("specificity, off, words", [
    (0.95, 0.33, "mostly one between parts and superpixels"), (0.75, 0.5, "no nearer to the network's concepts than"),
    (0.95, 0.5, "By one measure they are nearer"), (0.75, 0.33, "By one measure they are nearer")])
def test_boxes_are_nearer_to_the_network_or_to_superpixels(specificity, off, words):
    def table(boxes):
        found = [({ORTHOGONAL: [1.0, 1.0, 0.0], MANUAL: [0.7, 0.7, 0.0], **boxes(specificity)}, "specificity"),
                 ({ORTHOGONAL: [0.3, 0.3, 0.0], MANUAL: [0.6, 0.6, 0.0], **boxes(off)}, "off-diagonal")]
        return pd.concat([made_up(*own) for own in found])

    text = ablation.stand_ins(table(lambda value: {ablation.BOXES: [value, value]}))  # the third seed lacks them
    assert words in text and text.count("(2 seeds)") == 2
    assert f"specificity {specificity:.3f}, beside 1.000 of “both losses” and 0.700 of “not self-supervised”" in text
    assert f"off-diagonal {off:.3f}, beside 0.300 of “both losses” and 0.600 of “not self-supervised”" in text
    assert ablation.stand_ins(table(lambda value: {})).startswith("Boxes around true parts have not been measured")


def test_claims_turn_the_sign_and_follow_from_the_interval():
    table = pd.concat([made_up({ORTHOGONAL: [0.5, 0.6, 0.7], NO_ORTHOGONAL: [0.35, 0.4, 0.5]}),
                       made_up({ORTHOGONAL: [0.5, 0.6, 0.7], NO_ORTHOGONAL: [0.6, 0.5, 0.7]}, "purity"),
                       made_up({ORTHOGONAL: [1.0, 1.0], MANUAL: [0.55, 0.56]}, "specificity"),
                       made_up({ORTHOGONAL: [0.3, 0.3], MANUAL: [0.55, 0.55]}, "off-diagonal")], ignore_index=True)
    rows = {row["claim"]: row for row in ablation.claims(table, ablation.paired(table))}
    assert list(rows) == ["orthogonality_effect_nmi", "orthogonality_effect_purity",
                          "selfsupervised_effect_specificity", "offdiag_concepts_selfsupervised",
                          "offdiag_concepts_manual"]
    nmi = rows["orthogonality_effect_nmi"]
    assert (nmi["here"], nmi["spread"], nmi["seeds"], nmi["holds"]) == (0.1833, "[0.1116, 0.2550]", 3, "yes")
    assert rows["orthogonality_effect_purity"]["holds"] == "no"
    unsure = made_up({ORTHOGONAL: [0.5, 0.5, 0.8], NO_ORTHOGONAL: [0.4, 0.4, 0.4]})  # the bootstrap's excludes 0
    (row,) = ablation.claims(unsure, ablation.paired(unsure))
    assert (row["spread"], row["holds"]) == ("[-0.2303, 0.6303]", "no")
    assert rows["selfsupervised_effect_specificity"]["holds"] == "yes"
    assert rows["offdiag_concepts_selfsupervised"]["holds"] == "yes"
    assert rows["offdiag_concepts_manual"]["here"] == 0.55 and rows["offdiag_concepts_manual"]["holds"] == ""
    alone = made_up({ORTHOGONAL: [0.5], NO_ORTHOGONAL: [0.4]})
    (row,) = ablation.claims(alone, ablation.paired(alone))
    assert (row["here"], row["spread"], row["seeds"], row["holds"]) == (0.1, "", 1, "")


# --- the same concept, side by side ---


def test_without_a_common_name_the_same_concept_is_the_one_in_the_same_place(arm, superpixels, study, monkeypatch):
    monkeypatch.setattr(ablation, "invert", functools.partial(inversion.invert, tv_weight=0))
    other = Arm("other names", study, arm.concepts.renamed(("x", "y", "z")))
    result = ablation.beside({ORTHOGONAL: arm, "other names": other, MANUAL: superpixels}, study.class_names[1], "two",
                             pictures=4, crop=64, steps=2)
    assert result.arms == (ORTHOGONAL, "other names", MANUAL) and result.concept == "two"
    assert result.names[:2] == ("two", "y") and result.overlaps[:2].tolist() == [1, 1]
    assert result.names[2].startswith("superpixel") and 0 <= result.overlaps[2] < 1
    assert result.pictures.shape == (3, 64, 64, 3) and result.pictures.dtype == np.uint8
    assert (result.pictures[0] == result.pictures[1]).all() and (result.pictures[0] != result.pictures[2]).any()


def test_the_same_concept_has_the_same_name_first_and_then_the_same_place(arm, study, monkeypatch):
    monkeypatch.setattr(ablation, "_trait_picture", lambda *_: np.zeros((1, 1, 3), np.uint8))
    swapped = Arm("swapped", study, arm.concepts.renamed(("two", "one", "three")))
    second = Arm("two of that name", study, arm.concepts.renamed(("two", "two 2", "three")))
    arms = {ORTHOGONAL: arm, "swapped": swapped, "two of that name": second}
    result = ablation.beside(arms, study.class_names[1], "two")
    assert result.names == ("two", "two", "two 2") and result.overlaps[0] == result.overlaps[2] == 1
    assert result.overlaps[1] < 1  # elsewhere, but of that name
    back = ablation.beside({"two of that name": second, "swapped": swapped}, study.class_names[1], "two 2")
    assert back.names == ("two 2", "two") and back.overlaps[1] < 1  # whatever its number
    numbered = Arm("numbered", study, arm.concepts.renamed(("concept 2", "concept 1", "concept 3")))
    shuffled = Arm("shuffled", study, arm.concepts.renamed(("concept 1", "legs", "concept 2")))
    unnamed = ablation.beside({ORTHOGONAL: numbered, "shuffled": shuffled}, study.class_names[1], "concept 1")
    assert unnamed.names == ("concept 1", "legs") and unnamed.overlaps[1] == 1  # a number is no name


def test_without_the_name_the_first_concept_is_shown(arm, study):
    result = ablation.beside({ORTHOGONAL: arm}, study.class_names[0], "nothing", pictures=3, crop=500, steps=1)
    assert result.concept == "one" and result.pictures.shape == (1, SIZE, SIZE, 3)


def test_regions_cannot_be_the_reference(superpixels, study):
    with pytest.raises(ValueError, match="'not self-supervised', has no concepts of its own; put one first that has"):
        ablation.beside({MANUAL: superpixels}, study.class_names[0])


def test_windows_of_regions_are_around_their_middle(boxes, study, monkeypatch):
    asked = {}
    monkeypatch.setattr(ablation, "windows_around",
                        lambda pictures, points, crop: asked.update(points=points, crop=crop))
    ablation._windows_of(boxes, 0, "upper", 4, 32)
    cells = concept_cosines.places(boxes, study.data.train, 0, 1).cells[0, 0]
    middle = (np.argwhere(cells.numpy()) + 0.5).mean(axis=0) / np.array(cells.shape)
    np.testing.assert_allclose(asked["points"], np.tile(middle, (4, 1)))
    ablation._windows_of(boxes, 0, "once", 4, 32)
    assert len(asked["points"]) == 1  # it is seen in a single picture
