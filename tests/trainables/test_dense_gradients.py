"""Short slices of gradients reach a ReLU as dense copies, and change no bit of training."""

import copy

import pytest
import torch
from torch import Tensor, nn

from trainables.models import build_model
from trainables.models.dense_gradients import with_dense_gradients
from trainables.spec import ModelSpec


class Fire(nn.Module):
    """Two convolutions, their ReLUs, and both results one after the other."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(3, n_channels, 1) for _ in range(2))
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        pairs = zip(self.relus, self.convolutions, strict=True)
        return torch.cat([relu(convolution(images)) for relu, convolution in pairs], 1)


def gradients(module: nn.Module, layout: torch.memory_format) -> list[Tensor]:
    """Of all parameters, of one batch."""
    module.to(memory_format=layout)
    images = torch.rand(4, 3, 6, 6, generator=torch.manual_seed(0))
    made = module(images.contiguous(memory_format=layout))
    weights = torch.rand(made.shape).contiguous(memory_format=layout)
    (made * weights).sum().backward()
    return [p.grad for p in module.parameters() if p.grad is not None]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("n_channels", [8, 64, 200])
def test_gradients_are_the_same_to_the_last_bit(layout, n_channels):
    torch.manual_seed(3)
    plain = Fire(n_channels)
    watched = with_dense_gradients(copy.deepcopy(plain))
    expected = gradients(plain, layout)
    found = gradients(watched, layout)
    assert len(found) == 4
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("n_channels", "copied"), [(8, True), (200, False)])
def test_only_short_rows_are_copied(n_channels, copied):
    torch.manual_seed(3)
    grads: list[Tensor] = []
    fire = with_dense_gradients(Fire(n_channels)).to(memory_format=torch.channels_last)
    images = torch.rand(4, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    taken = [relu(c(images)) for relu, c in zip(fire.relus, fire.convolutions, strict=True)]
    for one in taken:
        one.register_hook(grads.append)
    torch.cat(taken, 1).square().sum().backward()
    dense = [grad.is_contiguous(memory_format=torch.channels_last) for grad in grads]
    assert dense == [copied, copied]


def test_a_network_is_watched_in_training_alone_and_can_be_copied():
    module = build_model(ModelSpec(name="squeezenet1_1"), 5).module
    photos = torch.rand(2, 3, 64, 64)
    assert not module.eval()(photos).isnan().any()
    with torch.no_grad():
        module.train()(photos)
    twin = copy.deepcopy(module)
    torch.manual_seed(0)
    expected = module(photos)
    torch.manual_seed(0)
    assert torch.equal(twin(photos), expected)
