"""`f2c gc`: what lies under the root that no stage needs. Lists; deletes only when told to."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import tyro
from rich.console import Console

from orchestrator.cluster import check_root
from orchestrator.display import next_line
from orchestrator.recipe_files import RECORDED
from trainables.errors import ConfigError
from trainables.store import Store

OLD_S = 24 * 3600


def collect(arguments: Sequence[str], console: Console) -> int:
    """List leftovers and their size; with `--delete` remove them.

    Raises:
        ConfigError: when the root is no folder, or cannot be written where it has to be.
    """

    def options(root: Path = Path("runs"), *, delete: bool = False) -> tuple[Path, bool]:
        return root, delete

    root, delete = tyro.cli(options, args=list(arguments), prog="f2c gc")
    if not root.is_dir():
        raise ConfigError(f"--root {root} is no folder; name the one that your runs are in")
    if delete:
        check_root(root)
    found = sorted(leftovers(root))
    total = sum(_size(folder) for folder in found)
    for folder in found:
        console.print(f"  {_size(folder) / 1e6:8.1f} MB  {folder}")
        if delete:
            shutil.rmtree(folder, ignore_errors=True)
    word = "deleted" if delete else "could go"
    console.print(f"{len(found)} leftovers, {total / 1e6:.1f} MB {word}")
    left = found and not delete
    console.print(next_line(*(["gc", "--root", str(root), "--delete"] if left else _run_of(root))))
    return 0


def _run_of(root: Path) -> list[str]:
    """The command that tells of the newest run under a root, or plans a first one."""
    runs = sorted(root.glob(f"*/{RECORDED}"), key=lambda file: file.stat().st_mtime)
    if not runs:
        return ["plan", "demo", "--root", str(root)]
    return ["status", str(runs[-1].parent.absolute())]


def leftovers(root: Path) -> Iterator[Path]:
    """Progress of finished stages, quarantined entries, and old temporary folders of ours."""
    store = Store(root / "store")
    done = {entry.key[:16] for entry in store.entries()}
    for folder in (root / "store" / "progress").glob("*"):
        if folder.name.rsplit("-", 1)[-1] in done:
            yield folder
    yield from (root / "store" / "quarantine").glob("*")
    for parent in (root / "store", root / "data"):
        for folder in parent.glob(".tmp-*"):
            if time.time() - folder.stat().st_mtime > OLD_S:
                yield folder


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
