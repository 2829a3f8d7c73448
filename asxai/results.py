"""Where results go: each figure as PNG and PDF with the table that it was drawn from, each claim as a row.

`figures/<data_set>/claims.csv` holds what the paper says, what came out here, its spread over seeds, and whether the
claim holds, also where it does not.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from . import paths
from .figures.style import say_what_is_missing

CLAIM_COLUMNS = ["notebook", "claim", "paper", "here", "spread", "seeds", "holds"]
MANY = 50  # test pictures, from which on one is at most 2 points
DIGITS = 4  # of claims and tables: more than a reader needs; the last may differ on another processor


def save_table(table, data_set, name):
    """Save a tidy table as `figures/<data_set>/<name>.csv`, rounded to `DIGITS`."""
    paths.write_atomically(
        _place(data_set) / f"{paths.slug(name)}.csv", lambda path: table.round(DIGITS).to_csv(path, index=False)
    )


def read_table(data_set, name):
    """A table of `save_table`; empty, without columns, where there is none yet."""
    path = _place(data_set) / f"{paths.slug(name)}.csv"
    return _read(path) if path.exists() else pd.DataFrame()


def _read(path, **options):
    try:
        return pd.read_csv(path, **options)
    except ValueError as error:  # of pandas: empty, cut off, no text
        raise ValueError(f"{path} is no table ({error}); remove it, or take it back from git") from error


def shown(table, otherwise):
    """The table as a notebook shows it, rounded and with a dash where there is no value; an empty one as a sentence.

    otherwise: that sentence, in Markdown.
    """
    if table.empty:
        from IPython.display import Markdown

        return Markdown(otherwise)
    rounded = table.round(3)
    return rounded.astype(object).where(rounded.notna(), "–")


def save_seeds(table, data_set, name):
    """Save rows of some seeds; rows of other seeds stay as an earlier run left them. All rows, those of `table` first.

    table: with a column `seed`. So a short run renews its own seed and shows it beside those of the last `make study`.
    """
    kept = read_table(data_set, name)
    if len(kept) and len(table):
        table = pd.concat([table, kept[~kept["seed"].isin(table["seed"])]], ignore_index=True)
    save_table(table, data_set, name)
    return table


def _place(data_set):
    return paths.FIGURES / paths.slug(data_set)  # of a folder's path only its name: never write beside pictures


def save_figure(figure, table, data_set, name):
    """Save `figure` as `name.png` and `name.pdf` and its tidy table as `name.csv` under `figures/<data_set>/`.

    Returns the figure, closed for pyplot, so that a notebook cell that ends with this call shows it once.
    """
    save_table(table, data_set, name)
    for suffix, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):  # no date: same bytes
        paths.write_atomically(
            _place(data_set) / f"{paths.slug(name)}.{suffix}",
            lambda path: figure.savefig(path, format=suffix, dpi=90, metadata=metadata),
        )
        figure.set_layout_engine("none")  # the first has laid it out; again for every format would double the time
    say_what_is_missing(figure)
    plt.close(figure)
    return figure


def kept_figure(data_set, name):
    """The PNG of `save_figure` as it is on the disk, for a notebook to show without drawing it again."""
    from IPython.display import Image

    path = _place(data_set) / f"{paths.slug(name)}.png"
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such figure yet; `make study` or a deleted table brings it back")
    return Image(filename=path)


def claim(name, values, paper="", holds=None):
    """One row of claims: the mean of `values` (one per seed), their standard deviation, and whether the claim holds.

    paper: the paper's value or words, "" where it has none. holds: True, False, or None where there is nothing to hold.
    """
    values = np.atleast_1d(np.asarray(values, dtype=float))
    spread = round(float(values.std(ddof=1)), DIGITS) if len(values) > 1 else ""
    return {
        "claim": name,
        "paper": paper,
        "here": round(float(values.mean()), DIGITS),
        "spread": spread,
        "seeds": len(values),
        "holds": {True: "yes", False: "no", None: ""}[None if holds is None else bool(holds)],
    }


def few_pictures(count):
    """A sentence in Markdown about claims that rest on few test pictures, or "" where there are `MANY`."""
    if count >= MANY:
        return ""
    return (
        f"**These numbers rest on {count} test pictures**, of which one is {100 / count:.0f} points. A “yes” says "
        "no more than that nothing speaks against it, a “no” may be chance."
    )


def record_claims(data_set, notebook, rows):
    """Write a notebook's claims into `figures/<data_set>/claims.csv`, in place of those that it wrote before."""
    path = _place(data_set) / "claims.csv"
    new = pd.DataFrame([{"notebook": notebook, **row} for row in rows], columns=CLAIM_COLUMNS).astype(str)
    old = read_claims(data_set)
    table = pd.concat([old[old["notebook"] != notebook], new]).sort_values("notebook", kind="stable")
    paths.write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))
    return new


def read_claims(data_set, figures=None):
    """The claims of a data set as text; empty before any notebook has run. figures: another folder than the usual."""
    path = (figures or paths.FIGURES) / paths.slug(data_set) / "claims.csv"
    if not path.exists():
        return pd.DataFrame(columns=CLAIM_COLUMNS)
    claims = _read(path, dtype=str, keep_default_na=False)
    if list(claims) != CLAIM_COLUMNS:
        raise ValueError(f"{path} has the columns {', '.join(claims)}, not {', '.join(CLAIM_COLUMNS)}; remove it")
    return claims
