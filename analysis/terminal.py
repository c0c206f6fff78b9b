"""Tables for a terminal of 100 columns."""

import math

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from analysis import paper
from analysis.compare import AT_CHANCE, DASH, TOLD_STATUSES, Entry, best_places, compare, tables_of


def as_rich_table(frame: pd.DataFrame, table: str | None = None) -> Table | None:
    """One table for `rich.console.Console.print`: ours, the paper's dim beside it.

    Args:
        frame: of `runs.load`.
        table: name of the table; None is Table 2 or, where it has no cells, the first that has.

    Returns:
        None where there are no cells at all.
    """
    present = tables_of(frame)
    if not present:
        return None
    table = table or ("table2" if "table2" in present else present[0])
    comparison = compare(frame, table)
    best = best_places(comparison)
    rich_table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    rich_table.title = Text(_title(table))
    rich_table.add_column("", no_wrap=True)
    for label in comparison.columns.values():
        rich_table.add_column(Text(label), justify="right", no_wrap=True)
    for row, label in comparison.rows.items():
        places = [(row, column) for column in comparison.columns]
        cells = [_cell(comparison.entries[place], bold=place in best) for place in places]
        rich_table.add_row(Text(label), *cells)
    if not all(entry.above_chance for entry in comparison.entries.values()):
        rich_table.caption = Text(f"{AT_CHANCE} not above chance")
    return rich_table


def _title(table: str) -> str:
    if table not in paper.TITLES:
        return "Accuracy in %"
    test = " on low-res test" if table == "table2" else ""
    number = paper.TITLES[table].partition(":")[0]
    return f"{number}: accuracy{test} in %, ours and the paper's"


def _cell(entry: Entry, *, bold: bool) -> Text:
    if math.isnan(entry.ours):
        told = entry.status in TOLD_STATUSES
        # The word takes the room of both numbers: eight columns must fit.
        return (
            Text(entry.status, style="red")
            if told
            else Text(f"{DASH}{entry.mark:1}").append(_published(entry))
        )
    # Four characters at most, as for the paper's.
    number = "100" if entry.ours >= 99.95 else f"{entry.ours:.1f}"
    mark = entry.mark if entry.above_chance else AT_CHANCE
    ours = Text(f"{number}{mark:1}", style="bold" if bold else "")
    return ours.append(_published(entry))


def _published(entry: Entry) -> Text:
    return Text("" if math.isnan(entry.paper) else f" {entry.paper:.1f}", style="dim")
