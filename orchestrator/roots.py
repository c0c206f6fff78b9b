"""Where every strategy starts: the network, and ImageNet weights imported into the store."""

from pathlib import Path

from safetensors.torch import save_file

from orchestrator.experiment import Experiment
from orchestrator.plan import slug
from orchestrator.recipe import Recipe
from trainables.errors import ConfigError
from trainables.models import check_name, input_px_of
from trainables.models.weights import read_weights, torchvision_weights
from trainables.store import Store


def import_weights(experiment: Experiment, store: Store) -> None:
    """Commit the weights of a recipe and its variants under their content's keys.

    Raises:
        DataError: when a file is damaged, not a state dict, or a pickle.
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
    tensors = torchvision_weights(model.name) if given else read_weights(Path(model.weights))
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    store.commit(
        key,
        f"weights-{slug(model.name)}",
        "weights",
        lambda folder: save_file(whole, folder / "weights.safetensors"),
    )


def check_model_fits(recipe: Recipe) -> None:
    """Refuse an unknown network, and a canvas that the network cannot take.

    Raises:
        ConfigError: with what to change.
    """
    for part in (recipe, *map(recipe.of, recipe.variants)):
        _check_model_fits(part)


def _check_model_fits(recipe: Recipe) -> None:
    check_name(recipe.model.name)
    wanted = input_px_of(recipe.model.name)
    for name, data in (("data", recipe.data), ("auxiliary", recipe.auxiliary)):
        given = wanted if data is None else data.crop_px or data.canvas_px
        if wanted is not None and given != wanted:
            raise ConfigError(
                f"{recipe.model.name} takes {wanted} px photos; {name}.canvas_px (or "
                f"{name}.crop_px) is {given}; give --{name}.canvas-px {wanted}"
            )
