"""`f2c gc`: what lies under the root that no stage needs. Lists; deletes only when told to."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import tyro
from rich.console import Console

from orchestrator.cluster import check_root
from orchestrator.display import next_line
from orchestrator.flags import root_of, standing_flags
from orchestrator.recipe_files import RECORDED
from trainables.bucket import is_bucket, local_root
from trainables.errors import BusyError, ConfigError
from trainables.store import Store

OLD_S = 24 * 3600


def collect(arguments: Sequence[str], console: Console) -> int:
    """List leftovers and their size; with `--delete` remove them.

    Raises:
        BusyError: when some cannot be deleted.
        ConfigError: when the root is no folder, or cannot be written where it has to be.
    """
    standing = root_of(standing_flags())

    def options(root: str = standing, *, delete: bool = False) -> tuple[str, bool]:
        return root, delete

    root, delete = tyro.cli(options, args=list(arguments), prog="f2c gc")
    here = local_root(root)
    if not here.is_dir():
        raise ConfigError(f"--root {root} is no folder; name the one that your runs are in")
    if delete:
        check_root(here)
    sizes = {path: _size(path) for path in sorted(leftovers(here))}
    for path, size_bytes in sizes.items():
        console.print(f"  {size_bytes / 1e6:8.1f} MB  {path}")
    left = [path for path in sizes if delete and not _removed(path)]
    n_bytes = sum(size_bytes for path, size_bytes in sizes.items() if path not in left)
    place = f" in this machine's copy of {root}" if is_bucket(root) else ""
    word = "deleted" if delete else "could go"
    console.print(f"{len(sizes) - len(left)} leftovers, {n_bytes / 1e6:.1f} MB {word}{place}")
    if left:
        raise BusyError(f"{len(left)} could not be deleted, as {left[0]}; see who owns them")
    again = ["gc", "--root", root, "--delete"] if sizes and not delete else _run_of(here)
    console.print(next_line(*again))
    return 0


def _run_of(root: Path) -> list[str]:
    """The command that tells of the newest run under a root, or plans a first one."""
    runs = sorted(root.glob(f"*/{RECORDED}"), key=lambda file: file.stat().st_mtime)
    if not runs:
        return ["plan", "demo", "--root", str(root)]
    return ["status", str(runs[-1].parent.absolute())]


def leftovers(root: Path) -> Iterator[Path]:
    """Progress of finished stages, what was set aside, and old temporary files of ours."""
    store = Store(root / "store")
    done = {entry.key[:16] for entry in store.entries()}
    for folder in (root / "store" / "progress").glob("*"):
        if folder.name.rsplit("-", 1)[-1] in done:
            yield folder
    yield from (root / "store" / "quarantine").glob("*")
    yield from (root / "data").glob(".damaged-*")
    for pattern in (".tmp-*", "*/.tmp-*", "store/leases/.tmp-*"):
        for path in root.glob(pattern):
            if time.time() - path.stat().st_mtime > OLD_S:
                yield path


def _removed(path: Path) -> bool:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return not path.exists()


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
