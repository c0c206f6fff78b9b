"""What an ending costs: Ctrl-C to exit, training lost at kill -9, command to first batch again.

`python benchmarks/endings.py [--rounds 3] [--away-rounds 1] [--executors inline ray]`

A round, on the small recipe of the tests with epochs of about half a second: a run is stopped by
Ctrl-C in mid-epoch; the same command goes on, is timed to its first batch, and killed a seeded
while later; what it had trained since its last saved epoch is lost. Then whole short runs with
MLflow's database here, at an address that refuses, and at one that accepts and never answers.
"""

import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rounds import REPOSITORY, arguments, require, row, seconds_of, write

PAUSE = threading.Event()
HANG_S = 300.0
TRAIN = {"epochs": 400, "batch_size": 8, "lr": 0.001, "precision": "float32"}
SHORT = TRAIN | {"epochs": 3}
#: The kill comes so long after the first batch.
WITHIN_S = (2.0, 6.0)


def recipe(folder: Path, train: dict[str, Any]) -> Path:
    """The small recipe with more photos, so that an epoch takes a while."""
    fields = yaml.safe_load((REPOSITORY / "tests" / "small.yaml").read_text())
    fields["data"]["synthetic"]["n_train"] = 1024
    fields["train"] = train
    file = folder / f"{train['epochs']}.yaml"
    file.write_text(yaml.safe_dump(fields))
    return file


@contextmanager
def begun(
    file: Path, root: Path, *flags: str, note: Path | None = None
) -> Iterator[subprocess.Popen]:
    """`f2c run`, a process group of its own; `note` is made at the first batch."""
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--root", str(root)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": ""}
    if note is not None:
        environment |= {"F2C_FAULT": "batch:note:1", "F2C_FAULTS_ON": str(note)}
    with (root.parent / "printed.txt").open("a") as printed:
        process = subprocess.Popen(
            [*command, *flags], env=environment, stdout=printed, stderr=subprocess.STDOUT,
            cwd=root.parent, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()  # one that hangs would train on beside the next benchmark
        process.wait()


def until(condition: Callable[[], Any], process: subprocess.Popen) -> None:
    """Wait for it while a process runs."""
    end = time.monotonic() + HANG_S
    while not condition():
        require(process.poll() is None, "a run ended by itself")
        require(time.monotonic() < end, "a run hangs")
        PAUSE.wait(0.01)


def saved_at(root: Path) -> float:
    """When the last epoch or stage was saved; 0 before the first."""
    store = root / "store"
    files = [*store.glob("progress/*/epoch-*/manifest.json"), *store.glob("*/manifest.json")]
    return max((file.stat().st_mtime for file in files), default=0.0)


def epoch_s(root: Path) -> float:
    """Median seconds of an epoch, from the events of the run."""
    lines = (root / "small" / "events.jsonl").read_text().splitlines()
    events = [yaml.safe_load(line) for line in lines if '"epoch"' in line]
    return statistics.median(e["record"]["seconds"] for e in events if e["event"] == "epoch")


def one_round(file: Path, folder: Path, executor: str, chance: random.Random) -> dict[str, float]:
    """Seconds to stop, to go on, and those lost beyond an epoch; the epoch's own."""
    root, note = folder / "root", folder / "note"
    flags = ("--executor", executor)
    with begun(file, root, *flags) as first:
        until(lambda: saved_at(root) > 0, first)
        PAUSE.wait(chance.uniform(0.0, 1.0))
        first.send_signal(signal.SIGINT)
        stop_s = seconds_of(lambda: first.wait(HANG_S))
    require(first.returncode == 130, "Ctrl-C ends a run with status 130")
    began = time.time()
    with begun(file, root, *flags, note=note) as second:
        until(note.exists, second)
        resume_s = note.stat().st_mtime - began
        PAUSE.wait(chance.uniform(*WITHIN_S))
    killed_at = time.time()
    last = max(saved_at(root), note.stat().st_mtime)
    return {"stop": stop_s, "resume": resume_s, "lost": killed_at - last, "epoch": epoch_s(root)}


def endings(file: Path, executor: str, rounds: int) -> list[dict[str, Any]]:
    """The three rows of an executor."""
    chance, found = random.Random(0), []
    for _ in range(rounds):
        # what a killed driver leaves may still write for a moment
        with tempfile.TemporaryDirectory(prefix="e-", ignore_cleanup_errors=True) as folder:
            (Path(folder) / "root").mkdir()
            found.append(one_round(file, Path(folder), executor, chance))
    epochs = [round(one["epoch"], 2) for one in found]
    lost = [one["lost"] - one["epoch"] for one in found]
    seconds = [round(one["lost"], 2) for one in found]
    return [
        row(f"endings/stop_{executor}", [one["stop"] for one in found]),
        row(f"endings/resume_{executor}", [one["resume"] for one in found]),
        row(f"endings/lost_{executor}", lost, seconds_lost=seconds, seconds_an_epoch=epochs),
    ]


@contextmanager
def silent_server() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def whole_run_s(file: Path, prepared: Path, *flags: str) -> float:
    """Seconds of a whole short run without Ray."""
    with tempfile.TemporaryDirectory(prefix="e-") as folder:
        root = Path(folder) / "root"
        shutil.copytree(prepared / "data", root / "data")
        with begun(file, root, "--executor", "inline", *flags) as process:
            seconds = seconds_of(lambda: process.wait(HANG_S))
        require(process.returncode == 0, "a run without MLflow ends with status 0")
        return seconds


def away(file: Path, rounds: int) -> list[dict[str, Any]]:
    """How much longer a whole run takes when MLflow refuses, and when it never answers."""
    with tempfile.TemporaryDirectory(prefix="e-") as folder, silent_server() as silent:
        prepared = Path(folder) / "prepared"
        prepared.mkdir()
        with begun(file, prepared, "--executor", "inline") as process:
            require(process.wait(HANG_S) == 0, "a run ends")
        found: dict[str, list[float]] = {"here": [], "refused": [], "silent": []}
        addresses = {"refused": "http://127.0.0.1:9", "silent": silent}
        for _ in range(rounds):
            found["here"].append(whole_run_s(file, prepared))
            for name, address in addresses.items():
                found[name].append(whole_run_s(file, prepared, "--tracking-uri", address))
    return [
        row(
            f"endings/mlflow_{name}",
            [a - b for a, b in zip(found[name], found["here"], strict=True)],
            unit="s more than with the database here",
            seconds_of_a_whole_run=[round(seconds, 1) for seconds in found[name]],
        )
        for name in addresses
    ]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--away-rounds", type=int, default=1, help="of MLflow at other addresses")
    parser.add_argument("--executors", nargs="+", default=["inline", "ray"])
    chosen = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    with tempfile.TemporaryDirectory(prefix="e-") as folder:
        long, short = (recipe(Path(folder), train) for train in (TRAIN, SHORT))
        rows: list[dict[str, Any]] = []
        for name in chosen.executors:
            rows += endings(long, name, chosen.rounds)
            write("endings", rows, chosen.out)
        if chosen.away_rounds:
            rows += away(short, chosen.away_rounds)
            write("endings", rows, chosen.out)


if __name__ == "__main__":
    main()
