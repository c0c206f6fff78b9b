import math

import pytest

from analysis import paper

# Sums of the rows and columns of Table 2 as printed; Mixed stands beside the nine others.
ROW_SUMS = {
    "H0": 263.6,
    "H1": 280.9,
    "H2": 304.5,
    "H3": 329.2,
    "H4": 339.9,
    "H5": 352.8,
    "H6": 364.3,
    "H7": 372.8,
    "H8": 383.1,
    "Mixed": 306.1,
}
COLUMN_SUMS = [194.3, 268.0, 327.6, 369.9, 410.5, 447.7, 472.1, 501.0]
DAGGER_MINUS_STAR = [0.9, 2.1, 3.1, 2.1, 1.8, 1.0, 0.2]
GAIN_OF_ALL_HIGH = [17.1, 19.4, 17.4, 18.1, 14.7, 13.0, 10.7, 9.1]


def number(value):
    assert value is not None
    return value


def total(table, column):
    values = [paper.percent(table, row.title, column) for row in paper.rows(table)]
    return round(math.fsum(value for value in values if value is not None), 1)


@pytest.mark.parametrize(("row", "expected"), ROW_SUMS.items())
def test_rows_of_table2_sum_to_the_printed_ones(row, expected):
    values = [paper.percent("table2", row, column) or 0.0 for column in paper.columns("table2")]
    assert round(math.fsum(values), 1) == expected


@pytest.mark.parametrize(("level", "expected"), list(enumerate(COLUMN_SUMS, start=1)))
def test_columns_of_table2_sum_to_the_printed_ones(level, expected):
    values = [number(paper.table2_percent(high, level)) for high in range(9)]
    assert round(math.fsum(values), 1) == expected


def test_spot_values_of_table2():
    assert paper.table2_percent(0, 1) == 12.1
    assert paper.table2_percent(3, 5) == 45.2
    assert paper.table2_percent(8, 8) == 59.5
    assert paper.mixed_percent(5) == 45.5


def test_what_the_paper_leaves_out_is_none():
    assert paper.mixed_percent(1) is None
    assert paper.table2_percent(9, 1) is None
    assert paper.percent("table1", "BB-3D-G (High)", "Low-res") is None
    assert paper.rows("custom") == ()


def test_staged_beats_mixed_by_the_known_differences():
    found = [
        round(number(paper.table2_percent(k, k)) - number(paper.mixed_percent(k)), 1)
        for k in range(2, 9)
    ]
    assert found == DAGGER_MINUS_STAR


def test_all_high_photos_gain_the_known_differences():
    found = [
        round(number(paper.table2_percent(8, k)) - number(paper.table2_percent(0, k)), 1)
        for k in paper.LEVELS
    ]
    assert found == GAIN_OF_ALL_HIGH


def test_marks_stand_on_the_diagonal_and_on_mixed():
    marked = {(n.row, n.column): n.mark for n in paper.published() if n.mark}
    daggers = {(f"H{k}", f"L{k}"): "†" for k in range(2, 9)}
    assert marked == daggers | {("Mixed", f"L{k}"): "*" for k in range(2, 9)}


def test_columns_of_tables_1_and_3_sum_to_the_printed_ones():
    # Table 1: 80.3 + 13.3 + 72.9 + 67.6 + 65.2 + 37.2 on high-res test.
    assert total("table1", "High-res") == 336.5
    # 1.7 + 50.4 + 59.3 + 50.8 + 18.1 + 59.5, and LR-CNN's 19.1 from the text.
    assert total("table1", "Low-res") == 258.9
    # Table 3: 67.6 + 36.7 + 61.2 + 56.8 + 58.1.
    assert total("table3", "High-res") == 280.4
    # 21.1 + 51.3 + 53.6 + 50.1 + 36.3 + 55.3, and LR-CNN's 23.6 from the text.
    assert total("table3", "Low-res") == 291.3


def test_rows_of_table1_are_in_the_papers_order_with_our_strategies():
    assert [(row.title, row.strategy) for row in paper.rows("table1")] == [
        ("AlexNet (High)", "high"),
        ("AlexNet (Low)", "low"),
        ("Mixed-Training (High+Low)", "mixed"),
        ("BB-3D-G (High)", None),
        ("Super-Res NBSRF (Low)", "sr_low"),
        ("Staged-Training (L-H)", "staged_lh"),
        ("Staged-Training (H-L)", "staged_hl"),
        ("LR-CNN (Low)", "lrcnn"),
    ]
    assert {row.note for row in paper.rows("table1") if row.strategy is None} == {"quoted, not run"}


def test_table3_has_the_rows_of_table1_but_the_quoted_one():
    quoted = [row for row in paper.rows("table1") if row.strategy is not None]
    assert list(paper.rows("table3")) == quoted


def test_tables_agree_where_they_print_the_same_experiment():
    assert paper.table2_percent(0, 8) == paper.percent("table1", "AlexNet (Low)", "Low-res")
    staged = paper.percent("table1", "Staged-Training (H-L)", "Low-res")
    assert paper.table2_percent(8, 8) == staged
    assert paper.mixed_percent(8) == paper.percent("table1", "Mixed-Training (High+Low)", "Low-res")


def test_the_text_says_the_tables_numbers_with_one_digit_more():
    for (title, column), value in paper.PRECISE_TEXT.items():
        assert round(value, 1) == paper.percent("table1", title, column)
    assert sorted(paper.PRECISE_TEXT.values()) == [13.31, 50.44, 59.33]


def test_every_number_is_published_once_with_its_source():
    numbers = paper.published()
    by_table = {t: sum(n.source == t for n in numbers) for t in ("Table 1", "Table 2", "Table 3")}
    assert by_table == {"Table 1": 12, "Table 2": 79, "Table 3": 11}
    assert [n.percent for n in numbers if n.source == "Section 4.3"] == [23.6]
    assert sorted(n.percent for n in numbers if n.source == "Section 4.2") == [
        *(13.31, 19.1, 50.44, 59.33)
    ]
    assert len(set(numbers)) == len(numbers)


def test_levels_say_what_a_strategy_trains_on():
    levels = {
        n.strategy: (n.high_level, n.low_level) for n in paper.published() if n.table != "table2"
    }
    assert levels == {
        "high": (8, 0),
        "low": (0, 8),
        "mixed": (8, 8),
        None: (None, None),
        "sr_low": (0, 8),
        "staged_lh": (8, 8),
        "staged_hl": (8, 8),
        "lrcnn": (0, 8),
    }
