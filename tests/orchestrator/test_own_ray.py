import errno
import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from orchestrator import own_ray, owner
from orchestrator.cluster import Machine, ray_session
from orchestrator.own_ray import BEHIND, MOST_BYTES, Watch, ray_folder, short_folder
from orchestrator.owner import owner_here
from trainables.errors import ConfigError

WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def short(monkeypatch, tmp_path_factory) -> Path:
    """A temporary folder whose path is short enough, whatever TMPDIR is here."""
    monkeypatch.setattr(own_ray, "MOST_BYTES", 4096)
    folder = tmp_path_factory.mktemp("t")
    monkeypatch.setattr(own_ray.tempfile, "gettempdir", lambda: str(folder))
    return folder


def test_r07_a_long_temporary_path_is_passed_over_for_a_short_one(tmp_path):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    assert short_folder((str(deep), "/tmp")) == Path(os.path.realpath("/tmp"))


def test_r07_where_every_temporary_path_is_too_long_one_sentence_says_how_long_it_may_be(tmp_path):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    with pytest.raises(ConfigError, match=rf"at most {MOST_BYTES - len(BEHIND)} bytes.*TMPDIR"):
        short_folder((str(deep), str(tmp_path / "none")))


def test_k13_the_folder_of_a_killed_driver_goes_and_that_of_a_living_one_stays(short):
    with ray_folder() as living:
        dead = short / "f2c-ray-abcdefgh"
        dead.mkdir()
        (dead / "driver").write_text(json.dumps(owner_here() | {"began": 1.5}))
        foreign = short / "f2c-ray-ijklmnop"
        foreign.mkdir()
        with ray_folder() as mine:
            assert set(short.iterdir()) == {living.parent, foreign, mine.parent}
        assert set(short.iterdir()) == {living.parent, foreign}


def test_k13_the_folder_of_a_driver_in_another_container_with_the_same_tmp_stays(
    short, monkeypatch
):
    with ray_folder() as living:
        with monkeypatch.context() as elsewhere:  # there our process id is nobody's
            elsewhere.setattr(owner, "_machine", lambda: ["another process namespace"])
            elsewhere.setattr(owner, "_began", lambda _pid: None)
            with ray_folder():
                pass
        assert living.parent.exists()


@pytest.mark.parametrize("text", [b"", b" ", b"pid 1.5", b"\xff", b"9" * 30 + b" 1.5 x"])
def test_k13_an_owner_that_cannot_be_read_is_left_alone_and_stops_no_run(short, text):
    foreign = short / "f2c-ray-abcdefgh"
    foreign.mkdir()
    (foreign / "driver").write_bytes(text)
    with ray_folder() as mine:
        assert set(short.iterdir()) == {foreign, mine.parent}


def test_k13_where_its_owner_cannot_be_written_no_folder_of_ray_stays(short, monkeypatch):
    def full(_path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trainables.disk.fsync", full)
    with pytest.raises(OSError, match="No space left"), ray_folder():
        pass
    assert list(short.iterdir()) == []


@pytest.fixture
def ray(monkeypatch):
    """Children of this process that stand for Ray's two, and a worker of the raylet's."""
    names, children = {}, []
    monkeypatch.setattr(own_ray, "_name", lambda process: names.get(process.pid, "other"))
    monkeypatch.setattr(own_ray, "_children", lambda **_: list(children))

    def start(name: str) -> subprocess.Popen:
        process = stack.enter_context(subprocess.Popen(WAITS, stdin=subprocess.PIPE))
        stack.callback(process.kill)
        names[process.pid] = name
        children.append(psutil.Process(process.pid))
        return process

    with ExitStack() as stack:
        yield start


class Deaths:
    """What was told."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.told = threading.Event()

    def note(self, part: str) -> None:
        self.parts.append(part)
        self.told.set()


@pytest.mark.parametrize("alone", [True, False], ids=["while Ray starts", "later"])
def test_k09_k10_the_death_of_a_part_of_our_ray_is_noticed_and_the_rest_of_it_ended(ray, alone):
    deaths = Deaths()
    with Watch(deaths.note) as watch:
        watch.look()
        raylet = ray("raylet")
        worker = ray("worker")
        gcs = None if alone else ray("gcs_server")
        found_by(watch, raylet)
        raylet.kill()
        assert deaths.told.wait(60.0)
    assert deaths.parts == ["node process (raylet)"]
    assert worker.wait(60.0) != 0
    assert gcs is None or gcs.wait(60.0) != 0


def found_by(watch: Watch, process: subprocess.Popen) -> None:
    """Wait until a process is watched."""
    pause = threading.Event()
    while psutil.Process(process.pid) not in watch._parts:
        pause.wait(0.02)


def test_what_ray_ends_itself_before_it_tries_again_is_no_death(ray):
    deaths = Deaths()
    with Watch(deaths.note) as watch:
        watch.look()
        first = ray("raylet")
        found_by(watch, first)
        watch.forget()
        first.kill()
        watch.look()
        second = ray("raylet")
        found_by(watch, second)
    assert deaths.parts == []
    assert second.poll() is None


def test_who_ends_at_once_says_why_with_status_75():
    code = "from orchestrator.own_ray import tell; tell('node process (raylet)')"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 75
    assert "Ray's node process (raylet) has died; run the same command again" in ended.stdout


def test_our_ray_has_no_process_that_serves_nobody():
    """Ray may rename what is left out, in a later version."""
    with ray_session(Machine(Path("unused"))):
        below = psutil.Process().children(recursive=True)
        running = " ".join(word for process in below for word in process.cmdline())
        assert "gcs_server" in running
        assert "raylet" in running
        assert not [part for part in ("dashboard.py", "monitor.py") if part in running]


def test_a_worker_that_is_still_starting_outlives_neither_our_ray_nor_its_folder(monkeypatch):
    import ray

    made, make = [], own_ray.tempfile.mkdtemp
    monkeypatch.setattr(
        own_ray.tempfile, "mkdtemp", lambda **where: made.append(make(**where)) or made[-1]
    )
    with ray_session(Machine(Path("unused"))):
        ray.remote(num_cpus=1)(int).remote()
        while not (workers := own_ray.workers_here()):
            pass
    assert all(map(own_ray._is_dead, workers))
    assert not Path(made[0]).exists()
