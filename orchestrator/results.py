"""Plan and store as files: `plan.json`, `results.parquet` (cells), `tests.parquet` (tests)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.experiment import Experiment
from orchestrator.inventory import metrics_of
from orchestrator.plan import Plan, PlannedStage
from trainables.disk import replace_file, replace_text
from trainables.entry import Entry
from trainables.fingerprint import key_of
from trainables.spec import ViewSpec
from trainables.store import Store
from trainables.views import names_of_tests

SCHEMA = pa.schema(
    [
        ("cell", pa.string()),
        ("table", pa.string()),
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("strategy", pa.string()),
        ("n_high", pa.int64()),
        ("n_low", pa.int64()),
        ("high_level", pa.int64()),
        ("low_level", pa.int64()),
        ("seed", pa.int64()),
        ("resolution_px", pa.int64()),
        ("canvas_px", pa.int64()),
        ("status", pa.string()),
        ("accuracy_high", pa.float64()),
        ("accuracy_low", pa.float64()),
        ("n_test", pa.int64()),
        ("n_classes", pa.int64()),
        ("stage_key", pa.string()),
        ("trial_id", pa.string()),
        ("train_s", pa.float64()),
    ]
)

_CELL_COLUMNS = (
    *("cell", "dataset", "model", "strategy", "n_high", "n_low", "high_level", "low_level"),
    *("seed", "resolution_px", "canvas_px", "n_test", "stage_key"),
)
#: Of `tests.parquet`; `test_px` is the resolution of the test photos.
TESTS_SCHEMA = pa.schema(
    [SCHEMA.field(name) for name in _CELL_COLUMNS]
    + [
        pa.field("test", pa.string()),
        pa.field("form", pa.string()),
        pa.field("test_px", pa.int64()),
        pa.field("kernel", pa.string()),
        pa.field("antialias", pa.bool_()),
        pa.field("accuracy", pa.float64()),
    ]
)


def cell_rows(
    experiment: Experiment, plan: Plan, store: Store, statuses: dict[str, str]
) -> list[dict[str, Any]]:
    """The truth about every cell: from the store where it is done, else its status."""
    rows = []
    store.look()
    for name, (cell, key) in plan.cells.items():
        recipe = experiment.recipe.of(cell.strategy).at(cell.resolution_px)
        row = {
            "cell": name,
            "table": recipe.table,
            "dataset": recipe.data.dataset,
            "model": recipe.model.name,
            "canvas_px": recipe.data.canvas_px,
            "status": statuses.get(key, "missing"),
            "stage_key": key,
            "n_test": experiment.facts.n_evaluate,
            "n_classes": experiment.facts.n_classes,
        } | cell.model_dump()
        row["resolution_px"] = recipe.data.resolution_px
        rows.append(row | outcome(plan.stages[key], plan.tests[name], store))
    return rows


def outcome(stage: PlannedStage, tests: dict[str, ViewSpec], store: Store) -> dict[str, Any]:
    """Status, accuracies (fractions), trial and training seconds of a stage in the store.

    Empty where it is not there, or an evaluation is missing.

    Args:
        stage: of the plan.
        tests: views by the names that their accuracies get: `accuracy_NAME`.
        store: that may have it, as it was at its last look.
    """
    entry = store.known(stage.key)
    if entry is None:
        return {}
    if entry.kind == "diverged":
        return {"status": "diverged"}
    found: dict[str, Any] = {}
    for name, view in tests.items():
        metrics = metrics_of(entry, stage.key, key_of(view), store.known)
        if metrics is None:
            return {}
        found[f"accuracy_{name}"] = int(metrics["correct"]) / int(metrics["seen"])
    return found | {
        "status": "done",
        "trial_id": entry.json("stage.json").get("trial_id"),
        "train_s": sum(epoch["seconds"] for epoch in entry.jsonl("epochs.jsonl")),
    }


def adopted(entry: Entry, stage: PlannedStage, store: Store) -> dict[str, Any]:
    """What the record of a run says of a stage that it found in the store."""
    found = outcome(stage, names_of_tests(stage.evaluations), store)
    return found | {
        "name": stage.name,
        "status": "diverged" if entry.kind == "diverged" else "done",
        "folder": entry.folder.name,
        "epochs": entry.jsonl("epochs.jsonl"),
    }


def rows_of_tests(plan: Plan, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per done cell and test photos: how these were made, and the accuracy on them."""
    return [
        {name: row[name] for name in _CELL_COLUMNS}
        | {
            "test": test,
            "form": view.form,
            "test_px": view.resolution_px or view.canvas_px,
            "kernel": view.kernel,
            "antialias": view.antialias,
            "accuracy": row[f"accuracy_{test}"],
        }
        for row in rows
        if row["status"] == "done"
        for test, view in plan.tests[row["cell"]].items()
    ]


def write_results(file: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> None:
    """Write the rows, replacing an older file whole or not at all."""
    table = pa.Table.from_pylist(rows, schema)
    replace_file(file, lambda aside: pq.write_table(table, aside))


def write_plan(file: Path, plan: Plan) -> None:
    """`plan.json`: every stage with its spec, every cell with its last stage."""
    stages = {
        key: {
            "name": stage.name,
            "parents": stage.parents,
            "images": stage.images,
            "evaluations": [view.model_dump(mode="json") for view in stage.evaluations],
            "spec": stage.spec.model_dump(mode="json"),
        }
        for key, stage in plan.stages.items()
    }
    cells = {
        name: {"stage": key, **cell.model_dump(mode="json")}
        for name, (cell, key) in plan.cells.items()
    }
    replace_text(file, json.dumps({"cells": cells, "stages": stages}, indent=1))
