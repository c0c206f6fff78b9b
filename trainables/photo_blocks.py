"""Some photos to every form of each: the unit of work that is done here or on another node.

Shape legend: N photos, H rows, W columns, C colour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.datasets import find_dataset
from trainables.decode import box_on_photo, read_photo
from trainables.degrade import crop, high_pixels, low_pixels
from trainables.errors import DataError
from trainables.faults import fault_point
from trainables.index import Index
from trainables.spec import DataSpec, ViewSpec
from trainables.views import stored_px

#: The forms that are made from photos; `sr` is made from prepared low views.
FORMS = {"high": high_pixels, "low": low_pixels}

#: Photos that a worker holds at once: of those it writes itself so many as stay in its cache, of
#: those it sends so many that each message is worth its cost.
WRITTEN_PHOTOS, SENT_PHOTOS = 64, 512

#: Columns of equal length, one place a photo.
Block = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class BlockTask:
    """What a worker needs beside its rows.

    Attributes:
        root: folder that paths are relative to, the same on all nodes.
        data: of the recipe.
        views: to make, all of one split.
        drawn: the index of a data set that draws its photos; None where they are files.
        maps: of `node`, the .npy file of each view, where pixels go; elsewhere they are sent.
        node: whose files `maps` are, by the name that workers know theirs by.
    """

    root: Path
    data: DataSpec
    views: tuple[ViewSpec, ...]
    drawn: Index | None
    maps: tuple[Path, ...] = ()
    node: str = ""


def make_blocks(batch: Block, task: BlockTask) -> Iterator[Block]:
    """`make_block` of a bounded number of photos at a time."""
    size = WRITTEN_PHOTOS if task.maps else SENT_PHOTOS
    for start in range(0, len(batch["row"]), size):
        part = {name: column[start : start + size] for name, column in batch.items()}
        yield make_block(part, task)


def make_block(batch: Block, task: BlockTask) -> Block:
    """Read some photos and make every form of each; a bad photo does not stop the others.

    Args:
        batch: `row` (N,) int64, `path` (N,) str, `box` (N, 4) float64; `place` (N,) int64 in
            `task.maps`, where there are such.
        task: what to make of them.

    Returns:
        `row` as given, `clipped` (N,) bool, `reason` (N,) str, empty for good photos, and unless
        the task has maps per view a `pixels_column` (N, H, W, 3) uint8, zero for bad photos.
    """
    n = len(batch["row"])
    sides_px = [stored_px(view) for view in task.views]
    images = [np.zeros((n, side_px, side_px, 3), np.uint8) for side_px in sides_px]
    clipped_N, reasons = _fill(batch, task, images)
    if task.maps:
        for file, images_NHWC in zip(task.maps, images, strict=True):
            _put(file, batch["place"], images_NHWC)
    sent = () if task.maps else images
    pixels = {pixels_column(number): images_NHWC for number, images_NHWC in enumerate(sent)}
    return {"row": batch["row"], "clipped": clipped_N, "reason": np.array(reasons), **pixels}


def _put(file: Path, places_N: NDArray[np.int64], images_NHWC: NDArray[np.uint8]) -> None:
    """Write photos into their places, neighbours at once: through a map each page is a fault."""
    first_byte = np.load(file, mmap_mode="r", allow_pickle=False).offset
    starts = np.flatnonzero(np.diff(places_N, prepend=-2) != 1)
    runs = np.split(images_NHWC, starts[1:])
    with file.open("r+b") as stored:
        for run_NHWC, place in zip(runs, places_N[starts], strict=True):
            stored.seek(first_byte + int(place) * images_NHWC[0].nbytes)
            stored.write(run_NHWC.data)


def _fill(
    batch: Block, task: BlockTask, images: list[NDArray[np.uint8]]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Make every form of each photo; which boxes were clipped, and why not."""
    photos = _draw(batch, task)
    n = len(batch["row"])
    clipped_N, reasons = np.zeros(n, np.bool_), [""] * n
    for i in range(n):
        fault_point("photo")
        try:
            photo_HWC = read_photo(task.root / batch["path"][i]) if photos is None else photos[i]
            height_px, width_px = photo_HWC.shape[:2]
            box_4, clipped_N[i] = box_on_photo(batch["box"][i], width_px, height_px)
        except DataError as fault:
            reasons[i] = str(fault)
            continue
        for view, images_NHWC in zip(task.views, images, strict=True):
            object_HWC = crop(photo_HWC, box_4, view.box_margin_px)
            images_NHWC[i] = FORMS[view.form](object_HWC, view)
    return clipped_N, reasons


def pixels_column(number: int) -> str:
    """Name of the column that holds the view with that number in its task."""
    return f"pixels_{number}"


def _draw(batch: Block, task: BlockTask) -> list[NDArray[np.uint8]] | None:
    """The photos of a data set that draws them, or None where they are files."""
    draw = find_dataset(task.data.dataset).read_photos
    if draw is None or task.drawn is None:
        return None
    return draw(task.drawn, task.data, batch["row"])
