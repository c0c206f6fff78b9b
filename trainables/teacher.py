"""The second network of a stage: frozen, it teaches; or its weights are mixed into the first's."""

import torch
from torch import nn

from trainables.models import Network
from trainables.models.weights import interpolated, load_all


def frozen(teacher: Network, device: torch.device) -> nn.Module:
    """A teacher as the training loop asks it."""
    return teacher.module.to(device).to(memory_format=torch.channels_last).eval()


def interpolate(network: Network, teacher: Network, share: float) -> None:
    """Move a network's weights towards a teacher's by a share of the way (WiSE-FT)."""
    own, other = network.module.state_dict(), teacher.module.state_dict()
    load_all(network, interpolated(own, other, share))
