"""The tables beside the figures: what is drawn is what was computed."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import check_words, picture_folder, texts

import asxai
from asxai.figures import train as plots


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    pictures = picture_folder(tmp_path_factory.mktemp("pictures"), ("square", "stripes", "third"), count=12)
    quick = dict(size=96, basis_per_class=4, channels=16, warm_up_epochs=1, joint_epochs=3, cycles=1, views=2)
    return asxai.Study.train(pictures, folder=tmp_path_factory.mktemp("study") / "a", **quick)


def test_sheet_counts_pictures_per_split(study):
    _, table = plots.data_set_sheet(study.data, 96)
    assert table["class"].tolist() == ["square", "stripes", "third"]
    assert table[["train", "validation", "test"]].sum().tolist() == [len(s) for s in study.data.splits.values()]


def test_augmented_views_differ_from_the_picture_and_each_other(study):
    figure, table = plots.augmentation_strip(study.data, 96, seed=0)
    assert table["mean_absolute_difference"][0] == 0 and table["mean_absolute_difference"][1:].nunique() == 6
    assert len(figure.axes) == 7


def test_training_curves_keep_every_step(study):
    _, table = plots.training_curves(study.log, 36)
    assert len(table) == len(study.log) and table["step"].tolist() == list(range(len(table)))
    np.testing.assert_array_equal(table["validation_accuracy"], study.log["validation_accuracy"])


def test_losses_have_plain_numbers(study):
    axis = plots.training_curves(study.log.assign(subspace=-3.0, guide=1.2), 36)[0].axes[0]
    axis.figure.draw_without_rendering()
    low, high = axis.get_ylim()
    shown = [text for text, y in zip(texts(axis.get_yticklabels()), axis.get_yticks()) if low <= y <= high]
    assert {"−2", "−1", "0", "1"} <= set(shown) and not any("10^" in text for text in shown)


def test_orthogonality_blocks_against_loops(study):
    _, table = plots.orthogonality_matrices(study.basis_before, study.model.basis, study.class_names)
    row = table[(table["when"] == "before replacement") & (table["class"] == "square") & (table["other"] == "square")]
    a = torch.nn.functional.normalize(study.basis_before[0], dim=1)
    values = [abs(float(a[j] @ a[k])) for j in range(4) for k in range(4) if j != k]
    assert row["mean_absolute_cosine"].item() == pytest.approx(np.mean(values), abs=1e-6)
    assert len(table) == 2 * 9


def test_logit_shares_add_up_to_the_logits(study):
    path = study.data.test.paths[0]
    _, table = plots.logit_shares(study, path)
    logits = study.activate(path).logits[0].numpy()
    np.testing.assert_allclose(table["own_vectors"] + table["other_vectors"], logits, atol=1e-5)
    np.testing.assert_allclose(table["score"], logits, atol=1e-6)
    np.testing.assert_allclose(table["probability"], study.predict(path).probabilities[0])


def test_accuracy_dots_show_percent_per_model():
    table = pd.DataFrame({"model": ["a", "a", "b"], "seed": [0, 1, 0], "accuracy": [0.98, 1.0, 0.97]})
    figure, kept = plots.accuracy_dots(table, 400)
    pd.testing.assert_frame_equal(kept, table)
    assert {*texts(figure.axes[0].texts)} == {"99.0", "97.0"}
    check_words(figure)


def test_axes_of_accuracy_have_room_for_errors(study):
    table = pd.DataFrame({"model": ["a"], "seed": [0], "accuracy": [1.0]})
    for pictures, low in ((400, 94.5), (20, 85), (4, 25)):
        assert plots.accuracy_dots(table, pictures)[0].axes[0].get_xlim()[0] == pytest.approx(low)
    right = study.log.assign(validation_accuracy=1.0)
    assert plots.training_curves(right, 6)[0].axes[1].get_ylim()[0] == pytest.approx(50)
