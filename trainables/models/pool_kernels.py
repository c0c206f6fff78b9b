"""Max pooling on NVIDIA GPUs: bytes for places where torch keeps eight, no atomic additions.

One thread a value. Memory is channels last: B photos, H rows, W columns, C channels, O outputs.
"""

# Triton's functions are its own language: `constexpr`s are given as plain numbers.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BLOCK = 256
WARPS = 8


def max_pool(pool: nn.MaxPool2d, images_BCHW: Tensor) -> Tensor:
    """What the layer makes; square windows without dilation (`is_supported`)."""
    images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    made: Any = _Pool.apply(images_BCHW, _numbers(pool), pool.ceil_mode)
    return made


def is_supported(pool: nn.MaxPool2d) -> bool:
    """Whether `max_pool` knows such a layer."""
    numbers = (pool.kernel_size, pool.stride, pool.padding)
    return pool.dilation == 1 and not pool.return_indices and all(type(n) is int for n in numbers)


def _numbers(pool: nn.MaxPool2d) -> tuple[int, int, int]:
    return int(pool.kernel_size), int(pool.stride), int(pool.padding)  # pyright: ignore[reportArgumentType]


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, numbers: tuple[int, int, int], ceil: bool) -> Tensor:  # noqa: FBT001
        size, stride, padding = numbers
        sides = tuple(_outputs(n, size, stride, padding, ceil=ceil) for n in x.shape[2:])
        shape = (x.shape[0], x.shape[1], *sides)
        made = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        places = torch.empty_like(made, dtype=torch.int8)
        ctx.shape = (x.shape[1], *x.shape[2:], *sides, size, stride, padding)
        grid = (triton.cdiv(made.numel(), BLOCK),)
        _forward[grid](x, made, places, made.numel(), *ctx.shape, BLOCK, num_warps=WARPS)
        ctx.save_for_backward(places)
        ctx.batch = x.shape[0]
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (places,) = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        shape = (ctx.batch, *ctx.shape[:3])
        dx = torch.empty(
            shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last
        )
        grid = (triton.cdiv(dx.numel(), BLOCK),)
        _backward[grid](grad, places, dx, dx.numel(), *ctx.shape, BLOCK, num_warps=WARPS)
        return dx, None, None


def _outputs(n: int, size: int, stride: int, padding: int, *, ceil: bool) -> int:
    """As torch: a last window that begins beyond the photo and its border is left out."""
    room = n + 2 * padding - size + (stride - 1 if ceil else 0)
    made = room // stride + 1
    return made - 1 if ceil and (made - 1) * stride >= n + padding else made


@triton.jit
def _forward(
    x, y, places, n,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr,
    size: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    channel, left = at % C, at // C % OW * stride - padding
    top, photo = at // (C * OW) % OH * stride - padding, at // (C * OW * OH)
    best = tl.full((block,), float("-inf"), tl.float32)
    place = tl.zeros((block,), tl.int32)
    for down in tl.static_range(size):
        for right in tl.static_range(size):
            row, column = top + down, left + right
            here = inside & (row >= 0) & (row < H) & (column >= 0) & (column < W)
            near = x + ((photo * H + row) * W + column) * C + channel
            value = tl.load(near, mask=here, other=float("-inf")).to(tl.float32)
            larger = (value > best) | (value != value)  # noqa: PLR0124 - a NaN is handed on
            best = tl.where(larger, value, best)
            place = tl.where(larger, down * size + right, place)
    tl.store(y + at, best, mask=inside)
    tl.store(places + at, place.to(tl.int8), mask=inside)


@triton.jit
def _backward(
    gradient, places, dx, n,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr,
    size: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    channel, column = at % C, at // C % W + padding
    row, photo = at // (C * W) % H + padding, at // (C * W * H)
    total = tl.zeros((block,), tl.float32)
    for up in tl.static_range((size + stride - 1) // stride):
        for before in tl.static_range((size + stride - 1) // stride):
            o_row, o_column = row // stride - up, column // stride - before
            down, right = row - o_row * stride, column - o_column * stride
            here = inside & (o_row >= 0) & (o_row < OH) & (o_column >= 0) & (o_column < OW)
            here = here & (down < size) & (right < size)
            window = ((photo * OH + o_row) * OW + o_column) * C + channel
            chosen = tl.load(places + window, mask=here, other=-1).to(tl.int32)
            part = tl.load(gradient + window, mask=here, other=0.0).to(tl.float32)
            total += tl.where(chosen == down * size + right, part, 0.0)
    tl.store(dx + at, total, mask=inside)
