"""Training: replacement against brute force, the convex stage, exact repetition, exact resumption."""

import numpy as np
import pytest
import torch
from helpers import tiny_features, tiny_model

from asxai import training
from asxai.config import Config


def config(**parameters):
    small = dict(warm_up_epochs=1, joint_epochs=2, cycles=2, batch_size=8, basis_per_class=2, channels=6, views=2,
                 learning_rate=1e-2)
    return Config.of("nowhere", **small | parameters)


def trainer(tmp_path, **parameters):
    return training.Trainer(tiny_model(), config(**parameters), tiny_features(), tiny_features(12, views=1, seed=1),
                            tmp_path / "checkpoint.safetensors")


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def test_replacement_against_brute_force():
    model, (features, labels) = tiny_model(), tiny_features()
    before = model.basis.detach().numpy()
    with torch.inference_mode():
        embedding = model.embed(features[0]).numpy()
    found = training.replace_basis_vectors(model, features[0], labels, batch_size=7)  # classes straddle batches
    for c, j in np.ndindex(3, 2):
        best = (-2.0,)
        for i in np.flatnonzero(labels == c):
            for y, x in np.ndindex(4, 4):
                patch = embedding[i, :, y, x] / np.linalg.norm(embedding[i, :, y, x])
                best = max(best, (patch @ before[c, j], i, y, x, patch), key=lambda b: b[0])
        assert found["cosine"][c][j] == pytest.approx(best[0], abs=1e-6)
        assert (found["picture"][c][j], found["row"][c][j], found["column"][c][j]) == best[1:4]
        np.testing.assert_allclose(model.basis[c, j].detach().numpy(), best[4], atol=1e-6)
    again = training.evaluate(model, features[0], labels, 7)["similarity"]
    for c, j in np.ndindex(3, 2):  # the vector now is that patch
        assert again[found["picture"][c][j], c, j] == pytest.approx(1, abs=1e-5)


def test_replacement_names_classes_without_pictures():
    features, labels = tiny_features()
    with pytest.raises(ValueError, match=r"classes \[2\] have no training pictures"):
        training.replace_basis_vectors(tiny_model(), features[0][labels < 2], labels[labels < 2], 8)


def test_last_layer_reaches_the_optimum_of_a_convex_problem():
    """No feasible step from the solution lowers the objective: KKT conditions, from the definition in float64."""
    model, rng = tiny_model(), np.random.default_rng(0)
    similarity, labels = torch.as_tensor(rng.uniform(0, 1, (40, 3, 2))).float(), torch.arange(40) % 3
    l1 = 1e-2
    training.fit_last_layer(model, similarity, labels, l1)
    own = model.own_class().flatten(1).bool()

    def objective(weight):
        loss = torch.nn.functional.cross_entropy(similarity.flatten(1).double() @ weight.T, labels)
        return loss + l1 * weight[~own].abs().sum()

    weight = model.last_layer.weight.detach().double()
    assert weight.min() >= -0.5 and weight.max() <= 1
    best = objective(weight).item()
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1e-2, 1e-1):
        for _ in range(200):
            other = (weight + scale * torch.randn(weight.shape, generator=generator)).clamp(-0.5, 1)
            assert objective(other).item() >= best - 1e-7


def test_training_learns_and_logs_every_step(tmp_path):
    run = trainer(tmp_path, joint_epochs=6, learning_rate=0.03)
    log = run.run()
    assert [(row["cycle"], row["stage"]) for row in log][:9] == [(0, "warm-up")] + [(0, "joint")] * 6 + [
        (0, "replacement"), (0, "last layer")]
    best = next(row for row in log if row["cycle"] == run.best["cycle"] and row["stage"] == "last layer")
    assert log[5]["total"] < log[1]["total"] and best["validation_accuracy"] > 0.7  # chance is one in three
    assert {"cross_entropy", "aggregation", "separation", "orthogonality", "subspace", "balance", "validation_accuracy",
            "within_class_cosine", "effective_rank"} <= log[1].keys()
    assert log[6]["within_class_cosine"] < log[0]["within_class_cosine"]
    assert run.basis_before.shape == (3, 2, 6)


def test_the_best_cycle_is_kept(tmp_path):
    run = trainer(tmp_path, cycles=3)
    run.run()
    losses = [row["validation_loss"] for row in run.log if row["stage"] == "last layer"]
    assert run.best["cycle"] == int(np.argmin(losses))
    scores = training.evaluate(run.model, run.val_features[0], run.val_labels, 8)
    assert scores["loss"] == pytest.approx(min(losses), abs=1e-9)
    assert len(losses) == min(3, run.best["cycle"] + 2)  # one cycle without a gain ends training


@pytest.mark.parametrize("objective", ["paper", "balanced"])
def test_same_seed_same_weights_other_seed_others(tmp_path, objective):
    runs = [trainer(tmp_path / str(i), objective=objective, seed=seed) for i, seed in enumerate((0, 0, 1))]
    for run in runs:
        run.run()
    assert_same(state(runs[0].model), state(runs[1].model))
    assert not torch.equal(runs[0].model.basis_vectors, runs[2].model.basis_vectors)


class Killed(Exception):
    pass


@pytest.mark.parametrize("saves", range(1, 10))
def test_resuming_after_any_step_equals_an_uninterrupted_run(tmp_path, saves, monkeypatch):
    whole = trainer(tmp_path / "whole")
    whole.run()
    broken = trainer(tmp_path / "broken")
    save, done = broken._save, []

    def save_then_die():
        save()
        done.append(1)
        if len(done) == saves:
            raise Killed

    monkeypatch.setattr(broken, "_save", save_then_die)
    with pytest.raises(Killed):
        broken.run()
    resumed = trainer(tmp_path / "broken")  # a fresh model and optimiser: only the file carries over
    resumed.run()
    assert_same(state(resumed.model), state(whole.model))
    assert resumed.log == whole.log and resumed.prototypes == whole.prototypes
    assert torch.equal(resumed.basis_before, whole.basis_before)


def test_training_the_whole_network_augments_anew_each_epoch(tmp_path):
    g = torch.Generator().manual_seed(0)
    pictures, labels = torch.randint(0, 256, (1, 12, 3, 64, 64), dtype=torch.uint8, generator=g), torch.arange(12) % 3
    runs = []
    for name in ("a", "b"):
        run = training.Trainer(tiny_model(trainable="all"), config(cycles=1), (pictures, labels), (pictures, labels),
                               tmp_path / name)
        run.run()
        runs.append(run)
    assert_same(state(runs[0].model), state(runs[1].model))
    fresh = tiny_model(trainable="all")
    assert not torch.equal(runs[0].model.backbone.stages[0][0].weight, fresh.backbone.stages[0][0].weight)


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path):
    run = trainer(tmp_path)
    run.features = run.features * float("nan")
    with pytest.raises(FloatingPointError, match="learning_rate"):
        run.run()
