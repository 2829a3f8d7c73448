"""The figures of confidence: tables hold what was given, drawings what the tables hold, and no text hides another."""

import numpy as np
import pandas as pd
import pytest
from helpers import check_words, slow_calibration_error, texts

from asxai.figures import trustworthy as plots

LONG = "a name of very many words, number {}, that goes on and on"


def tiers(sets=("test", "blurred")):
    rows = [
        (name, tier, share, accuracy, accuracy - 0.1, min(1, accuracy + 0.05), round(200 * share))
        for name in sets
        for tier, share, accuracy in (("sure", 0.62, 0.99), ("probably", 0.35, 0.8), ("not sure", 0.03, 0.55))
    ]
    return pd.DataFrame(rows, columns=["set", "tier", "share", "accuracy", "low", "high", "count"])


def test_tier_bars_draw_shares_accuracies_and_intervals():
    table = tiers()
    table.loc[4, ["share", "count"]], table.loc[4, ["accuracy", "low", "high"]] = 0, np.nan
    table.loc[5, ["accuracy", "low", "high"]] = np.nan
    figure, kept = plots.tier_bars(table)
    assert kept is table
    share, accuracy = figure.axes
    bars = sorted((patch.get_y(), patch.get_x(), patch.get_width()) for patch in share.patches)
    np.testing.assert_allclose([bar[1:] for bar in bars], [(0, 62), (62, 35), (97, 3), (0, 62), (62, 0), (62, 3)])
    assert sorted(text.get_text() for text in share.texts if text.get_text()) == ["35", "62", "62"]
    dots = [float(line.get_xdata()[0]) for line in accuracy.lines if line.get_marker() == "o"]
    assert [dot for dot in dots if not np.isnan(dot)] == pytest.approx([99, 80, 55, 99])
    ends = [s[:, 0].tolist() for drawn in accuracy.collections for s in drawn.get_segments() if s.size]
    np.testing.assert_allclose(ends, [[89, 100], [70, 85], [45, 60], [89, 100]])
    written = ["99.0 %  (124)", "80.0 %  (70)", "55.0 %  (6)", "99.0 %  (124)", "not used", "–  (6)"]
    assert texts(accuracy.texts) == written
    assert texts(share.get_yticklabels()) == ["test", "blurred"]
    check_words(figure)
    check_words(plots.tier_bars(tiers([LONG.format(k) for k in range(8)]))[0])


def test_numbers_and_words_of_the_two_axes_keep_apart():
    figure, _ = plots.tier_bars(tiers())
    check_words(figure)
    share, accuracy = figure.axes
    label, number = (
        accuracy.xaxis.label,
        lambda axis, text: next(t for t in axis.get_xticklabels() if t.get_text() == text),
    )
    last, first = number(share, "100"), number(accuracy, "0")
    assert label.get_window_extent().x0 > accuracy.bbox.x0 and share.xaxis.label.get_window_extent().x1 < share.bbox.x1
    assert first.get_window_extent().x0 - last.get_window_extent().x1 > 2 * first.get_window_extent().width


def test_risk_coverage_draws_each_curve():
    coverage = np.linspace(0.1, 1, 10)
    curves = {"ours": (coverage, 0.1 * coverage, 0.055), LONG: (coverage[:4], np.zeros(4), 0.0)}
    figure, table = plots.risk_coverage(curves)
    assert table["score"].tolist() == ["ours"] * 10 + [LONG] * 4
    np.testing.assert_allclose(table["risk"][:10], 0.1 * coverage)
    assert table.groupby("score")["aurc"].first().to_dict() == {"ours": 0.055, LONG: 0.0}
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), np.stack([100 * coverage, 10 * coverage], axis=1))
    legend = texts(figure.axes[0].get_legend().get_texts())
    assert legend[0] == "ours: 0.0550" and legend[1].endswith(": 0.0000")
    check_words(figure)


def test_reliability_bins_and_calibration_error():
    generator = np.random.default_rng(0)
    confidence = np.r_[generator.beta(4, 1, 300), 1.0, 1.0]
    right = generator.random(302) < 0.8
    other = np.array([0.25, 0.25]), np.array([True, False])
    figure, table = plots.reliability({"softmax": (confidence, right), "other": other})
    bins = table[table["score"] == "softmax"]
    assert bins["count"].sum() == 302 and np.allclose(bins["high"] - bins["low"], 0.1)
    assert bins["ece"].unique() == pytest.approx(slow_calibration_error(confidence, right, 10))
    last = confidence >= 0.9
    expected = [confidence[last].mean(), right[last].mean(), last.sum()]
    assert bins.iloc[-1][["confidence", "accuracy", "count"]].tolist() == pytest.approx(expected)
    assert table.iloc[-1].tolist() == ["other", 0.2, pytest.approx(0.3), 0.25, 0.5, 2, 0.25]
    assert figure.axes[1].get_title() == "other\nECE 0.250"
    assert [patch.get_height() for patch in figure.axes[1].patches] == [0.5]
    figure, _ = plots.reliability({LONG.format(k): other for k in range(6)})
    assert len(figure.axes) == 8 and sum(axis.axison for axis in figure.axes) == 6
    check_words(figure)


def test_strip_shows_some_pictures_of_each_set():
    sets = {"crop": np.zeros((9, 3, 8, 8), np.uint8), LONG: np.ones((2, 3, 8, 8), np.uint8)}
    figure, table = plots.picture_strip(sets)
    assert table.values.tolist() == [["crop", 9, 8], [LONG, 2, 2]]
    assert sum(len(axis.images) for axis in figure.axes) == 10
    check_words(figure)
