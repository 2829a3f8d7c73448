"""Which stage to take: one whose groups repeat comes before one whose groups are chance; costs rise with depth."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import asxai
from asxai.benchmarks import stages
from asxai.model.recipe import build_model


class Chaos(nn.Module):
    """Each value becomes an unrelated one, by its column."""

    def forward(self, x):
        return torch.sin(500 * x.repeat(1, 3, 1, 1) * torch.arange(1, x.shape[3] + 1))


class Two(nn.Module):
    """First what is in a place, then the same beyond recognition."""

    def __init__(self):
        super().__init__()
        self.good, self.pool = nn.Conv2d(3, 6, 3, padding=1), nn.AvgPool2d(4)
        self.bad = nn.Sequential(nn.AvgPool2d(2), Chaos())

    def forward(self, x):
        return self.bad(self.pool(self.good(x)))


def quarters(folder, count=20):
    """Two classes of squares with four parts, by their colours, somewhere on noise."""
    rng = np.random.default_rng(0)
    for label, colours in enumerate((np.eye(4)[:, :3], 1 - np.eye(4)[:, 1:] / 2)):
        (folder / f"class{label}").mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 50, (64, 64, 3))
            top, left = rng.integers(0, 24, 2)
            square = (200 * colours).reshape(2, 2, 3).repeat(20, axis=0).repeat(20, axis=1)
            pixels[top : top + 40, left : left + 40] += square.astype(int)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"class{label}" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def choice(tmp_path_factory):
    torch.manual_seed(0)
    folder = quarters(tmp_path_factory.mktemp("pictures") / "quarters")
    network = Two()
    return (*asxai.choose_stage(network, folder, size=64), network)


def test_groups_that_repeat_come_first(choice):
    stage, table, _ = choice
    scores = table.set_index("stage")["score"]
    assert stage == table["stage"][0] == "pool" and scores["pool"] > scores["bad"] + 0.2
    assert set(table["stage"]) == {"pool", "bad", "pool+bad"} and table["score"].is_monotonic_decreasing
    assert scores.between(0, 1).all() and (table["ms"] > 0).all()


def test_cost_is_of_the_layers_up_to_the_stage(choice):
    """A convolution of 27 by 6 weights on 64 x 64 places, two operations each; the rest has none that count."""
    _, table, _ = choice
    assert table["gflop"].tolist() == pytest.approx([2 * 27 * 6 * 64 * 64 / 1e9] * 3)


def test_maps_of_stages_are_those_that_a_study_would_take(choice):
    *_, network = choice
    pictures = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for given in (
        dict(backbone=network, last_stage="pool"),
        dict(backbone="resnet18", weights="random", last_stage="layer2"),
    ):
        backbone = build_model(asxai.Config.of("x", size=64, **given), 2).backbone
        with torch.inference_mode():
            torch.testing.assert_close(stages.stage_maps(backbone, pictures)[given["last_stage"]], backbone(pictures))
