"""The GPU's benchmark runs where neither Ray nor MLflow is installed; here on a CPU, tiny."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

REPOSITORY = Path(__file__).parents[2]
FILES = ("gpu.py", "gpu_stage.py", "gpu_graph.py", "gpu_groups.py", "gpu_profile.py", "floors.py",
         "rounds.py", "targets.py")  # fmt: skip
#: What the machine with a GPU has: torch, torchvision and pydantic with what they bring.
ABSENT = ("ray", "mlflow", "pandas", "pyarrow", "safetensors", "scipy", "matplotlib", "psutil",
          "rich", "tyro", "pooch", "yaml", "orchestrator", "analysis")  # fmt: skip
#: Runs a script as if these packages were not there.
WITHOUT = """
import runpy, sys
for name in {absent}:
    sys.modules[name] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, {folder!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TINY = ("--device", "cpu", "--models", "tiny", "--images", "16", "--tests", "4", "--classes", "2",
        "--side-px", "32", "--low-px", "16", "--batch", "4", "--rounds", "1", "--precision",
        "float32", "--at-once", "2")  # fmt: skip


def imported(file: Path) -> set[str]:
    """Top names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("name", FILES)
def test_it_imports_neither_ray_nor_mlflow(name):
    assert imported(REPOSITORY / "benchmarks" / name).isdisjoint(ABSENT)


def test_it_runs_without_them_and_leaves_every_row(tmp_path):
    script, folder = REPOSITORY / "benchmarks" / "gpu.py", REPOSITORY / "benchmarks"
    code = WITHOUT.format(absent=ABSENT, folder=str(folder))
    command = [sys.executable, "-c", code, str(script), "--out", str(tmp_path), *TINY]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    rows = {row["name"]: row for row in json.loads((tmp_path / "gpu.json").read_text())["rows"]}
    kinds = (
        "rate",
        "bare",
        "dataloader",
        "with graphs",
        "kernels over step",
        "operations floor over time",
        "bytes floor over time",
    )
    few = {"gpu/table2", "gpu/tiny/2 smallest stages at once"}
    assert set(rows) == {f"gpu/tiny/{kind}" for kind in kinds} | few
    assert len(rows["gpu/table2"]["details"]["a stage of"]) == 24
    assert rows["gpu/tiny/rate"]["details"]["synchronisations an epoch"] is None
    assert rows["gpu/tiny/with graphs"]["details"]["apart"] < 1e-3
    assert rows["gpu/tiny/kernels over step"]["details"]["in kernels, ms"]["all of them"] > 0


@pytest.mark.parametrize("way", ["in_parts", "as_one"])
def test_other_ways_to_a_convolution_in_groups_compute_the_same(way, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    ways = importlib.import_module("gpu_groups")
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3, padding=1, groups=2, dtype=torch.float64)
    images = torch.randn(2, 6, 7, 5, dtype=torch.float64)
    made, exact = getattr(ways, way)(layer, images, layer.bias), layer(images)
    torch.testing.assert_close(made, exact)
    gradient = torch.randn_like(exact)
    ours, theirs = (torch.autograd.grad(y, [*layer.parameters()], gradient) for y in (made, exact))
    torch.testing.assert_close(ours, theirs)


def test_without_a_gpu_it_says_so_and_leaves_no_row(tmp_path):
    command = [sys.executable, REPOSITORY / "benchmarks" / "gpu.py", "--out", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "no GPU here" in done.stdout
    assert list(tmp_path.iterdir()) == []
