"""Local response normalisation on NVIDIA GPUs: one pass over memory each way.

Torch operations one after another would read and write the photos about ten times. Imported where
tensors lie on a GPU only: Triton comes with torch's CUDA build.

R: rows, one per photo and position, as channels-last memory holds them; C channels.
"""

# Triton's functions are its own language: `constexpr`s are given as plain numbers.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
import triton
import triton.language as tl
from torch import Tensor

SCALE = tl.constexpr(1e-4 / 5)
#: 2 alpha beta / 5, of the derivative.
TWICE = tl.constexpr(2 * 0.75 * 1e-4 / 5)
#: One thread an element: neighbouring threads then read neighbouring channels.
BLOCK, WARPS = 256, 8


def forward(x_RC: Tensor, y_RC: Tensor) -> None:
    """Normalise contiguous rows of float32 or a half precision; computes in float32."""
    _forward[_grid(x_RC)](x_RC, y_RC, x_RC.numel(), x_RC.shape[1], BLOCK, num_warps=WARPS)


def backward(x_RC: Tensor, grad_RC: Tensor, dx_RC: Tensor) -> None:
    """The gradient of `forward`'s input from that of its result."""
    n, channels = x_RC.numel(), x_RC.shape[1]
    _backward[_grid(x_RC)](x_RC, grad_RC, dx_RC, n, channels, BLOCK, num_warps=WARPS)


def _grid(rows_RC: Tensor) -> tuple[int]:
    return (triton.cdiv(rows_RC.numel(), BLOCK),)


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
