"""Which forest a recipe needs, and how its `sr` views are made. Trains nothing."""

from pathlib import Path

from orchestrator.recipe import Recipe
from trainables.fingerprint import key_of
from trainables.index import file_sums
from trainables.spec import SuperresSpec
from trainables.superres.forest_spec import ForestSpec, forest_key, forest_spec
from trainables.views import view_spec

#: Photos of the data set's own that a forest is trained on where no folder is given.
OWN_PHOTOS = 96


def spec_of(recipe: Recipe) -> ForestSpec:
    """The forest that a recipe's way of enlarging needs (3.5)."""
    chosen, data = recipe.superres, recipe.data
    ratio = data.canvas_px / data.resolution_px
    factor = {"x4": 4.0, "x2x2": 2.0, "direct": ratio}[chosen.way]
    options = chosen.model_dump(exclude={"way", "images"})
    return forest_spec(factor, **options)


def superres_of(recipe: Recipe, data_key: str, root: Path) -> SuperresSpec:
    """How the recipe's `sr` views are made, with the key of its forest, trained or not.

    Raises:
        DataError: when the folder of sharp images is not there or holds none.
    """
    key = forest_key(spec_of(recipe), _images_key(recipe, data_key, root))
    return SuperresSpec(forest=key, way=recipe.superres.way)


def _images_key(recipe: Recipe, data_key: str, root: Path) -> str:
    if recipe.superres.images is None:
        own = view_spec(recipe.data, data_key, "high", "train")
        return key_of(["own photos", OWN_PHOTOS, own])
    from trainables.superres.training_images import training_files

    files = training_files(Path(recipe.superres.images))
    return key_of(file_sums(files, root / "data" / "sums.json"))
