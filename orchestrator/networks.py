"""Whether a recipe's network exists and takes its photos: told before anything is planned."""

from orchestrator.recipe import Recipe
from trainables.errors import ConfigError
from trainables.models import check_name, check_options, input_px_of
from trainables.spec import ModelSpec


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
