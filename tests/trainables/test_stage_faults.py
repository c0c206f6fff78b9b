"""One stage in one process against a full disk, bad numbers, and a store that goes away."""

import math
import shutil

import numpy as np
import pytest
import torch

from tests.trainables.one_stage import finish, run_of, sha
from trainables import faults
from trainables.errors import ConfigError, describe
from trainables.evaluate import evaluate
from trainables.models.on_gpu import check_precision
from trainables.stage_sources import source_of
from trainables.store import Store

POINTS = ("file", "progress.write", "progress.rename", "stage.manifest", "stage.renamed")


@pytest.fixture
def switch(tmp_path, monkeypatch):
    """Set a fault; tells afterwards whether it took place."""

    def set_fault(fault: str):
        record = tmp_path / "fired"
        record.unlink(missing_ok=True)
        faults._passed.clear()
        monkeypatch.setenv("F2C_FAULTS_ON", str(record))
        monkeypatch.setenv("F2C_FAULT", fault)
        return record.exists

    return set_fault


def run_to_end(run) -> str:
    """Drive a stage as the executors do; what it ends with."""
    run.restore_or_fail(None)
    while (result := run.advance())["status"] == "running":
        pass
    try:
        run.commit()
    except OSError:
        return "failed"
    return result["status"]


def test_a_fault_without_the_switch_has_no_effect(monkeypatch):
    monkeypatch.delenv("F2C_FAULTS_ON", raising=False)
    monkeypatch.setenv("F2C_FAULT", "anywhere:raise:1")
    faults.fault_point("anywhere")


@pytest.mark.parametrize("action", ["enospc", "eio"])
def test_f02_a_disk_that_fails_at_any_write_costs_no_more_than_the_time(
    tmp_path, stages, switch, monkeypatch, action
):
    stage = next(iter(stages(train={"epochs": 3, "batch_size": 8, "lr": 0.01}).stages.values()))
    _, golden = finish(run_of(tmp_path, stage, "golden"))
    for turn in range(1, 100):
        fired = switch(f"file:{action}:{turn}")
        status = run_to_end(run_of(tmp_path, stage, f"store{turn}"))
        monkeypatch.delenv("F2C_FAULT")
        if not fired():
            break
        assert status == "failed"
        assert Store(tmp_path / f"store{turn}").find(stage.key) is None
        _, folder = finish(run_of(tmp_path, stage, f"store{turn}"))
        assert sha(folder) == sha(golden)
        assert list((tmp_path / f"store{turn}").rglob(".tmp-*")) == []
    assert turn > 8


@pytest.mark.parametrize("point", POINTS)
def test_f02_a_failure_at_any_point_of_a_commit_leaves_a_store_that_goes_on(
    tmp_path, stages, switch, monkeypatch, point
):
    stage = next(iter(stages().stages.values()))
    _, golden = finish(run_of(tmp_path, stage, "golden"))
    fired = switch(f"{point}:enospc:1")
    run_to_end(run_of(tmp_path, stage))
    assert fired()
    monkeypatch.delenv("F2C_FAULT")
    _, folder = finish(run_of(tmp_path, stage))
    assert sha(folder) == sha(golden)


def test_n02_a_weight_that_is_no_number_is_never_a_result(tmp_path, stages):
    stage = next(iter(stages(train={"epochs": 2, "batch_size": 8, "lr": 0.01}).stages.values()))
    run = run_of(tmp_path, stage)
    run.restore(None)
    with torch.no_grad():
        next(run._network.module.parameters())[0] = math.nan
    source = source_of(run.job, stage.evaluations[0])
    with pytest.raises(FloatingPointError, match="not finite"):
        evaluate(run._network, source, stage.spec)
    result = run.advance()
    assert result["status"] == "diverged"
    run.commit()
    entry = Store(tmp_path / "store").find(stage.key)
    assert entry.kind == "diverged"
    assert list((tmp_path / "store").glob("progress/*/epoch-*")) == []


def test_n02_a_pixel_is_a_whole_number_and_cannot_be_nan(tmp_path, stages):
    stage = next(iter(stages().stages.values()))
    run = run_of(tmp_path, stage)
    source = source_of(run.job, stage.evaluations[0])
    assert source.view.images_NHWC.dtype == np.uint8


def test_r03_a_stage_without_memory_says_what_to_lower(tmp_path, stages, monkeypatch):
    stage = next(iter(stages().stages.values()))
    run = run_of(tmp_path, stage)
    run.restore(None)

    def no_memory(*_given):
        raise MemoryError("cannot allocate")

    monkeypatch.setattr(run, "_advance", no_memory)
    result = run.advance()
    assert result["status"] == "failed"
    assert "MemoryError: cannot allocate; lower train.batch_size" in result["reason"]


def test_r03_a_gpu_without_memory_names_the_share_too():
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    said = describe(caught.value)
    assert "lower train.batch_size, or give each stage more of its GPU (--gpus-per-stage)" in said


def test_a_gpu_that_imitates_bfloat16_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    check_precision(torch.device("cuda"), "float32")
    with pytest.raises(ConfigError, match=r"Tesla T4 has no bfloat16; run with --train.precision"):
        check_precision(torch.device("cuda"), "bfloat16")


def test_f17_a_store_that_goes_away_gives_no_wrong_result(tmp_path, stages):
    plan = stages(cells={"high": [8], "low": [4]})
    parent, child = plan.stages.values()
    _, folder = finish(run_of(tmp_path, parent))
    shutil.rmtree(tmp_path / "store")
    run = run_of(tmp_path, child)
    run.restore_or_fail(folder)
    assert run.advance()["status"] == "failed"
    assert run.commit() is None
