"""A worker that reads photos for a stage is killed in the middle: none is lost, none doubled."""

import pytest

from tests.faults import runner
from tests.faults.gold import gold_of

pytestmark = [pytest.mark.faults, pytest.mark.ray]

#: Three blocks an epoch and view.
PHOTOS = {"n_classes": 4, "n_train": 300, "n_test": 140, "image_px": 32}
CELLS = {"high": [0, 8], "low": [8], "mixed": [8]}


def recipe(mode: str):
    data = runner.small()["data"] | {"mode": mode, "synthetic": PHOTOS}
    return runner.small(data=data, cells=CELLS)


@pytest.fixture(scope="module")
def resident(tmp_path_factory):
    """What an undisturbed run on prepared views leaves."""
    root = tmp_path_factory.mktemp("resident")
    ended = runner.run(root, recipe=recipe("resident"))
    assert ended.status == 0, ended.printed
    return gold_of(root)


@pytest.mark.parametrize("photo", [20, 200, 700])
def test_n06_a_killed_data_worker_loses_and_doubles_no_photo(resident, tmp_path, photo):
    """By SIGKILL between two photos of a block; Ray Data makes that block again."""
    flags = ("--executor", "ray", "--gpus-per-stage", "0")
    ended = runner.run(tmp_path, f"photo:kill:{photo}", recipe=recipe("stream"), flags=flags)
    assert runner.fired(tmp_path).read_text().startswith("photo kill"), ended.printed
    assert ended.status == 0, ended.printed
    assert gold_of(tmp_path) == resident
