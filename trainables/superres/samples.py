"""Training patches: what coarse patches look like, and what they lack (3.3).

Shape legend: H rows, W columns, N patches, P pixels of a patch, K axes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trainables.errors import DataError
from trainables.superres.coarse import bicubic, coarse
from trainables.superres.forest_spec import ForestSpec
from trainables.superres.patches import cut, fill_grid, principal_axes

#: Patches that decide the principal axes.
_AXES_PATCHES = 200_000


@dataclass(frozen=True, eq=False)
class Samples:
    """Unit coarse patches on the axes, and their details divided by the same norms."""

    axes_PK: Tensor
    patches_NK: Tensor
    details_NP: Tensor


def draw_samples(luminances: Sequence[Tensor], spec: ForestSpec, rng: Generator) -> Samples:
    """Cut at most about `max_patches` patches of enough contrast, evenly from all images.

    Args:
        luminances: (H, W) float32 in [0, 1], on one device.
        spec: of the forest.
        rng: chooses the patches.

    Raises:
        DataError: when no image is large enough, or none has a patch of enough contrast.
    """
    axes_PK = _axes(luminances, spec, rng)
    parts = [
        _unit(coarse_NP @ axes_PK, details_NP, spec.min_contrast)
        for coarse_NP, details_NP in _drawn(luminances, spec, spec.n_scales, spec.max_patches, rng)
    ]
    patches, details = zip(*parts, strict=True)
    return Samples(axes_PK, torch.cat(patches), torch.cat(details))


def _unit(patches_NK: Tensor, details_NP: Tensor, min_contrast: float) -> tuple[Tensor, Tensor]:
    """Both divided by the patches' norms, without those below `min_contrast`."""
    norms_N1 = patches_NK.norm(dim=1, keepdim=True)
    kept_N = norms_N1[:, 0] >= min_contrast
    return (patches_NK / norms_N1)[kept_N], (details_NP / norms_N1)[kept_N]


def _axes(luminances: Sequence[Tensor], spec: ForestSpec, rng: Generator) -> Tensor:
    """Principal axes of the patches of the unshrunk images."""
    parts = [coarse_NP for coarse_NP, _ in _drawn(luminances, spec, 1, _AXES_PATCHES, rng)]
    if not parts:
        raise DataError(
            f"all {len(luminances)} training images are too small for patches of "
            f"{spec.patch_px} px; give larger ones"
        )
    patches_NP = torch.cat(parts)
    contrast_N = (patches_NP - patches_NP.mean(1, keepdim=True)).norm(dim=1)
    patches_NP = patches_NP[contrast_N >= spec.min_contrast]
    if len(patches_NP) < 2:
        raise DataError("the training images are flat: nothing in them can be learnt from")
    return principal_axes(patches_NP, spec.energy)


def _drawn(
    luminances: Sequence[Tensor], spec: ForestSpec, n_scales: int, at_most: int, rng: Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The same share of the patches of every pair, in all about `at_most`."""
    share = min(1.0, at_most / _count(luminances, spec, n_scales))
    for coarse_NP, details_NP in _pairs(luminances, spec, n_scales):
        n_patches = len(coarse_NP)
        some = torch.randperm(n_patches, generator=rng)[: math.ceil(share * n_patches)]
        some = some.to(coarse_NP.device)
        yield coarse_NP[some], details_NP[some]


def _count(luminances: Sequence[Tensor], spec: ForestSpec, n_scales: int) -> float:
    """About how many patches the grids of all images hold, at all scales."""
    per_image = sum(image_HW.numel() for image_HW in luminances) / spec.step_px**2
    return per_image * sum(spec.scale_ratio ** (2 * number) for number in range(n_scales))


def _pairs(
    luminances: Sequence[Tensor], spec: ForestSpec, n_scales: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Coarse patches and their details, (N, P) each, for every image and scale."""
    for image_HW in luminances:
        for number in range(n_scales):
            scaled_HW = _scaled(image_HW, spec.scale_ratio**number)
            yield from _pair(_turned(scaled_HW, number % spec.n_turns), spec)


def _scaled(image_HW: Tensor, ratio: float) -> Tensor:
    height_px, width_px = (max(1, round(side * ratio)) for side in image_HW.shape)
    return bicubic(image_HW[None], height_px, width_px)[0]


def _turned(image_HW: Tensor, turn: int) -> Tensor:
    """One of the eight flips and rotations; 0 changes nothing."""
    turned_HW = torch.rot90(image_HW, turn // 2)
    return turned_HW.flip(1) if turn % 2 else turned_HW


def _pair(image_HW: Tensor, spec: ForestSpec) -> Iterator[tuple[Tensor, Tensor]]:
    """Nothing when the image is smaller than a patch."""
    low_px = [int(side / spec.factor) for side in image_HW.shape]
    height_px, width_px = (round(side * spec.factor) for side in low_px)
    if min(height_px, width_px) < spec.patch_px:
        return
    high_BHW = image_HW[None, :height_px, :width_px]
    low_BHW = bicubic(high_BHW, *low_px)
    coarse_BHW = coarse(low_BHW, height_px, width_px, spec.n_ibp)
    sides = spec.patch_px, spec.step_px
    coarse_NP = cut(fill_grid(coarse_BHW, *sides), *sides)
    yield coarse_NP, cut(fill_grid(high_BHW - coarse_BHW, *sides), *sides)
