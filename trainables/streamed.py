"""Photos that are read while a stage trains: the same pixels as a prepared view's, none on disk.

A stage announces the order in which it wants photos; blocks of them are made in that order, here
or by Ray Data on other nodes (`ray_blocks.py`), and taken out in it. Every photo that comes is held
to the one that was announced, so none can be lost, doubled or swapped.

Shape legend: B photos of a batch, N photos of a split, H rows, W columns, C colour.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.datasets import find_dataset
from trainables.errors import DataError
from trainables.index import Index
from trainables.listing import Listing, read_listing
from trainables.photo_blocks import FORMS, Block, BlockTask, make_block, pixels_column
from trainables.spec import ViewSpec
from trainables.views import View, is_prepared, open_view, stored_px

#: Photos of a block: at most so many, and at most so many bytes of pixels.
BLOCK_PHOTOS = 128
BLOCK_BYTES = 16 << 20

#: Makes blocks of batches (`row`, `path`, `box`), in their order.
Blocks = Callable[[Iterator[Block], BlockTask], Iterator[Block]]


def blocks_here(batches: Iterator[Block], task: BlockTask) -> Iterator[Block]:
    """One block after another, in this process."""
    for batch in batches:
        yield make_block(batch, task)


@dataclass(frozen=True)
class StreamedPhotos:
    """What stands for the pixels of a view: decoded when asked for.

    Attributes:
        listing: of the data set.
        spec: of the view.
        rows_N: the index rows of its photos.
    """

    listing: Listing
    spec: ViewSpec
    rows_N: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """N, H, W, C."""
        side_px = stored_px(self.spec)
        return (len(self.rows_N), side_px, side_px, 3)

    @property
    def block_photos(self) -> int:
        """Photos that are made together."""
        return max(1, min(BLOCK_PHOTOS, BLOCK_BYTES // self.photo_bytes))

    @property
    def photo_bytes(self) -> int:
        """Bytes of one photo's pixels."""
        return int(np.prod(self.shape[1:]))

    @cached_property
    def task(self) -> BlockTask:
        """What makes a block of a batch."""
        index, data = self.listing.index, self.listing.data
        drawn = None if find_dataset(data.dataset).read_photos is None else index
        return BlockTask(index.root, data, (self.spec,), drawn)

    def batches(self, places: NDArray[np.int64]) -> Iterator[Block]:
        """What block functions are told of some photos, in their order."""
        index, n = self.listing.index, self.block_photos
        for start in range(0, len(places), n):
            rows = self.rows_N[places[start : start + n]]
            paths = np.array([index.paths[row] for row in rows], dtype=object)
            yield {"row": rows, "path": paths, "box": index.boxes[rows]}

    def __len__(self) -> int:
        return len(self.rows_N)

    def __getitem__(self, places: Any) -> NDArray[np.uint8]:
        """Pixels of one photo (H, W, C) or of several (B, H, W, C), decoded in this process."""
        wanted = np.arange(len(self))[places]
        with closing(Stream(self, np.atleast_1d(wanted), blocks_here)) as stream:
            images = stream.take(np.atleast_1d(wanted))
        return images if wanted.ndim else images[0]


class Stream:
    """Photos in an announced order."""

    def __init__(self, photos: StreamedPhotos, places_N: NDArray[np.int64], blocks: Blocks) -> None:
        """Announce the order.

        Args:
            photos: of the view.
            places_N: positions in the view, in the order in which they will be taken.
            blocks: makes blocks of batches.
        """
        self._photos = photos
        self._blocks = blocks(photos.batches(places_N), photos.task)
        self._rows = np.empty(0, np.int64)
        self._images = np.empty((0, *photos.shape[1:]), np.uint8)

    def take(self, places_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The next photos (B, H, W, C), which have to be those that were announced.

        Raises:
            DataError: for a photo that cannot be used.
            RuntimeError: when other photos came than were announced.
        """
        images_BHWC = np.empty((len(places_B), *self._photos.shape[1:]), np.uint8)
        rows_B, done = self._photos.rows_N[places_B], 0
        while done < len(rows_B):
            if len(self._rows) == 0:
                self._next_block()
            n = min(len(self._rows), len(rows_B) - done)
            if (self._rows[:n] != rows_B[done : done + n]).any():
                raise RuntimeError("photos were lost, doubled or swapped on their way")
            images_BHWC[done : done + n] = self._images[:n]
            self._rows, self._images, done = self._rows[n:], self._images[n:], done + n
        return images_BHWC

    def close(self) -> None:
        """Stop the making of blocks."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()

    def _next_block(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            raise RuntimeError("fewer photos came than were announced")
        bad = [(int(row), str(why)) for row, why in zip(block["row"], block["reason"], strict=True)]
        _refuse([fault for fault in bad if fault[1]], self._photos.listing.index)
        self._rows, self._images = block["row"], block[pixels_column(0)]


def _refuse(faults: list[tuple[int, str]], index: Index) -> None:
    if faults:
        said = "; ".join(f"{index.paths[row]!r}: {why}" for row, why in faults)
        raise DataError(
            f"bad photos: {said}; replace them (f2c prepare RECIPE --verify lists all of them)"
        )


def streamed_view(data_root: Path, spec: ViewSpec) -> View:
    """A view whose pixels are made when asked for.

    Raises:
        DataError: when its data set has no listing.
    """
    if spec.form not in FORMS:
        raise DataError(f"{spec.form} views are made from prepared low views; they do not stream")
    listing = read_listing(data_root, spec.data_key)
    index = listing.index
    rows_N = index.rows(spec.split)
    return View(
        spec=spec,
        images_NHWC=StreamedPhotos(listing, spec, rows_N),
        labels_N=index.labels[rows_N],
        rows_N=rows_N,
        class_names=index.class_names,
        paths=tuple(index.paths[row] for row in rows_N),
    )


def view_at_hand(data_root: Path, spec: ViewSpec) -> View:
    """The prepared view, or where there is none, one whose photos are read when asked for.

    Raises:
        DataError: when it was neither prepared nor streamed under this root.
    """
    if is_prepared(data_root, spec):
        return open_view(data_root, spec)
    try:
        return streamed_view(data_root, spec)
    except DataError:
        return open_view(data_root, spec)  # its message is the one that helps
