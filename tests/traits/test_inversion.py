"""Feature inversion: its objective against loops, its gradient by differences, and pictures that give the features."""

import numpy as np
import pytest
import torch
from helpers import cases, tiny_backbone
from torch import nn

from asxai.model.backbones import BACKBONES, load_backbone
from asxai.traits import inversion
from asxai.traits.inversion import invert, objective, total_variation


def small_network():
    """For pictures of 8 pixels and more, float64, smooth."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 5, 4, stride=2), nn.Tanh(), nn.Conv2d(5, 4, 2), nn.Tanh()).double()


def random(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def smooth_pictures(count, size):
    return nn.functional.interpolate(random(count, 3, 5, 5), size=(size, size), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def network():
    return tiny_backbone()


@pytest.fixture(scope="module")
def features(network):
    """Of three smooth pictures of 64 pixels, `(3, 5, 4, 4)`."""
    with torch.inference_mode():
        return network(smooth_pictures(3, 64))


def of_kind(features, kind):
    return features.mean(dim=(2, 3)) if kind == "pooled" else features


def variation_by_loops(picture):
    total, (channels, height, width) = 0.0, picture.shape
    for c, y, x in np.ndindex(channels, height, width):
        total += (picture[c, y + 1, x] - picture[c, y, x]) ** 2 if y + 1 < height else 0
        total += (picture[c, y, x + 1] - picture[c, y, x]) ** 2 if x + 1 < width else 0
    return total / (channels * height * width)


def error_by_loops(features, target):
    """Of one picture: features `(channel, height, width)`, target the same or `(channel,)`."""
    if target.ndim == 1:
        features = np.array([sum(cells.ravel()) / cells.size for cells in features])
    pairs = list(zip(features.ravel(), target.ravel()))
    return sum((found - wanted) ** 2 for found, wanted in pairs) / sum(wanted**2 for _, wanted in pairs)


def test_total_variation_against_loops():
    pictures = random(2, 3, 7, 5, dtype=torch.float64)
    expected = [variation_by_loops(picture) for picture in pictures.numpy()]
    np.testing.assert_allclose(total_variation(pictures), expected, rtol=1e-12)
    assert total_variation(torch.ones(1, 3, 6, 6)).item() == 0
    stripes = (torch.arange(8) % 2.0).expand(1, 3, 8, 8)  # every step across is 1, and there are 7 in 8 columns
    assert total_variation(stripes).item() == pytest.approx(7 / 8)


@pytest.mark.parametrize("kind", ["pooled", "spatial"])
def test_objective_against_loops(kind):
    network, pictures = small_network(), random(2, 3, 10, 8, dtype=torch.float64)
    with torch.no_grad():
        features = network(pictures)
        targets = of_kind(torch.randn(features.shape, generator=torch.Generator().manual_seed(1)).double(), kind)
        found = objective(network, pictures, targets)
        seen = objective(network, torch.zeros_like(pictures), targets, seen=pictures)
    for i in range(2):
        error = error_by_loops(features[i].numpy(), targets[i].numpy())
        variation = variation_by_loops(pictures[i].numpy())
        assert [term[i].item() for term in found] == pytest.approx((error + 2 * variation, error, variation), rel=1e-12)
        assert [term[i].item() for term in seen] == pytest.approx((error, error, 0), rel=1e-12)


@pytest.mark.parametrize("kind", ["pooled", "spatial"])
def test_gradient_of_the_objective_by_finite_differences(kind):
    network, pictures = small_network(), random(2, 3, 8, 8, dtype=torch.float64).requires_grad_()
    targets = of_kind(network(random(2, 3, 8, 8, seed=1, dtype=torch.float64)).detach(), kind)
    assert torch.autograd.gradcheck(lambda z: objective(network, z, targets).total, pictures)


def test_the_papers_descent_is_equation_11(network, features):
    z, trace = torch.zeros(1, 3, 64, 64), []
    for _ in range(6):
        z.requires_grad_()
        total = ((network(z) - features[:1]) ** 2).sum() / (features[:1] ** 2).sum()
        total = total + 2 * ((z[:, :, 1:] - z[:, :, :-1]) ** 2).sum() / 3 / 64 / 64
        total = total + 2 * ((z[:, :, :, 1:] - z[:, :, :, :-1]) ** 2).sum() / 3 / 64 / 64
        trace.append(total.item())
        z = (z - 0.05 * torch.autograd.grad(total, z)[0]).detach().clamp(0, 1)
    result = invert(network, features[:1], 64, "paper", steps=6)
    torch.testing.assert_close(result.pictures, z)
    assert result.trace[:-1, 0].tolist() == pytest.approx(trace, rel=1e-5)


# of the error that a black or a grey picture starts with, little is left
@pytest.mark.parametrize("kind", ["pooled", "spatial"])
@pytest.mark.parametrize("method, steps, largest", [("paper", 300, (0.05, 0.3)), ("fast", 100, (0.01, 0.05))])
def test_features_of_a_known_picture_are_found_again(method, steps, kind, largest, network, features):
    targets, largest = of_kind(features, kind), largest[kind == "spatial"]
    result = invert(network, targets, 64, method, steps)
    assert result.pictures.shape == (3, 3, 64, 64) and result.trace.shape == result.clock.shape == (steps + 1, 3)
    assert result.pictures.min() >= 0 and result.pictures.max() <= 1
    assert (result.feature_error < largest).all()
    with torch.no_grad():  # what is reported is what the pictures have
        terms = objective(network, result.pictures, targets)
    for found, expected in zip((result.trace[-1], result.feature_error, result.total_variation), terms):
        torch.testing.assert_close(found, expected)
    drawn = result.to_uint8()
    assert drawn.shape == (3, 64, 64, 3) and drawn.dtype == np.uint8
    assert np.abs(drawn / 255 - result.pictures.permute(0, 2, 3, 1).numpy()).max() < 0.5001 / 255


def test_stretched_pictures_use_all_of_the_range(network, features):
    result = invert(network, features, 64, "paper", steps=3)
    dark, bright = result.to_uint8().astype(int), result.to_uint8(stretch=True).astype(int)
    assert dark.max() < 128 and ((bright == 255).mean(axis=(1, 2, 3)) == pytest.approx(0.005, abs=0.001))
    assert (bright >= dark).all()
    assert not result._replace(pictures=torch.zeros(1, 3, 16, 16)).to_uint8(stretch=True).any()


@pytest.mark.parametrize("kind, largest", [("pooled", 0.05), ("spatial", 0.15)])
def test_fast_inversion_of_a_random_efficientnet(kind, largest):
    backbone = load_backbone(weights="random")
    with torch.inference_mode():
        targets = of_kind(backbone(smooth_pictures(1, 96)), kind)
    result = invert(backbone, targets, 96, steps=40)
    assert result.feature_error.item() < largest < result.trace[0].item() / 5


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_both_kinds_both_methods(name):
    backbone = load_backbone(name, "random")
    with torch.inference_mode():
        features = backbone(smooth_pictures(1, 64))
    for kind, method in (("pooled", "fast"), ("spatial", "paper")):
        result = invert(backbone, of_kind(features, kind), 64, method, steps=2)
        assert torch.isfinite(result.trace).all() and result.trace[-1] < result.trace[0]


@pytest.mark.parametrize("method", ["paper", "fast"])
@pytest.mark.parametrize("kind", ["pooled", "spatial"])
def test_a_target_does_not_depend_on_the_others(kind, method, network, features, monkeypatch):
    targets = of_kind(features, kind)
    together = invert(network, targets, 64, method, steps=8)
    for batch in (1, 2):
        monkeypatch.setattr(inversion, "BATCH", batch)
        apart = invert(network, targets.flip(0), 64, method, steps=8)
        torch.testing.assert_close(apart.pictures.flip(0), together.pictures, rtol=0, atol=1e-4)
        torch.testing.assert_close(apart.trace.flip(1), together.trace, rtol=1e-4, atol=1e-6)
        assert apart.clock.shape == together.clock.shape and (apart.clock.diff(dim=0) >= 0).all()


def test_same_seed_same_picture_and_no_other_random_numbers(network, features):
    state = torch.get_rng_state()
    first, again, other = (invert(network, features, 64, steps=5, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.pictures, again.pictures) and torch.equal(first.trace, again.trace)
    assert not torch.equal(first.pictures, other.pictures)
    assert torch.equal(state, torch.get_rng_state())
    logits = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    painter = inversion.Waves(features, 64, 8, start=logits)  # waves start where they are told to
    torch.testing.assert_close(painter.pictures(), logits.sigmoid(), rtol=0, atol=1e-4)


def test_the_network_stays_as_it_was(network, features):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    next(network.parameters()).requires_grad_(False)
    invert(network, features, 64, steps=3)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True]
    assert all(p.grad is None for p in network.parameters())
    next(network.parameters()).requires_grad_(True)


def test_works_under_no_grad_and_in_the_type_of_the_network(network, features):
    expected = invert(network, features, 64, steps=3).pictures
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(invert(network, network(smooth_pictures(3, 64)), 64, steps=3).pictures, expected)
    half = invert(network, features.half(), 64, steps=3)  # as features are cached
    assert half.pictures.dtype == torch.float32
    assert invert(network.double(), features, 64, steps=2).pictures.dtype == torch.float64
    network.float()


def test_a_descent_that_climbs_is_not_silent_and_shapes_that_would_broadcast_are_refused(
    network, features, monkeypatch
):
    with pytest.raises(ValueError, match=r"targets have shape \(1, 5, 4, 4\), the features \(3, 5, 4, 4\)"):
        objective(network, smooth_pictures(3, 64), features[:1])
    monkeypatch.setattr(inversion, "TV_WEIGHT", 1e7)
    with pytest.warns(UserWarning, match="objective of some targets has risen; look at the trace"):
        invert(network, features, 64, "paper", steps=9)


@cases(
    "change, words",
    ({"targets": torch.ones(1, 6)}, r"targets have shape \(1, 6\), the features \(1, 5\)"),
    ({"targets": torch.ones(1, 5, 7, 7)}, r"targets have shape \(1, 5, 7, 7\).*same network and size"),
    ({"size": -3}, "size: -3 is not usable. Use a whole number of at least 16"),
    ({"size": 64.0}, "size: 64.0"),
    ({"steps": 0}, "steps: 0 is not usable. Use a whole number of at least 1"),
)
def test_errors_name_the_argument_the_value_and_the_remedy(change, words, network):
    with pytest.raises(ValueError, match=words):
        invert(**{"network": network, "targets": torch.ones(1, 5), "size": 64, "steps": 2} | change)
