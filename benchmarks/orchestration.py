"""What the orchestration costs: idle stages against idle Tune trials, and the start-up.

`python benchmarks/orchestration.py [--rounds 3] [--levels 8]`

The stages of Table 2 are gated, restored and committed to the store as always, and train nothing.
The peer is the same count of trials of a Tune class that does nothing, actors reused, each with its
checkpoint at the end, in the same Ray session. Its actors import torch and make one optimiser, as
ours do and every trial that trains must.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from planning import table2
from ray import tune
from rounds import REPOSITORY, alternate, arguments, ratios, require, row, seconds_of, sides, write

import trainables.trainable
from orchestrator.cluster import Machine, local_cpus, ray_session
from orchestrator.control import Stop
from orchestrator.events import EventLog
from orchestrator.executors import run_tune
from orchestrator.inventory import take_inventory
from orchestrator.launch import Launch, Progress
from orchestrator.plan import Plan
from trainables.fingerprint import key_of
from trainables.stage_run import StageJob
from trainables.store import Store
from trainables.trainable import StageTrainable


class IdleRun:
    """A stage that is restored, ends at once and is committed with one line of record."""

    def __init__(self, job: StageJob) -> None:
        self.job = job
        self.seconds: dict[str, float] = {}
        self.status, self.lost_device = "running", ""
        self._started_at = time.time()

    def restore_or_fail(self, folder: Path | None) -> None:
        if folder is not None and not folder.is_dir():
            raise SystemExit(f"{folder} is no checkpoint")

    def advance(self) -> dict[str, Any]:
        self.status = "done"
        return {"status": "done", "seconds": {}, "started_at": self._started_at}

    def commit(self) -> Path:
        def record(folder: Path) -> None:
            (folder / "epochs.jsonl").write_text('{"epoch": 1}\n')
            tested = {key_of(view): {"correct": 0, "seen": 1} for view in self.job.evaluations}
            (folder / "metrics.json").write_text(json.dumps(tested))

        store = Store(Path(self.job.store))
        return store.commit(self.job.key, self.job.name, "stage", record).folder


class IdleStage(StageTrainable):
    """Our trainable around a stage that does nothing."""

    def _start(self, folder: Path | None) -> Any:
        self._run = IdleRun(self._job)
        self._run.restore_or_fail(folder)
        return self._run


class IdleTrial(tune.Trainable):
    """A trial that does nothing, as Tune's documentation writes a class that is reused."""

    def setup(self, config: dict[str, Any]) -> None:
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        return {"done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "record.json").write_text("{}")

    def load_checkpoint(self, checkpoint: dict | str | None) -> None:
        """Nothing is kept."""


def idle_stages(plan: Plan, ended: list[Progress]) -> float:
    """Seconds of `run_tune` over a new store."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "idle").mkdir()
        machine, store = Machine(root), Store(root / "store")
        with EventLog(root / "idle" / "events.jsonl", []) as log:
            inventory, stop = take_inventory(plan, store), Stop(root / "idle" / ".stop")
            launch = Launch(plan, inventory, machine, log, stop, lambda _: 1.0, "benchmark")
            seconds = seconds_of(lambda: run_tune(launch, local_cpus(), [{"CPU": 1.0}]))
        ended.append(launch.progress)
    require(len(launch.progress.trained) == len(plan.stages), "not every stage ended")
    return seconds


def idle_trials(n: int) -> float:
    """Seconds of the peer's `fit`."""
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(IdleTrial, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                num_samples=n, reuse_actors=True, max_concurrent_trials=local_cpus()
            ),
            run_config=tune.RunConfig(
                name="idle",
                storage_path=folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
            ),
        )
        results: list[Any] = []
        seconds = seconds_of(lambda: results.append(tuner.fit()))
    require(len(results[0]) == n and results[0].num_errors == 0, "not every trial ended")
    return seconds


def against_trials(plan: Plan, rounds: int) -> list[dict[str, Any]]:
    progresses: list[Progress] = []
    n = len(plan.stages)
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    with ray_session(Machine(Path())):
        trainables.trainable.StageTrainable = IdleStage
        ways = {"stages": lambda: idle_stages(plan, progresses), "trials": lambda: idle_trials(n)}
        found = alternate(ways, rounds, warm=True)
    windows = [(p.last_end or 0.0) - (p.first_start or 0.0) for p in progresses[-rounds:]]
    shown = sides(found)
    return [
        row("orchestration/tune", ratios(found["stages"], found["trials"]), n=n, sides=shown),
        row("orchestration/stage", [window / n for window in windows], n=n),
    ]


def start_s() -> float:
    """Seconds of a whole `f2c run` from its process to its first stage, with Ray and MLflow."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = REPOSITORY / "tests" / "small.yaml"
        start = "from orchestrator.cli import main; raise SystemExit(main())"
        command = [sys.executable, "-c", start, "run", str(recipe), "--root", folder]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return json.loads((Path(folder) / "small" / "run.json").read_text())["seconds"]["start-up"]


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--levels", type=int, default=8, help="of Table 2; 8 are 87 stages")
    chosen = parser.parse_args()
    rows = against_trials(table2(1, chosen.levels), chosen.rounds)
    write("orchestration", rows, chosen.out)
    start = [start_s() for _ in range(chosen.rounds)]
    rows.append(row("orchestration/start", start, what="f2c run tests/small.yaml"))
    write("orchestration", rows, chosen.out)


if __name__ == "__main__":
    main()
