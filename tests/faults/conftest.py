"""The undisturbed run that every disturbed one must equal."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import runner
from tests.faults.gold import Gold, gold_of


@pytest.fixture(scope="session")
def golden(tmp_path_factory) -> tuple[Path, Gold]:
    """The small recipe run undisturbed, and what it left."""
    root = tmp_path_factory.mktemp("golden")
    ended = runner.run(root)
    assert ended.status == 0, ended.printed
    return root, gold_of(root)


@pytest.fixture
def gold(golden) -> Gold:
    """What an undisturbed run leaves."""
    return golden[1]


@pytest.fixture
def begun(golden, tmp_path) -> Callable[[str], runner.Ended]:
    """Run with a fault, and assert that it took place; views are there unless they shall fail."""

    def run(fault: str) -> runner.Ended:
        if not fault.startswith("view."):
            shutil.copytree(golden[0] / "data", tmp_path / "data")
        ended = runner.run(tmp_path, fault)
        assert runner.fired(tmp_path).exists(), f"{fault} never happened; it printed {ended}"
        return ended

    return run
