"""Methods with concepts against what is known of them: planted directions, closed forms, orthonormal axes."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import sobol_indices, uniform

from asxai.concepts.cells import cell_parts
from asxai.methods import METHODS
from asxai.methods.base import placed
from asxai.methods.dictionaries import SparseAutoencoder
from asxai.methods.prototype_nets import DeformableHead, Head, PipHead, TesNetHead
from asxai.methods.with_labels import marked, standardised


def head(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x, labels = torch.randn(4, 7, 6, 6), torch.tensor([0, 1, 2, 2])
        x[torch.arange(4), labels, 2:4, 2:4] += 6  # each class raises a channel of its own somewhere
        return kind(7, 3, 2, 5), x, labels


@pytest.mark.parametrize("kind", [Head, TesNetHead, DeformableHead, PipHead])
def test_every_loss_can_be_lowered(kind):
    net, x, labels = head(kind)
    optimiser, values = torch.optim.Adam(net.parameters(), 0.05 if kind is PipHead else 0.01), []
    for _ in range(80):
        loss = net.losses(x, labels, torch.Generator().manual_seed(0), 0.5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        net.clamp_last_layer()
        values.append(loss.item())
    assert np.isfinite(values).all() and values[-1] < values[0] - 0.05
    assert (net(x)[0].argmax(dim=1) == labels).float().mean() >= 0.75


def test_a_pushed_prototype_is_a_patch_of_its_class():
    net, x, labels = head(Head)
    net.push([(x[:2], labels[:2]), (x[2:], labels[2:])])
    with torch.no_grad():
        best = net(x)[1].amax(dim=(2, 3)).unflatten(1, (3, 2))
    for label in range(3):  # distance 0: the largest similarity that there is
        torch.testing.assert_close(
            best[labels == label, label].amax(dim=0), torch.full((2,), np.log(1e4)), rtol=0.02, atol=0
        )


def test_a_last_batch_that_is_not_full_is_no_error_with_several_views(study, monkeypatch):
    monkeypatch.setattr("asxai.methods.prototype_nets.BATCH", 7)  # of 16 pictures
    two = dataclasses.replace(study, config=dataclasses.replace(study.config, views=2), _data=study.data)
    assert METHODS["ProtoPNet"]().fit(two).predict(study.data.test).shape == (10, 2)


def test_distances_and_projections_are_those_of_plain_loops():
    net, x, _ = head(Head)
    other, _, _ = head(TesNetHead)
    with torch.no_grad():
        z, (row, column) = net.add_on(x)[1], (2, 4)
        distance = (z[:, row, column] - net.prototypes).square().sum(dim=1)
        torch.testing.assert_close(
            net(x)[1][1, :, row, column], ((distance + 1) / (distance + 1e-4)).log(), rtol=1e-3, atol=1e-4
        )
        unit = other.prototypes / other.prototypes.norm(dim=1, keepdim=True)
        torch.testing.assert_close(other(x)[1][1, :, row, column], unit @ other.add_on(x)[1, :, row, column])


def test_deformed_parts_keep_their_length_and_pip_shares_a_patch():
    net, x, _ = head(DeformableHead)
    with torch.no_grad():
        constant = torch.rand(5).view(1, 5, 1, 1).expand(2, 5, 6, 6)
        net.prototypes.copy_(constant[0, :, 0, 0][None, :, None].expand_as(net.prototypes))
        torch.testing.assert_close(net.maps(constant), torch.ones(2, 6, 6, 6), rtol=1e-4, atol=1e-4)
        pip = head(PipHead)[0]
        torch.testing.assert_close(pip(x)[1].sum(dim=1), torch.ones(4, 6, 6))


def test_a_sparse_autoencoder_finds_planted_directions():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(20, 20)))[0][:5]
    codes = rng.random((3000, 5)) * (rng.random((3000, 5)) < 0.25)
    sae = SparseAutoencoder()
    sae.clusters, sae.kept = 5, 2
    score = sae.score_of((codes @ directions + 0.01 * rng.normal(size=(3000, 20))).astype(np.float32), 0)
    seen = score(torch.from_numpy(directions).float()[..., None, None])[..., 0, 0]  # (direction, unit)
    assert (seen >= 0).all() and sorted(seen.argmax(dim=1).tolist()) == [0, 1, 2, 3, 4]


def test_sobol_indices_of_craft_are_those_of_sampling(study):
    craft, split = METHODS["CRAFT"]().fit(study), study.data.test.take([0, 1])
    added, index = craft.added(split, 0).numpy(), craft.importance(split, 0).numpy()
    for slopes, ours in zip(added, index):
        factors = [uniform()] * len(slopes)
        sampled = sobol_indices(func=lambda x, s=slopes: s @ x, n=2**12, dists=factors, rng=0).total_order
        np.testing.assert_allclose(ours, sampled, atol=0.02)


def test_whitened_axes_are_orthonormal_and_point_at_parts(study):
    method = METHODS["concept whitening"]().fit(study)
    split = study.data.train
    cells = (standardised(study, split) - method.mean[:, None, None]).permute(0, 2, 3, 1).flatten(0, 2)
    product = method.read @ method.write.T  # whitening and back again
    torch.testing.assert_close(product, torch.eye(len(product)), rtol=1e-3, atol=1e-3)
    axes = cells @ method.read.T
    assert (axes.std(dim=0) < 2).all() and (axes.std(dim=0) > 0.2).all()
    parts = F.interpolate(torch.from_numpy(cell_parts(split.part_masks(224)))[:, None].float(), size=(6, 6))
    parts = parts.long().flatten()
    for k, axis in enumerate(axes.T, start=1):
        assert axis[parts == k].mean() > axis[parts != k].mean() + 0.5


def test_superpixels_are_marked_where_parts_are(study):
    split = study.data.test
    masks, chosen = split.part_masks(96), marked(study, split).numpy()
    for k in range(chosen.shape[1]):
        for picture in range(len(split)):
            there = masks[picture] == k + 1
            assert chosen[picture, k].any() == there.any()
            assert not there.any() or (chosen[picture, k] & there).any()


def test_what_needs_labels_says_so(study):
    told = {name for name, method in METHODS.items() if method.told != "nothing"}
    assert told == {"S-XAI", "true parts", "concept whitening"}
    photographs = dataclasses.replace(study, _data=dataclasses.replace(study.data, part_names=()))
    with pytest.raises(ValueError, match="part masks"):
        METHODS["S-XAI"]().fit(photographs)


def test_values_are_placed_where_maps_are_high():
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 0, 1, 2], maps[0, 1, 3] = 5, torch.arange(4.0)
    where = placed(torch.tensor([[2.0, -1.0]]), maps, 90.0)
    torch.testing.assert_close(where.sum(), torch.tensor(1.0))
    assert where[0, 1, 2] == 2 and where[0, 3].sum() == -1 and F.relu(where).sum() == 2
