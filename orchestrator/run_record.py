"""With what a run was made: `run.json`, beside its results."""

import json
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from orchestrator.cluster import local_cpus, local_gpus
from orchestrator.run_tags import git_commit
from trainables.disk import replace_text
from trainables.errors import DataError
from trainables.streamed import view_at_hand

if TYPE_CHECKING:
    from orchestrator.sweep import Outcome

RECORD_FILE = "run.json"
PACKAGES = ("fine-to-coarse", "torch", "ray", "mlflow", "numpy", "pillow")


def write_record(outcome: "Outcome", command: str) -> Path:
    """Write command, versions, hardware, seconds and data of a run.

    A run that had nothing to train keeps the record of the one that trained.
    """
    file = outcome.folder / RECORD_FILE
    if file.exists() and not outcome.progress.statuses:
        return file
    record = {
        "command": command,
        "commit": git_commit(),
        "ended": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "data_key": outcome.experiment.facts.data_key,
        "precision": outcome.experiment.recipe.train.precision,
        "hardware": hardware(),
        "versions": versions(),
        "seconds": {name: round(seconds, 2) for name, seconds in outcome.seconds.items()},
        "stages_trained": len(outcome.progress.trained),
        "class_names": class_names(outcome),
    }
    replace_text(file, json.dumps(record, indent=1))
    return file


def class_names(outcome: "Outcome") -> list[str]:
    """Names of the classes by label, out of a prepared test view; empty where there is none."""
    for tests in outcome.plan.tests.values():
        try:
            return list(view_at_hand(outcome.root / "data", tests["low"]).class_names)
        except DataError:
            return []
    return []


def versions() -> dict[str, str]:
    """Of Python and what numbers depend on; a source tree that is not installed has no version."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware(
    cpuinfo: Path = Path("/proc/cpuinfo"), gpus: Path = Path("/proc/driver/nvidia/gpus")
) -> str:
    """The driver's machine in words: processor, CPUs, memory, GPUs."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # not on Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    memory_gib = psutil.virtual_memory().total / 2**30
    parts = [processor, f"{local_cpus()} CPUs", f"{memory_gib:.0f} GiB", f"{local_gpus()} GPUs"]
    return ", ".join(parts + gpu_models(gpus))


def gpu_models(gpus: Path) -> list[str]:
    """Names of the GPUs as NVIDIA's driver files them; empty without one."""
    texts = [file.read_text(errors="replace") for file in sorted(gpus.glob("*/information"))]
    lines = [line.partition(":") for text in texts for line in text.splitlines()]
    return [value.strip() for name, _, value in lines if name.strip() == "Model"]
