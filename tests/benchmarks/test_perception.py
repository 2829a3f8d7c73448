"""Changes of pictures against slow ones, one pixel at a time, and what a tiny study's concepts make of them."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from helpers import drawn_study

from asxai import statistics
from asxai.benchmarks import changes, perception
from asxai.benchmarks.changes import STRENGTHS
from asxai.benchmarks.perception import PAPER_ORDER, ClassChanges
from asxai.concepts.concepts import Concepts
from asxai.data.pictures import to_batch

SIZE = 96
QUICK = dict(size=SIZE, basis_per_class=4, channels=12, cycles=1, joint_epochs=1, views=1, batch_size=8)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two classes of drawn animals: 8 pictures each to train on, 2 to validate, 4 to test."""
    return drawn_study(tmp_path_factory.mktemp("animals"), 10, 4, **QUICK)


@pytest.fixture(scope="module")
def concepts(study):
    return Concepts(np.array([[1, 2, 2, 0], [1, 3, 0, 0]]), ("one", "two", "three"), study.class_names)


@pytest.fixture(scope="module")
def found(study, concepts):
    return perception.perceive(study, concepts, pictures=5)


@pytest.fixture(scope="module")
def pictures():
    return torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def planted(falls, class_name="class", distances=None, names=None):
    """Changes by which the best cosine falls by what is given, `(change, picture, concept)`."""
    falls = np.asarray(falls, float)
    whole = np.full(falls.shape[1:], 0.9)
    distances = np.ones(falls.shape[:2]) if distances is None else np.asarray(distances, float)
    names = names or tuple(f"concept {k}" for k in range(falls.shape[2]))
    return ClassChanges(class_name, names, tuple(STRENGTHS)[:len(falls)], whole, whole - falls, distances)


# --- changes ---


def test_brightness_contrast_and_saturation_are_factors(pictures):
    values = pictures.double().numpy()
    grey = np.tensordot([0.2989, 0.587, 0.114], values, (0, 1))  # of torchvision, ITU-R 601
    expected = {"brightness": 0.8 * values,
                "contrast": 0.45 * values + 0.55 * grey.mean(axis=(1, 2))[:, None, None, None],
                "saturation": 0.7 * values + 0.3 * grey[:, None]}
    for name, own in expected.items():
        result = changes.change(pictures, name, STRENGTHS[name])
        assert result.dtype == torch.uint8
        assert np.abs(result.numpy() - own).max() <= 2, name  # it cuts off what it should round, twice


def test_hue_turns_the_colour_circle(pictures):
    import colorsys
    result = changes.change(pictures, "hue", 0.1)
    for p, y, x in ((0, 3, 4), (1, 10, 20), (2, 19, 0)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pictures[p, :, y, x].double() / 255).tolist())
        expected = 255 * np.array(colorsys.hsv_to_rgb((hue + 0.1) % 1, saturation, value))
        assert np.abs(result[p, :, y, x].double().numpy() - expected).max() <= 2


def test_shape_rolls_rows_and_then_columns_by_a_wave(pictures):
    result = changes.change(pictures, "shape", 0.1).numpy()
    _, _, height, width = pictures.shape
    for picture, changed in zip(pictures.numpy(), result):
        expected = picture.copy()
        for y in range(height):
            by = round(0.1 * width * np.sin(2 * np.pi * changes.WAVES * y / height))
            expected[:, y] = np.roll(expected[:, y], by, axis=1)
        for x in range(width):
            by = round(0.1 * height * np.sin(2 * np.pi * changes.WAVES * x / width))
            expected[:, :, x] = np.roll(expected[:, :, x], by, axis=1)
        assert (changed == expected).all()


def test_texture_is_non_local_means_of_four_grey_levels():
    """A pixel is the mean of those around, weighed by how alike their patches are beyond chance."""
    rng = np.random.default_rng(0)
    flat = np.where(np.arange(24) < 12, 60, 180)[None, :, None]
    noisy = (flat + rng.normal(0, 3, (24, 24, 3))).round().clip(0, 255).astype(np.uint8)
    batch = torch.from_numpy(noisy).permute(2, 0, 1)[None]
    result = changes.change(batch, "texture", 4.0)[0].permute(1, 2, 0).double().numpy()
    pad = changes.PATCH // 2
    padded = np.pad(noisy / 255, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    h2 = (4 / 255) ** 2
    for y, x in ((12, 6), (11, 11), (12, 18)):
        patch = padded[y:y + 7, x:x + 7]
        total, weights = 0, 0
        for j in range(max(0, y - 10), min(24, y + 11)):
            for i in range(max(0, x - 10), min(24, x + 11)):
                weight = np.exp(-((patch - padded[j:j + 7, i:i + 7]) ** 2).mean() / h2)
                total, weights = total + weight * noisy[j, i], weights + weight
        assert np.abs(result[y, x] - total / weights).max() < 1
    assert result[:, :9].std() < 0.7 * noisy[:, :9].std()  # noise goes
    assert abs(result[12, 6].mean() - 60) < 4 and abs(result[12, 18].mean() - 180) < 4  # and the edge stays


def test_factors_of_one_and_waves_of_nothing_change_nothing(pictures):
    for name, strength in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("shape", 0)):
        assert torch.equal(changes.change(pictures, name, strength), pictures), name


def test_distance_is_root_mean_square():
    black, grey = torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    grey[0, 0] = 51  # a fifth, in a third of the numbers
    assert changes.distance(black, grey).item() == pytest.approx(0.2 / np.sqrt(3))


@pytest.mark.parametrize("arguments, words", [
    (("blur", 1.0), "name='blur' is no change of a picture; use one of brightness, contrast"),
    (("hue", 0.6), "strength=0.6 of 'hue' is out of range; use 0.1, as the paper, or another number from 0 to 0.5"),
    (("contrast", -1.0), "strength=-1.0 of 'contrast'"), (("texture", 0), "strength=0 of 'texture'")])
def test_changes_that_cannot_be(pictures, arguments, words):
    with pytest.raises(ValueError, match=words):
        changes.change(pictures, *arguments)


def test_pictures_must_be_a_uint8_batch(pictures):
    with pytest.raises(ValueError, match="pictures torch.float32 .* must be uint8"):
        changes.change(pictures.float(), "hue", 0.1)


# --- what a study makes of them ---


@torch.inference_mode()
def maps_by_hand(study, picture, label):
    return study.model(study.model.features(picture[None])).maps[0, label]


def chosen(study, label, count=5):
    members = np.flatnonzero(study.data.train.labels == label)
    return study.data.train.take(members[np.linspace(0, len(members) - 1, count).round().astype(int)])


def test_best_cosines_before_and_after(found, study, concepts):
    assert [own.class_name for own in found] == list(study.class_names)
    assert [own.names for own in found] == [("one", "two"), ("one", "three")]
    for label, members in ((0, {"one": [0], "two": [1, 2]}), (1, {"one": [0], "three": [1]})):
        own, split = found[label], chosen(study, label)
        assert own.changes == tuple(STRENGTHS) and own.falls.shape == (6, 5, 2)
        for i in (0, 3):
            picture = to_batch([split.paths[i]], SIZE)
            for k, vectors in enumerate(members.values()):
                whole = maps_by_hand(study, picture[0], label)[vectors].max()
                assert own.whole[i, k] == pytest.approx(whole.item(), abs=1e-5)
                for c, (name, strength) in enumerate(STRENGTHS.items()):
                    changed = changes.change(picture, name, strength)
                    best = maps_by_hand(study, changed[0], label)[vectors].max()
                    assert own.falls[c, i, k] == pytest.approx((whole - best).item(), abs=1e-5)
                    assert own.distances[c, i] == pytest.approx(changes.distance(picture, changed).item())


def test_best_cosines_on_true_parts(found, study):
    own, split = found[1], chosen(study, 1)
    masks = split.part_masks(SIZE)
    names = study.data.part_names
    assert set(own.parts) == {names[k - 1] for k in np.unique(masks) if k}
    for i, c in itertools.product((1, 4), (1, 5)):
        name = list(STRENGTHS)[c]
        picture = changes.change(to_batch([split.paths[i]], SIZE), name, STRENGTHS[name])[0]
        maps = maps_by_hand(study, picture, 1)[[0, 1]].amax(dim=0)  # the concepts' vectors
        mask = masks[i]
        if name == "shape":  # the part goes where its pixels go
            mask = torch.from_numpy(mask)[None, None].expand(1, 3, -1, -1)
            mask = changes.change(mask, "shape", 0.1)[0, 0].numpy()
        side = SIZE // len(maps)
        for k, part in enumerate(own.parts):
            number = names.index(part) + 1
            on = [maps[y, x].item() for y in range(len(maps)) for x in range(len(maps))
                  if (mask[y * side:(y + 1) * side, x * side:(x + 1) * side] == number).any()]
            value = own.part_changed[c, i, k]
            assert np.isnan(value) if not on else value == pytest.approx(max(on), abs=1e-5)


def test_results_are_kept_until_pictures_or_weights_change(found, study, concepts, monkeypatch):
    again = perception.perceive(study, concepts, pictures=5)
    np.testing.assert_array_equal(again[0].changed, found[0].changed)
    calls = []
    compute = perception._best_cosines
    monkeypatch.setattr(perception, "_best_cosines", lambda *a: calls.append(1) or compute(*a))
    perception.perceive(study, concepts, pictures=5)
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
    assert len(calls) == 4 and not np.allclose(other[0].whole, found[0].whole[[0, 4]])


def test_examples_show_each_class_with_every_change(study):
    shown = perception.examples(study)
    assert shown["pictures"].shape == (2, 7, SIZE, SIZE, 3) and shown["names"] == list(STRENGTHS)
    first = study.data.test.paths[int(np.flatnonzero(study.data.test.labels == 1)[0])]
    whole = to_batch([first], SIZE)
    assert (shown["pictures"][1, 0] == whole[0].permute(1, 2, 0).numpy()).all()
    changed = changes.change(whole, "hue", 0.1)
    assert (shown["pictures"][1, 4] == changed[0].permute(1, 2, 0).numpy()).all()
    assert shown["distances"][1, 3] == pytest.approx(changes.distance(whole, changed).item())


# --- tables ---


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
    own = planted(np.zeros((6, 3, 1)))
    whole = np.array([[0.9, np.nan], [0.8, 0.5], [0.7, 0.6]])
    changed = np.broadcast_to(whole - 0.1, (6, 3, 2))
    own = ClassChanges(own.class_name, own.names, own.changes, own.whole, own.changed, own.distances, ("p", "q"), whole,
                       changed)
    table = perception.part_table([own])
    assert table[table["part"] == "q"]["pictures"].tolist() == [2] * 6
    assert table["absolute"].tolist() == pytest.approx([0.1] * 12)
    assert perception.part_table([planted(np.zeros((6, 3, 1)))]).empty


def test_sensitivity_is_the_mean_over_concepts_and_classes():
    rng = np.random.default_rng(1)
    classes = [planted(rng.normal(size=(6, 4, 2)), "a", rng.random((6, 4))),
               planted(rng.normal(size=(6, 7, 3)), "b", rng.random((6, 7)))]
    table = perception.order_table(classes).set_index("change")
    for c, name in enumerate(STRENGTHS):
        expected = np.mean([np.mean([abs(v) for v in own.falls[c].ravel()]) for own in classes])
        distance = np.mean([own.distances[c].mean() for own in classes])
        assert table.loc[name, "sensitivity"] == pytest.approx(expected)
        assert table.loc[name, "distance"] == pytest.approx(distance)
        assert table.loc[name, "normalised"] == pytest.approx(expected / distance)
        assert table.loc[name, "low"] < expected < table.loc[name, "high"]
        assert table.loc[name, "normalised_low"] < expected / distance < table.loc[name, "normalised_high"]
    assert (np.diff(table["sensitivity"]) < 0).all()
    assert table.loc[list(PAPER_ORDER), "paper"].tolist() == [1, 2, 3, 4] and np.isnan(table.loc["saturation", "paper"])


def test_weights_are_how_often_pictures_count():
    rng = np.random.default_rng(2)
    classes = [planted(rng.normal(size=(6, 3, 2))), planted(rng.normal(size=(6, 2, 1)))]
    weights = np.array([[2, 0, 1, 1, 1], [1, 1, 1, 0, 2]])
    repeated = [planted(classes[0].falls[:, [0, 0, 2]]), planted(classes[1].falls)]
    np.testing.assert_allclose(perception.sensitivities(classes, weights=weights)[0],
                               perception.sensitivities(repeated))


def in_order(*names, noise=0.0):
    """Pictures in which changes matter in this order; the first by .6."""
    falls = np.zeros((6, 30, 1))
    for place, name in enumerate(names):
        falls[list(STRENGTHS).index(name)] = 0.6 - 0.1 * place
    return [planted(falls + np.random.default_rng(0).normal(0, noise, falls.shape))]


def taus(found):
    return perception.agreement_table(found).set_index("order")


def test_kendalls_tau_with_the_papers_order():
    assert taus(in_order(*PAPER_ORDER)).loc["as measured"].tolist() == [1, 1, 1]
    assert taus(in_order(*PAPER_ORDER[::-1])).loc["as measured", "tau"] == -1
    swapped = taus(in_order("shape", "hue", "brightness", "contrast", "texture"))
    assert swapped.loc["as measured", "tau"] == pytest.approx(2 / 3)
    doubtful = taus(in_order(*PAPER_ORDER, noise=0.8)).loc["as measured"]
    assert doubtful["low"] < doubtful["high"]
    values = np.random.default_rng(3).normal(size=(20, 4))
    expected = [scipy.stats.kendalltau(own, [4, 3, 2, 1]).statistic for own in values]
    np.testing.assert_allclose(statistics.kendall(values), expected)


def test_per_distance_a_strong_change_is_no_advantage():
    falls = np.zeros((6, 10, 1))
    places = [list(STRENGTHS).index(name) for name in PAPER_ORDER]
    falls[places] = np.array([0.4, 0.3, 0.2, 0.1])[:, None, None]
    distances = np.ones((6, 10))
    distances[places] = np.array([[40], [20], [10], [1]])
    table = taus([planted(falls, distances=distances)])
    assert table["tau"].tolist() == [1, -1]


def test_too_few_of_the_papers_changes():
    with pytest.raises(ValueError, match="hold fewer than 2 of the paper's"):
        perception.agreement_table([planted(np.zeros((1, 3, 1)))])


def test_order_per_class_and_concept():
    falls = np.concatenate([in_order(*PAPER_ORDER)[0].falls, in_order(*PAPER_ORDER[::-1])[0].falls], axis=2)
    table = perception.tau_table([planted(falls)])
    assert table["tau"].tolist() == [1, -1]
    assert table["order"][0].startswith("shape > contrast > hue > texture > ")


def test_order_in_words():
    table = pd.DataFrame({"change": ["a", "b", "c"], "sensitivity": [3.0, 2.0, 1.0], "low": [2.5, 1.5, 0.9],
                          "high": [3.5, 2.4, 1.6], "normalised": [1.0, 2.0, 3.0], "normalised_low": [0.5, 1.9, 2.9],
                          "normalised_high": [1.5, 2.1, 3.1]})
    assert perception.in_words(table) == "a > b ≥ c"
    assert perception.in_words(table, "normalised") == "c > b > a"


def test_claims():
    same, other = in_order(*PAPER_ORDER), in_order(*PAPER_ORDER[::-1])
    order, tau = perception.claims(perception.order_table(same), perception.agreement_table(same))
    assert order["here"].startswith("shape > contrast > hue > texture > ") and order["holds"] == "yes"
    assert order["paper"] == "shape > contrast > hue > texture"
    assert (tau["here"], tau["spread"]) == (1, "[1.0000, 1.0000]")
    claims = perception.claims(perception.order_table(other), perception.agreement_table(other))
    assert claims[0]["holds"] == "no" and claims[1]["here"] == -1
