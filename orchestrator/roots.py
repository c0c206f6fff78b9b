"""The checkpoint that first stages restore: ImageNet weights, imported into the store."""

from pathlib import Path

from safetensors.torch import save_file
from trainables.models.weights import read_weights, torchvision_weights

from orchestrator.experiment import Experiment
from orchestrator.plan import slug
from trainables.store import Store


def import_weights(experiment: Experiment, store: Store) -> None:
    """Commit the recipe's weights under their content's key; nothing to do for random ones.

    Raises:
        DataError: when the file is damaged, not a state dict, or a pickle.
    """
    key, model = experiment.weights_key, experiment.recipe.model
    if key is None or store.find(key) is not None:
        return
    given = model.weights == "torchvision"
    tensors = torchvision_weights(model.name) if given else read_weights(Path(model.weights))
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    store.commit(
        key,
        f"weights-{slug(model.name)}",
        "weights",
        lambda folder: save_file(whole, folder / "weights.safetensors"),
    )
