"""The batches of an epoch: order, mixing and augmentation, all from one seed.

Order follows `permutation(seed(stage, epoch))`, never the order in which files arrived; so it is
known before the epoch begins, and photos that are streamed come in it.
Shape legend: B batch, N photos of a view, H W pixels, C colour.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from trainables.degrade import enlarge
from trainables.fingerprint import seed_of
from trainables.models import own_kernels
from trainables.spec import StageSpec, ViewSpec
from trainables.streamed import Blocks, Stream, StreamedPhotos, blocks_here
from trainables.threads import in_parts
from trainables.views import View

#: Positions in a view to its photos on the canvas.
Gather = Callable[[NDArray[np.int64]], Tensor]
#: A view stays in the device's memory when it takes at most this share of what is free.
RESIDENT_SHARE = 0.5


@dataclass(frozen=True)
class Source:
    """A view's pixels where batches are gathered from: host memory map or device memory."""

    view: View
    images_NHWC: Tensor
    labels_N: Tensor
    device: torch.device

    def gather(self, rows_B: NDArray[np.int64]) -> Tensor:
        """Uint8 photos (B, C, canvas, canvas) on the device, channels last."""
        return _on_canvas(_rows(self.images_NHWC, rows_B), self.view.spec, self.device)

    def ordered(self, rows_N: NDArray[np.int64]) -> AbstractContextManager[Gather]:
        """`gather` for rows whose order is known beforehand; here any order is as good."""
        del rows_N
        return nullcontext(self.gather)


@dataclass(frozen=True)
class StreamedSource:
    """A view's photos, read while they are used: `blocks` says where (here, or by Ray Data)."""

    view: View
    photos: StreamedPhotos
    labels_N: Tensor
    device: torch.device
    blocks: Blocks = blocks_here

    def gather(self, rows_B: NDArray[np.int64]) -> Tensor:
        """As `Source.gather`, read in this process."""
        return self._on_canvas(self.photos[rows_B])

    @contextmanager
    def ordered(self, rows_N: NDArray[np.int64]) -> Iterator[Gather]:
        """Begin to read rows in their order; they have to be gathered in it."""
        stream = Stream(self.photos, rows_N, self.blocks)
        try:
            yield lambda rows_B: self._on_canvas(stream.take(rows_B))
        finally:
            stream.close()

    def _on_canvas(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        return _on_canvas(torch.from_numpy(images_BHWC), self.view.spec, self.device)


AnySource = Source | StreamedSource


def moved(values: NDArray, device: torch.device) -> Tensor:
    """An array on a device, which need not have finished its earlier work for it."""
    return torch.from_numpy(values).to(device, non_blocking=True)


def _on_canvas(images_BHWC: Tensor, spec: ViewSpec, device: torch.device) -> Tensor:
    images_BCHW = images_BHWC.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return enlarge(images_BCHW, spec.canvas_px, spec.kernel, spec.antialias)


def _rows(images_NHWC: Tensor, rows_B: NDArray[np.int64]) -> Tensor:
    """Photos by their rows; in host memory each thread copies whole ones."""
    if images_NHWC.device.type != "cpu":
        return images_NHWC.index_select(0, moved(rows_B, images_NHWC.device))
    if len(rows_B) and not 0 <= rows_B.min() <= rows_B.max() < len(images_NHWC):
        raise IndexError(f"a view of {len(images_NHWC)} photos has no such row: {rows_B}")
    photos = images_NHWC.numpy()
    made = np.empty((len(rows_B), *photos.shape[1:]), photos.dtype)
    in_parts(lambda rows, part: photos.take(rows, 0, out=part, mode="clip"), rows_B, made)
    return torch.from_numpy(made)


def open_source(view: View, device: torch.device) -> AnySource:
    """Put a view where its batches come from: on the device if it fits there."""
    labels_N = torch.from_numpy(view.labels_N)
    if isinstance(view.images_NHWC, StreamedPhotos):
        return StreamedSource(view, view.images_NHWC, labels_N.to(device), device)
    images_NHWC = torch.from_numpy(cast("NDArray[np.uint8]", view.images_NHWC))
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
        if images_NHWC.nbytes <= RESIDENT_SHARE * free_bytes:
            images_NHWC = images_NHWC.to(device)
    return Source(view, images_NHWC, labels_N.to(device), device)


def epoch_batches(
    spec: StageSpec, sources: Sequence[AnySource], rows: NDArray[np.int64], seed: int
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Yield one pass over the subset.

    Args:
        spec: the stage.
        sources: one per training view.
        rows: (n_images,) the subset's rows, the same in each view.
        seed: of this stage and epoch.

    Yields:
        Photos as a list of uint8 (B, C, H, W), one tensor, or for `paired` one per view with the
        same photos and the same mirroring; and labels (B,) int64.
    """
    generator = np.random.default_rng(seed)
    which, row = _order(spec, rows, generator)
    paired = spec.mixing == "paired"
    with ExitStack() as stack:
        gathers = [
            stack.enter_context(source.ordered(row if paired else row[which == v]))
            for v, source in enumerate(sources)
        ]
        for start in range(0, len(row), spec.training.batch_size):
            batch = slice(start, start + spec.training.batch_size)
            draws = seed_of(seed, start)
            photos = (
                [gather(row[batch]) for gather in gathers]
                if paired
                else [_gather(gathers, which[batch], row[batch])]
            )
            images = [augmented(of_view, spec, draws) for of_view in photos]
            labels_N = sources[0].labels_N
            yield images, labels_N.index_select(0, moved(row[batch], labels_N.device))


def _order(
    spec: StageSpec, rows: NDArray[np.int64], generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which view and which row each place of the epoch takes."""
    n = len(rows)
    if spec.mixing == "union":
        order = generator.permutation(2 * n)
        return order // n, rows[order % n]
    if spec.mixing == "balanced":
        pairs = np.stack([generator.permutation(n), generator.permutation(n)], axis=1)
        return np.tile([0, 1], n), rows[pairs.reshape(-1)]
    order = rows[generator.permutation(n)]
    if spec.mixing == "replay":
        return (generator.random(n) >= spec.replay_share).astype(np.int64), order
    flips = generator.integers(0, 2, n) if spec.mixing == "coin_flip" else np.zeros(n, np.int64)
    return flips, order


def _gather(
    gathers: Sequence[Gather], which_B: NDArray[np.int64], row_B: NDArray[np.int64]
) -> Tensor:
    if len(gathers) == 1:
        return gathers[0](row_B)
    parts = [np.flatnonzero(which_B == v) for v in range(len(gathers))]
    together = torch.cat(
        [gather(row_B[p]) for gather, p in zip(gathers, parts, strict=True) if len(p)]
    )
    places = np.argsort(np.concatenate(parts))
    return together[moved(places, together.device)]


def augmented(images_BCHW: Tensor, spec: StageSpec, seed: int) -> Tensor:
    """Change a batch of a stage's photos at random, by a seed; uint8 stays uint8.

    The batch may be changed in place: whoever gathered it keeps no other use of it.
    """
    augment, generator = spec.augment, np.random.default_rng(seed)
    if augment.random_resolution_px is not None:
        low_px, high_px = augment.random_resolution_px
        resolution_px = int(generator.integers(low_px, high_px + 1))
        images_BCHW = _blur(images_BCHW, resolution_px, spec.views[0])
    if augment.shift_px:
        images_BCHW = _shift(images_BCHW, augment.shift_px, generator)
    if augment.crop_px is not None:
        images_BCHW = _random_crop(images_BCHW, augment.crop_px, generator)
    if augment.mirror:
        images_BCHW = _mirror(images_BCHW, generator.random(len(images_BCHW)) < 0.5)
    return images_BCHW


def _mirror(images_BCHW: Tensor, mirrored_B: NDArray[np.bool_]) -> Tensor:
    device = images_BCHW.device
    if own_kernels.run_on(device):
        from trainables.models.photo_kernels import mirrored  # Triton is where GPUs are

        return mirrored(images_BCHW, moved(mirrored_B, device))
    if device.type != "cpu":
        chosen = moved(mirrored_B, device)[:, None, None, None]
        return torch.where(chosen, images_BCHW.flip(-1), images_BCHW)
    images_BHWC = images_BCHW.permute(0, 2, 3, 1)  # a view: the batch itself is changed
    for place in np.flatnonzero(mirrored_B):
        images_BHWC[place] = images_BHWC[place].flip(1)
    return images_BCHW


def _blur(images_BCHW: Tensor, resolution_px: int, view: ViewSpec) -> Tensor:
    """Down and up by the kernel that makes the low views, which the test photos are made by."""
    small = enlarge(images_BCHW, resolution_px, view.kernel, view.antialias)
    return enlarge(small, images_BCHW.shape[-1], view.kernel, view.antialias)


def _shift(images_BCHW: Tensor, shift_px: int, generator: np.random.Generator) -> Tensor:
    side_px = images_BCHW.shape[-1]
    bordered = pad(images_BCHW.float(), [shift_px] * 4, mode="replicate").to(torch.uint8)
    return _random_crop(bordered, side_px, generator)


def _random_crop(images_BCHW: Tensor, crop_px: int, generator: np.random.Generator) -> Tensor:
    room_px = images_BCHW.shape[-1] - crop_px
    corners = generator.integers(0, room_px + 1, (len(images_BCHW), 2))
    return torch.stack(
        [
            image[:, top : top + crop_px, left : left + crop_px]
            for image, (top, left) in zip(images_BCHW, corners, strict=True)
        ]
    ).contiguous(memory_format=torch.channels_last)


def centre_crop(images_BCHW: Tensor, crop_px: int | None) -> Tensor:
    """The evaluation's crop out of the canvas (A10); None is the whole canvas."""
    if crop_px is None:
        return images_BCHW
    start_px = (images_BCHW.shape[-1] - crop_px) // 2
    window = slice(start_px, start_px + crop_px)
    return images_BCHW[:, :, window, window]
