"""The figures of explanations: tables hold what was given, drawings what the tables hold, and no text hides another."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Rectangle
from matplotlib.transforms import Bbox

from asxai.figures import explanation as explanation_plots
from asxai.figures import ood as ood_plots
from asxai.figures import ring as ring_plots
from asxai.figures import style as style_plots
from asxai.figures import trustworthy as trustworthy_plots

NAMES = ["wing", "beak", "claw"]
BIRDS = ["lark", "finch"]
NAN = np.nan
LONG = "a name of very many words, number {}, that goes on and on"
SIZE = 40


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def scores(classes, concepts, lacking=0.0, seed=0):
    generator = np.random.default_rng(seed)
    values = generator.uniform(0, 1.1, (classes, concepts))
    values[generator.random(values.shape) < lacking] = np.nan
    return values


def names(count, text="number {}"):
    return [text.format(k) for k in range(count)]


def picture(seed=0, height=SIZE, width=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def masks(count, height=SIZE, width=SIZE):
    """Squares side by side, as far as they fit, and over one another then."""
    result = np.zeros((count, height, width), bool)
    for k in range(count):
        top, left = 10 * (k // 4) % (height - 8), 10 * k % (width - 8)
        result[k, top:top + 7, left:left + 7] = True
    return result


def texts(figure):
    """Texts that are to be seen, and their places in pixels."""
    figure.canvas.draw()
    found = [text for text in figure.findobj(plt.Text) if text.get_visible() and text.get_text()]
    unseen = set()  # labels of ticks beyond the ends of an axis
    for axis in (one for axes in figure.axes for one in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        unseen |= {tick.label1 for tick in axis.get_major_ticks() if not low - 1e-9 <= tick.get_loc() <= high + 1e-9}
    found = [text for text in found if text not in unseen]
    return {text: text.get_window_extent() for text in found}


def words(figure):
    return [text.get_text() for text in texts(figure)]


def check_layout(figure):
    """Every text lies inside the figure, and apart from every other."""
    places, page = texts(figure), figure.bbox
    for text, box in places.items():
        assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1, f"{text.get_text()!r} is cut off"
        assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1, f"{text.get_text()!r} is cut off"
    for (first, one), (second, other) in itertools.combinations(places.items(), 2):
        shared = Bbox.intersection(one, other)
        # boxes hold room above and below the letters, so that lines of a paragraph touch
        assert shared is None or min(shared.width, shared.height) < 3, f"{first.get_text()!r}, {second.get_text()!r}"


def circles(figure, colour):
    """Middle and diameter of filled circles in a colour, without those of the legend."""
    found = [patch for axis in figure.axes for patch in axis.patches if isinstance(patch, Circle) and patch.get_fill()]
    return [(patch.center, 2 * patch.radius) for patch in found
            if to_hex(patch.get_facecolor()) == colour and patch.get_linewidth() > 0]


def bars(figure, *colours):
    return [patch.get_width() for axis in figure.axes for patch in axis.patches
            if isinstance(patch, Rectangle) and to_hex(patch.get_facecolor()) in colours]


def pictures(figure):
    return [np.asarray(image.get_array()) for axis in figure.axes for image in axis.images]


BLUE, ORANGE, GREY = ring_plots.CLASS_COLOURS[0], ring_plots.CLASS_COLOURS[1], to_hex(style_plots.OTHERS)


# --- Bubble ring -----------------------------------------------------------------------------------------------------


def test_ring_has_a_bubble_per_class_and_concept_of_the_area_of_the_score():
    given = np.array([[0.8, 0.2, 0.05], [0.4, np.nan, 1.0]])
    figure, table = ring_plots.bubble_ring(given, BIRDS, NAMES, "birds", predicted="lark")
    pd.testing.assert_frame_equal(table, pd.DataFrame({
        "class": ["lark"] * 3 + ["finch"] * 3, "concept": NAMES * 2, "score": given.ravel(), "shown": True}))
    lark, finch = circles(figure, BLUE), circles(figure, ORANGE)
    assert len(lark) == 3 and len(finch) == 2
    np.testing.assert_allclose([(d / finch[1][1])**2 for _, d in (*lark, finch[0])], [0.8, 0.2, 0.05, 0.4], rtol=1e-6)
    middle = np.mean([at for at, _ in lark], axis=0)  # of concepts that are all around
    distance = [np.linalg.norm(at - middle) for at, _ in (*lark, *finch)]
    assert np.ptp(distance[:3]) < 1e-6 and np.ptp(distance[3:]) < 1e-6 and distance[3] < distance[0]
    shown = words(figure)
    assert {"birds", "lark (predicted)", "finch", *NAMES, "0.80", "0.40", "1.00"} <= set(shown)
    assert "no bubble: the class lacks the concept" in " ".join(shown)
    assert "hollow" not in " ".join(shown)
    check_layout(figure)


def test_a_bubble_of_nearly_nothing_is_hollow():
    figure, _ = ring_plots.bubble_ring(np.array([[0.8, 0.009, 0.0], [0.4, 0.01, 0.2]]), BIRDS, NAMES, predicted="lark")
    own = [patch for axis in figure.axes for patch in axis.patches if isinstance(patch, Circle)]
    hollow = [patch for patch in own if to_hex(patch.get_facecolor()) == "#ffffff" and patch.get_fill()]
    assert len(hollow) == 2 and {to_hex(patch.get_edgecolor()) for patch in hollow} == {BLUE}
    assert "hollow: nearly 0" in " ".join(words(figure))
    check_layout(figure)


def test_the_best_value_is_written_in_the_bubble_or_beside_the_name():
    figure, _ = ring_plots.bubble_ring(np.array([[0.9, 0.03], [0.1, 0.02]]), BIRDS, NAMES[:2])
    found = {text.get_text(): to_hex(text.get_color()) for text in texts(figure)}
    assert found["0.90"] == "#ffffff" and found["0.03"] == BLUE and "0.02" not in found
    assert not any("predicted" in text for text in found)


def test_bubbles_never_touch():
    for classes, concepts in ((1, 1), (2, 1), (1, 14), (2, 7), (5, 8), (5, 14)):
        figure, _ = ring_plots.bubble_ring(np.full((classes, concepts), 1.3), names(classes), names(concepts))
        found = [bubble for colour in ring_plots.CLASS_COLOURS[:classes] for bubble in circles(figure, colour)]
        assert len(found) == classes * concepts
        for (one, first), (other, second) in itertools.combinations(found, 2):
            assert np.linalg.norm(np.subtract(one, other)) > (first + second) / 2


@pytest.mark.parametrize("classes, concepts, text, lacking", [
    (2, 7, "{}", 0), (14, 34, "concept {}", 0.7), (5, 8, "number {}", 0), (30, 14, LONG, 0.2), (1, 1, LONG, 0),
    (9, 14, "word" * 30 + "{}", 0), (3, 5, "$x_{} \\frac$", 0)])
def test_labels_of_a_ring_never_overlap(classes, concepts, text, lacking):
    figure, table = ring_plots.bubble_ring(scores(classes, concepts, lacking), names(classes, text), names(concepts, text),
                                      "a title " * 20, predicted=0)
    check_layout(figure)
    assert len(table) == classes * concepts


def test_of_many_the_best_are_shown_and_the_predicted_first():
    given = scores(9, 20) / 2
    given[:, 14:] = np.nan
    given[4, 15], given[7], given[2, 3] = 0.9, 0.001, 1.0
    figure, table = ring_plots.bubble_ring(given, names(9, "class {}"), names(20, "concept {}"), predicted=7)
    shown = table[table["shown"]]
    assert {"class 7", "class 4", "class 2"} <= set(shown["class"]) and shown["class"].nunique() == 5
    # the predicted class has them all, so that a rival's own concept comes only after them
    assert shown["concept"].nunique() == 14 and "concept 15" in set(shown["concept"])
    legend = [text for text in words(figure) if text.startswith("class ")]
    assert legend[0] == "class 7 (predicted)" and legend[1:3] == ["class 2", "class 4"]
    assert any("5 of 9 classes, 14 of 20 concepts" in text for text in words(figure))
    given[7, 14:] = np.nan
    given[7, 0] = np.nan
    table = ring_plots.bubble_ring(given, names(9, "class {}"), names(20, "concept {}"), predicted=7)[1]
    own = set(table.loc[(table["class"] == "class 7") & table["score"].notna(), "concept"])
    assert len(own) == 13 and own <= set(table.loc[table["shown"], "concept"])


def test_classes_keep_their_colours_where_there_are_enough():
    for predicted in (0, 1):
        figure, _ = ring_plots.bubble_ring(np.array([[0.5], [0.7]]), BIRDS, NAMES[:1], predicted=predicted)
        assert [d for _, d in circles(figure, BLUE)] < [d for _, d in circles(figure, ORANGE)]
    figure, _ = ring_plots.bubble_ring(scores(20, 2), names(20), NAMES[:2], predicted=13)
    assert len(circles(figure, BLUE)) == 2  # of 20 classes by rank: the predicted one is the first


def test_ring_without_any_concept_says_so():
    figure, table = ring_plots.bubble_ring(np.full((2, 2), np.nan), BIRDS, NAMES[:2])
    assert "no concept found" in words(figure) and not table["shown"].any()


def test_ring_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"scores \(2, 2\) must be \(class, concept\) for 2 class names and 3"):
        ring_plots.bubble_ring(np.ones((2, 2)), BIRDS, NAMES)
    with pytest.raises(ValueError, match="at least one of each"):
        ring_plots.bubble_ring(np.ones((0, 3)), [], NAMES)
    for value in (-0.1, np.inf):
        with pytest.raises(ValueError, match="PCS is finite and at least 0"):
            ring_plots.bubble_ring(np.array([[0.5], [value]]), BIRDS, NAMES[:1])
    for predicted in ("crow", 2, -1):
        with pytest.raises(ValueError, match=f"predicted={predicted!r} is no class; give one of lark, finch"):
            ring_plots.bubble_ring(np.ones((2, 1)), BIRDS, NAMES[:1], predicted=predicted)


# --- Histogram -------------------------------------------------------------------------------------------------------


def test_bars_are_sorted_and_as_long_as_the_similarity():
    figure, table = explanation_plots.similarity_bars([0.2, 0.4, -0.1], ["a", "b", "c"], "a", "three")
    pd.testing.assert_frame_equal(table, pd.DataFrame({
        "class": ["a", "b", "c"], "similarity": [0.2, 0.4, -0.1], "rank": [2, 1, 3],
        "predicted": [True, False, False]}))
    (own,), others = bars(figure, BLUE), bars(figure, GREY)
    np.testing.assert_allclose(np.divide([own, *others], others[0]), [0.5, 1, 0.25])
    assert [text for text in words(figure) if text in "abc"] == ["b", "a", "c"]
    check_layout(figure)


@pytest.mark.parametrize("count, text", [(1, "{}"), (2, LONG), (30, "class {}"), (30, LONG)])
def test_bars_of_many_classes_hold_the_predicted_one(count, text):
    values = np.linspace(0.9, 0.1, count)
    figure, table = explanation_plots.similarity_bars(values, names(count, text), count - 1)
    check_layout(figure)
    assert len(table) == count and table["rank"].tolist() == list(range(1, count + 1))
    assert f"{values[-1]:.2f}" in words(figure)
    assert len(bars(figure, BLUE)) == 1 and len(bars(figure, GREY)) == min(count, explanation_plots.MOST_BARS) - 1


def test_bars_refuse_what_does_not_fit():
    for values in ([0.1], [0.1, np.nan]):
        with pytest.raises(ValueError, match="a finite number for each of the 2 class names"):
            explanation_plots.similarity_bars(values, BIRDS)
    with pytest.raises(ValueError, match="is no class"):
        explanation_plots.similarity_bars([0.1, 0.2], BIRDS, "crow")


# --- One picture -----------------------------------------------------------------------------------------------------

SENTENCE = "I am sure it is a lark mainly because it has a vivid wing, which is a lark's wing obviously."


def test_panel_holds_all_of_an_explanation():
    own, nearest = masks(3), [picture(1), picture(2, 30, 50)]
    own[2] = False
    given = np.array([[0.9, 0.5, 0.1], [0.3, np.nan, 0.2]])
    figure, table = explanation_plots.explanation_panel(picture(), own, NAMES, given, BIRDS, [0.6, 0.3], SENTENCE, "lark, 99.8 %",
                                            nearest, "a bird", predicted="lark", exemplar_names=["one", "two"])
    check_layout(figure)
    assert table["area"].tolist() == [49 / 1600, 49 / 1600, 0] * 2
    assert table["similarity"].tolist() == [0.6] * 3 + [0.3] * 3 and table["score"].tolist()[:4] == [0.9, 0.5, 0.1, 0.3]
    np.testing.assert_array_equal(pictures(figure)[0], picture())
    np.testing.assert_array_equal(pictures(figure)[2], nearest[1])
    shown = words(figure)
    assert SENTENCE in " ".join(shown) and "The softmax alone says: lark, 99.8 %" in shown
    assert {"a bird", "one", "two", "0.60", "0.30", "0.90", "lark (predicted)"} <= set(shown)
    # the concept that is not seen has a name in the ring alone, and only those that are have a tag
    assert [shown.count(name) for name in NAMES] == [2, 2, 1]
    assert [len(bars(figure, colour)) for colour in explanation_plots.OUTLINES[:3]] == [2, 2, 0]
    outlines = [drawn for drawn in figure.axes[0].collections if len(drawn.get_paths())]
    assert [to_hex(drawn.get_edgecolor()[0]) for drawn in outlines] == list(explanation_plots.OUTLINES[:2])


def test_outlines_lie_where_the_masks_are():
    own = np.zeros((1, SIZE, SIZE), bool)
    own[0, 4:12, 20:36] = True
    figure, _ = explanation_plots.explanation_panel(picture(), own, ["wing"], [[0.5], [0.2]], BIRDS, None, "", "lark")
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    points = figure.axes[0].collections[0].get_paths()[0].vertices
    across, down = (points[:, 0] - left) / (right - left), (top - points[:, 1]) / (top - bottom)
    np.testing.assert_allclose([across.min(), across.max(), down.min(), down.max()], [0.5, 0.9, 0.1, 0.3], atol=0.02)


@pytest.mark.parametrize("classes, concepts, text, shape", [
    (2, 7, "{}", (40, 40)), (14, 34, "concept {}", (40, 60)), (5, 8, "number {}", (60, 40)), (30, 14, LONG, (40, 40)),
    (2, 1, "{}", (40, 40))])
def test_labels_of_a_panel_never_overlap(classes, concepts, text, shape):
    for similarity, nearest in ((np.linspace(0, 0.5, classes), [picture(k) for k in range(12)]), (None, None)):
        figure, table = explanation_plots.explanation_panel(
            picture(0, *shape), masks(concepts, *shape), names(concepts, text), scores(classes, concepts, 0.3), names(
                classes, text), similarity, SENTENCE * 4, LONG, nearest, "a title " * 25, 0,
            None if nearest is None else names(12, text))
        check_layout(figure)
        assert figure.get_figwidth() == explanation_plots.WIDTH and len(table) == classes * concepts
        assert len(pictures(figure)) == 1 + (0 if nearest is None else min(12, explanation_plots.MOST_EXEMPLARS))
        assert table["similarity"].isna().all() == (similarity is None)


@pytest.mark.filterwarnings("error")
def test_panel_of_nothing_and_of_everything():
    own = np.zeros((2, SIZE, SIZE), bool)
    none = np.full((2, 2), np.nan)
    figure, table = explanation_plots.explanation_panel(picture(), own, NAMES[:2], none, BIRDS, [0, 0], "", "lark")
    check_layout(figure)
    assert table["area"].eq(0).all() and not figure.axes[0].collections
    figure, table = explanation_plots.explanation_panel(picture(), ~own, NAMES[:2], np.ones((2, 2)), BIRDS, None, "x", "lark")
    check_layout(figure)
    assert table["area"].eq(1).all() and words(figure).count("wing") == 2


def test_panel_refuses_what_does_not_fit():
    given = dict(picture=picture(), masks=masks(3), concept_names=NAMES, scores=np.ones((2, 3)), class_names=BIRDS,
                 similarity=None, sentence="", prediction="")
    for wrong, message in (({"masks": masks(2)}, r"masks bool \(2, 40, 40\) must be bool \(3, 40, 40\)"),
                           ({"masks": masks(3).astype(int)}, "masks int64"),
                           ({"picture": picture() / 255}, "picture float64 .* must be uint8"),
                           ({"picture": picture()[..., 0]}, r"picture uint8 \(40, 40\)"),
                           ({"scores": np.ones((3, 3))}, r"scores \(3, 3\)"),
                           ({"similarity": [0.1]}, "finite number for each"),
                           ({"exemplars": [picture()], "exemplar_names": []}, "0 texts for 1 exemplars")):
        with pytest.raises(ValueError, match=message):
            explanation_plots.explanation_panel(**{**given, **wrong})


# --- Regions ---------------------------------------------------------------------------------------------------------


def test_region_panel_names_the_best_classes_of_each_region():
    given = np.array([[0.2, 0.9, 0.5, np.nan], [np.nan] * 4, [0.1, 0.3, 0.2, 0.8]])
    classes, probabilities = ["lark", "finch", "crow", "wren"], [0.7, 0.1, 0.15, 0.05]
    figure, table = ood_plots.region_panel(picture(), masks(3), NAMES, given, classes, probabilities, "a stranger",
                                       [picture(1), None, None])
    check_layout(figure)
    table = table.set_index(["region", "class"])
    assert table["rank"].tolist() == [3, 1, 2, 0, 0, 0, 0, 0, 4, 2, 3, 1]
    assert table.loc["wing", "score"].tolist()[:3] == [0.2, 0.9, 0.5]
    assert table.loc["claw", "probability"].tolist() == probabilities
    shown = words(figure)
    assert "no class has such a concept" in shown and "70.0 %" in shown
    first = shown[shown.index("0.90") - 1:shown.index("0.90") + 5]
    assert first == ["finch", "0.90", "crow", "0.50", "lark", "0.20"]
    best, others = bars(figure, "#9ecae1"), bars(figure, to_hex("0.86"))
    np.testing.assert_allclose(np.divide(others, [best[0]] * 2 + [best[1]] * 2), [5 / 9, 2 / 9, 3 / 8, 2 / 8])
    drawn = pictures(figure)
    assert len(drawn) == 5  # the picture, three regions and one patch of a class
    for found, expected in zip(drawn, (picture(), ood_plots._crop(picture(), masks(3)[0]), picture(1))):
        np.testing.assert_array_equal(found, expected)


def test_cards_say_whether_the_class_on_top_is_the_true_one():
    given, classes = np.array([[0.2, 0.9], [0.8, 0.3], [0.6, 0.1]]), ["lark", "finch"]
    figure, table = ood_plots.region_panel(picture(), masks(3), NAMES, given, classes, [0.5, 0.5],
                                       truths=["finch", "finch", ""])
    check_layout(figure)
    marked = [text for text in words(figure) if text[0] in "✓✗"]
    assert marked == ["✓ finch", "✗ finch"] and any("✓ or ✗" in text for text in words(figure))
    assert table.set_index(["region", "class"])["truth"].tolist() == ["finch"] * 4 + [""] * 2
    figure, table = ood_plots.region_panel(picture(), masks(3), NAMES, given, classes, [0.5, 0.5])
    assert "truth" not in table and not any("✓" in text or "✗" in text for text in words(figure))
    lacking = np.array([[NAN, NAN], [0.8, 0.3], [0.6, 0.1]])
    figure, _ = ood_plots.region_panel(picture(), masks(3), NAMES, lacking, classes, [0.5, 0.5], truths=["lark", "", ""])
    assert [text for text in words(figure) if text[0] in "✓✗"] == ["✗ lark"]


@pytest.mark.parametrize("truths, rare", [(None, 0), (["finch"] * 11 + ["lark"], 11), (["lark"] + ["finch"] * 11, 0)])
def test_each_class_has_a_card_before_another_has_its_second(truths, rare):
    """Twelve regions, of which the last in order, or the one of the lowest score, is alone of its class."""
    given = np.stack([np.zeros(12), np.linspace(0.9, 0.5, 12)], axis=1)
    given[rare] = (0.1, 0.2) if truths else (0.2, 0.1)  # the lowest; a true class counts, and not the one on top
    figure, _ = ood_plots.region_panel(picture(), masks(12), names(12), given, BIRDS, [0.5, 0.5], truths=truths)
    shown = [k for k in range(12) if words(figure).count(f"number {k}") == 2]  # at the picture and on a card
    best = [k for k in range(12) if k != rare][:ood_plots.MOST_REGIONS - 1]
    assert shown == sorted([rare, *best])


def test_the_picture_takes_most_of_the_height_above_the_cards():
    figure, _ = ood_plots.region_panel(picture(), masks(3), NAMES, np.ones((3, 2)), BIRDS, [0.5, 0.5])
    axis = figure.axes[0]
    largest = max(axis.images, key=lambda image: image.get_extent()[3] - image.get_extent()[2])
    left, right, bottom, top = largest.get_extent()
    assert right - left > 3.4 and top - bottom > 3.4  # inches


def test_the_patch_of_a_region_is_cut_around_its_largest_island():
    own, whole = np.zeros((SIZE, SIZE), bool), picture()
    own[20:28, 22:26], own[0, 0] = True, True
    patch = ood_plots._crop(whole, own)
    assert patch.shape == (16, 16, 3)
    np.testing.assert_array_equal(patch, whole[15:31, 15:31])
    corner = ood_plots._crop(whole, masks(1)[0])
    np.testing.assert_array_equal(corner, whole[:15, :15])


@pytest.mark.filterwarnings("error")
def test_panels_are_saved_twice_without_a_layout_of_their_own(tmp_path):
    """As by `results.save_figure`, with the style of the notebooks."""
    with plt.rc_context({"figure.constrained_layout.use": True, "savefig.bbox": "tight"}):
        figure, _ = explanation_plots.explanation_panel(picture(), masks(1), NAMES[:1], [[0.5], [0.2]], BIRDS, None, "", "lark")
        before = {text: box.bounds for text, box in texts(figure).items()}
        for suffix in ("png", "pdf"):
            figure.savefig(tmp_path / f"panel.{suffix}")
        assert {text: box.bounds for text, box in texts(figure).items()} == before


@pytest.mark.parametrize("regions, classes, text", [(1, 2, "{}"), (9, 14, "number {}"), (12, 30, LONG)])
def test_labels_of_regions_never_overlap(regions, classes, text):
    for exemplars in (None, [picture(k) for k in range(regions)]):
        figure, table = ood_plots.region_panel(picture(), masks(regions), names(regions, text), scores(
            regions, classes, 0.3), names(classes, text), np.full(classes, 1 / classes), "a title " * 25, exemplars,
            truths=exemplars and names(classes, text)[:1] * regions)
        check_layout(figure)
        assert len(table) == regions * classes
        assert any(f"{ood_plots.MOST_REGIONS} of {regions} regions" in text for text in words(figure)) == (
            regions > ood_plots.MOST_REGIONS)


def test_regions_that_are_empty_are_not_shown():
    own = masks(2)
    own[0] = False
    figure, table = ood_plots.region_panel(picture(), own, NAMES[:2], np.ones((2, 2)), BIRDS, [0.5, 0.5])
    assert "wing" not in words(figure) and words(figure).count("beak") == 2 and len(table) == 4
    figure, _ = ood_plots.region_panel(picture(), own[:1], NAMES[:1], np.ones((1, 2)), BIRDS, [0.5, 0.5])
    assert "no region found" in words(figure)
    check_layout(figure)


def test_region_panel_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="1 patches for 3 regions; give one or None for each"):
        ood_plots.region_panel(picture(), masks(3), NAMES, np.ones((3, 2)), BIRDS, [0.5, 0.5], exemplars=[None])
    with pytest.raises(ValueError, match='truths holds 1 classes for 3 regions; give one or "" for each'):
        ood_plots.region_panel(picture(), masks(3), NAMES, np.ones((3, 2)), BIRDS, [0.5, 0.5], truths=["lark"])
    with pytest.raises(ValueError, match=r"scores \(2, 3\)"):
        ood_plots.region_panel(picture(), masks(3), NAMES, np.ones((2, 3)), BIRDS, [0.5, 0.5])
    with pytest.raises(ValueError, match="finite number for each of the 2"):
        ood_plots.region_panel(picture(), masks(3), NAMES, np.ones((3, 2)), BIRDS, [0.5])


# --- Sets of pictures ------------------------------------------------------------------------------------------------


def tiers(sets=("test", "blurred")):
    rows = [(name, tier, share, accuracy, accuracy - 0.1, min(1, accuracy + 0.05), round(200 * share))
            for name in sets for tier, share, accuracy in (("sure", 0.62, 0.99), ("probably", 0.35, 0.8),
                                                           ("not sure", 0.03, 0.55))]
    return pd.DataFrame(rows, columns=["set", "tier", "share", "accuracy", "low", "high", "count"])


def test_tier_bars_draw_shares_accuracies_and_intervals():
    table = tiers()
    table.loc[4, ["share", "count"]], table.loc[4, ["accuracy", "low", "high"]] = 0, np.nan
    table.loc[5, ["accuracy", "low", "high"]] = np.nan
    figure, kept = trustworthy_plots.tier_bars(table, "tiers")
    pd.testing.assert_frame_equal(kept, table)
    share, accuracy = figure.axes
    np.testing.assert_allclose([patch.get_width() for patch in share.patches], [62, 35, 3, 62, 0, 3])
    np.testing.assert_allclose([patch.get_x() for patch in share.patches], [0, 62, 97, 0, 62, 62])
    assert [text.get_text() for text in share.texts] == ["62", "35", "62"]
    dots = [float(line.get_xdata()[0]) for line in accuracy.lines if line.get_marker() == "o"]
    assert dots == pytest.approx([99, 80, 55, 99])
    intervals = [line.get_xdata() for line in accuracy.lines if line.get_marker() != "o"]
    np.testing.assert_allclose(intervals[1], [70, 85])
    assert [text.get_text() for text in accuracy.texts] == [
        "99.0 %  (124)", "80.0 %  (70)", "55.0 %  (6)", "99.0 %  (124)", "not used", "– (6)"]
    assert [label.get_text() for label in share.get_yticklabels()] == ["test", "blurred"]
    check_layout(figure)


def test_tier_bars_of_many_sets():
    check_layout(trustworthy_plots.tier_bars(tiers([LONG.format(k) for k in range(8)]), "a title " * 20)[0])
    check_layout(trustworthy_plots.tier_bars(tiers(["one"]))[0])
    with pytest.raises(ValueError, match="must have rows and the columns set, tier"):
        trustworthy_plots.tier_bars(tiers().drop(columns="low"))
    with pytest.raises(ValueError, match="and 0 rows"):
        trustworthy_plots.tier_bars(tiers().head(0))


def test_risk_coverage_draws_each_curve():
    coverage = np.linspace(0.1, 1, 10)
    curves = {"ours": (coverage, 0.1 * coverage, 0.055), LONG: (coverage[:4], np.zeros(4), 0.0)}
    figure, table = trustworthy_plots.risk_coverage(curves, "risk")
    assert table["score"].tolist() == ["ours"] * 10 + [LONG] * 4
    np.testing.assert_allclose(table["risk"][:10], 0.1 * coverage)
    assert table.groupby("score")["aurc"].first().to_dict() == {"ours": 0.055, LONG: 0.0}
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), np.stack([100 * coverage, 10 * coverage], axis=1))
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend[0] == "ours: 0.0550" and legend[1].endswith(": 0.0000")
    check_layout(figure)
    for wrong in ((coverage, coverage[:4], 0), ([], [], 0)):
        with pytest.raises(ValueError, match=r"curves\['ours'\].* two arrays of one length"):
            trustworthy_plots.risk_coverage({"ours": wrong})


def slow_ece(confidence, right, bins):
    """Guo et al., equation 3, bin by bin."""
    total = 0.0
    for b in range(bins):
        inside = [i for i, c in enumerate(confidence) if b / bins <= c < (b + 1) / bins or (c == 1 and b == bins - 1)]
        if inside:
            total += len(inside) / len(confidence) * abs(np.mean(right[inside]) - np.mean(confidence[inside]))
    return total


def test_reliability_bins_and_calibration_error():
    generator = np.random.default_rng(0)
    confidence = np.r_[generator.beta(4, 1, 300), 1.0, 1.0]
    right = generator.random(302) < 0.8
    figure, table = trustworthy_plots.reliability({"softmax": (confidence, right), "other": ([0.25, 0.25], [True, False])}, bins=8)
    own = table[table["score"] == "softmax"]
    assert own["count"].sum() == 302 and (own["high"] - own["low"] == 1 / 8).all()
    assert own["ece"].unique() == pytest.approx(slow_ece(confidence, right, 8))
    last = (confidence >= 7 / 8)
    assert own.iloc[-1][["confidence", "accuracy", "count"]].tolist() == pytest.approx(
        [confidence[last].mean(), right[last].mean(), last.sum()])
    other = table[table["score"] == "other"].iloc[0]
    assert other.drop("score").tolist() == pytest.approx([0.25, 0.375, 0.25, 0.5, 2, 0.25])
    assert figure.axes[1].get_title() == "other\nECE 0.250"
    assert [patch.get_height() for patch in figure.axes[1].patches] == [0.5]
    check_layout(figure)


def test_reliability_of_many_and_of_wrong_arrays():
    one = ([0.5, 0.9], [True, True])
    figure, _ = trustworthy_plots.reliability({LONG.format(k): one for k in range(6)}, title="many")
    assert len(figure.axes) == 8 and sum(axis.axison for axis in figure.axes) == 6
    check_layout(figure)
    for wrong in (([0.5], [True, False]), ([], []), ([1.2], [True]), ([np.nan], [True])):
        with pytest.raises(ValueError, match=r"predictions\['ours'\].* confidence from 0 to 1"):
            trustworthy_plots.reliability({"ours": wrong})


def detection():
    rows = [("ours", "AUROC", 0.9, 0.85, 0.95, "higher"), ("softmax", "AUROC", 0.8, 0.75, 0.85, "higher"),
            ("ours", "FPR at 95 %", 0.4, 0.3, 0.5, "lower"), ("energy", "FPR at 95 %", 0.2, 0.1, 0.25, "lower"),
            ("softmax", "FPR at 95 %", np.nan, np.nan, np.nan, "lower")]
    return pd.DataFrame(rows, columns=["method", "measure", "value", "low", "high", "better"])


def test_ood_dots_draw_values_intervals_and_the_best():
    figure, kept = ood_plots.ood_dots(detection(), "strangers")
    pd.testing.assert_frame_equal(kept, detection())
    auroc, fpr = figure.axes
    assert [label.get_text() for label in auroc.get_yticklabels()] == ["ours", "softmax", "energy"]
    assert "higher is better" in auroc.get_title() and "lower is better" in fpr.get_title()
    dots = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in auroc.lines
            if line.get_marker() == "o"]
    assert dots == [(0.9, 0), (0.8, 1)]
    assert list(auroc.lines[0].get_xdata()) == [0.85, 0.95]
    assert [(text.get_text(), text.get_weight()) for axis in figure.axes for text in axis.texts] == [
        ("0.900", "bold"), ("0.800", "normal"), ("not measured", "normal"), ("0.400", "normal"),
        ("not measured", "normal"), ("0.200", "bold")]
    check_layout(figure)


def test_ood_dots_without_a_side_and_with_long_names():
    table = detection().drop(columns="better").replace({"ours": LONG, "AUROC": LONG})
    figure, _ = ood_plots.ood_dots(table)
    assert "better" not in " ".join(words(figure)) and all(
        text.get_weight() == "normal" for axis in figure.axes for text in axis.texts)
    check_layout(figure)
    with pytest.raises(ValueError, match="columns method, measure, value, low, high"):
        ood_plots.ood_dots(table.drop(columns="measure"))
