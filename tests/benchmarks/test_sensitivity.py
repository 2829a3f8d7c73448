"""Ranks of the layers of a tiny study of drawn animals, and what hiding parts does to its logits."""

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from helpers import drawn_study

import menagerie
from asxai.benchmarks import common_traits, importance, sensitivity
from asxai.concepts.masks import Region, semantic_masks
from asxai.data import datasets, sources
from asxai.data.datasets import Split
from asxai.data.pictures import to_batch
from asxai.model.protocnn import Activations
from asxai.ranks import layers

SIZE = 96
QUICK = dict(size=SIZE, basis_per_class=4, channels=12, cycles=1, joint_epochs=1, views=1, batch_size=8)
PLACES = {"corner": (slice(0, 40), slice(0, 40)), "low": (slice(60, 96), slice(0, 96))}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return drawn_study(tmp_path_factory.mktemp("animals"), 14, 6, **QUICK)


def places(label, split):
    """The same regions in every picture; a third concept is seen nowhere."""
    masks = torch.zeros(len(split), 3, SIZE, SIZE, dtype=torch.bool)
    for k, (rows, columns) in enumerate(PLACES.values()):
        masks[:, k, rows, columns] = True
    return Region((*PLACES, "unseen"), masks)


@pytest.fixture(scope="module")
def found(study):
    return layers.layer_ranks(study, places, study.data.test, pictures=5)


def of_class(study, label, pictures=5):
    return datasets.spread_over(study.data.test.take(study.data.test.labels == label), pictures)


def logits_by_hand(study, pictures, label):
    """One picture at a time, through the model's own forward pass."""
    with torch.inference_mode():
        return np.array([study.model(study.model.features(picture[None])).logits[0, label].item()
                         for picture in pictures])


def test_layers_go_from_the_backbone_to_the_last_added_one(study, found):
    names = layers.layers(study)
    assert len(names) == 5 and list(names)[-1] == "last added"
    assert [(own.class_name, own.layer) for own in found] == [
        (class_name, layer) for class_name in study.class_names for layer in names]
    assert {own.names for own in found} == {tuple(PLACES)}  # without the one that is seen nowhere


def test_ranks_are_those_of_each_map(study, found):
    """NumPy's rank of every map of the two added layers, computed from the layers themselves."""
    for own in found:
        if "added" not in own.layer:
            continue
        pictures = to_batch(of_class(study, study.class_names.index(own.class_name)).paths, SIZE)
        for row, picture in enumerate(pictures):
            with torch.inference_mode():
                x = (study.model.backbone(picture[None]) - study.model.feature_mean) / study.model.feature_std
                maps = study.model.add_on[:2 if own.layer == "first added" else 4](x)[0].double().numpy()
            rank = [np.linalg.matrix_rank(one, tol=layers.TOLERANCE * np.linalg.norm(one, 2)) for one in maps]
            # whether a singular value at the edge counts may hang on the last digit of a batch
            assert (np.abs(np.array(rank) - own.ranks.numerical[row]) <= 1).all()
            assert (np.array(rank) == own.ranks.numerical[row]).mean() > 0.8
            np.testing.assert_allclose(own.activation[row], maps.mean(axis=(1, 2)), rtol=1e-3, atol=1e-6)


def test_tolerance_none_is_that_of_matrix_rank(study, found):
    (own, _) = layers.layer_ranks(study, places, study.data.test, layers.LAST, pictures=5, tolerance=None)
    last = next(one for one in found if one.layer == "last added" and one.class_name == own.class_name)
    side = own.values.shape[2]
    assert own.tolerance == own.usual == last.usual == side * np.finfo(np.float32).eps
    assert last.tolerance == layers.TOLERANCE
    assert (own.ranks.numerical >= last.ranks.numerical).all()


def test_cached_features_give_what_pictures_do(study, found):
    """The last layer alone comes from cached features (float16), with others from the pictures."""
    alone = layers.layer_ranks(study, places, study.data.test, layers.LAST, pictures=5)
    assert [own.layer for own in alone] == ["last added"] * 2
    for own, other in zip(alone, (one for one in found if one.layer == "last added")):
        assert own.names == other.names and own.module == "add_on.3" and len(own.shown) == 5
        np.testing.assert_allclose(own.values, other.values, rtol=0.01, atol=1e-3)
        np.testing.assert_allclose(own.activation, other.activation, rtol=0.01, atol=1e-4)


def test_gradient_activation_by_finite_differences(study):
    """What the logit gains as one filter's map grows a little, over the cells of the map.

    Not where the two best cells of a vector tie in float32: they share the gradient then.
    """
    classes = importance.gradient_activation(study, study.data.test, pictures=4)
    features, step, checked = study.features(of_class(study, 1, 4))[0], 1e-8, 0
    model = study.model.double()
    try:
        with torch.no_grad():
            embedding = model.embed(features.double())
            cells, grown = embedding[0, 0].numel(), torch.eye(embedding.shape[1]).double()[:, :, None, None] * step
            for row, own in enumerate(embedding):
                first, second = model.compare(own[None]).maps.flatten(3).topk(2, dim=3).values.unbind(3)
                if (first - second).min() > 1e-5:
                    more, less = (model.compare(own * (1 + sign * grown)).logits[:, 1] for sign in (1, -1))
                    expected = ((more - less) / 2 / step / cells).abs().numpy()
                    assert expected.max() > 1e-4
                    np.testing.assert_allclose(classes[1][row], expected, rtol=0.01, atol=1e-6)
                    checked += 1
    finally:
        model.float()
    assert checked >= 2


def test_an_unknown_layer_is_named(study):
    with pytest.raises(ValueError, match="'backbone.wings' is not in the network; it has .*add_on"):
        layers.layer_ranks(study, places, study.data.test, {"wings": "backbone.wings"}, pictures=1)


def test_recording_leaves_no_hooks(study, found):
    assert not any(module._forward_hooks for module in study.model.modules())


def test_panel_shows_the_filters_that_overlap_most(study, found):
    own = next(one for one in found if one.layer == "last added")
    given, concepts = sensitivity.panel(study, own, most=2), own.votes().concepts
    assert given["names"] == list(own.names) and (given["filter_concepts"] == concepts).all()
    assert len(given["pictures"]) == 2 and given["intervals"].shape == (2, 2)
    with torch.inference_mode():
        maps = study.model.embed(study.features(own.shown)[0])
    pixels, shown = study.pictures(list(own.shown.paths)), 0
    for k, examples in enumerate(given["examples"]):
        overlap = own.iou[:, :, k].mean(axis=0)
        assert len(examples) == min(2, (concepts == k).sum())
        for picture, mask, number in examples:
            best = own.iou[:, number, k].argmax()
            assert concepts[number] == k and np.array_equal(picture, pixels[best])
            expected = semantic_masks(maps[best, number], SIZE).numpy()
            assert (mask == expected).mean() > 0.99  # cached features and these may differ in the last digit
            beaten = (concepts == k) & (overlap > overlap[number])
            assert beaten.sum() < 2
            shown += 1
    assert shown > 0


def test_hidden_drops_are_those_of_blackened_pictures(study):
    (first, drops), _ = importance.hidden_drops(study, places, study.data.test, pictures=3, fill="black")
    assert first == (*PLACES, "unseen") and drops.shape == (3, 3)
    pictures = to_batch(of_class(study, 0, 3).paths, SIZE)
    before = logits_by_hand(study, pictures, 0)
    for k, (rows, columns) in enumerate(PLACES.values()):
        hidden = pictures.clone()
        hidden[:, :, rows, columns] = 0
        np.testing.assert_allclose(drops[:, k], before - logits_by_hand(study, hidden, 0), atol=1e-4)
    np.testing.assert_allclose(drops[:, 2], 0, atol=1e-5)


def test_undrawn_drops_are_those_of_pictures_drawn_without_a_part(study, monkeypatch):
    monkeypatch.setattr(sources, "cpu_count", lambda: 1)
    results = importance.undrawn_drops(study, study.data.test, pictures=2)
    for label, (parts, drops) in enumerate(results):
        split = of_class(study, label, 2)
        assert drops.shape == (2, len(parts)) and "ear" in parts
        fine = split.fine or [None] * len(split)
        bare = to_batch([menagerie.render(study.data.name, study.class_names[label], 1_000_000 + int(path.stem),
                                          size=SIZE, remove={"ear"}, fine=finer).picture
                         for path, finer in zip(split.paths, fine)], SIZE)
        expected = logits_by_hand(study, to_batch(split.paths, SIZE), label) - logits_by_hand(study, bare, label)
        np.testing.assert_allclose(drops[:, parts.index("ear")], expected, atol=1e-4)
    photos = SimpleNamespace(data=dataclasses.replace(study.data, part_names=()), class_names=study.class_names)
    assert importance.undrawn_drops(photos, study.data.test) == []


class Planted:
    """A model whose logit is twice the best cell of the corner plus that of the low place, of a map of two channels."""

    feature_mean = torch.zeros(1)

    def embed(self, features):
        return features.float()

    def compare(self, embedding):
        maps = embedding.flatten(2).unflatten(2, embedding.shape[2:])[:, None]  # one class, a vector per channel
        return Activations(None, maps.amax(dim=(3, 4)), maps, embedding)

    def last_layer(self, similarity):
        return (2 * similarity[:, 0] + similarity[:, 1])[:, None].expand(-1, 2)


def test_sobol_indices_find_the_concept_that_the_logit_hangs_on():
    """Each of two places is all of a channel: four fifths and a fifth of the variance, by hand."""
    features = torch.zeros(1, 2, 2, 12, 12)
    features[:, :, 0, :5, :5] = 1
    features[:, :, 1, 8:, :] = 1
    split = Split(("a", "b"), np.array([0, 0]), ("a", "b"))
    study = SimpleNamespace(model=Planted(), class_names=("finch",), features=lambda shown: features)
    found = functools.partial(importance.sobol_indices, study, places, split, 2)
    (names, indices), = found(256)
    assert names == (*PLACES, "unseen")
    # a channel's mean, which is left when its place has gone, differs: 25 and 48 of 144 cells
    first, second = (2 * (1 - 25 / 144)) ** 2, (1 - 48 / 144) ** 2
    np.testing.assert_allclose(indices, np.tile([first, second, 0], (2, 1)) / (first + second), atol=0.03)
    first, again, other = (found(16, seed)[0][1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_faded_logits_are_those_of_the_whole_embedding(study):
    """Cells that no concept touches are left out of the sum: the same as with them, one point at a time."""
    with torch.inference_mode():
        embedding = study.model.embed(study.features(of_class(study, 0, 1))[0])[0]
        generator = torch.Generator().manual_seed(0)
        inside = torch.zeros(2, *embedding.shape[1:])
        inside[0, :2, :2], inside[1, 1, :] = 1, torch.rand(embedding.shape[2], generator=generator)
        factors = torch.rand(7, 2, generator=generator)
        found = importance._faded_logits(study.model, embedding, inside, factors)
        mean = embedding.mean(dim=(1, 2), keepdim=True)
        for row, (a, b) in zip(found, factors):
            left = (1 - inside[0] * (1 - a)) * (1 - inside[1] * (1 - b))
            expected = study.model.compare((mean + left * (embedding - mean))[None]).logits[0]
            torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


# --- Tables ----------------------------------------------------------------------------------------------------------


def planted(class_name="finch", names=("ear", "ear 2", "eye"), pictures=8, rank=(2, 4, 6), layer="last added"):
    """Three filters a concept that overlap it fully, and whose maps have so many equal singular values."""
    iou = np.zeros((pictures, 9, 3))
    for k in range(3):
        iou[:, 3 * k:3 * k + 3, k] = 1
    values = (np.arange(7) < np.repeat(rank, 3)[:, None]) * np.ones((pictures, 1, 1))
    return layers.LayerRanks(class_name, layer, names, values, 0.01, 1e-6, iou,
                                  np.tile(np.repeat([0.3, -0.5, 0.1], 3), (pictures, 1)))


def test_share_table_has_a_row_per_concept():
    table = sensitivity.share_table([planted(), planted("lark")])
    assert table["class"].tolist() == ["finch"] * 3 + ["lark"] * 3 and table["filters"].tolist() == [3] * 6
    np.testing.assert_allclose(table["share"], np.tile([1 / 6, 1 / 3, 1 / 2], 2))
    np.testing.assert_allclose(table["low"], table["high"])  # all pictures are alike
    np.testing.assert_allclose(table["scaled"], table["share"] * 3)
    pd.testing.assert_frame_equal(table, sensitivity.share_table([planted(), planted("lark")], "effective"))


def test_halves_of_pictures_that_are_alike_agree():
    table = sensitivity.halves_table([planted()])
    assert table[["spearman", "low", "high", "by_vote"]].iloc[0].tolist() == [1, 1, 1, 1]


def test_halves_by_vote_hang_on_filters_between_concepts():
    """Filters that overlap two concepts about equally vote by chance; their weight hardly changes."""
    rng, own = np.random.default_rng(0), planted(pictures=40, rank=(3, 4, 5))
    iou = np.full((40, 9, 3), 0.3) + rng.normal(0, 0.1, (40, 9, 3))
    iou[:, [0, 3, 6], [0, 1, 2]] = 0.9
    table = sensitivity.halves_table([dataclasses.replace(own, iou=iou.clip(0, 1))])
    assert table["by_vote"].iloc[0] < 0.9 < table["spearman"].iloc[0]


def test_kinds_of_rank_differ_in_what_they_count():
    """Values 1, .5, .002 and 1e-7: each tolerance counts others of them."""
    own = planted()
    values = np.zeros((8, 9, 7))
    values[..., :4] = [1, 0.5, 0.002, 1e-7]
    values[:, :3, 1:] = 0  # filters of the first concept have rank 1
    own = dataclasses.replace(own, values=values)
    table = sensitivity.rank_kinds([own], (None, 1e-3, 0.1), draws=3).set_index("rank")
    assert table.index.tolist() == ["matrix_rank’s tolerance", "tolerance 0.001", "tolerance 0.1", "effective rank"]
    np.testing.assert_allclose(table["mean"][:3], [(3 + 6 * n) / 9 for n in (3, 3, 2)])
    np.testing.assert_allclose(table["least"][:3], [3 * 1 / (1 + 2 * n) for n in (3, 3, 2)])
    np.testing.assert_allclose(table["most"][:3], [3 * n / (1 + 2 * n) for n in (3, 3, 2)])
    assert (table["between"] == 1).all() and (table["halves"] == 1).all()  # every picture is the same
    share = np.array([1, 0.5, 0.002, 1e-7]) / 1.5020001
    assert table["mean"].iloc[3] == pytest.approx((3 + 6 * np.exp(-(share * np.log(share)).sum())) / 9, rel=1e-9)


def test_between_is_half_where_pictures_differ_as_filters_do():
    own = planted()
    values = np.zeros((2, 9, 7))
    values[0, :, 0] = 1
    values[1, :, :3] = 1  # all filters alike, pictures not
    assert (sensitivity.rank_kinds([dataclasses.replace(own, values=values, iou=own.iou[:2])], (None,), 2)["between"]
            .iloc[0] == 0)


def test_filter_table_lists_silent_filters():
    own = planted(rank=(0, 4, 7))
    row, = sensitivity.filter_table([own]).to_dict("records")
    assert (row["filters"], row["none"], row["redundant"], row["numbers"]) == (9, 0, 3, "0, 1, 2")
    assert row["mean_rank"] == pytest.approx((0 + 4 + 7) / 21)
    none = dataclasses.replace(own, iou=own.iou * 0, values=own.values + 1)
    row, = sensitivity.filter_table([none]).to_dict("records")
    assert (row["none"], row["redundant"], row["numbers"]) == (9, 0, "–")


def test_votes_agree_by_name():
    own, other = planted(), planted("lark", ("wing", "ear 2", "eye"))
    table = sensitivity.vote_table([own, other]).set_index(["first", "second"])
    assert table.index.tolist() == [("finch", "finch"), ("finch", "lark"), ("lark", "lark")]
    np.testing.assert_allclose(table["agreement"], [1, 2 / 3, 1])
    iou = own.iou.copy()
    iou[1::2, 0] = iou[1::2, 0, ::-1]  # one filter of nine goes over in every other picture
    iou[:, 8] = 0  # and one extracts nothing
    table = sensitivity.vote_table([dataclasses.replace(own, iou=iou)])
    assert table[["filters", "agreement"]].iloc[0].tolist() == [8, 7 / 8]


def test_focus_of_filters_and_their_ranks():
    own = planted(rank=(2, 4, 6))
    iou = own.iou * np.repeat([0.9, 0.5, 0.05], 3)[:, None]  # the last three extract nothing
    row, = sensitivity.focus_table([dataclasses.replace(own, iou=iou)]).to_dict("records")
    assert (row["with_concept"], row["without"], row["spearman"]) == (3, 6, -1)
    assert np.isnan(sensitivity.focus_table([own])["without"].iloc[0])


# --- Importance and causes -------------------------------------------------------------------------------------------


NAMES = ("ear", "ear 2", "eye")


def measured():
    gradients, sobol = np.tile(np.repeat([3.0, 1.0, 2.0], 3), (4, 1)), np.array([[0.3, 0.1, 0.2]])
    return importance.class_importance([planted()], [gradients], [(("eye", "ear", "ear 2"), sobol)],
                                        [(NAMES, np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 2.0]]))],
                                        [(("ear", "wing"), np.array([[5.0, 7.0]]))])


def test_importance_and_its_correlation_by_hand():
    table = sensitivity.importance_table(measured())
    values = table[table["reference"] == importance.HIDDEN].pivot(index="method", columns="concept", values="value")
    assert values.loc[importance.RANK].tolist() == [2, 4, 6]
    np.testing.assert_allclose(values.loc[importance.ACTIVATION], [0.3, 0.5, 0.1])
    assert values.loc[importance.GRADIENT].tolist() == [3, 1, 2]
    assert values.loc[importance.SOBOL].tolist() == [0.1, 0.2, 0.3]
    undrawn = table[(table["reference"] == importance.UNDRAWN) & (table["method"] == importance.RANK)]
    assert list(zip(undrawn["concept"], undrawn["causal"])) == [("ear", 5), ("ear 2", 5)]  # no part is called eye
    found = sensitivity.correlation_table(measured(), draws=50).set_index(["reference", "method", "class"])
    hidden = found.loc[importance.HIDDEN].xs("finch", level="class")["spearman"]
    assert hidden[importance.RANK] == hidden[importance.SOBOL] == 1  # causal 1, 2, 3
    assert hidden[importance.ACTIVATION] == hidden[importance.GRADIENT] == pytest.approx(-0.5)
    assert (found.xs(importance.MEAN, level="class")["spearman"] == hidden.tolist()).all()
    undrawn = found.loc[importance.UNDRAWN]
    assert undrawn["spearman"].isna().all() and len(undrawn) == 4  # two concepts have no order; there is no mean


def test_correlations_with_intervals_chance_and_means():
    """Eight concepts, two classes: draws by loops over pictures and over all random orders."""
    generator = np.random.default_rng(0)
    own = [importance.ClassImportance(name, tuple("abcdefgh"), {importance.RANK: generator.normal(size=(9, 8))},
                                       {importance.HIDDEN: generator.normal(size=(5, 8))})
           for name in ("lark", "finch")]
    table = sensitivity.correlation_table(own, draws=2000).set_index("class")
    assert table.index.tolist() == ["lark", "finch", importance.MEAN]
    for one in own:
        values, drops = one.methods[importance.RANK], one.causes[importance.HIDDEN]
        row = table.loc[one.class_name]
        assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(values.mean(0), drops.mean(0)).statistic)
        redrawn = [scipy.stats.spearmanr(values[generator.integers(9, size=9)].mean(0),
                                         drops[generator.integers(5, size=5)].mean(0)).statistic for _ in range(1500)]
        np.testing.assert_allclose(row[["low", "high"]].astype(float), np.quantile(redrawn, [0.025, 0.975]), atol=0.08)
        assert row["chance"] == pytest.approx(0.714, abs=0.05)  # of 8! orders, from tables of the statistic
    assert table.loc[importance.MEAN, "spearman"] == pytest.approx(table["spearman"][:2].mean())
    assert table.loc[importance.MEAN, "chance"] == pytest.approx(0.714 / np.sqrt(2), abs=0.06)
    assert table.loc[importance.MEAN, "concepts"] == 16


def test_another_kind_of_rank_may_correlate_otherwise():
    own, = measured()
    values = np.zeros((8, 9, 7))
    values[..., 0] = 1
    values[:, 3:6, 1:6], values[:, 6:, 1:3] = 0.002, 0.5  # the second concept counts most only where .002 counts
    table = sensitivity.kind_correlations([dataclasses.replace(planted(), values=values)], [own], (1e-3, 1e-2))
    assert table["rank"].tolist() == ["tolerance 0.001", "tolerance 0.01", "effective rank"]
    np.testing.assert_allclose(table[importance.HIDDEN], [0.5, np.sqrt(0.75), 1], atol=1e-9)


def test_importance_of_a_study(study, monkeypatch):
    monkeypatch.setattr(sources, "cpu_count", lambda: 1)
    last = layers.layer_ranks(study, places, study.data.test, layers.LAST, pictures=5)
    found = importance.causal_check(study, places, last, study.data.test, pictures=2)
    for label, own in enumerate(found):
        assert own.names == tuple(PLACES) and list(own.causes) == [importance.HIDDEN, importance.UNDRAWN]
        shapes = {method: values.shape for method, values in own.methods.items()}
        assert shapes == {importance.RANK: (5, 2), importance.ACTIVATION: (5, 2), importance.GRADIENT: (6, 2),
                          importance.SOBOL: (2, 2)}
        _, drops = importance.hidden_drops(study, places, study.data.test, 2)[label]
        np.testing.assert_allclose(own.causes[importance.HIDDEN], drops[:, :2])
        assert np.isnan(own.causes[importance.UNDRAWN]).all()  # no part is called corner


# --- Findings and claims ---------------------------------------------------------------------------------------------


def test_order_of_named_concepts():
    lark = planted("lark", ("eye", "leg", "ear"), rank=(6, 2, 4))
    swan = planted("swan", ("leg", "leg 2", "eye"), rank=(1, 5, 4))
    wing = planted("crow", ("wing", "beak", "tail"))
    table = sensitivity.order_table([lark, swan, wing], ["eye"], ["leg"], ["wing", "beak"], draws=20)
    assert table["finding"].tolist() == ["eye first"] * 2 + ["leg last"] * 2 + ["wing above beak"]
    assert table["class"].tolist() == ["lark", "swan", "lark", "swan", "crow"]
    assert table["holds"].tolist() == [True, False, True, True, False]  # both legs of the swan together: 3
    assert table["place"].tolist() == [1, 2, 3, 2, 2] and table["among"].tolist() == [3, 3, 3, 2, 2]
    np.testing.assert_allclose(table["scaled"], [1.5, 1.2, 0.5, 0.9, 0.5])
    np.testing.assert_allclose(table["other"], [1, 1.5, 1, 1.2, 1])
    for column in ("difference", "low", "high"):  # all pictures are alike
        np.testing.assert_allclose(table[column], [0.5, -0.3, -0.5, -0.3, -0.5])
    assert table["draws"].tolist() == [1, 0, 1, 1, 0]
    assert sensitivity.order_table([wing], ["eye"], ["leg"]).empty
    assert sensitivity.order_table([dataclasses.replace(lark, iou=lark.iou * [0, 1, 1])], ["eye"]).empty  # no filters


def test_draws_tell_how_sure_an_order_is():
    """Ranks 4 in eight pictures and 1 in two, against 3 in all: by hand from the binomial distribution."""
    own = planted(names=("eye", "ear", "leg"), rank=(4, 3, 1), pictures=10)
    values = own.values.copy()
    values[:2, :3, 1:] = 0
    own = dataclasses.replace(own, values=values)
    table = sensitivity.order_table([own], ["eye"], draws=20_000)
    expected = scipy.stats.binom.cdf(3, 10, 0.2)  # 4 - 0.3 n > 3 where n of the ten drawn are of the two
    assert table["draws"].iloc[0] == pytest.approx(expected, abs=0.01)
    assert table["low"].iloc[0] < 0 < table["difference"].iloc[0] < table["high"].iloc[0]


def seeds(rank=0.1, sobol=0.8, zero=0, reference=importance.UNDRAWN):
    """Tables of two seeds."""
    halves = pd.DataFrame({"class": ["lark", "finch"] * 2, "spearman": [0.9, 1, 0.8, 1],
                           "by_vote": [0.7, 0.9, 0.8, 1], "seed": [0, 0, 1, 1]})
    filters = pd.DataFrame({"class": ["lark", "finch"] * 2, "redundant": [zero, 0, zero, 2 * zero],
                            "seed": [0, 0, 1, 1]})
    correlations = pd.DataFrame([
        {"method": method, "reference": own, "class": name, "spearman": value, "chance": 0.5, "seed": seed}
        for method, value in ((importance.RANK, rank), (importance.ACTIVATION, -0.3), (importance.SOBOL, sobol))
        for own in {importance.HIDDEN, reference} for name in ("lark", importance.MEAN) for seed in (0, 1)])
    order = pd.DataFrame({"finding": ["eye first", "eye first", "leg last", "leg last", "wing above beak"],
                          "class": ["lark", "lark", "lark", "lark", "crow"], "holds": [True, False, True, True, True],
                          "seed": [0, 1, 0, 1, 0]})
    return halves, correlations, filters, order


def test_claims_by_hand():
    rows = {row["claim"]: row for row in sensitivity.claims(*seeds())}
    assert list(rows) == ["rank_order_halves", "rank_order_halves_by_vote", "rank_vs_causal",
                          "rank_vs_causal: concept hidden", "best_alternative_vs_causal: Sobol index",
                          "redundant_filters", "eyes_rank_first", "legs_rank_last", "wings_above_beak"]
    assert {name: (row["here"], row["holds"]) for name, row in rows.items()} == {
        "rank_order_halves": (0.925, "yes"), "rank_order_halves_by_vote": (0.85, "no"), "rank_vs_causal": (0.1, "no"),
        "rank_vs_causal: concept hidden": (0.1, "no"),
        "best_alternative_vs_causal: Sobol index": (0.8, ""), "redundant_filters": (0, ""),
        "eyes_rank_first": (0.5, "no"), "legs_rank_last": (1, "yes"), "wings_above_beak": (1, "yes")}
    assert rows["rank_order_halves"]["seeds"] == 2
    rows = {row["claim"]: row for row in sensitivity.claims(*seeds(0.6, -0.5, 1))}
    assert rows["rank_vs_causal"]["holds"] == "yes" and rows["redundant_filters"]["holds"] == "yes"
    assert rows["redundant_filters"]["here"] == 1 and "best_alternative_vs_causal: mean activation" in rows
    halves, correlations, filters, order = seeds()
    rows = sensitivity.claims(halves, correlations, filters, order[:0])
    assert [row["claim"] for row in rows][-1] == "redundant_filters"
    rows = sensitivity.claims(*seeds(reference=importance.HIDDEN))
    assert not any(row["claim"].startswith("rank_vs_causal:") for row in rows), "there is one test of importance only"


def test_the_reference_is_what_is_not_drawn_where_there_is_any():
    assert sensitivity.causal_reference(seeds()[1]) == importance.UNDRAWN
    assert sensitivity.causal_reference(seeds(reference=importance.HIDDEN)[1]) == importance.HIDDEN


def test_tables_of_a_seed():
    own = measured()
    tables = sensitivity.seed_tables(3, [planted()], own, ["eye"])
    assert list(tables) == ["shares", "halves", "filters", "order", "correlations"]
    assert all((table["seed"] == 3).all() and len(table) for table in tables.values())
    pd.testing.assert_frame_equal(tables["order"].drop(columns="seed"), sensitivity.order_table([planted()], ["eye"]))
