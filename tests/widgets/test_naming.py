"""Names that a person gives to concepts: pictures to name them by, and the file that keeps them."""

import json
from types import SimpleNamespace

import ipywidgets as widgets
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from asxai import paths
from asxai.concepts.cells import own_class_maps
from asxai.widgets import naming
from asxai.widgets.explorers import naming_widget

SIZE, SIDE = 96, 64


@pytest.fixture
def names(tmp_path, monkeypatch, study):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return tmp_path / "names" / f"{study.data.name}.json"


def test_names_are_written_and_carry_over(study, names):
    concepts = study.concepts()
    assert set(concepts.names) == {f"concept {k}" for k in range(1, concepts.count + 1)}
    wanted = [f"thing {'abcdefgh'[k]}" for k in range(concepts.count)]
    assert naming.write_names(study, concepts, wanted).names == tuple(wanted)
    assert study.concepts().names == tuple(wanted), "also for the next call"
    again = naming.write_names(study, study.concepts(), ["first", *[""] * (concepts.count - 1)])
    assert again.names[0] == "first" and again.names[1:] == concepts.names[1:], "what was there is replaced"
    assert len(json.loads(names.read_text())["concepts"]) == concepts.count
    with pytest.raises(ValueError, match=r"names=\['one'\] must be \d, one for each concept"):
        naming.write_names(study, concepts, ["one"][:1] if concepts.count > 1 else [])


def test_names_by_number_leave_the_others_as_they_are(study, names):
    concepts = study.concepts()
    assert concepts.count >= 2
    named = naming.write_names(study, concepts, {"1": "stripe", 2: "dot"})  # a notebook's parameters have texts
    assert named.names[:2] == ("stripe", "dot") and named.names[2:] == concepts.names[2:]
    assert naming.write_names(study, named, {"concept 2": "ring"}).names[:2] == ("stripe", "ring")
    for odd in ("0", concepts.count + 1, "dot", "concept x"):
        with pytest.raises(ValueError, match=f"names: {odd!r} is no number of a concept; use 1 to {concepts.count}"):
            naming.write_names(study, concepts, {odd: "x"})
    assert study.concepts().names[:2] == ("stripe", "ring")


def test_naming_widget_writes_what_is_in_its_fields(study, names, controls):
    concepts = study.concepts()
    widget = naming_widget(study, concepts, count=3)
    fields, buttons = controls(widget, widgets.Text), controls(widget, widgets.Button)
    assert len(fields) == concepts.count
    fields["concept 1"].value = "  stripe of colour "
    buttons["Write names"].click()
    assert study.concepts().names[0] == "stripe of colour"
    (state,) = [child for row in widget.children for child in row.children if isinstance(child, widgets.Label)]
    assert "stripe of colour" in state.value


def test_strips_take_turns_between_classes(study, concepts):
    strips = naming.concept_strips(study, concepts, count=4, side=SIDE)
    assert [strip.shape for strip in strips] == [(SIDE, 4 * SIDE, 3)] * 3
    maps = own_class_maps(study, study.data.train)
    best = concepts.exemplars(maps, study.data.train.labels, 2)
    for place, (label, rank) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        picture = study.pictures([study.data.train.paths[best.pictures[label, 0, rank]]])[0]
        top, left = np.clip(np.round(best.points[label, 0, rank] * SIZE - SIDE / 2), 0, SIZE - SIDE).astype(int)
        shown = strips[0][:, place * SIDE : (place + 1) * SIDE - 2]
        index = best.pictures[label, 0, rank]
        mask = concepts.masks(maps[[index]], [label], SIZE)[0, 0].numpy()
        mask = mask[top : top + SIDE, left : left + SIDE]
        rim = (binary_dilation(mask, np.ones((5, 5))) & ~mask)[:, :-2]
        expected = np.where(rim[..., None], [255, 212, 0], picture[top : top + SIDE, left : left + SIDE - 2])
        assert rim.any() and not rim.all()
        np.testing.assert_array_equal(shown, expected)
        assert (strips[0][:, (place + 1) * SIDE - 2 : (place + 1) * SIDE] == 255).all()


def test_named_by_part_masks():
    named = SimpleNamespace(data=SimpleNamespace(name="drawn", validation=SimpleNamespace(parts=("mask.png",))))
    with pytest.raises(ValueError, match="concepts of 'drawn' are named by its part masks"):
        naming_widget(named, None)


def test_names_that_two_concepts_share_are_given_back_as_they_were(study, names, controls):
    concepts = study.concepts()
    written = naming.write_names(study, concepts, {1: "left_wing", 2: "left wing"})
    assert written.names[:2] == ("left wing", "left wing 2")
    widget = naming_widget(study, written, count=2)
    fields = controls(widget, widgets.Text)
    assert [fields[f"concept {k}"].value for k in (1, 2)] == ["left wing", "left wing"]
    assert naming.write_names(study, written, {1: "left_wing"}).names[:2] == ("left wing", "left wing 2")
    assert [entry["name"] for entry in json.loads(names.read_text())["concepts"]][:2] == ["left wing"] * 2
