"""Arms of the ablation on a tiny study of drawn animals; oracles are slow, one cell or picture at a time."""

import numpy as np
import pandas as pd
import pytest
import torch

from asxai import config, statistics
from asxai.benchmarks import ablation, concept_cosines
from asxai.benchmarks.ablation import MANUAL, NO_ORTHOGONAL, ORTHOGONAL
from asxai.benchmarks.concept_cosines import ConceptCosines
from asxai.concepts.cells import own_class_maps
from asxai.concepts.concepts import Concepts
from asxai.methods import Method
from asxai.methods.as_xai import AsXai
from asxai.methods.superpixels import SIDE, Superpixels
from asxai.model.geometry import within_class_cosine
from asxai.model.training import evaluate
from asxai.study import Study
from asxai.traits import inversion
from asxai.traits.vectors import semantic_vector

SIZE = 96
MEMBERS = np.array([[1, 1, 2, 3, 0], [0, 2, 3, 3, 1]])


@pytest.fixture(scope="module")
def arm(study):
    return of_names(study, "one", "two", "three")


def of_names(study, *names):
    return AsXai(concepts=Concepts(MEMBERS, names, study.class_names)).fit(study)


@pytest.fixture(scope="module")
def superpixels(study):
    return Superpixels(SIDE, [3, 2]).fit(study)


class Corners(Method):
    """The same corners in every picture, and one that is seen in the first picture of those that are asked for."""

    def names(self, label):
        return "upper", "lower", "once"

    def maps(self, pictures, label):
        masks = torch.zeros(len(pictures), 3, SIZE, SIZE, dtype=torch.bool)
        masks[:, 0, :48, :48] = masks[:, 1, 48:, 40:] = masks[0, 2, 60:70, :10] = True
        return masks


@pytest.fixture(scope="module")
def corners(study):
    return Corners().fit(study)


@pytest.fixture
def trained(study, monkeypatch):
    """`Study.train` gives the tiny study, under the parameters that it was asked for; the calls."""
    calls = []
    monkeypatch.setattr(Study, "train", lambda data_set, **parameters: calls.append(parameters) or study)
    return calls


# --- arms ---


def test_arms_differ_in_what_they_say(trained, study):
    arms = ablation.train_arms("menagerie-pets", seed=0, sigma=0.5)
    assert list(arms) == list(ablation.ARMS) and all(method.study is study for method in arms.values())
    without = {"orthogonality": 0.0}
    common = {"seed": 0, "device": "cpu", "sigma": 0.5}
    assert trained == [common, common | without, common | without | {"subspace": 0.0}, common]
    assert [type(method) for method in arms.values()] == [AsXai, AsXai, AsXai, Superpixels]
    assert arms[MANUAL].size == SIDE
    counts = [len(study.concepts().of_class(label)) for label in range(2)]
    assert [kinds.count for kinds in arms[MANUAL].kinds] == counts


def test_an_arm_of_ones_own_and_other_methods(trained, study):
    mine = {"mine": {"basis_per_class": 7, "sigma": 0.1}}
    arms = ablation.train_arms("menagerie-pets", mine | ablation.named([ablation.BOXES, "k-means"]))
    assert (trained[0]["basis_per_class"], trained[0]["sigma"]) == (7, 0.1)
    assert [method.name for method in arms.values()] == ["this study", "boxes around parts", "k-means"]
    with pytest.raises(ValueError, match="arm 'black box': 'black box' only predicts; use a method that has concepts"):
        ablation.train_arms("menagerie-pets", ablation.named(["black box"]))


@pytest.mark.parametrize("changes, error, words", [
    ({"method": "circles"}, ValueError, "arm 'bad' has method='circles'; use one of this study, paper's objective"),
    ({"basis_per_class": 100, "channels": 64}, ValueError, "cannot be orthogonal"),
    ({"orthogonal": 1.0}, TypeError, "unknown parameter 'orthogonal'"),
])  # fmt: skip
def test_arms_that_cannot_be_are_refused_before_any_training(trained, changes, error, words):
    with pytest.raises(error, match=words):
        ablation.train_arms("menagerie-pets", {"good": {}, "bad": changes})
    assert trained == []


def test_arms_by_name_and_one_more():
    arms = {NO_ORTHOGONAL: {"orthogonality": 0.0}, "M = 5": {"basis_per_class": 5}, "extra arm": {"sigma": 0.1}}
    assert ablation.named([NO_ORTHOGONAL, "M = 5"], {"sigma": 0.1}) == arms
    assert ablation.named([ORTHOGONAL]) == {ORTHOGONAL: {}}
    with pytest.raises(ValueError, match=r"names=\['M = 3'\] are no arms; use some of .*both losses, no orthogonal"):
        ablation.named([ORTHOGONAL, "M = 3"])
    for changes in ablation.FURTHER.values():  # all of them can be
        config.Config.of("menagerie-pets", **{k: v for k, v in changes.items() if k not in ablation.SPECIAL})


def test_without_replacement_has_the_old_vectors_and_a_last_layer_for_them(study):
    before = {name: value.clone() for name, value in study.model.state_dict().items()}
    other = ablation.without_replacement(study)
    assert torch.equal(other.model.basis_vectors, study.basis_before)
    assert all(torch.equal(value, before[name]) for name, value in study.model.state_dict().items())
    assert other.folder.parent == study.folder and other.data is study.data
    train = study.data.train
    features, labels = study.features(train)[0][:], torch.from_numpy(train.labels)
    old = study.model.last_layer.weight

    def loss(weight):  # what stage 3 minimises
        found = evaluate(other.model, features, labels, 32)["similarity"].flatten(1).double() @ weight.double().T
        wrong = weight[~other.model.own_class().flatten(1).bool()].abs().sum()
        return float(torch.nn.functional.cross_entropy(found, labels) + study.config.wrong_class_l1 * wrong)

    assert loss(other.model.last_layer.weight.detach()) <= loss(old.detach())
    assert not torch.equal(other.model.last_layer.weight, old)


# --- where concepts are ---


def test_places_of_a_network_are_the_cells_of_its_masks(arm, study):
    found = concept_cosines.places(arm, study, study.data.test, 1, 4)
    assert found.names == ("one", "two", "three")
    chosen = np.flatnonzero(study.data.test.labels == 1)[[0, 2, 3, 5]]  # evenly spread
    own = own_class_maps(study, study.data.test)
    side = own.shape[-1]
    for i, picture in enumerate(chosen):
        for k, members in enumerate(([4], [1], [2, 3])):
            best = own[picture, members].amax(dim=0).flatten()
            threshold = sorted(best.tolist())[round(side * side * 0.95) - 1]
            assert torch.equal(found.cells[i, k].flatten(), best >= threshold)
    maps = study.model.backbone_map(study.features(study.data.test)[0][chosen]) / study.model.feature_std
    torch.testing.assert_close(found.maps, maps.detach(), rtol=1e-4, atol=1e-4)


def test_hidden_cells_count_as_the_lowest(corners, study):
    split = study.data.train.take([0, 4, 9])
    cells = corners.masks(split, 0, 6)
    maps = study.model.backbone_map(study.features(split)[0][:]).detach()
    mean, highest = concept_cosines.hidden_cells(study, split, cells)
    assert highest.shape == mean.shape == (3, 3, maps.shape[1])
    for k, i, channel in np.ndindex(3, 3, 12):
        values = torch.where(cells[i, k], maps[i, channel].min(), maps[i, channel])
        assert highest[k, i, channel] == max(values.flatten().tolist())
        assert mean[k, i, channel] == pytest.approx(np.mean(values.flatten().tolist()), rel=1e-4)


def test_features_of_concepts_are_means_over_their_cells(corners, study):
    found = concept_cosines.places(corners, study, study.data.test, 0, 4)
    result = concept_cosines.concept_features(study, found)
    assert result[2, 1:].isnan().all() and result[:2].isfinite().all()  # once seen
    raw = study.model.backbone_map(study.features(study.data.test)[0][[0, 2, 3, 5]]).detach()
    mean, std = study.model.feature_mean.flatten(), study.model.feature_std.flatten()
    for k, i in ((0, 0), (1, 3), (2, 0)):
        expected = (raw[i][:, found.cells[i, k]].double().mean(dim=1) - mean) / std
        torch.testing.assert_close(result[k, i].double(), expected, rtol=1e-4, atol=1e-4)


# --- measures ---


def test_concept_cosines_are_those_of_mean_features(corners, study):
    found = concept_cosines.concept_cosines(corners, study, 4)
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
    single = ConceptCosines("single", ("a",), np.ones((1, 1)), features[:1])
    pair = lambda cosine, features: ConceptCosines("c", ("a", "b"), np.array([[1, cosine], [cosine, 1]]), features)
    value, low, high = concept_cosines.off_diagonal([pair(cosine, features), single])
    assert value == pytest.approx(abs(cosine)) and low < value < high < low + 0.3
    assert np.isnan(concept_cosines.off_diagonal([single])).all()
    once = np.array([[[1.0, 0, 0]] * 3, [[0.6, 0.8, 0], [np.nan] * 3, [0.6, 0.8, 0]]])  # one picture lacks the concept
    assert concept_cosines.off_diagonal([pair(0.6, once)]) == pytest.approx([0.6] * 3)


def test_traits_on_cells(corners, study):
    own = concept_cosines.cell_traits(corners, study, pictures=5, measured=4)[0]
    assert own.names == ("upper", "lower", "once") and own.removed.shape == (3, 4, 3)
    whole, made, seen = [], [], []
    for split, chosen, hidden in ((study.data.train, [0, 2, 5, 8, 10], made), (study.data.test, [0, 2, 3, 5], seen)):
        part = split.take(chosen)  # of class 0, evenly spread
        unit = study.model.feature_std.flatten()
        whole.append(study.model.backbone_map(study.features(part)[0][:]).detach().amax(dim=(2, 3)) / unit)
        hidden += [concept_cosines.hidden_cells(study, part, corners.masks(part, 0, 6))[1] / unit]
    expected = semantic_vector(whole[0], made[0][1])
    assert own.vectors[1].channels.tolist() == expected.channels.tolist()
    of = lambda features: features.double().numpy()[:, expected.channels] @ expected.weights / 5
    np.testing.assert_allclose(own.unmasked[:, 1], of(whole[1]), rtol=1e-6)
    np.testing.assert_allclose(own.removed[0][:, 1], of(seen[0][0]), rtol=1e-6)
    assert len(own.held_out) == sum((split.labels == 0).sum() for split in study.data.splits.values()) - 5


def test_rms_cosine_and_its_bound():
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(2, 5, 3))
    unit = [[v / np.linalg.norm(v) for v in own] for own in basis]
    pairs = [[(a @ b) ** 2 for i, a in enumerate(own) for j, b in enumerate(own) if i != j] for own in unit]
    values = np.sqrt(np.mean(pairs, axis=1))
    assert statistics.rms_cosine(torch.from_numpy(basis)) == pytest.approx(np.mean(values))
    assert statistics.rms_cosine(torch.from_numpy(basis)) >= statistics.cosine_bound(5, 3)
    assert np.isnan(statistics.rms_cosine(torch.ones(2, 1, 3)))
    assert statistics.cosine_bound(3, 3) == statistics.cosine_bound(1, 4) == 0
    # three unit vectors in a plane, 120 degrees apart, reach it: all cosines are -1/2
    angles = 2 * np.pi * np.arange(3) / 3
    flat = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1))[None]
    assert statistics.rms_cosine(flat) == pytest.approx(0.5) == statistics.cosine_bound(3, 2)


def test_measures_of_an_arm_of_a_network(arm, study):
    table = ablation.measure(arm, pictures=6, measured=6).set_index("measure")["value"]
    assert set(ablation.MEASURES) <= set(table.index)
    assert table["cosine before"] == pytest.approx(within_class_cosine(study.basis_before).mean())
    assert table["rms cosine"] == pytest.approx(statistics.rms_cosine(study.model.basis))
    assert table["lower bound"] == 0 and 0 <= table["specificity"] <= 1 and 0 < table["q-q r2"] <= 1
    assert table["accuracy"] == study.metrics["test_accuracy"]
    cosines = concept_cosines.concept_cosines(arm, study, 6)
    assert table["off-diagonal"] == pytest.approx(concept_cosines.off_diagonal(cosines)[0])


def test_measures_are_kept_but_for_methods_that_are_not_of_this_package(superpixels, corners, monkeypatch):
    arms = {MANUAL: superpixels, "corners": corners}
    table = ablation.measure_arms(arms, "words", pictures=6, measured=6)
    assert list(table) == ablation.COLUMNS and set(table["settings"]) == {"words"} and set(table["seed"]) == {0}
    measures = {"accuracy", "nmi", "ari", "best part IoU", "specificity", "q-q r2", "off-diagonal"}
    for arm in arms:
        assert set(table[table["arm"] == arm]["measure"]) == measures
    monkeypatch.setattr(ablation, "measure", lambda *_, **__: pytest.fail("measured again"))
    again = ablation.measure_arms({MANUAL: superpixels}, "other words", pictures=6, measured=6)
    pd.testing.assert_frame_equal(again.assign(settings="words"), table[table["arm"] == MANUAL])
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        ablation.measure_arms({"corners": corners}, "words", pictures=6, measured=6)


def test_dots_have_only_what_is_compared():
    measures = ["off-diagonal", "ari", "nmi"]
    table = pd.DataFrame({"arm": "a", "seed": 0, "value": 1.0, "low": 0.0, "high": 1.0, "measure": measures})
    result = ablation.for_dots(table)[["method", "measure", "better"]]
    assert result.values.tolist() == [["a", "nmi", "higher"], ["a", "off-diagonal", "lower"]]


# --- tables ---


def made_up(values, measure="nmi"):
    """values: per arm a value per seed."""
    rows = [(arm, seed, value) for arm, own in values.items() for seed, value in enumerate(own)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "value"])
    return table.assign(settings="s", measure=measure, low=0.0, high=1.0)


def test_only_arms_that_a_kept_table_lacks_are_measured(superpixels, corners, monkeypatch):
    asked = []

    def measure_arms(arms, settings, **options):
        asked.append((list(arms), settings, options))
        return made_up(dict.fromkeys(arms, [9.0]))

    monkeypatch.setattr(ablation, "measure_arms", measure_arms)
    kept = made_up({"a": [7.0, 2.0], "b": [3.0]})
    both = pd.concat([kept.assign(settings="other"), kept])
    result = ablation.completed(both, {"a": superpixels, "c": corners}, "s", pictures=5)
    assert asked == [(["c"], "s", {"pictures": 5})]
    expected = [["a", 0, 7.0], ["a", 1, 2.0], ["b", 0, 3.0], ["c", 0, 9.0]]
    assert result[["arm", "seed", "value"]].values.tolist() == expected
    assert len(ablation.completed(both, {"a": superpixels}, "s")) == 3 and len(asked) == 1
    later = made_up({"a": [0.0, 2.0]}).query("seed == 1")  # another seed of the same arm does not count
    assert ablation.completed(later, {"a": superpixels}, "s")["seed"].tolist() == [1, 0]
    assert ablation.completed(pd.DataFrame(), {"a": superpixels, "c": corners}, "s")["arm"].tolist() == ["a", "c"]


def test_settings_in_words():
    usual = "basis_per_class=10 learning_rate=0.003 objective=parts"
    assert ablation.settings_of({}) == f"backbone=efficientnet-lite0 {usual} trainable=head"
    assert ablation.settings_of({"size": 96, "backbone": "b"}) == f"backbone=b {usual} size=96 trainable=head"


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


HIGHER, LOWER, UNSURE, SAME = "higher", "lower", "undecided", "no difference seen"


@pytest.mark.parametrize("bootstrap, student, verdict, deciding", [
    ((0.1, 0.2), (0.05, 0.25), HIGHER, (0.05, 0.25)),
    ((-0.2, -0.1), (-0.25, -0.05), LOWER, (-0.25, -0.05)),
    ((0.1, 0.2), (-0.1, 0.4), UNSURE, (-0.1, 0.4)),
    ((-0.2, -0.1), (-0.3, 0.1), UNSURE, (-0.3, 0.1)),
    ((-0.1, 0.2), (0.01, 0.1), UNSURE, (-0.1, 0.2)),  # the bootstrap's alone holds 0
    ((-0.1, 0.2), (-0.2, 0.3), SAME, (-0.2, 0.3)),
    ((0.0, 0.2), (0.0, 0.2), SAME, (0.0, 0.2)),
    ((0.00001, 0.2), (0.00001, 0.2), SAME, (0.00001, 0.2)),  # as it is printed
])  # fmt: skip
def test_the_verdict_and_the_interval_that_decides_follow_from_both(bootstrap, student, verdict, deciding):
    row = dict(zip(("low", "high", "t_low", "t_high"), (*bootstrap, *student)))
    assert ablation.verdict(row) == verdict and ablation.deciding(row) == deciding
    assert ablation.verdict(dict.fromkeys(row, np.nan)) == "one seed, no interval"


def test_claims_turn_the_sign_and_follow_from_the_interval():
    tables = [
        made_up({ORTHOGONAL: [0.5, 0.6, 0.7], NO_ORTHOGONAL: [0.35, 0.4, 0.5]}),
        made_up({ORTHOGONAL: [0.5, 0.6, 0.7], NO_ORTHOGONAL: [0.6, 0.5, 0.7]}, "purity"),
        made_up({ORTHOGONAL: [1.0, 1.0], MANUAL: [0.55, 0.56]}, "specificity"),
        made_up({ORTHOGONAL: [0.3, 0.3], MANUAL: [0.55, 0.55]}, "off-diagonal"),
    ]
    table = pd.concat(tables, ignore_index=True)
    rows = {row["claim"]: row for row in ablation.claims(table, ablation.paired(table))}
    names = ["orthogonality_effect_nmi", "orthogonality_effect_purity", "selfsupervised_effect_specificity"]
    assert list(rows) == [*names, "offdiag_concepts_selfsupervised", "offdiag_concepts_manual"]
    nmi = rows["orthogonality_effect_nmi"]
    assert (nmi["here"], nmi["spread"], nmi["seeds"], nmi["holds"]) == (0.1833, "[0.1116, 0.2550]", 3, "yes")
    assert rows["orthogonality_effect_purity"]["holds"] == "no"
    unsure = made_up({ORTHOGONAL: [0.5, 0.5, 0.8], NO_ORTHOGONAL: [0.4, 0.4, 0.4]})  # the bootstrap's excludes 0
    (row,) = ablation.claims(unsure, ablation.paired(unsure))
    assert (row["spread"], row["holds"]) == ("[-0.2303, 0.6303]", "no")
    assert rows["selfsupervised_effect_specificity"]["holds"] == "yes"
    assert rows["offdiag_concepts_selfsupervised"]["holds"] == "yes"
    assert rows["offdiag_concepts_manual"]["here"] == 0.55 and rows["offdiag_concepts_manual"]["holds"] == ""
    pair = made_up({ablation.PAPER: [0.4, 0.5, 0.6], ablation.PAPER_WITHOUT: [0.3, 0.4, 0.49]})
    rows = ablation.claims(table, ablation.paired(table), ablation.paired(pair, ablation.PAPER))
    (row,) = [row for row in rows if row["claim"] == "orthogonality_effect_nmi: paper's objective"]
    assert (row["here"], row["seeds"], row["holds"]) == (0.1033, 3, "yes")
    alone = made_up({ORTHOGONAL: [0.5], NO_ORTHOGONAL: [0.4]})
    (row,) = ablation.claims(alone, ablation.paired(alone))
    assert (row["here"], row["spread"], row["seeds"], row["holds"]) == (0.1, "", 1, "")


# --- the same concept, side by side ---


def test_without_a_common_name_the_same_concept_is_the_one_in_the_same_place(arm, superpixels, study, monkeypatch):
    monkeypatch.setattr(inversion, "TV_WEIGHT", 0)
    arms = {ORTHOGONAL: arm, "other names": of_names(study, "x", "y", "z"), MANUAL: superpixels}
    result = ablation.beside(arms, study.class_names[1], "two", pictures=4, crop=64, steps=2)
    assert result.concept == "two"
    assert result.names[:2] == ("two", "y") and result.overlaps[:2].tolist() == [1, 1]
    assert result.names[2].startswith("superpixel") and 0 <= result.overlaps[2] < 1
    assert result.pictures.shape == (3, 64, 64, 3) and result.pictures.dtype == np.uint8
    assert (result.pictures[0] == result.pictures[1]).all() and (result.pictures[0] != result.pictures[2]).any()


def test_the_same_concept_has_the_same_name_first_and_then_the_same_place(arm, study, monkeypatch):
    monkeypatch.setattr(ablation, "_trait_picture", lambda *_, **__: np.zeros((1, 1, 3), np.uint8))
    beside = lambda concept, *arms: ablation.beside(dict(enumerate(arms)), study.class_names[1], concept, 1)
    swapped, second = of_names(study, "two", "one", "three"), of_names(study, "two", "two 2", "three")
    result = beside("two", arm, swapped, second)
    assert result.names == ("two", "two", "two 2") and result.overlaps[0] == result.overlaps[2] == 1
    assert result.overlaps[1] < 1  # elsewhere, but of that name
    back = beside("two 2", second, swapped)
    assert back.names == ("two 2", "two") and back.overlaps[1] < 1  # whatever its number
    numbered = of_names(study, "concept 2", "concept 1", "concept 3")
    unnamed = beside("concept 1", numbered, of_names(study, "concept 1", "legs", "concept 2"))
    assert unnamed.names == ("concept 1", "legs") and unnamed.overlaps[1] == 1  # a number is no name


def test_without_the_name_the_first_concept_is_shown(arm, study):
    result = ablation.beside({ORTHOGONAL: arm}, study.class_names[0], "nothing", pictures=3, crop=500, steps=1)
    assert result.concept == "one" and result.pictures.shape == (1, SIZE, SIZE, 3)
