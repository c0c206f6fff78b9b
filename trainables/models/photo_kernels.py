"""Photos to a network's input on NVIDIA GPUs, one pass each: read a byte, write a value.

Memory is channels last: B photos, H rows, W columns, C channels.
"""

# Triton's functions are its own language: `constexpr`s are given as plain numbers.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


def scaled(images_BCHW: Tensor, scale_C: Tensor, shift_C: Tensor, dtype: torch.dtype) -> Tensor:
    """`images * scale + shift` of uint8 photos in any memory format.

    Returns:
        (B, C, H, W) of the dtype, channels last.
    """
    images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    made_BCHW = torch.empty_like(images_BCHW, dtype=dtype)
    n, channels = images_BCHW.numel(), images_BCHW.shape[1]
    grid = (triton.cdiv(n, BLOCK),)
    _scaled[grid](images_BCHW, scale_C, shift_C, made_BCHW, n, channels, BLOCK)
    return made_BCHW


def mirrored(images_BCHW: Tensor, chosen_B: Tensor) -> Tensor:
    """Uint8 photos, those chosen (bool, on the same device) mirrored left to right.

    Returns:
        (B, C, H, W), channels last.
    """
    images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    made_BCHW = torch.empty_like(images_BCHW)
    n, (_, channels, height_px, width_px) = images_BCHW.numel(), images_BCHW.shape
    grid, chosen_B = (triton.cdiv(n, BLOCK),), chosen_B.view(torch.uint8)
    _mirrored[grid](images_BCHW, chosen_B, made_BCHW, n, channels, height_px, width_px, BLOCK)
    return made_BCHW


@triton.jit
def _scaled(x, scale, shift, y, n, n_channels: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    channel = at % n_channels
    value = tl.load(x + at, mask=inside, other=0).to(tl.float32)
    value *= tl.load(scale + channel, mask=inside, other=0.0)
    value += tl.load(shift + channel, mask=inside, other=0.0)
    tl.store(y + at, value, mask=inside)


@triton.jit
def _mirrored(
    x, chosen, y, n, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, block: tl.constexpr
):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    column, photo = at // C % W, at // (C * W * H)
    mirror = tl.load(chosen + photo, mask=inside, other=0) != 0
    there = tl.where(mirror, (W - 1 - 2 * column) * C, 0)
    tl.store(y + at, tl.load(x + at + there, mask=inside, other=0), mask=inside)
