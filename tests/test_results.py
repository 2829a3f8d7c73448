"""Claims and figures as files."""

import hashlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from asxai import paths, results


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    return tmp_path


def test_a_claim_is_mean_spread_and_verdict():
    row = results.claim("test_accuracy", [0.9, 1.0, 0.8], paper=0.98, holds=False)
    assert row == {"claim": "test_accuracy", "paper": 0.98, "here": 0.9, "spread": 0.1, "seeds": 3, "holds": "no"}
    assert results.claim("x", 0.5)["spread"] == "" and results.claim("x", 0.5)["holds"] == ""
    assert results.claim("x", 0.5, holds=np.bool_(True))["holds"] == "yes"


def test_a_table_that_is_empty_is_a_sentence():
    assert results.shown(pd.DataFrame(), "*not yet*").data == "*not yet*"
    assert results.shown(pd.DataFrame(columns=["x"]), "none").data == "none"
    table = results.shown(pd.DataFrame({"x": [0.12345, np.nan], "name": ["a", None]}), "none")
    assert table.values.tolist() == [[0.123, "a"], ["–", "–"]]


def test_claims_of_one_notebook_leave_those_of_others_alone(figures):
    results.record_claims("d", "02_b", [results.claim("second", 2)])
    results.record_claims("d", "01_a", [results.claim("first", 1), results.claim("gone", 5)])
    results.record_claims("d", "01_a", [results.claim("first", 3)])
    table = results.read_claims("d")
    assert list(table.columns) == results.CLAIM_COLUMNS
    assert table[["notebook", "claim", "here"]].values.tolist() == [["01_a", "first", "3.0"], ["02_b", "second", "2.0"]]
    assert results.read_claims("none").empty


def test_a_figure_is_saved_with_its_table_and_twice_the_same(figures):
    def digest():
        figure, axis = plt.subplots()
        axis.plot([1, 2])
        results.save_figure(figure, pd.DataFrame({"x": [1, 2], "y": [0.123456, 2]}), "d", "01_line")
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((figures / "d").glob("01_line.*"))]

    first = digest()
    assert len(first) == 3 and digest() == first
    assert pd.read_csv(figures / "d" / "01_line.csv")["y"].tolist() == [0.1235, 2]
    assert not plt.get_fignums()
    assert results.kept_figure("d", "01_line").data == (figures / "d" / "01_line.png").read_bytes()
    with pytest.raises(FileNotFoundError, match="01_dots.png: there is no such figure yet"):
        results.kept_figure("d", "01_dots")


def test_a_folder_of_pictures_is_never_written_to(figures, tmp_path_factory):
    pictures = tmp_path_factory.mktemp("holiday pictures 2024")
    results.save_table(pd.DataFrame({"x": [1]}), str(pictures), "02_prototypes_great tit")
    results.record_claims(str(pictures), "01_a", [results.claim("first", 1)])
    assert not list(pictures.iterdir())
    written = sorted(p.name for p in figures.glob("holiday-pictures-2024*/*"))
    assert written == [f"{paths.slug('02_prototypes_great tit')}.csv", "claims.csv"]


def test_a_short_run_renews_its_own_seed_and_keeps_the_others(figures):
    first = results.save_seeds(pd.DataFrame({"seed": [0, 1, 2], "value": [0.1, 0.2, 0.3]}), "d", "01_seeds")
    assert first["value"].tolist() == [0.1, 0.2, 0.3]
    again = results.save_seeds(pd.DataFrame({"seed": [1, 1], "value": [0.5, 0.6]}), "d", "01_seeds")
    assert again.values.tolist() == results.read_table("d", "01_seeds").values.tolist()
    assert again.values.tolist() == [[1, 0.5], [1, 0.6], [0, 0.1], [2, 0.3]]
    empty = results.save_seeds(pd.DataFrame(columns=["seed", "value"]), "d", "02_none")
    assert empty.empty and results.read_table("d", "02_none").empty


def test_few_pictures_are_named_beside_claims():
    assert results.few_pictures(50) == ""
    assert results.few_pictures(4).startswith("**These numbers rest on 4 test pictures**, of which one is 25 points.")
