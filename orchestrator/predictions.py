"""From the plan and the store: `predictions.parquet`, a row a cell, test and photo."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.plan import Plan
from trainables.disk import replace_file
from trainables.errors import DataError
from trainables.fingerprint import evaluation_key, key_of
from trainables.store import Store

#: `row` is the photo's row in the data set's index, `confidence` the probability of `predicted`.
SCHEMA = pa.schema(
    [
        ("cell", pa.dictionary(pa.int32(), pa.string())),
        ("test", pa.dictionary(pa.int32(), pa.string())),
        ("row", pa.int32()),
        ("label", pa.int32()),
        ("predicted", pa.int32()),
        ("confidence", pa.float32()),
        ("probability_true", pa.float32()),
    ]
)
#: Tables of one cell and test that are written together: few, large row groups read quickly.
TABLES_A_GROUP = 256


def write_predictions(file: Path, plan: Plan, rows: Iterable[dict[str, Any]], store: Store) -> None:
    """Write what every done cell predicted, replacing an older file whole or not at all.

    Args:
        file: `predictions.parquet`.
        plan: of the run.
        rows: of `results.cell_rows`.
        store: that holds the stages.

    Raises:
        DataError: when a stage's predictions are damaged or missing.
    """
    done = [row["cell"] for row in rows if row["status"] == "done"]
    replace_file(file, lambda aside: _write(aside, _tables(plan, done, store)))


def _write(file: Path, tables: Iterator[pa.Table]) -> None:
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        while some := list(islice(tables, TABLES_A_GROUP)):
            group = pa.concat_tables(some)
            writer.write_table(group, row_group_size=max(1, group.num_rows))


def _tables(plan: Plan, cells: list[str], store: Store) -> Iterator[pa.Table]:
    tests = list(dict.fromkeys(test for cell in cells for test in plan.tests[cell]))
    for number, cell in enumerate(cells):
        key = plan.cells[cell][1]
        for test, view in plan.tests[cell].items():
            table = pq.ParquetFile(_file(key, key_of(view), store)).read(use_threads=False)
            names = {"cell": (cells, number), "test": (tests, tests.index(test))}
            yield _named(table, names)


def _file(stage_key: str, view_key: str, store: Store) -> Path:
    """Where a stage's predictions on a view lie: with the stage, or in an entry of their own."""
    name = f"predictions-{view_key[:8]}.parquet"
    for key in (stage_key, evaluation_key(stage_key, view_key)):
        entry = store.find(key)
        if entry is not None and name in entry.files:
            return entry.path(name)
    raise DataError(
        f"{store.folder} has no {name} of the stage {stage_key[:8]}; run the same command again"
    )


def _named(table: pa.Table, names: dict[str, tuple[list[str], int]]) -> pa.Table:
    """The table in the schema, with the same name in every row of a column."""
    columns = {name: table.column(name) for name in table.column_names}
    for name, (all_names, number) in names.items():
        # One dictionary for all tables, so that they join without being encoded anew.
        numbers = pa.repeat(pa.scalar(number, pa.int32()), table.num_rows)
        columns[name] = pa.DictionaryArray.from_arrays(numbers, all_names)
    return pa.table({name: columns[name] for name in SCHEMA.names}).cast(SCHEMA)
