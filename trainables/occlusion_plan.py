"""Which patch positions are computed together, and in which windows of every layer.

N patch centres along an axis, L layers, B positions of a batch, P those of a group.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Size

from trainables.frames import Frame, frame_around
from trainables.occluded_graph import Step
from trainables.patch_reach import Span, alike, whole

#: Rows are sorted into few groups of equal windows, and so are columns. With more, windows fit
#: better, but their groups get smaller: they shall have about so many positions.
MAX_GROUPS, POSITIONS_OF_GROUP = 6, 64
#: Work of an output value besides its products: it is read and written several times.
PASSES = 40
#: Positions computed at once: at most so many, and so many bytes for the largest result.
MAX_POSITIONS = {"cpu": 256, "cuda": 4096}
MAX_BYTES = {"cpu": 1 << 26, "cuda": 1 << 30}
FLOAT_BYTES = 4

Shapes = Mapping[str, Size]
#: Where the photo and every layer's result differ, along one axis.
Spans = dict[str, Span]


class Batch(NamedTuple):
    """Positions by their places in the grid of centres; the patch there, and every map's frame."""

    row_B: NDArray[np.int64]
    column_B: NDArray[np.int64]
    patch: tuple[Span, Span]
    frames: dict[str, Frame]


def batches_of(
    steps: Sequence[Step], shapes: Shapes, patch: tuple[Span, Span], device: str
) -> Iterator[Batch]:
    """All positions, in batches of equal windows.

    Args:
        steps: the network's layers.
        shapes: of the photo and of every layer's result, (1, ...).
        patch: where the patch is by centre, along rows and along columns.
        device: `cpu` or `cuda`.
    """
    rows, columns = (_spans(steps, shapes, patch[axis], axis) for axis in (0, 1))
    for row_group in _groups(steps, shapes, rows):
        for column_group in _groups(steps, shapes, columns):
            grid = np.meshgrid(row_group, column_group, indexing="ij")
            row_P, column_P = (places.ravel() for places in grid)
            frames = _frames(shapes, rows, columns, (row_P, column_P))
            n = _at_once(shapes, frames, device)
            for start in range(0, len(row_P), n):
                places = row_P[start : start + n], column_P[start : start + n]
                spans = patch[0].at(places[0]), patch[1].at(places[1])
                yield Batch(*places, spans, _frames(shapes, rows, columns, places))


def joined(batches: Sequence[Batch], n_features: int, device: str) -> list[list[Batch]]:
    """Neighbouring batches together, for layers whose largest result has so many features."""
    at_once = min(MAX_POSITIONS[device], MAX_BYTES[device] // (n_features * FLOAT_BYTES))
    groups: list[list[Batch]] = []
    room = 0
    for batch in batches:
        if len(batch.row_B) > room:
            groups.append([])
            room = at_once
        groups[-1].append(batch)
        room -= len(batch.row_B)
    return groups


def multiply_adds(steps: Sequence[Step], shapes: Shapes, batches: Sequence[Batch]) -> int:
    """Products of all batches; those with differences that are zero for sure are not counted."""
    return sum(
        len(batch.row_B) * _products(step, shapes[step.name], batch.frames)
        for batch in batches
        for step in steps
    )


def _products(step: Step, shape: Size, frames: Mapping[str, Frame]) -> int:
    slides = step.layer.slides
    if slides is None:
        return step.layer.products * shape[1:].numel()
    area = frames[step.name].area
    if slides[0].stride == slides[1].stride == 1:
        area = min(area, frames[step.sources[0]].area)
    return step.layer.products * shape[1] * area


def _spans(steps: Sequence[Step], shapes: Shapes, patch: Span, axis: int) -> Spans:
    spans = {steps[0].sources[0]: patch}
    for step in steps:
        shape = shapes[step.name]
        sources = [spans[name] for name in step.sources]
        is_map = len(shape) == 4
        spans[step.name] = (
            step.layer.span(sources, axis, shape[2 + axis])
            if is_map
            else whole(len(patch.start_N), 1)
        )
    return spans


def _groups(steps: Sequence[Step], shapes: Shapes, spans: Spans) -> list[NDArray[np.int64]]:
    lengths_NL = np.stack([span.stop_N - span.start_N for span in spans.values()], axis=1)
    products = {step.name: step.layer.products for step in steps}
    weights = [float(shapes[name][1] * (products.get(name, 0) + PASSES)) for name in spans]
    n_groups = max(1, round(len(lengths_NL) / POSITIONS_OF_GROUP**0.5))
    return alike(lengths_NL, np.array(weights), min(MAX_GROUPS, n_groups))


def _frames(
    shapes: Shapes,
    rows: Spans,
    columns: Spans,
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> dict[str, Frame]:
    return {
        name: frame_around(rows[name].at(places[0]), columns[name].at(places[1]), *shape[2:])
        for name, shape in shapes.items()
        if len(shape) == 4
    }


def _at_once(shapes: Shapes, frames: Mapping[str, Frame], device: str) -> int:
    largest = max(shapes[name][1] * frame.area for name, frame in frames.items())
    return max(1, min(MAX_POSITIONS[device], MAX_BYTES[device] // (largest * FLOAT_BYTES)))
