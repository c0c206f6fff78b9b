"""The published numbers as data: Tables 1, 2 and 3 and the results given in the text only.

Peng, Hoffman, Yu, Saenko: Fine-to-coarse knowledge transfer for low-res image classification,
ICIP 2016. All are top-1 accuracies in percent, of one run each.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

DAGGER = "†"  # staged training, directly comparable with
STAR = "*"  # mixed training of the same column
LEVELS = range(1, 9)  # columns of Table 2
MIXED = "Mixed"
STRATEGY_COLUMNS = ("High-res", "Low-res")  # test resolutions of Tables 1 and 3
TITLES = {
    "table1": "Table 1: training strategies",
    "table2": "Table 2: Staged-Training (H-L) and Mixed-Training, by number of images",
    "table3": "Table 3: training strategies, second data set",
}


@dataclass(frozen=True)
class Row:
    """A row of a table of the paper.

    Attributes:
        title: what identifies the row; unique in its table.
        strategy: name of our strategy that reproduces it, or None.
        note: why nothing of ours can stand in the row, or where the paper has it.
    """

    title: str
    strategy: str | None
    note: str = ""


@dataclass(frozen=True)
class Published:
    """One number of the paper.

    Attributes:
        table: `table1`, `table2` or `table3`; for a number of the text the table it belongs to.
        row: title of the row.
        column: `L1` .. `L8` in Table 2, else `High-res` or `Low-res`.
        test: resolution of the test photos.
        percent: top-1 accuracy.
        strategy: our strategy that reproduces it, or None.
        high_level: high-res training images in eighths of all (Table 2: thousands); None: quoted.
        low_level: low-res training images, the same way.
        mark: dagger, star or nothing (Table 2).
        source: where it is printed.
    """

    table: str
    row: str
    column: str
    test: Literal["high", "low"]
    percent: float
    strategy: str | None
    high_level: int | None
    low_level: int | None
    mark: str
    source: str


_HIGH = Row("AlexNet (High)", "high")
_LOW = Row("AlexNet (Low)", "low")
_MIXED = Row("Mixed-Training (High+Low)", "mixed")
_QUOTED = Row("BB-3D-G (High)", None, "quoted, not run")
_SUPER_RES = Row("Super-Res NBSRF (Low)", "sr_low")
_STAGED_LH = Row("Staged-Training (L-H)", "staged_lh")
_STAGED_HL = Row("Staged-Training (H-L)", "staged_hl")
_LRCNN = Row("LR-CNN (Low)", "lrcnn", "in the text")

# Row: percent on the high-res test, on the low-res test; in the paper's order.
_TABLE1 = {
    _HIGH: (80.3, 1.7),
    _LOW: (13.3, 50.4),
    _MIXED: (72.9, 59.3),
    _QUOTED: (67.6, None),
    _SUPER_RES: (None, 50.8),
    _STAGED_LH: (65.2, 18.1),
    _STAGED_HL: (37.2, 59.5),
    _LRCNN: (None, 19.1),
}
_TABLE3 = {
    _HIGH: (67.6, 21.1),
    _LOW: (36.7, 51.3),
    _MIXED: (61.2, 53.6),
    _SUPER_RES: (None, 50.1),
    _STAGED_LH: (56.8, 36.3),
    _STAGED_HL: (58.1, 55.3),
    _LRCNN: (None, 23.6),
}
_TEST_OF: dict[str, Literal["high", "low"]] = {"High-res": "high", "Low-res": "low"}
_SOURCES = {"table1": ("Table 1", "Section 4.2"), "table3": ("Table 3", "Section 4.3")}
# Images in eighths (high, low) that a strategy of Tables 1 and 3 trains on.
_FULL = {"high": (8, 0), "low": (0, 8), "sr_low": (0, 8), "lrcnn": (0, 8)}

# Position in the list: high level 0 to 8; position in the tuple: low level 1 to 8.
_TABLE2 = (
    (12.1, 19.4, 27.1, 29.8, 37.1, 41.6, 46.1, 50.4),
    (13.9, 21.6, 28.0, 33.7, 39.3, 45.2, 47.6, 51.6),
    (17.2, 24.3, 32.6, 37.2, 42.8, 46.7, 50.1, 53.6),
    (21.3, 28.9, 34.6, 40.5, 45.2, 50.6, 52.5, 55.6),
    (22.0, 32.1, 37.2, 42.4, 46.5, 49.9, 53.6, 56.2),
    (25.1, 33.4, 38.4, 44.9, 47.6, 51.9, 54.4, 57.1),
    (26.2, 33.8, 41.9, 46.6, 50.0, 52.8, 54.9, 58.1),
    (27.3, 35.7, 43.3, 46.9, 50.2, 54.4, 56.1, 58.9),
    (29.2, 38.8, 44.5, 47.9, 51.8, 54.6, 56.8, 59.5),
)
_MIXED_ROW = (None, 23.4, 32.5, 39.3, 45.5, 51.0, 55.1, 59.3)

#: Numbers that the text gives with one digit more than the tables: (title, column) -> percent.
PRECISE_TEXT = {
    ("AlexNet (Low)", "High-res"): 13.31,
    ("AlexNet (Low)", "Low-res"): 50.44,
    ("Mixed-Training (High+Low)", "Low-res"): 59.33,
}


def rows(table: str) -> tuple[Row, ...]:
    """The rows of a table in the paper's order; none for a table that the paper does not have."""
    if table == "table2":
        staged = tuple(Row(f"H{level}", "staged_hl") for level in range(9))
        return (*staged, Row(MIXED, "mixed"))
    return tuple({"table1": _TABLE1, "table3": _TABLE3}.get(table, {}))


def columns(table: str) -> tuple[str, ...]:
    """The columns of a table in the paper's order."""
    return tuple(f"L{level}" for level in LEVELS) if table == "table2" else STRATEGY_COLUMNS


def published() -> tuple[Published, ...]:
    """Every number of Tables 1 to 3 and of the text."""
    return (*_printed(), *_precise())


def _printed() -> tuple[Published, ...]:
    return (*_strategies("table1", _TABLE1), *_grid(), *_strategies("table3", _TABLE3))


@cache
def _by_place() -> dict[tuple[str, str, str], Published]:
    return {(number.table, number.row, number.column): number for number in _printed()}


def percent(table: str, row: str, column: str) -> float | None:
    """The published accuracy at a place of a table (text-only rows included), None: no number."""
    number = _by_place().get((table, row, column))
    return None if number is None else number.percent


def mark(table: str, row: str, column: str) -> str:
    """The dagger or star that the paper prints at a place, or an empty text."""
    number = _by_place().get((table, row, column))
    return "" if number is None else number.mark


def table2_percent(high_level: int, low_level: int) -> float | None:
    """Table 2: Staged-Training (H-L) with `high_level` k, then `low_level` k images."""
    return percent("table2", f"H{high_level}", f"L{low_level}")


def mixed_percent(low_level: int) -> float | None:
    """Table 2: Mixed-Training with `low_level` k images of each resolution; None at level 1."""
    return percent("table2", MIXED, f"L{low_level}")


def _strategies(
    table: str, numbers: dict[Row, tuple[float | None, float | None]]
) -> list[Published]:
    found: list[Published] = []
    for row, values in numbers.items():
        source = _SOURCES[table][1 if row is _LRCNN else 0]
        for column, value in zip(STRATEGY_COLUMNS, values, strict=True):
            if value is not None:
                found.append(_strategy_number(table, row, column, value, source))
    return found


def _strategy_number(table: str, row: Row, column: str, value: float, source: str) -> Published:
    levels = (None, None) if row.strategy is None else _FULL.get(row.strategy, (8, 8))
    test = _TEST_OF[column]
    return Published(table, row.title, column, test, value, row.strategy, *levels, "", source)


def _grid() -> list[Published]:
    found: list[Published] = []
    for high_level, values in enumerate(_TABLE2):
        for low_level, value in zip(LEVELS, values, strict=True):
            mark = DAGGER if high_level == low_level >= 2 else ""
            found.append(_grid_number(f"H{high_level}", high_level, low_level, value, mark))
    for level, value in zip(LEVELS, _MIXED_ROW, strict=True):
        if value is not None:
            found.append(_grid_number(MIXED, level, level, value, STAR))
    return found


def _grid_number(row: str, high_level: int, low_level: int, value: float, mark: str) -> Published:
    strategy = "mixed" if row == MIXED else "staged_hl"
    place = ("table2", row, f"L{low_level}", "low", value)
    return Published(*place, strategy, high_level, low_level, mark, "Table 2")


def _precise() -> list[Published]:
    by_title = {row.title: row for row in _TABLE1}
    return [
        _strategy_number("table1", by_title[title], column, value, "Section 4.2")
        for (title, column), value in PRECISE_TEXT.items()
    ]
