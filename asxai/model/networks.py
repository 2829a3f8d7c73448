"""Which network somebody already has: a `torch.nn.Module`, a name of timm, or a file of weights.

A `Config` holds texts only. `backbone` is the class of a module, or a name; `weights` says where they are from, with a
hash of the network behind "@". What was handed over is kept under that hash for as long as the program runs.
"""

import copy
import difflib
import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..cache import load_tensors
from .backbones import BACKBONES, IMAGENET_MEAN, IMAGENET_STD, WeightsError

TIMM, MODULE, HASH = "timm:", "module:", "@"  # what `backbone` and `weights` of a `Config` begin with, or hold
NORMALISATIONS = {  # mean and standard deviation that pictures in 0..1 are normalised with
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5,) * 3, (0.5,) * 3),  # -1..1
    "none": ((0.0,) * 3, (1.0,) * 3),
}
USUAL_SIZE = 224  # pixels, where a network does not say what it was trained on


class NotGiven(WeightsError):
    """A study needs the module that it was trained on, and it is missing or another."""


_given: dict[str, nn.Module] = {}  # by hash


def is_foreign(backbone: str, weights: str) -> bool:
    """Whether `backbone` and `weights` of a `Config` are those of a network that is run as it is."""
    return backbone.startswith((TIMM, MODULE)) or HASH in weights


def hand_over(backbone, weights="pretrained", size: int | None = None) -> tuple[str, str, int]:
    """`backbone`, `weights` and `size` of a `Config` for what a user gives; modules and weights are kept for later.

    backbone: a module, "timm:NAME" or one of `BACKBONES`. weights: "pretrained", "random", the path of a file
    (safetensors, or a state dict that torch reads with `weights_only`), or a state dict.
    Raises TypeError, ValueError or `WeightsError` that say what to do.
    """
    if not isinstance(weights, (str, os.PathLike, dict)):
        raise TypeError(f"weights={weights!r} is a {type(weights).__name__}; give a path, a state dict or 'pretrained'")
    if not isinstance(backbone, (str, nn.Module)):
        if isinstance(backbone, dict):  # its text would be all the weights
            raise TypeError("backbone is a dict, not a network; give the torch.nn.Module, and a state dict as weights=")
        hint = "call it, such as backbone=Net()" if isinstance(backbone, type) else "give a torch.nn.Module or a name"
        raise TypeError(f"backbone={backbone!r} is a {type(backbone).__name__}; {hint}")
    if isinstance(weights, str) and HASH in weights and not Path(weights).is_file():
        return backbone, weights, size  # they were handed over before
    named = isinstance(weights, dict) or weights not in ("pretrained", "random")
    source = str(Path(weights).expanduser().resolve()) if named and not isinstance(weights, dict) else "given"
    if isinstance(backbone, nn.Module):
        network = copy.deepcopy(getattr(backbone, "_orig_mod", backbone))  # of a compiled one
        name = f"{MODULE}{type(network).__module__}.{type(network).__qualname__}"
        size, source = size or _own_size(getattr(network, "pretrained_cfg", None)), "given"
        if named:
            _fill(network, _state(weights), name, weights)
    else:
        name = _known(backbone)
        size = size or _own_size(_timm_settings(name) if name.startswith(TIMM) else None)
        if not named:
            return name, weights, size
        network = _filled(name, _state(weights), size, weights)
    digest = hash_of(network)
    _given[digest] = network
    return name, f"{source}{HASH}{digest}", size


def network_of(backbone: str, weights: str, size: int, seed: int = 0) -> nn.Module:
    """A copy of the network that a `Config` names, with its weights. Raises `WeightsError` where they are missing."""
    source, _, digest = weights.rpartition(HASH)
    if digest in _given:
        return copy.deepcopy(_given[digest])
    if not source and not backbone.startswith(MODULE):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _built(backbone, size, pretrained=weights == "pretrained")
    if backbone.startswith(MODULE) or source == "given":
        raise NotGiven(
            f"backbone={backbone!r} is a network that was given in another program (weights {digest}). Give it again: "
            "backbone=module in Study.train, Study.load or Study.open. The shell takes networks of timm"
        )
    network = _filled(backbone, _state(source), size, source)
    if hash_of(network) != digest:
        raise WeightsError(
            f"weights={source!r} are no longer those that were used; give the file as it was, or train anew"
        )
    _given[digest] = network
    return copy.deepcopy(network)


def restored(backbone: str, weights: str, size: int, state: dict[str, Tensor], module: nn.Module | None) -> nn.Module:
    """The network of a saved study: that of a `Config`, filled with the study's own weights `state` if it has any.

    module: what the user gives to `Study.load`. Raises `WeightsError` where it is missing or does not fit.
    """
    digest = weights.rpartition(HASH)[2]
    if module is None and (digest in _given or backbone.startswith(MODULE) or not state):
        module = network_of(backbone, weights, size)
    elif module is not None and not state and hash_of(module) != digest:
        raise NotGiven(
            f"backbone: the study was trained on {backbone} with weights {digest}, which are too large to be in it; "
            f"this {type(module).__qualname__} has {hash_of(module)}. Give the module with the weights that it had"
        )
    network = _filled(backbone, state, size, "the study's") if module is None else copy.deepcopy(module)
    if state:
        _fill(network, state, backbone, "the study's")
    if digest == hash_of(network):  # its weights were not trained any further
        _given[digest] = copy.deepcopy(network)
    return network


def hash_of(network: nn.Module) -> str:
    """Hash of a network's weights and of the code of classes that come from no library, 16 digits."""
    digest = hashlib.sha256(repr(code_of(network)).encode())
    for key, tensor in sorted(network.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{key} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def code_of(network: nn.Module) -> list:
    """What a network computes apart from its weights: its layers, and the methods of classes of no library."""
    found = {repr(network)}
    for kind in {kind for module in network.modules() for kind in type(module).__mro__}:
        if kind is not object and kind.__module__.split(".")[0] not in ("torch", "torchvision", "timm"):
            methods = {name: method.__code__ for name, method in vars(kind).items() if hasattr(method, "__code__")}
            for name, code in methods.items():
                plain = [value for value in code.co_consts if not hasattr(value, "co_code")]  # whose text is an address
                found.add(f"{kind.__qualname__}.{name} {code.co_code.hex()} {code.co_names} {plain}")
    return sorted(found)


def _known(backbone):
    """The name. Raises ValueError for one that neither this package nor timm has."""
    import timm

    if not backbone.startswith(TIMM):
        if backbone not in BACKBONES:
            names = ", ".join(BACKBONES)
            raise ValueError(
                f"backbone={backbone!r} is unknown; choose one of {names}, 'timm:NAME', or give a torch.nn.Module"
            )
        return backbone
    name = backbone.removeprefix(TIMM)
    plain, _, tag = name.partition(".")
    if not timm.is_model(plain):
        near = difflib.get_close_matches(plain, timm.list_models(), 3)
        hint = f"is one of {', '.join(near)} meant?" if near else "timm.list_models() lists them"
        raise ValueError(f"backbone={backbone!r}: timm has no network {plain!r}; {hint}")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{plain}.*")]
    if tag and tag not in tags:
        raise ValueError(f"backbone={backbone!r}: timm has no weights {tag!r} of {plain}; it has {', '.join(tags)}")
    return backbone


def _timm_settings(backbone):
    import timm

    return timm.get_pretrained_cfg(backbone.removeprefix(TIMM)).to_dict()


def _own_size(settings):
    return settings["input_size"][-1] if settings and settings.get("input_size") else USUAL_SIZE


def own_normalisation(network):
    settings = getattr(network, "pretrained_cfg", None) or {}
    return tuple(settings.get("mean", IMAGENET_MEAN)), tuple(settings.get("std", IMAGENET_STD))


def _built(backbone, size, pretrained=False, classes=None):
    """A network by name for pictures of `size` pixels; classes: its outputs, by default as many as it comes with."""
    import timm
    import torchvision

    more = {} if classes is None else {"num_classes": classes}
    if not backbone.startswith(TIMM) and backbone != "efficientnet-lite0":
        return torchvision.models.get_model(backbone, weights=None, **more)
    name = backbone.removeprefix(TIMM) if backbone.startswith(TIMM) else "tf_efficientnet_lite0"
    settings = timm.get_pretrained_cfg(name)
    if settings and settings.fixed_input_size and settings.input_size[-1] != size:
        more["img_size"] = size
    try:
        return timm.create_model(name, pretrained=pretrained, **more)
    except Exception as error:
        if not pretrained:
            raise ValueError(f"backbone={backbone!r} cannot be built for size={size}: {first_line(error)}") from error
        raise WeightsError(
            f"backbone={backbone!r}: its weights could not be had ({first_line(error)}). Fetch them where there is a "
            "network and give the file, weights='path.safetensors'; or weights='random'"
        ) from error


def _filled(backbone, state, size, source):
    """A network by name, with as many outputs as the weights have."""
    network = _built(backbone, size)
    ours = network.state_dict()
    odd = {state[key].shape[0] for key in ours.keys() & state.keys() if ours[key].shape[1:] == state[key].shape[1:]
           and ours[key].shape != state[key].shape and ours[key].ndim}  # fmt: skip
    if len(odd) == 1:  # the head alone differs
        network = _built(backbone, size, classes=odd.pop())
    _fill(network, state, backbone, source)
    return network


def _fill(network, state, name, source):
    """Load weights. Raises `WeightsError` for those of another network, by the first tensor that does not fit."""
    ours = network.state_dict()
    odd = [key for key in ours.keys() | state.keys() if key not in ours or key not in state
           or ours[key].shape != state[key].shape]  # fmt: skip
    if odd:
        first = min(odd)
        shape = lambda tensors: tuple(tensors[first].shape) if first in tensors else "missing"
        source = "weights" if isinstance(source, dict) else f"weights={str(source)!r}"
        raise WeightsError(
            f"{source} are not those of {name}: {len(odd)} of {len(ours.keys() | state.keys())} tensors differ, "
            f"the first is {first} ({shape(state)} there, {shape(ours)} in the network). Give the weights of this very "
            "network"
        )
    network.load_state_dict(state)


def _state(weights):
    """A state dict from a file or as it is given. Nothing in a file is executed."""
    if not isinstance(weights, dict):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"weights={str(weights)!r}: there is no such file; give a path, 'pretrained' or 'random'"
            )
        try:
            is_safe = path.suffix == ".safetensors"
            weights = load_tensors(path)[0] if is_safe else torch.load(path, map_location="cpu", weights_only=True)
        except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
            raise WeightsError(
                f"weights={str(path)!r} cannot be read ({first_line(error)}); save them again"
            ) from error
        except Exception as error:  # of pickle, whose text recommends to run what is in the file
            raise WeightsError(
                f"weights={str(path)!r} hold more than tensors, or none: to unpickle them could run any code, so "
                "nothing was read. Save the state dict alone, by safetensors.torch.save_file(network.state_dict(), ...)"
            ) from error
    for key in ("state_dict", "model"):
        if isinstance(weights, dict) and isinstance(weights.get(key), dict):
            weights = weights[key]
    if not isinstance(weights, dict) or not weights or not all(isinstance(one, Tensor) for one in weights.values()):
        raise WeightsError("weights hold no state dict, tensors by name; give network.state_dict()")
    return {key.removeprefix("module."): tensor for key, tensor in weights.items()}


def first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
