"""What a running plan's driver keeps: which stage is next, what each has reported, how it ended."""

import math
import time
from collections.abc import Callable
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
from trainables.entry import Entry
from trainables.stage_job import StageJob
from trainables.store import Store


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
            if not self.leases.take(key):
                if not self._adopt(key):
                    elsewhere.append(key)
            elif self._adopt(key):
                self.leases.release(key)
            else:
                found = key
        for key in elsewhere:
            self.schedule.put_back(key)
        return found

    def next_trial(self, slots: int) -> list[str]:
        """Take the stages of the next trial; none while all that is left waits for others."""
        return self.schedule.next_trial(slots, self.next_stage)

    def _adopt(self, key: str) -> bool:
        """Count a stage as ended if another driver has ended it since the run began."""
        stage, entry = self._plan.stages[key], self.store.find(key)
        if entry is None or not complete(stage, entry, self.store.find):
            return False
        self._log.write("adopted", key=key, **adopted(entry, stage, self.store))
        self._note_blocked(self.schedule.finish(key, usable=entry.kind == "stage"))
        return True

    def started(self, key: str, trial_id: str | None = None) -> None:
        """A stage begins, in a trial of Tune's or without."""
        name = self._plan.stages[key].name
        self._log.write("stage_start", key=key, name=name, trial_id=trial_id)

    def reported(self, key: str, result: dict[str, Any]) -> None:
        """A stage has finished an epoch, or ended."""
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
        self,
        key: str,
        trial_id: str | None = None,
        seconds: dict[str, float] | None = None,
        fault: str | None = None,
    ) -> None:
        """A stage's process is through with it: committed, or not.

        Args:
            key: of the stage.
            trial_id: of Tune.
            seconds: by kind of work, the commit included; None takes those last reported.
            fault: over which its trial was given up.
        """
        died = {"status": "failed", "reason": fault or "its process died"}
        result = self._statuses.pop(key, died)
        self.leases.release(key)
        entry = self.store.find(key)
        status = self._judge(key, entry, result, fault)
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
        if status != "stopped":  # children need the weights, not the tests
            usable = entry is not None and entry.kind == "stage"
            self._note_blocked(self.schedule.finish(key, usable=usable))

    def _judge(
        self, key: str, entry: Entry | None, result: dict[str, Any], fault: str | None
    ) -> str:
        """A stage's status: what the store has of it, whatever its process said last."""
        if entry is not None and complete(self._plan.stages[key], entry, self.store.find):
            return "done" if entry.kind == "stage" else "diverged"
        if result["status"] not in ("done", "diverged"):
            return result["status"]
        result["reason"] = "it was not committed to the store" + (f": {fault}" if fault else "")
        return "failed"

    def again(self, key: str) -> None:
        """A stage that was lost with its node goes on from its last epoch in another trial."""
        self._statuses.pop(key, None)
        self.leases.release(key)
        self.schedule.put_back(key)

    def _note_blocked(self, keys: list[str]) -> None:
        for key in keys:
            self.progress.statuses[key] = "blocked"
            self._log.write("blocked", key=key, name=self._plan.stages[key].name)
