"""Which of a run's cells and test photos are shown to a reader.

N photos of a test.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.fingerprint import seed_of

#: Cells that are compared photo by photo, by strategy; the largest of each.
SHOWN = ("low", "mixed", "staged_hl", "high", "sr_low")
_LEVELS = ["high_level", "low_level"]


def shown_cells(frame: pd.DataFrame) -> dict[str, str]:
    """The done cells to compare, by name: the largest of each strategy, all of one seed.

    It is the first of the seeds with most strategies and, of these, with the largest cells. In
    Table 2 the row H0 is the strategy `low`.
    """
    done = frame.loc[frame["status"] == "done"]
    of_seeds = [_largest(cells) for _, cells in done.groupby("seed", sort=True)]
    if not of_seeds:
        return {}
    found = max(of_seeds, key=lambda cells: (len(cells), cells[_LEVELS].to_numpy().sum()))
    shown = zip(found["cell"].astype(str), found["strategy"], strict=True)
    return dict(sorted(shown, key=lambda item: SHOWN.index(item[1])))


def _largest(cells: pd.DataFrame) -> pd.DataFrame:
    """The largest cell of each shown strategy, of cells of one seed."""
    low = (cells["strategy"] == "staged_hl") & (cells["high_level"] == 0)
    named = cells.assign(strategy=cells["strategy"].astype(str).mask(low, "low"))
    known = named.loc[named["strategy"].isin(SHOWN)]
    return known.sort_values(_LEVELS, ascending=False, kind="stable").drop_duplicates("strategy")


def at_random(n_photos: int, n: int) -> NDArray[np.int64]:
    """Places of `n` photos of a test (or all), the first ones always the same."""
    return np.random.default_rng(seed_of("cards")).permutation(n_photos)[:n]
