"""What one example may do: little memory, little time, nothing outside its folder."""

import functools
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST_BYTES = 200_000_000
#: Of computing, so that a busy machine changes nothing; what waits for ever meets pytest's limit.
MOST_S = 2.0
#: What a parser has no business with.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "os.fork",
             "socket.connect", "ctypes.dlopen", "shutil.unpack_archive")  # fmt: skip
#: Where in an event's arguments a changed path is, and the folder's descriptor that it is under.
CHANGES = {
    "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),), "os.chmod": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)), "os.link": ((1, 3),), "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
}  # fmt: skip
#: Where Hypothesis keeps what it has found in our sources, also while an example draws.
HYPOTHESIS = ".hypothesis"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Guard:
    """Notes what Python's audit events tell of one example."""

    def __init__(self) -> None:
        self.place = Path("/nowhere")
        self.armed = False
        self.found: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.armed:
            return
        if event in FORBIDDEN:
            self.found.append(f"{event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
            self._check(event, arguments[0])
        else:
            for path, folder in CHANGES.get(event, ()):
                self._check(event, arguments[path], -1 if folder is None else arguments[folder])

    def _check(self, event: str, path: Any, folder: int = -1) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        above = Path() if folder < 0 else Path(f"/proc/self/fd/{folder}").readlink()
        whole = os.path.abspath(above / os.fsdecode(path))  # noqa: PTH100 - links stay
        if not whole.startswith(f"{self.place}{os.sep}") and f"/{HYPOTHESIS}/" not in f"{whole}/":
            self.found.append(f"{event} {path!r:.200}")


GUARD = Guard()


def within_bounds(example: Callable) -> Callable:
    """An example that fails when it takes or does too much; memory is counted on Linux only."""

    @functools.wraps(example)
    def run(*args: Any, **fields: Any) -> None:
        before, began = fresh_peak(), time.thread_time()
        GUARD.found.clear()
        GUARD.armed = True
        try:
            example(*args, **fields)
        finally:
            GUARD.armed = False
        spent_s = time.thread_time() - began
        grown = memory("VmHWM") - before if before else 0
        found = list(GUARD.found)
        assert not found, f"one example did {found}"
        assert spent_s < MOST_S, f"one example computed for {spent_s:.1f} s"
        assert grown < MOST_BYTES, f"one example took {grown / 1e6:.0f} MB of memory"

    return run


def fresh_peak() -> int:
    """Let the peak be counted from now on; bytes that are held now, 0 where it cannot be."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return memory("VmRSS")


def memory(name: str) -> int:
    """A size of this process in bytes, as Linux counts it."""
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
