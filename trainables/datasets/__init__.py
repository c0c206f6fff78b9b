"""The data sets by name: an explicit registry, and the one function that reads an index."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.datasets import cub200, folder, stanford_cars, synthetic
from trainables.errors import ConfigError
from trainables.index import Index, apply_choices
from trainables.spec import DataSpec


class DatasetFacts(NamedTuple):
    """Published sizes of a complete set: a plan can be made of them without the photos."""

    n_train: int
    n_test: int
    n_classes: int


@dataclass(frozen=True)
class Dataset:
    """How a data set is read.

    Attributes:
        read_index: reads all of it, without `data.classes` and `data.validation`.
        read_photos: makes the photos of (N,) int64 rows as N (height, width, 3) uint8 arrays; None
            where the photos are the files that the index names.
        content_key: fingerprint of photos that are made, not read; None where they are files.
        complete: None for sets of any size.
    """

    read_index: Callable[[DataSpec], Index]
    read_photos: Callable[[Index, DataSpec, NDArray[np.int64]], list[NDArray[np.uint8]]] | None = (
        None
    )
    content_key: Callable[[DataSpec], str] | None = None
    complete: DatasetFacts | None = None


DATASETS: dict[str, Dataset] = {
    "cub200": Dataset(cub200.read_index, complete=DatasetFacts(*cub200.COMPLETE)),
    "cars": Dataset(stanford_cars.read_index, complete=DatasetFacts(*stanford_cars.COMPLETE)),
    "folder": Dataset(folder.read_index),
    "synthetic": Dataset(
        synthetic.read_index,
        read_photos=synthetic.draw_photos,
        content_key=synthetic.content_key,
    ),
}


def find_dataset(name: str) -> Dataset:
    """Look a data set up.

    Raises:
        ConfigError: for an unknown name; it lists those known and suggests the nearest.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"there is no data.dataset {name!r}{hint} (known: {', '.join(DATASETS)})")
    return DATASETS[name]


def read_index(data: DataSpec) -> Index:
    """Read the index of `data.dataset` and apply `data.classes` and `data.validation`.

    Raises:
        ConfigError: for an unknown name.
        DataError: for whatever is wrong with the files.
    """
    return apply_choices(find_dataset(data.dataset).read_index(data), data)
