"""How every benchmark compares: its sides take turns, medians count, rows are kept as JSON.

A row is the median of one ratio (or number) a round, with its smallest and largest. Needs torch at
most: `gpu.py` runs where Ray and MLflow are not installed.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from targets import TARGETS

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "docs" / "results" / "speed"
PACKAGES = ("torch", "torchvision", "ray", "numpy", "pillow", "captum", "webdataset")


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The flags that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


def seconds_of(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def alternate(
    ways: Mapping[str, Callable[[], float]], rounds: int, *, warm: bool = False
) -> dict[str, list[float]]:
    """Ask every way for its seconds once a round, forwards and backwards in turn.

    Args:
        ways: by name; each does its work and returns the seconds that count.
        rounds: at least 1.
        warm: one round more before, which does not count.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1 if warm else 0, rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            seconds = ways[name]()
            if number >= 0:
                found[name].append(seconds)
    return found


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """A way that is timed from outside."""
    return lambda: seconds_of(call)


@contextmanager
def apart(make: Callable[..., Callable[[], Any]], *given: Any) -> Iterator[Callable[[], Any]]:
    """What `make` makes, in a process of its own: each call there, its answer here."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(make, given, there))
    process.start()
    there.close()

    def call() -> Any:
        here.send("call")
        return here.recv()

    try:
        yield call
    finally:
        here.send(None)
        process.join()


def _serve(make: Callable[..., Callable[[], Any]], given: Any, connection: Connection) -> None:
    call = make(*given)
    while connection.recv():
        connection.send(call())


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round, so that what slows a whole round cancels."""
    return [a / b for a, b in zip(above, below, strict=True)]


def require(same: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """End the benchmark when its two sides do not do the same."""
    if not same:
        raise SystemExit(f"the sides do different things: {what}")


def row(name: str, values: Sequence[float], **details: Any) -> dict[str, Any]:
    """A row by its name in `targets.TARGETS` (others are shown without a figure to reach)."""
    found = {
        "name": name,
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "rounds": len(values),
        "details": details,
    }
    print(line_of(found), flush=True)
    return found


def sides(seconds: Mapping[str, Sequence[float]], n_images: int | None = None) -> dict[str, str]:
    """Medians and spreads of the sides' seconds in words, or of their images a second."""
    shown = {}
    for name, values in seconds.items():
        numbers = [n_images / v for v in values] if n_images else list(values)
        unit = "images/s" if n_images else "s"
        middle, low, high = statistics.median(numbers), min(numbers), max(numbers)
        shown[name] = f"{middle:.4g} {unit} ({low:.4g} to {high:.4g})"
        print(f"  {name:28}{shown[name]}", flush=True)
    return shown


def line_of(found: Mapping[str, Any]) -> str:
    """A row as text: the number, its spread, and the figure to reach."""
    target = TARGETS.get(found["name"])
    number = f"{found['median']:.3g} ({found['low']:.3g} to {found['high']:.3g})"
    if target is None:
        return f"{found['name']}: {number}"
    verdict = "reached" if target.reached(found["median"]) else "NOT reached"
    unit = f" {target.unit}" if target.unit else ""
    return f"{target.what}, {target.against}: {number}{unit}; {target.text}: {verdict}"


def write(benchmark: str, rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Keep the rows with command, versions, hardware and date as `out/BENCHMARK.json`."""
    record = {
        "benchmark": benchmark,
        "command": command(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "hardware": hardware(),
        "load_average_1_min": round(os.getloadavg()[0], 1),
        "versions": versions(),
        "rows": list(rows),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{benchmark}.json").write_text(json.dumps(record, indent=1) + "\n")


def command() -> str:
    """As it was typed, the script by its path in the repository."""
    script = Path(sys.argv[0])
    return shlex.join(["python", f"{script.parent.name}/{script.name}", *sys.argv[1:]])


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> str:
    """Processor, CPUs of this process, memory, GPUs that torch sees."""
    import torch

    file = Path("/proc/cpuinfo")
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    parts = [models[0] if models else platform.machine(), f"{n_cpus()} CPUs"]
    return ", ".join([*parts, f"{pages / 2**30:.0f} GiB", *gpus])


def n_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def clocked(owner: Any, name: str) -> Iterator[list[float]]:
    """The CPU seconds that each call of a function takes of the thread that it is called in."""
    real, spent = getattr(owner, name), []

    def call(*arguments: Any) -> Any:
        began = time.thread_time()
        try:
            return real(*arguments)
        finally:
            spent.append(time.thread_time() - began)

    setattr(owner, name, call)
    try:
        yield spent
    finally:
        setattr(owner, name, real)
