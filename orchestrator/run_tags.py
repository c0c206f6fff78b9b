"""Where MLflow is, and what a person reads in it: names, notes and tags of runs."""

import getpass
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.experiment import Experiment
from orchestrator.flags import check_tracking_uri
from orchestrator.plan import Plan, PlannedStage
from orchestrator.recipe import Recipe
from trainables.budget import budget_of
from trainables.fingerprint import key_of

MAX_TAG_LENGTH = 4000


def tracking_uri(root: Path, given: str | None) -> str:
    """The embedded sqlite under the root, or the address given.

    Raises:
        ConfigError: of `check_tracking_uri`.
    """
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.absolute()}/mlflow.db"
    check_tracking_uri(uri)
    return uri


def sweep_id(experiment: Experiment) -> str:
    """Identity of a sweep: all of the recipe that decides numbers, but not where files lie."""
    what = experiment.recipe.model_dump(mode="json", exclude={"description"})
    for data in filter(None, (what["data"], what["auxiliary"])):
        del data["root"], data["mode"]
    _key_files(what["model"], experiment.weights_key)
    what["model"]["weights"] = experiment.weights_key
    for name, variant in experiment.variants.items():
        _key_files(what["variants"][name]["model"] or {}, variant.weights_key)
    if what["superres"]["images"] is not None:
        what["superres"]["images"] = experiment.superres and experiment.superres.forest
    return key_of([what, experiment.facts.data_key])[:16]


def _key_files(model: dict[str, Any], weights_key: str | None) -> None:
    """Put a key in place of a path of weights; it is also the key of their mean image."""
    if model.get("weights", "none") not in ("none", "torchvision"):
        model["weights"] = weights_key
    if model.get("mean_image", "none") != "none":
        model["mean_image"] = "given"


def run_name(cell: str) -> str:
    """`staged_hl/h3-l5/s0` as a person reads it in the UI: `staged_hl H3 L5 s0`."""
    strategy, levels, seed = cell.split("/")
    return " ".join([strategy, *levels.upper().replace("PX", " px").split("-"), seed])


def experiment_note(recipe: Recipe) -> str:
    """The description of an experiment, true of every recipe of its table and data set."""
    table = recipe.table.replace("table", "Table ")
    what = "Strategies" if recipe.table == "custom" else table
    return (
        f"{what} of Peng, Hoffman, Yu, Saenko: *Fine-to-coarse knowledge transfer for low-res "
        f"image classification* (ICIP 2016) on data set `{recipe.data.dataset}`. Each sweep's "
        "parameters say with what it was made. Click + to unfold its stages."
    )


def source_tags() -> dict[str, str]:
    """Who ran what, from which commit."""
    tags = {
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
    }
    commit = git_commit()
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """Commit of the program's own checkout, or None outside of one."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def stage_tags(plan: Plan, stage: PlannedStage, parent_run: str, cache: str) -> dict[str, str]:
    """Tags of a stage's run; `kind` is cell where it is the last stage of one."""
    cells = cells_ending_with(plan, stage.key)
    return {
        "mlflow.parentRunId": parent_run,
        "kind": "cell" if cells else "stage",
        "stage_key": stage.key,
        "cells": ", ".join(cells or plan.users.get(stage.key, []))[:MAX_TAG_LENGTH],
        **_place(plan, stage),
        "cache": cache,
        "attempt": "1",
    } | source_tags()


def stage_params(plan: Plan, stage: PlannedStage) -> dict[str, str]:
    """What a stage was trained on and with: MLflow compares and charts by these, not by tags."""
    spec = stage.spec
    low_px = [view.resolution_px for view in spec.views if view.resolution_px]
    params = _place(plan, stage) | {
        "model": spec.model.name,
        "canvas_px": str(spec.views[0].canvas_px),
        **({"resolution_px": str(low_px[0])} if low_px else {}),
        "images": str(spec.subset.n_images),
    }
    training = spec.training.model_dump(mode="json")
    return params | {f"training.{name}": str(value) for name, value in training.items()}


def _place(plan: Plan, stage: PlannedStage) -> dict[str, str]:
    """The cell that a stage is the last of, else its own photos, as columns of the results."""
    cells = cells_ending_with(plan, stage.key)
    cell = plan.cells[cells[0]][0] if cells else None
    return {
        "strategy": cell.strategy if cell else "+".join(v.form for v in stage.spec.views),
        "seed": str(stage.spec.seed),
        "n_high": str(cell.n_high if cell else stage.spec.subset.n_images),
        "n_low": str(cell.n_low if cell else 0),
    }


def epochs_before(plan: Plan, stage: PlannedStage) -> int:
    """Epochs of the stages before it: MLflow's step counts over the whole chain."""
    before, parent = 0, stage.spec.parent
    while parent in plan.stages:
        spec = plan.stages[parent].spec
        before += budget_of(spec)[0]
        parent = spec.parent
    return before


def stage_run_name(plan: Plan, stage: PlannedStage) -> str:
    """The cell's name for the last stage of one, else `stage` and its chain."""
    cells = cells_ending_with(plan, stage.key)
    return run_name(plan.cells[cells[0]][0].name) if cells else f"stage {stage.name}"


def cells_ending_with(plan: Plan, key: str) -> list[str]:
    """Cells whose last stage this is."""
    return plan.ends.get(key, [])
