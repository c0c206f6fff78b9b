"""Leases between drivers on one store: who may train a stage, judged without anybody's clock."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator import leases
from orchestrator.leases import Leases

KEY = "ab" * 32


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def drivers(tmp_path) -> tuple[Leases, Leases, Clock]:
    clock = Clock()
    folder = tmp_path / "store" / "leases"
    return Leases(folder, clock), Leases(folder, clock), clock


def elsewhere(tmp_path: Path) -> None:
    """Make the lease look like one of a driver on another machine."""
    file = tmp_path / "store" / "leases" / KEY
    file.write_text(json.dumps(json.loads(file.read_text()) | {"machine": ["another"]}))


def test_f13_a_stage_has_one_owner_until_it_lets_go(drivers):
    first, second, _ = drivers
    assert first.take(KEY)
    assert first.take(KEY)
    assert not second.take(KEY)
    first.release(KEY)
    assert second.take(KEY)
    assert not first.take(KEY)


def test_f14_a_lease_that_is_not_renewed_while_we_watch_is_taken_over(drivers, tmp_path):
    first, second, clock = drivers
    first.take(KEY)
    elsewhere(tmp_path)
    assert not second.take(KEY)
    clock.now += leases.STALE_S + 1
    assert second.take(KEY)
    assert first.renew() == [KEY]
    first.release(KEY)
    assert not first.take(KEY)


def test_f14_a_lease_that_is_renewed_is_never_taken(drivers):
    first, second, clock = drivers
    first.take(KEY)
    for _ in range(10):
        assert not second.take(KEY)
        clock.now += leases.STALE_S - 1
        assert first.renew() == []
    assert not second.take(KEY)


def test_f14_the_lease_of_a_process_that_ended_here_is_taken_at_once(tmp_path):
    folder = tmp_path / "leases"
    code = (
        f"from orchestrator.leases import Leases, Path; Leases(Path({str(folder)!r})).take({KEY!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert (folder / KEY).exists()
    assert Leases(folder).take(KEY)


def test_f15_a_clock_that_jumps_changes_nothing(drivers, monkeypatch):
    first, second, _ = drivers
    first.take(KEY)
    for jump_s in (3600, -3600, 86400):
        real = time.time()
        monkeypatch.setattr(time, "time", lambda now=real + jump_s: now)
        assert not second.take(KEY)
        assert first.renew() == []


def test_k11_a_frozen_driver_notices_that_its_lease_is_lost_and_harms_no_other(drivers, tmp_path):
    first, second, clock = drivers
    first.take(KEY)
    elsewhere(tmp_path)
    second.take(KEY)
    clock.now += leases.STALE_S + 1
    second.take(KEY)
    first.release(KEY)
    assert second.renew() == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"machine": 3, "pid": "x"}'])
def test_f14_a_damaged_lease_is_taken_over_in_time(drivers, tmp_path, content):
    first, second, clock = drivers
    first.take(KEY)
    (tmp_path / "store" / "leases" / KEY).write_text(content)
    assert not second.take(KEY)
    clock.now += leases.STALE_S + 1
    assert second.take(KEY)


def test_of_two_that_take_over_at_once_the_second_finds_the_first_ones_lease(drivers, tmp_path):
    first, second, clock = drivers
    third = Leases(tmp_path / "store" / "leases", clock)
    first.take(KEY)
    elsewhere(tmp_path)
    assert not second.take(KEY)
    assert not third.take(KEY)
    clock.now += leases.STALE_S + 1
    assert second.take(KEY)
    assert not third.take(KEY)


def test_leases_are_kept_and_let_go(drivers, tmp_path):
    first, second, _ = drivers
    with first.kept():
        first.take(KEY)
        assert not second.take(KEY)
    assert list((tmp_path / "store" / "leases").iterdir()) == []


def test_a_dead_driver_s_lease_on_a_finished_stage_is_forgotten_a_living_one_s_is_not(tmp_path):
    folder = tmp_path / "leases"
    living = Leases(folder)
    living.take(KEY)
    Leases(folder).forget(KEY)
    assert (folder / KEY).exists()
    owner = json.loads((folder / KEY).read_text())
    (folder / KEY).write_text(json.dumps(owner | {"began": 0.0}))
    Leases(folder).forget(KEY)
    assert not (folder / KEY).exists()


def test_f14_a_lease_that_is_kept_is_renewed_again_and_again(drivers, monkeypatch):
    first, renewed = drivers[0], threading.Semaphore(0)
    monkeypatch.setattr(leases, "RENEW_S", 0.0)
    monkeypatch.setattr(first, "renew", renewed.release)
    with first.kept():
        assert all(renewed.acquire(timeout=60) for _ in range(3))


def test_f14_a_lease_that_was_renewed_meanwhile_goes_back_to_its_owner(drivers, tmp_path):
    first, second, _ = drivers
    assert first.take(KEY)
    assert not second.take(KEY)  # from now on the second watches it
    first.renew()
    renewed = (tmp_path / "store" / "leases" / KEY).read_bytes()
    assert not second._set_aside(KEY)
    assert (tmp_path / "store" / "leases" / KEY).read_bytes() == renewed
    assert not second.take(KEY)
