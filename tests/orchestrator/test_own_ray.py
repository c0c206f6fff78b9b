import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from orchestrator import own_ray
from orchestrator.own_ray import BEHIND, MOST_BYTES, ray_folder, short_folder, watched
from trainables.errors import ConfigError

WAITS = "import sys; sys.stdin.read()"


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
        (dead / "driver").write_text(f"{os.getpid()} 1.5")
        foreign = short / "f2c-ray-ijklmnop"
        foreign.mkdir()
        with ray_folder() as mine:
            assert set(short.iterdir()) == {living.parent, foreign, mine.parent}
        assert set(short.iterdir()) == {living.parent, foreign}


@pytest.fixture
def raylet(tmp_path, monkeypatch):
    """A child of this process that stands for Ray's node process, and one that it serves."""
    names = {}
    monkeypatch.setattr(own_ray, "_name", lambda process: names.get(process.pid, "other"))
    with (
        subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE) as part,
        subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE) as other,
    ):
        names[part.pid] = "raylet"
        mine = [psutil.Process(part.pid), psutil.Process(other.pid)]
        monkeypatch.setattr(own_ray, "_children", lambda: mine)
        yield part, other
        part.kill()
        other.kill()


def test_k09_k10_the_death_of_a_part_of_our_ray_is_noticed_and_the_rest_of_it_ended(raylet):
    told, died = threading.Event(), []

    def on_death(part: str) -> None:
        died.append(part)
        told.set()

    with watched(on_death):
        raylet[0].kill()
        assert told.wait(60.0)
    assert died == ["node process (raylet)"]
    assert raylet[1].wait(60.0) != 0


def test_a_ray_that_lives_to_the_end_is_left_alone(raylet):
    died = []
    with watched(died.append):
        pass
    assert died == []
    assert raylet[0].poll() is None


def test_where_no_ray_was_started_no_thread_watches(monkeypatch):
    monkeypatch.setattr(own_ray, "_children", list)
    with watched(lambda _part: None):
        assert "ray-watch" not in [thread.name for thread in threading.enumerate()]
