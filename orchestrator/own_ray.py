"""A Ray of our own: a folder that its sockets fit in, and an eye on its processes."""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from trainables.errors import ConfigError

PREFIX = "f2c-ray-"
#: Of a socket's path, as the kernel has it.
MOST_BYTES = 103 if sys.platform == "darwin" else 107
#: Ray lets everybody write into its folder; so it lies in one that is its owner's alone.
INNER = "r"
#: What mkdtemp and Ray put behind the temporary folder, with the longest process id.
BEHIND = (
    f"/{PREFIX}12345678/{INNER}/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
)
#: Holds the process id of the driver and when it began.
OWNER = "driver"
#: A dead one of these ends every run; Ray's driver would notice it after a minute, or never.
PARTS = {"gcs_server": "head process (gcs_server)", "raylet": "node process (raylet)"}
LOOK_S = 0.1


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Where Ray shall make its folder; goes at the end, and those of killed drivers before.

    Raises:
        ConfigError: when no temporary folder has a path short enough for sockets.
    """
    base = short_folder((tempfile.gettempdir(), "/tmp", "/var/tmp"))
    _remove_left(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    (folder / OWNER).write_text(_identity(os.getpid()), encoding="ascii")
    try:
        yield folder / INNER
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def short_folder(candidates: Sequence[str]) -> Path:
    """The first folder that can be written and in which Ray's sockets have paths that are allowed.

    Raises:
        ConfigError: when there is none.
    """
    most = MOST_BYTES - len(BEHIND)
    for name in candidates:
        folder = os.path.realpath(name)
        fits = len(os.fsencode(folder)) <= most
        if fits and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return Path(folder)
    raise ConfigError(
        f"Ray needs a temporary folder that can be written and whose path has at most {most} "
        f"bytes, and none of {', '.join(dict.fromkeys(candidates))} is one; set TMPDIR to such a "
        "folder, or run with --executor inline"
    )


def _remove_left(base: Path) -> None:
    """Folders whose driver of this machine has ended without removing them."""
    for owner in base.glob(f"{PREFIX}*/{OWNER}"):
        with suppress(OSError, ValueError):
            identity = owner.read_text(encoding="ascii")
            if _identity(int(identity.split()[0])) != identity:
                shutil.rmtree(owner.parent, ignore_errors=True)


def _identity(pid: int) -> str:
    try:
        return f"{pid} {psutil.Process(pid).create_time()}"
    except psutil.NoSuchProcess:
        return ""


@contextmanager
def watched(on_death: Callable[[str], None]) -> Iterator[None]:
    """Look after the Ray that this process has started; one that was joined is not ours to watch.

    Args:
        on_death: called on a thread of its own with what has died; all of Ray is killed by then.
    """
    ours = _children()
    parts = {process: PARTS[name] for process in ours if (name := _name(process)) in PARTS}
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(LOOK_S):
            for process, words in parts.items():
                if _is_dead(process) and not ended.is_set():
                    _kill(ours)
                    on_death(words)
                    return

    thread = threading.Thread(target=work, name="ray-watch", daemon=True)
    if parts:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if parts:
            thread.join()


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _kill(known: list[psutil.Process]) -> None:
    """The processes that were there at the start, wherever they belong now, and the later ones."""
    for process in {*known, *_children()}:
        with suppress(psutil.Error):
            process.kill()
