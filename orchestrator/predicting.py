"""`f2c predict`: the classes of any photos, by a finished cell."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from orchestrator.temperatures import calibration_of, in_words
from orchestrator.trained_cell import TrainedCell, find_trained_cell, own_options
from trainables.errors import ConfigError, DataError
from trainables.spec import ViewSpec
from trainables.store import Store

if TYPE_CHECKING:
    from trainables.calibration import Calibration
    from trainables.predictor import Predictor, SeenPhoto
    from trainables.superres.forest import Forest

TOP = 5
#: Photos whose pixels are kept for the picture.
MAX_DRAWN = 12
PICTURE_ENDINGS = (".png", ".jpg", ".webp", ".svg", ".pdf")
USAGE = "f2c predict demo staged_hl/h3-l5/s0 photo.jpg"


@dataclass(frozen=True)
class Prediction:
    """A photo's likeliest classes, best first; `seen` is None beyond the first `MAX_DRAWN`."""

    path: str
    how: str
    top: tuple[tuple[str, float], ...]
    seen: "SeenPhoto | None"


@dataclass(frozen=True)
class Predictions:
    """What `f2c predict` found, and where to put it; `of` are the recipe, the cell and flags."""

    of: tuple[str, ...]
    cell: TrainedCell
    view: ViewSpec
    calibration: "Calibration"
    notes: tuple[str, ...]
    photos: tuple[Prediction, ...]
    json_file: str | None
    picture: Path | None


def predict(arguments: Sequence[str]) -> Predictions:
    """Predict the photos of a command line.

    Raises:
        ConfigError: when the words do not fit, the recipe has no such cell, or what is asked for
            could not be written.
        DataError: when the cell is not trained, or with every photo that cannot be read.
    """
    options, words, flags = own_options("predict", _options(), arguments)
    if len(words) < 3:
        raise ConfigError(f"predict wants a recipe, a cell and photos: {USAGE}")
    _check_targets(options.picture, options.json)
    photos = [Path(word) for word in words[2:]]
    if options.box and len(photos) > 1:
        raise ConfigError("--box is the object's place in one photo; give one photo at a time")
    cell = find_trained_cell(words[0], words[1], flags)
    return _predict((*words[:2], *flags), cell, photos, options)


def _check_targets(picture: Path | None, json_file: str | None) -> None:
    """Refuse what could not be written after predicting."""
    if picture is not None and picture.suffix.lower() not in PICTURE_ENDINGS:
        raise ConfigError(f"--picture {picture} does not end with {', '.join(PICTURE_ENDINGS)}")
    for flag, file in (("--picture", picture), ("--json", json_file)):
        if file is not None and Path(file).is_dir():
            raise ConfigError(f"{flag} {file} is a folder; give a file in it")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="f2c predict RECIPE CELL PHOTO... [options]", allow_abbrev=False
    )
    parser.add_argument(
        "--as-is", action="store_true", help="resize photos to the canvas without making them low"
    )
    parser.add_argument(
        "--box", type=float, nargs=4, metavar=("X1", "Y1", "X2", "Y2"), help="the object, in pixels"
    )
    parser.add_argument("--json", metavar="FILE", help="write JSON; - is the terminal")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw photos and classes")
    return parser


def _predict(
    of: tuple[str, ...], cell: TrainedCell, photos: Sequence[Path], options: argparse.Namespace
) -> Predictions:
    from trainables.predictor import WHOLE_PHOTO_4, load_predictor, see_photo

    view, forest = cell.view(as_is=options.as_is), _forest(cell, as_is=options.as_is)
    box_4 = np.array(options.box) if options.box else WHOLE_PHOTO_4
    predictor = load_predictor(cell.entry)
    calibration = calibration_of(cell, predictor, as_is=options.as_is)
    predictor.temperature.fill_(calibration.temperature)
    class_names = cell.evaluated(as_is=options.as_is).class_names
    found: list[Prediction] = []
    faults: list[str] = []
    for path in photos:
        try:
            seen = see_photo(path, view, box_4, forest)
        except DataError as fault:
            faults.append(str(fault))
            continue
        top = _top(predictor, seen, class_names)
        kept = seen if options.picture and len(found) < MAX_DRAWN else None
        found.append(Prediction(str(path), seeing_in_words(seen.size_px, view), top, kept))
    if faults:
        raise DataError("\n".join(faults))
    notes = _notes(cell, boxed=bool(options.box))
    where = (options.json, options.picture)
    return Predictions(of, cell, view, calibration, notes, tuple(found), *where)


def _forest(cell: TrainedCell, *, as_is: bool) -> "Forest | None":
    """The forest that enlarges this cell's low photos; None where the bicubic kernel does."""
    superres = cell.view(as_is=as_is).superres
    if superres is None:
        return None
    entry = Store(cell.root / "store").find(superres.forest)
    if entry is None:
        raise DataError(f"the forest that enlarges the photos of {cell.name} is not in the store")
    from trainables.superres.forest_files import load_forest

    return load_forest(entry.folder)


def _top(
    predictor: "Predictor", seen: "SeenPhoto", class_names: Sequence[str]
) -> tuple[tuple[str, float], ...]:
    import torch

    with torch.inference_mode():
        probability_K = predictor(seen.canvas_3HW[None])[0]
    best = probability_K.topk(min(TOP, len(class_names)))
    places: list[int] = best.indices.tolist()
    values: list[float] = best.values.tolist()
    return tuple((class_names[k], value) for k, value in zip(places, values, strict=True))


def seeing_in_words(size_px: tuple[int, int], view: ViewSpec) -> str:
    """What was done to a photo (or its object) of a width and height before the network saw it."""
    size = f"{size_px[0]} x {size_px[1]} px"
    if view.resolution_px is None:
        return f"{size}, as it is on {view.canvas_px} px"
    low = f"{view.resolution_px} x {view.resolution_px} px"
    way = "super-resolved" if view.form == "sr" else "enlarged"
    made = "degraded" if max(size_px) > view.resolution_px else "brought"
    return f"{size}, {made} to {low}, {way} to {view.canvas_px} px"


def _notes(cell: TrainedCell, *, boxed: bool) -> tuple[str, ...]:
    if cell.has_boxes and not boxed:
        return (
            "the network was trained on photos cut to the object; where yours show more, give "
            "--box X1 Y1 X2 Y2",
        )
    return ()


def show(predictions: Predictions, console: Console) -> None:
    """Print the table, or write the JSON where that was asked for."""
    if predictions.json_file == "-":
        console.print(json.dumps(as_json(predictions), indent=1))
        return
    console.print(_table(predictions))
    console.print(in_words(predictions.calibration, predictions.view))
    for note in predictions.notes:
        console.print(note)
    if predictions.json_file is not None:
        text = json.dumps(as_json(predictions), indent=1) + "\n"
        Path(predictions.json_file).write_text(text, encoding="utf-8")
        console.print(f"json     {predictions.json_file}")


def _table(predictions: Predictions) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title=_title(predictions.cell))
    table.add_column("photo", overflow="fold")
    table.add_column("%", justify="right")
    table.add_column("class", overflow="fold")
    for photo in predictions.photos:
        for rank, (name, value) in enumerate(photo.top):
            left = {0: photo.path, 1: photo.how}.get(rank, "")
            end = rank == len(photo.top) - 1
            table.add_row(left, f"{100 * value:.1f}", name, end_section=end)
    return table


def _title(cell: TrainedCell) -> str:
    tested = ", ".join(f"{100 * value:.1f} % on {name}" for name, value in cell.accuracies.items())
    return f"{cell.recipe.name} {cell.name}: right on test photos: {tested}"


def as_json(predictions: Predictions) -> dict[str, Any]:
    """The same as a value for JSON; probabilities are fractions."""
    return {
        "recipe": predictions.cell.recipe.name,
        "cell": predictions.cell.name,
        "stage_key": predictions.cell.entry.key,
        "accuracy": predictions.cell.accuracies,
        "temperature": predictions.calibration.temperature,
        "calibration": in_words(predictions.calibration, predictions.view),
        "photos": [
            {
                "path": photo.path,
                "seen": photo.how,
                "top": [{"class": name, "probability": value} for name, value in photo.top],
            }
            for photo in predictions.photos
        ],
    }
