"""Strategies: pure functions from a cell to its stages in order.

A new strategy is one file with `stages(cell)` and one line in `STRATEGIES`.
"""

from collections.abc import Callable

from trainables.spec import Cell, StageDraft
from trainables.strategies import (
    curriculum,
    distilled_hl,
    frozen_hl,
    high,
    high_high,
    high_sr,
    interpolated_hl,
    low,
    low_long,
    low_low,
    mixed,
    mixed_low,
    mixed_matched,
    random_resolution,
    replay_hl,
    shuffled_hl,
    sr_low,
    staged_h_sr,
    staged_hl,
    staged_lh,
)

Strategy = Callable[[Cell], tuple[StageDraft, ...]]

STRATEGIES: dict[str, Strategy] = {
    "curriculum": curriculum.stages,
    "distilled_hl": distilled_hl.stages,
    "frozen_hl": frozen_hl.stages,
    "high": high.stages,
    "high_high": high_high.stages,
    "high_sr": high_sr.stages,
    "interpolated_hl": interpolated_hl.stages,
    "low": low.stages,
    "low_long": low_long.stages,
    "low_low": low_low.stages,
    "mixed": mixed.stages,
    "mixed_low": mixed_low.stages,
    "mixed_matched": mixed_matched.stages,
    "random_resolution": random_resolution.stages,
    "replay_hl": replay_hl.stages,
    "shuffled_hl": shuffled_hl.stages,
    "sr_low": sr_low.stages,
    "staged_h_sr": staged_h_sr.stages,
    "staged_hl": staged_hl.stages,
    "staged_lh": staged_lh.stages,
}
