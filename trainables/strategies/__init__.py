"""Strategies: pure functions from a cell to its stages in order.

A new strategy is one file with `stages(cell)` and one line in `STRATEGIES`.
"""

from collections.abc import Callable

from trainables.spec import Cell, StageDraft
from trainables.strategies import (
    high,
    high_high,
    high_sr,
    low,
    low_low,
    mixed,
    sr_low,
    staged_h_sr,
    staged_hl,
    staged_lh,
)

Strategy = Callable[[Cell], tuple[StageDraft, ...]]

STRATEGIES: dict[str, Strategy] = {
    "high": high.stages,
    "high_high": high_high.stages,
    "high_sr": high_sr.stages,
    "low": low.stages,
    "low_low": low_low.stages,
    "mixed": mixed.stages,
    "sr_low": sr_low.stages,
    "staged_h_sr": staged_h_sr.stages,
    "staged_hl": staged_hl.stages,
    "staged_lh": staged_lh.stages,
}
