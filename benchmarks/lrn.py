"""Caffe's AlexNet with our LRN, with torch's, and without any: training steps, one run, ratios.

`python benchmarks/lrn.py [--batch 32] [--rounds 7]`; the three take turns, in the precision that
stages compute in on this machine and in a process that keeps its freed memory, as a stage's does.
"""

import time
from pathlib import Path
from typing import Any

import torch
from rounds import alternate, arguments, ratios, require, row, sides, write
from torch import nn

from orchestrator.cluster import Machine, bfloat16_pays
from trainables.memory import keep_freed_memory
from trainables.models.alexnet import AlexNet
from trainables.models.lrn import LocalResponseNorm

KINDS = {"ours": LocalResponseNorm, "torch": nn.LocalResponseNorm, "none": nn.Identity}


def network(norm: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    made = AlexNet(196)
    for name in ("norm1", "norm2"):
        if norm is nn.Identity:
            setattr(made, name, nn.Identity())
        elif norm is nn.LocalResponseNorm:
            setattr(made, name, nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0))
    return made.to(memory_format=torch.channels_last)


def step_s(made: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, half: bool) -> float:
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = made(images)
    nn.functional.cross_entropy(logits.float(), labels).backward()
    made.zero_grad()
    return time.perf_counter() - began


def check_same(images: torch.Tensor) -> None:
    with torch.inference_mode():
        ours, theirs = (network(KINDS[name]).eval()(images) for name in ("ours", "torch"))
    require(torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5), "logits of the two LRNs")


def measure(batch: int, rounds: int, *, half: bool) -> list[dict[str, Any]]:
    images = torch.randn(batch, 3, 227, 227).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 196, (batch,))
    made = {name: network(norm) for name, norm in KINDS.items()}
    ways = {name: lambda m=m: step_s(m, images, labels, half=half) for name, m in made.items()}
    found = alternate(ways, rounds, warm=True)
    shown, precision = sides(found, batch), "bfloat16" if half else "float32"
    details = {"precision": precision, "threads": 1, "sides": shown}
    return [
        row(f"lrn/{name}", ratios(found[name], found["ours"]), **details)
        for name in ("torch", "none")
    ]


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--batch", type=int, default=32)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a stage's process
    check_same(torch.randn(4, 3, 227, 227))
    rows = measure(chosen.batch, chosen.rounds, half=bfloat16_pays(Machine(Path())))
    write("lrn", rows, chosen.out)


if __name__ == "__main__":
    main()
