"""Small things that several tests need: a tiny network, tiny features, a tiny folder of pictures."""

import dataclasses
import functools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from torch import nn

import asxai
from asxai.concepts.concepts import Concepts
from asxai.data import sources
from asxai.figures.style import use_style
from asxai.model.backbones import Backbone
from asxai.model.protocnn import ProtoCNN
from menagerie import DATA_SETS


def tiny_backbone(channels=5, seed=0):
    """Two stages, smooth everywhere (tanh), 64 pixels to a 4x4 grid: fit for finite differences in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stages = [("first", nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Tanh())),
                  ("second", nn.Sequential(nn.Conv2d(4, channels, 2, stride=2), nn.Tanh()))]
        return Backbone("tiny", stages, (0.5,) * 3, (0.25,) * 3)


def tiny_model(classes=3, basis_per_class=2, channels=6, trainable="head", seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ProtoCNN(tiny_backbone(seed=seed), classes, basis_per_class, channels, trainable)


def tiny_features(pictures=30, classes=3, views=2, seed=0):
    """Features `(view, picture, 5, 4, 4)` in which every class raises its own channel somewhere, and labels."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(pictures) % classes
    features = torch.randn(views, pictures, 5, 4, 4, generator=g)
    for i, label in enumerate(labels):
        features[:, i, label, 1:3, 1:3] += 4
    return features, labels


def picture_folder(folder, classes=("square", "stripes"), count=10, size=64, seed=0):
    """`folder/class/NN.png`: bright squares and stripes on noise, easy to tell apart."""
    rng = np.random.default_rng(seed)
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 90, size=(size, size, 3), dtype=np.uint8)
            top, left = rng.integers(4, size // 2, size=2)
            block = pixels[top:top + size // 3, left:left + size // 3]
            block[:: c + 1, :, c] = 255
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


def drawn_study(folder, train, test, **config):
    """A study of two classes of drawn animals, `train` pictures each to train and validate on and `test` to test."""
    few = dataclasses.replace(DATA_SETS["menagerie-pets"], train_per_class=train, test_per_class=test)
    load = functools.partial(asxai.load_data_set, root=folder, size=config["size"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_menagerie_specs", lambda: {few.name: few})
        patch.setattr("asxai.study.load_data_set", load)
        return asxai.Study.train(few.name, folder=folder / "study", **config)


# for tests that need a trained study of drawn animals, not a good one
QUICK = dict(size=96, basis_per_class=5, channels=16, cycles=1, joint_epochs=2, views=1, batch_size=8)


def concepts_by_hand(study):
    """Concepts of a `drawn_study` with `QUICK`, so each class has some: the first lacks a tail, the second a nose."""
    return Concepts(np.array([[1, 2, 0, 3, 0], [1, 2, 4, 1, 0]]), ("ear", "eye", "nose", "tail"), study.class_names)


@pytest.fixture(autouse=True)
def styled_figures():
    """Import it into a module: all its figures have the study's style, and none is left open."""
    with plt.rc_context():
        use_style()
        yield
        plt.close("all")


def slow_calibration_error(confidence, right, bins):
    """Expected calibration error by plain loops, for tests that compare with it."""
    error = 0.0
    for k in range(bins):
        inside = [i for i, value in enumerate(confidence)
                  if k == min(int(value * bins), bins - 1)]  # the last bin also has what is certain
        if inside:
            accuracy = sum(bool(right[i]) for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            error += len(inside) / len(confidence) * abs(mean - accuracy)
    return error


def words(figure):
    """All texts that are to be seen, after the figure has been drawn."""
    figure.canvas.draw()
    found = figure.findobj(Text)
    of_axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    every = {id(label) for axis in of_axes for tick in axis.get_major_ticks() for label in (tick.label1, tick.label2)}
    within = {id(label) for axis in of_axes for tick in axis._update_ticks() for label in (tick.label1, tick.label2)}
    return [text for text in found if text.get_visible() and text.get_text().strip()
            and (id(text) not in every or id(text) in within)]


def check_words(figure):
    """No text on another, nor beyond the figure, at two resolutions."""
    for dpi in (80, 200):
        figure.set_dpi(dpi)
        found = words(figure)
        boxes = [Text.get_window_extent(text) for text in found]  # without the lines to what they name
        for i, (text, box) in enumerate(zip(found, boxes)):
            assert box.x0 >= 0 and box.y0 >= 0, text
            assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, text
            assert not [other for other, own in zip(found[:i], boxes) if box.padded(-1).overlaps(own.padded(-1))], text


def text_of(figure):
    return [text.get_text() for text in words(figure)]
