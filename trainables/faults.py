"""Named places where tests make the machine fail; nothing happens unless a test switched it on.

`F2C_FAULT=point:action:n` fails when a process comes by `point` for the n-th time, once in all
processes together; `*` in place of n fails every time. It has an effect only where
`F2C_FAULTS_ON` names a file: each failure is noted there first, so that a test sees it took place.
"""

import errno
import os
import signal
from collections import Counter
from pathlib import Path

FAULT = "F2C_FAULT"
SWITCH = "F2C_FAULTS_ON"
_passed: Counter[str] = Counter()


def fault_point(name: str) -> None:
    """Fail here, if a test says so.

    Raises:
        OSError: ENOSPC or EIO, for the actions `enospc` and `eio`.
        RuntimeError: for the action `raise`; `kill` ends the process by SIGKILL, `term` asks it to
            end by SIGTERM, `note` does nothing.
    """
    record = os.environ.get(SWITCH)
    if record and os.environ.get(FAULT, "").startswith(f"{name}:"):
        _come_by(name, Path(record))


def _come_by(name: str, record: Path) -> None:
    _, action, turn = os.environ[FAULT].split(":")
    _passed[name] += 1
    fired = record.exists() and record.read_text()
    if turn == "*" or (_passed[name] == int(turn) and not fired):
        with record.open("a") as file:
            file.write(f"{name} {action} {os.getpid()}\n")
        _fail(action, name)


def _fail(action: str, name: str) -> None:
    if action in ("kill", "term"):
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGTERM)
        return
    if action in ("enospc", "eio"):
        number = errno.ENOSPC if action == "enospc" else errno.EIO
        raise OSError(number, f"{os.strerror(number)} (injected at {name})")
    if action != "note":
        raise RuntimeError(f"injected at {name}")
