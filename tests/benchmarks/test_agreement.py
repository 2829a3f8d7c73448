"""Agreement with true parts: against scikit-learn, loops over pixels, and values worked out by hand."""

import numpy as np
import pytest
import scipy.ndimage
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from asxai import statistics
from asxai.benchmarks import agreement
from asxai.concepts import cells

CLASSES, CONCEPTS, PARTS, PROTOTYPES, CELLS, PICTURES = 3, 5, 4, 6, 7, 30


def blobs(rng, pictures=PICTURES, size=CELLS, labels=PARTS + 1, smooth=1.0):
    """Maps of labels 0..labels-1 in irregular connected blobs, `(picture, size, size)`."""
    noise = rng.normal(size=(pictures, labels, size, size))
    return scipy.ndimage.gaussian_filter(noise, (0, 0, smooth, smooth)).argmax(axis=1)


@pytest.fixture
def data():
    """One array per argument, pictures first; concepts follow parts for two thirds of the cells."""
    rng = np.random.default_rng(0)
    parts = blobs(rng)
    follows = rng.random(parts.shape) < 2 / 3
    first = np.where(follows, (2 * parts) % (CONCEPTS + 1), rng.integers(0, CONCEPTS + 1, parts.shape))
    held = rng.random((PICTURES, PROTOTYPES, PARTS)) < 0.4
    return {
        "labels": np.arange(PICTURES) % CLASSES, "parts": parts, "first": first,
        "second": np.where(rng.random(parts.shape) < 0.5, first, rng.integers(0, 3, parts.shape)),
        "held": held, "perturbed": held ^ (rng.random(held.shape) < 0.1),
        "visible": rng.random((PICTURES, PARTS)) < 0.8,
        "scores": rng.integers(0, 8, (PICTURES, PROTOTYPES)) / 8,  # many ties
    }  # fmt: skip


def counts_of(d):
    return agreement.contingency(d["first"], d["parts"], CONCEPTS, PARTS)


def iou_of(d, weights=None):
    return cells.part_iou(d["first"], d["parts"], d["labels"], CONCEPTS, PARTS, weights)


MEASURES = {
    "foreground_nmi": lambda d, w: agreement.foreground_nmi(counts_of(d), d["labels"], w),
    "foreground_ari": lambda d, w: agreement.foreground_ari(counts_of(d), d["labels"], w),
    "part_iou": iou_of,
    "match_purity": lambda d, w: agreement.match_purity(counts_of(d), d["labels"], w),
    "map_agreement": lambda d, w: agreement.map_agreement(d["first"], d["second"], d["labels"], w),
    "purity": lambda d, w: agreement.purity(d["held"], d["scores"], 7, w),
    "consistency": lambda d, w: agreement.consistency(d["held"], d["visible"], weights=w)[0],
    "stability": lambda d, w: agreement.stability(d["held"], d["perturbed"], w),
}
every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


# --- What all measures have in common -------------------------------------------------------------------------------


@every_measure
def test_a_weight_is_a_number_of_copies_and_many_resamples_are_one_by_one(data, measure):
    weights = np.random.default_rng(1).integers(0, 4, (5, PICTURES))
    copies = [{name: np.repeat(values, w, axis=0) for name, values in data.items()} for w in weights]
    np.testing.assert_allclose(measure(data, weights), [measure(own, None) for own in copies], rtol=1e-12)
    np.testing.assert_allclose(measure(data, weights[0]), measure(copies[0], None), rtol=1e-12)
    np.testing.assert_allclose(measure(data, np.ones(PICTURES, int)), measure(data, None), rtol=1e-12)
    assert not np.allclose(measure(data, weights[0]), measure(data, None))


@every_measure
def test_neither_the_order_of_pictures_nor_any_names_matter(data, measure):
    """What is called k is called new[k] afterwards: results move along, or stay where they have no such axis."""
    rng = np.random.default_rng(4)
    order = rng.permutation(PICTURES)
    classes, prototypes = rng.permutation(CLASSES), rng.permutation(PROTOTYPES)
    concepts, parts = (np.array([0, *1 + rng.permutation(n)]) for n in (CONCEPTS, PARTS))
    # `concepts[k]` is the new number of k; `np.argsort` lists the old ones in the order of the new
    old_parts, old_concepts = np.argsort(parts)[1:] - 1, np.argsort(concepts)[1:] - 1
    renamed = {
        "labels": classes[data["labels"]], "parts": parts[data["parts"]], "first": concepts[data["first"]],
        "second": rng.permutation(CONCEPTS + 9)[data["second"]],
        "held": data["held"][:, prototypes][..., old_parts], "scores": data["scores"][:, prototypes],
        "perturbed": data["perturbed"][:, prototypes][..., old_parts], "visible": data["visible"][:, old_parts],
    }  # fmt: skip
    renamed = {name: values[order] for name, values in renamed.items()}
    expected = np.asarray(measure(data, None))
    if expected.shape == (PROTOTYPES,):
        expected = expected[prototypes]
    elif expected.ndim:
        expected = expected[np.argsort(classes)]
        expected = expected[..., old_parts] if expected.ndim > 1 else expected
        expected = expected[:, old_concepts] if expected.ndim > 2 else expected
    np.testing.assert_allclose(measure(renamed, None), expected, rtol=1e-12)


# --- Cells ----------------------------------------------------------------------------------------------------------


def test_cell_parts_against_a_loop():
    masks = blobs(np.random.default_rng(0), pictures=3, size=24).astype(np.uint8)
    got = cells.cell_parts(masks, cells=6)
    for n, row, column in np.ndindex(3, 6, 6):
        counts = np.bincount(masks[n, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].ravel())
        assert got[n, row, column] == counts.argmax()  # the first of equals
    assert cells.cell_parts(np.zeros((2, 224, 224), np.uint8)).shape == (2, 28, 28)
    for ties, lowest in (([[3, 2], [2, 3]], 2), ([[0, 2], [2, 0]], 0)):
        assert cells.cell_parts(np.array([ties]), cells=1) == lowest


def test_contingency_against_a_loop(data):
    expected = np.zeros((PICTURES, CONCEPTS + 1, PARTS), int)
    for cell in np.ndindex(data["parts"].shape):
        if data["parts"][cell] > 0:
            expected[cell[0], data["first"][cell], data["parts"][cell] - 1] += 1
    np.testing.assert_array_equal(counts_of(data), expected)


both = pytest.mark.parametrize("measure, oracle", [(agreement.foreground_nmi, normalized_mutual_info_score),
                                                   (agreement.foreground_ari, adjusted_rand_score)])  # fmt: skip


@both
def test_nmi_and_ari_against_scikit_learn(data, measure, oracle):
    parts, labels = data["parts"], np.array([0, 1, 3])[data["labels"]]  # class 2 has no picture
    got = measure(counts_of(data), labels)
    assert np.isnan(got[2])
    for label in (0, 1, 3):
        own = (labels == label)[:, None, None] & (parts > 0)
        assert got[label] == pytest.approx(oracle(parts[own], data["first"][own]), abs=1e-12)
        assert got[label] > 0.1


@both
@pytest.mark.parametrize("table", [[[5]], [[1]], [[5, 3]], [[5], [3]], [[1, 0], [0, 1]], [[1, 1]], [[4, 2], [6, 3]],
                                   [[5, 0], [0, 3]], [[3, 2, 1], [0, 9, 4]]])  # fmt: skip
def test_small_tables_against_scikit_learn(table, measure, oracle):
    """One cluster, one part, one cell, every cell on its own, independence: where formulas divide by zero."""
    table = np.array(table)
    rows, columns = np.repeat(np.argwhere(table >= 0), table.ravel(), axis=0).T
    assert measure(table[None], [0]) == pytest.approx(oracle(columns, rows), abs=1e-12)


def test_part_iou_against_a_loop(data):
    data["parts"][(data["labels"] == 1)[:, None, None] & (data["parts"] == 3)] = 0  # class 1 has no part 3
    data["first"][data["first"] == 2] = 0  # concept 2 never wins
    got = iou_of(data)
    for label, concept, part in np.ndindex(CLASSES, CONCEPTS, PARTS):
        own = data["labels"] == label
        won, shown = data["first"][own] == concept + 1, data["parts"][own] == part + 1
        expected = (won & shown).sum() / (won | shown).sum() if shown.any() else np.nan
        assert got[label, concept, part] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(got[1, :, 2]).all() and np.isnan(got).sum() == CONCEPTS
    assert (got[0, 1] == 0).all()


def test_map_agreement_against_scikit_learn(data):
    first, second, labels = data["first"], data["second"], np.array([0, 2, 5])[data["labels"]]
    expected = [normalized_mutual_info_score(first[labels == label].ravel(), second[labels == label].ravel())
                for label in (0, 2, 5)]  # fmt: skip
    got = agreement.map_agreement(first, second, labels)
    assert isinstance(got, float) and got == pytest.approx(np.mean(expected))
    assert got == pytest.approx(agreement.map_agreement(second, first, labels))
    assert agreement.map_agreement(first, 40 - 7 * first, labels) == pytest.approx(1)
    halves = np.indices((4, 4))[:, None] // 2  # rows and columns tell nothing about each other
    assert agreement.map_agreement(*halves, [0]) == pytest.approx(0, abs=1e-12)


# --- Patches --------------------------------------------------------------------------------------------------------


def held_slowly(mask, peak, patch, part):
    """The definition, pixel by pixel."""
    top, left = (min(max(p - patch // 2, 0), len(mask) - patch) for p in peak)
    inside = {(row, column) for row in range(top, top + patch) for column in range(left, left + patch)}
    if sum(mask[pixel] == part for pixel in inside) >= len(inside) / 2:
        return True
    islands, count = scipy.ndimage.label(mask == part)
    for number in range(1, count + 1):
        pixels = {tuple(pixel) for pixel in np.argwhere(islands == number)}
        if len(pixels) >= 4 and len(pixels & inside) >= len(pixels) / 2:
            return True
    return False


@pytest.mark.parametrize("patch, smooth", [(1, 1.0), (6, 1.0), (9, 0.7), (9, 4.0), (30, 1.0)])
def test_held_parts_against_a_loop(patch, smooth):
    rng = np.random.default_rng(0)
    masks = blobs(rng, pictures=4, size=30, smooth=smooth).astype(np.uint8)
    peaks = rng.integers(0, 30, (4, 5, 2))
    peaks[0, :4] = [[0, 0], [0, 29], [29, 0], [29, 29]]
    got = agreement.held_parts(masks, peaks, patch, PARTS + 1)  # one part is in no picture
    assert got.dtype == bool and got.any() and not got.all()
    for n, prototype, part in np.ndindex(got.shape):
        assert got[n, prototype, part] == held_slowly(masks[n], peaks[n, prototype], patch, part + 1)


def test_visible_parts_need_four_pixels():
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[0, 0], masks[1, 1, :3], masks[1, 3] = 1, 1, 3
    np.testing.assert_array_equal(agreement.visible_parts(masks, 3), [[True, False, False], [False, False, True]])


def test_purity_by_hand():
    held = np.zeros((5, 2, 2), bool)
    held[:, 0, 0] = [True, True, False, False, False]
    held[:, 0, 1] = [False, True, True, True, True]
    held[:, 1, 0] = [True, False, False, False, False]
    scores = np.array([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5]]).T
    np.testing.assert_allclose(agreement.purity(held, scores, 2), [1, 0])
    np.testing.assert_allclose(agreement.purity(held, scores, 3), [2 / 3, 0])  # part 0 and part 1 twice each
    np.testing.assert_allclose(agreement.purity(held, scores), [4 / 5, 1 / 5])  # fewer pictures than ten
    # pictures that tie share the last places: the mean over the choices that could be made, 1 of 3 for the second place
    held = np.array([True, True, False, False])[:, None, None]
    assert agreement.purity(held, np.array([[9], [4], [4], [4]]), 2) == pytest.approx([(1 + 1 / 3) / 2])
    assert agreement.purity(held, np.array([[9], [4], [4], [4]]), 2, np.array([1, 2, 0, 2])) == pytest.approx([0.75])
    held, scores = np.zeros((30, 1, 1), bool), np.arange(30.0)[:, None]
    held[-9:] = True
    assert agreement.purity(held, scores) == 0.9 and agreement.purity(held, -scores) == 0  # ten pictures


def test_consistency_by_hand():
    visible = np.array([[True, True, False]] * 5 + [[True, False, False]] * 5)
    held = np.zeros((10, 4, 3), bool)
    held[:7, 0, 0] = True  # 7 of 10
    held[:8, 1, 0] = True  # 8 of 10: at the threshold
    held[:5, 2, 1] = True  # 5 of the 5 that show it
    held[:, 3, 2] = True  # claims what no picture shows
    shares, verdicts = agreement.consistency(held, visible)
    np.testing.assert_allclose(shares, [0.7, 0.8, 1, 0])
    assert verdicts.tolist() == [False, True, True, False]
    assert agreement.consistency(held, visible, threshold=0.7)[1].tolist() == [True, True, True, False]


def test_stability_by_hand():
    held = np.zeros((4, 3, 2), bool)
    held[:, 1] = True
    perturbed = held.copy()
    perturbed[0, 1] = False  # loses both parts: one picture
    perturbed[:2, 2, 1] = True  # gains one in two pictures
    np.testing.assert_allclose(agreement.stability(held, perturbed), [1, 3 / 4, 1 / 2])


# --- Bootstrap ------------------------------------------------------------------------------------------------------


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


@pytest.mark.parametrize("level, deviations", [(0.95, 1.960), (0.5, 0.674)])
def test_interval_of_a_mean_is_that_of_the_textbook(level, deviations):
    """Classes far apart: a bootstrap that mixed them would give an interval several times as wide."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 4], [50, 100, 150])
    values = rng.normal(size=300) * np.array([1, 2, 0, 0, 3])[labels] + 20 * labels
    variance = sum((labels == label).sum() * values[labels == label].var() for label in (0, 1, 4)) / 300**2
    low, high = statistics.bootstrap(mean_of(values), labels, draws=4000, level=level)
    expected = values.mean() + np.array([-1, 1]) * deviations * np.sqrt(variance)
    np.testing.assert_allclose([low, high], expected, atol=0.12 * np.sqrt(variance))


def test_draws_keep_the_size_of_every_class_and_follow_the_seed():
    labels, seen = np.array([2, 0, 0, 2, 2, 5]), []
    statistics.bootstrap(lambda weights: seen.append(weights) or weights[:, 0], labels, draws=250)
    weights = np.concatenate(seen)
    assert weights.shape == (250, 6) and np.issubdtype(weights.dtype, np.integer)
    for label, count in ((0, 2), (2, 3), (5, 1)):
        assert (weights[:, labels == label].sum(axis=1) == count).all()
    assert (weights[:, 5] == 1).all() and weights[:, :5].std(axis=0).min() > 0.5
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)
    interval = lambda **seed: statistics.bootstrap(mean_of(np.arange(6.0)), labels, draws=200, **seed)
    assert interval() == interval(seed=0) != interval(seed=1)


def test_several_numbers_have_an_interval_each():
    values = np.random.default_rng(0).normal(size=(40, 2))
    labels = np.zeros(40, int)

    def statistic(weights):
        means = weights @ values / 40
        sometimes = np.where(weights[:, 0] == 0, np.nan, means[:, 0])
        return np.stack([means[:, 0], means[:, 1], sometimes, np.full(len(weights), np.nan)], axis=1)

    low, high = statistics.bootstrap(statistic, labels)
    for k in range(2):
        assert (low[k], high[k]) == pytest.approx(statistics.bootstrap(mean_of(values[:, k]), labels))
    assert np.isfinite([low[2], high[2]]).all() and np.isnan([low[3], high[3]]).all()


def test_match_purity_is_the_share_of_classes_where_a_concept_is_the_part_that_it_is_in_all():
    tables = np.zeros((3, 5, 2), int)  # a picture per class
    tables[:, 0] = 9  # background is no concept
    tables[:, 1] = [[5, 1], [3, 2], [0, 6]]  # 8 to 9: the second part
    tables[:, 2] = [[5, 1], [3, 2], [0, 0]]  # not in the last class
    tables[0, 3] = 4, 4  # of one class alone, and a tie
    assert agreement.match_purity(tables, np.arange(3)) == pytest.approx(4 / 6)
    draws = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(agreement.match_purity(tables, np.arange(3), draws), [4 / 6, 1, 0])
