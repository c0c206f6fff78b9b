"""What heat maps say in numbers: how strong they are and how much they cover (Figure 3).

Pure: arrays in, numbers out. H W pixels, K maps of one photo (one a network), N photos.
A map's colours are spread over its own range, which says nothing of strength; so strength is
measured on the maps as they are, and areas against a threshold that the compared maps share.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Heat = NDArray[np.float32] | NDArray[np.float64]
Photo = NDArray[np.uint8]

WHITE, GREY = 255, 128
THRESHOLDS = (0.25, 0.5)
BINARY_THRESHOLD = 0.5
CONFIDENCE = 0.95
N_RESAMPLES = 10_000
#: Values that are drawn again at once.
RESAMPLED_VALUES = 2**14


class Strength(NamedTuple):
    """How far the logits move: mean and largest H of a map, and energy, the sum over pixels.

    `relative` is the mean over the squared spread of the photo's own logits: networks whose logits
    are larger throughout have larger maps, but not larger relative ones. NaN where these logits are
    all equal, as a collapsed network's are: nothing is relative to them.
    """

    mean: float
    largest: float
    energy: float
    relative: float


def strength(heat_HW: Heat, logits: NDArray[np.floating]) -> Strength:
    """Strength of a map.

    Args:
        heat_HW: squared distances of the logits, not normalised.
        logits: of the photo itself, one a class.
    """
    spread = float(np.square(logits - np.mean(logits, dtype=float), dtype=float).sum())
    mean = float(heat_HW.mean(dtype=float))
    relative = mean / spread if spread else math.nan
    return Strength(mean, float(heat_HW.max()), float(heat_HW.sum(dtype=float)), relative)


def joint_areas(heats_KHW: Sequence[Heat], threshold: float) -> list[float]:
    """Share of pixels of each map at or above a fraction of the largest value of all of them.

    Args:
        heats_KHW: maps of one photo, one a network; a single one for an area by its own maximum.
        threshold: the fraction, 0 to 1.
    """
    level = threshold * max(float(heat_HW.max()) for heat_HW in heats_KHW)
    return [float((heat_HW >= level).mean()) if level > 0 else 0.0 for heat_HW in heats_KHW]


def participation_area(heat_HW: Heat) -> float:
    """(sum H)^2 / (N sum H^2), the share of pixels that take part; 1 where all are equal."""
    weights = heat_HW.astype(float)
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / (weights.size * squares) if squares else 0.0


def entropy_area(heat_HW: Heat) -> float:
    """exp(entropy of H / sum H) / N, a share of pixels too; kinder than the other to faint ones."""
    total = float(heat_HW.sum(dtype=float))
    if total == 0:
        return 0.0
    shares = heat_HW[heat_HW > 0].astype(float) / total
    return float(np.exp(-(shares * np.log(shares)).sum())) / heat_HW.size


def normalised(heat_HW: Heat) -> NDArray[np.float64]:
    """A map spread over 0 to 1, as Figure 3 shows it; all 0 where it is the same everywhere."""
    low, high = float(heat_HW.min()), float(heat_HW.max())
    return (heat_HW.astype(float) - low) / (high - low or 1.0)


def filtered(image_HWC: Photo, heat_HW: Heat) -> Photo:
    """The photo through its normalised map, on white: I h + 255 (1 - h) (Figure 3)."""
    kept_HW1 = normalised(heat_HW)[:, :, None]
    return np.rint(image_HWC * kept_HW1 + WHITE * (1 - kept_HW1)).astype(np.uint8)


def cut_out(image_HWC: Photo, heat_HW: Heat) -> Photo:
    """The photo where its normalised map reaches `BINARY_THRESHOLD`, on the patch's grey."""
    kept_HW1 = normalised(heat_HW)[:, :, None] >= BINARY_THRESHOLD
    return np.where(kept_HW1, image_HWC, GREY).astype(np.uint8)


class Paired(NamedTuple):
    """Mean of second minus first over photos, its bootstrap interval, and Wilcoxon's p-value."""

    difference: float
    low: float
    high: float
    p_value: float


def paired(
    first_N: NDArray[np.float64],
    second_N: NDArray[np.float64],
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
) -> Paired:
    """Compare one number a photo (an area, a strength) of two networks on the same photos.

    Args:
        first_N: of the first network.
        second_N: of the second, photo by photo.
        seed: of the photos drawn again, with replacement (percentile bootstrap).
        confidence: a fraction.
        n_resamples: how often.

    Returns:
        The p-value is two-sided, of no shift; 1 where no photo differs.

    Raises:
        ValueError: when the two have no photo, or not the same number.
    """
    if len(first_N) != len(second_N) or len(first_N) == 0:
        raise ValueError(f"{len(first_N)} and {len(second_N)} photos cannot be paired")
    difference_N = np.asarray(second_N, float) - np.asarray(first_N, float)
    low, high = _bootstrap(difference_N, seed, confidence, n_resamples)
    return Paired(float(difference_N.mean()), low, high, _wilcoxon(difference_N))


def _bootstrap(
    values_N: NDArray[np.float64], seed: int, confidence: float, n_resamples: int
) -> tuple[float, float]:
    generator, n = np.random.default_rng(seed), len(values_N)
    # Many resamples a call, as many as stay in the cache.
    at_once = max(1, RESAMPLED_VALUES // n)
    sizes = (min(at_once, n_resamples - k) for k in range(0, n_resamples, at_once))
    means = np.concatenate([values_N[generator.integers(n, size=(m, n))].mean(1) for m in sizes])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _wilcoxon(difference_N: NDArray[np.float64]) -> float:
    if not difference_N.any():
        return 1.0
    from scipy.stats import wilcoxon

    result: Any = wilcoxon(difference_N)
    return float(result.pvalue)


Score = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def deletion_area(image_HWC: Photo, heat_HW: Heat, score: Score, *, n_steps: int = 32) -> float:
    """Area under the score as the photo's pixels turn grey, hottest first.

    Small where the map is faithful: the score falls once the pixels that it calls hot are gone.

    Args:
        image_HWC: the photo.
        heat_HW: its map.
        score: from photos (S, H, W, C) to one number each, such as the true class's probability.
        n_steps: equal parts of the pixels, changed one part after another.

    Returns:
        Trapezoidal mean of the `n_steps` + 1 scores: between the lowest and the highest.
    """
    start, end = image_HWC, np.full_like(image_HWC, GREY)
    return _area_under(score, _replaced(start, end, heat_HW, n_steps))


def insertion_area(image_HWC: Photo, heat_HW: Heat, score: Score, *, n_steps: int = 32) -> float:
    """Area under the score as a grey photo gets its pixels back, hottest first; large is good.

    Arguments and result are those of `deletion_area`.
    """
    start, end = np.full_like(image_HWC, GREY), image_HWC
    return _area_under(score, _replaced(start, end, heat_HW, n_steps))


def _replaced(start: Photo, end: Photo, heat_HW: Heat, n_steps: int) -> Photo:
    """The photos (S, H, W, C) on the way from one to another, hottest pixels first."""
    hottest = np.argsort(-heat_HW, axis=None, kind="stable")
    rank_HW = np.empty(heat_HW.size, np.int64)
    rank_HW[hottest] = np.arange(heat_HW.size)
    n_done = np.rint(np.linspace(0, heat_HW.size, n_steps + 1)).astype(np.int64)
    done = rank_HW.reshape(heat_HW.shape) < n_done[:, None, None]
    return np.where(done[..., None], end, start)


def _area_under(score: Score, photos: Photo) -> float:
    scores = np.asarray(score(photos), float)
    return float(np.trapezoid(scores, dx=1 / (len(photos) - 1)))
