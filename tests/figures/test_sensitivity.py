"""The figures of sensitivity: tables hold what was given, drawings what the tables hold, and no words overlap."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers import (
    check_words,
    styled_figures,  # noqa: F401 (a fixture)
    text_of,
)
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text

from asxai.figures import sensitivity as sensitivity_plots
from asxai.figures import style as style_plots
from asxai.figures.style import OUTLINE

NAMES = ["wing", "beak", "claw"]
LONG = ["the inner side of both front legs", "ear", "whiskers and the muzzle around", "eye", "a tail of many stripes",
        "nose", "background-like fur patch 2", "hindlegs"]
METHODS = ["R_s", "mean activation", "gradient x activation", "Sobol index"]
SIZE = 32


def picture(seed=0):
    return np.random.default_rng(seed).integers(1, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def mask():
    result = np.zeros((SIZE, SIZE), bool)
    result[4:12, 6:20] = True
    return result


def made(concepts, filters=128, close=False, empty=(), seed=0):
    """Ranks `(picture, filter)` and concepts of filters; the last six filters are redundant."""
    generator = np.random.default_rng(seed)
    own = generator.integers(-1, concepts, filters)
    own[np.isin(own, empty)] = -1
    own[-6:] = -1
    middle = np.linspace(9, 10, concepts) if close else np.linspace(4, 17, concepts)
    ranks = np.where(own >= 0, middle[own], 6) + generator.normal(0, 2, (20, filters))
    ranks = ranks.round().clip(0, 21).astype(int)
    ranks[:, -6:] = 0
    return ranks, own


def examples(own, concepts, most=3):
    return [[(picture(k), mask(), int(number)) for number in np.flatnonzero(own == k)[:most]] for k in range(concepts)]


def dots(axis, marker=None):
    """(x, y) of all markers, or of one kind, of an axis."""
    return sorted((float(x), float(y)) for line in axis.lines
                  if line.get_marker() not in ("None", "") and marker in (None, line.get_marker())
                  for x, y in zip(*line.get_data()))


def test_the_words_of_a_bad_figure_are_found():
    figure, axis = plt.subplots()
    axis.text(0.5, 0.5, "one")
    check_words(figure)
    axis.text(0.51, 0.5, "another")
    with pytest.raises(AssertionError):
        check_words(figure)


# --- Figure 4 --------------------------------------------------------------------------------------------------------


def small_panel(**change):
    """Six filters: wing has two, beak one, claw none; of the other three one is redundant."""
    given = {"pictures": [picture()], "ranks": [[4, 6, 9, 0, 2, 3], [6, 8, 9, 0, 2, 4]],
             "filter_concepts": [0, 0, 1, -1, -1, -1], "names": NAMES, "scores": [0.4, 0.6, 0.0],
             "examples": [[(picture(1), mask(), 1)], [(picture(2), mask(), 2)], []], "title": "birds",
             "intervals": [[0.3, 0.5], [0.5, 0.7], [0, 0]]}
    return sensitivity_plots.sensitivity_panel(**{**given, **change})


@pytest.mark.filterwarnings("error")
def test_panel_tells_filters_and_concepts():
    figure, table = small_panel()
    assert table.columns.tolist() == ["kind", "concept", "filter", "filters", "redundant", "mean_rank", "masks",
                                      "score", "low", "high"]
    concepts, filters = (table[table["kind"] == kind].reset_index(drop=True) for kind in ("concept", "filter"))
    expected = pd.DataFrame({
        "concept": [*NAMES, sensitivity_plots.NONE], "filters": [2, 1, 0, 3], "redundant": [0, 0, 0, 1],
        "mean_rank": [6, 9, np.nan, 5.5 / 3], "masks": [1, 1, 0, 0], "score": [0.4, 0.6, 0, np.nan],
        "low": [0.3, 0.5, 0, np.nan], "high": [0.5, 0.7, 0, np.nan]})
    pd.testing.assert_frame_equal(concepts[expected.columns], expected)
    assert filters["filter"].tolist() == [0, 1, 2, 3, 4, 5] and concepts["filter"].isna().all()
    assert filters["concept"].tolist() == ["wing", "wing", "beak"] + 3 * [sensitivity_plots.NONE]
    assert filters["mean_rank"].tolist() == [5, 7, 9, 0, 2, 3.5] and filters["redundant"].tolist() == [0, 0, 0, 1, 0, 0]
    assert filters["masks"].tolist() == [0, 1, 1, 0, 0, 0] and filters["score"].isna().all()


def test_panel_takes_means_that_are_weighed_otherwise():
    figure, table = small_panel(means=[5.5, 8, 3])
    concepts = table[table["kind"] == "concept"]
    np.testing.assert_allclose(concepts["mean_rank"], [5.5, 8, 3, 5.5 / 3])
    first = next(axis for axis in figure.axes if axis.get_ylabel())
    assert [line.get_xdata()[0] for line in first.lines if line.is_dashed()] == [5.5, 8, 3]
    assert first.get_ylabel() == "wing\n2 filters\nR_s 5.5"
    with pytest.raises(ValueError, match=r"means \(2,\) must be \(3,\)"):
        small_panel(means=[1, 2])


def test_panel_draws_ranks_across_and_a_row_for_each_concept():
    figure, _ = small_panel()
    rows = [axis for axis in figure.axes if axis.get_ylabel()]
    assert [axis.get_ylabel().split("\n")[0] for axis in rows] == [*NAMES, sensitivity_plots.NONE]
    assert [dots(axis) for axis in rows] == [[(5, 0), (7, 1)], [(9, 2)], [], [(0, 3), (2, 4), (3.5, 5)]]
    assert dots(rows[3], "x") == [(0, 3)]  # the redundant one
    rims = [[line.get_xdata().tolist() for line in axis.lines if line.get_mec() == "k"] for axis in rows]
    assert rims == [[[7]], [[9]], [], []]
    for k, axis in enumerate(rows):  # every mean in every row, the row's own one thicker
        dashed = [line for line in axis.lines if line.is_dashed()]
        assert [line.get_xdata()[0] for line in dashed] == [6, 9]
        assert [line.get_linewidth() > 1.5 for line in dashed] == [k == 0, k == 1]
        assert len({to_hex(line.get_color()) for line in dashed}) == 2
        assert axis.get_xlim() == rows[0].get_xlim() and axis.get_ylim() == rows[0].get_ylim()
    found = text_of(figure)
    assert "wing\n2 filters\nR_s 6.0" in found and "beak\n1 filter\nR_s 9.0" in found
    assert "claw\n0 filters" in found and f"{sensitivity_plots.NONE}\n3 filters\n1 redundant" in found and "no filters" in found
    assert {"40.0 %", "60.0 %", "0.0 %", "1", "2", "example"} <= {*found} and figure.get_suptitle() == "birds"
    check_words(figure)


def test_panel_rows_are_at_the_height_of_their_masks_and_bars():
    figure, _ = small_panel()
    figure.canvas.draw()
    rows = {axis.get_ylabel().split("\n")[0]: axis.get_position() for axis in figure.axes if axis.get_ylabel()}
    shown = [axis for axis in figure.axes if axis.images][1:]
    bars = [axis for axis in figure.axes if axis.patches and not axis.images]
    assert len(shown) == 2 and len(bars) == 3
    for axis, name in zip([*shown, *bars], ["wing", "beak", *NAMES]):
        middle = (axis.get_position().y0 + axis.get_position().y1) / 2
        assert rows[name].y0 < middle < rows[name].y1
    assert [axis.patches[0].get_width() for axis in bars] == [0.4, 0.6, 0]
    ends = [[collection.get_segments()[0][:, 0].tolist() for collection in axis.collections] for axis in bars]
    assert ends == [[[0.3, 0.5]], [[0.5, 0.7]], [[0, 0]]]
    assert to_hex(bars[0].patches[0].get_facecolor()) == sensitivity_plots.LINE_COLOURS[0]
    darkened = np.asarray(shown[1].images[0].get_array())
    np.testing.assert_array_equal(darkened[mask()], picture(2)[mask()])
    assert (darkened[~mask()] <= 0.6 * picture(2)[~mask()]).all()
    assert to_hex(shown[1].collections[0].get_edgecolor()[0]) == OUTLINE


@pytest.mark.filterwarnings("error")
def test_panel_of_eight_long_names_a_concept_without_filters_and_a_score_that_is_nan():
    ranks, own = made(8, close=True, empty=[2])
    scores = np.full(8, 0.125)
    scores[[2, 5]] = 0, np.nan
    figure, table = sensitivity_plots.sensitivity_panel([picture(), picture(1)], ranks, own, LONG, scores, examples(own, 8),
                                            "birds", intervals=np.c_[scores * 0.8, scores * 1.2])
    check_words(figure)
    assert figure.get_figwidth() == sensitivity_plots.WIDTH and len([axis for axis in figure.axes if axis.images]) == 2 + 7 * 3
    assert "no score" in text_of(figure) and "examples" in text_of(figure)
    assert table[table["kind"] == "concept"].set_index("concept").loc[LONG[2], "filters"] == 0
    markers = {(to_hex(line.get_color()), line.get_marker()) for axis in figure.axes for line in axis.lines
               if line.get_marker() in sensitivity_plots.MARKERS and to_hex(line.get_color()) in sensitivity_plots.LINE_COLOURS}
    assert len(markers) == len({c for c, _ in markers}) == len({m for _, m in markers}) == 7


@pytest.mark.filterwarnings("error")
def test_panel_of_one_concept_and_of_nothing():
    ranks, own = made(1)
    figure, table = sensitivity_plots.sensitivity_panel([picture()], ranks.mean(axis=0), own, ["petal"], [1], examples(own, 1, 1),
                                            "")
    check_words(figure)
    assert table["mean_rank"].iloc[0] == pytest.approx(ranks[:, own == 0].mean())
    assert table[["low", "high"]].isna().all(axis=None)
    figure, table = sensitivity_plots.sensitivity_panel([picture(), picture(1)], np.zeros(3), [-1] * 3, ["petal"], [np.nan], [[]],
                                            "nothing", filters=[5, 9, 100])
    check_words(figure)
    assert table["filter"].tolist()[2:] == [5, 9, 100] and table["redundant"].tolist() == [0, 3, 1, 1, 1]
    assert not [text for text in text_of(figure) if ("mean over" in text and "concept" in text) or "mask" in text]


def test_panels_share_colours_by_order():
    def colour(figure, name):
        row, = (axis for axis in figure.axes if axis.get_ylabel().startswith(name))
        return to_hex(next(line for line in row.lines if line.get_marker() in sensitivity_plots.MARKERS).get_color())

    swapped = {"names": ["beak", "wing", "claw"]}
    shown = {"examples": [[], [], []]}
    assert colour(small_panel()[0], "wing") == colour(small_panel(**swapped, **shown)[0], "beak")
    assert colour(small_panel()[0], "wing") == colour(small_panel(**swapped, **shown, order=NAMES)[0], "wing")


@pytest.mark.parametrize("change, message", [
    ({"pictures": [picture()] * 3}, "pictures have the shapes .* one or two"),
    ({"pictures": picture()}, "one or two"),
    ({"ranks": [[1, 2, -1, 0, 0, 0]]}, "ranks hold -1; .* from 0 up"),
    ({"ranks": [[1, 2, np.nan, 0, 0, 0]]}, "ranks hold nan"),
    ({"ranks": np.zeros((0, 6))}, r"ranks float64 \(0, 6\) must be numbers \(picture, filter\)"),
    ({"filter_concepts": [0, 0, 1]}, r"filter_concepts int64 \(3,\) must be whole numbers \(6,\)"),
    ({"filter_concepts": [0.0] * 6}, "filter_concepts float64"),
    ({"filter_concepts": [0, 0, 3, -1, -1, -1]}, "run from -1 to 3; use -1 for none and 0 to 2"),
    ({"filters": [1, 2, 3, 4, 5, 1]}, "filters name 1 twice"),
    ({"names": ["wing", "wing", "claw"]}, "none twice"),
    ({"names": ["wing", "beak", sensitivity_plots.NONE]}, "none that is 'no concept'"),
    ({"scores": [0.5, 0.5]}, r"scores \(2,\) must be \(3,\)"),
    ({"scores": [50, 50, 0]}, "scores hold 50; give shares"),
    ({"intervals": [0.1, 0.2, 0.3]}, r"intervals \(3,\) must be \(3, 2\)"),
    ({"examples": [[]]}, "examples are of 1 concepts, and there are 3 names"),
    ({"examples": [[(picture(), mask(), 0)] * 4, [], []]}, "'wing' are 4; give at most 3"),
    ({"examples": [[(picture(), mask()[:5], 0)], [], []]}, r"mask \(5, 32\), bool; give"),
    ({"examples": [[(picture(), mask().astype(int), 0)], [], []]}, "int64; give .* bool"),
    ({"examples": [[(picture(), mask(), 2)], [], []]}, "'wing': filter 2 extracts 'beak'"),
    ({"examples": [[(picture(), mask(), 77)], [], []]}, "filter 77 extracts 'nothing: it is not in filters'")])
def test_panel_refuses_what_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        small_panel(**change)


# --- Supplementary Figure 6 ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_filter_ranks_name_the_highest_and_draw_means():
    ranks = {"lark": np.array([[4, 6, 9, 0, 9, 3], [6, 8, 9, 0, 2, 4]]), "finch": np.array([[5, 0]])}
    own = {"lark": [0, 0, 1, -1, 1, -1], "finch": [0, -1]}
    figure, table = sensitivity_plots.filter_ranks(ranks, own, {"lark": NAMES, "finch": ["beak"]}, "birds")
    pd.testing.assert_frame_equal(table, pd.DataFrame({
        "class": ["lark"] * 6 + ["finch"] * 2, "filter": [*range(6), 0, 1],
        "concept": ["wing", "wing", "beak", sensitivity_plots.NONE, "beak", sensitivity_plots.NONE, "beak", sensitivity_plots.NONE],
        "mean_rank": [5, 7, 9, 0, 5.5, 3.5, 5, 0], "redundant": [False] * 3 + [True] + [False] * 3 + [True],
        "highest": [False, True, True, False, True, False, True, False],
        "concept_mean_rank": [6, 6, 7.25, np.nan, 7.25, np.nan, 5, np.nan]}), check_dtype=False)
    lark, finch = figure.axes
    assert dots(lark) == [(0, 5), (1, 7), (2, 9), (3, 0), (4, 5.5), (5, 3.5)] and dots(lark, "x") == [(3, 0)]
    assert [line.get_ydata()[0] for line in lark.lines if line.is_dashed()] == [6, 7.25]
    assert {text.get_text() for text in lark.texts} == {"1", "2", "4", "wing, 6.0", "beak, 7.2"}
    assert {text.get_text(): tuple(text.xy) for text in lark.texts if text.get_text() in "124"} == {
        "1": (1, 7), "2": (2, 9), "4": (4, 5.5)}
    assert [text.get_text() for text in finch.texts] == ["beak, 5.0", "0"]
    # the same colour in both; words are darker
    colours = [next(line for line in axis.lines if line.is_dashed() and line.get_ydata()[0] == height).get_color()
               for axis, height in ((lark, 7.25), (finch, 5))]
    assert colours[0] == colours[1] != lark.lines[0].get_color()
    assert sum(to_rgb(finch.texts[0].get_color())) < sum(to_rgb(colours[1]))
    check_words(figure)


def test_filter_ranks_move_the_words_of_close_lines_apart():
    given = {name: made(8, close=name == "lark", seed=i) for i, name in enumerate(("lark", "finch"))}
    figure, table = sensitivity_plots.filter_ranks({c: ranks for c, (ranks, _) in given.items()},
                                       {c: own for c, (_, own) in given.items()}, dict.fromkeys(given, LONG), "birds")
    check_words(figure)
    assert table.groupby("class")["highest"].sum().tolist() == [3, 3]
    for axis, c in zip(figure.axes, given):
        beside = [text for text in axis.texts if "," in text.get_text()]
        means = table[table["class"] == c].groupby("concept")["concept_mean_rank"].first()[LONG]
        assert np.diff(np.array([text.get_position()[1] for text in beside])[means.argsort()]).min() > 0  # as the lines
        box = axis.get_window_extent()
        assert all(box.y0 <= text.get_window_extent().y0 and text.get_window_extent().y1 <= box.y1 for text in beside)


@pytest.mark.filterwarnings("error")
def test_filter_ranks_of_nothing_and_of_many():
    figure, table = sensitivity_plots.filter_ranks({"bird": np.zeros((2, 4))}, {"bird": [-1] * 4}, {"bird": ["all"]}, "birds")
    assert not table["highest"].any() and not figure.axes[0].texts
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["redundant filter: rank 0 in every picture"]
    many = [f"bird {c}" for c in range(17)]
    figure, table = sensitivity_plots.filter_ranks(dict.fromkeys(many, np.ones(2)), dict.fromkeys(many, [0, -1]),
                                       dict.fromkeys(many, ["all"]), "birds")
    assert len(figure.axes) == 16 and table["class"].nunique() == 17
    assert "first 16 of 17 classes" in figure.get_suptitle()


def test_filter_ranks_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"ranks_by_class is of \['lark'\].* of \['finch'\].* same classes"):
        sensitivity_plots.filter_ranks({"lark": np.ones(2)}, {"finch": [0, 0]}, {"lark": ["all"]}, "")
    with pytest.raises(ValueError, match="filter_concepts of 'lark' run from 0 to 1"):
        sensitivity_plots.filter_ranks({"lark": np.ones(2)}, {"lark": [0, 1]}, {"lark": ["all"]}, "")
    with pytest.raises(ValueError, match="no name twice"):
        sensitivity_plots.filter_ranks({"lark": np.ones(2)}, {"lark": [0, 1]}, {"lark": ["all", "all"]}, "")
    with pytest.raises(ValueError, match="at least one"):
        sensitivity_plots.filter_ranks({}, {}, {}, "")


# --- Layers ----------------------------------------------------------------------------------------------------------


def shares(names, layers, seed=0):
    generator = np.random.default_rng(seed)
    table = pd.DataFrame([{"layer": layer, "concept": name, "share": share}
                          for layer in layers for name, share in zip(names, generator.dirichlet([6] * len(names)))])
    return table.assign(low=0.8 * table["share"], high=(1.2 * table["share"]).clip(upper=1))


@pytest.mark.filterwarnings("error")
def test_profile_draws_shares_with_intervals():
    table = shares(NAMES, ["early", "late"]).assign(mean=1)
    table.loc[:2, "share"], table.loc[3:, "share"] = [0.5, 0.3, 0.2], [0.25, 0.15, 0.6]
    figure, given = sensitivity_plots.layer_profile(table, "birds")
    pd.testing.assert_frame_equal(given, table[["layer", "concept", "share", "low", "high"]])
    axis, = figure.axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["claw, 60 %", "wing, 25 %", "beak, 15 %"]
    np.testing.assert_allclose([line.get_ydata() for line in axis.lines], [[20, 60], [50, 25], [30, 15]])
    ends = axis.collections[0].get_segments()
    np.testing.assert_allclose([end[:, 1] for end in ends],
                               100 * table.loc[table["concept"] == "claw", ["low", "high"]])
    assert [round(end[0, 0]) for end in ends] == [0, 1] and axis.get_ylim()[0] == 0
    assert axis.get_ylim()[1] > 100 * table[["share", "high"]].max(axis=None)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["early", "late"]
    check_words(figure)


@pytest.mark.filterwarnings("error")
def test_profile_of_many_and_of_nan():
    table = shares(LONG, ["stage 3", "stage 4", "stage 5", "one of a long name", "a layer of a long name"])
    table.loc[[2, len(table) - 1], ["share", "low", "high"]] = np.nan
    figure, _ = sensitivity_plots.layer_profile(table, "birds")
    check_words(figure)
    assert figure.get_figwidth() <= sensitivity_plots.WIDTH
    legend = [text.get_text().replace("\n", " ") for text in figure.axes[0].get_legend().get_texts()]
    assert legend[-1] == "hindlegs, –" and len(legend) == 8
    box = figure.axes[0].get_window_extent()
    assert figure.axes[0].get_legend().get_window_extent().x0 >= box.x1  # outside
    figure, _ = sensitivity_plots.layer_profile(shares(["all"], ["only"]).assign(share=np.nan, low=np.nan, high=np.nan), "")
    check_words(figure)


def test_profile_refuses_what_does_not_fit():
    table = shares(NAMES, ["early"])
    with pytest.raises(ValueError, match="early / wing twice; choose one class"):
        sensitivity_plots.layer_profile(pd.concat([table, table]), "")
    with pytest.raises(ValueError, match="lacks low, high; give"):
        sensitivity_plots.layer_profile(table.drop(columns=["low", "high"]), "")
    with pytest.raises(ValueError, match="table of 0 rows lacks rows"):
        sensitivity_plots.layer_profile(table[:0], "")
    with pytest.raises(ValueError, match="share holds 40; give shares"):
        sensitivity_plots.layer_profile(table.assign(share=40), "")


# --- Causes ----------------------------------------------------------------------------------------------------------


def importance(classes, names, methods=METHODS, scale=1.0):
    generator = np.random.default_rng(0)
    table = pd.DataFrame([{"class": c, "concept": name, "method": method} for method in methods for c in classes
                          for name in names])
    value = generator.normal(0, scale, len(table))
    return table.assign(value=value, causal=value + generator.normal(0, scale, len(table)))


@pytest.mark.filterwarnings("error")
def test_scatter_names_dots_and_tells_the_correlation():
    table = importance(["lark", "finch"], NAMES, METHODS[:2]).assign(reference="concept hidden")
    table.loc[:5, "value"], table.loc[:5, "causal"] = [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5]
    table.loc[6, "value"] = np.nan
    figure, given = sensitivity_plots.causal_scatter(table, "birds")
    columns = ["class", "concept", "method", "value", "causal"]
    pd.testing.assert_frame_equal(given[columns], table[columns])
    assert given["spearman"].iloc[0] == pytest.approx(1 - 6 * 2 / (6 * 35)) and given["spearman"].nunique() == 2
    first, second = figure.axes
    assert first.get_title() == "R_s\nSpearman 0.94"
    assert dots(first) == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 5)] and len(dots(second)) == 5
    assert {(text.get_text(), *text.xy) for text in first.texts} == {
        ("wing", 1, 1), ("beak", 2, 2), ("claw", 3, 3), ("wing", 4, 4), ("beak", 5, 6), ("claw", 6, 5)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["lark", "finch"]
    assert first.get_ylim() == second.get_ylim() and first.get_xlim() != second.get_xlim()
    check_words(figure)
    figure, given = sensitivity_plots.causal_scatter(table.assign(spearman=-0.25), "birds")
    assert figure.axes[1].get_title() == "mean activation\nSpearman −0.25" and (given["spearman"] == -0.25).all()


@pytest.mark.parametrize("classes, names, scale", [(2, LONG, 1.0), (6, LONG[1:7:2] + ["tuft"], 1.0),
                                                   (2, NAMES + ["tuft", "tail"], 0.1)])
def test_scatter_keeps_words_apart(classes, names, scale):
    """Many, long, and in a crowd far from one other dot; none of them on a dot."""
    table = importance([f"bird {c}" for c in range(classes)], names, METHODS, scale)
    far = [{"class": "bird 0", "concept": "far", "method": method, "value": 4, "causal": 4} for method in METHODS]
    figure, _ = sensitivity_plots.causal_scatter(pd.concat([table, pd.DataFrame(far)]), "birds")
    check_words(figure)
    for axis in figure.axes:
        assert len(axis.texts) == classes * len(names) + 1 and "no room" not in axis.get_title()
        marks = axis.transData.transform(dots(axis))
        for text in axis.texts:
            box = Text.get_window_extent(text)
            assert not ((marks > box.min) & (marks < box.max)).all(axis=1).any(), text


@pytest.mark.filterwarnings("error")
def test_scatter_counts_words_without_room():
    figure, table = sensitivity_plots.causal_scatter(importance([f"bird {c}" for c in range(12)], LONG, METHODS[:1]), "birds")
    axis, = figure.axes
    left_out = 96 - len(axis.texts)
    assert left_out > 0 and f"(no room for {left_out} of 96 names)" in axis.get_title() and len(table) == 96
    check_words(figure)


@pytest.mark.filterwarnings("error")
def test_scatter_of_nothing_and_what_does_not_fit():
    table = importance(["lark"], NAMES[:2], METHODS[:3])
    figure, given = sensitivity_plots.causal_scatter(table.assign(causal=np.nan), "birds")
    assert text_of(figure).count("not measured") == 3 and given["spearman"].isna().all()
    assert figure.axes[0].get_title() == "R_s\nSpearman –"
    with pytest.raises(ValueError, match="lark / wing / R_s twice; choose one reference"):
        sensitivity_plots.causal_scatter(pd.concat([table, table]), "")
    with pytest.raises(ValueError, match="lacks causal"):
        sensitivity_plots.causal_scatter(table.drop(columns="causal"), "")
    with pytest.raises(ValueError, match="spearman of 'R_s' is 0, 1; give one number per method"):
        sensitivity_plots.causal_scatter(table.assign(spearman=[0, 1] * 3), "")


def correlations(methods, references):
    table = pd.DataFrame([{"method": m, "reference": r} for m in methods for r in references])
    middle = np.linspace(-0.8, 0.8, len(table))
    return table.assign(spearman=middle, low=middle - 0.1, high=middle + 0.1)


@pytest.mark.filterwarnings("error")
def test_correlations_are_dots_with_intervals():
    table = correlations(METHODS, ["part not drawn", "concept hidden"])
    table.loc[1, ["spearman", "low", "high"]] = np.nan
    table.loc[2, ["low", "high"]] = np.nan
    figure, given = sensitivity_plots.correlation_dots(table.assign(note=""), "birds")
    pd.testing.assert_frame_equal(given, table)
    axis, = figure.axes
    assert [x for x, _ in dots(axis)] == pytest.approx(table["spearman"].dropna())
    heights = [y for _, y in dots(axis)]
    assert [round(y) for y in heights] == [0, 1, 1, 2, 2, 3, 3] and np.diff(heights).min() > 0.2
    ends = [collection.get_segments()[0][:, 0] for collection in axis.collections if collection.get_segments()[0].size]
    np.testing.assert_allclose(ends, table.loc[table["low"].notna(), ["low", "high"]])
    assert any(line.get_xdata() == [0, 0] for line in axis.lines)  # the vertical line
    colours = {to_hex(line.get_color()) for line in axis.lines if line.get_marker() in sensitivity_plots.MARKERS}
    assert colours == {style_plots.OURS, style_plots.OTHER}
    assert [text.get_text() for text in axis.texts] == ["−0.80", "not measured", "−0.34", "−0.11", "0.11", "0.34",
                                                        "0.57", "0.80"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["R_s", "mean activation", "gradient x activation",
                                                                     "Sobol index"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["part not drawn", "concept hidden"]
    check_words(figure)


@pytest.mark.filterwarnings("error")
def test_correlations_stand_before_what_chance_gives():
    table = correlations(METHODS, ["concept hidden"]).assign(chance=[0.5, 0.4, 0.3, 0.2])
    table.loc[1, ["spearman", "low", "high", "chance"]] = np.nan
    figure, given = sensitivity_plots.correlation_dots(table, "birds")
    pd.testing.assert_frame_equal(given, table)
    axis, = figure.axes
    bars = [line for line in axis.lines if line.get_linewidth() == 6]
    np.testing.assert_allclose([bar.get_xdata() for bar in bars], [[-0.5, 0.5], [-0.3, 0.3], [-0.2, 0.2]])
    assert [bar.get_ydata()[0] for bar in bars] == [y for _, y in dots(axis)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["concept hidden", "random orders, 95 %"]
    check_words(figure)


def test_correlations_of_one_and_of_many_and_what_does_not_fit():
    for methods, references in ((["R_s"], ["concept hidden"]), (LONG, ["part not drawn", "concept hidden", "third"])):
        figure, _ = sensitivity_plots.correlation_dots(correlations(methods, references), "birds")
        check_words(figure)
    table = correlations(METHODS, ["concept hidden"])
    with pytest.raises(ValueError, match="R_s / concept hidden twice; take the mean over classes"):
        sensitivity_plots.correlation_dots(pd.concat([table, table]), "")
    with pytest.raises(ValueError, match="spearman holds 80; give correlations"):
        sensitivity_plots.correlation_dots(table.assign(spearman=80), "")
    with pytest.raises(ValueError, match="lacks low"):
        sensitivity_plots.correlation_dots(table.drop(columns="low"), "")


# --- Moving words apart ----------------------------------------------------------------------------------------------


def test_what_is_far_apart_is_not_moved_and_what_is_close_moves_least():
    np.testing.assert_allclose(sensitivity_plots._apart([5, 1, 9], [1, 1, 1], 0, 10), [5, 1, 9])
    np.testing.assert_allclose(sensitivity_plots._apart([5, 5, 5], [1, 1, 1], 0, 10), [4, 5, 6])
    np.testing.assert_allclose(sensitivity_plots._apart([5.2, 5, 1], [2, 1, 1], 0, 10), [5.85, 4.35, 1])
    np.testing.assert_allclose(sensitivity_plots._apart([0, 0], [1, 1], 0, 10), [0.5, 1.5])  # within the limits
    np.testing.assert_allclose(sensitivity_plots._apart([9.9, 10], [1, 1], 0, 10), [8.5, 9.5])
    np.testing.assert_allclose(sensitivity_plots._apart([1, 1, 1], [1, 1, 1], 0, 2), [0.5, 1.5, 2.5])  # no room: goes on beyond


def test_random_heights_never_overlap():
    generator = np.random.default_rng(0)
    for count in generator.integers(1, 9, 50):
        heights = generator.uniform(0.2, 1, count)
        centres = sensitivity_plots._apart(generator.uniform(0, 8, count), heights, 0, 8)
        order = np.argsort(centres)
        edges = np.column_stack([centres - heights / 2, centres + heights / 2])[order]
        assert (edges[1:, 0] >= edges[:-1, 1] - 1e-9).all()
        assert edges.min() >= -1e-9 and edges.max() <= 8 + 1e-9
