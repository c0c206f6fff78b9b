"""A sheet of predictions: each photo, what the network saw of it and looks at, and its classes.

H W pixels.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.colours import OURS
from analysis.heat_network import HeatNetwork, HeatSettings
from analysis.photo_cards import over
from orchestrator.predicting import MAX_DRAWN, Prediction
from trainables.entry import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_IN = 2.6
PANEL_IN = 3.2
DOTS_PER_IN = 120
TITLE_PT = 11
LABEL_PT = 9
#: Share of a bar in its row; the class is written above it.
BAR = 0.35
#: Longest name of a class that is written in full.
NAME_LENGTH = 36


class Drawn(NamedTuple):
    """A photo and its occlusion map (H, W) over what is left of it after the network's crop."""

    photo: Prediction
    cut_HW3: NDArray[np.uint8]
    heat_HW: NDArray[np.float32]


def write_sheet(file: Path, title: str, photos: Sequence[Prediction], entry: Entry) -> int:
    """Draw the photos that kept their pixels, a row each, with the network's occlusion maps.

    Args:
        file: PNG, JPEG, WebP, SVG or PDF by its ending.
        title: over all of it.
        photos: of `predict`.
        entry: the stage that predicted them.

    Returns:
        How many photos were drawn.
    """
    network = HeatNetwork(entry, HeatSettings(len(photos)))
    kept = [photo for photo in photos if photo.seen is not None][:MAX_DRAWN]
    file.parent.mkdir(parents=True, exist_ok=True)
    drawn = [_with_heat(photo, network) for photo in kept]
    draw_sheet(title, drawn).savefig(file, dpi=DOTS_PER_IN)
    return len(drawn)


def _with_heat(photo: Prediction, network: HeatNetwork) -> Drawn:
    assert photo.seen is not None
    cut_3HW = network.cut(photo.seen.canvas_3HW[None])[0]
    return Drawn(photo, cut_3HW.permute(1, 2, 0).numpy(), network.map(cut_3HW))


def draw_sheet(title: str, drawn: Sequence[Drawn]) -> "Figure":
    """The figure of a sheet."""
    from matplotlib.figure import Figure

    size_in = (PANEL_IN * len(PANELS), ROW_IN * len(drawn) + 0.6)
    figure = Figure(figsize=size_in, layout="constrained")
    figure.suptitle(title, fontsize=TITLE_PT, parse_math=False)
    rows = figure.subplots(len(drawn), len(PANELS), squeeze=False)
    for axes_of_row, row in zip(rows, drawn, strict=True):
        for axes, panel in zip(axes_of_row, PANELS, strict=True):
            panel(axes, row)
    return figure


def _photo(axes: "Axes", drawn: Drawn) -> None:
    photo = drawn.photo
    axes.set_axis_off()
    axes.set_title(_short(Path(photo.path).name), fontsize=LABEL_PT, parse_math=False)
    if photo.seen is not None:
        axes.imshow(photo.seen.object_HW3)


def _seen(axes: "Axes", drawn: Drawn) -> None:
    photo = drawn.photo
    axes.set_axis_off()
    if photo.seen is not None:
        axes.imshow(photo.seen.canvas_3HW.permute(1, 2, 0).numpy())
    axes.set_title("what the network saw", fontsize=LABEL_PT)
    words = photo.how.replace(", ", ",\n")
    axes.text(0.5, -0.03, words, transform=axes.transAxes, ha="center", va="top", fontsize=7)


def _looked_at(axes: "Axes", drawn: Drawn) -> None:
    axes.set_axis_off()
    axes.imshow(over(drawn.cut_HW3, drawn.heat_HW))
    axes.set_title("what it looks at (yellow: most)", fontsize=LABEL_PT)


def _bars(axes: "Axes", drawn: Drawn) -> None:
    photo = drawn.photo
    names = [_short(name) for name, _ in photo.top]
    percent = [100 * value for _, value in photo.top]
    places = range(len(names))
    axes.barh(places, percent, height=BAR, color=OURS)
    axes.set_yticks([])
    axes.set_xlim(0, 100)
    axes.set_ylim(len(names) - 0.6, -0.8)
    for place, name, value in zip(places, names, percent, strict=True):
        words = f"{value:.1f} %  {name}"
        axes.text(0, place - 0.6 * BAR, words, va="bottom", fontsize=LABEL_PT, parse_math=False)
    axes.set_xlabel("probability (%)", fontsize=LABEL_PT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


#: Left to right; another panel is another function here.
PANELS: tuple[Callable[["Axes", Drawn], None], ...] = (_photo, _seen, _looked_at, _bars)
