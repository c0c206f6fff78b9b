"""Apply a forest to luminance (3.3).

Shape legend: B images, H rows, W columns, N patches, K axes, A averaged trees.
"""

from torch import Tensor

from trainables.errors import DataError
from trainables.superres import loops, products
from trainables.superres.coarse import back_project, coarse
from trainables.superres.forest import Forest
from trainables.superres.patches import coverage, fill_grid, project


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
    """What the coarse planes lack: the mean of overlapping patches, and of the averaged trees.

    Leaves are chosen by angles and maps are linear, so patches keep their lengths.
    """
    sides = forest.spec.patch_px, forest.spec.step_px
    way = loops if forest.device.type == "cpu" else products
    patches_NK = project(grid_BHW, forest.axes_PK, *sides)
    leaves_NA = way.best_leaves(patches_NK, forest)
    summed_BHW = way.lay_details(patches_NK, leaves_NA, forest, grid_BHW.shape)
    size_px = grid_BHW.shape[1], grid_BHW.shape[2]
    return summed_BHW / (coverage(size_px, grid_BHW, *sides) * leaves_NA.shape[1])
