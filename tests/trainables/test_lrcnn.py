import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torch import nn

from trainables.errors import ConfigError
from trainables.fingerprint import key_of
from trainables.models import build_model
from trainables.models.lrcnn import LocalContrastNorm, LrcnnRecon
from trainables.spec import LrcnnSpec, ModelSpec

NORMS = ["lrn", "contrast", "none"]


def network(n_classes: int = 5, **fields) -> LrcnnRecon:
    torch.manual_seed(0)
    built = build_model(ModelSpec(name="lrcnn_recon", lrcnn=LrcnnSpec(**fields)), n_classes)
    assert built.head == "fc6"
    assert isinstance(built.module, LrcnnRecon)
    return built.module


def shapes(module: nn.Module, side_px: int) -> dict[str, tuple[int, ...]]:
    out, values = {}, torch.zeros(1, 3, side_px, side_px)
    with torch.no_grad():
        for name, layer in module.eval().named_children():
            values = layer(values)
            out[name] = tuple(values.shape[1:])
    return out


def test_maps_have_the_documented_sizes_at_50_px():
    found = shapes(network(196), 50)
    assert found["conv1"] == (64, 50, 50)
    assert found["pool1"] == (64, 24, 24)
    assert found["pool2"] == (128, 11, 11)
    assert found["pool3"] == found["maxima"] == (256, 5, 5)
    assert [found[name] for name in ("flatten", "fc4", "fc5", "fc6")] == [
        (6400,),
        (1024,),
        (1024,),
        (196,),
    ]
    assert list(found)[:4] == ["conv1", "relu1", "norm1", "pool1"]


@pytest.mark.parametrize("norm", NORMS)
def test_it_has_eight_million_parameters_whatever_the_normalisation(norm):
    convolutions = 64 * 76 + 128 * (64 * 25 + 1) + 256 * (128 * 9 + 1)
    classifier = 1024 * 6401 + 1024 * 1025 + 196 * 1025
    total = sum(p.numel() for p in network(196, norm=norm).parameters())
    assert total == convolutions + classifier == 8_310_084
    assert "norm1.window_11K1" not in network(norm=norm).state_dict()


@pytest.mark.parametrize("side_px", [47, 50, 54])
def test_photos_of_about_50_px_lose_nothing_to_the_adaptive_pooling(side_px):
    found = shapes(network(), side_px)
    assert found["pool3"] == found["maxima"]


@pytest.mark.parametrize("side_px", [64, 96, 227])
def test_larger_photos_are_reduced_to_the_same_map(side_px):
    found = shapes(network(), side_px)
    assert found["pool3"][1] > 5
    assert found["maxima"] == (256, 5, 5)


def test_every_width_is_a_field():
    fields = {"conv_widths": (8, 6, 10), "fc_widths": (12, 9), "norm": "contrast"}
    found = shapes(network(3, **fields), 50)
    assert [found[n][0] for n in ("conv1", "conv2", "conv3")] == [8, 6, 10]
    assert [found[n] for n in ("fc4", "fc5", "fc6")] == [(12,), (9,), (3,)]


def test_weights_start_as_documented():
    module = network(196)
    for name, layer in module.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            std = 0.01 if name in ("conv1", "fc6") else (2 / fan_in) ** 0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=0.03), name
            assert layer.bias is not None
            assert not layer.bias.any()


def test_dropout_is_the_models():
    probabilities = {layer.p for layer in network().modules() if isinstance(layer, nn.Dropout)}
    assert probabilities == {0.5}
    spec = ModelSpec(name="lrcnn_recon", dropout=0.1)
    changed = build_model(spec, 2).module
    assert {layer.p for layer in changed.modules() if isinstance(layer, nn.Dropout)} == {0.1}


@pytest.mark.parametrize("norm", NORMS)
def test_a_loss_reaches_every_weight(norm):
    module = network(norm=norm, conv_widths=(8, 8, 8), fc_widths=(16, 16)).train()
    photos = torch.randn(2, 3, 50, 50, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        logits_BC = module(photos)
    nn.functional.cross_entropy(logits_BC.float(), torch.tensor([1, 4])).backward()
    grads = {name: p.grad for name, p in module.named_parameters()}
    assert [n for n, g in grads.items() if g is None or not g.any()] == []
    assert all(g is not None and g.isfinite().all() for g in grads.values())


def contrast_reference(x_CHW: np.ndarray) -> np.ndarray:
    """Jarrett et al. (2009), with scipy's filters; what lies outside the map does not count."""
    window = np.exp(-0.5 * (np.arange(-4, 5) / 2.25) ** 2)

    def blurred(image_HW):
        rows = correlate1d(image_HW, window, axis=0, mode="constant")
        return correlate1d(rows, window, axis=1, mode="constant")

    def local_mean(image_CHW):
        return blurred(image_CHW.mean(0)) / blurred(np.ones(image_CHW.shape[1:]))

    centred = x_CHW - local_mean(x_CHW)
    deviation = np.sqrt(local_mean(centred**2) + 1e-8)
    return centred / np.maximum(deviation, deviation.mean())


@pytest.mark.parametrize("shape", [(2, 4, 24, 24), (1, 1, 5, 30), (3, 7, 9, 9)])
def test_contrast_normalisation_is_the_formula(shape):
    generator = torch.Generator().manual_seed(4)
    images = 50 * torch.rand(shape, generator=generator, dtype=torch.float64)
    expected = np.stack([contrast_reference(image) for image in images.numpy()])
    norm = LocalContrastNorm()
    exact = norm.double()(images)
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-6, atol=1e-7)
    single = LocalContrastNorm()(images.float().contiguous(memory_format=torch.channels_last))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_contrast_normalisation_of_a_blank_map_is_blank_and_has_a_gradient():
    blank = torch.full((1, 3, 12, 12), 7.0, requires_grad=True)
    out = LocalContrastNorm()(blank)
    assert out.abs().max() < 0.05
    out.square().sum().backward()
    assert blank.grad is not None
    assert blank.grad.isfinite().all()


def test_contrast_normalisation_does_not_see_brightness_or_strength():
    images = torch.rand(1, 4, 20, 20, generator=torch.Generator().manual_seed(2))
    plain, changed = LocalContrastNorm()(images), LocalContrastNorm()(30 * images + 9)
    np.testing.assert_allclose(changed.numpy(), plain.numpy(), rtol=1e-3, atol=1e-3)


def test_contrast_normalisations_gradient_is_its_forwards():
    generator = torch.Generator().manual_seed(3)
    norm = LocalContrastNorm().double()
    images, direction, upstream = torch.rand(3, 2, 3, 6, 5, generator=generator).double()
    images.requires_grad_()
    (norm(images) * upstream).sum().backward()
    assert images.grad is not None
    with torch.no_grad():
        ahead, behind = (norm(images + step * direction) for step in (1e-6, -1e-6))
        numeric = ((ahead - behind) / 2e-6 * upstream).sum().item()
    assert (images.grad * direction).sum().item() == pytest.approx(numeric, rel=1e-6)


def test_options_of_another_network_are_refused():
    with pytest.raises(ConfigError, match=r"model\.lrcnn is for lrcnn_recon; leave it out for tin"):
        build_model(ModelSpec(name="tiny", lrcnn=LrcnnSpec(norm="none")), 2)
    with pytest.raises(ConfigError, match=r"model\.mean_image is for alexnet and caffenet; leave"):
        build_model(ModelSpec(name="lrcnn_recon", mean_image="given"), 2)


def test_options_are_in_the_key_only_when_they_are_set():
    plain = key_of(ModelSpec(name="lrcnn_recon"))
    assert key_of(ModelSpec(name="lrcnn_recon", lrcnn=LrcnnSpec(norm="lrn"))) == plain
    assert key_of(ModelSpec(name="lrcnn_recon", lrcnn=LrcnnSpec(norm="none"))) != plain
    before = {
        "name": "alexnet",
        "weights": "none",
        "normalisation": "auto",
        "dropout": None,
        "head_init_std": 0.01,
    }
    assert key_of(ModelSpec()) == key_of(before)
