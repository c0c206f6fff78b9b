from dataclasses import replace

import pytest

from analysis import paper
from orchestrator.experiment import load_experiment
from orchestrator.plan import make_plan
from orchestrator.recipe_files import load_recipe, shipped
from trainables.budget import budget_of
from trainables.fingerprint import key_of
from trainables.spec import SuperresSpec
from trainables.strategies import STRATEGIES


def plan_of(*experiments):
    return make_plan(experiments)


def last(plan, cell):
    return plan.cells[cell][1]


def test_table_2_shares_its_first_stages(experiment):
    plan = plan_of(experiment())
    assert (len(plan.cells), len(plan.stages), plan.unshared_stages) == (79, 87, 143)


def test_sharing_saves_the_papers_share_of_the_images(experiment):
    plan = plan_of(experiment(n_train=8000, train={"epochs": 1}))
    assert (plan.images, plan.unshared_images) == (430_000, 682_000)


def test_parents_come_before_their_children(experiment):
    seen = set()
    for stage in plan_of(experiment()).stages.values():
        assert set(stage.parents) <= seen
        seen.add(stage.key)


def test_cells_that_are_the_same_computation_are_one_stage(experiment):
    table2 = experiment(name="two")
    rows = ["high", "low", "mixed", "staged_lh", "staged_hl"]
    table1 = experiment(name="one", table="table1", cells={"strategies": rows})
    plan = plan_of(table2, table1)
    assert last(plan, "one:low/h0-l8/s0") == last(plan, "two:staged_hl/h0-l8/s0")
    assert last(plan, "one:staged_hl/h8-l8/s0") == last(plan, "two:staged_hl/h8-l8/s0")
    assert last(plan, "one:mixed/h8-l8/s0") == last(plan, "two:mixed/h8-l8/s0")
    h8 = plan.stages[last(plan, "two:staged_hl/h8-l1/s0")].spec.parent
    assert last(plan, "one:high/h8-l0/s0") == h8
    assert len(plan.stages) == 87 + 1


def test_where_and_how_fast_is_no_identity(experiment):
    folder = {"dataset": "folder"}
    here = experiment(data=folder | {"root": "/a"}, model={"weights": "/a/w.pth"})
    there = experiment(data=folder | {"root": "/b"}, model={"weights": "/b/w.pth"}, name="other")
    assert list(plan_of(here).stages) == list(plan_of(there).stages)


def test_c08_what_changes_numbers_changes_the_keys_it_must_and_no_others(experiment):
    base = set(plan_of(experiment()).stages)
    assert not base & set(plan_of(experiment(train={"lr": 0.02})).stages)
    assert not base & set(plan_of(experiment(seeds=[1])).stages)
    assert not base & set(plan_of(experiment(weights_key=None)).stages)
    coarser = set(plan_of(experiment(data={"resolution_px": 25})).stages)
    assert len(base & coarser) == 8, "the eight high-res stages do not depend on the low resolution"


def test_first_stages_get_a_fresh_head_later_ones_keep_it(experiment):
    plan = plan_of(experiment(train={"later": {"lr": 1e-4}}))
    child = plan.stages[last(plan, "staged_hl/h3-l5/s0")].spec
    parent = plan.stages[child.parent].spec
    assert (parent.head, parent.training.lr, parent.training.head_lr_multiplier) == (
        "fresh", 1e-3, 10.0)  # fmt: skip
    assert (child.head, child.training.lr, child.training.head_lr_multiplier) == (
        "kept", 1e-4, 1.0)  # fmt: skip
    assert parent.parent == "w" * 64


def test_high_and_low_subsets_are_the_same_images_unless_asked_otherwise(experiment):
    plan = plan_of(experiment())
    child = plan.stages[last(plan, "staged_hl/h5-l5/s0")].spec
    assert child.subset == plan.stages[child.parent].spec.subset
    cells = {"high": [4], "low": [4]}
    apart = plan_of(experiment(subset={"relation": "disjoint"}, cells=cells))
    child = apart.stages[last(apart, "staged_hl/h4-l4/s0")].spec
    assert (apart.stages[child.parent].spec.subset.side, child.subset.side) == ("front", "back")


def test_a_budget_of_steps_gives_every_stage_the_same_updates(experiment):
    plan = plan_of(experiment(train={"budget": "steps", "epochs": 3, "batch_size": 100}))
    assert {s.spec.training.steps for s in plan.stages.values()} == {3 * 82}
    assert {s.spec.training.epochs for s in plan.stages.values()} == {None}


def test_an_added_strategy_is_planned_like_the_shipped_ones(experiment, monkeypatch):
    monkeypatch.setitem(STRATEGIES, "mine", lambda cell: STRATEGIES["low_low"](cell)[:1])
    plan = plan_of(experiment(cells={"strategies": ["mine"]}))
    assert list(plan.cells) == ["mine/h8-l8/s0"]
    assert len(plan.stages) == 1


def test_names_tell_the_chain_and_the_seed(experiment):
    plan = plan_of(experiment(seeds=[4], data={"dataset": "cars"}, model={"name": "alexnet"}))
    assert plan.stages[last(plan, "staged_hl/h3-l5/s4")].name == "cars-alexnet-h3-l5-s4"


LRCNN = {
    "strategy": "low",
    "canvas_px": 50,
    "model": {"name": "tiny"},
    "train": {"epochs": 7, "lr": 0.01},
}


def test_a_variant_is_a_row_with_its_own_network_training_and_canvas(experiment):
    made = experiment(variants={"lrcnn": LRCNN}, cells={"strategies": ["low", "lrcnn"]})
    whole = replace(made, variants={"lrcnn": replace(made, recipe=made.recipe.of("lrcnn"))})
    plan = plan_of(whole)
    low, lrcnn = (plan.stages[last(plan, f"{name}/h0-l8/s0")].spec for name in ("low", "lrcnn"))
    assert (low.model.name, lrcnn.model.name) == ("alexnet", "tiny")
    assert (lrcnn.training.epochs, lrcnn.training.lr) == (7, 0.01)
    assert [view.canvas_px for view in (*low.views, *lrcnn.views)] == [227, 50]
    assert list(plan.tests["low/h0-l8/s0"]) == ["high", "low"]
    assert list(plan.tests["lrcnn/h0-l8/s0"]) == ["low"], "it sees low photos only"


def test_super_resolution_changes_what_low_photos_are_tested_as(experiment):
    rows = ["high", "high_sr", "sr_low", "staged_h_sr"]
    made = experiment(cells={"strategies": rows})
    plan = plan_of(replace(made, superres=SuperresSpec(forest="f" * 64)))
    tested = {name: plan.tests[cell]["low"].form for cell in plan.cells for name in [cell[:-8]]}
    assert list(tested.values()) == ["low", "sr", "sr", "sr"]
    assert last(plan, "high/h8-l0/s0") == last(plan, "high_sr/h8-l0/s0"), "one stage, two tests"
    assert len(plan.stages) == 3


def test_named_tests_make_low_photos_in_other_ways(experiment):
    tests = {"coarse": {"resolution_px": 25}, "blocks": {"kernel": "nearest", "antialias": False}}
    plan = plan_of(experiment(tests=tests, cells={"strategies": ["high"]}))
    views = plan.tests["high/h8-l0/s0"]
    assert list(views) == ["high", "low", "coarse", "blocks"]
    assert (views["coarse"].resolution_px, views["coarse"].kernel) == (25, "bicubic")
    assert (views["blocks"].resolution_px, views["blocks"].kernel) == (50, "nearest")
    assert set(plan.stages[last(plan, "high/h8-l0/s0")].evaluations) == set(views.values())


@pytest.mark.parametrize(("table1", "table2"), [("table1-cars", "table2-cars")])
def test_table_1_after_table_2_trains_three_stages_more(tmp_path, table1, table2):
    made = [
        load_experiment(load_recipe(name), tmp_path, must_exist=False) for name in (table2, table1)
    ]
    alone, together = make_plan(made[:1]), make_plan(made)
    more = [stage.name for key, stage in together.stages.items() if key not in alone.stages]
    assert len(alone.stages) == 87
    assert more == ["cars-alexnet-s8-s0", "cars-alexnet-l8-h8-s0", "cars-lrcnn_recon-l8-s0"]


@pytest.mark.parametrize("name", ["table1-cars", "table3-birds"])
def test_the_shipped_tables_plan_every_row_of_the_paper_that_can_be_run(tmp_path, name):
    recipe = load_recipe(name)
    planned = {
        cell.strategy
        for cell, _ in plan_of(load_experiment(recipe, tmp_path, must_exist=False)).cells.values()
    }
    rows = {row.strategy for row in paper.rows(recipe.table)}
    assert planned == rows - {None}, "None is BB-3D-G, which is quoted"


def stage_of(plan, strategy, levels="h8-l8"):
    return plan.stages[last(plan, f"{strategy}/{levels}/s0")].spec


def test_rivals_and_controls_share_the_stages_that_are_the_same_computation(experiment):
    rows = [name for name in STRATEGIES if not name.endswith("_sr") and name != "sr_low"]
    plan = plan_of(experiment(cells={"strategies": rows}))
    parents = {name: stage_of(plan, name).parent for name in ("staged_hl", "distilled_hl")}
    assert set(parents.values()) == {last(plan, "high/h8-l0/s0")}
    assert stage_of(plan, "low_low").parent == last(plan, "low/h0-l8/s0"), "equal updates: one"
    assert stage_of(plan, "interpolated_hl").parent == last(plan, "staged_hl/h8-l8/s0")
    assert stage_of(plan, "mixed_low").parent == last(plan, "mixed_matched/h8-l8/s0")


def test_an_interpolation_costs_no_images_and_depends_on_both_its_networks(experiment):
    plan = plan_of(experiment(cells={"strategies": ["staged_hl", "interpolated_hl"]}))
    stage = plan.stages[last(plan, "interpolated_hl/h8-l8/s0")]
    assert stage.images == 0
    assert stage.parents == (last(plan, "staged_hl/h8-l8/s0"), stage.spec.teacher)


def test_a_teacher_that_is_the_parent_too_is_one_parent(experiment):
    plan = plan_of(experiment(cells={"strategies": ["distilled_hl"]}))
    stage = plan.stages[last(plan, "distilled_hl/h8-l8/s0")]
    assert stage.parents == (stage.spec.parent,)
    assert (stage.spec.mixing, stage.spec.objective.kind) == ("paired", "distill")


def test_numbers_of_a_loss_are_part_of_the_stages_that_use_them_only(experiment):
    cells = {"strategies": ["staged_hl", "distilled_hl"]}
    plain = set(plan_of(experiment(cells=cells)).stages)
    weighed = set(plan_of(experiment(cells=cells, objective={"teacher_weight": 5.0})).stages)
    assert len(plain - weighed) == 1


def test_matched_controls_make_the_updates_that_their_names_promise(experiment):
    rows = ["low", "mixed", "mixed_matched", "low_long"]
    train = {"epochs": 3, "batch_size": 100}
    plan = plan_of(experiment(train=train, cells={"strategies": rows}, n_train=800))
    steps = {name: budget_of(plan.stages[last(plan, cell)].spec)[1] for name, cell in zip(
        rows, plan.cells, strict=True)}  # fmt: skip
    assert steps == {"low": 24, "mixed": 48, "mixed_matched": 24, "low_long": 48}


def updates_of_chain(plan, cell):
    """Updates of a cell's last stage and of all stages before it."""
    key, total = last(plan, cell), 0
    while key in plan.stages:
        total += budget_of(plan.stages[key].spec)[1]
        key = plan.stages[key].spec.parent
    return total


@pytest.mark.parametrize("levels", [(8, 8), (8, 1), (1, 8)])
@pytest.mark.parametrize(
    "train",
    [
        {"epochs": 10},
        {"epochs": 10, "budget": "steps"},
        {"epochs": None, "steps": 100},
        {"epochs": 10, "later": {"epochs": 4}},
        {"epochs": 10, "budget": "steps", "later": {"epochs": 4}},
    ],
)
def test_controls_make_the_updates_of_staged_however_budgets_are_given(experiment, train, levels):
    cells = {"strategies": ["staged_hl", "low_low", "low_long"], "strategies_at": levels}
    made = experiment(n_train=1000, train={"batch_size": 96} | train, cells=cells)
    plan = plan_of(made)
    staged, *controls = (updates_of_chain(plan, cell) for cell in plan.cells)
    assert controls == [staged, staged]


def test_random_resolution_reaches_from_low_to_the_canvas_and_a_curriculum_halves(experiment):
    plan = plan_of(experiment(cells={"strategies": ["random_resolution", "curriculum"]}))
    spec = stage_of(plan, "random_resolution")
    assert (spec.augment.random_resolution_px, spec.views[0].form) == ((50, 227), "high")
    between = plan.stages[stage_of(plan, "curriculum").parent].spec
    assert between.views[0].resolution_px == 100


def test_cells_at_several_resolutions_share_what_does_not_depend_on_them(experiment):
    cells = {"strategies": ["high", "low", "staged_hl"], "resolutions_px": [25, 50]}
    plan = plan_of(experiment(cells=cells))
    rows = ("high/h8-l0", "low/h0-l8", "staged_hl/h8-l8")
    assert list(plan.cells) == [f"{row}-{px}px/s0" for px in (25, 50) for row in rows]
    assert len(plan.stages) == 1 + 2 * 2
    assert last(plan, "high/h8-l0-25px/s0") == last(plan, "high/h8-l0-50px/s0")
    assert plan.tests["high/h8-l0-25px/s0"]["low"].resolution_px == 25
    alone = plan_of(experiment(cells={"strategies": ["low"]}))
    assert last(alone, "low/h0-l8/s0") == last(plan, "low/h0-l8-50px/s0"), "no identity of its own"


def test_a_seed_can_draw_one_thing_alone(experiment):
    row = {"strategy": "low"}
    made = experiment(
        seeds=[0, 1],
        cells={"strategies": ["low", "subset", "first_weights", "order"]},
        variants={
            "subset": row | {"vary": "subset"},
            "first_weights": row | {"vary": "initialisation"},
            "order": row | {"vary": "order"},
        },
    )
    parts = {name: replace(made, recipe=made.recipe.of(name)) for name in made.recipe.variants}
    plan = plan_of(replace(made, variants=parts))
    drawn = {
        cell: (spec.subset.seed, spec.seed, spec.order_seed)
        for cell, (_, key) in plan.cells.items()
        for spec in [plan.stages[key].spec]
    }
    assert [drawn[f"{name}/h0-l8/s1"] for name in ("low", *parts)] == [
        (1, 1, None), (1, 0, 0), (0, 1, 0), (0, 0, 1)]  # fmt: skip
    same = {last(plan, f"{name}/h0-l8/s0") for name in parts}
    assert len(same) == 1, "seed 0 is one stage, whatever is varied"


def test_named_tests_can_be_of_some_strategies_only(experiment):
    tests = {"coarse": {"resolution_px": 25, "strategies": ["low"]}}
    plan = plan_of(experiment(tests=tests, cells={"strategies": ["high", "low"]}))
    assert list(plan.tests["high/h8-l0/s0"]) == ["high", "low"]
    assert list(plan.tests["low/h0-l8/s0"]) == ["high", "low", "coarse"]


def test_names_tell_rivals_and_controls_apart(experiment):
    rows = ["random_resolution", "frozen_hl", "distilled_hl", "interpolated_hl", "curriculum"]
    plan = plan_of(experiment(cells={"strategies": rows}))
    chains = [plan.stages[key].name.split("-", 2)[2] for _, key in plan.cells.values()]
    assert chains == ["h8r-s0", "h8-l8f-s0", "h8-m8d-s0", "h8-l8-l8i-s0", "h8-l8by2x-l8x-s0"]
    cells = {"strategies": ["staged_hl"], "resolutions_px": [25]}
    (at_25px,) = plan_of(experiment(cells=cells)).cells.values()
    assert plan_of(experiment(cells=cells)).stages[at_25px[1]].name.endswith("h8-l8at25px-s0")


@pytest.mark.parametrize("recipe", shipped())
def test_the_plans_keys_are_those_of_the_specs_alone(recipe, tmp_path):
    """Keys are put together from shared texts; the store and other programs compute them whole."""
    recipe = load_recipe(recipe).model_copy(update={"seeds": (0, 1)})
    plan = plan_of(load_experiment(recipe, tmp_path, must_exist=False))
    assert {key: key_of(stage.spec) for key, stage in plan.stages.items()} == {
        k: k for k in plan.stages
    }
