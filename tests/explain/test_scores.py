"""P_s and PCS against plain loops with math.erf, and what a tiny study keeps of them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from helpers import cases

import asxai
from asxai.concepts.concepts import Concepts
from asxai.concepts.masks import concept_regions
from asxai.data.pictures import to_batch
from asxai.explain import scores as explain_scores
from asxai.explain.scores import (
    NUMBERS,
    SMALLEST_DEVIATION,
    channel_activation,
    concept_activation,
    fit_scores,
    study_importance,
    study_scores,
)
from asxai.traits.common import common_traits
from asxai.traits.pooled import pooled_features, split_pooled

NAN = np.nan
CLASSES, NAMES = ("cat", "dog"), ("ear", "eye", "nose")


def assert_same(first, second):
    """To the last digit."""
    assert (first.class_names, first.names) == (second.class_names, second.names)
    for name in NUMBERS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


# --- Equations 12 and 13 against loops -------------------------------------------------------------------------------


def slow_cdf(value, mean, std):
    return 0.5 * (1 + math.erf((value - mean) / (std * math.sqrt(2))))


def slow_probability(value, own):
    """Equation 12 from the A_s of the class's training pictures, a list."""
    mean = sum(own) / len(own)
    std = math.sqrt(sum((v - mean) ** 2 for v in own) / (len(own) - 1))
    lowest, highest = slow_cdf(min(own), mean, std), slow_cdf(max(own), mean, std)
    return min(max((slow_cdf(value, mean, std) - lowest) / (highest - lowest), 0), 1)


def some_activations(seed=0, pictures=40):
    """A_s `(picture, class, concept)` where the second class lacks the last concept, labels, and R_s."""
    rng = np.random.default_rng(seed)
    activation = rng.normal(0.6, 0.1, (pictures, 2, 3))
    activation[:, 1, 2] = NAN
    return activation, rng.permutation(np.arange(pictures) % 2), np.array([[0.5, 0.7, 1.8], [1.25, 0.75, NAN]])


def test_probability_and_pcs_are_equations_12_and_13():
    activation, labels, importance = some_activations()
    scores = fit_scores(activation, labels, importance, CLASSES, NAMES)
    new = np.random.default_rng(1).normal(0.6, 0.2, (30, 2, 3))  # some outside the range of the training pictures
    new[3, 0, 1] = NAN
    expected = np.full(new.shape, NAN)
    for picture in range(30):
        for label in range(2):
            for k in range(3):
                own = [activation[i, label, k] for i in range(40) if labels[i] == label]
                if not math.isnan(new[picture, label, k]) and not any(map(math.isnan, own)):
                    expected[picture, label, k] = slow_probability(new[picture, label, k], own)
    found = scores.probability(new)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(scores.pcs(new), expected * importance, rtol=0, atol=1e-12)
    assert (found == 0).any() and (found == 1).any() and np.nanmax(scores.pcs(new)) == pytest.approx(1.8)
    assert found.dtype == np.float64 and np.isnan(found[:, 1, 2]).all() and np.isnan(found[3, 0, 1])


def test_what_is_fitted_is_of_the_own_class_alone():
    activation, labels, importance = some_activations()
    scores = fit_scores(activation, labels, importance, CLASSES, NAMES)
    changed = activation.copy()
    changed[np.arange(40), 1 - labels] = 99.0  # what a class's concepts do on pictures of the other class
    changed[:, 1, 2] = NAN
    assert_same(fit_scores(changed, labels, importance, CLASSES, NAMES), scores)
    for label in range(2):
        own = activation[labels == label, label]
        np.testing.assert_allclose(scores.mean[label], own.mean(axis=0))
        np.testing.assert_allclose(scores.std[label], np.std(own, axis=0, ddof=1))
        np.testing.assert_array_equal([scores.low[label], scores.high[label]], [own.min(axis=0), own.max(axis=0)])
    np.testing.assert_array_equal(scores.importance, importance)


def test_probability_at_the_ends_and_in_order():
    activation, labels, importance = some_activations()
    scores = fit_scores(activation, labels, importance, CLASSES, NAMES)
    steps = np.linspace(-0.5, 1.5, 101)[:, None] * (scores.high - scores.low).ravel() + scores.low.ravel()
    found = scores.probability(steps.reshape(-1, 2, 3))[:, :, :2]
    assert (np.diff(found, axis=0) >= 0).all()
    assert (found[:26] == 0).all() and (found[75:] == 1).all() and ((0 < found[30:70]) & (found[30:70] < 1)).all()


def test_a_class_of_copies_has_a_probability():
    """All A_s equal: no spread, and no division by zero; above it is certain, below impossible."""
    scores = fit_scores(np.full((4, 2, 1), 0.5), np.array([0, 0, 1, 1]), np.ones((2, 1)), CLASSES, ("ear",))
    assert (scores.std == SMALLEST_DEVIATION).all()
    found = scores.probability(np.array([0.4, 0.5, 0.6]).repeat(2).reshape(3, 2, 1))[:, 0, 0]
    assert found.tolist() == [0, 0, 1]


@cases(
    "given, expected",
    ([[0.5, 1.5]], [[0.5, 1.5]]),
    ([[0.0, 1.5]], [[1.0, 1.5]]),  # never more than a concept like any other
    ([[0.0, 0.5]], [[0.5, 0.5]]),
    ([[NAN, NAN]], [[1.0, 1.0]]),  # filters without any rank
    ([[0.0, 0.0]], [[1.0, 1.0]]),
)
def test_a_concept_without_importance_counts_like_the_least_important(given, expected):
    activation = np.random.default_rng(0).random((5, 1, 2))
    found = fit_scores(activation, np.zeros(5, int), np.array(given), ("cat",), ("ear", "eye"))
    np.testing.assert_array_equal(found.importance, expected)


def test_importance_of_a_concept_that_a_class_lacks_counts_for_nothing():
    activation = np.random.default_rng(0).random((5, 1, 3))
    activation[:, :, 2] = NAN
    found = fit_scores(activation, np.zeros(5, int), np.array([[0.0, 0.8, 0.1]]), ("cat",), NAMES)
    np.testing.assert_array_equal(found.importance, [[0.8, 0.8, NAN]])


def test_a_class_of_one_picture_cannot_be_fitted():
    message = "class 'dog' has fewer than two pictures to fit scores on; add pictures"
    with pytest.raises(ValueError, match=message):
        fit_scores(np.zeros((4, 2, 3)), np.array([0, 0, 0, 1]), np.ones((2, 3)), CLASSES, NAMES)


def test_table_has_a_row_per_class_and_concept_that_it_has():
    scores = fit_scores(*some_activations(), CLASSES, NAMES)
    table = scores.table()
    assert table.columns.tolist() == ["class", "concept", *NUMBERS]
    assert table["class"].tolist() == ["cat"] * 3 + ["dog"] * 2
    assert table["concept"].tolist() == [*NAMES, *NAMES[:2]]
    for row in table.itertuples():
        at = CLASSES.index(row[1]), NAMES.index(row.concept)
        assert list(row[3:]) == [getattr(scores, name)[at] for name in NUMBERS]


# --- A_s by cosines --------------------------------------------------------------------------------------------------


def test_concept_activation_against_a_loop():
    rng = np.random.default_rng(0)
    members = np.array([[0, 1, 1, 3], [2, 2, 0, 1], [0, 0, 0, 1]])
    concepts = Concepts(members, NAMES, ("cat", "dog", "fox"))
    similarity = rng.uniform(-1, 1, (6, 3, 4)).astype(np.float32)
    found = concept_activation(concepts, torch.from_numpy(similarity))
    expected = np.full((6, 3, 3), NAN)
    for picture in range(6):
        for label in range(3):
            for vector in range(4):
                k, value = members[label, vector] - 1, float(similarity[picture, label, vector])
                if k >= 0 and not expected[picture, label, k] > value:
                    expected[picture, label, k] = value
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float64


def test_concepts_that_shall_not_count_are_left_out_and_change_nothing_else():
    concepts = Concepts(np.array([[0, 1, 2, 3], [2, 2, 0, 1]]), NAMES, CLASSES)
    similarity = torch.rand(5, 2, 4, generator=torch.Generator().manual_seed(0))
    whole = concept_activation(concepts, similarity)
    found = concept_activation(concepts, similarity, without=["eye", "nose"])
    assert np.isnan(found[:, :, 1:]).all()
    np.testing.assert_array_equal(found[:, :, 0], whole[:, :, 0])
    np.testing.assert_array_equal(concept_activation(concepts, similarity, without=()), whole)
    assert np.isnan(concept_activation(concepts, similarity, without=NAMES)).all()
    by_number = concept_activation(concepts, similarity, without=["concept 2", "nose"])  # as a class may call it
    np.testing.assert_array_equal(by_number, found)
    with pytest.raises(ValueError, match=r"without=\['tail'\] are no concepts; there are ear, eye, nose"):
        concept_activation(concepts, similarity, without=["eye", "tail"])


# --- A study's scores ------------------------------------------------------------------------------------------------


def test_study_scores_are_fitted_on_training_pictures(study, concepts):
    scores, train = study_scores(study, concepts), study.data.train
    similarity = study.similarity(train).double().numpy()
    for label in range(2):
        for k in range(4):
            vectors = np.flatnonzero(concepts.members[label] == k + 1)
            if not len(vectors):
                assert np.isnan(scores.mean[label, k]) and np.isnan(scores.importance[label, k])
                continue
            own = similarity[train.labels == label][:, label, vectors].max(axis=1)
            assert scores.mean[label, k] == pytest.approx(own.mean(), abs=1e-12)
            assert scores.high[label, k] == own.max() and scores.low[label, k] == own.min()
            assert scores.importance[label, k] > 0
    assert scores.class_names == study.class_names and scores.names == concepts.names


def test_importance_is_a_share_of_ranks_times_the_number_of_concepts(study, concepts):
    importance = study_importance(study, concepts)
    assert importance.shape == (2, 4)
    np.testing.assert_array_equal(np.isfinite(importance), [[True, True, True, False], [True, True, False, True]])
    np.testing.assert_allclose(np.nansum(importance, axis=1), 3)  # three concepts each: their mean is 1
    assert np.nanmin(importance) >= 0


def test_study_scores_are_kept_and_fitted_anew_for_other_concepts_or_code(study, concepts, monkeypatch):
    path, first, fitted, real = study.folder / "scores.json", study_scores(study, concepts), [], fit_scores
    text = path.read_text()
    monkeypatch.setattr(explain_scores, "fit_scores", lambda *given: fitted.append(given[-1]) or real(*given))
    for again in (study, asxai.Study.load(study.folder)):  # also without its data set
        assert_same(study_scores(again, concepts), first)
    assert not fitted
    renamed = concepts.renamed(["horn", "eye", "nose", "tail"])
    assert study_scores(study, renamed).names == renamed.names and fitted == [renamed.names]
    joined = Concepts(np.minimum(concepts.members, 2), ("ear", "eye"), study.class_names)
    assert study_scores(study, joined).mean.shape == (2, 2) and len(fitted) == 2
    assert path.read_text() != text
    assert_same(study_scores(study, concepts), first)
    assert len(fitted) == 3 and path.read_text() == text and not list(path.parent.glob(".*-*"))
    monkeypatch.setattr(explain_scores, "code_hash", lambda *modules: "other code")
    assert_same(study_scores(study, concepts), first)
    assert len(fitted) == 4


def test_scores_tell_seen_from_unseen_concepts(study, concepts):
    """A training picture's own class is near 1 at its strongest; noise is near 0 for every concept."""
    scores = study_scores(study, concepts)
    noise = torch.randint(0, 256, (8, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    unseen = scores.probability(concept_activation(concepts, study.activate(list(noise)).similarity))
    seen = scores.probability(concept_activation(concepts, study.similarity(study.data.train)))
    own = seen[np.arange(len(seen)), study.data.train.labels]
    assert np.nanmean(unseen) < 0.1 < 0.3 < np.nanmean(own)
    assert np.nanmax(own, axis=0).tolist() == [1, 1, 1, 1]  # each vector is a patch of a training picture


# --- A_s by channels -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def traits(study, concepts):
    return common_traits(study, concept_regions(study, concepts), pictures=6, measured=2)


def test_channel_activation_of_a_tiny_study(study, concepts, traits):
    pooled = split_pooled(study, study.data.test)
    found = channel_activation(concepts, traits, pooled)
    assert found.shape == (10, 2, 4)
    std = study.model.feature_std.flatten().double()
    for label, own in enumerate(traits):
        for k, name in enumerate(concepts.names):
            if name not in own.names:
                assert np.isnan(found[:, label, k]).all()
                continue
            vector = own.vectors[own.names.index(name)]
            for picture in range(10):
                values = pooled[1, picture].double() / std  # the maximum over the grid, in standard deviations
                expected = np.mean([w * float(values[c]) for c, w in zip(vector.channels, vector.weights)])
                assert found[picture, label, k] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert np.isnan(found[:, 0, 3]).all() and np.isnan(found[:, 1, 2]).all()  # tail of the cat, nose of the dog
    assert np.isfinite(found[:, 0, 0]).all()


def test_channel_activation_of_pictures_is_that_of_their_cached_features(study, concepts, traits):
    pictures = to_batch(study.data.test.paths, study.config.size)
    found = channel_activation(concepts, traits, pooled_features(study, pictures))
    kept = channel_activation(concepts, traits, split_pooled(study, study.data.test))
    np.testing.assert_allclose(found, kept, atol=0.02)
    only = [dataclasses.replace(own, names=own.names[:1], vectors=own.vectors[:1]) for own in traits]
    fewer = channel_activation(concepts, only, split_pooled(study, study.data.test))
    at = concepts.names.index(traits[0].names[0])
    np.testing.assert_allclose(fewer[:, 0, at], kept[:, 0, at], rtol=1e-12)
    assert np.isnan(np.delete(fewer[:, 0], at, axis=1)).all()


def test_normality_of_the_cosine_is_that_of_what_is_fitted(study, concepts):
    table = explain_scores.cosine_normality(study, concepts)
    train, fitted = study.data.train, study_scores(study, concepts)
    similarity = study.similarity(train).double().numpy()
    rows = iter(table.itertuples())
    for label, members in enumerate(concepts.members):
        for k in concepts.of_class(label):
            own = similarity[train.labels == label, label][:, members == k].max(axis=1)
            row = next(rows)
            assert (row[1], row.concept) == (study.class_names[label], concepts.names[k - 1])
            assert row.largest == pytest.approx(own.max())
            assert fitted.mean[label, k - 1] == pytest.approx(own.mean())
            deviations = (own - own.mean()) / own.std()
            assert row.skew == pytest.approx((deviations**3).mean())
            assert 0 < row.r2 <= 1 and 0 <= row.p <= 1
    assert next(rows, None) is None
