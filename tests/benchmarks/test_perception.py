"""What a tiny study's concepts make of changed pictures, one picture at a time, and tables of planted changes."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from asxai import statistics
from asxai.benchmarks import changes, perception
from asxai.benchmarks.changes import STRENGTHS
from asxai.benchmarks.perception import PAPER_ORDER, ClassChanges
from asxai.concepts.concepts import Concepts
from asxai.data.pictures import to_batch

SIZE = 96


@pytest.fixture(scope="module")
def concepts(study):
    return Concepts(np.array([[1, 2, 2, 0, 0], [1, 3, 0, 0, 0]]), ("one", "two", "three"), study.class_names)


@pytest.fixture(scope="module")
def classes(study, concepts):
    return perception.perceive(study, concepts, pictures=5)


@torch.inference_mode()
def maps_by_hand(study, picture, label):
    return study.model(study.model.features(picture[None])).maps[0, label]


def chosen(study, label, count=5):
    members = np.flatnonzero(study.data.train.labels == label)
    return study.data.train.take(members[np.linspace(0, len(members) - 1, count).round().astype(int)])


def test_best_cosines_before_and_after(classes, study):
    assert [one.class_name for one in classes] == list(study.class_names)
    assert [one.names for one in classes] == [("one", "two"), ("one", "three")]
    for label, vectors in ((0, ([0], [1, 2])), (1, ([0], [1]))):
        one, split = classes[label], chosen(study, label)
        assert one.changes == tuple(STRENGTHS) and one.falls.shape == (6, 5, 2)
        for i, (k, members) in itertools.product((0, 3), enumerate(vectors)):
            picture = to_batch([split.paths[i]], SIZE)
            whole = maps_by_hand(study, picture[0], label)[members].max()
            assert one.whole[i, k] == pytest.approx(whole.item(), abs=1e-5)
            for c, (name, strength) in enumerate(STRENGTHS.items()):
                changed = changes.change(picture, name, strength)
                best = maps_by_hand(study, changed[0], label)[members].max()
                assert one.falls[c, i, k] == pytest.approx((whole - best).item(), abs=1e-5)
                assert one.distances[c, i] == pytest.approx(changes.distance(picture, changed).item())


def test_best_cosines_on_true_parts(classes, study):
    one, split = classes[1], chosen(study, 1)
    masks, names = split.part_masks(SIZE), study.data.part_names
    assert set(one.parts) == {names[k - 1] for k in np.unique(masks) if k}
    for i, c in itertools.product((1, 4), (1, 5)):
        name = list(STRENGTHS)[c]
        picture = changes.change(to_batch([split.paths[i]], SIZE), name, STRENGTHS[name])[0]
        maps = maps_by_hand(study, picture, 1)[[0, 1]].amax(dim=0)  # the concepts' vectors
        if name == "shape":  # the part goes where its pixels go
            mask = changes.change(torch.from_numpy(masks)[:, None].expand(-1, 3, -1, -1), "shape", 0.1)[i, 0].numpy()
        else:
            mask = masks[i]
        side = SIZE // len(maps)
        cells = mask.reshape(len(maps), side, len(maps), side)
        for k, part in enumerate(one.parts):
            on = (cells == names.index(part) + 1).any(axis=(1, 3))
            expected = maps[torch.from_numpy(on)].max().item() if on.any() else np.nan
            assert one.part_changed[c, i, k] == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_results_are_kept_until_pictures_or_weights_change(classes, study, concepts, monkeypatch):
    calls, compute = [], perception._best_cosines
    monkeypatch.setattr(perception, "_best_cosines", lambda *a: calls.append(1) or compute(*a))
    again = perception.perceive(study, concepts, pictures=5)
    np.testing.assert_array_equal(again[0].changed, classes[0].changed)
    assert not calls
    perception.perceive(study, concepts, pictures=2, strengths={"hue": 0.1})
    assert len(calls) == 2
    with torch.no_grad():
        study.model.basis_vectors.mul_(-1)
    try:
        other = perception.perceive(study, concepts, pictures=2, strengths={"hue": 0.1})
    finally:
        with torch.no_grad():
            study.model.basis_vectors.mul_(-1)
    assert len(calls) == 4 and not np.allclose(other[0].whole, classes[0].whole[[0, 4]])


def test_examples_show_each_class_with_every_change(study):
    sheet = perception.examples(study)
    assert sheet["pictures"].shape == (2, 7, SIZE, SIZE, 3) and sheet["names"] == list(STRENGTHS)
    first = study.data.test.paths[int(np.flatnonzero(study.data.test.labels == 1)[0])]
    whole = to_batch([first], SIZE)
    changed = changes.change(whole, "hue", 0.1)
    assert (sheet["pictures"][1, 0] == whole[0].permute(1, 2, 0).numpy()).all()
    assert (sheet["pictures"][1, 4] == changed[0].permute(1, 2, 0).numpy()).all()
    assert sheet["distances"][1, 3] == pytest.approx(changes.distance(whole, changed).item())


# --- tables ---


def planted(falls, class_name="class", distances=None, **parts):
    """Changes by which the best cosine falls by what is given, `(change, picture, concept)`."""
    falls = np.asarray(falls, float)
    whole = np.full(falls.shape[1:], 0.9)
    distances = np.ones(falls.shape[:2]) if distances is None else np.asarray(distances, float)
    names = tuple(f"concept {k}" for k in range(falls.shape[2]))
    return ClassChanges(class_name, names, tuple(STRENGTHS)[: len(falls)], whole, whole - falls, distances, **parts)


def test_delta_has_the_printed_sign_and_its_size_an_interval():
    falls = np.zeros((6, 40, 1))
    falls[0, :, 0] = np.random.default_rng(0).normal(0.1, 0.05, 40)
    table = perception.delta_table([planted(falls)]).set_index("change")
    row, values = table.loc["brightness"], falls[0, :, 0]
    assert row["delta"] == pytest.approx(-values.mean()) and row["absolute"] == pytest.approx(np.abs(values).mean())
    error = np.abs(values).std() / np.sqrt(40)
    assert row["low"] == pytest.approx(row["absolute"] - 1.96 * error, abs=0.5 * error)
    assert row["high"] == pytest.approx(row["absolute"] + 1.96 * error, abs=0.5 * error)
    assert row[["lower", "median", "upper"]].tolist() == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75]).tolist())
    assert (row["class"], row["concept"], row["pictures"]) == ("class", "concept 0", 40)
    assert table.loc["hue", "absolute"] == table.loc["hue", "high"] == 0


def test_parts_count_where_they_are_seen():
    whole = np.array([[0.9, np.nan], [0.8, 0.5], [0.7, 0.6]])
    changed = np.broadcast_to(whole - 0.1, (6, 3, 2))
    one = planted(np.zeros((6, 3, 1)), parts=("p", "q"), part_whole=whole, part_changed=changed)
    table = perception.delta_table([one], of="part")
    assert table["part"].tolist() == ["p"] * 6 + ["q"] * 6 and table["pictures"].tolist() == [3] * 6 + [2] * 6
    assert table["absolute"].tolist() == pytest.approx([0.1] * 12)
    assert perception.delta_table([planted(np.zeros((6, 3, 1)))], of="part").empty


def test_sensitivity_is_the_mean_over_concepts_and_classes():
    rng = np.random.default_rng(1)
    classes = [planted(rng.normal(size=(6, n, k)), "", rng.random((6, n))) for n, k in ((4, 2), (7, 3))]
    table = perception.order_table(classes).set_index("change")
    for c, name in enumerate(STRENGTHS):
        row = table.loc[name]
        expected = np.mean([np.mean([abs(v) for v in one.falls[c].ravel()]) for one in classes])
        distance = np.mean([one.distances[c].mean() for one in classes])
        assert row["sensitivity"] == pytest.approx(expected) and row["distance"] == pytest.approx(distance)
        assert row["normalised"] == pytest.approx(expected / distance)
        assert row["low"] < expected < row["high"]
        assert row["normalised_low"] < expected / distance < row["normalised_high"]
    assert (np.diff(table["sensitivity"]) < 0).all()
    assert table.loc[list(PAPER_ORDER), "paper"].tolist() == [1, 2, 3, 4] and np.isnan(table.loc["saturation", "paper"])


def test_weights_are_how_often_pictures_count():
    rng = np.random.default_rng(2)
    classes = [planted(rng.normal(size=(6, 3, 2))), planted(rng.normal(size=(6, 2, 1)))]
    weights = np.array([[2, 0, 1, 1, 1], [1, 1, 1, 0, 2]])
    repeated = [planted(classes[0].falls[:, [0, 0, 2]]), planted(classes[1].falls)]
    weighted = perception.sensitivities(classes, weights=weights)
    np.testing.assert_allclose(weighted[0], perception.sensitivities(repeated))


def in_order(*names, noise=0.0):
    """Pictures in which changes matter in this order; the first by .6."""
    falls = np.zeros((6, 30, 1))
    for place, name in enumerate(names):
        falls[list(STRENGTHS).index(name)] = 0.6 - 0.1 * place
    return [planted(falls + np.random.default_rng(0).normal(0, noise, falls.shape))]


def taus(classes):
    return perception.agreement_table(classes).set_index("order")


def test_kendalls_tau_with_the_papers_order():
    assert taus(in_order(*PAPER_ORDER)).loc["as measured"].tolist() == [1, 1, 1]
    assert taus(in_order(*PAPER_ORDER[::-1])).loc["as measured", "tau"] == -1
    swapped = taus(in_order("shape", "hue", "brightness", "contrast", "texture"))
    assert swapped.loc["as measured", "tau"] == pytest.approx(2 / 3)
    doubtful = taus(in_order(*PAPER_ORDER, noise=0.8)).loc["as measured"]
    assert doubtful["low"] < doubtful["high"]
    values = np.random.default_rng(3).normal(size=(20, 4))
    expected = [scipy.stats.kendalltau(row, [4, 3, 2, 1]).statistic for row in values]
    np.testing.assert_allclose(statistics.kendall(values), expected)
    with pytest.raises(ValueError, match="strengths has .* at least 2 of the paper's"):
        perception.agreement_table([planted(np.zeros((1, 3, 1)))])


def test_per_distance_a_strong_change_is_no_advantage():
    falls, distances = np.zeros((6, 10, 1)), np.ones((6, 10))
    places = [list(STRENGTHS).index(name) for name in PAPER_ORDER]
    falls[places] = np.array([0.4, 0.3, 0.2, 0.1])[:, None, None]
    distances[places] = np.array([[40], [20], [10], [1]])
    assert taus([planted(falls, distances=distances)])["tau"].tolist() == [1, -1]


def test_order_per_class_and_concept():
    falls = np.concatenate([in_order(*PAPER_ORDER)[0].falls, in_order(*PAPER_ORDER[::-1])[0].falls], axis=2)
    table = perception.tau_table([planted(falls)])
    assert table["tau"].tolist() == [1, -1] and table["concept"].tolist() == ["concept 0", "concept 1"]
    assert table["order"][0].startswith("shape > contrast > hue > texture > ")


def test_claims():
    same, other = in_order(*PAPER_ORDER), in_order(*PAPER_ORDER[::-1])
    order, tau = perception.claims(perception.order_table(same), perception.agreement_table(same))
    assert order["here"].startswith("shape > contrast > hue > texture > ") and order["holds"] == "yes"
    assert (order["paper"], order["spread"]) == ("shape > contrast > hue > texture", "")
    assert (tau["here"], tau["spread"]) == (1, "[1.0000, 1.0000]")
    reverse = perception.claims(perception.order_table(other), perception.agreement_table(other))
    assert reverse[0]["holds"] == "no" and reverse[1]["here"] == -1


def test_the_order_in_words_says_where_intervals_overlap():
    table = pd.DataFrame({"change": list("abc"), "low": [2.5, 1.5, 0.9], "high": [3.5, 2.4, 1.6]})
    order, _ = perception.claims(table, pd.DataFrame([{"tau": 0, "low": 0, "high": 0}]))
    assert order["here"] == "a > b ≥ c"
