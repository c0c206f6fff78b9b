"""Photos to prepared views: each decoded once, cut out, made into every form.

Small sets are made in this process, large ones by Ray Data, by the same block function. It must not
run inside a Tune trial: the trial holds the CPUs that Ray Data waits for.

Shape legend: N photos of a block or split, H rows, W columns, C colour.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.datasets import find_dataset
from trainables.disk import fsync
from trainables.errors import DataError
from trainables.fingerprint import key_of
from trainables.index import Index
from trainables.photo_blocks import FORMS, Block, BlockTask, make_blocks, pixels_column
from trainables.ray_blocks import (
    blocks_by_ray,
    make_blocks_on_worker,
    n_cpus_of_cluster,
    node,
    ray_is_up,
)
from trainables.spec import DataSpec, Split, ViewSpec
from trainables.view_drafts import ViewDraft
from trainables.views import check_resolution, is_prepared, stored_px, view_folder

#: Below this a cold Ray Data (20 s) costs more than it saves.
IN_PROCESS_PHOTOS = 2000
#: Photos of one of Ray Data's tasks: fewest and most, and so many that their files have about so
#: many bytes; so often is progress told. Between two tasks a worker waits a little for Ray Data to
#: look, so that small ones cost time.
FEWEST_PHOTOS, MOST_PHOTOS, TASK_BYTES = 64, 2048, 32_000_000
#: Files that are looked at for their size.
SAMPLE_FILES = 100
#: Each CPU of a cluster gets so many tasks, so that none waits long for the last of another.
TASKS_A_CPU = 4
#: Bad photos listed in the message itself; more go to a file beside the views.
LISTED_FAULTS = 20
FAULT_FILE = "bad-photos.txt"


class PhotoFault(NamedTuple):
    """A photo that cannot be used: its index row, its path and the reason."""

    row: int
    path: str
    reason: str


@dataclass(frozen=True)
class PrepareReport:
    """What was prepared now; views that were there already count nothing.

    Attributes:
        n_photos: decoded, over all splits.
        n_clipped_boxes: boxes that reached beyond their photo and were cut off there.
        seconds: of wall time.
        prepared: folder names of the new views.
    """

    n_photos: int
    n_clipped_boxes: int
    seconds: float
    prepared: tuple[str, ...]


@dataclass
class _Tally:
    """What a pass over a split has seen."""

    n_clipped_boxes: int
    faults: list[PhotoFault]


Blocks = Callable[[Index, NDArray[np.int64], BlockTask], Iterator[Block]]


def prepare(
    index: Index,
    data: DataSpec,
    views: Sequence[ViewSpec],
    data_root: Path,
    on_progress: Callable[[int, int], None],
) -> PrepareReport:
    """Make the views that are missing; all those of a split in one pass over its photos.

    Args:
        index: of the data set.
        data: that the index was read with.
        views: high and low ones of any splits.
        data_root: `<root>/data`.
        on_progress: called with photos done and photos in all.

    Returns:
        What was done.

    Raises:
        ConfigError: when a low view is above its canvas.
        DataError: with every bad photo of every split; also in `bad-photos.txt` when they are many.
            No view of a split with a bad photo remains.
        OSError: ENOSPC when the disk is full.
    """
    started = time.monotonic()
    work = _missing_by_split(views, data_root)
    rows_of = {split: _rows(index, split) for split in work}
    n_photos = sum(len(rows) for rows in rows_of.values())
    blocks = _blocks_by_ray if _is_large(n_photos) else _blocks_here
    drawn = None if find_dataset(data.dataset).read_photos is None else index
    tally = _Tally(0, [])
    n_done = 0
    for split, specs in work.items():
        task = BlockTask(index.root, data, specs, drawn)

        def watched(
            task: BlockTask, split: Split = split, n_before: int = n_done
        ) -> Iterator[Block]:
            made = blocks(index, rows_of[split], task)
            return _watch(made, n_before, n_photos, on_progress)

        _prepare_split(index, rows_of[split], task, data_root, watched, tally)
        n_done += len(rows_of[split])
    _refuse(tally.faults, index, n_photos, data_root)
    names = tuple(view_folder(data_root, spec).name for specs in work.values() for spec in specs)
    return PrepareReport(n_photos, tally.n_clipped_boxes, time.monotonic() - started, names)


def _missing_by_split(
    views: Sequence[ViewSpec], data_root: Path
) -> dict[Split, tuple[ViewSpec, ...]]:
    distinct = {key_of(view): view for view in views}
    work: dict[Split, tuple[ViewSpec, ...]] = {}
    for view in distinct.values():
        if view.form not in FORMS:
            raise ValueError(f"{view.form} views are made from prepared low views, not from photos")
        check_resolution(stored_px(view), view.canvas_px)
        if not is_prepared(data_root, view):
            work[view.split] = (*work.get(view.split, ()), view)
    return work


def _rows(index: Index, split: Split) -> NDArray[np.int64]:
    rows = index.rows(split)
    if len(rows) == 0:
        raise DataError(
            f"{index.dataset} under {index.root} has no {split} photos; check --data.root and the "
            "split in its annotations"
        )
    return rows


def _is_large(n_photos: int) -> bool:
    """Whether Ray Data pays; without a cluster it would start one of its own."""
    return n_photos >= IN_PROCESS_PHOTOS and ray_is_up()


def _watch(
    blocks: Iterable[Block], n_before: int, n_photos: int, on_progress: Callable[[int, int], None]
) -> Iterator[Block]:
    """Pass blocks on and tell after each how many photos are done."""
    n_done = n_before
    for block in blocks:
        yield block
        n_done += len(block["row"])
        on_progress(n_done, n_photos)


def _prepare_split(
    index: Index,
    rows_N: NDArray[np.int64],
    task: BlockTask,
    data_root: Path,
    blocks: Callable[[BlockTask], Iterator[Block]],
    tally: _Tally,
) -> None:
    """Fill the drafts of a split's views and commit them unless a photo is bad."""
    n_faults, n_clipped = len(tally.faults), tally.n_clipped_boxes
    with ExitStack() as stack:
        drafts = [
            stack.enter_context(ViewDraft(data_root, view, index, rows_N)) for view in task.views
        ]
        maps = tuple(draft.images_file for draft in drafts)
        _fill(drafts, index, rows_N, blocks(replace(task, maps=maps, node=node())), tally)
        if len(tally.faults) == n_faults:
            for draft in drafts:
                draft.commit(tally.n_clipped_boxes - n_clipped)


def _fill(
    drafts: Sequence[ViewDraft],
    index: Index,
    rows_N: NDArray[np.int64],
    blocks: Iterable[Block],
    tally: _Tally,
) -> None:
    """Write what was sent into its place, in whatever order; see that no photo is missing."""
    seen_N = np.zeros(len(rows_N), np.int64)
    for block in blocks:
        places = np.searchsorted(rows_N, block["row"])
        for number, draft in enumerate(drafts):
            if pixels_column(number) in block:
                draft.images_NHWC[places] = block[pixels_column(number)]
        np.add.at(seen_N, places, 1)
        tally.n_clipped_boxes += int(block["clipped"].sum())
        bad = [(int(row), str(why)) for row, why in zip(block["row"], block["reason"], strict=True)]
        tally.faults += [PhotoFault(row, index.paths[row], why) for row, why in bad if why]
    if (seen_N != 1).any():
        raise DataError(
            f"{int((seen_N == 0).sum())} of {len(rows_N)} photos were lost and "
            f"{int((seen_N > 1).sum())} came twice while preparing; run the same command again"
        )


def _refuse(faults: list[PhotoFault], index: Index, n_photos: int, data_root: Path) -> None:
    if not faults:
        return
    lines = [f"row {row}  {path!r}: {reason}" for row, path, reason in sorted(faults)]
    text = f"{len(lines)} of {n_photos} photos of {index.dataset} under {index.root} are bad:"
    shown = "".join(f"\n  {line}" for line in lines[:LISTED_FAULTS])
    if len(lines) > LISTED_FAULTS:
        file = data_root / FAULT_FILE
        file.write_text("\n".join([text, *lines, ""]))
        shown += f"\n  and {len(lines) - LISTED_FAULTS} more; all are listed in {file}"
    raise DataError(
        f"{text}{shown}\nreplace these photos, or take them out of the data set, and run the same "
        "command again"
    )


def _batch(index: Index, rows_N: NDArray[np.int64]) -> Block:
    """What a block function is told of photos, and their places in the maps."""
    return {
        "row": rows_N,
        "place": np.arange(len(rows_N)),
        "path": np.array([index.paths[row] for row in rows_N], dtype=object),
        "box": index.boxes[rows_N],
    }


def _blocks_here(index: Index, rows_N: NDArray[np.int64], task: BlockTask) -> Iterator[Block]:
    return make_blocks(_batch(index, rows_N), task)


def _blocks_by_ray(index: Index, rows_N: NDArray[np.int64], task: BlockTask) -> Iterator[Block]:
    size = min(_task_photos(index, rows_N), -(-len(rows_N) // (TASKS_A_CPU * n_cpus_of_cluster())))
    for block in blocks_by_ray(_batch(index, rows_N), make_blocks_on_worker, size, task=task):
        for file in task.maps:  # while workers go on; at the end the disk would be waited for
            fsync(file)
        yield block


def _task_photos(index: Index, rows_N: NDArray[np.int64]) -> int:
    """Photos of a task, by the size of some of the files."""
    some = rows_N[:: max(1, len(rows_N) // SAMPLE_FILES)]
    files = [index.root / index.paths[row] for row in some]
    sizes = [file.stat().st_size for file in files if file.is_file()]
    mean_bytes = max(1.0, sum(sizes) / max(1, len(sizes)))
    return int(np.clip(TASK_BYTES / mean_bytes, FEWEST_PHOTOS, MOST_PHOTOS))
