"""What the low-res stage makes a network forget: its accuracy on high-res test photos."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.colours import COLOUR_MAP
from analysis.figures import save_figure
from analysis.learning import events_of
from analysis.pages import Page, write_page
from analysis.setting import setting_of
from analysis.statistics import binomial_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGED = "staged_hl"
DOTS_PER_IN = 110
#: Chains whose lines are told apart in a table; the CSV has all.
MAX_LINES = 8


def forgetting(
    frame: pd.DataFrame, plan: Mapping[str, Any], tested: Mapping[str, float]
) -> pd.DataFrame:
    """High-res accuracy after the high-res stage, and after low-res stages of growing size.

    Args:
        frame: of `runs.load`.
        plan: of `plan.json`.
        tested: high-res accuracy of stages, a fraction, by their keys.

    Returns:
        One row a point: `n_high`, `seed`, `n_low` (0: before any), `high_percent` and
        `forgotten_points`, what is lost since before the low-res stage.
    """
    rows: list[dict[str, Any]] = []
    staged = frame.loc[(frame["strategy"] == STAGED) & (frame["status"] == "done")]
    order = ["n_high", "seed", "n_low"]
    for cell in staged.sort_values(order).to_dict("records"):
        stage = plan["stages"].get(cell["stage_key"])
        before = stage and tested.get(stage["spec"]["parent"] or "")
        if before is None or not cell["n_high"]:
            continue
        about = {"n_high": cell["n_high"], "seed": cell["seed"]}
        if not rows or {k: rows[-1][k] for k in about} != about:
            rows.append(about | {"n_low": 0, "high_percent": 100 * before})
        rows.append(about | {"n_low": cell["n_low"], "high_percent": 100 * cell["accuracy_high"]})
    table = pd.DataFrame(rows, columns=["n_high", "seed", "n_low", "high_percent"]).dropna()
    first = table.groupby(["n_high", "seed"])["high_percent"].transform("first")
    return table.assign(forgotten_points=first - table["high_percent"])


def high_accuracies(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """High-res accuracy of finished stages by key, out of a run's events."""
    return {
        event["key"]: float(event["accuracy_high"])
        for event in events
        if event.get("event") in ("stage_end", "adopted") and "accuracy_high" in event
    }


def write_forgetting(
    frame: pd.DataFrame, plan: Mapping[str, Any], recipe: Mapping[str, Any], run: Path
) -> list[Path]:
    """Write `forgetting.csv`, `.md`, `.html` and, where they are more than two points, curves.

    Args:
        frame: of `runs.load`.
        plan: of `plan.json`.
        recipe: of the run's `recipe.yaml`.
        run: its folder, with `events.jsonl`.

    Returns:
        The files written; none for a run without staged cells, or without its events.
    """
    table = forgetting(frame, plan, high_accuracies(events_of(run)))
    kept = run / "tables" / "forgetting.csv"
    if not plan["stages"] and kept.is_file():
        table = pd.read_csv(kept)  # a kept part of a run has no events
    if table.empty:
        return []
    setting = setting_of(frame, recipe).title
    title = f"High-res accuracy before and after the low-res stage: {setting}"
    chance = _chance(table["high_percent"].to_numpy(), int(frame["n_test"].to_numpy().max()))
    written = write_page(
        run / "tables", "forgetting", Page(title, [_texts(table)], [_NOTE, f"{chance}."]), table
    )
    figure = draw_forgetting(curves_of(table), f"{setting}\n{chance}")
    if figure is not None:
        written += save_figure(figure, run / "figures", "forgetting", dots_per_in=DOTS_PER_IN)
    return written


def curves_of(table: pd.DataFrame) -> dict[int, dict[int, float]]:
    """High-res photos to low-res photos to percent, mean over the seeds that have most points."""
    curves: dict[int, dict[int, float]] = {}
    for n_high, rows in table.groupby("n_high", sort=True):
        points = rows.pivot_table(index="seed", columns="n_low", values="high_percent")
        there = points.notna().sum(axis=1)
        means = points.loc[there == there.max()].dropna(axis=1).mean()
        curves[int(str(n_high))] = {int(n): float(p) for n, p in means.sort_index().items()}
    return curves


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    curves = dict(list(curves_of(table).items())[-MAX_LINES:])
    columns = sorted({n_low for points in curves.values() for n_low in points})
    names = {n_low: f"{n_low} low-res" if n_low else "before" for n_low in columns}
    rows = {
        f"after {n_high} high-res": {
            names[n]: f"{points[n]:.1f}" if n in points else "" for n in columns
        }
        for n_high, points in curves.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def draw_forgetting(curves: dict[int, dict[int, float]], title: str) -> "Figure | None":
    """Draw the curves of `curves_of`; None where each is two points: a table says those better."""
    from matplotlib.figure import Figure

    if max(map(len, curves.values())) < 3:
        return None
    figure = Figure(figsize=(7, 3.8), layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=9, parse_math=False)
    _curves(figure.subplots(), curves)
    return figure


def _chance(percents: NDArray[np.float64], n_test: int) -> str:
    low, high = binomial_ends(percents / 100, np.full(len(percents), n_test))
    reach = 50 * float(np.median(high - low))
    photos = f"the {n_test:,} test photos alone"
    return f"95 % interval of a point, by {photos}: about ±{reach:.0f} points"


def _curves(axes: "Axes", curves: dict[int, dict[int, float]]) -> None:
    import matplotlib as mpl

    for place, (n_high, points) in enumerate(curves.items()):
        colour = mpl.colormaps[COLOUR_MAP](0.85 * (1 - place / max(len(curves) - 1, 1)))
        percents = list(points.values())
        line = "o-" if len(points) > 2 else "o:"  # of two points nothing between is known
        axes.plot(list(points), percents, line, markersize=4, color=colour, label=f"{n_high}")
    axes.set(xlabel="low-res training photos of the last stage (0: before it)")
    axes.set_ylabel("accuracy on high-res test, %")
    axes.set_ylim(0, 1.08 * max(p for points in curves.values() for p in points.values()))
    axes.legend(title="high-res photos", fontsize=8, title_fontsize=8, frameon=False, ncols=2)
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)


_NOTE = (
    "Each point is a stage of its own that started from the same network: more low-res photos are "
    "more updates on them. Percent of the high-res test photos recognised, mean over seeds."
)
