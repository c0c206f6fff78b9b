"""What MLflow is told of a sweep at its first run: the recipe's fields, and the data."""

from typing import Any

from orchestrator.experiment import Experiment
from orchestrator.recipe import Recipe
from orchestrator.run_tags import MAX_TAG_LENGTH, experiment_note

GROUPS = ("data", "model", "train", "cells", "subset")


def experiment_of(client: Any, recipe: Recipe, location: str | None) -> str:
    """The id of the experiment that holds a recipe's runs; made where there is none.

    Args:
        client: of MLflow.
        recipe: names its data set and table.
        location: of a new one's artifacts, None for the server's own.
    """
    name = f"{recipe.data.dataset}/{recipe.table}"
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    made = client.create_experiment(name, location)
    client.set_experiment_tag(made, "mlflow.note.content", experiment_note(recipe))
    return made


def log_recipe(client: Any, run_id: str, experiment: Experiment) -> None:
    """Log a recipe as parameters, and its data set as input, of a sweep's run."""
    from mlflow import entities

    recipe, facts = experiment.recipe, experiment.facts
    dumped = recipe.model_dump(mode="json")
    params = {
        f"{group}.{name}": str(value)[:MAX_TAG_LENGTH]
        for group in GROUPS
        for name, value in dumped[group].items()
    }
    client.log_batch(
        run_id, params=[entities.Param(k, v) for k, v in params.items() if k != "data.root"]
    )
    data = entities.Dataset(
        name=recipe.data.dataset,
        digest=facts.data_key[:12],
        source_type="local",
        source=f'{{"dataset": "{recipe.data.dataset}"}}',
        profile=f'{{"train": {facts.n_train}, "evaluated": {facts.n_evaluate}}}',
    )
    context = [entities.InputTag("mlflow.data.context", "train and test")]
    client.log_inputs(run_id, datasets=[entities.DatasetInput(data, context)])
