"""Ray's own processes die, its folder has no good place, nothing of it is left."""

import os
import random
import shutil
import subprocess
import sys

import psutil
import pytest

from tests.chaos.started import ORPHANS_S, Started
from tests.faults import runner
from tests.faults.gold import gold_of, resume


@pytest.fixture
def begun_by_ray(golden, tmp_path):
    """A run through Ray whose first stage has begun."""
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    start = Started(tmp_path, runner.small(), "ray")
    assert start.wait(start.begins, runner.HANG_S), start.printed()
    yield start
    start.process.kill()


def left(start: Started) -> list[psutil.Process]:
    """What is still there of a run that has ended, after a while."""
    return psutil.wait_procs(start.seen, timeout=ORPHANS_S)[1]


@pytest.mark.faults
@pytest.mark.ray
@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_k09_k10_k13_a_dead_ray_ends_the_run_with_a_sentence_and_the_same_command_goes_on(
    begun_by_ray, gold, tmp_path, part
):
    (victim,) = begun_by_ray.victims(part)
    victim.kill()
    begun_by_ray.process.join(runner.HANG_S)
    printed = begun_by_ray.printed()
    assert begun_by_ray.process.exitcode == 75, printed
    assert f"({part}) has died" in printed
    assert "resume" in printed
    assert "Traceback" not in printed
    assert left(begun_by_ray) == []
    resume(tmp_path, gold)


@pytest.mark.faults
@pytest.mark.ray
def test_k13_a_killed_driver_leaves_no_process_behind(begun_by_ray, gold, tmp_path):
    begun_by_ray.victims("raylet")
    begun_by_ray.process.kill()
    begun_by_ray.process.join(runner.HANG_S)
    assert begun_by_ray.seen != set()
    assert left(begun_by_ray) == []
    resume(tmp_path, gold)


@pytest.mark.faults
@pytest.mark.ray
def test_k13_a_run_that_ends_leaves_no_process_behind(begun_by_ray, gold, tmp_path):
    begun_by_ray.victims("raylet")
    begun_by_ray.process.join(runner.HANG_S)
    assert begun_by_ray.process.exitcode == 0, begun_by_ray.printed()
    assert left(begun_by_ray) == []
    assert gold_of(tmp_path) == gold


@pytest.mark.faults
def test_k03_killed_at_seeded_moments_again_and_again_it_ends_as_if_nothing_had_happened(
    golden, gold, tmp_path
):
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    moments, n_kills = random.Random(3), 0
    for _ in range(5):
        start = Started(tmp_path, runner.small(), "inline")
        if start.wait(start.begins, runner.HANG_S):
            start.pause(moments.uniform(0.0, 0.3))
            n_kills += start.process.exitcode is None
        start.process.kill()
        start.process.join()
    assert n_kills > 0
    resume(tmp_path, gold)


@pytest.mark.faults
@pytest.mark.ray
def test_r07_a_long_temporary_path_does_not_keep_ray_from_starting(golden, gold, tmp_path):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    root = tmp_path / "root"
    shutil.copytree(golden[0] / "data", root / "data")
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(runner.SMALL), "--root"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": "", "TMPDIR": str(deep)}
    ended = subprocess.run(
        [*command, str(root)], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert gold_of(root) == gold


@pytest.mark.faults
@pytest.mark.ray
def test_r04_actors_that_ray_kills_for_memory_are_given_up_and_the_same_command_goes_on(
    golden, gold, tmp_path
):
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    full = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
    ended = runner.run(tmp_path, flags=(), environment=full)
    assert ended.status == 75, ended.printed
    assert "failed" in ended.printed
    resume(tmp_path, gold)
