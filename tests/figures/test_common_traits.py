"""The figures of common traits: tables hold what was given, drawings what the tables hold."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from asxai.figures import common_traits as common_traits_plots
from asxai.figures import style as style_plots
from asxai.traits.vectors import normality, on_diagonal

NAMES = ["wing", "beak", "claw"]
LONG = "a name of very many words that goes on and on"
SIZE = 16


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


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


def texts(figure):
    """All texts that are to be seen."""
    figure.canvas.draw()
    found = figure.findobj(plt.Text)
    return [text.get_text() for text in found if text.get_visible() and text.get_text()]


# --- Pictures --------------------------------------------------------------------------------------------------------


def test_removal_sheet_shows_three_pictures_an_exemplar():
    whole = [pictures(3), pictures(1), pictures(0)]
    kept, removed = zip(*map(hidden, whole))
    figure, table = common_traits_plots.removal_sheet(whole, kept, removed, NAMES, "birds")
    pd.testing.assert_frame_equal(table, pd.DataFrame({"concept": NAMES, "exemplars": [3, 1, 0],
                                                       "changed": [0.25, 0.25, np.nan]}))
    assert len(figure.axes) == 9 and len(drawn(figure)) == 4
    triple = drawn(figure)[3]
    for i, expected in enumerate((whole, kept, removed)):
        gap = (triple.shape[1] - 3 * SIZE) // 2
        np.testing.assert_array_equal(triple[:, i * (SIZE + gap):][:, :SIZE], expected[1][0])
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["wing\n25 % of pixels", "beak\n25 % of pixels", "claw"]
    assert texts(figure).count("concept\nremoved") == 3 and figure.get_suptitle() == "birds"


def test_removal_sheet_names_what_the_first_row_lacks():
    whole = [pictures(1), pictures(2)]
    figure, _ = common_traits_plots.removal_sheet(whole, *zip(*map(hidden, whole)), NAMES[:2], "")
    assert [len(axis.texts) for axis in figure.axes] == [3, 0, 0, 3]


def test_removal_sheet_of_one_and_of_many_concepts():
    whole = pictures(1, 1)
    _, table = common_traits_plots.removal_sheet(whole, whole, whole, ["all"], "nothing removed")
    assert table["changed"].tolist() == [0]
    whole = pictures(14, 1)
    figure, table = common_traits_plots.removal_sheet(whole, *hidden(whole), [f"concept {k}" for k in range(14)], "birds")
    assert len(table) == 14 and len(figure.axes) == 12 and "first 12 of 14" in figure.get_suptitle()


def test_removal_sheet_refuses_what_does_not_fit():
    whole = pictures(2, 2)
    with pytest.raises(ValueError, match="kept of 1, removed of 2 and 2 names"):
        common_traits_plots.removal_sheet(whole, whole[:1], whole, NAMES[:2], "")
    with pytest.raises(ValueError, match="'wing' are .* three pictures"):
        common_traits_plots.removal_sheet(whole, whole, whole[:, :1], NAMES[:2], "")
    with pytest.raises(ValueError, match="three pictures"):
        common_traits_plots.removal_sheet(whole, whole, whole[:, :0], NAMES[:2], "")
    with pytest.raises(ValueError, match="at least one"):
        common_traits_plots.removal_sheet([], [], [], [], "")


def test_trait_pictures_align_concepts_by_name():
    given = [pictures(3), pictures(2)]
    figure, table = common_traits_plots.trait_pictures(given, [NAMES, ["tuft", "beak"]], ["lark", "finch"],
                                         [[0.874, 0.5, np.nan], [1, 0.25]], "birds")
    pd.testing.assert_frame_equal(table, pd.DataFrame({
        "class": ["lark"] * 3 + ["finch"] * 2, "concept": [*NAMES, "tuft", "beak"],
        "explained_variance_ratio": [0.874, 0.5, np.nan, 1, 0.25]}))
    rows = np.array(figure.axes).reshape(2, 4)
    assert [[len(axis.images) for axis in row] for row in rows] == [[1, 1, 1, 0], [0, 1, 0, 1]]
    assert [[axis.get_title() for axis in row] for row in rows] == [[*NAMES, ""], ["", "", "", "tuft"]]
    assert [axis.get_xlabel() for axis in figure.axes] == ["PC1: 87 %", "PC1: 50 %", "", "", "", "PC1: 25 %", "",
                                                           "PC1: 100 %"]
    assert [axis.get_ylabel() for axis in rows[:, 0]] == ["lark", "finch"]
    np.testing.assert_array_equal(rows[1, 3].images[0].get_array(), given[1][0])


def test_trait_pictures_of_one_and_of_many():
    figure, table = common_traits_plots.trait_pictures(pictures(1, 1), [["all"]], ["bird"])
    assert len(figure.axes) == 1 and table["explained_variance_ratio"].isna().all()
    many = [f"concept {k}" for k in range(20)]
    figure, table = common_traits_plots.trait_pictures([pictures(20), pictures(1)], [many, many[:1]], [LONG, "finch"], title="birds")
    rows = np.array(figure.axes).reshape(4, 7)  # 20 columns as 7, 7 and 6; the first 7 of two classes
    assert [sum(len(axis.images) for axis in row) for row in rows] == [7, 1, 7, 6]
    assert rows[2, 0].get_title() == "concept 7" and rows[1, 0].get_ylabel() == "finch" and len(table) == 21
    names = [["all"]] * 20
    figure, table = common_traits_plots.trait_pictures(pictures(20, 1), names, [f"bird {c}" for c in range(20)])
    assert len(figure.axes) == 16 and len(table) == 20 and "first 16 of 20 classes" in figure.get_suptitle()


@pytest.mark.parametrize("change, message", [
    ({"names": [NAMES]}, "names of 1, pictures of 2 classes, and 2 class names"),
    ({"names": [NAMES, NAMES[:2]]}, "'finch' has names .*, 3 pictures"),
    ({"names": [NAMES, ["wing", "wing", "claw"]]}, "no name twice"),
    ({"ratios": [[1, 1, 1], [1]]}, "1 ratios"),
    ({"pictures": [], "names": [], "class_names": []}, "at least one")])
def test_trait_pictures_refuse_what_does_not_fit(change, message):
    given = {"pictures": pictures(2, 3), "names": [NAMES, NAMES], "class_names": ["lark", "finch"], **change}
    with pytest.raises(ValueError, match=message):
        common_traits_plots.trait_pictures(**given)


# --- Distributions ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_qq_plots_standardise_both_methods():
    ours, other = [values(k) for k in range(3)], [values(3), None, values(4, far=[60])]
    figure, table = common_traits_plots.qq_plots([{"class": "lark", "names": NAMES, "ours": ours, "other": other},
                                    {"class": "finch", "names": ["beak"], "ours": ours[:1]}], "birds")
    assert table["class"].tolist() == ["lark"] * 5 + ["finch"]
    assert table["concept"].tolist() == ["wing", "wing", "beak", "claw", "claw", "beak"]
    assert table["method"].tolist() == ["this study", "comparison", "this study"] * 2
    for row, found in zip(table.to_dict("records"), [ours[0], other[0], ours[1], ours[2], other[2], ours[0]]):
        assert {field: row[field] for field in ("r2", "w", "p", "count", "mean", "std", "skew")} == {
            field: getattr(found, field) for field in ("r2", "w", "p", "count", "mean", "std", "skew")}
    rows = np.array(figure.axes).reshape(2, 3)
    dots = [line for line in rows[0, 0].lines if line.get_marker() == "o"]
    assert [to_hex(line.get_color()) for line in dots] == [style_plots.OTHER, style_plots.OURS]  # the comparison is beneath
    np.testing.assert_allclose(dots[1].get_xdata(), ours[0].theoretical)
    np.testing.assert_allclose(dots[1].get_ydata(), (ours[0].ordered - ours[0].mean) / ours[0].std)
    np.testing.assert_array_equal(*rows[0, 0].lines[-1].get_data())  # the normal line
    assert [(text.get_text(), to_hex(text.get_color())) for text in rows[0, 0].texts] == [
        (f"r² {other[0].r2:.3f}", style_plots.OTHER), (f"r² {ours[0].r2:.3f}", style_plots.OURS)]
    assert [len(axis.texts) for axis in figure.axes] == [2, 1, 2, 0, 1, 0]
    triangle, = (line for line in rows[0, 2].lines if line.get_marker() == "^")
    assert len(triangle.get_xdata()) == 1 and triangle.get_ydata()[0] < common_traits_plots.QQ_LIMIT
    assert len({axis.get_ylim() for axis in figure.axes if axis.texts}) == 1
    legend, = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["this study", "comparison", "normal distribution",
                                                                "beyond the axis"]
    assert "quantiles of the normal" in legend.get_title().get_text()


def test_qq_plots_of_one_and_of_many():
    figure, table = common_traits_plots.qq_plots([{"class": "bird", "names": ["all"], "ours": [values()]}], methods=("A", "B"))
    assert len(table) == 1 and [t.get_text() for t in figure.legends[0].get_texts()] == ["A", "normal distribution"]
    many = [f"concept {k}" for k in range(10)]
    figure, table = common_traits_plots.qq_plots([{"class": LONG, "names": many, "ours": [values()] * 10}])
    assert len(figure.axes) == 10 and len(table) == 10  # two rows of five
    assert [axis.get_ylabel() != "" for axis in figure.axes] == ([True] + [False] * 4) * 2
    figure, table = common_traits_plots.qq_plots([{"class": "bird", "names": ["all"], "ours": [None]}])  # nothing to draw
    assert table.empty and "r2" in table


def test_qq_plots_refuse_what_does_not_fit():
    own = {"class": "lark", "names": NAMES, "ours": [values()] * 3}
    with pytest.raises(ValueError, match="'lark' has names .*, 3 ours, 1 other"):
        common_traits_plots.qq_plots([{**own, "other": [None]}])
    with pytest.raises(ValueError, match="at least one"):
        common_traits_plots.qq_plots([])


def test_variance_curves_add_up():
    ratios = [[[0.5, 0.25, 0.125], [0.75, 0.125, 0.0625]], [[0.25]]]
    figure, table = common_traits_plots.variance_curves(ratios, [["wing", "beak"], ["beak"]], ["lark", "finch"])
    pd.testing.assert_frame_equal(table, pd.DataFrame({
        "class": ["lark"] * 6 + ["finch"], "concept": ["wing"] * 3 + ["beak"] * 4, "component": [1, 2, 3, 1, 2, 3, 1],
        "explained_variance_ratio": [0.5, 0.25, 0.125, 0.75, 0.125, 0.0625, 0.25],
        "cumulative": [0.5, 0.75, 0.875, 0.75, 0.875, 0.9375, 0.25]}))
    lark, finch = figure.axes
    assert [text.get_text() for text in lark.get_legend().get_texts()] == ["beak, 75 %", "wing, 50 %"]
    assert [line.get_ydata().tolist() for line in lark.lines] == [[75, 87.5, 93.75], [50, 75, 87.5]]
    assert lark.lines[0].get_color() == finch.lines[0].get_color() != lark.lines[1].get_color()
    assert lark.get_ylim() == finch.get_ylim() and lark.get_ylim()[0] < 25
    assert [axis.get_title() for axis in figure.axes] == ["lark", "finch"]


def test_variance_curves_of_one_and_of_many():
    figure, table = common_traits_plots.variance_curves([[[0.5]]], [["all"]], ["bird"])
    assert table[["component", "cumulative"]].values.tolist() == [[1, 0.5]]
    count = 20
    figure, table = common_traits_plots.variance_curves([np.full((count, 3), 0.2)] * 4, [[f"k {k}" for k in range(count)]] * 4,
                                          [LONG, "b", "c", "d"])
    assert len({(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}) == count
    assert len(table) == 4 * count * 3 and sum(axis.axison for axis in figure.axes) == 4
    figure.canvas.draw()
    below = [any(label.get_text() and label.get_visible() for label in axis.get_xticklabels())
             for axis in figure.axes[:4]]
    assert below == [False, True, True, True]
    with pytest.raises(ValueError, match="'lark' must be numbers"):
        common_traits_plots.variance_curves([[[]]], [["wing"]], ["lark"])
    with pytest.raises(ValueError, match="1 ratios"):
        common_traits_plots.variance_curves([[[1]]], [["wing", "beak"]], ["lark"])


# --- Specificity -----------------------------------------------------------------------------------------------------


def frames(axis):
    """(row, column) of cells with a thick frame, and with a dotted one."""
    found = {True: [], False: []}
    for patch in axis.patches:
        x, y = patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2
        found[patch.get_linewidth() > 2].append((round(y), round(x)))
    return sorted(found[True]), sorted(found[False])


def test_drop_matrices_mark_the_largest_and_the_diagonal():
    drops = np.array([[2.0, 0.5, -0.01], [1, 0.25, -1], [0.1, 0.3, 0.2]])
    figure, table = common_traits_plots.drop_matrices([drops, [[0.5]]], [NAMES, ["all"]], ["lark", "finch"], "birds", "units")
    assert table.columns.tolist() == ["class", "removed", "measured", "drop", "largest"] and len(table) == 10
    own = table[table["class"] == "lark"]
    matrix = own.pivot(index="removed", columns="measured", values="drop")
    np.testing.assert_array_equal(matrix.loc[NAMES, NAMES], drops)
    assert own.loc[own["largest"], ["removed", "measured"]].values.tolist() == [["wing", "wing"], ["beak", "wing"],
                                                                                ["claw", "beak"]]
    axis = figure.axes[0]
    assert frames(axis) == ([(0, 0), (1, 0), (2, 1)], [(0, 0), (1, 1), (2, 2)])
    assert axis.get_title() == "lark\nown is largest: 1 of 3 rows (33 %)"
    assert figure.axes[1].get_title() == "finch\nown is largest: 1 of 1 rows (100 %)"
    numbers = ["2.0", "0.5", "0.0", "1.0", "0.2", "−1.0", "0.1", "0.3", "0.2"]
    assert [text.get_text() for text in axis.texts] == numbers
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("removed", "measured")
    image = axis.images[0]
    assert tuple(image.cmap(image.norm(0.0))) == (1, 1, 1, 1)
    assert to_hex(image.cmap(image.norm(9))) == style_plots.OURS and to_hex(image.cmap(image.norm(-9))) == style_plots.OTHER
    assert image.norm.vmax == -image.norm.vmin < 2  # the limits are robust
    assert figure.axes[1].images[0].norm.vmax == image.norm.vmax
    assert any("units" in text for text in texts(figure)) and "†" not in note_below(figure)


def note_below(figure):
    return figure.legends[0].get_title().get_text()


@pytest.mark.parametrize("widths", [(7, 8), (3, 8), (8, 3), (5, 5)])
def test_the_note_below_drop_matrices_covers_no_label(widths):
    """Cells of the narrower matrix are larger, so that its labels hang lower than those of the other."""
    names, rows = [[f"part {k}" for k in range(width)] for width in widths], [f"part {k}" for k in range(7)]
    figure, _ = common_traits_plots.drop_matrices([np.ones((7, width)) for width in widths], names, ["lark", "finch"], "birds",
                                    row_names=[rows, rows])
    figure.canvas.draw()
    note = figure.legends[0].get_title().get_window_extent()
    for axis in figure.axes[:2]:
        assert not note.overlaps(axis.xaxis.label.get_window_extent())


def test_drop_matrices_of_other_rows_count_names_with_numbers():
    columns, rows = ["wing", "wing 2", "wingtip"], ["wing", "wingtip", "tuft"]
    drops = [[0.1, 0.5, 0.2], [0.5, 0.4, 0.3], [0.9, 0.1, 0.1]]
    figure, table = common_traits_plots.drop_matrices([drops], [columns], ["lark"], "birds", row_names=[rows])
    axis = figure.axes[0]
    assert frames(axis) == ([(0, 1), (1, 0), (2, 0)], [(0, 0), (0, 1), (1, 2)])
    assert axis.get_title() == "lark\nown is largest: 1 of 2 rows (50 %)"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["wing", "wingtip", "tuft †"]
    assert [label.get_color() for label in axis.get_yticklabels()] == ["k", "k", "0.5"]
    assert "†" in note_below(figure) and table["removed"].unique().tolist() == rows
    figure, _ = common_traits_plots.drop_matrices([drops[2:]], [columns], ["lark"], "birds", row_names=[rows[2:]])
    assert figure.axes[0].get_title() == "lark\nno row counts"


def test_drop_matrices_count_as_specificity_does():
    generator = np.random.default_rng(0)
    for drops in generator.normal(size=(60, 4, 4)) + 0.7 * np.eye(4) - 0.7:
        drops[generator.random((4, 4)) < 0.03] = np.nan
        count = int(on_diagonal(drops).sum())
        assert common_traits_plots._right(drops, np.eye(4, dtype=bool)).startswith(f"own is largest: {count} of 4")


@pytest.mark.filterwarnings("error")
def test_drop_matrices_of_nothing_and_of_many():
    figure, table = common_traits_plots.drop_matrices([np.full((2, 2), np.nan)], [NAMES[:2]], ["lark"], "NaN")
    assert not table["largest"].any() and [text.get_text() for text in figure.axes[0].texts] == ["–"] * 4
    figure, table = common_traits_plots.drop_matrices([np.zeros((2, 2))], [NAMES[:2]], ["lark"], "zeros")
    assert "0 of 2" in figure.axes[0].get_title() and table["largest"].sum() == 2
    names = [f"concept {k}" for k in range(12)]
    figure, table = common_traits_plots.drop_matrices([np.eye(12), np.eye(3)], [names, NAMES], [LONG, "finch"], "birds")
    assert [len(axis.texts) for axis in figure.axes[:2]] == [0, 9] and len(table) == 12 * 12 + 9
    figure, table = common_traits_plots.drop_matrices([np.eye(2)] * 17, [NAMES[:2]] * 17, [f"bird {c}" for c in range(17)], "birds")
    assert not any(axis.texts for axis in figure.axes[:16]) and len(table) == 17 * 4
    assert "first 16 of 17 classes" in figure.get_suptitle()


def test_drop_matrices_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"'lark' are \(3, 3\) and must be \(2, 2\)"):
        common_traits_plots.drop_matrices([np.eye(3)], [NAMES[:2]], ["lark"], "")
    with pytest.raises(ValueError, match=r"must be \(1, 3\), removed by measured"):
        common_traits_plots.drop_matrices([np.eye(3)], [NAMES], ["lark"], "", row_names=[["wing"]])
    with pytest.raises(ValueError, match="drops of 1, row_names of 2 classes"):
        common_traits_plots.drop_matrices([np.eye(3)], [NAMES], ["lark"], "", row_names=[NAMES, NAMES])
    with pytest.raises(ValueError, match="leave out classes"):
        common_traits_plots.drop_matrices([np.zeros((0, 3))], [NAMES], ["lark"], "", row_names=[[]])


# --- Methods ---------------------------------------------------------------------------------------------------------


def traces():
    slow = np.arange(1, 101), np.geomspace(10, 0.1, 100)
    fast = np.array([0, 1, 2, 4, 8]), np.array([10, 5, 0.05, 0.1, 0.01])
    return {"fast": fast, "slow": slow}


def markers(figure):
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in figure.axes[0].lines
            if line.get_marker() == "D"]


def captions(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.filterwarnings("error")
def test_inversion_traces_say_when_the_slow_end_is_reached():
    figure, table = common_traits_plots.inversion_traces(traces(), "a race")
    assert table["method"].tolist() == ["fast"] * 5 + ["slow"] * 100
    assert table.loc[table["method"] == "fast", ["step", "seconds", "objective"]].values.tolist() == [
        [0, 0, 10], [1, 1, 5], [2, 2, 0.05], [3, 4, 0.1], [4, 8, 0.01]]
    assert markers(figure) == [(2, 0.05), (100, pytest.approx(0.1))]
    assert captions(figure) == ["fast: is as low after 2 seconds, 50 times as fast",
                                "slow: ends after 1 minute 40 seconds", "last objective of slow"]
    axis = figure.axes[0]
    assert axis.get_xscale() == axis.get_yscale() == "log" and figure.get_suptitle() == "a race"
    dashed, = (line for line in axis.lines if line.get_linestyle() == "--" and len(line.get_xdata()))
    assert dashed.get_ydata()[0] == pytest.approx(0.1)
    figure.canvas.draw()


def test_steps_of_shifted_pictures_do_not_count():
    figure, _ = common_traits_plots.inversion_traces(traces(), "", {"fast": 3})
    assert markers(figure)[0] == (4, 0.1)
    assert captions(figure)[0] == "fast: is as low after 4 seconds, 25 times as fast" and "pale" in captions(figure)[3]
    pale = [line.get_xdata().tolist() for line in figure.axes[0].lines if line.get_alpha() == 0.4]
    assert pale[0] == [1, 2, 4]  # not 0, of which there is no logarithm


def test_inversion_traces_of_one_method_and_of_many_steps():
    figure, _ = common_traits_plots.inversion_traces({"slow": traces()["slow"]}, "")
    assert markers(figure) == [(100, pytest.approx(0.1))]
    many = np.linspace(1, 50, 5000), np.geomspace(9, 1, 5000)
    figure, table = common_traits_plots.inversion_traces({"slow": traces()["slow"], "bad": many}, "")
    assert captions(figure)[1] == "bad: does not get as low" and len(markers(figure)) == 1
    own = table[table["method"] == "bad"]
    assert 150 < len(own) <= common_traits_plots.THINNED and own["step"].is_monotonic_increasing and own["step"].is_unique
    assert own["step"].iloc[[0, -1]].tolist() == [0, 4999] and own["objective"].iloc[-1] == pytest.approx(1)


def test_inversion_traces_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"clock \(3,\) and trace \(2,\)"):
        common_traits_plots.inversion_traces({"fast": ([1, 2, 3], [1, 2])}, "")
    with pytest.raises(ValueError, match="above 0"):
        common_traits_plots.inversion_traces({"fast": ([1, 2], [1, 0])}, "")
    with pytest.raises(ValueError, match="must rise"):
        common_traits_plots.inversion_traces({"fast": ([2, 1], [1, 1])}, "")
    with pytest.raises(ValueError, match="none"):
        common_traits_plots.inversion_traces({}, "")


@pytest.mark.parametrize("seconds, words", [
    (0.123, "0.12 seconds"), (1, "1 second"), (9.96, "10 seconds"), (59.4, "59 seconds"), (59.5, "1 minute"),
    (61, "1 minute 1 second"), (125, "2 minutes 5 seconds"), (3599.7, "1 hour"), (3661, "1 hour 1 minute"),
    (4800, "1 hour 20 minutes"), (7199, "2 hours")])
def test_durations_in_words(seconds, words):
    assert common_traits_plots._duration(seconds) == words
