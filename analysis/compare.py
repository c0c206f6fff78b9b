"""A table of ours beside the paper's: rows, columns and, at every place, both numbers."""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis import paper
from analysis.runs import TESTS, over_seeds
from analysis.statistics import above_chance_all
from trainables.errors import DataError

# Words that stand in a place instead of a number; for the other statuses a dash says enough.
TOLD_STATUSES = ("failed", "diverged", "blocked")
DASH = "\N{EN DASH}"
AT_CHANCE = "\N{DEGREE SIGN}"

Place = tuple[str, str]


@dataclass(frozen=True)
class Entry:
    """Both numbers of a place, in percent; NaN where there is none.

    Attributes:
        ours: mean over seeds; `low` and `high` are the ends of its 95 % interval.
        paper: the published number.
        mark: the paper's dagger or star.
        status: of our cell; `quoted` or `not planned` where there can be none.
        seeds: those that are done, of `n_planned`.
        above_chance: whether ours is; see `statistics.above_chance_all`. True without a number.
    """

    ours: float = math.nan
    low: float = math.nan
    high: float = math.nan
    paper: float = math.nan
    mark: str = ""
    status: str = "not planned"
    seeds: tuple[int, ...] = ()
    n_planned: int = 0
    above_chance: bool = True

    @property
    def n_seeds(self) -> int:
        """How many seeds are done."""
        return len(self.seeds)


@dataclass(frozen=True)
class Comparison:
    """One table.

    Attributes:
        table: `table1`, `table2`, `table3` or `custom`.
        rows: name -> label, in order.
        columns: name -> label, in order.
        entries: (row name, column name) -> entry, for every place.
    """

    table: str
    rows: dict[str, str]
    columns: dict[str, str]
    entries: dict[Place, Entry]


def tables_of(frame: pd.DataFrame) -> list[str]:
    """Names of the tables that have cells in a frame of `runs.load`, sorted."""
    return sorted(set(frame["table"].astype(str)))


def compare(frame: pd.DataFrame, table: str) -> Comparison:
    """Put the cells of one table into the paper's rows and columns.

    Table 2: rows H0 to H8 and Mixed, columns L1 to L8, low-res test. Other tables: a row for every
    strategy, columns High-res and Low-res test. What the paper does not have follows at the end.

    Args:
        frame: of `runs.load`; rows of other tables are passed over.
        table: name of the table.

    Raises:
        DataError: when two results belong to one place.
    """
    cells = frame.loc[frame["table"] == table]
    ours = _placed(table, cells)
    rows = _with_extras(_row_labels(table, cells), [row for row, _ in ours])
    columns = _with_extras(_column_labels(table, cells), [column for _, column in ours])
    places = [(row, column) for row in rows for column in columns]
    entries = {place: _entry(table, place, ours.get(place)) for place in places}
    return Comparison(table, rows, columns, entries)


def best_places(comparison: Comparison) -> set[Place]:
    """Places to print in bold.

    Table 2: the better of the dagger and the star of a column, the two that the paper calls
    directly comparable. Other tables: the best of a column. None where they are of other seeds.
    """
    best: set[Place] = set()
    for column in comparison.columns:
        rivals = rivals_of(comparison, column)
        if not of_same_seeds(comparison, rivals):
            continue
        top = max(rivals.values(), default=math.nan)
        best |= {place for place, ours in rivals.items() if ours == top}
    return best


def of_same_seeds(comparison: Comparison, places: Iterable[Place]) -> bool:
    """Whether the cells at some places are means over the same seeds."""
    return len({comparison.entries[place].seeds for place in places}) < 2


def rivals_of(comparison: Comparison, column: str) -> dict[Place, float]:
    """Our numbers of a column, in percent, of which the best is told; none of fewer than two."""
    grid = comparison.table == "table2"
    rivals = {
        place: entry.ours
        for place, entry in comparison.entries.items()
        if place[1] == column and not math.isnan(entry.ours) and (entry.mark or not grid)
    }
    return rivals if len(rivals) > 1 else {}


def text(entry: Entry, *, with_interval: bool = False) -> str:
    """`62.1 (59.5)†`: ours, the paper's in brackets, its mark; a dash where there is no number.

    With the interval, ours minus the paper's too: `62.1 [61.0, 63.1] (59.5; +2.6)`. `°` follows
    what is not above chance.
    """
    if math.isnan(entry.ours):
        ours = f"{DASH} {entry.status}" if entry.status in TOLD_STATUSES else DASH
    else:
        ours = f"{entry.ours:.1f}{'' if entry.above_chance else AT_CHANCE}"
        ours += f" [{entry.low:.1f}, {entry.high:.1f}]" if with_interval else ""
    difference = entry.ours - entry.paper
    beside = f"; {difference:+.1f}" if with_interval and not math.isnan(difference) else ""
    published = "" if math.isnan(entry.paper) else f" ({entry.paper:.1f}{beside})"
    return f"{ours}{published}{entry.mark}"


def long_table(comparison: Comparison) -> pd.DataFrame:
    """One row per place, for machines: percent, not rounded for print."""
    records = [
        {
            "row": row,
            "column": column,
            "ours_percent": round(entry.ours, 4),
            "interval_low_percent": round(entry.low, 4),
            "interval_high_percent": round(entry.high, 4),
            "paper_percent": entry.paper,
            "ours_minus_paper": round(entry.ours - entry.paper, 4),
            "n_seeds": entry.n_seeds,
            "above_chance": entry.above_chance,
            "status": entry.status,
        }
        for (row, column), entry in comparison.entries.items()
    ]
    return pd.DataFrame(records)


def _with_extras(labels: dict[str, str], names: list[str]) -> dict[str, str]:
    return labels | {name: name for name in names if name not in labels}


def _placed(table: str, cells: pd.DataFrame) -> dict[Place, Entry]:
    placed: dict[Place, Entry] = {}
    clashes: list[str] = []
    top_level = int(cells[["high_level", "low_level"]].to_numpy().max(initial=0))
    several_px = len(set(cells["resolution_px"])) > 1
    for cell in _with_chance(over_seeds(cells)).to_dict("records"):
        row = _grid_row(cell) if table == "table2" else _strategy_row(table, cell, top_level)
        row += f", {cell['resolution_px']} px" if several_px else ""
        for column, test in _columns_of(table, cell):
            if (row, column) in placed:
                clashes.append(f"{row}, {column}: {cell['cell']}")
            placed[row, column] = _measured(cell, test)
    if clashes:
        raise DataError(
            f"two results for one place of {table}:\n  " + "\n  ".join(clashes) + "\n"
            "take one dataset, model, resolution_px and canvas_px of the frame at a time"
        )
    return placed


def _with_chance(summary: pd.DataFrame) -> pd.DataFrame:
    counts = [summary[name].to_numpy() for name in ("n_test", "n_classes")]
    above = {
        f"above_chance_{test}": above_chance_all(summary[f"accuracy_{test}"].to_numpy(), *counts)
        for test in TESTS
    }
    return summary.assign(**above)


def _grid_row(cell: Mapping[Hashable, Any]) -> str:
    strategy, high_level = str(cell["strategy"]), cell["high_level"]
    if strategy == "staged_hl":
        return f"H{high_level}"
    if strategy == "mixed":
        return paper.MIXED
    return strategy if high_level in {0, cell["low_level"]} else f"{strategy} H{high_level}"


def _strategy_row(table: str, cell: Mapping[Hashable, Any], top_level: int) -> str:
    strategy, levels = str(cell["strategy"]), (cell["high_level"], cell["low_level"])
    # The paper's rows are of all photos; a part of them gets a row of its own.
    if not set(levels) <= {0, top_level}:
        return f"{strategy} h{levels[0]}-l{levels[1]}"
    titles = {row.strategy: row.title for row in paper.rows(table)}
    return titles.get(strategy, strategy)


def _columns_of(table: str, cell: Mapping[Hashable, Any]) -> Iterator[tuple[str, str]]:
    if table == "table2":
        yield f"L{cell['low_level']}", "low"
    else:
        yield from zip(paper.STRATEGY_COLUMNS, ("high", "low"), strict=True)


def _measured(cell: Mapping[Hashable, Any], test: str) -> Entry:
    name = f"accuracy_{test}"
    mean, low, high = (100 * float(cell[name + end]) for end in ("", "_from", "_to"))
    counts = (cell["done_seeds"], int(cell["n_planned"]))
    above = bool(cell[f"above_chance_{test}"])
    return Entry(mean, low, high, math.nan, "", str(cell["status"]), *counts, above)


def _entry(table: str, place: Place, ours: Entry | None) -> Entry:
    published = paper.percent(table, *place)
    number = math.nan if published is None else published
    mark = paper.mark(table, *place)
    if ours is None:
        quoted = place[0] in {row.title for row in paper.rows(table) if row.strategy is None}
        return Entry(paper=number, mark=mark, status="quoted" if quoted else "not planned")
    return replace(ours, paper=number, mark=mark)


def _row_labels(table: str, cells: pd.DataFrame) -> dict[str, str]:
    if table == "table2":
        staged = cells.loc[cells["strategy"] == "staged_hl"]
        return _level_labels("H", range(9), _images(staged, "high")) | {paper.MIXED: paper.MIXED}
    return {
        row.title: f"{row.title}, {row.note}" if row.note else row.title
        for row in paper.rows(table)
    }


def _column_labels(table: str, cells: pd.DataFrame) -> dict[str, str]:
    if table == "table2":
        return _level_labels("L", paper.LEVELS, _images(cells, "low"))
    return {column: f"{column} test" for column in paper.columns(table)}


def _images(cells: pd.DataFrame, side: str) -> dict[int, int]:
    pairs = zip(cells[f"{side}_level"].tolist(), cells[f"n_{side}"].tolist(), strict=True)
    return {int(level): int(images) for level, images in pairs}


def _level_labels(letter: str, levels: range, images: dict[int, int]) -> dict[str, str]:
    # In steps of 1,000 images the paper's own names (H3k) say the number already.
    steps = [images[level] == 1000 * level for level in levels if 0 < level < 8 and level in images]
    thousands = bool(steps) and all(steps)
    labels: dict[str, str] = {}
    for level in levels:
        count = f" ({images[level]})" if level and level in images else ""
        labels[f"{letter}{level}"] = f"{letter}{level}k" if thousands else f"{letter}{level}{count}"
    return labels
