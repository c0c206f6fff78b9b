from pathlib import Path

import pytest

from orchestrator.cluster import Machine, bfloat16_pays, settled
from orchestrator.recipe import Recipe

CPU = Machine(Path())


@pytest.mark.parametrize(
    ("flags", "pays"),
    [
        ("fpu avx2 f16c", False),
        ("fpu avx512f avx512_bf16", True),
        ("Features : fp asimd bf16", True),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_with_instructions_for_it(tmp_path, flags, pays):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    assert bfloat16_pays(CPU, cpuinfo) is pays


def test_a_gpu_computes_in_bfloat16_and_an_unknown_cpu_in_float32(tmp_path):
    assert bfloat16_pays(Machine(Path(), gpus_per_stage=0.5), tmp_path / "none")
    assert not bfloat16_pays(CPU, tmp_path / "none")


def test_a_recipe_that_names_its_precision_keeps_it_on_every_machine():
    for precision in ("bfloat16", "float32"):
        recipe = Recipe.model_validate({"name": "x", "train": {"precision": precision}})
        assert settled(recipe, Machine(Path(), gpus_per_stage=1.0)) == recipe
        assert settled(recipe, CPU) == recipe


def test_auto_is_settled_before_anything_is_planned():
    recipe = Recipe(name="x")
    assert settled(recipe, Machine(Path(), gpus_per_stage=1.0)).train.precision == "bfloat16"
    assert settled(recipe, CPU).train.precision in ("bfloat16", "float32")
