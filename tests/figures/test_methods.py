"""Figures of notebook 11."""

import itertools

import numpy as np
import pandas as pd
import pytest
from helpers import check_words, noise, styled_figures, text_of  # noqa: F401
from matplotlib.text import Text

from asxai.figures import methods


def test_every_map_has_its_name_and_a_row():
    rng = np.random.default_rng(0)
    maps = {name: rng.normal(size=(7, 7)) for name in ("integrated gradients", "Deformable ProtoPNet", "uniform")}
    figure, table = methods.side_by_side(noise(0, 48, 48), maps, "What speaks for “a”")
    check_words(figure)
    assert table["method"].tolist() == list(maps) and table["highest"][1] == maps["Deformable ProtoPNet"].max()


def costs(count, choices=(1, 2, 50, 256), seed=0, near=False):
    rng, rows = np.random.default_rng(seed), []
    for k in range(count):
        kind = ("AS-XAI", "controls", "other methods")[min(k, 2)]
        value = 0.5 if near else rng.uniform(0, 1)
        for name, number in (("Shapley", value), ("passes", 0 if k == 1 else rng.choice(choices))):
            rows.append(
                dict(method=f"method {k}", kind=kind, measure=name, value=number, low=number - 0.1, high=number + 0.1)
            )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count, choices, near", [(3, (1, 2), False), (22, (1, 2, 50, 256), False), (14, (1, 2), True)])
def test_truth_and_cost_stand_for_each_method(count, choices, near, seed, crossing):
    figure, table = methods.truth_against_cost(costs(count, choices, seed, near), "truth and cost")
    assert len(table) == count and table["cost"].min() == 0.5
    assert {f"method {k}" for k in range(count)} <= set(text_of(figure))
    check_words(figure)
    (axis,) = figure.axes
    dots = np.concatenate(
        [axis.transData.transform(line.get_xydata()) for line in axis.lines if line.get_marker() in "DoX"]
    )
    assert len(np.unique(dots.round(), axis=0)) == count  # none hides another
    starts, ends = [], []
    for text in axis.texts:
        box = Text.get_window_extent(text)
        assert not ((dots > box.min) & (dots < box.max)).all(axis=1).any(), text
        assert axis.bbox.x0 < box.x0 and box.x1 < axis.bbox.x1
        ends.append(axis.transData.transform(text.xy))
        starts.append((box.x1 if box.x1 < ends[-1][0] else box.x0, (box.y0 + box.y1) / 2))
        assert np.hypot(*(dots - ends[-1]).T).min() < 1e-6
    lines = np.stack([starts, ends], axis=1)
    for one in lines:  # a line keeps off all dots but its own
        along = one[0] + np.linspace(0, 1, 50)[:, None] * (one[1] - one[0])
        others = dots[np.hypot(*(dots - one[1]).T) > 1]
        assert not len(others) or np.linalg.norm(along[:, None] - others, axis=2).min() > 3
    assert not any(crossing(*pair) for pair in itertools.combinations(lines, 2))


def test_a_method_without_a_value_has_a_row_and_no_dot():
    rows = costs(5)
    rows.loc[(rows["method"] == "method 3") & (rows["measure"] == "Shapley"), ["value", "low", "high"]] = np.nan
    figure, table = methods.truth_against_cost(rows, "truth and cost")
    assert len(table) == 5 and table["value"].isna().sum() == 1
    assert len(figure.axes[0].texts) == 4 and "method 3" not in text_of(figure)
