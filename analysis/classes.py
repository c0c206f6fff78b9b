"""Which classes staged training recognises better, and which worse, than the low-res baseline.

N photos, K classes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.colours import OURS, PAPERS
from analysis.figures import save_figure
from analysis.pages import Page, write_page
from analysis.setting import setting_of
from analysis.shown import shown_cells
from analysis.statistics import holm, mcnemar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNIFICANCE = 0.05
#: Classes named at each end; the CSV has all.
N_NAMED = 8
#: More classes are not named on the chart's axis.
MAX_ON_AXIS = 25
#: The chart's axis reaches so far both ways, also where nothing changes.
LEAST_POINTS = 5.0
DOTS_PER_IN = 110


def class_gains(
    first: pd.DataFrame, second: pd.DataFrame, class_names: Sequence[str]
) -> pd.DataFrame:
    """Accuracy of two networks on the same photos, class by class.

    Args:
        first: rows of `predictions.parquet` of one cell and test, by `row`.
        second: those of another cell.
        class_names: by label; a label beyond them is named by its number.

    Returns:
        One row a class, largest gain first: `label`, `class`, `n_photos`, `first_percent`,
        `second_percent`, `gain_points`, `only_first`, `only_second`, `mcnemar_p`, `holm_p`.
    """
    both = first.merge(second, on=["row", "label"], suffixes=("_1", "_2"), validate="1:1")
    rows = [_gain(int(str(label)), photos, class_names) for label, photos in both.groupby("label")]
    table = pd.DataFrame(rows)
    table["holm_p"] = holm(table["mcnemar_p"].tolist())
    return table.sort_values(["gain_points", "label"], ascending=[False, True], ignore_index=True)


def _gain(label: int, photos: pd.DataFrame, class_names: Sequence[str]) -> dict[str, Any]:
    rights = [(photos[f"predicted_{k}"] == photos["label"]).to_numpy(bool) for k in (1, 2)]
    only_first, only_second = (int((rights[k] & ~rights[1 - k]).sum()) for k in (0, 1))
    return {
        "label": label,
        "class": class_names[label] if label < len(class_names) else f"class {label}",
        "n_photos": len(photos),
        "first_percent": 100 * float(rights[0].mean()),
        "second_percent": 100 * float(rights[1].mean()),
        "gain_points": 100 * float(rights[1].mean() - rights[0].mean()),
        "only_first": only_first,
        "only_second": only_second,
        "mcnemar_p": mcnemar(only_first, only_second),
    }


def write_classes(
    frame: pd.DataFrame, predictions: pd.DataFrame, recipe: Mapping[str, Any], run: Path
) -> list[Path]:
    """Write `classes.csv`, `.md`, `.html` and a chart: `staged_hl` against `low`.

    Args:
        frame: of `runs.load`.
        predictions: of `predictions.parquet`.
        recipe: of the run's `recipe.yaml`.
        run: its folder.

    Returns:
        The files written; none where one of the two is not done.
    """
    cells = {strategy: cell for cell, strategy in shown_cells(frame).items()}
    if not {"low", "staged_hl"} <= cells.keys():
        return []
    low = predictions.loc[predictions["test"] == "low"]
    pair = [cells[strategy] for strategy in ("low", "staged_hl")]
    first, second = (low.loc[low["cell"] == cell] for cell in pair)
    gains = class_gains(first, second, class_names(run))
    setting = setting_of(frame.loc[frame["cell"].isin(pair)], recipe)
    title = f"{pair[1]} against {pair[0]}, class by class: {setting.title}"
    figure = draw_gains(gains, [cell.rpartition("/")[0] for cell in pair])
    return [
        *write_page(
            run / "tables", "classes", Page(title, [_texts(gains)], class_notes(gains)), gains
        ),
        *save_figure(figure, run / "figures", "classes", dots_per_in=DOTS_PER_IN),
    ]


def class_names(run: Path) -> list[str]:
    """Names by label, of the run's record; empty where it has none."""
    try:
        names = json.loads((run / "run.json").read_text(encoding="utf-8")).get("class_names") or []
    except (OSError, ValueError, AttributeError):
        return []
    return [str(name) for name in names]


def _texts(gains: pd.DataFrame) -> pd.DataFrame:
    every = gains.to_dict("records")
    ends = every if len(every) <= 2 * N_NAMED else [*every[:N_NAMED], *every[-N_NAMED:]]
    rows = [
        {
            "class": row["class"],
            "photos": str(row["n_photos"]),
            "low, %": f"{row['first_percent']:.0f}",
            "staged_hl, %": f"{row['second_percent']:.0f}",
            "gain, points": f"{row['gain_points']:+.0f}",
            "Holm's p": f"{row['holm_p']:.2g}",
        }
        for row in ends
    ]
    return pd.DataFrame(rows).set_index("class")


def class_notes(gains: pd.DataFrame) -> list[str]:
    """What is said below the gains of classes, of `class_gains`."""
    gain = gains["gain_points"].to_numpy()
    real = int((gains["holm_p"].to_numpy() < SIGNIFICANCE).sum())
    lines = [
        f"Of {len(gains)} classes {(gain > 0).sum()} are recognised better, {(gain < 0).sum()} "
        f"worse and {(gain == 0).sum()} as well; for {real} the difference is real (Holm's p over "
        "all classes, McNemar's exact test).",
    ]
    if not real:
        lines.append("Classes have few test photos each: the order of the list is mostly luck.")
    return lines


def draw_gains(gains: pd.DataFrame, cells: Sequence[str]) -> "Figure":
    """Draw a bar a class, largest gain first.

    Args:
        gains: of `class_gains`.
        cells: names of the first and the second network's.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    _chart(axes, gains)
    axes.set_ylabel(f"{cells[1]}\n\N{MINUS SIGN} {cells[0]}, points", fontsize=9, parse_math=False)
    named = gains["class"].tolist() if len(gains) <= MAX_ON_AXIS else []
    style = {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "fontsize": 8}
    axes.set_xticks(range(len(named)), named, parse_math=False, **style)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    return figure


def _chart(axes: "Axes", gains: pd.DataFrame) -> None:
    gain = gains["gain_points"].to_numpy(float)
    places = np.arange(len(gain))
    better, same, worse = gain > 0, gain == 0, gain < 0
    if better.any():
        axes.bar(places[better], gain[better], color=OURS, label=f"better ({better.sum()})")
    if same.any():
        style = {"color": "#444444", "markersize": 10, "label": f"as well ({same.sum()})"}
        axes.plot(places[same], gain[same], "|", **style)
    if worse.any():
        worst = axes.bar(places[worse], gain[worse], color=PAPERS, hatch="///", edgecolor="white")
        worst.set_label(f"worse ({worse.sum()})")
    axes.axhline(gain.mean(), color="#444444", linestyle="--", linewidth=1, label="mean of classes")
    real = int((gains["holm_p"].to_numpy() < SIGNIFICANCE).sum())
    axes.set_xlabel(f"classes, by gain; of {len(gain)} the difference is real for {real or 'none'}")
    axes.set_ylim(min(1.1 * gain.min(), -LEAST_POINTS), max(1.1 * gain.max(), LEAST_POINTS))
    axes.spines[["top", "right"]].set_visible(False)
