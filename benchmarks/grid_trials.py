"""One Tune trial a cell, and what such a side has done."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grid_work import Done, GridWork
from ray import tune

from orchestrator.cluster import Machine, ray_session


def run_trials(
    work: GridWork,
    trainable: type[tune.Trainable],
    parameters: dict[str, Any],
    inline: Sequence[Callable[[], dict[str, Any]]],
    prepare: Callable[[], None],
    executor: str,
) -> Done:
    """One trial a cell; `inline` does the same in this process, for tests without Ray."""
    if executor == "inline":
        began = time.perf_counter()
        prepare()
        results = [call() for call in inline]
        return done_of(work, time.perf_counter() - began, results)
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    with ray_session(Machine(Path())) as slots:
        began = time.perf_counter()
        prepare()
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, **parameters), {"cpu": 1}),
            param_space={"cell": tune.grid_search(list(range(len(work.plan.cells))))},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=slots),
            run_config=tune.RunConfig(
                name="trials", storage_path=str(Path("trials").absolute()), verbose=0
            ),
        )
        found = sorted(tuner.fit(), key=lambda result: (result.config or {})["cell"])
        seconds = time.perf_counter() - began
    return done_of(work, seconds, [result.metrics or {} for result in found])


def done_of(work: GridWork, seconds: float, results: Sequence[dict[str, Any]]) -> Done:
    cells = list(work.chains())
    names = ("images", "updates", "epochs")
    counts = {c: [r[name] for name in names] for c, r in zip(cells, results, strict=True)}
    accuracies = {c: r["accuracy_low"] for c, r in zip(cells, results, strict=True)}
    return Done(seconds, sum(result["images"] for result in results), counts, accuracies)
