"""A stage as a Tune trainable: step is one epoch, a transition is a checkpoint restore."""

import json
import os
import signal
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from ray import tune

from trainables.errors import TakenBackError
from trainables.memory import keep_freed_memory
from trainables.ray_blocks import stream_by_ray
from trainables.stage_job import StageJob
from trainables.stage_run import StageRun

#: Of stage processes; the driver keeps 0.
NICENESS = 5


class StageTrainable(tune.Trainable):
    """Drives a `StageRun` through Tune's own restore, train and save calls.

    `config["job"]` is the JSON of a `StageJob`. The checkpoint that Tune restores first is the
    parent's folder in the store; the checkpoint that Tune saves names the stage's own folder
    there, so weights are written once.
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

        A stage that is being evaluated or saved is finished first.
        """
        self._told_to_end = True
        if self._in_step and self._run is not None:
            self._run.told_to_end = True
        elif callable(self._end_at_once):
            self._end_at_once(number, frame)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next stage; the process and its opened views stay."""
        self._job = StageJob.model_validate_json(new_config["job"])
        self._record: dict[str, str] = {}
        self._run: StageRun | None = None
        return True

    def load_checkpoint(self, checkpoint: dict | str | None) -> None:
        """Restore the parent's weights, or this stage's own progress if there is any."""
        folder = Path(str(checkpoint))
        self._record["restored_from"] = self._name_of(folder)
        self._start(_parent_folder(folder))

    def _name_of(self, folder: Path) -> str:
        """What Tune brings out of a bucket lies in a folder with a passing name."""
        parent = (self.config or {}).get("parent_folder")
        return Path(str(parent)).name if parent and self._job.copy_of else folder.name

    def step(self) -> dict[str, Any]:
        """Train one epoch; the last one also evaluates. At the end it repeats its last word.

        Raises:
            TakenBackError: after SIGTERM, which costs Tune this actor; the stage goes on elsewhere.
        """
        run = self._run or self._start(None)
        self._in_step = True
        result = run.advance()
        self._in_step = False
        ended = result["status"] != "running"
        unfinished = result["status"] in ("running", "stopped")
        if self._told_to_end and unfinished and not self._job.stop_requested():
            raise TakenBackError
        return result | {"done": ended, "should_checkpoint": ended, "trial_pid": os.getpid()}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Commit the stage to the store and leave its address for Tune."""
        run = self._run or self._start(None)
        folder = run.commit()
        address = {"folder": str(folder) if folder else None, "seconds": run.seconds}
        (Path(checkpoint_dir) / "address.json").write_text(json.dumps(address))

    def _start(self, folder: Path | None) -> StageRun:
        record = self._job.record | self._record | {"trial_id": self.trial_id}
        blocks = partial(stream_by_ray, n_cpus=self._job.data_cpus)
        self._run = StageRun(self._job.model_copy(update={"record": record}), blocks)
        self._run.told_to_end = self._told_to_end
        self._run.restore_or_fail(folder)
        return self._run


def _parent_folder(checkpoint: Path) -> Path | None:
    """The store's folder behind a checkpoint: itself, or the one an own checkpoint names."""
    address = checkpoint / "address.json"
    if not address.exists():
        return checkpoint
    return None
