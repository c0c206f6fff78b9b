"""Which differences between networks that were tested on the same photos are real."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import paper
from analysis.pages import Page, write_page
from analysis.photos import Photos
from analysis.setting import setting_of
from analysis.statistics import holm, paired_difference

SIGNIFICANCE = 0.05
STAGED = "staged_hl"


@dataclass(frozen=True)
class Pair:
    """Two cells, without their seeds, that a family of tests compares.

    Attributes:
        table: whose family it belongs to.
        first: name of a cell.
        second: name of another.
        paper_points: the paper's accuracy of the first minus that of the second; NaN: not there.
    """

    table: str
    first: str
    second: str
    paper_points: float


def write_paired(
    frame: pd.DataFrame, photos: Photos, recipe: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write `paired.csv`, `paired.md` and `paired.html` where a run has pairs to compare.

    Args:
        frame: of `runs.load`.
        photos: the low-res test's, of `photos.load_photos`.
        recipe: of the run's `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written; none for a run without a pair that is done.
    """
    compared = compare_pairs(frame, photos)
    if compared.empty:
        return []
    title = f"Paired comparisons on low-res test: {setting_of(frame, recipe).title}"
    return write_page(folder, "paired", Page(title, [_texts(compared)], _notes(compared)), compared)


def pairs_of(frame: pd.DataFrame) -> list[Pair]:
    """The pairs of every table; those of a table are one family.

    Table 2: the dagger and the star of a column, trained on the same photos. Other tables: the
    largest Staged-Training (H-L) against every other strategy of its low resolution with the same
    photos of a kind, or none.

    Args:
        frame: of `runs.load`.
    """
    found: list[Pair] = []
    for table, cells in frame.groupby("table", sort=True):
        for _, at_one in cells.groupby("resolution_px", sort=True):
            pairs = _columns(at_one) if table == "table2" else _strategies(str(table), at_one)
            found += pairs
    return found


def compare_pairs(frame: pd.DataFrame, photos: Photos) -> pd.DataFrame:
    """Test every pair over the seeds that are done for both; Holm over each table's pairs.

    Args:
        frame: of `runs.load`.
        photos: the low-res test's.

    Returns:
        One row per pair: `table`, `first`, `second`, `n_photos`, `n_seeds`, `only_first`,
        `only_second` (sums over seeds), `difference_points` with its 95 % interval `from_points`,
        `to_points`, `paper_points`, `mcnemar_p`, `p`, `holm_p` and `finding` (`first`, `second`
        or `open`); see `statistics.paired_difference` and `statistics.holm`.
    """
    return tested_pairs(pairs_of(frame), sorted(set(frame["seed"].tolist())), photos)


def tested_pairs(pairs: Iterable[Pair], seeds: list[int], photos: Photos) -> pd.DataFrame:
    """Test pairs over those of some seeds that are done for both; see `compare_pairs`."""
    rows = []
    for pair in pairs:
        both = [s for s in seeds if photos.has(pair.first, s) and photos.has(pair.second, s)]
        if both:
            rows.append(_compared(pair, both, photos))
    compared = pd.DataFrame(rows)
    if compared.empty:
        return compared
    families = [family["p"] for _, family in compared.groupby("table")]
    adjusted = pd.concat([pd.Series(holm(p.tolist()), p.index) for p in families])
    better = np.where(compared["difference_points"] > 0, "first", "second")
    findings = np.where(adjusted.sort_index() < SIGNIFICANCE, better, "open")
    return compared.assign(holm_p=adjusted, finding=findings)


def _compared(pair: Pair, seeds: list[int], photos: Photos) -> dict[str, Any]:
    first, second = photos.of(pair.first, seeds), photos.of(pair.second, seeds)
    found = paired_difference(first, second)
    return {
        "table": pair.table,
        "first": pair.first,
        "second": pair.second,
        "n_photos": first.shape[1],
        "n_seeds": len(seeds),
        "only_first": found.only_first,
        "only_second": found.only_second,
        "difference_points": round(100 * found.difference, 4),
        "from_points": round(100 * found.low, 4),
        "to_points": round(100 * found.high, 4),
        "paper_points": pair.paper_points,
        "mcnemar_p": found.mcnemar_p,
        "p": found.p,
    }


def _columns(cells: pd.DataFrame) -> Iterator[Pair]:
    names = _names(cells)
    for level in sorted(set(cells["low_level"].tolist())):
        first, second = ((name, level, level) for name in (STAGED, "mixed"))
        if first in names and second in names:
            theirs = _minus(paper.table2_percent(level, level), paper.mixed_percent(level))
            yield Pair("table2", names[first], names[second], theirs)


def _strategies(table: str, cells: pd.DataFrame) -> Iterator[Pair]:
    names, top = _names(cells), int(cells[["high_level", "low_level"]].to_numpy().max(initial=0))
    titles = {row.strategy: row.title for row in paper.rows(table)}
    staged = max((key for key in names if key[0] == STAGED), key=lambda key: key[1:], default=None)
    if staged is None:
        return
    _, n_high, n_low = staged
    for (strategy, high, low), name in names.items():
        if strategy != STAGED and high in {0, n_high} and low in {0, n_low}:
            ours, other = titles.get(STAGED, ""), titles.get(strategy, "")
            theirs = [paper.percent(table, title, "Low-res") for title in (ours, other)]
            papers = _minus(*theirs) if n_high == n_low == top else math.nan
            yield Pair(table, names[staged], name, papers)


def _names(cells: pd.DataFrame) -> dict[tuple[str, int, int], str]:
    """(strategy, high level, low level) -> name of the cell without its seed."""
    keys = cells[["strategy", "high_level", "low_level"]].itertuples(index=False, name=None)
    return dict(zip(keys, cells["cell"].str.rpartition("/")[0], strict=True))


def _minus(first: float | None, second: float | None) -> float:
    return math.nan if first is None or second is None else round(first - second, 4)


def _texts(compared: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row in compared.to_dict("records"):
        names = {"first": row["first"], "second": row["second"]}
        real = row["finding"] != "open"
        theirs = row["paper_points"]
        rows.append(
            {
                "pair": f"{row['first']} \N{MINUS SIGN} {row['second']}",
                "only the first / second": f"{row['only_first']} / {row['only_second']}",
                "points [95 %]": f"{row['difference_points']:+.1f} "
                f"[{row['from_points']:+.1f}, {row['to_points']:+.1f}]",
                "paper": "" if math.isnan(theirs) else f"{theirs:+.1f}",
                "p": f"{row['p']:.2g}",
                "Holm's p": f"{row['holm_p']:.2g}",
                "better": names[row["finding"]] if real else "not shown",
            }
        )
    return pd.DataFrame(rows).set_index("pair")


def _notes(compared: pd.DataFrame) -> list[str]:
    real = compared["finding"].ne("open")
    photos = " and ".join(sorted({str(n) for n in compared["n_photos"]}))
    seeds = compared["n_seeds"].tolist()
    lines = [
        f"{real.sum()} of {len(compared)} differences are real: Holm's p over the "
        f"{compared.groupby('table').size().max()} pairs of a table is below {SIGNIFICANCE:g}.",
        f"The same {photos} photos for both of a pair, "
        f"{_range(seeds)}; the counts are photos that only one recognises, summed over seeds.",
    ]
    if max(seeds) > 1:
        lines.append(
            "p: the larger of McNemar's exact p of the summed counts and that of Student's t with "
            "photos and seeds as crossed random factors, from which the intervals are too."
        )
    else:
        lines.append(
            "p: McNemar's, exact. Intervals: Bonett and Price's. Of the chance in training one "
            "seed says nothing."
        )
    return lines


def _range(seeds: list[int]) -> str:
    low, high = min(seeds), max(seeds)
    return f"{low} seed{'s' * (low > 1)}" if low == high else f"{low} to {high} seeds"
