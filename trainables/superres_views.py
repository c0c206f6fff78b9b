"""Prepared low views to `sr` views: each photo enlarged by a forest, batched, cached like any view.

Small views are made in this process, large ones by Ray Data on all nodes.

Shape legend: N photos of a block or split, H rows, W columns, C colour.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.index import Index
from trainables.photo_blocks import Block
from trainables.prepare import IN_PROCESS_PHOTOS
from trainables.ray_blocks import blocks_by_ray, ray_is_up
from trainables.spec import ViewSpec
from trainables.superres.forest import Forest
from trainables.superres.forest_files import load_forest
from trainables.superres.super_resolve import super_resolve
from trainables.view_drafts import ViewDraft
from trainables.views import View, is_prepared, low_source, open_view

#: Photos that are enlarged together.
BLOCK_PHOTOS = 64


def prepare_superres(
    index: Index,
    view: ViewSpec,
    forest_folder: Path,
    data_root: Path,
    on_progress: Callable[[int, int], None],
) -> None:
    """Make an `sr` view from its prepared low view, unless it is there.

    Args:
        index: of the data set.
        view: whose `superres` names the forest.
        forest_folder: where that forest lies, on every node.
        data_root: `<root>/data`.
        on_progress: called with photos done and photos in all.

    Raises:
        DataError: when the low view was not prepared, or the forest does not fit.
    """
    if is_prepared(data_root, view):
        return
    rows_N = index.rows(view.split)
    large = len(rows_N) >= IN_PROCESS_PHOTOS and ray_is_up()
    task = {"view": view.model_dump_json(), "forest": str(forest_folder), "data": str(data_root)}
    n_done = 0
    with ViewDraft(data_root, view, index, rows_N) as draft:
        for block in (_blocks_by_ray if large else _blocks_here)(len(rows_N), task):
            draft.images_NHWC[block["place"]] = block["pixels"]
            n_done += len(block["place"])
            on_progress(n_done, len(rows_N))
        draft.commit(n_clipped_boxes=0)


def _blocks_here(n_photos: int, task: dict[str, str]) -> Iterator[Block]:
    for start in range(0, n_photos, BLOCK_PHOTOS):
        yield _enlarged(np.arange(start, min(start + BLOCK_PHOTOS, n_photos)), task)


def _blocks_by_ray(n_photos: int, task: dict[str, str]) -> Iterator[Block]:
    return blocks_by_ray({"place": np.arange(n_photos)}, _on_worker, BLOCK_PHOTOS, task=task)


def _on_worker(batch: Block, task: dict[str, str]) -> Block:
    torch.set_num_threads(1)  # a worker has one CPU
    return _enlarged(batch["place"], task)


def _enlarged(places_N: NDArray[np.int64], task: dict[str, str]) -> dict[str, NDArray[Any]]:
    view = ViewSpec.model_validate_json(task["view"])
    low = _opened(task["data"], low_source(view).model_dump_json())
    low_NHWC = low.images_NHWC[places_N]
    way = "x4" if view.superres is None else view.superres.way
    forest = _forest(task["forest"])
    pixels_NHWC = super_resolve(torch.from_numpy(low_NHWC), forest, view.canvas_px, way)
    return {"place": places_N, "pixels": pixels_NHWC.numpy()}


@lru_cache(maxsize=1)
def _opened(data: str, view: str) -> View:
    return open_view(Path(data), ViewSpec.model_validate_json(view))


@lru_cache(maxsize=2)
def _forest(folder: str) -> Forest:
    return load_forest(Path(folder))
