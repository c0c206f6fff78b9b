"""Stages as a Tune trainable: a step is an epoch or some, a transition a checkpoint restore."""

import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from ray import tune

from trainables.errors import LostDeviceError, TakenBackError
from trainables.memory import keep_freed_memory
from trainables.ray_blocks import stream_by_ray
from trainables.stage_job import StageJob
from trainables.stage_run import StageRun
from trainables.store import Store

#: Of stage processes; the driver keeps 0.
NICENESS = 5
#: Shorter epochs are reported together: after each report a stage waits for the driver.
REPORT_EVERY_S = 2.0


class StageTrainable(tune.Trainable):
    """Drives a `StageRun` through Tune's own restore, train and save calls.

    `config["jobs"]` are the JSON of `StageJob`s, trained one after another: of one, or of several
    that are short. The checkpoint that Tune restores first is the first one's parent's folder in
    the store, the next ones restore theirs; the checkpoint that Tune saves names the last one's own
    folder there, so weights are written once.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Pay torch's first optimiser (seconds) here, and let the driver's short work go first.

        On a machine whose cores all train, a driver of equal priority answers late, and the slots
        wait for it.
        """
        os.nice(max(0, NICENESS - os.nice(0)))
        if not hasattr(self, "_end_at_once"):
            self._told_to_end = self._in_step = False
            self._end_at_once = signal.signal(signal.SIGTERM, self._end_in_order)
        keep_freed_memory()
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        self.reset_config(config)

    def _end_in_order(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM in an epoch ends the stage at its next batch; outside one, as Ray has it.

        A stage that is being saved is finished first.
        """
        self._told_to_end = True
        if self._in_step and self._run is not None:
            self._run.told_to_end = True
        elif callable(self._end_at_once):
            self._end_at_once(number, frame)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next stages; the process and its opened views stay."""
        self._jobs = [StageJob.model_validate_json(job) for job in new_config["jobs"]]
        self.config = {"parent_folder": new_config["parent_folder"]}  # it is part of each result
        self._next_job()
        return True

    def _next_job(self) -> None:
        self._job = self._jobs.pop(0)
        self._record: dict[str, str] = {}
        self._run: StageRun | None = None

    def load_checkpoint(self, checkpoint: dict | str | None) -> None:
        """Restore the parent's weights, or this stage's own progress if there is any."""
        folder = Path(str(checkpoint))
        self._record["restored_from"] = self._name_of(folder)
        self._start(_parent_folder(folder))

    def _name_of(self, folder: Path) -> str:
        """What Tune brings out of a bucket lies in a folder with a passing name."""
        parent = self.config["parent_folder"]
        return Path(str(parent)).name if parent and self._job.copy_of else folder.name

    def step(self) -> dict[str, Any]:
        """Train an epoch, or some short ones; the last one also evaluates.

        At the end it repeats its last word. A stage that is not the trial's last is put into the
        store here, Tune saves only that.

        Returns:
            What `StageRun.advance` last returned; all that it did under `results`.

        Raises:
            TakenBackError: after SIGTERM, which costs Tune this actor; the stage goes on elsewhere.
            LostDeviceError: this process cannot use its GPU any more; Tune tries in another.
        """
        run = self._run or self._start(self._parent())
        self._in_step = True
        results = list(_some_epochs(run))
        if run.lost_device:
            raise LostDeviceError(run.lost_device)
        status = run.status
        over = status != "running" and not self._goes_on(run)
        self._in_step = False
        unfinished = status in ("running", "stopped")
        if self._told_to_end and unfinished and not self._job.stop_requested():
            raise TakenBackError
        last = results[-1] | {"seconds": dict(run.seconds), "results": results}
        return last | {"done": over, "should_checkpoint": over, "trial_pid": os.getpid()}

    def _goes_on(self, run: StageRun) -> bool:
        """Put an ended stage into the store and turn to the next; False where Tune is to save it.

        So a store that cannot be written is met in Tune's save, which it tries again.
        """
        if run.status == "stopped" or not self._jobs:
            return False
        try:
            run.commit()
        except OSError:
            return False
        self._next_job()
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Commit the stage to the store and leave its address for Tune."""
        run = self._run or self._start(self._parent())
        folder = run.commit()
        address = {"folder": str(folder) if folder else None, "seconds": run.seconds}
        (Path(checkpoint_dir) / "address.json").write_text(json.dumps(address))

    def _parent(self) -> Path | None:
        """Where the store has the weights that a stage begins with, if Tune has not restored it."""
        parent = self._job.spec.parent
        entry = None if parent is None else Store(Path(self._job.here().store)).find(parent)
        if entry is None:
            return None
        self._record["restored_from"] = entry.folder.name
        return entry.folder

    def _start(self, folder: Path | None) -> StageRun:
        record = self._job.record | self._record | {"trial_id": self.trial_id}
        blocks = partial(stream_by_ray, n_cpus=self._job.data_cpus)
        self._run = StageRun(self._job.model_copy(update={"record": record}), blocks)
        self._run.told_to_end = self._told_to_end
        self._run.restore_or_fail(folder)
        return self._run


def _some_epochs(run: StageRun) -> Iterator[dict[str, Any]]:
    until = time.monotonic() + REPORT_EVERY_S
    yield run.advance()
    while run.status == "running" and time.monotonic() < until:
        yield run.advance()


def _parent_folder(checkpoint: Path) -> Path | None:
    """The parent's entry where Tune restores from it; None of a stage's own: the store has that."""
    return None if (checkpoint / "address.json").exists() else checkpoint
