"""What fails without a kill: MLflow, its database, its files, threads, memory of Ray's actors."""

import json
import pickle
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.faults import runner
from tests.faults.gold import assert_mlflow, events_of, gold_of, resume, weights_of
from trainables.errors import TakenBackError


@pytest.mark.parametrize("point", ["mlflow:raise:1", "mlflow:raise:5", "mlflow.sent:raise:4"])
def test_k12_m02_mlflow_that_fails_in_mid_run_costs_nothing_and_is_filled_in(
    begun, gold, tmp_path, point
):
    ended = begun(point)
    assert ended.status == 0, ended.printed
    assert gold_of(tmp_path) == gold
    assert "not reached" not in ended.printed
    assert_mlflow(tmp_path, gold)
    resume(tmp_path, gold)


@pytest.mark.faults
def test_m05_a_locked_database_costs_nothing_and_is_filled_in(golden, gold, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(golden[0], root)
    shutil.rmtree(root / "store")
    lock = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    ended = runner.run(root)
    lock.close()
    assert ended.status == 0, ended.printed
    assert "not reached" in ended.printed
    assert gold_of(root) == gold
    resume(root, gold)


@pytest.mark.faults
def test_m07_a_store_of_artifacts_that_refuses_does_not_fail_the_run(golden, gold, tmp_path):
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    (tmp_path / "mlartifacts").touch()
    ended = runner.run(tmp_path)
    assert ended.status == 0, ended.printed
    assert "not reached" in ended.printed
    assert gold_of(tmp_path) == gold
    (tmp_path / "mlartifacts").unlink()
    assert runner.run(tmp_path, verb="sync").status == 0
    assert_mlflow(tmp_path, gold)


@pytest.mark.faults
def test_r05_the_weights_do_not_depend_on_how_many_threads_the_machine_offers(
    golden, gold, tmp_path
):
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    for threads in ("1", "2"):
        root = tmp_path / threads
        shutil.copytree(golden[0] / "data", root / "data")
        environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        assert runner.run(root, environment=environment).status == 0
        assert weights_of(root) == gold.weights


@pytest.mark.faults
def test_f02_a_disk_that_fills_up_ends_the_run_with_75_and_the_same_command_goes_on(
    begun, gold, tmp_path
):
    ended = begun("stage.write:enospc:3")
    assert ended.status == 75, ended.printed
    assert "disk full: need more than" in ended.printed
    assert "Traceback" not in ended.printed
    resume(tmp_path, gold)


@pytest.mark.faults
def test_f02_a_stage_that_cannot_be_saved_has_failed_and_the_others_go_on(begun, gold, tmp_path):
    ended = begun("stage.write:eio:9")
    assert ended.status == 75, ended.printed
    assert "1 failed, 6 done" in ended.printed or "6 done, 1 failed" in ended.printed
    assert "Input/output error" in ended.printed
    assert "Traceback" not in ended.printed
    resume(tmp_path, gold)


@pytest.mark.faults
@pytest.mark.ray
def test_k04_s04_a_killed_actor_is_replaced_and_foreign_pickles_are_never_read(
    begun_by_ray, gold, tmp_path
):
    canary = plant_pickles(tmp_path / "small" / "tune", tmp_path / "canary")
    ended = begun_by_ray("stage.manifest:kill:1")
    assert ended.status == 0, ended.printed
    assert gold_of(tmp_path) == gold
    assert_mlflow(tmp_path, gold)
    assert not canary.exists()


@pytest.mark.faults
@pytest.mark.ray
def test_k07_a_stage_whose_process_is_told_to_end_goes_on_elsewhere_uncounted(
    begun_by_ray, gold, tmp_path
):
    ended = begun_by_ray("batch:term:3")
    assert ended.status == 0, ended.printed
    assert gold_of(tmp_path) == gold
    assert_mlflow(tmp_path, gold)
    (error,) = (tmp_path / "small" / "tune").glob("*/error.txt")
    assert TakenBackError.TEXT in error.read_text()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self):
        return Path.touch, (self._canary,)


def plant_pickles(folder: Path, canary: Path) -> Path:
    """Leave what Tune reads to restore an experiment, made by a stranger."""
    (folder / "trial").mkdir(parents=True)
    evil = pickle.dumps(Trap(canary))
    for name in ("trial/params.pkl", "tuner.pkl", "trainable.pkl", "searcher-state-1.pkl"):
        (folder / name).write_bytes(evil)
    state = {"trial_data": [[evil.hex(), evil.hex()]], "runner_data": {}, "stats": {}}
    (folder / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps(state))
    return canary


@pytest.mark.faults
@pytest.mark.ray
def test_f03_a_disk_that_fills_up_under_tune_costs_no_more_than_the_time(
    begun_by_ray, gold, tmp_path
):
    ended = begun_by_ray("stage.seal:enospc:2")
    assert ended.status in (0, 75), ended.printed
    resume(tmp_path, gold)


@pytest.mark.faults
@pytest.mark.ray
def test_k05_k06_an_actor_that_is_always_killed_is_given_up_and_the_others_go_on(
    begun_by_ray, gold, tmp_path
):
    ended = begun_by_ray("diverged.write:kill:*", runner.small(**ONE_DIES))
    assert ended.status == 75, ended.printed
    ends = {e["key"]: e["status"] for e in events_of(tmp_path) if e["event"] == "stage_end"}
    assert sorted(ends.values()) == ["done", "failed"]
    assert "it was not committed to the store" in ended.printed


#: One strategy diverges, and its commit is where the actor is killed each time.
ONE_DIES = {
    "table": "custom",
    "cells": {"strategies": ["low", "wild"]},
    "variants": {"wild": {"strategy": "low", "train": {
        "epochs": 2, "batch_size": 8, "lr": 1e8, "precision": "float32"}}},
}  # fmt: skip


@pytest.fixture
def begun_by_ray(golden, tmp_path):
    """`begun` through Ray: the fault is in the actors' environment, too."""
    shutil.copytree(golden[0] / "data", tmp_path / "data")

    def run(fault, recipe=None):
        ended = runner.run(tmp_path, fault, recipe=recipe, flags=())
        assert runner.fired(tmp_path).exists(), ended.printed
        return ended

    return run
