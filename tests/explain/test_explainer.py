"""Explanations of a tiny study end to end: every number again by another way, any kind of picture, what is saved."""

import base64
import io
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers import QUICK, concepts_by_hand, drawn_study, picture_folder
from PIL import Image

import asxai
from asxai.data.pictures import DataError, to_batch
from asxai.explain import explainer as explain_explainer
from asxai.explain.explainer import EXEMPLARS, SEEN, Explainer, Explanation
from asxai.explain.judgement import judge
from asxai.explain.rules import RULES, TIERS, Rules, tiers
from asxai.explain.scores import concept_activation
from asxai.explain.similarity import Prototypes, global_similarity


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
def found(study, explainer):
    """Explanations of the ten test pictures and of one that shows nothing, made in one call."""
    noise = torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return explainer.explain([*study.data.test.paths, noise])


def same(first, second, tolerance=0.0):
    """Whether two explanations say the same."""
    arrays = ("scores", "concept_probabilities", "class_probabilities", "similarity")
    return (first.sentence == second.sentence and first.exemplar_sources == second.exemplar_sources
            and np.array_equal(first.picture, second.picture) and np.array_equal(first.masks, second.masks)
            and all(np.allclose(getattr(first, name), getattr(second, name), rtol=0, atol=tolerance, equal_nan=True)
                    for name in arrays))


# --- What an explanation holds ---------------------------------------------------------------------------------------


def test_one_picture_and_a_list_say_the_same(study, explainer, found):
    alone = explainer.explain(study.data.test.paths[3])
    assert isinstance(alone, Explanation) and isinstance(found, list) and len(found) == 11
    assert same(alone, found[3], tolerance=1e-6) and not same(found[3], found[4], tolerance=1e-6)
    [listed] = explainer.explain([study.data.test.paths[3]])
    assert same(alone, listed)


def test_more_pictures_than_a_batch(study, explainer, found, monkeypatch):
    monkeypatch.setattr(explain_explainer, "BATCH", 4)
    again = explainer.explain(list(study.data.test.paths))
    assert len(again) == 10 and all(same(*pair, tolerance=1e-5) for pair in zip(again, found))


def test_class_and_probability_are_those_of_the_network(study, found):
    prediction = study.predict([own.picture for own in found])
    assert [own.predicted for own in found] == prediction.names
    np.testing.assert_allclose([own.class_probabilities for own in found], prediction.probabilities, atol=1e-6)
    for own, row in zip(found, prediction.probabilities):
        assert own.probability == own.class_probabilities.max() == pytest.approx(row.max(), abs=1e-6)
        assert own.class_names == study.class_names and own.picture.dtype == np.uint8
    np.testing.assert_array_equal(found[2].picture, study.pictures(study.data.test.paths[2])[0])


def test_scores_are_those_of_equations_12_and_13(study, concepts, explainer, found):
    similarity = study.activate([own.picture for own in found]).similarity
    activation = concept_activation(concepts, similarity)
    np.testing.assert_allclose([own.scores for own in found], explainer.scores.pcs(activation), atol=1e-4)
    np.testing.assert_allclose([own.concept_probabilities for own in found],
                               explainer.scores.probability(activation), atol=1e-4)
    assert found[0].scores.shape == (2, 4) and np.isnan(found[0].scores[[0, 1], [3, 2]]).all()
    pcs, softmax = explainer.pcs(to_batch([own.picture for own in found], 96))
    np.testing.assert_allclose(pcs, [own.scores for own in found], atol=1e-4)
    np.testing.assert_allclose(softmax, [own.class_probabilities for own in found], atol=1e-6)


def test_the_sentence_is_that_of_the_rules(study, concepts, explainer, found):
    for own in found:
        label = study.class_names.index(own.predicted)
        judgement = judge(own.scores, label, study.class_names, concepts.names, RULES, own.similarity)
        assert own.judgement == judgement and own.sentence == judgement.sentence and own.tier == judgement.tier
    scores, softmax = (np.stack([getattr(own, name) for own in found]) for name in ("scores", "class_probabilities"))
    assert [TIERS[tier] for tier in tiers(scores, softmax.argmax(axis=1))] == [own.tier for own in found]


def test_masks_are_those_of_the_predicted_class_where_a_concept_is_seen(study, concepts, found):
    labels = np.array([study.class_names.index(own.predicted) for own in found])
    maps = study.activate([own.picture for own in found]).maps
    masks = concepts.masks(maps[torch.arange(len(found)), torch.from_numpy(labels)], labels, 96).numpy()
    empty = filled = 0
    for own, label, expected in zip(found, labels, masks):
        assert own.masks.shape == (4, 96, 96) and own.masks.dtype == bool
        for k, probability in enumerate(own.concept_probabilities[label]):
            if np.isnan(probability) or probability < SEEN:
                assert not own.masks[k].any()
                empty += 1
            else:
                np.testing.assert_array_equal(own.masks[k], expected[k])
                assert 0.03 < own.masks[k].mean() < 0.08
                filled += 1
    assert empty > 11 and filled > 10  # more than the concepts that each class lacks


def test_percentile_is_that_of_the_masks(study, explainer, found):
    wider = explainer.explain(study.data.test.paths[3], percentile=80.0)
    seen = found[3].masks.any(axis=(1, 2))
    assert seen.any() and (wider.masks[seen].mean(axis=(1, 2)) > 2.5 * found[3].masks[seen].mean(axis=(1, 2))).all()
    np.testing.assert_array_equal(wider.masks.any(axis=(1, 2)), seen)
    with pytest.raises(ValueError, match="percentile=100 must lie between 0 and 100"):
        explainer.explain(study.data.test.paths[3], percentile=100)


def test_similarity_is_the_global_one(study, concepts, found):
    pictures = to_batch([own.picture for own in found], 96)
    expected = global_similarity(Prototypes.of(study, concepts), pictures, study.activate(list(pictures)).maps)
    np.testing.assert_allclose([own.similarity for own in found], expected, atol=1e-5)


def test_exemplars_are_the_nearest_training_pictures_of_the_predicted_class(study, found):
    train = study.data.train
    known = study.similarity(train).double().numpy()
    for own in found:
        similarity = study.activate(own.picture).similarity[0].double().numpy()
        distances = sorted((float(((known[i] - similarity) ** 2).sum()), i) for i in range(len(train))
                           if study.class_names[train.labels[i]] == own.predicted)
        nearest = [i for _, i in distances[:EXEMPLARS]]
        assert own.exemplar_sources == tuple(f"{own.predicted}/{train.paths[i].name}" for i in nearest)
        assert len(nearest) == 4
        np.testing.assert_array_equal(own.exemplars, study.pictures([train.paths[i] for i in nearest]))


def test_a_class_of_few_training_pictures_has_few_exemplars(study, concepts):
    explainer = Explainer(study, concepts)
    train = study.data.train
    few = train.take(np.concatenate([np.flatnonzero(train.labels == 0)[:2], np.flatnonzero(train.labels == 1)[:3]]))
    explainer.__dict__["_training"] = study.similarity(few).flatten(1), torch.from_numpy(few.labels)
    explanations = explainer.explain(list(study.data.test.paths))
    assert {(own.predicted, len(own.exemplars), len(own.exemplar_sources)) for own in explanations} == {
        (study.class_names[0], 2, 2), (study.class_names[1], 3, 3)}


def test_a_training_picture_is_its_own_nearest(study, explainer):
    for own, path in zip(explainer.explain(list(study.data.train.paths[:3])), study.data.train.paths):
        if own.predicted == path.parent.name:
            assert own.exemplar_sources[0] == f"{path.parent.name}/{path.name}"
            np.testing.assert_array_equal(own.exemplars[0], own.picture)


# --- Many pictures at once -------------------------------------------------------------------------------------------


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


def test_rules_are_those_of_the_explainer(study, concepts, found):
    strict = Explainer(study, concepts, Rules(sure=5.0, probably=5.0))
    assert {own.tier for own in strict.explain(list(study.data.test.paths))} == {"not sure"}
    easy = Explainer(study, concepts, Rules(*[0.0] * 6, majority=0.0))
    assert {own.tier for own in easy.explain(list(study.data.test.paths))} == {"sure"}


# --- Concepts that shall not count -----------------------------------------------------------------------------------


def test_without_a_concept(explainer, found):
    whole = next(one for one in found if one.masks[0].any())
    own = explainer.explain(whole.picture, without=["ear"])
    assert np.isnan(own.scores[:, 0]).all() and np.isnan(own.concept_probabilities[:, 0]).all()
    np.testing.assert_allclose(own.scores[:, 1:], whole.scores[:, 1:], atol=1e-4)
    assert not own.masks[0].any()
    np.testing.assert_array_equal(own.masks[1:], whole.masks[1:])
    assert "ear" not in [concept.name for concept in own.judgement.concepts]
    assert "ear" in [concept.name for concept in whole.judgement.concepts]
    assert (own.predicted, own.probability) == (whole.predicted, pytest.approx(whole.probability))


def test_without_all_concepts_nothing_is_sure(study, explainer, concepts):
    own = explainer.explain(study.data.test.paths[3], without=concepts.names)
    assert own.tier == "not sure" and "the predicted class has no concepts" in own.sentence and not own.masks.any()
    json.dumps(own.to_dict(), allow_nan=False)


def test_unknown_concepts_are_named(study, explainer):
    with pytest.raises(ValueError, match=r"without=\['beak'\] are no concepts; there are ear, eye, nose, tail"):
        explainer.explain(study.data.test.paths[0], without=["beak"])


# --- Any kind of picture ---------------------------------------------------------------------------------------------


def test_path_text_picture_array_and_tensor_say_the_same(study, explainer, found):
    path = study.data.test.paths[3]
    pixels = np.array(Image.open(path))
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [path, str(path), Image.open(path), pixels, tensor, tensor.float() / 255, pixels / 255]
    for own in [*explainer.explain(kinds), *map(explainer.explain, kinds)]:
        assert same(own, found[3], tolerance=1e-5)


def test_several_pictures_in_one_array_or_tensor(study, explainer, found):
    pictures = np.stack([own.picture for own in found[:2]])
    for several in (pictures, torch.from_numpy(pictures).permute(0, 3, 1, 2), tuple(pictures)):
        explanations = explainer.explain(several)
        assert len(explanations) == 2 and all(same(*pair, tolerance=1e-5) for pair in zip(explanations, found))


def test_odd_kinds_of_files(study, explainer, found, tmp_path):
    upright = Image.open(study.data.test.paths[3])
    grey = upright.convert("L")
    exif = Image.Exif()
    exif[274] = 6  # turn a quarter clockwise to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    grey.save(tmp_path / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    upright.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    upright.convert("P").save(tmp_path / "palette.gif")
    clear = upright.convert("RGBA")
    clear.putalpha(255)
    clear.save(tmp_path / "clear.png")
    turned, plain, deep, printed, _, opaque = explainer.explain(
        [tmp_path / name for name in ("turned.png", "grey.png", "deep.png", "print.jpg", "palette.gif", "clear.png")])
    assert same(turned, found[3], tolerance=1e-5) and same(opaque, found[3], tolerance=1e-5)
    assert same(plain, explainer.explain(np.repeat(np.asarray(grey)[..., None], 3, axis=2)), tolerance=1e-5)
    assert same(deep, plain, tolerance=1e-5)
    difference = printed.picture.astype(int) - np.asarray(Image.open(tmp_path / "print.jpg").convert("RGB"))
    assert np.abs(difference).max() == 0 and printed.sentence


def test_a_picture_of_any_size_is_cropped_to_the_networks(study, explainer, tmp_path):
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 256, (40, 300, 3), dtype=np.uint8))
    assert explainer.explain(wide).picture.shape == (96, 96, 3)


@pytest.mark.parametrize("name, content, message", [
    ("missing.png", None, "there is no such file"), ("empty.jpg", b"", "the file is empty"),
    ("text.png", b"no picture", "no picture of a kind that can be read"), ("cut.png", "cut", "damaged or cut short"),
    ("small.png", "small", "10 x 10 pixels are too few"),
])
def test_a_file_that_cannot_be_read_is_named(study, explainer, tmp_path, name, content, message):
    path, good = tmp_path / name, study.data.test.paths[0]
    if content == "cut":
        path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    elif content == "small":
        Image.new("RGB", (10, 10)).save(path)
    elif content is not None:
        path.write_bytes(content)
    for pictures in (path, str(path), [good, path]):
        with pytest.raises(DataError, match=message) as error:
            explainer.explain(pictures)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("picture, message", [
    (np.zeros((96, 96, 3), int), "array: values of type int64"), (np.full((96, 96, 3), 2.0), "outside 0 to 1"),
    (torch.zeros(96, 96, 3), r"tensor: shape \(96, 96, 3\) is not \(3, height, width\)"),
    (None, "NoneType is no picture"), ({"a": 1}, "dict is no picture"),
])
def test_what_is_no_picture(explainer, picture, message):
    with pytest.raises(DataError, match=message):
        explainer.explain(picture)


@pytest.mark.parametrize("nothing", [[], (), np.zeros((0, 96, 96, 3), np.uint8)])
def test_no_pictures_at_all(explainer, nothing):
    with pytest.raises(ValueError, match="pictures is empty; give at least one picture"):
        explainer.explain(nothing)


# --- Shown and saved -------------------------------------------------------------------------------------------------


def test_to_dict_has_all_numbers_and_texts(study, concepts, found):
    for own in found:
        values = json.loads(json.dumps(own.to_dict(), allow_nan=False))
        assert values.keys() == {
            "predicted", "probability", "tier", "sentence", "other", "settled", "words", "classes", "concepts",
            "class_probabilities", "pcs", "concept_probabilities", "similarity", "mask_pixels", "mask_files",
            "exemplars"}
        for key in ("predicted", "probability", "tier", "sentence"):
            assert values[key] == getattr(own, key)
        assert values["classes"] == list(study.class_names) and values["concepts"] == list(concepts.names)
        assert values["class_probabilities"] == own.class_probabilities.tolist()
        for key, array in (("pcs", own.scores), ("concept_probabilities", own.concept_probabilities)):
            np.testing.assert_allclose(np.array(values[key], dtype=float), array, atol=1e-6)  # None becomes NaN
        assert values["pcs"][0][3] is None and values["pcs"][1][2] is None
        np.testing.assert_allclose(values["similarity"], own.similarity, atol=1e-6)
        assert values["mask_pixels"] == own.masks.sum(axis=(1, 2)).tolist()
        assert values["exemplars"] == list(own.exemplar_sources)
        assert (values["other"], values["settled"]) == (own.judgement.other, own.judgement.settled)
        assert [tuple(word.values()) for word in values["words"]] == [tuple(c) for c in own.judgement.concepts]
        assert values["words"][0].keys() == {"name", "pcs", "delta", "found", "position", "semanteme"}


def test_save_writes_what_it_says(found, tmp_path):
    own = next(one for one in found if one.masks.any(axis=(1, 2)).sum() >= 2)
    folder = own.save(str(tmp_path / "some" / "folder"))
    assert folder == tmp_path / "some" / "folder"
    seen = {f"mask_{k}_{name}.png": mask for k, (name, mask) in enumerate(zip(own.names, own.masks), 1) if mask.any()}
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["explanation.json", "panel.png", "picture.png", *seen])
    values = json.loads((folder / "explanation.json").read_text())
    assert values == json.loads(json.dumps(own.to_dict()))
    assert [file for file in values["mask_files"] if file] == list(seen)
    assert [file is not None for file in values["mask_files"]] == [pixels > 0 for pixels in values["mask_pixels"]]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "picture.png")), own.picture)
    for file, mask in seen.items():
        np.testing.assert_array_equal(np.asarray(Image.open(folder / file)), mask * 255)
    assert min(Image.open(folder / "panel.png").size) > 100
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    own.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_masks_of_another_picture_do_not_stay(found, tmp_path):
    """Those that were saved there before go; what somebody else put there does not."""
    files = lambda own: {file for file in own.to_dict()["mask_files"] if file}
    first, second = next((a, b) for a in found for b in found if files(a) - files(b))
    first.save(tmp_path)
    (tmp_path / "mask_of_mine.png").write_text("mine")
    second.save(tmp_path)
    assert {path.name for path in tmp_path.glob("mask_*")} == files(second) | {"mask_of_mine.png"}


def test_save_where_no_folder_can_be(found, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ValueError, match="file' cannot be made .*; give another"):
        found[3].save(tmp_path / "file")
    assert repr(found[3]) == f"Explanation({found[3].sentence!r})"


def test_a_save_that_breaks_off_leaves_whole_files(found, tmp_path, monkeypatch):
    own = found[3]
    before = {path.name: path.read_bytes() for path in own.save(tmp_path).iterdir()}

    def half(path, **options):
        Path(path).write_bytes(b"half a file")
        raise OSError("no room")

    monkeypatch.setattr(own.figure(), "savefig", half)
    with pytest.raises(OSError, match="no room"):
        own.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(OSError, match="no room"):
        own.save(tmp_path / "new")
    assert not (tmp_path / "new" / "explanation.json").exists()  # it comes last, and says that all is there
    assert not list((tmp_path / "new").glob("*panel*"))


def test_names_of_concepts_are_no_paths(study, concepts, tmp_path):
    renamed = concepts.renamed(["ear/inside", "inside", "nose", "tail tip"])
    own = next(one for one in Explainer(study, renamed).explain(list(study.data.test.paths))
               if one.masks[:2].any(axis=(1, 2)).all())
    files = sorted(path.name for path in own.save(tmp_path).glob("mask_*"))
    assert files[:2] == ["mask_1_ear-inside.png", "mask_2_inside.png"]
    assert len(files) == own.masks.any(axis=(1, 2)).sum()


def test_a_notebook_shows_the_panel_and_the_sentence(found):
    bundle = found[3]._repr_mimebundle_(include=None, exclude=None)
    assert bundle.keys() == {"image/jpeg", "text/plain"} and bundle["text/plain"] == found[3].sentence
    panel = Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"])))
    assert panel.format == "JPEG" and min(panel.size) > 100 and np.asarray(panel).std() > 10
    assert plt.get_fignums() == []  # pyplot would show it again
    assert found[3].figure() is found[3].figure() and len(found[3].table())


# --- A study's own way, more classes ---------------------------------------------------------------------------------


def test_a_study_explains_with_its_own_concepts(study, monkeypatch):
    own, expected = study.explain(study.data.test.paths[3]), Explainer(study).explain(study.data.test.paths[3])
    assert same(own, expected) and own.names == study.concepts().names
    monkeypatch.setattr(explain_explainer, "study_scores", lambda *_: pytest.fail("made again"))
    several = study.explain(list(study.data.test.paths[3:5]), percentile=80.0, without=own.names[:1])
    assert len(several) == 2 and np.isnan(several[0].scores[:, 0]).all()
    again = asxai.Study.load(study.folder)
    assert "_explainer" not in repr(again) and again._explainer is None


def test_three_classes_without_part_masks(tmp_path, monkeypatch):
    monkeypatch.setattr("asxai.paths.DATA", tmp_path / "data")
    folder = picture_folder(tmp_path / "shapes", ("square", "stripes", "lines"))
    study = asxai.Study.train(folder, folder=tmp_path / "study", **QUICK | dict(
        backbone="resnet18", weights="random", last_stage="layer2", size=64))
    found = study.explain(list(study.data.test.paths))
    assert len(found) == 6
    for own, label in zip(found, study.predict(list(study.data.test.paths)).labels):
        assert own.predicted == study.class_names[label] and own.scores.shape == (3, len(own.names))
        assert own.similarity.shape == (3,) and own.class_probabilities.sum() == pytest.approx(1)
        assert set(own.exemplar_sources) <= {f"{path.parent.name}/{path.name}" for path in study.data.train.paths}
        assert own.sentence.endswith(".") and own.tier in TIERS
        own.save(tmp_path / "out")
    kept, softmax = study._explainer.split_pcs(study.data.test)
    assert kept.shape == (6, 3, len(found[0].names)) and softmax.shape == (6, 3)
