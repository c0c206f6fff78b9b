"""A forest as a folder: its tables as safetensors, what they are as JSON; nothing can run."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainables.errors import DataError
from trainables.superres.forest import Forest
from trainables.superres.forest_spec import FOREST_VERSION, ForestSpec, forest_key

TABLES = "forest.safetensors"
RECORD = "forest.json"


def save_forest(forest: Forest, folder: Path) -> None:
    """Write `forest.safetensors` and `forest.json` into a folder, made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: table.cpu().contiguous() for name, table in _tables(forest).items()})
    record = {
        "kind": "nbsrf",
        "version": FOREST_VERSION,
        "key": forest_key(forest.spec, forest.images_key),
        "images_key": forest.images_key,
        "spec": forest.spec.model_dump(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / TABLES).write_bytes(content)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def _tables(forest: Forest) -> dict[str, Tensor]:
    return {
        "axes": forest.axes_PK,
        "directions": forest.directions_TM2K,
        "maps": forest.maps_TLKP.transpose(2, 3),
    }


def load_forest(folder: Path) -> Forest:
    """Read a forest back, bit for bit, onto the CPU.

    Raises:
        DataError: when files are missing or damaged, or are not those of a forest of this version.
    """
    record = _read_record(folder / RECORD)
    try:
        spec = ForestSpec.model_validate(record["spec"])
        images_key, digest = str(record["images_key"]), str(record["sha256"])
    except (KeyError, ValidationError) as fault:
        raise _foreign(folder / RECORD) from fault
    if record.get("key") != forest_key(spec, images_key):
        raise _foreign(folder / RECORD)
    tables = _read_tables(folder / TABLES, digest)
    if {name: (t.dtype, tuple(t.shape)) for name, t in tables.items()} != _kinds(spec, tables):
        raise _foreign(folder / TABLES)
    maps_TLKP = tables["maps"].transpose(2, 3).contiguous()
    return Forest(spec, images_key, tables["axes"], tables["directions"], maps_TLKP)


def _read_record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text())
    except FileNotFoundError as fault:
        raise DataError(f"there is no forest in {file.parent}; train one first") from fault
    except (OSError, ValueError) as fault:
        raise DataError(f"{file} is damaged ({fault}); train the forest again") from fault
    known = ("nbsrf", FOREST_VERSION)
    if not isinstance(record, dict) or (record.get("kind"), record.get("version")) != known:
        raise _foreign(file)
    return record


def _read_tables(file: Path, digest: str) -> dict[str, Tensor]:
    try:
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{file} is damaged: its sum is not the recorded one; train it again")
        return load(content)
    except (OSError, SafetensorError) as fault:
        raise DataError(f"{file} is damaged ({fault}); train the forest again") from fault


def _kinds(
    spec: ForestSpec, tables: dict[str, Tensor]
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape that each table must have."""
    n_pixels = spec.patch_px**2
    n_axes = tables["axes"].shape[-1] if "axes" in tables and tables["axes"].ndim else 0
    shapes = {
        "axes": (n_pixels, n_axes),
        "directions": (spec.n_trees, 2**spec.depth - 1, 2, n_axes),
        "maps": (spec.n_trees, 2**spec.depth, n_pixels, n_axes),
    }
    return {name: (torch.float32, shape) for name, shape in shapes.items()}


def _foreign(file: Path) -> DataError:
    return DataError(f"{file} is not of a forest of this version; train the forest again")
