"""Everything that a training run can be told, in one frozen dataclass.

The defaults are for two CPU cores and the drawn data sets; `PAPER` holds what the paper did.
"""

import dataclasses
import difflib
import hashlib
import json
from pathlib import Path

from .data.datasets import data_set_names
from .model.backbones import BACKBONES, MINIMUM_SIZE
from .model.losses import OBJECTIVES
from .model.networks import HASH, NORMALISATIONS, hand_over, is_foreign
from .model.protocnn import TRAINABLE

CHOICES = {
    "backbone": BACKBONES,
    "weights": ("pretrained", "random"),
    "labels": ("true", "shuffled", "network"),
    "normalisation": ("own", *NORMALISATIONS),
    "trainable": TRAINABLE,
    "objective": OBJECTIVES,
    "precision": ("float32", "bf16"),
}
LEAST = dict(
    size=MINIMUM_SIZE, basis_per_class=1, channels=1, scene_vectors=0, batch_size=2, patches=0, views=1, seed=0
)
LEAST |= dict(warm_up_epochs=0, joint_epochs=1, cycles=1)


@dataclasses.dataclass(frozen=True)
class Config:
    """Parameters of a study. Unknown names, wrong types and impossible values are rejected by name."""

    data_set: str  # a registered name, or a folder of pictures per class
    seed: int = 0  # of weights, order and noise; splits and cached augmented views do not depend on it

    labels: str = "true"  # "shuffled" among training and validation pictures: a control; "network": a given one's own
    size: int = 336  # pixels, side of what the network sees; the paper has 224, a third fewer cells a side
    backbone: str = "efficientnet-lite0"  # see asxai.model.backbones.BACKBONES; "timm:NAME"; `of` takes a module, too
    weights: str = "pretrained"  # "random"; `of` takes a file or a state dict, see asxai.model.networks.hand_over
    normalisation: str = "own"  # of a given network's input: its own, ImageNet's, "half" (-1..1) or "none" (0..1)
    last_stage: str = ""  # backbone stage that gives the feature map, or several ("block5+block6"); "": the default
    trainable: str = "head"  # "head": what is added; "last": and the backbone's last stage; "all": everything

    basis_per_class: int = 10  # M; the paper has 100 for photographs of whole data sets
    channels: int = 128  # D
    objective: str = "parts"  # "paper"; or the paper's terms and an assignment of patches: "balanced" or "parts"
    orthogonality: float = 1.0  # lambda_1
    orthonormal: bool = False  # vectors made orthonormal by construction, also after replacement; not in the paper
    subspace: float = 1e-7  # lambda_2, by effect: larger distances between class subspaces
    separation: float = 0.08  # lambda_3, by effect: lower cosines with vectors of other classes
    aggregation: float = 0.8  # lambda_4
    balance: float = 0.5  # weight of the balanced assignment, not in the paper
    guide: float = 1.0  # weight of the guided assignment, not in the paper
    scene_vectors: int = 2  # of the M vectors of a class, how many start on its background (objective "parts")
    sigma: float = 0.01  # standard deviation of the noise on basis vectors, in training only

    views: int = 2  # of each training picture in an epoch: itself and views - 1 augmented ones; all augmented for "all"
    warm_up_epochs: int = 1  # N_1, added layers only; with 2 views the paper's 2 epochs
    joint_epochs: int = 4  # N_2; with 2 views 8 passes a cycle; the paper has 10. Few pictures get more: Study.train
    cycles: int = 2  # at most so many rounds of the three stages; fewer when the validation loss stops falling
    batch_size: int = 32
    patches: int = 128  # random cells of the grid that a step looks at (fixed backbones only); 0 for all
    learning_rate: float = 3e-3  # Adam, added layers
    backbone_learning_rate: float = 1e-4  # Adam, trained backbone stages
    wrong_class_l1: float = 1e-4  # keeps weights between a class and other classes' vectors sparse (ProtoPNet)

    precision: str = "float32"  # of the backbone's trained stages; or "bf16", faster on new GPUs and less exact
    cache_gb: float = 8.0  # features of a split that take more are not kept on disk but computed when they are needed

    def __post_init__(self):
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type is float and type(value) is int:
                value = float(value)
                object.__setattr__(self, name, value)
            if type(value) is not field.type:
                is_type, wanted = type(value).__name__, field.type.__name__
                raise TypeError(f"{name}={value!r} is a {is_type}; it must be {wanted}, for example {field.default!r}")
            given = name in ("backbone", "weights") and is_foreign(self.backbone, str(self.weights))
            if name in CHOICES and value not in CHOICES[name] and not given:
                raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(CHOICES[name])}")
            if name in LEAST and value < LEAST[name]:
                raise ValueError(f"{name}={value} must be at least {LEAST[name]}")
            if field.type is float and not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value} must be a finite number, zero or more")
        foreign = is_foreign(self.backbone, self.weights)
        if foreign and self.trainable == "last":
            raise ValueError("trainable='last': a given network is a single stage. Use trainable='head' or 'all'")
        if not foreign and self.normalisation != "own":
            raise ValueError(f"normalisation={self.normalisation!r}: {self.backbone} has its own. Leave it out")
        if self.objective == "parts" and self.trainable == "all":
            raise ValueError(
                "objective='parts' with trainable='all': groups of patches are made once, on a fixed "
                "part of the backbone. Use trainable='last' or 'head', or objective='balanced' or 'paper'"
            )
        if self.objective == "parts" and self.scene_vectors >= self.basis_per_class > 1:
            raise ValueError(
                f"scene_vectors={self.scene_vectors} leaves none of basis_per_class="
                f"{self.basis_per_class} vectors to objects; give fewer"
            )
        if (self.orthogonality > 0 or self.orthonormal) and self.basis_per_class > self.channels:
            raise ValueError(
                f"basis_per_class={self.basis_per_class} is more than channels={self.channels}: so many vectors cannot "
                "be orthogonal. Use fewer vectors, more channels, or orthogonality=0 and orthonormal=False"
            )

    @classmethod
    def of(cls, data_set: str | Path, **parameters) -> "Config":
        """A configuration from keyword parameters; an unknown name raises TypeError with the known ones.

        backbone may be a `torch.nn.Module`, weights a file or a state dict, see `asxai.model.networks.hand_over`; size
        is then by default what the network was trained on.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in parameters:
            if name not in known:
                near = "".join(f"; is {likely!r} meant?" for likely in difflib.get_close_matches(name, known, 1))
                raise TypeError(f"unknown parameter {name!r}{near or ';'} The parameters are {', '.join(known)}")
        folder = Path(data_set).expanduser()
        if str(data_set) not in data_set_names() and folder.is_dir():
            data_set = folder.resolve()  # which still holds when the reader moves about
        network = {name: parameters.get(name, getattr(cls, name)) for name in ("backbone", "weights")}
        if network["backbone"] not in list(BACKBONES) or network["weights"] not in CHOICES["weights"]:
            given = hand_over(**network, size=parameters.get("size"))
            parameters |= dict(zip(("backbone", "weights", "size"), given))
        return cls(data_set=str(data_set), **parameters)

    def key(self, *more: str) -> str:
        """Short hash of all parameters and of `more`. Where pictures, features and weights lie does not enter."""
        parameters = dataclasses.asdict(self)
        del parameters["data_set"], parameters["cache_gb"]
        parameters["weights"] = self.weights.rpartition(HASH)[2]
        return hashlib.sha256(json.dumps([parameters, *more], sort_keys=True).encode()).hexdigest()[:12]


# Section 2.2 and 3.1: Study.train("oxford-pets", **PAPER). For a GPU: VGG-19 costs 19.6 GMAC a picture and pass.
PAPER = dict(backbone="vgg19", trainable="all", basis_per_class=100, channels=128, objective="paper", views=1)
PAPER |= dict(learning_rate=1e-4, backbone_learning_rate=1e-4, batch_size=32, warm_up_epochs=2, joint_epochs=10)
