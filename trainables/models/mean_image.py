"""Caffe's mean image: subtracted from every photo, pixel by pixel, in place of one mean colour."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.errors import DataError
from trainables.models.caffemodel import read_blob
from trainables.models.npy_file import MAGIC, read_array

#: In the state dict of a network whose first layer is a `MeanImage` called `mean_image`.
MEAN_IMAGE = "mean_image.pixels_1CHW"


class MeanImage(nn.Module):
    """Subtracts a fixed image from photos that are BGR on the scale 0 to 255.

    The image is a buffer: it is saved and loaded with the weights and never trained.

    Args:
        side_px: side of the photos.
    """

    pixels_1CHW: Tensor

    def __init__(self, side_px: int) -> None:
        super().__init__()
        self.register_buffer("pixels_1CHW", torch.zeros(1, 3, side_px, side_px))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Subtract; exactly what Caffe's `transform_param { mean_file }` does to a centre crop."""
        return images_BCHW - self.pixels_1CHW


def read_mean_image(path: Path, side_px: int) -> Tensor:
    """Read `imagenet_mean.binaryproto`, or the same as a plain `.npy`, cut to a network's input.

    The cut is Caffe's centre crop, also in training: there Caffe moves the mean along with a
    random crop, by at most 14 of 256 pixels.

    Args:
        path: an array (3, height, width) or (1, 3, height, width), BGR, 0 to 255.
        side_px: side of the cut.

    Returns:
        (1, 3, side_px, side_px) float32.

    Raises:
        DataError: when it is missing, damaged, too small, or no image of that scale.
    """
    if not path.is_file():
        raise DataError(f"there is no mean image {path}; give --model.mean-image FILE")
    image = _array(path)
    image = image[0] if image.ndim == 4 and len(image) == 1 else image
    if image.ndim != 3 or image.shape[0] != 3 or min(image.shape[1:]) < side_px:
        raise DataError(
            f"{path} has shape {image.shape}; wanted a mean image (3, height, width) of at least "
            f"{side_px} px a side"
        )
    if not (image.min() >= 0 and 1 < image.max() <= 255):
        raise DataError(f"{path} is not on the scale of photos, 0 to 255")
    top, left = ((side - side_px) // 2 for side in image.shape[1:])
    cut = image[:, top : top + side_px, left : left + side_px]
    return torch.from_numpy(np.ascontiguousarray(cut, dtype=np.float32))[None]


def _array(path: Path) -> NDArray[np.floating]:
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return read_blob(path)
    try:
        return read_array(path)
    except ValueError as error:
        raise DataError(f"{path} is damaged, or not a plain array: {error}") from error
