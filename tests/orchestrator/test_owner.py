"""Whether the process that owns a file still lives."""

import sys

import psutil
import pytest

from orchestrator.owner import is_dead, owner_here


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a start has no clock of its own")
def test_f13_a_clock_that_is_set_makes_no_living_driver_a_dead_one(monkeypatch):
    owner, created = owner_here(), psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + 60)
    assert not is_dead(owner)


def test_an_owner_whose_process_id_is_another_one_s_now_is_dead():
    owner = owner_here()
    assert not is_dead(owner)
    assert is_dead(owner | {"began": owner["began"] - 1})


@pytest.mark.parametrize("pid", [-1, "1", 2**70, 1.5])
def test_an_owner_without_a_process_id_is_dead(pid):
    assert is_dead(owner_here() | {"pid": pid})
