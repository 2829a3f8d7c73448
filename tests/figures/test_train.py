"""The tables beside the figures: what is drawn is what was computed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import picture_folder

import asxai
from asxai.figures import train as train_plots
from asxai.methods.black_box import INVERSE_PENALTIES, black_box_probe


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    pictures = picture_folder(tmp_path_factory.mktemp("pictures"), ("square", "stripes", "third"), count=12)
    return asxai.Study.train(pictures, folder=tmp_path_factory.mktemp("study") / "a", size=96, basis_per_class=4,
                             channels=16, warm_up_epochs=1, joint_epochs=3, cycles=1, views=2)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_sheet_counts_pictures_per_split(study):
    _, table = train_plots.data_set_sheet(study.data, 96, per_class=3)
    assert table["class"].tolist() == ["square", "stripes", "third"]
    assert table[["train", "validation", "test"]].sum().tolist() == [len(s) for s in study.data.splits.values()]


def test_augmented_views_differ_from_the_picture_and_each_other(study):
    figure, table = train_plots.augmentation_strip(study.data, 96, seed=0, count=3)
    assert table["mean_absolute_difference"][0] == 0 and table["mean_absolute_difference"][1:].nunique() == 3
    assert len(figure.axes) == 4


def test_training_curves_keep_every_step(study):
    _, table = train_plots.training_curves(study.log)
    assert len(table) == len(study.log) and table["step"].tolist() == list(range(len(table)))
    np.testing.assert_array_equal(table["validation_accuracy"], study.log["validation_accuracy"])


def test_orthogonality_blocks_against_loops(study):
    _, table = train_plots.orthogonality_matrices(study.basis_before, study.model.basis, study.class_names)
    row = table[(table["when"] == "before replacement") & (table["class"] == "square") & (table["other"] == "square")]
    a = torch.nn.functional.normalize(study.basis_before[0], dim=1)
    values = [abs(float(a[j] @ a[k])) for j in range(4) for k in range(4) if j != k]
    assert row["mean_absolute_cosine"].item() == pytest.approx(np.mean(values), abs=1e-6)
    assert len(table) == 2 * 9


def test_distances_list_each_pair_once(study):
    _, table = train_plots.distance_matrix(study.model.basis, study.class_names)
    pairs = [["square", "stripes"], ["square", "third"], ["stripes", "third"]]
    assert table[["class", "other"]].values.tolist() == pairs
    assert table["distance"].mean() == pytest.approx(study.metrics["subspace_distance"])


def test_a_single_distance_has_its_number_and_no_scale(study):
    figure, table = train_plots.distance_matrix(study.model.basis[:2], study.class_names[:2])
    assert len(figure.axes) == 1 and "largest possible" in figure.axes[0].get_title()
    assert {text.get_text() for text in figure.axes[0].texts} == {f"{table['distance'].item():.2f}"}
    figure, _ = train_plots.distance_matrix(study.model.basis, study.class_names)
    assert len(figure.axes) == 2 and figure.axes[0].get_title() == ""


def test_strongest_prototypes_are_ordered_distinct_and_discriminate(study):
    table = train_plots.strongest(study, "stripes", 4)
    assert (table["class"] == "stripes").all() and table["strength"].is_monotonic_decreasing
    assert not table.duplicated(["picture", "row", "column"]).any()
    validation = study.data.validation
    similarity = study.activate(list(validation.paths)).similarity[:, 1, table["basis"].iloc[0]].numpy()
    gap = similarity[validation.labels == 1].mean() - similarity[validation.labels != 1].mean()
    assert table["strength"].iloc[0] == pytest.approx(table["weight"].iloc[0] * gap, abs=1e-4)


def test_prototype_sheet_boxes_lie_in_the_picture_and_hold_the_cell(study):
    _, table = train_plots.prototype_sheet(study, "square", count=3)
    cell = 96 / study.activate(study.data.train.paths[0]).maps.shape[-1]
    for row in table.itertuples():
        assert 0 <= row.top < row.bottom <= 96 and 0 <= row.left < row.right <= 96
        assert row.top - cell <= (row.row + 0.5) * cell <= row.bottom + cell
        assert row.left - cell <= (row.column + 0.5) * cell <= row.right + cell


def test_new_pictures_are_test_pictures_with_their_best_cosine(study):
    _, table = train_plots.new_picture_sheet(study, "third", count=2, vectors=2)
    test = study.data.test
    assert set(table["picture"]) <= {p.name for p, label in zip(test.paths, test.labels) if label == 2}
    first = table.iloc[0]
    path = next(p for p, label in zip(test.paths, test.labels) if p.name == first["picture"] and label == 2)
    assert study.activate(path).maps[0, 2, first["basis"]].max().item() == pytest.approx(first["best_cosine"], abs=1e-5)


def test_global_similarity_adds_up_to_the_logits(study):
    path = study.data.test.paths[0]
    _, table = train_plots.global_similarity(study, path)
    logits = study.activate(path).logits[0].numpy()
    np.testing.assert_allclose(table["own_vectors"] + table["other_vectors"], logits, atol=1e-5)
    np.testing.assert_allclose(table["score"], logits, atol=1e-6)
    np.testing.assert_allclose(table["probability"], study.predict(path).probabilities[0])


def test_accuracy_dots_show_percent_per_model():
    table = pd.DataFrame({"model": ["a", "a", "b"], "seed": [0, 1, 0], "accuracy": [0.98, 1.0, 0.97]})
    figure, kept = train_plots.accuracy_dots(table)
    pd.testing.assert_frame_equal(kept, table)
    assert {text.get_text() for text in figure.axes[0].texts} == {"99.0", "97.0"}


def test_axes_of_accuracy_have_room_for_errors(study):
    table = pd.DataFrame({"model": ["a"], "seed": [0], "accuracy": [1.0]})
    for pictures, low in ((None, 94.5), (400, 94.5), (20, 85), (4, 25)):
        assert train_plots.accuracy_dots(table, pictures)[0].axes[0].get_xlim()[0] == pytest.approx(low)
    right = study.log.assign(validation_accuracy=1.0)
    assert train_plots.training_curves(right, 6)[0].axes[1].get_ylim()[0] == pytest.approx(50)


def test_black_box_probe_learns_what_the_features_hold(study):
    """Squares and stripes differ plainly to pretrained features."""
    probe = black_box_probe(study.config, study.data)
    assert probe["test_accuracy"] > 0.6 and probe["inverse_penalty"] in INVERSE_PENALTIES
    assert probe["features"] == study.model.feature_mean.numel()
