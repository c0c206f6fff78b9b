"""How far a network's probabilities can be believed on low-res test photos.

N photos, B bins of confidence.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.colours import OURS
from analysis.figures import save_figure
from analysis.pages import Page, write_page
from analysis.setting import setting_of
from analysis.shown import shown_cells
from analysis.statistics import binomial_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_BINS = 15
N_RESAMPLES = 1000
DOTS_PER_IN = 110
PANEL_IN, LEGEND_IN = 2.6, 4.8


class Reliability(NamedTuple):
    """Expected calibration error of one network (Guo et al. 2017), as fractions.

    Attributes:
        accuracy: photos recognised.
        confidence: mean probability of what was predicted.
        error: mean over photos of |accuracy - confidence| of their bin.
        low: lower end of the 95 % bootstrap interval of the error on endless photos; `error` is
            larger than that by what few photos add, and may lie above the interval.
        high: upper end.
        by_chance: the error of a network with these confidences that is calibrated perfectly;
            few photos alone make it positive.
    """

    accuracy: float
    confidence: float
    error: float
    low: float
    high: float
    by_chance: float


def calibration_error(confidence_N: NDArray[np.float64], right_N: NDArray[np.bool_]) -> float:
    """Expected calibration error with equally wide bins, a fraction."""
    bin_N = np.minimum((confidence_N * N_BINS).astype(np.int64), N_BINS - 1)
    surplus_B = np.bincount(bin_N, weights=right_N - confidence_N, minlength=N_BINS)
    return float(np.abs(surplus_B).sum()) / len(confidence_N)


def reliability(
    confidence_N: NDArray[np.float64], right_N: NDArray[np.bool_], seed: int = 0
) -> Reliability:
    """Measure how far confidences are from accuracies.

    Args:
        confidence_N: probability of the predicted class.
        right_N: whether it was the label.
        seed: of the photos drawn again, and of the perfectly calibrated network's luck.
    """
    generator, n = np.random.default_rng(seed), len(confidence_N)
    draws = (generator.integers(n, size=n) for _ in range(N_RESAMPLES))
    errors = [calibration_error(confidence_N[draw], right_N[draw]) for draw in draws]
    lucky = [
        calibration_error(confidence_N, generator.random(n) < confidence_N)
        for _ in range(N_RESAMPLES)
    ]
    error = calibration_error(confidence_N, right_N)
    # "basic": drawing photos again adds to the error what measuring on few photos has added to it
    high, low = 2 * error - np.quantile(errors, [0.025, 0.975])
    return Reliability(
        float(right_N.mean()),
        float(confidence_N.mean()),
        error,
        max(0.0, float(low)),
        max(0.0, float(high)),
        float(np.mean(lucky)),
    )


def write_reliability(
    frame: pd.DataFrame, predictions: pd.DataFrame, recipe: Mapping[str, Any], run: Path
) -> list[Path]:
    """Write `reliability.csv`, `.md`, `.html` and a diagram of the largest cell of each strategy.

    Args:
        frame: of `runs.load`.
        predictions: of `predictions.parquet`.
        recipe: of the run's `recipe.yaml`.
        run: its folder.

    Returns:
        The files written; none where nothing is done.
    """
    low = predictions.loc[predictions["test"] == "low"]
    photos = {cell: low.loc[low["cell"] == cell] for cell in shown_cells(frame)}
    photos = {cell: of for cell, of in photos.items() if len(of)}
    if not photos:
        return []
    numbers = pd.DataFrame(
        [
            {"cell": c, "n_photos": len(of)} | reliability(*_pair(of))._asdict()
            for c, of in photos.items()
        ]
    )
    setting = setting_of(frame.loc[frame["cell"].isin(photos)], recipe)
    page = Page(f"Calibration on low-res test: {setting.title}", [_texts(numbers)], _NOTES)
    figure = draw_reliability(photos, setting.title)
    return [
        *write_page(run / "tables", "reliability", page, numbers),
        *save_figure(figure, run / "figures", "reliability", dots_per_in=DOTS_PER_IN),
    ]


def _pair(photos: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    right_N = (photos["predicted"] == photos["label"]).to_numpy(bool)
    return photos["confidence"].to_numpy(float), right_N


def _texts(numbers: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "cell": row["cell"],
            "accuracy, %": f"{100 * row['accuracy']:.1f}",
            "mean confidence, %": f"{100 * row['confidence']:.1f}",
            "ECE, points [95 %]": f"{100 * row['error']:.1f} "
            f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]",
            "by chance": f"{100 * row['by_chance']:.1f}",
        }
        for row in numbers.to_dict("records")
    ]
    return pd.DataFrame(rows).set_index("cell")


def draw_reliability(photos: Mapping[str, pd.DataFrame], setting: str) -> "Figure":
    """Draw a reliability diagram of each cell, each bin with Wilson's interval of its photos.

    Args:
        photos: rows of `predictions.parquet` by the cell's name.
        setting: of what, in words.
    """
    from matplotlib.figure import Figure

    size_in = (max(PANEL_IN * len(photos), LEGEND_IN), 3.6)
    figure = Figure(figsize=size_in, layout="constrained", facecolor="white")
    title = setting if len(photos) > 2 else setting.replace(", low-res", ",\nlow-res")
    figure.suptitle(f"Low-res test: {title}", fontsize=9, parse_math=False)
    panels = figure.subplots(1, len(photos), sharey=True, squeeze=False)[0]
    for axes, (cell, of) in zip(panels, photos.items(), strict=True):
        _panel(axes, *_pair(of))
        axes.set_title(cell.rpartition("/")[0], fontsize=10, parse_math=False)
    panels[0].set_ylabel("photos recognised, %", fontsize=9)
    legend = panels[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _panel(axes: "Axes", confidence_N: NDArray[np.float64], right_N: NDArray[np.bool_]) -> None:
    edges = np.linspace(0, 1, N_BINS + 1)
    bin_N = np.minimum((confidence_N * N_BINS).astype(np.int64), N_BINS - 1)
    n_B = np.bincount(bin_N, minlength=N_BINS)
    some = n_B > 0
    right_B = np.bincount(bin_N, weights=right_N, minlength=N_BINS)[some] / n_B[some]
    mean_B = np.bincount(bin_N, weights=confidence_N, minlength=N_BINS)[some] / n_B[some]
    axes.bar(
        100 * edges[:-1], 100 * n_B / n_B.sum(), 100 / N_BINS, align="edge", color="#cccccc",
        label="share of photos",
    )  # fmt: skip
    axes.plot([0, 100], [0, 100], color="#888888", linestyle="--", linewidth=1, label="calibrated")
    low_B, high_B = binomial_ends(right_B, n_B[some])
    reach_B = 100 * np.stack([right_B - low_B, high_B - right_B]).clip(min=0)
    axes.errorbar(
        *(100 * mean_B, 100 * right_B, reach_B),
        fmt="o",
        color=OURS,
        markersize=4,
        elinewidth=1,
        label="network, with 95 % interval",
    )
    axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="confidence, %")
    axes.spines[["top", "right"]].set_visible(False)


_NOTES = (
    f"ECE: expected calibration error over {N_BINS} equally wide bins of confidence; intervals: "
    "basic bootstrap over photos. Few photos raise the ECE, but not its interval. By chance: what "
    "a perfectly calibrated network with these confidences would show on so few photos. "
    "Probabilities are those of training, without a temperature; f2c predict fits one.",
)
