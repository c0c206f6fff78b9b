"""Stages that are finished are found by later versions: their keys are these.

A change that means another computation raises RECIPE_VERSION, and then these keys are others.
"""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from orchestrator.experiment import load_experiment
from orchestrator.plan import make_plan
from orchestrator.recipe_files import load_recipe
from trainables.fingerprint import key_of

REPOSITORY = Path(__file__).parents[2]
#: Strategies without a view or a variant of their own.
PLAIN = {"high", "low", "mixed", "staged_hl", "staged_lh"}


def last_stages(name, precision, root):
    """Cell to the key of its last stage, as the shipped recipe plans it for a precision."""
    recipe = load_recipe(name)
    train = recipe.train.model_copy(update={"precision": precision})
    recipe = recipe.model_copy(update={"train": train})
    plan = make_plan([load_experiment(recipe, root, must_exist=False)])
    return {cell: key for cell, (_, key) in plan.cells.items()}


def test_the_stages_of_the_demo_keep_their_keys(tmp_path):
    keys = last_stages("demo", "bfloat16", tmp_path)
    assert (
        keys["staged_hl/h0-l1/s0"]
        == "b004c02e15ae4b7599496d9e50b90094a39f492d274aa6b7658d481395e5384f"
    )
    assert key_of(keys) == "dc6ec68e1b25b3371bec1c92511ae1428ff9a86d57877aea2a07e386fa548487"


@pytest.mark.parametrize("name", ["table2-cars-small", "table3-birds-small", "best-cars-small"])
@pytest.mark.usefixtures("shared_data")
def test_published_results_are_of_the_stages_that_their_recipes_plan(name, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    published = REPOSITORY / "docs" / "results" / name
    recorded = yaml.safe_load((published / "recipe.yaml").read_text())
    keys = pd.read_parquet(published / "results.parquet").set_index("cell")["stage_key"].to_dict()
    plain = {cell: key for cell, key in keys.items() if cell.split("/")[0] in PLAIN}
    planned = last_stages(name, recorded["train"]["precision"], tmp_path)
    assert len(plain) > 1
    assert {cell: planned[cell] for cell in plain} == plain
