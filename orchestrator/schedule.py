"""Which stage next: of those whose parents are done, the one with the longest path behind it.

Pure: knows durations and endings, neither Ray nor time; so it also runs in simulation.
"""

import heapq
from collections.abc import Callable, Mapping

from orchestrator.plan import Plan

#: Of the driver's time for a trial, with a margin; `benchmarks/scaling.py --measure` measures it.
TRIAL_S = 0.02
#: Of the driver's time, for trials; where one stage each would take more, short ones share them.
TRIALS_SHARE = 0.25
MOST_PER_TRIAL = 16


class Schedule:
    """Critical-path-first order over the stages of a plan that still have to run."""

    def __init__(self, plan: Plan, missing: set[str], seconds: Mapping[str, float]) -> None:
        self._children = plan.children()
        self._tail = critical_tails(plan, self._children, seconds)
        self._waiting = {
            key: {parent for parent in plan.stages[key].parents if parent in missing}
            for key in missing
        }
        self._ready: list[tuple[float, str]] = []
        self._blocked: set[str] = set()
        self._unfinished = set(missing)
        for key, parents in self._waiting.items():
            if not parents:
                heapq.heappush(self._ready, (-self._tail[key], key))

    @property
    def finished(self) -> bool:
        """Nothing is ready, running or waiting any more."""
        return not self._unfinished

    @property
    def exhausted(self) -> bool:
        """Nothing is left to start, now or later."""
        return not self._waiting

    @property
    def blocked(self) -> frozenset[str]:
        """Stages that cannot run because an ancestor ended without weights."""
        return frozenset(self._blocked)

    def next_ready(self) -> str | None:
        """Take the next stage to start, or None while all that is left waits for others."""
        while self._ready:
            key = heapq.heappop(self._ready)[1]
            if self._waiting.pop(key, None) is not None:  # not blocked since it became ready
                return key
        return None

    def next_trial(self, slots: int, take: Callable[[], str | None]) -> list[str]:
        """Take the stages of the next trial: one, or some short ones that no stage waits for.

        As many as make it so long that the driver keeps up with trials in all slots; one that
        others wait for is the first. The fewer are left, the fewer share one, so that no slot is
        idle while another has many.

        Args:
            slots: trials at a time.
            take: `next_ready`, or what stands before it.
        """
        most = min(MOST_PER_TRIAL, len(self._ready) // (2 * slots))
        missing_s = slots * TRIAL_S / TRIALS_SHARE
        keys: list[str] = []
        while not keys or (missing_s > 0 and len(keys) < most):
            if (key := take()) is None:
                break
            if self._is_awaited(key):
                return [key, *keys]
            keys.append(key)
            missing_s -= self._tail[key]
        return keys

    def _is_awaited(self, key: str) -> bool:
        return any(child in self._waiting for child in self._children[key])

    def put_back(self, key: str) -> None:
        """Return a stage that was taken but cannot start yet: it is ready again."""
        self._waiting[key] = set()
        heapq.heappush(self._ready, (-self._tail[key], key))

    def finish(self, key: str, *, usable: bool) -> list[str]:
        """Note a stage's end; return the stages that this blocks."""
        self._unfinished.discard(key)
        if not usable:
            return self._block(key)
        for child in self._children[key]:
            parents = self._waiting.get(child)
            if parents is None or key not in parents:
                continue
            parents.discard(key)
            if not parents:
                heapq.heappush(self._ready, (-self._tail[child], child))
        return []

    def _block(self, key: str) -> list[str]:
        blocked, queue = [], list(self._children[key])
        while queue:
            child = queue.pop()
            if child in self._waiting:
                del self._waiting[child]
                self._unfinished.discard(child)
                self._blocked.add(child)
                blocked.append(child)
                queue += self._children[child]
        return blocked


def critical_tails(
    plan: Plan, children: Mapping[str, list[str]], seconds: Mapping[str, float]
) -> dict[str, float]:
    """Seconds from a stage's start to the end of the longest chain that begins with it."""
    tails: dict[str, float] = {}
    for key in reversed(plan.stages):
        after = max((tails[child] for child in children[key]), default=0.0)
        tails[key] = seconds.get(key, 0.0) + after
    return tails
