"""The files of a stage's folder: weights, momentum, record, metrics, predictions."""

import json
import os
import platform
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainables.batches import AnySource
from trainables.evaluate import Predictions
from trainables.faults import fault_point
from trainables.fingerprint import key_of
from trainables.views import view_name

WEIGHTS = "weights.safetensors"
MOMENTUM = "momentum.safetensors"


def write_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """Save tensors of any device and layout as safetensors."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    fault_point("file")
    save_file(plain, file)


def write_record(folder: Path, record: dict[str, Any], epochs: Sequence[dict[str, Any]]) -> None:
    """`stage.json`, all that is known of the stage, and `epochs.jsonl`, one line an epoch."""
    fault_point("file")
    (folder / "stage.json").write_text(json.dumps(record, indent=1))
    fault_point("file")
    (folder / "epochs.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))


def write_evaluations(folder: Path, evaluated: Sequence[tuple[AnySource, Predictions]]) -> None:
    """`metrics.json`, sums by the view's key, and the predictions for each photo as Parquet."""
    metrics = {}
    for source, predictions in evaluated:
        view, key = source.view, key_of(source.view.spec)
        metrics[key] = {
            "view": view_name(view.spec),
            "correct": predictions.correct,
            "seen": predictions.seen,
        }
        table = predictions.as_table(view.rows_N)
        fault_point("file")
        pq.write_table(table, folder / f"predictions-{key[:8]}.parquet")
    fault_point("file")
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1))


def momentum_of(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """SGD's velocity by parameter name; empty before the first update."""
    state = optimizer.state
    return {
        name: state[parameter]["momentum_buffer"]
        for name, parameter in module.named_parameters()
        if state[parameter].get("momentum_buffer") is not None
    }


def set_momentum(module: nn.Module, optimizer: torch.optim.Optimizer, file: Path) -> None:
    """Put a saved velocity back, in each parameter's own layout and device."""
    saved = load_file(file)
    for name, parameter in module.named_parameters():
        if name in saved:
            velocity = torch.empty_like(parameter).copy_(saved[name])
            optimizer.state[parameter]["momentum_buffer"] = velocity


def images_per_s(epochs: Sequence[dict[str, Any]]) -> float:
    """Training speed over all epochs."""
    seconds = sum(epoch["seconds"] for epoch in epochs)
    return sum(epoch["images_seen"] for epoch in epochs) / max(seconds, 1e-9)


def machine_facts() -> dict[str, Any]:
    """Where this process runs and on what: recorded, never part of an identity."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
