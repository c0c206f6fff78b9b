"""A network that computes again only what a patch over the photo changes."""

import torch
from torch import Tensor, nn

from trainables.frames import gather, mask
from trainables.occluded_graph import steps_of
from trainables.occluded_layers import Change, UntraceableError
from trainables.occlusion_plan import Batch, batches_of, multiply_adds
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
        self.batches = list(batches_of(self._steps, self._shapes, patch, device))

    def bases(self, photos_BCHW: Tensor) -> dict[str, Tensor]:
        """Every layer's result on photos without a patch, by the layer's name."""
        bases = {self._photo: photos_BCHW}
        for step in self._steps:
            base = step.layer.compute(*[bases[name] for name in step.sources])
            bases[step.name] = _channels_last(base)
        return bases

    def differences(self, bases: dict[str, Tensor], grey_C11: Tensor, batch: Batch) -> Tensor:
        """What the patch changes in the logits, (B, classes), at the positions of a batch.

        Args:
            bases: from `bases`, of one photo.
            grey_C11: the patch's value, normalised.
            batch: one of `batches`.
        """
        changes = {self._photo: self._patched(bases[self._photo], grey_C11, batch)}
        for step in self._steps:
            base, frame = bases[step.name], batch.frames.get(step.name)
            delta = step.layer.delta([changes[name] for name in step.sources], base, frame)
            changes[step.name] = Change(base, delta, frame)
            for name in step.spent:
                del changes[name]
        return changes[self._steps[-1].name].delta

    def multiply_adds(self) -> int:
        """Products of one map; those with differences that are zero for sure are not counted."""
        return multiply_adds(self._steps, self._shapes, self.batches)

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


def _channels_last(base: Tensor) -> Tensor:
    return base.contiguous(memory_format=torch.channels_last) if base.ndim == 4 else base
