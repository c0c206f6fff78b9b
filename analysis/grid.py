"""Table 2 as arrays, with the chance in it: that of the test photos and that of training.

S seeds, R rows (H0 to H8, then Mixed), L columns (L1 to L8), N photos, B draws.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
#: A seed with fewer of the cells than this share of the fullest seed's is left out.
MOST_CELLS = 0.9
#: A variance below it is rounding.
NOTHING = 1e-12

Numbers = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and the ends of its 95 % interval, NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Grid:
    """The low-res accuracies of Table 2's cells, of the seeds that have most of them.

    All seeds have the same cells: one that a seed lacks is NaN in each.

    Attributes:
        percent_SRL: NaN where a cell is not done.
        right_SRLN: whether a cell's network recognised a photo; False where it is not done.
        n_high_R: high-res training photos; -1 for Mixed and where there is no cell.
        n_low_L: low-res training photos; -1 where there is no cell.
        n_classes: of the data set.
        n_draws: draws of the bootstrap over photos.
        left_out: seeds that have too few of the cells.
        n_lacking: cells that only some of the seeds have.
    """

    percent_SRL: Numbers
    right_SRLN: NDArray[np.bool_]
    n_high_R: NDArray[np.int64]
    n_low_L: NDArray[np.int64]
    n_classes: int
    n_draws: int = N_DRAWS
    left_out: tuple[int, ...] = ()
    n_lacking: int = 0

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
        """Percent (B, R, L), mean over seeds, on photos drawn with replacement for all alike."""
        n_photos = self.right_SRLN.shape[-1]
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
        return np.where(np.isnan(self.mean_percent), np.nan, draws_BSRL.mean(axis=1))

    def estimate(self, statistic: Callable[[Numbers], Numbers]) -> Estimate:
        """A statistic of the grid with its interval.

        Photos and seeds are crossed random factors, as in `statistics.paired_difference`: the
        variance is that over `draws` plus that of the seeds' mean, Student's t with Satterthwaite's
        degrees of freedom. One seed: 1.96 standard deviations over `draws`, which know nothing of
        the chance in training. Where nothing varies, because the networks agree on every photo,
        there is no interval: its ends are NaN.

        Args:
            statistic: takes percent (..., R, L) and gives numbers (...).
        """
        value = float(statistic(self.mean_percent))
        of_photos, freedom = float(statistic(self.draws).var(ddof=1)), np.inf
        variance = of_photos
        if self.n_seeds > 1:
            of_seeds = float(statistic(self.percent_SRL).var(ddof=1)) / self.n_seeds
            variance += of_seeds
            n_photos = self.right_SRLN.shape[-1]
            parts = of_photos**2 / (n_photos - 1) + of_seeds**2 / (self.n_seeds - 1)
            freedom = variance**2 / parts if parts else np.inf
        if variance < NOTHING:
            return Estimate(value, np.nan, np.nan)
        half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * np.sqrt(variance)
        return Estimate(value, value - float(half), value + float(half))


def paper_percent() -> Numbers:
    """The paper's Table 2 (R, L); NaN for Mixed at L1."""
    rows = [row.title for row in paper.rows("table2")]
    numbers = [[paper.percent("table2", row, f"L{n}") for n in paper.LEVELS] for row in rows]
    return np.array(numbers, dtype=np.float64)


def grid_of(frame: pd.DataFrame, photos: Photos) -> Grid | None:
    """Put Staged (H-L) and Mixed of Table 2 into rows and columns.

    Args:
        frame: of `runs.load`, of one low resolution.
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
    enough = counts >= MOST_CELLS * counts.max()
    seeds, left_out = (sorted(counts.index[which].tolist()) for which in (enough, ~enough))
    found = _filled(cells.loc[cells["seed"].isin(seeds)], seeds, photos)
    return replace(found, left_out=tuple(left_out))


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
    lacking = np.isnan(percent).any(axis=0)
    n_lacking = int((lacking & ~np.isnan(percent).all(axis=0)).sum())
    percent[:, lacking], right[:, lacking] = np.nan, False
    n_high, n_low = np.full(N_ROWS, -1), np.full(N_COLUMNS, -1)
    n_high[rows[~mixed]] = cells["n_high"].to_numpy()[~mixed]
    n_low[columns] = cells["n_low"].to_numpy()
    n_classes = int(cells["n_classes"].iloc[0])
    return Grid(percent, right, n_high, n_low, n_classes, n_lacking=n_lacking)
