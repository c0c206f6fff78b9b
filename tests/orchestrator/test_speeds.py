"""How fast a stage is taken for where none like it was trained."""

import json

from orchestrator.experiment import load_experiment
from orchestrator.inventory import Speeds
from orchestrator.plan import make_plan
from orchestrator.recipe import Recipe


def spec_of(root, fields):
    recipe = Recipe.model_validate(fields, strict=False)
    plan = make_plan([load_experiment(recipe, root, must_exist=True)])
    return next(iter(plan.stages.values())).spec


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
