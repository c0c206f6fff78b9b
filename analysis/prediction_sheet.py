"""A sheet of predictions: each photo, what the network saw of it, and its likeliest classes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.colours import OURS
from orchestrator.predicting import MAX_DRAWN, Prediction

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


def write_sheet(file: Path, title: str, photos: Sequence[Prediction]) -> int:
    """Draw the photos that kept their pixels, a row each.

    Args:
        file: PNG, SVG or PDF by its ending.
        title: over all of it.
        photos: of `predict`.

    Returns:
        How many photos were drawn.
    """
    drawn = [photo for photo in photos if photo.seen is not None][:MAX_DRAWN]
    file.parent.mkdir(parents=True, exist_ok=True)
    draw_sheet(title, drawn).savefig(file, dpi=DOTS_PER_IN)
    return len(drawn)


def draw_sheet(title: str, photos: Sequence[Prediction]) -> "Figure":
    """The figure of a sheet."""
    from matplotlib.figure import Figure

    size_in = (PANEL_IN * len(PANELS), ROW_IN * len(photos) + 0.6)
    figure = Figure(figsize=size_in, layout="constrained")
    figure.suptitle(title, fontsize=TITLE_PT, parse_math=False)
    rows = figure.subplots(len(photos), len(PANELS), squeeze=False)
    for axes_of_row, photo in zip(rows, photos, strict=True):
        for axes, panel in zip(axes_of_row, PANELS, strict=True):
            panel(axes, photo)
    return figure


def _photo(axes: "Axes", photo: Prediction) -> None:
    axes.set_axis_off()
    axes.set_title(_short(Path(photo.path).name), fontsize=LABEL_PT, parse_math=False)
    if photo.seen is not None:
        axes.imshow(photo.seen.object_HW3)


def _seen(axes: "Axes", photo: Prediction) -> None:
    axes.set_axis_off()
    if photo.seen is not None:
        axes.imshow(photo.seen.canvas_3HW.permute(1, 2, 0).numpy())
    axes.set_title("what the network saw", fontsize=LABEL_PT)
    words = photo.how.replace(", ", ",\n")
    axes.text(0.5, -0.03, words, transform=axes.transAxes, ha="center", va="top", fontsize=7)


def _bars(axes: "Axes", photo: Prediction) -> None:
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
PANELS: tuple[Callable[["Axes", Prediction], None], ...] = (_photo, _seen, _bars)
