"""A run without running it: the real schedule on simulated slots. Pure.

The driver is one server: it starts and ends stages one after another, whatever the number of
slots. Its seconds per stage bound how many GPUs it can feed.
"""

import heapq
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.schedule import Schedule


@dataclass(frozen=True)
class Conditions:
    """What a run adds to its stages' own seconds; the defaults add nothing.

    Attributes:
        slots: stages that run at a time.
        driver_s: of the driver, for starting and ending one trial.
        stages_per_trial: consecutive starts that share one trial, and its `driver_s`.
        startup_s: until a slot takes its first stage, at the start and after a failure.
        between_failures_s: mean time between failures of one slot's node.
        epochs: of a stage; a failure loses the running one.
        seed: of the failures.
    """

    slots: int
    driver_s: float = 0.0
    stages_per_trial: int = 1
    startup_s: float = 0.0
    between_failures_s: float = math.inf
    epochs: int = 10
    seed: int = 0


@dataclass
class Simulated:
    """How a simulated run went: seconds until its last stage ended, failures, driver's share."""

    seconds: float = 0.0
    failures: int = 0
    driver_busy_s: float = 0.0


@dataclass(order=True)
class _Event:
    """Something at a time: a slot becomes free, or its node fails, with a stage or without."""

    at_s: float
    order: int
    key: str | None = field(compare=False, default=None)
    left_s: float = field(compare=False, default=0.0)


class _Run:
    """The clock, the slots and the driver of one simulated run."""

    def __init__(
        self, schedule: Schedule, seconds: Mapping[str, float], conditions: Conditions
    ) -> None:
        self._schedule = schedule
        self._seconds = seconds
        self._given = conditions
        self._random = random.Random(conditions.seed)
        self._events = [_Event(conditions.startup_s, i) for i in range(conditions.slots)]
        self._order = conditions.slots
        self._free_at: list[float] = []
        self._again: list[tuple[str, float]] = []
        self._driver_free_s = 0.0
        self.result = Simulated()

    def go(self) -> Simulated:
        while self._events:
            self._take(heapq.heappop(self._events))
            while self._free_at and (work := self._next()) is not None:
                self._start(heapq.heappop(self._free_at), *work)
            if self._schedule.finished and not self._again:
                break
        return self.result

    def _next(self) -> tuple[str, float] | None:
        """Stages that a failure interrupted come before new ones, as Tune has it."""
        if self._again:
            return self._again.pop(0)
        key = self._schedule.next_ready()
        return None if key is None else (key, self._seconds[key])

    def _start(self, free_at_s: float, key: str, left_s: float) -> None:
        begin_s = self._drive(free_at_s)
        fails_s = self._fails_after()
        if fails_s < left_s:
            epoch_s = self._seconds[key] / self._given.epochs
            kept_s = math.floor(fails_s / epoch_s) * epoch_s if epoch_s else 0.0
            self._push(begin_s + fails_s, key, left_s - kept_s)
        else:
            self._push(begin_s + left_s, key, 0.0)

    def _take(self, event: _Event) -> None:
        if event.key is None:
            heapq.heappush(self._free_at, event.at_s)
        elif event.left_s > 0:
            self.result.failures += 1
            self._again.append((event.key, event.left_s))
            self._push(event.at_s + self._given.startup_s, None, 0.0)
        else:
            ended_s = self._drive(event.at_s)
            self._schedule.finish(event.key, usable=True)
            self.result.seconds = max(self.result.seconds, ended_s)
            heapq.heappush(self._free_at, ended_s)

    def _drive(self, asked_s: float) -> float:
        """Half of a trial's driver time, when the driver comes to it."""
        spent_s = self._given.driver_s / 2 / self._given.stages_per_trial
        self._driver_free_s = max(asked_s, self._driver_free_s) + spent_s
        self.result.driver_busy_s += spent_s
        return self._driver_free_s

    def _push(self, at_s: float, key: str | None, left_s: float) -> None:
        self._order += 1
        heapq.heappush(self._events, _Event(at_s, self._order, key, left_s))

    def _fails_after(self) -> float:
        mean_s = self._given.between_failures_s
        return math.inf if math.isinf(mean_s) else self._random.expovariate(1 / mean_s)


def simulate(schedule: Schedule, seconds: Mapping[str, float], conditions: Conditions) -> Simulated:
    """Run a schedule by its own decisions; what it decides is what a real run decides.

    Args:
        schedule: of the stages that are missing; used up.
        seconds: of every stage in one slot.
        conditions: slots, costs and failures.
    """
    return _Run(schedule, seconds, conditions).go()


def lower_bound_s(total_s: float, longest_chain_s: float, slots: int) -> float:
    """No order of stages on so many slots is shorter (Graham's bound): work, or longest chain."""
    return max(total_s / slots, longest_chain_s)
