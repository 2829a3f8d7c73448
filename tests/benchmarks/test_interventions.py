"""Exact answers by brute force: Shapley values over all orders, FunnyBirds' questions by plain loops."""

from itertools import chain, combinations, permutations

import numpy as np
import torch

from asxai.benchmarks import interventions
from asxai.benchmarks.interventions import THRESHOLDS, completeness, funny_birds, part_relevance, shapley, single_drops
from asxai.data.sources import redraw
from asxai.methods import METHODS


def test_shapley_values_are_means_over_all_orders():
    values = np.random.default_rng(0).normal(size=(3, 16))
    expected = np.zeros((3, 4))
    for order in permutations(range(4)):
        for n, part in enumerate(order):
            before = sum(1 << k for k in order[:n])
            expected[:, part] += (values[:, before | 1 << part] - values[:, before]) / 24
    np.testing.assert_allclose(shapley(values), expected)
    np.testing.assert_allclose(shapley(values).sum(axis=1), values[:, -1] - values[:, 0])
    np.testing.assert_allclose(single_drops(values), [[v[15] - v[15 - (1 << k)] for k in range(4)] for v in values])


def slow_answers(relevance, logits, label, threshold):
    """One picture's answers, by sets of parts."""
    count = len(relevance)
    total = sum(max(r, 0) for r in relevance)
    important = {k for k in range(count) if max(relevance[k], 0) / max(total, 1e-12) >= threshold}
    number = lambda parts: sum(1 << k for k in parts)
    predict = lambda parts: int(np.argmax(logits[number(parts)]))
    every = [set(s) for s in chain.from_iterable(combinations(range(count), n) for n in range(count + 1))]
    whole = predict(set(range(count)))
    enough = [s for s in every if predict(s) == whole]
    minimal = [s for s in enough if not any(t < s for t in enough)]
    value = lambda parts: logits[number(parts)][label]
    drop = max(abs(value(every[-1]) - value(set())), 1e-9)
    idle = {k for k in range(count) if abs(value(every[-1]) - value(every[-1] - {k})) < 0.05 * drop}
    return {
        "CSDC": max(len(s & important) / len(s) if s else 1.0 for s in minimal),
        "PC": float(predict(important) == whole),
        "DC": float(predict(every[-1] - important) != whole),
        "D": 1 - len(idle & important) / max(len(idle), 1),
    }


def test_questions_of_funny_birds_are_those_of_plain_loops():
    rng = np.random.default_rng(1)
    logits, relevance, labels = rng.normal(size=(40, 32, 4)), rng.normal(size=(40, 5)), rng.integers(0, 4, 40)
    logits[:, :, 0] += np.linspace(0, 2, 32)
    logits[::3, 24:28] = logits[::3, 28:]  # parts that change nothing
    best = None
    for threshold in THRESHOLDS:
        rows = [slow_answers(*own, threshold) for own in zip(relevance, logits, labels)]
        answers = {name: np.array([one[name] for one in rows]) for name in rows[0]}
        if best is None or completeness(answers).mean() > completeness(best).mean():
            best = answers
    found = funny_birds(relevance, logits, labels)
    assert set(found) == {"CSDC", "PC", "DC", "D"}
    for name, values in best.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_relevance_of_a_part_is_the_sum_over_its_pixels():
    masks = np.zeros((1, 2, 8, 8), bool)
    masks[0, 0, :4], masks[0, 1, 4:, 4:] = True, True
    maps = torch.arange(16.0).view(1, 4, 4)
    flat = torch.nn.functional.interpolate(maps[None], size=8, mode="bilinear", align_corners=False)[0, 0].numpy()
    np.testing.assert_allclose(part_relevance(maps, masks), [[flat[:4].sum(), flat[4:, 4:].sum()]], rtol=1e-6)


def test_truth_is_what_networks_say_of_drawings_without_parts(study, monkeypatch):
    monkeypatch.setattr(interventions, "loose", lambda study: ("eye", "tail"))
    made = [METHODS[name]().fit(study) for name in ("Grad-CAM", "LRP", "this study")]
    split = study.data.test.take([0, 7])
    monkeypatch.setattr(interventions, "cpu_count", lambda: 1)  # in this process
    monkeypatch.setattr(interventions, "redraw", drawn := Redraw())
    truth = interventions.part_truth(study, made, split)
    assert set(truth.logits) == {"black box", "this study"}
    assert drawn.asked == [{"eye", "tail"}, {"tail"}, {"eye"}, set()] * 2
    assert truth.logits["this study"].shape == (2, 4, 2) and truth.masks.shape == (2, 2, 96, 96)
    whole = study.activate(list(split.paths)).logits
    np.testing.assert_allclose(truth.logits["this study"][:, 3], whole, atol=1e-3)
    assert np.ptp(truth.logits["black box"], axis=1).min() > 1e-3
    np.testing.assert_allclose(truth.areas, truth.masks.mean(axis=(2, 3)))
    interventions.part_truth(study, made, split)
    assert len(drawn.asked) == 8  # kept


class Redraw:
    """Notes what is left out."""

    def __init__(self):
        self.asked = []

    def __call__(self, data_set, path, remove, fine):
        self.asked.append(set(remove))
        return redraw(data_set, path, remove, fine)
