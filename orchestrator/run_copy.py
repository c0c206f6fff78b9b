"""A run's own folder in a bucket: brought before the run, sent after it. Stages and views go alone.

MLflow's embedded database goes along, so that runs are reopened and not made twice; its artifacts,
copies of what the folder holds, do not.
"""

from pathlib import Path

from orchestrator.cluster import Machine
from trainables.bucket import COPY_OF, Bucket, bucket

#: Beside the runs' folders.
SHARED = ("mlflow.db", "speeds.json")
#: Of one machine and one moment.
OWN = (".lock", ".stop")


def bring_run(machine: Machine, name: str) -> None:
    """Copy a run's files here that are not here yet; nothing to do for a root of this machine.

    Raises:
        ConfigError: when the bucket cannot be written; nothing has started then.
    """
    if machine.copy_of is None:
        return
    there = bucket(machine.copy_of)
    there.put(machine.root / COPY_OF, COPY_OF)
    for path in (*SHARED, *there.files(name)):
        file = machine.root / path
        if not file.exists() and file.name not in OWN:
            _get(there, path, file)


def send_run(machine: Machine, name: str) -> None:
    """Copy a run's files to the bucket."""
    if machine.copy_of is None:
        return
    there, folder = bucket(machine.copy_of), machine.root / name
    files = [f for f in folder.rglob("*") if f.is_file() and f.name not in OWN]
    for file in (*files, *(machine.root / shared for shared in SHARED)):
        if file.exists() and "tune" not in file.relative_to(machine.root).parts:
            there.put(file, file.relative_to(machine.root).as_posix())


def _get(there: Bucket, path: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        there.get(path, file)
    except FileNotFoundError:
        return
