"""Which stage of a network has parts in it? Stages are compared without any label of a part.

    choice = asxai.choose_stage(network, "my_pictures", size=224)
    choice.table                                            # a row per stage, the best first
    asxai.Study.train("my_pictures", backbone=network, size=224, last_stage=choice.stage)

A stage whose patches fall into parts gives the same ones whichever pictures one looks at, and wherever they lie. Groups
are made on either half of some training pictures, and divide validation pictures and their mirror images. The score is
the mean of two agreements, on patches that are object both times: between the halves (stability: Lange et al., Neural
Computation 2004), and between picture and mirror image (equivariance: Hung et al., SCOPS, CVPR 2019). Colours repeat as
well as parts do, so a stage must also know the classes nearly as well as the best one, by a linear probe.
"""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.flop_counter import FlopCounterMode

from ..config import Config
from ..data.datasets import Split, load_data_set
from ..data.features import BATCH
from ..data.pictures import to_batch
from ..model.backbones import Backbone
from ..model.foreign import Foreign, Whole
from ..model.parts import PartGroups
from ..model.recipe import build_model
from ..progress import bar
from ..statistics import evenly

PICTURES = 20  # of each class at most, in each half and to compare on
COARSEST, FINEST = 5, 48  # cells a side: beyond, a patch is a whole picture, or no part
SHORT = 0.05  # of the best probe's accuracy, by which a stage may fall short
GROUPS = 8  # of objects, in each class
CELLS = 28  # a side; finer maps are averaged to that, coarser ones are compared as they are


class Choice(NamedTuple):
    """What `choose_stage` found."""

    stage: str  # for `last_stage`
    table: pd.DataFrame  # stage, channels, grid, classes, halves, mirror, score, gflop and ms of a picture; best first


def choose_stage(backbone, folder: str | Path, **parameters) -> Choice:
    """Compare the stages of a network, each alone and joined with the next, on pictures of a folder or data set.

    backbone: as `Study.train` takes it, and `parameters` besides (`weights`, `size`, `normalisation`, `seed`). Raises
    what it raises, and ValueError for a network without two stages to compare.
    """
    config = Config.of(folder, backbone=backbone, **parameters)
    data = load_data_set(config.data_set)
    network = build_model(config, len(data.class_names)).backbone
    halves, others = _spread(data.train, 2 * PICTURES), _spread(data.validation, PICTURES)
    pictures = [to_batch(split.paths, config.size) for split in (halves, others)]
    maps = [stage_maps(network, one) for one in (*pictures, pictures[1].flip(3))]
    names = list(maps[0])
    names += [f"{first}+{second}" for first, second in zip(names, names[1:])]
    rows = []
    for name in bar(names, desc="comparing stages"):
        joined = [Whole(torch.nn.Identity(), name.split("+")).join(one) for one in maps]
        rows.append((name, *joined[0].shape[1:3], *_scores(config.seed, halves, others.labels, *joined)))
    table = pd.DataFrame(rows, columns=["stage", "channels", "grid", "classes", "halves", "mirror"])
    table["score"] = (table["halves"] + table["mirror"]) / 2
    costs = [_cost(network, name.split("+")[-1], config.size) for name in table["stage"]]
    table = table.join(pd.DataFrame(costs, columns=["gflop", "ms"])).sort_values("score", ascending=False)
    knows = table["classes"] >= table["classes"].max() - SHORT
    table = pd.concat([table[knows], table[~knows]])
    return Choice(table["stage"].iloc[0], table.reset_index(drop=True))


def _whole(backbone):
    """Its layers as one network, and the names of its stages in it."""
    if isinstance(backbone, Foreign):
        return Whole(backbone.stages[0].network, []), list(backbone.found)
    return Whole(backbone.stages, []), backbone.stage_names


@torch.inference_mode()
def stage_maps(backbone: Backbone, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    """Maps of uint8 pictures by stage, `(picture, channel, height, width)`, from early to late, on at most `CELLS`."""
    whole, names = _whole(backbone)
    parts = []
    for batch in bar(pictures.split(BATCH), desc="maps of all stages"):
        maps, _ = whole.run(backbone.normalise(batch), names, decide=False)
        maps = {name: x for name, x in maps.items() if COARSEST <= x.shape[-1] <= FINEST}
        parts.append({n: x if x.shape[-1] <= CELLS else F.adaptive_avg_pool2d(x, CELLS) for n, x in maps.items()})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _spread(split: Split, pictures: int) -> Split:
    """At most so many pictures of each class."""
    members = [np.flatnonzero(split.labels == label) for label in np.unique(split.labels)]
    return split.take(np.concatenate([one[evenly(len(one), pictures)] for one in members]))


def _scores(seed, halves, labels, train, unseen, mirrored):
    """Accuracy of a linear probe on other pictures, and how alike groups of both halves divide them, and the groups of
    one half a picture and its mirror image."""
    pooled = [one.mean(dim=(2, 3)).numpy() for one in (train, unseen)]
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(pooled[0], halves.labels)
    known, classes, divided = torch.from_numpy(halves.labels), torch.from_numpy(labels), []
    for half in range(2):
        chosen = torch.arange(len(known)) % 2 == half
        paths = [path for path, taken in zip(halves.paths, chosen.tolist()) if taken]
        groups = PartGroups(train[chosen], known[chosen], GROUPS, 1, seed, paths)
        divided.append(groups.assign(unseen, classes).numpy())
    again = groups.assign(mirrored, classes).flip(2).numpy()
    return float(probe.score(pooled[1], labels)), _alike(*divided, labels), _alike(divided[1], again, labels)


def _alike(first, second, labels):
    """NMI of two divisions `(picture, height, width)` where both are object, the mean over classes."""
    both = (first < GROUPS) & (second < GROUPS)
    chosen = [both & (labels == label)[:, None, None] for label in np.unique(labels)]
    return float(np.mean([normalized_mutual_info_score(first[one], second[one]) for one in chosen]))


@torch.inference_mode()
def _cost(backbone, name, size):
    """GFLOP, and milliseconds on this machine, of a picture up to a stage."""
    whole, _ = _whole(backbone)
    picture = backbone.normalise(torch.zeros(1, 3, size, size))
    with FlopCounterMode(display=False) as counter:
        whole.run(picture, [name], decide=False)
    start = time.perf_counter()
    for _ in range(3):
        whole.run(picture, [name], decide=False)
    return counter.get_total_flops() / 1e9, (time.perf_counter() - start) / 3 * 1000
