"""How a concept's pictures differ: components by NumPy's SVD, and pictures that are blended and mended from a few."""

import numpy as np
import pytest
import torch

from asxai.traits import basis as traits_basis
from asxai.traits.basis import LIMIT, TraitBasis, moved_traits, quick_errors, trait_components


def components_by_hand(features, count):
    """Row-centred PCA of flattened maps by NumPy's SVD: trait, deviations, standardised weights, ratios."""
    rows = features.reshape(len(features), -1).astype(np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    trait, deviations, scores = 0, [], []
    for k in range(count):
        weights = left[:, k] * np.sign(left[:, k].sum())
        component = sum(weight * row for weight, row in zip(weights, rows))
        trait = trait + weights.mean() * component
        deviations.append(weights.std() * component)
        scores.append((weights - weights.mean()) / weights.std())
    return trait, deviations, np.array(scores).T, (singular**2 / (singular**2).sum())[:count]


def test_components_are_those_of_the_svd():
    features = np.random.default_rng(0).gamma(2, 1, (7, 5, 3, 2))
    parts, scores, ratios = trait_components(torch.as_tensor(features), 3)
    trait, deviations, by_hand, shares = components_by_hand(features, 3)
    assert parts.shape == (4, 5, 3, 2) and scores.shape == (7, 3)
    np.testing.assert_allclose(parts[0].flatten(), trait, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parts[1:].flatten(1), deviations, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores, by_hand, rtol=1e-8)
    np.testing.assert_allclose(ratios, shares, rtol=1e-10)


def test_all_components_together_give_every_picture_back():
    """The trait plus each picture's own weights times the deviations is that picture: nothing is lost or doubled."""
    features = np.random.default_rng(1).gamma(2, 1, (4, 6, 2, 2))
    parts, scores, _ = trait_components(torch.as_tensor(features), 9)
    assert len(parts) == 1 + 4, "no more components than pictures"
    # up to what centring takes away: the components span the centred rows
    back = parts[0] + torch.einsum("pk,kchw->pchw", torch.from_numpy(scores).float(), parts[1:])
    np.testing.assert_allclose(back, features, rtol=1e-4, atol=1e-4)


def made_basis(components=2, side=8, seed=0):
    rng = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=rng)
    features, logits = draw(1 + components, 5, 2, 2), draw(1 + 2 * components, 3, side, side)
    scores, windows = draw(9, components).double().numpy(), np.zeros((9, side, side, 3), np.uint8)
    ratios, errors = np.full(components, 0.2), np.zeros(1 + 2 * components)
    return TraitBasis("wing", "tip", features, logits, scores, ratios, errors, windows)


def test_a_blend_is_exact_for_a_single_component_and_adds_up_for_several():
    basis = made_basis()
    np.testing.assert_allclose(basis.blend([0, 0]), basis.logits[0], rtol=1e-6)
    for weights, number in (([-LIMIT, 0], 1), ([LIMIT, 0], 2), ([0, -LIMIT], 3), ([0, LIMIT], 4)):
        np.testing.assert_allclose(basis.blend(weights), basis.logits[number], rtol=1e-4, atol=1e-6)
    trait, below, _, _, above = basis.logits
    by_hand = trait + 2 / 3 * (below - trait) + 1 / 3 * (above - trait)
    np.testing.assert_allclose(basis.blend([-2, 1]), by_hand, rtol=1e-4, atol=1e-6)
    expected = basis.features[0] - 2 * basis.features[1] + basis.features[2]
    np.testing.assert_allclose(basis.target([-2, 1]), expected, rtol=1e-5, atol=1e-6)


def test_ends_are_sorted_by_projection():
    basis = made_basis()
    along = [np.dot(scores, [3, -1]) / np.sqrt(10) for scores in basis.scores]
    np.testing.assert_allclose(basis.along([3, -1]), along, rtol=1e-6)
    highest, lowest = basis.ends([3, -1], 3)
    assert highest.tolist() == sorted(range(9), key=lambda i: -along[i])[:3]
    assert lowest.tolist() == sorted(range(9), key=lambda i: along[i])[:3]
    np.testing.assert_array_equal(basis.along([0, 0]), basis.scores[:, 0])


def error(study, shown, target):
    """Relative squared error of the features of a picture `(3, side, side)`."""
    with torch.no_grad():
        return ((study.model.backbone(shown[None])[0] - target).square().sum() / target.square().sum()).item()


def test_a_basis_is_made_of_the_windows_where_a_concept_fires(study, basis):
    assert (basis.class_name, basis.concept, basis.components) == (study.class_names[0], "concept 1", 2)
    assert basis.windows.shape == (6, 64, 64, 3) and basis.windows.dtype == np.uint8
    maps = [study.model.backbone(torch.from_numpy(window).permute(2, 0, 1)[None])[0] for window in basis.windows]
    with torch.no_grad():
        trait, deviations, scores, ratios = components_by_hand(torch.stack(maps).detach().numpy(), 2)
    np.testing.assert_allclose(basis.features[0].flatten(), trait, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(basis.scores, scores, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(basis.ratios, ratios, rtol=1e-4)
    # errors are those of the pictures that are kept, against the very targets
    for row, weights in ((0, [0, 0]), (2, [LIMIT, 0]), (3, [0, -LIMIT])):
        expected = error(study, basis.logits[row].float().sigmoid(), basis.target(weights))
        assert basis.errors[row] == pytest.approx(expected, rel=0.05)


def test_a_basis_is_computed_once(study, concepts, fast, basis, monkeypatch):
    monkeypatch.setattr(traits_basis, "invert", None)  # must not be called
    again = traits_basis.trait_basis(study, concepts, study.class_names[0], "concept 1", **fast)
    np.testing.assert_array_equal(again.windows, basis.windows)
    assert torch.equal(again.logits, basis.logits)
    with pytest.raises(TypeError):
        traits_basis.trait_basis(study, concepts, study.class_names[0], "concept 1", **fast | {"seed": 1})


def test_classes_and_concepts_that_are_not_there(study, concepts):
    first, second = study.class_names
    said = f"class_name='zebra' is no class of this study; its classes are {first}, {second}"
    with pytest.raises(ValueError, match=said):
        traits_basis.trait_basis(study, concepts, "zebra", "concept 1")
    with pytest.raises(ValueError, match=f"concept='concept 2' is none of the concepts of '{second}': concept 1, conc"):
        traits_basis.trait_basis(study, concepts, second, "concept 2")


def test_quick_steps_come_nearer_than_a_blend(study, basis):
    weights = [[2.0, -1.5], [-1.0, 2.5]]
    blends, quick = (moved_traits(study, basis, weights, steps) for steps in (0, 8))
    np.testing.assert_allclose(blends[1], basis.blend(weights[1]).sigmoid(), atol=1e-4)
    assert quick.shape == (2, 3, 64, 64) and 0 <= quick.min() and quick.max() <= 1
    table = quick_errors(study, basis, weights, steps=12)
    for row, target in enumerate(map(basis.target, weights)):
        error_of = lambda shown: error(study, shown, target)
        assert error_of(quick[row]) < error_of(blends[row])
        assert table["quick"][row] == pytest.approx(error_of(quick[row]), rel=1e-3)
        assert table["unmoved"][row] == pytest.approx(error_of(basis.logits[0].float().sigmoid()), rel=1e-3)
    together, alone = quick[1], moved_traits(study, basis, weights[1:])[0]
    np.testing.assert_allclose(together, alone, atol=1e-4)  # whatever else is in the batch
