"""The dot plot: every row is drawn at its value, with its interval, and nothing hides a word."""

import numpy as np
import pandas as pd
import pytest
from helpers import check_words, text_of, texts

from asxai.figures.dots import dot_plot

STYLES = {"a": {"color": "r", "marker": "o"}, "b": {"color": "b", "marker": "s"}}


def measures():
    rows = [
        ("purity", "ours", 0, 0.9, 0.85, 0.95, 0.85, "higher"),
        ("purity", "ours", 1, 0.8, 0.75, 0.85, 0.85, "higher"),
        ("purity", "theirs", 0, 0.5, 0.45, 0.6, 0.85, "higher"),
        ("cosine", "ours", 0, 0.004, np.nan, np.nan, np.nan, "lower"),
        ("cosine", "theirs", 0, np.nan, np.nan, np.nan, np.nan, "lower"),
    ]
    return pd.DataFrame(rows, columns=["measure", "method", "seed", "value", "low", "high", "target", "better"])


def grouped(methods=("x", "y"), groups=("a", "b")):
    table = pd.DataFrame([{"method": m, "group": g, "measure": "size"} for m in methods for g in groups])
    middle = np.linspace(-0.8, 0.8, len(table))
    return table.assign(value=middle, low=middle - 0.1, high=middle + 0.1)


def dots(axis, *markers):
    points = [line.get_xydata() for line in axis.lines if line.get_marker() in (markers or ("o", "s"))]
    return [(round(float(x), 6), float(y)) for x, y in np.concatenate([*points, np.empty((0, 2))])]


def ends(axis):
    segments = [segment for drawn in axis.collections for segment in drawn.get_segments()]
    return [sorted(segment[:, 0]) for segment in segments if segment.size]


@pytest.mark.filterwarnings("error")
def test_seeds_intervals_means_targets_and_the_best():
    table = measures()
    figure, kept = dot_plot(table, "title", "caption", "{:#.3g}")
    assert kept is table
    purity, cosine = figure.axes
    assert [x for x, _ in dots(purity)] == [0.9, 0.8, 0.5] and {round(y) for _, y in dots(purity)} == {0, 1}
    assert dots(purity, "D") == [(0.85, 0)] and dots(cosine, "D") == []  # one seed is its own mean
    assert ends(purity) == [[0.85, 0.95], [0.75, 0.85], [0.45, 0.6]] and not ends(cosine)
    dashed = [[line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--"] for axis in figure.axes]
    assert dashed == [[0.85], []]
    assert "higher is better" in purity.get_title() and "lower is better" in cosine.get_title()
    written = [[(text.get_text(), text.get_weight()) for text in axis.texts] for axis in figure.axes]
    assert written[0] == [("0.850", "bold"), ("0.500", "normal")]
    assert written[1] == [("0.00400", "bold"), ("not measured", "normal")]
    assert texts(purity.get_yticklabels()) == ["ours", "theirs"]
    assert purity.get_ylim() == cosine.get_ylim() == (1.5, -0.5) and purity.get_xlim()[1] <= 1.03
    check_words(figure)


def test_what_looks_as_good_as_the_best_is_bold_too():
    table = pd.DataFrame({"measure": "m", "method": ["x", "y", "z"], "value": [0.7001, 0.7004, 0.6]})
    figure, _ = dot_plot(table.assign(better="higher"), numbers="{:.2f}")
    written = [(text.get_text(), text.get_weight()) for text in figure.axes[0].texts]
    assert written == [("0.70", "bold"), ("0.70", "bold"), ("0.60", "normal")]
    figure, _ = dot_plot(table.assign(better="higher", value=[-0.7, -0.5, -0.6]), numbers="{:.1f}")
    written = [(text.get_text(), text.get_weight()) for text in figure.axes[0].texts]
    assert written == [("−0.7", "normal"), ("−0.5", "bold"), ("−0.6", "normal")]  # with a minus, as on the axis


@pytest.mark.filterwarnings("error")
def test_groups_have_their_looks_side_by_side_and_texts():
    table = grouped().assign(text=["first", "second", "", ""], chance=[0.5, 0.4, 0.3, np.nan], wide_low=-1, wide_high=1)
    table.loc[1, ["value", "low", "high"]] = np.nan
    figure, _ = dot_plot(table, styles=STYLES)
    (axis,) = figure.axes
    assert [x for x, _ in dots(axis, "o")] == [-0.8, 0.266667] and [x for x, _ in dots(axis, "s")][1:] == [0.8]
    assert [-1, 1] in ends(axis) and [-0.5, 0.5] in ends(axis)
    heights = [y for _, y in dots(axis)]
    assert np.diff(heights).min() > 0.2 and [round(y) for y in heights] == [0, 0, 1, 1]
    colours = {text.get_text(): text.get_color() for text in axis.texts if text.get_text()}
    assert colours == {"first": "k", "second": "0.45"}
    assert texts(figure.legends[0].get_texts()) == ["a", "b"]
    check_words(figure)


def test_panels_may_have_methods_of_their_own_in_the_same_colours():
    table = pd.DataFrame({"measure": ["m", "m", "n"], "method": ["x", "y", "y"], "value": [0.001, 0.1, 0.5]})
    figure, _ = dot_plot(table.assign(low=table["value"] / 2, high=table["value"] * 2), share=False, log=True)
    first, second = figure.axes
    assert [texts(axis.get_yticklabels()) for axis in figure.axes] == [["x", "y"], ["y"]]
    colours = [[line.get_color() for line in axis.lines if line.get_marker() == "o"] for axis in figure.axes]
    assert colours[0][1] == colours[1][0] != colours[0][0]
    assert first.get_xscale() == second.get_xscale() == "log"
    check_words(figure)


@pytest.mark.parametrize("length", [1, 6])
def test_many_long_names_can_be_read(length):
    name = "a name of very many words " * length
    table = pd.DataFrame(np.ndindex(5, 8, 3), columns=["measure", "method", "seed"])
    low, value = 0.1 * table["method"], 0.1 * table["method"] + 0.01 * table["seed"]
    named = {column: [f"{k} {name}" for k in table[column]] for column in ("measure", "method")}
    figure, _ = dot_plot(table.assign(value=value, low=low, high=low + 0.02, **named), name, name, "{:.3f}")
    check_words(figure)
    assert sum(axis.axison for axis in figure.axes) == 5
    figure, _ = dot_plot(grouped([name + "1", name + "2"]).assign(text="0.85  (412)"), name, styles=STYLES)
    check_words(figure)


@pytest.mark.filterwarnings("error")
def test_an_empty_table_says_so():
    figure, _ = dot_plot(measures()[:0], "title", numbers="{:.2f}")
    assert "nothing was measured" in text_of(figure)
    check_words(figure)
