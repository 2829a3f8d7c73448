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
from asxai.benchmarks import own_pictures
from asxai.benchmarks.own_pictures import cautions, common_mistakes, learning_curve, sample_folder
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


def test_a_sample_is_a_folder_of_training_pictures(many, tmp_path):
    folder = sample_folder(many, 3, tmp_path)
    assert folder == tmp_path / "shapes-3"
    data, found = asxai.load_data_set(many), contents(folder)
    assert list(tmp_path.iterdir()) == [folder] and set(found) == set(data.class_names)
    for label, class_name in enumerate(data.class_names):
        train = {path.read_bytes() for path, own in zip(data.train.paths, data.train.labels) if own == label}
        assert len(found[class_name]) == 3 and found[class_name] <= train
    marker = folder / data.class_names[0] / "001.png"
    marker.unlink()
    assert sample_folder(many, 3, tmp_path) == folder and not marker.exists(), "made once, and then the reader's"
    with pytest.raises(ValueError, match="per_class=13 must be from 1 to 12"):
        sample_folder(many, 13, tmp_path)
    assert not (tmp_path / "shapes-13").exists()


def test_a_folder_of_ones_own_is_used_as_it_is(many, monkeypatch):
    assert own_pictures.own_folder(many, 3) == many
    asked = []
    monkeypatch.setattr(own_pictures, "sample_folder", lambda *arguments: asked.append(arguments) or many)
    assert own_pictures.own_folder("menagerie-pets", 3) == many and asked == [("menagerie-pets", 3, None)]


@pytest.mark.parametrize("right, pictures", [(4, 4), (3, 4), (0, 5), (90, 100)])
def test_interval_of_an_accuracy(right, pictures):
    """The ends are where what was seen, or more of it, has a probability of 2.5 %."""
    low, high = accuracy_interval(right, pictures)
    assert low == 0 if right == 0 else binom.sf(right - 1, pictures, low) == pytest.approx(0.025)
    assert high == 1 if right == pictures else binom.cdf(right, pictures, high) == pytest.approx(0.025)


def test_few_pictures_have_cautions_and_many_have_none(many, tmp_path):
    said = cautions(asxai.load_data_set(sample_folder(many, 10, tmp_path)))
    assert [sentence.split(":")[0] for sentence in said] == [
        "Accuracy", "Choice of the best cycle", "Probabilities of concepts", "Traits"]
    assert "all 4 test pictures are right, it may be as low as 40 %" in said[0]  # .025 ** (1 / 4)
    assert "one of 4 validation pictures is 25 %" in said[1]
    assert "comes from 6 pictures and is itself uncertain by about 32 %" in said[2]  # 1 / sqrt(2 * 5)
    least = cautions(asxai.load_data_set(sample_folder(many, 3, tmp_path)))
    assert "1 to validate with and 1 to test with" in least[-1]

    class Large:
        class_names = ("a", "b")

        def __init__(self, count):
            labels = np.arange(count) % 2
            self.train = self.validation = self.test = asxai.data.datasets.Split(
                tuple(map(str, labels)), labels, tuple(map(str, range(count))))

    assert cautions(Large(200)) == []


@pytest.fixture(scope="module")
def curve(many, tmp_path_factory):
    return learning_curve(many, [3, 6, 999], place=tmp_path_factory.mktemp("curve"), **QUICK)


def test_three_pictures_of_two_classes_are_enough_to_train(many, curve):
    assert curve["pictures"].tolist() == [3, 6], "counts that the data set does not have are left out"
    assert curve["train"].tolist() == [1, 4] and curve["nmi"].isna().all()
    assert ((0 <= curve["accuracy"]) & (curve["accuracy"] <= 1)).all() and (curve["concepts"] >= 1).all()
    # scored on all test pictures of the whole data set: eighths
    assert (8 * curve["accuracy"] % 1 == 0).all()


def test_learning_curve_of_too_few_pictures_is_empty(many):
    empty = learning_curve(many, [100])
    assert empty.empty and "accuracy" in empty


def test_mistakes_are_shown_for_a_folder_with_splits_too(many, tmp_path):
    shutil.copytree(many, tmp_path / "split" / "train")
    for own in (tmp_path / "split" / "train").iterdir():
        (tmp_path / "split" / "test" / own.name).mkdir(parents=True)
        file = min(own.iterdir())
        file.rename(tmp_path / "split" / "test" / own.name / file.name)
    assert len(common_mistakes(tmp_path / "split")) == 6


def test_mistakes_are_noticed_and_say_where(many):
    table = common_mistakes(many).set_index("mistake")["message"]
    said = {"no class folder": "pictures lie directly in it (1)", "one class": "only one class",
            "two pictures": "has too few different pictures (2). Give it at least 3", "empty file": "the file is empty",
            "tiny picture": "12 x 12 pixels are too few", "in both": "the same file is in the classes"}
    assert set(table.index) == set(said)
    for mistake, words in said.items():
        assert words in table[mistake] and "my_pictures" in table[mistake] and "/tmp" not in table[mistake]


def test_figure_of_few_pictures(curve):
    figure, table = explore_plots.few_pictures(curve, "More")
    assert table is curve and len(figure.axes) == 1, "without part masks there is no agreement to draw"
    assert [text.get_text() for text in figure.axes[0].texts] == [f"{value:.2f}" for value in curve["accuracy"]]
    figure, _ = explore_plots.few_pictures(pd.DataFrame(
        {"pictures": [3, 9], "train": [1, 5], "accuracy": [0.5, 1.0], "concepts": [2, 3], "nmi": [0.1, 0.25]}))
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [0.1, 0.25])
    plt.close("all")


def test_cautions_about_concepts():
    members = np.array([[1, 0, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0], [1, 2, 1, 2]])
    data = lambda least: SimpleNamespace(class_names=("one", "two", "three", "four"), train=SimpleNamespace(
        class_counts=lambda classes: np.array([40, least, 40, 40])))
    concepts = Concepts(members, ("a", "b"), ("one", "two", "three", "four"))
    found = own_pictures.concept_cautions(concepts, data(20))
    assert len(found) == 4
    assert found[0].startswith("“one” has a single concept") and found[1].startswith("“one”: 3 of 4 vectors")
    assert found[2].startswith("“three” has no concept") and found[3].startswith("“three”: 4 of 4 vectors")
    few = own_pictures.concept_cautions(concepts, data(19))
    assert few[:4] == found and few[4].startswith("Concepts 1, 2 are in several classes: matched by what 19 pictures")
    alone = Concepts(np.array([[1, 2], [3, 4]]), ("a", "b", "c", "d"), ("one", "two"))
    assert own_pictures.concept_cautions(alone, SimpleNamespace(class_names=("one", "two"), train=SimpleNamespace(
        class_counts=lambda classes: np.array([3, 3])))) == []
