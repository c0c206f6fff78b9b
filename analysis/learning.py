"""What happened inside the stages of a run: their epochs out of `events.jsonl`, as a figure."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.colours import COLOUR_MAP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVENTS_FILE = "events.jsonl"
#: Columns of small charts; one chart for each kind of stage.
COLUMNS = 3
#: Kinds of stages that are drawn; more would be too small to read.
MAX_KINDS = 9

Epochs = dict[str, list[dict[str, Any]]]


def epochs_of(run: Path) -> Epochs:
    """The epochs of every stage of a run by the stage's key; each epoch once, in order.

    A line that was cut off by a kill is passed over.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for event in events_of(run):
        records = [event["record"]] if event.get("event") == "epoch" else event.get("epochs", [])
        for record in records:
            found.setdefault(event["key"], {})[record["epoch"]] = record
    return {key: [by_epoch[n] for n in sorted(by_epoch)] for key, by_epoch in found.items()}


def events_of(run: Path) -> Iterable[dict[str, Any]]:
    """What happened in a run, in order; a line that was cut off by a kill is passed over."""
    file = run / EVENTS_FILE
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def kinds_of(plan: Mapping[str, Any], epochs: Epochs) -> dict[str, list[tuple[int, str]]]:
    """Stages with epochs by the chain of views they belong to: `high`, `high, low`, ...

    Returns:
        For each chain (images of the stage, key), fewest images first.
    """
    kinds: dict[str, list[tuple[int, str]]] = {}
    for key, stage in plan["stages"].items():
        if key in epochs:
            size = int(stage["spec"]["subset"]["n_images"])
            kinds.setdefault(_chain(plan, key), []).append((size, key))
    return {kind: sorted(stages) for kind, stages in sorted(kinds.items())}


def _chain(plan: Mapping[str, Any], key: str | None) -> str:
    parts: list[str] = []
    model = plan["stages"][key]["spec"]["model"]["name"]
    while key in plan["stages"]:
        spec = plan["stages"][key]["spec"]
        parts.append(" + ".join(view["form"] for view in spec["views"]))
        key = spec["parent"]
    return f"{', then '.join(reversed(parts))} ({model})"


def draw_learning(plan: Mapping[str, Any], epochs: Epochs) -> "Figure | None":
    """Training accuracy over the epochs, one chart for each kind of stage, a line a stage.

    Lines are lighter where the stage has more photos. None where no stage has an epoch.
    """
    from matplotlib.figure import Figure

    kinds = dict(list(kinds_of(plan, epochs).items())[:MAX_KINDS])
    if not kinds:
        return None
    rows = math.ceil(len(kinds) / COLUMNS)
    figure = Figure(figsize=(12, 0.6 + 2.9 * rows), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).reshape(-1)
    for axes, (kind, stages) in zip(panels, kinds.items(), strict=False):
        _draw_kind(axes, kind, stages, epochs)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    figure.supylabel("accuracy on the training photos, %", fontsize=10)
    return figure


def _draw_kind(axes: "Axes", kind: str, stages: list[tuple[int, str]], epochs: Epochs) -> None:
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    smallest, largest = stages[0][0], stages[-1][0]
    for size, key in stages:
        colour = mpl.colormaps[COLOUR_MAP](0.85 * (size - smallest) / max(largest - smallest, 1))
        passed = [record["epoch"] for record in epochs[key]]
        percent = [100 * record["accuracy"] for record in epochs[key]]
        axes.plot(passed, percent, marker="o", markersize=2.5, color=colour, linewidth=1.2)
    sizes = f"{largest}" if smallest == largest else f"{smallest} to {largest}"
    axes.set_title(f"{kind}\n{sizes} photos", fontsize=10, parse_math=False)
    axes.set_xlabel("epoch of the stage", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(-2, 102)
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
