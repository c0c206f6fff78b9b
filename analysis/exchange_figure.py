"""The exchange rate as a picture: measured accuracies and curves of equal accuracy."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.colours import COLOUR_MAP, ink_on
from analysis.exchange import Exchange
from analysis.figures import LABEL_PT, SMALL_PT, save_figure
from analysis.scaling import Law, Numbers
from analysis.setting import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE = "#c2570c"
STEP_PERCENT = 5
MOST_CURVES = 10


def write_exchange_figure(found: Exchange, setting: Setting, folder: Path) -> list[Path]:
    """Write `exchange.png` and `exchange.svg`.

    Args:
        found: of `exchange.exchange_of`.
        setting: for the title.
        folder: made where it is not there.
    """
    return save_figure(draw_exchange(found, setting), folder, "exchange")


def draw_exchange(found: Exchange, setting: Setting) -> "Figure":
    """Squares are measured, lines are the law; every line joins what gives one accuracy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 6.5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    _curves(axes, found)
    percent = 100 * (1 - found.cells.error)
    at = (found.cells.n_low, found.cells.n_high)
    image = axes.scatter(*at, c=percent, s=480, marker="s", cmap=COLOUR_MAP, zorder=2)
    for low, high, number in zip(*at, percent.tolist(), strict=True):
        ink = ink_on(np.ravel(image.to_rgba(number)).tolist())
        style = {"ha": "center", "va": "center", "fontsize": SMALL_PT, "color": ink}
        # They lie inside the squares; measuring each for the layout takes a third of the time.
        style["in_layout"] = False
        axes.text(low, high, f"{number:.0f}", **style)
    title = (
        "Accuracy on low-res test in %: measured (squares), equal by the law (lines)\n"
        f"which misses a cell by {found.held_out[found.chosen]:.1f} points (root mean square)"
    )
    axes.set_title(f"{title}\n{setting.title}", fontsize=LABEL_PT, parse_math=False)
    axes.set_xlabel("low-res training photos (last stage)", fontsize=LABEL_PT)
    axes.set_ylabel("high-res training photos (first stage)", fontsize=LABEL_PT)
    axes.margins(0.05)
    axes.spines[["top", "right"]].set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=30)
    bar.set_label("measured accuracy, %", fontsize=LABEL_PT)
    return figure


def _curves(axes: "Axes", found: Exchange) -> None:
    law, percent = found.law, 100 * (1 - found.cells.error)
    step = STEP_PERCENT * np.ceil(np.ptp(percent) / STEP_PERCENT / MOST_CURVES)
    n_high = np.linspace(0, law.high_unit, 400)
    rows = np.unique(found.cells.n_high)
    between = (rows[1:] + rows[:-1]) / 2
    for level in np.arange(np.ceil(percent.min() / step) * step, percent.max(), step):
        n_low = law.curve(level / 100, n_high)
        inside = (n_low >= law.least_low) & (n_low <= law.low_unit)
        axes.plot(n_low[inside], n_high[inside], color=LINE, linewidth=1.6, zorder=1)
        _label(axes, law, level, between)


def _label(axes: "Axes", law: Law, level: float, between: Numbers) -> None:
    """The accuracy on its curve, in the gap between two rows of squares."""
    at = law.curve(level / 100, between)
    inside = (at >= law.least_low) & (at <= law.low_unit)
    if inside.any():
        nearest = np.argmin(np.where(inside, np.abs(at - law.low_unit / 2), np.inf))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        style = {"ha": "center", "va": "center", "fontsize": LABEL_PT, "color": LINE, "bbox": box}
        axes.text(at[nearest], between[nearest], f"{level:g} %", **style)
