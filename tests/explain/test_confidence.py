"""Confidence of explanations: its numbers by plain loops, its regression by scikit-learn, and whence promises come."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression

from asxai.explain import confidence as explain_confidence
from asxai.explain.confidence import FEATURES, Confidence, evidence, fit_confidence, fit_weights, weakest_leads
from asxai.explain.disturbed import calibration_pictures, disturbed
from asxai.explain.explainer import Explainer
from asxai.explain.guarantee import Promise
from asxai.explain.rules import TIERS
from asxai.explain.scores import concept_activation


def planted(count=400, seed=0, wrong=0.02):
    """A table as of `study_evidence`: all numbers rise with the truth; half of the copies are wrong."""
    generator = np.random.default_rng(seed)
    whole = np.arange(2 * count) < count
    right = generator.random(2 * count) > np.where(whole, wrong, 0.5)
    found = generator.normal(0, 1, (2 * count, len(FEATURES))) + 1.5 * right[:, None]
    table = pd.DataFrame(found, columns=FEATURES)
    return table.assign(kind=np.where(whole, "validation", "crop"), picture=np.arange(2 * count) % count, right=right)


def test_regression_is_that_of_scikit_learn_where_no_coefficient_is_negative():
    table = planted(wrong=0.2)
    found, right = table[list(FEATURES)].to_numpy().copy(), table["right"].to_numpy()
    whole = np.arange(len(found)) < 300
    weights = np.where(whole, len(found) / 600, len(found) / 1000)
    centre, scale, coefficients, intercept = fit_weights(found, right, whole)
    model = LogisticRegression(C=1 / explain_confidence.RIDGE, tol=1e-8, max_iter=1000)
    model.fit((found - centre) / scale, right, sample_weight=weights)
    np.testing.assert_allclose(coefficients, model.coef_[0], atol=1e-3)
    assert intercept == pytest.approx(model.intercept_[0], abs=1e-3) and (coefficients > 0).all()
    found[:, 0] *= -1  # a number that falls with the truth counts for nothing
    coefficients = fit_weights(found, right, whole)[2]
    assert coefficients[0] == 0 and (coefficients[1:] > 0).all()


def test_promises_come_from_calibration_pictures_alone():
    table = planted()
    fit = fit_confidence(table)
    assert 0.01 <= fit.promises[0].level <= 0.1 and fit.promises[1].level == 0.1
    new = planted(seed=1).assign(kind="calibration")
    for wrong in (True, False):
        promise = fit_confidence(pd.concat([table, new.assign(right=wrong)])).promises[0]
        assert np.isfinite(promise.threshold) == wrong
    assert promise == Promise(np.inf, promise.level, 0, 0)


def test_folders_are_cross_fitted(monkeypatch):
    """A regression that has learned its own pictures by heart would promise too much."""
    table, seen = planted(60), []
    certified = lambda odds, right, *rest: seen.append(odds) or Promise(0.0, 0.1, 60, 0)
    monkeypatch.setattr(explain_confidence, "certify", certified)
    fit_confidence(table)
    before = seen[0].copy()
    changed = table.assign(right=table["right"] ^ (table["picture"] % explain_confidence.FOLDS == 2))
    fit_confidence(changed)
    out = np.arange(60) % explain_confidence.FOLDS == 2
    np.testing.assert_allclose(seen[2][out], before[out])  # their own answers do not matter to them
    assert np.abs(seen[2][~out] - before[~out]).min() > 1e-6


def test_tiers_and_words():
    promises, count = (Promise(7.0, 0.01, 300, 0), Promise(4.0, 0.1, 300, 0)), len(FEATURES)
    fit = Confidence(*np.array([np.zeros(count), np.ones(count), np.ones(count)]), 0.0, np.full(count, 2.0), promises)
    found = np.array([[2.0] * count, [1.6] * count, [0.5] * count])
    found[1, FEATURES.index("margin")] = 0.5
    found[2, FEATURES.index("nearness")] = -9
    assert fit.tiers(found).tolist() == [0, 1, 2]
    sure, probably, unsure = fit.assurances(found)
    assert sure == "Sure: at most 1 in 100 such answers is wrong."
    assert "at most 10 in 100" in probably and "two classes are alike" in probably
    assert unsure == "Not sure: nothing quite like it was in training."
    np.testing.assert_allclose(fit.probability(found), 1 / (1 + np.exp(-found.sum(axis=1))))
    assert list(fit.table()["number"]) == list(FEATURES)
    few = replace(fit, promises=(Promise(np.inf, np.nan, 0, 0), promises[1])).assurances(found)
    assert few[0].startswith("Probably: at most 10 in 100") and "too few calibration pictures" in few[2]


def test_weakest_leads_against_a_loop():
    generator = np.random.default_rng(0)
    values, predicted = generator.random((20, 3, 5)), generator.integers(0, 3, 20)
    values[:, generator.random((3, 5)) < 0.3] = np.nan
    values[:, 1, :] = np.where(predicted[:, None] == 1, np.nan, values[:, 1, :])  # a class without any concept
    expected = []
    for one, label in zip(values, predicted):
        leads = []
        for k in np.flatnonzero(np.isfinite(one[label])):
            others = [one[c, k] for c in range(3) if c != label and np.isfinite(one[c, k])]
            leads.append(one[label, k] - max(others, default=0))
        expected.append(np.mean(sorted(leads)[:2]) if leads else 0)
    np.testing.assert_allclose(weakest_leads(values, predicted), expected)


def test_evidence_against_plain_loops(study, explainer):
    split, concepts, train = study.data.test, explainer.concepts, study.data.train
    similarity = study.similarity(split)
    logits = similarity.flatten(1) @ study.model.last_layer.weight.detach().T
    found = evidence(explainer, similarity, logits)
    activation = concept_activation(concepts, similarity)
    probable, known = explainer.scores.probability(activation), study.similarity(train).flatten(1).numpy()
    distances = cdist(similarity.flatten(1).double(), known.astype(float))
    for i, values in enumerate(logits.double().numpy()):
        label = values.argmax()
        softmax = np.exp(values) / np.exp(values).sum()
        nearest = np.sort(distances[i][train.labels == label])[: explain_confidence.NEIGHBOURS]
        expected = {
            "margin": np.log(softmax[label] / (1 - softmax[label])),
            "weakest leads": weakest_leads(probable[[i]], np.array([label]))[0],
            "nearness": -np.log(nearest.mean()),
            "p-norm": values[label] / (np.abs(values) ** 5).sum() ** 0.2,
        }
        np.testing.assert_allclose(found[i], [expected[name] for name in FEATURES], rtol=1e-3, atol=1e-4)
    without = evidence(explainer, similarity, logits, concepts.names)
    assert np.isfinite(without).all() and (without[:, FEATURES.index("weakest leads")] == 0).all()


def test_disturbed_copies(study, concepts):
    validation = study.data.validation
    copies, again = disturbed(study, concepts, validation), disturbed(study, concepts, validation)
    assert list(copies) == ["crop", "occluded", "blurred", "painted over", "background", "two halves"]
    for kind, (pictures, labels) in copies.items():
        assert pictures.shape == (4, 3, 96, 96) and pictures.dtype == torch.uint8
        assert torch.equal(pictures, again[kind][0]) and pictures.float().std() > 5
        assert (labels == -1).all() == (kind in ("background", "two halves"))


def test_calibration_pictures_are_new_and_always_the_same(study):
    pictures, labels = calibration_pictures(study)
    again, _ = calibration_pictures(study)
    assert torch.equal(pictures, again) and np.bincount(labels).tolist() == [15, 15]
    from asxai.data.pictures import to_batch

    known = torch.cat([to_batch(split.paths, 96) for split in study.data.splits.values()])
    assert not any((known == one).flatten(1).all(dim=1).any() for one in pictures)
    assert len(pictures.flatten(1).unique(dim=0)) == 30


def test_explanations_say_what_their_tier_promises(study, concepts):
    explainer = Explainer(study, concepts, calibrated=True)
    explanations = explainer.explain(list(study.data.test.paths))
    similarity = torch.cat([study.activate(one.picture).similarity for one in explanations])
    logits = similarity.flatten(1) @ study.model.last_layer.weight.detach().T
    found = evidence(explainer, similarity, logits)
    assert [one.tier for one in explanations] == [TIERS[tier] for tier in explainer.confidence.tiers(found)]
    assert [one.assurance for one in explanations] == explainer.confidence.assurances(found)
    files = sorted(study.folder.glob("evidence-*.csv"))
    table = pd.read_csv(files[0], comment="#")
    assert table["kind"].value_counts().to_dict() == {"calibration": 30, "validation": 4} | dict.fromkeys(
        ["crop", "occluded", "blurred", "painted over", "background", "two halves"], 4
    )
