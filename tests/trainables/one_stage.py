"""A stage of the small recipe in this process: made, run to its end, summed up."""

import hashlib
from pathlib import Path
from typing import Any

from orchestrator.experiment import load_experiment
from orchestrator.plan import Plan, make_plan
from orchestrator.recipe import Recipe
from trainables.index import evaluation_split
from trainables.prepare import prepare
from trainables.spec import DataSpec, Form, Split, ViewSpec
from trainables.stage_job import StageJob
from trainables.stage_run import StageRun
from trainables.views import view_spec


def view_specs(data: DataSpec, data_key: str) -> dict[tuple[Form, Split], ViewSpec]:
    """The four views of an experiment: high and low, of train and of the evaluation split."""
    splits: tuple[Split, ...] = ("train", evaluation_split(data))
    places = [(form, split) for form in ("high", "low") for split in splits]
    return {(form, split): view_spec(data, data_key, form, split) for form, split in places}


def plan_of(root: Path, fields: dict[str, Any]) -> Plan:
    """The plan of a recipe, its views prepared under a root."""
    experiment = load_experiment(Recipe.model_validate(fields, strict=False), root, must_exist=True)
    plan = make_plan([experiment])
    views = list(plan.views().values())
    prepare(experiment.index, experiment.recipe.data, views, root / "data", lambda *_: None)
    return plan


def run_of(tmp_path, stage, store="store", **fields):
    return StageRun(
        StageJob(
            key=stage.key,
            name=stage.name,
            spec=stage.spec,
            evaluations=stage.evaluations,
            store=str(tmp_path / store),
            data=str(tmp_path / "data"),
            **fields,
        )
    )


def finish(run, parent=None):
    run.restore(parent)
    while (result := run.advance())["status"] == "running":
        pass
    return result, run.commit()


def sha(folder):
    return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
