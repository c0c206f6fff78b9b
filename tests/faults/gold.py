"""The one oracle: after any fault, the same command again ends as if nothing had happened."""

import fcntl
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from mlflow import MlflowClient

from tests.faults import runner
from trainables.store import Store

NAME = "small"
COLUMNS = ["cell", "status", "accuracy_high", "accuracy_low", "stage_key"]


@dataclass(frozen=True)
class Gold:
    """What a run leaves: the checksum of each stage's weights, and the table."""

    weights: dict[str, str]
    table: str


def gold_of(root: Path) -> Gold:
    """What is in a root."""
    frame = pd.read_parquet(root / NAME / "results.parquet")
    return Gold(weights_of(root), frame[COLUMNS].to_csv())


def weights_of(root: Path) -> dict[str, str]:
    """Key to the sha256 of the weights of every whole stage."""
    entries = [e for e in Store(root / "store").entries() if e.kind == "stage"]
    assert [e.folder.name for e in entries if e.damaged()] == []
    return {e.key: e.files["weights.safetensors"]["sha256"] for e in entries}


def events_of(root: Path) -> list[dict[str, Any]]:
    """Whole lines of the record; the last one may be torn by a kill."""
    file = root / NAME / "events.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [event for event in map(_parsed, lines) if event is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def resume(root: Path, gold: Gold, **given: Any) -> runner.Ended:
    """The same command again; holds what it leaves to what an undisturbed run leaves."""
    finished, began = set(weights_of(root)), len(events_of(root))
    scratch = temporary_files(root)
    ended = runner.run(root, **given)
    assert ended.status == 0, ended.printed
    assert "Traceback" not in ended.printed
    assert gold_of(root) == gold
    started = Counter(e["key"] for e in events_of(root)[began:] if e["event"] == "stage_start")
    assert set(started) == set(gold.weights) - finished
    assert set(started.values()) <= {1}
    assert_mlflow(root, gold)
    assert temporary_files(root) <= scratch
    assert_nothing_is_held(root)
    return ended


def assert_mlflow(root: Path, gold: Gold) -> None:
    """One finished run per stage, each point of each metric once, and one of the sweep."""
    client = MlflowClient(f"sqlite:///{root.absolute()}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(ids)
    assert {run.info.status for run in runs} == {"FINISHED"}
    keys = Counter(run.data.tags.get("stage_key", "sweep") for run in runs)
    assert keys == dict.fromkeys([*gold.weights, "sweep"], 1)
    for run in runs:
        for metric in run.data.metrics:
            points = client.get_metric_history(run.info.run_id, metric)
            steps = Counter(point.step for point in points)
            assert set(steps.values()) == {1}, (run.info.run_name, metric, steps)


def temporary_files(root: Path) -> set[Path]:
    """Everything under a temporary name."""
    hidden = {path for path in root.rglob(".*") if path.name != ".lock"}
    return {path for path in hidden if not any(p in hidden for p in path.parents)}


def assert_nothing_is_held(root: Path) -> None:
    """No progress of finished stages, no lease, no lock, no process."""
    assert list((root / "store" / "progress").glob("*")) == []
    assert list((root / "store" / "leases").glob("*")) == []
    with (root / NAME / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert [p for p in psutil.process_iter(["cmdline"]) if _names(p, str(root))] == []


def _names(process: psutil.Process, text: str) -> bool:
    return any(text in word for word in process.info["cmdline"] or ())
