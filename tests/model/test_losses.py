"""Each loss against a slow version in float64 that follows the paper's formula index by index."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from asxai.model import losses


@pytest.fixture(params=range(3))
def case(request):
    """Maps, labels and basis of a small random problem: 5 pictures, 3 classes, 2 vectors, 4 channels, 3x2 cells."""
    rng = np.random.default_rng(request.param)
    embedding, basis = rng.normal(size=(5, 4, 3, 2)), rng.normal(size=(3, 2, 4))
    unit = basis / np.linalg.norm(basis, axis=2, keepdims=True)
    maps = torch.zeros(5, 3, 2, 3, 2, dtype=torch.double)
    for i, c, j, y, x in np.ndindex(maps.shape):
        patch = embedding[i, :, y, x]
        maps[i, c, j, y, x] = patch @ basis[c, j] / np.linalg.norm(patch) / np.linalg.norm(basis[c, j])
    return maps, torch.tensor([0, 1, 2, 1, 0]), torch.as_tensor(unit)


def exactly(value):
    return pytest.approx(value, abs=1e-12)


def cosines(maps, i, classes):
    return [maps[(i, c, *rest)].item() for c in classes for rest in np.ndindex(maps.shape[2:])]


def test_aggregation_is_equation_1(case):
    maps, labels, _ = case
    expected = np.mean([min(-v for v in cosines(maps, i, [labels[i].item()])) for i in range(5)])
    assert losses.aggregation(maps, labels).item() == exactly(expected)


def test_separation_is_the_best_wrong_class_cosine(case):
    maps, labels, _ = case
    expected = np.mean([max(cosines(maps, i, [c for c in range(3) if c != labels[i]])) for i in range(5)])
    assert losses.separation(maps, labels).item() == exactly(expected)


def test_orthogonality_is_the_frobenius_norm(case):
    unit = case[2].numpy()
    expected = sum((unit[c, j] @ unit[c, k] - (j == k)) ** 2 for c, j, k in np.ndindex(3, 2, 2))
    assert losses.orthogonality(case[2]).item() == exactly(expected)


def test_subspace_separation_is_equation_3(case):
    expected = 0.0
    for c1, a in enumerate(case[2].numpy()):
        for b in case[2].numpy()[c1 + 1 :]:
            expected -= np.linalg.norm(a.T @ a - b.T @ b, "fro") / np.sqrt(2)
    assert losses.subspace_separation(case[2]).item() == exactly(expected)


def test_subspace_separation_of_equal_subspaces_has_a_finite_gradient():
    basis = torch.eye(4, dtype=torch.double)[:2].expand(2, -1, -1).clone().requires_grad_()
    losses.subspace_separation(basis).backward()
    assert torch.isfinite(basis.grad).all()


def slow_sinkhorn(scores, epsilon, iterations):
    q = np.exp(scores / epsilon)
    for _ in range(iterations):
        q = q / q.sum(axis=0, keepdims=True)
        q = q / q.sum(axis=1, keepdims=True)
    return q


def test_sinkhorn_equals_plain_scaling_and_balances():
    scores = np.random.default_rng(0).uniform(-1, 1, size=(40, 5))
    ours = losses.sinkhorn(torch.as_tensor(scores), epsilon=0.05, iterations=3).numpy()
    np.testing.assert_allclose(ours, slow_sinkhorn(scores, 0.05, 3), atol=1e-12)
    balanced = losses.sinkhorn(torch.as_tensor(scores), epsilon=0.05, iterations=300).numpy()
    np.testing.assert_allclose(balanced.sum(axis=0), 8, atol=0.05)


def test_sinkhorn_shares_where_a_plain_softmax_would_not():
    scores = torch.zeros(20, 4, dtype=torch.double)
    scores[:, 0] = 0.3  # every patch prefers the first vector
    assert losses.sinkhorn(scores).sum(dim=0).allclose(torch.full((4,), 5.0, dtype=torch.double))


def test_balanced_assignment_against_a_loop(case):
    maps, labels, _ = case
    expected = 0.0
    for c in range(3):
        members = np.flatnonzero(labels == c)
        scores = np.array(
            [[maps[i, c, j, y, x].item() for j in range(2)] for i in members for y, x in np.ndindex(3, 2)]
        )
        expected -= (slow_sinkhorn(scores, 0.05, 3) * log_softmax(scores / 0.1, axis=1)).sum()
    assert losses.balanced_assignment(maps, labels).item() == pytest.approx(expected / 30, abs=1e-10)


def slow_guided(maps, labels, groups):
    """-sum of w log p over the sum of w, patch by patch; w = 1 / sqrt(patches of the batch in the same group)."""
    groups, total, weights = np.asarray(groups), 0.0, 0.0
    for i, y, x in np.ndindex(groups.shape):
        scores = np.array([maps[i, labels[i], j, y, x].item() for j in range(maps.shape[2])])
        weight = 1 / np.sqrt((groups == groups[i, y, x]).sum())
        total -= weight * log_softmax(scores / 0.1)[groups[i, y, x]]
        weights += weight
    return total / weights


@pytest.fixture
def groups():
    """Vector 0 stands for three patches of four, vector 1 for the others."""
    return (torch.arange(30).view(5, 3, 2) % 4 == 0).to(torch.uint8)


def test_guided_assignment_against_a_loop(case, groups):
    maps, labels, _ = case
    for some in (groups, torch.zeros_like(groups)):  # in the second the other vector has no patch at all
        assert losses.guided_assignment(maps, labels, some).item() == exactly(slow_guided(maps, labels, some))


def test_guided_assignment_does_not_depend_on_the_number_of_patches(case, groups):
    maps, labels, _ = case
    once = losses.guided_assignment(maps, labels, groups)
    cells = losses.guided_assignment(torch.cat([maps, maps], dim=3), labels, torch.cat([groups, groups], dim=1))
    pictures = losses.guided_assignment(torch.cat([maps] * 3), labels.repeat(3), torch.cat([groups] * 3))
    torch.testing.assert_close(torch.stack([cells, pictures]), torch.stack([once, once]), rtol=1e-12, atol=0)


def test_guided_assignment_falls_as_patches_turn_to_their_vector(case, groups):
    maps, labels, _ = case
    maps = maps.clone().requires_grad_()
    losses.guided_assignment(maps, labels, groups).backward()
    assert torch.isfinite(maps.grad).all()
    for i, c, j, y, x in np.ndindex(maps.shape):
        slope = maps.grad[i, c, j, y, x]
        assert (slope == 0) if c != labels[i] else (slope < 0) == (j == groups[i, y, x])


def test_guided_assignment_of_a_sure_network_is_zero_and_finite(groups):
    maps = torch.full((5, 3, 2, 3, 2), -1.0)
    for i, y, x in np.ndindex(groups.shape):
        maps[i, 1, int(groups[i, y, x]), y, x] = 1
    maps.requires_grad_()
    loss = losses.guided_assignment(maps, torch.ones(5, dtype=torch.long), groups)
    loss.backward()
    assert loss.item() < 1e-6 and torch.isfinite(maps.grad).all()


def test_terms_are_the_papers_with_equation_4_and_one_more_for_each_other_objective(case, groups):
    maps, labels, unit = case
    logits = np.random.default_rng(1).normal(size=(5, 3))
    phi = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    terms = {
        objective: losses.loss_terms(torch.as_tensor(logits), maps, labels, unit, objective, groups)
        for objective in losses.OBJECTIVES
    }
    expected = -np.mean([np.log(phi[i, labels[i]]) for i in range(5)])
    assert terms["paper"]["cross_entropy"].item() == exactly(expected)
    assert terms["parts"]["guide"] == losses.guided_assignment(maps, labels, groups)
    assert terms["balanced"]["balance"] == losses.balanced_assignment(maps, labels)
    for objective, more in (("balanced", "balance"), ("parts", "guide")):
        assert terms[objective] == terms["paper"] | {more: terms[objective][more]}


@pytest.mark.parametrize("loss", [losses.orthogonality, losses.subspace_separation])
def test_gradients_of_basis_losses_by_finite_differences(loss):
    basis = torch.randn(3, 2, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(loss, basis)


@pytest.mark.parametrize("loss", [losses.aggregation, losses.separation, losses.guided_assignment])
def test_gradients_of_map_losses_by_finite_differences(loss, case, groups):
    maps, labels, _ = case
    more = [groups] if loss is losses.guided_assignment else []
    assert torch.autograd.gradcheck(lambda m: loss(m, labels, *more), maps.clone().requires_grad_())


def test_gradient_of_balanced_assignment_treats_the_assignment_as_given(case):
    maps, labels, _ = case
    ours = maps.clone().requires_grad_()
    losses.balanced_assignment(ours, labels).backward()
    step, index = 1e-6, (0, 0, 1, 2, 1)
    first_class = lambda m: m[labels == 0, 0].flatten(2).transpose(1, 2).flatten(0, 1)
    target = losses.sinkhorn(first_class(maps))
    moved = maps.clone()
    moved[index] += step
    value = lambda m: -(target * torch.log_softmax(first_class(m) / 0.1, dim=1)).sum().item() / 30
    assert ours.grad[index].item() == pytest.approx((value(moved) - value(maps)) / step, abs=1e-5)
