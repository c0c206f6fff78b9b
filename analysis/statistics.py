"""Intervals and tests of accuracies. Pure: numbers in, numbers out. S seeds, N photos.

scipy.stats takes seconds to import, so what every table needs does without it.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, stdtr, stdtrit

#: Of every interval here.
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean (fraction) with the ends of its confidence interval, inside 0 and 1."""

    mean: float
    low: float
    high: float


def binomial_interval(n_correct: int, n_test: int) -> Interval:
    """Wilson's score interval of one accuracy: the chance in which photos were tested.

    Chosen over Clopper-Pearson because its mean coverage is the nominal one, not above it. It says
    nothing of the chance in training; that needs seeds (`seed_interval`).

    Args:
        n_correct: photos recognised.
        n_test: photos tested, at least 1.

    Raises:
        ValueError: when `n_correct` is not in 0 .. `n_test`.
    """
    if not 0 <= n_correct <= n_test or n_test < 1:
        raise ValueError(f"{n_correct} of {n_test} photos cannot be right")
    share = n_correct / n_test
    low, high = binomial_ends(np.array(share), np.array(n_test))
    return Interval(share, float(low), float(high))


def binomial_ends(
    shares: NDArray[np.float64], n_test: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of `binomial_interval` for arrays of one shape: shares recognised, photos tested."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    centres = (shares + z**2 / (2 * n_test)) / (1 + z**2 / n_test)
    spreads = shares * (1 - shares) / n_test + (z / (2 * n_test)) ** 2
    halves = z * np.sqrt(spreads) / (1 + z**2 / n_test)
    return np.maximum(0.0, centres - halves), np.minimum(1.0, centres + halves)


def seed_interval(accuracies: Sequence[float]) -> Interval:
    """Mean over seeds with Student's t-interval, cut at 0 and 1.

    Args:
        accuracies: fractions, one a seed, at least two.

    Raises:
        ValueError: for fewer than two values, which have no spread.
    """
    n_seeds = len(accuracies)
    if n_seeds < 2:
        raise ValueError("an interval over seeds needs two seeds at least")
    values = np.asarray(accuracies, np.float64)
    mean = np.asarray(values.mean(), np.float64)
    deviation = np.asarray(values.std(ddof=1), np.float64)
    low, high = seed_ends(mean, deviation, np.array(n_seeds))
    return Interval(float(mean), float(low), float(high))


def seed_ends(
    means: NDArray[np.float64],
    deviations: NDArray[np.float64],
    n_seeds: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of `seed_interval` for arrays of one shape: standard deviations with ddof 1."""
    halves = stdtrit(n_seeds - 1, (1 + CONFIDENCE) / 2) * deviations / np.sqrt(n_seeds)
    return np.maximum(0.0, means - halves), np.minimum(1.0, means + halves)


def above_chance(n_correct: int, n_test: int, n_classes: int) -> float:
    """Exact one-sided p-value of guessing `n_correct` or more out of `n_test` photos.

    Args:
        n_correct: photos recognised.
        n_test: photos tested.
        n_classes: classes, taken as equally frequent.
    """
    return 1.0 if n_correct < 1 else float(bdtrc(n_correct - 1, n_test, 1 / n_classes))


def above_chance_all(
    accuracies: NDArray[np.float64], n_test: NDArray[np.int64], n_classes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which networks are above chance (5 %) after Holm's correction over all of them.

    Args:
        accuracies: fractions of any shape, means over seeds; NaN: not tested. A mean is tested as
            if it were one run's, since seeds see the same photos.
        n_test: photos tested, the same shape.
        n_classes: classes, taken as equally frequent, the same shape.

    Returns:
        The same shape; True where there is no number.
    """
    above = np.ones(accuracies.shape, np.bool_)
    known = ~np.isnan(accuracies)
    tested = n_test[known]
    # A mean over seeds need not be a whole number of photos; rounding down errs on the safe side.
    n_correct = np.floor(accuracies[known] * tested + 1e-6)
    guessed = np.where(n_correct < 1, 1.0, bdtrc(n_correct - 1, tested, 1 / n_classes[known]))
    above[known] = np.array(holm(guessed.tolist())) < 1 - CONFIDENCE
    return above


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two networks tested on the same photos are equally good.

    Args:
        only_first: photos that only the first network recognises.
        only_second: photos that only the second network recognises.
    """
    fewer, discordant = min(only_first, only_second), only_first + only_second
    return min(1.0, 2 * float(bdtr(fewer, discordant, 0.5))) if discordant else 1.0


class PairedDifference(NamedTuple):
    """Accuracy of a first minus that of a second network on the same photos, as fractions.

    Attributes:
        only_first: photos, summed over seeds, that only the first network recognises.
        only_second: photos that only the second recognises.
        difference: first minus second.
        low: lower end of its interval.
        high: upper end.
        mcnemar_p: exact, of the summed counts.
        p: what counts; see `paired_difference`.
    """

    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    mcnemar_p: float
    p: float


def paired_difference(
    first_SN: NDArray[np.bool_], second_SN: NDArray[np.bool_]
) -> PairedDifference:
    """Compare two networks on the same N photos with the same S seeds.

    One seed: Wald's interval with one photo added to each discordant count (Bonett and Price, BJMSP
    65, 2012; recommended by Fagerland, Lydersen and Laake, Statistics in Medicine 33, 2014), and
    McNemar's exact p. It says nothing of the chance in training.

    Several seeds: photos and seeds are crossed random factors. The variance is that of the photos'
    means (with the same two photos added) plus that of the seeds' means, Student's t with
    Satterthwaite's degrees of freedom. McNemar's p of the summed counts takes a photo of every seed
    for a new one and is too small alone; `p` is the larger of it and the t-test's.

    Args:
        first_SN: which photos the first network recognises.
        second_SN: the same photos and seeds of the second.
    """
    only_first = int((first_SN & ~second_SN).sum())
    only_second = int((second_SN & ~first_SN).sum())
    exact = mcnemar(only_first, only_second)
    gained_SN = first_SN.astype(np.float64) - second_SN
    difference = float(gained_SN.mean())
    centre, variance, freedom = _crossed(gained_SN)
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    p = exact
    if len(first_SN) > 1:
        p = max(p, 2 * float(stdtr(freedom, -abs(difference) / math.sqrt(variance))))
    return PairedDifference(only_first, only_second, difference, low, high, exact, p)


def _crossed(gained_SN: NDArray[np.float64]) -> tuple[float, float, float]:
    """Centre, variance and degrees of freedom of a mean over photos and seeds."""
    n_seeds, n_photos = gained_SN.shape
    means_N = np.concatenate([gained_SN.mean(axis=0), [1.0, -1.0]])
    of_photos = float(means_N.var()) / (n_photos + 2)
    if n_seeds == 1:
        return float(means_N.mean()), of_photos, math.inf
    of_seeds = float(gained_SN.mean(axis=1).var(ddof=1)) / n_seeds
    variance = of_photos + of_seeds
    freedom = variance**2 / (of_photos**2 / (n_photos - 1) + of_seeds**2 / (n_seeds - 1))
    return float(means_N.mean()), variance, freedom


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of a family of tests, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    reached = 0.0
    for rank, i in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = reached
    return adjusted
