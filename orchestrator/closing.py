"""The end of a run: its summary for MLflow, and what the user reads last."""

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cluster import local_cpus
from orchestrator.display import duration, next_line, program
from orchestrator.events import read_events
from orchestrator.tracked_model import BestCell
from orchestrator.tracking import Tracker
from trainables.store import Store

if TYPE_CHECKING:
    from orchestrator.sweep import Outcome

KINDS = ("train", "evaluate", "load", "store")


def close_tracking(
    outcome: "Outcome", files: Sequence[Path], note: str, fault: BaseException | None = None
) -> None:
    """Write the sweep's summary metrics, description and artifacts; wait until they are sent.

    `fault` is what kept the pages from being written.
    """
    accuracies = [row["accuracy_low"] for row in outcome.rows if row["status"] == "done"]
    metrics = {
        "cells": float(len(outcome.rows)),
        "cells_done": float(len(accuracies)),
        "stages_trained": float(len(outcome.progress.trained)),
        "best_accuracy_low": max(accuracies, default=math.nan),
    }
    metrics |= {f"{_slug(name)}_s": round(s, 3) for name, s in outcome.seconds.items()}
    extra = [outcome.folder / name for name in ("results.parquet", "plan.json", "recipe.yaml")]
    last = (_status(outcome, fault), metrics, note, [*files, *extra], best_cell(outcome))
    outcome.tracker.finish(*last)
    if outcome.tracker.failure is not None:
        outcome.tracker = _tracker_anew(outcome)
        outcome.tracker.finish(*last)


def _status(outcome: "Outcome", fault: BaseException | None) -> str:
    if outcome.signal is not None or isinstance(fault, KeyboardInterrupt):
        return "stopped"
    return "done" if outcome.exit_status == 0 and fault is None else "failed"


def _tracker_anew(outcome: "Outcome") -> Tracker:
    """MLflow may be back: what it lacks is mirrored from the run's record, in bounded time."""
    uri = outcome.tracker.uri
    tracker = Tracker(outcome.experiment, outcome.plan, outcome.root, uri, trains=False)
    events = read_events(outcome.folder / "events.jsonl")
    tracker.replay(event for event in events if event.get("key") in outcome.plan.stages)
    return tracker


def best_cell(outcome: "Outcome") -> BestCell | None:
    """The done cell that is best on low-res test photos, the first of equals; None without any."""
    done = [row for row in outcome.rows if row["status"] == "done"]
    if not done:
        return None
    row, root = max(done, key=lambda row: row["accuracy_low"]), outcome.folder.parent
    entry = Store(root / "store").find(row["stage_key"])
    if entry is None:
        return None
    return BestCell(
        row["cell"],
        row["accuracy_low"],
        row["stage_key"],
        entry.folder,
        outcome.plan.tests[row["cell"]]["low"],
        root / "data",
    )


def _slug(text: str) -> str:
    return text.replace(" ", "_").replace("-", "_")


def last_words(
    outcome: "Outcome", files: Sequence[Path], arguments: Sequence[str]
) -> Iterator[str]:
    """Where the time went, what failed and why, where everything lies, and what to run next."""
    yield from time_lines(outcome)
    yield from _counts(outcome)
    for file in files:
        if file.name == "report.html":
            yield f"report   {file}"
        if file.suffix == ".png":
            yield f"figure   {file}"
    yield f"results  {outcome.folder / 'results.parquet'}"
    yield from _tracking_lines(outcome)
    yield _next_command(outcome, arguments)


def _next_command(outcome: "Outcome", arguments: Sequence[str]) -> str:
    given = shlex.join(arguments)
    if outcome.exit_status == 0:
        return next_line("status", *arguments)
    if {row["status"] for row in outcome.rows} <= {"done", "diverged", "blocked"}:
        rate = outcome.experiment.recipe.train.lr / 3
        return (
            "next     what diverged stays so at its settings; with a third of the rate:\n"
            f"         {program()} run {given} --train.lr {rate:.2g}"
        )
    return f"resume   {program()} run {given}".rstrip()


def time_lines(outcome: "Outcome") -> Iterator[str]:
    """The run's own account of its time."""
    seconds = outcome.seconds
    if "slots" not in seconds:
        yield "time     nothing was trained"
        return
    slots, n_slots = seconds["slots"], outcome.progress.slots
    parts = {kind: seconds.get(f"slot {kind}", 0.0) / slots for kind in KINDS}
    useful = parts["train"] + parts["evaluate"]
    yield (
        f"time     start-up {duration(seconds.get('start-up'))} (Ray "
        f"{duration(seconds.get('ray start'))}, preparation beside it "
        f"{duration(seconds.get('preparation', 0.0))}), stages {duration(seconds['stages'])} on "
        f"{n_slots} slot{'s'[: n_slots != 1]} of {local_cpus()} CPUs"
    )
    shares = ", ".join(f"{kind} {share:.1%}" for kind, share in parts.items())
    yield (
        f"         of the slots' time: {shares}, Ray, Tune and waiting "
        f"{1 - sum(parts.values()):.1%}; neither training nor evaluation {1 - useful:.1%}"
    )
    yield f"         MLflow {outcome.tracker.seconds:.1f} s beside the training"


def _counts(outcome: "Outcome") -> Iterator[str]:
    statuses = [row["status"] for row in outcome.rows]
    counts = ", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses))
    yield f"cells    {counts}"
    for key, status in outcome.progress.statuses.items():
        if status in ("failed", "diverged"):
            reason = outcome.progress.reasons.get(key, "")
            yield f"{status:8} {outcome.plan.stages[key].name}: {reason}"


def _tracking_lines(outcome: "Outcome") -> Iterator[str]:
    tracker = outcome.tracker
    if tracker.failure is not None:
        yield (
            f"MLflow   not reached ({tracker.failure}); nothing else is missing, and the same "
            "command again fills it in"
        )
        return
    if tracker.uri.startswith("sqlite:"):
        yield f"MLflow   {program('mlflow')} ui --backend-store-uri {tracker.uri}"
    yield f"         then open {tracker.link} (click + to unfold)"
