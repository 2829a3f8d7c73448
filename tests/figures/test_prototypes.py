"""The figures of concepts: tables hold what was given, drawings what the tables hold."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from asxai.figures import prototypes as prototypes_plots
from asxai.figures import style as style_plots

NAMES = ["wing", "beak", "claw"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def exemplars(*counts, size=32):
    """Random pictures with one square mask, per concept."""
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8) for count in counts]
    masks = [np.zeros((count, size, size), bool) for count in counts]
    for mask in masks:
        mask[:, 4:12, 6:20] = True
    return pictures, masks


def drawn(figure):
    """Pictures in the figure, in order."""
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]


def legend(axis):
    return {text.get_text(): patch.get_facecolor()[:3]
            for text, patch in zip(axis.get_legend().get_texts(), axis.get_legend().get_patches())}


def test_sheet_dims_outside_the_mask_and_pads_short_rows():
    pictures, masks = exemplars(3, 1, 0)
    figure, table = prototypes_plots.concept_sheet(pictures, masks, NAMES, np.array([0.93, 0.004, np.nan]), "birds")
    pd.testing.assert_frame_equal(table, pd.DataFrame({"concept": NAMES, "prevalence": [0.93, 0.004, np.nan],
                                                       "exemplars": [3, 1, 0]}))
    assert len(figure.axes) == 9 and len(drawn(figure)) == 4
    shown, mask = drawn(figure)[3], masks[1][0]
    np.testing.assert_array_equal(shown[mask], pictures[1][0][mask])
    assert (shown[~mask] <= 0.6 * pictures[1][0][~mask]).all()
    labels = [axis.get_ylabel() for axis in figure.axes[::3]]
    assert labels == ["wing\nwins cells in 93 %\nof test pictures",
                      "beak\nwins cells in under 1 %\nof test pictures", "claw"]
    figure, _ = prototypes_plots.concept_sheet(pictures, masks, NAMES, np.array([0.5, 0, np.nan]), "birds", out_of=2)
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["wing\nwins cells in 1\nof 2 test pictures",
                                                                "beak\nwins cells in 0\nof 2 test pictures", "claw"]


@pytest.mark.filterwarnings("error")
def test_sheet_of_one_concept_with_empty_and_full_masks():
    pictures, masks = exemplars(2)
    masks[0][0], masks[0][1] = False, True
    figure, table = prototypes_plots.concept_sheet(np.array(pictures), np.array(masks), ["all"], [1], "one", [[0.9, 0.25]])
    assert table["activations"].tolist() == ["0.90, 0.25"]
    assert [axis.get_title() for axis in figure.axes] == ["0.90", "0.25"]
    np.testing.assert_array_equal(drawn(figure)[1], pictures[0][1])


def test_sheet_of_many_concepts_shows_the_first_and_says_so():
    pictures, masks = exemplars(*[1] * 14, size=16)
    pictures[13], masks[13] = (np.repeat(a, 5, axis=0) for a in (pictures[13], masks[13]))  # not shown: no columns
    figure, table = prototypes_plots.concept_sheet(pictures, masks, [f"concept {k}" for k in range(1, 15)], np.ones(14), "birds")
    assert len(table) == 14 and len(figure.axes) == style_plots.MOST_CONCEPTS
    assert "first 12 of 14" in figure.get_suptitle()


def test_sheet_refuses_lists_that_do_not_fit():
    pictures, masks = exemplars(1, 1)
    with pytest.raises(ValueError, match="2 concepts, masks of 1"):
        prototypes_plots.concept_sheet(pictures, masks[:1], NAMES[:2], [1, 1], "")
    with pytest.raises(ValueError, match="at least one"):
        prototypes_plots.concept_sheet([], [], [], [], "")


def test_strip_shares_legend_and_colours():
    pictures = exemplars(2, size=64)[0][0]
    winners = np.zeros((2, 8, 8), np.int64)
    winners[0, :4], winners[1, 2:6, 2:6] = 1, 3
    figure, table = prototypes_plots.concept_map_strip(pictures, winners, NAMES, "birds")
    share = table.set_index(["picture", "name"])["share"]
    assert (table["kind"] == "concept").all() and len(table) == 2 * 4
    assert share[0].to_dict() == {"background": 0.5, "wing": 0.5, "beak": 0, "claw": 0}
    assert share[1].to_dict() == {"background": 0.75, "wing": 0, "beak": 0, "claw": 0.25}
    assert list(legend(figure.axes[3])) == ["wing", "claw"]  # the one that never wins is not there
    np.testing.assert_array_equal(drawn(figure)[0], pictures[0])
    overlay = drawn(figure)[2].astype(int)
    assert (np.ptp(overlay[40:], axis=2) == 0).all()  # the background is grey
    assert (np.ptp(overlay[:28], axis=2) > 50).all()
    expected = np.array(to_rgb(style_plots.COLOURS[0])) * 255
    assert np.abs(overlay[:28] - expected).mean() < 60 < np.abs(overlay[40:] - expected).mean()


def test_parts_take_the_colours_of_concepts_of_their_name_alone():
    pictures = exemplars(1)[0][0]
    winners, parts = (np.arange(16).reshape(1, 4, 4) % count for count in (4, 3))
    figure, table = prototypes_plots.concept_map_strip(pictures, winners, NAMES, "birds", parts, ["claw", "tuft"])
    concepts, truth = legend(figure.axes[1]), legend(figure.axes[2])
    assert truth["claw"] == concepts["claw"] and truth["tuft"] not in concepts.values()
    own = table[table["kind"] == "part"]
    assert own["name"].tolist() == ["background", "claw", "tuft"]
    np.testing.assert_allclose(own["share"], np.bincount(parts.ravel()) / 16)


def test_styles_stay_distinct_for_many_concepts():
    count = len(style_plots.COLOURS) * len(prototypes_plots.HATCHES)
    winners = np.arange(1, 37).reshape(1, 6, 6).clip(max=count)
    figure, _ = prototypes_plots.concept_map_strip(exemplars(1, size=60)[0][0], winners, [f"k {k}" for k in range(count)], "many")
    patches = figure.axes[1].get_legend().get_patches()
    assert len({(patch.get_facecolor(), patch.get_hatch()) for patch in patches}) == count
    blocks = drawn(figure)[1].reshape(6, 10, 6, 10, 3)[:, 2:, :, 2:].swapaxes(1, 2).reshape(36, 64, 3)
    striped = (blocks == 255).all(axis=2).any(axis=1)
    assert not striped[:9].any() and striped[9:count].all()


def test_strip_of_background_alone_has_no_legend():
    figure, table = prototypes_plots.concept_map_strip(exemplars(1)[0][0], np.zeros((1, 4, 4), np.int64), ["all"], "none")
    assert table["share"].tolist() == [1, 0] and figure.axes[1].get_legend() is None


def test_strip_refuses_numbers_without_a_name():
    with pytest.raises(ValueError, match="from 0 to 3"):
        prototypes_plots.concept_map_strip(exemplars(1)[0][0], np.full((1, 4, 4), 4), NAMES, "")
    with pytest.raises(ValueError, match="map per picture"):
        prototypes_plots.concept_map_strip(exemplars(2)[0][0], np.zeros((1, 4, 4), np.int64), NAMES, "")


def test_confusion_normalises_each_part():
    counts = np.array([[10, 0, 0], [30, 5, 0], [0, 15, 0], [0, 0, 0]])  # background first; nothing of the last part
    figure, table = prototypes_plots.confusion(counts, NAMES, ["feather", "bill", "tuft"], "birds")
    share = table.pivot(index="concept", columns="part", values="share")
    assert share["feather"].to_dict() == {"wing": 0.75, "beak": 0, "claw": 0, "background": 0.25}
    assert share["bill"].to_dict() == {"wing": 0.25, "beak": 0.75, "claw": 0, "background": 0}
    assert share["tuft"].isna().all()
    assert table["cells"].sum() == counts.sum()
    of_all = table.drop_duplicates("concept").set_index("concept")["share_of_all"]
    assert of_all.round(3).to_dict() == {"wing": 0.583, "beak": 0.25, "claw": 0, "background": 0.167}
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == [*NAMES, "background"]
    np.testing.assert_allclose(np.ma.filled(axis.images[0].get_array(), np.nan),
                               share.loc[[*NAMES, "background"], ["feather", "bill", "tuft"]])
    texts = [text.get_text() for text in axis.texts]
    assert texts[:6] == ["75", "25", "–", "0", "75", "–"] and texts[12:16] == ["58 %", "25 %", "0 %", "17 %"]
    assert tuple(axis.images[0].cmap(0.0)) == (1, 1, 1, 1)


def test_confusion_of_one_concept_and_of_no_cells():
    _, table = prototypes_plots.confusion([[1], [3]], ["all"], ["all"], "one")
    assert table[["share", "cells"]].values.tolist() == [[0.75, 3], [0.25, 1]]
    _, table = prototypes_plots.confusion(np.zeros((2, 1), int), ["all"], ["all"], "none")
    assert table[["share", "share_of_all"]].isna().all(axis=None)
    with pytest.raises(ValueError, match="must be"):
        prototypes_plots.confusion([[1]], ["all"], ["all"], "without background")


def measures():
    rows = [("purity", "ours", 0, 0.9, 0.85, 0.95, 0.85, "higher"),
            ("purity", "ours", 1, 0.8, 0.75, 0.85, 0.85, "higher"),
            ("purity", "theirs", 0, 0.5, 0.45, 0.6, 0.85, "higher"),
            ("cosine", "ours", 0, 0.004, np.nan, np.nan, np.nan, "lower"),
            ("cosine", "theirs", 0, np.nan, np.nan, np.nan, np.nan, "lower")]
    return pd.DataFrame(rows, columns=["measure", "method", "seed", "value", "low", "high", "target", "better"])


@pytest.mark.filterwarnings("error")
def test_measure_dots_draw_seeds_intervals_means_and_targets():
    table = measures()
    figure, kept = prototypes_plots.measure_dots(table)
    pd.testing.assert_frame_equal(kept, table)
    purity, cosine = figure.axes
    dots = [line.get_xdata().tolist() for line in purity.lines if line.get_marker() == "o"]
    assert dots == [[0.9, 0.8], [0.5]]
    diamonds = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in purity.lines
                if line.get_marker() == "D"]
    assert diamonds == [(pytest.approx(0.85), 0), (0.5, 1)]
    assert [segment[:, 0].tolist() for segment in purity.collections[0].get_segments()] == [[0.85, 0.95], [0.75, 0.85]]
    dashed = [[line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--"] for axis in figure.axes]
    assert dashed == [[0.85], []]
    assert "higher is better" in purity.get_title() and "lower is better" in cosine.get_title()
    assert [text.get_text() for text in cosine.texts] == ["0.00400", "not measured"]
    assert [label.get_text() for label in purity.get_yticklabels()] == ["ours", "theirs"]
    assert purity.get_ylim() == cosine.get_ylim() == (1.5, -0.5)


def test_measure_dots_without_targets_and_of_many():
    figure, _ = prototypes_plots.measure_dots(measures().drop(columns=["target", "better"]))
    assert [axis.get_title() for axis in figure.axes] == ["purity", "cosine"]
    assert "target" not in figure.get_supxlabel()
    rows = [{"measure": f"m_{m}", "method": f"method {k}", "seed": seed, "value": 0.1 * k + 0.01 * seed, "low": 0.1 * k,
             "high": 0.1 * k + 0.02} for m in range(7) for k in range(8) for seed in range(3)]
    figure, _ = prototypes_plots.measure_dots(pd.DataFrame(rows))
    assert len(figure.axes) == 9 and sum(axis.axison for axis in figure.axes) == 7
    colours = {line.get_color() for line in figure.axes[0].lines if line.get_marker() == "o"}
    assert len(colours) == 8
