"""How each kind of layer passes on what patches change in its input.

Passed on is the difference to the photo without a patch, in a small window a position. A linear
layer needs nothing else: no surroundings, no bias. Any other needs values: it adds the photo's own,
which are kept, and subtracts its result on them. That only the changed part of a layer need be
computed again is Krypton's idea (Nakandala et al., SIGMOD 2019).
B patch positions, C channels, H W map, h w window, F features.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.frames import Frame, gather, inputs_of, outputs_of, reframe
from trainables.patch_reach import Slide, Span, hull, slid, whole


class UntraceableError(Exception):
    """A network cannot be taken apart into layers; it has to be computed as a whole."""


class Change(NamedTuple):
    """A layer's result on the photo, `base` (1, ...), and the patches' difference to it (B, ...).

    `frame` is where in the map the difference lies; None for a result that is no map.
    """

    base: Tensor
    delta: Tensor
    frame: Frame | None

    def full(self) -> Tensor:
        """The difference everywhere, with zeros around the windows."""
        if self.frame is None or self.frame.covers(self.base):
            return self.delta
        corner_B = self.frame.top_B * 0
        return reframe(self.delta, self.frame, Frame(corner_B, corner_B, *self.base.shape[2:]))

    def values(self) -> Tensor:
        """The result itself inside the windows."""
        return gather(self.base, self.frame) + self.delta


class Layer(NamedTuple):
    """One layer of the network, as three functions.

    `compute` goes from the results before it to its own and leaves them as they are. `span` goes
    from where those differ along an axis (0 rows, 1 columns) to where its own does, given its size
    there. `delta` goes from their changes, its own base and its own frame to its difference.
    `products` are the multiply-adds of one output value; only a layer with `slides` needs maps.
    """

    compute: Callable[..., Tensor]
    span: Callable[[Sequence[Span], int, int], Span]
    delta: Callable[[Sequence[Change], Tensor, Frame | None], Tensor]
    products: int = 0
    slides: tuple[Slide, Slide] | None = None


def _everywhere(spans: Sequence[Span], _axis: int, n_out: int) -> Span:
    return whole(len(spans[0].start_N), n_out)


def _same(spans: Sequence[Span], _axis: int, _n_out: int) -> Span:
    return hull(spans)


def unknown(compute: Callable[..., Tensor]) -> Layer:
    """Anything: it gets whole results, and its own is taken to differ as a whole."""

    def delta(changes: Sequence[Change], base: Tensor, _frame: Frame | None) -> Tensor:
        return compute(*[change.base + change.full() for change in changes]) - base

    return Layer(_sparing(compute), _everywhere, delta)


def _sparing(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """On copies: a layer may work in place, and what it is given is others' input too."""
    return lambda *results: compute(*[result.clone() for result in results])


def pointwise(compute: Callable[[Tensor], Tensor]) -> Layer:
    """What treats each position of a map alone: activations, normalisation across channels."""

    def delta(changes: Sequence[Change], base: Tensor, frame: Frame | None) -> Tensor:
        return compute(changes[0].values()) - gather(base, frame)

    return Layer(_sparing(compute), _same, delta)


def passing(compute: Callable[[Tensor], Tensor]) -> Layer:
    """What does nothing in eval mode: dropout."""
    return Layer(compute, _same, lambda changes, _base, _frame: changes[0].delta)


def batch_norm(module: nn.BatchNorm2d) -> Layer:
    """A factor a channel; the shift cancels in differences."""
    if module.running_var is None:  # statistics of the batch even in eval mode
        return unknown(module)
    factor_C = (module.running_var + module.eps).rsqrt()
    if module.affine:
        factor_C = factor_C * module.weight
    factor_C11 = factor_C[:, None, None]
    return Layer(module, _same, lambda changes, _base, _frame: changes[0].delta * factor_C11)


def addition(compute: Callable[[Tensor, Tensor], Tensor]) -> Layer:
    """The sum of two maps."""

    def delta(changes: Sequence[Change], _base: Tensor, frame: Frame | None) -> Tensor:
        first, second = [_seen(change, frame) for change in changes]
        return first + second

    def of_one_shape(first: Tensor, second: Tensor) -> Tensor:
        if first.shape != second.shape:
            raise UntraceableError("it adds results of different shapes")
        return compute(first.clone(), second)

    return Layer(of_one_shape, _same, delta)


def concatenation(compute: Callable[..., Tensor]) -> Layer:
    """Maps stacked by channel."""

    def delta(changes: Sequence[Change], _base: Tensor, frame: Frame | None) -> Tensor:
        return torch.cat([_seen(change, frame) for change in changes], 1)

    return Layer(compute, _same, delta)


def _seen(change: Change, frame: Frame | None) -> Tensor:
    if change.frame is None or frame is None:
        return change.delta
    return reframe(change.delta, change.frame, frame)


def linear(module: nn.Linear) -> Layer:
    """A product with the weights."""

    def delta(changes: Sequence[Change], _base: Tensor, _frame: Frame | None) -> Tensor:
        return F.linear(changes[0].full(), module.weight)

    return Layer(module, _everywhere, delta, module.in_features)


def convolution(module: nn.Conv2d) -> Layer:
    """A convolution of the differences, bare of bias and surroundings."""
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return unknown(module)
    slides = slides_of(module)
    convolve = _bare(module)

    def delta(changes: Sequence[Change], base: Tensor, frame: Frame | None) -> Tensor:
        differences, source, target = _maps(changes, frame)
        if source.covers(changes[0].base) and target.covers(base):
            return convolve(differences, module.stride, module.padding)
        if module.stride != (1, 1):
            canvas = inputs_of(target, *slides)
            return convolve(reframe(differences, source, canvas), module.stride, 0)
        # All that the windows reach, by padding them: on a CPU its products cost nothing.
        spread = convolve(differences, 1, [slide.reach for slide in slides])
        return reframe(spread, outputs_of(source, *slides), target)

    return Layer(module, _slid(slides), delta, module.weight[0].numel(), slides)


def _bare(module: nn.Conv2d) -> Callable[..., Tensor]:
    """The convolution as a function of input, stride and padding.

    Weights are channels last, which keeps oneDNN on kernels that leave out what is padding.
    """
    weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
    return lambda x_BCHW, stride, padding: F.conv2d(
        x_BCHW, weight, None, stride, padding, module.dilation, module.groups
    )


def _maps(changes: Sequence[Change], frame: Frame | None) -> tuple[Tensor, Frame, Frame]:
    """The differences in the one input, where they lie, and where those of the output shall."""
    (change,) = changes
    if change.frame is None or frame is None:
        raise TypeError("a layer of sliding windows takes and gives maps")
    return change.delta, change.frame, frame


def max_pool(module: nn.MaxPool2d) -> Layer:
    """Maxima over the windows' values and, around them, the photo's."""
    if module.return_indices:
        return unknown(module)
    slides = slides_of(module)

    def delta(changes: Sequence[Change], base: Tensor, frame: Frame | None) -> Tensor:
        differences, source, target = _maps(changes, frame)
        canvas = inputs_of(target, *slides)
        top, left, padded = _with_margins(changes[0].base, base, slides)
        values = gather(padded, canvas.moved(top, left))
        values = values + reframe(differences, source, canvas)
        pooled = F.max_pool2d(values, module.kernel_size, module.stride, 0, module.dilation)
        return pooled - gather(base, target)

    return Layer(module, _slid(slides), delta, slides=slides)


def _with_margins(
    source: Tensor, result: Tensor, slides: tuple[Slide, Slide]
) -> tuple[int, int, Tensor]:
    """A map amid -inf, as far as the windows of a pooling go; first the rows and columns added."""
    margins = []
    for slide, axis in zip(slides, (2, 3), strict=True):
        beyond = slide.inputs(result.shape[axis]) - slide.padding - source.shape[axis]
        margins = [slide.padding, max(0, beyond), *margins]
    return slides[0].padding, slides[1].padding, F.pad(source, margins, value=-torch.inf)


def average_pool(module: nn.AvgPool2d) -> Layer:
    """Sums over the windows, each divided as the layer divides there."""
    slides = slides_of(module)
    kernel, stride, padding = module.kernel_size, module.stride, module.padding
    sums = nn.AvgPool2d(kernel, stride, padding, module.ceil_mode, divisor_override=1)

    def delta(changes: Sequence[Change], _base: Tensor, frame: Frame | None) -> Tensor:
        differences, source, target = _maps(changes, frame)
        canvas = reframe(differences, source, inputs_of(target, *slides))
        totals = F.avg_pool2d(canvas, kernel, stride, divisor_override=1)
        ones = torch.ones_like(changes[0].base[:, :1])
        return totals * gather(module(ones) / sums(ones), target)

    return Layer(module, _slid(slides), delta, slides=slides)


def adaptive_average_pool(compute: Callable[[Tensor], Tensor]) -> Layer:
    """One average of the whole map needs the windows alone; of other sizes nothing is known."""
    whatever = unknown(compute)

    def delta(changes: Sequence[Change], base: Tensor, frame: Frame | None) -> Tensor:
        (change,) = changes
        if base.shape[2:] != (1, 1):
            return whatever.delta(changes, base, frame)
        return change.delta.sum((2, 3), keepdim=True) / change.base[0, 0].numel()

    return Layer(compute, _everywhere, delta)


def _slid(slides: tuple[Slide, Slide]) -> Callable[[Sequence[Span], int, int], Span]:
    return lambda spans, axis, n_out: slid(spans[0], slides[axis], n_out)


def slides_of(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> tuple[Slide, Slide]:
    """A layer's sliding along rows and along columns."""
    dilation = 1 if isinstance(module, nn.AvgPool2d) else module.dilation
    numbers = (module.kernel_size, module.stride, module.padding, dilation)
    vertical, horizontal = zip(*[_pair(number) for number in numbers], strict=True)
    return Slide(*vertical), Slide(*horizontal)


def _pair(number: int | str | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(number, str):
        raise TypeError(f"padding {number!r} is no number of pixels")
    return (number, number) if isinstance(number, int) else (number[0], number[1])
