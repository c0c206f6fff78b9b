"""Y, Cb and Cr to 8-bit RGB on a CPU, in one pass of compiled loops: the bits of torch's many.

Shape legend: B images, 3 colour, H rows, W columns.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

_HALF, _LEAST, _MOST = np.float32(0.5), np.float32(0), np.float32(255)


def mixed(ycbcr_B3HW: Tensor, offsets: tuple[float, ...], matrix_33: Tensor) -> Tensor:
    """`matrix @ (ycbcr - offsets)`, rounded and clamped.

    Args:
        ycbcr_B3HW: float32 on the CPU.
        offsets: of Y, Cb and Cr.
        matrix_33: float32, its rows those of R, G and B.

    Returns:
        uint8 (B, 3, H, W), channels last in memory.
    """
    planes = ycbcr_B3HW.contiguous().numpy()
    n_images, _, height_px, width_px = planes.shape
    made_BHW3 = np.empty((n_images, height_px, width_px, 3), np.uint8)
    _mix(planes, np.array(offsets, np.float32), matrix_33.numpy(), made_BHW3)
    return torch.from_numpy(made_BHW3).permute(0, 3, 1, 2)


@njit(nogil=True)
def _mix(ycbcr_B3HW, offsets_3, matrix_33, made_BHW3):
    row_3W = np.empty((3, made_BHW3.shape[2]), np.uint8)
    for image in range(len(made_BHW3)):
        for row in range(made_BHW3.shape[1]):
            y_W, cb_W = ycbcr_B3HW[image, 0, row], ycbcr_B3HW[image, 1, row]
            cr_W = ycbcr_B3HW[image, 2, row]  # each by itself: known to be contiguous
            for colour in range(3):
                _mix_row(y_W, cb_W, cr_W, offsets_3, matrix_33[colour], row_3W[colour])
            _interleave(row_3W[0], row_3W[1], row_3W[2], made_BHW3[image, row].reshape(-1))


@njit(nogil=True)
def _mix_row(y_W, cb_W, cr_W, offsets_3, shares_3, made_W):
    o, p, q = offsets_3[0], offsets_3[1], offsets_3[2]
    a, b, c = shares_3[0], shares_3[1], shares_3[2]
    for column in range(len(made_W)):
        value = (y_W[column] - o) * a + (cb_W[column] - p) * b + (cr_W[column] - q) * c
        value = np.floor(value + _HALF)
        made_W[column] = np.uint8(np.int32(min(max(value, _LEAST), _MOST)))


@njit(nogil=True)
def _interleave(red_W, green_W, blue_W, made_3W):
    for column in range(len(red_W)):
        made_3W[3 * column] = red_W[column]
        made_3W[3 * column + 1] = green_W[column]
        made_3W[3 * column + 2] = blue_W[column]
