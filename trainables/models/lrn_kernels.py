"""Local response normalisation on NVIDIA GPUs: one pass over memory each way.

Torch operations one after another would read and write the photos about ten times. Imported where
tensors lie on a GPU only: Triton comes with torch's CUDA build.

R: rows, one per photo and position, as channels-last memory holds them; C channels.
"""

# Triton's functions are its own language: `constexpr`s are given as plain numbers.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

SCALE = tl.constexpr(1e-4 / 5)
#: 2 alpha beta / 5, of the derivative.
TWICE = tl.constexpr(2 * 0.75 * 1e-4 / 5)
#: One thread an element: neighbouring threads then read neighbouring channels.
BLOCK, WARPS = 256, 8


class Normalise(torch.autograd.Function):
    """As `lrn.LocalResponseNorm`; computes in float32 and keeps its input only."""

    @staticmethod
    def forward(ctx: Any, rows_RC: Tensor) -> Tensor:
        """Normalise contiguous rows (R, C) of float32 or a half precision."""
        made_RC = torch.empty_like(rows_RC)
        grid = (triton.cdiv(rows_RC.numel(), BLOCK),)
        n, channels = rows_RC.numel(), rows_RC.shape[1]
        _forward[grid](rows_RC, made_RC, n, channels, BLOCK, num_warps=WARPS)
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
        _backward[grid](rows_RC, grad_RC, made_RC, n, channels, BLOCK, num_warps=WARPS)
        return made_RC


# A window's values are single names: these are sums over 5 of 9 neighbours, in registers.


@triton.jit
def _forward(x, y, n, C: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside, channel = at < n, at % C
    a = tl.load(x + at - 2, mask=inside & (channel >= 2), other=0.0).to(tl.float32)
    b = tl.load(x + at - 1, mask=inside & (channel >= 1), other=0.0).to(tl.float32)
    c = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    d = tl.load(x + at + 1, mask=inside & (channel < C - 1), other=0.0).to(tl.float32)
    e = tl.load(x + at + 2, mask=inside & (channel < C - 2), other=0.0).to(tl.float32)
    root = tl.rsqrt((a * a + b * b + c * c + d * d + e * e) * SCALE + 1.0)
    tl.store(y + at, c * root * tl.sqrt(root), mask=inside)


@triton.jit
def _backward(x, gradient, dx, n, C: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside, channel = at < n, at % C
    a = tl.load(x + at - 4, mask=inside & (channel >= 4), other=0.0).to(tl.float32)
    b = tl.load(x + at - 3, mask=inside & (channel >= 3), other=0.0).to(tl.float32)
    c = tl.load(x + at - 2, mask=inside & (channel >= 2), other=0.0).to(tl.float32)
    d = tl.load(x + at - 1, mask=inside & (channel >= 1), other=0.0).to(tl.float32)
    e = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    f = tl.load(x + at + 1, mask=inside & (channel < C - 1), other=0.0).to(tl.float32)
    g = tl.load(x + at + 2, mask=inside & (channel < C - 2), other=0.0).to(tl.float32)
    h = tl.load(x + at + 3, mask=inside & (channel < C - 3), other=0.0).to(tl.float32)
    i = tl.load(x + at + 4, mask=inside & (channel < C - 4), other=0.0).to(tl.float32)
    before_2 = tl.load(gradient + at - 2, mask=inside & (channel >= 2), other=0.0).to(tl.float32)
    before = tl.load(gradient + at - 1, mask=inside & (channel >= 1), other=0.0).to(tl.float32)
    own = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    after = tl.load(gradient + at + 1, mask=inside & (channel < C - 1), other=0.0).to(tl.float32)
    after_2 = tl.load(gradient + at + 2, mask=inside & (channel < C - 2), other=0.0).to(tl.float32)
    root = tl.rsqrt((c * c + d * d + e * e + f * f + g * g) * SCALE + 1.0)
    direct = own * root * tl.sqrt(root)
    around = direct * root * root * e
    root = tl.rsqrt((a * a + b * b + c * c + d * d + e * e) * SCALE + 1.0)
    around += before_2 * c * root * root * root * tl.sqrt(root)
    root = tl.rsqrt((b * b + c * c + d * d + e * e + f * f) * SCALE + 1.0)
    around += before * d * root * root * root * tl.sqrt(root)
    root = tl.rsqrt((d * d + e * e + f * f + g * g + h * h) * SCALE + 1.0)
    around += after * f * root * root * root * tl.sqrt(root)
    root = tl.rsqrt((e * e + f * f + g * g + h * h + i * i) * SCALE + 1.0)
    around += after_2 * g * root * root * root * tl.sqrt(root)
    tl.store(dx + at, direct - e * around * TWICE, mask=inside)
