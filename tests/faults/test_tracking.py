"""MLflow away, a run killed, a record replayed: one run a stage, each point once, no secret."""

import math
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.experiment import load_experiment
from orchestrator.plan import make_plan
from orchestrator.recipe import Recipe
from orchestrator.tracking import Tracker
from tests.faults import runner
from tests.faults.gold import Gold, assert_mlflow, weights_of

#: Nobody listens there: refused at once.
AWAY = "http://127.0.0.1:9"
SECRETS = {
    "MLFLOW_TRACKING_USERNAME": "a-user-name",
    "MLFLOW_TRACKING_PASSWORD": "a-secret-password",
    "AWS_SECRET_ACCESS_KEY": "an-aws-secret-key",
}


def content(root: Path) -> dict:
    """All of MLflow but the times of points."""
    client = MlflowClient(f"sqlite:///{root.absolute()}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return {
        run.info.run_id: (
            run.info.status,
            run.data.tags,
            run.data.params,
            {
                name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
        )
        for run in client.search_runs(ids)
    }


def sync(root: Path) -> dict:
    ended = runner.run(root, verb="sync")
    assert ended.status == 0, ended.printed
    return content(root)


@pytest.fixture
def copied(golden, tmp_path) -> Path:
    root = tmp_path / "copy"
    shutil.copytree(golden[0], root)
    (root / "mlflow.db").unlink()
    return root


def test_m10_sync_fills_an_empty_mlflow_and_twice_changes_nothing(copied, gold):
    first = sync(copied)
    assert_mlflow(copied, gold)
    assert sync(copied) == first


def test_m10_sync_after_a_whole_run_changes_nothing(golden, gold):
    root = golden[0]
    before = content(root)
    assert sync(root) == before


def test_m08_m10_sync_after_a_kill_tells_the_truth_and_the_run_goes_on(begun, gold, tmp_path):
    begun("event.stage_end:kill:4")
    first = sync(tmp_path)
    done = weights_of(tmp_path)
    for status, tags, _, _ in first.values():
        finished = tags.get("stage_key") in done and tags.get("trial_id") is not None
        assert status == ("FINISHED" if finished else "KILLED")
    assert sync(tmp_path) == first
    assert runner.run(tmp_path).status == 0
    assert_mlflow(tmp_path, gold)


def test_m01_s18_mlflow_away_costs_nothing_but_itself_and_no_secret_is_written(
    golden, gold: Gold, tmp_path
):
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    flags = ("--executor", "inline", "--tracking-uri", AWAY)
    ended = runner.run(tmp_path, flags=flags, environment=SECRETS)
    assert ended.status == 0, ended.printed
    assert weights_of(tmp_path) == gold.weights
    assert ended.printed.count("MLflow   not reached") == 1
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert [secret for secret in SECRETS.values() if secret.encode() in written] == []
    sync(tmp_path)
    assert_mlflow(tmp_path, gold)


def test_m09_a_loss_that_is_no_number_is_a_tag_and_the_run_goes_on(tmp_path):
    experiment = load_experiment(
        Recipe.model_validate(runner.small(), strict=False), tmp_path, must_exist=True
    )
    plan = make_plan([experiment])
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = Tracker(experiment, plan, tmp_path, uri)
    key = next(iter(plan.stages))
    record = {
        "epoch": 1, "loss": math.inf, "accuracy": 0.25, "lr": 0.1, "seconds": 1.0,
        "images_seen": 32,
    }  # fmt: skip
    tracker.notify({"event": "epoch", "key": key, "record": record})
    tracker.notify({"event": "stage_end", "key": key, "status": "diverged", "epochs": [record]})
    tracker.finish("failed", {}, "", [])
    assert tracker.failure is None
    (run,) = (run for run in MlflowClient(uri).search_runs(["1"], "tags.kind != 'sweep'"))
    assert run.data.tags["nonfinite"] == "train/loss"
    assert "train/loss" not in run.data.metrics
    assert run.data.metrics["train/accuracy"] == 0.25
    assert run.info.status == "FAILED"
