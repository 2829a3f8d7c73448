"""Semantic vectors, q-q plots and specificity: against loops, SciPy and by hand."""

import numpy as np
import pytest
import scipy.stats
import torch
from helpers import alike

from asxai.statistics import bootstrap
from asxai.traits.vectors import (
    concept_drops,
    normality,
    on_diagonal,
    semantic_vector,
    specificity,
    weighted_activation,
)


def trait_by_hand(features):
    """The first row-centred component on the scale of one picture (eqs. 7-9)."""
    rows = features - features.mean(axis=1, keepdims=True)
    first = np.linalg.eigh(rows @ rows.T)[1][:, -1]
    return features.T @ (first * np.sign(first.sum())) / np.sqrt(len(features))


# --- Semantic vectors ------------------------------------------------------------------------------------------------


def test_semantic_vector_by_hand():
    """All pictures of a set alike, so that traits are known; the sets differ in size, and in channels 1, 4 and 6."""
    kept = np.array([1.0, 9, 3, 1, 2, 3, 3, 2])
    removed = np.array([1.0, 3, 3, 1, 7, 3, 2, 2])
    got = semantic_vector(np.tile(kept, (4, 1)), np.tile(removed, (7, 1)), top=2)
    np.testing.assert_allclose(got.kept, kept)
    np.testing.assert_allclose(got.removed, removed)
    assert got.channels.tolist() == [1, 4] and got.channels.dtype == np.int64
    np.testing.assert_allclose(got.weights, [6, -5])
    np.testing.assert_allclose(got.row, [0, 3, 0, 0, -2.5, 0, 0, 0])


def test_semantic_vector_against_the_textbook():
    kept, removed = alike(30, 8), alike(20, 8, seed=1)
    difference = trait_by_hand(kept) - trait_by_hand(removed)
    largest = np.argsort(-np.abs(difference))[:5]
    for got in (semantic_vector(kept, removed), semantic_vector(np.tile(kept, (2, 1)), torch.from_numpy(removed))):
        assert got.channels.tolist() == largest.tolist()  # to count pictures twice changes nothing
        np.testing.assert_allclose(got.weights, difference[largest], atol=1e-9)
        np.testing.assert_allclose(got.kept - got.removed, difference, atol=1e-9)


@pytest.mark.parametrize("top", [1, 5, 8])
def test_weighted_activation_against_a_loop(top):
    features = alike(6, 8)
    vectors = [semantic_vector(alike(9, 8, seed=s), alike(9, 8, seed=s + 9), top) for s in range(3)]
    got = weighted_activation(torch.from_numpy(features), vectors)
    assert got.shape == (6, 3)
    for picture, concept in np.ndindex(6, 3):
        pairs = zip(vectors[concept].channels, vectors[concept].weights)
        expected = sum(weight * features[picture, channel] for channel, weight in pairs) / top
        assert got[picture, concept] == pytest.approx(expected)


def test_sets_that_give_no_vector_are_named():
    kept, cases = alike(4, 6), [(top, f"top={top} must be from 1 to 6") for top in (7, 0)]
    cases = [(2 * kept, *case) for case in cases] + [(kept, 5, "the same trait; give pictures")]
    for removed, top, message in [*cases, (alike(1, 6), 5, "features are of 1 pictures")]:
        with pytest.raises(ValueError, match=message):
            semantic_vector(kept, removed, top)


# --- Normal distribution --------------------------------------------------------------------------------------------


def test_normality_against_scipy_and_the_definition():
    values = np.random.default_rng(0).gamma(3, size=300)
    got = normality(values)
    order = np.arange(1, 301)
    medians = (order - 0.3175) / (300 + 0.365)  # of uniform order statistics, Filliben
    medians[0], medians[-1] = 1 - 0.5 ** (1 / 300), 0.5 ** (1 / 300)
    np.testing.assert_allclose(got.theoretical, scipy.stats.norm.ppf(medians), atol=1e-9)
    np.testing.assert_array_equal(got.ordered, np.sort(values))
    assert got.r2 == pytest.approx(np.corrcoef(got.theoretical, got.ordered)[0, 1] ** 2)
    assert (got.w, got.p) == pytest.approx(tuple(scipy.stats.shapiro(values)))
    assert (got.slope, got.intercept) == pytest.approx(tuple(np.polyfit(got.theoretical, got.ordered, 1)))
    assert (got.count, got.mean, got.std) == (300, pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)))
    assert got.skew == pytest.approx(((values - values.mean()) ** 3).mean() / values.std() ** 3)


def test_neither_order_nor_scale_nor_shift_matters_to_normality():
    values = np.random.default_rng(0).gamma(3, size=100)
    got, other = normality(values), normality(1e-4 * values[::-1] - 7)
    for field in ("r2", "w", "p", "skew"):
        assert getattr(other, field) == pytest.approx(getattr(got, field), rel=1e-6)
    assert normality(got.theoretical).r2 == pytest.approx(1)
    for few in ([1.0, 2], [2.5, 2.5, 2.5]):
        with pytest.raises(ValueError, match=r"say nothing of a distribution; give at least 3 that differ"):
            normality(np.array(few))


@pytest.mark.parametrize("draw, r2, normal", [
    (lambda rng: rng.normal(size=6000), 0.999, True),
    (lambda rng: rng.gamma(4, size=2000), 0.945, False),
    (lambda rng: rng.exponential(size=2000), 0.82, False),
    (lambda rng: np.concatenate([rng.normal(-2, size=1000), rng.normal(2, size=1000)]), 0.946, False),
], ids=["normal", "gamma of shape 4", "exponential", "bimodal"])  # fmt: skip
def test_shapiros_w_is_nearly_r2_and_only_p_is_a_test(draw, r2, normal, recwarn):
    """W is high for what is clearly not normal, but so is the squared correlation: they are nearly the same number."""
    got = normality(draw(np.random.default_rng(1)))
    assert got.r2 == pytest.approx(r2, abs=0.02) and got.w == pytest.approx(got.r2, abs=0.003)
    assert got.p > 0.01 if normal else got.p < 1e-20
    assert not recwarn.list  # also of more values than p is exact for


# --- Specificity ----------------------------------------------------------------------------------------------------


def removals(drops, pictures=60, noise=0.0, spread=1.0, seed=0):
    """A_s of whole pictures of the wanted spread, and without each concept lower by `drops` (removed, measured)."""
    rng, drops = np.random.default_rng(seed), np.asarray(drops, dtype=float)
    unmasked = rng.normal(size=(pictures, len(drops)))
    unmasked = 5 + spread * (unmasked - unmasked.mean(axis=0)) / unmasked.std(axis=0)
    return unmasked, unmasked - drops[:, None] - noise * rng.normal(size=(len(drops), pictures, len(drops)))


DROPS = np.array([[3.0, 1, 0], [0, 0.5, 1], [-1, -2, -0.5]])  # on, off, and none that falls at all


def test_specificity_by_hand():
    np.testing.assert_allclose(concept_drops(*removals(DROPS)), DROPS, atol=1e-12)
    got = specificity([removals(DROPS)])
    assert got.diagonal.tolist() == [True, False, False]
    assert got.share == got.low == got.high == pytest.approx(1 / 3)  # every draw gives the same drops, but for its unit


def test_drops_are_in_deviations_so_that_the_scale_of_a_concept_does_not_matter():
    unmasked, removed = removals(DROPS, spread=np.array([2, 0.1, 1]))
    np.testing.assert_allclose(concept_drops(unmasked, removed), DROPS / [2, 0.1, 1], atol=1e-10)
    assert on_diagonal(concept_drops(unmasked, removed)).tolist() == [False, True, False]  # 1.5 < 10, and 5 > 1
    unmasked, removed = removals(DROPS, noise=0.3)
    scale = np.array([1, 50, 1e-3])
    np.testing.assert_allclose(concept_drops(unmasked * scale, removed * scale), concept_drops(unmasked, removed))


def test_a_weight_is_a_number_of_copies_and_draws_are_one_by_one():
    unmasked, removed = removals(DROPS, noise=1)
    weights = np.random.default_rng(1).integers(0, 4, (5, 60))
    got = concept_drops(unmasked, removed, weights)
    assert got.shape == (5, 3, 3)
    for own, draw in zip(got, weights):
        np.testing.assert_allclose(own, concept_drops(unmasked, removed, draw))
        copies = concept_drops(np.repeat(unmasked, draw, axis=0), np.repeat(removed, draw, axis=1))
        np.testing.assert_allclose(own, copies)


def test_a_single_concept_is_no_row_of_specificity():
    whole, without = removals(np.eye(3), 5)
    single = whole[:, :1], without[:1, :, :1]
    both, alone = specificity([removals(DROPS), single], draws=50), specificity([single], draws=50)
    assert len(both.diagonal) == len(DROPS) and both.share == specificity([removals(DROPS)]).share
    assert len(alone.diagonal) == 0 and np.isnan([alone.share, alone.low, alone.high]).all()


def test_specificity_counts_rows_of_all_classes_alike_and_bootstraps_pictures():
    """A perfect class of two concepts, and one of three in which two concepts are as good as each other."""
    unsure = [[1.0, 0.98, 0], [0, 1, 0], [0, 0, 1]]
    classes = [removals(np.eye(2), 30), removals(unsure, 80, noise=1)]
    got = specificity(classes, draws=300)
    assert len(got.diagonal) == 5
    assert got.diagonal[[0, 1, 3, 4]].all() and got.share == pytest.approx(got.diagonal.mean())
    assert (got.low, got.high) == pytest.approx((0.8, 1))  # one row now on the diagonal, now off it
    assert specificity(classes, draws=300)[1:] == got[1:]

    def slowly(weights):
        shares = []
        for draw in weights:
            rows = []
            for (unmasked, removed), own in zip(classes, (draw[:30], draw[30:])):
                pictures = np.repeat(np.arange(len(own)), own)
                drops = (unmasked - removed)[:, pictures].mean(axis=1) / unmasked[pictures].std(axis=0)
                rows += [drops[r].argmax() == r for r in range(len(drops))]
            shares.append(np.mean(rows))
        return np.array(shares)

    expected = bootstrap(slowly, np.repeat([0, 1], [30, 80]), draws=300)
    assert (got.low, got.high) == pytest.approx(expected)


def test_rows_that_tie_or_rise_are_not_on_the_diagonal_and_an_activation_that_never_changes_is_named():
    assert on_diagonal(np.array([[1.0, 1], [0, 1]])).tolist() == [False, True]
    assert on_diagonal(np.array([[-1.0, -2], [-3, 0]])).tolist() == [False, False]
    assert on_diagonal(np.full((2, 3, 3), np.nan)).tolist() == [[False] * 3] * 2
    whole, without = removals(np.eye(3), 5)
    with pytest.raises(ValueError, match=r"concepts \[1\] is the same in all pictures; give pictures that differ"):
        concept_drops(whole * [1, 0, 1], without)
