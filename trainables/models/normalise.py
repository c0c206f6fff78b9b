"""From uint8 photos to what a network was trained to see (methods A15). B C H W as usual."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.errors import ConfigError
from trainables.models import own_kernels


class Normalisation(NamedTuple):
    """(value - mean) / std per channel on the 0-255 scale, channels in the given order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    order: str


NORMALISATIONS = {
    "imagenet": Normalisation(
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
        std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
        order="RGB",
    ),
    "caffe": Normalisation(mean=(104.007, 116.669, 122.679), std=(1.0, 1.0, 1.0), order="BGR"),
    "bgr": Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), order="BGR"),
}


def normalisation(convention: str) -> Normalisation:
    """Constants of a convention.

    `imagenet` is torchvision's, `caffe` Caffe's with the mean pixel; `bgr` is Caffe's without it,
    for networks that subtract a mean image themselves.
    """
    if convention not in NORMALISATIONS:
        known = ", ".join(NORMALISATIONS)
        raise ConfigError(f"there is no model.normalisation {convention!r} (known: {known})")
    return NORMALISATIONS[convention]


def normalise(images_BCHW: Tensor, convention: str) -> Tensor:
    """Bring RGB photos to a network's convention.

    Args:
        images_BCHW: uint8 RGB on any device, in either memory format.
        convention: name for `normalisation`.

    Returns:
        (B, C, H, W) float32 in the same memory format; on a GPU of autocast's dtype, channels last.
    """
    if normalisation(convention).order == "BGR":
        images_BCHW = images_BCHW.flip(1)
    tracing = torch.compiler.is_compiling()  # a trace's tensors are none to keep
    constants = factors.__wrapped__ if tracing else factors
    scale, shift = constants(convention, images_BCHW.device)
    if own_kernels.run_on(images_BCHW.device):
        return _on_gpu(images_BCHW, scale, shift)
    inputs_BCHW = images_BCHW.float()
    return inputs_BCHW.mul_(_row(scale, inputs_BCHW)).add_(_row(shift, inputs_BCHW))


def _on_gpu(images_BCHW: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    from trainables.models.photo_kernels import scaled  # Triton is where GPUs are

    half = torch.is_autocast_enabled("cuda")
    dtype = torch.get_autocast_dtype("cuda") if half else torch.float32
    return scaled(images_BCHW, scale, shift, dtype)


@cache
def factors(convention: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factors and summands (C,), brought to a device once: a GPU would be waited for."""
    mean, std, _ = normalisation(convention)
    scale = 1 / torch.tensor(std)
    return scale.to(device), (-torch.tensor(mean) * scale).to(device)


def _row(constants_C: Tensor, like_BCHW: Tensor) -> Tensor:
    """Repeat over one row of pixels, laid out as theirs: seven times faster than broadcasting."""
    row = torch.empty_like(like_BCHW[:1, :, :1])
    return row.copy_(constants_C[:, None, None])
