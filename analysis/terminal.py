"""Tables for a terminal: both numbers of a cell from 100 columns on, ours alone below."""

import math

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis import paper
from analysis.compare import (
    AT_CHANCE,
    DASH,
    TOLD_STATUSES,
    Comparison,
    Entry,
    best_places,
    compare,
    tables_of,
)

WIDTH = 100


def as_rich_table(
    frame: pd.DataFrame, table: str | None = None, *, width: int = WIDTH
) -> Table | None:
    """One table for `rich.console.Console.print`: ours, the paper's dim beside it.

    Args:
        frame: of `runs.load`.
        table: name of the table; None is Table 2 or, where it has no cells, the first that has.
        width: columns of the terminal; where both do not fit, ours are shown alone, uncut.

    Returns:
        None where there are no cells at all.
    """
    present = tables_of(frame)
    if not present:
        return None
    table = table or ("table2" if "table2" in present else present[0])
    comparison = compare(frame, table)
    if table not in paper.TITLES:
        return _table(comparison, "Accuracy in %", alone=True)
    both = _table(comparison, _title(table, "ours and the paper's"))
    needed = Console(width=1000).measure(both).maximum
    if needed <= width:
        return both
    ours = _table(comparison, _title(table, "ours"), alone=True)
    more = f"{needed} columns show the paper's beside it"
    ours.caption = Text("; ".join(filter(None, [str(ours.caption or ""), more])))
    return ours


def _table(comparison: Comparison, title: str, *, alone: bool = False) -> Table:
    best = best_places(comparison)
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, title=Text(title))
    table.add_column("", no_wrap=True)
    for label in comparison.columns.values():
        heading = label.replace(" (", "\n(") if alone else label
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for row, label in comparison.rows.items():
        places = [(row, column) for column in comparison.columns]
        cells = [
            _cell(comparison.entries[place], bold=place in best, alone=alone) for place in places
        ]
        table.add_row(Text(label), *cells)
    if not all(entry.above_chance for entry in comparison.entries.values()):
        table.caption = Text(f"{AT_CHANCE} not above chance")
    return table


def _title(table: str, what: str) -> str:
    test = " on low-res test" if table == "table2" else ""
    number = paper.TITLES[table].partition(":")[0]
    return f"{number}: accuracy{test} in %, {what}"


def _cell(entry: Entry, *, bold: bool, alone: bool) -> Text:
    published = Text() if alone else _published(entry)
    if math.isnan(entry.ours):
        told = entry.status in TOLD_STATUSES
        # The word takes the room of both numbers: eight columns must fit.
        return (
            Text(entry.status, style="red")
            if told
            else Text(f"{DASH}{entry.mark:1}").append(published)
        )
    # Four characters at most, as for the paper's.
    number = "100" if entry.ours >= 99.95 else f"{entry.ours:.1f}"
    mark = entry.mark if entry.above_chance else AT_CHANCE
    ours = Text(f"{number}{mark:1}", style="bold" if bold else "")
    return ours.append(published)


def _published(entry: Entry) -> Text:
    # A dash where the paper has none: else ours would stand where its numbers do.
    number = DASH if math.isnan(entry.paper) else f"{entry.paper:.1f}"
    return Text(f" {number:>4}", style="dim")
