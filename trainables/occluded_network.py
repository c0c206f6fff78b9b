"""A network that computes again only what a patch over the photo changes.

B positions of a patch, C channels, H W pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Size, Tensor, nn

from trainables.frames import gather, mask
from trainables.occluded_graph import Step, steps_of
from trainables.occluded_layers import Change, UntraceableError
from trainables.occlusion_plan import Batch, batches_of, joined, multiply_adds
from trainables.patch_reach import Span


class OccludedNetwork:
    """What patches change in a network's result.

    Args:
        network: in eval mode, on its device; not changed.
        like_1CHW: an input of the right size and device.
        patch: where the patch is by centre, along rows and along columns.

    Raises:
        UntraceableError: when its layers cannot be had.
    """

    def __init__(self, network: nn.Module, like_1CHW: Tensor, patch: tuple[Span, Span]) -> None:
        self._steps = steps_of(network)
        self._photo = self._steps[0].sources[0]
        self._check(network, like_1CHW)
        self._shapes = {name: base.shape for name, base in self.bases(like_1CHW).items()}
        device = like_1CHW.device.type
        self._batches = list(batches_of(self._steps, self._shapes, patch, device))
        n_head = len(self._steps) - _n_dense(self._steps, self._shapes)
        self._head, self._dense = self._steps[:n_head], self._steps[n_head:]
        n_features = max(self._shapes[step.name].numel() for step in self._steps[n_head - 1 :])
        self._joined = joined(self._batches, n_features, device)

    def bases(self, photos_BCHW: Tensor) -> dict[str, Tensor]:
        """Every layer's result on photos without a patch, by the layer's name."""
        bases = {self._photo: photos_BCHW}
        for step in self._steps:
            base = step.layer.compute(*[bases[name] for name in step.sources])
            bases[step.name] = _channels_last(base)
        return bases

    def moved(
        self, bases: dict[str, Tensor], grey_C11: Tensor
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Tensor]]:
        """What the patch changes in the logits, at all positions.

        Fully connected layers read all their weights each time: they get many positions at once.

        Args:
            bases: from `bases`, of one photo.
            grey_C11: the patch's value, normalised.

        Yields:
            Rows (B,) and columns (B,) in the grid of centres; differences (B, classes).
        """
        for batches in self._joined:
            delta = torch.cat([self._differences(bases, grey_C11, batch) for batch in batches])
            for step in self._dense:
                change = Change(bases[step.sources[0]], delta, None)
                delta = step.layer.delta([change], bases[step.name], None)
            places = zip(*[(batch.row_B, batch.column_B) for batch in batches], strict=True)
            row_B, column_B = (np.concatenate(axis) for axis in places)
            yield row_B, column_B, delta

    def _differences(self, bases: dict[str, Tensor], grey_C11: Tensor, batch: Batch) -> Tensor:
        """Those of the last layer before the dense ones."""
        changes = {self._photo: self._patched(bases[self._photo], grey_C11, batch)}
        for step in self._head:
            base, frame = bases[step.name], batch.frames.get(step.name)
            delta = step.layer.delta([changes[name] for name in step.sources], base, frame)
            changes[step.name] = Change(base, delta, frame)
            for name in step.spent:
                del changes[name]
        return changes[self._head[-1].name].delta

    def multiply_adds(self) -> int:
        """Products of one map; those with differences that are zero for sure are not counted."""
        return multiply_adds(self._steps, self._shapes, self._batches)

    def _patched(self, photo_1CHW: Tensor, grey_C11: Tensor, batch: Batch) -> Change:
        frame = batch.frames[self._photo]
        inside = mask(*batch.patch, frame, photo_1CHW.device)
        return Change(photo_1CHW, (grey_C11 - gather(photo_1CHW, frame)) * inside, frame)

    def _check(self, network: nn.Module, like_1CHW: Tensor) -> None:
        """Its layers one by one must give the network's own result, photo by photo."""
        generator = torch.Generator(like_1CHW.device).manual_seed(0)
        shape = (2, *like_1CHW.shape[1:])
        photos = torch.randn(shape, generator=generator, device=like_1CHW.device)
        expected, bases = network(photos), self.bases(photos)
        if not all(isinstance(base, Tensor) and len(base) == 2 for base in bases.values()):
            raise UntraceableError("a layer's result is not one per photo")
        for step in self._steps:
            if step.layer.slides and bases[step.name].ndim != 4:
                raise UntraceableError(f"{step.name} gives no map")
        slack = 1e-4 * float(expected.abs().max())
        if not torch.allclose(bases[self._steps[-1].name], expected, rtol=1e-3, atol=slack):
            raise UntraceableError("its layers do not give its result")


def _n_dense(steps: Sequence[Step], shapes: Mapping[str, Size]) -> int:
    """Layers at the end, one after the other, that go from features to features."""
    n = 0
    for before, step in reversed(list(pairwise(steps))):
        if step.sources != (before.name,) or len(shapes[before.name]) != 2:
            break
        n += 1
    return n


def _channels_last(base: Tensor) -> Tensor:
    return base.contiguous(memory_format=torch.channels_last) if base.ndim == 4 else base
