"""Ranks of filters: against NumPy, sets of cells, counters and loops over filters, pictures and draws."""

from collections import Counter

import numpy as np
import pytest
import torch

from asxai.concepts.masks import semantic_masks, upsample
from asxai.ranks import ranks
from asxai.statistics import spearman

NAN = np.nan


def of_rank(rng, rank, height, width):
    return rng.normal(size=(height, rank)) @ rng.normal(size=(rank, width))


def with_values(rng, values, height, width):
    """A matrix with these singular values."""
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0][:, : len(values)] for n in (height, width))
    return left * values @ right.T


def matrix_ranks(maps, tolerance=None):
    """`Ranks` of maps, by the tolerance of their type where none is given."""
    maps = torch.as_tensor(maps)
    return ranks.ranks_of(ranks.singular_values(maps), ranks.usual_tolerance(maps) if tolerance is None else tolerance)


# --- Ranks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("height, width", [(7, 7), (14, 14), (5, 9), (9, 5), (1, 6)])
def test_numerical_rank_is_that_of_numpy(dtype, height, width):
    rng, least = np.random.default_rng(0), min(height, width)
    maps = [rng.normal(size=(height, width)), np.zeros((height, width)), np.full((height, width), 3.7)]
    maps += [of_rank(rng, rank, height, width) for rank in range(least + 1)]
    maps += [np.maximum(rng.normal(size=(height, width)) - 1.5, 0) for _ in range(20)]  # sparse, as after ReLU
    # near-singular: the last value 100 times above and below what counts
    edge = max(height, width) * np.finfo(dtype).eps
    maps += [with_values(rng, [*np.ones(least - 1), close * edge], height, width) for close in (100, 0.01)]
    maps += [maps[0] * 1e-30, maps[0] * 1e30]  # what counts is relative
    maps = np.stack(maps).astype(dtype)
    found = matrix_ranks(maps)
    expected = np.array([np.linalg.matrix_rank(one) for one in maps])
    assert found.numerical.dtype == np.int64 and np.array_equal(found.numerical, expected)
    np.testing.assert_allclose(found.relative, expected / least, rtol=1e-15)
    assert set(expected) == set(range(least + 1))


def test_the_longer_side_and_the_type_decide_which_values_count():
    long = with_values(np.random.default_rng(0), [1, 15 * np.finfo(np.float64).eps], 2, 60)
    for one in (long, long.T):
        assert matrix_ranks(one).numerical == 1 == np.linalg.matrix_rank(one)
    square = torch.tensor(with_values(np.random.default_rng(0), [1, 1, 1e-9], 6, 6))
    assert matrix_ranks(square).numerical == 3 and matrix_ranks(square.float()).numerical == 2
    for kind in (torch.bfloat16, torch.float16):  # both types round the map: the noise must not count
        rank_one = torch.tensor(of_rank(np.random.default_rng(1), 1, 14, 14)).to(kind)
        assert matrix_ranks(rank_one).numerical == 1 and matrix_ranks(rank_one.double()).numerical > 10


@pytest.mark.parametrize("tolerance, expected", [(None, 6), (0, 6), (3e-4, 4), (0.05, 2), (0.5, 1)])
def test_tolerance_is_a_share_of_the_largest_value(tolerance, expected):
    rng = np.random.default_rng(0)
    maps = np.stack([with_values(rng, scale * 10.0 ** -np.arange(6), 6, 8) for scale in (1, 1e-3, 1e3)])
    found = matrix_ranks(maps, tolerance).numerical
    assert found.tolist() == [expected] * 3
    assert np.array_equal(found, np.linalg.matrix_rank(maps, rtol=tolerance))
    for wrong in (1, -0.1, NAN):
        with pytest.raises(ValueError, match=f"tolerance={wrong} must be at least 0 and below 1"):
            matrix_ranks(maps, wrong)


def test_effective_rank():
    rng = np.random.default_rng(0)
    for values in ([1, 1, 1, 1], [5, 5], [3, 2, 1], [1, 1e-9]):
        share = np.array(values) / sum(values)
        expected = np.exp(-sum(p * np.log(p) for p in share))
        found = matrix_ranks(with_values(rng, 7 * np.array(values), 6, 8)).effective
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert matrix_ranks(np.zeros((2, 6, 8))).effective.tolist() == [0, 0]


def test_maps_of_any_shape_order_in_memory_and_number_at_once(monkeypatch):
    maps = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps[1, 2], maps[0, 1, 2:] = 0, 0
    expected = matrix_ranks(maps)
    assert all(part.shape == (3, 4) for part in expected)
    assert matrix_ranks(maps[0, 1]).numerical == 2 and matrix_ranks(maps[1, 2]) == (0, 0, 0)
    strange = maps.permute(1, 3, 0, 2).contiguous().permute(2, 0, 3, 1)[:, ::2].requires_grad_()
    assert not strange.is_contiguous()
    monkeypatch.setattr(ranks, "NUMBERS_AT_ONCE", 70)  # two maps
    for part, again, some in zip(expected, matrix_ranks(maps), matrix_ranks(strange)):
        assert np.array_equal(again, part) and np.array_equal(some, part[:, ::2])


def test_redundant_filters_have_rank_0_in_every_picture():
    assert ranks.redundant(np.array([[0, 0, 3], [0, 1, 2]])).tolist() == [True, False, False]
    maps = torch.zeros(2, 3, 4, 4)
    maps[1, 0, 2, 2] = 1
    assert ranks.redundant(matrix_ranks(maps).numerical).tolist() == [False, True, True]


# --- Which concept a filter extracts ---------------------------------------------------------------------------------


def slow_overlaps(maps, masks, percentile):
    cells = lambda mask: {tuple(cell) for cell in np.argwhere(mask)}
    size = masks.shape[-1]
    result = np.zeros((len(maps), maps.shape[1], masks.shape[1]))
    for picture, filter_, concept in np.ndindex(result.shape):
        fine = maps[picture, filter_]
        if fine.shape != (size, size):
            fine = upsample(torch.from_numpy(fine), size).numpy()
        fine = np.where(fine < fine.min() + 1e-12, fine.min(), fine)  # interpolated, a plateau is almost one
        lowest = np.sort(fine.ravel())[round(size * size * percentile / 100) - 1]
        fires, there = cells((fine >= lowest) & (fine > fine.min())), cells(masks[picture, concept])
        result[picture, filter_, concept] = len(fires & there) / len(fires | there) if fires | there else 0
    return result


@pytest.mark.parametrize("size", [8, 13])
@pytest.mark.parametrize("percentile", [95, 70])
def test_overlaps_against_sets_of_cells(size, percentile, monkeypatch):
    rng = np.random.default_rng(0)
    maps = np.maximum(rng.normal(size=(5, 6, 8, 8)), 0)
    maps[0, 0], maps[1, 2], maps[2, 3] = 0, 4.2, 0
    maps[2, 3, 4, 4:6] = [1, 2]  # less than the percentile leaves
    maps[4, 1] = np.where(maps[4, 1] > 2, maps[4, 1], 4.1 / 3)
    masks = rng.random((5, 3, size, size)) < 0.2
    masks[3, 1] = False
    masks[4, 2] = semantic_masks(torch.from_numpy(maps[4, 5]), size, percentile).numpy()
    expected = slow_overlaps(maps, masks, percentile)
    maps, masks = torch.from_numpy(maps), torch.from_numpy(masks)
    found = ranks.overlaps(maps, masks, percentile)
    assert found.dtype == np.float64 and found.shape == (5, 6, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert not found[0, 0].any() and not found[1, 2].any() and not found[3, :, 1].any() and found[4, 5, 2] == 1
    assert (found > 0).mean() > 0.5
    strange = maps.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0).requires_grad_()
    monkeypatch.setattr(ranks, "NUMBERS_AT_ONCE", 2 * 6 * size**2)  # two pictures
    assert np.array_equal(ranks.overlaps(strange, masks, percentile), found)
    assert np.array_equal(ranks.overlaps(maps[:1], masks[:1], percentile), found[:1])


def test_overlaps_of_other_types():
    maps = np.random.default_rng(0).permuted(np.tile(np.arange(64), (2, 3, 1)), axis=2).reshape(2, 3, 8, 8)
    masks = np.random.default_rng(1).random((2, 2, 8, 8)) < 0.3
    expected, maps, masks = slow_overlaps(maps, masks, 90), torch.from_numpy(maps), torch.from_numpy(masks)
    for kind in (torch.bfloat16, torch.float16, torch.float32):  # all hold 0 to 63 exactly
        np.testing.assert_allclose(ranks.overlaps(maps.to(kind), masks, 90), expected, rtol=1e-14)
    np.testing.assert_allclose(ranks.overlaps(1 + 1e-12 * maps.double(), masks, 90), expected, rtol=1e-14)
    with pytest.raises(ValueError, match="percentile=100"):
        ranks.overlaps(maps.double(), masks, 100)


def slow_vote(iou, least):
    concepts, shares = [], []
    for own in iou.transpose(1, 0, 2):  # (picture, concept) of each filter
        mean = own.mean(axis=0)
        order = {concept: (-mean[concept], concept) for concept in range(len(mean))} | {-1: (np.inf, 0)}
        ballot = Counter()
        for picture in own:
            largest = [concept for concept in range(len(mean)) if picture[concept] == picture.max()]
            ballot[min(largest, key=order.get) if picture.max() >= least else -1] += 1
        most = max(ballot.values())
        concepts.append(min((concept for concept in ballot if ballot[concept] == most), key=order.get))
        shares.append(most / len(own))
    return concepts, shares


@pytest.mark.parametrize("pictures", [1, 2, 4, 7])
@pytest.mark.parametrize("least", [0.125, 0.5, 1])
def test_votes_against_a_counter(pictures, least):
    iou = np.random.default_rng(pictures).integers(0, 9, (pictures, 200, 3)) / 8  # exact sums, many ties
    found = ranks.vote(iou, least)
    concepts, shares = slow_vote(iou, least)
    assert found.concepts.dtype == np.int64 and found.concepts.tolist() == concepts
    np.testing.assert_allclose(found.share, shares, rtol=1e-15)
    assert set(concepts) >= ({0, 1, 2} if least == 0.125 else {-1})


def test_votes_by_hand():
    iou = np.zeros((3, 6, 2))
    iou[:, 0] = [[0.3, 0.2], [0.1, 0.6], [0.5, 0.4]]  # two pictures of three, against the larger mean
    iou[:, 1] = 0.09  # never enough
    iou[:, 2] = [[0.2, 0.0], [0.0, 0.0], [0.0, 0.0]]  # none wins two to one
    iou[:, 3] = [[0.2, 0.0], [0.0, 0.9], [0.0, 0.0]]  # one each: the larger mean
    iou[:, 4] = [[0.5, 0.5], [0.2, 0.3], [0.3, 0.2]]  # the first picture ties, and so do the means: the lower number
    iou[:, 5] = [[0.5, 0.5], [0.1, 0.3], [0.3, 0.2]]  # here the mean of the second is larger
    concepts, share = ranks.vote(iou)
    assert concepts.tolist() == [0, -1, -1, 1, 0, 1]
    np.testing.assert_allclose(share, [2 / 3, 1, 2 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert ranks.vote(iou, 0.01).concepts[1] == 0
    assert ranks.vote_weights(iou).tolist() == [[1, 0], [0, 0], [0, 0], [0, 1], [1, 0], [0, 1]]


def test_maps_that_know_nothing_of_concepts_extract_none():
    generator = torch.Generator().manual_seed(0)
    maps, others = (upsample(torch.rand(400, n, 7, 7, generator=generator), 14) for n in (16, 4))
    iou = ranks.overlaps(maps, semantic_masks(others, 14))
    assert (ranks.vote(iou).concepts == -1).all()
    assert (ranks.vote(iou, 0.04).concepts >= 0).any()  # the threshold of Network Dissection would not do


# --- Sensitivity -----------------------------------------------------------------------------------------------------


@pytest.fixture
def found():
    """Ranks of 9 pictures and 12 filters, of which none extracts concept 2 and two extract none."""
    numerical = np.random.default_rng(0).integers(0, 15, (9, 12))
    extracts = np.array([0, 1, 3, -1, 3, 0, 4, 1, 1, -1, 4, 4])
    return numerical, extracts, ranks.sensitivity(numerical, ranks.by_vote(extracts, 5))


def test_equation_6_against_loops(found):
    numerical, extracts, found = found
    expected = np.full((9, 5), NAN)
    for picture, concept in np.ndindex(9, 5):
        own = [float(numerical[picture, k]) for k in range(12) if extracts[k] == concept]
        if own:
            expected[picture, concept] = sum(own) / len(own)
    np.testing.assert_allclose(found.per_picture, expected, rtol=1e-14)
    mean = [sum(expected[:, concept]) / 9 for concept in range(5)]
    np.testing.assert_allclose(found.mean, mean, rtol=1e-14)
    total = sum(m for m in mean if m == m)
    np.testing.assert_allclose(found.share, [m / total if m == m else 0 for m in mean], rtol=1e-14)
    np.testing.assert_allclose(found.scaled, 5 * found.share, rtol=1e-15)
    assert np.isnan(found.mean).tolist() == [0, 0, 1, 0, 0]


def test_weighted_sensitivity_against_loops():
    rng = np.random.default_rng(1)
    numerical, iou = rng.integers(0, 15, (5, 6)), rng.random((5, 6, 3))
    iou[:, :, 1] = 0
    found = ranks.sensitivity(numerical, ranks.by_overlap(iou))
    for picture, concept in np.ndindex(5, 3):
        weights = [(sum(iou[p, k, concept] for p in range(5)) / 5) ** 2 for k in range(6)]
        total = sum(w * numerical[picture, k] for k, w in enumerate(weights))
        expected = total / sum(weights) if sum(weights) else NAN
        np.testing.assert_allclose(found.per_picture[picture, concept], expected, rtol=1e-13)
    assert np.isnan(found.mean).tolist() == [False, True, False] and found.share[1] == 0


def test_sensitivity_of_one_picture_of_no_filters_and_of_no_ranks():
    voted = lambda values, extracts: ranks.sensitivity(np.array([values]), ranks.by_vote(np.array(extracts), 2))
    one = voted([3, 1, 5], [0, 1, 0])
    assert one.per_picture.tolist() == [[4, 1]] and one.share.tolist() == [0.8, 0.2]
    assert one.scaled.tolist() == [1.6, 0.4]
    for values, extracts in (([3, 1], [-1, -1]), ([0, 0], [0, 1])):
        assert np.isnan(voted(values, extracts).share).all()  # no total to have a share of
    assert np.isnan(voted([3, 1], [-1, -1]).mean).all()
    assert voted([0, 0], [0, 1]).mean.tolist() == [0, 0]


def test_bootstrap_of_shares_against_a_loop(found):
    per_picture = found[2].per_picture
    weights = np.random.default_rng(3).multinomial(9, np.full(9, 1 / 9), size=250)
    shares = []
    for draw in weights:
        copies = np.repeat(np.nan_to_num(per_picture), draw, axis=0)  # pictures drawn twice are there twice
        shares.append(copies.mean(axis=0) / copies.mean(axis=0).sum())
    interval = ranks.bootstrap_shares(per_picture, 250, seed=3)
    np.testing.assert_allclose(interval, np.quantile(shares, [0.025, 0.975], axis=0).T, rtol=1e-12)
    assert interval.shape == (5, 2) and interval[2].tolist() == [0, 0]
    inside = (interval[:, 0] < found[2].share) & (found[2].share < interval[:, 1])
    assert inside.tolist() == [True, True, False, True, True]
    assert np.array_equal(ranks.bootstrap_shares(per_picture, 250, 3), interval)
    assert not np.array_equal(ranks.bootstrap_shares(per_picture, 250, 4), interval)
    for pictures in (1, 4):  # equal ones give a point
        points = ranks.bootstrap_shares(np.tile([3.0, 1.0], (pictures, 1)), 20)
        assert points.tolist() == [[0.75, 0.75], [0.25, 0.25]]


# --- Agreement of orders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pictures", [12, 9])
def test_agreement_of_halves_against_a_loop(pictures):
    rng = np.random.default_rng(0)
    numerical, iou = rng.integers(0, 15, (pictures, 40)), rng.integers(0, 9, (pictures, 40, 4)) / 8
    generator, voted, weighed = np.random.default_rng(2), [], []
    for _ in range(20):
        order = generator.permutation(pictures).tolist()
        halves = order[: pictures // 2], order[pictures // 2 :][: pictures // 2]
        assert not set(halves[0]) & set(halves[1]) and len(halves[0]) == len(halves[1])
        means = np.full((2, 2, 4), NAN)
        for h, half in enumerate(halves):
            votes, _ = slow_vote(iou[half], ranks.LEAST)
            for concept in range(4):
                own = numerical[half][:, np.array(votes) == concept]
                means[0, h, concept] = own.mean() if own.size else NAN
                weights = [np.mean([iou[p, k, concept] for p in half]) ** 2 for k in range(40)]
                means[1, h, concept] = np.average(numerical[half].mean(axis=0), weights=weights)
        voted.append(spearman(*means[0]))
        weighed.append(spearman(*means[1]))
    for expected, weigh in ((voted, ranks.vote_weights), (weighed, ranks.by_overlap)):
        found = ranks.halves_agreement(numerical, iou, draws=20, seed=2, weigh=weigh)
        np.testing.assert_allclose([found[0], *found[1]], [np.mean(expected), *np.quantile(expected, [0.025, 0.975])])
        assert found[1][0] < found[0] < found[1][1]
    assert ranks.halves_agreement(numerical, iou, 20, 2) == found  # by overlap, the same again
    assert ranks.halves_agreement(numerical, iou, 20, 3) != found


def test_halves_agree_fully_where_the_order_is_clear_and_nan_where_there_is_none():
    clear = np.arange(5) + np.random.default_rng(0).random((10, 5)) / 2
    agreement = lambda values: ranks.halves_agreement(values, np.tile(np.eye(values.shape[1]), (len(values), 1, 1)))
    assert agreement(clear) == (1, (1, 1))  # each filter is a concept
    for unclear in (np.ones((10, 5)), clear[:, :2]):
        mean, interval = agreement(unclear)
        assert np.isnan([mean, *interval]).all()
    # one picture differs: of three, it is in either half or left out, and without it both sides are constant
    assert agreement(np.array([[1.0, 2, 3], [1, 2, 3], [1, 1, 1]])) == (1, (1, 1))
