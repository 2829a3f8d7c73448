"""Whether promises are kept, where the truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import concepts_by_hand

from asxai.benchmarks import guarantee
from asxai.benchmarks.guarantee import guarantee_table, known_answers
from asxai.explain.confidence import FEATURES, fit_confidence
from asxai.explain.explainer import Explainer
from asxai.explain.guarantee import Promise


def planted(wrong, told=2.0, count=300, seed=0):
    """Pictures of which a share is answered wrongly, and disturbed copies; told: how far evidence tells which."""
    generator = np.random.default_rng(seed)
    whole = np.arange(2 * count) < count
    right = generator.random(2 * count) > np.where(whole, wrong, 0.6)
    found = generator.normal(0, 1, (2 * count, len(FEATURES))) + told * right[:, None]
    table = pd.DataFrame(found, columns=FEATURES)
    return table.assign(kind=np.where(whole, "validation", "crop"), picture=np.arange(2 * count) % count, right=right)


@pytest.mark.parametrize("wrong, told", [(0.0, 2), (0.03, 2), (0.05, 0.8)])
def test_promises_are_kept(wrong, told):
    table = guarantee_table(planted(wrong, told), splits=60).set_index("tier")
    assert table["broken"].max() <= 0.1  # .05, and what 60 splits of the same pictures add
    assert table.loc["at least probably", "promising"] > 0.9 and (table["wrong"].fillna(0) < 0.1).all()


def test_what_cannot_be_told_is_not_promised():
    """A third is wrong, and evidence knows nothing of it."""
    table = guarantee_table(planted(0.33, told=0), splits=20)
    assert (table["promising"] == 0).all() and (table["broken"] == 0).all() and table["wrong"].isna().all()


def test_broken_is_a_share_of_all_splits(monkeypatch):
    """One calibration of four promises something, and each of its answers is wrong."""
    calls = iter(range(4))
    nothing, bold = Promise(np.inf, np.inf, 0, 0), Promise(-1e9, 0.1, 30, 0)
    fitted = lambda rows: fit(rows, bold if next(calls) == 1 else nothing)
    fit = lambda rows, promise: replace(fit_confidence(rows), promises=(promise, promise))
    monkeypatch.setattr(guarantee, "fit_confidence", fitted)
    table = guarantee_table(planted(1.0), splits=4)
    assert (table["broken"] == 0.25).all() and (table["promising"] == 0.25).all() and (table["wrong"] == 1).all()


def test_known_answers_are_those_of_both_splits(study):
    rows = known_answers(Explainer(study, concepts_by_hand(study)))
    whole = rows[rows["kind"] == "validation"]
    assert len(whole) == len(study.data.validation) + len(study.data.test) and whole["picture"].is_unique
    labels = np.concatenate([study.data.validation.labels, study.data.test.labels])
    named = np.concatenate([study.predict_split(split).labels for split in (study.data.validation, study.data.test)])
    np.testing.assert_array_equal(whole["right"], named == labels)
    assert not rows["kind"].eq("calibration").any() and np.isfinite(rows[list(FEATURES)]).all(axis=None)
