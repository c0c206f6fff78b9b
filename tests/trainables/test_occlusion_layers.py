"""Every kind of layer passes on exactly what a patch changes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainables.models.lrn import LocalResponseNorm
from trainables.models.normalise import normalise
from trainables.occlusion import Occlusion
from trainables.patch_reach import Slide, Span, alike, slid

SIDE_PX = (23, 26)


def head(channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def chain(*layers: nn.Module, channels: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), *layers, *head(channels))


class Wired(nn.Module):
    """Two branches of the photo, joined by a function of both."""

    def __init__(self, join: Callable, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(3, 6, 7, padding=3)
        self.after = nn.Sequential(*head(channels))
        self.join = join

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.join(F.relu(self.first(x)), self.second(x).relu()))


def added_in_place(first, second):
    first += second
    return first


torch.manual_seed(0)  # the same weights in every run
NETWORKS = {
    "convolution, strided": chain(nn.Conv2d(6, 6, 3, stride=2, padding=1)),
    "convolution, stride above kernel": chain(nn.Conv2d(6, 6, 1, stride=3)),
    "convolution, dilated": chain(nn.Conv2d(6, 6, 3, padding=2, dilation=2)),
    "convolution, dilated and strided": chain(nn.Conv2d(6, 6, 3, stride=2, dilation=3)),
    "convolution, grouped": chain(nn.Conv2d(6, 12, 3, groups=3, bias=False), channels=12),
    "convolution, depthwise": chain(nn.Conv2d(6, 6, 5, padding=2, groups=6)),
    "convolution, not square": chain(nn.Conv2d(6, 6, (1, 5), (2, 1), (0, 2))),
    "convolution, padding by name": chain(nn.Conv2d(6, 6, 3, padding="same")),
    "convolution, reflecting": chain(nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")),
    "convolution, more padding than reach": chain(nn.Conv2d(6, 6, 3, padding=4)),
    "max pooling": chain(nn.MaxPool2d(3, 2)),
    "max pooling, padded": chain(nn.MaxPool2d(3, 2, padding=1)),
    "max pooling, ceil mode": chain(nn.MaxPool2d(3, 2, ceil_mode=True)),
    "max pooling, dilated": chain(nn.MaxPool2d(2, 1, dilation=2)),
    "max pooling, leaving the last out": chain(nn.MaxPool2d(4)),
    "average pooling": chain(nn.AvgPool2d(2)),
    "average pooling, padded": chain(nn.AvgPool2d(3, 2, padding=1)),
    "average pooling, padding not counted": chain(
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)
    ),
    "average pooling, ceil mode": chain(nn.AvgPool2d(3, 2, padding=1, ceil_mode=True)),
    "average pooling, own divisor": chain(nn.AvgPool2d(3, 2, divisor_override=4)),
    "adaptive average pooling": chain(nn.AdaptiveAvgPool2d(4)),
    "adaptive max pooling": chain(nn.AdaptiveMaxPool2d(4)),
    "batch norm": chain(nn.BatchNorm2d(6)),
    "batch norm without weights": chain(nn.BatchNorm2d(6, affine=False)),
    "our local response norm": chain(LocalResponseNorm()),
    "torch's local response norm": chain(nn.LocalResponseNorm(5, 0.5, 0.75, 2.0)),
    "activations": chain(nn.GELU(), nn.SiLU(), nn.LeakyReLU(), nn.Hardswish(), nn.Tanh()),
    "activations in place": chain(nn.Conv2d(6, 6, 1), nn.ELU(inplace=True), nn.ReLU6(inplace=True)),
    "dropout": chain(nn.Dropout(), nn.Dropout2d(), nn.Identity()),
    "a layer that only torch knows": chain(nn.InstanceNorm2d(6), nn.Conv2d(6, 6, 3)),
    "sum": Wired(torch.add, 6),
    "sum in place": Wired(added_in_place, 6),
    "sum with itself": Wired(lambda first, second: first + first + second, 6),
    "sum with a constant": Wired(lambda first, second: first + 1 + second, 6),
    "weighted sum": Wired(lambda first, second: torch.add(first, second, alpha=3), 6),
    "product": Wired(lambda first, second: first * second, 6),
    "concatenation": Wired(lambda first, second: torch.cat([first, second], 1), 12),
    "concatenation by keyword": Wired(lambda *maps: torch.cat(maps, dim=1), 12),
    "concatenation along rows": Wired(lambda *maps: torch.cat(maps, dim=2), 6),
    "concatenation with itself": Wired(lambda one, other: torch.cat([one, one, other], 1), 18),
}


def by_definition(module: nn.Module, image_CHW: torch.Tensor, occlusion: Occlusion, patch_px: int):
    plain = module(normalise(image_CHW[None], "imagenet"))
    occluded = []
    for row in occlusion.centres[0]:
        for column in occlusion.centres[1]:
            top, left = int(row) - patch_px // 2, int(column) - patch_px // 2
            photo_CHW = image_CHW.clone()
            rows = slice(max(top, 0), top + patch_px)
            photo_CHW[:, rows, max(left, 0) : left + patch_px] = 128
            occluded.append(photo_CHW)
    moved = module(normalise(torch.stack(occluded), "imagenet")) - plain
    return moved.square().sum(1).view(*[len(c) for c in occlusion.centres]).numpy()


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_layer_passes_on_exactly_what_the_patch_changes(name):
    torch.manual_seed(0)
    module = NETWORKS[name].eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    image_CHW = torch.randint(0, 256, (3, *SIDE_PX), dtype=torch.uint8)
    for patch_px, stride_px in ((1, 3), (4, 2), (11, 5)):
        occlusion = Occlusion(module, "imagenet", SIDE_PX, patch_px=patch_px, stride_px=stride_px)
        assert occlusion.layers_known
        expected = by_definition(module, image_CHW, occlusion, patch_px)
        heat = occlusion.at_centres(image_CHW)
        # small heat is a difference of nearly equal float32 outputs
        np.testing.assert_allclose(heat, expected, rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.parametrize(
    "join",
    [
        lambda first, second: first + second.mean((2, 3), keepdim=True),
        lambda first, second: first.view(len(second), 6, *SIDE_PX) + second,
    ],
    ids=["a broadcast sum", "a size as a number"],
)
def test_a_network_that_is_more_than_layers_is_computed_whole(join):
    assert not Occlusion(Wired(join, 6), "imagenet", SIDE_PX, patch_px=4).layers_known


def test_a_layer_that_changes_its_input_for_others_is_noticed():
    """`first` is rectified in place for the sum as well, which its graph does not say."""

    def join(first, second):
        return F.relu(second, inplace=True) + F.hardtanh(first, inplace=True) + first

    assert not Occlusion(Wired(join, 6), "imagenet", SIDE_PX, patch_px=4).layers_known


def test_outputs_that_a_sliding_window_reaches():
    """Three wide, every second, padded by one: output j reads 2 j - 1 to 2 j + 1."""
    span = slid(Span(np.array([0, 1, 2, 9]), np.array([1, 2, 5, 9])), Slide(3, 2, 1, 1), 5)
    assert span.start_N[:3].tolist() == [0, 0, 1]
    assert span.stop_N[:3].tolist() == [1, 2, 3]
    assert (span.stop_N >= span.start_N).all()


def test_groups_hold_positions_of_like_lengths():
    lengths_NL = np.array([[1, 9], [5, 5], [1, 8], [5, 5], [6, 5]])
    groups = alike(lengths_NL, np.array([1.0, 1.0]), 2)
    assert sorted(group.tolist() for group in groups) == [[0, 2], [1, 3, 4]]
