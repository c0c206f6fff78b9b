"""The best cell of a run as an MLflow model: a pt2 graph with signature and example, no pickle.

MLflow's own `log_model` needs its process-wide address, which it also puts into the environment,
and loads the model again to try it; here each step takes the tracker's client.
"""

import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.run_tags import MAX_TAG_LENGTH
from trainables.entry import read_entry
from trainables.spec import ViewSpec
from trainables.streamed import view_at_hand
from trainables.views import View

if TYPE_CHECKING:
    from trainables.predictor import Predictor

NAME = "best_cell"
#: Tag of the parent run: the stage whose model was logged last.
TAG = "best_model.stage_key"
#: Tag of the parent run: why there is no model.
REASON = "best_model.not_logged"
PACKAGES = ("mlflow", "numpy", "torch")
N_EXAMPLES = 2


@dataclass(frozen=True)
class BestCell:
    """The cell of a run with the highest accuracy on low-res test photos (a fraction)."""

    name: str
    accuracy_low: float
    stage_key: str
    folder: Path
    tested: ViewSpec
    data_root: Path


def log_best(client: Any, run_id: str, best: BestCell) -> None:
    """Log a cell's network on the parent run, unless it is there already.

    What torch cannot export leaves a tag that says why; faults of MLflow are raised.

    Args:
        client: of MLflow.
        run_id: of the parent run.
        best: the cell.
    """
    run = client.get_run(run_id)
    if run.data.tags.get(TAG) == best.stage_key:
        return
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _log(client, run, best, Path(scratch) / "model")


def _log(client: Any, run: Any, best: BestCell, folder: Path) -> None:
    from mlflow.entities import LoggedModelOutput

    run_id = run.info.run_id
    model = client.create_logged_model(
        run.info.experiment_id,
        name=NAME,
        source_run_id=run_id,
        tags={"cell": best.name, "stage_key": best.stage_key},
        params={"accuracy_low": f"{best.accuracy_low:.6f}"},
    )
    try:
        _save(model, run_id, best, folder)
    except Exception as error:  # whatever torch says of a network that it cannot export
        client.finalize_logged_model(model.model_id, "FAILED")
        client.set_tag(run_id, REASON, f"{type(error).__name__}: {error}"[:MAX_TAG_LENGTH])
        return
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.set_tag(run_id, TAG, best.stage_key)
    if REASON in run.data.tags:
        client.delete_tag(run_id, REASON)


def _save(model: Any, run_id: str, best: BestCell, folder: Path) -> None:
    """Write an MLflow model of flavour pytorch, format pt2, into a folder."""
    from mlflow import pytorch
    from mlflow.models import Model

    from trainables.predictor import load_predictor

    entry = read_entry(best.folder)
    if entry is None:
        raise FileNotFoundError(f"{best.folder} is not in the store any more")
    predictor = load_predictor(entry, portable=True)
    tested = view_at_hand(best.data_root, best.tested)
    pytorch.save_model(
        predictor,
        str(folder),
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            run_id=run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        ),
        signature=_signature(predictor),
        input_example=_example(tested),
        pip_requirements=[f"{name}=={_public(name)}" for name in PACKAGES],
        metadata=_metadata(best, tested),
        serialization_format="pt2",
    )


def _signature(predictor: "Predictor") -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    side_px, n_classes = predictor.canvas_px, predictor.spec.n_classes
    photos = TensorSpec(np.dtype(np.uint8), (-1, 3, side_px, side_px), "photos")
    probabilities = TensorSpec(np.dtype(np.float32), (-1, n_classes), "probabilities")
    return ModelSignature(Schema([photos]), Schema([probabilities]))


def _example(tested: View) -> NDArray[np.uint8]:
    """The first test photos on the canvas: (`N_EXAMPLES`, 3, H, W)."""
    import torch

    from trainables.batches import open_source

    source = open_source(tested, torch.device("cpu"))
    photos_B3HW = source.gather(np.arange(min(N_EXAMPLES, len(tested))))
    return photos_B3HW.contiguous().numpy()


def _metadata(best: BestCell, tested: View) -> dict[str, Any]:
    return {
        "cell": best.name,
        "stage_key": best.stage_key,
        "accuracy_low": best.accuracy_low,
        "classes": list(tested.class_names),
    }


def _public(name: str) -> str:
    """An installed version without its local part, which no registry has."""
    return version(name).partition("+")[0]
