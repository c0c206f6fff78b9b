"""`bvlc_alexnet.npy` as caffe-tensorflow writes it: a dictionary of layers, in TensorFlow's axes.

Kernels come as height, width, in, out (H W I O) and leave as Caffe's O I H W; matrices come as
(in, out) and leave as (out, in). In what order the inputs of `fc6` lie, the file does not say: see
`channels_first`.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainables.errors import DataError
from trainables.models.npy_file import read_header
from trainables.models.plain_pickle import Array, ForbiddenError, read_pickle

Fc6Order = Literal["auto", "chw", "hwc"]
#: The map that `fc6` reads: channels, height, width.
FC6_CHW = (256, 6, 6)
#: Units that the order of `fc6` is judged by: 512 x 15,360 pairs, so chance is about 0.0004.
JUDGED_UNITS = 512
#: The better order's correlation must reach this, and this many times the other's.
MIN_CORRELATION, MIN_RATIO = 0.01, 3.0


def read_npy_layers(path: Path, fc6_order: Fc6Order) -> dict[str, list[NDArray[np.float32]]]:
    """Read the layers of a `.npy` file, each as [weight, bias] in Caffe's axes. Runs no pickle.

    Args:
        path: of an array that holds one dictionary, `{layer: [weight, bias]}` or
            `{layer: {"weights": weight, "biases": bias}}`.
        fc6_order: how the inputs of `fc6` lie; `auto` finds out.

    Raises:
        DataError: when it is damaged, holds other objects, or leaves the order of `fc6` open.
    """
    pairs = {name: _pair(path, name, blobs) for name, blobs in _dictionary(path).items()}
    if sum(array.nbytes for pair in pairs.values() for array in pair) > path.stat().st_size:
        raise DataError(f"{path} uses an array for several layers; that is no trained network")
    layers = {name: [_in_caffes_axes(array) for array in pair] for name, pair in pairs.items()}
    if "fc6" in layers:
        layers["fc6"][0] = _fc6_in_caffes_order(path, layers["fc6"][0], fc6_order)
    return layers


def _dictionary(path: Path) -> Mapping[str, Any]:
    try:
        content = _content(path)
    except ForbiddenError as error:
        raise DataError(
            f"{path} holds Python objects ({error}); refused: only dictionaries of plain "
            "float arrays are read"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is damaged, or not a .npy file: {error}") from error
    layers = content[0] if isinstance(content, list) and len(content) == 1 else None
    if not isinstance(layers, dict):
        raise DataError(f"{path} holds no dictionary of layers; wanted {{layer: [weight, bias]}}")
    return layers


def _content(path: Path) -> Any:
    with path.open("rb") as file:
        header = read_header(file)
        if not header.dtype.hasobject:
            raise ValueError(f"it is one array of shape {header.shape}, not a dictionary of layers")
        outer = read_pickle(file.read())
    return outer.value if isinstance(outer, Array) else None


def _pair(path: Path, name: str, blobs: Any) -> list[NDArray[np.floating]]:
    if isinstance(blobs, dict):
        blobs = [blobs.get("weights"), blobs.get("biases")]
    blobs = blobs.value if isinstance(blobs, Array) else blobs
    arrays = [blob.value for blob in blobs if isinstance(blob, Array)] if _is_list(blobs) else []
    floats = [array for array in arrays if isinstance(array, np.ndarray)]
    if len(floats) != 2 or len(blobs) != 2:
        raise DataError(f"{path}: layer {name[:60]!r} is not a pair of weight and bias arrays")
    return floats


def _is_list(blobs: Any) -> bool:
    return isinstance(blobs, list | tuple)


def _in_caffes_axes(array: NDArray[np.floating]) -> NDArray[np.float32]:
    """H W I O to O I H W, (in, out) to (out, in); a bias as it is."""
    axes = (3, 2, 0, 1) if array.ndim == 4 else tuple(reversed(range(array.ndim)))
    with np.errstate(over="ignore"):
        return np.array(array.transpose(axes), dtype=np.float32, order="C")


def _fc6_in_caffes_order(
    path: Path, weight: NDArray[np.float32], order: Fc6Order
) -> NDArray[np.float32]:
    if weight.ndim != 2 or weight.shape[1] != math.prod(FC6_CHW):
        return weight
    if order == "auto":
        first = channels_first(weight)
        if first is None:
            raise DataError(
                f"{path}: whether fc6 reads channels or positions first cannot be told from its "
                "weights; say --model.fc6-order hwc (TensorFlow's) or chw (Caffe's)"
            )
        order = "chw" if first else "hwc"
    if order == "chw":
        return weight
    channels, height, width = FC6_CHW
    by_position = weight.reshape(-1, height, width, channels)
    return np.ascontiguousarray(by_position.transpose(0, 3, 1, 2)).reshape(weight.shape)


def channels_first(weight: NDArray[np.float32]) -> bool | None:
    """Whether the inputs of `fc6` lie as (256, 6, 6), Caffe's way, or as (6, 6, 256).

    A trained unit reads neighbouring positions of one channel with similar weights, since what it
    looks for moves a little between photos; between channels, whose numbers mean nothing, there is
    no such likeness. So the correlation of weights between neighbours is high in the true order and
    near zero in the other.

    Args:
        weight: (units, 9216).

    Returns:
        None where neither order stands out: random weights, or a file that has been mixed up.
    """
    judged = weight[:: max(1, len(weight) // JUDGED_UNITS)].astype(np.float64)
    channels, height, width = FC6_CHW
    first = neighbour_correlation(judged.reshape(-1, channels, height, width))
    by_position = judged.reshape(-1, height, width, channels)
    last = neighbour_correlation(by_position.transpose(0, 3, 1, 2))
    better, other = max(first, last), abs(min(first, last))
    if better < MIN_CORRELATION or better < MIN_RATIO * other:
        return None
    return first > last


def neighbour_correlation(weight_UCHW: NDArray[np.float64]) -> float:
    """Pearson's correlation of weights that are next to each other, down or across, in a map.

    Args:
        weight_UCHW: (units, channels, height, width).

    Returns:
        In [-1, 1]; 0 for constant weights.
    """
    centred = weight_UCHW - weight_UCHW.mean()
    down = (centred[:, :, 1:] * centred[:, :, :-1]).mean()
    across = (centred[..., 1:] * centred[..., :-1]).mean()
    variance = (centred**2).mean()
    return float((down + across) / 2 / variance) if variance > 0 else 0.0
