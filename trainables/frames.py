"""Frames: one small window per patch position into maps of one size.

B patch positions of a batch, C channels, H W the map, h w the window. Memory is channels last
throughout, so that a window is gathered in whole rows of channels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from trainables.patch_reach import Slide, Span


@dataclass(frozen=True)
class Frame:
    """Equally large windows, the top left corner of each by position.

    Corners may be negative where a window takes in a layer's padding.
    """

    top_B: NDArray[np.int64]
    left_B: NDArray[np.int64]
    height: int
    width: int

    @property
    def area(self) -> int:
        """Positions in one window."""
        return self.height * self.width

    def covers(self, map_1CHW: Tensor) -> bool:
        """Whether every window is the whole map."""
        return (self.height, self.width) == map_1CHW.shape[2:]

    def moved(self, down: int, right: int) -> "Frame":
        """The same windows elsewhere."""
        return Frame(self.top_B + down, self.left_B + right, self.height, self.width)


def frame_around(rows: Span, columns: Span, height: int, width: int) -> Frame:
    """The smallest equal windows inside the map that hold each position's own interval."""
    tall = max(1, int((rows.stop_N - rows.start_N).max()))
    wide = max(1, int((columns.stop_N - columns.start_N).max()))
    top_B = np.minimum(rows.start_N, height - tall)
    left_B = np.minimum(columns.start_N, width - wide)
    return Frame(top_B, left_B, tall, wide)


def inputs_of(frame: Frame, vertical: Slide, horizontal: Slide) -> Frame:
    """The windows, padding included, that a sliding layer needs to give those of `frame`."""
    return Frame(
        frame.top_B * vertical.stride - vertical.padding,
        frame.left_B * horizontal.stride - horizontal.padding,
        vertical.inputs(frame.height),
        horizontal.inputs(frame.width),
    )


def outputs_of(frame: Frame, vertical: Slide, horizontal: Slide) -> Frame:
    """All windows that a layer of stride 1 gives from those of `frame` and zeros around them."""
    down, right = vertical.reach, horizontal.reach
    moved = frame.moved(vertical.padding - down, horizontal.padding - right)
    return Frame(moved.top_B, moved.left_B, frame.height + down, frame.width + right)


def gather(map_1CHW: Tensor, frame: Frame | None) -> Tensor:
    """Windows (B, C, h, w) out of a map; the map itself, to be broadcast, where they cover it.

    With no frame, a result that is no map as a whole.
    """
    if frame is None or frame.covers(map_1CHW):
        return map_1CHW
    device = map_1CHW.device
    rows_Bh = _runs(frame.top_B, frame.height, device)
    columns_Bw = _runs(frame.left_B, frame.width, device)
    index_Bhw = rows_Bh[:, :, None] * map_1CHW.shape[3] + columns_Bw[:, None, :]
    return _taken(map_1CHW, index_Bhw)


def reframe(windows_BCHW: Tensor, source: Frame, target: Frame) -> Tensor:
    """Windows as seen through other frames of the same map: cut, and zero where they end."""
    down_B, right_B = target.top_B - source.top_B, target.left_B - source.left_B
    if (down_B == down_B[0]).all() and (right_B == right_B[0]).all():
        return _shifted(windows_BCHW, source, target, int(down_B[0]), int(right_B[0]))
    device = windows_BCHW.device
    rows_Bh, rows_inside = _clamped(down_B, target.height, source.height, device)
    columns_Bw, columns_inside = _clamped(right_B, target.width, source.width, device)
    first_B = torch.arange(len(down_B), device=device) * source.height
    index_Bhw = (first_B[:, None] + rows_Bh)[:, :, None] * source.width + columns_Bw[:, None, :]
    taken_BCHW = _taken(windows_BCHW, index_Bhw)
    if rows_inside is not None:
        taken_BCHW *= rows_inside[:, None, :, None]
    if columns_inside is not None:
        taken_BCHW *= columns_inside[:, None, None, :]
    return taken_BCHW


def _shifted(x_BCHW: Tensor, source: Frame, target: Frame, down: int, right: int) -> Tensor:
    below = target.height - source.height + down
    beside = target.width - source.width + right
    margins = (-right, beside, -down, below)
    return F.pad(x_BCHW, margins) if any(margins) else x_BCHW


def _clamped(
    start_B: NDArray[np.int64], length: int, size: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Runs cut to 0 .. size - 1, and which of their numbers were there already; None if all."""
    runs = _runs(start_B, length, device)
    if start_B.min() >= 0 and start_B.max() + length <= size:
        return runs, None
    return runs.clamp(0, size - 1), (runs >= 0) & (runs < size)


def mask(rows: Span, columns: Span, frame: Frame, device: torch.device) -> Tensor:
    """Bool (B, 1, h, w): which pixels of the windows lie in both intervals."""
    down_Bh = _between(frame.top_B, frame.height, rows, device)
    across_Bw = _between(frame.left_B, frame.width, columns, device)
    return (down_Bh[:, :, None] & across_Bw[:, None, :])[:, None]


def _between(start_B: NDArray[np.int64], length: int, span: Span, device: torch.device) -> Tensor:
    runs = _runs(start_B, length, device)
    low_B1 = torch.from_numpy(span.start_N).to(device)[:, None]
    high_B1 = torch.from_numpy(span.stop_N).to(device)[:, None]
    return (runs >= low_B1) & (runs < high_B1)


def _runs(start_B: NDArray[np.int64], length: int, device: torch.device) -> Tensor:
    """`length` numbers on from each start, (B, length)."""
    return torch.from_numpy(start_B).to(device)[:, None] + torch.arange(length, device=device)


def _taken(values_BCHW: Tensor, index_Bhw: Tensor) -> Tensor:
    rows_RC = values_BCHW.permute(0, 2, 3, 1).reshape(-1, values_BCHW.shape[1])
    taken_RC = rows_RC.index_select(0, index_Bhw.flatten())
    return taken_RC.view(*index_Bhw.shape, -1).permute(0, 3, 1, 2)
