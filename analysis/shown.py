"""Which of a run's cells and test photos are shown to a reader.

N photos of a test.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.fingerprint import seed_of

#: Cells that are compared photo by photo, by strategy; the largest of each.
SHOWN = ("low", "mixed", "staged_hl", "high", "sr_low")


def shown_cells(frame: pd.DataFrame) -> dict[str, str]:
    """The done cells to compare, by name: the largest of each strategy, first seed.

    In Table 2 the row H0 is the strategy `low`.
    """
    done = frame.loc[frame["status"] == "done"]
    found: dict[str, str] = {}
    order = ["seed", "high_level", "low_level"]
    for row in done.sort_values(order, ascending=[True, False, False]).to_dict("records"):
        strategy = str(row["strategy"])
        if strategy == "staged_hl" and row["high_level"] == 0:
            strategy = "low"
        if strategy in SHOWN and strategy not in found.values():
            found[str(row["cell"])] = strategy
    return dict(sorted(found.items(), key=lambda item: SHOWN.index(item[1])))


def at_random(n_photos: int, n: int) -> NDArray[np.int64]:
    """Places of `n` photos of a test (or all), the first ones always the same."""
    return np.random.default_rng(seed_of("cards")).permutation(n_photos)[:n]
