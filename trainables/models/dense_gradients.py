"""Gradients of concatenated maps, made dense before they reach a ReLU on a CPU.

Going back through `torch.cat`, each part gets a slice: rows of its own channels, with the others'
between them. Rows shorter than four vector registers torch takes one value at a time, six times
slower than a dense copy of them, with the same bits.
"""

from typing import Any

import torch
from torch import Tensor, nn

#: Four AVX-512 registers.
SHORT_BYTES = 256


def with_dense_gradients(module: nn.Module) -> nn.Module:
    """Have ReLUs take short slices of gradients as dense copies, in training on a CPU."""
    for layer in module.modules():
        if type(layer) is nn.ReLU:
            layer.register_forward_hook(_watch)
    return module


def _watch(layer: nn.Module, _given: Any, made: Tensor) -> None:
    watched = layer.training and not torch.compiler.is_compiling() and made.device.type == "cpu"
    short = watched and made.dim() == 4 and made.shape[1] * made.element_size() < SHORT_BYTES
    if short and made.requires_grad:
        made.register_hook(_dense)


def _dense(grad_BCHW: Tensor) -> Tensor:
    layout = torch.channels_last if grad_BCHW.stride(1) == 1 else torch.contiguous_format
    return grad_BCHW.contiguous(memory_format=layout)
