"""Which process owns a file, told from one that has the same id later, or in another container."""

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

#: Place of `starttime` behind the name in /proc/PID/stat.
STARTED = 19


def owner_here() -> dict[str, Any]:
    """This process, as others on the same disk can tell whether it lives."""
    return {"pid": os.getpid(), "began": _began(os.getpid()), "machine": _machine()}


def owner_in(content: bytes) -> dict[str, Any]:
    """The owner that a file names; empty where it names none."""
    try:
        owner = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def is_dead(owner: dict[str, Any]) -> bool:
    """Whether the owner is a process of this machine that has ended; others we cannot see."""
    if owner.get("machine") != _machine():
        return False
    return _began(owner.get("pid", -1)) != owner.get("began")


def _began(pid: int) -> float | None:
    """When a process began, on a clock that nobody sets: Linux tells ticks since its own start."""
    try:
        process = psutil.Process(pid)
        with suppress(OSError, IndexError):
            stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
            return float(stat.rpartition(")")[2].split()[STARTED])
        return process.create_time()
    except (psutil.Error, ValueError, TypeError):
        return None


def _machine() -> list[str]:
    """Host, boot and process namespace: where a pid means something."""
    facts = [socket.gethostname()]
    with suppress(OSError):  # not on Linux
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return facts
