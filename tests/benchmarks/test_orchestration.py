"""The benchmarks of plans and of the orchestration run, and both sides end all that they start."""

import importlib
import os
import signal
from pathlib import Path

import pytest

from tests.trainables.one_stage import plan_of, run_of


def test_a_plan_is_measured_with_its_memory_and_decisions(benchmark):
    rows = benchmark("planning", "--cells", "500", "--rounds", "2")["rows"]
    assert set(rows) == {"planning/plan", "planning/memory", "planning/decision"}
    assert rows["planning/plan"]["details"] == {"cells": 553, "stages": 609}
    assert rows["planning/plan"]["rounds"] == 2
    assert 0 < rows["planning/memory"]["median"] < 1


def test_an_idle_stage_ends_as_the_trainable_asks(tmp_path, small_recipe, monkeypatch):
    """Without Ray: what stands in for a run has all that the trainable looks at."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    monkeypatch.setattr(os, "nice", lambda by: 0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    idle_stage = importlib.import_module("orchestration").IdleStage
    stage = next(iter(plan_of(tmp_path, small_recipe).stages.values()))
    job = run_of(tmp_path, stage).job.model_dump_json()
    trial = idle_stage({"jobs": [job], "parent_folder": None})
    assert trial.step()["done"]
    trial.save_checkpoint(str(tmp_path))
    assert list((tmp_path / "store").rglob("epochs.jsonl"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_idle_stages_and_idle_trials_are_as_many(benchmark):
    rows = benchmark("orchestration", "--levels", "2", "--rounds", "1")["rows"]
    assert set(rows) == {f"orchestration/{name}" for name in ("tune", "stage", "start")}
    assert rows["orchestration/tune"]["details"]["n"] == 9
