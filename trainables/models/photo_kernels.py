"""Photos to a network's input on NVIDIA GPUs in one pass: read a byte, write a value."""

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


@triton.jit
def _scaled(x, scale, shift, y, n, n_channels: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    channel = at % n_channels
    value = tl.load(x + at, mask=inside, other=0).to(tl.float32)
    value *= tl.load(scale + channel, mask=inside, other=0.0)
    value += tl.load(shift + channel, mask=inside, other=0.0)
    tl.store(y + at, value, mask=inside)
