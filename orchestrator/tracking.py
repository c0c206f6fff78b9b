"""Mirrors a run's events into MLflow, off the training path."""

from collections.abc import Iterable
from pathlib import Path

from orchestrator.events import Background, Event
from orchestrator.experiment import Experiment
from orchestrator.mirror import ENDINGS, Mirror
from orchestrator.plan import Plan
from orchestrator.tracked_model import BestCell

#: Of the interpreter that it shares with a driver of Tune; the rest is sent at the end.
SHARE = 0.25


class Tracker:
    """Queues everything for a `Mirror` that lives on a thread of its own."""

    _mirror: Mirror

    def __init__(
        self,
        experiment: Experiment,
        plan: Plan,
        root: Path,
        uri: str,
        *,
        trains: bool = True,
        share: float = 1.0,
    ) -> None:
        """Begin, or reopen, the sweep's run; `trains` is False where a record is only mirrored.

        `share` is about what mirroring takes of the interpreter's time, at most, until `finish`.
        """
        self.uri = uri
        self.link: str | None = None
        self._background = Background("mlflow", share)
        self._background.submit(
            lambda: self._open(Mirror(experiment, plan, root, uri, trains=trains))
        )

    def _open(self, mirror: Mirror) -> None:
        self._mirror, self.link = mirror, mirror.link

    @property
    def failure(self) -> str | None:
        """What MLflow answered when it failed; later events were not sent."""
        return self._background.failure

    @property
    def seconds(self) -> float:
        """Time spent in MLflow, beside the training."""
        return self._background.seconds

    def notify(self, event: Event) -> None:
        """Take an event of the run for mirroring; never blocks."""
        self._background.submit(lambda: self._mirror.write(event))

    def finish(
        self,
        status: str,
        metrics: dict[str, float],
        note: str,
        files: list[Path],
        best: BestCell | None = None,
    ) -> None:
        """Write the summary, description, artifacts and best model; wait until all is sent."""
        self._background.submit(lambda: self._mirror.end_run(status, metrics, note, files))
        if best is not None:
            self._background.submit(lambda: self._mirror.log_best(best))
        self._background.drain()

    def replay(self, events: Iterable[Event]) -> None:
        """Mirror a whole record again; what MLflow has of it already stays as it is."""
        record = list(events)
        last = {e["key"]: e for e in record if e["event"] in ENDINGS}
        for event in record:
            if event["event"] == "epoch" or event is last.get(event.get("key", "")):
                self._background.submit(lambda event=event: self._mirror.write_once(event))
        self._background.submit(lambda: self._mirror.kill_all_but(last))

    def settle(self, files: list[Path], *, done: bool) -> None:
        """End a replay: the sweep's files and how it stands; wait until all is sent."""
        self._background.submit(lambda: self._mirror.log_files(files))
        self._background.submit(lambda: self._mirror.end_replay(done=done))
        self._background.drain()
