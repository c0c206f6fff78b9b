import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.plan import make_plan
from orchestrator.predictions import SCHEMA, write_predictions
from trainables.errors import DataError
from trainables.fingerprint import evaluation_key, key_of
from trainables.store import Store

N_PHOTOS = 5


def table(number):
    rows = np.arange(10, 10 + N_PHOTOS)
    share = np.full(N_PHOTOS, 0.5, np.float32)
    return pa.table(
        {
            "row": rows,
            "label": rows % 3,
            "predicted": np.full(N_PHOTOS, number),
            "confidence": share,
            "probability_true": share,
        }
    )


def commit(store, key, views):
    """An entry that holds predictions on some views; all photos get the view's number."""

    def write(folder):
        for number, view in views:
            pq.write_table(table(number), folder / f"predictions-{key_of(view)[:8]}.parquet")

    return store.commit(key, "entry", "stage", write)


@pytest.fixture
def plan(experiment):
    return make_plan([experiment(cells={"high": [0, 8], "low": [8]})])


def rows_of(plan):
    return [{"cell": cell, "status": "done"} for cell in plan.cells]


def test_every_photo_of_a_done_cell_is_a_row(plan, tmp_path):
    store, file = Store(tmp_path / "store"), tmp_path / "run" / "predictions.parquet"
    for cell, (_, key) in plan.cells.items():
        commit(store, key, list(enumerate(plan.tests[cell].values())))
    write_predictions(file, plan, rows_of(plan), store)
    found = pq.read_table(file)
    assert found.schema.equals(SCHEMA)
    frame = found.to_pandas()
    assert frame.groupby(["cell", "test"], observed=True).size().to_dict() == {
        (cell, test): N_PHOTOS for cell in plan.cells for test in ("high", "low")
    }
    low = frame[frame["test"] == "low"]
    assert low["row"].tolist() == [10, 11, 12, 13, 14] * 2
    assert set(low["predicted"]) == {1}


def test_what_was_evaluated_after_its_training_is_found_in_its_own_entry(plan, tmp_path):
    store, file = Store(tmp_path / "store"), tmp_path / "predictions.parquet"
    for cell, (_, key) in plan.cells.items():
        tests = plan.tests[cell]
        commit(store, key, [(0, tests["high"])])
        commit(store, evaluation_key(key, key_of(tests["low"])), [(7, tests["low"])])
    write_predictions(file, plan, rows_of(plan), store)
    frame = pq.read_table(file).to_pandas()
    assert set(frame.loc[frame["test"] == "low", "predicted"]) == {7}


def test_a_cell_that_is_not_done_has_no_row_and_a_run_without_any_an_empty_file(plan, tmp_path):
    file = tmp_path / "predictions.parquet"
    rows = [{"cell": cell, "status": "missing"} for cell in plan.cells]
    write_predictions(file, plan, rows, Store(tmp_path / "store"))
    found = pq.read_table(file)
    assert found.num_rows == 0
    assert found.schema.equals(SCHEMA)


def test_damaged_predictions_are_not_passed_on(plan, tmp_path):
    store, file = Store(tmp_path / "store"), tmp_path / "predictions.parquet"
    for cell, (_, key) in plan.cells.items():
        entry = commit(store, key, list(enumerate(plan.tests[cell].values())))
    (damaged, *_) = entry.folder.glob("predictions-*")
    content = bytearray(damaged.read_bytes())
    content[9] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(DataError, match="is damaged or missing; run the same command again"):
        write_predictions(file, plan, rows_of(plan), store)
    assert not file.exists()


def test_the_labels_of_more_classes_than_two_bytes_can_count_are_kept(plan, tmp_path):
    store, file = Store(tmp_path / "store"), tmp_path / "predictions.parquet"
    cell, (_, key) = next(iter(plan.cells.items()))
    commit(store, key, [(40_000, view) for view in plan.tests[cell].values()])
    write_predictions(file, plan, [{"cell": cell, "status": "done"}], store)
    assert set(pq.read_table(file).to_pandas()["predicted"]) == {40_000}
