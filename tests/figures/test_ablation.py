"""The figures of the ablation: tables hold what was given, drawings what the tables hold, and no words overlap."""

import numpy as np
import pandas as pd
import pytest
from helpers import check_words, text_of

from asxai.benchmarks.ablation import ARMS, FURTHER, MEASURES, NO_DIFFERENCE, ORTHOGONAL, paired, verdict
from asxai.figures import ablation as plots
from asxai.figures import style

NAMES = ["head", "a long name of the inner side", "tail", "left ear 2"]


def matrices(arms, classes, count=4, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(arms, classes, count, 6))
    vectors /= np.linalg.norm(vectors, axis=3, keepdims=True)
    return vectors @ vectors.swapaxes(2, 3)


def arm_table(arms, seeds=4, measures=tuple(MEASURES), seed=0):
    rng = np.random.default_rng(seed)
    rows = [(arm, s, name) for arm in arms for s in range(seeds) for name in measures]
    table = pd.DataFrame(rows, columns=["arm", "seed", "measure"])
    return table.assign(settings="", value=rng.random(len(rows)), low=np.nan, high=np.nan)


# --- matrices ---


def test_matrices_are_white_at_zero_and_grey_on_the_diagonal():
    cosines = [[np.array([[1, 0, -1.0], [0, 1, 1], [-1, 1, 1]])]]
    figure, table = plots.concept_matrices(cosines, [[["a", "b", "c"]]], ["an arm"], ["class"], "title")
    image = figure.axes[0].collections[0]
    assert image.cmap(image.norm(0.0)) == (1, 1, 1, 1)
    assert image.get_clim() == (-1, 1)
    assert (np.ma.getmaskarray(image.get_array()) == np.eye(3)).all()
    expected = [("a", "b", 0), ("a", "c", -1), ("b", "c", 1)]
    assert table.values.tolist() == [["an arm", "class", *row] for row in expected]
    assert "an arm\nmean |cosine| 0.67" in text_of(figure) and {"0.0", "−1.0", "1.0"} <= set(text_of(figure))


@pytest.mark.parametrize("arms, classes, count", [(4, 2, 4), (2, 3, 7), (1, 1, 1), (2, 2, 13)])
def test_matrices_with_words_that_do_not_overlap(arms, classes, count):
    names = [f"{NAMES[k % 4]} {k}" for k in range(count)]
    given = [[names] * classes] * arms, [*ARMS][:arms], [f"class {c}" for c in range(classes)]
    figure, table = plots.concept_matrices(matrices(arms, classes, count), *given, "How alike")
    check_words(figure)
    assert len(table) == arms * classes * count * (count - 1) / 2
    assert ("one concept" in " ".join(text_of(figure))) == (count == 1)
    assert sum("−" in text or text[:2] in ("0.", "1.") for text in text_of(figure)) > 20 * (1 < count < 11)


def test_the_matrices_of_four_arms_are_hardly_wider_than_a_page():
    names = [f"superpixel {k}" for k in range(7)]
    figure, _ = plots.concept_matrices(matrices(4, 2, 7), [[names] * 2] * 4, [*ARMS], ["cat", "dog"], "How alike")
    check_words(figure)
    assert figure.get_figwidth() < 1.25 * style.WIDTH


def test_of_many_classes_the_first_matrices_are_shown():
    figure, table = plots.concept_matrices(matrices(1, 9), [[NAMES] * 9], ["arm"], [f"c{c}" for c in range(9)], "T")
    assert "T (the first 6 of 9 classes)" in text_of(figure) and table["class"].nunique() == 9


# --- trait pictures ---


def test_trait_grid_has_a_row_per_arm_and_a_column_per_class():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    names = [["eye", "eye 2", "superpixel 4"], ["a long name of the inner side", "nose", "superpixel 1"]]
    overlaps = np.array([[1, 0.5, 0.25], [1, 0, 0.125]])
    figure, table = plots.trait_grid(pictures, names, overlaps, [*ARMS][:3], ["cat", "dog"], "The same concept")
    check_words(figure)
    axes = np.array(figure.axes).reshape(3, 2)
    assert all((axes[a, c].images[0].get_array() == pictures[c, a]).all() for c, a in np.ndindex(2, 3))
    assert axes[1, 0].get_xlabel() == "eye 2, 50 % shared" and axes[0, 1].get_xlabel().startswith("a long name")
    assert table.values.tolist()[5] == ["dog", [*ARMS][2], "superpixel 1", 0.125]


# --- differences ---


def judged(table):
    return table.assign(verdict=table.apply(verdict, axis=1))


@pytest.mark.parametrize("arms", [[*ARMS], [*ARMS, *FURTHER], [ORTHOGONAL, "a long name of an arm of one’s own"]])
def test_differences_of_all_arms_can_be_read(arms):
    table = judged(paired(arm_table(arms)))
    figure, result = plots.difference_dots(table, MEASURES, "Differences")
    check_words(figure)
    assert result is table and len(figure.axes) == len(MEASURES)


def test_colours_say_what_is_better():
    rows = [("nmi", 0.2), ("off-diagonal", 0.2), ("purity", -0.2), ("cosine", -0.2)]
    table = pd.DataFrame(rows, columns=["measure", "difference"]).assign(arm="a", seeds=5)
    for name, away in (("low", -0.1), ("high", 0.1), ("t_low", -0.15), ("t_high", 0.15)):
        table[name] = table["difference"] + away
    one_has_zero, both = table[:1].assign(arm="b", t_low=-0.1), table[:1].assign(arm="c", low=-0.1, t_low=-0.2)
    none = table[:1].assign(arm="d", low=np.nan, high=np.nan, t_low=np.nan, t_high=np.nan)
    table = pd.concat([table, one_has_zero, both, none])
    figure, result = plots.difference_dots(judged(table), MEASURES, "title")
    marks = {}
    for axis in figure.axes:
        dots = [line for line in axis.lines if line.get_marker() not in ("", "None")]
        looks = {round(line.get_ydata()[0]): (line.get_marker(), line.get_color()) for line in dots}
        marks[axis.get_title().split("\n")[0]] = looks
    look = {name: (style["marker"], style["color"]) for name, style in plots.VERDICTS.items()}
    same = look[plots.NO_DIFFERENCE]
    assert marks["nmi"] == {0: look["better"], 1: look["undecided"], 2: same, 3: same}
    assert marks["off-diagonal"][0] == marks["purity"][0] == look["worse"]
    assert marks["cosine"][0] == look["better"]
    verdicts = ["higher", "higher", "lower", "lower", "undecided", NO_DIFFERENCE, "one seed, no interval"]
    assert result["verdict"].tolist() == verdicts
    assert plots.NO_DIFFERENCE == f"{NO_DIFFERENCE}, or one seed"
    assert text_of(figure).count("not measured") == 9


# --- cosines ---


def test_cosines_and_their_bound():
    table = arm_table(["a", "b"], 2, ("rms cosine", "rms cosine before", "lower bound", "nmi"))
    table.loc[table["measure"] == "lower bound", "value"] = [0, 0, 0.08, 0.08]
    figure, result = plots.cosine_dots(table, "Cosines")
    check_words(figure)
    axis = figure.axes[0]
    drawn = {}
    for line in axis.lines:
        key = round(float(line.get_ydata()[0])), line.get_fillstyle() if line.get_marker() == "o" else line.get_marker()
        drawn.setdefault(key, []).append(line.get_xdata()[0])
    of = lambda arm, name: table[(table["arm"] == arm) & (table["measure"] == name)]["value"].tolist()
    hollow = {(y, "none"): of(arm, "rms cosine before") for y, arm in enumerate("ab")}
    full = {(y, "full"): of(arm, "rms cosine") for y, arm in enumerate("ab")}
    assert drawn == hollow | full | {(1, "|"): [0.08]}
    pd.testing.assert_frame_equal(result, table.loc[table["measure"] != "nmi", list(result)].reset_index(drop=True))
