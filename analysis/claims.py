"""What the paper claims of Table 2, measured on ours and on the paper's own numbers.

The gain of high-res photos is G(H, L) = acc(H, L) - acc(H0, L) in points. Pure: numbers in,
numbers out. R rows (H0 to H8, then Mixed), L columns, leading axes are draws or seeds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.grid import MIXED_ROW, N_COLUMNS, Estimate, Grid, Numbers, paper_percent

Mask = NDArray[np.bool_]
Statistic = Callable[[Numbers], Numbers]
TOP_ROW = 8
LEVELS = np.arange(2, N_COLUMNS + 1)  # of the daggers and stars


@dataclass(frozen=True)
class Claim:
    """One number of ours with its interval, beside the paper's.

    Attributes:
        name: what it is.
        place: column or cell that it is of; empty for the whole grid.
        unit: `points`, `points a level`, `%` or `correlation`.
        ours: with its 95 % interval.
        paper: of the paper's numbers, for the same cells.
        sign: of the effect that the paper claims; 0: nothing is claimed.
        nulls: what one gets without the effect: words to numbers.
    """

    name: str
    place: str
    unit: str
    ours: Estimate
    paper: float
    sign: int = 0
    nulls: tuple[tuple[str, float], ...] = ()

    @property
    def made(self) -> bool:
        """Whether the whole interval has the sign that the paper claims."""
        return min(self.sign * self.ours.low, self.sign * self.ours.high) > 0


def claims_of(grid: Grid) -> list[Claim]:
    """Every claim that the cells of a grid allow; means first, then columns, then cells."""
    theirs = paper_percent()
    known = ~np.isnan(grid.mean_percent) & ~np.isnan(theirs)
    relative = known & grid.above_chance
    found = [*_means(grid, theirs, known, relative), *_ranks(grid, theirs, relative)]
    return [*found, *_columns(grid, theirs, known, relative), *_cells(grid, theirs, known)]


def gain(percent: Numbers) -> Numbers:
    """Points above H0 of the same column: (..., 8, L), H1 to H8."""
    return percent[..., 1 : TOP_ROW + 1, :] - percent[..., :1, :]


def mean_gain(percent: Numbers) -> Numbers:
    """Mean gain over the cells that are there."""
    return np.nanmean(gain(percent), axis=(-2, -1))


def gain_slope(columns_L: Mask) -> Statistic:
    """Least-squares slope of the gain at H8 over the chosen columns, in points a level."""
    levels = np.flatnonzero(columns_L) + 1.0
    weights = (levels - levels.mean()) / ((levels - levels.mean()) ** 2).sum()
    return lambda percent: gain(percent)[..., -1, columns_L] @ weights


def dagger_minus_star(percent: Numbers) -> Numbers:
    """Mean of Staged minus Mixed on the same photos over the columns that have both, in points."""
    daggers, stars = percent[..., LEVELS, LEVELS - 1], percent[..., MIXED_ROW, LEVELS - 1]
    return np.nanmean(daggers - stars, axis=-1)


def centred(percent: Numbers, cells_RL: Mask) -> Numbers:
    """Chosen cells minus the mean of those of their column; NaN elsewhere."""
    chosen = np.where(cells_RL, percent, 0.0)
    means = chosen.sum(axis=-2) / np.maximum(cells_RL.sum(axis=-2), 1)
    return np.where(cells_RL, percent - means[..., None, :], np.nan)


def spearman(first: Numbers, second_C: Numbers) -> Numbers:
    """Rank correlation of (..., C) with (C,); ties get their mean rank."""
    a, b = np.apply_along_axis(_ranks_of, -1, first), _ranks_of(second_C)
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean()
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum())
    return np.divide(a @ b, scale, out=np.zeros(scale.shape), where=scale > 0)


def _ranks_of(values_C: Numbers) -> Numbers:
    _, place, counts = np.unique(values_C, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _means(grid: Grid, theirs: Numbers, known: Mask, relative: Mask) -> Iterator[Claim]:
    if gains_known(known).any():
        there = np.where(known, theirs, np.nan)
        ours = grid.estimate(mean_gain)
        yield Claim("gain, mean of cells", "", "points", ours, float(mean_gain(there)), 1)
    columns_L = relative[0] & relative[TOP_ROW]
    if columns_L.sum() > 2:
        slope = gain_slope(columns_L)
        place, unit = "H8", "points a level"
        yield Claim(
            "gain, slope over L", place, unit, grid.estimate(slope), float(slope(theirs)), -1
        )
    if (known[LEVELS, LEVELS - 1] & known[MIXED_ROW, LEVELS - 1]).any():
        there = np.where(known, theirs, np.nan)
        ours = grid.estimate(dagger_minus_star)
        name = "Staged minus Mixed, mean of columns"
        yield Claim(name, "", "points", ours, float(dagger_minus_star(there)), 1)


def gains_known(known: Mask) -> Mask:
    """Which cells of `gain` have both numbers."""
    return known[1 : TOP_ROW + 1] & known[0]


def _ranks(grid: Grid, theirs: Numbers, relative: Mask) -> Iterator[Claim]:
    cells = relative.copy()
    cells[MIXED_ROW] = False
    if cells.sum() < 3 or cells.any(axis=1).sum() < 2:
        return
    rows, columns = np.argwhere(cells).T.astype(np.float64)
    growth = centred(theirs, cells)[cells]
    ours = grid.estimate(lambda percent: spearman(centred(percent, cells)[..., cells], growth))
    nulls = (("the row's number alone", float(spearman(rows, growth))),)
    name = "growth with H, rank correlation of column-centred accuracies with the paper's"
    yield Claim(name, "", "correlation", ours, 1.0, 1, nulls)
    ours = grid.estimate(lambda percent: spearman(percent[..., cells], theirs[cells]))
    nulls = (
        ("the column's number alone", float(spearman(columns, theirs[cells]))),
        ("with ties broken by the row", float(spearman(columns + rows / 100, theirs[cells]))),
    )
    name = "rank correlation of accuracies with the paper's"
    yield Claim(name, "", "correlation", ours, 1.0, 0, nulls)


def _columns(grid: Grid, theirs: Numbers, known: Mask, relative: Mask) -> Iterator[Claim]:
    for column in np.flatnonzero(gains_known(known)[-1]).tolist():
        yield _gain_at(grid, theirs, TOP_ROW, column)
    for column in np.flatnonzero(relative[0] & relative[TOP_ROW]).tolist():

        def share(percent: Numbers, c: int = column) -> Numbers:
            return 100 * gain(percent)[..., -1, c] / percent[..., 0, c]

        place = f"H8 L{column + 1}"
        ours = grid.estimate(share)
        yield Claim("gain relative to H0", place, "%", ours, float(share(theirs)), 1)


def _cells(grid: Grid, theirs: Numbers, known: Mask) -> Iterator[Claim]:
    for row, column in np.argwhere(gains_known(known)[:-1]).tolist():
        yield _gain_at(grid, theirs, row + 1, column)


def _gain_at(grid: Grid, theirs: Numbers, row: int, column: int) -> Claim:
    ours = grid.estimate(lambda percent: gain(percent)[..., row - 1, column])
    place = f"H{row} L{column + 1}"
    return Claim("gain", place, "points", ours, float(gain(theirs)[row - 1, column]), 1)
