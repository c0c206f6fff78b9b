"""Figures: heat maps of Table 2, dot charts of Tables 1 and 3, ours beside the paper's.

Drawn on `Figure` objects of their own, without pyplot: nothing global, safe beside other plots.
matplotlib is imported where it is used; it costs half a second.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import paper
from analysis.colours import COLOUR_MAP, OURS, PAPERS, ink_on
from analysis.compare import AT_CHANCE, DASH, TOLD_STATUSES, Comparison, Entry, compare, tables_of
from analysis.setting import Setting, setting_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 12.0
DOTS_PER_IN = 150
TITLE_PT = 13
LABEL_PT = 10
SMALL_PT = 8
#: Without what differs from one time to the next.
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}}


def write_figures(frame: pd.DataFrame, recipe: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a figure of every table that has cells as `tableN.png` and `tableN.svg`.

    Args:
        frame: of `runs.load`.
        recipe: of the run's `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written; equal results give equal bytes.
    """
    written: list[Path] = []
    for table in tables_of(frame):
        setting = setting_of(frame.loc[frame["table"] == table], recipe)
        written += save_figure(draw(compare(frame, table), setting), folder, table)
    return written


def save_figure(
    figure: "Figure",
    folder: Path,
    name: str,
    *,
    endings: Sequence[str] = ("png", "svg"),
    dots_per_in: int = DOTS_PER_IN,
) -> list[Path]:
    """Write a figure as `NAME.png` and `NAME.svg`; equal figures give equal bytes.

    Args:
        figure: on its own, not of pyplot.
        folder: made where it is not there.
        name: of the files.
        endings: of those that are wanted.
        dots_per_in: of the PNG.
    """
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.{ending}" for ending in endings]
    for ending, path in zip(endings, written, strict=True):
        with mpl.rc_context({"svg.hashsalt": name}):
            figure.savefig(path, dpi=dots_per_in, metadata=_METADATA[ending])
    return written


def draw(comparison: Comparison, setting: Setting) -> "Figure":
    """The figure of one table: heat maps for Table 2, dots for the others."""
    return (
        _heat_maps(comparison, setting)
        if comparison.table == "table2"
        else _dots(comparison, setting)
    )


def _heat_maps(comparison: Comparison, setting: Setting) -> "Figure":
    figure = _figure(comparison, setting, height_in=1.9 + 0.4 * len(comparison.rows))
    left, right = figure.subplots(1, 2)
    _heat_map(left, comparison, "ours")
    left.set_title(f"Ours ({setting.title.split(',')[0]})", fontsize=TITLE_PT, parse_math=False)
    _heat_map(right, comparison, "paper")
    right.set_title("Paper (Stanford Cars)", fontsize=TITLE_PT)
    figure.supxlabel(_heat_caption(comparison), fontsize=LABEL_PT)
    return figure


def _heat_caption(comparison: Comparison) -> str:
    """How marks are read, and how far one of our cells is to be trusted."""
    marks = (
        f"{paper.DAGGER} staged (framed) and {paper.STAR} mixed: trained on the same photos, "
        "to be compared within a column\nEach side has colours of its own"
    )
    if not all(entry.above_chance for entry in comparison.entries.values()):
        marks += f"; {AT_CHANCE} not above chance"
    reaches = [(e.high - e.low) / 2 for e in comparison.entries.values() if e.high > e.low]
    if not reaches:
        return marks
    return f"{marks}; 95 % interval of one of our cells: about ±{np.median(reaches):.0f} points"


def _figure(comparison: Comparison, setting: Setting, height_in: float) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained", facecolor="white")
    title = paper.TITLES.get(comparison.table, setting.name or "Results")
    figure.suptitle(f"{title}\n{setting.title}", fontsize=TITLE_PT, parse_math=False)
    return figure


def _heat_map(axes: "Axes", comparison: Comparison, which: str) -> None:
    """One panel, on a scale of its own: the pattern counts, ours may have other classes."""
    places = [[(row, column) for column in comparison.columns] for row in comparison.rows]
    percent = np.array([[getattr(comparison.entries[p], which) for p in row] for row in places])
    image = axes.imshow(np.ma.masked_invalid(percent), cmap=COLOUR_MAP, aspect="auto")
    for i, row in enumerate(comparison.rows):
        for j, column in enumerate(comparison.columns):
            entry = comparison.entries[row, column]
            label = _label(entry, percent[i, j], which)
            _annotate(axes, (j, i), label, image.to_rgba(percent[i, j]))
    _label_axes(axes, comparison, which)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02, aspect=30)
    bar.set_label("accuracy on low-res test, %", fontsize=LABEL_PT)


def _label(entry: Entry, percent: float, which: str) -> str:
    if not math.isnan(percent):
        chance = AT_CHANCE * (which == "ours" and not entry.above_chance)
        return f"{percent:.1f}{chance}{entry.mark}"
    return entry.status if which == "ours" and entry.status in TOLD_STATUSES else DASH


def _annotate(axes: "Axes", at: tuple[int, int], label: str, colour: Any) -> None:
    from matplotlib.patches import Rectangle

    number = label[0].isdigit()
    ink = ink_on(colour) if number else "#444444"
    size = SMALL_PT if len(label) > 6 else LABEL_PT
    # Inside its square; measuring each label for the layout takes a third of the figure's time.
    style = {"fontsize": size, "color": ink, "in_layout": False}
    axes.text(*at, label, ha="center", va="center", **style)
    if number and label.endswith(paper.DAGGER):
        corner = (at[0] - 0.45, at[1] - 0.45)
        axes.add_patch(Rectangle(corner, 0.9, 0.9, fill=False, edgecolor=ink, linewidth=1.2))


def _label_axes(axes: "Axes", comparison: Comparison, which: str) -> None:
    rows, columns = (
        (comparison.rows, comparison.columns) if which == "ours" else _paper_labels(comparison)
    )
    style = {"fontsize": LABEL_PT, "parse_math": False}
    # Name above count: eight such labels do not fit side by side.
    names = [label.replace(" (", "\n(") for label in columns.values()]
    axes.set_xticks(range(len(columns)), names, **style)
    axes.set_yticks(range(len(rows)), list(rows.values()), **style)
    axes.tick_params(length=0)
    axes.set_xlabel("low-res training photos (last stage)", fontsize=LABEL_PT)
    axes.set_ylabel("high-res training photos (first stage)", fontsize=LABEL_PT)
    axes.spines[:].set_visible(False)
    if paper.MIXED in rows:
        axes.axhline(list(rows).index(paper.MIXED) - 0.5, color="white", linewidth=5, zorder=0.5)


def _paper_labels(comparison: Comparison) -> tuple[dict[str, str], dict[str, str]]:
    known = {row.title for row in paper.rows("table2")} - {paper.MIXED}
    rows = {row: f"{row}k" if row in known else row for row in comparison.rows}
    return rows, {column: f"{column}k" for column in comparison.columns}


def _dots(comparison: Comparison, setting: Setting) -> "Figure":
    figure = _figure(comparison, setting, height_in=1.8 + 0.42 * len(comparison.rows))
    panels = figure.subplots(1, len(comparison.columns), sharey=True, squeeze=False)[0]
    limits = _limits(comparison)
    for axes, (column, label) in zip(panels, comparison.columns.items(), strict=True):
        _dot_panel(axes, [comparison.entries[row, column] for row in comparison.rows], limits)
        axes.set_title(label, fontsize=TITLE_PT)
    rows = list(comparison.rows.values())
    panels[0].set_yticks(range(len(rows)), rows, fontsize=LABEL_PT, parse_math=False)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    handles, names = panels[-1].get_legend_handles_labels()
    # Ours first, as in the tables; matplotlib puts the one with error bars last.
    figure.legend(handles[::-1], names[::-1], loc="outside lower center", ncols=2, frameon=False)
    return figure


def _limits(comparison: Comparison) -> tuple[float, float]:
    """Of the axis, in percent: what all panels need, so that near rows are told apart."""
    entries = comparison.entries.values()
    every = np.array([[e.ours, e.low, e.high, e.paper] for e in entries])
    if np.isnan(every).all():
        return (-2.0, 102.0)
    return (max(np.nanmin(every) - 4, -2), min(np.nanmax(every) + 4, 102))


def _dot_panel(axes: "Axes", entries: list[Entry], limits: tuple[float, float]) -> None:
    heights = np.arange(len(entries))
    ours = np.array([entry.ours for entry in entries])
    reach = np.array([[e.ours - e.low, e.high - e.ours] for e in entries]).T.clip(min=0)
    published = np.array([entry.paper for entry in entries])
    # Side by side where there are two, else on the row's own line.
    apart = np.where(np.isnan(published), 0.0, 0.12)
    axes.errorbar(
        *(ours, heights - apart),
        xerr=reach,
        fmt="o",
        color=OURS,
        capsize=3,
        label="ours, with 95 % interval",
    )
    if not np.isnan(published).all():
        axes.plot(published, heights + apart, "D", color=PAPERS, mfc="none", label="paper")
    for height, entry in zip(heights - apart, entries, strict=True):
        if entry.status in TOLD_STATUSES and math.isnan(entry.ours):
            at = (limits[0] + 1, height)
            axes.text(*at, entry.status, va="center", fontsize=SMALL_PT, color=OURS)
    axes.set_xlim(*limits)
    axes.set_xlabel("accuracy, %", fontsize=LABEL_PT)
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
