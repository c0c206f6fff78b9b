"""Intervals and tests of accuracies. Pure: numbers in, numbers out.

scipy.stats takes seconds to import, so what every table needs does without it.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean (fraction) with the ends of its confidence interval, inside 0 and 1."""

    mean: float
    low: float
    high: float


def binomial_interval(n_correct: int, n_test: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of one accuracy: the chance in which photos were tested.

    Chosen over Clopper-Pearson because its mean coverage is the nominal one, not above it. It says
    nothing of the chance in training; that needs seeds (`seed_interval`).

    Args:
        n_correct: photos recognised.
        n_test: photos tested, at least 1.
        confidence: a fraction.

    Raises:
        ValueError: when `n_correct` is not in 0 .. `n_test`.
    """
    if not 0 <= n_correct <= n_test or n_test < 1:
        raise ValueError(f"{n_correct} of {n_test} photos cannot be right")
    share, z = n_correct / n_test, NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * n_test)) / (1 + z**2 / n_test)
    spread = share * (1 - share) / n_test + (z / (2 * n_test)) ** 2
    half = z * math.sqrt(spread) / (1 + z**2 / n_test)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def seed_interval(accuracies: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean over seeds with Student's t-interval, cut at 0 and 1.

    Args:
        accuracies: fractions, one a seed, at least two.
        confidence: a fraction.

    Raises:
        ValueError: for fewer than two values, which have no spread.
    """
    n_seeds = len(accuracies)
    if n_seeds < 2:
        raise ValueError("an interval over seeds needs two seeds at least")
    mean = float(np.mean(accuracies))
    quantile = float(stdtrit(n_seeds - 1, (1 + confidence) / 2))
    half = quantile * float(np.std(accuracies, ddof=1)) / math.sqrt(n_seeds)
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))


def above_chance(n_correct: int, n_test: int, n_classes: int) -> float:
    """Exact one-sided p-value of guessing `n_correct` or more out of `n_test` photos.

    Args:
        n_correct: photos recognised.
        n_test: photos tested.
        n_classes: classes, taken as equally frequent.
    """
    from scipy.stats import binomtest

    return float(binomtest(n_correct, n_test, 1 / n_classes, alternative="greater").pvalue)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two networks tested on the same photos are equally good.

    Args:
        only_first: photos that only the first network recognises.
        only_second: photos that only the second network recognises.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, discordant, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of a family of tests, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    reached = 0.0
    for rank, i in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = reached
    return adjusted
