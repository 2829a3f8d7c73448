"""Parts that were planted in features are found again, and the mixtures are those of scikit-learn."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from asxai.model import parts
from asxai.model.parts import Objectness, PartGroups

GRID, CHANNELS, GROUPS = 12, 24, 3


def planted(seed=0, per_class=10):
    """Features `(picture, 24, 12, 12)` of 2 classes, labels, and the part of each patch, -1 outside the object.

    The object is a disc in the middle, cut into three sectors at a random angle. In between lies a rim. All
    patches of an object share the picture's random offset, and each varies along one direction, far more than parts
    differ.
    """
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(CHANNELS, CHANNELS)))[0]
    row, column = np.mgrid[:GRID, :GRID] - (GRID - 1) / 2
    labels = np.repeat([0, 1], per_class)
    truth = np.full((len(labels), GRID, GRID), -1)
    features = rng.normal(0, 0.15, (len(labels), GRID, GRID, CHANNELS))
    for i, label in enumerate(labels):
        radius = np.hypot(row - rng.uniform(-0.5, 0.5), column - rng.uniform(-0.5, 0.5))
        inside, turn = radius < 4, (np.arctan2(row, column) / (2 * np.pi) + rng.random()) % 1
        truth[i, inside] = (turn[inside] * GROUPS).astype(int)
        features[i] += 4 * np.where(inside, 1, np.where(radius < 5, 0, -1))[..., None] * directions[0]
        looks = directions[1 + label * GROUPS :][:GROUPS]
        features[i, inside] += looks[truth[i, inside]] + 0.4 * rng.normal(size=CHANNELS - 8) @ directions[8:]
        features[i, inside] += 1.2 * rng.normal(size=(inside.sum(), 1)) * directions[7]
    return torch.from_numpy(features).float().permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels), truth


def scores(groups, truth, labels):
    """Adjusted Rand index with the planted parts on the patches of the object, for each class."""
    inside = [(np.asarray(labels) == c)[:, None, None] & (truth >= 0) for c in range(2)]
    return [adjusted_rand_score(truth[mask], np.asarray(groups)[mask]) for mask in inside]


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def groups(data):
    return PartGroups(*data[:2], GROUPS, scenes=2)


# --- mixtures ---


@pytest.mark.parametrize("components, dimensions", [(4, 5), (6, 8)])
def test_a_mixture_is_that_of_scikit_learn_from_the_same_start(components, dimensions, monkeypatch):
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(8, 8)) * np.r_[3, np.full(7, 0.5)][:, None]
    patches = rng.normal(size=(300, 8)) @ spread + 2 * rng.normal(size=(4, 8))[np.arange(300) % 4] + 5
    mean = patches.mean(axis=0)
    right = np.linalg.svd(patches - mean, full_matrices=False)[2]
    z = (patches - mean) @ right[:dimensions].T
    z /= z[:, 0].std(ddof=1)
    start = KMeans(components, n_init=1, random_state=0).fit(z).cluster_centers_
    monkeypatch.setattr(parts, "_k_means", lambda *_, **__: torch.from_numpy(start))
    tensors = [torch.from_numpy(values) for values in (patches, mean, right)]
    weight, bias = parts._mixture(*tensors, components, dimensions, None, steps=30)
    posterior = (tensors[0] @ weight.double().T + bias.double()).softmax(dim=1).numpy()

    hard = np.eye(components)[((z[:, None] - start) ** 2).sum(axis=2).argmin(axis=1)]
    means = hard.T @ z / hard.sum(axis=0)[:, None]
    residual = z - hard @ means
    covariance = residual.T @ residual / len(z) + 1e-4 * np.eye(dimensions)
    begin = dict(weights_init=hard.mean(axis=0), means_init=means, precisions_init=np.linalg.inv(covariance))
    oracle = GaussianMixture(components, covariance_type="tied", tol=0, reg_covar=1e-4, max_iter=29, **begin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 30 steps, converged or not
        oracle.fit(z)
    np.testing.assert_allclose(posterior, oracle.predict_proba(z), atol=2e-4)  # our functions are kept in float32
    assert (posterior.max(axis=1) < 0.99).any()  # not just the same hard division


# --- objects ---


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_planted_objects_are_found_whatever_the_sign(data, sign, mirrored, monkeypatch):
    features, _, truth = data
    real = torch.linalg.eigh

    def eigh(matrix):  # a principal component has no sign: LAPACK may give either
        values, vectors = real(matrix)
        return values, sign * vectors

    monkeypatch.setattr(torch.linalg, "eigh", eigh)
    features = -features if mirrored else features
    objects = Objectness(features)(features)
    assert objects.dtype == torch.bool and objects.shape == truth.shape
    inside = objects.numpy()[truth >= 0].mean()
    outside = objects.numpy()[truth < 0].mean()
    assert inside > 0.95 > 0.05 > outside, (inside, outside)


def test_objectness_does_not_depend_on_scales_of_channels_batches_or_company(data):
    features = data[0]
    objects = Objectness(features)
    scales = torch.logspace(-2, 2, CHANNELS).view(-1, 1, 1)
    assert torch.equal(Objectness(features * scales + 3)(features * scales + 3), objects(features))
    assert torch.equal(objects(features[4:6]), objects(features)[4:6])
    dead = features.clone()
    dead[:, 4] = 7  # a channel that tells nothing
    assert torch.isfinite(Objectness(dead).score(Objectness(dead).unit(dead))).all()


def smeared(seed=0, count=30):
    """Features whose strongest direction shows the object and a rim of two patches around it; a weaker one ends where
    it does. With pictures, `(picture, 96, 96, 3)`, each with other colours of object and scene.
    """
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(CHANNELS, CHANNELS)))[0]
    row, column = np.mgrid[:GRID, :GRID]
    features = rng.normal(0, 0.2, (count, GRID, GRID, CHANNELS))
    inside = np.zeros((count, GRID, GRID), bool)
    pictures = np.zeros((count, 8 * GRID, 8 * GRID, 3), np.uint8)
    for i in range(count):
        radius = np.hypot(row - rng.uniform(4, 7), column - rng.uniform(4, 7))
        inside[i] = radius < 3
        features[i] += 4 * np.clip(1.5 - radius / 5, -1, 1)[..., None] * directions[0]
        features[i] += 0.8 * np.where(inside[i], 1, -1)[..., None] * directions[1]
        colour, scene = rng.uniform(20, 230, (2, 3))
        cells = np.where(inside[i][..., None], colour, scene).repeat(8, axis=0).repeat(8, axis=1)
        pictures[i] = np.clip(cells + rng.normal(0, 12, cells.shape), 0, 255)
    return torch.from_numpy(features).float().permute(0, 3, 1, 2).contiguous(), list(pictures), inside


def overlap(objects, inside):
    objects = objects.numpy()
    return (objects & inside).sum() / (objects | inside).sum()


def test_colours_take_the_rim_away_from_objects():
    features, pictures, inside = smeared()
    blurred, model = Objectness(features)(features), Objectness(features, pictures)
    assert overlap(blurred, inside) < 0.7 < 0.9 < overlap(model(features), inside)
    other, _, elsewhere = smeared(seed=1)  # the same network's features need no colours any more
    turned = torch.einsum("pchw,cd->pdhw", other, _turn(seed=1, to=0))
    assert overlap(model(turned), elsewhere) > 0.9


def _turn(seed, to):
    """Takes the directions drawn by one seed of `smeared` to those of another."""
    first, second = (np.linalg.qr(np.random.default_rng(s).normal(size=(CHANNELS, CHANNELS)))[0] for s in (seed, to))
    return torch.from_numpy(first.T @ second).float()


def test_colours_that_tell_nothing_change_nothing():
    features, pictures, _ = smeared(count=6)
    grey = [np.full_like(picture, 128) for picture in pictures]
    assert torch.equal(Objectness(features, grey)(features), Objectness(features)(features))


def test_a_discriminant_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 5)) @ rng.normal(size=(5, 5)), np.repeat([0, 1], [30, 60])
    x[y == 1] += 1
    covariance = sum((y == k).mean() * np.cov(x[y == k].T, bias=True) for k in (0, 1))
    shrunk = 0.9 * covariance + 0.1 * np.trace(covariance) / 5 * np.eye(5)
    expected = np.linalg.solve(shrunk, x[y == 1].mean(0) - x[y == 0].mean(0))
    patches, weights = torch.from_numpy(x)[None], torch.from_numpy((y == 1).astype(float))[None]
    weight, bias = parts._discriminant(patches, patches, weights, 1 - weights, ridge=0.1)
    np.testing.assert_allclose(weight[0], expected, rtol=1e-10)
    np.testing.assert_allclose(bias[0], -expected @ (x[y == 1].mean(0) + x[y == 0].mean(0)) / 2, rtol=1e-10)


def test_half_precision_features_give_nearly_the_same(data, groups):
    features, labels, _ = data
    half = PartGroups(features.half(), labels, GROUPS, scenes=2)
    assert (half.objects(features.half()) == groups.objects(features)).float().mean() > 0.995


# --- groups ---


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_planted_parts_are_found_where_k_means_cuts_along_the_nuisance(seed):
    features, labels, truth = planted(seed)
    groups = PartGroups(features, labels, GROUPS)
    assigned = groups.assign(features, labels)
    assert assigned.dtype == torch.uint8 and assigned.shape == truth.shape and assigned.max() == GROUPS
    assert min(scores(assigned, truth, labels)) > 0.9
    for label in range(2):  # k-means with the same help: told where objects are, and without the offsets
        members = labels == label
        inside = torch.from_numpy(truth[members.numpy()] >= 0)
        patches = parts._centred(groups.objects.unit(features[members]), inside).permute(0, 2, 3, 1)[inside]
        cut = KMeans(GROUPS, n_init=3, random_state=0).fit_predict(patches.numpy())
        assert adjusted_rand_score(truth[members.numpy()][inside.numpy()], cut) < 0.5


def test_what_a_pictures_patches_have_in_common_does_not_matter(data, groups, monkeypatch):
    features, labels, truth = data
    assert min(scores(groups.assign(features, labels), truth, labels)) > 0.9
    monkeypatch.setattr(parts, "_centred", lambda x, is_object: x)
    kept = PartGroups(features, labels, GROUPS).assign(features, labels)
    assert max(scores(kept, truth, labels)) < 0.3  # it would be all that is seen


def test_pictures_that_were_not_seen_are_divided_alike(data):
    features, labels, truth = data
    seen = torch.arange(len(labels)) % 5 > 0
    groups = PartGroups(features[seen], labels[seen], GROUPS)
    assigned = groups.assign(features[~seen], labels[~seen])
    assert min(scores(assigned, truth[~seen.numpy()], labels[~seen])) > 0.85
    one_by_one = [groups.assign(f[None], label[None]) for f, label in zip(features[~seen], labels[~seen])]
    assert torch.equal(torch.cat(one_by_one), assigned)


def test_scene_groups_come_after_those_of_objects(data, groups):
    features, labels, _ = data
    objects, assigned = groups.objects(features), groups.assign(features, labels)
    assert torch.equal(assigned < GROUPS, objects)
    assert set(assigned[~objects].tolist()) == {GROUPS, GROUPS + 1}
    one = PartGroups(features, labels, GROUPS, scenes=1).assign(features, labels)
    assert set(one[~objects].tolist()) == {GROUPS}


def test_the_same_seed_gives_the_same_groups_and_another_nearly(data, groups):
    features, labels, truth = data
    first = groups.assign(features, labels)
    assert torch.equal(PartGroups(features, labels, GROUPS, scenes=2).assign(features, labels), first)
    other = PartGroups(features, labels, GROUPS, scenes=2, seed=1).assign(features, labels)
    assert not torch.equal(other, first)
    for members in (labels == 0, labels == 1):  # numbers of groups mean nothing, and differ by class
        inside = truth[members] >= 0
        assert adjusted_rand_score(first[members].numpy()[inside], other[members].numpy()[inside]) > 0.85


def test_one_group_is_the_object(data):
    features, labels, _ = data
    groups = PartGroups(features, labels, 1)
    assert torch.equal(groups.assign(features, labels) == 0, groups.objects(features))


def test_fewer_patches_than_groups(data):
    """Two tiny pictures of each class, and more groups than there are patches: numbers stay in range."""
    features, labels, _ = data
    few = torch.cat([(labels == c).nonzero().flatten()[:2] for c in range(2)])
    features = features[few][:, :, 4:8, 4:8]
    groups = PartGroups(features, labels[few], 40, scenes=3)
    assigned = groups.assign(features, labels[few])
    assert assigned.max() < 43
    assert all(len(centres) == 40 and centres.isfinite().all() for _, centres, _ in groups.classes)


def test_a_class_whose_pictures_are_all_alike(data):
    features, labels, _ = data
    features = features.clone()
    features[labels == 1] = features[labels == 1][:1]
    assigned = PartGroups(features, labels, GROUPS).assign(features, labels)
    assert (assigned[labels == 1] == assigned[labels == 1][0]).all() and assigned.max() <= GROUPS
