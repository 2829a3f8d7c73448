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
from torch import nn

TRAINABLE = ("head", "last", "all")
WRONG_CLASS, LARGEST_WEIGHT = -0.5, 1.0  # bounds of the last layer, and its initial values (section 2.2)


class Activations(NamedTuple):
    """What one forward pass gives, from the picture's patches to the classes."""

    logits: torch.Tensor  # (picture, class)
    similarity: torch.Tensor  # (picture, class, basis): best cosine over the patches
    maps: torch.Tensor  # (picture, class, basis, height, width): cosines
    embedding: torch.Tensor  # (picture, channel, height, width): in (0, 1)


class ProtoCNN(nn.Module):
    """See the module's docstring.

    trainable: "head" (only what is added to the backbone), "last" (also the backbone's last stage) or "all".
    Stages that are not trained form the fixed part; their output, the features, is what training works on and what is
    cached. With "all" the fixed part is empty and the features are the pictures.
    orthonormal: the vectors of a class are made orthonormal wherever they are used, also once they were replaced by
    patches: they are then no longer the patches themselves. An arm of the ablation, not in the paper.
    Raises ValueError for sizes that cannot work.
    """

    def __init__(self, backbone, classes, basis_per_class=10, channels=128, trainable="head", orthonormal=False):
        super().__init__()
        for name, value, least in (("classes", classes, 2), ("basis_per_class", basis_per_class, 1),
                                   ("channels", channels, 1)):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        if trainable not in TRAINABLE:
            raise ValueError(f"trainable={trainable!r} must be one of {', '.join(TRAINABLE)}")
        if orthonormal and basis_per_class > channels:
            raise ValueError(f"basis_per_class={basis_per_class} is more than channels={channels}: so many vectors "
                             "cannot be orthonormal. Use fewer vectors, more channels, or orthonormal=False")
        self.backbone, self.orthonormal = backbone, orthonormal
        self.fixed_stages = len(backbone.stages) - {"head": 0, "last": 1, "all": len(backbone.stages)}[trainable]
        backbone.fold(self.fixed_stages)
        backbone.requires_grad_(False)
        backbone.stages[self.fixed_stages:].requires_grad_(True)
        with torch.inference_mode():
            probe = torch.zeros(1, 3, 64, 64, device=backbone.mean.device)
            width = backbone(probe).shape[1]
        # features of a fixed backbone differ in scale by channel; the trainer measures and sets both
        self.register_buffer("feature_mean", torch.zeros(1, width, 1, 1))
        self.register_buffer("feature_std", torch.ones(1, width, 1, 1))
        self.add_on = nn.Sequential(nn.Conv2d(width, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1),
                                    nn.Sigmoid())
        # only the direction of a vector counts, so its length is free
        self.basis_vectors = nn.Parameter(torch.randn(classes, basis_per_class, channels))
        self.last_layer = nn.Linear(classes * basis_per_class, classes, bias=False)
        self.reset_last_layer()

    @property
    def classes(self):
        return self.basis_vectors.shape[0]

    @property
    def basis_per_class(self):
        return self.basis_vectors.shape[1]

    @property
    def basis(self):
        """Basis vectors at length one, `(class, basis, channel)`."""
        unit = F.normalize(self.basis_vectors, dim=2)
        return gram_schmidt(unit) if self.orthonormal else unit

    def own_class(self):
        """`(class, class, basis)`: 1 where a basis vector belongs to the class that the last layer's row scores."""
        return torch.eye(self.classes).unsqueeze(2).expand(-1, -1, self.basis_per_class)

    @torch.no_grad()
    def reset_last_layer(self):
        own = self.own_class().reshape(self.classes, -1).to(self.last_layer.weight)
        self.last_layer.weight.copy_(own * LARGEST_WEIGHT + (1 - own) * WRONG_CLASS)

    @torch.no_grad()
    def clamp_last_layer(self):
        self.last_layer.weight.clamp_(WRONG_CLASS, LARGEST_WEIGHT)

    def added_parameters(self):
        """Parameters of the warm-up stage: the two convolutions and the basis vectors."""
        return [*self.add_on.parameters(), self.basis_vectors]

    def backbone_parameters(self):
        return [p for p in self.backbone.parameters() if p.requires_grad]

    def features(self, pictures):
        """Output of the fixed part for pictures `(picture, 3, height, width)`; the pictures when nothing is fixed."""
        return self.backbone(pictures, stop=self.fixed_stages) if self.fixed_stages else pictures

    def backbone_map(self, features):
        """The backbone's last feature map `(picture, feature, height, width)` from the fixed part's output."""
        features = features.float() if features.dtype == torch.float16 else features  # as they are cached
        return self.backbone(features, start=self.fixed_stages)

    def embed(self, features):
        """Embedding `(picture, channel, height, width)` in (0, 1) from the fixed part's output."""
        return self.add_on((self.backbone_map(features) - self.feature_mean) / self.feature_std)

    def compare(self, embedding, basis=None):
        """Activations of an embedding; `basis` `(class, basis, channel)` replaces the model's own, at any length."""
        basis = self.basis if basis is None else F.normalize(basis, dim=2)
        kernels = basis.flatten(0, 1)[:, :, None, None]  # (class * basis, channel, 1, 1): cosine as a 1x1 convolution
        maps = F.conv2d(F.normalize(embedding, dim=1), kernels)
        maps = maps.unflatten(1, basis.shape[:2])  # (picture, class, basis, height, width)
        similarity = maps.amax(dim=(3, 4))  # (picture, class, basis)
        return Activations(self.last_layer(similarity.flatten(1)), similarity, maps, embedding)

    def forward(self, features, noise=None):
        """Activations of the fixed part's output.

        noise: `(class, basis, channel)` added to the unit basis vectors, a' = a + sigma * epsilon (section 2.2). The
        trainer gives it; without it, and so whenever a trained model is used, nothing is random.
        """
        basis = None if noise is None else self.basis + noise
        return self.compare(self.embed(features), basis)


def gram_schmidt(basis):
    """Orthonormal vectors with the same spans, `(class, basis, channel)`: each keeps what no earlier one has of it."""
    q, r = torch.linalg.qr(basis.transpose(1, 2))
    return (q * r.diagonal(dim1=1, dim2=2).sign()[:, None]).transpose(1, 2)  # towards the vectors themselves


@torch.inference_mode()
def summary(model, size):
    """What happens to one picture of `size` pixels: rows of `step`, `shape`, `parameters`, `trained`."""
    x = torch.zeros(1, 3, size, size, device=model.feature_mean.device)
    steps = [("picture", x, [], False)]
    x = model.backbone.normalise(x)
    for i, (name, stage) in enumerate(model.backbone.stages.named_children()):
        x = stage(x)
        steps.append((f"backbone, {name}", x, [stage], i >= model.fixed_stages))
    if model.backbone.joined:
        x = model.backbone(torch.zeros(1, 3, size, size, device=x.device))
        steps.append((f"joined with {', '.join(model.backbone.joined)}", x, [], False))
    embedding = model.add_on((x - model.feature_mean) / model.feature_std)
    out = model.compare(embedding)
    steps += [("two 1x1 convolutions", embedding, [model.add_on], True),
              ("cosine with basis vectors", out.maps, [], True), ("global max pooling", out.similarity, [], False),
              ("last layer", out.logits, [model.last_layer], True)]
    count = lambda modules: sum(p.numel() for m in modules for p in m.parameters())
    rows = [{"step": name, "shape": tuple(t.shape[1:]), "parameters": count(modules), "trained": trained}
            for name, t, modules, trained in steps]
    rows[-3]["parameters"] = model.basis_vectors.numel()
    return rows
