"""Local response normalisation across channels, many times faster than torch's.

B C H W as usual. Rows: the channels of one photo and position, as channels-last memory holds them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from trainables.models import own_kernels

SIZE = 5
ALPHA = 1e-4
BETA = 0.75
K = 1.0


class LocalResponseNorm(nn.Module):
    """Caffe's LRN: y = x / (1 + alpha / 5 * sum of x^2 over 5 neighbouring channels)^0.75.

    alpha is 1e-4, divided by the window's size as Caffe and torch do. Equal to
    `torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)`; inside, half precision is widened to float32.
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Normalise; fastest on channels-last memory, which the result always has."""
        if torch.compiler.is_compiling():
            return _by_torch(images_BCHW)
        dtype = images_BCHW.dtype
        if dtype == torch.float16 and images_BCHW.device.type == "cpu":
            return self(images_BCHW.float()).half()  # the loops know bfloat16 and float32
        way = None if dtype == torch.float64 else _way(images_BCHW.device)
        if way is None:
            wide = images_BCHW if dtype == torch.float64 else images_BCHW.float()
            return _by_torch(wide).to(dtype, memory_format=torch.channels_last)
        rows_BHWC = images_BCHW.permute(0, 2, 3, 1).contiguous()
        made: Any = _Normalise.apply(rows_BHWC, way)
        return made.permute(0, 3, 1, 2)


def _way(device: torch.device) -> Any:
    """The module whose `forward` and `backward` fill rows on a device; None where torch has to."""
    if device.type == "cpu":
        from trainables.models import lrn_loops  # Numba takes a second

        return lrn_loops
    if own_kernels.run_on(device):
        from trainables.models import lrn_kernels  # Triton is where GPUs are

        return lrn_kernels
    return None


class _Normalise(torch.autograd.Function):
    """x t^-3/4 with t the bracket above, along the last axis; keeps its input only.

    dx = g t^-3/4 - 2 alpha beta / 5 * x * window_sum(g x t^-7/4).
    """

    @staticmethod
    def forward(ctx: Any, rows_BHWC: Tensor, way: Any) -> Tensor:
        made_BHWC = torch.empty_like(rows_BHWC)
        way.forward(*map(_rows, (rows_BHWC, made_BHWC)))
        ctx.save_for_backward(rows_BHWC)
        ctx.way = way
        return made_BHWC

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads_BHWC: Tensor
    ) -> tuple[Tensor, None]:
        (rows_BHWC,) = ctx.saved_tensors
        made_BHWC = torch.empty_like(rows_BHWC)
        ctx.way.backward(*map(_rows, (rows_BHWC, grads_BHWC[0].contiguous(), made_BHWC)))
        return made_BHWC, None


def _rows(values_BHWC: Tensor) -> Tensor:
    return values_BHWC.view(-1, values_BHWC.shape[-1])


def _by_torch(images_BCHW: Tensor) -> Tensor:
    return F.local_response_norm(images_BCHW, SIZE, ALPHA, BETA, K)
