"""Names that a person reads in MLflow."""

from dataclasses import replace

import pytest

from orchestrator.plan import make_plan
from orchestrator.recipe import Recipe
from orchestrator.run_tags import experiment_note, run_name, stage_params, sweep_id
from trainables.spec import SuperresSpec


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("staged_hl/h3-l5/s0", "staged_hl H3 L5 s0"),
        ("staged_hl/h8-l8-25px/s2", "staged_hl H8 L8 25 px s2"),
    ],
)
def test_a_cell_reads_as_its_strategy_levels_resolution_and_seed(cell, name):
    assert run_name(cell) == name


def moved(experiment, folder):
    """An experiment whose every file lies in a folder."""
    model = {"weights": f"{folder}/w.pth", "mean_image": f"{folder}/mean.npy"}
    fields = {
        "model": model,
        "superres": {"images": f"{folder}/t91"},
        "variants": {"mine": {"strategy": "low", "model": model}},
    }
    made = experiment(**fields)
    data = made.recipe.data.model_copy(update={"root": folder})
    made = replace(made, recipe=made.recipe.model_copy(update={"data": data}))
    part = replace(made, recipe=made.recipe.of("mine"))
    return replace(made, variants={"mine": part}, superres=SuperresSpec(forest="f" * 64))


def test_a_sweep_is_found_again_wherever_its_files_lie(experiment):
    assert sweep_id(moved(experiment, "/a")) == sweep_id(moved(experiment, "/b"))


def test_other_files_are_another_sweep(experiment):
    made = moved(experiment, "/a")
    variant = replace(made.variants["mine"], weights_key="v" * 64)
    others = (
        replace(made, weights_key="v" * 64),
        replace(made, superres=SuperresSpec(forest="g" * 64)),
        replace(made, variants={"mine": variant}),
    )
    assert len({sweep_id(each) for each in (made, *others)}) == 4


def test_an_experiments_note_is_true_of_every_recipe_whose_runs_it_holds():
    first = {"name": "first", "table": "table2", "data": {"dataset": "folder"}}
    second = {"name": "second", "description": "others", "model": {"name": "tiny"}}
    notes = [
        experiment_note(Recipe.model_validate(fields, strict=False))
        for fields in (first, first | second, first | {"table": "custom"})
    ]
    assert notes[0] == notes[1]
    assert notes[0].startswith("Table 2 of Peng")
    assert "custom" not in notes[2]


def test_cells_can_be_compared_and_charted_by_their_photos(experiment):
    """MLflow's compare view and charts know parameters and metrics only, not tags."""
    plan = make_plan([experiment(cells={"strategies": ["staged_hl"], "high": [8], "low": [2]})])
    cell, key = next(each for each in plan.cells.values() if each[0].n_high and each[0].n_low)
    stage = plan.stages[key]
    params = stage_params(plan, stage)
    expected = {"strategy": "staged_hl", "n_high": str(cell.n_high), "n_low": str(cell.n_low)}
    expected |= {"seed": "0", "resolution_px": "50", "canvas_px": "227", "model": "alexnet"}
    assert expected.items() <= params.items()
    assert "resolution_px" not in stage_params(plan, plan.stages[stage.spec.parent])
