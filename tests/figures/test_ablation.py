"""The figures of the ablation: tables hold what was given, drawings what the tables hold, and no words overlap."""

import numpy as np
import pandas as pd
import pytest
from helpers import (
    check_words,
    styled_figures,  # noqa: F401 (a fixture)
    text_of,
)

from asxai.benchmarks.ablation import ARMS, FURTHER, MEASURES, NO_DIFFERENCE, ORTHOGONAL, paired, verdict
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
    return pd.DataFrame(
        [
            {
                "settings": "",
                "arm": arm,
                "seed": s,
                "measure": name,
                "value": rng.random(),
                "low": np.nan,
                "high": np.nan,
            }
            for arm in arms
            for s in range(seeds)
            for name in measures
        ]
    )


# --- matrices ---


def test_matrices_are_white_at_zero_and_grey_on_the_diagonal():
    cosines = [[np.array([[1, 0, -1.0], [0, 1, 1], [-1, 1, 1]])]]
    figure, table = ablation_plots.concept_matrices(cosines, [[["a", "b", "c"]]], ["an arm"], ["class"], "title")
    image = figure.axes[0].collections[0]
    assert image.cmap(image.norm(0.0)) == (1, 1, 1, 1)
    assert image.get_clim() == (-1, 1)
    assert (np.ma.getmaskarray(image.get_array()) == np.eye(3)).all()
    assert table.values.tolist() == [
        ["an arm", "class", "a", "b", 0],
        ["an arm", "class", "a", "c", -1],
        ["an arm", "class", "b", "c", 1],
    ]
    assert "an arm\nmean |cosine| 0.67" in text_of(figure) and {"0.0", "−1.0", "1.0"} <= set(text_of(figure))


@pytest.mark.parametrize("arms, classes, count", [(4, 2, 4), (2, 3, 7), (1, 1, 1), (2, 2, 13)])
def test_matrices_with_words_that_do_not_overlap(arms, classes, count):
    names = [f"{NAMES[k % 4]} {k}" for k in range(count)]
    figure, table = ablation_plots.concept_matrices(
        matrices(arms, classes, count),
        [[names] * classes] * arms,
        [*ARMS][:arms],
        [f"class {c}" for c in range(classes)],
        "How alike",
    )
    check_words(figure)
    assert len(table) == arms * classes * count * (count - 1) / 2
    assert ("one concept" in " ".join(text_of(figure))) == (count == 1)
    assert sum("−" in text or text[:2] in ("0.", "1.") for text in text_of(figure)) > 20 * (1 < count < 11)


def test_of_many_classes_the_first_matrices_are_shown():
    figure, table = ablation_plots.concept_matrices(
        matrices(1, 9), [[NAMES] * 9], ["arm"], [f"c{c}" for c in range(9)], "T"
    )
    assert "T (the first 6 of 9 classes)" in text_of(figure) and table["class"].nunique() == 9


# --- trait pictures ---


def test_trait_grid_has_a_row_per_arm_and_a_column_per_class():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    names = [["eye", "eye 2", "superpixel 4"], ["a long name of the inner side", "nose", "superpixel 1"]]
    overlaps = np.array([[1, 0.5, 0.25], [1, 0, 0.125]])
    figure, table = ablation_plots.trait_grid(
        pictures, names, overlaps, [*ARMS][:3], ["cat", "dog"], "The same concept"
    )
    check_words(figure)
    axes = np.array(figure.axes).reshape(3, 2)
    for a in range(3):
        for c in range(2):
            assert (axes[a, c].images[0].get_array() == pictures[c, a]).all()
    assert axes[1, 0].get_xlabel() == "eye 2, 50 % shared" and axes[0, 1].get_xlabel().startswith("a long name")
    assert table.values.tolist()[5] == ["dog", [*ARMS][2], "superpixel 1", 0.125]


# --- differences ---


def judged(table):
    return table.assign(verdict=table.apply(verdict, axis=1))


@pytest.mark.parametrize("arms", [[*ARMS], [*ARMS, *FURTHER], [ORTHOGONAL, "a long name of an arm of one’s own"]])
def test_differences_of_all_arms_can_be_read(arms):
    table = judged(paired(arm_table(arms)))
    figure, result = ablation_plots.difference_dots(table, MEASURES, "Differences")
    check_words(figure)
    assert result is table and len(figure.axes) == len(MEASURES)


def test_colours_say_what_is_better():
    rows = [("nmi", 0.2), ("off-diagonal", 0.2), ("purity", -0.2), ("cosine", -0.2)]
    table = pd.DataFrame(
        [
            {
                "arm": "a",
                "measure": name,
                "seeds": 5,
                "difference": value,
                "low": value - 0.1,
                "high": value + 0.1,
                "t_low": value - 0.15,
                "t_high": value + 0.15,
            }
            for name, value in rows
        ]
    )
    table = pd.concat(
        [
            table,
            table[:1].assign(arm="b", t_low=-0.1),
            table[:1].assign(arm="c", low=-0.1, t_low=-0.2),
            table[:1].assign(arm="d", low=np.nan, high=np.nan, t_low=np.nan, t_high=np.nan),
        ]
    )
    figure, result = ablation_plots.difference_dots(judged(table), MEASURES, "title")
    marks = {
        axis.get_title().split("\n")[0]: {
            round(line.get_ydata()[0]): (line.get_marker(), line.get_color())
            for line in axis.lines
            if line.get_marker() not in ("", "None")
        }
        for axis in figure.axes
    }
    look = {name: (style["marker"], style["color"]) for name, style in ablation_plots.VERDICTS.items()}
    same = look[ablation_plots.NO_DIFFERENCE]
    assert marks["nmi"] == {0: look["better"], 1: look["undecided"], 2: same, 3: same}
    assert marks["off-diagonal"][0] == marks["purity"][0] == look["worse"]
    assert marks["cosine"][0] == look["better"]
    assert result["verdict"].tolist() == [
        "higher",
        "higher",
        "lower",
        "lower",
        "undecided",
        NO_DIFFERENCE,
        "one seed, no interval",
    ]
    assert ablation_plots.NO_DIFFERENCE == f"{NO_DIFFERENCE}, or one seed"
    assert text_of(figure).count("not measured") == 9


# --- cosines ---


def test_cosines_and_their_bound():
    table = arm_table(["a", "b"], 2, ("rms cosine", "rms cosine before", "lower bound", "nmi"))
    table.loc[table["measure"] == "lower bound", "value"] = [0, 0, 0.08, 0.08]
    figure, result = ablation_plots.cosine_dots(table, "Cosines")
    check_words(figure)
    axis = figure.axes[0]
    drawn = {}
    for line in axis.lines:
        key = round(float(line.get_ydata()[0])), line.get_fillstyle() if line.get_marker() == "o" else line.get_marker()
        drawn.setdefault(key, []).append(line.get_xdata()[0])
    of = lambda arm, name: table[(table["arm"] == arm) & (table["measure"] == name)]["value"].tolist()
    expected = {
        (y, look): of(arm, name)
        for y, arm in enumerate("ab")
        for look, name in (("none", "rms cosine before"), ("full", "rms cosine"))
    }
    assert drawn == expected | {(1, "|"): [0.08]}
    pd.testing.assert_frame_equal(result, table.loc[table["measure"] != "nmi", list(result)].reset_index(drop=True))
