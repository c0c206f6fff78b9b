"""Controls and rivals as a picture: each minus Low, and minus Low in as many updates."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.colours import OURS
from analysis.figures import LABEL_PT, TITLE_PT, WIDTH_IN, save_figure
from analysis.setting import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What rows are compared with, a panel each.
AGAINST = {"low": "low", "low_low": "low_low: as many updates as staged, on low-res alone"}


def write_controls_figure(differences: pd.DataFrame, setting: Setting, folder: Path) -> list[Path]:
    """Write `controls.png` and `controls.svg`.

    Args:
        differences: of `controls.differences_of`.
        setting: for the title.
        folder: made where it is not there.

    Returns:
        The files written; none where neither of `AGAINST` is there.
    """
    families = {} if differences.empty else dict(list(differences.groupby("table")))
    panels = {name: families[name] for name in AGAINST if name in families}
    if not panels:
        return []
    return save_figure(draw_controls(panels, setting), folder, "controls")


def draw_controls(panels: dict[str, pd.DataFrame], setting: Setting) -> "Figure":
    """A panel for what is compared with, a row for each strategy, 95 % intervals around zero."""
    from matplotlib.figure import Figure

    names = _names(panels)
    size = (WIDTH_IN, 1.6 + 0.34 * len(names))
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    title = f"Low-res test: each strategy minus another, on the same photos\n{setting.title}"
    figure.suptitle(title, fontsize=TITLE_PT, parse_math=False)
    subplots = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, rows) in zip(subplots, panels.items(), strict=True):
        _panel(axes, rows, names)
        axes.set_title(f"minus {AGAINST[name]}", fontsize=LABEL_PT)
    return figure


def _names(panels: dict[str, pd.DataFrame]) -> list[str]:
    """Cells, the best on top: by the first panel, and what it is compared with where it lies."""
    first = next(iter(panels.values()))
    points = dict(zip(first["first"], first["difference_points"], strict=True))
    points |= dict.fromkeys(first["second"], 0.0)
    return sorted(points, key=lambda name: -points[name])


def _panel(axes: "Axes", rows: pd.DataFrame, names: list[str]) -> None:
    middle, low, high = (
        rows[column].to_numpy(float) for column in ("difference_points", "from_points", "to_points")
    )
    heights = np.array([names.index(name) for name in rows["first"]])
    reach = np.stack([middle - low, high - middle]).clip(min=0)
    axes.axvline(0, color="#444444", linewidth=1)
    axes.errorbar(middle, heights, xerr=reach, fmt="o", color=OURS, capsize=3, markersize=5)
    labels = [name.partition("/")[0] for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=LABEL_PT, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("points, with 95 % interval", fontsize=LABEL_PT)
    axes.grid(color="#dddddd", axis="x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
