"""Which stages each of Tune's trials trains: one, or several where the driver has no time.

What a stage goes through, and who moves it on:

| from | when | to |
| --- | --- | --- |
| waiting | its parent has ended with weights (`Schedule.finish`) | ready |
| waiting | its parent has none: diverged or failed (`Launch._note_blocked`) | blocked |
| ready | its lease is taken (`Launch.next_stage`), a trial begins (`Trials.begin`) | running |
| ready | another driver has ended it (`Launch._adopt`) | ended |
| running | it reports an epoch (`Launch.reported`) | running |
| running | its process is through with it (`Launch.ended`, what it left decides) | ended |
| running | its node is lost, or its trial ends before its turn (`Launch.again`) | ready |
"""

import json
from pathlib import Path
from typing import Any

from orchestrator.launch import Launch
from trainables.bucket import original_of


class Trials:
    """The stages that each running trial has still to train, the running one first."""

    def __init__(self, launch: Launch, slots: int, folder: Path) -> None:
        """No trial yet.

        Args:
            launch: what the driver keeps of the run.
            slots: trials at a time.
            folder: in which each trial has one with its name.
        """
        self._launch = launch
        self._slots = slots
        self._folder = folder
        self._left: dict[str, list[tuple[str, str]]] = {}  # keys and jobs as JSON
        self._dropped: set[str] = set()
        self._faults: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it is given, for a restore of its own that is never used."""
        return {}

    @property
    def exhausted(self) -> bool:
        """No stage is to be started any more; those of a running trial may still come back."""
        stopped = self._launch.stop.event.is_set()
        return stopped or (self._launch.schedule.exhausted and not self._left)

    def begin(self, trial_id: str) -> dict[str, Any] | None:
        """The config of a new trial; None at the end, and while all that is left waits."""
        keys = [] if self._launch.stop.event.is_set() else self._launch.next_trial(self._slots)
        if not keys:
            return None
        return self._start(trial_id, [(k, self._launch.job(k).model_dump_json()) for k in keys])

    def _start(self, trial_id: str, left: list[tuple[str, str]]) -> dict[str, Any]:
        self._left[trial_id] = left
        key = left[0][0]
        folder = self._launch.parent_folder(key)
        self._launch.started(key, trial_id)
        parent = None if folder is None else str(folder)
        return {"jobs": [job for _, job in left], "parent_folder": parent}

    def reported(self, trial_id: str, result: dict[str, Any]) -> dict[str, Any] | None:
        """Take a result of the trial's stage.

        Returns:
            Where that was the stage's end and the trial goes on with its next: the config with
            which it would be tried again from there.
        """
        (running, _), *others = self._left[trial_id]
        for each in result["results"]:
            self._launch.reported(running, each)
        if result["status"] == "running" or result["done"]:
            return None
        self._launch.ended(running, trial_id, result["seconds"])
        return self._start(trial_id, others)

    def dropped(self, trial_id: str) -> None:
        """Tune ends this trial though it had tries left."""
        self._dropped.add(trial_id)

    def given_up(self, trial_id: str, fault: str) -> None:
        """Tune tries this trial no more; `fault` is what its last try ended with."""
        self._faults[trial_id] = fault

    def end(self, trial_id: str) -> None:
        """A trial is over; stages that it did not come to go into others."""
        running, *others = [key for key, _ in self._left.pop(trial_id)]
        if trial_id in self._dropped:
            others = [running, *others]
        else:
            seconds = _saved_seconds(self._folder / trial_id)
            self._launch.ended(running, trial_id, seconds, self._faults.pop(trial_id, None))
        for key in others:
            self._launch.again(key)


def _saved_seconds(trial: Path) -> dict[str, float] | None:
    """A stage's seconds by kind of work, as its trial left them when Tune saved it."""
    name = "checkpoint_000000/address.json"
    original = original_of(trial)  # Tune saves in the bucket where the root is a copy of one
    try:
        if original is None:
            text = (trial / name).read_bytes()
        else:
            text = original.bucket.read(f"{original.path}/{name}")
        return json.loads(text or b"")["seconds"]
    except (OSError, ValueError, KeyError):
        return None
