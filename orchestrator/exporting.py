"""`f2c export`: a finished cell's network as a file that needs none of this program."""

import argparse
import json
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from orchestrator.cluster import check_root
from orchestrator.display import next_line
from orchestrator.temperatures import calibration_of, in_words
from orchestrator.trained_cell import TrainedCell, find_trained_cell, own_options
from trainables.errors import ConfigError
from trainables.spec import Kernel, ViewSpec
from trainables.views import View

if TYPE_CHECKING:
    from trainables.predictor import Predictor

#: Test photos that every file is compared with the network on.
N_CHECKED = 32
RECORD = "model.json"
EXAMPLE = "example.png"
#: Pillow's numbers of our kernels.
PILLOW: dict[Kernel, int] = {"nearest": 0, "bilinear": 2, "bicubic": 3, "area": 4}
USAGE = "f2c export demo staged_hl/h3-l5/s0"


def export(arguments: Sequence[str], console: Console) -> int:
    """Write the files of a cell, each checked before any takes its place.

    Raises:
        ConfigError: when the words do not fit, or a package for ONNX is missing.
        DataError: when the cell is not trained, or a file predicts otherwise than its network.
    """
    options, words, flags = own_options("export", _options(), arguments)
    if len(words) != 2:
        raise ConfigError(f"export wants a recipe and a cell: {USAGE}")
    if options.onnx:
        from trainables.exported import check_onnx_installed

        check_onnx_installed()
    cell = find_trained_cell(words[0], words[1], flags)
    if options.to is None:
        check_root(cell.root)
    target = options.to or cell.root / cell.recipe.name / "export" / cell.name.replace("/", "-")
    _check_target(target, cell)
    record = _export(cell, target, onnx=options.onnx)
    for name, difference in record["largest_probability_difference"].items():
        console.print(
            f"{target / name}  same classes as the network on {record['n_checked']} test photos, "
            f"probabilities within {difference:.1g}"
        )
    console.print(f"{target / RECORD}  {record['calibration']}")
    console.print("use it from Python, without this program:\n")
    console.print("\n".join(record["how_to_use"]))
    console.print(f"\n{next_line('predict', *words, str(target / EXAMPLE), *flags)}")
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(usage="f2c export RECIPE CELL [options]", allow_abbrev=False)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: in the run's folder")
    parser.add_argument("--onnx", action="store_true", help="ONNX, too")
    return parser


def _check_target(target: Path, cell: TrainedCell) -> None:
    """Refuse to put a model over another one.

    Raises:
        ConfigError: with what is there.
    """
    try:
        there = json.loads((target / RECORD).read_text())
    except (OSError, ValueError):
        return
    if there.get("stage_key") != cell.entry.key:
        raise ConfigError(f"{target} holds the model of {there.get('cell')}; give another --to")


def _export(cell: TrainedCell, target: Path, *, onnx: bool) -> dict[str, Any]:
    """Make everything aside, then move it into place, the record last.

    Returns:
        The record, `model.json`.
    """
    from trainables.predictor import load_predictor

    predictor, tested = load_predictor(cell.entry, portable=True), cell.evaluated()
    calibration = calibration_of(cell, predictor, as_is=False)
    predictor.temperature.fill_(calibration.temperature)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    aside.mkdir()
    try:
        differences = _write_models(predictor, tested, aside, onnx=onnx)
        record = _record(cell, predictor, tested, target) | {
            "temperature": calibration.temperature,
            "calibration": in_words(calibration, tested.spec),
            "n_checked": min(N_CHECKED, len(tested)),
            "largest_probability_difference": differences,
        }
        _write_example(tested, aside / EXAMPLE)
        (aside / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        target.mkdir(exist_ok=True)
        for name in (*differences, EXAMPLE, RECORD):
            (aside / name).replace(target / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return record


def _write_models(
    predictor: "Predictor", tested: View, folder: Path, *, onnx: bool
) -> dict[str, float]:
    """Write each file and check it; by how much its probabilities differ at most."""
    import torch

    from trainables.batches import open_source
    from trainables.exported import export_program, largest_difference, write_onnx, write_pt2

    places_N = np.linspace(0, len(tested) - 1, min(N_CHECKED, len(tested))).astype(np.int64)
    photos_B3HW = open_source(tested, torch.device("cpu")).gather(places_N)
    program = export_program(predictor)
    writers = {"model.pt2": write_pt2} | ({"model.onnx": write_onnx} if onnx else {})
    return {
        name: largest_difference(write(program, folder / name), predictor, photos_B3HW)
        for name, write in writers.items()
    }


def _write_example(tested: View, file: Path) -> None:
    """The first test photo, as it is stored: a low one at its own resolution."""
    from PIL import Image

    Image.fromarray(np.array(tested.images_NHWC[0])).save(file)


def _record(
    cell: TrainedCell, predictor: "Predictor", tested: View, target: Path
) -> dict[str, Any]:
    """What a user of the files must know."""
    spec, view = predictor.spec, tested.spec
    side_px = predictor.canvas_px
    return {
        "recipe": cell.recipe.name,
        "cell": cell.name,
        "stage_key": cell.entry.key,
        "network": spec.model.name,
        "input": {
            "name": "photos",
            "shape": ["batch", 3, side_px, side_px],
            "dtype": "uint8",
            "colours": "RGB",
            "made_by": _input_in_words(view),
        },
        "output": {
            "name": "probabilities",
            "shape": ["batch", spec.n_classes],
            "dtype": "float32",
        },
        "precision": spec.training.precision,
        "accuracy": cell.accuracies,
        "n_test": len(tested),
        "example": {"file": EXAMPLE, "class": tested.class_names[tested.labels_N[0]]},
        "how_to_use": how_to_use(target, view),
        "classes": list(tested.class_names),
    }


def _input_in_words(view: ViewSpec) -> str:
    canvas = f"the {view.kernel} kernel to {view.canvas_px} x {view.canvas_px} px"
    if view.form == "sr":
        return f"low photos super-resolved by a forest to {view.canvas_px} px (not in this file)"
    if view.resolution_px is None:
        return f"the photo, cut to its object, by {canvas}"
    low = f"{view.resolution_px} x {view.resolution_px} px"
    return f"the photo, cut to its object, made low to {low}, then by {canvas}"


def how_to_use(target: Path, view: ViewSpec) -> list[str]:
    """Lines of Python that predict the example; Pillow's kernels are ours to a grey level."""
    kernel = PILLOW[view.kernel]
    sides_px = (view.resolution_px if view.form == "low" else None, view.canvas_px)
    resized = "".join(f".resize(({side}, {side}), {kernel})" for side in sides_px if side)
    folder = target.absolute()
    return [
        "import json, numpy, pathlib, torch",
        "from PIL import Image",
        f"classes = json.loads(pathlib.Path({str(folder / RECORD)!r}).read_text())['classes']",
        f"photo = Image.open({str(folder / EXAMPLE)!r}).convert('RGB'){resized}",
        f"model = torch.export.load({str(folder / 'model.pt2')!r}).module()",
        "print(classes[model(torch.tensor(numpy.array(photo)).permute(2, 0, 1)[None]).argmax()])",
    ]
