"""The second network of a stage: frozen, it teaches; or its weights are mixed into the first's."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from trainables.errors import ConfigError
from trainables.models import Network
from trainables.models.weights import interpolated, load_all
from trainables.spec import StageSpec
from trainables.stage_files import WEIGHTS
from trainables.store import read_entry


def read_teacher(network: Network, folder: Path, spec: StageSpec) -> Network:
    """Fill a network with a teacher's weights.

    Args:
        network: of the stage's kind.
        folder: the teacher's entry in the store.
        spec: of the stage that it teaches.

    Raises:
        ConfigError: when the folder holds another stage.
    """
    entry = read_entry(folder)
    if entry is None or entry.key != spec.teacher:
        raise ConfigError(f"{folder} does not hold the teacher")
    load_all(network, load_file(entry.path(WEIGHTS)))
    return network


def frozen(teacher: Network, device: torch.device) -> nn.Module:
    """A teacher as the training loop asks it."""
    return teacher.module.to(device).to(memory_format=torch.channels_last).eval()


def interpolate(network: Network, teacher: Network, share: float) -> None:
    """Move a network's weights towards a teacher's by a share of the way (WiSE-FT)."""
    own, other = network.module.state_dict(), teacher.module.state_dict()
    load_all(network, interpolated(own, other, share))
