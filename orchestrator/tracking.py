"""The only MLflow writer: mirrors a run's events, off the training path, each point once.

One parent run per sweep, one child per (sweep, stage). Runs are found again by their tags, so that
resuming a sweep reopens them.
"""

import math
import os
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.events import Background, Event
from orchestrator.experiment import Experiment
from orchestrator.plan import Plan, PlannedStage
from orchestrator.run_tags import (
    MAX_TAG_LENGTH,
    experiment_note,
    source_tags,
    stage_run_name,
    stage_tags,
    sweep_id,
)
from orchestrator.tracked_model import BestCell, log_best
from trainables.budget import budget_of
from trainables.faults import fault_point

#: Points are sent at most this often per run, and at a stage's end.
FLUSH_EVERY_S = 2.0
#: Bounds for a tracking server that does not answer; the defaults block for minutes.
BOUNDS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
SQLITE = "sqlite:///"
STATUS = {"done": "FINISHED", "stopped": "KILLED"}


def _create_whole(file: Path) -> None:
    """Create a database aside and move it into place: one killed while it is made stays broken."""
    from mlflow import MlflowClient

    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    MlflowClient(f"{SQLITE}{aside}").search_experiments(max_results=1)
    with suppress(FileExistsError):  # another driver was faster
        os.link(aside, file)
    aside.unlink()


@dataclass
class _Child:
    run_id: str
    offset: int
    mirrored: set[int]
    points: list[Any]
    params: list[Any]
    sent_at: float


class Tracker:
    """Mirrors a run's events into MLflow, on a thread of its own."""

    def __init__(self, experiment: Experiment, plan: Plan, root: Path, uri: str) -> None:
        self._experiment = experiment
        self._plan = plan
        self._root = root
        self.uri = uri
        self.link: str | None = None
        self._children: dict[str, _Child] = {}
        self._background = Background("mlflow")
        self._background.submit(self._open)

    @property
    def failure(self) -> str | None:
        """What MLflow answered when it failed; later events were not sent."""
        return self._background.failure

    @property
    def seconds(self) -> float:
        """Time spent in MLflow, beside the training."""
        return self._background.seconds

    def notify(self, event: Event) -> None:
        """Take an event of the run for mirroring; never blocks."""
        self._background.submit(lambda: self._mirror(event))

    def finish(
        self,
        status: str,
        metrics: dict[str, float],
        note: str,
        files: list[Path],
        best: BestCell | None = None,
    ) -> None:
        """Write the summary, description, artifacts and best model; wait until all is sent."""
        self._background.submit(lambda: self._close(status, metrics, note, files))
        if best is not None:
            self._background.submit(lambda: log_best(self._client, self._parent_id, best))
        self._background.drain()

    def _open(self) -> None:
        for name, value in BOUNDS.items():
            os.environ.setdefault(name, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow.entities
            from mlflow import MlflowClient
        if self.uri.startswith(SQLITE):
            _create_whole(Path(self.uri.removeprefix(SQLITE)))
        self._entities = mlflow.entities
        self._client = MlflowClient(self.uri)
        recipe = self._experiment.recipe
        name = f"{recipe.data.dataset}/{recipe.table}"
        found = self._client.get_experiment_by_name(name)
        if found is None:
            store = self._root.absolute() / "mlartifacts"
            location = store.as_uri() if self.uri.startswith(SQLITE) else None
            self._experiment_id = self._client.create_experiment(name, location)
            self._client.set_experiment_tag(
                self._experiment_id, "mlflow.note.content", experiment_note(recipe)
            )
        else:
            self._experiment_id = found.experiment_id
        self._open_parent()
        base = self.uri if self.uri.startswith("http") else "http://127.0.0.1:5000"
        self.link = f"{base}/#/experiments/{self._experiment_id}/runs?workflowType=machine_learning"

    def _search(self, condition: str) -> list[Any]:
        return list(self._client.search_runs([self._experiment_id], condition, max_results=50_000))

    def _open_parent(self) -> None:
        sweep = sweep_id(self._experiment)
        there = self._search(f"tags.kind = 'sweep' and tags.sweep = '{sweep}'")
        if there:
            self._parent_id = there[0].info.run_id
            self._client.update_run(self._parent_id, status="RUNNING")
            attempt = int(there[0].data.tags.get("attempt", "1")) + 1
            self._client.set_tag(self._parent_id, "attempt", str(attempt))
        else:
            tags = {"kind": "sweep", "sweep": sweep, "attempt": "1"} | source_tags()
            run = self._client.create_run(
                self._experiment_id, run_name=self._experiment.recipe.name, tags=tags
            )
            self._parent_id = run.info.run_id
            self._log_recipe()
        self._known = {
            run.data.tags["stage_key"]: run
            for run in self._search(f"tags.mlflow.parentRunId = '{self._parent_id}'")
        }

    def _log_recipe(self) -> None:
        recipe, facts = self._experiment.recipe, self._experiment.facts
        dumped = recipe.model_dump(mode="json")
        params = {
            f"{group}.{name}": str(value)[:MAX_TAG_LENGTH]
            for group in ("data", "model", "train", "cells", "subset")
            for name, value in dumped[group].items()
        }
        self._client.log_batch(
            self._parent_id,
            params=[self._entities.Param(k, v) for k, v in params.items() if k != "data.root"],
        )
        data = self._entities.Dataset(
            name=recipe.data.dataset,
            digest=facts.data_key[:12],
            source_type="local",
            source=f'{{"dataset": "{recipe.data.dataset}"}}',
            profile=f'{{"train": {facts.n_train}, "evaluated": {facts.n_evaluate}}}',
        )
        context = [self._entities.InputTag("mlflow.data.context", "train and test")]
        inputs = [self._entities.DatasetInput(data, context)]
        self._client.log_inputs(self._parent_id, datasets=inputs)

    def _mirror(self, event: Event) -> None:
        if event["event"] == "stage_start":
            self._child(event["key"], cache="miss")
        elif event["event"] == "epoch":
            self._add_epoch(self._child(event["key"], cache="miss"), event["record"])
        elif event["event"] == "stage_end":
            self._end(event)
        elif event["event"] == "adopted":
            self._adopt(event)

    def _child(self, key: str, cache: str) -> _Child:
        if key in self._children:
            return self._children[key]
        stage = self._plan.stages[key]
        run = self._known.get(key)
        if run is None:
            run = self._create_child(stage, cache)
            mirrored, params = set(), self._params(stage)
        else:
            history = self._client.get_metric_history(run.info.run_id, "train/loss")
            mirrored = {point.step for point in history}
            params = [] if run.data.params else self._params(stage)
            if run.info.status != "FINISHED":
                attempt = int(run.data.tags.get("attempt", "1")) + 1
                self._client.set_tag(run.info.run_id, "attempt", str(attempt))
                self._client.update_run(run.info.run_id, status="RUNNING")
        offset = self._epochs_before(stage)
        child = _Child(run.info.run_id, offset, mirrored, [], params, time.monotonic())
        self._children[key] = child
        return child

    def _create_child(self, stage: PlannedStage, cache: str) -> Any:
        tags = stage_tags(self._plan, stage, self._parent_id, cache)
        name = stage_run_name(self._plan, stage)
        return self._client.create_run(self._experiment_id, run_name=name, tags=tags)

    def _params(self, stage: PlannedStage) -> list[Any]:
        training = stage.spec.training.model_dump(mode="json")
        params = {f"training.{name}": value for name, value in training.items()}
        params["images"] = stage.spec.subset.n_images
        return [self._entities.Param(name, str(value)) for name, value in params.items()]

    def _epochs_before(self, stage: PlannedStage) -> int:
        """Step of MLflow counts epochs over all stages of the chain."""
        before, parent = 0, stage.spec.parent
        while parent in self._plan.stages:
            spec = self._plan.stages[parent].spec
            before += budget_of(spec)[0]
            parent = spec.parent
        return before

    def _add_epoch(self, child: _Child, record: dict[str, Any]) -> None:
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
        child.points += self._metrics(values, step)
        if time.monotonic() - child.sent_at > FLUSH_EVERY_S:
            self._flush(child)

    def _metrics(self, values: dict[str, float], step: int) -> list[Any]:
        now_ms = int(time.time() * 1000)
        finite = {k: v for k, v in values.items() if math.isfinite(v)}
        return [self._entities.Metric(k, v, now_ms, step) for k, v in finite.items()]

    def _flush(self, child: _Child, tags: dict[str, str] | None = None) -> None:
        entries = [self._entities.RunTag(k, v) for k, v in (tags or {}).items()]
        if child.points or child.params or entries:
            fault_point("mlflow")
            self._client.log_batch(child.run_id, child.points, child.params, entries)
            fault_point("mlflow.sent")
        child.points, child.params, child.sent_at = [], [], time.monotonic()

    def _end(self, event: Event) -> None:
        child = self._child(event["key"], cache="miss")
        for record in event["epochs"]:
            self._add_epoch(child, record)
        last = max(child.mirrored, default=0)
        tested = {f"test/{name}": v for name, v in event.items() if name.startswith("accuracy_")}
        child.points += self._metrics(tested, last)
        tags = {"trial_id": str(event.get("trial_id")), "folder": str(event.get("folder"))}
        if event.get("reason"):
            tags["reason"] = str(event["reason"])[:MAX_TAG_LENGTH]
        self._flush(child, tags)
        self._client.set_terminated(child.run_id, STATUS.get(event["status"], "FAILED"))

    def _adopt(self, event: Event) -> None:
        """A stage found in the store: its own run here, with the metrics copied."""
        known = self._known.get(event["key"])
        if known is not None and known.info.status == "FINISHED":
            return
        child = self._child(event["key"], cache="hit")
        everywhere = [found.experiment_id for found in self._client.search_experiments()]
        condition = f"tags.stage_key = '{event['key']}' and tags.cache = 'miss'"
        elsewhere = self._client.search_runs(everywhere, condition, max_results=1)
        if elsewhere and elsewhere[0].info.run_id != child.run_id:
            self._client.set_tag(child.run_id, "trained_in_run", elsewhere[0].info.run_id)
        self._end(event)

    def _close(self, status: str, metrics: dict[str, float], note: str, files: list[Path]) -> None:
        for child in self._children.values():
            self._flush(child)
        points = self._metrics({f"summary/{k}": v for k, v in metrics.items()}, 0)
        note_tag = self._entities.RunTag("mlflow.note.content", note[:100_000])
        self._client.log_batch(self._parent_id, metrics=points, tags=[note_tag])
        for file in files:
            folder = file.parent.name if file.parent.name in ("tables", "figures") else None
            self._client.log_artifact(self._parent_id, str(file), folder)
        self._client.set_terminated(self._parent_id, STATUS.get(status, "FAILED"))
