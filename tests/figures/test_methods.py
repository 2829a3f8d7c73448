"""Figures of notebook 11."""

import numpy as np
import pandas as pd
import pytest
from helpers import check_words, noise, styled_figures, text_of  # noqa: F401

from asxai.figures import methods


def test_every_map_has_its_name_and_a_row():
    rng = np.random.default_rng(0)
    maps = {name: rng.normal(size=(7, 7)) for name in ("integrated gradients", "Deformable ProtoPNet", "uniform")}
    figure, table = methods.side_by_side(noise(0, 48, 48), maps, "What speaks for “a”")
    check_words(figure)
    assert table["method"].tolist() == list(maps) and table["highest"][1] == maps["Deformable ProtoPNet"].max()


@pytest.mark.parametrize("count", [3, 22])
def test_truth_and_cost_stand_for_each_method(count):
    rng, rows = np.random.default_rng(0), []
    for k in range(count):
        kind = ("AS-XAI", "controls", "other methods")[min(k, 2)]
        value = rng.uniform(0, 1)
        for name, number in (("Shapley", value), ("passes", 0 if k == 1 else rng.choice([1, 2, 50, 256]))):
            rows.append(
                dict(method=f"method {k}", kind=kind, measure=name, value=number, low=number - 0.1, high=number + 0.1)
            )
    figure, table = methods.truth_against_cost(pd.DataFrame(rows), "truth and cost")
    assert len(table) == count and table["cost"].min() == 0.5
    assert {f"method {k}" for k in range(count)} <= set(text_of(figure))
