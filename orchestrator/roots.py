"""Where every strategy starts: ImageNet weights imported into the store."""

from pathlib import Path

from safetensors.torch import save_file

from orchestrator.experiment import Experiment
from orchestrator.plan import slug
from trainables.models import input_px_of
from trainables.models.mean_image import MEAN_IMAGE, read_mean_image
from trainables.models.weights import read_weights, torchvision_weights
from trainables.store import Store


def import_weights(experiment: Experiment, store: Store) -> None:
    """Commit the weights and mean images of a recipe and its variants by their content.

    Raises:
        DataError: when a file is damaged, of another network, or holds Python objects.
    """
    for part in experiment.parts:
        _import_weights(part, store)


def _import_weights(experiment: Experiment, store: Store) -> None:
    """Nothing to do for random weights, and those that are there."""
    key, model = experiment.weights_key, experiment.recipe.model
    if key is None:
        return
    there = store.find(key)
    if there is not None and not there.damaged():
        return
    if there is not None:
        store.quarantine(there)
    given = model.weights == "torchvision"
    tensors = torchvision_weights(model.name) if given else read_weights(Path(model.weights), model)
    if model.mean_image != "none":
        side_px = input_px_of(model.name) or 0
        tensors[MEAN_IMAGE] = read_mean_image(Path(model.mean_image), side_px)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    store.commit(
        key,
        f"weights-{slug(model.name)}",
        "weights",
        lambda folder: save_file(whole, folder / "weights.safetensors"),
    )
