"""What an explanation says as a dict, what it saves, and how a notebook shows it."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

KEYS = set(
    "predicted probability tier score sentence assurance other settled words classes concepts class_probabilities pcs "
    "concept_probabilities similarity mask_pixels mask_files exemplars whole network".split()
)


def test_to_dict_has_all_numbers_and_texts(study, concepts, explanations):
    for one in explanations:
        values = json.loads(json.dumps(one.to_dict(), allow_nan=False))
        assert values.keys() == KEYS
        for key in ("predicted", "probability", "tier", "sentence", "assurance"):
            assert values[key] == getattr(one, key)
        assert values["classes"] == list(study.class_names) and values["concepts"] == list(concepts.names)
        assert values["class_probabilities"] == one.class_probabilities.tolist()
        for key, array in (("pcs", one.scores), ("concept_probabilities", one.concept_probabilities)):
            np.testing.assert_allclose(np.array(values[key], dtype=float), array, atol=1e-6)  # None becomes NaN
        assert values["pcs"][0][3] is None and values["pcs"][1][2] is None
        np.testing.assert_allclose(values["similarity"], one.similarity, atol=1e-6)
        assert values["mask_pixels"] == one.masks.sum(axis=(1, 2)).tolist()
        assert values["exemplars"] == list(one.exemplar_sources)
        assert (values["other"], values["settled"]) == (one.judgement.other, one.judgement.settled)
        assert [tuple(word.values()) for word in values["words"]] == [tuple(c) for c in one.judgement.concepts]
        assert values["words"][0].keys() == {"name", "pcs", "delta", "found", "position", "semanteme"}


def test_save_writes_what_it_says(explanations, tmp_path):
    one = next(one for one in explanations if one.masks.any(axis=(1, 2)).sum() >= 2)
    folder = one.save(str(tmp_path / "some" / "folder"))
    assert folder == tmp_path / "some" / "folder"
    seen = {f"mask_{k}_{name}.png": mask for k, (name, mask) in enumerate(zip(one.names, one.masks), 1) if mask.any()}
    whole = {file.replace("mask", "whole", 1) for file in seen}
    files = {"explanation.json", "panel.png", "picture.png", "whole.jpg", *seen, *whole}
    assert {path.name for path in folder.iterdir()} == files
    values = json.loads((folder / "explanation.json").read_text())
    assert values == json.loads(json.dumps(one.to_dict()))
    assert [file for file in values["mask_files"] if file] == list(seen)
    assert [file is not None for file in values["mask_files"]] == [pixels > 0 for pixels in values["mask_pixels"]]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "picture.png")), one.picture)
    for file, mask in seen.items():
        np.testing.assert_array_equal(np.asarray(Image.open(folder / file)), mask * 255)
    assert min(Image.open(folder / "panel.png").size) > 100
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    one.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    plain = one.save(tmp_path / "plain", drawn=False, note="of mine")
    assert {path.name for path in plain.iterdir()} == files - {"panel.png", "whole.jpg"}
    assert json.loads((plain / "explanation.json").read_text()) == values | {"note": "of mine"}


def test_files_of_another_explanation_do_not_stay(explanations, tmp_path):
    """Those that were saved there before go; what somebody else put there does not."""
    files = lambda one: {file for file in one.to_dict()["mask_files"] if file}
    first, second = next((a, b) for a in explanations for b in explanations if files(a) - files(b))
    first.save(tmp_path)
    (tmp_path / "mask_of_mine.png").write_text("mine")
    second.save(tmp_path)
    assert {path.name for path in tmp_path.glob("mask_*")} == files(second) | {"mask_of_mine.png"}
    assert len(list(tmp_path.glob("whole_*"))) == len(files(second))
    assert {"panel.png", "whole.jpg"} <= {path.name for path in tmp_path.iterdir()}
    replace(first, whole=None).save(tmp_path)
    assert (tmp_path / "panel.png").exists() and not list(tmp_path.glob("whole*"))
    second.save(tmp_path, drawn=False)
    assert {path.name for path in tmp_path.iterdir() if "mask_" not in path.name and "whole_" not in path.name} == {
        "explanation.json",
        "picture.png",
    }


def test_save_where_no_folder_can_be(explanations, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ValueError, match="file' cannot be made .*; give another"):
        explanations[3].save(tmp_path / "file")
    assert repr(explanations[3]) == f"Explanation({explanations[3].sentence!r})"


def test_a_save_that_breaks_off_leaves_whole_files(explanations, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in explanations[3].save(tmp_path).iterdir()}

    def half(path, **options):
        Path(path).write_bytes(b"half a file")
        raise OSError("no room")

    monkeypatch.setattr(explanations[3].figure(), "savefig", half)
    with pytest.raises(OSError, match="no room"):
        explanations[3].save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(OSError, match="no room"):
        explanations[3].save(tmp_path / "new")
    assert not (tmp_path / "new" / "explanation.json").exists()  # it comes last, and says that all is there
    assert not list((tmp_path / "new").glob("*panel*"))


def test_names_of_concepts_are_no_paths(explanations, tmp_path):
    one = next(one for one in explanations if one.masks[:2].any(axis=(1, 2)).all())
    renamed = replace(one, names=("ear/inside", "inside", "nose", "tail tip"))
    files = sorted(path.name for path in renamed.save(tmp_path).glob("mask_*"))
    assert files[:2] == ["mask_1_ear-inside.png", "mask_2_inside.png"]
    assert len(files) == one.masks.any(axis=(1, 2)).sum()


def test_a_notebook_shows_the_panel_and_the_sentence(explanations):
    bundle = explanations[3]._repr_mimebundle_(include=None, exclude=None)
    assert bundle.keys() == {"image/jpeg", "text/plain"} and bundle["text/plain"] == explanations[3].sentence
    panel = Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"])))
    assert panel.format == "JPEG" and min(panel.size) > 100 and np.asarray(panel).std() > 10
    assert plt.get_fignums() == []  # pyplot would show it again
    assert explanations[3].figure() is explanations[3].figure() and len(explanations[3].table())
