"""Heat maps of what a network looks at: how far its logits move when a patch is greyed (Figure 3).

H W the photo, N M rows and columns of patch centres, B patch positions of a batch.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.errors import ConfigError, DataError
from trainables.frames import Frame, mask
from trainables.models.normalise import normalise
from trainables.occluded_layers import UntraceableError
from trainables.occluded_network import OccludedNetwork
from trainables.patch_reach import centres, patch

#: The patch's value in the photo, before it is normalised (section 3).
GREY = 128
#: The paper gives no side; a seventh of 227 px is the default (methods 6).
PATCH_PX, STRIDE_PX = 32, 4
#: Whole photos computed at once, where layers are unknown.
PHOTOS_AT_ONCE = {"cpu": 32, "cuda": 512}


class MultiplyAdds(NamedTuple):
    """Products of one map in convolutions and fully connected layers.

    `dense` computes the whole network at every position, `incremental` what the patch changes.
    """

    dense: int
    incremental: int


class Occlusion:
    """Heat maps of one network for photos of one size; what it prepares serves all of them.

    H(q) = ||psi(I) - psi(I_q)||^2, where psi are all logits, before the softmax, and I_q is the
    photo with a square of grey 128 around q, cut at the border (section 3). In float32.

    Where the layers of the network are known, each is computed again only where the patch reaches;
    otherwise (see `layers_known`) the whole network is, in batches. Both give the same map.

    Args:
        network: (B, 3, H, W) normalised photos in, (B, classes) logits out. It is put in eval
            mode; its weights are those of now.
        normalisation: what it was trained with, `caffe` or `imagenet`.
        size_px: height and width of the photos.
        patch_px: side of the square; rows q - side // 2 and the `patch_px` - 1 after it.
        stride_px: distance of neighbouring positions; 1 is the paper's map, of every pixel.

    Raises:
        ConfigError: for a patch or a stride of less than a pixel.
    """

    @torch.inference_mode()
    def __init__(
        self,
        network: nn.Module,
        normalisation: str,
        size_px: tuple[int, int],
        *,
        patch_px: int = PATCH_PX,
        stride_px: int = STRIDE_PX,
    ) -> None:
        if min(patch_px, stride_px) < 1:
            raise ConfigError(
                f"patch of {patch_px} px, stride of {stride_px} px: neither can be below 1 px"
            )
        self.network, self.normalisation, self.size_px = network.eval(), normalisation, size_px
        height, width = size_px
        self.centres = centres(height, stride_px), centres(width, stride_px)
        self._patch = (
            patch(self.centres[0], patch_px, height),
            patch(self.centres[1], patch_px, width),
        )
        device = next(network.parameters()).device
        grey_1CHW = torch.full((1, 3, height, width), GREY, dtype=torch.uint8, device=device)
        self._grey_1CHW = _inputs(grey_1CHW, normalisation)
        try:
            self._incremental = OccludedNetwork(network, self._grey_1CHW, self._patch)
        except UntraceableError:
            self._incremental = None

    @property
    def layers_known(self) -> bool:
        """Whether maps are computed layer by layer, not with the whole network."""
        return self._incremental is not None

    def map(self, image_CHW: Tensor) -> NDArray[np.float32]:
        """The heat map of a photo.

        Args:
            image_CHW: uint8 RGB of the size prepared for, on any device.

        Returns:
            (H, W) float32, H(q) at the centres, bilinear between them.

        Raises:
            DataError: for a photo of another size or type.
        """
        return filled(self.at_centres(image_CHW), self.centres, self.size_px)

    @torch.inference_mode()
    def at_centres(self, image_CHW: Tensor) -> NDArray[np.float32]:
        """The heat map at the patch centres alone, (N, M); `centres` are their rows and columns."""
        if image_CHW.shape != (3, *self.size_px) or image_CHW.dtype != torch.uint8:
            raise DataError(
                f"the heat maps are prepared for uint8 photos of (3, {self.size_px[0]}, "
                f"{self.size_px[1]}); this one is {image_CHW.dtype}, {tuple(image_CHW.shape)}"
            )
        photo_1CHW = _inputs(image_CHW[None].to(self._grey_1CHW.device), self.normalisation)
        heat_NM = np.empty([len(c) for c in self.centres], np.float32)
        with _exact_float32():
            for row_B, column_B, moved_BC in self._moved(photo_1CHW):
                heat_NM[row_B, column_B] = moved_BC.square().sum(1).cpu()
        return heat_NM

    def multiply_adds(self) -> MultiplyAdds:
        """What one map costs at all positions, with and without what is known of the layers."""
        n_positions = len(self.centres[0]) * len(self.centres[1])
        dense = n_positions * multiply_adds(self.network, self._grey_1CHW)
        incremental = self._incremental
        return MultiplyAdds(dense, incremental.multiply_adds() if incremental else dense)

    def _moved(self, photo_1CHW: Tensor) -> Iterator[tuple[NDArray, NDArray, Tensor]]:
        """Places in the grid of centres, and how the logits move there."""
        if self._incremental is None:
            yield from self._moved_as_a_whole(photo_1CHW)
            return
        bases = self._incremental.bases(photo_1CHW)
        yield from self._incremental.moved(bases, self._grey_1CHW[0, :, :1, :1])

    def _moved_as_a_whole(self, photo_1CHW: Tensor) -> Iterator[tuple[NDArray, NDArray, Tensor]]:
        logits_1C = self.network(photo_1CHW)
        n_rows, n_columns = (len(c) for c in self.centres)
        n_at_once = PHOTOS_AT_ONCE[photo_1CHW.device.type]
        for start in range(0, n_rows * n_columns, n_at_once):
            position_B = np.arange(start, min(start + n_at_once, n_rows * n_columns))
            row_B, column_B = np.divmod(position_B, n_columns)
            frame = Frame(row_B * 0, row_B * 0, *self.size_px)
            rows, columns = self._patch[0].at(row_B), self._patch[1].at(column_B)
            inside_B1HW = mask(rows, columns, frame, photo_1CHW.device)
            occluded_BCHW = torch.where(inside_B1HW, self._grey_1CHW, photo_1CHW)
            yield row_B, column_B, self.network(occluded_BCHW) - logits_1C


def filled(
    heat_NM: NDArray[np.float32],
    centres: tuple[NDArray[np.int64], NDArray[np.int64]],
    size_px: tuple[int, int],
) -> NDArray[np.float32]:
    """Bilinear between patch centres, and beyond the outermost as on them; (H, W) float32."""
    heat = heat_NM
    for axis in (0, 1):
        pixels = np.arange(size_px[axis])
        heat = np.apply_along_axis(
            lambda line, c=centres[axis], p=pixels: np.interp(p, c, line), axis, heat
        )
    return heat.astype(np.float32)


def _inputs(images_BCHW: Tensor, normalisation: str) -> Tensor:
    inputs_BCHW = normalise(images_BCHW, normalisation)
    return inputs_BCHW.contiguous(memory_format=torch.channels_last)


def _exact_float32() -> AbstractContextManager[None]:
    """Without TensorFloat-32, which cuDNN would use on a GPU."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def multiply_adds(network: nn.Module, like_1CHW: Tensor) -> int:
    """Products of one photo in a network's convolutions and fully connected layers."""
    counts: list[int] = []

    def count(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        counts.append(output.numel() * module.get_parameter("weight")[0].numel())

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        network(like_1CHW)
    for handle in handles:
        handle.remove()
    return sum(counts)
