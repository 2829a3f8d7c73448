"""Explorers without a browser, in which they are tried by `test_browser`: what a move of a control shows."""

import io
from datetime import UTC, datetime

import ipywidgets as widgets
import numpy as np
import pytest
from PIL import Image

from asxai.explain.rules import RULES
from asxai.traits.basis import moved_traits, trait_basis
from asxai.widgets import explorers, views
from asxai.widgets.views import THRESHOLDS

NOW = datetime.now(UTC)


@pytest.fixture
def shown(monkeypatch):
    """The figures that explorers display, in order."""
    figures = []
    monkeypatch.setattr(explorers, "display", lambda *drawn: figures.append(drawn[0]))
    monkeypatch.setattr(explorers, "_rendered", lambda figure: figure)
    return figures


@pytest.fixture
def trait_explorer(study, concepts, shown, fast):
    return explorers.trait_explorer(study, concepts, (study.class_names[0], "concept 1"), **fast)


# --- Traits ----------------------------------------------------------------------------------------------------------


def test_trait_explorer_follows_its_sliders(study, concepts, basis, fast, shown, controls, monkeypatch):
    made, start = [], (study.class_names[0], "concept 1")
    counted = lambda *given, **options: made.append(given[2:]) or trait_basis(*given, **options)
    monkeypatch.setattr(explorers, "trait_basis", counted)
    explorer = explorers.trait_explorer(study, concepts, start, **fast)
    moves = controls(explorer)
    assert not any(slider.continuous_update for slider in controls(explorer, widgets.FloatSlider).values())
    moves["component 2"].value = 2.0
    first, moved = (figure.axes[0].images[0].get_array() for figure in shown)
    assert (first != moved).any()
    np.testing.assert_array_equal(moved, views.to_uint8(moved_traits(study, basis, [[0, 2.0]]))[0])
    assert made == [start], "moving a slider makes no new basis"
    moves["class"].value = study.class_names[1]
    assert [name for name, _ in moves["concept"].options] == ["concept 1", "concept 3"]
    assert made[1:] == [(study.class_names[1], "concept 1")] and len(shown) == 3, "one change, one figure"
    assert moves["component 2"].value == 0, "which is another component now"
    moves["class"].value = study.class_names[0]
    assert len(made) == 2, "what was made is kept"


def test_sliders_go_back_to_the_start_in_one_move(trait_explorer, shown, controls):
    moves = controls(trait_explorer)
    moves["component 1"].value, moves["component 2"].value = 1.0, -2.0
    assert len(shown) == 3
    moves["Back to the start"].click()
    assert len(shown) == 4 and [moves[f"component {k}"].value for k in (1, 2)] == [0, 0]
    first, last = (shown[i].axes[0].images[0].get_array() for i in (0, 3))
    np.testing.assert_array_equal(first, last)
    assert "component 1" in shown[3].get_suptitle() and "component 1" not in shown[2].get_suptitle()
    moves["Back to the start"].click()
    assert len(shown) == 4, "they are there already"
    moves["component 1"].value = 0.5
    assert len(shown) == 5, "and it goes on from there"


def test_without_a_kernel_an_explorer_says_what_it_is(trait_explorer):
    plain = trait_explorer._repr_mimebundle_()["text/plain"]
    assert plain.startswith("Traits: controls that need a running kernel") and not plain.endswith("…")


def test_what_takes_long_can_be_stopped(study, concepts, fast, shown, controls, monkeypatch, capsys):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(explorers, "trait_basis", interrupted)
    explorer = explorers.trait_explorer(study, concepts, (study.class_names[0], "concept 1"), **fast)
    assert shown == [] and "Stopped" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr(explorers, "display", lambda picture: shown.append(picture))
    controls(explorer)["component 1"].value = 1.0
    (picture,) = shown
    assert Image.open(io.BytesIO(picture.data)).format == "JPEG"


# --- Rules -----------------------------------------------------------------------------------------------------------


def test_rule_explorer_follows_its_sliders(scored, shown, controls):
    sliders = controls(explorers.rule_explorer(*scored), widgets.FloatSlider)
    assert list(sliders) == list(THRESHOLDS.values())
    sliders[THRESHOLDS["sure"]].value = 0.4
    words = [text.data for text in shown if hasattr(text, "data")]
    assert words == [views.tiers_in_words(views.tier_shares(*scored, sure=sure)) for sure in (0.5, 0.4)]
    assert words[0] != words[1]


def test_rule_explorer_says_what_cannot_be(scored, shown, controls, capsys):
    moves = controls(explorers.rule_explorer(*scored))
    before, (low, high) = len(shown), (THRESHOLDS[name] for name in ("unsure", "probably"))
    moves[low].value = 0.6
    assert f"“{low}” (0.6) must not be above “{high}” (0.35)" in capsys.readouterr().out and len(shown) == before
    moves[low].value = 0.1
    assert len(shown) == before + 2  # it goes on from there


def test_thresholds_go_back_to_the_paper_s(scored, shown, controls, capsys):
    moves = controls(explorers.rule_explorer(*scored))
    for name in ("unsure", "probably", "sure"):  # on the way back no pair of them may be one that cannot be
        moves[THRESHOLDS[name]].value = 0.0
    moves[THRESHOLDS["majority"]].value = 1.0
    capsys.readouterr()
    before = len(shown)
    moves["Back to the start"].click()
    words = [text for text in shown if hasattr(text, "data")]
    assert len(shown) == before + 2 and words[-1].data == words[0].data
    assert "must not be" not in capsys.readouterr().out
    assert all(moves[label].value == getattr(RULES, name) for name, label in THRESHOLDS.items())


# --- Explanations ----------------------------------------------------------------------------------------------------


@pytest.fixture
def passes(explainer, monkeypatch):
    """How many pictures went through the network."""
    counted, real = [], explainer.look
    monkeypatch.setattr(explainer, "look", lambda pixels: counted.append(len(pixels)) or real(pixels))
    return counted


def test_concept_explorer_follows_its_controls(study, explainer, shown, passes, controls, capsys):
    whole = {path: explainer.explain(path) for path in study.data.train.paths}
    first, second = [path for path in study.data.train.paths if whole[path].masks.any()][:2]  # concepts are seen
    passes.clear()
    explorer = explorers.concept_explorer(explainer, {"first": first, "second": second})
    moves, said = controls(explorer), lambda: [text.data for text in shown if hasattr(text, "data")]
    assert moves["mask percentile"].value == 95.0 and not moves["mask percentile"].continuous_update
    moves["mask percentile"].value = 80.0
    assert said() == [views.scores_in_words(whole[first])] * 2, "masks are no scores"
    assert drawn_lines(shown[0]) != drawn_lines(shown[2]), "outlines are others"
    off = whole[first].judgement.concepts[0].name
    moves[off].value = False
    assert f"{off} " in said()[1] and f"{off} " not in said()[2]
    moves[off].value = True
    assert said()[3] == said()[1]
    assert passes == [1], "one pass through the network, whatever is switched"
    moves["picture"].value = "second"
    assert passes == [1, 1] and said()[4] == views.scores_in_words(whole[second])
    moves["picture"].value = "first"
    assert passes == [1, 1] and said()[5] == said()[3]
    for switch in [control for control in moves.values() if isinstance(control, widgets.ToggleButton)]:
        switch.value = False
    assert "All concepts are switched off" in capsys.readouterr().out


def drawn_lines(figure):
    """Vertices of all contours of a figure."""
    return [path.vertices.tolist() for axis in figure.axes for drawn in axis.collections for path in drawn.get_paths()]


def test_uploaded_pictures_are_explained(study, explainer, shown, controls):
    explorer = explorers.concept_explorer(explainer, views.examples(study, 1))
    moves, path = controls(explorer), study.data.test.paths[-1]
    upload = moves["Upload"]
    upload.value = uploaded("mine.png", path.read_bytes())
    assert moves["picture"].value == "mine.png"
    expected = views.scores_in_words(explainer.explain(path))
    assert shown[-1].data == expected
    (state,) = [part for part in everything(explorer) if isinstance(part, widgets.Label)]
    upload.value = uploaded("notes.txt", b"words")
    assert "notes.txt: no picture of a kind that can be read" in state.value and moves["picture"].value == "mine.png"
    small = io.BytesIO()
    Image.new("RGB", (4, 4)).save(small, "png")
    upload.value = uploaded("dot.png", small.getvalue())
    assert "dot.png" in state.value and "4 x 4 pixels are too few" in state.value


def uploaded(name, content):
    """What the browser makes of a file."""
    return ({"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": NOW},)


def everything(widget):
    return [widget, *(part for child in getattr(widget, "children", ()) for part in everything(child))]
