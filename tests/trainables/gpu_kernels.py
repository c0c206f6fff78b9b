"""Kernels for GPUs against torch's own operations: on a GPU, or on a CPU by Triton's interpreter.

TRITON_INTERPRET=1 python -m tests.trainables.gpu_kernels
"""

import os
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.models import build_model
from trainables.models.lrn import ALPHA, BETA, SIZE, K, LocalResponseNorm
from trainables.models.normalise import factors, normalise
from trainables.models.on_gpu import quicken
from trainables.spec import ModelSpec

DTYPES = [torch.float32, torch.bfloat16]
#: Of results that are rounded once where torch rounds at every step.
BOUND = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
LAST = torch.channels_last
POOLS = [
    nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.MaxPool2d(3, 2, padding=1),
    nn.MaxPool2d(2, 2),
    nn.MaxPool2d(3, 1, 1),
    nn.MaxPool2d(2, 3, ceil_mode=True),
]


def difference(made: Tensor, exact: Tensor) -> float:
    made, exact = made.double(), exact.double()
    return ((made - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [3, 7, 96])
def test_response_normalisation(gpu: torch.device, dtype: torch.dtype, channels: int):
    torch.manual_seed(0)
    rows = (100 * torch.randn(150, channels, device=gpu)).to(dtype).requires_grad_()
    images = rows[..., None, None]
    made = LocalResponseNorm()(images)[..., 0, 0]
    exact = F.local_response_norm(rows[..., None].double(), SIZE, ALPHA, BETA, K)[..., 0]
    gradient = torch.randn_like(made)
    (ours,) = torch.autograd.grad(made, rows, gradient)
    (theirs,) = torch.autograd.grad(exact, rows, gradient.double())
    assert made.dtype == dtype
    assert difference(made, exact) < BOUND[dtype]
    assert difference(ours, theirs) < BOUND[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sides", [(13, 12), (9, 10), (7, 7)])
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_max_pooling(gpu: torch.device, dtype: torch.dtype, sides: tuple, pool: nn.MaxPool2d):
    from trainables.models.pool_kernels import is_supported, max_pool

    torch.manual_seed(0)
    images = torch.randn(2, 5, *sides, device=gpu).relu().to(dtype).to(memory_format=LAST)
    images.requires_grad_()
    made, exact = max_pool(pool, images), pool(images)
    gradient = torch.randn_like(exact)
    (ours,) = torch.autograd.grad(made, images, gradient)
    (theirs,) = torch.autograd.grad(exact, images, gradient)
    assert is_supported(pool)
    assert torch.equal(made, exact)
    assert difference(ours, theirs) < BOUND[dtype]


def test_max_pooling_hands_on_what_is_no_number(gpu: torch.device):
    from trainables.models.pool_kernels import max_pool

    images = torch.zeros(1, 2, 5, 5, device=gpu)
    images[0, 1, 2, 2] = torch.nan
    made = max_pool(POOLS[0], images)
    assert torch.equal(made.isnan(), POOLS[0](images).isnan())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("channels", [5, 16, 70])
def test_bias_and_relu(gpu: torch.device, half: bool, channels: int):
    from trainables.models.relu_kernels import bias_relu, without_bias

    torch.manual_seed(0)
    layer = nn.Conv2d(3, channels, 3).to(gpu).to(memory_format=LAST)
    images = torch.randn(3, 3, 20, 15, device=gpu).to(memory_format=LAST)
    with torch.autocast(gpu.type, torch.bfloat16, enabled=half):
        made, exact = bias_relu(layer, without_bias(layer, images)), F.relu(layer(images))
    gradient = torch.randn_like(exact)
    ours = torch.autograd.grad(made, (layer.weight, layer.bias), gradient)
    theirs = torch.autograd.grad(exact, (layer.weight, layer.bias), gradient)
    bound = 5e-2 if half else 1e-5  # a value at 0 falls to either side
    assert difference(made, exact) < bound
    assert all(difference(a, b) < bound for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_photos_to_the_networks_range(gpu: torch.device, dtype: torch.dtype):
    from trainables.models.photo_kernels import scaled

    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8, device=gpu)
    made = scaled(images, *factors("imagenet", gpu), dtype)
    exact = normalise(images.cpu(), "imagenet").to(gpu)
    assert made.is_contiguous(memory_format=LAST)
    assert difference(made, exact) < (1e-6 if dtype == torch.float32 else 4e-3)


@pytest.mark.parametrize("memory_format", [LAST, torch.contiguous_format])
def test_photos_are_mirrored_as_torch_flips_them(
    gpu: torch.device, memory_format: torch.memory_format
):
    from trainables.models.photo_kernels import mirrored

    images = torch.randint(0, 256, (5, 3, 20, 31), dtype=torch.uint8, device=gpu)
    chosen = torch.tensor([True, False, True, True, False], device=gpu)
    made = mirrored(images.to(memory_format=memory_format), chosen)
    exact = torch.where(chosen[:, None, None, None], images.flip(-1), images)
    assert made.is_contiguous(memory_format=LAST)
    assert torch.equal(made, exact)


@pytest.mark.parametrize(("name", "side_px"), [("squeezenet1_1", 67), ("alexnet", 227)])
def test_a_network_with_them_computes_the_same(gpu: torch.device, name: str, side_px: int):
    torch.manual_seed(0)
    plain = build_model(ModelSpec(name=name), 4).module.to(gpu).to(memory_format=LAST).eval()
    ours = build_model(ModelSpec(name=name), 4).module.to(gpu).to(memory_format=LAST).eval()
    ours.load_state_dict(plain.state_dict())
    quicken(ours)
    assert list(ours.state_dict()) == list(plain.state_dict())
    images = torch.randn(1, 3, side_px, side_px, device=gpu).to(memory_format=LAST)
    made, exact = ours(images), plain(images)
    assert difference(made, exact) < 1e-4
    mine = torch.autograd.grad(made.square().sum(), list(ours.parameters()))
    theirs = torch.autograd.grad(exact.square().sum(), list(plain.parameters()))
    assert all(difference(a, b) < 1e-3 for a, b in zip(mine, theirs, strict=True))


@pytest.fixture
def gpu() -> torch.device:
    if os.environ.get("TRITON_INTERPRET") == "1":
        return torch.device("cpu")
    return torch.device("cuda")


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
