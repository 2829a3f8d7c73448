"""Small things that several tests need: a tiny network, tiny features, a tiny folder of pictures."""

import dataclasses
import functools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from scipy.ndimage import binary_dilation
from torch import nn

import asxai
from asxai.concepts.concepts import Concepts
from asxai.concepts.masks import Region
from asxai.concepts.turning import Turned
from asxai.data import sources
from asxai.figures.style import use_style
from asxai.model.backbones import Backbone
from asxai.model.protocnn import ProtoCNN
from asxai.ranks.layers import LayerRanks
from menagerie import DATA_SETS


def cases(names, *rows):
    """The test for each row of values of these names."""
    return pytest.mark.parametrize(names, rows)


def tiny_backbone(channels=5, seed=0):
    """Two stages, smooth everywhere (tanh), 64 pixels to a 4x4 grid: fit for finite differences in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first, second = nn.Conv2d(3, 4, 8, stride=8), nn.Conv2d(4, channels, 2, stride=2)
        stages = [(name, nn.Sequential(layer, nn.Tanh())) for name, layer in (("first", first), ("second", second))]
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


# the part that each vector of each class fires on; -1 is the scene. Parts 3 and 4 belong to one class each
LAYOUT = np.array([[0, 0, 1, 1, 1, 2, -1, -1], [1, 0, 0, 2, 2, 3, -1, -1], [0, -1, 1, 1, 4, -1, 0, 0]])
ANCHORS = np.array([[4, 4], [4, 9], [9, 4], [9, 9]])
PLACES = [[0, 1, 2], [3, 2, 0, 1], [1, 3, None, None, 0]]  # the anchor of each part: another one in each class


def planted_concepts(layout=LAYOUT, places=PLACES, per_class=12, seed=0, side=14):
    """Maps of the own class `(picture, basis, 14, 14)`, labels, descriptors `(picture, 24, 14, 14)`, objects, parts."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(layout)), per_class)
    maps = rng.normal(0, 0.02, (len(labels), len(layout[0]), side, side))
    looks, offsets = np.eye(24)[:5] * 4, rng.normal(0, 8, (len(layout), 24))
    scene, features = rng.normal(0, 3, 24), rng.normal(0, 1, (len(labels), side, side, 24))
    parts = np.zeros((len(labels), side, side), int)
    cells = np.stack(np.mgrid[:side, :side], axis=-1)
    for i, label in enumerate(labels):
        bumps = {}
        for part in sorted(set(layout[label]) - {-1}):
            distance = np.linalg.norm(cells - ANCHORS[places[label][part]] - rng.integers(-1, 2, 2) * 0.5, axis=-1)
            bumps[part] = np.exp(-((distance / 2.5) ** 2))
            parts[i][distance < 2.5] = part + 1
        scenes = [0.45 * (cells[..., 1] >= 7) + 0.1, 0.45 * (cells[..., 1] < 7) + 0.1]
        for b, part in enumerate(layout[label]):
            maps[i, b] += scenes[b % 2] if part < 0 else 0.9 * bumps[part]
        # the nearest part; at its rim both that and the scene are seen
        part = np.array([0, *bumps])[np.argmax([0 * cells[..., 0], *bumps.values()], axis=0)]
        share = np.select([parts[i] > 0, binary_dilation(parts[i] > 0)], [1, 0.5])[..., None]
        features[i] += offsets[label] + share * looks[part] + (1 - share) * scene
    features *= np.r_[np.ones(23), 1000.0]  # one channel, of nothing but noise and the class's offset, is much larger
    objects = binary_dilation(parts > 0, [[[0, 1, 0], [1, 1, 1], [0, 1, 0]]])  # with a rim of what is around them
    return maps, labels, features.transpose(0, 3, 1, 2), objects, parts


def planted_turns(maps, labels, layout=LAYOUT):
    """What `turned_maps` would give: turning to the left and right moves each vector to the next of the same part."""
    maps, turns = torch.as_tensor(maps), []
    for step in (1, -1):
        order = np.tile(np.arange(maps.shape[1]), (len(layout), 1))
        for own, parts in zip(order, np.asarray(layout)):
            for part in set(parts.tolist()):
                own[parts == part] = np.roll(own[parts == part], step)
        turns.append(torch.stack([one[order[label]] for one, label in zip(maps, labels)]))
    return Turned(np.arange(len(maps)), torch.stack(turns))


def picture_folder(folder, classes=("square", "stripes"), count=10, size=64, seed=0):
    """`folder/class/NN.png`: bright squares and stripes on noise, easy to tell apart."""
    rng = np.random.default_rng(seed)
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 90, size=(size, size, 3), dtype=np.uint8)
            top, left = rng.integers(4, size // 2, size=2)
            block = pixels[top : top + size // 3, left : left + size // 3]
            block[:: c + 1, :, c] = 255
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


def alike(*shape, seed=0):
    """Features of pictures that are alike, as those of a network are: a common pattern, and noise."""
    rng = np.random.default_rng(seed)
    return rng.gamma(2, size=(1, *shape[1:])) + 0.4 * rng.gamma(2, size=shape)


def noise(seed, height=20, width=24):
    """A picture like no other, uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def fill(folder, count, first=0, suffix=".png"):
    """`count` different pictures; `first` keeps folders apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.fromarray(noise(number)).save(folder / f"{number:04d}{suffix}")
    return folder


def plain(root, counts=(10, 10)):
    for number, count in enumerate(counts):
        fill(root / f"class{number}", count, 1000 * number)
    return root


def with_splits(root, splits=("train", "test"), count=5):
    for number, split in enumerate(splits):
        for label in range(2):
            fill(root / split / f"class{label}", count, 1000 * label + 100 * number)
    return root


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


REGIONS = {"corner": (slice(0, 40), slice(0, 40)), "low": (slice(60, 96), slice(0, 96))}


def fixed_regions(label, split):
    """The same regions of `REGIONS` in every picture of 96 x 96; a third concept is seen nowhere."""
    masks = torch.zeros(len(split), 3, 96, 96, dtype=torch.bool)
    for k, (rows, columns) in enumerate(REGIONS.values()):
        masks[:, k, rows, columns] = True
    return Region((*REGIONS, "unseen"), masks)


def planted_ranks(class_name="finch", names=("ear", "ear 2", "eye"), rank=(2, 4, 6), pictures=8, **other):
    """`LayerRanks` of three filters a concept that overlap it fully, with maps of so many equal singular values."""
    iou = np.tile(np.repeat(np.eye(3), 3, axis=0), (pictures, 1, 1))
    values = (np.arange(7) < np.repeat(rank, 3)[:, None]) * np.ones((pictures, 1, 1))
    activation = np.tile(np.repeat([0.3, -0.5, 0.1], 3), (pictures, 1))
    one = LayerRanks(class_name, "last added", names, values, 0.01, 1e-6, iou, activation)
    return dataclasses.replace(one, **other)


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
        # the last bin also has what is certain
        inside = [i for i, value in enumerate(confidence) if k == min(int(value * bins), bins - 1)]
        if inside:
            accuracy = sum(bool(right[i]) for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            error += len(inside) / len(confidence) * abs(mean - accuracy)
    return error


def words(figure):
    """All texts that are to be seen, after the figure has been drawn, or laid out as if it had been."""
    if figure.stale:
        figure.draw_without_rendering()
    found = figure.findobj(Text)
    of_axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    every = {id(label) for axis in of_axes for tick in axis.get_major_ticks() for label in (tick.label1, tick.label2)}
    within = {id(label) for axis in of_axes for tick in axis._update_ticks() for label in (tick.label1, tick.label2)}
    found = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [text for text in found if id(text) not in every or id(text) in within]


def check_words(figure):
    """No text on another, nor beyond the figure, at two resolutions."""
    for dpi in (80, 200):
        figure.set_dpi(dpi)
        found = words(figure)
        boxes = [Text.get_window_extent(text) for text in found]  # without the lines to what they name
        for text, box in zip(found, boxes):
            assert box.x0 >= 0 and box.y0 >= 0, text
            assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, text
        corners = np.reshape([box.padded(-1).extents for box in boxes], (-1, 2, 2))
        low, high = corners.min(axis=1), corners.max(axis=1)
        over = ((low[:, None] <= high) & (low <= high[:, None])).all(axis=2)  # as `Bbox.overlaps`
        assert not [(found[i], found[k]) for i, k in np.argwhere(np.triu(over, 1))]


def texts(items):
    """What stands in texts, labels of an axis, or entries of a legend."""
    return [item.get_text() for item in items]


def text_of(figure):
    return texts(words(figure))


def bright_noise(seed=0, height=40, width=40):
    """A picture, uint8 `(height, width, 3)`."""
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)


def squares(count, height=40, width=40):
    """Masks of 7 by 7 pixels side by side, as far as they fit, and over one another then."""
    result = np.zeros((count, height, width), bool)
    for k in range(count):
        top, left = 10 * (k // 4) % (height - 8), 10 * k % (width - 8)
        result[k, top : top + 7, left : left + 7] = True
    return result


def random_scores(rows, columns, lacking=0.0):
    """From 0 to 1.1, and a share of them NaN."""
    generator = np.random.default_rng(0)
    values = generator.uniform(0, 1.1, (rows, columns))
    values[generator.random(values.shape) < lacking] = np.nan
    return values
