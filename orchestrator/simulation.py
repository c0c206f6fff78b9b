"""A run without running it: the real schedule on simulated slots. Pure.

The driver is one server: it starts and ends trials and notes stages one after another, whatever the
number of slots. Its seconds for each bound how many GPUs it can feed.
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
        trial_s: of the driver, for starting and ending one trial.
        stage_s: of the driver, for what one stage reports.
        startup_s: until a slot takes its first stage, at the start and after a failure.
        between_failures_s: mean time between failures of one slot's node.
        epochs: of a stage; a failure loses the running one.
        seed: of the failures.
    """

    slots: int
    trial_s: float = 0.0
    stage_s: float = 0.0
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


#: Stages of one trial, and the seconds that each has left.
_Work = list[tuple[str, float]]


@dataclass(order=True)
class _Event:
    """Something at a time: a slot is free (no work), its first stage ends, or its node fails."""

    at_s: float
    order: int
    work: _Work = field(compare=False, default_factory=list)
    failed: bool = field(compare=False, default=False)


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
        self._again: list[_Work] = []
        self._driver_free_s = 0.0
        self.result = Simulated()

    def go(self) -> Simulated:
        while self._events:
            self._take(heapq.heappop(self._events))
            while self._free_at and (work := self._next()):
                begin_s = self._drive(heapq.heappop(self._free_at), self._given.trial_s / 2)
                self._begin(begin_s, work)
            if self._schedule.finished and not self._again:
                break
        return self.result

    def _next(self) -> _Work:
        """Trials that a failure interrupted come before new ones, as Tune has it."""
        if self._again:
            return self._again.pop(0)
        take = self._schedule.next_ready
        keys = self._schedule.next_trial(self._given.slots, take)
        return [(key, self._seconds[key]) for key in keys]

    def _begin(self, at_s: float, work: _Work) -> None:
        key, left_s = work[0]
        fails_s = self._fails_after()
        if fails_s < left_s:
            epoch_s = self._seconds[key] / self._given.epochs
            kept_s = math.floor(fails_s / epoch_s) * epoch_s if epoch_s else 0.0
            self._push(at_s + fails_s, [(key, left_s - kept_s), *work[1:]], failed=True)
        else:
            self._push(at_s + left_s, work)

    def _take(self, event: _Event) -> None:
        if not event.work:
            heapq.heappush(self._free_at, event.at_s)
        elif event.failed:
            self.result.failures += 1
            self._again.append(event.work)
            self._push(event.at_s + self._given.startup_s, [])
        else:
            self._end(event.at_s, event.work)

    def _end(self, at_s: float, work: _Work) -> None:
        """The first stage ends; what comes next in its slot waits for the driver."""
        (key, _), *others = work
        ended_s = self._drive(at_s, self._given.stage_s)
        self._schedule.finish(key, usable=True)
        if others:
            self._begin(ended_s, others)
        else:
            ended_s = self._drive(ended_s, self._given.trial_s / 2)
            heapq.heappush(self._free_at, ended_s)
        self.result.seconds = max(self.result.seconds, ended_s)

    def _drive(self, asked_s: float, spent_s: float) -> float:
        """When the driver has done something that it is asked for at a time."""
        self._driver_free_s = max(asked_s, self._driver_free_s) + spent_s
        self.result.driver_busy_s += spent_s
        return self._driver_free_s

    def _push(self, at_s: float, work: _Work, *, failed: bool = False) -> None:
        self._order += 1
        heapq.heappush(self._events, _Event(at_s, self._order, work, failed))

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
