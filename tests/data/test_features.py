"""Features that are read when they are asked for: the same whether kept in shards, computed anew, or read ahead."""

import numpy as np
import pytest
import torch
from helpers import picture_folder, tiny_model

import asxai
from asxai.data import features
from asxai.data.features import Rows, batches_of, fixed_part, shared_batches, split_features
from asxai.data.pictures import to_batch


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return asxai.load_data_set(picture_folder(tmp_path_factory.mktemp("pictures") / "shapes", count=20))


@pytest.fixture
def shards_of_5(monkeypatch):
    monkeypatch.setattr(features, "SHARD", 5)


def whole(read):
    return torch.stack([rows[:] for rows in read])


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_nothing_kept_gives_the_same_numbers(data, tmp_path, shards_of_5, trainable):
    """Augmented views, too: a picture changes as it does among the others of its shard."""
    model = tiny_model(trainable=trainable)
    kept = split_features(model, data.train, 64, 3, tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 5 * (3 if trainable == "head" else 1)
    model.cache_gb = 0.0
    anew = split_features(model, data.train, 64, 3, tmp_path / "none")
    assert anew.files is None and not (tmp_path / "none").exists()
    assert anew.shape == kept.shape == (3, 24, *((5, 4, 4) if trainable == "head" else (3, 64, 64)))
    torch.testing.assert_close(whole(anew), whole(kept), rtol=2e-3, atol=2e-3)
    some = torch.tensor([2, 0, 1, 2]), torch.tensor([23, 4, 5, 0])
    assert torch.equal(kept[some], whole(kept)[some])
    torch.testing.assert_close(anew[some], kept[some], rtol=2e-3, atol=2e-3)
    assert len(kept[0][:].unique(dim=0)) == 24 and (trainable == "all") == torch.equal(kept[0][:], kept[1][:])


def test_shares_of_the_shards_are_made_apart_and_none_twice(data, tmp_path, shards_of_5):
    model, made = tiny_model(), []
    for number in range(3):
        split_features(model, data.train, 64, 2, tmp_path, part=(number, 3))
        made.append(len(list(tmp_path.iterdir())))
    assert made == [4, 7, 10]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    split_features(model, data.train, 64, 2, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_parts_of_splits_and_every_kind_of_index(data, tmp_path, shards_of_5):
    model = tiny_model()
    rows = split_features(model, data.train, 64, 1, tmp_path)[0]
    every = fixed_part(model, to_batch(data.train.paths, 64), model.device)
    part = split_features(model, data.train.take([7, 2, 19]).take([2, 0]), 64, 1, tmp_path)[0]
    assert torch.equal(part[:], every[[19, 7]]) and len(part) == 2
    mask = torch.from_numpy(data.train.labels == 1)
    for index in (3, slice(4, 17, 3), mask, mask.numpy(), torch.tensor([9, 9, 1]), np.array([23, 0]), []):
        assert torch.equal(rows[index], every[index]), index
    assert [len(batch) for batch in rows.split(10)] == [10, 10, 4]
    doubled = rows.map(lambda batch: 2 * batch)
    assert torch.equal(doubled[5:8], 2 * every[5:8]) and doubled.shape == every.shape
    with pytest.raises(IndexError):
        rows[24]


def test_at_any_time_a_batch_is_all_that_is_mapped(data, tmp_path, shards_of_5, monkeypatch):
    """What memory holds does not depend on the number of shards."""
    opened, most, real = [], [], features.safe_open

    class Counted:
        def __init__(self, *given):
            self.file = real(*given)

        def __enter__(self):
            opened.append(self)
            most.append(len(opened))
            return self.file.__enter__()

        def __exit__(self, *given):
            opened.remove(self)
            return self.file.__exit__(*given)

    rows = split_features(tiny_model(), data.train, 64, 1, tmp_path)[0]
    monkeypatch.setattr(features, "safe_open", Counted)
    assert sum(len(batch) for batch in rows.split(7)) == 24 and max(most) == 1 and not opened


def test_a_shard_is_checked_once_and_again_when_it_was_touched(data, tmp_path, monkeypatch):
    model, loads, real = tiny_model(), [], features.kept_tensors
    monkeypatch.setattr(features, "kept_tensors", lambda path, compute: loads.append(path) or real(path, compute))
    first = split_features(model, data.train, 64, 1, tmp_path)[0][:]
    split_features(model, data.train, 64, 1, tmp_path)
    assert len(loads) == 1
    content = bytearray(loads[0].read_bytes())
    content[-1] ^= 1
    loads[0].write_bytes(content)
    assert torch.equal(split_features(model, data.train, 64, 1, tmp_path)[0][:], first) and len(loads) == 2


def test_pictures_that_other_processes_decode_are_the_same(data, monkeypatch):
    model = tiny_model(trainable="all")
    model.cache_gb = 0.0
    monkeypatch.setattr(features, "WORKERS", 2)
    state = torch.get_rng_state()
    rows = split_features(model, data.train, 64)[0]
    assert torch.equal(torch.cat(list(rows.split(3))), to_batch(data.train.paths, 64))
    assert torch.equal(torch.get_rng_state(), state)


def test_reading_ahead_keeps_the_order():
    order = [(torch.arange(i), i) for i in range(7)]
    assert [number for _, number in features._ahead(lambda *item: _Pinned(item), order)] == list(range(7))


class _Pinned(tuple):
    def pin_memory(self):
        return self


def test_tensors_stand_in_for_features():
    x = torch.arange(12.0).view(6, 2)
    order = [torch.tensor([3, 1]), torch.tensor([5])]
    assert all(torch.equal(a, x[i]) for a, i in zip(batches_of(x, order), order))
    lazy = Rows(lambda order: (x[i] for i in order), 6)
    for rows in (x, lazy):
        assert [(start, len(batch)) for start, batch in shared_batches(rows, 4)] == [(0, 4), (4, 2)]
