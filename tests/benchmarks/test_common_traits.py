"""Common traits of a tiny study of drawn animals: regions, hidden pictures, A_s, trait pictures, tables and claims.

Oracles are slow on purpose: one picture at a time, and textbook linear algebra in float64.
"""

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from helpers import tiny_backbone
from torch import nn

import menagerie
from asxai.benchmarks import common_traits as benchmark
from asxai.concepts import masks as concepts_masks
from asxai.concepts.cells import own_class_maps
from asxai.concepts.concepts import Concepts
from asxai.concepts.masks import Region
from asxai.data import sources
from asxai.data.pictures import DataError, read_picture, to_batch
from asxai.methods.as_xai import AsXai
from asxai.traits import common, inversion
from asxai.traits import pictures as traits_pictures
from asxai.traits import pooled as traits_pooled
from asxai.traits import vectors as traits_vectors
from asxai.traits.common import ClassTraits, common_traits
from asxai.traits.pooled import hidden_features

SIZE, CROP, PICTURES, MEASURED = 96, 64, 5, 4
BOXES = {
    "corner": (slice(0, 40), slice(0, 40)),
    "middle": (slice(30, 70), slice(30, 70)),
    "low": (slice(60, 96), slice(0, 96)),
}


@pytest.fixture(scope="module")
def concepts(study):
    """Made by hand, so that both classes share one, have some of their own, and one vector each is background."""
    return Concepts(np.array([[1, 1, 2, 3, 0], [0, 2, 4, 4, 2]]), ("ear", "nose", "ear 2", "tail"), study.class_names)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Features on disk in a folder of the test's own."""
    monkeypatch.setattr("asxai.paths.CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def found(study):
    return common_traits(study, boxes_anywhere, pictures=PICTURES, measured=MEASURED)


# --- slow ways to the same numbers ---


def of_class(split, label):
    return split.take(split.labels == label)


def boxes_anywhere(label, split, names=tuple(BOXES)):
    """The same boxes in every picture, whatever it shows."""
    masks = torch.zeros(len(split), len(names), SIZE, SIZE, dtype=torch.bool)
    for k, name in enumerate(names):
        masks[:, k, BOXES[name][0], BOXES[name][1]] = True
    return Region(tuple(names), masks)


@torch.inference_mode()
def map_by_hand(study, picture):
    """The backbone's map of one uint8 picture, straight from its stages, float64 `(channel, height, width)`."""
    return study.model.backbone(picture[None])[0].double().numpy()


def pooled_by_hand(study, picture):
    fmap = map_by_hand(study, picture)
    cells = fmap.reshape(len(fmap), -1)
    return np.stack([[sum(row) / len(row) for row in cells], [max(row) for row in cells]])


def hidden_by_hand(picture, mask, keep):
    result = picture.clone()
    for row, column in np.argwhere(mask.numpy() != keep):
        result[:, row, column] = 0
    return result


def trait_by_hand(rows, components=1):
    """First row-centred component on the scale of one picture, and the shares of all asked for (eqs. 7-9)."""
    rows = np.asarray(rows, dtype=np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(centred @ centred.T / (rows.shape[1] - 1))
    first = vectors[:, -1] * np.sign(vectors[:, -1].sum())
    return rows.T @ first / np.sqrt(len(rows)), values[::-1][:components] / values.sum()


def scores_by_hand(features, vectors):
    """A_s, eq. 12: `(picture, concept)`."""
    weighted = lambda row, vector: [weight * row[channel] for channel, weight in zip(vector.channels, vector.weights)]
    return np.array([[np.mean(weighted(row, vector)) for vector in vectors] for row in features])


def read_by_hand(study, split, pool, change=lambda picture: picture):
    """Features that A_s reads of every picture, after a change of it: `(picture, channel)`."""
    unit, pools = study.model.feature_std.flatten().double().numpy(), ("mean", "max")
    pictures = [change(to_batch([path], SIZE)[0]) for path in split.paths]
    return np.stack([pooled_by_hand(study, picture)[pools.index(pool)] / unit for picture in pictures])


def recording(regions):
    """The same regions, and the splits that they were asked for, by class: those for vectors, then those measured."""
    calls = {}

    def record(label, split):
        calls.setdefault(label, []).append(split)
        return regions(label, split)

    return record, calls


def forbid(*_, **__):
    raise AssertionError("computed again")


def planted(names, seed=0, pictures=40, own=2.0):
    """Traits of a class in which the removal of a concept lowers its own A_s by `own` deviations, and others' less."""
    rng, count = np.random.default_rng(seed), len(names)
    unmasked = rng.normal(size=(pictures, count))
    drops = 0.2 * rng.random((count, count)) + own * np.eye(count)
    noise = rng.normal(scale=0.05, size=(count, pictures, count))
    vectors = [SimpleNamespace(channels=np.array([3 * k + 2, k]), weights=[0.5 + k, -0.25]) for k in range(count)]
    removed, held_out = unmasked - drops[:, None] + noise, rng.gamma(4, size=(pictures, count))
    return ClassTraits(f"class {seed}", tuple(names), vectors, unmasked, removed, held_out, None)


# --- regions ---


def test_regions_of_this_study_are_the_masks_of_the_concepts_of_the_class(study, concepts):
    for (label, names), percentile in zip(enumerate((("ear", "nose", "ear 2"), ("nose", "tail"))), (95.0, 80.0)):
        split = of_class(study.data.test, label)
        region, maps = AsXai(percentile, concepts).fit(study).regions(label, split), own_class_maps(study, split)
        assert region.names == names and region.masks.shape == (len(split), len(names), SIZE, SIZE)
        expected = concepts_masks.concept_regions(study, concepts, percentile)(label, split).masks
        assert torch.equal(region.masks, expected)
        for (i, k), name in zip(np.ndindex(region.masks.shape[:2]), names * len(split)):
            vectors, mask = concepts.members[label] == concepts.names.index(name) + 1, region.masks[i, k]
            coarse = maps[i, vectors].amax(dim=0)[None, None]
            fine = F.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")[0, 0]
            assert mask.float().mean() == pytest.approx(1 - percentile / 100, abs=0.01)
            assert fine[mask].min() >= fine[~mask].max()  # the highest cosines, no others


# --- features ---


@pytest.mark.parametrize("batch", [3, 32])
def test_pooled_features_are_those_of_each_picture_by_itself(study, monkeypatch, batch):
    monkeypatch.setattr(traits_pooled, "BATCH", batch)
    split = study.data.test
    pictures = to_batch(split.paths, SIZE)
    pooled, cached = traits_pooled.pooled_features(study, pictures), traits_pooled.split_pooled(study, split)
    expected = np.stack([pooled_by_hand(study, picture) for picture in pictures], axis=1)
    assert pooled.shape == cached.shape == expected.shape == (2, len(split), study.model.feature_std.numel())
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert np.abs(pooled.numpy() - expected).max() < 1e-4 * scale.max()
    assert np.abs((cached.numpy() - expected) / scale).max() < 1e-2  # features are cached with three digits
    assert np.abs((cached.numpy() - expected[:, ::-1]) / scale).max() > 0.1  # so that pictures do differ by more


@pytest.mark.parametrize("keep", [False, True])
def test_hidden_features_are_those_of_pictures_that_were_concealed_by_hand(study, cache, monkeypatch, keep):
    monkeypatch.setattr(traits_pooled, "BATCH", 2)  # the last batch is not full
    split = of_class(study.data.test, 0).take([0, 2, 5])
    masks = boxes_anywhere(0, split, ("corner", "low")).masks
    masks[1, 0] = masks[1, 0].roll(30, dims=1)  # pictures differ
    masks[2, 1] = False
    features = hidden_features(study, split, masks, keep)
    pictures = to_batch(split.paths, SIZE)
    hide = lambda k: [hidden_by_hand(picture, own[k], keep) for picture, own in zip(pictures, masks)]
    expected = np.array([[pooled_by_hand(study, one) for one in hide(k)] for k in (0, 1)]).transpose(2, 0, 1, 3)
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 0.01 * np.abs(expected).max()
    if not keep:  # where nothing is hidden, the whole picture is left
        np.testing.assert_allclose(features[:, 1, 2], pooled_by_hand(study, pictures[2]), atol=1e-4)


def test_hidden_features_are_computed_once_and_anew_for_anything_else(study, cache, monkeypatch):
    split = of_class(study.data.test, 0).take([1, 4])
    masks = boxes_anywhere(0, split).masks
    first = hidden_features(study, split, masks)
    stored = {path.name for path in cache.iterdir()}
    other_masks = masks.clone()
    other_masks[0, 0, 50, 50] = True
    others = [(split, other_masks), (split, masks, True), (split, masks, False, "mean"), (split.take([1, 0]), masks)]
    others.append((split, masks[:, :2]))
    with monkeypatch.context() as patch:
        patch.setattr(traits_pooled, "pooled_features", forbid)
        assert torch.equal(hidden_features(study, split, masks.clone()), first)
        for arguments in others:
            with pytest.raises(AssertionError, match="computed again"):
                hidden_features(study, *arguments)
    assert {path.name for path in cache.iterdir()} == stored  # nothing was left by what failed
    results = [hidden_features(study, *arguments) for arguments in others]
    assert all(not torch.equal(result, first) for result in results[:4])
    torch.testing.assert_close(results[3], hidden_features(study, split, masks).flip(2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(results[4], first[:, :2], rtol=1e-4, atol=1e-4)
    assert len(list(cache.iterdir())) == 1 + len(others)


# --- traits ---


@pytest.mark.parametrize("pool, alone, top", [("max", False, 5), ("mean", True, 3)])
def test_vectors_and_scores_are_those_of_pictures_hidden_by_hand(study, pool, alone, top):
    names, cut = ("corner", "middle"), functools.partial(boxes_anywhere, names=("corner", "middle"))
    regions, calls = recording(cut)
    found = common_traits(study, regions, 3, 2, top, pool, alone)
    assert [own.class_name for own in found] == list(study.class_names)
    label, own = 1, found[1]
    chosen, shown = calls[label]
    mask = cut(label, chosen).masks[0]
    read = functools.partial(read_by_hand, study, pool=pool)
    assert own.names == names and len(own.vectors) == 2 and own.removed.shape == (2, 2, 2)
    for k, vector in enumerate(own.vectors):
        hide = [functools.partial(hidden_by_hand, mask=mask[k], keep=keep) for keep in (False, True)]
        removed = trait_by_hand(read(chosen, change=hide[0]))[0]
        kept = trait_by_hand(read(chosen, change=hide[1]) if alone else read(chosen))[0]
        close = 2e-3 * max(np.abs(kept).max(), np.abs(removed).max())  # whole pictures are cached with three digits
        np.testing.assert_allclose(vector.removed, removed, atol=close)
        np.testing.assert_allclose(vector.kept, kept, atol=close)
        difference = kept - removed
        assert len(vector.channels) == len(set(vector.channels.tolist())) == top
        np.testing.assert_allclose(vector.weights, difference[vector.channels], atol=2 * close)
        left_out = np.delete(np.abs(difference), vector.channels)
        assert left_out.max() <= np.abs(vector.weights).min() + 2 * close
        expected = scores_by_hand(read(shown, change=hide[0]), own.vectors)
        np.testing.assert_allclose(own.removed[k], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    expected = scores_by_hand(read(shown), own.vectors)
    np.testing.assert_allclose(own.unmasked, expected, rtol=5e-3, atol=5e-3 * np.abs(expected).max())
    assert np.abs(own.removed - own.unmasked).max() > 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("pictures, measured", [(PICTURES, MEASURED), (2, 100), (100, 2)])
def test_pictures_that_make_vectors_are_not_held_out_and_all_others_are(study, pictures, measured):
    data, (regions, calls) = study.data, recording(functools.partial(boxes_anywhere, names=("low",)))
    for label, own in enumerate(common_traits(study, regions, pictures, measured)):
        train, test = of_class(data.train, label), of_class(data.test, label)
        chosen, shown = calls[label]
        assert len(chosen) == min(pictures, len(train)) and len(own.unmasked) == min(measured, len(test)) == len(shown)
        for part, whole in ((chosen, train), (shown, test)):  # of the right split, evenly, from end to end
            at = [whole.hashes.index(name) for name in part.hashes]
            assert at[0] == 0 and at[-1] == len(whole) - 1 and np.ptp(np.diff(at)) <= 1
        every = [of_class(split, label) for split in data.splits.values()]
        of_the_class = [pair for split in every for pair in zip(split.paths, split.hashes)]
        others = [path for path, name in of_the_class if name not in chosen.hashes]
        assert own.held_out.shape == (len(of_the_class) - len(chosen), 1) == (len(others), 1)
        read = read_by_hand(study, SimpleNamespace(paths=others), "max")
        expected = np.sort(scores_by_hand(read, own.vectors)[:, 0])
        np.testing.assert_allclose(np.sort(own.held_out[:, 0]), expected, atol=5e-3 * np.abs(expected).max())


def test_a_concept_that_is_not_seen_is_left_out(study, found):
    def regions(label, split):
        region = boxes_anywhere(label, split)
        training = set(split.hashes) <= set(study.data.train.hashes)
        if label == 0:
            if training:  # hidden in all pictures that make vectors
                region.masks[:, 1] = False
            return region
        return region if training else boxes_anywhere(label, split, ("low", "corner"))  # a test picture shows no middle

    first, second = common_traits(study, regions, PICTURES, MEASURED)
    assert first.names == ("corner", "low") and second.names == ("corner", "low")
    for own, whole in zip((first, second), found):  # those left have the very numbers of their names
        at = [whole.names.index(name) for name in own.names]
        np.testing.assert_allclose(own.unmasked, whole.unmasked[:, at], rtol=1e-5)
        np.testing.assert_allclose(own.removed, whole.removed[at][:, :, at], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(own.held_out, whole.held_out[:, at], rtol=1e-5)


def test_traits_of_a_method_have_the_names_of_its_concepts(study, concepts):
    method, options = AsXai(concepts=concepts), dict(pictures=PICTURES, measured=MEASURED)
    found, again = (benchmark.traits_of(method, study, **options) for _ in range(2))
    assert [own.names for own in found] == [("ear", "nose", "ear 2"), ("nose", "tail")]
    assert [own.drops().shape for own in found] == [(3, 3), (2, 2)]
    for one, other in zip(found, again):
        np.testing.assert_array_equal(one.removed, other.removed)
        np.testing.assert_array_equal(one.held_out, other.held_out)
    specific, straight = benchmark.trait_rows(found)
    share = traits_vectors.specificity([(own.unmasked, own.removed) for own in found])
    expected = {"measure": "specificity", "value": share.share, "low": share.low, "high": share.high}
    assert specific == expected and [straight["measure"], np.isnan(straight["low"])] == ["q-q r2", True]
    assert straight["value"] == np.median([own.r2 for of_one in found for own in of_one.normality()])
    assert benchmark.traits_of("black box", study) == benchmark.trait_rows([]) == []
    assert np.isnan(benchmark.trait_rows([planted(("alone",))])[0]["value"])  # nothing to compare its drop with


# --- shares of components, and pictures of removal ---


def test_kept_variance_is_the_share_of_each_component_of_concepts_alone(study):
    regions, calls = recording(functools.partial(boxes_anywhere, names=("corner", "middle")))
    result = common.kept_variance(study, regions, pictures=4, k=3)
    assert len(result) == len(study.class_names)
    for label, (names, ratios) in enumerate(result):
        chosen = calls[label][0]
        assert names == ("corner", "middle") and ratios.shape == (2, 3)
        assert (np.diff(ratios, axis=1) <= 0).all() and (ratios > 0).all() and (ratios.sum(axis=1) <= 1 + 1e-9).all()
        for k, mask in enumerate(boxes_anywhere(label, chosen, names).masks[0]):
            alone = read_by_hand(study, chosen, "max", functools.partial(hidden_by_hand, mask=mask, keep=True))
            np.testing.assert_allclose(ratios[k], trait_by_hand(alone, 3)[1], atol=1e-4)
    for _, ratios in common.kept_variance(study, boxes_anywhere, pictures=2, k=10):  # fewer components, which are all
        assert ratios.shape == (3, 2)
        np.testing.assert_allclose(ratios.sum(axis=1), 1)


def best_by_hand(study, concepts, class_name, name, count):
    """Training pictures of a class in which a concept fires most, and the point of each peak; strongest first."""
    label = study.class_names.index(class_name)
    split = of_class(study.data.train, label)
    vectors = np.flatnonzero(concepts.members[label] == concepts.names.index(name) + 1)
    maps = own_class_maps(study, split)[:, vectors].amax(dim=1).numpy()
    order = sorted(range(len(split)), key=lambda i: -maps[i].max())[:count]
    cells = [np.unravel_index(maps[i].argmax(), maps[i].shape) for i in order]
    return [split.paths[i] for i in order], (np.array(cells) + 0.5) / maps.shape[1]


def test_removal_examples_are_two_halves_of_the_pictures_that_fire_most(study, concepts):
    shown = benchmark.removal_examples(AsXai(90.0, concepts).fit(study), "dog", count=2)
    assert shown["names"] == ["nose", "tail"]
    for name, pictures, kept, removed in zip(*(shown[key] for key in ("names", "pictures", "kept", "removed"))):
        best = best_by_hand(study, concepts, "dog", name, 2)[0]
        np.testing.assert_array_equal(pictures, to_batch(best, SIZE).permute(0, 2, 3, 1))
        np.testing.assert_array_equal(kept.astype(int) + removed, pictures)  # a pixel is in one of them
        assert (removed == 0).all(axis=3).mean() >= 0.09 and (kept == 0).all(axis=3).mean() >= 0.89


# --- parts that are not drawn ---


def test_a_redrawn_picture_is_the_same_and_without_a_part_another(study):
    for split in (study.data.train, study.data.validation, study.data.test):
        for i in (0, len(split) - 1):
            path, fine, parts = split.paths[i], split.fine[i], split.take([i]).part_masks()[0]
            drawn = np.asarray(read_picture(path))
            again = sources.redraw(study.data.name, path, (), fine)
            assert again.dtype == np.uint8 and np.array_equal(again, drawn)
            without = sources.redraw(study.data.name, path, ("body",), fine)
            body = parts == study.data.part_names.index("body") + 1
            changed = (without != drawn).any(axis=2)
            assert changed[body].mean() > 0.8 > changed[~body].mean() if body.any() else not changed.any()


def test_what_cannot_be_redrawn_is_named(study):
    path = study.data.test.paths[0]
    with pytest.raises(DataError, match="'oxford-pets' is not drawn"):
        sources.redraw("oxford-pets", path, ("ear",))
    with pytest.raises(ValueError, match="wing"):
        sources.redraw(study.data.name, path, ("wing",))


def test_rendered_drops_are_those_of_pictures_drawn_without_a_part(study, found, monkeypatch):
    monkeypatch.setattr(sources, "cpu_count", lambda: 1)  # processes would take longer to start than to draw
    results = benchmark.rendered_drops(study, found, pictures=2)
    assert len(results) == len(found)
    for label, (own, (parts, drops)) in enumerate(zip(found, results)):
        split = of_class(study.data.test, label).take([0, -1])
        visible = {study.data.part_names[k - 1] for k in np.unique(split.part_masks()) if k}
        assert set(parts) == visible and drops.shape == (len(parts), len(own.names))
        whole = scores_by_hand(read_by_hand(study, split, "max"), own.vectors)
        for part, drop in list(zip(parts, drops))[::3]:
            render = functools.partial(menagerie.render, study.data.name, own.class_name, size=SIZE, remove={part})
            numbers = [1_000_000 + int(path.stem) for path in split.paths]
            pictures = [render(number, fine=fine).picture for number, fine in zip(numbers, split.fine)]
            without = scores_by_hand(read_by_hand(study, SimpleNamespace(paths=pictures), "max"), own.vectors)
            expected = (whole - without).mean(axis=0) / own.unmasked.std(axis=0)
            np.testing.assert_allclose(drop, expected, atol=0.05)
        assert np.abs(drops).max() > 0.2


def test_nothing_drops_where_nothing_is_drawn_otherwise(study, found, monkeypatch):
    asked, unchanged = [], lambda data_set, path, remove, fine=None: np.asarray(read_picture(path))
    monkeypatch.setattr(sources, "cpu_count", lambda: 1)
    monkeypatch.setattr(sources, "redraw", lambda *args: asked.append(args[::2][:2]) or unchanged(*args))
    results = benchmark.rendered_drops(study, found, pictures=3)
    for _, drops in results:
        np.testing.assert_allclose(drops, 0, atol=0.05)  # whole pictures are cached with three digits
    assert asked == [(study.data.name, (part,)) for parts, _ in results for part in parts for _ in range(3)]
    photos = SimpleNamespace(data=dataclasses.replace(study.data, part_names=()))
    assert benchmark.rendered_drops(photos, found, pictures=3) == []  # nor are they drawn


# --- trait pictures ---


@pytest.fixture(scope="module")
def dogs(study, concepts):
    return traits_pictures.trait_pictures(study, concepts, "dog", pictures=4, crop=CROP, steps=3)


def test_trait_pictures_invert_what_windows_of_a_concept_have_in_common(study, concepts, dogs):
    assert dogs.names == ("nose", "tail") and dogs.pictures.shape == (2, CROP, CROP, 3)
    assert dogs.pictures.dtype == np.uint8 and dogs.errors.shape == dogs.ratios.shape == (2,)
    for k, name in enumerate(dogs.names):
        paths, points = best_by_hand(study, concepts, "dog", name, 4)
        maps = []
        for path, point in zip(paths, points):
            top, left = (min(max(round(x * SIZE - CROP / 2), 0), SIZE - CROP) for x in point.tolist())
            maps.append(map_by_hand(study, to_batch([path], SIZE)[0][:, top : top + CROP, left : left + CROP]))
        maps, shares = np.array(maps), []
        assert dogs.targets.shape[1:] == maps.shape[1:]
        for row, column in np.ndindex(*maps.shape[2:]):
            trait, share = trait_by_hand(maps[:, :, row, column])
            np.testing.assert_allclose(dogs.targets[k, :, row, column], trait, atol=1e-3 * np.abs(trait).max())
            shares.append(share[0])
        assert dogs.ratios[k] == pytest.approx(np.mean(shares), abs=1e-4)


def test_trait_pictures_are_the_same_again_and_others_for_another_seed(study, concepts, dogs):
    again = traits_pictures.trait_pictures(study, concepts, "dog", pictures=4, crop=CROP, steps=3)
    np.testing.assert_array_equal(again.pictures, dogs.pictures)
    np.testing.assert_array_equal(again.errors, dogs.errors)
    other = traits_pictures.trait_pictures(study, concepts, "dog", pictures=4, crop=CROP, steps=3, seed=1)
    assert torch.equal(other.targets, dogs.targets) and not np.array_equal(other.pictures, dogs.pictures)


def test_a_race_that_is_not_won_says_so():
    network = tiny_backbone()
    with torch.no_grad():
        targets = network(smooth_pictures(3, 64))[:1]
    paper, fast = benchmark.race(network, targets, 64, fast_steps=1, steps=300)[0].to_dict("records")
    assert fast["objective"] > paper["objective"] and paper["steps_to_reach"] == 300
    assert all(np.isnan(fast[column]) for column in ("steps_to_reach", "seconds_to_reach", "speedup"))


def smooth_pictures(count, size):
    pictures = torch.rand((count, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    return F.interpolate(pictures, size=(size, size), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("kind", ["pooled", "spatial"])
def test_fast_is_as_good_as_the_paper_in_far_fewer_steps(kind):
    """A tenth of the steps, each of which may take a little longer; times of a busy machine are no test."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [
            nn.Conv2d(3, 8, 5, stride=2, padding=2),
            nn.Conv2d(8, 12, 3, stride=2),
            nn.Conv2d(12, 16, 3, stride=2),
        ]
        network = nn.Sequential(*(one for layer in layers for one in (layer, nn.Tanh())))
    with torch.no_grad():
        targets = network(smooth_pictures(2, 64))
        targets = targets.mean(dim=(2, 3)) if kind == "pooled" else targets
    table, _ = benchmark.race(network, targets, 64, fast_steps=50, steps=500)
    assert table["target"].tolist() == [0, 0, 1, 1] and table["method"].tolist() == ["paper", "fast"] * 2
    paper, fast = (table[table["method"] == method].reset_index() for method in ("paper", "fast"))
    assert (fast["objective"] <= paper["objective"]).all() and (paper["steps"] == 500).all()
    reached = fast["steps_to_reach"]
    assert (reached <= 50).all() and (reached >= inversion.jittered(50)).all()  # none while it is shifted
    assert (fast["seconds_to_reach"] <= fast["seconds"]).all()
    np.testing.assert_allclose(fast["speedup"], paper["seconds"] / fast["seconds_to_reach"])
    assert (paper["speedup"] == 1).all() and (paper["steps_to_reach"] == 500).all()
    alone = inversion.invert(network, targets[:1], 64, steps=50)
    assert fast["objective"][0] == pytest.approx(alone.trace[-1].item(), rel=1e-3)


def test_windows_lie_around_their_point_and_inside_the_picture():
    points = np.array([(0, 0), (1, 1), (0, 1), (0.5, 0.5), (0.45, 0.55), (0.3, 0.9)], dtype=float)
    corners = [(0, 0), (12, 12), (0, 12), (6, 6), (5, 7), (2, 12)]
    pictures = torch.arange(6 * 3 * 20 * 20).view(6, 3, 20, 20)
    windows = traits_pictures.windows_around(pictures, points, 8)
    assert windows.shape == (6, 3, 8, 8)
    for window, picture, (top, left) in zip(windows, pictures, corners):
        assert torch.equal(window, picture[:, top : top + 8, left : left + 8])
    assert torch.equal(traits_pictures.windows_around(pictures, points, 20), pictures)


# --- tables ---


def test_qq_plots_stand_beside_the_concept_of_the_same_name():
    ours = [planted(("ear", "ear 2", "nose", "nose 2", "concept 7"), seed=1)]
    theirs = dataclasses.replace(planted(("nose 2", "nose", "ear"), seed=2), class_name=ours[0].class_name)
    other = [theirs, planted(("concept 7",), seed=3)]
    (pair,) = benchmark.qq_pairs(ours, benchmark.value_table(other))
    assert (pair["class"], pair["names"]) == (ours[0].class_name, list(ours[0].names))
    theirs = {name: traits_vectors.normality(values) for name, values in zip(other[0].names, other[0].held_out.T)}
    expected = ["ear", "ear", "nose", "nose 2", None]
    assert [own and own.mean for own in pair["other"]] == [name and theirs[name].mean for name in expected]
    assert len({own.mean for own in theirs.values()}) == 3
    assert [own.mean for own in pair["ours"]] == pytest.approx(ours[0].held_out.mean(axis=0).tolist())
    (alone,) = benchmark.qq_pairs(ours, pd.DataFrame())
    assert alone["other"] == [None] * 5


def test_specificity_table_has_a_row_per_method_and_seed():
    sharp = [planted(("a", "b", "c"), seed=1), planted(("a", "b"), seed=2)]
    blunt = [planted(("a", "b", "c"), seed=3, own=-1.0)]
    table = benchmark.specificity_table([("ours", 0, sharp), ("ours", 1, blunt), ("other", 0, blunt + sharp)])
    assert list(table.columns) == ["method", "seed", "classes", "concepts", "share", "low", "high"]
    counts = table[["method", "seed", "classes", "concepts"]].values.tolist()
    assert counts == [["ours", 0, 2, 5], ["ours", 1, 1, 3], ["other", 0, 3, 8]]
    assert table["share"].tolist() == pytest.approx([1, 0, 5 / 8])
    result = traits_vectors.specificity([(own.unmasked, own.removed) for own in blunt + sharp])
    assert (table["low"][2], table["high"][2]) == (result.low, result.high)
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()


def test_normality_table_has_a_row_per_concept():
    classes = [planted(("a", "b"), seed=1), planted(("c",), seed=2)]
    table = benchmark.normality_table([("ours", 4, classes), ("other", 0, classes[1:])])
    assert list(table.columns) == ["method", "seed", "class", "concept", "r2", "w", "p", "count", "mean", "std", "skew"]
    rows = [f"{own.method} {own.seed} {own[3]} {own.concept}" for own in table.itertuples()]
    assert rows == ["ours 4 class 1 a", "ours 4 class 1 b", "ours 4 class 2 c", "other 0 class 2 c"]
    columns = [classes[0].held_out[:, 0], classes[0].held_out[:, 1], *[classes[1].held_out[:, 0]] * 2]
    for (_, row), values in zip(table.iterrows(), columns):
        result, keys = traits_vectors.normality(values), ["r2", "w", "p", "count", "mean", "std", "skew"]
        assert row[keys].tolist() == [getattr(result, key) for key in keys]


def test_vector_table_has_a_row_per_channel():
    classes = [planted(("a", "b"), seed=1), planted(("c",), seed=2)]
    table = benchmark.vector_table(classes)
    assert list(table.columns) == ["class", "concept", "channel", "weight"]
    assert table["class"].tolist() == ["class 1"] * 4 + ["class 2"] * 2 and table["concept"].str.cat() == "aabbcc"
    assert table["channel"].tolist() == [2, 0, 5, 1, 2, 0]
    assert table["weight"].tolist() == [0.5, -0.25, 1.5, -0.25, 0.5, -0.25]


# --- claims ---


def shares(**by_method):
    names = {"ours": benchmark.OURS, "s_xai": benchmark.S_XAI, "boxes": benchmark.BOXES}
    names["superpixels"] = benchmark.SUPERPIXELS
    rows = [(names[method], seed, share) for method, own in by_method.items() for seed, share in enumerate(own)]
    return pd.DataFrame(rows, columns=["method", "seed", "share"])


def straight(*r2):
    """A_s of two concepts of each seed, the one as straight as is said, and of a method that has no say."""
    pairs = [(seed, k, value) for seed, least in enumerate(r2) for k, value in enumerate((least, (1 + least) / 2))]
    rows = [{"method": benchmark.OURS, "seed": seed, "r2": value, "w": value - 0.1 * k} for seed, k, value in pairs]
    return pd.DataFrame([*rows, {"method": benchmark.BOXES, "seed": 0, "r2": 0.1, "w": 0.1}])


def raced(*speedups):
    rows = [row for value in speedups for row in (("paper", 1), ("fast", value))]
    return pd.DataFrame(rows, columns=["method", "speedup"])


def claimed(specific=shares(ours=[1.0]), normal=straight(1.0), ratios=(0.5,), races=pd.DataFrame()):
    return {row["claim"]: row for row in benchmark.claims(specific, normal, ratios, races)}


@pytest.mark.parametrize("direction, holds", [(1, "yes"), (0, "yes"), (-1, "no")])
def test_claims_hold_from_their_target_on(direction, holds):
    near = lambda target: float(np.nextafter(target, np.inf * direction)) if direction else float(target)
    specific = shares(ours=[near(benchmark.DIAGONAL_TARGET)], superpixels=[0.1])
    rows = claimed(specific, straight(near(benchmark.QQ_TARGET)), races=raced(near(benchmark.SPEED_TARGET)))
    targets = {"specificity_diagonal", "qq_r2_min", "inversion_speedup"}
    assert all(row["holds"] == (holds if name in targets else "") for name, row in rows.items())


@pytest.mark.parametrize(
    "theirs, holds", [([0.94], "yes"), ([0.95], "no"), ([0.96], "no"), ([0.8, 0.98], "yes"), ([], "yes")]
)
@pytest.mark.parametrize("which", ["s_xai", "superpixels"])
def test_concepts_must_be_more_specific_than_s_xai_or_what_stands_for_it(which, theirs, holds):
    rows = claimed(shares(ours=[0.95], **{which: theirs}, boxes=[1.0]))  # which nobody need beat
    assert rows["specificity_diagonal"]["holds"] == holds


def test_claims_are_means_over_seeds_of_this_study():
    specific = shares(ours=[0.8, 1.0], s_xai=[0.5, 0.7], boxes=[0.6])
    rows = claimed(specific, straight(0.9, 0.96), (0.2, 0.4, 0.9), raced(8, 20))
    here = {
        "qq_r2_min": 0.93,
        "qq_r2_median": (0.925 + 0.97) / 2,
        "shapiro_w_min": 0.865,
        "trait_explained_variance": 0.5,
        "specificity_diagonal": 0.9,
        "specificity_diagonal_s_xai": 0.6,
        "specificity_diagonal_boxes": 0.6,
        "inversion_speedup": 14,
    }
    assert {name: row["here"] for name, row in rows.items()} == pytest.approx(here)
    single = {"trait_explained_variance", "specificity_diagonal_boxes", "inversion_speedup"}
    assert all(row["seeds"] == (1 if name in single else 2) for name, row in rows.items())
    assert rows["specificity_diagonal"]["spread"] == pytest.approx(np.std([0.8, 1.0], ddof=1), abs=1e-4)


def test_claims_of_methods_and_races_that_are_missing_are_left_out():
    always = {"qq_r2_min", "qq_r2_median", "shapiro_w_min", "trait_explained_variance", "specificity_diagonal"}
    assert set(claimed()) == always
    assert set(claimed(shares(ours=[1.0], boxes=[0.5]))) == always | {"specificity_diagonal_boxes"}
    assert set(claimed(shares(ours=[1.0], superpixels=[0.5]))) == always | {"specificity_diagonal_superpixels"}
    assert set(claimed(races=raced(3))) == always | {"inversion_speedup"}
    assert claimed(races=raced(3))["inversion_speedup"]["holds"] == "no"


def test_a_race_holds_if_the_slowest_target_does_and_never_counts_as_nothing():
    slow, lost = (claimed(races=raced(40, other, 20))["inversion_speedup"] for other in (9, np.nan))
    assert (slow["here"], lost["here"], slow["holds"], lost["holds"]) == (20, 20, "no", "no")
    assert claimed(races=raced(np.nan))["inversion_speedup"]["here"] == 0
