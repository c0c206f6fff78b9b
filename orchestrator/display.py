"""What a person sees while a run goes on: a live table, or plain lines where there is none."""

import math
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from orchestrator.events import Event
from orchestrator.plan import Plan
from trainables.budget import budget_of

REFRESH_PER_S = 2
PLAIN_EVERY_S = 10.0
RECENT = 6
#: Share of a run that counts as done at its plan's pace, beside what is measured.
PRIOR = 0.01


@dataclass
class _Running:
    name: str
    n_epochs: int
    epoch: int = 0
    loss: float = float("nan")
    accuracy: float = float("nan")
    images_per_s: float = float("nan")


class Display:
    """Follows a run's events. Work is counted in image passes, so the ETA weighs stages right.

    Attributes:
        expected_s: of the whole run by its plan, None where nobody has said.
    """

    def __init__(
        self,
        plan: Plan,
        missing: frozenset[str],
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.expected_s: float | None = None
        self._clock = clock
        self._plan = plan
        self._console = console
        self._missing = missing
        self._total = max(sum(plan.stages[key].images for key in missing), 1)
        self._passed: dict[str, int] = {}
        self._running: dict[str, _Running] = {}
        self._recent: list[tuple[str, str, str, str]] = []
        self._ended = 0
        self._measured_from: tuple[float, int] | None = None
        self._printed_at = 0.0
        self._lock = threading.Lock()
        self._live = Live(
            get_renderable=self._table,
            console=console,
            transient=True,
            refresh_per_second=REFRESH_PER_S,
        )

    def __enter__(self) -> "Display":
        if self._console.is_terminal and self._missing:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live.is_started:
            self._live.stop()

    def notify(self, event: Event) -> None:
        """Take an event; print a plain line now and then where there is no terminal."""
        with self._lock:
            self._follow(event)
        now = self._clock()
        if self._console.is_terminal or event["event"] not in ("epoch", "stage_end"):
            return
        if now - self._printed_at >= PLAIN_EVERY_S:
            self._printed_at = now
            self._console.print(self.line(), soft_wrap=True, highlight=False)

    def _follow(self, event: Event) -> None:
        key = event.get("key", "")
        if event["event"] == "stage_start":
            epochs, _ = budget_of(self._plan.stages[key].spec)
            self._running[key] = _Running(event["name"], epochs)
        elif event["event"] == "epoch":
            self._epoch(key, event["record"])
        elif event["event"] == "stage_end":
            self._stage_end(key, event)

    def _epoch(self, key: str, record: dict) -> None:
        running = self._running.get(key)
        if running is None:
            return
        running.epoch, running.loss = record["epoch"], record["loss"]
        running.accuracy = record["accuracy"]
        running.images_per_s = record["images_seen"] / max(record["seconds"], 1e-9)
        share = record["epoch"] / running.n_epochs
        self._passed[key] = round(self._plan.stages[key].images * share)
        # What came before is no pace: processes started, libraries and kernels were loaded.
        self._measured_from = self._measured_from or (self._clock(), sum(self._passed.values()))

    def _stage_end(self, key: str, event: Event) -> None:
        self._running.pop(key, None)
        self._ended += 1
        self._passed[key] = self._plan.stages[key].images
        accuracies = [percent(event.get(f"accuracy_{form}")) for form in ("high", "low")]
        name = self._plan.stages[key].name
        self._recent = [*self._recent, (name, event["status"], *accuracies)][-RECENT:]

    def eta_s(self) -> float | None:
        """Seconds to the end: at the plan's pace, ever more at the one since the first epoch."""
        passed = sum(self._passed.values())
        if self.expected_s is None:
            return None
        since, before = self._measured_from or (self._clock(), passed)
        spent_s = PRIOR * self.expected_s + self._clock() - since
        return (self._total - passed) * spent_s / (PRIOR * self._total + passed - before)

    def line(self) -> str:
        """One line of progress."""
        names = ", ".join(f"{r.name} {r.epoch}/{r.n_epochs}" for r in self._running.values())
        return f"{self._progress()}; now {names or 'between stages'}"

    def _progress(self) -> str:
        share = sum(self._passed.values()) / self._total
        return (
            f"{self._ended}/{len(self._missing)} stages, {share:.0%} of the images, "
            f"{duration(self.eta_s())} left"
        )

    def _table(self) -> Table:
        with self._lock:
            table = Table(
                title=self._progress(),
                title_justify="left",
                box=box.SIMPLE_HEAD,
                padding=0,
                show_edge=False,
            )
            table.add_column("stage", overflow="fold")  # the only one to give way: uncut in 80
            for heading in ("epoch", "loss", "train acc.", "images/s", "high", "low"):
                table.add_column(heading, justify="right", no_wrap=True)
            for name, status, high, low in self._recent:
                table.add_row(name, status, "", "", "", high, low, style="dim")
            for run in self._running.values():
                table.add_row(
                    run.name,
                    f"{run.epoch}/{run.n_epochs}",
                    f"{run.loss:.3f}" if run.epoch else "-",
                    percent(run.accuracy),
                    f"{run.images_per_s:.0f}" if run.epoch else "-",
                    "",
                    "",
                )
            return table


def percent(fraction: float | None) -> str:
    """`48.9 %`, or a dash."""
    return "-" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f} %"


def duration(seconds: float | None) -> str:
    """`3 min 20 s`, in the two largest units."""
    if seconds is None:
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def program(name: str = "f2c") -> str:
    """How the user calls an installed program, so that what a message names runs as printed."""
    if shutil.which(name):
        return name
    beside = Path(sys.executable).with_name(name)
    with suppress(ValueError):
        beside = beside.relative_to(Path.cwd())
    return shlex.quote(str(beside))


def next_line(*words: str) -> str:
    """The last line of a command: the one that comes next, to be run as printed."""
    return f"next     {program()} {shlex.join(words)}"
