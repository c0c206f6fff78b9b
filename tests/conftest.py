"""Fixtures that several test files share."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Plain `pytest` leaves out what is slow or needs special machines."""
    if config.getoption("-m"):
        return
    for item in items:
        for marker in ("slow", "gpu", "cluster", "faults"):
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"run with -m {marker}"))


@pytest.fixture(scope="session", autouse=True)
def signals_that_are_heard() -> None:
    """Programs that tests start get Ctrl-C and SIGHUP also where the tests run under nohup."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray of two CPUs for all tests that are marked `ray`."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray

    temporary = tempfile.mkdtemp(prefix="f2c-test-")
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=temporary,
    )
    yield
    ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real photos beside the project; tests that need them are skipped without."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real photos (../shared/data) are not beside the project")
    return folder


@pytest.fixture
def small_recipe() -> dict:
    """Fields of the recipe that the tests of whole stages and runs train."""
    return yaml.safe_load((REPOSITORY / "tests" / "small.yaml").read_text())
