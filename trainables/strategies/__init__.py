"""Strategies: pure functions from a cell to its stages in order.

A new strategy is one file with `stages(cell)` and one line in `STRATEGIES`.
"""

from collections.abc import Callable

from trainables.spec import Cell, StageDraft
from trainables.strategies import (
    high,
    high_high,
    low,
    low_low,
    mixed,
    staged_hl,
    staged_lh,
)

Strategy = Callable[[Cell], tuple[StageDraft, ...]]

STRATEGIES: dict[str, Strategy] = {
    "high": high.stages,
    "high_high": high_high.stages,
    "low": low.stages,
    "low_low": low_low.stages,
    "mixed": mixed.stages,
    "staged_hl": staged_hl.stages,
    "staged_lh": staged_lh.stages,
}
