"""What figures are put together from: grids, outlines, matrices, wrapped text."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import check_words, text_of, texts
from matplotlib.colors import to_hex

from asxai.figures import sheet, style


def test_the_words_of_a_bad_figure_are_found():
    figure, axis = plt.subplots()
    axis.text(0.5, 0.5, "one")
    check_words(figure)
    axis.text(0.51, 0.5, "another")
    with pytest.raises(AssertionError):
        check_words(figure)


def test_long_words_are_wrapped_or_cut_and_dollars_are_no_formula():
    assert sheet.wrapped("one two three", 8) == "one two\nthree"
    assert sheet.wrapped("one two three four five", 8, 2) == "one two\nthree…"
    assert max(map(len, sheet.wrapped("word" * 30, 10).split("\n"))) <= 10
    figure, axis = plt.subplots()
    axis.set_title(sheet.wrapped(r"$x \frac$", 20))
    check_words(figure)


def test_numbers_have_a_minus_and_no_negative_zero():
    assert [sheet.signed(value, 1) for value in (-0.26, -0.01, 0.3, np.nan)] == ["−0.3", "0.0", "0.3", "–"]
    assert (sheet.ink("#08519c"), sheet.ink("#fdae6b")) == ("w", "k")


def test_names_have_colours_by_their_order_alone():
    assert style.looks(["b"], order=["a", "b"])["b"] == style.looks(["a", "b"])["b"] != style.looks(["b"])["b"]
    many = style.looks(range(64))
    assert len({tuple(look.values()) for look in many.values()}) == 64


def test_pictures_are_dark_outside_their_mask_and_have_its_outline():
    picture = np.full((32, 32, 3), 200, np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[4:12, 6:20] = True
    rows, masks = [[picture, None, picture], [picture] * 2], [[mask], [~mask, np.ones_like(mask)]]
    texts = [["a", "gap"]], [[], ["", "b"]]
    figure, axes = sheet.picture_grid(rows, ["first", "second"], "title", *texts, masks)
    assert [[len(axis.images) for axis in row] for row in axes] == [[1, 0, 1], [1, 1, 0]]
    shown = axes[0, 0].images[0].get_array()
    assert (shown[mask] == 200).all() and (shown[~mask] == 120).all()
    assert to_hex(axes[0, 0].collections[0].get_edgecolor()[0]) == style.OUTLINE
    assert not axes[1, 1].collections and (axes[1, 1].images[0].get_array() == 200).all()  # a full mask has no outline
    assert [axis.get_title() for axis in axes.flat] == ["a", "gap", "", "", "", ""]
    assert axes[1, 1].get_xlabel() == "b" and [axis.get_ylabel() for axis in axes[:, 0]] == ["first", "second"]
    check_words(figure)


def test_panels_have_numbers_under_the_lowest_of_each_column():
    figure, axes = sheet.panels(4, 3, 3, 2, sharex=True)
    figure.canvas.draw()
    assert len(axes) == 4 and [axis.axison for axis in figure.axes] == [True] * 4 + [False] * 2
    below = [any(label.get_text() and label.get_visible() for label in axis.get_xticklabels()) for axis in axes]
    assert below == [False, True, True, True]


def test_cells_of_a_matrix_can_be_read():
    figure, axis = plt.subplots()
    values = np.array([[0, 1.0], [np.nan, 0.5]])
    sheet.heatmap(axis, values, ["a", "b"], ["c", "d"], [["x", "y"], ["z", ""]], cmap="Blues")
    colours = {text.get_text(): text.get_color() for text in axis.texts if text.get_text()}
    assert colours == {"x": "k", "y": "w", "z": "k"}
    assert texts(axis.get_yticklabels()) == ["a", "b"]


def test_captions_and_legends_cover_no_label():
    figure, axes = sheet.panels(2, 2, 3, 3)
    for axis in axes:
        axis.set_xticks([0, 1], ["a long label", "another"], rotation=90)
        axis.set_xlabel("across")
        axis.plot([0, 1], label="a line")
        sheet.legend_beside(axis, title="lines")
    sheet.legend_below(figure, {"dots": {"marker": "o", "color": "k"}}, "a caption of many words " * 6)
    sheet.set_title(figure, "a title of many words " * 12)
    check_words(figure)
    assert "dots" in text_of(figure)
