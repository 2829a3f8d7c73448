"""The arena: which measures count, who is first, and that tables of every kind of method come out."""

import numpy as np
import pandas as pd
import pytest

from asxai import paths
from asxai.benchmarks import class_maps, interventions, methods
from asxai.methods import METHODS


def planted(values, seeds=(0,), width=0.05):
    """Rows of `{measure: {method: value}}`, intervals of that half width."""
    rows = [
        dict(method=m, seed=seed, measure=name, value=v, low=v - width, high=v + width, better="higher")
        for name, own in values.items()
        for m, v in own.items()
        for seed in seeds
    ]
    return pd.DataFrame(rows)


MAPS = {
    "Shapley": {"uniform": 0.1, "edges": 0.0, "LRP": 0.5, "saliency": 0.3, "this study": 0.4, "concept whitening": 0.9},
    "completeness": {"uniform": 0.8, "edges": 0.7, "LRP": 0.6, "saliency": 0.7, "this study": 0.9},
    "contrast": {"uniform": 0.04, "edges": 0.0, "LRP": 0.2, "saliency": 0.0, "this study": 0.6},
    "passes": {"uniform": 0, "LRP": 2, "saliency": 2, "this study": 1},
}


def test_a_measure_that_controls_win_does_not_count():
    assert methods.counts(planted(MAPS)) == ["Shapley", "contrast"]
    assert methods.counts(planted({"contrast": dict.fromkeys(MAPS["contrast"], 0.5)})) == []  # all are alike
    assert methods.counts(planted(MAPS, width=0.001)) == ["Shapley"]  # uniform is ahead of saliency in contrast
    assert methods.counts(planted({"Shapley": {"uniform": 0.1, "LRP": 0.14, "saliency": 0.12}})) == []  # by chance


def test_ranks_are_means_over_measures_and_lower_may_be_better():
    order = methods.ranking(planted(MAPS), ["Shapley", "passes"]).set_index("method")
    assert order.loc["this study", "rank"] == np.mean([3, 2]) and order.loc["LRP", "rank"] == np.mean([2, 3.5])
    assert order.loc["concept whitening", "told"] == "parts" and order["rank"].is_monotonic_increasing
    worse = methods.better_than_ours(planted(MAPS), ["Shapley", "contrast"])
    assert worse.values.tolist() == [["Shapley", "concept whitening", 0.9, 0.4]]


def test_the_order_of_funny_birds_is_by_means_of_both_questions():
    """Published of ResNet-50, from the last to the first: input x gradient, Grad-CAM, DeepLIFT; not so here."""
    values = {"completeness": {"DeepLIFT": 0.9, "Grad-CAM": 0.6, "input x gradient": 0.7, "saliency": 1.0}}
    values["single deletion"] = {"DeepLIFT": 0.5, "Grad-CAM": 0.3, "input x gradient": 0.3, "saliency": 1.0}
    beside = methods.beside_published(planted(values, seeds=(0, 1))).set_index(["network", "method"])
    first = beside.loc["ResNet-50"]
    assert first["published"].to_dict() == pytest.approx(
        {"DeepLIFT": 0.77, "Grad-CAM": 0.645, "input x gradient": 0.56}
    )
    here = {"DeepLIFT": (0.9 + 0.75) / 2, "Grad-CAM": (0.6 + 0.65) / 2, "input x gradient": (0.7 + 0.65) / 2}
    assert first["here"].to_dict() == pytest.approx(here)
    assert first["correlation"].tolist() == pytest.approx([0.5] * 3)  # ranks 1 2 3 and 2 1 3
    concepts = planted({"nmi": {"this study": 0.6}})
    rows = {row["claim"]: row for row in methods.claims(planted(MAPS | values), concepts)}
    assert rows["funny_birds_order"]["here"] == pytest.approx(0.5)  # the same three on the other network


def test_claims_leave_out_what_was_told_of_parts():
    concepts = planted({"nmi": {"this study": 0.6, "k-means": 0.4, "true parts": 0.9}}, seeds=(0, 1))
    rows = {row["claim"]: row for row in methods.claims(planted(MAPS, seeds=(0, 1, 2)), concepts)}
    assert rows["methods_compared"]["here"] == 5
    assert rows["as_xai_map_rank"]["here"] == 1 and rows["as_xai_concept_rank"]["holds"] == "yes"
    assert rows["as_xai_map_rank"]["seeds"] == 3 and rows["as_xai_concept_rank"]["seeds"] == 2  # each by its own table
    assert rows["best_concept_method"]["here"] == "this study"
    assert rows["shapley_agreement_best"]["here"] == 0.9 and rows["shapley_agreement_as_xai"]["holds"] == "no"
    assert rows["passes_as_xai"]["here"] == 1
    assert rows["uniform_comes_last"]["here"] == pytest.approx(2 / len(methods.OF_MAPS), abs=1e-4)


def test_limits_and_the_file_for_others(monkeypatch, tmp_path):
    rules = pd.DataFrame({"correlation": [0.4, 0.6]})
    limits = methods.limitations(planted(MAPS), rules).set_index("question")["here"]
    assert limits["rules differ: rank correlation of two"] == 0.5
    assert 0.4 in limits["agreement with exact Shapley values"].tolist()
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    methods.keep_for_others(planted(MAPS), "first")
    methods.keep_for_others(planted(MAPS), "second")
    every = methods.keep_for_others(planted(MAPS)[:3], "first")
    assert every["data_set"].value_counts().to_dict() == {"second": len(planted(MAPS)), "first": 3}
    assert set(every["captum"]) == {"0.9.0"} and set(every["zennit"]) == {"0.5.1"}


def test_maps_of_every_kind_are_measured(study, monkeypatch):
    monkeypatch.setattr(interventions, "cpu_count", lambda: 1)
    monkeypatch.setattr(interventions, "loose", lambda study: study.data.part_names[:3])
    table = methods.measure_maps(["uniform", "Grad-CAM", "this study"], study, pictures=2)
    wide = table.pivot(index="method", columns="measure", values="value")
    assert list(table) == methods.COLUMNS and table["value"].notna().all()
    assert wide.loc["uniform", "passes"] == 0 and wide.loc["uniform", "Shapley per area"] == 0
    assert wide.loc["uniform", "random weights"] == 1 > wide.loc["Grad-CAM", "random weights"]
    assert wide.loc["uniform", "in parts"] == pytest.approx(wide.loc["uniform", "top pixels"], abs=1e-3)
    assert wide.loc["Grad-CAM", "other class"] == pytest.approx(-1, abs=1e-3)  # two classes, one linear layer
    again = methods.measure_maps(["uniform", "Grad-CAM", "this study"], study, pictures=2)
    pd.testing.assert_frame_equal(table, again)  # kept, with the seconds of the first time


def test_concepts_of_every_kind_are_measured(study):
    names = ["k-means", "S-XAI", "this study"]
    table = methods.measure_concepts(names, study, pictures=6)
    wide = table.pivot(index="method", columns="measure", values="value")
    assert {"nmi", "consistency", "removal", "fit seconds", "lines"} <= set(wide)
    removal = wide["removal"].drop("this study")  # a class with one concept has none to tell it from
    assert removal.between(0, 1).all() and (wide["lines"] > 10).all()
    assert len(study.data.test) == 12  # the study itself is as it was


def test_parents_are_named_where_maps_of_classes_differ(study, monkeypatch):
    """Hybrids of two classes, and a method that knows whose part is where."""
    drawn = np.zeros((3, 96, 96), np.uint8)
    drawn[:, :48], drawn[:, 48:] = 1, 2
    hybrids = type("Drawn", (), dict(parents={"ear": "cat", "tail": "dog"}, part_names=("ear", "tail")))
    hybrids.pictures, hybrids.parts = np.zeros(3), drawn
    monkeypatch.setattr(class_maps, "hybrid_kinds", lambda name: {"one": {}})
    monkeypatch.setattr(class_maps, "draw_hybrids", lambda *arguments: hybrids)
    upper = (np.arange(8) < 4)[:, None] * np.ones((3, 8, 8))
    for sign, expected in ((1, 1.0), (-1, 0.0), (0, 0.5)):
        maps = {0: sign * upper, 1: sign * (1 - upper)}
        monkeypatch.setattr(
            class_maps, "class_map", lambda m, pictures, label, maps=maps: class_maps.torch.tensor(maps[label]).float()
        )
        (found,) = class_maps.parents(METHODS["k-means"](), study, 3)
        assert found["value"] == expected
