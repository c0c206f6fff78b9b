"""A trained forest: its spec, its identity and its tables."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainables.superres.forest_spec import ForestSpec


@dataclass(frozen=True, eq=False)
class Forest:
    """Everything that enlarging needs; float32, all tensors on one device.

    Shape legend: P pixels of a patch, K axes, T trees, M nodes, L leaves.

    Attributes:
        spec: what it was trained as.
        images_key: hash of the training images' pixels.
        axes_PK: principal axes of coarse patches.
        directions_TM2K: both directions of every node.
        maps_TLKP: from a unit patch on the axes to the detail it lacks.
    """

    spec: ForestSpec
    images_key: str
    axes_PK: Tensor
    directions_TM2K: Tensor
    maps_TLKP: Tensor

    def to(self, device: torch.device | str) -> "Forest":
        """The same forest on another device."""
        return replace(
            self,
            axes_PK=self.axes_PK.to(device),
            directions_TM2K=self.directions_TM2K.to(device),
            maps_TLKP=self.maps_TLKP.to(device),
        )

    @property
    def device(self) -> torch.device:
        """Where its tables lie."""
        return self.axes_PK.device
