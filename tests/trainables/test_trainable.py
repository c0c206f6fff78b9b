"""What a trial does to its process."""

import errno
import os
import signal

import pytest
import torch

from tests.trainables.one_stage import finish, run_of, sha
from trainables import stage_run, trainable
from trainables.errors import LostDeviceError, TakenBackError
from trainables.store import Store
from trainables.trainable import NICENESS, StageTrainable


@pytest.mark.parametrize(("given", "added"), [(0, NICENESS), (NICENESS, 0), (15, 0)])
def test_a_trial_gives_way_to_the_driver_and_never_takes_priority_back(monkeypatch, given, added):
    """Raising priority is refused to all but root: a run under `nice -n 15` would have failed."""
    asked = []
    monkeypatch.setattr(os, "nice", lambda by: asked.append(by) or given)
    made = StageTrainable.__new__(StageTrainable)
    monkeypatch.setattr(StageTrainable, "reset_config", lambda self, config: True)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    made.setup({})
    assert asked == [0, added]


def config_of(*jobs):
    return {"jobs": [job.model_dump_json() for job in jobs], "parent_folder": None}


@pytest.fixture(autouse=True)
def _each_epoch_is_reported(monkeypatch):
    monkeypatch.setattr(trainable, "REPORT_EVERY_S", 0.0)


@pytest.fixture
def stage(stages):
    """Four epochs of two batches."""
    plan = stages(train={"epochs": 4, "batch_size": 8, "lr": 0.01, "momentum": 0.9})
    return next(iter(plan.stages.values()))


@pytest.fixture
def trial_of(tmp_path, stage, monkeypatch):
    """Makes trials of the stage; this process gets its own answer to SIGTERM back."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(os, "nice", lambda by: 0)
    yield lambda: StageTrainable(config_of(run_of(tmp_path, stage).job))
    signal.signal(signal.SIGTERM, before)


def tell_at(monkeypatch, name, turn):
    """SIGTERM for this process when a function of a stage's run is called for the n-th time."""
    real, calls = getattr(stage_run, name), []

    def told(*arguments):
        calls.append(arguments)
        if len(calls) == turn:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(stage_run, name, told)
    return calls


def test_k07_told_to_end_a_stage_stops_at_its_next_batch_and_goes_on_from_its_last_epoch(
    tmp_path, stage, trial_of, monkeypatch
):
    _, golden = finish(run_of(tmp_path, stage, "golden"))
    calls = tell_at(monkeypatch, "fault_point", 5)  # in the third epoch
    trial = trial_of()
    assert [trial.step()["epoch"], trial.step()["epoch"]] == [1, 2]
    with pytest.raises(TakenBackError):
        trial.step()
    assert len(calls) <= 6
    folder = Store(tmp_path / "store").progress_folder(stage.key, stage.name)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-1", "epoch-2"]
    elsewhere = trial_of()
    assert elsewhere.step()["epoch"] == 3
    assert elsewhere.step()["status"] == "done"
    elsewhere.save_checkpoint(str(tmp_path))
    assert sha(Store(tmp_path / "store").find(stage.key).folder) == sha(golden)


def test_k07_told_to_end_while_a_stage_is_tested_its_last_epoch_is_kept_and_tested_elsewhere(
    tmp_path, stage, trial_of, monkeypatch
):
    _, golden = finish(run_of(tmp_path, stage, "golden"))
    tell_at(monkeypatch, "evaluate", 1)
    trial = trial_of()
    for _ in range(3):
        trial.step()
    with pytest.raises(TakenBackError):
        trial.step()
    elsewhere = trial_of()
    assert elsewhere.step()["status"] == "done"
    assert not elsewhere._run.trained
    elsewhere.save_checkpoint(str(tmp_path))
    assert sha(Store(tmp_path / "store").find(stage.key).folder) == sha(golden)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_r03_a_process_whose_gpu_is_lost_takes_no_more_stages(trial_of, monkeypatch, error, lost):
    def fail(*_):
        raise error

    trial = trial_of()
    trial.step()
    monkeypatch.setattr(stage_run, "fault_point", fail)
    if lost:
        with pytest.raises(LostDeviceError, match="illegal memory access"):
            trial.step()
    else:
        assert trial.step()["status"] == "failed"


def test_k07_told_to_end_between_stages_a_process_ends_at_once(trial_of):
    asked = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    trial = trial_of()
    trial.step()
    os.kill(os.getpid(), signal.SIGTERM)
    assert asked == [signal.SIGTERM]


def test_stages_that_share_a_trial_are_stored_one_after_another_and_only_the_last_by_tune(
    tmp_path, stages
):
    plan = stages(cells={"high": [8], "low": [4]})
    runs = [run_of(tmp_path, stage) for stage in plan.stages.values()]
    trial = StageTrainable(config_of(*(run.job for run in runs)))
    results = [trial.step() for _ in range(4)]
    assert [r["status"] for r in results] == ["running", "done", "running", "done"]
    assert [r["done"] for r in results] == [False, False, False, True]
    store = Store(tmp_path / "store")
    parent, child = (run.job.key for run in runs)
    assert store.find(child) is None
    trial.save_checkpoint(str(tmp_path))
    record = store.find(child).json("stage.json")
    assert record["restored_from"] == store.find(parent).folder.name
    folders = [finish(run_of(tmp_path, plan.stages[parent], "golden"))[1]]
    folders.append(finish(run_of(tmp_path, plan.stages[child], "golden"), folders[0])[1])
    assert [sha(store.find(key).folder) for key in (parent, child)] == [*map(sha, folders)]


def test_short_epochs_are_reported_together_each_with_its_record(tmp_path, stage, monkeypatch):
    monkeypatch.setattr(trainable, "REPORT_EVERY_S", 60.0)
    result = StageTrainable(config_of(run_of(tmp_path, stage).job)).step()
    assert (result["status"], result["done"]) == ("done", True)
    assert [each["epoch"] for each in result["results"]] == [1, 2, 3, 4]


def test_a_stage_whose_parent_is_not_there_fails_and_never_begins_with_random_weights(
    tmp_path, stages
):
    child = list(stages(cells={"high": [8], "low": [4]}).stages.values())[1]
    result = StageTrainable(config_of(run_of(tmp_path, child).job)).step()
    assert result["status"] == "failed"
    assert "does not hold the parent" in result["reason"]


def test_f02_a_store_that_cannot_be_written_in_a_shared_trial_is_met_by_tunes_save(
    tmp_path, stage, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    job = run_of(tmp_path, stage).job
    trial = StageTrainable(config_of(job, job))
    monkeypatch.setattr(Store, "commit", full)
    result = [trial.step() for _ in range(4)][-1]
    assert (result["status"], result["done"], result["should_checkpoint"]) == ("done", True, True)
    with pytest.raises(OSError, match="No space left"):
        trial.save_checkpoint(str(tmp_path))


def test_k07_where_the_run_itself_is_stopped_nothing_goes_elsewhere(tmp_path, stage, trial_of):
    stop = tmp_path / ".stop"
    job = run_of(tmp_path, stage, stop_file=str(stop)).job
    trial = trial_of()
    trial.reset_config(config_of(job))
    trial.step()
    trial._told_to_end = True
    stop.touch()
    assert trial.step()["status"] == "stopped"
