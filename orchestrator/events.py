"""What happens in a run, in order: appended to `events.jsonl`, the truth that MLflow mirrors."""

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainables.errors import DataError
from trainables.faults import fault_point
from trainables.secrets import hide_secrets

Event = dict[str, Any]


class EventLog:
    """One writer, the driver; readers are called with each event after it is on disk."""

    def __init__(self, file: Path, readers: list[Callable[[Event], None]]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("a", encoding="utf-8")
        self._file.write("" if _ends_whole(file) else "\n")
        self._readers = readers
        self._lock = threading.Lock()

    def write(self, kind: str, **fields: Any) -> None:
        """Append an event; the end of a stage is forced to the disk."""
        event = {"event": kind, "at": time.time(), **fields}
        with self._lock:
            fault_point(f"event.{kind}")
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
            if kind == "stage_end":
                os.fsync(self._file.fileno())
            fault_point(f"event.{kind}.written")
            for reader in self._readers:
                reader(event)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()


def _ends_whole(file: Path) -> bool:
    """Whether the last line has its end; a full disk may have cut it."""
    return file.read_bytes()[-1:] in (b"", b"\n")


def read_events(file: Path) -> Iterator[Event]:
    """The events of a record; a line that a kill has torn is left out.

    Raises:
        DataError: when there is no record.
    """
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"there is no record {file}; f2c run RECIPE writes it") from error
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


#: Of `Background` after one job, however long the job was.
LONGEST_PAUSE_S = 1.0


class Background:
    """Runs jobs in order on a thread of its own; the first failure ends it, never the run."""

    def __init__(self, name: str, share: float = 1.0) -> None:
        """Begin.

        Args:
            name: of the thread.
            share: of the interpreter's time that jobs of up to a third of a second take at most,
                until `drain`. What comes faster waits in memory.
        """
        self.failure: str | None = None
        self.seconds = 0.0
        self._pauses = 1 / share - 1
        self._hurry = threading.Event()
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job; never blocks."""
        self._jobs.put(job)

    def drain(self) -> None:
        """Wait for everything queued, then end."""
        self._hurry.set()
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self.failure is not None:
                continue
            began, cpu_began_s = time.perf_counter(), time.thread_time()
            try:
                job()
            except Exception as error:  # whatever a client or server may raise
                first = str(error).partition("\n")[0]
                self.failure = hide_secrets(f"{type(error).__name__}: {first[:200]}")
            self.seconds += time.perf_counter() - began
            pause_s = self._pauses * (time.thread_time() - cpu_began_s)
            self._hurry.wait(min(pause_s, LONGEST_PAUSE_S))
