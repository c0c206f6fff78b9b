"""What of a seed matters: the spread over seeds where one thing alone was drawn anew."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import chdtri

from analysis.pages import Page, write_page
from analysis.setting import setting_of
from analysis.statistics import CONFIDENCE

_WORDS = {
    "subset": "the photos drawn",
    "initialisation": "the first weights",
    "order": "the order of the photos, and dropout",
    "all": "all three",
}


class Spread(NamedTuple):
    """A standard deviation over seeds with the ends of its interval."""

    deviation: float
    low: float
    high: float


def write_spread(frame: pd.DataFrame, recipe: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `spread.csv`, `.md` and `.html` for a run with rows that vary one thing alone.

    Args:
        frame: of `runs.load`.
        recipe: of the run's `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written; none for a run without such rows of two seeds or more.
    """
    variants = recipe.get("variants") or {}
    varied = {name: str(v.get("vary") or "all") for name, v in variants.items()}
    if set(varied.values()) <= {"all"}:
        return []
    table = spreads_of(frame.loc[frame["status"] == "done"], varied)
    if table.empty:
        return []
    title = f"Spread over seeds, by what a seed draws: {setting_of(frame, recipe).title}"
    return write_page(folder, "spread", Page(title, [_texts(table)], [_NOTE]), table)


def spreads_of(done: pd.DataFrame, varied: Mapping[str, str]) -> pd.DataFrame:
    """Standard deviation of the low-res accuracy over seeds, in points.

    Args:
        done: finished cells of `runs.load`.
        varied: strategy to what its seed draws; other strategies draw all.

    Returns:
        One row a cell of two seeds or more: `cell` (its name without the seed), `strategy`,
        `varied`, `n_seeds`, `mean_percent`, `deviation_points` and the ends of its 95 % interval
        `from_points`, `to_points`.
    """
    rows = []
    for cell, cells in done.groupby(done["cell"].str.rsplit("/", n=1).str[0], sort=False):
        strategy = cells["strategy"].iloc[0]
        percent = 100 * cells["accuracy_low"].to_numpy(dtype=np.float64)
        if len(percent) < 2:
            continue
        spread = deviation_interval(float(percent.std(ddof=1)), len(percent))
        rows.append(
            {
                "cell": cell,
                "strategy": strategy,
                "varied": varied.get(str(strategy), "all"),
                "n_seeds": len(percent),
                "mean_percent": round(float(percent.mean()), 4),
                "deviation_points": round(spread.deviation, 4),
                "from_points": round(spread.low, 4),
                "to_points": round(spread.high, 4),
            }
        )
    return pd.DataFrame(rows)


def deviation_interval(deviation: float, n: int) -> Spread:
    """The 95 % interval of a normal standard deviation by chi-squared.

    Args:
        deviation: of a sample, with ddof 1.
        n: values in it, at least 2.
    """
    tail = (1 - CONFIDENCE) / 2
    ends = (chdtri(n - 1, tail), chdtri(n - 1, 1 - tail))
    low, high = (deviation * math.sqrt((n - 1) / float(end)) for end in ends)
    return Spread(deviation, low, high)


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    label = "strategy" if table["strategy"].is_unique else "cell"
    rows = {
        str(row[label]): {
            "a seed draws": _WORDS[row["varied"]],
            "seeds": str(row["n_seeds"]),
            "mean, %": f"{row['mean_percent']:.1f}",
            "standard deviation, points": f"{row['deviation_points']:.1f} "
            f"[{row['from_points']:.1f}, {row['to_points']:.1f}]",
        }
        for row in table.to_dict("records")
    }
    return pd.DataFrame.from_dict(rows, orient="index")


_NOTE = (
    "Low-res test. What a row's seed does not draw stays as seed 0 draws it. Square brackets: 95 % "
    "interval of the standard deviation (chi-squared)."
)
