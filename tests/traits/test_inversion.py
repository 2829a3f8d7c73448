"""Feature inversion: its objective against loops, its gradient by differences, and pictures that give the features."""

import numpy as np
import pytest
import torch
from helpers import tiny_backbone, tiny_model
from torch import nn

from asxai.model.backbones import BACKBONES, load_backbone
from asxai.traits.inversion import invert, jittered, objective, race, total_variation


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
        if y + 1 < height:
            total += (picture[c, y + 1, x] - picture[c, y, x]) ** 2
        if x + 1 < width:
            total += (picture[c, y, x + 1] - picture[c, y, x]) ** 2
    return total / (channels * height * width)


def error_by_loops(features, target, weights):
    """Of one picture: features `(channel, height, width)`, target the same or `(channel,)`."""
    difference = scale = 0.0
    for c, weight in enumerate(weights):
        if target.ndim == 1:
            pairs = [(sum(features[c].ravel()) / features[c].size, target[c])]
        else:
            pairs = zip(features[c].ravel(), target[c].ravel())
        for found, wanted in pairs:
            difference += weight * (found - wanted) ** 2
            scale += weight * wanted**2
    return difference / scale


def test_total_variation_against_loops():
    pictures = random(2, 3, 7, 5, dtype=torch.float64)
    expected = [variation_by_loops(picture) for picture in pictures.numpy()]
    np.testing.assert_allclose(total_variation(pictures), expected, rtol=1e-12)
    assert total_variation(torch.ones(1, 3, 6, 6)).item() == 0
    stripes = (torch.arange(8) % 2.0).expand(1, 3, 8, 8)  # every step across is 1, and there are 7 in 8 columns
    assert total_variation(stripes).item() == pytest.approx(7 / 8)


def test_objective_refuses_shapes_that_would_broadcast(network, features):
    with pytest.raises(ValueError, match=r"targets have shape \(1, 5, 4, 4\), the features \(3, 5, 4, 4\)"):
        objective(network, smooth_pictures(3, 64), features[:1])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["pooled", "spatial"])
def test_objective_against_loops(kind, weighted):
    network, pictures = small_network(), random(2, 3, 10, 8, dtype=torch.float64)
    with torch.no_grad():
        features = network(pictures)
        targets = of_kind(torch.randn(features.shape, generator=torch.Generator().manual_seed(1)).double(), kind)
        weights = random(2, 4, seed=2, dtype=torch.float64) if weighted else torch.ones(2, 4)
        found = objective(network, pictures, targets, 0.7, weights if weighted else None)
        shown = objective(network, torch.zeros_like(pictures), targets, 0.7, weights, shown=pictures)
    for i in range(2):
        error = error_by_loops(features[i].numpy(), targets[i].numpy(), weights[i].numpy())
        variation = variation_by_loops(pictures[i].numpy())
        expected = (error + 0.7 * variation, error, variation)
        assert [term[i].item() for term in found] == pytest.approx(expected, rel=1e-12)
        assert [term[i].item() for term in shown] == pytest.approx((error, error, 0), rel=1e-12)


@pytest.mark.parametrize("kind", ["pooled", "spatial"])
def test_gradient_of_the_objective_by_finite_differences(kind):
    network, pictures = small_network(), random(2, 3, 8, 8, dtype=torch.float64).requires_grad_()
    targets = of_kind(network(random(2, 3, 8, 8, seed=1, dtype=torch.float64)).detach(), kind)
    weights = random(2, 4, seed=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: objective(network, z, targets, 0.7, weights).total, pictures)


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
@pytest.mark.parametrize("method, steps, kind, largest", [
    ("paper", 300, "pooled", 0.05), ("paper", 300, "spatial", 0.3),
    ("fast", 100, "pooled", 0.01), ("fast", 100, "spatial", 0.05)])
def test_features_of_a_known_picture_are_found_again(method, steps, kind, largest, network, features):
    targets = of_kind(features, kind)
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
def test_a_target_does_not_depend_on_the_others(kind, method, network, features):
    targets = of_kind(features, kind)
    together = invert(network, targets, 64, method, steps=8)
    for batch in (1, 2):
        apart = invert(network, targets.flip(0), 64, method, steps=8, batch=batch)
        torch.testing.assert_close(apart.pictures.flip(0), together.pictures, rtol=0, atol=1e-4)
        torch.testing.assert_close(apart.trace.flip(1), together.trace, rtol=1e-4, atol=1e-6)
        assert apart.clock.shape == together.clock.shape and (apart.clock.diff(dim=0) >= 0).all()


def test_same_seed_same_picture_and_no_other_random_numbers(network, features):
    state = torch.get_rng_state()
    first, again, other = (invert(network, features, 64, steps=5, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.pictures, again.pictures) and torch.equal(first.trace, again.trace)
    assert not torch.equal(first.pictures, other.pictures)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["pooled", "spatial"])
def test_channels_of_weight_zero_do_not_matter_and_the_scale_of_weights_cancels(kind, network, features):
    targets, weights = of_kind(features, kind), torch.tensor([1.0, 0, 2, 0, 1]).repeat(3, 1)
    expected = invert(network, targets, 64, steps=40, channel_weights=weights)
    assert (expected.feature_error < 0.1).all()
    spoilt = targets.clone()
    spoilt[:, [1, 3]] = 77
    found = invert(network, spoilt, 64, steps=40, channel_weights=8 * weights)
    torch.testing.assert_close(found.pictures, expected.pictures, rtol=0, atol=1e-4)
    equal = invert(network, targets, 64, steps=5, channel_weights=np.full((3, 5), 4))
    torch.testing.assert_close(equal.pictures, invert(network, targets, 64, steps=5).pictures, rtol=0, atol=1e-4)


def test_the_network_stays_as_it_was():
    """Its batch statistics as well: in training mode, these would change, and mix the targets of a batch."""
    network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.BatchNorm2d(4), nn.Sequential(nn.Dropout(), nn.Tanh()))
    network[0].bias.requires_grad_(False)
    network[2].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    invert(network, torch.ones(2, 4), 32, steps=3)
    with pytest.raises(ValueError, match="channels"):
        invert(network, torch.ones(2, 5), 32, steps=3)
    assert [module.training for module in network.modules()] == [True, True, True, False, False, False]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [p.requires_grad for p in network.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


def test_works_under_no_grad_and_on_methods_and_functions(network, features):
    expected = invert(network, features, 64, steps=3).pictures
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            targets = network(smooth_pictures(3, 64))
            assert torch.equal(invert(network, targets, 64, steps=3).pictures, expected)
    assert torch.equal(invert(lambda pictures: network(pictures), features, 64, steps=3).pictures, expected)
    model = tiny_model()
    result = invert(model.features, model.features(smooth_pictures(1, 64)), 64, steps=3)
    assert result.pictures.shape == (1, 3, 64, 64) and not result.trace.requires_grad
    half = invert(network, features.half(), 64, steps=3)  # as features are cached
    assert half.pictures.dtype == torch.float32
    assert invert(network.double(), features, 64, steps=2).pictures.dtype == torch.float64
    network.float()


@pytest.mark.parametrize("kind", ["pooled", "spatial"])
def test_fast_is_as_good_as_the_paper_in_far_fewer_steps(kind):
    """A tenth of the steps, each of which may take a little longer; times of a busy machine are no test."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.Tanh(), nn.Conv2d(8, 12, 3, stride=2),
                                nn.Tanh(), nn.Conv2d(12, 16, 3, stride=2), nn.Tanh())
    with torch.no_grad():
        targets = of_kind(network(smooth_pictures(2, 64)), kind)
    table, _ = race(network, targets, 64, steps=500, fast_steps=50)
    assert table["target"].tolist() == [0, 0, 1, 1] and table["method"].tolist() == ["paper", "fast"] * 2
    paper, fast = (table[table["method"] == method].reset_index() for method in ("paper", "fast"))
    assert (fast["objective"] <= paper["objective"]).all() and (paper["steps"] == 500).all()
    reached = fast["steps_to_reach"]
    assert (reached <= 50).all() and (reached >= jittered(50)).all()  # none while it is shifted
    assert (fast["seconds_to_reach"] <= fast["seconds"]).all()
    np.testing.assert_allclose(fast["speedup"], paper["seconds"] / fast["seconds_to_reach"])
    assert (paper["speedup"] == 1).all() and (paper["steps_to_reach"] == 500).all()
    alone = invert(network, targets[:1], 64, steps=50)
    assert fast["objective"][0] == pytest.approx(alone.trace[-1].item(), rel=1e-3)


def test_a_race_that_is_not_won_says_so(network, features):
    paper, fast = race(network, features[:1], 64, steps=300, fast_steps=1)[0].to_dict("records")
    assert fast["objective"] > paper["objective"] and paper["steps_to_reach"] == 300
    assert all(np.isnan(fast[column]) for column in ("steps_to_reach", "seconds_to_reach", "speedup"))


def test_a_descent_that_climbs_is_not_silent(network, features):
    with pytest.warns(UserWarning, match="objective of some targets has risen.*tv_weight"):
        invert(network, features, 64, "paper", steps=9, tv_weight=1e7)


def nan_in_second(features):
    features = features.clone()
    features[1, 0] = float("nan")
    return features


@pytest.mark.parametrize("change, words", [
    ({"targets": torch.ones(5)}, ["targets have shape (5,)", "(target, channel)"]),
    ({"targets": torch.ones(0, 5)}, ["targets have shape (0, 5)", "at least one"]),
    ({"targets": torch.ones(2, 5, 4)}, ["(2, 5, 4)", "(target, channel, height, width)"]),
    ({"targets": nan_in_second(torch.ones(2, 5))}, ["targets [1]", "NaN", "leave these out"]),
    ({"targets": torch.full((1, 5), float("inf"))}, ["targets [0]", "infinite"]),
    ({"targets": torch.zeros(2, 5, 4, 4)}, ["targets [0, 1] are zero", "leave these out"]),
    ({"targets": torch.full((1, 5), 1e30)}, ["targets [0]", "too small or large", "scale them"]),
    ({"targets": torch.ones(1, 6)}, ["6 channels", "the network's features 5", "stage"]),
    ({"targets": torch.ones(1, 5, 7, 7)}, ["(7, 7)", "size=64", "(4, 4)"]),
    ({"channel_weights": torch.ones(1, 5)}, ["channel_weights", "(1, 5)", "(2, 5)"]),
    ({"channel_weights": -torch.ones(2, 5)}, ["channel_weights [0, 1]", "negative", "0"]),
    ({"channel_weights": nan_in_second(torch.ones(2, 5))}, ["channel_weights [1]", "NaN"]),
    ({"channel_weights": torch.tensor([[0.0] * 5, [1.0] * 5])}, ["targets [0] are zero in every channel that counts"]),
    ({"size": 0}, ["size", "0", "at least 16"]), ({"size": -3}, ["size", "-3"]), ({"size": 64.0}, ["size", "64.0"]),
    ({"size": 32}, ["size=32", "larger"]),
    ({"network": nn.Conv2d(4, 5, 3)}, ["size=64", "(picture, 3, height, width)"]),
    ({"network": lambda pictures: pictures.mean(dim=(2, 3))}, ["(1, 3)", "(picture, channel, height, width)"]),
    ({"method": "best"}, ["method='best'", "paper, fast"]),
    ({"steps": 0}, ["steps", "0", "at least 1"]), ({"batch": 0}, ["batch", "0", "at least 1"]),
    ({"tv_weight": -1}, ["tv_weight=-1", "0 or more"]), ({"tv_weight": float("nan")}, ["tv_weight=nan"]),
])
def test_errors_name_the_argument_the_value_and_the_remedy(change, words, network):
    with pytest.raises(ValueError) as error:
        invert(**{"network": network, "targets": torch.ones(2, 5), "size": 64, "steps": 2} | change)
    assert all(word in str(error.value) for word in words), str(error.value)
