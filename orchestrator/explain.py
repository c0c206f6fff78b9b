"""Why a cell's stages would be trained: done, missing, or differing from one of the same name."""

import difflib
import json
from collections.abc import Iterator
from typing import Any

from orchestrator.plan import Plan, PlannedStage
from trainables.entry import Entry
from trainables.errors import ConfigError
from trainables.spec import StageSpec
from trainables.store import Store


def explain_cell(plan: Plan, cell: str, store: Store) -> Iterator[str]:
    """Lines about each stage of a cell, first to last.

    Raises:
        ConfigError: for a cell that the plan does not have.
    """
    if cell not in plan.cells:
        near = difflib.get_close_matches(cell, plan.cells, n=3)
        raise ConfigError(f"no cell {cell} in this recipe; near are {', '.join(near) or 'none'}")
    yield f"{cell}: {len(chain(plan, plan.cells[cell][1]))} stages"
    for stage in chain(plan, plan.cells[cell][1]):
        entry = store.find(stage.key)
        shared = len(plan.users[stage.key])
        yield f"  {stage.name}-{stage.key[:8]}  ({stage.images:,} images, used by {shared} cells)"
        if entry is not None:
            record = entry.json("stage.json")
            by = f" by trial {record['trial_id']}" if record.get("trial_id") else ""
            yield f"    {entry.kind} in {entry.folder.name}, trained{by} on {record['host']}"
            continue
        yield "    to be trained: the store does not have it"
        yield from _nearest(stage, store)


def chain(plan: Plan, last: str) -> list[PlannedStage]:
    """The stages that lead to one, first to last."""
    stages: list[PlannedStage] = []
    key: str | None = last
    while key in plan.stages:
        stages.append(plan.stages[key])
        key = plan.stages[key].spec.parent
    return stages[::-1]


def _nearest(stage: PlannedStage, store: Store) -> Iterator[str]:
    """The fields in which the stage differs from the likest one of the same name in the store."""
    alike = [e for e in store.entries() if e.kind == "stage" and _name(e) == stage.name]
    wanted = flatten(stage.spec.model_dump(mode="json"))
    differences = [_differences(wanted, entry) for entry in alike]
    if differences:
        yield "    the store has one of this name; it differs in:"
        for field, (theirs, ours) in min(differences, key=len).items():
            yield f"      {field}: there {theirs}, wanted {ours}"


def _name(entry: Entry) -> str:
    return entry.folder.name.rsplit("-", 1)[0]


def _differences(wanted: dict[str, Any], entry: Entry) -> dict[str, tuple[Any, Any]]:
    # Through the model: a record from before a field was added has its default.
    spec = StageSpec.model_validate_json(json.dumps(entry.json("stage.json")["spec"]))
    there = flatten(spec.model_dump(mode="json"))
    names = dict.fromkeys([*wanted, *there])
    return {n: (there.get(n), wanted.get(n)) for n in names if there.get(n) != wanted.get(n)}


def flatten(value: Any, place: str = "") -> dict[str, Any]:
    """Nested JSON to dotted names."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = ((str(i), v) for i, v in enumerate(value))
    else:
        return {place: value}
    found: dict[str, Any] = {}
    for name, item in items:
        found |= flatten(item, f"{place}.{name}" if place else name)
    return found
