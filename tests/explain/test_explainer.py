"""Explanations of a tiny study end to end: every number again by another way, and any kind of picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import QUICK, picture_folder
from PIL import Image

import asxai
from asxai.data.pictures import DataError, to_batch
from asxai.explain import explainer as explain_explainer
from asxai.explain.explainer import EXEMPLARS, SEEN, Explainer
from asxai.explain.explanation import Explanation
from asxai.explain.judgement import judge
from asxai.explain.rules import RULES, TIERS, Rules, tiers
from asxai.explain.scores import concept_activation


def same(first, second, tolerance=0.0):
    """Whether two explanations say the same."""
    numbers = ("scores", "concept_probabilities", "class_probabilities", "similarity")
    return (
        (first.sentence, first.exemplar_sources) == (second.sentence, second.exemplar_sources)
        and np.array_equal(first.picture, second.picture)
        and np.array_equal(first.masks, second.masks)
        and all(
            np.allclose(getattr(first, name), getattr(second, name), rtol=0, atol=tolerance, equal_nan=True)
            for name in numbers
        )
    )


def stacked(explanations, name):
    return np.stack([getattr(one, name) for one in explanations])


# --- What an explanation holds ---------------------------------------------------------------------------------------


def test_one_picture_and_a_list_say_the_same(study, explainer, explanations, monkeypatch):
    alone = explainer.explain(study.data.test.paths[3])
    assert isinstance(alone, Explanation) and isinstance(explanations, list) and len(explanations) == 11
    assert same(alone, explanations[3], 1e-6) and not same(explanations[3], explanations[4], 1e-6)
    [listed] = explainer.explain([study.data.test.paths[3]])
    assert same(alone, listed)
    monkeypatch.setattr(explain_explainer, "AT_ONCE", 4)  # more pictures than a batch
    again = explainer.explain(list(study.data.test.paths))
    assert len(again) == 10 and all(same(*pair, 1e-5) for pair in zip(again, explanations))


def test_class_and_probability_are_those_of_the_network(study, explanations):
    prediction = study.predict([one.picture for one in explanations])
    assert [one.predicted for one in explanations] == prediction.names
    np.testing.assert_allclose(stacked(explanations, "class_probabilities"), prediction.probabilities, atol=1e-6)
    for one in explanations:
        assert one.probability == one.class_probabilities.max()
        assert one.class_names == study.class_names and one.picture.dtype == np.uint8
    np.testing.assert_array_equal(explanations[2].picture, study.pictures(study.data.test.paths[2])[0])


def test_scores_are_those_of_equations_12_and_13(study, concepts, explainer, explanations):
    pictures, scores = stacked(explanations, "picture"), stacked(explanations, "scores")
    activation = concept_activation(concepts, study.activate(pictures).similarity)
    np.testing.assert_allclose(scores, explainer.scores.pcs(activation), atol=1e-4)
    probable = explainer.scores.probability(activation)
    np.testing.assert_allclose(stacked(explanations, "concept_probabilities"), probable, atol=1e-4)
    assert scores[0].shape == (2, 4) and np.isnan(scores[0, [0, 1], [3, 2]]).all()
    pcs, softmax = explainer.pcs(to_batch(list(pictures), 96))
    np.testing.assert_allclose(pcs, scores, atol=1e-4)
    np.testing.assert_allclose(softmax, stacked(explanations, "class_probabilities"), atol=1e-6)


def test_the_sentence_is_that_of_the_rules(study, concepts, explanations):
    for one in explanations:
        label = study.class_names.index(one.predicted)
        judgement = judge(one.scores, label, study.class_names, concepts.names, RULES, one.similarity)
        assert one.judgement == judgement and (one.sentence, one.tier) == (judgement.sentence, judgement.tier)
    labels = stacked(explanations, "class_probabilities").argmax(axis=1)
    named = [TIERS[tier] for tier in tiers(stacked(explanations, "scores"), labels)]
    assert named == [one.tier for one in explanations]


def test_masks_are_those_of_the_predicted_class_where_a_concept_is_seen(study, concepts, explanations):
    labels = np.array([study.class_names.index(one.predicted) for one in explanations])
    maps = study.activate([one.picture for one in explanations]).maps
    masks = concepts.masks(maps[torch.arange(len(labels)), torch.from_numpy(labels)], labels, 96).numpy()
    empty = filled = 0
    for one, label, expected in zip(explanations, labels, masks):
        assert one.masks.shape == (4, 96, 96) and one.masks.dtype == bool
        for k, probability in enumerate(one.concept_probabilities[label]):
            if np.isnan(probability) or probability < SEEN:
                assert not one.masks[k].any()
                empty += 1
            else:
                np.testing.assert_array_equal(one.masks[k], expected[k])
                assert 0.03 < one.masks[k].mean() < 0.08
                filled += 1
    assert empty > 11 and filled > 10  # more than the concepts that each class lacks


def test_percentile_is_that_of_the_masks(study, explainer, explanations):
    wider, usual = explainer.explain(study.data.test.paths[3], percentile=80.0), explanations[3]
    seen = usual.masks.any(axis=(1, 2))
    assert seen.any() and (wider.masks[seen].mean(axis=(1, 2)) > 2.5 * usual.masks[seen].mean(axis=(1, 2))).all()
    np.testing.assert_array_equal(wider.masks.any(axis=(1, 2)), seen)
    with pytest.raises(ValueError, match="percentile=100 must lie between 0 and 100"):
        explainer.explain(study.data.test.paths[3], percentile=100)


def test_exemplars_are_the_nearest_training_pictures_of_the_predicted_class(study, explanations):
    train = study.data.train
    known = study.similarity(train).double().numpy()
    for one in explanations:
        similarity = study.activate(one.picture).similarity[0].double().numpy()
        distances = sorted(
            (float(((known[i] - similarity) ** 2).sum()), i)
            for i in range(len(train))
            if study.class_names[train.labels[i]] == one.predicted
        )
        nearest = [i for _, i in distances[:EXEMPLARS]]
        assert one.exemplar_sources == tuple(f"{one.predicted}/{train.paths[i].name}" for i in nearest)
        assert len(nearest) == 4
        np.testing.assert_array_equal(one.exemplars, study.pictures([train.paths[i] for i in nearest]))


def test_a_class_of_few_training_pictures_has_few_exemplars(study, concepts):
    explainer, train = Explainer(study, concepts), study.data.train
    few = train.take(np.concatenate([np.flatnonzero(train.labels == 0)[:2], np.flatnonzero(train.labels == 1)[:3]]))
    explainer.__dict__["training"] = study.similarity(few).flatten(1), torch.from_numpy(few.labels)
    counts = {
        (one.predicted, len(one.exemplars), len(one.exemplar_sources))
        for one in explainer.explain(list(study.data.test.paths))
    }
    assert counts == {(study.class_names[0], 2, 2), (study.class_names[1], 3, 3)}


# --- Many pictures at once, other rules, fewer concepts --------------------------------------------------------------


def test_a_split_has_the_scores_of_its_pictures(study, explainer):
    """Up to the three digits with which features are cached; scores are steep, so cosines are compared too."""
    split = study.data.test
    kept, softmax = explainer.split_pcs(split)
    pcs, probabilities = explainer.pcs(to_batch(split.paths, 96))
    np.testing.assert_allclose(softmax, probabilities, atol=0.01)
    np.testing.assert_array_equal(np.isnan(kept), np.isnan(pcs))
    assert np.nanmean(np.abs(kept - pcs)) < 0.03 and np.nanmax(np.abs(kept - pcs)) < 0.3
    out = study.activate(list(split.paths))
    again = explainer.pcs_of(out.similarity, out.logits)
    np.testing.assert_allclose(again[0], pcs, atol=1e-4)
    np.testing.assert_allclose(again[1], probabilities, atol=1e-6)
    np.testing.assert_allclose(softmax, study.predict_split(split).probabilities, atol=1e-6)


@pytest.mark.parametrize(
    "rules, tier", [(Rules(sure=5.0, probably=5.0), "not sure"), (Rules(*[0.0] * 6, majority=0.0), "sure")]
)
def test_rules_are_those_of_the_explainer(study, concepts, rules, tier):
    explainer = Explainer(study, concepts, rules)
    assert {one.tier for one in explainer.explain(list(study.data.test.paths))} == {tier}


def test_without_ranks_all_concepts_weigh_alike(study, concepts, explanations):
    one = Explainer(study, concepts, importance="none").explain(study.data.test.paths[3])
    np.testing.assert_allclose(one.scores, one.concept_probabilities)
    np.testing.assert_allclose(one.scores, explanations[3].concept_probabilities, atol=1e-5)


def test_without_a_concept(explainer, explanations):
    whole = next(one for one in explanations if one.masks[0].any())
    one = explainer.explain(whole.picture, without=["ear"])
    assert np.isnan(one.scores[:, 0]).all() and np.isnan(one.concept_probabilities[:, 0]).all()
    np.testing.assert_allclose(one.scores[:, 1:], whole.scores[:, 1:], atol=1e-4)
    assert not one.masks[0].any()
    np.testing.assert_array_equal(one.masks[1:], whole.masks[1:])
    assert "ear" not in [concept.name for concept in one.judgement.concepts]
    assert "ear" in [concept.name for concept in whole.judgement.concepts]
    assert (one.predicted, one.probability) == (whole.predicted, pytest.approx(whole.probability))
    with pytest.raises(ValueError, match=r"without=\['beak'\] are no concepts; there are ear, eye, nose, tail"):
        explainer.explain(whole.picture, without=["beak"])


def test_a_name_that_is_not_true_in_a_class_is_not_used_there(study, explainer, concepts, explanations):
    predicted = [study.label_of(one.predicted) for one in explanations]
    doubting = Explainer(study, replace(concepts, by_class={(predicted[0], 1): "concept 1"}))
    plain, other = explanations[0], next(i for i, label in enumerate(predicted) if label != predicted[0])
    assert doubting.explain(explanations[other].picture).names == concepts.names
    one = doubting.explain(plain.picture)
    assert one.names == ("concept 1", *concepts.names[1:]) and "ear" not in one.sentence
    np.testing.assert_array_equal(one.scores, explainer.explain(plain.picture).scores)
    assert np.isnan(doubting.explain(plain.picture, without=["concept 1"]).scores[:, 0]).all()


def test_without_all_concepts_nothing_is_sure(study, explainer, concepts):
    one = explainer.explain(study.data.test.paths[3], without=concepts.names)
    assert one.tier == "not sure" and "the predicted class has no concepts" in one.sentence and not one.masks.any()


# --- Any kind of picture ---------------------------------------------------------------------------------------------


def test_path_text_picture_array_and_tensor_say_the_same(study, explainer, explanations):
    path = study.data.test.paths[3]
    pixels = np.array(Image.open(path))
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [path, str(path), Image.open(path), pixels, tensor, tensor.float() / 255, pixels / 255]
    for one in [*explainer.explain(kinds), *map(explainer.explain, kinds)]:
        assert same(one, explanations[3], 1e-5)
    pictures = stacked(explanations[:2], "picture")
    for several in (pictures, torch.from_numpy(pictures).permute(0, 3, 1, 2), tuple(pictures)):
        pairs = list(zip(explainer.explain(several), explanations))
        assert len(pairs) == 2 and all(same(*pair, 1e-5) for pair in pairs)


def test_odd_kinds_of_files(study, explainer, explanations, tmp_path):
    upright, exif = Image.open(study.data.test.paths[3]), Image.Exif()
    grey, clear = upright.convert("L"), upright.convert("RGBA")
    exif[274] = 6  # turn a quarter clockwise to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    clear.putalpha(255)
    clear.save(tmp_path / "clear.png")
    grey.save(tmp_path / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    names = ("turned", "clear", "grey", "deep")
    turned, opaque, plain, deep = explainer.explain([tmp_path / f"{name}.png" for name in names])
    assert same(turned, explanations[3], 1e-5) and same(opaque, explanations[3], 1e-5)
    assert same(plain, explainer.explain(np.repeat(np.asarray(grey)[..., None], 3, axis=2)), 1e-5)
    assert same(deep, plain, 1e-5)
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 300, 3), dtype=np.uint8))
    assert explainer.explain(wide).picture.shape == (96, 96, 3)


@pytest.mark.parametrize("content, message", [(None, "no such file"), (b"", "is empty"), (b"no picture", "no picture")])
def test_a_file_that_cannot_be_read_is_named(study, explainer, tmp_path, content, message):
    path, good = tmp_path / "some.png", study.data.test.paths[0]
    if content is not None:
        path.write_bytes(content)
    for pictures in (path, str(path), [good, path]):
        with pytest.raises(DataError, match=message) as error:
            explainer.explain(pictures)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "pictures, message",
    [
        (np.zeros((96, 96, 3), int), "array: values of type int64"),
        (np.full((96, 96, 3), 2.0), "outside 0 to 1"),
        (torch.zeros(96, 96, 3), "Move the colours to the front with permute"),
        (None, "NoneType is no picture"),
        ({"a": 1}, "pictures: a dict. Give a list"),
        ([], "pictures is empty; give at least one picture"),
        ((), "pictures is empty"),
        (np.zeros((0, 96, 96, 3), np.uint8), "pictures is empty"),
    ],
)
def test_what_is_no_picture(explainer, pictures, message):
    with pytest.raises(ValueError, match=message):
        explainer.explain(pictures)


# --- A study's own way, more classes ---------------------------------------------------------------------------------


def test_a_study_explains_with_its_own_concepts(study, monkeypatch):
    one, expected = study.explain(study.data.test.paths[3]), Explainer(study).explain(study.data.test.paths[3])
    assert same(one, expected) and one.names == study.concepts().names_in(study.label_of(one.predicted))
    monkeypatch.setattr(explain_explainer, "study_scores", lambda *_: pytest.fail("made again"))
    several = study.explain(list(study.data.test.paths[3:5]), percentile=80.0, without=one.names[:1])
    assert len(several) == 2 and np.isnan(several[0].scores[:, 0]).all()
    again = asxai.Study.load(study.folder)
    assert "_explainer" not in repr(again) and again._explainer is None


def test_three_classes_without_part_masks(tmp_path, monkeypatch):
    monkeypatch.setattr("asxai.paths.DATA", tmp_path / "data")
    folder = picture_folder(tmp_path / "shapes", ("square", "stripes", "lines"))
    small = dict(backbone="resnet18", weights="random", last_stage="layer2", size=64)
    study = asxai.Study.train(folder, folder=tmp_path / "study", **QUICK | small)
    explanations = study.explain(list(study.data.test.paths))
    assert len(explanations) == 6
    for one, label in zip(explanations, study.predict(list(study.data.test.paths)).labels):
        assert one.predicted == study.class_names[label] and one.scores.shape == (3, len(one.names))
        assert one.similarity.shape == (3,) and one.class_probabilities.sum() == pytest.approx(1)
        assert set(one.exemplar_sources) <= {f"{path.parent.name}/{path.name}" for path in study.data.train.paths}
        assert one.sentence.endswith(".") and one.tier in TIERS
        one.save(tmp_path / "out")
    kept, softmax = study._explainer.split_pcs(study.data.test)
    assert kept.shape == (6, 3, len(explanations[0].names)) and softmax.shape == (6, 3)
