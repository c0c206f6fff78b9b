"""The resolution sweep as a picture: accuracies, and Staged minus the others."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.colours import LINES
from analysis.figures import LABEL_PT, TITLE_PT, save_figure
from analysis.resolutions import accuracies
from analysis.setting import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP"
#: Neighbours are drawn this share of a resolution apart, so that intervals do not hide each other.
SPREAD = 0.018


def write_resolution_figure(
    frame: pd.DataFrame, differences: pd.DataFrame, setting: Setting, folder: Path
) -> list[Path]:
    """Write `resolutions.png` and `resolutions.svg`.

    Args:
        frame: of `runs.load`.
        differences: of `resolutions.advantages`.
        setting: for the title.
        folder: made where it is not there.
    """
    return save_figure(draw_resolutions(frame, differences, setting), folder, "resolutions")


def draw_resolutions(frame: pd.DataFrame, differences: pd.DataFrame, setting: Setting) -> "Figure":
    """Left a line a strategy, right the differences around zero, if any; 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), layout="constrained", facecolor="white")
    title = f"{setting.title_without_resolution}; bars: 95 % intervals"
    figure.suptitle(title, fontsize=TITLE_PT, parse_math=False)
    panels = figure.subplots(1, 1 if differences.empty else 2, squeeze=False)[0]
    left = accuracies(frame)
    # One strategy has one look in both panels.
    others = [] if differences.empty else differences["table"].tolist()
    names = dict.fromkeys([*left["strategy"].tolist(), *others])
    looks = {name: place for place, name in enumerate(names)}
    ends = ("accuracy_low", "accuracy_low_from", "accuracy_low_to")
    _lines(panels[0], left, "strategy", looks, ends)
    panels[0].set_ylabel("accuracy on low-res test, %", fontsize=LABEL_PT)
    for axes in panels[1:]:
        ends = ("difference_points", "from_points", "to_points")
        _lines(axes, differences, "table", looks, ends)
        axes.axhline(0, color="#444444", linewidth=1)
        axes.set_ylabel("Staged minus the other, points", fontsize=LABEL_PT)
    for axes in panels:
        _dress(axes, sorted(set(frame["resolution_px"].tolist())))
    return figure


def _lines(
    axes: "Axes",
    table: pd.DataFrame,
    by: str,
    looks: Mapping[str, int],
    columns: tuple[str, str, str],
) -> None:
    groups = list(table.groupby(by, sort=False))
    scale = 1 if columns[0].endswith("_points") else 100
    for place, (name, rows) in enumerate(groups):
        look = looks[str(name)]
        middle, low, high = (scale * rows[column].to_numpy() for column in columns)
        shift = 1 + SPREAD * (place - (len(groups) - 1) / 2)
        axes.errorbar(
            rows["resolution_px"].to_numpy() * shift,
            middle,
            yerr=np.stack([middle - low, high - middle]).clip(min=0),
            marker=MARKERS[look % len(MARKERS)],
            markersize=5,
            capsize=2,
            linewidth=1.4,
            color=LINES[look % len(LINES)],
            label=str(name),
        )


def _dress(axes: "Axes", sides_px: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(sides_px, [str(px) for px in sides_px])
    axes.minorticks_off()
    axes.set_xlabel("low resolution, px", fontsize=LABEL_PT)
    axes.legend(fontsize=LABEL_PT, frameon=False)
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
