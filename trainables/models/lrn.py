"""Local response normalisation across channels, several times faster than torch's.

B C H W as usual; R: rows, one per photo and position, as channels-last memory holds them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from trainables.models import own_kernels

SIZE = 5
REACH = SIZE // 2
ALPHA = 1e-4
BETA = 0.75
K = 1.0
#: Elements worked on at once by a CPU thread: few enough that they stay in its cache.
CHUNK_ELEMENTS = 1 << 17


class LocalResponseNorm(nn.Module):
    """Caffe's LRN: y = x / (1 + alpha / 5 * sum of x^2 over 5 neighbouring channels)^0.75.

    alpha is 1e-4, divided by the window's size as Caffe and torch do. Equal to
    `torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)`; inside, half precision is widened to float32.
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Normalise; fastest on channels-last memory, which the result always has."""
        if torch.compiler.is_compiling():
            return F.local_response_norm(images_BCHW, SIZE, ALPHA, BETA, K)
        if images_BCHW.dtype != torch.float64 and own_kernels.run_on(images_BCHW.device):
            return _on_gpu(images_BCHW)
        return _Normalise.apply(images_BCHW)  # pyright: ignore[reportReturnType]


def _on_gpu(images_BCHW: Tensor) -> Tensor:
    from trainables.models.lrn_kernels import Normalise  # Triton is where GPUs are

    rows_RC: Any = Normalise.apply(_rows(images_BCHW).contiguous())
    return _images(rows_RC, images_BCHW)


class _Normalise(torch.autograd.Function):
    """dx = g t^-b - 2 a b / n * x * window_sum(g x t^-(b + 1)), with t the bracket above.

    t^-1/2 is kept for the way back: to read it is cheaper than to sum and to take the root again.
    """

    @staticmethod
    def forward(ctx: Any, images_BCHW: Tensor) -> Tensor:
        x_RC = _rows(images_BCHW)
        # each channel, those of the padding too, brings its fifth of the constant to the sum
        y_RC, works = torch.empty_like(x_RC), _works(x_RC, border=K / SIZE)
        wide, kept = works[0].x, ctx.needs_input_grad[0]
        root_RC = torch.empty_like(x_RC, dtype=wide.dtype) if kept else None
        roots = [work.other for work in works] if root_RC is None else _chunks(root_RC)
        constant = wide.new_tensor(K / SIZE)
        for work, narrow, y, root in zip(works, _chunks(x_RC), _chunks(y_RC), roots, strict=True):
            x = work.x.copy_(narrow)
            torch.addcmul(constant, x, x, value=ALPHA / SIZE, out=work.windows.inner)
            torch.rsqrt(work.windows.sums(), out=root)
            torch.mul(_three_quarters(root, work.made), x, out=y)
        ctx.save_for_backward(images_BCHW, root_RC)
        return _images(y_RC, images_BCHW)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads_BCHW: Tensor
    ) -> Tensor:
        images_BCHW, root_RC = ctx.saved_tensors
        x_RC, grad_RC = _rows(images_BCHW), _rows(grads_BCHW[0])
        dx_RC, works = torch.empty_like(x_RC), _works(x_RC, border=0.0)
        parts = map(_chunks, (x_RC, grad_RC, root_RC, dx_RC))
        for work, narrow, grad, root, dx in zip(works, *parts, strict=True):
            x = work.x.copy_(narrow)
            direct = _three_quarters(root, work.made).mul_(grad)
            products = torch.mul(root, root, out=work.other).mul_(direct)
            torch.mul(products, x, out=work.windows.inner)
            sums = work.windows.sums()
            torch.addcmul(direct, sums, x, value=-2 * BETA * ALPHA / SIZE, out=dx)
        return _images(dx_RC, images_BCHW)


def _three_quarters(root: Tensor, out: Tensor) -> Tensor:
    """t^-3/4 of t^-1/2: cheaper than a power, and than a square root, which goes through MKL."""
    torch.rsqrt(root, out=out)
    return torch.div(root, out, out=out)


class _Work:
    """Buffers of one chunk, (R, C) each, used for every chunk, so that they stay in its cache."""

    def __init__(self, like_RC: Tensor, border: float) -> None:
        n_rows, channels = like_RC.shape
        wide = torch.promote_types(like_RC.dtype, torch.float32)
        self.x, self.made, self.other = (torch.empty_like(like_RC, dtype=wide) for _ in range(3))
        self.windows = _Windows(self.x.new_full((n_rows, channels + 2 * REACH), border))


class _Windows:
    """Sums over the 5 channels around each, in three additions of one long vector.

    `inner` lies in padded rows, with two more channels at either end.
    """

    def __init__(self, padded_RC: Tensor) -> None:
        first_RC, second_RC = torch.empty_like(padded_RC), torch.empty_like(padded_RC)
        row, first, second = (tensor.view(-1) for tensor in (padded_RC, first_RC, second_RC))
        self.inner = padded_RC[:, REACH:-REACH]
        self._sums = first_RC[:, : -2 * REACH]
        self._additions = (
            (row[:-1], row[1:], first[:-1]),
            (first[:-3], first[2:-1], second[:-3]),
            (second[:-4], row[4:], first[:-4]),
        )

    def sums(self) -> Tensor:
        for left, right, out in self._additions:
            torch.add(left, right, out=out)
        return self._sums


def _works(rows_RC: Tensor, border: float) -> list[_Work]:
    """One a chunk; all but the last may be the same."""
    chunks = _chunks(rows_RC)
    made = _Work(chunks[0], border)
    same = len(chunks[-1]) == len(chunks[0])
    return [made] * (len(chunks) - 1) + [made if same else _Work(chunks[-1], border)]


def _rows(images_BCHW: Tensor) -> Tensor:
    """All positions as rows of channels; a view where memory is channels last."""
    return images_BCHW.permute(0, 2, 3, 1).reshape(-1, images_BCHW.shape[1])


def _images(rows_RC: Tensor, like_BCHW: Tensor) -> Tensor:
    batch, channels, height, width = like_BCHW.shape
    return rows_RC.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _chunks(rows_RC: Tensor) -> tuple[Tensor, ...]:
    if rows_RC.device.type != "cpu":
        return (rows_RC,)
    n_rows = CHUNK_ELEMENTS * torch.get_num_threads() // rows_RC.shape[1] + 1
    return rows_RC.split(n_rows)
