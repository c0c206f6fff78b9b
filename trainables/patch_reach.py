"""Which part of every layer's map differs once a square patch of the photo does.

Rows and columns are independent, so all is said per axis. N patch positions, L layers. Nothing but
whole numbers here: no photo, no weight.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Span(NamedTuple):
    """Rows (or columns) that may differ: half-open, one interval a position, perhaps empty."""

    start_N: NDArray[np.int64]
    stop_N: NDArray[np.int64]

    def at(self, positions_B: NDArray[np.int64]) -> "Span":
        """The intervals of some positions."""
        return Span(self.start_N[positions_B], self.stop_N[positions_B])


class Slide(NamedTuple):
    """How a window moves over one axis: a convolution's or a pooling's numbers."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def reach(self) -> int:
        """Inputs that a window extends past its first."""
        return self.dilation * (self.kernel - 1)

    def inputs(self, n_out: int) -> int:
        """Inputs under `n_out` neighbouring windows, padding included."""
        return (n_out - 1) * self.stride + self.reach + 1


def centres(side_px: int, stride_px: int) -> NDArray[np.int64]:
    """Patch centres along a side, `stride_px` apart and as far from both ends as they can be."""
    first = (side_px - 1) % stride_px // 2
    return np.arange(first, side_px, stride_px)


def patch(centres_N: NDArray[np.int64], patch_px: int, side_px: int) -> Span:
    """[c - P // 2, c - P // 2 + P) around each centre, cut at the border of the photo."""
    start_N = centres_N - patch_px // 2
    return Span(np.maximum(start_N, 0), np.minimum(start_N + patch_px, side_px))


def whole(n_positions: int, size: int) -> Span:
    """Everything, at every position."""
    return Span(np.zeros(n_positions, np.int64), np.full(n_positions, size))


def hull(spans: Sequence[Span]) -> Span:
    """The shortest intervals around those of several maps of one size."""
    starts, stops = zip(*spans, strict=True)
    return Span(np.minimum.reduce(starts), np.maximum.reduce(stops))


def slid(span: Span, slide: Slide, n_out: int) -> Span:
    """Outputs whose window holds an input of the span."""
    first_N = -((slide.reach - slide.padding - span.start_N) // slide.stride)
    start_N = np.clip(first_N, 0, n_out)
    last_N = (span.stop_N - 1 + slide.padding) // slide.stride
    return Span(start_N, np.maximum(np.minimum(last_N + 1, n_out), start_N))


def alike(lengths_NL: NDArray[np.int64], weights_L: NDArray[np.float64], n_groups: int) -> list:
    """Sort positions into few groups whose intervals are about equally long at every layer.

    All positions of a group are computed with its longest intervals, at the square of their length
    times the layer's weight. Greedy: the two groups that cost least together are joined first.

    Args:
        lengths_NL: interval length by position and layer.
        weights_L: cost of a layer's output.
        n_groups: at most so many.

    Returns:
        The positions of each group, an int64 array each.
    """
    longest, inverse_N = np.unique(lengths_NL, axis=0, return_inverse=True)
    members = [np.flatnonzero(inverse_N == g) for g in range(len(longest))]
    groups = list(zip(longest, members, strict=True))
    while len(groups) > n_groups:
        first, second = min(_pairs(len(groups)), key=lambda ij: _loss(groups, *ij, weights_L))
        (long, some), (also_long, others) = groups[first], groups.pop(second)
        groups[first] = (np.maximum(long, also_long), np.sort(np.append(some, others)))
    return [members for _, members in groups]


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(i, j) for j in range(n) for i in range(j)]


def _loss(groups: list, i: int, j: int, weights_L: NDArray[np.float64]) -> float:
    """What joining two groups adds to the cost of both."""
    (long, some), (also_long, others) = groups[i], groups[j]
    apart = len(some) * long**2 + len(others) * also_long**2
    together = (len(some) + len(others)) * np.maximum(long, also_long) ** 2
    return float((together - apart) @ weights_L)
