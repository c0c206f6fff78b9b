"""MLflow's client is bounded: a server that never answers is given up."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from orchestrator.tracked_client import DEFAULTS, open_client

REPOSITORY = Path(__file__).parents[2]
SMALL = REPOSITORY / "tests" / "small.yaml"


def test_m03_a_server_that_never_answers_is_given_up(monkeypatch):
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = open_client(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(MlflowException):
            client.search_experiments(max_results=1)


def test_m03_a_call_takes_ten_seconds_at_most():
    retries = int(DEFAULTS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    timeout_s = int(DEFAULTS["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    assert (1 + retries) * timeout_s <= 10


def test_mlflow_reports_nothing_to_its_makers(tmp_path):
    """In a process that does not look like a test: there MLflow would not report anyway."""
    code = (
        "import sys\n"
        "from orchestrator.cli import main\n"
        "assert main(['run', sys.argv[1], '--executor', 'inline', '--root', sys.argv[2]]) == 0\n"
        "from mlflow.telemetry.client import get_telemetry_client\n"
        "print(get_telemetry_client())"
    )
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code, SMALL, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "None"
