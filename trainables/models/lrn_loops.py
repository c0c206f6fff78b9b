"""Local response normalisation on a CPU: one compiled loop over rows there, one back.

Some rows at a time stay in the processor's first cache from their reading to their writing, as one
long vector: one row's channels are too few for vector instructions. bfloat16 comes as its bits and
is widened to float32 inside. A process compiles for two seconds, as for `superres.loops`.

Shape legend: R rows, one per photo and position, as channels-last memory holds them; C channels; N
values of some rows.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from trainables.threads import in_parts

#: alpha / 5 and 2 alpha beta / 5, of the derivative.
_SCALE, _TWICE = np.float32(1e-4 / 5), np.float32(2 * 0.75 * 1e-4 / 5)
#: Values worked on at once: few enough that they stay in the first cache.
CHUNK_VALUES = 2048
#: This less a quarter of t's bits are those of t^-1/4, within 4 %.
_GUESS = np.uint32(0x4F58CAE5)
#: Stands for infinity, of which Newton's steps would make no number.
_MOST = np.float32(3e38)
_ZERO, _ONE, _QUARTER, _FIVE_QUARTERS = map(np.float32, (0, 1, 0.25, 1.25))

_compiled = njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})


def forward(x_RC: Tensor, y_RC: Tensor) -> None:
    """Normalise contiguous rows of float32 or bfloat16; computes in float32."""
    in_parts(_loops_of(x_RC.dtype).forward, _bits(x_RC), _bits(y_RC))


def backward(x_RC: Tensor, grad_RC: Tensor, dx_RC: Tensor) -> None:
    """The gradient of `forward`'s input from that of its result."""
    in_parts(_loops_of(x_RC.dtype).backward, _bits(x_RC), _bits(grad_RC), _bits(dx_RC))


class _Loops(NamedTuple):
    forward: Callable[..., None]
    """Of x_RC into y_RC."""
    backward: Callable[..., None]
    """Of x_RC and the gradient of y_RC into that of x_RC."""


def _bits(rows_RC: Tensor) -> NDArray[Any]:
    half = rows_RC.dtype == torch.bfloat16
    return rows_RC.detach().view(torch.uint16 if half else rows_RC.dtype).numpy()


@cache
def _loops_of(dtype: torch.dtype) -> _Loops:
    return _made(_load_half, _store_half) if dtype == torch.bfloat16 else _made(_copy, _copy)


def _made(load: Any, store: Any) -> _Loops:
    @_compiled
    def forward(x_RC, y_RC):
        channels = x_RC.shape[1]
        x_N, y_N = x_RC.reshape(-1), y_RC.reshape(-1)
        size = channels * (1 + CHUNK_VALUES // channels)
        buffers = np.empty((3, size), np.float32)
        for start in range(0, len(x_N), size):
            part = slice(start, min(start + size, len(x_N)))
            n = part.stop - start
            x, made, roots = buffers[0][:n], buffers[1][:n], buffers[2][:n]
            load(x_N[part], x)
            _fourth_roots(x, channels, made, roots)
            _powers(x, roots, made)
            store(made, y_N[part])

    @_compiled
    def backward(x_RC, grad_RC, dx_RC):
        channels = x_RC.shape[1]
        x_N, grad_N, dx_N = x_RC.reshape(-1), grad_RC.reshape(-1), dx_RC.reshape(-1)
        size = channels * (1 + CHUNK_VALUES // channels)
        buffers = np.empty((4, size), np.float32)
        for start in range(0, len(x_N), size):
            part = slice(start, min(start + size, len(x_N)))
            n = part.stop - start
            x, grad, made, roots = buffers[0][:n], buffers[1][:n], buffers[2][:n], buffers[3][:n]
            load(x_N[part], x)
            load(grad_N[part], grad)
            _fourth_roots(x, channels, made, roots)
            _direct(x, grad, roots, made)
            _window_sums(made, channels, roots)
            _less(grad, x, roots)
            store(grad, dx_N[part])

    return _Loops(forward, backward)


@_compiled
def _copy(values, to):
    for n in range(len(to)):
        to[n] = values[n]


@_compiled
def _load_half(values, wide):
    bits = wide.view(np.uint32)
    for n in range(len(bits)):
        bits[n] = np.uint32(values[n]) << np.uint32(16)


@_compiled
def _store_half(wide, values):
    """To the nearest bfloat16, of two the even one; what is not a number stays none."""
    all_bits = wide.view(np.uint32)
    for n in range(len(all_bits)):
        bits = all_bits[n]
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        near = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        is_number = (bits & np.uint32(0x7FFFFFFF)) <= np.uint32(0x7F800000)
        values[n] = np.uint16(near) if is_number else np.uint16(0x7FC0)


@_compiled
def _window_sums(values, channels, sums):
    """Over the 5 channels around each: as if all were one row, then anew at each row's ends."""
    middle = max(len(values) - 4, 0)
    a, b, c, d, e, inner = values, values[1:], values[2:], values[3:], values[4:], sums[2:]
    for n in range(middle):
        inner[n] = a[n] + b[n] + c[n] + d[n] + e[n]
    for first in range(0, len(values), channels):
        for channel in (0, 1, channels - 2, channels - 1):
            if 0 <= channel < channels:
                low, high = max(channel - 2, 0), min(channel + 3, channels)
                sums[first + channel] = _sum(values[first + low : first + high])


@_compiled
def _sum(values):
    total = np.float32(0)
    for value in values:
        total += value
    return total


@_compiled
def _fourth_roots(x, channels, t, roots):
    """t^-1/4 of t = 1 + alpha / 5 times the sums: a guess by its bits, then Newton's steps."""
    bits = roots.view(np.uint32)
    for n in range(len(x)):
        t[n] = x[n] * x[n]
    _window_sums(t, channels, roots)
    for n in range(len(t)):
        exact = _ONE + _SCALE * roots[n]
        t[n] = _MOST if exact > _MOST else exact
        roots[n] = t[n]
    for n in range(len(bits)):
        bits[n] = _GUESS - (bits[n] >> np.uint32(2))
    for n in range(len(t)):
        root = _nearer(_nearer(_nearer(roots[n], t[n]), t[n]), t[n])
        roots[n] = _ZERO if t[n] == _MOST else root


@_compiled
def _nearer(root, t):
    """A step of Newton's: the error left is 2.5 times the square of the one before."""
    square = root * root
    return root * (_FIVE_QUARTERS - _QUARTER * t * square * square)


@_compiled
def _powers(x, roots, out):
    for n in range(len(x)):
        out[n] = x[n] * (roots[n] * roots[n] * roots[n])


@_compiled
def _direct(x, grad, roots, products):
    """Put g t^-3/4 in the gradient's place; the products are for the window to sum."""
    for n in range(len(x)):
        square = roots[n] * roots[n]
        direct = grad[n] * square * roots[n]
        grad[n] = direct
        products[n] = direct * (square * square) * x[n]


@_compiled
def _less(grad, x, sums):
    for n in range(len(x)):
        grad[n] -= _TWICE * x[n] * sums[n]
