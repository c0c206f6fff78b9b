"""Training at the paper's scale on one GPU, on generated photos of the real sets' sizes.

    python benchmarks/gpu.py                 # on a GPU
    PYTHONPATH=. python3 benchmarks/gpu.py   # where the project is not installed

Images a second against the same loop fed by a DataLoader, against the bare model on random data,
and against two floors; the gain of recorded steps (CUDA graphs) and of other ways to convolutions
in groups; where a step's time goes; seconds of a stage of every size and so of Table 2 (87 stages
of 60 epochs); several small stages at once. Needs torch, torchvision,
pydantic and the project's own packages. `--device cpu` with small sizes checks that it runs.
"""

import argparse
import subprocess
import sys
import time
import warnings
from statistics import median
from typing import Any

import torch
from floors import Device, measure_device, operations, traffic_bytes
from gpu_graph import GraphedStage
from gpu_groups import WAYS, RegroupedStage, grouped
from gpu_profile import profile_of
from gpu_stage import N_EPOCHS, Scale, Stage, generated, loader_batches, scale_of, spec_of
from rounds import alternate, arguments, ratios, require, row, seconds_of, sides, write
from torch import Tensor, nn

from trainables.batches import Source
from trainables.models import build_model
from trainables.spec import ModelSpec, StageSpec

Row = dict[str, Any]
#: What a side's weights may be apart from ours, of what both learnt: GPUs add up in any order.
MOST_APART = 0.3


def compare(name: str, source: Source, scale: Scale, chosen: argparse.Namespace) -> list[Row]:
    """Rows of one network on all high photos."""
    spec = spec_of((source.view.spec,), name, scale.images, scale, chosen.precision)
    ours, bare, fed = (Stage(spec, [source], chosen.compile) for _ in range(3))
    others = other_ways(spec, source)
    batches = loader_batches(source, scale.batch)
    ways = {
        "ours": lambda: ours.seconds(scale.images),
        "bare": bare.bare_s,
        "dataloader": lambda: fed.seconds(scale.images, batches),
    } | {way: lambda stage=stage: stage.seconds(scale.images) for way, stage in others.items()}
    before = head_of(ours)
    found = alternate(ways, chosen.rounds, warm=True)
    device = measure_device(source.device, getattr(torch, chosen.precision))
    details = {"sides": sides(found, scale.images), "precision": chosen.precision}
    details |= {"compile": chosen.compile, "synchronisations an epoch": synchronisations(ours)}
    rates = [scale.images / seconds for seconds in found["ours"]]
    rows = [row(f"gpu/{name}/rate", rates, **details)]
    rows += [
        row(f"gpu/{name}/{side}", ratios(found[side], found["ours"]), **details)
        for side in ("bare", "dataloader")
    ]
    for way, stage in others.items():
        apart = float((head_of(stage) - head_of(ours)).norm() / (head_of(ours) - before).norm())
        require(apart <= MOST_APART, f"weights with {way}, by {apart:.2f} of what was learnt")
        gains = ratios(found["ours"], found[way])
        rows.append(row(f"gpu/{name}/with {way}", gains, **details, apart=apart))
    rows.append(kernels(name, ours, median(found["ours"])))
    return rows + floors(name, found["ours"], device, scale, chosen)


def other_ways(spec: StageSpec, source: Source) -> dict[str, Stage]:
    """Stages that train the same in ways that the program does not go, by what they are called."""
    found: dict[str, Stage] = {"graphs": GraphedStage(spec, [source])}
    if grouped(found["graphs"].network.module):
        found |= {name: RegroupedStage(spec, [source], way) for name, way in WAYS.items()}
    return found


def kernels(name: str, stage: Stage, epoch_s: float) -> Row:
    """What the device works of a step, over the time that a step takes; its slowest kernels."""
    spent_ms = profile_of(stage)
    step_ms = 1e3 * epoch_s / -(-stage.spec.subset.n_images // stage.spec.training.batch_size)
    details = {"a step, ms": step_ms, "in kernels, ms": spent_ms}
    return row(f"gpu/{name}/kernels over step", [spent_ms["all of them"] / step_ms], **details)


def head_of(stage: Stage) -> Tensor:
    """A copy of the last layer's weights."""
    return stage.network.module.get_submodule(stage.network.head).weight.detach().clone()  # pyright: ignore[reportCallIssue]


def floors(
    name: str, seconds: list[float], device: Device, scale: Scale, chosen: argparse.Namespace
) -> list[Row]:
    """How near an epoch is to what operations and bytes need at the measured rates."""
    torch.manual_seed(0)
    module: nn.Module = build_model(ModelSpec(name=name), scale.n_classes).module
    images = torch.randn(2, 3, scale.side_px, scale.side_px)
    width = 2 if chosen.precision == "bfloat16" else 4
    one = traffic_bytes(module, images[:1], width)
    a_photo = traffic_bytes(module, images, width) - one
    weights = one - a_photo
    updates = -(-scale.images // scale.batch)
    operations_s = scale.images * operations(module, images) / 2 / device.operations_s
    bytes_s = (scale.images * a_photo + updates * weights) / device.bytes_s
    rates = {"matrix rate, T/s": device.operations_s / 1e12, "copy, GB/s": device.bytes_s / 1e9}
    return [
        row(f"gpu/{name}/{kind} floor over time", [floor / s for s in seconds], s=floor, **rates)
        for kind, floor in (("operations", operations_s), ("bytes", bytes_s))
    ]


def synchronisations(stage: Stage) -> int | None:
    """How often an epoch makes the host wait for the GPU; None on a CPU."""
    if stage.device.type != "cuda":
        return None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        stage.epoch()
        torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in seen)


def table2(name: str, high: Source, scale: Scale, chosen: argparse.Namespace) -> list[Row]:
    """Minutes of all stages, one after the other, from an epoch of each size and two tests."""
    low = generated("low", scale, scale.images, high.device)
    tests = [generated(form, scale, scale.tests, high.device) for form in ("high", "low")]
    forms = {"high": [high], "low": [low], "mixed": [high, low]}
    epoch_s = {
        (form, n): epochs_of(name, sources, n, scale, chosen)
        for form, sources in forms.items()
        for n in scale.levels
    }
    spec = spec_of((high.view.spec,), name, scale.images, scale, chosen.precision)
    start_s = seconds_of(lambda: Stage(spec, [high], None))
    stage = Stage(spec, [high], None)
    test_s = sum(median(stage.test_s(source) for _ in range(chosen.rounds)) for source in tests)
    minutes = [
        sum(n * (N_EPOCHS * epoch_s[key][i] + test_s + start_s) for key, n in stages(scale).items())
        / 60
        for i in range(chosen.rounds)
    ]
    said = {
        f"{form}, {n} images, s": N_EPOCHS * median(epoch_s[form, n]) + test_s + start_s
        for form, n in epoch_s
    }
    details = {"model": name, "tests of a stage, s": test_s, "start of a stage, s": start_s}
    return [row("gpu/table2", minutes, **details, **{"a stage of": said})]


def stages(scale: Scale) -> dict[tuple[str, int], int]:
    """Table 2's 87 stages: 8 high, 8 low alone and 64 after them, 7 mixed."""
    found = {("high", n): 1 for n in scale.levels} | {("low", n): 9 for n in scale.levels}
    return found | {("mixed", n): 1 for n in scale.levels[1:]}


def epochs_of(
    name: str, sources: list[Source], n: int, scale: Scale, chosen: argparse.Namespace
) -> list[float]:
    views = tuple(source.view.spec for source in sources)
    stage = Stage(spec_of(views, name, n, scale, chosen.precision), sources, chosen.compile)
    expected = n * len(sources)
    stage.seconds(expected)
    return [stage.seconds(expected) for _ in range(chosen.rounds)]


def at_once(name: str, chosen: argparse.Namespace) -> list[Row]:
    """Processes that each train a smallest stage: their rate together over that of one."""
    children = [small_child(name, chosen) for _ in range(max(chosen.at_once, default=0))]
    for child in children:
        wait_for("ready", child)
    counts = [1, *chosen.at_once]
    ways = {str(n): lambda n=n: together(children[:n]) for n in counts}
    found = alternate(ways, chosen.rounds) if children else {}
    for child in children:
        child.communicate()
    return [
        row(
            f"gpu/{name}/{n} smallest stages at once",
            [
                n * one / all_of_them
                for one, all_of_them in zip(found["1"], found[str(n)], strict=True)
            ],
            alone_s=median(found["1"]),
        )
        for n in chosen.at_once
    ]


def small_child(name: str, chosen: argparse.Namespace) -> subprocess.Popen[str]:
    """A process that will train a smallest stage's epochs each time that it gets a line."""
    command = [sys.executable, __file__, "--small-stage", name]
    flags = ("device", "images", "tests", "classes", "side_px", "low_px", "batch", "precision")
    for flag in flags:
        command += [f"--{flag.replace('_', '-')}", str(getattr(chosen, flag))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def together(children: list[subprocess.Popen[str]]) -> float:
    """Seconds until all of them, ready before, have trained their epochs."""
    began = time.perf_counter()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        wait_for("done", child)
    return time.perf_counter() - began


def wait_for(word: str, child: subprocess.Popen[str]) -> None:
    """Until a child has said it."""
    assert child.stdout is not None
    said = child.stdout.readline().strip()
    if said != word:
        raise SystemExit(f"a stage said {said!r} instead of {word}")


def small_stage(name: str, chosen: argparse.Namespace) -> None:
    """A child: warm, then its epochs as often as it is told."""
    scale, n_epochs = scale_of(chosen), 10 if chosen.device == "cuda" else 1
    source = generated("low", scale, scale.levels[0], torch.device(chosen.device))
    spec = spec_of((source.view.spec,), name, scale.levels[0], scale, chosen.precision)
    stage = Stage(spec, [source], None)
    stage.seconds(scale.levels[0])
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(n_epochs):
            stage.seconds(scale.levels[0])
        print("done", flush=True)


def parse() -> argparse.Namespace:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--models", nargs="+", default=["alexnet", "squeezenet1_1", "resnet50"])
    parser.add_argument("--images", type=int, default=8144)
    parser.add_argument("--tests", type=int, default=8041)
    parser.add_argument("--classes", type=int, default=196)
    parser.add_argument("--side-px", type=int, default=227)
    parser.add_argument("--low-px", type=int, default=50)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--compile", choices=["default", "reduce-overhead", "max-autotune"])
    parser.add_argument("--at-once", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--small-stage", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    chosen = parse()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: its rows stay unmeasured (--device cpu with small sizes runs anywhere)")
        return
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)  # the first one costs seconds
    if chosen.small_stage is not None:
        small_stage(chosen.small_stage, chosen)
        return
    scale = scale_of(chosen)
    high = generated("high", scale, scale.images, torch.device(chosen.device))
    rows: list[Row] = []
    for name in chosen.models:
        rows += compare(name, high, scale, chosen)
        write("gpu", rows, chosen.out)
    rows += table2(chosen.models[0], high, scale, chosen)
    write("gpu", rows, chosen.out)
    rows += at_once(chosen.models[0], chosen)
    write("gpu", rows, chosen.out)


if __name__ == "__main__":
    main()
