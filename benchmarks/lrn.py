"""Caffe's AlexNet with our LRN, with torch's, and without any: training steps, one run, ratios.

`python benchmarks/lrn.py [--batch 32] [--rounds 5]`; the three take turns, the median counts.
"""

import argparse
import platform
import statistics
import time

import torch
from torch import nn

from trainables.models.alexnet import AlexNet
from trainables.models.lrn import LocalResponseNorm


def network(norm: type[nn.Module] | None) -> nn.Module:
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
        ours, theirs = (
            network(norm).eval()(images) for norm in (LocalResponseNorm, nn.LocalResponseNorm)
        )
    if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5):
        raise SystemExit("the two sides compute different things")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.randn(chosen.batch, 3, 227, 227).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 196, (chosen.batch,))
    check_same(images[:4])
    kinds = {"ours": LocalResponseNorm, "torch": nn.LocalResponseNorm, "none": nn.Identity}
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread")
    for half in (False, True):
        made = {name: network(norm) for name, norm in kinds.items()}
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(chosen.rounds + 1):
            for name in list(kinds)[:: 1 if number % 2 else -1]:
                took = step_s(made[name], images, labels, half=half)
                if number:
                    seconds[name].append(took)
        middle = {name: statistics.median(times) for name, times in seconds.items()}
        rates = ", ".join(f"{n} {chosen.batch / s:.1f} images/s" for n, s in middle.items())
        against_torch, against_none = (
            middle["torch"] / middle["ours"],
            middle["none"] / middle["ours"],
        )
        precision = "bfloat16" if half else "float32"
        print(f"{precision:9}{rates}; {against_torch:.2f} x torch's, {against_none:.2f} of none")


if __name__ == "__main__":
    main()
