"""Claims."""

import re

from .. import paths
from ..results import read_claims

# the first mark names the data sets of the table
CLAIMS = re.compile(r"(<!-- claims of ([\w. -]+): written by `python -m asxai.benchmarks.claims` -->\n)"
                    r".*?(<!-- end of claims -->)", re.DOTALL)


def claims_markdown(data_sets, figures=None):
    """The claims of some data sets as one Markdown table: a row per claim, a column per data set."""
    tables = {data_set: read_claims(data_set, figures) for data_set in data_sets}
    rows = dict.fromkeys((r.notebook, r.claim, r.paper) for t in tables.values() for r in t.itertuples())
    rows = sorted(rows, key=lambda row: row[0])  # by notebook; within one as they were recorded
    lines = ["| notebook | claim | paper | " + " | ".join(tables) + " |", "|---" * (3 + len(tables)) + "|"]
    for notebook, name, paper in rows:
        cells = [_cell(table[(table["notebook"] == notebook) & (table["claim"] == name)]) for table in tables.values()]
        lines.append(f"| {notebook} | `{name}` | {paper} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rows):
    if rows.empty:
        return ""
    row = rows.iloc[0]
    spread = row["spread"] and (f" {row['spread']}" if row["spread"].startswith("[") else f" ± {row['spread']}")
    return row["here"] + spread + {"yes": " ✓", "no": " ✗", "": ""}[row["holds"]]


def with_claims(text, figures=None):
    """A page with the table between its two marks renewed. Raises ValueError when the marks are missing."""
    if not CLAIMS.search(text):
        raise ValueError("README.md has lost its marks `<!-- claims of <data sets>: ...` and `<!-- end of claims -->`; "
                         "put them where the table goes")
    return CLAIMS.sub(lambda found: f"{found[1]}{claims_markdown(found[2].split(), figures)}\n{found[3]}", text)


if __name__ == "__main__":
    readme = paths.ROOT / "README.md"
    readme.write_text(with_claims(readme.read_text(encoding="utf-8")), encoding="utf-8")
