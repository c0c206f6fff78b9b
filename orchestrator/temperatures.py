"""The temperature of a finished cell: fitted once, then remembered, and said in words."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.trained_cell import TrainedCell
from trainables.disk import replace_text, where_writable
from trainables.fingerprint import key_of
from trainables.spec import ViewSpec

if TYPE_CHECKING:
    from trainables.calibration import Calibration
    from trainables.predictor import Predictor

FILE = "temperatures.json"


def calibration_of(cell: TrainedCell, predictor: "Predictor", *, as_is: bool) -> "Calibration":
    """The temperature for a cell's photos in a form; fitted on its test photos where it is new.

    Raises:
        DataError: when those photos are not prepared any more.
    """
    from trainables.calibration import Calibration, calibrate

    file, view = cell.root / FILE, cell.evaluated(as_is=as_is)
    known = _read(file)
    key = f"{cell.entry.key}-{key_of(view.spec)[:16]}-{predictor.spec.training.precision}"
    if key in known:
        return Calibration(**known[key])
    import torch

    from trainables.batches import open_source

    source = open_source(view, torch.device("cpu"))
    found = calibrate(predictor, source, held_out=view.spec.split == "validation")
    with where_writable():
        replace_text(file, json.dumps(_read(file) | {key: asdict(found)}, indent=1))
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {}


def in_words(calibration: "Calibration", view: ViewSpec) -> str:
    """How far probabilities can be trusted: what the temperature was fitted on."""
    if calibration.n_fitted == 0:
        return f"probabilities are not calibrated: there are too few {view.split} photos to fit on"
    fitted = f"calibrated: temperature {calibration.temperature:.2f}, fitted on "
    if calibration.n_checked == 0:
        return f"{fitted}{calibration.n_fitted} photos held out from training"
    return (
        f"{fitted}{calibration.n_fitted} of the {view.split} photos, a seeded half; on "
        f"{calibration.n_checked} others the negative log-likelihood goes from "
        f"{calibration.nll_before:.3f} to {calibration.nll_after:.3f}"
    )
