"""Feature inversion (equations 10, 11): the picture whose features are nearest to a target, so that one can look at it.

    result = invert(backbone, components.mean(dim=(2, 3)), size=224)    # what a pooled component shows, per target
    Image.fromarray(result.to_uint8()[0])
    race(backbone, features[:1])                                        # the paper's descent against the fast one

The objective of a picture z in 0..1, the same for both methods, is

    sum w (Phi(z) - Phi_0)^2 / sum w Phi_0^2  +  tv_weight * total variation of z

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
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ..data.pictures import check_whole
from ..progress import bar

STEPS = {"paper": 4000, "fast": 200}
TV_WEIGHT = 2.0  # the published code's
BETA = 0.05  # step of equation 11
LEARNING_RATE = 0.03  # of Adam; it falls to nothing over the second half of the steps
BETAS = (0.9, 0.95)  # of Adam: with .999 the noise of jittered steps would shorten all later ones
FALLOFF = 1.25  # amplitudes start, and move, as 1 / frequency^FALLOFF; pictures of the world are near 1
JITTERED = 0.25  # share of the steps that see the picture shifted
LEAST_SIZE = 16  # pixels
# columns: brightness and two contrasts of colour as they vary together in ImageNet's pixels (Olah et al.)
COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])


class Objective(NamedTuple):
    """The objective and its two terms, each `(target,)`."""

    total: torch.Tensor  # feature_error + tv_weight * total_variation
    feature_error: torch.Tensor  # 0 is a perfect match; 1 what features of nothing but zeros have
    total_variation: torch.Tensor


class Inversion(NamedTuple):
    """Pictures for targets, on the CPU. The trace's last row is the objective of `pictures`, its first the start's.

    Of the fast method, the first rows are those of jittered pictures: noisy, and higher than without jitter.
    """

    pictures: torch.Tensor  # (target, 3, size, size): in 0..1
    trace: torch.Tensor  # (step, target): the objective before each step, and after the last
    feature_error: torch.Tensor  # (target,)
    total_variation: torch.Tensor  # (target,)
    seconds: float  # for all targets
    clock: torch.Tensor  # (step, target): seconds from the start of the target's batch to each row of the trace

    def to_uint8(self, stretch=False):
        """The pictures for drawing, uint8 NumPy array `(target, size, size, 3)`.

        stretch: brighten each until half a per cent of its values is white; the paper's method leaves pictures nearly
            black, on which nothing is to be seen otherwise
        """
        pictures = self.pictures
        if stretch:
            values = pictures.flatten(1)
            white = values.kthvalue(round(0.995 * values.shape[1]), dim=1).values.clamp(min=1 / 255)
            pictures = (pictures / white[:, None, None, None]).clamp(max=1)
        return (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def total_variation(pictures):
    """Sum of squared differences of neighbouring pixels, down and across, over 3 * height * width: `(picture,)`.

    pictures: `(picture, 3, height, width)` in 0..1. See the module's docstring for the exponent and the scale.
    """
    down, across = pictures.diff(dim=2), pictures.diff(dim=3)
    return (down.square().sum(dim=(1, 2, 3)) + across.square().sum(dim=(1, 2, 3))) / pictures[0].numel()


def objective(network, pictures, targets, tv_weight=TV_WEIGHT, channel_weights=None, shown=None):
    """What inversion minimises, of each picture and its own target (see the module's docstring).

    network: from pictures `(target, 3, height, width)` in 0..1 to features `(target, channel, height, width)`
    targets: pooled `(target, channel)`, compared with the features' mean over the grid, or `(target, channel, height,
        width)`, compared cell by cell
    channel_weights: `(target, channel)`, how much a channel's squared error counts; default 1. Their scale cancels.
    shown: pictures that the network sees in place of `pictures`, for example shifted ones

    Raises ValueError for features and targets of different shapes.
    """
    features = network(pictures if shown is None else shown)
    if targets.ndim == 2:
        features = features.mean(dim=(2, 3))
    if features.shape != targets.shape:
        raise ValueError(f"targets have shape {tuple(targets.shape)}, the features {tuple(features.shape)}; give a "
                         "target for each picture, from the same network and size")
    weights = targets.new_ones(targets.shape[:2]) if channel_weights is None else channel_weights
    error = _weighted_square(features - targets, weights) / _weighted_square(targets, weights)
    variation = total_variation(pictures)
    return Objective(error + tv_weight * variation, error, variation)


def _weighted_square(values, weights):
    return (weights[:, :, None] * values.reshape(*weights.shape, -1).square()).sum(dim=(1, 2))


def invert(network, targets, size=224, method="fast", steps=None, tv_weight=TV_WEIGHT, channel_weights=None, batch=8,
           seed=0, desc="inverting features"):
    """Pictures whose features are nearest to each target, as an `Inversion`.

    network: from pictures `(picture, 3, size, size)` in 0..1 to features `(picture, channel, height, width)`, such as
        a backbone. A module runs in evaluation mode and has its own mode and gradients afterwards.
    targets: pooled `(target, channel)` or spatial `(target, channel, height, width)`; a target is inverted by itself,
        whatever the others are
    size: side of the pictures in pixels; for spatial targets the size of the pictures that they came from
    method: "paper": steps z - .05 * gradient from a black picture (equation 11), 4000 by default; after each step,
            pixels below 0 or above 1 are set to 0 or 1, for without that the descent goes to pictures that cannot be
            shown, and clipping those costs half of what it gained. The step is not halved on the way.
        "fast": the picture is a sum of waves whose strength falls with their frequency, in decorrelated colours,
            through a sigmoid; 200 steps of Adam, the first quarter on shifted pictures: by up to a quarter of a
            cell for spatial targets, a seventh of the picture for pooled ones
    tv_weight, channel_weights: see `objective`
    batch: targets at a time, for memory
    seed: of the fast method's start and shifts; the paper's has nothing random

    Raises ValueError for arguments that cannot work.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; use one of {', '.join(METHODS)}")
    steps = STEPS[method] if steps is None else steps
    for name, value, least in (("size", size, LEAST_SIZE), ("steps", steps, 1), ("batch", batch, 1)):
        check_whole(name, value, least)
    if not 0 <= tv_weight < float("inf"):
        raise ValueError(f"tv_weight={tv_weight} must be 0 or more, for example {TV_WEIGHT}")
    start, results = time.perf_counter(), []
    with _evaluation(network), torch.inference_mode(False), torch.enable_grad():  # whatever the caller has switched off
        targets, weights = _checked(network, targets, size, channel_weights)
        with bar(total=steps * len(targets), desc=desc) as progress:
            for part in zip(targets.split(batch), weights.split(batch)):
                results.append(_descend(network, *part, size, tv_weight, METHODS[method], steps, seed, progress))
    pictures, trace, terms, clock = zip(*results)
    return Inversion(torch.cat(pictures), torch.cat(trace, dim=1), torch.cat([t.feature_error for t in terms]),
                     torch.cat([t.total_variation for t in terms]), time.perf_counter() - start,
                     torch.cat(clock, dim=1))


def _descend(network, targets, weights, size, tv_weight, method, steps, seed, progress):
    """Pictures, trace, last `Objective` and clock of a batch of targets; every target has the same start and shifts."""
    painter, start = method(targets, size, steps, seed), time.perf_counter()
    trace, clock = [], []
    for step in range(steps + 1):
        pictures = painter.pictures()
        shown = painter.shifted(pictures, step) if step < steps else None
        terms = objective(network, pictures, targets, tv_weight, weights, shown)
        if step < steps:
            painter.move(torch.autograd.grad(terms.total.sum(), painter.leaf)[0], step)  # no other gradient is made
            progress.update(len(targets))
        trace.append(terms.total.detach().cpu())  # on a GPU this waits for the picture, so that the clock is right
        clock.append(torch.full((len(targets),), time.perf_counter() - start))
    if not (trace[-1] <= trace[0]).all():
        warnings.warn("the objective of some targets has risen; look at the trace, and use another step count or "
                      "tv_weight", stacklevel=3)
    terms = Objective(*(term.detach().cpu() for term in terms))
    return pictures.detach().cpu(), torch.stack(trace), terms, torch.stack(clock)


class _Paper:
    """Equation 11: the pixels themselves, from black."""

    def __init__(self, targets, size, steps, seed):
        self.leaf = targets.new_zeros(len(targets), 3, size, size).requires_grad_()

    def pictures(self):
        return self.leaf

    def shifted(self, pictures, step):
        return None

    def move(self, gradient, step):
        self.leaf = (self.leaf.detach() - BETA * gradient).clamp(0, 1).requires_grad_()


class _Fast:
    """Adam on waves: one step reaches the whole picture, large shapes first and grain last."""

    def __init__(self, targets, size, steps, seed):
        self.size, self.steps, self.generator = size, steps, torch.Generator().manual_seed(seed)
        shape = (3, size, size // 2 + 1, 2)  # real and imaginary parts
        start = 0.01 * torch.randn(shape, generator=self.generator)
        self.leaf = start.to(targets).repeat(len(targets), 1, 1, 1, 1).requires_grad_()
        down, across = torch.fft.fftfreq(size, 1 / size), torch.fft.rfftfreq(size, 1 / size)  # waves in the picture
        self.amplitude = torch.hypot(down[:, None], across).clamp(min=1).pow(-FALLOFF).to(targets)
        self.colours = (COLOURS / COLOURS.norm(dim=0).max()).to(targets)
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
        return padded[:, :, top:top + self.size, left:left + self.size]

    def move(self, gradient, step):
        for group in self.adam.param_groups:
            group["lr"] = LEARNING_RATE * min(1, 2 * (1 - step / self.steps))
        self.leaf.grad = gradient
        self.adam.step()


METHODS = {"paper": _Paper, "fast": _Fast}


def race(network, targets, size=224, steps=None, fast_steps=None, tv_weight=TV_WEIGHT, channel_weights=None, seed=0):
    """Both methods on the same targets, one after the other: a table, and the `Inversion` of each method by its name.

    targets, size, tv_weight, channel_weights, seed: as for `invert`; steps and fast_steps: of the two methods

    The table has a row per target and method:
    `target`, `method`, `steps`, `seconds` (of all the targets, which run together), `objective`,
    `feature_error`, `total_variation` (of the picture returned), `steps_to_reach` and `seconds_to_reach` (when the
    objective was first as low as the paper's method left it; NaN: never; only pictures without jitter count) and
    `speedup` (the paper's method's seconds over this). Raises ValueError as `invert` does.
    """
    counts = {"fast": fast_steps, "paper": steps}  # the short one first: its errors come early
    runs = {method: invert(network, targets, size, method, count, tv_weight, channel_weights, max(1, len(targets)),
                           seed, f"inversion, {method} method") for method, count in counts.items()}
    rows = []
    for i, goal in enumerate(runs["paper"].trace[-1]):
        for method in METHODS:
            result = runs[method]
            last = len(result.trace) - 1
            first = jittered(last) if method == "fast" else last
            reached = torch.nonzero(result.trace[first:, i] <= goal)[:1].flatten() + first  # one step, or none
            seconds = result.clock[reached, i].sum().item() if len(reached) else np.nan
            rows.append({"target": i, "method": method, "steps": last, "seconds": result.clock[-1, i].item(),
                         "objective": result.trace[-1, i].item(), "feature_error": result.feature_error[i].item(),
                         "total_variation": result.total_variation[i].item(),
                         "steps_to_reach": reached.item() if len(reached) else np.nan, "seconds_to_reach": seconds,
                         "speedup": runs["paper"].clock[-1, i].item() / seconds})
    return pd.DataFrame(rows), runs


def jittered(steps):
    """How many of the fast method's steps see a shifted picture."""
    return round(JITTERED * steps)


@contextmanager
def _evaluation(network):
    """Evaluation mode, and then every module's own again: batch statistics would mix the targets of a batch."""
    modes = {module: module.training for module in _module(network).modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _module(network):
    """The module behind a network: itself, the one whose method it is, or an empty one for any other function."""
    owner = getattr(network, "__self__", network)
    return owner if isinstance(owner, nn.Module) else nn.Identity()


def _checked(network, targets, size, channel_weights):
    """Targets and weights as fresh tensors of the network's type, on its device."""
    targets = torch.as_tensor(targets)
    if targets.ndim not in (2, 4) or not len(targets):
        raise ValueError(f"targets have shape {tuple(targets.shape)}; give at least one, as (target, channel) for "
                         "pooled features or (target, channel, height, width) for feature maps")
    weights = torch.ones(targets.shape[:2]) if channel_weights is None else torch.as_tensor(channel_weights)
    if weights.shape != targets.shape[:2]:
        raise ValueError(f"channel_weights have shape {tuple(weights.shape)}; give (target, channel) = "
                         f"{tuple(targets.shape[:2])}")
    like = next(_module(network).parameters(), targets if targets.dtype == torch.float64 else targets.float())
    targets, weights = targets.detach().to(like, copy=True), weights.detach().to(like, copy=True)
    for name, values in (("targets", targets), ("channel_weights", weights)):
        wrong = _rows(~torch.isfinite(values))
        if wrong:
            raise ValueError(f"{name} {wrong} hold NaN or infinite numbers; leave these out, or mend what made them")
    wrong = _rows(weights < 0)
    if wrong:
        raise ValueError(f"channel_weights {wrong} hold negative numbers; use 0 for channels that do not matter")
    square = _weighted_square(targets, weights)[:, None]
    wrong = _rows((square == 0) | ~torch.isfinite(square))
    if wrong:
        raise ValueError(f"targets {wrong} are zero in every channel that counts, or too small or large to be squared, "
                         "so that no error is relative to them; leave these out, or scale them")
    try:
        with torch.no_grad():
            shape = tuple(network(targets.new_zeros(1, 3, size, size)).shape)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"size={size}: the network does not take pictures of {size} pixels ({error}); use a larger "
                         "size, and a network that takes (picture, 3, height, width)") from error
    if len(shape) != 4:
        raise ValueError(f"network gives features {shape}; it must give (picture, channel, height, width)")
    if shape[1] != targets.shape[1]:
        raise ValueError(f"targets have {targets.shape[1]} channels, the network's features {shape[1]}; use the "
                         "network and the stage that the targets come from")
    if targets.ndim == 4 and shape[2:] != targets.shape[2:]:
        raise ValueError(f"targets have a grid of {tuple(targets.shape[2:])} cells, the network at size={size} one of "
                         f"{shape[2:]}; use the size of the pictures that they come from, or pool them")
    return targets, weights


def _rows(condition):
    """Numbers of the rows in which a condition holds anywhere."""
    return torch.nonzero(condition.flatten(1).any(dim=1)).flatten().tolist()
