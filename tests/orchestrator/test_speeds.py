"""How fast a stage is taken for where none like it was trained."""

import errno
import json
import math

import pytest

from orchestrator.experiment import load_experiment
from orchestrator.inventory import Speeds
from orchestrator.plan import make_plan
from orchestrator.recipe import Recipe
from orchestrator.results import write_plan
from trainables.store import Store


def plan_of(root, fields):
    recipe = Recipe.model_validate(fields, strict=False)
    return make_plan([load_experiment(recipe, root, must_exist=True)])


def spec_of(root, fields):
    return next(iter(plan_of(root, fields).stages.values())).spec


def test_a_guess_knows_a_gpu_from_a_core(tmp_path, small_recipe):
    spec = spec_of(tmp_path, small_recipe)
    speeds = Speeds(tmp_path / "none.json")
    on_cpu, on_gpu = speeds.of(spec, "cpu"), speeds.of(spec, "cuda")
    assert not on_cpu[1]
    assert not on_gpu[1]
    assert on_gpu[0] > 50 * on_cpu[0]


def test_what_was_recorded_on_the_device_is_taken(tmp_path, small_recipe):
    spec = spec_of(tmp_path, small_recipe)
    file = tmp_path / "speeds.json"
    file.write_text(json.dumps({f"tiny|24px|{spec.training.precision}|cuda": 7.0}))
    assert Speeds(file).of(spec, "cuda") == (7.0, True)
    assert not Speeds(file).of(spec, "cpu")[1]


def entry_of(store, stage, images_per_s):
    """A stage in the store that was trained so fast."""
    text = json.dumps({"images_per_s": images_per_s})
    write = lambda folder: (folder / "stage.json").write_text(text)  # noqa: E731
    return store.commit(stage.key, stage.name, "stage", write)


def test_a_stage_that_trains_nothing_says_nothing_about_speed(tmp_path, small_recipe):
    """Interpolated weights see no image; a later plan divides by what is recorded here."""
    plan, store = plan_of(tmp_path, small_recipe), Store(tmp_path / "store")
    first, second, third, *_ = plan.stages.values()
    idle = [entry_of(store, first, 0.0), entry_of(store, second, math.inf)]
    file = tmp_path / "speeds.json"
    Speeds(file).record(plan, idle, "cpu")
    assert Speeds(file).of(first.spec, "cpu") == Speeds(tmp_path / "none").of(first.spec, "cpu")
    Speeds(file).record(plan, [*idle, entry_of(store, third, 9.0)], "cpu")
    assert Speeds(file).of(first.spec, "cpu") == (9.0, True)


@pytest.mark.parametrize(
    "text",
    ["[1]", "7", "null", '{"KIND": "7"}', '{"KIND": 0.0}', '{"KIND": NaN}', '{"KIND": -1}',
     '{"KIND": Infinity}', '{"KIND": null}', '{"KIND": 1e', "", "[" * 100_000],
)  # fmt: skip
def test_recorded_speeds_that_are_none_are_passed_over(tmp_path, small_recipe, text):
    plan = plan_of(tmp_path, small_recipe)
    stage = next(iter(plan.stages.values()))
    file = tmp_path / "speeds.json"
    file.write_text(text.replace("KIND", f"tiny|24px|{stage.spec.training.precision}|cpu"))
    assert not Speeds(file).of(stage.spec, "cpu")[1]
    assert 0 < Speeds(file).seconds(stage, 10, "cpu") < math.inf


@pytest.mark.parametrize("name", ["speeds.json", "plan.json"])
def test_f01_where_the_disk_is_full_the_old_file_stays(tmp_path, small_recipe, monkeypatch, name):
    plan, store = plan_of(tmp_path, small_recipe), Store(tmp_path / "store")
    entry = entry_of(store, next(iter(plan.stages.values())), 9.0)
    file = tmp_path / name
    file.write_text("{}")

    def full(_path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trainables.disk.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_plan(file, plan) if name == "plan.json" else Speeds(file).record(plan, [entry], "cpu")
    assert file.read_text() == "{}"
