"""The panel of an explanation: its table holds what was given, its drawing what the table holds, no words overlap."""

import itertools

import numpy as np
import pytest
from helpers import bright_noise, cases, check_words, random_scores, squares, text_of, texts, words
from matplotlib.colors import to_hex
from matplotlib.patches import Circle

from asxai.figures import explanation as plots
from asxai.figures.style import LINE_COLOURS, OTHERS, OUTLINES

NAMES = ["wing", "beak", "claw"]
BIRDS = ["lark", "finch"]
LONG = "a name of very many words, number {}, that goes on and on"
SENTENCE = "I am sure it is a lark mainly because it has a vivid wing, which is a lark's wing obviously."
NOTES = "Sure: at most 1 in 100 such answers is wrong.", "The softmax alone says: lark, 99.8 %"
SIZE = 40
BLUE, ORANGE = LINE_COLOURS[:2]


def panel(scores, class_names=BIRDS, concept_names=NAMES, predicted=None, **change):
    scores = np.asarray(scores, float)
    given = {"picture": bright_noise(), "masks": squares(len(concept_names)), "sentence": SENTENCE}
    given |= {"similarity": np.linspace(0.6, 0.3, len(class_names)), "notes": "\n".join(NOTES)}
    given |= {"exemplars": [bright_noise(1), bright_noise(2)]}
    given |= {"scores": scores, "class_names": class_names, "concept_names": concept_names} | change
    return plots.explanation_panel(**given, predicted=predicted or class_names[0])


def ring(figure):
    return next(axis for axis in figure.axes if axis.get_legend())


def circles(figure, colour):
    """Middle and diameter of filled circles in a colour."""
    found = [patch for patch in ring(figure).patches if isinstance(patch, Circle) and patch.get_fill()]
    return [(patch.center, 2 * patch.radius) for patch in found if to_hex(patch.get_facecolor()) == colour]


def test_panel_holds_all_of_an_explanation():
    seen = squares(3)
    seen[2] = False
    figure, table = panel([[0.9, 0.5, 0.1], [0.3, np.nan, 0.2]], masks=seen)
    check_words(figure)
    assert table["area"].tolist() == [49 / 1600, 49 / 1600, 0] * 2 and table["shown"].all()
    assert table["similarity"].tolist() == [0.6] * 3 + [0.3] * 3
    np.testing.assert_array_equal(table["score"], [0.9, 0.5, 0.1, 0.3, np.nan, 0.2])
    drawn = [np.asarray(image.get_array()) for axis in figure.axes for image in axis.images]
    for shown, given in zip(drawn, (bright_noise(), bright_noise(1), bright_noise(2))):
        np.testing.assert_array_equal(shown, given)
    shown = text_of(figure)
    assert SENTENCE in " ".join(" ".join(shown).split()) and all(line in "\n".join(shown) for line in NOTES)
    assert {"0.60", "0.30", "0.90", "lark (predicted)", "finch"} <= set(shown)
    # the concept that is not seen has a name in the ring alone, and no outline
    assert [shown.count(name) for name in NAMES] == [2, 2, 1]
    outlines = [to_hex(drawn.get_edgecolor()[0]) for drawn in figure.axes[0].collections]
    assert outlines == list(OUTLINES[:2])
    boxes = [text.get_bbox_patch() for text in words(figure) if text.get_text() in NAMES[:2]]
    assert [to_hex(box.get_facecolor()) for box in boxes] == list(OUTLINES[:2]) * 2


def test_outlines_lie_where_the_masks_are_and_names_point_into_them():
    seen = np.zeros((1, SIZE, SIZE), bool)
    seen[0, 4:12, 20:36] = True
    figure, _ = panel([[0.5], [0.2]], concept_names=["wing"], masks=seen)
    points = figure.axes[0].collections[0].get_paths()[0].vertices
    ends = [points[:, 0].min(), points[:, 0].max(), points[:, 1].min(), points[:, 1].max()]
    np.testing.assert_allclose(ends, [19.5, 35.5, 3.5, 11.5])
    across, down = figure.axes[0].texts[0].xy
    assert seen[0, down, across]


def lines(axis):
    """From the name to the outline, in pixels: each line's two ends."""
    ends = [(axis.transAxes.transform(text.get_position()), axis.transData.transform(text.xy)) for text in axis.texts]
    return np.array(ends)


@pytest.mark.parametrize("shape", [(40, 40), (40, 60), (60, 40)])
def test_lines_from_names_to_outlines_never_meet_and_have_their_colour(shape, crossing):
    for seed in range(4):
        generator, seen = np.random.default_rng(seed), np.zeros((12, *shape), bool)
        for k in range(12):
            down, across = generator.integers(0, np.subtract(shape, 6))
            seen[k, down : down + 6, across : across + 6] = True
        names = [f"name {k}" for k in range(12)]
        drawn = {"picture": bright_noise(0, *shape), "masks": seen, "concept_names": names}
        figure, _ = panel(random_scores(2, 12), **drawn)
        check_words(figure)
        axis = figure.axes[0]
        pairs = itertools.combinations(lines(axis), 2)
        assert len(axis.texts) == 12 and not any(crossing(*pair) for pair in pairs)
        for text in axis.texts:
            line, box = text.arrow_patch.get_edgecolor(), text.get_bbox_patch().get_facecolor()
            assert to_hex(line) == to_hex(box)


def test_lines_to_equal_masks_end_apart():
    seen = np.zeros((3, SIZE, SIZE), bool)
    seen[:, 8:30, 8:30] = True
    figure, _ = panel(np.ones((2, 3)), masks=seen)
    ends = [text.xy for text in figure.axes[0].texts]
    assert all(seen[0, down, across] for across, down in ends)
    assert min(np.hypot(*np.subtract(*pair)) for pair in itertools.combinations(ends, 2)) >= plots.APART * SIZE


def test_bars_are_sorted_and_as_long_as_the_similarity():
    classes = ["a", "b", "c"]
    figure, _ = panel(np.ones((3, 3)), classes, similarity=np.array([0.2, 0.4, -0.1]))
    axis = next(axis for axis in figure.axes if axis.containers)
    assert [patch.get_width() for patch in axis.patches] == [0.4, 0.2, -0.1]
    assert texts(axis.get_yticklabels()) == ["b", "a", "c"]
    assert [label.get_weight() for label in axis.get_yticklabels()] == ["normal", "bold", "normal"]
    many = [f"class {c}" for c in range(30)]
    figure, _ = panel(random_scores(30, 3), many, predicted="class 29")
    axis = next(axis for axis in figure.axes if axis.containers)
    assert texts(axis.get_yticklabels()) == [*many[:5], "class 29"]
    first, *_, last = (to_hex(patch.get_facecolor()) for patch in axis.patches)
    assert last == BLUE and first in (*LINE_COLOURS[1:5], to_hex(OTHERS))


def test_ring_has_a_bubble_per_class_and_concept_of_the_area_of_the_score():
    figure, _ = panel([[0.8, 0.2, 0.05], [0.4, np.nan, 1.0]])
    lark, finch = circles(figure, BLUE), circles(figure, ORANGE)
    assert len(lark) == 3 and len(finch) == 2
    np.testing.assert_allclose([(d / finch[1][1]) ** 2 for _, d in (*lark, finch[0])], [0.8, 0.2, 0.05, 0.4])
    distance = [np.linalg.norm(at) for at, _ in (*lark, *finch)]
    assert np.ptp(distance[:3]) < 1e-6 and np.ptp(distance[3:]) < 1e-6 and distance[3] < distance[0]
    shown = " ".join(text_of(figure))
    assert "no bubble: the class lacks the concept" in " ".join(shown.split()) and "hollow" not in shown


def test_a_bubble_of_nearly_nothing_is_hollow_and_the_best_value_is_written_somewhere():
    figure, _ = panel([[0.8, 0.009, 0.0], [0.4, 0.01, 0.2]])
    hollow = circles(figure, "#ffffff")
    assert len(hollow) == 2 and "hollow: nearly 0" in " ".join(text_of(figure))
    colours = {text.get_text(): to_hex(text.get_color()) for text in ring(figure).texts}
    assert colours["0.80"] == "#ffffff" and colours["0.01"] == colours["0.20"] == ORANGE and "0.00" not in colours


def test_bubbles_never_touch():
    for classes, concepts in ((1, 1), (2, 1), (1, 14), (2, 7), (5, 14)):
        names = [[f"{kind} {k}" for k in range(count)] for kind, count in (("class", classes), ("concept", concepts))]
        figure, _ = panel(np.full((classes, concepts), 1.3), *names)
        found = [bubble for colour in LINE_COLOURS[:classes] for bubble in circles(figure, colour)]
        assert len(found) == classes * concepts
        for (one, first), (other, second) in itertools.combinations(found, 2):
            assert np.linalg.norm(np.subtract(one, other)) > (first + second) / 2


@cases(
    "classes, concepts, text, shape",
    (2, 7, "{}", (40, 40)),
    (14, 34, "concept {}", (40, 60)),
    (5, 8, "number {}", (60, 40)),
    (30, 14, LONG, (40, 40)),
    (9, 14, "word" * 30 + "{}", (40, 40)),
    (3, 5, "$x_{} \\frac$", (40, 40)),
    (1, 1, LONG, (40, 40)),
)
def test_labels_of_a_panel_never_overlap(classes, concepts, text, shape):
    names = [[text.format(k) for k in range(count)] for count in (classes, concepts)]
    drawn = {"picture": bright_noise(0, *shape), "masks": squares(concepts, *shape), "sentence": SENTENCE * 4}
    drawn |= {"exemplars": [bright_noise(k) for k in range(12)], "notes": LONG}
    figure, table = panel(random_scores(classes, concepts, 0.3), *names, **drawn)
    check_words(figure)
    assert len(table) == classes * concepts
    assert sum(len(axis.images) for axis in figure.axes) == 1 + plots.MOST_EXEMPLARS


def test_of_many_the_best_are_shown_and_the_predicted_first():
    given = random_scores(9, 20) / 2
    given[:, 14:] = np.nan
    given[4, 15], given[7], given[2, 3] = 0.9, 0.001, 1.0
    names = [f"class {c}" for c in range(9)], [f"concept {k}" for k in range(20)]
    figure, table = panel(given, *names, predicted="class 7")
    shown = table[table["shown"]]
    assert {"class 7", "class 4", "class 2"} <= set(shown["class"]) and shown["class"].nunique() == 5
    # the predicted class has them all, so that a rival's own concept comes only after them
    assert shown["concept"].nunique() == 14 and "concept 15" in set(shown["concept"])
    legend = texts(ring(figure).get_legend().get_texts())
    assert legend[:3] == ["class 7 (predicted)", "class 2", "class 4"]
    assert "5 of 9 classes; 14 of 20 concepts" in " ".join(" ".join(text_of(figure)).split())
    given[7, 14:] = given[7, 0] = np.nan
    table = panel(given, *names, predicted="class 7")[1]
    own = set(table.loc[(table["class"] == "class 7") & table["score"].notna(), "concept"])
    assert len(own) == 13 and own <= set(table.loc[table["shown"], "concept"])


@cases("count, lacking", (5, 0), (6, 0), (6, 0.3), (2, 0))
def test_the_key_of_classes_lies_above_the_sentence(count, lacking):
    classes = [f"a very long class name {c}" for c in range(count)]
    given = random_scores(count, 16, lacking)
    given[0, 0] = 0
    figure, _ = panel(given, classes, [f"concept {k}" for k in range(16)])
    check_words(figure)
    legend = ring(figure).get_legend()
    keys = legend.get_texts()
    assert len(keys) == min(count, plots.MOST_RINGS) and all(key.get_visible() for key in keys)
    box = next(axis for axis in figure.axes if SENTENCE[:9] in " ".join(texts(axis.texts)))
    top, left = box.get_window_extent().y1, figure.axes[0].get_window_extent().x1
    for key in (*keys, legend.get_title()):
        extent = key.get_window_extent()
        assert extent.y0 > top + 1 and extent.x0 > left and extent.x1 < figure.bbox.x1


def test_the_box_of_a_name_touches_no_value():
    figure, _ = panel(np.full((2, 14), 0.02), concept_names=["yq"] * 14)
    named = words(figure)
    patches = [text.get_bbox_patch() for text in ring(figure).texts]
    boxes = [patch.get_window_extent().padded(2) for patch in patches if patch]
    values = [text.get_window_extent() for text in named if text.get_text() == "0.02"]
    assert len(boxes) == len(values) == 14
    assert not any(box.overlaps(value) for box, value in itertools.product(boxes, values))


def test_words_of_the_panel_say_what_is_drawn():
    shown = " ".join(" ".join(text_of(panel(np.ones((2, 3)))[0])).split())
    assert "principal component score (PCS) of concepts" in shown
    assert "semantic similarity score" in shown and "global similarity" not in shown


@pytest.mark.filterwarnings("error")
def test_panel_of_nothing_and_of_everything_saved_twice(tmp_path):
    nothing = np.zeros((2, SIZE, SIZE), bool)
    figure, table = panel(np.full((2, 2), np.nan), concept_names=NAMES[:2], masks=nothing, exemplars=[])
    assert "no concept found" in text_of(figure) and not table["shown"].any() and table["area"].eq(0).all()
    figure, table = panel(np.ones((2, 2)), concept_names=NAMES[:2], masks=~nothing)
    check_words(figure)
    assert table["area"].eq(1).all() and text_of(figure).count("wing") == 2 and not figure.axes[0].collections
    before = {text: text.get_window_extent().bounds for text in words(figure)}
    for suffix in ("png", "pdf"):  # as by `results.save_figure`
        figure.savefig(tmp_path / f"panel.{suffix}")
    assert {text: text.get_window_extent().bounds for text in words(figure)} == before
