"""Apply a forest to luminance (3.3).

Shape legend: B images, H rows, W columns, N patches, P pixels of a patch, K axes, T trees,
A averaged trees.
"""

import torch
from torch import Tensor

from trainables.errors import DataError
from trainables.superres.coarse import back_project, coarse
from trainables.superres.forest import Forest
from trainables.superres.nbsrf import CHUNK_PATCHES
from trainables.superres.patches import coverage, cut, fill_grid, lay
from trainables.superres.threads import side_by_side
from trainables.superres.trees import descend, grouped_products

#: Below this a patch is flat and its direction is noise.
_FLAT = 1e-6
#: Patches that meet their leaves' maps at once; bounds memory.
_ROWS = 2**17


def enhance(low_BHW: Tensor, forest: Forest) -> Tensor:
    """Enlarge luminance by the forest's factor.

    Args:
        low_BHW: float32 in [0, 1], on the forest's device.
        forest: trained for the factor wanted.

    Returns:
        float32 (B, round(H * factor), round(W * factor)) in [0, 1].

    Raises:
        DataError: when the enlarged image would be smaller than a patch.
    """
    spec = forest.spec
    height_px, width_px = (round(side * spec.factor) for side in low_BHW.shape[-2:])
    _check_size(low_BHW, min(height_px, width_px), spec.patch_px)
    coarse_BHW = coarse(low_BHW, height_px, width_px, spec.n_ibp)
    grid_BHW = fill_grid(coarse_BHW, spec.patch_px, spec.step_px)
    detail_BHW = _detail(grid_BHW, forest)[:, :height_px, :width_px]
    return back_project(coarse_BHW + detail_BHW, low_BHW, spec.n_final_ibp).clamp(0, 1)


def _check_size(low_BHW: Tensor, side_px: int, patch_px: int) -> None:
    if side_px < patch_px:
        height_px, width_px = low_BHW.shape[-2:]
        raise DataError(
            f"an image of {width_px} x {height_px} px enlarges to a side of {side_px} px, less "
            f"than the forest's patches of {patch_px} px; give larger images"
        )


def _detail(grid_BHW: Tensor, forest: Forest) -> Tensor:
    """What the coarse planes lack: the mean of overlapping patches."""
    patch_px, step_px = forest.spec.patch_px, forest.spec.step_px
    patches_NK = cut(grid_BHW, patch_px, step_px) @ forest.axes_PK
    norms_N1 = patches_NK.norm(dim=1, keepdim=True)
    details_NP = _details(patches_NK / norms_N1.clamp_min(_FLAT), forest).mul_(norms_N1)
    n_images, height_px, width_px = grid_BHW.shape
    summed_BHW = lay(details_NP, (n_images, height_px, width_px), patch_px, step_px)
    return summed_BHW / coverage((height_px, width_px), details_NP, patch_px, step_px)


def _details(patches_NK: Tensor, forest: Forest) -> Tensor:
    """The mean of what the maps of the chosen leaves say: (N, P)."""
    chunks = patches_NK.split(CHUNK_PATCHES)
    chosen = side_by_side(lambda chunk_NK: _best_leaves(chunk_NK, forest), chunks, forest.device)
    leaves_NA = torch.cat(list(chosen))
    tables = forest.maps_TLPK.flatten(0, 1).transpose(1, 2)
    # one leaf's map is read once for all its patches: many rows at a time are fastest
    parts = zip(patches_NK.split(_ROWS), leaves_NA.split(_ROWS), strict=True)
    return torch.cat([_mean_product(rows_NK, part_NA, tables) for rows_NK, part_NA in parts])


def _best_leaves(patches_NK: Tensor, forest: Forest) -> Tensor:
    """Local naive Bayes: the leaves of the trees that fit each patch best (3.1), of all: (N, A)."""
    spec = forest.spec
    reached = [descend(patches_NK, tree, spec.score) for tree in forest.directions_TM2K]
    leaves_NT, scores_NT = (torch.stack(parts, 1) for parts in zip(*reached, strict=True))
    best_NA = scores_NT.topk(min(spec.n_best, spec.n_trees), dim=1).indices
    return best_NA * 2**spec.depth + leaves_NT.gather(1, best_NA)


def _mean_product(rows_NK: Tensor, leaves_NA: Tensor, tables: Tensor) -> Tensor:
    n_rows, n_averaged = leaves_NA.shape
    if n_averaged == 1:
        return grouped_products(rows_NK, leaves_NA[:, 0].contiguous(), tables)
    repeated_NK = rows_NK.repeat_interleave(n_averaged, dim=0)
    made = grouped_products(repeated_NK, leaves_NA.flatten(), tables)
    return made.view(n_rows, n_averaged, -1).mean(1)
