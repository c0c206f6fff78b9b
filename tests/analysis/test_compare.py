import math

import pandas as pd
import pytest

from analysis.captions import notes
from analysis.compare import best_places, compare, text
from analysis.setting import setting_of
from trainables.errors import DataError


def test_table2_is_the_papers_grid(grid):
    comparison = compare(grid, "table2")
    assert list(comparison.rows) == [*(f"H{level}" for level in range(9)), "Mixed"]
    assert list(comparison.columns) == [f"L{level}" for level in range(1, 9)]
    entry = comparison.entries["H3", "L5"]
    assert (entry.ours, entry.paper, entry.mark) == (pytest.approx(52.0), 45.2, "")


def test_level_labels_show_the_number_of_images(grid):
    comparison = compare(grid, "table2")
    assert comparison.columns["L3"] == "L3 (150)"
    assert (comparison.rows["H0"], comparison.rows["H8"]) == ("H0", "H8 (400)")


def test_level_labels_are_the_papers_in_steps_of_1000(make_cell):
    cells = [make_cell("table2", "staged_hl", (h, k), step=1000) for h in (0, 3) for k in (1, 8)]
    cells[1]["n_low"] = cells[3]["n_low"] = 8144
    comparison = compare(pd.DataFrame(cells), "table2")
    assert comparison.columns["L8"] == "L8k"
    assert (comparison.rows["H0"], comparison.rows["H3"]) == ("H0k", "H3k")


def test_other_strategies_and_levels_of_table2_follow_at_the_end(make_cell):
    cells = [
        make_cell("table2", "staged_hl", (1, 1)),
        make_cell("table2", "low_low", (0, 3)),
        make_cell("table2", "mine", (2, 3)),
        make_cell("table2", "high", (8, 0)),
    ]
    comparison = compare(pd.DataFrame(cells), "table2")
    assert list(comparison.rows)[-3:] == ["low_low", "mine H2", "high H8"]
    assert list(comparison.columns)[-1] == "L0"
    assert comparison.entries["high H8", "L0"].ours == pytest.approx(42.0)


def test_a_strategy_of_a_users_own_is_a_row_without_a_paper_value(strategies):
    comparison = compare(strategies, "table1")
    assert list(comparison.rows)[-1] == "my_own"
    assert math.isnan(comparison.entries["my_own", "Low-res"].paper)
    assert comparison.entries["my_own", "Low-res"].n_seeds == 3


def test_a_part_of_the_photos_does_not_take_the_papers_row(make_cell):
    cells = [make_cell("table1", "mixed", (8, 8)), make_cell("table1", "mixed", (2, 2), low=0.2)]
    comparison = compare(pd.DataFrame(cells), "table1")
    assert comparison.entries["mixed h2-l2", "Low-res"].ours == pytest.approx(20.0)
    assert comparison.entries["Mixed-Training (High+Low)", "Low-res"].ours > 20.0


def test_the_quoted_row_is_told_from_those_not_planned(strategies):
    comparison = compare(strategies, "table1")
    assert comparison.entries["BB-3D-G (High)", "High-res"].status == "quoted"
    assert comparison.entries["LR-CNN (Low)", "Low-res"].status == "not planned"
    assert comparison.rows["BB-3D-G (High)"] == "BB-3D-G (High), quoted, not run"


def test_two_results_for_one_place_are_refused(make_cell):
    cells = [
        make_cell("table2", "staged_hl", (1, 1)),
        make_cell("table2", "staged_hl", (1, 1), model="other"),
    ]
    with pytest.raises(DataError, match=r"two results.*\n  H1, L1: staged_hl/h1-l1\n"):
        compare(pd.DataFrame(cells), "table2")


def test_best_of_table2_is_the_better_of_dagger_and_star(make_cell):
    cells = [
        make_cell("table2", "staged_hl", (2, 2), low=0.30),
        make_cell("table2", "mixed", (2, 2), low=0.40),
        make_cell("table2", "staged_hl", (8, 2), low=0.90),
        make_cell("table2", "staged_hl", (3, 3), low=0.50),
        make_cell("table2", "mixed", (3, 3), status="failed"),
    ]
    assert best_places(compare(pd.DataFrame(cells), "table2")) == {("Mixed", "L2")}


@pytest.mark.parametrize(("seeds", "best"), [((0, 1), {("H2", "L2")}), ((1,), set()), ((), set())])
def test_the_better_one_is_told_over_the_same_seeds_only(make_cell, seeds, best):
    cells = [
        *(make_cell("table2", "staged_hl", (2, 2), seed, low=0.40) for seed in seeds),
        *(make_cell("table2", "mixed", (2, 2), seed, low=0.39) for seed in (0, 1)),
    ]
    comparison = compare(pd.DataFrame(cells), "table2")
    assert best_places(comparison) == best


def test_a_column_where_a_row_lacks_a_seed_has_no_best(make_cell, recipe):
    cells = [
        make_cell("table1", "high", (8, 0), 0, high=0.8),
        make_cell("table1", "high", (8, 0), 1, status="missing"),
        *(make_cell("table1", "low", (0, 8), seed, high=0.7) for seed in (0, 1)),
    ]
    frame = pd.DataFrame(cells)
    comparison = compare(frame, "table1")
    assert best_places(comparison) == set()
    assert "Bold where all have the same seeds only." in notes(
        comparison, setting_of(frame, recipe)
    )


def test_best_of_table1_is_the_best_of_a_column(make_cell):
    cells = [
        make_cell("table1", "high", (8, 0), high=0.8, low=0.1),
        make_cell("table1", "low", (0, 8), high=0.2, low=0.5),
    ]
    places = best_places(compare(pd.DataFrame(cells), "table1"))
    assert places == {("AlexNet (High)", "High-res"), ("AlexNet (Low)", "Low-res")}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("done", "30.0 (24.3)†"),
        ("failed", "\N{EN DASH} failed (24.3)†"),
        ("diverged", "\N{EN DASH} diverged (24.3)†"),
        ("blocked", "\N{EN DASH} blocked (24.3)†"),
        ("missing", "\N{EN DASH} (24.3)†"),
    ],
)
def test_text_of_a_place(make_cell, status, expected):
    frame = pd.DataFrame([make_cell("table2", "staged_hl", (2, 2), low=0.3, status=status)])
    assert text(compare(frame, "table2").entries["H2", "L2"]) == expected


def test_text_of_a_place_with_its_interval(make_cell):
    frame = pd.DataFrame([make_cell("table1", "low", (0, 8), low=0.25, n_test=480)])
    entry = compare(frame, "table1").entries["AlexNet (Low)", "Low-res"]
    assert text(entry, with_interval=True) == "25.0 [21.3, 29.1] (50.4; -25.4)"
