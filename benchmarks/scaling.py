"""How many GPUs one driver can feed: the real schedule on 1 to 1,000 simulated slots.

`python benchmarks/scaling.py` simulates Table 2 with the stage times of
docs/results/table2-cars-small (their spread included) and the driver's seconds of
docs/results/scaling/driver.json, and writes table and figure beside that file. `--measure`
measures those seconds first: real runs of stages that end at once, through Ray Tune, the
Searcher, the event log and MLflow, with one stage a trial and with several. `--check` runs the demo
(or another recipe) on 1 and 2 slots, compares its makespan with the simulated one, and ends with
status 1 where they differ by more than a tenth; it needs a machine without other work.
"""

import argparse
import json
import math
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rounds import REPOSITORY, clocked

import orchestrator.schedule
import orchestrator.sweep
import trainables.trainable
from analysis.colours import LINES
from orchestrator.cluster import Machine, local_cpus
from orchestrator.experiment import Experiment, Facts, load_experiment
from orchestrator.flags import parse
from orchestrator.plan import Plan, make_plan
from orchestrator.recipe_files import load_recipe
from orchestrator.schedule import MOST_PER_TRIAL, TRIAL_S, TRIALS_SHARE, Schedule, critical_tails
from orchestrator.simulation import Conditions, Simulated, lower_bound_s, simulate
from orchestrator.tracking import SHARE, Tracker
from trainables.trainable import StageTrainable

MEASURED = REPOSITORY / "docs" / "results" / "table2-cars-small"
RESULTS = REPOSITORY / "docs" / "results" / "scaling"
GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
SEEDS = (1, 5, 100, 1266)
#: Of a stage where the driver's seconds are measured, as many as in the simulated table.
EPOCHS = 4
#: By how much a simulated makespan may differ from the real one.
AGREE = 0.10
#: The driver's thread and MLflow's share one interpreter, so the seconds of both count.
BEFORE = "one stage a trial, MLflow at once"
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
    costs, both = costs_of(driver)
    rows = []
    for seeds in SEEDS:
        whole, all_seconds = repeated(plan, seconds, seeds)
        total = sum(all_seconds.values())
        longest = max(critical_tails(whole, whole.children(), all_seconds).values())
        for gpus in GPUS:
            bound = lower_bound_s(total, longest, gpus)
            variants = {
                "no driver": Conditions(gpus),
                "driver": Conditions(gpus, **costs),
                BEFORE: Conditions(gpus, **both),
                "driver, spot": Conditions(gpus, **costs, **SPOT),
            }
            found = {}
            for name, given in variants.items():
                with at_most(1 if name == BEFORE else MOST_PER_TRIAL):
                    made_s = run(whole, all_seconds, given).seconds
                found[name] = made_s / (bound + given.startup_s)
            head = {"cells": len(plan.cells) * seeds, "GPUs": gpus, "bound_h": bound / 3600}
            mlflow_s = driver["mlflow_s"] * len(whole.stages) - SHARE * found["driver"] * bound
            left = {"MLflow_after_h": max(mlflow_s, 0.0) / 3600}
            rows.append(head | {"rounds": total / gpus / longest} | found | left)
        print(f"{len(plan.cells) * seeds} cells simulated", flush=True)
    return pd.DataFrame(rows)


def costs_of(driver: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """The driver's seconds as a simulation takes them: MLflow has its share at most, or all of it.

    MLflow's share is taken as if it were always used.
    """
    rest = 1 - SHARE
    now = {"trial_s": driver["trial_s"] / rest, "stage_s": driver["stage_s"] / rest}
    return now, {"trial_s": driver["trial_s"], "stage_s": driver["stage_s"] + driver["mlflow_s"]}


@contextmanager
def at_most(per_trial: int) -> Iterator[None]:
    """So many stages share a trial at most."""
    orchestrator.schedule.MOST_PER_TRIAL = per_trial
    yield
    orchestrator.schedule.MOST_PER_TRIAL = MOST_PER_TRIAL


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
        look = {"color": LINES[i], "marker": "osD^"[i], "markersize": 5}
        axes.plot(part["GPUs"], 1 / part["driver"], label=f"{cells:,} cells", **look)
        axes.plot(part["GPUs"], 1 / part[BEFORE], ":", markerfacecolor="none", **look)
    axes.set_title("How near a run of Table 2 comes to the shortest possible, by GPUs (simulated)")
    axes.set_xscale("log")
    axes.set_xlabel("GPUs (one stage each)")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("lower bound / makespan (1: no order of stages is shorter)")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    costs = ", ".join(
        f"{1000 * driver[f'{part}_s']:.0f} ms a {part}" for part in ("stage", "trial")
    )
    axes.legend(title=f"driver {costs}\ndotted: {BEFORE}")
    for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        with mpl.rc_context({"svg.hashsalt": "scaling"}):
            drawn.savefig(RESULTS / f"scaling.{ending}", metadata=metadata)


def timed_run(name: str, flags: list[str], slots: int) -> dict[str, Any]:
    """A real run on so many slots: CPU seconds of the driver's own thread and MLflow's; events."""
    with tempfile.TemporaryDirectory() as folder:
        recipe, _ = parse(name, flags)
        cpus = local_cpus() // slots
        machine = Machine(Path(folder), cpus_per_stage=max(cpus, 1))
        experiment = load_experiment(recipe, machine.root, must_exist=True)
        with (
            clocked(orchestrator.sweep, "run_tune") as driver,
            clocked(Tracker, "_mirror") as mlflow,
        ):
            sweep = orchestrator.sweep.Sweep(
                experiment, make_plan([experiment]), machine, "f2c run", Console(quiet=True)
            )
            outcome = sweep.run()
            outcome.tracker.finish("done", {}, "", [])
        events = (outcome.folder / "events.jsonl").read_text().splitlines()
        told = [json.loads(line) for line in events]
        ends = [event for event in told if event["event"] == "stage_end"]
        return {
            "stages": len(ends),
            "trials": len({event["trial_id"] for event in ends}),
            "driver_s": sum(driver),
            "mlflow_s": sum(mlflow),
            "events": told,
            "plan": sweep.plan,
        }


class EachEpoch(StageTrainable):
    """A stage that reports each of its epochs, as those do whose epochs take some seconds."""

    def step(self) -> dict[str, Any]:
        trainables.trainable.REPORT_EVERY_S = 0.0
        return super().step()


def measure(seeds: int) -> None:
    """Write driver.json from two runs of stages of some short epochs; one shares its trials."""
    flags = ["--seeds", *map(str, range(seeds)), "--cells.high", *map(str, range(9))]
    flags += ["--cells.low", *map(str, range(1, 9)), "--cells.mixed", *map(str, range(2, 9))]
    flags += ["--train.epochs", str(EPOCHS)]
    small = str(REPOSITORY / "tests" / "small.yaml")
    trainables.trainable.StageTrainable = EachEpoch
    runs = []
    for per_trial in (1, MOST_PER_TRIAL):
        with at_most(per_trial):
            runs.append(timed_run(small, flags, 2))
    alone, shared = runs
    n = alone["stages"]
    trial_s = (alone["driver_s"] - shared["driver_s"]) / (alone["trials"] - shared["trials"])
    record = {
        "trial_s": round(trial_s, 5),
        "stage_s": round(alone["driver_s"] / n - trial_s, 5),
        "mlflow_s": round(shared["mlflow_s"] / n, 5),
        "stages": n,
        "trials": [alone["trials"], shared["trials"]],
        "what": "CPU seconds of the driver's thread for a trial and for a stage in it, of two runs "
        "of the same stages in so many trials; of MLflow's thread for a stage (sqlite)",
        "machine": f"{platform.machine()}, 2 cores, shared with other work",
        "date": time.strftime("%Y-%m-%d"),
    }
    (RESULTS / "driver.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def check(driver: dict[str, float], recipe: str) -> bool:
    """Whether simulated and real makespans agree, given the same stages' own seconds."""
    driver_s = driver["trial_s"] + driver["stage_s"]
    worst = 0.0
    for slots in (1, 2):
        found = timed_run(recipe, [], slots)
        starts = {e["key"]: e["at"] for e in found["events"] if e["event"] == "stage_start"}
        ends = {e["key"]: e["at"] for e in found["events"] if e["event"] == "stage_end"}
        seconds = {key: max(ends[key] - starts[key] - driver_s, 0.0) for key in ends}
        real = max(ends.values()) - min(starts.values())
        given = Conditions(slots, driver["trial_s"], driver["stage_s"])
        simulated = run(found["plan"], seconds, given).seconds
        print(
            f"{slots} slots: real {real:.1f} s, simulated {simulated:.1f} s, "
            f"{simulated / real - 1:+.1%}"
        )
        worst = max(worst, abs(simulated / real - 1))
    return worst <= AGREE


def fed(mean_s: float, trial_s: float, stage_s: float, *, shares: bool) -> int:
    """How many GPUs the driver can keep busy with stages of so many seconds."""
    gpus = 0
    sharing = 1
    while (gpus + 1) * (trial_s / sharing + stage_s) <= mean_s:
        gpus += 1
        needed = math.ceil((gpus + 1) * TRIAL_S / TRIALS_SHARE / mean_s)
        sharing = min(needed, MOST_PER_TRIAL) if shares else 1
    return gpus


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
        sys.exit(not check(driver, given.check))
    frame = table(driver)
    write(frame, driver)
    print(frame.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    _, seconds = measured_plan()
    mean_s = sum(seconds.values()) / len(seconds)
    now, before = costs_of(driver)
    print(
        f"stages of {mean_s:.1f} s: {fed(mean_s, **now, shares=True)} GPUs fed; {BEFORE}: ", end=""
    )
    print(fed(mean_s, **before, shares=False))


if __name__ == "__main__":
    main()
