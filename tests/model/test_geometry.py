"""Measures of bases against definitions written out, and at values known beforehand."""

import numpy as np
import pytest
import torch

from asxai.model.geometry import effective_rank, mean_subspace_distance, subspace_distances, within_class_cosine


@pytest.fixture
def basis():
    return torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.double)


def test_within_class_cosine_against_a_loop(basis):
    for vectors, cosine in zip(basis.numpy(), within_class_cosine(basis)):
        unit = [vector / np.linalg.norm(vector) for vector in vectors]
        values = [abs(a @ b) for j, a in enumerate(unit) for k, b in enumerate(unit) if j != k]
        assert cosine == pytest.approx(np.mean(values))


def test_values_known_beforehand():
    orthogonal = torch.eye(6)[:4].reshape(2, 2, 6)
    assert within_class_cosine(orthogonal) == pytest.approx([0, 0], abs=1e-12)
    assert effective_rank(orthogonal) == pytest.approx([2, 2])
    assert subspace_distances(orthogonal) == pytest.approx(1 - np.eye(2))
    same = torch.ones(2, 3, 5)
    assert within_class_cosine(same) == pytest.approx([1, 1])
    assert effective_rank(same) == pytest.approx([1, 1])
    assert subspace_distances(same) == pytest.approx(np.zeros((2, 2)), abs=1e-7)
    assert np.isnan(within_class_cosine(torch.ones(2, 1, 5))).all()


def test_subspace_distance_against_projectors(basis):
    def projector(a):
        q, _ = np.linalg.qr(a.T)
        return q @ q.T

    distances = subspace_distances(basis)
    for a, b in np.ndindex(4, 4):
        expected = np.linalg.norm(projector(basis[a].numpy()) - projector(basis[b].numpy()), "fro") / np.sqrt(2)
        assert distances[a, b] == pytest.approx(expected / np.sqrt(3), abs=1e-9)
    pairs = [distances[a, b] for a in range(4) for b in range(a)]
    assert mean_subspace_distance(basis) == pytest.approx(np.mean(pairs))


def test_subspace_distance_depends_on_the_span_only(basis):
    mixed = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double) @ basis
    np.testing.assert_allclose(subspace_distances(mixed), subspace_distances(basis), atol=1e-9)


def test_repeated_vectors_span_less_and_large_spans_must_meet():
    repeated = torch.stack([torch.eye(4)[[0, 0, 1]], torch.eye(4)[[2, 2, 3]]])
    assert subspace_distances(repeated)[0, 1] == pytest.approx(1)
    three_of_four = torch.stack([torch.eye(4)[[0, 1, 2]], torch.eye(4)[[1, 2, 3]]])
    assert subspace_distances(three_of_four)[0, 1] == pytest.approx(1)  # as far as three of four can be
    whole = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert (subspace_distances(whole) == 0).all()
