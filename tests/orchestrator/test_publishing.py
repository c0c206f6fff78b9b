"""The pages of a run, and what MLflow is told where they cannot be written."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import yaml
from mlflow import MlflowClient

from orchestrator.cli import main
from trainables.errors import ConfigError, DataError
from trainables.predictor import Predictor

ONE_CELL = {"high": [0], "low": [8]}


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


@pytest.mark.parametrize("kind", [ConfigError, DataError])
def test_heat_maps_that_cannot_be_computed_are_said_in_a_line_and_the_pages_written(
    tmp_path, small_recipe, monkeypatch, capsys, kind
):
    def heat_of(*_: object) -> None:
        raise kind("the two see photos of 12 px and 24 px")

    monkeypatch.setattr("analysis.heat_runs.heat_of", heat_of)
    assert run(tmp_path, small_recipe) == 0
    words = capsys.readouterr().out
    assert "no heat maps: the two see photos of 12 px and 24 px\n" in words
    assert (tmp_path / "small" / "report.html").is_file()
    assert mlflow_runs(tmp_path)[0].info.status == "FINISHED"


def test_a_run_whose_networks_have_collapsed_gets_its_pages(tmp_path, small_recipe, monkeypatch):
    def logits(network: Predictor, photos_NCHW: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(photos_NCHW), network.spec.n_classes)

    monkeypatch.setattr(Predictor, "logits", logits)
    assert run(tmp_path, small_recipe, cells={"high": [0, 8], "low": [8]}) == 0
    page = (tmp_path / "small" / "tables" / "heatmaps.md").read_text()
    assert "logits are all equal" in page
    assert (tmp_path / "small" / "report.html").is_file()


def run(root: Path, fields: dict, cells: Mapping = ONE_CELL) -> int:
    """`f2c run` of a recipe, of one cell of one stage if not told otherwise."""
    file = root / "small.yaml"
    file.write_text(yaml.safe_dump(fields | {"cells": cells}))
    return main(["run", str(file), "--root", str(root), "--executor", "inline"])


def mlflow_runs(root: Path) -> list:
    """The sweep's, then those of its stages."""
    client = MlflowClient(f"sqlite:///{root.absolute()}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(client.search_runs(ids), key=lambda run: run.data.tags["kind"] != "sweep")
