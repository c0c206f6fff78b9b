"""One run of a name at a time, and how it is asked to stop."""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from trainables.bucket import Original, original_of
from trainables.errors import ConfigError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: From the first signal to the end of the process, whatever is still going on.
GRACE_S = 20.0


class Stop:
    """A request to stop: seen by the driver as an event, by every stage as a file."""

    def __init__(self, file: Path, answer: str = "", grace_s: float = GRACE_S) -> None:
        """Nothing is asked yet.

        Args:
            file: that stages look for.
            answer: printed at once when a signal comes.
            grace_s: from a signal to the end of the process.
        """
        self.file = file
        self._answer = f"{answer}\n".encode() if answer else b""
        self._grace_s = grace_s
        self.event = threading.Event()
        self.signal: int | None = None
        self._telling: threading.Thread | None = None
        self._forget()

    def request(self, number: int) -> None:
        """Ask everything to end in order; a second request ends the process at once."""
        self._note(number)
        self._tell_stages()

    def _note(self, number: int) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        self.event.set()

    def _tell_stages(self) -> None:
        """By the file; a bucket may answer late, so it is told on a thread of its own."""
        with suppress(OSError):  # the driver ends all the same
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.touch()
        original = original_of(self.file)
        if original is not None:
            self._telling = threading.Thread(target=self._put, args=(original,), daemon=True)
            self._telling.start()

    def _put(self, original: Original) -> None:
        with suppress(OSError, ConfigError):  # stages elsewhere end with the driver
            original.bucket.put(self.file, original.path)

    def install(self) -> None:
        """Take the signals; again after `ray.init`, which takes SIGTERM for itself."""

        def handle(number: int, _frame: FrameType | None) -> None:
            # What is saved is saved by a rename, so ending in the middle of anything is safe.
            late = threading.Timer(self._grace_s, os._exit, (128 + number,))
            late.daemon = True
            late.start()
            self._note(number)
            with suppress(OSError):  # nobody may be reading any more
                os.write(1, self._answer)
            self._tell_stages()  # last, since disk and bucket may not answer

        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, handle)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Our own handlers while a run goes on; Tune's would end it with status 0."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._forget()

    def _forget(self) -> None:
        if self._telling is not None:
            self._telling.join()
        self.file.unlink(missing_ok=True)
        original = original_of(self.file)
        if original is not None:
            original.bucket.delete_object(original.path)


@contextmanager
def only_one(file: Path) -> Iterator[None]:
    """Hold a run's folder; the kernel lets go when the process ends, however it ends.

    Raises:
        ConfigError: when another run of the same name is going on.
    """
    with file.open("a+", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.seek(0)
            raise ConfigError(
                f"{file.parent} is in use by process {held.read().strip() or 'unknown'}; wait for "
                "it, stop it, or give this run another --name"
            ) from None
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield
