"""The strongest basis vectors of a class, and what the first sheets of notebook 02 draw of them."""

import numpy as np
import pytest
from helpers import check_words, picture_folder, styled_figures  # noqa: F401 (a fixture)

import asxai
from asxai.benchmarks import strongest
from asxai.figures import prototypes as prototypes_plots


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    pictures = picture_folder(tmp_path_factory.mktemp("pictures"), ("square", "stripes"), count=12)
    few = dict(basis_per_class=4, channels=16, warm_up_epochs=1, joint_epochs=3, cycles=1, views=2)
    return asxai.Study.train(pictures, folder=tmp_path_factory.mktemp("study") / "a", size=96, **few)


def test_strongest_prototypes_are_ordered_distinct_and_discriminate(study):
    table = strongest.strongest(study, "stripes")
    assert (table["class"] == "stripes").all() and table["strength"].is_monotonic_decreasing
    assert not table.duplicated(["picture", "row", "column"]).any()
    validation = study.data.validation
    similarity = study.activate(list(validation.paths)).similarity[:, 1, table["basis"].iloc[0]].numpy()
    gap = similarity[validation.labels == 1].mean() - similarity[validation.labels != 1].mean()
    assert table["strength"].iloc[0] == pytest.approx(table["weight"].iloc[0] * gap, abs=1e-4)


def test_patches_lie_in_the_picture_and_hold_the_cell(study):
    sheet = strongest.sources(study, "square")
    cell = 96 / study.activate(study.data.train.paths[0]).maps.shape[-1]
    for k, row in enumerate(sheet["table"].itertuples()):
        assert 0 <= row.top < row.bottom <= 96 and 0 <= row.left < row.right <= 96
        assert row.top - cell <= (row.row + 0.5) * cell <= row.bottom + cell
        assert row.left - cell <= (row.column + 0.5) * cell <= row.right + cell
        assert sheet["masks"][k].mean() == pytest.approx(0.05, abs=0.01)  # what lies above the 95th percentile
    figure, table = prototypes_plots.prototype_sheet(**sheet)
    assert table is sheet["table"] and len(figure.axes) == 4 * len(table) + 1
    top, bottom, left, right = table.iloc[0][["top", "bottom", "left", "right"]].astype(int)
    patch = figure.axes[len(table)].images[0].get_array()
    np.testing.assert_array_equal(patch, sheet["pictures"][0][top:bottom, left:right])
    check_words(figure)


def test_new_pictures_are_test_pictures_with_their_best_cosine(study):
    sheet = strongest.new_pictures(study, "stripes")
    test, table = study.data.test, sheet["table"]
    assert set(table["picture"]) <= {p.name for p, label in zip(test.paths, test.labels) if label == 1}
    for row in table.itertuples():
        path = next(p for p, label in zip(test.paths, test.labels) if p.name == row.picture and label == 1)
        best = study.activate(path).maps[0, 1, row.basis].max().item()
        assert best == pytest.approx(row.best_cosine, abs=1e-5)
    figure, kept = prototypes_plots.new_picture_sheet(**sheet)
    assert kept is table and f"{table['best_cosine'].iloc[0]:.2f}" in figure.axes[1].get_title()
    check_words(figure)
