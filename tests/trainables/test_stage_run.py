"""A stage in one process: restore, advance, commit; bit-identical resume; damage and divergence."""

import json

import pytest
import torch

from tests.trainables.one_stage import finish, run_of, sha
from trainables import stage_run
from trainables.store import Store


def test_a_finished_stage_is_committed_with_all_its_files(tmp_path, stages):
    plan = stages()
    stage = next(iter(plan.stages.values()))
    result, folder = finish(run_of(tmp_path, stage))
    assert result["status"] == "done"
    assert 0 <= result["accuracy_low"] <= 1
    names = {path.name.split("-")[0] for path in folder.iterdir()}
    assert names == {
        "weights.safetensors", "stage.json", "epochs.jsonl", "metrics.json", "manifest.json",
        "predictions",
    }  # fmt: skip
    assert not Store(tmp_path / "store").progress_folder(stage.key, stage.name).exists()


def test_n04_resuming_at_each_epoch_gives_the_same_weights_bit_for_bit(tmp_path, stages):
    plan = stages(train={"epochs": 4, "batch_size": 8, "lr": 0.01, "momentum": 0.9})
    stage = next(iter(plan.stages.values()))
    _, golden = finish(run_of(tmp_path, stage, "golden"))
    for epochs in (1, 2, 3):
        first = run_of(tmp_path, stage, f"store{epochs}")
        first.restore(None)
        for _ in range(epochs):
            first.advance()
        second = run_of(tmp_path, stage, f"store{epochs}")
        _, folder = finish(second)
        assert len(second.epochs) == 4
        assert sha(folder) == sha(golden), f"resumed after epoch {epochs}"


@pytest.mark.parametrize("lost", ["momentum", "order"])
def test_n05_without_momentum_or_order_resuming_would_differ(tmp_path, stages, monkeypatch, lost):
    plan = stages(train={"epochs": 4, "batch_size": 8, "lr": 0.01})
    stage = next(iter(plan.stages.values()))
    _, golden = finish(run_of(tmp_path, stage, "golden"))
    first = run_of(tmp_path, stage)
    first.restore(None)
    first.advance()
    if lost == "momentum":
        monkeypatch.setattr(stage_run, "set_momentum", lambda *_: None)
    else:
        monkeypatch.setattr(stage_run, "seed_of", lambda *_: 1)
    _, folder = finish(run_of(tmp_path, stage))
    assert sha(folder) != sha(golden)


def test_a_child_starts_from_its_parents_weights_and_keeps_the_head(tmp_path, stages):
    plan = stages(cells={"high": [8], "low": [4]})
    parent, child = plan.stages.values()
    _, folder = finish(run_of(tmp_path, parent))
    run = run_of(tmp_path, child)
    run.restore(folder)
    saved = Store(tmp_path / "store").find(parent.key)
    from safetensors.torch import load_file

    before = load_file(saved.path("weights.safetensors"))
    now = run._network.module.state_dict()
    assert all(torch.equal(before[name], now[name]) for name in before)


def test_f08_the_weights_of_another_stage_are_refused(tmp_path, stages):
    plan = stages(cells={"high": [4, 8], "low": [4]})
    by_name = {stage.name: stage for stage in plan.stages.values()}
    _, wrong = finish(run_of(tmp_path, by_name["synthetic-tiny-h4-s0"]))
    run = run_of(tmp_path, by_name["synthetic-tiny-h8-l4-s0"])
    run.restore_or_fail(wrong)
    result = run.advance()
    assert result["status"] == "failed"
    assert "does not hold the parent" in result["reason"]


def test_f06_a_damaged_parent_is_noticed(tmp_path, stages):
    plan = stages(cells={"high": [8], "low": [4]})
    parent, child = plan.stages.values()
    _, folder = finish(run_of(tmp_path, parent))
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-3] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    run = run_of(tmp_path, child)
    run.restore_or_fail(folder)
    result = run.advance()
    assert result["status"] == "failed"
    assert "damaged" in result["reason"]
    assert run.commit() is None


def test_n01_a_diverged_stage_is_recorded_without_weights_and_is_no_number(tmp_path, stages):
    plan = stages(train={"epochs": 2, "batch_size": 8, "lr": 1e8})
    stage = next(iter(plan.stages.values()))
    result, folder = finish(run_of(tmp_path, stage))
    assert result["status"] == "diverged"
    assert "accuracy_low" not in result
    entry = Store(tmp_path / "store").find(stage.key)
    assert entry.kind == "diverged"
    assert "weights.safetensors" not in entry.files
    assert json.loads((folder / "metrics.json").read_text()) == {}


def test_a_stop_file_ends_the_stage_and_a_later_run_goes_on(tmp_path, stages):
    plan = stages(train={"epochs": 3, "batch_size": 8, "lr": 0.01})
    stage = next(iter(plan.stages.values()))
    _, golden = finish(run_of(tmp_path, stage, "golden"))
    stop = tmp_path / "stop"
    run = run_of(tmp_path, stage, stop_file=str(stop))
    run.restore(None)
    run.advance()
    stop.touch()
    assert run.advance()["status"] == "stopped"
    assert run.commit() is None
    stop.unlink()
    _, folder = finish(run_of(tmp_path, stage))
    assert sha(folder) == sha(golden)


def test_n04_a_stage_that_is_ended_in_its_tests_has_lost_no_epoch(tmp_path, stages, monkeypatch):
    """Tests that take longer than a second; this process dies in them without a word."""
    plan = stages(train={"epochs": 3, "batch_size": 8, "lr": 0.01})
    stage = next(iter(plan.stages.values()))
    _, golden = finish(run_of(tmp_path, stage, "golden"))
    monkeypatch.setattr(stage_run, "TESTING_SPEEDUP", 1e-9)
    monkeypatch.setattr(stage_run, "evaluate", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        finish(run_of(tmp_path, stage))
    monkeypatch.undo()
    run = run_of(tmp_path, stage)
    _, folder = finish(run)
    assert not run.trained
    assert sha(folder) == sha(golden)


def test_a_stop_file_ends_a_stages_tests_and_keeps_its_epochs(tmp_path, stages, monkeypatch):
    plan = stages(train={"epochs": 1, "batch_size": 8, "lr": 0.01})
    stage = next(iter(plan.stages.values()))
    result, golden = finish(run_of(tmp_path, stage, "golden"))
    stop = tmp_path / "stop"
    real = stage_run.evaluate
    monkeypatch.setattr(stage_run, "evaluate", lambda *given: stop.touch() or real(*given))
    run = run_of(tmp_path, stage, stop_file=str(stop))
    run.restore(None)
    assert run.advance()["status"] == "stopped"
    assert run.commit() is None
    stop.unlink()
    monkeypatch.undo()
    later = run_of(tmp_path, stage)
    again, folder = finish(later)
    assert not later.trained
    assert again["accuracy_low"] == result["accuracy_low"]
    assert sha(folder) == sha(golden)


def test_a_finished_stage_is_only_evaluated_on_a_view_it_was_not_evaluated_on(tmp_path, stages):
    stage = next(iter(stages(cells={"strategies": ["high"]}).stages.values()))
    finish(run_of(tmp_path, stage))
    data = {
        "dataset": "synthetic", "canvas_px": 24, "resolution_px": 6,
        "synthetic": {"n_classes": 4, "n_train": 32, "n_test": 16, "image_px": 32},
    }  # fmt: skip
    coarser = next(iter(stages(cells={"strategies": ["high"]}, data=data).stages.values()))
    assert coarser.key == stage.key
    run = run_of(tmp_path, coarser)
    result, _ = finish(run)
    assert not run.trained
    assert result["status"] == "done"
    kinds = sorted(entry.kind for entry in Store(tmp_path / "store").entries())
    assert kinds == ["evaluation", "stage"]
