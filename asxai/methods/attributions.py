"""Maps of single decisions: which pixels speak for a class. All explain one network, the black box.

    method = METHODS["saliency"]().fit(study)
    method.evidence(study.data.test, label)         # (picture, height, width)

An attribution is a method with one concept, all that speaks for the class. A new one says `attribute` and nothing else.
Here are three that look at no network: what they win says nothing, and they stand in every table.
"""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import nn

from .. import paths
from ..cache import code_hash, kept_tensors, key_of
from ..data.datasets import Split
from ..data.features import seeded
from ..data.pictures import to_batch
from ..model.recipe import build_model
from .base import Method, backbone_maps
from .black_box import fit_probe, linear_of

AT_ONCE = 8  # pictures: gradients of a whole network are kept
RANDOM_CELLS = 12  # a side of the random map, about as coarse as those of networks


class Resize(nn.Module):
    """Bilinear, to the grid of the finest stage: a module, so that libraries see it."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)


def linear_layer(study) -> tuple[torch.Tensor, torch.Tensor]:
    """The black box's weights `(class, feature)` and biases `(class,)`, fitted once and kept."""
    config, data, code = study.config, study.data, code_hash("data", "model", "methods.black_box")
    key = key_of("black box", config.backbone, config.weights, config.last_stage, config.size, data.fingerprint, code)

    def fit():
        return dict(zip(("weight", "bias"), linear_of(fit_probe(config, data, study.model.device))))

    kept = kept_tensors(paths.CACHE / f"black-box-{key}.safetensors", fit)
    return kept["weight"].float(), kept["bias"].float()


def black_box_scores(study, pictures) -> torch.Tensor:
    """Logits of the black box `(picture, class)` from the features of a split, of pixels, or from features."""
    weight, bias = linear_layer(study)
    return backbone_maps(study, pictures).mean(dim=(2, 3)) @ weight.T + bias


class Classifier(nn.Module):
    """The black box as one network: normalised pictures to logits. Backbone, average pooling, logistic regression.

    Batch normalisation is folded. Every step with a rule of its own is a module that is used once. The class scores
    stand before the pooling, which is the same for a linear layer: their maps are those of CAM.
    """

    def __init__(self, study):
        super().__init__()
        config = study.config
        backbone = build_model(config, len(study.class_names)).backbone
        backbone.fold()
        weight, bias = linear_layer(study)
        self.backbone, self.joined = backbone, nn.Identity()  # its output is the backbone's map
        self.scores = nn.Conv2d(*weight.T.shape, 1)
        self.scores.weight.data, self.scores.bias.data = weight[..., None, None], bias
        self.pool = nn.AdaptiveAvgPool2d(1)
        with torch.no_grad():
            grid = backbone(torch.zeros(1, 3, config.size, config.size)).shape[2:]
        self.resize = nn.ModuleDict({name: Resize(grid) for name in backbone.stage_names})
        self.to(study.model.device).requires_grad_(False).eval()

    def forward(self, x):
        maps = []
        for name, stage in self.backbone.stages.named_children():
            x = stage(x)
            if name in (*self.backbone.joined, self.backbone.stage_names[-1]):
                maps.append(x)
        grid = maps[0].shape[2:]
        names = [*self.backbone.joined, self.backbone.stage_names[-1]]
        maps = [x if x.shape[2:] == grid else self.resize[name](x) for name, x in zip(names, maps)]
        return self.pool(self.scores(self.joined(torch.cat(maps, dim=1)))).flatten(1)


class Attribution(Method):
    """One map for a class, of the `Classifier`."""

    explains = "black box"

    def learn(self):
        self.network = Classifier(self.study)

    @abstractmethod
    def attribute(self, inputs: torch.Tensor, label: int) -> torch.Tensor:
        """Maps `(picture, height, width)` of normalised pictures `(picture, 3, size, size)`."""

    def names(self, label):
        return ("evidence",)

    def maps(self, pictures, label):
        paths_or_pixels, size = getattr(pictures, "paths", pictures), self.study.config.size
        maps = []
        for start in range(0, len(pictures), AT_ONCE):
            some = paths_or_pixels[start : start + AT_ONCE]
            some = to_batch(some, size) if isinstance(pictures, Split) else some
            inputs = self.network.backbone.normalise(some.to(self.study.model.device)).contiguous()
            maps.append(self.attribute(inputs, label).detach().float().cpu())
        return torch.cat(maps)[:, None]

    def evidence(self, pictures, label):
        return self.maps(pictures, label)[:, 0]

    def scores(self, pictures):
        return black_box_scores(self.study, pictures)


class Uniform(Attribution, name="uniform"):
    """A control: every pixel alike, so that parts count by their area."""

    def attribute(self, inputs, label):
        return torch.ones_like(inputs[:, 0])


class Random(Attribution, name="random"):
    """A control: random values on a coarse grid, others for every picture and class."""

    def attribute(self, inputs, label):
        maps = []
        for picture in inputs:
            content = round(float(picture.double().mean()) * 1e6)
            generator = seeded("random map", self.study.config.seed, label, content)
            maps.append(torch.rand(1, RANDOM_CELLS, RANDOM_CELLS, generator=generator))
        return F.interpolate(torch.stack(maps), size=inputs.shape[2:], mode="bilinear", align_corners=False)[:, 0]


class Edges(Attribution, name="edges"):
    """A control: how much the picture itself changes from pixel to pixel (Sobel), whatever the class."""

    def attribute(self, inputs, label):
        kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=inputs.device)
        grey = F.pad(inputs.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        return F.conv2d(grey, torch.stack([kernel, kernel.T])[:, None]).square().sum(dim=1).sqrt()
