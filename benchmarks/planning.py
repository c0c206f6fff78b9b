"""A plan of 100,000 cells: seconds, peak memory, and milliseconds of one scheduling decision.

`python benchmarks/planning.py [--rounds 5] [--cells 100000]`

The cells are Table 2 at the paper's size, of as many seeds as it takes; every stage is missing. A
decision takes the next ready stage and notes its end, which may make others ready.
"""

import gc
import re
import resource
import statistics
import time
from pathlib import Path
from typing import Any

from rounds import arguments, require, row, write

from orchestrator.experiment import Experiment, Facts
from orchestrator.plan import Plan, make_plan
from orchestrator.recipe_files import load_recipe
from orchestrator.schedule import Schedule

CELLS_A_SEED = 79
N_DECISIONS = 2000


def table2(n_seeds: int, levels: int = 8) -> Plan:
    """Table 2 at the paper's scale, or only its first levels, for so many seeds."""
    recipe = load_recipe("table2-cars").model_copy(update={"seeds": tuple(range(n_seeds))})
    first = {"high": 0, "low": 1, "mixed": 2}
    kept = {name: tuple(range(start, levels + 1)) for name, start in first.items()}
    cells = recipe.cells.model_copy(update=kept)
    recipe = recipe.model_copy(update={"cells": cells})
    return make_plan([Experiment(recipe, Facts("d" * 64, 8144, 8041, 196), "w" * 64)])


def peak_gb() -> float:
    """Most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # the process that began this one may have held more: ru_maxrss has that
        held_kib = re.search(r"VmHWM:\s*(\d+)", status.read_text())
        assert held_kib is not None
        return int(held_kib[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def decisions_ms(plan: Plan) -> list[float]:
    """The first decisions of a schedule in which every stage waits or is ready."""
    schedule = Schedule(plan, set(plan.stages), dict.fromkeys(plan.stages, 1.0))
    took = []
    for _ in range(min(N_DECISIONS, len(plan.stages))):
        began = time.perf_counter()
        key = schedule.next_ready()
        if key is not None:
            schedule.finish(key, usable=True)
        took.append(1000 * (time.perf_counter() - began))
    return took


def measure(n_cells: int, rounds: int) -> list[dict[str, Any]]:
    seconds, means, most, peaks = [], [], [], []
    counts: dict[str, int] = {}
    for _ in range(rounds):
        gc.collect()
        began = time.perf_counter()
        plan = table2(-(-n_cells // CELLS_A_SEED))
        seconds.append(time.perf_counter() - began)
        peaks.append(peak_gb())
        counts = {"cells": len(plan.cells), "stages": len(plan.stages)}
        require(counts["cells"] >= n_cells, "the plan has too few cells")
        took = decisions_ms(plan)
        means.append(statistics.mean(took))
        most.append(max(took))
    return [
        row("planning/plan", seconds, **counts),
        row("planning/memory", peaks[:1], **counts, what="peak of the whole process"),
        row("planning/decision", means, **counts, slowest_ms=max(most)),
    ]


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--cells", type=int, default=100_000)
    chosen = parser.parse_args()
    write("planning", measure(chosen.cells, chosen.rounds), chosen.out)


if __name__ == "__main__":
    main()
