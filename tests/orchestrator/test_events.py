"""The record of a run: appended, whole line by line, whatever happened to the run before."""

import threading
import time
from types import SimpleNamespace

from orchestrator.events import LONGEST_PAUSE_S, Background, EventLog, read_events


def test_a_line_that_was_cut_costs_no_later_one(tmp_path):
    file = tmp_path / "events.jsonl"
    with EventLog(file, []) as log:
        log.write("stage_start", key="a")
    with file.open("a") as cut:
        cut.write('{"event": "epo')
    with EventLog(file, []) as log:
        log.write("stage_end", key="b")
    assert [event.get("key") for event in read_events(file)] == ["a", "b"]


def test_a_line_nested_without_end_costs_no_other(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text("[" * 100_000 + '\n{"event": "epoch"}\n')
    assert list(read_events(file)) == [{"event": "epoch"}]


def test_readers_get_each_event_after_it_is_on_disk(tmp_path):
    file, seen = tmp_path / "events.jsonl", []
    with EventLog(file, [lambda event: seen.append((event["event"], file.read_text()))]) as log:
        log.write("stage_end", key="a")
    assert seen == [("stage_end", file.read_text())]


def test_s18_what_a_server_answers_is_kept_without_secrets(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2hunter2")

    def refused() -> None:
        raise OSError("401 for http://me:pass@host with hunter2hunter2")

    background = Background("test")
    background.submit(refused)
    background.drain()
    assert background.failure == "OSError: 401 for http://***@host with ***"


def test_m04_a_slow_server_does_not_hold_up_the_run():
    answers, done = threading.Event(), []
    background = Background("test")
    background.submit(answers.wait)
    for number in range(100):
        background.submit(lambda n=number: done.append(n))
    assert done == []
    answers.set()
    background.drain()
    assert done == list(range(100))
    assert background.failure is None


def test_jobs_that_would_take_more_than_their_share_of_the_interpreter_wait_in_between():
    def work() -> None:
        until = time.thread_time() + 0.005
        while time.thread_time() < until:
            pass

    pauses = []
    for share in (1.0, 0.25):
        background = Background("test", share)
        background._hurry = SimpleNamespace(wait=pauses.append, set=lambda: None)
        background.submit(work)
        background.drain()
    assert pauses[0] == 0.0
    assert 3 * 0.005 <= pauses[1] <= LONGEST_PAUSE_S


def test_once_the_end_is_waited_for_nothing_pauses_any_more():
    background = Background("test", share=0.25)
    background.drain()
    assert background._hurry.is_set()


def test_after_a_failure_nothing_more_is_sent():
    sent, background = [], Background("test")
    background.submit(lambda: sent[0])
    background.submit(lambda: sent.append(1))
    background.drain()
    assert background.failure == "IndexError: list index out of range"
    assert sent == []
