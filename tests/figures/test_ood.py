"""The figures of strangers: tables hold what was given, drawings what the tables hold, and no text hides another."""

import numpy as np
import pandas as pd
import pytest
from helpers import bright_noise, check_words, random_scores, squares, text_of, texts
from matplotlib.colors import to_hex

from asxai.figures import ood as plots

NAMES = ["wing", "beak", "claw"]
BIRDS = ["lark", "finch"]
LONG = "a name of very many words, number {}, that goes on and on"
CLASSES = ["lark", "finch", "crow", "wren"]


def panel(scores, class_names=BIRDS, names=NAMES, **change):
    scores = np.asarray(scores, float)
    given = {"picture": bright_noise(), "masks": squares(len(names)), "exemplars": [None] * len(names), "title": "one"}
    given |= {"probabilities": np.full(len(class_names), 1 / len(class_names)), "quantity": "PCS"} | change
    return plots.region_panel(names=names, scores=scores, class_names=class_names, **given)


def cards(figure):
    """Of each card the texts on its bars."""
    found = [texts(axis.texts) for axis in figure.axes if axis.get_ylim() == (2.5, -0.5)]
    return [texts for texts in found if texts]


def test_region_panel_names_the_best_classes_of_each_region():
    given = np.array([[0.2, 0.9, 0.5, np.nan], [np.nan] * 4, [0.1, 0.3, 0.2, 0.8]])
    probabilities = np.array([0.7, 0.1, 0.15, 0.05])
    figure, table = panel(given, CLASSES, probabilities=probabilities, exemplars=[bright_noise(1), None, None])
    check_words(figure)
    table = table.set_index(["region", "class"])
    assert table["rank"].tolist() == [3, 1, 2, 0, 0, 0, 0, 0, 4, 2, 3, 1] and "truth" not in table
    assert table.loc["wing", "score"].tolist()[:3] == [0.2, 0.9, 0.5]
    assert table.loc["claw", "probability"].tolist() == probabilities.tolist()
    assert "70.0 %" in text_of(figure) and not any("✓" in text for text in text_of(figure))
    assert cards(figure) == [
        ["finch", "0.90", "crow", "0.50", "lark", "0.20"],
        ["no class has such a concept"],
        ["wren", "0.80", "finch", "0.30", "crow", "0.20"],
    ]
    patches = [patch for axis in figure.axes for patch in axis.patches]
    bars = [patch for patch in patches if to_hex(patch.get_facecolor()) in ("#9ecae1", to_hex("0.86"))]
    assert [bar.get_width() for bar in bars] == [0.9, 0.5, 0.2, 0.8, 0.3, 0.2]
    drawn = [np.asarray(image.get_array()) for axis in figure.axes for image in axis.images]
    assert len(drawn) == 5  # the picture, three regions and one patch of a class
    for found, expected in zip(drawn, (bright_noise(), plots._crop(bright_noise(), squares(3)[0]), bright_noise(1))):
        np.testing.assert_array_equal(found, expected)


def test_cards_say_whether_the_class_on_top_is_the_true_one():
    given = np.array([[0.2, 0.9], [0.8, 0.3], [0.6, 0.1]])
    figure, table = panel(given, truths=["finch", "finch", ""])
    check_words(figure)
    assert [text for text in text_of(figure) if text[0] in "✓✗"] == ["✓ finch", "✗ finch"]
    assert table.set_index(["region", "class"])["truth"].tolist() == ["finch"] * 4 + [""] * 2
    given[0] = np.nan
    figure, _ = panel(given, truths=["lark", "", ""])
    assert [text for text in text_of(figure) if text[0] in "✓✗"] == ["✗ lark"]


@pytest.mark.parametrize("truths, rare", [(None, 0), (["finch"] * 11 + ["lark"], 11), (["lark"] + ["finch"] * 11, 0)])
def test_each_class_has_a_card_before_another_has_its_second(truths, rare):
    """Twelve regions, of which the last in order, or the one of the lowest score, is alone of its class."""
    given = np.stack([np.zeros(12), np.linspace(0.9, 0.5, 12)], axis=1)
    given[rare] = (0.1, 0.2) if truths else (0.2, 0.1)  # the lowest; a true class counts, and not the one on top
    figure, _ = panel(given, names=[f"number {k}" for k in range(12)], truths=truths)
    shown = [k for k in range(12) if text_of(figure).count(f"number {k}") == 2]  # at the picture and on a card
    best = [k for k in range(12) if k != rare][: plots.MOST_REGIONS - 1]
    assert shown == sorted([rare, *best])
    assert f"{plots.MOST_REGIONS} of 12 regions" in " ".join(" ".join(text_of(figure)).split())


def test_the_patch_of_a_region_is_cut_around_its_largest_island():
    mask, whole = np.zeros((40, 40), bool), bright_noise()
    mask[20:28, 22:26], mask[0, 0] = True, True
    np.testing.assert_array_equal(plots._crop(whole, mask), whole[15:31, 15:31])
    np.testing.assert_array_equal(plots._crop(whole, squares(1)[0]), whole[:15, :15])


@pytest.mark.parametrize("regions, classes, text", [(1, 2, "{}"), (9, 14, "number {}"), (12, 30, LONG)])
def test_labels_of_regions_never_overlap(regions, classes, text):
    names = [[text.format(k) for k in range(count)] for count in (classes, regions)]
    patches = [bright_noise(k) for k in range(regions)]
    for exemplars, truths in (([None] * regions, None), (patches, names[0][:1] * regions)):
        given = {"exemplars": exemplars, "truths": truths, "title": "a title " * 25}
        figure, table = panel(random_scores(regions, classes, 0.3), *names, **given)
        check_words(figure)
        assert len(table) == regions * classes


def test_regions_that_are_empty_are_not_shown():
    seen = squares(2)
    seen[0] = False
    figure, table = panel(np.ones((2, 2)), names=NAMES[:2], masks=seen)
    assert "wing" not in text_of(figure) and text_of(figure).count("beak") == 2 and len(table) == 4
    figure, _ = panel(np.ones((1, 2)), names=NAMES[:1], masks=seen[:1])
    assert "no region found" in text_of(figure)
    check_words(figure)


def test_detection_marks_the_best_score():
    rows = [
        ("ours", "AUROC", 0.9, 0.85, 0.95, "higher"),
        ("softmax", "AUROC", 0.8, 0.75, 0.85, "higher"),
        ("ours", "FPR at 95 %", 0.4, 0.3, 0.5, "lower"),
        ("energy", "FPR at 95 %", 0.2, 0.1, 0.25, "lower"),
    ]
    table = pd.DataFrame(rows, columns=["method", "measure", "value", "low", "high", "better"])
    figure, kept = plots.ood_dots(table)
    assert kept is table
    written = [[(text.get_text(), text.get_weight()) for text in axis.texts] for axis in figure.axes]
    assert written[0] == [("0.900", "bold"), ("0.800", "normal"), ("not measured", "normal")]
    assert written[1] == [("0.400", "normal"), ("not measured", "normal"), ("0.200", "bold")]
    check_words(figure)


@pytest.mark.parametrize(
    "values, written, bold",
    [
        ([0.9999, 1.0, 0.9996, 1.0, 0.9], ["0.9999", "1.0000", "0.9996", "1.0000", "0.9000"], [0, 1, 0, 1, 0]),
        ([0.99998, 1.0, 0.9], ["0.99998", "1.00000", "0.90000"], [0, 1, 0]),
        ([0.9999999, 1.0, 0.9], ["1.000", "1.000", "0.900"], [1, 1, 0]),  # nobody needs to tell these apart
        ([1.0, 1.0], ["1.000", "1.000"], [1, 1]),
        ([], [], []),
    ],
)
def test_scores_that_look_the_same_are_bold_alike(values, written, bold):
    rows = [(f"score {k}", "AUROC", value, value - 0.01, value, "higher") for k, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["method", "measure", "value", "low", "high", "better"])
    figure, _ = plots.ood_dots(table)
    shown = [(text.get_text(), text.get_weight()) for text in figure.axes[0].texts if values]
    assert shown == [(number, "bold" if best else "normal") for number, best in zip(written, bold)]
    check_words(figure)


def test_parts_hold_their_parent_and_what_is_found_instead():
    rows = [
        ("liger", "ear", "lion", 20, 1.0, "lion"),
        ("liger", "leg", "tiger", 20, 0.25, "puma"),
        ("tigon", "leg", "lion", 9, 0.5, "lion"),
    ]
    table = pd.DataFrame(rows, columns=["hybrid", "part", "parent", "pictures", "right", "most often"])
    figure, kept = plots.part_matrix(table)
    assert kept is table
    axis = figure.axes[0]
    shown = [text.get_text() for text in axis.texts if text.get_text()]
    assert shown == ["100 %\nlion", "25 %\ntiger\n→ puma", "50 %\nlion"]
    assert np.ma.getmaskarray(axis.collections[0].get_array()).ravel().tolist() == [False, False, True, False]
    check_words(figure)
