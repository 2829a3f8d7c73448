"""The figures of common traits: tables hold what was given, drawings what the tables hold."""

import numpy as np
import pandas as pd
import pytest
from helpers import check_words, texts
from matplotlib.colors import to_hex

from asxai.figures import common_traits as plots
from asxai.figures import style
from asxai.traits.vectors import normality, on_diagonal

pytestmark = pytest.mark.filterwarnings("error")
NAMES = ["wing", "beak", "claw"]
BIRDS = ["lark", "finch"]
FIELDS = ["r2", "w", "p", "count", "mean", "std", "skew"]
LONG = "a name of very many words that goes on and on"
SIZE = 16


def pictures(*shape):
    return np.random.default_rng(0).integers(1, 256, (*shape, SIZE, SIZE, 3), dtype=np.uint8)


def hidden(whole):
    """Kept and removed: a quarter of each picture is the concept."""
    kept, removed = np.zeros_like(whole), whole.copy()
    kept[..., :8, :8, :], removed[..., :8, :8, :] = whole[..., :8, :8, :], 0
    return kept, removed


def values(seed=0, count=60, far=()):
    return normality(np.r_[np.random.default_rng(seed).normal(5, 2, count), far])


def drawn(figure):
    """Pictures in the figure, in order."""
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]


# --- Pictures --------------------------------------------------------------------------------------------------------


def test_removal_sheet_shows_three_pictures_an_exemplar():
    whole = [pictures(3), pictures(1), pictures(0)]
    kept, removed = zip(*map(hidden, whole))
    figure, table = plots.removal_sheet(whole, kept, removed, NAMES, "birds")
    expected = {"concept": NAMES, "exemplars": [3, 1, 0], "changed": [0.25, 0.25, np.nan]}
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected))
    assert len(figure.axes) == 27 and len(drawn(figure)) == 12
    for shown, expected in zip(drawn(figure)[9:], (whole[1], kept[1], removed[1])):
        np.testing.assert_array_equal(shown, expected[0])
    assert [axis.get_ylabel() for axis in figure.axes[::9]] == ["wing\n25 % of pixels", "beak\n25 % of pixels", "claw"]
    assert [axis.get_title() for axis in figure.axes[:3]] == ["whole", "concept\nalone", "concept\nremoved"]
    check_words(figure)


def test_removal_sheet_of_many_concepts():
    whole = pictures(14, 1)
    names = [f"{LONG} {k}" for k in range(14)]
    figure, table = plots.removal_sheet(whole, *hidden(whole), names, "birds")
    assert len(table) == 14 and len(figure.axes) == 36 and "first 12 of 14" in figure.get_suptitle()
    check_words(figure)


def test_trait_pictures_align_concepts_by_name():
    given, names, ratios = [pictures(3), pictures(2)], [NAMES, ["tuft", "beak"]], [[0.874, 0.5, np.nan], [1, 0.25]]
    figure, table = plots.trait_pictures(given, names, BIRDS, ratios, "birds")
    expected = {"class": ["lark"] * 3 + ["finch"] * 2, "concept": [*NAMES, "tuft", "beak"]}
    expected["explained_variance_ratio"] = [0.874, 0.5, np.nan, 1, 0.25]
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected))
    rows = np.array(figure.axes).reshape(2, 4)
    assert [[len(axis.images) for axis in row] for row in rows] == [[1, 1, 1, 0], [0, 1, 0, 1]]
    assert [[axis.get_title() for axis in row] for row in rows] == [[*NAMES, ""], ["", "", "", "tuft"]]
    below = [axis.get_xlabel().removeprefix("PC1: ") for axis in figure.axes]
    assert below == ["87 %", "50 %", "", "", "", "25 %", "", "100 %"]
    assert [axis.get_ylabel() for axis in rows[:, 0]] == ["lark", "finch"]
    np.testing.assert_array_equal(rows[1, 3].images[0].get_array(), given[1][0])


def test_trait_pictures_of_many_go_on_below():
    many = [f"concept {k}" for k in range(20)]
    ratios = [np.full(20, 0.5), [0.5]]
    given = [pictures(20), pictures(1)], [many, many[:1]], [LONG, "finch"], ratios
    figure, table = plots.trait_pictures(*given, "birds")
    rows = np.array(figure.axes).reshape(4, 7)  # 20 columns as 7, 7 and 6; the first 7 of two classes
    assert [sum(len(axis.images) for axis in row) for row in rows] == [7, 1, 7, 6]
    assert rows[2, 0].get_title() == "concept 7" and rows[1, 0].get_ylabel() == "finch" and len(table) == 21
    check_words(figure)
    given = pictures(20, 1), [["all"]] * 20, [f"bird {c}" for c in range(20)], [[np.nan]] * 20
    figure, table = plots.trait_pictures(*given, "birds")
    assert len(figure.axes) == 16 and len(table) == 20
    assert "first 16 of 20 classes" in " ".join(figure.get_suptitle().split())


# --- Distributions ---------------------------------------------------------------------------------------------------


def test_qq_plots_standardise_both_methods():
    ours, other = [values(k) for k in range(3)], [values(3), None, values(4, far=[60])]
    lark = {"class": "lark", "names": NAMES, "ours": ours, "other": other}
    finch = {"class": "finch", "names": ["beak"], "ours": ours[:1], "other": [None]}
    figure, table = plots.qq_plots([lark, finch], "birds")
    assert table["class"].tolist() == ["lark"] * 5 + ["finch"]
    assert table["concept"].tolist() == ["wing", "wing", "beak", "claw", "claw", "beak"]
    assert table["method"].tolist() == ["this study", "comparison", "this study"] * 2
    drawn = [ours[0], other[0], ours[1], ours[2], other[2], ours[0]]
    assert table[FIELDS].values.tolist() == [[getattr(own, field) for field in FIELDS] for own in drawn]
    rows = np.array(figure.axes).reshape(2, 3)
    dots = [line for line in rows[0, 0].lines if line.get_marker() == "o"]
    assert [to_hex(line.get_color()) for line in dots] == [style.OTHER, style.OURS]  # the comparison is beneath
    np.testing.assert_allclose(dots[1].get_xdata(), ours[0].theoretical)
    np.testing.assert_allclose(dots[1].get_ydata(), (ours[0].ordered - ours[0].mean) / ours[0].std)
    np.testing.assert_array_equal(*rows[0, 0].lines[-1].get_data())  # the normal line
    assert texts(rows[0, 0].texts) == [f"r² {own.r2:.3f}" for own in (other[0], ours[0])]
    assert [to_hex(text.get_color()) for text in rows[0, 0].texts] == [style.OTHER, style.OURS]
    assert [len(axis.texts) for axis in figure.axes] == [2, 1, 2, 0, 1, 0]
    (triangle,) = (line for line in rows[0, 2].lines if line.get_marker() == "^" and len(line.get_xdata()))
    assert len(triangle.get_xdata()) == 1 and triangle.get_ydata()[0] < plots.QQ_LIMIT
    assert len({axis.get_ylim() for axis in figure.axes if axis.texts}) == 1
    (legend,) = figure.legends
    assert texts(legend.get_texts()) == ["this study", "comparison", "normal distribution"]
    assert "quantiles of the normal" in legend.get_title().get_text()
    check_words(figure)


def test_qq_plots_of_many_and_of_nothing():
    many = [f"concept {k}" for k in range(10)]
    given = {"class": LONG, "names": many, "ours": [values()] * 10, "other": [None] * 10}
    figure, table = plots.qq_plots([given], "birds")
    assert len(figure.axes) == 10 and len(table) == 10  # two rows of five
    assert [axis.get_ylabel() != "" for axis in figure.axes] == ([True] + [False] * 4) * 2
    check_words(figure)
    nothing = {"class": "bird", "names": ["all"], "ours": [None], "other": [None]}
    assert plots.qq_plots([nothing], "")[1].empty


def test_variance_curves_add_up():
    ratios = [[[0.5, 0.25, 0.125], [0.75, 0.125, 0.0625]], [[0.25]]]
    figure, table = plots.variance_curves(ratios, [["wing", "beak"], ["beak"]], ["lark", "finch"])
    expected = {"class": ["lark"] * 6 + ["finch"], "concept": ["wing"] * 3 + ["beak"] * 4}
    expected["component"] = [1, 2, 3, 1, 2, 3, 1]
    expected["explained_variance_ratio"] = [0.5, 0.25, 0.125, 0.75, 0.125, 0.0625, 0.25]
    expected["cumulative"] = [0.5, 0.75, 0.875, 0.75, 0.875, 0.9375, 0.25]
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected))
    lark, finch = figure.axes
    assert texts(lark.get_legend().get_texts()) == ["beak, 75 %", "wing, 50 %"]
    assert [line.get_ydata().tolist() for line in lark.lines] == [[75, 87.5, 93.75], [50, 75, 87.5]]
    assert lark.lines[0].get_color() == finch.lines[0].get_color() != lark.lines[1].get_color()
    assert lark.get_ylim() == finch.get_ylim() and lark.get_ylim()[0] < 25
    check_words(figure)
    assert [axis.get_title() for axis in figure.axes] == ["lark", "finch"]


def test_variance_curves_of_one_and_of_many():
    _, table = plots.variance_curves([[[0.5]]], [["all"]], ["bird"])
    assert table[["component", "cumulative"]].values.tolist() == [[1, 0.5]]
    names = [[f"k {k}" for k in range(20)]] * 4
    figure, table = plots.variance_curves([np.full((20, 3), 0.2)] * 4, names, [LONG, "b", "c", "d"])
    assert len({(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}) == 20
    assert len(table) == 4 * 20 * 3 and sum(axis.axison for axis in figure.axes) == 4
    check_words(figure)


# --- Specificity -----------------------------------------------------------------------------------------------------


def frames(axis):
    """(row, column) of cells with a thick frame, and with a dotted one."""
    cells = [(patch.get_linewidth() > 2, (int(patch.get_y()), int(patch.get_x()))) for patch in axis.patches]
    return tuple(sorted(cell for thick, cell in cells if thick == which) for which in (True, False))


def test_drop_matrices_mark_the_largest_and_the_diagonal():
    drops = np.array([[2.0, 0.5, -0.01], [1, 0.25, -1], [0.1, 0.3, 0.2]])
    figure, table = plots.drop_matrices([drops, np.array([[0.5]])], [NAMES, ["all"]], ["lark", "finch"], "birds")
    assert table.columns.tolist() == ["class", "removed", "measured", "drop", "largest"] and len(table) == 10
    own = table[table["class"] == "lark"]
    matrix = own.pivot(index="removed", columns="measured", values="drop")
    np.testing.assert_array_equal(matrix.loc[NAMES, NAMES], drops)
    largest = own.loc[own["largest"], ["removed", "measured"]].values.tolist()
    assert largest == [["wing", "wing"], ["beak", "wing"], ["claw", "beak"]]
    axis = figure.axes[0]
    assert frames(axis) == ([(0, 0), (1, 0), (2, 1)], [(0, 0), (1, 1), (2, 2)])
    assert axis.get_title() == "lark\nown is largest: 1 of 3 rows (33 %)"
    assert figure.axes[1].get_title() == "finch\nown is largest: 1 of 1 rows (100 %)"
    numbers = ["2.0", "0.5", "0.0", "1.0", "0.2", "−1.0", "0.1", "0.3", "0.2"]
    assert texts(axis.texts) == numbers
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("removed", "measured")
    image = axis.collections[0]
    assert tuple(image.cmap(image.norm(0.0))) == (1, 1, 1, 1)
    ends = [to_hex(image.cmap(image.norm(value))) for value in (9, -9)]
    assert ends == [style.OURS, style.OTHER]
    assert image.norm.vmax == -image.norm.vmin < 2  # the limits are robust
    assert figure.axes[1].collections[0].norm.vmax == image.norm.vmax
    assert "†" not in figure.legends[0].get_title().get_text()
    check_words(figure)


@pytest.mark.parametrize("widths", [(7, 8), (3, 8), (5, 5), (1, 1)])
def test_the_caption_below_drop_matrices_covers_no_label(widths):
    names, rows = [[f"part {k}" for k in range(width)] for width in widths], [f"part {k}" for k in range(7)]
    given = [np.ones((7, width)) for width in widths], names, ["lark", LONG], "birds", [rows, rows]
    check_words(plots.drop_matrices(*given)[0])


def test_drop_matrices_of_other_rows_count_names_with_numbers():
    columns, rows = ["wing", "wing 2", "wingtip"], ["wing", "wingtip", "tuft"]
    drops = np.array([[0.1, 0.5, 0.2], [0.5, 0.4, 0.3], [0.9, 0.1, 0.1]])
    figure, table = plots.drop_matrices([drops], [columns], ["lark"], "birds", row_names=[rows])
    axis = figure.axes[0]
    assert frames(axis) == ([(0, 1), (1, 0), (2, 0)], [(0, 0), (0, 1), (1, 2)])
    assert axis.get_title() == "lark\nown is largest: 1 of 2 rows (50 %)"
    assert texts(axis.get_yticklabels()) == ["wing", "wingtip", "tuft †"]
    assert "†" in figure.legends[0].get_title().get_text() and table["removed"].unique().tolist() == rows
    figure, _ = plots.drop_matrices([drops[2:]], [columns], ["lark"], "birds", row_names=[rows[2:]])
    assert figure.axes[0].get_title() == "lark\nno row counts"


def test_drop_matrices_count_as_specificity_does():
    generator = np.random.default_rng(0)
    for drops in generator.normal(size=(60, 4, 4)) + 0.7 * np.eye(4) - 0.7:
        drops[generator.random((4, 4)) < 0.03] = np.nan
        count = int(on_diagonal(drops).sum())
        assert plots._right(drops, np.eye(4, dtype=bool)).startswith(f"own is largest: {count} of 4")


def test_drop_matrices_of_nothing_and_of_many():
    figure, table = plots.drop_matrices([np.full((2, 2), np.nan)], [NAMES[:2]], ["lark"], "NaN")
    assert not table["largest"].any() and texts(figure.axes[0].texts) == ["–"] * 4
    figure, table = plots.drop_matrices([np.zeros((2, 2))], [NAMES[:2]], ["lark"], "zeros")
    assert "0 of 2" in figure.axes[0].get_title() and table["largest"].sum() == 2
    names = [f"concept {k}" for k in range(12)]
    figure, table = plots.drop_matrices([np.eye(12), np.eye(3)], [names, NAMES], [LONG, "finch"], "birds")
    assert not any(axis.texts for axis in figure.axes[:2]) and len(table) == 12 * 12 + 9
    birds = [f"bird {c}" for c in range(17)]
    figure, table = plots.drop_matrices([np.eye(2)] * 17, [NAMES[:2]] * 17, birds, "birds")
    assert len(table) == 17 * 4 and "first 16 of 17 classes" in figure.get_suptitle()
    check_words(figure)


# --- Methods ---------------------------------------------------------------------------------------------------------


def traces():
    slow = np.arange(1, 101), np.geomspace(10, 0.1, 100)
    fast = np.array([0.0, 1, 2, 4, 8]), np.array([10, 5, 0.05, 0.1, 0.01])
    return {"fast": fast, "slow": slow}


def markers(figure):
    diamonds = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in diamonds]


def test_inversion_traces_say_when_the_slow_end_is_reached():
    figure, table = plots.inversion_traces(traces(), "a race", {"fast": 0})
    assert table["method"].tolist() == ["fast"] * 5 + ["slow"] * 100
    expected = [[0, 0, 10], [1, 1, 5], [2, 2, 0.05], [3, 4, 0.1], [4, 8, 0.01]]
    assert table.loc[table["method"] == "fast", ["step", "seconds", "objective"]].values.tolist() == expected
    assert markers(figure) == [(2, 0.05), (100, pytest.approx(0.1))]
    words = ["last objective of slow", "fast: is as low after 2 s, 50 times as fast", "slow: ends after 100 s"]
    assert texts(figure.legends[0].get_texts()) == words
    axis = figure.axes[0]
    assert axis.get_xscale() == axis.get_yscale() == "log" and figure.get_suptitle() == "a race"
    (dashed,) = (line for line in axis.lines if line.get_linestyle() == "--")
    assert dashed.get_ydata()[0] == pytest.approx(0.1)
    check_words(figure)


def test_steps_of_shifted_pictures_do_not_count():
    figure, _ = plots.inversion_traces(traces(), "", {"fast": 3})
    assert markers(figure)[0] == (4, 0.1)
    _, fast, _, pale = texts(figure.legends[0].get_texts())
    assert fast == "fast: is as low after 4 s, 25 times as fast" and "pale" in pale
    pale = [line.get_xdata().tolist() for line in figure.axes[0].lines if line.get_alpha() == 0.4]
    assert pale[0] == [0, 1, 2, 4]


def test_inversion_traces_of_many_steps():
    many = np.linspace(1, 50, 5000), np.geomspace(9, 1, 5000)
    figure, table = plots.inversion_traces({"slow": traces()["slow"], "bad": many}, "", {})
    assert texts(figure.legends[0].get_texts())[2] == "bad: does not get as low" and len(markers(figure)) == 1
    steps = table.loc[table["method"] == "bad", "step"]
    assert 150 < len(steps) <= plots.THINNED and steps.is_monotonic_increasing and steps.is_unique
    assert steps.iloc[[0, -1]].tolist() == [0, 4999]
    assert table["objective"].iloc[-1] == pytest.approx(1)
