"""Other ways to a convolution in groups than cuDNN's, which cuts and pads its inputs for each step.

Experiments beside the program, until a GPU has shown what they gain. No Ray, no MLflow.
B batch, C colour, H W pixels.
"""

from collections.abc import Callable
from functools import partial

import torch
from gpu_stage import Stage
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.batches import Source
from trainables.spec import StageSpec

Way = Callable[[nn.Conv2d, Tensor, Tensor | None], Tensor]


def in_parts(layer: nn.Conv2d, images_BCHW: Tensor, bias: Tensor | None) -> Tensor:
    """One convolution a group, each on a copy of its own channels."""
    parts = [
        F.conv2d(part.contiguous(memory_format=torch.channels_last), weight, None, **_steps(layer))
        for part, weight in zip(
            images_BCHW.chunk(layer.groups, 1), layer.weight.chunk(layer.groups), strict=True
        )
    ]
    made = torch.cat(parts, 1)
    return made if bias is None else made + bias[:, None, None]


def as_one(layer: nn.Conv2d, images_BCHW: Tensor, bias: Tensor | None) -> Tensor:
    """All groups at once, with zeros between them: more products, in larger matrices."""
    n_in = layer.in_channels // layer.groups
    columns = [
        F.pad(weight, (0, 0, 0, 0, group * n_in, layer.in_channels - (group + 1) * n_in))
        for group, weight in enumerate(layer.weight.chunk(layer.groups))
    ]
    return F.conv2d(images_BCHW, torch.cat(columns), bias, **_steps(layer))


def _steps(layer: nn.Conv2d) -> dict:
    return {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}


WAYS: dict[str, Way] = {"groups in parts": in_parts, "groups as one": as_one}


class RegroupedStage(Stage):
    """`Stage` whose convolutions in groups go another way."""

    def __init__(self, spec: StageSpec, sources: list[Source], way: Way) -> None:
        super().__init__(spec, sources, None)
        for layer in grouped(self.network.module):
            apart = "forward" in vars(layer)  # a kernel of ours adds its bias, in the ReLU
            layer.forward = partial(_forward, layer, way, None if apart else layer.bias)


def _forward(layer: nn.Conv2d, way: Way, bias: Tensor | None, images_BCHW: Tensor) -> Tensor:
    return way(layer, images_BCHW, bias)


def grouped(module: nn.Module) -> list[nn.Conv2d]:
    """A network's convolutions in groups."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    return [layer for layer in layers if layer.groups > 1]
