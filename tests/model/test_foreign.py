"""A network of somebody else as backbone: a contract over a dozen families, their own decision, and what cannot be."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as tv
from helpers import cases
from safetensors.torch import save_file
from torch import nn
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vgg import make_layers

from asxai.config import Config
from asxai.model import foreign, networks
from asxai.model.backbones import WeightsError
from asxai.model.recipe import build_model


class Own(nn.Module):
    """As people write them: activations in place between layers, a skip connection, view() behind a convolution."""

    def __init__(self, classes=2, colours=3):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(colours, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.conv3 = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.fc = nn.Linear(12 * 4 * 4, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu_(self.norm(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu_(self.conv2(x)), 2)
        x += torch.tanh(self.conv3(x))
        x = F.adaptive_avg_pool2d(F.relu_(x), 4)
        return self.fc(x.view(len(x), -1))


def vgg():
    layers = make_layers([8, "M", 8, "M", 16, "M", 16, "M"], batch_norm=True)
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))


FAMILIES = {
    "VGG": vgg,
    "ResNet": lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2),
    "ResNeXt": lambda: ResNet(Bottleneck, [1, 1, 1, 1], num_classes=2, groups=4, width_per_group=4),
    "DenseNet": lambda: DenseNet(8, (2, 2, 2, 2), 16, num_classes=2),
    "MobileNet": lambda: tv.mobilenet_v3_small(width_mult=0.3, num_classes=2),
    "EfficientNet": lambda: "timm:test_efficientnet",
    "ConvNeXt": lambda: "timm:test_convnext",
    "RegNet": lambda: tv.regnet_x_400mf(num_classes=2),
    "NFNet": lambda: "timm:test_nfnet",
    "ViT of timm": lambda: "timm:test_vit",
    "ViT": lambda: tv.VisionTransformer(64, 16, 2, 2, 16, 32, num_classes=2),
    "Swin, channels last": lambda: SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=2),
    "hand-written": Own,
}


def random_pictures(count=2, size=64):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def handed_over(backbone, **more):
    """A configuration for 64 pixels, and the network that it names."""
    more = {"weights": "random", **more} if isinstance(backbone, str) else more
    config = Config.of("x", backbone=backbone, **{"size": 64, "basis_per_class": 2, "scene_vectors": 1, **more})
    return config, networks.network_of(config.backbone, config.weights, config.size, config.seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_any_family_gives_maps_its_decision_and_gradients(family):
    """Maps are what a hook of the test's own reads off the network as it came, in evaluation mode."""
    torch.manual_seed(0)
    backbone, pictures = FAMILIES[family](), random_pictures()
    config, network = handed_over(backbone)
    model = build_model(config, 2)
    one, seen = model.backbone, {}
    sides = [side for _, side in one.found.values()]
    assert sides == sorted(sides, reverse=True) and 2 <= sides[-1] < 64
    with torch.inference_mode():
        network.eval()
        for name in one.stages[0].names:
            keep = lambda module, arguments, output, name=name: seen.update({name: foreign.as_map(output).clone()})
            network.get_submodule(name).register_forward_hook(keep)
        decision = network((pictures / 255 - one.mean) / one.std)
        expected = [
            F.interpolate(x, size=seen[one.stages[0].names[0]].shape[2:], mode="bilinear") for x in seen.values()
        ]
        given, decided = one.decide(pictures)
        torch.testing.assert_close(given, torch.cat(expected, dim=1))
        torch.testing.assert_close(decided, decision)
        torch.testing.assert_close(one(pictures), given)
        torch.testing.assert_close(one(pictures[1:]), given[1:], rtol=1e-3, atol=1e-4)
    assert one.outputs == (2 if isinstance(backbone, nn.Module) else 1000)
    assert model.decides == (one.outputs == 2) and not one.training and not one.train().training
    assert build_model(config, 2).backbone.fingerprint() == one.fingerprint()
    whole = build_model(Config.of("x", **vars_of(config) | {"trainable": "all", "objective": "paper"}), 2)
    whole(pictures).logits.sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in whole.backbone_parameters())
    assert not whole.decides, "a network that was trained further is no longer the one that was given"


def vars_of(config):
    return {name: value for name, value in vars(config).items() if name != "data_set"}


def test_a_module_is_copied_and_never_changed():
    network = Own().double().train()
    before = copy.deepcopy(network.state_dict())
    config, _ = handed_over(network, trainable="all", objective="paper")
    model = build_model(config, 2)
    with torch.no_grad():
        model.backbone.stages[0].network.conv1.weight.zero_()
    assert network.training and network.conv1.weight.dtype == torch.float64
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert networks.network_of(config.backbone, config.weights, 64).conv1.weight.abs().max() > 0


def test_the_hash_is_of_weights_and_of_what_the_code_does():
    one, same = Own(), Own()
    same.load_state_dict(one.state_dict())
    assert networks.hash_of(one) == networks.hash_of(same) != networks.hash_of(Own())

    class Other(Own):
        def forward(self, x):
            return -super().forward(x)

    other = Other()
    other.load_state_dict(one.state_dict())
    other.__class__.__qualname__, other.__class__.__module__ = Own.__qualname__, Own.__module__
    assert networks.hash_of(other) != networks.hash_of(one), "an edited forward under the same name"
    strided = copy.deepcopy(one)
    strided.conv2.stride = (2, 2)
    assert networks.hash_of(strided) != networks.hash_of(one), "the same weights, other layers"


def test_stages_by_name_alone_or_joined_and_the_default():
    network = Own()
    assert list(build_model(handed_over(network)[0], 2).backbone.found) == ["norm", "conv2", "conv3"]
    shapes = {}
    for name in ("", "conv3", "conv2+conv3", "conv3+conv2"):
        config, _ = handed_over(network, last_stage=name)
        with torch.inference_mode():
            shapes[name] = tuple(build_model(config, 2).backbone(random_pictures(1)).shape)
    assert shapes == dict.fromkeys(shapes, (1, 24, 16, 16)) | {"conv3": (1, 12, 8, 8)}


def test_size_and_normalisation_are_the_networks_own_unless_given():
    config = Config.of("x", backbone="timm:test_vit", weights="random")
    assert config.size == 160 and Config.of("x", backbone=Own()).size == 224
    assert Config.of("x", backbone="timm:test_vit", weights="random", size=96).size == 96
    mean = lambda **more: build_model(handed_over(Own(), **more)[0], 2).backbone.mean.flatten().tolist()
    assert mean() == pytest.approx([0.485, 0.456, 0.406]) and mean(normalisation="none") == [0, 0, 0]
    assert build_model(config, 2).backbone.mean.flatten().tolist() == [0.5] * 3


def test_weights_from_files_and_state_dicts(tmp_path):
    """With as many outputs as the file has; a changed file is noticed, a moved one is the same configuration."""
    torch.manual_seed(1)
    network = tv.resnet18(num_classes=2)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "net.pt")
    kinds = tmp_path / "net.safetensors", str(tmp_path / "net.pt"), network.state_dict()
    configs = [Config.of("x", backbone="resnet18", weights=weights, size=64) for weights in kinds]
    assert len({config.key() for config in configs}) == 1 and configs[0].weights.startswith(str(tmp_path))
    networks._given.clear()
    kept = networks.network_of("resnet18", configs[0].weights, 64)
    assert torch.equal(kept.fc.weight, network.fc.weight) and build_model(configs[1], 2).decides
    with pytest.raises(WeightsError, match="given in another program .*backbone=module"):
        networks._given.clear()
        networks.network_of("resnet18", configs[2].weights, 64)
    with torch.no_grad():
        network.fc.bias += 1
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(WeightsError, match="net.safetensors' are no longer those that were used"):
        networks.network_of("resnet18", configs[0].weights, 64)


class Tuple(Own):
    def forward(self, x):
        return super().forward(x), x


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 64 * 64, 2)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Noisy(Own):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.5, training=True))


def among_others():
    network = Own()
    network.norm = nn.BatchNorm2d(8, track_running_stats=False)
    return network


def infinite():
    network = Own()
    nn.init.constant_(network.conv2.weight, torch.nan)
    return network


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


@cases(
    "what, error, words",
    (lambda: dict(backbone=Tuple()), ValueError, ["Tuple gives a tuple", "Wrap it"]),
    (lambda: dict(backbone=Flat()), ValueError, ["Flat has no submodule with a spatial map"]),
    (lambda: dict(backbone=Own(colours=1)), ValueError, ["Own does not take pictures (picture, 3, 64", "1 channels"]),
    (lambda: dict(backbone=Own(colours=4)), ValueError, ["Own does not take pictures", "three colours"]),
    (lambda: dict(backbone=Noisy()), ValueError, ["changes with chance", "dropout"]),
    (lambda: dict(backbone=among_others()), ValueError, ["pictures beside it", "no running statistics"]),
    (lambda: dict(backbone=infinite()), ValueError, ["not finite"]),
    (lambda: dict(backbone=Own), TypeError, ["is a type", "call it"]),
    (lambda: dict(backbone=[3]), TypeError, ["backbone=[3] is a list", "torch.nn.Module"]),
    (lambda: dict(backbone=Own().state_dict()), TypeError, ["backbone is a dict, not", "as weights="]),
    (lambda: dict(backbone=Own(), weights=3), TypeError, ["weights=3", "path"]),
    (lambda: dict(backbone=Own(), last_stage="top"), ValueError, ["last_stage='top'", "norm, conv2, conv3"]),
    (lambda: dict(backbone=Own(), last_stage="fc"), ValueError, ["last_stage='fc'", "no spatial map"]),
    (lambda: dict(backbone=Own(), trainable="last"), ValueError, ["trainable='last'", "'all'"]),
    (lambda: dict(normalisation="half"), ValueError, ["normalisation='half'", "efficientnet-lite0"]),
    (lambda: dict(backbone="timm:resnet19"), ValueError, ["no network 'resnet19'", "resnet18"]),
    (lambda: dict(backbone="timm:resnet18.mine"), ValueError, ["no weights 'mine'", "a1_in1k"]),
    (lambda: dict(backbone="resnet19"), ValueError, ["backbone='resnet19'", "vgg19", "timm:NAME"]),
    (lambda: dict(backbone=Own(), weights="no.pt"), WeightsError, ["no such file"]),
    (lambda: dict(backbone=Own(), weights={}), WeightsError, ["no state dict"]),
    (lambda: dict(backbone=Own(), weights=Own(3).state_dict()), WeightsError, ["fc.bias", "(3,)", "(2,)"]),
    (lambda: dict(backbone=nn.ReLU(), weights={"a": torch.ones(1)}), WeightsError, ["1 of 1 tensors differ"]),
    (lambda: dict(backbone="resnet18", weights=Own().state_dict()), WeightsError, ["not those of resnet18"]),
)
def test_what_cannot_be_used_is_named_with_the_remedy(what, error, words):
    with pytest.raises(error) as raised:
        build_model(Config.of("x", **{"size": 64} | what()), 2)
    assert all(word in str(raised.value) for word in words), str(raised.value)


@pytest.mark.parametrize("kind", ["code", "module", "text", "cut"])
def test_files_with_anything_but_tensors_are_not_run(kind, tmp_path, capsys):
    path = tmp_path / ("net.safetensors" if kind == "cut" else "net.pt")
    if kind == "code":
        path.write_bytes(pickle.dumps({"fc.weight": Evil()}))
    elif kind == "module":
        torch.save(Own(), path)
    elif kind == "text":
        path.write_text("no weights")
    else:
        save_file(Own().state_dict(), path)
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError, match="hold more than tensors|cannot be read"):
        Config.of("x", backbone=Own(), weights=path)
    assert "must not run" not in capsys.readouterr().out


def test_weights_that_cannot_be_fetched_are_named(monkeypatch):
    def offline(*arguments, **more):
        raise OSError("no network here")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(WeightsError, match="timm:resnet18.*no network here.*weights='path.safetensors'.*'random'"):
        build_model(Config.of("x", backbone="timm:resnet18", size=64), 2)
