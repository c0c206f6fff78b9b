"""A sweep's runs in MLflow: one parent, a child per (sweep, stage), each point once.

Runs are found again by their tags, so that resuming a sweep reopens them. It has no thread:
`tracking` calls it from one.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.events import Event
from orchestrator.experiment import Experiment
from orchestrator.plan import Plan, PlannedStage
from orchestrator.run_tags import (
    MAX_TAG_LENGTH,
    epochs_before,
    source_tags,
    stage_params,
    stage_run_name,
    stage_tags,
    sweep_id,
)
from orchestrator.tracked_client import SQLITE, open_client
from orchestrator.tracked_model import BestCell, log_best
from orchestrator.tracked_recipe import experiment_of, log_recipe
from trainables.faults import fault_point

#: Points are sent at most this often per run, and at a stage's end.
FLUSH_EVERY_S = 2.0
STATUS = {"done": "FINISHED", "stopped": "KILLED"}
ENDINGS = ("stage_end", "adopted")


@dataclass
class _Child:
    run_id: str
    offset: int
    mirrored: set[int]
    tested: set[str]
    tags: dict[str, str]
    nonfinite: set[str]
    points: list[Any]
    params: list[Any]
    sent_at: float


class Mirror:
    """Writes a run's events into MLflow; every method raises what MLflow's client raises."""

    def __init__(
        self, experiment: Experiment, plan: Plan, root: Path, uri: str, *, trains: bool
    ) -> None:
        """Begin, or reopen, the sweep's run; `trains` is False where a record is only mirrored."""
        self._client = open_client(uri)
        import mlflow.entities

        self._entities = mlflow.entities
        self._experiment = experiment
        self._plan = plan
        self._trains = trains
        self._attempt = 1
        self._children: dict[str, _Child] = {}
        store = root.absolute() / "mlartifacts"
        location = store.as_uri() if uri.startswith(SQLITE) else None
        self._experiment_id = experiment_of(self._client, experiment.recipe, location)
        self._parent_id = self._open_parent()
        self._known = {
            run.data.tags["stage_key"]: run
            for run in self._search(f"tags.mlflow.parentRunId = '{self._parent_id}'")
        }
        base = uri if uri.startswith("http") else "http://127.0.0.1:5000"
        self.link = f"{base}/#/experiments/{self._experiment_id}/runs?workflowType=machine_learning"

    def _search(self, condition: str) -> list[Any]:
        return list(self._client.search_runs([self._experiment_id], condition, max_results=50_000))

    def _open_parent(self) -> str:
        sweep = sweep_id(self._experiment)
        there = self._search(f"tags.kind = 'sweep' and tags.sweep = '{sweep}'")
        if there:
            self._attempt = self._reopen(there[0])
            return there[0].info.run_id
        tags = {"kind": "sweep", "sweep": sweep, "attempt": "1"} | source_tags()
        name = self._experiment.recipe.name
        run = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
        log_recipe(self._client, run.info.run_id, self._experiment)
        return run.info.run_id

    def _reopen(self, run: Any) -> int:
        """Show that a run of an earlier command goes on; which attempt it is now."""
        attempt = int(run.data.tags.get("attempt", "1")) + self._trains
        if self._trains:
            self._client.update_run(run.info.run_id, status="RUNNING")
            self._client.set_tag(run.info.run_id, "attempt", str(attempt))
        return attempt

    def write(self, event: Event) -> None:
        """Mirror what has just happened."""
        at_ms = int(1000 * event.get("at", time.time()))
        if event["event"] == "stage_start":
            self._child(event["key"], "miss", at_ms, event)
        elif event["event"] == "epoch":
            self._add_epoch(self._child(event["key"], "miss", at_ms), event["record"], at_ms)
        elif event["event"] == "stage_end":
            self._end(event, at_ms)
        elif event["event"] == "adopted":
            self._adopt(event, at_ms)

    def write_once(self, event: Event) -> None:
        """Mirror an event of a record, unless MLflow has its stage as it ended."""
        known = self._known.get(event["key"])
        status = STATUS.get(event.get("status", ""), "FAILED")
        if known is None or known.info.status not in (status, "FINISHED"):
            self.write(event)

    def kill_all_but(self, ended: Iterable[str]) -> None:
        """A stage of a record whose end nobody wrote was killed."""
        for key in self._children.keys() - set(ended):
            self._flush(self._children[key])
            self._client.set_terminated(self._children[key].run_id, "KILLED")

    def _child(self, key: str, cache: str, at_ms: int, start: Event | None = None) -> _Child:
        """The stage's run; where a trial starts it, what is known costs no tags at its end."""
        if key in self._children:
            return self._children[key]
        stage = self._plan.stages[key]
        run = self._known.get(key)
        if run is None:
            tags = stage_tags(self._plan, stage, self._parent_id, cache)
            if start is not None and start.get("trial_id"):
                tags |= {"trial_id": start["trial_id"], "folder": f"{stage.name}-{key[:8]}"}
            name = stage_run_name(self._plan, stage)
            run = self._client.create_run(self._experiment_id, at_ms, tags, name)
            mirrored, tested, params = set(), set(), self._params(stage)
        else:
            history = self._client.get_metric_history(run.info.run_id, "train/accuracy")
            mirrored = {point.step for point in history}
            tested, tags = set(run.data.metrics), run.data.tags
            params = [] if run.data.params else self._params(stage)
            if run.info.status != "FINISHED":
                self._reopen(run)
        offset = epochs_before(self._plan, stage)
        now = time.monotonic()
        child = _Child(run.info.run_id, offset, mirrored, tested, tags, set(), [], params, now)
        self._children[key] = child
        return child

    def _params(self, stage: PlannedStage) -> list[Any]:
        params = stage_params(self._plan, stage)
        return [self._entities.Param(name, value) for name, value in params.items()]

    def _add_epoch(self, child: _Child, record: dict[str, Any], at_ms: int) -> None:
        step = child.offset + record["epoch"]
        if step in child.mirrored:
            return
        child.mirrored.add(step)
        values = {
            "train/loss": record["loss"],
            "train/accuracy": record["accuracy"],
            "train/lr": record["lr"],
            "time/epoch_s": record["seconds"],
            "data/images_per_s": record["images_seen"] / max(record["seconds"], 1e-9),
        }
        child.nonfinite |= {name for name, value in values.items() if not math.isfinite(value)}
        child.points += self._metrics(values, step, at_ms)
        if time.monotonic() - child.sent_at > FLUSH_EVERY_S:
            self._flush(child)

    def _metrics(self, values: dict[str, float], step: int, at_ms: int) -> list[Any]:
        finite = {k: v for k, v in values.items() if math.isfinite(v)}
        return [self._entities.Metric(k, v, at_ms, step) for k, v in finite.items()]

    def _flush(self, child: _Child, tags: dict[str, str] | None = None) -> None:
        new = {k: v for k, v in (tags or {}).items() if child.tags.get(k) != v}
        entries = [self._entities.RunTag(k, v) for k, v in new.items()]
        if child.points or child.params or entries:
            fault_point("mlflow")
            self._client.log_batch(child.run_id, child.points, child.params, entries)
            fault_point("mlflow.sent")
        child.points, child.params, child.sent_at = [], [], time.monotonic()

    def _end(self, event: Event, at_ms: int) -> None:
        child = self._child(event["key"], "miss", at_ms)
        for record in event["epochs"]:
            self._add_epoch(child, record, at_ms)
        last = max(child.mirrored, default=0)
        tested = {f"test/{name}": v for name, v in event.items() if name.startswith("accuracy_")}
        lacking = {name: v for name, v in tested.items() if name not in child.tested}
        child.points += self._metrics(lacking, last, at_ms)
        tags = {"trial_id": str(event.get("trial_id")), "folder": str(event.get("folder"))}
        if child.nonfinite:
            tags["nonfinite"] = ", ".join(sorted(child.nonfinite))
        if event.get("reason"):
            tags["reason"] = str(event["reason"])[:MAX_TAG_LENGTH]
        self._flush(child, tags)
        status = STATUS.get(event["status"], "FAILED")
        self._client.set_terminated(child.run_id, status, end_time=at_ms)

    def _adopt(self, event: Event, at_ms: int) -> None:
        """A stage found in the store: its own run here, with the metrics copied."""
        known = self._known.get(event["key"])
        if known is not None and known.info.status == "FINISHED":
            return
        child = self._child(event["key"], "hit", at_ms)
        everywhere = [found.experiment_id for found in self._client.search_experiments()]
        condition = f"tags.stage_key = '{event['key']}' and tags.cache = 'miss'"
        elsewhere = self._client.search_runs(everywhere, condition, max_results=1)
        if elsewhere and elsewhere[0].info.run_id != child.run_id:
            self._client.set_tag(child.run_id, "trained_in_run", elsewhere[0].info.run_id)
        self._end(event, at_ms)

    def end_run(self, status: str, metrics: dict[str, float], note: str, files: list[Path]) -> None:
        """End the sweep's run with its summary, description and files.

        Args:
            status: `done`, `stopped` or `failed`.
            metrics: of the summary, once an attempt.
            note: in Markdown.
            files: logged as artifacts.
        """
        for child in self._children.values():
            self._flush(child)
        told = self._client.get_metric_history(self._parent_id, "summary/cells")
        summary = {f"summary/{k}": v for k, v in metrics.items()}
        if any(point.step == self._attempt for point in told):
            summary = {}
        points = self._metrics(summary, self._attempt, int(1000 * time.time()))
        note_tag = self._entities.RunTag("mlflow.note.content", note[:100_000])
        self._client.log_batch(self._parent_id, metrics=points, tags=[note_tag])
        self.log_files(files)
        self._client.set_terminated(self._parent_id, STATUS.get(status, "FAILED"))

    def end_replay(self, *, done: bool) -> None:
        """End the sweep's run as its record has it: it is whole, or whoever wrote it was killed."""
        status = self._client.get_run(self._parent_id).info.status
        if done or status == "RUNNING":
            self._client.set_terminated(self._parent_id, "FINISHED" if done else "KILLED")

    def log_best(self, best: BestCell) -> None:
        """Log the best cell's network as a model of the sweep's run."""
        log_best(self._client, self._parent_id, best)

    def log_files(self, files: list[Path]) -> None:
        """Log tables, figures and other files of the sweep as artifacts."""
        for file in files:
            folder = file.parent.name if file.parent.name in ("tables", "figures") else None
            self._client.log_artifact(self._parent_id, str(file), folder)
