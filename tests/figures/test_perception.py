"""The figures of perception: tables hold what was given, drawings what the tables hold, and no words overlap."""

import numpy as np
import pytest
from helpers import check_words, texts

from asxai.benchmarks.changes import STRENGTHS
from asxai.benchmarks.perception import ClassChanges, delta_table, order_table
from asxai.figures import perception as plots
from asxai.figures.style import looks

CHANGES = list(STRENGTHS)


def made(names, class_name="class", pictures=12, parts=(), seed=0):
    rng = np.random.default_rng(seed)
    whole, part_whole = rng.random((pictures, len(names))), rng.random((pictures, len(parts)))
    changed, distances = whole - rng.random((6, *whole.shape)) / 5, rng.random((6, pictures))
    of_parts = tuple(parts), part_whole, part_whole - rng.random((6, *part_whole.shape))
    return ClassChanges(class_name, tuple(names), tuple(CHANGES), whole, changed, distances, *of_parts)


def test_strip_shows_every_change_of_every_example():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 7, 8, 8, 3), dtype=np.uint8)
    distances = np.arange(12).reshape(2, 6) / 100
    figure, table = plots.change_strip(pictures, CHANGES, distances, ["cat", "a class of a long name"], "Changes")
    check_words(figure)
    axes = np.array(figure.axes).reshape(2, 7)
    assert all((axes[e, c].images[0].get_array() == pictures[e, c]).all() for e in range(2) for c in range(7))
    assert [axis.get_title() for axis in axes[0]] == ["as it is", *CHANGES]
    assert axes[1, 6].get_xlabel() == "distance 0.110"
    assert table.values.tolist()[-1] == ["a class of a long name", "shape", 0.11]


def test_boxes_are_quartiles_of_each_class_and_change():
    classes = [made(["eye", "ear"], "cat"), made(["ear"], "dog", seed=1)]
    falls = [own.falls for own in classes]
    falls[0][:, 0, 0] = np.nan
    figure, table = plots.fall_boxes(falls, [own.names for own in classes], CHANGES, ["cat", "dog"], "Falls")
    check_words(figure)
    assert len(table) == 18 and list(table)[:4] == ["class", "concept", "change", "pictures"]
    row = table.set_index(["class", "concept", "change"]).loc[("dog", "ear", "hue")]
    values = falls[1][CHANGES.index("hue"), :, 0]
    assert row[["lower", "median", "upper"]].tolist() == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75]).tolist())
    assert table[table["concept"] == "eye"]["pictures"].tolist() == [11] * 6
    eye, ear = (axis for axis in figure.axes if axis.get_title() in ("eye", "ear"))
    assert (len(eye.patches), len(ear.patches)) == (6, 12)
    drawn = {round(float(line.get_ydata()[0]), 6) for line in ear.lines}
    assert round(float(np.median(values)), 6) in drawn


def test_many_classes_and_concepts_can_be_read():
    names = [f"a concept with number {k}" for k in range(15)]
    classes = [made(names, f"a class with number {c}", seed=c) for c in range(8)]
    falls, class_names = [own.falls for own in classes], [own.class_name for own in classes]
    figure, table = plots.fall_boxes(falls, [names] * 8, CHANGES, class_names, "Falls")
    check_words(figure)
    title = " ".join(figure.get_suptitle().split())
    assert title.startswith("Falls (the first 5 of 8 classes) (the first 12 of 15 concepts) upwards linear to 0.01")
    assert len(table) == 8 * 15 * 6
    figure, _ = plots.fall_boxes([classes[0].falls[:, :, :1]], [names[:1]], CHANGES, ["one"], "Falls")
    check_words(figure)


def test_order_is_drawn_twice_each_sorted():
    table = order_table([made(["eye"], pictures=30)])
    figure, result = plots.order_dots(table, "Order")
    check_words(figure)
    assert result is table
    for axis, column in zip(figure.axes, ("sensitivity", "normalised")):
        expected = sorted(table[column], reverse=True)
        dots = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"]
        assert dots == pytest.approx(expected)
    labels = texts(figure.axes[0].get_yticklabels())
    assert {"shape (1)", "contrast (2)", "hue (3)", "texture (4)", "brightness", "saturation"} == set(labels)


def test_parts_have_a_mark_per_change():
    parts = [f"part number {k}" for k in range(9)]
    classes = [made(["eye"], f"class {c}", parts=parts[c:], seed=c) for c in range(7)]
    table = delta_table(classes, of="part")
    figure, result = plots.part_dots(table, "Parts")
    check_words(figure)
    assert result is table and "the first 6 of 7 classes" in " ".join(figure.get_suptitle().split())
    axis = figure.axes[1]
    own = table[(table["class"] == "class 1") & (table["change"] == "shape")]
    style = looks(table["change"])["shape"]
    marks = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == style["marker"]]
    assert marks == pytest.approx(own["absolute"].tolist())
