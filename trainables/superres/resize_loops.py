"""Bicubic resizing of float planes on a CPU, in compiled loops over rows: torch's sums, in order.

torch's own kernel for floats makes one value at a time. Of each sum its compiler multiplies and
adds the values after the first by fours, and fuses both for those that are left over; so do these
loops. The bits are torch's where it uses AVX2 or AVX-512; elsewhere the last one may differ.

Shape legend: B images, H rows, W columns, N values in, O values out, T taps.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

_FOURS = 4
#: Values of a plane that the cache holds; of a larger one, lines of the cache are written whole.
_CACHED, _LINE = 65_536, 16


class _Taps(NamedTuple):
    """What each value out is a sum of: `n_O` values from `first_O` on, by their weights."""

    first_O: NDArray[np.int64]
    n_O: NDArray[np.int64]
    weights_OT: NDArray[np.float32]


def resize(planes_BHW: Tensor, height_px: int, width_px: int) -> Tensor:
    """What torch's `interpolate` makes, bicubic with antialias.

    Args:
        planes_BHW: float32 on the CPU.
        height_px: of the result.
        width_px: of the result.
    """
    planes = planes_BHW.contiguous().numpy()
    made = np.empty((len(planes), height_px, width_px), np.float32)
    rows, columns = _taps(planes.shape[1], height_px), _taps(planes.shape[2], width_px)
    _resize(planes, rows, columns, made)
    return torch.from_numpy(made)


@lru_cache(maxsize=64)
def _taps(n_in: int, n_out: int) -> _Taps:
    """By torch itself: each weight is what becomes of a one among zeros."""
    ones_NN = torch.eye(n_in)[:, None, None]
    made = interpolate(ones_NN, (1, n_out), mode="bicubic", antialias=True)
    weights_ON = made[:, 0, 0].T.numpy()
    step = np.float32(n_in) / np.float32(n_out)
    reach = 2 * max(step, np.float32(1))
    centre_O = step * (np.arange(n_out, dtype=np.float32) + np.float32(0.5))
    first_O = np.maximum((centre_O - reach + np.float32(0.5)).astype(np.int64), 0)
    n_O = np.minimum((centre_O + reach + np.float32(0.5)).astype(np.int64), n_in) - first_O
    places_OT = first_O[:, None] + np.arange(n_O.max())
    inside_OT = places_OT < n_in
    weights_OT = np.take_along_axis(weights_ON, np.minimum(places_OT, n_in - 1), 1) * inside_OT
    return _Taps(first_O, n_O, weights_OT)


_plain = njit(nogil=True, forceinline=True)
_fused = njit(nogil=True, forceinline=True, fastmath={"contract"})


@_plain
def _resize(planes_BHW, rows, columns, made_BHW):
    n_rows, n_columns = planes_BHW.shape[1:]
    across_WH = np.empty((n_columns, n_rows), np.float32)
    turned_WH = np.empty((made_BHW.shape[2], n_rows), np.float32)
    middle_HW = np.empty((n_rows, made_BHW.shape[2]), np.float32)
    for image in range(len(planes_BHW)):
        _turn(planes_BHW[image], across_WH)
        _sum_rows(across_WH, columns, turned_WH)
        _turn(turned_WH, middle_HW)
        _sum_rows(middle_HW, rows, made_BHW[image])


@_plain
def _turn(plane_HW, made_WH):
    n_rows = len(plane_HW)
    if plane_HW.size > _CACHED:
        for top in range(0, n_rows, _LINE):
            _turn_lines(plane_HW, made_WH, top, min(top + _LINE, n_rows))
        return
    for row in range(n_rows):
        for column in range(plane_HW.shape[1]):
            made_WH[column, row] = plane_HW[row, column]


@_plain
def _turn_lines(plane_HW, made_WH, top, bottom):
    for column in range(plane_HW.shape[1]):
        for row in range(top, bottom):
            made_WH[column, row] = plane_HW[row, column]


@_plain
def _sum_rows(plane_NW, taps, made_OW):
    first_O, n_O, weights_OT = taps
    for out in range(len(made_OW)):
        first, n_after = first_O[out], n_O[out] - 1
        _scale(plane_NW[first], weights_OT[out, 0], made_OW[out])
        n_plain = n_after // _FOURS * _FOURS
        for tap in range(1, 1 + n_plain):
            _add(plane_NW[first + tap], weights_OT[out, tap], made_OW[out])
        for tap in range(1 + n_plain, 1 + n_after):
            _add_fused(plane_NW[first + tap], weights_OT[out, tap], made_OW[out])


@_plain
def _scale(row_W, weight, made_W):
    for column in range(len(made_W)):
        made_W[column] = row_W[column] * weight


@_plain
def _add(row_W, weight, made_W):
    for column in range(len(made_W)):
        made_W[column] += row_W[column] * weight


@_fused
def _add_fused(row_W, weight, made_W):
    for column in range(len(made_W)):
        made_W[column] += row_W[column] * weight
