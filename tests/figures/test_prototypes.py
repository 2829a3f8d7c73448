"""The figures of concepts: tables hold what was given, drawings what the tables hold."""

import numpy as np
import pandas as pd
import pytest
from helpers import check_words, texts
from matplotlib.colors import to_rgb

from asxai.figures import prototypes as plots
from asxai.figures import style

NAMES = ["wing", "beak", "claw"]
LONG = "a name of very many words that goes on and on"


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
    colours = [patch.get_facecolor()[:3] for patch in axis.get_legend().get_patches()]
    return dict(zip(texts(axis.get_legend().get_texts()), colours))


def test_sheet_tells_how_often_concepts_win_and_counts_few_pictures():
    pictures, masks = exemplars(3, 1, 0)
    given = pictures, masks, [*NAMES[:2], LONG], np.array([0.93, 0.004, np.nan]), "birds"
    figure, table = plots.concept_sheet(*given, out_of=200)
    expected = {"concept": [*NAMES[:2], LONG], "prevalence": [0.93, 0.004, np.nan], "exemplars": [3, 1, 0]}
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected))
    assert len(figure.axes) == 9 and len(drawn(figure)) == 4
    np.testing.assert_array_equal(drawn(figure)[3][masks[1][0]], pictures[1][0][masks[1][0]])
    share = "{}\nwins cells in {} %\nof test pictures".format
    assert [axis.get_ylabel() for axis in figure.axes[::3]][:2] == [share("wing", 93), share("beak", "under 1")]
    check_words(figure)
    figure, _ = plots.concept_sheet(*given, out_of=2)
    assert figure.axes[0].get_ylabel() == "wing\nwins cells in 2\nof 2 test pictures"


def test_sheet_of_many_concepts_shows_the_first_and_says_so():
    pictures, masks = exemplars(*[1] * 14, size=16)
    pictures[13], masks[13] = (np.repeat(a, 5, axis=0) for a in (pictures[13], masks[13]))  # not shown: no columns
    names = [f"concept {k}" for k in range(1, 15)]
    figure, table = plots.concept_sheet(pictures, masks, names, np.ones(14), "birds", 200)
    assert len(table) == 14 and len(figure.axes) == style.MOST_CONCEPTS
    assert "first 12 of 14" in figure.get_suptitle()


def test_strip_shares_legend_and_colours():
    pictures = exemplars(2, size=64)[0][0]
    winners = np.zeros((2, 8, 8), np.int64)
    winners[0, :4], winners[1, 2:6, 2:6] = 1, 3
    figure, table = plots.concept_map_strip(pictures, winners, NAMES, "birds")
    share = table.set_index(["picture", "name"])["share"]
    assert (table["kind"] == "concept").all() and len(table) == 2 * 4
    assert share[0].to_dict() == {"background": 0.5, "wing": 0.5, "beak": 0, "claw": 0}
    assert share[1].to_dict() == {"background": 0.75, "wing": 0, "beak": 0, "claw": 0.25}
    assert list(legend(figure.axes[3])) == ["wing", "claw"]  # the one that never wins is not there
    np.testing.assert_array_equal(drawn(figure)[0], pictures[0])
    overlay = drawn(figure)[2]
    assert np.allclose(np.ptp(overlay[40:], axis=2), 0)  # the background is grey
    assert (np.ptp(overlay[:28], axis=2) > 0.2).all()
    expected = np.array(to_rgb(style.COLOURS[0]))
    assert np.abs(overlay[:28] - expected).mean() < 0.25 < np.abs(overlay[40:] - expected).mean()
    check_words(figure)


def test_parts_take_the_colours_of_concepts_of_their_name_alone():
    pictures = exemplars(1)[0][0]
    winners, parts = (np.arange(16).reshape(1, 4, 4) % count for count in (4, 3))
    figure, table = plots.concept_map_strip(pictures, winners, NAMES, "birds", parts, ["claw", LONG])
    concepts, truth = legend(figure.axes[1]), legend(figure.axes[2])
    assert truth["claw"] == concepts["claw"]
    assert not {colour for name, colour in truth.items() if name != "claw"} & set(concepts.values())
    own = table[table["kind"] == "part"]
    assert own["name"].tolist() == ["background", "claw", LONG]
    np.testing.assert_allclose(own["share"], np.bincount(parts.ravel()) / 16)
    check_words(figure)


def test_styles_stay_distinct_for_many_concepts():
    count = len(style.COLOURS) * len(plots.HATCHES)
    winners, names = np.arange(1, 37).reshape(1, 6, 6).clip(max=count), [f"k {k}" for k in range(count)]
    figure, _ = plots.concept_map_strip(exemplars(1, size=60)[0][0], winners, names, "many")
    patches = figure.axes[1].get_legend().get_patches()
    assert len({(patch.get_facecolor(), patch.get_hatch()) for patch in patches}) == count
    blocks = drawn(figure)[1].reshape(6, 10, 6, 10, 3)[:, 2:-2, :, 2:-2].swapaxes(1, 2).reshape(36, 36, 3)
    striped = (blocks == 1).all(axis=2).any(axis=1)
    assert not striped[:9].any() and striped[9:count].all()
    # the background alone has no legend
    figure, table = plots.concept_map_strip(exemplars(1)[0][0], np.zeros((1, 4, 4), np.int64), ["all"], "none")
    assert table["share"].tolist() == [1, 0] and figure.axes[1].get_legend() is None


@pytest.mark.filterwarnings("error")
def test_confusion_normalises_each_part():
    counts = np.array([[10, 0, 0], [30, 5, 0], [0, 15, 0], [0, 0, 0]])  # background first; nothing of the last part
    figure, table = plots.confusion(counts, NAMES, ["feather", "bill", LONG], "birds")
    share = table.pivot(index="concept", columns="part", values="share")
    assert share["feather"].to_dict() == {"wing": 0.75, "beak": 0, "claw": 0, "background": 0.25}
    assert share["bill"].to_dict() == {"wing": 0.25, "beak": 0.75, "claw": 0, "background": 0}
    assert share[LONG].isna().all() and table["cells"].sum() == counts.sum()
    of_all = table.drop_duplicates("concept").set_index("concept")["share_of_all"]
    assert of_all.round(3).to_dict() == {"wing": 0.583, "beak": 0.25, "claw": 0, "background": 0.167}
    axis = figure.axes[0]
    assert texts(axis.get_yticklabels()) == [*NAMES, "background"]
    image = np.ma.filled(axis.collections[0].get_array(), np.nan)
    np.testing.assert_allclose(image[:, :3], share.loc[[*NAMES, "background"], ["feather", "bill", LONG]])
    assert np.reshape(texts(axis.texts), (4, 4)).tolist()[:2] == [["75", "25", "", "58"], ["", "75", "", "25"]]
    assert tuple(axis.collections[0].cmap(0.0)) == (1, 1, 1, 1)
    check_words(figure)
    _, table = plots.confusion(np.zeros((2, 1), int), ["all"], ["all"], "none")
    assert table[["share", "share_of_all"]].isna().all(axis=None)


@pytest.mark.parametrize("count", [2, 3, 20])
def test_distances_list_each_pair_once(count):
    distance = np.full((count, count), 0.75) - 0.75 * np.eye(count)
    names = [f"class {c}" for c in range(count)]
    figure, table = plots.distance_matrix(distance, names)
    assert len(table) == count * (count - 1) / 2 and (table["distance"] == 0.75).all()
    assert count > 9 or table.iloc[0].tolist() == ["class 0", "class 1", 0.75]
    assert count > 9 or (table["class"] < table["other"]).all()
    # a single distance has its number and no scale
    assert len(figure.axes) == (1 if count == 2 else 2) and ("possible" in figure.axes[0].get_title()) == (count == 2)
    assert ("0.75" in {*texts(figure.axes[0].texts)}) == (count < 20)


def test_measures_say_what_their_marks_are():
    row = {"measure": "nmi", "method": "ours", "seed": 0, "value": 0.5, "low": 0.4, "high": 0.6}
    for target, known in ((np.nan, False), (0.6, True)):
        figure, _ = plots.measure_dots(pd.DataFrame([row | {"target": target}]))
        assert ("target" in figure.legends[0].get_title().get_text()) == known
