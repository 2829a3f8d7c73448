"""Pictures are turned by quarters, maps are turned back, and features of turned pictures are computed once."""

import numpy as np
import torch
from PIL import Image

from asxai import Study
from asxai.concepts import turning
from asxai.concepts.turning import turned_maps
from asxai.data.features import split_features


def by_hand(study, split, number, degrees):
    """Cosines of a picture that Pillow turned anticlockwise, turned back cell by cell, `(basis, height, width)`."""
    size, label = study.config.size, split.labels[number]
    with Image.open(split.paths[number]) as picture:
        whole = picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    maps = study.activate(whole.rotate(degrees)).maps[0, label].numpy()
    side, back = maps.shape[-1], np.empty_like(maps)
    for row, column in np.ndindex(side, side):
        # what turning to the left puts into (row, column) was at (column, side - 1 - row), and so on
        was = (column, side - 1 - row) if degrees == 90 else (side - 1 - column, row)
        back[:, was[0], was[1]] = maps[:, row, column]
    return back


def test_each_map_lies_on_its_picture_again(study):
    split = study.data.train
    turned = turned_maps(study, split)
    assert turned.maps.shape[:2] == (2, len(turned.pictures))
    for n in (0, len(turned.pictures) - 1):
        for turn, degrees in enumerate((90, 270)):
            expected = by_hand(study, split, turned.pictures[n], degrees)
            assert np.abs(turned.maps[turn, n].numpy() - expected).max() < 0.02  # features are kept in half precision


def test_a_few_pictures_of_each_class_are_turned(study, monkeypatch):
    monkeypatch.setattr(turning, "PER_CLASS", 3)
    split = study.data.train
    turned = turned_maps(study, split)
    assert np.bincount(split.labels[turned.pictures]).tolist() == [3, 3]
    assert (np.diff(turned.pictures) > 0).all()


def test_features_of_turned_pictures_are_shared_by_studies_of_the_same_pictures(study, tmp_path, monkeypatch):
    first = turned_maps(study, study.data.train)
    monkeypatch.setattr(turning, "fixed_part", None)  # would fail if it were called
    again = turned_maps(study, study.data.train)
    assert torch.equal(first.maps, again.maps)


def test_without_a_fixed_part_the_pictures_themselves_are_turned(study, tmp_path):
    parameters = dict(trainable="all", objective="paper", size=study.config.size, cycles=1, joint_epochs=1, seed=3)
    whole = Study.train(study.config.data_set, folder=tmp_path / "study", basis_per_class=4, views=1, **parameters)
    assert not whole.model.fixed_stages and split_features(whole.model, whole.data.train, 64)[0][0].dtype == torch.uint8
    turned = turned_maps(whole, whole.data.train)
    expected = by_hand(whole, whole.data.train, turned.pictures[0], 90)
    assert np.abs(turned.maps[0, 0].numpy() - expected).max() < 1e-4
