import io

import pandas as pd
import pytest
from rich.console import Console

from analysis.terminal import as_rich_table


def printed(frame, table=None, *, terminal=False, width=100):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    console.print(as_rich_table(frame, table, width=width))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("step", [50, 150, 1000])
def test_table2_fits_100_columns_uncut(grid, step):
    counts = {"n_high": step * grid["high_level"], "n_low": step * grid["low_level"]}
    lines = printed(grid.assign(accuracy_low=1.0, **counts))
    assert len(lines) == 13
    assert not any("…" in line for line in lines)
    assert "100† 59.5" in lines[11]


@pytest.mark.parametrize("step", [50, 1000])
def test_table2_in_80_columns_has_our_numbers_uncut(grid, step):
    counts = {"n_high": step * grid["high_level"], "n_low": step * grid["low_level"]}
    text = "\n".join(printed(grid.assign(accuracy_low=0.314, **counts), width=80))
    assert "…" not in text
    assert text.count("31.4") == len(grid)
    assert "columns show the paper's beside it" in text


def test_table2_shows_both_numbers_marks_and_status_words(make_cell):
    cells = [
        make_cell("table2", "staged_hl", (2, 2), low=0.3),
        make_cell("table2", "staged_hl", (2, 3), status="diverged"),
    ]
    line = next(line for line in printed(pd.DataFrame(cells)) if line.startswith("H2"))
    dash = "\N{EN DASH}"
    unplanned = [f"{dash} {percent}" for percent in ("37.2", "42.8", "46.7", "50.1", "53.6")]
    expected = ["H2 (100)", f"{dash} 17.2", "30.0† 24.3", "diverged", *unplanned]
    assert line.split() == " ".join(expected).split()


def test_a_number_of_ours_never_stands_where_the_papers_do(make_cell):
    """The paper has no high-res accuracy of super-resolution."""
    cells = [make_cell("table1", name, (8, 8), high=0.333) for name in ("mixed", "sr_low")]
    mixed, alone = (line for line in printed(pd.DataFrame(cells), "table1") if "33.3" in line)
    assert mixed.index("33.3") == alone.index("33.3")


def test_markup_in_a_name_stays_text(make_cell):
    frame = pd.DataFrame([make_cell("table1", "[red]x[/red]", (8, 8))])
    assert any("[red]x[/red]" in line for line in printed(frame, "table1", terminal=True))


def test_table2_comes_first_and_nothing_gives_nothing(grid, strategies):
    assert "Table 2" in printed(pd.concat([strategies, grid]))[0]
    assert "Table 1" in printed(strategies)[0]
    assert as_rich_table(grid.iloc[:0]) is None
