"""Figures of the sliders that the tests of widgets do not look at."""

import itertools

import pandas as pd
import pytest
from helpers import check_words

from asxai.figures import explore as plots


@pytest.mark.parametrize("lowest", [0.3, 0.99])
def test_tiers_that_are_always_right_are_all_seen(lowest):
    tiers = {"sure": 1.0, "probably": 1.0, "not sure": lowest}
    each = itertools.product(("sure", "vivid", "noticed"), (0.1, 0.2, 0.3), tiers.items())
    rows = [(threshold, value, tier, 1 / 3, right) for threshold, value, (tier, right) in each]
    sweeps = pd.DataFrame(rows, columns=["threshold", "value", "tier", "share", "accuracy"])
    usual, labels = dict.fromkeys(sweeps["threshold"], 0.2), dict.fromkeys(sweeps["threshold"], "largest delta")
    figure, kept = plots.rule_sweeps(sweeps, usual, labels, "Tier")
    assert kept is sweeps
    axis = figure.axes[3]
    check_words(figure)
    (_, low), (_, high) = axis.transData.transform([(0, 100), (0, axis.get_ylim()[1])])
    thick = [line.get_linewidth() * figure.dpi / 72 for line in axis.lines if line.get_marker() == "."]
    assert high - low > thick[0] / 2 and thick[0] > thick[1] + 1 > thick[2] + 1
