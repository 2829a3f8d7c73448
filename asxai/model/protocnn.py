"""Proto-CNN (section 2.2): a backbone, two 1x1 convolutions, M basis vectors per class, a bounded last layer.

    pictures -> backbone -> (picture, feature, height, width)
             -> two 1x1 convolutions (ReLU, sigmoid) -> embedding (picture, channel, height, width)
             -> cosine with every basis vector -> activation maps (picture, class, basis, height, width)
             -> global max pooling -> similarity (picture, class, basis)
             -> last layer without bias -> logits (picture, class)

The paper puts global average pooling in front of the convolutions and yet draws 7x7 maps behind them; pooling there
would leave a single cell, so the grid is kept, and average pooling serves only the black-box probe.

References
    Proto-CNN: Sun et al., AS-XAI. Basis vectors on the Grassmann manifold: Wang et al., TesNet, ICCV 2021.
    Prototypes as image patches: Chen et al., ProtoPNet, NeurIPS 2019.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import MINIMUM_SIZE, Backbone

TRAINABLE = ("head", "last", "all")
WRONG_CLASS, LARGEST_WEIGHT = -0.5, 1.0  # bounds of the last layer, and its initial values (section 2.2)


class Activations(NamedTuple):
    """What one forward pass gives, from the picture's patches to the classes."""

    logits: Tensor  # (picture, class)
    similarity: Tensor  # (picture, class, basis): best cosine over the patches
    maps: Tensor  # (picture, class, basis, height, width): cosines
    embedding: Tensor  # (picture, channel, height, width): in (0, 1)


class ProtoCNN(nn.Module):
    """See the module's docstring.

    trainable: "head" (only what is added to the backbone), "last" (also the backbone's last stage) or "all".
    Stages that are not trained form the fixed part; their output, the features, is what training works on and what is
    cached. With "all" the fixed part is empty and the features are the pictures.
    orthonormal: the vectors of a class are made orthonormal wherever they are used, also once they were replaced by
    patches: they are then no longer the patches themselves. An arm of the ablation, not in the paper.
    Raises ValueError where a trained stage lies behind one that is joined to it, see `Backbone`.
    """

    # how it is run, not what it is; see `asxai.Config`
    precision, cache_gb = "float32", 8.0

    def __init__(
        self, backbone: Backbone, classes: int, basis_per_class=10, channels=128, trainable="head", orthonormal=False
    ):
        super().__init__()
        self.backbone, self.orthonormal = backbone, orthonormal
        stages = len(backbone.stages)
        self.fixed_stages = stages - {"head": 0, "last": 1, "all": stages}[trainable]
        backbone.fold(self.fixed_stages)
        backbone.requires_grad_(False)
        backbone.stages[self.fixed_stages :].requires_grad_(True)
        with torch.inference_mode():
            size = getattr(backbone, "size", MINIMUM_SIZE)  # some given networks take one size only
            blank = torch.zeros(1, 3, size, size, device=backbone.mean.device)
            width = self.backbone_map(self.features(blank)).shape[1]
        # features of a fixed backbone differ in scale by channel; the trainer measures and sets both
        self.register_buffer("feature_mean", torch.zeros(1, width, 1, 1))
        self.register_buffer("feature_std", torch.ones(1, width, 1, 1))
        first, second = nn.Conv2d(width, channels, 1), nn.Conv2d(channels, channels, 1)
        self.add_on = nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid())
        # only the direction of a vector counts, so its length is free
        self.basis_vectors = nn.Parameter(torch.randn(classes, basis_per_class, channels))
        self.last_layer = nn.Linear(classes * basis_per_class, classes, bias=False)
        with torch.no_grad():
            is_class = self.own_class().flatten(1)
            self.last_layer.weight.copy_(is_class * LARGEST_WEIGHT + (1 - is_class) * WRONG_CLASS)

    @property
    def classes(self) -> int:
        return self.basis_vectors.shape[0]

    @property
    def basis_per_class(self) -> int:
        return self.basis_vectors.shape[1]

    @property
    def decides(self) -> bool:
        """Whether the backbone is a given network that is left as it is, with an output for each class."""
        return bool(self.fixed_stages) and getattr(self.backbone, "outputs", 0) == self.classes

    @property
    def device(self) -> torch.device:
        return self.basis_vectors.device

    @property
    def basis(self) -> Tensor:
        """Basis vectors at length one, `(class, basis, channel)`."""
        unit = F.normalize(self.basis_vectors, dim=2)
        return gram_schmidt(unit) if self.orthonormal else unit

    def own_class(self) -> Tensor:
        """`(class, class, basis)`: 1 where a basis vector belongs to the class that the last layer's row scores."""
        return torch.eye(self.classes).unsqueeze(2).expand(-1, -1, self.basis_per_class)

    @torch.no_grad()
    def clamp_last_layer(self):
        self.last_layer.weight.clamp_(WRONG_CLASS, LARGEST_WEIGHT)

    def added_parameters(self) -> list[nn.Parameter]:
        """Parameters of the warm-up stage: the two convolutions and the basis vectors."""
        return [*self.add_on.parameters(), self.basis_vectors]

    def backbone_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.backbone.parameters() if p.requires_grad]

    def features(self, pictures: Tensor) -> Tensor:
        """Output of the fixed part for pictures `(picture, 3, height, width)`; the pictures when nothing is fixed."""
        return self.backbone(pictures, stop=self.fixed_stages) if self.fixed_stages else pictures

    def backbone_map(self, features: Tensor) -> Tensor:
        """The backbone's last feature map `(picture, feature, height, width)` from the fixed part's output."""
        features = features.float() if features.dtype == torch.float16 else features  # as they are cached
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            result = self.backbone(features, start=self.fixed_stages)
        return result.float() if result.dtype == torch.bfloat16 else result

    def embed(self, features: Tensor) -> Tensor:
        """Embedding `(picture, channel, height, width)` in (0, 1) from the fixed part's output."""
        return self.add_on((self.backbone_map(features) - self.feature_mean) / self.feature_std)

    def compare(self, embedding: Tensor, basis: Tensor | None = None) -> Activations:
        """Activations of an embedding; `basis` `(class, basis, channel)` replaces that of the model, at any length."""
        basis = self.basis if basis is None else F.normalize(basis, dim=2)
        kernels = basis.flatten(0, 1)[:, :, None, None]  # (class * basis, channel, 1, 1): cosine as a 1x1 convolution
        maps = F.conv2d(F.normalize(embedding, dim=1), kernels)
        maps = maps.unflatten(1, basis.shape[:2])  # (picture, class, basis, height, width)
        similarity = maps.amax(dim=(3, 4))  # (picture, class, basis)
        return Activations(self.last_layer(similarity.flatten(1)), similarity, maps, embedding)

    def forward(self, features: Tensor, noise: Tensor | None = None) -> Activations:
        """Activations of the fixed part's output.

        noise: `(class, basis, channel)` added to the unit basis vectors, a' = a + sigma * epsilon (section 2.2). The
        trainer gives it; without it, and so whenever a trained model is used, nothing is random.
        """
        basis = None if noise is None else self.basis + noise
        return self.compare(self.embed(features), basis)


def gram_schmidt(basis: Tensor) -> Tensor:
    """Orthonormal vectors with the same spans, `(class, basis, channel)`: each keeps what no earlier one has of it."""
    q, r = torch.linalg.qr(basis.transpose(1, 2))
    return (q * r.diagonal(dim1=1, dim2=2).sign()[:, None]).transpose(1, 2)  # towards the vectors themselves


@torch.inference_mode()
def summary(model: ProtoCNN, size: int) -> list[dict]:
    """What happens to one picture of `size` pixels: rows of `step`, `shape`, `parameters`, `trained`."""
    picture = torch.zeros(1, 3, size, size, device=model.device)
    rows = [("picture", picture, 0, False)]
    x = model.backbone.normalise(picture)
    for i, (name, stage) in enumerate(model.backbone.stages.named_children()):
        x = stage(x)
        rows.append((f"backbone, {name}", x, stage, i >= model.fixed_stages))
    if model.backbone.joined:
        rows.append((f"joined with {', '.join(model.backbone.joined)}", model.backbone(picture), 0, False))
    out = model(model.features(picture))
    rows += [
        ("two 1x1 convolutions", out.embedding, model.add_on, True),
        ("cosine with basis vectors", out.maps, model.basis_vectors.numel(), True),
        ("global max pooling", out.similarity, 0, False),
        ("last layer", out.logits, model.last_layer, True),
    ]
    count = lambda part: part if isinstance(part, int) else sum(p.numel() for p in part.parameters())
    names = ("step", "shape", "parameters", "trained")
    return [dict(zip(names, (step, tuple(x.shape[1:]), count(part), trained))) for step, x, part, trained in rows]
