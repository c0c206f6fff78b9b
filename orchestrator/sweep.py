"""One `run` of a recipe, from its plan to finished stages."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console

from orchestrator.cluster import Machine, bundles_of, ray_session
from orchestrator.control import GRACE_S, Stop, only_one
from orchestrator.display import Display, program
from orchestrator.estimate import soonest_s
from orchestrator.events import EventLog
from orchestrator.executors import run_inline, run_tune
from orchestrator.experiment import Experiment
from orchestrator.inventory import (
    Inventory,
    Speeds,
    damaged_parents,
    damaged_records,
    take_inventory,
)
from orchestrator.launch import Launch, Progress
from orchestrator.leases import Leases
from orchestrator.own_ray import end_at_once
from orchestrator.plan import Plan
from orchestrator.predictions import write_predictions
from orchestrator.preflight import check_nodes
from orchestrator.preparing import (
    PreparationStoppedError,
    missing_views,
    photo_work,
    prepare_views,
    write_listings,
)
from orchestrator.results import (
    TESTS_SCHEMA,
    adopted,
    cell_rows,
    rows_of_tests,
    write_plan,
    write_results,
)
from orchestrator.run_tags import tracking_uri
from orchestrator.tracking import SHARE, Tracker
from trainables.disk import replace_text
from trainables.entry import Entry
from trainables.prepare import IN_PROCESS_PHOTOS
from trainables.spec import ViewSpec
from trainables.store import Store


@dataclass
class Outcome:
    """What a sweep leaves: everything that tables, MLflow and the last words need."""

    experiment: Experiment
    plan: Plan
    folder: Path
    progress: Progress
    tracker: Tracker
    rows: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    signal: int | None = None

    @property
    def root(self) -> Path:
        """Where store, data and runs lie."""
        return self.folder.parent

    @property
    def exit_status(self) -> int:
        """0 every cell done, 75 incomplete, 128 + number after a signal."""
        if self.signal is not None:
            return 128 + self.signal
        return 0 if all(row["status"] == "done" for row in self.rows) else 75


class Sweep:
    """A recipe's run on a machine."""

    def __init__(
        self, experiment: Experiment, plan: Plan, machine: Machine, command: str, console: Console
    ) -> None:
        self.experiment = experiment
        self.console = console
        self.plan = plan
        self.machine = machine
        self.command = command
        self.folder = machine.root / experiment.recipe.name
        self.store = Store(machine.root / "store")
        self.data_root = machine.root / "data"
        self.seconds: dict[str, float] = {}

    def run(self) -> Outcome:
        """Prepare, train and evaluate what is missing; never trains what the store has."""
        uri = tracking_uri(self.machine.root, self.machine.tracking_uri)
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_one(self.folder / ".lock"):
            return self._run_alone(uri)

    def _run_alone(self, uri: str) -> Outcome:
        self._write_recipe()
        write_plan(self.folder / "plan.json", self.plan)
        inventory = self._whole_inventory()
        share = SHARE if self.machine.executor == "ray" else 1.0
        tracker = Tracker(self.experiment, self.plan, self.machine.root, uri, share=share)
        try:
            return self._run(inventory, tracker)
        except Exception as error:
            tracker.finish("failed", {}, f"ended by {type(error).__name__}: {error}", [])
            raise

    def _run(self, inventory: Inventory, tracker: Tracker) -> Outcome:
        display = Display(self.plan, inventory.missing, self.console)
        stop = Stop(self.folder / ".stop", self._answer_to_a_signal())
        events = self.folder / "events.jsonl"
        with EventLog(events, [display.notify, tracker.notify]) as log, stop.on_signals():
            launch = self._launch(inventory, log, stop)
            self._adopt(inventory, log, launch.leases)
            if inventory.missing:
                self._execute(launch, display, inventory)
        progress = launch.progress
        if progress.trained:
            trained = (self.store.find(key) for key in progress.trained)
            entries = [entry for entry in trained if entry is not None]
            self._speeds().record(self.plan, entries, self.machine.device)
        statuses = self._statuses(inventory, progress)
        rows = self._write_results(statuses)
        return Outcome(
            self.experiment,
            self.plan,
            self.folder,
            progress,
            tracker,
            rows,
            self._accounts(progress),
            stop.signal,
        )

    def _answer_to_a_signal(self) -> str:
        return (
            f"\nstopping within {GRACE_S:.0f} s, at once if asked again; finished epochs are kept\n"
            f"{self._how_to_resume()}"
        )

    def _how_to_resume(self) -> str:
        return f"resume   {program()} {self.command.removeprefix('f2c ')}"

    def _write_results(self, statuses: dict[str, str]) -> list[dict[str, Any]]:
        rows = cell_rows(self.experiment, self.plan, self.store, statuses)
        write_results(self.folder / "results.parquet", rows)
        if self.experiment.recipe.tests:
            tested = rows_of_tests(self.plan, rows)
            write_results(self.folder / "tests.parquet", tested, TESTS_SCHEMA)
        write_predictions(self.folder / "predictions.parquet", self.plan, rows, self.store)
        return rows

    def _speeds(self) -> Speeds:
        return Speeds(self.machine.root / "speeds.json")

    def _launch(self, inventory: Inventory, log: EventLog, stop: Stop) -> Launch:
        speeds, device = self._speeds(), self.machine.device
        n_evaluate = self.experiment.facts.n_evaluate
        return Launch(
            self.plan,
            inventory,
            self.machine,
            log,
            stop,
            lambda key: speeds.seconds(self.plan.stages[key], n_evaluate, device),
            self.command,
        )

    def _write_recipe(self) -> None:
        dumped = self.experiment.recipe.model_dump(mode="json")
        text = yaml.safe_dump(dumped, sort_keys=False, allow_unicode=True)
        replace_text(self.folder / "recipe.yaml", text)

    def _whole_inventory(self) -> Inventory:
        """What the store has; damaged parents are set aside and made anew."""
        self._set_aside(damaged_records(self.plan, self.store))
        inventory = take_inventory(self.plan, self.store)
        while damaged := list(damaged_parents(self.plan, inventory)):
            self._set_aside(damaged)
            inventory = take_inventory(self.plan, self.store)
        return inventory

    def _set_aside(self, damaged: Iterable[Entry]) -> None:
        for entry in damaged:
            target = self.store.quarantine(entry)
            where = f"to {target}" if target else "by another run"
            self.console.print(f"damaged: {entry.folder.name} was set aside {where}")

    def _adopt(self, inventory: Inventory, log: EventLog, leases: Leases) -> None:
        for key, entry in inventory.entries.items():
            if entry is not None:
                stage = self.plan.stages[key]
                log.write("adopted", key=key, **adopted(entry, stage, self.store))
                self.store.drop_progress(key, stage.name)
                leases.forget(key)

    def _execute(self, launch: Launch, display: Display, inventory: Inventory) -> None:
        began = time.perf_counter()
        with ExitStack() as stack:
            launch.progress.slots = self._open_slots(launch, stack)
            if launch.stop.event.is_set():
                return
            n_evaluate, slots = self.experiment.facts.n_evaluate, launch.progress.slots
            at_best = (self._speeds(), n_evaluate, slots, self.machine.device)
            display.expected_s = soonest_s(self.plan, inventory, *at_best)
            stack.enter_context(display)
            stack.enter_context(launch.leases.kept())
            self._run_stages(launch)
            self.seconds["run"] = time.perf_counter() - began

    def _end_without_ray(self, part: str, stop: Stop) -> None:
        if stop.signal is not None:
            os._exit(128 + stop.signal)
        self.console.show_cursor()
        end_at_once(
            f"Ray's {part} has died, and all that trained with it; finished epochs are kept\n"
            f"{self._how_to_resume()}"
        )

    def _open_slots(self, launch: Launch, stack: ExitStack) -> int:
        """Start Ray and prepare the views, beside it where Ray's nodes are not needed for them."""
        began = time.perf_counter()
        views, left = self._views_to_make(launch), threading.Event()

        def stopped() -> bool:
            return launch.stop.event.is_set() or left.is_set()

        background = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(left.set)  # a fault of Ray's does not wait for photos
        beside = self._prepares_alone(views)
        preparing = background.submit(self._prepare, views, stopped) if beside else None
        by_ray = self.machine.executor == "ray"
        ray = ray_session(self.machine, lambda part: self._end_without_ray(part, launch.stop))
        slots = stack.enter_context(ray) if by_ray else 1
        if self.machine.joins:
            check_nodes(self.machine)
        launch.stop.install()
        self.seconds["ray start"] = time.perf_counter() - began
        if preparing is None:
            self._prepare(views, stopped)
        else:
            preparing.result()
        return slots

    def _views_to_make(self, launch: Launch) -> list[ViewSpec]:
        needed = self.plan.views(launch.missing).values()
        return missing_views(self.experiment, needed, self.data_root)

    def _prepares_alone(self, views: list[ViewSpec]) -> bool:
        """Whether this process makes the views: they are few, or no other machine has photos."""
        work = photo_work(self.experiment, views)
        few = all(len(index) < IN_PROCESS_PHOTOS for index, _, _ in work)
        return few or self.machine.copy_of is not None

    def _run_stages(self, launch: Launch) -> None:
        machine = self.machine
        if machine.executor == "ray":
            run_tune(launch, launch.progress.slots, bundles_of(machine))
        else:
            run_inline(launch)

    def _prepare(self, views: list[ViewSpec], stopped: Callable[[], bool]) -> None:
        began = time.perf_counter()
        write_listings(self.experiment, self.data_root)
        with suppress(PreparationStoppedError):
            prepare_views(self.experiment, views, self.machine.root, self.console, stopped)
        self.seconds["preparation"] = time.perf_counter() - began

    def _statuses(self, inventory: Inventory, progress: Progress) -> dict[str, str]:
        known = dict.fromkeys(inventory.missing, "missing")
        ended = {k: "missing" if s == "stopped" else s for k, s in progress.statuses.items()}
        return known | ended

    def _accounts(self, progress: Progress) -> dict[str, float]:
        """Where the time went: wall-clock parts, and slot seconds between first and last stage."""
        accounts = dict(self.seconds)
        if progress.first_start is not None and progress.last_end is not None:
            window = progress.last_end - progress.first_start
            began = psutil.Process(os.getpid()).create_time()
            accounts["start-up"] = progress.first_start - began
            accounts["stages"] = window
            accounts["slots"] = window * progress.slots
            accounts |= {f"slot {kind}": s for kind, s in progress.seconds.items()}
        return accounts
