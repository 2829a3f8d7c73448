"""Are promises kept? Tiers calibrated on one half of the pictures, and counted on the other, many times (notebook 06).

rows = known_answers(explainer)             # evidence of validation and test pictures, and of disturbed copies
table = guarantee_table(rows)               # how often "sure" is wrong in more than was promised
"""

import numpy as np
import pandas as pd

from ..explain.confidence import CALIBRATION, FEATURES, WHOLE, evidence_rows, fit_confidence, study_evidence
from ..explain.explainer import Explainer
from ..explain.rules import TIERS
from ..statistics import wilson

SPLITS = 200


def known_answers(explainer: Explainer) -> pd.DataFrame:
    """Rows of `study_evidence` without calibration pictures, and those of the test pictures, which are whole, too."""
    rows, test = study_evidence(explainer), explainer.study.data.test
    rows = rows[rows["kind"] != CALIBRATION]
    numbers = np.arange(len(test)) + 1 + rows["picture"].max()
    return pd.concat([rows, evidence_rows(explainer, WHOLE, test, numbers)], ignore_index=True)


def guarantee_table(rows: pd.DataFrame, splits: int = SPLITS, seed: int = 0) -> pd.DataFrame:
    """How often promises are broken, a row for "sure" and one for "at least probably", over random halves of pictures.

    In each split the pictures of one half, with their disturbed copies, fit and calibrate a `Confidence`, as those of a
    folder do (cross-fitted); the pictures of the other half are answered. `broken`: share of the splits in which more
    of these answers are wrong than was promised, with its Wilson interval `low`, `high`. A split without a promise
    breaks none, for the 95 % are about whatever is calibrated on. `promising`: share of splits with a promise, `level`:
    median of what was promised, `coverage` and `wrong`: shares of the pictures that have the tier, and of these that
    are wrong; means over splits with a promise.
    """
    generator, results = np.random.default_rng(seed), []
    pictures = rows.loc[rows["kind"] == WHOLE, "picture"].to_numpy()
    for _ in range(splits):
        half = generator.permutation(pictures)[: len(pictures) // 2]
        inside = rows["picture"].isin(half)
        confidence, out = fit_confidence(rows[inside]), rows[~inside & (rows["kind"] == WHOLE)]
        odds, right = confidence.log_odds(out[list(FEATURES)].to_numpy()), out["right"].to_numpy()
        for tier, promise in zip((TIERS[0], f"at least {TIERS[1]}"), confidence.promises):
            above = odds > promise.threshold
            wrong = (~right[above]).mean() if above.any() else 0.0
            results.append(
                (tier, np.isfinite(promise.threshold), wrong > promise.level, promise.level, above.mean(), wrong)
            )
    table = pd.DataFrame(results, columns=["tier", "promising", "broken", "level", "coverage", "wrong"])
    summary = []
    for tier, own in table.groupby("tier", sort=False):
        some = own[own["promising"]]
        share = wilson(int(some["broken"].sum()), splits)
        summary.append(
            (
                tier,
                splits,
                len(some) / splits,
                *share,
                some["level"].median(),
                some["coverage"].mean(),
                some["wrong"].mean(),
            )
        )
    columns = ["tier", "splits", "promising", "broken", "low", "high", "level", "coverage", "wrong"]
    return pd.DataFrame(summary, columns=columns)
