"""What the store already holds of a plan, and how fast stages like its were trained."""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.plan import Plan, PlannedStage
from trainables.disk import replace_text
from trainables.entry import Entry
from trainables.fingerprint import evaluation_key, key_of
from trainables.spec import StageSpec
from trainables.store import Store

#: Photos per second and CPU core in bfloat16 training at 227 px where nothing was recorded yet:
#: a rough guess from published operation counts and this program's own runs.
GUESS_IMAGES_PER_S = {"alexnet": 25.0, "squeezenet1_1": 40.0, "tiny": 70.0}
GUESS_DEFAULT = 12.0
#: The same for a stage that has a GPU to itself, as measured on one H200; one of several has less.
GUESS_IMAGES_PER_S_GPU = {"alexnet": 22_000.0, "squeezenet1_1": 10_000.0, "tiny": 10_000.0}
GUESS_DEFAULT_GPU = 4_000.0
#: How much slower float32 trains than bfloat16 where that has instructions of its own.
FLOAT32_SLOWDOWN = 2.5
#: Evaluation needs no backward pass.
EVALUATION_SPEEDUP = 3.0
CANVAS_OF_GUESS_PX = 227

Find = Callable[[str], Entry | None]


@dataclass(frozen=True)
class Inventory:
    """Per stage key: its committed entry (or None), and which keys still have to run."""

    entries: dict[str, Entry | None]
    missing: frozenset[str]
    diverged: frozenset[str]

    @property
    def to_train(self) -> frozenset[str]:
        """Missing stages without weights; the other missing ones only lack an evaluation."""
        return frozenset(key for key in self.missing if self.entries[key] is None)


def take_inventory(plan: Plan, store: Store) -> Inventory:
    """Look every stage up; needed are the cells' last stages and their missing ancestors."""
    store.look()
    entries = {key: store.known(key) for key in plan.stages}
    diverged = frozenset(k for k, e in entries.items() if e is not None and e.kind == "diverged")
    missing: set[str] = set()
    queue = [
        key
        for _, key in plan.cells.values()
        if not complete(plan.stages[key], entries[key], store.known)
    ]
    while queue:
        key = queue.pop()
        if key in missing or key in diverged:
            continue
        missing.add(key)
        queue += [p for p in plan.stages[key].parents if entries[p] is None]
    return Inventory(entries, frozenset(missing), diverged)


def complete(stage: PlannedStage, entry: Entry | None, find: Find) -> bool:
    """Whether nothing of a stage has to run any more: trained and evaluated, or diverged.

    `find` is a store's, or its `known` after a look, which many questions share.
    """
    if entry is None:
        return False
    return entry.kind == "diverged" or all(
        metrics_of(entry, stage.key, key_of(view), find) is not None for view in stage.evaluations
    )


def metrics_of(
    entry: Entry, stage_key: str, view_key: str, find: Find
) -> dict[str, int | str] | None:
    """Sums of a stage's evaluation on a view: `correct` and `seen`, or None when not evaluated."""
    found = _metrics_in(entry).get(view_key)
    if found is None:
        found = _metrics_in(find(evaluation_key(stage_key, view_key))).get(view_key)
    return found


def _metrics_in(entry: Entry | None) -> dict[str, dict[str, int | str]]:
    """An entry's metrics; none where it is missing or damaged."""
    if entry is None or "metrics.json" not in entry.files or entry.damaged(("metrics.json",)):
        return {}
    return entry.json("metrics.json")


def damaged_records(plan: Plan, store: Store) -> Iterator[Entry]:
    """Entries of a plan whose record, metrics or predictions have changed since their commit.

    Of weights the size is looked at: to read all of them would take a large table minutes. Who uses
    them reads them whole, and `Store.checked` sets aside what is damaged.
    """
    keys = [
        key
        for stage in plan.stages.values()
        for key in (stage.key, *(evaluation_key(stage.key, key_of(v)) for v in stage.evaluations))
    ]
    store.look()
    for entry in filter(None, map(store.known, keys)):
        small = tuple(name for name in entry.files if name != "weights.safetensors")
        if entry.cut() or entry.damaged(small):
            yield entry


def damaged_parents(plan: Plan, inventory: Inventory) -> Iterator[Entry]:
    """Entries that a missing stage starts from, or is evaluated with, whose bytes have changed."""
    needed = {p for key in inventory.missing for p in (key, *plan.stages[key].parents)}
    for key in needed:
        entry = inventory.entries[key]
        if entry is not None and entry.damaged():
            yield entry


class Speeds:
    """Recorded images/s per stage slot, by model, canvas, precision and device."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = _read_rates(file)

    def of(self, spec: StageSpec, device: str) -> tuple[float, bool]:
        """Images/s, and whether they were recorded rather than guessed."""
        known = self._known.get(_kind(spec, device))
        if known is not None:
            return known, True
        guesses, default = GUESS_IMAGES_PER_S, GUESS_DEFAULT
        if device == "cuda":
            guesses, default = GUESS_IMAGES_PER_S_GPU, GUESS_DEFAULT_GPU
        per_227 = guesses.get(spec.model.name, default)
        if device == "cpu" and spec.training.precision == "float32":
            per_227 /= FLOAT32_SLOWDOWN
        return per_227 * (CANVAS_OF_GUESS_PX / spec.views[0].canvas_px) ** 2, False

    def record(self, plan: Plan, entries: Iterable[Entry], device: str) -> None:
        """Remember the median speed of each kind of stage among newly trained ones."""
        seen: dict[str, list[float]] = {}
        for entry in entries:
            rate = entry.json("stage.json")["images_per_s"]
            if _is_rate(rate):
                seen.setdefault(_kind(plan.stages[entry.key].spec, device), []).append(rate)
        self._known |= {kind: statistics.median(rates) for kind, rates in seen.items()}
        replace_text(self._file, json.dumps(self._known, indent=1))

    def seconds(
        self, stage: PlannedStage, n_evaluate: int, device: str, *, trained: bool = False
    ) -> float:
        """Expected seconds of a stage in one slot; one that is trained already is evaluated."""
        rate, _ = self.of(stage.spec, device)
        evaluated = n_evaluate * len(stage.evaluations) / EVALUATION_SPEEDUP
        return (evaluated if trained else stage.images + evaluated) / rate


def _read_rates(file: Path) -> dict[str, float]:
    """What a file says by kind of stage; it may hold anything."""
    try:
        read = json.loads(file.read_text(), parse_int=float)
    except (OSError, ValueError, RecursionError):
        return {}
    return {k: rate for k, rate in read.items() if _is_rate(rate)} if isinstance(read, dict) else {}


def _is_rate(rate: Any) -> bool:
    """Whether a time can be told by it; a stage that only joins weights trains at 0."""
    return isinstance(rate, float) and 0 < rate < math.inf


def _kind(spec: StageSpec, device: str) -> str:
    canvas_px = spec.augment.crop_px or spec.views[0].canvas_px
    return f"{spec.model.name}|{canvas_px}px|{spec.training.precision}|{device}"
