"""Measures at part points of a folder of pictures, against scikit-learn and with planted points."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers import QUICK, picture_folder
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import asxai
from asxai.benchmarks import points
from asxai.benchmarks.prototypes import OURS
from asxai.concepts.cells import own_class_maps
from asxai.concepts.names import name_by_points, names_file, read_names, study_concepts
from asxai.concepts.points import part_points, points_file
from asxai.data.pictures import DataError
from asxai.methods import METHODS


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of a folder of squares and stripes; in each picture two points of each of three parts."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("points")
        patch.setattr("asxai.paths.DATA", folder / "data")
        pictures, rng = picture_folder(folder / "shapes"), np.random.default_rng(0)
        lines = [
            f"{path.relative_to(pictures).as_posix()},{part},{x:.3f},{y:.3f}"
            for path in sorted(pictures.glob("*/*.png"))
            for part in ("low", "middle", "top")
            for x, y in rng.random((2, 2))
        ]
        (pictures / "points.csv").write_text("\n".join(["picture,part,x,y", *lines]))
        parameters = QUICK | dict(backbone="resnet18", weights="random", last_stage="layer2", size=64)
        yield asxai.Study.train(pictures, folder=folder / "study", **parameters)


@pytest.fixture(scope="module")
def table(study):
    return points.measures_of([study], OURS, *points.COMPARED)


def test_every_method_is_asked_for_what_it_has(table):
    asked = {method: set(rows["measure"]) for method, rows in table.groupby("method")}
    both, pooled = {"nmi", "ari"}, {"nmi pooled", "ari pooled"}
    assert asked == {
        OURS: set(points.MEASURES),
        "k-means": both,
        "tied mixture": both,
        "k-means over all classes": both | pooled,
    }
    assert (table["low"] <= table["high"]).all() and table["value"].between(-0.5, 1).all()
    assert list(dict.fromkeys(table["measure"])) == list(points.MEASURES)


@pytest.mark.parametrize("name", [OURS, "k-means over all classes"])
def test_agreement_at_points_against_scikit_learn(study, table, name):
    split = study.data.test
    at, winners = part_points(split), METHODS[name]().fit(study).matched_winners(split)
    row, column = (at.places * 28).astype(int).T
    won, labels = winners[at.pictures, row, column], split.labels[at.pictures]
    rows = table[table["method"] == name].set_index("measure")["value"]
    for measure, of in (("nmi", normalized_mutual_info_score), ("ari", adjusted_rand_score)):
        per_class = [of(at.parts[labels == k], won[labels == k]) for k in range(2)]
        assert rows[measure] == pytest.approx(np.mean(per_class)) and rows[f"{measure} pooled"] == pytest.approx(
            of(at.parts, won)
        )


def test_names_are_suggested_by_points_of_training_pictures_and_can_be_changed(study):
    concepts, path = study_concepts(study), names_file(study.data.name)
    at = part_points(study.data.train)
    own = concepts.winners(own_class_maps(study, study.data.train), study.data.train.labels)
    suggested = name_by_points(at.counts(own, concepts.count).sum(axis=0), at.names)
    written = lambda: tuple(entry["name"] for entry in json.loads(path.read_text())["concepts"])
    assert written() == suggested


def test_suggested_names_follow_the_points_until_a_person_changes_them(study):
    """A typo in points.csv is mended; a file that cannot be read is told, and no name is lost."""
    file, concepts, path = points_file(study.data.train), study_concepts(study), names_file(study.data.name)
    before, names, written = file.read_text(), path.read_text(), lambda: [name for name, _ in read_names(path)]
    everywhere = concepts.winners(own_class_maps(study, study.data.train), study.data.train.labels)
    k = int(everywhere[0].max())  # one concept has all points of a part
    row, column = (int(at[0]) for at in np.nonzero(everywhere[0] == k))
    picture = study.data.train.paths[0].relative_to(file.parent).as_posix()
    text = lambda part: f"picture,part,x,y\n{picture},{part},{(column + 0.5) / 28},{(row + 0.5) / 28}\n"
    try:
        for part in ("beek", "beak"):
            file.write_text(text(part))
            assert study_concepts(study).names[k - 1] == part and part in written()
        path.write_text(path.read_text().replace('"name": "beak"', '"name": "my own"'))
        file.write_text(text("bill"))
        assert study_concepts(study).names[k - 1] == "my own" and "bill" not in written()
        path.write_text(names)
        file.write_text(text("beak").replace("picture,", "file,", 1))
        with pytest.raises(DataError, match="points.csv: no column picture. Its first line is picture,part,x,y"):
            study_concepts(study)
        assert path.read_text() == names
        path.write_text(names[:-3])
        with pytest.raises(ValueError, match=f"{path.name} is no file of names"):
            study_concepts(study)
    finally:
        file.write_text(before)
        path.write_text(names)


def test_a_name_needs_half_of_the_points_and_doubles_are_numbered():
    counts = np.array([[9, 9, 9], [8, 1, 0], [3, 0, 0], [2, 2, 1], [0, 0, 0], [0, 1, 4]])
    assert name_by_points(counts, ("a", "b", "c")) == ("a", "a 2", "", "", "c")


def test_without_points_there_is_nothing(study, tmp_path, monkeypatch):
    monkeypatch.setattr(points, "part_points", lambda split: None)
    table = points.measures_of([study], OURS, "k-means")
    assert table.empty and points.claims(table) == []


def test_claims_are_means_over_seeds(table):
    second = table.assign(seed=1, value=table["value"] + 0.1)
    rows = {row["claim"]: row for row in points.claims(pd.concat([table, second]))}
    assert list(rows) == list(points.CLAIMS)
    for name, (method, measure) in points.CLAIMS.items():
        value = table[(table["method"] == method) & (table["measure"] == measure)]["value"].item()
        assert rows[name]["here"] == pytest.approx(value + 0.05, abs=1e-4) and rows[name]["seeds"] == 2
