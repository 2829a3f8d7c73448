"""`make results`: every claim of every notebook in the tables of figures/README.md, ten of them in README.md.

The texts of figures/README.md and data/README.md rest on claims, too. They are written by hand. Between two marks
stands a table, which is written anew:

    <!-- claims of drawn pictures: written by `make results` -->
    <!-- end of claims -->

A number before a mark is a claim's value, and is written anew as well. A condition says what a sentence rests on: the
first is for "better than k-means", the second for "meets its target on pets".

    they do so in .70<!-- sentence_causality of menagerie-pets --> of them
    <!-- if concept_nmi > kmeans_nmi of menagerie-pets, menagerie-wild -->
    <!-- if sentence_causality: Sobol index > .8 of menagerie-pets -->
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from .. import paths, results

TABLES = re.compile(r"(<!-- claims of ([\w ]+): written by `make results` -->\n).*?(<!-- end of claims -->)", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])-?\d*\.?\d+(<!-- (?!if )([^>]+) of ([\w-]+) -->)")
CONDITION = re.compile(r"<!-- if ((?:(?!-->).)+) ([<>]) ((?:(?!-->).)+) of ([\w, -]+) -->")
MARKS = {"yes": " ✓", "no": " ✗", "": ""}
TEN = re.compile(r"(<!-- ten claims: written by `make results` -->\n).*?(<!-- end of claims -->)", re.DOTALL)
# what README.md shows, in words
HEADLINES = {
    "test_accuracy": "explaining costs no accuracy",
    "offdiag_cosine_before_replacement": "basis vectors are orthogonal (mean cosine) ...",
    "offdiag_cosine": "... also once patches replace them",
    "concept_nmi": "concepts agree with true parts (NMI; target .65) ...",
    "kmeans_nmi": "... k-means on the same features, to compare",
    "rank_vs_causal": "rank says what matters (Spearman with the logit's drop)",
    "shapley_agreement_as_xai": "maps of concepts say what matters (Spearman with Shapley values)",
    "hybrid_parents_all_kinds": "the best classes are all parents of a hybrid (share, all kinds)",
    "sure_accuracy": "“I am sure” is right",
    "not_sure_where_softmax_is_wrong": "“not sure” where the softmax is sure (above .9), but wrong",
}


def over_seeds(others: pd.DataFrame, name: str, value: float) -> list[float]:
    """The value of one seed and those of other seeds, rows of `seed_row` in `others`, which may be empty."""
    return [value, *(others[name].dropna() if name in others else ())]


def claim_over_seeds(others: pd.DataFrame, name: str, value: float, paper="", holds: Callable | None = None) -> dict:
    """`results.claim` of `over_seeds`; `holds` is asked of the mean."""
    values = over_seeds(others, name, value)
    return results.claim(name, values, paper, None if holds is None else holds(np.mean(values)))


def seed_row(seed: int, claims: list[dict]) -> pd.DataFrame:
    """The claims of one seed side by side, a table of one row."""
    return pd.DataFrame([{"seed": seed, **{row["claim"]: row["here"] for row in claims}}])


def groups(figures: Path | None = None) -> dict[str, list[str]]:
    """The data sets that have claims, sorted, by the kind of their pictures."""
    names = sorted(path.parent.name for path in (figures or paths.FIGURES).glob("*/claims.csv"))
    drawn = [name for name in names if name.startswith("menagerie-")]
    return {"drawn pictures": drawn, "photographs": [name for name in names if name not in drawn]}


def markdown(data_sets: list[str], figures: Path | None = None) -> str:
    """The claims of some data sets as one table: a row per claim, sorted by notebook, and a column per data set."""
    tables = {data_set: results.read_claims(data_set, figures) for data_set in data_sets}
    rows = dict.fromkeys(
        (row.notebook, row.claim, row.paper) for table in tables.values() for row in table.itertuples()
    )
    lines = ["| notebook | claim | paper | " + " | ".join(tables) + " |", "|---" * (3 + len(tables)) + "|"]
    for notebook, name, paper in sorted(rows, key=lambda row: row[0]):  # within a notebook as they were recorded
        cells = [_cell(table[(table["notebook"] == notebook) & (table["claim"] == name)]) for table in tables.values()]
        lines.append(f"| {notebook} | `{name}` | {paper} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rows):
    if rows.empty:
        return ""
    row = rows.iloc[0]
    spread = row["spread"] and (f" {row['spread']}" if row["spread"].startswith("[") else f" ± {row['spread']}")
    return row["here"] + spread + MARKS[row["holds"]]


def renewed(page: str, figures: Path | None = None) -> str:
    """The page with each table and each number before a mark written anew.

    Raises ValueError when a mark is missing, or asks for a claim that the data set does not have.
    """
    data_sets = groups(figures)
    if [name for _, name, _ in TABLES.findall(page)] != list(data_sets):
        raise ValueError(f"figures/README.md must have marks, as {__name__} describes them, for {', '.join(data_sets)}")
    page = numbers(page, figures)
    return TABLES.sub(lambda mark: f"{mark[1]}{markdown(data_sets[mark[2]], figures)}\n{mark[3]}", page)


def numbers(page: str, figures: Path | None = None) -> str:
    """The page with each number before a mark written anew. Raises ValueError for a claim that is not there."""
    return NUMBER.sub(lambda mark: _short(_value(mark[2], mark[3], figures)) + mark[1], page)


def unfounded(page: str, figures: Path | None = None) -> list[str]:
    """Conditions of the page's sentences that do not hold, each with its data set and both values."""
    found = []
    for left, order, right, data_sets in CONDITION.findall(page):
        for data_set in data_sets.split(", "):
            values = [_value(side, data_set, figures) for side in (left, right)]
            if not (values[0] < values[1] if order == "<" else values[0] > values[1]):
                found.append(f"{left} {order} {right} of {data_set}: {values[0]:g}, {values[1]:g}")
    return found


def _value(claim, data_set, figures):
    """A number as it stands, or a claim's value."""
    if re.fullmatch(r"-?\d*\.?\d+", claim):
        return float(claim)
    rows = results.read_claims(data_set, figures)
    here = rows.loc[rows["claim"] == claim, "here"]
    if here.empty:
        raise ValueError(f"a mark in the text asks for `{claim}` of {data_set}, which has no such claim")
    return float(here.iloc[0])


def _short(value):
    """As the text has it: .70, 1.0, -.24."""
    return "1.0" if value == 1 else re.sub(r"\b0\.", ".", f"{value:.2f}")


def headlines(page: str, figures: Path | None = None) -> str:
    """README.md with its ten claims written anew. Raises ValueError when a mark is missing."""
    data_sets = groups(figures)["drawn pictures"]
    tables = {data_set: results.read_claims(data_set, figures).set_index("claim") for data_set in data_sets}
    tables = {data_set: table for data_set, table in tables.items() if set(HEADLINES) & set(table.index)}
    lines = ["| claim | paper | " + " | ".join(tables) + " |", "|---" * (2 + len(tables)) + "|"]
    for name, words in HEADLINES.items():
        papers = [table.loc[name, "paper"] for table in tables.values() if name in table.index]
        cells = [_cell(table[table.index == name]) for table in tables.values()]
        lines.append(f"| {words} | {next(iter(papers), '')} | " + " | ".join(cells) + " |")
    if not TEN.search(page):
        raise ValueError(f"README.md must have its marks for ten claims, see {__name__}")
    return TEN.sub(lambda mark: mark[1] + "\n".join(lines) + f"\n{mark[2]}", page)


PAGES = {"figures/README.md": renewed, "data/README.md": numbers, "README.md": headlines}


if __name__ == "__main__":
    stale = []
    for name, write in PAGES.items():
        page = write((paths.ROOT / name).read_text(encoding="utf-8"))
        (paths.ROOT / name).write_text(page, encoding="utf-8")
        stale += [f"{name}: {condition}" for condition in unfounded(page)]
    if stale:
        raise SystemExit("these conditions do not hold; mend the sentences before them:\n" + "\n".join(stale))
