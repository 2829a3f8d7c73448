"""Row-centred PCA, semantic vectors, q-q plots and specificity: against loops, scikit-learn, SciPy and by hand."""

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA

from asxai.statistics import bootstrap
from asxai.traits.pca import Components, StreamingRowCentredPCA, row_centred_pca
from asxai.traits.vectors import (  # fmt: skip
    SemanticVector,
    concept_drops,
    normality,
    on_diagonal,
    semantic_vector,
    specificity,
    weighted_activation,
)

SHAPES = [(5, 12), (12, 12), (40, 9), (2, 3), (3, 2)]  # either side can be the cheaper one
any_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
either_way = pytest.mark.parametrize("centred", [False, True])


def some_features(*shape, seed=0):
    """Pictures alike, as features are: a common pattern, and noise."""
    rng = np.random.default_rng(seed)
    return rng.gamma(2, size=(1, *shape[1:])) + 0.4 * rng.gamma(2, size=shape)


def textbook(features, k, centred):
    """Equations 7 to 9 entry by entry: components, eigenvalues, ratios and the weights U."""
    pictures, channels = features.shape
    hat = [[features[i, j] - sum(features[i]) / channels for j in range(channels)] for i in range(pictures)]
    covariance = [[sum(hat[a][j] * hat[b][j] for j in range(channels)) / (channels - 1) for b in range(pictures)]
                  for a in range(pictures)]  # fmt: skip
    values, vectors = np.linalg.eigh(covariance)
    components, weights = [], []
    for c in range(k):
        u = vectors[:, -1 - c]
        u = u if sum(u) >= 0 else -u
        rows = hat if centred else features
        components.append([sum(u[i] * rows[i][j] for i in range(pictures)) for j in range(channels)])
        weights.append(u)
    eigenvalues = values[::-1][:k]
    return np.array(components), eigenvalues, eigenvalues / np.trace(covariance), np.array(weights)


def assert_same(got, expected, tolerance=1e-9):
    assert got.pictures == expected.pictures
    for field in ("components", "eigenvalues", "explained_variance_ratio", "trait"):
        ours, theirs = getattr(got, field), getattr(expected, field)
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max(), err_msg=field)


# --- Row-centred PCA ------------------------------------------------------------------------------------------------


@any_shape
@either_way
def test_components_against_the_textbook(shape, centred):
    features, k = some_features(*shape), min(shape[0], shape[1] - 1, 4)
    got = row_centred_pca(features, k, centred)
    components, eigenvalues, ratio, weights = textbook(features, k, centred)
    np.testing.assert_allclose(got.components, components, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got.eigenvalues, eigenvalues, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.explained_variance_ratio, ratio, rtol=0, atol=1e-12)
    assert (weights.sum(axis=1) >= 0).all() and got.pictures == shape[0]


@any_shape
def test_components_against_scikit_learn_on_the_transposed_matrix(shape):
    features, k = some_features(*shape, seed=1), min(shape[0], shape[1] - 1)
    got = row_centred_pca(features, k, centred=True)
    pca = PCA(k, svd_solver="full").fit(features.T)
    expected = pca.transform(features.T).T * np.where(pca.components_.sum(axis=1) >= 0, 1, -1)[:, None]
    np.testing.assert_allclose(got.components, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(got.eigenvalues, pca.explained_variance_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(got.explained_variance_ratio, pca.explained_variance_ratio_, rtol=0, atol=1e-10)
    plain = row_centred_pca(features, k).components - got.components  # one number for all channels
    np.testing.assert_allclose(plain, np.repeat(plain[:, :1], shape[1], axis=1), atol=1e-8)


@pytest.mark.parametrize("shape", [(6, 10, 3, 4), (30, 8, 2, 2)], ids=str)
@either_way
def test_every_position_is_decomposed_by_itself(shape, centred):
    features = some_features(*shape)
    got = row_centred_pca(features, 3, centred)
    assert got.components.shape == (3, *shape[1:]) and got.trait.shape == shape[1:]
    assert got.eigenvalues.shape == got.explained_variance_ratio.shape == (3, *shape[2:])
    for row, column in np.ndindex(*shape[2:]):
        components, eigenvalues, ratio, _ = textbook(features[:, :, row, column], 3, centred)
        np.testing.assert_allclose(got.components[:, :, row, column], components, rtol=0, atol=1e-8)
        np.testing.assert_allclose(got.eigenvalues[:, row, column], eigenvalues, rtol=0, atol=1e-12)
        np.testing.assert_allclose(got.explained_variance_ratio[:, row, column], ratio, rtol=0, atol=1e-12)


@any_shape
def test_eigenvalues_are_the_variance_of_components_and_ratios_sum_to_one(shape):
    got = row_centred_pca(some_features(*shape), min(shape[0], shape[1] - 1), centred=True)
    np.testing.assert_allclose(got.eigenvalues, got.components.var(axis=1, ddof=1), atol=1e-10)
    assert got.explained_variance_ratio.sum() == pytest.approx(1)
    assert (np.diff(got.explained_variance_ratio) <= 0).all() and got.explained_variance_ratio[0] > 0.5


@pytest.mark.parametrize("pictures", [2, 4, 400])
def test_the_trait_of_equal_pictures_is_the_picture(pictures):
    picture = some_features(1, 20)[0]
    got = row_centred_pca(np.tile(picture, (pictures, 1)), 2)
    np.testing.assert_allclose(got.trait, picture)
    np.testing.assert_allclose(got.explained_variance_ratio, [1, 0], atol=1e-12)
    assert (got.components[1] == 0).all() and got.eigenvalues[1] == 0  # beyond the rank


def test_the_trait_is_close_to_the_mean_whatever_the_number_of_pictures():
    features = some_features(600, 50)
    for pictures in (20, 60, 600):
        trait = row_centred_pca(features[:pictures]).trait
        assert np.corrcoef(trait, features[:pictures].mean(axis=0))[0, 1] > 0.99
        assert np.linalg.norm(trait) == pytest.approx(np.linalg.norm(features.mean(axis=0)), rel=0.1)


@any_shape
def test_signs(shape):
    """U is the same for negative features, so that components follow them; the first weighs every picture above 0."""
    features, k = some_features(*shape), min(shape[0], shape[1] - 1)
    np.testing.assert_allclose(row_centred_pca(-features, k).components, -row_centred_pca(features, k).components,
                               atol=1e-9)  # fmt: skip
    assert (textbook(features, 1, True)[3] > 0).all()


@pytest.mark.parametrize("copies", [1, 9])  # 9: more pictures than channels
def test_where_weights_sum_to_zero_the_largest_entry_is_positive(copies):
    """Of a and -a: U = (1, -1) / sqrt 2. Of equal entries the first counts."""
    for pattern, sign in (([3.0, 1, -4], -1), ([1.0, -4, 3], -1), ([2.0, 0, -2], 1), ([-2.0, 0, 2], -1)):
        pattern = np.array(pattern)
        for rows in (np.stack([pattern, -pattern]), np.stack([-pattern, pattern])):
            got = row_centred_pca(np.tile(rows, (copies, 1)), centred=True).components[0]
            np.testing.assert_allclose(got, sign * pattern * np.sqrt(2 * copies), atol=1e-12)


@any_shape
@either_way
def test_neither_order_nor_scale_of_pictures_matters(shape, centred):
    features, k = some_features(*shape), min(shape[0], shape[1] - 1)
    expected = row_centred_pca(features, k, centred)
    assert_same(row_centred_pca(features[::-1].copy(), k, centred), expected)
    scaled = row_centred_pca(1e-3 * features, k, centred)
    np.testing.assert_allclose(1e3 * scaled.components, expected.components, atol=1e-8)
    np.testing.assert_allclose(scaled.explained_variance_ratio, expected.explained_variance_ratio, atol=1e-12)
    order = np.random.default_rng(0).permutation(shape[1])
    np.testing.assert_allclose(row_centred_pca(features[:, order], k, centred).components,
                               expected.components[:, order], atol=1e-8)  # fmt: skip


def test_rows_are_centred_each_by_itself():
    features = some_features(6, 15)
    moved = features + np.arange(6)[:, None]
    assert_same(row_centred_pca(moved, 3, True), row_centred_pca(features, 3, True))
    assert not np.allclose(row_centred_pca(moved, 3).components, row_centred_pca(features, 3).components)


def test_channels_that_never_change_do_no_harm():
    features = some_features(6, 15)
    features[:, 4:] = 0
    components, *_ = textbook(features, 3, False)
    np.testing.assert_allclose(row_centred_pca(features, 3).components, components, atol=1e-9)


def test_tensors_of_any_precision_are_computed_in_float64():
    features = torch.from_numpy(some_features(5, 12)).half()
    assert_same(row_centred_pca(features.requires_grad_(), 2), row_centred_pca(features.detach().double().numpy(), 2))


def test_neither_arguments_nor_threads_are_changed():
    features, threads = some_features(5, 12), torch.get_num_threads()
    copy = features.copy()
    row_centred_pca(features, 2)
    StreamingRowCentredPCA(12).update(features)
    np.testing.assert_array_equal(features, copy)
    assert torch.get_num_threads() == threads


# --- Streaming ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(50, 12), (7, 30), (400, 64), (9, 6, 2, 3), (5, 8, 2, 2)], ids=str)
@pytest.mark.parametrize("sizes", [[1], [3, 1, 7], [1000]], ids=str)
@either_way
def test_streaming_is_the_same_as_in_memory(shape, sizes, centred):
    features, k = some_features(*shape), min(4, shape[0], shape[1] - 1)
    stream, start, batch = StreamingRowCentredPCA(shape[1], shape[2:] or None), 0, 0
    while start < shape[0]:
        stop = start + sizes[batch % len(sizes)]
        assert stream.update(torch.from_numpy(features[start:stop])) is stream
        start, batch = stop, batch + 1
    assert_same(stream.finish(k, centred), row_centred_pca(features, k, centred), 1e-10)


def test_streaming_loses_no_digits_of_weak_components_and_large_means():
    """Components of a millionth of the variance, on features whose mean is a thousand times their spread."""
    features = 1000 + some_features(30, 40) + 1e-3 * np.random.default_rng(2).normal(size=(30, 40))
    stream = StreamingRowCentredPCA(40)
    for batch in np.array_split(features, 7):
        stream.update(batch)
    got, expected = stream.finish(20), textbook(features, 20, False)
    assert got.explained_variance_ratio[-1] < 2e-3
    np.testing.assert_allclose(got.components, expected[0], rtol=0, atol=1e-6)


def test_pictures_may_come_after_the_end():
    features = some_features(20, 6)
    stream = StreamingRowCentredPCA(6).update(features[:8])
    assert_same(stream.finish(2), row_centred_pca(features[:8], 2))
    assert_same(stream.update(features[8:]).finish(2), row_centred_pca(features, 2))
    assert stream.pictures == 20


# --- Semantic vectors -----------------------------------------------------------------------------------------------


def test_semantic_vector_by_hand():
    """All pictures of a set alike, so that traits are known; the sets differ in size, and in channels 1, 4 and 6."""
    kept = np.array([1.0, 9, 3, 1, 2, 3, 3, 2])
    removed = np.array([1.0, 3, 3, 1, 7, 3, 2, 2])
    got = semantic_vector(np.tile(kept, (4, 1)), np.tile(removed, (7, 1)), top=2)
    np.testing.assert_allclose(got.kept, kept)
    np.testing.assert_allclose(got.removed, removed)
    np.testing.assert_allclose(got.difference, [0, 6, 0, 0, -5, 0, 1, 0], atol=1e-12)
    assert got.channels.tolist() == [1, 4]
    np.testing.assert_allclose(got.weights, [6, -5])
    np.testing.assert_allclose(got.row, [0, 3, 0, 0, -2.5, 0, 0, 0])
    np.testing.assert_allclose(got.explained_variance_ratio, [1, 1])


def test_semantic_vector_of_maps_of_components_and_of_the_textbook():
    kept, removed = some_features(30, 8, 3, 3), some_features(20, 8, 3, 3, seed=1)
    got = semantic_vector(kept, removed)
    pooled = [values.mean(axis=(2, 3)) for values in (kept, removed)]
    traits = [textbook(values, 1, False)[0][0] / np.sqrt(len(values)) for values in pooled]
    np.testing.assert_allclose(got.difference, traits[0] - traits[1], atol=1e-9)
    assert len(got.channels) == 5
    streams = [StreamingRowCentredPCA(8).update(values).finish(2) for values in pooled]
    for other in (semantic_vector(*pooled), semantic_vector(*streams)):
        np.testing.assert_array_equal(other.channels, got.channels)
        np.testing.assert_allclose(other.weights, got.weights, atol=1e-9)
    centred = semantic_vector(*pooled, centred=True)
    np.testing.assert_allclose(np.ptp(got.difference - centred.difference), 0, atol=1e-9)
    largest = semantic_vector(*[values.max(axis=(2, 3)) for values in (kept, removed)])
    np.testing.assert_allclose(semantic_vector(kept, removed, pool="max").difference, largest.difference, atol=1e-12)


def test_pictures_counted_twice_change_no_vector():
    kept, removed = some_features(30, 8), some_features(20, 8, seed=1)
    once, twice = semantic_vector(kept, removed), semantic_vector(np.tile(kept, (2, 1)), removed)
    np.testing.assert_allclose(once.difference, twice.difference, atol=1e-9)


@pytest.mark.parametrize("pool, pooled", [("mean", np.mean), ("max", np.max)])
@pytest.mark.parametrize("top", [1, 5, 8])
def test_weighted_activation_against_a_loop(top, pool, pooled):
    features = some_features(6, 8, 2, 3)
    vectors = [semantic_vector(some_features(9, 8, seed=s), some_features(9, 8, seed=s + 9), top) for s in range(3)]
    got = weighted_activation(torch.from_numpy(features), vectors, pool)
    assert got.shape == (6, 3)
    for picture, concept in np.ndindex(6, 3):
        own = vectors[concept]
        expected = sum(w * pooled(features[picture, channel]) for channel, w in zip(own.channels, own.weights))
        assert got[picture, concept] == pytest.approx(expected / top)
    np.testing.assert_allclose(weighted_activation(pooled(features, axis=(2, 3)), vectors), got)
    np.testing.assert_allclose(weighted_activation(features, np.stack([own.row for own in vectors]), pool), got)
    np.testing.assert_allclose(weighted_activation(features, vectors[1], pool), got[:, 1])
    np.testing.assert_allclose(weighted_activation(features, vectors[1].row, pool), got[:, 1])


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


@pytest.mark.parametrize("draw, r2, normal", [
    (lambda rng: rng.normal(size=2000), 0.999, True),
    (lambda rng: rng.gamma(4, size=2000), 0.945, False),
    (lambda rng: rng.exponential(size=2000), 0.82, False),
    (lambda rng: np.concatenate([rng.normal(-2, size=1000), rng.normal(2, size=1000)]), 0.946, False),
], ids=["normal", "gamma of shape 4", "exponential", "bimodal"])  # fmt: skip
def test_shapiros_w_is_nearly_r2_and_only_p_is_a_test(draw, r2, normal):
    """W is high for what is clearly not normal, but so is the squared correlation: they are nearly the same number."""
    got = normality(draw(np.random.default_rng(1)))
    assert got.r2 == pytest.approx(r2, abs=0.02) and got.w == pytest.approx(got.r2, abs=0.003)
    assert got.p > 0.01 if normal else got.p < 1e-20


def test_many_values_give_no_warning(recwarn):
    assert normality(np.random.default_rng(0).normal(size=6000)).r2 > 0.99
    assert not recwarn.list


# --- Specificity ----------------------------------------------------------------------------------------------------


def removals(drops, pictures=60, noise=0.0, spread=1.0, seed=0):
    """A_s of whole pictures of the wanted spread, and without each concept lower by `drops` (removed, measured)."""
    rng, drops = np.random.default_rng(seed), np.asarray(drops, dtype=float)
    unmasked = rng.normal(size=(pictures, len(drops)))
    unmasked = 5 + spread * (unmasked - unmasked.mean(axis=0)) / unmasked.std(axis=0)
    return unmasked, unmasked - drops[:, None] - noise * rng.normal(size=(len(drops), pictures, len(drops)))


DROPS = np.array([[3.0, 1, 0], [0, 0.5, 1], [-1, -2, -0.5]])  # on, off, and none that falls at all


def test_specificity_by_hand():
    got = specificity([removals(DROPS)])
    np.testing.assert_allclose(got.drops[0], DROPS, atol=1e-12)
    assert got.diagonal.tolist() == [True, False, False]
    assert got.share == got.low == got.high == pytest.approx(1 / 3)  # every draw gives the same drops, but for its unit


def test_units_by_hand():
    unmasked, removed = removals(DROPS, spread=np.array([2, 0.1, 1]))
    for unit, scale in (("deviation", [2, 0.1, 1]), ("mean", [5, 5, 5]), ("none", [1, 1, 1]),
                        ("response", np.sqrt((DROPS**2).mean(axis=0)))):  # fmt: skip
        np.testing.assert_allclose(concept_drops(unmasked, removed, unit), DROPS / scale, atol=1e-10)
    assert on_diagonal(concept_drops(unmasked, removed)).tolist() == [False, True, False]  # 1.5 < 10, and 5 > 1


@pytest.mark.parametrize("unit", ["deviation", "mean", "response"])
def test_the_scale_of_a_concept_does_not_matter(unit):
    unmasked, removed = removals(DROPS, noise=0.3)
    scale = np.array([1, 50, 1e-3])
    np.testing.assert_allclose(concept_drops(unmasked * scale, removed * scale, unit),
                               concept_drops(unmasked, removed, unit))  # fmt: skip


@pytest.mark.parametrize("unit", ["deviation", "mean", "response", "none"])
def test_a_weight_is_a_number_of_copies_and_draws_are_one_by_one(unit):
    unmasked, removed = removals(DROPS, noise=1)
    weights = np.random.default_rng(1).integers(0, 4, (5, 60))
    got = concept_drops(unmasked, removed, unit, weights)
    assert got.shape == (5, 3, 3)
    for own, draw in zip(got, weights):
        np.testing.assert_allclose(own, concept_drops(unmasked, removed, unit, draw))
        copies = concept_drops(np.repeat(unmasked, draw, axis=0), np.repeat(removed, draw, axis=1), unit)
        np.testing.assert_allclose(own, copies)


def test_a_single_concept_is_no_row_of_specificity():
    single = WHOLE[:, :1], WITHOUT[:1, :, :1]
    both, alone = specificity([removals(DROPS), single], draws=50), specificity([single], draws=50)
    assert [own.shape for own in both.drops] == [(len(DROPS),) * 2, (1, 1)] and len(both.diagonal) == len(DROPS)
    assert both.share == specificity([removals(DROPS)]).share
    assert len(alone.diagonal) == 0 and np.isnan([alone.share, alone.low, alone.high]).all()


def test_specificity_counts_rows_of_all_classes_alike_and_bootstraps_pictures():
    """A perfect class of two concepts, and one of three in which two concepts are as good as each other."""
    unsure = [[1.0, 0.98, 0], [0, 1, 0], [0, 0, 1]]
    classes = [removals(np.eye(2), 30), removals(unsure, 80, noise=1)]
    got = specificity(classes, draws=300)
    assert len(got.diagonal) == 5 and [len(own) for own in got.drops] == [2, 3]
    assert got.diagonal[[0, 1, 3, 4]].all() and got.share == pytest.approx(got.diagonal.mean())
    assert (got.low, got.high) == pytest.approx((0.8, 1))  # one row now on the diagonal, now off it
    assert specificity(classes, draws=300)[2:] == got[2:]

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


def test_rows_that_tie_or_rise_are_not_on_the_diagonal():
    assert on_diagonal(np.array([[1.0, 1], [0, 1]])).tolist() == [False, True]
    assert on_diagonal(np.array([[-1.0, -2], [-3, 0]])).tolist() == [False, False]
    assert on_diagonal(np.full((2, 3, 3), np.nan)).tolist() == [[False] * 3] * 2


# --- Complaints -----------------------------------------------------------------------------------------------------

FEATURES, MAPS = some_features(4, 6), some_features(4, 6, 2, 2)
DEAD, BORDER, NAN = FEATURES.copy(), MAPS.copy(), FEATURES.copy()
DEAD[2], BORDER[:, :, 0, 1], NAN[1, 1] = 0.1, 3, np.nan
WHOLE, WITHOUT = removals(np.eye(3), 5)


@pytest.mark.parametrize("call, message", [
    (lambda: row_centred_pca(FEATURES[:0]), r"features \(0, 6\) must be of some pictures.*leave out concepts"),
    (lambda: row_centred_pca(FEATURES[:1]), r"features are of 1 pictures; give at least 2"),
    (lambda: row_centred_pca(FEATURES[0]), r"features \(6,\) must be \(picture, channel\)"),
    (lambda: row_centred_pca(MAPS[0]), r"features \(6, 2, 2\) must be"),
    (lambda: row_centred_pca(FEATURES[:, :1]), r"features \(4, 1\) must be .* at least 2 channels"),
    (lambda: row_centred_pca(FEATURES, 5), r"k=5 must be from 1 to 4"),
    (lambda: row_centred_pca(FEATURES[:, :3], 3), r"k=3 must be from 1 to 2"),
    (lambda: row_centred_pca(FEATURES, 0), r"k=0 must be"),
    (lambda: row_centred_pca(NAN), r"features hold NaN or infinite values"),
    (lambda: row_centred_pca(np.where(np.isnan(NAN), np.inf, NAN)), r"features hold NaN or infinite values"),
    (lambda: row_centred_pca(DEAD), r"features of picture 2 \(1 in all\) are the same in every channel"),
    (lambda: row_centred_pca(0 * FEATURES), r"picture 0 \(4 in all\)"),
    (lambda: row_centred_pca(BORDER), r"all pictures are the same in every channel at 1 of 4 positions.* number 1;"),
    (lambda: StreamingRowCentredPCA(1), r"channels=1, positions=None: give at least 2 channels"),
    (lambda: StreamingRowCentredPCA(6, (0, 2)), r"positions=\(0, 2\)"),
    (lambda: StreamingRowCentredPCA(6).finish(), r"features are of 0 pictures"),
    (lambda: StreamingRowCentredPCA(6).update(FEATURES[:1]).finish(), r"features are of 1 pictures"),
    (lambda: StreamingRowCentredPCA(5).update(FEATURES), r"features \(4, 6\) have 6 channels, not the 5"),
    (lambda: StreamingRowCentredPCA(6).update(MAPS), r"features \(4, 6, 2, 2\) must be"),
    (lambda: StreamingRowCentredPCA(6, (3, 2)).update(MAPS), r"features \(4, 6, 2, 2\) must be .* \(3, 2\)"),
    (lambda: StreamingRowCentredPCA(6).update(FEATURES).update(DEAD), r"features of picture 6 \(1 in all\)"),
    (lambda: StreamingRowCentredPCA(6).update(NAN), r"features hold NaN"),
    (lambda: semantic_vector(FEATURES, FEATURES[:0]), r"removed are of no pictures.*leave out concepts"),
    (lambda: semantic_vector(FEATURES[:1], FEATURES), r"features are of 1 pictures"),
    (lambda: semantic_vector(FEATURES, FEATURES + np.zeros((4, 6))), r"the same trait; give pictures"),
    (lambda: semantic_vector(FEATURES, 2 * FEATURES, 7), r"top=7 must be from 1 to 6"),
    (lambda: semantic_vector(FEATURES, 2 * FEATURES, 0), r"top=0 must be from 1 to 6"),
    (lambda: semantic_vector(FEATURES, FEATURES[:, :5]), r"traits of kept \(6,\) and removed \(5,\)"),
    (lambda: semantic_vector(row_centred_pca(MAPS), row_centred_pca(MAPS)), r"traits of kept \(6, 2, 2\)"),
    (lambda: semantic_vector(FEATURES[0], FEATURES), r"kept \(6,\) must be"),
    (lambda: weighted_activation(FEATURES, np.ones((2, 5))), r"vectors \(2, 5\) must be of the 6 channels"),
    (lambda: weighted_activation(NAN, np.ones(6)), r"features hold NaN"),
    (lambda: weighted_activation(MAPS, np.ones(6), "median"), r"pool='median' is unknown; use one of mean, max"),
    (lambda: weighted_activation(FEATURES[0], np.ones(6)), r"features \(6,\) must be"),
    (lambda: normality([1.0, 2]), r"values \(2,\) must be numbers \(count,\), at least 3"),
    (lambda: normality(FEATURES), r"values \(4, 6\) must be"),
    (lambda: normality([2.5, 2.5, 2.5]), r"values are all 2.5"),
    (lambda: normality([1, 2, np.nan, 4]), r"values hold NaN"),
    (lambda: concept_drops(WHOLE[:, :2], WITHOUT), r"unmasked \(5, 2\) and removed \(3, 5, 3\) must be"),
    (lambda: concept_drops(WHOLE[:1], WITHOUT[:, :1]), r"at least 2 pictures and a concept"),
    (lambda: concept_drops(WHOLE[:, :0], WITHOUT[:0, :, :0]), r"at least 2 pictures and a concept"),
    (lambda: concept_drops(WHOLE * np.inf, WITHOUT), r"unmasked hold NaN or infinite"),
    (lambda: concept_drops(WHOLE, WITHOUT * np.nan), r"removed hold NaN or infinite"),
    (lambda: concept_drops(WHOLE * [1, 0, 1], WITHOUT), r"A_s of concepts \[1\] is the same in all pictures"),
    (lambda: concept_drops(WHOLE, WITHOUT, "sigma"), r"unit='sigma' is unknown; use one of deviation, mean, resp"),
    (lambda: concept_drops(WHOLE, WITHOUT, weights=np.ones(4)), r"weights \(4,\) must say how often each of 5"),
    (lambda: specificity([]), r"classes are none"),
    (lambda: specificity([(WHOLE, WITHOUT)], draws=0), r"draws=0"),
])  # fmt: skip
def test_complaints_name_argument_value_and_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_are_what_the_docstrings_say():
    common, vector = row_centred_pca(FEATURES, 2), semantic_vector(FEATURES, 2 * FEATURES[:3])
    assert isinstance(common, Components) and isinstance(vector, SemanticVector)
    assert vector.channels.dtype == np.int64 and vector.channels.shape == vector.weights.shape == (5,)
    assert vector.kept.shape == vector.removed.shape == vector.difference.shape == vector.row.shape == (6,)
    with pytest.raises(AttributeError):
        vector.weights = None
