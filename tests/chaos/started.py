"""One start of the command: how far it is, whom a kill can hit, what outlives it."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.faults import runner
from tests.faults.gold import events_of, weights_of

PAUSE = threading.Event()
#: Ray's agents look after their parents once in a while.
ORPHANS_S = 180.0


class Started:
    """`f2c run` of a recipe under a root, as a process that can be watched and hit."""

    def __init__(
        self, root: Path, recipe: dict[str, Any], executor: str, flags: tuple[str, ...] = ()
    ) -> None:
        self.root = root
        self.seen: set[psutil.Process] = set()
        self._finished = set(weights_of(root))
        self._n_events = len(events_of(root))
        flags = ("--executor", executor, *flags)
        self.process = runner.start(root, recipe=recipe, flags=flags)
        self.go_on()

    def go_on(self) -> None:
        """From here on `trains` wants new work."""
        self._saved = saved(self.root)

    @property
    def n_finished(self) -> int:
        """Stages in the store."""
        return len(list((self.root / "store").glob("*/manifest.json")))

    def begins(self) -> bool:
        """Whether this start has begun a stage."""
        return any(event["event"] == "stage_start" for event in self._new_events())

    def trains(self) -> bool:
        """Whether it has saved an epoch or finished a stage; a killed one's actor may have, too."""
        return self.begins() and bool(saved(self.root) - self._saved)

    def wait(self, condition: Callable[[], bool], most_s: float) -> bool:
        """Wait for a condition; False when the process ended or time ran out before."""
        end = time.monotonic() + most_s
        while time.monotonic() < end and self.process.exitcode is None:
            if condition():
                return True
            PAUSE.wait(0.05)
        return False

    def pause(self, seconds: float) -> None:
        """Let it run on, unless it ends before."""
        self.wait(lambda: False, seconds)

    def victims(self, kind: str) -> list[psutil.Process]:
        """Living processes of that kind, by process id; actors that train only."""
        driver = psutil.Process(self.process.pid)
        if kind == "driver":
            return [driver]
        below = driver.children(recursive=True)
        self.seen |= set(below)
        found = [process for process in below if is_a(kind, process)]
        return sorted(found, key=lambda process: process.pid)

    def printed(self) -> str:
        """What it has printed."""
        return runner.printed(self.root).read_text()

    def trained_again(self) -> int:
        """Stages that were finished before and yet begun, or begun twice."""
        begun = Counter(e["key"] for e in self._new_events() if e["event"] == "stage_start")
        return len(set(begun) & self._finished) + sum(n - 1 for n in begun.values())

    def _new_events(self) -> list[dict[str, Any]]:
        return events_of(self.root)[self._n_events :]


def saved(root: Path) -> set[Path]:
    """Finished stages, and epochs of the others."""
    store = root / "store"
    return {*store.glob("*/manifest.json"), *store.glob("progress/*/epoch-*")}


def is_a(kind: str, process: psutil.Process) -> bool:
    """Whether a process is a training actor, or one of Ray's own of that name."""
    try:
        if kind != "actor":
            return process.name() == kind
        title = " ".join(process.cmdline())  # of tune.with_resources, ray::ResourceTrainable.train
        return title.startswith("ray::") and "Trainable" in title
    except psutil.Error:
        return False


class Orphans:
    """Processes whose driver was killed; they have a while to notice."""

    def __init__(self) -> None:
        self._due: list[tuple[float, psutil.Process]] = []

    def add(self, processes: set[psutil.Process]) -> None:
        """From now on their time runs."""
        due = time.monotonic() + ORPHANS_S
        self._due += [(due, process) for process in processes]

    def late(self) -> list[psutil.Process]:
        """Those that have outlived their time; each is told once."""
        now = time.monotonic()
        self._due = [(due, process) for due, process in self._due if process.is_running()]
        late = [process for due, process in self._due if due < now]
        self._due = [(due, process) for due, process in self._due if due >= now]
        return late

    def wait(self) -> list[psutil.Process]:
        """Wait for the rest; those that stay."""
        late = self.late()
        while self._due:
            PAUSE.wait(1.0)
            late += self.late()
        return late
