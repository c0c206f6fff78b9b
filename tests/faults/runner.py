"""Runs of the small recipe in processes of their own, forked from one that has imported all."""

import contextlib
import multiprocessing
import os
import sys
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import yaml

SMALL = Path(__file__).parents[1] / "small.yaml"
#: Far above what a busy machine needs: only what hangs meets it.
HANG_S = 400.0
PRELOAD = ["tests.faults.preload", __name__]


@dataclass
class Ended:
    """How a process ended: its exit status (negative: the signal), and what it printed."""

    status: int
    printed: str


def small(**changes: Any) -> dict[str, Any]:
    """Fields of the small recipe; those given replace whole parts of it."""
    return yaml.safe_load(SMALL.read_text()) | changes


def context() -> ForkServerContext:
    """A server that imports everything once; its forks start in no time."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOAD)
    return made


def start(root: Path, fault: str | None = None, recipe: dict[str, Any] | None = None,
          flags: tuple[str, ...] = ("--executor", "inline"), verb: str = "run",
          environment: dict[str, str] | None = None) -> ForkServerProcess:  # fmt: skip
    """Begin `f2c run` (or another verb) of a recipe under a root; `fault` is F2C_FAULT."""
    root.mkdir(parents=True, exist_ok=True)
    recipe = recipe or small()
    file = root / f"{recipe['name']}.yaml"
    file.write_text(yaml.safe_dump(recipe))
    environment = {"MLFLOW_TRACKING_URI": ""} | (environment or {})
    if fault is not None:
        fired(root).unlink(missing_ok=True)
        environment |= {"F2C_FAULT": fault, "F2C_FAULTS_ON": str(fired(root))}
    command = [verb, str(file), "--root", str(root), *flags]
    arguments = (command, environment, str(printed(root, recipe["name"])))
    process = context().Process(target=_main, args=arguments)
    process.start()
    return process


def run(root: Path, fault: str | None = None, **given: Any) -> Ended:
    """`start`, to its end."""
    return end(start(root, fault, **given), printed(root))


def end(process: ForkServerProcess, output: Path) -> Ended:
    """Wait for the end of a process that was started."""
    process.join(HANG_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"it hangs; it printed\n{output.read_text()}")
    return Ended(process.exitcode, output.read_text())


def fired(root: Path) -> Path:
    """Where an injected failure is noted."""
    return root / "fault-fired"


def printed(root: Path, name: str = "small") -> Path:
    """What the last run of a recipe printed."""
    return root / f"{name}-printed.txt"


def _main(command: list[str], environment: dict[str, str], output: str) -> None:
    os.environ.update(environment)
    from orchestrator import publishing
    from orchestrator.cli import main
    from trainables import stage_run

    stage_run.PROGRESS_EVERY_S = 0.0
    # Pages are written from what is tested here, and cost half of the time.
    publishing.write_pages = lambda *_arguments, **_options: []
    publishing._draw_some_heat = lambda *_arguments: None
    with Path(output).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            status = main(command)
            file.flush()
    sys.exit(status)
