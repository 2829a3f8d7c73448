"""Feature inversion (equations 10, 11): the picture whose features are nearest to a target, so that one can look at it.

    result = invert(Network(study.model), targets, size=128)  # targets: features (target, channel, height, width)
    Image.fromarray(result.to_uint8()[0])

The objective of a picture z in 0..1, the same for both methods, is

    sum (Phi(z) - Phi_0)^2 / sum Phi_0^2  +  TV_WEIGHT * total variation of z

Equation 10 differs in two ways. It prints the total variation of the feature map, while its text speaks of a smooth
picture and the published code takes the picture's; so does this module, with the exponent (2) and the weight (2) of
that code and the 1 / CHW of the equation. And its error is not divided by the target's square, which leaves the step
beta = .05 at the mercy of the features' scale: for a feature map of the default backbone at 224 pixels, ||Phi_0||^2 is
two millions, and the descent as printed is infinite within thirty steps. Divided, it falls steadily.

From black it falls to pictures that stay nearly black: after 4000 steps for a drawn cat, half of the values are below
.006 and none above .14, and rounding to 8 bits raises the objective from .088 to .112. The fast method starts at grey
and gives pictures that can be looked at.

References
    The task: Mahendran & Vedaldi, CVPR 2015. Pictures as waves with decorrelated colours, and jitter: Olah, Mordvintsev
    & Schubert, Feature Visualization, Distill 2017.
"""

import time
import warnings
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn import Module

from ..data.pictures import check_whole
from ..progress import bar

STEPS = {"paper": 4000, "fast": 200}
TV_WEIGHT = 2.0  # the published code's
BETA = 0.05  # step of equation 11
BATCH = 8  # targets at a time, for memory
LEARNING_RATE = 0.03  # of Adam; it falls to nothing over the second half of the steps
BETAS = (0.9, 0.95)  # of Adam: with .999 the noise of jittered steps would shorten all later ones
FALLOFF = 1.25  # amplitudes start, and move, as 1 / frequency^FALLOFF; pictures of the world are near 1
JITTERED = 0.25  # share of the steps that see the picture shifted
LEAST_SIZE = 16  # pixels
# columns: brightness and two contrasts of colour as they vary together in ImageNet's pixels (Olah et al.)
COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])


class Objective(NamedTuple):
    """The objective and its two terms, each `(target,)`."""

    total: torch.Tensor  # feature_error + TV_WEIGHT * total_variation
    feature_error: torch.Tensor  # 0 is a perfect match; 1 what features of nothing but zeros have
    total_variation: torch.Tensor


class Inversion(NamedTuple):
    """Pictures for targets, on the CPU. The trace's last row is the objective of `pictures`, its first the start's.

    The first rows of the fast method's trace are of shifted pictures: noisy, and higher than without a shift.
    """

    pictures: torch.Tensor  # (target, 3, size, size): in 0..1
    trace: torch.Tensor  # (step, target): the objective before each step, and after the last
    feature_error: torch.Tensor  # (target,)
    total_variation: torch.Tensor  # (target,)
    clock: torch.Tensor  # (step, target): seconds from the start of the target's batch to each row of the trace

    def to_uint8(self, stretch: bool = False) -> np.ndarray:
        """The pictures for drawing, uint8 `(target, size, size, 3)`.

        stretch: brighten each until half a per cent of its values is white; the paper's method leaves pictures nearly
            black, on which nothing is to be seen otherwise
        """
        pictures = self.pictures
        if stretch:
            values = pictures.flatten(1)
            white = values.kthvalue(round(0.995 * values.shape[1]), dim=1).values.clamp(min=1 / 255)
            pictures = (pictures / white[:, None, None, None]).clamp(max=1)
        return (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def total_variation(pictures: torch.Tensor) -> torch.Tensor:
    """Sum of squared differences of neighbouring pixels, down and across, over 3 * height * width: `(picture,)`.

    pictures: `(picture, 3, height, width)` in 0..1. See the module's docstring for the exponent and the scale.
    """
    down, across = pictures.diff(dim=2), pictures.diff(dim=3)
    return (down.square().sum(dim=(1, 2, 3)) + across.square().sum(dim=(1, 2, 3))) / pictures[0].numel()


def objective(network, pictures: torch.Tensor, targets: torch.Tensor, seen: torch.Tensor | None = None) -> Objective:
    """What inversion minimises, of each picture and its own target (equation 10, see the module's docstring).

    network: from pictures `(target, 3, height, width)` in 0..1 to features `(target, channel, height, width)`
    targets: pooled `(target, channel)`, compared with the features' mean over the grid, or `(target, channel, height,
        width)`, compared cell by cell
    seen: pictures that the network sees in place of `pictures`, for example shifted ones

    Raises ValueError for features and targets of different shapes.
    """
    features = network(pictures if seen is None else seen)
    if targets.ndim == 2:
        features = features.mean(dim=(2, 3))
    if features.shape != targets.shape:
        raise ValueError(
            f"targets have shape {tuple(targets.shape)}, the features {tuple(features.shape)}; give a "
            "target for each picture, from the same network and size"
        )
    error = _square(features - targets) / _square(targets)
    variation = total_variation(pictures)
    return Objective(error + TV_WEIGHT * variation, error, variation)


def _square(values):
    return values.reshape(*values.shape[:2], -1).square().sum(dim=(1, 2))


def invert(
    network: Module, targets: torch.Tensor, size: int, method="fast", steps=None, seed=0, desc="inverting features"
) -> Inversion:
    """Pictures whose features are nearest to each target, as an `Inversion`.

    network: in evaluation mode, from pictures `(picture, 3, size, size)` in 0..1 to features `(picture, channel,
        height, width)`, such as `asxai.traits.pooled.Network`
    targets: pooled `(target, channel)` or spatial `(target, channel, height, width)`; each is inverted by itself
    size: side of the pictures in pixels; for spatial targets the size of the pictures that they came from
    method: of `METHODS`; "paper" takes 4000 steps by default, "fast" 200
    seed: of the fast method's start and shifts; the paper's has nothing random

    Raises ValueError for a size below 16 pixels, fewer than one step, or targets of other shapes than the features.
    """
    steps = STEPS[method] if steps is None else steps
    check_whole("size", size, LEAST_SIZE)
    check_whole("steps", steps, 1)
    with torch.inference_mode(False), torch.enable_grad(), bar(total=steps * len(targets), desc=desc) as progress:
        targets = targets.detach().to(next(network.parameters()), copy=True)
        parts = [_descend(network, part, size, method, steps, seed, progress) for part in targets.split(BATCH)]
    pictures, traces, errors, variations, clocks = zip(*parts)
    trace, clock = torch.cat(traces, dim=1), torch.cat(clocks, dim=1)
    if not (trace[-1] <= trace[0]).all():
        warnings.warn("the objective of some targets has risen; look at the trace, and take other steps", stacklevel=2)
    return Inversion(torch.cat(pictures), trace, torch.cat(errors), torch.cat(variations), clock)


def _descend(network, targets, size, method, steps, seed, progress):
    """The fields of an `Inversion` for a batch of targets; every target has the same start and shifts."""
    painter, start, trace, clock = METHODS[method](targets, size, steps, seed), time.perf_counter(), [], []
    for step in range(steps + 1):
        pictures = painter.pictures()
        terms = objective(network, pictures, targets, painter.shifted(pictures, step) if step < steps else None)
        if step < steps:
            painter.move(torch.autograd.grad(terms.total.sum(), painter.leaf)[0], step)  # no other gradient is made
            progress.update(len(targets))
        trace.append(terms.total.detach().cpu())  # on a GPU this waits for the picture, so that the clock is right
        clock.append(torch.full((len(targets),), time.perf_counter() - start))
    error, variation = terms.feature_error.detach().cpu(), terms.total_variation.detach().cpu()
    return pictures.detach().cpu(), torch.stack(trace), error, variation, torch.stack(clock)


class Descent:
    """Equation 11 from a black picture, as in the paper: steps z - .05 * gradient.

    After each step, pixels below 0 or above 1 are set to 0 or 1, for without that the descent goes to pictures that
    cannot be seen, and clipping those costs half of what it gained. The step is not halved on the way.
    """

    def __init__(self, targets, size, steps, seed):
        self.leaf = targets.new_zeros(len(targets), 3, size, size).requires_grad_()

    def pictures(self):
        return self.leaf

    def shifted(self, pictures, step):
        return None

    def move(self, gradient, step):
        self.leaf = (self.leaf.detach() - BETA * gradient).clamp(0, 1).requires_grad_()


class Waves:
    """Adam on a sum of waves in decorrelated colours, through a sigmoid: the fast method.

    The strength of a wave falls with its frequency, so that one step reaches the whole picture, large shapes first and
    grain last. The first quarter of the steps sees shifted pictures: by up to a quarter of a cell for spatial targets,
    a seventh of the picture for pooled ones.

    start: logits of pixels to start from, `(target, 3, size, size)`; by default faint noise around grey
    """

    def __init__(self, targets, size, steps, seed=0, start=None):
        self.size, self.steps, self.generator = size, steps, torch.Generator().manual_seed(seed)
        down, across = torch.fft.fftfreq(size, 1 / size), torch.fft.rfftfreq(size, 1 / size)  # waves in the picture
        self.amplitude = torch.hypot(down[:, None], across).clamp(min=1).pow(-FALLOFF).to(targets)
        self.colours = (COLOURS / COLOURS.norm(dim=0).max()).to(targets)
        if start is None:
            shape = (3, size, size // 2 + 1, 2)  # real and imaginary parts
            noise = 0.01 * torch.randn(shape, generator=self.generator)
            leaf = noise.to(targets).repeat(len(targets), 1, 1, 1, 1)
        else:
            colours = torch.einsum("kc,tchw->tkhw", torch.linalg.inv(self.colours), start)
            leaf = torch.view_as_real(torch.fft.rfft2(colours, norm="forward") / self.amplitude).contiguous()
        self.leaf = leaf.requires_grad_()
        self.adam = torch.optim.Adam([self.leaf], lr=LEARNING_RATE, betas=BETAS)
        # a feature map tells where things are, to about a quarter of a cell; pooled features do not tell at all
        self.jitter = size // 7 if targets.ndim == 2 else size // max(targets.shape[2:]) // 4  # pixels, each way

    def pictures(self):
        waves = torch.view_as_complex(self.leaf) * self.amplitude
        values = torch.fft.irfft2(waves, s=(self.size, self.size), norm="forward")
        return torch.einsum("ck,tkhw->tchw", self.colours, values).sigmoid()

    def shifted(self, pictures, step):
        if step >= jittered(self.steps):
            return None
        padded = F.pad(pictures, (self.jitter,) * 4, mode="reflect")
        top, left = torch.randint(2 * self.jitter + 1, (2,), generator=self.generator).tolist()
        return padded[:, :, top : top + self.size, left : left + self.size]

    def move(self, gradient, step):
        for group in self.adam.param_groups:
            group["lr"] = LEARNING_RATE * min(1, 2 * (1 - step / self.steps))
        self.leaf.grad = gradient
        self.adam.step()


METHODS = {"paper": Descent, "fast": Waves}


def jittered(steps: int) -> int:
    """How many of the fast method's steps see a shifted picture."""
    return round(JITTERED * steps)
