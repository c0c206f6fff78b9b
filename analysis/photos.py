"""Which test photos the networks of a run recognised: `predictions.parquet`.

S seeds, C cells with their seeds, N photos.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainables.errors import DataError

PREDICTIONS_FILE = "predictions.parquet"
_COLUMNS = ["cell", "test", "row", "label", "predicted"]


@dataclass(frozen=True)
class Photos:
    """The photos of one test, the same for every cell.

    Attributes:
        cells: names with their seed, such as `mixed/h2-l2/s0`, to their row of `right_CN`.
        right_CN: whether a cell's network recognised a photo.
    """

    cells: dict[str, int]
    right_CN: NDArray[np.bool_]

    def of(self, cell: str, seeds: Sequence[int]) -> NDArray[np.bool_]:
        """Of a cell without its seed, for some seeds: (S, N)."""
        return self.right_CN[[self.cells[f"{cell}/s{seed}"] for seed in seeds]]

    def has(self, cell: str, seed: int) -> bool:
        """Whether there are predictions of a cell with a seed."""
        return f"{cell}/s{seed}" in self.cells


#: Of a run where nothing is done.
NO_PHOTOS = Photos({}, np.zeros((0, 0), np.bool_))


def load_photos(run: Path, test: str = "low") -> Photos:
    """Read what a run's networks made of the photos of a test.

    Args:
        run: the run's folder.
        test: name of the test, such as `low` or `high`.

    Returns:
        No cells where no cell is done.

    Raises:
        DataError: when there is no such file, or its cells were tested on different photos.
    """
    file = run / PREDICTIONS_FILE
    if not file.is_file():
        raise DataError(f"no predictions at {file}; make them with: f2c run RECIPE")
    try:
        table = pq.ParquetFile(file).read(_COLUMNS, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"{file} cannot be read ({error}); f2c run RECIPE writes it again"
        ) from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"{file} lacks the columns {', '.join(missing)}; write it again")
    return _photos(table.unify_dictionaries().combine_chunks(), test, file)


def _photos(table: pa.Table, test: str, file: Path) -> Photos:
    tests, names = _dictionary(table, "test")
    if test not in names:
        return NO_PHOTOS
    chosen = tests == names.index(test)
    cells, names = _dictionary(table, "cell")
    numbers, rows, labels, predicted = (
        values[chosen]
        for values in (cells, *(table[name].to_numpy() for name in ("row", "label", "predicted")))
    )
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    shape = (len(first), len(numbers) // max(len(first), 1))
    if shape[0] * shape[1] != len(numbers) or (rows.reshape(shape) != rows[: shape[1]]).any():
        raise DataError(f"{file}: not every cell was tested on the same photos; write it again")
    cells_of = {names[number]: i for i, number in enumerate(numbers[first])}
    return Photos(cells_of, (labels == predicted).reshape(shape))


def _dictionary(table: pa.Table, column: str) -> tuple[NDArray[np.int32], list[str]]:
    if not table.num_rows:
        return np.zeros(0, np.int32), []
    encoded = table[column].chunk(0)
    return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
