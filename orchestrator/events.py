"""What happens in a run, in order: appended to `events.jsonl`, the truth that MLflow mirrors."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class EventLog:
    """One writer, the driver; readers are called with each event after it is on disk."""

    def __init__(self, file: Path, readers: list[Callable[[Event], None]]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("a", encoding="utf-8")
        self._readers = readers
        self._lock = threading.Lock()

    def write(self, kind: str, **fields: Any) -> None:
        """Append an event; the end of a stage is forced to the disk."""
        event = {"event": kind, "at": time.time(), **fields}
        with self._lock:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
            if kind == "stage_end":
                os.fsync(self._file.fileno())
            for reader in self._readers:
                reader(event)

    def close(self) -> None:
        """Close the file; later events would be an error."""
        self._file.close()
