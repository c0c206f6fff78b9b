"""What accuracy costs: image passes behind every cell of a run, and the run's in words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.colours import OURS, PAPERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^vP*X"


def costs(frame: pd.DataFrame, plan: Mapping[str, Any]) -> pd.DataFrame:
    """Image passes of each done cell, over all stages of its chain.

    Args:
        frame: of `runs.load`.
        plan: of `plan.json`.

    Returns:
        `cell`, `strategy`, `percent_low`, `image_passes`, as if nothing were shared.
    """
    done = frame.loc[frame["status"] == "done"]
    passes = [passes_of(plan, key) for key in done["stage_key"]]
    return pd.DataFrame(
        {
            "cell": done["cell"].tolist(),
            "strategy": done["strategy"].tolist(),
            "percent_low": (100 * done["accuracy_low"]).tolist(),
            "image_passes": passes,
        }
    )


def passes_of(plan: Mapping[str, Any], key: str | None) -> int:
    """Photos that pass through the network in a stage and those before it."""
    total = 0
    while key in plan["stages"]:
        stage = plan["stages"][key]
        total += int(stage["images"])
        key = stage["spec"]["parent"]
    return total


def summary(frame: pd.DataFrame, plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The run's cost in words: what was computed, and what sharing saved."""
    distinct = sum(int(stage["images"]) for stage in plan["stages"].values())
    alone = sum(passes_of(plan, cell["stage"]) for cell in plan["cells"].values())
    trained = frame.drop_duplicates("stage_key")["train_s"].sum()
    return [
        ("image passes of all stages", f"{distinct:,}"),
        ("the same, cell by cell without sharing", f"{alone:,}"),
        ("saved by sharing", f"{1 - distinct / alone:.0%}" if alone else "nothing"),
        ("training of the cells' last stages", f"{trained / 60:,.1f} min of one slot"),
    ]


def draw_costs(table: pd.DataFrame) -> "Figure | None":
    """Accuracy on low-res test against image passes, a mark a cell; None where nothing is done."""
    from matplotlib.figure import Figure

    if table.empty:
        return None
    figure = Figure(figsize=(8, 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    strategies = list(dict.fromkeys(table["strategy"]))
    colours = (OURS, PAPERS, "#5a5a5a", "#7a5195", "#2f7d4f")
    for number, strategy in enumerate(strategies):
        rows = table.loc[table["strategy"] == strategy]
        axes.plot(
            rows["image_passes"],
            rows["percent_low"],
            MARKERS[number % len(MARKERS)],
            color=colours[number % len(colours)],
            label=strategy,
            alpha=0.8,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda passes, _: f"{passes:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("image passes in training, all stages of the cell", fontsize=10)
    axes.set_ylabel("accuracy on low-res test, %", fontsize=10)
    axes.grid(color="#dddddd", which="both", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False)
    return figure
