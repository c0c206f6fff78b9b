"""Enlarge colour images with a forest (3.5): luminance by the forest, colour by bicubic.

Shape legend: N images, B images of a batch, H rows, W columns, 3 colours.
"""

from typing import Literal

import torch
from torch import Tensor

from trainables.errors import ConfigError
from trainables.superres.coarse import bicubic
from trainables.superres.colour import to_rgb, to_ycbcr
from trainables.superres.enhance import enhance
from trainables.superres.forest import Forest
from trainables.superres.threads import side_by_side

#: x4: one forest of factor 4; x2x2: one of factor 2, twice; direct: one of exactly the factor.
#: What is not `size_px` then is brought to it by bicubic.
Mode = Literal["x4", "x2x2", "direct"]
#: Images enlarged at once.
BATCH = 16


def super_resolve(images_NHW3: Tensor, forest: Forest, size_px: int, mode: Mode = "x4") -> Tensor:
    """Enlarge images to squares.

    Args:
        images_NHW3: uint8 RGB on any device.
        forest: where the work is done.
        size_px: side of the results.
        mode: see `Mode`.

    Returns:
        uint8 (N, size_px, size_px, 3) on the images' device.

    Raises:
        ConfigError: when the forest was trained for another factor than the mode needs.
        DataError: when an image is smaller than a patch.
    """
    _check_factor((images_NHW3.shape[1], images_NHW3.shape[2]), forest, size_px, mode)
    made_NHW3 = images_NHW3.new_empty(len(images_NHW3), size_px, size_px, 3)
    if len(images_NHW3) == 0:
        return made_NHW3
    batches = images_NHW3.split(BATCH)
    results = side_by_side(
        lambda batch: _batch(batch, forest, size_px, mode), batches, forest.device
    )
    for target_BHW3, result_BHW3 in zip(made_NHW3.split(BATCH), results, strict=True):
        target_BHW3.copy_(result_BHW3)
    return made_NHW3


def _check_factor(side_px: tuple[int, int], forest: Forest, size_px: int, mode: Mode) -> None:
    factor = forest.spec.factor
    if mode == "direct":
        if any(round(side * factor) != size_px for side in side_px):
            raise ConfigError(
                f"the forest enlarges x{factor:g}, which does not bring {side_px[1]} x "
                f"{side_px[0]} px to {size_px} px; train one with factor {size_px / side_px[0]:g}"
            )
        return
    needed = {"x4": 4.0, "x2x2": 2.0}[mode]
    if factor != needed:
        raise ConfigError(
            f"the forest enlarges x{factor:g}, but mode {mode} needs x{needed:g}; "
            f"train one with factor {needed:g}, or choose another mode"
        )


def _batch(images_BHW3: Tensor, forest: Forest, size_px: int, mode: Mode) -> Tensor:
    ycbcr_B3HW = to_ycbcr(images_BHW3.to(forest.device).permute(0, 3, 1, 2))
    low_BHW = ycbcr_B3HW[:, 0] / 255
    for _ in range(2 if mode == "x2x2" else 1):
        low_BHW = enhance(low_BHW, forest)
    luminance_BHW = bicubic(low_BHW, size_px, size_px) * 255
    colour_BHW = bicubic(ycbcr_B3HW[:, 1:].flatten(0, 1), size_px, size_px)
    colour_B2HW = colour_BHW.view(-1, 2, size_px, size_px)
    return to_rgb(torch.cat([luminance_BHW[:, None], colour_B2HW], 1)).permute(0, 2, 3, 1)
