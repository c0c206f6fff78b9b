"""Who trains a stage where several drivers share a store: a lease a stage, kept alive.

The store takes each stage once whoever trains it, so results never depend on leases; they only save
training a stage twice. Whether an owner lives is judged by its renewals while we watch, never by
anybody's clock.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.owner import is_dead, owner_here, owner_in
from trainables.disk import make_folders

RENEW_S = 30.0
#: An owner that has not renewed for so long, as we saw it, has lost its lease.
STALE_S = 90.0


class Leases:
    """The leases of one driver on the stages of a store."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is written before the first lease.

        Args:
            folder: `store/leases`.
            clock: seconds that never go back.
        """
        self._folder, self._clock = folder, clock
        self._owner = {"token": uuid.uuid4().hex, **owner_here()}
        self._beats: dict[str, int] = {}
        self._watched: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Whether the stage is ours to train now: free, ours already, or left by a dead driver."""
        with self._lock:
            if key in self._beats or self._write_new(key):
                return True
            return self._is_stale(key) and self._set_aside(key) and self._write_new(key)

    def release(self, key: str) -> None:
        """Let go of a stage that has ended."""
        with self._lock:
            if self._beats.pop(key, None) is not None and self._is_ours(key):
                (self._folder / key).unlink(missing_ok=True)

    def forget(self, key: str) -> None:
        """Remove the lease that a dead driver has left on a stage that is finished."""
        content = _read(self._folder / key)
        if content and is_dead(owner_in(content)):
            (self._folder / key).unlink(missing_ok=True)

    def renew(self) -> list[str]:
        """Show that we live; return the leases that others have taken meanwhile."""
        with self._lock:
            lost = [key for key in self._beats if not self._is_ours(key)]
            for key in lost:
                del self._beats[key]
            for key in self._beats:
                self._beats[key] += 1
                self._replace(key)
            return lost

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew on a thread of its own; let go of everything at the end."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(RENEW_S):
                with suppress(OSError):  # the next renewal may succeed
                    self.renew()

        thread = threading.Thread(target=work, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            for key in list(self._beats):
                self.release(key)

    def _content(self, key: str) -> bytes:
        return json.dumps(self._owner | {"beat": self._beats.get(key, 0)}).encode()

    def _write_new(self, key: str) -> bool:
        make_folders(self._folder)
        try:
            with (self._folder / key).open("xb") as file:
                file.write(self._content(key))
        except FileExistsError:
            return False
        self._beats[key] = 0
        self._watched.pop(key, None)
        return True

    def _replace(self, key: str) -> None:
        scratch = self._folder / f".tmp-{key[:16]}-{self._owner['token']}"
        scratch.write_bytes(self._content(key))
        scratch.replace(self._folder / key)

    def _is_ours(self, key: str) -> bool:
        return owner_in(_read(self._folder / key)).get("token") == self._owner["token"]

    def _is_stale(self, key: str) -> bool:
        content, now = _read(self._folder / key), self._clock()
        before, since = self._watched.get(key, (None, now))
        if content != before:
            self._watched[key], since = (content, now), now
        return is_dead(owner_in(content)) or now - since > STALE_S

    def _set_aside(self, key: str) -> bool:
        """Move a stale lease away, unless another driver was faster and renewed or took it."""
        aside = self._folder / f".tmp-{key[:16]}-{uuid.uuid4().hex}"
        try:
            (self._folder / key).rename(aside)
        except FileNotFoundError:
            return True
        same = _read(aside) == self._watched[key][0]
        if not same:
            with suppress(FileExistsError):
                os.link(aside, self._folder / key)
        aside.unlink()
        return same


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
