"""Attributions against what is known: exact values on a linear network, sums that must come out, CAM, removed hooks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from asxai.data.pictures import to_batch
from asxai.methods import METHODS
from asxai.methods.attributions import Attribution, Classifier, linear_layer
from asxai.methods.base import backbone_maps
from asxai.methods.from_captum import superpixels
from asxai.methods.relevance import COMPOSITES, CRP, LRP, sums_as_modules
from asxai.model.backbones import load_backbone

NAMES = [name for name, method in METHODS.items() if issubclass(method, Attribution)]
CONTROLS = ("uniform", "random", "edges")
FEW = {"steps": 4, "samples": 16, "windows": 3, "channels": 3}  # of what costs passes


def made(name, network=None, size=24):
    """A method of three classes on a network of normalised pictures, without a study."""
    method = METHODS[name]() if isinstance(name, str) else name
    config = SimpleNamespace(seed=0, size=size, backbone="vgg16")
    method.study = SimpleNamespace(config=config, class_names=("a", "b", "c"))
    method.network = network
    return method


@pytest.fixture(scope="module")
def linear():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 3)).requires_grad_(False)


@pytest.fixture
def inputs():
    return torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))


def test_a_linear_network_has_exact_values(linear, inputs):
    for label in (0, 2):
        weight = linear[1].weight[label].view(3, 24, 24)
        added = weight * inputs
        attribute = lambda name: made(name, linear).attribute(inputs.clone(), label).detach()
        for name in ("input x gradient", "integrated gradients", "DeepLIFT"):
            torch.testing.assert_close(attribute(name), added.sum(dim=1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(attribute("saliency"), weight.abs().amax(dim=0).expand(2, 24, 24))
        torch.testing.assert_close(attribute("SmoothGrad"), weight.abs().amax(dim=0).expand(2, 24, 24))
        window = made("occlusion", linear)
        window.windows = 12  # of two pixels a side, each of which is covered four times, fewer at the border
        covered = nn.functional.avg_pool2d(added.sum(dim=1)[:, None], 2, 1)[:, 0] * 4
        inner = nn.functional.avg_pool2d(covered[:, None], 2, 1)[:, 0]
        torch.testing.assert_close(window.attribute(inputs, label)[:, 1:-1, 1:-1], inner, rtol=1e-3, atol=1e-4)
        for name in ("Shapley sampling", "KernelSHAP"):
            of_pixels = attribute(name)
            for picture in range(2):
                mask, own = superpixels(inputs[picture])[0, 0], added[picture].sum(dim=0)
                for segment in mask.unique():
                    whole = of_pixels[picture][mask == segment].sum()
                    torch.testing.assert_close(whole, own[mask == segment].sum(), rtol=2e-2, atol=2e-3)
        assert np.corrcoef(attribute("LIME").flatten(), attribute("KernelSHAP").flatten())[0, 1] > 0.8


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("Grad-CAM", "LRP", "CRP")])
def test_only_controls_give_one_map_for_all_classes(linear, inputs, name):
    first, second = (made(name, linear).attribute(inputs.clone(), label) for label in (0, 1))
    assert torch.equal(first, second) == (name in ("uniform", "edges"))


def test_relevance_is_conserved_on_vgg():
    backbone = load_backbone("vgg16", "random")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        last = nn.Linear(512, 3, bias=False)
        network = nn.Sequential(*backbone.stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last).requires_grad_(False)
        pictures = torch.randn(1, 3, 64, 64)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.bias.zero_()
    logits = network(pictures)[0]
    maps = [made(LRP(composite), network).attribute(pictures.clone(), 1) for composite in COMPOSITES]
    for values in maps:
        torch.testing.assert_close(values.sum(), logits[1], rtol=1e-2, atol=1e-6)
    assert not torch.allclose(maps[0], maps[1], rtol=0.1)  # and yet rules differ


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.joined = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.ReLU()), nn.Identity()
        self.pool, self.scores = nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 3, 1, bias=False)

    def forward(self, x):
        return self.pool(self.scores(self.joined(self.first(x)))).flatten(1)


def test_relevance_through_all_channels_is_relevance(inputs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Small().requires_grad_(False)
    crp = made(CRP(), network)
    crp.chosen = [[0, 1, 2, 3, 4]] * 3
    through = crp.attribute(inputs.clone(), 2)
    assert through.shape == (2, 5, 24, 24) and not torch.equal(through[:, 0], through[:, 1])
    whole = made(LRP(), network).attribute(inputs.clone(), 2)
    torch.testing.assert_close(through.sum(dim=1), whole, rtol=1e-3, atol=1e-6)


def test_what_is_handed_back_adds_up_on_the_default_backbone(study):
    split = study.data.test.take([0, 9])
    network = Classifier(study)
    pixels = network.backbone.normalise(to_batch(split.paths, 96))
    with torch.no_grad():
        change = (network(pixels) - network(torch.zeros(1, 3, 96, 96)))[:, 1]
    sums = {}
    for name in ("DeepLIFT", "integrated gradients"):
        sums[name] = METHODS[name]().fit(study).evidence(split, 1).flatten(1).sum(dim=1)
    torch.testing.assert_close(sums["DeepLIFT"], change, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sums["integrated gradients"], change, rtol=0.1, atol=0.05)


def test_grad_cam_is_cam_and_adds_up_to_the_logit(study):
    split, (weight, bias) = study.data.test, linear_layer(study)
    method = METHODS["Grad-CAM"]().fit(study)
    maps = method.evidence(split, 1)
    cam = torch.einsum("pchw,c->phw", backbone_maps(study, split), weight[1])
    torch.testing.assert_close(maps, cam / cam[0].numel(), rtol=1e-2, atol=1e-3)  # features on disk have three digits
    logits = method.scores(to_batch(split.paths, 96))
    torch.testing.assert_close(maps.flatten(1).sum(dim=1) + bias[1], logits[:, 1], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(METHODS["black box"]().fit(study).scores(split), method.scores(split), atol=1e-3)
    with torch.no_grad():
        whole = method.network(method.network.backbone.normalise(to_batch(split.paths, 96)))
        torch.testing.assert_close(whole, logits, rtol=1e-3, atol=1e-3)
        sums_as_modules(method.network)
        torch.testing.assert_close(
            method.network(method.network.backbone.normalise(to_batch(split.paths, 96))), whole, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", NAMES)
def test_an_attribution_keeps_the_contract_and_takes_its_hooks_away(study, name, monkeypatch):
    for option, value in FEW.items():
        if hasattr(METHODS[name], option):
            monkeypatch.setattr(METHODS[name], option, value)
    method, split = METHODS[name]().fit(study), study.data.test.take([9])
    hooks = lambda: sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules)
    modules = list(method.network.modules())
    before = hooks()
    maps = method.maps(split, 1)
    assert hooks() == before
    assert maps.shape[:2] == (1, len(method.names(1))) and maps.dtype == torch.float32 and torch.isfinite(maps).all()
    again = method.maps(to_batch(split.paths, 96).float() / 255, 1)  # pixels, and the same once more
    torch.testing.assert_close(again, maps, rtol=1e-4, atol=1e-6)
