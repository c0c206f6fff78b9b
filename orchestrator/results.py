"""One row per cell, from the plan and the store: `results.parquet`."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.experiment import Experiment
from orchestrator.inventory import metrics_of
from orchestrator.plan import Plan, PlannedStage
from trainables.fingerprint import key_of
from trainables.store import Store

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
        ("stage_key", pa.string()),
        ("trial_id", pa.string()),
        ("train_s", pa.float64()),
    ]
)


def cell_rows(
    experiment: Experiment, plan: Plan, store: Store, statuses: dict[str, str]
) -> list[dict[str, Any]]:
    """The truth about every cell: from the store where it is done, else its status."""
    recipe = experiment.recipe
    rows = []
    for name, (cell, key) in plan.cells.items():
        row = {
            "cell": name,
            "table": recipe.table,
            "dataset": recipe.data.dataset,
            "model": recipe.model.name,
            "resolution_px": recipe.data.resolution_px,
            "canvas_px": recipe.data.canvas_px,
            "status": statuses.get(key, "missing"),
            "stage_key": key,
            "n_test": experiment.facts.n_evaluate,
        } | cell.model_dump()
        rows.append(row | outcome(plan.stages[key], store))
    return rows


def outcome(stage: PlannedStage, store: Store) -> dict[str, Any]:
    """Status, accuracies (fractions), trial and training seconds of a stage in the store."""
    entry = store.find(stage.key)
    if entry is None:
        return {}
    if entry.kind == "diverged":
        return {"status": "diverged"}
    found: dict[str, Any] = {}
    for view in stage.evaluations:
        metrics = metrics_of(entry, stage.key, key_of(view), store)
        if metrics is None:
            return {"status": "missing"}
        found[f"accuracy_{view.form}"] = int(metrics["correct"]) / int(metrics["seen"])
    return found | {
        "status": "done",
        "trial_id": entry.json("stage.json").get("trial_id"),
        "train_s": sum(epoch["seconds"] for epoch in entry.jsonl("epochs.jsonl")),
    }


def write_results(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows, replacing an older file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary)
    temporary.replace(file)
