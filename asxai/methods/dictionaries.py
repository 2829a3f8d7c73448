"""Dictionaries of the same patches, learned without labels of parts: a sparse autoencoder and CRAFT."""

import torch
import torch.nn.functional as F
from torch import nn

from .attributions import black_box_scores, linear_layer
from .base import backbone_maps, features
from .clusterings import Clustering, Factors


class SparseAutoencoder(Clustering, name="top-k SAE"):
    """A few directions at a time write a patch again: the `kept` strongest of as many as there are concepts.

    Makhzani & Frey, ICLR 2014; Gao et al., ICLR 2025. What a direction is for, it does not say.
    """

    kept, steps = 3, 400

    def score_of(self, patches, seed):
        patches, generator = torch.from_numpy(patches).float(), torch.Generator().manual_seed(seed)
        centre = patches.mean(dim=0)
        chosen = torch.randperm(len(patches), generator=generator)[: self.clusters]
        encode = nn.Parameter(F.normalize(patches[chosen] - centre, dim=1))  # starts at patches, so that few are dead
        decode = nn.Parameter(encode.detach().clone())
        optimiser = torch.optim.Adam([encode, decode], lr=3e-3)
        for _ in range(self.steps):
            batch = patches[torch.randint(len(patches), (512,), generator=generator)] - centre
            value, which = (batch @ encode.T).relu().topk(min(self.kept, self.clusters), dim=1)
            code = torch.zeros(len(batch), self.clusters).scatter(1, which, value)
            loss = F.mse_loss(code @ F.normalize(decode, dim=1), batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        kernels = encode.detach()[..., None, None]
        return lambda batch: F.conv2d(batch - centre[:, None, None], kernels).relu()


class Craft(Factors, name="CRAFT"):
    """Parts of activations of a class (non-negative factors), by how much each changes its logit (Sobol indices).

    Fel et al., CVPR 2023. The black box is linear behind the pooling, so that the total Sobol index of a factor that
    is scaled by 0 to 1 has a closed form: the square of what it adds, over the sum of these squares.
    """

    explains = "black box"

    def added(self, pictures, label):
        """What each factor adds to the logit, `(picture, factor)`: by least squares on the picture's own patches."""
        weight = linear_layer(self.study)[0][label]
        logits = torch.einsum("pchw,c->phw", backbone_maps(self.study, pictures), weight).flatten(1)
        parts = self.maps(pictures, label).flatten(2)  # (picture, factor, cell)
        centred = logits - logits.amin(dim=1, keepdim=True)
        slopes = torch.linalg.lstsq(parts.transpose(1, 2), centred[..., None], driver="gelsd").solution[..., 0]
        return slopes * parts.mean(dim=2)

    def importance(self, pictures, label):
        squares = self.added(pictures, label).square()
        return squares / squares.sum(dim=1, keepdim=True).clamp(min=1e-12)

    def evidence(self, pictures, label):
        return super().evidence(features(self.study.model, pictures, self.study.config.size), label)  # once for all

    def scores(self, pictures):
        return black_box_scores(self.study, pictures)
