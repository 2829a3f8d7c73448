"""The figures of sensitivity: tables hold what was given, drawings what the tables hold, and no words overlap."""

import numpy as np
import pandas as pd
import pytest
from helpers import bright_noise as picture
from helpers import check_words, squares, text_of, texts
from matplotlib.colors import to_hex
from matplotlib.text import Text

from asxai.figures import sensitivity as plots
from asxai.figures import style
from asxai.figures.sensitivity import NONE

pytestmark = pytest.mark.filterwarnings("error")
NAMES = ["wing", "beak", "claw"]
LONG = ["the inner side of both front legs", "ear", "whiskers and the muzzle around", "eye", "a tail of many stripes"]
LONG += ["nose", "background-like fur patch 2", "hindlegs"]
METHODS = ["R_s", "mean activation", "gradient x activation", "Sobol index"]
MASK = squares(1)[0]


def made(concepts, filters=128, close=False, empty=(), seed=0):
    """Ranks `(picture, filter)` and concepts of filters; the last six filters are redundant."""
    generator = np.random.default_rng(seed)
    of_filter = generator.integers(-1, concepts, filters)
    of_filter[np.isin(of_filter, empty)] = -1
    of_filter[-6:] = -1
    middle = np.linspace(9, 10, concepts) if close else np.linspace(4, 17, concepts)
    ranks = np.where(of_filter >= 0, middle[of_filter], 6) + generator.normal(0, 2, (20, filters))
    ranks = ranks.round().clip(0, 21).astype(int)
    ranks[:, -6:] = 0
    return ranks, of_filter


def dots(axis, marker=None):
    """(x, y) of all markers, or of one kind, of an axis."""
    lines = [line for line in axis.lines if line.get_marker() not in ("None", "")]
    points = [line.get_xydata().astype(float) for line in lines if marker in (None, line.get_marker())]
    return sorted((round(x, 6), round(y, 6)) for x, y in np.concatenate(points).tolist() if np.isfinite([x, y]).all())


# --- Figure 4 --------------------------------------------------------------------------------------------------------


def small_panel(**change):
    """Six filters: wing has two, beak one, claw none; of the other three one is redundant."""
    given = {"pictures": [picture()], "names": NAMES, "order": NAMES, "title": "birds"}
    given |= {"ranks": [[4, 6, 9, 0, 2, 3], [6, 8, 9, 0, 2, 4]], "filter_concepts": [0, 0, 1, -1, -1, -1]}
    given |= {"scores": np.array([0.4, 0.6, 0.0]), "intervals": [[0.3, 0.5], [0.5, 0.7], [0, 0]]}
    given |= {"means": [5.5, 8, np.nan], "examples": [[(picture(1), MASK, 1)], [(picture(2), MASK, 2)], []]}
    return plots.sensitivity_panel(**given | change)


def test_panel_tells_filters_and_concepts():
    figure, table = small_panel()
    concepts, filters = (table[table["kind"] == kind].reset_index(drop=True) for kind in ("concept", "filter"))
    expected = {"concept": [*NAMES, NONE], "filters": [2, 1, 0, 3], "redundant": [0, 0, 0, 1], "masks": [1, 1, 0, 0]}
    expected |= {"mean_rank": [5.5, 8, np.nan, 5.5 / 3], "score": [0.4, 0.6, 0, np.nan]}
    expected |= {"low": [0.3, 0.5, 0, np.nan], "high": [0.5, 0.7, 0, np.nan]}
    pd.testing.assert_frame_equal(concepts[[*expected]], pd.DataFrame(expected))
    assert filters["filter"].tolist() == [0, 1, 2, 3, 4, 5] and concepts["filter"].isna().all()
    assert filters["concept"].tolist() == ["wing", "wing", "beak"] + 3 * [NONE]
    assert filters["mean_rank"].tolist() == [5, 7, 9, 0, 2, 3.5] and filters["redundant"].tolist() == [0, 0, 0, 1, 0, 0]
    assert filters["masks"].tolist() == [0, 1, 1, 0, 0, 0] and filters["score"].isna().all()
    axis = next(axis for axis in figure.axes if axis.get_title() == "ranks of filters")
    drawn = [(5, 0), (7, 0), (9, 1), (0, 3), (2, 3), (3.5, 3)]  # rank across, and the concept's row
    assert [(x, round(y)) for x, y in dots(axis)] == sorted(drawn) and dots(axis, "x")[0][0] == 0
    heights = dict(dots(axis))
    assert heights[5] > heights[7] and heights[2] > heights[3.5]  # upwards by number; rows count downwards
    assert [line.get_xdata().tolist() for line in axis.lines if line.get_mec() == "k"][:2] == [[7], [9]]
    dashed = [line for line in axis.lines if line.is_dashed()]
    assert [line.get_xdata()[0] for line in dashed][:2] == [5.5, 8]
    rows = ["wing\n2 filters\nR_s 5.5", "beak\n1 filter\nR_s 8.0", "claw\n0 filters", f"{NONE}\n3 filters\n1 redundant"]
    assert texts(axis.get_yticklabels()) == rows
    assert {"no filters", "  40.0 %", "  60.0 %", "  0.0 %", "1", "2"} <= {*text_of(figure)}
    check_words(figure)


def test_panel_rows_are_at_the_height_of_their_masks_and_bars():
    figure, _ = small_panel()
    figure.canvas.draw()
    ranks = next(axis for axis in figure.axes if axis.get_title() == "ranks of filters")
    bars = next(axis for axis in figure.axes if axis.get_title().startswith("global sensitivity"))
    shown = [axis for axis in figure.axes if axis.images][1:]
    pixel = lambda axis, y: axis.transData.transform((0, y))[1]
    for row, axis in enumerate(shown):
        box = axis.get_window_extent()
        assert box.y0 < pixel(ranks, row) < box.y1
    for row in range(3):
        assert pixel(ranks, row + 0.2) < pixel(bars, row) < pixel(ranks, row - 0.2)
    assert [patch.get_width() for patch in bars.patches] == [0.4, 0.6, 0]
    intervals = [segment[:, 0].tolist() for segment in bars.collections[0].get_segments()]
    assert intervals == [[0.3, 0.5], [0.5, 0.7], [0, 0]]
    np.testing.assert_array_equal(np.asarray(shown[1].images[0].get_array())[MASK], picture(2)[MASK])


def test_panels_of_long_names_of_one_concept_and_of_nothing():
    ranks, of_filter = made(8, close=True, empty=[2])
    scores = np.full(8, 0.125)
    scores[[2, 5]] = 0, np.nan
    examples = [[(picture(k), MASK, int(f)) for f in np.flatnonzero(of_filter == k)[:3]] for k in range(8)]
    given = {"scores": scores, "intervals": np.c_[scores * 0.8, scores * 1.2], "means": np.linspace(9, 10, 8)}
    given |= {"ranks": ranks, "filter_concepts": of_filter, "pictures": [picture(), picture(1)], "examples": examples}
    figure, table = small_panel(names=LONG, order=LONG, **given)
    check_words(figure)
    assert len([axis for axis in figure.axes if axis.images]) == 2 + 7 * 3 and "no score" in text_of(figure)
    assert table[table["kind"] == "concept"].set_index("concept").loc[LONG[2], "filters"] == 0
    nothing = {"scores": np.array([np.nan]), "intervals": [[np.nan] * 2], "means": [np.nan], "examples": [[]]}
    figure, table = small_panel(ranks=np.zeros((1, 3)), filter_concepts=[-1] * 3, names=["petal"], order=[], **nothing)
    check_words(figure)
    assert table["redundant"].tolist() == [0, 3, 1, 1, 1]


# --- Supplementary Figure 6 ------------------------------------------------------------------------------------------


def test_filter_ranks_name_the_highest_and_draw_means():
    ranks = {"lark": np.array([[4, 6, 9, 0, 9, 3], [6, 8, 9, 0, 2, 4]]), "finch": np.array([[5, 0]])}
    of_filter = {"lark": [0, 0, 1, -1, 1, -1], "finch": [0, -1]}
    figure, table = plots.filter_ranks(ranks, of_filter, {"lark": NAMES, "finch": ["beak"]}, "birds")
    expected = {"class": ["lark"] * 6 + ["finch"] * 2, "filter": [*range(6), 0, 1]}
    expected |= {"concept": ["wing", "wing", "beak", NONE, "beak", NONE, "beak", NONE]}
    expected |= {"mean_rank": [5, 7, 9, 0, 5.5, 3.5, 5, 0], "redundant": [k in (3, 7) for k in range(8)]}
    expected |= {"highest": [k in (1, 2, 4, 6) for k in range(8)]}
    expected |= {"concept_mean_rank": [6, 6, 7.25, np.nan, 7.25, np.nan, 5, np.nan]}
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected), check_dtype=False)
    lark, finch = figure.axes
    assert dots(lark) == [(0, 5), (1, 7), (2, 9), (3, 0), (4, 5.5), (5, 3.5)] and dots(lark, "x") == [(3, 0)]
    assert [line.get_ydata()[0] for line in lark.lines if line.is_dashed()] == [7.25, 6]
    assert texts(lark.get_legend().get_texts()) == ["beak, 7.2", "wing, 6.0"]
    assert {*texts(lark.texts)} == {"1", "2", "4"}
    dashed = lambda axis: {line.get_ydata()[0]: line.get_color() for line in axis.lines if line.is_dashed()}
    assert dashed(lark)[7.25] == dashed(finch)[5]
    check_words(figure)


def test_filter_ranks_of_long_names_of_nothing_and_of_many():
    given = {name: made(8, close=name == "lark", seed=i) for i, name in enumerate(("lark", "finch"))}
    ranks, of_filter = ({c: own[i] for c, own in given.items()} for i in (0, 1))
    figure, table = plots.filter_ranks(ranks, of_filter, dict.fromkeys(given, LONG), "birds")
    check_words(figure)
    assert table.groupby("class")["highest"].sum().tolist() == [3, 3]
    figure, table = plots.filter_ranks({"bird": np.zeros((2, 4))}, {"bird": [-1] * 4}, {"bird": ["a"]}, "")
    assert not table["highest"].any() and not figure.axes[0].texts
    many = [f"bird {c}" for c in range(17)]
    given = (dict.fromkeys(many, value) for value in (np.ones((1, 2)), [0, -1], ["all"]))
    figure, table = plots.filter_ranks(*given, "birds")
    assert len(figure.axes) == 16 and table["class"].nunique() == 17
    assert "first 16 of 17 classes" in figure.get_suptitle()


# --- Layers ----------------------------------------------------------------------------------------------------------


def shares(names, layers, seed=0):
    generator = np.random.default_rng(seed)
    values = generator.dirichlet([6] * len(names), len(layers)).ravel()
    table = pd.DataFrame({"layer": np.repeat(layers, len(names)), "concept": [*names] * len(layers), "share": values})
    return table.assign(low=0.8 * table["share"], high=(1.2 * table["share"]).clip(upper=1))


def test_profile_draws_shares_with_intervals():
    table = shares(NAMES, ["early", "late"]).assign(mean=1)
    table.loc[:2, "share"], table.loc[3:, "share"] = [0.5, 0.3, 0.2], [0.25, 0.15, 0.6]
    figure, given = plots.layer_profile(table, "birds", NAMES)
    pd.testing.assert_frame_equal(given, table[["layer", "concept", "share", "low", "high"]])
    (axis,) = figure.axes
    assert texts(axis.get_legend().get_texts()) == ["claw, 60 %", "wing, 25 %", "beak, 15 %"]
    np.testing.assert_allclose([line.get_ydata() for line in axis.lines], [[20, 60], [50, 25], [30, 15]])
    ends = [segment[:, 1] for segment in axis.collections[0].get_segments()]
    np.testing.assert_allclose(ends, 100 * table.loc[table["concept"] == "claw", ["low", "high"]])
    assert axis.get_ylim()[0] == 0 and axis.get_ylim()[1] > 100 * table[["share", "high"]].max(axis=None)
    check_words(figure)


def test_profile_of_many_and_of_nan():
    table = shares(LONG, ["stage 3", "stage 4", "stage 5", "one of a long name", "a layer of a long name"])
    table.loc[[2, len(table) - 1], ["share", "low", "high"]] = np.nan
    figure, _ = plots.layer_profile(table, "birds", LONG)
    check_words(figure)
    legend = [text.get_text().replace("\n", " ") for text in figure.axes[0].get_legend().get_texts()]
    assert legend[-1] == "hindlegs, – %" and len(legend) == 8 and figure.get_figwidth() <= style.WIDTH
    nothing = shares(["all"], ["only"]).assign(share=np.nan, low=np.nan, high=np.nan)
    check_words(plots.layer_profile(nothing, "", [])[0])


# --- Causes ----------------------------------------------------------------------------------------------------------


def importance(classes, names, methods=METHODS, scale=1.0):
    generator = np.random.default_rng(0)
    rows = [(c, name, method) for method in methods for c in classes for name in names]
    table = pd.DataFrame(rows, columns=["class", "concept", "method"])
    value = generator.normal(0, scale, len(table))
    return table.assign(value=value, causal=value + generator.normal(0, scale, len(table)), spearman=-0.25)


def test_scatter_names_dots_and_tells_the_correlation():
    table = importance(["lark", "finch"], NAMES, METHODS[:2]).assign(reference="concept hidden")
    table.loc[:5, "value"], table.loc[:5, "causal"] = [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5]
    table.loc[6, "value"] = np.nan
    figure, given = plots.causal_scatter(table, "birds")
    columns = ["class", "concept", "method", "value", "causal", "spearman"]
    pd.testing.assert_frame_equal(given, table[columns])
    first, second = figure.axes
    assert first.get_title() == "R_s\nSpearman −0.25"
    expected = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 5)]
    assert dots(first) == expected and len(dots(second)) == 5
    nearest = lambda text: min(expected, key=lambda dot: np.hypot(*np.subtract(text.get_position(), dot)))
    named = {(text.get_text(), nearest(text)) for text in first.texts}
    assert named == set(zip(NAMES * 2, expected))
    assert texts(figure.legends[0].get_texts()) == ["lark", "finch"]
    assert first.get_ylim() == second.get_ylim() and first.get_xlim() != second.get_xlim()
    check_words(figure)


@pytest.mark.parametrize(
    "classes, names, scale", [(2, LONG, 1.0), (6, LONG[1:7:2] + ["tuft"], 1.0), (2, NAMES + ["tuft", "tail"], 0.1)]
)
def test_scatter_keeps_words_apart(classes, names, scale):
    """Many, long, and in a crowd far from one other dot: none on a dot, and whatever has no room is counted."""
    table = importance([f"bird {c}" for c in range(classes)], names, METHODS[:2], scale)
    far = {"class": "bird 0", "concept": "far", "method": METHODS[:2], "value": 4, "causal": 4, "spearman": -0.25}
    figure, _ = plots.causal_scatter(pd.concat([table, pd.DataFrame(far)]), "birds")
    check_words(figure)
    for axis in figure.axes:
        shown = [text for text in axis.texts if text.get_visible()]
        left_out = classes * len(names) + 1 - len(shown)
        assert left_out <= 2 and (f"no room for {left_out} of" in axis.get_title()) == (left_out > 0)
        marks = axis.transData.transform(dots(axis))
        for text in shown:
            box = Text.get_window_extent(text).padded(-1)
            assert not ((marks > box.min) & (marks < box.max)).all(axis=1).any(), text


def test_scatter_of_too_many_names_and_of_nothing():
    figure, table = plots.causal_scatter(importance([f"bird {c}" for c in range(12)], LONG, ["R_s"]), "")
    (axis,) = figure.axes
    assert "(no room for 96 of 96 names)" in axis.get_title() and len(table) == 96 and not axis.texts
    check_words(figure)
    figure, given = plots.causal_scatter(importance(["lark"], NAMES).assign(causal=np.nan), "birds")
    assert text_of(figure).count("not measured") == 4


def test_the_same_scatter_has_the_same_words_at_the_same_places():
    figures = [plots.causal_scatter(importance("ab", NAMES), "")[0] for _ in range(2)]
    one, other = ([text.get_position() for text in figure.axes[0].texts] for figure in figures)
    assert one == other


def test_correlations_are_dots_with_intervals_before_what_chance_gives():
    table = pd.DataFrame([{"method": m, "reference": r} for m in METHODS for r in ("part not drawn", "concept hidden")])
    middle = np.linspace(-0.8, 0.8, len(table))
    table = table.assign(spearman=middle, low=middle - 0.1, high=middle + 0.1, chance=0.5)
    table.loc[1, ["spearman", "low", "high", "chance"]] = np.nan
    figure, given = plots.correlation_dots(table.assign(note=""), "birds")
    pd.testing.assert_frame_equal(given, table)
    (axis,) = figure.axes
    assert sorted(x for x, _ in dots(axis)) == pytest.approx(table["spearman"].dropna().tolist(), abs=1e-6)
    wide = [bar.get_segments()[0] for bar in axis.collections if bar.get_linewidth()[0] == 6]
    assert [bar[:, 0].tolist() for bar in wide if bar.size] == [[-0.5, 0.5]] * 7
    colours = {to_hex(line.get_color()) for line in axis.lines if line.get_marker() in ("o", "s")}
    assert colours == {style.OURS, style.OTHER}
    written = ["−0.80", "–", "−0.34", "−0.11", "0.11", "0.34", "0.57", "0.80"]
    assert texts(axis.texts) == written
    check_words(figure)
