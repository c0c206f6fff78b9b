"""The kinds of fault that a user can mend, each with its exit status."""

import traceback
from pathlib import Path

from trainables.secrets import hide_secrets


class ConfigError(Exception):
    """The recipe, a flag or the machine asked for does not fit (exit status 2)."""

    exit_status = 2


class DataError(Exception):
    """Photos, annotations or weights are missing, damaged or contradictory (exit status 65)."""

    exit_status = 65


class BusyError(Exception):
    """The machine could not do it now; nothing is lost, the same command again (status 75)."""

    exit_status = 75


class TakenBackError(Exception):
    """A stage's process was told to end (SIGTERM), as on a node that a cloud takes back.

    No fault of the stage: it goes on elsewhere, and none of its retries is used up.
    """

    TEXT = "its process was told to end (SIGTERM)"

    def __init__(self) -> None:
        super().__init__(self.TEXT)


class LostDeviceError(Exception):
    """A GPU has failed so that its process cannot use it any more; another process may."""


def describe(error: BaseException) -> str:
    """The end of a traceback, in a few lines: where it happened and what it said."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    hint = ""
    if _is_out_of_memory(error):
        hint = "; lower train.batch_size"
        hint += (
            ", or give each stage more of its GPU (--gpus-per-stage)"
            if "CUDA" in str(error)
            else ""
        )
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return hide_secrets(f"{type(error).__name__}: {error}{hint} ({where})")


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error)
