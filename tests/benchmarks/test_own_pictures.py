"""Few pictures of one's own: the small folder, what is said about its size, and mistakes with folders."""

import shutil
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers import picture_folder
from scipy.stats import binom

import asxai
from asxai import paths
from asxai.benchmarks import own_pictures
from asxai.benchmarks.own_pictures import (
    cautions,
    common_mistakes,
    concept_cautions,
    folder_without,
    learning_curve,
    sample_folder,
)
from asxai.concepts.concepts import Concepts
from asxai.figures import explore as explore_plots
from asxai.statistics import accuracy_interval

QUICK = dict(size=96, basis_per_class=4, channels=16, cycles=1, joint_epochs=1, views=1, batch_size=8)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Two classes of twenty pictures: 12 to train on, 4 to validate and 4 to test."""
    return picture_folder(tmp_path_factory.mktemp("many") / "shapes", count=20)


def contents(folder):
    return {entry.name: {path.read_bytes() for path in entry.iterdir()} for entry in folder.iterdir()}


def test_a_sample_is_a_folder_of_training_pictures(many, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SAMPLES", tmp_path)
    folder, data = sample_folder(many, 3), asxai.load_data_set(many)
    assert folder.name == f"{data.name}-3-{data.fingerprint[:8]}" and list(folder.parent.iterdir()) == [folder]
    copied = contents(folder)
    assert set(copied) == set(data.class_names)
    for label, class_name in enumerate(data.class_names):
        train = {path.read_bytes() for path, of in zip(data.train.paths, data.train.labels) if of == label}
        assert len(copied[class_name]) == 3 and copied[class_name] <= train
    marker = folder / data.class_names[0] / "001.png"
    marker.unlink()
    assert sample_folder(many, 3) == folder and not marker.exists(), "made once, and then the reader's"
    with pytest.raises(ValueError, match="per_class=13 must be from 1 to 12"):
        sample_folder(many, 13)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_without_a_class_has_the_splits_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SAMPLES", tmp_path / "samples")
    every = asxai.load_data_set(picture_folder(tmp_path / "shapes", ("a", "b", "c"), count=20))
    folder = folder_without(tmp_path / "shapes", ["b"])
    left = asxai.load_data_set(folder)
    assert left.class_names == ("a", "c")
    for name, split in every.splits.items():
        hashes = {one for one, label in zip(split.hashes, split.labels) if label != 1}
        assert set(left.splits[name].hashes) == hashes and hashes
    assert folder_without(tmp_path / "shapes", ["b"]) == folder != folder_without(tmp_path / "shapes", ["a"])
    with pytest.raises(ValueError, match="d: no classes of shapes.*; there are a, b, c"):
        folder_without(tmp_path / "shapes", ["b", "d"])


def test_samples_of_other_pictures_are_others(many, tmp_path, monkeypatch):
    """A second folder of the same name, and the same one with other pictures, do not get the first one's copies."""
    monkeypatch.setattr(paths, "SAMPLES", tmp_path / "samples")
    first = contents(sample_folder(many, 3))
    other = picture_folder(tmp_path / "elsewhere" / "shapes", seed=1)
    second = sample_folder(other, 3)
    shutil.rmtree(other)
    picture_folder(other, seed=2)
    third = sample_folder(other, 3)
    assert second.name != third.name
    pictures = [set.union(*each.values()) for each in (first, contents(second), contents(third))]
    assert len(set.union(*pictures)) == 18


def test_a_folder_of_ones_own_is_used_as_it_is(many, monkeypatch):
    assert own_pictures.own_folder(many, 3) == many
    asked = []
    monkeypatch.setattr(own_pictures, "sample_folder", lambda *arguments: asked.append(arguments) or many)
    assert own_pictures.own_folder("menagerie-pets", 3) == many and asked == [("menagerie-pets", 3)]


@pytest.mark.parametrize("right, pictures", [(4, 4), (3, 4), (0, 5), (90, 100)])
def test_interval_of_an_accuracy(right, pictures):
    """The ends are where what was seen, or more of it, has a probability of 2.5 %."""
    low, high = accuracy_interval(right, pictures)
    assert low == 0 if right == 0 else binom.sf(right - 1, pictures, low) == pytest.approx(0.025)
    assert high == 1 if right == pictures else binom.cdf(right, pictures, high) == pytest.approx(0.025)


def test_few_pictures_have_cautions_and_many_have_none(many):
    sentences = cautions(asxai.load_data_set(sample_folder(many, 10)))
    topics = ["Accuracy", "Choice of the best cycle", "Probabilities of concepts", "Traits"]
    assert [sentence.split(":")[0] for sentence in sentences] == topics
    assert "all 4 test pictures are right, it may be as low as 40 %" in sentences[0]  # .025 ** (1 / 4)
    assert "one of 4 validation pictures is 25 %" in sentences[1]
    assert "comes from 6 pictures and is itself uncertain by about 32 %" in sentences[2]  # 1 / sqrt(2 * 5)
    least = cautions(asxai.load_data_set(sample_folder(many, 3)))
    assert "1 to validate with and 1 to test with" in least[-1]
    labels = np.arange(200) % 2
    large = asxai.data.datasets.Split(tuple(map(str, labels)), labels, tuple(map(str, range(200))))
    assert cautions(SimpleNamespace(class_names=("a", "b"), train=large, validation=large, test=large)) == []


def data_of(*counts):
    """A data set with so many training pictures of each class."""
    names = ("one", "two", "three", "four")[: len(counts)]
    return SimpleNamespace(class_names=names, train=SimpleNamespace(class_counts=lambda classes: np.array(counts)))


def test_cautions_about_concepts():
    members, classes = np.array([[1, 0, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0], [1, 2, 1, 2]]), data_of(40, 20, 40, 40)
    concepts = Concepts(members, ("a", "b"), classes.class_names)
    sentences = concept_cautions(concepts, classes)
    starts = [
        "“one” has a single concept",
        "“one”: 3 of 4 vectors",
        "“three” has no concept",
        "“three”: 4 of 4 vectors",
    ]
    assert [sentence[: len(start)] for sentence, start in zip(sentences, starts, strict=True)] == starts
    few = concept_cautions(concepts, data_of(40, 19, 40, 40))
    assert few[:4] == sentences and "in several classes (1, 2) were matched by what 19 pictures" in few[4]
    alone = Concepts(np.array([[1, 2], [3, 4]]), ("a", "b", "c", "d"), ("one", "two"))
    assert concept_cautions(alone, data_of(3, 3)) == []


@pytest.fixture(scope="module")
def curve(many):
    return learning_curve(many, [3, 6, 999], **QUICK)


def test_three_pictures_of_two_classes_are_enough_to_train(many, curve):
    assert curve["pictures"].tolist() == [3, 6], "counts that the data set does not have are left out"
    assert curve["train"].tolist() == [1, 4] and curve["nmi"].isna().all()
    assert curve["accuracy"].between(0, 1).all() and (curve["concepts"] >= 1).all()
    # scored on all test pictures of the whole data set: eighths
    assert (8 * curve["accuracy"] % 1 == 0).all()
    empty = learning_curve(many, [100])
    assert empty.empty and "accuracy" in empty


def test_mistakes_are_noticed_and_say_where(many):
    table = common_mistakes(many).set_index("mistake")["message"]
    expected = {
        "no class folder": "pictures lie directly in it (1)",
        "one class": "only one class",
        "two pictures": "has too few different pictures (2). Give it at least 3",
        "empty file": "the file is empty",
        "tiny picture": "12 x 12 pixels are too few",
        "in both": "the same file is in the classes",
    }
    assert list(table.index) == list(expected)
    for mistake, words in expected.items():
        assert words in table[mistake] and "my_pictures" in table[mistake] and "/tmp" not in table[mistake]


def test_mistakes_of_a_folder_with_splits_too(many, tmp_path):
    shutil.copytree(many, tmp_path / "split" / "train")
    for of_class in (tmp_path / "split" / "train").iterdir():
        (tmp_path / "split" / "test" / of_class.name).mkdir(parents=True)
        file = min(of_class.iterdir())
        file.rename(tmp_path / "split" / "test" / of_class.name / file.name)
    assert len(common_mistakes(tmp_path / "split")) == 6


def test_figure_of_few_pictures(curve):
    figure, table = explore_plots.few_pictures(curve, "More")
    assert table is curve and len(figure.axes) == 1, "without part masks there is no agreement to draw"
    assert [text.get_text() for text in figure.axes[0].texts] == [f"{value:.2f}" for value in curve["accuracy"]]
    rows = [(3, 1, 0.5, 2, 0.1), (9, 5, 1.0, 3, 0.25)]
    figure, _ = explore_plots.few_pictures(pd.DataFrame(rows, columns=list(curve)), "More")
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [0.1, 0.25])
    plt.close("all")
