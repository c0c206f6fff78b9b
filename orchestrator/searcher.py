"""Tune's interfaces to `Trials`: a Searcher gates stages, a scheduler sets their parent."""

from pathlib import Path
from typing import Any

from ray.train._internal.session import _TrainingResult
from ray.tune import Callback, Checkpoint
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from orchestrator.trials import Trials
from trainables.bucket import original_of
from trainables.errors import TakenBackError

#: Ray's words for a node that is gone and for SIGTERM outside an epoch, and ours for it inside.
TAKEN_BACK = ("its node has died", "The process receives a SIGTERM", TakenBackError.TEXT)
#: Ray's words for a process that its memory monitor has chosen.
OUT_OF_MEMORY = "the node running low on memory"


class StageSearcher(Searcher):
    """Suggests the next trial, None to wait, FINISHED at the end or when asked to stop.

    A TrialScheduler cannot hold a trial back; a Searcher can.
    """

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def suggest(self, trial_id: str) -> Any:
        """The config of the next trial; None to wait; FINISHED, which Tune's own type omits."""
        config = self._trials.begin(trial_id)
        return Searcher.FINISHED if config is None and self._trials.exhausted else config

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict | None = None,  # noqa: ARG002 - Tune's signature
        error: bool = False,  # noqa: ARG002, FBT001, FBT002
    ) -> None:
        """The trial has ended and its checkpoint is saved: its children may start."""
        self._trials.end(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the plan is a function of the recipe and the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore, see `save`."""


class TransitionScheduler(FIFOScheduler):
    """Gives each new trial its parent's folder as the checkpoint that Tune restores it from."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Note why a trial is given up, or that it should have been tried again.

        Tune ends one that waits for its next try when two tasks of one lost actor fail at once.
        """
        if trial.status == Trial.PENDING and trial.should_recover():
            self._trials.dropped(trial.trial_id)
        elif (fault := fault_in(_last_failure(trial.error_file))) is not None:
            self._trials.given_up(trial.trial_id, fault)
        super().on_trial_error(tune_controller, trial)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Point the trial at the checkpoint of the stage that it continues."""
        _restore_from_parent(trial)
        super().on_trial_add(tune_controller, trial)


def _restore_from_parent(trial: Trial) -> None:
    folder = trial.config["parent_folder"]
    checkpoint = None if folder is None else _checkpoint(Path(folder))
    restored = None if checkpoint is None else _TrainingResult(checkpoint=checkpoint, metrics={})
    trial._restore_checkpoint_result = restored  # noqa: SLF001 - as Trial(restore_path=)


def _checkpoint(folder: Path) -> Any:  # Tune's Checkpoint; its two names confuse type checkers
    """An entry of the store as Tune restores it; out of the bucket where the store is a copy."""
    original = original_of(folder)
    if original is None:
        return Checkpoint.from_directory(str(folder))
    return Checkpoint(original.bucket.path(original.path), original.bucket.filesystem)


def place_of(folder: Path) -> dict[str, Any]:
    """Where Tune keeps its own files: a folder, or the bucket that it is a copy of."""
    original = original_of(folder)
    if original is None:
        return {"storage_path": str(folder)}
    bucket = original.bucket
    return {"storage_path": bucket.path(original.path), "storage_filesystem": bucket.filesystem}


class EventCallback(Callback):
    """Hands results to the driver, and has a trial tried again from the stage it had come to."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002 - Tune's signature
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Report a result; a trial that goes on with another stage has all its tries again."""
        config = self._trials.reported(trial.trial_id, result)
        if config is not None:
            trial.config = config
            _restore_from_parent(trial)
            trial.run_metadata.num_failures = 0
            trial.run_metadata.invalidate_cache()

    def on_trial_recover(
        self,
        iteration: int,  # noqa: ARG002 - Tune's signature
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        **info: Any,  # noqa: ARG002
    ) -> None:
        """A stage whose node was lost goes on elsewhere; that uses up none of its retries.

        Tune counts each failure once, with RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE also those that
        Ray knows as preemption.
        """
        if lost_its_node(trial.error_file):
            trial.run_metadata.num_failures -= 1
            trial.run_metadata.invalidate_cache()


def lost_its_node(error_file: str | None) -> bool:
    """Whether the last failure in a trial's error file is the loss of its node or process."""
    last = _last_failure(error_file)
    return any(words in last for words in TAKEN_BACK)


def _last_failure(error_file: str | None) -> str:
    if error_file is None:
        return ""
    return Path(error_file).read_text(encoding="utf-8").rpartition("Failure # ")[2]


def fault_in(failure: str) -> str | None:
    """What a trial's failure says in one line; None of a process that died and left no word."""
    if OUT_OF_MEMORY in failure:
        return "Ray ended its process, since its node ran low on memory"
    _, traceback, error = failure.rpartition("\n  ")
    lines = error.splitlines()[1:]
    return lines[0].rpartition(".errors.")[2] if traceback and lines else None
