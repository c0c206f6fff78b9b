"""BT.601 luminance and colour difference in studio range, as MATLAB's rgb2ycbcr.

Shape legend: any leading axes, 3 colour; or B images, 3 colour, H rows, W columns.
"""

import torch
from torch import Tensor

from trainables.superres import colour_loops

#: Rows Y, Cb, Cr for R, G, B in [0, 255]; ITU-R BT.601-7 section 2.5, scaled to 8 bits.
_TO_YCBCR = (
    (65.481, 128.553, 24.966),
    (-37.797, -74.203, 112.0),
    (112.0, -93.786, -18.214),
)
_OFFSETS = (16.0, 128.0, 128.0)


def to_ycbcr(images_B3HW: Tensor) -> Tensor:
    """RGB in [0, 255] to Y (16-235), Cb and Cr (16-240), unrounded.

    Args:
        images_B3HW: any type, on any device.

    Returns:
        float32 of the same shape.
    """
    matrix_33 = torch.tensor(_TO_YCBCR) / 255
    offsets_311 = torch.tensor(_OFFSETS, device=images_B3HW.device)[:, None, None]
    return _mix(matrix_33, images_B3HW.float()) + offsets_311


def to_rgb(images_B3HW: Tensor) -> Tensor:
    """Y, Cb, Cr back to 8-bit RGB, clamped and rounded.

    Returns:
        uint8 of the same shape.
    """
    matrix_33 = (torch.tensor(_TO_YCBCR, dtype=torch.float64) / 255).inverse().float()
    if images_B3HW.device.type == "cpu" and images_B3HW.dim() == 4:
        return colour_loops.mixed(images_B3HW.float(), _OFFSETS, matrix_33)
    offsets_311 = torch.tensor(_OFFSETS, device=images_B3HW.device)[:, None, None]
    rgb_B3HW = _mix(matrix_33, images_B3HW - offsets_311)
    return (rgb_B3HW + 0.5).floor_().clamp_(0, 255).to(torch.uint8)


def _mix(matrix_33: Tensor, images_B3HW: Tensor) -> Tensor:
    # sums of scaled planes: a batched product of inner size 3 is several times slower
    first, second, third = images_B3HW.unbind(-3)
    mixed_B3HW = torch.empty_like(images_B3HW)
    for mixed, (a, b, c) in zip(mixed_B3HW.unbind(-3), matrix_33.tolist(), strict=True):
        torch.mul(first, a, out=mixed)
        mixed.add_(second * b).add_(third * c)
    return mixed_B3HW


def luminance(image_HW3: Tensor) -> Tensor:
    """Y of one 8-bit RGB image as a share of 255: (H, W) float32."""
    return to_ycbcr(image_HW3.permute(2, 0, 1))[0] / 255
