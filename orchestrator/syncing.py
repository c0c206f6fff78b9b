"""`f2c sync`: what MLflow lacks of a run, out of the run's own record. Twice changes nothing."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

from orchestrator.cluster import check_root
from orchestrator.control import only_one
from orchestrator.display import next_line, program
from orchestrator.events import read_events
from orchestrator.experiment import load_experiment
from orchestrator.flags import leading_words, parse
from orchestrator.plan import make_plan
from orchestrator.run_tags import tracking_uri
from orchestrator.tracking import Tracker
from trainables.errors import BusyError, ConfigError

FILES = ("results.parquet", "plan.json", "recipe.yaml", "report.html")


def sync(arguments: Sequence[str], console: Console) -> int:
    """Mirror the record of a run into MLflow.

    Raises:
        ConfigError: when not one recipe is named, its root cannot be written, or it is going on.
        DataError: when it has left no record.
        BusyError: when MLflow could not be reached.
    """
    words = leading_words(arguments)
    if len(words) != 1:
        raise ConfigError("sync wants one recipe, with the flags of its run: f2c sync demo")
    recipe, machine = parse(words[0], arguments[1:])
    check_root(machine.root)
    uri = tracking_uri(machine.root, machine.tracking_uri)
    folder = machine.root / recipe.name
    events = list(read_events(folder / "events.jsonl"))
    experiment = load_experiment(recipe, machine.root, must_exist=True)
    plan = make_plan([experiment])
    with only_one(folder / ".lock"):
        tracker = Tracker(experiment, plan, machine.root, uri, trains=False)
        tracker.replay(event for event in events if event.get("key") in plan.stages)
        tracker.settle(_files(folder), done=_is_done(folder))
    if tracker.failure is not None:
        raise BusyError(f"MLflow was not reached ({tracker.failure}); run the same command again")
    console.print(f"MLflow has what {folder} records: {tracker.link}")
    if uri.startswith("sqlite:"):
        console.print(f"next     {program('mlflow')} ui --backend-store-uri {shlex.quote(uri)}")
    else:
        console.print(next_line("report", *arguments))
    return 0


def _files(folder: Path) -> list[Path]:
    named = [folder / name for name in FILES]
    drawn = [*folder.glob("tables/*"), *folder.glob("figures/*")]
    return [file for file in (*named, *sorted(drawn)) if file.is_file()]


def _is_done(folder: Path) -> bool:
    file = folder / "results.parquet"
    if not file.is_file():
        return False
    statuses = pq.read_table(file, columns=["status"])["status"].to_pylist()
    return all(status == "done" for status in statuses)
