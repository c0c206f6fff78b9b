"""Our side of `grid_peers.py`, and the strong peer that shares nothing but has our loop and views.

Seconds are without the start of Ray, which is the same for all sides; ours count the preparation on
top, though it runs beside the start of Ray.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grid_trials import run_trials
from grid_work import Done, GridWork
from ray import tune
from rich.console import Console

from orchestrator.cluster import Machine
from orchestrator.preparing import prepare_views
from orchestrator.roots import import_weights
from orchestrator.sweep import Outcome, Sweep
from trainables.memory import keep_freed_memory
from trainables.prepare import IN_PROCESS_PHOTOS
from trainables.stage_run import StageJob, StageRun
from trainables.store import Store


def ours(work: GridWork, root: Path, executor: str) -> Done:
    """`f2c run` up to its results, without the report."""
    import_weights(work.experiment, Store(root / "store"))
    machine = Machine(root, executor=executor)
    sweep = Sweep(work.experiment, work.plan, machine, "benchmark", Console(quiet=True))
    began = time.perf_counter()
    outcome = sweep.run()
    seconds = time.perf_counter() - began - outcome.seconds["ray start"]
    index = work.experiment.index
    if index is not None and len(index) < IN_PROCESS_PHOTOS:
        seconds += min(outcome.seconds["preparation"], outcome.seconds["ray start"])
    outcome.tracker.finish("done", {}, "", [])
    stages = stage_counts(outcome)
    counts = {
        cell: [sum(numbers) for numbers in zip(*(stages[s.key] for s in chain), strict=True)]
        for cell, chain in work.chains().items()
    }
    images = sum(images for images, _, _ in stages.values())
    accuracies = {row["cell"]: row["accuracy_low"] for row in outcome.rows}
    return Done(seconds, images, counts, accuracies, outcome.seconds)


def stage_counts(outcome: Outcome) -> dict[str, tuple[int, int, int]]:
    """Images, updates and epochs of each stage, from the event log."""
    lines = (outcome.folder / "events.jsonl").read_text().splitlines()
    ends = [event for event in map(json.loads, lines) if event["event"] == "stage_end"]
    return {event["key"]: counts_of(event["epochs"]) for event in ends}


def counts_of(epochs: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    return sum(epoch["images_seen"] for epoch in epochs), epochs[-1]["step"], len(epochs)


def jobs_of(work: GridWork, root: Path) -> dict[str, list[str]]:
    """Each cell's stages as jobs of a store of its own, so that no cell finds another's."""
    data = str((root / "data").absolute())
    jobs: dict[str, list[str]] = {}
    for cell, chain in work.chains().items():
        store = str((root / "stores" / cell.replace("/", "-")).absolute())
        jobs[cell] = [
            StageJob(
                key=stage.key,
                name=stage.name,
                spec=stage.spec,
                evaluations=stage.evaluations,
                store=store,
                data=data,
            ).model_dump_json()
            for stage in chain
        ]
    return jobs


def train_chain(jobs: Sequence[str], root: Path | None) -> dict[str, Any]:
    """Train and commit a cell's stages in order; the last one's result."""
    folder, result, counts = root, {}, []
    for text in jobs:
        run = StageRun(StageJob.model_validate_json(text))
        run.restore(folder)
        result = run.advance()
        while result["status"] == "running":
            result = run.advance()
        if result["status"] != "done":
            raise SystemExit(f"{run.job.name}: {result}")
        counts.append(counts_of(run.epochs))
        folder = run.commit()
    images, updates, epochs = (sum(numbers) for numbers in zip(*counts, strict=True))
    counted = {"images": images, "updates": updates, "epochs": epochs}
    return counted | {"accuracy_low": result["accuracy_low"], "done": True}


class OurLoop(tune.Trainable):
    """One trial a cell with this program's loop."""

    def setup(
        self, config: dict[str, Any], jobs: list[list[str]] | None = None, root: str | None = None
    ) -> None:
        keep_freed_memory()
        self.jobs, self.root = jobs or [], None if root is None else Path(root)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cell = new_config["cell"]
        return True

    def step(self) -> dict[str, Any]:
        return train_chain(self.jobs[self.cell], self.root)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The stores hold the weights."""

    def load_checkpoint(self, checkpoint: dict | str | None) -> None:
        """Never asked for."""


def strong(work: GridWork, root: Path, executor: str) -> Done:
    """Our preparation, then one trial a cell with our loop: only sharing and order differ."""
    store = Store(root / "store")
    import_weights(work.experiment, store)
    key = work.experiment.weights_key
    entry = None if key is None else store.find(key)
    start = None if entry is None else str(entry.folder.absolute())

    def prepare() -> None:
        views = list(work.plan.views().values())
        prepare_views(work.experiment, views, root, Console(quiet=True), lambda: False)

    folder = None if start is None else Path(start)
    inline = [lambda jobs=jobs: train_chain(jobs, folder) for jobs in jobs_of(work, root).values()]
    parameters = {"jobs": list(jobs_of(work, root).values()), "root": start}
    return run_trials(work, OurLoop, parameters, inline, prepare, executor)
