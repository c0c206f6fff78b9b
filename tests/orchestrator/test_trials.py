"""Trials of several stages: what the driver is told, and that no stage is lost with one."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.trials import Trials


class Told:
    """What a launch of stages a to d is told, and what is left for other trials."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.left = [["a", "b", "c"], ["d"]]
        self.stop = SimpleNamespace(event=threading.Event())

    @property
    def schedule(self) -> SimpleNamespace:
        return SimpleNamespace(exhausted=not self.left)

    def next_trial(self, slots: int) -> list[str]:
        assert slots == 2
        return self.left.pop(0) if self.left else []

    def started(self, key: str, trial_id: str) -> None:
        self.heard.append(("started", key, trial_id))

    def reported(self, key: str, result: dict) -> None:
        self.heard.append(("reported", key, result["status"]))

    def ended(
        self, key: str, trial_id: str, seconds: dict | None, fault: str | None = None
    ) -> None:
        self.heard.append(("ended", key, trial_id, *filter(None, [fault])))

    def again(self, key: str) -> None:
        self.left.append([key])

    def parent_folder(self, key: str) -> Path:
        return Path(f"/store/{key}-parent")

    def job(self, key: str) -> SimpleNamespace:
        return SimpleNamespace(model_dump_json=lambda: key)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def trials(told, tmp_path) -> Trials:
    return Trials(told, slots=2, folder=tmp_path)


def result(status: str, *, done: bool = False) -> dict:
    return {"status": status, "done": done, "seconds": {}, "results": [{"status": status}]}


def test_a_trial_goes_on_with_its_next_stage_and_would_be_tried_again_from_there(trials, told):
    assert trials.begin("t") == {"jobs": ["a", "b", "c"], "parent_folder": "/store/a-parent"}
    assert trials.reported("t", result("running")) is None
    config = trials.reported("t", result("done"))
    assert config == {"jobs": ["b", "c"], "parent_folder": "/store/b-parent"}
    assert told.heard[-2:] == [("ended", "a", "t"), ("started", "b", "t")]


def test_stages_that_a_trial_did_not_come_to_go_into_others_and_its_own_has_ended(trials, told):
    trials.begin("t")
    trials.end("t")
    assert told.heard[-1] == ("ended", "a", "t")
    assert told.left == [["d"], ["b"], ["c"]]


def test_a_stage_whose_trial_is_given_up_ends_with_the_fault_of_its_last_try(trials, told):
    trials.begin("t")
    trials.given_up("t", "OSError: disk")
    trials.end("t")
    assert told.heard[-1] == ("ended", "a", "t", "OSError: disk")


def test_k08_a_trial_that_tune_drops_gives_all_its_stages_back(trials, told):
    trials.begin("t")
    trials.dropped("t")
    trials.end("t")
    assert told.left == [["d"], ["a"], ["b"], ["c"]]


def test_as_long_as_a_trial_runs_its_stages_may_come_back(trials, told):
    """Tune asks for no trial any more once it was told that there is none."""
    trials.begin("t")
    trials.begin("last")
    trials.end("last")
    assert not trials.exhausted
    trials.end("t")
    assert not trials.exhausted
    for name in ("u", "v"):
        trials.begin(name)
        trials.end(name)
    assert trials.exhausted


def test_a_stop_starts_nothing_more(trials, told):
    told.stop.event.set()
    assert trials.exhausted
    assert trials.begin("t") is None
