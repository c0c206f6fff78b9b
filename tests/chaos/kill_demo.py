"""Kill a run again and again at seeded random moments, resume each time, compare the end.

python tests/chaos/kill_demo.py --kills 100 --seed 0 --to docs/results/chaos

A round is the small recipe (nine stages, longer epochs) under a root of its own, through Ray. While
it trains, its driver, a training actor or a Ray process gets SIGKILL; where that ends the run, the
same command again, until it ends with status 0. Every finished round is compared with one
undisturbed run. Several seeds can run beside one another into one folder: each has its own log, and
`summary.json` adds them up.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.chaos.started import Orphans, Started
from tests.chaos.tally import Tally
from tests.faults import runner
from tests.faults.gold import Gold, assert_mlflow, gold_of

REPOSITORY = Path(__file__).parents[2]
VICTIMS = {"driver": 0.5, "actor": 0.3, "raylet": 0.1, "gcs_server": 0.1}
#: So many kills come while stages train and one is done; the others at any moment of a start.
AFTER_A_STAGE = 0.8
WITHIN_S = {True: 3.0, False: 20.0}
TRAIN = {"epochs": 40, "batch_size": 8, "lr": 0.01, "schedule": "onecycle", "precision": "float32"}
#: Far above what a busy machine needs: only what hangs meets it.
GIVE_UP_S = 900.0
#: A driver notices a dead Ray at once, and while Ray starts after the 30 s that it has, twice.
NOTICES_S = 120.0
SAID = ("has died", "could not start")
#: A signal that was ours, or the documented end of a run that lacks something.
STATUSES = (0, 75, -signal.SIGKILL)
MOST_STARTS = 100


@dataclass(frozen=True)
class Kill:
    """Who is hit and when: so long after training goes on (late), or after the command."""

    kind: str
    late: bool
    moment_s: float


class Chaos:
    """Rounds of kills, one after the other."""

    def __init__(self, folder: Path, tally: Tally, n_kills: int, executor: str, log: TextIO):
        self.tally = tally
        self._folder, self._n_kills, self._executor, self._log = folder, n_kills, executor, log
        self._victims = VICTIMS if executor == "ray" else {"driver": 1.0}
        self._random = random.Random(tally.seed)
        self._recipe = runner.small(train=TRAIN)
        self._orphans = Orphans()
        root = folder / "golden"
        ended = runner.run(root, recipe=self._recipe)
        assert ended.status == 0, ended.printed
        self._gold: Gold = gold_of(root)

    def say(self, text: str) -> None:
        """A line of the log."""
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, file=self._log, flush=True)
        print(line, flush=True)  # noqa: T201

    @property
    def is_through(self) -> bool:
        """Whether all kills are made."""
        return self.tally.kills.total() >= self._n_kills

    def round(self) -> None:
        """The same command until it ends with status 0, then the comparison."""
        root = self._folder / f"round{self.tally.rounds}"
        for _ in range(MOST_STARTS):
            start = Started(root, self._recipe, self._executor)
            self.tally.starts += 1
            self._disturb(start)
            status = self._status(start)
            self.tally.finished_stages_trained_again += start.trained_again()
            n_all = len(self._gold.weights)
            self.say(f"status {status}, {start.n_finished} of {n_all} stages finished")
            if status == 0:
                self._compare(root)
                return
        raise TimeoutError(f"{root} did not end in {MOST_STARTS} starts")

    def _disturb(self, start: Started) -> None:
        """Kill until the driver has ended; a killed actor is replaced, so more can follow."""
        while not self.is_through and self._strike(start, self._draw()):
            start.go_on()

    def _draw(self) -> Kill:
        kind = self._random.choices(list(self._victims), list(self._victims.values()))[0]
        late = self._random.random() < AFTER_A_STAGE
        return Kill(kind, late, self._random.uniform(0.0, WITHIN_S[late]))

    def _strike(self, start: Started, kill: Kill) -> bool:
        """Make a kill; whether the driver lives on, so that another can follow."""
        trains = lambda: start.trains() and start.n_finished > 0  # noqa: E731
        if kill.late and not start.wait(trains, GIVE_UP_S):
            return False
        start.pause(kill.moment_s)
        if start.process.exitcode is not None:
            return False
        found = start.victims(kill.kind)
        kind, victims = (kill.kind, found) if found else ("driver", start.victims("driver"))
        n_finished = start.n_finished
        self._random.choice(victims).send_signal(signal.SIGKILL)
        n_kill = self.tally.note(kind, n_finished)
        when = "training went on" if kill.late else "the command or the last kill"
        self.say(
            f"kill {n_kill}: {kind}, {kill.moment_s:.1f} s after {when}; finished stages there "
            f"were: {n_finished}"
        )
        return kind == "actor" or self._ends_after(start, kind)

    def _ends_after(self, start: Started, kind: str) -> bool:
        """See that a driver ends whose Ray was killed, in time and with a sentence; False."""
        began = time.monotonic()
        start.process.join(NOTICES_S)
        hangs = start.process.exitcode is None
        if kind != "driver":
            printed = start.printed()
            told = start.process.exitcode == 75 and any(text in printed for text in SAID)
            self.tally.deaths_of_ray_without_a_sentence += not told
            seconds = time.monotonic() - began
            self.say(
                f"the driver {'hung' if hangs else 'ended'} after {seconds:.1f} s, told: {told}"
            )
        if hangs:
            start.process.kill()
        return False

    def _status(self, start: Started) -> int:
        start.process.join(GIVE_UP_S)
        assert start.process.exitcode is not None, f"it hangs: {start.printed()}"
        if start.process.exitcode not in STATUSES:
            self.tally.other_endings += 1
            self.say(f"it printed\n{start.printed()}")
        self._orphans.add(start.seen)
        self._note_left(self._orphans.late())
        return start.process.exitcode

    def _note_left(self, left: list) -> None:
        self.tally.processes_left += len(left)
        for process in left:
            self.say(f"still there: {process}")

    def _compare(self, root: Path) -> None:
        self.tally.rounds += 1
        same = gold_of(root) == self._gold
        self.tally.rounds_with_other_weights_or_table += not same
        try:
            assert_mlflow(root, self._gold)
        except AssertionError as error:
            self.tally.rounds_with_double_runs_or_points_in_mlflow += 1
            self.say(f"MLflow: {error}")
        self.say(f"round {self.tally.rounds} ended, equal to the undisturbed run: {same}")

    def end(self) -> None:
        """Wait for what the last kills left."""
        self._note_left(self._orphans.wait())


def main() -> int:
    """Run, write log and summary after each round, return 0 where every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executor", choices=("ray", "inline"), default="ray")
    parser.add_argument("--to", type=Path, required=True, help="folder of log and summary")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    tally, setting = Tally(options.seed), {"executor": options.executor, "train": TRAIN}
    log_file = options.to / f"log-seed{options.seed}.txt"
    with tempfile.TemporaryDirectory(prefix="c-") as scratch, log_file.open("w") as log:
        #: Of all that runs here, so that Ray's folders go with the rest; the path is a short one.
        os.environ |= {"TMPDIR": scratch, "PYTHONPATH": str(REPOSITORY)}
        began = time.monotonic()
        chaos = Chaos(Path(scratch), tally, options.kills, options.executor, log)
        while not chaos.is_through:
            chaos.round()
            tally.seconds = round(time.monotonic() - began, 1)
            tally.save(options.to, setting)
        chaos.end()
        tally.save(options.to, setting)
    print(json.dumps(vars(tally), indent=1))  # noqa: T201
    return 0 if tally.broken_promises == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
