"""Local response normalisation on NVIDIA GPUs: one pass over memory each way.

Torch operations one after another would read and write the photos about ten times. Imported where
tensors lie on a GPU only: Triton comes with torch's CUDA build.

R: rows, one per photo and position, as channels-last memory holds them; C channels.
"""

# Triton's functions are its own language: `constexpr`s are given as plain numbers.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

REACH = tl.constexpr(2)
SCALE = tl.constexpr(1e-4 / 5)
#: 2 alpha beta / 5, of the derivative.
TWICE = tl.constexpr(2 * 0.75 * 1e-4 / 5)
#: Elements of one program.
BLOCK = 1024


class Normalise(torch.autograd.Function):
    """As `lrn.LocalResponseNorm`; computes in float32 and keeps its input only."""

    @staticmethod
    def forward(ctx: Any, rows_RC: Tensor) -> Tensor:
        """Normalise contiguous rows (R, C) of float32 or a half precision."""
        made_RC = torch.empty_like(rows_RC)
        grid = (triton.cdiv(rows_RC.numel(), BLOCK),)
        n, channels = rows_RC.numel(), rows_RC.shape[1]
        _forward[grid](rows_RC, made_RC, n, channels, BLOCK)
        ctx.save_for_backward(rows_RC)
        return made_RC

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads_RC: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The derivative; see `lrn`."""
        (rows_RC,) = ctx.saved_tensors
        grad_RC, made_RC = grads_RC[0].contiguous(), torch.empty_like(rows_RC)
        grid = (triton.cdiv(rows_RC.numel(), BLOCK),)
        n, channels = rows_RC.numel(), rows_RC.shape[1]
        _backward[grid](rows_RC, grad_RC, made_RC, n, channels, BLOCK)
        return made_RC


@triton.jit
def _bracket(x, at, channel, inside, n_channels: tl.constexpr):
    """1 + alpha / 5 * the sum of squares over the 5 channels around each; 0 squares beyond."""
    total = tl.zeros_like(at).to(tl.float32)
    for step in tl.static_range(-REACH, REACH + 1):
        near = channel + step
        here = inside & (near >= 0) & (near < n_channels)
        value = tl.load(x + at + step, mask=here, other=0.0).to(tl.float32)
        total += value * value
    return 1.0 + SCALE * total


@triton.jit
def _forward(x, y, n, n_channels: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    root = tl.rsqrt(_bracket(x, at, at % n_channels, inside, n_channels))
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, value * root * tl.sqrt(root), mask=inside)


@triton.jit
def _backward(x, gradient, dx, n, n_channels: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    channel = at % n_channels
    direct = tl.zeros_like(at).to(tl.float32)
    around = tl.zeros_like(at).to(tl.float32)
    for step in tl.static_range(-REACH, REACH + 1):
        near = channel + step
        here = inside & (near >= 0) & (near < n_channels)
        root = tl.rsqrt(_bracket(x, at + step, near, here, n_channels))
        value = tl.load(x + at + step, mask=here, other=0.0).to(tl.float32)
        part = tl.load(gradient + at + step, mask=here, other=0.0).to(tl.float32)
        part *= root * tl.sqrt(root)
        around += part * root * root * value
        if step == 0:
            direct = part
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(dx + at, direct - TWICE * value * around, mask=inside)
