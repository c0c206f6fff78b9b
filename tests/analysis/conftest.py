"""Fabricated results: tables of a run as `analysis.load` gives them, with made-up accuracies."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

MakeCell = Callable[..., dict[str, Any]]
COMMON = {
    "dataset": "synthetic",
    "model": "tiny",
    "resolution_px": 16,
    "canvas_px": 48,
    "n_test": 480,
    "n_classes": 16,
    "train_s": 1.5,
}


def cell(
    table: str, strategy: str, levels: tuple[int, int], seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """One done cell; `step` images a level; `low` and `high` are accuracies."""
    step = changes.pop("step", 50)
    high_level, low_level = levels
    name = f"{strategy}/h{high_level}-l{low_level}/s{seed}"
    accuracy = min(0.99, 0.1 + 0.04 * high_level + 0.06 * low_level + 0.01 * seed)
    row = COMMON | {
        "cell": name,
        "table": table,
        "strategy": strategy,
        "n_high": step * high_level,
        "n_low": step * low_level,
        "high_level": high_level,
        "low_level": low_level,
        "seed": seed,
        "status": "done",
        "accuracy_high": changes.pop("high", accuracy / 2),
        "accuracy_low": changes.pop("low", accuracy),
        "stage_key": name.encode().hex(),
        "trial_id": "t0",
    }
    row |= changes
    if row["status"] != "done":
        row |= {"accuracy_high": math.nan, "accuracy_low": math.nan, "n_test": 0}
    return row


@pytest.fixture
def make_cell() -> MakeCell:
    return cell


@pytest.fixture
def grid() -> pd.DataFrame:
    """Table 2 in miniature: 79 cells, one seed."""
    staged = [cell("table2", "staged_hl", (h, low)) for h in range(9) for low in range(1, 9)]
    return pd.DataFrame(staged + [cell("table2", "mixed", (k, k)) for k in range(2, 9)])


@pytest.fixture
def strategies() -> pd.DataFrame:
    """Table 1 with three seeds and one strategy of a user's own."""
    pairs = {
        "high": (8, 0),
        "low": (0, 8),
        "mixed": (8, 8),
        "staged_lh": (8, 8),
        "staged_hl": (8, 8),
        "my_own": (8, 8),
    }
    cells = [cell("table1", name, pair, seed) for name, pair in pairs.items() for seed in range(3)]
    return pd.DataFrame(cells)


@pytest.fixture
def recipe() -> dict[str, Any]:
    return {
        "name": "demo",
        "description": "a test",
        "data": {"dataset": "synthetic", "canvas_px": 48, "resolution_px": 16},
        "model": {"name": "tiny", "weights": "none"},
        "train": {"epochs": 10},
        "seeds": [0],
    }
