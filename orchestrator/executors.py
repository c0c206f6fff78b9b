"""Runs a plan: through Tune, or inline without Ray, with identical weights."""

import errno
import logging
import os
from collections.abc import Sequence

from orchestrator.launch import Launch
from trainables.errors import describe
from trainables.memory import keep_freed_memory
from trainables.stage_run import StageRun

#: How often a driver with nothing to do looks whether another one has ended a stage.
LOOK_AGAIN_S = 1.0
#: More than one only where Tune drops a stage whose node was lost, see `TransitionScheduler`.
TRIALS_A_STAGE = 10


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
    """The plan through Tune, each trial with the `cluster.bundles_of` of one stage."""
    environment = {
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # the Callback gives all of them back
        "TUNE_MAX_PENDING_TRIALS_PG": str(slots),
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
    os.environ.update(environment)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it misses loggers that we switched off
    from ray import tune
    from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner

    from orchestrator.searcher import EventCallback, StageSearcher, TransitionScheduler, place_of
    from orchestrator.trials import Trials
    from trainables.trainable import StageTrainable

    folder = launch.folder.absolute() / "tune"
    trials = Trials(launch, slots, folder)
    group = tune.PlacementGroupFactory([*resources], strategy="SPREAD")
    tuner = Tuner(
        tune.with_resources(StageTrainable, group),
        tune_config=TuneConfig(
            search_alg=StageSearcher(trials),
            scheduler=TransitionScheduler(trials),
            num_samples=TRIALS_A_STAGE * max(len(launch.missing), 1),
            max_concurrent_trials=slots,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=RunConfig(
            name=folder.name,
            **place_of(folder.parent),
            verbose=0,
            callbacks=[EventCallback(trials)],
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(checkpoint_frequency=0),
        ),
    )
    tuner.fit()
