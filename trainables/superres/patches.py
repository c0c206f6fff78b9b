"""Patches out of planes and back, by their places on a grid.

Shape legend: B images, H rows, W columns, N patches, P pixels of a patch, K axes.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, fold, pad, unfold


def fill_grid(planes_BHW: Tensor, patch_px: int, step_px: int) -> Tensor:
    """Repeat the last row and column until patches end at the border."""
    missing = [-(side - patch_px) % step_px for side in planes_BHW.shape[-2:]]
    if not any(missing):
        return planes_BHW
    return pad(planes_BHW[:, None], (0, missing[1], 0, missing[0]), mode="replicate")[:, 0]


def cut(planes_BHW: Tensor, patch_px: int, step_px: int) -> Tensor:
    """All patches of the grid, image by image, row by row: (N, P)."""
    columns_BPN = unfold(planes_BHW[:, None], patch_px, stride=step_px)
    return columns_BPN.transpose(1, 2).reshape(-1, patch_px * patch_px)


def project(planes_BHW: Tensor, axes_PK: Tensor, patch_px: int, step_px: int) -> Tensor:
    """All patches of the grid on axes: `cut(planes) @ axes` without cutting: (N, K)."""
    kernels_K1HW = axes_PK.T.reshape(-1, 1, patch_px, patch_px)
    along_BKHW = conv2d(planes_BHW[:, None], kernels_K1HW, stride=step_px)
    return along_BKHW.permute(0, 2, 3, 1).contiguous().view(-1, len(kernels_K1HW))


def lay(patches_NP: Tensor, size: tuple[int, ...], patch_px: int, step_px: int) -> Tensor:
    """Patches back on their places, summed where they overlap: the transpose of `cut`.

    Args:
        patches_NP: in the order of `cut`.
        size: B, H, W of the planes.
        patch_px: side.
        step_px: from patch to patch.
    """
    n_images, height_px, width_px = size
    columns_BPN = patches_NP.view(n_images, -1, patches_NP.shape[1]).transpose(1, 2)
    return fold(columns_BPN, (height_px, width_px), patch_px, stride=step_px)[:, 0]


def coverage(size_px: tuple[int, int], like: Tensor, patch_px: int, step_px: int) -> Tensor:
    """How many patches lie over each pixel: (H, W), of the type and device of `like`."""
    down_H, across_W = (_overlaps(side, patch_px, step_px).to(like) for side in size_px)
    return down_H[:, None] * across_W


def _overlaps(side_px: int, patch_px: int, step_px: int) -> Tensor:
    """How many of the patches along a side lie over each of its places."""
    last = (side_px - patch_px) // step_px
    places = torch.arange(side_px)
    from_ = (places - patch_px + step_px).div(step_px, rounding_mode="floor").clamp_(min=0)
    to = places.div(step_px, rounding_mode="floor").clamp_(max=last)
    return to - from_ + 1


def principal_axes(patches_NP: Tensor, energy: float) -> Tensor:
    """Directions that keep a share of the energy of unit patches without their means.

    Returns:
        (P, K) float32, orthonormal, each orthogonal to the constant patch; K a multiple of 4.
    """
    centred_NP = patches_NP - patches_NP.mean(1, keepdim=True)
    unit_NP = (centred_NP / centred_NP.norm(dim=1, keepdim=True)).double()
    values_P, vectors_PP = torch.linalg.eigh(unit_NP.T @ unit_NP)
    shares_P = values_P.flip(0).cumsum(0) / values_P.sum()
    n_axes = int((shares_P < energy).sum()) + 1
    # a multiple of 4: grouped products want rows of whole 16 bytes
    n_axes = 4 * min(-(-n_axes // 4), (len(values_P) - 1) // 4)
    axes_PK = vectors_PP.flip(1)[:, :n_axes]
    return (axes_PK - axes_PK.mean(0)).float().contiguous()
