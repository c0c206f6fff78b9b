"""The benchmarks of plans and of the orchestration run, and both sides end all that they start."""

import pytest


def test_a_plan_is_measured_with_its_memory_and_decisions(benchmark):
    rows = benchmark("planning", "--cells", "500", "--rounds", "2")["rows"]
    assert set(rows) == {"planning/plan", "planning/memory", "planning/decision"}
    assert rows["planning/plan"]["details"] == {"cells": 553, "stages": 609}
    assert rows["planning/plan"]["rounds"] == 2
    assert 0 < rows["planning/memory"]["median"] < 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_idle_stages_and_idle_trials_are_as_many(benchmark):
    rows = benchmark("orchestration", "--levels", "2", "--rounds", "1")["rows"]
    assert set(rows) == {f"orchestration/{name}" for name in ("tune", "stage", "start")}
    assert rows["orchestration/tune"]["details"]["n"] == 9
