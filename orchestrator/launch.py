"""Runs a plan: through Tune, or inline without Ray, with identical weights."""

import errno
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.cluster import Machine
from orchestrator.control import Stop
from orchestrator.events import EventLog
from orchestrator.inventory import Inventory, complete
from orchestrator.leases import Leases
from orchestrator.plan import Plan
from orchestrator.results import adopted
from orchestrator.schedule import Schedule
from trainables.errors import describe
from trainables.memory import keep_freed_memory
from trainables.stage_job import StageJob
from trainables.stage_run import StageRun
from trainables.store import Store

#: How often a driver with nothing to do looks whether another one has ended a stage.
LOOK_AGAIN_S = 1.0
#: More than one only where Tune drops a stage whose node was lost, see `TransitionScheduler`.
TRIALS_A_STAGE = 10


@dataclass
class Progress:
    """What has become of each stage in this run: its status, and seconds by kind of work."""

    statuses: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    first_start: float | None = None
    last_end: float | None = None
    slots: int = 1
    to_train: frozenset[str] = frozenset()

    @property
    def trained(self) -> list[str]:
        """Keys of stages that were trained to their end in this run."""
        done = (key for key, status in self.statuses.items() if status == "done")
        return [key for key in done if key in self.to_train]


class Launch:
    """One run of a plan's missing stages; both executors report to it."""

    def __init__(
        self,
        plan: Plan,
        inventory: Inventory,
        machine: Machine,
        log: EventLog,
        stop: Stop,
        seconds_of: Callable[[str], float],
        command: str,
    ) -> None:
        self._plan = plan
        self._machine = machine
        self._log = log
        self._command = command
        self.stop = stop
        self.folder = stop.file.parent
        self.missing = inventory.missing
        self.store = Store(machine.root / "store")
        self.leases = Leases(self.store.folder / "leases")
        self.progress = Progress(to_train=inventory.to_train)
        self._statuses: dict[str, dict[str, Any]] = {}
        seconds = {key: seconds_of(key) for key in plan.stages}
        self.schedule = Schedule(plan, set(inventory.missing), seconds)
        for key in inventory.diverged:
            self._note_blocked(self.schedule.finish(key, usable=False))

    def job(self, key: str) -> StageJob:
        """The stage as its process gets it."""
        stage, machine = self._plan.stages[key], self._machine
        teacher = self._folder(stage.spec.teacher)
        return StageJob(
            key=key,
            name=stage.name,
            spec=stage.spec,
            evaluations=stage.evaluations,
            store=str((machine.root / "store").absolute()),
            data=str((machine.root / "data").absolute()),
            copy_of=machine.copy_of,
            teacher_folder=None if teacher is None else str(teacher),
            threads=machine.cpus_per_stage,
            device=machine.device,
            streamed=tuple(sorted(self._plan.streamed)),
            data_cpus=machine.data_cpus_per_stage,
            stop_file=str(self.stop.file.absolute()),
            record={"command": self._command},
        )

    def parent_folder(self, key: str) -> Path | None:
        """The checkpoint that a stage starts from."""
        return self._folder(self._plan.stages[key].spec.parent)

    def _folder(self, key: str | None) -> Path | None:
        entry = None if key is None else self.store.find(key)
        return None if entry is None else entry.folder.absolute()

    def next_stage(self) -> str | None:
        """Take the next stage to start here; None while all that is left waits for others.

        What another driver of the same store trains is put back; what it has ended is adopted.
        """
        elsewhere, found = [], None
        while found is None and (key := self.schedule.next_ready()) is not None:
            if self._adopt(key):
                continue
            if not self.leases.take(key):
                elsewhere.append(key)
            elif self._adopt(key):  # it ended between the look and the lease
                self.leases.release(key)
            else:
                found = key
        for key in elsewhere:
            self.schedule.put_back(key)
        return found

    def _adopt(self, key: str) -> bool:
        """Count a stage as ended if another driver has ended it since the run began."""
        stage, entry = self._plan.stages[key], self.store.find(key)
        if entry is None or not complete(stage, entry, self.store):
            return False
        self._log.write("adopted", key=key, **adopted(entry, stage, self.store))
        self._note_blocked(self.schedule.finish(key, usable=entry.kind == "stage"))
        return True

    def started(self, key: str) -> None:
        """A stage begins."""
        self._log.write("stage_start", key=key, name=self._plan.stages[key].name)

    def reported(self, key: str, result: dict[str, Any]) -> None:
        """A stage has finished an epoch or ended."""
        if "epoch" in result:
            names = ("epoch", "step", "loss", "accuracy", "lr", "images_seen", "seconds_epoch")
            record = {n: result[n] for n in names if n in result}
            record["seconds"] = record.pop("seconds_epoch")
            self._log.write("epoch", key=key, record=record)
        first = self.progress.first_start or math.inf
        self.progress.first_start = min(first, result["started_at"])
        if result["status"] != "running":
            self._statuses[key] = result

    def ended(
        self, key: str, trial_id: str | None = None, seconds: dict[str, float] | None = None
    ) -> None:
        """A stage's process is through with it: committed, or not.

        Args:
            key: of the stage.
            trial_id: of Tune.
            seconds: by kind of work, the commit included; None takes those last reported.
        """
        result = self._statuses.pop(key, {"status": "failed", "reason": "its process died"})
        self.leases.release(key)
        entry = self.store.find(key)
        status = result["status"]
        committed = entry is not None and entry.kind == "stage"
        if (status == "done" and not committed) or (status == "diverged" and entry is None):
            status, result["reason"] = "failed", "it was not committed to the store"
        if status in ("failed", "stopped") and committed:
            status = "done"  # another driver of the same store was faster
        self.progress.statuses[key] = status
        self.progress.last_end = time.time()
        if result.get("reason"):
            self.progress.reasons[key] = result["reason"]
        for kind, spent in (seconds or result.get("seconds", {})).items():
            self.progress.seconds[kind] = self.progress.seconds.get(kind, 0.0) + spent
        extra = {k: v for k, v in result.items() if k.startswith("accuracy_")}
        self._log.write(
            "stage_end",
            key=key,
            status=status,
            reason=result.get("reason"),
            trial_id=trial_id,
            folder=entry.folder.name if entry else None,
            epochs=entry.jsonl("epochs.jsonl") if entry else [],
            **extra,
        )
        if status != "stopped":
            self._note_blocked(self.schedule.finish(key, usable=status == "done"))

    def again(self, key: str) -> None:
        """A stage that was lost with its node goes on from its last epoch in another trial."""
        self._statuses.pop(key, None)
        self.leases.release(key)
        self.schedule.put_back(key)

    def _note_blocked(self, keys: list[str]) -> None:
        for key in keys:
            self.progress.statuses[key] = "blocked"
            self._log.write("blocked", key=key, name=self._plan.stages[key].name)


def run_inline(launch: Launch) -> None:
    """The same plan in this process, one stage after another."""
    keep_freed_memory()
    while not launch.stop.event.is_set():
        key = launch.next_stage()
        if key is None:
            if launch.schedule.exhausted:
                return
            launch.stop.event.wait(LOOK_AGAIN_S)
            continue
        launch.started(key)
        run = StageRun(launch.job(key))
        run.restore_or_fail(launch.parent_folder(key))
        while True:
            result = run.advance()
            launch.reported(key, result)
            if result["status"] != "running":
                break
        try:
            run.commit()
        except OSError as error:
            if error.errno == errno.ENOSPC:  # every other stage would meet it, too
                raise
            fault = {"status": "failed", "reason": describe(error)}
            launch.reported(key, fault | {"started_at": result["started_at"]})
        launch.ended(key, seconds=run.seconds)


def run_tune(launch: Launch, slots: int, resources: Sequence[dict[str, float]]) -> None:
    """The plan through Tune: a trial per stage with all its `cluster.bundles_of`, parents gated."""
    environment = {
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_RESULT_BUFFER_LENGTH": "1000",
        "TUNE_RESULT_BUFFER_MIN_TIME_S": "4",
        "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # the Callback gives all of them back
        "TUNE_MAX_PENDING_TRIALS_PG": str(slots),
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
    os.environ.update(environment)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it misses loggers that we switched off
    from ray import tune
    from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner

    from orchestrator.searcher import (
        EventCallback,
        StageSearcher,
        TransitionScheduler,
        place_of,
        saved_seconds,
    )
    from trainables.trainable import StageTrainable

    trials = launch.folder.absolute() / "tune"

    def config_of(key: str) -> dict[str, Any]:
        folder = launch.parent_folder(key)
        launch.started(key)
        return {
            "key": key,
            "job": launch.job(key).model_dump_json(),
            "parent_folder": None if folder is None else str(folder),
        }

    scheduler = TransitionScheduler()

    def ended(key: str, trial_id: str) -> None:
        if trial_id in scheduler.dropped:
            launch.again(key)
        else:
            launch.ended(key, trial_id, saved_seconds(trials / trial_id))

    searcher = StageSearcher(
        launch.schedule, launch.next_stage, config_of, ended, launch.stop.event
    )
    group = tune.PlacementGroupFactory([*resources], strategy="SPREAD")
    tuner = Tuner(
        tune.with_resources(StageTrainable, group),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=TRIALS_A_STAGE * max(len(launch.missing), 1),
            max_concurrent_trials=slots,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=RunConfig(
            name=trials.name,
            **place_of(trials.parent),
            verbose=0,
            callbacks=[EventCallback(launch.reported)],
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(checkpoint_frequency=0),
        ),
    )
    tuner.fit()
