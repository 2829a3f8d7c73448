"""Ranks of the layers of a tiny study of drawn animals, and what hiding parts does to its logits."""

import dataclasses
import functools
from types import SimpleNamespace

import menagerie
import numpy as np
import pytest
import torch
from helpers import drawn_study

from asxai import common_traits, sensitivity
from asxai.common_traits import Region
from asxai.pictures import to_batch
from asxai.ranks import Ranks

SIZE = 96
QUICK = dict(size=SIZE, basis_per_class=4, channels=12, cycles=1, joint_epochs=1, views=1, batch_size=8)
PLACES = {"corner": (slice(0, 40), slice(0, 40)), "low": (slice(60, 96), slice(0, 96))}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return drawn_study(tmp_path_factory.mktemp("animals"), 14, 6, **QUICK)


def places(label, split):
    """The same regions in every picture; a third concept is seen nowhere."""
    masks = torch.zeros(len(split), 3, SIZE, SIZE, dtype=torch.bool)
    for k, (rows, columns) in enumerate(PLACES.values()):
        masks[:, k, rows, columns] = True
    return Region((*PLACES, "unseen"), masks)


@pytest.fixture(scope="module")
def found(study):
    return sensitivity.layer_ranks(study, places, study.data.test, pictures=5)


def of_class(study, label, pictures=5):
    return common_traits.spread_over(study.data.test.take(study.data.test.labels == label), pictures)


def logits_by_hand(study, pictures, label):
    """One picture at a time, through the model's own forward pass."""
    with torch.inference_mode():
        return np.array([study.model(study.model.features(picture[None])).logits[0, label].item()
                         for picture in pictures])


def test_layers_go_from_the_backbone_to_the_last_added_one(study, found):
    names = sensitivity.layers(study)
    assert len(names) == 5 and list(names)[-1] == "last added"
    assert [(own.class_name, own.layer) for own in found] == [
        (class_name, layer) for class_name in study.class_names for layer in names]
    assert {own.names for own in found} == {tuple(PLACES)}  # without the one that is seen nowhere


def test_ranks_are_those_of_each_map(study, found):
    """NumPy's rank of every map of the two added layers, computed from the layers themselves."""
    for own in found:
        if "added" not in own.layer:
            continue
        pictures = to_batch(of_class(study, study.class_names.index(own.class_name)).paths, SIZE)
        for row, picture in enumerate(pictures):
            with torch.inference_mode():
                x = (study.model.backbone(picture[None]) - study.model.feature_mean) / study.model.feature_std
                maps = study.model.add_on[:2 if own.layer == "first added" else 4](x)[0].double().numpy()
            # whether a singular value at the edge counts may hang on the last digit of a batch
            rank = [np.linalg.matrix_rank(one, tol=np.finfo(np.float32).eps * max(one.shape) * np.linalg.norm(one, 2))
                    for one in maps]
            assert (np.abs(np.array(rank) - own.ranks.numerical[row]) <= 1).all()
            assert (np.array(rank) == own.ranks.numerical[row]).mean() > 0.8
            np.testing.assert_allclose(own.activation[row], maps.mean(axis=(1, 2)), rtol=1e-3, atol=1e-6)


def test_credit_is_gradient_times_activation_inside_the_mask(study, found):
    """By finite differences: what the logit gains as a mask's cells of the embedding grow by a thousandth."""
    own = next(own for own in found if own.layer == "last added")
    picture, step = to_batch(of_class(study, 0).paths[:1], SIZE), 1e-3
    model = study.model.double()
    try:
        with torch.no_grad():
            embedding = model.embed(model.backbone(picture).double())
            shares = torch.stack([torch.nn.functional.adaptive_avg_pool2d(mask[None, None].double(),
                                                                          embedding.shape[2:])[0, 0]
                                  for mask in places(0, of_class(study, 0).take([0])).masks[0, :2]])
            for k, share in enumerate(shares):
                more, less = (model.compare(embedding * (1 + sign * step * share)).logits[0, 0] for sign in (1, -1))
                assert own.credit[0, k] == pytest.approx(float(more - less) / 2 / step, rel=0.05, abs=1e-4)
    finally:
        model.float()


def test_an_unknown_layer_is_named(study):
    with pytest.raises(ValueError, match="'backbone.wings' is not in the network; it has .*add_on"):
        sensitivity.layer_ranks(study, places, study.data.test, {"wings": "backbone.wings"}, pictures=1)


def test_recording_leaves_no_hooks(study, found):
    assert not any(module._forward_hooks for module in study.model.modules())


def test_hidden_drops_are_those_of_blackened_pictures(study):
    (first, drops), _ = sensitivity.hidden_drops(study, places, study.data.test, pictures=3, fill="black")
    assert first == (*PLACES, "unseen") and drops.shape == (3, 3)
    pictures = to_batch(of_class(study, 0, 3).paths, SIZE)
    before = logits_by_hand(study, pictures, 0)
    for k, (rows, columns) in enumerate(PLACES.values()):
        hidden = pictures.clone()
        hidden[:, :, rows, columns] = 0
        np.testing.assert_allclose(drops[:, k], before - logits_by_hand(study, hidden, 0), atol=1e-4)
    np.testing.assert_allclose(drops[:, 2], 0, atol=1e-5)


def test_undrawn_drops_are_those_of_pictures_drawn_without_a_part(study, monkeypatch):
    monkeypatch.setattr(common_traits, "cpu_count", lambda: 1)
    results = sensitivity.undrawn_drops(study, study.data.test, pictures=2)
    for label, (parts, drops) in enumerate(results):
        split = of_class(study, label, 2)
        assert drops.shape == (2, len(parts)) and "ear" in parts
        fine = split.fine or [None] * len(split)
        bare = to_batch([menagerie.render(study.data.name, study.class_names[label], 1_000_000 + int(path.stem),
                                          size=SIZE, remove={"ear"}, fine=finer).picture
                         for path, finer in zip(split.paths, fine)], SIZE)
        expected = logits_by_hand(study, to_batch(split.paths, SIZE), label) - logits_by_hand(study, bare, label)
        np.testing.assert_allclose(drops[:, parts.index("ear")], expected, atol=1e-4)
    photos = SimpleNamespace(data=dataclasses.replace(study.data, part_names=()), class_names=study.class_names)
    assert sensitivity.undrawn_drops(photos, study.data.test) == []


def test_sobol_indices_find_the_concept_that_the_logit_hangs_on(study, monkeypatch):
    """A logit that is twice the brightness of one place plus that of another: four fifths and a fifth, by hand."""
    corner, low = PLACES.values()

    def brightness(_, pictures, label):
        pictures = pictures.double()
        return (2 * pictures[:, :, corner[0], corner[1]].mean(dim=(1, 2, 3))
                + pictures[:, :, low[0], low[1]].mean(dim=(1, 2, 3))).numpy()

    monkeypatch.setattr(sensitivity, "class_logits", brightness)
    monkeypatch.setattr(sensitivity, "to_batch",
                        lambda paths, size: torch.full((len(paths), 3, size, size), 200, dtype=torch.uint8))
    found = functools.partial(sensitivity.sobol_indices, study, places, study.data.test, 2)
    (names, indices), _ = found(256, "black")
    assert names == (*PLACES, "unseen")
    np.testing.assert_allclose(indices, np.tile([0.8, 0.2, 0], (2, 1)), atol=0.03)
    first, again, other = (found(16, "black", seed)[0][1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# --- Tables ----------------------------------------------------------------------------------------------------------


def planted(class_name="finch", names=("ear", "ear 2", "eye")):
    """Three filters a concept that overlap it fully, and whose ranks are 2, 4 and 6."""
    iou = np.zeros((8, 9, 3))
    for k in range(3):
        iou[:, 3 * k:3 * k + 3, k] = 1
    numerical = np.tile(np.repeat([2, 4, 6], 3), (8, 1))
    return sensitivity.LayerRanks(class_name, "last added", names, Ranks(numerical, numerical / 7, numerical * 1.0), iou,
                                  np.tile(np.repeat([0.3, -0.5, 0.1], 3), (8, 1)), np.tile([3.0, 1.0, 2.0], (8, 1)))


def test_share_table_has_a_row_per_concept():
    table = sensitivity.share_table([planted(), planted("lark")])
    assert table["class"].tolist() == ["finch"] * 3 + ["lark"] * 3 and table["filters"].tolist() == [3] * 6
    np.testing.assert_allclose(table["share"], np.tile([1 / 6, 1 / 3, 1 / 2], 2))
    np.testing.assert_allclose(table["low"], table["high"])  # all pictures are alike
    np.testing.assert_allclose(table["scaled"], table["share"] * 3)


def test_halves_of_pictures_that_are_alike_agree():
    table = sensitivity.halves_table([planted()])
    assert table[["spearman", "low", "high"]].iloc[0].tolist() == [1, 1, 1]


def test_importance_and_its_correlation_by_hand():
    names = ("ear", "ear 2", "eye")
    table = sensitivity.importance_table([planted()], [(names, np.array([[0.1, 0.2, 0.3]]))],
                                         [(names, np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 2.0]]))],
                                         [(("ear", "wing"), np.array([[5.0, 7.0]]))])
    values = table[table["reference"] == sensitivity.HIDDEN].pivot(index="method", columns="concept", values="value")
    assert values.loc[sensitivity.RANK].tolist() == [2, 4, 6]
    np.testing.assert_allclose(values.loc[sensitivity.ACTIVATION], [0.3, 0.5, 0.1])
    assert values.loc[sensitivity.GRADIENT].tolist() == [3, 1, 2]
    undrawn = table[(table["reference"] == sensitivity.UNDRAWN) & (table["method"] == sensitivity.RANK)]
    assert list(zip(undrawn["concept"], undrawn["causal"])) == [("ear", 5), ("ear 2", 5)]  # no part is called eye
    found = sensitivity.correlation_table(table).set_index(["method", "reference"])["spearman"]
    hidden = found.xs(sensitivity.HIDDEN, level="reference")
    assert hidden[sensitivity.RANK] == 1 and hidden[sensitivity.SOBOL] == 1  # causal 1, 2, 3
    assert hidden[sensitivity.ACTIVATION] == hidden[sensitivity.GRADIENT] == pytest.approx(-0.5)
    assert found.xs(sensitivity.UNDRAWN, level="reference").isna().all()  # two concepts have no order to speak of
