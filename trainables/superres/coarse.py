"""The coarse image: bicubic, then iterative back-projection (Irani and Peleg, 1991; 3.3).

Shape legend: B images, H rows, W columns.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainables.superres import resize_loops


def bicubic(planes_BHW: Tensor, height_px: int, width_px: int) -> Tensor:
    """Resize float planes, bicubic with a = -0.5, its kernel widened when shrinking.

    The same kernel both ways, unrounded: Pillow's and MATLAB's arithmetic.
    """
    if planes_BHW.shape[-2:] == (height_px, width_px):
        return planes_BHW
    if planes_BHW.device.type == "cpu" and planes_BHW.dtype == torch.float32:
        return resize_loops.resize(planes_BHW, height_px, width_px)
    size = (height_px, width_px)
    return interpolate(planes_BHW[:, None], size, mode="bicubic", antialias=True)[:, 0]


def back_project(planes_BHW: Tensor, low_BHW: Tensor, n_steps: int) -> Tensor:
    """Make enlarged planes shrink to the low ones: c <- c + up(low - down(c)), `n_steps` times."""
    height_px, width_px = planes_BHW.shape[-2:]
    for _ in range(n_steps):
        rest_BHW = low_BHW - bicubic(planes_BHW, *low_BHW.shape[-2:])
        planes_BHW = planes_BHW + bicubic(rest_BHW, height_px, width_px)
    return planes_BHW


def coarse(low_BHW: Tensor, height_px: int, width_px: int, n_ibp: int) -> Tensor:
    """What the forest improves on: bicubic enlargement with `n_ibp` back-projections."""
    return back_project(bicubic(low_BHW, height_px, width_px), low_BHW, n_ibp)
