"""Training: every term of the loss, exact repetition, exact resumption."""

import numpy as np
import pytest
import torch
from helpers import tiny_features, tiny_model

from asxai.config import Config
from asxai.data import augmentation
from asxai.model import losses as losses_module
from asxai.model import training


def config(**parameters):
    network = dict(basis_per_class=2, scene_vectors=1, channels=6)
    training = dict(warm_up_epochs=1, joint_epochs=2, cycles=2, batch_size=8, views=2, learning_rate=1e-2)
    return Config.of("nowhere", **network | training | parameters)


def trainer(tmp_path, **parameters):
    settings, (features, labels) = config(**parameters), tiny_features()
    groups = tiny_groups(features) if settings.objective == "parts" else None
    validation, checkpoint = tiny_features(12, views=1, seed=1), tmp_path / "checkpoint.safetensors"
    return training.Trainer(tiny_model(), settings, (features, labels), validation, checkpoint, groups=groups)


def tiny_groups(features):
    """Vector 0 is meant for the bright middle of each picture, vector 1 for the rest, the scene."""
    groups = torch.ones(*features.shape[:2], *features.shape[3:], dtype=torch.uint8)
    groups[:, :, 1:3, 1:3] = 0
    return groups


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


@pytest.mark.parametrize("objective, term, patches", [("balanced", "balance", 128), ("parts", "guide", 10)])
def test_training_learns_and_logs_every_step(tmp_path, objective, term, patches):
    run = trainer(tmp_path, joint_epochs=6, learning_rate=0.03, objective=objective, patches=patches)
    log = run.run()
    stages = ["warm-up"] + ["joint"] * 6 + ["replacement", "last layer"]
    assert [(row["cycle"], row["stage"]) for row in log][:9] == [(0, stage) for stage in stages]
    best = next(row for row in log if row["cycle"] == run.best["cycle"] and row["stage"] == "last layer")
    assert log[5]["total"] < log[1]["total"] and best["validation_accuracy"] > 0.7  # chance is one in three
    terms = {"cross_entropy", "aggregation", "separation", "orthogonality", "subspace", term}
    assert terms | {"validation_accuracy", "within_class_cosine", "effective_rank"} <= log[1].keys()
    assert log[6]["within_class_cosine"] < log[0]["within_class_cosine"]
    assert run.basis_before.shape == (3, 2, 6)


def test_the_guide_teaches_each_vector_its_patches(tmp_path):
    """Groups of patches that look alike need the guide: which vector wins a patch then is what the groups say."""
    run = trainer(tmp_path, joint_epochs=12, cycles=1, learning_rate=0.03, objective="parts")
    run.run()
    assert run.log[12]["guide"] < 0.7 * run.log[0]["guide"]
    with torch.inference_mode():
        maps = run.model(run.features[0]).maps[torch.arange(30), run.labels]
    agree = (maps.argmax(1) == run.groups[0]).float()
    assert agree[:, 1:3, 1:3].mean() > 0.8 and agree.mean() > 0.8


def test_the_best_cycle_is_kept(tmp_path):
    run = trainer(tmp_path, cycles=3)
    run.run()
    losses = [row["validation_loss"] for row in run.log if row["stage"] == "last layer"]
    assert run.best["cycle"] == int(np.argmin(losses))
    scores = training.evaluate(run.model, run.val_features[0], run.val_labels, 8)
    assert scores["loss"] == pytest.approx(min(losses), abs=1e-9)
    assert len(losses) == min(3, run.best["cycle"] + 2)  # one cycle without a gain ends training


@pytest.mark.parametrize("objective", losses_module.OBJECTIVES)
def test_same_seed_same_weights_other_seed_others(tmp_path, objective):
    runs = [trainer(tmp_path / str(i), objective=objective, seed=seed) for i, seed in enumerate((0, 0, 1))]
    for run in runs:
        run.run()
    assert_same(state(runs[0].model), state(runs[1].model))
    assert not torch.equal(runs[0].model.basis_vectors, runs[2].model.basis_vectors)


@pytest.mark.parametrize("objective", losses_module.OBJECTIVES)
def test_the_total_is_the_papers_weighted_sum_with_noise(tmp_path, objective):
    """lambda 1, 1e-7, 0.08, 0.8, 0.5 for balance, 1 for the guide, signs by effect; noise of 0.01 on the vectors."""
    run = trainer(tmp_path, objective=objective)
    run.optimiser = run._new_optimiser("joint")
    features, labels = run.features[0, :8], run.labels[:8]
    noise = 0.01 * torch.randn(run.model.basis_vectors.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        out, basis = run.model(features, noise), run.model.basis.clone()
    expected = (
        torch.nn.functional.cross_entropy(out.logits, labels)
        + 0.8 * losses_module.aggregation(out.maps, labels)
        + 0.08 * losses_module.separation(out.maps, labels)
        + losses_module.orthogonality(basis)
        + 1e-7 * losses_module.subspace_separation(basis)
    )
    if objective == "balanced":
        expected += 0.5 * losses_module.balanced_assignment(out.maps, labels)
    groups = None
    if objective == "parts":
        groups = run.groups[0, :8]
        expected += losses_module.guided_assignment(out.maps, labels, groups)
    total = run._update(features, labels, groups, None, torch.Generator().manual_seed(3))["total"]
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    without = run.model(features).maps
    assert (out.maps - without).abs().mean() > 1e-4


def test_an_epoch_shows_every_picture_in_every_view(tmp_path, monkeypatch):
    run, seen = trainer(tmp_path), []
    monkeypatch.setattr(run, "_update", lambda features, labels, *_: seen.append((features, labels)) or {})
    run._epoch(torch.Generator().manual_seed(0))
    features, labels = torch.cat([f for f, _ in seen]), torch.cat([y for _, y in seen])
    both = run.features.flatten(0, 1)
    order = [(both == f).flatten(1).all(dim=1).nonzero().item() for f in features]
    assert sorted(order) == list(range(60)) and order != list(range(60))
    assert torch.equal(labels, run.labels.repeat(2)[order])


def test_a_step_looks_at_some_cells_the_same_in_each_picture_and_in_its_groups(tmp_path, monkeypatch):
    run, seen = trainer(tmp_path, patches=5), []
    views, pictures = run.features.shape[:2]
    which = torch.arange(views * pictures).view(views, pictures, 1, 1)
    cell = torch.arange(16).view(1, 1, 4, 4).expand(views, pictures, -1, -1)
    run.features = torch.stack([which.expand_as(cell), cell], dim=2).float()  # a feature says where it is from
    run.groups = ((7 * which + cell) % 11).to(torch.uint8)
    monkeypatch.setattr(run, "_update", lambda *arguments: seen.append(arguments[:3]) or {})
    run._epoch(torch.Generator().manual_seed(0))
    cells = []
    for features, labels, groups in seen:
        assert features.shape == (len(labels), 2, 1, 5) and groups.shape == (len(labels), 1, 5)
        source, at = features[:, 0, 0].long(), features[:, 1, 0].long()
        assert (at == at[0]).all() and len(at[0].unique()) == 5  # the same cells in all pictures, none twice
        assert torch.equal(groups[:, 0], ((7 * source + at) % 11).to(torch.uint8))
        assert torch.equal(labels, run.labels[source[:, 0] % pictures])
        cells.append(frozenset(at[0].tolist()))
    assert len(set(cells)) > 1 and len(frozenset.union(*cells)) > 5  # other cells in another step
    assert sorted(s for f, _, _ in seen for s in f[:, 0, 0, 0].tolist()) == list(range(60))


@pytest.mark.parametrize("trainable, patches", [("head", 0), ("head", 16), ("head", 128), ("last", 5)])
def test_a_step_looks_at_all_cells_where_it_is_told_to_or_must(tmp_path, trainable, patches, monkeypatch):
    """Zero means all; a grid may have fewer; and where the backbone is trained cells depend on their neighbours."""
    features, labels = tiny_features()
    model, settings = tiny_model(trainable=trainable), config(patches=patches, trainable=trainable)
    groups = tiny_groups(features)
    if trainable == "last":
        features = torch.randn(2, 30, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    data = features, labels
    run = training.Trainer(model, settings, data, data, tmp_path / "checkpoint", groups=groups)
    seen, update = [], run._update

    def spy(features, labels, groups, targets, generator):
        seen.append((features.shape[2:], groups.shape[1:]))
        return update(features, labels, groups, targets, generator)

    monkeypatch.setattr(run, "_update", spy)
    run.optimiser = run._new_optimiser("joint")
    run._epoch(torch.Generator().manual_seed(0))
    assert set(seen) == {(features.shape[3:], (4, 4))}


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    first = trainer(tmp_path)
    first._save()
    other = trainer(tmp_path)
    other.key = "other parameters"
    with pytest.raises(ValueError, match="other parameters or pictures; give another folder"):
        other.run()


def test_a_checkpoint_that_is_damaged_is_not_used(tmp_path):
    whole, damaged = trainer(tmp_path / "whole"), trainer(tmp_path / "damaged")
    whole.run()
    damaged._save()
    content = damaged.checkpoint.read_bytes()
    damaged.checkpoint.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged.run()
    assert_same(state(damaged.model), state(whole.model))


class Killed(Exception):
    pass


@pytest.mark.parametrize("saves", range(1, 10))
def test_resuming_after_any_step_equals_an_uninterrupted_run(tmp_path, saves, monkeypatch):
    """With the objective "parts", groups of patches, and random cells in each step."""
    parameters = dict(objective="parts", patches=7)
    whole = trainer(tmp_path / "whole", **parameters)
    whole.run()
    broken = trainer(tmp_path / "broken", **parameters)
    save, done = broken._save, []

    def save_then_die():
        save()
        done.append(1)
        if len(done) == saves:
            raise Killed

    monkeypatch.setattr(broken, "_save", save_then_die)
    with pytest.raises(Killed):
        broken.run()
    resumed = trainer(tmp_path / "broken", **parameters)  # a fresh model and optimiser: only the file carries over
    resumed.run()
    assert_same(state(resumed.model), state(whole.model))
    assert resumed.log == whole.log and resumed.prototypes == whole.prototypes
    assert torch.equal(resumed.basis_before, whole.basis_before)


def test_training_the_whole_network_augments_anew_each_epoch(tmp_path, monkeypatch):
    seen, real = [], augmentation.augment

    def spy(pictures, generator):
        seen.append(real(pictures, generator))
        return seen[-1]

    monkeypatch.setattr(training, "augment", spy)
    g = torch.Generator().manual_seed(0)
    pictures, labels = torch.randint(0, 256, (1, 12, 3, 64, 64), dtype=torch.uint8, generator=g), torch.arange(12) % 3
    runs = []
    for name in ("a", "b"):
        settings, data = config(cycles=1, batch_size=6, trainable="all", objective="balanced"), (pictures, labels)
        run = training.Trainer(tiny_model(trainable="all"), settings, data, data, tmp_path / name)
        run.run()
        runs.append(run)
    assert_same(state(runs[0].model), state(runs[1].model))
    fresh = tiny_model(trainable="all")
    assert not torch.equal(runs[0].model.backbone.stages[0][0].weight, fresh.backbone.stages[0][0].weight)
    assert len(seen) == 2 * 3 * 2 and len({batch.sum().item() for batch in seen}) == 6  # run, epoch, batch


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path):
    run = trainer(tmp_path)
    run.features = run.features * float("nan")
    with pytest.raises(FloatingPointError, match="learning_rate"):
        run.run()


@pytest.mark.parametrize("at", [1, 3, 7])
def test_a_checkpoint_within_an_epoch_goes_on_at_the_very_batch(tmp_path, at, monkeypatch):
    """As a machine that is taken away at any moment: a state is written after each batch, and the run ends at one."""
    whole = trainer(tmp_path / "whole", objective="parts", patches=7)
    whole.run()
    monkeypatch.setattr(training, "SECONDS", -1)
    broken, done = trainer(tmp_path / "broken", objective="parts", patches=7), []
    save = broken._save

    def save_then_die(midway=None):
        save(midway)
        done.append(midway)
        if midway and sum(map(bool, done)) == 7 + at:  # in the second epoch, which takes up Adam's state as well
            raise Killed

    monkeypatch.setattr(broken, "_save", save_then_die)
    with pytest.raises(Killed):
        broken.run()
    assert done[-1][0] == at and done[7] is None
    seen, resumed = [], trainer(tmp_path / "broken", objective="parts", patches=7)
    update = resumed._update
    monkeypatch.setattr(resumed, "_update", lambda *given: seen.append(1) or update(*given))
    monkeypatch.setattr(training, "SECONDS", 300)
    resumed.run()
    assert len(seen) == 8 - at + 8 * (len([row for row in whole.log if "total" in row]) - 2)
    assert_same(state(resumed.model), state(whole.model))
    assert resumed.log == whole.log
