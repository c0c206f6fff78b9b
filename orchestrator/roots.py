"""Where every strategy starts: the network, and ImageNet weights imported into the store."""

from pathlib import Path

from safetensors.torch import save_file

from orchestrator.experiment import Experiment
from orchestrator.plan import slug
from orchestrator.recipe import Recipe
from trainables.errors import ConfigError
from trainables.models import check_name, check_options, input_px_of
from trainables.models.mean_image import MEAN_IMAGE, read_mean_image
from trainables.models.weights import read_weights, torchvision_weights
from trainables.spec import ModelSpec
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


def check_model_fits(recipe: Recipe) -> None:
    """Refuse an unknown network or option, and a canvas that the network cannot take.

    Raises:
        ConfigError: with what to change.
    """
    for part in (recipe, *map(recipe.of, recipe.variants)):
        _check_model_fits(part)


def _check_model_fits(recipe: Recipe) -> None:
    check_name(recipe.model.name)
    check_options(recipe.model)
    _check_mean_image(recipe.model)
    wanted = input_px_of(recipe.model.name)
    for name, data in (("data", recipe.data), ("auxiliary", recipe.auxiliary)):
        given = wanted if data is None else data.crop_px or data.canvas_px
        if wanted is not None and given != wanted:
            raise ConfigError(
                f"{recipe.model.name} takes {wanted} px photos; {name}.canvas_px (or "
                f"{name}.crop_px) is {given}; give --{name}.canvas-px {wanted}"
            )


def _check_mean_image(model: ModelSpec) -> None:
    if model.mean_image == "none":
        return
    if model.weights == "none":
        raise ConfigError(
            "model.mean_image is kept with imported weights; give --model.weights FILE too"
        )
    if model.normalisation not in ("auto", "bgr"):
        raise ConfigError(
            f"model.mean_image takes the place of the mean pixel of model.normalisation "
            f"{model.normalisation}; leave that at auto"
        )
