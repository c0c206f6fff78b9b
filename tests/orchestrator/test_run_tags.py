from pathlib import Path

import pytest

from orchestrator.run_tags import tracking_uri
from trainables.errors import ConfigError


@pytest.mark.parametrize(
    "uri", ["http://me:hunter2@127.0.0.1:5000", "https://sometoken@mlflow.example"]
)
def test_s18_an_address_with_a_user_or_password_is_refused_without_repeating_it(uri):
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        tracking_uri(Path("runs"), uri)
    assert "hunter2" not in str(caught.value)
    assert "sometoken" not in str(caught.value)


def test_an_address_without_them_is_taken_as_it_is():
    assert tracking_uri(Path("runs"), "http://127.0.0.1:5000") == "http://127.0.0.1:5000"
