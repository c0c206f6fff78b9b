"""Training a recipe's forest where the store does not have it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.forests import OWN_PHOTOS, spec_of, superres_of
from orchestrator.recipe import Recipe
from trainables.entry import Entry
from trainables.store import Store
from trainables.views import open_view, view_spec


def ensure_forest(
    recipe: Recipe, data_key: str, root: Path, report: Callable[[str], None]
) -> Entry:
    """The recipe's forest in the store; trained now where it is missing (minutes).

    Args:
        recipe: whose `superres` says what forest.
        data_key: fingerprint of the data set.
        root: of store and data; the high training view must be prepared where the forest learns
            from it.
        report: is told what goes on.
    """
    store, key = Store(root / "store"), superres_of(recipe, data_key, root).forest
    there = store.find(key)
    if there is not None and not there.damaged():
        return there
    if there is not None:
        store.quarantine(there)
    from trainables.superres.forest_files import save_forest
    from trainables.superres.nbsrf import train_forest

    spec = spec_of(recipe)
    images = _images(recipe, data_key, root)
    report(f"training a forest of {spec.n_trees} trees on {len(images)} images")
    forest = train_forest(images, spec, report)
    name = f"forest-x{spec.factor:.4g}"
    return store.commit(key, name, "forest", lambda folder: save_forest(forest, folder))


def _images(recipe: Recipe, data_key: str, root: Path) -> list[NDArray[np.uint8]]:
    """The sharp images, (H, W, 3) uint8 each."""
    if recipe.superres.images is not None:
        from trainables.superres.training_images import read_training_images

        return read_training_images(Path(recipe.superres.images))
    view = open_view(root / "data", view_spec(recipe.data, data_key, "high", "train"))
    places = np.linspace(0, len(view) - 1, min(OWN_PHOTOS, len(view))).astype(np.int64)
    return list(view.images_NHWC[places])
