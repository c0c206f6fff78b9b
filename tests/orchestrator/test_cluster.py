import sys
from pathlib import Path

import pytest

from orchestrator import cluster
from orchestrator.cluster import Machine, bfloat16_pays, ray_session, settled
from orchestrator.growth import Node
from orchestrator.recipe import Recipe
from trainables.errors import BusyError

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


class SlowRay:
    """Stands for Ray on a busy machine: starts at the given attempt."""

    def __init__(self, starts_at):
        self.attempts, self._starts_at = 0, starts_at

    def init(self, **_options):
        self.attempts += 1
        if self.attempts < self._starts_at:
            raise Exception("The current node timed out during startup.")  # noqa: TRY002

    def is_initialized(self):
        return False

    def shutdown(self):
        pass


def test_ray_that_is_slow_to_start_is_asked_twice_then_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(cluster, "cluster_nodes", lambda: [Node(2, 0)])
    slow = SlowRay(starts_at=2)
    monkeypatch.setitem(sys.modules, "ray", slow)
    with ray_session(CPU) as slots:
        assert (slow.attempts, slots) == (2, 2)
    monkeypatch.setitem(sys.modules, "ray", SlowRay(starts_at=9))
    with pytest.raises(BusyError, match="too busy; run the same command again"), ray_session(CPU):
        pass
