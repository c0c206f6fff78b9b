"""What a GPU is promised to do: `pytest -m gpu tests/trainables` on a machine that has one."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tests.trainables.one_stage import finish, run_of
from trainables.batches import epoch_batches, open_source
from trainables.evaluate import evaluate
from trainables.fingerprint import key_of
from trainables.models import build_model
from trainables.models.on_gpu import to_device
from trainables.models.weights import load_all
from trainables.train import make_optimizer, train_stage
from trainables.views import open_view


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    return torch.device("cuda")


@pytest.mark.gpu
def test_kernels_compute_what_torch_does(gpu):
    assert kernel_tests({}) == 0


def test_kernels_compute_what_torch_does_as_triton_interprets_them():
    """On a CPU; only AlexNet is left out, which takes a minute."""
    pytest.importorskip("triton")
    assert kernel_tests({"TRITON_INTERPRET": "1"}, "-k", "not alexnet") == 0


@pytest.mark.parametrize("value", ["fp32", "bf16"])
@pytest.mark.parametrize("capability", [70, 80, 90, 100])
def test_kernels_compile_for_gpus_from_volta_to_blackwell(tmp_path, monkeypatch, value, capability):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from tests.trainables.compiled_kernels import calls, compiled

    assert all(compiled(call, capability) for call in calls(value))


def kernel_tests(variables: dict[str, str], *flags: str) -> int:
    """In a process of its own: Triton reads the variable when it is imported."""
    command = [sys.executable, "-m", "tests.trainables.gpu_kernels", *flags]
    return subprocess.run(command, env=os.environ | variables, check=False).returncode


@pytest.mark.gpu
def test_the_host_waits_for_the_gpu_once_an_epoch(tmp_path, stages, gpu):
    plan = stages(train={"epochs": 1, "batch_size": 4, "lr": 0.01})
    spec = next(stage.spec for stage in plan.stages.values() if len(stage.spec.views) == 2)
    sources = [open_source(open_view(tmp_path / "data", view), gpu) for view in spec.views]
    network = build_model(spec.model, spec.n_classes)
    to_device(network.module, gpu)
    rows = np.arange(spec.subset.n_images)
    optimizer = make_optimizer(network, spec)
    epochs = lambda: train_stage(  # noqa: E731
        network, optimizer, spec, lambda seed: epoch_batches(spec, sources, rows, seed)
    )
    next(epochs())  # a first one brings constants and kernels
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        next(epochs())
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(w.message) for w in seen if "called a synchronizing" in str(w.message)]
    assert len(waits) == 1, waits


@pytest.mark.gpu
def test_a_stage_trained_there_predicts_the_same_on_a_cpu(tmp_path, stages, gpu):
    plan = stages(train={"epochs": 3, "batch_size": 8, "lr": 0.01, "precision": "float32"})
    stage = next(iter(plan.stages.values()))
    result, folder = finish(run_of(tmp_path, stage, device=gpu.type))
    assert result["status"] == "done"
    record = json.loads((folder / "stage.json").read_text())
    assert record["device"] == "cuda"
    network = build_model(stage.spec.model, stage.spec.n_classes)
    load_all(network, load_file(folder / "weights.safetensors"))
    view = stage.evaluations[0]
    source = open_source(open_view(tmp_path / "data", view), torch.device("cpu"))
    here = evaluate(network, source, stage.spec)
    (there,) = folder.glob(f"predictions-{key_of(view)[:8]}*.parquet")
    confidence = pq.read_table(there)["confidence"].to_numpy()
    np.testing.assert_allclose(here.confidence_N, confidence, atol=1e-3)
