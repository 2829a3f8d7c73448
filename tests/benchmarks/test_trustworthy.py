"""Confusing pictures and what confidence is worth on them: plain loops, and a tiny drawn and a tiny plain study."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from helpers import QUICK, concepts_by_hand, drawn_study, picture_folder, slow_calibration_error

import asxai
import menagerie
from asxai.benchmarks import sentences
from asxai.benchmarks import trustworthy as trust
from asxai.benchmarks.claims import seed_row
from asxai.benchmarks.guarantee import guarantee_table, known_answers
from asxai.concepts.concepts import Concepts
from asxai.concepts.masks import FILLS
from asxai.data.datasets import spread_over
from asxai.data.pictures import to_batch
from asxai.explain.disturbed import best_windows
from asxai.explain.explainer import Explainer
from asxai.explain.rules import RULES, TIERS, tiers
from asxai.explain.scores import concept_activation
from asxai.methods.black_box import fit_probe, pooled_features
from asxai.statistics import risk_coverage

NAN, SIZE, NOTHING = np.nan, QUICK["size"], pd.DataFrame()
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
def chosen(study):
    """Six test pictures, and what they are to the network."""
    split = spread_over(study.data.test, 6)
    return split, to_batch(split.paths, SIZE)


@pytest.fixture(scope="module")
def sets(study, concepts, strangers):
    return trust.confusing_pictures(study, study.data.test, concepts, HIDDEN, strangers, count=6)


@pytest.fixture(scope="module")
def answered(study, explainer, sets, chosen):
    return trust.answers(explainer, study.data.test, sets, chosen[0].labels)


# --- Confusing pictures ----------------------------------------------------------------------------------------------


def best_window(avoided, wanted):
    """Row and column of the window with the fewest pixels to avoid, and of those the most that are wanted; by loops."""
    size = len(wanted)
    side, step = round(0.45 * size), max(1, size // 40)
    corners = [(top, left) for top in range(0, size - side + 1, step) for left in range(0, size - side + 1, step)]
    count = lambda mask, top, left: int(mask[top : top + side, left : left + side].sum())
    best = min(corners, key=lambda corner: (count(avoided, *corner), -count(wanted, *corner)))
    return *best, side, count(avoided, *best)


def cut(picture, top, left, side):
    window = picture[None, :, top : top + side, left : left + side].float()
    return F.interpolate(window, picture.shape[1:], mode="bilinear", antialias=True).round().to(torch.uint8)[0]


def test_kinds_of_confusing_pictures(study, concepts, sets, strangers):
    assert list(sets) == [trust.CROP, trust.REMOVED, trust.BLURRED, trust.OCCLUDED, trust.BACKGROUND, trust.STRANGERS]
    for name, pictures in sets.items():
        assert pictures.shape == (4 if name == trust.STRANGERS else 6, 3, SIZE, SIZE) and pictures.dtype == torch.uint8
        assert pictures.float().std() > 5
    torch.testing.assert_close(sets[trust.STRANGERS], to_batch(asxai.load_data_set(strangers).test.paths, SIZE))
    again = trust.confusing_pictures(study, study.data.test, concepts, HIDDEN, strangers, count=6)
    other = trust.confusing_pictures(study, study.data.test, concepts, HIDDEN, count=6, seed=1)
    assert trust.STRANGERS not in other
    for name, pictures in sets.items():
        assert torch.equal(again[name], pictures)
        assert name == trust.STRANGERS or torch.equal(other[name], pictures) == (name != trust.OCCLUDED)
    every = trust.confusing_pictures(study, study.data.test, concepts, HIDDEN, count=1000)
    assert {len(pictures) for pictures in every.values()} == {10}


def test_crops_show_the_object_without_the_hidden_parts(study, sets, chosen):
    (split, whole), avoidable = chosen, 0
    numbers = [1 + study.data.part_names.index(name) for name in HIDDEN]
    for picture, mask, crop in zip(whole, split.part_masks(SIZE), sets[trust.CROP]):
        *window, left_over = best_window(np.isin(mask, numbers), mask > 0)
        np.testing.assert_array_equal(crop, cut(picture, *window))
        avoidable += left_over == 0
        assert (mask[window[0] : window[0] + window[2], window[1] : window[1] + window[2]] > 0).any()
    assert avoidable >= 2  # in a window of almost half the side not always; then as little as can be is seen of them


def test_a_pixel_to_avoid_outweighs_all_that_is_wanted():
    """One eye's pixel in a window full of body: the window without it is taken, though it shows less."""
    pictures = torch.arange(SIZE * SIZE).remainder(251).to(torch.uint8).view(1, 1, SIZE, SIZE).expand(1, 3, -1, -1)
    wanted, avoided = np.zeros((2, SIZE, SIZE), bool)
    wanted[20:70, 20:70] = avoided[45, 45] = True
    worth = torch.from_numpy(wanted.astype(np.float32) - SIZE**2 * avoided.astype(np.float32))[None]
    *window, left_over = best_window(avoided, wanted)
    assert left_over == 0
    np.testing.assert_array_equal(best_windows(pictures, worth, round(0.45 * SIZE))[0], cut(pictures[0], *window))


def test_removed_parts_and_background_are_drawn_anew(study, sets, chosen):
    split, whole = chosen
    expected = {(): whole, HIDDEN: sets[trust.REMOVED], tuple(study.data.part_names): sets[trust.BACKGROUND]}
    for i, path in enumerate(split.paths):
        where = ("menagerie-pets", path.parent.name, 1_000_000 + int(path.stem))
        for remove, pictures in expected.items():
            drawn = menagerie.render(*where, size=SIZE, remove=remove, fine=split.fine[i]).picture
            np.testing.assert_array_equal(pictures[i].permute(1, 2, 0), drawn)


def test_blurred_and_occluded_pictures(sets, chosen):
    _, whole = chosen
    torch.testing.assert_close(sets[trust.BLURRED], FILLS["blurred"](whole))
    blocks = (sets[trust.OCCLUDED] == 128).all(dim=1).float()
    blocks = F.avg_pool2d(blocks[:, None], SIZE // 8).flatten(1) == 1  # (picture, block)
    assert (blocks.sum(dim=1) == 48).all()  # three quarters of 64
    assert len({tuple(row.tolist()) for row in blocks}) == 6  # others in each picture
    hidden = blocks.view(-1, 1, 8, 8).repeat_interleave(SIZE // 8, 2).repeat_interleave(SIZE // 8, 3).expand_as(whole)
    torch.testing.assert_close(sets[trust.OCCLUDED], torch.where(hidden, 128, whole))


def check_photographs(study, concepts, sets, split, background):
    """Crops, removed parts and, if asked for, backgrounds by the concepts' masks and winners, picture by picture."""
    size = study.config.size
    for i, (picture, label) in enumerate(zip(to_batch(split.paths, size), split.labels)):
        with torch.inference_mode():
            maps = study.model(study.features(split.take([i]))[0][:]).maps[:, label]
        strong = concepts.masks(maps, [label], size)[0].any(dim=0)  # where any concept is strong,
        at = np.arange(size) * 28 // size  # the cell of each pixel
        won = (concepts.winners(maps, [label])[0] > 0)[at][:, at]  # and where any wins
        colour = picture.double().mean(dim=(1, 2)).round().to(torch.uint8)
        torch.testing.assert_close(sets[trust.REMOVED][i], torch.where(strong, colour[:, None, None], picture))
        shown = won if background else split.part_masks(size)[i] > 0
        np.testing.assert_array_equal(sets[trust.CROP][i], cut(picture, *best_window(strong.numpy(), shown)[:3]))
        if background:
            emptiest = best_window(won, np.zeros_like(won))[:3]
            np.testing.assert_array_equal(sets[trust.BACKGROUND][i], cut(picture, *emptiest))


def test_photographs_without_part_masks(tmp_path):
    study = asxai.Study.train(picture_folder(tmp_path / "shapes"), folder=tmp_path / "study", **PLAIN)
    concepts = Concepts(np.array([[1, 2, 0, 0, 0], [0, 1, 0, 3, 0]]), ("a", "b", "c"), study.class_names)
    sets = trust.confusing_pictures(study, study.data.test, concepts, HIDDEN)  # which a photograph cannot name
    assert list(sets) == [trust.CROP, trust.REMOVED, trust.BLURRED, trust.OCCLUDED, trust.BACKGROUND]
    assert all(pictures.shape == (4, 3, 64, 64) and pictures.dtype == torch.uint8 for pictures in sets.values())
    check_photographs(study, concepts, sets, study.data.test, background=True)


@pytest.mark.parametrize("hidden", [(), ("petal",)])
def test_drawn_pictures_without_a_part_to_hide_are_treated_like_photographs(study, concepts, sets, chosen, hidden):
    others = trust.confusing_pictures(study, study.data.test, concepts, hidden, count=6)
    check_photographs(study, concepts, others, chosen[0], background=False)
    assert torch.equal(others[trust.BACKGROUND], sets[trust.BACKGROUND]) and not torch.equal(
        others[trust.REMOVED], sets[trust.REMOVED]
    )


# --- Answers ---------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_the_explainer(study, explainer, sets, answered, chosen):
    assert list(answered) == [trust.CLEAN, *sets]
    split, test = chosen[0], study.data.test
    scores, softmax = explainer.split_pcs(test)
    np.testing.assert_array_equal(answered[trust.CLEAN].scores, scores)
    np.testing.assert_array_equal(answered[trust.CLEAN].predicted, softmax.argmax(axis=1))
    np.testing.assert_array_equal(answered[trust.CLEAN].right, softmax.argmax(axis=1) == test.labels)
    for name, pictures in sets.items():
        one, (scores, softmax) = answered[name], explainer.pcs(pictures)
        np.testing.assert_allclose(one.scores, scores, atol=1e-6)
        np.testing.assert_allclose(one.probabilities, softmax, atol=1e-6)
        nobody = name in (trust.BACKGROUND, trust.STRANGERS)
        expected = np.zeros(len(pictures), bool) if nobody else softmax.argmax(axis=1) == split.labels
        np.testing.assert_array_equal(one.right, expected)
        assert not (nobody and one.black_box_right.any())
    alone = trust.answers(explainer, test, {trust.BACKGROUND: sets[trust.BACKGROUND]})  # which needs no labels
    np.testing.assert_array_equal(alone[trust.BACKGROUND].scores, answered[trust.BACKGROUND].scores)


def test_the_black_box_is_the_probe_on_the_untouched_backbone(study, sets, answered, chosen):
    probe, model = fit_probe(study.config, study.data), study.model
    with torch.inference_mode():
        expected = probe.predict_proba(pooled_features(model, model.features(sets[trust.CROP])))
    np.testing.assert_allclose(answered[trust.CROP].black_box, expected, atol=1e-4)
    np.testing.assert_array_equal(answered[trust.CROP].black_box_right, expected.argmax(axis=1) == chosen[0].labels)
    expected = probe.predict_proba(pooled_features(model, study.features(study.data.test)[0]))
    np.testing.assert_allclose(answered[trust.CLEAN].black_box, expected, atol=1e-6)


def test_the_black_box_knows_nothing_of_a_backbone_that_was_trained(tmp_path):
    folder, trained = picture_folder(tmp_path / "shapes"), {}
    for stages in ("head", "last"):
        parameters = PLAIN | dict(trainable=stages, objective="balanced")
        trained[stages] = asxai.Study.train(folder, folder=tmp_path / stages, **parameters)
    before, after = (dict(study.model.backbone.named_parameters()) for study in trained.values())
    assert any(not torch.equal(after[name], parameter) for name, parameter in before.items())
    results = []
    for study in trained.values():
        explainer = Explainer(study, Concepts(np.array([[1, 0, 0, 0, 0]] * 2), ("a",), study.class_names))
        test = study.data.test
        results.append(trust.answers(explainer, test, {trust.CROP: to_batch(test.paths, 64)}, test.labels))
    for first, second in ([result[name] for result in results] for name in (trust.CLEAN, trust.CROP)):
        np.testing.assert_allclose(first.black_box, second.black_box, atol=1e-3)
        assert np.abs(first.probabilities - second.probabilities).max() > 1e-3


# --- Tables ----------------------------------------------------------------------------------------------------------


def planted(leads, right, softmax=None, black_box=None, black_box_right=None):
    """`Answers` of two classes and concepts, ahead by `leads` `(picture, concept)` in class 0, which is predicted."""
    leads, right = np.asarray(leads, float), np.asarray(right)
    sure = np.full(len(leads), 0.8) if softmax is None else np.asarray(softmax)
    box = sure if black_box is None else np.asarray(black_box)
    named = np.where((right if black_box_right is None else black_box_right) == right, 0, 1)  # by the black box
    scores = np.stack([leads.clip(0), (-leads).clip(0)], axis=1)
    both = [np.stack([values, 1 - values], axis=1) for values in (sure, np.where(named == 0, box, 1 - box))]
    odds, tier = leads.mean(axis=1), tiers(scores, np.zeros(len(leads), int))
    return trust.Answers(scores, *both, odds, tier, np.where(right, 0, 1))


SURE, LIKELY, UNSURE = [0.9, 0.9], [0.4, 0.4], [0.0, 0.0]
NETWORKS = [0.95, 0.99, 0.6, 0.92], [0.6, 0.97, 0.99, 0.91], [True, False, True, True]
SOME = {
    trust.CLEAN: planted([SURE, SURE, LIKELY, UNSURE], [True, True, True, False], *NETWORKS),
    trust.CROP: planted([SURE, UNSURE, UNSURE], [True, False, True], [0.9, 0.95, 0.91]),
    trust.BACKGROUND: planted([UNSURE, LIKELY], [False, False], [0.7, 0.99]),
}


def test_sets_joined_for_the_rule_explorer():
    scores, predicted, labels = trust.joined(SOME)
    assert scores.shape == (9, 2, 2) and predicted.tolist() == [0] * 9
    assert (predicted == labels).tolist() == [right for one in SOME.values() for right in one.right]


def slow_wilson(hits, count, z=1.959963984540054):
    centre, spread = (hits + z**2 / 2) / (count + z**2), np.sqrt(hits * (count - hits) / count + z**2 / 4)
    return centre - z * spread / (count + z**2), centre + z * spread / (count + z**2)


def test_tier_table():
    table = trust.tier_table(np.array([0] * 6 + [1] * 3), np.array([True] * 8 + [False])).set_index("tier")
    assert table.index.tolist() == [*TIERS, "all"] and table["pictures"].tolist() == [6, 3, 0, 9]
    for tier, hits, count in (("sure", 6, 6), ("probably", 2, 3), ("all", 8, 9)):
        row = table.loc[tier]
        assert row["accuracy"] == hits / count and row["share"] == count / 9
        np.testing.assert_allclose(row[["accuracy_low", "accuracy_high"]].astype(float), slow_wilson(hits, count))
        np.testing.assert_allclose(row[["share_low", "share_high"]].astype(float), slow_wilson(count, 9), atol=1e-12)
    assert table.loc["not sure", ["accuracy", "accuracy_low", "accuracy_high"]].isna().all()
    assert table.loc["not sure", "share"] == 0 and table.loc["not sure", "share_high"] > 0.2
    assert trust.tier_table(np.zeros(0, int), np.zeros(0, bool))[["share", "accuracy"]].isna().all(axis=None)


def test_tiers_table_of_planted_answers():
    table = trust.tiers_table(SOME, RULES).set_index(["set", "tier"])
    expected = {
        trust.CLEAN: [(2, 1.0), (1, 1.0), (1, 0.0), (4, 0.75)],
        trust.CROP: [(1, 1.0), (0, NAN), (2, 0.5), (3, 2 / 3)],
        trust.BACKGROUND: [(0, NAN), (1, 0.0), (1, 0.0), (2, 0.0)],
        trust.CONFUSING: [(1, 1.0), (1, 0.0), (3, 1 / 3), (5, 0.4)],
    }
    assert table.index.tolist() == [(name, tier) for name in expected for tier in (*TIERS, "all")]
    for name, rows in expected.items():
        for tier, (count, accuracy) in zip([*TIERS, "all"], rows):
            row = table.loc[(name, tier)]
            assert row["pictures"] == count and row["share"] == pytest.approx(count / rows[-1][0])
            assert row["accuracy"] == pytest.approx(accuracy, nan_ok=True)
            assert row["share_low"] <= row["share"] <= row["share_high"]
    assert list(trust.tiers_table({trust.CLEAN: SOME[trust.CLEAN]}, RULES)["set"].unique()) == [trust.CLEAN]


def test_softmax_table():
    table = trust.softmax_table(SOME, RULES).set_index(["set", "network"])
    expected = {
        (trust.CLEAN, trust.SOFTMAX): (4, 3 / 4, 2 / 3, 3 / 4, 1 / 3, 1),
        (trust.CLEAN, trust.BLACK_BOX): (4, 3 / 4, 2 / 3, 3 / 4, 1 / 3, 0),
        (trust.CROP, trust.SOFTMAX): (3, 2 / 3, 1 / 2, 2 / 3, 1, 1),  # .9 itself is not above
        (trust.BACKGROUND, trust.SOFTMAX): (2, 1 / 2, 0.0, 0.0, 0, 0),
        (trust.CONFUSING, trust.SOFTMAX): (5, 3 / 5, 1 / 3, 2 / 5, 2 / 3, 1 / 2),
        (trust.CONFUSING, trust.BLACK_BOX): (5, 3 / 5, 1 / 3, 2 / 5, 2 / 3, 1 / 2),
    }
    columns = ["pictures", "above .9", "right then", "right", "not sure then", "not sure if wrong"]
    for key, values in expected.items():
        assert table.loc[key, columns].tolist() == pytest.approx(values)
        assert table.loc[key, "low"] <= table.loc[key, "not sure then"] <= table.loc[key, "high"]
    assert len(table) == 8
    modest = trust.softmax_table({trust.CLEAN: planted([SURE], [True], [0.5])}, RULES)
    assert modest[["right then", "not sure then"]].isna().all(axis=None) and modest["above .9"].tolist() == [0, 0]


def test_confidences_of_all_sets():
    values, leads = trust.confidences(SOME), [0.9, 0.9, 0.4, 0, 0.9, 0, 0, 0, 0.4]
    assert list(values) == [trust.EXPLANATION, trust.SOFTMAX, trust.BLACK_BOX]
    np.testing.assert_allclose(values[trust.EXPLANATION][0], 1 / (1 + np.exp(-np.array(leads))))
    np.testing.assert_allclose(values[trust.SOFTMAX][0], [0.95, 0.99, 0.6, 0.92, 0.9, 0.95, 0.91, 0.7, 0.99])
    np.testing.assert_allclose(values[trust.BLACK_BOX][0][:4], [0.6, 0.97, 0.99, 0.91])
    for name in (trust.EXPLANATION, trust.SOFTMAX):
        assert values[name][1].tolist() == [True, True, True, False, True, False, True, False, False]
    assert values[trust.BLACK_BOX][1][:4].tolist() == [True, False, True, True]


def test_confidence_table_against_the_measures():
    table = trust.confidence_table(SOME, draws=100)
    pd.testing.assert_frame_equal(table, trust.confidence_table(SOME, draws=100))  # the same draws
    table = table.set_index(["confidence", "measure"])
    assert len(table) == 9
    for name, (values, right) in trust.confidences(SOME).items():
        curve = risk_coverage(values, right)
        ece = slow_calibration_error(values, right, 10)
        for measure, value in (("ECE", ece), ("AURC", curve.aurc), ("AUGRC", curve.augrc)):
            row, of_softmax = table.loc[(name, measure)], table.loc[(trust.SOFTMAX, measure), "value"]
            assert row["value"] == pytest.approx(value)
            assert row["difference"] == pytest.approx(value - of_softmax)
            assert 0 <= row["low"] <= row["high"] <= 1
            assert row["difference_low"] <= row["difference_high"]
    alike = table.loc[trust.SOFTMAX, ["difference", "difference_low", "difference_high"]]
    assert (alike == 0).all(axis=None)


def test_bootstrap_keeps_the_number_of_pictures_of_each_set():
    """Sets of one outcome each: drawing within sets never changes how many are right, so nothing varies."""
    sets = {trust.CLEAN: planted([SURE] * 5, [True] * 5), trust.CROP: planted([SURE] * 3, [False] * 3)}
    table = trust.confidence_table(sets, draws=50)
    np.testing.assert_allclose(table["low"], table["value"])
    np.testing.assert_allclose(table["high"], table["value"])


def test_activation_table(study, explainer, concepts):
    split = study.data.test
    table = trust.activation_table(explainer, split).set_index("activation")
    assert table.index.tolist() == ["cosine", "channels"] and table.stack().between(0, 1).all()
    probability = explainer.scores.probability(concept_activation(concepts, study.similarity(split)))
    mean = np.nanmean(probability, axis=2)  # two classes: the other one is the best other
    right, other = mean[np.arange(10), split.labels], mean[np.arange(10), 1 - split.labels]
    first = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(right, other)])
    expected = {"right class": right.mean(), "best other class": other.mean(), "right first": first}
    assert table.loc["cosine"].to_dict() == pytest.approx(expected)


# --- Claims ----------------------------------------------------------------------------------------------------------


def claim_rows(answered, others=NOTHING, broken=0.02, draws=5):
    tables = (trust.tiers_table(answered), trust.softmax_table(answered), trust.confidence_table(answered, draws))
    kept = pd.DataFrame({"tier": TIERS[:1], "broken": [broken]})
    return {row["claim"]: row for row in trust.claims(*tables, kept, answered, RULES, others)}


def test_claims():
    rows = claim_rows(SOME)
    own, softmax = (risk_coverage(*trust.confidences(SOME)[name]) for name in (trust.EXPLANATION, trust.SOFTMAX))
    expected = {
        "guarantee_broken": (0.02, "yes"),
        "sure_accuracy": (1, "yes"),
        "sure_coverage": (0.5, "no"),
        "sure_coverage: table": (0.5, ""),
        "probably_accuracy": (1, ""),
        "not_sure_on_confusing": (0.6, "no"),
        "softmax_sure_on_confusing": (0.6, "yes"),
        "black_box_sure_on_confusing": (0.6, "yes"),
        "not_sure_where_softmax_is": (2 / 3, "no"),
        "not_sure_where_softmax_is_wrong": (1 / 2, "no"),
        "not_sure_where_softmax_is_wrong: table": (1 / 2, ""),
        "aurc_explanation": (own.aurc, "yes" if own.aurc <= softmax.aurc else "no"),
        "aurc_softmax": (softmax.aurc, ""),
        "augrc_explanation": (own.augrc, "yes" if own.augrc <= softmax.augrc else "no"),
        "augrc_softmax": (softmax.augrc, ""),
    }
    assert list(rows) == list(expected)
    for name, (here, holds) in expected.items():
        assert rows[name]["here"] == pytest.approx(here, abs=1e-4) and rows[name]["holds"] == holds, name


def test_nothing_is_claimed_about_pictures_that_there_are_none_of():
    modest = {trust.CLEAN: planted([SURE], [True], [0.95]), trust.CROP: planted([UNSURE], [True], [0.6])}
    assert "not_sure_where_softmax_is" not in claim_rows(modest), "the softmax is never sure"
    right = {trust.CLEAN: planted([SURE], [True], [0.95]), trust.CROP: planted([UNSURE], [True], [0.95])}
    assert "not_sure_where_softmax_is_wrong" not in claim_rows(right), "it is right wherever it is sure"
    assert "not_sure_where_softmax_is" in claim_rows(right)
    alone = claim_rows({trust.CLEAN: planted([SURE] * 3 + [UNSURE] * 2, [True] * 5)})
    first = ["guarantee_broken", "sure_accuracy", "sure_coverage", "sure_coverage: table", "aurc_explanation"]
    assert list(alone) == [*first, "aurc_softmax", "augrc_explanation", "augrc_softmax"]
    assert alone["sure_coverage"]["here"] == 0.6 and alone["sure_coverage"]["holds"] == "yes"  # the target itself
    never = claim_rows({trust.CLEAN: planted([UNSURE], [True])})
    assert list(never)[1] == "sure_coverage" and never["sure_coverage"]["holds"] == "no", "and no accuracy of nothing"
    assert claim_rows(SOME, broken=0.06)["guarantee_broken"]["holds"] == "no"


def test_claims_over_seeds():
    others = pd.DataFrame({"sure_accuracy": [0.9, 0.8], "sure_coverage": [0.8, 0.8], "probably_accuracy": [NAN, 0.5]})
    rows = claim_rows(SOME, others)
    assert rows["sure_accuracy"]["seeds"] == 3 and rows["sure_accuracy"]["here"] == pytest.approx(0.9)
    assert rows["sure_accuracy"]["spread"] == pytest.approx(0.1) and rows["sure_accuracy"]["holds"] == "no"
    assert rows["sure_coverage"]["here"] == pytest.approx(0.7) and rows["sure_coverage"]["holds"] == "yes"
    assert rows["probably_accuracy"]["seeds"] == 2 and rows["aurc_softmax"]["seeds"] == 1
    lower = claim_rows(SOME, pd.DataFrame({"aurc_explanation": [0.0], "aurc_softmax": [1.0]}))
    assert lower["aurc_explanation"]["holds"] == "yes", "means over the same seeds are compared"


def test_another_seed_is_one_row_of_the_same_claims(study, strangers, chosen):
    explainer = Explainer(study)
    sets = trust.confusing_pictures(study, study.data.test, explainer.concepts, HIDDEN, strangers, 6)
    answered = trust.answers(explainer, study.data.test, sets, chosen[0].labels)
    tables = trust.tiers_table(answered), trust.softmax_table(answered), trust.confidence_table(answered, draws=2)
    kept = guarantee_table(known_answers(explainer))
    rows = trust.claims(*tables, kept, answered, explainer.rules, NOTHING)
    told = sentences.truth_table(sentences.sentence_rows(sentences.options(explainer), study.data.test))
    rows += sentences.claims(told, NOTHING)
    pd.testing.assert_frame_equal(trust.seed_claims(study, HIDDEN, strangers, 6), seed_row(0, rows))
