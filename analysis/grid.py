"""Table 2 as arrays, with the chance in it.

S seeds, R rows (H0 to H8, then Mixed), L columns (L1 to L8), N photos, B draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from analysis import paper
from analysis.photos import Photos
from analysis.statistics import CONFIDENCE, above_chance_all

N_ROWS, N_COLUMNS, MIXED_ROW = 10, 8, 9
N_DRAWS = 1000
SEED = 0

Numbers = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Grid:
    """The low-res accuracies of Table 2's cells, of the seeds that have most of them.

    Attributes:
        percent_SRL: NaN where a cell is not done.
        right_SRLN: whether a cell's network recognised a photo; False where it is not done.
        n_high_R: high-res training photos; -1 for Mixed and where there is no cell.
        n_low_L: low-res training photos; -1 where there is no cell.
        n_classes: of the data set.
        n_draws: draws of the bootstrap that one seed needs.
    """

    percent_SRL: Numbers
    right_SRLN: NDArray[np.bool_]
    n_high_R: NDArray[np.int64]
    n_low_L: NDArray[np.int64]
    n_classes: int
    n_draws: int = N_DRAWS

    @property
    def n_seeds(self) -> int:
        """Seeds that the grid is of."""
        return len(self.percent_SRL)

    @cached_property
    def mean_percent(self) -> Numbers:
        """Mean over seeds (R, L)."""
        return self.percent_SRL.mean(axis=0)

    @cached_property
    def above_chance(self) -> NDArray[np.bool_]:
        """Cells (R, L) that are above chance after Holm's correction over all; see `statistics`."""
        shape, n_photos = self.mean_percent.shape, self.right_SRLN.shape[-1]
        counts = (np.full(shape, n_photos), np.full(shape, self.n_classes))
        return above_chance_all(self.mean_percent / 100, *counts)

    @cached_property
    def draws(self) -> Numbers:
        """Percent (B, R, L) on photos drawn with replacement, the same for all cells and seeds.

        Several seeds are drawn with replacement too.
        """
        n_seeds, n_photos = self.n_seeds, self.right_SRLN.shape[-1]
        rng = np.random.default_rng(SEED)
        right_NC = self.right_SRLN.reshape(-1, n_photos).T.astype(np.float32)
        times_BN = np.stack(
            [
                np.bincount(rng.integers(n_photos, size=n_photos), minlength=n_photos)
                for _ in range(self.n_draws)
            ]
        )
        draws_BC = times_BN.astype(np.float32) @ right_NC * (100 / n_photos)
        draws_BSRL = draws_BC.reshape(self.n_draws, *self.percent_SRL.shape).astype(np.float64)
        chosen_BS = rng.integers(n_seeds, size=(self.n_draws, n_seeds))
        drawn = np.take_along_axis(draws_BSRL, chosen_BS[:, :, None, None], axis=1).mean(axis=1)
        return np.where(np.isnan(self.mean_percent), np.nan, drawn)

    def estimate(self, statistic: Callable[[Numbers], Numbers]) -> Estimate:
        """A statistic of the grid with its interval.

        Several seeds: its mean over seeds with Student's t. One seed: plus and minus 1.96 standard
        deviations over `draws`, which knows nothing of the chance in training.

        Args:
            statistic: takes percent (..., R, L) and gives numbers (...).
        """
        if self.n_seeds > 1:
            values_S = statistic(self.percent_SRL)
            half = stdtrit(self.n_seeds - 1, (1 + CONFIDENCE) / 2)
            half *= values_S.std(ddof=1) / np.sqrt(self.n_seeds)
            value = float(values_S.mean())
        else:
            value = float(statistic(self.mean_percent))
            half = stdtrit(np.inf, (1 + CONFIDENCE) / 2) * statistic(self.draws).std(ddof=1)
        return Estimate(value, value - float(half), value + float(half))


def paper_percent() -> Numbers:
    """The paper's Table 2 (R, L); NaN for Mixed at L1."""
    rows = [row.title for row in paper.rows("table2")]
    numbers = [[paper.percent("table2", row, f"L{n}") for n in paper.LEVELS] for row in rows]
    return np.array(numbers, dtype=np.float64)


def grid_of(frame: pd.DataFrame, photos: Photos) -> Grid | None:
    """Put Staged (H-L) and Mixed of Table 2 into rows and columns.

    Args:
        frame: of `runs.load`.
        photos: the low-res test's.

    Returns:
        None where no cell is done.
    """
    cells = frame.loc[
        (frame["table"] == "table2")
        & frame["strategy"].isin(["staged_hl", "mixed"])
        & (frame["status"] == "done")
        & frame["cell"].isin(photos.cells)
        & frame["high_level"].between(0, 8)
        & frame["low_level"].between(1, 8)
    ]
    counts = cells["seed"].value_counts()
    if counts.empty:
        return None
    seeds = sorted(counts.index[counts == counts.max()].tolist())
    return _filled(cells.loc[cells["seed"].isin(seeds)], seeds, photos)


def _filled(cells: pd.DataFrame, seeds: list[int], photos: Photos) -> Grid:
    mixed = (cells["strategy"] == "mixed").to_numpy()
    rows = np.where(mixed, MIXED_ROW, cells["high_level"].to_numpy())
    columns = cells["low_level"].to_numpy() - 1
    places = (np.searchsorted(seeds, cells["seed"].to_numpy()), rows, columns)
    right_CN = photos.right_CN[[photos.cells[name] for name in cells["cell"]]]
    percent = np.full((len(seeds), N_ROWS, N_COLUMNS), np.nan)
    percent[places] = 100 * right_CN.mean(axis=1)
    right = np.zeros((*percent.shape, right_CN.shape[1]), np.bool_)
    right[places] = right_CN
    n_high, n_low = np.full(N_ROWS, -1), np.full(N_COLUMNS, -1)
    n_high[rows[~mixed]] = cells["n_high"].to_numpy()[~mixed]
    n_low[columns] = cells["n_low"].to_numpy()
    return Grid(percent, right, n_high, n_low, int(cells["n_classes"].iloc[0]))
