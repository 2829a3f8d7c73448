"""Row-centred PCA against loops, scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from helpers import alike, cases
from sklearn.decomposition import PCA

from asxai.traits.pca import row_centred_pca

SHAPES = [(5, 12), (12, 12), (40, 9), (2, 3), (3, 2)]  # either side can be the smaller one
any_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
either_way = pytest.mark.parametrize("centred", [False, True])


def textbook(features, k, centred):
    """Equations 7 to 9 entry by entry: components, ratios and the weights U."""
    pictures, channels = features.shape
    hat = [[features[i, j] - sum(features[i]) / channels for j in range(channels)] for i in range(pictures)]
    product = lambda a, b: sum(hat[a][j] * hat[b][j] for j in range(channels)) / (channels - 1)
    covariance = [[product(a, b) for b in range(pictures)] for a in range(pictures)]
    values, vectors = np.linalg.eigh(covariance)
    weights = [u if sum(u) >= 0 else -u for u in vectors[:, ::-1][:, :k].T]
    rows = np.array(hat) if centred else features
    components = [[sum(u[i] * rows[i, j] for i in range(pictures)) for j in range(channels)] for u in weights]
    return np.array(components), values[::-1][:k] / np.trace(covariance), np.array(weights)


def assert_same(got, expected, tolerance=1e-9):
    assert got.pictures == expected.pictures
    for field in ("components", "explained_variance_ratio", "trait"):
        ours, theirs = getattr(got, field), getattr(expected, field)
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max(), err_msg=field)


@any_shape
@either_way
def test_components_against_the_textbook(shape, centred):
    features, k = alike(*shape), min(shape[0], shape[1] - 1, 4)
    got = row_centred_pca(features, k, centred)
    components, ratio, weights = textbook(features, k, centred)
    np.testing.assert_allclose(got.components, components, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got.explained_variance_ratio, ratio, rtol=0, atol=1e-12)
    assert got.pictures == shape[0] and (weights[0] > 0).all()  # the first weighs every picture above 0
    # U is the same for negative features, so that components follow them
    np.testing.assert_allclose(row_centred_pca(-features, k, centred).components, -components, atol=1e-9)


@any_shape
def test_components_against_scikit_learn_on_the_transposed_matrix(shape):
    features, k = alike(*shape, seed=1), min(shape[0], shape[1] - 1)
    got, pca = row_centred_pca(features, k, centred=True), PCA(k, svd_solver="full").fit(features.T)
    expected = pca.transform(features.T).T * np.where(pca.components_.sum(axis=1) >= 0, 1, -1)[:, None]
    np.testing.assert_allclose(got.components, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(got.explained_variance_ratio, pca.explained_variance_ratio_, rtol=0, atol=1e-10)
    assert got.explained_variance_ratio.sum() == pytest.approx(1) and got.explained_variance_ratio[0] > 0.5
    plain = row_centred_pca(features, k).components - got.components  # one number for all channels
    np.testing.assert_allclose(plain, np.repeat(plain[:, :1], shape[1], axis=1), atol=1e-8)


@pytest.mark.parametrize("shape", [(6, 10, 3, 4), (30, 8, 2, 2)], ids=str)
@either_way
def test_every_position_is_decomposed_by_itself(shape, centred):
    features = alike(*shape)
    got = row_centred_pca(features, 3, centred)
    assert got.components.shape == (3, *shape[1:]) and got.trait.shape == shape[1:]
    assert got.explained_variance_ratio.shape == (3, *shape[2:])
    for row, column in np.ndindex(*shape[2:]):
        components, ratio, _ = textbook(features[:, :, row, column], 3, centred)
        np.testing.assert_allclose(got.components[:, :, row, column], components, rtol=0, atol=1e-8)
        np.testing.assert_allclose(got.explained_variance_ratio[:, row, column], ratio, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pictures", [2, 4, 400])
def test_the_trait_of_equal_pictures_is_the_picture(pictures):
    picture = alike(1, 20)[0]
    got = row_centred_pca(np.tile(picture, (pictures, 1)), 2)
    np.testing.assert_allclose(got.trait, picture)
    np.testing.assert_allclose(got.explained_variance_ratio, [1, 0], atol=1e-12)
    assert (got.components[1] == 0).all()  # beyond the rank


def test_the_trait_is_close_to_the_mean_whatever_the_number_of_pictures():
    features = alike(600, 50)
    for pictures in (20, 60, 600):
        trait = row_centred_pca(features[:pictures]).trait
        assert np.corrcoef(trait, features[:pictures].mean(axis=0))[0, 1] > 0.99
        assert np.linalg.norm(trait) == pytest.approx(np.linalg.norm(features.mean(axis=0)), rel=0.1)


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
    features, k = alike(*shape), min(shape[0], shape[1] - 1)
    expected = row_centred_pca(features, k, centred)
    assert_same(row_centred_pca(features[::-1].copy(), k, centred), expected)
    scaled = row_centred_pca(1e-3 * features, k, centred)
    np.testing.assert_allclose(1e3 * scaled.components, expected.components, atol=1e-8)
    np.testing.assert_allclose(scaled.explained_variance_ratio, expected.explained_variance_ratio, atol=1e-12)
    order = np.random.default_rng(0).permutation(shape[1])
    np.testing.assert_allclose(row_centred_pca(features[:, order], k, centred).components,
                               expected.components[:, order], atol=1e-8)  # fmt: skip


def test_rows_are_centred_each_by_itself():
    features = alike(6, 15)
    moved = features + np.arange(6)[:, None]
    assert_same(row_centred_pca(moved, 3, True), row_centred_pca(features, 3, True))
    assert not np.allclose(row_centred_pca(moved, 3).components, row_centred_pca(features, 3).components)


def test_still_channels_do_no_harm_and_weak_components_beside_large_means_lose_no_digits():
    features = alike(6, 15)
    features[:, 4:] = 0
    np.testing.assert_allclose(row_centred_pca(features, 3).components, textbook(features, 3, False)[0], atol=1e-9)
    features = 1000 + alike(30, 40) + 1e-3 * np.random.default_rng(2).normal(size=(30, 40))
    got = row_centred_pca(features, 20)
    assert got.explained_variance_ratio[-1] < 2e-3
    np.testing.assert_allclose(got.components, textbook(features, 20, False)[0], rtol=0, atol=1e-6)


def test_any_precision_is_computed_in_float64_and_neither_arguments_nor_threads_are_changed():
    features, threads = alike(5, 12), torch.get_num_threads()
    half, copy = torch.from_numpy(features).half(), features.copy()
    assert_same(row_centred_pca(half.clone().requires_grad_(), 2), row_centred_pca(half.double().numpy(), 2))
    row_centred_pca(features, 2)
    np.testing.assert_array_equal(features, copy)
    assert torch.get_num_threads() == threads


def border():
    maps = alike(4, 6, 2, 2)
    maps[:, :, 0, 1] = 3
    return maps


@cases(
    "features, k, message",
    (alike(1, 6), 1, "features are of 1 pictures; give at least 2"),
    (alike(4, 6), 5, "k=5 must be from 1 to 4"),
    (alike(4, 3), 3, "k=3 must be from 1 to 2"),
    (alike(4, 6), 0, "k=0 must be"),
    (np.zeros((4, 6)), 1, "all pictures are the same in every channel"),
    (border(), 1, "all pictures are the same in every channel somewhere; use another layer"),
)
def test_what_cannot_be_decomposed_is_named(features, k, message):
    with pytest.raises(ValueError, match=message):
        row_centred_pca(features, k)
