"""The driver killed by SIGKILL at every named point of a run: the same command ends as if not."""

import signal

import pytest

from tests.faults.gold import resume

#: In `make test`; the others in `make test-faults`.
CHOSEN = ("batch:20", "progress.seal:2", "stage.manifest:3", "stage.rename:1", "stage.renamed:4",
          "event.stage_end:2", "mlflow:2")  # fmt: skip
OTHERS = (
    "batch:1", "batch:60", "file:1", "file:5", "file:17",
    "progress.write:1", "progress.manifest:1", "progress.rename:3", "progress.renamed:5",
    "view.seal:1", "view.rename:2", "view.rename:4",
    "stage.write:1", "stage.seal:2", "stage.manifest:9", "stage.rename:6", "stage.renamed:9",
    "event.stage_start:1", "event.stage_start.written:3", "event.epoch:1", "event.epoch.written:7",
    "event.stage_end.written:5", "event.stage_end.written:9", "mlflow:1", "mlflow.sent:1",
    "mlflow.sent:5", "mlflow:9",
)  # fmt: skip
SLOW = [pytest.param(point, marks=pytest.mark.faults) for point in OTHERS]


@pytest.mark.parametrize("point", [*CHOSEN, *SLOW])
def test_k01_k02_f11_killed_at_a_point_the_same_command_ends_as_if_nothing_happened(
    begun, gold, tmp_path, point
):
    name, turn = point.split(":")
    assert begun(f"{name}:kill:{turn}").status == -signal.SIGKILL
    resume(tmp_path, gold)
