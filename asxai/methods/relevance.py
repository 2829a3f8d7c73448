"""Relevance from zennit 0.5 (Anders et al., arXiv 2021): LRP, and CRP on top of it.

Relevance is handed back so that no layer gains or loses any, but for biases. zennit's rules see modules only: batch
normalisation is folded, sums of residual blocks become modules. On VGG the relevance of the pixels is the logit. On
EfficientNet-Lite0 little of it arrives, for the biases of folded normalisation keep the rest.
"""

import torch
from torch import nn
from zennit import composites
from zennit.attribution import Gradient
from zennit.layer import Sum
from zennit.rules import Norm
from zennit.torchvision import ResNetCanonizer

from .attributions import Attribution, Resize

COMPOSITES = ("epsilon_plus_flat", "epsilon_alpha2_beta1_flat", "epsilon_plus")


class Residual(nn.Module):
    """A block of timm and its input, added by a module."""

    def __init__(self, block):
        super().__init__()
        block.has_skip = False
        self.block, self.sum = block, Sum()

    def forward(self, x):
        return self.sum(torch.stack([self.block(x), x], dim=-1))


def sums_as_modules(network: nn.Module):
    """Replace timm's residual blocks by `Residual`, wherever they are in the network."""
    for name, child in list(network.named_children()):
        sums_as_modules(child)
        if getattr(child, "has_skip", False):
            setattr(network, name, Residual(child))


class LRP(Attribution, name="LRP"):
    """Layer-wise relevance propagation: how much of the logit comes from each pixel, by rules for each kind of layer.

    Bach et al., PLOS ONE 2015; rules of Montavon et al., 2019. composite: of `COMPOSITES`, the first is usual.
    """

    def __init__(self, composite=COMPOSITES[0]):
        self.composite = composite

    def learn(self):
        super().learn()
        sums_as_modules(self.network)

    def rules(self):
        canonizers = [ResNetCanonizer()] if self.study.config.backbone.startswith("resnet") else []
        return composites.COMPOSITES[self.composite](layer_map=[(Resize, Norm())], canonizers=canonizers)

    def attribute(self, inputs, label):
        only = nn.functional.one_hot(torch.tensor(label), len(self.study.class_names)).to(inputs)
        with Gradient(self.network, self.rules()) as attributor:
            return attributor(inputs, lambda logits: logits * only)[1].sum(dim=1)


class CRP(LRP, name="CRP"):
    """Concept relevance propagation: LRP of a class through one channel of the last map at a time.

    Achtibat et al., Nature Machine Intelligence 2023. A concept is a channel; those of a class are the `channels` most
    relevant ones in its training pictures. Each needs another way back.
    """

    channels = 10

    def learn(self):
        super().learn()
        train, maps = self.study.data.train, self.study.model.backbone_map
        weight = self.network.scores.weight.flatten(1).cpu()
        self.chosen = []
        for label in range(len(self.study.class_names)):
            features = self.study.features(train.take(train.labels == label))[0]
            with torch.inference_mode():
                means = [maps(batch.to(self.study.model.device)).mean(dim=(2, 3)).cpu() for batch in features.split(32)]
            relevance = (torch.cat(means).mean(dim=0) * weight[label]).topk(self.channels)
            self.chosen.append(relevance.indices.tolist())

    def names(self, label):
        return tuple(f"channel {k}" for k in self.chosen[label])

    def attribute(self, inputs, label):
        """`(picture, channel, height, width)`, of the concepts of the class."""
        composite, inputs, kept = self.rules(), inputs.requires_grad_(), []
        only = nn.functional.one_hot(torch.tensor(label), len(self.study.class_names)).to(inputs)
        hook = self.network.joined.register_forward_hook(lambda module, x, out: kept.append(out))
        with composite.context(self.network) as network:
            logits, result = network(inputs), []
            (above,) = torch.autograd.grad(logits, kept, logits * only, retain_graph=True)
            for channel in self.chosen[label]:
                through = torch.zeros_like(above)
                through[:, channel] = above[:, channel]
                result.append(torch.autograd.grad(kept, inputs, through, retain_graph=True)[0].sum(dim=1))
        hook.remove()
        return torch.stack(result, dim=1)

    def maps(self, pictures, label):
        return super().maps(pictures, label)[:, 0]

    def evidence(self, pictures, label):
        return self.maps(pictures, label).sum(dim=1)
