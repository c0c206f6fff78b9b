"""Local response normalisation across channels, many times faster than torch's.

B C H W as usual; R: rows, one per photo and position, as channels-last memory holds them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.models import own_kernels

SIZE = 5
ALPHA = 1e-4
BETA = 0.75
K = 1.0
#: What compiled loops take on a CPU; float16 is brought to the second and back.
LOOPED = (torch.bfloat16, torch.float32)


class LocalResponseNorm(nn.Module):
    """Caffe's LRN: y = x / (1 + alpha / 5 * sum of x^2 over 5 neighbouring channels)^0.75.

    alpha is 1e-4, divided by the window's size as Caffe and torch do. Equal to
    `torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)`; inside, half precision is widened to float32.
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Normalise; fastest on channels-last memory, which the result always has."""
        if torch.compiler.is_compiling():
            return _by_torch(images_BCHW)
        device, dtype = images_BCHW.device, images_BCHW.dtype
        if dtype == torch.float64 or not (device.type == "cpu" or own_kernels.run_on(device)):
            return _by_torch(images_BCHW).contiguous(memory_format=torch.channels_last)
        if device.type == "cpu":
            from trainables.models.lrn_loops import Normalise  # Numba takes a second

            wide = images_BCHW if dtype in LOOPED else images_BCHW.float()
            return _in_rows(Normalise, wide).to(dtype)
        from trainables.models.lrn_kernels import Normalise  # Triton is where GPUs are

        return _in_rows(Normalise, images_BCHW)


def _by_torch(images_BCHW: Tensor) -> Tensor:
    return F.local_response_norm(images_BCHW, SIZE, ALPHA, BETA, K)


def _in_rows(function: type[torch.autograd.Function], images_BCHW: Tensor) -> Tensor:
    """Positions as rows of channels; a view where memory is channels last."""
    batch, channels, height, width = images_BCHW.shape
    rows_RC = images_BCHW.permute(0, 2, 3, 1).reshape(-1, channels).contiguous()
    made_RC: Any = function.apply(rows_RC)
    return made_RC.view(batch, height, width, channels).permute(0, 3, 1, 2)
