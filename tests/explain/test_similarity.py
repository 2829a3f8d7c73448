"""Global similarity: structural similarity and HSV beside scikit-image, and the whole beside a loop over windows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import drawn_study
from skimage.color import rgb2hsv
from skimage.metrics import structural_similarity

from asxai.concepts.concepts import Concepts
from asxai.data.pictures import to_batch
from asxai.explain import similarity
from asxai.explain.similarity import Prototypes, colour_space, global_similarity, hsv, ssim, window_similarity

QUICK = dict(size=96, basis_per_class=3, channels=8, scene_vectors=1, warm_up_epochs=1, joint_epochs=1, cycles=1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two classes of drawn animals: 11 pictures each to train on, 3 to validate, 4 to test, on a grid of 6 x 6."""
    return drawn_study(tmp_path_factory.mktemp("animals"), 14, 4, **QUICK)


@pytest.fixture(scope="module")
def concepts(study):
    return Concepts(np.array([[1, 2, 0], [0, 1, 0]]), ("one", "two"), study.class_names)


@pytest.fixture(scope="module")
def prototypes(study, concepts):
    return Prototypes.of(study, concepts)


def drawn(*shape, seed=0):
    """Pictures that are not noise alone: a slope, a bright patch, and noise."""
    generator = np.random.default_rng(seed)
    height, width = shape[-2:]
    slope = np.linspace(0, 150, height)[:, None] + np.linspace(0, 60, width)
    pictures = slope + generator.normal(0, 20, shape) + generator.uniform(-60, 60, (*shape[:-2], 1, 1))
    pictures[..., height // 4:height // 2, width // 3:] += 70
    return pictures.clip(0, 255).astype(np.uint8)


def scikit_ssim(first, second):
    """Of one pair `(channel, height, width)`, with the window of Wang et al."""
    return structural_similarity(first, second, channel_axis=0, data_range=1, gaussian_weights=True, sigma=1.5,
                                 use_sample_covariance=False)


# --- Structural similarity and colours -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(11, 11), (16, 16), (13, 24)])
def test_ssim_is_that_of_scikit_image(size):
    first, second = (torch.from_numpy(drawn(4, 3, *size, seed=seed) / 255) for seed in (0, 1))
    second[0], second[1] = first[0], 1 - first[1]
    ours = ssim(first, second)
    np.testing.assert_allclose(ours, [scikit_ssim(a.numpy(), b.numpy()) for a, b in zip(first, second)], atol=1e-10)
    assert ours[0] == pytest.approx(1) and ours[1] < 0 < ours[2] < 1
    torch.testing.assert_close(ssim(first.float(), second.float()).double(), ours, atol=1e-4, rtol=0)


def test_ssim_of_flat_windows_compares_their_means():
    light, dark = torch.full((1, 12, 12), 0.8, dtype=torch.float64), torch.full((1, 12, 12), 0.2, dtype=torch.float64)
    assert float(ssim(light, light)) == pytest.approx(1)
    assert float(ssim(light, dark)) == pytest.approx((2 * 0.16 + 1e-4) / (0.68 + 1e-4))


def test_ssim_broadcasts_leading_dimensions():
    first, second = (torch.from_numpy(drawn(n, 3, 12, 12, seed=n) / 255) for n in (4, 5))
    table = ssim(first[:, None], second)
    assert table.shape == (4, 5)
    torch.testing.assert_close(table[3], ssim(first[3].expand(5, -1, -1, -1), second))


def test_ssim_refuses_small_or_different_windows():
    for first, second in ((torch.rand(3, 10, 12), torch.rand(3, 10, 12)), (torch.rand(12, 12), torch.rand(12, 12)),
                          (torch.rand(3, 12, 12), torch.rand(3, 12, 13))):
        with pytest.raises(ValueError, match=r"same size, and at least 11 pixels"):
            ssim(first, second)


def test_hsv_is_that_of_scikit_image():
    corners = np.array(np.meshgrid(*[[0, 1, 127, 254, 255]] * 3)).reshape(3, 5, 25).astype(np.uint8)
    for pixels in (corners, drawn(3, 20, 30), drawn(2, 2, 3, 8, 9)):
        found = hsv(pixels)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, rgb2hsv(pixels, channel_axis=-3), atol=1e-6)


def test_colour_space_has_no_seam_and_grey_in_its_middle():
    pixels = np.array([[255, 0, 6], [255, 6, 0], [0, 255, 252], [128, 128, 128], [0, 0, 0]], np.uint8)
    colours = colour_space(pixels.T[:, None])[:, 0].T  # (colour, channel)
    hue = hsv(pixels.T[:, None])[0, 0]
    assert abs(hue[0] - hue[1]) > 0.99 and (colours[0] - colours[1]).abs().max() < 0.03  # two reds
    assert (colours[0] - colours[2]).abs().max() > 0.95  # red and cyan
    torch.testing.assert_close(colours[3:, :2], torch.full((2, 2), 0.5))
    assert colours.min() >= 0 and colours.max() <= 1


def test_hsv_refuses_anything_but_uint8_rgb():
    for pictures in (torch.rand(3, 8, 8), torch.zeros(8, 8, 3).byte(), torch.zeros(3, 8).byte()):
        with pytest.raises(ValueError, match="must be uint8"):
            hsv(pictures)


# --- Windows and classes ---------------------------------------------------------------------------------------------


def mirrored(picture, point, side):
    """The window around a point of one picture `(3, size, size)`, pixel by pixel."""
    size = picture.shape[1]
    window = np.zeros((3, side, side))
    for i in range(side):
        for j in range(side):
            y, x = (int(torch.tensor(p * size).round()) - side // 2 + k for p, k in zip(point, (i, j)))
            y, x = (-v if v < 0 else 2 * (size - 1) - v if v >= size else v for v in (y, x))
            window[:, i, j] = picture[:, y, x]
    return window


def small(pictures, resolution):
    return torch.nn.functional.interpolate(colour_space(pictures), (resolution,) * 2, mode="bilinear", antialias=True
                                           ).numpy().astype(np.float64)


def slow_similarity(study, concepts, pictures, maps, share, side):
    """SSIM, cosine, and the similarity of each class: loops over pictures, classes and vectors."""
    resolution, grid = round(side / share), np.array(maps.shape[3:])
    structure, cosine = np.zeros(maps.shape[:3]), np.zeros(maps.shape[:3])
    result = np.zeros(maps.shape[:2])
    own = small(pictures, resolution)
    for c, name in enumerate(study.class_names):
        for j in range(maps.shape[2]):
            row = study.prototypes.query("`class` == @name and basis == @j").iloc[0]
            source = to_batch([study.data.train.paths[row["picture"]]], study.config.size)
            middle = (np.array([row["row"], row["column"]]) + 0.5) / grid
            prototype = mirrored(small(source, resolution)[0], middle, side)
            for i in range(len(pictures)):
                peak = np.unravel_index(int(maps[i, c, j].argmax()), tuple(grid))
                window = mirrored(own[i], (np.array(peak) + 0.5) / grid, side)
                structure[i, c, j], cosine[i, c, j] = scikit_ssim(window, prototype), maps[i, c, j].max()
        members = np.flatnonzero(concepts.members[c])
        result[:, c] = (cosine[:, c, members] * (1 + structure[:, c, members]) / 2).mean(axis=1)
    return structure, cosine, result


@pytest.mark.parametrize("share, side", [(similarity.SHARE, similarity.SIDE), (0.3, 13), (1, 11)])
def test_similarity_is_that_of_a_loop_over_windows(study, concepts, share, side, monkeypatch):
    test = list(study.data.test.paths)
    pictures, maps = to_batch(test, study.config.size), study.activate(test).maps
    prototypes = Prototypes.of(study, concepts, share, side)
    structure, cosine, expected = slow_similarity(study, concepts, pictures, maps, share, side)
    monkeypatch.setattr(similarity, "BATCH", 3)
    ours = window_similarity(prototypes, pictures, maps)
    np.testing.assert_allclose(ours[0], structure, atol=1e-4)
    np.testing.assert_allclose(ours[1], cosine, atol=1e-6)
    found = global_similarity(prototypes, pictures, maps)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.shape == (8, 2) and 0 < found.min() and found.max() < 1


def test_a_prototype_is_itself(study, prototypes):
    """The vector became that patch, so its cosine is highest there, and the windows are the same."""
    for _, row in study.prototypes.iterrows():
        source, c = [study.data.train.paths[row["picture"]]], study.class_names.index(row["class"])
        structure, cosine = window_similarity(prototypes, to_batch(source, study.config.size),
                                              study.activate(source).maps)
        assert float(structure[0, c, row["basis"]]) == pytest.approx(1, abs=1e-4)
        assert float(cosine[0, c, row["basis"]]) == pytest.approx(1, abs=1e-3)


def test_only_foreground_counts_and_by_its_cosine(study, concepts, prototypes):
    test = list(study.data.test.paths)[:2]
    pictures, maps = to_batch(test, study.config.size), study.activate(test).maps
    before = global_similarity(prototypes, pictures, maps)
    changed, background = maps.clone(), torch.from_numpy(concepts.members == 0)
    changed[:, background] = torch.rand(maps[:, background].shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(global_similarity(prototypes, pictures, changed), before)
    torch.testing.assert_close(global_similarity(prototypes, pictures, maps / 2), before / 2)
    plain = global_similarity(prototypes, pictures, maps, weighted=False)
    torch.testing.assert_close(global_similarity(prototypes, pictures, maps / 2, weighted=False), plain)
    structure = window_similarity(prototypes, pictures, maps)[0]
    torch.testing.assert_close(plain[:, 1], (1 + structure[:, 1, 1]) / 2)
    torch.testing.assert_close(global_similarity(prototypes, pictures, -maps - 1), torch.zeros(2, 2))


def test_order_of_table_and_of_pictures_does_not_matter(study, concepts, prototypes):
    mixed = SimpleNamespace(**{name: getattr(study, name) for name in ("model", "class_names", "config", "data")},
                            prototypes=study.prototypes.sample(frac=1, random_state=0))
    torch.testing.assert_close(Prototypes.of(mixed, concepts).windows, prototypes.windows)
    test = list(study.data.test.paths)
    pictures, maps = to_batch(test, study.config.size), study.activate(test).maps
    alone = [global_similarity(prototypes, pictures[i:i + 1], maps[i:i + 1]) for i in range(len(test))]
    torch.testing.assert_close(global_similarity(prototypes, pictures, maps), torch.cat(alone))
    assert global_similarity(prototypes, pictures[:0], maps[:0]).shape == (0, 2)


def test_windows_at_the_edge_are_mirrored():
    picture = torch.arange(36.0).view(1, 1, 6, 6).expand(1, 3, 6, 6)
    corner = similarity._cut(picture, torch.tensor([[[0.0, 0.0], [0.5, 0.5]]]), 4)[0, :, 0]
    assert corner[0].tolist() == [[14, 13, 12, 13], [8, 7, 6, 7], [2, 1, 0, 1], [8, 7, 6, 7]]
    torch.testing.assert_close(corner[1], picture[0, 0, 1:5, 1:5])


def test_prototypes_refuse_what_does_not_fit(study, concepts):
    for share, side in ((0, 16), (1.1, 16), (0.5, 10)):
        with pytest.raises(ValueError, match=rf"share={share}, side={side}.*at least 11 pixels, for example 0.375"):
            Prototypes.of(study, concepts, share, side)
    with pytest.raises(ValueError, match=r"concepts.members \(2, 2\) must be \(2, 3\)"):
        Prototypes.of(study, Concepts(np.ones((2, 2), int), ("one",), study.class_names))
    empty = Concepts(np.array([[1, 0, 0], [0, 0, 0]]), ("one",), study.class_names)
    with pytest.raises(ValueError, match=f"class '{study.class_names[1]}' are all background"):
        Prototypes.of(study, empty)


def test_similarity_refuses_what_does_not_fit(prototypes):
    pictures, maps = torch.zeros(2, 3, 96, 96, dtype=torch.uint8), torch.rand(2, 2, 3, 6, 6)
    with pytest.raises(ValueError, match="must be uint8"):
        global_similarity(prototypes, pictures.float(), maps)
    for wrong in (pictures[0], pictures[..., :95]):
        with pytest.raises(ValueError, match=r"must be \(picture, 3, size, size\)"):
            global_similarity(prototypes, wrong, maps)
    for wrong in (maps[:1], maps[:, :1], maps[:, :, :2], maps[..., 0]):
        with pytest.raises(ValueError, match=r"with 2 pictures and \(2, 3\) vectors"):
            global_similarity(prototypes, pictures, wrong)
