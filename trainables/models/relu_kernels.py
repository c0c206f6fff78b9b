"""A convolution's bias and the ReLU after it on NVIDIA GPUs: one pass each way, not four.

R: rows, one per photo and position, as channels-last memory holds them; C channels.
"""

# Triton's functions are its own language: `constexpr`s are given as plain numbers.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BLOCK = 1024
#: Rows of one program on the way back, and of one step of it.
ROWS = 512
STEP = 32


def without_bias(layer: nn.Conv2d, images_BCHW: Tensor) -> Tensor:
    """What a convolution makes before its bias."""
    return layer._conv_forward(images_BCHW, layer.weight, None)  # noqa: SLF001


def bias_relu(layer: nn.Conv2d, images_BCHW: Tensor) -> Tensor:
    """Add the convolution's bias and cut off below 0, in place of `images_BCHW`."""
    images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    made: Any = _BiasReLU.apply(images_BCHW, layer.bias)
    return made


class _BiasReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias_C: Tensor) -> Tensor:
        grid = (triton.cdiv(x.numel(), BLOCK),)
        _forward[grid](x, bias_C, x.numel(), x.shape[1], BLOCK)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (y,) = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        channels = y.shape[1]
        rows, width = y.numel() // channels, 64 if channels >= 64 else 16
        grid = (triton.cdiv(rows, ROWS), triton.cdiv(channels, width))
        dx = torch.empty_like(y)
        sums = torch.empty((grid[0], channels), dtype=torch.float32, device=y.device)
        _backward[grid](grad, y, dx, sums, rows, channels, width, STEP, ROWS)
        return dx, sums.sum(0)


@triton.jit
def _forward(x, bias, n, n_channels, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + at % n_channels, mask=inside, other=0.0).to(tl.float32)
    # as torch's: a NaN is handed on
    tl.store(x + at, tl.where(value < 0, 0.0, value), mask=inside)


@triton.jit
def _backward(
    gradient, y, dx, sums, n_rows, n_channels,
    width: tl.constexpr, step: tl.constexpr, rows: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(1) * width + tl.arange(0, width)
    total = tl.zeros((width,), tl.float32)
    for start in range(0, rows, step):
        row = tl.program_id(0) * rows + start + tl.arange(0, step)
        at = row[:, None] * n_channels + channel[None, :]
        inside = (row[:, None] < n_rows) & (channel[None, :] < n_channels)
        part = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
        made = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
        part = tl.where(made > 0, part, 0.0)
        tl.store(dx + at, part, mask=inside)
        total += tl.sum(part, axis=0)
    tl.store(sums + tl.program_id(0) * n_channels + channel, total, mask=channel < n_channels)
