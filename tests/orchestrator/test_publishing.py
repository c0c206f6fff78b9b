"""The pages of a run, and what MLflow is told where they cannot be written."""

from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from orchestrator.cli import main


@pytest.mark.parametrize(
    ("fault", "exit_status", "told"),
    [(FileExistsError("figures"), 70, "FAILED"), (KeyboardInterrupt(), 130, "KILLED")],
)
def test_a_fault_among_the_pages_leaves_no_run_open_in_mlflow_and_loses_no_point(
    tmp_path, small_recipe, monkeypatch, fault, exit_status, told
):
    def write_pages(*_: object) -> list[Path]:
        raise fault

    monkeypatch.setattr("orchestrator.publishing.write_pages", write_pages)
    assert run(tmp_path, small_recipe) == exit_status
    sweep, stage = mlflow_runs(tmp_path)
    assert sweep.info.status == told
    assert sweep.data.tags["mlflow.note.content"].startswith(f"ended by {type(fault).__name__}")
    assert sweep.data.metrics["summary/cells_done"] == 1
    assert stage.info.status == "FINISHED"
    assert "test/accuracy_low" in stage.data.metrics


def run(root: Path, fields: dict) -> int:
    """`f2c run` of a recipe with one cell of one stage."""
    file = root / "small.yaml"
    file.write_text(yaml.safe_dump(fields | {"cells": {"high": [0], "low": [8]}}))
    return main(["run", str(file), "--root", str(root), "--executor", "inline"])


def mlflow_runs(root: Path) -> list:
    """The sweep's, then those of its stages."""
    client = MlflowClient(f"sqlite:///{root.absolute()}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(client.search_runs(ids), key=lambda run: run.data.tags["kind"] != "sweep")
