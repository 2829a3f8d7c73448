"""The figures of the ablation: tables hold what was given, drawings what the tables hold, and no words overlap."""

import numpy as np
import pandas as pd
import pytest
from helpers import (
    check_words,
    styled_figures,  # noqa: F401 (a fixture)
    text_of,
)
from matplotlib.colors import to_rgba

from asxai.benchmarks.ablation import ARMS, FURTHER, MEASURES, NO_DIFFERENCE, ORTHOGONAL, paired
from asxai.figures import ablation as ablation_plots

NAMES = ["head", "a long name of the inner side", "tail", "left ear 2"]


def matrices(arms, classes, count=4, seed=0):
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(arms):
        vectors = rng.normal(size=(classes, count, 6))
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        result.append(list(vectors @ vectors.transpose(0, 2, 1)))
    return result


def arm_table(arms, seeds=4, measures=tuple(MEASURES), seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame([{"settings": "", "arm": arm, "seed": s, "measure": name, "value": rng.random(), "low": np.nan,
                          "high": np.nan} for arm in arms for s in range(seeds) for name in measures])


# --- matrices ---


def test_matrices_are_white_at_zero_and_grey_on_the_diagonal():
    cosines = [[np.array([[1, 0, -1.0], [0, 1, 1], [-1, 1, 1]])]]
    figure, table = ablation_plots.concept_matrices(cosines, [[["a", "b", "c"]]], ["an arm"], ["class"], "title")
    image = figure.axes[0].images[0]
    assert image.cmap(image.norm(0.0)) == (1, 1, 1, 1)
    assert image.get_clim() == (-1, 1)
    assert table.values.tolist() == [["an arm", "class", "a", "b", 0], ["an arm", "class", "a", "c", -1],
                                     ["an arm", "class", "b", "c", 1]]
    assert "an arm\nmean |cosine| 0.67" in text_of(figure) and {"0.0", "−1.0", "1.0"} <= set(text_of(figure))
    squares = [patch for patch in figure.axes[0].patches if patch.get_facecolor() == to_rgba("0.85")]
    assert [patch.get_xy() for patch in squares] == [(k - 0.5, k - 0.5) for k in range(3)]


@pytest.mark.parametrize("arms, classes, count", [(4, 2, 4), (2, 3, 7), (1, 1, 1), (2, 2, 13)])
def test_matrices_with_words_that_do_not_overlap(arms, classes, count):
    names = [f"{NAMES[k % 4]} {k}" for k in range(count)]
    figure, table = ablation_plots.concept_matrices(matrices(arms, classes, count), [[names] * classes] * arms,
                                           [*ARMS][:arms], [f"class {c}" for c in range(classes)], "How alike")
    check_words(figure)
    assert len(table) == arms * classes * count * (count - 1) / 2
    assert ("one concept" in " ".join(text_of(figure))) == (count == 1)
    assert sum("−" in text or text[:2] in ("0.", "1.") for text in text_of(figure)) > 20 * (1 < count < 11)


def test_of_many_classes_the_first_matrices_are_shown():
    figure, table = ablation_plots.concept_matrices(matrices(1, 9), [[NAMES] * 9], ["arm"], [f"c{c}" for c in range(9)], "T")
    assert "T (the first 6 of 9 classes)" in text_of(figure) and table["class"].nunique() == 9


@pytest.mark.parametrize("cosines, names, words", [
    ([], [], "cosines of 0 arms and names of 0 for 1 arms"),
    ([[np.eye(2), np.eye(2)]], [[["a", "b"], ["a"]]], "class 'two' has names"),
    ([[np.eye(2), np.eye(3)[:2]]], [[["a", "b"], ["a", "b"]]], r"class 'two', are \(2, 3\); give a square matrix")])
def test_matrices_that_do_not_fit(cosines, names, words):
    with pytest.raises(ValueError, match=words):
        ablation_plots.concept_matrices(cosines, names, ["arm"], ["one", "two"], "title")


# --- trait pictures ---


def test_trait_grid_has_a_row_per_arm_and_a_column_per_class():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    names = [["eye", "eye 2", "superpixel 4"], ["a long name of the inner side", "nose", "superpixel 1"]]
    overlaps = np.array([[1, 0.5, 0.25], [1, 0, 0.125]])
    figure, table = ablation_plots.trait_grid(pictures, names, overlaps, [*ARMS][:3], ["cat", "dog"], "The same concept")
    check_words(figure)
    axes = np.array(figure.axes).reshape(3, 2)
    for a in range(3):
        for c in range(2):
            assert (axes[a, c].images[0].get_array() == pictures[c, a]).all()
    assert axes[1, 0].get_xlabel() == "eye 2, 50 % shared" and axes[0, 1].get_xlabel().startswith("a long name")
    assert table.values.tolist()[5] == ["dog", [*ARMS][2], "superpixel 1", 0.125]


def test_trait_grid_that_does_not_fit():
    with pytest.raises(ValueError, match=r"must begin with \(class, arm\) = \(1, 2\)"):
        ablation_plots.trait_grid(np.zeros((1, 3, 8, 8, 3)), [["a"] * 3], np.zeros((1, 3)), ["x", "y"], ["cat"], "title")


# --- differences ---


@pytest.mark.parametrize("arms", [[*ARMS], [*ARMS, *FURTHER], [ORTHOGONAL, "a long name of an arm of one’s own"]])
def test_differences_of_all_arms_can_be_read(arms):
    table = paired(arm_table(arms))
    figure, result = ablation_plots.difference_dots(table, "Differences")
    check_words(figure)
    assert len(result) == (len(arms) - 1) * len(MEASURES) and set(result.columns) - set(table.columns) == {"verdict"}


def test_colours_say_what_is_better():
    rows = [("nmi", 0.2), ("off-diagonal", 0.2), ("purity", -0.2), ("cosine", -0.2)]
    table = pd.DataFrame([{"arm": "a", "measure": name, "seeds": 5, "difference": value, "low": value - 0.1,
                           "high": value + 0.1, "t_low": value - 0.15, "t_high": value + 0.15}
                          for name, value in rows])
    table = pd.concat([table, table[:1].assign(arm="b", t_low=-0.1), table[:1].assign(arm="c", low=-0.1, t_low=-0.2),
                       table[:1].assign(arm="d", low=np.nan, high=np.nan, t_low=np.nan, t_high=np.nan)])
    figure, result = ablation_plots.difference_dots(table, "title")
    marks = {axis.get_title().split("\n")[0]: {round(line.get_ydata()[0]): (line.get_marker(), line.get_color())
                                               for line in axis.lines if line.get_marker() not in ("", "None")}
             for axis in figure.axes}
    assert marks["nmi"] == {0: ("^", ablation_plots.BETTER), 1: ("D", ablation_plots.SAME), 2: ("o", ablation_plots.SAME), 3: ("o", ablation_plots.SAME)}
    assert marks["off-diagonal"][0] == marks["purity"][0] == ("v", ablation_plots.WORSE)
    assert marks["cosine"][0] == ("^", ablation_plots.BETTER)
    assert result["verdict"].tolist() == ["higher", "higher", "lower", "lower", "undecided", NO_DIFFERENCE,
                                          "one seed, no interval"]
    assert [text.get_text() for text in figure.legends[0].get_texts()][2] == f"{NO_DIFFERENCE}, or one seed"
    assert text_of(figure).count("not measured") == 9


def test_no_differences_no_figure():
    with pytest.raises(ValueError, match="the table has no rows"):
        ablation_plots.difference_dots(paired(arm_table([ORTHOGONAL])), "title")


# --- cosines ---


def test_cosines_and_their_bound():
    table = arm_table(["a", "b"], 2, ("rms cosine", "rms cosine before", "lower bound", "nmi"))
    table.loc[table["measure"] == "lower bound", "value"] = [0, 0, 0.08, 0.08]
    figure, result = ablation_plots.cosine_dots(table, "Cosines")
    check_words(figure)
    axis = figure.axes[0]
    drawn = [sorted(line.get_xdata()) for line in axis.lines if line.get_marker() == "o"]
    of = lambda arm, name: sorted(table[(table["arm"] == arm) & (table["measure"] == name)]["value"])
    assert drawn == [of("a", "rms cosine before"), of("a", "rms cosine"), of("b", "rms cosine before"),
                     of("b", "rms cosine")]
    (bound,) = [line for line in axis.lines if line.get_marker() != "o"]
    assert list(bound.get_xdata()) == [0.08, 0.08] and list(bound.get_ydata()) == [0.6, 1.4]
    assert set(result["measure"]) == {"rms cosine", "rms cosine before", "lower bound"}
    with pytest.raises(ValueError, match="none of the measures rms cosine before"):
        ablation_plots.cosine_dots(table[table["measure"] == "nmi"], "title")
