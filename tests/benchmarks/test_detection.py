"""Detectors of strangers on a tiny study of drawn animals, against the textbook and plain loops."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import QUICK, concepts_by_hand, picture_folder

from asxai import paths
from asxai.benchmarks import detection
from asxai.benchmarks.detection import CONCEPTS, ENERGY, EXPLANATION, MAHALANOBIS, MSP, NEAREST, VIM, detection_scores
from asxai.data.datasets import load_data_set
from asxai.data.pictures import to_batch
from asxai.explain.confidence import evidence, weakest_leads
from asxai.explain.explainer import Explainer
from asxai.explain.scores import concept_activation
from asxai.study import Study


@pytest.fixture(scope="module")
def explainer(study):
    return Explainer(study, concepts_by_hand(study))


@pytest.fixture(scope="module")
def strange(study):
    """Test pictures of which a half is noise."""
    pictures, generator = to_batch(study.data.test.paths[::2], QUICK["size"]), torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, pictures.shape, dtype=torch.uint8, generator=generator)
    pictures[..., 48:] = noise[..., 48:]
    return pictures


def test_detection_scores_against_the_textbook(explainer, study, strange, monkeypatch):
    scores, out = detection_scores(explainer, strange), study.activate(list(strange))
    assert list(scores) == [EXPLANATION, CONCEPTS, MSP, ENERGY, MAHALANOBIS, NEAREST, VIM]
    assert all(values.shape == (6,) and np.isfinite(values).all() for values in scores.values())
    logits = out.logits.double().numpy()
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(scores[MSP], -(exponents / exponents.sum(axis=1, keepdims=True)).max(axis=1), atol=1e-5)
    np.testing.assert_allclose(scores[ENERGY], -np.log(exponents.sum(axis=1)) - logits.max(axis=1), atol=1e-4)

    train = study.data.train
    known, new = study.similarity(train).flatten(1).double().numpy(), out.similarity.flatten(1).double().numpy()
    means = np.stack([known[train.labels == label].mean(axis=0) for label in range(2)])
    centred = known - means[train.labels]
    precision = np.linalg.inv(centred.T @ centred + 1e-6 * np.eye(10))
    distance = np.array([min((row - mean) @ precision @ (row - mean) / 2 for mean in means) for row in new])
    np.testing.assert_allclose(scores[MAHALANOBIS], distance, rtol=0.01)

    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distances = np.sort([np.linalg.norm(unit(known) - row, axis=1) for row in unit(new)], axis=1)
    np.testing.assert_allclose(scores[NEAREST], distances[:, 9], atol=1e-5)
    monkeypatch.setattr(detection, "NEIGHBOURS", 10_000)  # more than there are training pictures
    np.testing.assert_allclose(detection_scores(explainer, strange)[NEAREST], distances[:, -1], atol=1e-3)

    _, sizes, axes = np.linalg.svd(known)
    residual = axes[5:]  # half of ten dimensions, the least of the training pictures
    length = lambda rows: np.linalg.norm(rows @ residual.T, axis=1)
    logit = (known @ study.model.last_layer.weight.detach().double().numpy().T).max(axis=1)
    alpha = logit.mean() / length(known).mean()
    virtual = alpha * length(new) - np.logaddexp.reduce(logits, axis=1)
    # theirs are single numbers: rounding of the covariance turns its least directions (Davis and Kahan, 1970)
    turned = np.finfo(np.float32).eps * sizes[0] ** 2 / (sizes[4] ** 2 - sizes[5] ** 2)
    np.testing.assert_allclose(
        scores[VIM], virtual, rtol=1e-3, atol=1e-3 + 10 * alpha * turned * np.linalg.norm(new, axis=1).max()
    )

    predicted, activation = logits.argmax(axis=1), concept_activation(explainer.concepts, out.similarity)
    np.testing.assert_allclose(scores[CONCEPTS], -weakest_leads(activation, predicted), atol=1e-4)
    odds = explainer.confidence.log_odds(evidence(explainer, out.similarity, out.logits))
    np.testing.assert_allclose(scores[EXPLANATION], -odds, rtol=1e-3, atol=1e-2)


def test_a_split_is_scored_from_its_cached_features(explainer, study):
    split = study.data.test
    kept, direct = detection_scores(explainer, split), detection_scores(explainer, to_batch(split.paths, QUICK["size"]))
    for name in (MSP, ENERGY, NEAREST):
        np.testing.assert_allclose(kept[name], direct[name], atol=0.01)
    for name in kept:
        assert len(kept[name]) == 12 and np.corrcoef(kept[name], direct[name])[0, 1] > 0.9


def slow_auroc(known, strange):
    """Share of pairs in which the stranger looks stranger; ties count half."""
    return np.mean([1.0 if s > k else 0.5 if s == k else 0.0 for k in known for s in strange])


def slow_false_positive_rate(known, strange):
    """Share of strangers at most as strange as the threshold, the lowest that keeps 95 % of the known."""
    for threshold in sorted({*known, *strange}):
        if sum(value <= threshold for value in known) >= 0.95 * len(known):
            return np.mean([value <= threshold for value in strange])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("digits", [1, 8])  # many ties, and none
def test_detection_table_and_its_weights_against_loops(seed, digits):
    rng = np.random.default_rng(seed)
    known, strange = (rng.normal(mean, 1, count).round(digits) for mean, count in ((0, 40), (1, 25)))
    values = detection.detection_table({"a": known}, {"a": strange}, draws=3).set_index("measure")["value"]
    assert values["AUROC"] == pytest.approx(slow_auroc(known, strange))
    assert values["FPR at 95 %"] == pytest.approx(slow_false_positive_rate(known, strange))
    values, truth, drawn = np.r_[known, strange], np.repeat([0, 1], [40, 25]), rng.integers(0, 3, 65)
    again = [np.repeat(values[truth == side], drawn[truth == side]) for side in (0, 1)]  # pictures drawn again
    assert detection._auroc(truth, values, drawn) == pytest.approx(slow_auroc(*again))
    assert detection._false_positive_rate(truth, values, drawn) == pytest.approx(slow_false_positive_rate(*again))


def test_detection_by_hand():
    table = lambda known, strange, draws: detection.detection_table({"a": known}, {"a": strange}, draws)
    apart, alike = np.repeat([[0.0], [1.0]], 20, axis=1), np.zeros((2, 20))
    mixed = table(np.arange(100) / 100, np.array([0.935, 0.945, 2.0, 3.0]), 60).set_index("measure")
    assert mixed.loc["FPR at 95 %", "value"] == 0.25  # 95 known ones lie at or below .94
    assert mixed["better"].tolist() == ["higher", "lower"] and set(mixed["method"]) == {"a"}
    assert ((mixed["low"] <= mixed["value"]) & (mixed["value"] <= mixed["high"])).all()
    assert mixed.loc["AUROC", "low"] < mixed.loc["AUROC", "high"] <= 1
    even = np.arange(20.0)  # a drawn curve would be one straight line, without the points on it
    assert table(even, even, 2)["value"].tolist() == pytest.approx([0.5, 0.95])
    assert table(*apart, 20)[["value", "low", "high"]].to_numpy().tolist() == [[1, 1, 1], [0, 0, 0]]
    assert table(*alike, 20)[["value", "low", "high"]].to_numpy().tolist() == [[0.5, 0.5, 0.5], [1, 1, 1]]


def test_a_class_that_is_held_out(tmp_path, monkeypatch):
    """The other two alone are trained on; AUROC by counting pairs of a known and an unknown test picture."""
    monkeypatch.setattr(paths, "SAMPLES", tmp_path / "samples")
    folder = picture_folder(tmp_path / "shapes", ("a", "b", "c"), count=20)
    trained = []
    train = Study.train
    monkeypatch.setattr(Study, "train", lambda *given, **more: trained.append(train(*given, **more)) or trained[-1])
    table = detection.held_out_table(folder, [["c"]], folder=tmp_path / "study", **QUICK)
    [study], test = trained, load_data_set(folder).test
    assert study.class_names == ("a", "b") and len(study.data.test) == 8
    assert set(table["held out"]) == {"c"} and set(table["strangers"]) == {4}
    unknown = [path for path, label in zip(test.paths, test.labels) if label == 2]
    known, strange = (1 - study.predict(list(of)).probabilities.max(axis=1) for of in (study.data.test.paths, unknown))
    pairs = [(one > other) + (one == other) / 2 for one in strange for other in known]
    found = table[(table["method"] == MSP) & (table["measure"] == "AUROC")]["value"].item()
    assert found == pytest.approx(np.mean(pairs), abs=1.01 / len(pairs))  # features are cached with three digits


def test_claims_of_held_out_classes():
    """Two studies: the best baseline is another one on each."""
    auroc = {EXPLANATION: (0.8, 0.6), CONCEPTS: (0.99, 0.99), MSP: (0.7, 0.7), NEAREST: (0.9, 0.5)}
    rows = [
        {"seed": seed, "held out": "a", "method": method, "measure": measure, "value": value, "high": value + 0.05}
        for method, values in auroc.items()
        for seed, value in enumerate(values)
        for measure in ("AUROC", "FPR at 95 %")
    ]
    table = pd.DataFrame(rows)
    table.loc[table["measure"] != "AUROC", ["value", "high"]] = 0.1
    first, second = detection.held_out_claims(table)
    assert (first["here"], first["seeds"], first["holds"], second["here"]) == (0.7, 2, "no", 0.8)
    table["high"] += 0.06
    assert detection.held_out_claims(table)[0]["holds"] == "yes"
    assert detection.held_out_claims(pd.DataFrame()) == []
