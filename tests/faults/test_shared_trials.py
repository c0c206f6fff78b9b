"""Short stages that share a trial keep every promise that a stage with a trial of its own has."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import runner
from tests.faults.gold import assert_mlflow, assert_nothing_is_held, events_of, gold_of, resume

pytestmark = [pytest.mark.ray]

#: 24 stages that nothing waits for, after three that they start from.
TRAIN = {"batch_size": 8, "precision": "float32"}
WIDE = runner.small(
    cells={"high": [8], "low": list(range(1, 9))},
    seeds=[0, 1, 2],
    train=TRAIN | {"epochs": 2, "lr": 0.002},
)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """The stages run one by one, without Ray."""
    root = tmp_path_factory.mktemp("wide")
    ended = runner.run(root, recipe=WIDE)
    assert ended.status == 0, ended.printed
    return root


@pytest.fixture
def shared(wide, tmp_path):
    """Run them through Ray in shared trials, with a fault that took place."""
    shutil.copytree(wide / "data", tmp_path / "data")

    def run(fault=None, recipe=WIDE):
        ended = runner.run(tmp_path, fault, recipe=recipe, flags=())
        assert fault is None or runner.fired(tmp_path).exists(), ended.printed
        return ended

    return run


def trials_of(root: Path) -> Counter[str]:
    """How many stages each trial has ended."""
    return Counter(e["trial_id"] for e in events_of(root) if e["event"] == "stage_end")


def assert_each_once(root: Path, kind: str) -> None:
    keys = Counter(event["key"] for event in events_of(root) if event["event"] == kind)
    assert set(keys.values()) == {1}
    assert len(keys) == len(gold_of(root).weights)


def test_stages_that_share_trials_have_the_same_weights_and_records(wide, shared, tmp_path):
    ended = shared()
    assert ended.status == 0, ended.printed
    assert gold_of(tmp_path) == gold_of(wide)
    assert_each_once(tmp_path, "stage_start")
    assert_each_once(tmp_path, "stage_end")
    assert_mlflow(tmp_path, gold_of(wide))
    assert_nothing_is_held(tmp_path)
    assert max(trials_of(tmp_path).values()) > 2
    assert len(trials_of(tmp_path)) < 27 - 6


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["batch:kill:28", "batch:term:28", "stage.renamed:kill:4"])
def test_k04_a_shared_trial_that_is_lost_goes_on_with_the_stage_that_it_had_come_to(
    wide, shared, tmp_path, fault
):
    ended = shared(fault)
    assert ended.status == 0, ended.printed
    assert gold_of(tmp_path) == gold_of(wide)
    assert_each_once(tmp_path, "stage_start")
    assert_each_once(tmp_path, "stage_end")
    assert_mlflow(tmp_path, gold_of(wide))
    (lost,) = {file.parent.name for file in (tmp_path / "small" / "tune").glob("*/error.txt")}
    assert trials_of(tmp_path)[lost] > 1


@pytest.mark.faults
def test_f03_a_store_that_fills_up_is_met_as_by_a_stage_of_its_own(wide, shared, tmp_path):
    ended = shared("stage.seal:enospc:2")
    assert ended.status in (0, 75), ended.printed
    resume(tmp_path, gold_of(wide), recipe=WIDE)


@pytest.mark.faults
def test_k05_a_stage_that_always_kills_its_process_takes_no_other_of_its_trial_along(
    shared, tmp_path
):
    others = {f"low{i}": {"strategy": "low", "train": TRAIN | {"epochs": 1, "lr": 0.002 + i / 1e4}}
              for i in range(14)}  # fmt: skip
    # By their length these two are the first, in one trial.
    first = {"strategy": "low", "train": TRAIN | {"epochs": 3, "lr": 0.002}}
    wild = {"strategy": "low", "train": TRAIN | {"epochs": 2, "lr": 1e8}}
    variants = others | {"first": first, "wild": wild}
    cells = {"strategies": [*variants]}
    recipe = runner.small(table="custom", cells=cells, variants=variants)
    ended = shared("diverged.write:kill:*", recipe)
    assert ended.status == 75, ended.printed
    ends = [e for e in events_of(tmp_path) if e["event"] == "stage_end"]
    assert Counter(e["status"] for e in ends) == {"done": 15, "failed": 1}
    (lost,) = (e["trial_id"] for e in ends if e["status"] == "failed")
    assert trials_of(tmp_path)[lost] == 2, "the first one, and the one that was lost"
