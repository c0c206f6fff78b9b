"""Cut out, shrink and enlarge pixels: how high and low views are made (section 4; 1.2, 1.4).

The definition of every resize is Pillow's arithmetic: a horizontal pass, then a vertical one, the
result of each clamped and rounded to uint8. (Pillow 13 itself swaps the passes for tall photos,
which moves single values by up to 11 levels; here the order never changes.) Without rounding
between the passes values differ by up to 13 levels.

Shape legend: B images, C colour, H rows, W columns, O output places, I input places.
"""

import io
import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from trainables.spec import Kernel, ViewSpec
from trainables.views import check_resolution, stored_px

#: Reach of a kernel to either side, in samples of the coarser grid.
_REACH = {"bicubic": 2.0, "bilinear": 1.0, "area": 0.5}
#: Keys' cubic coefficient: Pillow's and torch's antialiased, and torch's without antialias.
_CUBIC_ANTIALIAS = -0.5
_CUBIC_PLAIN = -0.75
#: Pillow's weights are integers of this unit; it decides to which side a mean of x.5 is rounded.
_PILLOW_ONE = 2**22


def crop(
    photo_HWC: NDArray[np.uint8], box_4: NDArray[np.float64], margin_px: int
) -> NDArray[np.uint8]:
    """Cut the object out of its photo, without keeping its aspect for later (1.2, A20).

    Args:
        photo_HWC: uint8.
        box_4: x1, y1, x2, y2 inside the photo, half-open; pixels it touches are kept whole.
        margin_px: added on each side, as far as the photo reaches.

    Returns:
        uint8 view of the photo.
    """
    height_px, width_px = photo_HWC.shape[:2]
    left, top = (max(0, math.floor(edge) - margin_px) for edge in box_4[:2])
    right = min(width_px, math.ceil(box_4[2]) + margin_px)
    bottom = min(height_px, math.ceil(box_4[3]) + margin_px)
    return photo_HWC[top:bottom, left:right]


def resize(
    image_HWC: NDArray[np.uint8],
    height_px: int,
    width_px: int,
    kernel: Kernel,
    antialias: bool,  # noqa: FBT001
) -> NDArray[np.uint8]:
    """Resize one image on the CPU; see `enlarge` for the kernels.

    Returns:
        uint8 (height_px, width_px, C).
    """
    # a batch of one, then permuted: the other way round torch takes it for planes, and copies
    image_BHWC = torch.from_numpy(np.require(image_HWC, requirements=["C", "W"]))[None]
    image_BCHW = image_BHWC.permute(0, 3, 1, 2)
    resized_BCHW = _resample(image_BCHW, height_px, width_px, kernel, antialias=antialias)
    # numpy's copy: torch's would wake its threads for every small image
    return np.ascontiguousarray(resized_BCHW[0].permute(1, 2, 0).numpy())


def enlarge(
    images_BCHW: Tensor,
    canvas_px: int,
    kernel: Kernel,
    antialias: bool,  # noqa: FBT001
) -> Tensor:
    """Bring a batch of low images to the canvas, on whatever device it lies.

    Args:
        images_BCHW: uint8; fastest in channels_last.
        canvas_px: side of the result; the images themselves come back if they have it already.
        kernel: bicubic and bilinear; `area` is Pillow's box, `nearest` the pixel under the centre.
        antialias: widen the kernel when shrinking, bicubic with a = -0.5. Without it as torch's
            `interpolate` does, bicubic with a = -0.75. `area` and `nearest` do not depend on it.

    Returns:
        uint8 (B, C, canvas_px, canvas_px).
    """
    if images_BCHW.shape[-2:] == (canvas_px, canvas_px):
        return images_BCHW
    return _resample(images_BCHW, canvas_px, canvas_px, kernel, antialias=antialias)


def _resample(
    images_BCHW: Tensor, height_px: int, width_px: int, kernel: Kernel, *, antialias: bool
) -> Tensor:
    if kernel == "nearest":
        return _pick_nearest(images_BCHW, height_px, width_px)
    if kernel == "area" or images_BCHW.device.type != "cpu":
        return resample_by_products(images_BCHW, height_px, width_px, kernel, antialias=antialias)
    # torch's uint8 kernel on the CPU: two rounded passes, about four times as fast as Pillow
    return interpolate(images_BCHW, (height_px, width_px), mode=kernel, antialias=antialias)


def resample_by_products(
    images_BCHW: Tensor, height_px: int, width_px: int, kernel: Kernel, *, antialias: bool
) -> Tensor:
    """Resize by two matrix products, rounded between: what GPUs do.

    Needs torch's default float32 products; TensorFloat32
    (`torch.set_float32_matmul_precision("high")`) changes values by a level.

    Args:
        images_BCHW: uint8, on any device.
        height_px: of the result.
        width_px: of the result.
        kernel: any but `nearest`, which has no product.
        antialias: see `enlarge`.

    Returns:
        uint8 (B, C, height_px, width_px).
    """
    device = images_BCHW.device
    height_in_px, width_in_px = images_BCHW.shape[-2:]
    across_OI = _on_device(width_in_px, width_px, kernel, device, antialias=antialias)
    down_OI = _on_device(height_in_px, height_px, kernel, device, antialias=antialias)
    with torch.autocast(device.type, enabled=False):
        narrowed = _round(images_BCHW.float() @ across_OI.T)
        return _round(down_OI @ narrowed).to(torch.uint8)


def _round(values: Tensor) -> Tensor:
    return (values + 0.5).floor_().clamp_(0, 255)


@lru_cache(maxsize=64)
def _on_device(
    n_in: int, n_out: int, kernel: Kernel, device: torch.device, *, antialias: bool
) -> Tensor:
    matrix_OI = kernel_matrix(n_in, n_out, kernel, antialias=antialias)
    return torch.from_numpy(matrix_OI).float().to(device)


def kernel_matrix(n_in: int, n_out: int, kernel: Kernel, *, antialias: bool) -> NDArray[np.float64]:
    """The weights of one pass along one axis.

    Args:
        n_in: samples before.
        n_out: samples after.
        kernel: any but `nearest`.
        antialias: Pillow's weights (kernel as wide as the shrinking, cut off at the border);
            otherwise torch's (kernel of fixed width, border repeated).

    Returns:
        (n_out, n_in); each row sums to one.
    """
    scale = n_in / n_out
    if antialias or kernel == "area":
        return _cut_off_weights(n_in, n_out, kernel, max(scale, 1.0))
    centres_O = (np.arange(n_out) + 0.5) * scale - 0.5
    reach = int(_REACH[kernel])
    taps_OT = np.floor(centres_O)[:, None] + np.arange(1 - reach, 1 + reach)
    weights_OT = _profile(kernel, taps_OT - centres_O[:, None], _CUBIC_PLAIN)
    matrix_OI = np.zeros((n_out, n_in))
    places_OT = np.clip(taps_OT, 0, n_in - 1).astype(np.int64)
    np.add.at(matrix_OI, (np.arange(n_out)[:, None], places_OT), weights_OT)
    return matrix_OI


def _cut_off_weights(n_in: int, n_out: int, kernel: Kernel, width: float) -> NDArray[np.float64]:
    centres_O1 = ((np.arange(n_out) + 0.5) * (n_in / n_out))[:, None]
    reach = _REACH[kernel] * width
    first_O1 = np.maximum(0, np.floor(centres_O1 - reach + 0.5))
    last_O1 = np.minimum(n_in, np.floor(centres_O1 + reach + 0.5))
    places_I = np.arange(n_in)
    # times the inverse, as Pillow: a box's edge on a sample falls to the same side
    distance_OI = (places_I - centres_O1 + 0.5) * (1.0 / width)
    weights_OI = _profile(kernel, distance_OI, _CUBIC_ANTIALIAS)
    weights_OI[(places_I < first_O1) | (places_I >= last_O1)] = 0.0
    weights_OI /= weights_OI.sum(axis=1, keepdims=True)
    return np.rint(weights_OI * _PILLOW_ONE) / _PILLOW_ONE


def _profile(kernel: Kernel, distance: NDArray[np.float64], cubic: float) -> NDArray[np.float64]:
    """A kernel's weight at a distance from its centre."""
    x = np.abs(distance)
    if kernel == "area":
        return ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)
    if kernel == "bilinear":
        return np.maximum(0.0, 1.0 - x)
    near = ((cubic + 2) * x - (cubic + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * cubic
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _pick_nearest(images_BCHW: Tensor, height_px: int, width_px: int) -> Tensor:
    rows_O = _nearest_places(images_BCHW.shape[-2], height_px).to(images_BCHW.device)
    columns_O = _nearest_places(images_BCHW.shape[-1], width_px).to(images_BCHW.device)
    return images_BCHW.index_select(-2, rows_O).index_select(-1, columns_O)


@lru_cache(maxsize=64)
def _nearest_places(n_in: int, n_out: int) -> Tensor:
    # summed step by step as Pillow does, so that ties fall to the same side
    steps_O = np.full(n_out, n_in / n_out)
    steps_O[0] /= 2
    return torch.from_numpy(np.minimum(np.cumsum(steps_O).astype(np.int64), n_in - 1))


def high_pixels(object_HWC: NDArray[np.uint8], view: ViewSpec) -> NDArray[np.uint8]:
    """The high form: the object on the square canvas, its aspect not kept (1.2).

    Returns:
        uint8 (canvas_px, canvas_px, 3).
    """
    side_px = view.canvas_px
    return resize(object_HWC, side_px, side_px, view.kernel, view.antialias)


def low_pixels(object_HWC: NDArray[np.uint8], view: ViewSpec) -> NDArray[np.uint8]:
    """The low form at its native size; it is enlarged to the canvas when used (1.2; A11-A14).

    Returns:
        uint8 (resolution_px, resolution_px, 3).

    Raises:
        ConfigError: when the resolution is above the canvas.
    """
    side_px = stored_px(view)
    check_resolution(side_px, view.canvas_px)
    source_HWC = high_pixels(object_HWC, view) if view.degrade_from == "canvas" else object_HWC
    low_HWC = resize(source_HWC, side_px, side_px, view.kernel, view.antialias)
    return low_HWC if view.jpeg_quality is None else _through_jpeg(low_HWC, view.jpeg_quality)


def _through_jpeg(image_HWC: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).convert("RGB"))
