"""Attributions by captum 0.9 (Kokhlikyan et al., arXiv 2020). Each is a few lines: what it explains, and its settings.

A zero of normalised pictures is the mean colour of the backbone's training: the baseline of all that need one.
"""

import warnings

import numpy as np
import torch
from captum import attr
from captum.attr._core import deep_lift
from skimage.segmentation import slic
from torch import nn

from .attributions import Attribution
from .superpixels import COMPACTNESS, SEGMENTS, SIDE

FEWEST = 4  # superpixels, below which a picture is cut into squares
deep_lift.SUPPORTED_NON_LINEAR[nn.ReLU6] = deep_lift.nonlinear  # else DeepLIFT takes it for linear, and says nothing


class Saliency(Attribution, name="saliency"):
    """|Gradient| of the logit, largest over colours: what a small change of a pixel does.

    Simonyan, Vedaldi & Zisserman, ICLR workshop 2014.
    """

    def attribute(self, inputs, label):
        return attr.Saliency(self.network).attribute(inputs.requires_grad_(), target=label).amax(dim=1)


class InputXGradient(Attribution, name="input x gradient"):
    """Gradient times input: what the logit would lose, to first order, if a pixel took the mean colour.

    Shrikumar et al., arXiv 2016.
    """

    def attribute(self, inputs, label):
        return attr.InputXGradient(self.network).attribute(inputs.requires_grad_(), target=label).sum(dim=1)


class IntegratedGradients(Attribution, name="integrated gradients"):
    """Gradients along the way from the mean colour to the picture: they add up to the change of the logit.

    Sundararajan, Taly & Yan, ICML 2017. 50 steps; 20 leave a quarter of the sum out.
    """

    steps = 50

    def attribute(self, inputs, label):
        method = attr.IntegratedGradients(self.network)
        return method.attribute(inputs, target=label, n_steps=self.steps, internal_batch_size=10).sum(dim=1)


class SmoothGrad(Attribution, name="SmoothGrad"):
    """The mean saliency of noisy copies of the picture (Smilkov et al., arXiv 2017)."""

    samples, noise = 16, 0.15  # noise: a share of the range of normalised values

    def attribute(self, inputs, label):
        torch.manual_seed(self.study.config.seed)
        method, spread = attr.NoiseTunnel(attr.Saliency(self.network)), self.noise * float(inputs.max() - inputs.min())
        options = dict(nt_samples=self.samples, nt_samples_batch_size=2, stdevs=spread, target=label)
        return method.attribute(inputs, nt_type="smoothgrad", **options).amax(dim=1).detach()


class DeepLift(Attribution, name="DeepLIFT"):
    """Differences from the mean colour, handed back layer by layer: they add up to the change of the logit.

    Shrikumar, Greenside & Kundaje, ICML 2017 (rescale rule).
    """

    def attribute(self, inputs, label):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that hooks are set for a while
            return attr.DeepLift(self.network).attribute(inputs, target=label).sum(dim=1)


class GradCam(Attribution, name="Grad-CAM"):
    """Channels of the last map by the mean gradient of the logit; before pooling and a linear layer this is CAM.

    Selvaraju et al., ICCV 2017; Zhou et al., CVPR 2016.
    """

    def attribute(self, inputs, label):
        return attr.LayerGradCam(self.network, self.network.joined).attribute(inputs, target=label)[:, 0]


class Occlusion(Attribution, name="occlusion"):
    """What the logit loses when a window of the mean colour lies on a place (Zeiler & Fergus, ECCV 2014)."""

    windows = 7  # a side of the picture; they overlap by half

    def attribute(self, inputs, label):
        side = max(2, inputs.shape[-1] // self.windows)
        options = dict(sliding_window_shapes=(3, side, side), strides=(3, side // 2, side // 2))
        return attr.Occlusion(self.network).attribute(inputs, target=label, perturbations_per_eval=4, **options)[:, 0]


class Sampled(Attribution):
    """Superpixels are taken away together, at random. Each gets a value, spread over its pixels.

    Costly: about `samples` passes a picture.
    """

    samples = 256

    def attribute(self, inputs, label):
        maps = []
        for one in inputs:
            mask = superpixels(one)
            maps.append((self.of_picture(one[None], mask, label) / mask.flatten().bincount()[mask])[0, 0])
        return torch.stack(maps)

    def options(self, inputs, mask, label):
        torch.manual_seed(self.study.config.seed)
        np.random.seed(self.study.config.seed)
        return dict(inputs=inputs, target=label, feature_mask=mask, perturbations_per_eval=16)


class ShapleySampling(Sampled, name="Shapley sampling"):
    """Shapley values of superpixels from random orders (Castro et al., Computers & OR 2009)."""

    def of_picture(self, inputs, mask, label):
        orders = max(1, self.samples // int(mask.max() + 1))
        return attr.ShapleyValueSampling(self.network).attribute(n_samples=orders, **self.options(inputs, mask, label))


class KernelShap(Sampled, name="KernelSHAP"):
    """Shapley values of superpixels as a weighted regression (Lundberg & Lee, NeurIPS 2017)."""

    def of_picture(self, inputs, mask, label):
        return attr.KernelShap(self.network).attribute(n_samples=self.samples, **self.options(inputs, mask, label))


class Lime(Sampled, name="LIME"):
    """A sparse linear model of the logit around the picture (Ribeiro, Singh & Guestrin, KDD 2016)."""

    def of_picture(self, inputs, mask, label):
        return attr.Lime(self.network).attribute(n_samples=self.samples, **self.options(inputs, mask, label))


def superpixels(picture: torch.Tensor) -> torch.Tensor:
    """SLIC segments of a normalised picture `(3, size, size)` by numbers from 0, `(1, 1, size, size)`."""
    size = picture.shape[-1]
    small = nn.functional.interpolate(picture[None].cpu(), size=(SIDE, SIDE), mode="area")[0]
    pixels = ((small - small.amin()) / (small.amax() - small.amin()).clamp(min=1e-6)).permute(1, 2, 0).double().numpy()
    segments = np.unique(slic(pixels, SEGMENTS, COMPACTNESS, start_label=0), return_inverse=True)[1].reshape(SIDE, SIDE)
    if segments.max() < FEWEST:  # mere noise or one colour: squares
        rows = np.arange(SIDE) * 6 // SIDE
        segments = 6 * rows[:, None] + rows
    at = torch.arange(size) * SIDE // size
    return torch.from_numpy(segments)[at[:, None], at][None, None].to(picture.device)
