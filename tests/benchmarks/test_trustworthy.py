"""Confusing pictures and what confidence is worth on them: plain loops, and a tiny drawn and a tiny plain study."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from helpers import QUICK, concepts_by_hand, drawn_study, picture_folder, slow_calibration_error

import asxai
import menagerie
from asxai.benchmarks import trustworthy
from asxai.benchmarks.trustworthy import (
    BACKGROUND,
    BLACK_BOX,
    BLURRED,
    CLEAN,
    CONFUSING,
    CROP,
    EXPLANATION,
    OCCLUDED,
    REMOVED,
    SOFTMAX,
    STRANGERS,
    Answers,
    answers,
    claims,
    concept_confidence,
    confidence_table,
    confusing_pictures,
    softmax_table,
    tiers_table,
)
from asxai.concepts.concepts import Concepts
from asxai.concepts.masks import FILLS
from asxai.data.datasets import spread_over
from asxai.data.pictures import to_batch
from asxai.explain.explainer import Explainer
from asxai.explain.rules import RULES, TIERS, tiers
from asxai.explain.scores import concept_activation
from asxai.methods.black_box import fit_probe
from asxai.methods.black_box import pooled_features as pooled
from asxai.statistics import risk_coverage

NAN, SIZE = np.nan, 96
PLAIN = QUICK | dict(backbone="resnet18", weights="random", last_stage="layer2", size=64)
HIDDEN = ("head", "ear", "eye", "nose")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two classes of drawn animals, 10 pictures each to train and validate on and 5 to test, on a grid of 6 x 6."""
    return drawn_study(tmp_path_factory.mktemp("animals"), 10, 5, **QUICK)


@pytest.fixture(scope="module")
def concepts(study):
    return concepts_by_hand(study)


@pytest.fixture(scope="module")
def explainer(study, concepts):
    return Explainer(study, concepts)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    return str(picture_folder(tmp_path_factory.mktemp("strangers") / "shapes"))


@pytest.fixture(scope="module")
def sets(study, concepts, strangers):
    return confusing_pictures(study, study.data.test, concepts, HIDDEN, strangers, count=6)


@pytest.fixture(scope="module")
def found(study, explainer, sets):
    return answers(explainer, study.data.test, sets, spread_over(study.data.test, 6).labels)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A study of a plain folder of pictures, which has no part masks, and its concepts."""
    folder = tmp_path_factory.mktemp("plain")
    study = asxai.Study.train(picture_folder(folder / "shapes"), folder=folder / "study", **PLAIN)
    return study, Concepts(np.array([[1, 2, 0, 0, 0], [0, 1, 0, 3, 0]]), ("a", "b", "c"), study.class_names)


# --- What confidence is worth ----------------------------------------------------------------------------------------


def test_concept_confidence_against_a_loop():
    rng = np.random.default_rng(0)
    scores, predicted = rng.random((20, 3, 5)), rng.integers(0, 3, 20)
    scores[:, rng.random((3, 5)) < 0.3] = NAN
    scores[:, 1] = np.where(predicted[:, None] == 1, NAN, scores[:, 1])  # a predicted class without any concept
    scores *= np.where(predicted[:, None] == np.arange(3), 1, 0.1)[..., None] ** (np.arange(20)[:, None, None] % 2)
    expected, before = [], scores.copy()
    for one, label in zip(scores, predicted):
        own = [value for value in one[label] if not np.isnan(value)]
        others = [value for c in range(3) if c != label for value in one[c] if not np.isnan(value)]
        expected.append((sum(own) / len(own) if own else 0.0) - max(others, default=0.0))
    np.testing.assert_allclose(concept_confidence(scores, predicted), expected, atol=1e-12)
    np.testing.assert_array_equal(scores, before)
    assert (predicted == 1).any() and min(expected) < 0 < max(expected)


def test_concept_confidence_of_one_class_is_its_mean_score():
    assert concept_confidence(np.array([[[0.5, 1.5, NAN]], [[NAN] * 3]]), np.array([0, 0])).tolist() == [1.0, 0.0]


# --- Confusing pictures ----------------------------------------------------------------------------------------------


def best_window(avoided, wanted):
    """Row and column of the window with the fewest pixels to avoid, and of those the most that are wanted; by loops."""
    size = len(wanted)
    side, step = round(0.45 * size), max(1, size // 40)
    corners = [(top, left) for top in range(0, size - side + 1, step) for left in range(0, size - side + 1, step)]
    count = lambda mask, top, left: int(mask[top:top + side, left:left + side].sum())
    best = min(corners, key=lambda corner: (count(avoided, *corner), -count(wanted, *corner)))
    return *best, side, count(avoided, *best)


def cut(picture, top, left, side):
    window = picture[None, :, top:top + side, left:left + side].float()
    return F.interpolate(window, picture.shape[1:], mode="bilinear", antialias=True).round().to(torch.uint8)[0]


def test_kinds_of_confusing_pictures(sets):
    assert list(sets) == [CROP, REMOVED, BLURRED, OCCLUDED, BACKGROUND, STRANGERS]
    for name, pictures in sets.items():
        assert pictures.shape == (4 if name == STRANGERS else 6, 3, SIZE, SIZE) and pictures.dtype == torch.uint8
        assert pictures.float().std() > 5


def test_crops_show_the_object_without_the_hidden_parts(study, sets):
    chosen, whole = spread_over(study.data.test, 6), to_batch(spread_over(study.data.test, 6).paths, SIZE)
    numbers, avoidable = [1 + study.data.part_names.index(name) for name in HIDDEN], 0
    for picture, mask, crop in zip(whole, chosen.part_masks(SIZE), sets[CROP]):
        *window, left_over = best_window(np.isin(mask, numbers), mask > 0)
        np.testing.assert_array_equal(crop, cut(picture, *window))
        avoidable += left_over == 0
        assert (mask[window[0]:window[0] + window[2], window[1]:window[1] + window[2]] > 0).any()
    assert avoidable >= 2  # in a window of almost half the side not always; then as little as can be is seen of them


def test_a_pixel_to_avoid_outweighs_all_that_is_wanted():
    """One eye's pixel in a window full of body: the window without it is taken, though it shows less."""
    pictures = torch.arange(SIZE * SIZE).remainder(251).to(torch.uint8).view(1, 1, SIZE, SIZE).expand(1, 3, -1, -1)
    wanted, avoided = np.zeros((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), bool)
    wanted[20:70, 20:70] = avoided[45, 45] = True
    worth = torch.from_numpy(wanted.astype(np.float32) - SIZE**2 * avoided.astype(np.float32))[None]
    *window, left_over = best_window(avoided, wanted)
    assert left_over == 0
    np.testing.assert_array_equal(trustworthy._windows(pictures, worth)[0], cut(pictures[0], *window))


def test_removed_parts_and_background_are_drawn_anew(study, sets):
    chosen, whole = spread_over(study.data.test, 6), to_batch(spread_over(study.data.test, 6).paths, SIZE)
    for i, path in enumerate(chosen.paths):
        seed = 1_000_000 + int(path.stem)
        draw = lambda remove: menagerie.render("menagerie-pets", path.parent.name, seed, size=SIZE, remove=remove,
                                               fine=chosen.fine[i]).picture
        np.testing.assert_array_equal(whole[i].permute(1, 2, 0), draw(()))
        np.testing.assert_array_equal(sets[REMOVED][i].permute(1, 2, 0), draw(HIDDEN))
        np.testing.assert_array_equal(sets[BACKGROUND][i].permute(1, 2, 0), draw(study.data.part_names))


def test_blurred_and_occluded_pictures(study, sets):
    whole = to_batch(spread_over(study.data.test, 6).paths, SIZE)
    torch.testing.assert_close(sets[BLURRED], FILLS["blurred"](whole))
    blocks = (sets[OCCLUDED] == 128).all(dim=1).float()
    blocks = F.avg_pool2d(blocks[:, None], SIZE // 8).flatten(1) == 1  # (picture, block)
    assert (blocks.sum(dim=1) == 48).all()  # three quarters of 64
    assert len({tuple(row.tolist()) for row in blocks}) == 6  # others in each picture
    hidden = blocks.view(-1, 1, 8, 8).repeat_interleave(SIZE // 8, 2).repeat_interleave(SIZE // 8, 3).expand_as(whole)
    torch.testing.assert_close(sets[OCCLUDED], torch.where(hidden, 128, whole))


def test_confusing_pictures_are_the_same_for_a_seed(study, concepts, sets, strangers):
    again = confusing_pictures(study, study.data.test, concepts, HIDDEN, strangers, count=6)
    other = confusing_pictures(study, study.data.test, concepts, HIDDEN, count=6, seed=1)
    assert STRANGERS not in other
    for name, pictures in sets.items():
        assert torch.equal(again[name], pictures)
        assert name == STRANGERS or torch.equal(other[name], pictures) == (name != OCCLUDED)


def test_strangers_are_test_pictures_of_the_other_data_set(sets, strangers):
    test = asxai.load_data_set(strangers).test
    torch.testing.assert_close(sets[STRANGERS], to_batch(test.paths, SIZE))


def test_counts_larger_than_the_split(study, concepts):
    found = confusing_pictures(study, study.data.test, concepts, HIDDEN, count=1000)
    assert {len(pictures) for pictures in found.values()} == {10}


def concept_masks(study, concepts, split):
    """Where any concept is strong, and where any wins, bool `(picture, size, size)`, picture by picture."""
    size, strong, won = study.config.size, [], []
    for i, label in enumerate(split.labels):
        own = study.features(split.take([i]))[0]
        with torch.inference_mode():
            maps = study.model(own).maps[:, label]
        strong.append(concepts.masks(maps, [label], size)[0].any(dim=0).numpy())
        winners = concepts.winners(maps, [label])[0] > 0
        at = np.arange(size) * 28 // size  # the cell of each pixel
        won.append(winners[at][:, at])
    return np.stack(strong), np.stack(won)


def check_photographs(study, concepts, sets, count, background):
    chosen = spread_over(study.data.test, count)
    whole = to_batch(chosen.paths, study.config.size)
    strong, won = concept_masks(study, concepts, chosen)
    for i, picture in enumerate(whole):
        colour = picture.double().mean(dim=(1, 2)).round().to(torch.uint8)
        removed = torch.where(torch.from_numpy(strong[i]), colour[:, None, None], picture)
        torch.testing.assert_close(sets[REMOVED][i], removed)
        shown = won[i] if background else chosen.part_masks(study.config.size)[i] > 0
        np.testing.assert_array_equal(sets[CROP][i], cut(picture, *best_window(strong[i], shown)[:3]))
        if background:
            np.testing.assert_array_equal(sets[BACKGROUND][i],
                                          cut(picture, *best_window(won[i], np.zeros_like(won[i]))[:3]))


def test_photographs_without_part_masks(shapes):
    study, concepts = shapes
    sets = confusing_pictures(study, study.data.test, concepts, HIDDEN)  # which a photograph cannot name
    assert {name: (tuple(own.shape), own.dtype) for name, own in sets.items()} == dict.fromkeys((CROP, REMOVED, BLURRED, OCCLUDED, BACKGROUND), ((4, 3, 64, 64), torch.uint8))
    check_photographs(study, concepts, sets, 4, background=True)
    again = confusing_pictures(study, study.data.test, concepts)
    assert all(torch.equal(again[name], own) for name, own in sets.items())


@pytest.mark.parametrize("hidden", [(), ("petal",)])
def test_drawn_pictures_without_a_part_to_hide_are_treated_like_photographs(study, concepts, sets, hidden):
    found = confusing_pictures(study, study.data.test, concepts, hidden, count=6)
    check_photographs(study, concepts, found, 6, background=False)
    assert torch.equal(found[BACKGROUND], sets[BACKGROUND]) and not torch.equal(found[REMOVED], sets[REMOVED])


# --- Answers ---------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_the_explainer(study, explainer, sets, found):
    assert list(found) == [CLEAN, *sets]
    scores, softmax = explainer.split_pcs(study.data.test)
    np.testing.assert_array_equal(found[CLEAN].scores, scores)
    np.testing.assert_array_equal(found[CLEAN].predicted, softmax.argmax(axis=1))
    np.testing.assert_array_equal(found[CLEAN].right, softmax.argmax(axis=1) == study.data.test.labels)
    labels = spread_over(study.data.test, 6).labels
    for name, pictures in sets.items():
        scores, softmax = explainer.pcs(pictures)
        np.testing.assert_allclose(found[name].scores, scores, atol=1e-6)
        np.testing.assert_allclose(found[name].probabilities, softmax, atol=1e-6)
        nobody = name in (BACKGROUND, STRANGERS)
        expected = np.zeros(len(pictures), bool) if nobody else softmax.argmax(axis=1) == labels
        np.testing.assert_array_equal(found[name].right, expected)
        assert found[name].right.dtype == bool == found[name].black_box_right.dtype
        assert not (nobody and found[name].black_box_right.any())


def test_the_black_box_is_the_probe_on_the_untouched_backbone(study, sets, found):
    probe = fit_probe(study.config, study.data)
    with torch.inference_mode():
        expected = probe.predict_proba(pooled(study.model, study.model.features(sets[CROP])))
    np.testing.assert_allclose(found[CROP].black_box, expected, atol=1e-4)
    labels = spread_over(study.data.test, 6).labels
    np.testing.assert_array_equal(found[CROP].black_box_right, expected.argmax(axis=1) == labels)
    expected = probe.predict_proba(pooled(study.model, study.features(study.data.test)[0]))
    np.testing.assert_allclose(found[CLEAN].black_box, expected, atol=1e-6)


def test_the_black_box_knows_nothing_of_a_backbone_that_was_trained(tmp_path):
    folder = picture_folder(tmp_path / "shapes")
    fixed, trained = (asxai.Study.train(folder, folder=tmp_path / trainable, **PLAIN | dict(
        trainable=trainable, objective="balanced")) for trainable in ("head", "last"))
    before, after = (dict(own.model.backbone.named_parameters()) for own in (fixed, trained))
    assert any(not torch.equal(after[name], own) for name, own in before.items())
    sets = {CROP: to_batch(fixed.data.test.paths, 64)}
    expected, found = (answers(Explainer(own, Concepts(np.array([[1, 0, 0, 0, 0]] * 2), ("a",), own.class_names)),
                               own.data.test, sets, own.data.test.labels) for own in (fixed, trained))
    for name in (CLEAN, CROP):
        np.testing.assert_allclose(found[name].black_box, expected[name].black_box, atol=1e-3)
        assert np.abs(found[name].probabilities - expected[name].probabilities).max() > 1e-3


def test_answers_on_the_split_alone(study, explainer):
    assert list(answers(explainer, study.data.test)) == [CLEAN]


@pytest.mark.parametrize("labels", [None, np.zeros(5, int)])
def test_labels_that_do_not_fit(study, explainer, sets, labels):
    with pytest.raises(ValueError, match=r"labels .* must be \(6,\), the classes of the pictures of 'crop'"):
        answers(explainer, study.data.test, {CROP: sets[CROP]}, labels)
    alone = answers(explainer, study.data.test, {BACKGROUND: sets[BACKGROUND]}, labels)  # which needs none
    assert not alone[BACKGROUND].right.any()


# --- Tables ----------------------------------------------------------------------------------------------------------


def planted(leads, right, softmax=None, black_box=None, black_box_right=None):
    """`Answers` of two classes and concepts, ahead by `leads` `(picture, concept)` in class 0, which is predicted."""
    leads, right = np.asarray(leads, float), np.asarray(right)
    scores = np.stack([leads.clip(0), (-leads).clip(0)], axis=1)
    sure = np.full(len(leads), 0.8) if softmax is None else np.asarray(softmax)
    box = sure if black_box is None else np.asarray(black_box)
    return Answers(scores, np.stack([sure, 1 - sure], axis=1), right, np.stack([box, 1 - box], axis=1),
                   right if black_box_right is None else np.asarray(black_box_right))


SURE, LIKELY, UNSURE = [0.9, 0.9], [0.4, 0.4], [0.0, 0.0]


@pytest.fixture
def some():
    return {CLEAN: planted([SURE, SURE, LIKELY, UNSURE], [True, True, True, False], [0.95, 0.99, 0.6, 0.92],
                           [0.6, 0.97, 0.99, 0.91], [True, False, True, True]),
            CROP: planted([SURE, UNSURE, UNSURE], [True, False, True], [0.9, 0.95, 0.91]),
            BACKGROUND: planted([UNSURE, LIKELY], [False, False], [0.7, 0.99])}


def test_sets_joined_for_the_rule_explorer(some):
    scores, predicted, labels = trustworthy.joined(some)
    assert scores.shape == (9, 2, 2) and predicted.tolist() == [0] * 9
    assert labels.tolist() == [0, 0, 0, -1, 0, -1, 0, -1, -1]


def test_tiers_table_of_planted_answers(some):
    table = tiers_table(some, RULES).set_index(["set", "tier"])
    assert list(dict.fromkeys(table.index.get_level_values("set"))) == [CLEAN, CROP, BACKGROUND, CONFUSING]
    expected = {CLEAN: [(2, 1.0), (1, 1.0), (1, 0.0), (4, 0.75)], CROP: [(1, 1.0), (0, NAN), (2, 0.5), (3, 2 / 3)],
                BACKGROUND: [(0, NAN), (1, 0.0), (1, 0.0), (2, 0.0)],
                CONFUSING: [(1, 1.0), (1, 0.0), (3, 1 / 3), (5, 0.4)]}
    for name, rows in expected.items():
        for tier, (count, accuracy) in zip([*TIERS, "all"], rows):
            row = table.loc[(name, tier)]
            assert row["pictures"] == count and row["share"] == pytest.approx(count / rows[-1][0])
            assert row["accuracy"] == pytest.approx(accuracy, nan_ok=True)
    assert len(table) == 16 and list(tiers_table({CLEAN: some[CLEAN]}, RULES)["set"].unique()) == [CLEAN]


def test_tiers_table_of_a_study(explainer, found):
    table = tiers_table(found, explainer.rules)
    counts = {name: np.bincount(tiers(own.scores, own.predicted), minlength=3) for name, own in found.items()}
    for name, own in counts.items():
        assert table[table["set"] == name]["pictures"].tolist() == [*own, own.sum()]
    rest = sum(own for name, own in counts.items() if name != CLEAN)
    assert table[table["set"] == CONFUSING]["pictures"].tolist() == [*rest, 34]
    bars = trustworthy.bars_of(table)
    assert {"set", "tier", "share", "accuracy", "low", "high", "count"} <= set(bars) and set(bars["tier"]) == set(TIERS)
    assert bars["count"].tolist() == table[table["tier"] != "all"]["pictures"].tolist()


def test_softmax_table(some):
    table = softmax_table(some, RULES).set_index(["set", "network"])
    expected = {(CLEAN, SOFTMAX): (4, 3 / 4, 2 / 3, 3 / 4, 1 / 3, 1),
                (CLEAN, BLACK_BOX): (4, 3 / 4, 2 / 3, 3 / 4, 1 / 3, 0),
                (CROP, SOFTMAX): (3, 2 / 3, 1 / 2, 2 / 3, 1, 1),  # .9 itself is not above
                (BACKGROUND, SOFTMAX): (2, 1 / 2, 0.0, 0.0, 0, 0),
                (CONFUSING, SOFTMAX): (5, 3 / 5, 1 / 3, 2 / 5, 2 / 3, 1 / 2),
                (CONFUSING, BLACK_BOX): (5, 3 / 5, 1 / 3, 2 / 5, 2 / 3, 1 / 2)}
    for key, values in expected.items():
        own = table.loc[key]
        assert own[["pictures", "above .9", "right then", "right", "not sure then", "not sure if wrong"]].tolist() == (
            pytest.approx(values))
        assert own["low"] <= own["not sure then"] <= own["high"]
    assert len(table) == 8
    modest = softmax_table({CLEAN: planted([SURE], [True], [0.5])}, RULES)
    assert modest[["right then", "not sure then"]].isna().all(axis=None) and modest["above .9"].tolist() == [0, 0]


def test_confidences_of_all_sets(some):
    found = trustworthy.confidences(some)
    assert list(found) == [EXPLANATION, SOFTMAX, BLACK_BOX]
    np.testing.assert_allclose(found[EXPLANATION][0], [0.9, 0.9, 0.4, 0, 0.9, 0, 0, 0, 0.4])
    np.testing.assert_allclose(found[SOFTMAX][0], [0.95, 0.99, 0.6, 0.92, 0.9, 0.95, 0.91, 0.7, 0.99])
    assert found[BLACK_BOX][0][:4].tolist() == [0.6, 0.97, 0.99, 0.91]
    for name in (EXPLANATION, SOFTMAX):
        assert found[name][1].tolist() == [True, True, True, False, True, False, True, False, False]
    assert found[BLACK_BOX][1][:4].tolist() == [True, False, True, True]
    beyond = {CLEAN: planted([[1.7, 1.5], [-0.4, -0.6]], [True, False])}
    assert trustworthy.confidences(beyond)[EXPLANATION][0].tolist() == [1, 0]  # PCS and leads leave [0, 1]
    assert trustworthy.confidences(beyond, clipped=False)[EXPLANATION][0].tolist() == pytest.approx([1.6, -0.6])


def test_risk_keeps_the_order_of_confidences_outside_of_0_to_1():
    sets = {CLEAN: planted([[-0.2, -0.2], [-0.8, -0.8], [-0.5, -0.5], [1.2, 1.2], [1.5, 1.5]],
                           [True, False, False, False, True])}
    table = confidence_table(sets, draws=2).set_index(["confidence", "measure"])["value"]
    expected = np.mean([0, 1 / 2, 1 / 3, 2 / 4, 3 / 5])  # from the surest on: right, wrong, right, wrong, wrong
    assert table[(EXPLANATION, "AURC")] == pytest.approx(expected) == trustworthy.curves(sets)[EXPLANATION][2]
    np.testing.assert_allclose(trustworthy.curves(sets)[EXPLANATION][1], [0, 1 / 2, 1 / 3, 2 / 4, 3 / 5])
    assert table[(EXPLANATION, "ECE")] == pytest.approx(slow_calibration_error([0, 0, 0, 1, 1], [1, 0, 0, 0, 1], 10))


def test_confidence_table_against_the_measures(some):
    table = confidence_table(some, draws=100).set_index(["confidence", "measure"])
    assert len(table) == 6
    for name, (values, right) in trustworthy.confidences(some).items():
        ece, curve = table.loc[(name, "ECE")], table.loc[(name, "AURC")]
        assert ece["value"] == pytest.approx(slow_calibration_error(values, right, 10))
        assert curve["value"] == pytest.approx(risk_coverage(*trustworthy.confidences(some, clipped=False)[name]).aurc)
        for row in (ece, curve):
            assert 0 <= row["low"] <= row["high"] <= 1 and row["low"] < row["high"]
        assert curve["low"] <= curve["value"] <= curve["high"]
    assert table.equals(confidence_table(some, draws=100).set_index(["confidence", "measure"]))  # the same draws
    curves = trustworthy.curves(some)
    assert list(curves) == [EXPLANATION, SOFTMAX, BLACK_BOX]
    assert curves[SOFTMAX][2] == table.loc[(SOFTMAX, "AURC"), "value"] and len(curves[SOFTMAX][0]) == 9


def test_bootstrap_keeps_the_number_of_pictures_of_each_set():
    """Sets of one outcome each: drawing within sets never changes how many are right, so nothing varies."""
    sets = {CLEAN: planted([SURE] * 5, [True] * 5), CROP: planted([SURE] * 3, [False] * 3)}
    table = confidence_table(sets, draws=50)
    np.testing.assert_allclose(table["low"], table["value"])
    np.testing.assert_allclose(table["high"], table["value"])


def test_activation_table(study, explainer, concepts):
    split = study.data.test
    table = trustworthy.activation_table(explainer, split)
    assert table["activation"].tolist() == ["cosine", "channels"]
    assert table[["right class", "best other class", "right first"]].stack().between(0, 1).all()
    probability = explainer.scores.probability(concept_activation(concepts, study.similarity(split)))
    mean = np.nanmean(probability, axis=2)  # two classes: the other one is the best other
    own, other = mean[np.arange(10), split.labels], mean[np.arange(10), 1 - split.labels]
    first = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(own, other)])
    assert table.loc[0, ["right class", "best other class", "right first"]].tolist() == pytest.approx(
        [own.mean(), other.mean(), first])


# --- Which pictures are shown ----------------------------------------------------------------------------------------


def test_pictures_that_are_shown(some):
    pictures = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    assert trustworthy.most_convinced(pictures, some[CLEAN]).unique().item() == 1
    leads = [[0.1, 0.1], [0.5, 0.5], [0.9, 0.9], [0.45, 0.45]]
    assert trustworthy.typical(planted(leads, [True] * 3 + [False])) == 1  # the wrong one does not count
    assert trustworthy.closest_call(planted(leads, [True] * 4)) == 0


# --- Claims ----------------------------------------------------------------------------------------------------------


def claim_rows(found, rules=RULES, others=None):
    rows = claims(tiers_table(found, rules), softmax_table(found, rules), confidence_table(found, draws=5), others)
    return {row["claim"]: row for row in rows}


def test_claims(some):
    rows = claim_rows(some)
    assert list(rows) == [
        "sure_accuracy", "sure_coverage", "probably_accuracy", "not_sure_on_confusing", "softmax_sure_on_confusing",
        "black_box_sure_on_confusing", "not_sure_where_softmax_is", "not_sure_where_softmax_is_wrong",
        "aurc_explanation", "aurc_softmax"]
    here = {name: row["here"] for name, row in rows.items()}
    assert (here["sure_accuracy"], here["sure_coverage"], here["probably_accuracy"]) == (1, 0.5, 1)
    assert (here["not_sure_on_confusing"], here["softmax_sure_on_confusing"]) == (0.6, 0.6)
    assert here["not_sure_where_softmax_is"] == pytest.approx(2 / 3, abs=1e-4)
    softmax = softmax_table(some, RULES).set_index(["set", "network"])
    wrong = softmax.loc[(trustworthy.CONFUSING, trustworthy.SOFTMAX), "not sure if wrong"]
    assert here["not_sure_where_softmax_is_wrong"] == pytest.approx(wrong, abs=1e-4)
    holds = {name: row["holds"] for name, row in rows.items()}
    assert holds["sure_accuracy"] == "yes" and holds["sure_coverage"] == "no" and holds["probably_accuracy"] == ""
    assert holds["not_sure_on_confusing"] == "no" and holds["softmax_sure_on_confusing"] == "yes"
    explanation, softmax = (risk_coverage(*trustworthy.confidences(some)[name]).aurc for name in (EXPLANATION, SOFTMAX))
    assert here["aurc_explanation"] == pytest.approx(explanation, abs=1e-4)
    assert here["aurc_softmax"] == pytest.approx(softmax, abs=1e-4)
    assert holds["aurc_explanation"] == ("yes" if explanation <= softmax else "no")


def test_nothing_is_claimed_of_a_softmax_that_is_never_sure():
    modest = {CLEAN: planted([SURE], [True], [0.95]), CROP: planted([UNSURE], [True], [0.6])}
    assert "not_sure_where_softmax_is" not in claim_rows(modest)


def test_nothing_is_claimed_of_errors_of_a_softmax_that_is_right_wherever_it_is_sure():
    right = {CLEAN: planted([SURE], [True], [0.95]), CROP: planted([UNSURE], [True], [0.95])}
    assert "not_sure_where_softmax_is_wrong" not in claim_rows(right)
    assert "not_sure_where_softmax_is" in claim_rows(right)


def test_claims_of_clean_pictures_alone():
    rows = claim_rows({CLEAN: planted([SURE] * 3 + [UNSURE] * 2, [True] * 5)})
    assert list(rows) == ["sure_accuracy", "sure_coverage", "aurc_explanation", "aurc_softmax"]
    assert rows["sure_coverage"]["here"] == 0.6 and rows["sure_coverage"]["holds"] == "yes"  # the target itself
    never = claim_rows({CLEAN: planted([UNSURE], [True])})
    assert list(never)[0] == "sure_coverage" and never["sure_coverage"]["holds"] == "no", "and no accuracy of nothing"


def test_claims_over_seeds(some):
    others = pd.DataFrame([{"seed": 1, "sure_accuracy": 0.9, "sure_coverage": 0.8, "probably_accuracy": NAN},
                           {"seed": 2, "sure_accuracy": 0.8, "sure_coverage": 0.8, "probably_accuracy": 0.5}])
    rows = claim_rows(some, others=others)
    assert rows["sure_accuracy"]["seeds"] == 3 and rows["sure_accuracy"]["here"] == pytest.approx(0.9)
    assert rows["sure_accuracy"]["spread"] == pytest.approx(0.1) and rows["sure_accuracy"]["holds"] == "no"
    assert rows["sure_coverage"]["here"] == pytest.approx(0.7) and rows["sure_coverage"]["holds"] == "yes"
    assert rows["probably_accuracy"]["seeds"] == 2 and rows["aurc_softmax"]["seeds"] == 1


def test_another_seed_is_one_row_of_the_same_claims(study, found, strangers):
    row = trustworthy.seed_table(study, HIDDEN, strangers, 6)
    assert len(row) == 1 and row.loc[0, "seed"] == 0
    own = Explainer(study)
    sets = confusing_pictures(study, study.data.test, own.concepts, HIDDEN, strangers, 6)
    again = answers(own, study.data.test, sets, spread_over(study.data.test, 6).labels)
    rows = claim_rows(again)
    assert set(row.columns) == {"seed", *rows}
    for name, claimed in rows.items():
        assert row.loc[0, name] == pytest.approx(claimed["here"], nan_ok=True)
