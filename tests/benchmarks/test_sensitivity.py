"""Ranks of the layers of a tiny study of drawn animals, and tables of planted ones."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from helpers import QUICK, REGIONS, fixed_regions, planted_ranks

from asxai.benchmarks import importance, sensitivity
from asxai.benchmarks.importance import HIDDEN, MEAN, UNDRAWN
from asxai.concepts.masks import semantic_masks
from asxai.data.datasets import spread_over
from asxai.data.pictures import to_batch
from asxai.ranks import layers

SIZE = QUICK["size"]


@pytest.fixture(scope="module")
def ranks(study):
    return layers.layer_ranks(study, fixed_regions, study.data.test, pictures=5)


# --- Layers ----------------------------------------------------------------------------------------------------------


def test_layers_go_from_the_backbone_to_the_last_added_one(study, ranks):
    names = layers.layers(study)
    assert len(names) == 5 and list(names)[-1] == "last added"
    expected = [(class_name, layer) for class_name in study.class_names for layer in names]
    assert [(one.class_name, one.layer) for one in ranks] == expected
    assert {one.names for one in ranks} == {tuple(REGIONS)}  # without the one that is seen nowhere
    assert not any(module._forward_hooks for module in study.model.modules()), "recording leaves no hooks"


def test_ranks_are_those_of_each_map(study, ranks):
    """NumPy's rank of every map of the two added layers, computed from the layers themselves."""
    for one in ranks:
        if "added" not in one.layer:
            continue
        label = study.class_names.index(one.class_name)
        pictures = to_batch(spread_over(study.data.test.take(study.data.test.labels == label), 5).paths, SIZE)
        for row, picture in enumerate(pictures):
            with torch.inference_mode():
                x = (study.model.backbone(picture[None]) - study.model.feature_mean) / study.model.feature_std
                maps = study.model.add_on[: 2 if one.layer == "first added" else 4](x)[0].double().numpy()
            rank = [np.linalg.matrix_rank(own, tol=layers.TOLERANCE * np.linalg.norm(own, 2)) for own in maps]
            # whether a singular value at the edge counts may hang on the last digit of a batch
            assert (np.abs(np.array(rank) - one.ranks.numerical[row]) <= 1).all()
            assert (np.array(rank) == one.ranks.numerical[row]).mean() > 0.8
            np.testing.assert_allclose(one.activation[row], maps.mean(axis=(1, 2)), rtol=1e-3, atol=1e-6)


def test_the_last_layer_from_cached_features(study, ranks):
    """Alone it comes from cached features (float16), with others from the pictures; its usual tolerance."""
    alone = layers.layer_ranks(study, fixed_regions, study.data.test, layers.LAST, pictures=5, tolerance=None)
    assert [one.layer for one in alone] == ["last added"] * 2
    for one, other in zip(alone, (one for one in ranks if one.layer == "last added")):
        assert one.names == other.names and one.module == "add_on.3" and len(one.shown) == 5
        np.testing.assert_allclose(one.values, other.values, rtol=0.01, atol=1e-3)
        np.testing.assert_allclose(one.activation, other.activation, rtol=0.01, atol=1e-4)
        assert one.tolerance == one.usual == other.usual == one.values.shape[2] * np.finfo(np.float32).eps
        assert other.tolerance == layers.TOLERANCE and (one.ranks.numerical >= other.ranks.numerical).all()


def test_an_unknown_layer_is_named(study):
    with pytest.raises(ValueError, match="'backbone.wings' is not in the network; it has .*add_on"):
        layers.layer_ranks(study, fixed_regions, study.data.test, {"wings": "backbone.wings"}, pictures=1)


# --- What figures take -----------------------------------------------------------------------------------------------


def test_panel_shows_the_filters_that_overlap_most(study, ranks, monkeypatch):
    monkeypatch.setattr(sensitivity, "STRONGEST", 2)
    one = next(one for one in ranks if one.layer == "last added")
    panel, votes = sensitivity.panel(study, one), one.votes().concepts
    assert panel["names"] == list(one.names) and (panel["filter_concepts"] == votes).all()
    assert len(panel["pictures"]) == 2 and panel["intervals"].shape == (2, 2)
    with torch.inference_mode():
        maps = study.model.embed(study.features(one.shown)[0][:])
    pixels = study.pictures(list(one.shown.paths))
    for k, examples in enumerate(panel["examples"]):
        overlap = one.iou[:, :, k].mean(axis=0)
        assert len(examples) == min(2, (votes == k).sum())
        for picture, mask, number in examples:
            best = one.iou[:, number, k].argmax()
            assert votes[number] == k and np.array_equal(picture, pixels[best])
            expected = semantic_masks(maps[best, number], SIZE).numpy()
            assert (mask == expected).mean() > 0.99  # cached features and these may differ in the last digit
            assert ((votes == k) & (overlap > overlap[number])).sum() < 2
    assert any(panel["examples"])


def test_filters_by_class_and_by_layer():
    lark, late = planted_ranks("lark"), planted_ranks("lark", layer="first added")
    numerical, votes, names = sensitivity.by_filter([planted_ranks(), lark])
    assert list(numerical) == list(votes) == list(names) == ["finch", "lark"]
    assert names["lark"] == ["ear", "ear 2", "eye"] and (votes["lark"] == lark.votes().concepts).all()
    effective, *_ = sensitivity.by_filter([lark, late], "layer", layers.EFFECTIVE)
    np.testing.assert_array_equal(effective["first added"], late.ranks.effective)


# --- Tables ----------------------------------------------------------------------------------------------------------


def test_share_table_has_a_row_per_concept():
    both = [planted_ranks(), planted_ranks("lark")]
    table = sensitivity.share_table(both)
    assert table["class"].tolist() == ["finch"] * 3 + ["lark"] * 3 and table["filters"].tolist() == [3] * 6
    np.testing.assert_allclose(table["share"], np.tile([1 / 6, 1 / 3, 1 / 2], 2))
    np.testing.assert_allclose(table["low"], table["high"])  # all pictures are alike
    np.testing.assert_allclose(table["scaled"], table["share"] * 3)
    pd.testing.assert_frame_equal(table, sensitivity.share_table(both, "effective"))


def test_halves_by_vote_hang_on_filters_between_concepts():
    """Filters that overlap two concepts about equally vote by chance; their weight hardly changes."""
    table = sensitivity.halves_table([planted_ranks()])
    assert table[["spearman", "low", "high", "by_vote"]].iloc[0].tolist() == [1, 1, 1, 1]  # pictures are alike
    iou = np.full((40, 9, 3), 0.3) + np.random.default_rng(0).normal(0, 0.1, (40, 9, 3))
    iou[:, [0, 3, 6], [0, 1, 2]] = 0.9
    table = sensitivity.halves_table([planted_ranks(rank=(3, 4, 5), pictures=40, iou=iou.clip(0, 1))])
    assert table["by_vote"].iloc[0] < 0.9 < table["spearman"].iloc[0]


def test_kinds_of_rank_differ_in_what_they_count():
    """Values 1, .5, .002 and 1e-7: each tolerance counts others of them."""
    values = np.zeros((8, 9, 7))
    values[..., :4] = [1, 0.5, 0.002, 1e-7]
    values[:, :3, 1:] = 0  # filters of the first concept have rank 1
    table = sensitivity.rank_kinds([planted_ranks(values=values)], (None, 1e-3, 0.1), draws=3).set_index("rank")
    assert table.index.tolist() == ["matrix_rank’s tolerance", "tolerance 0.001", "tolerance 0.1", "effective rank"]
    np.testing.assert_allclose(table["mean"][:3], [(3 + 6 * n) / 9 for n in (3, 3, 2)])
    np.testing.assert_allclose(table["least"][:3], [3 * 1 / (1 + 2 * n) for n in (3, 3, 2)])
    np.testing.assert_allclose(table["most"][:3], [3 * n / (1 + 2 * n) for n in (3, 3, 2)])
    assert (table["between"] == 1).all() and (table["halves"] == 1).all()  # every picture is the same
    share = np.array([1, 0.5, 0.002, 1e-7]) / 1.5020001
    assert table["mean"].iloc[3] == pytest.approx((3 + 6 * np.exp(-(share * np.log(share)).sum())) / 9, rel=1e-9)
    values = np.zeros((2, 9, 7))
    values[0, :, 0], values[1, :, :3] = 1, 1  # all filters alike, pictures not
    alike = planted_ranks(values=values, pictures=2)
    assert sensitivity.rank_kinds([alike], (None,), 2)["between"].iloc[0] == 0


def test_another_kind_of_rank_may_correlate_otherwise():
    drops = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 2.0]])
    causes = importance.ClassImportance("finch", ("ear", "ear 2", "eye"), {}, {HIDDEN: drops})
    values = np.zeros((8, 9, 7))
    values[..., 0] = 1
    values[:, 3:6, 1:6], values[:, 6:, 1:3] = 0.002, 0.5  # the second concept counts most only where .002 counts
    table = sensitivity.kind_correlations([planted_ranks(values=values)], [causes], (1e-3, 1e-2))
    assert table["rank"].tolist() == ["tolerance 0.001", "tolerance 0.01", "effective rank"]
    np.testing.assert_allclose(table[HIDDEN], [0.5, np.sqrt(0.75), 1], atol=1e-9)


def test_filter_table_lists_silent_filters():
    one = planted_ranks(rank=(0, 4, 7))
    none = dataclasses.replace(one, iou=one.iou * 0, values=one.values + 1)
    first, second = sensitivity.filter_table([one, none]).to_dict("records")
    assert (first["filters"], first["none"], first["redundant"], first["numbers"]) == (9, 0, 3, "0, 1, 2")
    assert first["mean_rank"] == pytest.approx((0 + 4 + 7) / 21)
    assert (second["none"], second["redundant"], second["numbers"]) == (9, 0, "–")


def test_votes_agree_by_name():
    one, other = planted_ranks(), planted_ranks("lark", ("wing", "ear 2", "eye"))
    table = sensitivity.vote_table([one, other]).set_index(["first", "second"])
    assert table.index.tolist() == [("finch", "finch"), ("finch", "lark"), ("lark", "lark")]
    np.testing.assert_allclose(table["agreement"], [1, 2 / 3, 1])
    iou = one.iou.copy()
    iou[1::2, 0] = iou[1::2, 0, ::-1]  # one filter of nine goes over in every other picture
    iou[:, 8] = 0  # and one extracts nothing
    table = sensitivity.vote_table([dataclasses.replace(one, iou=iou)])
    assert table[["filters", "agreement"]].iloc[0].tolist() == [8, 7 / 8]


def test_focus_of_filters_and_their_ranks():
    one = planted_ranks()
    iou = one.iou * np.repeat([0.9, 0.5, 0.05], 3)[:, None]  # the last three extract nothing
    table = sensitivity.focus_table([dataclasses.replace(one, iou=iou), one])
    assert table[["with_concept", "without", "spearman"]].iloc[0].tolist() == [3, 6, -1]
    assert np.isnan(table["without"].iloc[1])


# --- Findings and claims ---------------------------------------------------------------------------------------------


def test_order_of_named_concepts():
    lark = planted_ranks("lark", ("eye", "leg", "ear"), rank=(6, 2, 4))
    swan = planted_ranks("swan", ("leg", "leg 2", "eye"), rank=(1, 5, 4))
    crow = planted_ranks("crow", ("wing", "beak", "tail"))
    table = sensitivity.order_table([lark, swan, crow], ["eye"], ["leg"], ["wing", "beak"], draws=20)
    assert table["finding"].tolist() == ["eye first"] * 2 + ["leg last"] * 2 + ["wing above beak"]
    assert table["class"].tolist() == ["lark", "swan", "lark", "swan", "crow"]
    assert table["holds"].tolist() == [True, False, True, True, False]  # both legs of the swan together: 3
    assert table["place"].tolist() == [1, 2, 3, 2, 2] and table["among"].tolist() == [3, 3, 3, 2, 2]
    np.testing.assert_allclose(table["scaled"], [1.5, 1.2, 0.5, 0.9, 0.5])
    np.testing.assert_allclose(table["other"], [1, 1.5, 1, 1.2, 1])
    for column in ("difference", "low", "high"):  # all pictures are alike
        np.testing.assert_allclose(table[column], [0.5, -0.3, -0.5, -0.3, -0.5])
    assert table["draws"].tolist() == [1, 0, 1, 1, 0]
    no_filters = dataclasses.replace(lark, iou=lark.iou * [0, 1, 1])
    assert sensitivity.order_table([crow], ["eye"], ["leg"]).empty
    assert sensitivity.order_table([no_filters], ["eye"]).empty


def test_draws_tell_how_sure_an_order_is():
    """Ranks 4 in eight pictures and 1 in two, against 3 in all: by hand from the binomial distribution."""
    one = planted_ranks(names=("eye", "ear", "leg"), rank=(4, 3, 1), pictures=10)
    values = one.values.copy()
    values[:2, :3, 1:] = 0
    table = sensitivity.order_table([dataclasses.replace(one, values=values)], ["eye"], draws=20_000)
    expected = scipy.stats.binom.cdf(3, 10, 0.2)  # 4 - 0.3 n > 3 where n of the ten drawn are of the two
    assert table["draws"].iloc[0] == pytest.approx(expected, abs=0.01)
    assert table["low"].iloc[0] < 0 < table["difference"].iloc[0] < table["high"].iloc[0]


def seeds(rank=0.1, sobol=0.8, zero=0, reference=UNDRAWN):
    """Tables of two seeds."""
    both = {"class": ["lark", "finch"] * 2, "seed": [0, 0, 1, 1]}
    halves = pd.DataFrame(both | {"spearman": [0.9, 1, 0.8, 1], "by_vote": [0.7, 0.9, 0.8, 1]})
    filters = pd.DataFrame(both | {"redundant": [zero, 0, zero, 2 * zero]})
    rows = [
        (method, test, name, value, 0.5, seed)
        for method, value in ((importance.RANK, rank), (importance.ACTIVATION, -0.3), (importance.SOBOL, sobol))
        for test in {HIDDEN, reference}
        for name in ("lark", MEAN)
        for seed in (0, 1)
    ]
    correlations = pd.DataFrame(rows, columns=["method", "reference", "class", "spearman", "chance", "seed"])
    rows = [("eye first", True, 0), ("eye first", False, 1), ("leg last", True, 0), ("leg last", True, 1)]
    order = pd.DataFrame([*rows, ("wing above beak", True, 0)], columns=["finding", "holds", "seed"])
    return halves, correlations, filters, order


def test_claims_by_hand():
    rows = sensitivity.claims(*seeds())
    assert {row["claim"]: (row["here"], row["holds"]) for row in rows} == {
        "rank_order_halves": (0.925, "yes"),
        "rank_order_halves_by_vote": (0.85, "no"),
        "rank_vs_causal": (0.1, "no"),
        "rank_vs_causal: concept hidden": (0.1, "no"),
        "best_alternative_vs_causal: Sobol index": (0.8, ""),
        "redundant_filters": (0, ""),
        "eyes_rank_first": (0.5, "no"),
        "legs_rank_last": (1, "yes"),
        "wings_above_beak": (1, "yes"),
    }
    assert rows[0]["claim"] == "rank_order_halves" and rows[0]["seeds"] == 2
    rows = {row["claim"]: row for row in sensitivity.claims(*seeds(0.6, -0.5, 1))}
    assert rows["rank_vs_causal"]["holds"] == "yes" and rows["redundant_filters"]["holds"] == "yes"
    assert rows["redundant_filters"]["here"] == 1 and "best_alternative_vs_causal: mean activation" in rows
    *tables, order = seeds(reference=HIDDEN)
    names = [row["claim"] for row in sensitivity.claims(*tables, order[:0])]
    assert names[-1] == "redundant_filters", "without names there are no findings"
    assert not any(name.startswith("rank_vs_causal:") for name in names), "there is one test of importance only"


def test_tables_of_a_seed():
    one = planted_ranks()
    values = {importance.RANK: one.sensitivity().per_picture}
    measured = [importance.ClassImportance("finch", one.names, values, {HIDDEN: np.array([[1.0, 2.0, 3.0]])})]
    tables = sensitivity.seed_tables(3, [one], measured, first=["eye"])
    assert list(tables) == ["shares", "halves", "filters", "order", "correlations"]
    assert all((table["seed"] == 3).all() and len(table) for table in tables.values())
    pd.testing.assert_frame_equal(tables["order"].drop(columns="seed"), sensitivity.order_table([one], ["eye"]))
