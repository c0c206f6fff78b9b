"""What a store holds of a plan, and how often the store is asked."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.experiment import load_experiment
from orchestrator.inventory import complete, damaged_records, take_inventory
from orchestrator.plan import make_plan
from orchestrator.recipe import Recipe
from orchestrator.results import cell_rows
from trainables.bucket import Bucket, local_root
from trainables.store import Store


def write(folder: Path) -> None:
    """A stage that was never evaluated."""
    (folder / "metrics.json").write_text("{}")


def test_an_entry_without_metrics_is_a_stage_that_was_not_evaluated(
    tmp_path, small_recipe: dict[str, Any]
):
    recipe = Recipe.model_validate(small_recipe, strict=False)
    plan, store = make_plan([load_experiment(recipe, tmp_path, must_exist=True)]), Store(tmp_path)
    stage = next(stage for stage in plan.stages.values() if stage.evaluations)
    entry = store.commit(stage.key, stage.name, "stage", lambda folder: None)
    assert complete(stage, entry, store.find) is False


def test_f05_weights_that_were_cut_are_noticed_without_reading_them(
    tmp_path, small_recipe: dict[str, Any]
):
    recipe = Recipe.model_validate(small_recipe, strict=False)
    plan, store = make_plan([load_experiment(recipe, tmp_path, must_exist=True)]), Store(tmp_path)
    stage = next(iter(plan.stages.values()))

    def trained(folder: Path) -> None:
        write(folder)
        (folder / "weights.safetensors").write_bytes(b"x" * 1000)

    entry = store.commit(stage.key, stage.name, "stage", trained)
    assert list(damaged_records(plan, store)) == []
    (entry.folder / "weights.safetensors").write_bytes(b"x" * 500)
    assert list(damaged_records(plan, store)) == [entry]


@pytest.fixture
def listings(monkeypatch) -> list[str]:
    """Folders of a bucket that were listed."""
    asked, folders = [], Bucket.folders

    def noted(self: Bucket, name: str) -> list[str]:
        asked.append(name)
        return folders(self, name)

    monkeypatch.setattr(Bucket, "folders", noted)
    return asked


def test_a_bucket_is_listed_once_for_a_whole_plan(
    tmp_path, small_recipe: dict[str, Any], monkeypatch, listings
):
    experiment = load_experiment(
        Recipe.model_validate(small_recipe, strict=False), tmp_path, must_exist=True
    )
    plan = make_plan([experiment])
    there = tmp_path / "bucket"
    for stage in plan.stages.values():
        Store(there / "store").commit(stage.key, stage.name, "stage", write)
    monkeypatch.setenv("F2C_CACHE", str(tmp_path / "cache"))
    store = Store(local_root(f"file://{there}") / "store")
    for ask in (
        lambda: list(damaged_records(plan, store)),
        lambda: take_inventory(plan, store),
        lambda: cell_rows(experiment, plan, store, {}),
    ):
        listings.clear()
        ask()
        assert listings == ["store"]
