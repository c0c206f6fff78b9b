"""What a device can do at most: a step's operations over its matrix rate, bytes over bandwidth.

No Ray, no MLflow. B batch, C colour, H W pixels.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

#: Of square matrices and of copied bytes: large enough on a GPU, small enough for a test on a CPU.
SIDE = {"cuda": 8192, "cpu": 1024}
COPIED_BYTES = {"cuda": 4 << 30, "cpu": 32 << 20}
N_TIMES = 10


@dataclass(frozen=True)
class Device:
    """A device with its measured rates."""

    name: str
    operations_s: float
    bytes_s: float


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(work: Any, amount: float, device: torch.device) -> float:
    """Amount a second, after one call to warm up."""
    work()
    wait(device)
    began = time.perf_counter()
    for _ in range(N_TIMES):
        work()
    wait(device)
    return N_TIMES * amount / (time.perf_counter() - began)


def measure_device(device: torch.device, dtype: torch.dtype) -> Device:
    """Rate of large matrix products, and bandwidth of a large copy (read and written)."""
    side = SIDE[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    made = torch.empty_like(left)
    operations_s = rate(lambda: torch.mm(left, right, out=made), 2.0 * side**3, device)
    source = torch.ones(COPIED_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bytes_s = rate(lambda: target.copy_(source), 2.0 * source.nbytes, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return Device(name, operations_s, bytes_s)


def operations(module: nn.Module, images_BCHW: Tensor) -> float:
    """Of one step forwards and backwards, a multiply-add counted as two."""
    with FlopCounterMode(display=False) as counter:
        module(images_BCHW).sum().backward()
    module.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def traffic_bytes(module: nn.Module, images_BCHW: Tensor, bytes_a_value: int) -> float:
    """Bytes that a step moves at least when each layer reads its input and writes its output.

    Once forwards and twice backwards (gradients in and out, the kept input); weights are read
    twice, their gradients written, and the update reads three float32 values and writes two.
    """
    moved = 0

    def count(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += inputs[0].numel() + output.numel()

    leaves = [layer for layer in module.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(count) for layer in leaves]
    with torch.no_grad():
        module(images_BCHW)
    for hook in hooks:
        hook.remove()
    n_weights = sum(parameter.numel() for parameter in module.parameters())
    return 3.0 * moved * bytes_a_value + n_weights * (3 * bytes_a_value + 5 * 4)
