"""Stages of two networks: distillation, interpolation; and what the other strategies' fields do."""

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.experiment import load_experiment
from orchestrator.plan import make_plan
from orchestrator.recipe import Recipe
from orchestrator.recipe_files import load_recipe
from tests.trainables.one_stage import run_of
from trainables.models.weights import interpolated
from trainables.prepare import prepare
from trainables.stage_run import StageJob, StageRun
from trainables.store import Store


@pytest.fixture
def train_cells(tmp_path):
    """Train all cells of a recipe in this process."""

    def train(fields):
        recipe = Recipe.model_validate(fields, strict=False)
        experiment = load_experiment(recipe, tmp_path, must_exist=True)
        plan, store = make_plan([experiment]), Store(tmp_path / "store")
        views = list(plan.views().values())
        prepare(experiment.index, recipe.data, views, tmp_path / "data", lambda *_: None)
        for stage in plan.stages.values():
            if store.find(stage.key) is None:
                finish(tmp_path, stage, store)
        return {name: store.find(key) for name, (_, key) in plan.cells.items()}

    return train


def finish(root, stage, store):
    folders = {
        key: None if entry is None else entry.folder
        for key in (stage.spec.parent, stage.spec.teacher)
        for entry in [None if key is None else store.find(key)]
    }
    teacher = folders[stage.spec.teacher]
    run = StageRun(
        StageJob(
            key=stage.key,
            name=stage.name,
            spec=stage.spec,
            evaluations=stage.evaluations,
            store=str(root / "store"),
            data=str(root / "data"),
            teacher_folder=None if teacher is None else str(teacher),
        )
    )
    run.restore(folders[stage.spec.parent])
    while (result := run.advance())["status"] == "running":
        pass
    assert result["status"] == "done", result
    run.commit()


def weights(entry):
    return load_file(entry.path("weights.safetensors"))


def rows(small_recipe, *strategies, **fields):
    return small_recipe | {"table": "custom", "cells": {"strategies": strategies}} | fields


def test_interpolated_weights_lie_between_the_two_networks(train_cells, small_recipe):
    made = train_cells(rows(small_recipe, "high", "staged_hl", "interpolated_hl"))
    high, low, between = (weights(entry) for entry in made.values())
    name = "features.0.0.weight"
    assert torch.allclose(between[name], (high[name] + low[name]) / 2, atol=1e-7)
    assert (high[name] != low[name]).any()
    record = list(made.values())[-1].jsonl("epochs.jsonl")
    assert record == [], "nothing is trained"


@pytest.mark.parametrize(("share", "end"), [(0.0, "first"), (1.0, "second")])
def test_the_ends_of_an_interpolation_are_the_networks_themselves(share, end):
    first = {"w": torch.tensor([1.0, 3.0]), "n": torch.tensor(7)}
    second = {"w": torch.tensor([2.0, -1.0]), "n": torch.tensor(9)}
    found = interpolated(first, second, share)
    assert torch.equal(found["w"], {"first": first, "second": second}[end]["w"])
    assert found["n"] == 7, "a count is no weight"


def test_a_teacher_without_weight_changes_nothing_and_one_with_weight_does(
    train_cells, small_recipe
):
    plain = train_cells(rows(small_recipe, "staged_hl"))["staged_hl/h8-l8/s0"]
    taught = {
        weight: train_cells(
            rows(small_recipe, "distilled_hl", objective={"teacher_weight": weight})
        )["distilled_hl/h8-l8/s0"]
        for weight in (0.1, 1.0)
    }
    name = "head.weight"
    assert (weights(taught[0.1])[name] != weights(plain)[name]).any()
    assert (weights(taught[0.1])[name] != weights(taught[1.0])[name]).any()


@pytest.mark.parametrize("strategy", ["distilled_hl", "interpolated_hl"])
def test_f08_a_stage_whose_teacher_is_not_there_fails_and_never_goes_on_without(
    train_cells, small_recipe, tmp_path, stages, strategy
):
    (pupil,) = train_cells(rows(small_recipe, strategy)).values()
    stage = stages(table="custom", cells={"strategies": [strategy]}).stages[pupil.key]
    run = run_of(tmp_path, stage, store="elsewhere")
    parent = Store(tmp_path / "store").find(stage.spec.parent)
    run.restore_or_fail(None if parent is None else parent.folder)
    result = run.advance()
    assert result["status"] == "failed"
    assert f"does not hold the teacher of {stage.name}" in result["reason"]
    assert run.commit() is None


def test_frozen_layers_are_those_of_the_high_stage(train_cells, small_recipe):
    high, frozen = train_cells(rows(small_recipe, "high", "frozen_hl")).values()
    kept = [torch.equal(weights(high)[n], weights(frozen)[n]) for n in weights(high)]
    names = [n for n, same in zip(weights(high), kept, strict=True) if same]
    assert {n.rpartition(".")[0] for n in names} == {
        f"features.{block}.{layer}" for block in (0, 1) for layer in (0, 1)
    }


def test_a_seed_of_the_order_alone_gives_other_weights_from_the_same_start(
    train_cells, small_recipe
):
    fields = rows(small_recipe, "low", vary="order", seeds=[0, 1])
    first, second = train_cells(fields).values()
    assert (weights(first)["head.weight"] != weights(second)["head.weight"]).any()
    again = train_cells(fields | {"seeds": [1]})
    assert next(iter(again.values())).folder == second.folder


def test_n08_on_shuffled_labels_a_network_ends_at_chance(train_cells):
    """The tiny recipe: the same network learns the true labels well."""
    made = train_cells(tiny(rows={"strategies": ["shuffled_hl"], "strategies_at": [4, 4]}))
    assert accuracy(made["shuffled_hl/h4-l4/s0"]) == pytest.approx(1 / 16, abs=0.06)


def test_without_the_fine_detail_the_gain_of_high_photos_vanishes(train_cells):
    """What the built-in set shows comes from its fine detail, not from more updates."""
    gains = {}
    for fine_detail in (True, False):
        made = train_cells(tiny(fine_detail=fine_detail, rows={"high": [0, 8], "low": [2]}))
        low, staged = (accuracy(made[f"staged_hl/{cell}/s0"]) for cell in ("h0-l2", "h8-l2"))
        gains[fine_detail] = 100 * (staged - low)
    assert gains[True] > 20
    assert abs(gains[False]) < 10


def tiny(rows, fine_detail=True):
    demo = load_recipe("demo").model_dump(mode="json")
    demo["data"]["synthetic"]["fine_detail"] = fine_detail
    demo["train"]["precision"] = "float32"
    return demo | {"cells": rows}


def accuracy(entry):
    """Low-res accuracy of a stage, from its committed counts."""
    sums = next(s for s in entry.json("metrics.json").values() if "-low" in s["view"])
    return sums["correct"] / sums["seen"]
