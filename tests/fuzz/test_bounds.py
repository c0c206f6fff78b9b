import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.bounds import MOST_BYTES, MOST_S, within_bounds


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted by Linux's /proc")
def test_an_example_that_takes_too_much_memory_is_noticed():
    within_bounds(lambda: b"x" * (MOST_BYTES // 10))()
    with pytest.raises(AssertionError, match="MB of memory"):
        within_bounds(lambda: b"x" * (2 * MOST_BYTES))()


def test_an_example_that_computes_for_long_is_noticed(monkeypatch):
    clock = iter([0.0, MOST_S + 1.0])
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    with pytest.raises(AssertionError, match=r"computed for 3\.0 s"):
        within_bounds(lambda: None)()


def test_an_example_that_writes_or_starts_anything_outside_its_folder_is_noticed(tmp_path):
    inside, outside = tmp_path / "file", Path(__file__).parent / "never-there"
    within_bounds(inside.touch)()
    for deed in (
        outside.mkdir,
        lambda: outside.unlink(missing_ok=True),
        lambda: os.open("/dev/null", os.O_WRONLY),
        lambda: subprocess.run(["true"], check=True),
    ):
        with pytest.raises(AssertionError):
            within_bounds(deed)()
        outside.rmdir() if outside.exists() else None
