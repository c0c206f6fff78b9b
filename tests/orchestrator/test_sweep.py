"""A recipe from start to end: inline and through Tune, killed, resumed, shared, refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

import analysis
from orchestrator.cli import main
from orchestrator.closing import last_words
from orchestrator.cluster import Machine
from orchestrator.control import only_one
from orchestrator.experiment import load_experiment
from orchestrator.plan import make_plan
from orchestrator.recipe import OF_THE_ROOT, Recipe
from orchestrator.sweep import Outcome, Sweep
from trainables.entry import read_entry
from trainables.errors import ConfigError
from trainables.evaluate import evaluate
from trainables.store import Store

CELLS, STAGES = 7, 9
HANG_S = 240  # far above what a busy machine needs: only what hangs meets it


def sweep(root: Path, fields: dict, executor: str = "inline", address: str = "local") -> Outcome:
    recipe = Recipe.model_validate(fields, strict=False)
    experiment = load_experiment(recipe, root, must_exist=True)
    machine = Machine(root, executor=executor, address=address)
    console = Console(quiet=True)
    outcome = Sweep(experiment, make_plan([experiment]), machine, "test", console).run()
    outcome.tracker.finish("done", {}, "", [])
    return outcome


def weights(root: Path) -> dict[str, str]:
    """Key to the checksum of the weights, of every stage in the store."""
    store = Store(root / "store")
    return {
        entry.key: entry.files["weights.safetensors"]["sha256"]
        for entry in store.entries()
        if entry.kind == "stage"
    }


def events(root: Path, kind: str) -> list[dict]:
    lines = (root / "small" / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def mlflow_runs(root: Path) -> list:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root.absolute()}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids, "tags.kind != 'sweep'"))


def points_per_step(root: Path) -> list[int]:
    """How often each (run, step) of the training loss is in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root.absolute()}/mlflow.db")
    found = Counter(
        (run.info.run_id, point.step)
        for run in mlflow_runs(root)
        for point in client.get_metric_history(run.info.run_id, "train/loss")
    )
    assert len(found) == 2 * STAGES
    return list(found.values())


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> tuple[Path, Outcome]:
    """The small recipe run inline and undisturbed."""
    root = tmp_path_factory.mktemp("golden")
    return root, sweep(root, small())


def small() -> dict:
    return yaml.safe_load((Path(__file__).parents[1] / "small.yaml").read_text())


def test_every_cell_is_done_and_each_shared_stage_was_trained_once(golden):
    root, outcome = golden
    assert outcome.exit_status == 0
    frame = analysis.load(root / "small")
    assert list(frame["status"].unique()) == ["done"]
    assert len(frame) == CELLS
    assert len(outcome.progress.trained) == STAGES == len(weights(root))


def test_a_root_holds_its_run_and_names_that_no_run_can_have(golden):
    root, _ = golden
    held = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    assert "small" in held
    assert held - {"small"} <= OF_THE_ROOT


def test_the_predictions_of_a_run_give_its_accuracies_photo_by_photo(golden):
    root, _ = golden
    frame = analysis.load(root / "small").set_index("cell")
    photos = pd.read_parquet(root / "small" / "predictions.parquet")
    assert len(photos) == CELLS * 2 * 16
    right = (photos["label"] == photos["predicted"]).groupby(
        [photos["test"], photos["cell"]], observed=True
    )
    for test in ("high", "low"):
        share = right.mean()[test]
        assert share.to_dict() == frame[f"accuracy_{test}"].to_dict()


def test_a_second_run_trains_nothing_and_changes_nothing(golden):
    root, _ = golden
    before = weights(root)
    again = sweep(root, small())
    assert again.progress.statuses == {}
    assert again.exit_status == 0
    assert weights(root) == before


def test_mlflow_has_one_finished_run_per_stage_with_each_point_once(golden):
    root, _ = golden
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root.absolute()}/mlflow.db")
    runs = mlflow_runs(root)
    assert Counter(run.data.tags["stage_key"] for run in runs) == dict.fromkeys(weights(root), 1)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        points = client.get_metric_history(run.info.run_id, "train/loss")
        steps = [point.step for point in points]
        assert len(steps) == 2 == len(set(steps))
    child = next(r for r in runs if r.info.run_name == "staged_hl H8 L4 s0")
    assert [p.step for p in client.get_metric_history(child.info.run_id, "train/loss")] == [3, 4]
    assert "test/accuracy_low" in child.data.metrics


def test_a_larger_grid_shares_what_the_smaller_one_has_trained(golden, tmp_path):
    root, _ = golden
    shutil.copytree(root / "store", tmp_path / "store")
    fields = small() | {"name": "small", "cells": {"high": [0, 4, 8], "low": [2, 4, 8]}}
    outcome = sweep(tmp_path, fields)
    assert len(outcome.progress.trained) == 3
    hits = [r for r in mlflow_runs(tmp_path) if r.data.tags["cache"] == "hit"]
    assert len(hits) == 8
    assert all("train/loss" in run.data.metrics for run in hits)


@pytest.mark.parametrize(
    ("stage", "file", "again"),
    [
        ("h8-s0", "metrics.json", {"h8-s0", "h8-l6-s0"}),
        ("h8-s0", "weights.safetensors", {"h8-s0", "h8-l6-s0"}),
        ("h8-l4-s0", "metrics.json", {"h8-l4-s0", "h8-l6-s0"}),
    ],
)
def test_f05_f06_what_is_damaged_is_set_aside_and_made_anew(
    golden, tmp_path, capsys, stage, file, again
):
    root, _ = golden
    shutil.copytree(root / "store", tmp_path / "store")
    (folder,) = (tmp_path / "store").glob(f"synthetic-tiny-{stage}-*")
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(small() | {"cells": {"high": [8], "low": [4, 6]}}))
    command = ["run", str(recipe), "--root", str(tmp_path), "--executor", "inline"]
    assert main(command) == 0
    assert f"damaged: {folder.name} was set aside" in capsys.readouterr().out.replace("\n", " ")
    trained = {event["key"] for event in events(tmp_path, "stage_end")}
    names = {read_entry(p.parent).json("stage.json")["name"] for p in made(tmp_path, trained)}
    assert names == {f"synthetic-tiny-{name}" for name in again}
    assert weights(root).items() <= weights(tmp_path).items()


def made(root: Path, keys: set[str]) -> list[Path]:
    """Manifests of the entries with these keys."""
    manifests = (root / "store").glob("*/manifest.json")
    return [path for path in manifests if json.loads(path.read_text())["key"] in keys]


def test_s18_the_recorded_command_holds_no_secret(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MY_API_KEY", "0123456789abcdef")
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(small() | {"cells": {"strategies": ["low"]}}))
    said = ["--description", "http://me:a/b@host with 0123456789abcdef"]
    command = ["run", str(recipe), "--root", str(tmp_path), "--executor", "inline", *said]
    assert main(command) == 0
    (stage,) = Store(tmp_path / "store").entries()
    records = (json.loads((tmp_path / "small" / "run.json").read_text()), stage.json("stage.json"))
    for record in records:
        assert "http://***@host with ***" in record["command"]


def test_a_second_run_of_the_same_name_is_refused_while_one_goes_on(golden, tmp_path, capsys):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(small()))
    (tmp_path / "small").mkdir()
    with only_one(tmp_path / "small" / ".lock"):
        command = ["run", str(recipe), "--root", str(tmp_path), "--executor", "inline"]
        assert main(command) == 2
    assert f"in use by process {os.getpid()}" in capsys.readouterr().out.replace("\n", " ")


def test_a_coarser_resolution_evaluates_finished_high_stages_without_training(golden, tmp_path):
    root, _ = golden
    shutil.copytree(root / "store", tmp_path / "store")
    fields = small() | {"cells": {"strategies": ["high"]}, "table": "custom"}
    fields["data"] = fields["data"] | {"resolution_px": 6}
    outcome = sweep(tmp_path, fields)
    assert outcome.exit_status == 0
    assert outcome.progress.trained == []
    assert weights(tmp_path) == weights(root)
    again = sweep(tmp_path, fields)
    assert again.progress.statuses == {}
    assert [row["accuracy_low"] for row in again.rows] == [
        row["accuracy_low"] for row in outcome.rows
    ]


def test_a_finished_stage_whose_evaluation_fails_is_not_done_and_its_children_go_on(
    golden, tmp_path, monkeypatch
):
    root, _ = golden
    shutil.copytree(root / "store", tmp_path / "store")
    fields = small() | {"cells": {"strategies": ["high", "staged_hl"]}, "table": "custom"}
    fields["data"] = fields["data"] | {"resolution_px": 6}
    faults = iter([RuntimeError("the test photos are gone")])

    def evaluate_second(*arguments):
        for fault in faults:
            raise fault
        return evaluate(*arguments)

    monkeypatch.setattr("trainables.stage_run.evaluate", evaluate_second)
    outcome = sweep(tmp_path, fields)
    found = {row["cell"]: row["status"] for row in outcome.rows}
    assert found == {"high/h8-l0/s0": "failed", "staged_hl/h8-l8/s0": "done"}
    assert outcome.exit_status == 75
    (failed,) = (key for key, s in outcome.progress.statuses.items() if s == "failed")
    assert "the test photos are gone" in outcome.progress.reasons[failed]
    assert [e["status"] for e in events(tmp_path, "stage_end") if e["key"] == failed] == ["failed"]
    assert sweep(tmp_path, fields).exit_status == 0


@pytest.mark.ray
def test_tune_gives_the_same_weights_and_makes_every_transition(golden, tmp_path, ray_session):
    root, _ = golden
    outcome = sweep(tmp_path, small(), executor="ray")
    assert outcome.exit_status == 0
    assert weights(tmp_path) == weights(root)
    store = Store(tmp_path / "store")
    trials = set()
    for key, stage in outcome.plan.stages.items():
        record = store.find(key).json("stage.json")
        trials.add(record["trial_id"])
        if stage.parents:
            parent = store.find(stage.parents[0])
            assert record["restored_from"] == parent.folder.name
        saved = tmp_path / "small" / "tune" / record["trial_id"] / "checkpoint_000000"
        address = json.loads((saved / "address.json").read_text())
        assert Path(address["folder"]) == store.find(key).folder
    assert len(trials) == STAGES
    assert {row["trial_id"] for row in outcome.rows} <= trials


@pytest.mark.ray
def test_n01_a_diverged_parent_blocks_its_children_and_the_rest_goes_on(tmp_path, ray_session):
    fields = small() | {"sequences": {"two": [
        {"views": ["high"], "images": "high"}, {"views": ["low"], "images": "low"}]}}  # fmt: skip
    fields["train"] = fields["train"] | {"lr": 1e8, "epochs": 2}
    fields["cells"] = {"strategies": ["two", "low"]}
    outcome = sweep(tmp_path, fields, executor="ray")
    found = {row["cell"]: row["status"] for row in outcome.rows}
    assert found == {"two/h8-l8/s0": "blocked", "low/h0-l8/s0": "diverged"}
    assert outcome.exit_status == 75
    again = sweep(tmp_path, fields)
    assert again.progress.trained == []
    assert {row["status"] for row in again.rows} == {"blocked", "diverged"}
    said = list(last_words(again, [], ["two", "--train.lr", "1e8"]))
    assert said[-1].endswith("run two --train.lr 1e8 --train.lr 3.3e+07"), "the last flag counts"


@pytest.fixture
def start(tmp_path):
    """Start `f2c run` in a process of its own; none outlives its test."""
    started = []

    def run(recipe: Path, *flags: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "orchestrator.cli", "run", str(recipe), "--root", tmp_path]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        environment = os.environ | {"MLFLOW_TRACKING_URI": ""}
        started.append(subprocess.Popen([*command, *flags], env=environment, text=True, **pipes))
        return started[-1]

    yield run
    for process in started:
        with process:
            process.kill()


def wait_for(condition, process: subprocess.Popen, timeout_s: float = HANG_S) -> None:
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        if condition() or process.poll() is not None:
            return
        pause.wait(0.02)
    raise TimeoutError("the condition did not come true")


def count(root: Path, kind: str) -> int:
    try:
        return len(events(root, kind))
    except (OSError, ValueError):
        return 0


@pytest.mark.ray
def test_a_cluster_that_does_not_answer_is_told_without_waiting_for_the_photos(
    tmp_path, monkeypatch
):
    told = []

    def prepare(_self, _views, stopped):
        pause = threading.Event()
        told.append(any(stopped() or pause.wait(0.01) for _ in range(1000)))

    @contextmanager
    def no_answer(*_):
        raise ConfigError("nothing answers")
        yield

    monkeypatch.setattr(Sweep, "_prepare", prepare)
    monkeypatch.setattr("orchestrator.sweep.ray_session", no_answer)
    with pytest.raises(ConfigError, match="nothing answers"):
        sweep(tmp_path, small(), "ray")
    assert told == [True]


def test_an_inline_run_asks_no_cluster_also_where_the_flags_of_a_head_name_one(tmp_path):
    one = small() | {"cells": {"high": [0], "low": [4]}}
    assert sweep(tmp_path, one, address="auto").exit_status == 0


@pytest.mark.parametrize(("executor", "ended"), [("ray", 4), ("inline", 1)])
def test_k01_k02_m08_killed_and_started_again_it_ends_with_the_same_weights(
    golden, tmp_path, start, executor, ended
):
    root, _ = golden
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(small()))
    first = start(recipe, "--executor", executor)
    wait_for(lambda: count(tmp_path, "stage_end") >= ended, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    done = {event["key"] for event in events(tmp_path, "stage_end")}
    second = start(recipe, "--executor", executor)
    output, _ = second.communicate(timeout=HANG_S)
    assert second.returncode == 0, output
    assert weights(tmp_path) == weights(root)
    trained = Counter(event["key"] for event in events(tmp_path, "stage_end"))
    assert all(trained[key] == 1 for key in done)
    runs = Counter(run.data.tags["stage_key"] for run in mlflow_runs(tmp_path))
    assert runs == dict.fromkeys(weights(root), 1)
    assert set(points_per_step(tmp_path)) == {1}


@pytest.mark.ray
@pytest.mark.parametrize(
    ("executor", "number", "status"),
    [("ray", signal.SIGTERM, 143), ("inline", signal.SIGINT, 130)],
)
def test_i01_i03_a_signal_stops_in_order_and_prints_how_to_resume(
    tmp_path, start, executor, number, status
):
    recipe = tmp_path / "small.yaml"
    fields = small()
    fields["train"] = fields["train"] | {"epochs": 500}
    recipe.write_text(yaml.safe_dump(fields))
    process = start(recipe, "--executor", executor)
    wait_for(lambda: count(tmp_path, "epoch") >= 2, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == status, output
    assert f"run {recipe} --root {tmp_path}" in output.replace("\n", " ")
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["run", "demo", "--train.epohcs", "3"], 2, ""),
        (["run", "demo", "--data.dataset", "cub201"], 2, "did you mean cub200"),
        (["run", "demo", "--model.name", "alexnt"], 2, "did you mean alexnet"),
        (["run", "dem"], 2, "did you mean demo"),
        (["rum"], 2, "did you mean run"),
        (["run", "demo", "--gpus-per-stage", "1"], 2, "--gpus-per-stage 0"),
        (["run", "demo", "--cpus-per-stage", "4000"], 2, "--cpus-per-stage"),
        (["run", "demo", "--data.resolution-px", "64"], 2, "data.resolution_px (64) is above"),
        (["run", "demo", "--cells.step", "90"], 2, "there are 480"),
        (["run", "demo", "--cells.strategies", "hihg"], 2, "did you mean high"),
        (["run", "table2-cars"], 65, "weights/bvlc_alexnet.safetensors"),
        (["run", "demo", "--tracking-uri", "http://me:secret@host"], 2, "MLFLOW_TRACKING_PASSWORD"),
        (["explain", "demo", "staged_hl/h3-l9/s0"], 2, "near are"),
    ],
)  # fmt: skip
def test_c06_r01_r02_bad_input_gets_one_clear_sentence_and_its_exit_status(
    tmp_path, capsys, monkeypatch, arguments, status, text
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    flags = (
        ["--root", str(tmp_path)] if arguments[-1] != "rum" and arguments != ["run", "dem"] else []
    )
    try:
        got = main([*arguments, *flags])
    except SystemExit as stop:
        got = stop.code
    printed = capsys.readouterr()
    assert got == status
    assert text in (printed.out + printed.err).replace("\n", " ")
    assert "secret" not in printed.out


def test_missing_photos_and_missing_weights_are_named_in_one_message(tmp_path, capsys):
    assert main(["run", "table2-cars", "--data.root", str(tmp_path / "none")]) == 65
    printed = capsys.readouterr().out
    assert "none" in printed
    assert "bvlc_alexnet" in printed


def test_an_added_strategy_runs_through_plan_tables_and_mlflow(golden, tmp_path, monkeypatch):
    from trainables.spec import StageDraft
    from trainables.strategies import STRATEGIES

    def high_low_low(cell):
        high = StageDraft(views=("high",), n_images=cell.n_high)
        low = StageDraft(views=("low",), n_images=cell.n_low)
        return (high, low, low)

    monkeypatch.setitem(STRATEGIES, "high_low_low", high_low_low)
    root, _ = golden
    shutil.copytree(root / "store", tmp_path / "store")
    fields = small() | {"table": "custom", "cells": {"strategies": ["staged_hl", "high_low_low"]}}
    outcome = sweep(tmp_path, fields)
    assert outcome.exit_status == 0
    assert len(outcome.progress.trained) == 1
    names = {run.info.run_name for run in mlflow_runs(tmp_path)}
    assert "high_low_low H8 L8 s0" in names


@pytest.mark.parametrize("folder", [".", "/"])
def test_grid_py_runs_by_path_from_any_folder(folder, tmp_path):
    grid = Path(__file__).parents[2] / "orchestrator" / "grid.py"
    done = subprocess.run(
        [sys.executable, str(grid), "--root", str(tmp_path), "--train.epohcs", "1"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=HANG_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--train.epochs" in done.stdout + done.stderr


def folder_with_faults(root: Path) -> Path:
    """Class folders with good photos and one of each kind of bad one."""
    from PIL import Image

    for split in ("train", "test"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            for number in range(4):
                grey = Image.new("RGB", (40, 30), (10 * number, 100, 50))
                grey.save(root / split / label / f"{number}.jpg")
    bad = root / "train" / "a"
    (bad / "empty.jpg").touch()
    (bad / "page.jpg").write_text("<html>not found</html>")
    whole = (bad / "0.jpg").read_bytes()
    (bad / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (8, 8)).save(bad / "moving.png", save_all=True, append_images=[
        Image.new("RGB", (8, 8), "red")])  # fmt: skip
    return root


def test_bad_photos_are_all_named_before_training_and_nothing_is_lost(tmp_path, capsys):
    data = folder_with_faults(tmp_path / "photos")
    fields = small() | {"cells": {"strategies": ["high", "low"]}, "table": "custom"}
    fields["data"] = {"dataset": "folder", "root": str(data), "canvas_px": 24, "resolution_px": 12}
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(fields))
    command = ["run", str(recipe), "--root", str(tmp_path / "runs"), "--executor", "inline"]
    assert main(command) == 65
    printed = capsys.readouterr().out
    for name in ("empty.jpg", "page.jpg", "cut.jpg", "moving.png"):
        assert name in printed
    assert "4 of" in printed
    assert not count(tmp_path / "runs", "stage_start")
    for name in ("empty.jpg", "page.jpg", "cut.jpg", "moving.png"):
        (data / "train" / "a" / name).unlink()
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "2 done" in printed


def test_n07_tuning_never_opens_a_test_photo(tmp_path, capsys):
    data = folder_with_faults(tmp_path / "photos")
    for name in ("empty.jpg", "page.jpg", "cut.jpg", "moving.png"):
        (data / "train" / "a" / name).unlink()
    for photo in (data / "test").rglob("*.jpg"):
        photo.write_text("no photo")
    fields = small() | {"cells": {"strategies": ["low"]}, "table": "custom"}
    fields["data"] = {
        "dataset": "folder", "root": str(data), "canvas_px": 24, "resolution_px": 12,
        "validation": 0.5,
    }  # fmt: skip
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(fields))
    command = ["run", str(recipe), "--root", str(tmp_path / "runs"), "--executor", "inline"]
    assert main(command) == 0
    assert "1 done" in capsys.readouterr().out


def test_d22_changed_photos_are_another_data_set_and_their_stages_are_trained_anew(tmp_path):
    data = folder_with_faults(tmp_path / "photos")
    for name in ("empty.jpg", "page.jpg", "cut.jpg", "moving.png"):
        (data / "train" / "a" / name).unlink()
    fields = small() | {"cells": {"strategies": ["low"]}, "table": "custom"}
    fields["data"] = {"dataset": "folder", "root": str(data), "canvas_px": 24, "resolution_px": 12}
    first = sweep(tmp_path / "runs", fields)
    photo = data / "train" / "b" / "2.jpg"
    photo.write_bytes((data / "train" / "b" / "3.jpg").read_bytes())
    second = sweep(tmp_path / "runs", fields)
    assert len(first.progress.trained) == len(second.progress.trained) == 1
    assert not set(first.plan.stages) & set(second.plan.stages)


def test_c08_status_and_explain_after_a_run(golden, tmp_path, capsys):
    root, _ = golden
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(small()))
    flags = ["--root", str(root)]
    assert main(["status", str(recipe), *flags]) == 0
    assert "7 of 7 cells done" in capsys.readouterr().out
    assert main(["status", str(recipe), *flags, "--train.lr", "0.02"]) == 75
    assert "0 of 7 cells done, 9 of 9 stages to train" in capsys.readouterr().out
    cell = "staged_hl/h8-l4/s0"
    assert main(["explain", str(recipe), cell, *flags, "--train.lr", "0.02"]) == 0
    assert "training.lr: there 0.01, wanted 0.02" in capsys.readouterr().out
    assert main(["gc", *flags]) == 0
    assert "0 leftovers" in capsys.readouterr().out
