"""A Ray of our own: a folder that its sockets fit in, and an eye on its processes."""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import psutil

from orchestrator.owner import is_dead, owner_here, owner_in
from trainables.disk import replace_text
from trainables.errors import BusyError, ConfigError

PREFIX = "f2c-ray-"
#: Of a socket's path, as the kernel has it.
MOST_BYTES = 103 if sys.platform == "darwin" else 107
#: Ray lets everybody write into its folder; so it lies in one that is its owner's alone.
INNER = "r"
#: What mkdtemp and Ray put behind the temporary folder, with the longest process id.
BEHIND = (
    f"/{PREFIX}12345678/{INNER}/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
)
#: Names the driver's process.
OWNER = "driver"
#: A dead one of these ends every run; Ray's driver would notice it after a minute, or never.
PARTS = {"gcs_server": "head process (gcs_server)", "raylet": "node process (raylet)"}
#: Processes of Ray's head that serve nobody here: the server of its dashboard and usage statistics,
#: both off, the autoscaler of one machine, and what brings workers' logs to a driver.
UNUSED = ("start_api_server", "start_monitor", "start_log_monitor")
LOOK_S, FIND_S = 0.1, 0.5
#: What a killed process may take to go.
END_S = 5.0
#: Looks between two counts of all that the raylet has started, which its death takes from us.
COUNT_EVERY = 20


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Where Ray shall make its folder; goes at the end, and those of killed drivers before.

    Raises:
        ConfigError: when no temporary folder has a path short enough for sockets.
    """
    base = short_folder((tempfile.gettempdir(), "/tmp", "/var/tmp"))
    _remove_left(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    try:
        replace_text(folder / OWNER, json.dumps(owner_here()))
        yield folder / INNER
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lean_head() -> Iterator[None]:
    """A Ray that starts within has no `UNUSED` processes; it has no setting for them.

    They would cost a second at its start, another at its end, and 290 MB.
    """
    from ray._private.node import Node

    started = {name: getattr(Node, name) for name in UNUSED}
    try:
        for name in UNUSED:
            setattr(Node, name, lambda _node, **_options: None)
        yield
    finally:
        for name, start in started.items():
            setattr(Node, name, start)


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
        with suppress(OSError):
            if is_dead(owner_in(owner.read_bytes())):
                shutil.rmtree(owner.parent, ignore_errors=True)


class Watch:
    """Looks after the processes of the Ray that this process starts, from before its start."""

    def __init__(self, on_death: Callable[[str], None]) -> None:
        """Nothing is watched yet.

        Args:
            on_death: called on a thread of its own with what has died; all of Ray is killed by
                then.
        """
        self._on_death = on_death
        self._parts: dict[psutil.Process, str] = {}
        self._below: set[psutil.Process] = set()
        self._looks = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="ray-watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def look(self) -> None:
        """From now on a death is one."""
        self._looks.set()

    def forget(self) -> None:
        """Ray is about to end its processes itself."""
        with self._lock:
            self._looks.clear()
            self._parts.clear()

    def _work(self) -> None:
        number = 0
        while not self._ended.wait(LOOK_S if len(self._parts) == len(PARTS) else FIND_S):
            number += 1
            if number % COUNT_EVERY == 0:
                self._below = set(_children(recursive=True))
            with self._lock:
                dead = self._dead() if self._looks.is_set() else None
                if dead is not None and not self._ended.is_set():
                    _kill(self._below | set(_children(recursive=True)))
                    self._on_death(dead)
                    return

    def _dead(self) -> str | None:
        if len(self._parts) < len(PARTS):
            found = [child for child in _children() if not _is_dead(child)]
            self._parts |= {child: PARTS[n] for child in found if (n := _name(child)) in PARTS}
        return next((words for part, words in self._parts.items() if _is_dead(part)), None)


def workers_here() -> list[psutil.Process]:
    """What the raylet of a Ray of our own has started, workers that are still starting included."""
    raylets = [child for child in _children() if _name(child) == "raylet"]
    with suppress(psutil.NoSuchProcess):
        return [worker for raylet in raylets for worker in raylet.children(recursive=True)]
    return []


def end_workers(workers: Sequence[psutil.Process]) -> None:
    """Kill those that outlive their Ray: one that still starts would make its folder anew."""
    _kill(set(workers))
    pause, until = threading.Event(), time.monotonic() + END_S
    while not all(map(_is_dead, workers)) and time.monotonic() < until:
        pause.wait(FIND_S / 50)


def end_at_once(said: str) -> NoReturn:
    """End this process: its main thread may wait for an answer of Ray's that never comes."""
    with suppress(OSError):  # nobody may be reading any more
        os.write(1, f"\n{said}\n".encode())
    os._exit(BusyError.exit_status)


def tell(part: str) -> NoReturn:
    """End with a sentence."""
    end_at_once(f"Ray's {part} has died; run the same command again, nothing finished is lost")


def _children(*, recursive: bool = False) -> list[psutil.Process]:
    return psutil.Process().children(recursive)


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


def _kill(processes: set[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
