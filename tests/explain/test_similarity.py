"""Global similarity: structural similarity and HSV beside scikit-image, and the whole beside a loop over windows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage.color import rgb2hsv
from skimage.metrics import structural_similarity

from asxai.data.pictures import to_batch
from asxai.explain import similarity
from asxai.explain.similarity import SIDE, Prototypes, colour_space, global_similarity, hsv, ssim, window_similarity


@pytest.fixture(scope="module")
def prototypes(study, concepts):
    return Prototypes.of(study, concepts)


@pytest.fixture(scope="module")
def seen(study):
    """Test pictures and their activation maps."""
    paths = list(study.data.test.paths)
    return to_batch(paths, study.config.size), study.activate(paths).maps


def drawn(*shape, seed=0):
    """Pictures that are not noise alone: a slope, a bright patch, and noise."""
    generator = np.random.default_rng(seed)
    height, width = shape[-2:]
    slope = np.linspace(0, 150, height)[:, None] + np.linspace(0, 60, width)
    pictures = slope + generator.normal(0, 20, shape) + generator.uniform(-60, 60, (*shape[:-2], 1, 1))
    pictures[..., height // 4 : height // 2, width // 3 :] += 70
    return pictures.clip(0, 255).astype(np.uint8)


def scikit_ssim(first, second):
    """Of one pair `(channel, height, width)`, with the window of Wang et al."""
    options = dict(data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return structural_similarity(first, second, channel_axis=0, **options)


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
    light, dark = (torch.full((1, 12, 12), value, dtype=torch.float64) for value in (0.8, 0.2))
    assert float(ssim(light, light)) == pytest.approx(1)
    assert float(ssim(light, dark)) == pytest.approx((2 * 0.16 + 1e-4) / (0.68 + 1e-4))


def test_hsv_is_that_of_scikit_image():
    corners = np.array(np.meshgrid(*[[0, 1, 127, 254, 255]] * 3)).reshape(3, 5, 25).astype(np.uint8)
    for pixels in (corners, drawn(3, 20, 30), drawn(2, 2, 3, 8, 9)):
        ours = hsv(torch.from_numpy(pixels))
        assert ours.dtype == torch.float32
        np.testing.assert_allclose(ours, rgb2hsv(pixels, channel_axis=-3), atol=1e-6)


def test_colour_space_has_no_seam_and_grey_in_its_middle():
    colours = [[255, 0, 6], [255, 6, 0], [0, 255, 252], [128, 128, 128], [0, 0, 0]]
    pixels = torch.tensor(colours, dtype=torch.uint8).T[:, None]
    places, hue = colour_space(pixels)[:, 0].T, hsv(pixels)[0, 0]  # (colour, channel), (colour,)
    assert abs(hue[0] - hue[1]) > 0.99 and (places[0] - places[1]).abs().max() < 0.03  # two reds
    assert (places[0] - places[2]).abs().max() > 0.95  # red and cyan
    torch.testing.assert_close(places[3:, :2], torch.full((2, 2), 0.5))
    assert places.min() >= 0 and places.max() <= 1


# --- Windows and classes ---------------------------------------------------------------------------------------------


def mirrored(picture, point):
    """The window around a point of one picture `(3, size, size)`, pixel by pixel."""
    size = picture.shape[1]
    window = np.zeros((3, SIDE, SIDE))
    for i in range(SIDE):
        for j in range(SIDE):
            y, x = (int(torch.tensor(p * size).round()) - SIDE // 2 + k for p, k in zip(point, (i, j)))
            y, x = (-v if v < 0 else 2 * (size - 1) - v if v >= size else v for v in (y, x))
            window[:, i, j] = picture[:, y, x]
    return window


def small(pictures):
    resolution = (round(SIDE / (3 / 8)),) * 2  # a window covers 3 / 8 of a picture's side
    resized = torch.nn.functional.interpolate(colour_space(pictures), resolution, mode="bilinear", antialias=True)
    return resized.numpy().astype(np.float64)


def slow_similarity(study, concepts, pictures, maps):
    """SSIM, cosine, and the similarity of each class: loops over pictures, classes and vectors."""
    grid, reduced = np.array(maps.shape[3:]), small(pictures)
    structure, cosine = np.zeros(maps.shape[:3]), np.zeros(maps.shape[:3])
    result = np.zeros(maps.shape[:2])
    for c, class_name in enumerate(study.class_names):
        for j in range(maps.shape[2]):
            table = study.prototypes
            row = table[(table["class"] == class_name) & (table["basis"] == j)].iloc[0]
            source = to_batch([study.data.train.paths[row["picture"]]], study.config.size)
            prototype = mirrored(small(source)[0], (np.array([row["row"], row["column"]]) + 0.5) / grid)
            for i in range(len(pictures)):
                peak = np.unravel_index(int(maps[i, c, j].argmax()), tuple(grid))
                window = mirrored(reduced[i], (np.array(peak) + 0.5) / grid)
                structure[i, c, j], cosine[i, c, j] = scikit_ssim(window, prototype), maps[i, c, j].max()
        members = np.flatnonzero(concepts.members[c])
        result[:, c] = (cosine[:, c, members] * (1 + structure[:, c, members]) / 2).mean(axis=1)
    return structure, cosine, result


def test_similarity_is_that_of_a_loop_over_windows(study, concepts, prototypes, seen, monkeypatch):
    structure, cosine, expected = slow_similarity(study, concepts, *seen)
    monkeypatch.setattr(similarity, "BATCH", 3)
    ours = window_similarity(prototypes, *seen)
    np.testing.assert_allclose(ours[0], structure, atol=1e-4)
    np.testing.assert_allclose(ours[1], cosine, atol=1e-6)
    together = global_similarity(prototypes, *seen)
    np.testing.assert_allclose(together, expected, atol=1e-4)
    assert together.shape == (10, 2) and 0 < together.min() and together.max() < 1


def test_a_prototype_is_itself(study, prototypes):
    """The vector became that patch, so its cosine is highest there, and the windows are the same."""
    for _, row in study.prototypes.iterrows():
        source, c = [study.data.train.paths[row["picture"]]], study.class_names.index(row["class"])
        pictures, maps = to_batch(source, study.config.size), study.activate(source).maps
        structure, cosine = window_similarity(prototypes, pictures, maps)
        assert float(structure[0, c, row["basis"]]) == pytest.approx(1, abs=1e-4)
        assert float(cosine[0, c, row["basis"]]) == pytest.approx(1, abs=1e-3)


def test_only_foreground_counts_and_by_its_cosine(concepts, prototypes, seen):
    pictures, maps = seen[0][:2], seen[1][:2]
    before = global_similarity(prototypes, pictures, maps)
    changed, background = maps.clone(), torch.from_numpy(concepts.members == 0)
    changed[:, background] = torch.rand(maps[:, background].shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(global_similarity(prototypes, pictures, changed), before)
    torch.testing.assert_close(global_similarity(prototypes, pictures, maps / 2), before / 2)
    torch.testing.assert_close(global_similarity(prototypes, pictures, -maps - 1), torch.zeros(2, 2))


def test_order_of_table_and_of_pictures_does_not_matter(study, concepts, prototypes, seen):
    same = {name: getattr(study, name) for name in ("model", "class_names", "config", "data", "activate")}
    mixed = SimpleNamespace(**same, prototypes=study.prototypes.sample(frac=1, random_state=0))
    torch.testing.assert_close(Prototypes.of(mixed, concepts).windows, prototypes.windows)
    alone = [global_similarity(prototypes, *(values[i : i + 1] for values in seen)) for i in range(len(seen[0]))]
    torch.testing.assert_close(global_similarity(prototypes, *seen), torch.cat(alone))
