"""Part points: read from a folder's file, carried into the square that the network sees, counted and held."""

import numpy as np
import pytest
from helpers import cases, fill
from PIL import Image

from asxai.concepts.points import part_points
from asxai.data.datasets import load_data_set
from asxai.data.pictures import DataError, to_batch

HEAD = "picture,part,x,y\n"


@pytest.fixture
def folder(tmp_path):
    """Two classes in two splits; the first test picture is wide and has a white dot at x = 0.6, y = 0.25."""
    for split in ("train", "test"):
        for label in range(2):
            fill(tmp_path / split / f"class{label}", 3, 100 * label + 10 * (split == "test"))
    pixels = np.zeros((50, 100, 3), np.uint8)
    pixels[11:14, 59:62] = 255
    Image.fromarray(pixels).save(tmp_path / "test" / "class0" / "wide.png")
    return tmp_path


def written(folder, *lines):
    (folder / "points.csv").write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return load_data_set(folder)


def test_a_point_lies_where_the_network_sees_it_and_what_is_cut_off_has_none(folder):
    data = written(folder, "test/class0/wide.png,eye,0.6,0.25", "test/class0/wide.png,tail,0.1,0.5")
    points, number = part_points(data.test), [path.name for path in data.test.paths].index("wide.png")
    assert points.names == ("eye", "tail") and points.pictures.tolist() == [number] and points.parts.tolist() == [0]
    seen = to_batch([data.test.paths[number]], 200)[0].float().mean(0)
    row, column = divmod(int(seen.argmax()), 200)
    np.testing.assert_allclose(points.places[0] * 200, [row + 0.5, column + 0.5], atol=6)
    assert part_points(data.train).pictures.size == 0  # no points of these pictures


def test_a_picture_that_lies_on_its_side_is_turned_before_its_points_are_placed(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 80), "red").save(folder / "test" / "class0" / "turned.jpg", exif=exif)  # 80 x 40 upright
    data = written(folder, "test/class0/turned.jpg,eye,0.7,0.3")
    assert part_points(data.test).places.tolist() == pytest.approx(np.array([[0.3, 0.9]]))


def test_no_file_no_points_also_without_splits(folder):
    assert part_points(load_data_set(folder).test) is None
    (folder / "points.csv").unlink(missing_ok=True)
    (folder / "train" / "points.csv").write_text(HEAD + "class0/0000.png,eye,0.5,0.5\n")
    data = load_data_set(folder / "train")
    assert sum(len(part_points(split).parts) for split in data.splits.values()) <= 1


@cases(
    "text, words",
    ("picture,part,x\n", "no column y"),
    ("", "no table"),
    (HEAD + "test/class0/wide.png,eye,0.5,0.5\ntest/class0/gone.png,eye,0.5,0.5\n", "line 3 .*no such picture"),
    (HEAD + "test/class0/wide.png,,0.5,0.5\n", "line 2 .*has no name"),
    (HEAD + "test/class0/wide.png,eye,60,0.5\n", "line 2 .*fractions"),
    (HEAD + "test/class0/wide.png,eye,left,0.5\n", "line 2 .*fractions"),
)
def test_a_file_that_cannot_be_used_is_named_with_line_and_remedy(folder, text, words):
    (folder / "points.csv").write_text(text)
    with pytest.raises(DataError, match=f"points.csv.*{words}"):
        part_points(load_data_set(folder).test)


def test_counts_and_held_parts_against_loops(folder):
    rng = np.random.default_rng(0)
    names = [f"test/class{k // 3}/{p.name}" for k, p in enumerate(sorted(folder.glob("test/class?/0*.png")))]
    lines = [
        f"{rng.choice(names)},{rng.choice(['eye', 'leg', 'tail'])},{x:.3f},{y:.3f}" for x, y in rng.random((60, 2))
    ]
    split = written(folder, *lines).test
    points, winners = part_points(split), rng.integers(0, 5, (len(split), 28, 28))
    peaks = rng.integers(0, 224, (len(split), 4, 2))
    counts, held = np.zeros((len(split), 5, 3), int), np.zeros((len(split), 4, 3), bool)
    for picture, part, (down, across) in zip(points.pictures, points.parts, points.places):
        counts[picture, winners[picture, int(down * 28), int(across * 28)], part] += 1
        for k, (row, column) in enumerate(peaks[picture]):
            top, left = (min(max(at - 36, 0), 224 - 72) for at in (row, column))
            held[picture, k, part] |= top <= down * 224 < top + 72 and left <= across * 224 < left + 72
    assert 30 < counts.sum() <= 60 and 0 < held.mean() < 1
    np.testing.assert_array_equal(points.counts(winners, 4), counts)
    np.testing.assert_array_equal(points.held(peaks, 72), held)
    np.testing.assert_array_equal(points.visible(), counts.sum(axis=1) > 0)
    some = np.array([1, 4, 5])
    np.testing.assert_array_equal(points.of(some).counts(winners[some], 4), counts[some])
