"""Kill a run again and again at seeded random moments, resume each time, compare the end.

python tests/chaos/kill_demo.py --kills 100 --seed 0 --to docs/results/chaos

A round is the small recipe (nine stages, longer epochs) under a root of its own, through Ray. While
it trains, its driver, a training actor or a Ray process gets SIGKILL; then the same command again,
until it ends with status 0. Every finished round is compared with one undisturbed run.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import psutil
import yaml

from tests.faults.gold import Gold, assert_mlflow, events_of, gold_of, weights_of
from tests.faults.runner import small

REPOSITORY = Path(__file__).parents[2]
#: Most kills come after the first stage is done, and hit the driver.
VICTIMS = {"driver": 0.5, "actor": 0.35, "raylet": 0.075, "gcs_server": 0.075}
AFTER_A_STAGE = 0.8
TRAIN = {"epochs": 30, "batch_size": 8, "lr": 0.01, "schedule": "onecycle", "precision": "float32"}
WITHIN_S = 12.0
#: Ray's own processes notice a dead driver late; the driver a dead Ray after 60 s.
GIVE_UP_S = 240.0
ORPHANS_S = 180.0
PAUSE = threading.Event()


@dataclass
class Tally:
    """What all rounds together have shown."""

    seed: int
    kills: Counter = field(default_factory=Counter)
    rounds: int = 0
    starts: int = 0
    finished_stages_trained_again: int = 0
    rounds_with_other_weights_or_table: int = 0
    rounds_with_double_runs_or_points_in_mlflow: int = 0
    processes_left: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not (
            self.finished_stages_trained_again
            or self.rounds_with_other_weights_or_table
            or self.rounds_with_double_runs_or_points_in_mlflow
            or self.processes_left
        )


def launch(root: Path, recipe: Path, executor: str) -> subprocess.Popen:
    """The command of a user, in a process group of its own."""
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(recipe), "--root", str(root)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": "", "PYTHONPATH": str(REPOSITORY)}
    with (root / "printed.txt").open("a") as printed:
        return subprocess.Popen(
            [*command, "--executor", executor],
            stdout=printed, stderr=subprocess.STDOUT, env=environment, cwd=REPOSITORY,
        )  # fmt: skip


def wait(condition, process: subprocess.Popen, most_s: float) -> bool:
    """Wait for a condition; False when the process ended or time ran out before."""
    end = time.monotonic() + most_s
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return True
        PAUSE.wait(0.1)
    return False


def victim_of(process: subprocess.Popen, kind: str) -> psutil.Process | None:
    """A living process of that kind under the driver."""
    driver = psutil.Process(process.pid)
    if kind == "driver":
        return driver
    mark = "ray::" if kind == "actor" else kind
    found = [c for c in driver.children(recursive=True) if mark in " ".join(safe_cmdline(c))[:400]]
    busy = [c for c in found if kind != "actor" or "Train" in " ".join(safe_cmdline(c))]
    return busy[0] if busy else None


def safe_cmdline(process: psutil.Process) -> list[str]:
    """Words of a command, none for a process that has just ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class Chaos:
    """Rounds of kills, one after the other."""

    def __init__(self, folder: Path, seed: int, executor: str, log: TextIO) -> None:
        self.tally = Tally(seed)
        self._executor = executor
        self._victims = VICTIMS if executor == "ray" else {"driver": 1.0}
        self._folder = folder
        self._random = random.Random(seed)
        self._log = log
        self._seen: set[psutil.Process] = set()
        self._recipe = folder / "small.yaml"
        self._recipe.write_text(yaml.safe_dump(small(train=TRAIN)))
        self._gold = self._undisturbed()

    def _undisturbed(self) -> Gold:
        root = self._folder / "golden"
        root.mkdir()
        assert launch(root, self._recipe, "inline").wait(GIVE_UP_S * 4) == 0
        return gold_of(root)

    def say(self, text: str) -> None:
        """A line of the log."""
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, file=self._log, flush=True)
        print(line, flush=True)  # noqa: T201

    def run(self, n_kills: int) -> None:
        """Rounds until so many kills; the last one is finished."""
        began = time.monotonic()
        while self.tally.kills.total() < n_kills:
            root = self._folder / f"round{self.tally.rounds}"
            root.mkdir()
            self._round(root, n_kills)
            self._compare(root)
        self.tally.processes_left = self._left()
        self.tally.seconds = round(time.monotonic() - began, 1)

    def _round(self, root: Path, n_kills: int) -> None:
        while True:
            finished, n_before = set(weights_of(root)), len(events_of(root))
            process = launch(root, self._recipe, self._executor)
            self.tally.starts += 1
            if self.tally.kills.total() < n_kills:
                self._disturb(process, root, n_before)
            status = process.wait(GIVE_UP_S * 4)
            started = {e["key"] for e in events_of(root)[n_before:] if e["event"] == "stage_start"}
            again = len(started & finished)
            self.tally.finished_stages_trained_again += again
            self.say(f"status {status}, {len(weights_of(root))} of {len(self._gold.weights)} done")
            if status == 0:
                return

    def _disturb(self, process: subprocess.Popen, root: Path, n_before: int) -> None:
        """Kill one process once stages train; a driver that then hangs is killed, too."""
        moment = self._random.uniform(0.0, WITHIN_S)
        kind = self._random.choices(list(self._victims), list(self._victims.values()))[0]
        late = self._random.random() < AFTER_A_STAGE

        def begun() -> bool:
            new = events_of(root)[n_before:]
            return any(e["event"] == "stage_start" for e in new) and not (
                late and not weights_of(root)
            )

        if not wait(begun, process, GIVE_UP_S):
            return
        wait(lambda: False, process, moment)
        victim = None if process.poll() is not None else victim_of(process, kind)
        if victim is None:
            return
        self._seen |= set(psutil.Process(process.pid).children(recursive=True))
        victim.send_signal(signal.SIGKILL)
        self.tally.kills[kind] += 1
        n_kill = self.tally.kills.total()
        after = "a stage was done" if late else "the first stage began"
        self.say(f"kill {n_kill}: {kind}, {moment:.1f} s after {after}")
        if kind in ("raylet", "gcs_server") and not self._ends(process):
            process.kill()

    def _ends(self, process: subprocess.Popen) -> bool:
        wait(lambda: False, process, GIVE_UP_S)
        return process.poll() is not None

    def _compare(self, root: Path) -> None:
        self.tally.rounds += 1
        same = gold_of(root) == self._gold
        self.tally.rounds_with_other_weights_or_table += not same
        try:
            assert_mlflow(root, self._gold)
        except AssertionError as error:
            self.tally.rounds_with_double_runs_or_points_in_mlflow += 1
            self.say(f"MLflow: {error}")
        self.say(f"round {self.tally.rounds} ended, equal to the undisturbed run: {same}")

    def _left(self) -> int:
        _, alive = psutil.wait_procs([p for p in self._seen if p.is_running()], ORPHANS_S)
        return len(alive)


def main() -> int:
    """Run, write `log.txt` and `summary.json`, return 0 where every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executor", choices=("ray", "inline"), default="ray")
    parser.add_argument("--to", type=Path, required=True, help="folder of log and summary")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.TemporaryDirectory(prefix="f2c-chaos-")
    with scratch as folder, (options.to / "log.txt").open("w") as log:
        chaos = Chaos(Path(folder), options.seed, options.executor, log)
        chaos.run(options.kills)
    summary = json.dumps(
        vars(chaos.tally) | {"executor": options.executor, "train": TRAIN}, indent=1
    )
    (options.to / "summary.json").write_text(summary + "\n")
    print(summary)  # noqa: T201
    return 0 if chaos.tally.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
