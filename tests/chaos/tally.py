"""What rounds of kills have shown, and the sum over seeds."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Tally:
    """What the rounds of one seed have shown so far."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    kills_after_a_finished_stage: int = 0
    kills_by_finished_stages: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    starts: int = 0
    seconds: float = 0.0
    finished_stages_trained_again: int = 0
    rounds_with_other_weights_or_table: int = 0
    rounds_with_double_runs_or_points_in_mlflow: int = 0
    deaths_of_ray_without_a_sentence: int = 0
    other_endings: int = 0
    processes_left: int = 0

    def note(self, kind: str, n_finished: int) -> int:
        """Count a kill; its number."""
        self.kills[kind] += 1
        self.kills_after_a_finished_stage += n_finished > 0
        self.kills_by_finished_stages[str(n_finished)] += 1
        return self.kills.total()

    @property
    def broken_promises(self) -> int:
        """0 where every promise was kept."""
        return (
            self.finished_stages_trained_again
            + self.rounds_with_other_weights_or_table
            + self.rounds_with_double_runs_or_points_in_mlflow
            + self.deaths_of_ray_without_a_sentence
            + self.other_endings
            + self.processes_left
        )

    def save(self, folder: Path, setting: dict[str, Any]) -> None:
        """Write `summary-seed<N>.json`, and the sum over all seeds of the folder."""
        own = setting | vars(self)
        (folder / f"summary-seed{self.seed}.json").write_text(json.dumps(own, indent=1) + "\n")
        seeds = [json.loads(p.read_text()) for p in sorted(folder.glob("summary-seed*.json"))]
        (folder / "summary.json").write_text(json.dumps(total(seeds), indent=1) + "\n")


def total(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers added up, counts by name too; what is set rather than counted must be the same."""
    summed: dict[str, Any] = {"seeds": [one["seed"] for one in seeds]}
    for name, first in seeds[0].items():
        values = [one[name] for one in seeds]
        if name == "seed":
            continue
        if name in ("executor", "train"):
            assert values == [first] * len(values), f"seeds differ in {name}"
            summed[name] = first
        elif isinstance(first, dict):
            added = sum(map(Counter, values), Counter())
            summed[name] = dict(sorted(added.items()))
        else:
            summed[name] = sum(values)
    return summed
