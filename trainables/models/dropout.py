"""Dropout whose masks are drawn fast on a CPU, from random bits in place of one call a value.

torch draws masks there one value at a time, on one thread: a sixth of a training step of
SqueezeNet, which drops out of whole maps. GPUs and evaluation have torch's own.
"""

import numpy as np
import torch
from torch import Tensor, nn

#: Bits a value: the fewer where they make the probability exactly.
_FEW, _MANY = np.dtype(np.uint8), np.dtype(np.uint16)


class Dropout(nn.Dropout):
    """`nn.Dropout`, the same in distribution (`p` to 1/65,536), seeded by `torch.manual_seed`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Zero values with probability `p` and scale the others, in training."""
        drawn_here = self.training and input.device.type == "cpu" and 0 < self.p < 1
        if not drawn_here or torch.compiler.is_compiling():
            return super().forward(input)
        return input * mask_of(input, self.p)


def mask_of(like: Tensor, p: float) -> Tensor:
    """Factors of a tensor's shape, layout and dtype: 0, or what keeps the mean.

    Args:
        like: on the CPU, of any shape.
        p: probability of 0.
    """
    seed = int(torch.randint(2**63 - 1, ()))
    bits = _FEW if (p * 256).is_integer() else _MANY
    n_values = 2 ** (8 * bits.itemsize)
    n_kept = max(1, round((1 - p) * n_values))
    n_words = -(-like.numel() * bits.itemsize // 8)
    draws_N = np.random.SFC64(seed).random_raw(n_words).view(bits)[: like.numel()]
    mask = torch.empty_like(like)
    in_memory_N = mask.as_strided((mask.numel(),), (1,))  # it lies in one piece, in whatever order
    in_memory_N.copy_(torch.from_numpy(draws_N < n_kept)).mul_(n_values / n_kept)
    return mask


def with_fast_dropout(module: nn.Module) -> nn.Module:
    """Put `Dropout` in place of a network's `nn.Dropout` layers."""
    for parent in module.modules():
        for name, layer in parent.named_children():
            if type(layer) is nn.Dropout:
                setattr(parent, name, Dropout(layer.p))
    return module
