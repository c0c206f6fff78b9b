"""How many GPUs one driver can feed: the real schedule on 1 to 1,000 simulated slots.

`python benchmarks/scaling.py` simulates Table 2 with the stage times of
docs/results/table2-cars-small (their spread included) and the driver's seconds of
docs/results/scaling/driver.json, and writes table and figure beside that file. `--measure`
measures those seconds first: a real run of stages that end at once, through Ray Tune, the
Searcher, the event log and MLflow. `--check` runs the demo (or another recipe) on 1 and 2 slots,
compares its makespan with the simulated one, and ends with status 1 where they differ by more than
a tenth; it needs a machine without other work.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

import orchestrator.sweep
from orchestrator.cluster import Machine, local_cpus
from orchestrator.experiment import Experiment, Facts, load_experiment
from orchestrator.flags import parse
from orchestrator.plan import Plan, make_plan
from orchestrator.recipe_files import load_recipe
from orchestrator.schedule import Schedule, critical_tails
from orchestrator.simulation import Conditions, Simulated, lower_bound_s, simulate

REPOSITORY = Path(__file__).parents[1]
MEASURED = REPOSITORY / "docs" / "results" / "table2-cars-small"
RESULTS = REPOSITORY / "docs" / "results" / "scaling"
GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
SEEDS = (1, 5, 100, 1266)
#: By how much a simulated makespan may differ from the real one.
AGREE = 0.10
#: Stages that share one trial in the second simulation: what it would take to push the knee out.
PER_TRIAL = 8
#: The driver's threads share one interpreter, so all their seconds count; these are ways out of it.
MLFLOW_APART = "MLflow apart"
SEVERAL = f"and {PER_TRIAL} stages a trial"
#: A node that takes five minutes to come and fails every four hours: spot in a bad week.
SPOT = {"startup_s": 300.0, "between_failures_s": 4 * 3600.0}


def measured_plan() -> tuple[Plan, dict[str, float]]:
    """Table 2 of the measured run, and each stage's seconds: images times a measured rate."""
    recipe = load_recipe(MEASURED.name)
    rows = pd.read_parquet(MEASURED / "results.parquet")
    facts = Facts("d" * 64, int(rows["n_low"].max()), int(rows["n_test"].max()), 40)
    plan = make_plan([Experiment(recipe, facts, "w" * 64)])
    last = [plan.stages[plan.cells[cell][1]].images for cell in rows["cell"]]
    rates = np.sort(rows["train_s"].to_numpy() / np.array(last))
    rng = np.random.default_rng(0)
    drawn = rng.choice(rates, len(plan.stages))
    stages = plan.stages.values()
    return plan, {s.key: s.images * float(r) for s, r in zip(stages, drawn, strict=True)}


def repeated(plan: Plan, seconds: dict[str, float], times: int) -> tuple[Plan, dict[str, float]]:
    """The plan once for each seed; copies, since only keys and parents matter to the schedule."""
    whole, all_seconds = Plan(), {}
    for i in range(times):
        for key, stage in plan.stages.items():
            parents = tuple(f"{parent}/{i}" for parent in stage.parents)
            whole.stages[f"{key}/{i}"] = replace(stage, key=f"{key}/{i}", parents=parents)
            all_seconds[f"{key}/{i}"] = seconds[key]
    return whole, all_seconds


def run(plan: Plan, seconds: dict[str, float], conditions: Conditions) -> Simulated:
    return simulate(Schedule(plan, set(plan.stages), seconds), seconds, conditions)


def table(driver: dict[str, float]) -> pd.DataFrame:
    """One row per number of cells and GPUs: the bound, and makespans relative to it.

    `rounds` is the work of a GPU in units of the longest chain: below 1 there are more GPUs than
    work. Start-up is added to the bound where there is any.
    """
    plan, seconds = measured_plan()
    rows = []
    for seeds in SEEDS:
        whole, all_seconds = repeated(plan, seconds, seeds)
        total = sum(all_seconds.values())
        longest = max(critical_tails(whole, whole.children(), all_seconds).values())
        for gpus in GPUS:
            bound = lower_bound_s(total, longest, gpus)
            variants = {
                "no driver": Conditions(gpus),
                "driver": Conditions(gpus, driver["process_s"]),
                MLFLOW_APART: Conditions(gpus, driver["driver_s"]),
                SEVERAL: Conditions(gpus, driver["driver_s"], PER_TRIAL),
                "driver, spot": Conditions(gpus, driver["process_s"], **SPOT),
            }
            found = {
                name: run(whole, all_seconds, given).seconds / (bound + given.startup_s)
                for name, given in variants.items()
            }
            head = {"cells": len(plan.cells) * seeds, "GPUs": gpus, "bound_h": bound / 3600}
            rows.append(head | {"rounds": total / gpus / longest} | found)
        print(f"{len(plan.cells) * seeds} cells simulated", flush=True)
    return pd.DataFrame(rows)


def write(frame: pd.DataFrame, driver: dict[str, float]) -> None:
    """The table as CSV and Markdown, the figure as PNG and SVG."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    frame.to_csv(RESULTS / "scaling.csv", index=False, float_format="%.4f")
    shown = frame.assign(rounds=frame["rounds"].map("{:.1f}".format))
    shown["bound_h"] = shown["bound_h"].map("{:.2f}".format)
    for name in shown.columns[4:]:
        shown[name] = shown[name].map("{:.3f}".format)
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in shown.to_numpy()]
    head = ["| " + " | ".join(shown.columns) + " |", "| " + " | ".join("---" for _ in shown) + " |"]
    (RESULTS / "scaling.md").write_text("\n".join([*head, *lines]) + "\n")
    figure(frame, driver)


def figure(frame: pd.DataFrame, driver: dict[str, float]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 4.8), dpi=150, layout="constrained")
    axes = drawn.subplots()
    for i, (cells, part) in enumerate(frame.groupby("cells")):
        colour = f"C{i}"
        axes.plot(part["GPUs"], 1 / part["driver"], "o-", color=colour, label=f"{cells:,} cells")
        axes.plot(part["GPUs"], 1 / part[MLFLOW_APART], "--", color=colour)
        axes.plot(part["GPUs"], 1 / part[SEVERAL], ":", color=colour)
    axes.set_title("How near a run of Table 2 comes to the shortest possible, by GPUs (simulated)")
    axes.set_xscale("log")
    axes.set_xlabel("GPUs (one stage each)")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("lower bound / makespan (1: no order of stages is shorter)")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    told = f"driver {driver['process_s'] * 1000:.0f} ms a stage"
    axes.legend(title=f"{told}\ndashed: {MLFLOW_APART}\ndotted: {MLFLOW_APART} {SEVERAL}")
    for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        with mpl.rc_context({"svg.hashsalt": "scaling"}):
            drawn.savefig(RESULTS / f"scaling.{ending}", metadata=metadata)


def timed_run(name: str, flags: list[str], slots: int) -> dict[str, Any]:
    """A real run on so many slots: seconds of the driver's own thread, of MLflow's, and events."""
    with tempfile.TemporaryDirectory() as folder:
        recipe, _ = parse(name, flags)
        cpus = local_cpus() // slots
        machine = Machine(Path(folder), cpus_per_stage=max(cpus, 1))
        experiment = load_experiment(recipe, machine.root, must_exist=True)
        clock, real = {}, orchestrator.sweep.run_tune

        def clocked(*arguments: Any) -> None:
            began = time.thread_time(), time.process_time(), time.perf_counter()
            real(*arguments)
            ended = time.thread_time(), time.process_time(), time.perf_counter()
            parts = ("thread_s", "process_s", "wall_s")
            clock.update({n: e - b for n, b, e in zip(parts, began, ended, strict=True)})

        orchestrator.sweep.run_tune = clocked
        try:
            sweep = orchestrator.sweep.Sweep(
                experiment, make_plan([experiment]), machine, "f2c run", Console(quiet=True)
            )
            outcome = sweep.run()
        finally:
            orchestrator.sweep.run_tune = real
        outcome.tracker.finish("done", {}, "", [])
        events = (outcome.folder / "events.jsonl").read_text().splitlines()
        n_stages = len(outcome.progress.trained)
        return clock | {
            "stages": n_stages,
            "mlflow_s": outcome.tracker.seconds,
            "events": [json.loads(line) for line in events],
            "plan": sweep.plan,
        }


def measure(seeds: int) -> None:
    """Write driver.json from a run of stages of two short epochs."""
    flags = ["--seeds", *map(str, range(seeds)), "--cells.high", *map(str, range(9))]
    flags += ["--cells.low", *map(str, range(1, 9)), "--cells.mixed", *map(str, range(2, 9))]
    found = timed_run(str(REPOSITORY / "tests" / "small.yaml"), flags, slots=2)
    n = found["stages"]
    record = {
        "driver_s": round(found["thread_s"] / n, 5),
        "process_s": round(found["process_s"] / n, 5),
        "mlflow_s": round(found["mlflow_s"] / n, 5),
        "stages": n,
        "what": "CPU seconds a stage of the driver's own thread, and of its whole process; "
        "wall-clock seconds a stage in MLflow's thread (sqlite)",
        "machine": f"{platform.machine()}, 2 cores, shared with other work",
        "date": time.strftime("%Y-%m-%d"),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "driver.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def check(driver_s: float, recipe: str) -> bool:
    """Whether simulated and real makespans agree, given the same stages' own seconds."""
    worst = 0.0
    for slots in (1, 2):
        found = timed_run(recipe, [], slots)
        starts = {e["key"]: e["at"] for e in found["events"] if e["event"] == "stage_start"}
        ends = {e["key"]: e["at"] for e in found["events"] if e["event"] == "stage_end"}
        seconds = {key: max(ends[key] - starts[key] - driver_s, 0.0) for key in ends}
        real = max(ends.values()) - min(starts.values())
        simulated = run(found["plan"], seconds, Conditions(slots, driver_s)).seconds
        print(
            f"{slots} slots: real {real:.1f} s, simulated {simulated:.1f} s, "
            f"{simulated / real - 1:+.1%}"
        )
        worst = max(worst, abs(simulated / real - 1))
    return worst <= AGREE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--check", nargs="?", const="demo", metavar="RECIPE")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    if given.measure:
        measure(given.seeds)
    driver = json.loads((RESULTS / "driver.json").read_text())
    if given.check:
        sys.exit(not check(driver["process_s"], given.check))
    frame = table(driver)
    write(frame, driver)
    print(frame.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    _, seconds = measured_plan()
    mean_s = sum(seconds.values()) / len(seconds)
    for name, cost_s in (("driver", driver["process_s"]), (MLFLOW_APART, driver["driver_s"])):
        print(f"{name}: stages of {mean_s:.1f} s, {mean_s / cost_s:,.0f} GPUs fed")


if __name__ == "__main__":
    main()
