"""Where this program's own kernels run."""

import os
from functools import cache
from importlib.util import find_spec

import torch

os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # Triton 3.9 warns where it is left out

#: Of NVIDIA's compute capability: Volta (2017); Triton compiles for no older one.
OLDEST = (7, 0)


@cache
def run_on(device: torch.device) -> bool:
    """Whether a device is a GPU that Triton compiles for; elsewhere torch's operations serve."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= OLDEST
