"""MLflow's client is bounded: a server that never answers is given up."""

import socket

import pytest
from mlflow.exceptions import MlflowException

from orchestrator.tracked_client import BOUNDS, open_client


def test_m03_a_server_that_never_answers_is_given_up(monkeypatch):
    for name in BOUNDS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = open_client(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(MlflowException):
            client.search_experiments(max_results=1)


def test_m03_a_call_takes_ten_seconds_at_most():
    retries = int(BOUNDS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    timeout_s = int(BOUNDS["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    assert (1 + retries) * timeout_s <= 10
