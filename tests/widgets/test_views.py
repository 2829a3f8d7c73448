"""What explorers show against slow oracles, without a widget."""

from types import SimpleNamespace

import numpy as np
import pytest

from asxai.explain.rules import RULES, TIERS
from asxai.figures import explore
from asxai.widgets import views


def test_trait_figures(study, basis):
    figure, table = views.trait_figure(study, basis, [1.0, -1.0], count=2)
    assert len(figure.axes) == 1 + 4
    highest, lowest = basis.ends([1.0, -1.0], 2)
    np.testing.assert_allclose(table["score"], basis.along([1.0, -1.0])[[*highest, *lowest]])
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), basis.windows[highest[0]])
    assert basis.class_name in figure.get_suptitle() and basis.concept in figure.get_suptitle()
    figure, table = views.trait_sheet(study, basis, values=(-3, 0, 3))
    assert len(table) == 6 and (table[table["value"] == 0]["changed"] == 0).all()
    assert (table[table["value"] != 0]["changed"] > 0).all()
    with pytest.raises(ValueError, match=r"values=\[1, 2\] must have 0 among them"):
        views.trait_sheet(study, basis, values=(1, 2))


def shares_by_hand(scores, predicted, labels, sure):
    """Share and accuracy of "sure", one by one: a delta above `sure`, a PCS above .5, and most concepts agree."""
    chosen = []
    for pcs, label in zip(scores, predicted):
        deltas = [own - np.nan_to_num(other) for own, other in zip(pcs[label], pcs[1 - label]) if not np.isnan(own)]
        agree = sum(delta > sure for delta in deltas) >= max(2, RULES.majority * len(deltas))
        chosen.append(max(deltas) > sure and np.nanmax(pcs[label]) > 0.5 and agree)
    chosen = np.array(chosen)
    return chosen.mean(), (predicted == labels)[chosen].mean() if chosen.any() else np.nan


@pytest.mark.parametrize("sure", [0.5, 0.4])
def test_shares_of_tiers(scored, sure):
    table = views.tier_shares(*scored, sure=sure).set_index("tier")
    assert table.loc["sure", ["share", "accuracy"]].tolist() == pytest.approx(shares_by_hand(*scored, sure))
    assert table.loc[list(TIERS), "share"].sum() == pytest.approx(1)
    share, accuracy = (100 * value for value in shares_by_hand(*scored, sure))
    words = views.tiers_in_words(table.reset_index())
    assert words.startswith(f"sure: {share:.1f} % of pictures, {accuracy:.1f} % of them right; probably: ")


def test_rule_sheet_leaves_out_what_cannot_be(scored):
    figure, table = views.rule_sheet(*scored, points=11)
    assert set(table["threshold"]) == set(views.THRESHOLDS) and set(table["tier"]) == set(TIERS)
    sure = table[(table["threshold"] == "sure") & (table["tier"] == "sure")].set_index("value")["share"]
    assert sure.index.min() == pytest.approx(0.4)  # below .35 "probably" would be surer than "sure"
    for value, share in sure.items():
        assert share == pytest.approx(shares_by_hand(*scored, value)[0])
    assert len(figure.axes) == 2 * len(views.THRESHOLDS)
    labels = [axis.get_xlabel().replace("\n", " ") for axis in figure.axes if axis.get_xlabel()]
    assert labels == list(views.THRESHOLDS.values())


def test_a_tier_without_pictures_is_said(scored):
    table = views.tier_shares(*scored, sure=1.0, vivid=1.0)
    figure, given = explore.rule_view(table, views.tier_shares(*scored), "Tiers")
    assert given is table
    assert any(text.get_text() == "no picture" for text in figure.axes[1].texts)
    assert views.tiers_in_words(table).startswith("sure: 0.0 % of pictures; probably: ")


def test_a_picture_that_was_looked_at_is_explained_as_by_the_explainer(study, explainer):
    path = study.data.test.paths[1]
    seen = views.looked_at(explainer, path)
    for percentile, without in ((95.0, ()), (80.0, ("concept 1",))):
        (ours,) = explainer.explain_seen(seen, percentile, without)
        theirs = explainer.explain(path, percentile, without)
        assert (ours.sentence, ours.predicted, ours.tier) == (theirs.sentence, theirs.predicted, theirs.tier)
        np.testing.assert_array_equal(ours.masks, theirs.masks)
        np.testing.assert_allclose(ours.scores, theirs.scores)


def test_scores_in_words():
    scores = np.array([[0.9, 0.1, 0.2], [0.25, np.nan, 0.75]])
    names = dict(class_names=("a", "b"), names=("wing", "tip", "edge"))
    explanation = SimpleNamespace(tier="sure", predicted="b", scores=scores, **names)
    assert views.scores_in_words(explanation) == "**sure** · PCS of b: edge 0.75, wing 0.25"


def test_explanation_sheet_takes_the_strongest_concepts_away(study, explainer):
    path = study.data.test.paths[0]
    figure, table = views.explanation_sheet(explainer, path, percentiles=(80.0, 95.0))
    steps = [explainer.explain(path)]
    names = [concept.name for concept in steps[0].judgement.concepts]
    for count in range(1, len(names)):  # as if each of the concepts taken before were still the strongest
        steps.append(explainer.explain(path, without=tuple(names[:count])))
    less_sure = [count for count in range(2, len(names)) if steps[count].tier != steps[0].tier]
    counts = [0, 1, (less_sure or [len(names) - 1])[0]][: len(names)]
    assert list(dict.fromkeys(table["without"])) == [", ".join(names[:count]) for count in counts]
    shown = [text.get_text() for axis in figure.axes for text in (*axis.texts, axis.xaxis.label)]
    words = " ".join(" ".join(shown).split())
    for count in counts:
        rows, expected = table[table["without"] == ", ".join(names[:count])], steps[count]
        np.testing.assert_allclose(rows["score"], expected.scores.flatten())
        assert set(rows["tier"]) == {expected.tier} and " ".join(expected.sentence.split()) in words
    titles = [axis.get_title() for axis in figure.axes[:2]]
    assert titles == [f"masks above the {percentile}th percentile" for percentile in (80, 95)]
