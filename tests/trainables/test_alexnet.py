import numpy as np
import pytest
import torch
from torch import nn

from trainables.models import build_model
from trainables.models.alexnet import AlexNet
from trainables.models.lrn import LocalResponseNorm
from trainables.spec import ModelSpec

PARAMETERS = {
    "conv1": 34_944,
    "conv2": 307_456,
    "conv3": 885_120,
    "conv4": 663_936,
    "conv5": 442_624,
    "fc6": 37_752_832,
    "fc7": 16_781_312,
}
ORDER = (
    "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
    "flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
)
SHAPES = {
    "conv1": (96, 55, 55),
    "pool1": (96, 27, 27),
    "conv2": (256, 27, 27),
    "pool2": (256, 13, 13),
    "conv3": (384, 13, 13),
    "conv5": (256, 13, 13),
    "pool5": (256, 6, 6),
    "fc7": (4096,),
    "fc8": (196,),
}


def lrn_reference(x_BCHW: np.ndarray) -> np.ndarray:
    """Caffe's formula, channel by channel."""
    out = np.empty_like(x_BCHW)
    channels = x_BCHW.shape[1]
    for c in range(channels):
        window = x_BCHW[:, max(c - 2, 0) : min(c + 3, channels)]
        bracket = 1.0 + 1e-4 / 5 * (window**2).sum(axis=1)
        out[:, c] = x_BCHW[:, c] / bracket**0.75
    return out


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def activations(channels: int, layout: torch.memory_format, dtype=torch.float32) -> torch.Tensor:
    values = 200 * torch.randn(2, channels, 9, 7, generator=generator_of(channels))
    return values.to(dtype).contiguous(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("channels", [1, 3, 4, 96, 256])
def test_lrn_is_caffes(channels):
    images_BCHW = activations(channels, torch.channels_last)
    expected = lrn_reference(images_BCHW.detach().double().numpy())
    np.testing.assert_allclose(
        LocalResponseNorm()(images_BCHW).detach().numpy(), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("channels", [3, 96])
def test_lrn_and_its_gradient_are_torchs(channels, layout):
    ours, theirs = activations(channels, layout), activations(channels, layout)
    upstream = torch.randn(ours.shape, generator=generator_of(1))
    out = LocalResponseNorm()(ours)
    reference = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)(theirs)
    out.backward(upstream)
    reference.backward(upstream)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, reference, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_lrns_gradient_is_that_of_double_precision(scale):
    exact = scale * torch.randn(2, 7, 2, 3, dtype=torch.float64, generator=generator_of(0))
    ours, theirs = exact.float().requires_grad_(), exact.clone().requires_grad_()
    upstream = torch.randn(exact.shape, dtype=torch.float64, generator=generator_of(1))
    LocalResponseNorm()(ours).backward(upstream.float())
    nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)(theirs).backward(upstream)
    smallest = 1e-6 * float(theirs.grad.abs().max())
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-5, atol=smallest)


def test_lrn_in_bfloat16_rounds_only_its_result():
    half = activations(96, torch.channels_last, torch.bfloat16)
    exact = LocalResponseNorm()(half.detach().float())
    out = LocalResponseNorm()(half)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, exact.bfloat16())
    out.sum().backward()
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("channels", [1, 3, 96, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lrn_does_not_depend_on_threads(dtype, channels, monkeypatch):
    def made(n_threads):
        monkeypatch.setattr("torch.get_num_threads", lambda: n_threads)
        images_BCHW = activations(channels, torch.channels_last, dtype)
        out = LocalResponseNorm()(images_BCHW)
        out.backward(torch.ones_like(out))
        return out, images_BCHW.grad

    monkeypatch.setattr("trainables.threads.THREADED_BYTES", 0)
    whole, whole_grad = made(1)
    for n_threads in (2, 3, 126):
        parts, parts_grad = made(n_threads)
        assert torch.equal(parts, whole)
        assert torch.equal(parts_grad, whole_grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lrn_hides_no_number_that_is_none(dtype):
    images_BCHW = torch.ones(1, 9, 1, 2, dtype=dtype)
    images_BCHW[0, 4, 0, 0] = torch.nan
    out = LocalResponseNorm()(images_BCHW)
    assert out[0, 2:7, 0, 0].isnan().all()
    assert not out[0, :2].isnan().any()
    assert not out[0, :, 0, 1].isnan().any()


@pytest.mark.parametrize("size", [1e9, 1e18, 7e18, 9e18, 1e20, 3e38, torch.inf])
def test_lrn_of_the_largest_numbers_is_torchs(size):
    images_BCHW = torch.full((1, 5, 1, 1), size).requires_grad_()
    out, exact = (
        norm(images_BCHW) for norm in (LocalResponseNorm(), nn.LocalResponseNorm(5, 1e-4, 0.75))
    )
    torch.testing.assert_close(out, exact, rtol=1e-5, atol=0, equal_nan=True)
    (gradient,) = torch.autograd.grad(out.sum(), images_BCHW)
    assert gradient.isfinite().all() == (size < torch.inf)


def test_lrn_in_float16_is_that_of_float32():
    half = activations(7, torch.channels_last, torch.float16)
    exact = LocalResponseNorm()(half.detach().float())
    assert torch.equal(LocalResponseNorm()(half), exact.half())


def test_lrn_exports_in_torchs_own_operations():
    images_BCHW = activations(96, torch.channels_last).detach()
    program = torch.export.export(LocalResponseNorm(), (images_BCHW,))
    assert "pow" in str(program.graph)
    torch.testing.assert_close(program.module()(images_BCHW), LocalResponseNorm()(images_BCHW))


@pytest.mark.parametrize(
    ("n_classes", "total"), [(1000, 60_965_224), (196, 57_671_236), (200, 57_687_624)]
)
def test_parameter_counts_are_caffes(n_classes, total):
    with torch.device("meta"):
        network = AlexNet(n_classes)
    counts = {
        name: sum(p.numel() for p in layer.parameters())
        for name, layer in network.named_children()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }
    assert counts == PARAMETERS | {"fc8": 4097 * n_classes}
    assert sum(counts.values()) == total


@pytest.fixture(scope="module")
def alexnet() -> AlexNet:
    torch.manual_seed(0)
    network = build_model(ModelSpec(name="alexnet"), 196)
    assert network.head == "fc8"
    assert isinstance(network.module, AlexNet)
    return network.module.eval()


def test_layers_are_in_caffes_order(alexnet):
    assert " ".join(name for name, _ in alexnet.named_children()) == ORDER
    assert [alexnet.get_submodule(name).p for name in ("drop6", "drop7")] == [0.5, 0.5]
    assert [alexnet.get_submodule(f"conv{i}").groups for i in range(1, 6)] == [1, 2, 1, 2, 2]
    assert all(alexnet.get_submodule(f"pool{i}").ceil_mode for i in (1, 2, 5))


def test_maps_have_caffes_sizes(alexnet):
    shapes = {}
    values = torch.zeros(1, 3, 227, 227)
    with torch.no_grad():
        for name, layer in alexnet.named_children():
            values = layer(values)
            shapes[name] = tuple(values.shape[1:])
    assert {name: shapes[name] for name in SHAPES} == SHAPES


def test_weights_start_as_in_caffe(alexnet):
    for name, layer in alexnet.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = 0.005 if name in ("fc6", "fc7") else 0.01
            bias = 0.1 if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0
            assert layer.weight.std().item() == pytest.approx(std, rel=0.03)
            assert layer.weight.mean().item() == pytest.approx(0, abs=std / 20)
            assert layer.bias is not None
            assert (layer.bias == bias).all()


def test_a_loss_reaches_every_weight(alexnet):
    with torch.autocast("cpu", torch.bfloat16):
        logits_BC = alexnet(100 * torch.randn(1, 3, 227, 227))
    nn.functional.cross_entropy(logits_BC.float(), torch.tensor([7])).backward()
    silent = [n for n, p in alexnet.named_parameters() if p.grad is None or not p.grad.any()]
    alexnet.zero_grad()
    assert silent == []
