"""A network that somebody already has, as a backbone: any `torch.nn.Module`, a name of timm, a file of weights.

    Study.train(folder, backbone=module)                                # a copy is used; the module stays as it is
    Study.train(folder, backbone="timm:resnet50.a1_in1k")               # weights="pretrained", "random" or a file
    Study.train(folder, backbone="resnet18", weights="mine.safetensors")

The network stays whole and runs as its author wrote it. Maps are caught where named submodules return them, so that
neither its source nor a trace of it is needed. Its own decision, where it has one, comes from the same pass.

"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import paths
from ..cache import code_hash, kept_tensors, key_of
from ..data.features import BATCH
from ..data.pictures import to_batch
from ..progress import bar
from .backbones import Backbone
from .networks import HASH, NORMALISATIONS, code_of, first_line, own_normalisation

MOST_TOKENS = 8  # in front of the grid of a transformer: class token, registers
LARGE = 100 * 2**20  # bytes of fixed weights from which a study keeps their hash alone
TOLERANCE = 1e-3  # of the largest value of a map, by which it may differ alone and beside other pictures


START = "backbone.stages.network.network."  # of the names of a given network's tensors in the state of a Proto-CNN


class _Enough(Exception):
    """All maps are there: the rest of the network need not run."""


class Whole(nn.Module):
    """A whole network; `forward` gives the maps of its submodules `names`, joined at the grid of the finest."""

    def __init__(self, network: nn.Module, names: list[str]):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, x: Tensor) -> Tensor:
        maps, _ = self.run(x, self.names, decide=False)
        return self.join(maps)

    def join(self, maps: dict[str, Tensor]) -> Tensor:
        """`(picture, channel of all, height, width)`, in the order of `names`."""
        grid = max((one.shape[2:] for one in maps.values()), key=lambda shape: shape.numel())
        finer = lambda x: F.interpolate(x, size=grid, mode="bilinear", align_corners=False)
        ordered = [maps[name] for name in self.names]
        return torch.cat([x if x.shape[2:] == grid else finer(x) for x in ordered], dim=1)

    def run(self, x: Tensor, names: list[str], decide: bool) -> tuple[dict[str, Tensor], Tensor | None]:
        """Maps by name, in the order in which they were last there, and what the network gives if `decide`.

        Submodules that give no map are left out. Maps are copies: an operation in place behind a stage would change
        what the stage gave.
        """
        maps, modules = {}, {name: self.network.get_submodule(name) for name in names}

        def catch(name, output):
            if (grid := as_map(output)) is not None:
                maps.pop(name, None)
                maps[name] = grid.clone()
            if not decide and len(maps) == len(names):
                raise _Enough

        hook = lambda name: lambda module, arguments, output: catch(name, output)
        hooks = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
        try:
            return maps, self.network(x)
        except _Enough:
            return maps, None
        finally:
            for one in hooks:
                one.remove()


def as_map(output) -> Tensor | None:
    """What a module gives as `(picture, channel, height, width)`, or None for what is no map of a square picture.

    Channels may come last (Swin). Tokens `(picture, token, channel)` of a transformer are laid out on their grid,
    without those in front of it.
    """
    if not isinstance(output, Tensor):
        return None
    shape = output.shape
    if output.ndim == 4 and shape[2] == shape[3] > 1:
        return output
    if output.ndim == 4 and shape[1] == shape[2] > 1:
        return output.permute(0, 3, 1, 2)
    if output.ndim == 3:
        side = math.isqrt(shape[1])
        if side > 1 and shape[1] - side**2 <= MOST_TOKENS:
            return output[:, shape[1] - side**2 :].transpose(1, 2).unflatten(2, (side, side))
    return None


class Foreign(Backbone):
    """A network as a backbone of a single stage, `network`. See the module's docstring.

    last_stage: the name of a submodule, or several joined by "+"; empty: the last two resolutions.
    size: side of the pictures in pixels. `outputs` is how many numbers the network gives for a picture, 0 if none.
    Raises ValueError for a network that cannot be used, with what to do.
    """

    def __init__(self, name: str, network: nn.Module, last_stage: str, size: int, normalisation: str = "own"):
        network = network.cpu().float().eval()
        mean, std = own_normalisation(network) if normalisation == "own" else NORMALISATIONS[normalisation]
        self.found = {}
        super().__init__(name, [("network", Whole(network, []))], mean, std)
        self.stages.to(memory_format=torch.contiguous_format)  # its code may use view() behind a convolution
        self.size, self.found, self.outputs = size, *self._examined(size)
        names = list(self.found)
        wanted = last_stage.split("+") if last_stage else self._default()
        known = dict(network.named_modules())
        if unknown := [one for one in wanted if one not in known]:
            raise ValueError(
                f"last_stage={last_stage!r}: {name} has no {unknown[0]!r}; its stages are {', '.join(names)}"
            )
        self.stages[0].names = wanted
        self._check(size, last_stage)

    def normalise(self, pictures: Tensor) -> Tensor:
        return super().normalise(pictures).contiguous(memory_format=torch.contiguous_format)

    def fold(self, stop: int | None = None):
        """Nothing: in which order a network of somebody else runs its layers is not known from their names."""

    def decide(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The map `(picture, channel, height, width)` of pictures, and what the network makes of them, in one pass."""
        whole = self.stages[0]
        maps, output = whole.run(self.normalise(pictures), whole.names, decide=True)
        return whole.join(maps), output

    def needs(self) -> dict:
        """What `study.json` says of it: which network, its stages, and how to load the study again."""
        how = "Study.load(folder, backbone=module) in a program that has not handed it over"
        stages = {name: list(shape) for name, shape in self.found.items()}
        return {"class": self.name, "stages": stages, "used": self.stages[0].names, "outputs": self.outputs, "how": how}

    def fingerprint(self, stop: int | None = None) -> str:
        stages = (self.stages[0].names, self.size, code_of(self.stages[0].network), code_hash("model.foreign"))
        return key_of(super().fingerprint(stop), *stages)[:20]

    def _default(self):
        """The last stage and the one before it of the next finer grid, if there is one and it is not far finer."""
        *earlier, last = self.found
        grid = self.found[last][1]
        before = [name for name in earlier if grid < self.found[name][1] <= 2 * grid + 1]
        return [*before[-1:], last]

    @torch.inference_mode()
    def _examined(self, size):
        """Stages with channels and grid, `{name: (channel, side)}`, and the number of outputs."""
        whole, names = self.stages[0], [name for name, _ in self.stages[0].network.named_modules() if name]
        pictures = self.normalise(torch.zeros(1, 3, size, size))
        try:
            maps, output = whole.run(pictures, names, decide=True)
        except Exception as error:
            raise ValueError(
                f"backbone: {self.name} does not take pictures (picture, 3, {size}, {size}): {first_line(error)}. Give "
                "a network for three colours and pictures of this size, or its own size with size=..."
            ) from error
        if not isinstance(output, Tensor):
            raise ValueError(
                f"backbone: {self.name} gives a {type(output).__name__}, not a tensor. Wrap it: a module whose "
                "forward(x) returns the one tensor that counts, such as self.network(x)[0] or self.network(x).logits"
            )
        stages = _stages(whole.network, {name: (one.shape[1], one.shape[2]) for name, one in maps.items()})
        if not stages:
            raise ValueError(
                f"backbone: {self.name} has no submodule with a spatial map (picture, channel, height, width) or a "
                f"grid of tokens for pictures of {size} pixels. Give a network that has, or a larger size=..."
            )
        return stages, output.shape[1] if output.ndim == 2 else 0

    @torch.inference_mode()
    def _check(self, size, last_stage):
        """Maps are there, finite, and depend on a single picture."""
        pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        maps, _ = self.stages[0].run(self.normalise(pictures), self.stages[0].names, decide=True)
        if missing := [name for name in self.stages[0].names if name not in maps]:
            raise ValueError(
                f"last_stage={last_stage!r}: {missing[0]!r} of {self.name} gives no spatial map for pictures of {size} "
                f"pixels; its stages are {', '.join(self.found)}"
            )
        together, alone = self(pictures), self(pictures[:1])
        if not torch.isfinite(together).all():
            raise ValueError(f"backbone: {self.name} gives numbers that are not finite; look at its weights")
        if (together[:1] - alone).abs().max() > TOLERANCE * together.abs().max():
            raise ValueError(
                f"backbone: what {self.name} gives for a picture changes with chance or with the pictures beside it. "
                "Give it without batch normalisation that has no running statistics, and without dropout despite eval()"
            )


def _stages(network, maps):
    """Of the maps `{name: (channel, side)}` in order: timm's list of stages, else the last one of each resolution."""
    info = getattr(network, "feature_info", None)
    if isinstance(info, list) and (named := [one["module"] for one in info if one.get("module") in maps]):
        return {name: maps[name] for name in named}
    pooling = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    last, finest = {}, math.inf
    for name, (channels, side) in maps.items():
        if side <= finest and not isinstance(network.get_submodule(name), pooling):  # finer: attention between tokens
            last[side], finest = (name, channels), side
    return {name: (channels, side) for side, (name, channels) in last.items()}


def kept_state(model, weights: str) -> dict[str, Tensor]:
    """The state that a study keeps: all of it, but for a large given network that stays as it is, which has a hash."""
    state = model.state_dict()
    if isinstance(model.backbone, Foreign) and model.fixed_stages and HASH in weights:
        if sum(tensor.nbytes for name, tensor in state.items() if name.startswith(START)) > LARGE:
            return {name: tensor for name, tensor in state.items() if not name.startswith(START)}
    return state


@torch.inference_mode()
def split_logits(model, split, size: int) -> Tensor:
    """What a given network makes of the pictures of a split, `(picture, class)`, kept on disk.

    Raises ValueError where the model's backbone decides nothing, or no longer what was given.
    """
    if not model.decides:
        outputs, name = getattr(model.backbone, "outputs", 0) or "no", model.backbone.name
        raise ValueError(
            f"labels='network': {name} decides nothing here. It gives {outputs} numbers for a picture, and there are "
            f"{model.classes} classes. Give a network with an output for each class, in the order of their sorted "
            "names, and trainable='head'"
        )
    device = model.feature_mean.device

    def compute():
        batches = bar(range(0, len(split), BATCH), desc="the network's own decisions")
        pictures = (to_batch(split.paths[start : start + BATCH], size).to(device) for start in batches)
        return {"logits": torch.cat([model.backbone.decide(batch)[1].float().cpu() for batch in pictures])}

    key = key_of(model.backbone.fingerprint(), code_hash("data"), split.hashes, device.type, torch.__version__)
    return kept_tensors(paths.CACHE / f"logits-{key}.safetensors", compute)["logits"]
