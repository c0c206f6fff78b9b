"""A network on its device; on an NVIDIA GPU with kernels of its own where torch's are slow.

SqueezeNet and AlexNet are bound by memory there, not by arithmetic: max pooling, a convolution's
bias and the ReLU after it take torch several passes each. To start one of these kernels costs the
host more than torch's: measured on one H200, AlexNet gains a fifth with all of them, and SqueezeNet
with all 26 of its convolutions loses a quarter, so small layers in blocks keep torch's.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.models import own_kernels


def check_precision(device: torch.device, precision: str) -> None:
    """Refuse bfloat16 on GPUs that only imitate it (before Ampere, 2020).

    Raises:
        ConfigError: naming the field to change.
    """
    half = precision == "bfloat16" and device.type == "cuda"
    if half and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise ConfigError(f"{name} has no bfloat16; run with --train.precision float32")


def to_device(module: nn.Module, device: torch.device) -> None:
    """Move a network, in place, channels last; its parameters keep their names."""
    module.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if own_kernels.run_on(device):
        quicken(module)


def quicken(module: nn.Module) -> None:
    """Give layers that compute the same in fewer passes over memory; needs Triton."""
    from trainables.models.pool_kernels import is_supported, max_pool  # Triton is where GPUs are

    for layer in module.modules():
        if isinstance(layer, nn.MaxPool2d) and is_supported(layer):
            _replace(layer, partial(max_pool, layer))
        if type(layer).forward is nn.Sequential.forward:
            _join_bias_and_relu(layer)


def _join_bias_and_relu(layer: nn.Module) -> None:
    """Where one follows the other in a sequence: the output goes nowhere else."""
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
