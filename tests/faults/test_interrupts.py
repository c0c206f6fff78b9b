"""Ctrl-C once and twice, SIGTERM, SIGHUP, a reader that has gone: honest status, whole store."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from orchestrator.control import Stop
from tests.faults import runner
from tests.faults.gold import events_of, gold_of
from trainables.bucket import Original
from trainables.errors import ConfigError

LONG = {"epochs": 500, "batch_size": 8, "lr": 0.01, "precision": "float32"}


def until(condition, process) -> None:
    """Wait; a process that ends before has failed."""
    pause = threading.Event()
    for _ in range(int(runner.HANG_S / 0.02)):
        if condition():
            return
        assert process.exitcode is None
        pause.wait(0.02)
    raise TimeoutError


def trains(root: Path):
    return lambda: any(event["event"] == "epoch" for event in events_of(root))


@pytest.fixture
def long_run(golden, tmp_path):
    """A run that would train for long, in its first epochs."""
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    process = runner.start(tmp_path, recipe=runner.small(train=LONG))
    until(trains(tmp_path), process)
    yield process
    process.kill()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_i01_i03_i05_a_signal_ends_the_run_in_order(long_run, tmp_path, number, status):
    os.kill(long_run.pid, number)
    ended = runner.end(long_run, runner.printed(tmp_path))
    assert ended.status == status
    assert "resume" in ended.printed
    assert "Traceback" not in ended.printed
    assert list((tmp_path / "store").glob("progress/*/epoch-*")) != []
    assert not (tmp_path / "small" / ".stop").exists()


def stopped(tmp_path: Path, signals: str, grace_s: float, before: str = "") -> int:
    """The status of a process that sends itself signals and never ends by itself."""
    code = (
        "import os, sys, threading\nfrom signal import SIGINT, SIGTERM\nfrom pathlib import Path\n"
        f"from orchestrator.control import Stop\n{before}\n"
        f"Stop(Path(sys.argv[1]), grace_s={grace_s}).install()\n"
        f"for number in ({signals}): os.kill(os.getpid(), number)\n"
        "threading.Event().wait()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "stop")]
    return subprocess.run(command, check=False, timeout=runner.HANG_S).returncode


def test_i02_the_second_signal_ends_the_process_at_once(tmp_path):
    assert stopped(tmp_path, "SIGINT, SIGINT", grace_s=3600.0) == 130


def test_i04_what_does_not_end_within_the_grace_is_ended(tmp_path):
    assert stopped(tmp_path, "SIGTERM,", grace_s=0.2) == 143


def test_i04_a_disk_that_does_not_answer_holds_up_neither_the_grace_nor_the_second_signal(tmp_path):
    hangs = "Path.touch = lambda *_: threading.Event().wait()"
    assert stopped(tmp_path, "SIGTERM,", grace_s=0.2, before=hangs) == 143
    twice = f"{hangs}\nthreading.Timer(0.2, os.kill, (os.getpid(), SIGINT)).start()"
    assert stopped(tmp_path, "SIGTERM,", grace_s=3600.0, before=twice) == 130


def test_i01_a_stop_counts_also_where_its_file_cannot_be_written(tmp_path):
    stop = Stop(tmp_path / "run" / ".stop")
    (tmp_path / "run").write_text("in the way")
    stop.request(signal.SIGINT)
    assert stop.event.is_set()
    assert stop.signal == signal.SIGINT


@pytest.mark.parametrize("error", [None, OSError("no answer"), ConfigError("refused")])
def test_i01_a_stop_counts_before_a_bucket_is_told_of_it_beside_the_driver(
    tmp_path, monkeypatch, error
):
    asked = SimpleQueue()

    def put(*_):
        asked.put((stop.event.is_set(), threading.current_thread()))
        if error is not None:
            raise error

    bucket = SimpleNamespace(put=put, delete_object=lambda _: None)
    monkeypatch.setattr("orchestrator.control.original_of", lambda _: Original(bucket, "run/.stop"))
    stop = Stop(tmp_path / "stop")
    with stop.on_signals():
        stop.request(signal.SIGINT)
    is_set, thread = asked.get(timeout=runner.HANG_S)
    assert is_set
    assert thread is not threading.current_thread()


def test_i05_what_is_ignored_stays_ignored_as_under_nohup(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stopped(tmp_path, "1, SIGTERM", grace_s=0.2) == 143
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_request_of_the_program_itself_sets_no_timer(tmp_path):
    before = threading.active_count()
    Stop(tmp_path / "stop").request(signal.SIGTERM)
    assert threading.active_count() == before


def test_i05_a_reader_that_has_gone_gets_no_flood_and_the_store_goes_on(golden, gold, tmp_path):
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    shutil.copy(golden[0] / "small.yaml", tmp_path)
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(tmp_path / "small.yaml")]
    command += ["--root", str(tmp_path), "--executor", "inline"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert gold_of(tmp_path) == gold
