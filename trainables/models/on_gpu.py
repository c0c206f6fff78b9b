"""A network on its device; on an NVIDIA GPU with kernels of its own where torch's are slow.

SqueezeNet and AlexNet are bound by memory there, not by arithmetic: a convolution's bias, the ReLU
after it and max pooling take most of a step in torch, each in several passes.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models.squeezenet import Fire


def to_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a network, in place, channels last; its parameters keep their names."""
    module.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if device.type == "cuda":
        quicken(module)
    return module


def quicken(module: nn.Module) -> None:
    """Give layers that compute the same in fewer passes over memory; needs Triton."""
    from trainables.models.pool_kernels import max_pool, pools_here  # Triton is where GPUs are

    for layer in module.modules():
        if isinstance(layer, nn.MaxPool2d) and pools_here(layer):
            _replace(layer, partial(max_pool, layer))
        if isinstance(layer, Fire) or type(layer).forward is nn.Sequential.forward:
            _join_bias_and_relu(layer)


def _join_bias_and_relu(layer: nn.Module) -> None:
    """Where a convolution's output goes into a ReLU and nowhere else."""
    from trainables.models.relu_kernels import bias_relu, without_bias

    for convolution, relu in pairwise(layer.children()):
        if (
            type(convolution) is nn.Conv2d
            and type(relu) is nn.ReLU
            and convolution.bias is not None
        ):
            _replace(convolution, partial(without_bias, convolution))
            _replace(relu, partial(bias_relu, convolution))


def _replace(layer: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
    layer.forward = forward
