"""The one table of all claims: figures/README.md."""

import re
import subprocess

import numpy as np
import pandas as pd
import pytest

from asxai import paths, results
from asxai.benchmarks import claims, common_traits, prototypes, sensitivity, trustworthy
from asxai.run.plan import MENAGERIE


def committed(*arguments):
    done = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else pytest.skip("not committed, or no git is here")


def test_the_pages_have_the_claims_as_committed(tmp_path):
    """As committed: on another machine `make figures` may give other last digits, which is no fault of the pages."""
    for file in committed("ls-files", "figures/*/claims.csv").split():
        copy = tmp_path / file.removeprefix("figures/")
        copy.parent.mkdir()
        copy.write_text(committed("show", f"HEAD:{file}"))
    assert set(MENAGERIE) <= set(claims.groups(tmp_path)["drawn pictures"])
    for name, write in claims.PAGES.items():
        page = committed("show", f"HEAD:{name}")
        assert write(page, tmp_path) == page, f"run `make results` and commit {name}"
        assert claims.unfounded(page, tmp_path) == [], f"mend sentences of {name}"
    assert claims.CONDITION.search(committed("show", "HEAD:figures/README.md"))
    with pytest.raises(ValueError, match="must have its marks"):
        claims.headlines("no marks", tmp_path)


def test_the_page_names_the_targets_that_the_code_has():
    text = " ".join((paths.ROOT / "figures" / "README.md").read_text(encoding="utf-8").split())
    percent = lambda share: f"{100 * share:.0f} %"
    targets = {name: f"{prototypes.MEASURES[name][1]:.2f}" for name in ("nmi", "purity", "consistency")}
    targets = [f"agreement {targets['nmi']}, purity {targets['purity']}, consistency {targets['consistency']}"]
    targets += [f"order in halves {sensitivity.AGREEMENT_TARGET:g}, specificity {common_traits.DIAGONAL_TARGET:g}"]
    targets += [f"sure answers {percent(trustworthy.SURE_TARGET)} right"]
    targets += [f"on at least {percent(trustworthy.COVERAGE_TARGET)} of clean pictures"]
    targets += [f"not sure on {percent(trustworthy.NOT_SURE_TARGET)} of confusing ones"]
    assert [target for target in targets if re.sub(r"\b0\.", ".", target) not in text] == []
    assert common_traits.SPEED_TARGET == 10 and "inversion ten times as fast" in text


def test_the_ten_leave_out_a_data_set_that_has_none_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    results.record_claims("menagerie-one", "02_b", [results.claim("concept_nmi", 0.25)])
    results.record_claims("menagerie-two", "11_m", [results.claim("methods_compared", 3)])
    page = claims.headlines("<!-- ten claims: written by `make results` -->\n<!-- end of claims -->\n")
    assert "menagerie-one" in page and "0.25" in page and "menagerie-two" not in page


def test_a_table_has_a_row_per_claim_and_a_column_per_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    results.record_claims("one", "02_b", [results.claim("z", 0.25)])
    results.record_claims("one", "01_a", [results.claim("x", [1, 2], "big", True), results.claim("y", 3)])
    results.record_claims("menagerie-two", "01_a", [results.claim("x", 0.5, "big", False)])
    results.record_claims("menagerie-one", "01_a", [results.claim("x", 0.25, "big") | {"spread": "[0, 1]"}])
    assert claims.groups() == {"drawn pictures": ["menagerie-one", "menagerie-two"], "photographs": ["one"]}
    assert claims.markdown(["one", "menagerie-two"]).splitlines() == [
        "| notebook | claim | paper | one | menagerie-two |",
        "|---|---|---|---|---|",
        "| 01_a | `x` | big | 1.5 ± 0.7071 ✓ | 0.5 ✗ |",
        "| 01_a | `y` |  | 3.0 |  |",
        "| 02_b | `z` |  | 0.25 |  |",
    ]
    mark = "<!-- claims of {}: written by `make results` -->\n{}<!-- end of claims -->"
    page = "text\n" + "\nmore\n".join(mark.format(kind, "old\n") for kind in ("drawn pictures", "photographs"))
    new = claims.renewed(page)
    assert new == claims.renewed(new) and "old" not in new and new.startswith("text\n<!-- claims of drawn")
    assert "| 01_a | `x` | big | 0.25 [0, 1] | 0.5 ✗ |\n" in new and "\nmore\n" in new
    with pytest.raises(ValueError, match="must have marks, as .* for drawn pictures, photographs"):
        claims.renewed(page.replace("photographs", "paintings"))


def test_numbers_and_conditions_in_the_text(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    results.record_claims("one", "01_a", [results.claim("x", 0.456), results.claim("x: hidden", 1)])
    results.record_claims("menagerie-two", "01_a", [results.claim("x", -0.204), results.claim("y", 12.5)])
    mark = "<!-- claims of {}: written by `make results` --><!-- end of claims -->"
    mark = "\n".join(mark.format(kind).replace("><", ">\n<") for kind in ("drawn pictures", "photographs"))
    text = "From .3<!-- x of one --> and 0<!-- x: hidden of one -->\nto 7<!-- x of menagerie-two -->, 2 of 3.\n"
    new = "From .46<!-- x of one --> and 1.0<!-- x: hidden of one -->\nto -.20<!-- x of menagerie-two -->, 2 of 3.\n"
    assert claims.renewed(text + mark, tmp_path).startswith(new)
    with pytest.raises(ValueError, match="asks for `z` of one, which has no such claim"):
        claims.renewed("1<!-- z of one -->" + mark, tmp_path)
    text = "A. <!-- if x > .4 of one, menagerie-two --> B.<!-- if x: hidden < y of menagerie-two, one -->"
    with pytest.raises(ValueError, match="asks for `x: hidden` of menagerie-two"):
        claims.unfounded(text, tmp_path)
    text = text.replace("y of menagerie-two, one", "x of one") + " C. <!-- if x < y of menagerie-two -->"
    assert claims.unfounded(text, tmp_path) == [
        "x > .4 of menagerie-two: -0.204, 0.4",
        "x: hidden < x of one: 1, 0.456",
    ]


def test_claims_over_seeds():
    others = pd.DataFrame({"seed": [1, 2], "x": [0.8, 0.6], "y": [np.nan, 0.5]})
    row = claims.claim_over_seeds(others, "x", 1.0, "high", lambda mean: mean > 0.8)
    assert (row["here"], row["spread"], row["seeds"], row["holds"], row["paper"]) == (0.8, 0.2, 3, "no", "high")
    assert claims.over_seeds(others, "y", 1.0) == [1.0, 0.5] and claims.over_seeds(others, "z", 1.0) == [1.0]
    assert claims.claim_over_seeds(pd.DataFrame(), "x", 0.9)["holds"] == ""
    table = claims.seed_row(3, [row, claims.claim_over_seeds(others, "y", 1.0)])
    assert table.to_dict("records") == [{"seed": 3, "x": 0.8, "y": 0.75}]
