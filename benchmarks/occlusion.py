"""Time of a heat map: only what the patch reaches, whole networks in batches, captum's Occlusion.

    python benchmarks/occlusion.py --network alexnet --patch-px 32 --stride-px 16

All see the same photo and patches, captum's (top left corners from 0 on, cut at the lower right),
and give the squared distance of the logits, float32. They take turns; ours in a process that keeps
its freed memory, as `f2c heatmap` does, and captum in one as it comes and in such a one. captum
comes with the extra `bench`; without it our own batches of the whole network are compared alone.
"""

import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from rounds import (
    alternate,
    apart,
    arguments,
    n_cpus,
    ratios,
    require,
    row,
    seconds_of,
    sides,
    timed,
    write,
)
from torch import Tensor, nn

from trainables.frames import Frame, mask
from trainables.memory import keep_freed_memory
from trainables.models import build_model
from trainables.models.normalise import normalise
from trainables.occluded_network import OccludedNetwork
from trainables.occlusion import GREY, multiply_adds
from trainables.patch_reach import patch
from trainables.spec import ModelSpec

SIDE_PX = {"alexnet": 227, "squeezenet1_1": 224, "resnet18": 224, "tiny": 96}
BATCH_SIZES = (8, 16, 32, 64)
KEPT = "captum, freed memory kept"
#: Of the maps, relative to the larger; captum gives other numbers from the same passes.
TOLERANCE = 1e-3


class Task:
    """One network, photo and grid of patches."""

    def __init__(self, name: str, patch_px: int, stride_px: int) -> None:
        torch.manual_seed(0)
        self.side_px = SIDE_PX[name]
        module = build_model(ModelSpec(name=name), 196).module
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
        self.network = module.eval().to(memory_format=torch.channels_last)
        photo = torch.randint(0, 256, (1, 3, self.side_px, self.side_px), dtype=torch.uint8)
        self.inputs = self._normalised(photo)
        self.grey = self._normalised(torch.full_like(photo, GREY))
        self.patch_px, self.stride_px = patch_px, stride_px
        self.n = -(-(self.side_px - patch_px) // stride_px) + 1
        self.span = patch(np.arange(self.n) * stride_px + patch_px // 2, patch_px, self.side_px)
        self.logits = self.network(self.inputs)
        self.passes = 0

    @staticmethod
    def _normalised(photo: Tensor) -> Tensor:
        return normalise(photo, "imagenet").contiguous(memory_format=torch.channels_last)

    def distance(self, inputs: Tensor) -> Tensor:
        """Squared distance of the logits to the photo's, one an example."""
        self.passes += len(inputs)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return (self.network(inputs) - self.logits).square().sum(1)

    def whole(self, batch_size: int, n_positions: int) -> Tensor:
        """The whole network at the first positions."""
        found = []
        for start in range(0, n_positions, batch_size):
            place = np.arange(start, min(start + batch_size, n_positions))
            rows, columns = (self.span.at(axis) for axis in np.divmod(place, self.n))
            corner = np.zeros(len(place), np.int64)
            inside = mask(
                rows,
                columns,
                Frame(corner, corner, self.side_px, self.side_px),
                torch.device("cpu"),
            )
            found.append(self.distance(torch.where(inside, self.grey, self.inputs)))
        return torch.cat(found)

    def incremental(self, occluded: OccludedNetwork) -> Tensor:
        """The map by `OccludedNetwork`, as one row."""
        heat = torch.empty(self.n, self.n)
        bases = occluded.bases(self.inputs)
        for row_B, column_B, moved_BC in occluded.moved(bases, self.grey[0, :, :1, :1]):
            heat[row_B, column_B] = moved_BC.square().sum(1)
        return heat.flatten()

    def captum(self, batch_size: int) -> None:
        """The same passes through the network by captum."""
        from captum.attr import Occlusion as Captums

        Captums(self.distance).attribute(
            self.inputs,
            sliding_window_shapes=(3, self.patch_px, self.patch_px),
            strides=(3, self.stride_px, self.stride_px),
            baselines=self.grey,
            perturbations_per_eval=batch_size,
        )


def best_batch_size(way: Callable[[int], object]) -> int:
    """The fastest for whole networks on the whole map, by the better of two tries each."""
    way(BATCH_SIZES[0])
    tries = {size: [seconds_of(lambda s=size: way(s)) for _ in range(2)] for size in BATCH_SIZES}
    return min(tries, key=lambda size: min(tries[size]))


@torch.inference_mode()
def incremental_apart(threads: int, *task: Any) -> Callable[[], tuple[float, list[float]]]:
    """Seconds of a map, and the map, in a process that keeps its freed memory."""
    made = _kept_task(threads, *task)
    occluded = OccludedNetwork(made.network, made.inputs, (made.span, made.span))

    @torch.inference_mode()
    def call() -> tuple[float, list[float]]:
        heat: list[Tensor] = []
        return seconds_of(lambda: heat.append(made.incremental(occluded))), heat[0].tolist()

    return call


@torch.inference_mode()
def captum_apart(threads: int, *task: Any) -> Callable[[], tuple[float, int]]:
    """Seconds of captum's map where freed memory is kept, and its best batch size there."""
    made = _kept_task(threads, *task)
    size = best_batch_size(made.captum)
    return torch.inference_mode()(lambda: (seconds_of(lambda: made.captum(size)), size))


def _kept_task(threads: int, *task: Any) -> Task:
    keep_freed_memory()
    torch.set_num_threads(threads)
    return Task(*task)


def compare(name: str, patch_px: int, stride_px: int, rounds: int) -> list[dict[str, Any]]:
    given = torch.get_num_threads(), name, patch_px, stride_px
    task = Task(*given[1:])
    n = task.n**2
    size = best_batch_size(lambda size: task.whole(size, n))
    sizes = {"batched": size}
    ways: dict[str, Callable[[], float]] = {"batched": timed(lambda: task.whole(size, n))}
    with ExitStack() as stack:
        ours = stack.enter_context(apart(incremental_apart, *given))
        ways["incremental"] = lambda: ours()[0]
        if importlib.util.find_spec("captum"):
            captums = sizes["captum"] = best_batch_size(task.captum)
            ways["captum"] = timed(lambda: task.captum(captums))
            kept = stack.enter_context(apart(captum_apart, *given))
            ways[KEPT], sizes[KEPT] = (lambda: kept()[0]), kept()[1]
            task.passes = 0
            ways["captum"]()
            # it also asks for the photo without a patch
            require(task.passes == n + 1, f"captum's passes: {task.passes}, not {n + 1}")
        heat, expected = torch.tensor(ours()[1]), task.whole(size, n)
        difference = float(((heat - expected).abs() / expected.clamp_min(1e-9)).max())
        require(difference < TOLERANCE, f"the maps, relatively by {difference:.1e}")
        print(f"{name}, patch {patch_px} px, stride {stride_px} px, {n} positions, batches {sizes}")
        found = alternate(ways, rounds, warm=True)
    occluded = OccludedNetwork(task.network, task.inputs, (task.span, task.span))
    dense, needed = n * multiply_adds(task.network, task.inputs), occluded.multiply_adds()
    details = {
        "network": f"{name}, patch {patch_px} px, stride {stride_px} px",
        "best batch size of": sizes,
        "sides": sides(found),
        "multiply-adds, whole over needed": dense / needed,
        "largest relative difference of the maps": difference,
    }
    return [
        row(f"occlusion/{way}", ratios(found[way], found["incremental"]), **details)
        for way in ways
        if way != "incremental"
    ]


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--network", choices=SIDE_PX, default="alexnet")
    parser.add_argument("--patch-px", type=int, default=32)
    parser.add_argument("--stride-px", type=int, default=16)
    parser.add_argument("--threads", type=int, default=n_cpus())
    chosen = parser.parse_args()
    if chosen.stride_px > chosen.patch_px:
        parser.error("captum takes no stride that is larger than the patch")
    torch.set_num_threads(chosen.threads)
    if not importlib.util.find_spec("captum"):
        print("captum is not installed (pip install captum): compared with our own batches alone")
    with torch.inference_mode():
        rows = compare(chosen.network, chosen.patch_px, chosen.stride_px, chosen.rounds)
    write("occlusion", rows, chosen.out)


if __name__ == "__main__":
    main()
